local test = require "workers.test"

test("looks are counted and summed up", function()
  test.http.on("GET", "https://www.example.com/", { { status = 200 }, { status = 500 }, { error = "timeout" } })
  test.expect(test.run "lookAtSite"):equals { well = true }
  test.expect(test.run "lookAtSite"):equals { well = false }
  test.expect(test.run "lookAtSite"):equals { well = false }
  test.expect(test.run "summary"):contains { well = 1, badly = 2, at = "2026-01-01T00:00:10Z" }
  test.expect(test.run "summary"):contains { well = 0, badly = 0 }
end)
