// Strings for the formats of tool inputs, with the verdict of ajv-formats: JSON lines {format, text, valid}.
//     node formats.mjs NODE_MODULES [SEED [COUNT]]
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { randomFrom } from "./notation.mjs";

const [modules, seedText = "1", countText = "3000"] = process.argv.slice(2);
const addFormats = createRequire(resolve(modules, "package.json"))("ajv-formats");
const seed = Number(seedText);
process.stderr.write(`# formats: seed ${seed}, ${countText} strings each\n`);

const SAMPLES = {
	"date-time":
		"2024-02-29T12:34:56Z 1990-12-31T23:59:60Z 1990-12-31T15:59:60-08:00 2024-01-01t00:00:00.123456+05:30 " +
		"2024-01-01_00:00:00z 2024-06-30T24:59:60+01:00 2023-02-29T00:00:00Z 2024-01-01T00:00:00 0000-02-29T00:00:00+0000",
	date: "2024-02-29 2023-02-28 2000-02-29 1900-02-29 2024-12-31 0000-02-29 2024-04-31 9999-01-01 2024-00-10",
	time:
		"12:34:56Z 23:59:60Z 00:00:00+05:30 23:59:59.999Z 15:59:60-08:00 00:59:60.5+01:00 12:00:00+0530 12:00:00-08 " +
		"23:59:59.9999999999999999999Z 23:59:60.99999999999999999999999Z 23:59:59.99999999999999644728632119949907064437866210937500Z " +
		"23:59:59.99999999999999644728632119949907064437866210937499Z 24:59:60+01:00 01:29:60+01:30 12:34:56",
	duration: "P1Y2M3DT4H5M6S P1Y P3W PT36H P1DT12H PT0S P1M PT1M P0D P1Y3D P1W2D PT P P1YT P10Y10M10DT10H10M10S",
	email:
		"ada@example.com a.b+c@sub.example.co.uk x@y.z #!$%&'*+-/=?^_`{}|~@example.org a@b a@-b.c a@b-.c .a@b.c a.@b.c " +
		"very.long.local.part.with.many.dots@x1.y2.z3 A@B.C a@b..c",
	hostname:
		"example.com a localhost example.com. a-b.c-d xn--nxasmq6b.example 1.2.3.4 -a.b a-.b a..b . " +
		`${"a".repeat(63)}.b ${"a".repeat(64)}.b ${"abc.".repeat(63)}a ${"abc.".repeat(63)}ab ${"abc.".repeat(63)}a. ` +
		`${"abc.".repeat(62)}abcde ${"abc.".repeat(62)}abcde. ${"abc.".repeat(62)}abcdef.`,
	ipv4: "1.2.3.4 255.255.255.255 0.0.0.0 256.1.1.1 01.2.3.4 1.2.3 1.2.3.4.5 192.168.100.200 10.0.0.09 99.199.249.25",
	ipv6:
		"2001:db8::1 :: ::1 1:2:3:4:5:6:7:8 1::8 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 ::ffff:1.2.3.4 1:2:3:4:5:6:1.2.3.4 " +
		"1:2:3:4:5::1.2.3.4 1:2:3:4:5:6::1.2.3.4 1::2:3:4:5:6:7 1:2:3:4:5:6:7::8 fe80::1%eth0 1::2::3 12345::1 ::1.2.3.4 " +
		"1:2:3:4:5:6:7:8:9 1:2:3:4::6:7:8 ABCD:EF01:2345:6789:abcd:ef01:2345:6789 1:2:3::5:1.2.3.4 ::2:3:4:5:6:1.2.3.4",
	uuid:
		"123e4567-e89b-12d3-a456-426614174000 urn:uuid:123E4567-E89B-12D3-A456-426614174000 " +
		"00000000-0000-0000-0000-000000000000 URN:UUID:ffffffff-ffff-ffff-ffff-ffffffffffff {123e4567-e89b-12d3-a456-426614174000}",
};

const ALPHABET = [..."0123456789012345678901234567890123456789:::::......-----++//TtZzPYMDHSWabcdefABCDEFgxuUnN@_!~%[]{} \t\n"];
ALPHABET.push("\u00a0", "\ufeff", "\u2003", "\u3000", "ſ", "K", "é", "٣", "😀", "\0", "\u2028", "\u180e");

function mutate(random, text, all) {
	let chars = [...text];
	for (let n = random.below(4); n > 0; n--) {
		const at = random.below(chars.length + 1);
		switch (random.below(8)) {
			case 0:
				chars.splice(at, 1);
				break;
			case 1:
				chars.splice(at, 0, random.pick(ALPHABET));
				break;
			case 2:
			case 3: // another digit, letter or separator in place of one of its kind
				if (/\d/.test(chars[at] ?? "")) chars[at] = String(random.below(10));
				else if (chars[at] !== undefined) chars[at] = random.pick(ALPHABET);
				break;
			case 4:
				chars.splice(at, 0, ...chars.slice(at, at + 1 + random.below(4)));
				break;
			case 5:
				chars = [...chars.slice(0, at), ...[...random.pick(all)].slice(at)];
				break;
			case 6:
				chars.splice(at, 1 + random.below(4));
				break;
			default: {
				const other = random.below(chars.length + 1);
				[chars[at], chars[other]] = [chars[other] ?? "", chars[at] ?? ""];
			}
		}
	}
	return chars.join("");
}

// Shapes that mutation reaches too seldom: times near a leap second in every zone, addresses of every length.
const two = (n) => String(n).padStart(2, "0");
const SPECIAL = {
	time: (random) => {
		const zone = random.pick(["Z", `${random.pick("+-")}${two(random.below(25))}${random.pick(["", ":"])}${two(random.below(61))}`]);
		const [hour, minute] = [random.below(26), random.pick([59, 0, 29, 30, random.below(61)])];
		return `${two(hour)}:${two(minute)}:${random.pick(["60", "59.9", "60.5", "61", "59"])}${zone}`;
	},
	ipv6: (random) => {
		const part = () => random.below(65536).toString(16);
		const groups = Array.from({ length: random.below(9) }, part);
		const tail = random.chance(0.4) ? [random.pick(["1.2.3.4", "255.255.255.255", "1.2.3.256", "01.2.3.4"])] : [];
		const all = [...groups, ...tail];
		if (random.chance(0.7)) all.splice(random.below(all.length + 1), 0, "");
		let text = all.join(":");
		if (text.startsWith(":")) text = `:${text}`;
		if (text.endsWith(":")) text += ":";
		return text;
	},
	duration: (random) => {
		const take = (letters) => [...letters].filter(() => random.chance(0.5)).map((c) => random.below(40) + c).join("");
		return `P${take("YMD")}${random.chance(0.5) ? `T${take("HMS")}` : ""}${random.chance(0.1) ? "1W" : ""}`;
	},
};
SPECIAL["date-time"] = (random) => `19${two(random.below(100))}-${two(random.below(14))}-${two(random.below(33))}${random.pick(["T", "t", " ", "\u00a0", "TT", "_"])}${SPECIAL.time(random)}`;
SPECIAL.date = (random) => `${two(random.below(100))}${two(random.below(100))}-${two(random.below(14))}-${two(random.below(33))}`;
SPECIAL.hostname = (random) =>
	Array.from({ length: 1 + random.below(6) }, () => "ab-1Z".repeat(13).slice(random.below(5), random.pick([1, 2, 5, 61, 62, 63, 64, 65]) + random.below(3))).join(".") +
	random.pick(["", "", ".", ".."]);

function accepts(format, text) {
	if (format instanceof RegExp) return format.test(text);
	if (typeof format === "function") return Boolean(format(text));
	return format.validate instanceof RegExp ? format.validate.test(text) : Boolean(format.validate(text));
}

for (const [name, samples] of Object.entries(SAMPLES)) {
	const random = randomFrom(seed * 1000 + name.length * 7 + name.charCodeAt(0));
	const format = addFormats.get(name);
	const all = samples.split(" ").map((text) => text.replace("_00", " 00"));
	const seen = new Set(["", ...all]);
	while (seen.size < Number(countText))
		seen.add(
			SPECIAL[name] && random.chance(0.3) ? SPECIAL[name](random) : mutate(random, random.pick(all), all),
		);
	for (const text of seen) console.log(JSON.stringify({ format: name, text, valid: accepts(format, text) }));
}
