/* Deploying: another version of a worker's code is loaded, compared with the one that runs, and made the
 * active one, or nothing changes.
 *
 * Who owns what: answers go to the caller's buffers. */
#ifndef WORKERS_ENGINE_DEPLOY_H
#define WORKERS_ENGINE_DEPLOY_H

#include "worker/deploy.h"

/* In this process, on its only thread that runs scripts. Appends what was, or would be, done:
 *
 *     {"status":"deployed"|"planned"|"unchanged","version":3,"from":2,"digest":"…","files":4,"bytes":2000,
 *      "changes":[{"change":"added"|"changed"|"removed","kind":"sync","key":"issues"}],
 *      "schedules":[{"key":"issues","before":"every 30m","after":"every 1h"}],
 *      "schema":["table issues: …"],
 *      "permissions":[{"change":"added","kind":"net","value":"api.example.com"}]}
 *
 * ERR_SCRIPT, ERR_INVALID, ERR_CONFLICT: what is wrong with it; nothing has changed. */
enum err_code deploy_run(const struct deploy *deploy, struct buf *answer, struct err *err) MUST_CHECK;

/* The same in a process of its own, from any thread: code that was never tried cannot hold up or end who runs
 * others. Waits for it, for two minutes at most. A deploy_fn. */
enum err_code deploy_apart(const struct deploy *deploy, struct buf *answer, struct err *err) MUST_CHECK;
/* What that process does: reads the request from its standard input, writes the answer. The exit code. */
#define DEPLOY_WORD "--deploy-apart" /* its only argument */
int deploy_apart_main(void);

#endif
