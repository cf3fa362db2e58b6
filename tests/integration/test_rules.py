#!/usr/bin/env python3
"""The fourteen rules that every sync keeps, and migration of tables, through the binary.

The worker under test asks an upstream for its pages and returns what it got, so a test scripts the whole sync from here.
"""
import json
import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import BINARY, Page, TestCase, finish, main, sanitized, wait_until  # noqa: E402

HEAD = """
local workers = require "workers"
local http = require "workers.http"
local Schema, Builder = workers.schema, workers.builder
local worker = workers.new()

-- Returns what the upstream answers: { changes, hasMore, nextState }, or { fail } or { retryAfter }.
local function from(path)
  return function(state, ctx)
    local answer = http.post("URL/" .. path, { json = { state = state, preview = ctx.preview } }):raise():json()
    if answer.fail then error(answer.fail) end
    if answer.retryAfter then error(workers.RateLimitError { retryAfter = answer.retryAfter }) end
    for _, change in ipairs(answer.changes) do
      if change.icon then change.icon = Builder.emojiIcon(change.icon) end
      if change.cover then change.cover = Builder.imageCover(change.cover) end
    end
    return answer
  end
end
"""

ITEMS = """
local items = worker:database("items", {
  type = "managed", initialTitle = "Items", primaryKeyProperty = "ID",
  schema = { properties = {
    Name = Schema.title(), ID = Schema.richText(), Count = Schema.number(), Done = Schema.checkbox(),
    Due = Schema.date(), Tags = Schema.multiSelect { { name = "red" } }, State = Schema.select { { name = "open" } },
  } },
})
"""

FULL = 'worker:sync("full", { database = items, schedule = "manual", execute = from "full" })\n'
DELTA = 'worker:sync("delta", { database = items, mode = "incremental", schedule = "manual", execute = from "delta" })\n'
END = "return worker\n"


def upsert(key, **properties):
    """An upsert; names that begin with a small letter are fields of the change."""
    change = {"type": "upsert", "key": key, "properties": {"Name": f"Item {key}"}}
    for name, value in properties.items():
        if name[0].islower():
            change[name] = value
        else:
            change["properties"][name] = value
    return change


def bare(key, **fields):
    """An upsert with these properties and no others."""
    return {"type": "upsert", "key": key, "properties": fields}


def delete(key):
    return {"type": "delete", "key": key}


def page(*changes, next=None):
    result = {"changes": list(changes), "hasMore": next is not None}
    if next is not None:
        result["nextState"] = next
    return result


def items(*keys):
    return [upsert(str(key)) for key in keys]


class RulesTest(TestCase):
    def setUp(self):
        self.up = self.upstream()

    def worker(self, *parts, config=None):
        """A project whose script is the parts, around the database "items" unless they bring their own."""
        self.p = self.project(self.script(*parts), config)
        return self.p

    def script(self, *parts):
        databases = () if any("worker:database" in part for part in parts) else (ITEMS,)
        return "".join([HEAD, *databases, *parts, END]).replace("URL", self.up.url)

    def sync(self, key, *pages, code=0, args=()):
        """One run of one sync over these pages."""
        if pages:
            self.up.script(key, *pages)
        return self.ok(self.p.run("run", "main.lua", key, *args), code)

    def keys(self, table="items"):
        return [row[0] for row in self.p.rows(f"SELECT _key FROM {table} ORDER BY _id")]

    def states(self, key):
        """The states execute was given, in order."""
        return [body.get("state") for body in self.up.requests[key]]

    def last_run(self, key="full"):
        columns = ("exit_code", "pages", "requests", "added", "changed", "unchanged", "deleted", "stale", "error")
        rows = self.p.rows(f"SELECT {', '.join(columns)} FROM _workers_runs WHERE key = ? ORDER BY id DESC LIMIT 1", key)
        return dict(zip(columns, rows[0]))

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

    # ---- 5: the sweep ----

    def test_rule_05_rows_that_no_page_returned_are_deleted_at_the_end_only(self):
        self.worker(FULL)
        self.sync("full", page(*items("a", "b", "c", "d")))
        seen = []

        def look(body):
            wait_until(lambda: self.p.value("SELECT cycle_pages FROM _workers_syncs") == 1)
            seen.append(self.keys())
            return page(upsert("d"))

        self.sync("full", page(upsert("a"), next={"page": 2}), look)
        self.assertEqual(seen, [["a", "b", "c", "d"]])
        self.assertEqual(self.keys(), ["a", "d"])
        run = self.last_run()
        self.assertEqual((run["deleted"], run["unchanged"], run["added"]), (2, 2, 0))
        reasons = self.p.rows("SELECT key, reason FROM _workers_deleted ORDER BY key")
        self.assertEqual(reasons, [("b", "sweep"), ("c", "sweep")])

    def test_rule_05_failures_again_and_again_delete_nothing(self):
        self.worker(FULL)
        self.sync("full", page(*items(*"abcdef")))
        for number, key in enumerate("abc", 2):
            self.sync("full", page(upsert(key), next={"page": number}), {"fail": "no"}, code=1)
            self.assertEqual(self.keys(), list("abcdef"))
        self.sync("full", page(upsert("e")))
        self.assertEqual(self.keys(), list("abce"))

    def test_rule_05_a_failing_first_page_begins_a_new_cycle(self):
        self.worker(FULL)
        self.sync("full", page(*items("a", "b")))
        self.sync("full", {"fail": "no"}, code=1)
        self.sync("full", page(*items("a")))
        self.assertEqual(self.states("full"), [None])
        self.assertEqual(self.keys(), ["a"])

    def test_rule_05_what_a_delta_wrote_after_the_cycle_began_survives(self):
        self.worker(FULL, DELTA)
        self.sync("full", page(*items("kept", "same", "old", "gone")))

        def in_between(body):
            self.up.script("delta", {"changes": [upsert("new"), upsert("same"), upsert("old", Count=7)],
                                     "hasMore": False, "nextState": 1})
            self.ok(self.p.run("run", "main.lua", "delta"))
            return page()

        self.sync("full", page(upsert("kept"), next={"page": 2}), in_between)
        self.assertEqual(self.keys(), ["kept", "same", "old", "new"],
                         "new, changed and unchanged rows of the delta survive; gone goes")
        self.assertEqual(self.last_run("delta")["unchanged"], 1)
        # The protection is for that cycle only.
        self.sync("full", page(*items("kept", "old")))
        self.assertEqual(self.keys(), ["kept", "old"])

    def test_rule_05_a_delta_between_two_attempts_counts_as_after_the_beginning(self):
        self.worker(FULL, DELTA)
        self.sync("full", page(*items("a", "b", "c")))
        self.sync("full", page(upsert("a"), next={"page": 2}), {"fail": "no"}, code=1)
        self.sync("delta", {"changes": items("b", "n"), "hasMore": False, "nextState": 1})
        self.sync("full", page())
        self.assertEqual(self.keys(), ["a", "b", "n"])

    def test_rule_05_an_attempt_without_a_page_protects_nothing_later(self):
        self.worker(FULL, DELTA)
        self.sync("full", page(*items("a", "b")))

        def in_between(body):
            self.up.script("delta", {"changes": items("b", "d"), "hasMore": False, "nextState": 1})
            self.ok(self.p.run("run", "main.lua", "delta"))
            return {"fail": "no"}

        self.sync("full", in_between, code=1)
        self.sync("full", page(*items("a")))
        self.assertEqual(self.keys(), ["a"], "this cycle began after the delta wrote")

    def test_rule_05_what_a_delta_wrote_before_the_cycle_began_is_swept(self):
        self.worker(FULL, DELTA)
        self.sync("full", page(*items("a")))
        self.sync("delta", {"changes": items("only-delta"), "hasMore": False, "nextState": 1})
        self.assertEqual(self.keys(), ["a", "only-delta"])
        self.sync("full", page(*items("a")))
        self.assertEqual(self.keys(), ["a"])

    def test_rule_05_a_row_deleted_and_brought_again_within_a_cycle_survives(self):
        self.worker(FULL, DELTA)
        self.sync("full", page(*items("a", "b")))

        def in_between(body):
            for changes in ([delete("a")], items("a")):
                self.up.script("delta", {"changes": changes, "hasMore": False, "nextState": len(changes)})
                self.ok(self.p.run("run", "main.lua", "delta"))
            return page(*items("b"))

        self.sync("full", page(next=2), in_between)
        self.assertEqual(sorted(self.keys()), ["a", "b"])

    def two_syncs(self):
        return self.worker(*(f'worker:sync("{key}", {{ database = items, schedule = "manual", execute = from "{key}" }})\n'
                             for key in ("east", "west")))

    def test_rule_05_several_replace_syncs_sweep_only_what_they_brought(self):
        self.two_syncs()
        self.sync("east", page(*items("e1", "e2", "both")))
        self.sync("west", page(*items("w1", "w2", "both")))
        self.assertEqual(self.keys(), ["e1", "e2", "both", "w1", "w2"], "the first cycle of west sweeps nothing of east")
        self.sync("east", page(*items("e1")))
        self.assertEqual(self.keys(), ["e1", "both", "w1", "w2"], "east dropped e2 and both; west still brings both")
        self.sync("west", page(*items("w1")))
        self.assertEqual(self.keys(), ["e1", "w1"], "nobody brings both any more")
        self.sync("east", page(*items("e1")))
        self.sync("west", page(*items("w1")))
        self.assertEqual(self.keys(), ["e1", "w1"])

    def test_rule_05_a_row_that_the_other_sync_brings_in_an_open_cycle_survives(self):
        self.two_syncs()
        self.sync("east", page(*items("x", "e")))
        self.sync("west", page(*items("x", "w"), next=2), {"fail": "no"}, code=1)
        self.sync("east", page(*items("e")))
        self.assertEqual(self.keys(), ["x", "e", "w"])
        self.sync("west", page(*items("w")))
        self.assertEqual(self.keys(), ["x", "e", "w"], "west returned x on its first page")
        self.sync("west", page(*items("w")))
        self.assertEqual(self.keys(), ["e", "w"])

    def test_rule_05_beside_several_replace_syncs_the_rows_of_a_delta_stay(self):
        self.worker(*(f'worker:sync("{key}", {{ database = items, schedule = "manual", execute = from "{key}" }})\n'
                      for key in ("east", "west")), DELTA)
        self.sync("east", page(*items("e1", "e2")))
        self.sync("delta", {"changes": items("d", "e1"), "hasMore": False, "nextState": 1})
        self.sync("east", page(*items("e2")))
        self.assertEqual(self.keys(), ["e2", "d"], "d is nobody's to sweep; e1 was brought by east")

    def test_rule_05_two_syncs_with_two_databases_do_not_touch_each_other(self):
        other = ITEMS.replace("local items", "local notes").replace('"items"', '"notes"').replace("Items", "Notes")
        self.worker(ITEMS, other, FULL,
                    'worker:sync("notes_full", { database = notes, schedule = "manual", execute = from "notes" })\n')
        self.up.script("notes", page(*items("n1", "n2")))
        self.sync("full", page(*items("i1", "i2")))
        self.ok(self.p.run("run", "main.lua", "notes_full"))
        self.sync("full", page(*items("i1")))
        self.assertEqual(self.keys(), ["i1"])
        self.assertEqual(self.keys("notes"), ["n1", "n2"])

    def test_rule_05_rows_for_another_database_are_swept_there_and_only_those(self):
        other = ITEMS.replace("local items", "local notes").replace('"items"', '"notes"').replace("Items", "Notes")
        self.worker(ITEMS, other, FULL,
                    'worker:sync("own", { database = notes, mode = "incremental", schedule = "manual", execute = from "own" })\n')
        self.sync("own", {"changes": items("own"), "hasMore": False, "nextState": 1})
        self.sync("full", page(upsert("i"), upsert("n1", targetDatabaseKey="notes"), upsert("n2", targetDatabaseKey="notes")))
        self.assertEqual(self.keys("notes"), ["own", "n1", "n2"])
        self.sync("full", page(upsert("i"), upsert("n1", targetDatabaseKey="notes")))
        self.assertEqual(self.keys("notes"), ["own", "n1"])
        self.assertEqual(self.keys(), ["i"])

    def test_rule_05_incremental_never_sweeps_and_delete_deletes(self):
        self.worker(DELTA)
        self.sync("delta", {"changes": items("a", "b", "c"), "hasMore": False, "nextState": 1})
        self.sync("delta", {"changes": [delete("b"), delete("never-there")], "hasMore": False, "nextState": 2})
        self.assertEqual(self.keys(), ["a", "c"])
        self.assertEqual(self.last_run("delta")["deleted"], 1)
        self.assertEqual(self.p.rows("SELECT key, reason FROM _workers_deleted"), [("b", "change")])

    # ---- 6: the guard ----

    def held(self, result, *parts):
        self.assertIn("held: sync", result.stderr)
        self.assertIn("--allow-deletes", result.stderr)
        for part in parts:
            self.assertIn(part, result.stderr)
        self.assertEqual(self.p.status("full")["status"], "HELD")
        self.assertIn("nothing was deleted", self.p.status("full")["held"])
        self.assertEqual(self.last_run()["deleted"], 0)
        self.assertEqual(self.p.value("SELECT count(*) FROM _workers_deleted"), 0)

    def test_rule_06_no_rows_at_all_is_held(self):
        self.worker(FULL)
        self.sync("full", page(*items("a", "b")))
        self.held(self.sync("full", page()), "returned no rows", "has 2")
        self.assertEqual(self.keys(), ["a", "b"])
        table = self.ok(self.p.run("sync", "status", "--no-watch")).stdout
        self.assertIn("HELD", table)
        # A cycle that is right again clears it.
        self.sync("full", page(*items("a", "b")))
        self.assertEqual(self.p.status("full")["status"], "HEALTHY")

    def test_rule_06_an_empty_table_and_no_rows_is_no_case_for_the_guard(self):
        self.worker(FULL)
        self.assertNotIn("held", self.sync("full", page()).stderr)
        self.assertEqual(self.p.status("full")["status"], "HEALTHY")

    def test_rule_06_more_than_half_of_a_hundred_is_held(self):
        self.worker(FULL)
        self.sync("full", page(*items(*range(100))))
        self.held(self.sync("full", page(*items(*range(49)))), "51 of 100", "50 %")
        self.assertEqual(len(self.keys()), 100)
        self.sync("full", page(*items(*range(50))))  # exactly half goes through
        self.assertEqual(len(self.keys()), 50)
        self.assertEqual(self.p.status("full")["status"], "HEALTHY")

    def test_rule_06_below_a_hundred_rows_there_is_no_ratio(self):
        self.worker(FULL)
        self.sync("full", page(*items(*range(99))))
        self.sync("full", page(*items(0)))
        self.assertEqual(self.keys(), ["0"])

    def test_rule_06_the_sweep_options_change_the_guard(self):
        self.worker(FULL.replace("execute", "sweep = { maxDeleteRatio = 0.1, minRows = 10 }, execute"))
        self.sync("full", page(*items(*range(10))))
        self.held(self.sync("full", page(*items(*range(8)))), "2 of 10", "10 %")
        self.sync("full", page(*items(*range(9))))
        self.assertEqual(len(self.keys()), 9)
        self.sync("full", page(*items(0)))  # nine rows are fewer than minRows
        self.assertEqual(self.keys(), ["0"])

    def test_rule_06_allow_deletes_lets_one_through(self):
        self.worker(FULL)
        self.sync("full", page(*items(*range(120))))
        self.held(self.sync("full", page(*items(0))), "119 of 120")
        self.up.script("full", page(*items(0)))
        self.ok(self.p.run("sync", "trigger", "full", "--allow-deletes"))
        self.assertEqual(self.keys(), ["0"])
        self.assertEqual(self.p.status("full")["status"], "HEALTHY")
        self.assertEqual(self.last_run()["deleted"], 119)
        self.held_again = self.sync("full", page(), code=0)
        self.assertIn("held", self.held_again.stderr, "it lets one through, not the next")

    def test_rule_06_held_rows_still_belong_to_their_sync(self):
        """After a held sweep, the next cycle may still delete what both dropped."""
        self.two_syncs()
        self.sync("west", page(*items("w")))
        self.sync("east", page(*items("a", "b", "c")))
        self.assertIn("held", self.sync("east", page()).stderr)
        self.sync("east", page(*items("a", "b")))
        self.assertEqual(self.keys(), ["w", "a", "b"])

    def test_rule_06_rows_of_a_held_cycle_belong_to_its_sync(self):
        self.two_syncs()
        self.sync("west", page(*items("w")))
        self.sync("east", page(*items(*range(100))))
        self.assertIn("held", self.sync("east", page(*items(0, "new"))).stderr)
        self.assertIn("new", self.keys())
        self.sync("east", page(*items(*range(100))))
        self.assertNotIn("new", self.keys(), "the held cycle brought it, this one dropped it")
        self.assertEqual(len(self.keys()), 101)

    def test_rule_06_deleted_rows_come_back(self):
        self.worker(FULL)
        row = upsert("b", Count=2.5, Done=True, Due="2026-03-01", Tags=["red"], State="open", icon="🐝",
                     cover="https://example.com/c.png", pageContentMarkdown="# Ünïcode", upstreamUpdatedAt="2026-01-01T00:00:00Z")
        self.sync("full", page(upsert("a"), row, upsert("c")))
        columns = "_key, _icon, _cover, _content, _upstream_updated_at, _synced_at, name, id, count, done, due, due_end, tags, state"
        before = self.p.rows(f"SELECT {columns} FROM items WHERE _key = 'b'")
        self.sync("full", page(*items("a")))
        self.assertEqual(self.keys(), ["a"])
        listed = json.loads(self.ok(self.p.run("db", "deleted", "items", "--json")).stdout)
        self.assertEqual(sorted(entry["key"] for entry in listed), ["b", "c"])
        self.assertEqual(next(e for e in listed if e["key"] == "b")["row"]["count"], 2.5)
        self.assertIn("1 row restored", self.ok(self.p.run("db", "restore", "items", "b")).stderr)
        self.assertEqual(self.p.rows(f"SELECT {columns} FROM items WHERE _key = 'b'"), before)
        self.assertEqual(self.keys(), ["a", "b"])
        self.assertIn("0 rows restored", self.ok(self.p.run("db", "restore", "items", "b")).stderr)
        run = self.p.value("SELECT run_id FROM _workers_deleted")
        self.assertIn("1 row restored", self.ok(self.p.run("db", "restore", "items", "--run", run)).stderr)
        self.assertEqual(self.keys(), ["a", "b", "c"])
        self.assertEqual(self.p.run("db", "restore", "items").returncode, 2)
        # A restored row is a row like any other.
        self.sync("full", page(*items("a", "b")))
        self.assertEqual(self.keys(), ["a", "b"])
        self.assertEqual(self.last_run()["deleted"], 1)

    def test_rule_06_links_of_two_way_relations_come_back(self):
        self.worker("""
local people = worker:database("people", {
  type = "managed", initialTitle = "People", primaryKeyProperty = "Name",
  schema = { properties = { Name = Schema.title() } },
})
local tasks = worker:database("tasks", {
  type = "managed", initialTitle = "Tasks", primaryKeyProperty = "Name",
  schema = { properties = { Name = Schema.title(),
    Owner = Schema.relation("people", { twoWay = true, relatedPropertyName = "Owned Tasks" }) } },
})
worker:sync("full", { database = tasks, schedule = "manual", execute = function()
  local answer = from "full" ()
  for _, change in ipairs(answer.changes) do
    local owners = change.properties.Owner
    if owners then
      local list = {}
      for i, owner in ipairs(owners) do list[i] = Builder.relation(owner) end
      change.properties.Owner = list
    end
  end
  return answer
end })
""".replace('from "full" ()', 'from "full" (nil, {})'))
        one, two = bare("t1", Owner=["ann", "bob"]), bare("t2", Owner=["ann"])
        back = "SELECT _key, related_key FROM people_owned_tasks ORDER BY 1, 2"
        self.sync("full", page(one, two))
        self.assertEqual(self.p.rows(back), [("ann", "t1"), ("ann", "t2"), ("bob", "t1")])
        self.sync("full", page(two))
        self.assertEqual(self.p.rows(back), [("ann", "t2")])
        self.ok(self.p.run("db", "restore", "tasks", "t1"))
        self.assertEqual(self.p.rows(back), [("ann", "t1"), ("ann", "t2"), ("bob", "t1")])
        self.sync("full", page(bare("t1", Owner=["bob"]), two))
        self.assertEqual(self.p.rows(back), [("ann", "t2"), ("bob", "t1")])

    # ---- 7: upstreamUpdatedAt ----

    def test_rule_07_an_older_upsert_is_stale(self):
        self.worker(FULL)
        noon = "2026-06-01T12:00:00Z"
        self.sync("full", page(upsert("a", Count=1, upstreamUpdatedAt=noon)))

        def again(count, at, **expected):
            self.sync("full", page(upsert("a", Count=count, upstreamUpdatedAt=at)))
            run = self.last_run()
            got = {name: run[name] for name in ("changed", "unchanged", "stale", "deleted")}
            self.assertEqual(got, {"changed": 0, "unchanged": 0, "stale": 0, "deleted": 0} | expected, at)

        again(2, "2026-06-01T11:59:59.999Z", stale=1)
        again(3, "2026-06-01T13:59:59+02:00", stale=1)  # a second before noon, though the text sorts after it
        self.assertEqual(self.p.rows("SELECT count, _upstream_updated_at FROM items"), [(1, noon)])
        again(4, "2026-06-01T08:00:00-04:00", changed=1)  # noon again: the same age is not older
        again(5, "2026-06-01T11:30:00-01:00", changed=1)  # half an hour later, though the text sorts before it
        self.assertEqual(self.p.value("SELECT count FROM items"), 5)
        again(6, None, changed=1)  # without a time nothing is stale
        again(7, "2026-06-01T12:00:00Z", stale=1)  # and the last known time stays
        self.assertEqual(self.p.value("SELECT count FROM items"), 6)

    def test_rule_07_a_stale_row_was_seen(self):
        self.worker(FULL)
        self.sync("full", page(upsert("a", upstreamUpdatedAt="2026-06-01T12:00:00Z"), upsert("b")))
        self.sync("full", page(upsert("a", upstreamUpdatedAt="2020-01-01T00:00:00Z")))
        self.assertEqual(self.keys(), ["a"])

    def test_rule_07_a_time_that_is_none_is_refused(self):
        self.worker(FULL)
        result = self.sync("full", page(upsert("a", upstreamUpdatedAt="yesterday")), code=1)
        self.assertIn("upstreamUpdatedAt", result.stderr)
        self.assertIn('"yesterday"', result.stderr)

    # ---- 8: unchanged rows; partial upserts ----

    def test_rule_08_an_unchanged_row_is_not_written(self):
        self.worker(FULL)
        row = upsert("a", Count=1, Done=False, Due="2026-01-01", Tags=["red"], State="open", icon="🐝")
        self.sync("full", page(row, upsert("b")))
        before = self.p.rows("SELECT * FROM items")
        self.sync("full", page(row, upsert("b", Count=1)))
        after = self.p.rows("SELECT * FROM items")
        self.assertEqual(after[0], before[0], "not even _synced_at is touched")
        self.assertNotEqual(after[1], before[1])
        self.assertGreater(self.p.value("SELECT _synced_at FROM items WHERE _key = 'b'"), before[1][6])
        run = self.last_run()
        self.assertEqual((run["unchanged"], run["changed"], run["added"]), (1, 1, 0))

    def test_rule_08_what_is_not_given_stays_and_null_clears(self):
        self.worker(FULL)
        self.sync("full", page(upsert("a", Count=1, Done=True, Tags=["red"], Due="2026-02-03", icon="🐝",
                                      cover="https://example.com/c.png", pageContentMarkdown="text")))
        select = "SELECT name, count, done, tags, due, _icon IS NULL, _cover IS NULL, _content FROM items"
        self.sync("full", page(bare("a", Count=2)))
        self.assertEqual(self.p.rows(select), [("Item a", 2, 1, '["red"]', "2026-02-03", 0, 0, "text")])
        self.sync("full", page(bare("a", Count=None, Tags=None, Due=None) | {"pageContentMarkdown": None}))
        self.assertEqual(self.p.rows(select), [("Item a", None, 1, None, None, 0, 0, None)])

    def test_rule_08_a_key_that_differs_from_the_primary_key_is_refused(self):
        self.worker(FULL)
        result = self.sync("full", page(upsert("a", ID="b")), code=1)
        for part in ('row "a"', '"ID" is the primary key', 'it is "b"'):
            self.assertIn(part, result.stderr)
        self.sync("full", page(upsert("a", ID="a"), upsert("b")))
        self.assertEqual(self.p.rows("SELECT _key, id FROM items"), [("a", "a"), ("b", "b")])

    def test_rule_08_one_key_twice_in_a_page(self):
        self.worker(FULL)
        self.sync("full", page(upsert("a", Count=1), upsert("b"), upsert("a", Count=2), delete("b"), upsert("b", Count=3), delete("c"),
                               upsert("c"), delete("c")))
        self.assertEqual(self.p.rows("SELECT _key, count FROM items ORDER BY _key"), [("a", 2), ("b", 3)])
        run = self.last_run()
        self.assertEqual((run["added"], run["changed"], run["deleted"]), (4, 1, 2))
        self.sync("full", page(upsert("b"), upsert("a")))
        self.assertEqual(self.p.rows("SELECT _key, count FROM items ORDER BY _key"), [("a", 2), ("b", 3)])

    def test_rule_08_rows_are_found_in_any_order(self):
        """In the order in which they were stored, rows are found by row id: only the key may decide whose row it is."""
        self.worker(FULL)
        self.sync("full", page(*[upsert(key, Count=1) for key in "abcdefgh"]))
        order = "abcfgdehcba"
        self.sync("full", page(*[upsert(key, Count=1) for key in order]))
        run = self.last_run()
        self.assertEqual((run["added"], run["changed"], run["unchanged"], run["deleted"]), (0, 0, len(order), 0))
        # b is deleted and comes back with another row id, c has changed, x is new between d and e.
        self.sync("full", page(upsert("a", Count=1), delete("b"), upsert("b", Count=1), upsert("c", Count=2), upsert("d", Count=1),
                               upsert("x", Count=1), *[upsert(key, Count=1) for key in "efgh"]))
        run = self.last_run()
        self.assertEqual((run["added"], run["changed"], run["unchanged"], run["deleted"]), (2, 1, 6, 1))
        self.assertEqual(self.p.rows("SELECT _key, name, count FROM items ORDER BY _key"),
                         [(key, f"Item {key}", 2 if key == "c" else 1) for key in "abcdefghx"])

    def test_rule_08_undeclared_options_are_added_and_told_once(self):
        self.worker(FULL)
        pages = [page(upsert("a", Tags=["red", "blue"], State="odd"), upsert("b", Tags=["blue"]), next=2),
                 page(upsert("c", Tags=["blue"], State="odd"))]
        result = self.sync("full", *pages)
        self.assertEqual(result.stderr.count('option "blue" of property "Tags"'), 1)
        self.assertEqual(result.stderr.count('option "odd" of property "State"'), 1)
        self.assertNotIn('"red"', result.stderr)
        options = self.p.rows("SELECT property, name, declared FROM _workers_options ORDER BY 1, 2")
        self.assertEqual(options, [("State", "odd", 0), ("State", "open", 1), ("Tags", "blue", 0), ("Tags", "red", 1)])
        self.assertEqual(self.p.value("SELECT tags FROM items WHERE _key = 'a'"), '["red","blue"]')

    def test_rule_08_a_strict_property_refuses_undeclared_options(self):
        strict = ITEMS.replace('State = Schema.select { { name = "open" } }',
                               'State = Schema.select({ { name = "open" } }, { strict = true })')
        self.worker(strict, FULL)
        result = self.sync("full", page(upsert("a", State="opne")), code=1)
        for part in ('row "a"', 'property "State"', '"opne"', '"open"'):
            self.assertIn(part, result.stderr)
        self.assertEqual(self.keys(), [])

    def test_rule_08_bad_changes_name_the_place(self):
        self.worker(FULL)
        cases = [
            (upsert("a", Nmae="x"), ['"Nmae"', 'did you mean "Name"']),
            (upsert("a", upstreamUpdateAt="x"), ['"upstreamUpdateAt"', "upstreamUpdatedAt"]),
            (upsert(""), ["changes[1]", "key"]),
            ({"type": "upsrt", "key": "a", "properties": {}}, ["upsrt", "upsert"]),
            ({"type": "upsert", "properties": {}}, ["key is missing"]),
            ({"type": "delete", "key": "a", "properties": {}}, ["a delete has only"]),
            (upsert("a", targetDatabaseKey="itmes"), ["itmes"]),
            (upsert("a", Due="first of May"), ['property "Due"', "first of May"]),
            (upsert("a", Done="yes"), ['property "Done"']),
        ]
        for change, parts in cases:
            result = self.sync("full", page(change), code=1)
            for part in parts:
                self.assertIn(part, result.stderr, change)
        self.assertEqual(self.keys(), [])

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

    # ---- 10: any batch size ----

    def test_rule_10_two_hundred_thousand_rows_in_one_page(self):
        big = """
worker:sync("big", { database = items, schedule = "manual", execute = function(state)
  local changes = {}
  for i = 1, 200000 do
    local key = ("row-%06d"):format(i)
    changes[i] = { type = "upsert", key = key, properties = { Name = key, Count = i } }
  end
  return { changes = changes, hasMore = false }
end })
"""
        small = big.replace("200000", "2").replace("big", "small").replace("row-", "small-")
        self.worker(big, small, config="name: test\nmain: main.lua\nlimits: { memory: 96MiB, cpu: 300s }\n")
        runner = ("import resource, subprocess, sys; r = subprocess.run(sys.argv[1:], stdout=2).returncode;"
                  "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(r)")

        def peak(key):
            done = subprocess.run([sys.executable, "-c", runner, BINARY, "run", "main.lua", key], cwd=self.p.folder, timeout=280,
                                  env=self.p.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
            self.ok(done)
            return int(done.stdout) / 1024

        # The second sync would sweep nothing of the first: each brings its own rows.
        base = peak("small")
        full = peak("big")
        self.assertEqual(self.p.rows("SELECT count(*), sum(count) FROM items WHERE _key LIKE 'row-%'"), [(200000, 200000 * 200001 // 2)])
        self.assertEqual(self.last_run("big")["added"], 200000)
        print(f"200,000 rows in one page: peak of {full:.0f} MiB, {base:.0f} MiB for two rows", file=sys.stderr)
        # The script may hold 96 MiB; beyond that, a part of the page cache and what two chunks of changes need.
        if not sanitized():
            self.assertLess(full, 96 + base + 32, f"peak of {full:.0f} MiB; {base:.0f} MiB for two rows")

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

    # ---- migration ----

    def columns(self):
        return {row[1]: row[2] for row in self.p.rows("PRAGMA table_info(items)")}

    def migrate(self, old, new, code=0):
        self.assertIn(old, ITEMS)
        self.p.write("main.lua", self.script(ITEMS.replace(old, new), FULL))
        return self.ok(self.p.run("run", "main.lua", "full"), code)

    def test_migration_an_added_property_becomes_a_column(self):
        self.worker(FULL)
        self.sync("full", page(upsert("a", Count=1)))
        result = self.migrate("Count = Schema.number()", 'Count = Schema.number(), ["Due Back"] = Schema.date()')
        self.assertIn("added items.due_back (date)", result.stderr)
        self.assertEqual((self.columns()["due_back"], self.columns()["due_back_end"]), ("TEXT", "TEXT"))
        self.assertEqual(self.p.rows("SELECT count, due_back FROM items"), [(1, None)])

    def test_migration_a_removed_property_keeps_its_column(self):
        self.worker(FULL)
        self.sync("full", page(upsert("a", Count=1, Done=True)))
        self.up.script("full", page(upsert("a")))
        result = self.migrate("Count = Schema.number(), ", "")
        self.assertIn("items.count is no longer declared", result.stderr)
        self.assertEqual(self.p.rows("SELECT count, done FROM items"), [(1, 1)])
        schema = json.loads(self.ok(self.p.run("db", "schema", "--json")).stdout)
        self.assertEqual({row["property"]: row["declared"] for row in schema}["Count"], "no")
        # Declared again, it has its values again.
        self.p.write("main.lua", self.script(FULL))
        self.ok(self.p.run("run", "main.lua", "full"))
        self.assertEqual(self.p.rows("SELECT count FROM items"), [(1,)])

    def test_migration_a_type_that_converts(self):
        self.worker(FULL)
        self.sync("full", page(upsert("a", Count=7, State="open"), upsert("b", Count=2.5), upsert("c")))
        self.up.script("full", page(bare("a"), bare("b"), bare("c")))
        result = self.migrate("Count = Schema.number()", "Count = Schema.richText()")
        self.assertIn("changed items.count from number to text", result.stderr)
        self.assertEqual(self.p.rows("SELECT count, typeof(count), state FROM items"),
                         [("7", "text", "open"), ("2.5", "text", None), (None, "null", None)])
        self.assertEqual(self.last_run()["unchanged"], 3)
        self.p.write("main.lua", self.script(FULL))
        self.ok(self.p.run("run", "main.lua", "full"))
        self.assertEqual(self.p.rows("SELECT count, typeof(count) FROM items"), [(7, "integer"), (2.5, "real"), (None, "null")])
        self.assertEqual(self.columns()["count"], "NUMERIC")

    def test_migration_a_type_that_does_not_convert_is_refused(self):
        self.worker(FULL)
        self.sync("full", page(upsert("a", State="12"), upsert("b", State="twelve"), upsert("c", State="x")))
        before = self.p.dump()
        count = self.up.count("full")
        result = self.migrate('State = Schema.select { { name = "open" } }', "State = Schema.number(), Extra = Schema.url()", code=1)
        for part in ('database "items"', 'property "State"', "from select to number", "2 of its 3 values", 'row "b" has twelve',
                     "Nothing was changed"):
            self.assertIn(part, result.stderr)
        self.assertEqual(self.p.dump(), before)
        self.assertEqual(self.up.count("full"), count, "nothing was executed")


if __name__ == "__main__":
    main()
