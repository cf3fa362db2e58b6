-- The measured sync with plain values, as the guide recommends them.
local workers = require "workers"
local upstream = require "upstream"
local Schema = workers.schema

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
        ["Task Name"] = task.name,
        ["Task ID"] = task.id,
        Status = task.status,
        Points = task.points,
        Due = task.due,
        Done = task.done,
      } }
    end
    return { changes = changes, hasMore = body.more, nextState = body.more and { page = page + 1 } or nil }
  end,
})

return worker
