-- Nested loops, a goto and early ends: all of it runs.

local workers = require "workers"
local http = require "workers.http"

local Schema = workers.schema
local worker = workers.new()

local tickets = worker:database("tickets", {
  type = "managed",
  initialTitle = "Tickets",
  primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText(), Updated = Schema.date() } },
})

local api = worker:pacer("api", { allowedRequests = 60, intervalMs = 60000 })

worker:sync("all", {
  database = tickets,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    local page = state and state.page or 1
    local body = http.get("https://api.example.com/v1/tickets", { query = { page = page }, pacer = api, retry = true }):raise():json()
    local changes, seen = {}, {}
    for _, item in ipairs(body.items) do
      if seen[item.id] then
        goto continue
      end
      seen[item.id] = true
      for _, part in ipairs(item.parts) do
        if part.hidden then
          break
        end
        changes[#changes + 1] = { type = "upsert", key = item.id .. "/" .. part.id, properties = { Name = part.name } }
      end
      ::continue::
    end
    if #changes == 0 and page > 1 then
      error "an empty page in the middle"
    else
      return { changes = changes, hasMore = body.more, nextState = body.more and { page = page + 1 } or nil }
    end
  end,
})

return worker
