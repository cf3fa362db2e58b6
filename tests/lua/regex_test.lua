-- workers.regex as scripts see it. What patterns mean is PCRE2's matter, and tests/conformance/test_regex.py compares it
-- with Perl and Node.

local tap = require "tap"
local testing = require "testing"
local regex = require "workers.regex"

local test, equal, raises = tap.test, tap.equal, tap.raises

local function all(text, pattern)
  local found = {}
  for m in regex.matches(text, pattern) do
    found[#found + 1] = m[0]
  end
  return found
end

-- First and last byte of every match, as "1-3 5-4".
local function places(text, pattern)
  local found = {}
  for m in regex.matches(text, pattern) do
    found[#found + 1] = m.first .. "-" .. m.last
  end
  return table.concat(found, " ")
end

test("match gives the text, the groups and where they are", function()
  local m = regex.match("due 2024-03-09, ok", [[(\d{4})-(\d\d)-(\d\d)]])
  equal(m, { [0] = "2024-03-09", "2024", "03", "09", first = 5, last = 14 })
  equal(regex.match("none", [[\d]]), nil)
  equal(regex.match("", ""), { [0] = "", first = 1, last = 0 })
end)

test("groups that took no part are false, also at the end, and named ones are under groups", function()
  equal(regex.match("b", "(a)|(b)|(c)"), { [0] = "b", false, "b", false, first = 1, last = 1 })
  local m = regex.match("key=value", [[(?<key>\w+)=(?<value>\w+)(?<rest>;.*)?]])
  equal(m.groups, { key = "key", value = "value", rest = false })
  equal(#m, 3)
  equal(regex.match("a", "(a)").groups, nil)
  -- Two groups may share a name, of which at most one is set here.
  equal(regex.match("2-b", "(?J)(?<x>a)-(?<x>1)|(?<y>2)-(?<x>b)").groups, { x = "b", y = "2" })
  equal(regex.match("a-1", "(?J)(?<x>a)-1|2-(?<x>b)").groups, { x = "a" })
end)

test("a match begins at init, which may count from the end; what lies before can be looked at", function()
  equal(regex.match("a1b2", [[\d]], 3)[0], "2")
  equal(regex.match("a1b2", [[\d]], -1)[0], "2")
  equal(regex.match("a1b2", [[\d]], -99)[0], "1")
  equal(regex.match("a1b2", [[\d]], 0)[0], "1")
  equal(regex.match("a1b2", "$", 5).first, 5)
  equal(regex.match("a1b2", "", 6), nil)
  equal(regex.match("a1b2", [[(?<=b)\d]], 4)[0], "2")
  equal(regex.match("ab", "^b", 2), nil)
  equal(regex.match("ab", [[\Gb]], 2)[0], "b")
  equal(regex.match("öa", "a", math.mininteger)[0], "a")
  equal(regex.match("öa", "a", math.maxinteger), nil)
end)

test("find and test", function()
  equal({ regex.find("x=12;", [[(\w)=(\d+)(!)?]]) }, { 1, 4, "x", "12", false })
  equal({ regex.find("abc", "^") }, { 1, 0 })
  equal({ regex.find("abc", "z") }, {})
  equal(select("#", regex.find("abc", "z")), 1)
  equal(regex.test("abc", "B"), false)
  equal(regex.test("abc", regex.compile("B", "i")), true)
  equal(regex.test("abc", "a", 2), false)
end)

test("a compiled pattern and its flags", function()
  equal(regex.match("A\nB", regex.compile("^b$", "im"))[0], "B")
  equal(regex.match("A\nB", regex.compile "^B$"), nil)
  equal(regex.match("a\nb", regex.compile("a.b", "s"))[0], "a\nb")
  equal(regex.match("a\nb", "a.b"), nil)
  equal(regex.match("ab", regex.compile("a b # both", "x"))[0], "ab")
  equal(all("é٣3 ß", [[\w]]), { "é", "٣", "3", "ß" })
  equal(all("é٣3 ß", regex.compile([[\w]], "u")), { "é", "٣", "3", "ß" })
  equal(all("é٣3 ß", regex.compile([[\w]], "a")), { "3" })
  equal(all("ÉÀ", regex.compile("é", "ia")), { "É" })
  equal(all("é", regex.compile(".", "b")), { "\xC3", "\xA9" })
  equal(all("a\xFFb", regex.compile([[\xFF]], "b")), { "\xFF" })
  equal(tostring(regex.compile "a+"), "regex /a+/")
end)

test("a closed pattern says so", function()
  local kept
  do
    local closed <close> = regex.compile "a"
    kept = closed
    equal(regex.test("a", closed), true)
  end
  raises(regex.test, "regex.test: the compiled pattern is closed", "a", kept)
  equal(tostring(kept), "regex (closed)")
  -- Closed while it is in use.
  local used = regex.compile "a"
  raises(regex.replace, "regex.replace: the compiled pattern is closed", "aa", used, function()
    local _ <close> = used
  end)
  raises(regex.matches, "regex.matches: the compiled pattern is closed", "a", used)
  local again = regex.compile "a"
  local next_match = regex.matches("aa", again)
  next_match()
  do
    local _ <close> = again
  end
  raises(next_match, "regex.matches: the compiled pattern is closed")
end)

test("matches goes on after empty matches, over characters and line ends", function()
  equal(places("axb", "x*"), "1-0 2-2 3-2 4-3")
  equal(places("", "x*"), "1-0")
  equal(places("äö", ""), "1-0 3-2 5-4")
  equal(places("a😀b", ""), "1-0 2-1 6-5 7-6")
  equal(places("a\r\nb", "(*ANYCRLF)(?m)$"), "2-1 5-4")
  equal(places("a\r\nb", "(*CRLF)"), "1-0 2-1 4-3 5-4")
  equal(places("ab", regex.compile("", "b")), "1-0 2-1 3-2")
  -- An empty match does not keep a longer one from the same place.
  equal(places("aa", "a*?"), "1-0 1-1 2-1 2-2 3-2")
  equal(places("aab", [[\Ga]]), "1-1 2-2")
  equal(places("abc", [[(?=b)]]), "2-1")
end)

test("matches ends, and goes on ending", function()
  local next_match = regex.matches("a", "a")
  equal(next_match()[0], "a")
  equal(next_match(), nil)
  equal(next_match(), nil)
end)

test("\\K moves the beginning, but never before what was searched", function()
  equal(regex.match("foobar", [[foo\Kbar]]), { [0] = "bar", first = 4, last = 6 })
  equal(places("aaa", [[a\K]]), "2-1 3-2 4-3")
  -- Called out of an assertion, \K can put the beginning behind the end, or before the last match.
  equal({ regex.replace("abab", [[(?=ab(?1))(?:)|(?!)(\K)]], "-") }, { "-ab-ab", 2 })
  equal({ regex.replace("aXX", [[X(?<=(?1)X)|(?!)(\K.)]], "-") }, { "--", 2 })
end)

test("replace with text", function()
  equal({ regex.replace("2024-03-09", [[(\d+)-(\d+)-(\d+)]], "$3.$2.$1") }, { "09.03.2024", 1 })
  equal({ regex.replace("a b", [[(?<first>\w) (\w)]], "${2} ${first} $0 ${0} $$1") }, { "b a a b a b $1", 1 })
  equal({ regex.replace("aXbX", "X", "") }, { "ab", 2 })
  equal({ regex.replace("aXbX", "X", "-", 1) }, { "a-bX", 1 })
  equal({ regex.replace("aXbX", "X", "-", 0) }, { "aXbX", 0 })
  equal({ regex.replace("abc", "", "-") }, { "-a-b-c-", 4 })
  equal({ regex.replace("äö", "", "-") }, { "-ä-ö-", 3 })
  equal({ regex.replace("b", "(a)|b", "[$1]") }, { "[]", 1 })
  equal({ regex.replace("x1", "(x)", "${1}0") }, { "x01", 1 })
  equal({ regex.replace("2-b", "(?J)(?<x>1)|2-(?<x>b)", "<${x}>") }, { "<b>", 1 })
  equal({ regex.replace("none", "x", "y") }, { "none", 0 })
end)

test("replace with a function", function()
  local doubled = regex.replace("1 2 30", [[\d+]], function(m)
    return tostring(math.tointeger(m[0]) * 2)
  end)
  equal(doubled, "2 4 60")
  local seen = {}
  equal({
    regex.replace("a1 b2 c3", [[(\w)(\d)]], function(m)
      seen[#seen + 1] = m.first
      if m[1] == "b" then
        return nil
      elseif m[1] == "c" then
        return false
      end
      return m[2] .. m[1]
    end),
  }, { "1a b2 c3", 3 })
  equal(seen, { 1, 4, 7 })
  -- It may search itself, with the same pattern.
  local pattern = regex.compile "a+"
  equal(
    regex.replace("a aa", pattern, function(m)
      return (regex.replace(m[0], pattern, "b")) .. #all("aaa b aaaa", pattern)
    end),
    "b2 b2"
  )
  raises(regex.replace, "the function must return a string, or nil to keep the text; got number", "a", "a", function()
    return 1
  end)
  raises(regex.replace, "from inside", "a", "a", function()
    error "from inside"
  end)
end)

test("split", function()
  equal(regex.split("a, b ;c", [[\s*[,;]\s*]]), { "a", "b", "c" })
  equal(regex.split(",a,,", ","), { "", "a", "", "" })
  equal(regex.split("", ","), { "" })
  equal(regex.split("", ""), { "" })
  equal(regex.split("äbc", ""), { "ä", "b", "c" })
  equal(regex.split("a1b22c", [[\d*]]), { "a", "b", "c" })
  equal(regex.split("a,b,c", ",", 2), { "a", "b,c" })
  equal(regex.split("a,b,c", ",", 1), { "a,b,c" })
  equal(regex.split("a(b)c", "([()])"), { "a", "b", "c" })
end)

test("escape gives a pattern for exactly this text, whatever the flags", function()
  local text = [[a.b*c+?(d)[e]{f}|^$\ #-]] .. "\t\n\0é\r"
  local pattern = regex.escape(text)
  for _, flags in ipairs { "", "x", "i", "xs" } do
    equal(regex.match("<" .. text .. ">", regex.compile("<" .. pattern .. ">", flags))[0], "<" .. text .. ">")
  end
  for byte = 0, 255 do
    local one = string.char(byte)
    equal(regex.match("_" .. one, regex.compile("[" .. regex.escape(one) .. "]$", "b")) ~= nil, byte ~= 10 or nil or true)
  end
  equal(regex.escape "", "")
  equal(regex.escape "plain_text09", "plain_text09")
end)

test("NUL bytes are characters like others", function()
  equal(regex.match("a\0b", "\0b")[0], "\0b")
  equal(regex.match("a\0b", [[a\x00(.)]])[1], "b")
  equal(regex.split("a\0b", "\0"), { "a", "b" })
  equal(regex.replace("a\0b", "\0", "$0$0"), "a\0\0b")
end)

test("a mistake in a pattern is shown where it is", function()
  raises(regex.compile, "regex.compile: missing closing parenthesis at byte 5 of the pattern\n  (abc\n      ^", "(abc")
  raises(regex.compile, "regex.compile: quantifier does not follow a repeatable item at byte 5 of the pattern\n  äb+*+*\n     ^", "äb+*+*")
  raises(regex.match, "regex.match: quantifier does not follow a repeatable item", "text", "*a")
  -- Far out in a long pattern, with characters of one and of two columns.
  local err = raises(regex.compile, "at byte 301 of the pattern\n  …", ("a"):rep(300) .. ")" .. ("b"):rep(300))
  tap.truthy(#err < 300, err)
  raises(regex.compile, "\n  日本)\n      ^", "日本)")
  raises(regex.compile, "\n  a b)\n     ^", "a\nb)")
end)

test("flags that there are not", function()
  raises(regex.compile, 'regex.compile: argument 2 (flags): the flags are the letters i', "a", "g")
  raises(regex.compile, 'got "iz"', "a", "iz")
  raises(regex.compile, "the flag u contradicts a and b", "a", "ua")
  raises(regex.compile, "argument 2 (flags): string expected, got number", "a", 1)
end)

test("arguments of the wrong kind", function()
  for _, name in ipairs { "test", "match", "find", "matches", "replace", "split" } do
    local fn = regex[name]
    raises(fn, "regex." .. name .. ": argument 1 (text): string expected, got nil", nil, "a", "")
    raises(fn, "argument 1 (text): string expected, got number", 12, "a", "")
    raises(fn, "argument 2 (pattern): string or compiled pattern expected, got no value", "a")
    raises(fn, "argument 2 (pattern): string or compiled pattern expected, got table", "a", {}, "")
    raises(fn, "the text comes first, then the pattern", regex.compile "a", "text")
  end
  raises(regex.compile, "regex.compile: argument 1 (pattern): string expected, got table", {})
  raises(regex.escape, "regex.escape: argument 1 (text): string expected, got no value")
  raises(regex.match, "regex.match: argument 3 (init): integer expected, got 1.5", "a", "a", 1.5)
  raises(regex.match, "regex.match: argument 3 (init): integer expected, got x", "a", "a", "x")
  raises(regex.find, "regex.find: argument 3 (init): byte 2 is inside a character", "äb", "b", 2)
  equal(regex.find("äb", regex.compile("b", "b"), 2), 3)
  raises(regex.replace, "argument 3 (replacement): string or function expected, got no value", "a", "a")
  raises(regex.replace, "argument 3 (replacement): string or function expected, got number", "a", "a", 1)
  raises(regex.replace, "regex.replace: argument 4 (limit): integer of 0 or more expected, got -1", "a", "a", "", -1)
  raises(regex.split, "regex.split: argument 3 (limit): integer of 1 or more expected, got 0", "a", "a", 0)
end)

test("references in a replacement are checked before anything is replaced", function()
  local function bad(replacement, message)
    raises(regex.replace, message, "none", "(a)(?<n>b)", replacement)
  end
  bad("cost: $", "argument 3 (replacement): the $ at byte 7 refers to no group; write $1, ${name}, or $$")
  bad("$x", "the $ at byte 1 refers to no group")
  bad("${", "the $ at byte 1 refers to no group")
  bad("${}", "the $ at byte 1 refers to no group")
  bad("$3", "there is no group 3; the pattern has 2")
  bad("$10", "there is no group 10; the pattern has 2 (for group 1 with a digit behind it, write ${1}0)")
  bad("${999999999999}", 'there is no group named "999999999999"')
  bad("${m}", 'there is no group named "m"')
end)

test("texts and patterns that are not UTF-8", function()
  raises(regex.match, 'regex.match: argument 1 (text): UTF-8 expected, but byte 3 starts no character; to search in bytes', "ab\xFF", "b")
  raises(regex.match, "byte 1 starts no character", "\xED\xA0\x80", "b")
  raises(regex.matches, "byte 301 starts no character", ("a"):rep(300) .. "\xC3", "a")
  raises(regex.compile, "the pattern is not UTF-8 (byte 2)", "a\xFFb")
  equal(regex.test("ab\xFF", regex.compile([[b\xFF]], "b")), true)
  -- A text that one pattern has accepted as bytes is still checked for the next.
  local text = ("a"):rep(300) .. "\xFF"
  equal(regex.test(text, regex.compile("a", "b")), true)
  raises(regex.test, "byte 301 starts no character", text, "a")
end)

test("what patterns must not do", function()
  raises(regex.compile, "using \\C is disabled", [[a\Cb]])
  raises(regex.compile, "callouts, (?C…), are not for scripts; one ends at byte", "a(?C1)b")
  raises(regex.compile, "callouts, (?C…), are not for scripts", "a(?C'text')b")
  raises(regex.compile, "script runs are not for scripts; one begins at byte 2 of the pattern\n  a(*sr:b)\n   ^", "a(*sr:b)")
  raises(regex.compile, "script runs are not for scripts", [[(*atomic_script_run:\w+)]])
  raises(regex.compile, "using UTF is disabled", "(*UTF)a", "b")
end)

test("patterns that are too big", function()
  raises(regex.compile, "the pattern has 32769 bytes, and 32768 are allowed", ("a"):rep(32769))
  raises(regex.compile, "regular expression is too large", ("abcd"):rep(8000))
  raises(regex.compile, "regular expression is too large", "(?:(?:a{1000}){1000}){1000}")
  raises(regex.compile, "parentheses are too deeply nested", ("("):rep(101) .. ("")  .. (")"):rep(101))
  equal(#regex.match("a", ("("):rep(100) .. "a" .. (")"):rep(100)), 100)
  equal(#regex.match(("a"):rep(200), ("(a)"):rep(200)), 200)
  raises(regex.compile, "the pattern has 201 groups, and 200 are allowed; write (?:…)", ("(a)"):rep(201))
  raises(regex.compile, "lookbehind assertion is not fixed length", "(?<=a+)b")
end)

test("a pattern that takes too long is stopped and named", function()
  local text = ("a"):rep(40) .. "b"
  raises(
    regex.match,
    "regex.match: the pattern /^(a+)+$/ takes too long on this text: it has too many ways to match; avoid a repetition "
      .. "within a repetition, such as (a+)+, make parts possessive (a++) or atomic (?>…), or match smaller pieces",
    text,
    "^(a+)+$"
  )
  raises(regex.test, "takes too long", ("x"):rep(50) .. "zy", "(x+x+)+y")
  raises(regex.test, "takes too long", text, "^(a|aa)+$")
  -- What a pattern says about limits can only lower them.
  raises(regex.test, "takes too long", text, "(*LIMIT_MATCH=4000000000)^(a+)+$")
  raises(regex.test, "takes too long", text, "(*LIMIT_MATCH=10)^(a+)+$")
  -- The same, written well.
  equal(regex.test(text, "^a++$"), false)
end)

test("a pattern that needs too much memory is stopped and named", function()
  raises(regex.match, "/(?:a|b)*c/ needs too much memory on this text", ("ab"):rep(500000) .. "c", "(?:a|b)*c")
  raises(regex.match, "needs too much memory", ("ab"):rep(500000) .. "c", "(*LIMIT_HEAP=4000000)(?:a|b)*c")
  local before = testing.collect()
  equal(regex.match(("ab"):rep(50000) .. "c", "^(?:a|b)*c").last, 100001)
  tap.truthy(testing.collect() - before < 2000000, "what a big search took is given back")
end)

test("recursion, back references and assertions work, within bounds", function()
  equal(regex.match("x(a(b)c)y", [[\((?:[^()]++|(?R))*\)]])[0], "(a(b)c)")
  raises(regex.match, "needs too much memory", ("("):rep(1000000) .. ")", [[\((?:[^()]++|(?R))*\)]])
  raises(regex.match, "/(?<x>(?&x)a|b)/ calls itself without end: let it match at least one character", "aaa", "(?<x>(?&x)a|b)")
  equal(regex.match("abcabc", [[^(.+)\1$]])[1], "abc")
  equal(all("price: 12€, 30$", [[\d+(?=€)]]), { "12" })
  equal(all("a1 b2", [[(?<!a)\d]]), { "2" })
end)

test("an optional group at the end of an atomic one", function()
  -- PCRE2 10.42 by itself finds none of these.
  for _, pattern in ipairs {
    "a*(?>(?:x)?)a", "a*(*atomic:(?:x)?)a", "a*(?:x)?+a", "a*(?:x){0,2}+a", "a*(?:x){0,1}+[ab]", [[ *(?:x){0,2}+\W]], "a*(?>(?:x)*)a",
  } do
    equal(regex.test("a ", pattern), true, pattern)
  end
  equal(regex.match("a12+}+", [[^a\d{2}\+}+\+]])[0], "a12+}+")
end)

test("a lookahead at the beginning consumes nothing", function()
  -- PCRE2 10.42 by itself finds none of these.
  for _, pattern in ipairs { "(?=a)b?a", "(*pla:a)b?a", "(*positive_lookahead:a)b?a", "(?*a)b?a", "(*napla:a)b?a", "((?=a)b?a)" } do
    equal(regex.test("a", pattern), true, pattern)
  end
end)

test("a class that costs much is refused on a big text", function()
  local items = {}
  for i = 1, 1000 do
    items[i] = utf8.char(0x4000 + 2 * i)
  end
  local pattern = "[" .. table.concat(items) .. "]"
  equal(regex.test(items[7], pattern), true)
  equal(regex.test(("a"):rep(100000), pattern), false)
  raises(regex.test, "is too expensive for a text of this size", ("a"):rep(8000000), pattern)
  -- \X over flags looks back over all of them.
  local flags = ("\u{1F1E6}"):rep(16384)
  equal(#all(flags, [[\X]]), 8192)
  raises(regex.test, [[/\X/ is too expensive for a text of this size: \X and long character classes are for]], flags .. "a", [[\X]])
end)

test("patterns as text are compiled once, and the cache stays small", function()
  local function many(suffix)
    for i = 1, 20000 do
      equal(regex.test("a" .. i .. suffix, "a" .. i .. suffix .. "$"), true)
    end
    return testing.collect()
  end
  local before = many "x" -- what Lua's collector lets lie between two rounds
  local grown = many "y" - before
  tap.truthy(grown < 1000000, "memory grown by " .. grown)
end)

test("compiled patterns that nobody holds are given back", function()
  local pattern = "(" .. ("[a-zäöü]"):rep(200) .. ")"
  local big = ("x"):rep(100000000) -- so that Lua's collector is in no hurry
  local before = testing.collect()
  for i = 1, 20000 do -- together they would take several times the memory limit
    regex.compile(pattern .. i)
  end
  equal(#big, 100000000)
  tap.truthy(testing.collect() - before < 1000000)
end)

test("big texts", function()
  local text = ("word 2024-01-02 "):rep(50000)
  local count = 0
  for m in regex.matches(text, [[\d{4}-\d\d-\d\d]]) do
    count = count + #m[0]
  end
  equal(count, 500000)
  equal(select(2, regex.replace(text, [[\d+]], "<$0>")), 150000)
  equal(#regex.split(text, " "), 100001)
  -- A loop with init costs the text's length once.
  local at, found = 1, 0
  while true do
    local m = regex.match(text, "word", at)
    if not m then
      break
    end
    at, found = m.last + 1, found + 1
  end
  equal(found, 50000)
end)

return tap.run
