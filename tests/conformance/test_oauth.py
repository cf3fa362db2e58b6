"""OAuth against npm's certified oidc-provider: every grant, renewal, revocation, and what goes wrong on the way."""
import base64
import hashlib
import json
import pathlib
import random
import re
import signal
import subprocess
import sys
import time
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
local url, port = "URL", PORT
local function person(key, more)
  local options = { name = "The provider", authorizationEndpoint = url .. "/auth", tokenEndpoint = url .. "/token", revocationEndpoint = url .. "/token/revocation",
    scope = "openid offline_access", authorizationParams = { prompt = "consent" }, callbackUrl = "http://127.0.0.1:" .. port .. "/oauth/callback" }
  for name, value in pairs(more) do options[name] = value end
  return worker:oauth(key, options)
end
local handles = {
  body = person("body", { clientId = "body", clientSecret = "$BODY_SECRET" }),
  basic = person("basic", { clientId = "basic", clientSecret = "$BASIC_SECRET", clientAuth = "basic" }),
  public = person("public", { clientId = "public" }),
  machine = worker:oauth("machine", { name = "The provider", tokenEndpoint = url .. "/token", clientId = "machine", clientSecret = "$MACHINE_SECRET",
    clientAuth = "basic", grant = "client" }),
  device = worker:oauth("device", { name = "The provider", tokenEndpoint = url .. "/token", deviceAuthorizationEndpoint = url .. "/device/auth",
    clientId = "device", grant = "device", scope = "openid offline_access" }),
}
worker:tool("get", { title = "Get", description = "An access token, often.", schema = j.object { key = j.string(), times = j.integer(), stale = j.string():optional() },
  execute = function(input)
    local list = {}
    for i = 1, input.times do list[i] = i end
    local tokens = {}
    for _, token in ipairs(workers.map(list, function() return handles[input.key]:accessToken(input.stale) end, { concurrency = 50 })) do tokens[token] = true end
    local different = workers.array()
    for token in pairs(tokens) do different[#different + 1] = require("workers.crypto").sha256(token) end
    return { tokens = different }
  end })
worker:tool("tell", { title = "Tell", description = "Logs a token that somebody else got.", schema = j.object {},
  execute = function()
    local log, token = require "workers.log", handles.body:accessToken()
    log.warn("the token is " .. token)
    log.warn("Basic " .. require("workers.crypto").base64("x:" .. token))
    error("no use for " .. token)
  end })
return worker
"""


class OauthTest(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        if not harness.BINARY:
            raise unittest.SkipTest("WORKERS_BIN does not name the binary")
        cls.provider = Provider()
        cls.url = cls.provider.url

    @classmethod
    def tearDownClass(cls):
        cls.provider.close()

    def setUp(self):
        self.provider.reset()
        self.port = harness.free_port()
        self.p = self.project(SCRIPT.replace("URL", self.url, 1).replace("PORT", str(self.port), 1), "name: oauth\nmain: main.lua\n")

    def control(self, **wanted):
        return self.provider.control(**wanted)

    def run_it(self, *args, **options):
        return self.p.run(*args, env=SECRETS, **options)

    def says_yes(self, address, yes=True):
        """What the last page says."""
        return visit(address, yes)[1]

    def start(self, key, yes=True):
        process = self.p.start("oauth", "start", key, env=SECRETS)
        address = process.stdout.readline().strip()
        said = self.says_yes(address, yes)
        code, out, err = harness.finish(process)
        return code, err, said, address

    def granted(self, key):
        code, err, said, address = self.start(key)
        self.assertEqual(code, 0, err)
        self.assertIn("Access was given. You can close this page.", said)
        return address

    def token(self, key, code=0):
        return self.ok(self.run_it("oauth", "token", key), code).stdout.strip()

    def who(self, token):
        return self.provider.who(token)

    def requests(self):
        return self.provider.requests()

    # ---- grants ----

    def test_a_person_gives_access(self):
        for key, auth in (("body", "body"), ("basic", "basic"), ("public", "body")):
            with self.subTest(key):
                self.control(requests=[])
                address = self.granted(key)
                asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(address).query))
                self.assertEqual((asked["code_challenge_method"], asked["prompt"], asked["client_id"]), ("S256", "consent", key))
                token = self.token(key)
                self.assertEqual((self.who(token), self.token(key), self.requests()), ("ada", token, [auth]))
                status = json.loads(self.run_it("oauth", "status", "--json").stdout)
                one = next(row for row in status if row["key"] == key)
                self.assertEqual((one["state"], one["renewable"], one["scope"]), ("good", True, "openid offline_access"))
                # Renewed ahead of its end, and the rotated refresh token renews it again.
                self.control(lifetime=1)
                stale = self.ok(self.run_it("exec", "get", "-d", json.dumps({"key": key, "times": 1, "stale": token})))
                tokens = [token]
                for _ in range(3):
                    tokens.append(harness.wait_until(lambda: next((new for new in [self.token(key)] if new != tokens[-1]), None), "another token"))
                self.assertEqual(len(set(tokens)), 4, stale.stdout)
                self.control(lifetime=3600)
                self.ok(self.run_it("oauth", "revoke", key))
                self.assertRegex(self.run_it("oauth", "token", key).stderr, f'error: oauth "{key}": nobody has given access yet: workers oauth start {key}\n')
                self.assertEqual(self.who(tokens[-1]), 401)

    def test_a_machine_needs_nobody(self):
        token = self.token("machine")
        self.assertEqual((self.token("machine"), self.requests()), (token, ["basic"]))
        self.control(lifetime=1)
        self.assertNotEqual(json.loads(self.ok(self.run_it("exec", "get", "-d", json.dumps({"key": "machine", "times": 3, "stale": token}))).stdout), {"tokens": [hashlib.sha256(token.encode()).hexdigest()]})
        self.assertEqual(self.requests(), ["basic", "basic"])
        self.ok(self.run_it("oauth", "start", "machine"))

    def test_another_device(self):
        process = self.p.start("oauth", "start", "device", env=SECRETS)
        address, code = process.stdout.readline().strip(), process.stdout.readline().strip()
        self.assertEqual(address, self.url + "/device")
        self.control(approve=code)
        self.assertEqual(harness.finish(process)[0], 0)
        token = self.token("device")
        self.assertEqual(self.who(token), "ada")

    # ---- what goes wrong ----

    def test_a_person_says_no(self):
        code, err, said, _ = self.start("body", yes=False)
        self.assertEqual(code, 1)
        self.assertIn("error: The provider: access was not given: access_denied", err)
        self.assertIn("Access was not given", said)

    def test_what_a_browser_brings_stays_one_line(self):
        process = self.p.start("oauth", "start", "public", env=SECRETS)
        state = urllib.parse.parse_qs(urllib.parse.urlsplit(process.stdout.readline().strip()).query)["state"][0]
        query = "error=no%0A%1b%5B31m&error_description=a%c2%9bb%ffc%00d" + "x" * 3000 + "&state=" + state
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/oauth/callback?{query}", timeout=30)
        refused.exception.close()
        code, _, err = harness.finish(process)
        self.assertEqual(code, 1)
        self.assertRegex(err, "(?m)^error: The provider: access was not given: no  \\[31m, a  b c$")

    def test_a_browser_that_was_sent_by_somebody_else(self):
        process = self.p.start("oauth", "start", "public", env=SECRETS)
        address = process.stdout.readline().strip()
        for query, status in (("code=x&state=wrong", 400), ("code=x", 400), ("", 400)):
            with self.assertRaises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/oauth/callback?{query}", timeout=30)
            self.assertEqual(refused.exception.code, status)
            refused.exception.close()
        self.says_yes(address)
        self.assertEqual(harness.finish(process)[0], 0)

    def test_mistakes(self):
        self.assertIn('the worker declares no oauth "bod": it has body, basic, public, machine, device', self.run_it("oauth", "start", "bod").stderr)
        self.assertIn('oauth "machine" needs the variable MACHINE_SECRET: workers env set MACHINE_SECRET', self.p.run("oauth", "token", "machine").stderr)
        self.assertIn("nobody has given access yet: workers oauth start public", self.run_it("oauth", "token", "public").stderr)
        self.assertIn("there is no access to revoke", self.run_it("oauth", "revoke", "public").stderr)
        self.assertEqual(self.run_it("oauth", "show-redirect-url").stdout, "http://127.0.0.1:8322/oauth/callback\n")
        self.assertEqual(self.run_it("oauth", "show-redirect-url", "body").stdout, f"http://127.0.0.1:{self.port}/oauth/callback\n")
        failed = self.run_it("exec", "get", "-d", '{"key":"public","times":1}')
        self.assertRegex(failed.stderr, r'main.lua:\d+: oauth "public": nobody has given access yet: workers oauth start public')
        for options, message in (('{ clientId = "x" }', 'option "tokenEndpoint" is missing'), ('{ tokenEndpoint = "x", clientId = "x" }', "must be a URL"),
                                 ('{ provider = "x", clientId = "x" }', 'nothing is known of the provider "x"'),
                                 ('{ provider = "github", clientId = "x", clientAuth = "basic" }', 'option "clientSecret" is missing'),
                                 ('{ provider = "github", clientId = "x", accessTokenExpireMs = 0/0 }', 'option "accessTokenExpireMs" must be 0 to 2000000000'),
                                 ('{ provider = "github", clientId = "x", accessTokenExpireMs = 1e300 }', 'option "accessTokenExpireMs" must be 0 to 2000000000'),
                                 ('{ provider = "github", clientId = "x", grant = "implicit" }', 'option "grant" must be "code", "client" or "device"')):
            self.p.write("other.lua", f'local worker = require("workers").new() worker:oauth("x", {options}) return worker')
            self.assertIn(message, self.run_it("check", "other.lua").stderr)
        self.p.write("other.lua", 'local worker = require("workers").new() worker:oauth("x", { provider = "google", clientId = "$ID", clientSecret = "$SECRET" }) return worker')
        self.ok(self.run_it("check", "other.lua"))

    def test_providers_that_are_known(self):
        page = (harness.REPOSITORY / "docs/oauth.md").read_text(encoding="utf-8")
        listed = re.findall(r'^\| `"(\w+)"` \| (\w+) \| (\w+) \| (yes|no) \|', page, re.M)
        self.p.write("other.lua", """local worker = require("workers").new()
          for _, key in ipairs { "NAMES" } do
            worker:oauth(key, { provider = key, clientId = "an id", clientSecret = "$SECRET" })
            worker:oauth(key .. "Public", { provider = key, clientId = "an id" })
          end
          return worker""".replace("NAMES", '", "'.join(key for key, *_ in listed)))
        self.assertGreater(len(listed), 15)
        known = [one["config"] for one in json.loads(self.ok(self.p.run("manifest", "other.lua")).stdout)["capabilities"]]
        self.assertEqual([(one["provider"], one["name"], one["clientAuth"], "yes" if one["pkce"] else "no") for one in known[::2]], listed)
        self.assertEqual({(one["clientAuth"], one["pkce"]) for one in known[1::2]}, {("none", True)})
        for one in known:
            for name, value in one.items():
                if name.endswith("Endpoint"):
                    self.assertRegex(value, r"^https://[a-z0-9.]+/[\w./-]+(\?[\w.=&]+)?$")
        unknown = self.p.write("other.lua", 'local worker = require("workers").new() worker:oauth("x", { provider = "gitlub", clientId = "x" }) return worker')
        self.assertIn('nothing is known of the provider "gitlub"; did you mean "github"?: give', self.p.run("check", unknown.name).stderr)
        self.assertIn("Known are " + ", ".join(key for key, *_ in listed), self.p.run("check", unknown.name).stderr)

    def test_the_manifest_has_no_secret(self):
        self.p.write("other.lua", """local worker = require("workers").new()
          local function declare(key, secret) worker:oauth(key, { issuer = "https://example.com", clientId = "x", clientSecret = secret, authorizationParams = { b = "1", a = "2" } }) end
          declare("named", "$NAME") declare("written", "hush-hush") return worker""")
        manifest = self.ok(self.p.run("manifest", "other.lua")).stdout
        self.assertNotIn("hush", manifest)
        named, written = json.loads(manifest)["capabilities"]
        self.assertEqual(list(named["config"].pop("authorizationParams")), ["a", "b"])
        self.assertEqual(named, {"_tag": "oauth", "key": "named", "config": {
            "type": "user_managed", "name": "named", "issuer": "https://example.com", "clientId": "x", "clientSecret": "$NAME", "grant": "code", "clientAuth": "body", "pkce": True}})
        self.assertNotIn("clientSecret", written["config"])

    def test_failures_that_pass(self):
        self.granted("body")
        token = self.token("body")
        self.control(fail=1)
        failed = self.run_it("exec", "get", "-d", json.dumps({"key": "body", "times": 1, "stale": token}))
        self.assertRegex(failed.stderr, 'oauth "body": The provider answered with status 503; the grant is kept')
        self.assertEqual(len(json.loads(self.ok(self.run_it("exec", "get", "-d", json.dumps({"key": "body", "times": 1, "stale": token}))).stdout)["tokens"]), 1)

    def test_an_answer_that_is_lost(self):
        self.granted("body")
        token = self.token("body")
        ask = lambda: self.run_it("exec", "get", "-d", json.dumps({"key": "body", "times": 1, "stale": token}))  # noqa: E731
        self.control(drop=1)
        self.assertIn("the grant is kept", ask().stderr)
        # The provider has rotated the refresh token and takes the old one for stolen: that, too, is said.
        self.assertRegex(ask().stderr, r'oauth "body": The provider answered with status 400, invalid_grant \(.*\): ask for access again with workers oauth start body')
        self.granted("body")
        self.assertEqual(self.who(self.token("body")), "ada")

    # ---- many at once, and the end of a process ----

    def test_many_ask_and_one_request_is_made(self):
        self.granted("body")
        token = self.token("body")
        self.control(requests=[], delay=200)
        asking = [self.p.start("exec", "get", "-d", json.dumps({"key": "body", "times": 50, "stale": token}), env=SECRETS) for _ in range(3)]
        answers = [harness.finish(process) for process in asking]
        self.assertEqual([code for code, _, _ in answers], [0, 0, 0], answers)
        self.assertEqual(len({json.dumps(json.loads(out)) for _, out, _ in answers}), 1, answers)
        self.assertEqual([len(json.loads(out)["tokens"]) for _, out, _ in answers], [1, 1, 1])
        self.assertEqual(self.requests(), ["body"])

    def test_a_process_that_dies_while_it_renews(self):
        chance = random.Random(7)
        survived = lost = 0
        self.granted("body")
        for _ in range(12):
            token = self.token("body")
            self.control(requests=[], delay=60)
            process = self.p.start("exec", "get", "-d", json.dumps({"key": "body", "times": 5, "stale": token}), env=SECRETS)
            wait = chance.uniform(0, 0.12)
            end = time.monotonic() + wait
            while time.monotonic() < end and process.poll() is None:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            self.control(delay=0)
            after = self.run_it("exec", "get", "-d", json.dumps({"key": "body", "times": 1, "stale": token}))
            if after.returncode == 0:
                survived += 1
            else:
                lost += 1
                self.assertRegex(after.stderr, "invalid_grant.*: ask for access again with workers oauth start body")
                self.granted("body")
        self.assertGreater(survived, 0)
        print(f"{survived} grants survived, {lost} were to be given again")

    def test_a_project_that_is_loaded_anew_while_a_token_is_asked_for(self):
        self.control(delay=3000)
        process = self.p.start("mcp", env=SECRETS, stdin=subprocess.PIPE)

        def say(message):
            process.stdin.write(json.dumps({"jsonrpc": "2.0"} | message) + "\n")
            process.stdin.flush()

        say({"id": 1, "method": "tools/call", "params": {"name": "get", "arguments": {"key": "machine", "times": 2}}})
        harness.wait_until(lambda: self.requests() == ["basic"], "the request for a token")
        say({"method": "notifications/cancelled", "params": {"requestId": 1}})
        say({"id": 2, "method": "ping"})
        self.assertEqual(json.loads(process.stdout.readline())["id"], 2)
        for change in ("once", "twice"): # when it changes again, nothing of the version before is under way but the request
            self.p.write("main.lua", (self.p.folder / "main.lua").read_text() + f"\n-- changed {change}\n")
            self.assertIn("tools/list_changed", process.stdout.readline())
            self.assertIn("resources/list_changed", process.stdout.readline())
        self.control(delay=0)
        say({"id": 3, "method": "tools/call", "params": {"name": "get", "arguments": {"key": "machine", "times": 1}}})
        # What was answered to the version before is kept: it may have been the only token that is still good.
        self.assertEqual(len(json.loads(process.stdout.readline())["result"]["structuredContent"]["tokens"]), 1)
        self.assertEqual(self.requests(), ["basic"])
        code, _, err = harness.finish(process)
        self.assertEqual((code, err), (0, ""))

    def test_nothing_is_kept_in_the_clear(self):
        self.granted("body")
        token = self.token("body")
        self.control(lifetime=3600)
        self.ok(self.run_it("exec", "get", "-d", json.dumps({"key": "body", "times": 1, "stale": token})))
        found = b"".join(path.read_bytes() for path in (self.p.folder / ".workers").iterdir() if path.is_file())
        for secret in (token, self.token("body"), *SECRETS.values()):
            self.assertNotIn(secret.encode(), found)
        # A token is a secret in every process that has it, not only in the one that got it.
        told = self.run_it("exec", "tell").stderr
        self.assertIn("the token is [redacted]\n", told)
        self.assertIn("no use for [redacted]\n", told)
        self.assertNotIn(base64.b64encode(b"x:" + self.token("body").encode())[3:-4].decode(), told)
        # A key that is lost, or another one, is said; nothing is overwritten.
        key = self.p.folder / ".workers/key"
        kept = key.read_bytes()
        key.write_bytes(bytes(32))
        self.assertRegex(self.run_it("oauth", "token", "body").stderr, 'oauth "body": .*key is another key than the one that sealed the secrets of this store')
        key.unlink()
        self.assertIn("is missing", self.run_it("oauth", "token", "body").stderr)
        key.write_bytes(kept)
        key.chmod(0o600)
        self.token("body")


if __name__ == "__main__":
    harness.main()
