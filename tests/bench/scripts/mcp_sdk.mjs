// The same tool with the protocol's TypeScript SDK: "stdio", or "http", which prints its URL.
import http from "node:http"
import { randomUUID } from "node:crypto"
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js"
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import { z } from "zod"

const server = new McpServer({ name: "tools", version: "1.0.0" })
server.registerTool("add", {
  title: "Add", description: "Adds two numbers.", inputSchema: { a: z.number(), b: z.number() }, outputSchema: { sum: z.number() },
}, ({ a, b }) => {
  const result = { sum: a + b }
  return { content: [{ type: "text", text: JSON.stringify(result) }], structuredContent: result }
})
if (process.argv[2] === "stdio") {
  await server.connect(new StdioServerTransport())
} else {
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: () => randomUUID(), enableJsonResponse: true })
  await server.connect(transport)
  const listener = http.createServer((request, answer) => transport.handleRequest(request, answer))
  listener.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${listener.address().port}/mcp`))
}
