-- Walking syntax trees, and what of them is known without running them. Must not know what workers are.

local tree = {}

-- What is in each kind of node: fields with one node or a list of them.
tree.FIELDS = {
  Local = { "values" },
  LocalFunction = { "body" },
  Function = { "target", "body" },
  Assign = { "values", "targets" },
  CallStatement = { "call" },
  Do = { "body" },
  While = { "condition", "body" },
  Repeat = { "body", "condition" },
  If = { "clauses", "otherwise" },
  Clause = { "condition", "body" },
  NumericFor = { "start", "stop", "step", "body" },
  GenericFor = { "values", "body" },
  Return = { "values" },
  FunctionBody = { "body" },
  Index = { "object", "key" },
  Call = { "callee", "arguments" },
  Method = { "object", "arguments" },
  Binary = { "left", "right" },
  Unary = { "operand" },
  Table = { "items" },
  Item = { "key", "value" },
  Paren = { "inner" },
}

---Calls f with each node that is directly below.
function tree.each_child(node, f)
  if not node.kind or node.kind == "Block" then
    for _, statement in ipairs(node) do
      f(statement)
    end
    return
  end
  for _, name in ipairs(tree.FIELDS[node.kind] or {}) do
    local child = node[name]
    if child and (child.kind and child.kind ~= "Block") then
      f(child)
    elseif child then
      for _, below in ipairs(child) do
        f(below)
      end
    end
  end
end

---Calls visit with the node and all below it, in the order of the text; not below those for which it returns false.
---@param visit fun(node: table): boolean?
function tree.walk(node, visit)
  if node.kind and node.kind ~= "Block" and visit(node) == false then
    return
  end
  tree.each_child(node, function(child)
    tree.walk(child, visit)
  end)
end

---Whether test is true of the node or one below it.
---@param test fun(node: table): boolean?
---@param enter? fun(node: table): boolean? nodes for which it returns false are not looked into
function tree.any(node, test, enter)
  local found = false
  tree.walk(node, function(below)
    if found or test(below) then
      found = true
      return false
    end
    return not enter or enter(below)
  end)
  return found
end

---Whether the node, or what is below it, uses the variable.
function tree.mentions(node, variable)
  return tree.any(node, function(below)
    return below.kind == "Name" and below.variable == variable
  end)
end

---An expression without parentheses.
function tree.bare(node)
  while node and node.kind == "Paren" do
    node = node.inner
  end
  return node
end

---What an expression is made of: through parentheses, and through variables that have one value all their life.
function tree.origin(node)
  for _ = 1, 32 do
    node = tree.bare(node)
    local variable = node and node.kind == "Name" and node.variable
    if not variable or not variable.value or #variable.writes > 0 then
      return node
    end
    node = variable.value
  end
  return node
end

local ARITHMETIC = {
  ["+"] = function(a, b)
    return a + b
  end,
  ["-"] = function(a, b)
    return a - b
  end,
  ["*"] = function(a, b)
    return a * b
  end,
}

local function evaluate(node)
  if node.kind == "String" or node.kind == "Number" then
    return node.value
  elseif node.kind == "True" or node.kind == "False" then
    return node.kind == "True"
  elseif node.kind == "Binary" and ARITHMETIC[node.operator] then
    local left, right = tree.constant(node.left), tree.constant(node.right)
    if type(left) == "number" and type(right) == "number" then
      return ARITHMETIC[node.operator](left, right)
    end
  end
end

---The string, number or boolean that an expression is bound to be; nil when that is not known.
function tree.constant(node)
  node = tree.origin(node)
  if node and not node.evaluated then
    node.evaluated = { evaluate(node) }
  end
  return node and node.evaluated[1]
end

-- What a call of string.format, or of a string's method format, formats with.
local function format_of(node)
  if node.kind == "Method" and node.name == "format" then
    return node.object
  end
  local path, variable
  if node.kind == "Call" then
    path, variable = tree.path(node.callee)
  end
  return path == "string.format" and not variable and node.arguments[1] or nil
end

---What a text is joined or formatted from: the parts that are known, and false for each that is not.
---@return (string|false)[]
function tree.pieces(node)
  local list = {}
  local function add(part)
    part = tree.origin(part)
    local value, format = tree.constant(part), format_of(part)
    if part.kind == "Binary" and part.operator == ".." then
      add(part.left)
      add(part.right)
    elseif format and type(tree.constant(format)) == "string" then
      for known, unknown in (tree.constant(format) .. "%"):gmatch "([^%%]*)(%%[-+ #%d.]*[%a%%]?)" do
        list[#list + 1] = known
        if unknown ~= "%" then -- the one at the end is none
          list[#list + 1] = false
        end
      end
    else
      list[#list + 1] = type(value) ~= "boolean" and value and tostring(value) or false
    end
  end
  add(node)
  return list
end

---The field of a table constructor, the last one of several.
---@return table? value
---@return table? item
function tree.field(constructor, name)
  for i = #constructor.items, 1, -1 do
    local item = constructor.items[i]
    if item.key and tree.constant(item.key) == name then
      return item.value, item
    end
  end
end

---A chain of names as it is written: "string.format" for Index nodes on a Name; nil for others.
---@return string? path
---@return lint.Variable? variable the first name's, nil for a global
function tree.path(node)
  node = tree.bare(node)
  if node.kind == "Name" then
    return node.name, node.variable
  elseif node.kind == "Index" and node.key.kind == "String" then
    local path, variable = tree.path(node.object)
    return path and path .. "." .. node.key.value, variable
  end
end

---What a statement assigns to: a list of Name and Index expressions.
function tree.targets(node)
  if node.kind == "Assign" then
    return node.targets
  end
  return node.kind == "Function" and { node.target } or {}
end

---Whether it is a call of the global function.
function tree.calls_global(node, name)
  return node.kind == "Call" and node.callee.kind == "Name" and node.callee.name == name and not node.callee.variable
end

---The returns of a function itself, not of those inside it.
function tree.returns(body)
  local list = {}
  tree.walk(body.body, function(node)
    if node.kind == "Return" then
      list[#list + 1] = node
    end
    return node.kind ~= "FunctionBody"
  end)
  return list
end

return tree
