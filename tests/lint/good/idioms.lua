-- Ways to look at the state, and tables of what follows what.

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

local AFTER = { open = "closed", closed = "archived" }

worker:sync("all", {
  database = tickets,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    local phase = not state and "open" or state.phase
    local cursor = state == nil and "" or state.cursor or ""
    local body = http.get("https://api.example.com/v1/" .. phase, { query = { cursor = cursor }, pacer = api }):raise():json()
    local following = AFTER[phase]
    if body.next then
      return { changes = upserts(body.items), hasMore = true, nextState = { phase = phase, cursor = body.next } }
    end
    return { changes = upserts(body.items), hasMore = following ~= nil, nextState = following and { phase = following } }
  end,
})

return worker
