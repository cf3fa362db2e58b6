-- Stripe customers with their subscriptions: a backfill of the list, a delta from the feed of events.
--
-- An event is taken as a hint: the customer is fetched again, so that neither the order of events nor what they leave out
-- matters. Customers have no time of their last change; a row carries the time at which it was asked for instead.

local workers = require "workers"
local env = require "workers.env"
local http = require "workers.http"
local paginate = require "workers.paginate"
local time = require "workers.time"

local Schema = workers.schema
local worker = workers.new()

local API = env.get("STRIPE_URL", "https://api.stripe.com") .. "/v1"
local LAG = 15 -- seconds; events are found some seconds after their time

local customers = worker:database("customers", {
  type = "managed",
  initialTitle = "Customers",
  primaryKeyProperty = "Customer ID",
  schema = {
    properties = {
      Name = Schema.title(),
      ["Customer ID"] = Schema.richText(),
      Subscriptions = Schema.richText(),
      Created = Schema.date(),
    },
  },
})

local api = worker:pacer("stripe", { allowedRequests = 6000, intervalMs = 60000 })

local function get(path, query)
  return http.get(API .. path, { query = query, auth = { bearer = env.require "STRIPE_TOKEN" }, pacer = api, retry = true })
end

-- All subscriptions of a customer: the answer has the first ten of them. When the customer, or the one to start after, has
-- gone meanwhile, an event says so, and the next delta fetches the customer again.
local function subscriptions_of(customer)
  local ids, list = {}, customer.subscriptions
  for _, subscription in ipairs(list.data) do
    ids[#ids + 1] = subscription.id
  end
  while list.has_more do
    local path = "/customers/" .. customer.id .. "/subscriptions"
    local response = get(path, { limit = 100, starting_after = ids[#ids] })
    if response.status == 400 or response.status == 404 then
      break
    end
    list = response:raise():json()
    for _, subscription in ipairs(list.data) do
      ids[#ids + 1] = subscription.id
    end
  end
  table.sort(ids)
  return table.concat(ids, " ")
end

local function upsert(customer, asked)
  return {
    type = "upsert",
    key = customer.id,
    upstreamUpdatedAt = time.format(asked),
    properties = {
      Name = customer.name,
      Subscriptions = subscriptions_of(customer),
      Created = time.format(time.fromSeconds(customer.created)),
    },
  }
end

-- The cursor has the creation of the last customer besides its id: when that customer is deleted meanwhile, nothing can
-- start after it, and the list goes on at its second instead. The number tells such cursors from those before.
worker:sync("customersBackfill", {
  database = customers,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    local asked = time.nowMs()
    return paginate.cursor(state, {
      fetch = function(cursor)
        local id, created, restarts = (cursor or "  0"):match "^(%S*) (%d*) (%d+)$"
        local query = { limit = 100, ["expand[]"] = "data.subscriptions", starting_after = cursor and id }
        local response = get("/customers", query)
        if response.status == 400 and cursor then
          query.starting_after, query["created[lte]"], restarts = nil, created, restarts + 1
          response = get("/customers", query)
        end
        local list = response:raise():json()
        local last = list.data[#list.data]
        return list.data, list.has_more and ("%s %d %d"):format(last.id, last.created, restarts) or nil
      end,
      change = function(customer)
        return upsert(customer, asked)
      end,
    })
  end,
})

worker:sync("customersDelta", {
  database = customers,
  mode = "incremental",
  schedule = "5m",
  execute = function(state)
    local fetched = {} -- several events of a customer need one request
    return paginate.feed(state, {
      at = "created",
      unit = "s",
      lag = LAG,
      fetch = function(cursor)
        local query = { limit = 100, ["types[]"] = "customer.*", starting_after = cursor }
        local list = get("/events", query):raise():json()
        return list.data, list.has_more and list.data[#list.data].id or nil
      end,
      change = function(event)
        local object = event.data.object
        local id = object.object == "customer" and object.id or object.customer
        if fetched[id] then
          return nil
        end
        fetched[id] = true
        local asked = time.nowMs()
        local customer = get("/customers/" .. id, { ["expand[]"] = "subscriptions" }):raise():json()
        if customer.deleted then
          return { type = "delete", key = id }
        end
        return upsert(customer, asked)
      end,
    })
  end,
})

return worker
