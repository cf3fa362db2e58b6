local crypto = require "workers.crypto"
local json = require "workers.json"
local keys = require "crypto_keys"
local tap = require "tap"
local time = require "workers.time"
local workers = require "workers"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy

local SECRET = ("secret"):rep(8)
local NOW = 1700000000000 -- milliseconds

-- Calls crypto.jwtVerify, which must refuse the token with this code and text.
local function refused(code, text, token, key, options)
  local err = raises(crypto.jwtVerify, "crypto.jwtVerify: " .. text, token, key, options)
  equal(type(err), "table", "an error object")
  equal(err.name, "JwtError")
  equal(err.code, code)
  equal(tostring(err), err.message)
end

local function hs(changes)
  local options = { algorithms = { "HS256" }, now = NOW }
  for name, value in next, changes or {} do
    options[name] = value
  end
  return options
end

-- A token of these texts, signed with SECRET.
local function forge(header, claims)
  local text = crypto.base64url(header) .. "." .. crypto.base64url(claims)
  return text .. "." .. crypto.hmac("sha256", SECRET, text, "base64url")
end

test("RFC 7515, appendix A: HS256, RS256, ES256", function()
  for _, case in ipairs {
    { "HS256", keys.secretToken, crypto.fromBase64url(keys.secret) },
    { "RS256", keys.rsaToken, crypto.keyFromJwk(keys.public(keys.rsaJwk)) },
    { "ES256", keys.ecToken, crypto.keyFromJwk(keys.public(keys.ecJwk)) },
    { "ES256", keys.ecToken, crypto.keyFromJwk(keys.ecJwk) },
  } do
    local algorithm, token, key = table.unpack(case)
    local claims, header = crypto.jwtVerify(token, key, { algorithms = { algorithm }, now = 1300819379999 })
    equal(claims.iss, "joe")
    equal(claims.exp, 1300819380)
    equal(claims["http://example.com/is_root"], true)
    equal(header.alg, algorithm)
    refused("expired", "the token has expired 0 seconds ago", token, key, { algorithms = { algorithm }, now = 1300819380000 })
    refused("expired", "the token has expired ", token, key, { algorithms = { algorithm } })
  end
end)

test("RS256 signs as RFC 7515, appendix A.2 does", function()
  local text = crypto.base64url '{"alg":"RS256"}'
  equal(keys.rsaToken:sub(1, #text), text)
  -- Its claims have blanks that an encoder does not write, so the header and the claims are compared by meaning.
  local claims, header = crypto.jwtDecode(keys.rsaToken)
  local key = crypto.keyFromJwk(keys.rsaJwk)
  local token = crypto.jwtSign(claims, key, { algorithm = "RS256" })
  local again, header_again = crypto.jwtVerify(token, key, { algorithms = { "RS256" }, now = 1300819379000 })
  equal(again, claims)
  equal(header_again, { alg = header.alg, typ = "JWT" })
end)

test("every algorithm, both ways", function()
  local pairs_of_keys = {
    HS256 = { SECRET, SECRET },
    HS384 = { SECRET, SECRET },
    HS512 = { SECRET, SECRET },
    RS256 = { crypto.keyFromJwk(keys.rsaJwk), crypto.keyFromJwk(keys.public(keys.rsaJwk)) },
    ES256 = { crypto.privateKey(keys.pkcs8), crypto.publicKey(keys.certificate) },
    EdDSA = { crypto.privateKey(keys.ed25519), crypto.publicKey(keys.ed25519Public) },
  }
  pairs_of_keys.RS384, pairs_of_keys.RS512 = pairs_of_keys.RS256, pairs_of_keys.RS256
  local count = 0
  for algorithm, pair in next, pairs_of_keys do
    local claims = { sub = "42", n = 9007199254740993, f = 0.1, list = json.array {}, none = workers.null, ["ü"] = "\0é" }
    local token = crypto.jwtSign(claims, pair[1], { algorithm = algorithm, header = { kid = "k1", typ = "at+jwt" } })
    equal(select(2, token:gsub("%.", "")), 2)
    truthy(token:find "^[%w_.-]+$", "the token is base64url")
    local back, header = crypto.jwtVerify(token, pair[2], { algorithms = { algorithm } })
    equal(back, claims)
    equal(header, { alg = algorithm, kid = "k1", typ = "at+jwt" })
    -- every single character counts
    for position = 1, #token, 7 do
      local c = token:sub(position, position)
      if c ~= "." then
        local changed = token:sub(1, position - 1) .. (c == "A" and "B" or "A") .. token:sub(position + 1)
        local err = raises(crypto.jwtVerify, "the token", changed, pair[2], { algorithms = { algorithm } })
        truthy(err.code == "signature" or err.code == "malformed" or err.code == "algorithm", err.code)
      end
    end
    count = count + 1
  end
  equal(count, 8)
end)

test("one value, one text", function()
  local token = crypto.jwtSign({ b = 1, a = 2 }, SECRET, { algorithm = "HS256" })
  equal(crypto.fromBase64url(token:match "^([^.]+)%."), '{"alg":"HS256","typ":"JWT"}')
  equal(crypto.fromBase64url(token:match "%.([^.]+)%."), '{"a":2,"b":1}')
  equal(crypto.jwtSign({}, SECRET, { algorithm = "HS256" }):match "%.([^.]+)%.", crypto.base64url "{}")
end)

test("dates", function()
  local token = crypto.jwtSign({ exp = NOW // 1000 + 60, nbf = NOW // 1000 - 60 }, SECRET, { algorithm = "HS256" })
  local function at(seconds, leeway)
    return token, SECRET, hs { now = NOW + seconds * 1000, leeway = leeway }
  end
  for _, good in ipairs { { 0 }, { -60 }, { 59 }, { 60, 1 }, { 69, 10 }, { -61, 1 }, { -61, 1.5 } } do
    equal(crypto.jwtVerify(at(good[1], good[2])).exp, NOW // 1000 + 60)
  end
  refused("expired", "the token has expired 0 seconds ago", at(60))
  refused("expired", "the token has expired 10 seconds ago", at(70, 10))
  refused("notYet", "the token is valid in 1 seconds, not yet", at(-61))
  refused("notYet", "the token is valid in 12 seconds, not yet", at(-72, 11))
  -- fractions are dates (RFC 7519, section 2), texts are not
  local fraction = forge('{"alg":"HS256"}', ('{"exp":%d.5}'):format(NOW // 1000))
  equal(crypto.jwtVerify(fraction, SECRET, hs { now = NOW + 499 }).exp, NOW // 1000 + 0.5)
  refused("expired", "the token has expired", fraction, SECRET, hs { now = NOW + 500 })
  for _, name in ipairs { "exp", "nbf", "iat" } do
    for _, value in ipairs { '"1"', "null", "{}", "true", "[1]" } do
      local odd = forge('{"alg":"HS256"}', ('{"%s":%s}'):format(name, value))
      refused("malformed", ('the token\'s claim "%s" is no number'):format(name), odd, SECRET, hs())
    end
  end
  refused("expired", "the token has expired", forge('{"alg":"HS256"}', '{"exp":-1e308}'), SECRET, hs())
  -- without now it is the clock that counts
  local fresh = crypto.jwtSign({ exp = time.nowMs() // 1000 + 60 }, SECRET, { algorithm = "HS256" })
  truthy(crypto.jwtVerify(fresh, SECRET, { algorithms = { "HS256" } }).exp)
end)

test("issuer and audience", function()
  local function token(claims)
    return crypto.jwtSign(claims, SECRET, { algorithm = "HS256" })
  end
  local google = token { iss = "https://accounts.google.com", aud = "me" }
  equal(crypto.jwtVerify(google, SECRET, hs { issuer = "https://accounts.google.com", audience = "me" }).aud, "me")
  equal(crypto.jwtVerify(google, SECRET, hs { issuer = { "x", "https://accounts.google.com" }, audience = { "x", "me" } }).aud, "me")
  refused(
    "issuer",
    'the token\'s issuer is "https://accounts.google.com", which is not expected',
    google,
    SECRET,
    hs { issuer = "https://accounts.google.com/", audience = "me" }
  )
  refused("audience", 'the token\'s audience is "me", which is not expected', google, SECRET, hs { audience = { "you", "ME" } })
  refused("audience", "the token is for an audience; say with option", google, SECRET, hs())
  local many = token { aud = json.array { "a", "b" } }
  equal(crypto.jwtVerify(many, SECRET, hs { audience = { "c", "b" } }).aud, json.array { "a", "b" })
  refused("audience", "none of the token's audiences is expected", many, SECRET, hs { audience = "c" })
  refused("audience", "none of the token's audiences", token { aud = json.array {} }, SECRET, hs { audience = "c" })
  local bare = token { sub = "x" }
  equal(crypto.jwtVerify(bare, SECRET, hs()).sub, "x")
  refused("issuer", "the token names no issuer", bare, SECRET, hs { issuer = "x" })
  refused("audience", "the token names no audience", bare, SECRET, hs { audience = "x" })
  refused("malformed", 'the token\'s claim "iss" is no string', token { iss = 1 }, SECRET, hs())
  refused("malformed", 'the token\'s claim "aud" is neither a string nor a list', token { aud = 1 }, SECRET, hs())
  refused("malformed", 'the token\'s claim "aud" is neither', token { aud = { a = 1 } }, SECRET, hs { audience = "a" })
  refused("malformed", 'the token\'s claim "aud" has something else', token { aud = json.array { "a", 1 } }, SECRET, hs { audience = "a" })
  -- what a token says stands in a message only as far as it is printable
  local long = token { iss = "a\n\27" .. ("é"):rep(100) }
  refused("issuer", 'the token\'s issuer is "a??' .. ("?"):rep(57) .. '...", which', long, SECRET, hs { issuer = "x" })
end)

test("the algorithm is the caller's choice", function()
  local public = crypto.keyFromJwk(keys.public(keys.rsaJwk))
  local token = crypto.jwtSign({ sub = "x" }, SECRET, { algorithm = "HS256" })
  refused(
    "algorithm",
    'the token is signed with HS256, which option "algorithms" does not accept',
    token,
    SECRET,
    hs { algorithms = { "HS512", "HS384" } }
  )
  -- RS256 taken for HS256, the public key for the secret (RFC 8725, section 2.1)
  local err = "the token is signed with HS256, which takes a secret (a string); the key given is RSA public key of 2048 bits"
  refused("algorithm", err, token, public, hs { algorithms = { "HS256", "RS256" } })
  raises(crypto.jwtVerify, 'option "algorithms": none of them goes with argument 2 (key): RSA public key of 2048 bits', token, public, hs())
  raises(crypto.jwtVerify, "argument 2 (key) is the text of a key, which is no secret; read it with", token, keys.spki, hs())
  raises(crypto.jwtSign, "argument 2 (key) is the text of a key", {}, "ssh-rsa AAAA", { algorithm = "HS256" })
  refused(
    "algorithm",
    "the token is signed with ES256, which takes a P-256 key; the key given is RSA public key of 2048 bits",
    keys.ecToken,
    public,
    hs { algorithms = { "ES256", "RS256" } }
  )
  for _, none in ipairs { "none", "None", "NONE", "nOnE" } do
    local unsigned = crypto.base64url(('{"alg":"%s"}'):format(none)) .. "." .. crypto.base64url "{}" .. "."
    refused("algorithm", 'the token is not signed: its algorithm is "none"', unsigned, SECRET, hs())
    raises(crypto.jwtVerify, '"none" is refused always', unsigned, SECRET, hs { algorithms = { none } })
    raises(crypto.jwtSign, '"none" is refused always', {}, SECRET, { algorithm = none })
  end
  refused("algorithm", "the token is signed with an unknown algorithm", forge('{"alg":"hs256"}', "{}"), SECRET, hs())
  refused("algorithm", "the token is signed with an unknown algorithm", forge('{"alg":"HS256\\u0000"}', "{}"), SECRET, hs())
  refused("malformed", "the token's header names no algorithm", forge("{}", "{}"), SECRET, hs())
  refused("malformed", "the token's header names no algorithm", forge('{"alg":null}', "{}"), SECRET, hs())
  for _, critical in ipairs { "[]", '["exp"]', "null", '["b64"]' } do
    local header = ('{"alg":"HS256","crit":%s,"b64":true}'):format(critical)
    refused("malformed", "the token's header has extensions that must be understood (crit)", forge(header, "{}"), SECRET, hs())
  end
end)

test("a signature is not taken for another", function()
  local token = crypto.jwtSign({ sub = "x" }, SECRET, { algorithm = "HS256" })
  local text = token:match "^(.*)%."
  refused("signature", "the token's signature is not that of the key", token, SECRET .. "x", hs())
  refused("signature", "the token's signature is not that of the key", text .. ".", SECRET, hs())
  refused("signature", "the token's signature", text .. "." .. crypto.hmac("sha256", SECRET, text, "base64url"):sub(1, 40), SECRET, hs())
  refused("signature", "the token's signature", text .. "." .. crypto.hmac("sha512", SECRET, text, "base64url"), SECRET, hs())
  -- ECDSA: DER in the place of r and s; zeros (CVE-2022-21449)
  local key = crypto.keyFromJwk(keys.ecJwk)
  text = keys.ecToken:match "^(.*)%."
  local options = { algorithms = { "ES256" }, now = 1300819379000 }
  refused("signature", "the token's signature", text .. "." .. crypto.base64url(crypto.sign(key, text)), key, options)
  refused("signature", "the token's signature", text .. "." .. crypto.base64url(("\0"):rep(64)), key, options)
  refused("signature", "the token's signature", text .. "." .. crypto.base64url(("\255"):rep(64)), key, options)
  refused("signature", "the token's signature", keys.ecToken, crypto.publicKey(keys.spki), options)
end)

test("malformed tokens", function()
  local token = crypto.jwtSign({ sub = "x" }, SECRET, { algorithm = "HS256" })
  local header, claims, signature = token:match "^(.*)%.(.*)%.(.*)$"
  local function malformed(text, ...)
    refused("malformed", text, table.concat({ ... }, "."), SECRET, hs())
  end
  malformed("the token has 1 parts, not the 3 of a signed one", "")
  malformed("the token has 2 parts, not the 3 of a signed one", header, claims)
  malformed("the token has 4 parts, not the 3 of a signed one", header, claims, signature, "")
  malformed("the token has 5 parts, not the 3 of a signed one; it is encrypted, it seems", "a", "b", "c", "d", "e")
  malformed("the token has 262144 parts", ("."):rep(262143))
  malformed("the token is longer than 262144 bytes", ("a"):rep(1024 * 1024))
  malformed('the token begins with "Bearer"; leave that word out', "Bearer " .. token)
  malformed("the token's signature is padded with '='", header, claims, signature .. "=")
  malformed("the token's header is padded with '='", header .. "=", claims, signature)
  malformed("the token's header is not base64url: character '+' at position 1", "+" .. header:sub(2), claims, signature)
  malformed("the token's header is not base64url: byte 0x00", header .. "\0", claims, signature)
  malformed("the token's signature is not base64url: byte 0x0a", header, claims, signature .. "\n")
  malformed("the token's signature is not base64url: bits left over", header, claims, signature:sub(1, -2) .. "_")
  malformed("the token's header is not a JSON object: line 1, column 1", "", claims, signature)
  for _, text in ipairs { "", "{", "[]", '"x"', "null", "1", '{"alg":"HS256"} x', '{"alg":"HS256",}', "{'alg':1}", '{"alg":"\xff"}' } do
    refused("malformed", "the token's header is not a JSON object", forge(text, "{}"), SECRET, hs())
    refused("malformed", "the token's payload is not a JSON object", forge('{"alg":"HS256"}', text), SECRET, hs())
  end
  refused("malformed", "the token's header has a name twice", forge('{"alg":"none","alg":"HS256"}', "{}"), SECRET, hs())
  refused("malformed", "the token's payload has a name twice", forge('{"alg":"HS256"}', '{"sub":"a","s\\u0075b":"b"}'), SECRET, hs())
  local deep = ("["):rep(100000) .. ("]"):rep(100000)
  refused("malformed", "the token's payload is not a JSON object", forge('{"alg":"HS256"}', '{"a":' .. deep:sub(1, 90000) .. "}"), SECRET, hs())
  for _, value in ipairs { 1, true, {} } do
    raises(crypto.jwtVerify, "crypto.jwtVerify: argument 1 (token): string expected, got " .. type(value), value, SECRET, hs())
  end
end)

test("a huge token within the limit", function()
  local claims = { text = ("x"):rep(190000) }
  local token = crypto.jwtSign(claims, SECRET, { algorithm = "HS256" })
  equal(#crypto.jwtVerify(token, SECRET, hs()).text, 190000)
  raises(crypto.jwtSign, "crypto.jwtSign: the token", { text = ("x"):rep(200000) }, SECRET, { algorithm = "HS256" })
  raises(crypto.jwtSign, "crypto.jwtSign: the claims: ", { text = ("x"):rep(300000) }, SECRET, { algorithm = "HS256" })
end)

test("decoding without a key", function()
  local token = forge('{"alg":"HS256","kid":"7"}', '{"sub":"x","exp":1}')
  local claims, header = crypto.jwtDecode(token)
  equal(claims, { sub = "x", exp = 1 })
  equal(header, { alg = "HS256", kid = "7" })
  equal(crypto.jwtDecode(crypto.base64url '{"alg":"none"}' .. "." .. crypto.base64url '{"a":1}' .. "."), { a = 1 })
  local err = raises(crypto.jwtDecode, "crypto.jwtDecode: the token has 2 parts", "a.b")
  equal(err.name, "JwtError")
  equal(err.code, "malformed")
  raises(crypto.jwtDecode, "crypto.jwtDecode: argument 1 (token): string expected, got nil", nil)
end)

test("misuse of jwtSign", function()
  local hs256 = { algorithm = "HS256" }
  local function fails(text, ...)
    raises(crypto.jwtSign, "crypto.jwtSign: " .. text, ...)
  end
  fails("argument 1 (claims): table expected, got string", "x", SECRET, hs256)
  fails("argument 2 (key): a secret or a key expected, got nil", {}, nil, hs256)
  fails("argument 2 (key): the secret is empty", {}, "", hs256)
  fails("expected a table of options, got nothing", {}, SECRET)
  fails('option "algorithm" is missing: one of HS256', {}, SECRET, {})
  fails('unknown option "alg"', {}, SECRET, { alg = "HS256" })
  fails('option "algorithm": unknown algorithm "RS255"; did you mean "RS256"?', {}, SECRET, { algorithm = "RS255" })
  fails('option "algorithm": unknown algorithm "PS256x0"; use one of HS256', {}, SECRET, { algorithm = "PS256x0" })
  fails("argument 2 (key): RS256 takes an RSA key that is private, got a secret", {}, SECRET, { algorithm = "RS256" })
  fails(
    "argument 2 (key): ES256 takes a P-256 key that is private, got P-256 public key",
    {},
    crypto.publicKey(keys.spki),
    { algorithm = "ES256" }
  )
  fails("argument 2 (key): HS256 takes a secret (a string), got P-256 private key", {}, crypto.privateKey(keys.sec1), hs256)
  fails("the claims: a table with names as keys expected, got a list", { "a" }, SECRET, hs256)
  fails("the claims: at .f: ", { f = print }, SECRET, hs256)
  fails("the claims: ", { ["\xff"] = 1 }, SECRET, hs256)
  fails('claim "exp": seconds since 1970 expected, got milliseconds; divide by 1000: ms // 1000', { exp = NOW }, SECRET, hs256)
  fails('claim "nbf": whole seconds since 1970, as an integer, expected, got 1.5', { nbf = 1.5 }, SECRET, hs256)
  fails('claim "iat": whole seconds since 1970, as an integer, expected, got string', { iat = "1" }, SECRET, hs256)
  fails('claim "exp": whole seconds since 1970, as an integer, expected, got -1', { exp = -1 }, SECRET, hs256)
  for _, name in ipairs { "alg", "crit", "b64" } do
    fails(('option "header": "%s" cannot be set'):format(name), {}, SECRET, { algorithm = "HS256", header = { [name] = "x" } })
  end
  fails('option "header": names as keys expected, got a number key', {}, SECRET, { algorithm = "HS256", header = { "x" } })
  local key = crypto.privateKey(keys.sec1)
  key:close()
  fails("argument 2 (key): the key is closed", {}, key, { algorithm = "ES256" })
end)

test("misuse of jwtVerify", function()
  local token = crypto.jwtSign({}, SECRET, { algorithm = "HS256" })
  local function fails(text, ...)
    raises(crypto.jwtVerify, "crypto.jwtVerify: " .. text, ...)
  end
  fails("expected a table of options, got nothing", token, SECRET)
  fails('option "algorithms" is missing', token, SECRET, {})
  fails('option "algorithms" must be a table', token, SECRET, { algorithms = "HS256" })
  fails('option "algorithms": a list of one to 8 names expected', token, SECRET, { algorithms = {} })
  fails('option "algorithms": the name of an algorithm expected, got number', token, SECRET, { algorithms = { 1 } })
  fails('option "issuer": a non-empty string or a list of strings expected, got number', token, SECRET, hs { issuer = 1 })
  fails('option "issuer": a non-empty string', token, SECRET, hs { issuer = "" })
  fails('option "audience": a non-empty string', token, SECRET, hs { audience = {} })
  fails('option "audience": a non-empty string', token, SECRET, hs { audience = { 1 } })
  for _, leeway in ipairs { -1, 86401, 0 / 0, math.huge } do
    fails('option "leeway": 0 to 86400 seconds expected', token, SECRET, hs { leeway = leeway })
  end
  fails('option "now" must be a whole number (Unix milliseconds)', token, SECRET, hs { now = 1.5 })
  fails('unknown option "issuers"; did you mean "issuer"?', token, SECRET, hs { issuers = "x" })
end)

test("no message holds a secret, a key or the token", function()
  local shown = {}
  local function try(fn, ...)
    local ok, err = pcall(fn, ...)
    if not ok then
      shown[#shown + 1] = type(err) == "table" and err.message or err
    end
  end
  local token = crypto.jwtSign({ sub = "private" }, SECRET, { algorithm = "HS256" })
  try(crypto.jwtVerify, token .. "x", SECRET, hs())
  try(crypto.jwtVerify, token, SECRET .. "x", hs())
  try(crypto.jwtVerify, token, SECRET, { algorithm = "HS256" })
  try(crypto.jwtSign, {}, SECRET, { algorithm = "RS256" })
  try(crypto.privateKey, keys.encryptedPkcs8, "secretsecret")
  try(crypto.privateKey, keys.pkcs8:sub(1, 150))
  try(crypto.privateKey, "x" .. keys.ecJwk.d)
  equal(#shown, 7)
  for _, message in ipairs(shown) do
    equal(message:find "secretsecret", nil, message)
    equal(message:find "MIGH", nil, message)
    equal(message:find(token:sub(1, 20), 1, true), nil, message)
    equal(message:find(keys.ecJwk.d:sub(1, 8), 1, true), nil, message)
  end
end)

return tap.run
