-- How lists are read: how much at once, in which order, up to when.

local tree = require "lint.tree"
local worker = require "lint.worker"

-- ---- batch-size ----

local SMALLEST, LARGEST = 10, 1000

-- What services call the number of items on a page, in small letters without signs.
local SIZE_NAMES = {
  limit = true, perpage = true, pagesize = true, maxresults = true, batchsize = true, sysparmlimit = true, top = true, first = true,
  maxpagesize = true, pagelimit = true, itemsperpage = true, resultsperpage = true,
}
-- What a request that asks for one page of several has as well.
local PAGE_NAMES = {
  page = true, offset = true, cursor = true, after = true, startingafter = true, pagetoken = true, startat = true, skip = true,
  sysparmoffset = true, startcursor = true, pagenumber = true,
}

local function plain(name)
  return type(name) == "string" and name:lower():gsub("[^%a]", "") or ""
end

local function is_odd_size(value, is_paged)
  return math.type(value) == "integer" and (value > LARGEST or value >= 1 and value < SMALLEST and (value > 1 or is_paged))
end

local function report_size(context, place, value)
  if value > LARGEST then
    context:report(place, ("pages of %d items: a page is one transaction, and is held in memory whole"):format(value),
      ("ask for %d at most; services often cut what is above 100 to 1000 anyway"):format(LARGEST))
  else
    context:report(place, ("pages of %d: many requests for few rows"):format(value), "ask for 100, or what the service allows")
  end
end

local function check_sizes(context, constructor)
  local is_paged = false
  for _, item in ipairs(constructor.items) do
    is_paged = is_paged or item.key and PAGE_NAMES[plain(tree.constant(item.key))]
  end
  for _, item in ipairs(constructor.items) do
    local value = item.key and SIZE_NAMES[plain(tree.constant(item.key))] and tree.constant(item.value)
    if type(value) == "string" then
      value = math.tointeger(tonumber(value))
    end
    if is_odd_size(value, is_paged) then
      report_size(context, item, value)
    end
  end
end

local BODIES = { "query", "json", "form" }

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
      local constructor = options and project:table_of(options, true)
      for _, name in ipairs(constructor and BODIES or {}) do
        local body = tree.field(constructor, name)
        check(body and project:table_of(body, true))
      end
      if (project:builtin(node)) == "workers.graphql" and is_request and node.arguments[3] then
        check(project:table_of(node.arguments[3], true))
      end
      local address = is_request and node.arguments[1] and tree.constant(node.arguments[1])
      for name, digits in (type(address) == "string" and address or ""):gmatch "[?&]([%w_$]+)=(%d+)" do
        local value = SIZE_NAMES[plain(name)] and math.tointeger(tonumber(digits))
        if is_odd_size(value, true) then
          report_size(context, node.arguments[1], value)
        end
      end
      local module, name = project:builtin(node)
      local paging = module == "workers.paginate" and name == "offset" and node.arguments[2] and project:table_of(node.arguments[2])
      local size = paging and tree.field(paging, "size")
      if size and is_odd_size(tree.constant(size), true) then
        report_size(context, size, tree.constant(size))
      end
    end)
  end
end

-- ---- keyset-tie-break ----

local TIME_WORDS = { "updated", "modified", "changed", "created", "timestamp", "modstamp", "edited", "since" }

local function is_time_name(name)
  name = type(name) == "string" and name:lower() or ""
  for _, word in ipairs(TIME_WORDS) do
    if name:find(word, 1, true) then
      return true
    end
  end
  return name:find "_at$" ~= nil or name == "at" or name == "time" or name:find "_time$" ~= nil
end

-- All text of an expression that joins or formats strings.
local function text_of(node)
  local pieces = {}
  tree.walk(node, function(below)
    local value = (below.kind == "String" or below.kind == "Name") and tree.constant(below)
    if type(value) == "string" then
      pieces[#pieces + 1] = value
    elseif below.kind == "Name" or below.kind == "Index" then
      pieces[#pieces + 1] = "?"
    end
    return below.kind ~= "FunctionBody" and below.kind ~= "Index"
  end)
  return table.concat(pieces, " ")
end

-- The name of the time that a text asks to be passed, when nothing decides among equal ones: "updated_at > ".
local function strictly_after(text)
  for name, rest in text:gmatch "([%a_][%w_.]*)%s*>()%s*" do
    local behind = text:sub(rest)
    if is_time_name(name) and not behind:find "^=" and not behind:find ">" and not behind:find "[=<]%s*['\"%%?]?" then
      return name
    end
  end
end

local GREATER = { "[gt]", "_gt", ".gt", "__gt", "[$gt]" }

-- The same for tables: { ["updated_at[gt]"] = since }, { propertyName = "updatedAt", operator = "GT" }.
local function strict_item(constructor)
  local operator = tree.field(constructor, "operator")
  if operator and tree.constant(operator) == "GT" then
    for _, item in ipairs(constructor.items) do
      if is_time_name(tree.constant(item.value)) then
        return item
      end
    end
  end
  for _, item in ipairs(constructor.items) do
    local name = item.key and tree.constant(item.key)
    for _, ending in ipairs(type(name) == "string" and GREATER or {}) do
      if name:sub(-#ending) == ending and is_time_name(name:sub(1, -#ending - 1)) then
        return item
      end
    end
  end
end

-- Whether the state has nothing but times in it, taken from an item.
local function is_time_alone(project, value)
  local constructor = project:table_of(value)
  if not constructor or #constructor.items == 0 then
    return false
  end
  local from_item = false
  for _, item in ipairs(constructor.items) do
    if not item.key or not is_time_name(tree.constant(item.key)) then
      return false
    end
    from_item = from_item or tree.any(item.value, function(node)
      local origin = tree.origin(node)
      return origin and origin.kind == "Index" and is_time_name(tree.constant(origin.key))
        and origin.object.kind ~= "Name" or node.kind == "Name" and node.variable and #node.variable.writes > 0
        or origin and origin.kind == "Index" and origin.object.kind == "Name" and is_time_name(tree.constant(origin.key))
        and origin.object.variable and origin.object.variable.sort ~= "parameter"
    end)
  end
  return from_item
end

local function mentions_lag(project, execute)
  return project:reaches(execute, function(node)
    local name = (node.kind == "Name" and node.name or node.kind == "Item" and node.key and tree.constant(node.key))
    name = type(name) == "string" and name:lower() or ""
    return name:find("lag", 1, true) or name:find("overlap", 1, true) or name:find("margin", 1, true)
  end)
end

local function keyset_tie_break(context)
  local project = context.project
  for sync in worker.syncs(context.worker) do
    local alone = false
    for _, page in ipairs(worker.pages(project, sync.execute)) do
      alone = alone or page.next_state and page.has_more ~= false and is_time_alone(project, page.next_state)
    end
    local found
    project:walk_reach(sync.execute, function(node)
      if found or not alone then
        return false
      elseif node.kind == "Table" then
        found = strict_item(node)
      elseif node.kind == "Binary" and node.operator == ".." or node.kind == "String"
        or node.kind == "Method" and node.name == "format" or node.kind == "Call" then
        found = strictly_after(text_of(node)) and node
        return node.kind == "Call" -- the text was looked at as a whole
      end
    end)
    if found and not mentions_lag(project, sync.execute) then
      context:report(found, "items with the same time as the last one of a page are passed over",
        "ask for what comes after (time, id), or use paginate.keyset")
    end
  end
end

-- ---- no-lag ----

local CLOCKS = { ["workers.time"] = { now = true, nowMs = true, today = true } }

local function is_clock(project, node)
  local module, name = project:builtin(node)
  if module then
    return CLOCKS[module] and CLOCKS[module][name] or false
  end
  local path, variable = tree.path(node.callee or node)
  return node.kind == "Call" and not variable and (path == "os.time" or path == "os.date") and (path == "os.date" or #node.arguments == 0)
end

-- The expression, its variables replaced by what they are made of, has the clock in it and takes nothing off.
local function is_present(project, node)
  local has_clock, takes_off = false, false
  local seen = {}
  local function look(part)
    tree.walk(part, function(below)
      if below.kind == "Call" and is_clock(project, below) then
        has_clock = true
      elseif below.kind == "Binary" and below.operator == "-" or below.kind == "Unary" and below.operator == "-" then
        takes_off = true
      elseif below.kind == "Number" and below.value < 0 then
        takes_off = true
      end
      local variable = below.kind == "Name" and below.variable
      if variable and not seen[variable] and variable.value and variable.value.kind ~= "FunctionBody" then
        seen[variable] = true
        look(variable.value)
      end
      return below.kind ~= "FunctionBody"
    end)
  end
  look(node)
  return has_clock and not takes_off
end

-- Whether something is taken off anywhere on the way: then the overlap is made where the state is read.
local function subtracts(project, execute)
  return project:reaches(execute, function(node)
    if node.kind == "Binary" and node.operator == "-" then
      return tree.constant(node) == nil
    end
    local module, name = project:builtin(node)
    return module == "workers.time" and (name == "add" or name == "subtract" or name == "shift")
  end)
end

-- Whether a field of this name is read anywhere, as that of the state would be.
local function is_read(project, execute, name)
  return project:reaches(execute, function(node)
    return node.kind == "Index" and tree.constant(node.key) == name
  end)
end

-- The fields that a state is made of, those that are put in later included: name -> value.
local function fields_of(project, node)
  local fields = {}
  local constructor = project:table_of(node, true)
  for _, item in ipairs(constructor and constructor.items or {}) do
    local name = item.key and tree.constant(item.key)
    if name ~= nil then
      fields[name] = item.value
    end
  end
  local variable = tree.bare(node).kind == "Name" and tree.bare(node).variable
  for name, values in pairs(variable and variable.fields or {}) do
    fields[name] = values[#values]
  end
  return fields
end

local LAGGED = { keyset = true, window = true, feed = true }

local function no_lag(context)
  local project = context.project
  for sync in worker.syncs(context.worker) do
    if sync.mode == "incremental" then
      local excused = subtracts(project, sync.execute) or mentions_lag(project, sync.execute)
      for _, page in ipairs(worker.pages(project, sync.execute)) do
        for name, value in pairs(not excused and page.next_state and fields_of(project, page.next_state) or {}) do
          if is_present(project, value) and is_read(project, sync.execute, name) then
            context:report(value, "the next cycle begins at this moment: what the service shows late is never seen",
              "begin a little earlier, by 15 seconds or more: time.nowMs() - 15000")
          end
        end
      end
      project:walk_reach(sync.execute, function(node)
        local module, name = project:builtin(node)
        local options = module == "workers.paginate" and LAGGED[name] and node.arguments[2] and project:table_of(node.arguments[2])
        local lag = options and tree.field(options, "lag")
        if lag and tree.constant(lag) == 0 then
          context:report(lag, "lag = 0: what the service shows late is never seen", "leave it out, or give the delay in seconds")
        end
      end)
    end
  end
end

-- ---- replace-on-big-source ----

local BIG = {
  event = true, events = true, log = true, logs = true, message = true, messages = true, transaction = true, transactions = true,
  audit = true, clicks = true, pageviews = true, metrics = true, readings = true, impressions = true, visits = true,
}

local function words_of(text)
  local words = {}
  for word in text:gsub("(%l)(%u)", "%1 %2"):gmatch "%a+" do
    words[#words + 1] = word:lower()
  end
  return words
end

local OFTEN = { m = 1, h = 60 }

-- Whether the schedule is an interval of less than a day; so is the one that is not given.
local function is_often(project, sync)
  local schedule = tree.field(sync.options, "schedule")
  if not schedule then
    return true
  end
  local text = tree.constant(schedule)
  local constructor = project:table_of(schedule)
  local every = constructor and tree.field(constructor, "every")
  text = type(text) == "string" and text or every and tree.constant(every)
  local count, unit = tostring(text):match "^(%d+)([mh])$"
  return text == "continuous" or count ~= nil and tonumber(count) * OFTEN[unit] < 24 * 60
end

local function replace_on_big_source(context)
  local project = context.project
  for sync in worker.syncs(context.worker) do
    local big = nil
    for _, name in ipairs { sync.key or "", sync.database and sync.database.key or "" } do
      for _, word in ipairs(words_of(tostring(name))) do
        big = big or BIG[word] and word
      end
    end
    local paged = false
    for _, page in ipairs(worker.pages(project, sync.execute)) do
      paged = paged or page.next_state ~= nil and page.has_more ~= false
    end
    paged = paged or project:reaches(sync.execute, function(node)
      return (project:builtin(node)) == "workers.paginate"
    end)
    if big and paged and sync.mode == "replace" and is_often(project, sync) and worker.fetches(project, sync.execute) then
      context:report(sync.node, ("each cycle reads all %s again, and they only become more"):format(big),
        'let a sync with mode = "incremental" read what is new, and this one run seldom')
    end
  end
end

return {
  { name = "batch-size", severity = "warning", check = batch_size },
  { name = "keyset-tie-break", severity = "warning", check = keyset_tie_break },
  { name = "no-lag", severity = "warning", check = no_lag },
  { name = "replace-on-big-source", severity = "note", check = replace_on_big_source },
}
