-- Tests of a worker, for files that `workers test` runs.

local found, native = pcall(require, "workers.test.native")
if not found then
  error("workers.test is for tests: put them into a file whose name ends in _test.lua, and run workers test", 0)
end

local expect = require "workers.test.expect"
local failure = require "workers.test.failure"
local http = require "workers.test.http"
local json = require "workers.json"
local recording = require "workers.test.recording"
local suggest = require "workers.suggest"
local time = require "workers.time"
local workers = require "workers"

local tests = {} -- in the order of their declaration
local names = {}

---@class workers.test
---@overload fun(name: string, fn: fun()) declares a test
local test = {
  expect = expect,
  recording = recording.open,
  http = { on = http.on, requests = http.requests },
  clock = {},
}

-- ---- the worker ----

---Runs a capability of the main script with an input, as `workers exec` does, and returns its result. What it raises
---is raised here.
---@param key string
---@param input? any
---@return any
function test.run(key, input)
  local ok, result = native.call(key, input ~= nil and json.encode(input) or nil)
  if not ok then
    failure.pass_on(result)
  end
  return json.decode(result)
end

---Runs one cycle of a sync, from its first page to its last, and returns how it went; a failure is in its error.
---@param key string
---@param options? { allowDeletes?: boolean }
---@return { added: integer, changed: integer, unchanged: integer, deleted: integer, stale: integer, pages: integer, requests: integer, outcome: string, status: string, held?: string, error?: table }
function test.cycle(key, options)
  for name in next, options or {} do
    if name ~= "allowDeletes" then
      failure.raise(("test.cycle: the only option is allowDeletes, got %s"):format(tostring(name)))
    end
  end
  return native.cycle(key, options and options.allowDeletes or false)
end

---The rows of a database, in the order of their keys, each from property to value.
---@param database string
---@return table[]
function test.rows(database)
  return json.decode(native.rows(database))
end

---The state that a sync will get next; nil when there is none.
---@param key string
---@return any
function test.state(key)
  local state = native.state(key)
  return state and json.decode(state)
end

---What was logged in this test.
---@return { level: string, key?: string, text: string }[]
function test.logs()
  return native.logs()
end

---Sets an environment variable for the scripts of this test. With --record, one that is set for real stays.
---@param name string
---@param value string
function test.env(name, value)
  if type(name) ~= "string" or type(value) ~= "string" then
    failure.raise "test.env takes a name and a value, both strings"
  end
  native.setVariable(name, value)
end

-- ---- the clock ----

---The moment, in Unix milliseconds.
---@return integer
function test.clock.now()
  return native.now()
end

---Sets the clock; nothing that waits wakes up.
---@param moment string|integer RFC 3339, or Unix milliseconds
function test.clock.set(moment)
  if type(moment) == "string" then
    local ok, ms = pcall(time.epochMs, moment)
    if not ok then
      failure.raise(("test.clock.set: %q is no moment; write it as 2026-01-01T00:00:00Z"):format(moment))
    end
    moment = ms
  elseif math.type(moment) ~= "integer" then
    failure.raise 'test.clock.set takes a moment, as in "2026-01-01T00:00:00Z"'
  end
  native.setClock(moment)
end

---Lets so many seconds pass: what is due in them happens.
---@param seconds number
function test.clock.advance(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    failure.raise "test.clock.advance takes seconds, at least 0"
  end
  workers.sleep(seconds)
end

-- ---- running ----

-- Adds what went wrong without raising to the failure there is, or makes it one.
local function add_problems(told, problems, at)
  if #problems == 0 then
    return told
  end
  local text = table.concat(problems, "\n")
  if not told then
    return { message = text, at = at }
  elseif not told.message:find(problems[1]:match "^[^\n;]*", 1, true) then
    told.message = told.message .. "\n" .. text
  end
  return told
end

local function run(index)
  http.reset()
  recording.reset()
  local told
  local passed = xpcall(tests[index], function(err)
    told = failure.describe(err)
    return err
  end)
  if not passed and not told then
    told = { message = "the test failed without a message" }
  end
  told = add_problems(told, http.problems())
  if not told then
    told = add_problems(told, http.unused())
    told = add_problems(told, recording.problems())
  end
  if not told then
    recording.finish()
    return true
  end
  return false, told.message, told.at, told.diff, told.trace
end

native.install { names = names, run = run, leaves = http.leaves, answer = http.answer, received = recording.received }

return setmetatable(test, {
  __call = function(_, name, fn)
    if type(name) ~= "string" or type(fn) ~= "function" then
      failure.raise 'a test is declared with test("what it shows", function() … end)'
    end
    tests[#tests + 1] = fn
    names[#names + 1] = name
  end,
  __index = function(_, name)
    if name == "test" or name == "it" or name == "describe" then
      failure.raise 'the module itself declares tests: local test = require "workers.test"; test("what it shows", function() … end)'
    end
    local known = {}
    for key in pairs(test) do
      known[#known + 1] = key
    end
    table.sort(known)
    failure.raise(("workers.test has no %s; %s"):format(suggest.show(name), suggest.remedy(name, known)))
  end,
})
