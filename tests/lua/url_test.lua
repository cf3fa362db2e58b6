local tap = require "tap"
local url = require "workers.url"
local workers = require "workers"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy

test("parse gives the parts that there are", function()
  equal(url.parse "HTTPS://ann:s3cret@API.example.com:8443/v1/a%20b?q=1&r=2#top", {
    scheme = "https",
    user = "ann",
    password = "s3cret",
    host = "api.example.com",
    port = 8443,
    path = "/v1/a%20b",
    query = "q=1&r=2",
    fragment = "top",
    origin = "https://api.example.com:8443",
    href = "https://ann:s3cret@api.example.com:8443/v1/a%20b?q=1&r=2#top",
  })
  equal(url.parse "http://h", { scheme = "http", host = "h", path = "/", origin = "http://h", href = "http://h/" })
  equal(url.parse "http://h:80/?#", {
    scheme = "http", host = "h", path = "/", query = "", fragment = "", origin = "http://h", href = "http://h/?#",
  })
  equal(url.parse "mailto:a@b", { scheme = "mailto", path = "a@b", href = "mailto:a@b" })
  equal(url.parse "file:///etc/x", { scheme = "file", host = "", path = "/etc/x", href = "file:///etc/x" })
  equal(url.parse("http://:p@h").user, "")
  equal(url.parse("http://u:@h").password, nil)
  equal(url.parse("http://u:@h").href, "http://u@h/")
  equal(math.type(url.parse("x://h:0").port), "integer")
  equal(url.parse("x://h:0").port, 0)
end)

test("parse relative to a base", function()
  equal(url.parse("../c", "http://h/a/b/").href, "http://h/a/c")
  equal(url.parse("http://i/", "http://h/").href, "http://i/")
  equal(url.parse("//i", "https://h/").href, "https://i/")
  equal(url.parse("x", "http://h").path, "/x")
  raises(function()
    url.parse("x", "y")
  end, 'url.parse: argument 2 (base): the URL "y" is malformed: it begins with no scheme')
  raises(function()
    url.parse("x", "mailto:a@b")
  end, 'url.parse: the URL "x" is malformed: it is relative, and the base is of a kind that nothing can be relative to')
end)

test("every way to write an address gives the one address", function()
  for _, text in ipairs {
    "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://017700000001/", "http://0177.0.0.1/", "http://127.1/",
    "http://127.0.1/", "http://127.0.0.1./", "http://%31%32%37.0.0.1/", "http://0X7F.0x0.0.01/",
  } do
    equal(url.parse(text).host, "127.0.0.1", text)
  end
  for text, host in pairs {
    ["http://[::ffff:127.0.0.1]/"] = "[::ffff:7f00:1]",
    ["http://[0:0:0:0:0:FFFF:7F00:0001]/"] = "[::ffff:7f00:1]",
    ["http://[::]/"] = "[::]",
    ["http://[1:0:0:2:0:0:0:3]/"] = "[1:0:0:2::3]",
    ["http://[1:0:0:2:3:0:0:4]/"] = "[1::2:3:0:0:4]",
    ["http://0/"] = "0.0.0.0",
    ["http://4294967295/"] = "255.255.255.255",
  } do
    equal(url.parse(text).host, host, text)
  end
  for _, text in ipairs {
    "http://4294967296/", "http://256.0.0.1/", "http://1.2.3.4.5/", "http://08/", "http://1..1/", "http://a.0x1/", "http://0xg.1/",
  } do
    raises(function()
      url.parse(text)
    end, "is malformed: its host ends in a number, but is no IPv4 address: ")
  end
  for _, host in ipairs { "[::1", "[::g]", "[1:2:3:4:5:6:7]", "[::1%25eth0]", "[:1]", "[1:]", "[]", "[::1.2.3]", "[::01.2.3.4]" } do
    raises(function()
      url.parse("http://" .. host .. "/")
    end, "is malformed: ")
  end
end)

test("errors show the URL but no secret of it", function()
  for text, message in pairs {
    ["http://a b/?key=secret"] = 'url.parse: the URL "http://a?b/" is malformed: its host has a space',
    ["http://u:secret@a b/"] = "url.parse: the URL is malformed: its host has a space",
    ["http://h:99999/#secret"] = 'url.parse: the URL "http://h:99999/" is malformed: its port is greater than 65535',
    ["http://bücher.example/"] = "its host has letters beyond ASCII; write it in punycode (xn--...)",
    ["http://\0/"] = "its host has a control character",
    ["http://a\0b/"] = "its host has a control character",
    [""] = "url.parse: the URL is malformed: it begins with no scheme, such as https:, and there is no base",
  } do
    local err = raises(function()
      url.parse(text)
    end, message)
    truthy(not err:find("secret", 1, true), err)
    truthy(err:find "^url_test.lua:%d+: url.parse: ", err)
  end
end)

-- RFC 3986, section 5.4. What browsers do otherwise: a host without path gets one, and "http:g" is relative when the
-- scheme is that of the base, as section 5.4.2 allows.
test("resolve gives the examples of RFC 3986", function()
  local base = "http://a/b/c/d;p?q"
  for reference, target in pairs {
    ["g:h"] = "g:h", ["g"] = "http://a/b/c/g", ["./g"] = "http://a/b/c/g", ["g/"] = "http://a/b/c/g/", ["/g"] = "http://a/g",
    ["//g"] = "http://g/", ["?y"] = "http://a/b/c/d;p?y", ["g?y"] = "http://a/b/c/g?y", ["#s"] = "http://a/b/c/d;p?q#s",
    ["g#s"] = "http://a/b/c/g#s", ["g?y#s"] = "http://a/b/c/g?y#s", [";x"] = "http://a/b/c/;x", ["g;x"] = "http://a/b/c/g;x",
    ["g;x?y#s"] = "http://a/b/c/g;x?y#s", [""] = "http://a/b/c/d;p?q", ["."] = "http://a/b/c/", ["./"] = "http://a/b/c/",
    [".."] = "http://a/b/", ["../"] = "http://a/b/", ["../g"] = "http://a/b/g", ["../.."] = "http://a/", ["../../"] = "http://a/",
    ["../../g"] = "http://a/g",
    -- Abnormal ones.
    ["../../../g"] = "http://a/g", ["../../../../g"] = "http://a/g", ["/./g"] = "http://a/g", ["/../g"] = "http://a/g",
    ["g."] = "http://a/b/c/g.", [".g"] = "http://a/b/c/.g", ["g.."] = "http://a/b/c/g..", ["..g"] = "http://a/b/c/..g",
    ["./../g"] = "http://a/b/g", ["./g/."] = "http://a/b/c/g/", ["g/./h"] = "http://a/b/c/g/h", ["g/../h"] = "http://a/b/c/h",
    ["g;x=1/./y"] = "http://a/b/c/g;x=1/y", ["g;x=1/../y"] = "http://a/b/c/y", ["g?y/./x"] = "http://a/b/c/g?y/./x",
    ["g?y/../x"] = "http://a/b/c/g?y/../x", ["g#s/./x"] = "http://a/b/c/g#s/./x", ["g#s/../x"] = "http://a/b/c/g#s/../x",
    ["http:g"] = "http://a/b/c/g",
  } do
    equal(url.resolve(base, reference), target, reference)
  end
  raises(function()
    url.resolve("a/b", "c")
  end, 'url.resolve: argument 1 (base): the URL "a/b" is malformed: ')
  raises(function()
    url.resolve(base, "//h:x")
  end, 'url.resolve: argument 2 (reference): the URL "//h:x" is malformed: its port is not a number')
end)

test("sameOrigin", function()
  equal(url.sameOrigin("https://h/a", "HTTPS://H:443/b?c"), true)
  equal(url.sameOrigin("https://h/", "http://h/"), false)
  equal(url.sameOrigin("https://h/", "https://h:8443/"), false)
  equal(url.sameOrigin("https://h/", "https://h.example/"), false)
  equal(url.sameOrigin("http://127.1/", "http://2130706433:80/"), true)
  equal(url.sameOrigin("blob:https://h/x", "https://h/"), true)
  equal(url.sameOrigin("data:x", "data:x"), false)
  equal(url.sameOrigin("file:///a", "file:///a"), false)
  raises(function()
    url.sameOrigin("https://h/", "h")
  end, 'url.sameOrigin: argument 2 (b): the URL "h" is malformed: ')
end)

test("build is the opposite of parse", function()
  for _, text in ipairs {
    "https://ann:s3cret@api.example.com:8443/v1/a%20b?q=1&r=2#top", "http://h/", "http://h/?#", "mailto:a@b", "file:///etc/x",
    "file://h/x", "x:/.//p", "x://h", "x:", "x://u@h:0/?q", "data:text/html,<b> x", "http://[::1]:81//a//b", "http://h/??x#a#b",
    "data: x%20#f",
  } do
    equal(url.build(url.parse(text)), text)
  end
end)

test("build encodes what cannot stand in a part, and keeps each part where it is", function()
  equal(url.build { scheme = "https", host = "h" }, "https://h/")
  equal(url.build { scheme = "HTTPS", host = "H", port = 443, path = "a b" }, "https://h/a%20b")
  equal(url.build { scheme = "https", host = "h", path = "/a?b#c%2F%" }, "https://h/a%3Fb%23c%2F%")
  equal(url.build { scheme = "https", host = "h", query = "a#b", fragment = "c#d" }, "https://h/?a%23b#c#d")
  equal(url.build { scheme = "https", host = "h", user = "a:b@c/d", password = "p@:/" }, "https://a%3Ab%40c%2Fd:p%40%3A%2F@h/")
  equal(url.build { scheme = "https", host = "h", query = { b = 1, a = { "x y", true } } }, "https://h/?a=x+y&a=true&b=1")
  equal(url.build { scheme = "https", host = "h", query = { { name = "b", value = 1 }, { name = "a", value = "&" } } }, "https://h/?b=1&a=%26")
  equal(url.build { scheme = "https", host = "h", query = {} }, "https://h/")
  equal(url.build { scheme = "https", host = "h", path = "/ \t\n" }, "https://h/%20%09%0A")
  equal(url.build { scheme = "mailto", path = "a@b?c#d " }, "mailto:a@b%3Fc%23d%20")
  equal(url.build { scheme = "x", path = "//h/p" }, "x:/.//h/p")
  equal(url.parse(url.build { scheme = "x", path = "//h/p" }).path, "//h/p")
  equal(url.build { scheme = "file", path = "etc" }, "file:///etc")
  equal(url.build { scheme = "http", host = "0x7f.1" }, "http://127.0.0.1/")
  for message, parts in pairs {
    ['option "scheme" is missing: such as "https"'] = { host = "h" },
    ["url.build: the scheme must be a word such as https"] = { scheme = "a:b", host = "h" },
    ["url.build: https needs a host"] = { scheme = "https", path = "/x" },
    ["url.build: http needs a host"] = { scheme = "http", host = "" },
    ["url.build: the host has a character that cannot be in one, at byte 2"] = { scheme = "http", host = "a/b" },
    ["cannot be in one, at byte 2; a port is a part of its own, IPv6 addresses are in [ ]"] = { scheme = "http", host = "h:80" },
    ["the host has a character that cannot be in one, at byte 3"] = { scheme = "http", host = "u1@h" },
    ["cannot be in one, at byte 2"] = { scheme = "file", host = "C|" },
    ["its host has a <"] = { scheme = "http", host = "a<b" },
    ["a user needs a host that can have one"] = { scheme = "x", user = "u", path = "p" },
    ["a password needs a host that can have one"] = { scheme = "x", password = "u", host = "" },
    ["a port needs a host that can have one"] = { scheme = "file", host = "h", port = 1 },
    ['url.build: option "port" must be from 0 to 65535, got 65536'] = { scheme = "http", host = "h", port = 65536 },
    ['url.build: option "port" must be from 0 to 65535, got -1'] = { scheme = "http", host = "h", port = -1 },
    ['option "port" must be a whole number'] = { scheme = "http", host = "h", port = "80" },
    ['url.build: option "query" must be a string or a table, got number'] = { scheme = "http", host = "h", query = 1 },
    ['unknown option "hostname"; the options are: scheme, user'] = { scheme = "http", hostname = "h" },
    ['unknown option "hots"; did you mean "host"?'] = { scheme = "http", hots = "h" },
  } do
    raises(url.build, message, parts)
  end
end)

local function pairs_of(text)
  local result = {}
  for i, parameter in ipairs(url.query(text)) do
    result[i] = parameter.name .. "→" .. parameter.value
  end
  return result
end

test("query keeps order and repeats", function()
  equal(pairs_of "a=1&b=2&a=3", { "a→1", "b→2", "a→3" })
  equal(pairs_of "?a=x+y%20z&&b&=c&d==&", { "a→x y z", "b→", "→c", "d→=" })
  equal(pairs_of "%zz=%&%41=%c3%a4%00", { "%zz→%", "A→ä\0" })
  equal(pairs_of "", {})
  equal(pairs_of "?", {})
  equal(require("workers.json").encode(url.query ""), "[]")
  equal(url.query "a=%ff", { { name = "a", value = "\xff" } })
  equal(url.queryMap "?a=1&b=2&a=3&c", { a = "1", b = "2", c = "" })
  equal(url.queryMap "", {})
  local long = ("a=1&"):rep(100000)
  equal(#url.query(long), 100000)
  equal(#url.query("a=" .. ("%41"):rep(1000000))[1].value, 1000000)
end)

test("encodeQuery", function()
  equal(url.encodeQuery { b = 2, a = "x y&=?#ä", list = { 3, "z", true }, f = 1.5, whole = 6 / 2, no = false },
    "a=x+y%26%3D%3F%23%C3%A4&b=2&f=1.5&list=3&list=z&list=true&no=false&whole=3")
  equal(url.encodeQuery { { name = "b", value = 2 }, { name = "a", value = "" }, { name = "b", value = true } }, "b=2&a=&b=true")
  equal(url.encodeQuery(url.query "b=1&a=%20&b=%2B"), "b=1&a=+&b=%2B")
  equal(url.encodeQuery {}, "")
  equal(url.encodeQuery { big = math.maxinteger }, "big=9223372036854775807")
  for message, value in pairs {
    ['url.encodeQuery: query "a" must be a string, a number, true, false, or a list of them, got table'] = { a = { {} } },
    ['url.encodeQuery: query "a" must be a string, a number, true, false, or a list of them, got null'] = { a = workers.null },
    ['url.encodeQuery: query "a" is not a finite number'] = { a = 0 / 0 },
    ["url.encodeQuery: query must have names as keys, got a boolean key"] = { [true] = 1 },
    ["url.encodeQuery: query must be name = value, or a list of { name = , value = }; entry 2 is a string"] = { { name = "a", value = 1 }, "b" },
    ["url.encodeQuery: the name in entry 1 of query must be a string, got nil"] = { { value = 1 } },
    ['query "a" must be a string, a number, true, false, or a list of them, got nil'] = { { name = "a" } },
  } do
    raises(url.encodeQuery, message, value)
  end
  local many = {}
  for i = 1, 100001 do
    many[i] = "x"
  end
  raises(url.encodeQuery, "url.encodeQuery: more than 100000 entries in query", { a = many })
  raises(url.encodeQuery, "the query is larger than 67108864 bytes", { a = ("\0"):rep(23000000) })
end)

test("withQuery sets, adds and takes out, and leaves the rest as it is", function()
  local text = "https://h/p?a=1&b=%20+x&a=2&c#f?a=9"
  equal(url.withQuery(text, { a = 5 }), "https://h/p?a=5&b=%20+x&c#f?a=9")
  equal(url.withQuery(text, { a = { 5, 6 }, z = "ä" }), "https://h/p?a=5&a=6&b=%20+x&c&z=%C3%A4#f?a=9")
  equal(url.withQuery(text, { a = workers.null, b = workers.null }), "https://h/p?c#f?a=9")
  equal(url.withQuery("h?a", { a = workers.null }), "h")
  equal(url.withQuery("h?a&b", { b = {}, c = {} }), "h?a&b")
  equal(url.withQuery("/p", { page = 2 }), "/p?page=2")
  equal(url.withQuery("", { page = 2 }), "?page=2")
  equal(url.withQuery("#f", { page = 2 }), "?page=2#f")
  equal(url.withQuery("?a%62=1", { ab = 2 }), "?ab=2")
  equal(url.withQuery(text, {}), text)
  raises(url.withQuery, "url.withQuery: argument 2 (parameters): table expected, got no value", text)
  raises(url.withQuery, "url.withQuery: query must have names as keys, got a number key", text, { { name = "a", value = 1 } })
  raises(url.withQuery, "url.withQuery: the URL is longer than 1048576 bytes", ("x"):rep(1048577), {})
end)

test("encode and decode", function()
  equal(url.encode "a b/ä~-._!'()*%\0", "a%20b%2F%C3%A4~-._%21%27%28%29%2A%25%00")
  equal(url.decode "a%20b%2f%C3%A4+%00", "a b/ä+\0")
  equal(url.encode "", "")
  local all = {}
  for c = 0, 255 do
    all[#all + 1] = string.char(c)
  end
  local bytes = table.concat(all):rep(1000)
  equal(url.decode(url.encode(bytes)) == bytes, true)
  raises(url.decode, "url.decode: the % at byte 2 is not followed by two hexadecimal digits; a literal % is written %25", "a%4")
  raises(url.decode, "url.decode: the % at byte 1", "%g0")
  raises(url.encode, "url.encode: the encoded text is larger than 67108864 bytes", ("\0"):rep(23000000))
end)

test("wrong types", function()
  for name, arguments in pairs {
    parse = { 1, "text" }, resolve = { 2, "base" }, sameOrigin = { 2, "a" }, query = { 1, "text" }, queryMap = { 1, "text" },
    withQuery = { 1, "text" }, encode = { 1, "text" }, decode = { 1, "text" },
  } do
    for _, wrong in ipairs { 1, {}, true, print } do
      raises(url[name], ("url.%s: argument 1 (%s): string expected, got %s"):format(name, arguments[2], type(wrong)), wrong, wrong)
    end
    raises(url[name], ("url.%s: argument 1 (%s): string expected, got no value"):format(name, arguments[2]))
  end
  raises(url.parse, "url.parse: argument 2 (base): string expected, got table", "x", {})
  raises(url.resolve, "url.resolve: argument 2 (reference): string expected, got nil", "http://h", nil)
  raises(url.encodeQuery, "url.encodeQuery: argument 1 (parameters): table expected, got string", "a=1")
  raises(url.build, "url.build: expected a table of options, got nothing")
end)

test("large URLs", function()
  local long = "http://h/" .. ("../a/"):rep(200000)
  equal(url.parse(long).path, "/a/")
  equal(#url.parse("http://h/" .. ("ä"):rep(500000)).path, 3000001)
  raises(url.parse, "the URL is malformed: it is longer than 1048576 bytes", "http://h/" .. ("a"):rep(1048576))
  raises(url.parse, "has a space", "http://" .. (" a"):rep(500000))
end)

return tap.run
