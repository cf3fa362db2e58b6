-- The tool that is measured from the start of the process to its end; hello.mjs is the same under Node.
local workers = require "workers"
local j = workers.j

local worker = workers.new()

worker:tool("sayHello", {
  title = "Say hello",
  description = "Says hello to the user",
  schema = j.object { name = j.string() },
  execute = function(input)
    return "Hello, " .. input.name .. "!"
  end,
})

return worker
