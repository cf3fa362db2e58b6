-- Recordings: exchanges with a real service, kept in a file of the project and replayed. Must not let a secret into
-- the file.

local crypto = require "workers.crypto"
local failure = require "workers.test.failure"
local json = require "workers.json"
local native = require "workers.test.native"
local workers = require "workers"

local HIDDEN = "[redacted]"
local SHORTEST_SECRET = 6
local SHOWN = 8 -- exchanges in a message

-- Headers of an answer that say nothing to a script, or change from one recording to the next.
local LEFT_OUT = {}
for _, name in ipairs {
  "age", "alt-svc", "authorization", "cf-ray", "connection", "content-encoding", "content-length", "cookie", "date",
  "keep-alive", "proxy-authenticate", "proxy-authorization", "server", "set-cookie", "set-cookie2",
  "strict-transport-security", "transfer-encoding", "via", "www-authenticate", "x-request-id",
} do
  LEFT_OUT[name] = true
end

-- Headers of a request whose values may come back in an answer.
local CREDENTIALS = { "authorization", "cookie", "proxy-authorization", "x-api-key" }

local recording = {}

local current -- of the test that runs: { path =, exchanges =, at =, secrets = }

-- ---- cleaning ----

local function replace_plain(text, secret)
  local parts, from = {}, 1
  while true do
    local first, last = text:find(secret, from, true)
    if not first then
      parts[#parts + 1] = text:sub(from)
      return table.concat(parts)
    end
    parts[#parts + 1] = text:sub(from, first - 1) .. HIDDEN
    from = last + 1
  end
end

local function hide(text)
  text = native.redact(text)
  for _, secret in ipairs(current.secrets) do
    text = replace_plain(text, secret)
  end
  return text
end

local function decode_percent(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

local clean_value

local function unescape(text)
  return (text:gsub("\\u(%x%x%x%x)", function(digits)
    return utf8.char(tonumber(digits, 16))
  end):gsub("\\(.)", "%1"))
end

-- What is hidden when the text is JSON itself, or holds a secret as JSON writes it.
local function clean_escaped(text)
  if not text:find("\\", 1, true) then
    return text
  end
  local ok, value = pcall(json.decode, text)
  if ok and type(value) == "table" then
    local before = json.encode(value, { sortKeys = true })
    local after = json.encode(clean_value(value), { sortKeys = true })
    return before == after and text or after
  end
  local plain = unescape(text)
  return hide(plain) == plain and text or HIDDEN
end

-- Also what is written with percent signs, as in a query or a form.
local function clean(text)
  return (clean_escaped(hide(text)):gsub("[%w%%%-%._~%+]+", function(word)
    if word:find("%", 1, true) or word:find("+", 1, true) then
      local plain = decode_percent(word)
      if hide(plain) ~= plain then
        return HIDDEN
      end
    end
  end))
end

function clean_value(value)
  if type(value) == "string" then
    return clean(value)
  elseif type(value) ~= "table" then
    return value
  end
  local copy = setmetatable({}, getmetatable(value))
  for key, element in next, value do
    copy[clean_value(key)] = clean_value(element)
  end
  return copy
end

local function learn_secret(value)
  if type(value) == "string" and #value >= SHORTEST_SECRET then
    current.secrets[#current.secrets + 1] = value
    learn_secret(value:match "^%a+ +(%S+)$" or nil) -- what follows "Bearer"
  end
end

-- ---- bodies ----

-- The body as fields of the file: "json" when it is an object or a list, else "body", or "base64" when it is no text.
local function put_body(target, body)
  if body == "" then
    return
  end
  if body:find "^%s*[%[{]" then
    local ok, value = pcall(json.decode, body)
    if ok then
      target.json = clean_value(value)
      return
    end
  end
  if utf8.len(body) then
    target.body = clean(body)
  else
    target.base64 = crypto.base64(hide(body))
  end
end

local function get_body(source)
  if source.json ~= nil then
    return json.encode(source.json, { sortKeys = true })
  elseif source.base64 then
    return crypto.fromBase64(source.base64)
  end
  return source.body or ""
end

-- ---- matching: what is hidden in the file stands for any text ----

local function same_text(recorded, text)
  if not recorded:find(HIDDEN, 1, true) then
    return recorded == text
  end
  local pattern = recorded:gsub("%[redacted%]", "\0"):gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0"):gsub("%z", ".-")
  return text:find("^" .. pattern .. "$") ~= nil
end

local function same_value(recorded, value)
  if type(recorded) == "string" and type(value) == "string" then
    return same_text(recorded, value)
  elseif type(recorded) ~= "table" or type(value) ~= "table" then
    return recorded == value
  end
  for key in next, value do
    if recorded[key] == nil then
      return false
    end
  end
  for key, element in next, recorded do
    if not same_value(element, value[key]) then
      return false
    end
  end
  return true
end

local function same_body(recorded, body)
  if recorded.json ~= nil then
    local ok, value = pcall(json.decode, body)
    return ok and same_value(recorded.json, value)
  end
  return same_text(get_body(recorded), body)
end

local function describe(request)
  return request.method .. " " .. request.url
end

local function list(exchanges)
  local lines = {}
  for index, exchange in ipairs(exchanges) do
    if index > SHOWN then
      lines[#lines + 1] = ("… and %d more"):format(#exchanges - SHOWN)
      break
    end
    lines[#lines + 1] = describe(exchange.request) .. (exchange.used and " (used)" or "")
  end
  return table.concat(lines, "\n")
end

-- ---- the life of a recording ----

local function read(path)
  local text, why = native.read(path)
  if not text then
    failure.raise(("test.recording: cannot read %s: %s; make it with workers test --record"):format(path, why))
  end
  local ok, file = pcall(json.decode, text)
  if not ok or type(file) ~= "table" or type(file.exchanges) ~= "table" then
    failure.raise(("test.recording: %s is no recording%s"):format(path, ok and "" or ": " .. tostring(file)))
  end
  for index, exchange in ipairs(file.exchanges) do
    local request, response = exchange.request, exchange.response
    if type(request) ~= "table" or type(response) ~= "table" or math.type(response.status) ~= "integer"
        or type(request.method) ~= "string" or type(request.url) ~= "string" then
      failure.raise(("test.recording: %s: exchange %d lacks its request or its response"):format(path, index))
    end
  end
  return file.exchanges
end

---Replays the exchanges of a file of the project; with workers test --record, makes the file.
---@param path string below the project's folder
function recording.open(path)
  if type(path) ~= "string" then
    failure.raise "test.recording takes the path of a file of the project"
  elseif current then
    failure.raise(("test.recording: the test has a recording already: %s"):format(current.path))
  end
  current = { path = path, at = native.where(), secrets = {} }
  current.exchanges = native.recording and {} or read(path)
end

function recording.reset()
  current = nil
end

---Whether the request shall leave, to be recorded.
function recording.leaves(request)
  if not current or not native.recording then
    return false
  end
  for _, name in ipairs(CREDENTIALS) do
    learn_secret(request.headers[name])
  end
  current.exchanges[#current.exchanges + 1] = { request = { method = request.method, url = request.url, body = request.body } }
  return true
end

---The recorded response; or nil and why there is none, if there is a recording at all.
function recording.find(request)
  if not current or native.recording then
    return nil
  end
  local times = 0
  for _, exchange in ipairs(current.exchanges) do
    if exchange.request.method == request.method and same_text(exchange.request.url, request.url) then
      if not exchange.used then
        if not same_body(exchange.request, request.body) then
          return nil,
            ("the body of %s is not the one recorded in %s\nrecorded: %s\nsent: %s"):format(
              describe(request), current.path, get_body(exchange.request), request.body)
        end
        exchange.used = true
        return exchange.response
      end
      times = times + 1
    end
  end
  if times > 0 then
    return nil,
      ("%s is %d time%s in the recording %s, and was requested once more"):format(
        describe(request), times, times == 1 and "" or "s", current.path)
  end
  return nil, ("%s is not in the recording %s, which has:\n%s"):format(describe(request), current.path, list(current.exchanges))
end

---A response of a file as a stub gives it.
function recording.response(recorded)
  return { status = recorded.status, headers = recorded.headers, body = get_body(recorded) }
end

---A real answer has come.
function recording.received(request, status, headers, body)
  for _, exchange in ipairs(current and current.exchanges or {}) do
    local sent = exchange.request
    if not exchange.response and sent.method == request.method and sent.url == request.url and sent.body == request.body then
      exchange.response = { status = status, headers = headers, body = body }
      learn_secret(headers["set-cookie"])
      for value in (headers["set-cookie"] or ""):gmatch "[^=;,%s]+=([^;,%s]+)" do
        learn_secret(value)
      end
      return
    end
  end
end

---What is wrong at the end of the test.
---@return string[]
function recording.problems()
  local problems = {}
  for _, exchange in ipairs(current and current.exchanges or {}) do
    if native.recording and not exchange.response then
      problems[#problems + 1] = ("%s got no answer, so nothing was recorded"):format(clean(describe(exchange.request)))
    elseif not native.recording and not exchange.used then
      problems[#problems + 1] = ("%s of the recording %s was not requested"):format(describe(exchange.request), current.path)
    end
  end
  return problems, current and current.at
end

local function write_exchange(exchange)
  local request = { method = exchange.request.method, url = clean(exchange.request.url) }
  local response = { status = exchange.response.status, headers = workers.object {} }
  put_body(request, exchange.request.body)
  put_body(response, exchange.response.body)
  for name, value in next, exchange.response.headers do
    if not LEFT_OUT[name] then
      response.headers[name] = clean(value)
    end
  end
  return { request = request, response = response }
end

---Writes the file, when the test has passed and a recording is made.
function recording.finish()
  if not current or not native.recording then
    return
  end
  local exchanges = workers.array {}
  for index, exchange in ipairs(current.exchanges) do
    exchanges[index] = write_exchange(exchange)
  end
  native.write(current.path, hide(json.encode({ exchanges = exchanges }, { pretty = true, sortKeys = true })) .. "\n")
end

return recording
