-- A job: runs by the clock, fills no table.
--
--   workers exec exampleReport --script .examples/job.lua
--
-- Under `workers serve`, in src/main.lua, it runs on its schedule; `workers capabilities list` says when next. It never runs twice at
-- once, and is tried again three times when it fails.

local workers = require "workers"
local fs = require "workers.fs"
local kv = require "workers.kv"
local log = require "workers.log"
local time = require "workers.time"

local worker = workers.new()

worker:job("exampleReport", {
  title = "Weekday report",
  description = "Counts the scripts of this worker, and says how many are new since the last report.",
  schedule = { cron = "30 7 * * 1-5", timezone = "Europe/Berlin", missed = "once" },
  execute = function(input, ctx)
    local count = #fs.list "src" -- allowed when permissions.read in workers.yaml lists "src"; without a list, by hand only
    local last = kv.get "example-report" or { count = 0 }
    log.info(("%d scripts, %d more than last time"):format(count, count - last.count))
    local at = ctx.scheduledAt or time.format(time.nowMs()) -- by hand there is no tick
    kv.set("example-report", { count = count, at = at })
    return { scripts = count, since = last.at or workers.null }
  end,
})

-- Called when a sync fails three times in a row, is held or rests for too long, and when it is well again. workers.alerts has
-- ready-made receivers for Slack and others.
worker:onAlert(function(alert)
  log.warn(alert.sync, alert.type, alert.message)
end)

return worker
