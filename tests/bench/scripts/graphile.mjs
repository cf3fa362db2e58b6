// Jobs that do nothing under graphile-worker. Arguments: the folder of PostgreSQL's socket, how many jobs, and "on" or "off"
// for synchronous_commit. Prints the milliseconds from the start of the first job to the record of the last.
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";

const [host, count, flush] = [process.argv[2], Number(process.argv[3]), process.argv[4]];
const concurrency = 24; // what its documentation measures with, as is one connection more
const pgPool = new pg.Pool({ host, user: "postgres", database: "postgres", max: concurrency + 1,
                             options: `-c synchronous_commit=${flush}` });
const logger = new Logger(() => () => {});
const utils = await makeWorkerUtils({ pgPool, logger });
await utils.migrate();
await pgPool.query("SELECT graphile_worker.add_jobs(array(SELECT json_populate_record(null::graphile_worker.job_spec,"
  + " '{\"identifier\":\"nothing\",\"payload\":{}}'::json) FROM generate_series(1, $1)))", [count]);
await pgPool.query("VACUUM ANALYZE");

let first, left = count;
const runner = await run({ pgPool, concurrency, logger, noHandleSignals: true, taskList: { nothing: async () => {
  first ??= performance.now();
} } });
await new Promise((resolve) => runner.events.on("job:complete", () => { if (--left === 0) resolve(); }));
const ms = performance.now() - first;
await runner.stop();
const { rows } = await pgPool.query("SELECT count(*)::int AS left FROM graphile_worker.jobs");
console.log(JSON.stringify({ ms, done: count - rows[0].left }));
await utils.release();
await pgPool.end();
