#!/usr/bin/env python3
"""workers.http against httpbin, a server that others wrote to test HTTP clients with (the Debian package python3-httpbin)."""
import base64
import json
import os
import pathlib
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
from harness import DEBIAN_PYTHON as PYTHON, TestCase, main  # noqa: E402

SERVE = """
import sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from socketserver import ThreadingMixIn
from httpbin import app
class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
class Handler(WSGIRequestHandler):
    def log_message(self, *_):
        pass
server = make_server("127.0.0.1", 0, app, Server, Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def has_httpbin():
    return os.path.exists(PYTHON) and subprocess.run([PYTHON, "-c", "import httpbin"], capture_output=True, check=False).returncode == 0


@unittest.skipUnless(has_httpbin(), "the package python3-httpbin is not installed")
class HttpbinTest(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = subprocess.Popen([PYTHON, "-c", SERVE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        cls.url = f"http://127.0.0.1:{cls.server.stdout.readline().strip()}"

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()
        cls.server.communicate()

    def setUp(self):
        self.p = self.project((HERE / "httpbin_peer.lua").read_text())

    def send(self, *requests):
        texts = []
        for request in requests:
            request = {"url": request} if isinstance(request, str) else dict(request)
            request["url"] = self.url + request["url"]
            texts.append(json.dumps(request))
        return json.loads(self.ok(self.p.run("exec", "request", "-d", json.dumps({"requests": texts}))).stdout)

    def one(self, request):
        return self.send(request)[0]

    def test_methods_and_bodies(self):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            request = {"url": f"/{method.lower()}?a=1", "method": method, "headers": {"X-One": "1"}}
            if method != "GET":
                request["json"] = {"n": 9007199254740993, "text": "ü"}
            answer = self.one(request)
            seen = json.loads(answer["body"])
            self.assertEqual((answer["status"], seen["args"], seen["headers"]["X-One"]), (200, {"a": "1"}, "1"))
            if method != "GET":
                self.assertEqual(seen["json"], {"n": 9007199254740993, "text": "ü"})
                self.assertEqual(seen["headers"]["Content-Type"], "application/json")
        self.assertEqual(json.loads(self.one({"url": "/post", "method": "POST", "form": {"a": ["1", "2"], "b": "x y&z"}})["body"])["form"],
                         {"a": ["1", "2"], "b": "x y&z"})
        seen = json.loads(self.one({"url": "/post", "method": "POST", "multipart": [
            {"name": "text", "value": "ä"}, {"name": "file", "content": "a\r\nb", "filename": "f.txt"}]})["body"])
        self.assertEqual((seen["form"], seen["files"]), ({"text": "ä"}, {"file": "a\r\nb"}))

    def test_every_status(self):
        statuses = [200, 201, 202, 204, 206, 300, 304, 400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 418, 422, 425, 428, 429,
                    431, 451, 500, 501, 502, 503, 504, 505]
        answers = self.send(*[f"/status/{status}" for status in statuses])
        self.assertEqual([answer["status"] for answer in answers], statuses)
        self.assertEqual(self.one("/status/418")["headers"]["x-more-info"], "http://tools.ietf.org/html/rfc2324")

    def test_redirects(self):
        for path in ("/redirect/1", "/redirect/10", "/relative-redirect/3", "/absolute-redirect/3"):
            answer = self.one(path)
            self.assertEqual((answer["status"], answer["url"]), (200, self.url + "/get"), path)
        answer = self.one("/redirect/11")
        self.assertEqual(answer["code"], "redirect")
        self.assertEqual(self.one({"url": "/redirect/3", "redirects": 0})["status"], 302)
        for status, method in ((301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")):
            answer = self.one({"url": f"/redirect-to?status_code={status}&url=/anything", "method": "POST", "form": {"a": "1"}})
            if status == 308 and answer["status"] == 302:
                continue  # this httpbin knows no 308
            seen = json.loads(answer["body"])
            self.assertEqual((seen["method"], seen["form"]), (method, {"a": "1"} if method == "POST" else {}), status)

    def test_encodings_and_transfers(self):
        for path, key in (("/gzip", "gzipped"), ("/deflate", "deflated"), ("/brotli", "brotli")):
            answer = self.one(path)
            if answer["status"] == 500:
                continue  # httpbin without the library for it
            self.assertTrue(json.loads(answer["body"])[key], path)
        for path in ("/stream/20", "/stream-bytes/100000?chunk_size=777&seed=1", "/bytes/65536?seed=2", "/range/1000?chunk_size=99"):
            plain, streamed = self.send(path, {"url": path, "stream": True})
            self.assertEqual((plain["status"], plain["body"]), (200, streamed["body"]), path)
        self.assertEqual(self.one("/stream-bytes/100000?seed=1")["body"], 100000)
        self.assertEqual(len(self.one("/stream/20")["body"].splitlines()), 20)

    def test_drip_and_delay(self):
        answer = self.one("/drip?duration=1&numbytes=10&code=200&delay=0")
        self.assertEqual((answer["status"], answer["body"]), (200, "*" * 10))
        self.assertEqual(self.one({"url": "/drip?duration=5&numbytes=10", "timeout": 1})["code"], "timeout")
        self.assertEqual(self.one({"url": "/delay/5", "timeout": 0.5})["code"], "timeout")
        self.assertEqual(self.one({"url": "/drip?duration=2&numbytes=4", "timeout": 1.5, "stream": True})["body"], "****")

    def test_authentication(self):
        good, bad = {"user": "anna", "password": "pä ss:"}, {"user": "anna", "password": "no"}
        path = "/basic-auth/anna/p%C3%A4%20ss%3A"
        self.assertEqual([a["status"] for a in self.send({"url": path, "auth": good}, {"url": path, "auth": bad}, path)], [200, 401, 401])
        self.assertEqual(self.one({"url": "/hidden-basic-auth/a/b", "auth": {"user": "a", "password": "b"}})["status"], 200)
        self.assertEqual(json.loads(self.one({"url": "/bearer", "auth": {"bearer": "t0ken"}})["body"]),
                         {"authenticated": True, "token": "t0ken"})
        self.assertEqual(self.one("/bearer")["status"], 401)
        for qop in ("auth", "auth-int"):
            for algorithm in ("MD5", "SHA-256"):
                path = f"/digest-auth/{qop}/anna/secret/{algorithm}"
                with_digest = {"url": path, "auth": {"user": "anna", "password": "secret", "digest": True}}
                wrong = {"url": path, "auth": {"user": "anna", "password": "wrong", "digest": True}}
                answers = self.send(with_digest, wrong, path)
                self.assertEqual([a["status"] for a in answers], [200, 401, 401], path)
                self.assertEqual(json.loads(answers[0]["body"]), {"authenticated": True, "user": "anna"})

    def test_cookies_are_ignored(self):
        answers = self.send("/cookies/set?flavour=oat", "/cookies", {"url": "/cookies", "headers": {"Cookie": "mine=1"}})
        self.assertEqual(json.loads(answers[0]["body"])["cookies"], {}, "not even along a redirect")
        self.assertEqual(json.loads(answers[1]["body"])["cookies"], {})
        self.assertEqual(json.loads(answers[2]["body"])["cookies"], {"mine": "1"})

    def test_conditional_requests(self):
        etag = "/etag/abc"
        first, same, other = self.send(etag, {"url": etag, "ifChanged": {"etag": '"abc"'}}, {"url": etag, "ifChanged": {"etag": '"x"'}})
        self.assertEqual((first["status"], first["headers"]["etag"].strip('"')), (200, "abc"))
        self.assertEqual((same["status"], same["body"]), (304, ""))
        self.assertEqual(other["status"], 200)
        self.assertEqual(self.one({"url": "/cache", "ifChanged": {"lastModified": "Sun, 06 Nov 1994 08:49:37 GMT"}})["status"], 304)

    def test_bodies_of_every_kind(self):
        for path in ("/html", "/xml", "/robots.txt", "/deny", "/encoding/utf8", "/image/png", "/image/svg"):
            self.assertEqual(self.one(path)["status"], 200, path)
        self.assertEqual(self.one("/base64/" + base64.urlsafe_b64encode("grün".encode()).decode())["body"], "grün")
        seen = json.loads(self.one("/anything/a%2Fb/c?q=%C3%A4&r=1+2")["body"])
        self.assertEqual((seen["args"], seen["method"]), ({"q": "ä", "r": "1 2"}, "GET"))
        headers = json.loads(self.one({"url": "/headers", "headers": {"X-Empty": "", "Accept": "text/x"}})["body"])["headers"]
        self.assertEqual(headers["Accept"], "text/x")
        answer = self.one("/response-headers?X-Two=a&X-Two=b")
        self.assertEqual(answer["headers"]["x-two"], "a, b")


if __name__ == "__main__":
    main()
