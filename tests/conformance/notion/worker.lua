-- Makes the calls that it is given, one after the other, with the default client. What fails is in the answer.
local workers = require "workers"
local worker = workers.new()
worker:job("run", { title = "Run", description = "Makes calls.", schedule = { cron = "0 0 29 2 *" }, execute = function(input, ctx)
  local answers = workers.array()
  for i, case in ipairs(input) do
    local fn = ctx.notion
    for part in case.fn:gmatch "[%w]+" do fn = fn[part] end
    local given = case.args
    if given.file then
      given.file = { content = given.file.content:rep(given.file.times or 1), filename = given.file.filename, contentType = given.file.contentType }
    end
    local ok, answer
    if case.collect then
      ok, answer = pcall(ctx.notion.collect, fn, given)
    else
      ok, answer = pcall(fn, given)
    end
    answers[i] = ok and { ok = true, answer = answer } or { ok = false, name = answer.name, code = answer.code, status = answer.status, message = tostring(answer.message or answer) }
  end
  return answers
end })
return worker
