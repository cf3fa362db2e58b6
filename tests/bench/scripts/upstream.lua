-- Stands for the upstream of the measured syncs: pages of plain tables, as they come out of a JSON body.
local upstream = {}

upstream.ROWS = 100000
upstream.PAGE = 100

local STATUSES = { "Open", "In progress", "Blocked", "Done" }

---@param page integer from 1
---@return table body items, more
function upstream.page(page)
  local items = {}
  local first = (page - 1) * upstream.PAGE
  for i = 1, upstream.PAGE do
    local n = first + i
    items[i] = {
      id = "task-" .. n,
      name = "Task number " .. n .. " of the backlog",
      status = STATUSES[n % 4 + 1],
      points = n % 1000 + 0.5,
      due = string.format("2025-%02d-%02d", n % 12 + 1, n % 28 + 1),
      done = n % 3 == 0,
    }
  end
  return { items = items, more = first + upstream.PAGE < upstream.ROWS }
end

return upstream
