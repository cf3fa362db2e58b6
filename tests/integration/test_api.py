"""The HTTP API of workers serve, driven by its own OpenAPI description."""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import harness  # noqa: E402
import npm  # noqa: E402

# Exits with 1 on what the client library of Prometheus does not read, and on a family without help or type.
PARSE_METRICS = """
import sys
from prometheus_client.parser import text_string_to_metric_families as parse
families = list(parse(sys.stdin.read()))
assert families and all(f.samples and f.documentation and f.type in ("counter", "gauge", "histogram") for f in families), families
names = [f.name for f in families]
assert len(names) == len(set(names)), names
"""

SCRIPT = """
local workers = require "workers"
local Schema, j = workers.schema, workers.j
local worker = workers.new()
local items = worker:database("items", { type = "managed", initialTitle = "Items", primaryKeyProperty = "Id",
  schema = { properties = { Name = Schema.title(), Id = Schema.richText() } } })
worker:sync("fill", { database = items, mode = "incremental", schedule = "manual", execute = function(state)
  require "workers.log".info("filling")
  return { changes = { { type = "upsert", key = "a", properties = { Name = "one" } }, { type = "upsert", key = "b", properties = { Name = "two" } } },
           hasMore = false, nextState = { n = (state and state.n or 0) + 1 } }
end })
worker:tool("double", { title = "D", description = "d", schema = j.object { n = j.integer() }, execute = function(input) return { n = input.n * 2 } end })
worker:tool("secret", { title = "S", description = "d", schema = j.object {},
  execute = function() return { bytes = #require("workers.env").require "API_TOKEN" } end })
worker:webhook("hook", { title = "H", description = "d", execute = function() end })
worker:automation("note", { title = "N", description = "d", execute = function(event) require "workers.kv".set("noted", event) end })
worker:job("tidy", { title = "T", description = "d", execute = function(input) require "workers.kv".set("tidied", input) end })
return worker
"""


class ApiTest(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        if not harness.BINARY:
            raise unittest.SkipTest("WORKERS_BIN does not name the binary")
        cls.project = harness.Project(SCRIPT, "name: shop\nmain: main.lua\n")
        with open(cls.project.folder / "serve.log", "ab") as log:
            cls.process = subprocess.Popen([harness.BINARY, "serve", "--listen", "127.0.0.1:0"], cwd=cls.project.folder,
                                           env=cls.project.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        cls.project.processes.append(cls.process)
        place = cls.project.folder / ".workers/server"
        harness.wait_until(place.exists, "the server")
        cls.url = place.read_text(encoding="utf-8").split("\n")[1]
        cls.tokens = {scope: cls.project.run("tokens", "make", scope, "--scope", scope).stdout.strip() for scope in ("read", "run", "admin")}
        harness.wait_until(lambda: all(cls.call("GET", "/workers/shop", scope)[0] == 200 for scope in cls.tokens), "the tokens to be known")

    @classmethod
    def tearDownClass(cls):
        cls.process.terminate()
        cls.process.wait(30)
        cls.project.close()

    @classmethod
    def call(cls, method, path, token="admin", body=None):
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = "Bearer " + cls.tokens.get(token, token)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(cls.url + "/api/v1" + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if answer.headers["Content-Type"] == "application/json" else text.decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def done(self, method, path, token="admin", body=None, status=200):
        got, answer = self.call(method, path, token, body)
        self.assertEqual(got, status, answer)
        return answer

    def test_a_sync_is_triggered_and_looked_at(self):
        self.done("POST", "/workers/shop/syncs/fill/trigger", "run", {}, 202)
        harness.wait_until(lambda: self.done("GET", "/workers/shop/syncs/fill", "read")["status"] == "HEALTHY", "the run")
        run = self.done("GET", "/workers/shop/runs?key=fill&limit=1", "read")[0]
        self.assertEqual((run["kind"], run["added"], run["startedBy"], run["attempt"]), ("sync", 2, "manual", 1))
        self.assertEqual(self.done("GET", f"/workers/shop/runs/{run['id']}", "read"), run)
        lines = harness.wait_until(lambda: self.done("GET", f"/workers/shop/runs/{run['id']}/logs", "read"), "the log")
        self.assertEqual([line["text"] for line in lines], ["filling"])
        self.assertEqual(self.done("GET", f"/workers/shop/runs/{run['id']}/logs?after={lines[0]['id']}", "read"), [])
        rows = self.done("GET", "/workers/shop/databases/items/rows?limit=1", "read")
        self.assertEqual(rows, [{"key": "a", "row": {"Name": "one", "Id": "a"}}])
        self.assertEqual(self.done("GET", "/workers/shop/databases/items/rows?after=a", "read")[0]["key"], "b")
        self.done("PUT", "/workers/shop/syncs/fill/state", "admin", {"state": {"n": 40}})
        self.done("POST", "/workers/shop/syncs/fill/trigger", "run", {"allowDeletes": False}, 202)
        harness.wait_until(lambda: self.done("GET", "/workers/shop/syncs/fill/state", "read") == {"state": {"n": 41}}, "the run")
        self.done("DELETE", "/workers/shop/syncs/fill/state")
        self.assertEqual(self.done("GET", "/workers/shop/syncs/fill/state"), {"state": None})

    def test_a_tool_is_called(self):
        self.assertEqual(self.done("POST", "/workers/shop/tools/double", "run", {"n": 21}), {"n": 42})
        status, answer = self.call("POST", "/workers/shop/tools/double", "run", {"n": "x"})
        self.assertEqual(status, 422)
        self.assertIn("InvalidToolInputError", answer["error"]["message"])

    def test_an_automation_and_a_job_get_what_they_are_sent(self):
        for path, key in (("automations/note", "noted"), ("jobs/tidy", "tidied")):
            id = self.done("POST", f"/workers/shop/{path}", "run", {"x": key}, 202)["deliveryId"]
            harness.wait_until(lambda id=id: self.done("GET", f"/workers/shop/deliveries/{id}", "read")["state"] == "done", "the delivery")
            self.assertEqual(json.loads(self.project.value("SELECT value FROM _workers_kv WHERE key = ?", key)), {"x": key})
            self.done("POST", f"/workers/shop/deliveries/{id}/replay", "run")
            harness.wait_until(lambda id=id: self.done("GET", f"/workers/shop/deliveries/{id}", "read")["state"] == "done", "the replay")
            self.assertEqual(self.project.rows("SELECT started_by FROM _workers_runs WHERE delivery_id = ? ORDER BY id", id), [("api",), ("replay",)])

    def test_a_disabled_webhook_waits(self):
        url = self.done("GET", "/workers/shop/webhooks")[0]["url"]
        post = lambda: urllib.request.urlopen(urllib.request.Request(url, b"x", method="POST"), timeout=30)  # noqa: E731
        self.done("POST", "/workers/shop/capabilities/hook/disable", "run")
        self.assertEqual(self.done("GET", "/workers/shop/webhooks")[0]["state"], "disabled")
        with self.assertRaises(urllib.error.HTTPError) as refused:
            harness.wait_until(lambda: post().close(), "the refusal", 10)
        self.assertEqual(refused.exception.code, 503)
        refused.exception.close()
        self.done("POST", "/workers/shop/capabilities/hook/enable", "run")

        def accepted():
            try:
                with post() as answer:
                    return answer.status == 202
            except urllib.error.HTTPError as error:
                error.close()
                return False

        harness.wait_until(accepted, "an answer 202")
        self.done("POST", "/workers/shop/webhooks/hook/rotate")
        self.assertNotEqual(self.done("GET", "/workers/shop/webhooks")[0]["url"], url)

    def test_tokens_are_made_and_revoked(self):
        token = self.done("POST", "/workers/shop/tokens", "admin", {"name": "new", "scope": "read"}, 201)["token"]
        harness.wait_until(lambda: self.call("GET", "/workers/shop", token)[0] == 200, "the token to be known")
        self.assertEqual(self.done("GET", "/workers", token), [{"name": "shop", "version": 0}])
        self.assertNotIn(token, self.project.dump())
        self.assertNotIn(token, json.dumps(self.done("GET", "/workers/shop/tokens")))
        self.assertEqual(self.call("POST", "/workers/shop/tokens", "admin", {"name": "new", "scope": "read"})[0], 409)
        self.done("DELETE", "/workers/shop/tokens/new")
        harness.wait_until(lambda: self.call("GET", "/workers/shop", token)[0] == 401, "the token to be forgotten")

    def test_variables_are_sealed_and_removed(self):
        self.done("PUT", "/workers/shop/variables/API_TOKEN", "admin", {"value": "hush-\u00e9\n\"x\""})
        self.assertEqual([one["name"] for one in self.done("GET", "/workers/shop/variables")], ["API_TOKEN"])
        self.assertNotIn("hush", self.project.dump() + json.dumps(self.done("GET", "/workers/shop/variables")))
        self.assertEqual(self.done("POST", "/workers/shop/tools/secret", "run", {}), {"bytes": 11})
        for name, body, message in (("API_TOKEN", {}, 'the body needs "value", a text'),
                                    ("API_TOKEN", {"value": 1}, 'the body needs "value", a text'),
                                    ("API_TOKEN", {"value": "a\0b"}, "the value of API_TOKEN contains a NUL byte"),
                                    ("API_TOKEN", {"value": "x" * 262145}, "the value of API_TOKEN is larger than 256 KiB"),
                                    ("1A", {"value": "x"}, '"1A" is not a variable name: use letters, digits and _, and no digit first'),
                                    ("A%2FB", {"value": "x"}, '"A/B" is not a variable name: use letters, digits and _, and no digit first'),
                                    ("API_TOKEN%00x", {"value": "x"}, "a part of the path is not UTF-8, or has NUL bytes"),
                                    ("%C3%A9" * 100, {"value": "x"}, "a variable name has at most 128 letters, digits and _")):
            status, answer = self.call("PUT", f"/workers/shop/variables/{name}", "admin", body)
            self.assertEqual((status, answer["error"]["message"]), (413 if "larger" in message else 422, message))
        self.done("DELETE", "/workers/shop/variables/API_TOKEN")
        self.assertEqual(self.done("GET", "/workers/shop/variables"), [])
        self.assertEqual(self.call("DELETE", "/workers/shop/variables/API_TOKEN")[0], 404)

    # ---- the description ----

    def routes(self):
        description = self.done("GET", "/openapi.json", None)
        for path, methods in description["paths"].items():
            for method, operation in methods.items():
                yield path.removeprefix("/api/v1"), method.upper(), operation

    PARAMETERS = {"worker": "shop", "key": "fill", "id": "0", "database": "items", "name": "nobody"}
    SCOPES = ("read", "run", "admin")

    def test_every_route_is_as_it_is_described(self):
        seen = 0
        for path, method, operation in self.routes():
            if not operation.get("security"):
                continue
            seen += 1
            filled = path
            for name, value in self.PARAMETERS.items():
                filled = filled.replace("{" + name + "}", value)
            with self.subTest(f"{method} {path}"):
                allowed = {str(code) for code in operation["responses"]}
                self.assertEqual(self.call(method, filled, None)[0], 401)
                self.assertEqual(self.call(method, filled, "workers_" + "0" * 64)[0], 401)
                if "description" not in operation:
                    continue
                needed = self.SCOPES.index(operation["description"].split()[-1].rstrip("."))
                if needed > 0:
                    status, answer = self.call(method, filled, self.SCOPES[needed - 1], {})
                    self.assertEqual((status, answer["error"]["code"]), (403, "forbidden"))
                wrong = "OPTIONS"
                self.assertEqual(self.call(wrong, filled, "admin", {})[0], 405)
                if operation["operationId"] in ("createWorker", "renameWorker", "deleteWorker"):  # see test_deploy.py
                    self.assertEqual(self.call(method, filled, "admin", {})[0], 403)
                    continue
                if operation.get("requestBody"):
                    status, answer = self.call(method, filled, "admin", b"{ no json")
                    self.assertIn(status, (404, 422), answer)
                if method in ("GET", "POST") and not path.endswith(("/rotate", "/disable")):
                    status, answer = self.call(method, filled, "admin", None if method == "GET" else {})
                    self.assertIn(str(status), allowed, answer)
                    if status >= 400:
                        self.assertEqual(sorted(answer["error"]), ["code", "message"])
        self.assertGreater(seen, 25)

    def test_the_description_is_valid(self):
        description = self.done("GET", "/openapi.json", None)
        self.project.write("description.json", json.dumps(description))
        self.project.write("validate.mjs", """
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { pathToFileURL } from "node:url"
const require = createRequire(process.argv[2] + "/")
const { Validator } = await import(pathToFileURL(require.resolve("@seriousme/openapi-schema-validator")))
console.log(JSON.stringify(await new Validator().validate(JSON.parse(readFileSync("description.json", "utf8")))))
""")
        judged = subprocess.run(["node", "validate.mjs", str(npm.ensure())], cwd=self.project.folder, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(judged.returncode, 0, judged.stderr)
        self.assertEqual(json.loads(judged.stdout)["valid"], True, judged.stdout)
        self.assertEqual(description["openapi"], "3.1.0")
        ids = [operation["operationId"] for _, _, operation in self.routes()]
        self.assertEqual(len(ids), len(set(ids)))
        for path, _, operation in self.routes():
            self.assertEqual([p["name"] for p in operation.get("parameters", []) if p["in"] == "path"],
                             [part[1:-1] for part in path.split("/") if part.startswith("{")], path)

    def test_the_page_has_every_route(self):
        page = (harness.REPOSITORY / "docs/http-api.md").read_text(encoding="utf-8")
        listed = re.findall(r"^\| `([A-Z]+ \S+)` \| `(\w+)` \| (.*) \|$", page, re.M)
        self.assertEqual(listed, [(f"{method} {path.removeprefix('/workers/{worker}') or '/'}", operation["description"].split()[-1].rstrip("."),
                                   operation["summary"]) for path, method, operation in self.routes() if "{worker}" in path])

    def metrics(self, path, token=None):
        request = urllib.request.Request(self.url + path, headers={"Authorization": "Bearer " + self.tokens[token]} if token else {})
        with urllib.request.urlopen(request, timeout=30) as answer:
            self.assertEqual(answer.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
            return answer.read().decode()

    def test_metrics_are_well_formed(self):
        self.done("POST", "/workers/shop/syncs/fill/trigger", "run", {}, 202)
        harness.wait_until(lambda: self.done("GET", "/workers/shop/syncs/fill", "read")["status"] == "HEALTHY", "the run")
        own, worker = self.metrics("/metrics"), self.metrics("/api/v1/workers/shop/metrics", "read")
        self.assertRegex(worker, r'workers_sync_last_success_timestamp_seconds\{worker="shop",sync="fill"\} 1\d{9}')
        self.assertIn('workers_deliveries{worker="shop",state="dead"} 0', worker)
        self.assertRegex(own, r'workers_http_requests_total\{process="\d+"\} [1-9]')
        judges = [[harness.DEBIAN_PYTHON, "-c", PARSE_METRICS]]
        if shutil.which("promtool") is not None:  # of the Debian package prometheus, which starts a server of its own
            judges.append(["promtool", "check", "metrics"])
        for text in (own, worker):
            for judge in judges:
                judged = subprocess.run(judge, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                self.assertEqual((judged.returncode, judged.stdout), (0, ""))

    def refused(self, method, path, body=None):
        status, answer = self.call(method, path, "admin", body)
        self.assertEqual(status, 422, answer)
        return answer["error"]["message"]

    def test_what_is_wrong_with_a_query(self):
        limit = "limit must be a whole number from 1 to 1000"
        for path, message in {
            "runs?limit=": limit, "runs?limit=1x": limit, "runs?limit=-1": limit, "runs?limit=1001": limit,
            "deliveries?limit=100000000000000000": limit,
            "runs?limit=" + "1" * 19: "limit has at most 18 bytes",
            "runs?failed=maybe": "failed must be true or false",
            "runs?key=" + "k" * 101: "key has at most 100 bytes",
            "runs?key=fill%00": "key is not UTF-8, or has NUL bytes", "runs?key=%FF": "key is not UTF-8, or has NUL bytes",
            "runs/%FF": "a part of the path is not UTF-8, or has NUL bytes",
            "syncs/fill%00x": "a part of the path is not UTF-8, or has NUL bytes",
            "deliveries?state=gone": "state must be ready, running, done or dead",
            "runs/any/logs?after=x": "after must be a whole number from 0 to 9223372036854775807",
            "databases/items/rows?after=" + "k" * 4097: "after has at most 4096 bytes",
            "databases/items/export?after=" + "k" * 4097: "after has at most 4096 bytes",
            "databases/items/export?limit=1001": "limit must be a whole number from 1 to 1000",
            "runs/any/logs?limit=0": "limit must be a whole number from 1 to 1000",
            "runs?before=" + "0" * 37: "before has at most 36 bytes", "deliveries?before=" + "0" * 37: "before has at most 36 bytes",
            "deleted?before=x": "before must be a whole number from 0 to 9223372036854775807",
        }.items():
            self.assertEqual(self.refused("GET", "/workers/shop/" + path), message, path)
        self.assertEqual(self.done("GET", "/workers/shop/databases/items/rows?after=" + "z" * 4096), [])
        self.assertEqual(self.done("GET", "/workers/shop/deliveries?state=dead&limit=1000"), [])

    def test_a_query_ends_when_nobody_waits_for_it(self):
        """Without that, these four would compute for ten seconds each, two at a time."""
        sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        body = json.dumps({"sql": sql}).encode()
        began = time.monotonic()
        for _ in range(4):
            with socket.create_connection(self.url.removeprefix("http://").split(":")) as client:
                client.sendall(b"POST /api/v1/workers/shop/query HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + self.tokens["read"].encode() +
                               b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self.assertEqual(self.done("POST", "/workers/shop/query", "read", {"sql": "SELECT 1 AS one, 'x' AS two"}), {"columns": ["one", "two"], "rows": [[1, "x"]]})
        self.assertLess(time.monotonic() - began, 10)

    def test_what_is_wrong_with_a_body(self):
        name = "a token needs a name of 1 to 100 bytes of UTF-8 without control characters"
        self.assertEqual(self.refused("POST", "/workers/shop/tokens", {"name": "two\nlines", "scope": "read"}), name)
        needs = 'the body needs "name", a text of 1 to 100 bytes'
        for body in ({}, [], 7, None, {"name": ""}, {"name": 7}, {"name": "a\0b"}, {"name": "k" * 101}):
            self.assertEqual(self.refused("POST", "/workers/shop/tokens", {**body, "scope": "read"} if isinstance(body, dict) else body), needs, body)
        for body, message in (({}, 'the body needs "sql", a text'), ({"sql": 7}, 'the body needs "sql", a text'), ({"sql": "SELECT 1\0"}, '"sql" has NUL bytes'),
                              ({"sql": ""}, "the statement is empty"), ({"sql": "SELECT ?"}, "the parameter ?1 is missing")):
            self.assertEqual(self.refused("POST", "/workers/shop/query", body), message, body)
        self.assertEqual(self.call("POST", "/workers/shop/query", "read", {"sql": "SELECT " + "1 + " * 100000 + "1"})[0], 413)
        for body in ({}, {"all": False}, {"key": ""}, {"key": "k" * 4097}, {"runId": 7}):
            self.assertIn("the body needs", self.refused("POST", "/workers/shop/databases/items/restore", body))
        for body in (b"\xff", b"{", b"[1,]", b"{} {}"):
            self.assertRegex(self.refused("POST", "/workers/shop/tools/double", body), "^the body is not JSON: (?!the body)", body)
        for given in ("", "two\nlines", "k" * 101, "\udcff"):
            made = self.project.run("tokens", "make", given)
            self.assertEqual((made.returncode, made.stdout, made.stderr), (1, "", f"error: {name}\n"), given)

    def test_other_paths(self):
        self.assertEqual(self.call("GET", "/nothing")[0], 404)
        self.assertEqual(self.call("GET", "/workers/shop/nothing")[0], 404)
        self.assertEqual(self.call("GET", "/workers/other")[0], 401)
        self.assertEqual(self.call("GET", "/workers/shop/runs?limit=0")[0], 422)


if __name__ == "__main__":
    unittest.main()
