-- A connection, three nodes at a time.

local workers = require "workers"
local graphql = require "workers.graphql"

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

local QUERY = "query ($first: Int!, $after: String) { tickets(first: $first, after: $after) { nodes { id } } }"

worker:sync("all", {
  database = tickets,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    return graphql.walk(state, {
      fetch = function(after)
        local variables = {
          first = 3, -- expect: batch-size
          after = after,
        }
        return graphql.query("https://api.example.com/graphql", QUERY, variables, { pacer = api }).tickets
      end,
      change = upsert,
    })
  end,
})

return worker
