local fs = require "workers.fs"
local http = require "workers.http"
local tap = require "tap"
local testing = require "testing"
local workers = require "workers"
local test, equal, raises = tap.test, tap.equal, tap.raises

local url = testing.url

test("sleeps end in order of their times", function()
  local order = {}
  local function sleeper(seconds)
    return function()
      workers.sleep(seconds)
      order[#order + 1] = seconds
    end
  end
  workers.all { sleeper(0.03), sleeper(0.01), sleeper(0.02), sleeper(0) }
  equal(order, { 0, 0.01, 0.02, 0.03 })
end)

test("sleep waits at least as long as asked", function()
  local before = testing.now()
  workers.sleep(0.02)
  tap.truthy(testing.now() - before >= 19, "20 ms have passed")
  equal(select("#", workers.sleep(0)), 0)
end)

test("all returns results in order", function()
  local results = workers.all {
    function()
      workers.sleep(0.01)
      return "a", "dropped"
    end,
    function()
      return nil
    end,
    function()
      return { 3 }
    end,
  }
  equal(results, { "a", nil, { 3 } })
  equal(workers.all {}, {})
end)

test("branches run side by side", function()
  local before = testing.now()
  local list = {}
  for i = 1, 50 do
    list[i] = function()
      workers.sleep(0.05)
      return i
    end
  end
  local results = workers.all(list)
  for i = 1, 50 do
    equal(results[i], i)
  end
  tap.truthy(testing.now() - before < 1000, "fifty sleeps of 50 ms took less than a second")
end)

test("map keeps the order and holds the concurrency", function()
  local running, most, calls = 0, 0, 0
  local items = {}
  for i = 1, 40 do
    items[i] = i * 10
  end
  local results = workers.map(items, { concurrency = 3 }, function(item, index)
    running = running + 1
    calls = calls + 1
    most = math.max(most, running)
    workers.sleep((41 - index) % 4 / 1000)
    running = running - 1
    return item + index
  end)
  equal(most, 3)
  equal(calls, 40)
  equal(running, 0)
  for i = 1, 40 do
    equal(results[i], i * 11)
  end
  most = 0
  workers.map(items, { concurrency = 1 }, function()
    running = running + 1
    most = math.max(most, running)
    workers.sleep(0)
    running = running - 1
  end)
  equal(most, 1)
  most = 0
  workers.map(items, function()
    running = running + 1
    most = math.max(most, running)
    workers.sleep(0.001)
    running = running - 1
  end)
  equal(most, 8, "the default concurrency")
  equal(
    workers.map({}, { concurrency = 5 }, function()
      error "never called"
    end),
    {}
  )
end)

test("an error of a branch is raised, with its value", function()
  local value = { reason = "mine" }
  local ok, err = pcall(workers.all, {
    function()
      workers.sleep(0.001)
      error(value)
    end,
  })
  equal(ok, false)
  equal(rawequal(err, value), true)
  raises(function()
    workers.map({ 1, 2, 3 }, { concurrency = 2 }, function(item)
      if item == 2 then
        error "item two"
      end
      workers.sleep(0.001)
    end)
  end, "item two")
  local ok2, err2 = pcall(workers.all, {
    function()
      error()
    end,
  })
  equal(ok2, false)
  equal(err2, nil)
end)

test("an error stops the siblings, at once", function()
  local before = testing.now()
  local log = {}
  raises(function()
    workers.all {
      function()
        log[#log + 1] = "sleeper begins"
        pcall(workers.sleep, 60)
        log[#log + 1] = "sleeper goes on"
      end,
      function()
        workers.sleep(0.005)
        error "the first failure"
      end,
      function()
        http.get(url .. "/delay/30")
        log[#log + 1] = "request goes on"
      end,
      function()
        while true do
        end
      end,
      function()
        workers.all {
          function()
            workers.sleep(60)
            log[#log + 1] = "grandchild goes on"
          end,
        }
      end,
    }
  end, "the first failure")
  equal(log, { "sleeper begins" })
  equal(testing.counters().pending, 0)
  tap.truthy(testing.now() - before < 5000, "nobody waited for the sleepers")
end)

test("siblings that have not begun are stopped as well", function()
  local before = testing.now()
  raises(function()
    workers.all {
      function()
        error "at once"
      end,
      function()
        workers.sleep(60)
      end,
      function()
        http.get(url .. "/delay/30")
      end,
    }
  end, "at once")
  raises(function()
    workers.map({ "x", 60, 60 }, workers.sleep) -- no Lua function in these branches, where a hook could fire
  end, "workers.sleep: the seconds must be a number, got string")
  tap.truthy(testing.now() - before < 5000, "nobody waited for the sleepers")
end)

test("files are closed, and cleanups run, in branches that are stopped", function()
  testing.file("lines.txt", "a\nb\n")
  local before, closed = testing.openFiles(), {}
  pcall(workers.all, {
    function()
      local _ <close> = setmetatable({}, {
        __close = function()
          closed[#closed + 1] = pcall(workers.sleep, 1) -- a cleanup cannot wait
        end,
      })
      for _ in fs.lines "lines.txt" do
        workers.sleep(60)
      end
    end,
    function()
      workers.sleep(0.001)
      equal(testing.openFiles(), before + 1)
      error "x"
    end,
  })
  equal(testing.openFiles(), before)
  equal(closed, { false })
end)

test("pcall, xpcall and error pass through waits", function()
  local ok, first, second = pcall(function(...)
    workers.sleep(0.001)
    return ...
  end, 1, 2)
  equal({ ok, first, second }, { true, 1, 2 })
  local failed, message = pcall(function()
    workers.sleep(0.001)
    error({ code = 7 })
  end)
  equal({ failed, message }, { false, { code = 7 } })
  local handled, text = xpcall(function()
    workers.sleep(0.001)
    error("deep", 0)
  end, function(err)
    return "handled " .. err
  end)
  equal({ handled, text }, { false, "handled deep" })
  local done = {}
  for i = 1, 3 do
    pcall(function()
      pcall(function()
        workers.sleep(0.001)
        done[#done + 1] = i
        error "x"
      end)
      workers.sleep(0.001)
    end)
  end
  equal(done, { 1, 2, 3 })
end)

test("a generator may wait, and its yields reach its caller", function()
  local function pages(count)
    return coroutine.wrap(function()
      for page = 1, count do
        local response = http.get(url .. "/pages", { query = { page = page, per_page = 2, total = 5 } })
        workers.sleep(0.001)
        coroutine.yield(page, response:json())
      end
    end)
  end
  local ids = {}
  for page, items in pages(3) do
    for _, item in ipairs(items) do
      ids[#ids + 1] = page * 100 + item.id
    end
  end
  equal(ids, { 101, 102, 203, 204, 305 })
end)

test("generators inside generators", function()
  local function outer()
    return coroutine.wrap(function()
      local inner = coroutine.wrap(function(...)
        workers.sleep(0.001)
        local got = coroutine.yield(...)
        workers.sleep(0.001)
        coroutine.yield(got .. "!")
      end)
      coroutine.yield(inner "a")
      workers.sleep(0.001)
      coroutine.yield(inner "b")
      error "end of inner"
    end)
  end
  local step = outer()
  equal(step(), "a")
  equal(step(), "b!")
  raises(step, "end of inner")
  raises(step, "cannot resume dead coroutine")
end)

test("coroutine.resume passes waits through, also their errors", function()
  local co = coroutine.create(function(a)
    workers.sleep(0.001)
    local b = coroutine.yield(a + 1)
    http.get("http://127.0.0.1:" .. testing.closedPort())
    return b
  end)
  equal({ coroutine.resume(co, 1) }, { true, 2 })
  equal(coroutine.status(co), "suspended")
  local ok, err = coroutine.resume(co, 2)
  equal(ok, false)
  equal(err.code, "connect")
  equal(coroutine.status(co), "dead")
  equal({ coroutine.resume(co) }, { false, "cannot resume dead coroutine" })
end)

test("a coroutine that waits for one branch cannot be resumed by another", function()
  local step = coroutine.create(function()
    workers.sleep(0.02)
    return "slept"
  end)
  local results = workers.all {
    function()
      return select(2, coroutine.resume(step))
    end,
    function()
      workers.sleep(0.005)
      equal(coroutine.status(step), "normal")
      raises(function()
        coroutine.close(step)
      end, "cannot close a normal coroutine")
      return select(2, coroutine.resume(step))
    end,
  }
  equal(results, { "slept", "cannot resume a coroutine that is waiting" })
end)

test("long computations in coroutines are pre-empted without being noticed", function()
  local function count(upto)
    local sum = 0
    for i = 1, upto do
      sum = sum + i
    end
    return sum
  end
  local results = workers.all {
    function()
      local co = coroutine.wrap(function()
        coroutine.yield(count(2000000))
        return count(1000)
      end)
      return { co(), co() }
    end,
    function()
      return select(2, pcall(count, 2000000))
    end,
  }
  equal(results, { { 2000001000000, 500500 }, 2000001000000 })
end)

test("waits are refused where they cannot work", function()
  local expected = "workers.sleep cannot be used here: it waits"
  raises(function()
    table.sort({ 3, 1, 2 }, function(a, b)
      workers.sleep(0)
      return a < b
    end)
  end, expected)
  raises(function()
    return (("x"):gsub("x", function()
      workers.sleep(0)
    end))
  end, expected)
  raises(function()
    -- also inside a coroutine that such a callback runs
    return (("x"):gsub("x", coroutine.wrap(function()
      workers.sleep(0)
    end)))
  end, expected)
  raises(function()
    return require "support.waits"
  end, "module 'support.waits' not found")
  equal(
    setmetatable({}, {
      __index = function()
        workers.sleep(0)
        return "waited"
      end,
    }).x,
    "waited",
    "a metamethod called from Lua may wait"
  )
end)

test("iterators of a generic for may wait", function()
  local got = {}
  for i in
    function(_, i)
      workers.sleep(0.001)
      return i < 3 and i + 1 or nil
    end,
    nil,
    0
  do
    got[#got + 1] = i
  end
  equal(got, { 1, 2, 3 })
end)

test("yield outside a coroutine", function()
  raises(function()
    coroutine.yield(1)
  end, "attempt to yield from outside a coroutine")
  equal(coroutine.isyieldable(), false)
  equal(select(2, coroutine.running()), true)
end)

test("misuse of sleep, all, race, timeout and map", function()
  for _, case in ipairs {
    { workers.sleep, { "x" }, "workers.sleep: the seconds must be a number, got string" },
    { workers.sleep, {}, "workers.sleep: the seconds must be a number, got nothing" },
    { workers.sleep, { -1 }, "workers.sleep: the seconds must be from 0 to" },
    { workers.sleep, { 0 / 0 }, "workers.sleep: the seconds must be from 0 to" },
    { workers.sleep, { math.huge }, "workers.sleep: the seconds must be from 0 to" },
    { workers.all, {}, "workers.all: expected a list of functions, got nothing" },
    { workers.all, { { print, 5 } }, "workers.all: element 2 must be a function, got number" },
    { workers.race, { {} }, "workers.race: the list is empty" },
    { workers.race, { { 5 } }, "workers.race: element 1 must be a function, got number" },
    { workers.timeout, { 0, print }, "workers.timeout: the seconds must be a number above 0" },
    { workers.timeout, { 0 / 0, print }, "workers.timeout: the seconds must be a number above 0" },
    { workers.timeout, { 1 }, "workers.timeout: expected workers.timeout(seconds, function() … end)" },
    { workers.map, { 5 }, "workers.map: expected a list, got number" },
    { workers.map, { {}, { concurrency = 0 }, print }, "concurrency must be a whole number from 1 to 1000" },
    { workers.map, { {}, { concurrency = 1001 }, print }, "concurrency must be a whole number from 1 to 1000" },
    { workers.map, { {}, { concurrency = "2" }, print }, "concurrency must be a whole number from 1 to 1000" },
    { workers.map, { {}, { parallel = 2 }, print }, "workers.map: the only option is concurrency" },
    { workers.map, { {}, { concurrency = 2 } }, "workers.map: expected workers.map(list, { concurrency = n }, function" },
    { workers.map, { {} }, "workers.map: expected workers.map(list, { concurrency = n }, function" },
  } do
    raises(function()
      case[1](table.unpack(case[2]))
    end, case[3])
  end
end)

-- A value whose cleanup is noted in log.
local function noting(log, name)
  return setmetatable({}, {
    __close = function()
      log[#log + 1] = name
    end,
  })
end

test("race gives the result of the first that ends and stops the others, cleanups included", function()
  local log = {}
  local function after(seconds, value)
    return function()
      local _ <close> = noting(log, value)
      workers.sleep(seconds)
      log[#log + 1] = value .. " slept"
      return value
    end
  end
  equal(workers.race { after(5, "slow"), after(0.01, "fast"), after(6, "slower") }, "fast")
  table.sort(log)
  equal(log, { "fast", "fast slept", "slow", "slower" })
  equal(
    workers.race {
      function()
        return nil
      end,
    },
    nil
  )
end)

test("race raises what the first that ends raises", function()
  local log = {}
  local err = raises(function()
    workers.race {
      function()
        local _ <close> = noting(log, "closed")
        workers.sleep(5)
      end,
      function()
        error { message = "broken", code = 7 }
      end,
    }
  end, "broken")
  equal(err.code, 7)
  equal(log, { "closed" })
end)

test("timeout gives what the function returns in time", function()
  equal(
    workers.timeout(5, function()
      workers.sleep(0.01)
      return "done"
    end),
    "done"
  )
  raises(function()
    workers.timeout(5, function()
      error "broken"
    end)
  end, "broken")
end)

test("timeout stops what takes longer, cleanups included", function()
  local log = {}
  local err = raises(function()
    workers.timeout(0.02, function()
      local _ <close> = noting(log, "outer")
      workers.all {
        function()
          local _ <close> = noting(log, "inner")
          pcall(workers.sleep, 10)
          log[#log + 1] = "not reached"
        end,
      }
    end)
  end, "workers.timeout: not done within 0.02 s")
  equal(err.name, "TimeoutError")
  equal(err.code, "timeout")
  workers.sleep(0)
  table.sort(log)
  equal(log, { "inner", "outer" })
  raises(function()
    workers.timeout(0.02, function()
      while true do
        local _ = 1
      end
    end)
  end, "not done within")
end)

test("cleanups that do not end are stopped", function()
  local before = testing.now()
  local started = 0
  raises(function()
    workers.timeout(0.01, function()
      workers.map({ 1, 2, 3, 4, 5, 6, 7, 8 }, function()
        local _ <close> = setmetatable({}, {
          __close = function()
            started = started + 1
            pcall(function()
              while true do
                pcall(error)
              end
            end)
            started = started + 100
          end,
        })
        workers.sleep(60)
      end)
    end)
  end, "not done within 0.01 s")
  workers.sleep(0)
  equal(started, 8) -- each began, none ended
  tap.truthy(testing.now() - before < 5000, "100 ms of CPU in all")
end)

test("a timeout within a timeout", function()
  local inner
  equal(
    workers.timeout(5, function()
      inner = raises(function()
        workers.timeout(0.01, function()
          workers.sleep(10)
        end)
      end, "not done within 0.01 s")
      return "went on"
    end),
    "went on"
  )
  equal(inner.code, "timeout")
  raises(function()
    workers.timeout(0.01, function()
      workers.timeout(10, function()
        workers.sleep(10)
      end)
    end)
  end, "not done within 0.01 s")
end)

test("groups leave nothing behind", function()
  local function use()
    for _ = 1, 20 do
      workers.map({ 1, 2, 3, 4 }, { concurrency = 2 }, function(item)
        workers.sleep(0)
        return { item }
      end)
      pcall(workers.all, {
        function()
          workers.sleep(1)
        end,
        function()
          error "x"
        end,
      })
      pcall(workers.timeout, 0.001, function()
        workers.sleep(1)
      end)
      workers.race {
        function()
          workers.sleep(1)
        end,
        print,
      }
    end
  end
  use()
  workers.sleep(0)
  local before = testing.collect()
  for _ = 1, 5 do
    use()
  end
  workers.sleep(0)
  tap.truthy(testing.collect() - before < 4096, "memory grew by " .. testing.collect() - before .. " bytes")
end)

return tap.run
