#!/usr/bin/env python3
"""Scripts that want too much: each is stopped by its limit, says which, and does not disturb the sync beside it.

Every case is the body of a sync's execute function. `workers run` runs it side by side with a well-behaved sync, each in an
isolate of its own, under small limits.
"""
import concurrent.futures
import http.server
import os
import re
import subprocess
import sys
import threading
import time
import unittest

import torture
from torture import SUPPORT, Project, integrity

CPU, WALL, GRACE = 1, 5, 3  # seconds
PATIENCE = 60  # seconds; the wall limit where the CPU limit is what counts, on a machine that has other things to do
GOOD_PAGES, GOOD_ROWS = 8, 25
SETTINGS = f"""limits: {{ memory: 32MiB, cpu: {CPU}s, wall: @WALL@s }}
permissions: {{ net: ["127.0.0.1"] }}
"""

SCRIPT = r"""
local workers = require "workers"
local http = require "workers.http"
local json = require "workers.json"
local Schema = workers.schema
local worker = workers.new()
local BASE = "@BASE@"
local function database(key)
  return worker:database(key, { type = "managed", initialTitle = key, primaryKeyProperty = "ID",
    schema = { properties = { Name = Schema.title(), ID = Schema.richText() } } })
end
local bad, good = database("badRows"), database("goodRows")
local function page(prefix, state, pages, rows)
  local n = state and state.page or 1
  local changes = {}
  for i = 1, rows do changes[i] = { type = "upsert", key = ("%s-%d-%d"):format(prefix, n, i), properties = { Name = "x" } } end
  return { changes = changes, hasMore = n < pages, nextState = n < pages and { page = n + 1 } or nil }
end
worker:sync("good", { database = good, mode = "replace", schedule = "manual", execute = function(state)
  workers.sleep(0.02)
  return page("g", state, GOOD_PAGES, GOOD_ROWS)
end })
worker:sync("hostile", { database = bad, mode = "replace", schedule = "manual", execute = function(state)
  if state == nil then return page("b", nil, 2, 3) end -- the first page is harmless, and stays
  @BODY@
end })
return worker
""".replace("GOOD_PAGES", str(GOOD_PAGES)).replace("GOOD_ROWS", str(GOOD_ROWS))

CPU_LIMIT = r"CPU limit of 1 s reached.*limits\.cpu"
MEMORY_LIMIT = r"memory limit of 32 ?MiB reached.*limits\.memory"
CASES = {
    # Loops that nothing but the instruction hook ends.
    "loop": ("while true do end", CPU_LIMIT),
    "loop in pcalls": ("while true do pcall(function() pcall(function() pcall(function() while true do end end) end) end) end",
                       CPU_LIMIT),
    "loop in xpcall": ("while true do xpcall(function() while true do end end, function() while true do end end) end", CPU_LIMIT),
    "loop in coroutines": ("local function deep(n) if n == 0 then while true do end end"
                           " return coroutine.wrap(function() deep(n - 1) end)() end"
                           " while true do pcall(deep, 20) end", CPU_LIMIT),
    "loop over coroutines": ("while true do local co = coroutine.create(function() while true do coroutine.yield() end end)"
                             " for i = 1, 100 do coroutine.resume(co) end end", CPU_LIMIT),
    "loop in __close": ("local x <close> = setmetatable({}, { __close = function() while true do end end }) error('out')",
                        CPU_LIMIT),
    "loop in __close after the limit": ("local x <close> = setmetatable({}, { __close = function() while true do end end })"
                                        " while true do end", CPU_LIMIT),
    "loop in __close of coroutines": ("while true do local co = coroutine.create(function()"
                                      " local x <close> = setmetatable({}, { __close = function() while true do end end })"
                                      " coroutine.yield() end) coroutine.resume(co) pcall(coroutine.close, co) end", CPU_LIMIT),
    "loop in metamethods": ("local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end,"
                            " __eq = function() while true do end end })"
                            " while true do pcall(function() return t[1] end) local a = t == setmetatable({}, getmetatable(t)) end",
                            CPU_LIMIT),
    "loop in __tostring": ("print(setmetatable({}, { __tostring = function() while true do end end }))", CPU_LIMIT),
    "loop in __pairs": ("for k in pairs(setmetatable({}, { __pairs = function() while true do end end })) do end", CPU_LIMIT),
    "loop of goto": ("::again:: goto again", CPU_LIMIT),
    "loop in tasks": ("workers.all { function() while true do end end, function() while true do workers.sleep(0) end end }",
                      CPU_LIMIT),
    "loop of a sleep of nothing": ("while true do workers.sleep(0) end", CPU_LIMIT),
    # C functions that could run long between two instructions.
    "pattern bomb": ("return ('a'):rep(3000):find(('a-'):rep(30) .. 'b')", CPU_LIMIT),
    "match bomb": ("while true do pcall(string.match, ('a'):rep(100000), '.-.-.-.-b') end", CPU_LIMIT),
    "gsub bomb": ("return (('a'):rep(2000)):gsub('', ('b'):rep(100000))", MEMORY_LIMIT),
    "gsub of long patterns": ("while true do local s = ('x'):rep(1000000):gsub('x*y', '') end", CPU_LIMIT),
    "gmatch bomb": ("for a in ('a'):rep(5000000):gmatch('(.-)(.-)(.-)b') do end", CPU_LIMIT),
    "regex bombs": ("local r = require 'workers.regex' while true do pcall(r.test, ('a'):rep(40) .. 'b', '^(a+)+$') end", CPU_LIMIT),
    # One search whose text allows it more steps than the limit has time for.
    "regex over a big text": ("return require('workers.regex').test(('a'):rep(4000000) .. 'b', 'a.*?.*?.*?b.')", CPU_LIMIT),
    "regex with back references": ("return require('workers.regex').test(('a'):rep(12000000), '(a+)b?(?:\\\\1b|\\\\1c)')", CPU_LIMIT),
    "regex replacements": ("return (require('workers.regex').replace(('a'):rep(2000), '', ('b'):rep(100000)))", MEMORY_LIMIT),
    "regex patterns": ("local r, kept = require 'workers.regex', {} for i = 1, 1e6 do kept[i] = r.compile(('[ä-ü]x'):rep(99) .. i) end",
                       r"regex\.compile: out of memory|" + MEMORY_LIMIT),
    "find plain": ("local s = ('a'):rep(8000000) while true do s:find(('a'):rep(1000) .. 'b', 1, true) end", CPU_LIMIT),
    "lying comparator": ("local t = {} for i = 1, 200000 do t[i] = i end"
                         " while true do pcall(table.sort, t, function() return true end) end", CPU_LIMIT),
    "changing comparator": ("local t, n = {}, 0 for i = 1, 200000 do t[i] = i end"
                            " while true do pcall(table.sort, t, function() n = n * 1103515245 + 12345 & 0x7fffffff"
                            " return n & 65536 == 0 end) end", CPU_LIMIT),
    "sort of long strings": ("local t, s = {}, ('a'):rep(1000000) for i = 1, 20 do t[i] = s .. i end"
                             " while true do table.sort(t) t[1], t[20] = t[20], t[1] end", CPU_LIMIT),
    "comparing long strings": ("local a, b = ('a'):rep(7000000) .. 1, ('a'):rep(7000000) .. 2 while a < b do end", CPU_LIMIT),
    "next over a cleared table": ("local t = {} for i = 1, 300000 do t[i] = true end for i = 1, 300000 do t[i] = nil end"
                                  " while true do next(t) end", CPU_LIMIT),
    "length of a proxy": ("table.unpack(setmetatable({}, { __len = function() while true do end end }))", CPU_LIMIT),
    "insert at the front": ("local t = {} while true do table.insert(t, 1, true) end", CPU_LIMIT),
    "move over everything": ("table.move(setmetatable({}, { __index = function() return 1 end, __newindex = function() end }),"
                             " 1, math.maxinteger - 1, 1, {})", rf"{CPU_LIMIT}|{MEMORY_LIMIT}"),
    "concat of a proxy": ("table.concat(setmetatable({}, { __index = function() return '' end, __len = function()"
                          " return math.maxinteger end }))", CPU_LIMIT),
    "unpack of much": ("while true do pcall(table.unpack, {}, 1, 900000) end", CPU_LIMIT),
    "HTML of much": ("local s = ('<p>x <b>y</b> '):rep(20000) while true do"
                     " require 'workers.text'.htmlToMarkdown(s) end", CPU_LIMIT),
    "HTML that is deep": ("local s = ('<table><html><nobr/></a>t<a><nobr><a>'):rep(200000) while true do"
                          " pcall(require 'workers.text'.htmlToText, s) end", CPU_LIMIT),
    "normal forms of marks": ("local s = ('\\u{301}\\u{316}'):rep(1000000) while true do"
                              " require 'workers.text'.nfc(s) end", CPU_LIMIT),
    "clusters of marks": ("local s = ('\\u{301}'):rep(2000000) while true do"
                          " require 'workers.text'.length(s, { unit = 'graphemes' }) end", CPU_LIMIT),
    "escapes of much": ("local s = ('_'):rep(3000000) while true do require 'workers.text'.escapeMarkdown(s) end", CPU_LIMIT),
    "utf8 of much": ("local s = ('a'):rep(8000000) while true do utf8.len(s) end", CPU_LIMIT),
    "utf8 offsets of much": ("local s = ('a'):rep(8000000) while true do utf8.offset(s, 8000000) end", CPU_LIMIT),
    "concatenating much": ("local s = ('a'):rep(8000000) while true do local t = s .. 'b' end", CPU_LIMIT),
    "equality of much": ("local a, b = ('a'):rep(8000000) .. 1, ('a'):rep(8000000) .. 2 while a ~= b do end", CPU_LIMIT),
    "comparing much in a coroutine": ("coroutine.wrap(function() local a, b = ('a'):rep(7000000) .. 1, ('a'):rep(7000000) .. 2"
                                      " while a < b do end end)()", CPU_LIMIT),
    "upper of much": ("local s = ('a'):rep(4000000) while true do s:upper() end", rf"{CPU_LIMIT}|{MEMORY_LIMIT}"),
    "reverse of much": ("local s = ('a'):rep(4000000) while true do s:reverse() end", rf"{CPU_LIMIT}|{MEMORY_LIMIT}"),
    "format of much": ("while true do string.format('%99.99f', 1e308) end", CPU_LIMIT),
    "pack of much": ("local f = ('!16 i16'):rep(100000) while true do pcall(string.packsize, f) end", CPU_LIMIT),
    "load of an endless reader": ("load(function() return ' ' end)", CPU_LIMIT),
    "load of a reader that grows": ("return assert(load(function() return ('x'):rep(100) end))", rf"{MEMORY_LIMIT}|not enough memory|{CPU_LIMIT}"),
    "load of much": ("local s = ('local a = 1 '):rep(100) while true do load(s) end", CPU_LIMIT),
    "load of a deep one": ("while true do load('return ' .. ('('):rep(100000)) end", CPU_LIMIT),
    "json of much": ("local s = '[' .. ('1,'):rep(100000) .. '1]' while true do json.decode(s) end", rf"{CPU_LIMIT}|{MEMORY_LIMIT}"),
    "json that stays": ("local t = {} for i = 1, 50000 do t[i] = i end while true do json.encode(t) end", CPU_LIMIT),
    # Memory.
    "memory bomb": ("local t = {} while true do t[#t + 1] = {} end", MEMORY_LIMIT),
    "memory bomb in pcalls": ("local t = {} while true do pcall(function() while true do t[#t + 1] = {} end end) end",
                              rf"{MEMORY_LIMIT}|{CPU_LIMIT}"),
    "rep bomb": ("return ('x'):rep(1 << 30)", MEMORY_LIMIT),
    "rep of overflow": ("return ('xx'):rep(math.maxinteger)", "resulting string too large"),
    "concat bomb": ("local t, s = {}, ('x'):rep(1000000) for i = 1, 1000 do t[i] = s end return table.concat(t)", MEMORY_LIMIT),
    "concatenation": ("local s = ('x'):rep(10000000) while true do s = s .. ('y'):rep(10000000) end", MEMORY_LIMIT),
    "doubling": ("local s = 'x' while true do s = s .. s end", MEMORY_LIMIT),
    "a million coroutines": ("local t = {} for i = 1, 1000000 do t[i] = coroutine.create(function() coroutine.yield() end)"
                             " coroutine.resume(t[i]) end", MEMORY_LIMIT),
    "a million tasks": ("local t = {} for i = 1, 1000000 do t[i] = function() workers.sleep(1000) end end workers.all(t)",
                        rf"{MEMORY_LIMIT}|{CPU_LIMIT}"),
    "recursion": ("local function f() return 1 + f() end return f()", rf"stack overflow|{MEMORY_LIMIT}"),
    "recursion in C": ("local function f(s) return s:gsub('.', f) end return f('x')", r"stack overflow|C stack overflow"),
    "recursion in pcalls": ("local function f() return pcall(f) end while true do f() end",
                            rf"{CPU_LIMIT}|{MEMORY_LIMIT}|stack overflow"),
    "recursion of coroutines": ("local function f() return coroutine.wrap(f)() end return f()",
                                rf"stack overflow|{MEMORY_LIMIT}"),
    "deep JSON": ("return json.decode(('['):rep(10000000))", r"nested deeper than \d+ levels"),
    "wide JSON": ("return json.decode('[' .. ('[],'):rep(5000000) .. '[]]')", MEMORY_LIMIT),
    "many keys": ("local t = {} for i = 1, 1e9 do t['k' .. i] = i end", MEMORY_LIMIT),
    "many upvalues": ("local f = function() end while true do local g = f f = function() return g() end end", MEMORY_LIMIT),
    "a table of results": ("local t = {} for i = 1, 1000000 do t[i] = { type = 'upsert', key = 'k' .. i } end"
                           " return { changes = t, hasMore = false }", rf"{MEMORY_LIMIT}|{CPU_LIMIT}"),
    # Reaching out of the sandbox.
    "writing over everything": ("local g = _G for k in pairs(g) do g[k] = nil end while true do end", CPU_LIMIT),
    "string metatable": ("getmetatable('').__index = function() return function() while true do end end end"
                         " return ('x'):upper()", rf"{CPU_LIMIT}|index a|metatable"),
    "poisoned helpers": ("error = function() end type = function() return 'table' end pairs = function() return next, {} end"
                         " tostring = nil return { changes = 'no' }", r"changes"),
    "binary chunk": ("return assert(load('\\27Lua\\x54\\0' .. ('x'):rep(100), 'b', 'b'))()", r"binary|text"),
    "binary chunk by default": ("return assert(load('\\27Lua' .. ('x'):rep(100)))()", r"binary"),
    "string.dump": ("return string.dump(function() end)", r"string\.dump is not available"),
    "a finalizer": ("setmetatable({}, { __gc = function() while true do end end })", r"__gc is not available"),
    "the registry": ("return debug.getregistry()", r"debug\.getregistry is not available"),
    "os.exit": ("os.exit(0)", r"os\.exit is not available"),
    # The network.
    "10 GB": ("return http.get(BASE .. '/stream/10g')", r"hostile.*(too_large|larger|maxBody|limit)"),
    "endless body": ("return http.get(BASE .. '/stream')", r"hostile.*(too_large|larger|maxBody|limit)"),
    "slow drip": ("return http.get(BASE .. '/drip?bytes=1000&seconds=100', { timeout = 1 })", r"hostile.*did not finish within 1000 ms"),
    "slow drip without a timeout": ("return http.get(BASE .. '/drip?bytes=1000&seconds=100', { timeout = 600 })", r"limits\.wall"),
    "gzip bomb": ("return http.get(BASE .. '/gzip-bomb/2000')", r"hostile.*(too_large|larger|maxBody|limit)"),
    "200 MB of JSON": ("return http.get('@JSON@', { maxBody = '1GiB' }):json()", rf"{MEMORY_LIMIT}|nested deeper"),
    "sleeping": ("workers.sleep(1000)", r"limits\.wall"),
    "sleeping in pcalls": ("while true do pcall(workers.sleep, 1000) end", r"limits\.wall"),
}


class NestedJson(http.server.BaseHTTPRequestHandler):
    """Answers 200 MB of JSON, all of it small objects in each other."""

    def do_GET(self):
        block = b'{"a":[1,{"b":[2,{"c":3}]}]},' * 4096
        count = 200 * 10**6 // len(block)
        self.send_response(200)
        self.send_header("Content-Length", str(len(block) * count + 3))
        self.end_headers()
        try:
            self.wfile.write(b"[")
            for _ in range(count):
                self.wfile.write(block)
            self.wfile.write(b"1]")
        except ConnectionError:
            pass

    def log_message(self, *_):
        pass


class Server:
    """The misbehaving HTTP server, for the length of the tests."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, os.path.join(SUPPORT, "http_server.py"), "--exit-with-stdin"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.base = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self.nested = http.server.ThreadingHTTPServer(("127.0.0.1", 0), NestedJson)
        self.json = f"http://127.0.0.1:{self.nested.server_port}/"
        threading.Thread(target=self.nested.serve_forever, daemon=True).start()

    def close(self):
        self.nested.shutdown()
        self.nested.server_close()
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.close)

    @staticmethod
    def run_measured(project):
        """As Project.run, with the seconds of CPU time that it took."""
        with open(project.file("out"), "w+b") as out, open(project.file("err"), "w+b") as err:
            process = subprocess.Popen([torture.BIN, "run", "main.lua"], cwd=project.path, env=torture.environment(),
                                       stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            hung = threading.Timer(PATIENCE + GRACE, process.kill)
            hung.start()
            _, status, usage = os.wait4(process.pid, 0)
            hung.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            result = torture.Result(process.returncode, out.read().decode(errors="replace"), err.read().decode(errors="replace"))
        return result, usage.ru_utime + usage.ru_stime

    def attempt(self, name):
        body, says = CASES[name]
        waits = r"limits\.wall" in says
        project = Project(self, SCRIPT.replace("@BODY@", body).replace("@BASE@", self.server.base)
                          .replace("@JSON@", self.server.json),
                          SETTINGS.replace("@WALL@", str(WALL if waits else PATIENCE)))
        began = time.monotonic()
        result, used = self.run_measured(project)
        took = time.monotonic() - began
        self.assertEqual(result.code, 1, result)
        self.assertRegex(result.err, re.compile(says), result)
        # Where it computes, its own time counts, whatever else the machine does.
        self.assertLess(used, CPU + GRACE, f"it computed for {used:.1f} s\n{result}")
        if waits:
            self.assertLess(took, WALL + GRACE, f"it took {took:.1f} s\n{result}")
        self.assertRegex(result.out, r"(?m)^hostile +failed +3 ", result)
        self.assertRegex(result.out, rf"(?m)^good +done +{GOOD_PAGES * GOOD_ROWS} ", result)
        connection = project.store()
        try:
            self.assertEqual(integrity(connection), ["ok"])
            rows = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("good_rows", "bad_rows")]
            self.assertEqual(rows, [GOOD_PAGES * GOOD_ROWS, 3])
        finally:
            connection.close()
        return used

    def test_cases(self):
        """Two at a time; limits are of CPU time, so that they do not disturb each other."""
        wanted = os.environ.get("WORKERS_CASE", "")
        names = [name for name in CASES if wanted in name]
        slowest = (0, "")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            futures = {name: pool.submit(self.attempt, name) for name in names}
            for name, future in futures.items():
                with self.subTest(name):
                    slowest = max(slowest, (future.result(), name))
        print(f"{len(names)} scripts, the longest, '{slowest[1]}', computed for {slowest[0]:.1f} s ... ", end="", flush=True)


if __name__ == "__main__":
    torture.main()
