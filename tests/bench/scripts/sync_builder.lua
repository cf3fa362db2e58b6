-- The measured sync with Builder calls, the only way that the TypeScript SDK has.
local workers = require "workers"
local upstream = require "upstream"
local Schema, Builder = workers.schema, workers.builder

local worker = workers.new()

local tasks = worker:database("tasks", {
  type = "managed",
  initialTitle = "Tasks",
  primaryKeyProperty = "Task ID",
  schema = { properties = {
    ["Task Name"] = Schema.title(),
    ["Task ID"] = Schema.richText(),
    Status = Schema.select { { name = "Open" }, { name = "In progress" }, { name = "Blocked" }, { name = "Done" } },
    Points = Schema.number(),
    Due = Schema.date(),
    Done = Schema.checkbox(),
  } },
})

worker:sync("tasksSync", {
  database = tasks,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    local page = state and state.page or 1
    local body = upstream.page(page)
    local changes = {}
    for i, task in ipairs(body.items) do
      changes[i] = { type = "upsert", key = task.id, properties = {
        ["Task Name"] = Builder.title(task.name),
        ["Task ID"] = Builder.richText(task.id),
        Status = Builder.select(task.status),
        Points = Builder.number(task.points),
        Due = Builder.date(task.due),
        Done = Builder.checkbox(task.done),
      } }
    end
    return { changes = changes, hasMore = body.more, nextState = body.more and { page = page + 1 } or nil }
  end,
})

return worker
