#!/usr/bin/env python3
"""`workers test`: what is right passes, and each kind of mistake fails with a message that shows why."""
import json
import pathlib
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import REPOSITORY, TestCase, main  # noqa: E402

SECRET = "zk7-Qm4fV9xW2pL8sR3t"
ODD_SECRET = 'p&q="r/ s%t'  # changes when it is written into a query, or into JSON

CONFIG = """name: test
main: src/main.lua
limits: { cpu: 500ms, wall: 2h, tool: 2h }
permissions: { net: ["api.example.com", "127.0.0.1"], env: ["API_*"] }
"""

SCRIPT = """local workers = require "workers"
local http, env, log, time = require "workers.http", require "workers.env", require "workers.log", require "workers.time"
local Schema, j = workers.schema, workers.j
local worker = workers.new()
local tasks = worker:database("tasks", { type = "managed", initialTitle = "Tasks", primaryKeyProperty = "ID",
  schema = { properties = {
    Name = Schema.title(), ID = Schema.richText(), Status = Schema.select { { name = "Open" }, { name = "Done" } },
    Due = Schema.date(), Count = Schema.number(), Done = Schema.checkbox(), Tags = Schema.multiSelect { "a", "b" },
  } } })
local api = worker:pacer("api", { allowedRequests = 1, intervalMs = 2000 })
worker:sync("tasksSync", { database = tasks, mode = "replace", schedule = "manual", execute = function(state)
  local page = state and state.page or 1
  api:wait()
  local body = http.get("https://api.example.com/items", { query = { page = page, size = 2 }, retry = true }):raise():json()
  local changes = {}
  for i, t in ipairs(body.items) do
    changes[i] = { type = "upsert", key = t.id, upstreamUpdatedAt = t.updated, properties = {
      Name = t.name, Status = t.status, Due = t.due, Count = t.count, Done = t.done, Tags = t.tags } }
  end
  return { changes = changes, hasMore = body.more, nextState = body.more and { page = page + 1 } or nil }
end })
worker:sync("growing", { database = tasks, mode = "incremental", schedule = "manual", execute = function(state)
  return { changes = {}, hasMore = false, nextState = { n = (state and state.n or 0) + 1 } }
end })
local tools = {
  sleep = function(input) workers.sleep(input.seconds) return { now = os.date "!%Y-%m-%dT%H:%M:%SZ", ms = time.nowMs() } end,
  crash = function() local nothing = nil return nothing.field end,
  raise = function() error { name = "TeapotError", message = "short and stout" } end,
  limited = function() return workers.timeout(10, function() workers.sleep(60) end) end,
  env = function() return { key = env.get "API_KEY" } end,
  fetch = function(input)
    local headers = { Authorization = "Bearer " .. (env.get "API_KEY" or "none"), Cookie = "sid=cookie-value-12345" }
    local options = { headers = headers, query = input.query, redirects = input.redirects, timeout = input.timeout }
    local ok, response = pcall(http.get, input.url, options)
    if not ok then return { code = response.code, message = response.message } end
    return { status = response.status, body = response.body, url = response.url }
  end,
  post = function(input)
    return http.post(input.url, { json = input.body, headers = { Authorization = "Bearer " .. (env.get "API_KEY" or "none") } }):raise():json()
  end,
  stream = function(input)
    local response, length = http.stream(input.url), 0
    for piece in response:chunks() do length = length + #piece end
    return { length = length, status = response.status }
  end,
  remember = function(input)
    local kv = require "workers.kv"
    if input.set then kv.set("seen", input.set, { ttl = 60 }) end
    return { seen = kv.get "seen" }
  end,
  count = function() return { rows = require "workers.sql".query "SELECT name FROM tasks ORDER BY 1" } end,
  swallow = function() pcall(http.get, "https://api.example.com/quiet") return {} end,
}
for name, execute in pairs(tools) do
  worker:tool(name, { title = name, description = name, schema = j.object {}, execute = execute })
end
return worker
"""

# Tools whose inputs are free: the schema says nothing of them.
SCRIPT = SCRIPT.replace("schema = j.object {}", 'schema = j.object { input = j.string():nullable() }').replace(
    "execute = execute }", 'execute = function(given) return execute(given.input and json.decode(given.input) or {}) end }').replace(
    "local http, env", 'local json = require "workers.json"\nlocal http, env')

HEAD = """local test = require "workers.test"
local json = require "workers.json"
local PAGE = "https://api.example.com/items?size=2&page="
local function tool(key, input) return test.run(key, { input = json.encode(input or {}) }) end
"""


class Harness(TestCase):
    def suite(self, *files, config=CONFIG, script=SCRIPT, options=(), env=None):
        """Runs `workers test` on these texts of test files; returns (exit code, stdout, stderr)."""
        self.folder = self.project(script, config, main="src/main.lua")
        for number, text in enumerate(files, 1):
            self.folder.write(f"tests/file{number}_test.lua", HEAD + text)
        return self.again(*options, env=env)

    def again(self, *options, env=None):
        result = self.folder.run("test", *options, env=env)
        self.assertNotIn("AddressSanitizer", result.stderr)
        self.assertNotIn("LeakSanitizer", result.stderr)
        return result.returncode, result.stdout, result.stderr

    def passes(self, text, **options):
        code, out, err = self.suite(text, **options)
        self.assertEqual(code, 0, out + err)
        return out

    def fails(self, text, *messages, **options):
        code, out, err = self.suite(text, **options)
        self.assertEqual(code, 1, out + err)
        for message in messages:
            self.assertIn(message, out)
        return out

    # ---- what passes ----

    def test_good_project(self):
        out = self.passes("""
test("two pages", function()
  test.http.on("GET", PAGE .. 1, { json = { more = true, items = {
    { id = "1", name = "A", status = "Open", due = "2026-01-02", count = 1.5, done = true, tags = { "a", "b" } } } } })
  test.http.on("GET", PAGE .. 2, { json = { more = false, items = { { id = "0", name = "B" } } } })
  test.expect(test.cycle "tasksSync"):contains {
    added = 2, changed = 0, unchanged = 0, deleted = 0, stale = 0, pages = 2, requests = 2, outcome = "done", status = "HEALTHY" }
  test.expect(test.rows "tasks"):equals {
    { ID = "0", Name = "B" },
    { ID = "1", Name = "A", Status = "Open", Due = "2026-01-02", Count = 1.5, Done = true, Tags = { "a", "b" } },
  }
  test.expect(test.state "tasksSync"):equals(nil)
end)
test("a fresh store for each test, and the clock set back", function()
  test.expect(test.rows "tasks"):equals {}
  test.expect(#test.http.requests()):equals(0)
  test.expect(test.clock.now()):equals(1767225600000)
end)
test("a second cycle deletes what is gone", function()
  test.http.on("GET", PAGE .. 1, {
    { json = { more = false, items = { { id = "1", name = "A" }, { id = "2", name = "B" }, { id = "3", name = "C" } } } },
    { json = { more = false, items = { { id = "1", name = "A" }, { id = "2", name = "b" } } } },
  })
  test.cycle "tasksSync"
  test.expect(test.cycle "tasksSync"):contains { added = 0, changed = 1, unchanged = 1, deleted = 1 }
end)
test("a sweep that is held", function()
  test.http.on("GET", PAGE .. 1, {
    { json = { more = false, items = { { id = "1", name = "A" } } } },
    { json = { more = false, items = {} } }, { json = { more = false, items = {} } },
  })
  test.cycle "tasksSync"
  local held = test.cycle "tasksSync"
  test.expect(held):contains { outcome = "held", deleted = 0, status = "HELD" }
  test.expect(held.held):contains "no rows"
  test.expect(test.cycle("tasksSync", { allowDeletes = true })):contains { outcome = "done", deleted = 1 }
end)
test("state", function()
  test.cycle "growing"
  test.cycle "growing"
  test.expect(test.state "growing"):equals { n = 2 }
end)
test("one execute", function()
  test.expect(test.run("growing", { state = { n = 7 } })):contains { hasMore = false, nextState = { n = 8 } }
end)
test("errors, variables, logs", function()
  local err = test.expect(function() tool "raise" end):raises "short and stout"
  test.expect(err.name):equals "ToolExecutionError"
  test.env("API_KEY", "one")
  test.expect(tool "env"):equals { key = "one" }
  test.http.on("GET", PAGE .. 1, { { status = 429, headers = { ["Retry-After"] = "100" } }, { json = { more = false, items = {} } } })
  test.cycle "tasksSync"
  test.expect(test.logs()):contains { level = "warn", key = "tasksSync" }
  test.expect(test.logs()[1].text):matches "^rate limited; trying again in 100"
end)
test("the variables of the test before are gone", function()
  test.expect(tool "env"):equals {}
end)
""")
        self.assertEqual(out.count("    ok "), 8)
        self.assertTrue(out.startswith("TAP version 14\n# Subtest: tests/file1_test.lua\n    ok 1 - two pages\n"), out)
        self.assertTrue(out.endswith("    1..8\nok 1 - tests/file1_test.lua\n1..1\n# 8 passed, 0 failed in 1 file\n"), out)
        self.assertFalse((self.folder.folder / ".workers").exists(), "tests write nothing")

    # ---- what fails ----

    def test_wrong_mapping(self):
        self.fails("""
test("rows", function()
  test.http.on("GET", PAGE .. 1, { json = { more = false, items = { { id = "1", name = "A", status = "Done", count = 3 } } } })
  test.cycle "tasksSync"
  test.expect(test.rows "tasks"):equals { { ID = "1", Name = "A", Status = "Open", Due = "2026-01-01" } }
end)
""", "not ok 1 - rows", 'message: "3 differences; the first: ', 'at: "tests/file1_test.lua:9"',
                   "\n        value[1].Count: not expected, got 3\n",
                   '\n        value[1].Due: missing, expected "2026-01-01"\n',
                   '\n        value[1].Status: expected "Open", got "Done"\n',
                   "# 0 passed, 1 failed in 1 file")

    def test_skipped_page(self):
        self.fails("""
test("pages", function()
  test.http.on("GET", PAGE .. 1, { json = { more = false, items = {} } })
  test.http.on("GET", PAGE .. 2, { json = { more = false, items = {} } })
  test.expect(test.cycle "tasksSync"):contains { outcome = "done" }
end)
""", "the stub GET https://api.example.com/items?size=2&page=2 was not used", 'at: "tests/file1_test.lua:8"')

    def test_unused_rest_of_a_list(self):
        self.fails("""
test("list", function()
  test.http.on("GET", PAGE .. 1, { { json = { more = false, items = {} } }, { status = 500 } })
  test.http.on("GET", "https://api.example.com/other", {}, { optional = true })
  test.cycle "tasksSync"
end)
""", "(answered 1 of 2 times) was not used to its end")

    def test_unmatched_request(self):
        self.fails("""
test("page 3", function()
  test.http.on("GET", PAGE .. 7, {}, { optional = true })
  test.http.on("POST", "https://api.example.com/*", {}, { optional = true })
  test.expect(test.cycle "tasksSync"):contains { outcome = "done" }
end)
test("no stubs", function() tool("fetch", { url = "https://api.example.com/x" }) end)
test("swallowed", function() tool "swallow" end)
test("used up", function()
  test.http.on("GET", PAGE .. 1, { { json = { more = false, items = {} } } })
  test.cycle "tasksSync"
  test.cycle "tasksSync"
end)
""", "no stub answers GET https://api.example.com/items?page=1&size=2; the stubs are:\n",
                   "\n        GET https://api.example.com/items?size=2&page=7\n        POST https://api.example.com/*\n",
                   "not ok 2 - no stubs", 'declare one with test.http.on(\\"GET\\", \\"https://api.example.com/x\\"',
                   "not ok 3 - swallowed", "no stub answers GET https://api.example.com/quiet",
                   "not ok 4 - used up", "(answered 1 of 1 times)")

    def test_wrong_clock(self):
        self.fails("""
test("clock", function()
  test.clock.set "2026-03-01T12:00:00Z"
  test.expect(tool("sleep", { seconds = 60 }).now):equals "2026-03-01T12:00:00Z"
end)
test("no moment", function() test.clock.set "yesterday" end)
""", 'value: expected \\"2026-03-01T12:00:00Z\\", got \\"2026-03-01T12:01:00Z\\"',
                   'test.clock.set: \\"yesterday\\" is no moment')

    def test_crash_in_the_script(self):
        self.fails("""
test("crash", function() tool "crash" end)
test("raise", function() tool "raise" end)
test("sync", function()
  test.http.on("GET", PAGE .. 1, { json = { more = false } })
  local cycle = test.cycle "tasksSync"
  test.expect(cycle.error.message):contains "attempt to index a nil value"
  test.expect(cycle.status):equals "HEALTHY"
end)
""", "attempt to index a nil value (local 'nothing')", 'at: "src/main.lua:28"', "ToolExecutionError: short and stout",
                   'value: expected \\"HEALTHY\\", got \\"WARNING\\"')

    def test_endless_loop(self):
        self.fails("""
test("loop", function()
  while true do end
end)
test("a loop that catches", function()
  while true do pcall(function() while true do end end) end
end)
test("goes on", function() test.expect(1):equals(1) end)
""", "CPU limit of 0.5 s reached", 'at: "tests/file1_test.lua:7"', 'at: "tests/file1_test.lua:10"', "    ok 3 - goes on")

    def test_file_that_cannot_run(self):
        code, out, _ = self.suite("test('never closed'", "\nlocal nothing = nil\nnothing.x = 1", "test('good', function() end)")
        self.assertEqual(code, 1)
        self.assertRegex(out, r"not ok 1 - the file can be run\n      ---\n      message: .*file1_test.lua:\d+: ")
        self.assertIn("attempt to index a nil value (local 'nothing')", out)
        self.assertIn("    ok 1 - good", out)
        self.assertIn("# 1 passed, 2 failed in 3 files", out)
        code, out, _ = self.suite("test('x', function() end)", script="local worker = nil\nreturn worker")
        self.assertEqual(code, 1)
        self.assertIn('the script must end with \\"return worker\\"', out)

    def test_misuse(self):
        self.fails("""
test("expect", function() test.expect({ 1, 2 }):contains(3) end)
test("stub key", function() test.http.on("GET", PAGE, { staus = 200 }) end)
test("stub error", function() test.http.on("GET", PAGE, { error = "timeoot" }) end)
test("stub function", function()
  test.http.on("GET", PAGE .. 1, function() return { status = 7 } end)
  test.cycle "tasksSync"
end)
test("capability", function() test.run("nobody") end)
test("no sync", function() test.cycle "env" end)
test("database", function() test.rows "nothing" end)
test("raises", function() test.expect(function() end):raises "x" end)
test("module", function() test.expekt(1) end)
test("outside", function() test.recording "../other.json" end)
""", "none of the 2 elements is 3", 'a response has no \\"staus\\"; did you mean \\"status\\"?',
                   'there is no error \\"timeoot\\"; did you mean \\"timeout\\"?', "status must be a whole number from 200 to 599",
                   'the worker has no capability \\"nobody\\"', '\\"env\\" is a tool, not a sync',
                   'the worker has no database \\"nothing\\"', "nothing was raised; expected an error with",
                   r'workers.test has no \"expekt\"; did you mean \"expect\"?', "must be a path within the project")

    def test_only_in_tests(self):
        project = self.project('require "workers.test"\n')
        result = project.run("check")
        self.assertEqual(result.returncode, 1)
        self.assertIn("workers.test is for tests: put them into a file whose name ends in _test.lua, and run workers test",
                      result.stderr)

    def test_usage(self):
        project = self.project(SCRIPT)
        result = project.run("test")
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertIn("there are no tests below", result.stderr)
        project.write("a_test.lua", HEAD + 'test("one", function() end) test("two", function() end)')
        for arguments, message in ((["nowhere"], "cannot read nowhere"), (["main.lua"], "its name must end in _test.lua"),
                                   (["--jobs", "0"], "--jobs must be"), (["/tmp"], "is not below the project's folder"),
                                   (["--filter", "three"], 'no tests whose names contain "three"')):
            result = project.run("test", *arguments)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertIn(message, result.stderr)
        result = self.ok(project.run("test", "a_test.lua", "--filter", "tw"))
        self.assertIn("    ok 1 - two\n    1..1\n", result.stdout)
        self.assertNotIn("one", result.stdout)

    # ---- virtual time ----

    def test_virtual_time(self):
        before = time.monotonic()
        self.passes("""
test("an hour of sleep", function()
  local start = test.clock.now()
  test.expect(tool("sleep", { seconds = 3600 }).ms - start):equals(3600000)
  test.expect(test.clock.now() - start):equals(3600000)
end)
test("a timeout", function()
  local start = test.clock.now()
  test.expect(function() tool "limited" end):raises "not done within 10 s"
  test.expect(test.clock.now() - start):equals(10000)
end)
test("a wall limit", function()
  test.expect(function() tool("sleep", { seconds = 7201 }) end):raises "time limit of 7200 s reached"
end)
test("pacer and retries", function()
  test.http.on("GET", PAGE .. 1, { json = { more = true, items = {} } })
  test.http.on("GET", PAGE .. 2, { { status = 503 }, { error = "timeout" }, { json = { more = true, items = {} } } })
  test.http.on("GET", PAGE .. 3, { delay = 5, json = { more = false, items = {} } })
  local start = test.clock.now()
  test.expect(test.cycle "tasksSync"):contains { outcome = "done", requests = 5 }
  local sent = test.http.requests()
  test.expect(sent[1].time):equals(start)
  test.expect(sent[2].time - sent[1].time):equals(2000)
  test.expect(sent[4].time - sent[3].time > 60000):equals(true)
  test.expect(test.clock.now() - sent[5].time):equals(5000)
end)
test("a rate limit", function()
  test.http.on("GET", PAGE .. 1, { { status = 429, headers = { ["Retry-After"] = "86400" } }, { json = { more = false, items = {} } } })
  test.expect(test.cycle "tasksSync"):contains { outcome = "done" }
  local sent = test.http.requests()
  test.expect(sent[2].time - sent[1].time):equals(86400000)
end)
test("the clock moves on by hand", function()
  test.clock.set "2030-06-01T00:00:00Z"
  test.clock.advance(90)
  test.expect(test.clock.now()):equals(1906502490000)
  test.expect(os.date "!%F %T"):equals "2030-06-01 00:01:30"
  test.expect(os.time()):equals(1906502490)
end)
test("an older row is stale", function()
  local function item(updated) return { json = { more = false, items = { { id = "1", name = updated, updated = updated } } } } end
  test.http.on("GET", PAGE .. 1, { item "2026-01-02T00:00:00Z", item "2026-01-01T00:00:00Z" })
  test.cycle "tasksSync"
  test.expect(test.cycle "tasksSync"):contains { stale = 1, changed = 0 }
end)
""")
        self.assertLess(time.monotonic() - before, 20, "virtual time takes no real time")

    def test_a_tool_has_a_minute(self):
        self.passes("""
test("within it", function()
  local start = test.clock.now()
  test.expect(tool("sleep", { seconds = 59 }).ms - start):equals(59000)
end)
test("over it", function()
  test.expect(function() tool("sleep", { seconds = 61 }) end):raises "time limit of 60 s reached (raise limits.tool in workers.yaml"
end)
""", config=CONFIG.replace(", tool: 2h", ""))

    def test_waits_of_stubs_and_limits(self):
        self.fails("""
test("first", function()
  test.http.on("GET", PAGE .. 1, function() test.clock.advance(100) return { error = "timeout" } end)
  test.expect(test.cycle "tasksSync"):contains { outcome = "failed" }
end)
test("second", function() tool("sleep", { seconds = 1e8 }) end)
""", "    ok 1 - first", "time limit of 7200 s reached")

    def test_store_of_scripts(self):
        # A real store beside it, which tests must not see.
        project = self.project(SCRIPT, CONFIG, main="src/main.lua")
        self.folder = project
        self.ok(project.run("sync", "trigger", "growing"))
        before = project.dump()
        project.write("tests/store_test.lua", HEAD + """
test("values pass away with the virtual clock", function()
  test.expect(tool("remember", { set = "yes" })):equals { seen = "yes" }
  test.clock.advance(59)
  test.expect(tool "remember"):equals { seen = "yes" }
  test.clock.advance(2)
  test.expect(tool "remember"):equals {}
end)
test("queries read the rows of the test", function()
  test.http.on("GET", PAGE .. 1, { json = { more = false, items = { { id = "1", name = "A" }, { id = "2", name = "B" } } } })
  test.cycle "tasksSync"
  test.expect(tool("count").rows):equals { { name = "A" }, { name = "B" } }
  test.expect(test.state "growing"):equals(nil)
end)
test("and no others", function() test.expect(tool("count").rows):equals {} end)
""")
        code, out, err = self.again()
        self.assertEqual(code, 0, out + err)
        self.assertEqual(project.dump(), before)

    # ---- stubs ----

    def test_stubs(self):
        self.passes("""
test("a function gets the request", function()
  test.http.on("*", "https://api.example.com/*", function(request)
    return { status = 201, json = { method = request.method, n = request.json.n, token = request.headers.authorization } }
  end)
  test.env("API_KEY", "key-1")
  test.expect(tool("post", { url = "https://api.example.com/a/b", body = { n = 5 } })):equals {
    method = "POST", n = 5, token = "Bearer key-1" }
  local sent = test.http.requests()[1]
  test.expect(sent):contains { method = "POST", url = "https://api.example.com/a/b", json = { n = 5 } }
end)
test("redirects are followed, and hosts are held to the permissions", function()
  test.http.on("GET", "https://api.example.com/old", { status = 302, headers = { Location = "/new" } })
  test.http.on("GET", "https://api.example.com/new", { body = "here" })
  test.http.on("GET", "https://api.example.com/away", { status = 302, headers = { Location = "https://evil.example.com/" } })
  test.expect(tool("fetch", { url = "https://api.example.com/old" })):equals {
    status = 200, body = "here", url = "https://api.example.com/new" }
  test.expect(tool("fetch", { url = "https://api.example.com/away" }).code):equals "denied"
  test.expect(tool("fetch", { url = "https://evil.example.com/" }).message):contains "permissions: { net: "
end)
test("failures", function()
  test.http.on("GET", "https://api.example.com/reset", { error = "reset", delay = 3 })
  test.http.on("GET", "https://api.example.com/slow", { delay = 100, body = "late" })
  test.expect(tool("fetch", { url = "https://api.example.com/reset" }).code):equals "reset"
  test.expect(test.clock.now()):equals(1767225603000)
  test.expect(tool("fetch", { url = "https://api.example.com/slow", timeout = 7 })):contains {
    code = "timeout", message = "http.get: the stub did not answer within 7000 ms" }
  test.expect(test.clock.now()):equals(1767225610000)
end)
test("a stream", function()
  test.http.on("GET", "https://api.example.com/big", { body = ("x"):rep(1000000) })
  test.expect(tool("stream", { url = "https://api.example.com/big" })):equals { length = 1000000, status = 200 }
end)
""")

    # ---- files ----

    def test_files_in_parallel(self):
        slow = 'test("busy", function() local x = 0 for i = 1, 3e6 do x = x + i end end)'
        code, out, _ = self.suite(*[slow + f'\ntest("file {n}", function() end)' for n in range(1, 7)], options=("--jobs", "3"))
        self.assertEqual(code, 0, out)
        self.assertEqual(re.findall(r"file (\d)$", out, re.M), list("123456"), "files are printed in order")
        self.assertIn("1..6\n# 12 passed, 0 failed in 6 files\n", out)
        again = self.again("--jobs", "1")
        self.assertEqual(again[1], out)

    def test_files_at_once(self):
        # The upstream answers only when both files have asked.
        barrier = threading.Barrier(2, timeout=30)
        upstream = self.upstream()
        upstream.script("meet", lambda _: barrier.wait() * 0)
        text = f"""
test("meet", function()
  test.recording "fixtures/NAME.json"
  test.expect(tool("fetch", {{ url = "{upstream.url}/meet" }}).body):equals "0"
end)
"""
        code, out, err = self.suite(text.replace("NAME", "a"), text.replace("NAME", "b"), options=("--record", "--jobs", "2"))
        self.assertEqual(code, 0, out + err)

    def test_coverage(self):
        _, out, _ = self.suite("""
test("one", function() tool("sleep", { seconds = 1 }) end)
""", options=("--coverage",))
        lines = SCRIPT.split("\n")
        self.assertRegex(out, rf"# src/main.lua: \d+\.\d% of \d+ lines, not (?:\d+(?:-\d+)? )*\d")
        missed = re.search(r"lines, not (.*)", out)[1]
        ranges = [tuple(map(int, part.split("-"))) for part in missed.split()]
        inside = lambda n: any(r[0] <= n <= r[-1] for r in ranges)  # noqa: E731
        loop = next(n for n, line in enumerate(lines, 1) if "for i, t in" in line)
        self.assertTrue(inside(loop), "lines of the sync did not run")
        self.assertFalse(inside(1), "the first line ran")
        self.assertFalse(inside(len(lines) - 1), "the last line ran")
        _, out, _ = self.suite('test("loop", function() while true do end end)', options=("--coverage",))
        self.assertIn("CPU limit of 0.5 s reached", out)

    # ---- recordings ----

    def server(self):
        process = subprocess.Popen([sys.executable, REPOSITORY / "tests/support/http_server.py", "--exit-with-stdin"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
        self.addCleanup(lambda: (process.kill(), process.communicate()))
        return process, f"http://127.0.0.1:{process.stdout.readline().strip()}"

    def recorded(self, text, env):
        process, url = self.server()
        code, out, err = self.suite(text.replace("URL", url), options=("--record",), env=env)
        self.assertEqual(code, 0, out + err)
        process.kill()
        process.wait()
        return (self.folder.folder / "fixtures/echo.json").read_text(encoding="utf-8")

    ECHO = """
test("echo", function()
  test.recording "fixtures/echo.json"
  test.env("API_KEY", "only in tests")
  local first = tool("fetch", { url = "URL/echo", query = { page = 1, key = THE_SECRET } })
  test.expect(first.status):equals(200)
  test.expect(json.decode(first.body).method):equals "GET"
  test.expect(tool("fetch", { url = "URL/echo", query = { page = 2 } }).status):equals(200)
  test.expect(tool("fetch", { url = "URL/status/404" }).body):equals "status 404"
  test.expect(tool("post", { url = "URL/echo", body = { cursor = "abc" } }).method):equals "POST"
  test.expect(tool("post", { url = "URL/echo", body = { cursor = "def" } }).body):contains "def"
end)
""".replace("THE_SECRET", json.dumps(SECRET))

    def test_record_and_replay(self):
        # The server echoes all that it gets, credentials and cookie, into its answers.
        text = self.recorded(self.ECHO, {"API_KEY": SECRET})
        for hidden in (SECRET, "cookie-value-12345", "Bearer " + SECRET, "only in tests"):
            self.assertNotIn(hidden, text)
        self.assertIn("[redacted]", text)
        recorded = json.loads(text)
        self.assertEqual([e["request"]["method"] for e in recorded["exchanges"]], ["GET", "GET", "GET", "POST", "POST"])
        self.assertTrue(recorded["exchanges"][0]["request"]["url"].endswith("/echo?key=[redacted]&page=1"))
        self.assertEqual(recorded["exchanges"][3]["request"]["json"], {"cursor": "abc"})
        self.assertEqual(recorded["exchanges"][2]["response"]["body"], "status 404")
        self.assertNotIn("date", recorded["exchanges"][0]["response"]["headers"])
        # The server is gone: what answers now is the file.
        code, out, _ = self.again()
        self.assertEqual(code, 0, out)
        self.assertEqual((self.folder.folder / "fixtures/echo.json").read_text(encoding="utf-8"), text)

    def test_recording_is_stable(self):
        process, url = self.server()
        test = self.ECHO.replace("URL", url)
        self.suite(test, options=("--record",), env={"API_KEY": SECRET})
        path = self.folder.folder / "fixtures/echo.json"
        first = path.read_text(encoding="utf-8")
        self.assertEqual(self.again("--record", env={"API_KEY": SECRET})[0], 0)
        self.assertEqual(path.read_text(encoding="utf-8"), first)
        process.kill()

    def test_secret_in_other_forms(self):
        text = self.recorded("""
test("echo", function()
  test.recording "fixtures/echo.json"
  local key = tool("env").key
  test.expect(tool("fetch", { url = "URL/echo", query = { key = key } }).status):equals(200)
  test.expect(tool("post", { url = "URL/echo", body = { text = "a" .. (key or "") .. "b" } }).method):equals "POST"
end)
""", {"API_KEY": ODD_SECRET})
        for form in (ODD_SECRET, ODD_SECRET.replace('"', '\\"'), ODD_SECRET.replace('"', '\\\\\\"'), "p%26q", "%22r%2F", "r/ s%t"):
            self.assertNotIn(form, text)

    def test_recording_that_does_not_fit(self):
        self.recorded(self.ECHO, {"API_KEY": SECRET})
        path = self.folder.folder / "tests/file1_test.lua"
        good = path.read_text(encoding="utf-8")
        for old, new, message in (
            ("query = { page = 2 }", "query = { page = 3 }", "/echo?page=3 is not in the recording fixtures/echo.json, which has:"),
            ('body = { cursor = "abc" }', 'body = { cursor = "abd" }', "is not the one recorded in fixtures/echo.json"),
            ('"fixtures/echo.json"', '"fixtures/none.json"', "cannot read fixtures/none.json: No such file or directory; make it with workers test --record"),
            ("end)\n", '  tool("fetch", { url = URL .. "/status/404" })\nend)\n', "in the recording fixtures/echo.json, and was requested once more"),
        ):
            with self.subTest(message=message):
                url = re.search(r"http://127.0.0.1:\d+", good)[0]
                path.write_text(good.replace(old, new.replace("URL", json.dumps(url)), 1) if old != "end)\n"
                                else good[:good.rindex("end)")] + new.replace("end)\n", "").replace("URL", json.dumps(url)) + "end)\n", encoding="utf-8")
                code, out, _ = self.again()
                self.assertEqual(code, 1, out)
                self.assertIn(message, out)
        path.write_text(re.sub(r'.*status/404.*\n', "", good), encoding="utf-8")
        code, out, _ = self.again()
        self.assertEqual(code, 1, out)
        self.assertIn("/status/404 of the recording fixtures/echo.json was not requested", out)

    def test_failed_test_keeps_its_recording(self):
        self.recorded(self.ECHO, {"API_KEY": SECRET})
        path = self.folder.folder / "fixtures/echo.json"
        before = path.read_text(encoding="utf-8")
        code, out, _ = self.again("--record", env={"API_KEY": SECRET})  # the server is gone
        self.assertEqual(code, 1, out)
        self.assertEqual(path.read_text(encoding="utf-8"), before)

    def test_no_request_leaves(self):
        upstream = self.upstream()
        upstream.script("quiet", {"items": []})
        self.fails(f"""
test("real", function() tool("fetch", {{ url = "{upstream.url}/quiet" }}) end)
""", "no stub answers GET http://127.0.0.1:")
        self.assertEqual(upstream.count("quiet"), 0)


if __name__ == "__main__":
    main()
