-- Edits of a file's text, and what they must leave as it is: each one takes out whole lines, a comment, or a name, and nothing
-- of a person's comments but those that it is about. Must not judge what is to be edited.

local parser = require "lint.parser"
local same = require "lint.same"

local edit = {}

---@class lint.Edit
---@field from integer the first byte that is replaced
---@field to integer the last one
---@field text string what comes in its place
---@field done string what people are told
---@field first_line? integer of those that are gone as a whole
---@field last_line? integer
---@field removed? table the statement that is gone
---@field renamed? table the String node whose value the text is

-- What stands behind a byte on its line, and where the line ends: its last byte, with the line end.
local function rest_of_line(text, stop)
  local line_end = text:find("[\r\n]", stop + 1)
  local pair = line_end and text:find("^\r\n", line_end) or text:find("^\n\r", line_end or #text + 1)
  local last = not line_end and #text or pair and line_end + 1 or line_end
  return text:sub(stop + 1, (line_end or #text + 1) - 1), last
end

local function is_blank(text)
  return not text:find "[^ \t]"
end

-- The lines with comments, and those on which a comment ends that stands alone.
local function comment_lines(file)
  if not file.comment_lines then
    local lines, ends = {}, {}
    for _, comment in ipairs(file.chunk.comments) do
      for line = comment.line, comment.last_line do
        lines[line] = true
      end
      ends[comment.last_line] = ends[comment.last_line] or comment.alone
    end
    file.comment_lines, file.comment_ends = lines, ends
  end
  return file.comment_lines, file.comment_ends
end

---Takes out a Local or a LocalFunction that has its lines to itself. nil when it has not, when a comment is within it or right
---above it, or when what comes before and behind it would become one statement.
---@param file lint.File
---@param node table
---@param done string
---@return lint.Edit?
function edit.take_out(file, node, done)
  local lines, ends = comment_lines(file)
  local from = node.at - node.column + 1
  local rest, to = rest_of_line(file.text, node.stop)
  if node.following == "(" or ends[node.line - 1] or not is_blank(file.text:sub(from, node.at - 1)) or not is_blank(rest) then
    return nil
  end
  for line = node.line, node.last_line do
    if lines[line] then
      return nil
    end
  end
  return { from = from, to = to, text = "", done = done, removed = node, first_line = node.line, last_line = node.last_line }
end

---Takes out a comment, with its line when it has that to itself. nil when it goes over several lines, or code stands behind it.
---@param file lint.File
---@param comment lint.Comment
---@param done string
---@return lint.Edit?
function edit.take_comment_out(file, comment, done)
  local from = comment.at - comment.column + 1
  local rest, to = rest_of_line(file.text, comment.stop)
  if comment.line ~= comment.last_line or not is_blank(rest) then
    return nil
  elseif comment.alone then
    return { from = from, to = to, text = "", done = done, first_line = comment.line, last_line = comment.line }
  end
  local code = file.text:sub(from, comment.at - 1):gsub("[ \t\v\f]+$", "")
  return { from = from + #code, to = comment.stop, text = "", done = done }
end

---Writes another name in the place of the one behind a dot. nil when the key of the Index is written in another way.
---@param file lint.File
---@param node table an Index
---@param name string
---@param done string
---@return lint.Edit?
function edit.rename_key(file, node, name, done)
  local key = node.key
  local to = key.at and key.at + #tostring(key.value) - 1
  if key.kind ~= "String" or file.text:sub(key.at, to) ~= key.value then
    return nil
  end
  return { from = key.at, to = to, text = name, done = done, renamed = key }
end

---Those of the edits that do not touch one another, in the order of the text; of two, the first one.
---@param edits lint.Edit[]
---@return lint.Edit[]
function edit.apart(edits)
  table.sort(edits, function(a, b)
    return a.from < b.from
  end)
  local list, last = {}, 0
  for _, each in ipairs(edits) do
    if each.from > last then
      list[#list + 1] = each
      last = each.to
    end
  end
  return list
end

---The file's text with the edits made. nil when the program would be another one than is meant.
---@param file lint.File
---@param edits lint.Edit[] apart
---@return string?
function edit.apply(file, edits)
  local pieces, at = {}, 1
  local change = { removed = {}, renamed = {} }
  for _, each in ipairs(edits) do
    pieces[#pieces + 1] = file.text:sub(at, each.from - 1) .. each.text
    at = each.to + 1
    change.removed[each.removed or 0] = true
    if each.renamed then
      change.renamed[each.renamed] = each.text
    end
  end
  pieces[#pieces + 1] = file.text:sub(at)
  local text = table.concat(pieces)
  local chunk = parser.parse(text)
  return chunk and same(file.chunk.body, chunk.body, change) and text or nil
end

return edit
