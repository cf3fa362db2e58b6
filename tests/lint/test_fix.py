#!/usr/bin/env python3
"""`workers check --fix`: what it mends and what it leaves, byte by byte; when it cannot write; that it leaves what is right alone.
fix_test.lua does the same to scripts that nobody would write.
"""
import json
import os
import pathlib
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import BINARY, REPOSITORY, Project, TestCase, main  # noqa: E402

CORPUS = pathlib.Path(__file__).resolve().parent
NOBODY = 65534

HEAD = """\
local workers = require "workers"
local http = require "workers.http"
local worker = workers.new()
"""
TAIL = """\
worker:tool("read", { title = "T", description = "d", schema = workers.j.object {}, execute = function()
  return http.get("https://api.example.com/v1"):raise():json()
end })
return worker
"""

# What is mended: the script between HEAD and TAIL, what is there afterwards, what is said; line 4 is the first one.
MENDED = [
    ("a number", "local spare = 1\n", "", ["4: fixed unused-local: took out spare"]),
    ("other constants", "local a = 'x'\nlocal b = nil\nlocal c\nlocal d = true\nlocal e <const> = -1.5\nlocal f = [[\n\n]]\n", "",
     ["4: fixed unused-local: took out a", "5: fixed unused-local: took out b", "6: fixed unused-local: took out c",
      "7: fixed unused-local: took out d", "8: fixed unused-local: took out e", "9: fixed unused-local: took out f"]),
    ("a built-in module", 'local regex = require "workers.regex"\n', "", ["4: fixed unused-local: took out regex"]),
    ("functions", "local function one(a)\n  return a\nend\nlocal two = function()\n  return http\nend\n", "",
     ["4: fixed unused-local: took out one", "7: fixed unused-local: took out two"]),
    ("with blanks around it, and blank lines", "\n\t local spare = 1 \t\n\nprint(1)\n", "\n\nprint(1)\n", ["5: fixed unused-local: took out spare"]),
    ("a comment one line off", "-- of the worker\n\nlocal spare = 1\nprint(1) -- one\n", "-- of the worker\n\nprint(1) -- one\n",
     ["6: fixed unused-local: took out spare"]),
    ("within a function", "print(function()\n  local spare = 1\n  return 2\nend)\n", "print(function()\n  return 2\nend)\n",
     ["5: fixed unused-local: took out spare"]),
    ("what is used by nothing else then", 'local regex = require "workers.regex"\nlocal WORD = "a"\nlocal function one(text)\n'
     '  local spare = 1\n  return regex.match(WORD, text)\nend\nlocal function two()\n  return one("a")\nend\nprint(1)\n', "print(1)\n",
     ["4: fixed unused-local: took out regex", "5: fixed unused-local: took out WORD", "6: fixed unused-local: took out one",
      "7: fixed unused-local: took out spare", "10: fixed unused-local: took out two"]),
    ("a name that hides another", "print(function()\n  local http = 1\n  local http = 2\n  return http\nend)\n",
     "print(function()\n  local http = 2\n  return http\nend)\n", ["5: fixed unused-local: took out http"]),
    ("a comment that ignores nothing", "-- workers: ignore no-pacer it has none\nprint(1)\n", "print(1)\n", ["4: fixed unused-ignore: took the comment out"]),
    ("behind code", "print(1) \t-- workers: ignore no-pacer it has none\n", "print(1)\n", ["4: fixed unused-ignore: took the comment out"]),
    ("in brackets", "print(1) --[[ workers: ignore no-pacer it has none ]]  \n  --[=[ workers: ignore no-pacer none ]=]\n", "print(1)  \n",
     ["4: fixed unused-ignore: took the comment out", "5: fixed unused-ignore: took the comment out"]),
    ("one of two", "-- workers: ignore unused-local for later\n-- workers: ignore no-pacer none\nlocal spare = 1\n",
     "-- workers: ignore unused-local for later\nlocal spare = 1\n", ["5: fixed unused-ignore: took the comment out"]),
    ("a comment, then the line that it stood on", "local spare = 1 -- workers: ignore no-pacer none\n", "",
     ["4: fixed unused-local: took out spare", "4: fixed unused-ignore: took the comment out"]),
    ("a function that is not there", 'print(function()\n  return http.gett ("a"), require("workers.time").fromSecond(1)\nend)\n',
     'print(function()\n  return http.get ("a"), require("workers.time").fromSeconds(1)\nend)\n',
     ["5: fixed unknown-api-name: wrote get in the place of gett", "5: fixed unknown-api-name: wrote fromSeconds in the place of fromSecond"]),
    ("one of Lua's", "print(function(text)\n  return string.formt('%s', text)\nend)\n", "print(function(text)\n  return string.format('%s', text)\nend)\n",
     ["5: fixed unknown-api-name: wrote format in the place of formt"]),
]

# What is left as it is, why, and the rule that goes on saying so.
LEFT = [
    ("its value may do something", "print(function()\n  local spare = #http.get('https://a.example.com')\nend)\n", "unused-local"),
    ("a call", "local spare = tostring(1)\n", "unused-local"),
    ("a table", "local spare = {}\n", "unused-local"),
    ("a field, which may be made when it is read", "print(function()\n  local spare = worker.x\nend)\n", "unused-local"),
    ("a module of the project, which may do something", 'local tools = require "tools"\n', "unused-local"),
    ("it is assigned to", "local last\nprint(function() last = 1 end)\n", "unused-local"),
    ("one of several names", "local spare, other = 1, 2\nprint(spare)\n", "unused-local"),
    ("one of several names, without values", "local spare, other\nspare = 1\nprint(spare)\n", "unused-local"),
    ("what fails", "print(function()\n  local spare = #5\nend)\n", "unused-local"),
    ("more values than names", "local spare = 1, print(1)\n", "unused-local"),
    ("a comment beside it", "local spare = 1 -- for later\n", "unused-local"),
    ("a comment above it", "-- For later.\nlocal spare = 1\n", "unused-local"),
    ("the end of a comment above it", "--[[ For\nlater. ]]\nlocal spare = 1\n", "unused-local"),
    ("a comment within it", "local function spare()\n  -- for later\n  return 1\nend\n", "unused-local"),
    ("something else on its line", "local spare = 1; print(1)\n", "unused-local"),
    ("something else before it on its line", "print(1) local spare = 1\n", "unused-local"),
    ("a semicolon", "local spare = 1;\n", "unused-local"),
    ("what is around it would become one call", "local a = print\nlocal spare = 1\n(a)(1)\n", "unused-local"),
    ("require may be another function", 'print(function()\n  require = print\nend)\nlocal regex = require "workers.regex"\n', "unused-local"),
    ("require may be another function, by _G", 'print(function()\n  _G["req" .. "uire"] = print\nend)\nlocal regex = require "workers.regex"\n', "unused-local"),
    ("a comment over several lines", "--[[ workers: ignore no-pacer\nnone ]]\nprint(1)\n", "unused-ignore"),
    ("code behind a comment", "--[[ workers: ignore no-pacer none ]] print(1)\n", "unused-ignore"),
    ("it names no rule", "-- workers: ignore no-pcaer none\nprint(1)\n", "bad-ignore"),
    ("several names are near", "print(function() return http.pst('a') end)\n", "unknown-api-name"),
    ("no name is near", "print(function() return http.fetchAll('a') end)\n", "unknown-api-name"),
    ("it is read, not called", "print(http.gett)\n", "unknown-api-name"),
    ("it is handed on", "print(pcall(http.gett, 'a'))\n", "unknown-api-name"),
    ("it is written in another way", "print(function() return http['gett']('a') end)\n", "unknown-api-name"),
    ("the module is given to somebody", "print(http)\nprint(function() return http.gett('a') end)\n", "unknown-api-name"),
    ("the module is extended under another name", "local h = http\nh[tostring(1)] = print\nprint(function() return http.gett('a') end)\n", "unknown-api-name"),
    ("the same by name", "local h = http\nh.gett = print\nprint(function() return http.gett('a') end)\n", "unknown-api-name"),
    ("the other name changes", "local h = http\nh[tostring(1)] = print\nh = nil\nprint(function() return http.gett('a') end)\n", "unknown-api-name"),
    ("the other name is one of two", "local h, _i = require 'workers.http'\nh[tostring(1)] = print\nprint(function() return http.gett('a') end)\n",
     "unknown-api-name"),
    ("code of others, which may extend the module", "local _other = require 'other'\nprint(function() return http.gett('a') end)\n", "unknown-api-name"),
    ("Lua's own table is extended", "for name, f in pairs({}) do string[name] = f end\nprint(function() return string.formt('a') end)\n", "unknown-api-name"),
    ("a global that is near another", "print(function() return tostrng(1) end)\n", "undefined-global"),
]


class FixCase(TestCase):
    def setUp(self):
        self.project = Project("")
        self.addCleanup(self.project.close)

    @property
    def script(self):
        return self.project.folder / "main.lua"

    def write(self, middle):
        self.script.write_bytes((HEAD + middle + TAIL).encode())

    def fix(self, *args, code=0, **options):
        result = self.project.run("check", "--fix", *args, **options)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result

    def findings(self, *args):
        return json.loads(self.project.run("check", "--json", *args).stdout)


class What(FixCase):
    def test_mended(self):
        for name, before, after, said in MENDED:
            with self.subTest(name):
                self.write(before)
                result = self.fix()
                self.assertEqual(self.script.read_text(encoding="utf-8"), HEAD + after + TAIL)
                self.assertEqual([line for line in result.stdout.splitlines() if ": fixed " in line], [f"main.lua:{line}" for line in said])
                self.assertIn(f"\n{len(said)} fixed\nok: 0 databases, 0 pacers, 1 capability\n", result.stdout)
                again = self.fix()
                self.assertEqual(again.stdout, "ok: 0 databases, 0 pacers, 1 capability\n", "a second time changes nothing")
                self.assertEqual(self.script.read_text(encoding="utf-8"), HEAD + after + TAIL)

    def test_left(self):
        self.project.write("tools.lua", "print(1)\nreturn {}\n")
        self.project.write("lua_modules/other.lua", "return {}\n")
        for why, middle, rule in LEFT:
            with self.subTest(why):
                self.write(middle)
                before = self.script.stat()
                result = self.project.run("check", "--fix")
                self.assertEqual(self.script.read_bytes(), (HEAD + middle + TAIL).encode())
                self.assertEqual((self.script.stat().st_ino, self.script.stat().st_mtime_ns), (before.st_ino, before.st_mtime_ns))
                self.assertIn(rule, [finding["rule"] for finding in self.findings()])
                self.assertNotIn("fixed", result.stdout)
                self.assertIn(f"[{rule}]", result.stdout)

    def test_line_ends_and_the_last_line(self):
        for before, after in (("return require('workers').new()", None), ("local a = 1\r\nreturn require('workers').new()\r\n", "return require('workers').new()\r\n"),
                              ("\xef\xbb\xbfprint(1)\r\n  local a = 1\r\nreturn require('workers').new()", "\xef\xbb\xbfprint(1)\r\nreturn require('workers').new()"),
                              ("#!/usr/bin/env workers\nlocal a = 1\nreturn require('workers').new()\n-- workers: ignore no-pacer none",
                               "#!/usr/bin/env workers\nreturn require('workers').new()\n"),
                              ("local a = 1\rlocal b = 2\rreturn require('workers').new()\r", "return require('workers').new()\r")):
            with self.subTest(before):
                self.script.write_bytes(before.encode("latin-1"))
                self.fix()
                self.assertEqual(self.script.read_bytes(), (after or before).encode("latin-1"))

    def test_modules(self):
        """Modules of the project are mended as well, each line by its place on the disk; those of others are not."""
        self.project.write("src/tools.lua", "local spare = 1\nlocal deep = require 'deep'\nreturn deep\n")
        self.project.write("src/deep.lua", "local function one()\n  return 1\nend\nlocal two = 2\nlocal three = #'3'\nreturn 1\n")
        other = self.project.write("lua_modules/other.lua", "local spare = 1\nreturn 1\n")
        self.write("local _a, _b = require 'tools', require 'other'\n")
        result = self.fix()
        self.assertEqual(result.stdout, "src/tools.lua:1: fixed unused-local: took out spare\n"
                                        "src/deep.lua:1: fixed unused-local: took out one\n"
                                        "src/deep.lua:4: fixed unused-local: took out two\n"
                                        "src/deep.lua:1:7: warning: three is never used [unused-local]\n"
                                        "    take it out, or call it _three\n"
                                        "3 fixed, 1 warning\nok: 0 databases, 0 pacers, 1 capability\n")
        self.assertEqual((self.project.folder / "src/deep.lua").read_text(), "local three = #'3'\nreturn 1\n")
        self.assertEqual(other.read_text(), "local spare = 1\nreturn 1\n")

    def test_json(self):
        self.write("local spare = 1\nlocal other = #'a'\n")
        found = json.loads(self.fix("--json").stdout)
        finding = {"file": "main.lua", "column": 7, "rule": "unused-local", "severity": "warning"}
        self.assertEqual(found, [{**finding, "line": 4, "message": "spare is never used", "remedy": "take it out, or call it _spare", "fixed": True},
                                 {**finding, "line": 4, "message": "other is never used", "remedy": "take it out, or call it _other"}])

    def test_what_is_left_decides(self):
        self.write("local spare = 1\nlocal other = #'a'\n")
        self.assertIn("1 fixed, 1 warning\n", self.fix("--strict", code=1).stdout)
        self.write("print(function() return http.gett('a') end)\n")
        self.assertEqual(self.project.run("check").returncode, 1)
        self.assertIn("1 fixed\nok: ", self.fix("--strict").stdout)

    def test_what_was_mended_is_loaded_again(self):
        self.write("print('loaded')\nlocal spare = 1\n")
        self.assertEqual(self.fix().stderr, "info: loaded\n" * 2)
        self.assertEqual(self.fix().stderr, "info: loaded\n")

    def test_what_does_not_load_is_left(self):
        for script, message in (("local spare = 1\nlocal x = = 1\n", "main.lua:2: unexpected symbol near '='"),
                                (HEAD + "local spare = 1\nworker:tool('t', { titel = 'T' })\n" + TAIL, 'did you mean "title"?')):
            self.script.write_text(script, encoding="utf-8")
            result = self.fix(code=1)
            self.assertEqual(result.stdout, "")
            self.assertIn(message, result.stderr)
            self.assertEqual(self.script.read_text(encoding="utf-8"), script)

    def test_what_is_right_stays(self):
        """Nothing is changed in the good corpus, the examples and the templates; what is left of the bad one stays as it is."""
        for path in sorted(CORPUS.glob("good/*.lua")):
            shutil.copy(path, self.script)
            self.assertNotIn("fixed", self.project.run("check", "--fix").stdout, path.name)
            self.assertEqual(self.script.read_bytes(), path.read_bytes(), path.name)
        places = [folder for pattern in ("examples/*/", "examples/connectors/*/") for folder in sorted(REPOSITORY.glob(pattern))
                  if (folder / "workers.yaml").is_file()]
        for name in sorted(path.parent.name for path in REPOSITORY.glob("templates/*/_template")):
            self.ok(self.project.run("new", f"made/{name}", "--template", name, "--no-git"))
            places.append(self.project.folder / "made" / name)
        self.assertGreater(len(places), 11)
        for folder in places:
            place = self.project.folder / "copy"
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(folder, place)
            scripts = [place / "src/main.lua", *sorted(place.glob(".examples/*.lua")), *sorted(place.glob(".agents/**/*.lua"))]
            before = {path: path.read_bytes() for path in place.rglob("*.lua")}
            for script in scripts:
                self.assertNotIn("fixed", self.ok(self.project.run("check", "--fix", str(script))).stdout)
            self.assertEqual({path: path.read_bytes() for path in before}, before, folder)
        for path in sorted(CORPUS.glob("bad/*.lua")):
            shutil.copy(path, self.script)
            self.project.run("check", "--fix")
            once = self.script.read_bytes()
            self.assertNotIn(" fixed", self.project.run("check", "--fix").stdout, path.name)
            self.assertEqual(self.script.read_bytes(), once, path.name)


class Writing(FixCase):
    def files(self):
        return sorted(path.name for path in self.project.folder.iterdir())

    def give_to_nobody(self, *paths):
        for path in paths if os.getuid() == 0 else ():
            os.chown(path, NOBODY, NOBODY)

    def run_as_nobody(self, *args):
        """With a copy of the program that everybody can reach; as whoever runs the tests when that is not root."""
        def become():
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
        if not (self.project.folder / "workers").exists():
            shutil.copy(BINARY, self.project.folder / "workers")
            self.project.folder.chmod(0o777)
        return subprocess.run([self.project.folder / "workers", *args], cwd=self.project.folder, env=self.project.environment(), text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=60, preexec_fn=become)

    def test_rights_and_links_stay(self):
        self.write('local _tools = require "tools"\nlocal spare = 1\n')
        tools = self.project.write("tools.lua", "local spare = 1\nreturn 1\n")
        for path, real, mode in ((self.script, "real.lua", 0o751), (tools, "real_tools.lua", 0o640)):
            path.chmod(mode)
            path.rename(self.project.folder / real)
            path.symlink_to(real)
        self.fix()
        for path, real, mode in ((self.script, "real.lua", 0o751), (tools, "real_tools.lua", 0o640)):
            self.assertEqual(os.readlink(path), real)
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), mode)
            self.assertNotIn("spare", path.read_text(encoding="utf-8"))
        self.assertEqual(self.files(), ["main.lua", "real.lua", "real_tools.lua", "tools.lua", "workers.yaml"])

    def test_a_file_that_changes_meanwhile(self):
        """A module that comes through a pipe holds the program while the script is changed."""
        os.mkfifo(self.project.folder / "slow.lua")
        self.write('local _slow = require "slow"\nlocal spare = 1\n')

        def change():
            with open(self.project.folder / "slow.lua", "w", encoding="utf-8") as pipe:  # opens when the program reads it
                with open(self.script, "a", encoding="utf-8") as script:
                    script.write("-- mine\n")
                pipe.write("return 1\n")
        changer = threading.Thread(target=change, daemon=True)
        changer.start()
        result = self.fix(code=1)
        changer.join(60)
        self.assertEqual(result.stdout, "")
        self.assertEqual(result.stderr, "error: main.lua has changed since it was read: it is left as it is now; try again\n")
        self.assertTrue(self.script.read_text(encoding="utf-8").endswith("return worker\n-- mine\n"))
        self.assertIn("local spare = 1\n", self.script.read_text(encoding="utf-8"))

    def test_what_is_no_file(self):
        os.mkfifo(self.project.folder / "slow.lua")
        self.write('local _slow = require "slow"\n')
        writer = threading.Thread(target=lambda: (self.project.folder / "slow.lua").write_text("local spare = 1\nreturn 1\n"), daemon=True)
        writer.start()
        result = self.fix(code=1)
        writer.join(60)
        self.assertEqual(result.stderr, "error: cannot write slow.lua: it is no regular file\n")

    def test_a_write_that_fails(self):
        """The file is there as it was, and nothing beside it."""
        def no_room():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        self.write("local spare = 1\n")
        result = subprocess.run([BINARY, "check", "--fix"], cwd=self.project.folder, env=self.project.environment(), text=True,
                                stdin=subprocess.DEVNULL, capture_output=True, timeout=60, preexec_fn=no_room)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (1, "", "error: cannot write main.lua: File too large\n"))
        self.assertEqual(self.script.read_text(encoding="utf-8"), HEAD + "local spare = 1\n" + TAIL)
        self.assertEqual(self.files(), ["main.lua", "workers.yaml"])

    def test_a_file_that_may_not_be_written(self):
        """What comes before it in the order of reading is mended, and said; it stays itself, and the exit code is 1."""
        tools = self.project.write("tools.lua", "local spare = 1\nreturn 1\n")
        self.write('local _tools = require "tools"\nlocal spare = 1\n')
        self.give_to_nobody(self.script, tools)
        tools.chmod(0o444)
        result = self.run_as_nobody("check", "--fix")
        self.assertEqual((result.returncode, result.stdout), (1, "main.lua:5: fixed unused-local: took out spare\n"))
        self.assertEqual(result.stderr, "error: cannot write tools.lua: Permission denied\n")
        self.assertEqual(tools.read_text(), "local spare = 1\nreturn 1\n")
        self.assertNotIn("spare", self.script.read_text(encoding="utf-8"))
        result = self.run_as_nobody("check", "--fix", "--json")
        self.assertEqual((result.returncode, json.loads(result.stdout)), (1, []))

    @unittest.skipUnless(os.getuid() == 0, "only root can give files away")
    def test_the_owner_stays(self):
        """Root mends a file for its owner; who may write somebody else's file, but not give it back, leaves it alone."""
        self.write("local spare = 1\n")
        self.give_to_nobody(self.script)
        self.script.chmod(0o2750)
        self.fix()
        status = self.script.stat()
        self.assertEqual((status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)), (NOBODY, NOBODY, 0o2750))
        self.assertEqual(self.script.read_text(encoding="utf-8"), HEAD + TAIL)
        self.write("local spare = 1\n")
        os.chown(self.script, 0, 0)
        self.script.chmod(0o666)
        result = self.run_as_nobody("check", "--fix")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (1, "", "error: cannot write main.lua: Operation not permitted\n"))
        self.assertIn("local spare = 1\n", self.script.read_text(encoding="utf-8"))
        self.assertEqual(self.files(), ["main.lua", "workers", "workers.yaml"])

    def test_a_folder_that_may_not_be_written(self):
        self.write("local spare = 1\n")
        self.give_to_nobody(self.script)
        self.run_as_nobody("version")
        self.project.folder.chmod(0o555)
        self.addCleanup(self.project.folder.chmod, 0o755)
        result = self.run_as_nobody("check", "--fix")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (1, "", "error: cannot write main.lua: Permission denied\n"))
        self.assertIn("local spare = 1\n", self.script.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
