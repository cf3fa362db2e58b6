#!/usr/bin/env python3
"""Every command: output for people, --plain and --json; exit codes; secrets; Ctrl-C; standard input that never ends."""
import base64
import csv
import fcntl
import io
import json
import os
import pathlib
import pty
import re
import signal
import stat
import struct
import subprocess
import sys
import termios
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import Page, TestCase, finish, forms_of, interrupt, main, wait_until  # noqa: E402

SCRIPT = """
local workers = require "workers"
local http = require "workers.http"
local env = require "workers.env"
local log = require "workers.log"
local Schema, Builder, j = workers.schema, workers.builder, workers.j
local worker = workers.new()

local tasks = worker:database("tasks", {
  type = "managed", initialTitle = "My Tasks", primaryKeyProperty = "Task ID",
  schema = { properties = { ["Task Name"] = Schema.title(), ["Task ID"] = Schema.richText(), Points = Schema.number() } },
})

worker:sync("pages", { database = tasks, schedule = "manual", execute = function(state)
  log.info("a page of " .. env.get("GREETING", "nothing"))
  return http.post("URL/pages", { json = { state = state } }):raise():json()
end })

worker:sync("delta", { database = tasks, mode = "incremental", schedule = "15m", execute = function(state)
  return { changes = {}, hasMore = false, nextState = { count = (state and state.count or 0) + 1 } }
end })

worker:tool("greet", {
  title = "Greet", description = "Says hello", schema = j.object { name = j.string():describe("who") },
  outputSchema = j.object { greeting = j.string() },
  execute = function(input)
    log.info("greeting " .. input.name)
    if input.name == "nobody" then error("nobody is here") end
    if input.name == "wrong" then return { greeting = 1 } end
    return { greeting = "Hello, " .. input.name .. "!" }
  end,
})

worker:tool("leak", {
  title = "Leak", description = "Tells a secret", schema = j.object { how = j.string() },
  execute = function(input)
    local token = env.get("API_TOKEN") or "nothing"
    if input.how == "log" then log.warn("token is " .. token) return #token end
    if input.how == "error" then error("bad token " .. token) end
    if input.how == "half" then error("begins with " .. token:sub(1, math.ceil(#token / 2)) .. "; ends") end
    if input.how == "cut" then error("begins with " .. token:sub(1, -3)) end
    if input.how == "table" then error({ message = token }) end
    if input.how == "length" then return #token end
    if input.how == "escape" then log.warn("red \\27[31m\\194\\155\\tand\\nblue\\127") error("red \\27[31m\\194\\155\\tand\\nblue") end
    if input.how == "forms" then
      local crypto, url, json = require "workers.crypto", require "workers.url", require "workers.json"
      for user in ("|a|bc"):gmatch "[^|]*" do
        log.warn("basic", { header = "Basic " .. crypto.base64(user .. ":" .. token .. "!"), safe = crypto.base64url(user .. token) })
      end
      error(table.concat({ crypto.hex(token), crypto.hex(token):upper(), url.encode(token), json.encode { token } }, " and "))
    end
    return #token
  end,
})

worker:tool("page", { title = "Page", description = "Gives its input back", schema = j.object {
  limit = j.integer():default(20), from = j.object { key = j.string():default("a"), after = j.string():optional() }:optional() },
  execute = function(input) return input end })

worker:sync("leaky", { database = tasks, schedule = "manual", execute = function()
  log.info("using " .. env.require("API_TOKEN"))
  error("refused: " .. env.require("API_TOKEN"))
end })

worker:webhook("onPush", { title = "Push", description = "A push", execute = function(events)
  for _, event in ipairs(events) do log.info("got " .. event.body.ref) end
end })

worker:automation("onChange", { title = "Change", description = "A change", execute = function(event)
  log.info("changed " .. tostring(event and event.pageId))
end })

worker:job("nightly", { title = "Nightly", description = "Tidies", schedule = { cron = "0 3 * * *", timezone = "Europe/Berlin" },
  execute = function() return { tidied = 3 } end })

return worker
"""


SECRET = "tok-\u00fcnic\u00f6de-4711-geheim"


def upsert(key, **properties):
    return {"type": "upsert", "key": key, "properties": {"Task Name": f"Task {key}", **properties}}


def page(*changes, next=None):
    return {"changes": list(changes), "hasMore": next is not None, "nextState": next}


class CommandsTest(TestCase):
    def setUp(self):
        self.up = self.upstream()
        self.p = self.project(SCRIPT.replace("URL", self.up.url))

    def filled(self):
        self.up.script("pages", page(upsert("t1", Points=3), upsert("t2", Points=2.5), upsert('t,"3', **{"Task Name": "A\nB"})))
        return self.ok(self.p.run("run", "main.lua", "pages"))

    def json(self, *args, code=0):
        return json.loads(self.ok(self.p.run(*args), code).stdout)

    def commands(self):
        """The names of all commands, as help lists them."""
        text = self.ok(self.p.run("help")).stdout
        return re.findall(r"^  ((?:[a-z][a-z-]* ?)+)(?<! )", text.partition("Commands:")[2].partition("Examples:")[0], re.M)

    # ---- help and wrong usage ----

    def test_every_command_has_help_with_an_example(self):
        names = self.commands()
        for expected in ("run", "exec", "manifest", "check", "sync status", "sync trigger", "sync pause", "sync resume",
                         "sync state get", "sync state set", "sync state reset", "capabilities list", "capabilities enable",
                         "capabilities disable", "runs list", "runs get", "runs logs", "db list", "db schema", "db query",
                         "db export", "db deleted", "db restore", "env set", "env list", "env unset", "new"):
            self.assertIn(expected, names)
        for name in names:
            result = self.ok(self.p.run(*name.split(), "--help"))
            self.assertIn(f"workers {name}", result.stdout, name)
            if name not in ("help", "version"):
                self.assertIn("Examples:", result.stdout, name)
                self.assertRegex(result.stdout.partition("Examples:")[2], rf"workers {name}", name)
            self.assertEqual(result.stderr, "", name)
            self.assertEqual(self.ok(self.p.run("help", *name.split())).stdout, result.stdout, name)

    def test_wrong_usage_is_exit_code_2_and_names_the_nearest(self):
        cases = [
            (["rnu"], 'did you mean "run"'),
            (["sync", "statsu"], 'did you mean "sync status"'),
            (["db", "qurey", "x"], 'did you mean "db query"'),
            (["sync", "status", "--no-wacth"], "--no-wacth"),
            (["sync", "status", "--interval"], "--interval needs a value"),
            (["sync", "status", "--interval", "soon"], "--interval"),
            (["sync", "status", "--json=1"], "--json takes no value"),
            (["sync", "trigger"], "something is missing"),
            (["sync", "trigger", "a", "b"], "one argument too many: b"),
            (["sync", "trigger", "pages", "--context", "{}"], "--preview"),
            (["runs", "list", "--limit", "0"], "--limit"),
            (["db", "export", "tasks", "--format", "xml"], "csv or json"),
            (["db", "restore", "tasks"], "--all"),
            (["db", "query"], "something is missing"),
            (["run", "no-script", "key"], "no-script is no Lua script, nor a folder"),
        ]
        for args, part in cases:
            result = self.p.run(*args)
            self.assertEqual((result.returncode, result.stdout), (2, ""), args)
            self.assertIn(part, result.stderr, args)
        self.assertIn("did you mean --no-watch?", self.p.run("sync", "status", "--no-wacth").stderr)
        self.assertEqual(self.p.run().returncode, 2)

    def test_what_does_not_exist_is_exit_code_1_and_says_where_to_look(self):
        self.filled()
        cases = [
            (["sync", "status", "nope"], "workers capabilities list"),
            (["sync", "trigger", "nope"], "workers capabilities list"),
            (["sync", "pause", "greet"], "is a tool, not a sync"),
            (["sync", "state", "get", "nope"], "nope"),
            (["run", "main.lua", "nope"], "workers capabilities list"),
            (["exec", "nope"], "workers capabilities list"),
            (["runs", "get", "ffff"], "workers runs list"),
            (["runs", "logs", "ffff"], "workers runs list"),
            (["db", "export", "nope"], "workers db list"),
            (["db", "restore", "nope", "--all"], "workers db list"),
            (["env", "unset", "NOPE"], "workers env list"),
            (["run", "missing.lua"], "missing.lua"),
            (["db", "query", "SELECT * FROM nope"], "nope"),
            (["db", "query", "SELECT 1; SELECT 2"], "one statement"),
            (["db", "query", ""], "empty"),
        ]
        for args, part in cases:
            result = self.p.run(*args)
            self.assertEqual(result.returncode, 1, (args, result.stderr))
            self.assertEqual(result.stdout, "", args)
            self.assertIn(part, result.stderr, args)
            self.assertTrue(result.stderr.startswith("error: "), result.stderr)

    def test_before_the_first_run(self):
        for args in (["runs", "list"], ["db", "list"], ["db", "query", "SELECT 1"], ["db", "deleted"], ["env", "list"]):
            result = self.p.run(*args)
            self.assertEqual(result.returncode, 1, args)
            self.assertIn("there is no store yet", result.stderr, args)
        self.assertFalse(self.p.store.exists(), "looking makes nothing")
        self.assertEqual([row["status"] for row in self.json("sync", "status", "--json")], ["INITIALIZING"] * 3)

    def test_a_folder_for_the_script(self):
        """The project that it lies in."""
        (self.p.folder / "deep").mkdir()
        for folder in (".", "deep", str(self.p.folder)):
            self.ok(self.p.run("run", folder, "delta"))
        outside = self.p.run("run", "/", "delta")
        self.assertEqual(outside.returncode, 1)
        self.assertIn("error: there is no workers.yaml in / or in a folder above: give a script", outside.stderr)

    def test_outside_of_a_project(self):
        (self.p.folder / "workers.yaml").unlink()
        result = self.p.run("sync", "status")
        self.assertEqual(result.returncode, 1)
        self.assertIn("there is no workers.yaml here or in a folder above", result.stderr)
        self.ok(self.p.run("run", "main.lua", "delta"))  # a script alone is a project
        self.assertTrue(self.p.store.exists())

    def test_in_a_folder_below(self):
        below = self.p.folder / "a" / "b"
        below.mkdir(parents=True)
        here, self.p.folder = self.p.folder, below
        try:
            self.assertEqual(self.json("sync", "status", "delta", "--json")[0]["key"], "delta")
        finally:
            self.p.folder = here

    # ---- output ----

    def test_run_ends_with_a_summary(self):
        result = self.filled()
        head, row = result.stdout.splitlines()
        self.assertEqual(head.split(), ["SYNC", "RESULT", "ADDED", "CHANGED", "UNCHANGED", "DELETED", "STALE", "PAGES", "REQUESTS", "TIME"])
        self.assertEqual(row.split()[:9], ["pages", "done", "3", "0", "0", "0", "0", "1", "1"])
        # Numbers stand under the right end of their titles.
        self.assertEqual(head.index("ADDED") + len("ADDED"), row.index("3") + 1)
        plain = self.ok(self.p.run("run", "main.lua", "pages", "--plain")).stdout
        self.assertEqual(plain.split("\t")[:9], ["pages", "done", "0", "0", "3", "0", "0", "1", "1"])
        self.assertEqual(plain.count("\n"), 1)
        entry = self.json("run", "main.lua", "delta", "--json")[0]
        self.assertEqual((entry["key"], entry["result"], entry["pages"]), ("delta", "done", 1))

    def test_a_name_that_is_none_is_refused_before_its_value_is_asked_for(self):
        for name, message in (("1A", '"1A" is not a variable name: use letters, digits and _, and no digit first'),
                              ("A-B", '"A-B" is not a variable name: use letters, digits and _, and no digit first'),
                              ("A" * 129, "a variable name has at most 128 letters, digits and _")):
            process = self.p.start("env", "set", name, stdin=subprocess.PIPE)  # which nobody closes
            self.assertEqual(process.wait(30), 1)
            self.assertEqual(process.stderr.read(), f"error: {message}\n")

    def test_lists_in_three_formats(self):
        self.filled()
        self.p.run("exec", "greet", "-d", '{"name":"x"}')
        self.p.run("env", "set", "A_NAME=value-of-a")
        for args, columns in ((["sync", "status"], 9), (["runs", "list"], 6), (["capabilities", "list"], 5), (["db", "list"], 4),
                              (["db", "schema"], 6), (["env", "list"], 4)):
            table = self.ok(self.p.run(*args)).stdout
            plain = self.ok(self.p.run(*args, "--plain")).stdout
            rows = self.json(*args, "--json")
            self.assertGreater(len(rows), 0, args)
            self.assertEqual(len(plain.splitlines()), len(rows), args)
            self.assertEqual(len(table.splitlines()), len(rows) + 1, args)
            for line in plain.splitlines():
                self.assertEqual(line.count("\t"), columns - 1, (args, line))
            self.assertNotIn("\033", table + plain, "no colour without a terminal")

    def test_what_a_script_says_does_not_drive_the_terminal(self):
        run = self.p.run("exec", "leak", "-d", '{"how":"escape"}')
        self.assertIn("warn: red  [31m \tand\nblue \n", run.stderr)
        self.assertIn("red  [31m \tand\nblue\n", run.stderr.split("error:")[1])
        self.p.write("main.lua", SCRIPT.replace('log.info("using " .. env.require("API_TOKEN"))', 'log.info("\\27[2J")'))
        self.assertNotIn("\x1b", self.p.run("run", "main.lua", "leaky", env={"API_TOKEN": "x\x1b[2J-long"}).stderr)
        (identity,) = self.p.rows("SELECT id FROM _workers_runs")[0]
        self.assertRegex(self.ok(self.p.run("runs", "logs", identity)).stdout, r"info +\[2J\n")
        self.assertIn("\\u001b[2J", self.ok(self.p.run("runs", "logs", identity, "--json")).stdout)

    def test_help_has_straight_columns(self):
        lines = self.ok(self.p.run("--help")).stdout.split("Commands:\n")[1].split("\n\n")[0].splitlines()
        self.assertGreater(len(lines), 40)
        begins = {len(re.match(r"  (?:\S.*?)? {2,}(?=\S)", line)[0]) for line in lines if "   " in line}
        self.assertEqual(begins, {41})

    def test_defaults_of_a_tool(self):
        for given, taken in (({}, {"limit": 20}), ({"limit": 5}, {"limit": 5}), ({"from": {}}, {"limit": 20, "from": {"key": "a"}}),
                             ({"from": {"key": "b", "after": "c"}}, {"limit": 20, "from": {"key": "b", "after": "c"}})):
            self.assertEqual(json.loads(self.ok(self.p.run("exec", "page", "-d", json.dumps(given))).stdout), taken)
        result = self.p.run("exec", "page", "-d", '{"limit": null}')
        self.assertIn("must be integer", result.stderr)

    def test_capabilities_and_manifest(self):
        listed = {row["key"]: row["kind"] for row in self.json("capabilities", "list", "--json")}
        self.assertEqual(listed, {"pages": "sync", "delta": "sync", "leaky": "sync", "greet": "tool", "page": "tool", "leak": "tool",
                                  "onPush": "webhook", "onChange": "automation", "nightly": "job"})
        manifest = self.json("manifest")
        self.assertEqual({c["key"] for c in manifest["capabilities"]}, set(listed))
        self.assertIn("tasks", json.dumps(manifest["databases"]))
        self.ok(self.p.run("check"))
        self.p.write("main.lua", SCRIPT.replace('"15m"', '"15 minutes"'))
        result = self.p.run("check")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stdout + result.stderr, r"main\.lua:\d+")
        self.assertIn("15 minutes", result.stdout + result.stderr)

    def test_capabilities_enable_and_disable(self):
        self.ok(self.p.run("capabilities", "disable", "delta"))
        self.assertEqual(self.p.status("delta")["status"], "DISABLED")
        self.ok(self.p.run("capabilities", "enable", "delta"))
        self.assertEqual(self.p.status("delta")["status"], "INITIALIZING")

    # ---- sync state ----

    def test_sync_state(self):
        self.assertEqual(self.ok(self.p.run("sync", "state", "get", "delta")).stdout, "null\n")
        self.ok(self.p.run("run", "main.lua", "delta"))
        self.assertEqual(self.json("sync", "state", "get", "delta"), {"count": 1})
        self.ok(self.p.run("sync", "state", "set", "delta", '{"count": 41}'))
        self.ok(self.p.run("run", "main.lua", "delta"))
        self.assertEqual(self.json("sync", "state", "get", "delta"), {"count": 42})
        self.p.write("state.json", '{"count": 9007199254740992}')
        self.ok(self.p.run("sync", "state", "set", "delta", "@state.json"))
        self.ok(self.p.run("run", "main.lua", "delta"))
        self.assertEqual(self.json("sync", "state", "get", "delta"), {"count": 9007199254740993})
        self.ok(self.p.run("sync", "state", "set", "delta", "-", input='{"count": 7}'))
        self.assertEqual(self.json("sync", "state", "get", "delta"), {"count": 7})
        for bad in ("{count: 1}", "", '{"a":1} x', "@missing.json"):
            result = self.p.run("sync", "state", "set", "delta", bad)
            self.assertEqual(result.returncode, 1, bad)
            self.assertEqual(self.json("sync", "state", "get", "delta"), {"count": 7})
        self.ok(self.p.run("sync", "state", "reset", "delta"))
        self.assertEqual(self.ok(self.p.run("sync", "state", "get", "delta")).stdout, "null\n")
        self.ok(self.p.run("run", "main.lua", "delta"))
        self.assertEqual(self.json("sync", "state", "get", "delta"), {"count": 1})

    def test_the_state_of_a_replace_sync_cannot_be_set(self):
        """A cycle that began in the middle would sweep the rows before it."""
        result = self.p.run("sync", "state", "set", "pages", '{"page":3}')
        self.assertEqual(result.returncode, 1)
        self.assertIn("replace", result.stderr)

    def test_reset_of_an_open_cycle_starts_afresh_and_keeps_rows(self):
        self.filled()
        self.up.script("pages", page(upsert("t1"), next={"page": 2}), {"oops": 1})
        self.ok(self.p.run("run", "main.lua", "pages"), 1)
        self.assertEqual(self.json("sync", "state", "get", "pages"), {"page": 2})
        self.ok(self.p.run("sync", "state", "reset", "pages"))
        self.assertEqual(self.p.value("SELECT count(*) FROM tasks"), 3)
        self.up.script("pages", page(upsert("t2")))
        self.ok(self.p.run("run", "main.lua", "pages"))
        self.assertEqual(self.up.requests["pages"], [{}])
        self.assertEqual(self.p.rows("SELECT _key FROM tasks"), [("t2",)])

    # ---- runs ----

    def test_runs(self):
        self.filled()
        self.up.script("pages", {"changes": [], "hasMore": "maybe"})
        self.ok(self.p.run("run", "main.lua", "pages"), 1)
        self.ok(self.p.run("run", "main.lua", "delta"))
        runs = self.json("runs", "list", "--json")
        self.assertEqual([(run["key"], run["exitCode"]) for run in runs], [("delta", 0), ("pages", 1), ("pages", 0)])
        self.assertEqual([run["key"] for run in self.json("runs", "list", "--key", "delta", "--json")], ["delta"])
        failed = self.json("runs", "list", "--failed", "--json")
        self.assertEqual([run["id"] for run in failed], [runs[1]["id"]])
        self.assertIn("hasMore", failed[0]["error"])
        self.assertEqual(len(self.json("runs", "list", "--limit", "1", "--json")), 1)
        plain = self.ok(self.p.run("runs", "list", "--plain")).stdout.splitlines()[2].split("\t")
        self.assertEqual((plain[0], plain[1], plain[2], plain[5]), (runs[2]["id"], "sync:pages", "0", "3 added"))
        self.assertRegex(plain[3], r"^\d{4}-\d\d-\d\dT")
        one = self.json("runs", "get", runs[2]["id"])
        one = one[0] if isinstance(one, list) else one
        self.assertEqual((one["added"], one["pages"], one["requests"]), (3, 1, 1))
        ambiguous = self.p.run("runs", "get", "0")
        self.assertEqual(ambiguous.returncode, 1)
        self.assertIn("3 runs begin with", ambiguous.stderr)
        logs = self.ok(self.p.run("runs", "logs", runs[2]["id"])).stdout
        self.assertRegex(logs, r"^\S+Z info +a page of nothing\n\S+Z http +POST http://127.0.0.1:\d+/pages: 200, \d+ bytes, \d+ ms\n$")
        lines = [json.loads(line) for line in self.ok(self.p.run("runs", "logs", runs[2]["id"], "--json")).stdout.splitlines()]
        self.assertEqual((lines[0]["level"], lines[0]["text"]), ("info", "a page of nothing"))
        self.assertEqual([line["level"] for line in lines], ["info", "http"])

    def test_runs_logs_follow_ends_with_the_run(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.up.script("pages", page(upsert("a"), next=2), Page(page(upsert("b")), gate=gate))
        process = self.p.start("run", "main.lua", "pages")
        wait_until(lambda: self.up.count("pages") == 2)
        run = self.p.value("SELECT id FROM _workers_runs")
        follower = self.p.start("runs", "logs", run, "--follow")
        self.assertIn("a page of", follower.stdout.readline())
        self.assertIsNone(follower.poll())
        gate.set()
        self.assertEqual(finish(process)[0], 0)
        self.assertEqual(finish(follower)[0], 0)

    # ---- db ----

    def test_db_query_reads_only(self):
        self.filled()
        self.assertEqual(self.json("db", "query", "SELECT task_id, points, NULL AS n FROM tasks ORDER BY _id", "--json"),
                         [{"task_id": "t1", "points": 3, "n": None}, {"task_id": "t2", "points": 2.5, "n": None},
                          {"task_id": 't,"3', "points": None, "n": None}])
        result = self.ok(self.p.run("db", "query", "SELECT count(*) AS n FROM tasks"))
        self.assertEqual(result.stdout.split(), ["n", "3"])
        self.assertEqual(self.ok(self.p.run("db", "query", "SELECT 9007199254740993, 0.1", "--plain")).stdout, "9007199254740993\t0.1\n")
        before = self.p.dump()
        for sql in ("INSERT INTO tasks(_key, _synced_at) VALUES('x', '')", "DELETE FROM tasks", "UPDATE tasks SET points = 1",
                    "DROP TABLE tasks", "CREATE TABLE x(y)", "PRAGMA user_version = 7", "VACUUM", "PRAGMA journal_mode = DELETE",
                    "WITH a AS (SELECT 1) DELETE FROM tasks", "PRAGMA query_only = 0", "ATTACH 'other.db' AS other",
                    "PRAGMA writable_schema = 1", "SELECT load_extension('x')"):
            result = self.p.run("db", "query", sql)
            self.assertEqual(self.p.dump(), before, sql)
            if "query_only" not in sql and "journal_mode" not in sql and "writable" not in sql:
                self.assertEqual(result.returncode, 1, (sql, result.stdout))
        self.assertIn("only reads", self.p.run("db", "query", "DELETE FROM tasks").stderr)
        self.assertFalse((self.p.folder / "other.db").exists())

    def test_db_list_and_schema(self):
        self.filled()
        self.assertEqual(self.json("db", "list", "--json"), [{"database": "tasks", "title": "My Tasks", "table": "tasks", "rows": 3}])
        schema = self.json("db", "schema", "--json")
        self.assertEqual([(row["property"], row["column"], row["type"]) for row in schema],
                         [("Task Name", "task_name", "title"), ("Task ID", "task_id", "text"), ("Points", "points", "number")])

    def test_db_export(self):
        self.filled()
        rows = list(csv.DictReader(io.StringIO(self.ok(self.p.run("db", "export", "tasks")).stdout, newline="")))
        self.assertEqual([(row["_key"], row["task_name"], row["points"]) for row in rows],
                         [('t,"3', "A\nB", ""), ("t1", "Task t1", "3"), ("t2", "Task t2", "2.5")])
        exported = self.json("db", "export", "tasks", "--format", "json")
        self.assertEqual([(row["_key"], row["points"]) for row in exported], [('t,"3', None), ("t1", 3), ("t2", 2.5)])

    # ---- environment and secrets ----

    def env_tool(self, how="length", env=None):
        return self.p.run("exec", "leak", "-d", json.dumps({"how": how}), env=env)

    def test_env_set_list_unset(self):
        self.ok(self.p.run("env", "set", f"API_TOKEN={SECRET}"))
        self.ok(self.p.run("env", "set", "FROM_STDIN", input=SECRET + "\n"))
        self.p.write("pem", SECRET)
        self.ok(self.p.run("env", "set", "FROM_FILE=@pem"))
        self.assertEqual([row["name"] for row in self.json("env", "list", "--json")], ["API_TOKEN", "FROM_FILE", "FROM_STDIN"])
        self.assertEqual(int(self.ok(self.env_tool()).stdout), len(SECRET.encode()))
        self.ok(self.p.run("env", "unset", "FROM_FILE", "FROM_STDIN"))
        self.assertEqual([row["name"] for row in self.json("env", "list", "--json")], ["API_TOKEN"])
        self.ok(self.p.run("env", "set", "API_TOKEN=another-one"))
        self.assertEqual(int(self.ok(self.env_tool()).stdout), len("another-one"))
        for bad in ("9LIVES=x", "A-B=x", "=x", "ÄÖ=x"):
            result = self.p.run("env", "set", bad)
            self.assertEqual(result.returncode, 1, bad)
            self.assertIn("not a variable name", result.stderr)

    def test_no_secret_is_ever_shown_or_stored_in_the_clear(self):
        shown = []

        def run(*args, **options):
            result = self.p.run(*args, **options)
            shown.append(result.stdout + result.stderr)
            return result

        self.ok(run("env", "set", "API_TOKEN", input=SECRET))
        for args in (["env", "list"], ["env", "list", "--json"], ["env", "list", "--plain"]):
            self.ok(run(*args))
        self.assertEqual(run("run", "main.lua", "leaky").returncode, 1)
        for how in ("log", "error", "table", "half", "cut", "forms"):
            for flags in ([], ["--json"], ["--stream"]):
                run("exec", "leak", "-d", json.dumps({"how": how}), *flags)
        run("run", "main.lua", "leaky", "--preview")
        run("sync", "status", "--no-watch")
        run("sync", "status", "--json")
        run("runs", "list", "--json")
        for (identity,) in self.p.rows("SELECT id FROM _workers_runs"):
            run("runs", "get", identity)
            self.assertIn("[redacted]", run("runs", "logs", identity).stdout)
        self.assertIn("refused: [redacted]", self.p.value("SELECT error FROM _workers_runs"))
        self.assertIn("refused: [redacted]", self.p.value("SELECT last_error FROM _workers_syncs WHERE key = 'leaky'"))
        self.assertIn("bad token [redacted]", "".join(shown))
        self.assertIn("token is [redacted]", "".join(shown))
        self.assertIn("begins with [redacted]; ends", "".join(shown), "nor is the half of it that a cut message leaves")
        self.assertNotIn(SECRET[:-2], "".join(shown))
        self.assertIn("[redacted] and [redacted] and [redacted] and [\"[redacted]\"]", "".join(shown))
        forms = forms_of(b"4711-geheim")
        for text in shown:
            for form in forms:
                self.assertNotIn(form, text.encode())
        for file in (self.p.folder / ".workers").iterdir():
            for form in forms:
                self.assertNotIn(form, file.read_bytes(), file)
        key = self.p.folder / ".workers" / "key"
        self.assertEqual(stat.S_IMODE(key.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.p.store.stat().st_mode), 0o600)

    def test_a_secret_in_an_error_while_the_script_loads(self):
        self.p.write("main.lua", 'error("cannot use " .. require("workers.env").require "API_TOKEN")')
        self.p.write(".env", f"API_TOKEN={SECRET}\n")
        for args in (["run"], ["exec", "greet"], ["manifest"], ["check"], ["sync", "status"], ["capabilities", "list"]):
            result = self.p.run(*args)
            self.assertEqual(result.returncode, 1, args)
            self.assertNotIn("4711-geheim", result.stderr + result.stdout, args)
            self.assertIn("cannot use [redacted]", result.stderr + result.stdout, args)

    def test_secrets_of_another_key_are_no_secrets(self):
        self.ok(self.p.run("env", "set", f"API_TOKEN={SECRET}"))
        (self.p.folder / ".workers" / "key").write_bytes(bytes(32))
        result = self.env_tool()
        self.assertIn("is another key than the one that sealed the secrets of this store", result.stderr)

    def test_dotenv_is_loaded_and_hidden(self):
        self.p.write(".env", f'# comment\nAPI_TOKEN="{SECRET}"\nexport GREETING=hello\n')
        self.assertEqual(int(self.ok(self.env_tool()).stdout), len(SECRET.encode()))
        self.assertNotIn(SECRET, self.env_tool("log").stderr)
        # The process's own environment comes first, then .env, then what is sealed.
        self.ok(self.p.run("env", "set", "API_TOKEN=sealed"))
        self.assertEqual(int(self.ok(self.env_tool()).stdout), len(SECRET.encode()))
        result = self.env_tool("log", env={"API_TOKEN": "from-the-process"})
        self.assertEqual(int(self.ok(result).stdout), len("from-the-process"))
        self.assertNotIn("from-the-process", result.stderr)
        self.p.write(".env", "A=1\nB='open\n")
        result = self.env_tool()
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"\.env.*2")

    # ---- exec ----

    def test_exec_of_a_tool(self):
        result = self.ok(self.p.run("exec", "greet", "-d", '{"name":"World"}'))
        self.assertEqual(result.stdout, '{"greeting":"Hello, World!"}\n')
        self.assertIn("greeting World", result.stderr)
        self.assertEqual(self.json("exec", "greet", "-d", '{"name":"W"}', "--json"), {"_tag": "success", "value": {"greeting": "Hello, W!"}})
        self.assertEqual(self.ok(self.p.run("exec", "greet", "-d", "-", input='{"name":"In"}')).stdout, '{"greeting":"Hello, In!"}\n')
        self.p.write("in.json", '{"name":"File"}')
        self.assertEqual(self.ok(self.p.run("exec", "greet", "-d", "@in.json")).stdout, '{"greeting":"Hello, File!"}\n')
        lines = [json.loads(line) for line in self.ok(self.p.run("exec", "greet", "-d", '{"name":"S"}', "--stream")).stdout.splitlines()]
        self.assertEqual(lines, [{"type": "log", "level": "info", "text": "greeting S"},
                                 {"type": "result", "value": {"greeting": "Hello, S!"}}])
        self.assertEqual(self.ok(self.p.run("run", "main.lua", "greet", "-d", '{"name":"R"}')).stdout, '{"greeting":"Hello, R!"}\n')

    def test_exec_errors(self):
        cases = [
            ('{"name":"nobody"}', "ToolExecutionError", "nobody is here"),
            ('{"name":5}', "InvalidToolInputError", "name"),
            ("{}", "InvalidToolInputError", "name"),
            ('{"name":"wrong"}', "InvalidToolOutputError", "greeting"),
            ("{", "InvalidToolInputError", "line 1"),
        ]
        for data, name, part in cases:
            result = self.p.run("exec", "greet", "-d", data, "--json")
            self.assertEqual(result.returncode, 1, data)
            answer = json.loads(result.stdout)
            self.assertEqual((answer["_tag"], answer["error"]["name"]), ("error", name), data)
            self.assertIn(part, answer["error"]["message"], data)
            self.assertIn(name, result.stderr)
            last = json.loads(self.p.run("exec", "greet", "-d", data, "--stream").stdout.splitlines()[-1])
            self.assertEqual((last["type"], last["error"]["name"]), ("error", name))
        answer = json.loads(self.p.run("exec", "greet", "-d", '{"name":"nobody"}', "--json").stdout)
        self.assertIn("main.lua:", answer["error"]["trace"])

    def test_a_message_that_is_no_utf8(self):
        """It is not lost: what is no text is replaced."""
        p = self.project("""
local workers = require "workers"
local worker = workers.new()
local rows = worker:database("rows", { type = "managed", initialTitle = "R", primaryKeyProperty = "Id",
  schema = { properties = { Name = workers.schema.title(), Id = workers.schema.richText() } } })
worker:sync("words", { database = rows, schedule = "manual", execute = function() error("Schl\\xFCssel \\0 ung\\u{FC}ltig", 0) end })
worker:sync("field", { database = rows, schedule = "manual", execute = function() error { message = "\\xE2\\x82" } end })
worker:sync("long", { database = rows, schedule = "manual", execute = function() error("x" .. ("\\u{FC}"):rep(40000), 0) end })
return worker
""")
        for key, message in (("words", "Schl\N{REPLACEMENT CHARACTER}ssel \N{REPLACEMENT CHARACTER} ung\u00fcltig"), ("field", "\N{REPLACEMENT CHARACTER}" * 2),
                             ("long", "x" + "\u00fc" * 32767 + "\N{REPLACEMENT CHARACTER}")):
            with self.subTest(key):
                self.assertEqual(json.loads(p.run("exec", key, "--json").stdout)["error"]["message"], message)
                self.ok(p.run("sync", "trigger", key), 1)
                self.assertIn(message[:1000], json.loads(self.ok(p.run("runs", "list", "--key", key, "--json")).stdout)[0]["error"])
                self.assertIn(message[:4], p.run("doctor", key).stdout)

    def test_traceback_of_a_branch(self):
        """An error out of workers.map and workers.all keeps the lines of the branch that raised it, and of those around it."""
        project = self.project("""local workers = require "workers"
local worker = workers.new()
local function check(n)
  if n == 2 then
    error("broken " .. n)
  end
end
worker:tool("t", { title = "t", description = "d", schema = workers.j.object {}, execute = function()
  workers.all { function()
    workers.map({ 1, 2, 3 }, function(n)
      workers.sleep(0.01)
      check(n)
    end)
  end }
end })
return worker
""")
        answer = json.loads(project.run("exec", "t", "--json").stdout)
        self.assertEqual(answer["error"]["message"], "main.lua:5: broken 2")
        lines = re.findall(r"main.lua:(\d+): in", answer["error"]["trace"])
        self.assertEqual(lines, ["5", "12", "10", "9"])

    def test_exec_of_a_sync_writes_nothing(self):
        self.up.script("pages", page(upsert("a"), next={"page": 2}))
        got = self.json("exec", "pages", "-d", '{"state":{"page":1}}')
        self.assertEqual(self.up.requests["pages"], [{"state": {"page": 1}}])
        self.assertEqual((got["hasMore"], got["nextState"]), (True, {"page": 2}))
        self.assertEqual(got["changes"], [{**upsert("a"), "targetDatabaseKey": "tasks"}])
        self.assertFalse(self.p.store.exists())
        self.up.script("pages", page(upsert("a", Pionts=1)))
        result = self.p.run("exec", "pages", "--json")
        self.assertIn('did you mean "Points"', json.loads(result.stdout)["error"]["message"])

    def test_exec_of_webhook_automation_and_job(self):
        events = '[{"deliveryId":"1","body":{"ref":"main"}},{"deliveryId":"2","body":{"ref":"dev"}}]'
        lines = self.ok(self.p.run("exec", "onPush", "-d", events, "--stream")).stdout.splitlines()
        self.assertEqual([json.loads(line).get("text") for line in lines[:2]], ["got main", "got dev"])
        self.assertEqual(json.loads(lines[2]), {"type": "result", "value": {"status": "success"}})
        result = self.p.run("exec", "onPush", "-d", "{}")
        self.assertEqual(result.returncode, 1)
        self.assertIn("array of events", result.stderr)
        result = self.ok(self.p.run("exec", "onChange", "-d", '{"pageId":"p1"}'))
        self.assertIn("changed p1", result.stderr)
        self.assertEqual(json.loads(result.stdout), {"status": "success"})
        self.assertEqual(self.json("exec", "nightly"), {"tidied": 3})

    # ---- standard input ----

    def test_no_command_waits_for_standard_input(self):
        """Standard input is open and silent; a command that read it would never end."""
        self.filled()
        run = self.p.value("SELECT id FROM _workers_runs")
        read, write = os.pipe()
        self.addCleanup(os.close, write)
        self.addCleanup(os.close, read)
        cases = [["run"], ["run", "main.lua", "delta"], ["run", "--preview"], ["exec", "greet"], ["exec", "nightly"], ["exec", "pages"],
                 ["manifest"], ["check"], ["sync", "status"], ["sync", "trigger", "delta"], ["sync", "pause", "delta"],
                 ["sync", "resume", "delta"], ["sync", "state", "get", "delta"], ["sync", "state", "set", "delta", "{}"],
                 ["sync", "state", "reset", "delta"], ["sync", "state", "set", "delta"], ["capabilities", "list"], ["runs", "list"],
                 ["runs", "get", run], ["runs", "logs", run, "--follow"], ["db", "list"], ["db", "schema"], ["db", "query", "SELECT 1"],
                 ["db", "query"], ["db", "export", "tasks"], ["db", "deleted"], ["db", "restore", "tasks", "--all"], ["env", "list"],
                 ["env", "set", "A=b"], ["env", "set"], ["env", "unset", "A"], ["help"], ["version"], []]
        for args in cases:
            process = self.p.start(*args, stdin=read)
            try:
                code, _, err = finish(process, timeout=20)
            except subprocess.TimeoutExpired:
                self.fail(f"{args} waits for standard input")
            self.assertIn(code, (0, 1, 2), (args, err))

    # ---- Ctrl-C ----

    def waiting_run(self, *first):
        """A run whose last request is not answered before the gate opens."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.up.script("pages", *first, Page(page(upsert("b"), next={"page": 3}), gate=gate), page(upsert("c")))
        process = self.p.start("run", "main.lua", "pages")
        wait_until(lambda: self.up.count("pages") == len(first) + 1, "the request that waits")
        return process, gate

    def test_interrupt_stops_after_the_page_in_hand(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            process, gate = self.waiting_run(page(upsert("a"), next={"page": 2}))
            process.send_signal(number)
            self.assertIn("stopping after the page in hand", wait_for_line(process.stderr, "stopping"))
            gate.set()
            code, out, err = finish(process)
            self.assertEqual(code, 130, err)
            self.assertIn('"pages" goes on from page 3', err)
            self.assertIn("stopped", out)
            self.assertEqual(self.p.rows("SELECT _key FROM tasks ORDER BY _key"), [("a",), ("b",)])
            self.assertEqual(self.p.value("SELECT exit_code FROM _workers_runs ORDER BY id DESC LIMIT 1"), 130)
            self.assertEqual(self.p.status("pages")["consecutiveFailureCount"], 0)
            self.ok(self.p.run("run", "main.lua", "pages"))
            self.assertEqual(self.up.requests["pages"][-1], {"state": {"page": 3}})
            self.assertEqual(self.p.rows("SELECT _key FROM tasks ORDER BY _key"), [("a",), ("b",), ("c",)])
            self.p.rows("SELECT 1")
            self.up.script("pages", page())
            self.ok(self.p.run("run", "main.lua", "pages", "--allow-deletes"))

    def test_a_second_interrupt_stops_at_once(self):
        process, gate = self.waiting_run(page(upsert("a"), next={"page": 2}))
        wait_until(lambda: self.p.rows("SELECT _key FROM tasks") == [("a",)], "the first page")
        interrupt(process)
        wait_for_line(process.stderr, "stopping")
        interrupt(process)
        code, _, err = finish(process, timeout=10)
        self.assertEqual(code, 130)
        self.assertIn("stopped at once", err)
        self.assertEqual(self.p.rows("SELECT _key FROM tasks"), [("a",)])
        gate.set()
        self.up.script("pages", page(upsert("b")))
        self.ok(self.p.run("run", "main.lua", "pages"))
        self.assertEqual(self.up.requests["pages"], [{"state": {"page": 2}}])
        self.assertEqual(self.p.rows("SELECT _key FROM tasks"), [("a",), ("b",)])

    def test_interrupt_ends_the_wait_for_a_rate_limit(self):
        self.up.script("pages", Page({}, status=429, headers=[("Retry-After", "3600")]))
        process = self.p.start("run", "main.lua", "pages")
        wait_for_line(process.stderr, "rate limited")
        interrupt(process)
        code, _, err = finish(process, timeout=10)
        self.assertEqual(code, 130, err)
        self.assertEqual(self.p.status("pages")["consecutiveFailureCount"], 0)

    def test_interrupt_of_exec(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.up.script("pages", Page(page(), gate=gate))
        process = self.p.start("exec", "pages")
        wait_until(lambda: self.up.count("pages") == 1)
        interrupt(process)
        self.assertNotEqual(finish(process, timeout=10)[0], 0)

    # ---- terminals ----

    def on_terminal(self, *args, env=None):
        """What a command writes to a terminal of 100 columns."""
        mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        process = subprocess.Popen([os.environ["WORKERS_BIN"], *args], cwd=self.p.folder, stdin=subprocess.DEVNULL, stdout=theirs,
                                   stderr=theirs, env=self.p.environment({"TERM": "xterm", **(env or {})}))
        os.close(theirs)
        out = b""
        try:
            while data := os.read(mine, 65536):
                out += data
        except OSError:
            pass  # the other end is closed
        os.close(mine)
        self.assertEqual(process.wait(timeout=30), 0, out)
        return out.decode()

    def test_colour_on_a_terminal_only_and_not_with_no_color(self):
        self.filled()
        self.up.script("pages", page(upsert("t1", Points=4)))
        shown = self.on_terminal("run", "main.lua", "pages", "--preview")
        self.assertIn("\033[33m~ tasks t1\033[0m", shown)
        for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            plain = self.on_terminal("run", "main.lua", "pages", "--preview", env=env)
            self.assertIn("~ tasks t1", plain)
            self.assertNotRegex(plain, "\033\\[[0-9;]*m")

    def test_tables_fit_a_terminal(self):
        self.up.script("pages", Page({"message": "no " * 90}, status=500))
        self.ok(self.p.run("run", "main.lua", "pages"), 1)
        self.assertGreater(len(self.p.value("SELECT error FROM _workers_runs")), 200)
        for line in self.on_terminal("sync", "status", "--no-watch").splitlines():
            self.assertLessEqual(len(re.sub("\033\\[[0-9;]*[A-Za-z]", "", line)), 100, line)

    # ---- output that cannot be written ----

    def test_output_that_cannot_be_written(self):
        self.filled()
        with open("/dev/full", "w") as full:
            for args in (["runs", "list"], ["db", "export", "tasks"], ["manifest"]):
                result = subprocess.run([os.environ["WORKERS_BIN"], *args], cwd=self.p.folder, env=self.p.environment(), stdout=full,
                                        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, timeout=30)
                self.assertEqual(result.returncode, 1, args)
                self.assertIn("could not be written", result.stderr)


def wait_for_line(stream, part):
    """Reads a process's output up to the line that holds the part; the process must still be writing."""
    while line := stream.readline():
        if part in line:
            return line
    raise AssertionError(f"the output ended without {part!r}")


if __name__ == "__main__":
    main()
