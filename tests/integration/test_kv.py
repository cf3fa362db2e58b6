#!/usr/bin/env python3
"""workers.kv through the binary: what is kept and for how long, two processes at once, kills, previews, the number of keys.

What its functions refuse is tested in tests/lua/kv_test.lua, what the store does with it in tests/unit/kv_test.c.
"""
import json
import pathlib
import sqlite3
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import TestCase, finish, main, wait_until  # noqa: E402

# A tool that runs Lua that it is given, and a sync that does the same and returns one row.
SCRIPT = """
local workers = require "workers"
local kv = require "workers.kv"
local Schema, j = workers.schema, workers.j
local worker = workers.new()
local items = worker:database("items", {
  type = "managed", initialTitle = "Items", primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText() } },
})
local function run(code, ...)
  return assert(load("local kv, workers, input = ... " .. code))(kv, workers, ...)
end
worker:tool("run", { title = "Run", description = "Runs Lua", schema = j.object { code = j.string() },
  execute = function(input) return run(input.code) end })
worker:sync("sync", { database = items, schedule = "manual", execute = function(state)
  local name = run([==[SYNC]==], state)
  return { hasMore = false, changes = { { type = "upsert", key = "a", properties = { Name = tostring(name) } } } }
end })
return worker
"""


class KvTest(TestCase):
    def setUp(self):
        self.p = self.worker("return kv.increment 'runs'")

    def worker(self, sync, config=None):
        return self.project(SCRIPT.replace("SYNC", sync), config)

    def lua(self, code, code_expected=0, **options):
        """What the Lua code returns; or what it says when it fails."""
        result = self.ok(self.p.run("exec", "run", "-d", json.dumps({"code": code}), **options), code_expected)
        return json.loads(result.stdout) if code_expected == 0 else result.stderr

    # ---- values ----

    def test_values_come_back_as_they_were(self):
        self.lua("""
          kv.set("object", { a = 1, b = { 1.0, 2.5, -0.0, 9007199254740993, "é\\u{0}", true, workers.null }, c = {} })
          kv.set("list", workers.array {}) kv.set("empty", {}) kv.set("null", workers.null) kv.set("text", "")
          kv.set("least", math.mininteger) kv.set("float", 5e-324) kv.set("false", false)""")
        self.assertEqual(self.lua('return kv.get "object"'),
                         {"a": 1, "b": [1.0, 2.5, -0.0, 9007199254740993, "é\0", True, None], "c": {}})
        kinds = self.lua("""
          local object = kv.get "object"
          return { math.type(object.a), math.type(object.b[1]), kv.get "null" == workers.null, kv.get "nothing" == nil,
                   kv.get "text", kv.get "least" == math.mininteger, kv.get "float" == 5e-324, kv.get "false" == false,
                   kv.get "list", kv.get "empty" }""")
        self.assertEqual(kinds, ["integer", "float", True, True, "", True, True, True, [], {}])
        self.assertEqual(self.p.rows("SELECT key, value, expires_at FROM _workers_kv WHERE key IN ('object', 'list') ORDER BY key"),
                         [("list", "[]", None),
                          ("object", '{"a":1,"b":[1.0,2.5,-0.0,9007199254740993,"é\\u0000",true,null],"c":{}}', None)])

    def test_delete_and_nil(self):
        self.assertEqual(self.lua("""
          kv.set("a", 1) kv.set("b", 2)
          local first, second = kv.delete "a", kv.delete "a"
          kv.set("b", nil) kv.set("c", nil)
          return { first, second, #kv.list() }"""), [True, False, 0])

    def test_every_capability_of_the_worker_shares_them(self):
        self.lua('kv.set("runs", 41)')
        self.ok(self.p.run("run", "main.lua"))
        self.assertEqual(self.p.rows("SELECT name FROM items"), [("42",)])
        self.assertEqual(self.lua('return kv.get "runs"'), 42)

    def test_compare_and_set(self):
        self.assertEqual(self.lua("""
          local function cas(...) return kv.compareAndSet("k", ...) end
          return { cas(workers.null, 1), cas(nil, { a = 1, b = 2 }), cas(nil, 1), cas({ b = 2, a = 1 }, workers.null), cas(nil, 1),
                   cas(workers.null, 1), cas(1.0, 2), cas(1, 2), cas(2, nil), kv.get "k" == nil, cas(nil, nil) }"""),
                         [False, True, False, True, False, True, False, True, True, True, True])

    def test_increment(self):
        self.assertEqual(self.lua('return { kv.increment "n", kv.increment("n", 5), kv.increment("n", -10), kv.increment("n", 0) }'),
                         [1, 6, -4, -4])
        self.lua('kv.set("n", math.maxinteger) kv.set("f", 1.0) kv.set("t", "1")')
        self.assertIn(']:1: kv.increment: the sum of "n" does not fit into 64 bits', self.lua('kv.increment "n"', 1))
        self.assertIn('kv.increment: the value of "f" is no integer', self.lua('kv.increment "f"', 1))
        self.assertIn('kv.increment: the value of "t" is no integer', self.lua('kv.increment "t"', 1))
        self.assertEqual(self.lua('return kv.get "n"'), 2**63 - 1)

    def test_list_and_scopes(self):
        self.assertEqual(self.lua("""
          for _, key in ipairs { "b/2", "b/10", "b", "a", "é", "Z" } do kv.set(key, 0) end
          local scope = kv.scope "b"
          scope.set("10", 1)
          scope.scope("deep").increment("x")
          return { kv.list(), kv.list "b/", kv.list("b", { limit = 2 }), kv.list "nothing", scope.list(), scope.list "1",
                   kv.get "b/10", scope.get "2", scope.delete "2", kv.get "b/2" == nil, kv.get "b/deep/x" }"""),
                         [["Z", "a", "b", "b/10", "b/2", "b/deep/x", "é"], ["b/10", "b/2", "b/deep/x"], ["b", "b/10"], [],
                          ["10", "2", "deep/x"], ["10"], 1, 0, True, True, 1])

    # ---- time to live ----

    def test_time_to_live(self):
        before = self.p.run("exec", "run", "-d", json.dumps({"code": 'kv.set("a", 1, { ttl = 3600 }) kv.set("b", 1, { ttl = 0.001 })'}))
        self.ok(before)
        self.assertEqual(self.lua("""
          while kv.get "b" do workers.sleep(0.001) end
          return { kv.list(), kv.compareAndSet("b", 1, 2), kv.increment("b", 7), kv.get "a" }"""), [["a"], False, 7, 1])
        left = self.p.value("SELECT expires_at - CAST(strftime('%s', 'now') AS INTEGER) * 1000 FROM _workers_kv WHERE key = 'a'")
        self.assertTrue(3500000 < left <= 3601000, left)
        # increment keeps the time, set without one ends it.
        self.lua('kv.increment "a"')
        self.assertIsNotNone(self.p.value("SELECT expires_at FROM _workers_kv WHERE key = 'a'"))
        self.lua('kv.set("a", 1)')
        self.assertIsNone(self.p.value("SELECT expires_at FROM _workers_kv WHERE key = 'a'"))

    def test_what_has_expired_is_removed(self):
        self.lua('kv.set("a", 1) kv.set("b", 1) kv.set("c", 1)')
        with self.p.database() as database:
            database.execute("UPDATE _workers_kv SET expires_at = 1 WHERE key < 'c'")
            database.commit()
        self.assertEqual(self.lua('return kv.list()'), ["c"])
        self.assertEqual(self.p.value("SELECT count(*) FROM _workers_kv"), 3)
        self.lua('kv.set("d", 1)')
        self.assertEqual(self.p.rows("SELECT key FROM _workers_kv ORDER BY key"), [("c",), ("d",)])
        self.p = self.worker("return kv.get 'c'")
        self.lua('kv.set("a", 1, { ttl = 0.001 })')
        self.lua('while kv.get "a" do workers.sleep(0.001) end')
        self.ok(self.p.run("run", "main.lua"))
        self.assertEqual(self.p.value("SELECT count(*) FROM _workers_kv"), 0)

    # ---- limits ----

    def test_number_of_keys(self):
        self.lua('kv.set("a", 1)')
        with self.p.database() as database:
            database.execute("WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r LIMIT 99999)"
                             " INSERT INTO _workers_kv(key, value) SELECT 'k' || x, '1' FROM r")
            database.commit()
        self.assertIn("kv.set: the worker has 100000 keys, and no more can be kept", self.lua('kv.set("b", 1)', 1))
        self.assertEqual(self.lua('kv.set("a", 2) kv.delete "k7" kv.set("b", 1) return { #kv.list(), #kv.list "k" }'), [100000, 99998])
        self.assertIn("at most 256 KiB as JSON", self.lua('kv.set("a", ("x"):rep(262143))', 1))

    def test_a_damaged_value(self):
        self.lua('kv.set("a", 1)')
        with self.p.database() as database:
            database.execute("UPDATE _workers_kv SET value = '{'")
            database.commit()
        self.assertIn("kv.get: the stored value is damaged", self.lua('return kv.get "a"', 1))
        self.assertIn('the value of "a" is no integer', self.lua('return kv.increment "a"', 1))

    # ---- waiting and being stopped ----

    def test_waits_let_others_run(self):
        self.assertEqual(self.lua("""
          local seen = workers.map({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, { concurrency = 10 }, function(i)
            for _ = 1, 10 do kv.increment "n" end
            return kv.get "n" >= 10
          end)
          return { seen, kv.get "n" }"""), [[True] * 10, 100])

    def test_a_stopped_call_is_safe(self):
        result = self.lua("""
          local ok, err = pcall(workers.all, {
            function() while true do kv.increment "n" kv.list() end end,
            function() workers.sleep(0.05) error "enough" end,
          })
          return { ok, tostring(err):find("enough") ~= nil, kv.get "n" > 0 }""")
        self.assertEqual(result, [False, True, True])

    def test_time_limit_while_waiting(self):
        self.p = self.worker("return 1", "name: test\nmain: main.lua\nlimits: { wall: 300ms }\n")
        self.lua('kv.set("a", 1)')
        with self.p.database() as database:
            database.execute("BEGIN IMMEDIATE")
            said = self.p.start("exec", "run", "-d", json.dumps({"code": 'kv.set("a", 2)'}))
            # The script ends at once; the process when the store has given up or got its turn.
            database.rollback()
        code, _, stderr = finish(said)
        self.assertIn(code, (0, 1))
        self.assertNotIn("Sanitizer", stderr)
        self.assertIn(self.lua('return kv.get "a"'), (1, 2))

    # ---- durability ----

    def test_a_kill_after_set_loses_nothing(self):
        self.p = self.worker("""
          kv.set("before", { at = input or "nothing" })
          kv.increment("times")
          print "set"
          while true do workers.sleep(1) end""")
        for times in (1, 2):
            process = self.p.start("run", "main.lua")
            wait_until(lambda: self.p.store.exists() and self.times() == times, "the increment")
            process.kill()
            finish(process)
            self.assertEqual(self.lua('return { kv.get "before", kv.get "times" }'), [{"at": "nothing"}, times])
        self.assertEqual(self.p.value("SELECT count(*) FROM items"), 0)

    def times(self):
        try:
            return int(self.p.value("SELECT value FROM _workers_kv WHERE key = 'times'") or 0)
        except sqlite3.OperationalError:
            return 0

    def test_two_processes_at_once(self):
        code = """
          for _ = 1, 300 do kv.increment "sum" end
          for _ = 1, 1000 do
            repeat
              local old = kv.get "swapped"
            until kv.compareAndSet("swapped", old, (old or 0) + 1)
          end"""
        self.lua("return 1")
        processes = [self.p.start("exec", "run", "-d", json.dumps({"code": code})) for _ in range(2)]
        for process in processes:
            code, _, stderr = finish(process, timeout=240)
            self.assertEqual(code, 0, stderr)
        self.assertEqual(self.lua('return { kv.get "sum", kv.get "swapped" }'), [600, 2000])

    # ---- what writes nothing ----

    def test_previews_write_to_memory(self):
        self.p = self.worker("""
          local before = kv.get "n" or 0
          kv.set("list", kv.list())
          kv.delete "gone"
          kv.set("short", 1, { ttl = 100 })
          kv.compareAndSet("swap", 1, 2)
          return table.concat({ before, kv.increment("n", 5), kv.increment "n", table.concat(kv.list(), "+"),
            tostring(kv.get "gone"), tostring(kv.get "swap"), kv.get "short" }, " ")""")
        self.lua('kv.set("n", 10) kv.set("gone", 1) kv.set("swap", 1)')
        before = self.p.rows("SELECT * FROM _workers_kv ORDER BY key")
        wanted = "10 15 16 list+n+short+swap nil 2 1"
        for args in (("exec", "sync"), ("run", "main.lua", "--preview"), ("sync", "trigger", "sync", "--preview")):
            result = self.ok(self.p.run(*args))
            self.assertIn(wanted, result.stdout + result.stderr, args)
            self.assertEqual(self.p.rows("SELECT * FROM _workers_kv ORDER BY key"), before, args)
        self.ok(self.p.run("run", "main.lua"))
        self.assertEqual(self.p.value("SELECT name FROM items"), wanted)
        self.assertEqual(self.lua('return { kv.get "n", kv.list(), kv.get "gone" == nil, kv.get "swap" }'),
                         [16, ["list", "n", "short", "swap"], True, 2])

    def test_a_preview_of_several_pages_sees_what_it_has_set(self):
        self.p.write("main.lua", SCRIPT.replace("hasMore = false", "hasMore = not input.last, nextState = { last = true }")
                     .replace("execute = function(state)", "execute = function(input) input = input or {}")
                     .replace("run([==[SYNC]==], state)", 'kv.increment "pages"').replace('key = "a"', 'key = "k" .. name'))
        result = self.ok(self.p.run("run", "main.lua", "--preview", "--json"))
        self.assertEqual(json.loads(result.stdout)[0]["added"], 2, result.stdout)
        self.assertEqual(self.p.value("SELECT count(*) FROM _workers_kv"), 0)

    # ---- stores that were there before ----

    def test_an_older_store_gets_the_table(self):
        self.ok(self.p.run("run", "main.lua"))
        with self.p.database() as database:
            for table in ("kv", "schedules", "deliveries", "payloads"):
                database.execute(f"DROP TABLE _workers_{table}")
            for column in ("started_by", "attempt", "delivery_id", "peak_bytes", "traceback", "error_name", "error_code", "error_status"):
                database.execute(f"ALTER TABLE _workers_runs DROP COLUMN {column}")
            database.execute("UPDATE _workers_meta SET value = '1' WHERE name = 'schema_version'")
            database.commit()
        self.assertEqual(self.lua('kv.set("a", 1) return kv.get "a"'), 1)
        self.assertEqual(self.p.value("SELECT value FROM _workers_meta WHERE name = 'schema_version'"), "7")
        self.assertEqual(self.p.rows("SELECT name FROM items"), [("1",)])
        self.ok(self.p.run("run", "main.lua"))
        self.assertEqual(self.p.rows("SELECT attempt, started_by FROM _workers_runs ORDER BY id"), [(1, None), (1, "manual")])

    def test_the_script_cannot_wait_while_it_is_loaded(self):
        self.p.write("main.lua", 'require "workers.kv".get "a"\n' + SCRIPT)
        self.assertIn("kv.get cannot be used while the script is being loaded", self.lua("return 1", 1))

    def test_postgresql_is_refused(self):
        self.p = self.worker("return 1", "name: test\nmain: main.lua\nstore: postgresql://u@h/db\n")
        self.assertIn("kv.get: there is no store for values", self.lua('return kv.get "a"', 1))


if __name__ == "__main__":
    main()
