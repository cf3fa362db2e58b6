-- workers new: makes a project from a template. Must reach files through its host alone, and must not
-- overwrite anything unless told to.

local templates = require "utils.templates"

---@class init.Host
---@field files table<string, string> the templates: path relative to templates/ -> text
---@field exists fun(path: string): boolean
---@field is_folder fun(path: string): boolean also for a link to one
---@field mkdir fun(path: string): boolean?, string? nil and a message that names the path
---@field write fun(path: string, text: string): boolean?, string? the same
---@field link fun(path: string, target: string): boolean?, string? the same
---@field target fun(path: string): string? where a link leads; nil for what is no link
---@field is_program fun(path: string): boolean whether it may be run
---@field make_program fun(path: string): boolean?, string? as mkdir
---@field list fun(path: string): string[]?, string? nil for what is no folder, with a message for one that cannot be read
---@field read fun(path: string): string?, string? the text, or nil and a message
---@field run fun(program: string, ...: string): boolean whether it ended well; it says nothing
---@field temporary fun(): string?, string? a new folder, or nil and a message
---@field remove fun(path: string) that folder
---@field print fun(text: string)
---@field cwd fun(): string
---@field confirm fun(question: string): boolean? what somebody answers; nil when nobody is there to be asked
---@field version string of the program

---@class init.Args
---@field directory? string where the project goes; made if it is not there; the current folder when nil
---@field force? boolean overwrite files
---@field name? string the worker's name; made from the folder's name when nil
---@field template? string which one; "worker" when nil
---@field from? string a folder or an archive with a template of one's own
---@field list? boolean show the templates
---@field git? boolean make a repository: true or false; nil: when git is there, and no repository is around

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

-- What is in the way of a file for certain: a file where a folder has to be, or a folder where a file has to be.
local function find_obstacle(host, directory, files)
  for _, file in ipairs(files) do
    local path = directory .. file.path
    for _, folder in ipairs(templates.folders_above(path)) do
      if host.exists(folder) and not host.is_folder(folder) then
        return folder .. " is no folder"
      end
    end
    if host.is_folder(path) and not (file.link and host.target(path)) then
      return path .. " is a folder"
    end
  end
end

-- Whether they may be overwritten: asks a person who sits there, and otherwise does not.
local function may_overwrite(host, found)
  local what = #found == 1 and "1 file exists already" or ("%d files exist already"):format(#found)
  local list = "  " .. table.concat(found, "\n  ")
  local answer = host.confirm(("%s:\n%s\nOverwrite?"):format(what, list))
  if answer == nil then
    return nil, ("%s; nothing was written. --force would overwrite:\n%s"):format(what, list)
  end
  return answer, "nothing was written"
end

---@param programs table<string, boolean> names in the template of the files that may be run
local function write_file(host, path, file, programs)
  for _, folder in ipairs(templates.folders_above(path)) do
    if not host.exists(folder) then
      local made, message = host.mkdir(folder)
      if not made then
        return nil, message or "cannot make the folder " .. folder
      end
    end
  end
  local written, message = (file.link and host.link or host.write)(path, file.text)
  if written and programs[file.name] and not file.link then
    written, message = host.make_program(path)
  end
  if not written then
    return nil, message or "cannot write " .. path
  end
  return true
end

-- ---- templates of one's own ----

local NOT_COPIED = { [".git"] = true, [".workers"] = true } -- in a working tree of git, the first is a file

-- All files below a folder, into files, as those of the template templates.OWN, and into programs the names of those that may be
-- run. Links stay links: what they lead to may be anything on this machine.
local function read_folder(host, files, programs, folder, below)
  local entries, message = host.list(folder .. "/" .. below)
  for _, entry in ipairs(entries or {}) do
    local path = below .. entry
    local place = folder .. "/" .. path
    local target = host.target(place)
    if not NOT_COPIED[entry] and target then
      files[templates.OWN .. "/" .. path .. "._link"] = target
    elseif not NOT_COPIED[entry] then
      local inner, why = host.list(place)
      if inner then
        inner, why = read_folder(host, files, programs, folder, path .. "/")
      elseif not why then
        inner, why = host.read(place)
        files[templates.OWN .. "/" .. path] = inner
        programs[path] = host.is_program(place)
      end
      if not inner then
        return nil, why
      end
    end
  end
  return entries ~= nil, message
end

-- An archive often has one folder with everything in it.
local function top_of(host, folder)
  local entries = host.list(folder) or {}
  local only = #entries == 1 and folder .. "/" .. entries[1]
  return only and not host.target(only) and host.list(only) and only or folder
end

-- What tar unpacks, as those of the template templates.OWN.
local function read_archive(host, files, programs, archive)
  local folder, why = host.temporary()
  if not folder then
    return nil, why
  end
  local path = archive:sub(1, 1) == "/" and archive or "./" .. archive -- else "-x" is an option, and "a:b" another machine's
  local read, message = host.run("tar", "-xf", path, "-C", folder), "tar cannot read the archive " .. archive
  if read then
    read, message = read_folder(host, files, programs, top_of(host, folder), "")
  end
  host.remove(folder)
  return read, message
end

local function read_own(host, programs, from)
  local files, read = {}, nil
  local entries, message = host.list(from)
  if entries then
    read, message = read_folder(host, files, programs, (from:gsub("(.)/+$", "%1")), "")
  elseif not message and host.exists(from) then
    read, message = read_archive(host, files, programs, from)
  end
  if not read then
    return nil, message or ("there is no folder or archive %s"):format(from)
  elseif next(files) == nil then
    return nil, ("there is no file in %s"):format(from)
  end
  for path, text in pairs(host.files) do
    files[path] = text
  end
  return files
end

local function choose_files(host, programs, args)
  if args.from then
    local files, message = read_own(host, programs, args.from)
    return files, message, templates.OWN
  end
  local name = args.template or templates.USUAL
  for _, about in ipairs(templates.list(host.files)) do
    if about.name == name then
      return host.files, nil, name
    end
  end
  return nil, ("there is no template %q: workers new --list shows them"):format(name)
end

local function show_list(host)
  local list, width = templates.list(host.files), 0
  for _, about in ipairs(list) do
    width = math.max(width, #about.name)
  end
  for _, about in ipairs(list) do
    host.print(("%-" .. width .. "s  %s"):format(about.name, about.summary))
  end
  return true
end

-- ---- git ----

-- A repository with a first commit of what was written. Without a name for git to sign with, there is no commit.
local function make_repository(host, directory, files, wanted)
  local place = directory == "" and "." or directory
  if wanted == false or not host.run("git", "--version") then
    return wanted and "git is not there: no repository was made" or nil
  end
  if wanted == nil and host.run("git", "-C", place, "rev-parse", "--git-dir") then
    return nil
  end
  if not host.run("git", "-C", place, "init", "-q") then
    return "git could not make a repository"
  end
  for first = 1, #files, 100 do
    local paths = {}
    for i = first, math.min(first + 99, #files) do
      paths[#paths + 1] = files[i].path
    end
    if not host.run("git", "-C", place, "add", "--", table.unpack(paths)) then
      return "git could not add the files"
    end
  end
  if not host.run("git", "-C", place, "commit", "-q", "-m", "A worker from a template") then
    return "made a git repository, without a commit: " .. (host.run("git", "-C", place, "var", "GIT_COMMITTER_IDENT")
      and "git has refused it, as git commit will show" or "git does not know your name (git config user.name)")
  end
  return "made a git repository with a first commit"
end

-- The files, those of a hidden folder in one line.
local function show_files(host, directory, files)
  local last, count
  for i, file in ipairs(files) do
    local hidden = file.path:match "^%.[^/]+/"
    count = hidden and hidden == last and count + 1 or 1
    last = hidden
    local following = files[i + 1] and files[i + 1].path:match "^%.[^/]+/"
    if not hidden or count == 1 and following ~= hidden then
      host.print("  " .. directory .. file.path)
    elseif following ~= hidden then
      host.print(("  %s%s (%d files)"):format(directory, hidden, count))
    end
  end
end

local function report(host, name, directory, files, about)
  host.print(("Made the worker %s:"):format(name))
  show_files(host, directory, files)
  host.print ""
  host.print "Next:"
  if directory ~= "" then
    local folder = directory:gsub("(.)/$", "%1")
    if folder:sub(1, 1) == "-" then
      folder = "./" .. folder
    end
    host.print("  cd " .. templates.shell_word(folder))
  end
  for _, line in ipairs(#about.next > 0 and about.next or { "workers check" }) do
    host.print("  " .. line)
  end
end

---@param host init.Host
---@param args init.Args
---@return boolean? made
---@return string? message
return function(host, args)
  if args.list then
    return show_list(host)
  end
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
  local sources, files, template
  local programs = {}
  sources, message, template = choose_files(host, programs, args)
  if not sources then
    return nil, message
  end
  local values = { name = name, title = templates.title_of(name), version = host.version }
  files, message = templates.expand(sources, template, values)
  if not files then
    return nil, message
  end
  local obstacle = find_obstacle(host, directory, files)
  if obstacle then
    return nil, obstacle .. "; nothing was written"
  end
  local found = find_conflicts(host, directory, files)
  if #found > 0 and not args.force then
    local may
    may, message = may_overwrite(host, found)
    if not may then
      return nil, message
    end
  end
  for _, file in ipairs(files) do
    local written
    written, message = write_file(host, directory .. file.path, file, programs)
    if not written then
      return nil, message
    end
  end
  local said = make_repository(host, directory, files, args.git)
  report(host, name, directory, files, templates.about(template, sources[template .. "/_template"]))
  if said then
    host.print("\n" .. said)
  end
  return true
end
