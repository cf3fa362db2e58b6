#!/usr/bin/env python3
"""workers.csv against Python's csv module, both ways, on generated rows and texts; and the cases of npm's csv-spectrum.

WORKERS_SEED replays a seed; the seeds are printed. WORKERS_FULL=1 runs more of them."""
import base64
import csv
import io
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import npm  # noqa: E402

CASES = 1500
# Latin-1 stands for bytes: Python's module knows characters only.
SPECIAL = "\",;\t|:'\\\r\n #=+-@"
ORDINARY = "ab0 \x00\x7f\xc3\xa9\xff"


def pack(text):
    return base64.b64encode(text.encode("latin-1")).decode()


def unpack(text):
    return base64.b64decode(text).decode("latin-1")


class Dialects:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def options(self):
        """Options of ours, and the dialect of Python's that means the same."""
        r = self.random
        delimiter, quote = r.choice(",;\t|:"), r.choice("\"\"\"'")
        options = {"delimiter": delimiter, "quote": quote}
        dialect = {"delimiter": delimiter, "quotechar": quote, "doublequote": True, "strict": True}
        if r.random() < 0.3:
            options["escape"] = dialect["escapechar"] = "\\"
        return options, dialect

    def text(self, most=12):
        r = self.random
        return "".join(r.choice(SPECIAL if r.random() < 0.4 else ORDINARY) for _ in range(r.randrange(most)))

    def rows(self):
        r = self.random
        width = r.randrange(1, 6)
        return [[self.text() for _ in range(width)] for _ in range(r.randrange(1, 6))]

    def lengths(self):
        r = self.random
        return [1] if r.random() < 0.3 else [r.randrange(1, 9) for _ in range(r.randrange(1, 5))]

    def written_by_python(self):
        options, dialect = self.options()
        rows = self.rows()
        mode = self.random.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE])
        if mode == csv.QUOTE_NONE:
            # It writes the bare quote; and a row of one empty field it cannot write at all.
            options.update(quote=False, escape="\\")
            dialect.update(quotechar=None, escapechar="\\")
            rows = [row for row in rows if row != [""]]
        if "escapechar" in dialect and mode != csv.QUOTE_NONE:
            dialect["doublequote"] = self.random.random() < 0.5
        # It minds the line breaks of its own lineterminator only.
        newline = self.random.choice(["\r\n", "\n", "\r"]) if mode == csv.QUOTE_ALL else "\r\n"
        out = io.StringIO(newline="")
        csv.writer(out, quoting=mode, lineterminator=newline, **dialect).writerows(rows)
        return {"text": pack(out.getvalue()), "options": options, "lengths": self.lengths()}, rows

    def any_text(self):
        options, dialect = self.options()
        r = self.random
        while True:
            alphabet = "aab" + options["delimiter"] * 2 + options["quote"] * 4 + "\r\n" + options.get("escape", "") + " \xe9"
            text = "".join(r.choice(alphabet) for _ in range(r.randrange(24)))
            # After an escaped line break Python waits for one more, and it may drop an escape character at the end.
            if not re.search(r"\\(?:[\r\n]|$)", text):
                break
        try:
            # An empty line is a row without fields there, and no row here.
            rows = [row for row in csv.reader(io.StringIO(text, newline=""), **dialect) if row]
        except csv.Error:
            rows = None
        return {"text": pack(text), "options": options, "lengths": self.lengths()}, rows

    def written_by_us(self):
        options, dialect = self.options()
        options["newline"] = self.random.choice(["\r\n", "\n"])
        options["quoteAll"] = self.random.random() < 0.2
        rows = self.rows()
        return {"rows": [[pack(field) for field in row] for row in rows], "options": options}, (dialect, rows)


class Csv(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="workers-csv-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        shutil.copy(HERE / "csv_cases.lua", self.folder)

    def answers(self, cases):
        (self.folder / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
        done = subprocess.run([os.environ["WORKERS_BIN"], "exec", "run", "--script", "csv_cases.lua"], cwd=self.folder,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr[-4000:])
        answers = json.loads(done.stdout)
        self.assertEqual(len(answers), len(cases))
        return answers

    def seeds(self):
        if "WORKERS_SEED" in os.environ:
            return [os.environ["WORKERS_SEED"]]
        return [str(seed) for seed in range(1, 21 if os.environ.get("WORKERS_FULL") else 3)]

    def compare_rows(self, case, answer, expected):
        shown = f"{unpack(case['text'])!r} with {case['options']}: {answer}"
        self.assertNotIn("different", answer, shown)
        if expected is None:
            self.assertIn("refused", answer, shown)
            self.assertRegex(answer["refused"], r"line \d+, column \d+: ", shown)
            return
        for form in ("rows", "streamed"):
            self.assertEqual([[unpack(field) for field in row] for row in answer.get(form, [["refused"]])], expected, shown)

    def check_read(self, make):
        for seed in self.seeds():
            dialects = Dialects(seed)
            pairs = [make(dialects) for _ in range(CASES)]
            refused = 0
            for (case, expected), answer in zip(pairs, self.answers([case for case, _ in pairs])):
                self.compare_rows(case, answer, expected)
                refused += expected is None
            print(f"seed {seed}: {CASES} texts, {refused} refused by both")

    def test_reads_what_python_writes(self):
        self.check_read(Dialects.written_by_python)

    def test_reads_any_text_as_python_does(self):
        self.check_read(Dialects.any_text)

    def test_python_reads_what_we_write(self):
        for seed in self.seeds():
            dialects = Dialects(seed)
            pairs = [dialects.written_by_us() for _ in range(CASES)]
            for (case, (dialect, rows)), answer in zip(pairs, self.answers([case for case, _ in pairs])):
                text = unpack(answer["text"])
                self.assertEqual(list(csv.reader(io.StringIO(text, newline=""), **dialect)), rows, f"{text!r} with {dialect}")
            print(f"seed {seed}: {CASES} texts")

    def test_csv_spectrum(self):
        suite = npm.ensure() / "node_modules" / "csv-spectrum"
        names = sorted(path.stem for path in (suite / "csvs").glob("*.csv"))
        self.assertEqual(len(names), 12)
        names.remove("location_coordinates")  # its JSON has another row than its CSV
        cases = [{"named": base64.b64encode((suite / "csvs" / f"{name}.csv").read_bytes()).decode()} for name in names]
        for name, answer in zip(names, self.answers(cases)):
            self.assertEqual(answer["named"], json.loads((suite / "json" / f"{name}.json").read_text(encoding="utf-8")), name)


if __name__ == "__main__":
    unittest.main()
