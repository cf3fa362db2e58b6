#!/usr/bin/env python3
"""workers.regex beside Perl and Node: random patterns on random texts, all matches with their groups, byte for byte.

Patterns come from a grammar of what both sides understand. Groups in repetitions are not compared: Perl does not always take
back what they saw in an attempt that failed. Node gets a smaller grammar without groups, and is compared up to the first
empty match: in JavaScript the search goes on one character further then.
WORKERS_SEED sets the seed, WORKERS_CASES the number of cases for each peer.
"""
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import harness  # noqa: E402

SEED = int(os.environ.get("WORKERS_SEED", 1))
CASES = int(os.environ.get("WORKERS_CASES", 5000))

SCRIPT = r"""
local workers = require "workers"
local fs = require "workers.fs"
local regex = require "workers.regex"
local worker = workers.new()
local function decode(hex)
  return (hex:gsub("..", function(digits) return string.char(tonumber(digits, 16)) end))
end
local function encode(text)
  return (text:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end
local function all(text, compiled)
  local found = {}
  for m in regex.matches(text, compiled) do
    local parts = { ("%d-%d"):format(m.first - 1, m.last) }
    for i, group in ipairs(m) do parts[i + 1] = group and encode(group) or "-" end
    found[#found + 1] = table.concat(parts, ",")
  end
  return table.concat(found, " ")
end
worker:tool("run", { title = "t", description = "d", schema = workers.j.object {}, execute = function()
  local lines = workers.array {}
  for line in fs.lines "cases.txt" do
    local flags, pattern, text = line:match "^(%S+) (%x*) (%x*)$"
    local ok, compiled = pcall(regex.compile, decode(pattern), (flags:gsub("-", "")))
    lines[#lines + 1] = ok and all(decode(text), compiled) or "error"
  end
  return lines
end })
return worker
"""

LITERALS = ["a", "b", "c", "A", "é", "É", "ß", "1", "2", "[ ]", "-", "日", "😀", r"\.", r"\n"]
CLASSES = [".", r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", "[abc]", "[^a]", "[a-c1-9]", "[é-ü]", r"[\dé]", r"[^\w日]", r"\p{L}",
           r"\x61", "[-a]"]
PERL_CLASSES = [r"\P{L}", r"\x{e9}", "[[:alpha:]]", "[[:^digit:]1]", r"\h", r"\R", r"\N", r"[a\-é]", "(?i:B)", "(?s:.)"]
ANCHORS = [r"\b", r"\B", "^"]
PERL_ANCHORS = [r"\A", r"\z", r"\Z", "$"]
BEHIND = ["a", "é", "ab", "[ab]", r"\d\w", "a|bc", "日", "^"]
LETTERS = ["a", "a", "b", "b", "c", "A", "B", "é", "É", "ß", "1", "2", " ", "-", ".", "日", "😀", "\n"]


class Grammar:
    def __init__(self, rng, perl):
        self.rng, self.perl = rng, perl
        self.groups, self.grouping, self.repeating, self.comparable = 0, True, False, True
        # Node looks for empty matches inside of surrogate pairs too.
        self.letters = LETTERS if perl else [letter for letter in LETTERS if letter != "😀"]

    def text(self):
        text = "".join(self.rng.choice(self.letters) for _ in range(self.rng.randint(0, 12)))
        return text if self.perl else text.rstrip("\n")  # behind which JavaScript has another line

    def pattern(self):
        self.groups, self.comparable = 0, True
        pattern = self.alternatives(2)
        if self.groups and self.comparable and self.rng.random() < 0.5:
            pattern = f"(?:{pattern})\\g{{{self.rng.randint(1, self.groups)}}}"
        return pattern

    def alternatives(self, depth, solid=False):
        """solid: must not match an empty text, as what is repeated: regular expressions differ in how that ends."""
        return "|".join(self.sequence(depth, solid) for _ in range(self.rng.choice([1, 1, 1, 2, 3])))

    def sequence(self, depth, solid):
        parts = [self.atom(depth, solid)] if solid else []
        return "".join(parts + [self.piece(depth) for _ in range(self.rng.randint(0 if parts else 1, 3))])

    def piece(self, depth):
        kind = self.rng.random()
        if kind < 0.15:
            return self.assertion(depth)
        if kind < 0.6:
            return self.atom(depth, False)
        sign = self.rng.choice(["*", "+", "?", "{2}", "{0,2}", "{1,3}", "{1,}"])
        before, self.repeating = self.repeating, True
        atom = self.atom(depth, True)
        self.repeating = before
        return atom + sign + self.rng.choice(["", "", "?", "+" if self.perl else ""])

    def atom(self, depth, solid):
        if depth == 0 or self.rng.random() < 0.7:
            return self.rng.choice(LITERALS + CLASSES + (PERL_CLASSES if self.perl else []))
        body = self.alternatives(depth - 1, solid)
        if not self.perl or self.rng.random() < 0.4:
            return f"(?:{body})"
        if self.rng.random() < 0.2:
            return f"(?>{body})"
        if not self.grouping:
            return f"(?:{body})"
        self.groups += 1
        self.comparable = self.comparable and not self.repeating
        return f"({body})" if self.rng.random() < 0.7 else f"(?<n{self.groups}>{body})"

    def assertion(self, depth):
        kind = self.rng.random()
        if kind < 0.5:
            return self.rng.choice(ANCHORS + (PERL_ANCHORS if self.perl else []))
        if self.perl and kind < 0.7:
            return self.rng.choice(["(?<=%s)", "(?<!%s)"]) % self.rng.choice(BEHIND)
        # Perl keeps what groups in (?!) have seen, and gets (?=x?) wrong.
        before, self.grouping = self.grouping, False
        body = self.alternatives(depth - 1, solid=True) if depth else "a"
        self.grouping = before
        return self.rng.choice(["(?=%s)", "(?!%s)"]) % body


def cases(rng, perl):
    grammar = Grammar(rng, perl)
    for _ in range(CASES):
        flags = "".join(letter for letter in ("imsx" if perl else "ims") if rng.random() < 0.2) + ("" if perl else "a")
        yield flags or "-", grammar.pattern(), grammar.text(), perl and grammar.comparable


class Regex(unittest.TestCase):
    def ours(self, lines):
        with harness.Project(SCRIPT) as project:
            project.write("cases.txt", lines)
            done = project.run("exec", "run", timeout=300)
            self.assertEqual(done.returncode, 0, done.stderr)
            return json.loads(done.stdout)

    def compare(self, command, perl):
        if shutil.which(command[0]) is None:
            self.skipTest(f"{command[0]} is not installed")
        print(f"WORKERS_SEED={SEED} ... ", end="", flush=True)
        all_cases = list(cases(random.Random(SEED), perl))
        lines = "".join(f"{flags} {pattern.encode().hex()} {text.encode().hex()}\n" for flags, pattern, text, _ in all_cases)
        theirs = subprocess.run(command, input=lines, stdout=subprocess.PIPE, encoding="utf-8", timeout=60, check=True).stdout
        theirs = theirs.split("\n")[:-1]
        ours = self.ours(lines)
        self.assertEqual(len(theirs), len(all_cases))
        self.assertEqual(len(ours), len(all_cases))
        different = []
        for case, our, their in zip(all_cases, ours, theirs):
            if not case[3]:
                our, their = (re.sub(r",[^ ]*", "", found) for found in (our, their))
            if not perl:
                our, their = (self.to_empty(found) for found in (our, their))
            if our != their:
                different.append((case, our, their))
        matched = sum(bool(their) and their != "error" for their in theirs)
        refused = sum(their == "error" for their in theirs)
        print(f"{len(all_cases)} cases, {matched} with matches, {refused} refused by both ... ", end="", flush=True)
        report = "\n".join(f"{case!r}\n    ours:   {our}\n    theirs: {their}" for case, our, their in different[:20])
        self.assertEqual(different, [], f"{len(different)} differ:\n{report}")

    @staticmethod
    def to_empty(found):
        """The matches up to the first that is empty."""
        empty = re.search(r"\b(\d+)-\1\b", found)
        return found[: empty.end()] if empty else found

    def test_perl(self):
        self.compare(["perl", str(HERE / "regex_peer.pl")], perl=True)

    def test_node(self):
        self.compare(["node", str(HERE / "regex_peer.mjs")], perl=False)


if __name__ == "__main__":
    unittest.main()
