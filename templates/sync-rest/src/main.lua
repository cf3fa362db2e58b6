local workers = require "workers"
local http = require "workers.http"
local paginate = require "workers.paginate"
local Schema = workers.schema

local worker = workers.new()

-- The service. Change this block first: where it is, how often it may be asked, who we are.
local BASE = "https://tasks.example.com/v1"
local api = worker:pacer("tasksApi", { allowedRequests = 60, intervalMs = 60000 })

-- The token is put into the requests below Lua: no script ever holds it. `workers env set TASKS_TOKEN` asks for it.
worker:credential("TASKS_TOKEN", {
  network = {
    {
      domain = "tasks.example.com",
      transform = { { headers = { Authorization = "Bearer " .. workers.CREDENTIAL_VALUE } } },
    },
  },
})

local tasks = worker:database("tasks", {
  type = "managed",
  initialTitle = "Tasks",
  primaryKeyProperty = "Task ID",
  schema = {
    properties = {
      Name = Schema.title(),
      ["Task ID"] = Schema.richText(),
      Status = Schema.select { { name = "open", color = "blue" }, { name = "done", color = "green" } },
      Updated = Schema.date(),
    },
  },
})

-- One mapping for both syncs, so that they never disagree.
local function change(task)
  return {
    type = "upsert",
    key = task.id,
    upstreamUpdatedAt = task.updatedAt,
    properties = { Name = task.name, Status = task.status, Updated = task.updatedAt },
  }
end

local function fetch(path, query)
  return http.get(BASE .. path, { query = query, pacer = api, retry = true }):raise():json()
end

-- All tasks, once a day. What the service no longer has is removed at the end.
worker:sync("tasksBackfill", {
  database = tasks,
  mode = "replace",
  schedule = { cron = "0 4 * * *", timezone = "UTC" },
  execute = function(state)
    return paginate.cursor(state, {
      fetch = function(cursor)
        local body = fetch("/tasks", { cursor = cursor, limit = 100 })
        return body.items, body.nextCursor
      end,
      change = change,
    })
  end,
})

-- What has changed since the last time, every five minutes. It looks back a little, for changes that show up late.
worker:sync("tasksDelta", {
  database = tasks,
  mode = "incremental",
  schedule = "5m",
  execute = function(state)
    return paginate.keyset(state, {
      at = "updatedAt",
      lag = 120,
      fetch = function(at, id)
        return fetch("/tasks", { updatedSince = at, afterId = id, sort = "updatedAt,id", limit = 100 }).items
      end,
      change = change,
    })
  end,
})

return worker
