local json = require "workers.json"
local tables = require "workers.table"
local tap = require "tap"
local testing = require "testing"
local time = require "workers.time"
local workers = require "workers"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy

local graphql = require "workers.graphql"

local url = testing.url .. "/graphql"
local worker = workers.new()
local pacer = worker:pacer("api", { allowedRequests = 10, intervalMs = 1000 })

-- The error of an answer that the server is told to give.
local function answered(answer, status, headers)
  local ok, err = pcall(graphql.query, url, "{ x }", { answer = answer, status = status, headers = headers })
  equal(ok, false)
  return err
end

local function misuse(text, fn, ...)
  local arguments = table.pack(...)
  local err = raises(function()
    local _ = fn(table.unpack(arguments, 1, arguments.n))
  end, text)
  truthy(tostring(err):find("^[%w_/%.%-]*graphql_test%.lua:%d+: "), err)
end

test("a query in one line", function()
  local data = graphql.query(url .. "?token=secret", "query Request { x }")
  equal(data.method, "POST")
  equal(data.sent, { query = "query Request { x }" })
  local headers = {}
  for _, pair in ipairs(data.headers) do
    headers[pair[1]:lower()] = pair[2]
  end
  equal(headers["content-type"], "application/json")
  equal(headers.accept, "application/graphql-response+json, application/json")
end)

test("variables and options", function()
  local before = testing.counters().pacerWaits
  local data = graphql.query(url, "query Q($n: Int) { x }", { n = 9007199254740993, none = workers.null, list = { 1 } }, {
    operationName = "Q",
    headers = { ["X-One"] = "1", Accept = "application/json" },
    auth = { bearer = "t0ken" },
    pacer = pacer,
    timeout = 30,
  })
  equal(data.sent, {
    query = "query Q($n: Int) { x }",
    variables = { n = 9007199254740993, none = workers.null, list = { 1 } },
    operationName = "Q",
  })
  local headers = {}
  for _, pair in ipairs(data.headers) do
    headers[pair[1]:lower()] = pair[2]
  end
  equal({ headers["x-one"], headers.accept, headers.authorization }, { "1", "application/json", "Bearer t0ken" })
  equal(testing.counters().pacerWaits, before + 1)
  equal(graphql.query(url, "{ x }", {}).sent.variables, {})
end)

test("errors raise with all messages, paths and what data there is", function()
  local err = answered {
    data = { issues = workers.null, name = "x" },
    errors = {
      { message = "No such field", path = { "issues", 3, "title" } },
      { message = "Forbidden", extensions = { code = "FORBIDDEN" } },
      { path = {} },
      "strange",
    },
  }
  equal({ err.name, err.code, err.status }, { "GraphqlError", "graphql", 200 })
  equal(
    err.message,
    "POST " .. url .. ": 200: No such field (at issues[3].title); Forbidden; an error without message; an error without message"
  )
  equal(tostring(err), err.message)
  equal(err.data, { issues = workers.null, name = "x" })
  equal(err.errors[2].extensions.code, "FORBIDDEN")
  equal(err.response.status, 200)
  equal(answered({ errors = { { message = "x" } }, data = json.null }).data, json.null)
end)

test("errors come with other statuses too", function()
  local err = answered({ errors = { { message = "Syntax" } } }, 400)
  equal({ err.name, err.status, err.message }, { "GraphqlError", 400, "POST " .. url .. ": 400: Syntax" })
  err = answered("gateway broken", 502)
  equal({ err.name, err.code, err.status }, { "HttpError", "http_status", 502 })
  err = answered({ errors = json.array {} }, 404)
  equal({ err.name, err.status }, { "HttpError", 404 })
end)

test("messages are cut at whole characters, and counted", function()
  local errors = {}
  for i = 1, 25 do
    errors[i] = { message = i == 1 and "x" .. ("ä"):rep(100000) or "e" .. i, path = { ("p"):rep(1000) } }
  end
  local message = answered({ errors = errors }).message
  truthy(utf8.len(message), "valid UTF-8")
  truthy(message:find("x" .. ("ä"):rep(149) .. "…", 1, true), message)
  truthy(message:find("; and 15 more", 1, true), message)
  truthy(#message < 10000)
end)

test("an answer that is not GraphQL's", function()
  for _, answer in ipairs { "<html>", "", "[]", "null", "5", "{}", '{"data":null}', '{"data":5}', '{"errors":[]}', '{"errors":5}' } do
    local err = answered(answer)
    equal({ err.name, err.code }, { "GraphqlError", "answer" }, answer)
    equal(err.message, "POST " .. url .. ": 200: the answer has neither data nor errors; is this the address of a GraphQL API?")
  end
end)

local function limited(answer, status, headers)
  local err = answered(answer, status, headers)
  equal(err.name, "RateLimitError")
  truthy(tostring(err):find("POST " .. url, 1, true), tostring(err))
  return err.retryAfter
end

test("rate limits become RateLimitError", function()
  equal(limited("slow down", 429, { ["Retry-After"] = "7" }), 7.0)
  equal(limited({ errors = { { message = "slow" } } }, 429, { ["Retry-After"] = "7" }), 7.0)
  local github = { data = json.null, errors = { { type = "RATE_LIMITED", message = "API rate limit exceeded" } } }
  equal(limited(github), nil)
  equal(limited(github, 200, { ["Retry-After"] = "60" }), 60.0)
  local reset = time.nowMs() // 1000 + 100
  local wait = limited(github, 200, { ["X-RateLimit-Remaining"] = "0", ["X-RateLimit-Reset"] = tostring(reset) })
  truthy(wait > 90 and wait <= 100, wait)
  equal(limited(github, 200, { ["X-RateLimit-Remaining"] = "0", ["X-RateLimit-Reset"] = "5" }), 0.0)
  equal(limited(github, 200, { ["X-RateLimit-Remaining"] = "9", ["X-RateLimit-Reset"] = tostring(reset) }), nil)
  equal(limited { errors = { { message = "x" }, { message = "y", extensions = { code = "Rate_Limited" } } } }, nil)
  equal(limited({ errors = { { extensions = { code = "RATELIMITED" } } } }, 400), nil)
end)

test("a cost that is stated says how long to wait", function()
  local function throttled(bucket, wanted)
    return {
      errors = { { message = "Throttled", extensions = { code = "THROTTLED" } } },
      extensions = { cost = { requestedQueryCost = wanted or 150, throttleStatus = bucket } },
    }
  end
  equal(limited(throttled { maximumAvailable = 1000, currentlyAvailable = 100, restoreRate = 50 }), 1.0)
  equal(limited(throttled { currentlyAvailable = 200, restoreRate = 50 }), 0.0)
  equal(limited(throttled { currentlyAvailable = 200 }), nil)
  equal(limited(throttled { currentlyAvailable = 0, restoreRate = 0 }), nil)
  equal(limited(throttled("x", 5)), nil)
  local err = answered(throttled({ maximumAvailable = 1000, currentlyAvailable = 1000, restoreRate = 50 }, 1500))
  equal(err.name, "GraphqlError")
  truthy(err.message:find("the query costs 1500, but the service allows 1000 at most: ask for less", 1, true), err.message)
end)

test("transport failures are those of http", function()
  local ok, err = pcall(graphql.query, "http://127.0.0.1:" .. testing.closedPort() .. "/graphql", "{ x }")
  equal(ok, false)
  equal({ err.name, err.code }, { "HttpError", "connect" })
  truthy(not err.message:find("workers.graphql", 1, true), err.message)
end)

test("misuse", function()
  local query = graphql.query
  misuse("graphql.query: argument 1 (url): expected a string, got nothing", query)
  misuse("graphql.query: argument 2 (query): expected the text of a query, got nothing", query, url)
  misuse("graphql.query: argument 2 (query): expected the text of a query, got \"  \"", query, url, "  ")
  misuse("argument 3 (variables): expected a table of names and values, got a list", query, url, "{ x }", { 1 })
  misuse('argument 3 (variables): expected a table of names and values, got "x"', query, url, "{ x }", "x")
  misuse("graphql.query: argument 3 (variables): cannot encode: at .variables.f: ", query, url, "{ x }", { f = print })
  misuse('graphql.query: unknown option "operatonName"; did you mean "operationName"?', query, url, "{ x }", nil, { operatonName = "Q" })
  misuse("http.post: ", query, url, "{ x }", nil, { headers = { ["bad name"] = "x" } })
  misuse("http.post: ", query, url, "{ x }", nil, { pacer = {} })
  misuse('graphql.query: option "headers" must be a table, got 5', query, url, "{ x }", nil, { headers = 5 })
  raises(function()
    graphql.mutation()
  end, "graphql has no function")
end)

test("nodes and next", function()
  local page = { nodes = { { id = 1 }, json.null, { id = 2 } }, pageInfo = { hasNextPage = true, endCursor = "c" } }
  equal(graphql.nodes(page), { { id = 1 }, { id = 2 } })
  equal(graphql.next(page), "c")
  page = { edges = { { node = { id = 1 } }, json.null, { node = json.null } }, pageInfo = { hasNextPage = false, endCursor = "c" } }
  equal(graphql.nodes(page), { { id = 1 } })
  equal(graphql.next(page), nil)
  equal(graphql.next { nodes = {} }, nil)
  misuse("graphql.nodes: expected a connection, a table with nodes or edges, got null", graphql.nodes, json.null)
  misuse("graphql.next: expected a connection, a table with nodes or edges, got a table", graphql.next, { { id = 1 } })
  for _, cursor in ipairs { json.null, "", 5 } do
    misuse("the connection has a next page, but no endCursor; ask for pageInfo { hasNextPage endCursor }", graphql.next, {
      nodes = {},
      pageInfo = { hasNextPage = true, endCursor = cursor },
    })
  end
end)

-- Walks the issues and comments of the test server, the state through JSON each time; broken says before which requests
-- a run ends and is taken up again.
local function walk(broken)
  local requests, seen, largest = 0, {}, 0
  local function execute(state)
    return graphql.walk(state, {
      fetch = function(cursor)
        requests = requests + 1
        return graphql.query(url, "query Issues($after: String) { x }", { after = cursor }, { operationName = "Issues" }).issues
      end,
      change = function(issue)
        return { type = "upsert", key = issue.id, properties = {} }
      end,
      inner = {
        of = "comments",
        fetch = function(id, cursor)
          requests = requests + 1
          local variables = { id = id, after = cursor }
          return graphql.query(url, "query Comments { x }", variables, { operationName = "Comments" }).node.comments
        end,
        change = function(comment, issue)
          return { type = "upsert", key = comment.id, properties = { Issue = issue } }
        end,
      },
    })
  end
  local state
  while true do
    local before = requests
    local page = execute(state)
    equal(requests, before + 1, "one request a page")
    if not (broken and math.random(3) == 1) then
      for _, change in ipairs(page.changes) do
        seen[change.key] = (seen[change.key] or 0) + 1
        if change.properties.Issue then
          truthy(change.key:find(change.properties.Issue .. "-", 1, true) == 1, change.key)
        end
      end
      if not page.hasMore then
        equal(page.nextState, nil)
        return seen, requests, largest
      end
      local text = json.encode(page.nextState)
      largest = math.max(largest, #text)
      state = json.decode(text)
    end
  end
end

test("walk: every node and every inner node once, one request a page, also when taken up again", function()
  local seen, requests, largest = walk(false)
  local expected = 0
  for i = 1, 11 do
    equal(seen["I" .. i], 1)
    for n = 0, (i * 7) % 6 - 1 do
      equal(seen[("I%d-%d"):format(i, n)], 1)
      expected = expected + 1
    end
  end
  equal(#tables.keys(seen), 11 + expected)
  truthy(requests > 6, "inner pages: " .. requests)
  truthy(largest < 150, "state: " .. largest)
  math.randomseed(3)
  for _ = 1, 5 do
    equal((walk(true)), seen)
  end
end)

test("walk: without inner connections", function()
  local function execute(state)
    return graphql.walk(state, {
      fetch = function(cursor)
        local n = tonumber(cursor or "0")
        return { nodes = { { id = n } }, pageInfo = { hasNextPage = n < 3, endCursor = tostring(n + 1) } }
      end,
      change = function(node)
        return { type = "delete", key = node.id }
      end,
    })
  end
  local page, keys = nil, {}
  repeat
    page = execute(page and page.nextState)
    keys[#keys + 1] = page.changes[1].key
  until not page.hasMore
  equal(keys, { 0, 1, 2, 3 })
  equal(execute(nil).nextState, { outer = { cursor = "1", mark = "1", pages = 1 } })
end)

test("walk: mistakes", function()
  local function change()
    return nil
  end
  local function call(connection, state, inner, more)
    return graphql.walk(
      state,
      tables.merge({
        fetch = function()
          return connection
        end,
        change = change,
        inner = inner,
      }, more)
    )
  end
  local function fetch()
    return { nodes = {}, pageInfo = { hasNextPage = true, endCursor = "c" } }
  end
  local endless = fetch()
  local inner = { of = "comments", fetch = fetch, change = change }
  misuse("graphql.walk: expected a table of options, got nothing", graphql.walk, nil)
  misuse('graphql.walk: option "fetch" is missing', graphql.walk, nil, {})
  misuse('graphql.walk: inner: option "of" is missing: of the connection in a node', call, endless, nil, { fetch = fetch })
  misuse('graphql.walk: unknown option "outer"', call, endless, nil, nil, { outer = 1 })
  misuse("graphql.walk: expected a connection, a table with nodes or edges, got null", call, json.null)
  misuse('the service returned the cursor "c" again', call, endless, { outer = { cursor = "c" } })
  misuse('the service returned the cursor "c" again', call, endless, { waiting = { { id = 1, cursor = "c" } } }, inner)
  misuse("graphql.walk: 3 pages, and still no end", call, endless, { outer = { cursor = "a", pages = 3 } }, nil, { maxPages = 3 })
  misuse('the state has the field "waiting"', call, endless, { waiting = {} })
  misuse('item 1 has nothing as key (the field "id")', call, { nodes = { { comments = endless } } }, nil, inner)
  equal(call({ nodes = { { id = 1, comments = json.null }, { id = 2 } } }, nil, inner).hasMore, false)
end)

return tap.run
