local http = require "workers.http"
local json = require "workers.json"
local tap = require "tap"
local testing = require "testing"
local workers = require "workers"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy

local url = testing.url
local worker = workers.new()
local pacer = worker:pacer("api", { allowedRequests = 10, intervalMs = 1000 })
local broken_pacer = worker:pacer("broken", { allowedRequests = 1, intervalMs = 1 })

-- What the server saw of a request sent to /echo.
local function echo(method, options, path)
  options = options or {}
  options.method, options.url = method, url .. (path or "/echo")
  local seen = http.request(options):raise():json()
  local headers = {}
  for _, pair in ipairs(seen.headers) do
    headers[pair[1]:lower()] = pair[2]
  end
  seen.headers = headers
  return seen
end

local function error_of(fn, ...)
  local ok, err = pcall(fn, ...)
  equal(ok, false)
  return err
end

test("a response has status, headers, body, ok and url", function()
  local response = http.get(url .. "/status/201?a=1")
  equal(response.status, 201)
  equal(response.ok, true)
  equal(response.body, "status 201")
  equal(response.url, url .. "/status/201?a=1")
  equal(response.method, "GET")
  equal(response.headers["content-length"], "10")
  equal(response.headers["Content-Length"], "10")
  equal(response.headers["CONTENT-LENGTH"], "10")
  equal(response.headers["no-such"], nil)
  equal(response.headers[1], nil)
  equal(tostring(response), "GET " .. url .. "/status/201: 201")
  for status, ok in pairs { [200] = true, [204] = true, [299] = true, [304] = false, [400] = false, [500] = false } do
    equal(http.get(url .. "/status/" .. status).ok, ok)
  end
end)

test("methods", function()
  for _, method in ipairs { "get", "post", "put", "patch", "delete" } do
    local seen = http[method](url .. "/echo"):json()
    equal(seen.method, method:upper())
    equal(seen.body, "")
  end
  local head = http.head(url .. "/bytes/50")
  equal({ head.status, head.body, head.headers["content-length"] }, { 200, "", "50" })
  equal(echo("purge").method, "PURGE")
  equal(http.request({ url = url .. "/echo" }):json().method, "GET")
end)

test("query: sorted names, lists, numbers, booleans, every byte", function()
  local seen = echo("GET", { query = { b = 2, a = "x y&=?#ä", list = { 3, "z", true }, f = 1.5, whole = 6 / 2, no = false } })
  equal(seen.path, "/echo?a=x+y%26%3D%3F%23%C3%A4&b=2&f=1.5&list=3&list=z&list=true&no=false&whole=3")
  equal(echo("GET", { query = { n = 2 } }, "/echo?m=1#part").path, "/echo?m=1&n=2")
  equal(echo("GET", { query = {} }).path, "/echo")
  equal(echo("GET", { query = { { name = "b", value = 2 }, { name = "a", value = 1 }, { name = "b", value = 0 } } }).path, "/echo?b=2&a=1&b=0")
  equal(echo("GET", { query = { [""] = "" } }).path, "/echo?=")
  equal(echo("GET", { query = { big = math.maxinteger } }).path, "/echo?big=9223372036854775807")
  local list = {}
  for i = 1, 200 do
    list[i] = i
  end
  equal(echo("GET", { query = { i = list } }).path, "/echo?i=" .. table.concat(list, "&i="))
end)

test("headers", function()
  local seen = echo("GET", { headers = { ["X-One"] = "1", ["X-Number"] = 5, Accept = "text/csv", ["x-empty"] = "" } })
  equal(seen.headers["x-one"], "1")
  equal(seen.headers["x-number"], "5")
  equal(seen.headers.accept, "text/csv")
  equal(seen.headers["x-empty"], "")
  local pairs_seen = http.get(url .. "/headers", { headers = { ["X-List"] = { "a", "b" } } }):json()
  local values = {}
  for _, pair in ipairs(pairs_seen) do
    if pair[1] == "X-List" then
      values[#values + 1] = pair[2]
    end
  end
  equal(values, { "a", "b" })
end)

test("json, form and body", function()
  local seen = echo("POST", { json = { n = 1, list = workers.array {}, none = workers.null } })
  equal(seen.headers["content-type"], "application/json")
  equal(json.decode(seen.body), { n = 1, list = {}, none = workers.null })
  equal(echo("POST", { json = workers.null }).body, "null")
  equal(echo("POST", { json = false }).body, "false")
  seen = echo("POST", { json = {}, headers = { ["content-type"] = "application/vnd.api+json" } })
  equal(seen.headers["content-type"], "application/vnd.api+json")
  seen = echo("POST", { form = { b = "x y", a = { 1, 2 }, c = true } })
  equal(seen.headers["content-type"], "application/x-www-form-urlencoded")
  equal(seen.body, "a=1&a=2&b=x+y&c=true")
  seen = echo("PUT", { body = "\0\255raw" })
  equal(seen.body, "\0\u{ff}raw")
  equal(seen.headers["content-length"], "5")
  equal(echo("POST", { body = "" }).headers["content-length"], "0")
  equal(#echo("POST", { body = ("x"):rep(3000000) }).body, 3000000)
end)

test("credentials", function()
  equal(http.get(url .. "/basic-auth/ann/s3cret", { auth = { user = "ann", password = "s3cret" } }).status, 200)
  equal(echo("GET", { auth = { user = "ann" } }).headers.authorization, "Basic YW5uOg==")
  equal(http.get(url .. "/bearer", { auth = { bearer = "t0ken" } }):json().token, "t0ken")
  equal(http.get(url .. "/bearer").status, 401)
end)

test("redirects are followed, left, counted or refused", function()
  local response = http.get(url .. "/redirect/3")
  equal({ response.status, response.url }, { 200, url .. "/echo" })
  response = http.get(url .. "/redirect/3", { redirects = 0 })
  equal({ response.status, response.headers.location }, { 302, "/redirect/2" })
  equal(error_of(http.get, url .. "/redirect/3", { redirects = 2 }).code, "redirect")
  equal(error_of(http.get, url .. "/redirect-loop").code, "redirect")
  local err = error_of(http.get, url .. "/redirect/1?key=secret", { redirects = "error" })
  equal(err.name, "HttpError")
  equal(err.code, "redirect")
  truthy(
    err.message:find("http.get: " .. url .. '/redirect/1 answers with a redirect (302), which redirects = "error" refuses', 1, true),
    err.message
  )
  equal(http.get(url .. "/echo", { redirects = "error" }).status, 200)
end)

test("duplicate headers are joined, cookies are a list", function()
  local headers = http.get(url .. "/duplicate-headers").headers
  equal(headers["set-cookie"], { "a=1", "b=2" })
  equal(headers["x-mixed-case"], "padded")
  equal(http.get(url .. "/many-headers/900").headers["x-899"], "v")
end)

test("json decodes, and says what is wrong and where", function()
  equal(http.post(url .. "/echo", { json = { n = 9007199254740993 } }):json().body, '{"n":9007199254740993}')
  local err = error_of(function()
    http.get(url .. "/bytes/3?token=secret"):json()
  end)
  equal({ err.name, err.code }, { "HttpError", "json" })
  truthy(err.message:find("http_test.lua:145: ", 1, true) == 1, err.message)
  truthy(err.message:find("the body from " .. url .. "/bytes/3 is not JSON: ", 1, true), err.message)
  truthy(err.message:find("line 1, column 1", 1, true), err.message)
  truthy(not err.message:find("secret", 1, true), "no query in messages")
  truthy(error_of(function()
    http.get(url .. "/empty"):json()
  end).message:find("is not JSON: it is empty", 1, true))
end)

test("raise returns a good response", function()
  local response = http.get(url .. "/status/204")
  equal(rawequal(response:raise(), response), true)
end)

test("raise turns a status into an error", function()
  local response = http.get(url .. "/status/404?key=secret")
  local err = error_of(response.raise, response)
  equal(err.name, "HttpError")
  equal(err.code, "http_status")
  equal(err.status, 404)
  equal(err.message, "GET " .. url .. "/status/404: 404 Not Found: status 404")
  equal(rawequal(err.response, response), true)
  equal(tostring(err), err.message)
  equal(error_of(function()
    http.post(url .. "/status/599"):raise()
  end).message, "POST " .. url .. "/status/599: 599: status 599")
  equal(error_of(function()
    http.get(url .. "/redirect/1", { redirects = 0 }):raise()
  end).message, "GET " .. url .. "/redirect/1: 302 Found: moved")
end)

test("the message shows the beginning of a text, nothing of other bodies", function()
  local response = http.get(url .. "/status/500")
  local function message_with(body)
    response.body = body
    return error_of(response.raise, response).message
  end
  local start = "GET " .. url .. "/status/500: 500 Internal Server Error"
  equal(message_with "", start)
  equal(message_with "  a\r\n\tb  ", start .. ": a b")
  equal(message_with "\0binary", start)
  equal(message_with "\255", start)
  equal(message_with(("ä"):rep(300)), start .. ": " .. ("ä"):rep(300))
  equal(message_with(("ä"):rep(301)), start .. ": " .. ("ä"):rep(300) .. "…")
  equal(message_with(("\u{10FFFF}"):rep(400)), start .. ": " .. ("\u{10FFFF}"):rep(300) .. "…")
end)

test("429 and 503 become RateLimitError", function()
  local err = error_of(function()
    http.get(url .. "/429", { query = { retry_after = 7 } }):raise()
  end)
  equal({ err.name, err.code, err.retryAfter, err.status }, { "RateLimitError", "429", 7.0, 429 })
  equal(err.message, "GET " .. url .. "/429: 429 Too Many Requests: slow down")
  local response = http.get(url .. "/429", { query = { retry_after = "soon" } })
  err = error_of(response.raise, response)
  equal({ err.name, err.code, err.retryAfter }, { "RateLimitError", "429", nil })
  response = http.get(url .. "/status/503")
  equal(error_of(response.raise, response).name, "HttpError")
  response.headers["retry-after"] = "1.5"
  err = error_of(response.raise, response)
  equal({ err.name, err.code, err.retryAfter, err.status }, { "RateLimitError", "503", 1.5, 503 })
end)

test("Retry-After as a date, in all three forms", function()
  local response = http.get(url .. "/status/429")
  for _, form in ipairs { "imf", "rfc850", "asctime" } do
    response.headers["retry-after"] = testing.httpDate(100, form)
    local err = error_of(response.raise, response)
    truthy(err.retryAfter > 95 and err.retryAfter <= 101, form .. " gives " .. tostring(err.retryAfter))
    response.headers["retry-after"] = testing.httpDate(-100, form)
    equal(error_of(response.raise, response).retryAfter, 0.0)
  end
  for _, bad in ipairs {
    "", "-", "-5", "1e400", "0x10", "nan", "Sun, 31 Feb 2030 00:00:00 GMT", "Sun, 06 Nov 1994 25:00:00 GMT", "99999 1 Jan",
    "Sun, 06 Foo 2030 00:00:00 GMT", "12:", "Jan", ("9"):rep(100000), ("1 "):rep(1000), "Sun, 06 Nov 2030 08:49",
  } do
    response.headers["retry-after"] = bad
    local after = error_of(response.raise, response).retryAfter
    truthy(after == nil or after == 1e9, bad:sub(1, 20) .. " gives " .. tostring(after))
  end
end)

test("transport failures", function()
  local closed = "http://127.0.0.1:" .. testing.closedPort()
  for _, case in ipairs {
    { "connect", closed .. "/path?key=secret" },
    { "url", "ftp://example.com/path?key=secret" },
    { "url", "no address at all" },
    { "url", "http://" },
    { "dns", "http://no-such-host.invalid/secret" },
    { "reset", url .. "/truncated?key=secret" },
    { "reset", url .. "/reset" },
    { "protocol", url .. "/garbage" },
    { "protocol", url .. "/bad-gzip" },
    { "tls", (url:gsub("http:", "https:")) .. "/echo?key=secret" },
    { "timeout", url .. "/delay/30?key=secret", { timeout = 0.05 } },
    { "timeout", url .. "/drip?bytes=1000&seconds=100", { timeout = 0.1 } },
    { "too_large", url .. "/bytes/101", { maxBody = 100 } },
    { "too_large", url .. "/gzip-bomb/4", { maxBody = "1MiB" } },
    { "too_large", url .. "/huge-header" },
  } do
    local err = error_of(http.get, case[2], case[3])
    equal(type(err) == "table" and err.code or err, case[1], case[2])
    equal(err.name, "HttpError")
    truthy(not err.message:find("secret", 1, true), err.message)
    truthy(err.message:find("http.get: ", 1, true), err.message)
  end
  equal(#http.get(url .. "/bytes/100", { maxBody = 100 }).body, 100)
  local err = error_of(function()
    http.get(closed)
  end)
  truthy(err.message:find("http_test.lua:257: ", 1, true) == 1, "the caller's position: " .. err.message)
end)

test("a host that is not allowed", function()
  testing.deny "localhost"
  local err = error_of(http.get, "http://localhost:" .. testing.port .. "/echo?key=secret")
  equal(err.code, "denied")
  truthy(err.message:find("localhost may not be reached: add it to permissions.net in workers.yaml", 1, true), err.message)
  err = error_of(http.get, url .. "/redirect-to", { query = { url = "http://LOCALHOST:" .. testing.port .. "/echo" } })
  equal(err.code, "denied")
  testing.deny(nil)
end)

test("the host counts requests, not those that were refused before", function()
  local before = testing.counters().sent
  http.get(url .. "/echo")
  http.get(url .. "/redirect/2")
  equal(testing.counters().sent, before + 2)
  raises(function()
    http.get(url .. "/echo", { headers = { ["bad name"] = "x" } })
  end, "bad name")
  equal(testing.counters().sent, before + 2)
end)

test("a pacer's slot comes first", function()
  local before = testing.counters()
  equal(http.get(url .. "/echo", { pacer = pacer, query = { a = 1 }, headers = { ["X-A"] = 5 } }):json().path, "/echo?a=1")
  local after = testing.counters()
  equal({ after.pacerWaits - before.pacerWaits, after.sent - before.sent, after.lastPacer }, { 1, 1, "api" })
  pacer:wait()
  equal(testing.counters().pacerWaits - after.pacerWaits, 1)
  raises(function()
    http.get(url .. "/echo", { pacer = broken_pacer })
  end, "the store cannot be reached")
  raises(function()
    http.get(url .. "/echo", { pacer = "api" })
  end, 'http.get: option "pacer" must be what worker:pacer(…) returned, got string')
  raises(function()
    http.get(url .. "/echo", { pacer = { key = "api" } })
  end, 'http.get: option "pacer" must be what worker:pacer(…) returned, got table')
  raises(function()
    pacer.wait()
  end, "call it with a colon: pacer:wait()")
end)

test("what a request is made of survives the wait for its pacer", function()
  local options = {
    pacer = pacer,
    headers = { ["X-Made-" .. tostring(1)] = ("v"):rep(100) .. "1" },
    auth = { bearer = ("t"):rep(100) .. "2" },
    body = ("b"):rep(100) .. "3",
  }
  local results = workers.all {
    function()
      return http.post(url .. "/echo", options):json()
    end,
    function()
      options.headers, options.auth, options.body = nil, nil, nil
      testing.collect()
    end,
  }
  local seen = results[1]
  equal(seen.body, ("b"):rep(100) .. "3")
  local found = {}
  for _, pair in ipairs(seen.headers) do
    found[pair[1]] = pair[2]
  end
  equal(found["X-Made-1"], ("v"):rep(100) .. "1")
  equal(found.Authorization, "Bearer " .. ("t"):rep(100) .. "2")
end)

test("a stopped branch cancels its request and its place in the line", function()
  local before = testing.counters()
  raises(function()
    workers.all {
      function()
        http.get(url .. "/delay/30")
      end,
      function()
        http.get(url .. "/echo", { pacer = pacer })
      end,
      function()
        error "stop"
      end,
    }
  end, "stop")
  raises(function()
    workers.all {
      function()
        http.get(url .. "/echo", { pacer = pacer })
      end,
      function()
        workers.sleep(0)
        error "stop later"
      end,
    }
  end, "stop later")
  local after = testing.counters()
  equal(after.pending, 0)
  equal(after.pacerCancels - before.pacerCancels, 2)
end)

test("many requests at once", function()
  local list = {}
  for i = 1, 200 do
    list[i] = i
  end
  local results = workers.map(list, { concurrency = 50 }, function(i)
    return http.post(url .. "/echo", { json = { i = i } }):json().body
  end)
  for i = 1, 200 do
    equal(results[i], '{"i":' .. i .. "}")
  end
end)

test("bodies are given back", function()
  http.get(url .. "/bytes/1000000")
  local before = testing.collect()
  for _ = 1, 5 do
    equal(#http.get(url .. "/bytes/1000000").body, 1000000)
    error_of(http.get, url .. "/bytes/1000000", { maxBody = 10 })
  end
  truthy(testing.collect() - before < 20000, "memory grew")
end)

test("a body that does not fit into the memory is an error, and is given back", function()
  local hog = {}
  for i = 1, 23 do
    hog[i] = ("x"):rep(10 << 20)
  end
  raises(function()
    http.get(url .. "/bytes/30000000")
  end, "not enough memory")
  hog = nil
  testing.collect()
  equal(#http.get(url .. "/bytes/30000000").body, 30000000)
end)

test("misuse names the option", function()
  local circle = {}
  circle.self = circle
  for _, case in ipairs {
    { { timeuot = 1 }, 'http.get: unknown option "timeuot"; did you mean "timeout"?' },
    { { timeout = "5" }, 'http.get: option "timeout" must be a number (seconds), got string' },
    { { timeout = 0 }, 'http.get: option "timeout" must be more than 0 and at most 86400 seconds' },
    { { timeout = 0 / 0 }, 'http.get: option "timeout" must be more than 0' },
    { { timeout = 1e300 }, 'http.get: option "timeout" must be more than 0' },
    { { connectTimeout = -1 }, 'http.get: option "connectTimeout" must be more than 0' },
    { { maxBody = "lots" }, 'http.get: option "maxBody": ' },
    { { maxBody = -1 }, 'http.get: option "maxBody" must be a whole number of bytes or a text such as "64MiB", got a negative' },
    { { maxBody = 1.5 }, 'http.get: option "maxBody" must be a whole number' },
    { { maxBody = {} }, 'http.get: option "maxBody" must be a whole number' },
    { { maxBody = "5GiB" }, 'http.get: option "maxBody" is greater than 4 GiB' },
    { { redirects = 51 }, 'http.get: option "redirects" must be a whole number from 0 to 50, or "error"' },
    { { redirects = "follow" }, 'http.get: option "redirects" must be' },
    { { redirects = -1 }, 'http.get: option "redirects" must be' },
    { { redirects = true }, 'http.get: option "redirects" must be' },
    { { json = {}, form = {} }, 'http.get: options "json" and "form" exclude each other' },
    { { json = false, body = "" }, 'http.get: options "json" and "body" exclude each other' },
    { { form = {}, body = "" }, 'http.get: options "form" and "body" exclude each other' },
    { { json = circle }, 'http.get: option "json": ' },
    { { json = { a = { print } } }, 'http.get: option "json": ' },
    { { body = {} }, 'http.get: option "body" must be a string (use json or form to send a table), got table' },
    { { query = { "a" } }, "http.get: query must be name = value, or a list of { name = , value = }; entry 1 is a string" },
    { { headers = { "a" } }, "http.get: headers must have names as keys, got a number key" },
    { { query = { a = {} , b = print } }, 'http.get: query "b" must be a string, a number, true, false, or a list of them, got function' },
    { { query = { a = { {} } } }, 'http.get: query "a" must be a string' },
    { { query = { a = workers.null } }, 'http.get: query "a" must be a string, a number, true, false, or a list of them, got null' },
    { { query = { a = 0 / 0 } }, 'http.get: query "a" is not a finite number' },
    { { query = "a=1" }, 'http.get: option "query" must be a table (name = value), got string' },
    { { headers = { a = {}, b = print } }, 'http.get: headers "b" must be a string' },
    { { headers = { ["X-Key"] = "secret\r\nX: y" } }, "X-Key" },
    { { headers = { Upgrade = "h2c" } }, 'http.get: header "Upgrade" cannot be set' },
    { { auth = {} }, 'http.get: option "auth" must be either { user = , password = } or { bearer = }' },
    { { auth = { user = "a", bearer = "b" } }, 'http.get: option "auth" must be either' },
    { { auth = { password = "secret" } }, 'http.get: option "auth" has a password but no user' },
    { { auth = { bearer = "" } }, 'http.get: option "auth": option "bearer" must be a non-empty string' },
    { { auth = { token = "secret" } }, 'http.get: option "auth": unknown option "token"' },
    { { auth = { user = "a:b", password = "secret" } }, "http.get: the user name has a colon" },
    { { auth = { bearer = "x" }, headers = { Authorization = "y" } }, "http.get: the request has more than one of" },
    { "x", "http.get: expected a table of options, got string" },
    { { 1 }, "http.get: expected named options (name = value), got an entry with a number key" },
  } do
    local err = raises(function()
      http.get(url .. "/echo", case[1])
    end, case[2])
    local message = type(err) == "table" and err.message or err
    truthy(message:find("http_test.lua:%d+: ") == 1, message)
    truthy(not message:find("secret", 1, true), message)
  end
  raises(function()
    http.get()
  end, "http.get: the first argument must be the URL, got nothing")
  raises(function()
    http.post { url = url }
  end, "http.post: the first argument must be the URL, got table")
  raises(function()
    http.request {}
  end, 'http.request: option "url" is missing')
  raises(function()
    http.request { url = url, method = "GET /" }
  end, 'http.request: option "method" must be a word such as GET or POST')
  raises(function()
    http.request { url = url, method = ("X"):rep(100) }
  end, 'http.request: option "method" must be a word such as GET or POST')
  raises(function()
    http.request { url = url, method = "connect" }
  end, "CONNECT")
  raises(function()
    http.get("http://x/" .. ("y"):rep(70000))
  end, "the URL")
  raises(function()
    http.head(url, { body = "x" })
  end, "a HEAD request cannot have a body")
  local headers = {}
  for i = 1, 1001 do
    headers["x" .. i] = "1"
  end
  raises(function()
    http.get(url, { headers = headers })
  end, "http.get: more than 1000 entries in headers")
end)

test("misuse of responses", function()
  local response = http.get(url .. "/status/500")
  raises(function()
    response.json()
  end, "call it with a colon: response:json()")
  raises(function()
    response.raise {}
  end, "call it with a colon: response:raise()")
  -- fields that a script has spoilt
  response.status, response.url, response.body, response.headers, response.method = "x", 5, {}, 7, print
  equal(error_of(response.raise, response).message, "GET the server: 0")
  raises(function()
    response:json()
  end, "the body from the server is not JSON: it is empty")
  response.url = "http://user:secret@x.example/path@2?key=secret"
  equal(error_of(response.raise, response).message, "GET http://x.example/path@2: 0")
  response.status = nil
  equal(error_of(response.raise, response).status, 0)
  truthy(tostring(response))
end)

test("requests cannot be sent while the script is being loaded", function()
  testing.file("x", "")
  raises(function()
    table.sort({ 1, 2 }, function()
      http.get(url)
    end)
  end, "http.get cannot be used here: it waits")
end)

equal(
  select(2, pcall(http.get, url)),
  "http.get cannot be used while the script is being loaded: call it from an execute function"
)

return tap.run
