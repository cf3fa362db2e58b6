#!/usr/bin/env python3
"""Sealed variables: set, versions, pull and push, another key; and that no secret is anywhere that it should not be."""
import base64
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import stat
import subprocess
import sys
import unittest
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import harness  # noqa: E402
from harness import BINARY, HttpHandler, HttpService, Project, Server, TestCase, finish, forms_of, main, wait_until  # noqa: E402

SCRIPT = """
local workers = require "workers"
local env = require "workers.env"
local worker = workers.new()
worker:tool("tell", { title = "T", description = "d", schema = workers.j.object { name = workers.j.string() },
  execute = function(input) return { length = #(env.get(input.name) or ""), value = env.get(input.name) or "none" } end })
return worker
"""


class SecretsTest(TestCase):
    def setUp(self):
        self.p = self.project(SCRIPT)

    def names(self):
        return [(one["name"], one["version"], one["public"]) for one in json.loads(self.ok(self.p.run("env", "list", "--json")).stdout)]

    def tell(self, name, **options):
        return json.loads(self.ok(self.p.run("exec", "tell", "-d", json.dumps({"name": name}), **options)).stdout)

    # ---- set, versions, restore ----

    def test_versions_are_kept_and_restored(self):
        for n in range(1, 13):
            self.ok(self.p.run("env", "set", f"API_TOKEN={n:03}-value-number"))
        self.ok(self.p.run("env", "set", "API_TOKEN=012-value-number"))  # the same: no other version
        versions = json.loads(self.ok(self.p.run("env", "versions", "API_TOKEN", "--json")).stdout)
        self.assertEqual([(one["version"], one["current"]) for one in versions], [(12, True)] + [(n, False) for n in range(11, 2, -1)])
        self.ok(self.p.run("env", "restore", "API_TOKEN", "5"))
        self.assertEqual(self.names(), [("API_TOKEN", 13, False)])
        self.ok(self.p.run("env", "set", "--public", "API_TOKEN=005-value-number"))
        self.assertEqual(self.tell("API_TOKEN")["value"], "005-value-number")
        result = self.p.run("env", "restore", "API_TOKEN", "2")
        self.assertEqual(result.returncode, 1)
        self.assertIn("there is no version 2 of API_TOKEN: workers env versions API_TOKEN shows them", result.stderr)
        self.assertIn('there is no variable "OTHER"', self.p.run("env", "versions", "OTHER").stderr)
        self.assertEqual(self.p.run("env", "restore", "API_TOKEN", "two").returncode, 2)
        self.ok(self.p.run("env", "unset", "API_TOKEN"))
        self.assertEqual(self.p.value("SELECT count(*) FROM _workers_secrets_before"), 0)

    def test_a_secret_is_not_in_a_result_and_a_public_one_is(self):
        self.ok(self.p.run("env", "set", "API_TOKEN=hush-hush-0815"))
        self.ok(self.p.run("env", "set", "--public", "API_URL=https://api.example.com"))
        self.assertEqual(self.tell("API_TOKEN"), {"length": 14, "value": "[redacted]"})
        self.assertEqual(self.tell("API_URL"), {"length": 23, "value": "https://api.example.com"})
        self.assertEqual(self.names(), [("API_TOKEN", 1, False), ("API_URL", 1, True)])
        # A name of .env that does not sound like a secret may be one in a log, but is none in a result.
        self.p.write(".env", "BASE=https://elsewhere.example.com\nAPI_KEY=4711-4711-4711\n")
        self.assertEqual(self.tell("BASE")["value"], "https://elsewhere.example.com")
        self.assertEqual(self.tell("API_KEY")["value"], "[redacted]")

    def test_a_value_is_asked_for_on_a_terminal_and_not_shown(self):
        master, slave = pty.openpty()
        process = subprocess.Popen([BINARY, "env", "set", "API_TOKEN"], cwd=self.p.folder, env=self.p.environment(), stdin=slave,
                                   stdout=slave, stderr=slave)
        os.close(slave)
        shown = b""
        while b"API_TOKEN: " not in shown:
            more = os.read(master, 1000)
            self.assertTrue(more, shown)
            shown += more
        os.write(master, b"typed-by-hand-99\n")
        try:
            while True:
                more = os.read(master, 1000)
                if not more:
                    break
                shown += more
        except OSError:  # the other side is gone
            pass
        self.assertEqual(process.wait(30), 0)
        os.close(master)
        self.assertNotIn(b"typed-by-hand", shown)
        self.ok(self.p.run("env", "set", "--public", "API_TOKEN=typed-by-hand-99"))
        self.assertEqual(self.p.value("SELECT version FROM _workers_secrets"), 1, "it was the same value")

    # ---- pull and push ----

    def test_pull_merges_and_keeps_comments(self):
        self.ok(self.p.run("env", "set", "API_TOKEN=from the store", "OTHER=line one\nline $two \"x\"", "SAME=equal"))
        file = self.p.write(".env", "# who needs it\nexport API_TOKEN=old  # local\n\nMINE=kept\nSAME=equal\n")
        result = self.ok(self.p.run("env", "pull"))
        self.assertEqual(result.stdout, "~ API_TOKEN\n+ OTHER\n")
        self.assertRegex(result.stderr, r"\.env: 1 added, 1 changed, 1 as they were")
        self.assertEqual(file.read_text(), '# who needs it\nAPI_TOKEN="from the store"\n\nMINE=kept\nSAME=equal\n'
                                           'OTHER="line one\\nline \\$two \\"x\\""\n')
        before = file.stat().st_mtime_ns
        result = self.ok(self.p.run("env", "pull"))
        self.assertEqual((result.stdout, file.stat().st_mtime_ns), ("", before))
        (self.p.folder / "other.env").write_text("")
        (self.p.folder / "other.env").chmod(0o644)
        self.ok(self.p.run("env", "pull", "other.env"))
        self.assertEqual(stat.S_IMODE((self.p.folder / "other.env").stat().st_mode), 0o600)
        self.p.write("bad.env", "A='open\n")
        result = self.p.run("env", "pull", "bad.env")
        self.assertEqual((result.returncode, (self.p.folder / "bad.env").read_text()), (1, "A='open\n"))

    def test_push_shows_what_it_does_and_deletes_nothing(self):
        self.ok(self.p.run("env", "set", "API_TOKEN=first-value", "KEPT=stays-there"))
        self.p.write(".env", "API_TOKEN=second-value\nNEW=new-value\nNEW=newer-value\n")
        result = self.p.run("env", "push")
        self.assertEqual((result.returncode, result.stdout), (1, "~ API_TOKEN\n+ NEW\n"))
        self.assertIn("nothing was changed; with --yes it is", result.stderr)
        self.assertEqual(self.names(), [("API_TOKEN", 1, False), ("KEPT", 1, False)])
        self.ok(self.p.run("env", "push", "--yes"))
        self.assertEqual(self.names(), [("API_TOKEN", 2, False), ("KEPT", 1, False), ("NEW", 1, False)])
        result = self.ok(self.p.run("env", "push"))
        self.assertIn("nothing to push", result.stderr)
        os.remove(self.p.folder / ".env")
        self.ok(self.p.run("env", "pull"))
        self.assertEqual((self.p.folder / ".env").read_text(), "API_TOKEN=second-value\nKEPT=stays-there\nNEW=newer-value\n")
        result = self.p.run("env", "push", "none.env")
        self.assertEqual(result.returncode, 1)
        self.assertIn("none.env", result.stderr)

    def test_the_same_on_a_server_without_a_value_in_an_answer(self):
        self.ok(self.p.run("env", "set", "API_TOKEN=on-the-server-1"))
        server = Server(self.p)
        url = server.url
        here = self.project(SCRIPT)
        token = (self.p.folder / ".workers/token").read_text().strip()
        far = {"WORKERS_TOKEN": token}
        there = ["--server", url, "--worker", "test"]
        self.ok(here.run("env", "pull", *there, env=far))
        self.assertEqual((here.folder / ".env").read_text(), "API_TOKEN=on-the-server-1\n")
        here.write(".env", "API_TOKEN=on-the-server-2\nMORE=more-and-more\n")
        self.ok(here.run("env", "push", "--yes", *there, env=far))
        self.assertEqual(self.names(), [("API_TOKEN", 2, False), ("MORE", 1, False)])
        # The running server has the new value, without a restart.
        result = self.ok(here.run("exec", "tell", "-d", '{"name":"MORE"}', *there, env=far))
        self.assertEqual(json.loads(result.stdout), {"length": 13, "value": "[redacted]"})
        request = urllib.request.Request(url + "/api/v1/workers/test/variables/reveal", method="POST", data=json.dumps(
            {"publicKey": base64.b64encode(bytes(31)).decode()}).encode(), headers={"Authorization": "Bearer " + token})
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        with caught.exception as answer:
            self.assertEqual((answer.code, json.loads(answer.read())["error"]["message"]),
                             (422, "publicKey must be a key of X25519: 32 bytes as base64"))
        request.data = json.dumps({"publicKey": base64.b64encode(bytes(32)).decode()}).encode()
        with self.assertRaises(urllib.error.HTTPError) as caught:  # a point of small order: the key would be known to all
            urllib.request.urlopen(request)
        with caught.exception as answer:
            self.assertEqual(json.loads(answer.read())["error"]["message"], "the public key leads to no secret")

    # ---- the key ----

    def key(self):
        return self.p.folder / ".workers" / "key"

    def test_a_lost_or_wrong_key_is_said_and_nothing_is_overwritten(self):
        self.ok(self.p.run("env", "set", "API_TOKEN=sealed-with-it"))
        right = self.key().read_bytes()
        before = self.p.dump()
        for how in ("lost", "wrong", "short"):
            if how == "lost":
                self.key().unlink()
            else:
                self.key().write_bytes(bytes(32 if how == "wrong" else 31))
                self.key().chmod(0o600)
            message = {"lost": "key is missing", "wrong": "is another key than the one that sealed", "short": "is not a key of 32 bytes"}[how]
            for args in (["env", "set", "OTHER=x"], ["env", "pull"], ["env", "push", "--yes"], ["env", "rotate-key"]):
                self.p.write(".env", "API_TOKEN=other\n")
                result = self.p.run(*args)
                self.assertEqual(result.returncode, 1, (how, args))
                self.assertIn(message, result.stderr, (how, args))
                self.assertIn("put it back from a backup" if how != "wrong" else "put that one back from a backup", result.stderr)
            (self.p.folder / ".env").unlink()
            result = self.p.run("exec", "tell", "-d", '{"name":"API_TOKEN"}')
            self.assertIn(message, result.stderr, how)
            self.assertEqual(json.loads(result.stdout)["value"], "none")
            self.assertEqual((how == "lost") != self.key().exists(), True)
            self.assertEqual(self.p.dump(), before, how)
            self.assertEqual(len(self.names()), 1, "names can be listed")
        self.key().write_bytes(right)
        self.key().chmod(0o644)
        for args in (["env", "pull"], ["env", "rotate-key"], ["env", "rotate-key", "--forget"]):  # it is not lost
            self.assertIn("key can be read by others: chmod 600", self.p.run(*args).stderr)
        self.assertEqual(self.p.dump(), before)
        self.key().chmod(0o600)
        self.key().write_bytes(right)
        self.assertEqual(self.tell("API_TOKEN")["length"], 14)

    def test_a_server_whose_key_is_lost_goes_on_with_the_rest(self):
        self.p.write("main.lua", SCRIPT.replace("return worker\n", """
local rows = worker:database("rows", { type = "managed", initialTitle = "R", primaryKeyProperty = "Id", schema = { properties = { Id = workers.schema.title() } } })
worker:sync("fill", { database = rows, schedule = "continuous", execute = function() return { changes = { { type = "upsert", key = tostring(os.time()), properties = {} } }, hasMore = false } end })
worker:webhook("hook", { title = "H", description = "d", execute = function() end })
return worker
"""))
        self.ok(self.p.run("env", "set", "A_KEY=first-secret"))
        url = json.loads(self.ok(self.p.run("webhooks", "list", "--json")).stdout)[0]["url"]
        path = url[url.index("/webhooks/"):]
        key = self.key().read_bytes()
        self.key().unlink()
        server = Server(self.p)
        address = server.url

        def send():
            try:
                with urllib.request.urlopen(urllib.request.Request(address + path, method="POST", data=b"{}"), timeout=10) as answer:
                    return answer.status
            except urllib.error.HTTPError as refused:
                with refused:
                    return refused.code
        server.wait_for("key is missing; what it sealed cannot be read")
        wait_until(lambda: self.p.store.exists() and self.p.value("SELECT count(*) FROM _workers_runs WHERE exit_code = 0") >= 2, "the sync to run")
        self.assertEqual(send(), 503, "the sender tries again later")
        self.assertFalse(self.key().exists())
        self.key().write_bytes(key)
        self.key().chmod(0o600)
        wait_until(lambda: send() == 202, "the webhook to be back")
        self.assertEqual(server.text().count("hook: /"), 1, "it is said once")
        self.assertEqual(server.stop(), 0)

    def test_another_key_seals_everything_anew(self):
        script = SCRIPT.replace("return worker\n", 'worker:webhook("hook", { title = "H", description = "d", execute = function() end })\nreturn worker\n')
        self.p.write("main.lua", script)
        self.ok(self.p.run("env", "set", "A_KEY=first-secret", "B_KEY=other-secret"))
        self.ok(self.p.run("env", "set", "A_KEY=second-secret"))
        url = json.loads(self.ok(self.p.run("webhooks", "list", "--json")).stdout)[0]["url"]
        before, sealed = self.key().read_bytes(), self.p.rows("SELECT sealed FROM _workers_secrets ORDER BY name")
        result = self.ok(self.p.run("env", "rotate-key"))
        self.assertIn("sealed anew with another key: 3", result.stderr)
        self.assertEqual(len(self.key().read_bytes()), 32)
        self.assertNotEqual(self.key().read_bytes(), before)
        self.assertFalse(set(sealed) & set(self.p.rows("SELECT sealed FROM _workers_secrets ORDER BY name")))
        self.assertEqual(self.tell("A_KEY")["length"], 13)
        self.ok(self.p.run("env", "restore", "A_KEY", "1"))
        self.assertEqual(self.tell("A_KEY")["length"], 12)
        self.assertEqual(json.loads(self.p.run("webhooks", "list", "--json").stdout)[0]["url"], url, "addresses of webhooks stay")
        self.ok(self.p.run("webhooks", "rotate", "hook"))
        self.assertNotEqual(json.loads(self.p.run("webhooks", "list", "--json").stdout)[0]["url"], url)
        # When it is lost for good, what it sealed is forgotten, by name; the rest stays.
        self.key().write_bytes(bytes(32))
        result = self.ok(self.p.run("env", "rotate-key", "--forget"))
        self.assertEqual(re.findall("forgotten: (.*)", result.stderr), ["variable A_KEY", "variable B_KEY", "webhook hook"])
        self.assertEqual([file.read_bytes() for file in self.key().parent.glob("key.*")], [bytes(32)], "the other key is kept")
        self.assertEqual(self.names(), [])
        self.ok(self.p.run("env", "set", "A_KEY=third-secret"))
        self.assertEqual(self.tell("A_KEY")["length"], 12)

    def test_a_store_of_before_the_check(self):
        """Its key is the one that opens what there is, also when a rotation has failed half way."""
        self.ok(self.p.run("env", "set", "A_KEY=first-secret", "B_KEY=other-secret"))
        with self.p.database() as connection:
            connection.execute("DELETE FROM _workers_meta WHERE name = 'key_check'")
            connection.execute("UPDATE _workers_secrets SET sealed = randomblob(50) WHERE name = 'B_KEY'")
            connection.commit()
        self.assertIn("the variable B_KEY was sealed with another key or is damaged: set it again, then rotate", self.p.run("env", "rotate-key").stderr)
        self.assertEqual(self.tell("A_KEY")["length"], 12)
        self.ok(self.p.run("env", "set", "B_KEY=set-again-99"))
        self.ok(self.p.run("env", "rotate-key"))
        self.assertEqual((self.tell("A_KEY")["length"], self.tell("B_KEY")["length"]), (12, 12))

    def test_what_is_public_once_is_not_so_for_good(self):
        self.ok(self.p.run("env", "set", "--public", "ADDRESS=https://api.example.com"))
        self.ok(self.p.run("env", "set", "ADDRESS=https://user:hush-hush@api.example.com"))
        self.assertEqual(self.tell("ADDRESS")["value"], "[redacted]")
        self.ok(self.p.run("env", "set", "--public", "ADDRESS=https://user:hush-hush@api.example.com/more"))
        self.assertEqual(self.tell("ADDRESS")["value"], "[redacted]/more", "what was a secret stays one")

    def test_killed_while_the_key_changes(self):
        """At each write of the rotation: afterwards everything opens, and another rotation goes through."""
        if not shutil.which("strace"):
            self.skipTest("no strace")
        self.ok(self.p.run("env", "set", "A_KEY=first-secret", "B_KEY=other-secret"))
        kills = 0
        for call in ("rename", "fsync,fdatasync", "pwrite64", "write", "unlink"):
            for nth in (1, 2, 3, 5):
                result = subprocess.run(["strace", "-f", "-qq", "-o", "/dev/null", f"--inject={call}:signal=KILL:when={nth}",
                                         "-e", f"trace={call}", BINARY, "env", "rotate-key"], cwd=self.p.folder, env=self.p.environment(
                                             {"ASAN_OPTIONS": "detect_leaks=0"}), stdin=subprocess.DEVNULL, capture_output=True)
                kills += result.returncode not in (0, 1)
                self.assertEqual((self.tell("A_KEY")["length"], self.tell("B_KEY")["length"]), (12, 12), (call, nth))
                self.assertIn(len(self.key().read_bytes()), (32, 64), (call, nth))
        self.assertGreater(kills, 5)
        self.ok(self.p.run("env", "rotate-key"))
        self.assertEqual(len(self.key().read_bytes()), 32)

    def test_setting_while_the_key_changes(self):
        self.ok(self.p.run("env", "set", "A_KEY=first-secret"))
        setters = [self.p.start("env", "set", *[f"N{n}_{i}=value-{n}-{i}" for i in range(20)]) for n in range(3)]
        for _ in range(10):
            self.ok(self.p.run("env", "rotate-key"))
        for process in setters:
            self.assertEqual(finish(process)[0], 0)
        self.ok(self.p.run("env", "pull", "all.env"))
        self.assertEqual(len((self.p.folder / "all.env").read_text().splitlines()), 61)


# ---- no secret anywhere ----

SECRETS = {  # what is sealed, and never in a script's memory
    "API_TOKEN": "cred-Qm4fV9/xW2+pL8sR3t",
    "CLIENT_SECRET": "client-8h&2Kd=Zq 7Lw\u00fc!x",
    "NEVER_USED": "unused-5tGb7YhN9uJm\"2wS",
}
ASKED = "asked-Xs7 dE3/rF5&tG9+h"  # by the script: it is in its memory
ACCESS, REFRESH = "access-pR6vN2mK8jH4gF1d", "refresh-bT5cY7xU3zW9qE0a"

LEAKY = """
local workers = require "workers"
local env, log, crypto, url, http = require "workers.env", require "workers.log", require "workers.crypto", require "workers.url", require "workers.http"
local Schema, j = workers.schema, workers.j
local worker = workers.new()
worker:credential("API_TOKEN", { network = { { domain = "127.0.0.1",
  transform = { { headers = { Authorization = "Bearer " .. workers.CREDENTIAL_VALUE } } } } } })
local provider = worker:oauth("provider", { name = "P", authorizationEndpoint = "UP/authorize", tokenEndpoint = "UP/token",
  clientId = "me", clientSecret = "$CLIENT_SECRET", scope = "all", pkce = true, callbackUrl = "http://127.0.0.1:PORT/oauth/callback" })
local items = worker:database("items", { type = "managed", initialTitle = "Items", primaryKeyProperty = "Id",
  schema = { properties = { Name = Schema.title(), Id = Schema.richText() } } })
local function forms(value)
  return { value, crypto.base64(value), crypto.base64url(value), crypto.hex(value), url.encode(value), "x" .. crypto.base64("y" .. value) }
end
local function leak()
  local asked, access = env.get "ASKED", provider:accessToken()
  local told = { http.get("UP/echo"):raise().body }
  for _, value in ipairs { asked, access } do
    for _, form in ipairs(forms(value)) do
      log.info("form: " .. form)
      told[#told + 1] = form
    end
    told[#told + 1] = { [value] = value }
  end
  return workers.array(told)
end
worker:sync("fill", { database = items, schedule = "manual", execute = function()
  leak()
  return { changes = { { type = "upsert", key = "a", properties = { Name = http.get("UP/echo").body } } }, hasMore = false }
end })
worker:sync("fails", { database = items, schedule = "manual", execute = function()
  error("no: " .. table.concat(forms(env.get "ASKED"), ", "))
end })
worker:tool("leak", { title = "L", description = "d", schema = j.object {}, execute = function(input, ctx)
  ctx.progress(1, 2, "at " .. env.get "ASKED")
  return leak()
end })
worker:tool("fail", { title = "F", description = "d", schema = j.object {}, execute = function()
  error("no: " .. table.concat(forms(env.get "ASKED"), ", "))
end })
worker:webhook("hook", { title = "H", description = "d", execute = function() leak() end })
worker:job("work", { title = "W", description = "d", execute = function() leak() error(env.get "ASKED") end })
return worker
"""


class Provider(HttpHandler):
    def do_GET(self):
        self.say(json.dumps({"you said": self.headers.get("Authorization", "nothing")}))

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.say(json.dumps({"access_token": ACCESS, "refresh_token": REFRESH, "token_type": "Bearer", "expires_in": 3600}))

    def say(self, text):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


class SearchTest(TestCase):
    def setUp(self):
        provider = HttpService(Provider)
        self.addCleanup(provider.close)
        self.p = self.project(LEAKY.replace("UP", provider.url).replace("PORT", str(harness.free_port())), 'name: leaky\nmain: main.lua\npermissions: { net: ["127.0.0.1"] }\n')
        self.found = {}  # where: bytes

    def keep(self, where, data):
        self.found[where] = self.found.get(where, b"") + (data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape"))

    def command(self, *args, **options):
        result = self.p.run(*args, **options)
        self.keep("workers " + " ".join(map(str, args)), result.stdout + result.stderr)
        return result

    def grant(self):
        process = self.p.start("oauth", "start", "provider")
        said = ""
        while "/authorize?" not in said:
            line = process.stdout.readline()
            self.assertTrue(line, process.stderr)
            said += line
        query = dict(urllib.parse.parse_qsl(re.search(r"/authorize\?(\S+)", said)[1]))
        with urllib.request.urlopen(query["redirect_uri"] + "?" + urllib.parse.urlencode({"code": "once", "state": query["state"]})) as page:
            self.keep("the page of the callback", page.read())
        code, out, err = finish(process)
        self.keep("workers oauth start", out + err)
        self.assertEqual(code, 0, err)

    def call(self, url, method, path, body=None, headers=None):
        request = urllib.request.Request(url + path, method=method, data=None if body is None else json.dumps(body).encode(), headers={
            "Authorization": "Bearer " + self.token, "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream", **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                data, seen = answer.read(), answer.headers
        except urllib.error.HTTPError as refused:
            with refused:
                data, seen = refused.read(), refused.headers
        self.keep(f"{method} {path}", data + str(seen).encode())
        return data, seen

    def ask_everything(self, url):
        """Every route that reads, with every value for its parameters that there is."""
        description = json.loads(self.call(url, "GET", "/api/v1/openapi.json")[0])
        root = "/api/v1/workers/leaky"
        values = {"worker": ["leaky"], "key": ["fill", "fails", "leak", "fail", "hook", "work", "items", "provider"], "name": list(SECRETS),
                  "id": [one["id"] for kind in ("runs", "deliveries") for one in json.loads(self.call(url, "GET", f"{root}/{kind}")[0])],
                  "database": ["items"], "row": ["a"]}
        asked = 0
        for path, methods in description["paths"].items():
            if "get" not in methods:
                continue
            paths = [path]
            for name in re.findall(r"\{(\w+)\}", path):
                paths = [one.replace("{" + name + "}", urllib.parse.quote(value)) for one in paths for value in values.get(name, ["a"])]
            for one in paths:
                self.call(url, "GET", one)
                asked += 1
        return asked

    def ask_agent(self, url):
        """The Model Context Protocol: what an agent sees."""
        def rpc(method, params, session=None):
            return self.call(url, "POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": method, "params": params},
                             {"Mcp-Session-Id": session} if session else None)
        _, seen = rpc("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}})
        session = seen["Mcp-Session-Id"]
        rpc("tools/list", {}, session)
        called, _ = rpc("tools/call", {"name": "leak", "arguments": {}, "_meta": {"progressToken": "p"}}, session)
        self.assertIn(b"[redacted]", called)
        rpc("tools/call", {"name": "fail", "arguments": {}}, session)
        listed, _ = rpc("resources/list", {}, session)
        for uri in set(re.findall(rb'"uri":"([^"]+)"', listed)):
            rpc("resources/read", {"uri": uri.decode()}, session)

    def test_no_secret_is_anywhere(self):
        probe = os.environ.get("WORKERS_HEAP_PROBE", "")
        with_heap = bool(probe) and not harness.sanitized()
        dump = self.p.folder / "heap.dump"
        for name, value in [*SECRETS.items(), ("ASKED", ASKED)]:
            self.ok(self.command("env", "set", name, input=value))
        self.ok(self.command("env", "set", "NEVER_USED=" + "earlier-3eDc5TgB7uJm9oL"))
        self.ok(self.command("env", "set", "NEVER_USED", input=SECRETS["NEVER_USED"]))
        self.grant()
        for args in (["exec", "leak"], ["exec", "leak", "--json"], ["exec", "leak", "--stream"], ["exec", "fail"], ["run", "main.lua", "fill"],
                     ["run", "main.lua", "fails"], ["run", "main.lua", "fill", "--preview"], ["env", "list"], ["oauth", "status"], ["sync", "status"]):
            self.command(*args)
        log = open(self.p.folder / "serve.log", "wb")
        self.addCleanup(log.close)
        server = subprocess.Popen([probe if with_heap else BINARY, "serve", "--listen", "127.0.0.1:0"], cwd=self.p.folder,
                                  env=self.p.environment({"HEAP_PROBE": str(dump)}), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.p.processes.append(server)
        place = self.p.folder / ".workers/server"
        wait_until(place.exists, "the server")
        url = place.read_text().split("\n")[1]
        self.token = (self.p.folder / ".workers/token").read_text().strip()
        root = "/api/v1/workers/leaky"
        for path in ("/syncs/fill/trigger", "/syncs/fails/trigger", "/jobs/work/trigger"):
            self.call(url, "POST", root + path, {})
        self.command("webhooks", "send", "hook", "-d", "{}")
        wait_until(lambda: len(self.p.rows("SELECT 1 FROM _workers_runs WHERE ended_at IS NOT NULL AND started_by IS NOT NULL")) >= 4, "runs")
        for tool in ("leak", "fail"):
            self.call(url, "POST", f"{root}/tools/{tool}", {})
            self.call(url, "POST", f"{root}/exec/{tool}", {})
        self.ask_agent(url)
        asked = self.ask_everything(url)
        self.assertGreater(asked, 40)
        if with_heap:
            for child in Server.children(type("S", (), {"process": server})):
                os.kill(child, signal.SIGRTMIN + 1)
            os.kill(server.pid, signal.SIGRTMIN + 1)

            def written():
                self.call(url, "POST", f"{root}/tools/leak", {})
                return dump.exists() and dump.read_bytes().endswith(b"\nwhole\n")
            wait_until(written, "the memory of the scripts")
        server.terminate()
        self.assertEqual(server.wait(60), 0)
        self.keep("the log", (self.p.folder / "serve.log").read_bytes())
        for file in (self.p.folder / ".workers").rglob("*"):
            if file.is_file():
                self.keep(str(file.relative_to(self.p.folder)), file.read_bytes())
        secrets = [*SECRETS.values(), ASKED, ACCESS, REFRESH, "earlier-3eDc5TgB7uJm9oL"]
        self.search({where: data for where, data in self.found.items()}, secrets)
        everything = b"".join(self.found.values())
        self.assertGreater(everything.count(b"[redacted]"), 100)
        if with_heap:
            memory = dump.read_bytes()
            self.assertIn(ASKED.encode(), memory, "the probe sees what a script has asked for")
            self.assertIn(b"you said", memory)
            self.search({"the scripts' memory": memory}, [*SECRETS.values(), REFRESH, "earlier-3eDc5TgB7uJm9oL"])
            print(f"{len(self.found)} places, {len(everything)} bytes, {len(memory)} bytes of scripts' memory: no secret", file=sys.stderr)
        # The search finds what is there.
        with self.assertRaises(AssertionError):
            self.search({"here": b"..." + base64.b64encode(b"xx" + REFRESH.encode()) + b"..."}, [REFRESH])

    def search(self, places, secrets):
        for secret in secrets:
            forms = forms_of(secret.encode())
            for where, data in places.items():
                for form in forms:
                    self.assertNotIn(form, data, where)


if __name__ == "__main__":
    main()
