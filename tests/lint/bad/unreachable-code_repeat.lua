-- What stands behind a repeat without an end.

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

local function wait_for(job)
  repeat
    local answer = http.get("https://api.example.com/v1/jobs/" .. job, { pacer = api }):raise():json()
    if answer.done then
      return answer
    end
    workers.sleep(5)
  until false
  return nil -- expect: unreachable-code
end

worker:sync("all", {
  database = tickets,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    local page = state and state.page or 1
    local body = http.get("https://api.example.com/v1/tickets", { query = { page = page }, pacer = api, retry = true }):raise():json()
    body = wait_for(body.job)
    return { changes = upserts(body.items), hasMore = body.more, nextState = body.more and { page = page + 1 } or nil }
  end,
})

return worker
