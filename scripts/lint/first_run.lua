-- Where a function indexes a parameter that may be nil. Follows the conditions; what it does not understand, it
-- takes for a check.

local flow = require "lint.flow"
local tree = require "lint.tree"

local first_run = {}

local MAX_CALLS = 4 -- from the function into others

local Search = {}
Search.__index = Search

local function is_nil(node)
  return tree.bare(node).kind == "Nil"
end

-- Whether it is the middle of "condition and value or other", meant to be neither nil nor false.
local function is_plain(node, variable)
  local kind = tree.bare(node).kind
  return kind ~= "Nil" and kind ~= "False" and kind ~= "Binary" and kind ~= "Unary" and not tree.mentions(node, variable)
end

-- Whether the condition speaks of the variable in a way that is not understood: in a call, or by another variable, one that is
-- assigned to included: perhaps where the variable was looked at.
function Search:is_obscure(node)
  return tree.any(node, function(below)
    if below.kind == "Call" or below.kind == "Method" then
      return tree.mentions(below, self.variable)
    elseif below.kind == "Index" then
      return tree.mentions(below, self.variable) -- would have failed
    end
    local other = below.kind == "Name" and below.variable
    return other and other ~= self.variable
      and (#other.writes > 0 or other.value and tree.mentions(other.value, self.variable))
  end)
end

-- Whether the condition can have this outcome only when the variable is not nil.
function Search:proves(node, outcome)
  node = tree.bare(node)
  if node.kind == "Name" and node.variable == self.variable then
    return outcome
  elseif node.kind == "Unary" and node.operator == "not" then
    return self:proves(node.operand, not outcome)
  elseif node.kind == "Binary" and (node.operator == "and" or node.operator == "or") then
    local left, right = self:proves(node.left, outcome), self:proves(node.right, outcome)
    if (node.operator == "and") == outcome then
      return left or right
    elseif is_plain(node.right, self.variable) then -- as in "not state and 1 or state.page"
      return left
    end
    return left and right
  elseif node.kind == "Binary" and (node.operator == "==" or node.operator == "~=") then
    local other = tree.bare(node.left).variable == self.variable and node.right
      or tree.bare(node.right).variable == self.variable and node.left
    if other and tree.bare(node.left).kind ~= "Index" then
      local equal = (node.operator == "==") == outcome
      return equal ~= is_nil(other)
    end
  end
  return self:is_obscure(node)
end

function Search:report(node)
  self.found = self.found or node
end

function Search:call(node)
  for i, argument in ipairs(node.arguments) do
    local bare = tree.bare(argument)
    if bare.kind == "Name" and bare.variable == self.variable and self.calls < MAX_CALLS then
      local func = self.project:func(node.callee)
      local parameter = func and func.parameters[i]
      if parameter and first_run.find(self.project, func, parameter, self.calls + 1) then
        self:report(node)
      end
    end
  end
end

function Search:expression(node, safe)
  if safe or self.found then
    return
  end
  if node.kind == "Binary" and (node.operator == "and" or node.operator == "or") then
    self:expression(node.left, safe)
    self:expression(node.right, safe or self:proves(node.left, node.operator == "and"))
    return
  elseif node.kind == "FunctionBody" then
    self:block(node.body, #self.variable.writes > 0 or self.is_tested) -- it may be called behind the test
    return
  elseif node.kind == "Index" or node.kind == "Method" then
    local object = tree.bare(node.object)
    if object.kind == "Name" and object.variable == self.variable then
      self:report(node)
    end
  elseif node.kind == "Call" then
    local protected = tree.calls_global(node, "pcall") or tree.calls_global(node, "xpcall")
    if protected then
      return
    end
    self:call(node)
  end
  tree.each_child(node, function(child)
    self:expression(child, safe)
  end)
end

function Search:list(nodes, safe)
  for _, node in ipairs(nodes) do
    self:expression(node, safe)
  end
end

-- Each returns whether the variable is not nil afterwards.
local STATEMENTS = {}

function STATEMENTS.Assign(self, node, safe)
  self:list(node.values, safe)
  self:list(node.targets, safe)
  for _, target in ipairs(node.targets) do
    safe = safe or target.kind == "Name" and target.variable == self.variable
  end
  return safe
end

function STATEMENTS.If(self, node, safe)
  local after = true
  local function branch(block, safe_inside)
    local safe_after, ended = self:block(block, safe_inside)
    after = after and (ended or safe_after)
  end
  for _, clause in ipairs(node.clauses) do
    self:expression(clause.condition, safe)
    branch(clause.body, safe or self:proves(clause.condition, true))
    safe = safe or self:proves(clause.condition, false)
  end
  if node.otherwise then
    branch(node.otherwise, safe)
  else
    after = after and safe
  end
  return after
end

function STATEMENTS.While(self, node, safe)
  self:expression(node.condition, safe)
  self:block(node.body, safe or self:proves(node.condition, true))
  local leaves = tree.any(node.body, function(below)
    return below.kind == "Break" or below.kind == "Goto"
  end)
  return safe or not leaves and self:proves(node.condition, false)
end

function STATEMENTS.Do(self, node, safe)
  return (self:block(node.body, safe))
end

function STATEMENTS.Repeat(self, node, safe)
  local after = self:block(node.body, safe)
  self:expression(node.condition, after)
  return after
end

function STATEMENTS.NumericFor(self, node, safe)
  self:list({ node.start, node.stop, node.step }, safe)
  self:block(node.body, safe)
  return safe
end

function STATEMENTS.GenericFor(self, node, safe)
  self:list(node.values, safe)
  local looked = tree.any({ kind = "Table", items = node.values }, function(below)
    return below.kind == "Call" and self:is_obscure(below) -- "pairs(state or {})"
  end)
  self:block(node.body, safe or looked)
  return safe
end

function STATEMENTS.CallStatement(self, node, safe)
  self:expression(node.call, safe)
  if tree.calls_global(node.call, "assert") and node.call.arguments[1] then
    return safe or self:proves(node.call.arguments[1], true)
  end
  return safe
end

function STATEMENTS.Label()
  return true -- who knows where it was come from
end

-- Returns whether the variable is not nil afterwards, and whether the block never gets to its end.
function Search:block(block, safe)
  for _, node in ipairs(block) do
    local visit = STATEMENTS[node.kind]
    if visit then
      safe = visit(self, node, safe)
    else
      tree.each_child(node, function(child)
        self:expression(child, safe)
      end)
    end
    if self.found then
      return true, false
    elseif flow.ends(node) then
      return safe, true
    end
  end
  return safe, false
end

-- Whether the function does anything with its parameter but index it.
local function is_tested(func, parameter)
  local indexed = 0
  tree.walk(func.body, function(node)
    local object = (node.kind == "Index" or node.kind == "Method") and tree.bare(node.object)
    if object and object.kind == "Name" and object.variable == parameter then
      indexed = indexed + 1
    end
  end)
  return indexed < #parameter.reads
end

---The first place where the function indexes its parameter although it may be nil; nil when there is none for certain.
---@param calls? integer how many calls led here
function first_run.find(project, func, parameter, calls)
  local self = setmetatable({ project = project, variable = parameter, calls = calls or 0 }, Search)
  self.is_tested = is_tested(func, parameter)
  self:block(func.body, false)
  return self.found
end

return first_run
