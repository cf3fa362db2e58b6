local json = require "workers.json"
local tap = require "tap"
local testing = require "testing"
local workers = require "workers"
local test, equal, raises = tap.test, tap.equal, tap.raises

local Schema, j = workers.schema, workers.j

local function same(value, text)
  equal(json.decode(json.encode(value)), json.decode(text), json.encode(value))
end

test("the parts of workers are the modules of that name", function()
  equal(rawequal(workers.schema, require "workers.schema"), true)
  equal(rawequal(workers.builder, require "workers.builder"), true)
  equal(rawequal(workers.j, require "workers.j"), true)
end)

test("simple properties", function()
  for name, kind in pairs {
    title = "title",
    richText = "text",
    url = "url",
    email = "email",
    phoneNumber = "phone_number",
    checkbox = "checkbox",
    file = "file",
    people = "people",
    place = "place",
    number = "number",
    date = "date",
  } do
    same(Schema[name](), '{"type":"' .. kind .. '"}')
  end
  same(Schema.number "percent", '{"type":"number","format":"percent"}')
  same(Schema.date "relative", '{"type":"date","date_format":"relative"}')
end)

test("choices", function()
  same(
    Schema.select { { name = "Open" }, { name = "Done", color = "green" }, "Other" },
    '{"type":"select","options":[{"name":"Open"},{"name":"Done","color":"green"},{"name":"Other"}]}'
  )
  same(Schema.multiSelect { "a" }, '{"type":"multi_select","options":[{"name":"a"}]}')
  same(
    Schema.status { groups = { { name = "To-do", options = { "New" } }, { name = "Complete", options = {} } } },
    '{"type":"status","groups":[{"name":"To-do","options":[{"name":"New"}]},{"name":"Complete","options":[]}]}'
  )
end)

test("relations", function()
  same(Schema.relation "tasks", '{"type":"relation","relatedDatabaseKey":"tasks","config":{"twoWay":false}}')
  same(
    Schema.relation("tasks", { twoWay = true, relatedPropertyName = "Back" }),
    '{"type":"relation","relatedDatabaseKey":"tasks","config":{"twoWay":true,"relatedPropertyName":"Back"}}'
  )
end)

local worker = workers.new()
worker:database("tasks", {
  type = "managed",
  initialTitle = "Tasks",
  primaryKeyProperty = "Id",
  schema = {
    properties = { Zed = Schema.title(), Id = Schema.richText(), Alpha = Schema.checkbox(), Beta = Schema.url() },
  },
})

test("the order of declaration is kept", function()
  local manifest = testing.manifest()
  local places = {}
  for i, name in ipairs { "Zed", "Id", "Alpha", "Beta" } do
    places[i] = manifest:find('"' .. name .. '":{', 1, true)
  end
  equal(#places, 4)
  for i = 2, 4 do
    tap.truthy(places[i] > places[i - 1], manifest)
  end
end)

test("declarations belong at the top level", function()
  raises(function()
    worker:pacer("late", { allowedRequests = 1, intervalMs = 1 })
  end, "worker:pacer: declarations belong at the top level of the script, not into a running function")
  raises(function()
    worker.pacer "late"
  end, 'call it with a colon: worker:pacer("key", { … })')
  raises(workers.new, "workers.new: a script has one worker; it was already made")
end)

test("misuse of Schema", function()
  for _, case in ipairs {
    { "select", { {} }, 'Schema.select: options needs at least one option, such as { name = "Open" }' },
    { "select", {}, "Schema.select: options must be a list such as" },
    { "select", { { { color = "red" } } }, "Schema.select: options[1] needs a name, a string that is not empty" },
    { "select", { { "a", "a" } }, 'Schema.select: options[2] repeats the option "a"' },
    { "select", { { { name = "a", color = "gren" } } }, 'has the unknown color "gren"; did you mean "green"?' },
    { "select", { { "a" }, { strickt = true } }, 'unknown setting "strickt" in the second argument; did you mean "strict"?' },
    { "number", { "percnt" }, 'Schema.number: unknown number format "percnt"; did you mean "percent"?' },
    { "date", { 5 }, "Schema.date: unknown date format 5; valid: relative" },
    { "status", { { groups = {} } }, "Schema.status: groups needs at least one option" },
    { "relation", { "" }, "Schema.relation: the first argument must be the key of a database" },
    { "relation", { "x", { twoWay = true } }, "Schema.relation: twoWay needs relatedPropertyName" },
  } do
    local message = raises(function()
      Schema[case[1]](table.unpack(case[2]))
    end, case[3])
    tap.truthy(message:find "^schema_test.lua:%d+: ", message)
  end
  raises(function()
    Schema.text()
  end, 'Schema has no function "text"; ')
end)

test("j", function()
  same(j.string():describe "a", '{"type":"string","description":"a"}')
  same(j.integer():nullable(), '{"anyOf":[{"type":"integer"},{"type":"null"}]}')
  same(j.array(j.boolean(), { minItems = 1 }), '{"type":"array","items":{"type":"boolean"},"minItems":1}')
  same(
    j.object { name = j.string(), when = j.datetime() },
    '{"type":"object","properties":{"name":{"type":"string"},"when":{"type":"string","format":"date-time"}},'
      .. '"required":["name","when"],"additionalProperties":false}'
  )
  same(j.enum("a", "b"), '{"type":"string","enum":["a","b"]}')
  same(
    j.object { limit = j.integer():default(20):describe "At most", all = j.boolean():default(false) },
    '{"type":"object","properties":{"all":{"type":"boolean","default":false},'
      .. '"limit":{"type":"integer","description":"At most","default":20}},"required":[],"additionalProperties":false}'
  )
  same(j.string():default("x"):nullable(), '{"anyOf":[{"type":"string"},{"type":"null"}],"default":"x"}')
  same(j.string():nullable():default(json.null), '{"anyOf":[{"type":"string"},{"type":"null"}],"default":null}')
  same(j.enum("a", "b"):default "b", '{"type":"string","enum":["a","b"],"default":"b"}')
  for _, wrong in ipairs { { j.integer(), 1.5 }, { j.string(), 1 }, { j.enum("a", "b"), "c" }, { j.array(j.string()), "c" } } do
    raises(function()
      wrong[1]:default(wrong[2])
    end, "does not pass the schema that it is the default of")
  end
  raises(function()
    j.array(j.string()):default {}
  end, "default: the default must be a string, a number, a boolean or null, not a table")
  raises(function()
    j.string().default "x"
  end, "default: call it with a colon on a j value, as in j.integer():default(20)")
  raises(function()
    j.object { name = j.string }
  end, 'property "name" must be a j value such as j.string(), not the function j.string; call it: j.string()')
  raises(function()
    j.string().description = "x"
  end, "j values never change")
end)

return tap.run
