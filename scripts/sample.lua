-- Sample rows of views: what a person wrote, or some that are made up from the schema. Must not depend on chance: the
-- same schema has the same rows.

local ROWS = 24
local WORDS = { "Apple", "Birch", "Cedar", "Dune", "Ember", "Fjord", "Grove", "Heath", "Iris", "Juniper", "Kelp", "Lagoon" }

---@class sample.Property
---@field name string
---@field type string as in the manifest
---@field options string[]

---@class sample.Source
---@field key string of the data source
---@field primary string the property that holds the key
---@field properties sample.Property[]

local function word(i)
  return WORDS[(i - 1) % #WORDS + 1]
end

-- What has no entry here is left out.
local makers = {
  title = function(_, i)
    return ("%s %d"):format(word(i), i)
  end,
  text = function(_, i)
    return ("%s and %s"):format(word(i + 3), word(i + 7):lower())
  end,
  url = function(_, i)
    return "https://example.com/" .. word(i):lower()
  end,
  email = function(_, i)
    return word(i):lower() .. "@example.com"
  end,
  phone_number = function(_, i)
    return ("+1 202 555 01%02d"):format(i)
  end,
  checkbox = function(_, i)
    return i % 3 == 0
  end,
  number = function(_, i)
    return i * 37 % 100
  end,
  date = function(_, i)
    return ("2027-%02d-%02d"):format((i - 1) // 12 + 1, i * 7 % 28 + 1)
  end,
  select = function(property, i)
    return property.options[(i * 5 - 1) % #property.options + 1]
  end,
  multi_select = function(property, i)
    return #property.options > 0 and { property.options[(i - 1) % #property.options + 1] } or nil
  end,
}
makers.rich_text = makers.text
makers.status = makers.select

local function make_up(source)
  local rows = {}
  for i = 1, ROWS do
    local row = {}
    for _, property in ipairs(source.properties) do
      local maker = makers[property.type]
      if maker and (property.type ~= "select" and property.type ~= "status" or #property.options > 0) then
        row[property.name] = maker(property, i)
      end
    end
    row[source.primary] = type(row[source.primary]) == "number" and i or ("sample-%02d"):format(i)
    rows[i] = row
  end
  return rows
end

local function to_changes(source, rows)
  local changes, row_of = {}, {}
  if type(rows) ~= "table" or (#rows == 0 and next(rows) ~= nil) then
    error(('"%s" must be a list of rows'):format(source.key), 0)
  end
  for i, row in ipairs(rows) do
    if type(row) ~= "table" then
      error(('"%s": row %d must be an object'):format(source.key, i), 0)
    end
    local key = row[source.primary]
    if type(key) == "number" then
      key = tostring(math.tointeger(key) or key)
    end
    if type(key) ~= "string" or key == "" then
      error(('"%s": row %d needs "%s", a text that no other row has'):format(source.key, i, source.primary), 0)
    end
    if row_of[key] then
      error(('"%s": rows %d and %d have the same "%s"'):format(source.key, row_of[key], i, source.primary), 0)
    end
    row_of[key] = i
    changes[i] = { type = "upsert", key = key, properties = row }
  end
  return changes
end

---The changes that make the rows, one list for each source, in their order; and of each whether the file says them.
---@param sources sample.Source[]
---@param sample table<string, table[]>? what the file says; nil when there is none
---@return table[] lists
---@return boolean[] given
return function(sources, sample)
  local lists, given, known = {}, {}, {}
  for i, source in ipairs(sources) do
    local rows = sample and sample[source.key]
    known[source.key] = true
    lists[i] = to_changes(source, rows or make_up(source))
    given[i] = rows ~= nil
  end
  for key in pairs(sample or {}) do
    if not known[key] then
      error(('there is no data source "%s"'):format(tostring(key)), 0)
    end
  end
  return lists, given
end
