#!/usr/bin/env python3
"""What shells complete, in the shells themselves, and the pages for man. Shells and readers that are not installed are left out."""
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import sys
import time


sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import BINARY, WAIT_SECONDS, Project, TestCase, main  # noqa: E402

SCRIPT = """local workers = require "workers"
local j, Schema = workers.j, workers.schema
local worker = workers.new()
local tasks = worker:database("taskRows", { type = "managed", initialTitle = "Tasks", primaryKeyProperty = "Id",
  schema = { properties = { Name = Schema.title(), Id = Schema.richText() } } })
worker:sync("fetchTasks", { database = tasks, schedule = "manual", execute = function() return { changes = {}, hasMore = false } end })
worker:tool("findTask", { title = "T", description = "d", schema = j.object {},
  execute = function() return require("workers.env").get "PEM" end })
worker:webhook("onTask", { title = "H", description = "d", execute = function() end })
worker:view("board", { path = "views/board" })
return worker
"""

# What is typed, and what there is to go on with.
CASES = (
    (("sync", "st"), {"status", "state"}),
    (("sync", "state", ""), {"get", "set", "reset"}),
    (("comp",), {"completions"}),
    (("nothing", ""), set()),
    (("db", "export", "--f"), {"--format"}),
    (("db", "export", "--format", ""), {"csv", "json"}),
    (("db", "export", ""), {"taskRows"}),
    (("sync", "status", ""), {"fetchTasks"}),
    (("sync", "status", "--json", "f"), {"fetchTasks"}),
    (("sync", "status", "--interval", ""), set()),
    (("sync", "status", "fetchTasks", ""), set()),
    (("sync", "status", "--server", "http://127.0.0.1:1", ""), set()),
    (("exec", "f"), {"fetchTasks", "findTask"}),
    (("webhooks", "send", ""), {"onTask"}),
    (("view", ""), {"list", "open", "build", "dev"}),
    (("view", "open", ""), {"board"}),
    (("runs", "list", "--key", "find"), {"findTask"}),
    (("doctor", ""), {"fetchTasks", "findTask", "onTask"}),
    (("run", "on"), {"onTask"}),
    (("completions", ""), {"bash", "zsh", "fish"}),
    (("help", "sync", "tr"), {"trigger"}),
    (("check", "ma"), {"main.lua"}),
    (("exec", "findTask", "-d", "work"), set()),
    (("exec", "findTask", "-d", "@work"), {"@workers.yaml"}),
    (("sync", "state", "set", "fetchTasks", "@ma"), {"@main.lua"}),
    (("new", "--template", "views/"), {"views/empty", "views/table"}),
    (("new", "demo", "--template", "sync-"), {"sync-rest", "sync-graphql"}),
    (("tokens", "make", "ci", "--scope", ""), {"read", "run", "admin"}),
    (("deliveries", "list", "--state", "r"), {"ready", "running"}),
    (("mcp", "--config", ""), {"claude", "cursor", "vscode"}),
    (("db", "restore", ""), {"taskRows"}),
    (("db", "restore", "taskRows", ""), set()),
    (("env", "set", "ma"), set()),
    (("env", "set", "PEM=@ma"), {"PEM=@main.lua"}),
    (("test", "ma"), {"main.lua"}),
)


class ShellsTest(TestCase):
    def setUp(self):
        self.p = self.project(SCRIPT)
        tools = self.p.folder / ".tools"
        tools.mkdir()
        (tools / "workers").symlink_to(BINARY)
        self.env = {**self.p.environment(), "PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(self.p.folder), "LANG": "C.UTF-8", "TERM": "dumb"}

    def need(self, program):
        if shutil.which(program) is None:
            self.skipTest(f"{program} is not installed")

    def shell(self, *args):
        result = subprocess.run(args, cwd=self.p.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                encoding="utf-8", timeout=60)
        self.assertEqual((result.returncode, result.stderr), (0, ""), args)
        return result.stdout

    def test_bash(self):
        self.need("bash")
        for words, expected in CASES:
            with self.subTest(words):
                quoted = " ".join(f"'{word}'" for word in ("workers", *words))
                found = self.shell("bash", "--norc", "-c", f'eval "$(workers completions bash)"\nCOMP_WORDS=({quoted}) COMP_CWORD={len(words)}\n'
                                   '_workers\nprintf "%s\\n" "${COMPREPLY[@]}"').split()
                self.assertEqual(set(found), expected)
                self.assertEqual(len(found), len(expected))
        found = self.shell("bash", "--norc", "-c", 'eval "$(workers completions bash)"\nCOMP_WORDS=("~/.tools/workers" view b) COMP_CWORD=2\n'
                           '_workers\nprintf "%s\\n" "${COMPREPLY[@]}"')
        self.assertEqual(found, "build\n")
        # bash makes a word of its own of "=".
        found = self.shell("bash", "--norc", "-c", 'eval "$(workers completions bash)"\nCOMP_WORDS=(workers db export --format = c) COMP_CWORD=5\n'
                           '_workers\nprintf "%s\\n" "${COMPREPLY[@]}"')
        self.assertEqual(found, "csv\n")

    def test_fish(self):
        self.need("fish")
        for words, expected in CASES:
            with self.subTest(words):
                line = " ".join(("workers", *words))
                found = self.shell("fish", "--no-config", "-c", f"workers completions fish | source\ncomplete -C '{line}'").splitlines()
                self.assertEqual({entry.split("\t")[0] for entry in found}, expected)
        self.assertIn("build", self.shell("fish", "--no-config", "-c", "workers completions fish | source\ncomplete -C '~/.tools/workers view b'"))
        self.assertEqual(self.shell("fish", "--no-config", "-c", "workers completions fish | source\ncomplete -C 'workers sync tri'").split("\t")[1].strip(),
                         "Run one cycle of a sync now")

    def test_bash_at_a_terminal(self):
        self.need("bash")
        self.at_a_terminal(["bash", "--norc", "--noprofile", "-i"], "PS1=READY_; bind 'set bell-style none'")

    def test_zsh_at_a_terminal(self):
        self.need("zsh")
        self.at_a_terminal(["zsh", "-f", "-i"], "PS1=READY_; unsetopt beep prompt_sp; autoload -Uz compinit; compinit -D -u")

    def at_a_terminal(self, command, setup):
        """Keys are typed with tabs in between, and what the shell makes of them is what runs."""
        name = command[0]
        self.p.write("key.pem", "a\n")
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.p.folder)
            os.execvpe(name, command, self.env)
        self.addCleanup(os.close, terminal)
        self.addCleanup(os.waitpid, child, 0)
        self.addCleanup(os.kill, child, 9)
        self.seen = ""
        self.type(terminal, f'{setup}; eval "$(workers completions {name})"; echo "SET"UP\n', r"SETUP\s[^S]*READY_")
        for keys, expected in (("workers compl\tfis\t > one; cat one; echo END\"ED\"\n", r"Completions of workers for fish[\s\S]*\nENDED"),
                               ("workers sync stat\tu\t fetc\t --jso\t; echo END\"ED\"\n", r'"key": "fetchTasks"[\s\S]*\nENDED'),
                               ("workers manif\tma\t; echo END\"ED\"\n", r'"findTask"[\s\S]*\nENDED'),
                               ("~/.tools/workers manif\t; echo END\"ED\"\n", r'"findTask"[\s\S]*\nENDED'),
                               ("workers env set PEM=@ke\t; workers env list --json; echo END\"ED\"\n", r'"name": "PEM"[\s\S]*\nENDED')):
            self.seen = ""
            self.type(terminal, keys, expected)
            self.type(terminal, "", "READY_")
        self.assertEqual(self.ok(self.p.run("exec", "findTask", "-d", "{}")).stdout, '"a"\n', "the file's text is the value, not its name")

    def type(self, terminal, keys, expected):
        os.write(terminal, keys.encode())
        end = time.monotonic() + WAIT_SECONDS
        while not re.search(expected, self.seen):
            self.assertLess(time.monotonic(), end, f"waited in vain for {expected}:\n{self.seen}")
            if select.select([terminal], [], [], 1)[0]:
                self.seen += os.read(terminal, 65536).decode("utf-8", "replace").replace("\r", "")

    def test_nothing_is_said_while_somebody_types(self):
        self.p.write("main.lua", "this is no Lua\n")
        for words in (("sync", "status", ""), ("exec", ""), (), ("",), ("-",), ("sync", "status", "--", ""), ("db", "export", "--format=",)):
            result = self.p.run("--complete", *words)
            self.assertEqual((result.returncode, result.stderr), (0, ""), words)
        with Project("") as empty:
            (empty.folder / "workers.yaml").unlink()
            self.assertEqual(empty.run("--complete", "sync", "status", "").stdout, "")
        self.assertEqual(self.p.run("--complete", "db", "export", "--format=c").stdout, "--format=csv\t\n")
        self.assertFalse(self.p.store.exists())

    def test_every_command_and_option(self):
        """Whatever the table has can be typed."""
        commands = [line[2:].split("  ")[0] for line in self.p.run("help").stdout.split("Commands:\n")[1].split("\n\n")[0].split("\n")
                    if line.startswith("  ") and line[2] != " "]
        for command in commands:
            words = [word for word in command.split() if word[0].islower()]
            for n in range(len(words)):
                self.assertIn(words[n], [line.split("\t")[0] for line in self.p.run("--complete", *words[:n], "").stdout.split("\n")], command)
            offered = {line.split("\t")[0] for line in self.p.run("--complete", *words, "--").stdout.split("\n") if line}
            shown = set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", self.p.run("help", *words).stdout, re.M))
            self.assertEqual(offered - {"--server", "--worker", "--help"}, shown, command)

    def test_unknown_shell(self):
        self.assertIn("completions for bash, zsh and fish, not for tcsh", self.ok(self.p.run("completions", "tcsh"), 2).stderr)

    # ---- pages for man ----

    def pages(self):
        yield "workers", self.ok(self.p.run("help", "--man")).stdout
        for command in ("run", "sync trigger", "db query", "env set", "help", "doctor", "completions"):
            yield command, self.ok(self.p.run("help", "--man", *command.split())).stdout

    def test_man(self):
        self.need("man")
        for name, page in self.pages():
            with self.subTest(name):
                file = self.p.write("page.1", page)
                result = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", file], env={**self.env, "LC_ALL": "C.UTF-8", "MANWIDTH": "100"},
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", timeout=60)
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                text = re.sub(r".\x08|\x1b\[[\d;]*m", "", result.stdout)
                flat = re.sub(r"\s+", " ", text)
                if name == "workers":
                    commands = self.p.run("help").stdout.split("Commands:\n")[1].split("\n\n")[0]
                    for summary in re.findall(r"^.{40} (\S.*)", commands, re.M):
                        self.assertIn(summary, flat)
                    self.assertIn("workers exec sayHello -d '{\"name\":\"World\"}'", text)
                else:
                    self.assertIn(f"workers-{name.replace(' ', '-')} - ", flat)

    def test_mandoc(self):
        self.need("mandoc")
        for name, page in self.pages():
            with self.subTest(name):
                file = self.p.write("page.1", page)
                result = subprocess.run(["mandoc", "-Tlint", "-W", "warning", file], stdout=subprocess.PIPE, encoding="utf-8", timeout=60)
                # A page has no date, so that a build can be repeated.
                self.assertEqual([line for line in result.stdout.splitlines() if "missing date" not in line], [])

    def test_man_of_what_is_not_there(self):
        self.assertIn('there is no command "nothing"', self.ok(self.p.run("help", "--man", "nothing"), 2).stderr)


if __name__ == "__main__":
    main()
