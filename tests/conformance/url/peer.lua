-- What workers.url makes of the cases in cases.json, for test_url.py.

local fs = require "workers.fs"
local url = require "workers.url"
local workers = require "workers"

local worker = workers.new()

local function parse(case)
  local ok, parts = pcall(url.parse, case[1], case[2])
  if not ok then
    return { error = parts }
  end
  parts.built = url.build(parts)
  if case[2] then
    parts.resolved = url.resolve(case[2], case[1])
  end
  return parts
end

worker:tool("parse", {
  title = "parse",
  description = "Parses every [text, base] of cases.json",
  schema = workers.j.object {},
  execute = function()
    local results = {}
    for i, case in ipairs(fs.readJson "cases.json") do
      results[i] = parse(case)
    end
    return results
  end,
})

worker:tool("query", {
  title = "query",
  description = "Decodes every query of cases.json, and encodes what came of it",
  schema = workers.j.object {},
  execute = function()
    local results = {}
    for i, text in ipairs(fs.readJson "cases.json") do
      -- Encoded, since not every byte can be in JSON.
      local list, shown, map = url.query(text), workers.array {}, {}
      for at, parameter in ipairs(list) do
        shown[at] = { url.encode(parameter.name), url.encode(parameter.value) }
      end
      for name, value in pairs(url.queryMap(text)) do
        map[url.encode(name)] = url.encode(value)
      end
      results[i] = { list = shown, map = workers.object(map), encoded = url.encodeQuery(list) }
    end
    return results
  end,
})

return worker
