-- Builders for the JSON Schema of a tool's input and output. A value never changes: its methods return new
-- ones. The schema is in the metatable's __jsonvalue, the order of declaration beside it. Must refuse mistakes at the
-- caller's line.

local json = require "workers.json"
local order = require "workers.order"
local suggest = require "workers.suggest"

local show, remedy, unknown_key = suggest.show, suggest.remedy, suggest.unknown_key

---@class workers.j.Value
---@field describe fun(self: workers.j.Value, text: string): workers.j.Value
---@field nullable fun(self: workers.j.Value): workers.j.Value
---@field optional fun(self: workers.j.Value): workers.j.Value
---@field default fun(self: workers.j.Value, value: string|number|boolean|lightuserdata): workers.j.Value

---@class workers.j
---@field string fun(): workers.j.Value
---@field number fun(): workers.j.Value
---@field integer fun(): workers.j.Value
---@field boolean fun(): workers.j.Value
---@field datetime fun(): workers.j.Value
---@field date fun(): workers.j.Value
---@field time fun(): workers.j.Value
---@field duration fun(): workers.j.Value
---@field email fun(): workers.j.Value
---@field hostname fun(): workers.j.Value
---@field ipv4 fun(): workers.j.Value
---@field ipv6 fun(): workers.j.Value
---@field uuid fun(): workers.j.Value
local j = {}

local methods = {}
local METHOD_NAMES = { "default", "describe", "nullable", "optional" }
local ARRAY_KEYS = { "minItems" }

local function refuse_change(_, key)
  error(("j values never change: cannot set %s; default, describe, nullable and optional return new values"):format(show(key)), 2)
end

local function find_method(_, name)
  local method = methods[name]
  if method == nil then
    error(("a j value has no method %s; %s"):format(show(name), remedy(name, METHOD_NAMES)), 2)
  end
  return method
end

local function build(schema, optional)
  return setmetatable({}, {
    optional = optional,
    __name = "workers.j",
    __index = find_method,
    __newindex = refuse_change,
    __jsonvalue = schema,
    order = order.next(),
  })
end

-- The metatable of a j value, nil for anything else.
local function meta(value)
  if type(value) ~= "table" then
    return nil
  end
  local found = getmetatable(value)
  if type(found) == "table" and rawget(found, "__name") == "workers.j" then
    return found
  end
  return nil
end

-- What to say of a value that should have been a j value.
local function not_j(value)
  if type(value) == "function" then
    for name, known in next, j do
      if known == value then
        return ("the function j.%s; call it: j.%s()"):format(name, name)
      end
    end
  end
  return show(value)
end

-- The same schema with a keyword more.
local function extended(schema, name, value)
  local copy = {}
  for key, part in next, schema do
    copy[key] = part
  end
  copy[name] = value
  return copy
end

---Sets the description.
function methods.describe(self, text)
  local found = meta(self)
  if not found then
    error("describe: call it with a colon on a j value, as in j.string():describe(text)", 2)
  end
  if type(text) ~= "string" then
    error("describe: the description must be a string, not " .. show(text), 2)
  end
  return build(extended(found.__jsonvalue, "description", text), found.optional)
end

---Allows null as well. A description and a default move to the outer schema.
function methods.nullable(self)
  local found = meta(self)
  if not found then
    error("nullable: call it with a colon on a j value, as in j.string():nullable()", 2)
  end
  local inner, outer = {}, { anyOf = json.array {} }
  for key, value in next, found.__jsonvalue do
    if key == "description" or key == "default" then
      outer[key] = value
    else
      inner[key] = value
    end
  end
  outer.anyOf = json.array { inner, { type = "null" } }
  return build(outer, found.optional)
end

---As a property of an object: it may be left out.
function methods.optional(self)
  local found = meta(self)
  if not found then
    error("optional: call it with a colon on a j value, as in j.string():optional()", 2)
  end
  return build(found.__jsonvalue, true)
end

local TYPES = {
  string = function(value) return type(value) == "string" end,
  number = function(value) return type(value) == "number" end,
  integer = function(value) return math.type(value) == "integer" or type(value) == "number" and value % 1 == 0 end,
  boolean = function(value) return type(value) == "boolean" end,
  null = function(value) return value == json.null end,
}

-- Whether a scalar passes the schema, as far as types and enums say.
local function fits(schema, value)
  if schema.anyOf then
    for _, branch in ipairs(schema.anyOf) do
      local inner = meta(branch)
      if fits(inner and inner.__jsonvalue or branch, value) then
        return true
      end
    end
    return false
  end
  if schema.enum then
    for _, allowed in ipairs(schema.enum) do
      if allowed == value then
        return true
      end
    end
    return false
  end
  local fits_type = schema.type and TYPES[schema.type]
  return schema.type == nil or fits_type ~= nil and fits_type(value)
end

---As a property of an object: it may be left out, and is then this string, number, boolean or null.
function methods.default(self, value)
  local found = meta(self)
  if not found then
    error("default: call it with a colon on a j value, as in j.integer():default(20)", 2)
  end
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" and kind ~= "boolean" and value ~= json.null then
    error("default: the default must be a string, a number, a boolean or null, not " .. show(value), 2)
  end
  if not fits(found.__jsonvalue, value) then
    error(("default: %s does not pass the schema that it is the default of"):format(show(value)), 2)
  end
  return build(extended(found.__jsonvalue, "default", value), true)
end

for name, schema in pairs {
  string = { type = "string" },
  number = { type = "number" },
  integer = { type = "integer" },
  boolean = { type = "boolean" },
  datetime = { type = "string", format = "date-time" },
  date = { type = "string", format = "date" },
  time = { type = "string", format = "time" },
  duration = { type = "string", format = "duration" },
  email = { type = "string", format = "email" },
  hostname = { type = "string", format = "hostname" },
  ipv4 = { type = "string", format = "ipv4" },
  ipv6 = { type = "string", format = "ipv6" },
  uuid = { type = "string", format = "uuid" },
} do
  j[name] = function()
    return build { type = schema.type, format = schema.format }
  end
end

local function read_enum(...)
  local count = select("#", ...)
  if count == 0 then
    return nil, 'needs at least one value, as in j.enum("open", "done")'
  end
  local values, seen = {}, {}
  for i = 1, count do
    local value = select(i, ...)
    local kind = type(value)
    if kind == "table" and count == 1 then
      return nil, 'takes its values one by one: j.enum("open", "done"), or j.enum(table.unpack(list))'
    end
    if kind ~= "string" and kind ~= "number" then
      return nil, ("value %d must be a string or a number, not %s"):format(i, show(value))
    end
    if kind == "number" then
      if value ~= value or value == math.huge or value == -math.huge then
        return nil, ("value %d must be a finite number"):format(i)
      end
      value = math.tointeger(value) or value
    end
    if seen[value] then
      return nil, ("value %d repeats %s; name each value once"):format(i, show(value))
    end
    seen[value] = true
    values[i] = value
  end
  return values
end

---One of the given strings or numbers.
---@param ... string|number
---@return workers.j.Value
j["enum"] = function(...)
  local values, message = read_enum(...)
  if not values then
    error("j.enum: " .. message, 2)
  end
  return build { type = type(values[1]), enum = json.array(values) }
end

local function read_min_items(options)
  if options == nil then
    return true
  end
  if type(options) ~= "table" then
    return nil, "the second argument must be a table such as { minItems = 1 }, not " .. show(options)
  end
  local key = unknown_key(options, ARRAY_KEYS)
  if key ~= nil then
    return nil, ("unknown option %s; %s"):format(show(key), remedy(key, ARRAY_KEYS))
  end
  local count = options.minItems
  if count == nil then
    return true
  end
  count = math.type(count) and math.tointeger(count)
  if not count or count < 0 then
    return nil, "minItems must be a whole number, 0 or more, not " .. show(options.minItems)
  end
  return true, count
end

---@param items workers.j.Value
---@param options? {minItems?: integer}
---@return workers.j.Value
function j.array(items, options)
  local found = meta(items)
  if not found then
    error("j.array: the items must be a j value such as j.string(), not " .. not_j(items), 2)
  end
  local ok, count = read_min_items(options)
  if not ok then
    error("j.array: " .. count, 2)
  end
  return build { type = "array", items = found.__jsonvalue, minItems = count }
end

-- The names of the properties in the order in which their values were made.
local function read_properties(properties)
  if type(properties) ~= "table" then
    return nil, "needs a table of name = j value, not " .. show(properties)
  end
  if meta(properties) then
    return nil, "needs a table of name = j value, not a j value"
  end
  local names, orders = {}, {}
  for name, value in next, properties do
    if type(name) ~= "string" then
      return nil, "property names must be strings, but one is " .. show(name) .. "; write name = j.string()"
    end
    local found = meta(value)
    if not found then
      return nil, ("property %s must be a j value such as j.string(), not %s"):format(show(name), not_j(value))
    end
    names[#names + 1] = name
    orders[name] = found.order
  end
  table.sort(names, function(a, b)
    if orders[a] ~= orders[b] then
      return orders[a] < orders[b]
    end
    return a < b -- the same value used twice
  end)
  return names
end

---An object with exactly these properties; all of them are required but those with optional() or default().
---@param properties table<string, workers.j.Value>
---@return workers.j.Value
function j.object(properties)
  local names, message = read_properties(properties)
  if not names then
    error("j.object: " .. message, 2)
  end
  local schemas, required = {}, {}
  for _, name in ipairs(names) do
    local found = meta(properties[name])
    schemas[name] = found.__jsonvalue
    if not found.optional then
      required[#required + 1] = name
    end
  end
  return build {
    type = "object",
    properties = json.object(schemas),
    required = json.array(required),
    additionalProperties = false,
  }
end

---A value that fits at least one of the given schemas.
---@param ... workers.j.Value
---@return workers.j.Value
function j.anyOf(...)
  local count = select("#", ...)
  if count == 0 then
    error("j.anyOf: needs at least one j value", 2)
  end
  local schemas = {}
  for i = 1, count do
    local value = select(i, ...)
    local found = meta(value)
    if not found then
      error(("j.anyOf: argument %d must be a j value such as j.string(), not %s"):format(i, not_j(value)), 2)
    end
    schemas[i] = found.__jsonvalue
  end
  return build { anyOf = json.array(schemas) }
end

---A part of the same schema: "#" for the whole, "#/properties/name" for a property.
---@param path string
---@return workers.j.Value
function j.ref(path)
  if type(path) ~= "string" then
    error('j.ref: needs a path such as "#" or "#/properties/name", not ' .. show(path), 2)
  end
  return build { ["$ref"] = path }
end

---A schema as JSON Schema writes it, of the keywords that this module makes, and $defs.
---@param schema table
---@return workers.j.Value
function j.schema(schema)
  if type(schema) ~= "table" or meta(schema) then
    error("j.schema: needs a table of JSON Schema, such as { type = \"object\" }, not " .. show(schema), 2)
  end
  return build(schema)
end

return suggest.strict("j", j)
