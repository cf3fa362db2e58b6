-- Tests that print TAP. A test file registers its tests and ends with "return tap.run", which runs them on the event
-- loop. Must not swallow what a test raises.

local testing = require "testing"

local tap = {}

local tests = {}

local function quote(value)
  if type(value) == "string" then
    local text = string.format("%q", value):gsub("\\\n", "\\n")
    return text
  end
  return tostring(value)
end

local function plain_key(key)
  return type(key) == "string" and key:match "^[%a_][%w_]*$" and "." .. key or "[" .. quote(key) .. "]"
end

-- The first place where the values differ, as text; nil when they are equal.
local function difference(got, expected, path, seen)
  if rawequal(got, expected) then
    return nil
  end
  if type(got) ~= "table" or type(expected) ~= "table" then
    if type(got) == type(expected) and got == expected and math.type(got) == math.type(expected) then
      return nil
    end
    if got ~= got and expected ~= expected then
      return nil
    end
    return ("%s: got %s (%s), expected %s (%s)"):format(
      path,
      quote(got),
      math.type(got) or type(got),
      quote(expected),
      math.type(expected) or type(expected)
    )
  end
  if seen[got] == expected then
    return nil
  end
  seen[got] = expected
  for key, value in next, expected do
    local found = difference(rawget(got, key), value, path .. plain_key(key), seen)
    if found then
      return found
    end
  end
  for key, value in next, got do
    if rawget(expected, key) == nil then
      return ("%s: got %s, expected nothing"):format(path .. plain_key(key), quote(value))
    end
  end
  return nil
end

---Registers a test.
---@param name string
---@param fn function
function tap.test(name, fn)
  tests[#tests + 1] = { name = name, fn = fn }
end

---Deep equality; integers and floats differ.
function tap.equal(got, expected, what)
  local found = difference(got, expected, "value", {})
  if found then
    error((what and what .. ": " or "") .. found, 2)
  end
end

---@param what string? what the value says
function tap.truthy(value, what)
  if not value then
    error((what or "value") .. " is " .. tostring(value), 2)
  end
end

---Calls fn, which must raise. The message (of an error table, its field) must contain text, literally; returns the
---error.
---@param fn function
---@param text string
function tap.raises(fn, text, ...)
  local ok, err = pcall(fn, ...)
  if ok then
    error("nothing was raised; expected " .. quote(text), 2)
  end
  local message = type(err) == "table" and rawget(err, "message") or tostring(err)
  if not tostring(message):find(text, 1, true) then
    error(("raised %s, expected %s"):format(quote(message), quote(text)), 2)
  end
  return err
end

---Runs the tests registered, in order.
function tap.run()
  local passed, failed = 0, 0
  for number, test in ipairs(tests) do
    local ok, message = xpcall(test.fn, function(err)
      return debug.traceback(type(err) == "table" and tostring(rawget(err, "message")) or tostring(err))
    end)
    if ok then
      passed = passed + 1
      testing.write(("ok %d - %s\n"):format(number, test.name))
    else
      failed = failed + 1
      testing.write(("not ok %d - %s\n  # %s\n"):format(number, test.name, (message:gsub("\n", "\n  # "))))
    end
  end
  testing.write(("1..%d\n"):format(#tests))
  testing.ended(passed, failed)
end

return tap
