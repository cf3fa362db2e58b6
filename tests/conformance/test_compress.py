#!/usr/bin/env python3
"""workers.compress against Python's zlib and gzip, both ways; bombs and limits."""
import base64
import gzip
import json
import os
import pathlib
import random
import resource
import shutil
import subprocess
import tempfile
import time
import unittest
import zlib

SCRIPT = """
local workers, compress, crypto, fs = require "workers", require "workers.compress", require "workers.crypto", require "workers.fs"
local worker = workers.new()
local function tool(name, execute)
  worker:tool(name, { title = name, description = name, schema = workers.j.object {}, execute = execute })
end
tool("pack", function()
  local results = {}
  for i, case in ipairs(fs.readJson "cases.json") do
    results[i] = crypto.base64(compress[case[1]](crypto.fromBase64(case[2]), case[3]))
  end
  return results
end)
tool("unpack", function()
  local results = {}
  for i, case in ipairs(fs.readJson "cases.json") do
    local ok, text = pcall(compress[case[1]], crypto.fromBase64(case[2]))
    results[i] = ok and crypto.base64(text) or { error = text }
  end
  return results
end)
tool("bomb", function() return #compress.inflateRaw(fs.read "bomb") end)
tool("slow", function() return #compress.deflate(crypto.hex(crypto.randomBytes(65536)):rep(500), 9) end)
return worker
"""


def raw(text, level):
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return packer.compress(text) + packer.flush()


PACK = {"gzip": lambda text, level: gzip.compress(text, level, mtime=1234567890), "deflate": zlib.compress, "deflateRaw": raw}
UNPACK = {"gzip": gzip.decompress, "deflate": zlib.decompress, "deflateRaw": lambda data: zlib.decompress(data, -15)}
OPPOSITE = {"gzip": "gunzip", "deflate": "inflate", "deflateRaw": "inflateRaw"}


def texts():
    rng = random.Random(1)
    yield from (b"", b"a", b"\0" * 1000000, bytes(range(256)))
    for i in range(40):
        length = rng.choice([rng.randrange(100), rng.randrange(70000), rng.randrange(400000)])
        words = [rng.randbytes(rng.randrange(1, 12)) for _ in range(50)]
        yield b"".join(rng.choice(words) for _ in range(length // 6)) if i % 3 else rng.randbytes(length)


class Compress(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="workers-compress-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        (self.folder / "script.lua").write_text(SCRIPT, encoding="utf-8")

    def start(self, tool):
        return subprocess.run([os.environ["WORKERS_BIN"], "exec", tool, "--script", "script.lua"], cwd=self.folder,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", timeout=120)

    def ours(self, tool, cases):
        encoded = [[name, base64.b64encode(data).decode(), *rest] for name, data, *rest in cases]
        (self.folder / "cases.json").write_text(json.dumps(encoded), encoding="utf-8")
        done = self.start(tool)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        return json.loads(done.stdout)

    def test_python_reads_what_we_write(self):
        cases = [(name, text, level) for i, text in enumerate(texts()) for name, level in zip(UNPACK, [i % 10, 6, 9])]
        for (name, text, _), packed in zip(cases, self.ours("pack", cases)):
            self.assertEqual(UNPACK[name](base64.b64decode(packed)), text)
        print(f"{len(cases)} texts agree")

    def test_we_read_what_python_writes(self):
        cases = [(name, text, level) for i, text in enumerate(texts()) for name, level in zip(PACK, [i % 10, 6, 1])]
        packed = [(OPPOSITE[name], PACK[name](text, level)) for name, text, level in cases]
        packed.append(("gunzip", packed[0][1] + packed[3][1] + gzip.compress(b"x") + b"\0" * 10))
        wanted = [text for _, text, _ in cases] + [gzip.decompress(packed[-1][1])]
        for text, got in zip(wanted, self.ours("unpack", packed)):
            self.assertEqual(base64.b64decode(got), text)
        print(f"{len(packed)} texts agree")

    def test_damaged_data(self):
        """Where a checksum ends the data, we refuse what Python refuses, and agree on the rest."""
        rng = random.Random(2)
        cases = []
        for _ in range(600):
            name = rng.choice(["gzip", "deflate"])
            data = bytearray(PACK[name](rng.randbytes(20) * 5, 6))
            for _ in range(rng.randrange(1, 4)):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            cases.append((OPPOSITE[name], bytes(data[:rng.choice([len(data), len(data), rng.randrange(len(data))])])))
        refused = 0
        for (name, data), got in zip(cases, self.ours("unpack", cases)):
            try:
                wanted = zlib.decompress(data, 31 if name == "gunzip" else 15)
            except zlib.error:
                refused += 1
                self.assertIn("error", got)
            else:
                self.assertEqual(base64.b64decode(got), wanted)
        self.assertGreater(refused, 400)

    def test_bomb(self):
        """Ten gigabytes of zeros stop at 64 MiB, long before they are all there."""
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        block = packer.compress(b"\0" * 64 * 1024 * 1024) + packer.flush(zlib.Z_FULL_FLUSH)
        (self.folder / "bomb").write_bytes(block * 160 + raw(b"", 9))
        begin = time.monotonic()
        done = self.start("bomb")
        self.assertEqual(done.returncode, 1)
        self.assertIn("compress.inflateRaw: the output is larger than 67108864 bytes; give { max = } to allow more", done.stderr)
        self.assertLess(time.monotonic() - begin, 30)

    def test_cpu_limit(self):
        """The limit takes hold amid a compression that takes seconds."""
        (self.folder / "workers.yaml").write_text("limits: { cpu: 100ms }\nmain: script.lua\n", encoding="utf-8")
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        done = self.start("slow")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("CPU limit of 0.1 s reached", done.stderr)
        self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before, 1)


if __name__ == "__main__":
    unittest.main()
