#!/usr/bin/env python3
"""The rules that every sync keeps, through the binary: the cycle and its state, what a failure leaves, limits, status and preview."""
import json
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import Page, finish, main, wait_until  # noqa: E402
from rules import DELTA, FULL, ITEMS, RulesCase, delete, items, page, upsert  # noqa: E402


class RulesCyclesTest(RulesCase):
    # ---- 1: how a cycle starts ----

    def test_rule_01_replace_is_the_default_and_starts_without_state(self):
        self.worker(FULL)
        self.sync("full", page(upsert("a"), next={"page": 2}), page(upsert("b")))
        self.assertEqual(self.states("full"), [None, {"page": 2}])
        self.assertEqual(self.keys(), ["a", "b"])
        self.assertIsNone(self.p.value("SELECT state FROM _workers_syncs WHERE key = 'full'"))
        self.sync("full", page(*items("a", "b")))
        self.assertEqual(self.states("full"), [None])
        self.assertEqual(self.p.status("full")["mode"], "replace")

    def test_rule_01_incremental_starts_with_the_last_state(self):
        self.worker(DELTA)
        self.sync("delta", {"changes": items("a"), "hasMore": False, "nextState": {"since": 9007199254740993}})
        self.sync("delta", {"changes": [], "hasMore": False, "nextState": {"since": 9007199254740994}})
        self.assertEqual(self.states("delta"), [{"since": 9007199254740993}])
        self.assertEqual(self.p.value("SELECT state FROM _workers_syncs"), '{"since":9007199254740994}')

    def test_rule_01_a_cursor_of_a_replace_cycle_is_not_given_to_incremental(self):
        self.worker(FULL)
        self.sync("full", page(upsert("a"), next={"page": 2}), {"fail": "broken"}, code=1)
        self.p.write("main.lua", self.script(FULL.replace("database", 'mode = "incremental", database', 1)))
        self.sync("full", {"changes": [], "hasMore": False, "nextState": 1})
        self.assertEqual(self.states("full"), [None])

    # ---- 2: one page is one transaction ----

    def test_rule_02_a_page_commits_as_one(self):
        self.worker(FULL)
        seen = []

        def look(body):
            """At the time of the third request: pages are committed behind execute, so one page at least is there."""
            def committed():
                rows = self.p.rows("SELECT (SELECT count(*) FROM items), state, cycle_pages,"
                                   " (SELECT pages FROM _workers_runs), (SELECT added FROM _workers_runs) FROM _workers_syncs")
                return rows if rows[0][2] == 2 else None
            seen.extend(wait_until(committed, "the second page to be committed"))
            return page(*items("e"))

        self.sync("full", page(*items("a", "b"), next={"page": 2}), page(*items("c", "d"), next={"page": 3}), look)
        self.assertEqual(seen, [(4, '{"page":3}', 2, 2, 4)])
        self.assertEqual(self.last_run()["pages"], 3)
        self.assertEqual(self.last_run()["requests"], 3)

    def test_rule_02_a_bad_change_leaves_nothing_of_its_page(self):
        self.worker(FULL)
        bad = upsert("z", Count="many")
        many = [upsert(str(i)) for i in range(5000)]
        result = self.sync("full", page(*items("a"), next={"page": 2}), page(*many, bad), code=1)
        self.assertEqual(self.keys(), ["a"])
        self.assertEqual(self.p.value("SELECT state FROM _workers_syncs"), '{"page":2}')
        self.assertEqual(self.last_run()["added"], 1)
        for part in ('row "z"', 'property "Count"', "number", "main.lua:"):
            self.assertIn(part, result.stderr)

    # ---- 3: states that cannot go on ----

    def test_rule_03_has_more_needs_next_state(self):
        self.worker(FULL)
        result = self.sync("full", {"changes": items("a"), "hasMore": True}, code=1)
        self.assertIn("hasMore = true without nextState", result.stderr)
        self.assertEqual(self.keys(), [])
        self.assertEqual(self.last_run()["exit_code"], 1)

    def test_rule_03_a_cursor_that_stands_still_ends_the_run(self):
        self.worker(FULL)
        result = self.sync("full", page(*items("a"), next={"p": 2, "q": [1]}), page(*items("b"), next={"q": [1], "p": 2}), code=1)
        self.assertIn("cursor did not advance", result.stderr)
        self.assertIn('{"p":2,"q":[1]}', result.stderr)
        self.assertEqual(self.up.count("full"), 2)
        self.assertEqual(self.keys(), ["a"])
        # The next attempt is given that state, and standing still is seen at once.
        result = self.sync("full", page(*items("b"), next={"p": 2, "q": [1]}), code=1)
        self.assertIn("cursor did not advance", result.stderr)
        self.assertEqual(self.up.count("full"), 1)

    def test_rule_03_what_execute_may_return(self):
        self.worker("""
local answers = {
  none = nil, text = "x", list = { 1 }, extra = { changes = {}, hasMore = false, hasMroe = 1 }, named = { changes = { a = 1 }, hasMore = false },
  state = { changes = {}, hasMore = true, nextState = { f = print } }, missing = { hasMore = false }, more = { changes = {}, hasMore = 1 },
  large = { changes = {}, hasMore = true, nextState = ("x"):rep(70000) }, nan = { changes = {}, hasMore = true, nextState = 0/0 },
  hole = { changes = { nil, { type = "delete", key = "a" } }, hasMore = false },
}
for _, key in ipairs { "none", "text", "list", "extra", "named", "state", "missing", "more", "large", "nan", "hole" } do
  worker:sync(key, { database = items, schedule = "manual", execute = function() return answers[key] end })
end
""", config="name: test\nmain: main.lua\nlimits: { state: 64KiB }\n")
        cases = {"none": "it returned nothing", "text": "it returned string", "list": "execute returned a list",
                 "extra": 'did you mean "hasMore"', "named": "changes as a list", "state": "nextState is not JSON",
                 "missing": "execute returned no changes", "more": "hasMore as true or false", "large": "larger than 64 KiB",
                 "nan": "nextState is not JSON", "hole": "changes[1]"}
        for key, part in cases.items():
            result = self.ok(self.p.run("run", "main.lua", key), 1)
            self.assertIn(part, result.stderr, key)
            self.assertIn("main.lua:", result.stderr, key)
            self.assertEqual(self.last_run(key)["exit_code"], 1)
        self.assertEqual(self.keys(), [])

    # ---- 4: what a failure leaves ----

    def test_rule_04_the_next_attempt_resumes_the_same_cycle(self):
        self.worker(FULL)
        self.sync("full", page(*items("a", "b", "c")))
        self.sync("full", page(upsert("a"), next={"page": 2}), {"fail": "upstream is down"}, code=1)
        self.assertEqual(self.keys(), ["a", "b", "c"], "a failure in the middle deletes nothing")
        status = self.p.status("full")
        self.assertTrue(status["cycleOpen"])
        self.assertEqual(status["cyclePages"], 1)
        self.assertIn("upstream is down", status["lastError"])
        self.sync("full", page(upsert("b"), upsert("d")))
        self.assertEqual(self.states("full"), [{"page": 2}])
        self.assertEqual(self.keys(), ["a", "b", "d"], "a was seen by the first attempt; c by none")
        cycles = self.p.rows("SELECT cycle_id, exit_code, pages FROM _workers_runs ORDER BY id")
        self.assertEqual(cycles[1][0], cycles[2][0])
        self.assertNotEqual(cycles[0][0], cycles[1][0])
        self.assertEqual([c[1:] for c in cycles], [(0, 1), (1, 1), (0, 1)])

    def test_rule_04_a_killed_process_is_taken_over_at_once(self):
        self.worker(FULL)
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.up.script("full", page(*items("a"), next={"page": 2}), Page(page(*items("b")), gate=gate))
        process = self.p.start("run", "main.lua", "full")
        wait_until(lambda: self.up.count("full") == 2, "the second page to be asked for")
        wait_until(lambda: self.keys() == ["a"], "the first page to be committed")
        process.kill()
        finish(process)
        started = time.monotonic()
        self.sync("full", page(*items("b", "c")))
        self.assertLess(time.monotonic() - started, 10, "the lease of a dead process is not waited out")
        self.assertEqual(self.states("full"), [{"page": 2}])
        self.assertEqual(self.keys(), ["a", "b", "c"])
        runs = self.p.rows("SELECT exit_code, error FROM _workers_runs ORDER BY id")
        self.assertEqual(runs[0][0], 1)
        self.assertIn("the process ended before the run did", runs[0][1])
        self.assertEqual(runs[1], (0, None))

    def test_rule_04_two_processes_never_run_one_sync(self):
        self.worker(FULL, DELTA)
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.up.script("full", Page(page(*items("a")), gate=gate))
        process = self.p.start("run", "main.lua", "full")
        wait_until(lambda: self.up.count("full") == 1, "the first process to execute")
        self.assertTrue(self.p.status("full")["running"])
        result = self.p.run("run", "main.lua", "full")
        self.assertEqual(result.returncode, 1)
        self.assertIn(f'sync "full" is already running, in process {process.pid}', result.stderr)
        self.assertEqual(self.up.count("full"), 1, "the second process executed nothing")
        for action in (("sync", "state", "reset", "full"), ("sync", "state", "set", "full", "{}")):
            self.assertEqual(self.p.run(*action).returncode, 1)
        self.sync("delta", {"changes": items("d"), "hasMore": False, "nextState": 1})  # another sync may run
        gate.set()
        self.assertEqual(finish(process)[0], 0)
        self.assertEqual(sorted(self.keys()), ["a", "d"])
        self.assertFalse(self.p.status("full")["running"])
        self.assertEqual(self.p.value("SELECT count(*) FROM _workers_runs WHERE key = 'full'"), 1)

    def test_rule_04_who_lost_the_lease_writes_nothing(self):
        self.worker(FULL)
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.up.script("full", page(*items("a"), next=2), Page(page(*items("b")), gate=gate))
        process = self.p.start("run", "main.lua", "full")
        wait_until(lambda: self.up.count("full") == 2)
        wait_until(lambda: self.keys() == ["a"])
        with self.p.database() as connection:  # what another machine does after the lease ran out
            connection.execute("UPDATE _workers_syncs SET lease_token = lease_token + 1, lease_owner = 'elsewhere/1 1 1'")
            connection.commit()
        gate.set()
        code, _, err = finish(process)
        self.assertEqual(code, 1)
        self.assertIn("another process has taken over", err)
        self.assertEqual(self.keys(), ["a"])
        self.assertEqual(self.p.value("SELECT state FROM _workers_syncs"), "2")

    # ---- 9: the state at the end of incremental ----

    def test_rule_09_without_next_state_the_next_cycle_starts_afresh(self):
        self.worker(DELTA)
        self.sync("delta", {"changes": items("a"), "hasMore": False, "nextState": {"at": 1}})
        result = self.sync("delta", {"changes": items("b"), "hasMore": False})
        self.assertEqual(self.states("delta"), [{"at": 1}])
        self.assertIn("starts afresh", result.stderr)
        self.assertEqual(self.keys(), ["a", "b"])
        run = self.p.value("SELECT id FROM _workers_runs ORDER BY id DESC LIMIT 1")
        self.assertIn("starts afresh", self.ok(self.p.run("runs", "logs", run)).stdout, "the run's log says so")
        self.sync("delta", {"changes": [], "hasMore": False, "nextState": 1})
        self.assertEqual(self.states("delta"), [None])

    def test_rule_09_a_failed_page_leaves_the_state_of_the_page_before(self):
        self.worker(DELTA)
        self.sync("delta", {"changes": items("a"), "hasMore": False, "nextState": "one"})
        self.sync("delta", page(*items("b"), next="two"), {"fail": "no"}, code=1)
        self.sync("delta", {"fail": "no"}, code=1)
        self.sync("delta", {"changes": [], "hasMore": False, "nextState": "three"})
        self.assertEqual(self.states("delta"), ["two"])

    # ---- 11: waiting costs no CPU limit and holds up nobody ----

    def test_rule_11_waiting_does_not_count_against_the_cpu_limit(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.worker(FULL.replace('from "full"', """function()
  workers.sleep(0.4)
  slow:wait()
  slow:wait()
  return from "full" (nil, {})
end""").replace("worker:sync", 'local slow = worker:pacer("slow", { allowedRequests = 1, intervalMs = 400 })\nworker:sync', 1), DELTA,
                    config="name: test\nmain: main.lua\nlimits: { cpu: 300ms }\n")
        self.up.script("full", Page(page(*items("a")), gate=gate))
        process = self.p.start("run")

        def answer(body):
            gate.set()  # full is waiting for its answer while delta is being answered
            return {"changes": items("d"), "hasMore": False, "nextState": 1}

        self.up.script("delta", lambda body: (wait_until(lambda: self.up.count("full") == 1), answer(body))[1])
        code, out, err = finish(process)
        self.assertEqual(code, 0, err)
        self.assertEqual(sorted(self.keys()), ["a", "d"])
        self.assertGreater(self.p.value("SELECT ended_at - started_at FROM _workers_runs WHERE key = 'full'"), 790)

    def test_rule_11_a_busy_script_stops_at_its_limit_and_no_other(self):
        self.worker('worker:sync("spin", { database = items, schedule = "manual", execute = function() while true do end end })\n',
                    DELTA, config="name: test\nmain: main.lua\nlimits: { cpu: 300ms }\n")
        self.up.script("delta", {"changes": items("d"), "hasMore": False, "nextState": 1})
        result = self.p.run("run")
        self.assertEqual(result.returncode, 1)
        self.assertIn("CPU", result.stderr)
        self.assertEqual(self.keys(), ["d"])
        self.assertEqual(self.p.status("delta")["status"], "HEALTHY")
        self.assertEqual(self.p.status("spin")["status"], "WARNING")

    # ---- 12: rate limits and failures ----

    def test_rule_12_a_rate_limit_is_waited_out(self):
        self.worker(FULL)
        started = time.monotonic()
        result = self.sync("full", page(*items("a"), next=2), {"retryAfter": 0.01}, page(*items("b")))
        waited = time.monotonic() - started
        self.assertGreaterEqual(waited, 1.0, "the backoff is larger than retryAfter")
        self.assertIn("rate limited; trying again in 1.0 s", result.stderr)
        self.assertEqual(self.states("full"), [None, 2, 2])
        self.assertEqual(self.keys(), ["a", "b"])
        status = self.p.status("full")
        self.assertEqual((status["status"], status["consecutiveFailureCount"]), ("HEALTHY", 0))
        self.assertEqual(self.p.value("SELECT count(*) FROM _workers_runs"), 1)

    def test_rule_12_retry_after_of_an_answer_is_kept(self):
        self.worker(FULL)
        self.up.script("full", Page({}, status=429, headers=[("Retry-After", "2")]), page(*items("a")))
        result = self.sync("full")
        self.assertIn("trying again in 2.0 s", result.stderr)
        first, second = (at for at, path in self.up.arrivals if path == "full")
        self.assertGreaterEqual(second - first, 1.99)
        self.assertEqual(self.p.status("full")["consecutiveFailureCount"], 0)

    def test_rule_12_a_failure_is_told_at_once(self):
        self.worker(FULL)
        result = self.sync("full", {"fail": "the upstream said no"}, code=1)
        self.assertIn("the upstream said no", result.stderr)
        self.assertIn("main.lua:", result.stderr)
        self.assertIn("failed", result.stdout)
        self.assertEqual(self.up.count("full"), 1, "no retry behind the user's back")
        self.assertIn("the upstream said no", self.last_run()["error"])
        result = self.sync("full", Page({"m": "boom"}, status=500), code=1)
        self.assertIn("500", result.stderr)
        result = self.sync("full", Page(drop=True), code=1)
        self.assertIn("full", result.stderr)

    def test_rule_12_one_failing_sync_does_not_stop_the_others(self):
        self.worker(FULL, DELTA)
        self.up.script("full", {"fail": "no"})
        self.up.script("delta", {"changes": items("d"), "hasMore": False, "nextState": 1})
        result = self.p.run("run", "--json")
        self.assertEqual(result.returncode, 1)
        summary = {entry["key"]: entry for entry in json.loads(result.stdout)}
        self.assertEqual(summary["full"]["result"], "failed")
        self.assertEqual((summary["delta"]["result"], summary["delta"]["added"]), ("done", 1))

    # ---- 13: status ----

    def test_rule_13_status(self):
        self.worker(FULL)
        self.assertEqual(self.p.status("full")["status"], "INITIALIZING")
        expected = ["WARNING", "WARNING", "ERROR", "ERROR"]
        for number, status in enumerate(expected, 1):
            self.sync("full", {"fail": "no"}, code=1)
            got = self.p.status("full")
            self.assertEqual((got["status"], got["consecutiveFailureCount"]), (status, number))
        self.sync("full", page(*items("a")))
        got = self.p.status("full")
        self.assertEqual((got["status"], got["consecutiveFailureCount"]), ("HEALTHY", 0))
        self.assertNotIn("lastError", got)
        self.sync("full", page())
        self.assertEqual(self.p.status("full")["status"], "HELD")
        self.ok(self.p.run("sync", "pause", "full"))
        self.assertEqual(self.p.status("full")["status"], "DISABLED")
        self.ok(self.p.run("sync", "resume", "full"))
        self.assertEqual(self.p.status("full")["status"], "HELD")
        self.ok(self.p.run("sync", "state", "reset", "full"))
        self.assertEqual(self.p.status("full")["status"], "HEALTHY")

    # ---- 14: preview ----

    def preview(self, key, *pages, args=("--json",)):
        self.up.script(key, *pages)
        before = self.p.dump()
        result = self.ok(self.p.run("run", "main.lua", key, "--preview", *args))
        self.assertEqual(self.p.dump(), before, "a preview writes nothing")
        return json.loads(result.stdout)[0] if "--json" in args else result

    def test_rule_14_preview_shows_every_change_and_writes_nothing(self):
        self.worker(FULL)
        self.sync("full", page(upsert("a", Count=1), upsert("b", Count=2), upsert("c"), upsert("d")))
        got = self.preview("full", page(upsert("a", Count=1), upsert("n", Count=9), next=2),
                           page(upsert("b", Count=3), next=3), page(delete("c")))
        self.assertTrue(all(body["preview"] for body in self.up.requests["full"]))
        changes = {(c["change"], c["key"]): c["properties"] for c in got["changes"]}
        self.assertEqual(set(changes), {("add", "n"), ("change", "b"), ("delete", "c"), ("delete", "d")},
                         "d is shown too: the end of the cycle would sweep it")
        self.assertEqual(changes["change", "b"], {"Count": {"before": "2", "after": "3"}})
        self.assertEqual(changes["add", "n"]["Count"], {"before": None, "after": "9"})
        self.assertEqual((got["added"], got["changed"], got["unchanged"], got["deleted"], got["pages"]), (1, 1, 1, 2, 3))
        self.assertEqual(self.keys(), ["a", "b", "c", "d"])
        self.assertEqual(self.p.value("SELECT count(*) FROM _workers_runs"), 1)

    def test_rule_14_preview_for_people(self):
        self.worker(FULL)
        self.sync("full", page(upsert("a", Count=1), upsert("b")))
        out = self.preview("full", page(upsert("a", Count=5), upsert("n")), args=()).stdout
        for line in ("~ items a", "    Count: 1 → 5", "+ items n", "    Name: Item n", "- items b"):
            self.assertIn(line + "\n", out)

    def test_rule_14_preview_shows_a_sweep_that_would_be_held(self):
        self.worker(FULL)
        self.sync("full", page(*items(*range(100))))
        got = self.preview("full", page(*items(1)))
        self.assertEqual((got["result"], got["heldDeletes"], got["deleted"]), ("held", 99, 0))
        self.assertEqual(got["changes"], [])

    def test_rule_14_preview_of_incremental_starts_where_it_stands(self):
        self.worker(DELTA)
        self.sync("delta", {"changes": items("a"), "hasMore": False, "nextState": "one"})
        self.preview("delta", {"changes": items("b"), "hasMore": False, "nextState": "two"})
        self.assertEqual(self.states("delta"), ["one"])
        self.sync("delta", {"changes": [], "hasMore": False, "nextState": "two"})
        self.assertEqual(self.states("delta"), ["one"])

    def test_rule_14_preview_of_one_page_for_another_program(self):
        self.worker(FULL)
        self.sync("full", page(*items("a")))
        self.up.script("full", page(*items("b"), next={"page": 3}))
        before = self.p.dump()
        result = self.ok(self.p.run("sync", "trigger", "full", "--preview", "--json", "--context", '{"page":2}'))
        got = json.loads(result.stdout)
        self.assertEqual(got["hasMore"], True)
        self.assertEqual(got["nextContext"], {"page": 3})
        self.assertEqual([change["key"] for change in got["changes"]], ["b"])
        self.assertEqual(self.states("full"), [{"page": 2}])
        self.assertEqual(self.p.dump(), before)

    def test_rule_14_preview_before_the_first_run_makes_no_tables(self):
        self.worker(FULL)
        self.up.script("full", page(upsert("a")))
        result = self.ok(self.p.run("run", "--preview", "--json"))
        self.assertEqual(json.loads(result.stdout)[0]["added"], 1)
        self.assertIsNone(self.p.value("SELECT 1 FROM sqlite_schema WHERE name = 'items'"))
        for table in ("_workers_databases", "_workers_syncs", "_workers_runs", "_workers_marks"):
            self.assertEqual(self.p.rows(f"SELECT * FROM {table}"), [])

    def test_rule_14_preview_after_a_change_of_schema_migrates_nothing(self):
        self.worker(FULL)
        self.sync("full", page(*items("a", "b")))
        self.p.write("main.lua", self.script(ITEMS.replace("Count = Schema.number()", "Count = Schema.number(), More = Schema.url()"),
                                             FULL))
        got = self.preview("full", page(upsert("a", More="https://example.com")))
        self.assertEqual([c["key"] for c in got["changes"]], ["a", "b"])
        self.assertEqual(got["changes"][0]["properties"]["More"], {"before": None, "after": "https://example.com"})


if __name__ == "__main__":
    main()
