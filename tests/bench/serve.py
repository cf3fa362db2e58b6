"""Rows of the bench for `workers serve`: webhooks taken in, jobs, lateness of schedules, memory at rest."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import statistics
import subprocess
import tempfile
import time

HEAD = """
local workers = require "workers"
local Schema = workers.schema
local worker = workers.new()
local items = worker:database("items", { type = "managed", initialTitle = "Items", primaryKeyProperty = "Id",
  schema = { properties = { Name = Schema.title(), Id = Schema.richText() } } })
local function quiet() return { changes = {}, hasMore = false, nextState = { n = 1 } } end
"""
JOBS, SYNCS, PROJECTS = 20000, 1000, 200
WRK = """
wrk.method = "POST"
wrk.body = '{"n":5,"text":"hello"}'
wrk.headers["Content-Type"] = "application/json"
function done(summary, latency)
  io.write(("RESULT %d %d %f %f\\n"):format(summary.requests - summary.errors.status, summary.duration, latency:percentile(50), latency:percentile(99)))
end
"""


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


@contextlib.contextmanager
def project(body, name="bench"):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="workers-bench-"))
    try:
        (folder / "main.lua").write_text(HEAD + body + "\nreturn worker\n", encoding="utf-8")
        (folder / "workers.yaml").write_text(f"name: {name}\nmain: main.lua\n", encoding="utf-8")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def serving(workers, folders):
    process = subprocess.Popen([workers, "serve", "--listen", "127.0.0.1:0", *map(str, folders)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not all((folder / ".workers/server").exists() for folder in folders):
            if process.poll() is not None:
                raise RuntimeError("workers serve has ended")
            time.sleep(0.01)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        for folder in folders:
            (folder / ".workers/server").unlink(missing_ok=True)


def query(folder, sql):
    with contextlib.closing(sqlite3.connect(folder / ".workers/worker.db", timeout=30)) as database:
        return database.execute(sql).fetchall()


def ingress(workers, connections, seconds=5):
    """Rate of 202s, p50 and p99 of the answers in ms, the same from the request to the end of its run."""
    with project('worker:webhook("hook", { title = "H", description = "d", execute = function() end })') as folder, \
            serving(workers, [folder]):
        listed = subprocess.run([workers, "webhooks", "list", "--json"], cwd=folder, stdout=subprocess.PIPE, check=True)
        (folder / "post.lua").write_text(WRK, encoding="utf-8")
        out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "-s", "post.lua", json.loads(listed.stdout)[0]["url"]],
                             cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout
        accepted, microseconds, p50, p99 = map(float, out.split("RESULT ")[1].split()[:4])
        while query(folder, "SELECT count(*) FROM _workers_deliveries WHERE state IN ('ready', 'running')")[0][0]:
            time.sleep(0.05)
        begin, end, count = query(folder, "SELECT min(created_at), max(ended_at), count(*) FROM _workers_deliveries")[0]
        handled = [b - a for a, b in query(folder, "SELECT created_at, ended_at FROM _workers_deliveries")]
        return {"rate": accepted / microseconds * 1e6, "handled": count / (end - begin) * 1000, "p50": p50 / 1000, "p99": p99 / 1000,
                "done_p50": percentile(handled, 0.5), "done_p99": percentile(handled, 0.99)}


def jobs(workers):
    """No-op runs a second, from the first to the last."""
    with project('worker:job("job", { title = "J", description = "d", execute = function() end })') as folder:
        with serving(workers, [folder]):
            pass
        with contextlib.closing(sqlite3.connect(folder / ".workers/worker.db")) as database:
            for n in range(JOBS):
                id = f"019bbfcf-{n:04x}-7000-8000-{n:012x}"
                database.execute("INSERT INTO _workers_deliveries(id, kind, key, state, due_at, created_at, started_by)"
                                 " VALUES(?, 'job', 'job', 'ready', 1, 1, 'api')", (id,))
                database.execute("INSERT INTO _workers_payloads(id, event) VALUES(?, 'null')", (id,))
            database.commit()
        with serving(workers, [folder]):
            while query(folder, "SELECT count(*) FROM _workers_deliveries WHERE state = 'done'")[0][0] < JOBS:
                time.sleep(0.05)
        begin, end, count = query(folder, "SELECT min(started_at), max(ended_at), count(*) FROM _workers_runs")[0]
        return count / (end - begin) * 1000


def lateness(workers):
    """How late 1,000 syncs on "1m" begin, in ms: p50 and p99 over one interval."""
    syncs = f'for i = 1, {SYNCS} do worker:sync("s" .. i, {{ database = items, mode = "incremental", schedule = "1m", execute = quiet }}) end'
    with project(syncs) as folder, serving(workers, [folder]):
        while query(folder, "SELECT count(*) FROM _workers_runs WHERE ended_at IS NOT NULL")[0][0] < SYNCS:
            time.sleep(0.1)
        due = dict(query(folder, "SELECT key, next_at FROM _workers_schedules"))
        while query(folder, "SELECT count(*) FROM _workers_runs WHERE ended_at IS NOT NULL")[0][0] < 2 * SYNCS:
            time.sleep(0.5)
        late = [started - due[key] for key, started in query(folder, "SELECT key, max(started_at) FROM _workers_runs GROUP BY key")]
        return percentile(late, 0.5), percentile(late, 0.99)


def resident_kib(process):
    """Of the supervisor and its process, what they share counted once."""
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()
    total = 0
    for pid in [str(process.pid), *children]:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def memory(workers):
    """KiB of a server of one worker, and of each worker more."""
    with contextlib.ExitStack() as stack:
        folders = [stack.enter_context(project('worker:sync("s", { database = items, schedule = "manual", execute = quiet })', f"w{n}"))
                   for n in range(PROJECTS)]
        sizes = []
        for some in (folders[:1], folders):
            with serving(workers, some):
                pass  # the stores are made
            with serving(workers, some) as process:
                time.sleep(12)  # until what the start took has been given back
                sizes.append(resident_kib(process))
        return sizes[0], (sizes[1] - sizes[0]) / (PROJECTS - 1)


def measure(report, sample, workers, rounds):
    if shutil.which("wrk") is None:
        print("bench: wrk is not installed (Debian package wrk); webhooks are not measured", flush=True)
    else:
        for connections in (64, 256):
            results = [ingress(workers, connections) for _ in range(rounds)]
            first = connections == 64
            report.add(f"webhooks to their end, {connections} connections", sample((r["handled"] for r in results), max), "/s",
                       reach="2,000" if first else "", then="10,000" if first else "")
            report.add("  p99 of the answer", sample(r["p99"] for r in results), "ms", reach="100" if first else "")
            report.add("  p99 to the end of the run", sample(r["done_p99"] for r in results), "ms", reach="100" if first else "")
    report.add("no-op job runs recorded", sample((jobs(workers) for _ in range(rounds)), max), "/s", reach="10,000", then="20,000")
    late = lateness(workers)
    report.add("1,000 syncs on 1m: begin late, p50", sample([late[0]]), "ms")
    report.add("  p99", sample([late[1]]), "ms")
    server, worker = memory(workers)
    report.add("server of one idle worker", sample([server]), "KiB", reach="25600")
    report.add("  each worker more, of 200", sample([worker]), "KiB", reach="150", then="60")
