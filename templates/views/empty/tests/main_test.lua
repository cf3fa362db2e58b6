local test = require "workers.test"

test("the notes are there", function()
  test.cycle "fillNotes"
  test.expect(#test.rows "notes"):equals(2)
end)
