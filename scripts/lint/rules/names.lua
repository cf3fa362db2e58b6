-- Names that mean nothing, and those that nobody uses.

local edit = require "lint.edit"
local nearest = require "lint.nearest"
local tree = require "lint.tree"
local untouched = require "lint.untouched"

-- Modules whose fields are whatever a script asks for.
local OPEN = { ["workers.env"] = true }
-- What the module workers gives besides its functions.
local PARTS = { "schema", "builder", "j" }

-- What other versions of Lua have: scripts that are to run there as well ask whether it is there.
local OTHERS = {
  unpack = true, loadstring = true, setfenv = true, getfenv = true, module = true, bit = true, bit32 = true, jit = true,
}

-- Calls f with each expression that is only asked whether it is there: "x or y", "if x then", "x ~= nil", "type(x)".
local function each_asked(node, f)
  local operator = node.operator
  if operator == "or" or operator == "and" then
    f(tree.bare(node.left))
  elseif operator == "not" then
    f(tree.bare(node.operand))
  elseif node.kind == "Clause" then
    f(tree.bare(node.condition))
  elseif (operator == "==" or operator == "~=") and node.right.kind == "Nil" then
    f(tree.bare(node.left))
  elseif tree.calls_global(node, "type") and node.arguments[1] then
    f(tree.bare(node.arguments[1]))
  end
end

-- The names of OTHERS that are looked at before they are used, or stand behind "or", in the place of what this Lua has.
local function asked_globals(project)
  local asked = {}
  local function note(node)
    if node.kind == "Name" and not node.variable and OTHERS[node.name] then
      asked[node.name] = true
    end
  end
  for _, file in ipairs(project.files) do
    tree.walk(file.chunk.body, function(node)
      each_asked(node, note)
      if node.operator == "or" then
        note(tree.bare(node.right))
      end
    end)
  end
  return asked
end

local function undefined_global(context)
  local globals = context.api._G
  local defined = {} -- what is put into _G by its name is meant
  local asked = asked_globals(context.project)
  for _, file in ipairs(context.project.files) do
    tree.walk(file.chunk.body, function(node)
      for _, target in ipairs(tree.targets(node)) do
        local path, variable = tree.path(target)
        if target.kind == "Name" and not target.variable then
          defined[target.name] = defined[target.name] or target
        elseif path and not variable and path:find "^_G%.[^.]+$" then
          defined[target.key.value] = defined[target.key.value] or target
        end
      end
    end)
  end
  for _, file in ipairs(context.project.files) do
    local own = false -- whether the file gives itself other globals
    for _, variable in ipairs(file.chunk.variables) do
      own = own or variable.name == "_ENV"
    end
    tree.walk(file.chunk.body, function(node)
      if own or node.kind ~= "Name" or node.variable or globals[node.name] or node.name == "_ENV" or asked[node.name] then
        return
      elseif not defined[node.name] then
        local near = nearest.of(node.name, globals)
        context:report(node, ("nothing is called %s"):format(node.name),
          near and ("did you mean %s?"):format(near) or "declare it with local, or require what defines it")
      elseif defined[node.name] == node then
        context:report(node, node.name .. " is a global: each call has its own, so that what it holds may be lost",
          "declare it: local " .. node.name)
      end
    end)
  end
end

local function unknown_api_name(context)
  local api = context.api
  local called = {} -- what is called fails for certain
  local asked = {} -- what is asked for first is known to be missing in some versions
  local function check(node, module, shown)
    local name = tree.constant(node.key)
    local names = api[module]
    if type(name) ~= "string" or not names or names[name] or OPEN[module] or asked[module .. "." .. name] then
      return
    end
    local known = {}
    for each in pairs(names) do
      known[each] = true
    end
    for _, part in ipairs(module == "workers" and PARTS or {}) do
      known[part] = true
    end
    if not known[name] then
      local near = nearest.of(name, known)
      local only = called[node] and untouched.table(context, module) and nearest.only(name, known)
      context:report(node, ("%s has no %s"):format(shown, name),
        near and ("did you mean %s?"):format(near) or ("see the reference of %s"):format(shown),
        only and edit.rename_key(node.file, node, only, ("wrote %s in the place of %s"):format(only, name)) or nil)
    end
  end
  local defined = {} -- what the files add to Lua's own tables
  for _, file in ipairs(context.project.files) do
    tree.walk(file.chunk.body, function(node)
      each_asked(node, function(index)
        local name = index.kind == "Index" and tree.constant(index.key)
        local object = index.object
        local module = name and (object.kind == "Name" and not object.variable and "_G." .. object.name
          or context.project:module_of(object))
        asked[module and module .. "." .. tostring(name) or 0] = true
      end)
      for _, target in ipairs(tree.targets(node)) do
        defined[tree.path(target) or 0] = true
      end
    end)
  end
  for _, file in ipairs(context.project.files) do
    tree.walk(file.chunk.body, function(node)
      if node.kind == "Call" then
        called[node.callee] = true
      end
      if node.kind ~= "Index" then
        return
      end
      local object = node.object
      if object.kind == "Name" and not object.variable then
        if api["_G." .. object.name] and not defined[tree.path(node) or 0] then
          check(node, "_G." .. object.name, object.name)
        end
      else
        local module = context.project:module_of(object)
        local variable = object.kind == "Name" and object.variable
        if module and not (variable and (variable.fields or variable.fields_unknown)) then
          check(node, module, module)
        end
      end
    end)
  end
end

local REPORTED = { ["local"] = true, ["function"] = true }

local PLAIN = { Nil = true, True = true, False = true, Number = true, String = true, FunctionBody = true }

-- Whether nothing happens when the expression is evaluated.
local function does_nothing(context, node)
  if PLAIN[node.kind] then
    return true
  elseif node.kind == "Unary" then
    return node.operator == "-" and node.operand.kind == "Number"
  end
  local module = tree.calls_global(node, "require") and #node.arguments == 1 and node.arguments[1].value
  return module and context.api[module] ~= nil and untouched.require(context)
end

-- Whether the program does the same without the statement, whose variable nobody uses.
local function can_go(context, node)
  return node.kind == "LocalFunction"
    or #node.variables == 1 and #node.values <= 1 and (not node.values[1] or does_nothing(context, node.values[1]))
end

local function unused_local(context)
  for _, file in ipairs(context.project.files) do
    local later = {} -- variables behind which one of the same statement is used, so that they hold its place
    local declaration = {}
    tree.walk(file.chunk.body, function(node)
      if node.kind == "LocalFunction" then
        declaration[node.variable] = node
      elseif node.kind == "Local" then
        local used = false
        for i = #node.variables, 1, -1 do
          later[node.variables[i]] = used
          declaration[node.variables[i]] = node
          used = used or #node.variables[i].reads > 0
        end
      end
    end)
    for _, variable in ipairs(file.chunk.variables) do
      local is_meant = variable.name:find "^_" or variable.attribute == "close" or later[variable]
      if REPORTED[variable.sort] and #variable.reads == 0 and not is_meant then
        local what = #variable.writes > 0 and "is assigned to, but never read" or "is never used"
        local node = declaration[variable]
        local removal = #variable.writes == 0 and can_go(context, node) and edit.take_out(file, node, "took out " .. variable.name)
        context:report(variable, variable.name .. " " .. what, "take it out, or call it _" .. variable.name, removal or nil)
      end
    end
  end
end

return {
  { name = "undefined-global", severity = "error", check = undefined_global },
  { name = "unknown-api-name", severity = "error", check = unknown_api_name },
  { name = "unused-local", severity = "warning", check = unused_local },
}
