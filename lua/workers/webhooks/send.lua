-- What `workers webhooks send` sends with a body: the headers of the provider, signed with the secrets of the webhook's
-- verify function. Must not send anything itself.

local webhooks = require "workers.webhooks"

---@class workers.webhooks.send
local send = {}

---@class workers.webhooks.SendOptions
---@field given { [1]: string, [2]: string }[] names and values of headers, which come before all others
---@field event? string
---@field id? string

---The headers of a delivery, and whether they are signed.
---@param verify? workers.webhooks.Verify
---@param body string
---@param options workers.webhooks.SendOptions
---@return { [1]: string, [2]: string }[] headers
---@return boolean signed
function send.headers(verify, body, options)
  local sign = verify and webhooks.signer(verify)
  local given, fields = {}, {}
  for i, field in ipairs(options.given) do
    given[field[1]:lower()] = field[2]
    fields[i] = field
  end
  local headers = { ["Content-Type"] = "application/json" }
  if sign then
    local request = { method = "POST", headers = given, query = {}, rawBody = body }
    local ok, signed = pcall(sign, request, { event = options.event, id = options.id })
    if not ok then
      error(signed, 0)
    end
    headers = signed
  elseif options.event or options.id then
    error("--event and --id need a verify function of workers.webhooks, which knows the provider's headers", 0)
  end
  for name, value in pairs(headers) do
    if given[name:lower()] == nil then
      fields[#fields + 1] = { name, value }
    end
  end
  return fields, sign ~= nil
end

return send
