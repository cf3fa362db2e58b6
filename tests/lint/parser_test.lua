-- The parser of `workers check` beside Lua's own: what load accepts, it accepts, and nothing else.
--
--     run_plain_lua tests/lint/parser_test.lua ROOT [ROUNDS [SEED]]

local root, rounds, seed = ...
rounds, seed = math.tointeger(tonumber(rounds)) or 20000, math.tointeger(tonumber(seed)) or 1
package.path = root .. "/scripts/?.lua"
local lexer = require "lint.lexer"
local parser = require "lint.parser"

local failures, checks = 0, 0

local function fail(text, ...)
  failures = failures + 1
  io.stderr:write("not ok - ", text:format(...), "\n")
end

-- Text as a script's loader gives it to Lua: without a byte-order mark and a first line that begins with #.
local function body_of(text)
  text = text:gsub("^\xEF\xBB\xBF", "")
  return (text:gsub("^#[^\n]*", ""))
end

local function agree(text, what)
  checks = checks + 1
  local loaded, message = load(body_of(text), "=x", "t")
  local chunk, mistake = parser.parse(text)
  if (loaded ~= nil) ~= (chunk ~= nil) then
    fail("%s: Lua says %s, the parser %s:\n%s", what, message or "yes", mistake and mistake.message or "yes", text)
  elseif mistake and (mistake.line < 1 or mistake.column < 1) then
    fail("%s: the place %d:%d is none:\n%s", what, mistake.line, mistake.column, text)
  end
end

-- ---- every file of the repository ----

local function files()
  local list = {}
  local find = assert(io.popen(("find '%s' -name '*.lua' -not -path '*/build/*' -not -path '*/node_modules/*'"):format(root)))
  for path in find:lines() do
    local file = assert(io.open(path, "rb"))
    list[#list + 1] = { path = path, text = file:read "a" }
    file:close()
  end
  find:close()
  table.sort(list, function(a, b)
    return a.path < b.path
  end)
  return list
end

local sources = files()
assert(#sources > 50, "the files were not found")
for _, file in ipairs(sources) do
  agree(file.text, file.path)
end

-- ---- edges ----

local EDGES = {
  "", "#!/bin/lua\nreturn 1", "\xEF\xBB\xBF# first\nreturn 1", "return", "return;", "return;;", ";;;", "return 1 return 2",
  -- numbers
  "return 3, 3., .5, 3e1, 3E+1, 3e-1, 0x10, 0xA.8, 0x.8p1, 0x1P-2, 1//0", "return 3x", "return 0x", "return 3e", "return 3..2",
  "return 0xep1", "return 0x1p", "return 1e+", "return 08", "return 9223372036854775808", "return 0xffffffffffffffffff", "return 1.2.3",
  "return 3 ..2", "return 3_0", "return 0b1", "return 1e400",
  -- strings
  [[return "\a\b\f\n\r\t\v\\\"\'\x41\65\065\z   x\u{41}\u{7FFFFFFF}"]], [[return "\u{80000000}"]], [[return "\u{00000000000000041}"]],
  [[return "\u{}"]], [[return "\u41"]], [[return "\xG0"]], [[return "\256"]], [[return "\q"]], [[return "a]], "return 'a\n'",
  "return 'a\\\nb'", "return 'a\\\r\nb'", "return [[a]]", "return [==[a]]b]==]", "return [=a", "return [=[a", "return [[\r\n\n\r]]",
  "return 'a\\z \r\n\t b'", "return '\\z", "return '\0'", "return \"\xff\"",
  -- comments
  "--", "--[[", "--[[a]] return 1", "--[==[ ]] ]==] return", "--[=a\nreturn 1", "-- a\rreturn 1 1", "--[[]]--[[]]x=1",
  -- operators
  "return 1 ~ 2 ~ ~3 | 4 & 5 << 6 >> 7 .. 8", "return a ~= b, a == b, a // b", "return a != b", "return not not a", "return - - 2",
  "return 2^-3^2", "return -x^2", "return #a.b", "return a < b < c", "return a = b", "return a or b and c", "return a &&b", "return 1 +",
  -- expressions and statements
  "f()", "f", "f.x", "a.b.c = 1", "a, b.c, d[1] = 1, 2", "a, f() = 1", "f() = 1", "(a) = 1", "(a.b) = 1", "(a).b = 1", "(f)()", "(f())",
  "f().x = 1", "f'x'.y = 1", "f{}.y()", "a:b()", "a:b = 1", "a:b", "a:b'x':c{}", "'x':rep(3)", "('x'):rep(3)", "{}.x = 1", "a.1 = 2",
  "local a <const> = 1 a = 2", "local a <close> = nil a = 2", "local a <const>, b <close> = 1", "local a <close>, b <close> = nil",
  "local a <foo> = 1", "local a<const>=1 return function() a = 2 end", "local a <const> = 1 function a() end", "local a <const>",
  "local a <const> = 1 local a = 2 a = 3", "local a <const> = 1 a.b = 2", "local function a.b() end", "function a.b.c:d() end",
  "function a:b.c() end", "function() end", "local a.b = 1", "local function f() return f end", "function f(a, ...) return ... end",
  "function f(..., a) end", "function f(a,) end", "function f() return ... end", "return ...", "local x = function() return ... end",
  "for i = 1, 2 do end", "for i = 1 do end", "for i = 1, 2, 3, 4 do end", "for i, j in pairs(x) do i = 1 end", "for i, j = 1, 2 do end",
  "for a.b in c do end", "for i in a, b, c, d do end", "while a do break end", "break", "if a then break end", "do break end",
  "while a do f(function() break end) end", "repeat local x until x", "repeat break until true", "if a then elseif b then else end",
  "if a then else elseif b then end", "if a then", "end", "do end end", "until x", "else", "return {1, 2; a = 1, [b] = 2, f(), }",
  "return {,}", "return {a = }", "return {[1] 2}", "return {a.b = 1}", "return {;}", "x = {function() end}", "x = }", "f(", "f(a,)", "f(a b)",
  "local x = 1, 2", "local x, y", "local x,", "a = b = c", "x = function f() end", "goto = 1", "local goto = 1", "x.goto = 1", "return a.end",
  -- goto
  "goto a ::a::", "::a:: goto a", "goto a", "::a:: ::a::", "::a:: do ::a:: end", "do ::a:: end ::a::", "do ::a:: end do ::a:: end goto a",
  "goto a local x ::a:: f()", "goto a local x ::a::", "goto a local x ::a:: ; ; ::b::", "do goto a local x ::a:: end", "goto a do ::a:: end",
  "while x do if y then goto continue end local z = 1 ::continue:: end", "repeat if y then goto c end local z ::c:: until z",
  "repeat if y then goto c end ::c:: local z until z", "::a:: local function f() goto a end", "local x ::a:: x = 1 goto a",
  "do goto a end local x ::a:: x = 1", "do local x goto a end ::a:: f()", "goto a; ::a:: ::b:: goto b", "goto 1", "::1::", "::a:", "::a:: return 1",
  "goto a local x ::a:: return 1", "while x do ::a:: goto b ::b:: end goto c ::c::", "for i = 1, 2 do goto a end ::a::", "goto _ENV ::_ENV::",
  -- signs that are none
  "a = @", "a = $b", "a = b ? c", "a = `x`", "ä = 1", "a\0 = 1", "a\vb", "a = 1 \f b = 2", "!", "a ! b", "a = \\", "a = 1;\r\n\r\nb = 2",
  "local _ENV = {} x = 1", "local _ENV <const> = {} x = 1", "local _ENV <const> = {} _ENV = 1", "return function() _ENV = nil end",
}
for i, text in ipairs(EDGES) do
  agree(text, "edge " .. i)
end

-- ---- limits ----

local function repeated(count, make)
  local list = {}
  for i = 1, count do
    list[i] = make(i)
  end
  return list
end

local function locals(count)
  return table.concat(repeated(count, function(i)
    return "local v" .. i .. " = " .. i .. "\n"
  end))
end

local function upvalues(count)
  local half = count // 2
  local function names(from, to)
    local list = {}
    for i = from, to do
      list[#list + 1] = "v" .. i
    end
    return table.concat(list, ", ")
  end
  return ("local %s\nreturn function() local %s\nreturn function() return f, {%s}, {%s} end end"):format(
    names(1, half), names(half + 1, count), names(1, half), names(half + 1, count))
end

agree(locals(200), "200 locals")
agree(locals(201), "201 locals")
agree(locals(199) .. "for i = 1, 2 do end", "a loop's hidden variables")
agree(locals(196) .. "for i = 1, 2 do end", "a loop that fits")
agree(locals(195) .. "for i in f do end", "a loop over values that fits")
agree(locals(196) .. "for i in f do end", "a loop over values that does not fit")
agree(upvalues(254), "254 upvalues and _ENV")
agree(upvalues(255), "255 upvalues and _ENV")

local DEEP = {
  { "do ", " end" }, { "(", ")", "return " }, { "{", "}", "return " }, { "f(", ")", "return " }, { "- ", "1", "return " },
  { "x = function() ", " end" }, { "1 .. ", "1", "return " }, { "1 ^ ", "1", "return " }, { "while x do ", " end" },
  { "if x then ", " end" }, { "repeat ", " until x" }, { "a[", "1]", "return " }, { "for i = 1, 2 do ", " end" },
}
for _, shape in ipairs(DEEP) do
  for _, count in ipairs { 30, 90, 400, 100000 } do
    local closing = shape[2] == "1" and "1" or shape[2]:rep(count)
    agree((shape[3] or "") .. shape[1]:rep(count) .. (shape[2] == "1]" and "1" or "") ..
      (shape[2] == "1]" and ("]"):rep(count) or closing), shape[1] .. count .. " times")
  end
end
agree("return " .. ("a.b"):rep(1, "") .. (".b"):rep(100000), "a long chain")
agree("return 1" .. (" + 1"):rep(100000), "a long sum")
agree("f()" .. ("()"):rep(100), "calls of calls")
agree(("x = 1\n"):rep(50000), "many statements")
agree("a" .. (", a"):rep(150) .. " = 1", "many targets")
agree("a" .. (", a"):rep(500) .. " = 1", "too many targets")

local _, deep = parser.parse(("{"):rep(1000))
if not deep or deep.message ~= "unexpected symbol near '{'" then
  fail("the message of a wrong symbol is %s", deep and deep.message)
end
_, deep = parser.parse("return " .. ("("):rep(1000))
if not deep or not deep.message:find "^nested more than %d+ deep$" then
  fail("the message of deep nesting is %s", deep and deep.message)
end
local _, open = parser.parse "x = 1\nif a then\n  b()\n"
if not open or open.message ~= "'end' expected (to close 'if' at line 2) near 'end of file'" or open.line ~= 4 then
  fail("the message of a missing end is %s", open and open.message)
end

-- ---- places ----

local chunk = assert(parser.parse "-- one\nlocal a = 1\r\n  --[[ two\n ]] print(a,\n    'x\\\ny', b)")
local call = chunk.body.body[2].call
local b = call.arguments[3]
if b.line ~= 6 or b.column ~= 5 then
  fail("b stands at %d:%d", b.line, b.column)
elseif #chunk.comments ~= 2 or chunk.comments[2].line ~= 3 or chunk.comments[2].text ~= " two\n " then
  fail("the comments are not what they were")
elseif #chunk.variables ~= 1 or #chunk.variables[1].reads ~= 1 then
  fail("a is read %d times", #chunk.variables[1].reads)
end

-- ---- mutations ----

local WORDS = {
  "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil", "not", "or", "repeat",
  "return", "then", "true", "until", "while", "+", "-", "*", "/", "//", "%", "^", "#", "&", "~", "|", "<<", ">>", "==", "~=", "<=", ">=",
  "<", ">", "=", "(", ")", "{", "}", "::", "[", "]", ";", ":", ",", ".", "..", "...", "a", "b", "f", "1", "2.5", "'s'", "[[l]]", "::a::",
  "goto a", "<const>", "<close>", "local a <const> = 1", "a = 1", "break", "local b", "f()", "function a() end", "--c\n", "\n", "0x", "'", "[=",
}

-- The pieces of a text: its tokens as they are written.
local function pieces_of(text)
  local reader, list = lexer.new(text), {}
  while true do
    local token = reader:next()
    if token.kind == "end of file" then
      return list
    end
    list[#list + 1] = text:sub(reader.line_start + token.column - 1, reader.at - 1)
    if list[#list]:find "^%s*$" or token.line ~= reader.line then
      list[#list] = "'long'" -- a string of several lines
    end
  end
end

local seeds = {}
for _, text in ipairs(EDGES) do
  if load(body_of(text)) then
    seeds[#seeds + 1] = pieces_of(text)
  end
end
for _, file in ipairs(sources) do
  if load(body_of(file.text)) and #file.text < 60000 then
    local all = pieces_of(file.text)
    for _ = 1, 3 do
      local from = math.random(#all + 1)
      seeds[#seeds + 1] = { table.unpack(all, from, math.min(#all, from + math.random(60))) }
    end
    if #all < 700 then
      seeds[#seeds + 1] = all
    end
  end
end

math.randomseed(seed)
local accepted = 0
for _ = 1, rounds do
  local pieces = table.move(seeds[math.random(#seeds)], 1, 1000, 1, {})
  for _ = 1, math.random(4) do
    local at, word = math.random(#pieces + 1), WORDS[math.random(#WORDS)]
    local kind = math.random(5)
    if kind == 1 then
      table.insert(pieces, at, word)
    elseif kind == 2 and pieces[at] then
      table.remove(pieces, at)
    elseif kind == 3 and pieces[at] then
      pieces[at] = word
    elseif kind == 4 and pieces[at + 1] then
      pieces[at], pieces[at + 1] = pieces[at + 1], pieces[at]
    elseif pieces[at] then
      table.insert(pieces, math.random(#pieces + 1), pieces[at])
    end
  end
  local text = table.concat(pieces, " ")
  agree(text, "mutation")
  accepted = accepted + (load(text) and 1 or 0)
end
if rounds > 1000 and (accepted < rounds // 50 or accepted > rounds * 49 // 50) then
  fail("%d of %d mutations are Lua, so they say little", accepted, rounds)
end

print(("%d texts, %d of %d mutations are Lua, %d failures"):format(checks, accepted, rounds, failures))
if failures > 0 then
  error("the parser and Lua differ", 0)
end
