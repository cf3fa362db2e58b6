-- A webhook: takes events of another service, here GitHub's.
--
--   workers exec exampleOnPush --script .examples/webhook.lua -d '[{"deliveryId":"1","headers":{"x-github-event":"ping"},"body":{}}]'
--
-- In src/main.lua, `workers serve` takes deliveries in, `workers webhooks list` shows the address to give to GitHub, and
-- `workers webhooks send` tries it out. The secret is a variable: workers env set GITHUB_WEBHOOK_SECRET.

local workers = require "workers"
local env = require "workers.env"
local kv = require "workers.kv"
local log = require "workers.log"
local webhooks = require "workers.webhooks"

local worker = workers.new()

worker:webhook("exampleOnPush", {
  title = "Pushes",
  description = "What is pushed to the repositories of a GitHub organisation",
  -- Runs before anything is stored. Other services: stripe, slack, shopify, zendesk, notion, standard, hmac.
  verify = webhooks.github {
    secret = function()
      return env.require "GITHUB_WEBHOOK_SECRET"
    end,
  },
  -- A delivery that comes again under the same id is answered, and not delivered twice.
  idempotencyKey = webhooks.github.idempotencyKey,
  -- Called at least once for each delivery: again after a failure. deliveryId is the same each time.
  execute = function(events)
    for _, event in ipairs(events) do
      local kind = event.headers["x-github-event"]
      if kind == "push" then
        local commits = #(event.body.commits or {})
        local key = "example-pushes/" .. event.body.repository.full_name
        -- Counted once, also when the delivery is tried again.
        if kv.compareAndSet("example-seen/" .. event.deliveryId, nil, true, { ttl = 7 * 86400 }) then
          kv.increment(key, commits)
        end
        log.info(event.body.repository.full_name, commits, "commits; in all", kv.get(key))
      else
        log.info("nothing to do for", kind)
      end
    end
  end,
})

return worker
