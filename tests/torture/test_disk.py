#!/usr/bin/env python3
"""Disks that are full or broken: the Nth write to the store fails, and every one after it; then a really full one.

Whatever N: a clear error and exit code 1 (or, when all rows were safe before the write that failed, 0); afterwards the
store opens, holds exactly the pages that were committed, and the next run goes on to the end.
"""
import errno
import json
import os
import subprocess
import tempfile
import unittest

import torture
from torture import FULL, Project, has_table, integrity

PAGES, ROWS = 3, 20
LIBRARY = os.environ.get("WORKERS_FAILING_WRITES", "")
SAYS = {
    errno.ENOSPC: "the disk is full",
    errno.EIO: "the file system failed",
}

SCRIPT = r"""
local workers = require "workers"
local Schema = workers.schema
local worker = workers.new()
local items = worker:database("items", {
  type = "managed", initialTitle = "Items", primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText(), Text = Schema.richText() } },
})
worker:sync("fill", {
  database = items, mode = "replace", schedule = "manual",
  execute = function(state)
    local page = state and state.page or 1
    print("page " .. page)
    local changes = {}
    for i = 1, ROWS do
      local key = ("%d-%02d"):format(page, i)
      changes[i] = { type = "upsert", key = key, properties = { Name = "item " .. key, Text = ("x"):rep(FILL) } }
    end
    return { changes = changes, hasMore = page < PAGES, nextState = page < PAGES and { page = page + 1 } or nil }
  end,
})
return worker
"""


def script(fill):
    return SCRIPT.replace("ROWS", str(ROWS)).replace("PAGES", str(PAGES)).replace("FILL", str(fill))


class Disk(unittest.TestCase):
    def check_store(self, project):
        """Rows and state agree; returns how many pages there are, and whether the cycle ended."""
        connection = project.store()
        if connection is None:
            return 0, False
        try:
            self.assertEqual(integrity(connection), ["ok"])
            if not has_table(connection, "items"):
                return 0, False
            keys = sorted(row[0] for row in connection.execute("SELECT _key FROM items"))
            stored = connection.execute("SELECT * FROM _workers_syncs WHERE key = 'fill'").fetchone()
            pages = stored["cycle_pages"] if stored is not None else 0
            ended = pages > 0 and not stored["cycle_open"]
            state = json.loads(stored["state"]) if stored is not None and stored["state"] else None
            self.assertEqual(keys, sorted(f"{p}-{i:02d}" for p in range(1, pages + 1) for i in range(1, ROWS + 1)))
            self.assertEqual(state, None if ended or pages == 0 else {"page": pages + 1})
            self.assertEqual(ended, pages == PAGES)
            return pages, ended
        finally:
            connection.close()

    def finish(self, project):
        result = project.run("run", "main.lua")
        self.assertEqual(result.code, 0, result)
        self.assertEqual(self.check_store(project), (PAGES, True))

    def check_failed(self, result, pages_and_end, says, what):
        if result.code == 0:
            self.assertEqual(pages_and_end, (PAGES, True), f"{what}: success, but not all is there\n{result}")
        else:
            self.assertEqual(result.code, 1, f"{what}\n{result}")
            self.assertIn("error:", result.err, what)
            if says not in result.err:
                # A flush that finds no room is told by its errno, which the clean-up after it may have lost.
                self.assertEqual(says, SAYS[errno.ENOSPC], f"{what}\n{result}")
                self.assertIn(SAYS[errno.EIO], result.err, what)
                self.unsure += 1

    def setUp(self):
        self.unsure = 0

    def fail_writes(self, number):
        counter = tempfile.NamedTemporaryFile(prefix="workers-count-")
        self.addCleanup(counter.close)

        def run(project, at):
            return project.run("run", "main.lua", env={
                "LD_PRELOAD": LIBRARY, "FAILING_WRITES_AT": str(at), "FAILING_WRITES_ERRNO": str(number),
                "FAILING_WRITES_COUNT": counter.name, "ASAN_OPTIONS": "verify_asan_link_order=0"})

        whole = Project(self, script(100))
        self.assertEqual(run(whole, 0).code, 0)
        with open(counter.name, encoding="ascii") as text:
            total = int(text.read())
        self.assertGreater(total, 20, "the library does not see the writes of the program")
        failed = 0
        reached = set()
        for at in range(1, total + 1) if FULL else sorted({*range(1, total + 1, max(1, total // 40)), total}):
            project = Project(self, script(100))
            result = run(project, at)
            outcome = self.check_store(project)
            self.check_failed(result, outcome, SAYS[number], f"write {at} of {total}")
            failed += result.code != 0
            reached.add(outcome[0])
            self.finish(project)
            project.remove()
        self.assertGreater(failed, 10)
        self.assertLess(self.unsure, failed / 3)
        self.assertEqual(reached, set(range(PAGES + 1)), "the failures did not fall into every page")
        print(f"{total} writes, {failed} runs failed ... ", end="", flush=True)

    @unittest.skipUnless(LIBRARY, "WORKERS_FAILING_WRITES does not name the library")
    def test_full(self):
        self.fail_writes(errno.ENOSPC)

    @unittest.skipUnless(LIBRARY, "WORKERS_FAILING_WRITES does not name the library")
    def test_broken(self):
        self.fail_writes(errno.EIO)

    def test_file_system_that_is_full(self):
        """A small tmpfs, with less and less space on it."""
        project = Project(self, script(2000))
        folder = project.file(".workers")
        os.mkdir(folder, 0o700)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False)
        if mounted.returncode != 0:
            self.skipTest("a tmpfs cannot be mounted here: " + mounted.stderr.decode(errors="replace").strip())
        self.addCleanup(lambda: subprocess.run(["umount", folder], check=True))
        failed = 0
        for free in range(0, 600, 24 if FULL else 72):
            for name in os.listdir(folder):
                os.unlink(os.path.join(folder, name))
            with open(os.path.join(folder, "filler"), "wb") as filler:
                filler.write(bytes((1024 - free) * 1024))
            result = project.run("run", "main.lua")
            os.unlink(os.path.join(folder, "filler"))
            self.check_failed(result, self.check_store(project), SAYS[errno.ENOSPC], f"{free} KiB free")
            failed += result.code != 0
            self.finish(project)
        self.assertGreater(failed, 2)
        self.assertEqual(self.unsure, 0)
        print(f"{failed} runs failed ... ", end="", flush=True)


if __name__ == "__main__":
    torture.main()
