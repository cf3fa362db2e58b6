-- What a test raises when it fails, and what is printed of it. Must not check anything itself.

local native = require "workers.test.native"

local failure = {}

local meta = {
  __tostring = function(self)
    return self.message
  end,
}

---Fails the test at the line of the test file that runs.
---@param message string
---@param diff? string the differences, one a line
function failure.raise(message, diff)
  local at = native.where()
  error(setmetatable({
    name = "ExpectationError",
    message = at and at .. ": " .. message or message,
    diff = diff,
  }, meta))
end

---Raises what a capability or a cycle has failed with, as scripts see errors.
---@param err { name: string, message: string, traceback?: string }
function failure.pass_on(err)
  error(setmetatable(err, meta))
end

---An error value as what is printed: the place is taken out of the message.
---@param err any
---@return { message: string, at: string?, diff: string?, trace: string? }
function failure.describe(err)
  local told = { message = tostring(err) }
  if type(err) == "table" then
    told.message = rawget(err, "message") or "(an error table without a message)"
    told.diff, told.trace = rawget(err, "diff"), rawget(err, "traceback")
  end
  local at, rest = tostring(told.message):match "^([^\n]-%.lua:%d+): (.*)$"
  if at then
    told.at, told.message = at, rest
  end
  if type(err) == "table" and rawget(err, "name") and err.name ~= "ExpectationError" then
    told.message = err.name .. ": " .. told.message
  end
  if not told.trace or told.trace == "" then
    told.trace = debug.traceback()
  end
  told.at = told.at or told.trace:match "^%s*([^\n]-%.lua:%d+): in "
  return told
end

return failure
