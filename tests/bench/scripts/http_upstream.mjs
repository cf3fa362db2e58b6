// The upstream of http.lua and http.mjs: answers /ID with an item of about 300 bytes. Prints its port.
import { createServer } from "node:http";

const server = createServer((request, response) => {
  const id = Number(request.url.slice(1));
  const body = JSON.stringify({ id, name: `Item ${id}`, tags: ["a", "b", "c"], text: "x".repeat(200) });
  response.writeHead(200, { "Content-Type": "application/json", "Content-Length": body.length });
  response.end(body);
});
server.keepAliveTimeout = 60000;
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
