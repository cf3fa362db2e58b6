local crypto = require "workers.crypto"
local env = require "workers.env"
local json = require "workers.json"
local tap = require "tap"
local testing = require "testing"
local time = require "workers.time"
local webhooks = require "workers.webhooks"
local workers = require "workers"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy

local EVER = 1e10 -- seconds: a tolerance for the documented examples, which are old
local STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

-- name -> secret, of the providers that have one way to sign
local SECRETS = {
  github = "It's a Secret to Everybody",
  stripe = "whsec_test_secret",
  slack = "8f742231b10e8888abcd99yyyzzz85a5",
  shopify = "hush",
  zendesk = "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==",
  standard = STANDARD_SECRET,
}
local SIGNATURES = {
  github = "x-hub-signature-256",
  stripe = "stripe-signature",
  slack = "x-slack-signature",
  shopify = "x-shopify-hmac-sha256",
  zendesk = "x-zendesk-webhook-signature",
  standard = "webhook-signature",
}
local TIMED = { "stripe", "slack", "zendesk", "standard" }
-- a worker takes a verify function as it is
workers.new():webhook("onPush", {
  title = "Pushes",
  description = "What was pushed",
  verify = webhooks.github { secret = "hush" },
  execute = function() end,
})

local BODY = '{"id":"evt_1","text":"caf\xC3\xA9 \xFF\0 done"}'

local function request_of(body, headers, more)
  local request = { method = "POST", url = "/hook", headers = {}, query = {}, rawBody = body }
  for name, value in next, headers do
    request.headers[name:lower()] = value
  end
  for name, value in next, more or {} do
    request[name] = value
  end
  return request
end

-- The request that a provider sends, and its header of the signature.
local function signed(name, body, options)
  local call = { secret = SECRETS[name] }
  for key, value in next, options or {} do
    call[key] = value
  end
  return request_of(body, webhooks[name].sign(body, call))
end

local function accepts(verify, request, what)
  local ok, result = pcall(verify, request, { key = "hook" })
  if not ok then
    error((what and what .. ": " or "") .. tostring(result), 2)
  end
  equal(result, nil, what)
end

-- The request is refused as one that is not genuine, with a message that has the text in it.
local function refuses(verify, request, text)
  local ok, err = pcall(verify, request, { key = "hook" })
  if ok then
    error("accepted; expected " .. text, 2)
  elseif type(err) ~= "table" or err.name ~= "WebhookVerificationError" or err.code ~= "verification" then
    error("raised " .. tostring(err) .. ", which is no WebhookVerificationError", 2)
  elseif not err.message:find(text, 1, true) then
    error(("refused with %q, expected %q"):format(err.message, text), 2)
  end
  return err.message
end

-- Raises a plain error at the line of this file that called, and nothing of a secret in it.
local function misuse(text, fn, ...)
  local arguments = table.pack(...)
  local err = raises(function()
    local _ = fn(table.unpack(arguments, 1, arguments.n))
  end, text)
  truthy(tostring(err):find("^[%w_/%.%-]*webhooks_test%.lua:%d+: "), err)
  for _, secret in next, SECRETS do
    truthy(not tostring(err):find(secret, 1, true), err)
  end
end

-- Calls fn with a clock that stands at ms.
local function at(ms, fn)
  local real = time.nowMs
  time.nowMs = function()
    return ms
  end
  local ok, err = pcall(fn)
  time.nowMs = real
  if not ok then
    error(err, 0)
  end
end

-- ---- what the providers publish ----

-- "Validating webhook deliveries" of GitHub's documentation
test("GitHub's example", function()
  local verify = webhooks.github { secret = "It's a Secret to Everybody" }
  local signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
  accepts(verify, request_of("Hello, World!", { ["X-Hub-Signature-256"] = signature }))
  refuses(
    verify,
    request_of("Hello, World?", { ["X-Hub-Signature-256"] = signature }),
    "webhooks.github: the signature in the header X-Hub-Signature-256 is not one of this body"
  )
  local headers = webhooks.github.sign("Hello, World!", { secret = SECRETS.github, id = "d-1", event = "issues" })
  equal(headers, {
    ["X-Hub-Signature-256"] = signature,
    ["X-GitHub-Delivery"] = "d-1",
    ["X-GitHub-Event"] = "issues",
    ["Content-Type"] = "application/json",
  })
end)

-- "Verifying requests from Slack" of Slack's documentation
test("Slack's example", function()
  local body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    .. "&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    .. "&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    .. "&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
  local headers = {
    ["X-Slack-Request-Timestamp"] = "1531420618",
    ["X-Slack-Signature"] = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
  }
  local secret = "8f742231b10e8888abcd99yyyzzz85a5"
  accepts(webhooks.slack { secret = secret, tolerance = EVER }, request_of(body, headers))
  refuses(webhooks.slack { secret = secret }, request_of(body, headers), "s ago, and option tolerance allows 300")
  headers["Content-Type"] = "application/x-www-form-urlencoded"
  local given = request_of(body, { ["content-type"] = "application/x-www-form-urlencoded" })
  equal(webhooks.slack.sign(given, { secret = secret, time = 1531420618999 }), headers)
end)

-- The example of the Standard Webhooks specification's libraries and of Svix's documentation
test("Standard Webhooks' example", function()
  local body = '{"test": 2432232314}'
  local headers = {
    ["webhook-id"] = "msg_p5jXN8AQM9LWM0D4loKWxJek",
    ["webhook-timestamp"] = "1614265330",
    ["webhook-signature"] = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  }
  local verify = webhooks.standard { secret = STANDARD_SECRET, tolerance = EVER }
  accepts(verify, request_of(body, headers))
  for _, secret in ipairs { "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "v1," .. STANDARD_SECRET } do
    accepts(webhooks.standard { secret = secret, tolerance = EVER }, request_of(body, headers), secret)
  end
  at(1614265330999, function()
    local made = webhooks.standard.sign(body, { secret = STANDARD_SECRET, id = "msg_p5jXN8AQM9LWM0D4loKWxJek" })
    headers["Content-Type"] = "application/json"
    equal(made, headers)
  end)

  local svix = {}
  for name, value in next, headers do
    svix[name:gsub("^webhook", "svix")] = value
  end
  accepts(verify, request_of(body, svix), "Svix's names of the headers")
  svix["svix-id"] = "msg_other"
  refuses(verify, request_of(body, svix), "the signature in the header svix-signature is not one of this body")
  svix["svix-id"] = nil
  refuses(verify, request_of(body, svix), "the header svix-id is missing")
  svix["webhook-id"], svix["webhook-timestamp"] = headers["webhook-id"], headers["webhook-timestamp"]
  refuses(verify, request_of(body, svix), "the header svix-id is missing")
  -- with headers of both names, those of the specification count
  for name, value in next, headers do
    svix[name] = value
  end
  accepts(verify, request_of(body, svix), "both names")
end)

-- "Webhooks" of Notion's API reference: its example of the first request, and the signature that it shows for it
test("Notion's example", function()
  local token = "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"
  local body = ('{"verification_token":"%s"}'):format(token)
  local signature = "sha256=461e8cbcba8a75c3edd866f0e71280f5a85cbf21eff040ebd10fe266df38a735"
  equal(webhooks.notion.sign(body, { token = token }), {
    ["X-Notion-Signature"] = signature,
    ["Content-Type"] = "application/json",
  })
end)

-- Digests by Python's hmac, as the providers describe what is signed
test("Stripe, Shopify and Zendesk as they are described", function()
  local body = '{"id":"evt_1","object":"event"}'
  local stripe = "t=1700000000,v1=0c8670ed117751cc551a20e35839447075c42800ea3cf3e8a2fbda99cd1e6edd"
  local headers = webhooks.stripe.sign(body, { secret = SECRETS.stripe, time = 1700000000000 })
  equal(headers["Stripe-Signature"], stripe)
  accepts(webhooks.stripe { secret = SECRETS.stripe, tolerance = EVER }, request_of(body, { ["Stripe-Signature"] = stripe .. ",v0=6ffb" }))
  headers = webhooks.shopify.sign(body, { secret = SECRETS.shopify, id = "w1", event = "products/update" })
  equal(headers, {
    ["X-Shopify-Hmac-Sha256"] = "Y5yh1MBcvmylNdRGRmMjSnWMAU5vK6ZYOwIowkFMvRk=",
    ["X-Shopify-Webhook-Id"] = "w1",
    ["X-Shopify-Topic"] = "products/update",
    ["Content-Type"] = "application/json",
  })
  headers = webhooks.zendesk.sign('{"say": "hello"}', { secret = SECRETS.zendesk, time = 1627207200000, id = "8350205582" })
  equal(headers, {
    ["X-Zendesk-Webhook-Signature"] = "gf3v0LzLRHPUnIdhbvwRDVEvzSb07/QN0GYjSNlkBT0=",
    ["X-Zendesk-Webhook-Signature-Timestamp"] = "2021-07-25T10:00:00Z",
    ["X-Zendesk-Webhook-Invocation-Id"] = "8350205582",
    ["Content-Type"] = "application/json",
  })
end)

-- ---- what all have in common ----

test("what is signed is accepted; with another body, secret or header it is not", function()
  for name, secret in next, SECRETS do
    local verify = webhooks[name] { secret = secret }
    for _, body in ipairs { "", "{}", BODY, ("x"):rep(100000) } do
      local request = signed(name, body)
      accepts(verify, request, name)
      request.rawBody = body .. " "
      refuses(verify, request, "is not one of this body")
    end
    local other = name == "standard" and "whsec_" .. crypto.base64 "another secret of 24 b." or secret .. "x"
    refuses(webhooks[name] { secret = other }, signed(name, BODY), "is not one of this body")

    local header = SIGNATURES[name]
    local request = signed(name, BODY)
    local good = request.headers[header]
    request.headers[header] = nil
    refuses(verify, request, " is missing")
    request.headers[header] = ""
    refuses(verify, request, " is empty")
    request.headers[header] = { good, good }
    refuses(verify, request, "must be one text of at most 8192 bytes")
    request.headers[header] = good .. (" "):rep(9000)
    refuses(verify, request, "must be one text of at most 8192 bytes")
    request.headers[header] = good:gsub("..$", "") .. "zz"
    refuses(verify, request, "has no signature that is 32 bytes in ")
  end
  refuses(
    webhooks.github { secret = "s" },
    request_of("", { ["X-Hub-Signature"] = "sha1=00" }),
    "the header X-Hub-Signature-256 is missing; GitHub sends it when the webhook has a secret"
  )
end)

test("refusals tell what is wrong, and neither secret nor signature", function()
  local function header(name, value, text)
    local request = signed(name, BODY)
    local expected = request.headers[SIGNATURES[name]]:match "[%w+/=]+$"
    request.headers[SIGNATURES[name]] = value
    local message = refuses(webhooks[name] { secret = SECRETS[name] }, request, text)
    for _, kept in ipairs { expected, SECRETS[name], value } do
      truthy(not message:find(kept, 1, true), message)
    end
  end
  local hex, base64 = ("ab"):rep(32), crypto.base64(("\1"):rep(32))
  header("github", hex, 'the header X-Hub-Signature-256 has no part that begins with "sha256="')
  header("github", "sha1=" .. ("ab"):rep(20), 'has no part that begins with "sha256="')
  header("github", "SHA256=" .. hex, 'has no part that begins with "sha256="')
  header("github", "sha256=" .. hex:sub(3), "the header X-Hub-Signature-256 has no signature that is 32 bytes in hex")
  header("github", "sha256=" .. hex .. "00", "has no signature that is 32 bytes in hex")
  header("github", "sha256=" .. base64, "has no signature that is 32 bytes in hex")
  header("github", "sha256=" .. hex, "is not one of this body: the secret is another, or the body was changed")
  header("shopify", base64:sub(1, -2), "the header X-Shopify-Hmac-Sha256 has no signature that is 32 bytes in base64")
  header("shopify", base64, "is not one of this body")
  header("shopify", " ,\t ", "the header X-Shopify-Hmac-Sha256 has no part")
  header("slack", "v1=" .. hex, 'the header X-Slack-Signature has no part that begins with "v0="')
  header("stripe", "v1=" .. hex, 'the header Stripe-Signature has no part that begins with "t="')
  header("stripe", "t=" .. time.nowMs() // 1000, 'the header Stripe-Signature has no part that begins with "v1="')
  header("stripe", "t=1,t=2,v1=" .. hex, 'the header Stripe-Signature has "t=" more than once')
  header("stripe", "t=x,v1=" .. hex, "the moment of signing in the header Stripe-Signature is not in Unix seconds")
  header("stripe", ("v1=%s,"):format(hex):rep(33), "the header Stripe-Signature has more than 32 parts")
  header("standard", "v1a," .. base64 .. " v2," .. base64, 'the header webhook-signature has no part that begins with "v1,"')
  header("standard", "v1," .. hex, "the header webhook-signature has no signature that is 32 bytes in base64")
end)

test("of several signatures one must be good", function()
  local hex = ("ab"):rep(32)
  local request = signed("stripe", BODY)
  local header = request.headers["stripe-signature"]
  request.headers["stripe-signature"] = header:gsub(",v1=", ",v1=" .. hex .. ",v1=zz, v1=") .. ",v0=" .. hex
  accepts(webhooks.stripe { secret = SECRETS.stripe }, request)
  request.headers["stripe-signature"] = header:gsub("v1=", "v0=") .. ",v1=" .. hex
  refuses(webhooks.stripe { secret = SECRETS.stripe }, request, "is not one of this body")

  request = signed("standard", BODY)
  header = request.headers["webhook-signature"]
  request.headers["webhook-signature"] = "v1a,AAAA v1," .. crypto.base64(hex:sub(1, 32)) .. "  " .. header
  accepts(webhooks.standard { secret = STANDARD_SECRET }, request)

  request = signed("github", BODY)
  request.headers["x-hub-signature-256"] = "sha256=" .. hex .. ", " .. request.headers["x-hub-signature-256"]
  accepts(webhooks.github { secret = SECRETS.github }, request)
  request = signed("github", BODY)
  request.headers["x-hub-signature-256"] = request.headers["x-hub-signature-256"]:upper():gsub("^SHA", "sha")
  accepts(webhooks.github { secret = SECRETS.github }, request, "digits in upper case")
end)

test("the time of signing", function()
  local now = 1700000000000
  at(now, function()
    for _, name in ipairs(TIMED) do
      local verify = webhooks[name] { secret = SECRETS[name] }
      local short = webhooks[name] { secret = SECRETS[name], tolerance = 10 }
      for _, seconds in ipairs { 0, 10, 300, -10, -300 } do
        accepts(verify, signed(name, BODY, { time = now + seconds * 1000 }), name .. " " .. seconds)
      end
      refuses(verify, signed(name, BODY, { time = now - 301000 }), "it was signed 301 s ago, and option tolerance allows 300")
      refuses(verify, signed(name, BODY, { time = now + 301000 }), "it was signed 301 s in the future, and option tolerance allows 300")
      accepts(short, signed(name, BODY, { time = now - 10000 }))
      refuses(short, signed(name, BODY, { time = now - 11000 }), "it was signed 11 s ago, and option tolerance allows 10")
      refuses(short, signed(name, BODY, { time = now + 11000 }), "it was signed 11 s in the future")
      accepts(webhooks[name] { secret = SECRETS[name], tolerance = 0 }, signed(name, BODY))

      -- an old delivery with a new time is not what was signed
      local old, new = signed(name, BODY, { time = now - 3600000 }), signed(name, BODY)
      local header = SIGNATURES[name]
      if name == "stripe" then
        old.headers[header] = old.headers[header]:gsub("t=%d+", (new.headers[header]:match "t=%d+"))
      else
        old.headers[header], new.headers[header] = nil, old.headers[header]
        old = new
      end
      refuses(verify, old, "is not one of this body")
    end
  end)
  local request = signed("slack", BODY)
  for _, text in ipairs { "now", "1e9", "-1", "0x10", "170000000000", "17000000 00", "1700000000.5", "\0" } do
    request.headers["x-slack-request-timestamp"] = text
    refuses(
      webhooks.slack { secret = SECRETS.slack },
      request,
      "the moment of signing in the header X-Slack-Request-Timestamp is not in Unix seconds"
    )
  end
  request.headers["x-slack-request-timestamp"] = nil
  refuses(webhooks.slack { secret = SECRETS.slack }, request, "the header X-Slack-Request-Timestamp is missing")
  request = signed("zendesk", BODY)
  for _, text in ipairs { "1700000000", "yesterday", "2021-13-01T00:00:00Z" } do
    request.headers["x-zendesk-webhook-signature-timestamp"] = text
    refuses(webhooks.zendesk { secret = SECRETS.zendesk }, request, "is not in ISO 8601")
  end
end)

-- ---- secrets ----

test("secrets that change", function()
  for name, secret in next, SECRETS do
    local old = name == "standard" and "whsec_" .. crypto.base64 "the old one, 24 bytes.." or "old"
    local both = webhooks[name] { secret = { secret, old } }
    accepts(both, signed(name, BODY), name)
    accepts(both, signed(name, BODY, { secret = old }), name)
    local stranger = name == "standard" and "whsec_" .. crypto.base64 "a stranger's, 24 bytes." or "stranger"
    refuses(both, signed(name, BODY, { secret = stranger }), "is not one of this body")
    refuses(webhooks[name] { secret = secret }, signed(name, BODY, { secret = old }), "is not one of this body")

    -- providers that send several signatures sign with every secret, the others with the first
    local request = signed(name, BODY, { secret = { old, secret } })
    accepts(webhooks[name] { secret = old }, request, name)
    if name == "stripe" or name == "standard" then
      accepts(webhooks[name] { secret = secret }, request, name)
    end
  end
  -- a list may have holes where a variable is not set
  for _, list in ipairs { { nil, SECRETS.github }, { nil, SECRETS.github, nil }, { "", SECRETS.github }, { [7] = SECRETS.github } } do
    accepts(webhooks.github { secret = list }, signed("github", BODY))
    accepts(
      webhooks.github {
        secret = function()
          return list
        end,
      },
      signed("github", BODY)
    )
  end
  local first = webhooks.github.sign("x", { secret = { nil, "", "one", nil, "two" } })
  equal(first["X-Hub-Signature-256"], "sha256=" .. crypto.hmac("sha256", "one", "x"))
end)

test("secrets that are read when they are needed", function()
  local calls = 0
  local verify = webhooks.github {
    secret = function()
      calls = calls + 1
      return env.HOOK_SECRET
    end,
  }
  equal(calls, 0)
  local request = signed("github", BODY)
  local message = "webhooks.github: option \"secret\" gives no secret: set the variable that it reads with `workers env set NAME=…`, or in .env"
  raises(verify, message, request)
  -- nothing is accepted without a secret, signed with an empty one or not signed at all
  raises(verify, message, request_of(BODY, {}))
  local empty = "sha256=" .. crypto.hmac("sha256", "", BODY)
  raises(verify, message, request_of(BODY, { ["X-Hub-Signature-256"] = empty }))
  testing.setenv("HOOK_SECRET", "")
  raises(verify, message, request_of(BODY, { ["X-Hub-Signature-256"] = empty }))
  testing.setenv("HOOK_SECRET", SECRETS.github)
  accepts(verify, request)
  testing.setenv("HOOK_SECRET", "another")
  refuses(verify, request, "is not one of this body")
  testing.setenv("HOOK_SECRET", nil)
  equal(calls, 6)

  local function gives(value, text)
    local err = raises(
      webhooks.github {
        secret = function()
          return value
        end,
      },
      text,
      request
    )
    equal(type(err), "string")
  end
  gives({}, 'webhooks.github: option "secret" gives no secret')
  gives({ "", "" }, 'webhooks.github: option "secret" gives no secret')
  gives(5, 'webhooks.github: option "secret" must give a string or a list of strings, got a number')
  gives(print, 'must give a string or a list of strings, got a function')
  gives({ SECRETS.github, 5 }, "must give a string or a list of strings, got a table of something else")
  raises(
    webhooks.github {
      secret = function()
        return env.require "HOOK_SECRET"
      end,
    },
    "the environment variable HOOK_SECRET is not set: set it with `workers env set HOOK_SECRET=…`",
    request
  )
  for _, secret in ipairs { "whsec_", "whsec_not base64", "whpk_" .. crypto.base64 "key", "whsk_x" } do
    local err = raises(webhooks.standard { secret = secret }, 'webhooks.standard: option "secret": a secret ', signed("standard", BODY))
    truthy(not err:find("not base64", 1, true) and not err:find("a2V5", 1, true), err)
    equal(err:find("not a key of asymmetric signatures", 1, true) ~= nil, secret:find "^whpk" ~= nil or secret:find "^whsk" ~= nil)
  end
end)

test("misuse", function()
  misuse('webhooks.github: option "secret" is missing: give a string, a list of strings, or a function', webhooks.github, {})
  misuse("set the variable with `workers env set WEBHOOK_SECRET=…`, or in .env", webhooks.github, { secret = env.NO_SUCH_SECRET })
  misuse('webhooks.github: option "secret" is missing', webhooks.github, { secret = "" })
  misuse('webhooks.github: option "secret" is missing', webhooks.github, { secret = {} })
  misuse('webhooks.github: option "secret" must hold a secret', webhooks.github, { secret = 5 })
  misuse('webhooks.github: option "secret" must hold a secret', webhooks.github, { secret = { "a", true } })
  misuse('webhooks.github: option "secret" must hold a secret', webhooks.github, { secret = { a = "a" } })
  misuse("webhooks.github: expected a table of options, got nothing", webhooks.github)
  misuse('webhooks.github: unknown option "secrt"; did you mean "secret"?', webhooks.github, { secrt = "x" })
  misuse('webhooks.github: unknown option "tolerance"; the options are: secret', webhooks.github, { secret = "x", tolerance = 5 })
  misuse('webhooks.stripe: option "tolerance" must be a number of at least 0 (seconds), got -1', webhooks.stripe, { secret = "x", tolerance = -1 })
  misuse('webhooks.notion: option "token" is missing', webhooks.notion, {})
  misuse('webhooks.notion: unknown option "secret"', webhooks.notion, { secret = "x" })
  misuse('webhooks.github.sign: option "secret" is missing', webhooks.github.sign, "", {})
  misuse("webhooks.github.sign: argument 1: expected the body's bytes, or a request with rawBody, got 5", webhooks.github.sign, 5, { secret = "x" })
  misuse("got a table", webhooks.github.sign, { body = {} }, { secret = "x" })
  misuse('webhooks.stripe.sign: unknown option "tme"; did you mean "time"?', webhooks.stripe.sign, "", { secret = "x", tme = 1 })
  misuse('webhooks.stripe.sign: option "time" must be a whole number of at least 0', webhooks.stripe.sign, "", { secret = "x", time = 1.5 })
  misuse('webhooks.stripe.sign: option "time" must be Unix milliseconds', webhooks.stripe.sign, "", { secret = "x", time = math.maxinteger })
  misuse('webhooks.standard.sign: option "secret": a secret must be base64', webhooks.standard.sign, "", { secret = "-" })
  misuse('webhooks has no function "gitub"; did you mean "github"?', function()
    return webhooks.gitub
  end)
  misuse('webhooks.github has no function "singn"; did you mean "sign"?', function()
    return webhooks.github.singn
  end)
  misuse('webhooks.hmac has no function "idempotencyKey"; only "sign" is valid', function()
    return webhooks.hmac.idempotencyKey
  end)
  for _, request in ipairs { 5, {}, { headers = {} }, { rawBody = "" }, { headers = {}, rawBody = 5 } } do
    raises(webhooks.github { secret = "x" }, "webhooks.github: the request must have headers, and its bytes as rawBody", request)
  end
end)

-- ---- one provider each ----

test("Slack's challenge", function()
  local verify = webhooks.slack { secret = SECRETS.slack }
  local function challenge(value, more)
    local body = { token = "Jhj5dZrVaK7ZwHHjRyZWjbDl", challenge = value, type = "url_verification" }
    return request_of(json.encode(body), webhooks.slack.sign(json.encode(body), { secret = SECRETS.slack }), more)
  end
  local request = challenge "3eZbrw1aB10FEMAGAZd4FyFQ"
  local answer = {
    status = 200,
    headers = { ["content-type"] = "text/plain; charset=utf-8" },
    body = "3eZbrw1aB10FEMAGAZd4FyFQ",
  }
  equal(verify(request), answer)
  request.body = json.decode(request.rawBody)
  equal(verify(request), answer)
  equal(#verify(challenge(("x"):rep(8192))).body, 8192)
  refuses(verify, challenge(("x"):rep(8193)), "webhooks.slack: the challenge must be a text of at most 8192 bytes")
  refuses(verify, challenge(5), "the challenge must be a text")
  request.headers["x-slack-signature"] = "v0=" .. ("00"):rep(32)
  refuses(verify, request, "is not one of this body")
end)

test("Notion's token", function()
  local token, other = "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl", "secret_of_somebody_else"
  local verify = webhooks.notion {
    token = function()
      return env.NOTION_TOKEN
    end,
  }
  local function first(value)
    return request_of(json.encode { verification_token = value }, {})
  end
  local answer = { status = 200, headers = { ["content-type"] = "text/plain; charset=utf-8" }, body = "ok" }
  testing.logs()
  equal(verify(first(token)), answer)
  equal(testing.logs(), {
    {
      "warn",
      ("webhooks.notion: the verification token is %s; enter it in Notion, "):format(token)
        .. 'and set the variable that option "token" reads with `workers env set NAME=…`',
    },
  })
  for _, text in ipairs { "", "a b", "secret\n", ("x"):rep(257) } do
    refuses(verify, first(text), "webhooks.notion: the verification token must be letters, digits, _ and -, at most 256")
  end
  equal(testing.logs(), {})
  -- no event is taken while there is no token
  local event = '{"id":"367cba44-b6f3-4c92-81e7-6a2e9659efd4","type":"page.created"}'
  local request = request_of(event, webhooks.notion.sign(event, { token = token }))
  raises(verify, 'webhooks.notion: option "token" gives no secret: set the variable that it reads with `workers env set', request)
  raises(verify, 'webhooks.notion: option "token" gives no secret', first(5))

  testing.setenv("NOTION_TOKEN", token)
  accepts(verify, request)
  equal(webhooks.notion.idempotencyKey(request), "367cba44-b6f3-4c92-81e7-6a2e9659efd4")
  refuses(verify, request_of(event .. " ", request.headers), "is not one of this body")
  refuses(verify, request_of(event, {}), "webhooks.notion: the header X-Notion-Signature is missing")
  -- once it is set, nobody can put another in its place
  equal(verify(first(token)), answer)
  refuses(verify, first(other), "webhooks.notion: a verification token came that is not the one that is set")
  refuses(verify, request_of(event, webhooks.notion.sign(event, { token = other })), "is not one of this body")
  equal(testing.logs(), {})
  testing.setenv("NOTION_TOKEN", nil)
end)

test("ids of deliveries", function()
  local function key(name, headers, more)
    return webhooks[name].idempotencyKey(request_of("", headers, more))
  end
  equal(key("github", { ["X-GitHub-Delivery"] = "72d3162e" }), "72d3162e")
  equal(key("shopify", { ["X-Shopify-Webhook-Id"] = "b54557e4", ["X-Shopify-Event-Id"] = "98880550" }), "b54557e4")
  equal(key("shopify", { ["X-Shopify-Event-Id"] = "98880550" }), "98880550")
  equal(key("zendesk", { ["X-Zendesk-Webhook-Invocation-Id"] = "8350205582" }), "8350205582")
  equal(key("standard", { ["webhook-id"] = "msg_1" }), "msg_1")
  equal(key("standard", { ["svix-id"] = "msg_2" }), "msg_2")
  equal(key("stripe", {}, { body = { id = "evt_1" } }), "evt_1")
  equal(key("stripe", {}, { rawBody = '{"id":"evt_2"}' }), "evt_2")
  equal(key("slack", {}, { body = { event_id = "Ev08MFMKH6" } }), "Ev08MFMKH6")
  equal(key("notion", {}, { rawBody = '{"id":"367cba44"}' }), "367cba44")
  for name in next, SECRETS do
    equal(key(name, {}), nil, name)
    equal(key(name, {}, { rawBody = "[1]" }), nil, name)
    equal(key(name, {}, { rawBody = "not JSON" }), nil, name)
    equal(key(name, {}, { body = { id = 5, event_id = json.null } }), nil, name)
    -- what the signer makes has one, unless it is in the body
    local request = request_of("{}", webhooks[name].sign("{}", { secret = SECRETS[name] }))
    equal(type(webhooks[name].idempotencyKey(request)), (name == "stripe" or name == "slack") and "nil" or "string", name)
  end
end)

test("any other header", function()
  local function round_trip(options, body, name)
    options.secret = "hush"
    local headers = webhooks.hmac.sign(body, options)
    local verify = webhooks.hmac(options)
    accepts(verify, request_of(body, headers), name)
    refuses(verify, request_of(body .. "x", headers), "webhooks.hmac: the signature in the header")
    return headers
  end
  equal(round_trip({ header = "X-Signature" }, "data"), {
    ["X-Signature"] = crypto.hmac("sha256", "hush", "data"),
    ["Content-Type"] = "application/json",
  })
  for _, algorithm in ipairs { "sha1", "sha256", "sha384", "sha512" } do
    for _, encoding in ipairs { "hex", "base64", "base64url" } do
      for _, prefix in ipairs { "", "sig=", "v1,", "sha256 " } do
        local options = { header = "X-S", algorithm = algorithm, encoding = encoding, prefix = prefix ~= "" and prefix or nil }
        local headers = round_trip(options, BODY, algorithm .. encoding .. prefix)
        equal(headers["X-S"], prefix .. crypto.hmac(algorithm, "hush", BODY, encoding))
      end
    end
  end
  local timed = { header = "X-S", timestampHeader = "X-Time", time = 1700000000999, tolerance = EVER }
  local headers = webhooks.hmac.sign("data", { secret = "hush", header = "X-S", timestampHeader = "X-Time", time = 1700000000999 })
  equal(headers["X-Time"], "1700000000")
  equal(headers["X-S"], crypto.hmac("sha256", "hush", "1700000000.data"))
  timed.secret, timed.time = "hush", nil
  accepts(webhooks.hmac(timed), request_of("data", headers))
  timed.tolerance = nil
  refuses(webhooks.hmac(timed), request_of("data", headers), "s ago, and option tolerance allows 300")
  at(1700000000500, function()
    local verify = webhooks.hmac(timed)
    for _, text in ipairs { "1700000000", "1700000000123", "2023-11-14T22:13:20Z", "2023-11-14T23:13:20.5+01:00", "1700000300", "1699999700999" } do
      accepts(verify, request_of("d", { ["X-Time"] = text, ["X-S"] = crypto.hmac("sha256", "hush", text .. ".d") }), text)
    end
    for _, text in ipairs { "1700000301", "1699999699999", "2023-11-14T22:13:20+05:00" } do
      refuses(verify, request_of("d", { ["X-Time"] = text, ["X-S"] = crypto.hmac("sha256", "hush", text .. ".d") }), "it was signed")
    end
    refuses(verify, request_of("d", { ["X-Time"] = "soon", ["X-S"] = ("00"):rep(32) }), "is not in Unix seconds or milliseconds, or in ISO 8601")
    refuses(verify, request_of("d", { ["X-Time"] = ("9"):rep(16), ["X-S"] = ("00"):rep(32) }), "is not in Unix seconds")
    refuses(verify, request_of("d", { ["X-S"] = ("00"):rep(32) }), "the header X-Time is missing")
  end)

  -- what is signed may be anything of the request
  local seen
  local options = {
    secret = "hush",
    header = "X-S",
    payload = function(request, timestamp)
      seen = { request.method, request.url, request.headers["x-id"], timestamp or "none" }
      return request.url .. request.rawBody
    end,
  }
  local made = webhooks.hmac.sign({ rawBody = "b", url = "/hook", headers = { ["X-Id"] = "7" } }, options)
  equal(seen, { "POST", "/hook", "7", "none" })
  equal(made["X-S"], crypto.hmac("sha256", "hush", "/hookb"))
  accepts(webhooks.hmac(options), request_of("b", made))
  options.payload = function() end
  raises(webhooks.hmac(options), 'webhooks.hmac: option "payload" must return the bytes that are signed, returned nothing', request_of("b", made))

  misuse('webhooks.hmac: option "header" is missing: the header that holds the signature', webhooks.hmac, { secret = "x" })
  misuse('webhooks.hmac: option "algorithm": "sha265" is not valid; did you mean "sha256"?', webhooks.hmac, { secret = "x", header = "h", algorithm = "sha265" })
  misuse('webhooks.hmac: option "algorithm": "md5" is not valid', webhooks.hmac, { secret = "x", header = "h", algorithm = "md5" })
  misuse('webhooks.hmac: option "encoding": "raw" is not valid', webhooks.hmac, { secret = "x", header = "h", encoding = "raw" })
  misuse('webhooks.hmac: option "tolerance" needs "timestampHeader"', webhooks.hmac, { secret = "x", header = "h", tolerance = 5 })
  misuse('webhooks.hmac: option "encoding": "raw" is not valid', webhooks.hmac.sign, "", { secret = "x", header = "h", encoding = "raw" })
end)

-- ---- for the program ----

test("the signer of a verify function", function()
  for name, secret in next, SECRETS do
    local verify = webhooks[name] {
      secret = function()
        return secret
      end,
    }
    equal(type(verify), "function")
    local sign = webhooks.signer(verify)
    accepts(verify, request_of(BODY, sign(BODY)), name)
    accepts(verify, request_of(BODY, sign { rawBody = BODY, headers = {} }), name)
  end
  local sign = webhooks.signer(webhooks.github { secret = "hush" })
  equal(sign("x", { id = "d", event = "ping" })["X-GitHub-Delivery"], "d")
  equal(sign("x", { secret = "other" })["X-Hub-Signature-256"], "sha256=" .. crypto.hmac("sha256", "other", "x"))
  misuse('webhooks.github.sign: unknown option "time"', sign, "x", { time = 5 })
  misuse("webhooks.github.sign: argument 1", sign, nil)
  sign = webhooks.signer(webhooks.hmac { secret = "hush", header = "X-S", encoding = "base64" })
  equal(sign("x")["X-S"], crypto.hmac("sha256", "hush", "x", "base64"))
  sign = webhooks.signer(webhooks.notion { token = "hush" })
  equal(sign("x")["X-Notion-Signature"], "sha256=" .. crypto.hmac("sha256", "hush", "x"))
  sign = webhooks.signer(webhooks.github {
    secret = function()
      return nil
    end,
  })
  misuse('webhooks.github.sign: option "secret" gives no secret: set the variable', sign, "x")
  equal(webhooks.signer(print), nil)
  equal(webhooks.signer(nil), nil)
end)

-- ---- nonsense ----

test("whatever stands in the headers, nothing but a refusal comes of it", function()
  math.randomseed(20240607)
  local pieces = {
    "t=", "v1=", "v0=", "v1,", "v1a,", "sha256=", "sha1=", ",", " ", "=", "", "\0", "\r\n", "%s", "%d", "é", "\xFF\xFE", "-", "+",
    ("ab"):rep(32), ("AB"):rep(32), crypto.base64(("\1"):rep(32)), "1700000000", ("9"):rep(30), "1e309", "0x7fffffffffffffff", "nan",
    "2021-07-25T10:00:00Z", "2021-07-25", ("x"):rep(300), ("v1=00,"):rep(40),
  }
  local function text()
    local parts = {}
    for i = 1, math.random(0, 6) do
      parts[i] = math.random() < 0.3 and crypto.randomBytes(math.random(0, 20)) or pieces[math.random(#pieces)]
    end
    return table.concat(parts)
  end
  local verifiers = { notion = webhooks.notion { token = "hush" } }
  for name, secret in next, SECRETS do
    verifiers[name] = webhooks[name] { secret = secret }
  end
  verifiers.hmac = webhooks.hmac { secret = "hush", header = "X-Sig", timestampHeader = "X-Time", prefix = "v1=" }
  local names = {
    "x-hub-signature-256", "stripe-signature", "x-slack-signature", "x-slack-request-timestamp", "x-shopify-hmac-sha256",
    "x-zendesk-webhook-signature", "x-zendesk-webhook-signature-timestamp", "webhook-id", "webhook-timestamp", "webhook-signature",
    "svix-id", "svix-timestamp", "svix-signature", "x-notion-signature", "x-sig", "x-time",
  }
  local others = { 5, true, {}, { "a", "b" }, json.null }
  local now = tostring(time.nowMs() // 1000)
  local messages = {}
  for round = 1, 3000 do
    local request = { method = "POST", headers = {}, rawBody = round % 3 == 0 and '{"verification_token":"a"}' or text() }
    for _, name in ipairs(names) do
      local chance = math.random()
      if chance < 0.05 then
        request.headers[name] = others[math.random(#others)]
      elseif chance < 0.3 and name:find "time" then
        request.headers[name] = now
      elseif chance < 0.9 then
        request.headers[name] = text()
      end
    end
    for name, verify in next, verifiers do
      local message = refuses(verify, request, "webhooks." .. name .. ": ")
      truthy(#message < 250 and not message:find "[%c\x80-\xff]", message)
      messages[message:gsub("%d+ s", "N s")] = true
    end
  end
  local count = 0
  for _ in next, messages do
    count = count + 1
  end
  truthy(count > 30, "the nonsense reaches many refusals: " .. count)
end)

return tap.run
