"""workers serve: schedules on an accelerated clock, retries, reloads, stops, kills, processes that share a store."""
import collections
import datetime
import http.client
import json
import os
import pathlib
import random
import re
import signal
import socket
import sqlite3
import struct
import sys
import threading
import time
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import cron  # noqa: E402
import harness  # noqa: E402
from harness import Server  # noqa: E402

MOVED_CLOCK = os.environ.get("WORKERS_MOVED_CLOCK")
FAKETIME = next(iter(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)

HEAD = """
local workers = require "workers"
local Schema = workers.schema
local worker = workers.new()
local items = worker:database("items", { type = "managed", initialTitle = "Items", primaryKeyProperty = "Id",
  schema = { properties = { Name = Schema.title(), Id = Schema.richText() } } })
"""


def utc(ms):
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc)


class ServeTest(harness.TestCase):
    def project(self, script, config="name: test\nmain: main.lua\n"):
        project = harness.Project(HEAD + script + "\nreturn worker\n", config)
        self.addCleanup(project.close)
        return project

    def accelerated(self, start, speed):
        if FAKETIME is None:
            self.skipTest("libfaketime is not installed (Debian package faketime)")
        if harness.sanitized():
            self.skipTest("libfaketime and AddressSanitizer do not go together")
        return {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"@{start} x{speed}", "TZ": "UTC"}

    def value(self, project, sql, *parameters):
        """What a query gives, also while the server is still making the store: then None."""
        try:
            return project.value(sql, *parameters) if project.store.exists() else None
        except sqlite3.OperationalError:
            return None

    def trigger(self, project, key):
        """Asks the server for a run, as another process would."""
        def ask():
            with project.database() as database:
                changed = database.execute("UPDATE _workers_schedules SET triggered_at = 1 WHERE key = ?", (key,)).rowcount
                database.commit()
                return changed == 1

        harness.wait_until(ask, "the schedule")

    def ended(self, project, where="1"):
        return self.value(project, f"SELECT count(*) FROM _workers_runs WHERE ended_at IS NOT NULL AND {where}") or 0


class Schedules(ServeTest):
    def test_an_hour_gives_exactly_the_expected_runs(self):
        """Two syncs, two jobs, a webhook and an automation for an hour: what is recorded is what was due, and nothing else."""
        project = self.project("""
worker:sync("grows", { database = items, mode = "incremental", schedule = "10m", execute = function(state)
  local n = (state and state.n or 0) + 1
  return { changes = { { type = "upsert", key = ("k%03d"):format(n), properties = { Name = "x" } } }, hasMore = false, nextState = { n = n } }
end })
worker:sync("replaces", { database = worker:database("others", { type = "managed", initialTitle = "Others", primaryKeyProperty = "Id",
    schema = { properties = { Name = Schema.title(), Id = Schema.richText() } } }), schedule = { cron = "5,35 * * * *" },
  execute = function() return { changes = { { type = "upsert", key = "a", properties = { Name = "same" } } }, hasMore = false } end })
worker:sync("byHand", { database = items, mode = "incremental", schedule = "manual",
  execute = function() return { changes = {}, hasMore = false, nextState = { n = 1 } } end })
worker:job("quarters", { title = "Q", description = "Every quarter of an hour.", schedule = { cron = "*/15 * * * *" },
  execute = function(input, ctx) return ctx.scheduledAt end })
worker:job("atSix", { title = "S", description = "Once a day.", schedule = { cron = "0 6 * * *", timezone = "Europe/Berlin" },
  execute = function() end })
worker:webhook("hook", { title = "H", description = "d", execute = function() end })
worker:automation("onGrowth", { title = "O", description = "d", trigger = { database = items, on = { "insert" } }, execute = function() end })
""")
        server = Server(project, env=self.accelerated("2026-01-15 04:30:30", 400))
        end = 1768455030000
        now = lambda: self.value(project, "SELECT max(started_at) FROM _workers_runs") or 0  # noqa: E731
        host, path = server.webhook("hook")
        for minute in range(0, 60, 5):  # an hour takes nine seconds
            harness.wait_until(lambda: now() >= 1768451430000 + minute * 60000 - 300000, "five minutes to pass")
            connection = http.client.HTTPConnection(host, timeout=30)
            connection.request("POST", path, json.dumps({"minute": minute}))
            self.assertEqual(connection.getresponse().status, 202)
            connection.close()
        harness.wait_until(lambda: now() >= end, "an hour to pass")
        self.assertEqual(server.stop(), 0, server.text())

        # Each run is the first attempt at something, and went well.
        self.assertEqual(project.rows("SELECT DISTINCT attempt, exit_code FROM _workers_runs"), [(1, 0)])
        ticks = collections.defaultdict(list)
        for key, started, tick in project.rows(
                "SELECT r.key, r.started_at, d.tick_at FROM _workers_runs AS r LEFT JOIN _workers_deliveries AS d ON"
                " d.id = r.delivery_id WHERE r.started_at < ? ORDER BY r.id", end):
            ticks[key].append(utc(tick if tick else started))
        self.assertEqual(set(ticks), {"grows", "replaces", "quarters", "atSix", "hook", "onGrowth"})
        self.assertEqual([f"{t:%H:%M}" for t in ticks["quarters"]], ["04:45", "05:00", "05:15", "05:30"])
        self.assertEqual([f"{t:%H:%M}" for t in ticks["atSix"]], ["05:00"])
        self.assertEqual(len(ticks["hook"]), 12)
        # A sync with an interval runs at the start, then on the grid of its key; one with cron at its minutes.
        grid = project.value("SELECT next_at FROM _workers_schedules WHERE key = 'grows'") % 600000
        due = {"grows": [1768451430000, *range(1768451430000 + (grid - 1768451430000) % 600000, end, 600000)],
               "replaces": [1768451700000, 1768453500000]}
        for key, moments in due.items():
            for tick, moment in zip(ticks[key], map(utc, moments), strict=True):
                self.assertTrue(0 <= (tick - moment).total_seconds() < 240, (key, tick, moment))
        self.assertEqual(len(ticks["onGrowth"]), len(ticks["grows"]))
        self.assertEqual({counts for counts in project.rows("SELECT pages, added, changed, unchanged FROM _workers_runs WHERE key = 'grows'")},
                         {(1, 1, 0, 0)})
        self.assertEqual(project.rows("SELECT added, unchanged, count(*) FROM _workers_runs WHERE key = 'replaces' GROUP BY 1, 2 ORDER BY 1"),
                         [(0, 1, 1), (1, 0, 1)])

    def test_zone_transitions(self):
        """Around transitions of 2024 to 2027 in five zones: each tick that is due runs, and runs once."""
        zones = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago")
        windows = [(zone, moment) for zone in zones for moment in cron.clocks(zone).transitions]
        self.assertEqual(len(windows), 40)
        seed = int(os.environ.get("WORKERS_SEED") or random.SystemRandom().randrange(1 << 31))
        if not cron.FULL:
            windows = random.Random(seed).sample(windows, 3)
        ticks = 0
        for zone, moment in windows:
            shown = cron.clocks(zone).shows(moment)
            # The time of the day that is skipped or repeated, those around it, and what ticks by elapsed time.
            times = {(shown + step) % 1440 for step in range(-75, 80, 25)}
            expressions = [f"{time % 60} {time // 60} * * *" for time in times] + ["*/20 * * * *", "*/15 0-4 * * *", "30 * * * *"]
            with self.subTest(zone=zone, moment=str(cron.naive_of(moment)), seed=seed):
                ticks += self.transition(zone, moment, expressions)
        print(f"{ticks} ticks around {len(windows)} transitions (seed {seed})", flush=True)

    def transition(self, zone, moment, expressions):
        project = self.project("".join(f"""
worker:job("job{n}", {{ title = "J", description = "d", execute = function() end,
  schedule = {{ cron = "{expression}", timezone = "{zone}", missed = "all" }} }})
""" for n, expression in enumerate([*expressions, "* * * * *"])))
        start, end = moment - 120, moment + 120
        server = Server(project, env=self.accelerated(f"{cron.naive_of(start)}".replace("T", " "), 3000))
        clock = f"job{len(expressions)}"
        harness.wait_until(lambda: (self.value(project, "SELECT max(tick_at) FROM _workers_deliveries WHERE key = ?", clock) or 0)
                           >= end * 60000, "the time to pass")
        harness.wait_until(lambda: not self.value(project, "SELECT 1 FROM _workers_deliveries WHERE state <> 'done' AND tick_at <= ?",
                                                  end * 60000), "the last runs")
        self.assertEqual(server.stop(), 0, server.text())
        # From the first minute on that the server was there for.
        first = project.value("SELECT min(tick_at) FROM _workers_deliveries WHERE key = ?", clock) // 60000 - 1
        self.assertLess(first, moment - 60, "the server came too late")
        count = 0
        for n, expression in enumerate(expressions):
            expected = cron.clocks(zone).ticks(cron.Expression(expression), first, end)
            got = [tick for tick, in project.rows(
                "SELECT d.tick_at FROM _workers_runs AS r JOIN _workers_deliveries AS d ON d.id = r.delivery_id"
                " WHERE d.key = ? AND d.tick_at <= ? AND r.exit_code = 0 ORDER BY d.tick_at", f"job{n}", end * 60000)]
            self.assertEqual([str(utc(tick)) for tick in got], [str(utc(tick)) for tick in expected], f"{expression} in {zone}")
            count += len(got)
        return count

    def missed(self, policy):
        """What runs after a server was away for four hours: the number of runs of an hourly job."""
        project = self.project(f"""
worker:job("hourly", {{ title = "H", description = "d", schedule = {{ cron = "0 * * * *", missed = "{policy}" }}, execute = function() end }})
worker:job("clock", {{ title = "C", description = "Shows how far it is.", schedule = {{ cron = "* * * * *" }}, execute = function() end }})
""")
        server = Server(project, env=self.accelerated("2026-01-15 04:30:10", 100))
        harness.wait_until(lambda: self.ended(project) > 0, "the first tick")
        self.assertEqual(server.stop(), 0)
        before = project.value("SELECT count(*) FROM _workers_runs WHERE key = 'hourly'")
        self.assertEqual(before, 0)
        clock = project.value("SELECT count(*) FROM _workers_runs WHERE key = 'clock'")
        server = Server(project, env=self.accelerated("2026-01-15 08:30:10", 100))
        harness.wait_until(lambda: self.ended(project, "key = 'clock'") > clock + 1, "a tick after the pause")
        self.assertEqual(server.stop(), 0)
        return [f"{utc(t):%H:%M}" for t, in project.rows(
            "SELECT tick_at FROM _workers_deliveries WHERE key = 'hourly' AND state = 'done' ORDER BY tick_at")]

    def test_missed_ticks_run_once(self):
        self.assertEqual(self.missed("once"), ["08:00"])

    def test_missed_ticks_are_skipped(self):
        self.assertEqual(self.missed("skip"), [])

    def test_missed_ticks_all_run(self):
        self.assertEqual(self.missed("all"), ["05:00", "06:00", "07:00", "08:00"])


class Runs(ServeTest):
    def test_a_job_that_fails_is_tried_four_times(self):
        project = self.project("""
worker:job("fails", { title = "F", description = "d", schedule = { cron = "0 5 * * *" },
  execute = function(input, ctx) error("attempt " .. ctx.attempt) end })
""")
        server = Server(project, env=self.accelerated("2026-01-15 04:59:50", 60))
        harness.wait_until(lambda: self.ended(project) == 4, "four attempts")
        self.assertEqual(server.stop(), 0)
        runs = project.rows("SELECT attempt, started_by, exit_code, error, traceback FROM _workers_runs ORDER BY id")
        self.assertEqual([run[:3] for run in runs], [(1, "schedule", 1), (2, "retry", 1), (3, "retry", 1), (4, "retry", 1)])
        self.assertIn("main.lua:", runs[3][3])
        self.assertIn("attempt 4", runs[3][3])
        self.assertIn("in function <main.lua:", runs[3][4])
        self.assertEqual(project.rows("SELECT state, attempts, kind, key FROM _workers_deliveries"), [("dead", 4, "job", "fails")])

    def test_a_sync_that_fails_goes_on_where_it_stopped(self):
        project = self.project("""
worker:sync("pages", { database = items, mode = "incremental", schedule = "1h", execute = function(state)
  local page = state and state.page or 1
  if page == 2 and require("workers.kv").increment("tries") < 3 then error("not yet") end
  return { changes = { { type = "upsert", key = tostring(page), properties = { Name = "x" } } }, hasMore = page < 3,
           nextState = { page = page + 1 } }
end })
""")
        server = Server(project, env=self.accelerated("2026-01-15 04:59:50", 60))
        harness.wait_until(lambda: self.ended(project, "exit_code = 0") == 1, "the end")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(project.rows("SELECT attempt, started_by, exit_code, pages FROM _workers_runs ORDER BY id"),
                         [(1, "schedule", 1, 1), (2, "retry", 1, 0), (3, "retry", 0, 2)])
        self.assertEqual(project.value("SELECT count(*) FROM items"), 3)
        self.assertEqual(project.status("pages")["status"], "HEALTHY")

    def test_short_runs_in_a_row_share_isolates(self):
        project = self.project("""
local log, uses = require "workers.log", 0
worker:job("short", { title = "S", description = "d", schedule = { cron = "0 0 29 2 *" }, execute = function()
  uses = uses + 1
  log.info("use " .. uses)
end })
""")
        server = Server(project)
        harness.wait_until(lambda: self.value(project, "SELECT 1 FROM _workers_schedules"), "the store")
        self.assertEqual(server.stop(), 0, server.text())
        with project.database() as database, database:
            for number in range(300):  # without a lane, so that they run side by side
                name = f"01900000-0000-7000-8000-{number:012}"
                database.execute("INSERT INTO _workers_deliveries(id, kind, key, state, due_at, created_at, started_by)"
                                 " VALUES(?, 'job', 'short', 'ready', 1, 1, 'api')", (name,))
                database.execute("INSERT INTO _workers_payloads(id, event) VALUES(?, 'null')", (name,))
        server = Server(project)
        harness.wait_until(lambda: self.ended(project, "exit_code = 0") == 300, "the end of all")
        self.assertEqual(server.stop(), 0, server.text())
        uses = [text for text, in project.rows("SELECT text FROM _workers_logs WHERE run_id IS NOT NULL", name="logs.db")]
        self.assertEqual(len(uses), 300)
        # Each isolate has a first use. A turn takes up to 64 of them.
        self.assertLess(uses.count("use 1"), 16, collections.Counter(uses).most_common(3))

    def test_few_permits_and_nothing_to_do(self):
        project = self.project("")
        server = Server(project, "--concurrency", "2")
        harness.wait_until(lambda: server.url, "the server")
        [child] = server.children()

        def seconds():
            fields = pathlib.Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        before, end = seconds(), time.monotonic() + 1.5
        harness.wait_until(lambda: time.monotonic() > end)
        self.assertLess(seconds() - before, 0.5, "it waits without computing")

    def test_a_worker_that_rested_works_and_logs_again(self):
        project = self.project("""
worker:job("rare", { title = "R", description = "d", schedule = { cron = "*/5 * * * *" },
  execute = function(input, ctx) require("workers.log").info("at " .. ctx.scheduledAt) end })
""")
        server = Server(project, env=self.accelerated("2026-01-15 04:59:50", 60))
        harness.wait_until(lambda: self.ended(project) >= 3, "three runs, with minutes of rest between them")
        self.assertEqual(server.stop(), 0, server.text())
        self.assertEqual(project.rows("SELECT text FROM _workers_logs WHERE run_id IS NOT NULL ORDER BY id LIMIT 3", name="logs.db"),
                         [("at 2026-01-15T05:00:00.000Z",), ("at 2026-01-15T05:05:00.000Z",), ("at 2026-01-15T05:10:00.000Z",)])
        self.assertEqual(project.value("SELECT count(*) FROM _workers_runs WHERE exit_code <> 0"), 0)

    def test_a_token_is_known_from_the_first_moment(self):
        """Also while somebody else writes, so that the server's own first look at the store has to wait."""
        project = self.project("")
        server = Server(project)
        self.assertTrue(server.url)
        token = (project.folder / ".workers/token").read_text().strip()
        server.stop()
        other = sqlite3.connect(project.store, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        server = Server(project)
        server.wait_for("listening on ", 2)
        port = re.findall(r"listening on 127.0.0.1:(\d+)", server.text())[-1]
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/workers", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            self.assertEqual(answer.status, 200)
        other.execute("ROLLBACK")

    def test_folders_that_are_no_projects(self):
        """Not even where the current folder has what a script alone has left behind."""
        alone = self.project("")
        (alone.folder / "workers.yaml").unlink()
        (alone.folder / ".workers").mkdir()
        (alone.folder / ".workers/worker.db").touch()
        (alone.folder / "empty").mkdir()
        for folder, message in (("gone", "the folder cannot be opened: No such file or directory"),
                                ("empty", "there is no workers.yaml here or in a folder above")):
            result = alone.run("serve", "--listen", "127.0.0.1:0", folder)
            self.assertEqual(result.returncode, 1, result.stderr)
            self.assertIn(f"error: {folder}: {message}", result.stderr)

    def test_permissions_are_closed(self):
        project = self.project("""
worker:sync("probe", { database = items, schedule = "1h", execute = function()
  local http, fs, env = require "workers.http", require "workers.fs", require "workers.env"
  local net, why = pcall(http.get, "http://127.0.0.1:9/")
  local read, what = pcall(fs.read, "main.lua")
  return { hasMore = false, changes = {
    { type = "upsert", key = "net", properties = { Name = tostring(net) .. tostring(why.message or why) } },
    { type = "upsert", key = "read", properties = { Name = tostring(read) .. tostring(what) } },
    { type = "upsert", key = "env", properties = { Name = tostring(env.get("OUTSIDE")) .. tostring(env.get("OWN")) } } } }
end })
""")
        project.write(".env", "OWN=mine\n")
        server = Server(project, env={"OUTSIDE": "yes"})
        harness.wait_until(lambda: self.ended(project) == 1, "the run")
        server.stop()
        found = dict(project.rows("SELECT _key, name FROM items"))
        self.assertIn("permissions: { net: [", found["net"])
        self.assertIn("permissions: { read: [", found["read"])
        self.assertEqual(found["env"], "nilmine")


class Automations(ServeTest):
    SCRIPT = """
worker:sync("source", { database = items, mode = "incremental", schedule = "manual", execute = function(state)
  local n = (state and state.n or 0) + 1
  local steps = {
    { { type = "upsert", key = "a", properties = { Name = "one" } }, { type = "upsert", key = "b", properties = { Name = "one" } } },
    { { type = "upsert", key = "a", properties = { Name = "two" } }, { type = "upsert", key = "b", properties = { Name = "one" } } },
    { { type = "upsert", key = "a", properties = { Name = "three" } }, { type = "delete", key = "b" } },
  }
  return { changes = steps[n] or {}, hasMore = n < 3, nextState = { n = n } }
end })
local kv = require "workers.kv"
local function note(list, event)
  local seen = kv.get(list) or workers.array {}
  seen[#seen + 1] = event
  kv.set(list, seen)
end
worker:automation("all", { title = "A", description = "d", trigger = { database = items },
  execute = function(event, ctx)
    if event.key == "a" and event.type == "update" and ctx.attempt == 1 then error("once more") end
    note("all:" .. event.key, { event.type, event.row and event.row.Name or workers.null, event.before and event.before.Name or workers.null,
                                event.id == ctx.deliveryId, ctx.attempt })
  end })
worker:automation("some", { title = "S", description = "d",
  trigger = { database = items, on = { "update" }, when = function(event) return event.row.Name == "three" end },
  execute = function(event) note("some", { event.type, event.key, event.row.Name, event.before.Name }) end })
"""

    def test_changes_of_rows_arrive_in_order(self):
        project = self.project(self.SCRIPT)
        # The clock runs fast, so that what failed is soon tried again.
        server = Server(project, env=self.accelerated("2026-01-15 04:00:00", 20))
        server.wait_for("created table")
        self.trigger(project, "source")
        harness.wait_until(lambda: self.value(project, "SELECT count(*) FROM _workers_deliveries WHERE state = 'done'") == 7, "seven events")
        self.assertEqual(server.stop(), 0, server.text())
        kv = {key: json.loads(value) for key, value in project.rows("SELECT key, value FROM _workers_kv")}
        self.assertEqual(kv["all:a"], [["insert", "one", None, True, 1], ["update", "two", "one", True, 2], ["update", "three", "two", True, 2]])
        self.assertEqual(kv["all:b"], [["insert", "one", None, True, 1], ["delete", None, "one", True, 1]])
        self.assertEqual(kv["some"], [["update", "a", "three", "two"]])
        # An event that when has declined leaves no run.
        self.assertEqual(project.rows("SELECT key, count(*), sum(exit_code) FROM _workers_runs WHERE kind = 'automation' GROUP BY key ORDER BY key"),
                         [("all", 7, 2), ("some", 1, 0)])

    def test_a_page_that_is_not_committed_fires_nothing(self):
        project = self.project(self.SCRIPT.replace('{ type = "delete", key = "b" }', '{ type = "upsert", key = "c", properties = { Nme = "x" } }'))
        server = Server(project)
        server.wait_for("created table")
        self.trigger(project, "source")
        server.wait_for("sync failed")
        server.stop()
        self.assertEqual(project.rows("SELECT kind, key, count(*) FROM _workers_deliveries GROUP BY key ORDER BY key"),
                         [("automation", "all", 3), ("automation", "some", 1)])


class Alerts(ServeTest):
    SCRIPT = """
local kv = require "workers.kv"
worker:sync("shaky", { database = items, mode = "incremental", schedule = "1m", execute = function()
  local n = kv.increment("n")
  if n <= 5 then error("no luck") end
  return { changes = {}, hasMore = false, nextState = { n = n } }
end })
worker:sync("stuck", { database = items, mode = "incremental", schedule = "5m", execute = function()
  if kv.increment("m") > 1 then workers.sleep(800) end
  return { changes = {}, hasMore = false, nextState = { n = 1 } }
end })
worker:onAlert(function(alert, ctx)
  if alert.type == "ERROR" and ctx.attempt == 1 then error("try again") end
  local seen = kv.get("alerts:" .. alert.sync) or workers.array {}
  seen[#seen + 1] = { alert.type, alert.worker, alert.message or workers.null, alert.lastSuccessAt ~= nil }
  kv.set("alerts:" .. alert.sync, seen)
end)
"""

    def test_an_alert_for_each_transition(self):
        project = self.project(self.SCRIPT)
        server = Server(project, env=self.accelerated("2026-01-15 04:00:00", 120))
        seen = lambda sync: json.loads(self.value(project, "SELECT value FROM _workers_kv WHERE key = ?", "alerts:" + sync) or "[]")  # noqa: E731
        harness.wait_until(lambda: len(seen("shaky")) >= 2 and len(seen("stuck")) >= 1, "the alerts", 60)
        self.assertEqual(server.stop(), 0, server.text())
        # Five failures in a row are one alert, although it took two attempts to tell it.
        self.assertEqual(seen("shaky")[:2], [["ERROR", "test", "main.lua:11: no luck", False], ["RECOVERED", "test", None, True]])
        self.assertEqual(seen("stuck")[0], ["STALE", "test", None, True])

    def test_alerts_are_posted(self):
        received = []

        class Receiver(harness.HttpHandler):
            def do_POST(self):
                received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        receiver = harness.HttpService(Receiver)
        self.addCleanup(receiver.close)
        project = self.project(f"""
worker:sync("fails", {{ database = items, schedule = "1m", execute = function() error("no luck") end }})
worker:onAlert(require("workers.alerts").slack {{ url = "{receiver.url}/" }})
""", 'name: test\nmain: main.lua\npermissions: { net: ["127.0.0.1"] }\n')
        server = Server(project, env=self.accelerated("2026-01-15 04:00:00", 120))
        harness.wait_until(lambda: received, "the alert")
        server.stop()
        self.assertEqual(received, [{"text": "test: sync fails fails: main.lua:8: no luck"}])


class Retention(ServeTest):
    RUNS = 1000000 if os.environ.get("WORKERS_FULL") else 20000
    LINES = 1000000 if os.environ.get("WORKERS_FULL") else 10000  # of 1,000 bytes

    def test_records_and_logs_stay_within_their_bytes(self):
        config = "name: test\nmain: main.lua\nretention: { history: 2MiB, logs: 2MiB }\n"
        project = self.project('worker:job("job", { title = "J", description = "d", execute = function() end })', config)
        server = Server(project)
        harness.wait_until(lambda: self.value(project, "SELECT count(*) FROM _workers_schedules"), "the store")
        server.stop()
        with project.database() as database:
            for n in range(self.RUNS):
                id = f"019bbfcf-{n:08x}"[:13] + f"-7{n % 4096:03x}-8000-{n:012x}"
                database.execute("INSERT INTO _workers_runs(id, kind, key, started_at, ended_at, exit_code) VALUES(?, 'job', 'job', 1, 2, 0)", (id,))
                if n % 10 == 0:
                    database.execute("INSERT INTO _workers_deliveries(id, kind, key, state, due_at, created_at, ended_at, started_by)"
                                     " VALUES(?, 'job', 'job', ?, ?, 1, ?, 'api')", (id, *(("ready", 2 ** 42, None) if n == 0 else ("done", 1, 2))))
                    database.execute("INSERT INTO _workers_payloads(id, event) VALUES(?, ?)", (id, json.dumps("x" * 2000)))
            database.commit()
        with project.database("logs.db") as logs:
            logs.execute("PRAGMA auto_vacuum = INCREMENTAL")
            logs.execute("CREATE TABLE IF NOT EXISTS _workers_logs(id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT, at INTEGER NOT NULL, level TEXT NOT NULL, text TEXT NOT NULL)")
            logs.executemany("INSERT INTO _workers_logs(run_id, at, level, text) VALUES('r', 1, 'info', ?)", (("y" * 1000,) for _ in range(self.LINES)))
            logs.commit()
        before = project.store.stat().st_size, (project.folder / ".workers/logs.db").stat().st_size
        server = Server(project, env=self.accelerated("2026-01-15 04:00:00", 30))
        harness.wait_until(lambda: project.value("SELECT count(*) FROM _workers_runs") <= 2 ** 20 // 400 + 1
                           and project.rows("SELECT sum(length(text)) FROM _workers_logs", name="logs.db")[0][0] < 2 ** 21
                           and project.value("SELECT count(*) FROM _workers_deliveries") < 600, "the end of the housekeeping", 120)
        server.stop()
        project.run("db", "list")  # the log of the database is written into it
        after = project.store.stat().st_size, (project.folder / ".workers/logs.db").stat().st_size
        self.assertGreater(project.value("SELECT count(*) FROM _workers_runs"), 2000)
        # What has not ended stays, however old.
        self.assertEqual(project.value("SELECT count(*) FROM _workers_deliveries WHERE id LIKE '019bbfcf-0000%' AND started_by = 'api' AND kind = 'job'"
                                       " AND id = (SELECT min(id) FROM _workers_deliveries)"), 1)
        self.assertEqual(project.value("SELECT count(*) FROM _workers_payloads"), project.value("SELECT count(*) FROM _workers_deliveries"))
        self.assertLess(after[0], min(before[0], 6 * 2 ** 20))
        self.assertLess(after[1], min(before[1], 4 * 2 ** 20))

    def test_files_stay_small_while_runs_go_by(self):
        """Also when much more is written than may be kept, and the ten minutes until the next housekeeping have not passed."""
        runs, limit = (1000000, 32) if os.environ.get("WORKERS_FULL") else (40000, 8)  # MiB of each
        project = self.project("""
worker:job("job", { title = "J", description = "d", schedule = "manual", execute = function()
  require("workers.log").info(("y"):rep(1000))
end })
""", f"name: test\nmain: main.lua\nretention: {{ history: {limit}MiB, logs: {limit}MiB }}\n")
        server = Server(project)
        harness.wait_until(lambda: self.value(project, "SELECT count(*) FROM _workers_schedules"), "the store")
        largest, given = collections.Counter(), 0
        while given < runs:
            with project.database() as database, database:
                batch = [(f"{0x019bbfcf0000 + given + n:012x}"[:8] + "-" + f"{0x019bbfcf0000 + given + n:012x}"[8:] + f"-7000-8000-{n:012x}",)
                         for n in range(5000)]
                database.executemany("INSERT INTO _workers_deliveries(id, kind, key, state, due_at, created_at, started_by)"
                                     " VALUES(?, 'job', 'job', 'ready', 1, 1, 'api')", batch)
                database.executemany("INSERT INTO _workers_payloads(id, event) VALUES(?, 'null')", batch)
            given += len(batch)
            harness.wait_until(lambda: project.value("SELECT count(*) FROM _workers_deliveries WHERE state = 'ready'") < 2000, "runs", 120)
            for file in (project.folder / ".workers").iterdir():
                largest[file.name] = max(largest[file.name], file.stat().st_size)
        harness.wait_until(lambda: not project.value("SELECT count(*) FROM _workers_deliveries WHERE state IN ('ready', 'running')"), "the last runs", 120)
        self.assertEqual(server.stop(), 0, server.text())
        kept = project.value("SELECT count(*) FROM _workers_runs")
        sizes = ", ".join(f"{name} {size / 2**20:.1f} MiB" for name, size in sorted(largest.items()) if size > 2**20)
        print(f"{runs} runs of which {kept} are kept; at most: {sizes}", flush=True)
        for name in ("worker.db", "logs.db"):
            # What is written until housekeeping gets its turn is little beside what is usually kept, but not beside 8 MiB.
            self.assertLess(largest[name], limit * 2**20 * (1 if limit > 8 else 1.5), name)
            self.assertLess(largest[name + "-wal"], 24 * 2**20, name)  # which does not grow with what is kept
        # And no more is forgotten than must be: half is for runs, of about 400 bytes.
        self.assertGreaterEqual(kept, limit * 2**19 * 7 // 8 // 400)
        self.assertEqual(project.value("PRAGMA integrity_check"), "ok")


class Processes(ServeTest):
    LOOP = """
worker:sync("loop", { database = items, mode = "incremental", schedule = "continuous", execute = function(state)
  local n = (state and state.n or 0) + 1
  return { changes = { { type = "upsert", key = tostring(n), properties = { Name = "x" } } }, hasMore = true, nextState = { n = n } }
end })
"""

    def rows(self, project):
        return self.value(project, "SELECT count(*) FROM items") or 0

    def test_a_stop_ends_after_the_page_and_uses_no_attempt(self):
        project = self.project(self.LOOP)
        server = Server(project)
        server.wait_for("created table")
        harness.wait_until(lambda: self.rows(project) > 5, "rows")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(project.rows("SELECT DISTINCT exit_code FROM _workers_runs"), [(130,)])
        status = project.status("loop")
        self.assertEqual((status["consecutiveFailureCount"], status["running"]), (0, False), status)
        rows = self.rows(project)
        self.assertEqual(json.loads(project.value("SELECT state FROM _workers_syncs"))["n"], rows)
        # The next start goes on at once, in the same cycle.
        server = Server(project)
        harness.wait_until(lambda: self.rows(project) > rows, "more rows")
        server.stop()
        self.assertEqual(project.value("SELECT count(DISTINCT cycle_id) FROM _workers_runs"), 1)
        self.assertEqual(project.rows("SELECT started_by FROM _workers_runs ORDER BY id"), [("schedule",), ("retry",)])

    def test_a_process_that_dies_is_replaced_and_its_cycle_goes_on(self):
        project = self.project(self.LOOP)
        server = Server(project)
        harness.wait_until(lambda: self.rows(project) > 5, "rows")
        child, = server.children()
        os.kill(child, signal.SIGKILL)
        rows = self.rows(project)
        server.wait_for("died of signal 9")
        harness.wait_until(lambda: self.rows(project) > rows + 5, "more rows")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(project.rows("SELECT started_by, exit_code FROM _workers_runs ORDER BY id"), [("schedule", 1), ("recovery", 130)])
        self.assertIn("the process ended before", project.value("SELECT error FROM _workers_runs ORDER BY id LIMIT 1"))
        self.assertEqual(json.loads(project.value("SELECT state FROM _workers_syncs"))["n"], self.rows(project))

    def test_another_process_takes_over_within_a_second(self):
        project = self.project(self.LOOP)
        server = Server(project, "--processes", "2")
        harness.wait_until(lambda: self.rows(project) > 5, "rows")
        owner = int(project.value("SELECT lease_owner FROM _workers_syncs").split()[1])
        self.assertIn(owner, server.children())
        os.kill(owner, signal.SIGKILL)
        harness.wait_until(lambda: project.value("SELECT count(*) FROM _workers_runs") == 2, "the take-over")
        first, second = project.rows("SELECT started_at, ended_at FROM _workers_runs ORDER BY id")
        self.assertLess(second[0] - first[1], 1000)
        self.assertNotEqual(int(project.value("SELECT lease_owner FROM _workers_syncs").split()[1]), owner)
        self.assertEqual(server.stop(), 0)

    def test_jobs_of_several_processes_run_once(self):
        project = self.project("""
-- "all": a tick that comes while the one before still runs, on a machine that is slow for a moment, is not dropped.
worker:job("job", { title = "J", description = "d", schedule = { cron = "* * * * *", missed = "all" }, execute = function() end })
""")
        server = Server(project, "--processes", "3", env=self.accelerated("2026-01-15 04:30:10", 120))
        harness.wait_until(lambda: self.ended(project) >= 20, "twenty runs")
        self.assertEqual(server.stop(), 0, server.text())
        ticks = [t for t, in project.rows("SELECT tick_at FROM _workers_deliveries ORDER BY tick_at")]
        self.assertEqual(ticks, list(range(ticks[0], ticks[0] + 60000 * len(ticks), 60000)))
        self.assertEqual(project.value("SELECT count(*) FROM _workers_runs"), len(ticks))

    def systemd(self, project):
        """What systemd hears of a server, by sd_notify(3): the list that grows, and the environment for the server."""
        heard, path = [], project.folder / "notify"
        place = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        place.bind(str(path))

        def listen():
            while message := place.recv(4096):
                heard.append(message.decode())

        def close():
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.sendto(b"", str(path))
            thread.join()
            place.close()

        thread = threading.Thread(target=listen)
        thread.start()
        self.addCleanup(close)
        return heard, {"NOTIFY_SOCKET": str(path)}

    def test_systemd_is_told(self):
        project = self.project(self.LOOP)
        heard, env = self.systemd(project)
        server = Server(project, "--processes", "2", env=env)
        harness.wait_until(lambda: "READY=1" in heard, "READY=1")
        connection = http.client.HTTPConnection((project.folder / ".workers/server").read_text().split("/")[2].strip())
        connection.request("GET", "/readyz")
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()
        harness.wait_until(lambda: heard.count("WATCHDOG=1") > 2, "WATCHDOG=1")
        self.assertEqual(server.stop(), 0)
        self.assertEqual([message for message in heard if message != "WATCHDOG=1"], ["READY=1", "STOPPING=1"])

    def test_a_process_that_cannot_start_again_is_tried_until_it_can(self):
        project = self.project(self.LOOP)
        heard, env = self.systemd(project)
        server = Server(project, "--processes", "2", env=env)
        harness.wait_until(lambda: "READY=1" in heard and self.rows(project) > 5, "both processes")
        script = (project.folder / "main.lua").read_text()
        owner = int(project.value("SELECT lease_owner FROM _workers_syncs").split()[1])
        other, = set(server.children()) - {owner}
        project.write("main.lua", "error 'half written'")
        os.kill(other, signal.SIGKILL)
        server.wait_for("ended with code 3; starting another")
        rows = self.rows(project)
        harness.wait_until(lambda: self.rows(project) > rows, "more rows from the process that runs")
        project.write("main.lua", script)
        os.kill(owner, signal.SIGKILL)
        rows = self.rows(project)
        harness.wait_until(lambda: self.rows(project) > rows + 1, "rows from another")
        self.assertEqual(server.stop(), 0, server.text())

    def test_what_cannot_be_loaded_is_said_at_once(self):
        project = self.project("error 'no'")
        server = Server(project)
        self.assertEqual(server.process.wait(harness.WAIT_SECONDS), 1)
        self.assertIn("main.lua", server.text())
        self.assertIn("no", server.text())


class Clock(ServeTest):
    """The wall clock is set, forward or back: nothing waits for what it said, and nobody's work is taken away."""

    GROWS = """
local kv = require "workers.kv"
worker:sync("grows", { database = items, mode = "incremental", schedule = "continuous", execute = function(state)
  local n = (state and state.n or 0) + 1
  return { changes = { { type = "upsert", key = tostring(n), properties = { Name = "x" } } }, hasMore = false, nextState = { n = n } }
end })
"""

    def setUp(self):
        if not MOVED_CLOCK:
            self.skipTest("WORKERS_MOVED_CLOCK does not name the library")

    def set_clock(self, project, seconds):
        """Sets it for all processes that have the environment which is returned."""
        path = project.folder / "clock"
        with open(path, "r+b" if path.exists() else "w+b") as clock:
            clock.write(struct.pack("=q", seconds * 1000))
        return {"LD_PRELOAD": MOVED_CLOCK, "MOVED_CLOCK": str(path), "ASAN_OPTIONS": "verify_asan_link_order=0"}

    def test_events_of_a_row_keep_their_order(self):
        script = """
local kv = require "workers.kv"
worker:sync("change", { database = items, mode = "incremental", schedule = "continuous", execute = function()
  return { changes = { { type = "upsert", key = "row", properties = { Name = NAME } } }, hasMore = false, nextState = { n = 1 } }
end })
worker:automation("seen", { title = "S", description = "d", trigger = { database = items }, execute = function(event)
  if NAME == "first" then workers.sleep(3600) end
  kv.set("names", (kv.get "names" or "") .. event.row.Name .. " ")
end })
"""
        project = self.project('local NAME = "first"' + script)
        server = Server(project, env=self.set_clock(project, 3600))
        harness.wait_until(lambda: self.value(project, "SELECT state FROM _workers_deliveries") == "running", "the first event")
        child, = server.children()
        server.process.kill()
        os.kill(child, signal.SIGKILL)
        project.write("main.lua", HEAD + 'local NAME = "second"' + script + "\nreturn worker\n")
        server = Server(project, env=self.set_clock(project, 0))
        harness.wait_until(lambda: self.value(project, "SELECT count(*) FROM _workers_deliveries WHERE state = 'done'") == 2, "both events")
        self.assertEqual(project.value("SELECT value FROM _workers_kv"), '"first second "')
        self.assertEqual(server.stop(), 0)

    def test_nothing_waits_for_what_a_wrong_clock_said(self):
        project = self.project(self.GROWS + """
worker:sync("fails", { database = items, mode = "incremental", schedule = { cron = "* * * * *" }, execute = function()
  if kv.increment "syncs" <= 4 then error "not yet" end
  return { changes = {}, hasMore = false, nextState = { n = 1 } }
end })
worker:automation("falters", { title = "F", description = "d",
  trigger = { database = items, when = function(event) return event.key == "1" end },
  execute = function() if kv.increment "events" == 1 then error "not yet" end end })
""")
        server = Server(project, env=self.set_clock(project, 7200))
        harness.wait_until(lambda: (self.value(project, "SELECT count(*) FROM _workers_deliveries WHERE attempts = 1") or 0) == 1, "a failure")
        # As if it had failed several times, so that it waits for long.
        with project.database() as store:
            store.execute("UPDATE _workers_syncs SET failures = 3 WHERE key = 'fails'")
            store.execute("UPDATE _workers_schedules SET triggered_at = 1 WHERE key = 'fails'")
            store.commit()
        waits = "SELECT count(*) FROM _workers_schedules WHERE key = 'fails' AND retry_at IS NOT NULL AND triggered_at IS NULL"
        harness.wait_until(lambda: self.value(project, waits) == 1, "the failure of the sync")
        rows = project.value("SELECT count(*) FROM items")
        self.set_clock(project, 0)
        harness.wait_until(lambda: project.value("SELECT count(*) FROM items") > rows + 1, "more rows")
        harness.wait_until(lambda: project.value("SELECT count(*) FROM _workers_runs WHERE key = 'fails'") >= 2, "another attempt of the sync")
        harness.wait_until(lambda: project.value("SELECT count(*) FROM _workers_runs WHERE key = 'falters' AND exit_code = 0") == 1,
                           "another attempt at the event")
        self.assertEqual(server.stop(), 0)

    def test_a_jump_takes_nothing_from_whoever_works(self):
        project = self.project(self.GROWS + """
worker:automation("waits", { title = "W", description = "d",
  trigger = { database = items, when = function(event) return event.key == "1" end },
  execute = function() while not kv.get "go" do workers.sleep(0.05) end end })
""")
        server = Server(project, "--processes", "2", env=self.set_clock(project, 0))
        harness.wait_until(lambda: self.value(project, "SELECT count(*) FROM _workers_runs WHERE key = 'waits'") == 1, "the event")
        self.set_clock(project, 3600)
        rows = project.value("SELECT count(*) FROM items")
        harness.wait_until(lambda: project.value("SELECT count(*) FROM items") > rows + 3, "rows by the new clock")
        with project.database() as store:
            store.execute("INSERT INTO _workers_kv(key, value) VALUES('go', 'true')")
            store.commit()
        harness.wait_until(lambda: self.ended(project, "key = 'waits'") == 1, "the end of the run")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(project.rows("SELECT exit_code, error FROM _workers_runs WHERE key = 'waits'"), [(0, None)])
        self.assertEqual(project.value("SELECT max(losses) FROM _workers_deliveries"), 0)


class Reloading(ServeTest):
    def version(self, text):
        return HEAD + f"""
worker:sync("s", {{ database = items, schedule = "continuous", execute = function()
  return {{ changes = {{ {{ type = "upsert", key = "version", properties = {{ Name = "{text}" }} }} }}, hasMore = false }} end }})
return worker
"""

    def test_watch_loads_anew_and_keeps_what_works(self):
        project = harness.Project(self.version("one"))
        self.addCleanup(project.close)
        server = Server(project, "--watch")
        name = lambda: self.value(project, "SELECT name FROM items")  # noqa: E731
        harness.wait_until(lambda: name() == "one", "the first version")
        project.write("main.lua", self.version("two") + "syntax error here")
        server.wait_for("not loaded anew, the earlier version goes on: main.lua:")
        runs = project.value("SELECT count(*) FROM _workers_runs")
        harness.wait_until(lambda: project.value("SELECT count(*) FROM _workers_runs") > runs, "a run of the earlier version")
        self.assertEqual(name(), "one")
        project.write("main.lua", self.version("three"))
        server.wait_for("loaded anew\n")
        harness.wait_until(lambda: name() == "three", "the new version")
        self.assertEqual(server.text().count("not loaded anew"), 1)
        self.assertEqual(server.stop(), 0)

    def test_sighup_loads_anew(self):
        project = harness.Project(self.version("one"))
        self.addCleanup(project.close)
        server = Server(project)
        server.wait_for("sync done")
        project.write("main.lua", self.version("two"))
        server.process.send_signal(signal.SIGHUP)
        harness.wait_until(lambda: project.value("SELECT name FROM items") == "two", "the new version")
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
