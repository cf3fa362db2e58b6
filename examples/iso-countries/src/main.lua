-- The countries of the world and their subdivisions, from ISO 3166 as Debian's package iso-codes has it: two databases,
-- linked in both directions, filled by two syncs.
--
-- Scripts read files below the project's folder only, so data/ holds copies of
-- /usr/share/iso-codes/json/iso_3166-1.json and iso_3166-2.json.

local workers = require "workers"
local fs = require "workers.fs"
local types = require "subdivision_types"

local Schema, Builder = workers.schema, workers.builder

local COUNTRIES_PER_PAGE = 100
local SUBDIVISIONS_PER_PAGE = 500

local worker = workers.new()

local countries = worker:database("countries", {
  type = "managed",
  initialTitle = "Countries",
  primaryKeyProperty = "Alpha-2",
  schema = {
    databaseIcon = Builder.emojiIcon "🌍",
    properties = {
      Name = Schema.title(),
      ["Alpha-2"] = Schema.richText(),
      ["Alpha-3"] = Schema.richText(),
      Numeric = Schema.richText(), -- "004" is not the number 4
      Flag = Schema.richText(),
      ["Official Name"] = Schema.richText(),
      ["Common Name"] = Schema.richText(),
    },
  },
})

local subdivisions = worker:database("subdivisions", {
  type = "managed",
  initialTitle = "Subdivisions",
  primaryKeyProperty = "Code",
  schema = {
    properties = {
      Name = Schema.title(),
      Code = Schema.richText(),
      Type = Schema.select(types),
      Country = Schema.relation("countries", { twoWay = true, relatedPropertyName = "Subdivisions" }),
      Parent = Schema.relation("subdivisions", { twoWay = true, relatedPropertyName = "Children" }),
    },
    subItems = { parentPropertyName = "Parent", childPropertyName = "Children" },
  },
})

-- One file is read once for all pages of a cycle, unless the process starts again in the middle of it.
local files = {}
local function entries(name)
  if not files[name] then
    files[name] = fs.readJson("data/iso_" .. name .. ".json")[name]
  end
  return files[name]
end

-- The page of `list` that begins after state.offset entries, each made into a change.
local function page_of(list, state, size, to_change)
  local offset = state and state.offset or 0
  local last = math.min(offset + size, #list)
  local changes = {}
  for i = offset + 1, last do
    changes[#changes + 1] = to_change(list[i])
  end
  local has_more = last < #list
  return { changes = changes, hasMore = has_more, nextState = has_more and { offset = last } or nil }
end

worker:sync("countriesFromIso", {
  database = countries,
  mode = "replace",
  schedule = "7d",
  execute = function(state)
    return page_of(entries "3166-1", state, COUNTRIES_PER_PAGE, function(country)
      return {
        type = "upsert",
        key = country.alpha_2,
        icon = Builder.emojiIcon(country.flag),
        properties = {
          Name = country.name,
          ["Alpha-3"] = country.alpha_3,
          Numeric = country.numeric,
          Flag = country.flag,
          ["Official Name"] = country.official_name or workers.null,
          ["Common Name"] = country.common_name or workers.null,
        },
      }
    end)
  end,
})

worker:sync("subdivisionsFromIso", {
  database = subdivisions,
  mode = "replace",
  schedule = "7d",
  execute = function(state)
    return page_of(entries "3166-2", state, SUBDIVISIONS_PER_PAGE, function(subdivision)
      local country = subdivision.code:match "^(%u%u)%-"
      -- Some parents are written without their country: "NX" for "AZ-NX".
      local parent = subdivision.parent
      if parent and not parent:find("-", 1, true) then
        parent = country .. "-" .. parent
      end
      return {
        type = "upsert",
        key = subdivision.code,
        properties = {
          Name = subdivision.name,
          Type = subdivision.type,
          Country = Builder.relation(country),
          Parent = parent and Builder.relation(parent) or workers.null,
        },
      }
    end)
  end,
})

return worker
