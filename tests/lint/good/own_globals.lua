-- A file that gives itself other globals.

local workers = require "workers"
local http = require "workers.http"
local paginate = require "workers.paginate"

local Schema = workers.schema
local worker = workers.new()

local tickets = worker:database("tickets", {
  type = "managed",
  initialTitle = "Tickets",
  primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText(), Updated = Schema.date() } },
})

local api = worker:pacer("api", { allowedRequests = 60, intervalMs = 60000 })

local function upsert(item)
  return {
    type = "upsert",
    key = item.id,
    upstreamUpdatedAt = item.updated_at,
    properties = { Name = item.name, Updated = item.updated_at },
  }
end

local function settings(_ENV)
  limit = 100
  path = "tickets"
  return _ENV
end

local SETTINGS = settings {}

worker:sync("all", {
  database = tickets,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    return paginate.page(state, {
      fetch = function(page)
        local query = { page = page, limit = SETTINGS.limit }
        return http.get("https://api.example.com/v1/" .. SETTINGS.path, { query = query, pacer = api }):raise():json()
      end,
      change = upsert,
    })
  end,
})

return worker
