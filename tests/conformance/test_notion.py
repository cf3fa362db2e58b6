"""The client of the Notion API: each request beside that of Notion's own SDK, and against the published description of the API."""
import email.parser
import email.policy
import json
import pathlib
import subprocess
import sys
import urllib.parse
import unittest

HERE = pathlib.Path(__file__).resolve().parent / "notion"
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "support"), str(HERE)]
import harness  # noqa: E402
import npm  # noqa: E402
from cases import BLOCK, CASES, OTHER, PAGE, USER  # noqa: E402


def parts(content_type, body):
    """Fields of a multipart body: (name, filename, type, bytes)."""
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    return sorted((part.get_param("name", header="content-disposition"), part.get_filename(), part.get_content_type() if part.get_filename() else None,
                   part.get_payload(decode=True)) for part in message.iter_parts())


class Recorder:
    """Answers like the API, and keeps what it was asked."""

    def __init__(self):
        self.requests, self.answers = [], []
        outer = self

        class Handler(harness.HttpHandler):
            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Transfer-Encoding") == "chunked":
                    while (size := int(self.rfile.readline(), 16)) > 0:
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                outer.requests.append((self.command, self.path, dict(self.headers), body))
                status, headers, answer = outer.answers.pop(0) if outer.answers else (200, {}, {"object": "list", "results": [], "has_more": False, "id": OTHER})
                text = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_PATCH = do_DELETE = do_GET

        self.server = harness.HttpService(Handler)
        self.url, self.close = self.server.url, self.server.close

    def take(self):
        """What was asked: method, path, query, body; and the headers."""
        seen, headers = [], []
        for method, target, fields, body in self.requests:
            path, _, query = target.partition("?")
            kind = fields.get("Content-Type", fields.get("content-type", ""))
            value = parts(kind, body) if kind.startswith("multipart/") else json.loads(body) if body else None
            seen.append((method, path, sorted(urllib.parse.parse_qsl(query, keep_blank_values=True)), value))
            headers.append({name.lower(): text for name, text in fields.items()})
        self.requests = []
        return seen, headers


class NotionTest(harness.TestCase):
    def setUp(self):
        self.recorder = Recorder()
        self.addCleanup(self.recorder.close)
        self.p = self.project((HERE / "worker.lua").read_text(encoding="utf-8"), "name: notion\nmain: main.lua\n")

    def run_cases(self, cases, url=None, token="secret_token", code=0):
        self.p.write("cases.json", json.dumps(cases))
        ran = self.ok(self.p.run("exec", "run", "-d", "@cases.json", env={"NOTION_API_TOKEN": token, "NOTION_API_BASE_URL": url or self.recorder.url}), code)
        return json.loads(ran.stdout)

    def one(self, fn, collect=False, **args):
        return self.run_cases([{"fn": fn, "args": args, "collect": collect}])[0]

    def test_every_request_is_that_of_the_sdk(self):
        packages = npm.ensure()
        self.assertTrue(all(answer["ok"] for answer in self.run_cases(CASES)))
        ours, headers = self.recorder.take()
        self.p.write("cases.json", json.dumps(CASES))
        ran = subprocess.run([npm.node(), HERE / "sdk.mjs", packages, self.recorder.url, "cases.json"], cwd=self.p.folder, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        self.assertEqual(ran.returncode, 0, ran.stdout)
        theirs, their_headers = self.recorder.take()
        self.assertEqual(len(ours), len(CASES))
        for case, one, other in zip(CASES, ours, theirs):
            with self.subTest(case["fn"], args=case["args"]):
                self.assertEqual(one, other)
        for own, other in zip(headers, their_headers):
            self.assertEqual((own["authorization"], own["notion-version"]), (other["authorization"], other["notion-version"]))
        groups = {case["fn"].split(".")[0] for case in CASES}
        self.assertEqual(groups, {"blocks", "comments", "customEmojis", "dataSources", "databases", "fileUploads", "pages", "search", "users", "views"})
        print(f"{len(CASES)} requests are those of the SDK")

    def test_the_published_description_accepts_them(self):
        packages = npm.ensure()
        described = [case for case in CASES if case["described"]]
        prism = packages / "node_modules/@stoplight/prism-cli/dist/index.js"
        port = harness.free_port()
        server = subprocess.Popen([npm.node(), prism, "mock", "--errors", "-h", "127.0.0.1", "-p", str(port),
                                   packages / "node_modules/@notionhq/notion-mcp-server/scripts/notion-openapi.json"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(lambda: (server.kill(), server.communicate()))
        said = []
        for line in server.stdout:
            said.append(line)
            if "Prism is listening" in line:
                break
        self.assertIn("Prism is listening", said[-1] if said else "", "".join(said))
        # It refuses what is wrong: without that, the rest would prove nothing.
        wrong = self.run_cases([{"fn": "comments.create", "args": {"parent": {"page_id": PAGE}}}], f"http://127.0.0.1:{port}")[0]
        self.assertIn(wrong["status"], (400, 422), wrong)
        for case, answer in zip(described, self.run_cases(described, f"http://127.0.0.1:{port}")):
            with self.subTest(case["fn"], args=case["args"]):
                # The description has some answers without an example, for which there is an empty body.
                self.assertTrue(answer["ok"] or "no JSON" in answer["message"] or "not JSON" in answer["message"], answer)
        self.assertGreaterEqual(len(described), 60)
        print(f"{len(described)} requests are accepted by the published description")

    def test_lists_are_walked(self):
        page = lambda results, cursor: (200, {}, {"object": "list", "results": results, "has_more": cursor is not None, "next_cursor": cursor})  # noqa: E731
        self.recorder.answers = [page([{"n": 1}, {"n": 2}], "c1"), page([], "c2"), page([{"n": 3}], None)]
        self.assertEqual(self.one("users.list", collect=True), {"ok": True, "answer": [{"n": 1}, {"n": 2}, {"n": 3}]})
        self.assertEqual([request[2] for request in self.recorder.take()[0]],
                         [[("page_size", "100")], [("page_size", "100"), ("start_cursor", "c1")], [("page_size", "100"), ("start_cursor", "c2")]])
        self.recorder.answers = [page([], "c1"), page([], "c1")]
        self.assertIn("the list says that there is more, and not where", self.one("users.list", collect=True)["message"])

    def test_rate_limits_and_failures_that_pass(self):
        self.recorder.answers = [(429, {"Retry-After": "0"}, {"code": "rate_limited"}), (200, {}, {"id": "x"})]
        self.assertEqual(self.one("pages.create", parent={"page_id": PAGE}, properties={}), {"ok": True, "answer": {"id": "x"}})
        self.recorder.answers = [(503, {}, {"code": "service_unavailable"}), (200, {}, {"id": "x"})]
        self.assertTrue(self.one("users.retrieve", user_id=USER)["ok"])
        self.recorder.take()
        self.recorder.answers = [(500, {}, {"code": "internal_server_error", "message": "no luck"})]
        failed = self.one("pages.create", parent={"page_id": PAGE}, properties={})  # it may have been made: not twice
        self.assertEqual((failed["name"], failed["code"], failed["status"], len(self.recorder.take()[0])), ("NotionError", "internal_server_error", 500, 1))
        self.recorder.answers = [(429, {"Retry-After": "3600"}, {"code": "rate_limited"})]
        self.assertEqual(self.one("users.me")["name"], "RateLimitError")

    def test_errors(self):
        for status, code, message in ((401, "unauthorized", "the token is not good: workers env set NOTION_API_TOKEN"),
                                      (404, "object_not_found", "is the page shared with the integration"), (403, "restricted_resource", "lacks the capability"),
                                      (400, "validation_error", "notion.blocks.retrieve: 400 validation_error: body failed")):
            self.recorder.answers = [(status, {}, {"object": "error", "status": status, "code": code, "message": "body failed"})]
            answer = self.one("blocks.retrieve", block_id=BLOCK)
            self.assertEqual((answer["name"], answer["code"], answer["status"]), ("NotionError", code, status))
            self.assertIn(message, answer["message"])
        self.recorder.take()
        for fn, args, message in (("pages.retrieve", {}, "notion.pages.retrieve: page_id must be an id, got nothing"),
                                  ("pages.retrieve", {"page_id": ""}, 'page_id must be an id, got ""'),
                                  ("pages.retrieve", {"pageid": PAGE}, 'notion.pages.retrieve: unknown parameter "pageid"; did you mean "page_id"?'),
                                  ("fileUploads.send", {"file_upload_id": OTHER}, "file must be { content = bytes, filename = …, contentType = … }, got nothing")):
            self.assertIn(message, self.one(fn, **args)["message"])
        self.assertEqual(self.recorder.take()[0], [])
        missing = self.run_cases([{"fn": "users.me", "args": {}}], token=None)[0]
        self.assertIn("notion.users.me: NOTION_API_TOKEN is not set: make an integration at notion.so/profile/integrations", missing["message"])

    def test_files(self):
        script = """
local workers = require "workers"
local worker = workers.new()
worker:job("upload", { title = "U", description = "u", schedule = { cron = "0 0 29 2 *" }, execute = function(input, ctx)
  return ctx.notion.upload { content = ("0123456789abcdef"):rep(input.bytes // 16), filename = "a.bin", contentType = "application/octet-stream" }
end })
return worker
"""
        self.p.write("main.lua", script)
        env = {"NOTION_API_TOKEN": "t", "NOTION_API_BASE_URL": self.recorder.url}
        self.ok(self.p.run("exec", "upload", "-d", '{"bytes":160}', env=env))
        seen = self.recorder.take()[0]
        self.assertEqual([request[:2] for request in seen], [("POST", "/v1/file_uploads"), ("POST", f"/v1/file_uploads/{OTHER}/send")])
        self.assertEqual(seen[0][3], {"mode": "single_part", "filename": "a.bin", "content_type": "application/octet-stream"})
        self.assertEqual(seen[1][3], [("file", "a.bin", "application/octet-stream", b"0123456789abcdef" * 10)])
        size = 25 * 1024 * 1024
        self.ok(self.p.run("exec", "upload", "-d", json.dumps({"bytes": size}), env=env))
        seen = self.recorder.take()[0]
        self.assertEqual(seen[0][3]["number_of_parts"], 3)
        self.assertEqual([dict((part[0], part[3]) for part in request[3])["part_number"] for request in seen[1:4]], [b"1", b"2", b"3"])
        self.assertEqual(b"".join(dict((part[0], part[3]) for part in request[3])["file"] for request in seen[1:4]), b"0123456789abcdef" * (size // 16))
        self.assertEqual(seen[4][:2], ("POST", f"/v1/file_uploads/{OTHER}/complete"))


if __name__ == "__main__":
    harness.main()
