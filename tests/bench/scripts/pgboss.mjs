// Jobs that do nothing under pg-boss. Arguments: the folder of PostgreSQL's socket, how many jobs, and "on" or "off" for
// synchronous_commit. Prints the milliseconds from the first fetch to the record of the last job. Its work() waits half a
// second after a batch at the least, so jobs are fetched and completed in batches by hand, several at once.
import PgBoss from "pg-boss";

const [host, count, flush] = [process.argv[2], Number(process.argv[3]), process.argv[4]];
const [batchSize, loops] = [500, 4];
const boss = new PgBoss({ host, user: "postgres", database: "postgres", max: loops + 1, options: `-c synchronous_commit=${flush}`,
                          supervise: false, schedule: false });
boss.on("error", (error) => { throw error; });
await boss.start();
await boss.createQueue("nothing");
for (let at = 0; at < count; at += 1000)
  await boss.insert(Array.from({ length: Math.min(1000, count - at) }, () => ({ name: "nothing", data: {} })));
await boss.getDb().executeSql("VACUUM ANALYZE");

const handle = async () => {};
const first = performance.now();
await Promise.all(Array.from({ length: loops }, async () => {
  for (;;) {
    const jobs = await boss.fetch("nothing", { batchSize });
    if (jobs.length === 0) break;
    for (const job of jobs) await handle(job);
    await boss.complete("nothing", jobs.map((job) => job.id));
  }
}));
const ms = performance.now() - first;
const { rows } = await boss.getDb().executeSql("SELECT count(*)::int AS done FROM pgboss.job WHERE state = 'completed'");
console.log(JSON.stringify({ ms, done: rows[0].done }));
await boss.stop({ graceful: false });
