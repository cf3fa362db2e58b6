local workers = require "workers"
local graphql = require "workers.graphql"
local Schema = workers.schema

local worker = workers.new()

-- The service. Change this block first.
local ENDPOINT = "https://tracker.example.com/graphql"
local api = worker:pacer("trackerApi", { allowedRequests = 30, intervalMs = 60000 })

-- The token is put into the requests below Lua: no script ever holds it. `workers env set TRACKER_TOKEN` asks for it.
worker:credential("TRACKER_TOKEN", {
  network = {
    {
      domain = "tracker.example.com",
      transform = { { headers = { Authorization = "Bearer " .. workers.CREDENTIAL_VALUE } } },
    },
  },
})

local issues = worker:database("issues", {
  type = "managed",
  initialTitle = "Issues",
  primaryKeyProperty = "Issue ID",
  schema = {
    properties = {
      Title = Schema.title(),
      ["Issue ID"] = Schema.richText(),
      State = Schema.select { { name = "OPEN", color = "blue" }, { name = "CLOSED", color = "green" } },
      Labels = Schema.multiSelect { { name = "bug" } },
      Updated = Schema.date(),
    },
  },
})

local QUERY = [[
query ($after: String) {
  issues(first: 100, after: $after, orderBy: { field: UPDATED_AT, direction: ASC }) {
    nodes { id title state updatedAt labels { name } }
    pageInfo { hasNextPage endCursor }
  }
}
]]

local function change(issue)
  local labels = workers.array {}
  for i, label in ipairs(issue.labels) do
    labels[i] = label.name
  end
  return {
    type = "upsert",
    key = issue.id,
    upstreamUpdatedAt = issue.updatedAt,
    properties = { Title = issue.title, State = issue.state, Labels = labels, Updated = issue.updatedAt },
  }
end

-- All issues, every hour. What the service no longer has is removed at the end.
worker:sync("issuesBackfill", {
  database = issues,
  mode = "replace",
  schedule = "1h",
  execute = function(state)
    local after = state and state.after or nil
    local connection = graphql.query(ENDPOINT, QUERY, { after = after }, { pacer = api, retry = true }).issues
    local changes = {}
    for i, issue in ipairs(graphql.nodes(connection)) do
      changes[i] = change(issue)
    end
    local next = graphql.next(connection)
    return { changes = changes, hasMore = next ~= nil, nextState = next and { after = next } or nil }
  end,
})

return worker
