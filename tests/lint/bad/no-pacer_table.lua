-- A request in a function that is looked up in a table.

local workers = require "workers"
local http = require "workers.http"

local Schema = workers.schema
local worker = workers.new()

local tickets = worker:database("tickets", {
  type = "managed",
  initialTitle = "Tickets",
  primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText() } },
})

local PHASES = {
  list = function(state)
    local body = http.get("https://api.example.com/v1/tickets", { query = { cursor = state.cursor } }):raise():json() -- expect: no-pacer
    return body.items, body.cursor and { phase = "list", cursor = body.cursor } or { phase = "last" }
  end,
  last = function()
    return {}, nil
  end,
}

worker:sync("all", {
  database = tickets,
  schedule = "manual",
  execute = function(state)
    state = state or { phase = "list" }
    local items, following = PHASES[state.phase](state)
    local changes = {}
    for i, item in ipairs(items) do
      changes[i] = { type = "upsert", key = item.id, properties = { Name = item.name } }
    end
    return { changes = changes, hasMore = following ~= nil, nextState = following }
  end,
})

return worker
