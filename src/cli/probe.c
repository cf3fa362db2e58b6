/* One execute of a sync from a given state. Must not write rows or state, and lets no request leave that
 * changes something. */
#include "cli/probe.h"

#include "engine/call.h"
#include "script/timer.h"

struct probing {
    struct call *call;
    struct timer *timer;
    struct buf *answer;
};

static void done(void *ctx, struct call *call, const struct call_end *end)
{
    struct probing *probing = ctx;
    (void)call;
    call_describe(end, probing->answer);
    timer_close(&probing->timer);
}

static void too_late(void *ctx)
{
    struct probing *probing = ctx;
    call_stop(probing->call, ERR_TIMEOUT, "it did not end within a minute");
}

static enum err_code probe_here(struct target *target, const char *key, const struct buf *body,
                                struct buf *answer, struct err *err)
{
    struct probing probing = {.answer = answer};
    enum err_code code = target_load(target, err);
    if (code != ERR_NONE)
        return code;
    struct runtime *runtime = target->runtime;
    const struct capability *sync = worker_find(runtime->worker, key, CAPABILITY_SYNC, err);
    if (sync == NULL)
        return err->code;
    const struct call_input input = {.json = buf_text(body), .len = body->len};
    probing.timer = timer_new(runtime->loop, too_late, &probing);
    code = call_start(runtime, sync, &input, done, &probing, &probing.call, err);
    if (code == ERR_NONE) {
        timer_start(probing.timer, PROBE_TIMEOUT_MS, 0);
        uv_run(runtime->loop, UV_RUN_DEFAULT);
    }
    timer_close(&probing.timer);
    call_free(probing.call);
    return code;
}

enum err_code probe_sync(struct target *target, const char *key, const struct json_slice *state,
                         struct buf *answer, struct err *err)
{
    struct buf body, path;
    buf_init(&body, BUF_UNLIMITED);
    buf_adds(&body, "{\"" DRY_RUN_PROPERTY "\":true,\"state\":");
    if (state != NULL)
        buf_add(&body, state->text, state->len);
    else
        buf_adds(&body, "null");
    buf_addc(&body, '}');
    path_make(&path, "/capabilities", key, "/exec");
    const struct question question = {
        .method = "POST", .path = &path, .body = &body, .timeout_ms = PROBE_TIMEOUT_MS};
    enum err_code code = buf_status(&body, "the state", err);
    if (code == ERR_NONE)
        code = target->remote != NULL ? target_ask(target, &question, answer, err)
                                      : probe_here(target, key, &body, answer, err);
    buf_free(&body);
    buf_free(&path);
    return code;
}
