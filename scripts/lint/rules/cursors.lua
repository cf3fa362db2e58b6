-- Where the next page, and the next cycle, begin.

local tree = require "lint.tree"
local worker = require "lint.worker"

-- ---- keyset-tie-break ----

local TIME_WORDS = { "updated", "modified", "changed", "created", "timestamp", "modstamp", "edited", "since" }

local function is_time_name(name)
  name = type(name) == "string" and name:lower() or ""
  for _, word in ipairs(TIME_WORDS) do
    if name:find(word, 1, true) then
      return true
    end
  end
  return name:find "_at$" ~= nil or name == "at" or name == "time" or name:find "_time$" ~= nil
end

-- All text of an expression that joins or formats strings.
local function text_of(node)
  local pieces = {}
  tree.walk(node, function(below)
    local value = (below.kind == "String" or below.kind == "Name") and tree.constant(below)
    if type(value) == "string" then
      pieces[#pieces + 1] = value
    elseif below.kind == "Name" or below.kind == "Index" then
      pieces[#pieces + 1] = "?"
    end
    return below.kind ~= "FunctionBody" and below.kind ~= "Index"
  end)
  return table.concat(pieces, " ")
end

-- Whether a text asks for what is after a time, "updated_at > ", and nothing else in it decides among equal ones.
local function is_strictly_after(text)
  local name, behind = text:match "([%a_][%w_.]*)%s*>(.*)$"
  return name ~= nil and is_time_name(name) and not behind:find "[=<>]"
end

local GREATER = { "[gt]", "_gt", ".gt", "__gt", "[$gt]" }

-- The same for tables: { ["updated_at[gt]"] = since }, { propertyName = "updatedAt", operator = "GT" }.
local function strict_item(constructor)
  local operator = tree.field(constructor, "operator")
  if operator and tree.constant(operator) == "GT" then
    for _, item in ipairs(constructor.items) do
      if is_time_name(tree.constant(item.value)) then
        return item
      end
    end
  end
  for _, item in ipairs(constructor.items) do
    local name = item.key and tree.constant(item.key)
    for _, ending in ipairs(type(name) == "string" and GREATER or {}) do
      if name:sub(-#ending) == ending and is_time_name(name:sub(1, -#ending - 1)) then
        return item
      end
    end
  end
end

-- Whether an expression takes a time from an item: last.updated_at, items[#items].updated_at, or a variable that a loop
-- has set.
local function is_of_item(node)
  return tree.any(node, function(below)
    local origin = below.kind ~= "FunctionBody" and tree.origin(below)
    if origin and origin.kind == "Index" and is_time_name(tree.constant(origin.key)) then
      local object = tree.bare(origin.object)
      return object.kind ~= "Name" or object.variable ~= nil and object.variable.sort ~= "parameter"
    end
    return below.kind == "Name" and below.variable ~= nil and #below.variable.writes > 0
  end)
end

-- Whether the state has nothing but times in it, one of which is that of an item.
local function is_time_alone(project, value)
  local constructor = project:table_of(value)
  local from_item = false
  for _, item in ipairs(constructor and constructor.items or {}) do
    if not item.key or not is_time_name(tree.constant(item.key)) then
      return false
    end
    from_item = from_item or is_of_item(item.value)
  end
  return from_item
end

local LAG_PATTERNS = { "^[Ll]ag", "^LAG", "_lag", "_LAG", "Lag", "[Oo]verlap", "OVERLAP", "[Mm]argin", "MARGIN" }

-- Whether a name on the way says that an overlap is made.
local function mentions_lag(project, execute)
  return project:reaches(execute, function(node)
    local name = node.kind == "Name" and node.name or node.kind == "Item" and node.key and tree.constant(node.key)
    for _, pattern in ipairs(type(name) == "string" and LAG_PATTERNS or {}) do
      if name:find(pattern) then
        return true
      end
    end
  end)
end

local function keyset_tie_break(context)
  local project = context.project
  for sync in worker.syncs(context.worker) do
    local alone = false
    for _, page in ipairs(worker.pages(project, sync.execute)) do
      alone = alone or page.next_state and page.has_more ~= false and is_time_alone(project, page.next_state)
    end
    local found
    project:walk_reach(sync.execute, function(node)
      if found or not alone then
        return false
      elseif node.kind == "Table" then
        found = strict_item(node)
      elseif node.kind == "Binary" and node.operator == ".." or node.kind == "String"
        or node.kind == "Method" and node.name == "format" or node.kind == "Call" then
        found = is_strictly_after(text_of(node)) and node
        return node.kind == "Call" -- the text was looked at as a whole
      end
    end)
    if found and not mentions_lag(project, sync.execute) then
      context:report(found, "items with the same time as the last one of a page are passed over",
        "ask for what comes after (time, id), or use paginate.keyset")
    end
  end
end

-- ---- no-lag ----

local CLOCKS = { ["workers.time"] = { now = true, nowMs = true, today = true } }

local function is_clock(project, node)
  local module, name = project:builtin(node)
  if module then
    return CLOCKS[module] and CLOCKS[module][name] or false
  end
  local path, variable = tree.path(node.callee)
  return not variable and (path == "os.date" or path == "os.time" and #node.arguments == 0)
end

-- The expression, its variables replaced by what they are made of, has the clock in it and takes nothing off.
local function is_present(project, node)
  local has_clock, takes_off = false, false
  local seen = {}
  local function look(part)
    tree.walk(part, function(below)
      if below.kind == "Call" and is_clock(project, below) then
        has_clock = true
      elseif below.kind == "Binary" and below.operator == "-" or below.kind == "Unary" and below.operator == "-" then
        takes_off = true
      elseif below.kind == "Number" and below.value < 0 then
        takes_off = true
      end
      local variable = below.kind == "Name" and below.variable
      if variable and not seen[variable] and variable.value and variable.value.kind ~= "FunctionBody" then
        seen[variable] = true
        look(variable.value)
      end
      return below.kind ~= "FunctionBody"
    end)
  end
  look(node)
  return has_clock and not takes_off
end

-- Whether something is taken off anywhere on the way: then the overlap is made where the state is read.
local function subtracts(project, execute)
  return project:reaches(execute, function(node)
    if node.kind == "Binary" and node.operator == "-" then
      return tree.constant(node) == nil
    end
    local module, name = project:builtin(node)
    return module == "workers.time" and (name == "add" or name == "subtract" or name == "shift")
  end)
end

-- Whether a field of this name is read anywhere, as that of the state would be.
local function is_read(project, execute, name)
  return project:reaches(execute, function(node)
    return node.kind == "Index" and tree.constant(node.key) == name
  end)
end

-- The fields that a state is made of, those that are put in later included: name -> value.
local function fields_of(project, node)
  local fields = {}
  local constructor = project:table_of(node, true)
  for _, item in ipairs(constructor and constructor.items or {}) do
    local name = item.key and tree.constant(item.key)
    if name ~= nil then
      fields[name] = item.value
    end
  end
  local variable = tree.bare(node).kind == "Name" and tree.bare(node).variable
  for name, values in pairs(variable and variable.fields or {}) do
    fields[name] = values[#values]
  end
  return fields
end

local LAGGED = { keyset = true, window = true, feed = true }

local function check_next_state(context, execute, page)
  for name, value in pairs(page.next_state and fields_of(context.project, page.next_state) or {}) do
    if is_present(context.project, value) and is_read(context.project, execute, name) then
      context:report(value, "the next cycle begins at this moment: what the service shows late is never seen",
        "begin a little earlier, by 15 seconds or more: time.nowMs() - 15000")
    end
  end
end

-- lag = 0 of workers.paginate.
local function check_paginate(context, call)
  local module, name = context.project:builtin(call)
  local options = module == "workers.paginate" and LAGGED[name] and call.arguments[2]
  local constructor = options and context.project:table_of(options)
  local lag = constructor and tree.field(constructor, "lag")
  if lag and tree.constant(lag) == 0 then
    context:report(lag, "lag = 0: what the service shows late is never seen",
      "leave it out, or give the delay in seconds")
  end
end

local function no_lag(context)
  local project = context.project
  for sync in worker.syncs(context.worker) do
    if sync.mode == "incremental" then
      local excused = subtracts(project, sync.execute) or mentions_lag(project, sync.execute)
      for _, page in ipairs(excused and {} or worker.pages(project, sync.execute)) do
        check_next_state(context, sync.execute, page)
      end
      project:walk_reach(sync.execute, function(node)
        check_paginate(context, node)
      end)
    end
  end
end

return {
  { name = "keyset-tie-break", severity = "warning", check = keyset_tie_break },
  { name = "no-lag", severity = "warning", check = no_lag },
}
