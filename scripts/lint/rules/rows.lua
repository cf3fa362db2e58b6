-- What syncs do to the rows of their databases.

local changed = require "lint.changed"
local nearest = require "lint.nearest"
local tree = require "lint.tree"
local worker = require "lint.worker"

-- ---- deletes-never-emitted ----

-- Whether all changes of the function are upserts for certain.
local function only_upserts(project, body)
  if #worker.upserts(project, body) == 0 then
    return false
  end
  return not project:reaches(body, function(node)
    if node.kind == "Item" and node.key and tree.constant(node.key) == "type" then
      return type(tree.constant(node.value)) ~= "string"
    end
    for i, target in ipairs(node.kind == "Assign" and node.targets or {}) do
      if target.kind == "Index" and tree.constant(target.key) == "type"
        and not (node.values[i] and type(tree.constant(node.values[i])) == "string") then
        return true
      end
    end
    local text = node.kind == "String" and node.value:lower() or ""
    return text:find("delete", 1, true) or text:find("archive", 1, true)
  end)
end

local function deletes_never_emitted(context)
  local project = context.project
  local covered = {}
  for _, capability in ipairs(context.worker.capabilities) do
    if capability.kind == "sync" and (capability.mode ~= "incremental" or not capability.execute
        or not only_upserts(project, capability.execute)) then
      covered[capability.database or "unknown"] = true
    end
  end
  for sync in worker.syncs(context.worker) do
    local is_covered = not sync.database or covered[sync.database] or covered.unknown
    if not is_covered and worker.fetches(project, sync.execute) then
      context:report(sync.node,
        "rows that vanish from the service stay for ever: this sync deletes none, and no other does",
        'return { type = "delete", key = … }, or add a sync with mode = "replace" that runs now and then')
    end
  end
end

-- ---- upserts ----

-- The properties of an upsert, name -> value; nil when they are not all known.
local function properties_of(project, upsert)
  local value = tree.field(upsert, "properties")
  local constructor = value and project:table_of(value)
  if not constructor then
    return nil
  end
  local found = {}
  for _, item in ipairs(constructor.items) do
    local name = item.key and tree.constant(item.key)
    if type(name) ~= "string" then
      return nil
    end
    found[name] = item.value
  end
  return found, constructor
end

local function is_properties(node)
  return node.kind == "Index" and tree.constant(node.key) == "properties"
end

-- Adds the names that are put into properties when they are made already: change.properties.Name = … False when they are not
-- all known.
local function add_later(project, sync, names)
  return not project:reaches(sync.execute, function(node)
    for _, target in ipairs(tree.targets(node)) do
      if target.kind == "Index" and is_properties(tree.bare(target.object)) then
        local name = tree.constant(target.key)
        if type(name) ~= "string" then
          return true
        end
        names[name] = name ~= sync.database.primary or nil
      end
    end
    for i, argument in ipairs(node.arguments or {}) do
      if is_properties(argument) and changed.by_call(project, node, i) then
        return true
      end
    end
    for i, value in ipairs(node.kind == "Local" and node.values or {}) do
      if is_properties(value) and node.variables[i] and changed.deep(project, node.variables[i]) then
        return true
      end
    end
  end)
end

-- The names of all properties that a sync fills; nil when they are not all known.
local function filled_by(project, sync)
  local names, place = {}, nil
  for _, upsert in ipairs(worker.upserts(project, sync.execute)) do
    local properties, constructor = properties_of(project, upsert)
    if not properties or tree.field(upsert, "targetDatabaseKey") then
      return nil
    end
    place = place or constructor
    for name in pairs(properties) do
      names[name] = name ~= sync.database.primary or nil
    end
  end
  return place and add_later(project, sync, names) and names or nil, place
end

local function missing_from(names, others)
  local list = {}
  for name in pairs(names) do
    if not others[name] then
      list[#list + 1] = name
    end
  end
  table.sort(list)
  return list
end

-- Syncs that fill nothing in common have divided the work.
local function shares(names, others)
  for name in pairs(names) do
    if others[name] then
      return true
    end
  end
  return false
end

local function different_mappings(context)
  local project, first = context.project, {}
  for sync in worker.syncs(context.worker) do
    local names, place
    if sync.database then
      names, place = filled_by(project, sync)
    end
    local before = names and first[sync.database]
    if before then
      local missing, more = missing_from(before.names, names), missing_from(names, before.names)
      if #missing + #more > 0 and shares(before.names, names) then
        local list = #missing > 0 and missing or more
        context:report(place, ('this sync %s "%s", which "%s" %s'):format(#missing > 0 and "does not fill" or "fills",
          table.concat(list, '", "'), tostring(before.sync.key), #missing > 0 and "fills" or "does not"),
          "make the rows of both by one function")
      end
    elseif names then
      first[sync.database] = { names = names, sync = sync }
    end
  end
end

-- ---- unlisted-option ----

local CHOICES = { select = true, multiSelect = true }

-- The names of the options of a Schema.select; nil when they are not all known.
local function options_of(project, property)
  local module, name = project:builtin(property)
  local constructor = module == "workers.schema" and CHOICES[name] and property.arguments[1]
    and project:table_of(property.arguments[1])
  if not constructor then
    return nil
  end
  local options = {}
  for _, item in ipairs(constructor.items) do
    local inner = project:table_of(item.value)
    local value = inner and tree.field(inner, "name") or item.value
    local option = tree.constant(value)
    if type(option) ~= "string" or item.key then
      return nil
    end
    options[option] = true
  end
  return options
end

local CHOOSERS = { select = true, status = true, multiSelect = true }

-- Calls f with each expression that the value may be: the sides of "a and b or c", the parts of a list, what a builder is given.
local function each_outcome(project, node, f)
  node = tree.origin(node)
  local module, name = project:builtin(node)
  if node.kind == "Binary" and node.operator == "or" then
    each_outcome(project, node.left, f)
    each_outcome(project, node.right, f)
  elseif node.kind == "Binary" and node.operator == "and" then
    each_outcome(project, node.right, f)
  elseif node.kind == "Table" or module == "workers.builder" and CHOOSERS[name] then
    for _, part in ipairs(node.items or node.arguments) do
      each_outcome(project, part.kind == "Item" and part.value or part, f)
    end
  else
    f(node)
  end
end

local function unlisted_option(context)
  local project, seen = context.project, {}
  for sync in worker.syncs(context.worker) do
    local declared = sync.database and sync.database.properties or {}
    for _, upsert in ipairs(worker.upserts(project, sync.execute)) do
      local properties = not tree.field(upsert, "targetDatabaseKey") and properties_of(project, upsert) or {}
      for name, value in pairs(properties) do
        local options = declared[name] and options_of(project, declared[name])
        each_outcome(project, value, function(node)
          local option = options and tree.constant(node)
          if type(option) == "string" and option ~= "" and not options[option] and not seen[node] then
            seen[node] = true
            local near = nearest.of(option, options)
            context:report(node, ('"%s" is not among the options of "%s"'):format(option, name),
              near and ('did you mean "%s"?'):format(near) or "add it to the options")
          end
        end)
      end
    end
  end
end

-- ---- replace-on-big-source ----

local BIG = {
  event = true, events = true, log = true, logs = true, message = true, messages = true, transaction = true,
  transactions = true, audit = true, clicks = true, pageviews = true, metrics = true, readings = true,
  impressions = true, visits = true,
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

-- The word of the sync's or the database's key that says so.
local function big_word(sync)
  for _, name in ipairs { sync.key or "", sync.database and sync.database.key or "" } do
    for _, word in ipairs(words_of(tostring(name))) do
      if BIG[word] then
        return word
      end
    end
  end
end

-- Whether it reads page after page.
local function is_paged(project, sync)
  for _, page in ipairs(worker.pages(project, sync.execute)) do
    if page.next_state and page.has_more ~= false then
      return true
    end
  end
  return project:reaches(sync.execute, function(node)
    return (project:builtin(node)) == "workers.paginate"
  end)
end

local function replace_on_big_source(context)
  local project = context.project
  for sync in worker.syncs(context.worker) do
    local big = big_word(sync)
    if big and sync.mode == "replace" and is_often(project, sync) and is_paged(project, sync)
      and worker.fetches(project, sync.execute) then
      context:report(sync.node, ("each cycle reads all %s again, and they only become more"):format(big),
        'let a sync with mode = "incremental" read what is new, and this one run seldom')
    end
  end
end

return {
  { name = "deletes-never-emitted", severity = "warning", check = deletes_never_emitted },
  { name = "different-mappings", severity = "warning", check = different_mappings },
  { name = "unlisted-option", severity = "warning", check = unlisted_option },
  { name = "replace-on-big-source", severity = "note", check = replace_on_big_source },
}
