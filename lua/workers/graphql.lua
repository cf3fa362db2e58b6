-- GraphQL over workers.http: a query in one line, and walking connections page by page. Must raise whatever the service
-- calls an error, so that data with holes never passes for all of it.

local http = require "workers.http"
local json = require "workers.json"
local options = require "workers.options"
local shared = require "workers.paginate.shared"
local suggest = require "workers.suggest"
local time = require "workers.time"
local workers = require "workers"

local show = suggest.show

---@class workers.graphql.Error
---@field name "GraphqlError"
---@field code string "graphql", or "answer" when the answer is not one of GraphQL
---@field message string all messages with their paths
---@field errors table[] as the service gave them
---@field data any what the service could give all the same; null or nil if nothing
---@field status integer
---@field response workers.http.Response

---@class workers.graphql.Connection
---@field nodes? any[]
---@field edges? {node: any}[]
---@field pageInfo? {hasNextPage: boolean, endCursor: string?}

---@class workers.graphql
local graphql = {}

local SHOWN_ERRORS = 10
local SHOWN_BYTES = 300 -- of each message

local QUERY_OPTIONS = {
  { "operationName", "string" },
  { "headers", "table" },
  { "auth", "table" },
  { "pacer", "table" },
  { "timeout", "number", help = "seconds" },
  { "connectTimeout", "number", help = "seconds" },
  { "maxBody", "any" },
  { "retry", "any" },
}

-- What services call an error that says: later. GitHub has it as type, others as code in extensions.
local RATE_LIMITED = {
  RATE_LIMITED = true,
  RATELIMITED = true,
  RATE_LIMIT_EXCEEDED = true,
  THROTTLED = true,
  TOO_MANY_REQUESTS = true,
}

-- ---- errors ----

local error_metatable = {
  __name = "workers.graphql.error",
  __tostring = function(err)
    return err.message
  end,
}

local function cut(text)
  if #text <= SHOWN_BYTES then
    return text
  end
  local stop = SHOWN_BYTES
  while stop > 0 and text:byte(stop + 1) & 0xC0 == 0x80 do -- not inside of a character
    stop = stop - 1
  end
  return text:sub(1, stop) .. "…"
end

-- { "issues", 3, "title" } as issues[3].title
local function path_text(path)
  local parts = {}
  for i, part in ipairs(path) do
    parts[i] = math.type(part) == "integer" and ("[%d]"):format(part) or (i > 1 and "." or "") .. tostring(part)
  end
  return table.concat(parts)
end

local function describe(errors)
  local lines = {}
  for i = 1, math.min(#errors, SHOWN_ERRORS) do
    local item = errors[i]
    local message = type(item) == "table" and type(item.message) == "string" and item.message or "an error without message"
    local path = type(item) == "table" and type(item.path) == "table" and #item.path > 0 and item.path
    lines[i] = cut(message) .. (path and (" (at %s)"):format(cut(path_text(path))) or "")
  end
  if #errors > SHOWN_ERRORS then
    lines[#lines + 1] = ("and %d more"):format(#errors - SHOWN_ERRORS)
  end
  return table.concat(lines, "; ")
end

local function new_error(code, response, text, body)
  return setmetatable({
    name = "GraphqlError",
    code = code,
    message = ("%s: %s"):format(tostring(response), text),
    errors = body and body.errors or json.array {},
    data = body and body.data,
    status = response.status,
    response = response,
  }, error_metatable)
end

local function is_rate_limited(errors)
  for _, item in ipairs(errors) do
    local extensions = type(item) == "table" and item.extensions
    local code = type(extensions) == "table" and extensions.code
    if type(item) == "table" and (RATE_LIMITED[item.type] or (type(code) == "string" and RATE_LIMITED[code:upper()])) then
      return true
    end
  end
  return false
end

-- The table at the end of a path of fields, or an empty one.
local function dig(value, ...)
  for _, name in ipairs { ... } do
    value = type(value) == "table" and value[name]
  end
  return type(value) == "table" and value or {}
end

-- Seconds until the service takes the query, as far as it says: Retry-After, GitHub's X-RateLimit-Reset, or the cost that
-- Shopify states and how fast its bucket fills. A message when it never will.
local function read_wait(response, body)
  local headers = response.headers
  local after, reset = tonumber(headers["retry-after"]), tonumber(headers["x-ratelimit-reset"])
  if after and after >= 0 then
    return after
  elseif reset and headers["x-ratelimit-remaining"] == "0" then
    return math.max(0, reset - time.nowMs() // 1000)
  end
  local cost = dig(body, "extensions", "cost")
  local bucket = dig(cost, "throttleStatus")
  local wanted, left, rate = cost.requestedQueryCost, bucket.currentlyAvailable, bucket.restoreRate
  if type(wanted) ~= "number" or type(left) ~= "number" or type(rate) ~= "number" or rate <= 0 then
    return nil
  elseif type(bucket.maximumAvailable) == "number" and wanted > bucket.maximumAvailable then
    return nil, ("the query costs %s, but the service allows %s at most: ask for less"):format(wanted, bucket.maximumAvailable)
  end
  return math.max(0, (wanted - left) / rate)
end

-- The error that an answer with errors stands for.
local function error_of(response, body)
  if not is_rate_limited(body.errors) then
    return new_error("graphql", response, describe(body.errors), body)
  end
  local wait, never = read_wait(response, body)
  if never then
    return new_error("graphql", response, never, body)
  end
  local err = workers.RateLimitError {
    retryAfter = wait,
    message = ("%s: %s"):format(tostring(response), describe(body.errors)),
  }
  err.status, err.response = response.status, response
  return err
end

-- ---- queries ----

-- The body of the request, as text.
local function write_request(query, variables, operation)
  local ok, text = pcall(json.encode, { query = query, variables = variables, operationName = operation })
  if not ok then
    return nil, text
  end
  return text
end

---Sends a query or mutation and returns the answer's data. Raises a workers.graphql.Error when the service names errors,
---also beside data; a RateLimitError when it is for the rate; what http raises otherwise.
---@param url string
---@param query string
---@param variables? table<string, any>
---@param given? {operationName?: string, headers?: table, auth?: table, pacer?: table, timeout?: number, connectTimeout?: number, maxBody?: integer|string, retry?: any}
---@return table data
function graphql.query(url, query, variables, given)
  if type(url) ~= "string" then
    error(("graphql.query: argument 1 (url): expected a string, got %s"):format(show(url)), 2)
  elseif type(query) ~= "string" or not query:find "%S" then
    error(("graphql.query: argument 2 (query): expected the text of a query, got %s"):format(show(query)), 2)
  elseif variables ~= nil and (type(variables) ~= "table" or rawlen(variables) > 0) then
    local got = type(variables) == "table" and "a list" or show(variables)
    error(("graphql.query: argument 3 (variables): expected a table of names and values, got %s"):format(got), 2)
  end
  given = given or {}
  options.check("graphql.query", given, QUERY_OPTIONS)
  local text, message = write_request(query, variables, given.operationName)
  if not text then
    error("graphql.query: argument 3 (variables): " .. message, 2)
  end
  local request = { body = text, headers = {} }
  for name, value in next, given do
    request[name] = value
  end
  request.operationName = nil
  request.headers = { ["Content-Type"] = "application/json", Accept = "application/graphql-response+json, application/json" }
  for name, value in next, given.headers or {} do
    request.headers[name] = value
  end

  local sent, response = pcall(http.post, url, request)
  if not sent then
    error(response, type(response) == "string" and 2 or 0)
  end
  local ok, body = pcall(response.json, response)
  local is_answer = ok and type(body) == "table" and type(body.errors) == "table" and #body.errors > 0
  if not response.ok then
    local _, err = pcall(response.raise, response)
    if is_answer and err.name ~= "RateLimitError" then
      err = error_of(response, body)
    end
    error(err, 0)
  elseif is_answer then
    error(error_of(response, body), 0)
  elseif not ok or type(body) ~= "table" or type(body.data) ~= "table" then
    error(new_error("answer", response, "the answer has neither data nor errors; is this the address of a GraphQL API?"), 0)
  end
  return body.data
end

-- ---- connections ----

-- The nodes of a connection without those that are null, and the cursor to go on from, nil at its end.
local function read_connection(what, connection)
  local list = type(connection) == "table" and (connection.nodes or connection.edges)
  if type(list) ~= "table" then
    shared.fail(2, what, "expected a connection, a table with nodes or edges, got %s", show(connection))
  end
  local nodes, info = json.array {}, type(connection.pageInfo) == "table" and connection.pageInfo or {}
  for _, item in ipairs(list) do
    local node = item
    if list == connection.edges and type(item) == "table" then
      node = item.node
    end
    if node ~= nil and node ~= json.null then
      nodes[#nodes + 1] = node
    end
  end
  if info.hasNextPage ~= true then
    return nodes
  elseif type(info.endCursor) ~= "string" or info.endCursor == "" then
    shared.fail(2, what, "the connection has a next page, but no endCursor; ask for pageInfo { hasNextPage endCursor }")
  end
  return nodes, info.endCursor
end

---The nodes of a connection, from its nodes or its edges; those that are null are left out.
---@param connection workers.graphql.Connection
---@return any[]
function graphql.nodes(connection)
  local nodes = read_connection("graphql.nodes", connection)
  return nodes
end

---The cursor of a connection's next page; nil at its end.
---@param connection workers.graphql.Connection
---@return string?
function graphql.next(connection)
  local _, cursor = read_connection("graphql.next", connection)
  return cursor
end

local WALK = { shared.FETCH, shared.CHANGE, shared.PAGES, { "inner", "table" } }
local INNER = { { "of", "key", required = true, help = "of the connection in a node" }, shared.KEY, shared.FETCH, shared.CHANGE }

---One page of a connection, whose nodes may have connections of their own, as a page of a sync. State: outer, where the
---outer connection goes on (cursor, mark, pages); waiting, the inner connections of the page that have more pages, with
---the id of their node.
---
---fetch(cursor), with nil at first, returns the outer connection. inner says where a node has its inner connection (of),
---how to get more of it (fetch(id, cursor)) and what becomes of its items (change(item, id)); the id is the node's field
---key ("id" unless given). A call does one request: inner connections are read to their end before the next outer page.
---@param state table?
---@param given {fetch: (fun(cursor: string?): workers.graphql.Connection), change: (fun(node: any): table?), maxPages?: integer, inner?: {of: string|(fun(node: any): any), key?: string|(fun(node: any): any), fetch: (fun(id: string|number, cursor: string): workers.graphql.Connection), change: (fun(item: any, id: string|number): table?)}}
---@return workers.paginate.Result
function graphql.walk(state, given)
  local what = "graphql.walk"
  options.check(what, given, WALK)
  local inner = given.inner
  if inner then
    options.check(what .. ": inner", inner, INNER)
  end
  state = shared.read_state(what, state, inner and { "outer", "waiting" } or { "outer" })
  local waiting = table.move(state.waiting or {}, 2, #(state.waiting or {}), 1, json.array {})
  local first = state.waiting and state.waiting[1]
  local here = first or state.outer or {}
  local pages = shared.count_page(what, here, given)

  local connection
  if first then
    connection = inner.fetch(first.id, here.cursor)
  else
    connection = given.fetch(here.cursor)
  end
  local nodes, cursor = read_connection(what, connection)
  local following
  if cursor then
    following = { cursor = cursor, pages = pages }
    following.mark = shared.check_cursor(what, "cursor", here, cursor, pages, here.cursor)
  end

  local changes, outer = json.array {}, state.outer
  local function add_inner(items, id)
    shared.add_changes(what, changes, items, function(item)
      return inner.change(item, id)
    end)
  end
  if first then
    add_inner(nodes, first.id)
    if following then
      following.id = first.id
      table.insert(waiting, 1, following)
    end
  else
    outer = following
    shared.add_changes(what, changes, nodes, given.change)
    for index, node in ipairs(inner and nodes or {}) do
      local found = shared.read(node, inner.of)
      if found ~= nil then
        local items, more = read_connection(what, found)
        local id = shared.read_key(what, inner, node, index)
        add_inner(items, id)
        waiting[#waiting + 1] = more and { id = id, cursor = more } or nil
      end
    end
  end
  if #waiting == 0 and not outer then
    return shared.result(changes, false)
  end
  return shared.result(changes, true, { outer = outer, waiting = #waiting > 0 and waiting or nil })
end

return suggest.strict("graphql", graphql)
