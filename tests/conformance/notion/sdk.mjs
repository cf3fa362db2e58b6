// Makes the same calls with Notion's own SDK. Arguments: the folder of the npm packages, the base URL, a file of cases.
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"

const [packages, baseUrl, file] = process.argv.slice(2)
const { Client } = createRequire(packages + "/")("@notionhq/client")
const client = new Client({ auth: "secret_token", baseUrl, retry: false, logger: () => {} })
for (const { fn, args } of JSON.parse(readFileSync(file, "utf8"))) {
  const given = { ...args }
  if (given.file) given.file = { filename: given.file.filename, data: new Blob([given.file.content], { type: given.file.contentType }) }
  const path = fn.split(".")
  const owner = path.slice(0, -1).reduce((place, part) => place[part], client)
  await owner[path.at(-1)](given)
}
