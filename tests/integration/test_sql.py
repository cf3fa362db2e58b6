#!/usr/bin/env python3
"""workers.sql through the binary: the worker's own tables while syncs run, secrets, permissions, limits, hostile queries.

What its functions take and give is tested in tests/lua/sql_test.lua, what a guarded connection refuses in
tests/unit/db_test.c.
"""
import base64
import json
import pathlib
import sqlite3
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import TestCase, finish, main, sanitized  # noqa: E402

SCRIPT = """
local workers = require "workers"
local sql = require "workers.sql"
local Schema, j = workers.schema, workers.j
local worker = workers.new()
local items = worker:database("items", {
  type = "managed", initialTitle = "Items", primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText(), Count = Schema.number() } },
})
worker:sync("sync", { database = items, schedule = "manual", execute = function(state)
  local page = state and state.page or 1
  local seen = page == 1 and -1 or sql.query("SELECT count(*) AS n FROM items")[1].n
  return { hasMore = page < 3, nextState = page < 3 and { page = page + 1 } or nil, changes = {
    { type = "upsert", key = "k" .. page, properties = { Name = "item " .. page, Count = seen } },
  } }
end })
worker:tool("run", { title = "Run", description = "Runs Lua", schema = j.object { code = j.string() },
  execute = function(input) return assert(load("local sql, workers = ... " .. input.code))(sql, workers) end })
return worker
"""
BOMB = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT count(*) FROM r"


class SqlTest(TestCase):
    def setUp(self):
        self.p = self.project(SCRIPT)

    def lua(self, code, code_expected=0, **options):
        result = self.ok(self.p.run("exec", "run", "-d", json.dumps({"code": code}), **options), code_expected)
        return json.loads(result.stdout) if code_expected == 0 else result.stderr

    def query(self, text, *params, code_expected=0):
        """The rows of a query; or what it says when it fails."""
        return self.lua(f"return sql.query([==[{text}]==], {{{', '.join(json.dumps(p) for p in params)}}})", code_expected)

    def test_own_tables(self):
        self.assertIn("sql.query: there is no store yet at", self.query("SELECT 1", code_expected=1))
        self.ok(self.p.run("run", "main.lua"))
        self.assertEqual(self.query("SELECT _key, name FROM items WHERE _key > ?1 ORDER BY _key", "k1"),
                         [{"_key": "k2", "name": "item 2"}, {"_key": "k3", "name": "item 3"}])
        self.assertEqual(self.lua('return sql.query("SELECT name, _key FROM items").columns'), ["name", "_key"])

    def test_what_is_seen_is_committed(self):
        """A page may be on its way while the next execute asks: it is there whole or not at all."""
        self.ok(self.p.run("run", "main.lua"))
        for page, seen in self.p.rows("SELECT CAST(substr(_key, 2) AS INTEGER), count FROM items"):
            self.assertIn(seen, (-1,) if page == 1 else range(page))

    def test_a_preview_sees_the_rows_that_are_there(self):
        self.ok(self.p.run("run", "main.lua"))
        result = self.ok(self.p.run("exec", "sync", "-d", '{"state":{"page":3}}'))
        self.assertEqual(json.loads(result.stdout)["changes"][0]["properties"]["Count"], 3)
        self.ok(self.p.run("run", "main.lua", "--preview"))

    def test_secrets_stay_hidden(self):
        secret = "sk-very-secret-1234567"
        self.ok(self.p.run("env", "set", f"API_TOKEN={secret}"))
        self.ok(self.p.run("run", "main.lua"))
        self.lua('require "workers.kv".set("token", "kept-in-kv-1234")')
        (sealed,) = self.p.rows("SELECT sealed FROM _workers_secrets")[0]
        tables = [name for (name,) in self.p.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '\\_%' ESCAPE '\\'")]
        self.assertIn("_workers_secrets", tables)
        self.assertIn("_workers_kv", tables)
        for table in tables:
            for text in (f"SELECT * FROM {table}", f'SELECT count(*) FROM main."{table.upper()}"',
                         f"SELECT (SELECT max(rowid) FROM {table})", f"SELECT 1 WHERE 'x' IN (SELECT * FROM {table})",
                         f"WITH items AS (SELECT * FROM {table}) SELECT * FROM items", f"EXPLAIN SELECT * FROM {table}",
                         f"SELECT * FROM items LEFT JOIN {table} ON 1", f"SELECT * FROM items NATURAL JOIN {table}"):
                said = self.query(text, code_expected=1)
                self.assertRegex(said, "belongs to the program and cannot be read|no such column: rowid|sub-select returns", text)
        # Other ways to bytes of the file.
        for text in ("SELECT data FROM sqlite_dbpage", "SELECT * FROM dbstat", "SELECT readfile('.workers/worker.db')",
                     "SELECT * FROM sqlite_stat1", "ATTACH '.workers/worker.db' AS x", "PRAGMA table_list; SELECT 1"):
            self.query(text, code_expected=1)
        for path in (".workers/worker.db", "./.workers/../.workers/worker.db", str(self.p.store), f"file:{self.p.store}"):
            said = self.lua(f"return sql.open({json.dumps(path)})", 1)
            self.assertRegex(said, "scripts never read .workers|cannot read file:")
        everything = self.lua("""
          local all = {}
          for _, table in ipairs(sql.query "SELECT name, sql FROM sqlite_schema") do
            all[#all + 1] = table.sql
            local ok, rows = pcall(sql.query, ('SELECT * FROM "%s"'):format(table.name))
            all[#all + 1] = ok and require "workers.json".encode(rows) or rows
          end
          return table.concat(all, "\\n")""")
        for form in (secret, sealed.hex(), sealed.hex().upper(), base64.b64encode(sealed).decode(), "kept-in-kv"):
            self.assertNotIn(form, everything)
        self.assertIn("item 2", everything)

    def test_nothing_is_written(self):
        self.ok(self.p.run("run", "main.lua"))
        before = self.p.dump()
        for text in ("DELETE FROM items", "DROP TABLE items", "INSERT INTO items(_key, _synced_at) VALUES('x', 'y')",
                     "CREATE TEMP TABLE t(a)", "CREATE TABLE t(a)", "ATTACH '/tmp/stolen.db' AS x", "VACUUM INTO 'copy.db'",
                     "PRAGMA writable_schema = 1", "PRAGMA query_only = 0", "PRAGMA journal_mode = DELETE", "PRAGMA user_version = 7",
                     "UPDATE sqlite_master SET sql = ''", "BEGIN IMMEDIATE", "SELECT load_extension('/tmp/x.so')",
                     "SELECT writefile('x', 'y')", "REINDEX", "ANALYZE", "SELECT 1; DELETE FROM items"):
            said = self.query(text, code_expected=1)
            self.assertRegex(said, "cannot be used here|only SELECT|may not be modified|no such function|one statement at a time", text)
        self.assertEqual(self.p.dump(), before)
        self.assertEqual({path.name for path in self.p.folder.iterdir()}, {"workers.yaml", "main.lua", ".workers"})

    def test_files_by_permission(self):
        for name in ("data/in.db", "other/out.db"):
            (self.p.folder / name).parent.mkdir()
            with sqlite3.connect(self.p.folder / name) as connection:
                connection.execute("CREATE TABLE places(name TEXT)")
                connection.execute("INSERT INTO places VALUES('Rome')")
            connection.close()
        (self.p.folder / "data" / "link.db").symlink_to(self.p.folder / "other" / "out.db")
        self.p.write("workers.yaml", 'name: test\nmain: main.lua\npermissions: { read: ["data"] }\n')
        self.assertEqual(self.lua('return sql.open("data/in.db"):query("SELECT name FROM places")'), [{"name": "Rome"}])
        for path in ("other/out.db", "data/link.db", "data/../other/out.db"):
            said = self.lua(f'return sql.open("{path}")', 1)
            self.assertIn('add it to workers.yaml: permissions: { read: ["other"] }', said)
        said = self.lua('return sql.open("data/in.db"):query("INSERT INTO places VALUES(1)")', 1)
        self.assertIn("database:query: only SELECT can be used here", said)

    def test_a_file_that_others_write(self):
        """A file in WAL mode, with rows that are in the WAL only."""
        (self.p.folder / "data").mkdir()
        writer = sqlite3.connect(self.p.folder / "data" / "wal.db")
        self.addCleanup(writer.close)
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE t(x)")
        writer.execute("INSERT INTO t VALUES(1)")
        writer.commit()
        self.assertEqual(self.lua('return sql.open("data/wal.db"):query("SELECT x FROM t")'), [{"x": 1}])
        writer.execute("INSERT INTO t VALUES(2)")  # not committed
        self.assertEqual(self.lua('return sql.open("data/wal.db"):query("SELECT x FROM t")'), [{"x": 1}])
        writer.commit()
        self.assertEqual(self.lua('return sql.open("data/wal.db"):query("SELECT x FROM t")'), [{"x": 1}, {"x": 2}])

    def test_damaged_and_hostile_files(self):
        (self.p.folder / "data").mkdir()
        path = self.p.folder / "data" / "bad.db"
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE t(x)")
            connection.executemany("INSERT INTO t VALUES(?)", [("x" * 500,)] * 200)
            connection.execute("CREATE VIEW evil AS SELECT load_extension('/tmp/x.so') AS x")
        connection.close()
        self.assertIn("unsafe use of load_extension", self.lua('return sql.open("data/bad.db"):query("SELECT * FROM evil")', 1))
        whole = path.read_bytes()
        for at in range(100, len(whole), 997):
            path.write_bytes(whole[:at] + b"\xff\x00\xff\x7f" * 16 + whole[at + 64:])
            result = self.p.run("exec", "run", "-d", json.dumps({"code": 'return #sql.open("data/bad.db"):query("SELECT * FROM t")'}))
            self.assertIn(result.returncode, (0, 1), result.stderr)
            self.assertNotIn("Sanitizer", result.stderr)

    # ---- limits ----

    def test_cpu_limit(self):
        self.p.write("workers.yaml", "name: test\nmain: main.lua\nlimits: { cpu: 500ms }\n")
        self.ok(self.p.run("run", "main.lua"))
        for text in (BOMB, "SELECT count(*) FROM " + ", ".join(f"items i{i}" for i in range(40)),
                     BOMB.replace("count(*)", "count(randomblob(1000000))"), BOMB.replace("count(*)", "group_concat(x)")):
            start = time.monotonic()
            said = self.query(text, code_expected=1)
            self.assertIn("CPU limit of 0.5 s reached", said)
            if not sanitized():
                self.assertLess(time.monotonic() - start, 20)
        # What queries have spent counts, also when each of them stays below.
        said = self.lua(f"""
          for _ = 1, 1000 do
            sql.query [==[{BOMB.replace("FROM r)", "FROM r LIMIT 100000)")}]==]
          end""", 1)
        self.assertIn("CPU limit of 0.5 s reached", said)
        # And pcall does not hold it.
        said = self.lua(f"while true do pcall(sql.query, [==[{BOMB}]==]) end", 1)
        self.assertIn("CPU limit of 0.5 s reached", said)

    def test_time_limit(self):
        self.p.write("workers.yaml", "name: test\nmain: main.lua\nlimits: { tool: 300ms }\n")
        self.ok(self.p.run("run", "main.lua"))
        self.assertIn("time limit of 0.3 s reached", self.query(BOMB, code_expected=1))

    def test_a_slow_query_stops_nobody(self):
        self.ok(self.p.run("run", "main.lua"))
        result = self.lua(f"""
          local turns = 0
          local ok, err = pcall(workers.all, {{
            function() sql.query [==[{BOMB}]==] end,
            function()
              for _ = 1, 50 do
                workers.sleep(0.001)
                sql.query "SELECT count(*) FROM items"
                turns = turns + 1
              end
              error "enough"
            end,
          }})
          return {{ turns, tostring(err):find "enough" ~= nil }}""")
        self.assertEqual(result, [50, True])

    def test_memory(self):
        self.ok(self.p.run("run", "main.lua"))
        said = self.query(BOMB.replace("count(*)", "x") + " ORDER BY x DESC", code_expected=1)
        self.assertIn("the query needs more than 128 MiB of memory", said)
        doubling = "WITH a0 AS (SELECT 1 AS x)" + "".join(
            f", a{i} AS (SELECT a.x FROM a{i - 1} a, a{i - 1} b)" for i in range(1, 30)) + " SELECT count(*) FROM a29"
        self.assertIn("the query needs more than 128 MiB of memory", self.query(doubling, code_expected=1))
        # Rows count as the script's memory once they are its.
        self.p.write("workers.yaml", "name: test\nmain: main.lua\nlimits: { memory: 8MiB }\n")
        self.assertIn("memory", self.query("SELECT zeroblob(12000000) AS z", code_expected=1))

    def test_interrupts(self):
        self.ok(self.p.run("run", "main.lua"))
        process = self.p.start("exec", "run", "-d", json.dumps({"code": f"sql.query [==[{BOMB}]==]"}))
        process.terminate()
        code, _, _ = finish(process)
        self.assertNotEqual(code, 0)

    def test_query_command_and_module_see_the_same(self):
        self.ok(self.p.run("run", "main.lua"))
        text = "SELECT _key, name, count * 1.5 AS c FROM items ORDER BY _key"
        printed = json.loads(self.ok(self.p.run("db", "query", text, "--json")).stdout)
        self.assertEqual(self.query(text), printed)
        # People may look at what the program keeps.
        self.assertEqual(self.ok(self.p.run("db", "query", "SELECT count(*) FROM _workers_syncs", "--plain")).stdout, "1\n")
        self.assertIn("the parameter ?1 is missing", self.ok(self.p.run("db", "query", "SELECT ?1"), 1).stderr)


if __name__ == "__main__":
    main()
