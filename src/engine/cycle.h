/* One attempt at a cycle of a sync: execute, commit, again, until hasMore is false.
 *
 * While one page is being committed on the store's thread, execute already works on the next; pages are
 * committed in order, and none after one that failed.
 *
 * Who owns what: the cycle belongs to whoever starts it; cycle_free after its done callback has run. */
#ifndef WORKERS_ENGINE_CYCLE_H
#define WORKERS_ENGINE_CYCLE_H

#include "engine/runtime.h"

struct cycle;

enum cycle_activity {
    CYCLE_STARTING,
    CYCLE_EXECUTING,
    CYCLE_WAITING_RATE_LIMIT,
    CYCLE_COMMITTING,
    CYCLE_ENDED
};

struct cycle_progress {
    enum cycle_activity activity;
    struct page_counts counts;
    int64_t pages;
    int64_t requests;
    uint64_t elapsed_ms;
    uint64_t wait_ms; /* left of a wait for a rate limit */
    bool resumed;
    int64_t resumed_pages; /* committed by earlier attempts at this cycle */
};

struct cycle_options {
    bool preview;
    bool allow_deletes;
    bool one_page;                  /* of a preview: execute once only */
    const char *preview_state;      /* JSON; NULL means where the sync stands */
    const struct sync_start *start; /* of a sync on a schedule, which is run only if it is due; else NULL */
    const struct diff_sink *diff;   /* of a preview */
    /* The JSON of what execute returned, for each page of a preview. NULL for none. */
    void (*result)(void *ctx, const char *json, size_t len);
    void *result_ctx;
    /* After each page that was committed. NULL for none. */
    void (*committed)(void *ctx);
    void *committed_ctx;
};

struct cycle_end {
    enum run_outcome outcome;
    bool not_begun;            /* it was not due any more, or somebody else runs it: nothing happened */
    struct script_error error; /* when it failed */
    struct sweep_outcome sweep;
};

typedef void (*cycle_done_fn)(void *ctx, struct cycle *cycle, const struct cycle_end *end);

enum err_code cycle_start(struct runtime *runtime, const struct capability *sync,
                          const struct cycle_options *options, cycle_done_fn done, void *ctx,
                          struct cycle **out, struct err *err) MUST_CHECK;
/* Stops after the page in hand; the next run goes on from there. */
void cycle_stop(struct cycle *cycle);
/* The same without waiting for the page: what execute was about to return is lost, and asked for again then.
 */
void cycle_stop_now(struct cycle *cycle);
void cycle_free(struct cycle *cycle);

void cycle_get_progress(const struct cycle *cycle, struct cycle_progress *out);
const struct capability *cycle_sync(const struct cycle *cycle);
const char *cycle_run_id(const struct cycle *cycle); /* empty before it has begun */
int64_t cycle_attempt(const struct cycle *cycle);    /* from 1; failures in a row before it count */
/* What the running execute waits for, for people: "executing", "waiting for pacer taskApi". */
const char *cycle_waits_for(const struct cycle *cycle);

/* Milliseconds to wait before attempt number n (from 1) after a failure: exponential with jitter, from 10 s
 * to 30 min. */
int64_t cycle_backoff_ms(int64_t attempt);

#endif
