local workers = require "workers"
local xml = require "workers.xml"
local json = require "workers.json"
local tap = require "tap"
local testing = require "testing"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy

local function pieces(text, len)
  local at = 1
  return function()
    local piece = text:sub(at, at + len - 1)
    at = at + len
    return piece ~= "" and piece or nil
  end
end

local HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'

local SOAP = [==[
<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns="urn:shop">
  <soap:Body>
    <Orders total="2">
      <Order id="1"><Title>Tea &amp; more</Title></Order>
      <Order id="2" soap:actor="me"><Title><![CDATA[<b>]]></Title></Order>
    </Orders>
  </soap:Body>
</soap:Envelope>]==]

test("a tree of plain tables", function()
  equal(xml.parse '<a x="1">t<b/>u</a>', { name = "a", attributes = { x = "1" }, "t", { name = "b", attributes = {} }, "u" })
  equal(xml.parse '<p:a xmlns:p="urn:p" p:x="1" xml:lang="en" y="2"/>', {
    name = "a",
    prefix = "p",
    namespace = "urn:p",
    namespaces = { p = "urn:p" },
    attributes = { ["{urn:p}x"] = "1", ["xml:lang"] = "en", y = "2" },
  })
  equal(xml.parse '<a xmlns="urn:d"><b xmlns=""/></a>', {
    name = "a",
    namespace = "urn:d",
    namespaces = { [""] = "urn:d" },
    attributes = {},
    { name = "b", namespaces = { [""] = "" }, attributes = {} },
  })
end)

test("text is merged", function()
  equal(xml.parse("<a>x<![CDATA[<y>]]>&amp;<!-- c -->&#x20AC;<?p d?>z</a>")[1], "x<y>&€z")
  equal(#xml.parse("<a>x<!-- c -->y</a>"), 1)
  local long = ("0123456789"):rep(30000)
  equal(xml.parse("<a>" .. long .. "</a>")[1], long)
end)

test("layout is dropped, white space that is text is not", function()
  equal(#xml.parse "<a>\n  <b/>\n  <c/>\n</a>", 2)
  equal(xml.parse("<a> </a>")[1], " ")
  local mixed = xml.parse "<p>so <b>a</b> <i>b</i></p>"
  equal({ mixed[1], mixed[3] }, { "so ", " " })
  equal(#xml.parse('<p xml:space="preserve"><b>a</b> <i>b</i></p>'), 3)
  equal(#xml.parse('<p xml:space="preserve"><q xml:space="default"> <b/> </q></p>')[1], 1)
  equal(#xml.parse("<p><b>a</b> <i>b</i></p>", { keepWhitespace = true }), 3)
end)

test("comments and instructions on request", function()
  local text = "<?top?><a><!-- c -->x<?target some data?></a>"
  equal(#xml.parse(text), 1)
  equal(xml.parse(text, { comments = true, instructions = true }),
    { name = "a", attributes = {}, { comment = " c " }, "x", { instruction = "target", data = "some data" } })
end)

test("encodings", function()
  equal(xml.parse('<?xml version="1.0" encoding="ISO-8859-1"?><a>\xe9</a>')[1], "é")
  equal(xml.parse('<?xml version="1.0" encoding="windows-1252"?><a>\x80</a>')[1], "€")
  equal(xml.parse("\xff\xfe<\0a\0>\0\xe9\0<\0/\0a\0>\0")[1], "é")
  equal(xml.parse("<a>\xe9</a>", { encoding = "ISO-8859-1" })[1], "é")
  raises(xml.parse, 'the encoding "EBCDIC" is none of UTF-8', '<?xml version="1.0" encoding="EBCDIC"?><a/>')
  raises(xml.parse, 'xml.parse: option "encoding" must be one of UTF-8', "<a/>", { encoding = "EBCDIC" })
end)

test("finding", function()
  local doc = xml.parse(SOAP)
  equal(xml.child(doc, "Body").name, "Body")
  equal(xml.child(doc), doc[1])
  equal(xml.child(doc, "Orders"), nil)
  equal(xml.child(doc, "soap:Body"), doc[1])
  equal(xml.child(doc, "x:Body"), nil)
  equal(xml.child(doc, "{http://schemas.xmlsoap.org/soap/envelope/}Body"), doc[1])
  equal(xml.child(doc, "{urn:shop}Body"), nil)
  equal(xml.child(doc, "{}Body"), nil)
  local orders = xml.find(doc, "Body/Orders")
  equal(#xml.children(orders, "Order"), 2)
  equal(#xml.children(orders), 2)
  equal(#xml.children(orders, "*"), 2)
  equal(json.encode(xml.children(orders, "None")), "[]")
  equal(xml.find(doc, "Body/Orders/Order/Title")[1], "Tea & more")
  equal(#xml.findAll(doc, "*/{urn:shop}Orders/Order/Title"), 2)
  equal(#xml.findAll(doc, "{http://schemas.xmlsoap.org/soap/envelope/}Body/*"), 1)
  equal(xml.text(doc, "Body/Orders/Order/Title"), "Tea & more")
  equal(xml.text(orders), "Tea & more<b>")
  equal(xml.text(xml.parse "<a/>"), "")
  equal(xml.attribute(orders, "total"), "2")
  equal(xml.attribute(orders[2], "actor"), "me")
  equal(xml.attribute(orders[2], "{http://schemas.xmlsoap.org/soap/envelope/}actor"), "me")
  equal(xml.attribute(orders[1], "actor"), nil)
  equal(xml.attribute(xml.parse '<a xml:lang="en"/>', "lang"), "en")
  local two = xml.parse '<a xmlns:p="urn:p" xmlns:q="urn:q" p:x="1" a="" b="" c="" d="" e="" f="" g="" q:x="2"/>'
  equal(xml.attribute(two, "x"), nil)
  equal(xml.attribute(two, "{urn:q}x"), "2")
end)

test("backtracking: the first branch need not be the right one", function()
  local doc = xml.parse "<a><b><x/></b><b><c>1</c></b><b><c>2</c></b></a>"
  equal(xml.text(doc, "b/c"), "1")
  equal(#xml.findAll(doc, "b/c"), 2)
end)

test("what was not found is nil all the way", function()
  equal(xml.child(nil, "a"), nil)
  equal(xml.find(nil, "a/b"), nil)
  equal(xml.text(nil), nil)
  equal(xml.text(xml.parse "<a/>", "b/c"), nil)
  equal(xml.attribute(nil, "a"), nil)
  equal(xml.children(nil, "a"), {})
  equal(xml.findAll(nil, "a"), {})
end)

test("events", function()
  local got = {}
  for event, value, more in xml.events('<a x="1">t<!-- c --><p:b xmlns:p="urn:p">u&amp;</p:b><?i d?> </a>', { comments = true, instructions = true }) do
    got[#got + 1] = { event, value, more }
  end
  equal(got, {
    { "start", { name = "a", attributes = { x = "1" } } },
    { "text", "t" },
    { "comment", " c " },
    { "start", { name = "b", prefix = "p", namespace = "urn:p", namespaces = { p = "urn:p" }, attributes = {} } },
    { "text", "u&" },
    { "end", "b", "urn:p" },
    { "instruction", "i", "d" },
    { "text", " " },
    { "end", "a" },
  })
end)

test("events before a mistake come first", function()
  local got = {}
  raises(function()
    for event, value in xml.events "<a>x<b></a>" do
      got[#got + 1] = event == "start" and value.name or value
    end
  end, "xml_test.lua:148: xml.events: line 1, column 10: mismatched tag: <b> is open")
  equal(got, { "a", "x", "b" })
end)

test("elements one by one, in pieces of any size", function()
  local text = '<rss xmlns:m="urn:m"><item n="1">\n<t>é&amp;</t>\n</item><x><item n="2"><item n="3"/></item></x><m:item n="4"/></rss>'
  for _, len in ipairs { 1, 2, 3, 7, 1000 } do
    local numbers = {}
    for item in xml.elements(pieces(text, len), "item") do
      numbers[#numbers + 1] = item.attributes.n
      if item.attributes.n == "1" then
        equal(item, { name = "item", attributes = { n = "1" }, { name = "t", attributes = {}, "é&" } })
      end
    end
    equal(numbers, { "1", "2", "4" })
  end
  local count = 0
  for _ in xml.elements(text, "{urn:m}item") do
    count = count + 1
  end
  equal(count, 1)
end)

test("memory does not grow with the document", function()
  local before = testing.collect()
  local left, count, peak = 20000, 0, 0
  local function source()
    left = left - 1
    return left == 19999 and "<r>" or left > 0 and '<item id="1"><t>' .. ("x"):rep(500) .. "</t></item>" or left == 0 and "</r>" or nil
  end
  for _ in xml.elements(source, "item") do
    count = count + 1
    if count % 4000 == 0 then
      peak = math.max(peak, testing.collect() - before)
    end
  end
  equal(count, 19998)
  truthy(peak < 1024 * 1024, "memory for 10 MB: " .. peak)
end)

test("a source may wait, a loop may be left", function()
  local function slow(text)
    local piece = pieces(text, 5)
    return function()
      workers.sleep(0.001)
      return piece()
    end
  end
  local function texts(text)
    return function()
      local found = {}
      for item in xml.elements(slow(text), "i") do
        found[#found + 1] = xml.text(item)
      end
      return found
    end
  end
  equal(workers.all { texts "<a><i>1</i><i>2</i></a>", texts "<a><i>3</i><x/><i>4</i></a>" }, { { "1", "2" }, { "3", "4" } })
  local kept = {}
  local text = "<a>" .. ("x"):rep(100000) .. "</a>"
  local before = testing.collect()
  for i = 1, 200 do
    local iterator, state, control, box = xml.events(text)
    kept[i] = box
    for _ in iterator, state, control, box do
      break
    end
  end
  local each = (testing.collect() - before) / 200
  truthy(each < 16 * 1024, "the loop has freed its reader; what is left of one: " .. each)
end)

test("sources that misbehave", function()
  raises(function()
    for _ in xml.events(function()
      return {}
    end) do
    end
  end, "xml.events: the source must return strings, and nil at the end; it returned a table")
  local next_event
  next_event = xml.events(function()
    return next_event()
  end)
  raises(next_event, "xml.events: this text is being read by somebody else, or reading it has failed")
  next_event = xml.events "<a>"
  equal(next_event(), "start")
  raises(next_event, "the text ends, but <a> is open")
  raises(next_event, "reading it has failed")
  local iterator, _, _, box = xml.events "<a/>"
  do
    local closed <close> = box
    equal(iterator(), "start")
    equal(type(closed), "userdata")
  end
  equal(iterator(), nil)
  equal(getmetatable(box), false)
end)

test("bombs do not go off", function()
  local laughs = { '<!DOCTYPE l [<!ENTITY l0 "lol">' }
  for i = 1, 9 do
    laughs[#laughs + 1] = ('<!ENTITY l%d "%s">'):format(i, ("&l" .. i - 1 .. ";"):rep(10))
  end
  laughs = table.concat(laughs) .. "]><l>&l9;</l>"
  raises(xml.parse, "line 1, column 13: a DOCTYPE is refused", laughs)
  raises(xml.parse, 'entities are refused, and the DOCTYPE declares "l0"', laughs, { doctype = true })
  raises(xml.parse, "entities are refused", '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>', { doctype = true })
  raises(xml.parse, 'the entity "nbsp" is not known here', '<!DOCTYPE a SYSTEM "x.dtd"><a>&nbsp;</a>', { doctype = true })
  raises(xml.parse, "an attribute refers to an entity that is not known here", '<!DOCTYPE a SYSTEM "x.dtd"><a b="&nbsp;"/>', { doctype = true })
  equal(xml.parse('<!DOCTYPE plist PUBLIC "-//A//B" "http://example.com/x.dtd"><a/>', { doctype = true }), { name = "a", attributes = {} })
  raises(xml.parse, "elements are nested more than 256 deep", ("<a>"):rep(100000))
  raises(xml.parse, "a name is longer than 4096 bytes", "<" .. ("a"):rep(5000) .. "/>")
  raises(xml.parse, "not enough memory", '<a b="' .. ("x"):rep(100 * 1024 * 1024) .. '"/>')
end)

test("wrong arguments", function()
  raises(xml.parse, "xml.parse: argument 1 (text): string expected, got nil", nil)
  raises(xml.parse, 'xml.parse: unknown option "doctpye"; did you mean "doctype"?', "<a/>", { doctpye = true })
  raises(xml.parse, "xml.parse: line 1, column 1: no element found", "")
  raises(xml.events, "xml.events: argument 1 (source): a string, a function that returns strings, or a response of http.stream expected, got nil", nil)
  raises(xml.elements, "xml.elements: argument 2 (name): string expected, got nil", "<a/>", nil)
  raises(xml.elements, 'xml.elements: argument 2 (name): "name", "prefix:name" or "{uri}name" expected, got "a/b"', "<a/>", "a/b")
  raises(xml.child, "xml.child: argument 1 (node): an element or nil expected, got string", "a", "b")
  raises(xml.child, 'xml.child: argument 2 (name): "name", "prefix:name", "{uri}name" or "*" expected, got "{a"', {}, "{a")
  raises(xml.find, 'xml.find: argument 2 (path): names with "/" between them expected, got "/a"', {}, "/a")
  raises(xml.find, 'xml.find: argument 2 (path): names with "/" between them expected, got ""', {}, "")
  raises(xml.find, "xml.find: argument 2 (path): string expected, got nil", {}, nil)
  raises(xml.find, "xml.find: argument 2 (path): more than 64 steps", {}, ("a/"):rep(64) .. "a")
  raises(xml.encode, "xml.encode: argument 1 (node): an element expected, got string", "a")
  raises(xml.escape, "xml.escape: argument 1 (text): string expected, got number", 1)
end)

test("encode", function()
  equal(xml.encode { name = "a" }, HEAD .. "<a/>")
  equal(xml.encode({ name = "a", attributes = { y = 1, x = true, z = 0.5 }, 1, " < ", 2.5, false }, { declaration = false }),
    '<a x="true" y="1" z="0.5">1 &lt; 2.5false</a>')
  equal(xml.encode({ name = "a", attributes = { x = "\"'<>&\t\n\r" }, "]]>\r\n\t" }, { declaration = false }),
    "<a x=\"&quot;'&lt;&gt;&amp;&#9;&#10;&#13;\">]]&gt;&#13;\n\t</a>")
  equal(xml.encode({ name = "a", { comment = " c " }, { instruction = "t", data = "d" }, { instruction = "u" } }, { declaration = false }),
    "<a><!-- c --><?t d?><?u?></a>")
  equal(xml.encode({ name = "a", { name = "b", { name = "c" }, { name = "d", "t" } }, { name = "e" } }, { indent = true }),
    HEAD .. "<a>\n  <b>\n    <c/>\n    <d>t</d>\n  </b>\n  <e/>\n</a>\n")
  equal(xml.encode({ name = "été·1", { name = "日本", attributes = { ["ключ"] = 1 } }, { name = "𐎀-.0" } }, { declaration = false }),
    '<été·1><日本 ключ="1"/><𐎀-.0/></été·1>')
  equal(xml.escape "<a b='\"'>&\r\n\t", "&lt;a b=&apos;&quot;&apos;&gt;&amp;&#13;&#10;&#9;")
end)

test("encode declares namespaces where they are needed", function()
  local function encode(node)
    return xml.encode(node, { declaration = false })
  end
  equal(encode { name = "a", namespace = "urn:a", { name = "b", namespace = "urn:a" }, { name = "c" } },
    '<a xmlns="urn:a"><b/><c xmlns=""/></a>')
  equal(encode { name = "a", prefix = "p", namespace = "urn:a", { name = "b", prefix = "p", namespace = "urn:b" }, { name = "p:c" } },
    '<p:a xmlns:p="urn:a"><p:b xmlns:p="urn:b"/><p:c/></p:a>')
  equal(encode { name = "s:a", namespaces = { s = "urn:s", [""] = "urn:d" }, { name = "b", namespace = "urn:d" } },
    '<s:a xmlns="urn:d" xmlns:s="urn:s"><b/></s:a>')
  equal(encode { name = "a", attributes = { ["{urn:x}y"] = 1, ["{urn:z}y"] = 2, ["xml:lang"] = "en" } },
    '<a xml:lang="en" xmlns:ns1="urn:x" ns1:y="1" xmlns:ns2="urn:z" ns2:y="2"/>')
  equal(encode { name = "a", namespaces = { p = "urn:x" }, attributes = { ["{urn:x}y"] = 1, ["p:z"] = 2 } },
    '<a xmlns:p="urn:x" p:z="2" p:y="1"/>')
  equal(encode { name = "a", namespaces = { p = "urn:x" }, { name = "b", namespaces = { p = "urn:y" }, attributes = { ["{urn:x}z"] = 1 } } },
    '<a xmlns:p="urn:x"><b xmlns:p="urn:y" xmlns:ns1="urn:x" ns1:z="1"/></a>')
  equal(encode(xml.parse(SOAP)):gsub("\n *", ""), encode(xml.parse(SOAP, { keepWhitespace = true })):gsub("\n *", ""))
  equal(xml.parse(encode(xml.parse(SOAP))), xml.parse(SOAP))
  local odd = '<a xmlns="urn:}" xmlns:p="urn:{}" p:x="1"/>'
  equal(encode(xml.parse(odd)), odd)
  equal(xml.child({ xml.parse(odd) }, "{urn:}}a").name, "a")
end)

test("what cannot be encoded", function()
  local function fails(message, node)
    raises(xml.encode, message, node)
  end
  fails("xml.encode: child: an element needs a name", {})
  fails("xml.encode: a: child: an element needs a name", { name = "a", {} })
  fails('xml.encode: a b: "a b" cannot be the name of an element', { name = "a b" })
  fails('"1" cannot be the name of an element', { name = "1" })
  fails('":a" cannot be the name of an element', { name = ":a" })
  fails('"µ" cannot be the name of an element', { name = "µ" })
  fails('"·a" cannot be the name of an element', { name = "·a" })
  fails('"a\xff" cannot be the name of an element', { name = "a\xff" })
  fails('"a:b:c" cannot be the name of an element', { name = "a:b:c", namespaces = { a = "urn:a" } })
  fails('"a>" cannot be the name of an attribute', { name = "a", attributes = { ["a>"] = 1 } })
  fails("xml.encode: a/b: text: byte 2 begins no character that XML has", { name = "a", { name = "b", "x\0" } })
  fails("a: attribute x: byte 1 begins no character that XML has", { name = "a", attributes = { x = "\xff" } })
  fails("a: text: a string, number or boolean expected, got userdata", { name = "a", workers.null })
  fails('a: a comment cannot have "--" in it, nor end with "-"', { name = "a", { comment = "x--y" } })
  fails('a: a comment cannot have "--" in it, nor end with "-"', { name = "a", { comment = "x-" } })
  fails('a: an instruction cannot have "?>" in it', { name = "a", { instruction = "x", data = "?>" } })
  fails('a: "XML" cannot be the target of an instruction', { name = "a", { instruction = "XML" } })
  fails('p:a: the prefix "p" is not declared; give a namespace, or namespaces around it', { name = "p:a" })
  fails('a: the prefix of the attribute "p:x" is not declared', { name = "a", attributes = { ["p:x"] = 1 } })
  fails('a: the attribute "xmlns:p" declares a namespace; give it in namespaces', { name = "a", attributes = { ["xmlns:p"] = "u" } })
  fails('a: the attribute "xmlns" declares a namespace; give it in namespaces', { name = "a", attributes = { xmlns = "u" } })
  fails('a: the prefix "xmlns" is not to be declared', { name = "a", namespaces = { xmlns = "u" } })
  fails('a: the prefix "p" needs a namespace', { name = "a", namespaces = { p = "" } })
  fails('a: the prefix "p" is declared here for another namespace', { name = "a", prefix = "p", namespace = "u", namespaces = { p = "v" } })
  fails('a: the attribute "{u}x" is given twice', { name = "a", namespaces = { p = "u" }, attributes = { ["p:x"] = 1, ["{u}x"] = 2 } })
  fails("a: attributes: the keys must be strings, but one is a number", { name = "a", attributes = { 1 } })
  fails("a: attributes: a table expected, got string", { name = "a", attributes = "x" })
  fails("name: a string expected, got number", { name = 1 })
  local loop = { name = "a" }
  loop[1] = loop
  fails("…/a/a/a/a/a/a/a/a: elements are nested more than 256 deep", loop)
  raises(xml.text, "xml.text: elements are nested more than 256 deep", loop)
  local text = ("x"):rep(1024 * 1024)
  local large = { name = "a" }
  for i = 1, 64 do
    large[i] = text
  end
  fails("xml.encode: the document", large)
  raises(xml.escape, "xml.escape: byte 1 begins no character that XML has", "\1")
end)

return tap.run
