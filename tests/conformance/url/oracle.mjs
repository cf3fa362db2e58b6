// The URLs and queries of cases.json as whatwg-url, the reference implementation of the standard, and Node's own URL
// read them. Usage: node oracle.mjs FOLDER-OF-NODE-MODULES parse|query < cases.json
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(process.argv[2] + '/');
const reference = require('whatwg-url');
const cases = JSON.parse(readFileSync(0, 'utf8'));

function parse(URL, [text, base]) {
  try {
    const url = base === undefined ? new URL(text) : new URL(text, base);
    const { href, origin, protocol, username, password, hostname, port, pathname, search, hash } = url;
    return { href, origin, protocol, username, password, hostname, port, pathname, search, hash };
  } catch {
    return null;
  }
}

function query(text) {
  const parameters = new reference.URLSearchParams(text);
  return { list: [...parameters], encoded: parameters.toString() };
}

const results = process.argv[3] === 'query'
  ? cases.map(query)
  : cases.map((one) => ({ reference: parse(reference.URL, one), node: parse(URL, one) }));
process.stdout.write(JSON.stringify(results));
