// The tool of hello.lua under the TypeScript SDK.
import { Worker } from "@notionhq/workers";
import { j } from "@notionhq/workers/schema-builder";

const worker = new Worker();

worker.tool("sayHello", {
  title: "Say hello",
  description: "Says hello to the user",
  schema: j.object({ name: j.string() }),
  execute: ({ name }) => `Hello, ${name}!`,
});

console.log(JSON.stringify(await worker.run("sayHello", { name: "World" }, { concreteOutput: true })));
