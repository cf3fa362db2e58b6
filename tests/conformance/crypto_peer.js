// JSON Web Tokens by Node's own crypto, as the peer of workers.crypto: reads jobs from standard input, prints their results.
// {do: "sign", algorithm, key, claims, header} -> the token; {do: "verify", algorithm, key, token} -> the claims, or null.
// key is a PEM text, {jwk: …} or {secret: …}.
"use strict";
const crypto = require("crypto");

const hashes = { HS256: "sha256", HS384: "sha384", HS512: "sha512", RS256: "sha256", RS384: "sha384", RS512: "sha512", ES256: "sha256", EdDSA: null };
const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

function signature(job, text) {
  const hash = hashes[job.algorithm];
  if (job.algorithm.startsWith("HS")) return crypto.createHmac(hash, job.key.secret).update(text).digest();
  const key = job.key.jwk ? crypto.createPrivateKey({ key: job.key.jwk, format: "jwk" }) : crypto.createPrivateKey(job.key);
  return crypto.sign(hash, Buffer.from(text), { key, dsaEncoding: "ieee-p1363" });
}

function verify(job) {
  const [header, claims, sign] = job.token.split(".");
  const text = `${header}.${claims}`;
  if (JSON.parse(Buffer.from(header, "base64url")).alg !== job.algorithm) return null;
  const bytes = Buffer.from(sign, "base64url");
  let good;
  if (job.algorithm.startsWith("HS")) {
    good = bytes.equals(signature(job, text));
  } else {
    const key = job.key.jwk ? crypto.createPublicKey({ key: job.key.jwk, format: "jwk" }) : crypto.createPublicKey(job.key);
    good = crypto.verify(hashes[job.algorithm], Buffer.from(text), { key, dsaEncoding: "ieee-p1363" }, bytes);
  }
  return good ? JSON.parse(Buffer.from(claims, "base64url")) : null;
}

function sign(job) {
  const text = `${encode({ ...job.header, alg: job.algorithm })}.${encode(job.claims)}`;
  return `${text}.${signature(job, text).toString("base64url")}`;
}

const jobs = JSON.parse(require("fs").readFileSync(0));
console.log(JSON.stringify(jobs.map((job) => (job.do === "sign" ? sign(job) : verify(job)))));
