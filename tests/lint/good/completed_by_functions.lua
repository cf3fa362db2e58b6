-- Tables that are completed by functions that they are handed to.

local workers = require "workers"
local http = require "workers.http"

local Schema = workers.schema
local worker = workers.new()

local STAGES = { { id = 1, label = "New" }, { id = 2, label = "Won" } }

local labels = {}
for _, stage in ipairs(STAGES) do
  table.insert(labels, stage.label)
end

local deals = worker:database("deals", {
  type = "managed",
  initialTitle = "Deals",
  primaryKeyProperty = "ID",
  schema = {
    properties = { Name = Schema.title(), ID = Schema.richText(), Stage = Schema.select(labels), Closes = Schema.date() },
  },
})

local api = worker:pacer("api", { allowedRequests = 60, intervalMs = 60000 })

local function complete(options)
  options.pacer = api
  options.retry = true
end

local function fetch(path, query)
  local options = { query = query }
  complete(options)
  return http.get("https://api.example.com/v1/" .. path, options):raise():json()
end

local function put(properties, name, value)
  if value ~= nil and value ~= "" then
    properties[name] = value
  end
end

local function upsert(deal)
  local properties = { Name = deal.name }
  put(properties, "Stage", deal.stage)
  put(properties, "Closes", deal.closes)
  return { type = "upsert", key = deal.id, properties = properties }
end

local function finish(page, body)
  if body.cursor then
    page.nextState = { cursor = body.cursor }
  else
    page.hasMore = false
  end
end

worker:sync("backfill", {
  database = deals,
  schedule = "manual",
  execute = function(state)
    local body = fetch("deals", { cursor = state and state.cursor })
    local page = { changes = {}, hasMore = true }
    for i, deal in ipairs(body.deals) do
      page.changes[i] = upsert(deal)
    end
    finish(page, body)
    return page
  end,
})

worker:sync("closing", {
  database = deals,
  mode = "incremental",
  schedule = "5m",
  execute = function()
    local changes = {}
    for i, deal in ipairs(fetch("closing", {})) do
      changes[i] = {
        type = "upsert",
        key = deal.id,
        properties = { Name = deal.name, Stage = deal.won and "Won" or "New", Closes = deal.closes },
      }
    end
    return { changes = changes, hasMore = false }
  end,
})

return worker
