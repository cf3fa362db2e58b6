-- Records after (time, id), the state kept by hand.

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
    local at, id = state and state.updated_at or "2026-01-01T00:00:00Z", state and state.id or ""
    local filter = "(updated_at > '" .. at .. "') or (updated_at = '" .. at .. "' and id > '" .. id .. "')"
    local body = http.get("https://api.example.com/v1/tickets", { query = { filter = filter, limit = 100 }, pacer = api, retry = true }):raise():json()
    local last = body.items[#body.items]
    return {
      changes = upserts(body.items),
      hasMore = #body.items == 100,
      nextState = last and { updated_at = last.updated_at, id = last.id } or state,
    }
  end,
})

return worker
