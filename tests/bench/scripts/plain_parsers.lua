-- What one writes in Lua when there is no library: enough for the texts of the benchmark, with string.find doing the work.

local plain = {}

---@return string[][]
function plain.csv(text)
  local rows, row, at = {}, {}, 1
  while at <= #text do
    local field, stop
    if text:byte(at) == 34 then
      local from, parts = at + 1, ""
      repeat
        local quote = assert(text:find('"', from, true), "unclosed quote")
        parts = parts .. text:sub(from, quote - 1)
        from = quote + 2
        local doubled = text:byte(quote + 1) == 34
        parts = doubled and parts .. '"' or parts
        stop = quote + 1
      until not doubled
      field = parts
    else
      stop = text:find("[,\r\n]", at) or #text + 1
      field = text:sub(at, stop - 1)
    end
    row[#row + 1] = field
    if text:byte(stop) == 44 then
      at = stop + 1
    else
      rows[#rows + 1] = row
      row = {}
      at = text:byte(stop) == 13 and stop + 2 or stop + 1
    end
  end
  return rows
end

local ENTITIES = { amp = "&", lt = "<", gt = ">", quot = '"', apos = "'" }

local function resolved(text)
  return text:find("&", 1, true) and text:gsub("&(%w+);", ENTITIES) or text
end

---@return table
function plain.xml(text)
  local root = { attributes = {} }
  local stack, top, at = {}, root, 1
  while true do
    local open = text:find("<", at, true)
    if not open then
      break
    end
    if open > at then
      local between = text:sub(at, open - 1)
      if between:find "%S" then
        top[#top + 1] = resolved(between)
      end
    end
    local close = assert(text:find(">", open, true), "unclosed tag")
    local first = text:byte(open + 1)
    if first == 47 then
      assert(top.name == text:sub(open + 2, close - 1), "wrong end tag")
      top = table.remove(stack)
    elseif first ~= 63 and first ~= 33 then
      local empty = text:byte(close - 1) == 47
      local inside = text:sub(open + 1, empty and close - 2 or close - 1)
      local node = { name = inside:match "^[^%s]+", attributes = {} }
      for key, value in inside:gmatch '([%w:]+)="([^"]*)"' do
        node.attributes[key] = resolved(value)
      end
      top[#top + 1] = node
      if not empty then
        stack[#stack + 1] = top
        top = node
      end
    end
    at = close + 1
  end
  return root[1]
end

return plain
