"""A script without a project: what it has left behind can be looked at; and small promises of the output."""
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import harness

SCRIPT = """
local workers = require "workers"
local Schema = workers.schema
local worker = workers.new()
local words = worker:database("words", { type = "managed", initialTitle = "Words", primaryKeyProperty = "Word",
  schema = { properties = { Word = Schema.title() } } })
worker:sync("fill", { database = words, schedule = "manual", execute = function()
  return { changes = { { type = "upsert", key = "one", properties = {} } }, hasMore = false }
end })
worker:webhook("hook", { title = "Hook", description = "Receives.",
  verify = function(request) if request.token ~= "right" then error(workers.WebhookVerificationError("wrong token")) end end,
  execute = function() end })
return worker
"""


class ScriptAlone(harness.TestCase):
    def alone(self):
        project = self.project(SCRIPT)
        (project.folder / "workers.yaml").unlink()
        self.ok(project.run("run", "main.lua"))
        return project

    def test_rows_runs_and_variables_can_be_looked_at(self):
        project = self.alone()
        self.assertEqual(self.ok(project.run("db", "query", "SELECT word FROM words", "--plain")).stdout, "one\n")
        self.assertIn("sync:fill", self.ok(project.run("runs", "list")).stdout)
        self.ok(project.run("env", "set", "A_NAME=a value"))
        self.assertTrue(self.ok(project.run("env", "list", "--plain")).stdout.startswith("A_NAME\t"))

    def test_what_needs_the_script_says_how_to_name_it(self):
        result = self.ok(self.alone().run("sync", "status"), 1)
        self.assertIn("there is no workers.yaml here to name the script: write one with main: script.lua", result.stderr)

    def test_plain_times_of_sync_status_are_utc(self):
        project = self.project(SCRIPT)
        self.ok(project.run("run"))
        fields = self.ok(project.run("sync", "status", "--plain")).stdout.rstrip("\n").split("\t")
        for field in fields[4:6]:
            self.assertRegex(field, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    def test_a_verify_function_may_return_nothing(self):
        project = self.project(SCRIPT)
        right = self.ok(project.run("exec", "hook", "-d", '{"request":{"token":"right"}}'))
        self.assertEqual(right.stdout, '{"status":"success"}\n')
        self.assertIn("wrong token", self.ok(project.run("exec", "hook", "-d", '{"request":{"token":"x"}}'), 1).stderr)

    def test_notes_come_after_the_table_in_one_pipe(self):
        project = self.alone()
        both = subprocess.run([harness.BINARY, "db", "query", "SELECT word FROM words"], cwd=project.folder,
                              env=project.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, encoding="utf-8", timeout=60)
        self.assertEqual(re.sub(r" +\n", "\n", both.stdout), "word\none\n1 row\n")


if __name__ == "__main__":
    harness.main()
