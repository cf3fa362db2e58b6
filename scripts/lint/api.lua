-- Lists what scripts find, as lines of a module, a blank and a name. Runs in an isolate, so that it sees what they see.

local modules = ...
local lines = {}

local function add(module, fields)
  for name in next, fields do
    if type(name) == "string" then
      lines[#lines + 1] = module .. " " .. name .. "\n"
    end
  end
end

add("_G", _G)
for name, value in next, _G do
  if type(value) == "table" and value ~= _G then
    add("_G." .. name, value)
  end
end
for name in modules:gmatch "%S+" do
  local ok, module = pcall(require, name)
  if ok and type(module) == "table" then
    add(name, module)
  end
end
return table.concat(lines)
