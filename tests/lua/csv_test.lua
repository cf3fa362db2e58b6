local workers = require "workers"
local csv = require "workers.csv"
local http = require "workers.http"
local fs = require "workers.fs"
local json = require "workers.json"
local tap = require "tap"
local testing = require "testing"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy

-- The text in pieces of so many bytes.
local function pieces(text, len)
  local at = 1
  return function()
    local piece = text:sub(at, at + len - 1)
    at = at + len
    return piece ~= "" and piece or nil
  end
end

local function collect(...)
  local rows = {}
  for row in csv.rows(...) do
    rows[#rows + 1] = row
  end
  return rows
end

test("rows are lists", function()
  equal(csv.parse "a,b\r\n1,\"x, \"\"y\"\"\"\n", { { "a", "b" }, { "1", 'x, "y"' } })
  equal(csv.parse "", {})
  equal(json.encode(csv.parse ""), "[]")
  equal(select(2, csv.parse "a"), nil)
end)

test("the first row names the columns", function()
  local rows, names = csv.parse("id,name\n1,Ada\n2,\n", { header = true })
  equal(rows, { { id = "1", name = "Ada" }, { id = "2", name = "" } })
  equal(names, { "id", "name" })
  rows, names = csv.parse("id,name\n", { header = true })
  equal(rows, {})
  equal(names, { "id", "name" })
  rows, names = csv.parse("", { header = true })
  equal(rows, {})
  equal(names, nil)
  equal(csv.parse("1,2\n", { header = { "a", "b" } }), { { a = "1", b = "2" } })
  equal(csv.parse("1,2\n", { header = false }), { { "1", "2" } })
end)

test("records that do not fit", function()
  raises(function()
    csv.parse("a,b\n\n1\n", { header = true })
  end, "csv_test.lua:51: csv.parse: line 3: the record has fewer fields than the 2 columns")
  raises(csv.parse, "line 3: the record has more fields than the 2 columns", "a,b\n1,2\n1,2,3", { header = true })
  equal(csv.parse("a,b\n1\n1,2,\n", { header = true, strict = false }), { { a = "1", b = "" }, { a = "1", b = "2" } })
  raises(csv.parse, "more fields than the 2 columns", "a,b\n1,2,3\n", { header = true, strict = false })
  equal(csv.parse "a,b\n1\n1,2,3\n", { { "a", "b" }, { "1" }, { "1", "2", "3" } })
  raises(csv.parse, "line 2: the record has fewer fields than the 2 of the first one", "a,b\n1\n", { strict = true })
  raises(csv.parse, "line 2: the record has more fields than the 2 of the first one", "a,b\n1,2,3\n", { strict = true })
  raises(csv.parse, 'line 1: the columns 1 and 3 have the same name "a"', "a,b,a\n", { header = true })
end)

test("no byte is lost", function()
  local bytes = {}
  for i = 0, 255 do
    bytes[#bytes + 1] = string.char(i)
  end
  local all = table.concat(bytes)
  for _, options in ipairs { {}, { delimiter = "\t", quote = "'" }, { escape = "\\" }, { quote = false, escape = "\\" } } do
    local rows = { { all, "", all }, { "", "", "" }, { "\xef\xbb\xbf", "#", "é" } }
    local text = csv.encode(rows, options)
    equal(csv.parse(text, options), rows)
    for len = 1, 5 do
      equal(collect(pieces(text, len), options), rows)
    end
  end
end)

test("options of reading", function()
  equal(csv.parse("a;'b;c'\n", { delimiter = ";", quote = "'" }), { { "a", "b;c" } })
  equal(csv.parse('a,"b\n', { quote = false }), { { "a", '"b' } })
  equal(csv.parse("a\\,b,\\\\\n", { escape = "\\" }), { { "a,b", "\\" } })
  equal(csv.parse('a,"b\\"c"\n', { escape = '\\' }), { { "a", 'b"c' } })
  equal(csv.parse('a,"b""c"\n', { escape = '"' }), { { "a", 'b"c' } })
  equal(csv.parse("# x\na\n#\n", { comment = "#" }), { { "a" } })
  equal(csv.parse(' a ,\t" b "\n  \n', { trim = true }), { { "a", " b " } })
  equal(csv.parse("a\n\nb\n", { skipEmpty = false }), { { "a" }, { "" }, { "b" } })
  equal(csv.parse "\xef\xbb\xbfa\n", { { "a" } })
end)

test("mistakes in a text name their place", function()
  raises(csv.parse, "csv.parse: line 2, column 3: the quote that opens here is never closed", 'a,b\n1,"2\n')
  raises(csv.parse, "csv.parse: line 1, column 4: there is text after the closing quote of a field", '"ä" "b"')
  raises(csv.parse, "the text is UTF-16; convert it to UTF-8 first", "\xff\xfea\0")
  raises(csv.parse, "line 1, column 6: the record has more than 2 fields", "a,b,c\n", { maxFields = 2 })
  raises(csv.parse, "field 1 is longer than 3 bytes", "abcd\n", { maxField = 3 })
  raises(csv.parse, "line 1, column 1: the field in these quotes is longer than 3 bytes", '"abcd"\n', { maxField = 3 })
end)

test("wrong arguments", function()
  raises(csv.parse, "csv.parse: argument 1 (text): string expected, got nil", nil)
  raises(csv.parse, "csv.parse: argument 1 (text): string expected, got function", function() end)
  raises(csv.rows, "csv.rows: argument 1 (source): a string, a function that returns strings, or a response of http.stream expected, got table", {})
  raises(csv.parse, 'csv.parse: unknown option "delimeter"; did you mean "delimiter"?', "", { delimeter = ";" })
  raises(csv.parse, 'csv.parse: option "delimiter" must be one ASCII character', "", { delimiter = ";;" })
  raises(csv.parse, 'csv.parse: option "delimiter" must be one ASCII character that is no line break', "", { delimiter = "\n" })
  raises(csv.parse, 'csv.parse: option "delimiter" must be one ASCII character', "", { delimiter = "§" })
  raises(csv.parse, 'csv.parse: option "quote" must be one ASCII character, or false for none', "", { quote = true })
  raises(csv.parse, 'csv.parse: option "delimiter" and "quote" are the same character', "", { delimiter = '"' })
  raises(csv.parse, 'csv.parse: option "header" must be true or a list of names, got string', "", { header = "a" })
  raises(csv.parse, 'csv.parse: option "header" must be a list of names, and at least one', "", { header = {} })
  raises(csv.parse, 'option "header" must be a list of strings, but entry 2 is a number', "", { header = { "a", 2 } })
  raises(csv.parse, 'option "header": the columns 1 and 2 have the same name "a"', "", { header = { "a", "a" } })
  raises(csv.parse, 'csv.parse: option "maxField" must be from 1 to 2147483647, got 0', "", { maxField = 0 })
  raises(csv.parse, 'csv.parse: option "strict" must be true or false, got number', "", { strict = 1 })
end)

test("rows come with their lines", function()
  local lines = {}
  for row, line in csv.rows('a,"x\ny"\n\n# c\nb,z\n', { comment = "#" }) do
    lines[#lines + 1] = { line, row[1] }
  end
  equal(lines, { { 1, "a" }, { 5, "b" } })
end)

test("rows reads its source as far as it has to", function()
  local asked = 0
  local function source()
    asked = asked + 1
    return "a,b\n"
  end
  for row in csv.rows(source) do
    equal(row, { "a", "b" })
    if asked == 3 then
      break
    end
  end
  equal(asked, 3)
  equal(collect(pieces("", 1)), {})
  local parts, i = { "a", "", ",b", "", "\n" }, 0
  equal(collect(function()
    i = i + 1
    return parts[i]
  end), { { "a", "b" } })
end)

test("rows over the lines of a file", function()
  testing.file("rows.csv", 'id,name\r\n1,"A\r\nB"\r\n')
  local next_line = fs.lines "rows.csv"
  local rows = collect(function()
    local line = next_line()
    return line and line .. "\n"
  end, { header = true })
  equal(rows, { { id = "1", name = "A\nB" } })
end)

test("rows of a body that comes in pieces", function()
  local response <close> = http.stream(testing.url .. "/chunked")
  equal(collect(response, { delimiter = " " }), { { "one", "two", "three" } })
  local parts = { "a,", "b" }
  equal(collect({ read = function(self)
    return table.remove(parts, self.at)
  end, at = 1 }), { { "a", "b" } })
  raises(csv.rows, "expected, got number", 1)
  raises(csv.rows, "expected, got userdata", workers.null)
end)

test("a source may wait", function()
  local function slow(text)
    local piece = pieces(text, 2)
    return function()
      workers.sleep(0.001)
      return piece()
    end
  end
  local results = workers.all {
    function()
      return collect(slow 'a,"b ""c"""\nd,e\n')
    end,
    function()
      return collect(slow "1,2\n3,4\n")
    end,
  }
  equal(results, { { { "a", 'b "c"' }, { "d", "e" } }, { { "1", "2" }, { "3", "4" } } })
end)

test("sources that misbehave", function()
  raises(collect, "csv.rows: the source must return strings, and nil at the end; it returned a number", function()
    return 1
  end)
  raises(collect, "from the source", function()
    error "from the source"
  end)
  local rows
  rows = csv.rows(function()
    return rows()
  end)
  raises(rows, "csv.rows: this text is being read by somebody else, or reading it has failed")
  raises(rows, "csv.rows: this text is being read by somebody else, or reading it has failed")
  rows = csv.rows '"a'
  raises(rows, "never closed")
  raises(rows, "reading it has failed")
  rows = csv.rows "a"
  equal(rows(), { "a" })
  equal(rows(), nil)
  equal(rows(), nil)
end)

test("memory does not grow with the text", function()
  local before = testing.collect()
  local count = 0
  local line = ("x"):rep(1000) .. ',"' .. ("y"):rep(1000) .. '"\n'
  local left = 5000
  local peak = 0
  for _ in csv.rows(function()
    left = left - 1
    return left >= 0 and line or nil
  end) do
    count = count + 1
    if count % 1000 == 0 then
      peak = math.max(peak, testing.collect() - before)
    end
  end
  equal(count, 5000)
  truthy(peak < 256 * 1024, "memory for 10 MB: " .. peak)
end)

test("encode", function()
  equal(csv.encode {}, "")
  equal(csv.encode { { 1, 2.5, 1e300, -0.0, true, workers.null }, { "a", "b,c", 'd"e', "f\n", " g", "" } },
    '1,2.5,1e+300,0,true,\r\na,"b,c","d""e","f\n"," g",\r\n')
  equal(csv.encode({ { "" }, { "a" } }, { newline = "\n" }), '""\na\n')
  equal(csv.encode({ { "a" } }, { quoteAll = true }), '"a"\r\n')
  equal(csv.encode({ { "a" } }, { bom = true }), "\xef\xbb\xbfa\r\n")
  equal(csv.encode({ { "\xef\xbb\xbfa" } }), '"\xef\xbb\xbfa"\r\n')
  equal(csv.encode({ { "#a", "#" } }, { comment = "#" }), '"#a",#\r\n')
  equal(csv.encode({ { "a\tb", "c;d" } }, { delimiter = "\t" }), '"a\tb"\tc;d\r\n')
end)

test("encode by name", function()
  local rows = { { name = "Ada", id = 1, more = true }, { id = 2 }, { 3, "Bob" } }
  equal(csv.encode(rows, { header = { "id", "name" }, newline = "\n" }), "id,name\n1,Ada\n2,\n3,Bob\n")
  equal(csv.encode({}, { header = { "id", "na,me" } }), 'id,"na,me"\r\n')
end)

test("encode keeps formulas from spreadsheets", function()
  local rows = { { "=1+1", "+cmd", "-x", "@sum", "\tx", "-5", "+1.5e3", -5, "a=b" } }
  equal(csv.encode(rows, { safe = true }), "'=1+1,'+cmd,'-x,'@sum,'\tx,-5,+1.5e3,-5,a=b\r\n")
  equal(csv.encode { { "=1" } }, "=1\r\n")
end)

test("what cannot be encoded", function()
  raises(csv.encode, "csv.encode: argument 1 (rows): a list of rows expected, got string", "a")
  raises(csv.encode, "csv.encode: row 2: a table expected, got string", { { 1 }, "a" })
  raises(csv.encode, "csv.encode: row 1, field 2: a string, number, boolean or nil expected, got table", { { 1, {} } })
  raises(csv.encode, 'csv.encode: row 1 has the key "a"; give { header = { … } } to write rows by name', { { a = 1 } })
  raises(csv.encode, "csv.encode: row 1 has holes; write workers.null where a field is empty", { { 1, nil, 3, [9] = 1 } })
  raises(csv.encode, "csv.encode: row 1 is empty", { {} })
  raises(csv.encode, "csv.encode: row 1 has 3 fields, but there are 2 columns", { { 1, 2, 3 } }, { header = { "a", "b" } })
  raises(csv.encode, "csv.encode: row 1, field 1: the field has the delimiter", { { "a,b" } }, { quote = false })
  raises(csv.encode, 'csv.encode: option "newline" must be "\\r\\n" or "\\n"', {}, { newline = "x" })
  raises(csv.encode, 'csv.encode: option "quoteAll" needs a "quote"', {}, { quoteAll = true, quote = false })
  raises(csv.encode, 'csv.encode: unknown option "trim"; the options are: delimiter', {}, { trim = true })
  local row = { ("x"):rep(1024 * 1024) }
  local rows = {}
  for i = 1, 64 do
    rows[i] = row
  end
  raises(csv.encode, "row 64: the text", rows)
end)

return tap.run
