-- The same with Lua's own clock, asked before the request.

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

worker:sync("backfill", {
  database = tickets,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    local page = state and state.page or 1
    local body = http.get("https://api.example.com/v1/tickets", { query = { page = page }, pacer = api, retry = true }):raise():json()
    return {
      changes = upserts(body.items),
      hasMore = body.more,
      nextState = body.more and { page = page + 1 } or nil,
    }
  end,
})

worker:sync("delta", {
  database = tickets,
  mode = "incremental",
  schedule = "manual",
  execute = function(state)
    local since = state and state.since or 0
    local now = os.time()
    local body = http.get("https://api.example.com/v1/tickets", { query = { updated_since = since }, pacer = api, retry = true }):raise():json()
    return { changes = upserts(body.items), hasMore = false, nextState = { since = now } } -- expect: no-lag
  end,
})

return worker
