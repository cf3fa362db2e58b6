#!/usr/bin/env python3
"""workers.url against the test suite of the WHATWG URL Standard, and on generated URLs against its reference
implementation and Node's URL. WORKERS_SEED replays a seed; WORKERS_FULL=1 runs more."""
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest
from urllib.parse import unquote

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import crates  # noqa: E402
import npm  # noqa: E402

FIELDS = ["href", "origin", "protocol", "username", "password", "hostname", "port", "pathname", "search", "hash"]
BEYOND_ASCII = "its host has letters beyond ASCII; write it in punycode"

# Cases of the suite that are left out, reviewed one by one; each must still differ.
LEFT_OUT = {
    # The host needs the tables of IDNA: refused, and the error says to write punycode.
    "a host beyond ASCII": [
        "http://GOO\u200b\u2060\ufeffgoo.com", "http://www.foo\u3002bar.com", "http://\uff27\uff4f.com",
        "http://\u4f60\u597d\u4f60\u597d", "https://fa\u00df.ExAmPlE/",
        "http://\uff10\uff38\uff43\uff10\uff0e\uff10\uff12\uff15\uff10\uff0e\uff10\uff11", "ftp://%e2%98%83",
        "https://%e2%98%83", "file://a\u00adb/p", "file://a%C2%ADb/p", "https://a%C2%ADb/",
        "file://loC\U0001d400\U0001d40b\U0001d407\U0001d428\U0001d42c\U0001d42d/usr/bin",
    ],
    # Labels in punycode are not decoded to see whether a browser would have written them. Neither does whatwg-url.
    "punycode that nobody would write": [
        "http://a.b.c.xn--pokxncvks", "http://10.0.0.xn--pokxncvks", "http://a.b.c.XN--pokxncvks",
        "http://a.b.c.Xn--pokxncvks", "http://10.0.0.XN--pokxncvks", "http://10.0.0.xN--pokxncvks", "file://xn--/p",
        "https://xn--/",
    ],
    # The suite is older than the standard's change of November 2024: ^ in a path is %5E.
    "a circumflex in a path": [
        "foo://host/ !\"$%&'()*+,-./:;<=>@[\\]^_`{|}~", "wss://host/ !\"$%&'()*+,-./:;<=>@[\\]^_`{|}~",
    ],
}


def browser_form(parts):
    """What a URL object would have of what url.parse gave; None for an error."""
    if "error" in parts:
        return None
    opaque = parts.get("origin") is None
    return {
        "href": parts["href"],
        "origin": "null" if opaque else parts["origin"],
        "protocol": parts["scheme"] + ":",
        "username": parts.get("user", ""),
        "password": parts.get("password", ""),
        "hostname": parts.get("host", ""),
        "port": str(parts.get("port", "")),
        "pathname": parts["path"],
        "search": "?" + parts["query"] if parts.get("query") else "",
        "hash": "#" + parts["fragment"] if parts.get("fragment") else "",
    }


class Url(unittest.TestCase):
    maxDiff = 4000

    def ours(self, tool, cases):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="workers-url-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        shutil.copy(HERE / "url" / "peer.lua", folder)
        (folder / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
        done = subprocess.run([os.environ["WORKERS_BIN"], "exec", tool, "--script", "peer.lua"], cwd=folder,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        return json.loads(done.stdout)

    def theirs(self, tool, cases):
        done = subprocess.run(["node", str(HERE / "url" / "oracle.mjs"), str(npm.ensure()), tool], input=json.dumps(cases),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        return json.loads(done.stdout)

    def check_own(self, case, parts):
        """What must hold whatever others say."""
        if "error" not in parts:
            self.assertEqual(parts["built"], parts["href"], case)
            self.assertEqual(parts.get("resolved", parts["href"]), parts["href"], case)

    def test_suite(self):
        path = crates.ensure("url") / "tests" / "urltestdata.json"
        suite = [case for case in json.loads(path.read_text(encoding="utf-8")) if isinstance(case, dict)]
        cases = [[case["input"], *([case["base"]] if case.get("base") is not None else [])] for case in suite]
        reasons = {text: reason for reason, texts in LEFT_OUT.items() for text in texts}
        left_out = {reason: 0 for reason in LEFT_OUT}
        compared = 0
        for case, given, parts in zip(suite, cases, self.ours("parse", cases)):
            self.check_own(given, parts)
            got = browser_form(parts)
            if case.get("failure"):
                wanted = None
            else:
                wanted = {name: case[name] for name in FIELDS if name in case}
                got = got and {name: got[name] for name in wanted}
            if case["input"] in reasons:
                left_out[reasons[case["input"]]] += 1
                self.assertNotEqual(got, wanted, f"{given} need not be left out any more")
            else:
                compared += 1
                self.assertEqual(got, wanted, f"{given}: {parts}")
        print(f"{compared} cases agree; left out: {left_out}")
        self.assertEqual(left_out, {reason: len(texts) for reason, texts in LEFT_OUT.items()})
        self.assertGreater(compared, 790)

    def test_generated(self):
        seeds = [os.environ["WORKERS_SEED"]] if "WORKERS_SEED" in os.environ else ["1", "2"]
        if os.environ.get("WORKERS_FULL"):
            seeds = [str(seed) for seed in range(1, 21)]
        for seed in seeds:
            cases = [random_case(random.Random(f"{seed}.{i}")) for i in range(5000)]
            valid, refused, node = 0, 0, 0
            for case, parts, other in zip(cases, self.ours("parse", cases), self.theirs("parse", cases)):
                self.check_own(case, parts)
                got, wanted = browser_form(parts), other["reference"]
                if BEYOND_ASCII in parts.get("error", "") or (wanted is None and "xn--" in parts.get("host", "")):
                    refused += 1
                    continue
                self.assertEqual(got, wanted, f"seed {seed}: {json.dumps(case)}: {parts}")
                valid += got is not None
                node += other["node"] != wanted  # Node is older than the standard here and there, and has mistakes of its own
            print(f"seed {seed}: {len(cases) - refused} URLs agree with the reference, {valid} of them valid; {refused} need "
                  f"IDNA; Node's URL differs in {node}")
            self.assertGreater(valid, 2000)
            self.assertLess(refused, 250)
            self.assertLess(node, 400)

    def test_queries(self):
        alphabet = list("aab=&&=+%?#; ~*-_.'") + ["%41", "%c3%a4", "%26", "%3D", "%2", "%zz", "%00", "ä", "%ff", "&&", "a=1"]
        cases = []
        for i in range(3000):
            rng = random.Random(i)
            cases.append("".join(rng.choice(alphabet) for _ in range(rng.randrange(16))))
        for text, got, wanted in zip(cases, self.ours("query", cases), self.theirs("query", cases)):
            # Bytes that are no UTF-8 stay here, and are replaced there.
            decoded = [[unquote(name, errors="replace"), unquote(value, errors="replace")] for name, value in got["list"]]
            self.assertEqual(decoded, wanted["list"], text)
            first = {}
            for name, value in got["list"]:
                first.setdefault(name, value)
            self.assertEqual(got["map"], first, text)
            if "\ufffd" not in json.dumps(wanted["list"], ensure_ascii=False):
                self.assertEqual(got["encoded"], wanted["encoded"], text)
        print(f"{len(cases)} queries agree")


# ---- generated URLs ----

SCHEMES = ["http", "https", "ws", "wss", "ftp", "file", "HTTP", "x", "web+x.y-z", "mailto", "data", "blob", "javascript", "1a",
           "é", ""]
SLASHES = ["://"] * 12 + [":", ":/", ":///", ":\\\\", ":/\\", "//", "/", "\\", "", "?", "#"]
CREDENTIALS = [""] * 8 + ["u@", "u:p@", ":p@", "@", ":@", "a%20b:c d@", "a@b@", "u:p:q@", "<u>:^|`{}@", "u%:p%zz@", "ü:ö@"]
HOSTS = ["example.com", "EXAMPLE.com", "localhost", "a_b", "a..b", ".", "..", "a.", "-a-", "ab--cd", "xn--bcher-kva.example", "a b",
         "a%20b", "a%41", "ex%61mple.com", "a%00b", "%2e", "a%2Fb", "a<b", "a^b", "a|b", "a!$&'()*+,;=~b", "C:", "c|", "C|", "", "",
         "bücher.example", "%C3%BC", "a\tb", "0x", "0x.0x", "08.1", "1.2.3.4.5", "256.1.1.1", "1.256.1.1", "1.2.65536", "1.2.3.4.",
         "1.2.3.4..", "1..2", "0300.0250.0.1", "0x7f.1", "127.1", "2130706433", "4294967295", "4294967296", "%30x7f.1", "1.2.3.a",
         "a.1", "a.0x", "a.0x1g", "99999999999999999999", "0x00000000000000000000001", "[::1]", "[::ffff:127.0.0.1]", "[1:2:3:4:5:6:7:8]",
         "[::1", "::1]", "[]", "[:]", "[:::]", "[1::2::3]", "[1:2:3:4:5:6:7::]", "[::1%25eth0]", "[::1.2.3]", "[::1.2.3.04]", "[g::]",
         "[1:2:3:4:5:6:7:8:9]", "[12345::]", "[::256.1.1.1]"]
PORTS = [""] * 8 + [":", ":80", ":443", ":21", ":0", ":00080", ":65535", ":65536", ":99999999999", ":8a", ": 1", ":-1", ":8\t0"]
SEGMENTS = ["a", "b", "..", ".", "%2e", "%2E%2e", ".%2E", "", "...", "C:", "c|", "C|x", "a b", "ä", "^`{}|", "<>\"'", "%", "%zz", "%41",
            ";x=1", "@", ":", "[]", "\x7f", "\x01", "\u0000", "a\nb", "..a", "\U0001f600", " "]
TAILS = ["", "", "?", "#", "?a=1&b=2", "?ä '\"<>`{}^|\\", "#ä '\"<>`{}^|\\", "?q#f", "#f?g", "?#", "? ", "# ", "?\x00", "?a?b"]
EDITS = list("/\\:?#@[]%.|~ \t\nC1x") + ["//", "..", "%2e", "ä", "\x00"]
BASES = ["http://h/a/b?q#f", "https://u:p@h:8080/a/b/../c", "file:///C:/d/e", "file:///a/b", "file://host/C:/x", "x://h/a/b?q", "x://h",
         "x:/a/b", "x:/.//p", "mailto:ann@example.com", "data: x?y", "http://h", "about:blank", "ws://h/a"]


def random_ipv6(rng):
    pieces = [f"{rng.randrange(65536) if rng.random() < 0.5 else 0:x}" for _ in range(rng.choice([7, 8, 8, 8, 9]))]
    if rng.random() < 0.3:
        pieces[6:] = [".".join(str(rng.randrange(260)) for _ in range(rng.choice([4, 4, 4, 3])))]
    text = ":".join(pieces)
    if rng.random() < 0.6:
        begin, end = sorted(rng.sample(range(len(pieces) + 1), 2))
        text = ":".join(pieces[:begin]) + "::" + ":".join(pieces[end:])
    return f"[{text}]"


def random_ipv4(rng):
    parts = []
    for _ in range(rng.choice([1, 2, 3, 4, 4, 5])):
        number = rng.choice([rng.randrange(256), rng.randrange(260), rng.randrange(1 << 33), rng.randrange(70000)])
        parts.append(rng.choice(["%d", "%d", "0x%x", "0X%X", "0%o"]) % number)
    return ".".join(parts) + rng.choice(["", "", "", "."])


def random_url(rng):
    host = rng.choice([rng.choice(HOSTS), rng.choice(HOSTS), random_ipv4(rng), random_ipv6(rng)])
    path = "".join(rng.choice(["/", "/", "/", "\\", "//"]) + rng.choice(SEGMENTS) for _ in range(rng.randrange(5)))
    return (rng.choice(SCHEMES) + rng.choice(SLASHES) + rng.choice(CREDENTIALS) + host + rng.choice(PORTS) + path
            + rng.choice(TAILS))


def random_reference(rng):
    return (rng.choice(["", "", "/", "//", "\\", "?", "#", "C:", "/c|", "http:", "file:", "x:", "///"])
            + rng.choice(["/", "\\"]).join(rng.choice(SEGMENTS) for _ in range(rng.randrange(5))) + rng.choice(TAILS))


def random_case(rng):
    with_base = rng.random() < 0.4
    text = random_reference(rng) if with_base and rng.random() < 0.8 else random_url(rng)
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(EDITS) + text[at + rng.randrange(2):]
    if not with_base:
        return [text]
    return [text, random_url(rng) if rng.random() < 0.2 else rng.choice(BASES)]


if __name__ == "__main__":
    unittest.main()
