-- What the SDK cannot tell of our Schema and j values: their metatables, their order, and the words of their errors.
-- Prints TAP; returns success.

local json = require "workers.json"
local Schema = require "workers.schema"
local j = require "workers.j"

local count, failed = 0, 0
local function check(name, got, wanted)
  count = count + 1
  if got == wanted then
    print(("ok %d - %s"):format(count, name))
  else
    failed = failed + 1
    print(("not ok %d - %s\n# got    %s\n# wanted %s"):format(count, name, tostring(got), tostring(wanted)))
  end
end

-- Metatables

local first = Schema.title()
local second = j.string()
local third = Schema.select({ "Open" }, { strict = true })
local fourth = second:describe "x"
check("one counter for both modules", getmetatable(second).order, getmetatable(first).order + 1)
check("it goes on", getmetatable(third).order, getmetatable(first).order + 2)
check("describe makes a new value", getmetatable(fourth).order, getmetatable(first).order + 3)
check("Schema values say what they are", getmetatable(first).__name, "workers.schema")
check("j values say what they are", getmetatable(second).__name, "workers.j")
check("strict stays out of the JSON", json.encode(third), json.encode { type = "select", options = { { name = "Open" } } })
check("strict is in the metatable", getmetatable(third).strict, true)
check("not strict is nothing", getmetatable(Schema.select { "a" }).strict, nil)
check("multiSelect can be strict", getmetatable(Schema.multiSelect({ "a" }, { strict = true })).strict, true)
check(
  "status can be strict",
  getmetatable(Schema.status({ groups = { { name = "To-do", options = { "a" } } } }, { strict = true })).strict,
  true
)
check("describe leaves the first value alone", getmetatable(second).__jsonvalue.description, nil)
local given = { { name = "a" } }
local made = Schema.select(given)
given[1].name = "b"
check("options are copied", made.options[1].name, "a")

-- Order

local function required(value)
  return table.concat(getmetatable(value).__jsonvalue.required, " ")
end
check("properties are in order", required(j.object { z = j.string(), a = j.string(), m = j.string() }), "z a m")
local shared = j.string()
check("a value used twice: by name", required(j.object { b = shared, a = shared, c = j.string() }), "a b c")
check("describe counts as made then", required(j.object { a = j.string(), b = shared:describe "x" }), "a b")
check("no properties", json.encode(getmetatable(j.object {}).__jsonvalue.required), "[]")
check("no properties either", json.encode(getmetatable(j.object {}).__jsonvalue.properties), "{}")
check("empty options of a group", json.encode(Schema.status({ groups = {
  { name = "To-do", options = { "a" } },
  { name = "Complete", options = {} },
} }).groups[2].options), "[]")

-- Messages, at the caller's line

local function message(code)
  local chunk = assert(load("local Schema, j = ...\n\nlocal value = " .. code .. "\nreturn value", "=script"))
  local ok, err = pcall(chunk, Schema, j)
  return ok and "no error" or err
end

local function refuses(code, wanted)
  check(code, message(code), "script:3: " .. wanted)
end

refuses("Schema.select {}", 'Schema.select: options needs at least one option, such as { name = "Open" }')
refuses("Schema.multiSelect {}", 'Schema.multiSelect: options needs at least one option, such as { name = "Open" }')
refuses('Schema.select("Open", "Done")', 'Schema.select: options must be a list such as { { name = "Open" } }, not "Open"')
refuses("Schema.select { {} }", "Schema.select: options[1] needs a name, a string that is not empty")
refuses('Schema.select { "" }', "Schema.select: options[1] needs a name, a string that is not empty")
refuses("Schema.select { 7 }", 'Schema.select: options[1] must be { name = "..." } or a name, not 7')
refuses(
  'Schema.select { "a", { name = "b", colour = "red" } }',
  'Schema.select: options[2] has the unknown key "colour"; did you mean "color"?'
)
refuses(
  'Schema.select { { name = "b", color = "grey" } }',
  'Schema.select: options[1] ("b") has the unknown color "grey"; did you mean "gray"?'
)
refuses(
  'Schema.select { { name = "b", color = "turquoise" } }',
  'Schema.select: options[1] ("b") has the unknown color "turquoise"; '
    .. "valid: default, gray, brown, orange, yellow, green, blue, purple, pink, red"
)
refuses('Schema.select { "a", "a" }', 'Schema.select: options[2] repeats the option "a"; each name may occur once')
refuses('Schema.select { "a", nil, "b" }', "Schema.select: options must be a list without gaps, but one of its elements is nil")
refuses('Schema.select({ "a" }, { strikt = true })', 'Schema.select: unknown setting "strikt" in the second argument; did you mean "strict"?')
refuses('Schema.select({ "a" }, { strict = 1 })', "Schema.select: strict must be true or false, not 1")
refuses('Schema.select({ "a" }, true)', "Schema.select: the second argument must be a table such as { strict = true }, not true")
refuses('Schema:select { "a" }', "Schema.select: call it with a dot, not a colon")
refuses('Schema:relation "a"', "Schema.relation: call it with a dot, not a colon")
refuses('Schema.number "percents"', 'Schema.number: unknown number format "percents"; did you mean "percent"?')
refuses("Schema.number(5)", "Schema.number: unknown number format 5; valid: number, number_with_commas, percent, dollar, euro, pound, yen, rupee, won, yuan")
refuses("Schema:number()", "Schema.number: call it with a dot, not a colon")
refuses('Schema.date "MM-DD-YYYY"', 'Schema.date: unknown date format "MM-DD-YYYY"; did you mean "MM/DD/YYYY"?')
refuses("Schema.status()", "Schema.status: needs a table such as { groups = { ... } }, not nothing")
refuses("Schema.status { group = {} }", 'Schema.status: unknown key "group"; did you mean "groups"?')
refuses(
  'Schema.status { groups = { { name = "Todo", options = { "a" } } } }',
  'Schema.status: groups[1] has the unknown name "Todo"; did you mean "To-do"?'
)
refuses(
  'Schema.status { groups = { { name = "To-do", options = { "a" } }, { name = "Complete", options = { "a" } } } }',
  'Schema.status: groups[2].options[1] repeats the option "a"; each name may occur once'
)
refuses(
  'Schema.status { groups = { { name = "To-do", options = { "a" } }, { name = "To-do", options = { "b" } } } }',
  'Schema.status: groups[2] repeats the group "To-do"; put all its options into one'
)
refuses(
  "Schema.status { groups = {} }",
  "Schema.status: groups needs at least one option in one of the groups To-do, In progress and Complete"
)
refuses(
  "Schema.relation()",
  "Schema.relation: the first argument must be the key of a database declared with worker:database, not nothing"
)
refuses(
  'Schema.relation("p", { twoWay = true })',
  "Schema.relation: twoWay needs relatedPropertyName, the name of the property that points back from the related database"
)
refuses('Schema.relation("p", { twoway = true })', 'Schema.relation: unknown key "twoway" in the second argument; did you mean "twoWay"?')
refuses("Schema.richtext()", 'Schema has no function "richtext"; did you mean "richText"?')

refuses("j.enum()", 'j.enum: needs at least one value, as in j.enum("open", "done")')
refuses('j.enum { "a", "b" }', 'j.enum: takes its values one by one: j.enum("open", "done"), or j.enum(table.unpack(list))')
refuses('j.enum("a", true)', "j.enum: value 2 must be a string or a number, not true")
refuses("j.enum(1, 1.0)", "j.enum: value 2 repeats 1; name each value once")
refuses("j.enum(0/0)", "j.enum: value 1 must be a finite number")
refuses("j.array()", "j.array: the items must be a j value such as j.string(), not nothing")
refuses("j.array(j.string)", "j.array: the items must be a j value such as j.string(), not the function j.string; call it: j.string()")
refuses("j.array(j.string(), { minItem = 1 })", 'j.array: unknown option "minItem"; did you mean "minItems"?')
refuses("j.array(j.string(), { minItems = 0.5 })", "j.array: minItems must be a whole number, 0 or more, not 0.5")
refuses('j.object { name = "string" }', 'j.object: property "name" must be a j value such as j.string(), not "string"')
refuses("j.object { j.string() }", "j.object: property names must be strings, but one is 1; write name = j.string()")
refuses("j.object(j.string())", "j.object: needs a table of name = j value, not a j value")
refuses("j.anyOf()", "j.anyOf: needs at least one j value")
refuses("j.anyOf(j.string(), 5)", "j.anyOf: argument 2 must be a j value such as j.string(), not 5")
refuses("j.ref()", 'j.ref: needs a path such as "#" or "#/properties/name", not nothing')
refuses("j.string():describe()", "describe: the description must be a string, not nothing")
refuses('j.string().describe("x")', "describe: call it with a colon on a j value, as in j.string():describe(text)")
refuses("j.string():nulable()", 'a j value has no method "nulable"; did you mean "nullable"?')
check(
  "j values cannot be changed",
  select(2, pcall(function()
    second.description = "y"
  end)):match ": (.*)",
  'j values never change: cannot set "description"; default, describe, nullable and optional return new values'
)
refuses("j.strin()", 'j has no function "strin"; did you mean "string"?')

print(("1..%d\n# %d failed"):format(count, failed))
return failed == 0
