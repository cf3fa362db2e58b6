local builder = require "workers.builder"
local log = require "workers.log"
local tap = require "tap"
local testing = require "testing"
local workers = require "workers"
local test, equal, raises = tap.test, tap.equal, tap.raises

test("each level", function()
  testing.logs()
  log.debug "a"
  log.info "b"
  log.warn "c"
  log.error "d"
  print "e"
  equal(testing.logs(), { { "debug", "a" }, { "info", "b" }, { "warn", "c" }, { "error", "d" }, { "info", "e" } })
end)

test("arguments are joined as print does", function()
  log.info()
  log.info(nil, true, 1, 1.5, 2.0, "x\0y", workers.null)
  equal(testing.logs(), { { "info", "" }, { "info", "nil\ttrue\t1\t1.5\t2.0\tx\0y\tnull" } })
end)

test("tables are compact JSON", function()
  log.info({ b = 2, a = { 1, "x", workers.null } }, workers.array {}, {}, builder.url "https://x.example")
  equal(testing.logs()[1][2], '{"a":[1,"x",null],"b":2}\t[]\t{}\t[["https://x.example"]]')
end)

test("what JSON cannot hold is shown as tostring does", function()
  local loop = {}
  loop.self = loop
  local with_function = { f = print }
  log.warn(loop, with_function, print)
  equal(testing.logs()[1][2], tostring(loop) .. "\t" .. tostring(with_function) .. "\t" .. tostring(print))
end)

test("a table too large for a line is shown by its address", function()
  local large = { ("x"):rep(300 * 1024) }
  log.info(large, { 1 })
  equal(testing.logs()[1][2], tostring(large) .. "\t[1]")
end)

test("__tostring is respected, and its errors pass", function()
  local point = setmetatable({ 1 }, {
    __tostring = function()
      log.debug { nested = true }
      return "point"
    end,
  })
  log.info({ 2 }, point, { 3 })
  equal(testing.logs(), { { "debug", '{"nested":true}' }, { "info", "[2]\tpoint\t[3]" } })
  raises(function()
    log.info(setmetatable({}, {
      __tostring = function()
        error "no text"
      end,
    }))
  end, "no text")
  raises(function()
    log.info(setmetatable({}, {
      __tostring = function()
        return {}
      end,
    }))
  end, "'__tostring' must return a string")
  equal(testing.logs(), {})
end)

test("structured errors show their message", function()
  local _, err = pcall(error, workers.RateLimitError { retryAfter = 3, message = "slow" })
  log.error(err)
  equal(testing.logs()[1][2], "slow")
end)

return tap.run
