-- What the styles of paging share: options, checks of what fetch returned, changes, cursors.
--
-- Mistakes are raised at the script's line: depth tells how far that is, 1 in a function that the script calls, 2 in one
-- that it calls, and so on.

local json = require "workers.json"
local suggest = require "workers.suggest"
local time = require "workers.time"

local show = suggest.show

local shared = {}

local MAX_PAGES = 10000
local REPEATS = 3 -- pages in a row that end with the same item; one can come about when items are added, three cannot

shared.FETCH = { "fetch", "function", required = true, help = "a function that asks for one page and returns its items" }
shared.CHANGE =
  { "change", "function", required = true, help = "a function that returns the change, or a list of them, for an item" }
shared.PAGES = { "maxPages", "integer" }
shared.KEY = { "key", "key" }
shared.LAG = { "lag", "number", help = "seconds" }
shared.UNIT = { "unit", "any" }

---Raises. what is the function that the script called, as in "paginate.page".
function shared.fail(depth, what, text, ...)
  error(("%s: %s"):format(what, text:format(...)), depth + 2)
end

-- The state as a table; one that another function or an older script has left is refused.
function shared.read_state(what, state, keys)
  if state == nil or state == json.null then
    return {}
  elseif type(state) ~= "table" then
    shared.fail(2, what, "argument 1 (state): expected the state that execute was given, got %s", show(state))
  end
  local unknown = suggest.unknown_key(state, keys)
  if unknown ~= nil then
    shared.fail(
      2,
      what,
      "the state has the field %s, which is none of this function's; after a change of the script, run "
        .. "`workers sync state reset KEY`",
      show(unknown)
    )
  end
  return state
end

-- The number of the page of this cycle that is about to be fetched.
function shared.count_page(what, state, given)
  local pages = (state.pages or 0) + 1
  local most = given.maxPages or MAX_PAGES
  if pages > most then
    shared.fail(2, what, "%d pages, and still no end: if the list is really that long, raise maxPages", most)
  end
  return pages
end

function shared.check_items(what, items)
  if type(items) ~= "table" or (rawlen(items) == 0 and next(items) ~= nil) then
    shared.fail(
      2,
      what,
      "fetch must return the list of items first, but returned %s",
      type(items) == "table" and "a table with the key " .. show((next(items))) or show(items)
    )
  end
end

-- Whether there is more: as fetch says; when it does not, whatever absent is.
function shared.read_more(what, more, absent)
  if more == nil then
    return absent
  elseif type(more) ~= "boolean" then
    shared.fail(2, what, "fetch must return whether there is more (true or false) after the items, but returned %s", show(more))
  end
  return more
end

-- The field, or result of the function, that option names; nil for what an item does not have.
function shared.read(item, option)
  local value
  if type(option) == "function" then
    value = option(item)
  elseif type(item) == "table" then
    value = item[option]
  end
  if value == json.null then
    return nil
  end
  return value
end

-- What tells an item from others: a string or a number.
function shared.read_key(what, given, item, index)
  local key = shared.read(item, given.key or "id")
  if type(key) ~= "string" and type(key) ~= "number" then
    shared.fail(
      2,
      what,
      "item %d has %s as key (%s); say with key = which field or function names an item",
      index,
      show(key),
      type(given.key) == "function" and "the function key" or "the field " .. show(given.key or "id")
    )
  end
  return key
end

-- Adds what change makes of the items.
function shared.add_changes(what, changes, items, change)
  for index, item in ipairs(items) do
    local found = change(item)
    if type(found) == "table" and rawlen(found) > 0 then
      table.move(found, 1, #found, #changes + 1, changes)
    elseif type(found) == "table" and next(found) ~= nil then
      changes[#changes + 1] = found
    elseif found ~= nil and type(found) ~= "table" then
      shared.fail(2, what, "change must return a change, a list of changes or nothing, but returned %s for item %d", show(found), index)
    end
  end
  return changes
end

---@return workers.paginate.Result
function shared.result(changes, more, state)
  return { changes = changes, hasMore = more, nextState = state }
end

-- Brent's way to find that a sequence goes round with one value remembered: the value after every 1, 2, 4, 8, …
-- steps. Returns what to remember.
function shared.check_cursor(what, name, state, cursor, pages, current)
  if cursor == current or cursor == state.mark then
    shared.fail(
      2,
      what,
      "the service returned the %s %s again, so that the list would never end; check that fetch passes it on",
      name,
      show(cursor)
    )
  end
  return pages & (pages - 1) == 0 and cursor or state.mark
end

-- Counts pages in a row that end with the same item. Returns the count, nil for none, and whether that is a mistake.
function shared.count_repeats(state, again)
  if not again then
    return nil, false
  end
  local repeats = (state.repeats or 0) + 1
  return repeats, repeats >= REPEATS
end

local function is_cursor(value)
  return (type(value) == "string" and value ~= "") or math.type(value) == "integer"
end

-- The cursor that fetch returned; nil at the end of the list.
function shared.read_cursor(what, name, value)
  if value == nil or value == json.null or value == "" or value == false then
    return nil
  elseif not is_cursor(value) then
    shared.fail(2, what, "the %s must be a string or an integer, nil at the end, but fetch returned %s", name, show(value))
  end
  return value
end

-- The moment that a service's timestamp means. To be called by a helper of the function that the script calls.
function shared.read_moment(what, at, unit)
  if type(unit) == "function" then
    local ms = unit(at)
    if type(ms) ~= "number" then
      shared.fail(3, what, "the function unit must return Unix milliseconds, but returned %s for %s", show(ms), show(at))
    end
    return ms
  end
  local number = tonumber(at)
  if number then
    if unit ~= "s" and unit ~= "ms" then
      shared.fail(3, what, 'the timestamp %s is a number: say unit = "s" or unit = "ms"', show(at))
    end
    return unit == "s" and number * 1000 or number
  elseif at == nil then
    shared.fail(3, what, "an item has no timestamp; say with at = which field or function gives it")
  end
  local ok, ms = pcall(time.epochMs, at)
  if not ok then
    shared.fail(3, what, "the timestamp %s is not ISO 8601; let unit be a function that returns its Unix milliseconds", show(at))
  end
  return ms
end

return shared
