-- Names that other versions of Lua, and of the program, have; they are looked at before they are used.

local workers = require "workers"
local regex = require "workers.regex"

local worker = workers.new()

local unpack = table.unpack or unpack
local compile = loadstring or load

local clamp = math.clamp
  or function(x, low, high)
    return math.max(low, math.min(high, x))
  end

_G.VERBOSE = false

local function say(...)
  if VERBOSE then
    print(...)
  end
end

if jit then
  jit.off()
end

worker:tool("words", {
  title = "Words",
  description = "Takes a text apart.",
  schema = workers.j.object { text = workers.j.string() },
  execute = function(input)
    say(input.text)
    if regex.words ~= nil then
      return regex.words(input.text)
    end
    local found = {}
    for word in input.text:gmatch "%a+" do
      found[#found + 1] = word
    end
    return { found = found, first = unpack(found), compiles = compile "return 1" ~= nil, size = clamp(#found, 0, 9) }
  end,
})

return worker
