-- States of several parts, which are moved on by functions, loops and other names.

local workers = require "workers"
local http = require "workers.http"

local Schema = workers.schema
local worker = workers.new()

local tickets = worker:database("tickets", {
  type = "managed",
  initialTitle = "Tickets",
  primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText() } },
})

local api = worker:pacer("api", { allowedRequests = 60, intervalMs = 60000 })

local function fetch(path, query)
  return http.get("https://api.example.com/v1/" .. path, { query = query, pacer = api }):raise():json()
end

local function upserts(items)
  local changes = {}
  for i, item in ipairs(items) do
    changes[i] = { type = "upsert", key = item.id, properties = { Name = item.name } }
  end
  return changes
end

local function advance(cursors, list, body)
  cursors[list] = body.cursor
end

local Walk = {}

function Walk:step(walk, body)
  self.steps = (self.steps or 0) + 1
  walk.after = body.after
end

-- A queue, which is taken from under another name.
worker:sync("byProject", {
  database = tickets,
  schedule = "manual",
  execute = function(state)
    state = state or { projects = { "red", "green" } }
    local projects = state.projects
    local body = fetch(table.remove(projects, 1), {})
    return { changes = upserts(body.items), hasMore = #projects > 0, nextState = state }
  end,
})

-- A queue that grows.
worker:sync("byLink", {
  database = tickets,
  schedule = "manual",
  execute = function(state)
    local links = state and state.links or { "first" }
    local body = fetch(table.remove(links), {})
    for _, link in ipairs(body.links) do
      table.insert(links, link)
    end
    return { changes = upserts(body.items), hasMore = body.pending > 0, nextState = { links = links } }
  end,
})

-- Parts that a function or a method moves on.
worker:sync("byList", {
  database = tickets,
  schedule = "manual",
  execute = function(state)
    local cursors = state and state.cursors or { open = "", closed = "" }
    local list = cursors.open and "open" or "closed"
    local body = fetch(list, { cursor = cursors[list] })
    advance(cursors, list, body)
    return { changes = upserts(body.items), hasMore = body.more, nextState = { cursors = cursors } }
  end,
})

worker:sync("byWalk", {
  database = tickets,
  schedule = "manual",
  execute = function(state)
    local walk = state and state.walk or {}
    local body = fetch("walk", { after = walk.after })
    Walk:step(walk, body)
    return { changes = upserts(body.items), hasMore = body.more, nextState = { walk = walk } }
  end,
})

-- Parts of parts.
worker:sync("byPart", {
  database = tickets,
  schedule = "manual",
  execute = function(state)
    local at = state and state.at or { list = { page = 0 } }
    at.list.page = at.list.page + 1
    local body = fetch("list", { page = at.list.page })
    return { changes = upserts(body.items), hasMore = body.more, nextState = { at = at } }
  end,
})

-- All parts, in a loop.
worker:sync("together", {
  database = tickets,
  schedule = "manual",
  execute = function(state)
    state = state or { lists = { { name = "open", page = 0 }, { name = "closed", page = 0 } } }
    local changes, more = {}, false
    for _, list in ipairs(state.lists) do
      list.page = list.page + 1
      local body = fetch(list.name, { page = list.page })
      table.move(upserts(body.items), 1, #body.items, #changes + 1, changes)
      more = more or body.more
    end
    return { changes = changes, hasMore = more, nextState = state }
  end,
})

return worker
