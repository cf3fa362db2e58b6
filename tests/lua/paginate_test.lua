local json = require "workers.json"
local paginate = require "workers.paginate"
local paginating = require "paginating"
local tables = require "workers.table"
local tap = require "tap"
local testing = require "testing"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy
local upsert, run_cycle, misuse = paginating.upsert, paginating.run_cycle, paginating.misuse

-- ---- what all styles refuse ----

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
