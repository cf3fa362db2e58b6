#!/usr/bin/env python3
"""Syncs of both modes are killed with SIGKILL at random moments and run again, over and over, while upstream changes.

Upstream is a set of files: snapshots that the replace syncs list page by page (a cycle keeps to the snapshot it began
with), and a log of events that the incremental sync follows. After every kill a model works out, from the state that
the store holds, which rows must be there; the table must be just that. Kills come after a random time, and at the Nth
write or fsync by means of strace.
"""
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import time
import unittest

import torture
from torture import FULL, SEED, Project, has_table, integrity

PAGE = 7
EVENT_PAGE = 4
KILLS = 700 if FULL else 40
PRECISE_KILLS = 400 if FULL else 20

SCRIPT = r"""
local workers = require "workers"
local fs = require "workers.fs"
local json = require "workers.json"
local Schema, Builder = workers.schema, workers.builder
local worker = workers.new()

local projects = worker:database("projects", {
  type = "managed", initialTitle = "Projects", primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText(), Count = Schema.number() } },
})
local tasks = worker:database("tasks", {
  type = "managed", initialTitle = "Tasks", primaryKeyProperty = "ID",
  schema = { properties = {
    Name = Schema.title(), ID = Schema.richText(), Count = Schema.number(),
    Project = Schema.relation("projects", { twoWay = true, relatedPropertyName = "Tasks" }),
  } },
})

local function read(name)
  return json.decode((fs.read("data/" .. name .. ".json")))
end

local function upsert(row, related)
  local properties = { Name = row.name, Count = row.version }
  if related then
    local list = {}
    for i, key in ipairs(row.related) do list[i] = Builder.relation(key) end
    properties.Project = workers.array(list)
  end
  return { type = "upsert", key = row.key, properties = properties,
           upstreamUpdatedAt = ("2024-01-01T%02d:%02d:%02dZ"):format(row.version // 3600, row.version // 60 % 60, row.version % 60) }
end

local function listing(key, database, related)
  worker:sync(key, {
    database = database, mode = "replace", schedule = "manual",
    execute = function(state)
      local snapshot = state and state.snapshot or read("current").snapshot
      local first = state and state.first or 1
      local rows = read(("%s-%d"):format(key, snapshot))
      local changes = {}
      for i = first, math.min(first + PAGE - 1, #rows) do changes[#changes + 1] = upsert(rows[i], related) end
      workers.sleep(0.001)
      local more = first + PAGE <= #rows
      return { changes = workers.array(changes), hasMore = more,
               nextState = more and { snapshot = snapshot, first = first + PAGE } or nil }
    end,
  })
end
listing("projectsAll", projects, false)
listing("tasksAll", tasks, true)

worker:sync("events", {
  database = tasks, mode = "incremental", schedule = "manual",
  execute = function(state)
    local cursor = state and state.cursor or 0
    local log = read("events")
    local changes = {}
    local last = math.min(cursor + EVENT_PAGE, #log)
    for i = cursor + 1, last do
      changes[#changes + 1] = log[i].deleted and { type = "delete", key = log[i].key } or upsert(log[i], true)
    end
    workers.sleep(0.001)
    return { changes = workers.array(changes), hasMore = last < #log, nextState = { cursor = last } }
  end,
})
return worker
""".replace("EVENT_PAGE", str(EVENT_PAGE)).replace("PAGE", str(PAGE))


class Upstream:
    """What the services upstream hold now, all snapshots of it, and the log of what happened to tasks."""

    def __init__(self, project, chance):
        self.project, self.chance = project, chance
        self.version = 0
        self.truth = {"projectsAll": {}, "tasksAll": {}}
        self.snapshots = []
        self.events = []
        self.names = itertools.count(1)
        for _ in range(18):
            self.insert("projectsAll")
        for _ in range(45):
            self.insert("tasksAll")
        self.publish()

    def row(self, sync, key):
        self.version += 1
        related = []
        if sync == "tasksAll":
            related = sorted(self.chance.sample(sorted(self.truth["projectsAll"]), self.chance.choice([0, 1, 2, 3])))
        return {"key": key, "name": f"{key} as of {self.version}", "version": self.version, "related": related}

    def insert(self, sync):
        # Keys do not sort in the order in which they came, so that new rows fall into every page.
        key = f"{sync[0]}-{self.chance.randrange(1000):03d}-{next(self.names)}"
        self.truth[sync][key] = self.row(sync, key)
        self.tell(sync, self.truth[sync][key])

    def update(self, sync):
        key = self.chance.choice(sorted(self.truth[sync]))
        self.truth[sync][key] = self.row(sync, key)
        self.tell(sync, self.truth[sync][key])

    def delete(self, sync):
        key = self.chance.choice(sorted(self.truth[sync]))
        del self.truth[sync][key]
        self.tell(sync, {"key": key, "deleted": True})

    def tell(self, sync, event):
        if sync == "tasksAll":
            self.events.append(event)

    def change(self):
        for sync, fewest, most in (("projectsAll", 10, 30), ("tasksAll", 30, 70)):
            for _ in range(self.chance.randrange(1, 6)):
                size = len(self.truth[sync])
                what = self.chance.choice(["insert", "update", "update", "delete"])
                if what == "insert" and size < most:
                    self.insert(sync)
                elif what == "delete" and size > fewest:
                    self.delete(sync)
                else:
                    self.update(sync)
        self.publish()

    def publish(self):
        number = len(self.snapshots)
        self.snapshots.append({s: [rows[k] for k in sorted(rows)] for s, rows in self.truth.items()})
        for sync, rows in self.snapshots[-1].items():
            self.project.write(f"data/{sync}-{number}.json", json.dumps(rows))
        self.project.write("data/events.json", json.dumps(self.events))
        self.project.write("data/current.json", json.dumps({"snapshot": number}))


class Cycle:
    """What the model knows of the replace cycle of one sync."""

    def __init__(self):
        self.id, self.open = None, False
        self.snapshot, self.done = None, 0  # rows listed so far
        self.seen, self.written_since = set(), set()


def content(row):
    return (row["name"], row["version"], tuple(row["related"]))


class Model:
    """Follows the store from one look to the next. Raises AssertionError when the rows are not what its state says."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.tables = {"projectsAll": {}, "tasksAll": {}}
        self.cycles = {"projectsAll": Cycle(), "tasksAll": Cycle()}
        self.cursor = 0
        self.sweeps = 0
        self.counted = {}  # pages by run

    def look(self, connection):
        with connection:
            connection.execute("BEGIN")
            assert integrity(connection) == ["ok"], integrity(connection)
            if not has_table(connection, "_workers_syncs"):
                return
            stored = {row["key"]: row for row in connection.execute("SELECT * FROM _workers_syncs")}
            runs = {row["id"]: row for row in connection.execute("SELECT * FROM _workers_runs")}
            last_runs = {row["last_run_id"] for row in stored.values()}
            for run in runs.values():
                assert run["exit_code"] is not None or run["id"] in last_runs, f"run {run['id']} was never closed"
            events = self.new_events(stored.get("events"), runs)
            for sync, table in (("projectsAll", "projects"), ("tasksAll", "tasks")):
                if has_table(connection, table):
                    actual = self.rows(connection, table)
                    self.check(sync, stored.get(sync), runs, events if sync == "tasksAll" else [], actual)
            if has_table(connection, "tasks_project"):
                self.links(connection)

    @staticmethod
    def rows(connection, table):
        rows = {}
        project = "project" if table == "tasks" else "NULL"
        for row in connection.execute(f"SELECT _key, id, name, count, {project} AS related FROM {table}"):
            assert row["id"] == row["_key"], f"{table}: the key property of {row['_key']} is {row['id']}"
            rows[row["_key"]] = (row["name"], row["count"], tuple(json.loads(row["related"] or "[]")))
        return rows

    @staticmethod
    def links(connection):
        expected = {(row["_key"], key) for row in connection.execute("SELECT _key, project FROM tasks")
                    for key in json.loads(row["project"] or "[]")}
        actual = {tuple(row) for row in connection.execute("SELECT _key, related_key FROM tasks_project")}
        back = {(b, a) for a, b in map(tuple, connection.execute("SELECT _key, related_key FROM projects_tasks"))}
        assert expected == actual == back, f"links and rows differ: {expected ^ actual}"

    def new_events(self, stored, runs):
        cursor = json.loads(stored["state"])["cursor"] if stored is not None and stored["state"] else 0
        assert cursor >= self.cursor, f"the cursor went back from {self.cursor} to {cursor}"
        new = self.upstream.events[self.cursor:cursor]
        if stored is not None:
            pages = self.new_pages(stored, runs)
            assert -(-len(new) // EVENT_PAGE) <= pages <= -(-len(new) // EVENT_PAGE) + 1, \
                f"{len(new)} events in {pages} pages"
        self.cursor = cursor
        return new

    def new_pages(self, stored, runs):
        """How many pages the sync's last run counted since the last look."""
        run, pages = stored["last_run_id"], runs[stored["last_run_id"]]["pages"]
        before = self.counted.get(run, 0)
        self.counted[run] = pages
        return pages - before

    def check(self, sync, stored, runs, events, actual):
        cycle, table = self.cycles[sync], self.tables[sync]
        state = json.loads(stored["state"]) if stored is not None and stored["state"] else None
        if stored is not None and stored["cycle_id"] != cycle.id:
            # All cycles of a process begin before the first page of any of them.
            cycle.__init__()
            cycle.id, cycle.open = stored["cycle_id"], True
        listed, swept = [], False
        if stored is not None and cycle.open:
            if stored["cycle_open"]:
                assert (state is None) == (stored["cycle_pages"] == 0), "pages, but no state; or the other way round"
                if state is not None:
                    if cycle.snapshot is None:
                        cycle.snapshot = state["snapshot"]
                    assert cycle.snapshot == state["snapshot"]
                    done = state["first"] - 1
                    assert done >= cycle.done and done == stored["cycle_pages"] * PAGE, \
                        f"{stored['cycle_pages']} pages, but state {state}"
                    listed = self.upstream.snapshots[cycle.snapshot][sync][cycle.done:done]
                    cycle.done = done
            else:
                assert state is None, "a closed replace cycle left a state"
                if cycle.snapshot is None:
                    cycle.snapshot = len(self.upstream.snapshots) - 1
                rows = self.upstream.snapshots[cycle.snapshot][sync]
                assert stored["cycle_pages"] == -(-len(rows) // PAGE), f"{len(rows)} rows in {stored['cycle_pages']} pages"
                listed = rows[cycle.done:]
                swept = True
                cycle.open = False
                self.sweeps += 1
            pages = self.new_pages(stored, runs)
            assert pages == -(-len(listed) // PAGE), f"the run counted {pages} pages for {len(listed)} rows"
        else:
            assert stored is None or not stored["cycle_open"], "a closed cycle is open again"
        cycle.seen |= {row["key"] for row in listed}
        cycle.written_since |= {event["key"] for event in events if "deleted" not in event}
        survivors = cycle.seen | cycle.written_since

        by_key = {}
        for event in events:
            by_key.setdefault(event["key"], []).append(event)
        upserts = {row["key"]: row for row in listed}
        for key in table.keys() | by_key.keys() | upserts.keys() | actual.keys():
            allowed = outcomes(table.get(key), by_key.get(key, []), upserts.get(key))
            if swept and key not in survivors:
                allowed = {None}
            assert actual.get(key) in allowed, \
                f"{sync}: row {key} is {actual.get(key)}, it may be {allowed}; it was {table.get(key)}, listed " \
                f"{upserts.get(key)}, events {by_key.get(key)}, swept {swept}, state {state}"
        self.tables[sync] = actual


def outcomes(before, events, listed):
    """What a row may be after its events, in their order, and its listing, which fell somewhere among them."""
    def apply(value, change):
        if "deleted" in change:
            return None
        new = content(change)
        return value if value is not None and value[1] > new[1] else new

    results = set()
    for at in range(len(events) + 1):
        value = before
        for change in [*events[:at], *([listed] if listed else []), *events[at:]]:
            value = apply(value, change)
        results.add(value)
    return results


class Kill(unittest.TestCase):
    def setUp(self):
        self.chance = random.Random(f"{SEED} {self.id()}")
        self.project = Project(self, SCRIPT, 'permissions: { read: ["data"] }\n')
        self.upstream = Upstream(self.project, self.chance)
        self.model = Model(self.upstream)
        self.kills = self.completed = 0

    def look(self):
        connection = self.project.store()
        if connection is not None:
            try:
                self.model.look(connection)
            finally:
                connection.close()

    def settle(self):
        """Two undisturbed runs: the first ends the cycles that were open, the second lists what upstream holds now."""
        for _ in range(2):
            result = self.project.run("run", "main.lua")
            self.assertEqual(result.code, 0, result)
            self.look()
        for sync in ("projectsAll", "tasksAll"):
            expected = {key: content(row) for key, row in self.upstream.truth[sync].items()}
            self.assertEqual(self.model.tables[sync], expected)
        self.assertEqual(self.model.cursor, len(self.upstream.events))
        connection = self.project.store()
        open_runs = connection.execute("SELECT count(*) FROM _workers_runs WHERE exit_code IS NULL").fetchone()[0]
        connection.close()
        self.assertEqual(open_runs, 0)

    def after(self, process, err):
        if process.returncode == -signal.SIGKILL or process.returncode == 128 + signal.SIGKILL:
            self.kills += 1
        else:
            self.assertEqual(process.returncode, 0, err.decode(errors="replace"))
            self.completed += 1
        self.look()
        if self.chance.random() < 0.5:
            self.upstream.change()
        if self.chance.random() < 0.05:
            self.settle()

    def report(self, what):
        self.settle()
        self.assertGreater(self.model.sweeps, 1)
        print(f"{self.kills} {what}, {self.completed} runs that ended by themselves, {self.model.sweeps} sweeps, "
              f"0 violations ... ", end="", flush=True)

    def test_at_random_times(self):
        usual = 0.1  # seconds that a run takes; follows what is seen
        while self.kills < KILLS:
            began = time.monotonic()
            process = self.project.start("run", "main.lua")
            try:
                _, err = process.communicate(timeout=self.chance.uniform(0, usual))
                usual += (time.monotonic() - began - usual) / 4
            except subprocess.TimeoutExpired:
                process.kill()
                _, err = process.communicate()
                usual *= 1.03
            self.after(process, err)
        self.report("kills at random times")

    @unittest.skipUnless(shutil.which("strace"), "strace is not installed")
    def test_at_writes(self):
        calls = "pwrite64,fdatasync,fsync,ftruncate"
        probe = subprocess.run(["strace", "-f", "-o", os.devnull, "-e", f"trace={calls}", "true"], capture_output=True,
                               check=False)
        if probe.returncode != 0:
            self.skipTest("strace may not trace here: " + probe.stderr.decode(errors="replace").strip())
        trace = self.project.file("trace")
        writes = 400  # that one run makes; follows what is seen
        while self.kills < PRECISE_KILLS:
            at = self.chance.randrange(1, writes + 1)
            process = self.project.start("run", "main.lua", before=[
                "strace", "-f", "-o", trace, "-e", f"trace={calls}", "-e", f"inject={calls}:signal=SIGKILL:when={at}"])
            _, err = process.communicate(timeout=60)
            with open(trace, encoding="utf-8", errors="replace") as lines:
                count = sum(any(f"{call}(" in line for call in calls.split(",")) for line in lines)
            writes = (writes + count) // 2 if process.returncode == 0 else max(writes, at) + 2
            self.after(process, err)
        self.report("kills at writes")


if __name__ == "__main__":
    torture.main()
