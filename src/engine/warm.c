/* Keeping isolates. */
#include "engine/warm.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

#define USES_MAX 1000
#define WAITING_MAX 64 /* of one runtime */

enum err_code warm_take(struct runtime *runtime, const char *key, struct warm **out,
                        struct script_error *error)
{
    for (struct warm **at = &runtime->warm; *at != NULL; at = &(*at)->next) {
        struct warm *warm = *at;
        if (strcmp(warm->execution.key, key) != 0)
            continue;
        *at = warm->next;
        warm->execution.requests = 0;
        warm->execution.run_id[0] = '\0';
        isolate_reset_peak(warm->isolate);
        *out = warm;
        return ERR_NONE;
    }
    struct warm *warm = mem_need(sizeof *warm);
    execution_init(&warm->execution, runtime, key);
    enum err_code code = execution_open(&warm->execution, &warm->isolate, error);
    if (code != ERR_NONE) {
        execution_free(&warm->execution);
        mem_free(warm);
        return code;
    }
    *out = warm;
    return ERR_NONE;
}

static void close_warm(struct warm *warm)
{
    isolate_close(warm->isolate);
    execution_free(&warm->execution);
    mem_free(warm);
}

void warm_give(struct warm *warm, bool ended_well)
{
    struct runtime *runtime = warm->execution.runtime;
    int waiting = 0;
    for (const struct warm *at = runtime->warm; at != NULL; at = at->next)
        waiting++;
    size_t limit = (size_t)runtime->options.config->limits.memory_bytes;
    if (!runtime->keeps_warm || !ended_well || ++warm->uses >= USES_MAX || waiting >= WAITING_MAX ||
        !isolate_is_quiet(warm->isolate) || isolate_memory(warm->isolate) > limit / 4) {
        close_warm(warm);
        return;
    }
    lua_settop(isolate_state(warm->isolate), 0);
    execution_free(&warm->execution); /* what it would have set */
    warm->idle_since_ms = clock_mono_ms();
    warm->next = runtime->warm;
    runtime->warm = warm;
}

void warm_close_idle(struct runtime *runtime, int64_t idle_ms)
{
    int64_t before = clock_mono_ms() - idle_ms;
    for (struct warm **at = &runtime->warm; *at != NULL;) {
        struct warm *warm = *at;
        if (warm->idle_since_ms <= before || idle_ms == 0) {
            *at = warm->next;
            close_warm(warm);
        } else {
            at = &warm->next;
        }
    }
}
