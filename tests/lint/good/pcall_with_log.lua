-- A note that cannot be read is logged and left out.

local workers = require "workers"
local http = require "workers.http"
local json = require "workers.json"
local log = require "workers.log"

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
    local changes = {}
    for _, item in ipairs(body.items) do
      local ok, note = pcall(json.decode, item.note)
      if not ok then
        log.warn("the note of " .. item.id .. " cannot be read: " .. tostring(note))
        note = {}
      end
      changes[#changes + 1] = { type = "upsert", key = item.id, properties = { Name = note.title or item.name } }
    end
    return { changes = changes, hasMore = body.more, nextState = body.more and { page = page + 1 } or nil }
  end,
})

return worker
