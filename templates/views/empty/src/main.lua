local workers = require "workers"
local Schema = workers.schema

local worker = workers.new()

local notes = worker:database("notes", {
  type = "managed",
  initialTitle = "Notes",
  primaryKeyProperty = "ID",
  schema = { properties = { Title = Schema.title(), ID = Schema.richText() } },
})

-- Stands for your own source: rows of anything that a script can reach.
worker:sync("fillNotes", {
  database = notes,
  schedule = "manual",
  execute = function()
    return {
      changes = {
        { type = "upsert", key = "1", properties = { Title = "A first note", ID = "1" } },
        { type = "upsert", key = "2", properties = { Title = "Another one", ID = "2" } },
      },
      hasMore = false,
    }
  end,
})

-- The page may read these rows, and nothing else.
worker:view("home", {
  name = "{{title}}",
  path = "views/home",
  dataSources = { notes = { database = notes, properties = { title = "Title" } } },
})

return worker
