-- What is new or has changed, by time and id. For records that are never deleted, such as log entries or measurements.
--
-- The service is asked for what comes after (time, id). With the time alone, records with equal times would be lost. The first
-- cycle has no time and reads everything; each later one begins a little before the end of the last, for what shows up late.

local workers = require "workers"
local env = require "workers.env"
local http = require "workers.http"
local paginate = require "workers.paginate"

local Schema = workers.schema
local worker = workers.new()

local BASE = env.get("EXAMPLE_URL", "https://api.example.com")
local LAG = 30 -- seconds; how late a record may show up, and how far the clocks may be apart

local api = worker:pacer("exampleApi", { allowedRequests = 600, intervalMs = 60000 })

local entries = worker:database("entries", {
  type = "managed",
  initialTitle = "Entries",
  primaryKeyProperty = "Entry ID",
  schema = {
    properties = {
      Text = Schema.title(),
      ["Entry ID"] = Schema.richText(),
      Level = Schema.select { "info", "warning", "error" },
      At = Schema.date(),
    },
  },
})

-- workers: ignore deletes-never-emitted entries of a journal are never removed
worker:sync("entriesSync", {
  database = entries,
  mode = "incremental",
  schedule = "5m",
  execute = function(state)
    return paginate.keyset(state, {
      at = "updatedAt",
      key = "id",
      lag = LAG,
      fetch = function(at, id)
        return http.get(BASE .. "/entries", {
          query = { after = at, afterId = id, limit = 100 },
          auth = { bearer = env.require "EXAMPLE_TOKEN" },
          pacer = api,
          retry = true,
        }):raise():json().items
      end,
      change = function(entry)
        return {
          type = "upsert",
          key = entry.id,
          upstreamUpdatedAt = entry.updatedAt,
          properties = { Text = entry.text, Level = entry.level, At = entry.updatedAt },
        }
      end,
    })
  end,
})

return worker
