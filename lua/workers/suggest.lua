-- Helps error messages: names the nearest valid word, lists the valid ones, shows a value. Must not raise.

local null = require("workers.json").null

local suggest = {}

-- Insertions, deletions, substitutions and swaps of neighbours, each counting one.
local function distance(a, b)
  local before, last = {}, {}
  for j = 0, #b do
    last[j] = j
  end
  for i = 1, #a do
    local row = { [0] = i }
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      row[j] = best
    end
    before, last = last, row
  end
  return last[#b]
end

---The valid word nearest to the given one, or nil when none is near.
---@param word any
---@param valid string[]
---@return string?
function suggest.nearest(word, valid)
  if type(word) ~= "string" or #word > 64 then
    return nil
  end
  local best, found = math.max(1, #word // 3) + 1, nil
  for _, candidate in ipairs(valid) do
    local d = distance(word, candidate)
    if d < best then
      best, found = d, candidate
    end
  end
  return found
end

---A value as it may stand in a message: strings quoted and cut, null as such, tables as their type.
---@param value any
---@return string
function suggest.show(value)
  local kind = type(value)
  if kind == "string" then
    local text = #value > 60 and value:sub(1, utf8.offset(value, 0, 58) - 1) .. "..." or value
    return '"' .. text:gsub("%c", "?") .. '"'
  elseif kind == "number" or kind == "boolean" then
    return tostring(value)
  elseif value == nil then
    return "nothing"
  elseif value == null then
    return "null"
  end
  return "a " .. kind
end

---The remedy for a word that is not valid: the nearest one, or all of them.
---@param word any
---@param valid string[]
---@return string
function suggest.remedy(word, valid)
  local nearest = suggest.nearest(word, valid)
  if nearest then
    return 'did you mean "' .. nearest .. '"?'
  end
  if #valid == 1 then
    return 'only "' .. valid[1] .. '" is valid'
  end
  return "valid: " .. table.concat(valid, ", ")
end

---The first key of a table that is not valid, in a stable order, or nil.
---@param t table
---@param valid string[]
---@return any
function suggest.unknown_key(t, valid)
  local known = {}
  for _, name in ipairs(valid) do
    known[name] = true
  end
  local found
  for key in next, t do
    if not known[key] and (found == nil or tostring(key) < tostring(found)) then
      found = key
    end
  end
  return found
end

---Makes a module say which functions it has when it is asked for one that it has not.
---@generic T: table
---@param name string what scripts call the module
---@param module T
---@return T module
function suggest.strict(name, module)
  return setmetatable(module, {
    __index = function(_, key)
      local names = {}
      for known in next, module do
        names[#names + 1] = known
      end
      table.sort(names)
      error(("%s has no function %s; %s"):format(name, suggest.show(key), suggest.remedy(key, names)), 2)
    end,
  })
end

return suggest
