/* When syncs and jobs run next. Must not compute ticks: that is worker/due.h's. */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* No next tick. */
static void bind_tick(struct db_stmt *stmt, int index, int64_t ms)
{
    if (ms == INT64_MAX)
        stmt->db->driver->bind_null(stmt, index);
    else
        stmt->db->driver->bind_integer(stmt, index, ms);
}

enum err_code store_schedules_each(struct store *store, schedule_fn each, void *ctx, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt,
        "SELECT k.key, coalesce(s.schedule, ''), s.next_at, s.retry_at, s.triggered_at, s.allow_deletes,"
        " y.paused, y.failures, y.cycle_open, y.lease_owner, y.lease_expires_at, s.set_at,"
        " y.last_success_at, y.held, y.last_error, coalesce(s.alerted, '') FROM (SELECT key "
        "FROM"
        " _workers_schedules UNION SELECT key FROM _workers_syncs) AS k LEFT JOIN _workers_schedules AS s ON"
        " s.key = k.key LEFT JOIN _workers_syncs AS y ON y.key = k.key",
        err);
    if (code != ERR_NONE)
        return code;
    enum db_step step = DB_DONE;
    while (code == ERR_NONE && (step = driver->step(stmt, err)) == DB_ROW) {
        size_t len = 0;
        const char *owner = driver->column_text(stmt, 9, &len);
        struct schedule_entry entry = {
            .schedule = column_copy(stmt, 1),
            .next_ms = driver->column_type(stmt, 2) == DB_NULL ? INT64_MAX : driver->column_integer(stmt, 2),
            .retry_ms = driver->column_integer(stmt, 3),
            .triggered_ms = driver->column_integer(stmt, 4),
            .allow_deletes = driver->column_integer(stmt, 5) != 0,
            .paused = driver->column_integer(stmt, 6) != 0,
            .failures = driver->column_integer(stmt, 7),
            .last_success_ms = driver->column_integer(stmt, 12),
            .held = column_copy(stmt, 13),
            .last_error = column_copy(stmt, 14),
            .set_ms = driver->column_integer(stmt, 11),
            .running = owner_holds(owner, driver->column_integer(stmt, 10)),
        };
        entry.abandoned = owner != NULL && !entry.running && driver->column_integer(stmt, 8) != 0;
        snprintf(entry.alerted, sizeof entry.alerted, "%s", driver->column_text(stmt, 15, &len));
        snprintf(entry.key, sizeof entry.key, "%s", driver->column_text(stmt, 0, &len));
        code = entry.schedule != NULL ? each(ctx, &entry) : err_nomem(err);
        mem_free(entry.schedule);
        mem_free(entry.held);
        mem_free(entry.last_error);
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    driver->finalize(stmt);
    return code;
}

enum err_code store_schedule_set(struct store *store, const char *key, const char *schedule, int64_t next_ms,
                                 struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt,
        "INSERT INTO _workers_schedules(key, schedule, next_at, set_at) VALUES(?1, ?2, ?3, ?4) ON"
        " CONFLICT(key) DO UPDATE SET schedule = excluded.schedule, next_at = excluded.next_at, set_at ="
        " excluded.set_at",
        err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, key);
    bind_str(stmt, 2, schedule);
    bind_tick(stmt, 3, next_ms);
    DRIVER(store)->bind_integer(stmt, 4, clock_now_ms());
    code = store_step(store, stmt, err);
    DRIVER(store)->finalize(stmt);
    return code;
}

enum err_code store_schedule_advance(struct store *store, const char *key, int64_t from_ms, int64_t to_ms,
                                     bool *moved, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt,
        "UPDATE _workers_schedules SET next_at = ?3, set_at = ?4 WHERE key = ?1 AND next_at = ?2", err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, key);
    DRIVER(store)->bind_integer(stmt, 2, from_ms);
    bind_tick(stmt, 3, to_ms);
    DRIVER(store)->bind_integer(stmt, 4, clock_now_ms());
    code = store_step(store, stmt, err);
    *moved = code == ERR_NONE && DRIVER(store)->changes(store->db) == 1;
    DRIVER(store)->finalize(stmt);
    return code;
}

enum err_code store_schedule_trigger(struct store *store, const char *key, bool allow_deletes,
                                     struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt,
        "INSERT INTO _workers_schedules(key, schedule, set_at, triggered_at, allow_deletes) VALUES(?1, '', 0,"
        " ?2, ?3) ON CONFLICT(key) DO UPDATE SET triggered_at = excluded.triggered_at, allow_deletes ="
        " max(allow_deletes, excluded.allow_deletes)",
        err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, key);
    DRIVER(store)->bind_integer(stmt, 2, clock_now_ms());
    DRIVER(store)->bind_integer(stmt, 3, allow_deletes);
    code = store_step(store, stmt, err);
    DRIVER(store)->finalize(stmt);
    return code;
}

enum err_code store_schedule_alert(struct store *store, const char *key, const char *alerted,
                                   const char *event, size_t event_len, struct err *err)
{
    struct delivery_new delivery = {.kind = "alert",
                                    .key = WORKER_ALERT,
                                    .started_by = "alert",
                                    .lane = WORKER_ALERT, /* in their order */
                                    .due_ms = clock_now_ms(),
                                    .event = event,
                                    .event_len = event_len};
    enum err_code code = db_run(store->db, err, "UPDATE _workers_schedules SET alerted = ?2 WHERE key = ?1",
                                key, alerted, NULL);
    return code == ERR_NONE ? store_delivery_add(store, &delivery, err) : code;
}

enum err_code schedules_take(struct store *store, struct sync_lease *lease, bool abandoned, int64_t now,
                             int64_t next_ms, const char **started_by, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = NULL;
    int64_t next = INT64_MAX, retry = 0, triggered = 0;
    enum err_code code = store_prepare(
        store, &stmt,
        "SELECT next_at, retry_at, triggered_at, allow_deletes FROM _workers_schedules WHERE key = ?1", err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, lease->key);
    enum db_step step = driver->step(stmt, err);
    if (step == DB_ROW) {
        next = driver->column_type(stmt, 0) == DB_NULL ? INT64_MAX : driver->column_integer(stmt, 0);
        retry = driver->column_integer(stmt, 1);
        triggered = driver->column_integer(stmt, 2);
        lease->allow_deletes = triggered != 0 && driver->column_integer(stmt, 3) != 0;
    }
    driver->finalize(stmt);
    if (step == DB_FAILED)
        return err->code;
    if (triggered != 0)
        *started_by = "manual";
    else if (abandoned)
        *started_by = "recovery";
    else if (retry != 0 && retry <= now)
        *started_by = "retry";
    else if (retry == 0 && next <= now)
        *started_by = "schedule";
    else
        return err_set(err, ERR_NOT_FOUND, "sync \"%s\" is not due", lease->key);
    code = store_prepare(store, &stmt,
                         "UPDATE _workers_schedules SET retry_at = NULL, triggered_at = NULL, allow_deletes ="
                         " 0, set_at = CASE WHEN next_at <= ?2 THEN ?2 ELSE set_at END, next_at = CASE WHEN"
                         " next_at <= ?2 THEN ?3 ELSE next_at END WHERE key = ?1",
                         err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, lease->key);
    driver->bind_integer(stmt, 2, now);
    bind_tick(stmt, 3, next_ms);
    code = store_step(store, stmt, err);
    driver->finalize(stmt);
    return code;
}

enum err_code schedules_retry(struct store *store, const char *key, int64_t retry_ms, int64_t next_ms,
                              struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(store, &stmt,
                                       "UPDATE _workers_schedules SET retry_at = nullif(?2, 0), next_at ="
                                       " coalesce(nullif(?3, 0), next_at), set_at = ?4 WHERE key = ?1",
                                       err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, key);
    DRIVER(store)->bind_integer(stmt, 2, retry_ms);
    DRIVER(store)->bind_integer(stmt, 3, next_ms);
    DRIVER(store)->bind_integer(stmt, 4, clock_now_ms());
    code = store_step(store, stmt, err);
    DRIVER(store)->finalize(stmt);
    return code;
}

enum err_code store_schedule_retry(struct store *store, const char *key, int64_t retry_ms, struct err *err)
{
    return schedules_retry(store, key, retry_ms, 0, err);
}
