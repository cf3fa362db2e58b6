/* What a deploy is asked for.
 *
 * Who owns what: the texts are the caller's. */
#ifndef WORKERS_WORKER_DEPLOY_H
#define WORKERS_WORKER_DEPLOY_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

struct deploy {
    const char *folder; /* of the worker: its store is in .workers there, its versions beside that */
    const char *pack;   /* NULL: number */
    size_t pack_len;
    int64_t number;   /* an earlier version */
    bool plan;        /* only say what would be */
    const char *note; /* why; NULL for none */
};
/* Appends what was, or would be, done, as JSON. On failure nothing has changed. */
typedef enum err_code (*deploy_fn)(const struct deploy *deploy, struct buf *answer, struct err *err);

#endif
