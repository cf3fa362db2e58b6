-- Signs requests to AWS, and to what speaks the protocol of S3, with Signature Version 4 as "Create a signed AWS API
-- request" of AWS's IAM user guide has it. In Lua, since all of it is texts. Must not send anything, nor put the secret
-- key or the session token into a message.

local crypto = require "workers.crypto"
local suggest = require "workers.suggest"
local time = require "workers.time"
local url = require "workers.url"

local show, remedy, unknown_key = suggest.show, suggest.remedy, suggest.unknown_key

---@class workers.aws.SignOptions
---@field method? string "GET" unless given
---@field url string whole, with its query
---@field headers? table<string, string|number|string[]> of the request; all of them are signed
---@field body? string the bytes that are sent
---@field service string "s3", "dynamodb", …
---@field region string "eu-central-1", …
---@field accessKey string
---@field secretKey string
---@field sessionToken? string of temporary credentials
---@field time? integer Unix milliseconds; now unless given
---@field unsignedPayload? boolean true: the body is not part of the signature

---@class workers.aws
local aws = {}

local ALGORITHM = "AWS4-HMAC-SHA256"
local OPTIONS = {
  "method",
  "url",
  "headers",
  "body",
  "service",
  "region",
  "accessKey",
  "secretKey",
  "sessionToken",
  "time",
  "unsignedPayload",
}
local TYPES = {
  method = "string",
  url = "string",
  headers = "table",
  body = "string",
  service = "string",
  region = "string",
  accessKey = "string",
  secretKey = "string",
  sessionToken = "string",
  time = "number",
  unsignedPayload = "boolean",
}
local REQUIRED = { "url", "service", "region", "accessKey", "secretKey" }
local MAX_TIME = 253402300799999 -- milliseconds: the end of the year 9999

-- Headers that proxies and clients change on the way, or that belong to one hop; they are sent, but not signed.
local UNSIGNED = {
  authorization = true,
  connection = true,
  expect = true,
  ["keep-alive"] = true,
  ["proxy-authenticate"] = true,
  ["proxy-authorization"] = true,
  te = true,
  trailer = true,
  ["transfer-encoding"] = true,
  upgrade = true,
  ["user-agent"] = true,
  ["x-amzn-trace-id"] = true,
}
-- Services whose path is signed as it is sent, and whose payload has a header of its own.
local S3 = { s3 = true, ["s3-object-lambda"] = true, ["s3-outposts"] = true, s3express = true }
-- Headers that the signature brings with it.
local OURS = { authorization = true, ["x-amz-date"] = true, ["x-amz-security-token"] = true }

-- The functions below return nil and a message for what is wrong, so that sign can raise it at its caller's line.

local function check_options(options)
  if type(options) ~= "table" then
    return nil, "expected a table of options, got " .. (options == nil and "nothing" or type(options))
  end
  local key = unknown_key(options, OPTIONS)
  if key ~= nil then
    return nil, ("unknown option %s; %s"):format(show(key), remedy(key, OPTIONS))
  end
  for _, name in ipairs(OPTIONS) do
    local value = options[name]
    if value ~= nil and type(value) ~= TYPES[name] then
      return nil, ('option "%s" must be a %s, got %s'):format(name, TYPES[name], type(value))
    end
  end
  for _, name in ipairs(REQUIRED) do
    if options[name] == nil or options[name] == "" then
      return nil, ('option "%s" is missing'):format(name)
    end
  end
  -- These stand in the Authorization header between slashes and commas.
  for _, name in ipairs { "service", "region", "accessKey" } do
    if options[name]:find "[^%w._-]" then
      return nil, ('option "%s" has a character other than letters, digits, ".", "_" and "-"'):format(name)
    end
  end
  if options.method and not options.method:find "^%a+$" then
    return nil, 'option "method" must be a name such as "GET"'
  end
  if options.sessionToken and options.sessionToken:find "[^\33-\126]" then
    return nil, 'option "sessionToken" has a blank or a control character in it'
  end
  local moment = options.time
  if moment and not (math.type(moment) == "integer" and moment >= 0 and moment <= MAX_TIME) then
    return nil, ('option "time": Unix milliseconds, as an integer, expected, got %s'):format(show(moment))
  end
  return true
end

-- The parts of the URL as workers.http sends it: what is signed must be what arrives.
local function parse_url(text)
  local position = text:find "[%c ]"
  if position then
    return nil, ('option "url" has byte 0x%02x at position %d; percent-encode it'):format(text:byte(position), position)
  end
  local ok, parts = pcall(url.parse, text)
  if not ok or (parts.scheme ~= "https" and parts.scheme ~= "http") then
    return nil, 'option "url" must be a whole URL that begins with https:// or http://'
  elseif parts.user or parts.password then
    return nil, 'option "url" must not have a user name in it'
  end
  return parts
end

local function encode_byte(c)
  return ("%%%02X"):format(c:byte())
end

-- S3 takes the path as it is, once encoded: what is encoded stays so, what should have been becomes so.
local function s3_path(path)
  path = path:gsub("%%(%x?%x?)", function(digits)
    if #digits < 2 then
      return "%25" .. digits
    end
    local c = string.char(tonumber(digits, 16))
    return c:find "[%w%-._~]" and c or "%" .. digits:upper()
  end)
  return (path:gsub("[^%w%-._~/%%]", encode_byte))
end

-- Everything else takes the path without "." and ".." (RFC 3986, section 5.2.4) and without empty segments, and what was
-- sent encoded once is encoded once more.
local function normal_path(path)
  local segments = {}
  for segment in path:gmatch "[^/]+" do
    if segment == ".." then
      segments[#segments] = nil
    elseif segment ~= "." then
      segments[#segments + 1] = url.encode(segment)
    end
  end
  local folder = #segments > 0 and path:sub(-1) == "/"
  return "/" .. table.concat(segments, "/") .. (folder and "/" or "")
end

local function canonical_query(query)
  local lines = {}
  for i, parameter in ipairs(url.query(query)) do
    lines[i] = { url.encode(parameter.name), url.encode(parameter.value) }
  end
  table.sort(lines, function(a, b)
    if a[1] ~= b[1] then
      return a[1] < b[1]
    end
    return a[2] < b[2]
  end)
  for i, line in ipairs(lines) do
    lines[i] = line[1] .. "=" .. line[2]
  end
  return table.concat(lines, "&")
end

local function header_text(value)
  if type(value) == "number" then
    value = math.tointeger(value) -- workers.http sends 3.0 as 3
  end
  if type(value) ~= "string" and type(value) ~= "number" then
    return nil
  end
  return (tostring(value):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

-- The headers as they are signed: lower-case name -> text.
local function canonical_headers(headers)
  local result = {}
  for name, value in next, headers do
    if type(name) ~= "string" or not name:find "^[%w!#$%%&'*+.^_`|~-]+$" then
      return nil, ('option "headers": %s is no name of a header'):format(show(name))
    end
    local lower = name:lower()
    if OURS[lower] then
      return nil, ('option "headers": leave out "%s", which the signature brings'):format(name)
    elseif result[lower] then
      return nil, ('option "headers" has "%s" twice'):format(lower)
    end
    local texts = {}
    for i, item in ipairs(type(value) == "table" and value or { value }) do
      texts[i] = header_text(item)
      if not texts[i] then
        return nil, ('option "headers": "%s" must be a string, a whole number or a list of them'):format(name)
      end
    end
    if not UNSIGNED[lower] then
      result[lower] = table.concat(texts, ",")
    end
  end
  return result
end

local function sorted_names(headers)
  local names = {}
  for name in next, headers do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- What is hashed and signed: one request, one text. Also the names of the headers in it.
local function canonical_request(options, parts, headers, payload)
  local names, lines = sorted_names(headers), {}
  for i, name in ipairs(names) do
    lines[i] = name .. ":" .. headers[name] .. "\n"
  end
  local signed_names = table.concat(names, ";")
  local path = S3[options.service] and s3_path(parts.path) or normal_path(parts.path)
  local method = (options.method or "GET"):upper()
  local texts = { method, path, canonical_query(parts.query or ""), table.concat(lines), signed_names, payload }
  return table.concat(texts, "\n"), signed_names
end

-- The signature of the text. The key is that of one day, region and service, so that the secret itself signs nothing.
local function signature(secret, scope, text)
  local key = "AWS4" .. secret
  for part in scope:gmatch "[^/]+" do
    key = crypto.hmac("sha256", key, part, "raw")
  end
  return crypto.hmac("sha256", key, text)
end

---The headers to send: those of the option headers, and Authorization, X-Amz-Date, for temporary credentials
---X-Amz-Security-Token and for S3 X-Amz-Content-Sha256. A signature is good for some minutes: sign every request anew.
---@param options workers.aws.SignOptions
---@return table<string, string|number|string[]>
function aws.sign(options)
  local function fail(message)
    error("aws.sign: " .. message, 3)
  end
  local ok, message = check_options(options)
  if not ok then
    fail(message)
  end
  local parts, why = parse_url(options.url)
  if not parts then
    fail(why)
  end
  local signed, wrong = canonical_headers(options.headers or {})
  if not signed then
    fail(wrong)
  end

  local stamp = os.date("!%Y%m%dT%H%M%SZ", (options.time or time.nowMs()) // 1000) --[[@as string]]
  local added = { ["X-Amz-Date"] = stamp, ["X-Amz-Security-Token"] = options.sessionToken }
  local payload = signed["x-amz-content-sha256"]
  if not payload then
    payload = options.unsignedPayload and "UNSIGNED-PAYLOAD" or crypto.sha256(options.body or "")
    if S3[options.service] or options.unsignedPayload then
      added["X-Amz-Content-Sha256"] = payload
    end
  end
  for name, value in next, added do
    signed[name:lower()] = value
  end
  signed.host = signed.host or parts.host .. (parts.port and ":" .. parts.port or "")

  local request, names = canonical_request(options, parts, signed, payload)
  local scope = table.concat({ stamp:sub(1, 8), options.region, options.service, "aws4_request" }, "/")
  local text = table.concat({ ALGORITHM, stamp, scope, crypto.sha256(request) }, "\n")
  added.Authorization = ("%s Credential=%s/%s, SignedHeaders=%s, Signature=%s"):format(
    ALGORITHM,
    options.accessKey,
    scope,
    names,
    signature(options.secretKey, scope, text)
  )
  for name, value in next, options.headers or {} do
    added[name] = value
  end
  return added
end

return aws
