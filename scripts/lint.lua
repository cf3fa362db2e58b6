-- workers check: reads a worker as a careful reviewer would, and mends what it is asked to. Must reach files through its host
-- alone, and must not run anything of the worker.

local edit = require "lint.edit"
local fix = require "lint.fix"
local nearest = require "lint.nearest"
local project = require "lint.project"
local report = require "lint.report"
local worker = require "lint.worker"

local NOT_READ = { name = "not-read", severity = "note" }
local LENGTH_MAX = 1024 * 1024 -- bytes of a file

local RULES = {}
for _, group in ipairs { "names", "flow", "state", "sizes", "cursors", "rows", "requests", "secrets" } do
  for _, rule in ipairs(require("lint.rules." .. group)) do
    RULES[#RULES + 1] = rule
  end
end

local KNOWN = {}
for _, rule in ipairs(RULES) do
  KNOWN[rule.name] = true
end

---@class lint.Host
---@field api string what scripts find: lines of a module, or "_G" or "_G.string", a blank, and a name
---@field path string of the main script, as messages name it
---@field text string
---@field find fun(name: string): string?, string? path and text of a module of the project; nil for others
---@field print fun(text: string)
---@field write? fun(path: string, text: string): boolean?, string? puts the text in the place of the one that was read, or says why
---  not; without it nothing is fixed

---@class lint.Finding
---@field file string
---@field line integer
---@field column integer
---@field rule string
---@field severity "error"|"warning"|"note"
---@field message string
---@field remedy string
---@field edit? lint.Edit what would mend it, when that is certain
---@field fixed? boolean it was mended

---@class lint.Context what a rule gets
---@field project lint.Project
---@field worker lint.Worker
---@field api table<string, table<string, boolean>>
---@field findings lint.Finding[]
local Context = {}
Context.__index = Context

---Reports a mistake at a node or a variable.
---@param mended_by? lint.Edit
function Context:report(place, message, remedy, mended_by)
  self:add(place.file, place, self.rule, message, remedy, mended_by)
end

-- A script's own words may be anything: what is said stays on one line, in UTF-8.
local function legible(text)
  text = text:gsub("%c", "?")
  return utf8.len(text) and text or (text:gsub("[\x80-\xFF]", "?"))
end

function Context:add(file, place, rule, message, remedy, mended_by)
  self.findings[#self.findings + 1] = {
    file = file.path, line = place.line, column = place.column, rule = rule.name, severity = rule.severity,
    message = legible(message), remedy = legible(remedy), edit = mended_by,
  }
end

local function read_api(text)
  local api = {}
  for module, name in text:gmatch "(%S+) (%S+)\n" do
    api[module] = api[module] or {}
    api[module][name] = true
  end
  return api
end

-- ---- ignoring ----

local BAD_IGNORE = { name = "bad-ignore", severity = "error" }
local UNUSED_IGNORE = { name = "unused-ignore", severity = "warning" }

-- The lines that a comment speaks of: its own and, when it stands alone, the next that is no such comment.
local function lines_of(comment, alone)
  local next_line = comment.line + 1
  while alone[next_line] do
    next_line = next_line + 1
  end
  return { [comment.line] = true, [comment.alone and next_line or comment.line] = true }
end

-- Takes out what the file's comments say is meant, and reports comments that are not right.
local function apply_ignores(context, file)
  local alone = {}
  for _, comment in ipairs(file.chunk.comments) do
    alone[comment.line] = comment.alone or nil
  end
  for _, comment in ipairs(file.chunk.comments) do
    local rest = comment.text:match "^%s*workers:%s*ignore%f[%s\0](.*)$"
    local name, reason = (rest or ""):match "^%s*(%S*)%s*(.-)%s*$"
    local place = { line = comment.line, column = comment.column }
    if rest and not KNOWN[name] then
      local near = nearest.of(name, KNOWN)
      context:add(file, place, BAD_IGNORE, ("there is no rule %q"):format(name),
        near and ("did you mean %s?"):format(near) or "workers: ignore RULE reason")
    elseif rest and reason == "" then
      context:add(file, place, BAD_IGNORE, ("it does not say why %s is ignored"):format(name),
        ("give the reason: workers: ignore %s reason"):format(name))
    elseif rest then
      local lines, used = lines_of(comment, alone), false
      for i = #context.findings, 1, -1 do
        local finding = context.findings[i]
        if finding.file == file.path and finding.rule == name and lines[finding.line] then
          table.remove(context.findings, i)
          used = true
        end
      end
      if not used then
        context:add(file, place, UNUSED_IGNORE, ("there is no %s here to ignore"):format(name), "take the comment out",
          edit.take_comment_out(file, comment, "took the comment out"))
      end
    end
  end
end

local function sorted(findings, files)
  local order = {}
  for i, file in ipairs(files) do
    order[file.path] = i
  end
  table.sort(findings, function(a, b)
    if a.file ~= b.file then
      return (order[a.file] or 0) < (order[b.file] or 0)
    elseif a.line ~= b.line then
      return a.line < b.line
    elseif a.column ~= b.column then
      return a.column < b.column
    end
    return a.rule .. a.message < b.rule .. b.message
  end)
  return findings
end

local function examine(host)
  local read = project.read(host.path, host.text, host.find, LENGTH_MAX)
  local context = { project = read, worker = worker.read(read), api = read_api(host.api), findings = {} }
  setmetatable(context, Context)
  for _, rule in ipairs(RULES) do
    context.rule = rule
    rule.check(context)
  end
  for _, file in ipairs(read.files) do
    apply_ignores(context, file)
  end
  for _, failed in ipairs(read.failed) do
    local message = "this file is not read for mistakes: " .. failed.mistake.message
    context:add(failed, failed.mistake, NOT_READ, message, "make it shorter")
  end
  return sorted(context.findings, read.files), read.files
end

---Everything that is to be said about a worker.
---@param host lint.Host
---@return lint.Finding[]
---@return lint.File[] read
local function findings_of(host)
  local ok, found, files = pcall(examine, host)
  if ok then
    return found, files
  elseif not tostring(found):find("stack overflow", 1, true) then
    error(found, 0)
  end
  -- Sums of many thousand terms, and the like: their trees are too deep to be walked.
  local context = setmetatable({ findings = {} }, Context)
  context:add({ path = host.path }, { line = 1, column = 1 }, NOT_READ,
    "this worker is not read for mistakes: it is nested too deeply", "take long sums and joins apart")
  return context.findings, {}
end

---@class lint.Counts
---@field error integer
---@field warning integer
---@field note integer
---@field fixed integer

---Prints what there is to say: lines, or JSON; before it, what was fixed. nil and a message when a file could not be written;
---what was fixed until then is printed.
---@param host lint.Host
---@param as_json boolean
---@return lint.Counts?
---@return string?
return function(host, as_json)
  local findings, fixed, message
  if host.write then
    findings, fixed, message = fix(host, findings_of)
  else
    findings, fixed = findings_of(host), {}
  end
  local counts = { error = 0, warning = 0, note = 0, fixed = #fixed }
  for _, finding in ipairs(findings) do
    counts[finding.severity] = counts[finding.severity] + 1
  end
  if as_json then
    host.print(report.json(table.move(findings, 1, #findings, #fixed + 1, fixed)))
  else
    report.fixed(fixed, host.print)
    report.lines(findings, host.print)
  end
  return not message and counts or nil, message
end
