"""What the torture tests share: running the binary in a project of its own, and looking into its store from outside.

Environment: WORKERS_BIN names the binary; WORKERS_FULL=1 asks for the long proof; WORKERS_SEED replays a run.
"""
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import unittest

BIN = os.environ.get("WORKERS_BIN", "workers")
FULL = os.environ.get("WORKERS_FULL", "") not in ("", "0")
SEED = int(os.environ.get("WORKERS_SEED") or random.SystemRandom().randrange(1 << 32))
SUPPORT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "support")


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __str__(self):
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def environment(extra=None):
    env = {k: v for k, v in os.environ.items() if not k.startswith("WORKERS_")}
    env["NO_COLOR"] = "1"
    env.update(extra or {})
    return env


class Project:
    """A worker's folder, removed at the end of the test."""

    def __init__(self, test, script, settings=""):
        holder = tempfile.TemporaryDirectory(prefix="workers-torture-")
        test.addCleanup(holder.cleanup)
        self.remove = holder.cleanup  # for tests that make many
        self.path = holder.name
        self.write("workers.yaml", "name: torture\nmain: main.lua\n" + settings)
        self.write("main.lua", script)

    def file(self, name):
        return os.path.join(self.path, name)

    def write(self, name, text):
        """Whole or not at all, so that a script never reads half a file."""
        path = self.file(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w", encoding="utf-8") as out:
            out.write(text)
        os.replace(path + ".new", path)

    def start(self, *args, env=None, before=(), **more):
        return subprocess.Popen([*before, BIN, *args], cwd=self.path, env=environment(env), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    def run(self, *args, env=None, timeout=60, before=()):
        """A run that takes longer than timeout seconds is a failure of the test."""
        process = self.start(*args, env=env, before=before)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{args} hung for {timeout} s\n{err.decode(errors='replace')}") from None
        return Result(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))

    def store(self):
        """The store, opened by Python's SQLite; None when there is none yet."""
        path = self.file(".workers/worker.db")
        if not os.path.exists(path):
            return None
        connection = sqlite3.connect(path, timeout=30)
        connection.row_factory = sqlite3.Row
        return connection


def integrity(connection):
    return [row[0] for row in connection.execute("PRAGMA integrity_check")]


def has_table(connection, name):
    return connection.execute("SELECT count(*) FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0] > 0


def main():
    print(f"WORKERS_SEED={SEED}", file=sys.stderr, flush=True)
    unittest.main(verbosity=2)
