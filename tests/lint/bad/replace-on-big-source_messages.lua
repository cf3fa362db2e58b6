-- All messages, every half hour.

local workers = require "workers"
local http = require "workers.http"
local paginate = require "workers.paginate"

local Schema = workers.schema
local worker = workers.new()

local tickets = worker:database("tickets", {
  type = "managed",
  initialTitle = "Tickets",
  primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText(), Updated = Schema.date() } },
})

local api = worker:pacer("api", { allowedRequests = 60, intervalMs = 60000 })

local function upsert(item)
  return {
    type = "upsert",
    key = item.id,
    upstreamUpdatedAt = item.updated_at,
    properties = { Name = item.name, Updated = item.updated_at },
  }
end

worker:sync("chatMessages", { -- expect: replace-on-big-source
  database = tickets,
  execute = function(state)
    return paginate.cursor(state, {
      fetch = function(cursor)
        local body = http.get("https://api.example.com/v1/messages", { query = { cursor = cursor }, pacer = api }):raise():json()
        return body.items, body.next
      end,
      change = upsert,
    })
  end,
})

return worker
