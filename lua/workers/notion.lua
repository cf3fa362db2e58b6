-- A client of the Notion API over workers.http. Must not keep a token: it is read when a request is made, so that one that is
-- sealed anew counts, and one that is a credential is put in below Lua.

local env = require "workers.env"
local http = require "workers.http"
local json = require "workers.json"
local options = require "workers.options"
local suggest = require "workers.suggest"
local url = require "workers.url"

local show = suggest.show

---@class workers.notion.Error
---@field name "NotionError"
---@field code string "object_not_found" and so on, as the API has it
---@field message string
---@field status integer
---@field requestId? string for Notion's support
---@field response workers.http.Response

---@class workers.notion
local notion = {}

local BASE_URL, VERSION = "https://api.notion.com", "2025-09-03"
local TOKEN, BASE = "NOTION_API_TOKEN", "NOTION_API_BASE_URL"
local PAGE_SIZE = 100 -- the most that the API gives at once
local SINGLE_PART = 20 * 1024 * 1024
local PART = 10 * 1024 * 1024

local PAGING = { "start_cursor", "page_size" }

local with = options.joined

-- name = { method, path, query, body }; names in the path's braces are parameters too.
-- stylua: ignore
local ENDPOINTS = {
  ["blocks.retrieve"] = { "GET", "blocks/{block_id}" },
  ["blocks.update"] = { "PATCH", "blocks/{block_id}", {}, {
    "archived", "in_trash", "type", "paragraph", "heading_1", "heading_2", "heading_3", "heading_4", "bulleted_list_item", "numbered_list_item", "quote", "to_do",
    "toggle", "callout", "code", "equation", "divider", "breadcrumb", "table_of_contents", "link_to_page", "table", "table_row", "column", "synced_block",
    "template", "bookmark", "embed", "image", "video", "pdf", "file", "audio", "tab",
  } },
  ["blocks.delete"] = { "DELETE", "blocks/{block_id}" },
  ["blocks.children.list"] = { "GET", "blocks/{block_id}/children", PAGING },
  ["blocks.children.append"] = { "PATCH", "blocks/{block_id}/children", {}, { "children", "after", "position" } },
  ["comments.create"] = { "POST", "comments", {}, { "parent", "discussion_id", "rich_text", "markdown", "attachments", "display_name" } },
  ["comments.list"] = { "GET", "comments", with({ "block_id" }, PAGING) },
  ["comments.retrieve"] = { "GET", "comments/{comment_id}" },
  ["comments.update"] = { "PATCH", "comments/{comment_id}", {}, { "rich_text", "markdown" } },
  ["comments.delete"] = { "DELETE", "comments/{comment_id}" },
  ["customEmojis.list"] = { "GET", "custom_emojis", with({ "name" }, PAGING) },
  ["dataSources.retrieve"] = { "GET", "data_sources/{data_source_id}" },
  ["dataSources.create"] = { "POST", "data_sources", {}, { "parent", "properties", "title", "icon" } },
  ["dataSources.update"] = { "PATCH", "data_sources/{data_source_id}", {}, { "title", "icon", "properties", "archived", "in_trash", "parent" } },
  ["dataSources.query"] = { "POST", "data_sources/{data_source_id}/query", { "filter_properties" },
    with({ "filter", "sorts", "archived", "in_trash", "result_type" }, PAGING) },
  ["dataSources.listTemplates"] = { "GET", "data_sources/{data_source_id}/templates", with({ "name" }, PAGING) },
  ["databases.retrieve"] = { "GET", "databases/{database_id}" },
  ["databases.create"] = { "POST", "databases", {}, { "parent", "title", "description", "is_inline", "initial_data_source", "icon", "cover" } },
  ["databases.update"] = { "PATCH", "databases/{database_id}", {}, { "parent", "title", "description", "is_inline", "icon", "cover", "in_trash", "is_locked" } },
  ["fileUploads.create"] = { "POST", "file_uploads", {}, { "mode", "filename", "content_type", "number_of_parts", "external_url" } },
  ["fileUploads.retrieve"] = { "GET", "file_uploads/{file_upload_id}" },
  ["fileUploads.list"] = { "GET", "file_uploads", with({ "status" }, PAGING) },
  ["fileUploads.send"] = { "POST", "file_uploads/{file_upload_id}/send", {}, {}, { "file", "part_number" } },
  ["fileUploads.complete"] = { "POST", "file_uploads/{file_upload_id}/complete" },
  ["pages.create"] = { "POST", "pages", { "filter_properties" },
    { "parent", "properties", "icon", "cover", "content", "children", "markdown", "template", "position", "allow_async" } },
  ["pages.retrieve"] = { "GET", "pages/{page_id}", { "filter_properties" } },
  ["pages.update"] = { "PATCH", "pages/{page_id}", { "filter_properties" },
    { "properties", "icon", "cover", "is_locked", "template", "erase_content", "archived", "in_trash", "is_archived" } },
  ["pages.move"] = { "POST", "pages/{page_id}/move", {}, { "parent" } },
  ["pages.retrieveMarkdown"] = { "GET", "pages/{page_id}/markdown", { "include_transcript" } },
  ["pages.updateMarkdown"] = { "PATCH", "pages/{page_id}/markdown", {},
    { "type", "insert_content", "replace_content_range", "update_content", "replace_content", "allow_async" } },
  ["pages.properties.retrieve"] = { "GET", "pages/{page_id}/properties/{property_id}", PAGING },
  ["search"] = { "POST", "search", {}, with({ "query", "filter", "sort" }, PAGING) },
  ["users.retrieve"] = { "GET", "users/{user_id}" },
  ["users.list"] = { "GET", "users", PAGING },
  ["users.me"] = { "GET", "users/me" },
  ["views.create"] = { "POST", "views", {}, {
    "data_source_id", "database_id", "view_id", "name", "type", "filter", "sorts", "quick_filters", "create_database", "configuration", "position", "placement",
  } },
  ["views.retrieve"] = { "GET", "views/{view_id}" },
  ["views.update"] = { "PATCH", "views/{view_id}", {}, { "name", "filter", "sorts", "quick_filters", "configuration" } },
  ["views.delete"] = { "DELETE", "views/{view_id}" },
  ["views.list"] = { "GET", "views", with({ "database_id", "data_source_id" }, PAGING) },
  ["views.queries.create"] = { "POST", "views/{view_id}/queries", {}, { "page_size" } },
  ["views.queries.results"] = { "GET", "views/{view_id}/queries/{query_id}", PAGING },
  ["views.queries.delete"] = { "DELETE", "views/{view_id}/queries/{query_id}" },
}

-- ---- errors ----

local error_metatable = {
  __name = "workers.notion.error",
  __tostring = function(err)
    return err.message
  end,
}

-- What to do about an error, by its code.
local HINTS = {
  unauthorized = ("the token is not good: workers env set %s, with that of an integration (notion.so/profile/integrations)"):format(TOKEN),
  object_not_found = "is the page shared with the integration? In Notion: the page's menu, Connections",
  restricted_resource = "the integration lacks the capability: see its settings at notion.so/profile/integrations",
}

local function refuse(name, response)
  if response.status == 429 then
    response:raise() -- a RateLimitError, which puts a sync off
  end
  local ok, body = pcall(response.json, response)
  body = ok and type(body) == "table" and body or {}
  local code = type(body.code) == "string" and body.code or "http_status"
  local message = type(body.message) == "string" and body.message or "no message"
  local text = ("notion.%s: %d %s: %s"):format(name, response.status, code, message)
  if HINTS[code] then
    text = text .. " (" .. HINTS[code] .. ")"
  end
  error(
    setmetatable({
      name = "NotionError",
      code = code,
      message = text,
      status = response.status,
      requestId = type(body.request_id) == "string" and body.request_id or nil,
      response = response,
    }, error_metatable),
    0
  )
end

-- ---- one request ----

local function known(endpoint)
  local names = with(endpoint[3] or {}, endpoint[4] or {}, endpoint[5] or {})
  for name in endpoint[2]:gmatch "{([%w_]+)}" do
    names[#names + 1] = name
  end
  return names
end

local function check(name, endpoint, given)
  if type(given) ~= "table" then
    error(("notion.%s: needs a table of parameters, got %s"):format(name, show(given)), 4)
  end
  local names = known(endpoint)
  local unknown = suggest.unknown_key(given, names)
  if unknown ~= nil then
    error(("notion.%s: unknown parameter %s; %s"):format(name, show(unknown), suggest.remedy(unknown, names)), 4)
  end
end

local function fill_path(name, endpoint, given)
  return (endpoint[2]:gsub("{([%w_]+)}", function(parameter)
    local value = given[parameter]
    if type(value) ~= "string" or value == "" then
      error(("notion.%s: %s must be an id, got %s"):format(name, parameter, show(value)), 5)
    end
    return (value:gsub("[^%w%-._~%%]", url.encode)) -- ids of properties come percent-encoded
  end))
end

local function pick(given, names)
  local picked, any = json.object(), false
  for _, name in ipairs(names or {}) do
    if given[name] ~= nil then
      picked[name] = given[name]
      any = true
    end
  end
  return any and picked or nil
end

local function query_of(picked)
  local query = {}
  for name, value in pairs(picked or {}) do
    query[name] = type(value) == "table" and value or tostring(value)
  end
  return query
end

local function parts_of(name, given)
  local file = given.file
  if type(file) ~= "table" or type(file.content) ~= "string" then
    error(("notion.%s: file must be { content = bytes, filename = …, contentType = … }, got %s"):format(name, show(file)), 4)
  end
  local parts = { { name = "file", content = file.content, filename = file.filename, contentType = file.contentType } }
  if given.part_number ~= nil then
    parts[2] = { name = "part_number", value = tostring(given.part_number) }
  end
  return parts
end

local function request(client, name, endpoint, given)
  check(name, endpoint, given)
  local token = client.token
  if token == nil then
    token = env.get(TOKEN)
  end
  if token == nil and not client.brokered then
    error(
      ("notion.%s: %s is not set: make an integration at notion.so/profile/integrations, then workers env set %s"):format(name, TOKEN, TOKEN),
      3
    )
  end
  local sent = {
    method = endpoint[1],
    url = (client.baseUrl or env.get(BASE) or BASE_URL):gsub("/+$", "") .. "/v1/" .. fill_path(name, endpoint, given),
    query = query_of(pick(given, endpoint[3])),
    headers = { ["Notion-Version"] = client.version or VERSION },
    auth = token and { bearer = token } or nil,
    retry = client.retry,
    timeout = client.timeout,
    pacer = client.pacer,
  }
  if endpoint[5] then
    sent.multipart = parts_of(name, given)
  elseif endpoint[1] ~= "GET" and endpoint[1] ~= "DELETE" then
    sent.json = pick(given, endpoint[4]) or (endpoint[4] and json.object()) or nil
  end
  local response = http.request(sent)
  if not response.ok then
    refuse(name, response)
  end
  return response:json()
end

-- ---- pages of a list ----

---The items of a list, page by page: for item in notion.iterate(client.users.list) do … end
---@param list fun(given: table): table one of the functions that give a list
---@param given? table its parameters
---@return fun(): any
function notion.iterate(list, given)
  local asked, page, at, cursor = {}, nil, 0, nil
  for name, value in pairs(given or {}) do
    asked[name] = value
  end
  asked.page_size = asked.page_size or PAGE_SIZE
  return function()
    while true do
      if page and at < #page.results then
        at = at + 1
        return page.results[at]
      end
      if page and not page.has_more then
        return nil
      end
      if page then
        local next_cursor = page.next_cursor
        if type(next_cursor) ~= "string" or next_cursor == cursor then
          error("notion.iterate: the list says that there is more, and not where", 2)
        end
        cursor, asked.start_cursor = next_cursor, next_cursor
      end
      page, at = list(asked), 0
      if type(page) ~= "table" or type(page.results) ~= "table" then
        error("notion.iterate: the function gave no list", 2)
      end
    end
  end
end

---All items of a list.
---@param list fun(given: table): table
---@param given? table
---@return any[]
function notion.collect(list, given)
  local all = json.array()
  for item in notion.iterate(list, given) do
    all[#all + 1] = item
  end
  return all
end

-- ---- files ----

local UPLOAD = {
  { "content", "any", required = true, help = "the file's bytes" },
  { "filename", "string", required = true, help = '"report.pdf"' },
  { "contentType", "string", help = '"application/pdf"' },
}

-- In one part, or in several when the file is large.
local function upload(client, given)
  options.check("notion.upload", given, UPLOAD)
  local content, uploads = given.content, client.fileUploads
  if type(content) ~= "string" then
    error(("notion.upload: content must be the file's bytes, got %s"):format(show(content)), 3)
  end
  local count = #content > SINGLE_PART and math.ceil(#content / PART) or 1
  local made = uploads.create {
    mode = count > 1 and "multi_part" or "single_part",
    filename = given.filename,
    content_type = given.contentType,
    number_of_parts = count > 1 and count or nil,
  }
  if count == 1 then
    return uploads.send { file_upload_id = made.id, file = given }
  end
  for part = 1, count do
    uploads.send {
      file_upload_id = made.id,
      part_number = part,
      file = {
        content = content:sub((part - 1) * PART + 1, part * PART),
        filename = given.filename,
        contentType = given.contentType,
      },
    }
  end
  return uploads.complete { file_upload_id = made.id }
end

-- ---- clients ----

local NEW = {
  { "token", "string", help = "the token, when it is not " .. TOKEN },
  { "brokered", "boolean", help = "true: a worker:credential puts the token in" },
  { "baseUrl", "string", help = '"https://api.notion.com"' },
  { "version", "string", help = '"' .. VERSION .. '"' },
  { "retry", "any", help = "as workers.http takes it; true unless given" },
  { "timeout", "number", help = "seconds" },
  { "pacer", "table", help = 'worker:pacer("notion", { allowedRequests = 3, intervalMs = 1000 })' },
}

---A client. Its functions are named as in Notion's own: client.pages.retrieve { page_id = … }, client.search { query = … }.
---@param given? { token?: string, brokered?: boolean, baseUrl?: string, version?: string, retry?: any, timeout?: number, pacer?: table }
---@return table
function notion.new(given)
  given = given or {}
  options.check("notion.new", given, NEW)
  local client = { iterate = notion.iterate, collect = notion.collect }
  local settings = { retry = true }
  for name, value in pairs(given) do
    settings[name] = value
  end
  for name, endpoint in pairs(ENDPOINTS) do
    local place = client
    for part in name:gmatch "([%w]+)%." do
      place[part] = place[part] or {}
      place = place[part]
    end
    place[name:match "[%w]+$"] = function(parameters)
      return request(settings, name, endpoint, parameters or {})
    end
  end
  ---@param file { content: string, filename: string, contentType?: string }
  client.upload = function(file)
    return upload(client, file)
  end
  return client
end

local shared

---The client with what the environment says: NOTION_API_TOKEN, and NOTION_API_BASE_URL if it is set. It is ctx.notion too.
---@return table
function notion.default()
  shared = shared or notion.new()
  return shared
end

return suggest.strict("notion", notion)
