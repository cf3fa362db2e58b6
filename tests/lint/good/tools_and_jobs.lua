-- A tool, a webhook and a job.

local workers = require "workers"
local http = require "workers.http"
local kv = require "workers.kv"
local log = require "workers.log"

local j = workers.j
local worker = workers.new()

worker:tool("findTicket", {
  title = "Find a ticket",
  description = "Finds a ticket by its number.",
  schema = j.object { number = j.integer() },
  execute = function(input)
    local ok, response = pcall(http.get, "https://api.example.com/v1/tickets/" .. input.number)
    if not ok then
      return { found = false }
    end
    return { found = response.ok, ticket = response.ok and response:json() or nil }
  end,
})

worker:webhook("ticketChanged", {
  title = "A ticket has changed",
  description = "Takes the changes of tickets.",
  execute = function(events)
    for _, event in ipairs(events) do
      kv.set("ticket:" .. event.body.id, event.body.status)
    end
  end,
})

worker:job("report", {
  title = "Report",
  description = "Says how many tickets are open.",
  schedule = { cron = "0 7 * * 1-5", timezone = "Europe/Berlin" },
  execute = function(_, ctx)
    log.info("report of " .. (ctx.scheduledAt or "now"))
  end,
})

return worker
