-- A failure that looks like an empty list.

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

worker:sync("all", {
  database = tickets,
  mode = "replace",
  schedule = "manual",
  execute = function()
    local ok, body = pcall(function() -- expect: errors-swallowed
      return http.get("https://api.example.com/v1/tickets", { pacer = api, retry = true }):raise():json()
    end)
    return { changes = upserts(ok and body.items or {}), hasMore = false }
  end,
})

return worker
