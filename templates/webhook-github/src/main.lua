local workers = require "workers"
local env = require "workers.env"
local kv = require "workers.kv"
local log = require "workers.log"
local webhooks = require "workers.webhooks"
local j = workers.j

local worker = workers.new()

-- What to do with an event, by its name in the header X-GitHub-Event. Others are counted, and that is all.
local handlers = {}

function handlers.push(body)
  log.info(("%d commits to %s"):format(#body.commits, body.ref))
end

function handlers.issues(body)
  log.info(("issue %d %s: %s"):format(body.issue.number, body.action, body.issue.title))
end

-- GitHub calls it at the address that `workers webhooks list` shows. A request is on the disk before it is answered; execute
-- runs afterwards, and again when it fails, so what it does should bear being done twice.
worker:webhook("github", {
  title = "GitHub",
  description = "What happens in a repository",
  verify = webhooks.github {
    secret = function()
      return env.require "GITHUB_WEBHOOK_SECRET"
    end,
  },
  idempotencyKey = webhooks.github.idempotencyKey,
  execute = function(events)
    for _, event in ipairs(events) do
      local name = event.headers["x-github-event"] or "unknown"
      kv.increment("count " .. name)
      if handlers[name] then
        handlers[name](event.body)
      end
    end
  end,
})

worker:tool("counts", {
  title = "Counts",
  description = "How many events of each kind have come.",
  schema = j.object {},
  hints = { readOnlyHint = true },
  execute = function()
    local counts = workers.object {}
    for _, key in ipairs(kv.list "count ") do
      counts[key:sub(#"count " + 1)] = kv.get(key)
    end
    return counts
  end,
})

return worker
