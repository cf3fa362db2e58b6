/* Housekeeping of a store. */
#include "engine/upkeep.h"

#include "base/clock.h"

static uint64_t kept(uint64_t bytes)
{
    return bytes - bytes / UPKEEP_SHARE;
}

bool upkeep_is_due(const struct config *config, uint64_t written)
{
    uint64_t runs = config->retention.history_bytes / 2, logs = config->retention.logs_bytes;
    return written > (runs < logs ? runs : logs) / UPKEEP_SHARE;
}

bool upkeep_step(struct upkeep *upkeep, struct store *store, const struct config *config)
{
    int64_t now = clock_now_ms();
    bool more = false;
    struct err ignored;
    if (!upkeep->planned) {
        const struct history_limits limits = {.runs_before_ms = now - (int64_t)config->retention.runs_ms,
                                              .deleted_before_ms =
                                                  now - (int64_t)config->retention.deleted_ms,
                                              .history_bytes = kept(config->retention.history_bytes)};
        if (store_history_plan(store, &limits, &upkeep->plan, &ignored) != ERR_NONE ||
            store_kv_expire(store, now, &ignored) != ERR_NONE)
            return false;
        upkeep->planned = true;
    }
    if (store_history_forget(store, &upkeep->plan, &more, &ignored) != ERR_NONE)
        more = false;
    if (!more && store_logs_trim(store, kept(config->retention.logs_bytes), &more, &ignored) != ERR_NONE)
        more = false;
    upkeep->planned = more;
    return more;
}
