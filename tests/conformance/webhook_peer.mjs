// GitHub, Stripe and Standard Webhooks by their own npm packages, as the peers of workers.webhooks: reads jobs from a file and
// prints their results. A body is the name of a file.
//     node webhook_peer.mjs FOLDER_OF_NODE_MODULES JOBS
// {do: "sign", provider, secret, body, id, time} -> headers; {do: "verify", provider, secret, body, headers} -> null, or why not.
// time is Unix seconds.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [modules, file] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { Webhook } = require("standardwebhooks");
const stripe = require("stripe")("sk_test_none");
const github = await import(pathToFileURL(`${modules}/node_modules/@octokit/webhooks-methods/dist-node/index.js`));

const bodies = new Map();
function bodyOf(name) {
  if (!bodies.has(name)) bodies.set(name, readFileSync(name, "utf8"));
  return bodies.get(name);
}

const providers = {
  github: {
    sign: async (job, body) => ({ "X-Hub-Signature-256": await github.sign(job.secret, body) }),
    verify: async (job, body) => {
      if (!(await github.verify(job.secret, body, job.headers["X-Hub-Signature-256"]))) throw new Error("not the signature");
    },
  },
  stripe: {
    sign: async (job, payload) => ({
      "Stripe-Signature": stripe.webhooks.generateTestHeaderString({ payload, secret: job.secret, timestamp: job.time }),
    }),
    verify: async (job, body) => stripe.webhooks.constructEvent(body, job.headers["Stripe-Signature"], job.secret),
  },
  standard: {
    sign: async (job, body) => ({
      "webhook-id": job.id,
      "webhook-timestamp": String(job.time),
      "webhook-signature": new Webhook(job.secret).sign(job.id, new Date(job.time * 1000), body),
    }),
    verify: async (job, body) => new Webhook(job.secret).verify(body, job.headers),
  },
};

async function run(job) {
  const provider = providers[job.provider];
  if (job.do === "sign") return provider.sign(job, bodyOf(job.body));
  try {
    await provider.verify(job, bodyOf(job.body));
    return null;
  } catch (error) {
    return error.message;
  }
}

const results = [];
for (const job of JSON.parse(readFileSync(file, "utf8"))) results.push(await run(job));
console.log(JSON.stringify(results));
