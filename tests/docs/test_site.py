#!/usr/bin/env python3
"""The documentation as a site: it builds without a word of complaint, no link of it leads nowhere, and its search finds every
command, and every function of every module, by name."""
import html.parser
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import test_docs  # noqa: E402

REPOSITORY = test_docs.REPOSITORY
ASK = """
const [folder] = process.argv.slice(1);
const search = require(folder + "/search.js"), index = require(folder + "/search-index.js");
const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(asked.map((what) => search(index, what, 3).map((entry) => entry.slice(0, 3)))));
"""


class Page(html.parser.HTMLParser):
    """What a page leads to, and what in it can be led to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors, self.twice = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if "id" in attributes:
            if attributes["id"] in self.anchors:
                self.twice.append(attributes["id"])
            self.anchors.add(attributes["id"])
        for name in ("href", "src"):
            if name in attributes:
                self.links.append(attributes[name])


class Site(test_docs.Docs):
    @classmethod
    def setUpClass(cls):
        cls.site = pathlib.Path(tempfile.mkdtemp(prefix="workers-site-"))
        cls.addClassCleanup(shutil.rmtree, cls.site)
        cls.built = subprocess.run([REPOSITORY / "scripts/docs", cls.site], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, timeout=120)

    def search(self, asked):
        """The three best of what is found for each."""
        done = subprocess.run(["node", "-e", ASK, str(self.site)], input=json.dumps(asked), stdout=subprocess.PIPE, check=True,
                              text=True, timeout=60)
        return dict(zip(asked, json.loads(done.stdout)))

    def test_it_builds_without_warnings(self):
        self.assertEqual((self.built.returncode, self.built.stderr), (0, ""))
        pages = [path for path in (REPOSITORY / "docs").rglob("*.md")]
        self.assertEqual(len(list(self.site.rglob("*.html"))), len(pages) + 3)  # README, CONTRIBUTING and CHANGELOG

    def test_a_folder_that_cannot_be_written(self):
        file = self.folder / "file"
        file.touch()
        for arguments, code, message in (([file], 1, f"error: cannot write the site: File exists: {file}; give another folder\n"),
                                         (["/proc/site"], 1, "error: cannot write the site: No such file or directory: /proc/site; give another folder\n"),
                                         (["a", "b"], 2, "")):
            done = subprocess.run([REPOSITORY / "scripts/docs", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (code, message))

    def test_no_link_leads_nowhere(self):
        pages = {path: Page(path.read_text(encoding="utf-8")) for path in self.site.rglob("*.html")}
        count = 0
        for path, page in pages.items():
            self.assertEqual(page.twice, [], path)
            for link in page.links:
                if re.match(r"https?:", link):
                    continue
                place, _, anchor = link.partition("#")
                linked = pathlib.Path(os.path.normpath(path.parent / urllib.parse.unquote(place))) if place else path
                self.assertTrue(linked.is_file(), f"{path.name}: {link}")
                self.assertIn(self.site, linked.parents, f"{path.name}: {link}")
                if anchor:
                    self.assertIn(urllib.parse.unquote(anchor), pages[linked].anchors, f"{path.name}: {link}")
                count += 1
        self.assertGreater(count, 1000)

    def test_what_is_found_is_there(self):
        entries = json.loads((self.site / "search-index.js").read_text().split(" = ", 1)[1].split(";\nif ")[0])
        for _, _, address, _ in entries:
            place, _, anchor = address.partition("#")
            self.assertIn(f' id="{anchor}"', (self.site / place).read_text(), address)

    def test_the_search_finds_every_command(self):
        if shutil.which("node") is None:
            self.skipTest("node is not installed")
        names = re.findall(r"^  ([a-z][a-z -]*?)(?= [A-Z\[]| {2,})", self.workers("help").stdout.split("Examples:")[0], re.M)
        self.assertGreater(len(names), 55)
        for name, found in self.search([f"workers {name}" for name in names]).items():
            self.assertTrue(found and re.match(rf"{name}\b", found[0][0]) and found[0][2].startswith("commands.html#"), f"{name}: {found}")

    def test_the_search_finds_every_function(self):
        if shutil.which("node") is None:
            self.skipTest("node is not installed")
        shown = {"workers.schema": "Schema", "workers.builder": "Builder", "workers.j": "j", "workers.table": "tables"}
        left = ("workers.options", "workers.order", "workers.suggest", "cjson.safe")
        names = sorted(f"{shown.get(module, module.removeprefix('workers.'))}.{name}"
                       for module, functions in self.modules().items() if module not in left for name in functions)
        self.assertGreater(len(names), 250)
        missing = {name: found for name, found in self.search(names).items() if not any(re.match(rf"{name}\b", each[0]) for each in found)}
        self.assertEqual(missing, {})

    def test_the_list_for_language_models(self):
        text = (self.site / "llms.txt").read_text()
        self.assertTrue(text.startswith("# workers\n\n> workers runs small Lua scripts"))
        for path in re.findall(r"^- \[[^\]]+\]\(([^)]+)\): \S", text, re.M):
            self.assertTrue((self.site / path).is_file(), path)
        for page in (REPOSITORY / "docs").glob("*.md"):
            if page.name != "README.md":
                self.assertIn(f"({page.stem}.html)", text)


# Only what is defined here: the tests of the pages run in their own program.
for inherited in [name for name in dir(test_docs.Docs) if name.startswith("test_")]:
    setattr(Site, inherited, None)

if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + (sys.argv[1:] or ["Site"]))
