-- workers check --fix: makes the edits that findings come with, until there are none left, and writes the files. Must not judge.

local edit = require "lint.edit"

local MAX_ROUNDS = 1000 -- one edit makes room for the next, as when a function was the only one to use a module

---@class lint.Draft a file that is being changed
---@field path string
---@field text string
---@field lines integer[] which line of the file on the disk each line of the text is
---@field fixed lint.Finding[]

---@param file lint.File
---@return lint.Draft
local function new_draft(file)
  local lines, at = { 1 }, 1
  while true do
    local found = file.text:find("[\r\n]", at)
    if not found then
      return { path = file.path, text = file.text, lines = lines, fixed = {} }
    end
    at = found + ((file.text:find("^\r\n", found) or file.text:find("^\n\r", found)) and 2 or 1)
    lines[#lines + 1] = #lines + 1
  end
end

-- The lines without those that the edits take away.
local function remaining(lines, edits)
  local list, at = {}, 1
  for _, each in ipairs(edits) do
    if each.first_line then
      table.move(lines, at, each.first_line - 1, #list + 1, list)
      at = each.last_line + 1
    end
  end
  return table.move(lines, at, #lines, #list + 1, list)
end

-- The edits of a file that can be made together, and the findings that they mend.
local function edits_of(file, findings)
  local edits, mended = {}, {}
  for _, finding in ipairs(findings) do
    if finding.edit and finding.file == file.path then
      edits[#edits + 1] = finding.edit
      mended[finding.edit] = finding
    end
  end
  return edit.apart(edits), mended
end

local function make(draft, file, edits, mended)
  draft.text = edit.apply(file, edits) or error(file.path .. ": a fix would change more than it should; nothing was written", 0)
  for _, each in ipairs(edits) do
    local finding = mended[each]
    finding.line, finding.fixed = draft.lines[finding.line], true
    draft.fixed[#draft.fixed + 1] = finding
  end
  draft.lines = remaining(draft.lines, edits)
end

-- Writes the drafts. Returns what was fixed, and a message when one could not be written.
local function write(host, drafts)
  local fixed = {}
  for _, draft in ipairs(drafts) do
    local written, message = host.write(draft.path, draft.text)
    if not written then
      return fixed, message
    end
    table.sort(draft.fixed, function(a, b)
      return a.line < b.line or a.line == b.line and a.column < b.column
    end)
    table.move(draft.fixed, 1, #draft.fixed, #fixed + 1, fixed)
  end
  return fixed
end

---Fixes what can be fixed.
---@param host lint.Host
---@param findings_of fun(host: lint.Host): lint.Finding[], lint.File[]
---@return lint.Finding[] left none when a file could not be written
---@return lint.Finding[] fixed file by file
---@return string? message
return function(host, findings_of)
  local drafts, by_path = {}, {}
  local function current(path, text)
    return by_path[path] and by_path[path].text or text
  end
  local drafted = { api = host.api, path = host.path, print = host.print }
  function drafted.find(name)
    local path, text = host.find(name)
    return path, current(path, text)
  end
  local function change(files, findings)
    local changed = false
    for _, file in ipairs(files) do
      local edits, mended = edits_of(file, findings)
      if #edits > 0 and not by_path[file.path] then
        by_path[file.path] = new_draft(file)
        drafts[#drafts + 1] = by_path[file.path]
      end
      if #edits > 0 then
        make(by_path[file.path], file, edits, mended)
        changed = true
      end
    end
    return changed
  end
  local findings
  for round = 1, MAX_ROUNDS do
    local files
    drafted.text = current(host.path, host.text)
    findings, files = findings_of(drafted)
    if round == MAX_ROUNDS or not change(files, findings) then
      break
    end
  end
  local fixed, message = write(host, drafts)
  return message and {} or findings, fixed, message
end
