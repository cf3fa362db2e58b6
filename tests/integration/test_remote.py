"""Commands on a server: they print what they print in the project itself, and say what is wrong."""
import json
import os
import pathlib
import re
import sys
import time
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import harness  # noqa: E402

SCRIPT = r"""
local workers = require "workers"
local http, log, env = require "workers.http", require "workers.log", require "workers.env"
local Schema, j = workers.schema, workers.j
local worker = workers.new()
local function database(key)
  return worker:database(key, { type = "managed", initialTitle = "The " .. key, primaryKeyProperty = "Id",
    schema = { properties = { Name = Schema.title(), Id = Schema.richText(), Count = Schema.number(), When = Schema.date() } } })
end
local items, many, gone = database "items", database "many", database "gone"
local function row(key, name, count, when)
  return { type = "upsert", key = key, properties = { Name = name, Count = count, When = when } }
end
worker:sync("fill", { database = items, mode = "incremental", schedule = "manual", execute = function(state)
  log.info("filling äöü \"quoted\"", { n = 1 })
  return { changes = { row("a", "one, \"two\"\nthree", 1, "2026-01-02"), row("b", "ünï", 2.5), row("c/d ?&%", "", -9007199254740993) },
           hasMore = false, nextState = { n = (state and state.n or 0) + 1, text = "ä" } }
end })
worker:sync("grow", { database = many, mode = "incremental", schedule = "manual", execute = function()
  local changes = {}
  for i = 1, 20000 do changes[i] = row(string.format("row %05d", i), ("name %d "):format(i):rep(20), i) end
  for i = 1, 2500 do log.info("line " .. i) end
  return { changes = changes, hasMore = false, nextState = {} }
end })
worker:sync("shrink", { database = gone, mode = "replace", schedule = "manual", sweep = { minRows = 10 }, execute = function()
  local changes = {}
  for i = 1, #http.get(env.require "UPSTREAM" .. "/rows"):json() do changes[i] = row("r" .. i, "row " .. i, i) end
  return { changes = changes, hasMore = false }
end })
worker:sync("slow", { database = gone, mode = "incremental", schedule = "manual", execute = function()
  log.info "before"
  http.get(env.require "UPSTREAM" .. "/gate")
  log.info "after"
  return { changes = {}, hasMore = false }
end })
worker:sync("broken", { database = gone, mode = "incremental", schedule = "manual", execute = function() error "no such luck" end })
worker:tool("double", { title = "Double", description = "d", schema = j.object { n = j.integer() }, execute = function(input)
  if input.n == 13 then error "unlucky" end
  return { n = input.n * 2 }
end })
worker:webhook("hook", { title = "Hook", description = "d", verify = require "workers.webhooks".github { secret = "HOOK_SECRET" },
  execute = function(events) log.info("got " .. #events) end })
worker:automation("note", { title = "Note", description = "d", execute = function() end })
worker:job("tidy", { title = "Tidy", description = "d", schedule = "1d", execute = function() end })
return worker
"""

CONFIG = "name: shop\nmain: main.lua\n"


class RemoteTest(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        if not harness.BINARY:
            raise unittest.SkipTest("WORKERS_BIN does not name the binary")
        cls.source = harness.Upstream()
        cls.source.script("rows", [*range(40)])
        cls.p = harness.Project(SCRIPT, CONFIG + 'permissions:\n  net: ["localhost", "127.0.0.1"]\n')
        cls.p.run("env", "set", f"UPSTREAM={cls.source.url}", "HOOK_SECRET=sesame")
        for key in ("fill", "grow", "shrink"):
            done = cls.p.run("sync", "trigger", key)
            assert done.returncode == 0, done.stderr
        cls.source.script("rows", [*range(37)])
        assert cls.p.run("sync", "trigger", "shrink").returncode == 0
        assert cls.p.run("sync", "trigger", "broken").returncode == 1
        cls.server = harness.Server(cls.p)
        cls.url = cls.server.url
        cls.tokens = {scope: cls.p.run("tokens", "make", scope, "--scope", scope).stdout.strip() for scope in ("read", "run", "admin")}
        sent = cls.p.run("webhooks", "send", "hook", "-d", '{"x":1}', "--event", "push", "--id", "one")
        assert sent.returncode == 0, sent.stderr
        harness.wait_until(lambda: cls.p.value("SELECT state FROM _workers_deliveries WHERE kind = 'webhook'") == "done", "the delivery")
        cls.delivery = cls.p.value("SELECT id FROM _workers_deliveries WHERE kind = 'webhook'")
        # An empty folder: what is known there comes from the server.
        cls.elsewhere = harness.Project(config=CONFIG)
        (cls.elsewhere.folder / "workers.yaml").unlink()
        harness.wait_until(lambda: cls.there("tokens", "list").returncode == 0, lambda: cls.there("tokens", "list").stderr)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.p.close()
        cls.elsewhere.close()
        cls.source.close()

    @classmethod
    def there(cls, *args, token="admin", url=None, project=None, **options):
        """A command on the server, from another folder."""
        env = {"WORKERS_TOKEN": cls.tokens.get(token, token)} if token else {}
        return (project or cls.elsewhere).run(*args, "--server", url or cls.url, env=env, **options)

    # ---- the same as in the project ----

    def same(self, *args, **options):
        def seen(result):
            text = lambda value: re.sub(r"\d+ (?:s|min) ago|in \d+ (?:s|min)", "<time>", value)  # noqa: E731
            # What SQLite says of a statement has a word before it where it is our own file.
            return (result.returncode, [re.sub(r"  +", "  ", line) for line in text(result.stdout).split("\n")],
                    text(result.stderr).replace("error: database: ", "error: "))

        here, there = self.p.run(*args, **options), self.there(*args, **options)
        self.assertEqual(seen(here), seen(there), args)
        return here

    def ids(self):
        return [row[0] for row in self.p.rows("SELECT id FROM _workers_runs ORDER BY id")]

    def test_listings(self):
        for command in ("sync status", "sync status fill", "capabilities list", "runs list", "runs list --key shrink --limit 1", "runs list --failed",
                        "db list", "db schema", "db deleted", "db deleted gone", "db deleted items", "db deleted --limit 2", "webhooks list",
                        "deliveries list", "deliveries list --key hook", "deliveries list --state dead", "tokens list", "env list"):
            for form in ((), ("--plain",), ("--json",)):
                with self.subTest(command, form=form):
                    shown = self.ok(self.same(*command.split(), *form))
                    if form == ("--json",):
                        self.assertIsInstance(json.loads(shown.stdout), list)
        self.assertEqual({run["key"] for run in json.loads(self.there("runs", "list", "--failed", "--json").stdout)}, {"broken"})

    def test_one_thing(self):
        run = self.p.value("SELECT id FROM _workers_runs WHERE key = 'fill'")
        for args in (("runs", "get", run), ("runs", "get", "zzz"), ("runs", "get", "0"), ("runs", "logs", run), ("runs", "logs", run, "--json"),
                     ("runs", "logs", "zzz"), ("deliveries", "get", self.delivery), ("deliveries", "get", "zzz"),
                     ("sync", "state", "get", "fill"), ("sync", "state", "get", "shrink"), ("sync", "state", "get", "double"), ("manifest",),
                     ("sync", "status", "fil"), ("sync", "status", "double")):
            with self.subTest(args):
                self.same(*args)
        self.assertIn('filling äöü "quoted"', self.there("runs", "logs", run).stdout)
        self.assertEqual(json.loads(self.there("sync", "state", "get", "fill").stdout)["text"], "ä")
        self.assertEqual(json.loads(self.there("deliveries", "get", self.delivery).stdout)["rawBody"], '{"x":1}')

    def test_queries(self):
        for sql in ("SELECT * FROM items ORDER BY _key", "SELECT 1 AS a, 2.5 AS a, NULL AS b, 'x' || char(10) || 'y' AS c, 1e300 AS d, 3.0 AS e",
                    "SELECT * FROM items WHERE 0", "SELECT count(*) FROM many", "SELEC 1", "SELECT 1; SELECT 2", "SELECT ?", "SELECT * FROM nowhere"):
            for form in ((), ("--plain",), ("--json",)):
                with self.subTest(sql, form=form):
                    self.same("db", "query", sql, *form)
        for args in (("items",), ("items", "--format", "json"), ("gone",), ("nowhere",)):
            with self.subTest(args):
                self.same("db", "export", *args)
        here, there = self.p.run("db", "export", "many"), self.there("db", "export", "many")
        self.assertEqual(there.stdout.count("\n"), 20001)
        self.assertEqual(here.stdout, there.stdout)

    def test_what_a_query_may_not(self):
        for sql, message in (("DELETE FROM items", r"error: only SELECT can be used here; nothing is written or attached"),
                             ("SELECT * FROM _workers_secrets", r"error: the table _workers_secrets"),
                             ("ATTACH '/etc/passwd' AS x", r"error: only SELECT can be used here"),
                             ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n", r"error: the query took more than 10 seconds"),
                             ("SELECT a.Name FROM many AS a, many AS b", r"error: the answer is larger than 16 MiB"),
                             ("SELECT randomblob(100000000)", r"error: .*too (large|big)")):
            with self.subTest(sql):
                refused = self.there("db", "query", sql, token="read")
                self.assertEqual((refused.returncode, refused.stdout), (1, ""))
                self.assertRegex(refused.stderr, message)

    def test_calls(self):
        for args in (("double", "-d", '{"n":21}'), ("double", "-d", '{"n":21}', "--json"), ("double", "-d", '{"n":21}', "--stream"), ("double",),
                     ("double", "-d", '{"n":"x"}'), ("double", "-d", '{"n":"x"}', "--json"), ("double", "-d", '{"n":13}'),
                     ("double", "-d", '{"n":13}', "--json"), ("double", "-d", '{"n":13}', "--stream"), ("doubel", "-d", "{}"),
                     ("note", "-d", '{"a":1}'), ("tidy",), ("hook", "-d", '{"request":{"method":"POST","headers":{},"rawBody":"","body":{},"query":{}}}')):
            with self.subTest(args):
                self.same("exec", *args)
        preview = self.there("exec", "fill", "-d", '{"state":{"n":5}}')
        self.assertEqual(json.loads(preview.stdout)["nextState"], {"n": 6, "text": "ä"})

    def test_pages_of_a_listing(self):
        now = int(time.time() * 1000)
        time_of_id = f"{now:012x}"  # what its id says is old is taken away meanwhile
        with self.p.database() as connection:
            connection.executemany("INSERT INTO _workers_runs(id, kind, key, exit_code, started_at, ended_at) VALUES(?, 'tool', 'old', 0, ?, ?)",
                                   [(f"{time_of_id[:8]}-{time_of_id[8:]}-7000-8000-{n:012d}", now, now) for n in range(2500)])
            connection.commit()
        try:
            for limit in (999, 1000, 1001, 2400, 99999):
                shown = json.loads(self.same("runs", "list", "--key", "old", "--limit", str(limit), "--json").stdout)
                self.assertEqual(len(shown), min(limit, 2500))
                self.assertEqual([run["id"] for run in shown], sorted({run["id"] for run in shown}, reverse=True))
        finally:
            with self.p.database() as connection:
                connection.execute("DELETE FROM _workers_runs WHERE key = 'old'")
                connection.commit()
        grow = self.p.value("SELECT id FROM _workers_runs WHERE key = 'grow'")
        self.assertEqual(self.same("runs", "logs", grow).stdout.count("line "), 2500)

    # ---- changes ----

    def test_syncs_are_paused_and_their_state_is_set(self):
        status = lambda: self.p.status("fill")["status"]  # noqa: E731
        self.assertEqual(self.ok(self.there("sync", "pause", "fill")).stderr, "fill: paused: workers sync resume lets it run again\n")
        self.assertEqual(status(), "DISABLED")
        self.assertEqual(self.ok(self.there("sync", "resume", "fill", token="run")).stderr, "fill: resumed\n")
        self.assertNotEqual(status(), "DISABLED")
        self.assertEqual(self.there("sync", "pause", "double").stderr, 'error: "double" is a tool, not a sync\n')
        before = self.p.run("sync", "state", "get", "fill").stdout
        self.assertEqual(self.ok(self.there("sync", "state", "set", "fill", "-", input='{"n": 40}')).stderr, "fill: state set\n")
        self.assertEqual(json.loads(self.p.run("sync", "state", "get", "fill").stdout), {"n": 40})
        self.ok(self.there("sync", "state", "reset", "fill"))
        self.assertEqual(self.p.run("sync", "state", "get", "fill").stdout, "null\n")
        self.same("sync", "state", "set", "shrink", "{}")
        self.same("sync", "state", "set", "fill", "{no json")
        self.ok(self.there("sync", "state", "set", "fill", before))

    def test_a_sync_is_triggered(self):
        shown = self.ok(self.there("sync", "trigger", "fill", "--json"))
        run = json.loads(shown.stdout)[0]
        self.assertEqual({name: run[name] for name in ("key", "result", "added", "unchanged", "pages")},
                         {"key": "fill", "result": "done", "added": 0, "unchanged": 3, "pages": 1})
        self.assertEqual(list(run), list(json.loads(self.p.run("sync", "trigger", "fill", "--json").stdout)[0]))
        self.assertRegex(self.there("sync", "trigger", "fill").stdout, r"^SYNC +RESULT +ADDED .*\nfill +done +0 ")
        failed = self.there("sync", "trigger", "broken", "--plain")
        self.assertEqual((failed.returncode, failed.stdout.split("\t")[:2]), (1, ["broken", "failed"]))
        self.assertRegex(failed.stderr, "error: .*no such luck")
        self.same("sync", "trigger", "nothing")
        preview = json.loads(self.ok(self.there("sync", "trigger", "fill", "--preview", "--context", '{"n":7}')).stdout)
        here = json.loads(self.p.run("sync", "trigger", "fill", "--preview", "--context", '{"n":7}').stdout)
        self.assertEqual({change.pop("targetDatabaseKey") for change in preview["changes"]}, {"items"})
        self.assertEqual(preview, here)
        failed = self.there("sync", "trigger", "broken", "--preview")
        self.assertEqual((failed.returncode, failed.stdout), (1, ""))
        self.assertRegex(failed.stderr, "error: ExecutionError: main.lua:\\d+: no such luck\n")

    def test_a_held_sweep_is_let_through(self):
        self.source.script("rows", [1])
        held = self.ok(self.there("sync", "trigger", "shrink", "--plain"))
        self.assertEqual(held.stdout.split("\t")[:2], ["shrink", "held"])
        self.assertRegex(held.stderr, r'held: sync "shrink": .* let it through with: workers sync trigger shrink --allow-deletes')
        self.assertEqual(self.p.value('SELECT count(*) FROM gone'), 37)
        done = self.ok(self.there("sync", "trigger", "shrink", "--allow-deletes", "--plain"))
        self.assertEqual(done.stdout.split("\t")[1], "done")
        self.assertEqual(self.p.value('SELECT count(*) FROM gone'), 1)
        self.assertEqual(self.ok(self.there("db", "restore", "gone", "r3")).stderr, "1 row restored\n")
        run = self.p.value("SELECT max(id) FROM _workers_runs WHERE key = 'shrink'")
        self.assertEqual(self.ok(self.there("db", "restore", "gone", "--run", run)).stderr, "35 rows restored\n")
        self.assertEqual(self.p.value('SELECT count(*) FROM gone'), 37)
        self.same("db", "restore", "gone", "r1")
        self.same("db", "restore", "nowhere", "--all")
        self.same("db", "restore", "gone")

    def test_a_log_is_followed(self):
        gate = threading.Event()
        self.source.script("gate", harness.Page({}, gate=gate))
        known = set(self.ids())
        self.there("capabilities", "enable", "slow")
        trigger = self.elsewhere.start("sync", "trigger", "slow", "--server", self.url, env={"WORKERS_TOKEN": self.tokens["run"]})
        run = harness.wait_until(lambda: [i for i in self.ids() if i not in known and self.p.value("SELECT key FROM _workers_runs WHERE id = ?", i) == "slow"],
                                 "the run")[0]
        follower = self.elsewhere.start("runs", "logs", run, "--follow", "--server", self.url, env={"WORKERS_TOKEN": self.tokens["read"]})
        self.assertRegex(follower.stdout.readline(), "info  before\n")
        status = json.loads(self.there("sync", "status", "slow", "--json").stdout)[0]
        self.assertEqual((status["running"], sorted(status["run"])), (True, ["pages", "rows", "rowsPerSecond"]))
        gate.set()
        out, err = follower.communicate(timeout=30)
        self.assertEqual((follower.returncode, err), (0, ""))
        self.assertEqual([line.split(" ", 1)[1] for line in out.splitlines() if " info " in line], ["info  after"])
        self.assertEqual(harness.finish(trigger)[0], 0)

    def test_webhooks_and_deliveries(self):
        old = json.loads(self.p.run("webhooks", "list", "--json").stdout)[0]["url"]
        self.ok(self.there("webhooks", "rotate", "hook"))
        url = json.loads(self.there("webhooks", "list", "--json").stdout)[0]["url"]
        self.assertNotEqual(url, old)
        self.assertEqual(self.ok(self.there("webhooks", "reset", "hook", token="run")).stderr, "webhook hook is open\n")
        self.same("webhooks", "reset", "hok")
        # Signed with what this project has, sent to where the server says.
        sender = self.project(SCRIPT, CONFIG)
        sender.write(".env", "HOOK_SECRET=sesame\n")
        send = lambda: self.there("webhooks", "send", "hook", "-d", '{"y":2}', "--event", "push", "--json", project=sender)  # noqa: E731
        sent = harness.wait_until(lambda: json.loads(send().stdout or "{}").get("body") if True else None, "the new address to be known")
        delivery = sent["deliveryId"] if "deliveryId" in sent else json.loads(send().stdout)["body"]["deliveryId"]
        state = lambda: json.loads(self.there("deliveries", "get", delivery).stdout)["state"]  # noqa: E731
        harness.wait_until(lambda: state() == "done", "the delivery")
        self.assertEqual(self.ok(self.there("deliveries", "replay", delivery, token="run")).stderr, "the delivery is ready again; workers serve runs it\n")
        harness.wait_until(lambda: len(self.p.rows("SELECT 1 FROM _workers_runs WHERE delivery_id = ?", delivery)) == 2, "the second run")
        self.same("deliveries", "replay", "zzz")

    def test_capabilities_tokens_and_variables(self):
        self.assertEqual(self.ok(self.there("capabilities", "disable", "tidy")).stderr, "tidy: disabled: workers capabilities enable lets it run again\n")
        self.same("capabilities", "list", "--plain")
        self.assertEqual(self.ok(self.there("capabilities", "enable", "tidy")).stderr, "tidy: enabled\n")
        self.same("capabilities", "disable", "double")
        made = self.ok(self.there("tokens", "make", "extra", "--scope", "run")).stdout.strip()
        harness.wait_until(lambda: self.there("runs", "list", token=made).returncode == 0, "the token to be known")
        self.same("tokens", "make", "extra")
        self.ok(self.there("tokens", "revoke", "extra"))
        self.same("tokens", "revoke", "extra")
        self.assertEqual(self.ok(self.there("env", "set", "ONE=1", "TWO", input="zwei \"ü\"\n")).stderr, "set ONE\nset TWO\n")
        self.assertEqual(self.p.run("env", "list", "--plain").stdout.count("\n"), 4)
        shown = self.there("env", "list", "--json").stdout + self.p.dump() + self.server.text()
        self.assertNotIn("zwei", shown)
        for argument in ("1BAD=x", "A\udcff=x", "BAD=\udcff"):
            self.same("env", "set", argument)
        self.ok(self.there("env", "unset", "ONE", "TWO"))
        self.same("env", "unset", "ONE")

    # ---- what is wrong ----

    def fails(self, result, message, code=1):
        self.assertEqual((result.returncode, result.stdout), (code, ""), result.stderr)
        self.assertRegex(result.stderr, f"^{message}\n")
        self.assertNotIn("workers_0", result.stderr)

    def test_scopes(self):
        for args, needed in ((("sync", "state", "set", "fill", "{}"), "admin"), (("sync", "pause", "fill"), "run"), (("webhooks", "list"), "admin"),
                             (("exec", "double", "-d", '{"n":1}'), "run"), (("env", "set", "A=1"), "admin"), (("db", "restore", "gone", "--all"), "admin")):
            with self.subTest(args):
                self.fails(self.there(*args, token="read"), f'error: {self.url}: the token has the scope "read"; this needs "{needed}"')

    def test_tokens_that_are_no_good(self):
        self.fails(self.there("runs", "list", token="workers_" + "0" * 64),
                   rf"error: {self.url} does not know the token, or does not serve this worker: make a token in the project there \(workers tokens make NAME "
                   r"--scope admin\) and set WORKERS_TOKEN to it")
        self.fails(self.there("runs", "list", token=None), rf"error: there is no token for {self.url}: make one .* and set WORKERS_TOKEN to it.*")
        self.fails(self.there("runs", "list", "--worker", "other"), f"error: {self.url} does not know the token, or does not serve this worker: .*")

    def test_where_a_token_comes_from(self):
        # The project's own file, on this machine.
        self.ok(self.there("runs", "list", token=None, project=self.p))
        project = self.project(SCRIPT, CONFIG)
        project.write(".env", f"WORKERS_TOKEN={self.tokens['read']}\n")
        self.ok(self.there("runs", "list", token=None, project=project))
        project.write(".env", "WORKERS_TOKEN=nonsense\n")
        self.assertEqual(self.there("runs", "list", token=None, project=project).returncode, 1)
        self.ok(self.there("runs", "list", project=project))
        # No script may have it.
        project.write("leak.lua", 'local w = require "workers".new() w:tool("leak", { title = "t", description = "d", '
                      'schema = require "workers".j.object {}, execute = function() return { got = require "workers.env".get "WORKERS_TOKEN" or "nothing" } end }) return w')
        self.assertEqual(json.loads(project.run("exec", "leak", "--script", "leak.lua", env={"WORKERS_TOKEN": "x"}).stdout), {"got": "nothing"})

    def test_server_in_workers_yaml(self):
        project = self.project(SCRIPT, CONFIG + f"server: {self.url}/\n")
        project.write(".env", f"WORKERS_TOKEN={self.tokens['admin']}\n")
        env = {}
        self.assertEqual(project.run("runs", "list", "--plain", env=env).stdout, self.p.run("runs", "list", "--plain").stdout)
        self.assertIn("there is no store yet", project.run("runs", "list", "--server", "local", env=env).stderr)
        self.assertFalse((project.folder / ".workers").exists())
        self.ok(project.run("check", env=env))
        self.ok(project.run("manifest", "main.lua"))

    def test_a_token_goes_where_a_person_said(self):
        upstream = harness.Upstream()
        self.addCleanup(upstream.close)
        upstream.script("/api/v1/workers/shop/runs", [])
        project = self.project(SCRIPT, CONFIG + f"server: {upstream.url}\n")
        env = {"WORKERS_TOKEN": "mine"}
        self.fails(project.run("runs", "list", env=env), rf"error: only workers.yaml names {upstream.url}, and the environment's WORKERS_TOKEN does not go "
                   r"where no person said: name it with --server or in WORKERS_SERVER, or put its token into .env")
        self.assertEqual(upstream.count("/api/v1/workers/shop/runs"), 0)
        self.ok(project.run("runs", "list", env=env | {"WORKERS_SERVER": upstream.url}))
        self.ok(project.run("runs", "list", "--server", upstream.url, env=env))
        self.assertEqual(upstream.count("/api/v1/workers/shop/runs"), 2)
        self.assertIn("there is no store yet", project.run("runs", "list", "--server", "local", env=env | {"WORKERS_SERVER": upstream.url}).stderr)

    def test_urls(self):
        for url, message in (("http://example.com", r"error: http://example.com would get the token in the clear: use https://, or a tunnel .*"),
                             ("http://10.0.0.1:8321", r"error: http://10.0.0.1:8321 would get the token in the clear: .*"),
                             ("http://127.0.0.1.example.com", r"error: .* would get the token in the clear: .*"),
                             ("example.com", r'error: a server is named by its URL, such as https://workers.example.com, or by the word local; not by "example.com"'),
                             ("ftp://example.com", r"error: a server is named by its URL, .*"),
                             ("http://user@localhost", r"error: the URL of a server has a host, and no user, query or fragment"),
                             ("http://localhost?x", r"error: the URL of a server has a host, and no user, query or fragment"),
                             (f"http://127.0.0.1:{harness.free_port()}", r"error: http://127.0.0.1:\d+ cannot be asked: .*127.0.0.1.*"),
                             ("https://localhost:1", r"error: https://localhost:1 cannot be asked: .*")):
            with self.subTest(url):
                self.fails(self.there("runs", "list", "--worker", "shop", url=url), message)

    def test_servers_that_are_none(self):
        upstream = harness.Upstream()
        self.addCleanup(upstream.close)
        answers = {
            "html": (harness.Page(b"<html>hello</html>"), r"error: {} did not answer as workers serve does \(status 200\): is it the right URL, .*"),
            "gateway": (harness.Page(b"bad gateway", status=502), r"error: {} did not answer as workers serve does \(status 502\): .*"),
            "moved": (harness.Page(b"", status=302, headers=[("Location", self.url + "/api/v1/workers/shop/runs")]),
                      r"error: {} sends elsewhere \(status 302\); give the address it has there"),
            "half": (harness.Page(b'[{"id":"x"'), r"error: {} did not answer as workers serve does \(status 200\): .*"),
            "other": (harness.Page({"runs": []}), r"error: the answer is no list: is the server of another version\?"),
            "terminal": (harness.Page({"error": {"code": "x", "message": "red \x1b[31m\nline"}}, status=422), r"error: red  \[31m line"),
            "gone": (harness.Page(b"", drop=True), r"error: {} cannot be asked: .*"),
        }
        for name, (page, message) in answers.items():
            with self.subTest(name):
                upstream.script(f"/{name}/api/v1/workers/shop/runs", page)
                url = f"{upstream.url}/{name}"
                self.fails(self.there("runs", "list", "--worker", "shop", url=url), message.format(url))
        self.assertEqual(upstream.count("/api/v1/workers/shop/runs"), 0)

    def test_which_worker(self):
        upstream = harness.Upstream()
        self.addCleanup(upstream.close)
        upstream.script("/api/v1/workers", [{"name": "a"}, {"name": "b"}])
        upstream.script("/api/v1/workers/b/runs", [])
        self.fails(self.there("runs", "list", url=upstream.url), f"error: {upstream.url} serves 2 workers of this token: name one with --worker NAME")
        self.ok(self.there("runs", "list", "--worker", "b", url=upstream.url))

    def test_commands_that_are_for_this_machine(self):
        for args in (("run",), ("serve",), ("new", "x"), ("test",), ("check",), ("types",), ("version",)):
            result = self.there(*args)
            self.assertEqual((result.returncode, result.stderr), (2, f"error: {args[0]} works on this machine only, and takes no --server\n"
                                                                     f"Help: workers {args[0]} --help\n"), args)
        for args, message in ((("manifest", "main.lua"), "a script is on this machine: --server goes without one"),
                              (("exec", "double", "--script", "main.lua"), "a script is on this machine: --server goes without --script")):
            self.assertIn(message, self.there(*args).stderr)
        self.assertIn("--worker goes with --server", self.p.run("runs", "list", "--worker", "shop").stderr)
        self.assertIn("--server needs a value: URL|local", self.p.run("runs", "list", "--server").stderr)


if __name__ == "__main__":
    os.environ.setdefault("TMPDIR", tempfile.gettempdir())
    harness.main()
