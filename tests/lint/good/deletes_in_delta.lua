-- A delta that tells of deletions.

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

local function change(event)
  if event.kind == "removed" then
    return { type = "delete", key = event.ticket_id }
  end
  return { type = "upsert", key = event.ticket_id, properties = { Name = event.name } }
end

worker:sync("events", {
  database = tickets,
  mode = "incremental",
  schedule = "5m",
  execute = function(state)
    local cursor = state and state.cursor
    local body = http.get("https://api.example.com/v1/events", { query = { cursor = cursor, limit = 500 }, pacer = api, retry = true }):raise():json()
    local changes = {}
    for _, event in ipairs(body.events) do
      changes[#changes + 1] = change(event)
    end
    return { changes = changes, hasMore = body.has_more, nextState = { cursor = body.cursor } }
  end,
})

return worker
