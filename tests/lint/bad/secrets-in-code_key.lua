-- A private key.

local workers = require "workers"
local crypto = require "workers.crypto"

local j = workers.j
local worker = workers.new()

local KEY = [[-----BEGIN PRIVATE KEY----- -- expect: secrets-in-code
MC4CAQAwBQYDK2VwBCIEIDyFLiVqRJLdJBL5Jzq7XQnKk4Yl0mBFYuAVaPzGZ3Xm
-----END PRIVATE KEY-----]]

worker:tool("sign", {
  title = "Sign",
  description = "Signs a text.",
  schema = j.object { text = j.string() },
  execute = function(input)
    return crypto.base64(crypto.sign("EdDSA", KEY, input.text))
  end,
})

return worker
