-- Page after page with a cursor, and the state by hand. paginate.cursor does the same, and also notices a cursor that comes again.
--
-- The cursor is the service's; nothing else is in the state. It is nil on the first page of each cycle, so that all is read anew.

local workers = require "workers"
local env = require "workers.env"
local http = require "workers.http"

local Schema = workers.schema
local worker = workers.new()

local BASE = env.get("EXAMPLE_URL", "https://api.example.com")
local PAGE = 100

local api = worker:pacer("exampleApi", { allowedRequests = 600, intervalMs = 60000 })

local products = worker:database("products", {
  type = "managed",
  initialTitle = "Products",
  primaryKeyProperty = "Product ID",
  schema = {
    properties = {
      Name = Schema.title(),
      ["Product ID"] = Schema.richText(),
      Price = Schema.number "euro",
      Tags = Schema.multiSelect { "new", "sale" },
    },
  },
})

local function to_change(product)
  return {
    type = "upsert",
    key = product.id,
    properties = { Name = product.name, Price = product.price, Tags = product.tags },
  }
end

worker:sync("productsSync", {
  database = products,
  mode = "replace",
  schedule = "6h",
  -- A service that answers with half a list is more likely than one that has lost more than a fifth of its products.
  sweep = { maxDeleteRatio = 0.2, minRows = 20 },
  execute = function(state)
    local body = http.get(BASE .. "/products", {
      query = { limit = PAGE, cursor = state and state.cursor },
      auth = { bearer = env.require "EXAMPLE_TOKEN" },
      pacer = api,
      retry = true,
    }):raise():json()
    local changes = {}
    for i, product in ipairs(body.items) do
      changes[i] = to_change(product)
    end
    local cursor = body.nextCursor
    if cursor == nil or cursor == workers.null or cursor == "" then
      return { changes = changes, hasMore = false }
    end
    return { changes = changes, hasMore = true, nextState = { cursor = cursor } }
  end,
})

return worker
