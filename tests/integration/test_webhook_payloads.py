#!/usr/bin/env python3
"""All example payloads of GitHub's webhooks, served in pages, stored whole and in typed properties, compared byte for byte."""
import collections
import hashlib
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import npm  # noqa: E402
from harness import Page, TestCase, main  # noqa: E402

PAYLOADS = 329
PER_PAGE = 25

SCRIPT = """
local http = require "workers.http"
local json = require "workers.json"
local workers = require "workers"
local Schema = workers.schema
local worker = workers.new()
local null = workers.null

local payloads = worker:database("payloads", {
  type = "managed", initialTitle = "Payloads", primaryKeyProperty = "Key",
  schema = { properties = {
    Key = Schema.title(),
    Raw = Schema.richText(),
    Canonical = Schema.richText(),
    Event = Schema.select { { name = "push" } },
    Action = Schema.richText(),
    ["Sender ID"] = Schema.number(),
    ["Sender"] = Schema.richText(),
    ["Site Admin"] = Schema.checkbox(),
    ["Repository ID"] = Schema.number(),
    ["Repository Link"] = Schema.url(),
    ["Big ID"] = Schema.number(),
    Fields = Schema.multiSelect { { name = "action" } },
    Size = Schema.number(),
  } },
})

local function sorted_names(object)
  local names = {}
  for name in pairs(object) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function or_null(value)
  if value == nil then return null end
  return value
end

worker:sync("payloadsSync", { database = payloads, schedule = "manual", execute = function(state)
  local page = state and state.page or 1
  local body = http.get("URL/payloads/" .. page):raise():json()
  local changes = {}
  for i, item in ipairs(body.items) do
    local payload = json.decode(item.text)
    local sender = payload.sender or {}
    local repository = payload.repository or {}
    changes[i] = { type = "upsert", key = item.key, properties = {
      Raw = item.text,
      Canonical = json.encode(payload, { sortKeys = true }),
      Event = item.event,
      Action = or_null(payload.action),
      ["Sender ID"] = or_null(sender.id),
      Sender = or_null(sender.login),
      ["Site Admin"] = or_null(sender.site_admin),
      ["Repository ID"] = or_null(repository.id),
      ["Repository Link"] = or_null(repository.html_url),
      ["Big ID"] = item.big,
      Fields = sorted_names(payload),
      Size = #item.text,
    } }
  end
  return { changes = changes, hasMore = body.more, nextState = body.more and { page = page + 1 } or nil }
end })

return worker
"""

# Lua decodes the raw text and encodes it: what comes out is compared with what the same function makes of the source.
ENCODE = """
local json = require "workers.json"
local workers = require "workers"
local worker = workers.new()
worker:tool("canonical", { title = "c", description = "d", schema = workers.j.object { texts = workers.j.array(workers.j.string()) },
  execute = function(input)
    local out = {}
    for i, text in ipairs(input.texts) do out[i] = json.encode(json.decode(text), { sortKeys = true }) end
    return out
  end })
return worker
"""


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class WebhookPayloadsTest(TestCase):
    @classmethod
    def setUpClass(cls):
        place = npm.ensure()
        source = json.loads((place / "node_modules/@octokit/webhooks-examples/api.github.com/index.json").read_text())
        cls.items = []
        for event in source:
            for number, payload in enumerate(event["examples"]):
                # Indented with letters escaped here, compact with Unicode there, so that the raw texts are of both kinds.
                odd = number % 2 == 1
                text = json.dumps(payload, ensure_ascii=odd, indent=None if odd else 1)
                big = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)
                cls.items.append({"key": f"{event['name']}/{number} ünï✓", "event": event["name"], "text": text, "big": big})
        cls.payloads = {item["key"]: json.loads(item["text"]) for item in cls.items}

    def serve(self, items):
        upstream = self.upstream()
        pages = [items[at:at + PER_PAGE] for at in range(0, len(items), PER_PAGE)]
        for number, chunk in enumerate(pages, 1):
            body = {"items": chunk, "more": number < len(pages)}
            upstream.script(f"payloads/{number}", Page(json.dumps(body, ensure_ascii=number % 2 == 0).encode()))
        return upstream, len(pages)

    def test_every_payload_is_stored_as_it_came(self):
        self.assertEqual(len(self.items), PAYLOADS)
        upstream, pages = self.serve(self.items)
        project = self.project(SCRIPT.replace("URL", upstream.url))
        result = self.ok(project.run("run", "--json"))
        summary = json.loads(result.stdout)[0]
        self.assertEqual((summary["added"], summary["pages"], summary["requests"]), (PAYLOADS, pages, pages))
        columns = ("raw", "canonical", "event", "action", "sender_id", "sender", "site_admin", "repository_id", "repository_link",
                   "big_id", "fields", "size", "key")
        rows = {row[-1]: dict(zip(columns, row)) for row in project.rows(f"SELECT {', '.join(columns)}, _key FROM payloads")}
        self.assertEqual(set(rows), {item["key"] for item in self.items})
        for item in self.items:
            row, payload = rows[item["key"]], self.payloads[item["key"]]
            sender, repository = payload.get("sender") or {}, payload.get("repository") or {}
            self.assertEqual(row["raw"].encode(), item["text"].encode(), item["key"])
            self.assertEqual(row["canonical"], canonical(payload), item["key"])
            self.assertEqual(row["event"], item["event"])
            self.assertEqual(row["action"], payload.get("action"))
            self.assertEqual(row["sender_id"], sender.get("id"))
            self.assertEqual(row["sender"], sender.get("login"))
            self.assertEqual(row["site_admin"], sender.get("site_admin"))
            self.assertEqual(row["repository_id"], repository.get("id"))
            self.assertEqual(row["repository_link"], repository.get("html_url"))
            self.assertEqual(row["big_id"], item["big"], "a 64-bit integer to its last digit")
            self.assertEqual(json.loads(row["fields"]), sorted(payload))
            self.assertEqual(row["size"], len(item["text"].encode()))
            self.assertEqual(row["key"], item["key"])
        self.assertGreater(max(abs(row["big_id"]) for row in rows.values()), 2**62)
        types = collections.Counter(row[0] for row in project.rows("SELECT typeof(big_id) FROM payloads"))
        self.assertEqual(types, {"integer": PAYLOADS})

        # The same again is the same: nothing is changed, and no row is written.
        before = project.rows("SELECT * FROM payloads")
        again = json.loads(self.ok(project.run("run", "--json")).stdout)[0]
        self.assertEqual((again["added"], again["changed"], again["unchanged"], again["deleted"]), (0, 0, PAYLOADS, 0))
        self.assertEqual(project.rows("SELECT * FROM payloads"), before)

        # Exported, they are still the same.
        exported = json.loads(self.ok(project.run("db", "export", "payloads", "--format", "json")).stdout)
        self.assertEqual({row["_key"]: row["raw"] for row in exported}, {item["key"]: item["text"] for item in self.items})
        self.assertEqual({row["_key"]: row["big_id"] for row in exported}, {item["key"]: item["big"] for item in self.items})

    def test_encoding_with_sorted_keys_is_the_same_whatever_the_text_looked_like(self):
        project = self.project(ENCODE)
        texts = [item["text"] for item in self.items]
        others = [json.dumps(json.loads(text), indent=3, ensure_ascii=True) for text in texts]
        results = []
        for given in (texts, others):
            project.write("input.json", json.dumps({"texts": given}))
            results.append(json.loads(self.ok(project.run("exec", "canonical", "-d", "@input.json")).stdout))
        self.assertEqual(results[0], results[1])
        self.assertEqual([json.loads(text) for text in results[0]], list(self.payloads.values()))
        self.assertEqual(results[0], [canonical(payload) for payload in self.payloads.values()])


if __name__ == "__main__":
    main()
