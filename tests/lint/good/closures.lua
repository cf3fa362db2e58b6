-- Syncs that are made by a function.

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

local function list(path)
  return function(state)
    return paginate.page(state, {
      fetch = function(page)
        local body = http.get("https://api.example.com/v1/" .. path, { query = { page = page }, pacer = api }):raise():json()
        return body.items, body.more
      end,
      change = upsert,
    })
  end
end

worker:sync("open", { database = tickets, schedule = "1h", execute = list "open" })
worker:sync("closed", { database = tickets, schedule = "1d", execute = list "closed" })

return worker
