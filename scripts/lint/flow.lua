-- Where statements lead to. Must not know what workers are.

local tree = require "lint.tree"

local flow = {}

-- Whether a break, or a goto out of it, leaves the loop whose body this is.
local function leaves(body)
  local found = false
  local function look(node, inner)
    if node.kind == "Break" and not inner or node.kind == "Goto" then
      found = true
    elseif node.kind == "FunctionBody" then
      return
    end
    local loop = node.kind == "While" or node.kind == "Repeat" or node.kind == "NumericFor" or node.kind == "GenericFor"
    tree.each_child(node, function(child)
      look(child, inner or loop)
    end)
  end
  tree.each_child(body, function(child)
    look(child, false)
  end)
  return found
end

local function block_ends(block)
  local ended = false
  for _, statement in ipairs(block) do
    ended = statement.kind ~= "Label" and (ended or flow.ends(statement))
  end
  return ended
end

---Whether what stands behind the statement can never run because of it.
---@param node table a statement
---@return boolean
function flow.ends(node)
  if node.kind == "Return" or node.kind == "Break" or node.kind == "Goto" then
    return true
  elseif node.kind == "CallStatement" then
    return tree.calls_global(node.call, "error")
  elseif node.kind == "Do" then
    return block_ends(node.body)
  elseif node.kind == "While" then
    return tree.bare(node.condition).kind == "True" and not leaves(node.body)
  elseif node.kind == "Repeat" then
    return tree.bare(node.condition).kind == "False" and not leaves(node.body)
  elseif node.kind == "If" and node.otherwise and block_ends(node.otherwise) then
    for _, clause in ipairs(node.clauses) do
      if not block_ends(clause.body) then
        return false
      end
    end
    return true
  end
  return false
end

return flow
