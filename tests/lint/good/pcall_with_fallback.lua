-- Attachments may be gone; anything else goes through.

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

local function attachments(id)
  local ok, answer = pcall(function()
    return http.get("https://api.example.com/v1/tickets/" .. id .. "/files", { pacer = api }):raise():json()
  end)
  if ok then
    return #answer
  elseif answer.status == 404 then
    return 0
  end
  error(answer, 0)
end

worker:sync("all", {
  database = tickets,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    local page = state and state.page or 1
    local body = http.get("https://api.example.com/v1/tickets", { query = { page = page }, pacer = api, retry = true }):raise():json()
    local changes = {}
    for _, item in ipairs(body.items) do
      changes[#changes + 1] = { type = "upsert", key = item.id, properties = { Name = item.name .. " (" .. attachments(item.id) .. ")" } }
    end
    return { changes = changes, hasMore = body.more, nextState = body.more and { page = page + 1 } or nil }
  end,
})

return worker
