"""Runs what the documentation shows, and compares what it says with what the program does.

A block's kind comes from its language and from HTML comments right before it:

  ```lua that ends with "return worker"   a script: `workers check`; with <!-- run --> also `workers run`
  ```lua                                  a snippet: must load; with <!-- declare --> it runs at the top of a script, with
                                          <!-- eval --> inside a tool, where `a --> b` says that a gives b
  ```sh  <!-- test -->                    runs in the page's folder, one after the other; must exit 0. A ```text block right
                                          after it is the output; times and ids do not count, a line "…" is any lines
                   <!-- eventually -->    the same, again and again until it prints that
                   <!-- serve -->         starts a server, which runs until the end of the page, on a free port for 8321
  ```yaml                                 a workers.yaml: `workers check`
  ```json                                 must parse
  ```js                                   a module of a view: must parse, where node is installed
  ```ts                                   for the original SDK; conformance.port runs it
  <!-- file: NAME -->                     before any block: it is written to that file of the page's folder
  <!-- output -->                         before ```text: what the sh block before it printed, checked as above

Python's standard library only. WORKERS_BIN names the binary.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import harness  # noqa: E402

BINARY = os.environ.get("WORKERS_BIN", "")
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
LIBRARY = sorted((REPOSITORY / "docs" / "library").glob("*.md"))
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").glob("*.md")), *LIBRARY]
LINKED = [*PAGES, REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs" / "decisions").glob("*.md"))]
MARKERS = {"run", "test", "eventually", "serve", "snippet", "declare", "eval", "file", "output"}
LANGUAGES = {"lua", "sh", "text", "yaml", "json", "sql", "ts", "js"}

PRELUDE = (
    'local workers = require "workers"; local http, json, cjson, yaml, log, env, fs, time, crypto = require "workers.http", '
    'require "workers.json", require "cjson", require "workers.yaml", require "workers.log", require "workers.env", '
    'require "workers.fs", require "workers.time", require "workers.crypto"; '
    "local Schema, Builder, j = workers.schema, workers.builder, workers.j; local worker = workers.new(); "
)
# Rules of the linter that need the whole script: a snippet is a part of one.
OF_THE_WHOLE = ("unused-local", "deletes-never-emitted")
# What snippets of declarations may refer to.
DECLARED = (
    'local tasks = worker:database("tasks", { type = "managed", initialTitle = "Tasks", primaryKeyProperty = "Task ID", '
    'schema = { properties = { Name = Schema.title(), ["Task ID"] = Schema.richText() } } }); '
    'local api = worker:pacer("api", { allowedRequests = 10, intervalMs = 1000 }); '
)


class Block:
    def __init__(self, page, line, language, text, markers):
        self.page, self.line, self.language, self.text, self.markers = page, line, language, text, markers
        self.expected = None  # of sh: the text block that follows

    @property
    def where(self):
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def read_blocks(page):
    """The fenced blocks of a page, with the markers that stand right before them."""
    blocks, markers, fence = [], {}, None
    for number, line in enumerate(page.read_text(encoding="utf-8").split("\n"), 1):
        if fence is not None:
            if line.strip() == fence[0]:
                blocks.append(Block(page, fence[1], fence[2], "\n".join(fence[3]) + "\n", markers))
                markers, fence = {}, None
            else:
                fence[3].append(line)
            continue
        opening = re.fullmatch(r"(```+)(\w*)", line.strip())
        comment = re.fullmatch(r"<!-- (\w+)(?:: (\S+))? -->", line.strip())
        if opening:
            fence = (opening[1], number, opening[2], [])
        elif comment:
            markers[comment[1]] = comment[2] or True
        elif line.strip():
            markers = {}
    if fence is not None:
        raise AssertionError(f"{page}:{fence[1]}: the block does not end")
    for before, after in zip(blocks, blocks[1:]):
        if before.language == "sh" and "output" in after.markers:
            before.expected = after.text
    return blocks


def normalised(text):
    """The text without what differs from run to run: times, ids, widths of columns."""
    text = re.sub(r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<id>", text)
    text = re.sub(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "<time>", text)
    text = re.sub(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", "<time>", text)
    text = re.sub(r"\b(\d+ (s|min|h) ago|in \d+ (s|min|h))\b", "<time>", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8321", text)
    text = re.sub(r"(/webhooks/\w+)/[0-9a-f]{32}/", r"\1/<secret>/", text)
    text = re.sub(r"\b(\d+ ms|\d+\.\d s)(?=$|\n|:)", "<duration>", text)
    return [re.sub(r"  +", "  ", line).strip() for line in text.strip().split("\n")]


def same_output(expected, got):
    """Whether the lines are those expected; an expected "…" stands for any lines."""
    if not expected:
        return not got
    if expected[0] == "…":
        return any(same_output(expected[1:], got[i:]) for i in range(len(got) + 1))
    return bool(got) and expected[0] == got[0] and same_output(expected[1:], got[1:])


def slug(heading):
    """A heading's anchor."""
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", lambda m: m[1] or "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


class Docs(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        if not BINARY:
            self.skipTest("WORKERS_BIN does not name the binary")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="workers-docs-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.servers, self.address = [], "127.0.0.1:8321"
        self.addCleanup(self.stop_servers)
        tools = self.folder / "bin"
        tools.mkdir()
        (tools / "workers").symlink_to(BINARY)
        self.environment = {"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(self.folder), "LANG": "C.UTF-8", "TZ": "UTC"}
        for role in ("AUTHOR", "COMMITTER"):  # for the first commit of workers new
            self.environment.update({f"GIT_{role}_NAME": "A reader", f"GIT_{role}_EMAIL": "reader@example.com"})
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                self.environment[name] = os.environ[name]

    def workers(self, *arguments, folder=None):
        return subprocess.run([BINARY, *arguments], cwd=folder or self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", timeout=60)

    def must(self, where, *arguments, folder=None):
        result = self.workers(*arguments, folder=folder)
        self.assertEqual(result.returncode, 0, f"{where}: workers {' '.join(arguments)}:\n{result.stdout}")
        return result.stdout

    def must_be_clean(self, block, path, folder, but=()):
        """The script loads, and the linter has nothing to say about it but what some rules say."""
        harness.make_views(folder, block.text)
        found = json.loads(self.must(block.where, "check", path, "--json", folder=folder))
        self.assertEqual([finding for finding in found if finding["rule"] not in but], [], block.where)

    def new_folder(self):
        return pathlib.Path(tempfile.mkdtemp(dir=self.folder))

    # ---- blocks ----

    def run_script(self, block, folder):
        # A script with a name belongs to the page's folder, any other is alone.
        name = block.markers.get("file")
        place = folder if name else self.new_folder()
        path = name or "script.lua"
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(block.text, encoding="utf-8")
        self.must_be_clean(block, path, place)
        if "run" in block.markers:
            self.must(block.where, "run", path, folder=place)

    def run_snippet(self, block):
        place = self.new_folder()
        chunk = f"={block.where}"
        if "declare" in block.markers:
            text = PRELUDE + DECLARED + "do " + block.text + " end return worker"
            (place / "snippet.lua").write_text(text, encoding="utf-8")
            self.must_be_clean(block, "snippet.lua", place, OF_THE_WHOLE)
        elif "eval" in block.markers:
            body = re.sub(r"^(\s*)(.+?)\s+--> (.+)$", r"\1check(\2, \3)", block.text, flags=re.M)
            text = PRELUDE + (
                "local function check(got, wanted) local a, b = json.encode(got, { sortKeys = true }), "
                "json.encode(wanted, { sortKeys = true }) if a ~= b then error('gives ' .. a .. ', not ' .. b, 2) end end "
                'worker:tool("t", { title = "t", description = "d", schema = j.object {}, execute = function() '
            ) + body + "\nend }) return worker"
            (place / "data").mkdir()
            (place / "data" / "countries.json").write_text('[{"code":"DE"}]\n', encoding="utf-8")
            (place / "data" / "lines.txt").write_text("one\ntwo\n", encoding="utf-8")
            (place / "snippet.lua").write_text(text, encoding="utf-8")
            self.must(block.where, "exec", "t", "--script", "snippet.lua", folder=place)
            self.must_be_clean(block, "snippet.lua", place, OF_THE_WHOLE)
        else:
            level = "=" * 5
            text = PRELUDE + f"assert(load([{level}[\n{block.text}]{level}], {json.dumps(chunk)})) return worker"
            (place / "snippet.lua").write_text(text, encoding="utf-8")
            self.must(block.where, "check", "snippet.lua", folder=place)

    def serve(self, block, folder):
        """Starts what the block says in the page's folder."""
        log = open(self.folder / "serve.log", "ab")
        self.addCleanup(log.close)
        self.address = f"127.0.0.1:{harness.free_port()}"
        process = subprocess.Popen([*block.text.split(), "--listen", self.address], cwd=folder, env=self.environment,
                                   executable=BINARY, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.servers.append(process)
        beacons = [folder / ".workers/server", self.folder / ".local/share/workers/.workers/server"]
        harness.wait_until(lambda: any(beacon.exists() for beacon in beacons) or process.poll() is not None,
                           lambda: f"{block.where}: {(self.folder / 'serve.log').read_text()}")

    def stop_servers(self):
        for process in self.servers:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(60) for process in self.servers]
        self.servers = []
        return codes

    def run_shell(self, block, folder):
        end = time.monotonic() + harness.WAIT_SECONDS
        while True:
            try:
                return self.run_shell_once(block, folder)
            except AssertionError:
                if "eventually" not in block.markers or time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def run_shell_once(self, block, folder):
        place = (self.folder / "place").read_text().strip() if (self.folder / "place").exists() else str(folder)
        text = block.text.replace("127.0.0.1:8321", self.address)
        command = f"set -eu\ncd '{place}'\n{text}\npwd > '{self.folder}/place'\n"
        result = subprocess.run(["bash", "-c", command], env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, encoding="utf-8", timeout=120)
        self.assertEqual(result.returncode, 0, f"{block.where}:\n{block.text}\n{result.stdout}")
        if block.expected is not None:
            expected, got = normalised(block.expected), normalised(result.stdout)
            if not same_output(expected, got):
                self.assertEqual("\n".join(expected), "\n".join(got), f"{block.where}: printed\n{result.stdout}")

    def run_yaml(self, block):
        place = self.new_folder()
        main = re.search(r"^main: *(\S+)", block.text, re.M)
        script = place / (main[1] if main else "src/main.lua")
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text('local worker = require "workers".new()\nreturn worker\n', encoding="utf-8")
        (place / "workers.yaml").write_text(block.text, encoding="utf-8")
        self.must(block.where, "check", folder=place)

    def run_page(self, page):
        folder = self.folder / "page"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (self.folder / "place").unlink(missing_ok=True)
        for block in read_blocks(page):
            self.assertIn(block.language, LANGUAGES, f"{block.where}: give the block a language")
            self.assertLessEqual(set(block.markers), MARKERS, f"{block.where}: unknown marker")
            with self.subTest(block=block.where):
                # A folder that a block of the page has entered stays the current one.
                place = self.folder / "place"
                current = pathlib.Path(place.read_text().strip()) if place.exists() else folder
                if block.language == "lua" and block.text.rstrip().endswith("return worker"):
                    self.run_script(block, current)
                elif block.language == "lua":
                    self.run_snippet(block)
                elif block.language == "sh" and "serve" in block.markers:
                    self.serve(block, current)
                elif block.language == "sh" and {"test", "eventually"} & set(block.markers):
                    self.run_shell(block, folder)
                elif block.language == "yaml":
                    self.run_yaml(block)
                elif block.language == "json":
                    json.loads(block.text)
                elif block.language == "js" and shutil.which("node"):
                    (self.folder / "block.mjs").write_text(block.text, encoding="utf-8")
                    checked = subprocess.run(["node", "--check", self.folder / "block.mjs"], capture_output=True, text=True, timeout=60)
                    self.assertEqual(checked.returncode, 0, checked.stderr)
                if "file" in block.markers:
                    target = current / block.markers["file"]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(block.text, encoding="utf-8")
        codes = self.stop_servers()
        self.assertEqual(codes, [0] * len(codes))

    # ---- what the pages say ----

    def reference(self, name):
        return (REPOSITORY / "docs" / name).read_text(encoding="utf-8")

    def test_commands(self):
        """docs/commands.md has every command of `workers help`, with exactly its arguments, options and an example."""
        listed = re.findall(r"^  ([a-z]+(?: [a-z][a-z-]*)*)(?: .*)?$", self.must("help", "help").split("Examples:")[0], re.M)
        sections = re.split(r"^### ", self.reference("commands.md"), flags=re.M)[1:]
        documented = {}
        for section in sections:
            usage = re.match(r"`workers ([^`]+)`", section)
            self.assertIsNotNone(usage, f"commands.md: the heading {section[:40]!r} must be a command in backticks")
            name = re.match(r"[a-z]+(?: [a-z][a-z-]*)*", usage[1])[0]
            documented[name] = (usage[1], section)
        self.assertEqual([*documented], listed)
        for name, (usage, section) in documented.items():
            text = self.must(name, "help", *name.split())
            self.assertEqual(usage, re.search(r"^Usage: workers (.*?)(?: \[options\])?$", text, re.M)[1])
            self.assertIn(f"\n\n{text.splitlines()[0]}.\n\n", section, f"commands.md: what {name} does in a word")
            options = re.findall(r"^  ((?:-\w, )?--[\w-]+(?: [^ ]+)?) ", text.split("Examples:")[0], re.M)
            self.assertEqual(re.findall(r"^- `((?:-\w, )?--[^`]+)`: \S", section, re.M), options, name)
            self.assertRegex(section, rf"```sh\n(?:.*\n)*?workers {name}\b", f"commands.md: {name} has no example")

    def modules(self):
        """Name of each module that scripts can require -> its functions, as a script sees them."""
        table = (REPOSITORY / "src/modules/modules.c").read_text(encoding="utf-8")
        names = set(re.findall(r'\{"([\w.]+)",\s+luaopen_', table))
        names |= {f"workers.{path.stem}" for path in (REPOSITORY / "lua/workers").glob("*.lua")} - {"workers.test"}
        script = ('local workers = require "workers"; local worker, found = workers.new(), {}; for _, name in ipairs { '
                  + ", ".join(json.dumps(name) for name in sorted(names)) + " } do found[name] = workers.array {}; "
                  "for key, value in next, require(name) do found[name][#found[name] + 1] = key end end "
                  'worker:tool("list", { title = "t", description = "d", schema = workers.j.object {}, execute = function() '
                  "return found end }) return worker")
        place = self.new_folder()
        (place / "list.lua").write_text(script, encoding="utf-8")
        found = json.loads(self.must("modules", "exec", "list", "--script", "list.lua", folder=place))
        return found | {"workers.test": self.functions_of_test()}

    def functions_of_test(self):
        """The functions of workers.test, which only tests can require."""
        place = self.new_folder()
        (place / "workers.yaml").write_text("name: list\nmain: list.lua\n", encoding="utf-8")
        (place / "list.lua").write_text(PRELUDE + "return worker", encoding="utf-8")
        (place / "list_test.lua").write_text(
            'local test, found = require "workers.test", {} for name in next, test do found[#found + 1] = name end '
            'test("list", function() error("have " .. table.concat(found, " ") .. ".", 0) end)', encoding="utf-8")
        return re.search(r"have ([\w ]+)\.", self.workers("test", folder=place).stdout)[1].split()

    def test_functions(self):
        """docs/script-reference.md and the pages of docs/library have every function of every module, and no other."""
        pages = [REPOSITORY / "docs" / "script-reference.md", *LIBRARY]
        reference = "\n".join(page.read_text(encoding="utf-8") for page in pages)
        shown = {"workers.schema": "Schema", "workers.builder": "Builder", "workers.j": "j", "cjson.safe": None,
                 # In examples, so that Lua's own stays in sight.
                 "workers.table": "tables",
                 "workers.options": None, "workers.order": None, "workers.suggest": None}
        real = {}
        for module, names in self.modules().items():
            prefix = shown.get(module, module.removeprefix("workers."))
            if prefix is None:
                continue
            real[prefix] = set(names)
            for name in names:
                self.assertRegex(reference, rf"\b{prefix}\.{name}\b", f"no page of the reference speaks of {prefix}.{name}")
        real["workers"] |= {"schema", "builder", "j"} | {module.removeprefix("workers.") for module in self.modules()}
        for block in re.findall(r"`[^`\n]+`", reference) + [b.text for page in pages for b in read_blocks(page)]:
            for prefix, name in re.findall(r"(?<![\w.:/\"@-])(\w+)\.(\w+)\b", block):
                if prefix in real and not name.isupper() and not re.search(rf'require "{prefix}\.{name}', block):
                    self.assertIn(name, real[prefix], f"the reference speaks of {prefix}.{name}, which there is not")

    def test_options(self):
        """docs/script-reference.md has every option of every declaration and of http, with a row in a table of its section."""
        reference = self.reference("script-reference.md")
        for heading, call in {
            "worker:database": 'worker:database("d", { zzzzzzzzzz = 1 })',
            "worker:pacer": 'worker:pacer("p", { zzzzzzzzzz = 1 })',
            "worker:credential": 'worker:credential("C", { zzzzzzzzzz = 1 })',
            "worker:sync": 'worker:sync("s", { zzzzzzzzzz = 1 })',
            "worker:tool": 'worker:tool("t", { zzzzzzzzzz = 1 })',
            "worker:webhook": 'worker:webhook("w", { zzzzzzzzzz = 1 })',
            "worker:automation": 'worker:automation("a", { zzzzzzzzzz = 1 })',
            "worker:job": 'worker:job("j", { zzzzzzzzzz = 1 })',
            "worker:view": 'worker:view("v", { zzzzzzzzzz = 1 })',
            "workers.http": 'worker:tool("t", { title = "t", description = "d", schema = j.object {}, execute = function() '
                            'http.get("http://localhost", { zzzzzzzzzz = 1 }) end })',
        }.items():
            with self.subTest(heading=heading):
                place = self.new_folder()
                (place / "script.lua").write_text(PRELUDE + call + " return worker", encoding="utf-8")
                said = self.workers("exec", "t", "--script", "script.lua", folder=place).stdout
                names = re.search(r"the options are: ([\w, ]+)", said)
                self.assertIsNotNone(names, said)
                section = re.search(rf"^## `?{re.escape(heading)}.*?(?=^## |\Z)", reference, re.M | re.S)
                self.assertIsNotNone(section, f"script-reference.md has no section {heading}")
                self.assertEqual(sorted(re.findall(r"^\| `(\w+)`", section[0].split("\n### ")[0], re.M)),
                                 sorted(names[1].split(", ")), heading)

    def test_settings(self):
        """docs/limits-and-security.md has every setting of workers.yaml with its default and its range."""
        fields = (REPOSITORY / "src/worker/config_fields.c").read_text(encoding="utf-8")
        page = self.reference("limits-and-security.md")
        found = re.findall(r'\{"(\w+)", FIELD_(?:SIZE|DURATION|COUNT), AT\((\w+)\.\w+\), [^"]*"([^"]+)", "([^"]+)"', fields)
        self.assertEqual(len(found), 11)
        for name, section, allowed, default in found:
            row = re.search(rf"^\| `{section}\.{name}` \| (.*)$", page, re.M)
            self.assertIsNotNone(row, f"limits-and-security.md has no row for {section}.{name}")
            self.assertIn(f"`{default}`", row[1])
            low, high = allowed.split(" to ")
            self.assertIn(f"`{low}` to `{high}`", row[1])

    def test_blocked(self):
        """docs/script-reference.md names everything that the sandbox replaces."""
        table = (REPOSITORY / "src/script/sandbox.c").read_text(encoding="utf-8")
        section = re.search(r"^## What is blocked.*?(?=^## |\Z)", self.reference("script-reference.md"), re.M | re.S)[0]
        blocked = re.findall(r'^    \{(NULL|"\w+"), "(\w+)", "', table, re.M)
        self.assertGreater(len(blocked), 30)
        for library, name in blocked:
            full = name if library == "NULL" else f"{library[1:-1]}.{name}"
            short = rf"`{re.escape(full)}`" if library != '"debug"' else r"`debug\.\w+`"
            self.assertRegex(section, short, f"script-reference.md does not say that {full} is blocked")

    def test_runtime_tables(self):
        """docs/data-layout.md has every table of the runtime with exactly its columns."""
        place = self.new_folder()
        (place / "script.lua").write_text(PRELUDE + DECLARED + 'worker:sync("s", { database = tasks, execute = function() '
                                          'print "hello" return { changes = {}, hasMore = false } end }) return worker')
        self.must("tables", "run", "script.lua", folder=place)
        page = self.reference("data-layout.md")
        for name in ("worker.db", "logs.db"):
            connection = sqlite3.connect(place / ".workers" / name)
            self.addCleanup(connection.close)
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '\\_workers%' "
                                        "ESCAPE '\\'").fetchall()
            self.assertTrue(tables)
            for (table,) in tables:
                columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
                row = re.search(rf"^\| `{table}` \| [^|]* \| (.*) \|$", page, re.M)
                self.assertIsNotNone(row, f"data-layout.md has no row for {table}")
                self.assertEqual(re.findall(r"`(\w+)`", row[1]), columns, table)

    def test_links(self):
        """Links between pages lead to files and headings that exist."""
        for page in LINKED:
            text = re.sub(r"```.*?```|`[^`\n]+`", "", page.read_text(encoding="utf-8"), flags=re.S)
            for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
                target = target[0] or target[1]
                if re.match(r"https?:", target):
                    continue
                path, _, anchor = target.partition("#")
                linked = (page.parent / path).resolve() if path else page
                self.assertTrue(linked.exists(), f"{page.name}: {target} leads nowhere")
                if anchor:
                    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", linked.read_text(encoding="utf-8"), flags=re.S),
                                          re.M)
                    self.assertIn(anchor, [slug(heading) for heading in headings], f"{page.name}: {target}")

    def test_index(self):
        """docs/README.md leads to every page."""
        index = self.reference("README.md")
        for page in (REPOSITORY / "docs").rglob("*.md"):
            if page.name != "README.md":
                self.assertIn(f"({page.relative_to(REPOSITORY / 'docs')})", index)


def add_page_tests():
    for page in PAGES:
        name = "docs_readme" if page == REPOSITORY / "docs" / "README.md" else page.stem.lower().replace("-", "_")
        if page in LIBRARY:
            name = f"library_{name}"
        setattr(Docs, f"test_page_{name}", lambda self, page=page: self.run_page(page))


add_page_tests()

if __name__ == "__main__":
    unittest.main()
