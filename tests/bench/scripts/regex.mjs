// What regex.lua does, on the same text.
const pad = (value) => String(value).padStart(2, "0");

function makeText(bytes, name) {
  const lines = [];
  for (let size = 0, n = 0; size < bytes; n++) {
    const line = `On day ${n % 31} ${name} wrote 2024-${pad((n % 12) + 1)}-${pad((n % 28) + 1)} to some.person${n % 1000}@example.com, then went home; costs 12-34.\n`;
    lines.push(line);
    size += Buffer.byteLength(line);
  }
  return Buffer.from(lines.join("")).toString("utf8");
}

function measure(text, regex) {
  const begin = process.cpuUsage();
  let count = 0;
  for (const _ of text.matchAll(regex)) count++;
  const used = process.cpuUsage(begin);
  return { ms: (used.user + used.system) / 1000, count };
}

const results = {};
for (const [kind, name] of [["ascii", "Zoe"], ["unicode", "Zoë"]]) {
  const text = makeText(10 * 1024 * 1024, name);
  results[kind] = {
    date: measure(text, /\d{4}-\d\d-\d\d/gu),
    mail: measure(text, /[\w.+-]+@[\w-]+(?:\.[\w-]+)+/gu),
  };
}
console.log(JSON.stringify(results));
