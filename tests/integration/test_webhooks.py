"""Webhooks under `workers serve`: deliveries that `workers webhooks send` sends, and forms that curl sends."""
import email.parser
import email.policy
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import harness  # noqa: E402

# Each webhook keeps what it got: bytes in hex, since a store has texts only.
SCRIPT = """
local workers, webhooks, crypto, kv = require "workers", require "workers.webhooks", require "workers.crypto", require "workers.kv"
local env, json = require "workers.env", require "workers.json"
local worker = workers.new()
local function hex(value)
  if type(value) == "string" then return crypto.hex(value) end
  if type(value) ~= "table" then return value end
  local out = {}
  for name, inner in pairs(value) do out[type(name) == "string" and crypto.hex(name) or name] = hex(inner) end
  return #out > 0 and json.array(out) or out
end
local function keep(events)
  for _, event in ipairs(events) do
    local what = { headers = event.headers, rawBody = hex(event.rawBody), body = hex(event.body), bodyError = event.bodyError }
    kv.set(("got %03d"):format(kv.increment "count"), what)
  end
end
local function secret() return env.require "HOOK_SECRET" end
local function webhook(key, options)
  options.title, options.description, options.execute = key, "d", keep
  worker:webhook(key, options)
end
webhook("plain", {})
webhook("push", { verify = webhooks.github { secret = secret }, idempotencyKey = webhooks.github.idempotencyKey })
webhook("standard", { verify = webhooks.standard { secret = secret }, idempotencyKey = webhooks.standard.idempotencyKey })
webhook("own", { verify = function(request)
  if request.headers["x-own"] ~= "a: b" then error(workers.WebhookVerificationError "not mine") end
end })
worker:job("job", { title = "J", description = "d", execute = function() end, schedule = { cron = "0 5 * * *" } })
return worker
"""
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
FORM = "Content-Type: application/x-www-form-urlencoded"


def plain(value):
    """What a handler got, out of hex."""
    if isinstance(value, str):
        return bytes.fromhex(value)
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return {bytes.fromhex(name).decode(): plain(inner) for name, inner in value.items()} if isinstance(value, dict) else value


class WebhooksTest(harness.TestCase):
    def setUp(self):
        self.hooks = self.project(SCRIPT)
        self.hooks.write(".env", f"HOOK_SECRET={SECRET}\n")

    def serve(self):
        self.server = harness.Server(self.hooks)
        harness.wait_until((self.hooks.folder / ".workers" / "server").exists, "the server")
        return self.server

    def address(self, key):
        listed = self.hooks.run("webhooks", "list", "--json")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        return next(webhook["url"] for webhook in json.loads(listed.stdout) if webhook["key"] == key)

    def send(self, key, *args, code=0, **given):
        result = self.hooks.run("webhooks", "send", key, *args, **given)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result

    def deliveries(self, state="done"):
        return self.hooks.value("SELECT count(*) FROM _workers_deliveries WHERE state = ?", state)

    def got(self, count):
        """What the handlers have got when count deliveries are done."""
        harness.wait_until(lambda: self.deliveries() == count, f"{count} deliveries")
        rows = self.hooks.rows("SELECT value FROM _workers_kv WHERE key LIKE 'got %' ORDER BY key")
        self.assertEqual(len(rows), count)
        found = [json.loads(row[0]) for row in rows]
        for one in found:
            one["rawBody"], one["body"] = plain(one["rawBody"]), plain(one.get("body"))
        return found


class Sending(WebhooksTest):
    def test_a_signed_delivery_is_handled_once(self):
        self.serve()
        first = self.send("push", "-d", '{"after":"6113"}', "--id", "72d3162e", "--event", "ping")
        status, answer = first.stdout.splitlines()
        self.assertEqual(status, "202")
        self.assertEqual(list(json.loads(answer)), ["deliveryId"])
        self.assertEqual(first.stderr, "")
        again = json.loads(self.send("push", "-d", '{"after":"6113"}', "--id", "72d3162e", "--json").stdout)
        self.assertEqual(again, {"status": 202, "signed": True, "body": {"deliveryId": json.loads(answer)["deliveryId"], "repeated": True}})
        self.send("push", "-d", '{"after":"6114"}')
        found = self.got(2)
        self.assertEqual([one["body"] for one in found], [{"after": b"6113"}, {"after": b"6114"}])
        self.assertEqual([one["headers"]["x-github-event"] for one in found], ["ping", "push"])
        self.assertEqual(found[0]["headers"]["x-github-delivery"], "72d3162e")
        self.assertNotEqual(found[1]["headers"]["x-github-delivery"], "72d3162e")
        self.assertEqual(found[0]["headers"]["content-type"], "application/json")

    def test_an_id_that_is_signed(self):
        self.serve()
        self.send("standard", "--id", "msg_1")
        self.assertIn('"repeated":true', self.send("standard", "--id", "msg_1").stdout)
        found, = self.got(1)
        self.assertEqual((found["headers"]["webhook-id"], found["rawBody"]), ("msg_1", b"{}"))

    def test_another_secret_is_refused(self):
        self.serve()
        self.hooks.write(".env", "HOOK_SECRET=another\n")
        refused = self.send("push", code=1)
        self.assertTrue(refused.stdout.startswith("401\n"), refused.stdout)
        self.assertIn("not_verified", refused.stdout)
        self.server.wait_for("is not one of this body")
        answer = json.loads(self.send("push", "--json", code=1).stdout)
        self.assertEqual((answer["status"], answer["signed"]), (401, True))
        self.hooks.write(".env", "")
        missing = self.send("push", code=1)
        self.assertEqual(missing.stdout, "")
        self.assertIn("HOOK_SECRET", missing.stderr)
        self.assertEqual(self.hooks.value("SELECT count(*) FROM _workers_deliveries"), 0)

    def test_a_webhook_is_closed_until_it_is_reset_or_loaded_anew(self):
        def close():
            for _ in range(5):
                self.send("own", code=1)
            harness.wait_until(lambda: self.send("own", code=1).stdout.splitlines()[0] == "503", "the end of patience")

        def is_open():
            return self.hooks.run("webhooks", "send", "own", "--header", "X-Own: a: b").stdout.splitlines()[0] == "202"

        server = self.serve()
        close()
        self.assertFalse(is_open())
        self.assertEqual(self.hooks.run("webhooks", "reset", "own").returncode, 0)
        harness.wait_until(is_open, "the reset")
        close()
        server.process.send_signal(signal.SIGHUP)
        harness.wait_until(is_open, "the script that is loaded anew")

    def test_webhooks_that_are_not_signed(self):
        self.serve()
        self.assertEqual(self.send("plain", "-d", "[1]").stderr, "")
        own = self.send("own", "--header", "X-Own: a: b", "--header", "X-Other:", "--header", "content-type: text/plain", "-d", "-", input="x")
        self.assertEqual(own.stderr, "not signed: verify of own does not come from workers.webhooks\n")
        self.assertTrue(self.send("own", code=1).stdout.startswith("401\n"))
        first, second = self.got(2)
        self.assertEqual((first["rawBody"], first["headers"]["content-type"]), (b"[1]", "application/json"))
        self.assertEqual((second["rawBody"], second["body"], second["headers"]["content-type"]), (b"x", None, "text/plain"))
        self.assertEqual(second["headers"]["x-other"], "")

    def test_forms_and_damaged_bodies(self):
        self.serve()
        self.send("push", "--header", FORM, "-d", "payload=%7B%7D&a=1&a=2")
        body = b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n\0\xff\r\n--b--\r\n'
        (self.hooks.folder / "form").write_bytes(body)
        multipart = "Content-Type: multipart/form-data; boundary=b"
        self.send("push", "--header", multipart, "-d", "@form")
        self.send("push", "--header", multipart, "-d", "--c--")
        self.send("push", "-d", "{")
        found = self.got(4)
        self.assertEqual(found[0]["body"], {"payload": b"{}", "a": [b"1", b"2"]})
        self.assertEqual(found[1]["body"], {"f": {"filename": b"x", "content": b"\0\xff"}})
        self.assertEqual(found[1]["rawBody"], body)
        self.assertEqual((found[2]["body"], found[2]["bodyError"]), (None, "the body is not a form: the first boundary is missing"))
        self.assertEqual(found[3]["body"], None)
        self.assertTrue(found[3]["bodyError"].startswith("the body is not JSON: "), found[3]["bodyError"])

    def test_another_address(self):
        upstream = self.upstream()
        upstream.script("/hook", harness.Page({"no": 1}, status=503))
        answer = self.send("push", "--url", f"{upstream.url}/hook", "-d", '{"n":1}', code=1)
        self.assertEqual(answer.stdout.splitlines()[0], "503")
        self.assertEqual(upstream.requests["hook"], [{"n": 1}])
        refused = self.send("push", "--url", f"http://127.0.0.1:{harness.free_port()}/", code=1)
        self.assertEqual(refused.stdout, "")
        self.assertIn("127.0.0.1", refused.stderr)

    def test_permissions_of_the_script_do_not_count(self):
        self.hooks.write("workers.yaml", 'name: test\nmain: main.lua\npermissions: { net: ["example.com"] }\n')
        self.serve()
        self.send("push")
        self.got(1)

    def test_mistakes(self):
        self.assertEqual(self.send("push", code=1).stderr, "error: no server serves this project: start one with workers serve\n")
        self.assertEqual(self.send("pull", code=1).stderr, 'error: the worker has no webhook "pull": workers capabilities list shows them\n')
        self.assertEqual(self.send("job", code=1).stderr, 'error: "job" is a job, not a webhook\n')
        self.assertIn("--header must be a name and a value", self.send("push", "--header", "x", code=2).stderr)
        self.assertIn("cannot read missing", self.send("push", "-d", "@missing", code=1).stderr)
        nowhere = ("--url", "http://127.0.0.1:9/")
        self.assertIn("--event and --id need a verify function of workers.webhooks", self.send("own", *nowhere, "--event", "x", code=1).stderr)
        self.assertIn('error: webhooks.standard.sign: unknown option "event"', self.send("standard", *nowhere, "--event", "x", code=1).stderr)
        self.assertIn("header", self.send("plain", *nowhere, "--header", "a b: c", code=1).stderr)


class Forms(WebhooksTest):
    def curl(self, *args):
        if shutil.which("curl") is None:
            self.skipTest("curl is not installed")
        result = subprocess.run(["curl", "--silent", "--show-error", "--fail", self.address("plain"), *args], cwd=self.hooks.folder,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_what_curl_sends_arrives(self):
        self.serve()
        # Bytes of all kinds, with what looks like boundaries.
        content = random.Random(1).randbytes(9_000) + b"\r\n--\r\n\r\n--------------------------0\r\n" + bytes(range(256)) + b"\r"
        name = 'a "b" \\ ; ü%.bin'
        (self.hooks.folder / name).write_bytes(content)
        (self.hooks.folder / "empty.txt").touch()
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        fields = ["-F", "text=zwei\nZeilen ü", "-F", "tag=1", "-F", "tag=2", "-F", "tag=3", "-F", "none=", "-F", 'q"uoted\\=x',
                  "-F", f'file=@"{quoted}"', "-F", 'both=plain', "-F", "both=@empty.txt;type=text/csv; charset=utf-8"]
        self.curl(*fields)
        self.curl(*fields, "--form-escape")
        for found in self.got(2):
            self.assertNotIn("bodyError", found)
            self.assertEqual(found["body"], {
                "text": "zwei\nZeilen ü".encode(), "tag": [b"1", b"2", b"3"], "none": b"", 'q"uoted\\': b"x",
                "file": {"filename": name.encode(), "contentType": b"application/octet-stream", "content": content},
                "both": [b"plain", {"filename": b"empty.txt", "contentType": b"text/csv; charset=utf-8", "content": b""}]})

    def test_forms_are_read_as_python_reads_them(self):
        """Random forms within what RFC 2046 and RFC 7578 allow, against the email package."""
        self.serve()
        made = random.Random(int(os.environ.get("WORKERS_SEED", "1")))
        pieces = ["a", "ß", " ", ";", "=", "/", "--b", "x" * 60]
        count = 40
        for _ in range(count):
            body, boundary = made.choice([b"", b"preamble\r\n"]), made.choice(["b", "b b", "=_'?:/"])
            for _ in range(made.randrange(6)):
                name = "".join(made.choices(pieces, k=made.randrange(1, 4)))
                lines = [f'Content-Disposition: form-data; name="{name}"' + made.choice(['', '; filename="f"'])]
                if made.random() < 0.5:
                    lines.append("Content-Type: application/octet-stream")
                made.shuffle(lines)
                content = b"".join(made.choices([b"\r\n", b"\r\n--", b"--b", b"b", b"\0", b"\xff", b"\n", b"z"], k=made.randrange(9)))
                # After a line break these would be a boundary, or nearly: where the two may differ.
                content = content.replace(b"\r\n--", b"\r\n-+").replace(b"\n--", b"\n-+")
                content = content[2:] if content.startswith(b"--") else content
                body += f"--{boundary}\r\n".encode() + "\r\n".join(lines).encode() + b"\r\n\r\n" + content + b"\r\n"
            body += f"--{boundary}--".encode() + made.choice([b"", b"\r\n", b"\r\nepilogue"])
            (self.hooks.folder / "form").write_bytes(body)
            self.curl("-H", f'Content-Type: multipart/form-data; boundary="{boundary}"', "--data-binary", "@form")
        for found in self.got(count):
            head = b"Content-Type: " + found["headers"]["content-type"].encode() + b"\r\n\r\n"
            message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + found["rawBody"])
            expected = {}
            for part in message.iter_parts():
                value = part.get_payload(decode=True)
                if part.get_filename() is not None:
                    value = {"filename": b"f", "content": value}
                    if "Content-Type" in part:
                        value["contentType"] = b"application/octet-stream"
                name = part["Content-Disposition"].params["name"]
                if name in expected:
                    value = expected[name] + [value] if isinstance(expected[name], list) else [expected[name], value]
                expected[name] = value
            self.assertEqual(found["body"], expected, found["rawBody"])


if __name__ == "__main__":
    harness.main()
