local test = require "workers.test"

local function event(name, body)
  return { deliveryId = name .. "-1", headers = { ["x-github-event"] = name }, body = body }
end

test("events are counted by their name", function()
  test.run("github", {
    event("push", { ref = "refs/heads/main", commits = { {}, {} } }),
    event("issues", { action = "opened", issue = { number = 7, title = "It rains in" } }),
    event("star", { action = "created" }),
  })
  test.expect(test.run("counts", {})):equals { push = 1, issues = 1, star = 1 }
  test.expect(test.logs()):contains { level = "info", key = "github", text = "2 commits to refs/heads/main" }
  test.expect(test.logs()):contains { level = "info", key = "github", text = "issue 7 opened: It rains in" }
end)
