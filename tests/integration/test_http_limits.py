"""The HTTP server of workers serve against clients that are many, slow or greedy: deliveries go on."""
import contextlib
import http.client
import json
import pathlib
import re
import resource
import select
import shutil
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import harness  # noqa: E402

SCRIPT = """
local workers = require "workers"
local worker = workers.new()
worker:webhook("hook", { title = "H", description = "d", execute = function() end })
return worker
"""


class LimitsTest(harness.TestCase):
    def serve(self, config="name: test\nmain: main.lua\n"):
        self.project = harness.Project(SCRIPT, config)
        self.addCleanup(self.project.close)
        with open(self.project.folder / "serve.log", "ab") as log:
            process = subprocess.Popen([harness.BINARY, "serve", "--listen", "127.0.0.1:0"], cwd=self.project.folder,
                                       env=self.project.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.project.processes.append(process)
        self.addCleanup(process.terminate)
        harness.wait_until((self.project.folder / ".workers/server").exists, "the server")
        url = json.loads(self.project.run("webhooks", "list", "--json").stdout)[0]["url"]
        _, _, self.host, self.path = url.split("/", 3)
        self.address = (self.host.split(":")[0], int(self.host.split(":")[1]))
        harness.wait_until(lambda: self.post()[0] == 202, "the first delivery")

    def post(self, body="{}", headers=None):
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            connection.request("POST", "/" + self.path, body, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def raw(self, data, timeout=30):
        """What the server answers to these bytes, until it closes."""
        with socket.create_connection(self.address, timeout=timeout) as client:
            client.sendall(data)
            answer = b""
            while True:
                try:
                    piece = client.recv(65536)
                except ConnectionResetError:
                    break
                if not piece:
                    break
                answer += piece
            return answer

    def status(self, data):
        answer = self.raw(data)
        return int(answer.split()[1]) if answer else None

    def handled_within_a_second(self):
        begin = time.monotonic()
        status, _, body = self.post()
        self.assertEqual(status, 202)
        id = json.loads(body)["deliveryId"]
        harness.wait_until(lambda: self.project.value("SELECT state FROM _workers_deliveries WHERE id = ?", id) == "done", "the delivery")
        return time.monotonic() - begin

    def test_idle_connections_do_not_stop_deliveries(self):
        self.serve()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = min(5000, hard - 200)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted + 200), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        idle = []
        try:
            for _ in range(wanted):
                idle.append(socket.create_connection(self.address, timeout=30))
            for client in idle[::7]:  # some begin, and do not go on
                client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\n")
            taken = [self.handled_within_a_second() for _ in range(5)]
        finally:
            for client in idle:
                client.close()
        self.assertLess(sorted(taken)[2], 5 if harness.sanitized() else 1, f"{wanted} connections: {taken}")

    def test_clients_that_drip_are_dropped(self):
        self.serve()
        begin = time.monotonic()
        starts = (b"", b"GET /", b"POST /x HTTP/1.1\r\nHost: a\r\nX-A: ", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        clients, ends, taken = {}, [], []
        for start in starts * 10:
            client = socket.create_connection(self.address, timeout=30)
            client.sendall(start)
            clients[client] = bool(start)
        while clients:
            self.assertLess(time.monotonic() - begin, 40, f"{len(clients)} are still connected")
            closed, _, _ = select.select(list(clients), [], [], 0.5)
            for client in closed:
                try:
                    self.assertEqual(client.recv(1000), b"")
                except ConnectionResetError:
                    pass
                ends.append(time.monotonic() - begin)
                del clients[client]
                client.close()
            for client, drips in clients.items():
                if drips:
                    with contextlib.suppress(OSError):
                        client.sendall(b"a")
            taken.append(self.handled_within_a_second())
        self.assertGreater(min(ends), 19)
        self.assertLess(max(ends), 25 if not harness.sanitized() else 35)
        self.assertLess(sorted(taken)[len(taken) // 2], 5 if harness.sanitized() else 1)

    def test_requests_that_could_be_read_in_two_ways_are_refused(self):
        self.serve()
        head = f"POST /{self.path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n".encode()
        self.assertEqual(self.status(head + b"Content-Length: 2\r\n\r\n{}"), 202)
        for name, rest in {
            "two lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            "length and chunks": b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            "another coding": b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            "a length that is no number": b"Content-Length: +2\r\n\r\n{}",
            "a control character": b"X-A: a\x01b\r\nContent-Length: 2\r\n\r\n{}",
        }.items():
            with self.subTest(name):
                self.assertEqual(self.status(head + rest), 400)
        self.assertEqual(self.status(head + b"X-A: " + b"a" * 40000 + b"\r\nContent-Length: 2\r\n\r\n{}"), 431)
        self.assertEqual(self.status(b"nonsense\r\n\r\n") or 400, 400)
        self.assertEqual(self.status(head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"), 202)
        self.assertEqual(self.project.value("SELECT count(*) FROM _workers_deliveries"), 3)

    def test_every_split_of_a_request(self):
        self.serve()
        request = f"POST /{self.path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}".encode()
        for at in range(1, len(request), 1 if not harness.sanitized() else 5):
            with socket.create_connection(self.address, timeout=30) as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.sendall(request[:at])
                client.sendall(request[at:])
                self.assertIn(b" 202 ", client.recv(65536), at)

    def test_requests_sent_ahead_are_answered_in_their_order(self):
        self.serve()
        paths = [b"/healthz", b"/readyz", b"/nothing"] * 10
        answer = self.raw(b"".join(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n" for path in paths[:-1])
                          + b"GET " + paths[-1] + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        self.assertEqual(re.findall(rb"HTTP/1\.1 (\d+) ", answer), [b"200", b"200", b"404"] * 10)

    def test_a_chunk_line_that_does_not_end_costs_no_time(self):
        self.serve()
        child = int(pathlib.Path(f"/proc/{self.project.processes[-1].pid}/task/{self.project.processes[-1].pid}/children").read_text())
        spent = lambda: sum(map(int, pathlib.Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))  # noqa: E731
        head = f"POST /{self.path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        with socket.create_connection(self.address, timeout=30) as client:
            client.sendall(head + b"1;" + b"a" * 60000)
            before = spent()
            taken = [self.handled_within_a_second() for _ in range(30)]
            end = time.monotonic() + 1
            harness.wait_until(lambda: time.monotonic() > end, "a second")
            self.assertLess(spent() - before, 60, f"hundredths of a second of CPU; deliveries took {taken}")

    def test_a_body_that_is_too_large(self):
        self.serve()
        large = 25 * 1024 * 1024 + 1
        head = f"POST /{self.path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n".encode()
        # Who sends all of it before reading gets the answer, and who asks first gets it at once.
        self.assertEqual(self.post("x" * large)[0], 413)
        self.assertEqual(self.status(head + f"Content-Length: {large}\r\nExpect: 100-continue\r\n\r\n".encode()), 413)
        self.assertEqual(self.status(head + b"Transfer-Encoding: chunked\r\n\r\n" + f"{large:x}\r\n".encode() + b"x" * large + b"\r\n0\r\n\r\n"), 413)
        self.assertEqual(self.post("x" * (large - 1))[0], 202)

    def test_a_flood_is_told_to_come_later(self):
        self.serve("name: test\nmain: main.lua\nlimits: { webhooks: 5 }\n")
        answers = [self.post() for _ in range(30)]
        refused = [headers for status, headers, _ in answers if status == 429]
        self.assertGreater(len(refused), 5)
        self.assertTrue(all(int(headers["retry-after"]) >= 1 for headers in refused))
        harness.wait_until(lambda: self.post()[0] == 202, "the next second")

    @unittest.skipUnless(shutil.which("slowhttptest"), "slowhttptest is not installed (Debian package slowhttptest)")
    def test_slow_clients_do_not_stop_deliveries(self):
        self.serve()
        for mode in ("-H", "-B", "-X"):
            with self.subTest(mode):
                attack = subprocess.Popen(["slowhttptest", mode, "-c", "500", "-i", "1", "-r", "500", "-l", "4", "-x", "10", "-t", "POST",
                                           "-u", f"http://{self.host}/{self.path}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                try:
                    taken = []
                    while attack.poll() is None:
                        taken.append(self.handled_within_a_second())
                finally:
                    attack.kill()
                    attack.wait()
                self.assertGreater(len(taken), 5)
                self.assertLess(sorted(taken)[len(taken) // 2], 1)


if __name__ == "__main__":
    unittest.main()
