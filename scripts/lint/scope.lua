-- Which name means which variable, where a goto may lead, and the limits that Lua sets to both. The parser tells it
-- what begins and ends.

local scope = {}

local MAX_LOCALS = 200
local MAX_UPVALUES = 255

---@class lint.Variable
---@field name string
---@field line integer
---@field column integer
---@field sort string "local", "parameter", "loop", "function" or "self"
---@field attribute? string "const" or "close"
---@field value? table the expression that it begins with, when that is a single one
---@field reads table[] the Name expressions that use it
---@field writes table[] the Name expressions that assign to it
---@field owner table the function that it belongs to

---@class lint.Scope
local Scope = {}
Scope.__index = Scope

---@param fail fun(token: table, message: string) raises
---@return lint.Scope
function scope.new(fail)
  return setmetatable({ fail = fail, variables = {} }, Scope)
end

---Begins a function. Its node gets the field parent.
function Scope:enter_function(node)
  node.parent = self.func and self.func.node
  self.func = { node = node, above = self.func, locals = {}, labels = {}, gotos = {}, upvalues = {}, upvalue_count = 0 }
  self:enter_block(false)
end

function Scope:leave_function()
  self:leave_block()
  local pending = self.func.gotos[1]
  if pending then
    if pending.name == "break" then
      self.fail(pending.node, "break outside a loop")
    end
    self.fail(pending.node, ("no visible label '%s' for goto"):format(pending.name))
  end
  self.func = self.func.above
end

function Scope:enter_block(is_loop)
  local func = self.func
  func.block = {
    above = func.block, is_loop = is_loop, locals = #func.locals, labels = #func.labels, gotos = #func.gotos,
  }
end

function Scope:leave_block()
  local func, block = self.func, self.func.block
  for i = #func.locals, block.locals + 1, -1 do
    func.locals[i] = nil
  end
  for i = #func.labels, block.labels + 1, -1 do
    func.labels[i] = nil
  end
  if block.is_loop then -- what break leads to stands right behind the loop
    for i = #func.gotos, block.gotos + 1, -1 do
      if func.gotos[i].name == "break" then
        table.remove(func.gotos, i)
      end
    end
  end
  for i = block.gotos + 1, #func.gotos do
    func.gotos[i].locals = math.min(func.gotos[i].locals, block.locals)
  end
  func.block = block.above
end

---@return lint.Variable
function Scope:variable(token, sort)
  return {
    name = token.value, line = token.line, column = token.column, sort = sort, reads = {}, writes = {},
    owner = self.func.node,
  }
end

---From here on the name means the variable.
function Scope:declare(variable)
  local locals = self.func.locals
  if #locals >= MAX_LOCALS then
    self.fail(variable, ("too many local variables (limit is %d)"):format(MAX_LOCALS))
  end
  locals[#locals + 1] = variable
  self.variables[#self.variables + 1] = variable
end

-- Notes that the functions between the present one and the variable's hold on to it.
function Scope:hold(key, owner, node)
  local func = self.func
  while func and func.node ~= owner do
    if not func.upvalues[key] then
      func.upvalues[key] = true
      func.upvalue_count = func.upvalue_count + 1
      if func.upvalue_count > MAX_UPVALUES then
        self.fail(node, ("too many upvalues (limit is %d)"):format(MAX_UPVALUES))
      end
    end
    func = func.above
  end
end

---What a name means: a variable, or nil for a global.
---@return lint.Variable?
function Scope:find(name)
  local func = self.func
  while func do
    for i = #func.locals, 1, -1 do
      if func.locals[i].name == name then
        return func.locals[i]
      end
    end
    func = func.above
  end
end

---Fills in a Name expression.
function Scope:resolve(node)
  local variable = self:find(node.name)
  if variable then
    node.variable = variable
    variable.reads[#variable.reads + 1] = node
    self:hold(variable, variable.owner, node)
  else
    local environment = self:find "_ENV"
    self:hold(environment or "_ENV", environment and environment.owner, node)
  end
end

---Turns a Name that was read into one that is assigned to.
function Scope:assign(node)
  local variable = node.variable
  if not variable then
    return
  end
  if variable.attribute then
    self.fail(node, ("attempt to assign to const variable '%s'"):format(variable.name))
  end
  for i = #variable.reads, 1, -1 do
    if variable.reads[i] == node then
      table.remove(variable.reads, i)
      break
    end
  end
  variable.writes[#variable.writes + 1] = node
end

---A goto, or a break, whose name is "break".
function Scope:jump(node, name)
  for _, label in ipairs(self.func.labels) do
    if label.name == name then
      return
    end
  end
  local gotos = self.func.gotos
  gotos[#gotos + 1] = { name = name, node = node, locals = #self.func.locals }
end

---@param last boolean nothing but empty statements follows in the block
function Scope:label(node, name, last)
  local func, block = self.func, self.func.block
  for _, label in ipairs(func.labels) do
    if label.name == name then
      self.fail(node, ("label '%s' already defined on line %d"):format(name, label.node.line))
    end
  end
  func.labels[#func.labels + 1] = { name = name, node = node }
  local locals = last and block.locals or #func.locals
  for i = #func.gotos, block.gotos + 1, -1 do
    local pending = func.gotos[i]
    if pending.name == name then
      if pending.locals < locals then
        self.fail(pending.node, ("goto '%s' jumps into the scope of local '%s'"):format(
          name, func.locals[pending.locals + 1].name))
      end
      table.remove(func.gotos, i)
    end
  end
end

return scope
