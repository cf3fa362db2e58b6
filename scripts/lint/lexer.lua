-- Lua 5.4's tokens, with their places. Must accept exactly what Lua's own lexer accepts.

local lexer = {}

---@class lint.Token
---@field kind string "name", "string", "number", "end of file", or the keyword or symbol itself
---@field value any of a name, a string or a number
---@field line integer from 1
---@field column integer in bytes, from 1
---@field last_line integer where it ends
---@field at integer its first byte in the text
---@field stop integer its last byte

---@class lint.Comment
---@field text string without its dashes and brackets
---@field line integer where it begins
---@field column integer
---@field last_line integer where it ends
---@field at integer its first byte in the text
---@field stop integer its last byte
---@field alone boolean nothing but blanks stands before it on its line

---@class lint.Mistake what the lexer and the parser raise
---@field message string
---@field line integer
---@field column integer

local KEYWORDS = {
  ["and"] = true, ["break"] = true, ["do"] = true, ["else"] = true, ["elseif"] = true, ["end"] = true, ["false"] = true,
  ["for"] = true, ["function"] = true, ["goto"] = true, ["if"] = true, ["in"] = true, ["local"] = true, ["nil"] = true,
  ["not"] = true, ["or"] = true, ["repeat"] = true, ["return"] = true, ["then"] = true, ["true"] = true,
  ["until"] = true, ["while"] = true,
}

-- Longest first.
local SYMBOLS = {
  { "..." },
  { "..", "==", "~=", "<=", ">=", "//", "::", "<<", ">>" },
  {
    "+", "-", "*", "/", "%", "^", "#", "&", "~", "|", "<", ">", "=", "(", ")", "{", "}", "[", "]", ";", ":", ",", ".",
  },
}
local IS_SYMBOL = {}
for _, list in ipairs(SYMBOLS) do
  for _, symbol in ipairs(list) do
    IS_SYMBOL[symbol] = true
  end
end

local ESCAPES = {
  a = "\a", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", v = "\v", ["\\"] = "\\", ['"'] = '"', ["'"] = "'",
}

---@class lint.Lexer
---@field text string
---@field at integer the next byte
---@field line integer
---@field line_start integer where the line begins
---@field comments lint.Comment[]
local Lexer = {}
Lexer.__index = Lexer

---@param text string
---@return lint.Lexer
function lexer.new(text)
  local at = text:sub(1, 3) == "\xEF\xBB\xBF" and 4 or 1
  if text:sub(at, at) == "#" then
    at = text:find("\n", at, true) or #text + 1
  end
  return setmetatable({ text = text, at = at, line = 1, line_start = 1, comments = {} }, Lexer)
end

---Raises a lint.Mistake at a byte of the present line.
function Lexer:fail(at, message)
  error({ message = message, line = self.line, column = math.max(1, at - self.line_start + 1) }, 0)
end

-- Goes past a line end, of one byte or two; at stands on it. Returns where the next line begins.
function Lexer:next_line(at)
  local after = at + 1
  local pair = self.text:sub(at, after)
  if pair == "\r\n" or pair == "\n\r" then
    after = after + 1
  end
  self.line = self.line + 1
  self.line_start = after
  return after
end

-- The text between long brackets whose opening has level equals signs and ends before at.
function Lexer:long_text(at, level, what)
  local line, line_start = self.line, self.line_start
  local begin = self.text:find("^[\r\n]", at) and self:next_line(at) or at
  local closing = "]" .. ("="):rep(level) .. "]"
  local stop = self.text:find(closing, begin, true)
  if not stop then
    self.line, self.line_start = line, line_start
    self:fail(at, "unfinished long " .. what)
  end
  local pieces, from = {}, begin
  while true do
    local line_end = self.text:find("[\r\n]", from)
    if not line_end or line_end > stop then
      break
    end
    pieces[#pieces + 1] = self.text:sub(from, line_end - 1) .. "\n"
    from = self:next_line(line_end)
  end
  pieces[#pieces + 1] = self.text:sub(from, stop - 1)
  self.at = stop + #closing
  return table.concat(pieces)
end

function Lexer:comment(at)
  local line, column = self.line, at - self.line_start + 1
  local alone = not self.text:sub(self.line_start, at - 1):find "[^ \t]"
  local equals = self.text:match("^%[(=*)%[", at + 2)
  local text
  if equals then
    text = self:long_text(at + 4 + #equals, #equals, "comment")
  else
    local stop = self.text:find("[\r\n]", at + 2) or #self.text + 1
    text = self.text:sub(at + 2, stop - 1)
    self.at = stop
  end
  self.comments[#self.comments + 1] = {
    text = text, line = line, column = column, last_line = self.line, at = at, stop = self.at - 1, alone = alone,
  }
end

-- One escape sequence; at stands behind its backslash. Returns its text and where the string goes on.
function Lexer:escape(at)
  local letter = self.text:sub(at, at)
  if ESCAPES[letter] then
    return ESCAPES[letter], at + 1
  elseif letter == "\n" or letter == "\r" then
    return "\n", self:next_line(at)
  elseif letter == "x" then
    local digits = self.text:match("^%x%x", at + 1) or self:fail(at, "hexadecimal digit expected")
    return string.char(tonumber(digits, 16)), at + 3
  elseif letter == "z" then
    at = at + 1
    while self.text:find("^[ \t\v\f\r\n]", at) do
      at = self.text:find("^[\r\n]", at) and self:next_line(at) or at + 1
    end
    return "", at
  elseif letter == "u" then
    local digits = self.text:match("^{(%x+)}", at + 1) or self:fail(at, "malformed \\u{XXX} escape")
    local significant = digits:gsub("^0+", "")
    if #significant > 8 or (tonumber(digits, 16) or 0) >= 2 ^ 31 then
      self:fail(at, "UTF-8 value too large")
    end
    return utf8.char(tonumber("0" .. significant, 16)), at + #digits + 3
  end
  local digits = self.text:match("^%d%d?%d?", at) or self:fail(at, "invalid escape sequence")
  if tonumber(digits) > 255 then
    self:fail(at, "decimal escape too large")
  end
  return string.char(tonumber(digits)), at + #digits
end

function Lexer:short_string(at)
  local quote = self.text:sub(at, at)
  local plain = quote == '"' and '^[^"\\\r\n]+' or "^[^'\\\r\n]+"
  local pieces, begin = {}, at
  at = at + 1
  while true do
    local _, stop = self.text:find(plain, at)
    if stop then
      pieces[#pieces + 1] = self.text:sub(at, stop)
      at = stop + 1
    end
    local byte = self.text:sub(at, at)
    if byte == quote then
      self.at = at + 1
      return table.concat(pieces)
    elseif byte ~= "\\" then
      self:fail(begin, "unfinished string")
    end
    pieces[#pieces + 1], at = self:escape(at + 1)
  end
end

function Lexer:number(at)
  local stop = at
  local exponent = self.text:find("^0[xX]", at) and "^[pP]" or "^[eE]"
  if exponent == "^[pP]" then
    stop = at + 2
  end
  while true do
    if self.text:find(exponent, stop) then
      stop = stop + 1
      if self.text:find("^[+-]", stop) then
        stop = stop + 1
      end
    elseif self.text:find("^[%x.]", stop) then
      stop = stop + 1
    else
      break
    end
  end
  if self.text:find("^[%a_]", stop) then -- a numeral that touches a letter
    stop = stop + 1
  end
  local text = self.text:sub(at, stop - 1)
  local value = tonumber(text)
  if not value then
    self:fail(at, ("malformed number near '%s'"):format(text))
  end
  self.at = stop
  return value
end

-- Goes past blanks and comments. Returns where the next token begins.
function Lexer:skip()
  while true do
    local at = self.text:find("[^ \t\v\f]", self.at) or #self.text + 1
    if self.text:find("^[\r\n]", at) then
      self.at = self:next_line(at)
    elseif self.text:sub(at, at + 1) == "--" then
      self:comment(at)
    else
      self.at = at
      return at
    end
  end
end

-- Reads what begins at a byte into the token. Returns the token.
function Lexer:read(token, at)
  local text = self.text
  if at > #text then
    token.kind = "end of file"
    return token
  end
  local word = text:match("^[%a_][%w_]*", at)
  if word then
    self.at = at + #word
    token.kind = KEYWORDS[word] and word or "name"
    token.value = word
    return token
  end
  if text:find("^%.?%d", at) then
    token.kind, token.value = "number", self:number(at)
    return token
  elseif text:find("^[\"']", at) then
    token.kind, token.value = "string", self:short_string(at)
    return token
  end
  local equals = text:match("^%[(=*)%[", at)
  if equals then
    token.kind, token.value = "string", self:long_text(at + 2 + #equals, #equals, "string")
    return token
  elseif text:find("^%[=", at) then
    self:fail(at, "invalid long string delimiter")
  end
  for length = 3, 1, -1 do
    local symbol = text:sub(at, at + length - 1)
    if #symbol == length and IS_SYMBOL[symbol] then
      self.at = at + length
      token.kind = symbol
      return token
    end
  end
  self:fail(at, ("unexpected symbol near '%s'"):format(text:sub(at, at):gsub("[^\x20-\x7E]", function(byte)
    return ("<\\%d>"):format(byte:byte())
  end)))
end

---Reads the next token. Raises a lint.Mistake.
---@return lint.Token
function Lexer:next()
  local at = self:skip()
  local token = self:read({ line = self.line, column = at - self.line_start + 1, at = at }, at)
  token.last_line, token.stop = self.line, self.at - 1
  return token
end

return lexer
