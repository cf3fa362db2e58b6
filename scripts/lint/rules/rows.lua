-- What syncs do to the rows of their databases.

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
    return node.kind == "String" and (node.value:lower():find("delete", 1, true) or node.value:lower():find("archive", 1, true))
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
    if sync.database and not covered[sync.database] and not covered.unknown and worker.fetches(project, sync.execute) then
      context:report(sync.node, "rows that vanish from the service stay for ever: this sync deletes none, and no other does",
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
  return place and names, place
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

-- Calls f with each expression that the value may be: the sides of "a and b or c".
local function each_outcome(node, f)
  node = tree.bare(node)
  if node.kind == "Binary" and node.operator == "or" then
    each_outcome(node.left, f)
    each_outcome(node.right, f)
  elseif node.kind == "Binary" and node.operator == "and" then
    each_outcome(node.right, f)
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
        each_outcome(value, function(node)
          local option = options and tree.constant(node)
          if type(option) == "string" and not options[option] and not seen[node] then
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

return {
  { name = "deletes-never-emitted", severity = "warning", check = deletes_never_emitted },
  { name = "different-mappings", severity = "warning", check = different_mappings },
  { name = "unlisted-option", severity = "warning", check = unlisted_option },
}
