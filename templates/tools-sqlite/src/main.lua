local workers = require "workers"
local sql = require "workers.sql"
local j = workers.j

local worker = workers.new()

local FILE = "data/plants.db"

-- Queries only read. What comes from a caller is bound, never put into the text of a query.
local function query(text, params)
  local database <close> = sql.open(FILE)
  return database:query(text, params, { maxRows = 100 })
end

worker:tool("find", {
  title = "Find plants",
  description = "Finds plants whose name or light has the text in it. Use it before answering questions about plants.",
  schema = j.object {
    text = j.string():describe "What to look for",
    limit = j.integer():describe("How many at most"):default(10),
  },
  hints = { readOnlyHint = true },
  execute = function(input)
    return query(
      "SELECT name, light, water_days FROM plants WHERE name LIKE '%' || ?1 || '%' OR light LIKE '%' || ?1 || '%'"
        .. " ORDER BY name LIMIT ?2",
      { input.text, input.limit }
    )
  end,
})

worker:tool("thirsty", {
  title = "Thirsty plants",
  description = "Lists plants that want water at least so often.",
  schema = j.object { days = j.integer():describe "Days between two waterings, at most" },
  hints = { readOnlyHint = true },
  execute = function(input)
    return query("SELECT name, water_days FROM plants WHERE water_days <= ?1 ORDER BY water_days, name", { input.days })
  end,
})

return worker
