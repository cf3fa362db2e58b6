---What a tool gives an agent beyond JSON: texts, pictures, sounds, files and links (content blocks of the Model
---Context Protocol). Must not change what it is given.
---@class workers.content
local content = {}

local crypto = require "workers.crypto"
local json = require "workers.json"
local options = require "workers.options"

local RESULT = { __content = true }

local function need_text(what, value, name)
  if type(value) ~= "string" then
    error(("content.%s: %s must be text, got %s"):format(what, name, type(value)), 3)
  end
  return value
end

local function bytes_block(kind, bytes, mime)
  need_text(kind, bytes, "the first argument, the bytes,")
  need_text(kind, mime, "the second argument, the MIME type,")
  return json.object { type = kind, data = crypto.base64(bytes), mimeType = mime }
end

---@param text string
---@return table
function content.text(text)
  return json.object { type = "text", text = need_text("text", text, "the argument") }
end

---@param bytes string the picture's file
---@param mime string "image/png" and so on
---@return table
function content.image(bytes, mime)
  return bytes_block("image", bytes, mime)
end

---@param bytes string the sound's file
---@param mime string "audio/wav" and so on
---@return table
function content.audio(bytes, mime)
  return bytes_block("audio", bytes, mime)
end

local FILE = {
  { "uri", "string", required = true, help = '"file:///report.csv"' },
  { "mimeType", "string", help = '"text/csv"' },
  { "text", "string", help = "what is in it, as text" },
  { "bytes", "string", help = "or as bytes" },
}

---A file within the answer.
---@param given { uri: string, mimeType?: string, text?: string, bytes?: string }
---@return table
function content.file(given)
  options.check("content.file", given, FILE)
  if (given.text == nil) == (given.bytes == nil) then
    error("content.file: give either text or bytes", 2)
  end
  local resource = json.object { uri = given.uri, mimeType = given.mimeType, text = given.text }
  if given.bytes then
    resource.blob = crypto.base64(given.bytes)
  end
  return json.object { type = "resource", resource = resource }
end

local LINK = {
  { "uri", "string", required = true, help = '"https://example.com/report.csv"' },
  { "name", "string", required = true, help = '"report.csv"' },
  { "title", "string" },
  { "description", "string" },
  { "mimeType", "string", help = '"text/csv"' },
}

---A file that the agent may fetch.
---@param given { uri: string, name: string, title?: string, description?: string, mimeType?: string }
---@return table
function content.link(given)
  options.check("content.link", given, LINK)
  local block = json.object { type = "resource_link" }
  for name, value in pairs(given) do
    block[name] = value
  end
  return block
end

---The result of a tool: blocks in their order. structured is for programs; it is checked against outputSchema.
---@param blocks table[]
---@param structured? table
---@return table
function content.result(blocks, structured)
  if type(blocks) ~= "table" or rawlen(blocks) == 0 then
    error("content.result: the first argument must be a list of blocks, such as { content.text(\"hello\") }", 2)
  end
  local list = json.array()
  for i = 1, #blocks do
    local block = blocks[i]
    if type(block) ~= "table" or type(block.type) ~= "string" then
      error(("content.result: block %d was not made by this module"):format(i), 2)
    end
    list[i] = block
  end
  return setmetatable({ content = list, structuredContent = structured }, RESULT)
end

return content
