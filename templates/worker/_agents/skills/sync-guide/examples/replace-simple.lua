-- Everything in one request: a list of countries that is small and seldom changes.
--
-- For lists of up to some thousand records. What the list no longer has is deleted at the end of the cycle.

local workers = require "workers"
local env = require "workers.env"
local http = require "workers.http"

local Schema, Builder = workers.schema, workers.builder
local worker = workers.new()

local BASE = env.get("EXAMPLE_URL", "https://api.example.com")

local api = worker:pacer("exampleApi", { allowedRequests = 60, intervalMs = 60000 })

local countries = worker:database("countries", {
  type = "managed",
  initialTitle = "Countries",
  primaryKeyProperty = "Code",
  schema = {
    properties = {
      Name = Schema.title(),
      Code = Schema.richText(),
      Population = Schema.number "number_with_commas",
      Continent = Schema.select { "Africa", "America", "Asia", "Europe", "Oceania" },
    },
  },
})

worker:sync("countriesSync", {
  database = countries,
  mode = "replace",
  schedule = "1d",
  execute = function()
    local list = http.get(BASE .. "/countries", { pacer = api, retry = true }):raise():json()
    local changes = {}
    for i, country in ipairs(list) do
      changes[i] = {
        type = "upsert",
        key = country.code,
        icon = Builder.emojiIcon(country.flag),
        properties = { Name = country.name, Population = country.population, Continent = country.continent },
      }
    end
    return { changes = changes, hasMore = false }
  end,
})

return worker
