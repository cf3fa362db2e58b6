// One description of a call, from which both sides come: the JavaScript value, computed by the SDK, and the text of the
// Lua expression. A description is a plain value, a list, a map, or one of the marks below.

class Mark {
	constructor(fields) {
		Object.assign(this, fields);
	}
}

// ns.name(...args), where ns is Schema, Builder, j or a variable of a script
export const call = (ns, name, ...args) => new Mark({ mark: "call", ns, name, args });
// on:name(...args) in Lua, on.name(...args) in JavaScript
export const method = (on, name, ...args) => new Mark({ mark: "method", on, name, args });
export const variable = (name) => new Mark({ mark: "variable", name });
// the same on both sides but written out: {lua, js}
export const raw = (lua, js) => new Mark({ mark: "raw", lua, js });
// a function as an option: it does nothing of interest
export const handler = raw("function() return { changes = {}, hasMore = false } end", async () => ({
	changes: [],
	hasMore: false,
}));

const RESERVED = new Set(
	("and break do else elseif end false for function goto if in local nil not or repeat return then true until " +
		"while").split(" "),
);

export function luaString(text) {
	let out = '"';
	for (const c of text) {
		const code = c.codePointAt(0);
		if (c === '"' || c === "\\") out += `\\${c}`;
		else if (code < 32 || code === 127) out += `\\${String(code).padStart(3, "0")}`;
		else out += c;
	}
	return `${out}"`;
}

const isName = (key) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(key) && !RESERVED.has(key);

function luaNumber(value) {
	if (Number.isNaN(value)) return "(0/0)";
	if (value === Infinity) return "math.huge";
	if (value === -Infinity) return "-math.huge";
	if (Object.is(value, -0)) return "-0.0";
	return String(value);
}

export function toLua(value) {
	if (value === undefined) return "nil";
	if (value === null) return "null";
	if (typeof value === "string") return luaString(value);
	if (typeof value === "number") return luaNumber(value);
	if (typeof value === "boolean") return String(value);
	if (Array.isArray(value)) return value.length ? `{ ${value.map(toLua).join(", ")} }` : "{}";
	if (value instanceof Mark) {
		if (value.mark === "raw") return value.lua;
		if (value.mark === "variable") return value.name;
		const args = value.args.map(toLua);
		while (args.at(-1) === "nil") args.pop();
		if (value.mark === "method") return `${toLua(value.on)}:${value.name}(${args.join(", ")})`;
		const name = isName(value.name) ? `.${value.name}` : `[${luaString(value.name)}]`;
		return `${value.ns}${name}(${args.join(", ")})`;
	}
	const entries = Object.entries(value)
		.filter(([, v]) => v !== undefined)
		.map(([k, v]) => `${isName(k) ? k : `[${luaString(k)}]`} = ${toLua(v)}`);
	return entries.length ? `{ ${entries.join(", ")} }` : "{}";
}

export function toJs(value, names) {
	if (Array.isArray(value)) return value.map((item) => toJs(item, names));
	if (value instanceof Mark) {
		if (value.mark === "raw") return value.js;
		if (value.mark === "variable") return names[value.name];
		const on = value.mark === "method" ? toJs(value.on, names) : names[value.ns];
		return on[value.name](...value.args.map((item) => toJs(item, names)));
	}
	if (value !== null && typeof value === "object")
		return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, toJs(v, names)]));
	return value;
}

// A small seeded generator (mulberry32), so that a printed seed repeats a run.
export function randomFrom(seed) {
	let state = seed >>> 0;
	const next = () => {
		state = (state + 0x6d2b79f5) >>> 0;
		let t = state;
		t = Math.imul(t ^ (t >>> 15), t | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
	const below = (n) => Math.floor(next() * n);
	return {
		below,
		chance: (p) => next() < p,
		pick: (list) => list[below(list.length)],
		number: next,
	};
}
