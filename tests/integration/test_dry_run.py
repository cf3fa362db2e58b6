#!/usr/bin/env python3
"""Tools that can be asked what they would do: ctx.dryRun, and what is kept from leaving meanwhile."""
import json
import pathlib
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import Server, TestCase, finish, main, wait_until  # noqa: E402

SCRIPT = """local workers = require "workers"
local http, kv = require "workers.http", require "workers.kv"
local j = workers.j
local worker = workers.new()
worker:tool("close", { title = "C", description = "d", schema = j.object { n = j.integer() }, dryRun = true, execute = function(input, ctx)
  local count = kv.increment("count")
  local found = http.get("URL/task").ok
  if ctx.dryRun then return { would = "close " .. input.n, count = count, found = found } end
  http.post("URL/close", { json = { n = input.n } }):raise()
  return { closed = input.n, count = count, found = found }
end })
worker:tool("careless", { title = "C", description = "d", schema = j.object {}, dryRun = true, execute = function()
  http.request { url = "URL/close", method = "delete" }
  return "sent"
end })
worker:tool("none", { title = "N", description = "d", schema = j.object {}, execute = function(_, ctx) return { dryRun = ctx.dryRun } end })
return worker
"""


class DryRunTest(TestCase):
    def setUp(self):
        self.up = self.upstream()
        self.up.script("task", {})
        self.up.script("close", {})
        self.p = self.project(SCRIPT.replace("URL", self.up.url), 'name: test\nmain: main.lua\npermissions: { net: ["127.0.0.1"] }\n')

    def tool(self, key, input, code=0):
        result = self.ok(self.p.run("exec", key, "-d", json.dumps(input)), code)
        return json.loads(result.stdout) if code == 0 else result.stderr

    def test_nothing_is_changed(self):
        for _ in range(2):
            self.assertEqual(self.tool("close", {"n": 3, "dryRun": True}), {"would": "close 3", "count": 1, "found": True})
        self.assertEqual((self.up.count("task"), self.up.count("close")), (2, 0))
        self.assertEqual(self.tool("close", {"n": 3, "dryRun": False}), {"closed": 3, "count": 1, "found": True})
        self.assertEqual(self.tool("close", {"n": 4}), {"closed": 4, "count": 2, "found": True})
        self.assertEqual(self.up.requests["close"], [{"n": 3}, {"n": 4}])

    def test_a_request_that_would_change_something_does_not_leave(self):
        said = self.tool("careless", {"dryRun": True}, 1)
        self.assertRegex(said, r"main.lua:\d+: http.request: this is a dry run, in which no DELETE is sent: look at ctx.dryRun first")
        self.assertEqual(self.up.count("close"), 0)

    def test_who_does_not_offer_it_is_not_asked(self):
        self.assertEqual(self.tool("none", {}), {"dryRun": False})
        self.assertIn("InvalidToolInputError", self.tool("none", {"dryRun": True}, 1))
        self.assertIn("InvalidToolInputError", self.tool("close", {"n": 1, "dryRun": "yes"}, 1))
        self.assertEqual(self.up.count("task"), 0)

    def test_mistakes(self):
        for schema, message in (("j.object { dryRun = j.boolean() }", "which the schema has already"), ("j.string()", "needs a schema that is a j.object")):
            self.p.write("other.lua", f'local workers = require "workers" local j, worker = workers.j, workers.new() worker:tool("t", {{ title = "t", '
                                      f'description = "d", schema = {schema}, dryRun = true, execute = print }}) return worker')
            self.assertRegex(self.p.run("check", "other.lua").stderr, r'other.lua:1: worker:tool\("t"\): option "dryRun" .*' + message)

    def test_an_agent_sees_it(self):
        process = self.p.start("mcp", stdin=-1)
        for message in ({"id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}},
                        {"method": "notifications/initialized"}, {"id": 2, "method": "tools/list"},
                        {"id": 3, "method": "tools/call", "params": {"name": "close", "arguments": {"n": 7, "dryRun": True}}}):
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        process.stdin.flush()
        answers = {}
        while 3 not in answers or 2 not in answers:
            message = json.loads(process.stdout.readline())
            answers[message.get("id")] = message
        process.stdin.close()
        process.stdin = None
        self.assertEqual(finish(process)[0], 0)
        tools = {tool["name"]: tool["inputSchema"]["properties"] for tool in answers[2]["result"]["tools"]}
        offered = {"type": "boolean", "description": "Only say what would be done, and change nothing", "default": False}
        self.assertEqual(tools, {"close": {"dryRun": offered, "n": {"type": "integer"}}, "careless": {"dryRun": offered}, "none": {}})
        self.assertEqual(json.loads(answers[3]["result"]["content"][0]["text"])["would"], "close 7")
        manifest = json.loads(self.ok(self.p.run("manifest")).stdout)["capabilities"]
        self.assertEqual([one["config"].get("dryRun") for one in manifest], [True, True, None])

    def test_the_next_call_is_none(self):
        """A server keeps isolates: what one call was is not what the next one is."""
        server = Server(self.p)
        token = wait_until(lambda: server.url and (self.p.folder / ".workers/token").read_text().strip(), "the token")

        def call(input):
            request = urllib.request.Request(server.url + "/api/v1/workers/test/tools/close", method="POST", data=json.dumps(input).encode(),
                                             headers={"Authorization": "Bearer " + token})
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())
        for n in range(1, 6):
            self.assertEqual(call({"n": n, "dryRun": True}), {"would": f"close {n}", "count": n, "found": True})
            self.assertEqual(call({"n": n}), {"closed": n, "count": n, "found": True})
        self.assertEqual(self.up.requests["close"], [{"n": n} for n in range(1, 6)])
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    main()
