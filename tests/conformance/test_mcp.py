"""The Model Context Protocol: its conformance suite, its SDK and its inspector as clients, and what goes wrong."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import harness  # noqa: E402
import npm  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent / "mcp"

# What a worker does not do, and why. Everything else in the suite must pass.
NOT_OURS = {
    "completion-complete": "there are no prompts to complete",
    "prompts-list": "workers declare tools, not prompts", "prompts-get-simple": "no prompts", "prompts-get-with-args": "no prompts",
    "prompts-get-embedded-resource": "no prompts", "prompts-get-with-image": "no prompts",
    "tools-call-sampling": "a tool asks no model", "tools-call-elicitation": "a tool asks nobody while it runs",
    "elicitation-sep1034-defaults": "no elicitation", "elicitation-sep1330-enums": "no elicitation",
    "resources-read-text": "resources are the worker's databases; the suite wants test://static-text",
    "resources-read-binary": "the suite wants test://static-binary", "resources-templates-read": "the suite wants test://template/123/data",
    "resources-subscribe": "rows change by the thousand: nobody is told of each", "resources-unsubscribe": "no subscriptions",
}


# Recommended, and not done: the suite warns, and passes them.
SHOULD = {"server-sse-polling": "an event that is lost is not sent again: a tool's stream cannot be taken up elsewhere"}


class McpTest(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        if not harness.BINARY:
            raise unittest.SkipTest("WORKERS_BIN does not name the binary")
        cls.packages = npm.ensure()
        cls.node = npm.node()
        cls.p = harness.Project((HERE / "everything.lua").read_text(encoding="utf-8"), "name: everything\nmain: main.lua\n")
        assert cls.p.run("run").returncode == 0
        cls.server = harness.Server(cls.p)
        cls.url = cls.server.url + "/mcp"
        cls.token = cls.p.run("tokens", "make", "agent", "--scope", "run").stdout.strip()
        cls.reader = cls.p.run("tokens", "make", "reader").stdout.strip()
        harness.wait_until(lambda: cls.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}, cls.reader)[0] == 200, "the tokens to be known")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.p.close()

    @classmethod
    def post(cls, message, token=None, **headers):
        """Status, headers, body."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        given = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
                 "Authorization": "Bearer " + (token or cls.token)} | {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(cls.url, data, {k: v for k, v in given.items() if v is not None}, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read().decode()

    def ask(self, method, params=None, token=None, **headers):
        status, _, body = self.post({"jsonrpc": "2.0", "id": 7, "method": method} | ({"params": params} if params is not None else {}), token, **headers)
        self.assertEqual(status, 200, body)
        return json.loads(body)

    # ---- clients of others ----

    def proxy(self, token):
        process = subprocess.Popen([self.node, HERE / "proxy.mjs", self.url, token], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.addCleanup(lambda: (process.kill(), process.communicate()))
        return process.stdout.readline().strip() + "/mcp"

    def test_the_conformance_suite(self):
        place = tempfile.mkdtemp(prefix="workers-mcp-")
        self.addCleanup(shutil.rmtree, place, ignore_errors=True)
        url = self.proxy(self.token)
        suite = self.packages / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
        listed = subprocess.run([self.node, suite, "list", "--server"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60).stdout
        scenarios = re.findall(r"^  - (\S+) \[(.*)\]$", listed.split("Client scenarios")[0], re.M)
        self.assertGreater(len(scenarios), 30, listed)
        self.assertLessEqual(set(NOT_OURS), {name for name, _ in scenarios})
        passed = 0
        for name, versions in scenarios:
            if name in NOT_OURS:
                continue
            with self.subTest(name):
                ran = subprocess.run([self.node, suite, "server", "--url", url, "--scenario", name, "--verbose"], cwd=place, stdin=subprocess.DEVNULL,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
                self.assertEqual(ran.returncode, 0, ran.stdout[-3000:])
                if name not in SHOULD:
                    self.assertNotIn("WARNING", ran.stdout, ran.stdout[-3000:])
                passed += len(versions.split(","))
        print(f"{passed} scenarios of the conformance suite passed, over both revisions; {len(NOT_OURS)} left out")

    def check(self, seen):
        self.assertEqual(seen["server"], {"name": "everything", "version": seen["server"]["version"]})
        tools = {tool["name"]: tool for tool in seen["tools"]}
        self.assertEqual(tools["add"]["annotations"], {"readOnlyHint": True})
        self.assertEqual((tools["add"]["title"], sorted(tools["add"]["inputSchema"]["properties"]), tools["add"]["outputSchema"]["required"]), ("Add", ["a", "b"], ["sum"]))
        self.assertEqual(seen["add"], {"content": [{"type": "text", "text": '{"sum":3.5}'}], "structuredContent": {"sum": 3.5}})
        self.assertEqual(seen["mistake"], {"content": [{"type": "text", "text": "input must have required property 'b'"}], "isError": True})
        self.assertEqual(seen["failure"], {"content": [{"type": "text", "text": "This tool intentionally returns an error for testing"}], "isError": True})
        self.assertEqual(seen["unknown"]["code"], -32602)
        self.assertIn('unknown tool: the worker has no tool "ad"; did you mean "add"?', seen["unknown"]["message"])
        self.assertEqual(seen["progress"], [{"progress": n, "total": 100, "message": f"at {n}"} for n in (0, 50, 100)])
        self.assertEqual(seen["quiet"], 0)
        texts = [(line["level"], line["logger"], line["data"]) for line in seen["logs"]]
        self.assertEqual(texts, [("info", "everything", f"Tool {what}") for what in ("execution started", "processing data", "execution completed")]
                         + [("info", "everything", "waiting")])
        self.assertIn("abort", json.dumps(seen["stopped"]).lower())
        self.assertEqual([resource["uri"] for resource in seen["resources"]], ["workers://everything/databases/cities", "workers://everything/schema"])
        self.assertEqual(len(seen["templates"]), 3)
        self.assertEqual([row["key"] for row in json.loads(seen["rows"]["text"])], ["A/ü", "BER"])
        self.assertEqual([row["key"] for row in json.loads(seen["page"]["text"])], ["A/ü"])
        self.assertEqual(json.loads(seen["row"]["text"]), {"key": "A/ü", "row": {"Name": "Zürich", "Code": "A/ü"}})
        self.assertEqual((seen["content"]["mimeType"], seen["content"]["text"]), ("text/markdown", "# Berlin\n\nA city."))
        self.assertEqual([column["column"] for column in json.loads(seen["schema"]["text"])], ["name", "code"])
        self.assertEqual(seen["noResource"]["code"], -32002)
        self.assertEqual(seen["noUri"]["code"], -32002)

    def test_the_sdk_over_stdio(self):
        ran = subprocess.run([self.node, HERE / "client.mjs", self.packages, "stdio", harness.BINARY, self.p.folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             stdin=subprocess.DEVNULL, text=True, timeout=120)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        self.check(json.loads(ran.stdout))

    def stdio(self, data, code=0):
        """Answers of one process to bytes, from a pipe and from a file; and what it says."""
        path = self.p.folder / "input"
        path.write_bytes(data)
        with open(path, "rb") as file:
            ran = [subprocess.run([harness.BINARY, "mcp"], cwd=self.p.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, **given)
                   for given in ({"input": data}, {"stdin": file})]
        answers = [[json.loads(line) for line in one.stdout.splitlines()] for one in ran]
        self.assertEqual([one.returncode for one in ran], [code, code], ran)
        self.assertCountEqual(*answers)
        self.assertEqual(ran[0].stderr, ran[1].stderr)
        return answers[0], ran[0].stderr.decode()

    def test_bad_input_over_stdio(self):
        for nothing in (b"", b"\n\r\n  \n"):
            self.assertEqual(self.stdio(nothing), ([], ""))
        for text, code, message in ((b"[]", -32600, "a message is an object"), (b"5", -32600, "a message is an object"), (b"{", -32700, "the message is not JSON: line 1"),
                                    (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600, "a message is an object"), (b"\xff\x00", -32700, "the message is not JSON"),
                                    (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600, "a method is a text"), (b'{"jsonrpc":"2.0"}', -32600, 'a message has a "method"'),
                                    (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600, "an id is a text or a number"),
                                    (b"[" * 600, -32700, "nested deeper than 512 levels")):
            answers, said = self.stdio(text + b'\n{"jsonrpc":"2.0","id":"last","method":"ping"}')  # which has no line's end
            self.assertEqual((len(answers), said), (2, ""), answers)
            self.assertEqual((answers[0]["error"]["code"], answers[0]["id"], answers[1]), (code, None, {"jsonrpc": "2.0", "id": "last", "result": {}}))
            self.assertIn(message, answers[0]["error"]["message"])
        answers, said = self.stdio(b"x" * (64 * 1024 * 1024 + 1), 1)
        self.assertEqual((answers, said), ([], "error: a message has more than 64 MiB: each is one line\n"))

    def test_more_calls_than_are_under_way_at_once(self):
        """A client that does not wait for answers: nothing more is read for a while, and none is lost."""
        project = self.project("""local workers = require "workers"
local j, worker = workers.j, workers.new()
worker:tool("double", { title = "D", description = "d", schema = j.object { n = j.integer() }, outputSchema = j.object { twice = j.integer() },
  execute = function(input) workers.sleep(0.01) return { twice = 2 * input.n } end })
return worker
""", "name: double\nmain: main.lua\n")
        calls = range(1, 8001)
        lines = [{"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": {"name": "double", "arguments": {"n": n}}} for n in calls]
        ran = project.run("mcp", input="".join(json.dumps(line) + "\n" for line in lines), timeout=100)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        answers = [json.loads(line) for line in ran.stdout.splitlines()]
        self.assertEqual({answer["id"]: answer["result"]["structuredContent"]["twice"] for answer in answers}, {n: 2 * n for n in calls})
        self.assertEqual(len(answers), len(calls))

    def test_the_sdk_over_http(self):
        client = subprocess.Popen([self.node, HERE / "client.mjs", self.packages, "http", self.url, self.token], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  stdin=subprocess.DEVNULL, text=True)
        self.addCleanup(lambda: (client.kill(), client.communicate()))
        line = client.stdout.readline()
        if line == "ready\n":
            self.server.process.send_signal(signal.SIGHUP)
        out, err = client.communicate(timeout=120)
        self.assertEqual((client.returncode, err), (0, ""), line)
        seen = json.loads(out)
        self.assertIs(seen["changed"], True)
        self.check(seen)

    def test_the_inspector(self):
        inspector = self.packages / "node_modules/@modelcontextprotocol/inspector"
        binary = json.loads((inspector / "package.json").read_text())["bin"]
        program = inspector / (binary if isinstance(binary, str) else next(iter(binary.values())))
        for where in ([harness.BINARY, "mcp", str(self.p.folder)], [self.url, "--transport", "http", "--header", f"Authorization: Bearer {self.token}"]):
            ran = subprocess.run([self.node, program, "--cli", *where, "--method", "tools/call", "--tool-name", "add", "--tool-arg", "a=20", "--tool-arg", "b=22"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, timeout=120,
                                 env=os.environ | {"PATH": f"{self.node.parent}:{os.environ['PATH']}"})
            self.assertEqual(ran.returncode, 0, ran.stderr + ran.stdout)
            self.assertEqual(json.loads(ran.stdout)["structuredContent"], {"sum": 42})

    def test_a_project_that_is_edited_under_its_agent(self):
        script = (HERE / "everything.lua").read_text(encoding="utf-8")
        project = self.project(script, "name: everything\nmain: main.lua\n")
        process = project.start("mcp", stdin=subprocess.PIPE)

        def ask(id, method, params=None):
            process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}) + "\n")
            process.stdin.flush()

        def until(wanted):
            while True:
                message = json.loads(process.stdout.readline())
                if wanted(message):
                    return message

        ask(1, "tools/call", {"name": "wait"})
        until(lambda message: message.get("method") == "notifications/message")
        project.write("main.lua", script.replace('worker:tool("add"', 'worker:tool("sum"'))
        until(lambda message: message.get("method") == "notifications/tools/list_changed")
        ask(2, "tools/call", {"name": "sum", "arguments": {"a": 1, "b": 1}})
        self.assertEqual(until(lambda message: message.get("id") == 2)["result"]["structuredContent"], {"sum": 2})
        project.write("main.lua", "this is no Lua")
        self.assertRegex(process.stderr.readline(), "wait info: waiting")
        self.assertRegex(process.stderr.readline(), "error: main.lua:1: ")
        ask(3, "tools/call", {"name": "sum", "arguments": {"a": 1, "b": 2}})
        self.assertEqual(until(lambda message: message.get("id") == 3)["result"]["structuredContent"], {"sum": 3})
        # What ran in the first version can still be stopped; then the input ends, and with it the program.
        process.stdin.write('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}\n')
        process.stdin.close()
        process.stdin = None
        self.assertEqual(process.wait(30), 0)

    # ---- the protocol ----

    def test_revisions(self):
        for asked, given in (("2025-11-25", "2025-11-25"), ("2025-06-18", "2025-06-18"), ("2025-03-26", "2025-03-26"), ("2024-11-05", "2025-11-25"), ("", "2025-11-25")):
            self.assertEqual(self.ask("initialize", {"protocolVersion": asked})["result"]["protocolVersion"], given)
        self.assertEqual(self.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}, MCP_Protocol_Version="1999-01-01")[0], 400)
        self.assertEqual(self.ask("ping", MCP_Protocol_Version="2025-06-18"), {"jsonrpc": "2.0", "id": 7, "result": {}})

    def test_messages_that_are_none(self):
        for body, code in ((b"", -32700), (b"{", -32700), (b"\xff", -32700), (b"[]", -32600), (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600), (b"7", -32600),
                           (b"{}", -32600), (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600), (b'{"jsonrpc":"2.0"}', -32600),
                           (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600), (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
                           (b'{"jsonrpc":"2.0","id":1,"method":"nothing"}', -32601), (b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}', -32602),
                           (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}', -32602),
                           (b'{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{}}', -32602),
                           (b'{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"workers://everything/databases/cities?limit=0"}}', -32602),
                           (b'{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"workers://everything/databases/none"}}', -32002),
                           (b'{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"loud"}}', -32602)):
            status, _, text = self.post(body)
            self.assertEqual((status, json.loads(text)["error"]["code"]), (200, code), (body, text))
        for message in ({"jsonrpc": "2.0", "method": "notifications/initialized"}, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}},
                        {"jsonrpc": "2.0", "id": 5, "result": {}}):
            self.assertEqual(self.post(message)[::2], (202, ""))
        self.assertEqual(self.ask("ping")["id"], 7)

    def test_who_may_ask(self):
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        status, headers, _ = self.post(message, Authorization=None)
        self.assertEqual((status, headers["WWW-Authenticate"]), (401, 'Bearer realm="workers"'))
        self.assertEqual(self.post(message, "workers_" + "0" * 64)[0], 401)
        self.assertEqual(self.post(message, Origin="https://evil.example")[0], 403)
        self.assertEqual(self.post(message, Origin="null")[0], 403)
        self.assertEqual(self.post(message, Host="evil.example")[0], 403)
        self.assertEqual(self.post(message, Origin="http://localhost:3000")[0], 200)
        self.assertEqual(self.post(message, self.reader)[0], 200)
        refused = self.ask("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}}, self.reader)
        self.assertEqual(refused["error"], {"code": -32602, "message": 'the token may look only: calling tools needs one of the scope "run"'})
        self.assertEqual(json.loads(self.post(message)[2])["id"], 1)
        for path, status in (("/mcp/everything", 200), ("/mcp/other", 401), ("/mcp/", 401), ("/mcpx", 404)):
            request = urllib.request.Request(self.server.url + path, json.dumps(message).encode(), {"Authorization": "Bearer " + self.token}, method="POST")
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    self.assertEqual(answer.status, status)
            except urllib.error.HTTPError as error:
                with error:
                    self.assertEqual(error.code, status, path)

    def test_a_client_that_takes_no_events_gets_json(self):
        status, headers, body = self.post({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "test_tool_with_logging"}}, Accept="application/json")
        self.assertEqual((status, headers["Content-Type"]), (200, "application/json"))
        self.assertEqual(json.loads(body)["result"]["content"], [{"type": "text", "text": "done"}])

    def test_sessions(self):
        _, headers, _ = self.post({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}})
        session = headers["Mcp-Session-Id"]
        self.ask("logging/setLevel", {"level": "error"}, Mcp_Session_Id=session)
        quiet = self.post({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "test_tool_with_logging"}}, Mcp_Session_Id=session)
        self.assertEqual(quiet[1]["Content-Type"], "application/json")
        told = self.post({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "test_tool_with_logging"}})
        self.assertEqual((told[1]["Content-Type"], told[2].count("notifications/message")), ("text/event-stream", 3))
        self.assertEqual(self.ask("ping", Mcp_Session_Id="of another process")["result"], {})
        request = urllib.request.Request(self.url, headers={"Authorization": "Bearer " + self.token, "Mcp-Session-Id": session}, method="DELETE")
        with urllib.request.urlopen(request, timeout=30) as answer:
            self.assertEqual(answer.status, 204)

    def test_a_tool_goes_on_when_its_client_has_left(self):
        host, port = self.server.url.removeprefix("http://").split(":")
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "test_tool_with_logging"}}).encode()
        for _ in range(20):
            with socket.create_connection((host, int(port))) as client:
                client.sendall(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nAuthorization: Bearer " + self.token.encode() +
                               b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self.assertEqual(self.ask("ping")["result"], {})

    def test_the_server_stops_with_streams_open(self):
        project = self.project((HERE / "everything.lua").read_text(encoding="utf-8"), "name: everything\nmain: main.lua\n")
        server = harness.Server(project)
        host, port = server.url.removeprefix("http://").split(":")
        token = (project.folder / ".workers/token").read_text().strip()
        with socket.create_connection((host, int(port))) as client:
            client.sendall(f"GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            self.assertIn(b"200 OK", client.recv(4096))
            self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    harness.main()
