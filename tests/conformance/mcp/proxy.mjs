// Puts a token into every request on its way to a server, for clients that have none to send. Streams stay streams.
// Arguments: the server's URL, the token. Prints its own URL.
import http from "node:http"

const [target, token] = process.argv.slice(2)
const { hostname, port } = new URL(target)
const proxy = http.createServer((request, answer) => {
  const headers = { ...request.headers, authorization: `Bearer ${token}` }
  const onward = http.request({ hostname, port, path: request.url, method: request.method, headers }, (response) => {
    answer.writeHead(response.statusCode, response.headers)
    answer.flushHeaders()
    response.pipe(answer)
  })
  onward.on("error", () => answer.destroy())
  answer.on("close", () => onward.destroy())
  request.pipe(onward)
})
proxy.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${proxy.address().port}`))
