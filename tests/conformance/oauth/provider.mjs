// A certified OAuth 2 and OpenID provider, npm's oidc-provider, with clients of every kind. Prints its URL.
// Arguments: the folder of the npm packages. Everything of /control is for the test: what was asked, what is to go wrong.
import http from "node:http"
import { createRequire } from "node:module"
import { pathToFileURL } from "node:url"

const { Provider } = await import(pathToFileURL(createRequire(process.argv[2] + "/").resolve("oidc-provider")))
const control = { requests: [], fail: 0, delay: 0, drop: 0, lifetime: 3600 }
const web = { application_type: "native", redirect_uris: ["http://127.0.0.1/oauth/callback"], response_types: ["code"], grant_types: ["authorization_code", "refresh_token"] }
const server = http.createServer()
await new Promise((go) => server.listen(0, "127.0.0.1", go))
const url = `http://127.0.0.1:${server.address().port}`
const provider = new Provider(url, {
  clients: [
    { client_id: "body", client_secret: "secret of body", token_endpoint_auth_method: "client_secret_post", ...web },
    { client_id: "basic", client_secret: "s:e%c r&t+é".replace("é", "e"), token_endpoint_auth_method: "client_secret_basic", ...web },
    { client_id: "public", token_endpoint_auth_method: "none", ...web },
    { client_id: "machine", client_secret: "secret of machine", token_endpoint_auth_method: "client_secret_basic", redirect_uris: [], response_types: [],
      grant_types: ["client_credentials"] },
    { client_id: "device", token_endpoint_auth_method: "none", application_type: "native", redirect_uris: [], response_types: [],
      grant_types: ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"] },
  ],
  scopes: ["openid", "offline_access", "api"],
  features: { clientCredentials: { enabled: true }, deviceFlow: { enabled: true }, revocation: { enabled: true }, introspection: { enabled: true } },
  rotateRefreshToken: true,
  issueRefreshToken: async () => true,
  pkce: { required: () => true },
  ttl: { AccessToken: () => control.lifetime, ClientCredentials: () => control.lifetime, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600, DeviceCode: 600 },
})
provider.on("server_error", (context, error) => console.error(error))
const serve = provider.callback()
const read = (request) => new Promise((go) => {
  let text = ""
  request.on("data", (part) => (text += part)).on("end", () => go(text))
})

// A person who says yes to a code, without a browser.
async function approve(userCode) {
  const code = await provider.DeviceCode.findByUserCode(userCode.replace(/\W/g, ""))
  const grant = new provider.Grant({ clientId: code.clientId, accountId: "ada" })
  grant.addOIDCScope("openid offline_access")
  code.accountId = "ada"
  code.grantId = await grant.save()
  code.scope = "openid offline_access"
  code.authTime = Math.floor(Date.now() / 1000)
  await code.save(600)
}

server.on("request", async (request, answer) => {
  if (request.url === "/control") {
    const wanted = JSON.parse((await read(request)) || "{}")
    if (wanted.approve) await approve(wanted.approve)
    delete wanted.approve
    Object.assign(control, wanted)
    answer.end(JSON.stringify(control))
    return
  }
  if (request.url === "/token") {
    control.requests.push(request.headers.authorization ? "basic" : "body")
    if (control.fail > 0) {
      control.fail--
      answer.writeHead(503).end("not now")
      return
    }
    const end = answer.end.bind(answer)
    if (control.drop > 0) { // the provider has done it, and the answer is lost
      control.drop--
      answer.end = () => { answer.destroy() }
    } else if (control.delay > 0) { // it has done it, and the answer is late
      const { delay } = control
      answer.end = (...rest) => { setTimeout(() => end(...rest), delay) }
    }
  }
  serve(request, answer)
})
console.log(url)
