-- The worker that the conformance suite of the Model Context Protocol asks for: its tools have the names it calls.
local workers = require "workers"
local content, crypto, log = require "workers.content", require "workers.crypto", require "workers.log"
local Schema, j = workers.schema, workers.j
local worker = workers.new()

local PNG = crypto.fromBase64 "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
local WAV = crypto.fromBase64 "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="

local function tool(name, execute, schema)
  worker:tool(name, { title = name, description = "For the conformance suite.", schema = schema or j.object {}, execute = execute })
end

tool("test_simple_text", function() return "This is a simple text response for testing." end)
tool("test_image_content", function() return content.result { content.image(PNG, "image/png") } end)
tool("test_audio_content", function() return content.result { content.audio(WAV, "audio/wav") } end)
tool("test_embedded_resource", function()
  return content.result { content.file { uri = "test://embedded-resource", mimeType = "text/plain", text = "This is an embedded resource content." } }
end)
tool("test_multiple_content_types", function()
  return content.result {
    content.text "Multiple content types test:",
    content.image(PNG, "image/png"),
    content.file { uri = "test://mixed-content-resource", mimeType = "application/json", text = '{"test":"data","value":123}' },
  }
end)
tool("test_tool_with_logging", function()
  log.info "Tool execution started"
  workers.sleep(0.05)
  log.info "Tool processing data"
  workers.sleep(0.05)
  log.info "Tool execution completed"
  return "done"
end)
tool("test_tool_with_progress", function(_, ctx)
  for _, progress in ipairs { 0, 50, 100 } do
    ctx.progress(progress, 100, "at " .. progress)
    workers.sleep(0.05)
  end
  return "done"
end)
tool("test_error_handling", function() error("This tool intentionally returns an error for testing", 0) end)
tool("test_reconnection", function(_, ctx)
  ctx.progress(1)
  log.info "a stream, please"
  workers.sleep(0.1)
  return "Reconnection test completed successfully"
end)
tool("json_schema_2020_12_tool", function() return "ok" end, j.schema {
  ["$schema"] = "https://json-schema.org/draft/2020-12/schema",
  type = "object",
  ["$defs"] = { address = { type = "object", properties = { street = { type = "string" }, city = { type = "string" } } } },
  properties = { name = { type = "string" }, address = { ["$ref"] = "#/$defs/address" } },
  additionalProperties = false,
})
worker:tool("add", { title = "Add", description = "Adds two numbers.", schema = j.object { a = j.number(), b = j.number() },
  outputSchema = j.object { sum = j.number() }, hints = { readOnlyHint = true },
  execute = function(input) return { sum = input.a + input.b } end })
worker:tool("wait", { title = "Wait", description = "Waits until it is stopped.", schema = j.object {}, execute = function()
  log.info "waiting"
  workers.sleep(600)
end })

local cities = worker:database("cities", { type = "managed", initialTitle = "Cities", primaryKeyProperty = "Code",
  schema = { properties = { Name = Schema.title(), Code = Schema.richText() } } })
worker:sync("fill", { database = cities, mode = "incremental", schedule = "manual", execute = function()
  return { hasMore = false, nextState = {}, changes = {
    { type = "upsert", key = "BER", properties = { Name = "Berlin" }, pageContentMarkdown = "# Berlin\n\nA city." },
    { type = "upsert", key = "A/ü", properties = { Name = "Zürich" } },
  } }
end })
return worker
