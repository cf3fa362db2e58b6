-- What the tests of workers.paginate share: a cycle as the engine runs it, lists that change, a clock that tests set.

local json = require "workers.json"
local tables = require "workers.table"
local tap = require "tap"
local time = require "workers.time"
local raises, truthy = tap.raises, tap.truthy

local paginating = {}

paginating.SEEDS = 200

-- Milliseconds; what workers.time says is now.
paginating.clock = { now = 1700000000000 }
time.nowMs = function()
  return paginating.clock.now
end

function paginating.upsert(item)
  return { type = "upsert", key = item.id, properties = item }
end

-- Runs one cycle as the engine does: the state goes through JSON, and a page may not return the state it was given.
-- rows is filled. Returns the state that is kept and the number of pages.
function paginating.run_cycle(execute, state, rows, between)
  local pages, largest = 0, 0
  while true do
    local page = execute(state)
    pages = pages + 1
    for _, change in ipairs(page.changes) do
      rows[change.key] = change.type == "upsert" and change.properties or nil
    end
    local text = json.encode(page.nextState or json.null, { sortKeys = true })
    largest = math.max(largest, #text)
    if not page.hasMore then
      return page.nextState and json.decode(text), pages, largest
    end
    truthy(text ~= json.encode(state or json.null, { sortKeys = true }), "cursor did not advance: " .. text)
    truthy(pages < 2000, "no end")
    state = json.decode(text)
    if between then
      between(pages)
    end
  end
end

function paginating.numbered(count)
  local list = {}
  for i = 1, count do
    list[i] = { id = "i" .. i }
  end
  return list
end

function paginating.ids(items)
  return tables.set(tables.map(items, function(item)
    return item.id
  end))
end

function paginating.misuse(text, fn, ...)
  local arguments = table.pack(...)
  local err = raises(function()
    local _ = fn(table.unpack(arguments, 1, arguments.n))
  end, text)
  truthy(tostring(err):find("^[%w_/%.%-]*paginat[%w_]+%.lua:%d+: paginate%."), err)
end

function paginating.slice(list, from, count)
  return table.move(list, from, math.min(#list, from + count - 1), 1, {})
end

-- A list that changes between requests, and the items that are there all the time.
function paginating.changing_list(options)
  local list, count = paginating.numbered(math.random(0, 60)), 1000
  local lasting = paginating.ids(list)
  local function change()
    for _ = 1, math.random(0, options.most) do
      if options.insert and math.random(2) == 1 then
        count = count + 1
        table.insert(list, math.random(#list + 1), { id = "i" .. count })
      elseif options.delete and #list > 0 then
        lasting[table.remove(list, math.random(#list)).id] = nil
      end
    end
  end
  return list, lasting, change
end

function paginating.all_found(rows, lasting, seed)
  for id in pairs(lasting) do
    truthy(rows[id], ("seed %d: %s was lost"):format(seed, id))
  end
end

return paginating
