-- Our half of test_webhook_signers.py: reads jobs.json and tells what workers.webhooks makes of each job. A body is the name of
-- a file.
local workers = require "workers"
local fs = require "workers.fs"
local webhooks = require "workers.webhooks"

local worker = workers.new()

local function options_of(job, changes)
  local options = { [job.provider == "notion" and "token" or "secret"] = job.secret }
  for _, from in ipairs { job.options or {}, changes } do
    for name, value in next, from do
      options[name] = value
    end
  end
  return options
end

-- null for a request that is accepted, otherwise what was raised.
local function verify(job, body)
  local request = { method = "POST", headers = {}, rawBody = body }
  for name, value in next, job.headers do
    request.headers[name:lower()] = value
  end
  local ok, result = pcall(webhooks[job.provider](options_of(job, {})), request)
  if ok then
    return result == nil and workers.null or { answer = result }
  end
  return type(result) == "table" and { [result.name] = result.message } or { error = tostring(result) }
end

worker:tool("run", {
  title = "Run",
  description = "Runs the jobs",
  schema = workers.j.object {},
  execute = function()
    local results = workers.array {}
    for i, job in ipairs(fs.readJson "jobs.json") do
      local body = fs.read(job.body)
      if job["do"] == "sign" then
        results[i] = webhooks[job.provider].sign(body, options_of(job, { time = job.time and job.time * 1000, id = job.id }))
      else
        results[i] = verify(job, body)
      end
    end
    return results
  end,
})

return worker
