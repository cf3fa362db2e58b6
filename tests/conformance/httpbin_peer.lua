-- Answers one request after the other for test_httpbin.py: the input is what http.request takes.
local workers = require "workers"
local http, json = require "workers.http", require "workers.json"
local worker = workers.new()

worker:tool("request", {
  title = "Request",
  description = "Sends requests and tells what came back",
  schema = workers.j.object { requests = workers.j.array(workers.j.string()) },
  execute = function(input)
    local results = workers.array {}
    for i, text in ipairs(input.requests) do
      local options = json.decode(text)
      local stream = options.stream
      options.stream = nil
      local ok, response = pcall(function()
        if not stream then
          return http.request(options)
        end
        local url = options.url
        options.url = nil
        local opened = http.stream(url, options)
        local pieces = {}
        for piece in opened:chunks() do
          pieces[#pieces + 1] = piece
        end
        return { status = opened.status, headers = opened.headers, url = opened.url, body = table.concat(pieces) }
      end)
      if ok then
        results[i] = {
          status = response.status,
          headers = setmetatable(response.headers, nil),
          body = utf8.len(response.body) and response.body or #response.body,
          url = response.url,
        }
      else
        results[i] = { code = type(response) == "table" and response.code or "error", message = tostring(response) }
      end
    end
    return results
  end,
})

return worker
