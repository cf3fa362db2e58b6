local http = require "workers.http"
local tap = require "tap"
local testing = require "testing"
local workers = require "workers"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy

local url = testing.url
local number = 0

-- A path that no other test has used: the server counts by it.
local function fresh(path)
  number = number + 1
  return url .. path .. "/retry-" .. number
end

local quick = { attempts = 4, backoff = 0.001 }

test("without retry a failure is the answer", function()
  equal(http.get(fresh "/flaky/1").status, 503)
end)

test("a failure of the server is tried again", function()
  local response = http.get(fresh "/flaky/3", { retry = quick })
  equal({ response.status, response.body }, { 200, "4" })
  response = http.get(fresh "/flaky/4", { retry = quick })
  equal({ response.status, response.body }, { 503, "4" })
  equal(http.get(fresh "/flaky/1", { retry = true }).status, 200)
  equal(http.get(fresh "/flaky/1", { retry = 2 }).status, 200)
  equal(http.get(fresh "/flaky/1", { retry = 1 }).status, 503)
  equal(http.get(fresh "/flaky/1", { retry = false }).status, 503)
end)

test("what may have been done already is not tried again unless asked for", function()
  equal(http.post(fresh "/flaky/1", { retry = quick }).status, 503)
  equal(http.patch(fresh "/flaky/1", { retry = quick }).status, 503)
  equal(http.put(fresh "/flaky/1", { retry = quick, body = "x" }).status, 200)
  equal(http.delete(fresh "/flaky/1", { retry = quick }).status, 200)
  equal(http.post(fresh "/flaky/1", { retry = { attempts = 2, backoff = 0.001, unsafe = true } }).status, 200)
  -- What was refused for its rate was not done.
  equal(http.post(fresh "/limited" .. "?status=429&reset=0&form=delta", { retry = quick }).status, 200)
end)

test("other statuses are answers", function()
  for _, status in ipairs { 400, 401, 403, 404, 409, 422, 501 } do
    testing.logs()
    equal(http.get(url .. "/status/" .. status, { retry = quick }).status, status)
    equal(#testing.logs(), 1)
  end
end)

test("the body is sent each time", function()
  testing.logs()
  local sent = testing.counters().sent
  raises(function()
    http.put(url .. "/reset", { retry = quick, json = { a = 1 } })
  end, "http.put: ")
  equal(testing.counters().sent - sent, 4)
  equal(#testing.logs(), 4)
end)

test("transport failures that pass are tried again, others are not", function()
  testing.logs()
  equal(raises(function()
    http.get(url .. "/reset", { retry = quick })
  end, "").code, "reset")
  equal(#testing.logs(), 4)
  equal(raises(function()
    http.get("http://localhost:1/", { retry = quick })
  end, "").code, "connect")
  equal(#testing.logs(), 4)
  for path, code in pairs { ["/garbage"] = "protocol", ["/bytes/5000"] = "too_large" } do
    equal(raises(function()
      http.get(url .. path, { retry = quick, maxBody = 4000 })
    end, "").code, code)
    equal(#testing.logs(), 1)
  end
end)

test("the wait that the server asks for is kept", function()
  for _, form in ipairs { "delta", "epoch", "ms" } do
    for _, status in ipairs(form == "delta" and { 403, 429, 503 } or { 429 }) do
      local before = testing.now()
      local response = http.get(fresh "/limited" .. "?reset=1&form=" .. form .. "&status=" .. status, { retry = quick })
      equal(response.status, 200)
      local passed = testing.now() - before
      -- A moment is given in whole seconds.
      truthy(passed >= 400 and passed < 5000, form .. " waited " .. passed)
    end
  end
end)

test("who asks for more than maxWait ends the attempts, and raise says how long", function()
  local before = testing.now()
  local response = http.get(fresh "/limited" .. "?reset=100&form=delta", { retry = { maxWait = 5 } })
  equal(response.status, 403)
  truthy(testing.now() - before < 3000, "nobody waited")
  local err = raises(function()
    response:raise()
  end, "403 Forbidden: API rate limit exceeded")
  equal({ err.name, err.code, err.retryAfter }, { "RateLimitError", "403", 100.0 })
  err = raises(function()
    http.get(fresh "/limited" .. "?reset=100&form=epoch"):raise()
  end, "403")
  truthy(err.retryAfter > 90 and err.retryAfter <= 101, err.retryAfter)
  err = raises(function()
    http.get(fresh "/limited" .. "?reset=100&form=ms&status=429"):raise()
  end, "429")
  truthy(err.retryAfter > 90 and err.retryAfter <= 101, err.retryAfter)
  equal(raises(function()
    http.get(url .. "/status/403"):raise()
  end, "403").name, "HttpError")
end)

test("a wait between attempts can be stopped", function()
  local before = testing.now()
  raises(function()
    workers.timeout(0.05, function()
      http.get(fresh "/flaky/9", { retry = { backoff = 50 } })
    end)
  end, "workers.timeout")
  truthy(testing.now() - before < 5000)
end)

test("options that a script changes between attempts do not matter", function()
  local options = { retry = { attempts = 3, backoff = 0.02 }, headers = { a = "1" }, json = { 1 }, pacer = nil }
  local results = workers.all {
    function()
      return http.put(fresh "/flaky/2", options).status
    end,
    function()
      workers.sleep(0.005)
      for key in pairs(options) do
        options[key] = { "changed" }
      end
      options.pacer = 5
    end,
  }
  equal(results[1], 200)
end)

test("misuse of retry", function()
  for _, case in ipairs {
    { "yes", 'option "retry" must be true, a number of attempts or a table, got string' },
    { 0, 'option "retry": attempts must be from 1' },
    { 21, 'option "retry": attempts must be from 1' },
    { { attempts = 100 }, 'option "retry": attempts must be from 1' },
    { { backoff = -1 }, 'option "retry": backoff must be from 0' },
    { { maxWait = 1e9 }, 'option "retry": maxWait must be from 0' },
    { { maxwait = 1 }, 'did you mean "maxWait"?' },
  } do
    raises(function()
      http.get(url .. "/echo", { retry = case[1] })
    end, case[2])
  end
end)

test("an answer that has not changed", function()
  local first = http.get(url .. "/etag/1")
  equal(first.unchanged, nil)
  local known = first:validators()
  equal(known, { etag = '"1"', lastModified = "Sun, 06 Nov 1994 08:49:37 GMT" })
  local again = http.get(url .. "/etag/1", { ifChanged = known })
  equal({ again.status, again.unchanged, again.body, again.ok }, { 304, true, "", false })
  local changed = http.get(url .. "/etag/2", { ifChanged = known })
  equal({ changed.status, changed.unchanged, changed.body }, { 200, false, "the body" })
  equal(http.get(url .. "/etag/1", { ifChanged = { lastModified = known.lastModified } }).unchanged, true)
  equal(http.get(url .. "/etag/1", { ifChanged = { etag = known.etag } }).unchanged, true)
  equal(http.get(url .. "/etag/1", { ifChanged = {} }).unchanged, false)
  equal(http.get(url .. "/etag/1", { ifChanged = workers.null }).unchanged, false)
  equal(http.get(url .. "/echo"):validators(), nil)
  raises(function()
    http.get(url .. "/etag/1", { ifChanged = { Etag = "x" } })
  end, 'did you mean "etag"?')
  raises(function()
    http.get(url .. "/etag/1", { ifChanged = { etag = "a\r\nb" } })
  end, "http.get: ")
end)

test("multipart bodies, read by another parser", function()
  local bytes = {}
  for i = 0, 255 do
    bytes[i + 1] = string.char(i)
  end
  local all = table.concat(bytes)
  local parts = http.post(url .. "/multipart", {
    multipart = {
      { name = "plain", value = "text" },
      { name = "number", value = 9007199254740993 },
      { name = "half", value = 0.5 },
      { name = "yes", value = true },
      { name = "file", content = all, filename = "a.bin" },
      { name = "file", content = "x,y\r\n", filename = "b.csv", contentType = "text/csv" },
      { name = "note", content = "", contentType = "text/plain" },
      { name = 'odd"\r\nname', value = "--" },
    },
  }):json()
  equal(#parts, 8)
  equal({ parts[1].name, parts[1].content, parts[1].filename, parts[1].type }, { "plain", "text", workers.null, workers.null })
  equal({ parts[2].content, parts[3].content, parts[4].content }, { "9007199254740993", "0.5", "true" })
  equal({ parts[5].filename, parts[5].type, utf8.len(parts[5].content) }, { "a.bin", "application/octet-stream", 256 })
  equal({ parts[6].name, parts[6].filename, parts[6].type, parts[6].content }, { "file", "b.csv", "text/csv", "x,y\r\n" })
  equal({ parts[7].type, parts[7].content }, { "text/plain", "" })
  equal({ parts[8].name, parts[8].content }, { "odd%22%0D%0Aname", "--" })
end)

test("misuse of multipart", function()
  for _, case in ipairs {
    { {}, 'option "multipart" must be a list of parts' },
    { { name = "x" }, 'option "multipart" must be a list of parts' },
    { { 5 }, "" },
    { { { value = "x" } }, "name" },
    { { { name = "x" } }, 'part "x" must have either value or content' },
    { { { name = "x", value = 1, content = "y" } }, 'part "x" must have either value or content' },
    { { { name = "x", value = {} } }, "a value must be a string, a finite number, true or false, got table" },
    { { { name = "x", value = 1 / 0 } }, "a value must be a string, a finite number, true or false" },
    { { { name = "x", content = "y", contentType = "a\r\nb: c" } }, "contentType must be plain ASCII" },
    { { { name = "x", content = "y", fileName = "z" } }, 'did you mean "filename"?' },
  } do
    raises(function()
      http.post(url .. "/multipart", { multipart = case[1] })
    end, case[2])
  end
  raises(function()
    http.post(url .. "/multipart", { multipart = { { name = "x", value = 1 } }, json = {} })
  end, "exclude each other")
end)

test("one line of the log for each request, without what may be secret", function()
  testing.logs()
  http.get(url:gsub("://", "://user:hunter2@") .. "/status/404?token=hunter2")
  pcall(http.get, url .. "/reset?token=hunter2")
  local lines = testing.logs()
  equal(#lines, 2)
  equal(lines[1][1], "http")
  truthy(lines[1][2]:match("^GET http://127%.0%.0%.1:%d+/status/404: 404, 10 bytes, %d+ ms$"), lines[1][2])
  truthy(lines[2][2]:match "^GET http://127%.0%.0%.1:%d+/reset: ", lines[2][2])
  for _, line in ipairs(lines) do
    equal(line[2]:find("hunter2", 1, true), nil)
  end
end)

return tap.run
