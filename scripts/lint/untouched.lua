-- Which of Lua's tables and of the built-in modules are what they were when the worker began: nothing is put into them, and they
-- are not given to anybody who could do so. Must doubt what it does not understand.

local tree = require "lint.tree"

local untouched = {}

-- Through these, anything can be changed.
local DOORS = { _G = true, _ENV = true, load = true, package = true }

---@class lint.Touched
---@field doors boolean something that can change anything is used
---@field foreign boolean code of others is loaded, which is not read
---@field tables table<string, boolean> "workers.http" or "_G.string"

-- What a node is one of: "_G.string", "workers.http", or nil.
local function place_of(project, node)
  if node.kind == "Name" and not node.variable then
    return "_G." .. node.name
  elseif node.kind == "Name" or node.kind == "Index" or node.kind == "Call" then
    return project:module_of(node)
  end
end

local function note_require(project, touched, node)
  local name = #node.arguments == 1 and tree.constant(node.arguments[1])
  touched.doors = touched.doors or type(name) ~= "string"
  touched.foreign = touched.foreign or not project.modules[name] and not project:module_of(node)
end

local function read(project)
  local touched = { doors = false, foreign = false, tables = {} }
  local harmless, written, places = {}, {}, {}
  for _, file in ipairs(project.files) do
    for _, variable in ipairs(file.chunk.variables) do
      touched.doors = touched.doors or variable.name == "_ENV"
    end
    tree.walk(file.chunk.body, function(node)
      for _, target in ipairs(tree.targets(node)) do
        written[target.kind == "Index" and target.object or target] = true
      end
      if node.kind == "Index" and tree.constant(node.key) ~= nil then
        harmless[node.object] = true
      elseif node.kind == "Local" then -- in a variable that never changes, whose uses are looked at as well
        for i, value in ipairs(node.values) do
          local variable = node.variables[i]
          harmless[value] = variable and variable.value == value and #variable.writes == 0 or nil
        end
      elseif tree.calls_global(node, "require") then
        harmless[node.callee] = true
        note_require(project, touched, node)
      end
      touched.doors = touched.doors or node.kind == "Name" and not node.variable and DOORS[node.name] or false
      places[node] = place_of(project, node)
    end)
  end
  for node, place in pairs(places) do
    if written[node] or not harmless[node] then
      touched.tables[place] = true
    end
  end
  return touched
end

local function of(context)
  context.touched = context.touched or read(context.project)
  return context.touched
end

---Whether require is Lua's own.
---@param context lint.Context
function untouched.require(context)
  return not of(context).doors and not of(context).tables["_G.require"]
end

---Whether the table has what it had when the worker began, and nothing else.
---@param context lint.Context
---@param name string "workers.http" or "_G.string"
function untouched.table(context, name)
  local touched = of(context)
  return untouched.require(context) and not touched.foreign and not touched.tables[name] and not touched.tables.workers
end

return untouched
