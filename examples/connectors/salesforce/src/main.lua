-- Salesforce accounts: a backfill in the order of creation, a delta in the order of change, deletions included.
--
-- Neither `done` nor the length of a page says whether there is more: a page without records does.

local workers = require "workers"
local env = require "workers.env"
local http = require "workers.http"
local paginate = require "workers.paginate"

local Schema = workers.schema
local worker = workers.new()

local API = env.get("SALESFORCE_URL", "https://example.my.salesforce.com") .. "/services/data/v61.0"
local LAG = 15 -- seconds; records are found up to 10 s after their timestamps, and clocks differ

local accounts = worker:database("accounts", {
  type = "managed",
  initialTitle = "Accounts",
  primaryKeyProperty = "Salesforce ID",
  schema = {
    properties = {
      Name = Schema.title(),
      ["Salesforce ID"] = Schema.richText(),
      Created = Schema.date(),
      Modified = Schema.date(),
    },
  },
})

local api = worker:pacer("salesforce", { allowedRequests = 6000, intervalMs = 60000 })

-- Salesforce writes 2026-01-15T10:30:00.000+0000; SOQL and ISO 8601 want the Z.
local function normalize(stamp)
  return (stamp:gsub("%+0000$", "Z"))
end

local SOQL = "SELECT Id, Name, CreatedDate, SystemModstamp, IsDeleted FROM Account%s ORDER BY %s ASC, Id ASC LIMIT 200"

-- The accounts after (at, id) in the order of a field. Equal timestamps are common, since a bulk load writes many records
-- in one second, so that the id decides among them.
local function fetch(endpoint, field)
  return function(at, id)
    local after = at and (" WHERE %s > %s OR (%s = %s AND Id > '%s')"):format(field, at, field, at, id) or ""
    local records = http.get(API .. endpoint, {
      query = { q = SOQL:format(after, field) },
      auth = { bearer = env.require "SALESFORCE_TOKEN" },
      pacer = api,
      retry = true,
    }):raise():json().records
    for _, record in ipairs(records) do
      record.CreatedDate, record.SystemModstamp = normalize(record.CreatedDate), normalize(record.SystemModstamp)
    end
    return records
  end
end

local function change(account)
  if account.IsDeleted then
    return { type = "delete", key = account.Id }
  end
  return {
    type = "upsert",
    key = account.Id,
    upstreamUpdatedAt = account.SystemModstamp,
    properties = { Name = account.Name, Created = account.CreatedDate, Modified = account.SystemModstamp },
  }
end

-- CreatedDate never changes, so no record moves while the list is read.
worker:sync("accountsBackfill", {
  database = accounts,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    return paginate.keyset(state, { at = "CreatedDate", key = "Id", fetch = fetch("/query", "CreatedDate"), change = change })
  end,
})

-- queryAll has the records in the recycle bin as well; a deletion moves SystemModstamp like any other change.
worker:sync("accountsDelta", {
  database = accounts,
  mode = "incremental",
  schedule = "5m",
  execute = function(state)
    return paginate.keyset(state, {
      at = "SystemModstamp",
      key = "Id",
      lag = LAG,
      fetch = fetch("/queryAll", "SystemModstamp"),
      change = change,
    })
  end,
})

return worker
