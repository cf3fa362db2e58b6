local test = require "workers.test"

local function page(issues, cursor)
  local info = { hasNextPage = cursor ~= nil, endCursor = cursor }
  return { json = { data = { issues = { nodes = issues, pageInfo = info } } } }
end

local function issue(n, title)
  return { id = "I-" .. n, title = title, state = "OPEN", updatedAt = "2026-01-0" .. n .. "T08:00:00Z", labels = { { name = "bug" } } }
end

test("pages follow the cursor", function()
  test.env("TRACKER_TOKEN", "any")
  test.http.on("POST", "https://tracker.example.com/graphql", { page({ issue(1, "One"), issue(2, "Two") }, "c1"), page { issue(3, "Three") } })
  test.expect(test.cycle "issuesBackfill"):contains { added = 3, pages = 2, outcome = "done" }
  test.expect(test.http.requests()[2].json.variables):equals { after = "c1" }
  test.expect(test.rows "issues"):contains { ["Issue ID"] = "I-3", Labels = { "bug" } }
end)

test("an error beside data is an error", function()
  test.env("TRACKER_TOKEN", "any")
  test.http.on("POST", "https://tracker.example.com/graphql", { json = { data = { issues = {} }, errors = { { message = "no access" } } } })
  test.expect(test.cycle "issuesBackfill"):contains { outcome = "failed" }
end)
