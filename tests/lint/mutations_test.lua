-- The linter on scripts that nobody would write: whatever is Lua, it gets through without an error of its own.
--
--     run_plain_lua tests/lint/mutations_test.lua ROOT [ROUNDS [SEED]]

local root, rounds, seed = ...
rounds, seed = math.tointeger(tonumber(rounds)) or 2000, math.tointeger(tonumber(seed)) or 1
package.path = root .. "/scripts/?.lua"
local lint = require "lint"
local parser = require "lint.parser"

local API = "_G print\n_G string\n_G pcall\n_G error\n_G require\n_G ipairs\n_G.string format\nworkers new\nworkers.http get\n"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local lines, texts = {}, {}
local find = assert(io.popen(("find '%s/tests/lint' '%s/examples' -name '*.lua' -not -name '*_test.lua'"):format(root, root)))
for path in find:lines() do
  texts[#texts + 1] = read(path)
end
find:close()
table.sort(texts)
assert(#texts > 60, "the files were not found")
for _, text in ipairs(texts) do
  for line in text:gmatch "[^\n]+" do
    lines[#lines + 1] = line
  end
end

-- What stands in the place of an expression or a name.
local WORDS = {
  "nil", "state", "state.page", "true", "1", "0.5", "'id'", "{}", "{ state }", "function() return state end", "...", "http", "workers",
  "execute", "worker", "sync", "(state)", "-state", "not state", "state .. 1", "state and 1 or state.x", "require 'tracker'", "time.nowMs()",
}

-- Changes a text line by line and word by word.
local function mutate(text)
  local list = {}
  for line in text:gmatch "[^\n]*" do
    list[#list + 1] = line
  end
  for _ = 1, math.random(6) do
    local at, kind = math.random(#list), math.random(4)
    if kind == 1 then
      list[at] = ""
    elseif kind == 2 then
      table.insert(list, at, lines[math.random(#lines)])
    else
      local skip, word = math.random(0, 4), WORDS[math.random(#WORDS)]
      list[at] = list[at]:gsub("[%w_.]+", function()
        skip = skip - 1
        return skip == -1 and word or nil
      end)
    end
  end
  return table.concat(list, "\n")
end

math.randomseed(seed)
local read_ones, found = 0, 0
for _ = 1, rounds do
  local text = mutate(texts[math.random(#texts)])
  if parser.parse(text) then
    read_ones = read_ones + 1
    local module = texts[math.random(#texts)]
    local host = { api = API, path = "main.lua", text = text, print = function() end }
    function host.find(name)
      if name == "tracker" or name == "main" then
        return name .. ".lua", name == "main" and text or module
      end
    end
    local begins = os.clock()
    local ok, counts = xpcall(lint, debug.traceback, host, math.random(2) == 1)
    assert(ok, tostring(counts) .. "\n" .. text)
    assert(os.clock() - begins < 5, "this takes long:\n" .. text)
    found = found + counts.error + counts.warning
  end
end
print(("%d of %d mutations are Lua, %d findings"):format(read_ones, rounds, found))
assert(read_ones > rounds // 20, "too few mutations are Lua to say much")
