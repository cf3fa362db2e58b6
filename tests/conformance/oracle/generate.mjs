// Cases for run.lua and run_scripts.py, one JSON object a line, each with what the TypeScript SDK gives for it.
//     node generate.mjs NODE_MODULES [SEED] > cases.jsonl
//
//   {id, kind: "schema" | "j" | "builder", lua, expect}      a Lua expression and its JSON
//   {id, kind: "tool", lua, inputs, accept, errors}          a j expression, inputs, verdicts, Ajv's errors
//   {id, kind: "schedule" | "manifest", script, expect}      a whole script and its manifest
//   … error: true                                            in place of what is expected: both refuse
//   … stricter: true, reason                                 the SDK accepts, we refuse
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { call, handler, method, randomFrom, raw, toJs, toLua, variable } from "./notation.mjs";

const [modules, seedText = "1"] = process.argv.slice(2);
const sdk = async (file) =>
	import(pathToFileURL(resolve(modules, "node_modules/@notionhq/workers/dist", file)).href);
const { Worker, j, getSchema } = await sdk("index.js");
const Schema = await sdk("schema.js");
const Builder = await sdk("builder.js");
const NAMES = { Schema, Builder, j };
const seed = Number(seedText);
const random = randomFrom(seed);
process.stderr.write(`# cases: seed ${seed}\n`);

const counts = {};
function emit(kind, fields) {
	counts[kind] = (counts[kind] ?? 0) + 1;
	console.log(JSON.stringify({ id: `${kind}-${counts[kind]}`, kind, ...fields }));
}

// What the SDK makes of it: {expect} or {error: true}.
function outcome(compute) {
	try {
		return { expect: JSON.parse(JSON.stringify(compute())) };
	} catch {
		return { error: true };
	}
}

function stricter(result, reason) {
	if (!reason) return result;
	if (result.error) throw new Error(`the SDK refuses this too, so it is not stricter: ${reason}`);
	return { stricter: true, reason };
}

const schemaCase = (value, reason) =>
	emit("schema", { lua: toLua(value), ...stricter(outcome(() => toJs(value, NAMES)), reason) });
const jCase = (value, reason) =>
	emit("j", { lua: toLua(value), ...stricter(outcome(() => getSchema(toJs(value, NAMES))), reason) });
const builderCase = (name, ...args) => {
	const value = call("Builder", name, ...args);
	emit("builder", { lua: toLua(value), ...outcome(() => toJs(value, NAMES)) });
};

// ---- Words ----

const WORDS = ["Open", "Done", "In Arbeit", "a b", "naïve", "日本", "🎯 Ziel", 'quo"te', "back\\slash", "tab\there", "x/y~z", "100%", "end", "nil"];
const COLORS = ["default", "gray", "brown", "orange", "yellow", "green", "blue", "purple", "pink", "red"];
const word = () => random.pick(WORDS);
const distinct = (count, make) => {
	const seen = new Set();
	while (seen.size < count) seen.add(make());
	return [...seen];
};
const option = (name) => (random.chance(0.5) ? { name, color: random.pick(COLORS) } : { name });
const options = (count) => distinct(count, word).map(option);

// ---- Schema ----

for (const name of ["title", "richText", "url", "email", "phoneNumber", "checkbox", "file", "number", "date", "people", "place"])
	schemaCase(call("Schema", name));
for (const format of ["number", "number_with_commas", "percent", "dollar", "euro", "pound", "yen", "rupee", "won", "yuan"])
	schemaCase(call("Schema", "number", format));
for (const format of ["relative", "MM/DD/YYYY", "DD/MM/YYYY", "YYYY/MM/DD", "ll", "MMM d"])
	schemaCase(call("Schema", "date", format));
for (let i = 0; i < 24; i++) schemaCase(call("Schema", i % 2 ? "select" : "multiSelect", options(1 + random.below(6))));
for (let i = 0; i < 12; i++) {
	const names = distinct(6, word);
	const groups = ["To-do", "In progress", "Complete"].slice(0, 1 + random.below(3));
	schemaCase(
		call("Schema", "status", {
			groups: groups.map((name, g) => ({ name, options: names.slice(g * 2, g * 2 + (g === 0 ? 2 : random.below(3))).map(option) })),
		}),
	);
}
for (const key of ["projects", "a b", "日本"]) {
	schemaCase(call("Schema", "relation", key));
	schemaCase(call("Schema", "relation", key, { twoWay: false }));
	schemaCase(call("Schema", "relation", key, { twoWay: true, relatedPropertyName: word() }));
}
schemaCase(call("Schema", "status"));
for (const name of ["select", "multiSelect"]) {
	schemaCase(call("Schema", name, []), "a property that can hold no value; the server refuses it at deploy time");
	schemaCase(call("Schema", name), "a select without options; the server refuses it at deploy time");
	schemaCase(call("Schema", name, [{ name: "" }]), "an option without a name");
	schemaCase(call("Schema", name, [{ color: "red" }]), "an option without a name");
	schemaCase(call("Schema", name, [{ name: "a" }, { name: "a" }]), "the same option twice");
	schemaCase(call("Schema", name, [{ name: "a", colour: "red" }]), "a misspelt key");
	schemaCase(call("Schema", name, [{ name: "a", color: "grey" }]), "an unknown color");
	schemaCase(call("Schema", name, { name: "a" }), "one option instead of a list");
}
schemaCase(call("Schema", "number", "percentage"), "an unknown number format");
schemaCase(call("Schema", "date", "DD.MM.YYYY"), "an unknown date format");
schemaCase(call("Schema", "status", {}), "no groups");
schemaCase(call("Schema", "status", { groups: [] }), "no options");
schemaCase(call("Schema", "status", { groups: [{ name: "Todo", options: [{ name: "a" }] }] }), "an unknown group");
schemaCase(
	call("Schema", "status", { groups: [{ name: "To-do", options: [{ name: "a" }] }, { name: "Complete", options: [{ name: "a" }] }] }),
	"the same option in two groups",
);
schemaCase(call("Schema", "relation"), "no database");
schemaCase(call("Schema", "relation", ""), "no database");
schemaCase(call("Schema", "relation", "p", { twoWay: true }), "the other side has no name");
schemaCase(call("Schema", "relation", "p", { twoWay: false, relatedPropertyName: "x" }), "a name without a meaning");
schemaCase(call("Schema", "relation", "p", { twoway: true }), "a misspelt key");

// ---- j: random values; each also serves as a tool ----

const SIMPLE = ["string", "number", "integer", "boolean"];
const FORMATS = ["datetime", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];
const PROPERTY_NAMES = ["name", "count", "Task ID", "a/b", "tilde~x", 'quo"te', "größe", "end", "tags", "x1", "per%cent", "日本", "$ref"];
const ENUMS = [["open", "done"], ["a", "b c", 'd"e'], [1, 2, 3], [0.5, 1, -7], ["", "x"]];

function randomJ(depth, refs) {
	const kind = random.below(depth > 0 ? 13 : 7);
	let value;
	if (kind < 3) value = call("j", random.pick(SIMPLE));
	else if (kind < 5) value = call("j", random.pick(FORMATS));
	else if (kind < 6) value = call("j", "enum", ...random.pick(ENUMS));
	else if (kind < 7) value = refs && random.chance(0.5) ? call("j", "ref", random.pick(refs)) : call("j", "string");
	else if (kind < 10) value = randomObject(depth - 1, refs);
	else if (kind < 12) value = call("j", "array", randomJ(depth - 1, refs), random.chance(0.4) ? { minItems: random.below(3) } : undefined);
	else value = call("j", "anyOf", ...Array.from({ length: 1 + random.below(3) }, () => randomJ(depth - 1, refs)));
	if (random.chance(0.25)) value = method(value, "describe", word());
	if (random.chance(0.25)) value = method(value, "nullable");
	if (random.chance(0.1)) value = method(value, "describe", word());
	return value;
}

function randomObject(depth, refs) {
	const names = distinct(random.below(4), () => random.pick(PROPERTY_NAMES));
	return call("j", "object", Object.fromEntries(names.map((name) => [name, randomJ(depth, refs)])));
}

// A value that often fits the schema, and now and then does not.
const TEXTS = {
	"date-time": ["2024-01-15T10:30:00Z", "2024-01-15T10:30"],
	date: ["2024-02-29", "2023-02-29"],
	time: ["10:30:00Z", "10:30"],
	duration: ["P1DT2H", "P"],
	email: ["ada@example.com", "ada"],
	hostname: ["example.com", "-"],
	ipv4: ["10.0.0.1", "10.0.0.256"],
	ipv6: ["::1", ":::1"],
	uuid: ["123e4567-e89b-12d3-a456-426614174000", "123"],
};
const WRONG = ["x", "", 7, -1.5, true, false, null, [], {}, [1, "a"], { stray: 1 }, 1e300, "2024-02-29"];

function follow(root, ref) {
	let at = root;
	for (const part of ref.slice(1).split("/").filter(Boolean)) at = at?.[decodeURIComponent(part).replace(/~1/g, "/").replace(/~0/g, "~")];
	return at;
}

function sample(schema, root, depth, wrongness) {
	if (schema === undefined || depth > 8 || random.chance(wrongness)) return random.pick(WRONG);
	if (schema.$ref !== undefined) return sample(follow(root, schema.$ref), root, depth + 1, wrongness);
	if (schema.anyOf) return sample(depth > 4 ? schema.anyOf.at(-1) : random.pick(schema.anyOf), root, depth + 1, wrongness);
	if (schema.enum) return random.pick(schema.enum);
	switch (schema.type) {
		case "string":
			return schema.format ? TEXTS[schema.format][random.chance(wrongness) ? 1 : 0] : word();
		case "number":
			return random.pick([0, 1, 2.5, -3, 1e21, 123456789]);
		case "integer":
			return random.chance(wrongness) ? 1.5 : random.pick([0, 1, -3, 1e15, 42]);
		case "boolean":
			return random.chance(0.5);
		case "null":
			return null;
		case "array":
			return Array.from({ length: random.below(4) }, () => sample(schema.items, root, depth + 1, wrongness));
		case "object": {
			const value = {};
			for (const [name, inner] of Object.entries(schema.properties))
				if (!random.chance(wrongness)) value[name] = sample(inner, root, depth + 1, wrongness);
			if (random.chance(wrongness)) value.stray = 1;
			return value;
		}
	}
	return random.pick(WRONG);
}

// Ajv names the first stray property it meets, we the least one, since a Lua table has no order: so the least comes first.
function sorted(value) {
	if (Array.isArray(value)) return value.map(sorted);
	if (value === null || typeof value !== "object") return value;
	return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}

async function verdict(capability, input) {
	try {
		await capability.handler(structuredClone(input), { concreteOutput: true });
		return { accept: true, errors: null };
	} catch (error) {
		if (error.name !== "InvalidToolInputError") return null; // endless recursion
		return { accept: false, errors: JSON.parse(error.message) };
	}
}

async function toolCase(value, { inputs = [], samples = 10, reason } = {}) {
	const config = (schema) => ({ title: "t", description: "d", schema, execute: () => null });
	let capability;
	try {
		capability = new Worker().tool("t", config(toJs(value, NAMES)));
	} catch {
		if (reason) throw new Error(`the SDK refuses this too, so it is not stricter: ${reason}`);
		emit("tool", { lua: toLua(value), error: true });
		return;
	}
	if (reason) {
		emit("tool", { lua: toLua(value), stricter: true, reason });
		return;
	}
	const schema = getSchema(toJs(value, NAMES));
	const all = [...inputs];
	for (let i = 0; i < samples; i++) all.push(sample(schema, schema, 0, i < 3 ? 0 : 0.15));
	const fields = { lua: toLua(value), schema, inputs: [], accept: [], errors: [] };
	for (const unsorted of all) {
		const input = sorted(unsorted);
		const result = await verdict(capability, input);
		if (!result) continue;
		fields.inputs.push(input);
		fields.accept.push(result.accept);
		fields.errors.push(result.errors);
	}
	emit("tool", fields);
}

for (const name of [...SIMPLE, ...FORMATS]) {
	jCase(call("j", name));
	jCase(method(call("j", name), "describe", `a ${name}`));
	jCase(method(method(call("j", name), "describe", `a ${name}`), "nullable"));
	await toolCase(call("j", name), { inputs: WRONG });
	await toolCase(method(call("j", name), "nullable"), { inputs: WRONG });
}
for (const values of ENUMS) {
	jCase(call("j", "enum", ...values));
	await toolCase(call("j", "enum", ...values), { inputs: [...WRONG, ...values, ...values.map(String)] });
}
const text = call("j", "string");
jCase(method(method(text, "nullable"), "nullable"));
jCase(method(method(text, "describe", ""), "nullable"));
jCase(method(method(method(text, "describe", "a"), "describe", "b"), "nullable"));
jCase(call("j", "object", {}));
jCase(call("j", "array", text, {}));
for (const minItems of [0, 1, 2, 100]) {
	jCase(call("j", "array", text, { minItems }));
	await toolCase(call("j", "array", text, { minItems }), { inputs: [[], ["a"], ["a", "b"], {}, "a"] });
}
for (const path of ["#", "#/properties/a", "", "#/"]) jCase(call("j", "ref", path));
for (let i = 0; i < 40; i++) jCase(randomJ(3));
for (let i = 0; i < 20; i++) jCase(call("j", "object", Object.fromEntries(distinct(6, () => random.pick(PROPERTY_NAMES)).map((n) => [n, randomJ(1)]))));
jCase(call("j", "enum"), "no value fits; registering the tool fails in the SDK");
jCase(call("j", "enum", "a", "a"), "the same value twice; registering the tool fails in the SDK");
jCase(call("j", "enum", true), "neither a string nor a number");
jCase(call("j", "anyOf"), "no value fits; registering the tool fails in the SDK");
jCase(call("j", "array", text, { minItems: -1 }), "registering the tool fails in the SDK");
jCase(call("j", "array", text, { minItems: 1.5 }), "registering the tool fails in the SDK");
jCase(call("j", "array", text, { minitems: 1 }), "a misspelt option");
jCase(method(text, "describe", 5), "registering the tool fails in the SDK");
jCase(call("j", "object", { a: 5 }), "not a j value; registering the tool fails in the SDK");
jCase(call("j", "ref", 5), "not a path");
jCase(call("j", "array"));
jCase(call("j", "object"));

for (let i = 0; i < 60; i++) await toolCase(randomObject(3), { inputs: [random.pick(WRONG)] });
for (let i = 0; i < 30; i++) await toolCase(randomJ(3), { inputs: [random.pick(WRONG)] });
for (let i = 0; i < 60; i++) {
	const names = ["a", "b b", "c/d~"];
	const refs = ["#", "#/properties/a", "#/properties/b b", "#/properties/b%20b", "#/properties/c~1d~0", "#/properties/a/items", "#/properties/a/anyOf/0"];
	await toolCase(call("j", "object", Object.fromEntries(names.map((name) => [name, randomJ(2, refs)]))), { samples: 14 });
}
const node = call("j", "object", { value: text, next: method(call("j", "ref", "#"), "nullable") });
const chain = (length, end) => (length === 0 ? end : { value: "v", next: chain(length - 1, end) });
await toolCase(node, { inputs: [chain(1, null), chain(50, null), chain(50, 5), chain(3, {})] });
for (const path of ["#/nope", "#/properties/z", "x", "http://example.com/a", "#properties/a", "#/properties/%zz", "#/properties/a/", "#/properties", "#/type", "#/required/0"])
	await toolCase(call("j", "object", { a: text, b: call("j", "ref", path) }));
await toolCase(call("j", "object", { a: text, b: call("j", "ref", "#/additionalProperties") }), { inputs: [{ a: "x", b: 1 }] });
await toolCase(call("j", "object", { a: call("j", "ref", "#/properties/a") }));
await toolCase(call("j", "object", { a: call("j", "ref", "#/properties/b"), b: call("j", "ref", "#/properties/a") }));
await toolCase(call("j", "ref", "#"), { reason: "every call would recurse without end" });
await toolCase(call("j", "object", { a: text, b: call("j", "ref", "#/properties/c"), c: call("j", "ref", "#/properties/a") }), { inputs: [{ a: "", b: 1, c: "" }] });

// ---- Builder ----

for (const name of ["title", "richText", "text", "url", "email", "phoneNumber", "select", "status", "relation", "emojiIcon", "imageIcon", "imageCover"])
	for (const value of ["x", "", "日本 🎯", 'a"b\\c\n']) builderCase(name, value);
for (const value of [true, false]) builderCase("checkbox", value);
for (const value of [0, 1, -1, 42, 0.1, -0.5, 1e21, 1.5e300, 1e-7, 123456789012345680000, 2 ** 53, 5e-324, 0.1 + 0.2, 1 / 3, -0, NaN, Infinity, -Infinity, 100, 1e20])
	builderCase("number", value);
builderCase("file", "https://example.com/a.pdf");
builderCase("file", "https://example.com/a.pdf", "A");
builderCase("file", "https://example.com/a.pdf", "");
builderCase("link", "text", "https://example.com");
for (const date of ["2024-02-29", "2024-02-30", "2023-02-29", "2024-13-01", "2024-00-01", "2024-01-00", "2024-01-32", "2024-04-31", "0000-01-01", "9999-12-31", "2024-1-1", "24-01-01", "2024-01-01T00:00", "", " 2024-01-01", "2024/01/01", "2024-01-01\n", "1900-02-29"]) {
	builderCase("date", date);
	builderCase("dateRange", "2024-01-01", date);
	builderCase("dateRange", date, "2024-01-31");
}
for (const time of ["2024-01-15T10:30", "2024-01-15T10:30:00Z", "2024-01-15T10:30:59.123+05:00", "2024-01-15T10:30:00.123456789Z", "2024-01-15T24:00", "2024-01-15T24:00:00Z", "2024-01-15T24:01", "2024-01-15T23:60", "2024-01-15T10:30:60Z", "2024-02-30T10:00Z", "2024-02-30T10:00", "2024-01-15 10:30", "2024-01-15T10", "2024-01-15", "2024-01-15T10:30Zjunk", "2024-01-15T10:30+0500", "2024-01-15T10:30+25:00", "2024-01-15T10:30-08:00", "2024-13-15T10:30", "2024-01-15t10:30", "", "2024-01-15T10:30z", "2024-01-15T10:30:00,5Z", "2024-01-15T10:30:00."]) {
	builderCase("dateTime", time);
	builderCase("dateTimeRange", "2024-01-01T00:00Z", time);
}
builderCase("dateTime", "2024-01-15T10:30", "Europe/Berlin");
builderCase("dateTime", "2024-01-15T10:30Z", "");
builderCase("dateTimeRange", "2024-01-15T10:30", "2024-01-15T11:30", "America/New_York");
builderCase("multiSelect");
builderCase("multiSelect", "a");
builderCase("multiSelect", "a", "b c", "日本");
builderCase("people");
builderCase("people", "a@example.com", "b@example.com");
builderCase("place", { lat: 52.5, lon: 13.4 });
builderCase("place", { lat: 0, lon: -180, name: "N", address: "A", googlePlaceId: "G" });
builderCase("place", { lat: "52.5", lon: 13.4 });
builderCase("place", { lat: 52.5 });
for (const color of [undefined, "gray", "lightgray", "red"]) builderCase("notionIcon", "pizza", color);
for (const position of [0, 0.25, 1, -0.1, 1.1, NaN, Infinity]) builderCase("imageCover", "https://example.com/c.png", position);

// ---- Whole scripts ----

const HEAD = `local workers = require "workers"
local Schema, Builder, j, null = workers.schema, workers.builder, workers.j, workers.null
local worker = workers.new()
`;

// Statements are [variable or null, call].
function scriptCase(kind, statements, { reason, pick = (manifest) => manifest } = {}) {
	const lines = statements.map(([name, value]) => (name ? `local ${name} = ` : "") + toLua(value));
	const script = `${HEAD}${lines.join("\n")}\nreturn worker\n`;
	const result = outcome(() => {
		const names = { ...NAMES, worker: new Worker() };
		for (const [name, value] of statements) {
			const made = toJs(value, names);
			if (name) names[name] = made;
		}
		const { sdkVersion, ...manifest } = names.worker.manifest;
		return pick(manifest);
	});
	emit(kind, { script, ...stricter(result, reason) });
}

const on = (name, ...args) => method(variable("worker"), name, ...args);
const database = (properties, more = {}) => ({
	type: "managed",
	initialTitle: "Tasks",
	primaryKeyProperty: "ID",
	schema: { properties: { Name: call("Schema", "title"), ID: call("Schema", "richText"), ...properties }, ...more },
});
const tasks = ["tasks", on("database", "tasks", database({}))];
const sync = (more) => ({ database: variable("tasks"), ...more, execute: handler });

for (const schedule of ["continuous", "manual", "1m", "30m", "59m", "60m", "1h", "24h", "168h", "1d", "7d", "10080m", "007d", "0m", "0d", "169h", "8d", "10081m", "1w", "30", "m", "-1m", "1.5h", " 1h", "1h ", "1H", "every 5m", "1h30m", "99999999999999999999d", "1m\n", "٣m"])
	scriptCase("schedule", [tasks, [null, on("sync", "s", sync({ schedule }))]]);

scriptCase("manifest", []);
scriptCase("manifest", [tasks]);
scriptCase("manifest", [tasks, [null, on("sync", "s", sync({}))]]);
scriptCase("manifest", [tasks, [null, on("sync", "s", sync({ mode: "incremental", schedule: "1h" }))], [null, on("sync", "t", sync({ mode: "replace", schedule: "manual" }))]]);
scriptCase("manifest", [["tasks", on("database", "tasks", database({}, { databaseIcon: call("Builder", "emojiIcon", "🎯") }))]]);
scriptCase("manifest", [["tasks", on("database", "tasks", database({}, { databaseIcon: call("Builder", "notionIcon", "pizza", "red") }))]]);
scriptCase("manifest", [
	["tasks", on("database", "tasks", database({
		Parent: call("Schema", "relation", "tasks", { twoWay: true, relatedPropertyName: "Children" }),
		Children: call("Schema", "relation", "tasks", { twoWay: true, relatedPropertyName: "Parent" }),
	}, { subItems: { parentPropertyName: "Parent", childPropertyName: "Children" } }))],
]);
scriptCase("manifest", [["projects", on("database", "projects", database({}))], ["tasks", on("database", "tasks", database({ Project: call("Schema", "relation", "projects") }))]]);
scriptCase("manifest", [["tasks", on("database", "tasks", { ...database({}), type: "attached" })]]);
scriptCase("manifest", [["api", on("pacer", "api", { allowedRequests: 10, intervalMs: 1000 })], ["slow", on("pacer", "slow", { allowedRequests: 1, intervalMs: 60000 })]]);
for (let i = 0; i < 10; i++) {
	const kinds = ["title", "richText", "url", "email", "phoneNumber", "checkbox", "file", "number", "date", "people", "place"].slice(1);
	const properties = Object.fromEntries(distinct(5, word).map((name) => [name, random.chance(0.3) ? call("Schema", "select", options(2)) : call("Schema", random.pick(kinds))]));
	scriptCase("manifest", [["tasks", on("database", "tasks", database(properties))], [null, on("sync", "s", sync({ schedule: "1d" }))]]);
}
const tool = (more) => ({ title: "T", description: "D", schema: call("j", "object", { q: text }), ...more, execute: handler });
scriptCase("manifest", [[null, on("tool", "search", tool({}))]]);
scriptCase("manifest", [[null, on("tool", "search", tool({ outputSchema: call("j", "array", text), hints: { readOnlyHint: true } }))]]);
for (let i = 0; i < 8; i++) scriptCase("manifest", [[null, on("tool", "search", tool({ schema: randomObject(2), outputSchema: random.chance(0.5) ? randomJ(2) : undefined }))]]);
scriptCase("manifest", [[null, on("webhook", "hook", { title: "H", description: "D", execute: handler })]]);
scriptCase("manifest", [[null, on("webhook", "hook", { title: "H", description: "D", verify: handler, execute: handler })]]);
scriptCase("manifest", [[null, on("automation", "auto", { title: "A", description: "D", execute: handler })]]);
const shown = { tasks: { name: "Tasks", properties: { title: { name: "Name", type: "title" }, id: { name: "ID", type: "text", description: "Which one" } } } };
for (const more of [{}, { type: "static" }, { type: "project", command: "make", output: "out" }, { version: 3, name: "Board", description: "D", slashCommand: "/board" }, { icon: call("Builder", "emojiIcon", "📊") }, { dataSources: shown }])
	scriptCase("manifest", [tasks, [null, on("customBlock", "board", { path: "blocks/board", ...more })]]);
scriptCase("manifest", [tasks, [null, on("tool", "search", tool({}))], [null, on("customBlock", "board", { path: "blocks/board" })], [null, on("sync", "s", sync({}))], [null, on("customBlock", "second", { path: "blocks/second" })]]);
for (const more of [{ slashCommand: "A" }, { slashCommand: "" }, { slashCommand: "-a" }, { slashCommand: "a".repeat(65) }, { name: "n".repeat(128) }, { name: "n".repeat(129) }, { description: "d".repeat(1024) }, { description: "d".repeat(1025) }])
	scriptCase("manifest", [[null, on("customBlock", "board", { path: "blocks/board", ...more })]]);
const oauth = (more) => ({ name: "The provider", clientId: "$ID", clientSecret: "$SECRET", authorizationEndpoint: "https://example.com/authorize?a=b", tokenEndpoint: "https://example.com/token", scope: "read write", ...more });
for (const more of [{}, { scope: "" }, { authorizationParams: { access_type: "offline", prompt: "consent", "ä \"": "é\n" } }, { callbackUrl: "https://example.com/oauth/callback" }, { accessTokenExpireMs: 3600000 }, { clientId: "an id" }, { name: "Ü \"quoted\"" }])
	scriptCase("manifest", [[null, on("oauth", "account", oauth(more))]]);
for (const provider of ["google", "github"]) scriptCase("manifest", [[null, on("oauth", "account", { name: "Mine", provider, clientId: "$ID", clientSecret: "$SECRET", scope: "x", accessTokenExpireMs: 1000 })]]);
// among the others, in the order in which they are declared
scriptCase("manifest", [tasks, [null, on("oauth", "first", oauth({}))], [null, on("sync", "s", sync({}))], [null, on("oauth", "second", oauth({}))], [null, on("oauth", "third", oauth({}))], [null, on("tool", "search", tool({}))], [null, on("oauth", "last", oauth({}))]]);
scriptCase("manifest", [[null, on("oauth", "one", oauth({}))], [null, on("tool", "search", tool({}))]]);
// both refuse
scriptCase("manifest", [tasks, [null, on("oauth", "same", oauth({}))], [null, on("tool", "same", tool({}))]]);
scriptCase("manifest", [tasks, [null, on("pacer", "tasks", { allowedRequests: 1, intervalMs: 1000 })]]);
scriptCase("manifest", [tasks, [null, on("database", "tasks", database({}))]]);
scriptCase("manifest", [[null, on("pacer", "", { allowedRequests: 1, intervalMs: 1000 })]]);
// we refuse what fails later over there
scriptCase("manifest", [["tasks", on("database", "tasks", database({ Other: call("Schema", "title") }))]], { reason: "two titles; deploying fails" });
scriptCase("manifest", [["tasks", on("database", "tasks", database({ Project: call("Schema", "relation", "nowhere") }))]], { reason: "an unknown related database; deploying fails" });
scriptCase("manifest", [["tasks", on("database", "tasks", { ...database({}), primaryKeyProperty: "Nope" })]], { reason: "the primary key is no property; deploying fails" });
for (const [more, reason] of [[{ tokenEndpoint: undefined }, "nobody knows where tokens are given"], [{ authorizationEndpoint: "example.com" }, "it is no URL"], [{ clientId: undefined }, "no client"], [{ provider: "nobody" }, "an unknown provider"]])
	scriptCase("manifest", [[null, on("oauth", "account", oauth(more))]], { reason });

// ---- Credentials: limits, domains, headers, conflicts ----

const MARKER = "{{credential}}";
const credential = (key, network) => [null, on("credential", key, { network })];
const bearer = { Authorization: `Bearer ${MARKER}` };
const rule = (domain, ...transforms) => ({ domain, transform: (transforms.length ? transforms : [bearer]).map((headers) => ({ headers })) });
const credentialCase = (...credentials) => scriptCase("credential", credentials);

for (const key of ["API_TOKEN", "a", "A1_b", "x".repeat(64), "x".repeat(65), "1A", "_A", "A-B", "A B", "NOTION_X", "notion_x", "NOTION_API_TOKEN", "Notion_Api_Base_Url", "NOTION_", "NOTIONX", "ÄB"])
	credentialCase(credential(key, [rule("api.example.com")]));
for (const domain of ["api.example.com", "API.Example.COM", " api.example.com\t", "api.example.com.", "*.example.com", "*.com", "*", "com", "localhost", "api", "*.*.com", "a.*.com", "api.*", "*api.example.com", "-a.com", "a-.com", "a-b.com", "a--b.com", "a_b.com", "1.2.3.4", "[::1]", "::1", "api.example.com:443", "https://api.example.com", "api.example.com/x", "a..com", ".a.com", "..", "a.com..", "münchen.de", "xn--mnchen-3ya.de", `${"a".repeat(63)}.com`, `${"a".repeat(64)}.com`, `${"a.".repeat(125)}com`, `${"a.".repeat(126)}com`, "a b.com", "a.com\n", ".", "*."])
	credentialCase(credential("KEY", [rule(domain)]));
scriptCase("credential", [credential("KEY", [rule("\u00a0a.com")])], { reason: "a space that is none of ASCII's is no part of a host name" });
for (const [name, template] of [["X-Key", MARKER], ["x-key", `a ${MARKER} b`], ["X Key", MARKER], ["X:Key", MARKER], ["!#$%&'*+-.^_`|~0aZ", MARKER], ["Ü", MARKER], ["k".repeat(256), MARKER], ["k".repeat(257), MARKER], ["K", "none"], ["K", `${MARKER}${MARKER}`], ["K", `${MARKER} and ${MARKER}`], ["K", "{{credential}"], ["K", "{{Credential}}"], ["K", `{${MARKER}}`], ["K", `a\n${MARKER}`], ["K", `a\t${MARKER}`], ["K", `\x7f${MARKER}`], ["K", `ü€𝄞 ${MARKER}`], ["K", `${"t".repeat(8178)}${MARKER}`], ["K", `${"t".repeat(8179)}${MARKER}`], ["K", `${"ü".repeat(4089)}${MARKER}`], ["K", `${"ü".repeat(4090)}${MARKER}`], ["K", 5], ["K", true]])
	credentialCase(credential("KEY", [rule("api.example.com", { [name]: template })]));
credentialCase(credential("KEY", []));
credentialCase(credential("KEY", [{ domain: "a.com", transform: [] }]));
credentialCase(credential("KEY", [{ domain: "a.com", transform: [{ headers: {} }] }]));
credentialCase(credential("KEY", [rule("a.com"), rule("b.com"), rule("*.c.com")]));
credentialCase(credential("KEY", [rule("a.com"), rule("A.com.")]));
credentialCase(credential("KEY", [rule("a.com"), rule("*.a.com")]));
credentialCase(credential("KEY", [rule("a.com", { A: MARKER }, { B: MARKER })]));
credentialCase(credential("KEY", [rule("a.com", { A: MARKER }, { a: MARKER })]));
for (const count of [20, 21]) {
	const many = (make) => Array.from({ length: count }, (_, i) => make(i));
	credentialCase(credential("KEY", many((i) => rule(`a${i}.com`))));
	credentialCase(credential("KEY", [rule("a.com", ...many((i) => ({ [`H${i}`]: MARKER })))]));
	credentialCase(credential("KEY", [rule("a.com", Object.fromEntries(many((i) => [`H${i}`, MARKER])))]));
}
for (const count of [100, 101]) credentialCase(...Array.from({ length: count }, (_, i) => credential(`K${i}`, [rule(`a${i}.com`)])));
for (const count of [31, 33]) credentialCase(...Array.from({ length: count }, (_, i) => credential(`K${i}`, [rule(`a${i}.com`, { K: MARKER + "t".repeat(8100) })])));
credentialCase(credential("KEY", [rule("a.com")]), credential("KEY", [rule("b.com")]));
credentialCase(["api", on("pacer", "KEY", { allowedRequests: 1, intervalMs: 1000 })], credential("KEY", [rule("b.com")]));
// Which domains overlap shows in whether one header may stand on both.
const OVERLAPPING = ["a.com", "b.a.com", "c.b.a.com", "ba.com", "*.a.com", "*.b.a.com", "*.c.b.a.com", "*.ba.com", "*.com.a", "x.com"];
for (const first of OVERLAPPING)
	for (const second of OVERLAPPING)
		if (first <= second) credentialCase(credential("ONE", [rule(first, { "X-Key": MARKER })]), credential("TWO", [rule(second, { "x-key": MARKER })]));
for (let i = 0; i < 20; i++) {
	const some = (limit) => distinct(1 + random.below(limit), () => random.pick(OVERLAPPING));
	const headers = () => Object.fromEntries(distinct(1 + random.below(2), () => random.pick(["A", "B", "c"])).map((name) => [name, `${random.pick(["", "Bearer ", "x"])}${MARKER}`]));
	credentialCase(...["ONE", "TWO", "THREE"].slice(0, 1 + random.below(3)).map((key) => credential(key, some(3).map((domain) => rule(domain, headers())))));
}

const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
process.stderr.write(`# ${total} cases: ${Object.entries(counts).map(([kind, count]) => `${count} ${kind}`).join(", ")}\n`);
