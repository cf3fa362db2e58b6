-- paginate.offset with pages of two.

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

worker:sync("all", {
  database = tickets,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    return paginate.offset(state, {
      size = 2, -- expect: batch-size
      fetch = function(offset, size)
        return http.get("https://api.example.com/v1/tickets", { query = { offset = offset, limit = size }, pacer = api }):raise():json()
      end,
      change = upsert,
    })
  end,
})

return worker
