#!/usr/bin/env python3
"""Views without a browser: what may be declared, what the API answers, which files are served, and to whom."""
import base64
import hashlib
import http.client
import json
import os
import pathlib
import random
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import BINARY, REPOSITORY, Server, TestCase, main, wait_until  # noqa: E402

HEAD = """\
local workers = require "workers"
local Schema = workers.schema
local worker = workers.new()
local tasks = worker:database("tasks", {
  type = "managed", initialTitle = "Tasks", primaryKeyProperty = "ID",
  schema = { properties = {
    Name = Schema.title(), ID = Schema.richText(), Count = Schema.number(), Done = Schema.checkbox(), Due = Schema.date(),
    Kind = Schema.select { { name = "Red" }, { name = "Blue" } }, Tags = Schema.multiSelect { { name = "a" }, { name = "b" } },
  } },
})
local others = worker:database("others", {
  type = "managed", initialTitle = "Others", primaryKeyProperty = "ID", schema = { properties = { ID = Schema.title() } },
})
"""
SYNC = """\
local json, fs = require "workers.json", require "workers.fs"
worker:sync("fill", { database = tasks, schedule = "manual", execute = function()
  return { changes = json.decode(fs.read "rows.json"), hasMore = false }
end, sweep = { minRows = 100000 } })
"""
VIEW = """\
worker:view("board", { path = "views/board", dataSources = {
  all = { database = tasks },
  some = { database = tasks, properties = { title = "Name", count = { name = "Count", type = "number" } } },
  others = {},
} })
"""


def upsert(key, **properties):
    return {"type": "upsert", "key": key, "properties": {"ID": key, "Name": f"Task {key}", **properties}}


class ViewCase(TestCase):
    def make(self, view=VIEW, files=None):
        self.p = self.project(HEAD + SYNC + view + "return worker\n")
        for name, text in (files or {"index.html": "<p>hello</p>", "app.js": "export {}", "sample.json": "{}"}).items():
            path = self.p.folder / "views/board" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self.p

    def fill(self, changes):
        (self.p.folder / "rows.json").write_text(json.dumps(changes))
        self.ok(self.p.run("run", "main.lua", "fill"))

    def serve(self, *args):
        self.server = Server(self.p, *args)
        self.host = self.server.url.removeprefix("http://")
        self.name = wait_until(self.find_name, "the server to know its token")
        return self.server

    def find_name(self):
        self.token = (self.p.folder / ".workers/token").read_text().strip()  # one of the processes makes it
        status, _, body = self.ask("GET", "/api/v1/workers")
        return json.loads(body)[0]["name"] if status == 200 else None

    def ask(self, method, path, body=None, token=True, headers=None):
        connection = http.client.HTTPConnection(self.host, timeout=30)
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = f"Bearer {self.token if token is True else token}"
        connection.request(method, path, json.dumps(body, ensure_ascii=False).encode() if body is not None else None, headers)
        answer = connection.getresponse()
        result = answer.status, dict((name.lower(), value) for name, value in answer.getheaders()), answer.read()
        connection.close()
        return result

    def api(self, method, path, body=None, status=200):
        answer = self.ask(method, f"/api/v1/workers/{self.name}{path}", body)
        self.assertEqual(answer[0], status, answer[2])
        return json.loads(answer[2])

    def query(self, source="all", **query):
        return self.api("POST", "/views/board/query", {"dataSource": source, **query})

    def keys(self, **query):
        return [row["key"] for row in self.query(**query)["rows"]]

    def refused(self, **query):
        answer = self.api("POST", "/views/board/query", {"dataSource": "all", **query}, status=422)
        return answer["error"]["message"]


class Declarations(ViewCase):
    def test_mistakes(self):
        for options, message in (
                ("", 'option "path" is missing'),
                ('path = "/etc"', 'option "path" must be a folder of the project'),
                ('path = "../x"', 'option "path" must be a folder of the project'),
                ('path = "a/../../x"', 'option "path" must be a folder of the project'),
                ('path = "a//b"', 'option "path" must be a folder of the project'),
                ('path = ".git"', 'option "path" must be a folder of the project'),
                ('path = "a", type = "other"', 'option "type" must be "static" or "project", got "other"'),
                ('path = "a", type = "static", command = "make"', 'option "command" is for type = "project"'),
                ('path = "a", type = "project", output = "/tmp"', 'option "output" must be a folder of the project'),
                ('path = "a", nmae = "x"', 'did you mean "name"?'),
                ('path = "a", name = ("é"):rep(129)', 'option "name" must be UTF-8 of at most 128 characters'),
                ('path = "a", slashCommand = "A b"', 'option "slashCommand" must be 1 to 64 lower-case letters'),
                ('path = "a", icon = {}', 'option "icon"'),
                ('path = "a", dataSources = { 1 }', "dataSources must map names to tables"),
                ('path = "a", dataSources = { x = {} }', 'there is no database "x"'),
                ('path = "a", dataSources = { x = { database = {} } }', 'option "database" must be what worker:database returned'),
                ('path = "a", dataSources = { tasks = { properties = {} } }', "properties is empty"),
                ('path = "a", dataSources = { tasks = { properties = { a = "Nane" } } }', 'has no property "Nane"; did you mean "Name"?'),
                ('path = "a", dataSources = { tasks = { properties = { a = { name = "Name", type = "number" } } } }',
                 'property "Name" of database "tasks" is of the type "title", not "number"'),
                ('path = "a", dataSources = { tasks = { properties = { _a = "Name" } } }', 'not begin with "_"'),
                ('path = "a", dataSources = { tasks = { properties = { a = "Name", b = "Name" } } }', 'are the same one')):
            with self.subTest(options):
                p = self.project(HEAD + f'worker:view("board", {{ {options} }})\nreturn worker\n')
                result = p.run("check")
                self.assertEqual(result.returncode, 1, result.stdout)
                self.assertIn('main.lua:14: worker:view("board")', result.stderr)
                self.assertIn(message, result.stderr)

    def test_files_that_are_not_there(self):
        self.make(files={"app.js": "1"})
        result = self.p.run("check")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r'error: view "board": there is no /.*/views/board/index.html: make it, or correct path in worker:view')
        self.p.write("main.lua", HEAD + 'worker:view("board", { path = "views/none" })\nreturn worker\n')
        self.assertRegex(self.p.run("check").stderr, r'error: view "board": there is no folder /.*/views/none: make it')
        self.p.write("main.lua", HEAD + 'worker:view("board", { path = "views/board", command = "make" })\nreturn worker\n')
        self.assertIn("1 view", self.ok(self.p.run("check")).stdout)

    def test_keys_are_unique(self):
        p = self.project(HEAD + 'worker:view("tasks", { path = "a" })\nreturn worker\n')
        self.assertIn("something with this key is already registered", p.run("check").stderr)

    def test_keys_have_an_address(self):
        for key in (".", ".."):
            p = self.project(HEAD + f'worker:view("{key}", {{ path = "a" }})\nreturn worker\n')
            self.assertIn('the key must not be "." or ".."', p.run("check").stderr)

    def test_manifest(self):
        p = self.project(HEAD + """
worker:view("plain", { path = "./views/plain/" })
worker:tool("t", { title = "T", description = "d", schema = workers.j.object {}, execute = function() end })
worker:customBlock("block", { path = "blocks/x", slashCommand = "/x", dataSources = { t = { name = "T", database = tasks,
  properties = { b = "Name", a = { name = "Count", description = "How many" } } } } })
return worker
""")
        capabilities = json.loads(self.ok(p.run("manifest")).stdout)["capabilities"]
        self.assertEqual([(c["_tag"], c["key"]) for c in capabilities],
                         [("custom_block", "plain"), ("tool", "t"), ("custom_block", "block")])
        self.assertEqual(capabilities[0]["config"], {"source": {"type": "static", "path": "views/plain"},
                                                     "manifest": {"version": 1, "name": "plain", "dataSources": {}}})
        self.assertEqual(capabilities[2]["config"], {
            "source": {"type": "project", "path": "blocks/x", "command": "npm run build", "output": "dist"},
            "manifest": {"version": 1, "name": "block", "slashCommand": "x", "dataSources": {"t": {
                "name": "T", "database": "tasks", "properties": {
                    "a": {"name": "Count", "description": "How many", "type": "number"},
                    "b": {"name": "Name", "type": "title"}}}}}})


class Rows(ViewCase):
    def test_what_a_source_shows(self):
        self.make()
        self.fill([upsert("1", Count=3, Kind="Red", Tags=["a"]), upsert("2")])
        self.serve()
        self.assertEqual(self.query("all")["rows"][0],
                         {"key": "1", "row": {"Name": "Task 1", "ID": "1", "Count": 3, "Kind": "Red", "Tags": ["a"]}})
        self.assertEqual(self.query("some")["rows"], [{"key": "1", "row": {"count": 3, "title": "Task 1"}},
                                                      {"key": "2", "row": {"title": "Task 2"}}])
        self.assertEqual(self.query("others")["rows"], [])
        described = self.api("GET", "/views/board")
        self.assertEqual(described["url"], f"http://{self.host}/views/{self.name}/board/")
        self.assertEqual(described["dataSources"]["some"]["properties"], {"count": {"type": "number"}, "title": {"type": "title"}})
        self.assertEqual(described["dataSources"]["all"]["properties"]["Kind"], {"type": "select", "options": ["Red", "Blue"]})
        # What it does not declare it cannot ask about either.
        for query in ({"filter": {"property": "ID", "equals": "1"}}, {"filter": {"property": "Name", "equals": "Task 1"}},
                      {"sorts": [{"property": "Kind"}]}):
            answer = self.api("POST", "/views/board/query", {"dataSource": "some", **query}, status=422)
            self.assertIn("there is no property", answer["error"]["message"])
        self.assertIn('declares no data source "tasks"',
                      self.api("POST", "/views/board/query", {"dataSource": "tasks"}, status=404)["error"]["message"])
        self.assertIn('there is no view "other"', self.api("GET", "/views/other", status=404)["error"]["message"])

    def test_pages(self):
        self.make()
        self.fill([upsert(f"{i:03}") for i in range(250)])
        self.serve()
        first = self.query()
        self.assertEqual((len(first["rows"]), first["hasMore"]), (100, True))
        self.assertEqual(self.keys(limit=3, offset=248), ["248", "249"])
        self.assertEqual((len(self.keys(limit=250)), self.query(limit=250)["hasMore"]), (250, False))
        for name, value in (("limit", 0), ("limit", 1001), ("limit", 1.5), ("offset", -1), ("limit", "3")):
            self.assertIn(f"{name} must be a whole number", self.refused(**{name: value}))

    def test_mistakes_in_queries(self):
        self.make()
        self.fill([upsert("1")])
        self.serve()
        deep = {"property": "Name", "equals": "x"}
        for _ in range(10):
            deep = {"not": deep}
        for query, message in (
                ({"filter": []}, "a filter is an object"),
                ({"filter": {}}, "a filter needs a property and a condition"),
                ({"filter": {"property": "Name"}}, "a filter needs a property and a condition"),
                ({"filter": {"property": 1, "equals": "x"}}, '"property" is the name of one'),
                ({"filter": {"property": "Name", "equals": "x", "contains": "y"}}, 'join several with "and"'),
                ({"filter": {"property": "Name", "is": "x"}}, 'a filter has no "is"'),
                ({"filter": {"property": "Name", "equals": 1}}, 'property "Name" is compared with a text'),
                ({"filter": {"property": "Count", "atLeast": "1"}}, 'property "Count" is compared with a number'),
                ({"filter": {"property": "Due", "atLeast": "soon"}}, 'property "Due" is compared with a date'),
                ({"filter": {"property": "Done", "lessThan": True}}, '"lessThan" does not fit property "Done"'),
                ({"filter": {"property": "Tags", "equals": "a"}}, '"equals" does not fit property "Tags"'),
                ({"filter": {"property": "Name", "in": "x"}}, '"in" takes a list'),
                ({"filter": {"property": "Name", "isEmpty": 1}}, '"isEmpty" is true or false'),
                ({"filter": {"and": {}}}, "take a list of filters"),
                ({"filter": {"property": "Nope\' OR 1=1 --", "equals": "x"}}, "there is no property"),
                ({"sorts": {}}, '"sorts" is a list'),
                ({"sorts": ["Name"]}, "a sort is an object"),
                ({"sorts": [{"property": "Name", "direction": "up"}]}, '"direction" is "ascending" or "descending"')):
            with self.subTest(query):
                self.assertIn(message, self.refused(**query))
        for query, message in (({"filter": deep}, "more than 8 deep"),
                               ({"filter": {"property": "Name", "in": ["x"] * 201}}, "more than 200 values"),
                               ({"sorts": [{"property": "Name"}] * 6}, "more than 5 sorts"),
                               ({"filter": {"property": "Name", "equals": "x" * 70000}}, "larger than 65536 bytes")):
            answer = self.api("POST", "/views/board/query", {"dataSource": "all", **query}, status=413)
            self.assertIn(message, answer["error"]["message"])

    def test_names_that_the_engine_has_too(self):
        names = ["type", "key", "value", "path", "id", "atom", "json", "root", "tasks"]
        properties = ", ".join(f'["{name.title()}"] = Schema.multiSelect {{ {{ name = "a" }}, {{ name = "b" }} }}' for name in names)
        self.make("""local d = worker:database("value", { type = "managed", initialTitle = "T", primaryKeyProperty = "Name",
          schema = { properties = { Name = Schema.title(), PROPERTIES } } })
          worker:sync("more", { database = d, schedule = "manual", execute = function()
            return { changes = json.decode(fs.read "more.json"), hasMore = false } end })
          worker:view("board", { path = "views/board", dataSources = { all = { database = d } } })
        """.replace("PROPERTIES", properties))
        rows = {"one": {name.title(): ["a"] for name in names}, "two": {name.title(): ["b"] for name in names}}
        self.p.write("more.json", json.dumps([{"type": "upsert", "key": key, "properties": row} for key, row in rows.items()]))
        self.ok(self.p.run("run", "main.lua", "more"))
        self.serve()
        for name in names:
            self.assertEqual(self.keys(filter={"property": name.title(), "contains": "b"}), ["two"], name)

    def test_dates_are_moments(self):
        """Every form that is stored is in its place, and is found by itself."""
        forms = [("0", "1969-12-31T23:59:59.250Z"), ("1", "2026-02-28T23:30:00[Europe/Berlin]"), ("2", "2026-02-28T17:31:00-0500"),
                 ("3", "2026-02-28t22:32:00z"), ("4", "2026-03-01T14:33+16:00"), ("5", "2026-03-01"),
                 ("6", "2026-03-01T01:34:00+01:00[Europe/Berlin]"), ("7", "2026-03-01T00:59:60Z"), ("8", "2026-03-01T02:00:00.000[Europe/Berlin]"),
                 ("9", "2026-03-01T01:00:00.001Z")]
        self.make("""worker:sync("dates", { database = tasks, schedule = "manual", execute = function()
          local builder, changes = require("workers").builder, {}
          for key, text in pairs(json.decode(fs.read "dates.json")) do
            local moment, zone = text:match "^(.-)%[(.-)%]$"
            changes[#changes + 1] = { type = "upsert", key = key,
              properties = { ID = key, Due = zone and builder.dateTime(moment, zone) or text } }
          end
          return { changes = changes, hasMore = false }
        end })
        """ + VIEW)
        self.p.write("dates.json", json.dumps(dict(forms)))
        self.ok(self.p.run("run", "main.lua", "dates"))
        self.serve()
        keys = [key for key, _ in forms]
        self.assertEqual(self.keys(sorts=[{"property": "Due"}]), keys)
        self.assertEqual(self.keys(sorts=[{"property": "Due", "direction": "descending"}]), keys[::-1])
        for i, (key, text) in enumerate(forms):
            self.assertEqual(self.keys(filter={"property": "Due", "equals": text}), [key], text)
            self.assertEqual(self.keys(filter={"property": "Due", "lessThan": text}), keys[:i], text)
        self.assertIn("is compared with a date", self.refused(filter={"property": "Due", "equals": "2026-03-01[Europe/Berlin"}))

    def test_texts_that_look_like_lists(self):
        self.make()
        self.fill([upsert("1", Name="[]"), upsert("2", Name=""), upsert("3", Tags=[])])
        self.serve()
        self.assertEqual(self.keys(filter={"property": "Name", "isEmpty": True}), ["2"])
        self.assertEqual(self.keys(filter={"property": "Tags", "isEmpty": False}), [])

    def test_how_much_may_be_asked(self):
        self.make()
        self.fill([upsert("1")])
        self.serve()
        empty = {"property": "Name", "isEmpty": False}
        self.assertEqual(self.keys(filter={"and": [empty] * 499}), ["1"])
        self.assertEqual(self.keys(filter={"property": "Name", "contains": "x" * 1000}), [])
        for filter_, message in (({"or": [empty] * 500}, "more than 500 filters"), ({"and": [{"or": []}] * 3000}, "more than 500 filters"),
                                 ({"property": "Name", "contains": "%" * 1001}, "a text of at most 1000 bytes"),
                                 ({"property": "Name", "startsWith": "x" * 60000}, "a text of at most 1000 bytes")):
            answer = self.api("POST", "/views/board/query", {"dataSource": "all", "filter": filter_}, status=413)
            self.assertIn(message, answer["error"]["message"])
        for name in ("é" * 3000, "x" + "é" * 3000):
            self.assertRegex(self.refused(filter={"property": name, "equals": 1}), '^filter: there is no property "x?é+"$')
            self.assertRegex(self.refused(filter={name: 1}), '^filter: a filter has no "x?é+"; it has property')

    def test_a_query_that_takes_long(self):
        """It ends, and neither syncs nor the rest of the API wait for it."""
        self.make()
        self.fill([upsert("1")])
        with self.p.database() as store:
            store.execute("WITH RECURSIVE r(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM r WHERE i < 200000) INSERT INTO "
                          "tasks(_id, _key, name, id, _synced_at) SELECT i, 'k' || i, printf('%0500d', i), 'k' || i, '' FROM r")
            store.commit()
        self.serve()
        conditions = [{"not": {"property": "Name", "contains": f"{'0' * 100}x{i}"}} for i in range(200)]
        query = json.dumps({"dataSource": "all", "filter": {"and": conditions}, "sorts": [{"property": "Name"}], "limit": 1})
        connection = http.client.HTTPConnection(self.host, timeout=120)
        connection.request("POST", f"/api/v1/workers/{self.name}/views/board/query", query, {"Authorization": f"Bearer {self.token}"})
        for _ in range(20):
            self.api("GET", "/runs")
        self.assertEqual(select.select([connection.sock], [], [], 0)[0], [], "they were answered before it")
        answer = connection.getresponse()
        self.assertEqual(answer.status, 413)
        self.assertIn("the query took more than 10 seconds", json.loads(answer.read())["error"]["message"])
        connection.close()

    def test_messages_have_the_names_of_the_view(self):
        self.make()
        self.fill([upsert("1")])
        self.serve()
        for filter_, message in (({"property": "title", "equals": 1}, 'property "title" is compared with a text'),
                                 ({"property": "count", "contains": "1"}, '"contains" does not fit property "count"')):
            answer = self.api("POST", "/views/board/query", {"dataSource": "some", "filter": filter_}, status=422)
            self.assertIn(message, answer["error"]["message"])

    def test_filters_beside_python(self):
        """Random filters and sorts over random rows give what the same conditions give in Python."""
        seed = int(os.environ.get("WORKERS_SEED", random.randrange(1 << 32)))
        print(f"seed {seed}", file=sys.stderr)
        chance = random.Random(seed)
        texts = ["a", "Ab", "aB%", "a_b", "b\\", "b'c", "", "é"]
        dates = {"2026-03-01": 1772323200, "2026-03-01T01:00:00+02:00": 1772319600, "2026-03-01T00:30:00Z": 1772325000,
                 "2026-02-28T23:30:00[Europe/Berlin]": None}
        dates.pop("2026-02-28T23:30:00[Europe/Berlin]")
        rows = []
        for i in range(60):
            row = {"ID": f"{i:02}", "Name": chance.choice(texts) + chance.choice(texts)}
            if chance.random() < 0.8:
                row["Count"] = chance.choice([0, 1, 2, 2.5, -3])
            if chance.random() < 0.8:
                row["Done"] = chance.random() < 0.5
            if chance.random() < 0.8:
                row["Due"] = chance.choice(list(dates))
            if chance.random() < 0.8:
                row["Kind"] = chance.choice(["Red", "Blue"])
            if chance.random() < 0.8:
                row["Tags"] = chance.choice([["a"], ["a", "b"], ["b"]])
            rows.append(row)
        self.make()
        self.fill([{"type": "upsert", "key": row["ID"], "properties": row} for row in rows])
        self.serve()

        def lower(text):
            return "".join(c.lower() if c.isascii() else c for c in text)

        def plain(name, value):
            return None if value is None else dates[value] if name == "Due" else value

        def condition():
            name = chance.choice(["Name", "Count", "Done", "Due", "Kind", "Tags"])
            kinds = {"Name": ["equals", "notEquals", "in", "contains", "startsWith", "greaterThan", "isEmpty"],
                     "Count": ["equals", "notEquals", "in", "greaterThan", "atLeast", "lessThan", "atMost", "isEmpty"],
                     "Done": ["equals", "notEquals", "isEmpty"], "Due": ["equals", "greaterThan", "atLeast", "lessThan", "atMost"],
                     "Kind": ["equals", "in", "contains", "isEmpty"], "Tags": ["contains", "isEmpty"]}
            values = {"Name": texts, "Count": [0, 1, 2, 2.5, -3], "Done": [True, False], "Due": list(dates), "Kind": ["Red", "Blue", "re"],
                      "Tags": ["a", "b"]}
            operator = chance.choice(kinds[name])
            value = chance.choice(values[name])
            if operator == "in":
                value = chance.sample(values[name], chance.randrange(3))
            if operator == "isEmpty":
                value = chance.random() < 0.5

            def holds(row):
                have = plain(name, row.get(name))
                want = [plain(name, v) for v in value] if operator == "in" else plain(name, value) if operator != "isEmpty" else value
                if operator == "isEmpty":
                    return (have is None or have in ("", [])) == want
                if operator == "equals":
                    return have is not None and have == want
                if operator == "notEquals":
                    return have is None or have != want
                if have is None:
                    return False
                if operator == "in":
                    return have in want
                if operator == "contains":
                    return want in have if name == "Tags" else lower(want) in lower(have)
                if operator == "startsWith":
                    return lower(have).startswith(lower(want))
                if name == "Name":
                    have, want = have.encode(), want.encode()
                return {"greaterThan": have > want, "atLeast": have >= want, "lessThan": have < want, "atMost": have <= want}[operator]
            return {"property": name, operator: value}, holds

        def some_filter(depth):
            kind = chance.choice(["and", "or", "not", "one", "one"]) if depth < 3 else "one"
            if kind == "one":
                return condition()
            if kind == "not":
                json_form, holds = some_filter(depth + 1)
                return {"not": json_form}, lambda row: not holds(row)
            parts = [some_filter(depth + 1) for _ in range(chance.randrange(4))]
            together = all if kind == "and" else any
            return {kind: [form for form, _ in parts]}, lambda row: together(holds(row) for _, holds in parts)

        matched = 0
        for _ in range(400):
            form, holds = some_filter(0)
            name, down = chance.choice(["Name", "Count", "Due"]), chance.random() < 0.5
            have = [row for row in rows if holds(row)]
            with_value = sorted((row for row in have if row.get(name) is not None),
                                key=lambda row: (plain(name, row[name]).encode() if name == "Name" else plain(name, row[name])),
                                reverse=down)
            # Python keeps the order of equals also in reverse: by key, as they came.
            wanted = [row["ID"] for row in with_value] + [row["ID"] for row in have if row.get(name) is None]
            got = self.keys(filter=form, limit=1000, sorts=[{"property": name, "direction": "descending" if down else "ascending"}])
            self.assertEqual(got, wanted, f"seed {seed}: {json.dumps(form)} by {name} {down}")
            matched += 0 < len(wanted) < 60
        self.assertGreater(matched, 100)

    def test_revisions(self):
        """They change when rows do, and only then; whatever changed them, and only of that database."""
        self.make()
        self.fill([upsert("1"), upsert("2"), upsert("3")])
        self.serve()
        seen = self.api("GET", "/views/board/revisions")
        self.assertEqual(seen["all"], seen["some"])
        self.assertEqual(self.query()["revision"], seen["all"])

        def after(what):
            nonlocal seen
            before, seen = seen, self.api("GET", "/views/board/revisions")
            self.assertEqual(seen["others"], before["others"], what)
            return seen["all"] != before["all"]

        self.fill([upsert("1"), upsert("2"), upsert("3")])
        self.assertFalse(after("nothing new"))
        self.fill([upsert("1"), upsert("2", Count=1), upsert("3")])
        self.assertTrue(after("a changed row"))
        self.fill([upsert("1"), upsert("2", Count=1), upsert("3"), upsert("4")])
        self.assertTrue(after("a new row"))
        self.fill([upsert("1"), upsert("2", Count=1), upsert("3")])
        self.assertTrue(after("a swept row"))
        self.ok(self.p.run("db", "restore", "tasks", "4"))
        self.assertTrue(after("a restored row"))
        self.fill([upsert("1"), upsert("2", Count=1), upsert("3"), upsert("4"), {"type": "delete", "key": "4"}])
        self.assertTrue(after("a deleted row"))
        self.fill([upsert("1"), upsert("2", Count=1), upsert("3"), upsert("4")])
        self.assertTrue(after("a row that comes again"))
        self.ok(self.p.run("db", "restore", "tasks", "4"))
        self.assertFalse(after("nothing was restored: it is there"))


GUARD = b"<script>" + (REPOSITORY / "src/server/web/view-guard.js").read_bytes() + b"</script>"
CALL = b"(()=>{}).workersView();"


class Files(ViewCase):
    def open(self, view="board"):
        status, _, body = self.ask("POST", f"/views/{self.name}/{view}/open")
        self.assertEqual(status, 200, body)
        opened = json.loads(body)
        return f"/views/{self.name}/{view}/{opened['files']}", opened["mark"]

    def test_who_may(self):
        self.make()
        self.serve()
        status, headers, body = self.ask("GET", f"/views/{self.name}/board/", token=False)
        self.assertEqual(status, 200)
        self.assertIn("frame-ancestors 'none'", headers["content-security-policy"])
        self.assertIn(f"frame-src {self.host}/views/{self.name}/board/files/;", headers["content-security-policy"])
        # The page is the same for everything: it says nothing of which workers and views there are.
        self.assertEqual(self.ask("GET", "/views/nobody/nothing/", token=False)[2], body)
        for token in (False, "workers_wrong"):
            self.assertEqual(self.ask("POST", f"/views/{self.name}/board/open", token=token)[0], 401)
            self.assertEqual(self.ask("POST", "/views/nobody/nothing/open", token=token)[0], 401)
        self.assertEqual(self.ask("POST", f"/views/{self.name}/nothing/open")[0], 404)
        self.assertEqual(self.ask("GET", f"/views/{self.name}/board", token=False)[1]["location"], f"/views/{self.name}/board/")
        files, _ = self.open()
        self.assertEqual(self.ask("GET", files, token=False)[::2], (200, GUARD + b"<p>hello</p>"))
        ticket = files.split("/")[-2]
        changed = ticket[:-1] + ("0" if ticket[-1] != "0" else "1")
        later = f"{int(ticket[:8], 16) + 1:08x}" + ticket[8:]
        past = f"{int(time.time()) - 1:08x}" + ticket[8:]
        for wrong in (changed, later, past, "", "x" * 40, ticket[:39]):
            self.assertEqual(self.ask("GET", files.replace(ticket, wrong), token=False)[0], 404, wrong)
            self.assertEqual(self.ask("GET", files.replace(ticket, wrong))[0], 404, wrong)
        for method in ("POST", "PUT", "DELETE"):
            self.assertEqual(self.ask(method, files, token=False)[0], 405)

    def test_a_ticket_is_of_one_view(self):
        self.make(VIEW + 'worker:view("second", { path = "views/board" })\n')
        self.serve()
        files, _ = self.open()
        self.assertEqual(self.ask("GET", files.replace("/board/", "/second/"), token=False)[0], 404)

    def test_what_is_served(self):
        self.make(files={"index.html": "<p>", "a b.js": "1", "deep/x.css": "p{}", "data.json": "[]", "pic.svg": "<svg/>", "what.bin": "?",
                         ".hidden": "no", ".git/config": "no", "sample.json": "{}", "deep/sample.json": "{}"})
        (self.p.folder / "secret.txt").write_text("no")
        (self.p.folder / "views/board/out.txt").symlink_to("../../secret.txt")
        (self.p.folder / "views/board/in.css").symlink_to("deep/x.css")
        os.mkfifo(self.p.folder / "views/board/pipe.txt")
        self.serve()
        files, _ = self.open()
        hash_of_guard = base64.b64encode(hashlib.sha256(GUARD.removeprefix(b"<script>").removesuffix(b"</script>")).digest()).decode()
        for path, type_ in (("", "text/html; charset=utf-8"), ("a%20b.js", "text/javascript; charset=utf-8"),
                            ("deep/x.css", "text/css; charset=utf-8"), ("data.json", "application/json"), ("pic.svg", "image/svg+xml"),
                            ("what.bin", "application/octet-stream"), ("in.css", "text/css; charset=utf-8"),
                            ("deep/sample.json", "application/json"), ("workers-view.js", "text/javascript; charset=utf-8"),
                            ("workers-view.css", "text/css; charset=utf-8")):
            status, headers, _ = self.ask("GET", files + path, token=False)
            self.assertEqual((status, headers["content-type"]), (200, type_), path)
            policy = headers["content-security-policy"]
            for part in ("sandbox allow-scripts;", "default-src 'none'", "connect-src 'none'", "base-uri 'none'", "form-action 'none'",
                         f"script-src {self.host}{files} 'sha256-{hash_of_guard}';", f", script-src {self.host}{files} 'unsafe-inline'"):
                self.assertIn(part, policy, path)
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertEqual(headers["connection-allowlist"], "(response-origin)")
        for path in (".hidden", ".git/config", "sample.json", "out.txt", "pipe.txt", "../../secret.txt", "%2e%2e/%2e%2e/secret.txt", "deep",
                     "deep/", "deep//x.css", "./index.html", "a%00.js", "..%5c..%5csecret.txt", "/etc/passwd", "%2fetc%2fpasswd", "x" * 2000):
            status, _, body = self.ask("GET", files + path, token=False)
            self.assertIn(status, (404, 431), path)
            self.assertNotIn(b"no\n", body + b"\n", path)

    def test_the_guard(self):
        """It comes before everything in a page but what has to come first, and every script begins with a call of it."""
        mark, strict = b"\xef\xbb\xbf", b'"use strict";'
        cases = {  # name -> where a page or script is cut by what is put into it
            "doctype.html": (b"<!doctype html>", b"<title>x</title><script src=a.js></script>"),
            "upper.html": (b"\n <!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\">", b"<p>"),
            "comments.html": (mark + b"<!-- <!doctype x> -->\n<!-- --><!doctype html>", b"<!-- > --><p>"),
            "xml.html": (b'<?xml version="1.0"?>\n<!DOCTYPE html>', b"<html>"),
            "late.html": (b"", b"<p><!doctype html><p>"),
            "marked.html": (mark, b"<p>"),
            "open_comment.html": (b"", b"<!-- <!doctype html>"),
            "open_doctype.html": (b"<!doctype html", b""),
            "empty.html": (b"", b""),
            "wide.html": (b"", "\ufeff<p>".encode("utf-16-le")),
        }
        scripts = {  # name -> text, whether it is strict
            "plain.js": (b"var a = 1", False), "module.mjs": (b"import a from './b.js'", False), "empty.js": (b"", False),
            "strict.js": (b"'use strict'\nvar a", True), "strict_too.js": (mark + b"// a\n/* 'b' */ \"use strict\";", True),
            "late.js": (b"var a; 'use strict'", False), "inner.js": (b"(function () { 'use strict' })()", False),
            "open_comment.js": (b"/* 'use strict'", False), "zero.js": (b"\0'use strict'", False),
        }
        hashbangs = {"hash.js": (b"#!/usr/bin/node\nvar a", False), "hash_strict.mjs": (mark + b"#! x\n'use strict'", True)}
        others = {"style.css": b"p{}", "data.json": b"{}", "drawing.svg": b"<svg><script href='a.js'/></svg>", "page.txt": b"<!doctype html>"}
        self.make()
        folder = self.p.folder / "views/board"
        wanted = {name: begin + GUARD + rest for name, (begin, rest) in cases.items()}
        wanted |= {name: (strict if is_strict else b"") + CALL + text for name, (text, is_strict) in scripts.items()}
        wanted |= {name: (strict if is_strict else b"") + CALL + b"//" + text for name, (text, is_strict) in hashbangs.items()}
        wanted |= others
        texts = {name: begin + rest for name, (begin, rest) in cases.items()} | others
        texts |= {name: text for name, (text, _) in (scripts | hashbangs).items()}
        for name, text in texts.items():
            (folder / name).write_bytes(text)
        self.serve()
        files, _ = self.open()
        for name, text in wanted.items():
            with self.subTest(name):
                status, headers, body = self.ask("GET", files + name, token=False)
                self.assertEqual((status, body), (200, text))
                self.assertEqual(self.ask("HEAD", files + name, token=False)[1]["content-length"], str(len(text)))
        self.assertTrue(self.ask("GET", files + "workers-view.js", token=False)[2].startswith(CALL))

    def test_links(self):
        """Neither the folder of a view nor a file in it leads out of the project, or to what is hidden, by a link."""
        self.make(VIEW + 'worker:view("away", { path = "views/away" })\nworker:view("state", { path = "views/state" })\n'
                         'worker:view("near", { path = "views/near" })\n')
        views = self.p.folder / "views"
        (views / "board/.hidden").write_text("hidden")
        (views / "board/a.json").symlink_to("sample.json")
        (views / "board/b.txt").symlink_to(".hidden")
        (views / "away").symlink_to("/etc")
        (views / "state").symlink_to("../.workers")
        (views / "near").symlink_to("board")
        self.serve()
        for view, path in (("board", "a.json"), ("board", "b.txt"), ("away", "hostname"), ("away", "passwd"), ("state", "token"),
                           ("state", "worker.db")):
            files, _ = self.open(view)
            self.assertEqual(self.ask("GET", files + path, token=False)[0], 404, f"{view}: {path}")
        self.assertEqual(self.ask("GET", self.open("near")[0], token=False)[2], GUARD + b"<p>hello</p>")

    def test_marks(self):
        self.make()
        self.serve()
        _, mark = self.open()
        self.assertEqual(self.open()[1], mark)
        (self.p.folder / "views/board/sample.json").write_text('{"changed": 1}')
        self.assertEqual(self.open()[1], mark, "samples are not served")
        (self.p.folder / "views/board/app.js").write_text("export default 1")
        self.assertNotEqual(self.open()[1], mark)

    def test_marks_of_what_is_declared(self):
        self.make()
        self.serve("--watch")
        _, mark = self.open()
        for view, head in ((VIEW.replace('"Count"', '"Due"').replace('"number"', '"date"'), HEAD),
                           (VIEW, HEAD.replace('{ name = "Blue" }', '{ name = "Blue" }, { name = "Green" }'))):
            self.p.write("main.lua", head + SYNC + view + "return worker\n")
            before = mark

            def mark_now():
                status, _, body = self.ask("POST", f"/views/{self.name}/board/open")
                return json.loads(body)["mark"] if status == 200 else before  # what is just loaded knows no token yet
            mark = wait_until(lambda: mark_now() != before and mark_now())

    def test_what_is_missing(self):
        self.make(VIEW + 'worker:view("built", { path = "views/built", command = "true" })\n', files={"app.js": "1"})
        self.serve()
        self.assertIn(b"There is no views/board/index.html", self.ask("GET", self.open()[0], token=False)[2])
        self.assertIn(b"workers view build built", self.ask("GET", self.open("built")[0], token=False)[2])

    def test_names_that_need_encoding(self):
        self.make('worker:view("a b/é", { path = "views/board", dataSources = { tasks = {} } })\n')
        self.serve()
        url = self.api("GET", "/views")[0]["url"]
        self.assertTrue(url.endswith("/views/" + self.name + "/a%20b%2F%C3%A9/"), url)
        path = url.removeprefix(f"http://{self.host}")
        status, _, body = self.ask("POST", path + "open")
        self.assertEqual(status, 200, body)
        self.assertEqual(self.ask("GET", path + json.loads(body)["files"], token=False)[2], GUARD + b"<p>hello</p>")

    def test_processes_share_tickets(self):
        self.make()
        self.serve("--processes", "3")
        opened = f"/views/{self.name}/board/open"
        wait_until(lambda: {self.ask("POST", opened)[0] for _ in range(20)} == {200}, "all processes to know the token")
        files, _ = self.open()
        self.assertEqual({self.ask("GET", files, token=False)[0] for _ in range(30)}, {200})


class Commands(ViewCase):
    def test_list_and_open(self):
        self.make()
        self.serve()
        self.assertEqual(self.ok(self.p.run("view", "list", "--plain")).stdout,
                         f"board\tboard\tstatic\tall, others, some\thttp://{self.host}/views/{self.name}/board/\n")
        address = self.ok(self.p.run("view", "open", "board")).stdout.strip()
        self.assertRegex(address, rf"^http://{self.host}/views/{self.name}/board/#token=workers_[0-9a-f]+$")
        first = address.split("=")[1]

        def opens(token):
            return self.ask("POST", f"/views/{self.name}/board/open", token=token)[0] == 200
        wait_until(lambda: opens(first))
        self.assertEqual(self.ask("POST", f"/api/v1/workers/{self.name}/capabilities/fill/disable", {}, token=first)[0], 403)
        second = self.ok(self.p.run("view", "open", "board")).stdout.strip().split("=")[1]
        wait_until(lambda: opens(second) and not opens(first))
        result = self.p.run("view", "open", "bord")
        self.assertEqual(result.returncode, 1)
        self.assertIn('there is no view "bord"', result.stderr)
        result = self.p.run("view", "open", "")
        self.assertEqual(result.returncode, 2)
        self.assertIn("error: KEY is empty", result.stderr)

    def test_open_with_a_long_key(self):
        for key in ("x" * 100, "é" * 50):
            self.make(f'worker:view("{key}", {{ path = "views/board" }})\n')
            self.fill([])
            self.assertIn("#token=workers_", self.ok(self.p.run("view", "open", key)).stdout)

    def test_open_without_a_server(self):
        self.make()
        self.fill([])
        result = self.ok(self.p.run("view", "open", "board"))
        self.assertIn("no server runs for this project: workers serve", result.stderr)

    def test_build(self):
        self.make('worker:view("board", { path = "views/board", command = "echo built; mkdir -p out && cp page.html out/index.html",'
                  ' output = "out" })\n', files={"page.html": "<p>built</p>"})
        result = self.ok(self.p.run("view", "build"))
        self.assertEqual(result.stdout, "")
        self.assertIn("built", result.stderr)
        self.assertEqual((self.p.folder / "views/board/out/index.html").read_text(), "<p>built</p>")
        self.p.write("main.lua", HEAD + 'worker:view("board", { path = "views/board", command = "exit 3" })\nreturn worker\n')
        result = self.p.run("view", "build", "board")
        self.assertEqual(result.returncode, 1)
        self.assertIn('view "board": "exit 3" failed in', result.stderr)
        self.assertIn("with exit code 3", result.stderr)
        self.p.write("main.lua", HEAD + 'worker:view("board", { path = "views/board", command = "true" })\nreturn worker\n')
        self.assertIn('"true" did not make', self.p.run("view", "build").stderr)
        self.p.write("main.lua", HEAD + 'worker:view("board", { path = "views/none" })\nreturn worker\n')
        self.assertIn("there is no folder", self.p.run("view", "build").stderr)

    def test_deploy_takes_what_was_built(self):
        self.make('worker:view("board", { path = "views/board", command = "mkdir -p dist && cp page.html dist/index.html" })\n',
                  files={"page.html": "<p>one</p>", "node_modules/x.js": "1"})
        self.p.write(".gitignore", "dist/\nnode_modules/\n")
        self.p.write("workers.yaml", "name: shop\nmain: main.lua\n")
        home = {"WORKERS_HOME": str(self.project().folder / "home")}
        self.assertIn("  + view       board\n", self.ok(self.p.run("deploy", env=home)).stdout)
        before = [version["version"] for version in json.loads(self.ok(self.p.run("versions", "--json", env=home)).stdout)]
        [page] = pathlib.Path(home["WORKERS_HOME"]).glob("shop/versions/*/views/board/dist/index.html")
        self.assertEqual(page.read_text(), "<p>one</p>")
        self.assertEqual(list(pathlib.Path(home["WORKERS_HOME"]).glob("shop/versions/*/views/board/node_modules")), [])
        (self.p.folder / "views/board/page.html").unlink()
        result = self.p.run("deploy", env=home)
        self.assertEqual(result.returncode, 1)
        self.assertIn('view "board"', result.stderr)
        self.assertEqual(page.read_text(), "<p>one</p>")
        versions = json.loads(self.ok(self.p.run("versions", "--json", env=home)).stdout)
        self.assertEqual([version["version"] for version in versions], before, "nothing was deployed")

    def test_deploy_and_links(self):
        """What would not be packed is not left out in silence."""
        home = {"WORKERS_HOME": str(self.project().folder / "home")}
        for command, links, message in (
                ("mkdir -p dist && touch dist/index.html", {"views/board/dist": "../../elsewhere"}, "views/board/dist leads through a link"),
                ("mkdir -p dist && cp page.html dist/index.html && ln -sf index.html dist/other.html", {},
                 "views/board/dist/other.html is a link, and links are not packed"),
                ("mkdir -p dist && touch dist/index.html", {"views/real": "board", "views/board": "../elsewhere"}, "leads through a link")):
            with self.subTest(message):
                self.make(f'worker:view("board", {{ path = "views/board", command = "{command}" }})\n', files={"page.html": "<p>"})
                (self.p.folder / "elsewhere").mkdir()
                self.p.write("workers.yaml", "name: shop\nmain: main.lua\n")
                for name, target in links.items():
                    if (self.p.folder / name).is_dir():
                        (self.p.folder / name).rename(self.p.folder / "views/was")
                    (self.p.folder / name).symlink_to(target)
                result = self.p.run("deploy", env=home)
                self.assertEqual(result.returncode, 1, result.stderr)
                self.assertIn(message, result.stderr)

    def test_deploy_without_a_page_that_is_ignored(self):
        self.make()
        self.p.write("workers.yaml", "name: shop\nmain: main.lua\n")
        home = {"WORKERS_HOME": str(self.p.folder.parent / "home")}
        self.p.write(".gitignore", "*.html\n")
        result = self.p.run("deploy", "--plan", env=home)
        self.assertEqual(result.returncode, 1)
        self.assertIn("a .gitignore leaves out views/board/index.html, which a view begins with", result.stderr)
        self.p.write(".gitignore", "*.html\n!index.html\n")
        self.ok(self.p.run("deploy", "--plan", env=home))

    def test_deploy_says_that_nothing_was_built(self):
        self.make("error 'only there'\n")
        self.p.write("workers.yaml", "name: shop\nmain: main.lua\n")
        result = self.p.run("deploy", "--plan", env={"WORKERS_HOME": str(self.p.folder.parent / "home")})
        self.assertRegex(result.stderr, "no view was built: the script cannot be loaded here: .*only there")


class Dev(ViewCase):
    def dev(self, *args, code=None):
        """Starts it; with a code, waits for its end and returns what it says."""
        temporary = self.p.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        self.process = subprocess.Popen([BINARY, "view", "dev", "--listen", "127.0.0.1:0", *args], cwd=self.p.folder,
                                        env=self.p.environment({"TMPDIR": str(temporary)}), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.p.processes.append(self.process)
        if code is not None:
            _, err = self.process.communicate(timeout=60)
            self.assertEqual(self.process.returncode, code, err)
            self.assertEqual(list(temporary.iterdir()), [])
            return err
        self.address = self.process.stdout.readline().strip()
        self.host, _, rest = self.address.removeprefix("http://").partition("/")
        self.name = rest.split("/")[1]
        self.token = self.address.split("=")[1]
        wait_until(lambda: self.ask("POST", f"/views/{self.name}/board/open")[0] == 200)
        return temporary

    def test_sample_rows(self):
        self.make()
        sample = self.p.folder / "views/board/sample.json"
        sample.write_text('{"all": [{"ID": "x", "Name": "Mine", "Count": 4}, {"ID": "y", "Name": "Other"}]}')
        temporary = self.dev()
        self.assertEqual([r["row"]["Name"] for r in self.query()["rows"]], ["Mine", "Other"])
        self.assertEqual(len(self.query("others", limit=100)["rows"]), 24, "made up")
        sample.write_text('{"all": [{"ID": "y", "Name": "Changed"}]}')
        wait_until(lambda: [r["row"] for r in self.query()["rows"]] == [{"ID": "y", "Name": "Changed"}])
        sample.write_text('{"all": [{"Name": "no key"}]}')
        self.assertTrue(any("sample.json" in line and 'row 1 needs "ID"' in line for line in iter(self.process.stderr.readline, "")
                            if "error" in line))
        for text, message in (('{"all": {"ID": "x"}}', '"all" must be a list of rows'),
                              ('{"all": [{"ID": "x"}, {"ID": "z"}, {"ID": "x"}]}', '"all": rows 1 and 3 have the same "ID"')):
            sample.write_text(text)
            self.assertTrue(any(message in line for line in iter(self.process.stderr.readline, "") if "error" in line))
        self.assertEqual(len(self.query()["rows"]), 1, "what was there stays")
        self.assertFalse((self.p.folder / ".workers/worker.db").exists(), "the project's own store is not touched")
        [database] = temporary.glob("*/*/.workers/worker.db")
        self.assertEqual(sqlite3.connect(database).execute("SELECT paused FROM _workers_syncs WHERE key = 'fill'").fetchall(), [(1,)])
        self.process.send_signal(signal.SIGINT)
        self.assertEqual(self.process.wait(60), 0)
        self.assertEqual(list(temporary.iterdir()), [])

    def test_made_up_rows_are_the_same_each_time(self):
        self.make()
        rows = []
        for _ in range(2):
            self.dev()
            rows.append(self.query(limit=100)["rows"])
            self.process.terminate()
            self.process.wait(60)
        self.assertEqual(rows[0], rows[1])
        self.assertEqual({type(row["row"][name]).__name__ for row in rows[0] for name in ("Count", "Done", "Tags", "Kind")},
                         {"int", "bool", "list", "str"})

    def test_it_builds_again(self):
        self.make('worker:view("board", { path = "views/board", command = "mkdir -p dist && cp page.html dist/index.html" })\n',
                  files={"page.html": "<p>one</p>"})
        self.dev()

        def page():
            files = json.loads(self.ask("POST", f"/views/{self.name}/board/open")[2])["files"]
            return self.ask("GET", f"/views/{self.name}/board/{files}", token=False)[2]
        self.assertEqual(page(), GUARD + b"<p>one</p>")
        (self.p.folder / "views/board/page.html").write_text("<p>two</p>")
        wait_until(lambda: page() == GUARD + b"<p>two</p>")

    def builds(self, command, output):
        """How often the command runs for one change of its source, while the files are looked at again and again."""
        self.make(files={"page.html": "<p>one</p>", "../other/index.html": "<p>"})
        log = self.p.folder / "builds"
        self.p.write("main.lua", HEAD + f'worker:view("board", {{ path = "views/board", command = "echo >> {log}; {command}", output = "{output}" }})\n'
                     'worker:view("other", { path = "views/other", dataSources = { others = {} } })\nreturn worker\n')
        self.dev()

        def page():
            files = json.loads(self.ask("POST", f"/views/{self.name}/board/open")[2])["files"]
            return self.ask("GET", f"/views/{self.name}/board/{files}", token=False)[2]
        (self.p.folder / "views/board/page.html").write_text("<p>two</p>")
        wait_until(lambda: page() == GUARD + b"<p>two</p>")
        for i in range(6):
            (self.p.folder / "views/other/sample.json").write_text(json.dumps({"others": [{"ID": f"x{i}"}]}))
            wait_until(lambda: self.api("POST", "/views/other/query", {"dataSource": "others"})["rows"][0]["key"] == f"x{i}")
        return len(log.read_text().splitlines())

    def test_a_folder_without_sources_is_built(self):
        self.make('worker:view("board", { path = "views/board", command = "mkdir -p dist && echo made > dist/index.html", output = "dist" })\n',
                  files={"../other.txt": ""})
        self.dev()
        page = self.p.folder / "views/board/dist/index.html"
        self.assertEqual(wait_until(lambda: page.exists() and page.read_text()), "made\n")

    def test_what_a_build_makes_is_no_source(self):
        self.assertEqual(self.builds("mkdir -p build/web && cp page.html build/web/index.html", "build/web"), 2)
        self.assertLessEqual(self.builds("mkdir -p dist && cp page.html dist/index.html && date +%N > stamp", "dist"), 4)

    def test_rows_of_a_file_come_first(self):
        """Those of the second data source of a database, and of one view when another has none."""
        self.make(VIEW + 'worker:view("zoo", { path = "views/zoo", dataSources = { tasks = {} } })\n', files={
            "index.html": "<p>", "sample.json": '{"some": [{"ID": "x", "Name": "Mine"}]}', "../zoo/index.html": "<p>"})
        self.dev()
        self.assertEqual([r["row"] for r in self.query()["rows"]], [{"ID": "x", "Name": "Mine"}])
        (self.p.folder / "views/board/sample.json").write_text("{}")
        wait_until(lambda: len(self.query()["rows"]) == 24)

    def test_the_script_changes(self):
        """What it declares now is shown, with rows; nothing that it declares runs; a mistake is said and changes nothing."""
        self.make()
        temporary = self.dev()
        self.p.write("main.lua", HEAD.replace("ID = Schema.title()", 'ID = Schema.title(), Extra = Schema.number()') + SYNC
                     + 'worker:sync("often", { database = others, schedule = "continuous", execute = function() end })\n'
                     + VIEW + 'worker:view("more", { path = "views/board", dataSources = { o = { database = others } } })\nreturn worker\n')

        def try_ask(*request):
            try:
                return self.ask(*request)
            except (OSError, http.client.HTTPException):
                return None, {}, b""  # it is being started

        def extra():
            answer = try_ask("POST", f"/api/v1/workers/{self.name}/views/more/query", {"dataSource": "o"})
            return answer[0] == 200 and {row["row"].get("Extra") for row in json.loads(answer[2])["rows"]}
        self.assertEqual(len(wait_until(extra)), 24)
        [database] = temporary.glob("*/*/.workers/worker.db")
        with sqlite3.connect(database) as store:
            self.assertEqual(store.execute("SELECT paused FROM _workers_syncs WHERE key = 'often'").fetchall(), [(1,)])
            self.assertEqual(store.execute("SELECT id FROM _workers_runs WHERE key = 'often'").fetchall(), [])
        self.p.write("main.lua", "return nothing(\n")
        self.assertTrue(any("main.lua" in line for line in iter(self.process.stderr.readline, "") if "error" in line))
        self.assertEqual(len(extra()), 24)
        self.p.write("main.lua", HEAD + SYNC + VIEW + "return worker\n")
        wait_until(lambda: try_ask("GET", f"/api/v1/workers/{self.name}/views/more")[0] == 404)

    def test_ended_while_it_builds(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number):
                self.make(files={"page.html": "<p>one</p>"})
                begun = self.p.folder / "begun"
                self.p.write("main.lua", HEAD + f'worker:view("board", {{ path = "views/board", command = "touch {begun}; exec sleep 1000" }})\n'
                             "return worker\n")
                temporary = self.p.folder / "tmp"
                temporary.mkdir()
                process = self.p.start("view", "dev", "--listen", "127.0.0.1:0", env={"TMPDIR": str(temporary)})
                wait_until(begun.exists)
                process.send_signal(number)
                process.communicate(timeout=30)
                self.assertEqual(process.returncode, 0)
                self.assertEqual(list(temporary.iterdir()), [])

    def test_ended_as_it_begins_to_build(self):
        self.make(files={"page.html": "<p>one</p>"})
        self.p.write("main.lua", HEAD + 'worker:view("board", { path = "views/board", command = "kill $PPID; exec sleep 60" })\nreturn worker\n')
        done = threading.Event()
        others = [threading.Thread(target=self.compute, args=(done,)) for _ in range(4)]  # so that the command may be ahead
        for other in others:
            other.start()
            self.addCleanup(other.join)
        self.addCleanup(done.set)
        for _ in range(40):
            process = self.p.start("view", "dev", "--listen", "127.0.0.1:0")
            self.assertEqual(process.wait(30), 0)

    def compute(self, done):
        while not done.is_set():
            subprocess.run(["sh", "-c", "i=0; while [ $i -lt 30000 ]; do i=$((i + 1)); done"])

    def test_a_server_that_ends(self):
        self.make()
        temporary = self.dev()
        [server] = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        os.kill(int(server), signal.SIGKILL)
        _, said = self.process.communicate(timeout=30)
        self.assertEqual(self.process.returncode, 1)
        self.assertIn("the server has ended", said)
        self.assertEqual(list(temporary.iterdir()), [])

    def test_mistakes(self):
        self.make("")
        self.assertIn("the worker declares no views", self.dev(code=1))
        self.make()
        self.assertIn('there is no view "bord"', self.dev("bord", code=1))
        self.assertIn("a browser cannot open unix:", self.dev("--listen", f"unix:{self.p.folder}/socket", code=1))


if __name__ == "__main__":
    main()
