#!/usr/bin/env python3
"""The Python packages that tests use as peers, in exact versions.

They live in the folder that WORKERS_PYPI names (default: build/pypi in the repository) and are installed there when they are
missing. Run as a program it installs them and prints the folder.
"""
import fcntl
import os
import pathlib
import subprocess
import sys
import unittest

# python_dateutil is what the two others need; botocore does not take its newest version.
PACKAGES = {"botocore": "1.43.11", "croniter": "7.0.0", "python_dateutil": "2.9.0.post0", "slack_sdk": "3.48.0"}
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def folder():
    return pathlib.Path(os.environ.get("WORKERS_PYPI") or REPOSITORY / "build" / "pypi").resolve()


def ensure(*names):
    """Makes the packages importable, all unless some are named; skips the test when they cannot be had."""
    place = folder()
    wanted = [(name, PACKAGES[name]) for name in names or PACKAGES]
    place.mkdir(parents=True, exist_ok=True)
    with open(place / ".lock", "w") as lock:  # tests run side by side, one of them installs
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [f"{name}=={version}" for name, version in wanted if not (place / f"{name}-{version}.dist-info").is_dir()]
        if missing and os.environ.get("WORKERS_NO_INSTALL") == "1":
            raise unittest.SkipTest(f"{place} lacks {', '.join(missing)}, and WORKERS_NO_INSTALL=1 forbids installing")
        if missing:
            result = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1",
                                     "--target", str(place), "--upgrade",
                                     *(f"{name}=={version}" for name, version in wanted)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT, text=True, timeout=300)
            if result.returncode != 0:
                raise unittest.SkipTest(f"pip could not install {', '.join(missing)}: {result.stdout[-600:]}")
    sys.path.insert(0, str(place))
    return place


if __name__ == "__main__":
    try:
        print(ensure())
    except unittest.SkipTest as reason:
        sys.exit(str(reason))
