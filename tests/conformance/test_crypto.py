#!/usr/bin/env python3
"""workers.crypto and workers.aws against openssl(1), Node's crypto and botocore.

WORKERS_SEED replays a seed; it is printed. Without Node, openssl or botocore the tests that need them are skipped."""
import base64
import json
import os
import pathlib
import random
import shutil
import string
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import harness  # noqa: E402
import pypi  # noqa: E402

SEED = int(os.environ.get("WORKERS_SEED", "1"))
REQUESTS = 400
PASSPHRASE = "correct horse"

# Runs jobs of the form {"do": …}; a job that raises gives {"error": message, "code": code of a JwtError}.
SCRIPT = r"""
local workers, crypto, aws, json = require "workers", require "workers.crypto", require "workers.aws", require "workers.json"
local worker, j = workers.new(), workers.j

local function key_of(job)
  local key = job.key
  if type(key) == "table" then
    return key.secret or crypto.keyFromJwk(key.jwk)
  end
  return job.private and crypto.privateKey(key, job.passphrase) or crypto.publicKey(key)
end

local jobs = {
  describe = function(job) return tostring(key_of(job)) end,
  sign = function(job) return crypto.base64(crypto.sign(key_of(job), job.data, job.options)) end,
  verify = function(job) return crypto.verify(key_of(job), job.data, crypto.fromBase64(job.signature), job.options) end,
  jwtSign = function(job) return crypto.jwtSign(job.claims, key_of(job), { algorithm = job.algorithm, header = job.header }) end,
  jwtVerify = function(job) return crypto.jwtVerify(job.token, key_of(job), { algorithms = { job.algorithm } }) end,
  aws = function(job) return aws.sign(job.options) end,
  digest = function(job) return { crypto.digest(job.name, job.data), crypto.hmac(job.name, job.secret, job.data) } end,
}

worker:tool("run", { title = "t", description = "d", schema = j.object { jobs = j.string() }, execute = function(input)
  local results = workers.array {}
  for i, job in ipairs(json.decode(input.jobs)) do
    local ok, result = pcall(jobs[job["do"]], job)
    if not ok then
      result = type(result) == "table" and { error = result.message, code = result.code } or { error = result }
    end
    results[i] = result
  end
  return results
end })
return worker
"""


def run(jobs, env=None):
    """What the jobs give, each run by the program."""
    with harness.Project(SCRIPT) as project:
        project.write("input.json", json.dumps({"jobs": json.dumps(jobs)}))
        result = project.run("exec", "run", "-d", "@input.json", env=env, timeout=300)
        if result.returncode != 0:
            raise AssertionError(result.stderr[-4000:])
        return json.loads(result.stdout)


def need(program):
    if shutil.which(program) is None:
        raise unittest.SkipTest(f"{program} is not installed")


def openssl(*arguments, input=None):
    return subprocess.run(["openssl", *map(str, arguments)], input=input, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
                          timeout=60).stdout


# DER (ITU-T X.690), for keys that openssl(1) would not write.
def tagged(tag, content):
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x80 | (size.bit_length() + 7) // 8]) + size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag]) + length + content


def integer(value):
    return tagged(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def sequence(*parts):
    return tagged(0x30, b"".join(parts))


def pem_text(name, content):
    return f"-----BEGIN {name}-----\n{base64.encodebytes(content).decode()}-----END {name}-----\n"


class Keys:
    """One key of each kind, made by openssl(1), and every PEM form of it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.private, self.public = {}, {}
        for kind, options in {"rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "ed25519": ["-algorithm", "ed25519"],
                              "p256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]}.items():
            path = self.folder / f"{kind}.pem"
            path.write_bytes(openssl("genpkey", *options))
            pem = path.read_text()
            secret = ["-passout", f"pass:{PASSPHRASE}"]
            self.private[kind] = {
                "PKCS#8": pem,
                "PBES2 with AES": openssl("pkcs8", "-topk8", "-in", path, "-v2", "aes-256-cbc", *secret).decode(),
                "PBES2 with 3DES": openssl("pkcs8", "-topk8", "-in", path, "-v2", "des3", "-v2prf", "hmacWithSHA1", *secret).decode(),
                "PBES2, SHA-512": openssl("pkcs8", "-topk8", "-in", path, "-v2prf", "hmacWithSHA512", "-iter", 5000, *secret).decode(),
            }
            certificate = openssl("req", "-x509", "-key", path, "-subj", "/CN=workers test", "-days", 2).decode()
            self.public[kind] = {"SubjectPublicKeyInfo": openssl("pkey", "-in", path, "-pubout").decode(), "certificate": certificate,
                                 "certificate with text": openssl("x509", "-text", input=certificate.encode()).decode()}
            if kind != "ed25519":
                command = "rsa" if kind == "rsa" else "ec"
                traditional = ["-traditional"] if kind == "rsa" else []
                self.private[kind]["PKCS#1 or SEC1"] = openssl(command, "-in", path, *traditional).decode()
                self.private[kind]["the same, encrypted"] = openssl(command, "-in", path, *traditional, "-aes128", *secret).decode()
        self.public["rsa"]["PKCS#1"] = openssl("rsa", "-in", self.folder / "rsa.pem", "-RSAPublicKey_out").decode()


class Crypto(unittest.TestCase):
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        need("openssl")
        cls.folder = tempfile.mkdtemp(prefix="workers-crypto-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.keys = Keys(cls.folder)

    def forms(self):
        """(kind, form, PEM text, whether it is private) of every key."""
        for is_private, keys in ((True, self.keys.private), (False, self.keys.public)):
            for kind, forms in keys.items():
                for form, pem in forms.items():
                    yield kind, form, pem, is_private

    def peer_verifies(self, kind, signature, data, digest):
        path = pathlib.Path(self.folder)
        (path / "signature").write_bytes(signature)
        (path / "data").write_bytes(data)
        pem = path / "public.pem"
        pem.write_text(self.keys.public[kind]["SubjectPublicKeyInfo"])
        if kind == "ed25519":
            command = ["pkeyutl", "-verify", "-pubin", "-inkey", pem, "-rawin", "-in", path / "data", "-sigfile", path / "signature"]
        else:
            command = ["dgst", f"-{digest}", "-verify", pem, "-signature", path / "signature", path / "data"]
        openssl(*command)

    def test_digests(self):
        """Digests and HMACs of random data are those of Python."""
        import hashlib
        import hmac
        rng = random.Random(SEED)
        jobs = [{"do": "digest", "name": name, "data": "".join(rng.choices(string.printable, k=size)),
                 "secret": "".join(rng.choices(string.printable, k=rng.randrange(200)))}
                for name in ("md5", "sha1", "sha256", "sha384", "sha512") for size in (0, 1, 55, 56, 63, 64, 65, 127, 128, 1000)]
        for job, (digest, mac) in zip(jobs, run(jobs)):
            self.assertEqual(digest, hashlib.new(job["name"], job["data"].encode()).hexdigest())
            self.assertEqual(mac, hmac.new(job["secret"].encode(), job["data"].encode(), job["name"]).hexdigest())

    def test_forms(self):
        """Every form that openssl(1) writes is read; what each signs, openssl(1) verifies."""
        names = {"rsa": "RSA {} key of 2048 bits", "p256": "P-256 {} key", "ed25519": "Ed25519 {} key"}
        cases = list(self.forms())
        jobs = [{"do": "describe", "key": pem, "private": is_private, "passphrase": PASSPHRASE} for _, _, pem, is_private in cases]
        for (kind, form, _, is_private), result in zip(cases, run(jobs)):
            self.assertEqual(result, names[kind].format("private" if is_private else "public"), f"{kind} as {form}")
        private = [case for case in cases if case[3]]
        jobs = [{"do": "sign", "key": pem, "private": True, "passphrase": PASSPHRASE, "data": f"data of {form}"} for _, form, pem, _ in private]
        for (kind, form, _, _), result in zip(private, run(jobs)):
            self.assertIsInstance(result, str, f"{kind} as {form}: {result}")
            self.peer_verifies(kind, base64.b64decode(result), f"data of {form}".encode(), "sha256")
        print(f"{len(cases)} forms of keys agree with openssl(1)")

    def test_hashes(self):
        """Signatures with each hash, both ways."""
        data = pathlib.Path(self.folder) / "data"
        data.write_bytes(b"some data")
        for kind in ("rsa", "p256"):
            for digest in ("sha256", "sha384", "sha512"):
                with self.subTest(kind=kind, digest=digest):
                    ours, = run([{"do": "sign", "key": self.keys.private[kind]["PKCS#8"], "private": True, "data": "some data",
                                  "options": {"hash": digest}}])
                    self.peer_verifies(kind, base64.b64decode(ours), b"some data", digest)
                    theirs = openssl("dgst", f"-{digest}", "-sign", pathlib.Path(self.folder) / f"{kind}.pem", data)
                    job = {"do": "verify", "key": self.keys.public[kind]["certificate"], "data": "some data",
                           "signature": base64.b64encode(theirs).decode(), "options": {"hash": digest}}
                    self.assertEqual(run([job, {**job, "data": "some datum"}]), [True, False])

    def test_cut_and_changed(self):
        """No prefix of a PEM text and no text with a changed byte brings the program down; a prefix is never a key."""
        rng = random.Random(SEED)
        cut, changed = [], []
        for _, _, pem, is_private in self.forms():
            end = pem.rindex("-----END")
            cut += [{"do": "describe", "key": pem[:size], "private": is_private, "passphrase": PASSPHRASE} for size in range(0, end, 37)]
            for _ in range(40):
                at = rng.randrange(len(pem))
                text = pem[:at] + rng.choice(string.ascii_letters + "\n=-+ ") + pem[at + 1:]
                changed.append({"do": "describe", "key": text, "private": is_private, "passphrase": PASSPHRASE})
        for job, result in zip(cut, run(cut)):
            self.assertIsInstance(result, dict, job["key"])
            self.assertIn("crypto.", result["error"])
        refused = sum(isinstance(result, dict) for result in run(changed))
        self.assertGreater(refused, len(changed) // 4)
        print(f"{len(cut)} cut keys refused, {refused} of {len(changed)} changed ones")

    def test_hostile_numbers(self):
        """RSA keys whose numbers are nonsense are refused or used, but never bring the program down or hold it up."""
        modulus = int(openssl("rsa", "-in", pathlib.Path(self.folder) / "rsa.pem", "-noout", "-modulus").split(b"=")[1], 16)
        rng = random.Random(SEED)
        names = ["n", "e", "d", "p", "q", "dp", "dq", "qi"]
        plain = {name: modulus if name == "n" else 65537 if name == "e" else rng.getrandbits(1024) | 1 for name in names}
        cases = [(name, value, {**plain, name: value}) for name in names
                 for value in (0, 1, 2, plain[name] & ~1, modulus + 1, rng.getrandbits(100000) | 1)]
        jobs = []
        for _, _, numbers in cases:
            body = sequence(integer(0), *(integer(numbers[name]) for name in names))
            jobs.append({"do": "sign", "key": pem_text("RSA PRIVATE KEY", body), "private": True, "data": "x"})
            algorithm = sequence(tagged(6, bytes.fromhex("2a864886f70d010101")), tagged(5, b""))
            wrapped = sequence(integer(0), algorithm, tagged(4, body))
            jobs.append({"do": "sign", "key": pem_text("PRIVATE KEY", wrapped), "private": True, "data": "x"})
        begin = time.monotonic()
        results = run(jobs)
        self.assertLess(time.monotonic() - begin, 30)
        for (name, value, _), *pair in zip(cases, results[::2], results[1::2]):
            for result in pair:
                if value.bit_length() > 8192:
                    self.assertRegex(result["error"], "longer than its modulus|bits: 2048 to 8192|longer than 64 bits", name)
                elif isinstance(result, dict):
                    self.assertRegex(result["error"], r"crypto\.(privateKey|sign): ", name)

    def node(self, jobs):
        need("node")
        done = subprocess.run(["node", str(HERE / "crypto_peer.js")], input=json.dumps(jobs), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def jwt_keys(self):
        """algorithm -> (what signs, what verifies) as jobs have it."""
        secret = {"secret": "0123456789abcdef" * 4}
        pem = {kind: (self.keys.private[kind]["PKCS#8"], self.keys.public[kind]["SubjectPublicKeyInfo"]) for kind in self.keys.private}
        return {"HS256": (secret, secret), "HS384": (secret, secret), "HS512": (secret, secret), "RS256": pem["rsa"], "RS384": pem["rsa"],
                "RS512": pem["rsa"], "ES256": pem["p256"], "EdDSA": pem["ed25519"]}

    def claims(self, rng):
        values = [rng.randrange(2 ** 50), "".join(rng.choices("aä€😀\"\\\n\x00", k=20)), True, None, [1, [2, {"x": []}]], {"y": {}}, 0.5, -1e-7]
        return {"exp": 4000000000, **{f"claim {i}": rng.choice(values) for i in range(rng.randrange(6))}}

    def test_tokens(self):
        """Tokens that the program signs, Node's crypto verifies, and the other way round, for every algorithm."""
        rng = random.Random(SEED)
        cases = [(algorithm, keys, self.claims(rng)) for algorithm, keys in self.jwt_keys().items() for _ in range(20)]
        ours = run([{"do": "jwtSign", "algorithm": a, "key": k[0], "private": True, "claims": c, "header": {"kid": "1"}} for a, k, c in cases])
        verified = self.node([{"do": "verify", "algorithm": a, "key": k[1], "token": t} for (a, k, _), t in zip(cases, ours)])
        theirs = self.node([{"do": "sign", "algorithm": a, "key": k[0], "claims": c, "header": {"typ": "JWT"}} for a, k, c in cases])
        accepted = run([{"do": "jwtVerify", "algorithm": a, "key": k[1], "token": t} for (a, k, _), t in zip(cases, theirs)])
        for (algorithm, _, claims), by_node, by_us in zip(cases, verified, accepted):
            self.assertEqual(by_node, claims, algorithm)
            self.assertEqual(by_us, claims, algorithm)
        # One bit of the signature changed: neither takes it.
        broken = []
        for token in theirs:
            text, _, signature = token.rpartition(".")
            raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            broken.append(f"{text}.{base64.urlsafe_b64encode(raw).decode().rstrip('=')}")
        by_us = run([{"do": "jwtVerify", "algorithm": a, "key": k[1], "token": t} for (a, k, _), t in zip(cases, broken)])
        by_node = self.node([{"do": "verify", "algorithm": a, "key": k[1], "token": t} for (a, k, _), t in zip(cases, broken)])
        self.assertEqual({result["code"] for result in by_us}, {"signature"})
        self.assertEqual({json.dumps(result) for result in by_node}, {"null"})
        print(f"{len(cases)} tokens agree with Node both ways (seed {SEED})")

    def test_jwks(self):
        """Keys that Node exports as JWKs sign and verify here."""
        need("node")
        script = ('const c = require("crypto"); const out = {}; for (const [name, pem] of Object.entries(JSON.parse(require("fs")'
                  '.readFileSync(0)))) { const k = c.createPrivateKey(pem); out[name] = [k.export({ format: "jwk" }), '
                  'c.createPublicKey(k).export({ format: "jwk" })]; } console.log(JSON.stringify(out))')
        pems = {kind: forms["PKCS#8"] for kind, forms in self.keys.private.items()}
        done = subprocess.run(["node", "-e", script], input=json.dumps(pems), stdout=subprocess.PIPE, text=True, check=True, timeout=60)
        algorithms = {"rsa": "RS256", "p256": "ES256", "ed25519": "EdDSA"}
        for kind, (private, public) in json.loads(done.stdout).items():
            with self.subTest(kind=kind):
                token, = run([{"do": "jwtSign", "algorithm": algorithms[kind], "key": {"jwk": private}, "claims": {"sub": kind}}])
                self.assertEqual(run([{"do": "jwtVerify", "algorithm": algorithms[kind], "key": {"jwk": public}, "token": token}]),
                                 [{"sub": kind}])
                self.assertEqual(self.node([{"do": "verify", "algorithm": algorithms[kind], "key": {"jwk": public}, "token": token}]),
                                 [{"sub": kind}])

    def test_without_libcrypto(self):
        """Where OpenSSL is missing, what needs it says which package to install."""
        broken = pathlib.Path(self.folder) / "broken"
        broken.mkdir()
        (broken / "libcrypto.so.3").write_bytes(b"not a library")
        env = {"LD_LIBRARY_PATH": str(broken)}
        jobs = [{"do": "digest", "name": "sha256", "data": "", "secret": ""},
                {"do": "describe", "key": self.keys.public["rsa"]["certificate"]},
                {"do": "describe", "key": {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}}},
                {"do": "jwtSign", "algorithm": "HS256", "key": {"secret": "x"}, "claims": {}}]
        for result in run(jobs, env):
            self.assertRegex(result["error"], r"cannot load OpenSSL 3 \(.*\); install the package libssl3$")


# ---- AWS ----

UNRESERVED = string.ascii_letters + string.digits + "-._~"


def random_text(rng, alphabet, most):
    return "".join(rng.choices(alphabet, k=rng.randrange(most + 1)))


def random_request(rng):
    service = rng.choice(["s3", "dynamodb", "sqs", "execute-api", "es"])
    odd = UNRESERVED + " /+=&?#%:@!$'()*,;<>\"\\^`{|}[]äß€"
    segments = [urllib.parse.quote(random_text(rng, odd, 8), safe="-._~") for _ in range(rng.randrange(5))]
    if service != "s3" and segments:
        # Not both in one path, nor dots at its end: there botocore is at odds with RFC 3986, by which clients send the path.
        others = rng.choice([[".", ".."], [""]])
        segments = [rng.choice([segment or "x", segment or "x", *others]) for segment in segments] + ["end" if "." in others else ""]
    query = [(random_text(rng, odd, 6), random_text(rng, odd, 8)) for _ in range(rng.randrange(5))]
    query = [(name or "n", value) for name, value in query]
    url = f"{rng.choice(['https', 'http'])}://{rng.choice(['bucket.example.com', 'EXAMPLE.amazonaws.com', 'localhost', '127.0.0.1', '[::1]'])}"
    url += rng.choice(["", "", ":443", ":80", ":9000"]) + "/" + "/".join(segments)
    if query:
        url += "?" + "&".join(f"{urllib.parse.quote(n, safe='-._~')}={urllib.parse.quote(v, safe='-._~')}" for n, v in query)
    headers = {}
    for name in rng.sample(["Content-Type", "X-Amz-Target", "x-amz-meta-z", "Range", "If-Match",
                            "User-Agent", "Expect", "X-Amzn-Trace-Id", "Content-Length", "Accept"], rng.randrange(5)):
        headers[name] = rng.choice(["a", " a  b ", "x\ty", '"quoted  text"', "1,2", "é"])
    return {
        "method": rng.choice(["GET", "PUT", "post", "DELETE", "HEAD"]), "url": url, "headers": headers, "service": service,
        "body": random_text(rng, string.printable + "€", 300) if rng.random() < 0.6 else None,
        "region": rng.choice(["us-east-1", "eu-central-1", "auto"]), "accessKey": random_text(rng, string.ascii_uppercase, 19) + "A",
        "secretKey": random_text(rng, UNRESERVED + "+/=", 40) + "s", "time": rng.randrange(4102444800) * 1000 + rng.randrange(1000),
        "sessionToken": random_text(rng, UNRESERVED + "+/=", 200) + "t" if rng.random() < 0.4 else None,
        "unsignedPayload": True if rng.random() < 0.2 else None,
    }


class Aws(unittest.TestCase):
    maxDiff = 4000

    def peer(self, request):
        """The headers that botocore adds."""
        import datetime

        from botocore.auth import S3SigV4Auth, SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
        credentials = Credentials(request["accessKey"], request["secretKey"], request["sessionToken"])
        auth = (S3SigV4Auth if request["service"] == "s3" else SigV4Auth)(credentials, request["service"], request["region"])
        body = (request["body"] or "").encode()
        signed = AWSRequest(method=request["method"], url=request["url"], data=body, headers=request["headers"])
        moment = datetime.datetime.fromtimestamp(request["time"] // 1000, datetime.timezone.utc)
        signed.context["timestamp"] = moment.strftime("%Y%m%dT%H%M%SZ")
        if request["unsignedPayload"]:
            signed.context["payload_signing_enabled"] = False
            auth.payload = lambda _: "UNSIGNED-PAYLOAD"  # botocore has its own opinion of when this is wise
        auth._modify_request_before_signing(signed)
        canonical = auth.canonical_request(signed)
        signature = auth.signature(auth.string_to_sign(signed, canonical), signed)
        auth._inject_signature_to_request(signed, signature)
        return {name: signed.headers[name] for name in signed.headers.keys() if name not in request["headers"]}, canonical

    def test_signatures(self):
        """The headers of generated requests are those of botocore."""
        pypi.ensure("botocore", "python_dateutil")
        rng = random.Random(SEED)
        requests = [random_request(rng) for _ in range(REQUESTS)]
        results = run([{"do": "aws", "options": {k: v for k, v in request.items() if v is not None}} for request in requests])
        for request, result in zip(requests, results):
            self.assertNotIn("error", result, request)
            expected, canonical = self.peer(request)
            ours = {name.lower(): value for name, value in result.items() if name not in request["headers"]}
            self.assertEqual(ours, {name.lower(): value for name, value in expected.items()}, f"{request}\n{canonical}")
            for name, value in request["headers"].items():
                self.assertEqual(result[name], value)
        print(f"{REQUESTS} requests are signed as botocore signs them (seed {SEED})")


if __name__ == "__main__":
    unittest.main()
