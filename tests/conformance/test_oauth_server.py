"""OAuth through workers serve, against npm's certified oidc-provider: people come back to the server, whoever started it."""
import concurrent.futures
import json
import pathlib
import re
import signal
import socket
import sys
import unittest
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import harness  # noqa: E402
from oauth_provider import SECRETS, Provider, visit  # noqa: E402

SCRIPT = """
local workers = require "workers"
local j = workers.j
local worker = workers.new()
local url = "URL"
local function person(key, more)
  local options = { name = "The provider", authorizationEndpoint = url .. "/auth", tokenEndpoint = url .. "/token", revocationEndpoint = url .. "/token/revocation",
    scope = "openid offline_access", authorizationParams = { prompt = "consent" } }
  for name, value in pairs(more) do options[name] = value end
  return worker:oauth(key, options)
end
local handles = {
  body = person("body", { clientId = "body", clientSecret = "$BODY_SECRET" }),
  public = person("public", { clientId = "public" }),
  elsewhere = person("elsewhere", { clientId = "public", callbackUrl = "https://example.com/oauth/callback" }),
  nowhere = person("nowhere", { clientId = "public", callbackUrl = "http://127.0.0.1:8322/come/back" }),
  outside = worker:oauth("outside", { issuer = "https://issuer.example.com", clientId = "x" }),
  beyond = worker:oauth("beyond", { tokenEndpoint = "https://token.example.com/token", clientId = "x", grant = "client" }),
  machine = worker:oauth("machine", { name = "The provider", tokenEndpoint = url .. "/token", clientId = "machine", clientSecret = "$MACHINE_SECRET",
    clientAuth = "basic", grant = "client" }),
  device = worker:oauth("device", { name = "The provider", tokenEndpoint = url .. "/token", deviceAuthorizationEndpoint = url .. "/device/auth",
    clientId = "device", grant = "device", scope = "openid offline_access" }),
}
worker:tool("who", { title = "Who", description = "Whom a token stands for.", schema = j.object { key = j.string() }, execute = function(input)
  return require("workers.http").get(url .. "/me", { auth = { bearer = handles[input.key]:accessToken() } }):raise():json().sub
end })
return worker
"""
GONE = "This is not the answer to a request that waits here"


class OauthServerTest(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        if not harness.BINARY:
            raise unittest.SkipTest("WORKERS_BIN does not name the binary")
        cls.provider = Provider()
        cls.p = harness.Project(SCRIPT.replace("URL", cls.provider.url), 'name: shop.one\nmain: main.lua\npermissions:\n  net: ["127.0.0.1"]\n')
        done = cls.p.run("env", "set", *(f"{name}={value}" for name, value in SECRETS.items()))
        assert done.returncode == 0, done.stderr
        cls.server = harness.Server(cls.p, "--processes", "2")
        cls.url = cls.server.url
        cls.token = cls.p.run("tokens", "make", "admin", "--scope", "admin").stdout.strip()
        cls.elsewhere = harness.Project(config="")
        (cls.elsewhere.folder / "workers.yaml").unlink()
        for _ in range(8):  # until each process knows the token
            harness.wait_until(lambda: cls.there("oauth", "status").returncode == 0, lambda: cls.there("oauth", "status").stderr)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        assert "Sanitizer" not in cls.server.text(), cls.server.text()
        cls.p.close()
        cls.elsewhere.close()
        cls.provider.close()

    def setUp(self):
        self.provider.reset()
        self.addCleanup(self.p.run, "oauth", "revoke", "body")
        self.addCleanup(self.p.run, "oauth", "revoke", "public")

    @classmethod
    def there(cls, *args):
        """A command on the server, from a folder that has no project."""
        return cls.elsewhere.run(*args, "--server", cls.url, env={"WORKERS_TOKEN": cls.token})

    def begin(self, key):
        """Starts the command; it, and what it prints first."""
        process = self.elsewhere.start("oauth", "start", key, "--server", self.url, env={"WORKERS_TOKEN": self.token})
        return process, process.stdout.readline().strip()

    def call(self, method, path):
        request = urllib.request.Request(f"{self.url}/api/v1/workers/shop.one{path}", b"" if method == "POST" else None,
                                         {"Authorization": "Bearer " + self.token}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def comes(self, query):
        """A browser that is sent to the server; status and page."""
        try:
            with urllib.request.urlopen(f"{self.url}/oauth/callback?{query}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def at_socket(self, path, method, route, token):
        """The answer; None while nobody listens, or the token is not known yet."""
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(str(path)) != 0:
                return None
            client.sendall(f"{method} /api/v1/workers/inside/oauth/{route} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n"
                           f"Authorization: Bearer {token}\r\n\r\n".encode())
            answer = client.makefile("rb").read().decode()
            return None if "HTTP/1.1 401 " in answer else answer

    def state_of(self, address):
        return urllib.parse.parse_qs(urllib.parse.urlsplit(address).query)["state"][0]

    def who(self, key):
        return json.loads(self.ok(self.there("exec", "who", "-d", json.dumps({"key": key}))).stdout)

    def status(self, key):
        return next(row for row in json.loads(self.ok(self.there("oauth", "status", "--json")).stdout) if row["key"] == key)

    # ---- access is given ----

    def test_a_person_comes_back_to_the_server(self):
        for turn in range(4):  # to either process
            key = ("body", "public")[turn % 2]
            process, address = self.begin(key)
            asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(address).query))
            self.assertEqual((asked["redirect_uri"], asked["code_challenge_method"]), (self.url + "/oauth/callback", "S256"))
            self.assertRegex(asked["state"], r"^shop\.one\.[\w-]{43}$")
            came, said, headers = visit(address)
            self.assertIn("<p>Access was given. You can close this page.</p>", said)
            self.assertEqual((headers["Content-Security-Policy"], headers["Referrer-Policy"], headers["Cache-Control"]), ("default-src 'none'", "no-referrer", "no-store"))
            code, _, err = harness.finish(process)
            self.assertEqual((code, err.splitlines()[-1]), (0, f"{key}: access to The provider is kept, sealed; scripts get it with accessToken()"), err)
            self.assertEqual((self.who(key), self.status(key)["state"]), ("ada", "good"))
            # The same answer a second time: nothing changes, and no token is lost.
            before = self.p.rows("SELECT * FROM _workers_grants"), self.p.rows("SELECT * FROM _workers_access")
            status, page = self.comes(urllib.parse.urlsplit(came).query)
            self.assertEqual(status, 400)
            self.assertIn(GONE, page)
            self.assertEqual((self.p.rows("SELECT * FROM _workers_grants"), self.p.rows("SELECT * FROM _workers_access")), before)
        self.assertFalse((self.elsewhere.folder / ".workers").exists())
        self.assertEqual(self.ok(self.there("oauth", "revoke", "body")).stderr, "body: access is revoked, and forgotten\n")
        self.assertEqual(self.status("body")["state"], "none")
        self.assertIn('there is no access to revoke for "body": workers oauth status', self.there("oauth", "revoke", "body").stderr)

    def test_a_server_that_starts_anew_in_between(self):
        project = self.project(SCRIPT.replace("URL", self.provider.url), 'name: again\nmain: main.lua\npermissions:\n  net: ["127.0.0.1"]\n')
        port = harness.free_port()
        server = harness.Server(project, port=port)
        token = harness.wait_until(lambda: (project.folder / ".workers/token").exists() and server.url and (project.folder / ".workers/token").read_text().strip(), "the server")
        process = project.start("oauth", "start", "public", "--server", server.url, env={"WORKERS_TOKEN": token})
        address = process.stdout.readline().strip()
        server.stop()
        place = project.folder / ".workers/server"
        place.unlink()
        again = harness.Server(project, port=port)
        harness.wait_until(place.exists, "the server again")
        self.assertIn("Access was given", visit(address)[1])
        code, _, err = harness.finish(process)
        self.assertEqual(code, 0, err)
        again.stop()

    def test_hosts_that_are_not_permitted(self):
        for key, host in (("outside", "issuer.example.com"), ("beyond", "token.example.com")):
            failed = self.there("oauth", "start", key)
            self.assertEqual(failed.returncode, 1)
            self.assertRegex(failed.stderr, f"{host}.*permissions|permissions.*{host}")

    def test_another_device(self):
        process, address = self.begin("device")
        self.assertEqual(address, self.provider.url + "/device")
        self.provider.control(approve=process.stdout.readline().strip())
        code, _, err = harness.finish(process)
        self.assertEqual((code, self.who("device")), (0, "ada"), err)
        self.ok(self.p.run("oauth", "revoke", "device"))

    def test_a_device_is_asked_about_when_it_is_time(self):
        _, text = self.call("POST", "/oauth/device/start")
        id, look = json.loads(text)["id"], lambda: json.loads(self.call("POST", f"/oauth/device/requests/{id}")[1])
        self.assertEqual((look()["state"], look()["state"], self.provider.requests()), ("waiting", "waiting", []))
        with self.p.database() as database:
            database.execute("UPDATE _workers_access SET ask_at = 0 WHERE id = ?", (id,))
            database.commit()
        self.assertEqual((look()["state"], look()["state"], self.provider.requests()), ("waiting", "waiting", ["body"]))

    def test_a_machine_needs_nobody(self):
        self.ok(self.there("oauth", "start", "machine"))
        self.assertEqual(self.provider.requests(), ["basic"])

    # ---- access is not given ----

    def test_a_person_says_no(self):
        process, address = self.begin("body")
        _, said, _ = visit(address, yes=False)
        self.assertIn("<p>Access was not given. You can close this page.</p>\n<p>The provider: access was not given: access_denied", said)
        code, _, err = harness.finish(process)
        self.assertEqual(code, 1)
        self.assertIn("error: The provider: access was not given: access_denied", err)
        self.assertEqual(self.status("body")["state"], "none")

    def test_what_a_browser_brings_is_no_html_and_holds_no_secret(self):
        process, address = self.begin("body")
        query = {"state": self.state_of(address), "error": "<script>alert(1)</script>", "error_description": f"\"&' {SECRETS['BODY_SECRET']}\n\x1b[31m"}
        status, page = self.comes(urllib.parse.urlencode(query))
        self.assertEqual(status, 400)
        self.assertIn("&lt;script&gt;alert(1)&lt;/script&gt;, &quot;&amp;&#39; [redacted]  [31m", page)
        self.assertNotIn("<script>", page)
        code, _, err = harness.finish(process)
        self.assertEqual((code, err.splitlines()[-1]), (1, "error: The provider: access was not given: <script>alert(1)</script>, \"&' [redacted]  [31m"))

    def test_who_was_not_sent_by_us(self):
        _, text = self.call("POST", "/oauth/public/start")
        state = self.state_of(json.loads(text)["url"])
        with self.p.database() as database:
            before = database.execute("SELECT * FROM _workers_access").fetchall()
        name, random = state.rsplit(".", 1)
        wrong = ("A" if random[0] != "A" else "B") + random[1:]
        for other in (f"{name}.{wrong}", f"other.{random}", random, f"{name}.", name, "", state + "x", state.upper(), "shop.one." + "x" * 3000, "%00" + state):
            status, page = self.comes("code=x&state=" + urllib.parse.quote(other, safe="%"))
            self.assertEqual(status, 400, other)
            self.assertIn(GONE, page, other)
        for query in ("", "code=x", f"state={state}", "state=%ff&code=x"):
            self.assertEqual(self.comes(query)[0], 400, query)
        request = urllib.request.Request(f"{self.url}/oauth/callback?code=x&state={state}", b"x", method="POST")
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=30)
        self.assertEqual(refused.exception.code, 405)
        refused.exception.close()
        self.assertEqual(self.p.rows("SELECT * FROM _workers_access"), before)
        self.assertEqual(self.provider.requests(), [])
        # It still waits; but not for ever.
        with self.p.database() as database:
            database.execute("UPDATE _workers_access SET expires_at = 1 WHERE id = ?", (json.loads(text)["id"],))
            database.commit()
        status, page = self.comes(f"code=x&state={state}")
        self.assertEqual((status, GONE in page, self.provider.requests()), (400, True, []))
        self.assertEqual(json.loads(self.call("POST", f"/oauth/public/requests/{json.loads(text)['id']}")[1])["state"], "expired")

    def test_one_answer_that_comes_many_times_at_once(self):
        state = self.state_of(json.loads(self.call("POST", "/oauth/body/start")[1])["url"])
        self.provider.control(delay=1000)
        with concurrent.futures.ThreadPoolExecutor(12) as browsers:
            shown = list(browsers.map(lambda _: self.comes(f"code=x&state={state}"), range(12)))
        self.assertEqual([status for status, _ in shown], [400] * 12)
        self.assertEqual((sum(GONE in page for _, page in shown), sum("The provider answered with status 400, invalid_grant" in page for _, page in shown)), (11, 1))
        self.assertEqual(self.provider.requests(), ["body"])

    def test_a_provider_that_fails(self):
        process, address = self.begin("body")
        self.provider.control(fail=1)
        _, said, _ = visit(address)
        self.assertIn("The provider answered with status 503", said)
        code, _, err = harness.finish(process)
        self.assertEqual((code, err.splitlines()[-1]), (1, "error: The provider answered with status 503"))

    # ---- what is told, and kept ----

    def test_nothing_secret_is_told_or_kept_in_the_clear(self):
        told = [self.call("POST", "/oauth/body/start")[1]]
        started = json.loads(told[0])
        self.assertEqual(sorted(started), ["expiresAt", "grant", "id", "interval", "name", "redirectUrl", "state", "url"])
        look = f"/oauth/body/requests/{started['id']}"
        told += [self.call("POST", look)[1]]
        self.assertNotIn(self.state_of(started["url"]), self.p.dump())
        came = visit(started["url"])[0]
        told += [self.call("POST", look)[1], self.call("GET", "/oauth")[1]]
        self.assertEqual([json.loads(one)["state"] for one in told[:3]], ["waiting", "waiting", "given"])
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(came).query)["code"][0]
        token = self.p.run("oauth", "token", "body", "--server", "local").stdout.strip()
        self.assertEqual(self.provider.who(token), "ada")
        files = b"".join(path.read_bytes() for path in (self.p.folder / ".workers").iterdir() if path.is_file()) + self.server.log.read_bytes()
        for secret in (code, token, *SECRETS.values()):
            self.assertNotIn(secret, "".join(told))
            self.assertNotIn(secret.encode(), files)
        self.assertEqual(self.p.value("SELECT count(*) FROM _workers_access WHERE state <> 'waiting' AND (sealed IS NOT NULL OR digest IS NOT NULL)"), 0)

    def test_only_so_many_wait(self):
        ids = [json.loads(self.call("POST", "/oauth/public/start")[1])["id"] for _ in range(103)]
        self.assertEqual(self.p.value("SELECT count(*) FROM _workers_access WHERE state = 'waiting'"), 100)
        self.assertEqual([self.call("POST", f"/oauth/public/requests/{id}")[0] for id in (ids[0], ids[-1])], [404, 200])

    # ---- commands ----

    def test_what_a_server_refuses(self):
        refused = self.there("oauth", "token", "body")
        self.assertEqual((refused.returncode, refused.stdout), (1, ""))
        self.assertIn("error: a server tells nobody its access tokens: its scripts get them with accessToken()", refused.stderr)
        self.assertIn("callbackUrl http://127.0.0.1:8322/come/back is not where a server waits: it must end with /oauth/callback", self.there("oauth", "start", "nowhere").stderr)
        for command in ("start", "revoke", "show-redirect-url"):
            self.assertIn('the worker declares no oauth "bod": it has body, public, ', self.there("oauth", command, "bod").stderr)
        self.assertEqual(self.call("POST", "/oauth/body/requests/0")[0], 404)

    def test_redirect_urls(self):
        self.assertEqual(self.there("oauth", "show-redirect-url").stdout, self.url + "/oauth/callback\n")
        self.assertEqual(self.there("oauth", "show-redirect-url", "body").stdout, self.url + "/oauth/callback\n")
        self.assertEqual(self.there("oauth", "show-redirect-url", "elsewhere").stdout, "https://example.com/oauth/callback\n")
        self.assertEqual(self.p.run("oauth", "show-redirect-url", "body").stdout, "http://127.0.0.1:8322/oauth/callback\n")

    def test_a_server_that_no_browser_reaches(self):
        """At a socket file; with the URL of a proxy in front it is reached."""
        project = self.project(SCRIPT.replace("URL", self.provider.url), "name: inside\nmain: main.lua\n")
        path = project.folder / "socket"
        for args, status, found in (((), 422, "a browser cannot come back to unix:"), (("--url", "https://workers.example.com/deep/"), 200, "https://workers.example.com/deep/oauth/callback")):
            process = project.start("serve", "--listen", f"unix:{path}", *args)
            token = harness.wait_until(lambda: path.exists() and (project.folder / ".workers/token").exists() and (project.folder / ".workers/token").read_text().strip(), "the server")
            for method, route in (("GET", "redirect-url"), ("POST", "public/start")):
                answer = harness.wait_until(lambda path=path, method=method, route=route: self.at_socket(path, method, route, token), "a server that knows the token")
                self.assertIn(f"HTTP/1.1 {status} ", answer)
                self.assertIn(found, answer)
            process.send_signal(signal.SIGTERM)
            harness.finish(process)

    def test_here_and_there_say_the_same(self):
        for form in ((), ("--plain",), ("--json",)):
            here, there = self.p.run("oauth", "status", *form), self.there("oauth", "status", *form)
            drop = lambda text: re.sub(r"  +", " ", text)  # noqa: E731
            self.assertEqual((drop(here.stdout), here.stderr), (drop(there.stdout), there.stderr))

    def test_the_server_that_workers_yaml_names(self):
        project = self.project(SCRIPT.replace("URL", self.provider.url), config=f"name: shop.one\nmain: main.lua\nserver: {self.url}\n")
        project.write(".env", f"WORKERS_TOKEN={self.token}\n")
        self.assertEqual(self.ok(project.run("oauth", "show-redirect-url")).stdout, self.url + "/oauth/callback\n")


if __name__ == "__main__":
    harness.main()
