-- What test_xml.py compares with: reads cases.json, documents as base64, and says what workers.xml makes of each.
local workers = require "workers"
local crypto = require "workers.crypto"
local fs = require "workers.fs"
local xml = require "workers.xml"

local worker = workers.new()

-- The tree as JSON can hold it: {name}, attributes, children.
local function plain(node)
  if type(node) == "string" then
    return node
  end
  local out = workers.array { "{" .. (node.namespace or "") .. "}" .. node.name, workers.object(node.attributes), workers.array {} }
  for i, child in ipairs(node) do
    out[3][i] = plain(child)
  end
  return out
end

local function same(a, b)
  if type(a) ~= "table" then
    return a == b
  end
  if a.name ~= b.name or a.namespace ~= b.namespace or a.prefix ~= b.prefix or #a ~= #b then
    return false
  end
  for key, value in pairs(a.attributes) do
    if b.attributes[key] ~= value then
      return false
    end
  end
  for key in pairs(b.attributes) do
    if a.attributes[key] == nil then
      return false
    end
  end
  for i, child in ipairs(a) do
    if not same(child, b[i]) then
      return false
    end
  end
  return true
end

-- The same tree from events, in pieces of one byte.
local function from_events(text)
  local at = 0
  local open, root = {}, nil
  local function piece()
    at = at + 1
    return at <= #text and text:sub(at, at) or nil
  end
  for event, value in xml.events(piece, { doctype = true }) do
    local top = open[#open]
    if event == "start" then
      if top then
        top[#top + 1] = value
      end
      open[#open + 1] = value
      root = root or value
    elseif event == "end" then
      open[#open] = nil
    elseif event == "text" then
      top[#top + 1] = value
    end
  end
  return root
end

local function run(text)
  local options = { doctype = true, keepWhitespace = true }
  local ok, tree = pcall(xml.parse, text, options)
  local streams, streamed = pcall(from_events, text)
  if ok ~= streams then
    return { different = ("%s, but as events %s"):format(tostring(tree), tostring(streamed)) }
  end
  if not ok then
    return { refused = tree }
  end
  if not same(tree, streamed) then
    return { different = "the events make another tree" }
  end
  local encoded = xml.encode(tree)
  if not same(tree, xml.parse(encoded, options)) then
    return { different = "it comes back as another tree from " .. encoded }
  end
  return { tree = plain(tree), encoded = encoded }
end

worker:tool("run", {
  title = "Run",
  description = "Runs the cases",
  schema = workers.j.object {},
  execute = function()
    local answers = workers.array {}
    for i, text in ipairs(fs.readJson "cases.json") do
      answers[i] = run(crypto.fromBase64(text))
    end
    return answers
  end,
})

return worker
