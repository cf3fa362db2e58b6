#!/usr/bin/env python3
"""What scripts may connect to: names, then the addresses that they resolve to, at every hop and every time."""
import http.server
import json
import os
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import TestCase, main  # noqa: E402

SCRIPT = """local workers = require "workers"
local http = require "workers.http"
local worker = workers.new()
worker:tool("get", { title = "t", description = "d", schema = workers.j.object { url = workers.j.string() },
  execute = function(input)
    local ok, response = pcall(http.get, input.url, { timeout = 5, connectTimeout = 2 })
    if ok then return { status = response.status, body = response.body } end
    return { code = response.code, message = response.message }
  end })
worker:tool("twice", { title = "t", description = "d", schema = workers.j.object { url = workers.j.string() },
  execute = function(input)
    local codes = workers.array {}
    for i = 1, 2 do
      local ok, response = pcall(http.get, input.url, { timeout = 5, connectTimeout = 1 })
      codes[i] = ok and response.status or response.code
    end
    return codes
  end })
return worker
"""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with its own words; /to?URL redirects there. As a proxy it answers for everybody."""

    def do_GET(self):
        self.server.seen.append(self.path)
        target = self.path.partition("/to?")[2]
        body = b"" if target else b"inside"
        self.send_response(302 if target else 200)
        if target:
            self.send_header("Location", target)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, address="127.0.0.1"):
        super().__init__((address, 0), Handler)
        self.seen = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class PermissionsTest(TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.port = self.server.server_address[1]

    def allow(self, *net):
        self.p = self.project(SCRIPT, f"name: test\nmain: main.lua\npermissions: {{ net: {json.dumps(net)} }}\n")

    def call(self, url, tool="get", dns="", env=None):
        environment = {"FAKE_DNS": dns, **(env or {})}
        if dns:
            environment["LD_PRELOAD"] = os.environ["FAKE_DNS_LIBRARY"]
            environment["ASAN_OPTIONS"] = "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")
        result = self.ok(self.p.run("exec", tool, "-d", json.dumps({"url": url}), env=environment))
        return json.loads(result.stdout)

    def refused(self, url, address, **more):
        answer = self.call(url, **more)
        self.assertEqual(answer.get("code"), "denied", answer)
        self.assertIn(f'its address {address} is not on the public internet; if it is meant, add it to workers.yaml: '
                      f'permissions: {{ net: ["{address}"] }}', answer["message"])
        return answer

    def test_names_that_resolve_to_inside_are_refused(self):
        self.allow("*")
        for name, address in (("a.test", "127.0.0.1"), ("b.test", "169.254.169.254"), ("c.test", "::1"), ("d.test", "10.0.0.1"),
                              ("e.test", "192.168.1.1"), ("f.test", "fd00::1"), ("g.test", "fe80::1"), ("h.test", "0.0.0.0"),
                              ("i.test", "100.64.0.1"), ("j.test", "64:ff9b::7f00:1"), ("k.test", "2002:7f00:1::")):
            self.refused(f"http://{name}:{self.port}/", address, dns=f"{name}={address}")
        self.refused(f"http://m.test:{self.port}/", "127.0.0.1", dns="m.test=::ffff:127.0.0.1")
        self.assertEqual(self.call(f"http://localhost:{self.port}/")["code"], "denied")
        self.assertEqual(self.server.seen, [])

    def test_every_way_to_write_an_address_is_refused(self):
        self.allow("*")
        for host, address in (("127.0.0.1", "127.0.0.1"), ("2130706433", "127.0.0.1"), ("0x7f000001", "127.0.0.1"),
                              ("0177.0.0.1", "127.0.0.1"), ("127.1", "127.0.0.1"), ("0x7f.1", "127.0.0.1"), ("0", "0.0.0.0"),
                              ("[::1]", "::1"), ("[::ffff:127.0.0.1]", "127.0.0.1"), ("[::ffff:7f00:1]", "127.0.0.1"),
                              ("[0:0:0:0:0:0:0:1]", "::1"), ("169.254.169.254", "169.254.169.254"),
                              ("2852039166", "169.254.169.254"), ("user@127.0.0.1", "127.0.0.1")):
            with self.subTest(host=host):
                self.refused(f"http://{host}:{self.port}/", address)
        self.assertEqual(self.server.seen, [])

    def test_listed_ones_are_allowed(self):
        dns = "db.test=127.0.0.1"
        for net in (["db.test", "127.0.0.1"], ["*", "127.0.0.0/8"], ["db.test", f"127.0.0.1:{self.port}"], ["*", "localhost"],
                    ["db.test", "::ffff:127.0.0.1"]):
            self.allow(*net)
            self.assertEqual(self.call(f"http://db.test:{self.port}/", dns=dns), {"status": 200, "body": "inside"}, net)
        self.allow("127.0.0.1")
        self.assertEqual(self.call(f"http://127.1:{self.port}/")["status"], 200)
        self.allow("localhost")
        self.assertEqual(self.call(f"http://localhost:{self.port}/")["status"], 200)
        self.allow("db.test")
        self.refused(f"http://db.test:{self.port}/", "127.0.0.1", dns=dns)
        self.allow("db.test", "127.0.0.1:1")
        self.refused(f"http://db.test:{self.port}/", "127.0.0.1", dns=dns)
        self.allow("127.0.0.1")
        self.assertIn("may not connect to db.test", self.call(f"http://db.test:{self.port}/", dns=dns)["message"])

    def test_without_a_list_everything_is_open(self):
        self.p = self.project(SCRIPT)
        self.assertEqual(self.call(f"http://127.0.0.1:{self.port}/")["status"], 200)

    def test_redirects_are_held_to_the_same(self):
        inside = Server("127.0.0.2")
        self.addCleanup(inside.server_close)
        self.addCleanup(inside.shutdown)
        self.allow("*", "127.0.0.1")
        port = inside.server_address[1]
        for target in (f"http://127.0.0.2:{port}/", f"http://inner.test:{port}/", f"http://2130706434:{port}/"):
            answer = self.refused(f"http://outer.test:{self.port}/to?{target}", "127.0.0.2",
                                  dns="outer.test=127.0.0.1;inner.test=127.0.0.2")
            self.assertNotIn("inside", json.dumps(answer))
        self.assertEqual(inside.seen, [])
        self.assertEqual(len(self.server.seen), 3)

    def test_a_name_that_changes_its_address_is_looked_at_again(self):
        """The address that is connected to is the one that is checked, however often the name is looked up."""
        self.allow("*", "127.0.0.1")
        self.assertEqual(self.call(f"http://turn.test:{self.port}/", "twice", dns="turn.test=127.0.0.1|127.0.0.2"), [200, 200],
                         "a connection that is open stays with its address")
        self.allow("*", "127.0.0.2")
        first, second = self.call(f"http://turn.test:{self.port}/", "twice", dns="turn.test=127.0.0.2|127.0.0.1")
        self.assertIn(first, ("connect", "timeout"), "nobody listens there")
        self.assertIn(second, ("connect", "denied"))
        self.assertEqual(len(self.server.seen), 2, "only those of the first worker")

    def test_a_proxy_of_the_environment_is_used(self):
        self.allow("*")
        proxy = {"http_proxy": f"http://127.0.0.1:{self.port}", "no_proxy": "direct.test"}
        self.assertEqual(self.call("http://example.com/path?q=1", env=proxy), {"status": 200, "body": "inside"})
        self.assertEqual(self.server.seen, ["http://example.com/path?q=1"])
        self.refused(f"http://direct.test:{self.port}/", "127.0.0.1", dns="direct.test=127.0.0.1", env=proxy)
        self.allow("example.com")
        self.assertIn("may not connect to example.org", self.call("http://example.org/", env=proxy)["message"])
        self.assertEqual(len(self.server.seen), 1)


if __name__ == "__main__":
    main()
