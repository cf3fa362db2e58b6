local json = require "workers.json"
local paginate = require "workers.paginate"
local paginating = require "paginating"
local tables = require "workers.table"
local tap = require "tap"
local testing = require "testing"
local time = require "workers.time"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy
local SEEDS, clock, upsert, run_cycle = paginating.SEEDS, paginating.clock, paginating.upsert, paginating.run_cycle
local misuse, slice, changing_list, all_found = paginating.misuse, paginating.slice, paginating.changing_list, paginating.all_found

-- ---- keysets ----

-- A service whose items are changed now and then. A change shows up late, by up to delay milliseconds; until then the
-- item looks as before. Timestamps are coarse, so that many are equal. unit makes them texts or numbers.
local function changing_service(options)
  local service = { items = {}, hidden = {} }
  local count = 0
  local function write(id)
    local at = clock.now // options.grain * options.grain
    local item = { id = id, ms = at, at = options.stamp(at), version = math.random(1 << 40) }
    service.hidden[#service.hidden + 1] = { item = item, shows = at + math.random(0, options.delay) }
  end
  function service.change(most)
    for _ = 1, math.random(0, most) do
      if count == 0 or math.random(3) == 1 then
        count = count + 1
        write(("i%04d"):format(count))
      else
        write(("i%04d"):format(math.random(count)))
      end
    end
    if math.random(4) == 1 then -- an import: many with one timestamp
      for _ = 1, math.random(0, options.burst) do
        count = count + 1
        write(("i%04d"):format(count))
      end
    end
  end
  -- The items that show, in order of (at, id).
  function service.list()
    local left = {}
    for _, entry in ipairs(service.hidden) do
      if entry.shows <= clock.now then
        local shown = service.items[entry.item.id]
        if not shown or shown.ms <= entry.item.ms then
          service.items[entry.item.id] = entry.item
        end
      else
        left[#left + 1] = entry
      end
    end
    service.hidden = left
    local list = {}
    for _, item in pairs(service.items) do
      list[#list + 1] = item
    end
    table.sort(list, function(a, b)
      return a.ms < b.ms or (a.ms == b.ms and a.id < b.id)
    end)
    return list
  end
  return service
end

local STAMPS = {
  iso = function(ms)
    return time.format(ms)
  end,
  ms = function(ms)
    return ms
  end,
  s = function(ms)
    return ms / 1000
  end,
}

local function moment_of(at)
  return type(at) == "string" and time.epochMs(at) or at
end

-- fetch for each way of breaking ties; the service filters by at as it wrote it.
local FETCHES = {
  id = function(service, size, unit)
    return function(at, id)
      local from = at and (unit == "s" and at * 1000 or moment_of(at))
      return tables.filter(service.list(), function(item)
        return not from or item.ms > from or (item.ms == from and item.id > id)
      end)
    end
  end,
  page = function(service, size, unit)
    return function(at, page)
      local from = at and (unit == "s" and at * 1000 or moment_of(at))
      local all = tables.filter(service.list(), function(item)
        return not from or item.ms >= from
      end)
      return table.move(all, (page - 1) * size + 1, #all, 1, {})
    end
  end,
}

local function keyset_run(seed, options)
  math.randomseed(seed)
  clock.now = 1700000000000 + math.random(0, 100000)
  local unit = ({ "iso", "ms", "s" })[seed % 3 + 1]
  local tie = seed % 2 == 0 and "id" or "page"
  -- With pages inside of a timestamp, fewer than a page may leave it between a page's reading and its repetition.
  local size, most = math.random(2, 7), 2
  if tie == "page" then
    size, most = math.random(4, 8), 1
  end
  local says = math.random(2) == 1
  local service = changing_service { grain = 1000, stamp = STAMPS[unit], delay = 15000, burst = 20 }
  local all = FETCHES[tie](service, size, unit)
  local rows, state, largest = {}, nil, 0
  local busy = true
  local function execute(given)
    return paginate.keyset(given, {
      at = "at",
      unit = unit ~= "iso" and unit or nil,
      tie = tie,
      lag = options.lag,
      change = upsert,
      fetch = function(at, other)
        if busy then
          service.change(most)
        end
        local list = all(at, other)
        clock.now = clock.now + math.random(0, options.slow)
        if says then
          return slice(list, 1, size), #list > size
        end
        return slice(list, 1, size)
      end,
    })
  end
  for _ = 1, 6 do
    local n = 0
    local _, _, size_of = nil, nil, nil
    state, _, size_of = run_cycle(execute, state, rows, function()
      n = n + 1
      busy = n < 30
    end)
    busy = true
    largest = math.max(largest, size_of)
    clock.now = clock.now + math.random(0, 40000)
  end
  busy = false
  clock.now = clock.now + 60000
  state = run_cycle(execute, state, rows)
  local expected = service.list()
  local wrong = 0
  for _, item in ipairs(expected) do
    wrong = wrong + (rows[item.id] and rows[item.id].version == item.version and 0 or 1)
  end
  return wrong, #expected, largest, state
end

test("keyset: deltas with ties, late items and a slow reader end up with what the service has", function()
  local total, largest = 0, 0
  for seed = 1, SEEDS do
    local wrong, count, size = keyset_run(seed, { lag = 15, slow = 9000 })
    equal(wrong, 0, "seed " .. seed)
    total, largest = total + count, math.max(largest, size)
  end
  truthy(total > SEEDS * 10, "items: " .. total)
  truthy(largest < 250, "the largest state: " .. largest)
end)

test("keyset: without the lag, late items are lost", function()
  local wrong = 0
  for seed = 1, 30 do
    wrong = wrong + keyset_run(seed, { lag = 0, slow = 9000 })
  end
  truthy(wrong > 10, "lost: " .. wrong)
end)

test("keyset: its states", function()
  clock.now = 1700000100000
  local function call(state, items, more, options)
    return paginate.keyset(
      state,
      tables.merge({
        at = "at",
        unit = "ms",
        change = upsert,
        fetch = function()
          return items, more
        end,
      }, options)
    )
  end
  local old, young = clock.now - 15000, clock.now - 14999
  equal(call(nil, { { id = "a", at = old }, { id = "b", at = young } }, true).nextState, {
    at = young,
    id = "b",
    keepAt = old,
    keepId = "a",
    young = true,
    pages = 1,
  })
  equal(call(nil, { { id = "a", at = young } }, false).nextState, {})
  equal(json.encode(call(nil, {}, false).nextState), "{}")
  equal(call({ at = 5, id = "x" }, {}, false).nextState, { at = 5, id = "x" })
  equal(call({ at = 5, id = "x" }, { { id = "y", at = young } }, false).nextState, { at = 5, id = "x" })
  -- Read late in the cycle, an item is old by then, but something may show up between.
  equal(
    call({ at = 6, id = "y", keepAt = 5, keepId = "x", young = true, pages = 1 }, { { id = "z", at = 7 } }, false).nextState,
    { at = 5, id = "x" }
  )
  equal(call({ at = 5 }, { { id = "y", at = 5 } }, true, { tie = "page" }).nextState, {
    at = 5,
    page = 2,
    last = "y",
    keepAt = 5,
    pages = 1,
  })
end)

test("keyset: more equal timestamps than fit into a page, from a service that cannot get past them", function()
  local items = {}
  for i = 1, 10 do
    items[i] = { id = i, at = "2024-05-01T00:00:00Z" }
  end
  local function run(tie, fetch)
    return pcall(run_cycle, function(state)
      local page = paginate.keyset(state, { at = "at", tie = tie, change = upsert, fetch = fetch })
      return page
    end, nil, {})
  end
  for _, more in ipairs { "said", "not said" } do
    local function first_four()
      return slice(items, 1, 4), more == "said" or nil
    end
    local ok, message = run("id", first_four)
    equal(ok, false)
    truthy(
      message:find(
        'paginate.keyset: more items have the timestamp "2024-05-01T00:00:00Z" than come in one page, and the service '
          .. 'does not filter by id; do so in fetch, or page through them with tie = "page"',
        1,
        true
      ),
      message
    )
    truthy(message:find("paginate_change_test.lua:", 1, true), message)
    ok, message = run("page", first_four)
    equal(ok, false)
    truthy(message:find("the same page came again; check that fetch asks for the page, or ask for larger ones", 1, true), message)
  end
  local ok = run("page", function(_, page)
    return slice(items, page * 4 - 3, 4)
  end)
  equal(ok, true)
end)

test("keyset: items that vanish from a tie take no others with them", function()
  for seed = 1, SEEDS do
    math.randomseed(seed)
    local list, lasting, change = changing_list { delete = true, most = 1 }
    local rows = {}
    run_cycle(function(state)
      return paginate.keyset(state, {
        at = function()
          return "2024-05-01"
        end,
        tie = "page",
        change = upsert,
        fetch = function(_, page)
          change()
          return slice(list, page * 4 - 3, 4)
        end,
      })
    end, nil, rows)
    all_found(rows, lasting, seed)
  end
end)

test("keyset: mistakes", function()
  local function call(items, options, more)
    return paginate.keyset(
      nil,
      tables.merge({
        at = "at",
        change = upsert,
        fetch = function()
          return items, more
        end,
      }, options)
    )
  end
  local function wrong_order(unit, a, b)
    return call({ { id = 1, at = a }, { id = 2, at = b } }, { unit = unit })
  end
  misuse("item 2 (1) is older than what came before; ask the service for the oldest first", wrong_order, "s", 2, 1)
  misuse('item 2 ("2024-01-01T00:00:00+02:00") is older', wrong_order, nil, "2024-01-01T00:00:00Z", "2024-01-01T00:00:00+02:00")
  misuse('the timestamp 2 is a number: say unit = "s" or unit = "ms"', wrong_order, nil, 2, 3)
  misuse('the timestamp "yesterday" is not ISO 8601', wrong_order, nil, "yesterday", "today")
  misuse("an item has no timestamp; say with at =", call, { { id = 1 } })
  misuse("an item has no timestamp", call, { { id = 1, at = json.null } })
  misuse('tie must be "id" or "page", got "offset"', call, {}, { tie = "offset" })
  misuse("fetch says that there is more, but its page has nothing new to go on from", call, {}, {}, true)
  misuse("item 1 has nothing as key", call, { { at = "2024-01-01" } })
  misuse("the function unit must return Unix milliseconds, but returned nothing", call, { { id = 1, at = 1 } }, {
    unit = function() end,
  })
  equal(call({ { id = 1, at = "x5" } }, {
    unit = function(at)
      return tonumber(at:sub(2))
    end,
  }, false).nextState, { at = "x5", id = 1 })
  equal(call({ { id = 1, at = "1700000000.000100" } }, { unit = "s" }, false).nextState.at, "1700000000.000100")
end)

-- ---- windows ----

test("window: narrows when full, widens again, ends lag seconds before now", function()
  for seed = 1, SEEDS do
    math.randomseed(seed)
    clock.now = 1700000000000
    local start, events, id = clock.now - 3600000, {}, 0
    local hidden = {}
    local function happen(at)
      id = id + 1
      hidden[#hidden + 1] = { id = id, at = at, shows = at + math.random(0, 15000) }
    end
    for _ = 1, math.random(0, 60) do
      happen(math.random(start, clock.now))
    end
    for _ = 1, math.random(0, 15) do -- many in a moment
      happen(clock.now - 1800000 + math.random(0, 3000))
    end
    local function show()
      events = tables.filter(hidden, function(event)
        return event.shows <= clock.now
      end)
    end
    local rows, state, edge, most = {}, nil, start, 0
    local limit = math.random(7, 9)
    local function execute(given)
      return paginate.window(given, {
        start = start,
        window = 600,
        minWindow = 0.001,
        limit = limit,
        change = upsert,
        fetch = function(from, to)
          truthy(from >= edge and to > from and to <= clock.now - 15000 and to - from <= 600000, "a window")
          show()
          local inside = tables.filter(events, function(event)
            return event.at >= from and event.at < to
          end)
          most = math.max(most, #inside)
          if #inside < limit then
            equal(from, edge, "windows follow each other")
            edge = to
          end
          clock.now = clock.now + math.random(0, 3000)
          return slice(inside, 1, limit)
        end,
      })
    end
    for _ = 1, 3 do
      state = run_cycle(execute, state, rows)
      for _ = 1, math.random(0, 5) do
        happen(clock.now)
      end
      clock.now = clock.now + math.random(0, 30000)
    end
    clock.now = clock.now + 60000
    state = run_cycle(execute, state, rows)
    equal(#tables.keys(rows), id, "seed " .. seed)
    equal(state.from, edge)
    equal(state.pages, nil)
  end
end)

test("window: too much in the narrowest window", function()
  clock.now = 1700000000000
  local asked = 0
  local err = raises(function()
    run_cycle(function(state)
      return paginate.window(state, {
        start = clock.now - 100000,
        limit = 2,
        lag = 0,
        change = upsert,
        fetch = function(from, to)
          asked = asked + 1
          return from <= clock.now - 50000 and to > clock.now - 50000 and { { id = 1 }, { id = 2 } } or {}
        end,
      })
    end, nil, {})
  end, "2 items, the limit, in the 1000 ms from 2023-11-14T22:12:")
  truthy(tostring(err):find("raise the limit, or narrow the request in fetch by something other than time", 1, true))
  truthy(asked < 30, "asked " .. asked .. " times")
end)

test("window: nothing to ask for yet", function()
  clock.now = 1700000000000
  local page = paginate.window({ from = clock.now - 1000, width = 5000 }, { start = 0, limit = 5, change = upsert, fetch = error })
  equal(page, { changes = {}, hasMore = false, nextState = { from = clock.now - 1000, width = 5000 } })
end)

-- ---- feeds ----

-- A feed of upserts and deletes; rows is what they add up to.
local function new_feed(delay)
  local feed = { events = {}, hidden = {}, rows = {}, count = 0 }
  function feed.happen()
    feed.count = feed.count + 1
    local event = { id = feed.count, at = clock.now, row = "r" .. math.random(12), value = math.random(1 << 40) }
    event.delete = math.random(4) == 1 or nil
    feed.rows[event.row] = not event.delete and event.value or nil
    feed.hidden[#feed.hidden + 1] = { event = event, shows = clock.now + math.random(0, delay) }
    clock.now = clock.now + math.random(1, 400)
  end
  function feed.list() -- newest first
    feed.hidden = tables.filter(feed.hidden, function(entry)
      if entry.shows <= clock.now then
        feed.events[#feed.events + 1] = entry.event
        return false
      end
      return true
    end)
    feed.events = tables.sort(feed.events, { by = "id", descending = true })
    return feed.events
  end
  return feed
end

local function apply(event)
  if event.delete then
    return { type = "delete", key = event.row }
  end
  return { type = "upsert", key = event.row, properties = event.value }
end

test("feed: the rows are what the events add up to, whatever comes meanwhile", function()
  testing.logs()
  for seed = 1, SEEDS do
    math.randomseed(seed)
    clock.now = 1700000000000
    local late = seed % 2 == 0
    local feed, rows, state, largest = new_feed(late and 15000 or 0), {}, nil, 0
    local size = math.random(1, 6)
    local busy = true
    local function execute(given)
      local newest = 0
      return paginate.feed(given, {
        at = late and "at" or nil,
        unit = late and "ms" or nil,
        change = function(event)
          truthy(event.id > newest, "each once, in order")
          newest = event.id
          return apply(event)
        end,
        fetch = function(page)
          page = page or 1
          local items = slice(feed.list(), (page - 1) * size + 1, size)
          for _ = 1, busy and math.random(0, 4) or 0 do
            feed.happen()
            busy = page < 30
          end
          return items, #items > 0 and page + 1 or nil
        end,
      })
    end
    for _ = 1, 6 do
      for _ = 1, math.random(0, 12) do
        feed.happen()
      end
      busy = true
      local _, bytes
      state, _, bytes = run_cycle(execute, state, rows)
      largest = math.max(largest, bytes)
    end
    busy = false
    clock.now = clock.now + 60000
    run_cycle(execute, state, rows)
    equal(rows, feed.rows, "seed " .. seed)
    truthy(largest < 100, "the state stays small: " .. largest)
  end
  equal(testing.logs(), {})
end)

test("feed: some anchors may be gone; when all are, it says so", function()
  local events = {}
  for i = 30, 1, -1 do
    events[#events + 1] = { id = i }
  end
  local function execute(state)
    return paginate.feed(state, {
      change = upsert,
      fetch = function(page)
        page = page or 1
        return slice(events, page * 4 - 3, 4), page * 4 < #events and page + 1 or nil
      end,
    })
  end
  local page = execute(nil)
  equal(#page.changes, 30)
  equal({ page.changes[1].key, page.changes[30].key }, { 1, 30 }, "oldest first")
  equal(page.nextState, { seen = { 30, 29, 28, 27, 26 } })
  events = tables.filter(events, function(event)
    return event.id < 27
  end)
  table.insert(events, 1, { id = 31 })
  local second = execute(page.nextState)
  equal(
    tables.map(second.changes, function(change)
      return change.key
    end),
    { 31 }
  )
  equal(second.nextState, { seen = { 31, 30, 29, 28, 27 } })
  equal(testing.logs(), {})
  events = { { id = 41 }, { id = 40 } }
  equal(#execute(second.nextState).changes, 2)
  equal(testing.logs()[1], {
    "warn",
    "paginate.feed: the last cycle's events are no longer in the feed: some may be missing, run a backfill",
  })
end)

test("feed: first = newest notes where the feed stands", function()
  local asked = 0
  local page = paginate.feed(nil, {
    first = "newest",
    change = upsert,
    fetch = function()
      asked = asked + 1
      return { { id = "c" }, { id = "b" } }, "older"
    end,
  })
  equal(page, { changes = {}, hasMore = false, nextState = { seen = { "c", "b" } } })
  equal(asked, 1)
end)

test("feed: first = newest loses nothing after an empty or a young beginning", function()
  clock.now = 1700000000000
  local events, asked = {}, 0
  local function execute(state)
    return paginate.feed(state, {
      first = "newest",
      at = "at",
      unit = "ms",
      change = upsert,
      fetch = function(page)
        asked, page = asked + 1, page or 1
        return slice(events, page, 1), page < #events and page + 1 or nil
      end,
    })
  end
  local first = execute(nil)
  equal(first, { changes = {}, hasMore = false, nextState = { seen = {} } })
  events = { { id = "a", at = clock.now } }
  equal(#execute(first.nextState).changes, 1, "it came after the beginning")
  events = { { id = "d", at = clock.now }, { id = "c", at = clock.now - 20000 }, { id = "b", at = clock.now - 30000 } }
  asked = 0
  equal(execute(nil).nextState, { seen = { "c" } })
  equal(asked, 2, "read on to an event that is old enough")
end)

test("feed: mistakes", function()
  local function call(options)
    options.change = upsert
    options.fetch = options.fetch or function()
      return { { id = math.random() } }, "again"
    end
    return paginate.feed(nil, options)
  end
  misuse('the service returned the cursor "again" again', call, {})
  misuse('first must be "all" or "newest", got "none"', call, { first = "none" })
  misuse("lag needs at, the field or function that gives an event's time", call, { lag = 5 })
end)

return tap.run
