#!/usr/bin/env python3
"""What scripts/quickstart shows: examples/iso-countries over the real data of Debian's package iso-codes."""
import collections
import json
import pathlib
import re
import shutil
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import REPOSITORY, Project, TestCase, main  # noqa: E402

DATA = pathlib.Path("/usr/share/iso-codes/json")
NAMES = {"3166-1": "iso_3166-1.json", "3166-2": "iso_3166-2.json"}


def load(name):
    with open(DATA / NAMES[name], encoding="utf-8") as file:
        return json.load(file)[name]


def parent_of(entry):
    """The whole code of an entry's parent: some are written without their country."""
    parent = entry.get("parent")
    return None if parent is None else parent if "-" in parent else entry["code"][:2] + "-" + parent


@unittest.skipUnless(DATA.is_dir(), "the package iso-codes is not installed")
class Quickstart(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.countries, cls.subdivisions = load("3166-1"), load("3166-2")
        cls.worker = Project()
        cls.addClassCleanup(cls.worker.close)
        shutil.copytree(REPOSITORY / "examples" / "iso-countries", cls.worker.folder, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns(".workers", "data"))
        (cls.worker.folder / "data").mkdir()
        for name in NAMES.values():
            shutil.copy(DATA / name, cls.worker.folder / "data")
        cls.first = cls.worker.run("run", "--json")
        if cls.first.returncode != 0:
            raise AssertionError(cls.first.stderr)

    def query(self, sql):
        return json.loads(self.ok(self.worker.run("db", "query", sql, "--json")).stdout)

    def test_every_entry_is_a_row(self):
        results = {r["key"]: r for r in json.loads(self.first.stdout)}
        self.assertEqual(set(results), {"countriesFromIso", "subdivisionsFromIso"})
        for key, entries, size in (("countriesFromIso", self.countries, 100), ("subdivisionsFromIso", self.subdivisions, 500)):
            self.assertEqual(results[key]["result"], "done")
            self.assertEqual(results[key]["added"], len(entries))
            self.assertEqual(results[key]["pages"], -(-len(entries) // size))
        rows = self.query("SELECT alpha_2, name, alpha_3, numeric, flag, official_name, common_name FROM countries")
        self.assertEqual({r["alpha_2"]: r for r in rows}, {
            c["alpha_2"]: {"official_name": None, "common_name": None, **c} for c in self.countries})
        rows = self.query("SELECT code, name, type FROM subdivisions")
        self.assertEqual({r["code"]: (r["name"], r["type"]) for r in rows},
                         {s["code"]: (s["name"], s["type"]) for s in self.subdivisions})

    def test_it_is_quiet(self):
        # Every kind of subdivision is declared, so that the first run has nothing to report but its tables.
        self.assertEqual(self.first.stderr.splitlines(), ['created table countries for database "countries"',
                                                          'created table subdivisions for database "subdivisions"'])

    def test_the_relation_reads_from_both_sides(self):
        expected = {(s["code"], s["code"][:2]) for s in self.subdivisions}
        rows = self.query("SELECT _key, related_key FROM subdivisions_country")
        self.assertEqual({(r["_key"], r["related_key"]) for r in rows}, expected)
        counts = collections.Counter(country for _, country in expected)
        rows = self.query("SELECT c._key AS country, count(*) AS n FROM countries AS c JOIN countries_subdivisions AS s"
                          " ON s._key = c._key GROUP BY c._key")
        self.assertEqual({r["country"]: r["n"] for r in rows}, dict(counts))

    def test_sub_items(self):
        expected = {(s["code"], parent_of(s)) for s in self.subdivisions if parent_of(s)}
        self.assertGreater(len(expected), 1000)
        rows = self.query("SELECT p._key, p.related_key FROM subdivisions_parent AS p"
                          " JOIN subdivisions AS s ON s._key = p.related_key")
        self.assertEqual({(r["_key"], r["related_key"]) for r in rows}, expected)
        rows = self.query("SELECT related_key FROM subdivisions_children WHERE _key = 'AZ-NX' ORDER BY 1")
        self.assertEqual([r["related_key"] for r in rows], sorted(c for c, p in expected if p == "AZ-NX"))

    def test_the_queries_of_the_quickstart(self):
        # The script's own texts are run, so that it cannot show what no longer works.
        script = (REPOSITORY / "scripts" / "quickstart").read_text(encoding="utf-8")
        queries = re.findall(r'^    "(SELECT [^"]+)"$', script, re.MULTILINE)
        self.assertEqual(len(queries), 2)
        counts = collections.Counter(s["code"][:2] for s in self.subdivisions).most_common(1)
        most, sub_items = (self.query(sql) for sql in queries)
        self.assertEqual([r["subdivisions"] for r in most][0], counts[0][1])
        self.assertEqual(len(most), 5)
        parent = re.search(r"_key = '([A-Z0-9-]+)'", queries[1]).group(1)
        self.assertEqual([r["code"] for r in sub_items], sorted(s["code"] for s in self.subdivisions if parent_of(s) == parent))
        self.assertGreater(len(sub_items), 1)

    def test_the_second_run_changes_nothing(self):
        before = self.query("SELECT code, _synced_at FROM subdivisions")
        results = json.loads(self.ok(self.worker.run("run", "--json")).stdout)
        for result in results:
            entries = self.countries if result["key"] == "countriesFromIso" else self.subdivisions
            self.assertEqual({k: result[k] for k in ("added", "changed", "unchanged", "deleted")},
                             {"added": 0, "changed": 0, "unchanged": len(entries), "deleted": 0})
        self.assertEqual(self.query("SELECT code, _synced_at FROM subdivisions"), before)

    def test_an_entry_that_went_away_is_swept(self):
        with Project() as project:
            shutil.copytree(self.worker.folder, project.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".workers"))
            self.ok(project.run("run"))
            path = project.folder / "data" / NAMES["3166-1"]
            path.write_text(json.dumps({"3166-1": [c for c in self.countries if c["alpha_2"] != "AQ"]}), encoding="utf-8")
            result = json.loads(self.ok(project.run("run", "src/main.lua", "countriesFromIso", "--json")).stdout)[0]
            self.assertEqual((result["deleted"], result["unchanged"]), (1, len(self.countries) - 1))
            self.assertEqual(project.value("SELECT count(*) FROM countries WHERE alpha_2 = 'AQ'"), 0)


if __name__ == "__main__":
    main()
