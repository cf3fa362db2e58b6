local json = require "workers.json"
local tap = require "tap"
local tables = require "workers.table"
local testing = require "testing"
local time = require "workers.time"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy

local paginate = require "workers.paginate"

local SEEDS = 200

local function upsert(item)
  return { type = "upsert", key = item.id, properties = item }
end

-- A clock that tests set.
local now = 1700000000000
time.nowMs = function()
  return now
end

-- Runs one cycle as the engine does: the state goes through JSON, and a page may not return the state it was given.
-- rows is filled. Returns the state that is kept and the number of pages.
local function run_cycle(execute, state, rows, between)
  local pages, largest = 0, 0
  while true do
    local page = execute(state)
    pages = pages + 1
    for _, change in ipairs(page.changes) do
      rows[change.key] = change.type == "upsert" and change.properties or nil
    end
    local text = json.encode(page.nextState or json.null, { sortKeys = true })
    largest = math.max(largest, #text)
    if not page.hasMore then
      return page.nextState and json.decode(text), pages, largest
    end
    truthy(text ~= json.encode(state or json.null, { sortKeys = true }), "cursor did not advance: " .. text)
    truthy(pages < 2000, "no end")
    state = json.decode(text)
    if between then
      between(pages)
    end
  end
end

local function numbered(count)
  local list = {}
  for i = 1, count do
    list[i] = { id = "i" .. i }
  end
  return list
end

local function ids(items)
  return tables.set(tables.map(items, function(item)
    return item.id
  end))
end

local function misuse(text, fn, ...)
  local arguments = table.pack(...)
  local err = raises(function()
    local _ = fn(table.unpack(arguments, 1, arguments.n))
  end, text)
  truthy(tostring(err):find("^[%w_/%.%-]*paginate_test%.lua:%d+: paginate%."), err)
end

local function slice(list, from, count)
  return table.move(list, from, math.min(#list, from + count - 1), 1, {})
end

-- ---- numbered pages ----

test("page: until fetch says so, or until a page is empty", function()
  local list = numbered(25)
  for _, says in ipairs { true, false } do
    for _, first in ipairs { 0, 1 } do
      local rows, asked = {}, {}
      local state, pages = run_cycle(function(state)
        return paginate.page(state, {
          first = first,
          change = upsert,
          fetch = function(page)
            asked[#asked + 1] = page - first
            local items = slice(list, (page - first) * 10 + 1, 10)
            if says then
              return items, (page - first) * 10 + 10 < #list
            end
            return items
          end,
        })
      end, nil, rows)
      equal(state, nil)
      equal(tables.set(tables.keys(rows)), ids(list))
      equal(asked, says and { 0, 1, 2 } or { 0, 1, 2, 3 })
      equal(pages, #asked)
    end
  end
  equal(testing.logs(), {})
end)

test("page: what it returns, and its state", function()
  local page = paginate.page(nil, {
    change = upsert,
    fetch = function()
      return { { id = 1 }, { id = 2 } }, true
    end,
  })
  equal(page, {
    changes = { upsert { id = 1 }, upsert { id = 2 } },
    hasMore = true,
    nextState = { page = 2, last = 2, pages = 1 },
  })
  page = paginate.page(json.null, {
    change = upsert,
    fetch = function()
      return {}, false
    end,
  })
  equal(json.encode(page, { sortKeys = true }), '{"changes":[],"hasMore":false}')
end)

test("page: change may return one change, several or none", function()
  local page = paginate.page(nil, {
    fetch = function()
      return { 1, 2, 3, 4 }, false
    end,
    change = function(n)
      if n == 1 then
        return { type = "delete", key = "a" }
      elseif n == 2 then
        return { { type = "delete", key = "b" }, { type = "delete", key = "c" } }
      elseif n == 3 then
        return {}
      end
    end,
  })
  equal(
    tables.map(page.changes, function(change)
      return change.key
    end),
    { "a", "b", "c" }
  )
end)

-- A list that changes between requests, and the items that are there all the time.
local function changing_list(options)
  local list, count = numbered(math.random(0, 60)), 1000
  local lasting = ids(list)
  local function change()
    for _ = 1, math.random(0, options.most) do
      if options.insert and math.random(2) == 1 then
        count = count + 1
        table.insert(list, math.random(#list + 1), { id = "i" .. count })
      elseif options.delete and #list > 0 then
        lasting[table.remove(list, math.random(#list)).id] = nil
      end
    end
  end
  return list, lasting, change
end

local function all_found(rows, lasting, seed)
  for id in pairs(lasting) do
    truthy(rows[id], ("seed %d: %s was lost"):format(seed, id))
  end
end

test("page: a list that grows repeats items, loses none, and says so", function()
  testing.logs()
  local warned = 0
  for seed = 1, SEEDS do
    math.randomseed(seed)
    local list, lasting, change = changing_list { insert = true, most = 4 }
    local rows = {}
    run_cycle(function(state)
      return paginate.page(state, {
        change = upsert,
        fetch = function(page)
          return slice(list, page * 5 - 4, 5), page * 5 < #list
        end,
      })
    end, nil, rows, change)
    all_found(rows, lasting, seed)
    warned = warned + #testing.logs()
  end
  truthy(warned > SEEDS, "warnings: " .. warned)
end)

test("page: with reread, items that vanish take no others with them", function()
  local lost = { [true] = 0, [false] = 0 }
  for _, reread in ipairs { true, false } do
    for seed = 1, SEEDS do
      math.randomseed(seed)
      local list, lasting, change = changing_list { delete = true, most = 1 }
      local rows = {}
      run_cycle(function(state)
        return paginate.page(state, {
          reread = reread,
          change = upsert,
          fetch = function(page)
            change() -- three times from a page's reading to its next: fewer than a page of 5
            return slice(list, page * 5 - 4, 5), page * 5 < #list
          end,
        })
      end, nil, rows)
      testing.logs()
      for id in pairs(lasting) do
        lost[reread] = lost[reread] + (rows[id] and 0 or 1)
      end
    end
  end
  equal(lost[true], 0)
  truthy(lost[false] > SEEDS / 4, "without it, items are lost: " .. lost[false])
end)

test("page: the same page again and again is a mistake", function()
  local calls = 0
  raises(function()
    run_cycle(function(state)
      return paginate.page(state, {
        change = upsert,
        fetch = function()
          calls = calls + 1
          return { { id = 1 }, { id = 2 } }, true
        end,
      })
    end, nil, {})
  end, "paginate.page: page 4 ends with the same item as the pages before it; check that fetch asks for the page")
  equal(calls, 4)
  equal(#testing.logs(), 2)
end)

test("every style stops after maxPages", function()
  local function items()
    return { { id = math.random(1 << 60), at = 1 } }
  end
  local function random()
    return math.random(1 << 60)
  end
  local styles = {
    page = { fetch = items },
    offset = {
      size = 2,
      fetch = function(_, size)
        local list = {}
        for i = 1, size do
          list[i] = items()[1]
        end
        return list
      end,
    },
    cursor = {
      fetch = function()
        return items(), random()
      end,
    },
    token = {
      fetch = function()
        return items(), random(), true
      end,
    },
    link = {
      url = "http://x.test/",
      fetch = function(url)
        return items(), { url = url, headers = { link = "</" .. random() .. ">; rel=next" } }
      end,
    },
    keyset = { at = "at", unit = "ms", fetch = items },
    window = {
      start = 0,
      limit = 10,
      fetch = function()
        return {}
      end,
    },
    feed = {
      fetch = function()
        return items(), random()
      end,
    },
  }
  for style, options in pairs(styles) do
    options.change, options.maxPages = upsert, 7
    local state
    local err = raises(function()
      repeat
        local page = paginate[style](state, options)
        state = page.nextState
      until not page.hasMore
    end, "paginate." .. style .. ": 7 pages, and ")
    truthy(tostring(err):find "raise maxPages", err)
    truthy(tostring(err):find "^[%w_/%.%-]*paginate_test%.lua:%d+: ", err)
  end
  testing.logs()
end)

-- ---- offsets ----

test("offset: fetches a little twice, and ends when nothing is new", function()
  local list, asked, rows = numbered(25), {}, {}
  run_cycle(function(state)
    return paginate.offset(state, {
      size = 10,
      change = upsert,
      fetch = function(offset, size)
        asked[#asked + 1] = offset
        return slice(list, offset + 1, size)
      end,
    })
  end, nil, rows)
  equal(tables.set(tables.keys(rows)), ids(list))
  equal(asked, { 0, 9, 18, 24 })
  equal(#testing.logs(), 0)
  -- A service that returns fewer than asked for is no shorter list.
  rows = {}
  run_cycle(function(state)
    return paginate.offset(state, {
      change = upsert,
      overlap = 2,
      fetch = function(offset)
        return slice(list, offset + 1, 4)
      end,
    })
  end, nil, rows)
  equal(tables.set(tables.keys(rows)), ids(list))
end)

test("offset: whatever comes and goes, what is there all the time is found", function()
  local went_back = 0
  for seed = 1, SEEDS * 2 do
    math.randomseed(seed)
    local most = seed % 3 == 0 and 12 or 3
    local list, lasting, change = changing_list { insert = true, delete = true, most = most }
    local says, size, rows = seed % 2 == 0, math.random(2, 9), {}
    run_cycle(function(state)
      return paginate.offset(state, {
        size = size,
        overlap = math.random(1, size - 1),
        change = upsert,
        fetch = function(offset, count)
          local items = slice(list, offset + 1, count)
          if says then
            return items, offset + count < #list
          end
          return items
        end,
      })
    end, nil, rows, function(pages)
      if pages < 60 then -- a list that never rests is never read
        change()
      end
    end)
    all_found(rows, lasting, seed)
    went_back = went_back + #testing.logs()
  end
  truthy(went_back > SEEDS / 4, "goes back: " .. went_back)
end)

test("offset: mistakes", function()
  local function call(options, state)
    options.change = upsert
    return paginate.offset(state, options)
  end
  local function one()
    return { { id = 1 } }, true
  end
  misuse("paginate.offset: overlap (5) must be less than size (5)", call, { size = 5, overlap = 5, fetch = one })
  misuse("a page of 1 items says that there is more; pages need at least two, since one overlaps", call, { fetch = one })
  misuse('item 2 has nothing as key (the field "id"); say with key = which field or function names an item', call, {
    fetch = function()
      return { { id = 1 }, {} }
    end,
  })
  misuse("item 1 has a table as key (the function key)", call, {
    fetch = one,
    key = function()
      return {}
    end,
  })
end)

-- ---- cursors and tokens ----

test("cursor: to the end, which may be nil, null or empty", function()
  for _, last in ipairs { "nothing", "", json.null, false } do
    local rows, asked = {}, {}
    run_cycle(function(state)
      return paginate.cursor(state, {
        change = upsert,
        fetch = function(cursor)
          asked[#asked + 1] = cursor or "first"
          local n = (cursor or 0) + 1
          if n < 5 then
            return { { id = n } }, n
          elseif last == "nothing" then
            return { { id = n } }
          end
          return { { id = n } }, last
        end,
      })
    end, nil, rows)
    equal(tables.keys(rows), { 1, 2, 3, 4, 5 })
    equal(asked, { "first", 1, 2, 3, 4 })
  end
end)

test("cursor: one that comes again is found, wherever the circle begins and however long it is", function()
  for start = 0, 12 do
    for length = 1, 12 do
      local calls = 0
      raises(function()
        run_cycle(function(state)
          return paginate.cursor(state, {
            change = upsert,
            fetch = function(cursor)
              calls = calls + 1
              local n = cursor and tonumber(cursor:sub(2)) + 1 or 0
              return {}, "c" .. (n < start + length and n or start)
            end,
          })
        end, nil, {})
      end, " again, so that the list would never end; check that fetch passes it on")
      truthy(calls <= 3 * (start + length) + 2, "after " .. calls)
    end
  end
end)

test("cursor: mistakes", function()
  local function call(...)
    local results = table.pack(...)
    return paginate.cursor(nil, {
      change = upsert,
      fetch = function()
        return table.unpack(results, 1, results.n)
      end,
    })
  end
  misuse("the cursor must be a string or an integer, nil at the end, but fetch returned a table", call, {}, {})
  misuse("but fetch returned 1.5", call, {}, 1.5)
  misuse("but fetch returned true", call, {}, true)
  misuse('fetch must return the list of items first, but returned a table with the key "items"', call, { items = {} })
  misuse("fetch must return the list of items first, but returned null", call, json.null)
  misuse("fetch must return the list of items first, but returned nothing", call)
end)

test("token: is kept when there is nothing more, for the next cycle", function()
  local log, rows = {}, {}
  local function execute(state)
    return paginate.token(state, {
      change = upsert,
      fetch = function(token)
        local from = tonumber(token or "0")
        local items = slice(log, from + 1, 3)
        return items, tostring(from + #items), from + #items < #log
      end,
    })
  end
  local state = run_cycle(execute, nil, rows)
  equal(state, { token = "0" })
  for cycle = 1, 20 do
    for _ = 1, cycle do
      log[#log + 1] = { id = #log + 1 }
    end
    state = run_cycle(execute, state, rows)
    equal(state, { token = tostring(#log) })
    equal(#tables.keys(rows), #log)
  end
end)

test("token: mistakes", function()
  local function call(state, ...)
    local results = table.pack(...)
    return paginate.token(state, {
      change = upsert,
      fetch = function()
        return table.unpack(results, 1, results.n)
      end,
    })
  end
  misuse("fetch returned no token to go on from in the next cycle", call, nil, {}, nil, false)
  misuse("fetch said that there is more, but returned no token", call, nil, {}, nil, true)
  misuse('the service returned the token "a" again', call, { token = "a" }, {}, "a", true)
  misuse("whether there is more (true or false) after the items, but returned 1", call, nil, {}, "a", 1)
  equal(call({ token = "a" }, {}, nil, false).nextState, { token = "a" })
  equal(call({ token = "a" }, {}, "a").nextState, { token = "a" })
end)

-- ---- Link headers ----

test("links: RFC 8288", function()
  local base = "https://api.test/v1/items?page=2"
  for header, expected in pairs {
    [""] = {},
    [" , ,"] = {},
    ['<https://a.test/x>; rel="next"'] = { next = "https://a.test/x" },
    ["<https://a.test/x>;rel=next"] = { next = "https://a.test/x" },
    ['<?page=3>; rel="next", <?page=1>; rel="prev"'] = {
      next = "https://api.test/v1/items?page=3",
      prev = "https://api.test/v1/items?page=1",
    },
    ["</other>; rel=next"] = { next = "https://api.test/other" },
    ["<more>; rel=next"] = { next = "https://api.test/v1/more" },
    ["<>; rel=self"] = { self = base },
    ['<?a>; rel="next last"'] = { next = "https://api.test/v1/items?a", last = "https://api.test/v1/items?a" },
    ["<?a>; REL=NeXT"] = { next = "https://api.test/v1/items?a" },
    ['<?a>; title="a, b; rel=\\"prev\\" \\\\"; rel=next'] = { next = "https://api.test/v1/items?a" },
    ["<?a> ;  rel = next ; foo"] = { next = "https://api.test/v1/items?a" },
    ["<?a,b;c>; rel=next"] = { next = "https://api.test/v1/items?a,b;c" },
    ["<?a>; rel=next; rel=prev"] = { next = "https://api.test/v1/items?a" },
    ["<?a>; rel=next, <?b>; rel=next"] = { next = "https://api.test/v1/items?a" },
    ['<?a>; rel=next; anchor="#x", <?b>; rel=next'] = { next = "https://api.test/v1/items?b" },
    ["<?a>; foo=bar"] = {},
    ["<?a>"] = {},
    ["<?a>;;rel=next"] = { next = "https://api.test/v1/items?a" },
    ["<?a>; rel=next;"] = { next = "https://api.test/v1/items?a" },
    ["<?a>; rel="] = {},
    ["<?a>; =x; rel=next"] = { next = "https://api.test/v1/items?a" },
  } do
    equal(paginate.links(header, base), expected, header)
    equal(paginate.links { headers = { link = header }, url = base }, expected, header)
  end
  equal(paginate.links { headers = {}, url = base }, {})
  equal(paginate.links "<x>; rel=next", { next = "x" })
end)

test("links: what is no Link header raises instead of ending a list early", function()
  for header, at in pairs {
    ["nothing"] = 1,
    ["<a"] = 1,
    ["<a>; rel=next, b"] = 16,
    ['<a>; rel="next'] = 10,
    ['<a>; rel="next\\'] = 10,
    ["<a> rel=next"] = 5,
    ['<a>; rel="next"x'] = 16,
    ["<a>; rel=ne<xt"] = 12,
    [("<a"):rep(1000)] = 1,
  } do
    misuse("the Link header cannot be read from byte " .. at .. " on", paginate.links, header)
  end
  misuse("argument 1: expected a response or a header's text, got nothing", paginate.links)
  misuse("argument 2 (base): expected a URL, got 5", paginate.links, "", 5)
end)

test("links: a long header is read in one pass", function()
  local parts = {}
  for i = 1, 20000 do
    parts[i] = ('<?p=%d>; title="%s"; rel=r%d'):format(i, ('\\"'):rep(20), i)
  end
  local started = os.clock()
  equal(#tables.keys(paginate.links(table.concat(parts, ", "), "http://x.test/")), 20000)
  truthy(os.clock() - started < 10, "it took " .. os.clock() - started)
end)

test("link: follows the header of real responses", function()
  local http = require "workers.http"
  local rows = {}
  local _, pages = run_cycle(function(state)
    return paginate.link(state, {
      url = testing.url .. "/pages?per_page=4&total=10",
      change = upsert,
      fetch = function(url)
        local response = http.get(url):raise()
        return response:json(), response
      end,
    })
  end, nil, rows)
  equal(tables.keys(rows), { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 })
  equal(pages, 3)
end)

test("link: mistakes", function()
  local function call(header, state, more)
    return paginate.link(
      state,
      tables.merge({
        url = "https://api.test/a",
        change = upsert,
        fetch = function(url)
          return {}, { url = url, headers = { link = header } }
        end,
      }, more)
    )
  end
  misuse('the next page, "https://evil.test/a", is not at the host of "https://api.test/a"', call, "<//evil.test/a>; rel=next")
  misuse("is not at the host of", call, "<http://api.test/a>; rel=next")
  misuse("is not at the host of", call, "<https://api.test:444/a>; rel=next")
  equal(call("<//evil.test/a>; rel=next", nil, { anyOrigin = true }).nextState.url, "https://evil.test/a")
  equal(call("<HTTPS://API.test/b>; rel=next").hasMore, true)
  misuse("the Link header cannot be read from byte 1 on", call, "x")
  misuse('the service returned the URL "https://api.test/a" again', call, "<a>; rel=next")
  misuse('option "url" is missing: the first page\'s', paginate.link, nil, { fetch = print, change = print })
  misuse("fetch must return the response after the items, but returned nothing", paginate.link, nil, {
    url = "http://x.test/",
    change = upsert,
    fetch = function()
      return {}
    end,
  })
end)

-- ---- keysets ----

-- A service whose items are changed now and then. A change shows up late, by up to delay milliseconds; until then the
-- item looks as before. Timestamps are coarse, so that many are equal. unit makes them texts or numbers.
local function changing_service(options)
  local service = { items = {}, hidden = {} }
  local count = 0
  local function write(id)
    local at = now // options.grain * options.grain
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
      if entry.shows <= now then
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
  now = 1700000000000 + math.random(0, 100000)
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
        now = now + math.random(0, options.slow)
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
    now = now + math.random(0, 40000)
  end
  busy = false
  now = now + 60000
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
  now = 1700000100000
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
  local old, young = now - 15000, now - 14999
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
      return paginate.keyset(state, { at = "at", tie = tie, change = upsert, fetch = fetch })
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
    truthy(message:find("paginate_test.lua:", 1, true), message)
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
    now = 1700000000000
    local start, events, id = now - 3600000, {}, 0
    local hidden = {}
    local function happen(at)
      id = id + 1
      hidden[#hidden + 1] = { id = id, at = at, shows = at + math.random(0, 15000) }
    end
    for _ = 1, math.random(0, 60) do
      happen(math.random(start, now))
    end
    for _ = 1, math.random(0, 15) do -- many in a moment
      happen(now - 1800000 + math.random(0, 3000))
    end
    local function show()
      events = tables.filter(hidden, function(event)
        return event.shows <= now
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
          truthy(from >= edge and to > from and to <= now - 15000 and to - from <= 600000, "a window")
          show()
          local inside = tables.filter(events, function(event)
            return event.at >= from and event.at < to
          end)
          most = math.max(most, #inside)
          if #inside < limit then
            equal(from, edge, "windows follow each other")
            edge = to
          end
          now = now + math.random(0, 3000)
          return slice(inside, 1, limit)
        end,
      })
    end
    for _ = 1, 3 do
      state = run_cycle(execute, state, rows)
      for _ = 1, math.random(0, 5) do
        happen(now)
      end
      now = now + math.random(0, 30000)
    end
    now = now + 60000
    state = run_cycle(execute, state, rows)
    equal(#tables.keys(rows), id, "seed " .. seed)
    equal(state.from, edge)
    equal(state.pages, nil)
  end
end)

test("window: too much in the narrowest window", function()
  now = 1700000000000
  local asked = 0
  local err = raises(function()
    run_cycle(function(state)
      return paginate.window(state, {
        start = now - 100000,
        limit = 2,
        lag = 0,
        change = upsert,
        fetch = function(from, to)
          asked = asked + 1
          return from <= now - 50000 and to > now - 50000 and { { id = 1 }, { id = 2 } } or {}
        end,
      })
    end, nil, {})
  end, "2 items, the limit, in the 1000 ms from 2023-11-14T22:12:")
  truthy(tostring(err):find("raise the limit, or narrow the request in fetch by something other than time", 1, true))
  truthy(asked < 30, "asked " .. asked .. " times")
end)

test("window: nothing to ask for yet", function()
  now = 1700000000000
  local page = paginate.window({ from = now - 1000, width = 5000 }, { start = 0, limit = 5, change = upsert, fetch = error })
  equal(page, { changes = {}, hasMore = false, nextState = { from = now - 1000, width = 5000 } })
end)

-- ---- feeds ----

-- A feed of upserts and deletes; rows is what they add up to.
local function new_feed(delay)
  local feed = { events = {}, hidden = {}, rows = {}, count = 0 }
  function feed.happen()
    feed.count = feed.count + 1
    local event = { id = feed.count, at = now, row = "r" .. math.random(12), value = math.random(1 << 40) }
    event.delete = math.random(4) == 1 or nil
    feed.rows[event.row] = not event.delete and event.value or nil
    feed.hidden[#feed.hidden + 1] = { event = event, shows = now + math.random(0, delay) }
    now = now + math.random(1, 400)
  end
  function feed.list() -- newest first
    feed.hidden = tables.filter(feed.hidden, function(entry)
      if entry.shows <= now then
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
    now = 1700000000000
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
    now = now + 60000
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
  now = 1700000000000
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
  events = { { id = "a", at = now } }
  equal(#execute(first.nextState).changes, 1, "it came after the beginning")
  events = { { id = "d", at = now }, { id = "c", at = now - 20000 }, { id = "b", at = now - 30000 } }
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

-- ---- streams ----

test("streams: in turn, each with a state of its own", function()
  local seen = {}
  local function stream(name, pages)
    return {
      name,
      function(state)
        local n = (state and state.n or 0) + 1
        seen[#seen + 1] = name .. n
        return { changes = { { type = "delete", key = name .. n } }, hasMore = n % pages ~= 0, nextState = { n = n } }
      end,
    }
  end
  local function execute(state)
    return paginate.streams(state, { stream("updates", 3), stream("deletions", 1) })
  end
  local state = run_cycle(execute, nil, {})
  equal(seen, { "updates1", "updates2", "updates3", "deletions1" })
  equal(state, { states = { updates = { n = 3 }, deletions = { n = 1 } } })
  run_cycle(execute, state, {})
  equal(#seen, 8)
  equal(seen[5], "updates4")
  -- A stream that the script no longer has is forgotten; its turn goes to the first.
  local page = paginate.streams({ stream = "gone", states = { gone = { n = 1 }, deletions = { n = 1 } } }, {
    stream("deletions", 1),
  })
  equal(page.nextState, { states = { deletions = { n = 2 } } })
end)

test("streams: a list that begins anew each cycle has no state", function()
  local page = paginate.streams(nil, {
    {
      "only",
      function()
        return { changes = {}, hasMore = false }
      end,
    },
  })
  equal(json.encode(page.nextState), '{"states":{}}')
end)

test("streams: mistakes", function()
  local function stream(result)
    return function()
      return result
    end
  end
  local call = paginate.streams
  misuse('expected a list such as { { "updates", function(state) ... end } }', call, nil, {})
  misuse("expected a list such as", call, nil, nil)
  misuse("stream 1 must be { name, function(state) ... end }", call, nil, { "updates" })
  misuse('two streams are named "a"', call, nil, { { "a", print }, { "a", print } })
  misuse('the stream "a" must return changes, hasMore and nextState, but returned nothing', call, nil, { { "a", stream(nil) } })
  misuse("must return changes, hasMore and nextState, but returned a table", call, nil, { { "a", stream {} } })
end)

-- ---- mistakes that all styles refuse ----

test("options and states are checked, at the script's line", function()
  local needs = { link = { url = "http://x.test/" }, keyset = { at = "at" }, window = { start = 0, limit = 5 } }
  for _, style in ipairs { "page", "offset", "cursor", "token", "link", "keyset", "window", "feed" } do
    local function with(more, state)
      local options = tables.merge({
        change = upsert,
        fetch = function()
          return {}
        end,
      }, needs[style], more)
      return function()
        return paginate[style](state, options)
      end
    end
    misuse("paginate." .. style .. ": expected a table of options, got nothing", paginate[style], nil)
    misuse('paginate.' .. style .. ': unknown option "chagne"; did you mean "change"?', with { chagne = 1 })
    misuse("the options are: fetch, change", with { zzzzzzzz = 1 })
    misuse('option "fetch" is missing: a function that asks for one page and returns its items', paginate[style], nil, {})
    misuse('option "change" must be a function (', with { change = 5 })
    misuse('option "maxPages" must be a whole number of at least 1, got 0', with { maxPages = 0 })
    misuse("argument 1 (state): expected the state that execute was given, got 5", with({}, 5))
    misuse('the state has the field "elsewhere", which is none of this function\'s', with({}, { elsewhere = 1 }))
    misuse("run `workers sync state reset KEY`", with({}, { elsewhere = 1 }))
    misuse("fetch must return the list of items first, but returned 5", with {
      fetch = function()
        return 5
      end,
    })
    local items = {
      change = function()
        return 5
      end,
      fetch = function()
        return { { id = 1, at = "2020-01-01" } }, false
      end,
    }
    if style ~= "token" and style ~= "link" then
      misuse("change must return a change, a list of changes or nothing, but returned 5 for item 1", with(items))
    end
  end
  misuse('paginate.page: option "first" must be a whole number of at least 0, got -1', paginate.page, nil, {
    fetch = print,
    change = print,
    first = -1,
  })
  raises(function()
    paginate.pages()
  end, 'paginate has no function "pages"; did you mean "page"?')
end)

return tap.run
