#!/usr/bin/env python3
"""workers deploy, versions and rollback, and the home: what is packed, what a plan says, what is refused."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import BINARY, Project, TestCase, main, wait_until  # noqa: E402

SCRIPT = """local workers = require "workers"
local Schema, j = workers.schema, workers.j
local worker = workers.new()
local items = worker:database("items", { type = "managed", initialTitle = "Items", primaryKeyProperty = "Id",
  schema = { properties = { Name = Schema.title(), Id = Schema.richText() } } })
worker:sync("fill", { database = items, schedule = "manual", execute = function(state)
  return { changes = { { type = "upsert", key = "a", properties = { Name = "one" } } }, hasMore = false, nextState = { n = 1 } }
end })
worker:tool("which", { title = "W", description = "d", schema = j.object {}, execute = function() return "VERSION" end })
worker:webhook("hook", { title = "H", description = "d", execute = function() end })
return worker
"""


def script(version="first", **changes):
    text = SCRIPT.replace("VERSION", version)
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after)
    return text


class DeployTest(TestCase):
    def setUp(self):
        self.p = self.project(script(), "name: shop\nmain: main.lua\n")
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="workers-home-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.env = {"WORKERS_HOME": str(self.home)}

    def run_it(self, *args, **options):
        return self.p.run(*args, env={**self.env, **options.pop("env", {})}, **options)

    def json(self, *args, **options):
        return json.loads(self.ok(self.run_it(*args, "--json", **options)).stdout)

    def serve(self, *args):
        log = open(self.home.parent / (self.home.name + ".log"), "wb")
        self.addCleanup(os.unlink, log.name)
        self.addCleanup(log.close)
        process = subprocess.Popen([BINARY, "serve", "--home", "--listen", "127.0.0.1:0", *args], env=self.p.environment(self.env),
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.home.parent)
        self.p.processes.append(process)
        place = self.home / ".workers/server"
        wait_until(lambda: place.exists() or process.poll() is not None, lambda: pathlib.Path(log.name).read_text())
        self.log = pathlib.Path(log.name)
        self.url = place.read_text().split("\n")[1]
        return process

    def exec_there(self, tool="which", worker="shop"):
        return json.loads(self.ok(self.run_it("exec", tool, "--server", self.url, "--worker", worker,
                                              env={"WORKERS_TOKEN": (self.home / ".workers/token").read_text().strip()})).stdout)

    def soon(self, version):
        """Asked as often as there are processes, all have it: the others hear of it a moment later."""
        wait_until(lambda: self.run_it("exec", "which", "--server", self.url, "--worker", "shop", env={
            "WORKERS_TOKEN": (self.home / ".workers/token").read_text().strip()}).stdout.strip() == json.dumps(version), version)
        return self.exec_there()

    # ---- packing ----

    def test_what_is_packed(self):
        """The files that git would take, but never secrets and state; git itself is asked for what that is."""
        files = {".gitignore": "*.log\n/build/\n!keep.log\ndocs/**/*.tmp\n*.o\nspaced\\ \n\\#odd\n!/src/important.o\nnested/deep\n",
                 "a.log": "x", "keep.log": "x", "build/out": "x", "src/build/out": "x", "docs/a/b/c.tmp": "x", "docs/c.tmp": "x", "docs/c.txt": "x",
                 "src/x.o": "x", "src/important.o": "x", "src/.gitignore": "secret.lua\n!*.o\n", "src/secret.lua": "x", "src/lib/secret.lua": "x",
                 ".env": "A=1", ".env.local": "A=1", "src/.env": "A=1", ".workers/x": "x", "nested/deep/file": "x", "other/nested/deep/file": "x",
                 "#odd": "x", "spaced ": "x", "[a]": "x", "data/\u00fc \"quote\".txt": "\u00fc", ".luarc.json": "{}", "empty": ""}
        for name, text in files.items():
            self.p.write(name, text)
        (self.p.folder / "binary").write_bytes(bytes(range(256)))
        os.symlink("/etc/passwd", self.p.folder / "link")
        git = lambda *args: subprocess.run(["git", *args], cwd=self.p.folder, check=True, capture_output=True)  # noqa: E731
        git("init", "-q")
        listed = git("ls-files", "-z", "--others", "--exclude-standard").stdout.decode().split("\0")[:-1]
        expected = sorted(name for name in listed if name != "link" and not re.search(r"(^|/)(\.env|\.workers)", name))
        self.ok(self.run_it("deploy"))
        folder = next((self.home / "shop/versions").glob("*/keep.log")).parent
        found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.assertEqual(sorted(found), expected)
        self.assertEqual(found["binary"], bytes(range(256)))
        self.assertEqual(found["data/\u00fc \"quote\".txt"], "\u00fc".encode())
        self.assertEqual(found["main.lua"].decode(), script())
        # The name of the content is its digest; time, order and place do not matter.
        digest = self.json("versions")[0]["digest"]
        self.assertEqual(folder.name, digest)
        (pack,) = self.store("SELECT pack FROM _workers_versions ORDER BY number DESC LIMIT 1")[0]
        self.assertEqual(hashlib.sha256(pack.encode()).hexdigest(), digest)
        copy = self.project()
        shutil.rmtree(copy.folder)
        shutil.copytree(self.p.folder, copy.folder, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        os.utime(copy.folder / "main.lua", (1, 1))
        result = self.ok(copy.run("deploy", env=self.env))
        self.assertIn("shop: version 2 is this one already", result.stderr)

    def store(self, sql, worker="shop"):
        import sqlite3
        connection = sqlite3.connect(self.home / worker / ".workers/worker.db", timeout=15)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def test_too_much_is_refused_by_name(self):
        self.p.write("large.bin", "x" * (17 << 20))
        result = self.run_it("deploy")
        self.assertEqual(result.returncode, 1)
        self.assertIn("large.bin is larger than", result.stderr)
        os.remove(self.p.folder / "large.bin")
        for n in range(3):
            self.p.write(f"part{n}.bin", "x" * (6 << 20))
        result = self.run_it("deploy")
        self.assertIn("the project is larger than 16 MiB at part2.bin: leave out what is not needed with .gitignore", result.stderr)
        self.assertFalse((self.home / "shop").exists())

    # ---- plans ----

    def test_a_plan_says_what_changes_and_changes_nothing(self):
        plan = self.json("deploy", "--plan")
        self.assertEqual((plan["status"], plan["changes"]), ("planned", [
            {"change": "added", "kind": "database", "key": "items"}, {"change": "added", "kind": "sync", "key": "fill"},
            {"change": "added", "kind": "tool", "key": "which"}, {"change": "added", "kind": "webhook", "key": "hook"}]))
        self.assertFalse((self.home / "shop").exists())
        self.ok(self.run_it("deploy", "--note", "as it was"))
        self.p.write("workers.yaml", 'name: shop\nmain: main.lua\npermissions: { net: ["api.example.com"], env: ["API_*"] }\n')
        self.p.write("main.lua", script("second", **{'schedule = "manual"': 'schedule = "1h"', "Id = Schema.richText()": "Id = Schema.richText(), Size = Schema.number()"})
                     .replace('worker:webhook("hook", { title = "H", description = "d", execute = function() end })\n',
                              'worker:job("tidy", { title = "T", description = "d", schedule = "1d", execute = function() end })\n'))
        before = self.store("SELECT * FROM _workers_versions"), self.store("SELECT sql FROM sqlite_master WHERE name = 'items'")
        plan = self.json("deploy", "--plan")
        self.assertEqual({(one["change"], one["kind"], one["key"]) for one in plan["changes"]}, {
            ("changed", "database", "items"), ("changed", "sync", "fill"), ("removed", "webhook", "hook"), ("added", "job", "tidy")})
        self.assertEqual(plan["schedules"], [{"key": "fill", "before": "manual", "after": "every 1h"}])
        self.assertEqual(plan["schema"], ["added items.size (number)"])
        self.assertEqual(plan["permissions"], [{"change": "added", "kind": "net", "value": "api.example.com"},
                                               {"change": "added", "kind": "env", "value": "API_*"}])
        self.assertEqual((self.store("SELECT * FROM _workers_versions"), self.store("SELECT sql FROM sqlite_master WHERE name = 'items'")), before)
        text = self.ok(self.run_it("deploy", "--plan"))
        self.assertIn("  - webhook    hook\n", text.stdout)
        self.assertIn("  ~ schedule   fill: manual -> every 1h\n", text.stdout)
        self.assertIn("nothing was changed; without --plan this is deployed", text.stderr)
        self.ok(self.run_it("deploy"))
        listed = self.json("versions")
        self.assertEqual([(one["version"], one["active"], one["note"]) for one in listed], [(3, True, ""), (2, False, "as it was"), (1, False, "empty")])
        self.assertEqual(self.json("rollback", "--plan")["version"], 2)

    def test_what_is_broken_changes_nothing(self):
        self.ok(self.run_it("deploy"))
        folder = self.home / "shop"
        rows = subprocess.run([BINARY, "sync", "trigger", "fill"], cwd=folder, capture_output=True, text=True, env=self.p.environment(self.env))
        self.ok(rows)
        before = self.store("SELECT number, digest FROM _workers_versions"), self.store("SELECT value FROM _workers_meta WHERE name = 'active_version'")
        broken = {
            "return 1 +": r"main.lua:1:",
            'error("at the top")': r"main.lua:1: at the top",
            "while true do end": r"CPU|limits.cpu",
            'local t = {} while true do t[#t + 1] = ("x"):rep(1000000) .. #t end': r"memory",
            "return {}": r"must end with",
            script(**{"Name = Schema.title()": "Name = Schema.number()"}): r"title|Name",
            script(**{"schedule = \"manual\"": "schedul = \"manual\""}): r'unknown option "schedul"',
            'require "not.there"': r"not.there",
        }
        self.p.write("workers.yaml", "name: shop\nmain: main.lua\nlimits: { cpu: 1s, memory: 32MiB }\n")
        for text, message in broken.items():
            self.p.write("main.lua", text)
            for flags in ([], ["--plan"]):
                result = self.run_it("deploy", *flags)
                self.assertEqual(result.returncode, 1, text)
                self.assertRegex(result.stderr, "error: .*(" + message + ")", text)
        self.p.write("main.lua", script())
        self.p.write("workers.yaml", "name: shop\nmain: other.lua\n")
        self.assertIn("other.lua", self.run_it("deploy").stderr)
        self.p.write("workers.yaml", "nam: shop\n")
        self.assertIn("workers.yaml:1:1", self.run_it("deploy").stderr)
        self.assertEqual((self.store("SELECT number, digest FROM _workers_versions"),
                          self.store("SELECT value FROM _workers_meta WHERE name = 'active_version'")), before)

    def test_values_that_do_not_convert_are_not_lost(self):
        self.p.write("main.lua", script(**{"Id = Schema.richText()": "Id = Schema.richText(), Size = Schema.richText()",
                                           'Name = "one" }': 'Name = "one", Size = "large" }'}))
        self.ok(self.run_it("deploy"))
        folder = self.home / "shop"
        self.ok(subprocess.run([BINARY, "sync", "trigger", "fill"], cwd=folder, capture_output=True, text=True, env=self.p.environment(self.env)))
        process = self.serve()
        wait_until(lambda: self.store("SELECT size FROM items") == [("large",)], "the row")
        self.p.write("main.lua", script(**{"Id = Schema.richText()": "Id = Schema.richText(), Size = Schema.number()"}))
        for flags in (["--plan"], []):
            result = self.run_it("deploy", *flags, "--server", self.url)
            self.assertEqual(result.returncode, 1)
            self.assertRegex(result.stderr, r'items.*Size|size.*"a".*large')
        self.assertEqual(self.store("SELECT size FROM items"), [("large",)])
        process.terminate()
        self.assertEqual(process.wait(30), 0)

    # ---- on a server ----

    def test_on_a_server_from_nothing(self):
        process = self.serve("--processes", "2")
        token = (self.home / ".workers/token").read_text().strip()
        env = {"WORKERS_TOKEN": token}
        there = ["--server", self.url]
        self.assertEqual(self.json("list", *there, env=env), [])
        self.ok(self.run_it("create", "shop", *there, env=env))
        self.ok(self.run_it("env", "set", "API_TOKEN=set-before-the-code", *there, "--worker", "shop", env=env))
        self.ok(self.run_it("deploy", *there, env=env))
        self.assertEqual(self.soon("first"), "first")
        url = json.loads(self.ok(self.run_it("webhooks", "list", "--json", *there, env=env)).stdout)[0]["url"]
        self.p.write("main.lua", script("second"))
        self.ok(self.run_it("deploy", *there, env=env))
        self.assertEqual(self.soon("second"), "second")
        self.assertEqual(json.loads(self.ok(self.run_it("webhooks", "list", "--json", *there, env=env)).stdout)[0]["url"], url)
        self.assertEqual([one["name"] for one in json.loads(self.ok(self.run_it("env", "list", "--json", *there, env=env)).stdout)], ["API_TOKEN"])
        self.assertIn("version 3 is this one already", self.ok(self.run_it("deploy", *there, env=env)).stderr)
        self.ok(self.run_it("rollback", *there, env=env))
        self.assertEqual(self.soon("first"), "first")
        self.assertEqual(self.json("list", *there, env=env), [{"name": "shop", "version": 2}])
        self.ok(self.run_it("rename", "shop", "store", *there, env=env))
        wait_until(lambda: [one["name"] for one in self.json("list", *there, env=env)] == ["store"], "the new name")
        self.assertEqual(self.exec_there(worker="store"), "first")
        result = self.run_it("delete", "store", *there, env=env)
        self.assertEqual(result.returncode, 1)
        self.assertIn("nothing was changed; with --yes it is", result.stderr)
        result = self.ok(self.run_it("delete", "store", "--yes", *there, env=env))
        kept = pathlib.Path(re.search(r"on the server, (.*)", result.stderr)[1])
        self.assertTrue((kept / ".workers/worker.db").exists())
        wait_until(lambda: self.json("list", *there, env=env) == [], "it to be gone")
        process.terminate()
        self.assertEqual(process.wait(60), 0)

    def test_what_workers_share(self):
        """Variables of the home: those that a worker's workers.yaml names, and no others; and tokens of it."""
        tell = script().replace('return "VERSION"', "").replace('return "first"', 'local env = require "workers.env" '
                                                                'return { env.get "SHARED_TOKEN" or "none", env.get "OTHER" or "none" }')
        self.p.write("main.lua", tell)
        self.ok(self.run_it("env", "set", "--home", "SHARED_TOKEN=for-all-of-them-1", "OTHER=not-for-this-one"))
        self.assertEqual(json.loads(self.ok(self.run_it("exec", "which")).stdout), ["none", "none"], "nothing is named")
        self.p.write("workers.yaml", 'name: shop\nmain: main.lua\npermissions: { env: ["SHARED_*"] }\n')
        self.assertEqual(json.loads(self.ok(self.run_it("exec", "which")).stdout), ["[redacted]", "none"])
        self.p.write("main.lua", tell.replace('env.get "SHARED_TOKEN" or "none"', '#(env.get "SHARED_TOKEN" or "none")'))
        self.ok(self.run_it("deploy"))
        process = self.serve("--processes", "2")
        self.assertEqual(self.exec_there(), [17, "none"])
        token = {"WORKERS_TOKEN": (self.home / ".workers/token").read_text().strip()}
        there = ["--server", self.url]
        self.assertEqual([one["name"] for one in self.json("env", "list", "--home", *there, env=token)], ["OTHER", "SHARED_TOKEN"])
        self.ok(self.run_it("env", "set", "--home", "SHARED_TOKEN=for-all", *there, env=token))
        self.ok(self.run_it("env", "set", "OTHER=its-own", *there, env=token))
        for _ in range(4):
            wait_until(lambda: self.exec_there() == [7, "none"], "the new value")
        for length in range(8, 12):  # set on the machine, while others ask with tokens that are not the home's
            self.ok(self.run_it("env", "set", "--home", "SHARED_TOKEN=" + "x" * length))
            self.run_it("list", *there, env={"WORKERS_TOKEN": "workers_" + "0" * 64})
            for _ in range(2):
                wait_until(lambda: self.exec_there() == [length, "none"], "the new value")  # noqa: B023
        self.ok(self.run_it("env", "set", "SHARED_TOKEN=own", *there, env=token))
        wait_until(lambda: self.exec_there() == [3, "none"], "its own comes first")
        made = self.ok(self.run_it("tokens", "make", "ci", "--scope", "admin", "--home", *there, env=token)).stdout.strip()
        self.assertEqual(self.json("list", *there, env={"WORKERS_TOKEN": made}), [{"name": "shop", "version": 2}])
        self.ok(self.run_it("tokens", "revoke", "ci", "--home", *there, env=token))
        wait_until(lambda: self.run_it("list", *there, env={"WORKERS_TOKEN": made}).returncode == 1, "the token to be gone")
        own = self.ok(self.run_it("tokens", "make", "owner", "--scope", "admin", *there, env=token)).stdout.strip()
        wait_until(lambda: self.run_it("get", "shop", *there, env={"WORKERS_TOKEN": own}).returncode == 0, "the token")
        for _ in range(2):
            result = self.run_it("env", "list", "--home", *there, env={"WORKERS_TOKEN": own})
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertRegex(result.stderr, "this needs a token of the home|does not know the token")
        files = [file.read_bytes() for file in (self.home / ".workers").iterdir()]
        self.assertFalse([file for file in files if b"for-all" in file])
        process.terminate()
        self.assertEqual(process.wait(60), 0)

    def test_another_worker_of_the_same_name(self):
        """Who comes into the place of one that was taken away is not taken for it; and names may be swapped."""
        self.ok(self.run_it("deploy"))
        process = self.serve()
        self.assertEqual(self.exec_there(), "first")
        self.ok(self.run_it("env", "set", "OLD=old-value", "--server", self.url, env={"WORKERS_TOKEN": (self.home / ".workers/token").read_text().strip()}))
        self.ok(self.run_it("delete", "shop", "--yes"))
        self.p.write("main.lua", script("second"))
        self.ok(self.run_it("deploy"))
        wait_until(lambda: self.run_it("exec", "which", "--server", self.url, "--worker", "shop", env={
            "WORKERS_TOKEN": (self.home / ".workers/token").read_text().strip()}).stdout.strip() == '"second"', "the other worker")
        self.assertEqual(self.json("env", "list", "--server", self.url, env={"WORKERS_TOKEN": (self.home / ".workers/token").read_text().strip()}), [])
        self.assertIn("shop: is not in the home any more", self.log.read_text())
        self.p.write("workers.yaml", "name: other\nmain: main.lua\n")
        self.p.write("main.lua", script("third"))
        self.ok(self.run_it("deploy"))
        for names in (("shop", "between"), ("other", "shop"), ("between", "other")):
            self.ok(self.run_it("rename", *names))
        self.soon("third")
        process.terminate()
        self.assertEqual(process.wait(60), 0)

    def test_folders_of_versions_come_from_the_store(self):
        self.ok(self.run_it("deploy"))
        versions = self.home / "shop/versions"
        (active,) = [path for path in versions.iterdir() if (path / "workers.yaml").exists()]
        (active / "main.lua").write_text("not what was deployed")
        process = self.serve()
        self.assertEqual(self.exec_there(), "first")
        self.assertEqual((active / "main.lua").read_text(), script())
        shutil.rmtree(versions)
        self.assertIn("is this one already", self.ok(self.run_it("deploy")).stderr)
        self.p.write("main.lua", script("second"))
        self.ok(self.run_it("deploy"))
        self.soon("second")
        # Of plans, and of versions that are not kept, nothing stays.
        for n in range(14):
            self.p.write("main.lua", script(f"number {n}"))
            self.ok(self.run_it("deploy", "--plan"))
            if n % 2 == 0:
                self.ok(self.run_it("deploy"))
        self.assertEqual({path.name for path in versions.iterdir()} - {row[0] for row in self.store("SELECT digest FROM _workers_versions")}, set())
        self.assertEqual(self.store("SELECT count(*) FROM _workers_versions"), [(10,)])
        for n in range(14, 20):
            self.p.write("main.lua", script(f"number {n}"))
            self.ok(self.run_it("deploy"))
        self.assertEqual(self.store("SELECT count(*), min(number) FROM _workers_versions"), [(11, 6)])
        self.assertLessEqual(len(list(versions.iterdir())), 11)
        self.assertIn("there is no version 2: workers versions lists them", self.run_it("rollback", "2").stderr)
        process.terminate()
        self.assertEqual(process.wait(60), 0)

    def test_an_idle_server_writes_nothing(self):
        self.p.write("workers.yaml", 'name: shop\nmain: main.lua\npermissions: { env: ["SHARED"] }\n')
        self.ok(self.run_it("env", "set", "--home", "SHARED=for-all-of-them"))
        self.ok(self.run_it("deploy"))
        process = self.serve()
        self.exec_there()
        import sqlite3
        import time
        connections = [sqlite3.connect(self.home / path / ".workers/worker.db") for path in ("", "shop")]
        seen = []

        def settled():
            seen.append([connection.execute("PRAGMA data_version").fetchone() for connection in connections])
            time.sleep(0.2)
            return len(seen) > 12 and len({tuple(one) for one in seen[-12:]}) == 1
        wait_until(settled, lambda: f"nothing to be written: {seen[-12:]}")
        self.run_it("env", "list", "--home")
        self.assertEqual([connection.execute("PRAGMA data_version").fetchone() for connection in connections], seen[-1], "nor does a look")
        # While another process holds the home, the server answers.
        connections[0].isolation_level = None
        connections[0].execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        self.assertEqual(self.exec_there(), "first")
        with urllib.request.urlopen(self.url + "/healthz", timeout=10):
            pass
        self.assertLess(time.monotonic() - started, 5)
        connections[0].execute("ROLLBACK")
        for connection in connections:
            connection.close()
        process.terminate()
        self.assertEqual(process.wait(60), 0)

    def test_who_may_what(self):
        process = self.serve()
        token = (self.home / ".workers/token").read_text().strip()
        there = ["--server", self.url]
        self.ok(self.run_it("deploy", *there, env={"WORKERS_TOKEN": token}))
        own = self.ok(self.run_it("tokens", "make", "reader", "--scope", "read", *there, env={"WORKERS_TOKEN": token})).stdout.strip()
        admin = self.ok(self.run_it("tokens", "make", "owner", "--scope", "admin", *there, env={"WORKERS_TOKEN": token})).stdout.strip()
        for one in (own, admin):  # known after a moment
            wait_until(lambda: self.run_it("get", "shop", *there, env={"WORKERS_TOKEN": one}).returncode == 0, "the token")  # noqa: B023
        self.p.write("main.lua", script("second"))
        for who, code, message in ((own, 1, "scope"), (admin, 0, "version 3 is active"), ("workers_" + "0" * 64, 1, "token")):
            result = self.run_it("deploy", *there, env={"WORKERS_TOKEN": who})
            self.assertEqual(result.returncode, code, result.stderr)
            self.assertIn(message, result.stderr)
        for args in (["create", "other"], ["rename", "shop", "x"], ["delete", "shop", "--yes"]):
            result = self.run_it(*args, *there, env={"WORKERS_TOKEN": admin})
            self.assertEqual(result.returncode, 1)
            self.assertIn("this needs a token of the home", result.stderr)
        home = {"WORKERS_TOKEN": token}
        self.assertIn('there is a worker "shop" already', self.run_it("create", "shop", *there, env=home).stderr)
        for name in ("../x", ".x", "a b", "x" * 101):
            result = self.run_it("create", name, *there, env=home)
            self.assertEqual(result.returncode, 1)
            self.assertIn("name", result.stderr)
        self.assertIn("no such worker", self.run_it("get", "other", *there, env=home).stderr)
        self.ok(self.run_it("create", "a" * 100, *there, env=home))
        request = urllib.request.Request(self.url + "/api/v1/workers/" + "a" * 101, method="DELETE", headers={"Authorization": "Bearer " + token})
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=30)
        caught.exception.close()
        self.assertEqual((caught.exception.code, (self.home / ("a" * 100)).exists()), (404, True))
        self.assertEqual(json.loads(self.ok(self.run_it("get", "shop", *there, env=home)).stdout)["name"], "shop")
        process.terminate()
        self.assertEqual(process.wait(60), 0)

    def test_what_may_not_be_in_a_pack(self):
        process = self.serve()
        token = (self.home / ".workers/token").read_text().strip()
        self.ok(self.run_it("deploy", "--server", self.url, env={"WORKERS_TOKEN": token}))
        file = lambda path, **other: {"path": path, "text": "x", **other}  # noqa: E731
        for files, message in (
                ([file("../x")], "a path that it may not have"), ([file("/etc/x")], "may not have"), ([file("a//b")], "may not have"),
                ([file("a/./b")], "may not have"), ([file(".env")], "may not have"), ([file("a/.env.local")], "may not have"),
                ([file(".workers/key")], "may not have"), ([file("a\u0000b")], "may not have"), ([file("a\nb")], "may not have"),
                ([file("")], "may not have"), ([file("a" * 300)], "may not have"), ([file("b"), file("a")], "a out of order"),
                ([file("a"), file("a")], "a out of order"), ([{"path": "a"}], "no content for a"), ([{"path": "a", "base64": "x"}], "a:"),
                ([file("a"), file("a/b")], "cannot"), ("none", 'no "files"'), ([1], "may not have")):
            body = json.dumps({"pack": {"files": files}}).encode()
            request = urllib.request.Request(self.url + "/api/v1/workers/shop/versions", method="POST", data=body,
                                             headers={"Authorization": "Bearer " + token})
            with self.assertRaises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=30)
            with caught.exception as answer:
                said = json.loads(answer.read())["error"]["message"]
            self.assertIn(message, said, files)
        self.assertEqual(self.json("list", "--server", self.url, env={"WORKERS_TOKEN": token}), [{"name": "shop", "version": 2}])
        self.assertEqual(sorted(path.name for path in self.home.iterdir()), [".workers", "shop"])
        self.assertEqual([path for path in (self.home / "shop/versions").iterdir() if ".new-" in path.name], [])
        process.terminate()
        self.assertEqual(process.wait(60), 0)

    def test_a_folder_that_is_served_is_not_overwritten(self):
        log = open(self.p.folder / "serve.log", "wb")
        process = subprocess.Popen([BINARY, "serve", "--listen", "127.0.0.1:0"], cwd=self.p.folder, env=self.p.environment(), stdout=log, stderr=log)
        log.close()
        self.p.processes.append(process)
        place = self.p.folder / ".workers/server"
        wait_until(place.exists, "the server")
        url = place.read_text().split("\n")[1]
        result = self.run_it("deploy", "--server", url, env={"WORKERS_TOKEN": (self.p.folder / ".workers/token").read_text().strip()})
        self.assertEqual(result.returncode, 1)
        self.assertIn('the worker "shop" is served from its own folder', result.stderr)
        process.terminate()
        self.assertEqual(process.wait(60), 0)


if __name__ == "__main__":
    main()
