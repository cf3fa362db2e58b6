/* One call of a capability with an input: a tool, a webhook's events, an automation, a job, or one execute of
 * a sync without writing.
 *
 * Who owns what: the call belongs to whoever starts it; call_free after its done callback has run. */
#ifndef WORKERS_ENGINE_CALL_H
#define WORKERS_ENGINE_CALL_H

#include "engine/runtime.h"

struct call;

struct call_end {
    bool ok;
    const char *name;       /* of the error: "InvalidToolInputError", "ToolExecutionError", "ExecutionError",
                               "RateLimitError" */
    const char *message;    /* redacted */
    const char *traceback;  /* may be NULL */
    struct failure failure; /* what kind of error the script has raised */
    double retry_after;     /* seconds, < 0 when not given */
    const char *value;      /* JSON; on success */
    size_t value_len;
    bool is_content; /* the value is what workers.content made: {"content": […], "structuredContent": …} */
    bool skipped;    /* the automation's when has declined the event */
    bool rate_limited;
    bool unverified; /* it failed with a WebhookVerificationError: trying again is of no use */
    int64_t requests, peak_bytes;
};

typedef void (*call_done_fn)(void *ctx, struct call *call, const struct call_end *end);

/* What it is called with: a delivery, which must outlive the call; or, when that is NULL, JSON text, which is
 * copied: empty means {} for tools and syncs, [] for webhooks, null otherwise. */
struct call_input {
    const char *json;
    size_t len;
    const struct delivery *delivery;
    const struct observer *observer; /* told while it runs, and outlives the call; NULL for nobody */
};

enum err_code call_start(struct runtime *runtime, const struct capability *capability,
                         const struct call_input *input, call_done_fn done, void *ctx, struct call **out,
                         struct err *err) MUST_CHECK;
/* Ends it at its next instruction; done is told. */
void call_stop(struct call *call, enum err_code code, const char *why);
void call_free(struct call *call);

/* Appends how a call ended: {"_tag":"success","value":…} or
 * {"_tag":"error","error":{"name","message","trace", "retryAfter"}}, without those two when there are none.
 */
void call_describe(const struct call_end *end, struct buf *out);
/* Appends why a call has failed, for people and agents: mistakes in a tool's input as a sentence. */
void call_explain(const struct call_end *end, struct buf *out);

#endif
