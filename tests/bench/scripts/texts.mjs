// The texts of texts.lua read under Node: node texts.mjs csv|xml
import { readFileSync } from "node:fs";

function rowsResult(rows) {
  let fields = 0, bytes = 0;
  for (const row of rows) for (const field of row) { fields++; bytes += Buffer.byteLength(field); }
  return { rows: rows.length, fields, bytes };
}

function addElements(result, nodes) {
  for (const node of nodes) {
    if ("#text" in node) { result.bytes += Buffer.byteLength(node["#text"]); continue; }
    if ("?xml" in node) continue;
    result.elements++;
    for (const key of Object.keys(node)) if (key !== ":@") addElements(result, node[key]);
  }
  return result;
}

let read, result;
if (process.argv[2] === "csv") {
  const papaparse = (await import("papaparse")).default;
  read = (text) => papaparse.parse(text, { skipEmptyLines: true }).data;
  result = rowsResult;
} else {
  const { XMLParser } = await import("fast-xml-parser");
  const parser = new XMLParser({ preserveOrder: true, ignoreAttributes: false, parseTagValue: false, trimValues: false });
  read = (text) => parser.parse(text);
  result = (nodes) => addElements({ elements: 0, bytes: 0 }, nodes);
}
const text = readFileSync(`data.${process.argv[2]}`, "utf8");
const before = process.cpuUsage();
const value = read(text);
const { user, system } = process.cpuUsage(before);
const ms = (user + system) / 1000;
console.log(JSON.stringify({ ...result(value), ms }));
