#!/usr/bin/env python3
"""The port of docs/from-notion-workers.md: the TypeScript worker, run by its SDK, and the Lua worker, run by the program,
declare the same, and give the same rows and answers from one server."""
import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
sys.path.insert(0, str(HERE.parent / "docs"))
import harness  # noqa: E402
import npm  # noqa: E402
import test_docs  # noqa: E402

PAGE = test_docs.REPOSITORY / "docs" / "from-notion-workers.md"
ISSUES = [
    {"number": 7, "title": "It is cold", "state": "open", "votes": 3, "due": "2026-02-28"},
    {"number": 8, "title": "Ü, \"quoted\"", "state": "closed", "votes": 0, "due": None},
    {"number": 9, "title": "The last one", "state": "open", "votes": 1.5, "due": "2024-02-29"},
]
RUN = """
const { default: worker } = await import(process.argv[2]);
const [key, input] = process.argv.slice(3);
const told = key ? await worker.run(key, JSON.parse(input), { concreteOutput: true }) : worker.manifest;
process.stdout.write(JSON.stringify(told));
"""


def plain(value):
    """What a value of the SDK's wire form says: the start of a date, or the text."""
    if not value:
        return None
    marks = value[0][1] if len(value[0]) > 1 else []
    return marks[0][1]["start_date"] if marks and marks[0][0] == "d" else value[0][0]


class Port(harness.TestCase):
    def setUp(self):
        packages = npm.ensure()
        upstream = self.upstream()
        upstream.script("issues", {"items": ISSUES[:2], "more": True}, {"items": ISSUES[2:], "more": False})
        self.p = self.project(config="name: port\nmain: main.lua\n")
        (self.p.folder / "node_modules").symlink_to(packages / "node_modules")
        for block in test_docs.read_blocks(PAGE):
            if "file" in block.markers:
                name, text = block.markers["file"].replace(".ts", ".mjs"), block.text
                self.assertIn("https://tracker.example.com", text)
                self.p.write(name, text.replace("https://tracker.example.com", upstream.url))
        self.p.write("run.mjs", RUN)

    def typescript(self, *args):
        """It has no annotations, so it is JavaScript too."""
        done = subprocess.run([npm.node(), "run.mjs", "./index.mjs", *args], cwd=self.p.folder, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def lua(self, *args):
        return json.loads(self.ok(self.p.run(*args)).stdout)

    def test_they_declare_the_same(self):
        ours, theirs = self.lua("manifest"), self.typescript()
        for part in ("databases", "pacers", "capabilities"):
            self.assertEqual(ours[part], theirs[part], part)
        self.assertEqual({item["key"] for item in ours["capabilities"]}, {"issuesSync", "countVotes"})

    def test_the_commands_of_the_page_exist(self):
        known = re.findall(r"^### `workers ([a-z- ]+?)(?: [A-Z\\[].*)?`$", (PAGE.parent / "commands.md").read_text(), re.M)
        named = set(re.findall(r"`workers ([a-z- ]+)", PAGE.read_text()))
        self.assertGreater(len(named), 15)
        for name in sorted(named):
            words = name.split(" -")[0].strip()
            self.assertTrue(any(words == each or each.startswith(words + " ") for each in known), f"workers {name}")

    def test_they_give_the_same_rows(self):
        first = self.typescript("issuesSync", "{}")
        self.assertEqual((first["hasMore"], len(first["changes"])), (True, 2))
        second = self.typescript("issuesSync", json.dumps({"state": first["nextUserContext"]}))
        self.assertEqual((second["hasMore"], len(second["changes"])), (False, 1))
        expected = sorted(tuple(plain(change["properties"][name]) for name in ("Number", "Title", "State", "Votes", "Due"))
                          for change in first["changes"] + second["changes"])
        self.setUp()  # the server begins again
        self.ok(self.p.run("run", "main.lua"))
        rows = self.lua("db", "query", 'SELECT "Number", "Title", "State", "Votes", "Due" FROM issues ORDER BY 1', "--json")
        self.assertEqual([tuple(None if value is None else str(value) for value in row.values()) for row in rows], expected)

    def test_their_tools_answer_the_same(self):
        for votes in ([], [3, 4, -1]):
            data = json.dumps({"votes": votes})
            self.assertEqual(self.lua("exec", "countVotes", "-d", data), self.typescript("countVotes", data))


if __name__ == "__main__":
    harness.main()
