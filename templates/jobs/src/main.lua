local workers = require "workers"
local http = require "workers.http"
local kv = require "workers.kv"
local log = require "workers.log"

local worker = workers.new()

local URL = "https://www.example.com/"

-- Every five minutes. A failure is tried again three times, and recorded: `workers runs list --failed`.
worker:job("lookAtSite", {
  title = "Look at the site",
  description = "Asks for the home page, and counts how it went.",
  schedule = "5m",
  execute = function()
    local ok, response = pcall(http.get, URL, { timeout = 10 })
    local well = ok and response.ok
    kv.increment(well and "well" or "badly")
    if not well then
      log.warn(("%s: %s"):format(URL, ok and "status " .. response.status or tostring(response)))
    end
    return { well = well }
  end,
})

-- At seven in the evening, on working days, as clocks show it there; also after the hour changes.
worker:job("summary", {
  title = "Sum up",
  description = "Logs how the site did since the last summary.",
  schedule = { cron = "0 19 * * 1-5", timezone = "Europe/Berlin" },
  execute = function()
    local result = { well = kv.get "well" or 0, badly = kv.get "badly" or 0, at = os.date "!%Y-%m-%dT%H:%M:%SZ" }
    log.info(("%d times well, %d times badly"):format(result.well, result.badly))
    kv.delete "well"
    kv.delete "badly"
    return result
  end,
})

return worker
