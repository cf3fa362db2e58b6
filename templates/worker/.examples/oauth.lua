-- Access on behalf of a person, by OAuth, and a tool that uses it.
--
--   workers oauth show-redirect-url                   what to register with the provider
--   workers env set EXAMPLE_CLIENT_ID                 what the provider gives in return
--   workers env set EXAMPLE_CLIENT_SECRET
--   workers oauth start exampleService                prints the address where the person says yes
--   workers exec exampleWhoAmI
--
-- `workers oauth` works on src/main.lua: copy this there first. Known providers need no endpoints: provider = "github", "google",
-- "microsoft", "slack" and others.

local workers = require "workers"
local http = require "workers.http"

local worker = workers.new()

local API = "https://api.example.com"

local service = worker:oauth("exampleService", {
  name = "The example service",
  authorizationEndpoint = "https://login.example.com/authorize",
  tokenEndpoint = "https://login.example.com/token",
  -- "$NAME" is a variable. No secret stands in the script.
  clientId = "$EXAMPLE_CLIENT_ID",
  clientSecret = "$EXAMPLE_CLIENT_SECRET",
  scope = "profile.read offline_access",
})

local api = worker:pacer("exampleServiceApi", { allowedRequests = 60, intervalMs = 60000 })

-- The token is good for a while yet; it is renewed by itself. One that the service refuses all the same is replaced once.
local function get(path)
  local token = service:accessToken()
  local response = http.get(API .. path, { auth = { bearer = token }, pacer = api, retry = true })
  if response.status == 401 then
    response = http.get(API .. path, { auth = { bearer = service:accessToken(token) }, pacer = api, retry = true })
  end
  return response:raise():json()
end

worker:tool("exampleWhoAmI", {
  title = "Who am I",
  description = "The name of the person who gave access.",
  schema = workers.j.object {},
  hints = { readOnlyHint = true },
  execute = function()
    return get("/me").name
  end,
})

return worker
