local http = require "workers.http"
local tap = require "tap"
local testing = require "testing"
local workers = require "workers"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy

local url = testing.url

local function read_all(stream)
  local pieces = {}
  for piece in stream:chunks() do
    pieces[#pieces + 1] = piece
  end
  return table.concat(pieces), #pieces
end

test("a body piece by piece", function()
  local stream <close> = http.stream(url .. "/bytes/5000000")
  equal({ stream.status, stream.ok, stream.headers["content-length"], stream.body }, { 200, true, "5000000", nil })
  local body, pieces = read_all(stream)
  equal(#body, 5000000)
  equal(body == ("x"):rep(5000000), true)
  truthy(pieces > 5, pieces)
  equal(stream:read(), nil)
  equal(stream:read(), nil)
end)

test("answers without a body, methods, statuses, redirects", function()
  equal((read_all(http.stream(url .. "/empty"))), "")
  equal((read_all(http.stream(url .. "/bytes/50", { method = "head" }))), "")
  local stream = http.stream(url .. "/echo", { method = "post", json = { 1 } })
  truthy(read_all(stream):find('"method": "POST"', 1, true))
  stream = http.stream(url .. "/status/404")
  equal({ stream.status, stream.ok, (read_all(stream)) }, { 404, false, "status 404" })
  local err = raises(function()
    http.stream(url .. "/status/404"):raise()
  end, "/status/404: 404 Not Found")
  equal(err.code, "http_status")
  stream = http.stream(url .. "/redirect/3")
  equal(stream.url, url .. "/echo")
  truthy(read_all(stream):find('"path": "/echo"', 1, true))
  equal(http.stream(url .. "/etag/1", { ifChanged = { etag = '"1"' } }).unchanged, true)
end)

test("gzip is decoded, also a piece that was held back", function()
  equal((read_all(http.stream(url .. "/gzip"))), http.get(url .. "/gzip").body)
end)

test("what is not read is not taken from the server", function()
  local stream = http.stream(url .. "/stream", { maxBody = "1GiB" })
  equal(#stream:read() > 0, true)
  workers.sleep(0.3) -- the server goes on sending as fast as it can
  local taken = 0
  for _ = 1, 20 do
    local size = #stream:read()
    truthy(size <= 512 * 1024, size)
    taken = taken + size
  end
  truthy(taken > 20, taken)
  stream:close()
  raises(function()
    stream:read()
  end, "the response is closed")
end)

test("the maximum holds for the whole body", function()
  local stream = http.stream(url .. "/stream", { maxBody = 3000000 })
  local taken = 0
  local err = raises(function()
    for piece in stream:chunks() do
      taken = taken + #piece
    end
  end, "is larger than the maximum of 3000000 bytes")
  equal(err.code, "too_large")
  truthy(taken <= 3000000, taken)
  equal(
    raises(function()
      http.stream(url .. "/bytes/5000", { maxBody = 4999 })
    end, "is larger than the maximum").code,
    "too_large"
  )
end)

test("a body that breaks off is an error, after what had arrived", function()
  local stream = http.stream(url .. "/truncated")
  local err = raises(function()
    read_all(stream)
  end, "closed the connection before the answer was complete")
  equal(err.code, "reset")
end)

test("the timeout is between two pieces, and does not run while the script does something else", function()
  local stream = http.stream(url .. "/drip?bytes=6&seconds=0.9", { timeout = 0.5 })
  truthy(#read_all(stream) > 0)
  stream = http.stream(url .. "/bytes/5000000", { timeout = 0.3 })
  stream:read()
  workers.sleep(0.6)
  equal(#read_all(stream) > 1000000, true)
  equal(
    raises(function()
      read_all(http.stream(url .. "/drip?bytes=3&seconds=9", { timeout = 0.2 }))
    end, "did not finish within 200 ms").code,
    "timeout"
  )
end)

test("retries until the answer begins", function()
  local stream = http.stream(url .. "/flaky/2/stream-1", { retry = { attempts = 3, backoff = 0.001 } })
  equal({ stream.status, (read_all(stream)) }, { 200, "3" })
end)

test("several streams side by side, and one that is stopped", function()
  local sizes = workers.map({ 300000, 700000, 1100000 }, function(size)
    return #read_all(http.stream(url .. "/bytes/" .. size))
  end)
  equal(sizes, { 300000, 700000, 1100000 })
  raises(function()
    workers.timeout(0.05, function()
      read_all(http.stream(url .. "/drip?bytes=100&seconds=50"))
    end)
  end, "workers.timeout")
end)

test("misuse", function()
  raises(http.stream, "http.stream: the first argument must be the URL, got nothing")
  raises(function()
    http.stream(url, { metod = "GET" })
  end, 'did you mean "method"?')
  local stream = http.stream(url .. "/drip?bytes=3&seconds=1")
  raises(function()
    stream.read()
  end, "call it with a colon")
  raises(function()
    workers.all {
      function()
        stream:read()
        stream:read()
      end,
      function()
        stream:read()
      end,
    }
  end, "another function is reading this response")
  stream:close()
  stream:close()
end)

return tap.run
