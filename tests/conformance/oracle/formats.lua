-- Compares the C format matchers with the verdicts of formats.mjs. Argument: the file of JSON lines. Prints TAP.
local json = require "workers.json"
local peer = require "schema_peer"

local counts, valid, wrong, names = {}, {}, {}, {}
for line in io.lines((...)) do
  local case = json.decode(line)
  local name = case.format
  if not counts[name] then
    counts[name], valid[name], wrong[name] = 0, 0, {}
    names[#names + 1] = name
  end
  counts[name] = counts[name] + 1
  valid[name] = valid[name] + (case.valid and 1 or 0)
  if peer.format(name, case.text) ~= case.valid then
    table.insert(wrong[name], ("%s should be %s"):format(json.encode(case.text), case.valid and "valid" or "refused"))
  end
end

local ok = #names == 9
print("1.." .. #names)
for i, name in ipairs(names) do
  local passed = #wrong[name] == 0 and counts[name] >= 2000 and valid[name] > 100
  ok = ok and passed
  print(("%s %d - %s: %d strings, %d of them valid"):format(
    passed and "ok" or "not ok", i, name, counts[name], valid[name]))
  for n = 1, math.min(#wrong[name], 10) do
    print("# " .. wrong[name][n])
  end
end
return ok
