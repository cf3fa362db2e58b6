-- The word that somebody meant. Must not know where the words come from.

local nearest = {}

-- Insertions, deletions, substitutions and swaps of neighbours, each counting one.
local function distance(a, b)
  local rows = { [0] = {} }
  for column = 0, #b do
    rows[0][column] = column
  end
  for row = 1, #a do
    rows[row] = { [0] = row }
    for column = 1, #b do
      local same = a:byte(row) == b:byte(column) and 0 or 1
      local best = math.min(rows[row - 1][column] + 1, rows[row][column - 1] + 1, rows[row - 1][column - 1] + same)
      if row > 1 and column > 1 and a:byte(row) == b:byte(column - 1) and a:byte(row - 1) == b:byte(column) then
        best = math.min(best, rows[row - 2][column - 2] + 1)
      end
      rows[row][column] = best
    end
  end
  return rows[#a][#b]
end

-- Nothing is near that is as far away as this.
local function reach(word)
  return #word <= 64 and math.max(1, #word // 3) + 1 or 0
end

-- How far a candidate is; more than limit when its length alone says that it is that far or farther.
local function how_far(word, candidate, limit)
  local case = candidate:lower() == word:lower() and 0.5
  return case or math.abs(#candidate - #word) < limit and distance(word, candidate) or math.huge
end

---The nearest of the words, or nil when none is near.
---@param word string
---@param words table<string, any> the words are its keys
---@return string?
function nearest.of(word, words)
  local best, found = reach(word), nil
  for candidate in pairs(words) do
    local far = how_far(word, candidate, best)
    if far < best or far == best and found and candidate < found then
      best, found = far, candidate
    end
  end
  return found
end

---The one of the words that is near; nil when none is, or more than one.
---@param word string
---@param words table<string, any> the words are its keys
---@return string?
function nearest.only(word, words)
  local limit, found = reach(word), nil
  for candidate in pairs(words) do
    if how_far(word, candidate, limit) < limit then
      if found then
        return nil
      end
      found = candidate
    end
  end
  return found
end

return nearest
