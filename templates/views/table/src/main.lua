local workers = require "workers"
local Schema = workers.schema

local worker = workers.new()

local tasks = worker:database("tasks", {
  type = "managed",
  initialTitle = "Tasks",
  primaryKeyProperty = "Task ID",
  schema = {
    properties = {
      Name = Schema.title(),
      ["Task ID"] = Schema.richText(),
      Status = Schema.select { { name = "Open" }, { name = "In progress" }, { name = "Done" } },
      Hours = Schema.number(),
      Due = Schema.date(),
    },
  },
})

-- Stands for your own source. Each run moves one task on, so that there is something to see.
local NAMES = { "Write the plan", "Ask for offers", "Order material", "Build the frame", "Paint it", "Invite everybody" }
local STATUSES = { "Open", "In progress", "Done" }

worker:sync("fillTasks", {
  database = tasks,
  mode = "incremental",
  schedule = "manual",
  execute = function(state)
    local round = state and state.round or 0
    local changes = {}
    for i, name in ipairs(NAMES) do
      local steps = round // #NAMES + (i <= round % #NAMES and 1 or 0)
      changes[i] = {
        type = "upsert",
        key = tostring(i),
        properties = {
          Name = name,
          ["Task ID"] = tostring(i),
          Status = STATUSES[math.min(steps, 2) + 1],
          Hours = i * 1.5,
          Due = ("2027-03-%02d"):format(3 * i),
        },
      }
    end
    return { changes = changes, hasMore = false, nextState = { round = round + 1 } }
  end,
})

worker:view("board", {
  name = "{{title}}",
  description = "Tasks with their hours by status",
  path = "views/board",
  dataSources = {
    tasks = {
      database = tasks,
      properties = { name = "Name", status = "Status", hours = "Hours", due = "Due" },
    },
  },
})

return worker
