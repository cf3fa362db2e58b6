local workers = require "workers"
local Schema, Builder, j = workers.schema, workers.builder, workers.j

local worker = workers.new()

-- A tool: people and AI agents call it with an input, and get back what execute returns.
worker:tool("sayHello", {
  title = "Say hello",
  description = "Greets somebody by name.",
  schema = j.object { name = j.string():describe "Whom to greet" },
  hints = { readOnlyHint = true },
  execute = function(input)
    return ("Hello, %s!"):format(input.name)
  end,
})

-- A database: a table that syncs fill. `workers db query "SELECT * FROM tasks"` shows it.
local tasks = worker:database("tasks", {
  type = "managed",
  initialTitle = "Tasks",
  primaryKeyProperty = "Task ID",
  schema = {
    properties = {
      ["Task Name"] = Schema.title(),
      ["Task ID"] = Schema.richText(),
      Status = Schema.select { { name = "Open", color = "blue" }, { name = "Done", color = "green" } },
      Priority = Schema.number(),
      Due = Schema.date(),
    },
  },
})

-- What another service would answer, page by page. Replace it with calls of workers.http.
local SAMPLE = {
  {
    { id = "T-1", name = "Read the guide", status = "Done", priority = 1, due = "2025-01-06" },
    { id = "T-2", name = "Run this worker", status = "Done", priority = 1, due = "2025-01-07" },
    { id = "T-3", name = "Change a task and run it again", status = "Open", priority = 2, due = "2025-01-08" },
  },
  {
    { id = "T-4", name = "Fetch tasks from an API", status = "Open", priority = 2, due = "2025-01-13" },
    { id = "T-5", name = "Give the sync a schedule", status = "Open", priority = 3, due = "2025-01-14" },
  },
}

-- A sync: execute is called once per page. Each page's rows and its nextState are saved together. When hasMore is
-- false, rows that no page returned are removed.
worker:sync("sampleTasks", {
  database = tasks,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    local page = state and state.page or 1
    local changes = {}
    for i, task in ipairs(SAMPLE[page]) do
      changes[i] = {
        type = "upsert",
        key = task.id,
        properties = {
          ["Task Name"] = task.name,
          ["Task ID"] = task.id,
          Status = task.status,
          Priority = task.priority,
          Due = Builder.date(task.due),
        },
      }
    end
    local more = page < #SAMPLE
    return { changes = changes, hasMore = more, nextState = more and { page = page + 1 } or nil }
  end,
})

return worker
