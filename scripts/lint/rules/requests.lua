-- Requests to services, and what becomes of their failures.

local changed = require "lint.changed"
local tree = require "lint.tree"
local worker = require "lint.worker"

-- Whether the options of a request have a pacer, or may have one for all that is known.
local function may_have_pacer(project, options)
  if not options then
    return false
  end
  for _, variable in ipairs(project:variables_of(options)) do
    if variable.fields_unknown or variable.fields and variable.fields.pacer or changed.elsewhere(project, variable) then
      return true
    end
  end
  local constructor = project:table_of(options, true)
  return not constructor or tree.field(constructor, "pacer") ~= nil
end

-- Whether a call asks this machine: by its first argument, or by the url among its options.
local function is_local(project, call)
  local first = call.arguments[1] and project:origin(call.arguments[1])
  local address = first and first.kind == "Table" and tree.field(first, "url") or first
  local text = address and tree.pieces(address)[1]
  return type(text) == "string" and (text:find "^https?://127%." or text:find "^https?://localhost") ~= nil
end

local function no_pacer(context)
  local project, seen = context.project, {}
  for sync in worker.syncs(context.worker) do
    local waits = project:reaches(sync.execute, function(node)
      return node.kind == "Method" and node.name == "wait"
    end)
    project:walk_reach(sync.execute, function(node)
      local is_request, options = worker.request(project, node)
      if waits or not is_request or seen[node] then
        return
      end
      seen[node] = true
      if not may_have_pacer(project, options) and not is_local(project, node) then
        context:report(node, "a request of a sync without a pacer: nothing keeps it below the service's limits",
          'declare one with worker:pacer("api", { … }), and give it to the request: pacer = api')
      end
    end)
  end
end

-- ---- errors-swallowed ----

local REPEATED = { sync = true, webhook = true, automation = true, job = true } -- what is tried again when it fails

local function is_protected_call(node)
  return node and (tree.calls_global(node, "pcall") or tree.calls_global(node, "xpcall"))
end

-- Whether the function that is called sends a request.
local function asks(project, func)
  local body = project:func(func)
  return body ~= nil and worker.fetches(project, body) or worker.request(project, { kind = "Call", callee = func, arguments = {} })
end

-- Whether the block does nothing with a failure: it has no call, and does not speak of the error.
local function is_silent(block, failure)
  local speaks = tree.any(block, function(node)
    return node.kind == "Call" or node.kind == "Method" or node.kind == "Name" and failure and node.variable == failure
  end)
  if speaks then
    return false
  end
  for _, statement in ipairs(block) do
    if statement.kind ~= "Return" then
      return false
    end
    local value = statement.values[1] and tree.bare(statement.values[1])
    local changes = value and value.kind == "Table" and tree.field(value, "changes")
    if value and not (changes and changes.kind == "Table" and #changes.items == 0) then
      return false
    end
  end
  return true
end

-- Whether the variable is read outside of the node.
local function is_read_outside(variable, node)
  local inside = 0
  tree.walk(node, function(below)
    if below.kind == "Name" and below.variable == variable then
      inside = inside + 1
    end
  end)
  return #variable.reads > inside
end

-- The If statement, when the variable is used by it alone, as a condition.
local function only_question(block, from, variable)
  for i = from, #block do
    local node = block[i]
    if tree.mentions(node, variable) then
      return node.kind == "If" and #node.clauses == 1 and not is_read_outside(variable, node) and node or nil,
        block[i + 1] == nil
    end
  end
end

-- Whether the variable is used once, in "ok and answer or {}": what has failed looks like an empty list.
local function becomes_empty(block, from, ok, failure)
  for i = from, #block do
    local found = tree.any(block[i], function(node)
      local choice = node.kind == "Binary" and node.operator == "or" and tree.bare(node.left)
      local default = choice and tree.bare(node.right)
      return choice and choice.kind == "Binary" and choice.operator == "and" and tree.bare(choice.left).variable == ok
        and default.kind == "Table" and #default.items == 0 and not (failure and is_read_outside(failure, choice))
    end)
    if found then
      return #ok.reads == 1
    end
  end
  return false
end

-- Whether nobody looks at the failure of `local ok, failure = pcall(...)`, which stands at a place of the block.
local function is_swallowed(project, block, at)
  local statement = block[at]
  local ok, failure = statement.variables[1], statement.variables[2]
  if #ok.reads == 0 then
    return true
  end
  local func = statement.values[1].arguments[1]
  if func and asks(project, func) and becomes_empty(block, at + 1, ok, failure) then
    return true
  end
  local question = only_question(block, at + 1, ok)
  if not question then
    return false
  end
  local clause = question.clauses[1]
  local condition = tree.bare(clause.condition)
  if condition.kind == "Unary" and condition.operator == "not" and tree.bare(condition.operand).variable == ok then
    return is_silent(clause.body, failure)
  elseif condition.kind == "Binary" and condition.operator == "and" then
    condition = tree.bare(condition.left) -- "if ok and answer then"
  end
  if condition.variable ~= ok or failure and is_read_outside(failure, question) then
    return false
  elseif question.otherwise then
    return is_silent(question.otherwise, failure)
  end
  local last = clause.body[#clause.body]
  return not last or last.kind ~= "Return" -- else what follows is for the failure
end

local function errors_swallowed(context)
  local seen = {}
  local function check(block)
    for i, node in ipairs(block) do
      local call = node.call or node.kind == "Local" and #node.values == 1 and node.values[1]
      if is_protected_call(call) and not seen[call] then
        seen[call] = true
        if node.kind == "CallStatement" or is_swallowed(context.project, block, i) then
          context:report(call, "a failure is caught here, and nobody is told: the run counts as a success",
            "let it go through, or handle the other case: if not ok then error(failure, 0) end")
        end
      end
    end
  end
  for _, capability in ipairs(context.worker.capabilities) do
    if REPEATED[capability.kind] and capability.execute then
      for _, func in ipairs(context.project:reach(capability.execute)) do
        check(func.body)
        tree.walk(func.body, function(node)
          if node.kind == "FunctionBody" then
            return false
          end
          for _, block in ipairs { node.body or {}, node.otherwise or {} } do
            check(block)
          end
        end)
      end
    end
  end
end

return {
  { name = "no-pacer", severity = "warning", check = no_pacer },
  { name = "errors-swallowed", severity = "warning", check = errors_swallowed },
}
