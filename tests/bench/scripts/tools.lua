local workers = require "workers"
local j = workers.j
local worker = workers.new()
worker:tool("add", { title = "Add", description = "Adds two numbers.", schema = j.object { a = j.number(), b = j.number() },
  outputSchema = j.object { sum = j.number() },
  execute = function(input) return { sum = input.a + input.b } end })
return worker
