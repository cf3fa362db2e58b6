#!/usr/bin/env python3
"""A server that is killed, paused and cut off from its disk: what was answered 202 is handled, once; a process that
comes back late writes nothing."""
import concurrent.futures
import http.client
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import harness  # noqa: E402
from harness import Server  # noqa: E402

LIBRARY = os.environ.get("WORKERS_FAILING_WRITES")
FULL = os.environ.get("WORKERS_FULL") == "1"
SCRIPT = """
local workers = require "workers"
local Schema = workers.schema
local worker = workers.new()
local items = worker:database("items", { type = "managed", initialTitle = "Items", primaryKeyProperty = "Id",
  schema = { properties = { Name = Schema.title(), Id = Schema.richText() } } })
worker:webhook("hook", { title = "H", description = "d", execute = function(events)
  for _, event in ipairs(events) do
    if #event.rawBody ~= event.body.size then error("not byte-exact") end
  end
end })
worker:sync("loop", { database = items, mode = "incremental", schedule = "continuous", execute = function(state)
  local n = (state and state.n or 0) + 1
  return { changes = { { type = "upsert", key = tostring(n), properties = { Name = "x" } } }, hasMore = n % 50 ~= 0, nextState = { n = n } }
end })
return worker
"""


class ServeKillTest(unittest.TestCase):
    def setUp(self):
        self.project = harness.Project(SCRIPT)
        self.addCleanup(self.project.close)

    def start(self, *args, port=0, env=None):
        server = Server(self.project, *args, port=port, env=env)
        self.place = server.webhook("hook")
        harness.wait_until(lambda: self.post("{}", probe=True) == 200, "the server's answer")
        return server

    def post(self, body, probe=False):
        """The status, or None when there was no answer; the delivery's id goes to self.accepted."""
        host, path = self.place
        connection = http.client.HTTPConnection(host, timeout=10)
        try:
            if probe:
                connection.request("GET", "/healthz")
            else:
                connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status == 202:
                self.accepted.add(json.loads(text)["deliveryId"])
            return answer.status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def test_every_202_is_handled_and_succeeds_once(self):
        seed = int(os.environ.get("WORKERS_SEED") or random.SystemRandom().randrange(1 << 31))
        chance = random.Random(seed)
        wanted, kills = (20000, 20) if FULL else (2000, 6)
        self.accepted = set()
        port = harness.free_port()
        server = self.start("--processes", "2", port=port)

        def send(n):
            body = json.dumps({"n": n, "pad": "x" * (n % 300), "size": 0})
            body = body.replace('"size": 0', f'"size": {len(body) + 3:4d}')
            for _ in range(200):
                if self.post(body) == 202:
                    return
                time.sleep(0.02)
            raise AssertionError("nobody takes it")

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            sending = [pool.submit(send, n) for n in range(wanted)]
            for kill in range(kills):
                share = wanted * (kill + chance.random()) / kills
                harness.wait_until(lambda: len(self.accepted) >= share or all(f.done() for f in sending), "deliveries", 120)
                if chance.random() < 0.3:
                    server.process.kill()  # the supervisor: its processes stop in good order
                    server.process.wait()
                    harness.wait_until(lambda: self.post("{}", probe=True) is None, "the end of the processes")
                    server = Server(self.project, "--processes", "2", port=port)
                else:
                    children = server.children()
                    for pid in chance.sample(children, chance.randint(1, len(children))):
                        os.kill(pid, signal.SIGKILL)
            for future in sending:
                future.result()
        done = lambda: self.project.value("SELECT count(*) FROM _workers_deliveries WHERE state = 'done'")  # noqa: E731
        try:
            harness.wait_until(lambda: done() >= len(self.accepted) and not self.project.value(
                "SELECT count(*) FROM _workers_deliveries WHERE state IN ('ready', 'running')"), "the last deliveries", 120)
        finally:
            print(f"seed {seed}: {len(self.accepted)} accepted, {done()} done, {kills} kills, "
                  f"{self.project.value('SELECT sum(losses) FROM _workers_deliveries')} lost attempts", flush=True)
        self.assertEqual(server.stop(), 0)
        states = dict(self.project.rows("SELECT id, state FROM _workers_deliveries"))
        self.assertEqual([id for id in self.accepted if states.get(id) != "done"], [])
        # Some were stored and their answer was lost: they were sent again, and are handled as well.
        self.assertEqual(set(states.values()), {"done"})
        successes = dict(self.project.rows("SELECT delivery_id, sum(exit_code = 0) FROM _workers_runs WHERE kind = 'webhook' GROUP BY 1"))
        self.assertEqual({id: n for id, n in successes.items() if n != 1}, {})
        self.assertEqual(set(successes), set(states))
        self.assertEqual(json.loads(self.project.value("SELECT state FROM _workers_syncs"))["n"], self.project.value("SELECT count(*) FROM items"))

    def test_no_202_when_the_disk_does_not_flush(self):
        self.accepted = set()
        server = self.start()
        self.assertEqual(self.post('{"size": 12}'), 202)
        child, = server.children()
        tracer = subprocess.Popen(["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO",
                                   "-p", str(child)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(tracer.stderr.close)
        self.addCleanup(tracer.kill)
        # It holds when the first call has failed.
        harness.wait_until(lambda: self.post('{"size": 12}') == 503 or tracer.poll() is not None, "an answer 503")
        if tracer.poll() is not None:
            self.skipTest(f"strace cannot attach: {tracer.stderr.read()}")
        accepted = len(self.accepted)
        self.assertEqual([self.post('{"size": 12}') for _ in range(20)], [503] * 20)
        self.assertEqual(len(self.accepted), accepted)
        tracer.terminate()
        tracer.wait(10)
        harness.wait_until(lambda: self.post('{"size": 12}') == 202, "an answer 202 when the disk is well again")
        harness.wait_until(lambda: self.project.value("SELECT count(*) FROM _workers_deliveries WHERE state = 'done'") == len(self.accepted),
                           "the deliveries")
        self.assertEqual(server.stop(), 0)
        self.assertIn("the file system failed", server.text())

    def start_with_a_request_under_way(self, script, deliver=False):
        """A server whose disk has become full while a script waits for the answer to a request; it comes when the gate is set."""
        upstream = harness.Upstream()
        self.addCleanup(upstream.close)
        gate = threading.Event()
        upstream.script("page", harness.Page({}, gate=gate))
        self.project.write("main.lua", script.replace("URL", json.dumps(upstream.url + "/page")))
        self.project.write("workers.yaml", f'name: test\nmain: main.lua\npermissions: {{ net: ["{upstream.url[7:]}"] }}\n')
        self.full = self.project.folder / "full"
        self.accepted = set()
        server = self.start(env={"LD_PRELOAD": LIBRARY, "FAILING_WRITES_WHILE": str(self.full), "ASAN_OPTIONS": "verify_asan_link_order=0"})
        if deliver:
            self.assertEqual(self.post("{}"), 202)
        harness.wait_until(lambda: upstream.count("page") == 1, "the request")
        self.full.touch()
        return gate, server

    @unittest.skipUnless(LIBRARY, "WORKERS_FAILING_WRITES does not name the library")
    def test_a_cycle_ends_when_the_disk_is_well_again(self):
        """Not when its lease runs out, which its process holds all the time."""
        gate, server = self.start_with_a_request_under_way(SCRIPT.replace("return worker", """
worker:sync("waits", { database = items, mode = "incremental", schedule = "continuous", execute = function()
  require "workers.http".get(URL)
  return { changes = {}, hasMore = false, nextState = { n = 1 } }
end })
return worker"""))
        gate.set()
        # While so many wait for the store one after the other, the page and the end are refused as well.
        self.assertEqual([self.post('{"size": 12}') for _ in range(100)], [503] * 100)
        self.full.unlink()
        held = "SELECT count(*) FROM _workers_runs WHERE key = 'waits' AND ended_at IS NULL"
        harness.wait_until(lambda: self.project.value(held) == 0, "the end of the run", 15)
        harness.wait_until(lambda: server.text().count("test.waits: sync failed") == 1, "the report")
        self.assertIn("test.waits: sync failed (attempt 1, is tried again): database: the disk is full", server.text())
        self.assertEqual(server.stop(), 0)

    @unittest.skipUnless(LIBRARY, "WORKERS_FAILING_WRITES does not name the library")
    def test_a_full_disk_is_asked_once_a_second(self):
        """Also while the end of a delivery waits to be written."""
        gate, server = self.start_with_a_request_under_way("""
local worker = require "workers".new()
worker:webhook("hook", { title = "H", description = "d", execute = function() require "workers.http".get(URL) end })
return worker""", deliver=True)
        began = time.monotonic()
        gate.set()
        server.wait_for("test: database: the disk is full", 3)
        self.assertGreater(time.monotonic() - began, 1.5)
        self.full.unlink()
        done = "SELECT count(*) FROM _workers_deliveries WHERE state = 'done'"
        harness.wait_until(lambda: self.project.value(done) == 1, "the end of the delivery")
        self.assertEqual(self.project.rows("SELECT exit_code FROM _workers_runs"), [(0,)])
        self.assertEqual(server.stop(), 0)

    def test_a_process_that_was_paused_is_fenced_off(self):
        self.accepted = set()
        server = self.start("--processes", "2")
        rows = lambda: self.project.value("SELECT count(*) FROM items")  # noqa: E731
        harness.wait_until(lambda: rows() > 5, "rows")

        def pause():
            """Stops the process that runs the sync in the middle of a cycle."""
            owner = self.project.value("SELECT lease_owner FROM _workers_syncs WHERE cycle_open")
            if owner is None:
                return None
            pid = int(owner.split()[1])
            os.kill(pid, signal.SIGSTOP)
            if self.project.value("SELECT lease_owner FROM _workers_syncs WHERE cycle_open") == owner:
                return pid
            os.kill(pid, signal.SIGCONT)
            return None

        paused = harness.wait_until(pause, "a cycle that is under way")
        token = self.project.value("SELECT lease_token FROM _workers_syncs")
        # Its time passes: what it holds runs out as if half a minute had gone by.
        with self.project.database() as database:
            database.execute("UPDATE _workers_syncs SET lease_expires_at = 0")
            database.commit()
        harness.wait_until(lambda: self.project.value("SELECT lease_token FROM _workers_syncs") > token, "the take-over")
        os.kill(paused, signal.SIGCONT)
        harness.wait_until(lambda: "taken over" in server.text(), "the refusal")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(json.loads(self.project.value("SELECT state FROM _workers_syncs"))["n"], rows())

if __name__ == "__main__":
    unittest.main()
