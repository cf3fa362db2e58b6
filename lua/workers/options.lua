-- Checks the option tables that scripts pass to the modules written in Lua, with the words that C modules use
-- (src/script/options.c). Raises at the line of whoever called the module.

local suggest = require "workers.suggest"

local options = {}

---@class workers.options.Spec
---@field [1] string the option's name
---@field [2] string what it takes: "function", "string", "boolean", "number" (at least 0), "integer" (at least 1),
---"natural" (an integer of at least 0), "key" (a field's name or a function), "table" or "any"
---@field required? boolean
---@field help? string what to write, for the error about a missing or wrong option

local EXPECTED = {
  ["function"] = "a function",
  string = "a non-empty string",
  boolean = "true or false",
  number = "a number of at least 0",
  integer = "a whole number of at least 1",
  natural = "a whole number of at least 0",
  key = "a field's name or a function",
  table = "a table",
}

local function fits(value, kind)
  local found = type(value)
  if kind == "any" then
    return true
  elseif kind == "string" then
    return found == "string" and value ~= ""
  elseif kind == "number" then
    return found == "number" and value >= 0 and value < math.huge
  elseif kind == "integer" or kind == "natural" then
    local whole = found == "number" and math.tointeger(value)
    return whole and whole >= (kind == "integer" and 1 or 0)
  elseif kind == "key" then
    return found == "function" or (found == "string" and value ~= "")
  end
  return found == kind
end

---Checks given against specs. The function that called this one must have been called by the script.
---@param what string the call, as in "paginate.page"
---@param given any
---@param specs workers.options.Spec[]
---@return table given
function options.check(what, given, specs)
  if type(given) ~= "table" then
    error(("%s: expected a table of options, got %s"):format(what, suggest.show(given)), 3)
  end
  local names = {}
  for i, spec in ipairs(specs) do
    names[i] = spec[1]
  end
  local unknown = suggest.unknown_key(given, names)
  if unknown ~= nil then
    local nearest = suggest.nearest(unknown, names)
    error(
      ("%s: unknown option %s; %s"):format(
        what,
        suggest.show(unknown),
        nearest and ('did you mean "%s"?'):format(nearest) or "the options are: " .. table.concat(names, ", ")
      ),
      3
    )
  end
  for _, spec in ipairs(specs) do
    local name, kind, value = spec[1], spec[2], rawget(given, spec[1])
    if value == nil then
      if spec.required then
        error(('%s: option "%s" is missing%s'):format(what, name, spec.help and ": " .. spec.help or ""), 3)
      end
    elseif not fits(value, kind) then
      error(
        ('%s: option "%s" must be %s%s, got %s'):format(
          what,
          name,
          EXPECTED[kind],
          spec.help and (" (%s)"):format(spec.help) or "",
          suggest.show(value)
        ),
        3
      )
    end
  end
  return given
end

---One list of the elements of all.
---@param ... any[]
---@return any[]
function options.joined(...)
  local all = {}
  for _, list in ipairs { ... } do
    table.move(list, 1, #list, #all + 1, all)
  end
  return all
end

return options
