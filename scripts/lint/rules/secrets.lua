-- Secrets that stand in the code, where everybody who has the code has them.

local tree = require "lint.tree"

local REMEDY = 'keep it with workers env set NAME, and read it with env.require "NAME"'

-- What tokens of services begin with, and of what they are made behind it.
local PREFIXES = {
  { "sk_live_", "^[%w_]+$", 16 }, { "rk_live_", "^[%w_]+$", 16 }, { "sk_test_", "^[%w_]+$", 16 },
  { "whsec_", "^[%w+/=]+$", 24 },
  { "ghp_", "^%w+$", 30 }, { "gho_", "^%w+$", 30 }, { "ghs_", "^%w+$", 30 }, { "github_pat_", "^[%w_]+$", 30 },
  { "glpat-", "^[%w_-]+$", 16 }, { "xoxb-", "^[%w-]+$", 16 }, { "xoxp-", "^[%w-]+$", 16 }, { "xapp-", "^[%w-]+$", 16 },
  { "AKIA", "^[%u%d]+$", 16 }, { "ASIA", "^[%u%d]+$", 16 }, { "AIza", "^[%w_-]+$", 30 }, { "ntn_", "^%w+$", 30 },
  { "secret_", "^%w+$", 30 }, { "sk-ant-", "^[%w_-]+$", 20 }, { "pat-na1-", "^[%x-]+$", 20 },
  { "SG.", "^[%w._-]+$", 30 },
  { "npm_", "^%w+$", 30 }, { "shpat_", "^%x+$", 30 },
}

local function is_known(text)
  for _, prefix in ipairs(PREFIXES) do
    local rest = text:sub(#prefix[1] + 1)
    if text:sub(1, #prefix[1]) == prefix[1] and #rest >= prefix[3] and rest:find(prefix[2]) then
      return true
    end
  end
  return text:find("%-%-%-%-%-BEGIN [%u ]*PRIVATE KEY%-%-%-%-%-") ~= nil
end

-- Bits for each character, of how often each occurs.
local function entropy(text)
  local counts = {}
  for character in text:gmatch "." do
    counts[character] = (counts[character] or 0) + 1
  end
  local bits = 0
  for _, count in pairs(counts) do
    bits = bits - count / #text * math.log(count / #text, 2)
  end
  return bits
end

local SECRET_WORDS = { "token", "secret", "password", "passwd", "apikey", "accesskey", "privatekey", "bearer" }

local function is_secret_name(name)
  name = type(name) == "string" and name:lower():gsub("[^%a]", "") or ""
  for _, word in ipairs(SECRET_WORDS) do
    if name:sub(-#word) == word then
      return true
    end
  end
  return false
end

-- Whether it is the name or the path of something: small words and short numbers, "paging.next_token_v2".
local function is_path(text)
  for piece in text:gmatch "[^._/-]+" do
    if not (piece:find "^%l+%d?%d?$" or piece:find "^%d%d?%d?%d?%d?$") then
      return false
    end
  end
  return text:find "[._/-]" ~= nil and text:find "%l%l%l" ~= nil
end

-- Whether nobody would have made it up: long, of letters and digits, without order.
local function is_random(text)
  if #text < 16 or is_path(text) or text:find "[%s{}<>]" or text:find "^%a+://" or text:find "^[%u_%d]+$" then
    return false
  end
  return text:find "%d" and text:find "%a" and entropy(text) >= 3.5
end

local function check_named(context, name, node, seen)
  local bare = node and tree.bare(node)
  if bare and bare.kind == "String" and not seen[bare] and is_secret_name(name) and is_random(bare.value) then
    seen[bare] = true
    context:report(bare, ("what %s is set to looks like a secret"):format(name), REMEDY)
  end
end

local CARRIERS = { -- headers and addresses, and where the secret is in them
  "^[Bb]earer (%S+)$", "^[Tt]oken (%S+)$", "^[Bb]asic (%S+)$", "^%a+://[^/@%s:]+:([^/@%s]+)@",
  "[?&]api[_-]?key=([^&]+)", "[?&]access[_-]?token=([^&]+)", "[?&]token=([^&]+)",
}

local function carried(text)
  for _, pattern in ipairs(CARRIERS) do
    local secret = text:match(pattern)
    if secret then
      return secret
    end
  end
end

local function secrets_in_code(context)
  for _, file in ipairs(context.project.files) do
    local seen = {}
    tree.walk(file.chunk.body, function(node)
      local inner = node.kind == "String" and (carried(node.value) or node.value)
      if inner and not seen[node] and (is_known(inner) or inner ~= node.value and is_random(inner)) then
        seen[node] = true
        context:report(node, "this looks like a secret", REMEDY)
      elseif node.kind == "Local" then
        for i, variable in ipairs(node.variables) do
          check_named(context, variable.name, node.values[i], seen)
        end
      elseif node.kind == "Assign" then
        for i, target in ipairs(node.targets) do
          check_named(context, target.kind == "Name" and target.name or tree.constant(target.key), node.values[i], seen)
        end
      elseif node.kind == "Item" and node.key then
        check_named(context, tree.constant(node.key), node.value, seen)
      end
    end)
  end
end

return { { name = "secrets-in-code", severity = "error", check = secrets_in_code } }
