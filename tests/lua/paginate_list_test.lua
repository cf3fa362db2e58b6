local json = require "workers.json"
local paginate = require "workers.paginate"
local paginating = require "paginating"
local tables = require "workers.table"
local tap = require "tap"
local testing = require "testing"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy
local SEEDS, upsert, run_cycle, numbered = paginating.SEEDS, paginating.upsert, paginating.run_cycle, paginating.numbered
local ids, misuse, slice, changing_list = paginating.ids, paginating.misuse, paginating.slice, paginating.changing_list
local all_found = paginating.all_found

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

return tap.run
