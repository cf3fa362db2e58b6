-- Findings as people read them, and as JSON.

local report = {}

---@param findings lint.Finding[]
---@param print fun(text: string)
function report.lines(findings, print)
  for _, finding in ipairs(findings) do
    print(("%s:%d:%d: %s: %s [%s]"):format(finding.file, finding.line, finding.column, finding.severity, finding.message,
      finding.rule))
    print("    " .. finding.remedy)
  end
end

---What was fixed, a line each.
---@param fixed lint.Finding[]
---@param print fun(text: string)
function report.fixed(fixed, print)
  for _, finding in ipairs(fixed) do
    print(("%s:%d: fixed %s: %s"):format(finding.file, finding.line, finding.rule, finding.edit.done))
  end
end

local function quoted(text)
  return '"' .. text:gsub('[%c"\\\x7F]', function(character)
    return ("\\u%04x"):format(character:byte())
  end) .. '"'
end

-- In the order in which people read them.
local FIELDS = { "file", "line", "column", "rule", "severity", "message", "remedy" }

---@param findings lint.Finding[] those that were fixed have fixed = true
---@return string
function report.json(findings)
  local list = {}
  for i, finding in ipairs(findings) do
    local members = {}
    for j, field in ipairs(FIELDS) do
      local value = finding[field]
      members[j] = quoted(field) .. ":" .. (type(value) == "string" and quoted(value) or ("%d"):format(value))
    end
    members[#members + 1] = finding.fixed and '"fixed":true' or nil
    list[i] = "{" .. table.concat(members, ",") .. "}"
  end
  return "[" .. table.concat(list, ",") .. "]"
end

return report
