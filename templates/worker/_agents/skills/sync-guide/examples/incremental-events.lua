-- A feed of events, newest first: each is a hint that something has happened to an order, which is fetched again.
--
-- So neither the order of events matters nor what they leave out. The first cycle only notes where the feed stands; the backfill
-- brings what was there before. Orders do not tell when they changed: a row has the time at which the service was asked.

local workers = require "workers"
local env = require "workers.env"
local http = require "workers.http"
local paginate = require "workers.paginate"
local time = require "workers.time"

local Schema = workers.schema
local worker = workers.new()

local BASE = env.get("EXAMPLE_URL", "https://api.example.com")

local api = worker:pacer("exampleApi", { allowedRequests = 600, intervalMs = 60000 })

local orders = worker:database("orders", {
  type = "managed",
  initialTitle = "Orders",
  primaryKeyProperty = "Order ID",
  schema = {
    properties = {
      Name = Schema.title(),
      ["Order ID"] = Schema.richText(),
      Total = Schema.number "euro",
      State = Schema.select { "open", "paid", "sent" },
    },
  },
})

local function get(path, query)
  return http.get(BASE .. path, { query = query, auth = { bearer = env.require "EXAMPLE_TOKEN" }, pacer = api, retry = true })
end

local function upsert(order, asked)
  return {
    type = "upsert",
    key = order.id,
    upstreamUpdatedAt = time.format(asked),
    properties = { Name = order.name, Total = order.total, State = order.state },
  }
end

worker:sync("ordersBackfill", {
  database = orders,
  mode = "replace",
  schedule = "7d",
  execute = function(state)
    local asked = time.nowMs()
    return paginate.cursor(state, {
      fetch = function(cursor)
        local body = get("/orders", { after = cursor, limit = 100 }):raise():json()
        return body.items, body.nextCursor
      end,
      change = function(order)
        return upsert(order, asked)
      end,
    })
  end,
})

worker:sync("ordersDelta", {
  database = orders,
  mode = "incremental",
  schedule = "5m",
  execute = function(state)
    local fetched = {} -- several events of one order need one request
    return paginate.feed(state, {
      first = "newest",
      at = "at",
      lag = 15,
      fetch = function(cursor)
        local body = get("/events", { before = cursor, limit = 100 }):raise():json()
        return body.items, body.nextCursor
      end,
      change = function(event)
        local id = event.orderId
        if fetched[id] then
          return nil
        end
        fetched[id] = true
        local asked = time.nowMs()
        local response = get("/orders/" .. id)
        if response.status == 404 or response.status == 410 then
          return { type = "delete", key = id }
        end
        return upsert(response:raise():json(), asked)
      end,
    })
  end,
})

return worker
