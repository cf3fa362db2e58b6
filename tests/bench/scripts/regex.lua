-- Finds all dates and all e-mail addresses in 10 MB of text, with workers.regex and with Lua's own patterns.
local regex = require "workers.regex"
local workers = require "workers"

local worker = workers.new()

local function make_text(bytes, name)
  local lines, size, n = {}, 0, 0
  while size < bytes do
    local line = ("On day %d %s wrote 2024-%02d-%02d to some.person%d@example.com, then went home; costs 12-34.\n"):format(
      n % 31,
      name,
      n % 12 + 1,
      n % 28 + 1,
      n % 1000
    )
    n = n + 1
    lines[n] = line
    size = size + #line
  end
  return table.concat(lines)
end

local function measure(iterator)
  local begin, count = os.clock(), 0
  for _ in iterator do
    count = count + 1
  end
  return { ms = (os.clock() - begin) * 1000, count = count }
end

worker:tool("regex", {
  title = "Regex",
  description = "Searches",
  schema = workers.j.object {},
  execute = function()
    local results = {}
    for kind, name in pairs { ascii = "Zoe", unicode = "Zoë" } do
      local text = make_text(10 * 1024 * 1024, name)
      results[kind] = {
        date = measure(regex.matches(text, [[\d{4}-\d\d-\d\d]])),
        datePattern = measure(text:gmatch "%d%d%d%d%-%d%d%-%d%d"),
        mail = measure(regex.matches(text, [[[\w.+-]+@[\w-]+(?:\.[\w-]+)+]])),
        mailPattern = measure(text:gmatch "[%w_.+-]+@[%w_-]+%.[%w_.-]+"),
      }
    end
    return results
  end,
})

return worker
