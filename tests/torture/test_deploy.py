#!/usr/bin/env python3
"""Versions deployed while syncs run: no row is lost, no run has code of two versions, a broken one never becomes active.

A server with two processes runs three syncs of one worker: one that copies an upstream again and again, one that follows a feed of
events, one that does so slowly. Meanwhile random versions are deployed to it, through the API or beside it, some broken, some
killed on the way, some followed by a rollback; tables change with them. Each version carries its number in its main script and in
a module, which every page writes into its rows and its log.

WORKERS_FULL=1: 100 versions; otherwise a sample. WORKERS_SEED replays the choices.
"""
import json
import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from torture import BIN, FULL, SEED, environment  # noqa: E402
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import HttpHandler, HttpService, wait_until  # noqa: E402

VERSIONS = 100 if FULL else 12
ROWS = 60
PAGE = 10

MAIN = """local workers = require "workers"
local http, log, lib = require "workers.http", require "workers.log", require "lib"
local Schema, j = workers.schema, workers.j
local worker = workers.new()
local VERSION = %(version)d
local rows = worker:database("rows", { type = "managed", initialTitle = "Rows", primaryKeyProperty = "Id",
  schema = { properties = { Id = Schema.title(), Main = Schema.number(), Lib = Schema.number(), %(extra)s } } })
local events = worker:database("events", { type = "managed", initialTitle = "Events", primaryKeyProperty = "Id",
  schema = { properties = { Id = Schema.title(), Main = Schema.number(), Lib = Schema.number(), %(extra)s } } })
local function change(id)
  return { type = "upsert", key = tostring(id), properties = { Main = VERSION, Lib = lib.version } }
end
local function page(path)
  log.info(("code %%d %%d"):format(VERSION, lib.version))
  local body = http.get("%(url)s" .. path):raise():json()
  local late = require "late"
  log.info(("code %%d %%d"):format(VERSION, late.version))
  local changes = {}
  for i, id in ipairs(body.ids) do changes[i] = change(id) end
  return changes, body.more
end
worker:sync("copy", { database = rows, schedule = "continuous", execute = function(state)
  local n = state and state.n or 0
  local changes, more = page("/rows?page=" .. n)
  return { changes = changes, hasMore = more, nextState = more and { n = n + 1 } or nil }
end })
worker:sync("follow", { database = events, mode = "incremental", schedule = "continuous", execute = function(state)
  local after = state and state.after or 0
  local changes, more = page("/events?after=" .. after)
  if #changes > 0 then after = tonumber(changes[#changes].key) end
  return { changes = changes, hasMore = more, nextState = { after = after } }
end })
worker:tool("which", { title = "W", description = "d", schema = j.object {}, execute = function()
  return { VERSION, lib.version, require("late").version }
end })
%(more)s
return worker
"""
LIB = "return { version = %d }\n"

EXTRAS = ["", "Note = Schema.richText()", "Size = Schema.number()", "Size = Schema.richText()", "Done = Schema.checkbox()",
          'State = Schema.select { { name = "a" } }', "Note = Schema.url(), Size = Schema.number()", "Due = Schema.date()"]
BROKEN = {
    "a syntax error": lambda text: text + "+",
    "an error at the top": lambda text: 'error("no")\n' + text,
    "an endless loop": lambda text: "while true do end\n" + text,
    "a module that is not there": lambda text: 'require "nowhere"\n' + text,
    "an unknown option": lambda text: text.replace("mode =", "mod ="),
    "two titles": lambda text: text.replace("Main = Schema.number()", "Main = Schema.title()"),
    "values that do not convert": lambda text: text.replace("Id = Schema.title()", "Id = Schema.title(), Kept = Schema.number()"),
}


class Upstream(HttpHandler):
    rows, events = ROWS, 0
    lock = threading.Lock()

    def do_GET(self):
        path, _, query = self.path.partition("?")
        time.sleep(0.02)  # so that most deploys come in the middle of a cycle
        value = int(query.split("=")[1])
        with self.lock:
            if path == "/rows":
                ids = list(range(value * PAGE, min((value + 1) * PAGE, Upstream.rows)))
                more = (value + 1) * PAGE < Upstream.rows
            else:
                ids = list(range(value + 1, min(value + PAGE, Upstream.events) + 1))
                more = value + PAGE < Upstream.events
        text = json.dumps({"ids": ids, "more": more}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class DeployTorture(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="workers-deploy-")
        self.addCleanup(holder.cleanup)
        self.place = pathlib.Path(holder.name)
        self.home, self.project = self.place / "home", self.place / "project"
        (self.project / "src").mkdir(parents=True)
        upstream = HttpService(Upstream)
        self.addCleanup(upstream.close)
        Upstream.rows, Upstream.events = ROWS, 0
        self.upstream = upstream.url
        self.env = environment({"WORKERS_HOME": str(self.home), "HOME": str(self.place)})
        self.random = random.Random(SEED)
        self.written = 0  # the number in the code that was written last
        self.active = 0   # in the one that is active

    def run_it(self, *args, cwd=None, timeout=120):
        return subprocess.run([BIN, *map(str, args)], cwd=cwd or self.project, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=timeout)

    def serve(self):
        log = open(self.place / "serve.log", "ab")
        self.addCleanup(log.close)
        self.server = subprocess.Popen([BIN, "serve", "--home", "--processes", "2", "--listen", "127.0.0.1:0"], cwd=self.place, env=self.env,
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(lambda: (self.server.kill(), self.server.wait()))
        beacon = self.home / ".workers/server"
        wait_until(lambda: beacon.exists() or self.server.poll() is not None, lambda: (self.place / "serve.log").read_text())
        self.url = beacon.read_text().split("\n")[1]

    def write(self, extra="", breakage=None):
        self.written += 1
        more = "" if self.random.random() < 0.7 else 'worker:job("extra", { title = "E", description = "d", schedule = "1h", execute = function() end })'
        text = MAIN % {"version": self.written, "url": self.upstream, "extra": extra, "more": more}
        (self.project / "workers.yaml").write_text('name: busy\npermissions: { net: ["127.0.0.1"] }\nlimits: { cpu: 500ms }\n')
        (self.project / "src/main.lua").write_text(breakage(text) if breakage else text)
        for name in ("lib", "late"):
            (self.project / f"src/{name}.lua").write_text(LIB % self.written)

    def store(self, sql, name="worker.db"):
        connection = sqlite3.connect(self.home / "busy/.workers" / name, timeout=30)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def active_now(self):
        return self.store("SELECT v.number, v.digest FROM _workers_meta m JOIN _workers_versions v ON v.number = m.value WHERE m.name = 'active_version'")

    def which(self, expected):
        """What the tool says, from both processes: the version that is active, whole."""
        def ask():
            result = self.run_it("exec", "which", "--server", self.url, "--worker", "busy")
            return result.returncode == 0 and json.loads(result.stdout) == [expected] * 3
        for _ in range(3):
            wait_until(ask, f"version {expected} to answer: {(self.place / 'serve.log').read_text()[-2000:]}")

    def grow(self):
        with Upstream.lock:
            Upstream.rows = max(PAGE, Upstream.rows + self.random.randrange(-8, 12))
            Upstream.events += self.random.randrange(5, 40)

    def test_versions_come_and_go(self):
        print(f"seed {SEED}", file=sys.stderr)
        self.serve()
        self.write()
        self.assertEqual(self.run_it("deploy", "--server", self.url).returncode, 0)
        self.active = self.written
        codes = {self.active_now()[0][0]: self.active}  # number of the version: the number in its code
        # A column with values that no number can be.
        (self.project / "src/main.lua").write_text((self.project / "src/main.lua").read_text().replace(
            "Id = Schema.title()", "Id = Schema.title(), Kept = Schema.richText()").replace("properties = { Main", 'properties = { Kept = "words", Main'))
        result = self.run_it("deploy", "--server", self.url)
        self.assertEqual(result.returncode, 0, result.stderr)
        wait_until(lambda: self.store("SELECT count(*) FROM rows WHERE kept = 'words'")[0][0] == ROWS, "rows with words")
        codes[self.active_now()[0][0]] = self.active
        counts = {"deployed": 0, "broken": 0, "killed": 0, "rolled back": 0}
        for _ in range(VERSIONS):
            self.grow()
            if self.random.random() < 0.5:
                wait_until(lambda: self.store("SELECT cycle_pages FROM _workers_syncs WHERE key = 'copy' AND cycle_open <> 0 AND cycle_pages > 0"),
                           "the middle of a cycle")
            before = self.active_now()
            server = ["--server", self.url] if self.random.random() < 0.5 else ["--server", "local"]
            kind = self.random.choices(["deploy", "break", "kill", "rollback"], [6, 3, 2, 2])[0]
            if kind == "deploy":
                self.write(self.random.choice(EXTRAS))
                result = self.run_it("deploy", *server)
                if result.returncode != 0:  # a type that has changed, and values that do not convert: refused, and said
                    self.assertRegex(result.stderr, "convert|cannot", result.stderr)
                    self.assertEqual(self.active_now(), before)
                else:
                    self.active = self.written
                    counts["deployed"] += 1
            elif kind == "break":
                what = self.random.choice(sorted(BROKEN))
                self.write(self.random.choice(EXTRAS[:2]), BROKEN[what])
                result = self.run_it("deploy", *server)
                self.assertEqual(result.returncode, 1, (what, result.stderr))
                self.assertEqual(self.active_now(), before, what)
                counts["broken"] += 1
            elif kind == "kill":
                self.write(self.random.choice(EXTRAS[:2]))
                process = subprocess.Popen([BIN, "deploy", "--server", "local"], cwd=self.project, env=self.env, stdin=subprocess.DEVNULL,
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
                time.sleep(self.random.uniform(0.002, 0.06))
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                counts["killed"] += 1
                after = self.active_now()
                if after != before:  # it came to its end: then all of it
                    self.active = self.written
            else:
                result = self.run_it("rollback", *server)
                if result.returncode == 0:
                    counts["rolled back"] += 1
                    self.active = codes[self.active_now()[0][0]]
                else:
                    self.assertRegex(result.stderr, "convert|cannot|no earlier version", result.stderr)
                    self.assertEqual(self.active_now(), before)
            codes[self.active_now()[0][0]] = self.active
            self.which(self.active)
        self.finish(counts)

    def finish(self, counts):
        """The tables are what the upstream has, all of the version that is active; and no run had code of two."""
        model = {str(n) for n in range(Upstream.rows)}
        events = {str(n) for n in range(1, Upstream.events + 1)}
        wait_until(lambda: set(self.store("SELECT _key, main, lib FROM rows")) == {(key, self.active, self.active) for key in model},
                   lambda: f"the rows of version {self.active}: {self.store('SELECT main, lib, count(*) FROM rows GROUP BY 1, 2')}", timeout=60)
        wait_until(lambda: {key for (key,) in self.store("SELECT _key FROM events")} == events, "all events", timeout=60)
        self.server.terminate()
        self.assertEqual(self.server.wait(60), 0)
        self.assertEqual(self.store("SELECT count(*) FROM events WHERE main <> lib"), [(0,)])
        runs = {}
        for run, text in self.store("SELECT run_id, text FROM _workers_logs WHERE text LIKE 'code %'", "logs.db"):
            runs.setdefault(run, set()).add(text)
        mixed = {run: texts for run, texts in runs.items() if len(texts) > 1}
        self.assertEqual(mixed, {})
        for texts in runs.values():
            (text,) = texts
            _, main, lib = text.split()
            self.assertEqual(main, lib)
        (stopped,) = self.store("SELECT count(*) FROM _workers_runs WHERE error LIKE '%another version was deployed%'")[0]
        self.assertGreater(stopped, 10 if FULL else 0)
        dead = self.store("SELECT count(*) FROM _workers_runs WHERE exit_code IS NULL")
        self.assertEqual(dead, [(0,)])
        leftovers = [path.name for path in (self.home / "busy/versions").iterdir() if not len(path.name) == 64]
        print(f"{counts}; {len(runs)} runs, each of one version, {stopped} stopped by a deploy; {len(leftovers)} folders of killed deploys; {Upstream.events} events, "
              f"{Upstream.rows} rows", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
