#!/usr/bin/env python3
"""What people read after an everyday mistake. Every case is a small project, a command, and the exit code and error text
that mistakes/NAME.txt holds. After a change of a message: WORKERS_UPDATE_SNAPSHOTS=1 rewrites the texts; read each as
somebody who does not know this program: it must say what was wrong, where, and what to do.
"""
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import BINARY, REPOSITORY, Project, TestCase, main  # noqa: E402

SNAPSHOTS = pathlib.Path(__file__).resolve().parent / "mistakes"
UPDATE = os.environ.get("WORKERS_UPDATE_SNAPSHOTS") == "1"

# Line 5 begins the database, line 15 the sync; what a case puts into execute begins at line 19.
HEAD = """\
local workers = require "workers"
local http = require "workers.http"
local Schema, Builder, j = workers.schema, workers.builder, workers.j
local worker = workers.new()
"""
DATABASE = """\
local tasks = worker:database("tasks", {
  type = "managed",
  initialTitle = "Tasks",
  primaryKeyProperty = "ID",
  schema = { properties = {
    Name = Schema.title(),
    ID = Schema.richText(),
    Count = Schema.number(),
    Status = Schema.select { { name = "Open" }, { name = "Done" } },
  } },
})
"""
SYNC = """\
worker:sync("fill", {
  database = tasks,
  execute = function(state, ctx)
    BODY
  end,
})
return worker
"""
TOOL = """\
worker:tool("greet", {
  title = "Greet",
  description = "Says hello",
  schema = j.object { name = j.string(), times = j.integer() },
  execute = function(input)
    return "Hello " .. input.name
  end,
})
return worker
"""


def sync(body):
    """A project whose one sync has this body."""
    return HEAD + DATABASE + SYNC.replace("BODY", body.strip().replace("\n", "\n    "))


def with_database(text):
    return HEAD + text + SYNC.replace("BODY", "return { changes = {}, hasMore = false }")


def with_sync_option(line):
    script = sync("return { changes = {}, hasMore = false }")
    return script.replace("  database = tasks,\n", f"  database = tasks,\n  {line}\n")


def upsert(properties, key='"t1"'):
    return sync(f'return {{ hasMore = false, changes = {{\n  {{ type = "upsert", key = {key}, properties = {properties} }},\n}} }}')


def fetch(path):
    return sync(f'local body = http.get("URL{path}"):raise():json()\nreturn {{ changes = {{}}, hasMore = false }}')


RUN = ("run", "main.lua")
CHECK = ("check",)

# name: (script, command) or (script, command, other files). The script becomes main.lua.
CASES = {
    # ---- rows
    "property-misspelt": (upsert('{ Name = "One", Cuont = 3 }'), RUN),
    "text-given-to-a-number": (upsert('{ Name = "One", Count = Builder.richText("three") }'), RUN),
    "plain-text-given-to-a-number": (upsert('{ Name = "One", Count = "three" }'), RUN),
    "key-and-primary-key-apart": (upsert('{ Name = "One", ID = "t2" }'), RUN),
    "empty-key": (upsert('{ Name = "One" }', key='""'), RUN),
    "key-of-a-wrong-type": (upsert('{ Name = "One" }', key="true"), RUN),
    "no-key": (upsert('{ Name = "One" }', key="nil"), RUN),
    "properties-beside-the-key": (sync('return { hasMore = false, changes = {\n  { type = "upsert", key = "t1", Name = "One" },\n} }'), RUN),
    "unknown-change-type": (sync('return { hasMore = false, changes = {\n  { type = "update", key = "t1", properties = { Name = "One" } },\n} }'), RUN),
    # ---- what execute returns
    "next-state-missing": (sync("return { changes = {}, hasMore = true }"), RUN),
    "cursor-stands-still": (sync("return { changes = {}, hasMore = true, nextState = { page = 1 } }"), RUN),
    "has-more-missing": (sync("return { changes = {} }"), RUN),
    "changes-not-a-list": (sync('return { changes = { t1 = { Name = "One" } }, hasMore = false }'), RUN),
    "changes-missing": (sync("return { hasMore = false }"), RUN),
    "returns-nothing": (sync("local changes = {}"), RUN),
    "field-misspelt": (sync("return { changes = {}, hasmore = false }"), RUN),
    "state-with-a-function": (sync("return { changes = {}, hasMore = true, nextState = { page = { resume = print } } }"), RUN),
    "state-too-large": (sync('return { changes = {}, hasMore = true, nextState = { seen = ("x"):rep(2000) } }'), RUN,
                        {"workers.yaml": "name: test\nmain: main.lua\nlimits: { state: 1KiB }\n"}),
    # ---- declarations
    "two-titles": (with_database(DATABASE.replace("Schema.number()", "Schema.title()")), CHECK),
    "no-title": (with_database(DATABASE.replace("Schema.title()", "Schema.richText()")), CHECK),
    "primary-key-not-a-property": (with_database(DATABASE.replace('"ID"', '"Id"')), CHECK),
    "option-misspelt": (with_sync_option('shedule = "30m",'), CHECK),
    "option-missing": (HEAD + DATABASE + 'worker:sync("fill", { database = tasks })\nreturn worker\n', CHECK),
    "schedule-bad-unit": (with_sync_option('schedule = "30x",'), CHECK),
    "schedule-too-short": (with_sync_option('schedule = "30s",'), CHECK),
    "schedule-too-long": (with_sync_option('schedule = "8d",'), CHECK),
    "cron-bad": (with_sync_option('schedule = { cron = "0 25 * * *" },'), CHECK),
    "cron-unknown-time-zone": (with_sync_option('schedule = { cron = "0 9 * * 1-5", timezone = "Europe/Berln" },'), CHECK),
    "mode-unknown": (with_sync_option('mode = "full",'), CHECK),
    "duplicate-key": (sync("return { changes = {}, hasMore = false }").replace("return worker", 'worker:pacer("fill", { allowedRequests = 1, intervalMs = 1000 })\nreturn worker'), CHECK),
    "related-database-unknown": (with_database(DATABASE.replace("Schema.number()", 'Schema.relation("task")')), CHECK),
    "select-without-options": (with_database(DATABASE.replace('{ { name = "Open" }, { name = "Done" } }', "({})")), CHECK),
    "option-without-a-name": (with_database(DATABASE.replace('{ name = "Done" }', '{ color = "green" }')), CHECK),
    "color-unknown": (with_database(DATABASE.replace('{ name = "Done" }', '{ name = "Done", color = "grean" }')), CHECK),
    "schema-type-misspelt": (with_database(DATABASE.replace("Schema.richText()", "Schema.richtext()")), CHECK),
    "property-without-call": (with_database(DATABASE.replace("Schema.number()", "Schema.number")), CHECK),
    "database-misspelt": (sync("return { changes = {}, hasMore = false }").replace("database = tasks,", "database = task,"), CHECK),
    "database-by-unknown-name": (sync("return { changes = {}, hasMore = false }").replace("database = tasks,", 'database = "task",'), CHECK),
    # ---- Lua
    "syntax-error": (sync("return { changes = {} hasMore = false }"), RUN),
    "nested-too-deep": (sync("return " + "{" * 300 + "}" * 300), RUN),
    "nil-index": (sync("local task = nil\nreturn { changes = { { key = task.id } }, hasMore = false }"), RUN),
    "method-misspelt": (HEAD + DATABASE + 'worker:synk("fill", { database = tasks })\nreturn worker\n', CHECK),
    "dot-instead-of-colon": (HEAD + 'worker.database("tasks", {})\nreturn worker\n', CHECK),
    "worker-not-returned": (sync("return { changes = {}, hasMore = false }").replace("return worker\n", ""), CHECK),
    "module-missing": (HEAD + 'local helper = require "lib.helper"\nreturn worker\n', CHECK),
    "module-misspelt": ('local workers = require "workers"\nlocal http = require "workers.htpp"\nreturn workers.new()\n', CHECK),
    "io-open": (sync('local file = io.open("data.json")\nreturn { changes = {}, hasMore = false }'), RUN),
    "os-execute": (sync('os.execute("ls")\nreturn { changes = {}, hasMore = false }'), RUN),
    "endless-loop": (sync("while true do end"), RUN, {"workers.yaml": "name: test\nmain: main.lua\nlimits: { cpu: 200ms }\n"}),
    "error-without-a-message": (sync("error()"), RUN),
    # ---- upstreams
    "http-401": (fetch("/status/401"), RUN),
    "http-404": (fetch("/status/404"), RUN),
    "http-500": (fetch("/status/500"), RUN),
    "http-429": (HEAD + TOOL.replace('return "Hello " .. input.name', 'return http.get("URL/429?retry_after=60"):raise():json()'),
                 ("exec", "greet", "-d", '{"name":"World","times":1}')),
    "http-not-json": (fetch("/bytes/20"), RUN),
    "http-empty-body": (fetch("/empty"), RUN),
    "truncated-body": (fetch("/truncated"), RUN),
    "connection-refused": (fetch("/").replace("URL", "http://127.0.0.1:REFUSED"), RUN),
    "connection-reset": (fetch("/reset"), RUN),
    "dns-failure": (fetch("/").replace("URL", "http://no-such-host.invalid"), RUN),
    "tls-self-signed": (fetch("/empty").replace("URL", "https://127.0.0.1:TLS"), RUN),
    "url-without-a-scheme": (fetch("/").replace("URL", "api.example.com"), RUN),
    "http-option-misspelt": (sync('http.get("URL/empty", { header = { Accept = "*/*" } })\nreturn { changes = {}, hasMore = false }'), RUN),
    "host-not-permitted": (fetch("/empty"), RUN, {"workers.yaml": 'name: test\nmain: main.lua\npermissions: { net: ["api.example.com"] }\n'}),
    # ---- calls
    "tool-input-does-not-fit": (HEAD + TOOL, ("exec", "greet", "-d", '{"name":"World","times":"two"}')),
    "tool-input-lacks-a-field": (HEAD + TOOL, ("exec", "greet", "-d", '{"name":"World"}')),
    "tool-input-field-misspelt": (HEAD + TOOL, ("exec", "greet", "-d", '{"nmae":"World","times":1}')),
    "tool-input-not-json": (HEAD + TOOL, ("exec", "greet", "-d", "{")),
    "tool-input-file-missing": (HEAD + TOOL, ("exec", "greet", "-d", "@input.json")),
    "capability-unknown": (HEAD + TOOL, ("exec", "great")),
    "run-key-unknown": (sync("return { changes = {}, hasMore = false }"), ("run", "main.lua", "fil")),
    "command-unknown": (None, ("rum",)),
    "command-of-a-group-unknown": (None, ("view", "shw")),
    "flag-unknown": (None, ("run", "--previw")),
    "query-before-the-first-run": (sync("return { changes = {}, hasMore = false }"), ("db", "query", "SELECT * FROM tasks")),
    # ---- settings
    "yaml-unknown-key": (sync(""), CHECK, {"workers.yaml": "name: test\nmain: main.lua\nlimit: { memory: 1GiB }\n"}),
    "yaml-bad-size": (sync(""), CHECK, {"workers.yaml": "name: test\nmain: main.lua\nlimits:\n  memory: 256 megs\n"}),
    "yaml-not-yaml": (sync(""), CHECK, {"workers.yaml": "name: test\nmain: main.lua\nlimits: { memory: 1GiB\n"}),
    "yaml-tab": (sync(""), CHECK, {"workers.yaml": "name: test\nlimits:\n\tmemory: 1GiB\n"}),
    "main-missing": (None, CHECK, {"workers.yaml": "name: test\nmain: src/main.lua\n"}),
    "script-missing": (None, ("run", "mian.lua"), {"workers.yaml": None}),
    "no-project": (None, ("exec", "greet"), {"workers.yaml": None}),
}


def unused_port():
    """A port that refuses: bound, so that nobody else gets it, and never listening."""
    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))
    return probe, probe.getsockname()[1]


class EverydayMistakes(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.ports = {}
        cls.probe, cls.ports["REFUSED"] = unused_port()
        cls.addClassCleanup(cls.probe.close)
        cls.ports["PLAIN"] = cls.serve()
        certificate, key = f"{cls.folder.name}/cert.pem", f"{cls.folder.name}/key.pem"
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
                               "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
                              capture_output=True, check=False)
        if made.returncode == 0:
            cls.ports["TLS"] = cls.serve("--tls", certificate, key)

    @classmethod
    def serve(cls, *options):
        server = subprocess.Popen([sys.executable, REPOSITORY / "tests" / "support" / "http_server.py", "--exit-with-stdin", *options],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def stop():
            server.stdin.close()
            server.wait()
            server.stdout.close()

        cls.addClassCleanup(stop)
        return int(server.stdout.readline())

    def normalised(self, text, project):
        text = text.replace(str(project.folder.resolve()), "FOLDER").replace(str(project.folder), "FOLDER")
        for name, port in self.ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{name}").replace(f"port {port}", f"port {name}")
        text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID", text)
        text = re.sub(r"\b\d+(\.\d+)? ?ms\b", "N ms", text)
        text = re.sub(r"0x[0-9a-f]{6,}", "ADDRESS", text)
        return text

    def outcome(self, name):
        """What the snapshot of a case holds: the command, the exit code, the error text."""
        script, command, *more = CASES[name]
        files = more[0] if more else {}
        with Project() as project:
            if script is not None:
                script = script.replace("URL", f"http://127.0.0.1:{self.ports['PLAIN']}")
                for port in ("REFUSED", "TLS"):
                    script = script.replace(f":{port}", f":{self.ports.get(port)}")
                project.write("main.lua", script)
            for path, text in files.items():
                if text is None:
                    (project.folder / path).unlink()
                else:
                    project.write(path, text)
            result = project.run(*command, timeout=60)
            text = self.normalised(result.stderr, project)
        shown = " ".join(f"'{word}'" if re.search(r"[^\w./=@:-]", word) else word for word in command)
        return f"$ workers {shown}\nexit code {result.returncode}\n{text}"

    def check(self, name):
        if name.startswith("tls-") and "TLS" not in self.ports:
            self.skipTest("openssl is not installed")
        outcome, path = self.outcome(name), SNAPSHOTS / f"{name}.txt"
        if UPDATE:
            path.parent.mkdir(exist_ok=True)
            path.write_text(outcome, encoding="utf-8")
        self.assertTrue(path.is_file(), f"{path.name} is missing; make it with WORKERS_UPDATE_SNAPSHOTS=1 and read it")
        self.assertEqual(outcome, path.read_text(encoding="utf-8"))
        self.assertNotIn("exit code 0", outcome)

    def test_every_snapshot_has_its_case(self):
        self.assertEqual({p.stem for p in SNAPSHOTS.glob("*.txt")} - set(CASES), set())


def add(name):
    setattr(EverydayMistakes, "test_" + name.replace("-", "_"), lambda self: self.check(name))


for case in CASES:
    add(case)

if __name__ == "__main__":
    if not BINARY:
        sys.exit("WORKERS_BIN must name the binary")
    main()
