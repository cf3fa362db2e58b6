local tap = require "tap"
local text = require "workers.text"
local workers = require "workers"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy

test("isUtf8 says where the first bad byte is", function()
  equal(text.isUtf8 "", true)
  equal(text.isUtf8 "naïve €😀\0", true)
  equal({ text.isUtf8 "a\xff" }, { false, 2 })
  equal({ text.isUtf8 "é\xe2\x82" }, { false, 3 })
  equal({ text.isUtf8 "\xed\xa0\x80" }, { false, 1 })
  equal({ text.isUtf8(("a"):rep(300000) .. "\x80") }, { false, 300001 })
end)

test("toUtf8 repairs UTF-8 and converts other encodings", function()
  equal(text.toUtf8 "a\xe2\x82b\xf0\x80", "a\u{FFFD}b\u{FFFD}\u{FFFD}")
  equal(text.toUtf8("a\xffb", { replacement = "?" }), "a?b")
  equal(text.toUtf8("a\xffb", { replacement = "" }), "ab")
  equal(text.toUtf8 "\xef\xbb\xbfa", "a")
  equal(text.toUtf8("na\xefve \x80", { from = "latin1" }), "naïve \u{80}")
  equal(text.toUtf8("na\xefve \x80", { from = "windows-1252" }), "naïve €")
  equal(text.toUtf8("\xff\xfea\0=\xd8\0\xde", { from = "utf-16le" }), "a😀")
  equal(text.toUtf8("\0a\xd8\0\0b\0", { from = "utf-16be", replacement = "!" }), "a!b!")
  equal(text.toUtf8("", { from = "utf-16le" }), "")
end)

test("length counts what is asked for", function()
  equal(text.length "", 0)
  equal(text.length "e\u{301}é€😀", 5)
  equal(text.length("e\u{301}é€😀", { unit = "graphemes" }), 4)
  equal(text.length("e\u{301}é€😀", { unit = "bytes" }), 12)
  equal(text.length("👨‍👩‍👧🇩🇪🇫🇷", { unit = "graphemes" }), 3)
end)

test("truncate never cuts within a character", function()
  equal(text.truncate("naïve", 3), "naï")
  equal(text.truncate("naïve", 5), "naïve")
  equal(text.truncate("naïve", 0), "")
  equal(text.truncate("naïve", 3, { unit = "bytes" }), "na")
  equal(text.truncate("naïve", 4, { unit = "bytes" }), "naï")
  equal(text.truncate("👨‍👩‍👧x", 1, { unit = "graphemes" }), "👨‍👩‍👧")
  equal(text.truncate("e\u{301}e\u{301}", 3), "e\u{301}e")
  equal(text.truncate("e\u{301}e\u{301}x", 2, { unit = "graphemes" }), "e\u{301}e\u{301}")
  equal(text.truncate("abcdef", 4, { ellipsis = "…" }), "abc…")
  equal(text.truncate("abcd", 4, { ellipsis = "…" }), "abcd")
  equal(text.truncate("abcdef", 4, { ellipsis = "…", unit = "bytes" }), "a…")
  equal(text.truncate("abcdef", 2, { ellipsis = "..." }), "ab")
  equal(text.truncate("abcdef", math.maxinteger), "abcdef")
end)

test("forms, case, trim and slug", function()
  equal(text.nfc "e\u{301}", "é")
  equal(text.nfd "é", "e\u{301}")
  equal(text.nfkc "ﬁ①", "fi1")
  equal(text.nfkd "é½", "e\u{301}1\u{2044}2")
  equal(text.fold "STRASSE Ⅳ" == text.fold "straße ⅳ", true)
  equal(text.fold "E\u{301}", "é")
  equal(text.lower "ÀÉÎ ΟΔΟΣ", "àéî οδος")
  equal(text.upper "straße ﬃ ὀ", "STRASSE FFI Ὀ")
  equal(text.trim "\u{3000} \t a\u{A0}b \n\u{2028}", "a\u{A0}b")
  equal(text.trim " \n ", "")
  equal(text.slug "  Größe & Wért: 2. Auflage! ", "grosse-wert-2-auflage")
  equal(text.slug "日本語 テキスト", "日本語-テキスト")
  equal(text.slug "…", "")
  equal(text.nfc "a\0b", "a\0b")
end)

test("escapeHtml and unescapeHtml", function()
  equal(text.escapeHtml [[<a href="x">'&'</a>]], "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;")
  equal(text.unescapeHtml "&lt;&copy;&notit;&nosuch;&#x41;&#66&#128;&#0;&", "<©¬it;&nosuch;AB€\u{FFFD}&")
  equal(text.unescapeHtml "&CounterClockwiseContourIntegral; &Tab;|&NewLine;|&fjlig;", "∳ \t|\n|fj")
  equal(text.unescapeHtml "plain \xff\0", "plain \xff\0")
  equal(text.unescapeHtml "\xff&amp;\0", "\xff&\0")
  equal(text.unescapeHtml "", "")
end)

local page = [[
<!DOCTYPE html><html><head><title>No</title><style>p{}</style></head><body>
<script>alert("no")</script>
<h1>Title &amp; more</h1>
<p>Some   <b>bold</b>
text.<br>Next</p>
<div>one</div><div>two</div>
<ul><li>a</li><li>b<ol start="9"><li>c</li><li><p>d</p></li></ol></li></ul>
<pre>  x
    y
</pre>
<table><tr><th>A</th><th>B</th></tr><tr><td></td><td><p>2</p></td></tr></table>
<p hidden>No</p><p>End <a href="/x">link</a>&nbsp;!</p></body></html>]]

test("htmlToText gives what is seen, in lines", function()
  equal(
    text.htmlToText(page),
    "Title & more\n\nSome bold text.\nNext\n\none\ntwo\n\n- a\n- b\n  9. c\n  10. d\n\n  x\n    y\n\nA\tB\n\t2\n\nEnd link\u{A0}!"
  )
  equal(text.htmlToText "", "")
  equal(text.htmlToText "just text", "just text")
  equal(text.htmlToText "<p>a</p>\n\n<p></p><p>b", "a\n\nb")
  equal(text.htmlToText "a\xffb<br>\xe2\x82", "a\u{FFFD}b\n\u{FFFD}")
  equal(text.htmlToText "<ul><li><li>x</ul>", "-\n- x")
  equal(text.htmlToText "a<script>b</script><!-- c -->d<svg><text>e</text></svg>", "ad")
  equal(text.htmlToText "&#xFFFFFFFFF9;|&#xFFFFFFFFFFFFFF80;|", "\u{FFFD}|\u{FFFD}|")
end)

test("htmlToMarkdown gives CommonMark with GFM tables", function()
  equal(
    text.htmlToMarkdown(page),
    [[
# Title & more

Some **bold** text.\
Next

one

two

- a
- b

  9. c

  10. d

```
  x
    y
```

| A | B |
| --- | --- |
| | 2 |

End [link](/x)]] .. "\u{A0}!"
  )
  equal(text.htmlToMarkdown "", "")
  equal(
    text.htmlToMarkdown '<pre><code class="language-c">a ``` b\n</code></pre><blockquote>q<ul><li>x</ul></blockquote><hr>',
    "````c\na ``` b\n````\n\n> q\n>\n> - x\n\n***"
  )
  equal(
    text.htmlToMarkdown '<p>a<em>b</em> <i> c </i>d<b><p>x<p>y</b><code>`</code><s>z</s>',
    "a*b* *c* d\n\n**x**\n\n**y**`` ` ``~~z~~"
  )
  equal(text.htmlToMarkdown "1. x<p># y<p>*z* _a_ a_b [c](d) &amp;lt; &lt;b", "1\\. x\n\n\\# y\n\n\\*z\\* \\_a\\_ a_b \\[c\\](d) \\&lt; \\<b")
  equal(text.htmlToMarkdown '<ul><li><input type=checkbox checked> a<li><input type=checkbox> b</ul>', "- [x] a\n- [ ] b")
  equal(
    text.htmlToMarkdown '<table><tr><td align=right>a|b<td>c<br>d<tr><td colspan=2><p>e<p>f</table>',
    "| | |\n| --: | --- |\n| a\\|b | c<br>d |\n| e<br>f | |"
  )
  equal(text.htmlToMarkdown "<table><tr><td><p>laid</p><table><tr><td>out</table></table>", "laid\n\nout")
  equal(text.htmlToMarkdown "<ul><li>a<div>b</div>c<pre>d</pre><li>e<ol start=2><li>f</ol></ul>", "- a\n\n  b\n\n  c\n  ```\n  d\n  ```\n- e\n\n  2. f")
  equal(text.htmlToMarkdown "<ul><li>a</ul><ul><li>b</ul><ol><li>c</ol><ol start=3><li>d</ol>", "- a\n\n+ b\n\n1. c\n\n3) d")
end)

test("links: resolved, refused, written short", function()
  local html = '<a href="../x?y=1#z" title="T&quot;">a</a> <img src="i.png" alt="alt"> <a href="mailto:a@b.c">a@b.c</a>'
  equal(text.htmlToMarkdown(html), '[a](../x?y=1#z "T\\"") ![alt](i.png) <a@b.c>')
  equal(
    text.htmlToMarkdown(html, { baseUrl = "https://example.com/a/b" }),
    '[a](https://example.com/x?y=1#z "T\\"") ![alt](https://example.com/a/i.png) <a@b.c>'
  )
  equal(text.htmlToMarkdown '<a href="java\nscript:x">a</a><a href=" JavaScript:x">b</a><img alt=c src="data:x,y">', "abc")
  equal(text.htmlToMarkdown '<a href="https://x.y/z">https://x.y/z</a>', "<https://x.y/z>")
  equal(text.htmlToMarkdown '<a href="/a (b)">c</a><a href="#"></a>', "[c](</a (b)>)")
  equal(text.htmlToMarkdown(("<a name=x>"):rep(40) .. "<a href=/y>z</a>"), "[z](/y)")
  equal(text.htmlToMarkdown '<a href="/x"><h2>T</h2><p>t</p></a>', "## [T](/x)\n\n[t](/x)")
end)

test("escapeMarkdown and markdownTable", function()
  equal(text.escapeMarkdown "# a *b* _c_ d_e `f` [g]\n- h\n1. i <j> &lt; \\k \\*", "\\# a \\*b\\* \\_c\\_ d_e \\`f\\` \\[g\\]\n\\- h\n1\\. i \\<j> \\&lt; \\k \\\\\\*")
  equal(text.escapeMarkdown "", "")
  equal(
    text.markdownTable({ { 1, "a|b", true }, { 2.5, "x\ny" } }, { header = { "n", "t", "" }, align = { "right", "", "center" } }),
    "| n | t | |\n| --: | --- | :-: |\n| 1 | a\\|b | true |\n| 2.5 | x<br>y | |\n"
  )
  equal(text.markdownTable { { "a", "b" }, { workers.null, 9007199254740993 } }, "| a | b |\n| --- | --- |\n| | 9007199254740993 |\n")
  equal(text.markdownTable({}, { header = { "a" } }), "| a |\n| --- |\n")
end)

test("deep HTML keeps its text and takes linear time", function()
  for _, tag in ipairs { "div", "span", "b", "blockquote", "ul><li", "table><tr><td", "em", "svg><g", "template", "dl><dd", "font" } do
    local html = ("<" .. tag .. ">"):rep(100000) .. "deep"
    local seen = tag:find "svg" or tag == "template"
    truthy(seen or text.htmlToText(html):find("deep", 1, true), tag)
    truthy(seen or text.htmlToMarkdown(html):find("deep", 1, true), tag)
  end
  equal(text.htmlToText(("<div>"):rep(100000) .. "a" .. ("</div>"):rep(100000) .. "b"), "a\nb")
  equal(text.htmlToText(("<span><div></span>"):rep(50000) .. "x<frameset>y"), "x y")
  local attributes = {}
  for i = 1, 100000 do
    attributes[i] = "a" .. i
  end
  equal(text.htmlToText("<p " .. table.concat(attributes, " ") .. ">x"), "x")
end)

test("what is too large is refused by name", function()
  local huge = ("x"):rep(16 * 1024 * 1024 + 1)
  raises(function()
    text.htmlToText(huge)
  end, "text.htmlToText: argument 1 (html): 16777217 bytes; the most is 16777216")
  raises(function()
    text.htmlToMarkdown(("<p>x"):rep(1000000))
  end, "text.htmlToMarkdown: the HTML takes more than 201326592 bytes of memory; convert it in parts")
  raises(function()
    text.nfkc(("\u{FDFA}"):rep(6 * 1024 * 1024))
  end, "text.nfkc: the result is larger than 134217728 bytes")
end)

test("misuse raises at the caller's line and says what to do", function()
  local names = {}
  for name in pairs(text) do
    names[#names + 1] = name
  end
  table.sort(names)
  equal(#names, 19)
  for _, name in ipairs(names) do
    local what = name == "markdownTable" and "(rows): list of rows" or ": string"
    for _, value in ipairs { false, 1, print } do
      local err = raises(function()
        text[name](value)
      end, " expected, got " .. type(value))
      truthy(err:find("text." .. name .. ": argument 1 (", 1, true) and err:find(what:match "%S+ %S+$" or what, 1, true), err)
    end
    raises(text[name], "expected, got nothing")
  end
  raises(function()
    text.length "a\xff"
  end, "text_test.lua:228: text.length: argument 1 (text): no UTF-8 at byte 2; text.toUtf8 repairs it or converts it")
  raises(function()
    text.truncate("a", -1)
  end, "text.truncate: argument 2 (max): whole number from 0 expected, got -1")
  raises(function()
    text.truncate("a", 1.5)
  end, "text.truncate: argument 2 (max): whole number from 0 expected, got 1.5")
  raises(function()
    text.truncate("a", 1, { unit = "words" })
  end, [[text.truncate: option "unit": "codepoints", "graphemes" or "bytes" expected, got "words"]])
  raises(function()
    text.truncate("a", 1, { elipsis = "…" })
  end, [[text.truncate: unknown option "elipsis"; did you mean "ellipsis"?]])
  raises(function()
    text.truncate("a", 1, { ellipsis = "\xff" })
  end, [[text.truncate: option "ellipsis": must be UTF-8]])
  raises(function()
    text.toUtf8("a", { from = "koi8-r" })
  end, [[text.toUtf8: option "from": "utf-8", "utf-16le", "utf-16be", "latin1" or "windows-1252" expected, got "koi8-r"]])
  raises(function()
    text.toUtf8("a", { replacement = "\xff" })
  end, [[text.toUtf8: option "replacement": must be UTF-8]])
  raises(function()
    text.htmlToMarkdown("a", { baseUrl = "not a url" })
  end, [[text.htmlToMarkdown: option "baseUrl": ]])
  raises(function()
    text.markdownTable {}
  end, [[text.markdownTable: argument 1 (rows): no row, and no option "header"]])
  raises(function()
    text.markdownTable { { "a" }, { "b", "c" } }
  end, "text.markdownTable: argument 1 (rows): row 2 has 2 cells, the header 1")
  raises(function()
    text.markdownTable { { "a" }, { {} } }
  end, "text.markdownTable: argument 1 (rows): row 2, cell 1: text or a number expected, got table")
  raises(function()
    text.markdownTable({ 1 }, { header = { "a" } })
  end, "text.markdownTable: argument 1 (rows): row 1: list of cells expected, got number")
  raises(function()
    text.markdownTable({}, { header = {} })
  end, [[text.markdownTable: option "header": a list of 1 to 1000 cells expected, got one of 0]])
  raises(function()
    text.markdownTable({ { "a" } }, { align = { "middle" } })
  end, [[text.markdownTable: option "align": entry 1: "left", "center", "right" or "" expected, got middle]])
end)

return tap.run
