-- Templates: names, placeholders, and which file goes where. Must not touch files: callers do.

local templates = {}

local NAME_MAX = 100

-- Names that a template has in its folder because there they would mean something to the tools of this project.
local RENAMED = {
  _gitignore = ".gitignore",
  ["_AGENTS.md"] = "AGENTS.md",
  ["_CLAUDE.md"] = "CLAUDE.md",
  _agents = ".agents",
  _claude = ".claude",
}
-- What stands behind the name of a file that becomes a link; its text is where the link leads.
local LINK = "%._link$"

---The last part of a path; nil for a path that has none, such as "/".
---@param path string
---@return string?
function templates.basename(path)
  return path:gsub("/+$", ""):match("[^/]+$")
end

---An absolute path without "." and "..", which are resolved as they are written.
---@param cwd string
---@param path string
---@return string
function templates.absolute(cwd, path)
  local parts = {}
  for part in (path:sub(1, 1) == "/" and path or cwd .. "/" .. path):gmatch("[^/]+") do
    if part == ".." then
      parts[#parts] = nil
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return "/" .. table.concat(parts, "/")
end

---A worker's name made from a folder's: "My Demo!" becomes my-demo. nil when nothing of it can be used.
---@param folder string
---@return string?
function templates.name_of(folder)
  local name = folder:lower():gsub("[^a-z0-9]+", "-"):gsub("^%-+", ""):sub(1, NAME_MAX):gsub("%-+$", "")
  return name ~= "" and name or nil
end

---Whether workers.yaml takes the name as it is.
---@param name string
---@return boolean
function templates.is_name(name)
  return #name <= NAME_MAX and name:find("^[A-Za-z0-9._-]+$") ~= nil
end

---A name as people write it: my-demo becomes My Demo.
---@param name string
---@return string
function templates.title_of(name)
  local words = {}
  for word in name:gmatch("[A-Za-z0-9]+") do
    words[#words + 1] = word:sub(1, 1):upper() .. word:sub(2)
  end
  return #words > 0 and table.concat(words, " ") or name
end

---Fills in {{word}}; a word without a value is an error, so that no placeholder reaches a user's file.
---@param text string
---@param values table<string, string>
---@return string? filled
---@return string? message
function templates.fill(text, values)
  local unknown
  local filled = text:gsub("{{(%w+)}}", function(word)
    unknown = unknown or (values[word] == nil and word) or nil
    return values[word]
  end)
  if unknown then
    return nil, ("the template has a placeholder {{%s}}, which nothing fills"):format(unknown)
  end
  return filled
end

-- What a template says of itself: not a file of a project.
local ABOUT = "_template"
-- Files that a template has from the usual one, unless it has its own; "/" ends a folder with all that is in it.
local SHARED = { "_gitignore", ".luarc.json" }
-- The same, of the program's templates alone: a person's own says itself what agents read.
local FOR_AGENTS = { "_AGENTS.md", "_CLAUDE.md", "_agents/", "_claude/", ".cursorignore", ".examples/" }
templates.USUAL = "worker"
templates.OWN = "own" -- the name of a person's own, whatever it is called where it lies

---@class templates.About
---@field name string
---@field summary string one line
---@field next string[] commands that work in the new project at once

---What a template's file _template says: its first line, and the commands below it.
---@param name string
---@param text string?
---@return templates.About
function templates.about(name, text)
  local about = { name = name, summary = "", next = {} }
  for line in (text or ""):gmatch "[^\n]+" do
    if about.summary == "" then
      about.summary = line
    else
      about.next[#about.next + 1] = line
    end
  end
  return about
end

---Those that there are, by name, the usual one first.
---@param files table<string, string>
---@return templates.About[]
function templates.list(files)
  local list = {}
  for path, text in pairs(files) do
    local name = path:match("^(.+)/" .. ABOUT .. "$")
    if name then
      list[#list + 1] = templates.about(name, text)
    end
  end
  table.sort(list, function(a, b)
    if (a.name == templates.USUAL) ~= (b.name == templates.USUAL) then
      return a.name == templates.USUAL
    end
    return a.name < b.name
  end)
  return list
end

---@class templates.File
---@field path string where it goes, relative to the project's folder
---@field text string
---@field name string what it is called in the template
---@field link? boolean it is a link, and text is where it leads, seen from its own folder

---@param path string within a template
---@return string
local function renamed(path)
  return (path:gsub("[^/]+", RENAMED))
end

---One file of a template as a file of a project.
---@param path string within the template
---@param text string
---@return templates.File? file
---@return string? message
local function make_file(path, text)
  local place = renamed(path)
  if not place:find(LINK) then
    return { path = place, text = text, name = path }
  end
  local target = (text:gsub("%s+$", ""))
  local folder = "/project/" .. (place:match "^(.*/)[^/]*$" or "")
  if target:sub(1, 1) == "/" or not (templates.absolute(folder, target) .. "/"):find "^/project/" then
    return nil, ("the link leads out of the project, to %q"):format(target)
  end
  return { path = (place:gsub(LINK, "")), text = target, name = path, link = true }
end

-- Gives a template what it shares with the usual one.
local function add_shared(own, files, shared)
  local prefix = templates.USUAL .. "/"
  for path, text in pairs(files) do
    local name = path:sub(1, #prefix) == prefix and path:sub(#prefix + 1)
    for _, part in ipairs(name and shared or {}) do
      if (name == part or part:sub(-1) == "/" and name:sub(1, #part) == part) and not own[renamed(name)] then
        own[name] = own[name] or text
      end
    end
  end
end

---The files of one template, filled in and sorted by path.
---@param files table<string, string> all templates: path relative to templates/ -> text
---@param template string the template's folder, as in "worker"
---@param values table<string, string>
---@return templates.File[]? list
---@return string? message
function templates.expand(files, template, values)
  local list, own = {}, {}
  local prefix = template .. "/"
  for name, text in pairs(files) do
    if name:sub(1, #prefix) == prefix then
      own[name:sub(#prefix + 1)] = text
    end
  end
  if next(own) == nil then
    return nil, ("there is no template %q"):format(template)
  end
  add_shared(own, files, SHARED)
  add_shared(own, files, template ~= templates.OWN and FOR_AGENTS or {})
  own[ABOUT] = nil
  local made_from = {} -- path -> the name in the template
  for name, text in pairs(own) do
    local filled, message = templates.fill(text, values)
    local file
    if filled then
      file, message = make_file(name, filled)
    end
    if not file then
      return nil, prefix .. name:gsub(LINK, "") .. ": " .. message
    elseif made_from[file.path] then
      local both = { name, made_from[file.path] }
      table.sort(both)
      return nil, ("%s%s and %s both become %s"):format(prefix, both[1], both[2], file.path)
    end
    made_from[file.path] = name
    list[#list + 1] = file
  end
  table.sort(list, function(a, b)
    return a.path < b.path
  end)
  return list
end

---The folders above a path, outermost first: "a/b/c.lua" gives "a", "a/b".
---@param path string
---@return string[]
function templates.folders_above(path)
  local list = {}
  for at in path:gmatch("()/") do
    if at > 1 and path:sub(at - 1, at - 1) ~= "/" then
      list[#list + 1] = path:sub(1, at - 1)
    end
  end
  return list
end

---A word for a shell's command line.
---@param word string
---@return string
function templates.shell_word(word)
  if word:find("^[%w_./@%%+=:,-]+$") then
    return word
  end
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

return templates
