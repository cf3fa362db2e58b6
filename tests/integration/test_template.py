#!/usr/bin/env python3
"""The usual template of workers new: its guide, skills and examples say what is so, and their code does what they say; also in
the other templates, which have them from it."""
import itertools
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time
import types
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import (BINARY, REPOSITORY, HttpHandler, HttpService, Server, TestCase, finish, free_port, main, make_views,  # noqa: E402
                     wait_until)
from task_service import TaskService  # noqa: E402

SKILLS = ["auth-guide", "sync", "sync-debug", "sync-guide", "sync-validate"]
EXAMPLES = ".agents/skills/sync-guide/examples"
TOKEN = "not-a-real-token"
OTHER_TEMPLATES = sorted({str(path.parent.relative_to(REPOSITORY / "templates"))
                          for path in (REPOSITORY / "templates").rglob("_template")} - {"worker"})
# Commands that need a server, a person or a service: they are looked at, and not run.
OUTSIDE = re.compile(r"--server|workers (serve|deploy|webhooks send|oauth start)\b")
# What snippets may refer to.
PRELUDE = (
    'local workers = require "workers"; local http, json, log, env = require "workers.http", require "workers.json", '
    'require "workers.log", require "workers.env"; local Schema, Builder, j = workers.schema, workers.builder, workers.j; '
    "local worker = workers.new(); "
    'local tasks = worker:database("tasks", { type = "managed", initialTitle = "Tasks", primaryKeyProperty = "Task ID", '
    'schema = { properties = { Name = Schema.title(), ["Task ID"] = Schema.richText() } } }); '
    'local api = worker:pacer("api", { allowedRequests = 10, intervalMs = 1000 }); '
)


def blocks_of(page, language):
    return [re.sub(r"^   ", "", text, flags=re.M) if text.startswith("   ") else text
            for text in re.findall(rf"^ *```{language}\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.S | re.M)]


def slug(heading):
    return re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).strip().lower()).replace(" ", "-")


def faster(script):
    """The same with a pacer that a test has time for."""
    return re.sub(r"allowedRequests = \d+", "allowedRequests = 60000", script)


class TemplateCase(TestCase):
    def setUp(self):
        self.p = self.project()
        (self.p.folder / "workers.yaml").unlink()
        tools = self.p.folder / "bin"
        tools.mkdir()
        (tools / "workers").symlink_to(BINARY)
        names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
        self.env = {**self.p.environment(), **dict.fromkeys(names, "a"), "HOME": str(self.p.folder),
                    "GIT_CEILING_DIRECTORIES": str(self.p.folder)}
        self.env["PATH"] = f"{tools}:{self.env['PATH']}"
        self.folder = self.p.folder / "demo"
        self.must("new", "demo", folder=self.p.folder)

    def run_in(self, *args, folder=None, env=None, input=None):
        given = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        return subprocess.run([BINARY, *map(str, args)], cwd=folder or self.folder, env={**self.env, **(env or {})}, text=True,
                              capture_output=True, timeout=60, **given)

    def must(self, *args, **options):
        return self.ok(self.run_in(*args, **options)).stdout

    def shell(self, command, env=None):
        return subprocess.run(["bash", "-c", command], cwd=self.folder, env={**self.env, **(env or {})}, stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=60)

    def files(self, suffix=""):
        return sorted(path for path in self.folder.rglob("*") if path.is_file() and path.name.endswith(suffix)
                      and not {".git", ".workers", ".claude"} & set(path.relative_to(self.folder).parts))

    def pages(self):
        return self.files(".md")

    def commands_of_examples(self):
        """What the comments at the top of the examples say to run; those of oauth need a provider."""
        return [line for path in sorted((self.folder / ".examples").glob("*.lua")) if path.stem != "oauth"
                for line in re.findall(r"^--   (workers .*?)(?:   .*)?$", path.read_text(encoding="utf-8"), re.M)]

    def page(self, path):
        return self.folder / path

    def query(self, sql):
        return json.loads(self.must("db", "query", sql, "--json"))

    def write(self, path, text):
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text, encoding="utf-8")


    def check_links(self):
        """Every link of every page leads somewhere within the project. Returns how many there are."""
        count = 0
        for page in self.pages():
            text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
            for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]+`", "", text)):
                path, _, anchor = target.partition("#")
                linked = (page.parent / path).resolve() if path else page
                self.assertTrue(linked.is_file(), f"{page}: {target} leads nowhere")
                self.assertTrue(linked.is_relative_to(self.folder.resolve()), f"{page}: {target} leads out of the project")
                if anchor:
                    body = re.sub(r"```.*?```", "", linked.read_text(encoding="utf-8"), flags=re.S)
                    self.assertIn(anchor, [slug(heading) for heading in re.findall(r"^#+ (.*)$", body, re.M)], f"{page}: {target}")
                count += 1
        return count

    def check_named_files(self):
        for page in self.pages():
            for name in re.findall(r"`(\.(?:examples|agents|claude)/[\w./-]*)`", page.read_text(encoding="utf-8")):
                self.assertTrue((self.folder / name).exists(), f"{page}: {name}")

    def check_agents_find_the_skills(self):
        self.assertEqual((self.folder / ".claude/skills").readlink(), pathlib.Path("../.agents/skills"))
        self.assertEqual(sorted(path.name for path in (self.folder / ".claude/skills").iterdir()), SKILLS)
        for name in SKILLS:
            text = (self.folder / f".claude/skills/{name}/SKILL.md").read_text(encoding="utf-8")
            front = re.match(r"---\nname: ([a-z-]+)\ndescription: ([^\n]{40,1024})\n---\n\n# ", text)
            self.assertIsNotNone(front, name)
            self.assertEqual(front[1], name)
            self.assertIsNone(re.search(r": ", front[2]), "a colon ends a plain value of YAML")
        for name in ("AGENTS.md", "CLAUDE.md"):
            self.assertIn(".agents/INSTRUCTIONS.md", (self.folder / name).read_text())
            self.assertLess(len((self.folder / name).read_text().splitlines()), 10)

    def check_secrets_are_kept_from_agents(self):
        settings = json.loads((self.folder / ".claude/settings.json").read_text())
        self.assertIn("Read(./.env)", settings["permissions"]["deny"])
        for name in (".gitignore", ".cursorignore"):
            self.assertEqual({".env", ".env.*"} - set((self.folder / name).read_text().splitlines()), set(), name)
        self.assertTrue((self.folder / ".workers/types/workers/http.lua").exists(), "what the instructions point to")


class Pages(TemplateCase):
    """What the pages say."""

    def test_nothing_is_left_to_fill_in(self):
        for path in self.files():
            text = path.read_text(encoding="utf-8")
            self.assertNotRegex(text, r"\{\{|\}\}\}|TODO|FIXME|XXX|lorem|<your", str(path))

    def test_links_lead_somewhere(self):
        self.assertGreater(self.check_links(), 50)

    def test_files_that_are_named_exist(self):
        self.check_named_files()

    def test_agents_find_the_skills(self):
        self.check_agents_find_the_skills()

    def test_a_project_is_made_over_itself(self):
        """--force makes the link again; a folder in its place is not taken away."""
        self.must("new", "demo", "--force", folder=self.p.folder)
        self.assertTrue((self.folder / ".claude/skills/sync/SKILL.md").exists())
        (self.folder / ".claude/skills").unlink()
        (self.folder / ".claude/skills").mkdir()
        result = self.run_in("new", "demo", "--force", folder=self.p.folder)
        self.assertEqual(result.returncode, 1)
        self.assertIn("demo/.claude/skills is a folder; nothing was written", result.stderr)

    def test_commands_are_commands(self):
        """Every command that is shown or named is one, with options that it has."""
        known = set(re.findall(r"^  ([a-z]+(?: [a-z][a-z-]*)*)(?: .*)?$", self.must("help").split("Examples:")[0], re.M))
        options = {}
        count = 0
        for page in self.pages():
            text = page.read_text(encoding="utf-8")
            lines = [line for kind in ("sh", "text") for block in blocks_of(page, kind) for line in block.splitlines()]
            lines += re.findall(r"`(workers [a-z][^`]*)`", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.S | re.M).replace("\n", " "))
            for path in (self.folder / ".examples").glob("*.lua"):
                lines += re.findall(r"^--   (workers .*?)(?:   .*)?$", path.read_text(), re.M)
            for line in lines:
                for command in re.findall(r"(?:^|\| |xargs )workers ([^|`#]*)", line):
                    words = command.split()
                    name = next((n for n in (" ".join(words[:3]), " ".join(words[:2]), words[0]) if n in known), None)
                    if name is None and words[0] in {known_name.split()[0] for known_name in known} and len(words) == 1:
                        continue  # a group, such as "workers oauth"
                    self.assertIsNotNone(name, f"{page}: workers {command}")
                    if name not in options:
                        options[name] = set(re.findall(r"(?:^|, )(--?[\w-]+)", self.must("help", *name.split()), re.M))
                        options[name] |= set(re.findall(r"^ +(?:-\w, )?(--[\w-]+)", self.must("help", *name.split()), re.M))
                    used = set(re.findall(r"(?<=\s)(--?[a-z][\w-]*)", re.sub(r"'[^']*'|\"[^\"]*\"", "", command)))
                    self.assertLessEqual(used - {"--server", "--worker", "-d"}, options[name], f"{page}: workers {command}")
                    count += 1
        self.assertGreater(count, 100)

    def test_commands_run(self):
        """In a new project every command that needs no outside does what it should."""
        for page in self.pages():
            if page == self.page(".agents/skills/sync/SKILL.md"):
                continue  # Steps runs them
            with self.subTest(str(page.relative_to(self.folder))):
                shutil.rmtree(self.folder)
                self.must("new", "demo", folder=self.p.folder)
                self.must("run")
                ran = 0
                for line in itertools.chain.from_iterable(block.splitlines() for block in blocks_of(page, "sh")):
                    if OUTSIDE.search(line):
                        continue
                    given = f"echo {TOKEN} | {line}" if re.match(r"workers env set [A-Z_]+( |$)", line) else line
                    # A new project has no failed run: then there is no id to hand on.
                    result = self.shell("set -o pipefail; " + given)
                    self.assertEqual(result.returncode, 0, f"{line}\n{result.stdout}\n{result.stderr}")
                    ran += 1
                self.assertGreater(ran, 0 if blocks_of(page, "sh") else -1)
                for line in itertools.chain.from_iterable(block.splitlines() for block in blocks_of(page, "text")):
                    if line.startswith(("grep ", "git ")):
                        result = self.shell(line)
                        self.assertIn(result.returncode, (0, 1), f"{line}\n{result.stderr}")
                        self.assertEqual(result.stderr, "", line)

    def test_messages_of_sync_debug_are_those_of_the_program(self):
        sources = "".join(path.read_text(encoding="utf-8") for folder, kind in (("src", "*.c"), ("lua", "*.lua"))
                          for path in sorted((REPOSITORY / folder).rglob(kind)))
        sources = re.sub(r'"\s*\n\s*"', "", sources)
        page = self.page(".agents/skills/sync-debug/SKILL.md").read_text(encoding="utf-8")
        section = page.split("## 3. Message")[1].split("## 4.")[0]
        messages = [m for row in re.findall(r"^\| (`.*?) \|", section, re.M) for m in re.findall(r"`([^`]+)`", row)]
        self.assertGreater(len(messages), 12)
        for message in messages:
            if "(local 'state')" not in message:  # Lua's own
                self.assertIn(message, sources)

    def test_statuses_and_modules(self):
        page = self.page(".agents/skills/sync-debug/SKILL.md").read_text(encoding="utf-8")
        table = (REPOSITORY / "docs/sync-semantics.md").read_text(encoding="utf-8")
        for status in re.findall(r"^\| `([A-Z]+)` \| ", table, re.M):
            self.assertIn(f"`{status}`", page)
        text = self.page(".agents/INSTRUCTIONS.md").read_text(encoding="utf-8")
        listed = re.findall(r"`(?:workers)?(\.\w+)`", text.split("\nModules: ")[1].split("in tests")[0])
        self.assertGreater(len(listed), 20)
        script = "".join(f'require "workers{name}"\n' for name in listed) + 'return require("workers").new()'
        self.write("src/modules.lua", script)
        self.must("check", "src/modules.lua")

    def test_providers_and_table_of_pages(self):
        page = (REPOSITORY / "docs/oauth.md").read_text(encoding="utf-8")
        known = re.findall(r'^\| `"(\w+)"` \| ', page, re.M)
        skill = self.page(".agents/skills/auth-guide/SKILL.md").read_text(encoding="utf-8")
        listed = re.search(r"known by name: ([^.]*)\.", skill)[1]
        self.assertEqual(re.split(r",\s+", listed), known)
        self.assertIn(f"{len(known)}\nproviders", self.page("README.md").read_text(encoding="utf-8"))
        functions = re.findall(r"^## paginate\.(\w+)", (REPOSITORY / "docs/library/paginate.md").read_text(encoding="utf-8"), re.M)
        guide = self.page(".agents/skills/sync-guide/SKILL.md").read_text(encoding="utf-8")
        self.assertEqual(re.findall(r"\| `paginate\.(\w+)` \| ", guide), functions)

    def test_fourteen_points_each_with_a_command_or_a_test(self):
        page = self.page(".agents/skills/sync-validate/SKILL.md").read_text(encoding="utf-8")
        points = re.findall(r"^## (\d+)\. [^\n]+\n(.*?)(?=^## )", page, re.S | re.M)
        self.assertEqual([number for number, _ in points], [str(n) for n in range(1, 15)])
        for number, text in points:
            self.assertRegex(text, r"```|Test: |`workers ", f"point {number}")

    def test_secrets_are_kept_from_agents(self):
        self.check_secrets_are_kept_from_agents()

    # ---- Lua ----

    def test_lua_files_load(self):
        scripts = [path for path in self.files(".lua") if "tests" not in path.parts]
        self.assertGreater(len(scripts), 11)
        for path in scripts:
            self.assertRegex(self.must("check", path.relative_to(self.folder)), "^ok: ")

    def test_lua_blocks_load(self):
        count = 0
        for page in self.pages():
            for block in blocks_of(page, "lua"):
                if block.startswith("-- Part") or 'require "workers.test"' in block:
                    continue  # the tests below run these
                if block.rstrip().endswith("return worker"):
                    self.write("src/block.lua", block)
                else:
                    self.write("src/block.lua", PRELUDE + "do " + block + " end return worker")
                make_views(self.folder, block)
                result = self.run_in("check", "src/block.lua")
                self.assertEqual(result.returncode, 0, f"{page}:\n{block}\n{result.stderr}")
                count += 1
        self.assertGreater(count, 17)

    def test_yaml_blocks_are_settings(self):
        for page in self.pages():
            for block in blocks_of(page, "yaml"):
                self.write("workers.yaml", block)
                self.assertRegex(self.must("check"), "^ok: ")

    def test_blocks_of_the_readme_run(self):
        """The sync with its test; the reference; the tool over the sample's rows."""
        page = self.page("README.md")
        whole = {re.search(r'worker:(?:tool|sync|job|webhook|automation|view)\("(\w+)"', block)[1]: block
                 for block in blocks_of(page, "lua") if block.rstrip().endswith("return worker")}
        test = next(block for block in blocks_of(page, "lua") if 'require "workers.test"' in block)
        self.must("run")
        self.write("src/find.lua", whole["findTask"])
        self.assertEqual(json.loads(self.must("exec", "findTask", "--script", "src/find.lua", "-d", '{"word":"guide"}')),
                         [{"task_id": "T-1", "task_name": "Read the guide", "status": "Done"}])
        self.write("src/main.lua", whole["teamsSync"])
        self.must("run")
        self.assertEqual(self.query("SELECT _key, related_key FROM players_team"), [{"_key": "ada", "related_key": "red"}])
        self.assertEqual(self.query("SELECT _key, related_key FROM teams_players"), [{"_key": "red", "related_key": "ada"}])
        self.write("src/main.lua", whole["issuesSync"])
        self.write("tests/main_test.lua", test)
        self.assertIn("# 1 passed, 0 failed", self.must("test"))
        self.write("src/job.lua", whole["tidyUp"])
        self.assertIn("Good morning", self.ok(self.run_in("exec", "tidyUp", "--script", "src/job.lua")).stderr)


class OtherTemplates(TemplateCase):
    """What agents read in the other templates is what the usual one has, and as true there."""

    def each(self):
        self.assertGreater(len(OTHER_TEMPLATES), 4)
        usual = self.folder
        for template in OTHER_TEMPLATES:
            self.folder = self.p.folder / template
            self.must("new", template, "--template", template, folder=self.p.folder)
            yield template, usual

    def test_agents_find_what_they_read(self):
        for _, usual in self.each():
            self.assertGreater(self.check_links(), 25)
            self.check_named_files()
            self.check_agents_find_the_skills()
            self.check_secrets_are_kept_from_agents()
            for path in sorted(p for folder in (".agents", ".examples") for p in (usual / folder).rglob("*") if p.is_file()):
                self.assertEqual((self.folder / path.relative_to(usual)).read_bytes(), path.read_bytes())
            self.assertEqual((self.folder / "AGENTS.md").read_text().splitlines()[0],
                             f"# {self.folder.name.replace('-', ' ').title()}: for coding agents")

    def test_files_of_the_instructions_are_there(self):
        for _ in self.each():
            text = self.page(".agents/INSTRUCTIONS.md").read_text(encoding="utf-8")
            named = re.findall(r"^\| `([^`]+)` \| ", text.split("## Where things are")[1].split("## Skills")[0], re.M)
            self.assertEqual(len(named), 9)
            for name in named:
                self.assertTrue(name == ".env" or list(self.folder.glob(name)), name)

    def test_commands_of_the_instructions_run(self):
        """All but those with a key that stands for one of the project's: these need a service, or an input."""
        for _ in self.each():
            self.must("run", ".examples/sync.lua")  # so that there is a store
            ran = 0
            for line in itertools.chain.from_iterable(block.splitlines() for block in blocks_of(self.page(".agents/INSTRUCTIONS.md"), "sh")):
                if not re.search("sampleTasks|sayHello|FROM tasks", line):
                    result = self.shell(line)
                    self.assertEqual(result.returncode, 0, f"{line}\n{result.stdout}\n{result.stderr}")
                    ran += 1
            self.assertEqual(ran, 10)

    def test_examples_run(self):
        for template, _ in self.each():
            for line in self.commands_of_examples():
                result = self.shell(line)
                if template == "tools-sqlite" and "exampleReport" in line:  # its permissions.read has data alone
                    self.assertEqual(result.returncode, 1)
                    self.assertIn('add it to workers.yaml: permissions: { read: ["src"] }', result.stderr)
                else:
                    self.assertEqual(result.returncode, 0, f"{line}\n{result.stdout}\n{result.stderr}")

    def test_a_template_of_ones_own_has_none_of_it(self):
        own = self.p.folder / "own"
        own.mkdir()
        (own / "workers.yaml").write_text('name: "{{name}}"\n', encoding="utf-8")
        (own / "main.lua").write_text('return require("workers").new()\n', encoding="utf-8")
        self.must("new", "mine", "--from", own, "--no-git", folder=self.p.folder)
        self.assertEqual(sorted(path.name for path in (self.p.folder / "mine").iterdir()),
                         [".gitignore", ".luarc.json", ".workers", "main.lua", "workers.yaml"])


class Examples(TemplateCase):
    """The examples run, the services behind them on loopback."""

    def service(self, **options):
        service = TaskService(**options)
        self.addCleanup(service.close)
        return service

    def cycle(self, service, script, *keys, env=None):
        env = {"EXAMPLE_URL": service.url, "EXAMPLE_TOKEN": TOKEN, **(env or {})}
        result = {}
        for key in keys:
            result[key] = json.loads(self.must("run", script, key, "--json", env=env))[0]
            self.assertEqual(result[key]["result"], "done", result)
        self.assertEqual(service.refused, [])
        return result[keys[-1]]

    def script(self, name):
        """A copy whose pacer does not make the test slow."""
        text = (self.folder / EXAMPLES / f"{name}.lua").read_text(encoding="utf-8")
        self.write(f"src/{name}.lua", faster(text))
        return f"src/{name}.lua"

    def rows(self, table, *columns):
        found = self.query(f"SELECT _key, {', '.join(columns)} FROM {table}")
        return {row["_key"]: tuple(row[column] for column in columns) for row in found}

    def test_comments_of_the_examples_run(self):
        ran = {}
        for line in self.commands_of_examples():
            result = self.shell(line)
            self.assertEqual(result.returncode, 0, f"{line}\n{result.stdout}\n{result.stderr}")
            ran[line] = (result.stdout, result.stderr)
        outputs = list(ran.items())
        self.assertEqual(len(outputs), 8)
        said = "\n".join(out + err for _, (out, err) in outputs)
        for text in ("Thank you, Mary", '"each":24.75', '"done":false', "nothing to do for", "Physical Geography", "1 scripts, 1 more than last time"):
            self.assertIn(text, said)

    def test_sync(self):
        self.must("run", ".examples/sync.lua")
        self.assertEqual(self.rows("example_books", "title", "pages", "lent", "link"), {
            "B-1": ("Notes", 66, 0, "https://books.example.com/B-1"), "B-2": ("Mechanism of the Heavens", 700, 1, "https://books.example.com/B-2"),
            "B-3": ("Physical Geography", 400, 0, "https://books.example.com/B-3")})
        self.assertEqual(self.query("SELECT related_key FROM example_authors_books WHERE _key = 'A-2' ORDER BY 1"),
                         [{"related_key": "B-2"}, {"related_key": "B-3"}])
        again = json.loads(self.must("run", ".examples/sync.lua", "--json"))
        self.assertEqual([(r["added"], r["changed"], r["deleted"]) for r in again], [(0, 0, 0)] * 2)

    def test_tool(self):
        def remember(**given):
            return json.loads(self.must("exec", "exampleRemember", "--script", ".examples/tool.lua", "-d", json.dumps(given)))
        self.assertEqual(remember(key="door", text="Lock it", dryRun=True), {"before": None, "after": "Lock it", "done": False})
        self.assertEqual(remember(key="door", text="Lock it"), {"before": None, "after": "Lock it", "done": True})
        self.assertEqual(remember(key="door", text=None), {"before": "Lock it", "after": None, "done": True})
        self.assertEqual(remember(key="door", text="x")["before"], None)
        refused = self.run_in("exec", "exampleSplitBill", "--script", ".examples/tool.lua", "-d", '{"total":1,"people":0}')
        self.assertIn("there must be somebody who pays", refused.stderr)

    def test_webhook_counts_once(self):
        body = {"repository": {"full_name": "octo/demo"}, "commits": [{}, {}]}
        event = json.dumps([{"deliveryId": "7", "headers": {"x-github-event": "push"}, "body": body}])
        for _ in range(2):
            result = self.ok(self.run_in("exec", "exampleOnPush", "--script", ".examples/webhook.lua", "-d", event))
            self.assertRegex(result.stderr, r"octo/demo\s+2\s+commits; in all\s+2\n")
        request = json.dumps({"request": {"method": "POST", "headers": {}, "query": {}, "rawBody": "{}", "url": "/"}})
        refused = self.run_in("exec", "exampleOnPush", "--script", ".examples/webhook.lua", "-d", request, env={"GITHUB_WEBHOOK_SECRET": "hush"})
        self.assertEqual(refused.returncode, 1)
        self.assertIn("X-Hub-Signature-256", refused.stderr)

    def test_automation_thanks_once(self):
        given = ("exec", "exampleThank", "--script", ".examples/automation.lua", "-d", "@.examples/automation.event.json")
        said = [self.ok(self.run_in(*given)).stderr.count("Thank you, Mary") for _ in range(2)]
        self.assertEqual(said, [1, 0])

    def test_job_remembers(self):
        first, second = (json.loads(self.must("exec", "exampleReport", "--script", ".examples/job.lua")) for _ in range(2))
        self.assertEqual((first["since"], first["scripts"]), (None, 1))
        self.assertRegex(second["since"], r"^\d{4}-\d\d-\d\dT")

    def test_oauth(self):
        tokens = iter(("first", "second"))

        class Handler(HttpHandler):
            def reply(self, status, body):
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.reply(200, {"access_token": next(tokens), "token_type": "Bearer", "refresh_token": "r", "expires_in": 3600})

            def do_GET(self):
                if self.headers["Authorization"] == "Bearer second":
                    return self.reply(200, {"name": "Ada"})
                return self.reply(401, {})

        service = HttpService(Handler)
        self.addCleanup(service.close)
        text = (self.folder / ".examples/oauth.lua").read_text(encoding="utf-8")
        text = re.sub(r"https://(login|api)\.example\.com", service.url, text)
        self.write("src/main.lua", text.replace("  scope =", f'  callbackUrl = "http://127.0.0.1:{free_port()}/oauth/callback",\n  scope ='))
        for name in ("EXAMPLE_CLIENT_ID", "EXAMPLE_CLIENT_SECRET"):
            self.must("env", "set", name, input="x")
        process = subprocess.Popen([BINARY, "oauth", "start", "exampleService"], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.p.processes.append(process)
        query = {}
        while "state" not in query:
            line = process.stdout.readline()
            self.assertTrue(line)
            query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(line.strip()).query))
        self.assertEqual(query["scope"], "profile.read offline_access")
        with urllib.request.urlopen(query["redirect_uri"] + "?" + urllib.parse.urlencode({"code": "c", "state": query["state"]})) as page:
            page.read()
        self.assertEqual(finish(process)[0], 0)
        # The first token is refused before its time; the example asks for another.
        self.assertEqual(json.loads(self.must("exec", "exampleWhoAmI")), "Ada")

    # ---- under workers serve ----

    def served(self, *args, env=None):
        place = types.SimpleNamespace(folder=self.folder, processes=self.p.processes, run=self.run_in,
                                      environment=lambda given: {**self.env, **(env or {})})
        return Server(place, *args)

    def copy_to_main(self, name):
        self.write("src/main.lua", (self.folder / f".examples/{name}.lua").read_text(encoding="utf-8"))

    def test_webhook_is_served(self):
        self.copy_to_main("webhook")
        self.must("env", "set", "GITHUB_WEBHOOK_SECRET", input="hush")
        server = self.served()
        self.assertTrue(server.url)
        body = json.dumps({"repository": {"full_name": "octo/demo"}, "commits": [{}]})
        for _ in range(2):
            self.must("webhooks", "send", "exampleOnPush", "-d", body, "--event", "push", "--id", "same")
        server.wait_for("octo/demo")
        wait_until(lambda: [d["state"] for d in json.loads(self.must("deliveries", "list", "--json"))] == ["done"], "one delivery that is done")
        self.assertEqual(server.stop(), 0)

    def test_automation_is_served(self):
        self.copy_to_main("automation")
        server = self.served()
        self.assertTrue(server.url)
        self.must("sync", "trigger", "exampleOrdersSync")
        server.wait_for("Thank you, Ada")
        wait_until(lambda: {d["state"] for d in json.loads(self.must("deliveries", "list", "--json"))} == {"done"}, "both orders")
        self.assertNotIn("Mary", server.text())
        self.assertEqual(server.stop(), 0)

    def test_deploying_as_the_readme_shows(self):
        port, home = free_port(), self.p.folder / "home"
        address = f"http://127.0.0.1:{port}"
        env = {"WORKERS_HOME": str(home)}
        place = types.SimpleNamespace(folder=self.p.folder, processes=self.p.processes, environment=lambda given: {**self.env, **env})
        server = Server(place, "--home", port=port)
        server.wait_for(f"127.0.0.1:{port}")
        block = next(block for block in blocks_of(self.page("README.md"), "sh") if "workers create" in block)
        self.write(".env.production", "TRACKER_TOKEN=4711-secret\n")
        for line in block.replace("https://workers.example.com", address).splitlines():
            line = line.replace("env push", "env push --yes")
            env["WORKERS_TOKEN"] = wait_until(lambda: (home / ".workers/token").exists() and (home / ".workers/token").read_text().strip(), "the token")
            if "rollback" in line:
                self.assertEqual(self.must("exec", "sayHello", "-d", '{"name":"you"}', "--server", address, env=env), '"Hello, you!"\n')
                self.assertIn("TRACKER_TOKEN", self.must("env", "list", "--server", address, env=env))
            result = self.shell(line, env)
            self.assertEqual(result.returncode, 0, f"{line}\n{result.stdout}\n{result.stderr}")
        self.assertEqual(server.stop(), 0)

    # ---- those of the guide to syncs ----

    def test_replace_simple(self):
        service, script = self.service(), self.script("replace-simple")
        flag = {"flag": "🇩🇪", "population": 84, "continent": "Europe"}
        for code in ("DE", "FR", "XX"):
            service.put(code, code=code, name=code.lower(), **flag)
        self.assertEqual(self.cycle(service, script, "countriesSync")["added"], 3)
        service.remove("XX")
        service.put("FR", name="France")
        again = self.cycle(service, script, "countriesSync")
        self.assertEqual([again[name] for name in ("added", "changed", "unchanged", "deleted")], [0, 1, 1, 1])
        self.assertEqual(self.rows("countries", "name", "population"), {"DE": ("de", 84), "FR": ("France", 84)})

    def test_replace_paginated(self):
        service, script = self.service(), self.script("replace-paginated")
        ids = [f"P-{n:03}" for n in range(30)]
        service.put(*ids, name="thing", price=2.5, tags=["new"])
        first = self.cycle(service, script, "productsSync")
        self.assertEqual((first["added"], first["pages"]), (30, 8))
        service.remove("P-000", "P-011")
        self.assertEqual(self.cycle(service, script, "productsSync")["deleted"], 2)
        self.assertEqual(self.rows("products", "name", "price"), service.table("name", "price"))
        service.remove(*ids[12:22])  # more than the fifth that its guard allows
        held = json.loads(self.must("run", script, "productsSync", "--json", env={"EXAMPLE_URL": service.url, "EXAMPLE_TOKEN": TOKEN}))[0]
        self.assertEqual((held["result"], held["deleted"]), ("held", 0))

    def test_incremental_basic(self):
        service, script = self.service(), self.script("incremental-basic")
        service.put(*[f"L-{n}" for n in range(9)], text="start", level="info", at=time.time() - 3600)  # one time for nine
        self.assertEqual(self.cycle(service, script, "entriesSync")["added"], 9)
        now = time.time()
        service.hidden.add("L-late")
        service.put("L-late", text="late", level="error", at=now - 5)
        service.put("L-new", text="new", level="info", at=now - 3)
        self.assertEqual(self.cycle(service, script, "entriesSync")["added"], 1)
        service.hidden.clear()
        self.assertEqual(self.cycle(service, script, "entriesSync")["added"], 1)
        self.assertEqual(self.rows("entries", "text", "level"), service.table("text", "level"))

    def test_incremental_bimodal(self):
        service, script = self.service(), self.script("incremental-bimodal")
        old = time.time() - 3600
        service.put(*[f"C-{n}" for n in range(10)], name="old", email="a@example.com", at=old)
        self.assertEqual(self.cycle(service, script, "contactsBackfill")["added"], 10)
        self.assertEqual(self.cycle(service, script, "contactsDelta")["unchanged"], 10)
        service.put("C-3", name="renamed", at=old + 60)
        service.put("C-10", name="new", email="b@example.com", at=old + 60)
        service.remove("C-4", at=old + 61)
        delta = self.cycle(service, script, "contactsDelta")
        self.assertEqual([delta[name] for name in ("added", "changed", "deleted")], [1, 1, 1])
        self.assertEqual(self.rows("contacts", "name", "email"), service.table("name", "email"))
        backfill = self.cycle(service, script, "contactsBackfill")
        self.assertEqual([backfill[name] for name in ("added", "changed", "deleted")], [0, 0, 0])

    def test_incremental_events(self):
        service, script = self.service(), self.script("incremental-events")
        old = time.time() - 3600
        service.put(*[f"O-{n}" for n in range(6)], name="order", total=5, state="open", at=old)
        self.cycle(service, script, "ordersDelta")
        self.assertEqual(self.query("SELECT count(*) AS n FROM orders"), [{"n": 0}], "it only notes where the feed stands")
        self.assertEqual(self.cycle(service, script, "ordersBackfill")["added"], 6)
        for state in ("paid", "sent"):
            service.put("O-1", "O-2", state=state, at=old + 60)
        service.remove("O-5", at=old + 70)
        before = len(service.requests)
        self.cycle(service, script, "ordersDelta")
        asked = [path for path, _ in service.requests[before:] if path.startswith("/orders/")]
        self.assertEqual(sorted(asked), ["/orders/O-1", "/orders/O-2", "/orders/O-5"], "once for each order")
        self.assertEqual(self.rows("orders", "name", "state"), service.table("name", "state"))


class Steps(TemplateCase):
    """Syncs that are put together from the parts of the sync skill converge."""

    COLUMNS = ("name", "status")

    def setUp(self):
        super().setUp()
        page = self.page(".agents/skills/sync/SKILL.md")
        self.parts = {}
        for block in blocks_of(page, "lua"):
            head = re.match(r"-- (Part \d|tests/\w+\.lua)(?:, ([\w ]+))?", block)
            self.parts[head[1] + (f" {head[2]}" if head[2] and head[1] == "Part 4" else "")] = block
        self.assertEqual(list(self.parts), ["Part 1", "Part 2", "Part 3", "Part 4 page numbers", "Part 4 a cursor", "Part 5", "Part 6",
                                            "tests/tasks_test.lua"])
        self.service = TaskService(page=4)
        self.addCleanup(self.service.close)
        self.env.update(TASKS_URL=self.service.url, TASKS_TOKEN=TOKEN)
        (self.folder / "tests/main_test.lua").unlink()

    def build(self, *names, without=None, instead=""):
        """The worker of these parts, as the skill says; without takes something out of it, as a planted mistake."""
        script = "\n".join(self.parts[name] for name in ("Part 1", "Part 2", "Part 3", *names, "Part 6"))
        if without:
            changed = re.sub(without, instead, script)
            self.assertNotEqual(changed, script)
            script = changed
        self.write("src/main.lua", faster(script))
        self.must("check")

    def cycle(self, key):
        result = json.loads(self.must("run", "src/main.lua", key, "--json"))[0]
        self.assertEqual((result["result"], self.service.refused), ("done", []), result)
        return result

    def table(self):
        found = self.query("SELECT _key, name, status FROM tasks")
        return {row["_key"]: (row["name"], row["status"]) for row in found}

    def edit(self, chance, at=None):
        """Somebody at work at the service: makes, changes and deletes some records."""
        service, now = self.service, time.time() if at is None else at
        service.put(*(f"T-{chance.randrange(10**6):06}" for _ in range(chance.randrange(6))), name="new", status="open", at=now)
        for key in chance.sample(sorted(service.records), min(3, len(service.records))):
            service.put(key, name=f"name {chance.randrange(100)}", status=chance.choice(("open", "done")), at=now + 0.001)
        for key in chance.sample(sorted(service.records), min(2, len(service.records) // 4)):
            service.remove(key, at=now + 0.002)

    def days(self, keys, seed):
        """Cycles with edits between and within them; then a quiet one, after which the table is the service's."""
        chance = random.Random(seed)
        if not self.service.records:
            self.service.put(*(f"T-{n:06}" for n in range(18)), name="first", status="open", at=time.time() - 3600)
        for round_number in range(5):
            self.edit(chance)
            lived = set(self.service.records)
            left = [2]

            def meanwhile(_):
                if left[0] > 0 and chance.random() < 0.5:
                    left[0] -= 1
                    victims = sorted(self.service.records)
                    self.service.remove(chance.choice(victims[:8]))

            self.service.before_answer = meanwhile
            self.cycle(keys[round_number % len(keys)])
            self.service.before_answer = None
            missing = lived & set(self.service.records) - set(self.table())
            self.assertEqual(missing, set(), "what was there all the time is in the table")
        for key in keys:
            self.cycle(key)
        self.assertEqual(self.table(), self.service.table(*self.COLUMNS))
        for key in keys:
            quiet = self.cycle(key)
            self.assertEqual([quiet[name] for name in ("added", "changed", "deleted")], [0, 0, 0])

    def test_page_numbers(self):
        self.build("Part 4 page numbers")
        for seed in range(2):
            self.days(["tasksBackfill"], seed)

    def test_page_numbers_without_reread(self):
        """What the skill says of reread: without it, records that vanish take others with them."""
        self.build("Part 4 page numbers", without=r"      reread = true,\n")
        with self.assertRaisesRegex(AssertionError, "was there all the time"):
            for seed in range(10):
                self.days(["tasksBackfill"], seed)

    def test_a_cursor(self):
        self.build("Part 4 a cursor")
        for seed in range(2):
            self.days(["tasksBackfill"], seed)

    def test_what_changed_with_deletions(self):
        """The delta alone keeps up, deletions included; then the backfill finds nothing to do."""
        self.build("Part 4 page numbers", "Part 5")
        for seed in range(2):
            self.days(["tasksDelta"], seed)
        backfill = self.cycle("tasksBackfill")
        self.assertEqual([backfill[name] for name in ("added", "changed", "deleted")], [0, 0, 0])

    def late_record(self):
        now = time.time()
        self.service.put("T-1", name="first", status="open", at=now - 3600)
        self.service.hidden.add("T-2")
        self.service.put("T-2", name="late", status="open", at=now - 4)
        self.service.put("T-3", name="new", status="open", at=now - 2)
        self.cycle("tasksDelta")
        self.service.hidden.clear()
        self.cycle("tasksDelta")
        return set(self.table())

    def test_late_records_come(self):
        self.build("Part 4 a cursor", "Part 5")
        self.assertEqual(self.late_record(), {"T-1", "T-2", "T-3"})

    def test_late_records_are_lost_without_a_lag(self):
        self.build("Part 4 a cursor", "Part 5", without=r"(?<=lag = )15", instead="0")
        self.assertEqual(self.late_record(), {"T-1", "T-3"})

    def test_commands_and_test_of_the_steps(self):
        """Each command of the steps, in their order, with the worker that they make; its test passes."""
        self.build("Part 4 page numbers", "Part 5")
        self.write("tests/tasks_test.lua", self.parts["tests/tasks_test.lua"])
        self.service.put("T-1", "T-2", "T-3", name="one", status="open", at=time.time() - 3600)
        page = self.page(".agents/skills/sync/SKILL.md")
        without_url = {"TASKS_URL": "https://tasks.example.com/v1"}
        lines = [line for block in blocks_of(page, "sh") for line in block.splitlines()]
        self.assertGreater(len(lines), 10)
        for line in lines:
            given = f"echo {TOKEN} | {line}" if line.startswith("workers env set") else line
            result = self.shell("set -o pipefail; " + given, env=without_url if line == "workers test" else None)
            self.assertEqual(result.returncode, 0, f"{line}\n{result.stdout}\n{result.stderr}")
        self.assertEqual(self.table(), self.service.table(*self.COLUMNS))

    def test_tests_of_sync_validate(self):
        """They pass for the worker of the steps, and each fails for the fault that it is for."""
        tests = [block for block in blocks_of(self.page(".agents/skills/sync-validate/SKILL.md"), "lua")]
        self.assertEqual(len(tests), 3)
        self.env.pop("TASKS_URL")
        self.build("Part 4 page numbers", "Part 5")
        for number, block in enumerate(tests):
            self.write(f"tests/point_{number}_test.lua", block)
        self.assertIn("# 3 passed, 0 failed", self.must("test"))
        call = r'get\("/tasks", \{ page = page, limit = 100 \}\)\.items'
        faults = [("tests/point_0_test.lua", call, 'get("/tasks", { page = page }).items or { { id = "x" } }, page < 3'),
                  ("tests/point_1_test.lua", "updatedSince = since, page = page", "updatedSince = since, page = 1"),
                  ("tests/point_2_test.lua", call, 'select(2, pcall(get, "/tasks", { page = page })).items or {}')]
        for path, without, instead in faults:
            self.build("Part 4 page numbers", "Part 5", without=without, instead=instead)
            self.assertEqual(self.run_in("test", path).returncode, 1, instead)


if __name__ == "__main__":
    main()
