"""Runs the whole scripts among the oracle's cases through `workers manifest` and compares the manifests with the SDK's.

    run_scripts.py WORKERS_BINARY CASES

Keys that we add to the manifest are no difference; sdkVersion is not compared. Prints TAP."""

import json
import pathlib
import subprocess
import sys
import tempfile


def differences(expected, got, path=""):
    """The first difference as text, or None. Objects in `got` may have more keys."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for key, value in expected.items():
            if key not in got:
                return f"{path}.{key} is missing"
            found = differences(value, got[key], f"{path}.{key}")
            if found:
                return found
        return None
    if isinstance(expected, list) and isinstance(got, list):
        if len(expected) != len(got):
            return f"{path} has {len(got)} elements instead of {len(expected)}"
        for index, (left, right) in enumerate(zip(expected, got)):
            found = differences(left, right, f"{path}[{index}]")
            if found:
                return found
        return None
    if isinstance(expected, bool) != isinstance(got, bool) or expected != got:
        return f"{path} is {json.dumps(got)} instead of {json.dumps(expected)}"
    return None


def check(binary, case, folder):
    """None when the case holds, otherwise what was wrong."""
    script = folder / "script.lua"
    script.write_text(case["script"], encoding="utf-8")
    done = subprocess.run(
        [binary, "manifest", str(script)], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False
    )
    if case.get("error") or case.get("stricter"):
        if done.returncode == 0:
            return "expected an error, got " + done.stdout
        if done.returncode not in (1, 2) or "script.lua:" not in done.stderr:
            return f"exit code {done.returncode}, and the error does not name the line: {done.stderr}"
        return None
    if done.returncode != 0:
        return f"exit code {done.returncode}: {done.stderr}"
    return differences(case["expect"], json.loads(done.stdout))


def main(binary, cases):
    count = failed = 0
    with tempfile.TemporaryDirectory() as folder, open(cases, encoding="utf-8") as lines:
        for line in lines:
            case = json.loads(line)
            if "script" not in case:
                continue
            count += 1
            wrong = check(binary, case, pathlib.Path(folder))
            print(f"{'not ok' if wrong else 'ok'} {count} - {case['id']}")
            if wrong:
                failed += 1
                text = wrong + "\n" + case["script"]
                print("# " + text.rstrip().replace("\n", "\n# "))
    print(f"1..{count}\n# {failed} failed")
    return 0 if count and not failed else 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: run_scripts.py WORKERS_BINARY CASES")
    sys.exit(main(sys.argv[1], sys.argv[2]))
