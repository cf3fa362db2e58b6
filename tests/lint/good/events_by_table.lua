-- What becomes of an event is looked up in tables.

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

local contacts = worker:database("contacts", {
  type = "managed",
  initialTitle = "Contacts",
  primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText(), Updated = Schema.date() } },
})

local notes = worker:database("notes", {
  type = "managed",
  initialTitle = "Notes",
  primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText(), Updated = Schema.date() } },
})

local api = worker:pacer("api", { allowedRequests = 60, intervalMs = 60000 })

local function fetch(path, cursor)
  return http.get("https://api.example.com/v1/" .. path, { query = { cursor = cursor }, pacer = api }):raise():json()
end

local function upsert(item)
  return { type = "upsert", key = item.id, properties = { Name = item.name, Updated = item.updated_at } }
end

-- A table of functions.
local HANDLERS = {
  created = upsert,
  updated = upsert,
  removed = function(item)
    return { type = "delete", key = item.id }
  end,
}

worker:sync("tickets-feed", {
  database = tickets,
  mode = "incremental",
  schedule = "manual",
  execute = function(state)
    local body, changes = fetch("tickets", state and state.cursor), {}
    for _, event in ipairs(body.events) do
      local handle = HANDLERS[event.type] or upsert
      changes[#changes + 1] = handle(event.item)
    end
    return { changes = changes, hasMore = body.more, nextState = { cursor = body.cursor } }
  end,
})

-- Functions that are put into a table.
local Feed = {}

function Feed.created(item)
  return upsert(item)
end

function Feed.removed(item)
  return { type = "delete", key = item.id }
end

worker:sync("contacts-feed", {
  database = contacts,
  mode = "incremental",
  schedule = "manual",
  execute = function(state)
    local body = fetch("contacts", state and state.cursor)
    local changes = { Feed.created(body.newest) }
    for name, handle in pairs(Feed) do
      for _, item in ipairs(body[name]) do
        changes[#changes + 1] = handle(item)
      end
    end
    return { changes = changes, hasMore = body.more, nextState = { cursor = body.cursor } }
  end,
})

-- The type is what the service says.
worker:sync("notes-feed", {
  database = notes,
  mode = "incremental",
  schedule = "manual",
  execute = function(state)
    local body, changes = fetch("notes", state and state.cursor), {}
    for i, event in ipairs(body.events) do
      local change = upsert(event.item)
      if event.gone then
        change.type, change.properties = event.operation, nil
      end
      changes[i] = change
    end
    return { changes = changes, hasMore = body.more, nextState = { cursor = body.cursor } }
  end,
})

return worker
