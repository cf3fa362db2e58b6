"""What the tests of the rules share: a worker that asks an upstream for its pages and returns what it got, so that a test
scripts the whole sync.
"""
from harness import TestCase

HEAD = """
local workers = require "workers"
local http = require "workers.http"
local Schema, Builder = workers.schema, workers.builder
local worker = workers.new()

-- Returns what the upstream answers: { changes, hasMore, nextState }, or { fail } or { retryAfter }.
local function from(path)
  return function(state, ctx)
    local answer = http.post("URL/" .. path, { json = { state = state, preview = ctx.preview } }):raise():json()
    if answer.fail then error(answer.fail) end
    if answer.retryAfter then error(workers.RateLimitError { retryAfter = answer.retryAfter }) end
    for _, change in ipairs(answer.changes) do
      if change.icon then change.icon = Builder.emojiIcon(change.icon) end
      if change.cover then change.cover = Builder.imageCover(change.cover) end
    end
    return answer
  end
end
"""

ITEMS = """
local items = worker:database("items", {
  type = "managed", initialTitle = "Items", primaryKeyProperty = "ID",
  schema = { properties = {
    Name = Schema.title(), ID = Schema.richText(), Count = Schema.number(), Done = Schema.checkbox(),
    Due = Schema.date(), Tags = Schema.multiSelect { { name = "red" } }, State = Schema.select { { name = "open" } },
  } },
})
"""

FULL = 'worker:sync("full", { database = items, schedule = "manual", execute = from "full" })\n'
DELTA = 'worker:sync("delta", { database = items, mode = "incremental", schedule = "manual", execute = from "delta" })\n'
END = "return worker\n"


def upsert(key, **properties):
    """An upsert; names that begin with a small letter are fields of the change."""
    change = {"type": "upsert", "key": key, "properties": {"Name": f"Item {key}"}}
    for name, value in properties.items():
        if name[0].islower():
            change[name] = value
        else:
            change["properties"][name] = value
    return change


def bare(key, **fields):
    """An upsert with these properties and no others."""
    return {"type": "upsert", "key": key, "properties": fields}


def delete(key):
    return {"type": "delete", "key": key}


def page(*changes, next=None):
    result = {"changes": list(changes), "hasMore": next is not None}
    if next is not None:
        result["nextState"] = next
    return result


def items(*keys):
    return [upsert(str(key)) for key in keys]


class RulesCase(TestCase):
    def setUp(self):
        self.up = self.upstream()

    def worker(self, *parts, config=None):
        """A project whose script is the parts, around the database "items" unless they bring their own."""
        self.p = self.project(self.script(*parts), config)
        return self.p

    def script(self, *parts):
        databases = () if any("worker:database" in part for part in parts) else (ITEMS,)
        return "".join([HEAD, *databases, *parts, END]).replace("URL", self.up.url)

    def sync(self, key, *pages, code=0, args=()):
        """One run of one sync over these pages."""
        if pages:
            self.up.script(key, *pages)
        return self.ok(self.p.run("run", "main.lua", key, *args), code)

    def keys(self, table="items"):
        return [row[0] for row in self.p.rows(f"SELECT _key FROM {table} ORDER BY _id")]

    def states(self, key):
        """The states execute was given, in order."""
        return [body.get("state") for body in self.up.requests[key]]

    def last_run(self, key="full"):
        columns = ("exit_code", "pages", "requests", "added", "changed", "unchanged", "deleted", "stale", "error")
        rows = self.p.rows(f"SELECT {', '.join(columns)} FROM _workers_runs WHERE key = ? ORDER BY id DESC LIMIT 1", key)
        return dict(zip(columns, rows[0]))
