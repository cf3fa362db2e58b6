// The sync of sync_builder.lua under the TypeScript SDK, with the host's part done by hand: a loop over the pages, each
// written with better-sqlite3 in one transaction together with the state. Writes the database given as argument, once;
// prints {rows, pages, ms}.
import Database from "better-sqlite3";
import { Worker } from "@notionhq/workers";
import * as Builder from "@notionhq/workers/builder";
import * as Schema from "@notionhq/workers/schema";
import { upstreamPage } from "./upstream.mjs";

const worker = new Worker();

const tasks = worker.database("tasks", {
  type: "managed",
  initialTitle: "Tasks",
  primaryKeyProperty: "Task ID",
  schema: {
    properties: {
      "Task Name": Schema.title(),
      "Task ID": Schema.richText(),
      Status: Schema.select([{ name: "Open" }, { name: "In progress" }, { name: "Blocked" }, { name: "Done" }]),
      Points: Schema.number(),
      Due: Schema.date(),
      Done: Schema.checkbox(),
    },
  },
});

worker.sync("tasksSync", {
  database: tasks,
  mode: "replace",
  schedule: "manual",
  execute: async (state) => {
    const page = state?.page ?? 1;
    const body = upstreamPage(page);
    const changes = body.items.map((task) => ({
      type: "upsert",
      key: task.id,
      properties: {
        "Task Name": Builder.title(task.name),
        "Task ID": Builder.richText(task.id),
        Status: Builder.select(task.status),
        Points: Builder.number(task.points),
        Due: Builder.date(task.due),
        Done: Builder.checkbox(task.done),
      },
    }));
    return { changes, hasMore: body.more, nextState: body.more ? { page: page + 1 } : undefined };
  },
});

const db = new Database(process.argv[2]);
db.pragma("auto_vacuum = INCREMENTAL");
db.pragma("journal_mode = WAL");
db.pragma("synchronous = NORMAL");
db.pragma("cache_size = -32768");
db.exec(
  `CREATE TABLE IF NOT EXISTS tasks(_id INTEGER PRIMARY KEY, _key TEXT NOT NULL UNIQUE, _icon TEXT, _cover TEXT, _content TEXT,
     _upstream_updated_at TEXT, _synced_at TEXT NOT NULL, task_name TEXT, task_id TEXT, status TEXT, points NUMERIC, due TEXT,
     due_end TEXT, done BOOLEAN);
   CREATE TABLE IF NOT EXISTS syncs(key TEXT PRIMARY KEY, state TEXT) WITHOUT ROWID;`,
);
const upsert = db.prepare(
  `INSERT INTO tasks(_key, _synced_at, task_name, task_id, status, points, due, due_end, done) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)
   ON CONFLICT(_key) DO UPDATE SET _synced_at = excluded._synced_at, task_name = excluded.task_name, task_id = excluded.task_id,
   status = excluded.status, points = excluded.points, due = excluded.due, due_end = excluded.due_end, done = excluded.done`,
);
const setState = db.prepare(
  "INSERT INTO syncs(key, state) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET state = excluded.state",
);

const plainText = (value) => value[0][0];
const dateOf = (value) => value[0][1][0][1];

const commit = db.transaction((page) => {
  const now = new Date().toISOString();
  for (const { key, properties } of page.changes) {
    const due = dateOf(properties.Due);
    upsert.run(
      key,
      now,
      plainText(properties["Task Name"]),
      plainText(properties["Task ID"]),
      plainText(properties.Status),
      Number(plainText(properties.Points)),
      due.start_date,
      due.end_date ?? null,
      plainText(properties.Done) === "Yes" ? 1 : 0,
    );
  }
  setState.run("tasksSync", page.hasMore ? JSON.stringify(page.nextUserContext) : null);
});

const started = performance.now();
let rows = 0;
let pages = 0;
let state;
for (let more = true; more; pages++) {
  const page = await worker.run("tasksSync", { state }, { concreteOutput: true });
  commit(page);
  rows += page.changes.length;
  state = page.nextUserContext;
  more = page.hasMore;
}
console.log(JSON.stringify({ rows, pages, ms: performance.now() - started }));
db.close();
