-- Which lines of a project ran in its tests. Runs in a plain Lua state inside `workers test --coverage`.
--
-- The lines that there are to run are read from the compiled chunk (string.dump), whose format is that of Lua 5.4:
-- header, then functions inside each other, each with a line for every instruction.

local SHOWN_RANGES = 20 -- of one file

-- ---- lines of a compiled chunk ----

local Reader = {}
Reader.__index = Reader

function Reader:bytes(count)
  self.at = self.at + count
end

function Reader:byte()
  local value = self.text:byte(self.at)
  self.at = self.at + 1
  return value
end

-- Seven bits a byte, the highest first; the last byte has its eighth bit set.
function Reader:size()
  local value = 0
  repeat
    local byte = self:byte()
    value = value << 7 | byte & 0x7f
  until byte & 0x80 ~= 0
  return value
end

function Reader:string()
  local size = self:size()
  if size > 0 then
    self:bytes(size - 1)
  end
end

function Reader:constants()
  for _ = 1, self:size() do
    local kind = self:byte()
    if kind == 0x03 or kind == 0x13 then -- an integer, a float
      self:bytes(8)
    elseif kind == 0x04 or kind == 0x14 then -- a short and a long string
      self:string()
    end
  end
end

-- Marks the lines of one function and of those inside it.
function Reader:fn(lines)
  self:string() -- source
  local line = self:size() -- where it is defined
  self:size()
  self:byte() -- parameters
  local vararg = self:byte() ~= 0
  self:byte() -- stack
  local count = self:size()
  self:bytes(4 * count)
  self:constants()
  self:bytes(3 * self:size()) -- upvalues
  for _ = 1, self:size() do
    self:fn(lines)
  end
  local steps = {}
  for pc = 0, self:size() - 1 do
    local step = self:byte()
    steps[pc] = step >= 128 and step - 256 or step
  end
  local absolute = {}
  for _ = 1, self:size() do
    local pc = self:size()
    absolute[pc] = self:size()
  end
  for _ = 1, self:size() do -- local variables
    self:string()
    self:size()
    self:size()
  end
  for _ = 1, self:size() do -- names of upvalues
    self:string()
  end
  for pc = 0, count - 1 do
    line = steps[pc] == -128 and absolute[pc] or line + steps[pc]
    -- Not the return that ends every function, nor the step that prepares "...".
    if pc < count - 1 and not (vararg and pc == 0) then
      lines[line] = true
    end
  end
end

-- Lines with nothing but "end", "else" and brackets: whether they run says nothing.
local function is_closing(text)
  local rest = text:gsub("%-%-.*$", ""):gsub("%a+", function(word)
    return (word == "end" or word == "else") and "" or nil
  end)
  return not rest:find "[^%s%)%}%],;]"
end

local function active_lines(text, name)
  local source = text:gsub("^\xEF\xBB\xBF", ""):gsub("^#[^\n]*", "")
  local chunk = load(source, "@" .. name, "t")
  if not chunk then
    return {}
  end
  local lines, number = {}, 0
  local reader = setmetatable({ text = string.dump(chunk), at = 1 }, Reader)
  reader:bytes(4 + 1 + 1 + 6 + 3 + 8 + 8 + 1) -- header, and how many upvalues
  reader:fn(lines)
  for line in (source .. "\n"):gmatch "([^\n]*)\n" do
    number = number + 1
    if is_closing(line) then
      lines[number] = nil
    end
  end
  return lines
end

-- ---- the report ----

local function read_runs(runs)
  local ran = {}
  for _, run in ipairs(runs) do
    for name, lines in run:gmatch "([^\t\n]+)\t([^\n]*)" do
      ran[name] = ran[name] or {}
      for line in lines:gmatch "%d+" do
        ran[name][tonumber(line)] = true
      end
    end
  end
  return ran
end

local function ranges(numbers)
  local parts, index = {}, 1
  while index <= #numbers do
    local last = index
    while numbers[last + 1] == numbers[last] + 1 do
      last = last + 1
    end
    parts[#parts + 1] = numbers[index] .. (last > index and "-" .. numbers[last] or "")
    index = last + 1
  end
  if #parts > SHOWN_RANGES then
    return table.concat(parts, " ", 1, SHOWN_RANGES) .. " …"
  end
  return table.concat(parts, " ")
end

local function percent(ran, all)
  return all == 0 and "-" or ("%.1f%%"):format(100 * ran / all)
end

---@param folder string the project's
---@param files string[] paths below it
---@param runs string[] what each process noted: "path<tab>line line …"
---@return string
return function(folder, files, runs)
  local ran = read_runs(runs)
  local report, all_ran, all_lines = {}, 0, 0
  for _, name in ipairs(files) do
    local file = io.open(folder .. "/" .. name, "rb")
    local lines = file and active_lines(file:read "a", name) or {}
    if file then
      file:close()
    end
    local missed, hit, count = {}, 0, 0
    for line in pairs(lines) do
      count = count + 1
      if ran[name] and ran[name][line] then
        hit = hit + 1
      else
        missed[#missed + 1] = line
      end
    end
    table.sort(missed)
    all_ran, all_lines = all_ran + hit, all_lines + count
    report[#report + 1] = ("# %s: %s of %d lines%s\n"):format(
      name, percent(hit, count), count, #missed > 0 and ", not " .. ranges(missed) or "")
  end
  report[#report + 1] = ("# coverage: %s of %d lines\n"):format(percent(all_ran, all_lines), all_lines)
  return table.concat(report)
end
