-- Lists and tables: what a sync does with them between fetching and returning changes. Must leave its arguments as they
-- are, and must not follow nesting without a bound.
--
-- Scripts name it tables, so that Lua's own table stays in sight:
--     local tables = require "workers.table"

local crypto = require "workers.crypto"
local json = require "workers.json"
local options = require "workers.options"
local suggest = require "workers.suggest"

local show = suggest.show

---@class workers.table
local tables = {}

local MAX_DEPTH = 512 -- as deep as workers.json goes
local FINGERPRINT_DIGITS = 32 -- 128 bits of SHA-256
local ARRAY, OBJECT = getmetatable(json.array()), getmetatable(json.object())

local SORT_OPTIONS = { { "by", "key" }, { "descending", "boolean" } }

-- ---- arguments; raise at the line of the script that called the function ----

local function check_list(what, list)
  if type(list) ~= "table" then
    error(("tables.%s: argument 1 (list): expected a list, got %s"):format(what, show(list)), 3)
  end
  if rawlen(list) == 0 and next(list) ~= nil then
    error(
      ("tables.%s: argument 1 (list): expected a list, got a table with the key %s; is the list in one of its fields?"):format(
        what,
        show((next(list)))
      ),
      3
    )
  end
end

local function check_table(what, value, position)
  if type(value) ~= "table" then
    error(("tables.%s: argument %d: expected a table, got %s"):format(what, position, show(value)), 3)
  end
end

local function check_function(what, fn)
  if type(fn) ~= "function" then
    error(("tables.%s: argument 2: expected a function, got %s"):format(what, show(fn)), 3)
  end
end

local function check_key(what, key)
  if type(key) ~= "function" and type(key) ~= "string" then
    error(("tables.%s: argument 2 (key): expected a field's name or a function, got %s"):format(what, show(key)), 3)
  end
end

-- What the item has in the field named key, or what the function key gives for it.
local function read_key(what, key, item, index)
  if type(key) == "function" then
    return key(item, index)
  elseif type(item) ~= "table" then
    error(("tables.%s: item %d is %s, which has no field %s"):format(what, index, show(item), show(key)), 4)
  end
  return item[key]
end

-- The same, as a key that can stand for its item in a table.
local function item_key(what, key, item, index)
  local found = read_key(what, key, item, index)
  if found == nil or found ~= found then
    local shown = found == nil and "nil" or "NaN"
    error(
      ("tables.%s: item %d has no key (%s); filter such items out, or give a function"):format(what, index, shown),
      3
    )
  end
  return found
end

-- ---- order: false, true, numbers, NaN, strings by their bytes, null and nil ----

local RANK = { boolean = 1, number = 2, string = 4 }

local function rank(value)
  if value ~= value then
    return 3
  elseif value == nil or value == json.null then
    return 5
  end
  return RANK[type(value)]
end

local function before(a, b)
  local ra, rb = rank(a), rank(b)
  if ra ~= rb then
    return ra < rb
  elseif ra == 1 then
    return not a and b
  end
  return (ra == 2 or ra == 4) and a < b
end

-- Merges from[low..middle] and from[middle+1..high], both in order, into to. Takes from the left one what is equal.
local function merge_runs(from, to, low, middle, high, is_before)
  local left, right = low, middle + 1
  for at = low, high do
    if left <= middle and (right > high or not is_before(from[right], from[left])) then
      to[at], left = from[left], left + 1
    else
      to[at], right = from[right], right + 1
    end
  end
end

-- A merge sort, bottom up: stable, and ends whatever is_before answers. Changes list, may return another.
local function merge_sort(list, is_before)
  local count, spare = #list, {}
  local width = 1
  while width < count do
    for low = 1, count, 2 * width do
      local middle = math.min(low + width - 1, count)
      merge_runs(list, spare, low, middle, math.min(low + 2 * width - 1, count), is_before)
    end
    list, spare = spare, list
    width = 2 * width
  end
  return list
end

local function sorted_keys(what, t)
  local keys = {}
  for key in next, t do
    if not rank(key) then
      error(("tables.%s: one of the keys is %s, which has no order"):format(what, show(key)), 3)
    end
    keys[#keys + 1] = key
  end
  return merge_sort(keys, before)
end

-- ---- lists ----

---The list's items as a set: item -> true.
---@generic T
---@param list T[]
---@return table<T, true>
function tables.set(list)
  check_list("set", list)
  local result = {}
  for index, item in ipairs(list) do
    if item ~= item then
      error(("tables.set: item %d is NaN, which cannot be found again"):format(index), 2)
    end
    result[item] = true
  end
  return result
end

---The list without items whose key an earlier one has; the item itself is the key unless one is given.
---@generic T
---@param list T[]
---@param key? string|fun(item: T, index: integer): any
---@return T[]
function tables.uniq(list, key)
  check_list("uniq", list)
  if key ~= nil then
    check_key("uniq", key)
  end
  local result, seen = {}, {}
  for index, item in ipairs(list) do
    local found = item
    if key ~= nil then
      found = item_key("uniq", key, item, index)
    end
    if found ~= found or not seen[found] then -- NaN is never the same
      result[#result + 1] = item
      if found == found then
        seen[found] = true
      end
    end
  end
  return result
end

---Lists of the items that have the same key: key -> items, in the order of the list.
---@generic T
---@param list T[]
---@param key string|fun(item: T, index: integer): any
---@return table<any, T[]>
function tables.groupBy(list, key)
  check_list("groupBy", list)
  check_key("groupBy", key)
  local result = {}
  for index, item in ipairs(list) do
    local found = item_key("groupBy", key, item, index)
    local group = result[found]
    if not group then
      group = {}
      result[found] = group
    end
    group[#group + 1] = item
  end
  return result
end

---The items by their keys: key -> item. Of items with the same key the last stays.
---@generic T
---@param list T[]
---@param key string|fun(item: T, index: integer): any
---@return table<any, T>
function tables.indexBy(list, key)
  check_list("indexBy", list)
  check_key("indexBy", key)
  local result = {}
  for index, item in ipairs(list) do
    result[item_key("indexBy", key, item, index)] = item
  end
  return result
end

---The list cut into lists of n items; the last has what is left.
---@generic T
---@param list T[]
---@param n integer
---@return T[][]
function tables.chunk(list, n)
  check_list("chunk", list)
  local size = type(n) == "number" and math.tointeger(n)
  if not size or size < 1 then
    error(("tables.chunk: argument 2 (n): expected a whole number of at least 1, got %s"):format(show(n)), 2)
  end
  local result = {}
  for from = 1, #list, size do
    result[#result + 1] = table.move(list, from, math.min(from + size - 1, #list), 1, {})
  end
  return result
end

local function sort_by(list, by, descending)
  local keys, places = {}, {}
  for index, item in ipairs(list) do
    local key = item
    if by ~= nil then
      key = read_key("sort", by, item, index)
    end
    if not rank(key) then
      error(("tables.sort: item %d sorts by %s, which has no order; sort by a field of it"):format(index, show(key)), 3)
    end
    keys[index], places[index] = key, index
  end
  places = merge_sort(places, descending and function(a, b)
    return before(keys[b], keys[a])
  end or function(a, b)
    return before(keys[a], keys[b])
  end)
  for at, place in ipairs(places) do
    places[at] = list[place]
  end
  return places
end

---A sorted copy; items that are equal keep their order. Without a second argument the items are compared themselves. A
---name sorts by that field; a function compares as in Lua's table.sort; a table says more. Values of different types
---have an order too: booleans, numbers, strings by their bytes, null and nil.
---@generic T
---@param list T[]
---@param how? string|fun(a: T, b: T): boolean|{by?: string|fun(item: T): any, descending?: boolean}
---@return T[]
function tables.sort(list, how)
  check_list("sort", list)
  if type(how) == "function" then
    return merge_sort(table.move(list, 1, #list, 1, {}), function(a, b)
      local answer = how(a, b)
      if type(answer) ~= "boolean" then
        error(
          ("tables.sort: the function must tell whether its first argument comes before the second (true or false), "
            .. "but gave %s; to sort by a key write { by = function(item) ... end }"):format(show(answer)),
          0
        )
      end
      return answer
    end)
  elseif how == nil or type(how) == "string" then
    return (sort_by(list, how, false)) -- no tail call: errors count the levels
  end
  options.check("tables.sort", how, SORT_OPTIONS)
  return (sort_by(list, how.by, how.descending))
end

---The results of fn for each item.
---@generic T, R
---@param list T[]
---@param fn fun(item: T, index: integer): R
---@return R[]
function tables.map(list, fn)
  check_list("map", list)
  check_function("map", fn)
  local result = {}
  for index, item in ipairs(list) do
    local value = fn(item, index)
    if value == nil then
      error(("tables.map: the function gave nothing for item %d; leave items out with filter"):format(index), 2)
    end
    result[index] = value
  end
  return result
end

---The items for which fn gives a true value.
---@generic T
---@param list T[]
---@param fn fun(item: T, index: integer): any
---@return T[]
function tables.filter(list, fn)
  check_list("filter", list)
  check_function("filter", fn)
  local result = {}
  for index, item in ipairs(list) do
    if fn(item, index) then
      result[#result + 1] = item
    end
  end
  return result
end

-- ---- tables ----

---The keys in order: booleans, numbers, strings by their bytes.
---@generic K
---@param t table<K, any>
---@return K[]
function tables.keys(t)
  check_table("keys", t, 1)
  return (sorted_keys("keys", t))
end

---The values in the order of their keys.
---@generic V
---@param t table<any, V>
---@return V[]
function tables.values(t)
  check_table("values", t, 1)
  local result = sorted_keys("values", t)
  for index, key in ipairs(result) do
    result[index] = rawget(t, key)
  end
  return result
end

local function too_deep(what)
  error(("tables.%s: the value is nested more than %d deep"):format(what, MAX_DEPTH), 0)
end

-- done: original -> copy, so that cycles end; without it every part becomes a table of its own.
local function copy_value(value, done, depth, what)
  if type(value) ~= "table" then
    return value
  elseif done and done[value] then
    return done[value]
  elseif depth > MAX_DEPTH then
    too_deep(what)
  end
  local meta = getmetatable(value)
  if meta ~= nil and not pcall(setmetatable, value, meta) then
    return value -- its metatable is protected, so it is somebody else's, such as a pacer
  end
  local result = {}
  if done then
    done[value] = result
  end
  for key, item in next, value do
    result[copy_value(key, done, depth + 1, what)] = copy_value(item, done, depth + 1, what)
  end
  return setmetatable(result, meta)
end

---A deep copy. Cycles and tables that occur twice stay such; metatables, null, builder values and functions are kept.
---@generic T
---@param value T
---@return T
function tables.copy(value)
  return copy_value(value, {}, 1, "copy")
end

-- What tells [] from {}: a list has the array metatable or elements, an unmarked empty table is an object.
local function shape(t)
  local meta = getmetatable(t)
  if meta == ARRAY or (meta == nil and rawlen(t) > 0) then
    return ARRAY
  elseif meta == nil then
    return OBJECT
  end
  return meta
end

-- seen: the pairs that were compared or are being compared. They differ only if something else does.
local function same(a, b, seen, depth)
  if a == b or (a ~= a and b ~= b) then
    return true
  elseif type(a) ~= "table" or type(b) ~= "table" or shape(a) ~= shape(b) then
    return false
  end
  local with = seen[a]
  if not with then
    with = {}
    seen[a] = with
  elseif with[b] then
    return true
  end
  with[b] = true
  if depth > MAX_DEPTH then
    too_deep "equal"
  end
  for key, value in next, a do
    if not same(value, rawget(b, key), seen, depth + 1) then
      return false
    end
  end
  for key in next, b do
    if rawget(a, key) == nil then
      return false
    end
  end
  return true
end

---Whether two values are the same all the way down. Numbers are compared by value (1 equals 1.0, NaN equals NaN), null
---equals null alone, an empty list differs from an empty object. JSON values are equal when their fingerprints are.
---@param a any
---@param b any
---@return boolean
function tables.equal(a, b)
  return same(a, b, {}, 1)
end

local function is_object(value)
  if type(value) ~= "table" then
    return false
  end
  local meta = getmetatable(value)
  return meta == OBJECT or (meta == nil and rawlen(value) == 0)
end

local function merge_into(result, t, depth)
  if depth > MAX_DEPTH then
    too_deep "merge"
  end
  for key, value in next, t do
    if is_object(value) and is_object(result[key]) then
      merge_into(result[key], value, depth + 1)
    else
      result[key] = copy_value(value, nil, depth + 1, "merge")
    end
  end
end

---A new table with the fields of all; later ones win. Objects inside are merged the same way, lists and all other
---values, null too, take the place of what was there. Arguments that are nil are passed over.
---@param ... table?
---@return table
function tables.merge(...)
  local result = {}
  for position = 1, select("#", ...) do
    local t = select(position, ...)
    if t ~= nil then
      check_table("merge", t, position)
      merge_into(result, t, 1)
    end
  end
  return result
end

-- The value with whole floats as integers, so that 1.0 and 1 have one text. What is too deep is left to json.encode.
local function canonical(value, depth)
  if math.type(value) == "float" then
    return math.tointeger(value) or value
  elseif type(value) ~= "table" or depth > MAX_DEPTH then
    return value
  end
  local meta = getmetatable(value)
  if meta ~= nil and meta ~= ARRAY and meta ~= OBJECT then
    return value
  end
  local result = {}
  for key, item in next, value do
    result[key] = canonical(item, depth + 1)
  end
  return setmetatable(result, meta)
end

---A short text that is the same for values that are equal, and differs for others: 32 hexadecimal digits of the SHA-256
---of their JSON with sorted keys. For JSON values; it stays the same from run to run.
---@param value any
---@return string
function tables.fingerprint(value)
  local ok, text = pcall(json.encode, canonical(value, 1), { sortKeys = true })
  if not ok then
    error("tables.fingerprint: " .. text, 2)
  end
  return crypto.sha256(text):sub(1, FINGERPRINT_DIGITS)
end

return suggest.strict("tables", tables)
