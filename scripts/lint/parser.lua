-- Lua 5.4's grammar as a syntax tree. Must accept exactly what Lua's own compiler accepts, and must not need more
-- depth than it.
--
-- A node has kind, line and column, and, but for the main function, at, the byte where its place is. Local and
-- LocalFunction have as well stop, their last byte; last_line; and following, the kind of the token behind them. Statements: Local, LocalFunction, Function, Assign, CallStatement, Do, While,
-- Repeat, If, NumericFor, GenericFor, Return, Break, Goto, Label. Expressions: Nil, True, False, Number, String,
-- Vararg, FunctionBody, Name, Index, Call, Method, Binary, Unary, Table, Paren. FIELDS of lint/tree.lua says what is
-- in each.

local lexer = require "lint.lexer"
local scope = require "lint.scope"

local parser = {}

local MAX_DEPTH = 195 -- Lua's own limit is 200, of which some are taken when it begins

-- Left and right priority; the right one is lower where the operator is right-associative.
local BINARY = {
  ["or"] = { 1, 1 }, ["and"] = { 2, 2 },
  ["<"] = { 3, 3 }, [">"] = { 3, 3 }, ["<="] = { 3, 3 }, [">="] = { 3, 3 }, ["~="] = { 3, 3 }, ["=="] = { 3, 3 },
  ["|"] = { 4, 4 }, ["~"] = { 5, 5 }, ["&"] = { 6, 6 }, ["<<"] = { 7, 7 }, [">>"] = { 7, 7 },
  [".."] = { 9, 8 }, ["+"] = { 10, 10 }, ["-"] = { 10, 10 },
  ["*"] = { 11, 11 }, ["/"] = { 11, 11 }, ["//"] = { 11, 11 }, ["%"] = { 11, 11 },
  ["^"] = { 14, 13 },
}
local UNARY = { ["not"] = true, ["-"] = true, ["~"] = true, ["#"] = true }
local UNARY_PRIORITY = 12
local BLOCK_ENDS = { ["else"] = true, ["elseif"] = true, ["end"] = true, ["until"] = true, ["end of file"] = true }

---@class lint.Parser
local Parser = {}
Parser.__index = Parser

-- At a token or a node; raises a lint.Mistake.
local function fail(place, message)
  error({ message = message, line = place.line, column = place.column }, 0)
end

local function shown(token)
  if token.kind == "name" or token.kind == "string" or token.kind == "number" then
    return tostring(token.value)
  end
  return token.kind
end

function Parser:advance()
  local token = self.token
  self.token = self.ahead or self.lexer:next()
  self.ahead = nil
  self.last = token
  return token
end

function Parser:peek()
  self.ahead = self.ahead or self.lexer:next()
  return self.ahead
end

function Parser:is(kind)
  return self.token.kind == kind
end

function Parser:accept(kind)
  if self.token.kind == kind then
    return self:advance()
  end
end

function Parser:expect(kind, opening)
  if self.token.kind ~= kind then
    local since = opening and opening.line ~= self.token.line
      and (" (to close '%s' at line %d)"):format(opening.kind, opening.line) or ""
    fail(self.token, ("'%s' expected%s near '%s'"):format(kind, since, shown(self.token)))
  end
  return self:advance()
end

function Parser:expect_name()
  if self.token.kind ~= "name" then
    fail(self.token, ("name expected near '%s'"):format(shown(self.token)))
  end
  return self:advance()
end

function Parser:deeper()
  self.depth = self.depth + 1
  if self.depth > MAX_DEPTH then
    fail(self.token, ("nested more than %d deep"):format(MAX_DEPTH))
  end
end

function Parser:shallower()
  self.depth = self.depth - 1
end

local function node(kind, place, fields)
  fields = fields or {}
  fields.kind, fields.line, fields.column, fields.at = kind, place.line, place.column, place.at
  return fields
end

-- Notes where a statement ends, which has just been read.
function Parser:ending(statement)
  statement.stop, statement.last_line, statement.following = self.last.stop, self.last.last_line, self.token.kind
  return statement
end

-- ---- expressions ----

function Parser:name_expression(token)
  local result = node("Name", token, { name = token.value })
  self.scope:resolve(result)
  return result
end

local function string_of(token)
  return node("String", token, { value = token.value })
end

function Parser:expression_list()
  local list = { self:expression() }
  while self:accept "," do
    list[#list + 1] = self:expression()
  end
  return list
end

function Parser:table_constructor()
  local opening = self:expect "{"
  local items = {}
  while not self:is "}" do
    local place = self.token
    local item
    if self:is "name" and self:peek().kind == "=" then
      local key = string_of(self:advance())
      self:advance()
      item = { key = key, value = self:expression() }
    elseif self:accept "[" then
      local key = self:expression()
      self:expect "]"
      self:expect "="
      item = { key = key, value = self:expression() }
    else
      item = { value = self:expression() }
    end
    items[#items + 1] = node("Item", place, item)
    if not self:accept "," and not self:accept ";" then
      break
    end
  end
  self:expect("}", opening)
  return node("Table", opening, { items = items })
end

-- The parameters and the body of a function; place is where it begins.
function Parser:function_body(place, has_self)
  local result = node("FunctionBody", place, { parameters = {} })
  self.scope:enter_function(result)
  local function parameter(token, sort)
    local variable = self.scope:variable(token, sort)
    self.scope:declare(variable)
    result.parameters[#result.parameters + 1] = variable
  end
  if has_self then
    parameter({ value = "self", line = place.line, column = place.column }, "self")
  end
  self:expect "("
  if not self:is ")" then
    repeat
      if self:accept "..." then
        result.vararg = true
        break
      end
      parameter(self:expect_name(), "parameter")
    until not self:accept ","
  end
  self:expect ")"
  result.body = self:block()
  self:expect("end", place)
  self.scope:leave_function()
  return result
end

function Parser:call_arguments()
  local place = self.token
  if self:is "string" then
    return { string_of(self:advance()) }
  elseif self:is "{" then
    return { self:table_constructor() }
  elseif self:accept "(" then
    if self:accept ")" then
      return {}
    end
    local list = self:expression_list()
    self:expect(")", place)
    return list
  end
  fail(self.token, ("function arguments expected near '%s'"):format(shown(self.token)))
end

function Parser:primary()
  local token = self.token
  if token.kind == "name" then
    return self:name_expression(self:advance())
  elseif token.kind == "(" then
    self:advance()
    local inner = self:expression()
    self:expect(")", token)
    return node("Paren", token, { inner = inner })
  end
  fail(token, ("unexpected symbol near '%s'"):format(shown(token)))
end

function Parser:suffixed()
  local start = self.token
  local result = self:primary()
  while true do
    local token = self.token
    if token.kind == "." then
      self:advance()
      local key = self:expect_name()
      result = node("Index", key, { object = result, key = string_of(key) })
    elseif token.kind == "[" then
      self:advance()
      local key = self:expression()
      self:expect "]"
      result = node("Index", token, { object = result, key = key })
    elseif token.kind == ":" then
      self:advance()
      local name = self:expect_name()
      result = node("Method", name, { object = result, name = name.value, arguments = self:call_arguments() })
    elseif token.kind == "(" or token.kind == "string" or token.kind == "{" then
      result = node("Call", start, { callee = result, arguments = self:call_arguments() })
    else
      return result
    end
  end
end

local LITERALS = { ["nil"] = "Nil", ["true"] = "True", ["false"] = "False" }

function Parser:simple()
  local token = self.token
  local kind = token.kind
  if kind == "number" then
    return node("Number", self:advance(), { value = token.value })
  elseif kind == "string" then
    return string_of(self:advance())
  elseif LITERALS[kind] then
    return node(LITERALS[kind], self:advance())
  elseif kind == "..." then
    if not self.scope.func.node.vararg then
      fail(token, "cannot use '...' outside a vararg function")
    end
    return node("Vararg", self:advance())
  elseif kind == "{" then
    return self:table_constructor()
  elseif kind == "function" then
    return self:function_body(self:advance(), false)
  end
  return self:suffixed()
end

function Parser:expression(limit)
  limit = limit or 0
  self:deeper()
  local left
  local token = self.token
  if UNARY[token.kind] then
    self:advance()
    left = node("Unary", token, { operator = token.kind, operand = self:expression(UNARY_PRIORITY) })
  else
    left = self:simple()
  end
  while true do
    local operator = self.token
    local priority = BINARY[operator.kind]
    if not priority or priority[1] <= limit then
      break
    end
    self:advance()
    left = node("Binary", operator, {
      operator = operator.kind, left = left, right = self:expression(priority[2]),
    })
  end
  self:shallower()
  return left
end

-- ---- statements ----

function Parser:block()
  local list = node("Block", self.token)
  while not BLOCK_ENDS[self.token.kind] do
    if self:is "return" then
      list[#list + 1] = self:return_statement()
      break
    end
    local statement = self:statement()
    if statement then
      list[#list + 1] = statement
    end
    if self.labels then -- several labels in a row are read as one statement
      for _, label in ipairs(self.labels) do
        list[#list + 1] = label
      end
      self.labels = nil
    end
  end
  return list
end

function Parser:scoped_block(is_loop)
  self.scope:enter_block(is_loop)
  local body = self:block()
  self.scope:leave_block()
  return body
end

function Parser:return_statement()
  local place = self:expect "return"
  self:deeper()
  local values = {}
  if not BLOCK_ENDS[self.token.kind] and not self:is ";" then
    values = self:expression_list()
  end
  self:accept ";"
  self:shallower()
  return node("Return", place, { values = values })
end

function Parser:if_statement()
  local place = self.token
  local clauses, otherwise = {}, nil
  repeat
    local clause = self:advance() -- if or elseif
    local condition = self:expression()
    self:expect "then"
    clauses[#clauses + 1] = node("Clause", clause, { condition = condition, body = self:scoped_block(false) })
  until not self:is "elseif"
  if self:accept "else" then
    otherwise = self:scoped_block(false)
  end
  self:expect("end", place)
  return node("If", place, { clauses = clauses, otherwise = otherwise })
end

function Parser:while_statement()
  local place = self:advance()
  local condition = self:expression()
  self:expect "do"
  local body = self:scoped_block(true)
  self:expect("end", place)
  return node("While", place, { condition = condition, body = body })
end

function Parser:repeat_statement()
  local place = self:advance()
  self.scope:enter_block(true)
  self.scope:enter_block(false)
  local body = self:block()
  self:expect("until", place)
  local condition = self:expression() -- it sees the body's variables
  self.scope:leave_block()
  self.scope:leave_block()
  return node("Repeat", place, { body = body, condition = condition })
end

function Parser:for_body(place, variables)
  self:expect "do"
  self.scope:enter_block(false)
  for _, variable in ipairs(variables) do
    self.scope:declare(variable)
  end
  local body = self:block()
  self.scope:leave_block()
  self.scope:leave_block()
  self:expect("end", place)
  return body
end

-- Variables of a loop that only Lua itself sees; they count among the locals.
function Parser:hidden(place, count)
  local token = { value = "(for state)", line = place.line, column = place.column }
  for _ = 1, count do
    self.scope:declare(self.scope:variable(token, "hidden"))
  end
end

function Parser:for_statement()
  local place = self:advance()
  local first = self:expect_name()
  self.scope:enter_block(true)
  if self:accept "=" then
    local start = self:expression()
    self:expect ","
    local stop = self:expression()
    local step = self:accept "," and self:expression() or nil
    self:hidden(place, 3)
    local variable = self.scope:variable(first, "loop")
    local body = self:for_body(place, { variable })
    return node("NumericFor", place, { variable = variable, start = start, stop = stop, step = step, body = body })
  end
  local names = { first }
  while self:accept "," do
    names[#names + 1] = self:expect_name()
  end
  if not self:is "in" then
    fail(self.token, ("'=' or 'in' expected near '%s'"):format(shown(self.token)))
  end
  self:advance()
  local values = self:expression_list()
  self:hidden(place, 4)
  local variables = {}
  for i, name in ipairs(names) do
    variables[i] = self.scope:variable(name, "loop")
  end
  local body = self:for_body(place, variables)
  return node("GenericFor", place, { variables = variables, values = values, body = body })
end

function Parser:attribute()
  if not self:accept "<" then
    return nil
  end
  local name = self:expect_name()
  self:expect ">"
  if name.value ~= "const" and name.value ~= "close" then
    fail(name, ("unknown attribute '%s'"):format(name.value))
  end
  return name.value
end

function Parser:local_statement()
  local place = self:advance()
  if self:accept "function" then
    local variable = self.scope:variable(self:expect_name(), "function")
    self.scope:declare(variable)
    variable.value = self:function_body(place, false)
    variable.value.name = variable.name
    return self:ending(node("LocalFunction", place, { variable = variable, body = variable.value }))
  end
  local variables, closing = {}, false
  repeat
    local name = self:expect_name()
    local variable = self.scope:variable(name, "local")
    variable.attribute = self:attribute()
    if variable.attribute == "close" then
      if closing then
        fail(name, "multiple to-be-closed variables in local list")
      end
      closing = true
    end
    variables[#variables + 1] = variable
  until not self:accept ","
  local values = self:accept "=" and self:expression_list() or {}
  for i, variable in ipairs(variables) do
    local value = values[i]
    local spreads = i >= #values and value and (value.kind == "Call" or value.kind == "Method" or value.kind == "Vararg")
    if value and not (spreads and #variables > #values) then
      variable.value = value
    end
    self.scope:declare(variable)
  end
  return self:ending(node("Local", place, { variables = variables, values = values }))
end

function Parser:function_statement()
  local place = self:advance()
  local target = self:name_expression(self:expect_name())
  local has_self = false
  while self:is "." or self:is ":" do
    has_self = self:advance().kind == ":"
    local key = self:expect_name()
    target = node("Index", key, { object = target, key = string_of(key) })
    if has_self then
      break
    end
  end
  local body = self:function_body(place, has_self)
  if target.kind == "Name" then
    self.scope:assign(target)
  end
  return node("Function", place, { target = target, body = body })
end

function Parser:assignment(first)
  local targets = { first }
  while true do
    local target = targets[#targets]
    if target.kind == "Name" then
      self.scope:assign(target)
    elseif target.kind ~= "Index" then
      fail(self.token, ("syntax error near '%s'"):format(shown(self.token)))
    end
    if not self:accept "," then
      break
    end
    self:deeper()
    targets[#targets + 1] = self:suffixed()
  end
  self.depth = self.depth - (#targets - 1)
  self:expect "="
  return node("Assign", first, { targets = targets, values = self:expression_list() })
end

function Parser:expression_statement()
  local place = self.token
  local first = self:suffixed()
  if self:is "=" or self:is "," then
    return self:assignment(first)
  elseif first.kind ~= "Call" and first.kind ~= "Method" then
    fail(self.token, ("syntax error near '%s'"):format(shown(self.token)))
  end
  return node("CallStatement", place, { call = first })
end

-- Labels that stand together, with the semicolons among them: the last one is defined first, as Lua does.
function Parser:label_statement()
  local place = self:advance()
  local name = self:expect_name()
  self:expect "::"
  local result = node("Label", place, { name = name.value })
  local labels = { result }
  while self:is ";" or self:is "::" do
    if self:is ";" then
      self:advance()
    else
      self:deeper()
      self:label_statement()
      self:shallower()
      table.move(self.labels, 1, #self.labels, 2, labels)
    end
  end
  local last = BLOCK_ENDS[self.token.kind] and not self:is "until"
  self.scope:label(result, name.value, last)
  self.labels = labels
end

local STATEMENTS = {
  ["if"] = Parser.if_statement,
  ["while"] = Parser.while_statement,
  ["repeat"] = Parser.repeat_statement,
  ["for"] = Parser.for_statement,
  ["local"] = Parser.local_statement,
  ["function"] = Parser.function_statement,
  ["::"] = Parser.label_statement,
}

function Parser:simple_statement()
  local token = self.token
  if token.kind == "do" then
    self:advance()
    local body = self:scoped_block(false)
    self:expect("end", token)
    return node("Do", token, { body = body })
  elseif token.kind == "break" then
    local result = node("Break", self:advance())
    self.scope:jump(result, "break")
    return result
  elseif token.kind == "goto" then
    self:advance()
    local result = node("Goto", token, { name = self:expect_name().value })
    self.scope:jump(result, result.name)
    return result
  end
  return self:expression_statement()
end

function Parser:statement()
  if self:accept ";" then
    return nil
  end
  self:deeper()
  local result = (STATEMENTS[self.token.kind] or self.simple_statement)(self)
  self:shallower()
  return result
end

---@class lint.Chunk
---@field body table the main function, a FunctionBody
---@field comments lint.Comment[]
---@field variables lint.Variable[] all of them, in the order of their declarations

---Parses the text of a file. nil and a lint.Mistake when it is not Lua.
---@param text string
---@return lint.Chunk?
---@return lint.Mistake?
function parser.parse(text)
  local self = setmetatable({ lexer = lexer.new(text), scope = scope.new(fail), depth = 0 }, Parser)
  local main = node("FunctionBody", { line = 1, column = 1 }, { parameters = {}, vararg = true })
  local ok, mistake = pcall(function()
    self:advance()
    self.scope:enter_function(main)
    main.body = self:block()
    if not self:is "end of file" then
      fail(self.token, ("'<eof>' expected near '%s'"):format(shown(self.token)))
    end
    self.scope:leave_function()
  end)
  if ok then
    return { body = main, comments = self.lexer.comments, variables = self.scope.variables }
  elseif type(mistake) ~= "table" then
    error(mistake, 0)
  end
  return nil, mistake
end

return parser
