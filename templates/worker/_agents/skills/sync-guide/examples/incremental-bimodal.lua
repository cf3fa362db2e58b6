-- Two ways to one table: a backfill that reads everything, and a delta that reads what changed and what was deleted.
--
-- The backfill goes by creation, which never changes, so that no record moves while it reads. Its sweep also finds what the delta
-- missed. The delta goes by the time of the change. Deletions come after the updates: a replica may show a deleted record a while yet.

local workers = require "workers"
local env = require "workers.env"
local http = require "workers.http"
local paginate = require "workers.paginate"

local Schema = workers.schema
local worker = workers.new()

local BASE = env.get("EXAMPLE_URL", "https://api.example.com")
local LAG = 15 -- seconds

local api = worker:pacer("exampleApi", { allowedRequests = 600, intervalMs = 60000 })

local contacts = worker:database("contacts", {
  type = "managed",
  initialTitle = "Contacts",
  primaryKeyProperty = "Contact ID",
  schema = {
    properties = {
      Name = Schema.title(),
      ["Contact ID"] = Schema.richText(),
      Email = Schema.email(),
      Updated = Schema.date(),
    },
  },
})

local function get(path, query)
  query.limit = 100
  return http.get(BASE .. path, {
    query = query,
    auth = { bearer = env.require "EXAMPLE_TOKEN" },
    pacer = api,
    retry = true,
  }):raise():json().items
end

-- One mapping for both syncs. upstreamUpdatedAt keeps a slow page of one from undoing what the other has written.
local function upsert(contact)
  return {
    type = "upsert",
    key = contact.id,
    upstreamUpdatedAt = contact.updatedAt,
    properties = { Name = contact.name, Email = contact.email, Updated = contact.updatedAt },
  }
end

-- A list in the order of (field, id), from where the state says.
local function list(path, field, change)
  return function(state)
    return paginate.keyset(state, {
      at = field,
      lag = LAG,
      fetch = function(at, id)
        return get(path, { sort = field, after = at, afterId = id })
      end,
      change = change,
    })
  end
end

worker:sync("contactsBackfill", {
  database = contacts,
  mode = "replace",
  schedule = { cron = "0 3 * * sun", timezone = "UTC" },
  execute = list("/contacts", "createdAt", upsert),
})

local updates = list("/contacts", "updatedAt", upsert)
local deletions = list("/contacts/deleted", "deletedAt", function(deletion)
  return { type = "delete", key = deletion.id }
end)

worker:sync("contactsDelta", {
  database = contacts,
  mode = "incremental",
  schedule = "5m",
  execute = function(state)
    return paginate.streams(state, { { "updates", updates }, { "deletions", deletions } })
  end,
})

return worker
