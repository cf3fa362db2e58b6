/* Pacer positions: one schedule of slots per pacer, shared by every process on the store. */
#include "store/store_priv.h"

#include <math.h>

/* A position further ahead than this can only come from a clock that was set back. */
#define CLOCK_STEP_MS 60000

static enum err_code prepare(struct store *store, struct err *err)
{
    if (store->pacer_set != NULL)
        return ERR_NONE;
    enum err_code code = ERR_NONE;
    if (store->pacer_get == NULL)
        code = store_prepare(store, &store->pacer_get,
                             "SELECT last_slot_at FROM _workers_pacers WHERE key = ?1", err);
    if (code == ERR_NONE)
        code = store_prepare(
            store, &store->pacer_set,
            "INSERT INTO _workers_pacers(key, last_slot_at) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET"
            " last_slot_at = excluded.last_slot_at",
            err);
    return code;
}

static enum err_code reserve(struct store *store, const char *key, int64_t pace, int64_t now, int64_t horizon,
                             int64_t want, int64_t *first, int64_t *granted, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    int64_t last = 0;
    bool known = false;
    bind_str(store->pacer_get, 1, key);
    enum db_step step = driver->step(store->pacer_get, err);
    if (step == DB_ROW) {
        last = driver->column_integer(store->pacer_get, 0);
        known = true;
    }
    driver->reset(store->pacer_get);
    if (step == DB_FAILED)
        return err->code;
    *first = now;
    if (known && last - now <= 64 * pace + horizon + CLOCK_STEP_MS && last + pace > now)
        *first = last + pace;
    int64_t room = *first <= now + horizon ? (now + horizon - *first) / pace + 1 : 1;
    *granted = want < room ? want : room;
    if (*granted < 1)
        *granted = 1;
    bind_str(store->pacer_set, 1, key);
    driver->bind_integer(store->pacer_set, 2, *first + (*granted - 1) * pace);
    return store_step(store, store->pacer_set, err);
}

enum err_code store_pacer_reserve(struct store *store, const char *key, double pace_ms, int64_t now_ms,
                                  int64_t horizon_ms, int64_t want, int64_t *first_ms, int64_t *granted,
                                  struct err *err)
{
    int64_t pace = (int64_t)ceil(pace_ms);
    if (pace < 1)
        pace = 1;
    enum err_code code = prepare(store, err);
    if (code == ERR_NONE)
        code = DRIVER(store)->begin(store->db, err);
    if (code != ERR_NONE)
        return code;
    code = reserve(store, key, pace, now_ms, horizon_ms, want, first_ms, granted, err);
    if (code == ERR_NONE)
        return DRIVER(store)->commit(store->db, err);
    DRIVER(store)->rollback(store->db);
    return code;
}
