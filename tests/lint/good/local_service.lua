-- A service on this machine needs no pacer, and its time is kept for people to see.

local workers = require "workers"
local http = require "workers.http"
local time = require "workers.time"

local Schema = workers.schema
local worker = workers.new()

local tickets = worker:database("tickets", {
  type = "managed",
  initialTitle = "Tickets",
  primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText(), Updated = Schema.date() } },
})

local PORT = 8080

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
    local body = http.get("http://127.0.0.1:8080/v1/tickets", { query = { page = page }, retry = true }):raise():json()
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
    local cursor = state and state.cursor
    local body = http.request({ url = "http://localhost:8080/tickets", query = { cursor = cursor } }):raise():json()
    http.post(("http://127.0.0.1:%d/%s"):format(PORT, "seen"), { json = { cursor = body.cursor } }):raise()
    return { changes = upserts(body.items), hasMore = false, nextState = { cursor = body.cursor, seen = time.nowMs() } }
  end,
})

return worker
