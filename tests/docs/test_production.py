"""Follows docs/production.md: its blocks are read out of the page and run, with the folders of the page mapped to a test's.

Python's standard library and sqlite3's program. WORKERS_BIN names the binary.
"""
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import re
import shutil
import ssl
import stat
import subprocess
import sys
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "support"))
import harness  # noqa: E402

SCRIPT = """
local workers, log, env = require "workers", require "workers.log", require "workers.env"
local worker, Schema = workers.new(), workers.schema
local items = worker:database("items", { type = "managed", initialTitle = "Items", primaryKeyProperty = "Key",
  schema = { properties = { Name = Schema.title(), Key = Schema.richText() } } })
worker:sync("grows", { database = items, mode = "incremental", schedule = "continuous", execute = function(state)
  local number = (state and state.number or 0) + 1
  log.info("row " .. number)
  return { hasMore = number % 10 ~= 0, nextState = { number = number },
    changes = { { type = "upsert", key = tostring(number), properties = { Name = "row" } } } }
end })
worker:webhook("signed", { title = "Signed", description = "d", execute = function() end,
  verify = require "workers.webhooks".github { secret = function() return env.require "API_TOKEN" end } })
worker:webhook("hook", { title = "Hook", description = "d", execute = function() end })
worker:tool("length", { title = "T", description = "d", schema = workers.j.object {},
  execute = function() return #env.require "API_TOKEN" end })
return worker
"""


NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")


def blocks(heading, language="sh"):
    """The blocks of one section of the page, of one language."""
    page = (REPOSITORY / "docs" / "production.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.M | re.S)[1]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.M | re.S)


class Production(harness.TestCase):
    def setUp(self):
        if not shutil.which("sqlite3"):
            self.skipTest("sqlite3 is not installed")
        self.site = self.project(SCRIPT)
        self.backups = self.site.folder / "backup"
        tools = self.site.folder / "bin"
        tools.mkdir()
        # There is no systemd to ask; what it was asked is kept.
        (tools / "systemctl").write_text(f"#!/bin/sh\necho \"$*\" >> '{self.site.folder}/asked'\n", encoding="utf-8")
        (tools / "systemctl").chmod(0o755)
        self.path = f"{tools}:/usr/bin:/bin"

    def follow(self, block):
        """Runs a block as it is written, but for its folders and its user, which tests do not have."""
        text = block.replace("/var/lib/workers/my-worker", str(self.site.folder)).replace("/backup", str(self.backups))
        text = text.replace(" -o workers -g workers", "")
        done = subprocess.run(["bash", "-euc", text], env={"PATH": self.path}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, encoding="utf-8", timeout=60)
        self.assertEqual((done.returncode, done.stdout), (0, ""), text)

    def last(self):
        """The number that the sync has come to."""
        return self.site.value("SELECT count(*) FROM items")

    def logged(self):
        """How many lines are in logs.db, whose table is made with the first of them."""
        made = self.site.rows("SELECT count(*) FROM sqlite_master WHERE name = '_workers_logs'", name="logs.db")[0][0]
        return self.site.rows("SELECT count(*) FROM _workers_logs", name="logs.db")[0][0] if made else 0

    def grown(self, than):
        return harness.wait_until(lambda: self.last() > than and self.last(), f"more than {than} rows")

    def test_backup_and_restore(self):
        backup, restore = blocks("Backup")
        self.ok(self.site.run("env", "set", "API_TOKEN", input="twelve bytes"))
        server = harness.Server(self.site)
        address = server.webhook("hook")[1]
        harness.wait_until(lambda: self.site.value("SELECT count(*) FROM sqlite_master WHERE name = 'items'"), "the table")
        before = self.grown(0)
        self.ok(self.site.run("webhooks", "send", "hook", "-d", "{}"))
        harness.wait_until(self.logged, "lines in logs.db")
        self.follow(backup)
        after = self.grown(self.last())
        self.assertEqual(server.stop(), 0, server.text())
        end = self.last()

        self.follow(restore)
        self.assertEqual((self.site.folder / "asked").read_text().split("\n"), ["stop workers", "start workers", ""])
        kept = self.site.folder / ".workers"
        self.assertEqual(stat.S_IMODE(kept.stat().st_mode), 0o700)
        self.assertEqual({file.name for file in kept.iterdir()}, {"worker.db", "logs.db", "key"})
        restored = self.last()
        self.assertTrue(before <= restored < after <= end, (before, restored, after, end))
        self.assertEqual(self.site.rows("SELECT count(*) FROM _workers_deliveries"), [(1,)])
        self.assertGreater(self.logged(), 0)

        server = harness.Server(self.site)
        self.assertEqual(server.webhook("hook")[1], address)
        self.grown(restored)
        self.assertEqual(json.loads(self.ok(self.site.run("exec", "length")).stdout), 12)
        self.assertEqual(server.stop(), 0, server.text())

    def test_a_newer_store_is_refused_and_left_alone(self):
        self.ok(self.site.run("env", "set", "API_TOKEN", input="twelve bytes"))
        known = int(self.site.value("SELECT value FROM _workers_meta WHERE name = 'schema_version'"))
        with self.site.database() as store:
            store.execute("UPDATE _workers_meta SET value = ? WHERE name = 'schema_version'", (str(known + 1),))
            store.commit()
        before = self.site.dump()
        refused = self.site.run("env", "list")
        self.assertEqual(refused.returncode, 1, refused.stdout)
        self.assertIn(f"the store was written by a newer version of workers (format {known + 1}, this one knows {known}): "
                      "use that version", refused.stderr)
        self.assertEqual(self.site.dump(), before)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
    def test_the_unit_is_one_that_systemd_takes(self):
        unit = (REPOSITORY / "docs" / "workers.service").read_text(encoding="utf-8")
        place = self.site.write("workers.service", unit.replace("/usr/bin/workers", harness.BINARY))
        done = subprocess.run(["systemd-analyze", "verify", str(place)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              encoding="utf-8", timeout=60)
        # Of other units of the machine nothing is asked.
        told = [line for line in done.stdout.splitlines() if "workers.service" in line]
        self.assertEqual((done.returncode, told), (0, []), done.stdout)

    @unittest.skipUnless(NGINX and shutil.which("openssl"), "nginx is not installed; its package would start a server")
    def test_a_proxy_in_front(self):
        self.ok(self.site.run("env", "set", "API_TOKEN", input="twelve bytes"))
        inner, port = harness.free_port(), harness.free_port()
        server = harness.Server(self.site, "--url", "https://workers.example.com", port=inner)
        address = server.webhook("signed")
        self.assertEqual(address[0], "workers.example.com")

        # The block as it is, but for its ports and the place of the certificate.
        folder = self.site.folder
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=workers.example.com",
                        "-addext", "subjectAltName=DNS:workers.example.com", "-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"],
                       check=True, stderr=subprocess.DEVNULL)
        block, = blocks("A proxy in front", "text")
        block = block.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl").replace("127.0.0.1:8321", f"127.0.0.1:{inner}")
        block = block.replace("# location /views/", "location /views/")
        block = block.replace("/etc/letsencrypt/live/workers.example.com", str(folder))
        places = " ".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        self.site.write("nginx.conf", f"daemon off; {'user root; ' if os.getuid() == 0 else ''}pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n"
                                      f"events {{}}\nhttp {{ access_log off; {places}\n{block}\n}}\n")
        nginx = subprocess.Popen([NGINX, "-c", folder / "nginx.conf", "-p", folder], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        self.addCleanup(nginx.wait)
        self.addCleanup(nginx.terminate)
        trust = ssl.create_default_context(cafile=folder / "fullchain.pem")

        class Connection(http.client.HTTPSConnection):
            def connect(self):
                http.client.HTTPConnection.connect(self)
                self.sock = trust.wrap_socket(self.sock, server_hostname="workers.example.com")

        policies = []

        def ask(method, path, body=None, headers=None):
            connection = Connection("127.0.0.1", port, timeout=30)
            try:
                connection.request(method, path, body, {"Host": "workers.example.com", **(headers or {})})
                answer = connection.getresponse()
                policies.append(answer.headers["Content-Security-Policy"])
                return answer.status
            except ConnectionError:
                return None
            finally:
                connection.close()

        def deliver(body, signed=True):
            digest = hmac.new(b"twelve bytes" if signed else b"other", body, hashlib.sha256).hexdigest()
            return ask("POST", address[1], body, {"X-Hub-Signature-256": "sha256=" + digest})

        harness.wait_until(lambda: ask("GET", "/") is not None, "nginx")
        self.assertEqual([deliver(b"{}"), deliver(b"{}", signed=False), deliver(b"x" * 24 * 2**20)], [202, 401, 202])
        self.assertEqual(ask("GET", "/api/v1/workers"), 404)  # not passed on
        self.assertEqual(ask("GET", "/views/any/board/"), 200)
        self.assertIn("script-src workers.example.com/views/viewer.js;", policies[-1])
        self.assertIn(deliver(b"x" * 26 * 2**20), (413, None))
        self.assertEqual(server.stop(), 0, server.text())
        self.assertEqual(self.site.value("SELECT count(*) FROM _workers_deliveries"), 2)
        self.assertEqual(ask("POST", address[1]), 502)


if __name__ == "__main__":
    harness.main()
