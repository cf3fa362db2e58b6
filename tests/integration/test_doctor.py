#!/usr/bin/env python3
"""workers doctor: each cause is provoked for real, and named with what puts it right; what is well gives no alarm."""
import json
import os
import pathlib
import shutil
import signal
import ssl
import struct
import subprocess
import sys
import threading
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import (REPOSITORY, HttpHandler, HttpService, Page, Project, Server, TestCase, finish, free_port,  # noqa: E402
                     main, wait_until)

sys.path.insert(0, str(REPOSITORY / "tests" / "docs"))
import test_docs  # noqa: E402

HEAD = """local workers = require "workers"
local http, env = require "workers.http", require "workers.env"
local Schema, j = workers.schema, workers.j
local worker = workers.new()
local rows = worker:database("rows", { type = "managed", initialTitle = "Rows", primaryKeyProperty = "Id",
  schema = { properties = { Name = Schema.title(), Id = Schema.richText(), Count = Schema.number() } } })
local function page(keys, more)
  local changes = {}
  for i, key in ipairs(keys) do changes[i] = { type = "upsert", key = key, properties = { Name = key } } end
  local result = { changes = changes, hasMore = false }
  for name, value in pairs(more or {}) do result[name] = value end
  return result
end
local function sync(execute, options)
  local all = { database = rows, mode = "incremental", schedule = "manual", execute = execute }
  for name, value in pairs(options or {}) do all[name] = value end
  return worker:sync("tasks", all)
end
"""
CONFIG = 'name: test\nmain: main.lua\npermissions: { net: ["127.0.0.1", "localhost"] }\n'


class DoctorTest(TestCase):
    def worker(self, body, config=CONFIG):
        return self.project(HEAD + body + "\nreturn worker\n", config)

    def doctor(self, project, *args, code=None, env=None):
        """The checks that are not ok: {check: (level, message, remedy)}."""
        result = project.run("doctor", *args, "--json", env=env)
        self.assertIn(result.returncode, (0, 1), result.stderr)
        answer = json.loads(result.stdout)
        found = {check["check"]: (check["level"], check["message"], check.get("remedy", ""))
                 for check in answer["checks"] if check["level"] != "ok"}
        self.assertEqual(answer["ok"], not any(level == "fail" for level, _, _ in found.values()))
        self.assertEqual(result.returncode, 0 if answer["ok"] else 1)
        if code is not None:
            self.assertEqual(result.returncode, code, result.stdout)
        return found

    def fails(self, project, check, message, remedy, run=True, env=None, level="fail", args=()):
        """A run fails, and the doctor names that one cause."""
        if run:
            self.ok(project.run("sync", "trigger", "tasks", env=env), 1)
        for more in ((), ("--no-probe",)):
            found = self.doctor(project, "tasks", *args, *more, env=env)
            self.assertEqual(list(found), [check], found)
            self.assertEqual(found[check][0], level, found)
            self.assertRegex(found[check][1], message)
            self.assertRegex(found[check][2], remedy)

    # ---- causes of a failing sync ----

    def test_a_variable_is_not_set(self):
        p = self.worker('sync(function() return page { env.require "API_TOKEN" } end)')
        self.fails(p, "credentials", r"a variable is not set: main.lua:\d+: the environment variable API_TOKEN is not set", "^workers env set API_TOKEN$")
        self.ok(p.run("env", "set", "API_TOKEN=x"))
        found = self.doctor(p, "tasks", code=0)  # what works now is no failure any more
        self.assertEqual((found["run"][0], found["run"][2]), ("warn", "workers sync trigger tasks"))
        self.ok(p.run("sync", "trigger", "tasks"))
        self.assertEqual(self.doctor(p, "tasks"), {})

    def test_a_credential_has_no_value(self):
        p = self.worker('worker:credential("SERVICE_TOKEN", { network = { { domain = "api.test.example", transform = { { headers = { Authorization = "Bearer {{credential}}" } } } } } })'
                        'sync(function() http.get("https://api.test.example/"):raise() end)', CONFIG.replace("localhost", "api.test.example"))
        self.fails(p, "credentials", 'a credential has no value: .*"SERVICE_TOKEN" has no value', "^workers env set SERVICE_TOKEN$")

    def test_nobody_has_given_access(self):
        p = self.worker('local account = worker:oauth("account", { name = "Service", clientId = "$ID", clientSecret = "$SECRET", scope = "x",'
                        'authorizationEndpoint = "https://localhost/a", tokenEndpoint = "https://localhost/t" })'
                        'sync(function() return page { account:accessToken() } end)')
        self.fails(p, "access", "nobody has given access yet", "^workers oauth start account$")

    def answers(self, page, options="{}"):
        up = self.upstream()
        up.script("rows", page)
        return self.worker(f'sync(function() return page(http.get("{up.url}/rows", {options}):raise():json()) end)'), up

    def test_statuses(self):
        for status, check, message, remedy in (
                (401, "refused", "does not accept the token", "workers env set NAME, or ask for access again with workers oauth start"),
                (403, "refused", "not allowed to do this", "permission"), (404, "upstream", "does not have what is asked for", "address"),
                (422, "upstream", "refuses the request", "workers runs logs"), (500, "upstream", "the service has failed", "wait")):
            with self.subTest(status):
                p, up = self.answers(Page({"error": "no"}, status=status))
                self.fails(p, check, f"{message}: .*/rows: {status}", remedy)
                self.assertEqual(p.rows("SELECT error_name, error_code, error_status FROM _workers_runs"), [("HttpError", "http_status", status)])
                up.script("rows", ["a"])
                self.ok(p.run("sync", "trigger", "tasks"))
                self.assertEqual(self.doctor(p, "tasks"), {})

    def test_a_rate_limit(self):
        p, up = self.answers(Page({}, status=429, headers=[("Retry-After", "600")]))
        process = p.start("sync", "trigger", "tasks")
        wait_until(lambda: p.store.exists() and up.count("rows") > 0 and "rate limited" in p.run("runs", "logs", p.value("SELECT id FROM _workers_runs")).stdout, "the wait")
        found = self.doctor(p, "tasks", code=0)
        self.assertRegex(found["rate_limit"][1], r"waits.*rate limited; trying again in 600.0 s")
        self.assertIn("pacer", found["rate_limit"][2])
        process.send_signal(signal.SIGINT)
        finish(process)
        found = self.doctor(p, "tasks", code=1)  # tried just now
        self.assertRegex(found["rate_limit"][1], "too many requests: .*429")

    def test_a_rate_limit_in_a_job_is_recorded(self):
        up = self.upstream()
        up.script("rows", Page({}, status=403, headers=[("Retry-After", "600")]))
        p = self.worker(f'worker:job("nightly", {{ title = "N", description = "d", schedule = "manual", execute = function() http.get("{up.url}/rows"):raise() end }})')
        server = Server(p)
        self.post(p, server, "/jobs/nightly")
        wait_until(lambda: p.rows("SELECT 1 FROM _workers_runs WHERE exit_code = 1"), "the run")
        found = self.doctor(p, "nightly", code=1)
        self.assertRegex(found["rate_limit"][1], "too many requests: .*403")

    def post(self, project, server, path):
        url = server.url
        token = (project.folder / ".workers" / "token").read_text().strip()
        request = urllib.request.Request(f"{url}/api/v1/workers/test{path}", data=b"{}", method="POST",
                                         headers={"Authorization": "Bearer " + token, "Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def test_timeouts(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        p, _ = self.answers(Page({}, gate=gate), "{ timeout = 0.05 }")
        self.fails(p, "timeout", "did not answer in time", "smaller pages.*timeout")
        p = self.worker(f'sync(function() workers.sleep(60) end)', CONFIG + "limits: { wall: 1s }\n")
        self.fails(p, "timeout", "execute took longer", "limits.wall")

    def test_limits(self):
        p = self.worker("sync(function() while true do end end)", CONFIG + "limits: { cpu: 100ms }\n")
        self.fails(p, "limit", "a limit was reached: .*CPU", "workers.yaml")

    def test_network(self):
        port = free_port()
        up = self.tls()
        for url, message, remedy, env in (("http://localhost:%d/" % port, "nobody answers", "port", None),
                                          ("http://nowhere.localhost.invalid/", "has no address", "name server", None),
                                          (up, r"cannot be trusted \(TLS\)", "CA certificates", None)):
            with self.subTest(url):
                p = self.worker(f'sync(function() http.get("{url}"):raise() end)',
                                'name: test\nmain: main.lua\npermissions: { net: ["127.0.0.1", "localhost", "nowhere.localhost.invalid"] }\n')
                self.fails(p, "network", message, remedy, env=env)

    def tls(self):
        folder = self.project("").folder
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-keyout",
                        folder / "key.pem", "-out", folder / "cert.pem", "-subj", "/CN=localhost"], check=True, stderr=subprocess.DEVNULL)
        service = HttpService(HttpHandler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        service.socket = context.wrap_socket(service.socket, server_side=True)
        self.addCleanup(service.close)
        return f"https://localhost:{service.server_port}/"

    def test_what_the_script_may_not(self):
        p = self.worker('sync(function() http.get "http://127.0.0.1:9/" end)', 'name: test\nmain: main.lua\npermissions: { net: ["example.com"] }\n')
        self.fails(p, "permissions", "may not connect.*permissions: ", "permissions in workers.yaml")

    def test_no_progress(self):
        p = self.worker('sync(function() return page({}, { hasMore = true, nextState = { at = 1 } }) end)')
        self.ok(p.run("sync", "trigger", "tasks"), 1)
        found = self.doctor(p, "tasks", "--no-probe", code=1)
        self.assertEqual(list(found), ["no_progress"])
        self.assertRegex(found["no_progress"][1], "the cursor did not advance")
        self.assertIn("nextState", found["no_progress"][2])
        # One execute alone does not show it, so that one is not taken for a proof that it works now.
        self.assertEqual(list(self.doctor(p, "tasks", code=1)), ["no_progress"])

    def test_a_page_that_does_not_fit(self):
        p = self.worker('sync(function() return { changes = { { type = "upsert", key = "a", properties = { Name = "a", Points = 1 } } }, hasMore = false } end)')
        self.fails(p, "schema", r'does not fit the declared schema: .*Points', "workers run --preview tasks")
        p = self.worker('sync(function() return { changes = {} } end)')
        self.fails(p, "schema", "does not fit.*hasMore", "workers run --preview tasks")

    def test_the_shape_of_the_state_has_changed(self):
        body = "sync(function(state) return page({}, { nextState = STATE }) end)"
        p = self.worker(body.replace("STATE", "{ cursor = 'a' }"))
        self.ok(p.run("sync", "trigger", "tasks"))
        p.write("main.lua", HEAD + body.replace("STATE", "{ position = { at = ((state or { position = { at = 1 } }).position.at) + 1 } }") + "\nreturn worker\n")
        self.ok(p.run("sync", "trigger", "tasks"), 1)
        found = self.doctor(p, "tasks", code=1)
        self.assertEqual(list(found), ["state"])
        self.assertRegex(found["state"][1], "its shape has changed, .*field 'position'")
        self.assertIn("workers sync state reset tasks", found["state"][2])
        self.ok(p.run("sync", "state", "reset", "tasks"))
        self.assertEqual(self.doctor(p, "tasks", code=0)["run"][2], "workers sync trigger tasks")

    def test_the_service_does_not_take_the_state_any_more(self):
        up = self.upstream()
        up.script("rows/old", Page({"error": "the cursor has expired"}, status=410))
        up.script("rows/", [])
        p = self.worker(f'sync(function(state) return page(http.get("{up.url}/rows/" .. (state or "")):raise():json(), {{ nextState = "old" }}) end)')
        self.ok(p.run("sync", "trigger", "tasks"))
        self.ok(p.run("sync", "trigger", "tasks"), 1)
        found = self.doctor(p, "tasks", code=1)
        self.assertEqual(list(found), ["state"])
        self.assertRegex(found["state"][1], "does not take it any more: .*410.*the cursor has expired")
        self.assertIn("workers sync state reset tasks", found["state"][2])

    def test_a_replace_sync_is_tried_from_its_beginning(self):
        up = self.upstream()
        p = self.worker(f'sync(function(state) http.get("{up.url}/" .. (state and state.page or 1)):raise()'
                        'return page({ "a" }, { hasMore = not state, nextState = { page = 2 } }) end, { mode = "replace" })')
        up.script("1", {})
        up.script("2", Page({}, status=500))
        self.ok(p.run("sync", "trigger", "tasks"), 1)
        self.assertIn("/2: 500", self.doctor(p, "tasks", code=1)["upstream"][1])
        self.assertEqual((up.count("1"), up.count("2")), (1, 2))
        up.script("2", {})
        self.ok(p.run("sync", "trigger", "tasks"))
        self.assertEqual(self.doctor(p, "tasks"), {})
        self.assertEqual(up.count("1"), 2)

    def test_a_mistake_of_the_script(self):
        p = self.worker('sync(function() error "no such luck" end)')
        self.fails(p, "script", "no such luck", "^workers runs get [0-9a-f-]{36}$")
        self.assertEqual(p.run("doctor", "tasks").stdout.count("no such luck"), 1, "it is told once")
        (p.folder / "main.lua").write_text((p.folder / "main.lua").read_text().replace("no such luck", "other luck"))
        self.assertRegex(p.run("doctor", "tasks").stdout, "(?s)the last run failed: .*no such luck.*tried just now: .*other luck")

    def test_a_script_that_does_not_load(self):
        p = self.worker("sync(")
        found = self.doctor(p, "tasks", code=1)
        self.assertRegex(found["script"][1], r"cannot be loaded: main.lua:\d+")
        self.assertEqual(self.doctor(p, code=1)["script"][1:], found["script"][1:])

    def test_sweeps(self):
        up = self.upstream()
        many = [f"r{i}" for i in range(40)]
        p = self.worker(f'sync(function() return page(http.get("{up.url}/rows"):raise():json()) end, {{ mode = "replace", sweep = {{ minRows = 10 }} }})')
        for rows, check, message in (([], "empty", "nothing came back.*returned no rows"), (["r1"], "held", "waits for your word: .*39 of 40 rows")):
            up.script("rows", many)
            self.ok(p.run("sync", "trigger", "tasks"))
            self.assertEqual(self.doctor(p, "tasks"), {})
            up.script("rows", rows)
            self.ok(p.run("sync", "trigger", "tasks"))
            found = self.doctor(p, "tasks", code=1)
            self.assertEqual(list(found), [check])
            self.assertRegex(found[check][1], message)
            self.assertIn("workers sync trigger tasks --allow-deletes", found[check][2])

    def test_paused(self):
        p = self.worker("sync(function() return page {} end)")
        self.ok(p.run("sync", "pause", "tasks"))
        found = self.doctor(p, "tasks", code=0)
        self.assertEqual(list(found), ["disabled"])
        self.assertEqual(found["disabled"][2], "workers sync resume tasks")
        self.ok(p.run("sync", "resume", "tasks"))
        self.assertEqual(self.doctor(p, "tasks"), {})

    def test_due_and_no_server(self):
        p = self.worker('sync(function() return page({}, { nextState = {} }) end, { schedule = "1h" })')
        server = Server(p)
        wait_until(lambda: server.url and p.rows("SELECT 1 FROM _workers_runs WHERE exit_code = 0"), "the first run")
        server.stop()
        self.assertEqual(self.doctor(p, "tasks"), {})
        with p.database() as store:
            store.execute("UPDATE _workers_schedules SET next_at = next_at - 7200000, retry_at = NULL, triggered_at = NULL")
            store.commit()
        found = self.doctor(p, "tasks", code=0)
        self.assertRegex(found["server"][1], r"due for \d+ min, and no server runs")
        self.assertEqual(found["server"][2], "workers serve")

    def test_it_goes_on_after_a_rate_limit(self):
        p, up = self.answers(None)
        up.script("rows", Page({}, status=429), [])
        self.ok(p.run("sync", "trigger", "tasks"))
        self.assertEqual(up.count("rows"), 2)
        with p.database() as store:
            store.execute("UPDATE _workers_runs SET exit_code = 130")
            store.commit()
        self.assertIn("rate limited", p.run("runs", "logs", p.value("SELECT id FROM _workers_runs")).stdout)
        self.assertEqual(self.doctor(p, "tasks"), {})

    def test_somebody_else_runs_it(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        p, up = self.answers(Page(["a"], gate=gate))
        process = p.start("sync", "trigger", "tasks")
        wait_until(lambda: up.count("rows") > 0, "the request")
        found = self.doctor(p, "tasks", code=0)
        self.assertEqual(list(found), ["lease"])
        self.assertIn(f"in process {process.pid}", found["lease"][1])
        self.assertIn(f"kill {process.pid}", found["lease"][2])
        gate.set()
        self.assertEqual(finish(process)[0], 0)
        self.assertEqual(self.doctor(p, "tasks"), {})

    def test_a_process_that_was_killed(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        p, up = self.answers(Page(["a"], gate=gate))
        process = p.start("sync", "trigger", "tasks")
        wait_until(lambda: up.count("rows") > 0, "the request")
        process.kill()
        finish(process)
        gate.set()
        up.script("rows", Page({}, status=500))
        self.ok(p.run("sync", "trigger", "tasks"), 1)
        with p.database() as store:
            store.execute("DELETE FROM _workers_runs WHERE error_status = 500")
            store.commit()
        found = self.doctor(p, "tasks", "--no-probe", code=1)
        self.assertRegex(found["process"][1], "the process ended before the run did")
        self.assertIn("journalctl", found["process"][2])

    @unittest.skipUnless(os.environ.get("WORKERS_FAILING_WRITES"), "WORKERS_FAILING_WRITES does not name the library")
    def test_the_disk_is_full(self):
        p = self.worker('local i = 0 sync(function() local keys = {} for n = 1, 500 do keys[n] = n .. ("x"):rep(2000) end return page(keys) end)')
        self.ok(p.run("sync", "pause", "tasks"))
        self.ok(p.run("sync", "resume", "tasks"))
        full = p.folder / "full"
        env = {"LD_PRELOAD": os.environ["WORKERS_FAILING_WRITES"], "FAILING_WRITES_WHILE": str(full), "FAILING_WRITES_ERRNO": "28",
               "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")}
        full.touch()
        for args in (("tasks", "--no-probe"), ()):
            found = self.doctor(p, *args, env=env, code=1)
            self.assertRegex(found["store"][1], "cannot be written to: No space left on device")
            self.assertIn("free some space", found["store"][2])
        full.unlink()
        self.assertEqual(self.doctor(p, env=env), {})

    def test_records_of_earlier_versions(self):
        """They have no words about the failure: messages are all there is."""
        p, _ = self.answers(Page({}, status=401))
        self.ok(p.run("sync", "trigger", "tasks"), 1)
        with p.database() as store:
            store.execute("UPDATE _workers_runs SET error_name = NULL, error_code = NULL, error_status = NULL")
            store.commit()
        self.assertIn("does not accept the token", self.doctor(p, "tasks", "--no-probe", code=1)["refused"][1])

    def test_names_of_errors_are_not_secrets(self):
        p = self.worker('sync(function() error { name = env.SECRET, code = env.SECRET, message = "no" } end)')
        self.ok(p.run("sync", "trigger", "tasks", env={"SECRET": "s3cret-token-abcdef"}), 1)
        self.assertEqual(p.rows("SELECT error_name, error_code, error_status FROM _workers_runs"), [("Error", None, None)])

    # ---- the probe ----

    def test_a_probe_changes_nothing(self):
        up = self.upstream()
        up.script("rows", ["a"])
        p = self.worker(f'sync(function() http.post("{up.url}/rows", {{ json = {{}} }}):raise() return page {{}} end)')
        result = self.ok(p.run("doctor", "tasks"))
        self.assertIn("ok    probe: not tried to its end", result.stdout)
        self.assertEqual(up.count("rows"), 0)
        p = self.worker(f'sync(function() print "said" return page(http.get("{up.url}/rows"):json(), {{ nextState = {{ n = 1 }} }}) end)')
        result = self.ok(p.run("doctor", "tasks"))
        self.assertEqual(result.stdout, "ok    run: no run is recorded\nok    probe: execute works: tried just now, without writing anything\n")
        self.assertEqual(result.stderr, "")
        self.assertEqual(up.count("rows"), 1)
        self.assertFalse(p.store.exists() and p.rows("SELECT 1 FROM _workers_runs"))

    # ---- other capabilities ----

    def test_jobs_and_webhooks(self):
        p = self.worker('worker:job("nightly", { title = "N", description = "d", schedule = "manual", execute = function() env.require "JOB_TOKEN" end })\n'
                        'worker:webhook("hook", { title = "H", description = "d", verify = require "workers.webhooks".github { secret = "HOOK_SECRET" }, execute = function() end })')
        server = Server(p)
        self.post(p, server, "/jobs/nightly")
        wait_until(lambda: p.rows("SELECT 1 FROM _workers_runs WHERE exit_code = 1"), "the run")
        self.assertEqual(self.doctor(p, "nightly", code=1)["credentials"][2], "workers env set JOB_TOKEN")
        with p.database() as store:
            store.execute("UPDATE _workers_deliveries SET state = 'dead', ended_at = 1")
            store.commit()
        delivery = p.value("SELECT id FROM _workers_deliveries")
        self.assertEqual(self.doctor(p, "nightly", code=1)["deliveries"][2], f"workers deliveries replay {delivery}")
        for _ in range(5):
            p.run("webhooks", "send", "hook", "-d", "{}", "--header", "X-Hub-Signature-256: sha256=00")
        wait_until(lambda: "closed" in p.run("webhooks", "list").stdout, "five refusals")
        found = self.doctor(p, "hook", code=1)
        self.assertIn("workers webhooks reset hook", found["webhook"][2])
        self.ok(p.run("capabilities", "disable", "nightly"))
        self.assertEqual(self.doctor(p, "nightly")["disabled"][2], "workers capabilities enable nightly")

    def test_a_key_that_is_not_there(self):
        p = self.worker("sync(function() end)")
        result = self.ok(p.run("doctor", "taks"), 1)
        self.assertIn('the worker has no capability "taks": workers capabilities list shows them', result.stderr)
        self.assertIn("workers doctor KEY --server URL", self.ok(p.run("doctor", "--server", "http://127.0.0.1:1"), 2).stderr)

    # ---- the same of a server ----

    def test_a_server_is_asked_the_same(self):
        up = self.upstream()
        p = self.worker(f'sync(function() return page(http.get("{up.url}/rows"):raise():json()) end)')
        server = Server(p)
        elsewhere = self.project()
        token = self.ok(p.run("tokens", "make", "t", "--scope", "run")).stdout.strip()
        reader = self.ok(p.run("tokens", "make", "r", "--scope", "read")).stdout.strip()
        wait_until(lambda: elsewhere.run("sync", "status", "--server", server.url, env={"WORKERS_TOKEN": reader}).returncode == 0, "the tokens")
        for pages in (Page({}, status=401), Page({}, status=500), Page(["a"])):
            up.script("rows", pages)
            p.run("sync", "trigger", "tasks")
            here = self.doctor(p, "tasks")
            there = self.doctor(elsewhere, "tasks", "--server", server.url, env={"WORKERS_TOKEN": token})
            self.assertEqual(here, there)
            self.assertEqual(bool(here), pages.status != 200)
            only_read = elsewhere.run("doctor", "tasks", "--server", server.url, env={"WORKERS_TOKEN": reader})
            self.assertEqual(only_read.returncode, 1 if here else 0)
            self.assertRegex(only_read.stdout, r"ok    probe: not tried: .*scope")

    # ---- the installation ----

    def test_the_installation(self):
        p = self.worker("sync(function() return page {} end)")
        result = self.ok(p.run("doctor"))
        version = self.ok(p.run("version")).stdout.strip()
        self.assertEqual(result.stdout.split("\n")[0], f"ok    version: {version}")
        self.assertRegex(result.stdout, r"\nok    sqlite: SQLite 3\.\d+\.\d+\nok    libcurl: libcurl \d+\.\d+\.\d+\S*\nok    openssl: OpenSSL 3\.")
        self.assertFalse((p.folder / ".workers").exists(), "it has made a store")
        self.ok(p.run("run"))
        self.ok(p.run("env", "set", "A=b"))
        result = self.ok(p.run("doctor"))
        self.assertRegex(result.stdout, "\nok    integrity: .*\nok    key: it opens what is sealed: 1 variables\n")
        self.assertEqual(sorted(p.folder.glob(".workers/doctor*")), [])

    def test_permissions(self):
        p = self.worker("sync(function() return page {} end)")
        self.ok(p.run("env", "set", "A=b"))
        p.write(".env", "B=c\n")
        for path, mode, level in ((".workers", 0o700, "warn"), (".workers/key", 0o600, "fail"), (".env", 0o600, "warn")):
            (p.folder / ".env").chmod(0o600)
            self.assertEqual(self.doctor(p), {})
            (p.folder / path).chmod(mode | 0o44)
            found = self.doctor(p, code=1 if level == "fail" else 0)
            self.assertEqual(found["permissions"], (level, f"{path} can be read by others (mode {mode | 0o44:03o})", f"chmod {mode:o} {path}"))
            (p.folder / path).chmod(mode)

    def test_the_key(self):
        p = self.worker("sync(function() return page {} end)")
        self.ok(p.run("env", "set", "A=b"))
        key = p.folder / ".workers" / "key"
        good = key.read_bytes()
        for bad, message in ((None, "key is missing"), (bytes(32), "is another key"), (b"short", "is not a key of 32 bytes")):
            key.unlink() if bad is None else key.write_bytes(bad)
            found = self.doctor(p, code=1)
            self.assertIn(message, found["key"][1])
            self.assertIn("workers env rotate-key --forget", found["key"][2])
            key.write_bytes(good)
            key.chmod(0o600)
        with p.database() as store:
            store.execute("UPDATE _workers_secrets SET sealed = zeroblob(length(sealed))")
            store.commit()
        self.assertIn("A cannot be opened: set it again with workers env set A", self.doctor(p, code=1)["key"][1])

    def test_a_damaged_store(self):
        p = self.worker('sync(function() local keys = {} for i = 1, 3000 do keys[i] = "key " .. i end return page(keys) end)')
        self.ok(p.run("run"))
        with p.database() as store:
            store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            root = store.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'rows'").fetchone()[0]
            size = store.execute("PRAGMA page_size").fetchone()[0]
        with open(p.store, "r+b") as file:
            file.seek((root - 1) * size)
            file.write(b"\xff" * 200)
        found = self.doctor(p, code=1)
        self.assertRegex(found["integrity"][1], "the store is damaged: ")
        self.assertIn("backup", found["integrity"][2])

    def test_a_damaged_log(self):
        p = self.worker("sync(function() print 'here' return page {} end)")
        self.ok(p.run("run"))
        self.assertEqual(self.doctor(p, code=0), {})
        log = p.folder / ".workers" / "logs.db"
        for damaged in (b"no database" * 1000, log.read_bytes()[:8192] + b"\xff" * 8192):
            log.write_bytes(damaged)
            found = self.doctor(p, code=0)
            self.assertEqual(list(found), ["logs"])
            self.assertRegex(found["logs"][1], "^the log lines of runs are lost, .*damaged: ")
        log.unlink()
        self.assertEqual(self.doctor(p, code=0), {})
        self.assertFalse(log.exists(), "it has made one")

    def test_a_store_of_a_newer_version(self):
        p = self.worker("sync(function() return page {} end)")
        self.ok(p.run("run"))
        with p.database() as store:
            store.execute("UPDATE _workers_meta SET value = value + 1 WHERE name = 'schema_version'")
            store.commit()
        self.assertEqual(self.doctor(p, code=1)["store"][2], "install that version of workers")

    def test_tables_that_cannot_follow(self):
        p = self.worker("sync(function() return page { 'abc' } end)")
        self.ok(p.run("run"))
        p.write("main.lua", (p.folder / "main.lua").read_text().replace("Name = Schema.title()", "Name = Schema.title(), Note = Schema.richText()")
                .replace("properties = { Name = key }", "properties = { Name = key, Note = 'words' }"))
        self.ok(p.run("run"))
        p.write("main.lua", (p.folder / "main.lua").read_text().replace("Note = Schema.richText()", "Note = Schema.number()"))
        for args in ((), ("tasks", "--no-probe")):
            found = self.doctor(p, *args, code=1)
            self.assertIn("Note", found["schema"][1])
            self.assertIn("workers db schema", found["schema"][2])

    @unittest.skipUnless(os.environ.get("WORKERS_MOVED_CLOCK"), "WORKERS_MOVED_CLOCK does not name the library")
    def test_the_clock(self):
        p = self.worker("sync(function() return page {} end)")
        self.ok(p.run("run"))
        offset = p.folder / "offset"
        env = {"LD_PRELOAD": os.environ["WORKERS_MOVED_CLOCK"], "MOVED_CLOCK": str(offset),
               "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")}
        offset.write_bytes(struct.pack("<q", -3600 * 1000))
        found = self.doctor(p, env=env, code=0)
        self.assertRegex(found["clock"][1], r"it was set back: the last run began (35|36)\d\d s later than now")
        offset.write_bytes(struct.pack("<q", -20 * 365 * 86400 * 1000))
        result = p.run("doctor", env=env)
        self.assertRegex(result.stdout, r"fail  clock: it cannot be 20\d\d-.*\n      set it")

    def test_zones_and_certificates(self):
        p = self.worker("sync(function() return page {} end)")
        empty = p.folder / "empty"
        empty.mkdir()
        found = self.doctor(p, env={"TZDIR": str(empty), "SSL_CERT_FILE": str(empty / "none.pem")}, code=1)
        self.assertIn("tzdata", found["time_zones"][2])
        self.assertIn("SSL_CERT_FILE", found["certificates"][2])

    def test_the_project_file(self):
        p = self.worker("sync(function() return page {} end)", CONFIG + "mian: other.lua\n")
        self.assertRegex(self.doctor(p, code=1)["project"][1], r'workers.yaml.*"mian"')
        (p.folder / "workers.yaml").write_text(CONFIG)
        (p.folder / "main.lua").rename(p.folder / "other.lua")
        found = self.doctor(p, code=1)
        self.assertEqual(list(found), ["script"])
        self.assertRegex(found["script"][1], "there is no script .*/main.lua")
        self.assertEqual(found["script"][2], "make the file, or change main in workers.yaml")
        (p.folder / "workers.yaml").unlink()
        self.assertEqual(self.doctor(p, code=0)["project"][0], "warn")

    def test_a_script_alone(self):
        """It needs no workers.yaml, and nothing is wrong without one."""
        p = self.worker("sync(function() return page {} end)")
        (p.folder / "workers.yaml").unlink()
        self.ok(p.run("run", "main.lua"))
        self.assertEqual(self.doctor(p, code=0), {})
        self.assertEqual(self.doctor(p, "tasks", code=1)["script"][2], "write a workers.yaml with main: SCRIPT")

    def test_servers(self):
        p = self.worker("sync(function() return page {} end)")
        server = Server(p)
        self.assertIn(f"ok    server: {server.url}, of the same version\n", self.ok(p.run("doctor")).stdout)
        up = self.upstream()
        up.script("api/v1/openapi.json", {"info": {"version": "9.8.7"}})
        place = p.folder / ".workers" / "server"
        server.stop()
        self.assertIn("ok    server: none serves this project", self.ok(p.run("doctor")).stdout)
        place.write_text(f"{os.getpid()}\n{up.url}\n")
        self.assertRegex(self.doctor(p, code=0)["server"][1], "is workers 9.8.7, and this is ")
        place.write_text(f"{os.getpid()}\nhttp://127.0.0.1:{free_port()}\n")
        self.assertRegex(self.doctor(p, code=1)["server"][1], "one runs, but does not answer")

    # ---- no false alarm ----

    def test_what_is_well(self):
        """Nothing is wrong with the projects of the repository, nor with those of their capabilities that have run without an error."""
        projects = capabilities = 0
        for name, project in self.healthy():
            with project, self.subTest(name):
                self.assertEqual(self.doctor(project), {})
                projects += 1
                if "https://" in (project.folder / "main.lua").read_text() or project.run("run", timeout=120).returncode != 0:
                    continue  # it needs what is not here
                for capability in json.loads(project.run("capabilities", "list", "--json").stdout):
                    self.assertEqual(self.doctor(project, capability["key"]), {})
                    capabilities += 1
                self.assertEqual(self.doctor(project), {})
        self.assertGreaterEqual(projects, 20)
        self.assertGreaterEqual(capabilities, 12)

    def healthy(self):
        project = Project("")
        self.ok(project.run("new", "demo"))
        shutil.copytree(project.folder / "demo", project.folder, dirs_exist_ok=True)
        yield "template", project
        for example in sorted(path.parent for path in (REPOSITORY / "examples").rglob("workers.yaml")):
            project = Project("")
            shutil.copytree(example, project.folder, dirs_exist_ok=True)
            yield example.name, project
        for page in sorted((REPOSITORY / "docs").rglob("*.md")):
            for block in test_docs.read_blocks(page):
                script = block.text
                if "declare" in block.markers:
                    script = test_docs.PRELUDE + test_docs.DECLARED + script + "\nreturn worker\n"
                if block.language != "lua" or not script.rstrip().endswith("return worker"):
                    continue
                project = Project(script)
                if project.run("check").returncode == 0:
                    yield block.where, project
                else:
                    project.close()  # it is a part of something


if __name__ == "__main__":
    main()
