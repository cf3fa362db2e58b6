"""A PostgreSQL server of one's own, for peers that need one: in a temporary folder, reached over a socket file only, with
the settings it comes with. PostgreSQL refuses to run as root: then it runs as the user whom its package has made."""
import glob
import os
import pwd
import shutil
import subprocess
import tempfile

USER = "postgres"


class Unavailable(Exception):
    """Why there is no server."""


def find_programs():
    """The folder of initdb and pg_ctl. Debian keeps one for each version, and none in PATH."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: float(path.split("/")[-2]))
    if folders:
        return folders[-1]
    found = shutil.which("initdb")
    if found is None:
        raise Unavailable("PostgreSQL is not installed (Debian package postgresql)")
    return os.path.dirname(os.path.realpath(found))


class Server:
    """To be used in a with statement; socket is the folder that clients give as host."""

    def __init__(self):
        self.programs = find_programs()
        self.account = None
        if os.geteuid() == 0:
            try:
                self.account = pwd.getpwnam(USER)
            except KeyError:
                raise Unavailable(f"PostgreSQL does not run as root, and there is no user {USER}") from None
        self.folder = tempfile.mkdtemp(prefix="workers-bench-pg-")
        if self.account is not None:
            os.chown(self.folder, self.account.pw_uid, self.account.pw_gid)
        self.data = os.path.join(self.folder, "data")
        self.socket = self.folder

    def run(self, program, *args):
        identity = {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []} if self.account else {}
        # Output goes to a file: the server inherits it, and lives longer than pg_ctl.
        with open(os.path.join(self.folder, program + ".log"), "w+", encoding="utf-8") as log:
            done = subprocess.run([os.path.join(self.programs, program), *args], cwd=self.folder, stdin=subprocess.DEVNULL,
                                  stdout=log, stderr=log, check=False, **identity)
            log.seek(0)
            if done.returncode != 0:
                raise Unavailable(f"{program} ended with {done.returncode}: {log.read().strip()[-400:]}")

    def __enter__(self):
        try:
            self.run("initdb", "-D", self.data, "-U", USER, "-A", "trust", "--no-instructions")
            self.run("pg_ctl", "-D", self.data, "-w", "-o", f"-c listen_addresses= -c unix_socket_directories={self.folder}", "start")
        except Unavailable:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_):
        try:
            self.run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
