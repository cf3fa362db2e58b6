-- A worker's files as syntax trees, and what leads from one to another: which value an expression has, which functions
-- can run when one is called. What it does not know it says so: rules must not guess.

local changed = require "lint.changed"
local parser = require "lint.parser"
local tree = require "lint.tree"

local project = {}

local MAX_FILES = 200
local MAX_STEPS = 1000 -- on the way from an expression to its origin, side ways included

---@class lint.File
---@field path string as messages name it
---@field text string
---@field chunk lint.Chunk

---@class lint.Project
---@field files lint.File[] the main script first
---@field modules table<string, lint.File> by the name that require is given
---@field failed { path: string, mistake: lint.Mistake }[] files that could not be read
local Project = {}
Project.__index = Project

-- Marks what belongs to the file, and collects what is assigned to fields of variables: variable.fields[name] is the
-- list of values.
local function prepare(file)
  local function note(target, value)
    local variable = target.kind == "Index" and target.object.kind == "Name" and target.object.variable
    if variable then
      local name = tree.constant(target.key)
      variable.fields = variable.fields or {}
      if name == nil then
        variable.fields_unknown = true
      else
        variable.fields[name] = variable.fields[name] or {}
        table.insert(variable.fields[name], value)
      end
    end
  end
  for _, variable in ipairs(file.chunk.variables) do
    variable.file = file
  end
  tree.walk(file.chunk.body, function(node)
    node.file = file
    changed.note(node)
    if node.kind == "Function" then
      note(node.target, node.body)
    elseif node.kind == "Assign" then
      for i, target in ipairs(node.targets) do
        note(target, #node.values == #node.targets and node.values[i] or { kind = "Unknown" })
      end
    end
  end)
end

---The names of modules that a file requires, as they are written.
local function required(file)
  local names = {}
  tree.walk(file.chunk.body, function(node)
    if tree.calls_global(node, "require") and node.arguments[1] and node.arguments[1].kind == "String" then
      names[#names + 1] = node.arguments[1].value
    end
  end)
  return names
end

---Reads the main script and the modules that it requires.
---@param path string
---@param text string
---@param find fun(name: string): string?, string? path and text of a module of the project; nil for others
---@param longest integer bytes of a file; longer ones fail
---@return lint.Project
function project.read(path, text, find, longest)
  local self = setmetatable({ files = {}, modules = {}, failed = {}, steps = 0 }, Project)
  local by_path = {}
  local function add(file_path, file_text)
    local chunk, mistake
    if #file_text > longest then
      mistake = { line = 1, column = 1, message = ("it has more than %d bytes"):format(longest) }
    else
      chunk, mistake = parser.parse(file_text)
    end
    if not chunk then
      self.failed[#self.failed + 1] = { path = file_path, mistake = mistake }
      return nil
    end
    local file = { path = file_path, text = file_text, chunk = chunk }
    by_path[file_path] = file
    self.files[#self.files + 1] = file
    prepare(file)
    return file
  end
  add(path, text)
  local at = 1
  while self.files[at] do
    for _, name in ipairs(required(self.files[at])) do
      if self.modules[name] == nil and #self.files < MAX_FILES then
        local found, found_text = find(name)
        self.modules[name] = found and (by_path[found] or add(found, found_text)) or false
      end
    end
    at = at + 1
  end
  return self
end

-- What a module's file, or a function, returns, when it is one value at one place.
local function only_value(body)
  local returns = tree.returns(body)
  return #returns == 1 and #returns[1].values == 1 and returns[1].values[1] or nil
end

-- The value of a field, when it is known.
function Project:field_of(object, name)
  object = tree.bare(object)
  local variable = object.kind == "Name" and object.variable
  local assigned = variable and variable.fields and variable.fields[name]
  if assigned then
    return #assigned == 1 and assigned[1] or nil
  elseif object.kind == "Table" then
    return (tree.field(object, name))
  end
  local source = self:step(object)
  return source and self:field_of(source, name)
end

-- One step towards the origin; nil when there is none.
function Project:step(node)
  self.steps = self.steps + 1
  if self.steps > MAX_STEPS then
    return nil
  end
  if node.kind == "Paren" then
    return node.inner
  elseif node.kind == "Name" then
    local variable = node.variable
    return variable and #variable.writes == 0 and variable.value or nil
  elseif node.kind == "Index" then
    local name = tree.constant(node.key)
    return name ~= nil and self:field_of(node.object, name) or nil
  elseif node.kind == "Call" then
    if tree.calls_global(node, "require") then
      local file = self.modules[node.arguments[1] and node.arguments[1].value]
      return file and only_value(file.chunk.body) or nil
    end
    local callee = self:follow(node.callee)
    return callee and callee.kind == "FunctionBody" and only_value(callee) or nil
  end
end

function Project:follow(node)
  while true do
    local before = self:step(node)
    if not before then
      return node
    end
    node = before
  end
end

---What an expression comes from: followed through variables that never change, fields, modules and functions that return
---one thing. The expression itself when that leads nowhere.
function Project:origin(node)
  if not node.origin then
    self.steps = 0
    node.origin = self:follow(node)
  end
  return node.origin
end

---The variables that an expression leads through to its origin: those in functions that it calls as well.
---@return lint.Variable[]
function Project:variables_of(node)
  local list = {}
  self.steps = 0
  while node do
    list[#list + 1] = node.kind == "Name" and node.variable or nil
    node = self:step(node)
  end
  return list
end

---The table constructor that an expression is; nil when it is none for certain, or more fields may be put in.
---@param open? boolean more fields may be put in
function Project:table_of(node, open)
  for _, variable in ipairs(open and {} or self:variables_of(node)) do
    if variable.fields or variable.fields_unknown or changed.elsewhere(self, variable) then
      return nil
    end
  end
  local origin = self:origin(node)
  return origin.kind == "Table" and origin or nil
end

---The function that an expression is, or nil.
function Project:func(node)
  local origin = self:origin(node)
  return origin and origin.kind == "FunctionBody" and origin or nil
end

---The name of the built-in module that an expression is: "workers.http"; nil for others.
function Project:module_of(node)
  local origin = self:origin(node)
  if origin.kind == "Call" and tree.calls_global(origin, "require") and origin.arguments[1] then
    local name = tostring(origin.arguments[1].value)
    return (name:find "^workers" or name:find "^cjson") and not self.modules[name] and name or nil
  elseif origin.kind == "Index" and self:module_of(origin.object) == "workers" then
    local name = tree.constant(origin.key)
    return (name == "schema" or name == "builder" or name == "j") and "workers." .. name or nil
  end
end

---The function of a built-in module that a call calls: "workers.http", "get"; nil for others.
function Project:builtin(call)
  if call.kind ~= "Call" then
    return nil
  end
  local callee = self:origin(call.callee)
  if callee.kind == "Index" and type(tree.constant(callee.key)) == "string" then
    local module = self:module_of(callee.object)
    if module then
      return module, tree.constant(callee.key)
    end
  end
end

-- Calls f with the values of a table's fields, as far as they are known.
function Project:each_field(node, f)
  for _, variable in ipairs(self:variables_of(node)) do
    for _, values in pairs(variable.fields or {}) do
      for _, value in ipairs(values) do
        f(value)
      end
    end
  end
  local origin = self:origin(node)
  for _, item in ipairs(origin.kind == "Table" and origin.items or {}) do
    f(item.value)
  end
end

-- The table any of whose fields the expression may be, or a loop gets: of TABLE[key], and of pairs(TABLE).
local function any_of(node)
  if node.kind == "Index" and tree.constant(node.key) == nil then
    return node.object
  elseif tree.calls_global(node, "pairs") or tree.calls_global(node, "ipairs") then
    return node.arguments[1]
  end
end

---All functions that may run when this one is called: those that it calls, makes or hands on, and theirs in turn.
---@return table[] bodies itself first
function Project:reach(body)
  if body.reached then
    return body.reached
  end
  local list, seen = {}, {}
  local function add(func)
    if func and not seen[func] then
      seen[func] = true
      list[#list + 1] = func
    end
  end
  add(body)
  local at = 1
  while list[at] do
    tree.walk(list[at].body, function(node)
      if node.kind == "FunctionBody" then
        add(node)
        return false
      elseif node.kind == "Name" or node.kind == "Index" or node.kind == "Call" then
        add(self:func(node))
      elseif node.kind == "Method" then
        self.steps = 0
        local method = self:field_of(node.object, node.name)
        add(method and self:func(method))
      end
      local from = any_of(node)
      if from then
        self:each_field(from, function(value)
          add(value.kind ~= "Unknown" and self:func(value))
        end)
      end
    end)
    at = at + 1
  end
  body.reached = list
  return list
end

---Calls visit with every node of every function that may run.
---@param visit fun(node: table): boolean? as in tree.walk
function Project:walk_reach(body, visit)
  for _, func in ipairs(self:reach(body)) do
    tree.walk(func.body, function(node)
      if node.kind == "FunctionBody" then
        return false -- it is in the list itself
      end
      return visit(node)
    end)
  end
end

---Whether test is true of a node of a function that may run.
function Project:reaches(body, test)
  local found = false
  self:walk_reach(body, function(node)
    found = found or test(node)
    return not found
  end)
  return found
end

return project
