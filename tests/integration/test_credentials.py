#!/usr/bin/env python3
"""Brokered credentials: they reach the upstream, and nothing that a script, a log or a record could hold has them.

The upstream speaks TLS with a certificate made here, notes what it got, and can give it all back in its answer.
"""
import base64
import glob
import http.server
import json
import os
import pathlib
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import TestCase, main  # noqa: E402

SECRET = "zk7-Qm4fV9xW2pL8sR3tY6uB1nH5"

SCRIPT = """local workers = require "workers"
local http, json, log, env = require "workers.http", require "workers.json", require "workers.log", require "workers.env"
local Schema, j = workers.schema, workers.j
local worker = workers.new()
TOP
worker:credential("API_TOKEN", { network = {
  { domain = "api.test.example", transform = { { headers = { Authorization = "Bearer " .. workers.CREDENTIAL_VALUE } } } },
  { domain = "*.sub.example", transform = { { headers = { ["X-Key"] = "k={{credential}};v=1" } } } },
} })
local items = worker:database("items", { type = "managed", initialTitle = "Items", primaryKeyProperty = "ID",
  schema = { properties = { ID = Schema.title(), Body = Schema.richText() } } })
local function look(value, path, seen, found)
  if type(value) == "string" then
    if value:find("Qm4fV9xW2pL8sR3tY6", 1, true) then found[#found + 1] = path end
  elseif type(value) == "table" and not seen[value] then
    seen[value] = true
    for key, item in next, value do
      look(key, path .. ".key", seen, found)
      look(item, path .. "." .. tostring(key), seen, found)
    end
    look(getmetatable(value), path .. ".meta", seen, found)
  end
end
local function get(input)
  local ok, response = pcall(http.request, { url = input.url, headers = input.headers, method = input.method, timeout = 10 })
  log.info("got", ok and response.body or tostring(response))
  local found = {}
  look({ response, _G, package.loaded }, "", {}, found)
  return { ok = ok, status = ok and response.status or nil, headers = ok and response.headers or nil,
    body = ok and response.body or nil, url = ok and response.url or nil, message = not ok and response.message or nil,
    found = workers.array(found), env = env.get "API_TOKEN" or "nothing", require = tostring(select(2, pcall(env.require, "API_TOKEN"))),
    os = os.getenv "API_TOKEN" or "nothing" }
end
worker:tool("get", { title = "t", description = "d", schema = j.object { url = j.string() }, execute = get })
worker:tool("with", { title = "t", description = "d", schema = j.object { url = j.string(), name = j.string(), value = j.string() },
  execute = function(input) return get { url = input.url, headers = { [input.name] = input.value } } end })
worker:tool("stream", { title = "t", description = "d", schema = j.object { url = j.string() }, execute = function(input)
  local pieces = workers.array {}
  for piece in http.stream(input.url):chunks() do pieces[#pieces + 1] = piece end
  local found = {}
  look({ pieces, _G, package.loaded }, "", {}, found)
  return { body = table.concat(pieces), pieces = #pieces, found = workers.array(found) }
end })
worker:tool("boom", { title = "t", description = "d", schema = j.object { url = j.string() },
  execute = function(input) error("upstream said " .. http.get(input.url).body) end })
worker:sync("fill", { database = items, schedule = "manual", execute = function()
  local body = http.get("URL/echo").body
  print(body)
  return { changes = { { type = "upsert", key = "1", properties = { Body = body } } }, hasMore = false, nextState = body }
end })
return worker
"""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        target = self.path.partition("/to?")[2]
        whole = str(self.headers) if "echo" in self.path else ""
        self.send_response(302 if target else 200)
        if target:
            self.send_header("Location", target)
        if whole:
            self.send_header("X-Echo", self.headers.get("Authorization", "") + self.headers.get("X-Key", ""))
        self.send_header("Content-Length", str(len(whole)))
        self.end_headers()
        value = self.headers.get("Authorization", "")
        if "split" in self.path and value:
            # The value in three parts, each in a TLS record of its own.
            cut = whole.index(value) + len("Bearer ")
            for piece in (whole[:cut + 5], whole[cut + 5:cut + 20], whole[cut + 20:]):
                self.wfile.write(piece.encode())
                self.wfile.flush()
                time.sleep(0.1)
            return
        self.wfile.write(whole.encode())

    def log_message(self, *_):
        pass


class CredentialsTest(TestCase):

    def setUp(self):
        self.p = self.project("")
        folder = pathlib.Path(self.p.folder)
        self.certificate = folder / "ca.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                        "2", "-keyout", folder / "key.pem", "-out", self.certificate, "-subj", "/CN=test", "-addext",
                        "subjectAltName=DNS:api.test.example,DNS:a.sub.example,DNS:other.example"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, folder / "key.pem")
        self.server = self.serve(context)
        self.plain = self.serve(None)
        self.port = self.server.server_address[1]
        self.write()

    def serve(self, context):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.seen = []
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server

    def write(self, top=""):
        self.p.write("main.lua", SCRIPT.replace("TOP", top).replace("URL", f"https://api.test.example:{self.port}"))

    def environment(self, **more):
        names = ("api.test.example", "a.sub.example", "sub.example", "other.example", "b.api.test.example")
        return {"FAKE_DNS": ";".join(f"{name}=127.0.0.1" for name in names), "LD_PRELOAD": os.environ["FAKE_DNS_LIBRARY"],
                "SSL_CERT_FILE": str(self.certificate),
                "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", ""), "API_TOKEN": SECRET, **more}

    def run_tool(self, tool, code=0, env=None, args=(), **fields):
        result = self.p.run("exec", tool, "-d", json.dumps(fields), *args, env=self.environment() if env is None else env)
        self.assertEqual(result.returncode, code, result.stderr)
        self.clean(result.stdout + result.stderr)
        return json.loads(result.stdout) if code == 0 else result

    def clean(self, text):
        self.assertNotIn(SECRET, text)
        self.assertNotIn(SECRET[4:-4], text)
        self.assertNotIn(base64.b64encode(SECRET.encode()).decode(), text)

    def get(self, host, path="/", scheme="https", **more):
        port = self.port if scheme == "https" else self.plain.server_address[1]
        answer = self.run_tool(more.pop("tool", "get"), url=f"{scheme}://{host}:{port}{path}", **more)
        self.assertEqual(answer["found"], [], "nothing in the Lua state holds it")
        return answer

    def test_it_reaches_the_hosts_that_it_is_for(self):
        self.get("api.test.example")
        self.get("a.sub.example")
        self.get("other.example")
        first, second, third = [headers for _, headers in self.server.seen]
        self.assertEqual(first["authorization"], f"Bearer {SECRET}")
        self.assertNotIn("x-key", first)
        self.assertEqual(second["x-key"], f"k={SECRET};v=1")
        self.assertNotIn("authorization", second)
        self.assertNotIn(SECRET, json.dumps(third))

    def test_scripts_cannot_read_it(self):
        answer = self.get("api.test.example")
        self.assertEqual((answer["env"], answer["os"]), ("nothing", "nothing"))
        self.assertIn("API_TOKEN is a credential: no script can read it", answer["require"])

    def test_a_script_that_has_read_it_before_cannot_declare_it(self):
        self.write('local token = env.get "API_TOKEN"')
        result = self.run_tool("get", 1, url="https://api.test.example/")
        self.assertIn('main.lua:6: worker:credential("API_TOKEN"): the script has read the variable API_TOKEN before', result.stderr)

    def test_it_takes_the_place_of_what_the_script_sends(self):
        self.get("api.test.example", tool="with", name="authorization", value="mine")
        self.assertEqual(self.server.seen[0][1]["authorization"], f"Bearer {SECRET}")
        self.get("api.test.example", tool="with", name="X-Other", value="{{credential}}")
        self.assertEqual(self.server.seen[1][1]["x-other"], "{{credential}}", "only declared templates are filled")

    def test_an_answer_that_gives_it_back_is_cleaned(self):
        answer = self.get("api.test.example", "/echo")
        self.assertIn("Authorization: Bearer [redacted]", answer["body"])
        self.assertEqual(answer["headers"]["x-echo"], "Bearer [redacted]")
        self.assertIn("k=[redacted];v=1", self.get("a.sub.example", "/echo")["body"])

    def test_a_streamed_answer_is_cleaned_across_its_pieces(self):
        answer = self.get("api.test.example", "/echo/split", tool="stream")
        self.assertIn("Authorization: Bearer [redacted]", answer["body"])
        self.assertGreater(answer["pieces"], 1)

    def test_redirects_take_it_along_only_where_it_belongs(self):
        self.get("api.test.example", f"/to?https://other.example:{self.port}/there")
        self.get("other.example", f"/to?https://api.test.example:{self.port}/back")
        seen = self.server.seen
        self.assertEqual([path for path, _ in seen], [f"/to?https://other.example:{self.port}/there", "/there",
                                                      f"/to?https://api.test.example:{self.port}/back", "/back"])
        self.assertEqual([headers.get("authorization") for _, headers in seen], [f"Bearer {SECRET}", None, None, f"Bearer {SECRET}"])

    def test_it_is_not_sent_unencrypted(self):
        result = self.p.run("exec", "get", "-d", json.dumps({"url": f"http://api.test.example:{self.plain.server_address[1]}/"}),
                            env=self.environment())
        self.clean(result.stdout + result.stderr)
        self.assertIn('credential "API_TOKEN" is not sent to api.test.example, because the request is not encrypted: use https',
                      result.stderr)
        self.assertNotIn("authorization", self.plain.seen[0][1])
        # A redirect from https to http is not followed at all.
        answer = self.get("api.test.example", f"/to?http://api.test.example:{self.plain.server_address[1]}/down")
        self.assertIn("redirect", answer["message"])
        self.assertEqual(len(self.plain.seen), 1)

    def test_a_missing_or_unfit_value_is_an_error_that_does_not_show_it(self):
        for value, message in ((None, 'credential "API_TOKEN" has no value: set it with `workers env set API_TOKEN=…`, or in .env'),
                               ("", 'the value of credential "API_TOKEN" is empty'),
                               (f"{SECRET}\r\nX-Evil: 1", 'the value of credential "API_TOKEN" has a control character'),
                               ("x" * 40000, 'the value of credential "API_TOKEN" is longer than 32 KiB')):
            env = self.environment(API_TOKEN=value or "")
            if value is None:
                del env["API_TOKEN"]
            answer = self.run_tool("get", env=env, url=f"https://api.test.example:{self.port}/")
            self.assertIn(message, answer["message"])
        self.assertEqual(self.server.seen, [])

    def test_values_from_env_files_and_sealed_ones(self):
        env = self.environment()
        del env["API_TOKEN"]
        self.p.write(".env", f"API_TOKEN={SECRET}\n")
        self.run_tool("get", env=env, url=f"https://api.test.example:{self.port}/")
        (pathlib.Path(self.p.folder) / ".env").unlink()
        self.ok(self.p.run("env", "set", f"API_TOKEN={SECRET}"))
        self.run_tool("get", env=env, url=f"https://api.test.example:{self.port}/")
        self.assertEqual([headers["authorization"] for _, headers in self.server.seen], [f"Bearer {SECRET}"] * 2)

    def test_nothing_that_is_kept_holds_it(self):
        result = self.p.run("run", "main.lua", "fill", env=self.environment())
        self.assertEqual(result.returncode, 0, result.stderr)
        self.clean(result.stdout + result.stderr)
        self.assertEqual(self.server.seen[0][1]["authorization"], f"Bearer {SECRET}")
        self.assertIn("Bearer [redacted]", self.p.value("SELECT body FROM items"))
        result = self.run_tool("boom", 1, url=f"https://api.test.example:{self.port}/echo")
        self.assertIn("upstream said", result.stderr)
        for args in (["runs", "list"], ["sync", "state", "get", "fill"], ["manifest"], ["db", "query", "SELECT * FROM items"]):
            self.clean(self.ok(self.p.run(*args)).stdout)
        files = [path for path in glob.glob(f"{self.p.folder}/.workers/**", recursive=True) if os.path.isfile(path)]
        self.assertGreaterEqual(len(files), 2)
        for path in files:
            content = pathlib.Path(path).read_bytes()
            self.assertNotIn(SECRET.encode(), content, path)
            self.assertNotIn(SECRET[4:-4].encode(), content, path)


if __name__ == "__main__":
    main()
