-- What test_csv.py compares with: reads cases.json and says what workers.csv makes of each case. Bytes travel as base64.
local workers = require "workers"
local crypto = require "workers.crypto"
local csv = require "workers.csv"
local fs = require "workers.fs"

local worker = workers.new()

local function decoded(rows)
  for i, row in ipairs(rows) do
    for j, field in ipairs(row) do
      row[j] = crypto.fromBase64(field)
    end
    rows[i] = row
  end
  return rows
end

local function encoded(rows)
  local out = workers.array {}
  for i, row in ipairs(rows) do
    out[i] = workers.array {}
    for j, field in ipairs(row) do
      out[i][j] = crypto.base64(field)
    end
  end
  return out
end

-- The text in pieces of the lengths given, over and over; a last long one for what is left.
local function pieces(text, lengths)
  local at, number = 1, 0
  return function()
    if at > #text then
      return nil
    end
    number = number + 1
    local len = lengths[(number - 1) % #lengths + 1]
    local piece = text:sub(at, at + len - 1)
    at = at + len
    return piece
  end
end

local function read(case)
  local text = crypto.fromBase64(case.text)
  local ok, rows = pcall(csv.parse, text, case.options)
  local message = not ok and rows or nil
  local streamed = workers.array {}
  local streams, problem = pcall(function()
    for row in csv.rows(pieces(text, case.lengths), case.options) do
      streamed[#streamed + 1] = row
    end
  end)
  local place = "csv%.%a+: (.*)"
  if streams ~= ok or (not ok and tostring(problem):match(place) ~= tostring(message):match(place)) then
    return { different = ("%s, but in pieces %s"):format(tostring(message or "rows"), tostring(problem or "rows")) }
  end
  if not ok then
    return { refused = message }
  end
  return { rows = encoded(rows), streamed = encoded(streamed) }
end

worker:tool("run", {
  title = "Run",
  description = "Runs the cases",
  schema = workers.j.object {},
  execute = function()
    local answers = workers.array {}
    for i, case in ipairs(fs.readJson "cases.json") do
      if case.text then
        answers[i] = read(case)
      elseif case.named then
        answers[i] = { named = workers.array(csv.parse(crypto.fromBase64(case.named), { header = true })) }
      else
        answers[i] = { text = crypto.base64(csv.encode(decoded(case.rows), case.options)) }
      end
    end
    return answers
  end,
})

return worker
