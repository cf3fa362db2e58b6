-- What workers check --fix does to scripts that nobody would write: they stay Lua, say the same but for what was taken out, do the
-- same when they run, keep their comments and lines, and a second time changes nothing.
--
--     run_plain_lua tests/lint/fix_test.lua ROOT [ROUNDS [SEED]]

local root, rounds, seed = ...
rounds, seed = math.tointeger(tonumber(rounds)) or 1500, math.tointeger(tonumber(seed)) or 1
package.path = root .. "/scripts/?.lua"
local lint = require "lint"
local parser = require "lint.parser"
local same = require "lint.same"
local tree = require "lint.tree"

local API = "_G print\n_G string\n_G pcall\n_G error\n_G require\n_G ipairs\n_G.string format\nworkers new\nworkers sleep\n"
  .. "workers.http get\nworkers.http stream\nworkers.regex match\nworkers.log info\n"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local texts, lines = {}, {}
local find = assert(io.popen(("find '%s/tests/lint/bad' '%s/tests/lint/good' -name '*.lua'"):format(root, root)))
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

local PLANTS = {
  "local spare = 1",
  "local spare",
  "local spare <const> = 'a'",
  "local spare <close> = nil",
  "local spare, other = 1, 2",
  "local http = require 'workers.http'",
  "  local regex = require(\"workers.regex\")  ",
  "local tool = require 'tool'",
  "local spare = -1",
  "local spare = #http",
  "local spare = { }",
  "local spare = [[\n(a)\n]]",
  "local spare = 1 -- why",
  "local spare = 1;",
  "local spare = function()\n  return http.gett()\nend",
  "local function spare(a, ...)\n  local inner = 1\n  return http\nend",
  "local function spare()\n  -- why\n  return regex.match('a', 'b')\nend",
  "local function spare() return spare end",
  "-- workers: ignore no-pacer none",
  "-- workers: ignore unused-local none",
  "print(1) -- workers: ignore unused-local none",
  "--[[ workers: ignore no-pacer none ]] print(2)",
  "--[[ workers: ignore no-pacer none\n]]",
  "-- why",
  "(print)(3)",
  "print(string.formt('%d', 1))",
  "print(require('workers.http').gett('x'))",
  "string.formt = print",
  "do goto done end ::done::",
  "do print(4) end",
  "local _ENV = _ENV",
  "",
}

local function pick(list)
  return list[math.random(#list)]
end

local function mutate(text)
  local list = {}
  for line in text:gmatch "[^\n]*" do
    list[#list + 1] = line
  end
  for _ = 1, math.random(6) do
    local at, kind = math.random(#list), math.random(12)
    if kind == 1 then
      list[at] = pick(lines)
    elseif kind == 2 then
      list[at] = list[at]:gsub("[%w_]+", pick { "spare", "http", "1", "regex" }, 1)
    else
      table.insert(list, at, pick(PLANTS))
    end
  end
  return table.concat(list, math.random(8) == 1 and "\r\n" or "\n")
end

-- ---- the program ----

-- Fixes a text. Returns what is in the file then, and what was said to be fixed: { line, rule, words } each.
local function fix(text)
  local fixed, written = {}, nil
  local host = { api = API, path = "main.lua", text = text, find = function() end }
  function host.print(line)
    local at, rule, words = line:match "^main%.lua:(%d+): fixed ([%w-]+): (.*)$"
    if at then
      fixed[#fixed + 1] = { line = tonumber(at), rule = rule, words = words }
    end
  end
  function host.write(path, new)
    assert(path == "main.lua" and not written, "one file is written, once")
    written = new
    return true
  end
  local counts = lint(host, false)
  assert(counts.fixed == #fixed, "what was fixed is counted")
  assert((written ~= nil) == (#fixed > 0), "the file is written when something was fixed")
  return written or text, fixed
end

-- ---- the tree, as a text ----

local WORDS = { "name", "value", "operator", "vararg" }

-- Everything that a program says, variables by the order of their declarations; but not the statements that leave_out is true of.
-- renamed: what a key is called instead, by line.
local function shown(text, leave_out, renamed)
  local chunk = assert(parser.parse(text))
  local out, numbers, count = {}, {}, 0
  local function declare(variable)
    count = count + 1
    numbers[variable] = count
    out[#out + 1] = ("%d=%s%s"):format(count, variable.name, variable.attribute or "")
  end
  tree.walk(chunk.body, function(node)
    if leave_out and leave_out(node) then
      return false
    end
    out[#out + 1] = node.kind
    for _, word in ipairs(WORDS) do
      local value = node[word]
      if type(value) == "string" and renamed and renamed[node.line .. value] then
        value = renamed[node.line .. value]
      end
      out[#out + 1] = type(value) ~= "table" and value ~= nil and (math.type(value) or "") .. tostring(value) or nil
    end
    for _, variable in ipairs(node.variables or node.parameters or { node.variable }) do
      if node.kind == "Name" then
        out[#out + 1] = "of " .. assert(numbers[variable])
      else
        declare(variable)
      end
    end
    for _, name in ipairs(tree.FIELDS[node.kind] or {}) do
      out[#out + 1] = node[name] and name .. #node[name] or nil
    end
  end)
  return out
end

-- The numbers of children differ where a statement is gone.
local function without_counts(out)
  local list = {}
  for i, word in ipairs(out) do
    list[i] = tostring(word):gsub("^body%d+$", "body"):gsub("^otherwise%d+$", "otherwise")
  end
  return table.concat(list, "\n")
end

local function says_the_same(before, after, fixed)
  local gone, renamed = {}, {}
  for _, each in ipairs(fixed) do
    local name = each.words:match "^took out ([%w_]+)$"
    local new, old = each.words:match "^wrote (%w+) in the place of (%w+)$"
    if each.rule == "unused-local" then
      gone[each.line .. assert(name)] = true
    elseif each.rule == "unknown-api-name" then
      renamed[each.line .. assert(old)] = new
    end
  end
  local function is_gone(node)
    local variable = node.kind == "LocalFunction" and node.variable or node.kind == "Local" and node.variables[1]
    return variable and gone[variable.line .. variable.name]
  end
  assert(without_counts(shown(before, is_gone, renamed)) == without_counts(shown(after)), "the tree is another one")
end

-- ---- comments and lines ----

local function comments_of(text)
  local list = {}
  for _, comment in ipairs(assert(parser.parse(text)).comments) do
    list[#list + 1] = comment
  end
  return list
end

local function keeps_comments(before, after, fixed)
  local gone = {}
  for _, each in ipairs(fixed) do
    gone[each.line] = gone[each.line] or each.rule == "unused-ignore" and each.words == "took the comment out"
  end
  local kept = {}
  for _, comment in ipairs(comments_of(before)) do
    local is_ignore = comment.text:find "^%s*workers:%s*ignore"
    if not (gone[comment.line] and is_ignore) then
      kept[#kept + 1] = comment.text
    end
  end
  local left = {}
  for i, comment in ipairs(comments_of(after)) do
    left[i] = comment.text
  end
  assert(table.concat(left, "\n") == table.concat(kept, "\n"), "the comments are others")
end

local function lines_of(text)
  local list = {}
  for line in (text:gsub("\r", "") .. "\n"):gmatch "([^\n]*)\n" do
    list[#list + 1] = line
  end
  return list
end

-- Each line that is left was there before, in this order, or something on it was fixed.
local function keeps_lines(before, after, fixed)
  local touched = {}
  for _, each in ipairs(fixed) do
    touched[each.line] = true
  end
  local old, at = lines_of(before), 0
  for _, line in ipairs(lines_of(after)) do
    repeat
      at = at + 1
      assert(old[at], "a line has come: " .. line)
      local shorter = touched[at] and #line > 0 and old[at]:sub(1, #line) == line
      local renamed = touched[at] and old[at]:gsub("gett", "get"):gsub("formt", "format"):sub(1, #line) == line
    until old[at] == line or shorter or renamed
  end
end

-- ---- what it does ----

-- What a script does to the world that it is given: everything that it finds there is one thing, which notes what is done with it.
local function trace(text)
  local notes, calls = {}, 0
  local thing = {}
  local function note(...)
    notes[#notes + 1] = table.concat({ ... }, " ")
    assert(#notes < 3000, "enough")
  end
  local function run_functions(value, depth)
    if type(value) == "function" and calls < 40 then
      calls = calls + 1
      note("returned", tostring(pcall(value, thing, thing)))
    elseif type(value) == "table" and not rawequal(value, thing) and depth < 3 then
      local keys = {}
      for key in pairs(value) do
        keys[#keys + 1] = key
      end
      table.sort(keys, function(a, b)
        return tostring(a) < tostring(b)
      end)
      for _, key in ipairs(keys) do
        run_functions(value[key], depth + 1)
      end
    end
  end
  local function word(value)
    return rawequal(value, thing) and "it" or type(value) == "table" and "table" or type(value) == "function" and "function" or tostring(value)
  end
  local meta = {}
  for _, event in ipairs { "add", "sub", "mul", "div", "mod", "concat", "unm", "len", "eq", "lt", "le", "band", "idiv" } do
    meta["__" .. event] = function(a, b)
      note(event, word(a), word(b))
      return event == "len" and 2 or event == "eq" or thing
    end
  end
  function meta.__tostring() -- its address is another one each time
    return "it"
  end
  function meta.__index(_, key)
    note("index", word(key))
    return thing
  end
  function meta.__newindex(_, key, value)
    note("set", word(key), word(value))
  end
  function meta.__call(_, ...)
    local list = table.pack(...)
    for i = 1, list.n do
      note("given", word(list[i]))
      run_functions(list[i], 0)
    end
    return thing
  end
  setmetatable(thing, meta)
  local world = setmetatable({}, {
    __index = function(_, name)
      if name == "require" then
        return function(module)
          if not tostring(module):find "^workers" then -- these do nothing
            note("require", word(module))
          end
          return thing
        end
      elseif name == "ipairs" or name == "pairs" then
        return function()
          return function(_, at)
            return not at and 1 or nil, thing
          end
        end
      end
      note("global", name)
      return thing
    end,
    __newindex = function(_, name, value)
      note("set global", name, word(value))
    end,
  })
  local main = assert(load(text:gsub("gett%f[%W]", "get"):gsub("formt%f[%W]", "format"), "=x", "t", world))
  local thread = coroutine.create(main)
  debug.sethook(thread, function()
    error("enough", 0)
  end, "", 200000)
  note("ended", tostring(coroutine.resume(thread)))
  return table.concat(notes, "\n"), #notes
end

-- ---- when two programs are the same ----

-- The statements with these numbers are taken out of the first one.
local function are_same(first, second, ...)
  local body, change = parser.parse(first).body, { removed = {}, renamed = {} }
  for _, number in ipairs { ... } do
    change.removed[body.body[number]] = true
  end
  return same(body, parser.parse(second).body, change)
end

local function check_same()
  for _, pair in ipairs {
    { "local a = 1 return a", "local a=1;\n-- b\nreturn a" },
    { "return 16, 'a', [[b]]", "return 0x10, \"\\97\", 'b'" },
    { "local a local b = 1 return b", "local b = 1 return b", 1 },
    { "local function a() end b() local function c() end", "b()", 1, 3 },
    { "do local a return a end local a return a", "do local a return a end local a return a" },
  } do
    assert(are_same(table.unpack(pair)), table.concat(pair, " | "))
  end
  for _, pair in ipairs {
    { "return 1", "return 2" },
    { "return 1", "return 1.0" },
    { "return 'a'", "return a" },
    { "return a", "return (a)" },
    { "return a + b", "return a - b" },
    { "return -a", "return #a" },
    { "return a.b()", "return a:b()" },
    { "return a:b()", "return a:c()" },
    { "return a(b)", "return a(b, b)" },
    { "return a, b", "return b, a" },
    { "a, b = c", "a = b, c" },
    { "a()", "a() a()" },
    { "a() a()", "a()" },
    { "local a = b\n;(c)()", "local a = b\n(c)()" },
    { "local a <const> = 1", "local a = 1" },
    { "local a, b = 1", "local a = 1" },
    { "local a return a", "return a" },
    { "local a = 1 local a = 2 return a", "local a = 1 return a", 2 },
    { "return function(...) end", "return function() end" },
    { "return function(a) end", "return function() end" },
    { "if a then end", "if a then else end" },
    { "if a then elseif b then end", "if a then if b then end end" },
    { "for i = 1, 2 do end", "for i = 1, 2, 3 do end" },
    { "for a in b do end", "for a, c in b do end" },
    { "do goto a ::a:: end do ::b:: end", "do ::a:: end do goto b ::b:: end" },
    { "return { a = 1 }", "return { [a] = 1 }" },
    { "return { 1 }", "return { [1] = 1 }" },
  } do
    assert(not are_same(table.unpack(pair)), table.concat(pair, " | "))
  end
end

-- ---- all of it ----

check_same()
math.randomseed(seed)
local programs, fixes, steps = 0, 0, 0
for _ = 1, rounds do
  local before = mutate(pick(texts))
  if parser.parse(before) then
    local ok, failure = xpcall(function()
      local after, fixed = fix(before)
      programs, fixes = programs + 1, fixes + #fixed
      assert(load(after, "=x", "t"))
      says_the_same(before, after, fixed)
      keeps_comments(before, after, fixed)
      keeps_lines(before, after, fixed)
      if #fixed > 0 then
        local did, count = trace(before)
        assert(did == trace(after), "it does something else")
        steps = steps + count
      end
      local again, more = fix(after)
      assert(again == after and #more == 0, "a second time changes something")
    end, debug.traceback)
    if not ok then
      error(failure .. "\n---- the script:\n" .. before, 0)
    end
  end
end
print(("%d scripts, %d fixes, %d steps compared"):format(programs, fixes, steps))
assert(fixes > rounds // 8 and steps > rounds * 5, "too little was fixed to say much")
