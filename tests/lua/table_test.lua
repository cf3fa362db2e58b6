local builder = require "workers.builder"
local json = require "workers.json"
local tap = require "tap"
local workers = require "workers"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy

local tables = require "workers.table"
local null = workers.null

-- The message that fn raises, which must begin with this file's name: mistakes are reported at the caller's line.
local function misuse(text, fn, ...)
  local arguments = table.pack(...)
  local err = raises(function()
    local _ = fn(table.unpack(arguments, 1, arguments.n))
  end, text)
  truthy(tostring(err):find("^[%w_/%.%-]*table_test%.lua:%d+: tables%."), err)
end

test("set", function()
  equal(tables.set { "a", "b", "a", 3 }, { a = true, b = true, [3] = true })
  equal(tables.set {}, {})
  equal(tables.set { null }, { [null] = true })
  misuse("tables.set: item 2 is NaN", tables.set, { 1, 0 / 0 })
end)

test("uniq keeps the first", function()
  equal(tables.uniq { 3, 1, 3, 2, 1, 1.0 }, { 3, 1, 2 })
  equal(#tables.uniq { 0 / 0, 0 / 0 }, 2)
  equal(tables.uniq({ { id = 1, a = 1 }, { id = 2 }, { id = 1, a = 3 } }, "id"), { { id = 1, a = 1 }, { id = 2 } })
  equal(
    tables.uniq({ "Apple", "apricot", "Berry" }, function(word)
      return word:sub(1, 1):lower()
    end),
    { "Apple", "Berry" }
  )
  misuse("item 2 has no key (nil)", tables.uniq, { { id = 1 }, {} }, "id")
  misuse('item 1 is 5, which has no field "id"', tables.uniq, { 5 }, "id")
  misuse("argument 2 (key): expected a field's name or a function, got 7", tables.uniq, { 5 }, 7)
end)

test("groupBy and indexBy", function()
  local list = { { k = "a", n = 1 }, { k = "b", n = 2 }, { k = "a", n = 3 } }
  equal(tables.groupBy(list, "k"), { a = { list[1], list[3] }, b = { list[2] } })
  equal(tables.indexBy(list, "k"), { a = list[3], b = list[2] })
  equal(
    tables.groupBy({ 1, 2, 3, 4 }, function(n, index)
      equal(n, index)
      return n % 2 == 0
    end),
    { [true] = { 2, 4 }, [false] = { 1, 3 } }
  )
  equal(tables.groupBy({ { k = null } }, "k"), { [null] = { { k = null } } })
  misuse("tables.groupBy: item 1 has no key (nil); filter such items out", tables.groupBy, { {} }, "k")
  misuse("tables.indexBy: item 1 has no key (NaN)", tables.indexBy, { { k = 0 / 0 } }, "k")
  misuse("expected a field's name or a function, got nothing", tables.indexBy, { {} })
end)

test("chunk", function()
  equal(tables.chunk({ 1, 2, 3, 4, 5 }, 2), { { 1, 2 }, { 3, 4 }, { 5 } })
  equal(tables.chunk({ 1, 2 }, 2.0), { { 1, 2 } })
  equal(tables.chunk({ 1, 2 }, math.maxinteger), { { 1, 2 } })
  equal(tables.chunk({}, 5), {})
  for _, bad in ipairs { 0, -1, 1.5, "2", 0 / 0, math.huge } do
    misuse("argument 2 (n): expected a whole number of at least 1", tables.chunk, { 1 }, bad)
  end
end)

test("lists are checked", function()
  for _, name in ipairs { "set", "uniq", "groupBy", "indexBy", "chunk", "sort", "map", "filter" } do
    misuse("tables." .. name .. ": argument 1 (list): expected a list, got nothing", tables[name])
    misuse("expected a list, got null", tables[name], null)
    misuse('got a table with the key "items"; is the list in one of its fields?', tables[name], { items = { 1 } })
  end
end)

test("sort is stable and leaves the list as it is", function()
  local list = { 3, 1, 2 }
  equal(tables.sort(list), { 1, 2, 3 })
  equal(list, { 3, 1, 2 })
  equal(tables.sort({ 3, 1, 2 }, { descending = true }), { 3, 2, 1 })
  equal(tables.sort({}), {})
  local rows = { { n = 2, at = 1 }, { n = 1, at = 2 }, { n = 2, at = 3 }, { n = 1, at = 4 } }
  equal(tables.sort(rows, "n"), { rows[2], rows[4], rows[1], rows[3] })
  equal(tables.sort(rows, { by = "n", descending = true }), { rows[1], rows[3], rows[2], rows[4] })
  equal(
    tables.sort(rows, function(a, b)
      return a.n < b.n
    end),
    { rows[2], rows[4], rows[1], rows[3] }
  )
  local calls = 0
  equal(
    tables.sort({ "ccc", "a", "bb" }, {
      by = function(word)
        calls = calls + 1
        return #word
      end,
    }),
    { "a", "bb", "ccc" }
  )
  equal(calls, 3, "each key is asked for once")
end)

test("sort has an order for values of different types", function()
  local sorted = tables.sort { "b", null, 2, true, "a", 1.5, false, math.huge, -1, "" }
  equal(sorted, { false, true, -1, 1.5, 2, math.huge, "", "a", "b", null })
  local rows = { { v = "x" }, {}, { v = 0 / 0 }, { v = null }, { v = 7 } }
  equal(tables.sort(rows, "v"), { rows[5], rows[3], rows[1], rows[2], rows[4] })
  misuse("tables.sort: item 2 sorts by a table, which has no order", tables.sort, { 1, {} })
end)

test("sort tells a key function from a comparison", function()
  raises(function()
    tables.sort({ { n = 2 }, { n = 1 } }, function(item)
      return item.n
    end)
  end, "but gave 1; to sort by a key write { by = function(item) ... end }")
  misuse('tables.sort: unknown option "descendign"; did you mean "descending"?', tables.sort, { 1 }, { descendign = true })
  misuse('tables.sort: option "by" must be a field\'s name or a function, got 3', tables.sort, { 1 }, { by = 3 })
  misuse('tables.sort: item 1 is 1, which has no field "n"', tables.sort, { 1 }, "n")
end)

test("sort against Lua's own, for random lists of every length", function()
  math.randomseed(7)
  for count = 0, 130 do
    local list, copy = {}, {}
    for i = 1, count do
      list[i] = { key = math.random(1, 1 + count // 3), place = i }
      copy[i] = list[i]
    end
    table.sort(copy, function(a, b)
      if a.key ~= b.key then
        return a.key < b.key
      end
      return a.place < b.place
    end)
    local sorted = tables.sort(list, "key")
    equal(#sorted, count)
    for i = 1, count do
      truthy(rawequal(sorted[i], copy[i]), "item " .. i .. " of " .. count)
    end
  end
end)

test("a comparison that contradicts itself ends", function()
  local list = {}
  for i = 1, 1000 do
    list[i] = i
  end
  local sorted = tables.sort(list, function()
    return math.random(2) == 1
  end)
  table.sort(sorted)
  equal(sorted, list, "a permutation")
end)

test("map and filter", function()
  equal(
    tables.map({ 1, 2 }, function(n, index)
      return n * 10 + index
    end),
    { 11, 22 }
  )
  equal(
    tables.filter({ 5, 6, 7 }, function(n, index)
      return n ~= 6 and index
    end),
    { 5, 7 }
  )
  misuse("tables.map: the function gave nothing for item 2; leave items out with filter", tables.map, { 1, 2 }, function(n)
    return n == 1 or nil
  end)
  misuse("tables.filter: argument 2: expected a function, got nothing", tables.filter, {})
end)

test("keys and values are in order", function()
  local t = { b = 1, a = 2, [10] = 3, [9] = 4, [true] = 5, [1.5] = 6 }
  equal(tables.keys(t), { true, 1.5, 9, 10, "a", "b" })
  equal(tables.values(t), { 5, 6, 4, 3, 2, 1 })
  equal(tables.keys {}, {})
  misuse("tables.keys: one of the keys is a table, which has no order", tables.keys, { [{}] = 1 })
  misuse("tables.values: argument 1: expected a table, got 5", tables.values, 5)
end)

test("copy goes all the way down and keeps what stands for itself", function()
  local title, f = builder.title "x", function() end
  local original = {
    list = json.decode "[1, 2.0, [], {}]",
    none = null,
    title = title,
    f = f,
    class = setmetatable({ 1 }, { __index = { method = f } }),
  }
  original.self, original.again = original, original.list
  local copy = tables.copy(original)
  truthy(not rawequal(copy, original) and not rawequal(copy.list, original.list), "new tables")
  truthy(rawequal(copy.self, copy), "the cycle")
  truthy(rawequal(copy.list, copy.again), "one table, twice")
  truthy(rawequal(copy.title, title) and rawequal(copy.f, f) and rawequal(copy.none, null), "what is kept")
  truthy(rawequal(getmetatable(copy.class), getmetatable(original.class)), "the metatable")
  equal(json.encode(copy.list), "[1,2.0,[],{}]")
  copy.list[1] = 9
  equal(original.list[1], 1)
  equal(tables.copy "text", "text")
  equal(tables.copy(nil), nil)
end)

test("copy does not run metamethods, and keeps what is protected", function()
  local noisy = setmetatable({ a = 1 }, {
    __index = function()
      error "read"
    end,
    __newindex = function()
      error "written"
    end,
    __pairs = function()
      error "listed"
    end,
  })
  equal(rawget(tables.copy(noisy), "a"), 1)
  local protected = setmetatable({}, { __metatable = "mine" })
  truthy(rawequal(tables.copy({ protected })[1], protected), "a string for a metatable")
  protected = setmetatable({}, { __metatable = {} })
  truthy(rawequal(tables.copy({ protected })[1], protected), "a table for a metatable")
end)

local function nested(depth)
  local value = {}
  for _ = 2, depth do
    value = { value }
  end
  return value
end

test("nesting is bounded", function()
  equal(tables.equal(tables.copy(nested(512)), nested(512)), true)
  raises(function()
    tables.copy(nested(513))
  end, "tables.copy: the value is nested more than 512 deep")
  raises(function()
    tables.equal(nested(513), nested(513))
  end, "tables.equal: the value is nested more than 512 deep")
  raises(function()
    tables.merge({}, { a = nested(513) })
  end, "tables.merge: the value is nested more than 512 deep")
  raises(function()
    tables.fingerprint(nested(100000))
  end, "tables.fingerprint: cannot encode: ")
end)

test("equal", function()
  local yes = {
    { nil, nil },
    { 1, 1.0 },
    { 0.0, -0.0 },
    { 0 / 0, 0 / 0 },
    { null, null },
    { "a", "a" },
    { { 1, { x = 2 } }, { 1, { x = 2 } } },
    { { 1, 2 }, json.decode "[1,2.0]" },
    { {}, json.decode "{}" },
    { { a = 1 }, workers.object { a = 1 } },
    { { a = 0 / 0 }, { a = 0 / 0 } },
    { builder.title "x", builder.title "x" },
  }
  for index, pair in ipairs(yes) do
    equal(tables.equal(pair[1], pair[2]), true, "pair " .. index)
    equal(tables.equal(pair[2], pair[1]), true, "pair " .. index .. " turned")
  end
  local no = {
    { nil, null },
    { false, null },
    { 1, "1" },
    { math.maxinteger, math.maxinteger + 0.0 },
    { json.decode "[]", json.decode "{}" },
    { {}, json.decode "[]" },
    { { 1 }, { 1, 2 } },
    { { a = null }, {} },
    { { 1 }, workers.object { "a" } },
    { workers.j.string(), workers.j.number() },
    { builder.title "x", builder.richText "x" },
    { print, error },
  }
  for index, pair in ipairs(no) do
    equal(tables.equal(pair[1], pair[2]), false, "pair " .. index)
    equal(tables.equal(pair[2], pair[1]), false, "pair " .. index .. " turned")
  end
end)

test("equal of cycles ends", function()
  local a, b, c = {}, {}, {}
  a.x, b.x, c.x = a, c, b
  equal(tables.equal(a, b), true)
  c.y = 1
  equal(tables.equal(a, b), false)
  -- Shared parts are compared once: without that this would take 2^200 steps.
  local left, right = {}, {}
  for _ = 1, 200 do
    left, right = { left, left }, { right, right }
  end
  equal(tables.equal(left, right), true)
end)

test("merge", function()
  local defaults = { timeout = 10, headers = { Accept = "json", list = { 1, 2 } }, none = 1 }
  local given = { headers = { list = { 3 }, extra = { a = 1 } }, none = null }
  local merged = tables.merge(defaults, nil, given)
  equal(merged, { timeout = 10, headers = { Accept = "json", list = { 3 }, extra = { a = 1 } }, none = null })
  equal(defaults, { timeout = 10, headers = { Accept = "json", list = { 1, 2 } }, none = 1 }, "arguments stay")
  merged.headers.extra.a = 2
  equal(given.headers.extra.a, 1, "nothing is shared")
  equal(tables.merge(), {})
  equal(tables.merge({ a = {} }, { a = { b = 1 } }), { a = { b = 1 } })
  equal(tables.merge({ a = { b = 1 } }, { a = 5 }), { a = 5 })
  equal(tables.merge({ a = { b = 1 } }, { a = workers.array {} }), { a = {} })
  local part = {}
  equal(tables.merge({ k = { a = part, b = part } }, { k = { a = { x = 1 } } }), { k = { a = { x = 1 }, b = {} } })
  misuse("tables.merge: argument 2: expected a table, got 5", tables.merge, {}, 5)
  local circle = {}
  circle.c = circle
  raises(function()
    tables.merge(circle, circle)
  end, "nested more than 512 deep")
end)

test("fingerprint", function()
  equal(tables.fingerprint { b = 1, a = { 2, null } }, require("workers.crypto").sha256('{"a":[2,null],"b":1}'):sub(1, 32))
  equal(tables.fingerprint { n = 1.0 }, tables.fingerprint { n = 1 })
  equal(tables.fingerprint(2.0 ^ 53), tables.fingerprint(1 << 53))
  equal(tables.fingerprint(-0.0), tables.fingerprint(0))
  truthy(tables.fingerprint(json.decode "[]") ~= tables.fingerprint(json.decode "{}"))
  truthy(tables.fingerprint "1" ~= tables.fingerprint(1))
  equal(tables.fingerprint(builder.title "x"), tables.fingerprint(json.decode(json.encode(builder.title "x"))))
  misuse("tables.fingerprint: cannot encode: at .a: NaN is not a number that JSON can hold", tables.fingerprint, { a = 0 / 0 })
  misuse("tables.fingerprint: cannot encode: ", tables.fingerprint, print)
  local circle = {}
  circle.c = circle
  misuse("tables.fingerprint: cannot encode: ", tables.fingerprint, circle)
end)

local function random_value(depth)
  local kind = math.random(depth > 0 and 9 or 6)
  if kind == 1 then
    return null
  elseif kind == 2 then
    return math.random(2) == 1
  elseif kind == 3 then
    return math.random(0, 3)
  elseif kind == 4 then
    return math.random(0, 3) / 2
  elseif kind <= 6 then
    return ("ab"):sub(1, math.random(0, 2))
  end
  local value = kind == 7 and workers.array() or kind == 8 and workers.object() or {}
  for i = 1, math.random(0, 3) do
    value[kind == 7 and i or ("xyz"):sub(i, i)] = random_value(depth - 1)
  end
  return value
end

test("JSON values are equal exactly when their fingerprints are; a copy is equal; JSON there and back is equal", function()
  math.randomseed(11)
  local found = { [true] = 0, [false] = 0 }
  for _ = 1, 4000 do
    local a, b = random_value(2), random_value(2)
    local answer = tables.equal(a, b)
    found[answer] = found[answer] + 1
    equal(tables.fingerprint(a) == tables.fingerprint(b), answer, json.encode(a) .. " and " .. json.encode(b))
    equal(tables.equal(tables.copy(a), a), true)
    equal(tables.equal(json.decode(json.encode(a)), a), true)
  end
  truthy(found[true] > 100 and found[false] > 100, "both answers occur")
end)

test("an unknown function names the nearest", function()
  raises(function()
    tables.group_by({}, "x")
  end, 'tables has no function "group_by"; did you mean "groupBy"?')
end)

return tap.run
