-- A GraphQL query without a pacer.

local workers = require "workers"
local env = require "workers.env"
local graphql = require "workers.graphql"

local Schema = workers.schema
local worker = workers.new()

local tickets = worker:database("tickets", {
  type = "managed",
  initialTitle = "Tickets",
  primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText(), Updated = Schema.date() } },
})

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

local function ask(cursor)
  local options = { auth = { bearer = env.require "TICKETS_TOKEN" } }
  return graphql.query("https://api.example.com/graphql", "query { tickets { id } }", { after = cursor }, options) -- expect: no-pacer
end

worker:sync("all", {
  database = tickets,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    local body = ask(state and state.cursor)
    return { changes = upserts(body.tickets), hasMore = body.next ~= nil, nextState = { cursor = body.next } }
  end,
})

return worker
