-- Tables that functions make piece by piece and return.

local workers = require "workers"
local http = require "workers.http"

local Schema = workers.schema
local worker = workers.new()

local tickets = worker:database("tickets", {
  type = "managed",
  initialTitle = "Tickets",
  primaryKeyProperty = "ID",
  schema = {
    properties = { Name = Schema.title(), ID = Schema.richText(), Owner = Schema.people(), Updated = Schema.date() },
  },
})

local api = worker:pacer("api", { allowedRequests = 60, intervalMs = 60000 })

local DEFAULTS = { pacer = api, retry = true }

local function with(options)
  local all = {}
  for name, value in pairs(DEFAULTS) do
    all[name] = value
  end
  for name, value in pairs(options) do
    all[name] = value
  end
  return all
end

local function properties_of(item)
  local properties = { Name = item.name }
  if item.owner then
    properties.Owner = item.owner
  end
  if item.updated_at then
    properties.Updated = item.updated_at
  end
  return properties
end

local function page_of(changes, cursor)
  local page = { changes = changes, hasMore = true, nextState = { cursor = cursor } }
  if not cursor then
    page.hasMore, page.nextState = false, nil
  end
  return page
end

worker:sync("backfill", {
  database = tickets,
  schedule = "manual",
  execute = function(state)
    local query = { cursor = state and state.cursor }
    local body = http.get("https://api.example.com/v1/tickets", with { query = query }):raise():json()
    local changes = {}
    for i, item in ipairs(body.items) do
      changes[i] = { type = "upsert", key = item.id, properties = properties_of(item) }
    end
    return page_of(changes, body.cursor)
  end,
})

worker:sync("hot", {
  database = tickets,
  mode = "incremental",
  schedule = "manual",
  execute = function()
    local body = http.get("https://api.example.com/v1/hot", with {}):raise():json()
    local changes = {}
    for i, item in ipairs(body.items) do
      changes[i] = {
        type = "upsert",
        key = item.id,
        properties = { Name = item.name, Owner = item.owner, Updated = item.updated_at },
      }
    end
    return { changes = changes, hasMore = false }
  end,
})

return worker
