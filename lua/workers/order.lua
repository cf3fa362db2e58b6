-- Counts the values that a script declares. A Lua table has no order, so each Schema and j value carries the number
-- that it got here, and properties are listed by it. Must stay one counter for both modules.

local order = {}

local count = 0

---The next number, from 1.
---@return integer
function order.next()
  count = count + 1
  return count
end

return order
