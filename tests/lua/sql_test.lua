local json = require "workers.json"
local sql = require "workers.sql"
local tap = require "tap"
local testing = require "testing"
local workers = require "workers"
local test, equal, raises = tap.test, tap.equal, tap.raises

local BOMB = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT count(*) FROM r"

test("before there are rows", function()
  raises(sql.query, "sql.query: there is no store yet", "SELECT 1")
  testing.database(
    "rows.db",
    [[
  CREATE TABLE items(_id INTEGER PRIMARY KEY, _key TEXT, name TEXT, price NUMERIC, tags TEXT, picture BLOB);
  INSERT INTO items VALUES(1, 'a', 'Äpfel', 1.5, '["red","ripe"]', x'00ff'), (2, 'b', 'pears', 2, '[]', NULL),
    (3, 'c', NULL, 9007199254740993, NULL, zeroblob(3));
  CREATE TABLE _workers_secrets(name TEXT, sealed BLOB);
  INSERT INTO _workers_secrets VALUES('TOKEN', x'1234');
  CREATE VIEW behind AS SELECT sealed FROM _workers_secrets;
]]
  )
end)

test("rows by name, columns in order", function()
  local rows = sql.query "SELECT _key, name, price, picture FROM items ORDER BY _key"
  equal(#rows, 3)
  equal(rows[1], { _key = "a", name = "Äpfel", price = 1.5, picture = "\0\255" })
  equal(rows[2], { _key = "b", name = "pears", price = 2 })
  equal(rows[3], { _key = "c", price = 9007199254740993, picture = "\0\0\0" })
  equal(math.type(rows[2].price), "integer")
  equal({ table.unpack(rows.columns) }, { "_key", "name", "price", "picture" })
  local count = 0
  for _ in pairs(rows) do
    count = count + 1
  end
  equal(count, 3, "nothing but rows")
end)

test("numbers are exact", function()
  local row = sql.query("SELECT 9223372036854775807 AS a, -9223372036854775808 AS b, 0.1 AS c, 1e308 * 10 AS d, 1.0 AS e")[1]
  equal(row, { a = math.maxinteger, b = math.mininteger, c = 0.1, d = math.huge, e = 1.0 })
end)

test("rows are JSON lists", function()
  equal(json.encode(sql.query "SELECT 1 AS a UNION SELECT 2"), '[{"a":1},{"a":2}]')
  equal(json.encode(sql.query "SELECT 1 AS a WHERE 0"), "[]")
  equal(json.encode(sql.query("SELECT 1 AS a WHERE 0").columns), '["a"]')
end)

test("SQLite's functions for lists and tables", function()
  local rows = sql.query "SELECT _key, value AS tag FROM items, json_each(items.tags) ORDER BY value"
  equal(rows[2], { _key = "a", tag = "ripe" })
  equal(sql.query("SELECT count(*) AS n FROM pragma_table_info('items')")[1].n, 6)
end)

test("parameters", function()
  local function one(text, params)
    return sql.query("SELECT " .. text .. " AS x", params)[1].x
  end
  equal(one("?1 + ?2", { 1, 2 }), 3)
  equal(one("?2 || ?", { "a", "b", "c" }), "bc")
  equal(one(":a || @b || $c", { a = "x", b = "y", c = "z" }), "xyz")
  equal(one("?1 || :name", { "x", name = "y" }), "xy")
  equal(one("typeof(?1)", { 1 }), "integer")
  equal(one("typeof(?1)", { 1.0 }), "real")
  equal(one("typeof(?1)", { true }), "integer")
  equal(one("typeof(?1)", { "é" }), "text")
  equal(one("typeof(?1)", { "\255" }), "blob")
  equal(one("typeof(?1)", { workers.null }), "null")
  equal(one("length(?1)", { ("x"):rep(1000000) }), 1000000)
  equal(one("?1", { "'; DROP TABLE items; --" }), "'; DROP TABLE items; --")
  equal(one("hex(?1)", { "a\0b" }), "610062")
  raises(one, "sql.query: the parameter :b is missing", ":a + :b", { a = 1 })
  raises(one, "sql.query: the parameter ?2 is missing", "?1 + ?2", { 1, nil })
  raises(one, "sql.query: the statement has no parameter ?3", "?1 + ?2", { 1, 2, 3 })
  raises(one, "sql.query: the statement has no parameter :c", ":a", { a = 1, c = 2 })
  raises(one, "sql.query: argument 2 (params): ?1 must be a string, a number, true, false or workers.null, got table", "?1", { {} })
  raises(one, "sql.query: argument 2 (params): :a must be a string, a number, true, false or workers.null, got function", ":a", { a = print })
  raises(one, "sql.query: argument 2 (params): its keys must be names, or numbers from 1 to 1000", "?1", { [0] = 1 })
  raises(one, "sql.query: argument 2 (params): its keys must be names, or numbers from 1 to 1000", "?1", { [1.5] = 1 })
  raises(one, "sql.query: argument 2 (params): its keys must be names, or numbers from 1 to 1000", "?1", { [true] = 1 })
  raises(one, 'sql.query: argument 2 (params): "a" cannot be the name of a parameter', "?1", { ["a\0b"] = 1 })
  raises(one, "cannot be the name of a parameter", "?1", { [("n"):rep(65)] = 1 })
  raises(one, "sql.query: argument 2 (params): at most 1000 parameters of 16 MiB in all can be given", "?1", { ("x"):rep(17 << 20) })
  raises(one, "sql.query: argument 2 (params): expected a table such as { 1 } or { name = 1 }, got number", "?1", 1)
end)

test("arguments", function()
  raises(sql.query, 'sql.query: argument 1 (text): expected a statement such as "SELECT 1", got nothing')
  raises(sql.query, "sql.query: argument 1 (text): the statement contains a NUL byte", "SELECT 1\0")
  raises(sql.query, "sql.query: argument 1 (text): the statement is longer than 256 KiB; give values as parameters", "SELECT '" .. ("x"):rep(262144) .. "'")
  raises(sql.query, "sql.query: the statement is empty", "")
  raises(sql.query, "sql.query: give one statement at a time", "SELECT 1; SELECT 2")
  raises(sql.query, 'sql.query: unknown option "maxRow"; did you mean "maxRows"?', "SELECT 1", nil, { maxRow = 1 })
  raises(sql.query, 'sql.query: option "maxRows" must be a whole number of at least 1', "SELECT 1", nil, { maxRows = 0 })
  raises(sql.query, 'sql.query: option "maxBytes" must be from 1 byte to 256 MiB', "SELECT 1", nil, { maxBytes = "1GiB" })
  raises(sql.query, 'sql.query: option "maxBytes": ', "SELECT 1", nil, { maxBytes = "much" })
  raises(sql.query, 'sql.query: two columns are called "a": give one of them another name with AS', "SELECT 1 AS a, 2 AS a")
  raises(sql.query, "sql.query: no such table: nowhere", "SELECT * FROM nowhere")
  raises(sql.query, 'sql.query: near "SELEC": syntax error', "SELEC 1")
end)

test("results are bounded", function()
  local many = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r LIMIT %d) SELECT x FROM r"
  equal(#sql.query(many:format(10000)), 10000)
  raises(sql.query, "sql.query: there are more than 10000 rows: narrow the query with WHERE or LIMIT, or raise maxRows", many:format(10001))
  equal(#sql.query(many:format(20000), nil, { maxRows = 20000 }), 20000)
  raises(sql.query, "there are more than 2 rows", many:format(3), nil, { maxRows = 2 })
  raises(sql.query, "sql.query: the rows are larger than 1000 bytes: select fewer columns or rows, or raise maxBytes", "SELECT hex(zeroblob(600))", nil, { maxBytes = 1000 })
  equal(#sql.query("SELECT zeroblob(15000000) AS z")[1].z, 15000000)
  raises(sql.query, "the rows are larger than 16777216 bytes", "SELECT zeroblob(9000000) AS a UNION ALL SELECT zeroblob(9000000)")
end)

test("only reading", function()
  local only = "sql.query: only SELECT can be used here; nothing is written or attached"
  raises(sql.query, only, "DELETE FROM items")
  raises(sql.query, only, "CREATE TEMP TABLE t(a)")
  raises(sql.query, only, "ATTACH '/tmp/x.db' AS x")
  raises(sql.query, only, "BEGIN")
  raises(sql.query, "sql.query: PRAGMA writable_schema cannot be used here", "PRAGMA writable_schema = 1")
  equal(#sql.query "SELECT * FROM items", 3)
end)

test("nothing of the program's own tables", function()
  for _, text in ipairs {
    "SELECT * FROM _workers_secrets",
    "SELECT count(*) FROM _WORKERS_secrets",
    "SELECT * FROM items WHERE _key IN (SELECT name FROM _workers_secrets)",
    "SELECT * FROM behind",
    "SELECT data FROM sqlite_dbpage",
    "SELECT * FROM dbstat",
  } do
    local err = raises(sql.query, "sql.query: ", text)
    tap.truthy(err:find("belongs to the program and cannot be read", 1, true) or err:find("no such table", 1, true), err)
  end
end)

test("bombs", function()
  raises(sql.query, "a value is too large; the largest has 16777216 bytes", "SELECT zeroblob(1000000000)")
  raises(sql.query, "a value is too large", "SELECT randomblob(1000000000)")
  raises(sql.query, "the query needs more than 128 MiB of memory", BOMB:gsub("count%(%*%)", "x") .. " ORDER BY x DESC")
  local joins = {}
  for i = 1, 1000 do
    joins[i] = "items i" .. i
  end
  raises(sql.query, "too many FROM clause terms", "SELECT 1 FROM " .. table.concat(joins, ","))
  raises(sql.query, "parser stack overflow", "SELECT " .. ("("):rep(100000) .. "1")
  raises(sql.query, "maximum depth", "SELECT " .. ("1+"):rep(100000) .. "1")
  raises(sql.query, "too many terms in compound SELECT", "SELECT 1" .. (" UNION SELECT 1"):rep(1000))
  raises(sql.query, "pattern too complex", "SELECT 'a' LIKE ?1", { ("%a"):rep(51) })
end)

test("a query in the background lets others run, and can be stopped", function()
  local turns = 0
  local ok, err = pcall(workers.all, {
    function()
      sql.query(BOMB)
    end,
    function()
      for _ = 1, 20 do
        workers.sleep(0.001)
        turns = turns + 1
      end
      equal(#sql.query "SELECT 1", 1)
      error "enough"
    end,
  })
  equal(ok, false)
  tap.truthy(tostring(err):find("enough", 1, true), tostring(err))
  equal(turns, 20)
end)

test("queries that wait for their turn are stopped with the others", function()
  local bombs = {}
  for i = 1, 6 do
    bombs[i] = function()
      sql.query(BOMB)
    end
  end
  bombs[7] = function()
    workers.sleep(0.02)
    error "enough"
  end
  raises(workers.all, "enough", bombs)
  equal(sql.query("SELECT 1 AS x")[1].x, 1)
  local ok, err = pcall(workers.timeout, 0.02, function()
    sql.query(BOMB)
  end)
  equal({ ok, err.code }, { false, "timeout" })
end)

test("many at once", function()
  local numbers = {}
  for i = 1, 200 do
    numbers[i] = i
  end
  local sums = workers.map(numbers, { concurrency = 50 }, function(i)
    return sql.query("SELECT ?1 * 2 AS x", { i })[1].x
  end)
  for i = 1, 200 do
    equal(sums[i], i * 2)
  end
end)

test("files", function()
  testing.folder "data"
  testing.database("data/places.db", "CREATE TABLE places(name TEXT); INSERT INTO places VALUES('Rome'), ('Oslo'); PRAGMA journal_mode=DELETE")
  local db = sql.open "data/places.db"
  equal(db:query "SELECT name FROM places ORDER BY name", sql.query "SELECT 'Oslo' AS name UNION SELECT 'Rome'")
  equal(db:query("SELECT name FROM places WHERE name = :n", { n = "Rome" }, { maxRows = 1 })[1].name, "Rome")
  raises(function()
    db:query "DELETE FROM places"
  end, "database:query: only SELECT can be used here")
  raises(function()
    db:query("SELECT * FROM places", nil, { maxRows = 1 })
  end, "database:query: there are more than 1 rows")
  raises(function()
    db:query "SELECT * FROM items"
  end, "database:query: no such table: items")
  raises(db.query, "call it with a colon: database:query(…)", "SELECT 1")
  db:close()
  db:close()
  raises(function()
    db:query "SELECT 1"
  end, "database:query: the database was closed")
  do
    local closed <close> = sql.open "data/places.db"
    db = closed
  end
  raises(db.query, "database:query: the database was closed", db, "SELECT 1")
end)

test("what is no database file", function()
  testing.file("data/text.db", ("no database, but long enough to look like one "):rep(40))
  testing.file("data/empty.db", "")
  testing.file("data/cut.db", "SQLite format 3\0\16\0\1\1")
  testing.fifo "data/pipe.db"
  testing.symlink("/etc/passwd", "data/out.db")
  raises(sql.open, "sql.open: data/text.db: the file is damaged or no SQLite database", "data/text.db")
  raises(sql.open, "sql.open: data/cut.db: ", "data/cut.db")
  raises(sql.open, "sql.open: data/pipe.db is not a plain file", "data/pipe.db")
  raises(sql.open, "sql.open: data is not a plain file", "data")
  raises(sql.open, "sql.open: cannot read data/nothing.db", "data/nothing.db")
  raises(sql.open, "permissions.read", "data/out.db")
  raises(sql.open, "permissions.read", "/etc/passwd")
  raises(sql.open, "sql.open: argument 1 (path): expected the path of a SQLite file, got an empty string", "")
  raises(sql.open, "sql.open: argument 1 (path): it contains a NUL byte", "data/places.db\0x")
  raises(sql.open, "cannot read :memory:", ":memory:")
  raises(sql.open, "cannot read file:data/places.db", "file:data/places.db?mode=rwc")
  equal(#sql.open("data/empty.db"):query "SELECT 1", 1) -- an empty file is an empty database
end)

test("reading leaves no files behind", function()
  local before = testing.openFiles()
  for _ = 1, 20 do
    sql.open("data/places.db"):query "SELECT * FROM places"
    assert(not pcall(sql.query, "SELECT * FROM nowhere"))
  end
  equal(testing.openFiles(), before)
  local fs = require "workers.fs"
  for _, name in ipairs(fs.list "data") do
    tap.truthy(not name:find "places.db%-", name)
  end
end)

test("what a query has is freed before Lua looks for garbage", function()
  local large = ("x"):rep(5000000)
  local before = testing.resident()
  for _ = 1, 50 do
    assert(not pcall(sql.query, "SELECT ?1", { large, {} }))
    assert(not pcall(sql.query, "SELECT ?2", { large }))
    assert(not pcall(sql.query, "SELECT ?1, zeroblob(16000000)", { large }))
    equal(sql.query("SELECT length(?1) AS n, zeroblob(10) AS z", { large })[1].n, 5000000)
  end
  tap.truthy(testing.resident() - before < 100000000, "memory is back")
end)

return tap.run
