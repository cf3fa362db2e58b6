-- An access key of AWS.

local workers = require "workers"

local j = workers.j
local worker = workers.new()

worker:tool("bucket", {
  title = "Bucket",
  description = "Says which key is in use.",
  schema = j.object {},
  execute = function()
    return "AKIAIOSFODNN7EXAMPLE" -- expect: secrets-in-code
  end,
})

return worker
