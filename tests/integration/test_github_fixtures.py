#!/usr/bin/env python3
"""Issues through Link-header pagination from the recorded GitHub API of @octokit/fixtures-server.

The server is strict: it answers recorded requests only (path, query, headers), each once, in the recorded order. A page that
is asked for twice, or left out, is an error there.
"""
import json
import pathlib
import subprocess
import sys
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import npm  # noqa: E402
from harness import TestCase, free_port, main, wait_until  # noqa: E402

TOKEN = "0000000000000000000000000000000000000001"
SCENARIO = "paginate-issues"


class GithubTest(TestCase):
    @classmethod
    def setUpClass(cls):
        place = npm.ensure()
        cls.recorded = json.loads((place / "node_modules/@octokit/fixtures/scenarios/api.github.com" / SCENARIO /
                                   "normalized-fixture.json").read_text())
        port = free_port()
        cls.address = f"http://127.0.0.1:{port}"
        cls.server = subprocess.Popen(
            ["node", place / "node_modules/@octokit/fixtures-server/bin/server.js", "--port", str(port), "--fixtures-url",
             cls.address, "--log-level", "error"],
            cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(cls.server.wait)
        cls.addClassCleanup(cls.server.kill)
        wait_until(cls.listens, "the fixtures server")

    @classmethod
    def listens(cls):
        if cls.server.poll() is not None:
            raise AssertionError(f"the fixtures server ended with {cls.server.returncode}")
        try:
            urllib.request.urlopen(cls.address + "/none", timeout=5)
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def load(self):
        """A fresh set of the recorded exchanges; returns its address."""
        request = urllib.request.Request(self.address + "/fixtures", json.dumps({"scenario": SCENARIO}).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["url"]

    def setUp(self):
        self.p = self.project((HERE / "github" / "main.lua").read_text(), "name: github\nmain: main.lua\n")
        self.expected = [issue for exchange in self.recorded for issue in exchange["response"]]

    def sync(self, url, code=0, **env):
        return self.ok(self.p.run("run", env={"GITHUB_API": url, "GITHUB_TOKEN": TOKEN, **env}), code)

    def check_rows(self):
        rows = self.p.rows("SELECT _key, issue_id, title, number, state, author, locked, comments, labels, created_at, _content,"
                           " _upstream_updated_at, url FROM issues ORDER BY number DESC")
        self.assertEqual(len(rows), 13)
        for row, issue in zip(rows, self.expected):
            labels = json.loads(row[8]) if row[8] is not None else []
            self.assertEqual(row[:8], (str(issue["id"]), issue["id"], issue["title"], issue["number"], issue["state"],
                                       issue["user"]["login"], int(issue["locked"]), issue["comments"]))
            self.assertEqual(labels, [label["name"] for label in issue["labels"]])
            self.assertEqual(row[9].replace(".000", ""), issue["created_at"])
            self.assertEqual(row[10], issue["body"])
            self.assertEqual(row[11], issue["updated_at"])
            self.assertEqual(row[12], issue["html_url"])

    def test_five_pages_of_issues(self):
        self.assertEqual(len(self.recorded), 5)
        self.sync(self.load())
        self.check_rows()
        self.assertEqual(self.p.rows("SELECT exit_code, pages, requests, added FROM _workers_runs"), [(0, 5, 5, 13)])
        # The same again changes nothing and sweeps nothing.
        self.sync(self.load())
        self.assertEqual(self.p.rows("SELECT pages, added, changed, unchanged, deleted FROM _workers_runs ORDER BY id DESC LIMIT 1"),
                         [(5, 0, 0, 13, 0)])

    def test_after_a_failure_each_page_is_still_asked_for_once(self):
        url = self.load()
        self.assertIn("the network is down", self.sync(url, code=1, FAIL_BEFORE_PAGE="4").stderr)
        self.assertEqual(self.p.value("SELECT count(*) FROM issues"), 9)
        self.sync(url)  # pages 1 to 3 are used up: asking for one of them again would fail
        self.check_rows()
        self.assertEqual(self.p.rows("SELECT exit_code, pages, requests FROM _workers_runs ORDER BY id"), [(1, 3, 3), (0, 2, 2)])

    def test_a_request_that_was_not_recorded_is_an_error_with_its_status(self):
        result = self.sync(self.load(), code=1, GITHUB_TOKEN="0000000000000000000000000000000000000002")
        self.assertRegex(result.stderr, r"\b[45]\d\d\b")
        self.assertNotIn("0000000000000000000000000000000000000002", result.stderr + result.stdout)
        self.assertEqual(self.p.value("SELECT count(*) FROM issues"), 0)


if __name__ == "__main__":
    main()
