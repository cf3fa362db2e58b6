#!/usr/bin/env python3
"""Measures the program side by side with its peers and prints ratios beside the figures to reach.

Asserts nothing about speed: it only refuses to compare peers that did not write the same rows. Rounds go around the peers
in turn, so that whatever else the machine does hits all of them. RATIO is that of the medians, BEST that of the best rounds,
which says more when the machine had company. Databases are made in a temporary folder: TMPDIR says where.
"""
import argparse
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile

from mcp import measure_mcp
from report import Report, Sample
from serve import measure_serve

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(HERE, "scripts")
ROWS = 100000
PACKAGES = {"@notionhq/workers": "0.9.2", "better-sqlite3": "12.4.1", "fast-xml-parser": "5.12.1", "graphile-worker": "0.16.6",
            "papaparse": "5.7.1", "pg-boss": "10.4.2", "tsx": "4.20.6"}
OURS, NODE, C = "workers", "Node SDK + better-sqlite3", "plain C + SQLite"


class Usage:
    """What one finished process took."""

    def __init__(self, figures, output):
        self.seconds = figures["seconds"]
        self.cpu = figures["cpu"]
        self.peak_kib = figures["peak_kib"]
        self.output = output


class Runner:
    """Runs commands to their end by way of measure.c. Output goes through files, so that no reader competes with them."""

    def __init__(self, build, folder):
        self.measure = os.path.join(build, "tests", "measure")
        self.figures = os.path.join(folder, "figures.json")
        self.folder = folder

    def run(self, command):
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            done = subprocess.run([self.measure, self.figures] + command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out,
                                  stderr=err, check=False)
            out.seek(0)
            err.seek(0)
            output = out.read().decode()
            if done.returncode != 0:
                sys.exit(f"bench: {' '.join(command)} ended with {done.returncode}:\n{output}{err.read().decode()}")
        with open(self.figures, encoding="utf-8") as file:
            return Usage(json.load(file), output)


# ---- peers ----

def installed(npm, package):
    try:
        with open(os.path.join(npm, "node_modules", package, "package.json"), encoding="utf-8") as file:
            return json.load(file)["version"]
    except (OSError, ValueError, KeyError):
        return None


def install_peers(npm, note):
    """Returns which packages can be used."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        note("node and npm are not installed: the Node peers are left out")
        return set()
    os.makedirs(npm, exist_ok=True)
    if not os.path.exists(os.path.join(npm, "package.json")):
        with open(os.path.join(npm, "package.json"), "w", encoding="utf-8") as file:
            file.write('{ "private": true }\n')
    usable = set()
    for package, version in PACKAGES.items():
        if installed(npm, package) != version:
            note(f"installing {package} {version}")
            command = ["npm", "install", "--no-audit", "--no-fund", "--save-exact", f"{package}@{version}"]
            done = subprocess.run(command, cwd=npm, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                note(f"{package} cannot be installed, so what needs it is left out: {done.stderr.strip()[-400:]}")
                continue
        usable.add(package)
    return usable


# ---- exec ----

def measure_exec(report, workers, runner, peers, npm, rounds):
    ours = [workers, "exec", "sayHello", "-d", '{"name":"World"}']
    commands = {OURS: ours}
    if "@notionhq/workers" in peers:
        commands["Node SDK"] = ["node", "hello.mjs"]
        if "tsx" in peers:
            commands["Node SDK, tsx"] = [os.path.join(npm, "node_modules", ".bin", "tsx"), "hello.mjs"]
    results = {name: [] for name in commands}
    for i in range(rounds + 1):
        for name, command in commands.items():
            if name.endswith("tsx") and i > max(rounds // 5, 2):
                continue
            usage = runner.run(command)
            if json.loads(usage.output) != "Hello, World!":
                sys.exit(f"bench: {name} said {usage.output!r}")
            if i > 0:
                results[name].append(usage)
    times = {name: Sample(u.seconds * 1e3 for u in usages) for name, usages in results.items()}
    peaks = {name: Sample(u.peak_kib / 1024 for u in usages) for name, usages in results.items()}
    if len(commands) == 1:
        report.add("exec of a hello tool, whole process", times[OURS], "ms", reach="15", then="40")
        report.add("  peak memory", peaks[OURS], "MiB")
    for name in list(commands)[1:]:
        first = name == "Node SDK"
        report.faster("exec of a hello tool, whole process" if first else "  the same", times[OURS], times[name], name,
                      reach="15" if first else "", then="40" if first else "")
        report.faster("  peak memory", peaks[OURS], peaks[name], name, unit="MiB")


# ---- sync ----

class SyncPeer:
    def __init__(self, name, command, database, clean):
        self.name, self.command, self.database, self.clean = name, command, database, clean
        self.passes = ([], [])  # first, second: (milliseconds of the sync itself, Usage)

    def round(self, runner, keep):
        for path in self.clean:
            shutil.rmtree(path, ignore_errors=True)
            for suffix in ("", "-wal", "-shm"):
                if os.path.isfile(path + suffix):
                    os.remove(path + suffix)
        for number in range(2):
            usage = runner.run(self.command)
            result = json.loads(usage.output)
            if isinstance(result, list):
                summary = result[0]
                rows, milliseconds = summary["added"] + summary["unchanged"], summary["durationMs"]
                if summary["unchanged"] != (ROWS if number == 1 else 0):
                    sys.exit(f"bench: {self.name} changed rows in pass {number + 1}: {summary}")
            else:
                rows, milliseconds = result["rows"], result["ms"]
            if rows != ROWS:
                sys.exit(f"bench: {self.name} wrote {rows} rows instead of {ROWS}")
            if keep:
                self.passes[number].append((milliseconds, usage))

    def digest(self):
        """Of what was written, so that nobody is fast by writing something else."""
        digest = hashlib.sha256()
        database = sqlite3.connect(self.database)
        for row in database.execute("SELECT _key, task_name, task_id, status, points, due, due_end, done FROM tasks"
                                    " ORDER BY _key"):
            digest.update(repr(row).encode())
        database.close()
        return digest.hexdigest()

    def rate(self, number):
        return Sample((ROWS / (ms / 1e3) for ms, _ in self.passes[number]), max)

    def whole(self, number):
        return Sample((ROWS / usage.seconds for _, usage in self.passes[number]), max)

    def cpu(self, number):
        return Sample(usage.cpu * 1e3 for _, usage in self.passes[number])

    def peak(self, number):
        return Sample(usage.peak_kib / 1024 for _, usage in self.passes[number])


def measure_sync(report, workers, build, runner, peers, rounds):
    folder = runner.folder
    store = os.path.join(folder, ".workers")
    database = os.path.join(store, "worker.db")
    plain = SyncPeer(OURS, [workers, "run", "sync_plain.lua", "--json"], database, [store])
    builder = SyncPeer(OURS, [workers, "run", "sync_builder.lua", "--json"], database, [store])
    others = []
    if {"@notionhq/workers", "better-sqlite3"} <= peers:
        path = os.path.join(folder, "node.db")
        others.append(SyncPeer(NODE, ["node", "sync.mjs", path], path, [path]))
    path = os.path.join(folder, "plain.db")
    others.append(SyncPeer(C, [os.path.join(build, "tests", "plain_sync"), path], path, [path]))
    digest = None
    for i in range(rounds + 1):
        for peer in [plain, builder] + others:
            peer.round(runner, i > 0)
            if i == 0:
                if digest is not None and peer.digest() != digest:
                    sys.exit(f"bench: {' '.join(peer.command)} wrote other rows than the first did")
                digest = peer.digest()
    for peer in others:
        reach = {"reach": "1.3"} if peer.name == NODE else {"then": "0.8"}
        report.rate("sync of 100,000 rows, first pass", plain.rate(0), peer.rate(0), peer.name, **reach)
        report.rate("  whole process", plain.whole(0), peer.whole(0), peer.name)
        report.rate("  with Builder calls", builder.rate(0), peer.rate(0), peer.name)
        report.faster("  CPU time of the process", plain.cpu(0), peer.cpu(0), peer.name)
        report.faster("  peak memory", plain.peak(0), peer.peak(0), peer.name, unit="MiB")
    report.rate("the same again, nothing changed", plain.rate(1), plain.rate(0), "our first pass", reach="2", then="4")
    report.rate("  with Builder calls", builder.rate(1), builder.rate(0), "our first pass with Builder")
    for peer in others:
        report.rate("  beside", plain.rate(1), peer.rate(1), f"{peer.name}, second pass")


# ---- requests ----

def measure_requests(report, workers, runner, rounds):
    """500 requests at once, ten times over, against one upstream; the whole process."""
    count, repeats = 500, 10
    with subprocess.Popen(["node", os.path.join(SCRIPTS, "http_upstream.mjs")], stdout=subprocess.PIPE, text=True) as upstream:
        try:
            url = f"http://127.0.0.1:{upstream.stdout.readline().strip()}"
            commands = {
                OURS: [workers, "exec", "fetchAll", "--script", "http.lua", "-d",
                       json.dumps({"url": url, "count": count, "rounds": repeats})],
                "Node, fetch": ["node", "http.mjs", url, str(count), str(repeats)],
            }
            results = {name: [] for name in commands}
            for i in range(rounds + 1):
                for name, command in commands.items():
                    usage = runner.run(command)
                    if int(usage.output) != repeats * count * (count + 1) // 2:
                        sys.exit(f"bench: {name} said {usage.output!r}")
                    if i > 0:
                        results[name].append(usage)
        finally:
            upstream.kill()
    ours, node = results.values()
    report.faster("5,000 requests, 500 at once, whole process", Sample(u.seconds * 1e3 for u in ours),
                  Sample(u.seconds * 1e3 for u in node), "Node, fetch")
    report.faster("  CPU time of the process", Sample(u.cpu * 1e3 for u in ours), Sample(u.cpu * 1e3 for u in node), "Node, fetch")
    report.faster("  peak memory", Sample(u.peak_kib / 1024 for u in ours), Sample(u.peak_kib / 1024 for u in node), "Node, fetch",
                  unit="MiB")


# ---- texts ----

def write_texts(folder):
    """An export of 100,000 rows and a feed of 30,000 items; their sizes in MB."""
    with open(os.path.join(folder, "data.csv"), "w", encoding="utf-8", newline="") as file:
        for i in range(ROWS):
            note = f'"said ""no"", {i} times"' if i % 10 == 0 else "nothing to say"
            file.write(f"{i},Name of customer {i},customer{i}@example.com,{note},{i * 7 % 1000}.50,2024-05-{i % 28 + 1:02}T12:00:00Z\r\n")
    with open(os.path.join(folder, "data.xml"), "w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?><rss version="2.0"><channel>')
        for i in range(30000):
            file.write(f'<item id="{i}"><title>Article {i} of many</title><link href="https://example.com/articles/{i}"/>'
                       f"<description>Bread &amp; butter, in the {i}th part of a series</description>"
                       f"<pubDate>2024-05-{i % 28 + 1:02}</pubDate></item>")
        file.write("</channel></rss>")
    return [os.path.getsize(os.path.join(folder, name)) / 1e6 for name in ("data.csv", "data.xml")]


def measure_texts(report, workers, runner, peers, rounds):
    csv_size, xml_size = write_texts(runner.folder)

    def ours(tool):
        return [workers, "exec", tool, "--script", "texts.lua"]

    lua = "plain Lua"
    groups = [(f"reading {csv_size:.0f} MB of CSV, CPU time", {OURS: ours("csv"), "  row by row": ours("csvStreamed"), lua: ours("csvInLua")}),
              (f"reading {xml_size:.0f} MB of XML, CPU time", {OURS: ours("xml"), lua: ours("xmlInLua")})]
    for (_, commands), kind, package in zip(groups, ("csv", "xml"), ("papaparse", "fast-xml-parser")):
        if package in peers:
            commands[package] = ["node", "texts.mjs", kind]
    for what, commands in groups:
        times, expected = {name: [] for name in commands}, None
        for i in range(rounds + 1):
            for name, command in commands.items():
                result = json.loads(runner.run(command).output)
                milliseconds = result.pop("ms")
                if expected is not None and result != expected:
                    sys.exit(f"bench: {' '.join(command)} read {result}, the first {expected}")
                expected = result
                if i > 0:
                    times[name].append(milliseconds)
        for name in commands:
            if name.startswith("  "):
                report.faster(what + "," + name[1:], Sample(times[name]), Sample(times[OURS]), "all rows at once")
            elif name != OURS:
                report.faster(what, Sample(times[OURS]), Sample(times[name]), name)


# ---- isolates ----

def measure_isolates(report, build, runner, rounds):
    command = [os.path.join(build, "tests", "isolate_bench"), "hello.lua", "1000"]
    results = [json.loads(runner.run(command).output) for _ in range(rounds + 1)][1:]
    report.add("isolate with a worker loaded: to open one", Sample(r["open_us"] for r in results), "us")
    report.add("  growth of the process for one of 1,000", Sample(r["rss_kib"] for r in results), "KiB", reach="150", then="60")
    report.add("  memory of its Lua state", Sample(r["memory_kib"] for r in results), "KiB")


# ---- regular expressions ----

def measure_regex(report, workers, runner, rounds):
    """All matches in 10 MB of text, CPU time of the search alone."""
    ours, node = [], []
    for _ in range(rounds + 1):
        ours.append(json.loads(runner.run([workers, "exec", "regex", "--script", "regex.lua"]).output))
        if shutil.which("node"):
            node.append(json.loads(runner.run(["node", "regex.mjs"]).output))
    for kind, where in (("ascii", "in 10 MB"), ("unicode", "where some letters are not ASCII")):
        found = {search["count"] for results in ours + node for search in results[kind].values()}
        if len(found) != 1:
            sys.exit(f"bench: the searches found {sorted(found)} matches")

        def times(rows, name, kind=kind):
            return Sample(row[kind][name]["ms"] for row in rows[1:])

        for key, what in (("date", "ISO dates"), ("mail", "e-mail addresses")):
            report.faster(f"regex: all {what} {where}", times(ours, key), times(ours, key + "Pattern"), "Lua's patterns")
            if node:
                report.faster("  beside", times(ours, key), times(node, key), "Node")


def measure_commands(report, workers, build, runner, peers, npm, quick):
    rounds = 2 if quick else 5
    measure_exec(report, workers, runner, peers, npm, 8 if quick else 30)
    measure_sync(report, workers, build, runner, peers, rounds)
    measure_texts(report, workers, runner, peers, rounds)
    measure_isolates(report, build, runner, rounds)
    if shutil.which("node") is not None:
        measure_requests(report, workers, runner, rounds)
    measure_regex(report, workers, runner, rounds)


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--serve", action="store_true", help="workers serve only")
    parser.add_argument("--mcp", action="store_true", help="tools for agents only")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.add_argument("--build", default=os.path.join(HERE, "..", "..", "build", "bench"), help="folder of a release build")
    parser.add_argument("--npm", default=os.path.join(HERE, "..", "..", "build", "npm"), help="where npm installs the peers")
    args = parser.parse_args()
    build, npm = os.path.abspath(args.build), os.path.abspath(args.npm)
    workers = os.path.join(build, "workers")
    if not os.access(workers, os.X_OK):
        sys.exit(f"bench: there is no program at {workers}: scripts/bench builds it")

    def note(text):
        print(f"bench: {text}", file=sys.stderr)

    peers = install_peers(npm, note)
    load = os.getloadavg()[0]
    if load > os.cpu_count() / 2:
        print(f"bench: the machine is busy (load {load:.1f} on {os.cpu_count()} cores): look at BEST", file=sys.stderr)
    report = Report()
    with tempfile.TemporaryDirectory(prefix="workers-bench-") as folder:
        for name in os.listdir(SCRIPTS):
            shutil.copy(os.path.join(SCRIPTS, name), folder)
        with open(os.path.join(folder, "workers.yaml"), "w", encoding="utf-8") as file:
            file.write("name: bench\nmain: hello.lua\n")
        if peers:
            os.symlink(os.path.join(npm, "node_modules"), os.path.join(folder, "node_modules"))
        runner = Runner(build, folder)
        if not args.serve and not args.mcp:
            measure_commands(report, workers, build, runner, peers, npm, args.quick)
        if not args.mcp:
            measure_serve(report, workers, folder, peers, args.quick, note)
        if not args.serve:
            measure_mcp(report, workers, folder, npm, args.quick, note)
    if args.json:
        print(json.dumps({"cores": os.cpu_count(), "load": load, "quick": args.quick, "figures": report.rows}, indent=2))
    else:
        report.print()


if __name__ == "__main__":
    main()
