#!/usr/bin/env python3
"""workers.text against others: Python's unicodedata, codecs and html, ICU through Node's Intl.Segmenter, commonmark.js with the
652 examples of the CommonMark specification, and cmark-gfm.

WORKERS_SEED replays a seed for what is generated; WORKERS_FULL=1 generates ten times as much."""
import codecs
import html
import html.entities
import html.parser
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import unicodedata
import unittest
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import npm  # noqa: E402

SEED = int(os.environ.get("WORKERS_SEED", "1"))
TIMES = 10 if os.environ.get("WORKERS_FULL") else 1


class Driver:
    def __init__(self):
        self.process = subprocess.Popen([os.environ["TEXT_DRIVER"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def bytes(self, function, text):
        text = text.encode() if isinstance(text, str) else text
        self.process.stdin.write(b"%s %d\n" % (function.encode(), len(text)) + text)
        self.process.stdin.flush()
        size, verdict = self.process.stdout.readline().split()
        result = self.process.stdout.read(int(size))
        if verdict != b"ok":
            raise ValueError(f"{function}: {result.decode(errors='replace')}")
        return result

    def __call__(self, function, text):
        return self.bytes(function, text).decode()

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(timeout=60)


def peer(**wanted):
    """What text_peer.mjs makes of the texts; skips the test without Node."""
    question = json.dumps({"markdown": [], "text": [], **wanted})
    done = subprocess.run(["node", str(HERE / "text_peer.mjs"), str(npm.ensure())], input=question, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, encoding="utf-8", timeout=300)
    if done.returncode != 0:
        raise AssertionError(done.stderr[-2000:])
    return json.loads(done.stdout)


# ---- trees of HTML, to compare ----

BLOCKS = set("p h1 h2 h3 h4 h5 h6 ul ol li blockquote pre hr table thead tbody tr td th".split())
VOIDS = {"br", "hr", "img", "input"}
START, END = "\ue000", "\ue001"  # white space after the one and before the other does not count


class Tree(html.parser.HTMLParser):
    """HTML as one text that is the same when the trees are: no comments, attributes in order, white space collapsed outside pre."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.parts, self.pre = [], 0
        self.feed(text)
        self.close()
        text = re.sub(f"{START}[ {START}]*", START, "".join(self.parts))
        text = re.sub(f" *{END}", END, text).replace(START, "").replace(END, "")
        self.text = re.sub(" *<br> *", "<br>", text).strip(" \n")

    def handle_starttag(self, tag, attributes):
        shown = "".join(f" {name}={urllib.parse.unquote(value or '')!r}" for name, value in sorted(attributes))
        self.pre += tag == "pre"
        self.parts.append((END if tag in BLOCKS else "") + f"<{tag}{shown}>" + (START if tag in BLOCKS and not self.pre else ""))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        if tag in VOIDS:
            return
        self.parts.append((END if tag in BLOCKS and not self.pre else "") + f"</{tag}>" + (START if tag in BLOCKS else ""))
        self.pre -= tag == "pre"

    def handle_data(self, text):
        self.parts.append(text if self.pre else re.sub("[ \t\n\r\f]+", " ", text))


# Examples of CommonMark 0.31.0 whose HTML does not come back, with the reason. All others must.
RAW_BLOCKS = "raw HTML: elements and attributes that Markdown has no form for, or tags that are no HTML"
RAW_INLINE = "raw HTML within a line, as above"
EMPTY_LINKS = "a link without text shows nothing, and is left out"
TITLE = "white space in titles is collapsed"
EXCEPTIONS = {
    **dict.fromkeys([21, 31, 344, 475, 476, 477, 491, 494, 524, 536, 613, 614, 615, 616, 617, 623, 626, 629, 630, 631, 642, 643],
                    RAW_INLINE),
    **dict.fromkeys([*range(148, 179), 180, *range(184, 192), 201], RAW_BLOCKS),
    **dict.fromkeys([484, 487], EMPTY_LINKS),
    196: TITLE,
}
# Tags that never end, which the test's own reader, Python's html.parser, reads otherwise since the correction of CVE-2025-6069.
READER_DEPENDENT = {156, 157, 158}


class Text(unittest.TestCase):
    maxDiff = 2000

    @classmethod
    def setUpClass(cls):
        if "TEXT_DRIVER" not in os.environ:
            raise unittest.SkipTest("TEXT_DRIVER does not name the driver")
        cls.call = Driver()

    @property
    def assigned(self):
        """The characters that Python's version of Unicode has, and utf8proc's 15.0 as well."""
        if tuple(map(int, unicodedata.unidata_version.split("."))) > (15, 0, 0):
            self.skipTest(f"Python has Unicode {unicodedata.unidata_version}, which is newer than utf8proc's 15.0")
        if not hasattr(Text, "characters"):
            Text.characters = [chr(code) for code in range(0x110000)
                               if not 0xD800 <= code < 0xE000 and unicodedata.category(chr(code)) != "Cn"]
        return Text.characters

    @classmethod
    def tearDownClass(cls):
        if hasattr(cls, "call") and cls.call.close() != 0:
            raise AssertionError("the driver failed")

    def setUp(self):
        self.random = random.Random(SEED)

    def none_of(self, failures):
        """Fails with the shortest of the failures: (what it was made of, what it became, what was got, what was expected)."""
        if failures:
            source, between, got, expected = min(failures, key=lambda failure: len(failure[0]))
            self.fail(f"{len(failures)} failures, such as\n{source!r} became\n{between!r} and that\n{got!r}, not\n{expected!r}")

    # ---- Unicode ----

    FORMS = {
        "nfc": lambda text: unicodedata.normalize("NFC", text),
        "nfd": lambda text: unicodedata.normalize("NFD", text),
        "nfkc": lambda text: unicodedata.normalize("NFKC", text),
        "nfkd": lambda text: unicodedata.normalize("NFKD", text),
        "fold": lambda text: unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold()),
        "upper": str.upper,
        "lower": str.lower,
    }

    def test_forms_of_every_character(self):
        """Each alone: between two that nothing composes with and that are in no other's form."""
        text = "\x01".join(character for character in self.assigned if character != "\x01")
        for function, expected in self.FORMS.items():
            got = self.call(function, text).split("\x01")
            wanted = [expected(character) for character in self.assigned if character != "\x01"]
            self.assertEqual(len(got), len(wanted))
            self.assertEqual([pair for pair in zip(got, wanted) if pair[0] != pair[1]], [], function)

    def random_text(self, length, pools):
        return "".join(self.random.choice(self.random.choice(pools)) for _ in range(self.random.randrange(length)))

    def test_forms_of_random_texts(self):
        marks = [c for c in self.assigned if unicodedata.combining(c)]
        composing = [c for c in self.assigned if unicodedata.normalize("NFD", c) != c]
        hangul = [chr(code) for code in (0x1100, 0x1112, 0x1161, 0x1175, 0x11A7, 0x11A8, 0x11C2, 0xAC00, 0xAC01, 0xD788)]
        indic = [chr(code) for code in (0x9C7, 0x9BE, 0x9D7, 0xB47, 0xB56, 0xF71, 0xF72, 0xF73, 0x1025, 0x102E, 0x344, 0x345)]
        words = [*"aAeoSszΣσςßİiIıǰΐ'. :-\n", "\u00ad", "\u200d"]
        pools = [marks, composing, hangul, indic, words, words, self.assigned]
        for _ in range(4000 * TIMES):
            text = self.random_text(24, pools)
            for function, expected in self.FORMS.items():
                self.assertEqual(self.call(function, text), expected(text), f"{function}({ascii(text)})")

    def test_long_runs(self):
        """Longer than any piece that is mapped at a time; many marks in a row."""
        marks = [c for c in self.assigned if unicodedata.combining(c)]
        for text in ("a" + "".join(self.random.choices(marks, k=20000)), "\u4e00" * 5000 + "\u0301", "e\u0301" * 5000,
                     "\u1112\u1161\u11ab" * 3000, "\u0344" * 1000, "Σ" * 3000, "σ'" * 3000 + "Σ'" * 3000):
            for function, expected in self.FORMS.items():
                self.assertEqual(self.call(function, text), expected(text), function)

    def test_trim(self):
        space = "".join(c for c in self.assigned if c.isspace() and c not in "\x1c\x1d\x1e\x1f")
        self.assertEqual(self.call("trim", space + "a" + space + "b" + space), "a" + space + "b")
        self.assertEqual(self.call("trim", space), "")

    def test_clusters(self):
        """One of each class of UAX #29 beside each other, in threes; but for what Unicode 15.1 changed (rule GB9c: virama)."""
        samples = ["a", " ", "\r", "\n", "\x01", "\u0300", "\u0600", "\u0903", "\u1100", "\u1160", "\u11a8", "\uac00", "\uac01",
                   "\U0001f1e6", "\U0001f1e7", "\u231a", "\u200d", "\U0001f3ff", "\U0001f468", "\u200c", "\u0e33", "\ufe0f", "\u4e00"]
        texts = [a + b + c for a in samples for b in samples for c in samples]
        pools = [samples]
        texts += [self.random_text(16, pools) for _ in range(2000 * TIMES)]
        for text, clusters in zip(texts, peer(text=texts)["clusters"]):
            self.assertEqual(self.call("length:unit=graphemes", text), str(len(clusters)), ascii(text))
            for count in range(1, min(len(clusters), 4)):
                got = self.call(f"truncate:max={count}:unit=graphemes", text)
                self.assertEqual(got, "".join(clusters[:count]), ascii(text))

    # ---- encodings ----

    # After Markus Kuhn's stress test for decoders of UTF-8 (sections 2 to 5), written anew.
    BAD = [
        b"\x80", b"\xbf", b"\x80\xbf", b"\x80\xbf\x80\xbf\x80", bytes(range(0x80, 0xC0)), b" ".join(b"%c" % c for c in range(0xC0, 0xE0)),
        b" ".join(b"%c" % c for c in range(0xE0, 0xF0)), b" ".join(b"%c" % c for c in range(0xF0, 0xF8)),
        b" ".join(b"%c" % c for c in range(0xF8, 0x100)), b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80",
        b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xc0\xe0\x80\xf0\x80\x80\xdf\xef\xbf\xf7\xbf\xbf",
        b"\xfe", b"\xff", b"\xfe\xfe\xff\xff", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf",
        b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80",
        b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xed\xaf\xbf\xed\xbf\xbf",
        b"\xf4\x90\x80\x80", b"\xf4\x8f\xbf", b"\xf0\x90", b"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", b"\xef\xbf\xbe", b"\xef\xbf\xbf",
    ]

    def check_utf8(self, data):
        try:
            data.decode()
            expected = "true"
        except UnicodeDecodeError as error:
            expected = f"false {error.start + 1}"
        self.assertEqual(self.call("isUtf8", data), expected, data)
        without_mark = data[3:] if data.startswith(codecs.BOM_UTF8) else data
        self.assertEqual(self.call("toUtf8", data), without_mark.decode(errors="replace"), data)

    def test_bad_utf8(self):
        for bad in self.BAD:
            for before in (b"", b"a", "é€😀".encode()):
                for after in (b"", b"z", "é".encode()):
                    self.check_utf8(before + bad + after)
        leads = [0x41, 0x7F, 0x80, 0x9F, 0xA0, 0x8F, 0x90, 0xBF, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5]
        for _ in range(20000 * TIMES):
            self.check_utf8(bytes(self.random.choices(leads, k=self.random.randrange(8))))
        # Around the borders of the pieces that are looked at in one go.
        for size in (16384, 262144):
            for bad in (b"\xe2\x82\xac", b"\xe2\x82", b"\xf0\x9f\x98\x80", b"\xf0\x9f", b"\x80"):
                for shift in range(5):
                    self.check_utf8(b"a" * (size - shift) + bad + b"b" * 10)

    def test_other_encodings(self):
        every = bytes(range(256))
        self.assertEqual(self.call("toUtf8:from=latin1", every), every.decode("latin1"))
        # Python leaves five bytes undefined, the WHATWG standard makes them controls.
        windows = "".join(b"%c".__mod__(c).decode("cp1252") if c not in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else chr(c) for c in range(256))
        self.assertEqual(self.call("toUtf8:from=windows-1252", every), windows)
        for name in ("utf-16le", "utf-16be"):
            text = "".join(self.assigned)
            self.assertEqual(self.call(f"toUtf8:from={name}", text.encode(name)), text)
            self.assertEqual(self.call(f"toUtf8:from={name}", "\ufeffa".encode(name)), "a")
            units = [0x0041, 0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0xFFFF, 0xE000, 0x20AC]
            for _ in range(2000 * TIMES):
                chosen = self.random.choices(units, k=self.random.randrange(6))
                data = b"".join(unit.to_bytes(2, "little" if name == "utf-16le" else "big") for unit in chosen)
                data += b"x" * self.random.randrange(2)
                # Python's decoders take a lone high surrogate at the end and an odd byte as one error, so pairs are counted here.
                expected, at = "", 0
                while at < len(chosen):
                    high, low = chosen[at], chosen[at + 1] if at + 1 < len(chosen) else 0
                    if 0xD800 <= high < 0xDC00 <= low < 0xE000:
                        expected += chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)
                        at += 1
                    else:
                        expected += "\ufffd" if 0xD800 <= high < 0xE000 else chr(high)
                    at += 1
                self.assertEqual(self.call(f"toUtf8:from={name}", data), expected + ("\ufffd" if len(data) % 2 else ""), data)

    # ---- HTML ----

    def test_references(self):
        """All names, with and without their semicolon, and numbers, alone and in company, as html.unescape has them."""
        names = list(html.entities.html5)
        texts = [f"&{name}" for name in names] + [f"x&{name}y&amp;" for name in names] + [f"&{name[:-1]}" for name in names]
        texts += [f"&#{number};" for number in [*range(0x300), 0xD7FF, 0xD800, 0xDFFF, 0xE000, 0x10FFFF, 0x110000, 2**31, 2**32, 2**64 + 65]]
        texts += [f"&#x{number:X}" for number in [*range(0x300), 0x1F600, 2**32 + 65]]
        pieces = [*"&#;xX0123aAgtlpcoyn <>=\n", "&amp", "&lt;", "&notin", "&#x", "&#"]
        texts += ["".join(self.random.choices(pieces, k=self.random.randrange(12))) for _ in range(5000 * TIMES)]
        for text in texts:
            self.assertEqual(self.call("unescapeHtml", text), self.unescaped(text), ascii(text))
        for _ in range(500):
            text = self.random_text(30, [[*"&<>\"' ab"]])
            self.assertEqual(self.call("unescapeHtml", self.call("escapeHtml", text)), text)
            self.assertEqual(html.unescape(self.call("escapeHtml", text)), text)

    @staticmethod
    def unescaped(text):
        """html.unescape, but for numbers of controls and noncharacters, which it leaves out and the standard keeps."""
        def number(match):
            value = int(match[1][1:], 16) if match[1][0] in "xX" else int(match[1])
            kept = value < 0x110000 and not 0xD800 <= value < 0xE000 and value not in range(0x80, 0xA0) and value not in (0, 0x0D)
            return chr(value) if kept and html.unescape(match[0]) == "" else html.unescape(match[0]) if value != 0x0D else "\r"
        parts = re.split(r"(&#(?:[xX][0-9a-fA-F]+|[0-9]+);?)", text)
        return "".join(re.sub(r"&#([xX][0-9a-fA-F]+|[0-9]+);?", number, part) if i % 2 else html.unescape(part)
                       for i, part in enumerate(parts))

    def test_commonmark(self):
        """HTML -> Markdown -> HTML gives the same tree, for the HTML of each example of the specification."""
        examples = peer()["examples"]
        self.assertEqual(len(examples), 652)
        markdown = [self.call("htmlToMarkdown", example["html"]) for example in examples]
        different = []
        for number, (example, got) in enumerate(zip(examples, peer(markdown=markdown)["html"]), 1):
            if Tree(example["html"]).text != Tree(got).text:
                different.append(number)
                if number not in EXCEPTIONS:
                    print(f"{number}: {example['html']!r}\n  became {markdown[number - 1]!r}\n  and then {got!r}")
        print(f"{len(examples) - len(different)} of {len(examples)} examples come back")
        self.assertEqual(sorted({*different, *READER_DEPENDENT}), sorted(EXCEPTIONS))

    def random_inline(self, depth, inside=()):
        parts = []
        for _ in range(self.random.randrange(1, 5)):
            kind = self.random.choice(["text", "text", "text", "em", "strong", "code", "a", "br", "img"])
            if depth == 0 or kind in ("text",) or (kind in ("em", "strong", "a") and kind in inside):
                words = [*"ab*_`[]()<>&!\\#-+1.~|:\"'$^", "a", "b", " ", " ", "\u00a0", "\u20ac", "\u00ab", "é", "](", "&amp;", "**", "1.", "- "]
                parts.append(html.escape("".join(self.random.choices(words, k=self.random.randrange(1, 6)))))
            elif kind == "br":
                parts.append("a<br>b")
            elif kind == "img":
                parts.append(f'<img src="/{self.random.choice("a(<*&")}" alt="{self.random.choice(["", "a]b", "*"])}">'.replace("<*", "*"))
            elif kind == "code":
                parts.append("<code>" + html.escape("".join(self.random.choices("ab`\\ *", k=self.random.randrange(1, 6)))) + "</code>")
            else:
                attributes = f' href="/{self.random.choice("ab_*")}"' if kind == "a" else ""
                parts.append(f"<{kind}{attributes}>{self.random_inline(depth - 1, (*inside, kind))}</{kind}>")
        return "".join(parts)

    @staticmethod
    def settled(tree):
        """What a conversion may change: white space at the edges of formats moves out, formats without content go, and so do
        borders between equal ones."""
        edges = [(r"(<(?:em|strong|a)(?: [^>]*)?>)( +|<br>)", r"\2\1"), (r"( +|<br>)(</(?:em|strong|a)>)", r"\2\1"),
                 (r"<(em|strong|a)(?: [^>]*)?></\1>", ""), (r"  +", " "), (r" *(?:<br> *)+", "<br>"),
                 (r"(<(?:p|td|th)[^>]*>)(?: |<br>)+", r"\1"), (r"(?: |<br>)+(</(?:p|td|th)>)", r"\1")]
        borders = [(r"</(em|strong|code)><\1>", ""), (r"  +", " ")]
        for rules in (edges, borders):
            before = None
            while tree != before:
                before = tree
                for pattern, replacement in rules:
                    tree = re.sub(pattern, replacement, tree)
        return re.sub(r"<p></p>", "", tree)

    def test_random_inline(self):
        """Formats, code, links, images and text full of what Markdown reads as markup, nested at random."""
        pages = [f"<p>{self.random_inline(3)}</p>" for _ in range(3000 * TIMES)]
        markdown = [self.call("htmlToMarkdown", page) for page in pages]
        found = [(page, text, self.settled(Tree(back).text), self.settled(Tree(page).text))
                 for page, text, back in zip(pages, markdown, peer(markdown=markdown)["html"])]
        self.none_of([failure for failure in found if failure[2] != failure[3]])

    def random_blocks(self, depth):
        parts = []
        for _ in range(self.random.randrange(1, 4)):
            kind = self.random.choice(["p", "p", "h2", "pre", "hr", "blockquote", "ul", "ol", "tight"])
            if kind == "hr":
                parts.append("<hr>")
            elif kind == "pre":
                code = "".join(self.random.choices(["a", "\n", "```", "~~~", "  b", "- c", "> d"], k=4))
                parts.append(f"<pre><code>x{html.escape(code)}\n</code></pre>")
            elif depth == 0 or kind in ("p", "h2"):
                text = "".join(self.random.choices([*"ab#-+>=1.|*_:", " ", "--", "1. "], k=self.random.randrange(1, 5))).strip()
                parts.append(f"<{kind if kind == 'h2' else 'p'}>{html.escape(text) or 'x'}</{kind if kind == 'h2' else 'p'}>")
            elif kind == "blockquote":
                parts.append(f"<blockquote>{self.random_blocks(depth - 1)}</blockquote>")
            elif kind == "tight":
                items = "".join(f"<li>{self.random.choice(['a', '1. b', '# c'])}<ul><li>x</li><li>y</li></ul></li>" for _ in range(2))
                parts.append(f"<ul>{items}</ul>")
            else:
                start = self.random.choice(["", ' start="7"']) if kind == "ol" else ""
                items = "".join(f"<li><p>z</p>{self.random_blocks(depth - 1)}</li>" for _ in range(self.random.randrange(1, 3)))
                parts.append(f"<{kind}{start}>{items}</{kind}>")
        return "".join(parts)

    def test_random_blocks(self):
        """Paragraphs, headings, code, quotes and lists, nested at random. Lists are loose, but for one kind."""
        pages = [self.random_blocks(3) for _ in range(1000 * TIMES)]
        markdown = [self.call("htmlToMarkdown", page) for page in pages]
        found = [(page, text, Tree(back).text, Tree(page).text)
                 for page, text, back in zip(pages, markdown, peer(markdown=markdown)["html"])]
        self.none_of([failure for failure in found if failure[2] != failure[3]])

    def test_escape_markdown(self):
        """The text comes back as it was, whatever is in it."""
        words = [*"ab*_`[]()<>&!\\#-+1.~|:=\"' ", "\n", "\n", "&lt;", "    ", "\t", "---", "===", "```", "1. ", "<b>", "http://x.y"]
        texts = ["".join(self.random.choices(words, k=self.random.randrange(1, 12))) for _ in range(4000 * TIMES)]
        texts = [text for text in texts if text.strip()]
        markdown = [self.call("escapeMarkdown", text) for text in texts]
        failures = []
        for text, escaped, back in zip(texts, markdown, peer(markdown=markdown)["html"]):
            # A blank line ends a paragraph; white space at the ends of lines is no text.
            paragraphs = [re.sub(r"\s+", " ", part).strip() for part in re.split(r"\n[ \t]*\n\s*", text)]
            expected = "".join(f"<p>{part}</p>" for part in paragraphs if part)
            got = re.sub(r"\s+", " ", Tree(back.replace("<br />\n", "\n")).text)
            got = re.sub(r" ?(</?p>) ?", r"\1", got)
            if got != expected:
                failures.append((text, escaped, got, expected))
        self.none_of(failures)

    # ---- GFM ----

    def gfm(self, markdown):
        if shutil.which("cmark-gfm") is None:
            self.skipTest("cmark-gfm is not installed")
        return subprocess.run(["cmark-gfm", "-e", "table", "-e", "strikethrough", "-e", "tasklist", "--unsafe"], input=markdown,
                              stdout=subprocess.PIPE, encoding="utf-8", check=True, timeout=60).stdout

    def test_gfm(self):
        cells = [*"ab|*`\\ ", "\\|", "<code>a|b</code>", "<em>x</em>", "<br>", "&lt;", "~", "&nbsp;"]
        failures = []
        for _ in range(150 * TIMES):
            columns = self.random.randrange(2, 5)
            aligns = [self.random.choice(["", ' align="left"', ' align="center"', ' align="right"']) for _ in range(columns)]

            def row(tag):
                found = ""
                for align in aligns:
                    text = "x" + "".join(self.random.choices(cells, k=self.random.randrange(4))) + "y"
                    found += f"<{tag}{align}>{text}</{tag}>"
                return f"<tr>{found}</tr>"

            body = "".join(row("td") for _ in range(self.random.randrange(1, 4)))
            page = f"<p><del>old</del> new</p><table><thead>{row('th')}</thead><tbody>{body}</tbody></table><p>after</p>"
            markdown = self.call("htmlToMarkdown", page)
            got, expected = (self.settled(Tree(text).text) for text in (self.gfm(markdown), page))
            if got != expected:
                failures.append((page, markdown, got, expected))
        self.none_of(failures)
        page = '<ul><li><input type="checkbox" checked disabled> done</li><li><input type="checkbox" disabled> open</li></ul>'
        self.assertEqual(Tree(self.gfm(self.call("htmlToMarkdown", page))).text, Tree(page).text)


if __name__ == "__main__":
    unittest.main()
