#!/usr/bin/env python3
"""The program alone is the installation: from a folder that nobody can write to, and without a network, every template of
workers new works at once, and nothing is kept but in the project.

The folder is mounted read-only where that is permitted; elsewhere its permissions are taken away.
"""
import functools
import hashlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import BINARY, REPOSITORY, TestCase, main  # noqa: E402

TEMPLATES = sorted(str(path.parent.relative_to(REPOSITORY / "templates")) for path in (REPOSITORY / "templates").rglob("_template"))
# Mounts the folder $1 over itself, read-only, and runs what comes after it.
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'


@functools.cache
def namespace(*kinds):
    """The command that opens namespaces in which mounts are of no concern to others; None when it is not permitted."""
    for command in (["unshare", "--mount", *kinds], ["unshare", "--map-root-user", "--mount", *kinds]):
        try:
            if subprocess.run([*command, "sh", "-c", READ_ONLY, "sh", "/tmp", "true"], capture_output=True, timeout=60).returncode == 0:
                return command
        except FileNotFoundError:
            return None
    return None


def contents(folder):
    """Everything of a folder that would tell that something was written."""
    found = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.stat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_size, status.st_mtime_ns, digest)
    return found


class ReadOnlyInstall(TestCase):
    def setUp(self):
        folder = self.project().folder
        self.install, self.home, self.place = folder / "install", folder / "home", folder / "work"
        for path in (self.install, self.home, self.place):
            path.mkdir()
        shutil.copy(BINARY, self.install / "workers")
        self.env = {"PATH": f"{self.install}:{os.environ['PATH']}", "HOME": str(self.home), "GIT_CEILING_DIRECTORIES": str(folder)}
        self.env.update({name: os.environ[name] for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS") if name in os.environ})
        self.prefix = []

    def mount_read_only(self, *kinds):
        self.prefix = [*namespace(*kinds), "sh", "-c", READ_ONLY, "sh", str(self.install)]

    def shell(self, command, folder=None):
        return subprocess.run([*self.prefix, "bash", "-c", command], cwd=folder or self.place, env=self.env, stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=60)

    def must(self, command, folder=None):
        result = self.shell(command, folder)
        self.assertEqual(result.returncode, 0, f"{command}\n{result.stdout}\n{result.stderr}")
        return result.stdout

    def use_every_template(self):
        before = contents(self.install)
        listed = [line.split()[0] for line in self.must("workers new --list").splitlines()]
        self.assertEqual(sorted(listed), TEMPLATES)
        self.assertGreater(len(listed), 5)
        for name in listed:
            project = "my-" + name.replace("/", "-")
            made = self.must(f"workers new {project} --template {name} --no-git")
            commands = re.findall(r"^  (workers .*)$", made.split("\nNext:\n")[1], re.M)
            self.assertEqual(commands, (REPOSITORY / "templates" / name / "_template").read_text().splitlines()[1:])
            folder = self.place / project
            for command in [*commands, "workers test", "workers check"]:
                if command == "workers view dev":  # listens, which needs a network, and goes on until it is ended
                    command = "workers view build"
                given = f"echo not-a-real-token | {command}" if command.startswith("workers env set") else command
                said = self.must(given, folder)
                if command.startswith("workers exec sayHello"):
                    self.assertEqual(said, '"Hello, World!"\n')
                elif command == "workers test":
                    self.assertRegex(said, r"# [1-9]\d* passed, 0 failed")
        self.assertEqual(self.must("""workers exec sayHello -d '{"name":"World"}'""", self.place / "my-worker"), '"Hello, World!"\n')
        self.assertEqual(contents(self.install), before)
        self.assertEqual(list(self.home.iterdir()), [])

    def test_from_a_folder_that_cannot_be_written(self):
        if namespace():
            self.mount_read_only()
            self.assertIn("Read-only file system", self.shell("touch install/new", self.install.parent).stderr)
        else:
            (self.install / "workers").chmod(0o555)
            self.install.chmod(0o555)
            self.addCleanup(self.install.chmod, 0o755)
        self.use_every_template()

    def test_without_a_network(self):
        if not namespace("--net"):
            self.skipTest("a namespace without a network is not permitted here")
        self.mount_read_only("--net")
        with socket.create_server(("127.0.0.1", 0)) as server:
            connect = f"exec 3<>/dev/tcp/127.0.0.1/{server.getsockname()[1]}"
            self.assertIn("Network is unreachable", self.shell(connect).stderr)
        self.use_every_template()


if __name__ == "__main__":
    main()
