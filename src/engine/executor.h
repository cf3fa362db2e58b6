/* Runs store work on another thread, one piece at a time, in order, so that the script's thread never waits
 * for the disk.
 *
 * Who owns what: a job belongs to whoever submits it and must live until its after function has returned. */
#ifndef WORKERS_ENGINE_EXECUTOR_H
#define WORKERS_ENGINE_EXECUTOR_H

#include "store/store.h"

#include <uv.h>

struct executor;

struct job {
    /* On the other thread, alone with the store. */
    void (*work)(struct job *job, struct store *store);
    /* On the loop's thread, when it is done. May submit jobs. */
    void (*after)(struct job *job);
    /* Jobs of the same owner may keep others out between them: a job that sets keep leaves the store to its
     * owner until one of the owner's jobs ends without it. */
    void *owner;
    bool keep;
    bool urgent; /* goes before the jobs that wait */
    struct job *next;
};

enum err_code executor_new(uv_loop_t *loop, struct store *store, struct executor **out,
                           struct err *err) MUST_CHECK;
/* No job may be left. */
void executor_free(struct executor *executor);
void executor_submit(struct executor *executor, struct job *job);

#endif
