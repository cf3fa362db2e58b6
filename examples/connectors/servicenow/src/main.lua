-- ServiceNow incidents: a backfill in the order of creation, a delta in the order of change and by the table of deletions.
--
-- Deleted rows leave their table without a trace; sys_audit_delete has a row for each. The delta reads the two in turn.

local workers = require "workers"
local env = require "workers.env"
local http = require "workers.http"
local paginate = require "workers.paginate"
local time = require "workers.time"

local Schema = workers.schema
local worker = workers.new()

local TABLES = env.get("SERVICENOW_URL", "https://example.service-now.com") .. "/api/now/table/"
local LAG = 15 -- seconds; rows are found some seconds after their timestamps

local incidents = worker:database("incidents", {
  type = "managed",
  initialTitle = "Incidents",
  primaryKeyProperty = "System ID",
  schema = {
    properties = {
      ["Short description"] = Schema.title(),
      ["System ID"] = Schema.richText(),
      Number = Schema.richText(),
      Updated = Schema.date(),
    },
  },
})

local api = worker:pacer("servicenow", { allowedRequests = 6000, intervalMs = 60000 })

-- ServiceNow writes 2026-01-15 10:30:00, in UTC.
local function to_iso(stamp)
  return (stamp:gsub(" ", "T")) .. "Z"
end

local function to_ms(stamp)
  return time.epochMs(to_iso(stamp))
end

-- The rows of a table after (at, id) in the order of (field, sys_id). ^NQ begins an alternative, which needs the scope
-- again. Pages may have fewer rows than asked for: only one without any is the last.
local function fetch(name, fields, field, scope)
  return function(at, id)
    local order = "ORDERBY" .. field .. "^ORDERBYsys_id"
    local query = scope .. order
    if at then
      query = scope .. field .. ">" .. at .. "^NQ" .. scope .. field .. "=" .. at .. "^sys_id>" .. id .. "^" .. order
    end
    return http.get(TABLES .. name, {
      query = { sysparm_query = query, sysparm_fields = fields, sysparm_limit = 200 },
      auth = { bearer = env.require "SERVICENOW_TOKEN" },
      pacer = api,
      retry = true,
    }):raise():json().result
  end
end

local FIELDS = "sys_id,number,short_description,sys_updated_on,sys_created_on"

local function upsert(incident)
  return {
    type = "upsert",
    key = incident.sys_id,
    upstreamUpdatedAt = to_iso(incident.sys_updated_on),
    properties = {
      ["Short description"] = incident.short_description,
      Number = incident.number,
      Updated = to_iso(incident.sys_updated_on),
    },
  }
end

worker:sync("incidentsBackfill", {
  database = incidents,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    return paginate.keyset(state, {
      at = "sys_created_on",
      key = "sys_id",
      unit = to_ms,
      fetch = fetch("incident", FIELDS, "sys_created_on", ""),
      change = upsert,
    })
  end,
})

local function updates(state)
  return paginate.keyset(state, {
    at = "sys_updated_on",
    key = "sys_id",
    unit = to_ms,
    lag = LAG,
    fetch = fetch("incident", FIELDS, "sys_updated_on", ""),
    change = upsert,
  })
end

local function deletions(state)
  return paginate.keyset(state, {
    at = "sys_created_on",
    key = "sys_id",
    unit = to_ms,
    lag = LAG,
    fetch = fetch("sys_audit_delete", "sys_id,documentkey,sys_created_on", "sys_created_on", "tablename=incident^"),
    change = function(deletion)
      return { type = "delete", key = deletion.documentkey }
    end,
  })
end

-- Deletions come last, so that an incident which its table still shows is gone again at the end of the cycle.
worker:sync("incidentsDelta", {
  database = incidents,
  mode = "incremental",
  schedule = "5m",
  execute = function(state)
    return paginate.streams(state, { { "updates", updates }, { "deletions", deletions } })
  end,
})

return worker
