local test = require "workers.test"

local function statuses()
  local list = {}
  for i, row in ipairs(test.rows "tasks") do
    list[i] = row.Status
  end
  return list
end

test("every run moves one task on", function()
  test.cycle "fillTasks"
  test.expect(statuses()):equals { "Open", "Open", "Open", "Open", "Open", "Open" }
  test.cycle "fillTasks"
  test.expect(statuses()):equals { "In progress", "Open", "Open", "Open", "Open", "Open" }
end)
