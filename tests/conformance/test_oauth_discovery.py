"""Endpoints that a provider of OAuth names itself: npm's oidc-provider, and providers that name what they should not."""
import hashlib
import json
import pathlib
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
local worker = workers.new()
local options = require("workers.json").decode [==[OPTIONS]==]
local handles = {}
for key, given in pairs(options) do handles[key] = worker:oauth(key, given) end
worker:tool("get", { title = "Get", description = "Tokens, one after the other.", schema = workers.j.object { key = workers.j.string(), times = workers.j.integer() },
  execute = function(input)
    local token
    for _ = 1, input.times do token = handles[input.key]:accessToken(token) end
    return { token = require("workers.crypto").sha256(token) } -- the token itself would be redacted
  end })
return worker
"""
OPENID, RFC8414 = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"


class Fake:
    """A provider that describes itself as a test says, and gives tokens at /token."""

    def __init__(self):
        self.pages, self.asked = {}, []
        fake = self

        class Handler(harness.HttpHandler):
            def answer(self, page):
                page = page if isinstance(page, harness.Page) else harness.Page(json.dumps(page).encode())
                self.send_response(page.status)
                for name, value in page.headers + [("Content-Length", str(len(page.body)))]:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(page.body)

            def do_GET(self):
                fake.asked.append(self.path)
                self.answer(fake.pages.get(self.path, harness.Page(b"{}", 404)))

            def do_POST(self):
                fake.asked.append(self.path)
                self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/device":
                    self.answer({"device_code": "a code", "user_code": "ABC", "verification_uri": fake.url, "interval": 1})
                else:
                    self.answer({"access_token": f"token {len(fake.asked) - 1}", "refresh_token": "r", "expires_in": 3600})

        self.server = harness.HttpService(Handler)
        self.url, self.close = self.server.url, self.server.close


class OauthDiscoveryTest(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        if not harness.BINARY:
            raise unittest.SkipTest("WORKERS_BIN does not name the binary")
        cls.provider = Provider()

    @classmethod
    def tearDownClass(cls):
        cls.provider.close()

    def setUp(self):
        self.provider.reset()

    def fake(self):
        fake = Fake()
        self.addCleanup(fake.close)
        return fake

    def declares(self, **options):
        return self.project(SCRIPT.replace("OPTIONS", json.dumps(options)), "name: oauth\nmain: main.lua\n")

    def refused(self, options, message):
        failed = self.declares(machine={"grant": "client", "clientId": "x"} | options).run("oauth", "start", "machine")
        self.assertEqual(failed.returncode, 1)
        self.assertIn(message, failed.stderr)

    # ---- a provider that says where its endpoints are ----

    def test_every_grant(self):
        redirect = f"http://127.0.0.1:{harness.free_port()}/oauth/callback"
        both = {"issuer": self.provider.url, "scope": "openid offline_access"}
        p = self.declares(body=both | {"clientId": "body", "clientSecret": "$BODY_SECRET", "callbackUrl": redirect, "authorizationParams": {"prompt": "consent"}},
                          device=both | {"clientId": "device", "grant": "device"},
                          machine={"issuer": self.provider.url, "clientId": "machine", "clientSecret": "$MACHINE_SECRET", "clientAuth": "basic", "grant": "client"})
        process = p.start("oauth", "start", "body", env=SECRETS)
        address = process.stdout.readline().strip()
        self.assertTrue(address.startswith(self.provider.url + "/auth?"), address)
        self.assertIn("Access was given", visit(address)[1])
        code, _, err = harness.finish(process)
        self.assertEqual(code, 0, err)
        token = self.ok(p.run("oauth", "token", "body", env=SECRETS)).stdout.strip()
        self.assertEqual(self.provider.who(token), "ada")
        self.assertNotEqual(json.loads(self.ok(p.run("exec", "get", "-d", '{"key":"body","times":3}', env=SECRETS)).stdout)["token"],
                            hashlib.sha256(token.encode()).hexdigest())
        self.assertEqual(self.ok(p.run("oauth", "revoke", "body", env=SECRETS)).stderr, "body: access is revoked, and forgotten\n")

        process = p.start("oauth", "start", "device", env=SECRETS)
        self.assertEqual(process.stdout.readline().strip(), self.provider.url + "/device")
        self.provider.control(approve=process.stdout.readline().strip())
        self.assertEqual(harness.finish(process)[0], 0)
        self.ok(p.run("oauth", "token", "machine", env=SECRETS))

    def test_the_answer_of_another_provider(self):
        """RFC 9207: this one says that it names itself, so an answer without its name is not its own either."""
        for issuer in ("&iss=https%3A%2F%2Fexample.com", f"&iss={urllib.parse.quote(self.provider.url)}%2F", ""):
            with self.subTest(issuer):
                redirect = f"http://127.0.0.1:{harness.free_port()}/oauth/callback"
                p = self.declares(public={"issuer": self.provider.url, "clientId": "public", "callbackUrl": redirect})
                process = p.start("oauth", "start", "public")
                state = urllib.parse.parse_qs(urllib.parse.urlsplit(process.stdout.readline().strip()).query)["state"][0]
                with self.assertRaises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(f"{redirect}?code=x&state={state}{issuer}", timeout=30)
                with refused.exception:
                    self.assertIn(f"public: the answer is not from {self.provider.url}", refused.exception.read().decode())
                self.assertEqual(harness.finish(process)[0], 1)
                self.assertEqual(self.provider.requests(), [])

    # ---- what a description may be ----

    def test_tokens_that_are_renewed_elsewhere(self):
        fake = self.fake()
        fake.pages[OPENID] = {"issuer": fake.url, "token_endpoint": fake.url + "/token", "device_authorization_endpoint": fake.url + "/device"}
        p = self.declares(device={"issuer": fake.url, "clientId": "x", "grant": "device", "refreshEndpoint": fake.url + "/token/again"})
        self.ok(p.run("oauth", "start", "device"))
        self.assertEqual(fake.asked, [OPENID, "/device", "/token"])
        self.ok(p.run("exec", "get", "-d", '{"key":"device","times":2}'))
        self.assertEqual(fake.asked[3:], ["/token/again"])

    def test_it_is_asked_for_when_it_is_needed_and_once(self):
        fake = self.fake()
        fake.pages[OPENID] = {"issuer": fake.url, "token_endpoint": fake.url + "/token"}
        p = self.declares(machine={"issuer": fake.url, "clientId": "x", "grant": "client"},
                          given={"issuer": fake.url, "clientId": "x", "grant": "client", "tokenEndpoint": fake.url + "/token"})
        self.ok(p.run("check"))
        self.ok(p.run("oauth", "status"))
        self.ok(p.run("oauth", "start", "given"))
        self.assertEqual(fake.asked.count(OPENID), 0)
        self.assertEqual(json.loads(self.ok(p.run("exec", "get", "-d", '{"key":"machine","times":5}')).stdout), {"token": hashlib.sha256(b"token 6").hexdigest()})
        self.assertEqual(fake.asked.count(OPENID), 1)

    def test_the_place_of_rfc_8414(self):
        fake = self.fake()
        for path, place in (("", RFC8414), ("/tenant/one", RFC8414 + "/tenant/one")):
            issuer = fake.url + path
            fake.pages[place] = {"issuer": issuer, "token_endpoint": fake.url + "/token"}
            self.ok(self.declares(machine={"issuer": issuer, "clientId": "x", "grant": "client"}).run("oauth", "start", "machine"))
            self.assertEqual(fake.asked, [path + OPENID, place, "/token"])
            fake.asked.clear()

    def test_what_is_wrong_with_a_description(self):
        fake = self.fake()
        url, good = fake.url, {"issuer": fake.url, "token_endpoint": fake.url + "/token"}
        name = {"issuer": url, "name": "The provider"}
        for document, message in (
                (good | {"issuer": url + "/"}, f"{url} calls itself {url}/: the option issuer must be what it calls itself"),
                (good | {"issuer": "https://example.com"}, f"{url} calls itself https://example.com: the option issuer"),
                ({"token_endpoint": url + "/token"}, f"{url} does not answer with a description of itself"),
                (["issuer"], f"{url} does not answer with a description of itself"),
                (harness.Page(b"<html>"), f"{url} does not answer with a description of itself"),
                (good | {"token_endpoint": "http://example.com/token"}, f"{url} names no URL with https:// as its token_endpoint"),
                (good | {"revocation_endpoint": "file:///etc/passwd"}, f"{url} names no URL with https:// as its revocation_endpoint"),
                (good | {"authorization_endpoint": "https://example.com/\x1b[31m"}, f"{url} names no URL with https:// as its authorization_endpoint"),
                ({"issuer": url}, f'oauth "machine": {url} says nothing of its token_endpoint'),
                (good | {"more": "x" * 300000}, f"{url} does not say where its endpoints are: The provider cannot be asked: "),
                (harness.Page(b"", 302, [("Location", "https://example.com/")]), f"{url} does not say where its endpoints are: The provider answered with status 302"),
                (harness.Page(b"{}", 503), f"{url} does not say where its endpoints are: The provider answered with status 503"),
                (harness.Page(b"{}", 404), f"{url} does not say where its endpoints are: The provider answered with status 404")):
            with self.subTest(message):
                fake.pages[OPENID] = document
                self.refused(name, message)
        self.assertEqual(fake.asked.count("/token"), 0)

    def test_what_may_be_an_issuer(self):
        for issuer in ("http://example.com", "example.com", "https://", "https://example.com?x", "https://a@example.com", "https://example.com#x", "ftp://127.0.0.1", ""):
            failed = self.declares(machine={"clientId": "x", "grant": "client", "issuer": issuer}).run("check")
            self.assertEqual(failed.returncode, 1, issuer)
            self.assertRegex(failed.stderr, 'option "issuer" must be a (URL that begins with https://|non-empty)', issuer)


if __name__ == "__main__":
    harness.main()
