#!/usr/bin/env python3
"""Schema, Builder, j, tool inputs, schedules and manifests against the TypeScript SDK, on generated cases.

WORKERS_SEED replays a seed; the seeds are printed. WORKERS_FULL=1 runs more of them."""
import os
import pathlib
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import npm  # noqa: E402


class Oracle(unittest.TestCase):
    def test_agrees_with_the_sdk(self):
        folder = npm.ensure()
        seeds = [os.environ["WORKERS_SEED"]] if "WORKERS_SEED" in os.environ else ["1", "2"]
        if os.environ.get("WORKERS_FULL"):
            seeds = [str(seed) for seed in range(1, 21)]
        for seed in seeds:
            done = subprocess.run(
                ["sh", str(HERE / "oracle" / "run.sh"), os.environ["ORACLE_PEER"], os.environ["WORKERS_BIN"], str(folder), seed],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=600)
            lines = done.stdout.splitlines()
            passed = sum(line.startswith("ok ") for line in lines)
            skipped = sum("# SKIP" in line for line in lines)
            print(f"seed {seed}: {passed} cases agree")
            self.assertEqual(done.returncode, 0, done.stdout[-4000:])
            self.assertEqual(skipped, 0)
            self.assertGreaterEqual(passed, 870)


if __name__ == "__main__":
    unittest.main()
