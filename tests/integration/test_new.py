#!/usr/bin/env python3
"""workers new: every template works at once, and so does one of a person's own."""
import json
import os
import pathlib
import pty
import re
import subprocess
import sys
import tarfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import BINARY, REPOSITORY, TestCase, main  # noqa: E402

TEMPLATES = sorted(str(path.parent.relative_to(REPOSITORY / "templates")) for path in (REPOSITORY / "templates").rglob("_template"))


class NewTest(TestCase):
    def setUp(self):
        self.p = self.project()
        self.place = self.p.folder / "empty"
        self.place.mkdir()
        self.env = self.p.environment({"HOME": str(self.p.folder), "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.com",
                                       "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.com", "GIT_CEILING_DIRECTORIES": str(self.p.folder)})
        tools = self.p.folder / "bin"
        tools.mkdir()
        (tools / "workers").symlink_to(BINARY)
        self.temporary = self.p.folder / "temporary"
        self.temporary.mkdir()
        self.env |= {"PATH": f"{tools}:{self.env['PATH']}", "TMPDIR": str(self.temporary)}

    def new(self, *args, **options):
        return subprocess.run([BINARY, "new", *args], cwd=options.get("cwd", self.place), env={**self.env, **options.get("env", {})},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    def shell(self, command, folder):
        return subprocess.run(["bash", "-c", command], cwd=folder, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    def on_terminal(self, key, *args):
        """What is said to somebody who types the key, and the exit code."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.place)
            os.execve(BINARY, [BINARY, "new", *args], self.env)
        said = b""
        try:
            while part := os.read(terminal, 4096):
                said += part
                if said.endswith(b"[y/N] "):
                    os.write(terminal, key.encode() + b"\n")
        except OSError:  # it has ended
            pass
        os.close(terminal)
        return said.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def git(self, folder, *args):
        return subprocess.run(["git", *args], cwd=folder, env=self.env, capture_output=True, text=True, check=True).stdout

    def test_templates_are_listed(self):
        listed = self.ok(self.new("--list")).stdout.splitlines()
        self.assertEqual(sorted(line.split()[0] for line in listed), TEMPLATES)
        self.assertTrue(listed[0].startswith("worker "))
        self.assertEqual([line for line in listed if not re.match(r"[a-z/-]+  +[A-Z].{10,90}[a-z]$", line)], [])
        self.assertEqual(list(self.place.iterdir()), [])

    def test_every_template_works_at_once(self):
        """What is shown at the end works as it stands, and so do the tests and the check; without a network."""
        self.assertGreater(len(TEMPLATES), 5)
        for name in TEMPLATES:
            with self.subTest(name):
                made = self.ok(self.new(f"my-{name.replace('/', '-')}", "--template", name))
                commands = made.stdout.split("Next:\n", 1)[1].split("\n\n")[0].splitlines()
                self.assertEqual(commands[0], f"  cd my-{name.replace('/', '-')}")
                folder = self.place / f"my-{name.replace('/', '-')}"
                for command in [line.strip() for line in commands[1:]] + ["workers test", "workers check", "workers manifest"]:
                    if command == "workers view dev":  # it goes on until it is ended
                        command = "timeout --signal INT 3 workers view dev --listen 127.0.0.1:0 | grep '^http.*#token='"
                    if command.startswith("workers env set"):
                        command = f"echo not-a-real-token | {command}"
                    result = self.shell(command, folder)
                    self.assertEqual(result.returncode, 0, f"{command}\n{result.stdout}\n{result.stderr}")
                for file in folder.rglob("*"):
                    if file.is_file() and ".git" not in file.parts and ".workers" not in file.parts:
                        self.assertNotIn(b"{{", file.read_bytes(), file)
                self.assertEqual(self.git(folder, "status", "--porcelain"), "", "all is committed or ignored")
                self.assertEqual(self.git(folder, "log", "--format=%s"), "A worker from a template\n")
                self.assertIn(f"# My {re.sub('[-/]', ' ', name).title()}", (folder / "README.md").read_text())

    def test_commands_of_the_readmes(self):
        """What a README shows are commands that there are; those that need no service are run."""
        for name in TEMPLATES:
            with self.subTest(name):
                self.ok(self.new(f"my-{name.replace('/', '-')}", "--template", name))
                folder = self.place / f"my-{name.replace('/', '-')}"
                for block in re.findall(r"```sh\n(.*?)```", (folder / "README.md").read_text(), re.S):
                    for line in block.splitlines():
                        words = line.split("#")[0].strip().rpartition("| ")[2].split()
                        self.assertEqual(words[0], "workers", line)
                        name_of = " ".join(words[1:3]) if self.shell(f"workers help {' '.join(words[1:3])}", folder).returncode == 0 else words[1]
                        self.assertEqual(self.shell(f"workers help {name_of}", folder).returncode, 0, line)

    def test_a_repository_only_where_there_is_none(self):
        self.git(self.place, "init", "-q")
        self.assertNotIn("git", self.ok(self.new("within")).stdout.split("Next:")[1])
        self.assertFalse((self.place / "within/.git").exists())
        self.assertIn("made a git repository with a first commit", self.ok(self.new("wanted", "--git")).stdout)
        self.ok(self.new("unwanted", "--no-git", cwd=self.p.folder))
        self.assertFalse((self.p.folder / "unwanted/.git").exists())
        (self.p.folder / "here").mkdir()
        (self.p.folder / "here/mine.txt").write_text("mine")
        self.ok(self.new(".", cwd=self.p.folder / "here"))
        self.assertEqual(self.git(self.p.folder / "here", "status", "--porcelain"), "?? mine.txt\n", "only what was written is committed")
        nameless = {"GIT_AUTHOR_NAME": "", "GIT_AUTHOR_EMAIL": "", "GIT_COMMITTER_NAME": "", "GIT_COMMITTER_EMAIL": "", "GIT_CONFIG_NOSYSTEM": "1"}
        self.assertIn("without a commit: git does not know your name", self.ok(self.new("nameless", cwd=self.p.folder, env=nameless)).stdout)
        unsigned = {"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "commit.gpgsign", "GIT_CONFIG_VALUE_0": "true",
                    "GIT_CONFIG_KEY_1": "gpg.program", "GIT_CONFIG_VALUE_1": "false"}
        self.assertIn("without a commit: git has refused it", self.ok(self.new("unsigned", cwd=self.p.folder, env=unsigned)).stdout)
        without = {"PATH": str(self.p.folder / "bin")}
        self.assertNotIn("git", self.ok(self.new("without", cwd=self.p.folder, env=without)).stdout.split("Next:")[1])
        self.assertIn("git is not there", self.ok(self.new("without2", "--git", cwd=self.p.folder, env=without)).stdout)

    def test_a_template_of_ones_own(self):
        own = self.p.folder / "own"
        (own / "src").mkdir(parents=True)
        (own / ".git").mkdir()
        (own / ".git/config").write_text("x")
        (own / "_template").write_text("Ours\nworkers exec version\n")
        (own / "workers.yaml").write_text('name: "{{name}}"\n')
        (own / "picture.bin").write_bytes(bytes(range(256)))
        (own / "src/main.lua").write_text('local workers = require "workers"\nlocal worker = workers.new()\nworker:tool("version", { title = "{{title}}", '
                                          'description = "d", schema = workers.j.object {}, execute = function() return "{{version}}" end })\nreturn worker\n')
        with tarfile.open(self.p.folder / "own.tar.gz", "w:gz") as archive:
            archive.add(own, "own")
        version = subprocess.run([BINARY, "version"], capture_output=True, text=True).stdout.split()[1]
        for number, source in enumerate((own, str(own) + "/", self.p.folder / "own.tar.gz")):
            made = self.ok(self.new(f"made-{number}", "--from", str(source), "--no-git"))
            folder = self.place / f"made-{number}"
            self.assertEqual(sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file() and ".workers" not in file.parts),
                             [".gitignore", ".luarc.json", "picture.bin", "src/main.lua", "workers.yaml"])
            self.assertEqual((folder / "picture.bin").read_bytes(), bytes(range(256)))
            self.assertIn("  workers exec version\n", made.stdout)
            self.assertEqual(json.loads(self.shell("workers exec version", folder).stdout), version)
        for source, message in (("nothing", "there is no folder or archive nothing"), (BINARY, "tar cannot read the archive")):
            result = self.new("x", "--from", source)
            self.assertEqual(result.returncode, 1)
            self.assertIn(message, result.stderr)
        (own / "bad.txt").write_text("{{nobody}}")
        self.assertIn("own/bad.txt: the template has a placeholder {{nobody}}", self.new("x", "--from", str(own)).stderr)
        self.assertFalse((self.place / "x").exists())
        self.assertEqual(list(self.temporary.iterdir()), [], "archives are not left behind")

    def make_template(self, name="own"):
        own = self.p.folder / name
        own.mkdir()
        (own / "workers.yaml").write_text('name: "{{name}}"\nmain: main.lua\n')
        (own / "main.lua").write_text('return require "workers".new()\n')
        return own

    def test_links_of_a_template(self):
        """Links stay links, and nothing that they lead to is read."""
        own = self.make_template()
        (own / "shared").mkdir()
        (own / "shared/a.txt").write_text("a")
        (own / "also.txt").symlink_to("shared/a.txt")
        (own / "alias").symlink_to("shared")
        (own / "round").symlink_to(".")
        self.ok(self.new("made", "--from", str(own), "--no-git"))
        for name, target in (("also.txt", "shared/a.txt"), ("alias", "shared"), ("round", ".")):
            self.assertEqual(os.readlink(self.place / "made" / name), target)
        self.ok(self.new("made", "--from", str(own), "--no-git", "--force"))
        secret = self.p.folder / "secret"
        secret.mkdir()
        (secret / "key").write_text("private")
        for number, (name, target) in enumerate((("file", secret / "key"), ("folder", secret), ("up", "../secret/key"))):
            with self.subTest(name):
                (own / name).symlink_to(target)
                with tarfile.open(self.p.folder / "own.tar", "w") as archive:
                    archive.add(own, "own")
                for source in (own, self.p.folder / "own.tar"):
                    result = self.new(f"out-{number}", "--from", str(source), "--no-git")
                    self.assertEqual(result.returncode, 1, result.stdout)
                    self.assertIn(f"own/{name}: the link leads out of the project, to \"{target}\"", result.stderr)
                    self.assertFalse((self.place / f"out-{number}").exists())
                (own / name).unlink()
        with tarfile.open(self.p.folder / "only.tar", "w") as archive:
            link = tarfile.TarInfo("top")
            link.type, link.linkname = tarfile.SYMTYPE, str(secret)
            archive.addfile(link)
        self.assertIn("own/top: the link leads out", self.new("only", "--from", str(self.p.folder / "only.tar")).stderr)

    def test_a_template_in_a_working_tree(self):
        """There .git is a file, which leads to the template's own repository."""
        own = self.make_template()
        for command in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "x"), ("worktree", "add", "-q", "../tree")):
            self.git(own, *command)
        self.assertTrue((self.p.folder / "tree/.git").is_file())
        self.ok(self.new("made", "--from", str(self.p.folder / "tree"), cwd=self.p.folder))
        self.assertTrue((self.p.folder / "made/.git").is_dir())
        self.assertEqual(self.git(self.p.folder / "made", "log", "--format=%s"), "A worker from a template\n")

    def test_gitignore_of_a_template(self):
        """A template's own is the one that counts, by whatever name."""
        own = self.make_template()
        for name in (".gitignore", "_gitignore"):
            (own / name).write_text("mine/\n")
            for number in range(8):
                made = self.ok(self.new(f"made{name}{number}", "--from", str(own), "--no-git"))
                self.assertEqual(made.stdout.count("/.gitignore\n"), 1)
                self.assertEqual((self.place / f"made{name}{number}/.gitignore").read_text(), "mine/\n")
            (own / name).unlink()
        (own / ".gitignore").write_text("one\n")
        (own / "_gitignore").write_text("two\n")
        result = self.new("both", "--from", str(own))
        self.assertEqual((result.returncode, result.stderr), (1, "error: own/.gitignore and _gitignore both become .gitignore\n"))

    def test_programs_of_a_template(self):
        own = self.make_template()
        (own / "bin").mkdir()
        (own / "bin/sync").write_text("#!/bin/sh\necho {{name}}\n")
        (own / "bin/sync").chmod(0o755)
        with tarfile.open(self.p.folder / "own.tar", "w") as archive:
            archive.add(own, "own")
        for source in (own, self.p.folder / "own.tar"):
            self.ok(self.new("made", "--from", str(source), "--force", cwd=self.p.folder))
            self.assertEqual(self.shell("bin/sync", self.p.folder / "made").stdout, "made\n")
            self.assertFalse(os.access(self.p.folder / "made/main.lua", os.X_OK))
            self.assertRegex(self.git(self.p.folder / "made", "ls-files", "--stage"), r"100755 \S+ 0\tbin/sync\n")
            (self.p.folder / "made/bin/sync").chmod(0o644)

    def test_templates_that_are_none(self):
        empty = self.p.folder / "nothing"
        (empty / "inner").mkdir(parents=True)
        with tarfile.open(self.p.folder / "empty.tar", "w") as archive:
            archive.add(empty, "nothing")
        for source in (empty, self.p.folder / "empty.tar"):
            result = self.new("x", "--from", str(source))
            self.assertEqual((result.returncode, result.stderr), (1, f"error: there is no file in {source}\n"))
        own = self.make_template()
        with tarfile.open(self.place / "host:own.tar", "w") as archive:
            archive.add(own, "own")
        (self.place / "-own.tar").write_bytes((self.place / "host:own.tar").read_bytes())
        for name in ("host:own.tar", "-own.tar"):
            self.ok(self.new("made", f"--from={name}", "--no-git", "--force"))
        result = self.new("x", "--from=-own.tar", env={"TMPDIR": str(self.place / "tmp")})
        self.assertEqual((result.returncode, result.stderr),
                         (1, f"error: cannot make a folder in {self.place / 'tmp'}: No such file or directory\n"))
        if os.getuid() != 0:
            empty.chmod(0)
            self.assertIn(f"cannot read {empty}: Permission denied", self.new("x", "--from", str(empty)).stderr)
            empty.chmod(0o700)

    def test_obstacles(self):
        """Nothing is written when it is clear that not everything can be."""
        for name, make, said in (("file", lambda: (self.place / "file").write_text(""), "file is no folder"),
                                 ("src", lambda: ((self.place / "src").mkdir(), (self.place / "src/src").write_text("")), "src/src is no folder"),
                                 ("yaml", lambda: (self.place / "yaml/workers.yaml").mkdir(parents=True), "yaml/workers.yaml is a folder")):
            make()
            before = sorted(self.place.rglob("*"))
            for force in ((), ("--force",)):
                result = self.new(name, *force)
                self.assertEqual((result.returncode, result.stderr), (1, f"error: {said}; nothing was written\n"))
                self.assertEqual(sorted(self.place.rglob("*")), before)

    def test_options_that_exclude_each_other(self):
        for options in (("--git", "--no-git"), ("--template", "--from")):
            result = self.new("x", *(f"{option}=jobs" if option in ("--template", "--from") else option for option in options))
            self.assertEqual(result.returncode, 2)
            self.assertIn(f"error: {options[0]} and {options[1]} exclude each other\n", result.stderr)

    def test_mistakes(self):
        result = self.new("x", "--template", "sync-res")
        self.assertEqual(result.returncode, 1)
        self.assertIn('there is no template "sync-res": workers new --list shows them', result.stderr)
        self.ok(self.new("twice", "--no-git"))
        (self.place / "twice/src/main.lua").write_text("mine")
        result = self.new("twice", "--template", "jobs")
        self.assertEqual(result.returncode, 1)
        self.assertIn("  twice/src/main.lua", result.stderr)
        self.assertEqual((self.place / "twice/src/main.lua").read_text(), "mine")
        # On a terminal it asks.
        for key, code, text in (("n", 1, "mine"), ("y", 0, None)):
            said, status = self.on_terminal(key, "twice", "--template", "jobs")
            self.assertEqual(status, code, said)
            self.assertIn("twice/src/main.lua\r\n", said)
            self.assertIn("Overwrite? [y/N]", said)
            self.assertEqual("lookAtSite" in (self.place / "twice/src/main.lua").read_text(), text is None)
        (self.place / "twice/src/main.lua").write_text("mine")
        self.ok(self.new("twice", "--template", "jobs", "--force"))
        self.assertIn("lookAtSite", (self.place / "twice/src/main.lua").read_text())


if __name__ == "__main__":
    main()
