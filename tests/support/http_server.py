#!/usr/bin/env python3
"""An HTTP server that misbehaves on request. For tests only; Python's standard library only.

Prints its port on the first line of stdout, then serves until it is killed, or, with --exit-with-stdin, until its
standard input ends. One function is one behaviour:

    @route("/name")                  answers /name and /name/ANYTHING
    def name(request):               request.method, .args (path segments after the name), .query (last value of each
        request.reply(200, b"body")  key), .headers, .body (bytes), .wfile, .connection

reply() sends a correct answer; raw() writes bytes as they are and closes the connection afterwards.

Options: --port N (default: any free one), --tls CERT KEY (PEM files).
"""
import argparse
import base64
import collections
import email
import email.policy
import gzip
import json
import os
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, unquote, urlsplit

ROUTES = {}
LOCK = threading.Lock()
COUNTS = collections.Counter()  # "connections", "requests", "flaky:…"
RECORDS = []
STARTED = time.monotonic()

# "brotli works " a hundred times, compressed: Python has no brotli of its own.
BROTLI = base64.b64decode("GxMF6I1Utb8GEZOj0yBpbG9qFseqoUX75GAA")


def route(path):
    def add(function):
        ROUTES[path.strip("/")] = function
        return function

    return add


class Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        with LOCK:
            COUNTS["connections"] += 1

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, TimeoutError, ssl.SSLError):
            pass

    def log_message(self, *_):
        pass

    def read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self):
        parts = urlsplit(self.path)
        name, *self.args = [unquote(p) for p in parts.path.strip("/").split("/")]
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.method = self.command
        self.body = self.read_body()
        with LOCK:
            COUNTS["requests"] += 1
        function = ROUTES.get(name)
        if function is None:
            self.reply(404, f"no such behaviour: {name}\n".encode())
        else:
            function(self)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def start(self, status, headers=(), length=None):
        """Status line and headers. headers: pairs. length None leaves Content-Length out."""
        self.send_response_only(status)
        for key, value in headers:
            self.send_header(key, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def reply(self, status, body=b"", headers=()):
        has_body = status not in (204, 304) and status >= 200
        self.start(status, headers, len(body) if has_body else None)
        if has_body and self.method != "HEAD":
            self.wfile.write(body)

    def reply_json(self, value, status=200, headers=()):
        self.reply(status, json.dumps(value).encode(), [("Content-Type", "application/json"), *headers])

    def raw(self, data):
        self.close_connection = True
        self.wfile.write(data)
        self.wfile.flush()

    def header_pairs(self):
        return [[k, v] for k, v in self.headers.items()]

    def arg(self, index, default=None):
        return self.args[index] if index < len(self.args) else default


# ---- plain answers


@route("/status")
def status(request):
    code = int(request.arg(0, "200"))
    request.reply(code, f"status {code}".encode())


@route("/headers")
def headers(request):
    request.reply_json(request.header_pairs())


@route("/echo")
def echo(request):
    request.reply_json({
        "method": request.method,
        "path": request.path,
        "headers": request.header_pairs(),
        "body": request.body.decode("latin-1"),
    })


@route("/empty")
def empty(request):
    request.reply(200)


@route("/bytes")
def some_bytes(request):
    request.reply(200, b"x" * int(request.arg(0, "1")))


@route("/connections")
def connections(request):
    with LOCK:
        request.reply(200, str(COUNTS["connections"]).encode())


@route("/requests")
def requests(request):
    with LOCK:
        request.reply(200, str(COUNTS["requests"]).encode())


@route("/duplicate-headers")
def duplicate_headers(request):
    request.reply(200, b"ok", [("Set-Cookie", "a=1"), ("X-Mixed-CASE", "  padded\t"), ("Set-Cookie", "b=2")])


# ---- slowness


@route("/delay")
def delay(request):
    time.sleep(float(request.arg(0, "1")))
    request.reply(200, b"late")


@route("/drip")
def drip(request):
    """?bytes=N&seconds=S: N bytes spread evenly over S seconds."""
    count = int(request.query.get("bytes", 10))
    pause = float(request.query.get("seconds", 1)) / max(count, 1)
    request.start(200, length=count)
    for _ in range(count):
        time.sleep(pause)
        request.wfile.write(b"d")
        request.wfile.flush()


@route("/slow-headers")
def slow_headers(request):
    request.raw(b"HTTP/1.1 200 OK\r\n")
    for i in range(int(request.arg(0, "100"))):
        request.raw(b"X-Slow-%d: 1\r\n" % i)
        time.sleep(0.1)
    request.raw(b"Content-Length: 0\r\n\r\n")


# ---- connections and framing


@route("/truncated")
def truncated(request):
    request.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")


@route("/truncated-chunk")
def truncated_chunk(request):
    request.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nonly this")


@route("/reset")
def reset(request):
    request.close_connection = True
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()


@route("/hang-up")
def hang_up(request):
    request.close_connection = True


@route("/chunked")
def chunked(request):
    request.start(200, [("Transfer-Encoding", "chunked"), ("Trailer", "X-Trailer")])
    for part in (b"one ", b"two ", b"three"):
        request.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
    request.wfile.write(b"0\r\nX-Trailer: after\r\n\r\n")


@route("/bad-chunk")
def bad_chunk(request):
    request.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\nnot hexadecimal\r\n")


@route("/garbage")
def garbage(request):
    request.raw(b"\x00\x01\x02 this is not HTTP at all\r\n\r\n" + bytes(range(256)))


@route("/bad-header")
def bad_header(request):
    request.raw(b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 0\r\n\r\n")


@route("/interim")
def interim(request):
    request.raw(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfinal")


@route("/no-length")
def no_length(request):
    request.raw(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")


@route("/folded-header")
def folded_header(request):
    request.raw(b"HTTP/1.1 200 OK\r\nX-Folded: one\r\n  two\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


# ---- sizes


@route("/stream")
def stream(request):
    """Bytes without end (and /stream/10g says so in Content-Length)."""
    request.close_connection = True
    length = 10 * 2**30 if request.arg(0) == "10g" else None
    request.start(200, [("Connection", "close")], length)
    block = b"s" * 65536
    while True:
        request.wfile.write(block)


@route("/huge-header")
def huge_header(request):
    """One header line of N bytes (default 400,000)."""
    request.raw(b"HTTP/1.1 200 OK\r\nX-Huge: " + b"h" * int(request.arg(0, "400000")) + b"\r\nContent-Length: 0\r\n\r\n")


@route("/many-headers")
def many_headers(request):
    """N headers (default 5,000), of ?size= bytes each."""
    value = b"v" * int(request.query.get("size", 1))
    lines = b"".join(b"X-%d: %s\r\n" % (i, value) for i in range(int(request.arg(0, "5000"))))
    request.raw(b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 2\r\nConnection: close\r\n\r\nok")


# ---- encodings


@route("/gzip")
def gzipped(request):
    request.reply(200, gzip.compress(b"gzip works " * 100), [("Content-Encoding", "gzip")])


@route("/deflate")
def deflated(request):
    request.reply(200, zlib.compress(b"deflate works " * 100), [("Content-Encoding", "deflate")])


@route("/br")
def brotli(request):
    request.reply(200, BROTLI, [("Content-Encoding", "br")])


@route("/gzip-bomb")
def gzip_bomb(request):
    """A few hundred KiB that unpack to N MiB (default 200)."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = b"".join(compressor.compress(bytes(2**20)) for _ in range(int(request.arg(0, "200"))))
    request.reply(200, data + compressor.flush(), [("Content-Encoding", "gzip")])


@route("/bad-gzip")
def bad_gzip(request):
    request.reply(200, b"this is not gzip", [("Content-Encoding", "gzip")])


@route("/gzip-trailer")
def gzip_trailer(request):
    request.reply(200, gzip.compress(b"good") + b"and something behind it", [("Content-Encoding", "gzip")])


# ---- redirects


@route("/redirect")
def redirect(request):
    """/redirect/N leads to /echo in N hops."""
    left = int(request.arg(0, "1"))
    request.reply(302, b"moved", [("Location", "/echo" if left <= 1 else f"/redirect/{left - 1}")])


@route("/redirect-to")
def redirect_to(request):
    """?url=&status= (default 302), and ?body=N for a body of N bytes."""
    body = b"r" * int(request.query.get("body", 0))
    request.reply(int(request.query.get("status", 302)), body, [("Location", request.query["url"])])


@route("/redirect-loop")
def redirect_loop(request):
    request.reply(302, b"", [("Location", "/redirect-loop")])


# ---- credentials


@route("/basic-auth")
def basic_auth(request):
    expected = "Basic " + base64.b64encode(":".join(request.args[:2]).encode()).decode()
    if request.headers.get("Authorization") == expected:
        request.reply_json({"authenticated": True})
    else:
        request.reply(401, b"no", [("WWW-Authenticate", 'Basic realm="test"')])


@route("/bearer")
def bearer(request):
    """Accepts any bearer token and returns it; with /bearer/TOKEN only that one."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind == "Bearer" and token and token == request.arg(0, token):
        request.reply_json({"token": token})
    else:
        request.reply(401, b"no", [("WWW-Authenticate", "Bearer")])


# ---- what an API does


@route("/429")
def too_many(request):
    """?retry_after=SECONDS"""
    request.reply(429, b"slow down", [("Retry-After", request.query.get("retry_after", "1"))])


@route("/flaky")
def flaky(request):
    """/flaky/N/KEY fails with 503 N times, then answers 200. Each KEY counts for itself."""
    key = "flaky:" + "/".join(request.args)
    with LOCK:
        COUNTS[key] += 1
        count = COUNTS[key]
    request.reply(503 if count <= int(request.arg(0, "1")) else 200, str(count).encode())


@route("/etag")
def etag(request):
    """/etag/VERSION: 304 for who has that version by ETag, or by Last-Modified when it sends no ETag (RFC 9110, 13.1)."""
    version, modified = f'"{request.arg(0, "1")}"', "Sun, 06 Nov 1994 08:49:37 GMT"
    known = request.headers.get("If-None-Match")
    same = known == version if known is not None else request.headers.get("If-Modified-Since") == modified
    headers = [("ETag", version), ("Last-Modified", modified)]
    request.reply(304 if same else 200, b"" if same else b"the body", headers)


@route("/limited")
def limited(request):
    """/limited/KEY?status=403&reset=SECONDS&form=epoch|delta|ms: refuses once, as GitHub, GitLab and others do, then answers."""
    key = "limited:" + request.arg(0, "")
    with LOCK:
        COUNTS[key] += 1
        count = COUNTS[key]
    if count > 1:
        request.reply(200, str(count).encode())
        return
    seconds = float(request.query.get("reset", "1"))
    reset = {"delta": str(round(seconds)), "epoch": str(round(time.time() + seconds)),
             "ms": str(round((time.time() + seconds) * 1000))}[request.query.get("form", "epoch")]
    request.reply(int(request.query.get("status", "403")), b"API rate limit exceeded",
                  [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", reset)])


@route("/multipart")
def multipart(request):
    """What an independent parser (the email package) finds in a multipart/form-data body."""
    head = f"Content-Type: {request.headers.get('Content-Type')}\r\n\r\n".encode()
    message = email.message_from_bytes(head + request.body, policy=email.policy.HTTP)
    parts = []
    for part in message.iter_parts():
        content = part.get_payload(decode=True)
        parts.append({"name": part.get_param("name", header="content-disposition"), "filename": part.get_filename(),
                      "type": part.get_content_type() if part["Content-Type"] else None, "content": content.decode("latin-1")})
    request.reply_json(parts)


@route("/pages")
def pages(request):
    """?page=1&per_page=10&total=25: a JSON array of items, and Link headers as GitHub has them."""
    page, size, total = (int(request.query.get(k, d)) for k, d in (("page", 1), ("per_page", 10), ("total", 25)))
    last = max(1, -(-total // size))
    items = [{"id": i + 1, "name": f"item {i + 1}"} for i in range((page - 1) * size, min(page * size, total))]
    here = f"http://{request.headers.get('Host')}/pages?per_page={size}&total={total}&page="
    links = [f'<{here}{n}>; rel="{rel}"' for rel, n, shown in (
        ("prev", page - 1, page > 1), ("next", page + 1, page < last), ("first", 1, True), ("last", last, True)) if shown]
    request.reply_json(items, headers=[("Link", ", ".join(links))])


@route("/record")
def record(request):
    """/record/TAG notes when it was called (ms, monotonic); /recorded returns the notes, /recorded/clear empties them."""
    now = round((time.monotonic() - STARTED) * 1000, 3)
    with LOCK:
        RECORDS.append({"ms": now, "tag": request.arg(0, request.query.get("tag", ""))})
    request.reply(200, b"noted")


@route("/recorded")
def recorded(request):
    with LOCK:
        notes = list(RECORDS)
        if request.arg(0) == "clear":
            RECORDS.clear()
    request.reply_json(notes)


# ---- GraphQL

ISSUES = [{"id": f"I{i}", "comments": [{"id": f"I{i}-{n}"} for n in range((i * 7) % 6)]} for i in range(1, 12)]


def connection(items, after, size):
    """A page of a connection: the cursor is the place of the last item, as text."""
    begin = 0 if after is None else int(after)
    page = items[begin:begin + size]
    end = begin + len(page)
    return {"edges": [{"node": item} for item in page],
            "pageInfo": {"hasNextPage": end < len(items), "endCursor": str(end) if page else None}}


@route("/graphql")
def graphql(request):
    """Answers what the variables say: answer (JSON, or a text as it is), status, headers. Without them the operations
    Issues(after) and Comments(id, after), two items a page, and Request, which shows what came."""
    sent = json.loads(request.body)
    variables = sent.get("variables") or {}
    if "answer" in variables:
        answer = variables["answer"]
        text = answer if isinstance(answer, str) else json.dumps(answer)
        request.reply(variables.get("status", 200), text.encode(), [*(variables.get("headers") or {}).items()])
    elif sent.get("operationName") == "Issues":
        found = connection(ISSUES, variables.get("after"), 2)
        for edge in found["edges"]:
            edge["node"] = {**edge["node"], "comments": connection(edge["node"]["comments"], None, 2)}
        request.reply_json({"data": {"issues": found}})
    elif sent.get("operationName") == "Comments":
        issue = next(issue for issue in ISSUES if issue["id"] == variables["id"])
        request.reply_json({"data": {"node": {"comments": connection(issue["comments"], variables.get("after"), 2)}}})
    else:
        request.reply_json({"data": {"method": request.method, "headers": request.header_pairs(), "sent": sent}})


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512
    context = None

    def get_request(self):
        connection, address = super().get_request()
        if self.context is not None:
            # The handshake happens at the first read, in the connection's own thread.
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--exit-with-stdin", action="store_true")
    options = parser.parse_args()
    server = Server(("127.0.0.1", options.port), Request)
    if options.tls:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(*options.tls)
    print(server.server_address[1], flush=True)
    if options.exit_with_stdin:
        threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
