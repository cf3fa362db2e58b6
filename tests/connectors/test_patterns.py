#!/usr/bin/env python3
"""What the template's skills show of Salesforce, Stripe, HubSpot, GitHub and ServiceNow, for some days against the fake services.

The days are those of test_connectors.py, without kills. The page is api-pagination-patterns.md of templates/worker; each of its
blocks becomes a worker, with the fake's address in place of the service's.
"""
import importlib
import pathlib
import re
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import test_connectors as connectors  # noqa: E402
from test_connectors import harness  # noqa: E402

PAGE = harness.REPOSITORY / "templates/worker/_agents/skills/sync-guide/api-pagination-patterns.md"
DAYS = int(connectors.os.environ.get("WORKERS_DAYS") or (20 if connectors.FULL else 2))
WORKER = """local workers = require "workers"
local http = require "workers.http"
local Schema = workers.schema
local worker = workers.new()
local api = worker:pacer("service", { allowedRequests = 60000, intervalMs = 60000 })
local tasks = worker:database("%s", { type = "managed", initialTitle = "Records", primaryKeyProperty = "ID",
  schema = { properties = { Name = Schema.title(), ID = Schema.richText() } } })
%s
return worker
"""
# Mistakes that one makes when copying; a day has to find each.
PLANTED = {"salesforce": ("lag = 15", "lag = 0"), "stripe": ("response.status == 400", "false"), "hubspot": ('"GTE"', '"GT"'),
           "github": ("60 * 1000", "0"), "servicenow": (', { "deletions", deletions }', "")}


@unittest.skipUnless(connectors.FAKETIME, "libfaketime is not installed (Debian package faketime)")
class Patterns(harness.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="workers-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.addCleanup(setattr, connectors, "EXAMPLES", connectors.EXAMPLES)
        connectors.EXAMPLES = self.folder

    def service(self, name):
        """The fake, of which only the names of records are looked at, and the worker of the page's block."""
        title = connectors.SERVICES[name]
        fake = getattr(importlib.import_module(name), title)
        section = PAGE.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
        block = re.search(r"```lua\n(.*?)```", section, re.S)[1]
        block, count = re.subn(r'"https://[^/"]+', f'require("workers.env").get "{name.upper()}_URL" .. "', block)
        self.assertEqual(count, 1, "the address of the service")
        source = self.folder / name / "src"
        source.mkdir(parents=True)
        (source / "main.lua").write_text(WORKER % (fake.table, block), encoding="utf-8")
        (source.parent / "workers.yaml").write_text(f"name: {name}\npermissions:\n  net: []\n", encoding="utf-8")

        def expected(upstream):
            rows = fake.expected(upstream)
            column = next(c for c in ("name", "title", "short_description") if c in next(iter(rows.values())))
            return {key: {"name": row[column]} for key, row in rows.items() if row.get("issue") is None}

        return type(title, (fake,), {"expected": expected})

    def converge(self, name):
        service = self.service(name)
        for seed in range(0, 2 * DAYS, 2):
            wrong, _ = connectors.play(service, seed)
            self.assertIsNone(wrong, f"seed {seed}: {wrong}")

    def find(self, name):
        service = self.service(name)
        found = any(connectors.play(service, seed, PLANTED[name])[0] for seed in range(0, 60, 2))
        self.assertTrue(found, f"no day shows {PLANTED[name]}")


for service_name in connectors.SERVICES:
    setattr(Patterns, f"test_{service_name}", lambda self, name=service_name: self.converge(name))
    if connectors.FULL:
        setattr(Patterns, f"test_{service_name}_mistake", lambda self, name=service_name: self.find(name))

if __name__ == "__main__":
    harness.main()
