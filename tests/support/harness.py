"""What integration tests share: a project in a temporary folder, the binary, an upstream that does what a test says.

Python's standard library only. Every test makes its own Project and Upstream, so that tests run side by side. Nothing here
sleeps for a fixed time: wait_until polls a condition, an Upstream page can wait for an Event.
"""
import base64
import collections
import contextlib
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse

BINARY = os.environ.get("WORKERS_BIN", "")
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DEBIAN_PYTHON = "/usr/bin/python3"  # the one that Debian's packages are for
WAIT_SECONDS = 30  # longest wait for anything that should happen at once


def sanitized():
    """Whether the binary carries AddressSanitizer, which makes figures of memory and time meaningless."""
    return b"__asan_init" in pathlib.Path(BINARY).read_bytes()


def wait_until(condition, what="the condition", timeout=WAIT_SECONDS):
    """Returns the first true value of condition(); fails when there is none within the time. what may be a function."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s in vain for {what() if callable(what) else what}")
        time.sleep(0.01)


def make_views(folder, script):
    """Makes the pages that the views of a script begin with, as far as they are not there."""
    for path in re.findall(r'path = "(views/[^"]+)"', script):
        (folder / path).mkdir(parents=True, exist_ok=True)
        (folder / path / "index.html").touch()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Project:
    """A worker project in a temporary folder. close() ends what it started and removes the folder."""

    def __init__(self, script=None, config=None, main="main.lua"):
        if not BINARY:
            raise unittest.SkipTest("WORKERS_BIN does not name the binary")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="workers-test-"))
        self.processes = []
        self.write("workers.yaml", config if config is not None else f"name: test\nmain: {main}\n")
        if script is not None:
            self.write(main, script)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, path, text):
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        return target

    def environment(self, env=None):
        """A clean environment: nothing of the caller's decides how a test ends."""
        base = {k: os.environ[k] for k in ("PATH", "HOME", "LANG", "TMPDIR", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")
                if k in os.environ}
        base.update({k: v for k, v in (env or {}).items() if v is not None})
        return base

    def run(self, *args, input=None, env=None, timeout=60):
        """Runs the binary in the project's folder; returns the CompletedProcess with texts."""
        given = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        return subprocess.run([BINARY, *map(str, args)], cwd=self.folder, env=self.environment(env), timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="surrogateescape", **given)

    def start(self, *args, env=None, stdin=subprocess.DEVNULL):
        """Starts the binary and returns the Popen; its texts come with finish(process)."""
        process = subprocess.Popen([BINARY, *map(str, args)], cwd=self.folder, env=self.environment(env), stdin=stdin,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="surrogateescape")
        self.processes.append(process)
        return process

    @property
    def store(self):
        return self.folder / ".workers" / "worker.db"

    @contextlib.contextmanager
    def database(self, name="worker.db"):
        connection = sqlite3.connect(self.folder / ".workers" / name, timeout=15)
        try:
            yield connection
        finally:
            connection.close()

    def rows(self, sql, *parameters, name="worker.db"):
        """What a query on the store gives, as a list of tuples."""
        with self.database(name) as connection:
            return connection.execute(sql, parameters).fetchall()

    def value(self, sql, *parameters):
        found = self.rows(sql, *parameters)
        return found[0][0] if found else None

    def dump(self, name="worker.db"):
        """Everything in the store as SQL text: two equal dumps are two equal stores."""
        with self.database(name) as connection:
            return "\n".join(connection.iterdump())

    def status(self, key):
        """One sync as `sync status --json` shows it."""
        result = self.run("sync", "status", key, "--json")
        if result.returncode != 0:
            raise AssertionError(result.stderr)
        return json.loads(result.stdout)[0]


class Server:
    """A `workers serve` of a project; what it says goes to a file, which text() reads."""

    def __init__(self, project, *args, env=None, port=0):
        self.project = project
        self.log = project.folder / "serve.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([BINARY, "serve", "--listen", f"127.0.0.1:{port}", *args], cwd=project.folder,
                                            env=project.environment(env), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        project.processes.append(self.process)

    def text(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def children(self):
        return [int(pid) for pid in pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]

    def stop(self, number=signal.SIGTERM, timeout=60):
        self.process.send_signal(number)
        return self.process.wait(timeout)

    def wait_for(self, text, count=1):
        return wait_until(lambda: self.text().count(text) >= count, lambda: f"{text!r} in the log:\n{self.text()[-3000:]}")

    @property
    def url(self):
        """How the server is reached; waits until it is there."""
        place = self.project.folder / ".workers" / "server"
        wait_until(lambda: place.exists() or self.process.poll() is not None, lambda: f"the server:\n{self.text()[-3000:]}")
        return place.read_text(encoding="utf-8").split("\n")[1]

    def webhook(self, key):
        """The host with its port, and the path, where a webhook takes deliveries."""
        wait_until(lambda: self.url, "the server")
        listed = self.project.run("webhooks", "list", "--json")
        if listed.returncode != 0:
            raise AssertionError(listed.stderr)
        url = next(webhook["url"] for webhook in json.loads(listed.stdout) if webhook["key"] == key)
        _, _, host, path = url.split("/", 3)
        return host, "/" + path


def forms_of(secret):
    """What gives bytes away: themselves, the middle of their base64 and base64url behind 0, 1 and 2 other bytes, hex, percent-encoding."""
    forms = [secret, secret.hex().encode(), secret.hex().upper().encode()]
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(bytes(before) + secret)
            forms.append(text[(before * 8 + 5) // 6:(before + len(secret)) * 8 // 6])
    forms += [urllib.parse.quote(secret, safe="").encode(), urllib.parse.quote(secret).encode(), urllib.parse.quote_plus(secret).encode()]
    return sorted(set(forms))


def finish(process, timeout=60):
    """Waits for the end of a started process; returns (exit code, stdout, stderr)."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def interrupt(process):
    process.send_signal(signal.SIGINT)


class Page:
    """An answer of an Upstream that is more than JSON with status 200."""

    def __init__(self, body=None, status=200, headers=(), gate=None, drop=False):
        self.body = body
        self.status = status
        self.headers = list(headers)
        self.gate = gate  # an Event that is waited for before the answer
        self.drop = drop  # hang up instead of answering


class HttpHandler(http.server.BaseHTTPRequestHandler):
    """Keeps connections, and says nothing of requests."""
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass


class HttpService(http.server.ThreadingHTTPServer):
    """Serves a Handler at url until close(). What happens to connections is the business of tests."""
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handle_error(self, *_):
        pass

    def close(self):
        self.shutdown()
        self.server_close()


class Upstream:
    """An HTTP server whose answers are scripted. script(path, *pages) queues answers; the last one is given again and again.

    A page is a JSON value, a Page, or a function of the decoded request body that returns one of them. requests[path] lists
    the decoded bodies of the requests that came (None for none), arrivals lists (seconds, path).
    """

    def __init__(self):
        self.pages = {}
        self.requests = collections.defaultdict(list)
        self.arrivals = []
        self.lock = threading.Lock()
        outer = self

        class Handler(HttpHandler):
            def do_GET(self):
                outer.answer(self)

            do_POST = do_GET

        self.server = HttpService(Handler)
        self.url, self.close = self.server.url, self.server.close

    def script(self, path, *pages):
        with self.lock:
            self.pages[path.strip("/")] = list(pages)
            self.requests[path.strip("/")].clear()

    def count(self, path):
        with self.lock:
            return len(self.requests[path.strip("/")])

    def answer(self, handler):
        arrived = time.monotonic()
        path = handler.path.partition("?")[0].strip("/")
        length = int(handler.headers.get("Content-Length", 0))
        text = handler.rfile.read(length)
        body = json.loads(text) if text else None
        with self.lock:
            self.arrivals.append((arrived, path))
            self.requests[path].append(body)
            queue = self.pages.get(path)
            page = None if not queue else queue.pop(0) if len(queue) > 1 else queue[0]
        if callable(page):
            page = page(body)
        if not isinstance(page, Page):
            page = Page(page) if page is not None else Page({"error": f"nothing scripted for {path}"}, status=404)
        if page.gate is not None:
            page.gate.wait(WAIT_SECONDS)
        if page.drop:
            handler.close_connection = True
            return
        data = page.body if isinstance(page.body, bytes) else json.dumps(page.body, ensure_ascii=False).encode()
        handler.send_response(page.status)
        for name, value in page.headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)


class TestCase(unittest.TestCase):
    """Makes projects and upstreams that end with the test."""

    maxDiff = 4000

    def project(self, script=None, config=None, **options):
        project = Project(script, config, **options)
        self.addCleanup(project.close)
        return project

    def upstream(self):
        upstream = Upstream()
        self.addCleanup(upstream.close)
        return upstream

    def ok(self, result, code=0):
        self.assertEqual(result.returncode, code, f"\nstdout: {result.stdout[-2000:]}\nstderr: {result.stderr[-2000:]}")
        return result


def main():
    unittest.main(verbosity=1)
