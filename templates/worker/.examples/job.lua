-- A job: runs by the clock, fills no table.
--
--   workers exec exampleReport --script .examples/job.lua
--
-- Under `workers serve`, in src/main.lua, it runs on its schedule; `workers capabilities list` says when next. It never runs twice at
-- once, and is tried again three times when it fails.

local workers = require "workers"
local kv = require "workers.kv"
local log = require "workers.log"
local sql = require "workers.sql"
local time = require "workers.time"

local worker = workers.new()

worker:job("exampleReport", {
  title = "Weekday report",
  description = "Counts the tables of this worker, and says what has changed since the last report.",
  schedule = { cron = "30 7 * * 1-5", timezone = "Europe/Berlin", missed = "once" },
  execute = function(input, ctx)
    local tables = sql.query [[
      SELECT count(*) AS count FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\_workers%' ESCAPE '\']]
    local count = tables[1].count
    local last = kv.get "example-report" or { count = 0 }
    log.info(("%d tables, %d more than last time"):format(count, count - last.count))
    local at = ctx.scheduledAt or time.format(time.nowMs()) -- by hand there is no tick
    kv.set("example-report", { count = count, at = at })
    return { tables = count, since = last.at or workers.null }
  end,
})

-- Called when a sync fails three times in a row, is held or rests for too long, and when it is well again. workers.alerts has
-- ready-made receivers for Slack and others.
worker:onAlert(function(alert)
  log.warn(alert.sync, alert.type, alert.message)
end)

return worker
