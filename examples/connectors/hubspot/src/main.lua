-- HubSpot contacts: a backfill in the order of their ids, a delta in the order of change and by the list of archived ones.
--
-- A search goes no further than 10,000 results. So both go on with a filter instead of from page to page: the backfill
-- after the last id, the delta at the last timestamp.

local workers = require "workers"
local env = require "workers.env"
local http = require "workers.http"
local json = require "workers.json"
local paginate = require "workers.paginate"
local time = require "workers.time"

local Schema = workers.schema
local worker = workers.new()

local CONTACTS = env.get("HUBSPOT_URL", "https://api.hubapi.com") .. "/crm/v3/objects/contacts"
local PAGE = 100
local LAG = 15 -- seconds; the search finds contacts some seconds after their change

local contacts = worker:database("contacts", {
  type = "managed",
  initialTitle = "Contacts",
  primaryKeyProperty = "Contact ID",
  schema = {
    properties = {
      Name = Schema.title(),
      ["Contact ID"] = Schema.richText(),
      Created = Schema.date(),
      Modified = Schema.date(),
    },
  },
})

local api = worker:pacer("hubspot", { allowedRequests = 5000, intervalMs = 60000 })

-- The contacts whose property is greater than the value, or as great, in its order; and whether there is more.
local function search(property, operator, value, after)
  local filter = { propertyName = property, operator = operator, value = value }
  local body = http.post(CONTACTS .. "/search", {
    json = {
      filterGroups = value and { { filters = { filter } } } or json.array {},
      sorts = { { propertyName = property, direction = "ASCENDING" } },
      properties = { "firstname", "createdate", "lastmodifieddate" },
      limit = PAGE,
      after = after,
    },
    auth = { bearer = env.require "HUBSPOT_TOKEN" },
    pacer = api,
    retry = { unsafe = true }, -- a search may be repeated, although it is a POST
  }):raise():json()
  return body.results, body.paging ~= nil
end

local function upsert(contact)
  local properties = contact.properties
  return {
    type = "upsert",
    key = contact.id,
    upstreamUpdatedAt = properties.lastmodifieddate,
    properties = { Name = properties.firstname, Created = properties.createdate, Modified = properties.lastmodifieddate },
  }
end

worker:sync("contactsBackfill", {
  database = contacts,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    return paginate.cursor(state, {
      fetch = function(last)
        local items, more = search("hs_object_id", "GT", last)
        return items, more and items[#items].id or nil
      end,
      change = upsert,
    })
  end,
})

-- What changed. The search cannot sort by a second field, so contacts with one timestamp, as an import makes them, are read
-- page by page.
local function updates(state)
  return paginate.keyset(state, {
    at = function(contact)
      return contact.properties.lastmodifieddate
    end,
    lag = LAG,
    tie = "page",
    fetch = function(at, page)
      local since = at and tostring(time.epochMs(at))
      return search("lastmodifieddate", "GTE", since, tostring((page - 1) * PAGE))
    end,
    change = upsert,
  })
end

-- What was archived: the list cannot be asked for a time, so that it is read as a whole. After the updates, so that a
-- contact which the search still finds does not come back for long.
local function archived(state)
  return paginate.cursor(state, {
    fetch = function(after)
      local body = http.get(CONTACTS, {
        query = { archived = "true", limit = PAGE, after = after },
        auth = { bearer = env.require "HUBSPOT_TOKEN" },
        pacer = api,
        retry = true,
      }):raise():json()
      return body.results, body.paging and body.paging.next.after
    end,
    change = function(contact)
      return { type = "delete", key = contact.id }
    end,
  })
end

worker:sync("contactsDelta", {
  database = contacts,
  mode = "incremental",
  schedule = "5m",
  execute = function(state)
    return paginate.streams(state, { { "updates", updates }, { "archived", archived } })
  end,
})

return worker
