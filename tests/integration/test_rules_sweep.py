#!/usr/bin/env python3
"""The rules that every sync keeps, through the binary: the sweep, and the guard that holds it."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import main, wait_until  # noqa: E402
from rules import DELTA, FULL, ITEMS, RulesCase, bare, delete, items, page, upsert  # noqa: E402


class RulesSweepTest(RulesCase):
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


if __name__ == "__main__":
    main()
