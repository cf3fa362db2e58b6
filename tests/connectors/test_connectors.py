#!/usr/bin/env python3
"""The connectors of examples/connectors against fake services, day after simulated day: nothing lost, nothing left over.

A day: a service has records, a backfill reads them, the delta keeps up, now and then another backfill runs. All the time
records are inserted, changed and deleted, one by one and in bulk with one timestamp, become visible late, and requests fail
with 429, 500, connections cut and bodies cut. In the evening, once everything is visible, the delta runs once more, and
the table must be what the service has, row by row. In every other day runs are killed at random moments.

The binary sees the service's clock by libfaketime (Debian package faketime). WORKERS_FULL=1 runs 200 days for each
connector, WORKERS_DAYS=N another number; WORKERS_SEED replays the day with that seed, WORKERS_CONNECTOR=NAME one connector
only; what the runs printed is shown for a day that fails.
"""
import concurrent.futures
import glob
import importlib
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import harness

FULL = os.environ.get("WORKERS_FULL", "") not in ("", "0")
DAYS = int(os.environ.get("WORKERS_DAYS") or (200 if FULL else 4))
SEED = os.environ.get("WORKERS_SEED")
ONLY = os.environ.get("WORKERS_CONNECTOR")
AT_ONCE = 6  # days; they spend most of their time waiting for retries
EXAMPLES = harness.REPOSITORY / "examples" / "connectors"
FAKETIME = (glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1") or [None])[0]


# Mistakes that a connector's author makes, as text and what it is replaced with: the days have to find each.
PLANTED = {
    "github": [
        ("- LAG * 1000", ""),
        ("fetch = more_comments", "fetch = function() return { nodes = {} } end"),
        ('data.errors[1].type == "NOT_FOUND"', "false"),
        ('walk(cycle.walk, "UPDATED_AT", cycle.since)', 'walk(cycle.walk, "UPDATED_AT", cycle.following)'),
    ],
    "salesforce": [
        ("lag = LAG", "lag = 0"),
        (" OR (%s = %s AND Id > '%s')\"):format(field, at, field, at, id)", "\"):format(field, at)"),
        ("return records\n", "return records, #records == 25\n"),
        ("if account.IsDeleted then", "if false then"),
    ],
    "stripe": [
        ("lag = LAG", "lag = 0"),
        ("if customer.deleted then", "if false then"),
        ("while list.has_more do", "while false do"),
        ("if response.status == 400 and cursor", "if false"),
        ('= "customer.*"', '= "customer.updated"'),
    ],
    "hubspot": [
        ("lag = LAG", "lag = 0"),
        ('"GTE"', '"GT"'),
        ("tostring((page - 1) * PAGE)", '"0"'),
        ('archived = "true"', 'archived = "false"'),
    ],
    "servicenow": [
        ("unit = to_ms,\n    lag = LAG,\n    fetch = fetch(\"incident\"", "unit = to_ms,\n    lag = 0,\n    fetch = fetch(\"incident\""),
        ("unit = to_ms,\n    lag = LAG,\n    fetch = fetch(\"sys_audit_delete\"", "unit = to_ms,\n    lag = 0,\n    fetch = fetch(\"sys_audit_delete\""),
        ('"^NQ" .. scope .. field .. "=" .. at .. "^sys_id>" .. id .. "^"', '"^"'),
        (', { "deletions", deletions }', ""),
    ],
}
PLANTED_DAYS = 60  # in which a mistake must show


class Day:
    def __init__(self, service, seed, kills, mistake=None):
        self.seed, self.kills = seed, kills
        self.random = random.Random(seed)
        self.project = harness.Project()
        shutil.copytree(EXAMPLES / service.name, self.project.folder, dirs_exist_ok=True)
        config = (EXAMPLES / service.name / "workers.yaml").read_text()
        self.project.write("workers.yaml", config.replace("net: [", 'net: ["127.0.0.1", '))
        self.upstream = service(seed, self.project.folder)
        if mistake:
            script = self.project.folder / "src" / "main.lua"
            text = script.read_text()
            assert text.count(mistake[0]) == 1, f"{mistake[0]!r} is not once in the script"
            script.write_text(text.replace(*mistake))
        prefix = service.name.upper()
        self.environment = {
            f"{prefix}_URL": self.upstream.url, f"{prefix}_TOKEN": "token",
            "LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(self.upstream.clock_file), "FAKETIME_NO_CACHE": "1",
            # Waiting is real: only the time of day is the service's.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
            "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", ""),
        }
        self.log = []
        self.killed = 0

    def close(self):
        self.upstream.close()
        self.project.close()

    def run(self, sync, kill=False):
        """One run; returns whether it ended well. One that is to be killed may end before."""
        process = self.project.start("run", "src/main.lua", sync, env=self.environment)
        try:
            out, err = process.communicate(timeout=self.random.uniform(0.01, 0.4) if kill else 120)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            out, err = process.communicate()
            if not kill:
                raise AssertionError(f"{sync} did not end:\n{err}") from None
            self.killed += 1
        self.log.append(f"{sync}: {process.returncode}\n{out}{err}")
        return process.returncode == 0

    def until_done(self, sync):
        """Runs until one ends well; a fault may outlast the retries of a request."""
        if not any(self.run(sync) for _ in range(8)):
            raise AssertionError(f"{sync} fails again and again")

    def rows(self, columns):
        found = self.project.rows(f"SELECT _key, {', '.join(columns)} FROM {self.upstream.table}")
        return {row[0]: dict(zip(columns, row[1:])) for row in found}

    def compare(self, expected, ghosts=False):
        """What is wrong with the table, as lines; with ghosts=True rows too many are no mistake."""
        columns = [*next(iter(expected.values()))]
        rows = self.rows(columns)
        wrong = [f"lost: {key} {fields}" for key, fields in expected.items() if key not in rows]
        wrong += [f"stale: {key} {rows[key]}, upstream {fields}" for key, fields in expected.items()
                  if key in rows and rows[key] != fields]
        if not ghosts:
            wrong += [f"ghost: {key} {fields}" for key, fields in rows.items() if key not in expected]
        return wrong

    def check(self, when, ghosts=False):
        wrong = self.compare(self.upstream.expected(), ghosts)
        if wrong:
            raise AssertionError(f"{when}: {len(wrong)} rows are wrong:\n" + "\n".join(wrong[:10]))

    def play(self):
        upstream = self.upstream
        backfill, delta = f"{upstream.table}Backfill", f"{upstream.table}Delta"
        upstream.populate(self.random.choice((40, 150, 300)))
        upstream.fault_rate = self.random.choice((0, 0.02, 0.06))
        self.until_done(backfill)
        for _ in range(self.random.randint(4, 8)):
            upstream.advance(self.random.choice((1_000, 8_000, 20_000, 300_000)))
            for _ in range(self.random.randrange(3) if self.kills else 0):
                self.run(self.random.choice((backfill, delta)), kill=True)
            if self.random.random() < 0.15:
                self.until_done(backfill)
            self.run(delta)
        upstream.quiet, upstream.fault_rate = True, 0
        upstream.advance(60_000)
        self.evening(backfill, delta)
        if upstream.refused:
            raise AssertionError("the service refused:\n" + "\n".join(upstream.refused[:5]))

    def evening(self, backfill, delta):
        if not self.run(delta):
            raise AssertionError("the delta fails although the service is well again")
        # Some services do not tell of deletions: the backfill has to find them.
        self.check("after the last delta", ghosts=not self.upstream.tells_deletions)
        if not self.upstream.tells_deletions:
            self.until_done(backfill)  # perhaps the rest of a cycle that was killed, which keeps what it saw before
            self.until_done(backfill)
            self.let_through(backfill)
            self.check("after the last backfill")

    def let_through(self, backfill):
        """When the sweep guard asks, does what a person would: looks, and lets through what is right."""
        held = re.search(r"would delete (\d+) of (\d+) rows", self.log[-1])
        if not held:
            return
        wrong = self.compare(self.upstream.expected())
        if len(wrong) != int(held[1]) or any(not line.startswith("ghost: ") for line in wrong):
            raise AssertionError(f"the sweep was held, and is wrong: {held[0]}\n" + "\n".join(wrong[:10]))
        process = self.project.start("sync", "trigger", backfill, "--allow-deletes", env=self.environment)
        out, err = process.communicate(timeout=120)
        self.log.append(f"{backfill} --allow-deletes: {process.returncode}\n{out}{err}")


def play(service, seed, mistake=None):
    """Plays a day; returns (what went wrong or None, the day). Odd seeds are days with kills."""
    day = Day(service, seed, seed % 2 == 1, mistake)
    try:
        day.play()
        return None, day
    except Exception as mistake:  # reported with the seed
        return f"{mistake}\n--- runs\n" + "\n".join(day.log[-6:])[-6000:], day
    finally:
        day.close()


SERVICES = {"github": "GitHub", "hubspot": "HubSpot", "salesforce": "Salesforce", "servicenow": "ServiceNow", "stripe": "Stripe"}


@unittest.skipUnless(FAKETIME, "libfaketime is not installed (Debian package faketime)")
class Connectors(harness.TestCase):
    def service(self, name):
        if ONLY and ONLY != name:
            self.skipTest(f"only {ONLY}")
        return getattr(importlib.import_module(name), SERVICES[name])

    def converge(self, name):
        service = self.service(name)
        first = int(SEED) if SEED else random.SystemRandom().randrange(1 << 31)
        seeds = range(first, first + (1 if SEED and "WORKERS_DAYS" not in os.environ else DAYS))
        failures, requests, killed, faults = [], 0, 0, 0
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            for seed, (wrong, day) in zip(seeds, pool.map(lambda seed: play(service, seed), seeds)):
                requests += day.upstream.counts["requests"]
                faults += sum(count for kind, count in day.upstream.counts.items() if kind.startswith("fault"))
                killed += day.killed
                if wrong:
                    failures.append(f"seed {seed}: {wrong}\nreplay: WORKERS_CONNECTOR={name} WORKERS_SEED={seed}")
        print(f"{name}: seeds {seeds[0]} to {seeds[-1]}: {len(seeds) - len(failures)} of {len(seeds)} days converged; "
              f"{requests} requests, {faults} faults, {killed} kills", flush=True)
        if failures:
            self.fail(f"{len(failures)} days went wrong; the first:\n" + "\n\n".join(failures[:2]))

    def find_mistakes(self, name):
        """Each planted mistake makes a day go wrong."""
        if not FULL:
            self.skipTest("only with WORKERS_FULL=1")
        service = self.service(name)
        for mistake in PLANTED[name]:
            with self.subTest(mistake=mistake), concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                found = None
                for first in range(0, PLANTED_DAYS, AT_ONCE):
                    days = pool.map(lambda seed: play(service, seed, mistake), range(first, first + AT_ONCE))
                    found = next(((first + place, wrong) for place, (wrong, _) in enumerate(days) if wrong), None)
                    if found:
                        break
                self.assertIsNotNone(found, "no day shows it")
                print(f"{name}: {mistake[1]!r}: day {found[0] + 1}: " + " ".join(found[1].split("\n")[:2])[:150], flush=True)


def add_tests():
    for name in SERVICES:
        setattr(Connectors, f"test_{name}", lambda self, name=name: self.converge(name))
        setattr(Connectors, f"test_{name}_mistakes", lambda self, name=name: self.find_mistakes(name))


add_tests()

if __name__ == "__main__":
    harness.main()
