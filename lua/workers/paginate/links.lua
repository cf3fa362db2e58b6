-- Parses Link headers (RFC 8288, section 3 and appendix B).

local suggest = require "workers.suggest"
local url = require "workers.url"

local links = {}

-- A parameter at position at, which holds ";": its name, its value, and where it ends.
local function parse_parameter(text, at)
  local name, after = text:match("^;[ \t]*([^%s=;,\"<>]*)[ \t]*()", at)
  if text:sub(after, after) ~= "=" then
    return name, "", after
  end
  after = text:match("^=[ \t]*()", after)
  if text:sub(after, after) ~= '"' then
    local value, stop = text:match('^([^;,"<>]*)()', after)
    return name, value:match "^(.-)[ \t]*$", stop
  end
  local parts, from = {}, after + 1
  while true do
    local stop = text:find('["\\]', from)
    if not stop then
      return name, nil, after -- the quoted string does not end
    end
    parts[#parts + 1] = text:sub(from, stop - 1)
    if text:sub(stop, stop) == '"' then
      return name, table.concat(parts), text:match("^[ \t]*()", stop + 1)
    end
    parts[#parts + 1] = text:sub(stop + 1, stop + 1)
    from = stop + 2
  end
end

-- The links of a header: lists of target and parameters, of which the first of each name counts. nil and the position
-- of what is no link.
local function parse_links(text)
  local list, at = {}, text:match "^[%s,]*()"
  while at <= #text do
    local target, after = text:match("^<([^>]*)>[ \t]*()", at)
    if not target then
      return nil, at
    end
    local link = { target = target, parameters = {} }
    while text:sub(after, after) == ";" do
      local name, value, stop = parse_parameter(text, after)
      if not value then
        return nil, stop
      end
      name, after = name:lower(), stop
      link.parameters[name] = link.parameters[name] or value
    end
    if after <= #text and text:sub(after, after) ~= "," then
      return nil, after
    end
    list[#list + 1] = link
    at = text:match("^[%s,]*()", after)
  end
  return list
end

-- The links that a response or a header's text has: relation, in lower case -> absolute URL. nil and a message for what
-- is neither, or cannot be read.
function links.of(from, base)
  local text = from
  if type(from) == "table" and type(from.headers) == "table" then
    text, base = from.headers.link or "", base or from.url
  end
  if type(text) ~= "string" then
    return nil, "argument 1: expected a response or a header's text, got " .. suggest.show(from)
  elseif base ~= nil and type(base) ~= "string" then
    return nil, "argument 2 (base): expected a URL, got " .. suggest.show(base)
  end
  local list, at = parse_links(text)
  if not list then
    return nil, ("the Link header cannot be read from byte %d on: %s"):format(at, suggest.show(text:sub(at)))
  end
  local found = {}
  for _, link in ipairs(list) do
    local relations = not link.parameters.anchor and link.parameters.rel or "" -- an anchor: not of this resource
    for relation in relations:lower():gmatch "%S+" do
      if not found[relation] then
        local ok, target = true, link.target
        if base then
          ok, target = pcall(url.resolve, base, target)
        end
        if not ok then
          return nil, ("the link %s cannot be joined with %s"):format(suggest.show(link.target), suggest.show(base))
        end
        found[relation] = target
      end
    end
  end
  return found
end

return links
