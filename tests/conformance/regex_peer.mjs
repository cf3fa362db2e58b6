// All matches of each case, for test_regex.py. Lines are as those of regex_peer.pl, without groups.
import { readFileSync } from "node:fs";

const decode = (hex) => Buffer.from(hex, "hex").toString("utf8");
const lines = [];
for (const line of readFileSync(0, "utf8").split("\n").slice(0, -1)) {
  const [flags, pattern, hex] = line.split(" ");
  const text = decode(hex);
  const bytes = (index) => Buffer.byteLength(text.slice(0, index));
  try {
    const regex = new RegExp(decode(pattern), "gu" + flags.replace(/[-a]/g, ""));
    lines.push([...text.matchAll(regex)].map((m) => `${bytes(m.index)}-${bytes(m.index + m[0].length)}`).join(" "));
  } catch {
    lines.push("error");
  }
}
console.log(lines.join("\n"));
