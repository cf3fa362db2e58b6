local test = require "workers.test"

local function task(n, name, updated)
  return { id = "T-" .. n, name = name, status = "open", updatedAt = updated }
end

test("a backfill reads all pages, and removes what is gone", function()
  test.env("TASKS_TOKEN", "any")
  local first = { items = { task(1, "Dig", "2026-01-01T08:00:00Z"), task(2, "Plant", "2026-01-01T09:00:00Z") }, nextCursor = "two" }
  local second = { items = { task(3, "Water", "2026-01-01T10:00:00Z") } }
  test.http.on("GET", "https://tasks.example.com/v1/tasks?limit=100", { json = first })
  test.http.on("GET", "https://tasks.example.com/v1/tasks?limit=100&cursor=two", { { json = second }, { json = { items = {} } } })
  test.expect(test.cycle "tasksBackfill"):contains { added = 3, pages = 2, outcome = "done" }
  test.expect(test.cycle "tasksBackfill"):contains { unchanged = 2, deleted = 1, outcome = "done" }
end)

test("a delta goes on from the last change", function()
  test.env("TASKS_TOKEN", "any")
  test.clock.set "2026-02-01T12:00:00Z"
  test.http.on("GET", "https://tasks.example.com/v1/tasks?*", function(request)
    if request.query.updatedSince == nil then
      return { json = { items = { task(1, "Dig", "2026-01-01T08:00:00Z") } } }
    elseif request.query.updatedSince == "2026-01-01T08:00:00Z" and request.query.afterId == "T-1" then
      return { json = { items = {} } }
    end
    return { status = 400 }
  end)
  test.expect(test.cycle "tasksDelta"):contains { added = 1, outcome = "done" }
  test.expect(test.cycle "tasksDelta"):contains { added = 0, outcome = "done" }
end)

test("a service that says to wait is waited for", function()
  test.env("TASKS_TOKEN", "any")
  test.http.on("GET", "https://tasks.example.com/v1/tasks?limit=100", {
    { status = 429, headers = { ["Retry-After"] = "30" } },
    { json = { items = {} } },
  })
  test.expect(test.cycle "tasksBackfill"):contains { outcome = "done", requests = 2 }
end)
