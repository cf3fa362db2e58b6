#!/usr/bin/env python3
"""`workers check` on a corpus: good/*.lua are workers without faults; in bad/RULE_NAME.lua one fault is planted, on the line
that says "-- expect: RULE", or above one that says "-- expect above: RULE". Nothing else may be found, and nothing at all
in what is shipped. docs/test_docs.py holds the scripts of the documentation to the same.
"""
import json
import os
import pathlib
import re
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import BINARY, REPOSITORY, Project, TestCase, main  # noqa: E402

CORPUS = pathlib.Path(__file__).resolve().parent
FIELDS = ["file", "line", "column", "rule", "severity", "message", "remedy"]
# What the program loads at least one project of.
SHIPPED = [*sorted(REPOSITORY.glob("examples/*/")), *sorted(REPOSITORY.glob("examples/connectors/*/"))]

# Mistakes that an author of the connectors may make: which connector, a text, what it is replaced with, the rule that finds it.
PLANTED = [
    ("stripe", "pacer = api, ", "", "no-pacer"),
    ("salesforce", "      pacer = api,\n", "", "no-pacer"),
    ("hubspot", "    pacer = api,\n", "", "no-pacer"),
    ("github", "    pacer = api,\n", "", "no-pacer"),
    ("salesforce", "lag = LAG", "lag = 0", "no-lag"),
    ("stripe", "lag = LAG", "lag = 0", "no-lag"),
    ("hubspot", "lag = LAG", "lag = 0", "no-lag"),
    ("servicenow", "lag = LAG", "lag = 0", "no-lag"),
    ("hubspot", "local PAGE = 100", "local PAGE = 5000", "batch-size"),
    ("servicenow", "sysparm_limit = 200", "sysparm_limit = 5", "batch-size"),
    ("stripe", "limit = 100", "limit = 3", "batch-size"),
    ("hubspot", 'env.require "HUBSPOT_TOKEN"', '"pat-na1-0a1b2c3d-4e5f-6789-abcd-ef0123456789"', "secrets-in-code"),
    ("stripe", "time.fromSeconds(", "time.fromSecond(", "unknown-api-name"),
    ("github", "graphql.walk(", "graphql.wak(", "unknown-api-name"),
    ("salesforce", "normalize(stamp)\n", "normalise(stamp)\n", "undefined-global"),
    ("servicenow", ', { "deletions", deletions }', "", "unused-local"),
    ("github", "state and state.walk and state", "state.walk and state", "first-run"),
    ("github", "since = state and state.following", "since = state.following", "first-run"),
]


def planted(text):
    """The faults of a script: its lines, each with a rule."""
    found = set()
    for number, line in enumerate(text.split("\n"), 1):
        for above, rule in re.findall(r"-- expect( above)?: ([\w-]+)", line):
            found.add((number - 1 if above else number, rule))
    return found


def severities():
    """The rules that there are, those about comments and files included -> how bad each is."""
    text = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "scripts/lint").rglob("*.lua"))
    text += (REPOSITORY / "scripts/lint.lua").read_text(encoding="utf-8")
    return dict(re.findall(r'\{ name = "([\w-]+)", severity = "(\w+)"', text))


class Corpus(TestCase):
    def setUp(self):
        self.project = Project("local worker = require('workers').new()\nreturn worker\n")
        self.addCleanup(self.project.close)

    def findings(self, text, *arguments):
        self.project.write("main.lua", text)
        result = self.project.run("check", "--json", *arguments)
        self.assertEqual(result.stderr, "")
        return json.loads(result.stdout), result.returncode

    def test_corpus(self):
        hits, misses, extra = 0, [], []
        good, bad = sorted(CORPUS.glob("good/*.lua")), sorted(CORPUS.glob("bad/*.lua"))
        self.assertGreaterEqual(len(good), 20)
        self.assertGreaterEqual(len(bad), 40)
        seen = set()
        for path in good + bad:
            text = path.read_text(encoding="utf-8")
            wanted = planted(text)
            self.assertEqual(len(wanted), 1 if path.parent.name == "bad" else 0, path.name)
            found, code = self.findings(text)
            got = {(finding["line"], finding["rule"]) for finding in found}
            name = f"{path.parent.name}/{path.name}"
            for _, rule in wanted:
                self.assertTrue(path.name.startswith(f"{rule}_"), name)
                seen.add(rule)
            self.assertEqual(len(found), len(got), f"{name}: something is said twice")
            self.assertEqual(code, int(any(finding["severity"] == "error" for finding in found)), name)
            hits += len(got & wanted)
            misses += [f"{name}:{line}: {rule}" for line, rule in sorted(wanted - got)]
            extra += [f"{name}:{line}: {rule}" for line, rule in sorted(got - wanted)]
        precision, recall = hits / max(1, hits + len(extra)), hits / max(1, hits + len(misses))
        print(f"{len(good)} good, {len(bad)} bad: precision {precision:.1%}, recall {recall:.1%}")
        self.assertEqual((misses, extra), ([], []), "missed, and found where nothing is")
        self.assertEqual(seen | {"not-read"}, set(severities()), "each rule has a fault in the corpus")

    def test_planted_in_connectors(self):
        for connector, text, replacement, rule in PLANTED:
            with self.subTest(connector=connector, text=text):
                script = (REPOSITORY / "examples/connectors" / connector / "src/main.lua").read_text(encoding="utf-8")
                self.assertIn(text, script)
                found, _ = self.findings(script.replace(text, replacement))
                self.assertIn(rule, [finding["rule"] for finding in found])

    def test_shipped(self):
        """Nothing is found in examples and templates."""
        folders = [folder for folder in SHIPPED if (folder / "workers.yaml").is_file()]
        self.assertGreaterEqual(len(folders), 6)
        for folder in folders:
            with self.subTest(folder=folder.name):
                place = self.project.folder / folder.name
                shutil.copytree(folder, place)
                self.assertRegex(self.ok(self.project.run("check", "--strict", str(place / "src/main.lua"))).stdout, r"\Aok: .*\n\Z")
        self.ok(self.project.run("new", "made"))
        made = self.ok(self.project.run("check", "--strict", "made/src/main.lua"))
        self.assertEqual(made.stdout, "ok: 1 database, 0 pacers, 2 capabilities\n")

    def test_documented(self):
        """docs/check.md has a section for each rule, with its severity, what it finds and what to do."""
        page = (REPOSITORY / "docs/check.md").read_text(encoding="utf-8")
        sections = dict(re.findall(r"^### ([\w-]+)\n(.*?)(?=^##|\Z)", page, re.M | re.S))
        self.assertEqual(set(sections), set(severities()))
        for name, severity in severities().items():
            self.assertRegex(sections[name], rf"\A\n\*{severity}\*\. \S", f"check.md: {name} begins with its severity")
            self.assertIn("```lua\n", sections[name], f"check.md: {name} has no example")
            self.assertRegex(sections[name], r"(?m)^Instead: ", f"check.md: {name} says no remedy")


class Output(TestCase):
    SCRIPT = """\
local workers = require "workers"
local worker = workers.new()
local spare = 1
worker:tool("t", { title = "T", description = "d", schema = workers.j.object {}, execute = function()
  return wokers
end })
return worker
"""

    def setUp(self):
        self.project = Project(self.SCRIPT)
        self.addCleanup(self.project.close)

    def test_lines(self):
        result = self.project.run("check")
        self.assertEqual(result.stdout, "main.lua:3:7: warning: spare is never used [unused-local]\n"
                                        "    take it out, or call it _spare\n"
                                        "main.lua:5:10: error: nothing is called wokers [undefined-global]\n"
                                        "    declare it with local, or require what defines it\n"
                                        "1 error, 1 warning\n")
        self.assertEqual((result.returncode, result.stderr), (1, ""))

    def test_json(self):
        result = self.project.run("check", "--json")
        found = json.loads(result.stdout)
        self.assertEqual([list(finding) for finding in found], [FIELDS, FIELDS])
        self.assertEqual(found[0], {"file": "main.lua", "line": 3, "column": 7, "rule": "unused-local", "severity": "warning",
                                    "message": "spare is never used", "remedy": "take it out, or call it _spare"})
        self.project.write("main.lua", self.SCRIPT.replace("wokers", "1").replace("local spare = 1", ""))
        self.assertEqual(self.ok(self.project.run("check", "--json")).stdout.strip(), "[]")

    def test_odd_words(self):
        """What a script calls things does not break the output."""
        self.project.write("main.lua", """\
local workers = require "workers"
local Schema, worker = workers.schema, workers.new()
local d = worker:database("d", { type = "managed", initialTitle = "D", primaryKeyProperty = "N", schema = { properties = {
  N = Schema.title(), S = Schema.select { "a" } } } })
worker:sync("s", { database = d, execute = function()
  return { hasMore = false, changes = { { type = "upsert", key = "1", properties = { S = "\\xFF\\n\\27[1m\\"x" } } } }
end })
return worker
""")
        found = json.loads(self.ok(self.project.run("check", "--json")).stdout)
        self.assertEqual([finding["message"] for finding in found], ['"???[1m"x" is not among the options of "S"'])
        self.assertIn('warning: "???[1m"x" is not among', self.project.run("check").stdout)

    def test_nearest(self):
        """What is near is named, whatever else there is."""
        for wrong, right in [("tostrng(1)", "tostring"), ("string.formt('x')", "format"), ("workers.slep(1)", "sleep"),
                             ("workers.ratelimiterror {}", "RateLimitError"), ("table.concatt {}", "concat")]:
            with self.subTest(wrong):
                self.project.write("main.lua", self.SCRIPT.replace("wokers", wrong).replace("local spare = 1", ""))
                self.assertIn(f"did you mean {right}?\n", self.project.run("check").stdout)
        self.project.write("main.lua", self.SCRIPT.replace("local spare", "-- workers: ignore unused-locals later\nlocal spare"))
        self.assertIn("did you mean unused-local?\n", self.project.run("check").stdout)

    def test_strict(self):
        self.project.write("main.lua", self.SCRIPT.replace("wokers", "1"))
        result = self.ok(self.project.run("check"))
        self.assertEqual(result.stdout.split("\n")[2:], ["1 warning", "ok: 0 databases, 0 pacers, 1 capability", ""])
        result = self.project.run("check", "--strict")
        self.assertEqual((result.returncode, result.stdout.split("\n")[2:]), (1, ["1 warning", ""]))

    def test_ignore(self):
        said = "3:7: warning: spare"
        for before, after, silent in [
            ("", " -- workers: ignore unused-local it is for later", True),
            ("-- workers: ignore unused-local it is for later\n", "", True),
            ("-- workers: ignore unused-local it is for later\n-- workers: ignore no-pacer none\n", "", True),
            ("--[[ workers: ignore unused-local it is for later ]]\n", "", True),
            ("-- workers: ignore unused-local it is for later\n\n", "", False),
            ("-- workers: ignored unused-local it is for later\n", "", False),
            ("", " -- workers: ignore undefined-global it is for later", False),
        ]:
            with self.subTest(before=before, after=after):
                self.project.write("main.lua", self.SCRIPT.replace("local spare = 1", before + "local spare = 1" + after))
                self.assertEqual("spare is never used" not in self.project.run("check").stdout, silent, said)
        # an ignore above another line does not reach the one behind it
        self.project.write("main.lua", self.SCRIPT.replace("local spare = 1", "local spare = 1\n-- workers: ignore unused-local later"))
        self.assertIn("main.lua:4:1: warning: there is no unused-local here to ignore [unused-ignore]",
                      self.project.run("check").stdout)

    def test_modules(self):
        """Modules of the project are read too, others are not."""
        self.project.write("src/tools.lua", "local spare = 1\nlocal deep = require 'deep.inner'\nreturn deep\n")
        self.project.write("src/deep/inner.lua", "local spare = 1\nreturn 1\n")
        self.project.write("lua_modules/other.lua", "local spare = 1\nreturn 1\n")
        self.project.write("src/alone.lua", "local spare = 1\nreturn 1\n")
        self.project.write("main.lua", "local _a, _b = require 'tools', require 'other'\nreturn require 'workers'.new()\n")
        found = json.loads(self.project.run("check", "--json").stdout)
        self.assertEqual([(finding["file"], finding["line"]) for finding in found], [("src/tools.lua", 1), ("src/deep/inner.lua", 1)])

    def test_long_and_deep(self):
        """What is too much to be read is said, and no error."""
        end = "\nreturn require 'workers'.new()\n"
        for text, said in [("local _x = 1" + " + 1" * 100000, "this worker is not read for mistakes: it is nested too deeply"),
                           ("--" + "x" * 1100000, "this file is not read for mistakes: it has more than 1048576 bytes")]:
            self.project.write("main.lua", text + end)
            result = self.ok(self.project.run("check"))
            self.assertIn(f"main.lua:1:1: note: {said} [not-read]\n", result.stdout)
        self.project.write("main.lua", "local _x = {" + "{}," * 100000 + "}" + end)
        self.assertEqual(self.ok(self.project.run("check")).stdout, "ok: 0 databases, 0 pacers, 0 capabilities\n")

    def test_first_mistake(self):
        """What keeps a script from loading is reported as before."""
        self.project.write("main.lua", "local x = = 1\n")
        result = self.project.run("check")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("main.lua:1: unexpected symbol near '='", result.stderr)


if __name__ == "__main__":
    if not BINARY:
        print("WORKERS_BIN does not name the binary")
    os.environ.pop("WORKERS_SERVER", None)
    main()
