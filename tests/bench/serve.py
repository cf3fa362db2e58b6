"""`workers serve` measured: webhooks, jobs, schedules, memory at rest.

What happened is read from the store, in the milliseconds that the server wrote there, not from its log.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid

import postgres
from report import Sample

JOBS = 20000
SYNCS = 1000
PROJECTS = 200
# How webhooks are sent: by so many connections, each of which rests for so many milliseconds after an answer.
LEVELS = {"webhooks, some 2,000/s": (64, 29), "webhooks, some 10,000/s": (256, 22), "webhooks at full speed, 64 connections": (64, 0),
          "webhooks at full speed, 256 connections": (256, 0)}
GRAPHILE, BOSS = "graphile-worker", "pg-boss"

WEBHOOK = """
local worker = require("workers").new()
worker:webhook("hook", { title = "Hook", description = "Does nothing.", execute = function() end })
return worker
"""
JOB = """
local worker = require("workers").new()
worker:job("nothing", { title = "Nothing", description = "Does nothing.", schedule = { cron = "0 0 29 2 *" },
  execute = function() end })
return worker
"""
SYNC = """
local workers = require "workers"
local Schema = workers.schema
local worker = workers.new()
local items = worker:database("items", { type = "managed", initialTitle = "Items", primaryKeyProperty = "Id",
  schema = { properties = { Name = Schema.title(), Id = Schema.richText() } } })
for i = 1, %d do
  worker:sync("sync" .. i, { database = items, mode = "incremental", schedule = "%s",
    execute = function() return { changes = {}, hasMore = false, nextState = { n = 1 } } end })
end
return worker
"""


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def until(condition, what, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"bench: waited {seconds} s in vain for {what}")
        time.sleep(0.02)


class Project:
    def __init__(self, folder, name, script):
        self.folder = os.path.join(folder, name)
        self.store = os.path.join(self.folder, ".workers", "worker.db")
        os.makedirs(self.folder)
        self.write("workers.yaml", f"name: {name}\nmain: main.lua\nlimits:\n  webhooks: 1000000\n")
        self.write("main.lua", script)

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def rows(self, sql, *parameters):
        """None while the store is being made."""
        if not os.path.exists(self.store):
            return None
        with contextlib.closing(sqlite3.connect(self.store, timeout=15)) as database:
            try:
                return database.execute(sql, parameters).fetchall()
            except sqlite3.OperationalError:
                return None

    def has(self, sql):
        return bool(self.rows(sql))


class Server:
    """A `workers serve` of projects, in a with statement."""

    def __init__(self, workers, projects):
        folders = [project.folder for project in projects]
        self.log = os.path.join(folders[0], "serve.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([workers, "serve", "--listen", "127.0.0.1:0", *folders], cwd=folders[0],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        if code != 0:
            sys.exit(f"bench: workers serve ended with {code}:\n{self.text()[-2000:]}")

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def is_ready(self):
        found = re.search(r"^listening on (\S+)$", self.text(), re.MULTILINE)
        if found is None:
            return False
        try:
            with urllib.request.urlopen(f"http://{found.group(1)}/readyz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def memory(self):
        """RSS and PSS in KiB, of the supervisor and its process together."""
        sums = {"Rss": 0, "Pss": 0}
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
            processes = [str(self.process.pid), *file.read().split()]
        for pid in processes:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                for name, value in re.findall(r"^(Rss|Pss):\s+(\d+) kB", file.read(), re.MULTILINE):
                    sums[name] += int(value)
        return sums["Rss"], sums["Pss"]


@contextlib.contextmanager
def place():
    folder = tempfile.mkdtemp(prefix="workers-bench-serve-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ---- webhooks ----

def load(workers, connections, rest_ms, seconds, script):
    """What wrk says of the answers, and the milliseconds from each request's receipt to the end of its run."""
    with place() as folder:
        project = Project(folder, "bench", WEBHOOK)
        with Server(workers, [project]) as server:
            until(server.is_ready, "the server")
            listed = subprocess.run([workers, "webhooks", "list", "--json"], cwd=project.folder, capture_output=True, text=True,
                                    check=True)
            url = json.loads(listed.stdout)[0]["url"]
            rest = [str(rest_ms)] if rest_ms else []
            done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script, url, "--", *rest],
                                  capture_output=True, text=True, check=False)
            found = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
            if done.returncode != 0 or found is None:
                sys.exit(f"bench: wrk ended with {done.returncode}:\n{done.stdout}{done.stderr}")
            result = json.loads(found.group(1))
            until(lambda: not project.has("SELECT 1 FROM _workers_deliveries WHERE state IN ('ready', 'running') LIMIT 1"),
                  "the end of the deliveries")
        deliveries = project.rows("SELECT ended_at - created_at, state FROM _workers_deliveries")
        (result["span"],), = project.rows("SELECT max(ended_at) - min(created_at) FROM _workers_deliveries")
    good = sum(state == "done" for _, state in deliveries)
    # What was on its way when wrk stopped is stored without being counted.
    if result["errors"] > 0 or good != len(deliveries) or not 0 <= good - result["requests"] <= connections:
        sys.exit(f"bench: {result} were answered, {good} of {len(deliveries)} deliveries were handled")
    return result, [taken for taken, _ in deliveries]


def measure_webhooks(report, workers, script, rounds, seconds, note):
    if shutil.which("wrk") is None:
        note("wrk is not installed (Debian package wrk): webhooks are not measured")
        return
    results = {what: [] for what in LEVELS}
    for _ in range(rounds):
        for what, (connections, rest) in LEVELS.items():
            results[what].append(load(workers, connections, rest, seconds, script))
    for what, measured in results.items():
        paced = LEVELS[what][1] > 0
        rate, late = ({}, {"reach": "100"}) if paced else ({"reach": "2.0k", "then": "10k"}, {})
        report.add(f"{what}: answered", Sample([r["requests"] / r["seconds"] for r, _ in measured], max), "/s", **rate)
        report.add("  202 after, median", Sample(r["p50"] for r, _ in measured), "ms")
        report.add("  202 after, 99 of 100", Sample(r["p99"] for r, _ in measured), "ms", **late)
        report.add("  its run ended after, median", Sample(percentile(taken, 0.5) for _, taken in measured), "ms")
        report.add("  its run ended after, 99 of 100", Sample(percentile(taken, 0.99) for _, taken in measured), "ms", **late)
        report.add("  runs ended", Sample((1000 * len(taken) / r["span"] for r, taken in measured), max), "/s")


# ---- jobs ----

def run_jobs(workers):
    """Jobs in a second: from the first end to the last, and from the start of the server."""
    with place() as folder:
        project = Project(folder, "bench", JOB)
        with Server(workers, [project]):
            until(lambda: project.has("SELECT 1 FROM _workers_schedules"), "the store")
        now = int(time.time() * 1000)
        ids = [str(uuid.UUID(int=(now << 80) | (7 << 76) | (2 << 62) | number)) for number in range(JOBS)]
        with contextlib.closing(sqlite3.connect(project.store)) as database, database:
            database.executemany("INSERT INTO _workers_deliveries(id, kind, key, state, due_at, created_at, started_by)"
                                 " VALUES(?, 'job', 'nothing', 'ready', ?, ?, 'api')", ((one, now, now) for one in ids))
            database.executemany("INSERT INTO _workers_payloads(id, event) VALUES(?, 'null')", ((one,) for one in ids))
        begin = time.time() * 1000
        with Server(workers, [project]):
            until(lambda: not project.has("SELECT 1 FROM _workers_deliveries WHERE state IN ('ready', 'running') LIMIT 1"),
                  "the end of the jobs")
        (count, first, last), = project.rows("SELECT count(*), min(d.ended_at), max(r.ended_at) FROM _workers_deliveries AS d JOIN"
                                             " _workers_runs AS r ON r.delivery_id = d.id WHERE r.exit_code = 0 AND state = 'done'")
    if count != JOBS:
        sys.exit(f"bench: {count} of {JOBS} jobs were run")
    return JOBS * 1000 / (last - first), JOBS * 1000 / (last - begin)


def run_peer(script, folder, flush):
    """A cluster for each: what one leaves behind slows down the next."""
    with postgres.Server() as server:
        done = subprocess.run(["node", script, server.socket, str(JOBS), flush], cwd=folder, capture_output=True, text=True,
                              check=False, timeout=300)
    if done.returncode != 0:
        sys.exit(f"bench: {script} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    result = json.loads(done.stdout)
    if result["done"] != JOBS:
        sys.exit(f"bench: {script} ran {result['done']} of {JOBS} jobs")
    return JOBS * 1000 / result["ms"]


def measure_jobs(report, workers, folder, peers, rounds, note):
    """The peers also without a flush at each commit: a job's end is written so by us, and is run again after a power cut."""
    scripts = {GRAPHILE: "graphile.mjs", BOSS: "pgboss.mjs"}
    others = [(name, flush) for flush in ("on", "off") for name in scripts if name in peers]
    try:
        if others:
            with postgres.Server():
                pass
    except postgres.Unavailable as reason:
        note(f"{reason}: {' and '.join(scripts)} are left out")
        others = []
    ours, theirs = [], {other: [] for other in others}
    for _ in range(rounds):
        ours.append(run_jobs(workers))
        for name, flush in others:
            theirs[name, flush].append(run_peer(scripts[name], folder, flush))
    ended = Sample((rate for rate, _ in ours), max)
    what, goal = f"{JOBS:,} jobs that do nothing, recorded", {"reach": "10k", "then": "20k"}
    if not others:
        report.add(what, ended, "/s", **goal)
    for name, flush in others:
        title = name if flush == "on" else f"{name}, no flush at commit"
        report.rate(what, ended, Sample(theirs[name, flush], max), title, unit="/s", **goal)
        what, goal = "  beside", {}
    report.add("  from the start of the server", Sample((rate for _, rate in ours), max), "/s")


# ---- schedules ----

def measure_schedules(report, workers):
    with place() as folder:
        project = Project(folder, "bench", SYNC % (SYNCS, "1m"))
        ended = "SELECT count(*) FROM _workers_runs WHERE exit_code = 0"
        with Server(workers, [project]):
            # All are due once at the start; then each has its place in the minute.
            until(lambda: (project.rows(ended) or [(0,)])[0][0] >= SYNCS, "the first runs")
            # Some may have run a second time already: their next tick is then one later, which is as good.
            due = dict(project.rows("SELECT key, next_at FROM _workers_schedules"))
            last = max(due.values())
            until(lambda: project.has(f"SELECT 1 WHERE (SELECT min(next_at) FROM _workers_schedules) > {last}"), "the next ticks", 180)
            until(lambda: not project.has("SELECT 1 FROM _workers_runs WHERE ended_at IS NULL LIMIT 1"), "the last runs")
        late = []
        for key, tick in due.items():
            (started,), = project.rows("SELECT min(started_at) FROM _workers_runs WHERE key = ? AND started_at >= ?", key, tick)
            late.append(started - tick)
    if len(late) != SYNCS:
        sys.exit(f"bench: {len(late)} of {SYNCS} syncs have a schedule")
    report.add(f'{SYNCS:,} syncs on "1m": begun after the tick, median', Sample([percentile(late, 0.5)]), "ms")
    report.add("  99 of 100", Sample([percentile(late, 0.99)]), "ms")


# ---- memory ----

def memory_at_rest(workers, count):
    with place() as folder:
        projects = [Project(folder, f"bench{i}", SYNC % (1, "manual")) for i in range(count)]
        with Server(workers, projects) as server:
            until(lambda: projects[-1].has("SELECT 1 FROM _workers_schedules"), "the last store")
            # The first round of upkeep and the end of what is kept warm come after ten seconds.
            begin = time.monotonic()
            before, since = server.memory(), begin
            while time.monotonic() - begin < 20 or time.monotonic() - since < 10:
                time.sleep(1)
                now = server.memory()
                if abs(now[0] - before[0]) > before[0] / 100 and time.monotonic() - begin < 120:
                    before, since = now, time.monotonic()
            return server.memory()


def measure_memory(report, workers):
    one, many = memory_at_rest(workers, 1), memory_at_rest(workers, PROJECTS)
    for i, kind in enumerate(("RSS", "PSS")):
        goals = [{"reach": "25"}, {"reach": "150", "then": "60"}] if kind == "RSS" else [{}, {}]
        report.add(f"server with one idle worker, {kind}", Sample([one[i] / 1024]), "MiB", **goals[0])
        report.add(f"  for each of {PROJECTS} more or less", Sample([(many[i] - one[i]) / (PROJECTS - 1)]), "KiB", **goals[1])


def measure_serve(report, workers, folder, peers, quick, note):
    measure_webhooks(report, workers, os.path.join(folder, "wrk.lua"), 1 if quick else 3, 2 if quick else 5, note)
    measure_jobs(report, workers, folder, peers, 1 if quick else 3, note)
    measure_schedules(report, workers)
    measure_memory(report, workers)
