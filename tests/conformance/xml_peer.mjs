// Whether the npm package saxes takes the documents of cases.json (base64) for well-formed: a list of booleans.
//     node xml_peer.mjs FOLDER_OF_NODE_MODULES CASES
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { SaxesParser } = createRequire(`${process.argv[2]}/`)("saxes");

function accepts(text) {
  const parser = new SaxesParser({ xmlns: true });
  let good = true;
  parser.on("error", () => { good = false; });
  parser.write(text).close();
  return good;
}

const cases = JSON.parse(readFileSync(process.argv[3], "utf8"));
console.log(JSON.stringify(cases.map((text) => accepts(Buffer.from(text, "base64").toString("utf8")))));
