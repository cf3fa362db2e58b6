#!/usr/bin/env python3
"""The crates whose source archives have test data, in exact versions, fetched by cargo into its own cache."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

CRATES = {"url": "2.5.8"}


def ensure(name):
    """The folder of the crate's source; skips the test when it cannot be had."""
    if shutil.which("cargo") is None:
        raise unittest.SkipTest("cargo is not installed: it fetches test data from crates.io")
    command = ["cargo", "metadata", "--quiet", "--format-version", "1"]
    if os.environ.get("WORKERS_NO_INSTALL") == "1":
        command.append("--offline")
    with tempfile.TemporaryDirectory(prefix="workers-crates-") as folder:
        place = pathlib.Path(folder)
        (place / "lib.rs").touch()
        (place / "Cargo.toml").write_text(
            f'[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[lib]\npath = "lib.rs"\n'
            f'[dependencies]\n{name} = "={CRATES[name]}"\n')
        done = subprocess.run(command, cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=300)
    if done.returncode != 0:
        raise unittest.SkipTest(f"cargo could not fetch {name} {CRATES[name]}: {done.stderr[-600:]}")
    found = [package for package in json.loads(done.stdout)["packages"] if package["name"] == name]
    return pathlib.Path(found[0]["manifest_path"]).parent
