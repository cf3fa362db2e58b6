// Talks to a worker with the protocol's own SDK and prints what it got as JSON.
// Arguments: the folder of the npm packages, then "stdio" BINARY DIR, or "http" URL TOKEN.
import { createRequire } from "node:module"
import { pathToFileURL } from "node:url"

const [packages, way, first, second] = process.argv.slice(2)
const require = createRequire(packages + "/")
const load = (name) => import(pathToFileURL(require.resolve("@modelcontextprotocol/sdk/" + name)))
const { Client } = await load("client/index.js")
const { StdioClientTransport } = await load("client/stdio.js")
const { StreamableHTTPClientTransport } = await load("client/streamableHttp.js")
const { LoggingMessageNotificationSchema, ToolListChangedNotificationSchema } = await load("types.js")

const transport = way === "stdio"
  ? new StdioClientTransport({ command: first, args: ["mcp", second], stderr: "ignore" })
  : new StreamableHTTPClientTransport(new URL(first), { requestInit: { headers: { Authorization: `Bearer ${second}` } } })
const client = new Client({ name: "test", version: "1.0.0" }, { capabilities: {} })
const logs = []
client.setNotificationHandler(LoggingMessageNotificationSchema, (message) => { logs.push(message.params) })
await client.connect(transport)

const failing = async (promise) => promise.then(() => null, (error) => ({ code: error.code, message: error.message }))
const call = (name, args, options) => client.callTool({ name, arguments: args }, undefined, options)
const seen = { server: client.getServerVersion(), capabilities: client.getServerCapabilities() }
seen.tools = (await client.listTools()).tools
seen.add = await call("add", { a: 1, b: 2.5 })
seen.mistake = await call("add", { a: "x" })
seen.failure = await call("test_error_handling", {})
seen.unknown = await failing(call("ad", {}))
const progress = []
seen.withProgress = await call("test_tool_with_progress", {}, { onprogress: (p) => progress.push(p) })
seen.progress = progress
await client.setLoggingLevel("warning")
await call("test_tool_with_logging", {})
seen.quiet = logs.length
await client.setLoggingLevel("info")
await call("test_tool_with_logging", {})
seen.logs = logs
const stop = new AbortController()
const waiting = failing(call("wait", {}, { signal: stop.signal }))
while (!logs.some((line) => line.data === "waiting")) await new Promise((go) => setTimeout(go, 10))
stop.abort()
seen.stopped = await waiting
seen.resources = (await client.listResources()).resources
seen.templates = (await client.listResourceTemplates()).resourceTemplates
const read = async (uri) => (await client.readResource({ uri })).contents[0]
seen.rows = await read("workers://everything/databases/cities")
seen.page = await read("workers://everything/databases/cities?limit=1")
seen.row = await read("workers://everything/databases/cities/rows/A%2F%C3%BC")
seen.content = await read("workers://everything/databases/cities/content/BER")
seen.schema = await read("workers://everything/schema")
seen.noResource = await failing(read("workers://everything/databases/cities/rows/nowhere"))
seen.noUri = await failing(read("file:///etc/passwd"))
seen.ping = await client.ping()
if (way === "http") {
  const changed = new Promise((go) => client.setNotificationHandler(ToolListChangedNotificationSchema, () => go(true)))
  console.log("ready")
  seen.changed = await changed
}
console.log(JSON.stringify(seen))
await client.close()
