-- CSV and XML texts read by the library and, for comparison, by plain parsers in Lua; texts.mjs is the same under Node.
-- A tool returns the milliseconds of CPU time that reading took, and figures by which its result is known.
local workers = require "workers"
local csv = require "workers.csv"
local fs = require "workers.fs"
local plain = require "plain_parsers"
local xml = require "workers.xml"
local j = workers.j

local worker = workers.new()

local function rows_result(rows)
  local fields, bytes = 0, 0
  for _, row in ipairs(rows) do
    for _, field in ipairs(row) do
      fields = fields + 1
      bytes = bytes + #field
    end
  end
  return { rows = #rows, fields = fields, bytes = bytes }
end

local function add_element(result, node)
  result.elements = result.elements + 1
  for _, child in ipairs(node) do
    if type(child) == "table" then
      add_element(result, child)
    else
      result.bytes = result.bytes + #child
    end
  end
  return result
end

local function tree_result(tree)
  return add_element({ elements = 0, bytes = 0 }, tree)
end

local function tool(key, file, read, result)
  worker:tool(key, {
    title = key,
    description = "Reads a text",
    schema = j.object {},
    execute = function()
      local text = fs.read(file)
      local before = os.clock()
      local value = read(text)
      local ms = (os.clock() - before) * 1000
      local answer = result(value)
      answer.ms = ms
      return answer
    end,
  })
end

tool("csv", "data.csv", csv.parse, rows_result)
tool("csvInLua", "data.csv", plain.csv, rows_result)
tool("csvStreamed", "data.csv", function(text)
  local result = { rows = 0, fields = 0, bytes = 0 }
  for row in csv.rows(text) do
    result.rows = result.rows + 1
    for _, field in ipairs(row) do
      result.fields = result.fields + 1
      result.bytes = result.bytes + #field
    end
  end
  return result
end, function(result)
  return result
end)
tool("xml", "data.xml", xml.parse, tree_result)
tool("xmlInLua", "data.xml", plain.xml, tree_result)

return worker
