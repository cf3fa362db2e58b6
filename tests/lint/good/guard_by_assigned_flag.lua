-- Whether there is a state is kept in a variable that is assigned to later, or is asked by a loop.

local workers = require "workers"
local http = require "workers.http"
local log = require "workers.log"

local Schema = workers.schema
local worker = workers.new()

local tickets = worker:database("tickets", {
  type = "managed",
  initialTitle = "Tickets",
  primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText() } },
})

local api = worker:pacer("api", { allowedRequests = 60, intervalMs = 60000 })

local function list(page)
  local body = http.get("https://api.example.com/v1/tickets", { query = { page = page }, pacer = api }):raise():json()
  local changes = {}
  for i, item in ipairs(body.items) do
    changes[i] = { type = "upsert", key = item.id, properties = { Name = item.name } }
  end
  return { changes = changes, hasMore = body.more, nextState = body.more and { page = body.page + 1, since = body.at } or nil }
end

worker:sync("byFlag", {
  database = tickets,
  schedule = "manual",
  execute = function(state)
    local fresh = false
    if not state then
      fresh = true
    end
    return list(fresh and 1 or state.page)
  end,
})

worker:sync("byAnswer", {
  database = tickets,
  schedule = "manual",
  execute = function(state)
    local resumed
    resumed = state ~= nil
    return list(resumed and state.page or 1)
  end,
})

worker:sync("byPart", {
  database = tickets,
  schedule = "manual",
  execute = function(state)
    local page
    if state then
      page = state.page
    end
    if page then
      log.info("since " .. state.since)
    end
    return list(page)
  end,
})

worker:sync("byWhile", {
  database = tickets,
  schedule = "manual",
  execute = function(state)
    while not state do
      state = list(1).nextState or { page = 1 }
    end
    return list(state.page)
  end,
})

worker:sync("byLoop", {
  database = tickets,
  schedule = "manual",
  execute = function(state)
    for name in pairs(state or {}) do
      log.info(name, state[name])
    end
    return list(state and state.page or 1)
  end,
})

return worker
