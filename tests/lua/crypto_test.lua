local crypto = require "workers.crypto"
local json = require "workers.json"
local keys = require "crypto_keys"
local tap = require "tap"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy

-- fails(text, fn, …): fn(…) must raise exactly this text, with the place of the call in front of it.
local function fails(text, fn, ...)
  local arguments = table.pack(...)
  local ok, message = pcall(function()
    local _ = fn(table.unpack(arguments, 1, arguments.n))
  end)
  equal(ok, false, text)
  equal((message:gsub("^crypto_test.lua:%d+: ", "", 1)), text)
  truthy(message:find "^crypto_test.lua:11: ", "the place in " .. message)
end

test("digests in every form", function()
  local abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" -- FIPS 180-4
  equal(crypto.sha256 "abc", abc)
  equal(crypto.sha256("abc", "hex"), abc)
  equal(crypto.hex(crypto.sha256("abc", "raw")), abc)
  equal(crypto.sha256("abc", "base64"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=")
  equal(crypto.sha256("abc", "base64url"), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0")
  equal(crypto.digest("md5", "abc"), "900150983cd24fb0d6963f7d28e17f72") -- RFC 1321, appendix A.5
  equal(crypto.digest("sha1", "abc"), "a9993e364706816aba3e25717850c26c9cd0d89d") -- RFC 3174, section 7.3
  truthy(crypto.digest("sha1", "a\0c", "raw") ~= crypto.digest("sha1", "a", "raw"))
  equal(#crypto.digest("sha512", "", "raw"), 64)
  -- RFC 4231, test case 2
  equal(
    crypto.hmac("sha256", "Jefe", "what do ya want for nothing?"),
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
  )
end)

test("comparing", function()
  equal(crypto.equal("a\0b", "a\0b"), true)
  equal(crypto.equal("a\0b", "a\0c"), false)
  equal(crypto.equal("a", "ab"), false)
  equal(crypto.equal("", ""), true)
end)

test("random bytes and identifiers", function()
  equal(#crypto.randomBytes(0), 0)
  equal(#crypto.randomBytes(65536), 65536)
  truthy(crypto.randomBytes(16) ~= crypto.randomBytes(16))
  truthy(crypto.uuid():match "^%x+%-%x+%-4%x+%-[89ab]%x+%-%x+$", "a UUID of version 4")
  local first = crypto.uuid7()
  truthy(first < crypto.uuid7(), "a later UUID is greater")
  equal(#first, 36)
end)

test("text forms, both ways", function()
  local all = {}
  for i = 0, 255 do
    all[#all + 1] = string.char(i)
  end
  all = table.concat(all)
  equal(crypto.fromHex(crypto.hex(all)), all)
  equal(crypto.fromBase64(crypto.base64(all)), all)
  equal(crypto.fromBase64url(crypto.base64url(all)), all)
  equal(crypto.hex "", "")
  equal(crypto.fromBase64 "", "")
  local big = ("0123456789"):rep(300000)
  equal(crypto.fromBase64(crypto.base64(big)) == big, true)
  equal(crypto.fromHex(crypto.hex(big)) == big, true)
end)

test("misuse names the argument", function()
  fails("crypto.sha256: argument 1 (data): string expected, got number", crypto.sha256, 1)
  fails("crypto.sha256: argument 1 (data): string expected, got no value", crypto.sha256)
  fails(
    'crypto.sha256: argument 2 (encoding): "hex", "base64", "base64url" or "raw" expected, got base32',
    crypto.sha256,
    "a",
    "base32"
  )
  fails(
    'crypto.digest: unknown digest "crc32"; use one of md5, sha1, sha256, sha384, sha512',
    crypto.digest,
    "crc32",
    "a"
  )
  fails('crypto.digest: unknown digest ""; use one of md5, sha1, sha256, sha384, sha512', crypto.digest, "md5\0", "a")
  fails("crypto.hmac: argument 2 (key): string expected, got nil", crypto.hmac, "md5", nil, "a")
  fails("crypto.equal: argument 2 (b): string expected, got nil", crypto.equal, "a", nil)
  for _, count in ipairs { 65537, -1, 1.5, "16" } do
    fails(
      "crypto.randomBytes: argument 1 (count): integer from 0 to 65536 expected, got " .. count,
      crypto.randomBytes,
      count
    )
  end
  fails("crypto.fromHex: not hex: character 'g' at position 3", crypto.fromHex, "12g4")
  fails("crypto.fromBase64: not base64: 2 '=' at the end expected, got 0", crypto.fromBase64, "Zg")
  fails("crypto.fromBase64url: argument 1 (text): string expected, got table", crypto.fromBase64url, {})
end)

-- ---- keys ----

test("a private key in every form", function()
  local signature
  for _, form in ipairs { "sec1", "pkcs8", "encryptedSec1", "encryptedPkcs8" } do
    local key = crypto.privateKey(keys[form], "horse")
    equal(tostring(key), "P-256 private key", form)
    signature = crypto.sign(key, "data")
    equal(crypto.verify(crypto.publicKey(keys.spki), "data", signature), true, form)
  end
  equal(tostring(crypto.privateKey(keys.ed25519)), "Ed25519 private key")
  -- what openssl ecparam -genkey writes: the parameters stand before the key
  local parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
  equal(tostring(crypto.privateKey(parameters .. keys.sec1)), "P-256 private key")
  -- a certificate in front, windows line ends, text around it
  local text = "subject=CN = test\n" .. keys.certificate .. keys.pkcs8 .. "end"
  equal(tostring(crypto.privateKey((text:gsub("\n", "\r\n")))), "P-256 private key")
  equal(tostring(crypto.publicKey(text)), "P-256 public key")
end)

test("a public key in every form", function()
  local signature = crypto.sign(crypto.privateKey(keys.pkcs8), "data")
  for _, form in ipairs { "spki", "certificate" } do
    local key = crypto.publicKey(keys[form])
    equal(tostring(key), "P-256 public key", form)
    equal(crypto.verify(key, "data", signature), true, form)
    equal(crypto.verify(key, "date", signature), false, form)
  end
  equal(tostring(crypto.publicKey(keys.ed25519Public)), "Ed25519 public key")
end)

test("keys from JWKs", function()
  equal(tostring(crypto.keyFromJwk(keys.rsaJwk)), "RSA private key of 2048 bits")
  equal(tostring(crypto.keyFromJwk(keys.public(keys.rsaJwk))), "RSA public key of 2048 bits")
  equal(tostring(crypto.keyFromJwk(keys.ecJwk)), "P-256 private key")
  equal(tostring(crypto.keyFromJwk(keys.public(keys.ecJwk))), "P-256 public key")
  equal(tostring(crypto.keyFromJwk(keys.okpJwk)), "Ed25519 private key")
  local jwk = keys.public(keys.okpJwk)
  jwk.use, jwk.kid, jwk.alg, jwk.key_ops = "sig", "1", "EdDSA", json.array { "verify" }
  equal(tostring(crypto.keyFromJwk(json.decode(json.encode(jwk)))), "Ed25519 public key")
end)

test("PEM texts that are refused", function()
  local private, public = crypto.privateKey, crypto.publicKey
  local damaged = "crypto.privateKey: the PEM text is damaged or cut short: no block in it is whole"
  fails("crypto.privateKey: argument 1 (pem): string expected, got nil", private, nil)
  fails("crypto.privateKey: argument 2 (passphrase): string expected, got number", private, keys.pkcs8, 1)
  fails("crypto.privateKey: the PEM text is empty", private, "")
  fails("crypto.privateKey: no PEM text: a line such as -----BEGIN PUBLIC KEY----- expected", private, "secret")
  fails("crypto.privateKey: the PEM text is longer than 65536 bytes", private, keys.pkcs8 .. (" "):rep(65536))
  fails("crypto.privateKey: the PEM text has a NUL byte in it", private, keys.pkcs8 .. "\0")
  fails(
    'crypto.privateKey: the PEM text has "\\n" as two characters where its lines should end; put line ends there',
    private,
    (keys.pkcs8:gsub("\n", "\\n"))
  )
  fails(damaged, private, keys.pkcs8:sub(1, 100))
  fails(damaged, private, (keys.pkcs8:gsub("MIGH", "M*GH")))
  fails(
    "crypto.privateKey: the PRIVATE KEY in the PEM text is damaged or cut short",
    private,
    "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqG\n-----END PRIVATE KEY-----\n"
  )
  fails(
    "crypto.publicKey: the CERTIFICATE in the PEM text is damaged or cut short",
    public,
    (keys.spki:gsub("PUBLIC KEY", "CERTIFICATE"))
  )
  fails(
    'crypto.privateKey: the PEM text holds a "PUBLIC KEY", which is no private key that can be read',
    private,
    keys.spki
  )
  fails(
    'crypto.publicKey: the PEM text holds a "EC PRIVATE KEY", which is no public key that can be read',
    public,
    keys.sec1
  )
  fails(
    'crypto.publicKey: the PEM text holds a "A??? KEY", which is no public key that can be read',
    public,
    "-----BEGIN A\xff\27\1 KEY-----\nAAAA\n-----END A\xff\27\1 KEY-----\n"
  )
  fails("crypto.privateKey: the key is encrypted: give its passphrase", private, keys.encryptedPkcs8)
  fails("crypto.privateKey: the key is encrypted: give its passphrase", private, keys.encryptedSec1)
  for _, passphrase in ipairs { "", "Horse", ("horse"):rep(200) } do
    local wrong = "crypto.privateKey: the passphrase does not open the key, or the key is damaged"
    fails(wrong, private, keys.encryptedPkcs8, passphrase)
    fails(wrong, private, keys.encryptedSec1, passphrase)
  end
  fails(
    "crypto.privateKey: the passphrase is longer than 1023 bytes",
    private,
    keys.encryptedPkcs8,
    ("x"):rep(1024)
  )
end)

test("keys that are refused", function()
  local private, public = crypto.privateKey, crypto.publicKey
  local other = "crypto.privateKey: the key is not encrypted with PBES2 and PBKDF2; rewrite it with "
    .. "`openssl pkcs8 -topk8 -v2 aes-256-cbc`"
  fails(other, private, keys.scrypt, "horse")
  fails(other, private, keys.pkcs12, "horse")
  fails(
    "crypto.privateKey: the key is encrypted with more than 1000000 iterations of PBKDF2",
    private,
    keys.slow,
    "horse"
  )
  fails("crypto.privateKey: a key of another kind than RSA, P-256 and Ed25519", private, keys.x25519)
  fails("crypto.publicKey: an RSA key of 1024 bits: 2048 to 8192 are accepted", public, keys.rsa1024)
  fails(
    "crypto.publicKey: a key on the curve secp384r1; the one supported is P-256 (prime256v1)",
    public,
    keys.p384
  )
end)

local function changed(jwk, changes)
  local copy = {}
  for name, value in next, jwk do
    copy[name] = value
  end
  for name, value in next, changes do
    copy[name] = value or nil
  end
  return copy
end

test("JWKs that are refused", function()
  local function refused(text, jwk, changes)
    fails("crypto.keyFromJwk: " .. text, crypto.keyFromJwk, changes and changed(jwk, changes) or jwk)
  end
  refused("argument 1 (jwk): table expected, got string", keys.spki)
  refused('argument 1 (jwk) is a set of keys; give one of its "keys"', { keys = { keys.ecJwk } })
  refused('the JWK\'s member "kty" must be "RSA", "EC" or "OKP"', {})
  refused('the JWK\'s member "kty" must be "RSA", "EC" or "OKP"', { kty = "RSA\0" })
  refused('the JWK\'s member "kty" must be a string, got number', { kty = 1 })
  refused('the JWK is a secret (kty "oct"): what its member "k" holds as base64url is the secret itself', {
    kty = "oct",
    k = "AAAA",
  })
  refused('the JWK is not for signatures: its member "use" is not "sig"', keys.ecJwk, { use = "enc" })
  refused('the JWK has no member "n"', keys.rsaJwk, { n = false })
  refused('the JWK has no member "e"', keys.rsaJwk, { e = "" })
  refused('the JWK\'s member "n" is not base64url without padding', keys.rsaJwk, { n = "AQAB=" })
  refused('the JWK\'s member "n" is not base64url without padding', keys.rsaJwk, { n = "AQ\0B" })
  refused('the JWK\'s member "n" is longer than 1024 bytes', keys.rsaJwk, { n = ("A"):rep(1400) })
  refused("an RSA key of 17 bits: 2048 to 8192 are accepted", keys.public(keys.rsaJwk), { n = "AQAB" })
  refused(
    "an RSA key whose public exponent is even, 1 or longer than 64 bits",
    keys.public(keys.rsaJwk),
    { e = "AQ" }
  )
  refused(
    "an RSA key whose public exponent is even, 1 or longer than 64 bits",
    keys.public(keys.rsaJwk),
    { e = "AQAA" }
  )
  refused(
    "an RSA key whose public exponent is even, 1 or longer than 64 bits",
    keys.public(keys.rsaJwk),
    { e = "AQAAAAAAAAAB" }
  )
  refused("an RSA key with a number longer than its modulus", keys.rsaJwk, { d = ("_"):rep(1024) })
  refused('the JWK has no member "q"', keys.rsaJwk, { p = "AQAB" })
  refused("an RSA key of more than two primes", keys.rsaJwk, { oth = {} })
  local halves = "the private and the public members of the JWK do not belong together"
  refused(halves, keys.rsaJwk, { d = "AQAB" })
  refused('the JWK\'s member "crv" must be "P-256" for an EC key', keys.ecJwk, { crv = "P-384" })
  refused('the JWK\'s member "x" must be 32 bytes, not 3', keys.ecJwk, { x = "AQAB" })
  refused("the JWK is no EC key: its numbers do not make one", keys.ecJwk, { x = keys.ecJwk.y })
  refused(halves, keys.ecJwk, { d = keys.okpJwk.d })
  refused(halves, keys.ecJwk, { d = ("A"):rep(43) })
  refused('the JWK\'s member "crv" must be "Ed25519" for an OKP key', keys.okpJwk, { crv = "X25519" })
  refused('the JWK\'s member "d" must be 32 bytes, not 3', keys.okpJwk, { d = "AQAB" })
  refused('the JWK\'s members "d" and "x" do not belong together', keys.okpJwk, { x = keys.ecJwk.x })
end)

test("a key shows nothing of itself, and is gone when closed", function()
  local key = crypto.privateKey(keys.pkcs8)
  equal(getmetatable(key), "key")
  equal(key.pem, nil)
  raises(function()
    json.encode { key = key }
  end, "cannot encode")
  raises(function()
    key.close = nil
  end, "attempt to index")
  key:close()
  key:close()
  equal(tostring(key), "closed key")
  fails("crypto.sign: argument 1 (key): the key is closed", crypto.sign, key, "data")
  local seen
  do
    local closing <close> = crypto.privateKey(keys.pkcs8)
    seen = closing
    equal(tostring(seen), "P-256 private key")
  end
  equal(tostring(seen), "closed key")
  raises(function()
    seen.close {}
  end, "workers.crypto.key expected")
end)

test("keys that nobody uses any more make room", function()
  for _ = 1, 1000 do
    crypto.publicKey(keys.spki)
  end
  local held = {}
  local ok, message = pcall(function()
    for i = 1, 1000 do
      held[i] = crypto.publicKey(keys.spki)
    end
  end)
  equal(ok, false)
  truthy(message:find("crypto.publicKey: 256 keys are open already; close those that are done with: key:close()", 1, true))
  held[1]:close()
  held[1] = crypto.publicKey(keys.spki)
  held = nil
  equal(held, nil)
  equal(tostring(crypto.publicKey(keys.spki)), "P-256 public key")
end)

-- ---- signatures ----

test("RSA: the signature of RFC 7515, appendix A.2", function()
  local text, signature = keys.rsaToken:match "^(.*)%.(.*)$"
  local key = crypto.keyFromJwk(keys.rsaJwk)
  equal(crypto.base64url(crypto.sign(key, text)), signature)
  local public = crypto.keyFromJwk(keys.public(keys.rsaJwk))
  equal(crypto.verify(public, text, crypto.fromBase64url(signature)), true)
  equal(crypto.verify(key, text, crypto.fromBase64url(signature)), true)
  equal(crypto.verify(public, text, crypto.fromBase64url(signature), { hash = "sha384" }), false)
  equal(crypto.verify(public, text, crypto.sign(key, text, { hash = "sha512" }), { hash = "sha512" }), true)
end)

test("ECDSA: both forms", function()
  local key = crypto.keyFromJwk(keys.ecJwk)
  for i = 1, 50 do
    local text = "data " .. i
    local der, raw = crypto.sign(key, text), crypto.sign(key, text, { format = "raw" })
    equal(#raw, 64)
    equal(der:byte(1), 0x30)
    equal(crypto.verify(key, text, der), true)
    equal(crypto.verify(key, text, raw, { format = "raw" }), true)
    equal(crypto.verify(key, text, raw), false)
    equal(crypto.verify(key, text, der, { format = "raw" }), false)
  end
end)

test("Ed25519: the signature of RFC 8037, appendix A.4", function()
  local key = crypto.keyFromJwk(keys.okpJwk)
  equal(crypto.base64url(crypto.sign(key, keys.okpSigned)), keys.okpSignature)
  local public = crypto.keyFromJwk(keys.public(keys.okpJwk))
  equal(crypto.verify(public, keys.okpSigned, crypto.fromBase64url(keys.okpSignature)), true)
end)

test("no other signature is good", function()
  for _, jwk in ipairs { keys.rsaJwk, keys.ecJwk, keys.okpJwk } do
    local key = crypto.keyFromJwk(jwk)
    local options = jwk.kty == "EC" and { format = "raw" } or nil
    local good = crypto.sign(key, "", options)
    equal(crypto.verify(key, "", good, options), true)
    for position = 1, #good do
      local byte = string.char(good:byte(position) ~ 1)
      equal(crypto.verify(key, "", good:sub(1, position - 1) .. byte .. good:sub(position + 1), options), false)
    end
    for _, bad in ipairs { "", "\0", good .. "\0", good:sub(2), ("\0"):rep(#good), ("\255"):rep(#good), ("x"):rep(100000) } do
      equal(crypto.verify(key, "", bad, options), false)
    end
  end
end)

test("misuse of signatures", function()
  local key, public = crypto.keyFromJwk(keys.ecJwk), crypto.publicKey(keys.spki)
  fails("crypto.sign: a public key cannot sign", crypto.sign, public, "data")
  fails(
    "crypto.sign: argument 1 (key): a key expected, as crypto.privateKey gives it, got string",
    crypto.sign,
    keys.pkcs8,
    "data"
  )
  fails("crypto.sign: argument 2 (data): string expected, got nil", crypto.sign, key, nil)
  fails('crypto.sign: unknown option "hsah"; did you mean "hash"?', crypto.sign, key, "data", { hsah = "sha256" })
  fails(
    'crypto.sign: signatures take the hash "sha256", "sha384" or "sha512"',
    crypto.sign,
    key,
    "data",
    { hash = "sha1" }
  )
  fails(
    'crypto.verify: option "format": "der" or "raw" expected, got "pem"',
    crypto.verify,
    key,
    "data",
    "signature",
    { format = "pem" }
  )
  fails(
    "crypto.sign: an Ed25519 key takes no hash: it has its own",
    crypto.sign,
    crypto.keyFromJwk(keys.okpJwk),
    "data",
    { hash = "sha512" }
  )
  fails("crypto.verify: argument 3 (signature): string expected, got no value", crypto.verify, key, "data")
end)

return tap.run
