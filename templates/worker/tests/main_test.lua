-- Run them with `workers test`: a store in memory, no network, a clock that tests move.
local test = require "workers.test"

test("sayHello greets by name", function()
  test.expect(test.run("sayHello", { name = "World" })):equals "Hello, World!"
end)

test("sampleTasks brings all pages", function()
  test.expect(test.cycle "sampleTasks"):contains { added = 5, pages = 2, outcome = "done" }
  test.expect(test.rows "tasks"):contains { ["Task ID"] = "T-3", Status = "Open", Due = "2025-01-08" }
end)

test("a second cycle changes nothing", function()
  test.cycle "sampleTasks"
  test.expect(test.cycle "sampleTasks"):contains { added = 0, changed = 0, unchanged = 5, deleted = 0 }
end)
