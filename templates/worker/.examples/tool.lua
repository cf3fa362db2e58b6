-- Tools: functions with a checked input, for people, programs and agents.
--
--   workers exec exampleSplitBill --script .examples/tool.lua -d '{"total":90,"people":4}'
--   workers exec exampleRemember --script .examples/tool.lua -d '{"key":"door","text":"Lock it","dryRun":true}'

local workers = require "workers"
local kv = require "workers.kv"

local j = workers.j
local worker = workers.new()

worker:tool("exampleSplitBill", {
  title = "Split a bill",
  -- An agent decides by this whether to call the tool.
  description = "Splits an amount among people, with a tip. Use it when somebody asks who pays how much.",
  schema = j.object {
    total = j.number():describe "The amount on the bill",
    people = j.integer():describe "How many people pay",
    tip = j.number():describe("Percent on top"):default(10),
    currency = j.enum("EUR", "USD", "GBP"):default "EUR",
  },
  outputSchema = j.object { each = j.number(), currency = j.string() },
  hints = { readOnlyHint = true }, -- it changes nothing: agents may call it without asking
  execute = function(input)
    if input.people < 1 then
      error("there must be somebody who pays", 0) -- the caller gets this text, and can try again
    end
    local each = input.total * (1 + input.tip / 100) / input.people
    return { each = math.floor(each * 100 + 0.5) / 100, currency = input.currency }
  end,
})

-- A tool that changes something offers a dry run: callers see first what it would do.
worker:tool("exampleRemember", {
  title = "Remember",
  description = "Keeps a note for later under a key. Call it with dryRun first, and show what it would do.",
  schema = j.object { key = j.string(), text = j.string():nullable():describe "The note; null forgets it" },
  dryRun = true,
  execute = function(input, ctx)
    local notes = kv.scope "example-notes"
    local before = notes.get(input.key)
    if not ctx.dryRun then
      notes.set(input.key, input.text ~= workers.null and input.text or nil)
    end
    return { before = before or workers.null, after = input.text, done = not ctx.dryRun }
  end,
})

return worker
