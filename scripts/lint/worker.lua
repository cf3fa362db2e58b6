-- What a worker declares, read from its syntax trees: databases, syncs and what else has an execute.

local tree = require "lint.tree"

local worker = {}

local KINDS = { sync = true, tool = true, webhook = true, automation = true, job = true }
local REQUESTS = { get = 2, post = 2, put = 2, patch = 2, delete = 2, head = 2, stream = 2, request = 1 }

---@class lint.Database
---@field node table the call of worker:database
---@field key? string
---@field primary? string
---@field properties? table<string, table> name -> the expression of its Schema value; nil when they are not all known

---@class lint.Capability
---@field kind string
---@field key? string
---@field node table the call that declares it
---@field options table the table constructor
---@field execute? table the function, when it is known
---@field database? lint.Database of a sync
---@field mode? string of a sync, when it is known

---@class lint.Worker
---@field databases lint.Database[]
---@field capabilities lint.Capability[]

local function read_properties(project, options)
  local schema = tree.field(options, "schema")
  local constructor = schema and project:table_of(schema)
  local properties = constructor and tree.field(constructor, "properties")
  constructor = properties and project:table_of(properties)
  if not constructor then
    return nil
  end
  local found = {}
  for _, item in ipairs(constructor.items) do
    local name = item.key and tree.constant(item.key)
    if type(name) ~= "string" then
      return nil
    end
    found[name] = item.value
  end
  return found
end

local function read_database(project, node, options)
  local primary = tree.field(options, "primaryKeyProperty")
  return {
    node = node,
    key = tree.constant(node.arguments[1]),
    primary = primary and tree.constant(primary),
    properties = read_properties(project, options),
  }
end

local function read_capability(project, node, options)
  local execute, mode = tree.field(options, "execute"), tree.field(options, "mode")
  return {
    kind = node.name,
    key = tree.constant(node.arguments[1]),
    node = node,
    options = options,
    execute = project:func(execute),
    mode = not mode and "replace" or tree.constant(mode) or nil,
  }
end

---@param project lint.Project
---@return lint.Worker
function worker.read(project)
  local self = { databases = {}, capabilities = {} }
  local by_node = {}
  for _, file in ipairs(project.files) do
    tree.walk(file.chunk.body, function(node)
      local options = node.kind == "Method" and node.arguments[2] and project:table_of(node.arguments[2], true)
      if not options then
        return
      elseif node.name == "database" and tree.field(options, "primaryKeyProperty") then
        local database = read_database(project, node, options)
        by_node[node] = database
        self.databases[#self.databases + 1] = database
      elseif KINDS[node.name] and tree.field(options, "execute") then
        self.capabilities[#self.capabilities + 1] = read_capability(project, node, options)
      end
    end)
  end
  for _, capability in ipairs(self.capabilities) do
    local database = capability.kind == "sync" and tree.field(capability.options, "database")
    capability.database = database and by_node[project:origin(database)] or nil
  end
  return self
end

---The syncs whose execute is known.
---@return fun(): lint.Capability
function worker.syncs(self)
  local at = 0
  return function()
    repeat
      at = at + 1
    until not self.capabilities[at] or self.capabilities[at].kind == "sync" and self.capabilities[at].execute
    return self.capabilities[at]
  end
end

---A call that sends a request: its options as an expression, and whether it has a place for them.
---@return boolean is_request
---@return table? options
function worker.request(project, node)
  local module, name = project:builtin(node)
  if module == "workers.http" and REQUESTS[name] then
    return true, node.arguments[REQUESTS[name]]
  elseif module == "workers.graphql" and name == "query" then
    return true, node.arguments[4]
  end
  return false
end

---Whether the function gets its rows from elsewhere.
function worker.fetches(project, body)
  return project:reaches(body, function(node)
    return worker.request(project, node) or (project:builtin(node)) == "workers.paginate"
  end)
end

---@class lint.Page what a return of execute gives
---@field node table the Return
---@field table? table its table constructor; nil when it is not one for certain
---@field has_more any true, false, or nil when it depends
---@field next_state? table an expression

---The returns of execute itself.
---@return lint.Page[]
function worker.pages(project, execute)
  local list = {}
  for _, node in ipairs(tree.returns(execute)) do
    local page = { node = node }
    if #node.values == 1 then
      local value = tree.bare(node.values[1])
      page.table = value.kind == "Table" and value or project:table_of(value)
      if page.table and not tree.field(page.table, "changes") then
        page.table = nil
      end
    end
    if page.table then
      local has_more = tree.field(page.table, "hasMore")
      if has_more then
        page.has_more = tree.constant(has_more)
        page.has_more_value = has_more
      else
        page.has_more = false
      end
      page.next_state = tree.field(page.table, "nextState")
    end
    list[#list + 1] = page
  end
  return list
end

---The changes of type "upsert" that the function may make, as table constructors.
function worker.upserts(project, body)
  local list = {}
  project:walk_reach(body, function(node)
    if node.kind == "Table" then
      local kind = tree.field(node, "type")
      if kind and tree.constant(kind) == "upsert" then
        list[#list + 1] = node
      end
    end
  end)
  return list
end

return worker
