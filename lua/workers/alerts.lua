---Ready-made receivers of alerts, for worker:onAlert.
---@class workers.alerts
local alerts = {}

local options = require "workers.options"
local http = require "workers.http"

local HEAD = { ERROR = "fails", RECOVERED = "has recovered", HELD = "holds a sweep", STALE = "is stale" }

---What happened, in one line.
---@param alert workers.Alert
---@return string
function alerts.line(alert)
  local line = ("%s: sync %s %s"):format(alert.worker, alert.sync, HEAD[alert.type] or alert.type)
  if alert.message then
    line = line .. ": " .. alert.message
  end
  return line
end

local OPTIONS = {
  { "url", "string", required = true, help = "where to post" },
  { "headers", "table", help = '{ Authorization = "…" }' },
}

local function sender(given, body)
  return function(alert)
    http.post(given.url, { json = body(alert), headers = given.headers, timeout = 30 }):raise()
  end
end

---Posts each alert as JSON.
---@param given { url: string, headers?: table<string, string> }
---@return fun(alert: workers.Alert)
function alerts.post(given)
  options.check("alerts.post", given, OPTIONS)
  return sender(given, function(alert)
    return alert
  end)
end

---Posts a line to an incoming webhook of Slack, or of a service that takes the same form.
---@param given { url: string, headers?: table<string, string> }
---@return fun(alert: workers.Alert)
function alerts.slack(given)
  options.check("alerts.slack", given, OPTIONS)
  return sender(given, function(alert)
    return { text = alerts.line(alert) }
  end)
end

return alerts
