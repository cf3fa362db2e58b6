-- What workers.kv takes. What it keeps is tested with a store, in tests/integration/test_kv.py.
local kv = require "workers.kv"
local tap = require "tap"
local testing = require "testing"
local workers = require "workers"
local test, raises = tap.test, tap.raises

test("keys", function()
  for name, call in pairs {
    get = kv.get,
    delete = kv.delete,
    increment = kv.increment,
    set = function(...)
      return kv.set(..., 1)
    end,
    compareAndSet = function(...)
      return kv.compareAndSet(..., 1, 2)
    end,
  } do
    local where = ("kv.%s: argument 1 (key): "):format(name)
    raises(call, where .. "expected a string, got nothing", nil)
    raises(call, where .. "expected a string, got number", 1)
    raises(call, where .. "expected a string, got table", {})
    raises(call, where .. "the key is empty", "")
    raises(call, where .. "a key has at most 512 bytes, this one 513", ("x"):rep(513))
    raises(call, where .. "a key is UTF-8 text without NUL bytes", "a\0b")
    raises(call, where .. "a key is UTF-8 text without NUL bytes", "a\255b")
    raises(call, where .. "a key is UTF-8 text without NUL bytes", "\xed\xa0\x80")
    raises(call, ("kv.%s: values cannot be kept from here"):format(name), ("é"):rep(256))
  end
end)

test("a forgotten argument is not nil", function()
  raises(kv.set, "kv.set: argument 2 (value) is missing; give nil for no value", "k")
  raises(kv.compareAndSet, "kv.compareAndSet: argument 3 (value) is missing; give nil for no value", "k", 1)
  raises(kv.set, "kv.set: values cannot be kept from here", "k", nil)
end)

test("values", function()
  raises(kv.set, "kv.set: argument 2 (value): a function cannot be written as JSON", "k", print)
  raises(kv.set, "kv.set: argument 2 (value): at .a[2]: ", "k", { a = { 1, 0 / 0 } })
  raises(kv.set, "kv.set: argument 2 (value): ", "k", "\255")
  local loop = {}
  loop.loop = loop
  raises(kv.set, "a table that contains itself cannot be written as JSON", "k", loop)
  local large = ("x"):rep(256 * 1024 - 1)
  raises(kv.set, "kv.set: argument 2 (value): a value has at most 256 KiB as JSON; keep more than that in a database", "k", large)
  raises(kv.compareAndSet, "kv.compareAndSet: argument 2 (expected): a value has at most 256 KiB", "k", large, 1)
  raises(kv.compareAndSet, "kv.compareAndSet: argument 3 (value): a value has at most 256 KiB", "k", 1, large)
  raises(kv.set, "kv.set: values cannot be kept from here", "k", large:sub(2))
  raises(kv.set, "kv.set: values cannot be kept from here", "k", workers.null)
end)

test("what is refused is freed before Lua looks for garbage", function()
  local large = ("x"):rep(300000)
  local before = testing.resident()
  for _ = 1, 1000 do
    assert(not pcall(kv.set, "k", large))
    assert(not pcall(kv.set, "k", "small", { ttl = 0 }))
  end
  tap.truthy(testing.resident() - before < 50000000, "memory is back")
end)

test("time to live", function()
  for _, ttl in ipairs { 0, -1, 315360001, math.huge, 0 / 0 } do
    raises(kv.set, 'kv.set: option "ttl" must be more than 0 and at most 315360000 seconds', "k", 1, { ttl = ttl })
  end
  raises(kv.set, 'kv.set: option "ttl" must be a number (seconds), got string', "k", 1, { ttl = "1h" })
  raises(kv.set, 'kv.set: unknown option "tll"; did you mean "ttl"?', "k", 1, { tll = 1 })
  raises(kv.set, "kv.set: expected a table of options, got number", "k", 1, 60)
  raises(kv.compareAndSet, 'unknown option "TTL"', "k", 1, 2, { TTL = 1 })
  raises(kv.set, "kv.set: values cannot be kept from here", "k", 1, { ttl = 0.001 })
end)

test("increment takes integers", function()
  raises(kv.increment, "kv.increment: argument 2 (by): expected an integer, got 1.5", "k", 1.5)
  raises(kv.increment, "kv.increment: argument 2 (by): expected an integer, got 2", "k", "2")
  raises(kv.increment, "kv.increment: values cannot be kept from here", "k", 2.0)
end)

test("list", function()
  raises(kv.list, "kv.list: argument 1 (prefix): expected a string, got table", {})
  raises(kv.list, "kv.list: argument 1 (prefix): a key has at most 512 bytes", ("x"):rep(513))
  raises(kv.list, 'kv.list: option "limit" must be a whole number of at least 1', "", { limit = 0 })
  raises(kv.list, 'kv.list: option "limit" must be a whole number, got number', "", { limit = 1.5 })
  raises(kv.list, "kv.list: values cannot be kept from here", nil, { limit = 1 })
end)

test("scopes", function()
  local scope = kv.scope "jobs"
  for name in pairs(kv) do
    tap.equal(type(scope[name]), "function", name)
  end
  raises(kv.scope, "kv.scope: argument 1 (name): the name is empty", "")
  raises(kv.scope, "kv.scope: argument 1 (name): expected a string, got nothing")
  raises(kv.scope, "a key has at most 512 bytes, this one 513", ("x"):rep(512))
  raises(scope.get, "a key has at most 512 bytes, this one 513", ("x"):rep(508))
  raises(scope.get, "the key is empty", "")
  raises(scope.get, "values cannot be kept from here", ("x"):rep(507))
  raises(scope.scope "x".list, "values cannot be kept from here")
end)

test("where nothing can wait", function()
  raises(function()
    table.sort({ 2, 1 }, function()
      return kv.get "k"
    end)
  end, "kv.get cannot be used here: it waits")
end)

return tap.run
