#!/usr/bin/env python3
"""Everything at once: a server of three processes with syncs, jobs, automations and webhooks, whose processes are killed and
stopped, whose disk is full for a while and whose clock jumps.

When it is calm again, the record has to agree with what happened outside: every delivery that was answered 202 succeeded
once, no page was applied twice or after a newer one, tables equal what the upstream has, no tick of a job ran twice or was
lost, and each change of a row was told to its automation, in the order of the row's changes. Handlers tell the upstream of
each call, so that this is seen from outside too.

WORKERS_FULL=1: 50 syncs and 200 webhooks a second for ten minutes. WORKERS_SEED replays the choice of faults."""
import collections
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import struct
import sys
import threading
import time
import unittest
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import harness  # noqa: E402

FULL = os.environ.get("WORKERS_FULL") == "1"
SEED = int(os.environ.get("WORKERS_SEED") or random.SystemRandom().randrange(1 << 31))
LIBRARIES = [os.environ.get(name) for name in ("WORKERS_MOVED_CLOCK", "WORKERS_FAILING_WRITES")]
SECONDS, WEBHOOKS, SENDERS = (600, 200, 8) if FULL else (15, 100, 4)
APPENDS, CHANGES, REPLACES = (20, 15, 15) if FULL else (4, 4, 4)  # syncs of each kind
TOLD = 4  # the append and the change whose rows fire automations: the upstream has much for them
PAGE = 20
CALM = 300  # seconds at the most; a sync that has failed four times in a row waits for 80
HOUR = 3600

SCRIPT = """
local workers = require "workers"
local http = require "workers.http"
local Schema = workers.schema
local worker = workers.new()
local UPSTREAM = "%s"

local function database(key)
  return worker:database(key, { type = "managed", initialTitle = key, primaryKeyProperty = "Id",
    schema = { properties = { Name = Schema.title(), Id = Schema.richText(), Value = Schema.number() } } })
end

local function changes_of(items)
  local changes = {}
  for i, item in ipairs(items) do
    changes[i] = item.value and { type = "upsert", key = item.key, properties = { Name = item.key, Value = item.value } }
      or { type = "delete", key = item.key }
  end
  return changes
end

local function tell(what, event)
  http.post(UPSTREAM .. "/heard/" .. what, { json = event }):raise()
end

-- sum grows with each number that a page brings: a page that is applied twice shows in it.
local function numbered(kind, number)
  local key = kind .. number
  local target = database(key)
  worker:sync(key .. "Sync", { database = target, mode = "incremental", schedule = "continuous", execute = function(state)
    local n, sum = state and state.n or 0, state and state.sum or 0
    local page = http.get(("%%s/%%s/%%d?after=%%d"):format(UPSTREAM, kind, number, n)):raise():json()
    for at = n + 1, page.last do sum = sum + at end
    return { changes = changes_of(page.items), hasMore = page.more, nextState = { n = page.last, sum = sum } }
  end })
  return target
end

local appended, changed = {}, {}
for number = 1, %d do appended[number] = numbered("append", number) end
for number = 1, %d do changed[number] = numbered("change", number) end
for number = 1, %d do
  local key = "replace" .. number
  worker:sync(key .. "Sync", { database = database(key), schedule = "continuous", execute = function(state)
    local version, at = state and state.version or 0, state and state.at or 0
    local page = http.get(("%%s/replace/%%d?version=%%d&at=%%d"):format(UPSTREAM, number, version, at)):raise():json()
    return { changes = changes_of(page.items), hasMore = page.more,
             nextState = page.more and { version = page.version, at = page.last } or nil }
  end })
end

local ticking = { once1 = "once", once2 = "once", skip = "skip", all1 = "all", all2 = "all" }
for key, missed in pairs(ticking) do
  worker:job(key, { title = key, description = "d", schedule = { cron = "* * * * *", missed = missed },
    execute = function(_, ctx) tell("job", { id = ctx.deliveryId, key = key }) end })
end
worker:webhook("hook", { title = "H", description = "d", execute = function(events)
  for _, event in ipairs(events) do
    if #event.rawBody ~= event.body.size then error("not byte-exact") end
    tell("webhook", { id = event.deliveryId, n = event.body.n })
  end
end })
worker:automation("onAppended", { title = "A", description = "d", trigger = { database = appended[%d] },
  execute = function(event) tell("append", event) end })
worker:automation("onChanged", { title = "C", description = "d", trigger = { database = changed[%d] },
  execute = function(event) tell("change", event) end })
return worker
"""


def quiet_port():
    """A free port that no client gets: while no server listens, one whose own port it is would connect to itself and keep it."""
    low, high = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(1024, 65536)
        with socket.socket() as probe, contextlib.suppress(OSError):
            if not low <= port <= high:
                probe.bind(("127.0.0.1", port))
                return port


class Upstream:
    """What the syncs read. It grows until it is frozen; everything in it follows from a number, so that a table can be
    compared with what it has to be at any number."""
    def __init__(self):
        upstream = self
        self.begun = time.monotonic()
        self.frozen_at = None
        self.heard = collections.defaultdict(list)  # what handlers told, of each kind, as it arrived

        class Handler(harness.HttpHandler):
            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                _, kind, number = url.path.split("/")
                query = {name: int(value) for name, value in urllib.parse.parse_qsl(url.query)}
                self.answer(json.dumps(getattr(upstream, kind)(int(number), **query)).encode())

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with contextlib.suppress(ValueError):  # half a body, of a process that was killed
                    upstream.heard[self.path.rpartition("/")[2]].append(json.loads(body))
                self.answer(b"{}")

            def answer(self, body):
                with contextlib.suppress(OSError):  # who asked may be dead by now
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

        self.server = harness.HttpService(Handler)
        self.url, self.close = self.server.url, self.server.close

    def freeze(self):
        self.frozen_at = time.monotonic()

    def age(self):
        return (self.frozen_at or time.monotonic()) - self.begun

    def last(self, number):
        """The number of the newest entry: some syncs have much to read, others little."""
        return int(self.age() * (1 + number % 5 * 4))

    def numbered(self, number, after, entry):
        last = min(after + PAGE, self.last(number))
        return {"items": [entry(n) for n in range(after + 1, last + 1)], "last": last, "more": last < self.last(number)}

    def append(self, number, after):
        return self.numbered(number, after, lambda n: {"key": f"k{n}", "value": n})

    @staticmethod
    def entry(n):
        key = f"k{n * 7919 % 40}"
        return {"key": key} if n % 11 == 0 else {"key": key, "value": n}

    def change(self, number, after):
        return self.numbered(number, after, self.entry)

    def version(self):
        return 1 + int(self.age() / 2)

    @staticmethod
    def items(version):
        """Of each ten, one is left out, another one in each version."""
        return [{"key": f"k{j:02}", "value": version * (j % 3)} for j in range(70) if (j + version) % 10 != 0]

    def replace(self, number, version, at):
        version = version or self.version()
        items = self.items(version)
        return {"items": items[at:at + PAGE], "version": version, "last": at + PAGE, "more": at + PAGE < len(items)}

    def table(self, kind, number):
        """What the table has to be when all was read."""
        if kind == "replace":
            return {item["key"]: item["value"] for item in self.items(self.version())}
        table = {}
        for n in range(1, self.last(number) + 1):
            item = {"key": f"k{n}", "value": n} if kind == "append" else self.entry(n)
            table[item["key"]] = item.get("value")
        return {key: value for key, value in table.items() if value is not None}


class Chaos(unittest.TestCase):
    maxDiff = 2000

    def setUp(self):
        if None in LIBRARIES:
            self.skipTest("WORKERS_MOVED_CLOCK and WORKERS_FAILING_WRITES do not name the libraries")
        self.upstream = Upstream()
        self.addCleanup(self.upstream.close)
        self.project = harness.Project(SCRIPT % (self.upstream.url, APPENDS, CHANGES, REPLACES, TOLD, TOLD),
                                       'name: test\nmain: main.lua\npermissions: { net: ["127.0.0.1"] }\n')
        self.addCleanup(self.project.close)
        self.chance = random.Random(SEED)
        self.counts = dict.fromkeys(("kills", "restarts", "stops", "full disks", "clock jumps"), 0)
        self.stopped = {}  # process: until when
        self.full_until = 0
        self.offset = 0
        self.full, self.clock = self.project.folder / "disk-full", self.project.folder / "clock"
        self.set_clock(0)
        self.port = quiet_port()
        self.accepted, self.ended, self.given_up = {}, threading.Event(), threading.Event()

    def set_clock(self, by):
        self.offset += by
        with open(self.clock, "r+b" if self.clock.exists() else "wb") as file:  # in place: it is mapped
            file.write(struct.pack("=q", self.offset * 1000))

    def serve(self):
        env = {"LD_PRELOAD": ":".join(LIBRARIES), "MOVED_CLOCK": str(self.clock), "FAILING_WRITES_WHILE": str(self.full),
               "ASAN_OPTIONS": "verify_asan_link_order=0"}
        log = self.project.folder / "serve.log"
        self.served, self.said = time.monotonic(), log.stat().st_size if log.exists() else 0
        self.server = harness.Server(self.project, "--processes", "3", env=env, port=self.port)

    def log(self):
        """The end of what the server said, without what went well."""
        return "\n".join([line for line in self.server.text().splitlines() if " done [" not in line][-40:])

    # ---- what comes in ----

    def send(self, sender):
        """Webhooks at the rate that is wanted, each until it is taken."""
        connection, chance = None, random.Random(SEED + sender)
        begun, count = time.monotonic(), 0
        while not self.ended.is_set():
            self.ended.wait(max(0, begun + count * SENDERS / WEBHOOKS - time.monotonic()))
            name = f"{sender}/{count}"
            body = json.dumps({"n": name, "pad": "x" * chance.randrange(300), "size": 0})
            body = body.replace('"size": 0', f'"size": {len(body) + 3:4d}')
            for _ in range(3000):
                try:
                    connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                    connection.request("POST", self.path, body, {"Content-Type": "application/json"})
                    answer = connection.getresponse()
                    text = answer.read()
                    if answer.status == 202:
                        self.accepted[json.loads(text)["deliveryId"]] = name
                        break
                except (OSError, http.client.HTTPException):
                    connection.close()
                    connection = None
                time.sleep(0.02)  # what a provider does, only sooner
                if self.given_up.is_set():
                    return
            else:
                raise AssertionError(f"nobody takes it: {self.log()}")
            count += 1
        if connection is not None:
            connection.close()

    # ---- what goes wrong ----

    def children(self):
        try:
            return [pid for pid in self.server.children() if pid not in self.stopped]
        except OSError:
            return []

    def hit(self):
        """One fault."""
        fault = self.chance.choices(("kill", "supervisor", "stop", "disk", "clock"), (30, 8, 22, 15, 25))[0]
        children = self.children()
        if fault == "kill" and children:
            for pid in self.chance.sample(children, self.chance.randint(1, len(children))):
                self.signal(pid, signal.SIGKILL)
                self.counts["kills"] += 1
        elif fault == "supervisor":
            # Its processes notice and stop in good order; whoever starts it again, as systemd does, waits for that.
            self.end_faults(float("inf"))
            children = self.children()
            self.server.process.kill()
            self.server.process.wait()
            harness.wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children), "the end of the processes", 60)
            self.serve()
            self.counts["restarts"] += 1
        elif fault == "stop" and children:
            pid = self.chance.choice(children)
            # Now and then for longer than a lease.
            lasts = self.chance.uniform(31, 40) if FULL and self.chance.random() < 0.1 else self.chance.uniform(0.1, 4)
            self.signal(pid, signal.SIGSTOP)
            self.stopped[pid] = time.monotonic() + lasts
            self.counts["stops"] += 1
        elif fault == "disk":
            self.full.touch()
            self.full_until = time.monotonic() + self.chance.uniform(0.2, 3)
            self.counts["full disks"] += 1
        elif fault == "clock":
            forwards = self.chance.random() < 0.6
            self.set_clock(round(self.chance.choice((2, 60, 600, HOUR)) * self.chance.random()) * (1 if forwards else -1))
            self.counts["clock jumps"] += 1

    def signal(self, pid, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def end_faults(self, now):
        for pid, until in list(self.stopped.items()):
            if now >= until:
                self.signal(pid, signal.SIGCONT)
                del self.stopped[pid]
        if now >= self.full_until:
            self.full.unlink(missing_ok=True)

    # ---- what must be ----

    def syncs(self):
        return [(kind, number) for kind, count in (("append", APPENDS), ("change", CHANGES), ("replace", REPLACES))
                for number in range(1, count + 1)]

    def difference(self):
        """The first sync whose table is not what the upstream has; None when there is none."""
        with self.project.database() as database:
            for kind, number in self.syncs():
                key = f"{kind}{number}"
                table = dict(database.execute(f"SELECT _key, value FROM {key}"))
                if table != self.upstream.table(kind, number):
                    return key
                last = self.upstream.last(number)
                state = json.loads(database.execute("SELECT state FROM _workers_syncs WHERE key = ?", (key + "Sync",)).fetchone()[0] or "{}")
                if kind != "replace" and state != {"n": last, "sum": last * (last + 1) // 2}:
                    return f"the state of {key}: {state} at {last}"
        return None

    def check_pages(self):
        """Counters are kept with the page that they count: what a page did again would be counted as unchanged."""
        for number in range(1, APPENDS + 1):
            added, changed, unchanged, deleted = self.project.rows(
                "SELECT sum(added), sum(changed), sum(unchanged), sum(deleted) FROM _workers_runs WHERE key = ?", f"append{number}Sync")[0]
            self.assertEqual((added, changed, unchanged, deleted), (self.upstream.last(number), 0, 0, 0), f"append{number}")
        for number in range(1, CHANGES + 1):
            # Each entry changes its row, but a delete of what is not there: nothing is stale, nothing is the same.
            table, expected = set(), [0, 0, 0]
            for n in range(1, self.upstream.last(number) + 1):
                item = self.upstream.entry(n)
                there = item["key"] in table
                if "value" in item:
                    expected[1 if there else 0] += 1
                    table.add(item["key"])
                elif there:
                    expected[2] += 1
                    table.discard(item["key"])
            found = self.project.rows("SELECT sum(added), sum(changed), sum(deleted) FROM _workers_runs WHERE key = ?", f"change{number}Sync")[0]
            self.assertEqual(list(found), expected, f"change{number}")

    def check_deliveries(self):
        states = dict(self.project.rows("SELECT id, state FROM _workers_deliveries WHERE kind = 'webhook'"))
        self.assertEqual([id for id in self.accepted if states.get(id) != "done"], [])
        successes = dict(self.project.rows("SELECT delivery_id, sum(exit_code = 0) FROM _workers_runs WHERE delivery_id IS NOT NULL"
                                           " GROUP BY 1 HAVING sum(ended_at IS NULL) = 0"))
        self.assertEqual({id: successes.get(id) for id in states if successes.get(id) != 1}, {})
        for kind, key in (("append", "onAppended"), ("change", "onChanged")):
            told = dict(self.project.rows("SELECT id, state FROM _workers_deliveries WHERE key = ?", key))
            changes = self.project.value("SELECT sum(added + changed + deleted) FROM _workers_runs WHERE key = ?", f"{kind}{TOLD}Sync")
            self.assertEqual(len(told), changes, key)
            self.assertEqual({id: (state, successes.get(id)) for id, state in told.items() if (state, successes.get(id)) != ("done", 1)}, {})

    def check_effects(self):
        """What a handler did outside of the store is there once for a success, and once for each run at most."""
        runs = {id: counts for id, *counts in self.project.rows(
            "SELECT delivery_id, max(exit_code = 0), count(*) FROM _workers_runs WHERE delivery_id IS NOT NULL GROUP BY 1")}
        effects = collections.Counter(event["id"] for events in self.upstream.heard.values() for event in events)
        self.assertEqual(effects.keys() - runs.keys(), set())
        self.assertEqual({id: (effects[id], *counts) for id, counts in runs.items() if not counts[0] <= effects[id] <= counts[1]}, {})
        names = {event["id"]: event["n"] for event in self.upstream.heard["webhook"]}
        self.assertEqual({id: (name, names[id]) for id, name in self.accepted.items() if names[id] != name}, {})

    def check_order(self):
        """Events arrive for the first time in the order of their row's changes. An attempt that a stop held up may arrive
        again after later ones, but as the event that it was."""
        for kind in ("append", "change"):
            expected, table = collections.defaultdict(list), {}
            for n in range(1, self.upstream.last(TOLD) + 1):
                item = {"key": f"k{n}", "value": n} if kind == "append" else self.upstream.entry(n)
                before, after = table.get(item["key"]), item.get("value")
                if before != after:
                    change = "insert" if before is None else "delete" if after is None else "update"
                    expected[item["key"]].append((change, before, after))
                table[item["key"]] = after
            arrived, first = collections.defaultdict(list), {}
            for event in self.upstream.heard[kind]:
                if event["id"] in first:
                    self.assertEqual(event, first[event["id"]], "one id, two changes")
                    continue
                first[event["id"]] = event
                before, after = (event.get(which, {}).get("Value") for which in ("before", "row"))
                arrived[event["key"]].append((event["type"], before, after))
            self.assertEqual({key: (arrived[key], expected[key]) for key in arrived.keys() | expected.keys()
                              if arrived[key] != expected[key]}, {}, kind)

    def check_jobs(self):
        """No tick twice, whatever the clock does, and each that came was done. With "all" none is left out, since no jump misses
        more than a thousand; what "once" and "skip" leave out depends on when the server looks at a clock that jumps."""
        for key in ("once1", "once2", "skip", "all1", "all2"):
            ticks = [tick for tick, in self.project.rows("SELECT tick_at FROM _workers_deliveries WHERE key = ? ORDER BY 1", key)]
            self.assertEqual(len(ticks), len(set(ticks)), f"{key}: a tick twice")
            if key.startswith("all") and ticks:
                self.assertEqual(ticks, list(range(ticks[0], ticks[-1] + 60000, 60000)), key)
        states = dict(self.project.rows("SELECT id, state FROM _workers_deliveries WHERE kind = 'job'"))
        self.assertEqual({id: states.get(id) for id in self.ticks if states.get(id) != "done"}, {})
        twice = self.project.rows("SELECT d.key, d.tick_at FROM _workers_runs AS r JOIN _workers_deliveries AS d ON d.id = r.delivery_id"
                                  " WHERE d.kind = 'job' AND r.exit_code = 0 GROUP BY d.id HAVING count(*) > 1")
        self.assertEqual(twice, [])

    def test_chaos(self):
        self.serve()
        _, self.path = self.server.webhook("hook")
        begun = time.monotonic()
        pool = concurrent.futures.ThreadPoolExecutor(SENDERS)
        self.addCleanup(pool.shutdown)
        self.addCleanup(self.given_up.set)
        self.addCleanup(self.ended.set)
        senders = [pool.submit(self.send, sender) for sender in range(SENDERS)]
        next_fault = begun + 1
        while (now := time.monotonic()) < begun + SECONDS:
            self.end_faults(now)
            if now >= next_fault:
                self.hit()
                next_fault = now + self.chance.expovariate(1 / 0.8)
            if self.server.process.poll() is not None:
                # Only a start on a full disk ends it, and says why; systemd tries again.
                said = [line for line in self.server.text()[self.said:].splitlines() if line.startswith("error: ")]
                self.assertIn("the disk is full", "\n".join(said), f"the server ended: {self.log()}")
                self.assertLess(now - self.served, 10)
                self.serve()
            time.sleep(0.02)

        # Calm.
        self.end_faults(float("inf"))
        self.upstream.freeze()
        self.ended.set()
        for sender in senders:
            sender.result()
        harness.wait_until(lambda: self.difference() is None, lambda: f"the tables; first: {self.difference()}\n{self.log()}", CALM)
        waiting = "SELECT key, state, count(*) FROM _workers_deliveries WHERE state IN ('ready', 'running') GROUP BY 1, 2"

        def empty():
            # Ticks that come later may be cut short by the end.
            self.ticks = {id for id, in self.project.rows("SELECT id FROM _workers_deliveries WHERE kind = 'job'")}
            return not self.project.rows(waiting)

        harness.wait_until(empty, lambda: f"deliveries {self.project.rows(waiting)}\n{self.log()}", CALM)
        self.assertEqual(self.server.stop(), 0, self.log())

        done = self.project.value("SELECT count(*) FROM _workers_deliveries WHERE state = 'done'")
        cycles = self.project.value("SELECT count(*) FROM _workers_runs WHERE kind = 'sync' AND exit_code = 0")
        rows = self.project.value("SELECT sum(added + changed + deleted) FROM _workers_runs")
        faults = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        print(f"seed {SEED}: {SECONDS} s, {len(self.syncs())} syncs, {faults}; {len(self.accepted)} webhooks accepted, {done} deliveries"
              f" done, {cycles} cycles, {rows} changes of rows", flush=True)
        self.assertIsNone(self.difference())
        self.check_pages()
        self.check_deliveries()
        self.check_effects()
        self.check_order()
        self.check_jobs()
        self.assertEqual(self.project.rows("SELECT id, key FROM _workers_runs WHERE ended_at IS NULL"), [])
        self.assertEqual(self.project.rows("PRAGMA integrity_check"), [("ok",)])


if __name__ == "__main__":
    print(f"WORKERS_SEED={SEED}", flush=True)
    unittest.main()
