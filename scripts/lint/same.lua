-- Whether two syntax trees say the same, but for what was meant to change. Must not know what workers are.

local tree = require "lint.tree"

-- What a node says besides what is below it.
local WORDS = {
  FunctionBody = { "vararg" },
  Goto = { "name" },
  Label = { "name" },
  Method = { "name" },
  Number = { "value" },
  String = { "value" },
  Binary = { "operator" },
  Unary = { "operator" },
}

---@class lint.Change what was meant to change in the first tree
---@field removed table<table, boolean> statements that are not in the second one
---@field renamed table<table, string> String nodes -> the value that they have in the second one

local function declared(node)
  return node.variables or node.parameters or { node.variable }
end

---@param first table a node of the first tree
---@param second table
---@param change lint.Change
---@return boolean
local function same(first, second, change)
  local partner = {} -- the variables of the first tree -> those of the second

  local function same_words(a, b)
    for _, word in ipairs(WORDS[a.kind] or {}) do
      local wanted = word == "value" and change.renamed[a] or a[word]
      if wanted ~= b[word] or math.type(wanted) ~= math.type(b[word]) then
        return false
      end
    end
    if a.kind == "Name" then
      return a.name == b.name and partner[a.variable or 0] == b.variable
    end
    for i, variable in ipairs(declared(a)) do
      local other = declared(b)[i]
      if not other or variable.name ~= other.name or variable.attribute ~= other.attribute then
        return false
      end
      partner[variable] = other
    end
    return #declared(a) == #declared(b)
  end

  local same_nodes

  local function same_lists(a, b)
    local at = 0
    for _, node in ipairs(a) do
      if not change.removed[node] then
        at = at + 1
        if not b[at] or not same_nodes(node, b[at]) then
          return false
        end
      end
    end
    return b[at + 1] == nil
  end

  function same_nodes(a, b)
    if a.kind ~= b.kind then
      return false
    elseif not a.kind or a.kind == "Block" then
      return same_lists(a, b)
    elseif not same_words(a, b) then
      return false
    end
    for _, field in ipairs(tree.FIELDS[a.kind] or {}) do
      local is_there = a[field] ~= nil
      if is_there ~= (b[field] ~= nil) or is_there and not same_nodes(a[field], b[field]) then
        return false
      end
    end
    return true
  end

  return same_nodes(first, second)
end

return same
