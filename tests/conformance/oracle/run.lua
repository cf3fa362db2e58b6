-- Compares our Schema, Builder and j values, and the tool-input check, with what the SDK gave for them (generate.mjs).
-- Runs wherever workers.json and the modules under test can be required, in an isolate as well: the file of cases is
-- the argument or ORACLE_CASES. Whole scripts go through the binary and run_scripts.py. Prints TAP; returns success.

local json = require "workers.json"

local path = ... or os.getenv "ORACLE_CASES"
assert(path, "which file of cases? Give it as the argument or in ORACLE_CASES")

local function read(name)
  if io and io.open then
    local file = assert(io.open(name, "rb"))
    local text = file:read "a"
    file:close()
    return text
  end
  return require("workers.fs").read(name)
end

local environment = { null = json.null, math = math }
for name, module in pairs { Schema = "workers.schema", Builder = "workers.builder", j = "workers.j" } do
  local found, value = pcall(require, module)
  if found then
    environment[name] = value
  elseif not tostring(value):find("'" .. module .. "' not found", 1, true) then
    error(value, 0)
  end
end
local found, peer = pcall(require, "schema_peer")
peer = found and peer or nil

-- Whether two decoded values are the same JSON: 1 is 1.0, [] is not {}.
local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  if next(a) == nil and next(b) == nil then
    return json.encode(a) == json.encode(b)
  end
  for key, value in next, a do
    if not same(value, b[key]) then
      return false
    end
  end
  for key in next, b do
    if a[key] == nil then
      return false
    end
  end
  return true
end

local function evaluate(lua)
  -- A local, so that the error has a caller: a tail call would leave none.
  return pcall(assert(load("local value = " .. lua .. " return value", "=case", "t", environment)))
end

-- Each returns true, or false and what was wrong, or nil and why the case was left out.
local run = {}

function run.schema(case)
  local ok, value = evaluate(case.lua)
  if case.error or case.stricter then
    if ok then
      return false, "expected an error, got " .. json.encode(value)
    end
    if not tostring(value):find("^case:1: ") then
      return false, "the error is not at the caller's line: " .. tostring(value)
    end
    return true
  end
  if not ok then
    return false, "expected " .. json.encode(case.expect) .. ", got the error " .. tostring(value)
  end
  local text = json.encode(value)
  if not same(json.decode(text), case.expect) then
    return false, "expected " .. json.encode(case.expect) .. ", got " .. text
  end
  return true
end

run.j = run.schema

function run.builder(case)
  if not environment.Builder then
    return nil, "no workers.builder"
  end
  return run.schema(case)
end

function run.tool(case)
  if not peer then
    return nil, "no schema_peer"
  end
  local ok, value = evaluate(case.lua)
  local schema, message
  if ok then
    schema, message = peer.compile(value)
  end
  if case.error or case.stricter then
    return schema == nil, "expected an error"
  end
  if not ok or not schema then
    return false, "expected a schema, got the error " .. tostring(message or value)
  end
  local text = peer.write(schema)
  if not same(json.decode(text), case.schema) then
    return false, "expected the schema " .. json.encode(case.schema) .. ", got " .. text
  end
  for i, accept in ipairs(case.accept) do
    local passed, errors = peer.validate(schema, case.inputs[i])
    if passed ~= accept then
      return false, ("%s should be %s"):format(json.encode(case.inputs[i]), accept and "accepted" or "refused")
    end
    if not accept and not same(json.decode(errors), case.errors[i]) then
      return false, ("for %s expected the errors %s, got %s"):format(
        json.encode(case.inputs[i]), json.encode(case.errors[i]), errors)
    end
  end
  return true
end

local count, failed, inputs = 0, 0, 0
for line in read(path):gmatch "[^\n]+" do
  local case = json.decode(line)
  if case.lua then
    count = count + 1
    inputs = inputs + (case.inputs and #case.inputs or 0)
    local ok, message = run[case.kind](case)
    if ok then
      print(("ok %d - %s %s"):format(count, case.id, case.lua:sub(1, 100)))
    elseif ok == nil then
      print(("ok %d - %s # SKIP %s"):format(count, case.id, message))
    else
      failed = failed + 1
      print(("not ok %d - %s %s\n# %s"):format(count, case.id, case.lua, (tostring(message):gsub("\n", "\n# "))))
    end
  end
end
print(("1..%d\n# %d failed; %d tool inputs"):format(count, failed, inputs))
return failed == 0 and count > 0
