-- GitHub issues with their comments, by GraphQL: a backfill in the order of creation, a delta in the order of change.
--
-- Nothing tells of deletions, so that they wait for the next backfill, which has a schedule here for that reason.

local workers = require "workers"
local env = require "workers.env"
local graphql = require "workers.graphql"
local time = require "workers.time"

local Schema = workers.schema
local worker = workers.new()

local API = env.get("GITHUB_URL", "https://api.github.com") .. "/graphql"
local OWNER, NAME = "octo", "demo"
local LAG = 15 -- seconds; issues are found some seconds after their change, and clocks differ

local issues = worker:database("issues", {
  type = "managed",
  initialTitle = "Issues",
  primaryKeyProperty = "Node ID",
  schema = {
    properties = {
      Title = Schema.title(),
      ["Node ID"] = Schema.richText(),
      Issue = Schema.richText(), -- of a comment: the issue's id
      Updated = Schema.date(),
    },
  },
})

local api = worker:pacer("github", { allowedRequests = 6000, intervalMs = 60000 })

local COMMENTS = "{ nodes { id body updatedAt } pageInfo { hasNextPage endCursor } }"

local ISSUES = [[
query ($owner: String!, $name: String!, $after: String, $since: DateTime, $order: IssueOrderField!) {
  repository(owner: $owner, name: $name) {
    issues(first: 20, after: $after, orderBy: { field: $order, direction: ASC }, filterBy: { since: $since }) {
      nodes { id title updatedAt comments(first: 10) ]] .. COMMENTS .. [[ }
      pageInfo { hasNextPage endCursor }
    }
  }
}]]

local MORE_COMMENTS = [[
query ($id: ID!, $after: String) {
  node(id: $id) { ... on Issue { comments(first: 100, after: $after) ]] .. COMMENTS .. [[ } }
}]]

local function ask(query, variables)
  return graphql.query(API, query, variables, {
    auth = { bearer = env.require "GITHUB_TOKEN" },
    pacer = api,
    retry = { unsafe = true }, -- queries change nothing, although they are sent by POST
  })
end

-- The rest of an issue's comments. The issue may be gone by now: then there are none.
local function more_comments(id, after)
  local ok, data = pcall(ask, MORE_COMMENTS, { id = id, after = after })
  if ok then
    return data.node.comments
  elseif data.name == "GraphqlError" and data.errors and data.errors[1].type == "NOT_FOUND" then
    return { nodes = {} }
  end
  error(data, 0)
end

local function upsert(node, title, issue)
  local properties = { Title = title, Issue = issue or workers.null, Updated = node.updatedAt }
  return { type = "upsert", key = node.id, upstreamUpdatedAt = node.updatedAt, properties = properties }
end

-- A page of the issues that have changed since a time, with their comments.
local function walk(state, order, since)
  return graphql.walk(state, {
    fetch = function(after)
      local variables = { owner = OWNER, name = NAME, after = after, since = since, order = order }
      return ask(ISSUES, variables).repository.issues
    end,
    change = function(issue)
      return upsert(issue, issue.title)
    end,
    inner = {
      of = "comments",
      fetch = more_comments,
      change = function(comment, issue)
        return upsert(comment, comment.body, issue)
      end,
    },
  })
end

worker:sync("issuesBackfill", {
  database = issues,
  mode = "replace",
  schedule = "1d",
  execute = function(state)
    return walk(state, "CREATED_AT")
  end,
})

-- A comment that is added or changed moves its issue's updatedAt too. The next cycle asks for what has changed since a
-- little before this one began: what came while it ran, or was found late, comes again or for the first time.
worker:sync("issuesDelta", {
  database = issues,
  mode = "incremental",
  schedule = "5m",
  execute = function(state)
    local begins = time.format(time.nowMs() - LAG * 1000)
    local cycle = state and state.walk and state or { since = state and state.following, following = begins }
    local page = walk(cycle.walk, "UPDATED_AT", cycle.since)
    if page.hasMore then
      page.nextState = { walk = page.nextState, since = cycle.since, following = cycle.following }
    else
      page.nextState = { following = cycle.following }
    end
    return page
  end,
})

return worker
