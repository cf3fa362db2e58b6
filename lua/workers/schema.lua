-- Property types of a managed database. Each function returns the property's JSON as a plain table, whose metatable
-- keeps the order of declaration and what the JSON has no place for. Must refuse mistakes at the caller's line.

local json = require "workers.json"
local order = require "workers.order"
local suggest = require "workers.suggest"

local show, remedy, unknown_key = suggest.show, suggest.remedy, suggest.unknown_key

---@class workers.schema.Property
---@field type string

---@class workers.schema
---@field title fun(): workers.schema.Property the row's name; each schema has exactly one
---@field richText fun(): workers.schema.Property
---@field url fun(): workers.schema.Property
---@field email fun(): workers.schema.Property
---@field phoneNumber fun(): workers.schema.Property
---@field checkbox fun(): workers.schema.Property
---@field file fun(): workers.schema.Property
---@field people fun(): workers.schema.Property
---@field place fun(): workers.schema.Property
local Schema = {}

local NUMBER_FORMATS = {
  "number",
  "number_with_commas",
  "percent",
  "dollar",
  "euro",
  "pound",
  "yen",
  "rupee",
  "won",
  "yuan",
}
local DATE_FORMATS = { "relative", "MM/DD/YYYY", "DD/MM/YYYY", "YYYY/MM/DD", "ll", "MMM d" }
local COLORS = { "default", "gray", "brown", "orange", "yellow", "green", "blue", "purple", "pink", "red" }
local GROUPS = { "To-do", "In progress", "Complete" }
local OPTION_KEYS = { "name", "color" }
local GROUP_KEYS = { "name", "options" }
local STATUS_KEYS = { "groups" }
local SETTING_KEYS = { "strict" }
local RELATION_KEYS = { "twoWay", "relatedPropertyName" }

local function contains(list, value)
  for _, item in ipairs(list) do
    if item == value then
      return true
    end
  end
  return false
end

local function property(json_value, settings)
  return setmetatable(json_value, {
    __name = "workers.schema",
    order = order.next(),
    strict = settings and settings.strict or nil,
  })
end

-- The checks below return nil and a message, so that the public function can raise it at its caller's line.

local function check_format(format, formats, what)
  if contains(formats, format) then
    return true
  end
  if format == Schema then
    return nil, "call it with a dot, not a colon"
  end
  return nil, ("unknown %s format %s; %s"):format(what, show(format), remedy(format, formats))
end

local function check_settings(settings)
  if settings == nil then
    return true
  end
  if type(settings) ~= "table" then
    return nil, "the second argument must be a table such as { strict = true }, not " .. show(settings)
  end
  local key = unknown_key(settings, SETTING_KEYS)
  if key ~= nil then
    return nil, ("unknown setting %s in the second argument; %s"):format(show(key), remedy(key, SETTING_KEYS))
  end
  if settings.strict ~= nil and type(settings.strict) ~= "boolean" then
    return nil, "strict must be true or false, not " .. show(settings.strict)
  end
  return true
end

-- A table that is a list: nothing but the keys 1 to n.
local function check_list(list, what, example)
  if type(list) ~= "table" then
    return nil, ("%s must be a list such as %s, not %s"):format(what, example, show(list))
  end
  local count = 0
  for key in next, list do
    if math.type(key) ~= "integer" or key < 1 then
      return nil, ("%s must be a list such as %s, but it has the key %s"):format(what, example, show(key))
    end
    count = count + 1
  end
  if count ~= rawlen(list) then
    return nil, ("%s must be a list without gaps, but one of its elements is nil"):format(what)
  end
  return true
end

local function read_option(option, where)
  if type(option) == "string" then
    option = { name = option }
  elseif type(option) ~= "table" then
    return nil, ('%s must be { name = "..." } or a name, not %s'):format(where, show(option))
  end
  local key = unknown_key(option, OPTION_KEYS)
  if key ~= nil then
    return nil, ("%s has the unknown key %s; %s"):format(where, show(key), remedy(key, OPTION_KEYS))
  end
  local name, color = option.name, option.color
  if type(name) ~= "string" or name == "" then
    return nil, ("%s needs a name, a string that is not empty"):format(where)
  end
  if color ~= nil and not contains(COLORS, color) then
    return nil, ("%s (%s) has the unknown color %s; %s"):format(where, show(name), show(color), remedy(color, COLORS))
  end
  return { name = name, color = color }
end

-- seen spans the groups of a status, in which each option may occur once.
local function read_options(options, what, seen)
  local ok, message = check_list(options, what, '{ { name = "Open" } }')
  if not ok then
    return nil, message
  end
  local result = {}
  for i, option in ipairs(options) do
    local where = ("%s[%d]"):format(what, i)
    result[i], message = read_option(option, where)
    if not result[i] then
      return nil, message
    end
    local name = result[i].name
    if seen[name] then
      return nil, ("%s repeats the option %s; each name may occur once"):format(where, show(name))
    end
    seen[name] = true
  end
  return json.array(result)
end

local function read_choice(options, settings)
  if options == Schema then
    return nil, "call it with a dot, not a colon"
  end
  local result, message = read_options(options, "options", {})
  if not result then
    return nil, message
  end
  if #result == 0 then
    return nil, 'options needs at least one option, such as { name = "Open" }'
  end
  local ok
  ok, message = check_settings(settings)
  if not ok then
    return nil, message
  end
  return result
end

local function read_group(group, where, seen)
  if type(group) ~= "table" then
    return nil, ('%s must be { name = "To-do", options = { ... } }, not %s'):format(where, show(group))
  end
  local key = unknown_key(group, GROUP_KEYS)
  if key ~= nil then
    return nil, ("%s has the unknown key %s; %s"):format(where, show(key), remedy(key, GROUP_KEYS))
  end
  if not contains(GROUPS, group.name) then
    return nil, ("%s has the unknown name %s; %s"):format(where, show(group.name), remedy(group.name, GROUPS))
  end
  local options, message = read_options(group.options, where .. ".options", seen)
  if not options then
    return nil, message
  end
  return { name = group.name, options = options }
end

local function read_groups(config, settings)
  if config == Schema then
    return nil, "call it with a dot, not a colon"
  end
  if type(config) ~= "table" then
    return nil, "needs a table such as { groups = { ... } }, not " .. show(config)
  end
  local key = unknown_key(config, STATUS_KEYS)
  if key ~= nil then
    return nil, ("unknown key %s; %s"):format(show(key), remedy(key, STATUS_KEYS))
  end
  local ok, message = check_list(config.groups, "groups", '{ { name = "To-do", options = { ... } } }')
  if not ok then
    return nil, message
  end
  local result, seen, names = {}, {}, {}
  for i, group in ipairs(config.groups) do
    local where = ("groups[%d]"):format(i)
    result[i], message = read_group(group, where, seen)
    if not result[i] then
      return nil, message
    end
    if names[group.name] then
      return nil, ("%s repeats the group %s; put all its options into one"):format(where, show(group.name))
    end
    names[group.name] = true
  end
  if next(seen) == nil then
    return nil, "groups needs at least one option in one of the groups To-do, In progress and Complete"
  end
  ok, message = check_settings(settings)
  if not ok then
    return nil, message
  end
  return json.array(result)
end

local function read_relation(config)
  if config == nil then
    return { twoWay = false }
  end
  if type(config) ~= "table" then
    return nil,
      'the second argument must be { twoWay = true, relatedPropertyName = "..." }, not ' .. show(config)
  end
  local key = unknown_key(config, RELATION_KEYS)
  if key ~= nil then
    return nil, ("unknown key %s in the second argument; %s"):format(show(key), remedy(key, RELATION_KEYS))
  end
  local two_way, name = config.twoWay, config.relatedPropertyName
  if type(two_way) ~= "boolean" then
    return nil, "twoWay must be true or false, not " .. show(two_way)
  end
  if two_way and (type(name) ~= "string" or name == "") then
    return nil,
      "twoWay needs relatedPropertyName, the name of the property that points back from the related database"
  end
  if not two_way and name ~= nil then
    return nil, "relatedPropertyName has a meaning with twoWay = true only; set that, or leave the name out"
  end
  return { twoWay = two_way, relatedPropertyName = name }
end

for name, type_name in pairs {
  title = "title",
  richText = "text",
  url = "url",
  email = "email",
  phoneNumber = "phone_number",
  checkbox = "checkbox",
  file = "file",
  people = "people",
  place = "place",
} do
  Schema[name] = function()
    return property { type = type_name }
  end
end

---@param format? "number"|"number_with_commas"|"percent"|"dollar"|"euro"|"pound"|"yen"|"rupee"|"won"|"yuan"
---@return workers.schema.Property
function Schema.number(format)
  if format ~= nil then
    local ok, message = check_format(format, NUMBER_FORMATS, "number")
    if not ok then
      error("Schema.number: " .. message, 2)
    end
  end
  return property { type = "number", format = format }
end

---@param format? "relative"|"MM/DD/YYYY"|"DD/MM/YYYY"|"YYYY/MM/DD"|"ll"|"MMM d"
---@return workers.schema.Property
function Schema.date(format)
  if format ~= nil then
    local ok, message = check_format(format, DATE_FORMATS, "date")
    if not ok then
      error("Schema.date: " .. message, 2)
    end
  end
  return property { type = "date", date_format = format }
end

---@param options ({name: string, color?: string}|string)[]
---@param settings? {strict?: boolean} strict makes an undeclared option an error
---@return workers.schema.Property
function Schema.select(options, settings)
  local result, message = read_choice(options, settings)
  if not result then
    error("Schema.select: " .. message, 2)
  end
  return property({ type = "select", options = result }, settings)
end

---@param options ({name: string, color?: string}|string)[]
---@param settings? {strict?: boolean} strict makes an undeclared option an error
---@return workers.schema.Property
function Schema.multiSelect(options, settings)
  local result, message = read_choice(options, settings)
  if not result then
    error("Schema.multiSelect: " .. message, 2)
  end
  return property({ type = "multi_select", options = result }, settings)
end

---@param config {groups: {name: "To-do"|"In progress"|"Complete", options: table}[]}
---@param settings? {strict?: boolean} strict makes an undeclared option an error
---@return workers.schema.Property
function Schema.status(config, settings)
  local groups, message = read_groups(config, settings)
  if not groups then
    error("Schema.status: " .. message, 2)
  end
  return property({ type = "status", groups = groups }, settings)
end

---@param databaseKey string the key given to worker:database()
---@param config? {twoWay: boolean, relatedPropertyName?: string}
---@return workers.schema.Property
function Schema.relation(databaseKey, config)
  if databaseKey == Schema then
    error("Schema.relation: call it with a dot, not a colon", 2)
  end
  if type(databaseKey) ~= "string" or databaseKey == "" then
    error(
      "Schema.relation: the first argument must be the key of a database declared with worker:database, not "
        .. show(databaseKey),
      2
    )
  end
  local result, message = read_relation(config)
  if not result then
    error("Schema.relation: " .. message, 2)
  end
  return property { type = "relation", relatedDatabaseKey = databaseKey, config = result }
end

return suggest.strict("Schema", Schema)
