-- Rows whose properties are put in when the row is made already.

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

local function fetch(path)
  return http.get("https://api.example.com/v1/" .. path, { pacer = api }):raise():json()
end

local function put(properties, name, value)
  properties[name] = value ~= "" and value or nil
end

worker:sync("backfill", {
  database = tickets,
  schedule = "manual",
  execute = function()
    local changes, owners = {}, fetch "owners"
    for i, item in ipairs(fetch "tickets") do
      local change = { type = "upsert", key = item.id, properties = { Name = item.name } }
      change.properties.Updated = item.updated_at
      changes[i] = change
    end
    for _, change in ipairs(changes) do
      change.properties["Owner"] = owners[change.key]
    end
    return { changes = changes, hasMore = false }
  end,
})

worker:sync("hot", {
  database = tickets,
  mode = "incremental",
  schedule = "manual",
  execute = function()
    local changes = {}
    for i, item in ipairs(fetch "hot") do
      changes[i] = {
        type = "upsert",
        key = item.id,
        properties = { Name = item.name, Owner = item.owner, Updated = item.updated_at },
      }
    end
    return { changes = changes, hasMore = false }
  end,
})

worker:sync("fresh", {
  database = tickets,
  mode = "incremental",
  schedule = "manual",
  execute = function()
    local changes = {}
    for i, item in ipairs(fetch "fresh") do
      local change = { type = "upsert", key = item.id, properties = { Name = item.name } }
      local properties = change.properties
      properties.Owner = item.owner
      put(change.properties, "Updated", item.updated_at)
      changes[i] = change
    end
    return { changes = changes, hasMore = false }
  end,
})

return worker
