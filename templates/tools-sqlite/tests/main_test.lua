local test = require "workers.test"

test("what is looked for is found by name and by light", function()
  test.expect(#test.run("find", { text = "sun" })):equals(3)
  test.expect(test.run("find", { text = "fern" })[1]):equals { name = "Boston fern", light = "shade", water_days = 3 }
  test.expect(#test.run("find", { text = "sun", limit = 1 })):equals(1)
end)

test("a text is never part of a query", function()
  test.expect(#test.run("find", { text = "' OR 1 = 1 --" })):equals(0)
end)

test("the thirstiest come first", function()
  test.expect(test.run("thirsty", { days = 3 })[3].name):equals "Boston fern"
end)
