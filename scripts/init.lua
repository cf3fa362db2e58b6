-- workers new: makes a project from the worker template. Must reach files through its host alone, and must not
-- overwrite anything unless told to.

local templates = require "utils.templates"

local TEMPLATE = "worker"

---@class init.Host
---@field files table<string, string> the templates: path relative to templates/ -> text
---@field exists fun(path: string): boolean
---@field mkdir fun(path: string): boolean?, string? nil and a message that names the path
---@field write fun(path: string, text: string): boolean?, string? the same
---@field list fun(path: string): string[]?
---@field print fun(text: string)
---@field cwd fun(): string

---@class init.Args
---@field directory? string where the project goes; made if it is not there; the current folder when nil
---@field force? boolean overwrite files
---@field name? string the worker's name; made from the folder's name when nil

---@return string? name
---@return string? message
local function choose_name(host, directory, given)
  if given ~= nil then
    if not templates.is_name(given) then
      return nil, ("%q is not a worker's name: use 1 to 100 letters, digits, '.', '_' and '-'"):format(given)
    end
    return given
  end
  local folder = templates.basename(templates.absolute(host.cwd(), directory)) or "/"
  local name = templates.name_of(folder)
  if not name then
    return nil, ("cannot make a worker's name from the folder %q: give one with --name"):format(folder)
  end
  return name
end

-- What exists already among the files to write.
local function find_conflicts(host, directory, files)
  local found = {}
  for _, file in ipairs(files) do
    local path = directory .. file.path
    if host.exists(path) then
      found[#found + 1] = path
    end
  end
  return found
end

local function refuse(found)
  local what = #found == 1 and "1 file exists" or ("%d files exist"):format(#found)
  local lines = { what .. " already; nothing was written. --force would overwrite:" }
  for _, path in ipairs(found) do
    lines[#lines + 1] = "  " .. path
  end
  return nil, table.concat(lines, "\n")
end

local function write_file(host, path, text)
  for _, folder in ipairs(templates.folders_above(path)) do
    if not host.exists(folder) then
      local made, message = host.mkdir(folder)
      if not made then
        return nil, message or "cannot make the folder " .. folder
      end
    end
  end
  local written, message = host.write(path, text)
  if not written then
    return nil, message or "cannot write " .. path
  end
  return true
end

local function report(host, name, directory, files)
  host.print(("Made the worker %s:"):format(name))
  for _, file in ipairs(files) do
    host.print("  " .. directory .. file.path)
  end
  host.print ""
  host.print "Next:"
  if directory ~= "" then
    local folder = directory:gsub("(.)/$", "%1")
    if folder:sub(1, 1) == "-" then
      folder = "./" .. folder
    end
    host.print("  cd " .. templates.shell_word(folder))
  end
  host.print [[  workers exec sayHello -d '{"name":"World"}']]
  host.print "  workers run src/main.lua"
end

---@param host init.Host
---@param args init.Args
---@return boolean? made
---@return string? message
return function(host, args)
  if args.directory == "" then
    return nil, "the folder's name is empty"
  end
  local directory = (args.directory or "."):gsub("//+", "/"):gsub("^%./+", "")
  local name, message = choose_name(host, directory == "" and "." or directory, args.name)
  if not name then
    return nil, message
  end
  -- What stands before each file's path: "" for the current folder.
  if directory == "." or directory == "" then
    directory = ""
  elseif directory:sub(-1) ~= "/" then
    directory = directory .. "/"
  end
  local files
  files, message = templates.expand(host.files, TEMPLATE, { name = name, title = templates.title_of(name) })
  if not files then
    return nil, message
  end
  local found = find_conflicts(host, directory, files)
  if #found > 0 and not args.force then
    return refuse(found)
  end
  for _, file in ipairs(files) do
    local written
    written, message = write_file(host, directory .. file.path, file.text)
    if not written then
      return nil, message
    end
  end
  report(host, name, directory, files)
  return true
end
