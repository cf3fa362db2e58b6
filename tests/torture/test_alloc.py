#!/usr/bin/env python3
"""Memory that runs out: the Nth allocation fails, and every one after it, for every N that a small run reaches.

Covers our own allocations, Lua's and SQLite's; needs a build with WORKERS_FAULT_INJECTION. Whatever N: exit code 0 or 1,
never a signal and never a hang; a message that says so; no half page; and the next run goes on to the end.
"""
import json
import os
import subprocess
import unittest

import torture
from torture import FULL, Project, has_table, integrity

PAGES, ROWS = 2, 5
SAMPLES = 120
SANITIZER_SAYS = ("AddressSanitizer", "LeakSanitizer", "runtime error:")

SCRIPT = r"""
local workers = require "workers"
local json, kv, sql = require "workers.json", require "workers.kv", require "workers.sql"
local Schema, Builder, j = workers.schema, workers.builder, workers.j
local worker = workers.new()
worker:database("groups", {
  type = "managed", initialTitle = "Groups", primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText() } },
})
local items = worker:database("items", {
  type = "managed", initialTitle = "Items", primaryKeyProperty = "ID",
  schema = { properties = {
    Name = Schema.title(), ID = Schema.richText(), Count = Schema.number(), Due = Schema.date(),
    Kind = Schema.select { { name = "odd" } }, Group = Schema.relation("groups", { twoWay = true, relatedPropertyName = "Items" }),
  } },
})
worker:sync("fill", {
  database = items, mode = "replace", schedule = "manual",
  execute = function(state)
    local page = state and state.page or 1
    print("page " .. page)
    workers.sleep(0)
    local changes = {}
    for i = 1, ROWS do
      local key = ("%d-%d"):format(page, i)
      changes[i] = { type = "upsert", key = key, properties = {
        Name = Builder.title("item " .. key), Count = i, Due = "2025-01-01", Kind = i % 2 == 0 and "even" or "odd",
        Group = workers.array { Builder.relation("g" .. i), Builder.relation("g" .. page) },
      } }
    end
    return { changes = changes, hasMore = page < PAGES, nextState = page < PAGES and { page = page + 1 } or nil }
  end,
})
worker:tool("greet", {
  title = "Greet", description = "Greets.",
  schema = j.object { name = j.string():describe "Whom" },
  execute = function(input)
    workers.sleep(0)
    return { text = "Hello, " .. input.name, copy = json.decode(json.encode(input)), list = workers.all {
      function() return 1 end, function() workers.sleep(0) return 2 end,
    } }
  end,
})
worker:tool("keep", {
  title = "Keep", description = "Keeps values, and asks for rows.", schema = j.object {},
  execute = function()
    kv.set("a", { 1, "two" })
    kv.delete "b"
    local swapped, sum = kv.compareAndSet("b", nil, "x"), kv.increment("n", 0)
    local rows = sql.query("SELECT replace(?1, 'a', 'b') AS text, value FROM json_each(:list) ORDER BY value", { "aha", list = "[2,1]" })
    return { kept = kv.get "a", swapped = swapped, sum = sum, keys = kv.list(), rows = rows }
  end,
})
return worker
""".replace("ROWS", str(ROWS)).replace("PAGES", str(PAGES))


def injects():
    """Whether the binary was built to make allocations fail."""
    env = torture.environment({"WORKERS_FAIL_ALLOC": "1", "ASAN_OPTIONS": "detect_leaks=0"})
    result = subprocess.run([torture.BIN, "manifest", os.devnull], capture_output=True, env=env, check=False)
    return b"out of memory" in result.stderr


@unittest.skipUnless(injects(), "the binary was built without WORKERS_FAULT_INJECTION")
class Alloc(unittest.TestCase):
    def attempt(self, project, at, *args):
        result = project.run(*args, env={"WORKERS_FAIL_ALLOC": str(at)}, timeout=30)
        what = f"allocation {at} of workers {' '.join(args)}"
        self.assertIn(result.code, (0, 1), f"{what}\n{result}")
        if "workers: out of memory" in result.err:
            # The way out for small fixed structures: the process ends where it stands, so leaks mean nothing.
            self.assertEqual(result.code, 1, f"{what}\n{result}")
        for words in SANITIZER_SAYS:
            self.assertNotIn(words, result.err, f"{what}\n{result}")
        if result.code == 1:
            self.assertIn("out of memory", result.err, f"{what}\n{result}")
        return result

    def numbers(self, works):
        """All N up to the first with which the run works, or a sample of them; and how many there are."""
        low, high = 0, 1
        while not works(high):
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if works(middle) else (middle, high)
        step = 1 if FULL else max(1, high // SAMPLES)
        chosen = sorted({*range(1, high + 1, step), *range(max(1, high - 40), high + 10, 1 if FULL else 4),
                         *(high + high * i // 50 for i in range(1, 5))})
        return chosen, high

    def check_store(self, project):
        connection = project.store()
        if connection is None:
            return 0
        try:
            self.assertEqual(integrity(connection), ["ok"])
            if not has_table(connection, "items"):
                return 0
            keys = sorted(row[0] for row in connection.execute("SELECT _key FROM items"))
            stored = connection.execute("SELECT * FROM _workers_syncs WHERE key = 'fill'").fetchone()
            pages = stored["cycle_pages"] if stored is not None else 0
            self.assertEqual(keys, [f"{p}-{i}" for p in range(1, pages + 1) for i in range(1, ROWS + 1)])
            state = json.loads(stored["state"]) if stored is not None and stored["state"] else None
            self.assertEqual(state, {"page": pages + 1} if 0 < pages < PAGES else None)
            links = [tuple(row) for row in connection.execute("SELECT _key, related_key FROM items_group ORDER BY 1, 2")]
            expected = sorted({(f"{p}-{i}", f"g{g}") for p in range(1, pages + 1) for i in range(1, ROWS + 1) for g in (i, p)})
            self.assertEqual(links, expected)
            return pages
        finally:
            connection.close()

    def run_all(self, works, check):
        chosen, total = self.numbers(works)
        outcomes = {0: 0, 1: 0}
        for at in chosen:
            outcomes[check(at).code] += 1
        self.assertGreater(outcomes[0], 0)
        self.assertGreater(outcomes[1], 20)
        self.assertGreater(total, 1000, "Lua's own allocations must be among them")
        print(f"{total} allocations, {len(chosen)} tried, {outcomes[1]} runs failed ... ", end="", flush=True)

    def test_sync(self):
        reached = set()

        def fresh(at):
            project = Project(self, SCRIPT)
            result = self.attempt(project, at, "run", "main.lua")
            reached.add(self.check_store(project))
            return project, result

        def check(at):
            project, result = fresh(at)
            if result.code == 0:
                self.assertEqual(self.check_store(project), PAGES, f"allocation {at}: success, but not all is there\n{result}")
            after = project.run("run", "main.lua")
            self.assertEqual(after.code, 0, after)
            self.assertEqual(self.check_store(project), PAGES)
            project.remove()
            return result

        self.run_all(lambda at: fresh(at)[1].code == 0, check)
        self.assertEqual(reached, {0, 1, 2})

    def test_second_sync(self):
        """Rows, marks and links that are there already."""
        project = Project(self, SCRIPT)
        self.assertEqual(project.run("run", "main.lua").code, 0)

        def again(at):
            result = self.attempt(project, at, "run", "main.lua")
            connection = project.store()
            self.assertEqual(integrity(connection), ["ok"])
            self.assertEqual(connection.execute("SELECT count(*) FROM items").fetchone()[0], PAGES * ROWS)
            connection.close()
            return result

        def check(at):
            result = again(at)
            after = project.run("run", "main.lua")
            self.assertEqual(after.code, 0, after)
            self.assertEqual(self.check_store(project), PAGES)
            return result

        self.run_all(lambda at: again(at).code == 0, check)

    def exec_all(self, key, data, expected):
        project = Project(self, SCRIPT)

        def check(at):
            result = self.attempt(project, at, "exec", key, "-d", data)
            if result.code == 0:
                self.assertEqual(expected(json.loads(result.out)), True, f"allocation {at}\n{result}")
            return result

        self.run_all(lambda at: check(at).code == 0, check)
        after = project.run("exec", key, "-d", data)
        self.assertEqual(expected(json.loads(after.out)), True, after)

    def test_tool(self):
        whole = {"text": "Hello, Ada", "copy": {"name": "Ada"}, "list": [1, 2]}
        self.exec_all("greet", '{"name":"Ada"}', lambda out: out == whole)

    def test_exec_of_a_sync(self):
        self.exec_all("fill", '{"state":{"page":2}}',
                      lambda out: [c["key"] for c in out["changes"]] == [f"2-{i}" for i in range(1, ROWS + 1)])

    def test_doctor(self):
        """It says what there is, or that memory is out: never something else."""
        project = Project(self, SCRIPT)
        self.assertEqual(project.run("run", "main.lua").code, 0)
        whole = project.run("doctor", "fill").out
        self.assertEqual(whole, "ok    run: the last run went well\nok    probe: execute works: tried just now, without writing anything\n")

        def check(at):
            result = project.run("doctor", "fill", env={"WORKERS_FAIL_ALLOC": str(at)}, timeout=30)
            what = f"allocation {at}\n{result}"
            for words in SANITIZER_SAYS:
                self.assertNotIn(words, result.err, what)
            if result.code == 0:
                self.assertEqual(result.out, whole, what)
            else:
                self.assertEqual(result.code, 1, what)
                self.assertRegex(result.out + result.err, "memory", what)
            return result

        self.run_all(lambda at: check(at).code == 0, check)
        self.assertEqual(project.run("doctor", "fill").out, whole)

    def test_values_and_queries(self):
        whole = {"kept": [1, "two"], "swapped": True, "sum": 0, "keys": ["a", "b", "n"],
                 "rows": [{"text": "bhb", "value": 1}, {"text": "bhb", "value": 2}]}
        self.exec_all("keep", "{}", lambda out: out == whole)


if __name__ == "__main__":
    torture.main()
