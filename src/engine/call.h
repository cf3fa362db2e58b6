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
    const char *name;      /* of the error: "InvalidToolInputError", "ToolExecutionError", "ExecutionError",
                              "RateLimitError" */
    const char *message;   /* redacted */
    const char *traceback; /* may be NULL */
    double retry_after;    /* seconds, < 0 when not given */
    const char *value;     /* JSON; on success */
    size_t value_len;
};

typedef void (*call_done_fn)(void *ctx, struct call *call, const struct call_end *end);

/* input is JSON text; empty means {} for tools and syncs, [] for webhooks, null otherwise. */
enum err_code call_start(struct runtime *runtime, const struct capability *capability, const char *input,
                         size_t input_len, call_done_fn done, void *ctx, struct call **out,
                         struct err *err) MUST_CHECK;
void call_free(struct call *call);

#endif
