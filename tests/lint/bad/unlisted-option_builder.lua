-- An option with a letter wrong, in a builder.

local workers = require "workers"
local http = require "workers.http"

local Builder, Schema = workers.builder, workers.schema
local worker = workers.new()

local tickets = worker:database("tickets", {
  type = "managed",
  initialTitle = "Tickets",
  primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText(), Updated = Schema.date(), Status = Schema.select { { name = "Open" }, { name = "Done" } } } },
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
      local status = Builder.select(item.closed and "Dnoe" or "Open") -- expect: unlisted-option
      changes[i] = {
        type = "upsert",
        key = item.id,
        properties = {
          Name = item.name,
          Status = status,
        },
      }
    end
    return { changes = changes, hasMore = body.more, nextState = body.more and { page = page + 1 } or nil }
  end,
})

return worker
