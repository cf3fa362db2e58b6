-- Verify functions for webhooks, one per provider, and the signers that go with them: what is signed, and where the
-- signature is. How it is read and compared is in workers.webhooks.signing. Must not accept anything without a secret.

local crypto = require "workers.crypto"
local json = require "workers.json"
local log = require "workers.log"
local options = require "workers.options"
local signing = require "workers.webhooks.signing"
local suggest = require "workers.suggest"

---@class workers.webhooks.Request what verify is given
---@field method? string
---@field url? string
---@field path? string
---@field headers table<string, string> names in lower case
---@field query? table<string, string>
---@field rawBody string the bytes of the body as they came
---@field body? any the body, where it could be parsed

---@class workers.webhooks.Answer
---@field status integer
---@field headers? table<string, string>
---@field body? string

---@alias workers.webhooks.Secret string|string[]|fun(): string|string[]|nil
---@alias workers.webhooks.Verify fun(request: workers.webhooks.Request, ctx?: workers.Context): workers.webhooks.Answer?
---@alias workers.webhooks.Signer fun(given: string|workers.webhooks.Request, options?: workers.webhooks.SignOptions): table<string, string>

---@class workers.webhooks.Options
---@field secret workers.webhooks.Secret
---@field tolerance? number seconds; of providers that sign the time

---@class workers.webhooks.NotionOptions
---@field token workers.webhooks.Secret

---@class workers.webhooks.HmacOptions: workers.webhooks.Options
---@field header string that holds the signature
---@field algorithm? "sha1"|"sha256"|"sha384"|"sha512"
---@field encoding? "hex"|"base64"|"base64url"
---@field prefix? string of the signature
---@field timestampHeader? string
---@field payload? fun(request: workers.webhooks.Request, timestamp: string?): string the bytes that are signed

---@class workers.webhooks.SignOptions
---@field secret? workers.webhooks.Secret
---@field token? workers.webhooks.Secret instead of it, of Notion
---@field time? integer Unix milliseconds; now unless given
---@field id? string of the delivery; a random one unless given
---@field event? string the name of the event, for providers that send it in a header

---@class workers.webhooks.Provider
---@field sign workers.webhooks.Signer
---@field idempotencyKey fun(request: workers.webhooks.Request): string? the id that stays when it is sent again
---@overload fun(options: workers.webhooks.Options): workers.webhooks.Verify

---@class workers.webhooks.NotionProvider
---@field sign workers.webhooks.Signer
---@field idempotencyKey fun(request: workers.webhooks.Request): string?
---@overload fun(options: workers.webhooks.NotionOptions): workers.webhooks.Verify

---@class workers.webhooks.HmacProvider
---@field sign fun(given: string|workers.webhooks.Request, options: workers.webhooks.HmacOptions): table<string, string>
---@overload fun(options: workers.webhooks.HmacOptions): workers.webhooks.Verify

---@class workers.webhooks
local webhooks = {}

local TOLERANCE = 300 -- seconds
local MAX_CHALLENGE = 8192 -- bytes of an answer
local MAX_TOKEN = 256 -- bytes

local TOLERATED = { "tolerance", "number", help = "seconds" }
local TIME = { "time", "natural", help = "Unix milliseconds" }
local ID = { "id", "string" }
local EVENT = { "event", "string" }

local HELP = "give a string, a list of strings, or a function that returns one of them, such as "
  .. 'function() return env.require "WEBHOOK_SECRET" end; '
  .. "set the variable with `workers env set WEBHOOK_SECRET=…`, or in .env"

---@class workers.webhooks.Made what is known of a verifier
---@field name string
---@field scheme workers.webhooks.Scheme
---@field source any what holds the secrets
---@field signOptions workers.options.Spec[] of its signer

-- A verify function is a plain function, so that a worker takes it; what else is known of it is kept here.
---@type table<function, workers.webhooks.Made>
local made = setmetatable({}, { __mode = "k" })

local joined = options.joined

-- The secrets in an option, which must be there. Must be called by a function that the script calls.
local function read_source(what, given, name)
  local source = given[name]
  local fits, is_set = signing.is_secret(source)
  if not fits or not is_set then
    error(('%s: option "%s" %s: %s'):format(what, name, fits and "is missing" or "must hold a secret", HELP), 3)
  end
  return source
end

-- A callable table that makes verify functions. Of its description: name, what scripts call it; option, which holds the
-- secret; options, the others; signOptions, more of them for sign; scheme, a function of the options; id, what reads a
-- request's id.
local function new_provider(description)
  local name, option = description.name, description.option
  local secret = { { option, "any" } }
  local verify_options = joined(secret, description.options)
  local sign_options = joined(verify_options, description.signOptions)
  local provider = suggest.strict(name, {
    idempotencyKey = description.id,
    sign = function(given, call)
      local what = name .. ".sign"
      options.check(what, call, sign_options)
      local source = read_source(what, call, option)
      local headers = signing.sign(description.scheme(call), what, given, source, call)
      return headers
    end,
  })
  getmetatable(provider).__call = function(_, given)
    options.check(name, given, verify_options)
    local source, scheme = read_source(name, given, option), description.scheme(given)
    local tolerance = given.tolerance or TOLERANCE
    local function verify(request)
      return signing.verify(scheme, request, source, tolerance)
    end
    made[verify] = { name = name, scheme = scheme, source = source, signOptions = joined(secret, description.signOptions) }
    return verify
  end
  return provider
end

-- ---- requests ----

-- The body as a table; an empty one when it is none.
local function read_body(request)
  local body = request.body
  if type(body) ~= "table" and type(request.rawBody) == "string" then
    local ok, decoded = pcall(json.decode, request.rawBody)
    body = ok and decoded
  end
  return type(body) == "table" and body or {}
end

local function as_id(value)
  return type(value) == "string" and value ~= "" and value or nil
end

-- What reads the id in the first of these headers that is there.
local function id_in_headers(...)
  local names = { ... }
  return function(request)
    for _, name in ipairs(names) do
      local id = as_id(request.headers[name])
      if id then
        return id
      end
    end
    return nil
  end
end

local function id_in_body(field)
  return function(request)
    return as_id(read_body(request)[field])
  end
end

local function raw_body(request)
  return request.rawBody
end

-- ---- providers ----

-- The scheme with what most providers have in common: HMAC-SHA256 of the body, in hex.
local function complete(scheme)
  scheme.option = scheme.option or "secret"
  scheme.item = scheme.item or "[^,%s]+"
  scheme.joiner = scheme.joiner or ","
  scheme.prefix = scheme.prefix or ""
  scheme.algorithm = scheme.algorithm or "sha256"
  scheme.encoding = scheme.encoding or "hex"
  scheme.payload = scheme.payload or raw_body
  return scheme
end

-- A provider whose scheme is always the same.
local function new_fixed(scheme, sign_options, read_id)
  complete(scheme)
  return new_provider {
    name = scheme.name,
    option = scheme.option,
    options = scheme.timestamp and { TOLERATED } or {},
    signOptions = sign_options,
    scheme = function()
      return scheme
    end,
    id = read_id,
  }
end

---GitHub: X-Hub-Signature-256. Also what others have copied from it.
---@type workers.webhooks.Provider
webhooks.github = new_fixed({
  name = "webhooks.github",
  header = "X-Hub-Signature-256",
  hint = "GitHub sends it when the webhook has a secret",
  prefix = "sha256=",
  headers = function(call)
    return { ["X-GitHub-Event"] = call.event or "push", ["X-GitHub-Delivery"] = call.id or crypto.uuid() }
  end,
}, { ID, EVENT }, id_in_headers "x-github-delivery")

---Stripe: Stripe-Signature, with the time.
---@type workers.webhooks.Provider
webhooks.stripe = new_fixed({
  name = "webhooks.stripe",
  header = "Stripe-Signature",
  prefix = "v1=",
  several = true,
  timestamp = { header = "Stripe-Signature", prefix = "t=", form = signing.SECONDS },
  payload = function(request, timestamp)
    return timestamp .. "." .. request.rawBody
  end,
}, { TIME }, id_in_body "id")

local slack = {
  name = "webhooks.slack",
  header = "X-Slack-Signature",
  prefix = "v0=",
  timestamp = { header = "X-Slack-Request-Timestamp", form = signing.SECONDS },
  payload = function(request, timestamp)
    return ("v0:%s:%s"):format(timestamp, request.rawBody)
  end,
}

-- Slack asks once whether the address is the script's: it wants the challenge back.
function slack.answer(request)
  local body = read_body(request)
  if body.type ~= "url_verification" then
    return nil
  elseif type(body.challenge) ~= "string" or #body.challenge > MAX_CHALLENGE then
    signing.refuse(slack, "the challenge must be a text of at most %d bytes", MAX_CHALLENGE)
  end
  return { status = 200, headers = { ["content-type"] = "text/plain; charset=utf-8" }, body = body.challenge }
end

---Slack: X-Slack-Signature and X-Slack-Request-Timestamp. Answers url_verification.
---@type workers.webhooks.Provider
webhooks.slack = new_fixed(slack, { TIME }, id_in_body "event_id")

---Shopify: X-Shopify-Hmac-Sha256.
---@type workers.webhooks.Provider
webhooks.shopify = new_fixed({
  name = "webhooks.shopify",
  header = "X-Shopify-Hmac-Sha256",
  encoding = "base64",
  headers = function(call)
    return { ["X-Shopify-Topic"] = call.event or "orders/create", ["X-Shopify-Webhook-Id"] = call.id or crypto.uuid() }
  end,
}, { ID, EVENT }, id_in_headers("x-shopify-webhook-id", "x-shopify-event-id"))

---Zendesk: X-Zendesk-Webhook-Signature and X-Zendesk-Webhook-Signature-Timestamp.
---@type workers.webhooks.Provider
webhooks.zendesk = new_fixed({
  name = "webhooks.zendesk",
  header = "X-Zendesk-Webhook-Signature",
  encoding = "base64",
  timestamp = { header = "X-Zendesk-Webhook-Signature-Timestamp", form = signing.ISO },
  payload = function(request, timestamp)
    return timestamp .. request.rawBody
  end,
  headers = function(call)
    return { ["X-Zendesk-Webhook-Invocation-Id"] = call.id or crypto.uuid() }
  end,
}, { TIME, ID }, id_in_headers "x-zendesk-webhook-invocation-id")

-- Standard Webhooks. family is how the names of the headers begin.
local function new_standard(family)
  local scheme = {
    name = "webhooks.standard",
    header = family .. "-signature",
    item = "%S+",
    joiner = " ",
    prefix = "v1,",
    encoding = "base64",
    several = true,
    timestamp = { header = family .. "-timestamp", form = signing.SECONDS },
    headers = function(call)
      return { [family .. "-id"] = call.id or "msg_" .. crypto.hex(crypto.randomBytes(16)) }
    end,
  }
  function scheme.payload(request, timestamp)
    local id = as_id(request.headers[family .. "-id"])
    if not id then
      signing.refuse(scheme, "the header %s-id is missing", family)
    end
    return ("%s.%s.%s"):format(id, timestamp, request.rawBody)
  end
  function scheme.key(secret)
    local text = secret:gsub("^v1,", ""):gsub("^whsec_", "")
    if text:find "^wh[ps]k_" then
      return nil, "a secret (whsec_) is needed, not a key of asymmetric signatures: those are not verified"
    end
    local ok, key = pcall(crypto.fromBase64, text)
    if not ok or key == "" then
      return nil, "a secret must be base64, with or without whsec_ before it"
    end
    return key
  end
  return scheme
end

local standard_scheme = new_standard "webhook"
standard_scheme.other = complete(new_standard "svix")

---Standard Webhooks: webhook-id, webhook-timestamp and webhook-signature, or the same with svix- before them.
---@type workers.webhooks.Provider
webhooks.standard = new_fixed(standard_scheme, { TIME, ID }, id_in_headers("webhook-id", "svix-id"))

local notion = { name = "webhooks.notion", option = "token", header = "X-Notion-Signature", prefix = "sha256=" }

-- Notion sends the token once, for a person to copy. When one is set already, no other is taken: anybody can send such a
-- request.
function notion.handshake(request, keys)
  local token = read_body(request).verification_token
  if type(token) ~= "string" then
    return nil
  elseif #token > MAX_TOKEN or not token:find "^[%w_%-]+$" then
    signing.refuse(notion, "the verification token must be letters, digits, _ and -, at most %d", MAX_TOKEN)
  elseif not keys then
    log.warn(
      ("webhooks.notion: the verification token is %s; enter it in Notion, "):format(token)
        .. 'and set the variable that option "token" reads with `workers env set NAME=…`'
    )
  else
    local known = false
    for _, key in ipairs(keys) do
      known = crypto.equal(key, token) or known
    end
    if not known then
      signing.refuse(notion, "a verification token came that is not the one that is set; to take another, unset that one")
    end
  end
  return { status = 200, headers = { ["content-type"] = "text/plain; charset=utf-8" }, body = "ok" }
end

---Notion: X-Notion-Signature. Takes part in the exchange of the token.
---@type workers.webhooks.NotionProvider
webhooks.notion = new_fixed(notion, {}, id_in_body "id")

-- ---- any other ----

local HMAC = {
  { "header", "string", required = true, help = "the header that holds the signature" },
  { "algorithm", "string" },
  { "encoding", "string" },
  { "prefix", "string" },
  { "timestampHeader", "string" },
  TOLERATED,
  { "payload", "function", help = "function(request, timestamp) … return bytes end" },
}
local ALGORITHMS = { "sha1", "sha256", "sha384", "sha512" }
local ENCODINGS = { "hex", "base64", "base64url" }

-- Must be called by a function that the script calls through one other.
local function one_of(name, value, valid)
  for _, word in ipairs(valid) do
    if value == word then
      return value
    end
  end
  local text = 'webhooks.hmac: option "%s": %s is not valid; %s'
  error(text:format(name, suggest.show(value), suggest.remedy(value, valid)), 4)
end

local function hmac_payload(request, timestamp)
  return timestamp and timestamp .. "." .. request.rawBody or request.rawBody
end

local function hmac_scheme(given)
  local timestamp = given.timestampHeader and { header = given.timestampHeader, form = signing.ANY } or nil
  if given.tolerance and not timestamp then
    error('webhooks.hmac: option "tolerance" needs "timestampHeader": without it nobody knows how old a delivery is', 3)
  end
  local prefix = given.prefix or ""
  return complete {
    name = "webhooks.hmac",
    header = given.header,
    -- several signatures, as far as what is between two of them is not in the prefix
    item = prefix:find "%s" and ".+" or prefix:find "," and "%S+" or nil,
    prefix = prefix,
    algorithm = one_of("algorithm", given.algorithm or "sha256", ALGORITHMS),
    encoding = one_of("encoding", given.encoding or "hex", ENCODINGS),
    timestamp = timestamp,
    payload = given.payload or hmac_payload,
  }
end

---Any header with an HMAC of the body, of time and body, or of what the option payload returns.
---@type workers.webhooks.HmacProvider
webhooks.hmac = new_provider {
  name = "webhooks.hmac",
  option = "secret",
  options = HMAC,
  signOptions = { TIME },
  scheme = hmac_scheme,
}

-- ---- for the program ----

---What signs as the provider of a verify function does, with its secrets; nil for a function that is not of this module.
---@param verify workers.webhooks.Verify
---@return workers.webhooks.Signer?
function webhooks.signer(verify)
  local of = made[verify]
  if not of then
    return nil
  end
  local what = of.name .. ".sign"
  return function(given, call)
    call = options.check(what, call or {}, of.signOptions)
    local source = of.source
    if call[of.scheme.option] ~= nil then
      source = read_source(what, call, of.scheme.option)
    end
    local headers = signing.sign(of.scheme, what, given, source, call)
    return headers
  end
end

return suggest.strict("webhooks", webhooks)
