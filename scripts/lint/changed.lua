-- Whether a table that a variable holds is changed somewhere else than where its fields are assigned: by functions that it is
-- given to, and under other names. What it does not understand, it takes for a change.

local tree = require "lint.tree"

local changed = {}

-- Lua's functions that change a table that they are given; true for any of their arguments. No other one does.
local CHANGING = {
  ["table.insert"] = 1, ["table.remove"] = 1, ["table.sort"] = 1, ["table.move"] = true, rawset = 1, setmetatable = 1,
}
local MAX_VARIABLES = 100 -- on the way from one; beyond, it may be changed for all that is known
local PROTECTED = { pcall = 1, xpcall = 2 } -- how many arguments stand before those of the function that it calls

-- Calls f with each variable whose table the expression may be, or may be in.
---@param f fun(variable: lint.Variable, nested: boolean) nested: it is a part of the variable's table
local function each_root(node, nested, f)
  node = tree.bare(node)
  if node.kind == "Name" and node.variable then
    f(node.variable, nested)
  elseif node.kind == "Index" then
    each_root(node.object, true, f)
  elseif node.kind == "Binary" and (node.operator == "and" or node.operator == "or") then
    if node.operator == "or" then
      each_root(node.left, nested, f)
    end
    each_root(node.right, nested, f)
  elseif tree.calls_global(node, "ipairs") or tree.calls_global(node, "pairs") then
    if node.arguments[1] then
      each_root(node.arguments[1], true, f) -- what a loop gets of it
    end
  end
end

local function add(variable, list, entry)
  variable[list] = variable[list] or {}
  table.insert(variable[list], entry)
end

local function note_names(variables, values)
  for i, value in ipairs(values) do
    each_root(value, false, function(root, nested)
      for at = i, i == #values and #variables or i do -- a call at the end has several values
        if variables[at] then
          add(root, "aliases", { variable = variables[at], nested = nested })
        end
      end
    end)
  end
end

local function note_call(call)
  for i, argument in ipairs(call.arguments) do
    each_root(argument, false, function(root, nested)
      add(root, "handed", { call = call, index = i, nested = nested })
    end)
    local constructor = tree.bare(argument)
    for _, item in ipairs(constructor.kind == "Table" and constructor.items or {}) do
      each_root(item.value, false, function(root, nested)
        add(root, "handed", { call = call, index = i, nested = nested, within = true })
      end)
    end
  end
  if call.kind == "Method" then
    each_root(call.object, false, function(root, nested)
      add(root, "handed", { call = call, index = 0, nested = nested })
    end)
  end
end

---Notes what the node does to variables: which it hands on, gives other names, or changes deep within.
function changed.note(node)
  if node.kind == "Call" or node.kind == "Method" then
    note_call(node)
  elseif node.kind == "Local" or node.kind == "GenericFor" then
    note_names(node.variables, node.values)
  elseif node.kind == "Assign" then
    local variables = {}
    for i, target in ipairs(node.targets) do
      variables[i] = target.kind == "Name" and target.variable or nil
    end
    note_names(variables, node.values)
  end
  for _, target in ipairs(tree.targets(node)) do
    if target.kind == "Index" then
      each_root(target.object, false, function(root, nested)
        root.changed_within = root.changed_within or nested
      end)
    end
  end
end

local is_changed

-- Whether a call changes the argument, 0 for the object of a method; deep: or what is within it.
local function changes(project, call, index, deep, seen)
  local callee, at = call.callee, index
  if call.kind == "Method" then
    project.steps = 0
    callee, at = project:field_of(call.object, call.name), index + 1
    if not callee then
      return string[call.name] == nil
    end
  else
    local before = PROTECTED[callee.kind == "Name" and not callee.variable and callee.name]
    if before and call.arguments[1] then
      callee, at = call.arguments[1], index - before
    end
    local path, variable = tree.path(callee)
    if at < 1 then
      return false
    elseif path and not variable and _G[path:match "^[^.]+"] ~= nil then
      return CHANGING[path] == true or CHANGING[path] == at
    elseif project:builtin { kind = "Call", callee = callee } then
      return false
    end
  end
  local func = project:func(callee)
  local parameter = func and func.parameters[at]
  if not parameter then
    return not func or func.vararg or false
  end
  return is_changed(project, parameter, deep, seen)
end

local function elsewhere(project, variable, deep, seen)
  for _, entry in ipairs(variable.aliases or {}) do
    if (deep or not entry.nested) and is_changed(project, entry.variable, deep, seen) then
      return true
    end
  end
  for _, entry in ipairs(variable.handed or {}) do
    if (deep or not entry.nested) and changes(project, entry.call, entry.index, deep or entry.within, seen) then
      return true
    end
  end
  return false
end

function is_changed(project, variable, deep, seen)
  if variable.fields or variable.fields_unknown or deep and variable.changed_within then
    return true
  end
  local key = deep and "deep" or "flat"
  seen[key] = seen[key] or {}
  if seen[key][variable] then
    return false -- it is being looked at
  end
  seen[key][variable] = true
  seen.count = (seen.count or 0) + 1
  return seen.count > MAX_VARIABLES or elsewhere(project, variable, deep, seen)
end

---Whether something else may put fields into the variable's table.
---@param project lint.Project
---@param variable lint.Variable
function changed.elsewhere(project, variable)
  if variable.changed_elsewhere == nil then
    variable.changed_elsewhere = elsewhere(project, variable, false, {})
  end
  return variable.changed_elsewhere
end

---Whether anything changes the variable's table, or what is within it.
---@param project lint.Project
---@param variable lint.Variable
function changed.deep(project, variable)
  if variable.changed_deep == nil then
    variable.changed_deep = is_changed(project, variable, true, {})
  end
  return variable.changed_deep
end

---Whether a call changes its argument of that place.
---@param project lint.Project
function changed.by_call(project, call, index)
  return changes(project, call, index, false, {})
end

return changed
