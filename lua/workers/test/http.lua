-- Stubs: what answers requests in a test. Nothing else does, but a recording; no request leaves.

local failure = require "workers.test.failure"
local json = require "workers.json"
local native = require "workers.test.native"
local recording = require "workers.test.recording"
local suggest = require "workers.suggest"
local url = require "workers.url"

local RESPONSE_KEYS = { "status", "headers", "body", "json", "delay", "error" }
local OPTION_KEYS = { "optional" }
local ERRORS = { "timeout", "reset", "connect", "dns", "tls", "protocol", "too_large" }

local stubs = {} -- of the test that runs, in the order of their declaration
local requests = {}
local problems = {}

local http = {}

-- ---- matching ----

-- The URL in its normal form, its parameters in the order of their text.
local function normal(text)
  local ok, parts = pcall(url.parse, text)
  local href = ok and parts.href or text
  local front, query = href:match "^([^?#]*)%?([^#]*)"
  if not query then
    return (href:gsub("#.*$", ""))
  end
  local parameters = {}
  for parameter in query:gmatch "[^&]+" do
    parameters[#parameters + 1] = parameter
  end
  table.sort(parameters)
  return front .. "?" .. table.concat(parameters, "&")
end

local function url_matcher(text)
  if not text:find("*", 1, true) then
    local wanted = normal(text)
    return function(sent)
      return normal(sent) == wanted
    end
  end
  local pattern = "^" .. text:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*") .. "$"
  return function(sent)
    return sent:find(pattern) ~= nil
  end
end

-- ---- responses ----

local function check_response(response, what)
  if type(response) ~= "table" then
    failure.raise(("%s: a response must be a table, got %s"):format(what, suggest.show(response)))
  end
  local key = suggest.unknown_key(response, RESPONSE_KEYS)
  if key ~= nil then
    failure.raise(("%s: a response has no %s; %s"):format(what, suggest.show(key), suggest.remedy(key, RESPONSE_KEYS)))
  end
  local status = response.status
  if status ~= nil and (math.type(status) ~= "integer" or status < 200 or status > 599) then
    failure.raise(("%s: status must be a whole number from 200 to 599, got %s"):format(what, suggest.show(status)))
  end
  if response.body ~= nil and (type(response.body) ~= "string" or response.json ~= nil) then
    failure.raise(("%s: body must be a string, and without json beside it"):format(what))
  end
  if response.headers ~= nil and type(response.headers) ~= "table" then
    failure.raise(("%s: headers must be a table"):format(what))
  end
  if response.delay ~= nil and (type(response.delay) ~= "number" or response.delay ~= response.delay or response.delay < 0) then
    failure.raise(("%s: delay must be seconds, got %s"):format(what, suggest.show(response.delay)))
  end
  if response.error ~= nil then
    for _, code in ipairs(ERRORS) do
      if response.error == code then
        return
      end
    end
    failure.raise(
      ("%s: there is no error %s; %s"):format(what, suggest.show(response.error), suggest.remedy(response.error, ERRORS))
    )
  end
end

-- As C wants it: error, message, status, milliseconds of delay, body, then names and values of headers.
local function flatten(response)
  local delay = (response.delay or 0) * 1000
  if response.error then
    return response.error, "the stub answers with the error " .. response.error, nil, delay
  end
  local flat, typed = {}, false
  for name, value in next, response.headers or {} do
    typed = typed or tostring(name):lower() == "content-type"
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      flat[#flat + 1] = tostring(name)
      flat[#flat + 1] = tostring(one)
    end
  end
  local body = response.body or ""
  if response.json ~= nil then
    body = json.encode(response.json)
    if not typed then
      flat[#flat + 1] = "content-type"
      flat[#flat + 1] = "application/json"
    end
  end
  return nil, nil, response.status or 200, delay, body, table.unpack(flat)
end

-- ---- declaring ----

local function is_list(response)
  return type(response) == "table" and #response > 0
end

---Answers requests of a method ("*" for any) to a URL, in which * stands for any text.
---@param method string
---@param address string
---@param response table|fun(request: table): table one for any number of requests; a list: one each; or what gives it
---@param options? { optional?: boolean } optional: the test does not fail when nobody asks
function http.on(method, address, response, options)
  if type(method) ~= "string" or type(address) ~= "string" then
    failure.raise 'test.http.on takes a method, a URL and a response, as in test.http.on("GET", "https://…", { json = … })'
  end
  local what = ("test.http.on %s %s"):format(method, address)
  if options ~= nil then
    local key = type(options) == "table" and suggest.unknown_key(options, OPTION_KEYS)
    if type(options) ~= "table" or key then
      failure.raise(("%s: the only option is optional, got %s"):format(what, suggest.show(key or options)))
    end
  end
  if is_list(response) then
    for _, one in ipairs(response) do
      if type(one) ~= "function" then
        check_response(one, what)
      end
    end
  elseif type(response) ~= "function" then
    check_response(response, what)
  end
  stubs[#stubs + 1] = {
    method = method:upper(),
    address = address,
    matches = url_matcher(address),
    responses = is_list(response) and response or nil,
    response = response,
    optional = options and options.optional or false,
    used = 0,
    at = native.where(),
    what = what,
  }
end

-- ---- answering ----

local function describe(stub)
  local text = stub.method .. " " .. stub.address
  if stub.responses then
    text = text .. (" (answered %d of %d times)"):format(stub.used, #stub.responses)
  end
  return text
end

local function unmatched(request, why)
  local line = ("no stub answers %s %s"):format(request.method, request.url)
  if why then
    return why
  elseif #stubs == 0 then
    return ('%s: the test has no stubs; declare one with test.http.on("%s", "%s", { json = … })'):format(
      line, request.method, request.url)
  end
  local lines = {}
  for _, stub in ipairs(stubs) do
    lines[#lines + 1] = describe(stub)
  end
  return ("%s; the stubs are:\n%s"):format(line, table.concat(lines, "\n"))
end

local function refuse(request, message)
  problems[#problems + 1] = message
  request.refusal = message:gsub(":\n", ": "):gsub("\n", ", ")
end

-- Chooses what answers: a stub, then a recording.
local function choose(request)
  for _, stub in ipairs(stubs) do
    if (stub.method == "*" or stub.method == request.method) and stub.matches(request.url) then
      if not stub.responses or stub.used < #stub.responses then
        stub.used = stub.used + 1
        request.stub = stub
        request.response = stub.responses and stub.responses[stub.used] or stub.response
        return false
      end
    end
  end
  if request.stream and native.recording then
    refuse(request, ("%s %s is a stream, which cannot be recorded: declare a stub for it"):format(request.method, request.url))
    return false
  end
  if recording.leaves(request) then
    return true
  end
  local recorded, why = recording.find(request)
  if recorded then
    request.response = recording.response(recorded)
  else
    refuse(request, unmatched(request, why))
  end
  return false
end

-- A request as tests see it.
local function view(request)
  local shown = {
    method = request.method,
    url = request.url,
    headers = request.headers,
    body = request.body,
    time = request.time,
    query = url.queryMap(request.url:match "%?([^#]*)" or ""),
  }
  if request.body:find "^%s*[%[{]" then
    local ok, value = pcall(json.decode, request.body)
    shown.json = ok and value or nil
  end
  return shown
end

---From C, for each request: whether it leaves. Must not wait.
function http.leaves(request)
  requests[#requests + 1] = view(request)
  return choose(request)
end

---From C, in a task of its own: what answers the request.
function http.answer(request)
  if request.refusal then
    return "denied", request.refusal
  end
  local response = request.response
  if type(response) == "function" then
    local ok, given = pcall(response, view(request))
    if ok then
      ok, given = pcall(function(one)
        check_response(one, request.stub.what)
        return one
      end, given)
    end
    if not ok then
      local told = failure.describe(given)
      problems[#problems + 1] = ("the function of %s failed: %s%s"):format(
        describe(request.stub), told.at and told.at .. ": " or "", told.message)
      return "internal", problems[#problems]
    end
    response = given
  end
  return flatten(response)
end

---What was sent in this test.
---@return { method: string, url: string, headers: table, body: string, json?: any, query: table, time: integer }[]
function http.requests()
  return table.move(requests, 1, #requests, 1, {})
end

function http.reset()
  stubs, requests, problems = {}, {}, {}
end

---Requests that nobody answered.
---@return string[]
function http.problems()
  return problems
end

---Stubs that were not asked as often as they should, each with the place of its declaration.
---@return string[]
---@return string?
function http.unused()
  local found, at = {}, nil
  for _, stub in ipairs(stubs) do
    if not stub.optional and stub.used < (stub.responses and #stub.responses or 1) then
      found[#found + 1] = ("the stub %s was not used%s"):format(describe(stub), stub.responses and " to its end" or "")
      at = at or stub.at
    end
  end
  return found, at
end

return http
