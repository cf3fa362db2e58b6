#!/usr/bin/env python3
"""The rules that every sync keeps, through the binary: rows, and migration of their tables."""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import BINARY, main, sanitized  # noqa: E402
from rules import FULL, ITEMS, RulesCase, bare, delete, items, page, upsert  # noqa: E402


class RulesRowsTest(RulesCase):
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
