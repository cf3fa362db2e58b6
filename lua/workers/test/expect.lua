-- Expectations of values, and the differences between them.

local failure = require "workers.test.failure"
local workers = require "workers"

local LINES_MAX = 30 -- of a diff
local TEXT_MAX = 200 -- bytes of one value in it

local function is_word(key)
  return type(key) == "string" and key:match "^[%a_][%w_]*$"
end

-- Keys in an order that does not change from run to run: numbers, then everything else by its text.
local function sorted_keys(...)
  local seen, keys = {}, {}
  for _, t in ipairs { ... } do
    for key in next, t do
      if not seen[key] then
        seen[key] = true
        keys[#keys + 1] = key
      end
    end
  end
  table.sort(keys, function(a, b)
    local both = type(a) == "number" and type(b) == "number"
    if both or type(a) ~= type(b) then
      return both and a < b or (not both and type(a) == "number")
    end
    return tostring(a) < tostring(b)
  end)
  return keys
end

local function show(value, depth)
  if value == workers.null then
    return "workers.null"
  elseif type(value) == "string" then
    local text = #value > TEXT_MAX and value:sub(1, TEXT_MAX) .. "…" or value
    return (("%q"):format(text):gsub("\\\n", "\\n"))
  elseif type(value) ~= "table" then
    return tostring(value)
  elseif (depth or 0) > 4 then
    return "{…}"
  end
  local parts, length = {}, 0
  for _, key in ipairs(sorted_keys(value)) do
    if length > TEXT_MAX then
      parts[#parts + 1] = "…"
      break
    end
    local name = ""
    if key ~= #parts + 1 then
      name = (is_word(key) and key or "[" .. show(key) .. "]") .. " = "
    end
    parts[#parts + 1] = name .. show(rawget(value, key), (depth or 0) + 1)
    length = length + #parts[#parts]
  end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

local function path_to(path, key)
  return path .. (is_word(key) and "." .. key or "[" .. show(key) .. "]")
end

-- Long texts are shown from where they begin to differ.
local function show_two(expected, got)
  if type(expected) == "string" and type(got) == "string" and math.max(#expected, #got) > TEXT_MAX then
    local at = 1
    while expected:byte(at) == got:byte(at) do
      at = at + 1
    end
    local from = math.max(1, at - 20)
    return ("from byte %d: %s"):format(from, show(expected:sub(from))), show(got:sub(from))
  end
  return show(expected), show(got)
end

-- Adds a line for each path at which the two differ. partial: what is not expected is of no interest.
local function compare(expected, got, path, partial, lines, seen)
  if rawequal(expected, got) or (type(expected) ~= "table" and expected == got) or (expected ~= expected and got ~= got) then
    return
  elseif type(expected) ~= "table" or type(got) ~= "table" then
    lines[#lines + 1] = ("%s: expected %s, got %s"):format(path, show_two(expected, got))
    return
  end
  local before = seen[expected] or {}
  if before[got] then
    return
  end
  before[got] = true
  seen[expected] = before
  for _, key in ipairs(partial and sorted_keys(expected) or sorted_keys(expected, got)) do
    local wanted, found = rawget(expected, key), rawget(got, key)
    if found == nil then
      lines[#lines + 1] = ("%s: missing, expected %s"):format(path_to(path, key), show(wanted))
    elseif wanted == nil then
      lines[#lines + 1] = ("%s: not expected, got %s"):format(path_to(path, key), show(found))
    else
      compare(wanted, found, path_to(path, key), partial, lines, seen)
    end
  end
end

local function differences(expected, got, partial)
  local lines = {}
  compare(expected, got, "value", partial, lines, {})
  return lines
end

local function as_diff(lines)
  if #lines > LINES_MAX then
    return table.concat(lines, "\n", 1, LINES_MAX) .. ("\n… and %d more"):format(#lines - LINES_MAX)
  end
  return table.concat(lines, "\n")
end

local function need_text(text, method)
  if type(text) ~= "string" then
    failure.raise(("expect(…):%s takes a string, got %s"):format(method, show(text)))
  end
end

---@class workers.test.Expectation
local methods = {}

---Equal all the way down; integers and floats of the same value are equal.
function methods:equals(expected)
  local lines = differences(expected, self.value, false)
  if #lines == 1 then
    failure.raise(lines[1], lines[1])
  elseif #lines > 1 then
    failure.raise(("%d differences; the first: %s"):format(#lines, lines[1]), as_diff(lines))
  end
end

---A text contains a text; a list an element that has all that is expected; a table the fields that are expected.
function methods:contains(part)
  local value = self.value
  if type(value) == "string" then
    need_text(part, "contains")
    if not value:find(part, 1, true) then
      failure.raise(("%s does not contain %s"):format(show(value), show(part)))
    end
    return
  elseif type(value) ~= "table" then
    failure.raise(("%s contains nothing: it is a %s"):format(show(value), type(value)))
  end
  if #value == 0 or (type(part) == "table" and #part > 0) then
    local lines = differences(part, value, true)
    if #lines > 0 then
      failure.raise("the value lacks what is expected: " .. lines[1], as_diff(lines))
    end
    return
  end
  local nearest
  for index, element in ipairs(value) do
    local lines = {}
    compare(part, element, ("value[%d]"):format(index), true, lines, {})
    if #lines == 0 then
      return
    elseif not nearest or #lines < #nearest then
      nearest = lines
    end
  end
  failure.raise(("none of the %d elements is %s"):format(#value, show(part)), as_diff(nearest))
end

---A text matches a pattern of Lua.
function methods:matches(pattern)
  need_text(pattern, "matches")
  if type(self.value) ~= "string" or not self.value:find(pattern) then
    failure.raise(("%s does not match the pattern %s"):format(show(self.value), show(pattern)))
  end
end

---The function raises an error whose message contains the text. Returns the error.
function methods:raises(text)
  if type(self.value) ~= "function" then
    failure.raise(("expect(…):raises is for a function, got %s"):format(show(self.value)))
  end
  local ok, err = pcall(self.value)
  local expected = text and " with " .. show(text) or ""
  if ok then
    failure.raise("nothing was raised; expected an error" .. expected)
  end
  local message = type(err) == "table" and rawget(err, "message") or err
  if text and not tostring(message):find(text, 1, true) then
    failure.raise(("raised %s, expected an error%s"):format(show(message), expected))
  end
  return err
end

local meta = { __index = methods }

---@param value any
---@return workers.test.Expectation
return function(value)
  return setmetatable({ value = value }, meta)
end
