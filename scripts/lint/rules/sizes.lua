-- How much a request asks for.

local tree = require "lint.tree"
local worker = require "lint.worker"

local SMALLEST, LARGEST = 10, 1000

-- What services call the number of items on a page, in small letters without signs.
local SIZE_NAMES = {
  limit = true, perpage = true, pagesize = true, maxresults = true, batchsize = true, sysparmlimit = true, top = true,
  first = true, maxpagesize = true, pagelimit = true, itemsperpage = true, resultsperpage = true,
}
-- What a request that asks for one page of several has as well.
local PAGE_NAMES = {
  page = true, offset = true, cursor = true, after = true, startingafter = true, pagetoken = true, startat = true,
  skip = true, sysparmoffset = true, startcursor = true, pagenumber = true,
}

local function plain(name)
  return type(name) == "string" and name:lower():gsub("[^%a]", "") or ""
end

local function is_odd_size(value, paged)
  if math.type(value) ~= "integer" then
    return false
  end
  return value > LARGEST or value < SMALLEST and value >= (paged and 1 or 2)
end

local function report_size(context, place, value)
  if value > LARGEST then
    context:report(place, ("pages of %d items: a page is one transaction, and is held in memory whole"):format(value),
      ("ask for %d at most; services often cut what is above 100 to 1000 anyway"):format(LARGEST))
  else
    context:report(place, ("pages of %d: many requests for few rows"):format(value),
      "ask for 100, or what the service allows")
  end
end

-- Whether it asks for one page of several.
local function is_paged(constructor)
  for _, item in ipairs(constructor.items) do
    if item.key and PAGE_NAMES[plain(tree.constant(item.key))] then
      return true
    end
  end
  return false
end

local function check_sizes(context, constructor)
  for _, item in ipairs(constructor.items) do
    local value = item.key and SIZE_NAMES[plain(tree.constant(item.key))] and tree.constant(item.value)
    if type(value) == "string" then
      value = math.tointeger(tonumber(value))
    end
    if is_odd_size(value, is_paged(constructor)) then
      report_size(context, item, value)
    end
  end
end

local BODIES = { "query", "json", "form" }

-- The bodies and queries of a request, as table constructors.
local function each_body(project, request, options, visit)
  local constructor = options and project:table_of(options, true)
  for _, name in ipairs(constructor and BODIES or {}) do
    local body = tree.field(constructor, name)
    visit(body and project:table_of(body, true))
  end
  if (project:builtin(request)) == "workers.graphql" and request.arguments[3] then
    visit(project:table_of(request.arguments[3], true)) -- the variables
  end
end

-- The sizes in an address: "https://api.example.com/items?limit=5".
local function check_address(context, address)
  local parts = address and tree.pieces(address) or {}
  for i, part in ipairs(parts) do
    parts[i] = part or "?" -- which ends no number
  end
  for name, digits in (table.concat(parts) .. "&"):gmatch "[?&]([%w_$]+)=(%d+)%f[&#]" do
    local value = SIZE_NAMES[plain(name)] and math.tointeger(tonumber(digits))
    if is_odd_size(value, true) then
      report_size(context, tree.origin(address), value)
    end
  end
end

-- The option size of paginate.offset.
local function check_paginate(context, call)
  local module, name = context.project:builtin(call)
  local options = module == "workers.paginate" and name == "offset" and call.arguments[2]
  local constructor = options and context.project:table_of(options)
  local size = constructor and tree.field(constructor, "size")
  if size and is_odd_size(tree.constant(size), true) then
    report_size(context, size, tree.constant(size))
  end
end

local function batch_size(context)
  local project, seen, checked = context.project, {}, {}
  local function check(constructor)
    if constructor and not checked[constructor] then
      checked[constructor] = true
      check_sizes(context, constructor)
    end
  end
  for sync in worker.syncs(context.worker) do
    project:walk_reach(sync.execute, function(node)
      if seen[node] then -- a function that several syncs share
        return
      end
      seen[node] = true
      local is_request, options = worker.request(project, node)
      if is_request then
        each_body(project, node, options, check)
        check_address(context, node.arguments[1])
      elseif node.kind == "Table" and is_paged(node) then -- it goes into a request by some way or other
        check(node)
      else
        check_paginate(context, node)
      end
    end)
  end
end

return { { name = "batch-size", severity = "warning", check = batch_size } }
