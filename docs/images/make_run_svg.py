#!/usr/bin/env python3
"""Draws docs/images/run.svg: a terminal in which examples/iso-countries runs. What it shows is real output.

Usage: docs/images/make_run_svg.py BINARY. Needs the Debian package iso-codes.
"""
import html
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path("/usr/share/iso-codes/json")
QUERY = ("SELECT c.name AS country, count(*) AS subdivisions FROM countries AS c JOIN countries_subdivisions AS s"
         " ON s._key = c._key GROUP BY 1 ORDER BY 2 DESC LIMIT 4")
COMMANDS = [
    ("workers run", ["run"]),
    ("workers run   # again: nothing has changed", ["run"]),
    (f'workers db query "{QUERY.partition(" FROM ")[0]}\n    FROM {QUERY.partition(" FROM ")[2].replace(" GROUP", chr(10) + "    GROUP")}"',
     ["db", "query", QUERY]),
]
CHARACTER, LINE, MARGIN, BAR = 8.43, 20, 18, 34  # pixels, for 14 px DejaVu Sans Mono
COLOURS = {"prompt": "#7ee787", "command": "#f0f6fc", "head": "#8b949e", "text": "#c9d1d9"}


def transcript(binary):
    """Pairs of style and line."""
    with tempfile.TemporaryDirectory() as folder:
        project = pathlib.Path(folder) / "iso-countries"
        shutil.copytree(ROOT / "examples/iso-countries", project, ignore=shutil.ignore_patterns(".workers", "data"))
        (project / "data").mkdir()
        for name in ("iso_3166-1.json", "iso_3166-2.json"):
            shutil.copy(DATA / name, project / "data")
        for shown, arguments in COMMANDS:
            result = subprocess.run([binary, *arguments], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                    stdin=subprocess.DEVNULL, encoding="utf-8", check=True)
            for number, line in enumerate(shown.split("\n")):
                yield "command" if number else "prompt", line
            for line in result.stdout.rstrip().split("\n"):
                yield ("head" if line.split()[0] in ("SYNC", "country") or line.startswith("created ") or line.endswith(" rows")
                       else "text"), line.rstrip()
            yield "text", ""


def draw(lines):
    width = round(max(len(line) + 2 for _, line in lines) * CHARACTER + 2 * MARGIN)
    height = BAR + len(lines) * LINE + 2 * MARGIN - LINE // 2
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img"'
           ' aria-label="A terminal: workers run fills two tables, workers db query reads them">')
    yield f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>'
    for i in range(3):
        yield f'<circle cx="{MARGIN + 6 + 20 * i}" cy="{BAR // 2 + 2}" r="6" fill="#30363d"/>'
    yield '<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14" xml:space="preserve">'
    for number, (style, line) in enumerate(lines):
        y = BAR + MARGIN + number * LINE
        if style == "prompt":
            yield f'<text x="{MARGIN}" y="{y}" fill="{COLOURS["prompt"]}">$</text>'
            yield (f'<text x="{MARGIN + 2 * CHARACTER:.1f}" y="{y}" fill="{COLOURS["command"]}" '
                   f'textLength="{len(line) * CHARACTER:.1f}">{html.escape(line, quote=False)}</text>')
        elif line:
            yield (f'<text x="{MARGIN}" y="{y}" fill="{COLOURS[style]}" textLength="{len(line) * CHARACTER:.1f}">'
                   f"{html.escape(line, quote=False)}</text>")
    yield "</g>"
    yield "</svg>"


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: docs/images/make_run_svg.py BINARY")
    lines = list(transcript(str(pathlib.Path(sys.argv[1]).resolve())))
    while not lines[-1][1]:
        lines.pop()
    target = pathlib.Path(__file__).with_name("run.svg")
    target.write_text("\n".join(draw(lines)) + "\n", encoding="utf-8")
    print(f"wrote {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
