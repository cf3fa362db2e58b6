#!/usr/bin/env python3
"""workers.webhooks against what the providers themselves publish: the npm packages @octokit/webhooks-methods, stripe and
standardwebhooks, and slack_sdk for Python. They sign and we verify, and the other way round, with all example payloads of
GitHub's webhooks. The providers without such a package are compared with Python's hmac, on bytes of all kinds.

WORKERS_SEED replays a seed; it is printed."""
import base64
import concurrent.futures
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import harness  # noqa: E402
import npm  # noqa: E402
import pypi  # noqa: E402

SEED = int(os.environ.get("WORKERS_SEED", "1"))
PAYLOADS = 329
BODIES = 200  # random ones, for the peers in Python
SECRETS = {
    "github": "It's a Secret to Everybody",
    "stripe": "whsec_" + "0123456789abcdef" * 2,
    "standard": "whsec_" + base64.b64encode(bytes(range(200, 232))).decode(),
}
OTHER = {"github": "another", "stripe": "whsec_another", "standard": "whsec_" + base64.b64encode(b"x" * 32).decode()}
TIMED = ("stripe", "standard")
DAY = 86400


class Signers(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        if "WORKERS_BIN" not in os.environ:
            self.skipTest("WORKERS_BIN does not name the binary")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="workers-webhooks-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        shutil.copy(HERE / "webhook_cases.lua", self.folder)
        self.random = random.Random(SEED)
        self.now = int(time.time())

    def run_jobs(self, command, jobs):
        (self.folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
        done = subprocess.run(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              encoding="utf-8", timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr[-4000:])
        results = json.loads(done.stdout)
        self.assertEqual(len(results), len(jobs))
        return results

    def ours(self, jobs):
        return self.run_jobs([os.environ["WORKERS_BIN"], "exec", "run", "--script", "webhook_cases.lua"], jobs)

    def theirs(self, jobs):
        return self.run_jobs(["node", str(HERE / "webhook_peer.mjs"), str(npm.ensure()), "jobs.json"], jobs)

    def keep(self, name, body):
        (self.folder / name).write_bytes(body)
        return name

    def payloads(self):
        """Names of files with the payloads: every second one indented and in Unicode, the others compact and escaped."""
        place = npm.ensure() / "node_modules/@octokit/webhooks-examples/api.github.com/index.json"
        names = []
        for event in json.loads(place.read_text()):
            for payload in event["examples"]:
                odd = len(names) % 2 == 1
                text = json.dumps(payload, ensure_ascii=odd, indent=None if odd else 1)
                names.append(self.keep(f"payload-{len(names)}", text.encode()))
        self.assertEqual(len(names), PAYLOADS)
        return names

    def changed(self, name):
        """The same body with one digit changed: as long as before, and still JSON."""
        body = bytearray((self.folder / name).read_bytes())
        at = self.random.choice([i for i, c in enumerate(body) if c in b"0123456789"])
        body[at] = ord("2") if body[at] == ord("1") else ord("1")
        return self.keep(f"{name}-changed", bytes(body))

    def jobs(self, bodies):
        return [{"do": "sign", "provider": provider, "secret": secret, "body": body, "id": f"msg_{number}", "time": self.now}
                for provider, secret in SECRETS.items() for number, body in enumerate(bodies)]

    def signed(self, jobs):
        return [{**job, "headers": headers} for job, headers in zip(jobs, self.theirs(jobs))]

    def verifications(self, jobs, headers):
        """For each signed body one job to verify it, one with another body, one with another secret."""
        good = [{**job, "do": "verify", "headers": found} for job, found in zip(jobs, headers)]
        changed = [{**job, "body": self.changed(job["body"])} for job in good]
        stranger = [{**job, "secret": OTHER[job["provider"]]} for job in good]
        return good, changed, stranger

    def refused(self, result, text, job):
        self.assertIn(text, (result or {}).get("WebhookVerificationError", "accepted"), job)


class Packages(Signers):
    """The packages of the providers, and descriptions where there is none."""

    def test_what_they_sign_is_accepted(self):
        bodies = self.payloads()
        jobs = self.jobs(bodies)
        good, changed, stranger = self.verifications(jobs, self.theirs(jobs))
        self.assertEqual(self.ours(good), [None] * len(good))
        for job, result in zip(changed + stranger, self.ours(changed + stranger)):
            self.refused(result, "is not one of this body", job)
        # The old secret is still good while both are known.
        both = [{**job, "secret": [OTHER[job["provider"]], job["secret"]]} for job in good[::25]]
        self.assertEqual(self.ours(both), [None] * len(both))
        print(f"{len(good)} deliveries accepted, {len(changed) + len(stranger)} refused")

    def test_what_we_sign_is_accepted_by_them(self):
        bodies = self.payloads()
        jobs = self.jobs(bodies)
        allowed = {"github": ("id",), "stripe": ("time",), "standard": ("id", "time")}
        asked = [{key: value for key, value in job.items() if key not in ("id", "time") or key in allowed[job["provider"]]}
                 for job in jobs]
        headers = self.ours(asked)
        good, changed, stranger = self.verifications(jobs, headers)
        self.assertEqual(self.theirs(good), [None] * len(good))
        for job, result in zip(changed + stranger, self.theirs(changed + stranger)):
            self.assertRegex(result or "accepted", "not the signature|[Nn]o (matching )?signatures? found", job)
        # Both make the same header of the same body, secret, time and id.
        for job, ours, theirs in zip(jobs, headers, self.theirs(jobs)):
            self.assertEqual({name: ours[name] for name in theirs}, theirs, job)
        print(f"{len(good)} deliveries accepted by them, {len(changed) + len(stranger)} refused")

    def test_old_and_future_deliveries(self):
        body = self.keep("body", b'{"id":"evt_1"}')
        # Not at the very edge, which the Lua tests look at: the clock goes on meanwhile.
        for offset, verdict in ((-180, None), (180, None), (-420, "ago, and option tolerance allows 300"), (-DAY, "ago"),
                                (420, "in the future"), (DAY, "in the future")):
            jobs = [{"do": "sign", "provider": provider, "secret": SECRETS[provider], "body": body, "id": "msg_1",
                     "time": int(time.time()) + offset} for provider in TIMED]
            verify = [{**job, "do": "verify", "headers": headers} for job, headers in zip(jobs, self.theirs(jobs))]
            for job, result in zip(verify, self.ours(verify)):
                if verdict is None:
                    self.assertIsNone(result, job)
                else:
                    self.refused(result, verdict, job)
            wide = [{**job, "options": {"tolerance": 2 * DAY}} for job in verify]
            self.assertEqual(self.ours(wide), [None, None])
            # They judge what we have signed then in the same way, but Stripe's package takes what is from the future.
            ours = self.ours([{key: value for key, value in job.items() if key != "id" or job["provider"] == "standard"} for job in jobs])
            for job, result in zip(jobs, self.theirs([{**job, "do": "verify", "headers": h} for job, h in zip(jobs, ours)])):
                if verdict is None or (offset > 0 and job["provider"] == "stripe"):
                    self.assertIsNone(result, job)
                else:
                    self.assertRegex(result, "Timestamp outside|timestamp too", job)

    def test_headers_with_several_signatures(self):
        body = self.keep("body", b'{"id":"evt_1"}')
        jobs = [{"do": "sign", "provider": provider, "secret": secret, "body": body, "id": "msg_1", "time": self.now}
                for provider in TIMED for secret in (OTHER[provider], SECRETS[provider])]
        stripe_old, stripe_new, standard_old, standard_new = self.theirs(jobs)
        stripe = stripe_old["Stripe-Signature"] + "," + stripe_new["Stripe-Signature"].split(",")[1]
        standard = {**standard_old, "webhook-signature": standard_old["webhook-signature"] + " " + standard_new["webhook-signature"]}
        verify = [{"do": "verify", "provider": "stripe", "secret": SECRETS["stripe"], "body": body,
                   "headers": {"Stripe-Signature": stripe}},
                  {"do": "verify", "provider": "standard", "secret": SECRETS["standard"], "body": body, "headers": standard}]
        self.assertEqual(self.ours(verify), [None, None])
        self.assertEqual(self.theirs(verify), [None, None])
        # With two secrets we send the same header.
        made = self.ours([{"do": "sign", "provider": provider, "secret": [OTHER[provider], SECRETS[provider]], "body": body,
                           "time": self.now, **({"id": "msg_1"} if provider == "standard" else {})} for provider in TIMED])
        self.assertEqual(made[0]["Stripe-Signature"], stripe)
        self.assertEqual(made[1]["webhook-signature"], standard["webhook-signature"])

    def test_slack(self):
        pypi.ensure()
        from slack_sdk.signature import SignatureVerifier
        secret = "8f742231b10e8888abcd99yyyzzz85a5"
        peer = SignatureVerifier(secret)
        bodies = self.payloads()
        theirs = [{"X-Slack-Request-Timestamp": str(self.now),
                   "X-Slack-Signature": peer.generate_signature(timestamp=str(self.now), body=(self.folder / body).read_bytes())}
                  for body in bodies]
        verify = [{"do": "verify", "provider": "slack", "secret": secret, "body": body, "headers": headers}
                  for body, headers in zip(bodies, theirs)]
        self.assertEqual(self.ours(verify), [None] * PAYLOADS)
        changed = [{**job, "body": self.changed(job["body"])} for job in verify]
        for job, result in zip(changed, self.ours(changed)):
            self.refused(result, "is not one of this body", job)
        made = self.ours([{"do": "sign", "provider": "slack", "secret": secret, "body": body, "time": self.now} for body in bodies])
        for body, headers, expected in zip(bodies, made, theirs):
            self.assertEqual({name: headers[name] for name in expected}, expected)
            text = (self.folder / body).read_bytes()
            self.assertTrue(peer.is_valid(text, headers["X-Slack-Request-Timestamp"], headers["X-Slack-Signature"]), body)
            self.assertFalse(peer.is_valid(text + b" ", headers["X-Slack-Request-Timestamp"], headers["X-Slack-Signature"]), body)

    # ---- by description ----

    def described(self, provider, body):
        """What the provider sends with a body, as its documentation says, and options that belong to it."""
        secret = "".join(self.random.choices("abcdefgh0123456789+/=_- '\"é", k=self.random.randrange(1, 80)))
        key = secret.encode()
        digest = hmac.new(key, body, hashlib.sha256)
        if provider == "shopify":
            return secret, {"X-Shopify-Hmac-Sha256": base64.b64encode(digest.digest()).decode()}, {}
        if provider == "notion":
            return secret, {"X-Notion-Signature": "sha256=" + digest.hexdigest()}, {}
        if provider == "zendesk":
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.now))
            digest = hmac.new(key, stamp.encode() + body, hashlib.sha256)
            return secret, {"X-Zendesk-Webhook-Signature": base64.b64encode(digest.digest()).decode(),
                            "X-Zendesk-Webhook-Signature-Timestamp": stamp}, {}
        algorithm = self.random.choice(["sha1", "sha256", "sha384", "sha512"])
        encoding = self.random.choice(["hex", "base64", "base64url"])
        options = {"header": "X-Any", "algorithm": algorithm, "encoding": encoding}
        if self.random.random() < 0.5:
            options["prefix"] = self.random.choice(["v1=", "sha256 ", "hmac,"])
        headers, text = {}, body
        if self.random.random() < 0.5:
            options["timestampHeader"] = "X-Moment"
            headers["X-Moment"] = str(self.now)
            text = headers["X-Moment"].encode() + b"." + body
        raw = hmac.new(key, text, algorithm).digest()
        shown = {"hex": raw.hex, "base64": lambda: base64.b64encode(raw).decode(),
                 "base64url": lambda: base64.urlsafe_b64encode(raw).decode().rstrip("=")}[encoding]()
        headers["X-Any"] = options.get("prefix", "") + shown
        return secret, headers, options

    def test_providers_by_their_description(self):
        sign, verify, expected = [], [], []
        for number in range(BODIES):
            provider = ("shopify", "notion", "zendesk", "hmac")[number % 4]
            body = self.random.randbytes(self.random.choice([0, 1, 63, 64, 65, 1000, 70000]))
            name = self.keep(f"body-{number}", body)
            secret, headers, options = self.described(provider, body)
            job = {"provider": provider, "secret": secret, "body": name, "options": options}
            timed = provider == "zendesk" or provider == "hmac"
            sign.append({**job, "do": "sign", **({"time": self.now} if timed else {})})
            verify.append({**job, "do": "verify", "headers": headers})
            expected.append(headers)
        for job, made, headers in zip(sign, self.ours(sign), expected):
            self.assertEqual({name: made[name] for name in headers}, headers, job)
        self.assertEqual(self.ours(verify), [None] * BODIES)
        for job in verify:
            body = bytearray((self.folder / job["body"]).read_bytes() or b"\0")
            body[self.random.randrange(len(body))] ^= 1 << self.random.randrange(8)
            (self.folder / job["body"]).write_bytes(bytes(body))
        for job, result in zip(verify, self.ours(verify)):
            self.refused(result, "is not one of this body", job)
        print(f"{BODIES} deliveries (seed {SEED})")


class Server(Signers):
    """The same deliveries over HTTP to `workers serve`: each arrives byte for byte, and what is not as it was signed stays out."""
    SCRIPT = """
local workers, webhooks, crypto = require "workers", require "workers.webhooks", require "workers.crypto"
local env, json, kv = require "workers.env", require "workers.json", require "workers.kv"
local worker = workers.new()
for _, provider in ipairs { "github", "stripe", "standard" } do
  worker:webhook(provider, { title = provider, description = "Keeps digests of what it gets.",
    verify = webhooks[provider] { secret = function() return env.require(provider:upper()) end },
    execute = function(events)
      for _, event in ipairs(events) do
        kv.set(event.deliveryId, { provider, crypto.sha256(event.rawBody),
          crypto.sha256(json.encode(event.body, { sortKeys = true })), event.headers["x-number"] })
      end
    end })
end
return worker
"""

    def setUp(self):
        super().setUp()
        self.project = harness.Project(self.SCRIPT)
        self.addCleanup(self.project.close)
        self.project.write(".env", "".join(f'{provider.upper()}="{secret}"\n' for provider, secret in SECRETS.items()))
        self.server = harness.Server(self.project)
        self.places = {provider: self.server.webhook(provider) for provider in SECRETS}

    def send(self, jobs, connections=8):
        """The status and the answer of each, over connections that are kept."""
        def some(jobs):
            connection = http.client.HTTPConnection(self.places["github"][0], timeout=30)
            for number, job in jobs:
                connection.request("POST", self.places[job["provider"]][1], (self.folder / job["body"]).read_bytes(),
                                   {"Content-Type": "application/json", "X-Number": str(number), **job["headers"]})
                answer = connection.getresponse()
                yield answer.status, json.loads(answer.read())
            connection.close()

        numbered = list(enumerate(jobs))
        with concurrent.futures.ThreadPoolExecutor(connections) as pool:
            parts = list(pool.map(lambda n: list(some(numbered[n::connections])), range(connections)))
        return [parts[n % connections][n // connections] for n in range(len(jobs))]

    def test_every_payload_arrives_byte_for_byte(self):
        jobs = self.jobs(self.payloads())
        good, changed, _ = self.verifications(jobs, self.theirs(jobs))
        answers = self.send(good)
        self.assertEqual([status for status, _ in answers], [202] * len(good))
        count = lambda: self.project.value("SELECT count(*) FROM _workers_deliveries WHERE state = 'done'")  # noqa: E731
        harness.wait_until(lambda: count() == len(good), "the handlers")
        got = {key: json.loads(value) for key, value in self.project.rows("SELECT key, value FROM _workers_kv")}
        self.assertEqual(len(got), len(good))
        for number, (job, (_, answer)) in enumerate(zip(good, answers)):
            body = (self.folder / job["body"]).read_bytes()
            canonical = json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
            self.assertEqual(got[answer["deliveryId"]], [job["provider"], hashlib.sha256(body).hexdigest(),
                                                         hashlib.sha256(canonical).hexdigest(), str(number)])

        # What was changed on its way, signed with another secret, or sent days ago is refused, and nothing of it is kept.
        stranger = self.signed([{**job, "secret": OTHER[job["provider"]]} for job in jobs])
        old = self.signed([{**job, "time": self.now - DAY} for job in jobs[::25] if job["provider"] in TIMED])
        sent, expected = [], []
        for number, job in enumerate(changed + stranger + old):
            sent.append(job)
            expected.append((401, "not_verified"))
            if number % 4 == 3:  # five refusals in a row would close the webhook
                sent += good[:1] + good[PAYLOADS:PAYLOADS + 1] + good[-1:]
                expected += [(202, None)] * 3
        answers = self.send(sent, connections=1)
        for number, ((status, answer), what) in enumerate(zip(answers, expected)):
            self.assertEqual((status, answer.get("error", {}).get("code")), what, sent[number])
        accepted = len(good) + sum(status == 202 for status, _ in answers)
        harness.wait_until(lambda: count() == accepted, "the handlers")
        self.assertEqual(self.project.value("SELECT count(*) FROM _workers_deliveries"), accepted)
        self.assertEqual(self.server.stop(), 0, self.server.text())
        print(f"{len(good)} deliveries arrived, {len(changed) + len(stranger)} refused, {len(old)} too old")


if __name__ == "__main__":
    unittest.main()
