-- A request with options, and no pacer.

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

worker:sync("all", {
  database = tickets,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    local page = state and state.page or 1

    local body = http.get("https://api.example.com/v1/tickets", { query = { page = page } }):raise():json() -- expect: no-pacer
    return { changes = upserts(body.items), hasMore = body.more, nextState = body.more and { page = page + 1 } or nil }
  end,
})

return worker
