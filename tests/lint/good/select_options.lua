-- Options that are all declared.

local workers = require "workers"
local http = require "workers.http"

local Schema = workers.schema
local worker = workers.new()

local tickets = worker:database("tickets", {
  type = "managed",
  initialTitle = "Tickets",
  primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText(), Updated = Schema.date(), Status = Schema.select { "Open", { name = "Closed", color = "green" } } } },
})

local api = worker:pacer("api", { allowedRequests = 60, intervalMs = 60000 })

worker:sync("all", {
  database = tickets,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    local page = state and state.page or 1
    local body = http.get("https://api.example.com/v1/tickets", { query = { page = page }, pacer = api, retry = true }):raise():json()
    local changes = {}
    for i, item in ipairs(body.items) do
      changes[i] = {
        type = "upsert",
        key = item.id,
        properties = {
          Name = item.name,
          Status = item.draft and "" or item.closed_at and "Closed" or "Open", -- an empty text is no value
          Updated = item.updated_at or workers.null,
        },
      }
    end
    return { changes = changes, hasMore = body.more, nextState = body.more and { page = page + 1 } or nil }
  end,
})

return worker
