-- Names and texts that only look like secrets.

local workers = require "workers"
local env = require "workers.env"
local http = require "workers.http"
local log = require "workers.log"

local Schema = workers.schema
local worker = workers.new()

local tickets = worker:database("tickets", {
  type = "managed",
  initialTitle = "Tickets",
  primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText(), Updated = Schema.date() } },
})

local api = worker:pacer("api", { allowedRequests = 60, intervalMs = 60000 })

-- Where the service has them.
local FIELDS = { token = "paging.next_token_v2", secret = "settings/2026/webhook-secret", cursor = "paging.cursor" }

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

local TOKEN_NAME = "TICKETS_API_TOKEN_2024"
local PASSWORD_HINT = "ask Anna, she knows the password of 2024"
local token_url = "https://auth.example.com/oauth2/v1/token"

worker:sync("all", {
  database = tickets,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    local page = state and state.page or 1
    log.debug(PASSWORD_HINT, token_url, FIELDS)
    local body = http.get("https://api.example.com/v1/tickets", { query = { page = page }, pacer = api, retry = true, auth = { bearer = env.require(TOKEN_NAME) } }):raise():json()
    return { changes = upserts(body.items), hasMore = body.more, nextState = body.more and { page = page + 1 } or nil }
  end,
})

return worker
