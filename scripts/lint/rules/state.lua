-- How a sync goes on from page to page, and from cycle to cycle.

local changed = require "lint.changed"
local first_run = require "lint.first_run"
local tree = require "lint.tree"
local worker = require "lint.worker"

local function state_of(sync)
  local parameter = sync.execute.parameters[1]
  return parameter and parameter.sort == "parameter" and parameter or nil
end

-- Whether a page of the sync counts on being followed by another that knows its nextState.
local function hands_on(sync, pages)
  for _, page in ipairs(pages) do
    if page.next_state and page.next_state.kind ~= "Nil" and (page.has_more ~= false or sync.mode == "incremental") then
      return page
    end
  end
end

local function state_unused(context)
  local project = context.project
  for sync in worker.syncs(context.worker) do
    local state = state_of(sync)
    local page = hands_on(sync, worker.pages(project, sync.execute))
    local keeps_elsewhere = project:reaches(sync.execute, function(node)
      return (project:builtin(node)) == "workers.kv"
    end)
    if page and (not state or #state.reads == 0) and not sync.execute.vararg and not keeps_elsewhere
      and worker.fetches(project, sync.execute) then
      context:report(state or sync.execute, "execute returns a nextState, but never reads the state that it is given",
        "read it: local page = state and state.page or 1")
    end
  end
end

-- ---- cursor-does-not-advance ----

local LOGICAL = { ["and"] = true, ["or"] = true, ["=="] = true, ["~="] = true }

-- Whether the expression is the state, or a default in its place.
local function is_state(node, state)
  node = tree.bare(node)
  return node.kind == "Name" and node.variable == state
    or node.kind == "Binary" and node.operator == "or" and tree.bare(node.left).variable == state
end

-- Whether something may have changed what the state, or another name for it, holds.
local function is_touched(project, execute, state)
  if changed.deep(project, state) then
    return true
  end
  local names = { [state] = true }
  tree.walk(execute.body, function(node)
    for i, variable in ipairs(node.kind == "Local" and node.variables or {}) do
      names[variable] = node.values[i] and is_state(node.values[i], state) or nil
    end
  end)
  local function is_name(node)
    node = tree.bare(node)
    while node.kind == "Index" do
      node = tree.bare(node.object)
    end
    return node.kind == "Name" and names[node.variable or 0]
  end
  return tree.any(execute.body, function(node)
    if node.kind == "Assign" then
      for i, target in ipairs(node.targets) do
        if target.kind == "Index" and is_name(target) then
          return true
        elseif is_name(target) and not (#node.values == #node.targets and is_state(node.values[i], state)) then
          return true
        end
      end
    elseif node.kind == "Method" and is_name(node.object) then
      return true
    elseif (node.kind == "Call" or node.kind == "Method") and not tree.calls_global(node, "type") then
      for _, argument in ipairs(node.arguments) do
        local bare = tree.bare(argument)
        if bare.kind == "Name" and names[bare.variable or 0] then
          return true
        end
      end
    end
    return false
  end)
end

-- "constant" for what never changes, "state" for what is as the state was, nil for anything else.
local function standing(project, node, state)
  node = tree.bare(node)
  if node.kind == "Name" then
    local variable = node.variable
    if variable == state then
      return "state"
    elseif not variable or not variable.value or #variable.writes > 0 or changed.deep(project, variable) then
      return nil
    end
    local value = tree.bare(variable.value)
    return not (value.kind == "Table" and #variable.reads > 1) and standing(project, value, state) or nil
  elseif node.kind == "Index" then
    return tree.constant(node.key) ~= nil and standing(project, node.object, state) or nil
  elseif node.kind == "Table" then
    local result = "constant"
    for _, item in ipairs(node.items) do
      local part = standing(project, item.value, state)
      if not part or is_state(item.value, state) then -- the state within itself is another one
        return nil
      end
      result = part == "state" and part or result
    end
    return result
  elseif node.kind == "Binary" then
    local left, right = standing(project, node.left, state), standing(project, node.right, state)
    if not left or not right then
      return nil
    elseif left == "constant" and right == "constant" then
      return "constant"
    end
    return LOGICAL[node.operator] and "state" or nil
  elseif node.kind == "Nil" or tree.constant(node) ~= nil then
    return "constant"
  end
end

-- Whether a value depends on the state by itself, not through what was fetched with it.
local function depends(node, state, seen)
  seen = seen or {}
  return tree.any(node, function(below)
    local variable = below.kind == "Name" and below.variable
    if variable == state then
      return true
    elseif not variable or not variable.value or variable.value.kind == "FunctionBody" or seen[variable] then
      return false
    end
    seen[variable] = true
    return depends(variable.value, state, seen)
  end, function(below)
    return below.kind ~= "Call" and below.kind ~= "Method" and below.kind ~= "FunctionBody"
  end)
end

-- Whether the return is reached whatever the state is.
local function is_unconditional(execute, page)
  local block = execute.body
  if block[#block] ~= page.node then
    return false
  end
  for i = 1, #block - 1 do
    if tree.any(block[i], function(node)
      return node.kind == "Return"
    end, function(node)
      return node.kind ~= "FunctionBody"
    end) then
      return false
    end
  end
  return true
end

-- Whether the page, which is not the last one for certain, hands on what it was given.
local function stands_still(project, sync, page, state)
  local value = page.next_state
  if not value or value.kind == "Nil" or page.has_more == false or is_touched(project, sync.execute, state) then
    return false
  end
  local unconditional = is_unconditional(sync.execute, page)
  if is_state(value, state) then
    return unconditional or page.has_more == true
  end
  return unconditional and standing(project, value, state) ~= nil and not depends(page.has_more_value, state)
end

local function cursor_does_not_advance(context)
  for sync in worker.syncs(context.worker) do
    local state = state_of(sync)
    for _, page in ipairs(state and #state.reads > 0 and worker.pages(context.project, sync.execute) or {}) do
      if stands_still(context.project, sync, page, state) then
        context:report(page.next_state, "nextState is the same on every page, so that the sync cannot get on",
          "make it from what the page has fetched, or count: { page = page + 1 }")
      end
    end
  end
end

-- ---- no-termination ----

local function no_termination(context)
  for sync in worker.syncs(context.worker) do
    local pages = worker.pages(context.project, sync.execute)
    local endless = #pages > 0
    for _, page in ipairs(pages) do
      endless = endless and page.has_more == true
    end
    if endless then
      context:report(pages[#pages].has_more_value, "hasMore is true on every page: the cycle has no end",
        "set it to whether there is another page, and to false on the last one")
    end
  end
end

local function check_first_run(context)
  for sync in worker.syncs(context.worker) do
    local state = state_of(sync)
    local place = state and first_run.find(context.project, sync.execute, state)
    if place then
      context:report(place, "the state is nil on the first page, and is indexed without a look",
        "ask first: state and state.page or 1")
    end
  end
end

return {
  { name = "state-unused", severity = "warning", check = state_unused },
  { name = "cursor-does-not-advance", severity = "error", check = cursor_does_not_advance },
  { name = "no-termination", severity = "error", check = no_termination },
  { name = "first-run", severity = "error", check = check_first_run },
}
