-- What runs never.

local flow = require "lint.flow"
local tree = require "lint.tree"

local function check_block(context, block)
  for i = 1, #block - 1 do
    local after = block[i + 1]
    if flow.ends(block[i]) and after.kind ~= "Label" then
      context:report(after, ("this never runs: what stands at line %d does not go on"):format(block[i].line),
        "take it out, or move it up")
      return
    end
  end
end

local function unreachable_code(context)
  for _, file in ipairs(context.project.files) do
    tree.walk(file.chunk.body, function(node)
      if node.body and node.body.kind == "Block" then
        check_block(context, node.body)
      end
      if node.otherwise then
        check_block(context, node.otherwise)
      end
    end)
  end
end

return { { name = "unreachable-code", severity = "warning", check = unreachable_code } }
