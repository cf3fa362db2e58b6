-- The size is in an address that is formatted.

local workers = require "workers"
local http = require "workers.http"

local Schema = workers.schema
local worker = workers.new()

local tickets = worker:database("tickets", {
  type = "managed",
  initialTitle = "Tickets",
  primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText(), Updated = Schema.date() } },
})

local api = worker:pacer("api", { allowedRequests = 60, intervalMs = 60000 })

local BASE = "https://api.example.com/v1"

local function upsert(item)
  return {
    type = "upsert",
    key = item.id,
    upstreamUpdatedAt = item.updated_at,
    properties = { Name = item.name, Updated = item.updated_at },
  }
end

local function upserts(items)
  local changes = {}
  for i, item in ipairs(items) do
    changes[i] = upsert(item)
  end
  return changes
end

worker:sync("all", {
  database = tickets,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    local address = ("%s/tickets?pageSize=5000&cursor=%s"):format(BASE, state and state.cursor or "") -- expect: batch-size
    local body = http.get(address, { pacer = api }):raise():json()
    return { changes = upserts(body.items), hasMore = body.next ~= nil, nextState = { cursor = body.next } }
  end,
})

return worker
