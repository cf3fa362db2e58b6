-- An automation: runs when a row changes, here when an order has been paid.
--
--   workers run .examples/automation.lua exampleOrdersSync
--   workers exec exampleThank --script .examples/automation.lua -d @.examples/automation.event.json
--
-- Under `workers serve`, in src/main.lua, it runs by itself: events are written together with the rows, none is lost, and those of
-- one row come in their order.

local workers = require "workers"
local kv = require "workers.kv"
local log = require "workers.log"

local Schema = workers.schema
local worker = workers.new()

local orders = worker:database("exampleOrders", {
  type = "managed",
  initialTitle = "Orders",
  primaryKeyProperty = "Order ID",
  schema = {
    properties = {
      Customer = Schema.title(),
      ["Order ID"] = Schema.richText(),
      Paid = Schema.checkbox(),
    },
  },
})

worker:sync("exampleOrdersSync", {
  database = orders,
  schedule = "manual",
  execute = function()
    return {
      changes = {
        { type = "upsert", key = "O-1", properties = { Customer = "Ada", Paid = true } },
        { type = "upsert", key = "O-2", properties = { Customer = "Mary", Paid = false } },
      },
      hasMore = false,
    }
  end,
})

worker:automation("exampleThank", {
  title = "Thank for a payment",
  description = "Says thank you once for each order that has been paid.",
  trigger = {
    database = orders,
    on = { "insert", "update" },
    -- What this declines leaves no run behind.
    when = function(event)
      return event.row.Paid and not (event.before and event.before.Paid)
    end,
  },
  execute = function(event)
    -- It may be called again after a failure: do once what must be done once.
    if kv.compareAndSet("example-thanked/" .. event.key, nil, event.at) then
      log.info("Thank you, " .. event.row.Customer)
    end
  end,
})

return worker
