-- How signatures of webhooks are read, compared and made; workers.webhooks says what those of each provider look like.
-- Must not accept what it cannot read, nor put a secret, an expected signature or bytes of a request into a message.

local crypto = require "workers.crypto"
local suggest = require "workers.suggest"
local time = require "workers.time"
local workers = require "workers"

---@class workers.webhooks.signing
local signing = {}

---@class workers.webhooks.Timestamp
---@field header string where the moment of signing is
---@field prefix? string of the part of that header which holds it; the whole header otherwise
---@field form workers.webhooks.Form

---@class workers.webhooks.Form
---@field words string what it is called in a message
---@field read fun(text: string): integer? Unix seconds
---@field write fun(ms: integer): string

---@class workers.webhooks.Scheme
---@field name string what scripts call it, as in "webhooks.github"
---@field option string the option that holds the secret
---@field header string with the signatures, as the provider writes its name
---@field hint? string when the provider leaves the header out
---@field item string pattern of one part of that header
---@field joiner string between two parts
---@field prefix string of a part that is a signature
---@field algorithm workers.crypto.Digest
---@field encoding "hex"|"base64"|"base64url"
---@field several? boolean the provider signs with every secret, not with the first alone
---@field timestamp? workers.webhooks.Timestamp
---@field payload fun(request: workers.webhooks.Request, timestamp: string?): string what is signed
---@field key? fun(secret: string): string?, string? the bytes that sign; nil and why there are none
---@field other? workers.webhooks.Scheme instead of this one, for a request that has its header and not this one's
---@field handshake? fun(request: workers.webhooks.Request, keys: string[]?): workers.webhooks.Answer? without a signature
---@field answer? fun(request: workers.webhooks.Request): workers.webhooks.Answer? to a request whose signature is good
---@field headers? fun(options: table): table<string, string> what else the provider sends

local MAX_HEADER = 8192 -- bytes
local MAX_PARTS = 32 -- of a header: a provider that rotates its secret sends two signatures
local MAX_TIME = 253402300799999 -- milliseconds: the end of the year 9999
local SIZES = { sha1 = 20, sha256 = 32, sha384 = 48, sha512 = 64 }
local DECODERS = { hex = crypto.fromHex, base64 = crypto.fromBase64, base64url = crypto.fromBase64url }

---Raises what the program answers with 401.
---@param scheme workers.webhooks.Scheme
function signing.refuse(scheme, text, ...)
  error(workers.WebhookVerificationError(("%s: %s"):format(scheme.name, text:format(...))), 0)
end

local refuse = signing.refuse

-- ---- moments ----

local function read_seconds(text)
  return #text <= 11 and text:find "^%d+$" and tonumber(text) or nil
end

local function read_iso(text)
  local ok, ms = pcall(time.epochMs, text)
  return ok and ms // 1000 or nil
end

local function write_seconds(ms)
  return tostring(ms // 1000)
end

signing.SECONDS = { words = "Unix seconds", read = read_seconds, write = write_seconds }
signing.ISO = {
  words = "ISO 8601",
  read = read_iso,
  write = function(ms)
    return time.format(ms, { precision = "s" })
  end,
}
signing.ANY = {
  words = "Unix seconds or milliseconds, or in ISO 8601",
  read = function(text)
    if text:find "^%d+$" then
      return read_seconds(text) or #text <= 15 and tonumber(text) // 1000 or nil
    end
    return read_iso(text)
  end,
  write = write_seconds,
}

-- ---- secrets ----

---Whether an option can hold secrets: a string, a list of strings, a function. nil stands for what is not set.
---@param value any
---@return boolean fits
---@return boolean is_set
function signing.is_secret(value)
  if type(value) ~= "table" then
    return value == nil or type(value) == "string" or type(value) == "function", value ~= nil and value ~= ""
  end
  local is_set = false
  for key, secret in next, value do
    if math.type(key) ~= "integer" or type(secret) ~= "string" then
      return false, false
    end
    is_set = is_set or secret ~= ""
  end
  return true, is_set
end

-- The secrets of a list in their order. It has holes where variables are not set, so that its length says nothing.
local function read_list(list)
  local places, secrets = {}, {}
  for i, secret in next, list do
    if secret ~= "" then
      places[#places + 1] = i
    end
  end
  table.sort(places)
  for number, i in ipairs(places) do
    secrets[number] = list[i]
  end
  return secrets
end

-- The keys that an option gives now; nil and what to mend when there are none.
local function read_keys(scheme, source)
  local value = source
  if type(source) == "function" then
    value = source()
  end
  if type(value) == "function" or not signing.is_secret(value) then
    local text = 'option "%s" must give a string or a list of strings, got a %s'
    return nil, text:format(scheme.option, type(value) == "table" and "table of something else" or type(value))
  end
  local keys = {}
  for i, secret in ipairs(read_list(type(value) == "table" and value or { value })) do
    local key, why = secret, nil
    if scheme.key then
      key, why = scheme.key(secret)
    end
    if not key then
      return nil, ('option "%s": %s'):format(scheme.option, why)
    end
    keys[i] = key
  end
  if #keys == 0 then
    local text = 'option "%s" gives no secret: set the variable that it reads with `workers env set NAME=…`, or in .env'
    return nil, text:format(scheme.option)
  end
  return keys
end

-- ---- reading ----

local function read_header(scheme, request, name)
  local text = request.headers[name:lower()]
  if text == nil or text == "" then
    local hint = scheme.hint and "; " .. scheme.hint or ""
    refuse(scheme, "the header %s is %s%s", name, text and "empty" or "missing", hint)
  elseif type(text) ~= "string" or #text > MAX_HEADER then
    refuse(scheme, "the header %s must be one text of at most %d bytes", name, MAX_HEADER)
  end
  return text
end

-- The parts of a header that begin with the prefix, without it.
local function read_parts(scheme, name, text, prefix)
  local found, count = {}, 0
  for part in text:gmatch(scheme.item) do
    count = count + 1
    if count > MAX_PARTS then
      refuse(scheme, "the header %s has more than %d parts", name, MAX_PARTS)
    elseif part:sub(1, #prefix) == prefix then
      found[#found + 1] = part:sub(#prefix + 1)
    end
  end
  if #found == 0 then
    refuse(scheme, "the header %s has no part%s", name, prefix ~= "" and (' that begins with "%s"'):format(prefix) or "")
  end
  return found
end

-- The signatures of a request, as bytes.
local function read_signatures(scheme, request)
  local parts = read_parts(scheme, scheme.header, read_header(scheme, request, scheme.header), scheme.prefix)
  local size, found = SIZES[scheme.algorithm], {}
  for _, part in ipairs(parts) do
    local ok, bytes = pcall(DECODERS[scheme.encoding], part)
    if ok and #bytes == size then
      found[#found + 1] = bytes
    end
  end
  if #found == 0 then
    refuse(scheme, "the header %s has no signature that is %d bytes in %s", scheme.header, size, scheme.encoding)
  end
  return found
end

-- The moment of signing as the request has it, when it is near enough to now.
local function read_timestamp(scheme, request, tolerance)
  local header, prefix, form = scheme.timestamp.header, scheme.timestamp.prefix, scheme.timestamp.form
  local text = read_header(scheme, request, header)
  if prefix then
    local parts = read_parts(scheme, header, text, prefix)
    if #parts > 1 then
      refuse(scheme, 'the header %s has "%s" more than once', header, prefix)
    end
    text = parts[1]
  end
  local seconds = form.read(text)
  if not seconds then
    refuse(scheme, "the moment of signing in the header %s is not in %s", header, form.words)
  end
  local age = time.seconds(time.nowMs()) - seconds
  if math.abs(age) > tolerance then
    refuse(
      scheme,
      "it was signed %d s %s, and option tolerance allows %s: a delivery that somebody kept, or a clock that is wrong",
      math.abs(age),
      age > 0 and "ago" or "in the future",
      tolerance
    )
  end
  return text
end

-- Compares all with all, so that the time that it takes does not tell which of them was right.
local function is_signed(scheme, keys, signatures, payload)
  local good = false
  for _, key in ipairs(keys) do
    local expected = crypto.hmac(scheme.algorithm, key, payload, "raw")
    for _, signature in ipairs(signatures) do
      good = crypto.equal(expected, signature) or good
    end
  end
  return good
end

-- The bytes to sign. A script may say what they are, so this is checked.
local function read_payload(scheme, request, timestamp)
  local payload = scheme.payload(request, timestamp)
  if type(payload) ~= "string" then
    local text = '%s: option "payload" must return the bytes that are signed, returned %s'
    error(text:format(scheme.name, suggest.show(payload)), 0)
  end
  return payload
end

local function scheme_of(scheme, request)
  local other = scheme.other
  if other and request.headers[scheme.header:lower()] == nil and request.headers[other.header:lower()] ~= nil then
    return other
  end
  return scheme
end

---Returns an answer for the program to give, or nothing for a request that is genuine. Raises a WebhookVerificationError
---for one that is not, another error when that cannot be told.
---@param scheme workers.webhooks.Scheme
---@param request workers.webhooks.Request
---@param source any what holds the secrets
---@param tolerance number seconds
---@return workers.webhooks.Answer?
function signing.verify(scheme, request, source, tolerance)
  if type(request) ~= "table" or type(request.headers) ~= "table" or type(request.rawBody) ~= "string" then
    error(scheme.name .. ": the request must have headers, and its bytes as rawBody", 0)
  end
  scheme = scheme_of(scheme, request)
  local keys, why = read_keys(scheme, source)
  local answer = scheme.handshake and scheme.handshake(request, keys)
  if answer then
    return answer
  elseif not keys then
    error(("%s: %s"):format(scheme.name, why), 0)
  end
  local signatures = read_signatures(scheme, request)
  local timestamp = scheme.timestamp and read_timestamp(scheme, request, tolerance) or nil
  if not is_signed(scheme, keys, signatures, read_payload(scheme, request, timestamp)) then
    refuse(
      scheme,
      "the signature in the header %s is not one of this body: the secret is another, or the body was changed",
      scheme.header
    )
  end
  return scheme.answer and scheme.answer(request) or nil
end

-- ---- signing ----

-- The request to sign, with names of headers in lower case; nil when it is none.
local function read_request(given)
  if type(given) == "string" then
    given = { rawBody = given }
  elseif type(given) ~= "table" or type(given.rawBody) ~= "string" then
    return nil
  end
  local request = { method = "POST" }
  for name, value in next, given do
    request[name] = value
  end
  request.headers = {}
  for name, value in next, type(given.headers) == "table" and given.headers or {} do
    request.headers[tostring(name):lower()] = value
  end
  return request
end

---The headers that the provider sends with a body. Must be called by a function that the script calls.
---@param scheme workers.webhooks.Scheme
---@param what string the call, for messages
---@param given string|workers.webhooks.Request
---@param source any what holds the secrets
---@param options table of the call
---@return table<string, string>
function signing.sign(scheme, what, given, source, options)
  local request = read_request(given)
  if not request then
    local text = "%s: argument 1: expected the body's bytes, or a request with rawBody, got %s"
    error(text:format(what, suggest.show(given)), 3)
  end
  local ms = math.tointeger(options.time or time.nowMs())
  if ms > MAX_TIME then
    error(what .. ': option "time" must be Unix milliseconds, of the years 1970 to 9999', 3)
  end
  local keys, why = read_keys(scheme, source)
  if not keys then
    error(("%s: %s"):format(what, why), 3)
  end
  local headers = scheme.headers and scheme.headers(options) or {}
  for name, value in next, headers do
    request.headers[name:lower()] = value
  end
  headers["Content-Type"] = request.headers["content-type"] or "application/json"

  local parts = {}
  local timestamp = scheme.timestamp and scheme.timestamp.form.write(ms)
  if timestamp and scheme.timestamp.prefix then
    parts[1] = scheme.timestamp.prefix .. timestamp
  elseif timestamp then
    headers[scheme.timestamp.header] = timestamp
    request.headers[scheme.timestamp.header:lower()] = timestamp
  end
  local payload = read_payload(scheme, request, timestamp)
  for i = 1, scheme.several and #keys or 1 do
    parts[#parts + 1] = scheme.prefix .. crypto.hmac(scheme.algorithm, keys[i], payload, scheme.encoding)
  end
  headers[scheme.header] = table.concat(parts, scheme.joiner)
  return headers
end

return signing
