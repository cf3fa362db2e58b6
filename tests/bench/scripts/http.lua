-- The measured requests: a number of them at once, by workers.map; the answers are decoded.
local workers = require "workers"
local http = require "workers.http"
local worker = workers.new()

worker:tool("fetchAll", {
  title = "Fetch all",
  description = "Fetches a number of items at once",
  schema = workers.j.object { url = workers.j.string(), count = workers.j.integer(), rounds = workers.j.integer() },
  execute = function(input)
    local ids, sum = {}, 0
    for i = 1, input.count do
      ids[i] = i
    end
    for _ = 1, input.rounds do
      local items = workers.map(ids, { concurrency = input.count }, function(id)
        return http.get(input.url .. "/" .. id):raise():json()
      end)
      for _, item in ipairs(items) do
        sum = sum + item.id
      end
    end
    return sum
  end,
})

return worker
