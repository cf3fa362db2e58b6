/* Syncs as the store keeps them: who may run one, where its cycle stands, how it has gone. */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

const char *sync_status_name(enum sync_status status)
{
    static const char *const names[] = {"INITIALIZING", "HEALTHY", "WARNING", "ERROR", "HELD", "DISABLED"};
    return names[status];
}

/* ---- reading ---- */

void sync_info_free(struct sync_info *info)
{
    mem_free(info->key);
    mem_free(info->state);
    mem_free(info->last_run_id);
    mem_free(info->last_error);
    mem_free(info->held_reason);
    *info = (struct sync_info){0};
}

static enum sync_status derive_status(const struct sync_info *info)
{
    if (info->paused)
        return STATUS_DISABLED;
    if (info->failures >= 3)
        return STATUS_ERROR;
    if (info->failures > 0)
        return STATUS_WARNING;
    if (info->held_reason != NULL)
        return STATUS_HELD;
    return info->last_success_ms == 0 ? STATUS_INITIALIZING : STATUS_HEALTHY;
}

enum err_code store_sync_info(struct store *store, const char *key, struct sync_info *out, struct err *err)
{
    *out = (struct sync_info){.key = mem_need_str(key)};
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt,
        "SELECT y.paused, y.failures, y.state, y.cycle_open, y.cycle_pages, y.last_success_at, y.last_run_at,"
        " y.last_run_id, y.last_error, y.held, y.lease_owner, y.lease_expires_at, coalesce(s.triggered_at,"
        " s.retry_at, s.next_at), r.started_at, r.pages, r.added + r.changed + r.unchanged + r.deleted +"
        " r.stale FROM _workers_syncs AS y LEFT JOIN _workers_schedules AS s ON s.key = y.key LEFT JOIN"
        " _workers_runs AS r ON r.id = y.last_run_id WHERE y.key = ?1",
        err);
    if (code != ERR_NONE)
        return code;
    const struct db_driver *driver = DRIVER(store);
    bind_str(stmt, 1, key);
    enum db_step step = driver->step(stmt, err);
    if (step == DB_ROW) {
        size_t len = 0;
        out->paused = driver->column_integer(stmt, 0) != 0;
        out->failures = driver->column_integer(stmt, 1);
        out->state = column_copy(stmt, 2);
        out->state_size = out->state != NULL ? strlen(out->state) : 0;
        out->cycle_open = driver->column_integer(stmt, 3) != 0;
        out->cycle_pages = driver->column_integer(stmt, 4);
        out->last_success_ms = driver->column_integer(stmt, 5);
        out->last_run_ms = driver->column_integer(stmt, 6);
        out->last_run_id = column_copy(stmt, 7);
        out->last_error = column_copy(stmt, 8);
        out->held_reason = column_copy(stmt, 9);
        const char *owner = driver->column_text(stmt, 10, &len);
        out->running = owner_holds(owner, driver->column_integer(stmt, 11));
        out->running_in = out->running ? owner_process(owner) : 0;
        out->next_ms = out->paused ? 0 : driver->column_integer(stmt, 12);
        out->run_started_ms = driver->column_integer(stmt, 13);
        out->run_pages = driver->column_integer(stmt, 14);
        out->run_rows = driver->column_integer(stmt, 15);
    }
    out->status = derive_status(out);
    driver->finalize(stmt);
    return step == DB_FAILED ? err->code : ERR_NONE;
}

enum err_code store_sync_pause(struct store *store, const char *key, bool paused, struct err *err)
{
    return db_run(
        store->db, err,
        "INSERT INTO _workers_syncs(key, paused) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET paused ="
        " excluded.paused",
        key, paused ? "1" : "0", NULL);
}

/* ---- leases and cycles ---- */

void sync_lease_free(struct sync_lease *lease)
{
    buf_free(&lease->state);
}

struct stored_sync {
    char *owner, *cycle_id, *cycle_mode, *last_run_id;
    int64_t expires_ms, token, pages, failures;
    bool cycle_open, paused;
};

static enum err_code read_stored(struct store *store, const char *key, struct stored_sync *out,
                                 struct buf *state, struct err *err)
{
    struct db_stmt *stmt = NULL;
    *out = (struct stored_sync){0};
    enum err_code code =
        store_prepare(store, &stmt,
                      "SELECT lease_owner, lease_expires_at, lease_token, cycle_id, cycle_mode, cycle_open,"
                      " cycle_pages, state, last_run_id, failures, paused FROM _workers_syncs WHERE key = "
                      "?1",
                      err);
    if (code != ERR_NONE)
        return code;
    const struct db_driver *driver = DRIVER(store);
    bind_str(stmt, 1, key);
    enum db_step step = driver->step(stmt, err);
    if (step == DB_ROW) {
        size_t len = 0;
        out->owner = column_copy(stmt, 0);
        out->expires_ms = driver->column_integer(stmt, 1);
        out->token = driver->column_integer(stmt, 2);
        out->cycle_id = column_copy(stmt, 3);
        out->cycle_mode = column_copy(stmt, 4);
        out->cycle_open = driver->column_integer(stmt, 5) != 0;
        out->pages = driver->column_integer(stmt, 6);
        const char *text = driver->column_text(stmt, 7, &len);
        if (text != NULL && state != NULL)
            buf_add(state, text, len);
        out->last_run_id = column_copy(stmt, 8);
        out->failures = driver->column_integer(stmt, 9);
        out->paused = driver->column_integer(stmt, 10) != 0;
    }
    /* A text that memory had no room for must not pass for one that is not there. */
    bool lost = step == DB_ROW && ((out->owner == NULL && driver->column_type(stmt, 0) != DB_NULL) ||
                                   (out->cycle_id == NULL && driver->column_type(stmt, 3) != DB_NULL) ||
                                   (out->cycle_mode == NULL && driver->column_type(stmt, 4) != DB_NULL));
    driver->finalize(stmt);
    if (lost)
        return err_nomem(err);
    return step == DB_FAILED ? err->code : ERR_NONE;
}

static void free_stored(struct stored_sync *stored)
{
    mem_free(stored->owner);
    mem_free(stored->cycle_id);
    mem_free(stored->cycle_mode);
    mem_free(stored->last_run_id);
}

static enum err_code refuse_busy(const struct stored_sync *stored, const char *key, struct err *err)
{
    long long pid = stored->owner != NULL ? owner_process(stored->owner) : 0;
    return err_set(err, ERR_BUSY,
                   "sync \"%s\" is already running, in process %lld: wait for it, or stop that process", key,
                   pid);
}

/* The run of a process that died never got its end. */
static enum err_code close_abandoned_run(struct store *store, const char *run_id, struct err *err)
{
    char now[24];
    snprintf(now, sizeof now, "%lld", (long long)clock_now_ms());
    return db_run(store->db, err,
                  "UPDATE _workers_runs SET exit_code = 1, ended_at = ?2, error = 'the process ended before "
                  "the run did; what"
                  " it had committed is kept' WHERE id = ?1 AND exit_code IS NULL",
                  run_id, now, NULL);
}

static enum err_code write_begin(struct store *store, const struct capability *sync,
                                 const struct sync_lease *lease, const char *started_by, int64_t now,
                                 struct err *err)
{
    char owner[OWNER_SIZE];
    struct db_stmt *stmt = NULL;
    owner_name(owner);
    enum err_code code = store_prepare(
        store, &stmt,
        "INSERT INTO _workers_syncs(key, cycle_id, cycle_mode, cycle_open, cycle_started_at, last_run_at,"
        " last_run_id, lease_token, lease_owner, lease_expires_at, state) VALUES(?1, ?2, ?3, 1, ?4, ?4, ?5, "
        "?6, ?7,"
        " ?8, ?9) ON CONFLICT(key) DO UPDATE SET cycle_id = excluded.cycle_id, cycle_mode = "
        "excluded.cycle_mode,"
        " cycle_open = 1, cycle_pages = CASE WHEN ?10 THEN cycle_pages ELSE 0 END, cycle_started_at = CASE "
        "WHEN"
        " ?10 THEN cycle_started_at ELSE excluded.cycle_started_at END, last_run_at = excluded.last_run_at,"
        " last_run_id = excluded.last_run_id, lease_token = excluded.lease_token, lease_owner ="
        " excluded.lease_owner, lease_expires_at = excluded.lease_expires_at, state = excluded.state",
        err);
    if (code != ERR_NONE)
        return code;
    const struct db_driver *driver = DRIVER(store);
    bind_str(stmt, 1, lease->key);
    bind_str(stmt, 2, lease->cycle_id);
    bind_str(stmt, 3, sync->mode == SYNC_REPLACE ? "replace" : "incremental");
    driver->bind_integer(stmt, 4, now);
    bind_str(stmt, 5, lease->run_id);
    driver->bind_integer(stmt, 6, lease->token);
    bind_str(stmt, 7, owner);
    driver->bind_integer(stmt, 8, lease_until());
    if (lease->state.len > 0)
        driver->bind_text(stmt, 9, buf_text(&lease->state), lease->state.len);
    driver->bind_integer(stmt, 10, lease->resumed);
    code = store_step(store, stmt, err);
    driver->finalize(stmt);
    if (code != ERR_NONE)
        return code;
    const struct run_begin run = {.id = lease->run_id,
                                  .kind = "sync",
                                  .key = lease->key,
                                  .cycle_id = lease->cycle_id,
                                  .started_by = started_by,
                                  .attempt = lease->failures + 1,
                                  .started_ms = now};
    return runs_begin(store, &run, err);
}

static enum err_code begin_in_transaction(struct store *store, const struct capability *sync,
                                          const struct sync_start *start, struct sync_lease *out,
                                          struct err *err)
{
    struct stored_sync stored;
    const char *started_by = "manual";
    int64_t now = clock_now_ms();
    enum err_code code = read_stored(store, sync->key, &stored, &out->state, err);
    if (code == ERR_NONE)
        code = buf_status(&out->state, "the state", err);
    if (code == ERR_NONE && owner_holds(stored.owner, stored.expires_ms))
        code = refuse_busy(&stored, sync->key, err);
    bool current = true;
    if (code == ERR_NONE)
        code = store_version_current(store, &current, err);
    if (code == ERR_NONE && !current)
        code = err_set(err, ERR_BUSY,
                       "another version of the worker was deployed: this process still has the one "
                       "before");
    if (code == ERR_NONE && start != NULL) {
        bool abandoned = stored.cycle_open && stored.owner != NULL;
        code = stored.paused ? err_set(err, ERR_NOT_FOUND, "sync \"%s\" is paused", sync->key)
                             : schedules_take(store, out, abandoned, now, start->next_ms, &started_by, err);
    }
    if (code == ERR_NONE && stored.last_run_id != NULL)
        code = close_abandoned_run(store, stored.last_run_id, err);
    if (code == ERR_NONE) {
        const char *mode = sync->mode == SYNC_REPLACE ? "replace" : "incremental";
        out->token = stored.token + 1;
        out->failures = stored.failures;
        out->resumed = stored.cycle_open && stored.cycle_id != NULL && stored.cycle_mode != NULL &&
                       strcmp(stored.cycle_mode, mode) == 0 && stored.pages > 0;
        out->cycle_pages = out->resumed ? stored.pages : 0;
        if (out->resumed)
            snprintf(out->cycle_id, sizeof out->cycle_id, "%s", stored.cycle_id);
        else
            code = id_uuid7(out->cycle_id, err);
        if (code == ERR_NONE)
            code = id_uuid7(out->run_id, err);
        if (code == ERR_NONE && !out->resumed && sync->mode == SYNC_REPLACE) {
            buf_clear(&out->state);
            code = marks_clear(store, sync->key, MARK_SEEN, err);
            if (code == ERR_NONE)
                code = marks_clear(store, sync->key, MARK_PROTECTED, err);
        }
        /* Where a replace cycle stood means nothing to an incremental sync. */
        if (sync->mode == SYNC_INCREMENTAL && stored.cycle_open && stored.cycle_mode != NULL &&
            strcmp(stored.cycle_mode, mode) != 0)
            buf_clear(&out->state);
    }
    if (code == ERR_NONE)
        code = write_begin(store, sync, out, started_by, now, err);
    free_stored(&stored);
    return code;
}

enum err_code store_sync_begin(struct store *store, const struct capability *sync,
                               const struct sync_start *start, struct sync_lease *out, struct err *err)
{
    *out = (struct sync_lease){0};
    buf_init(&out->state, BUF_UNLIMITED);
    snprintf(out->key, sizeof out->key, "%s", sync->key);
    enum err_code code = DRIVER(store)->begin(store->db, err);
    if (code != ERR_NONE)
        return code;
    code = begin_in_transaction(store, sync, start, out, err);
    if (code == ERR_NONE)
        code = DRIVER(store)->commit(store->db, err);
    else
        DRIVER(store)->rollback(store->db);
    if (code != ERR_NONE)
        sync_lease_free(out);
    return code;
}

enum err_code store_sync_renew(struct store *store, const struct sync_lease *lease, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt, "UPDATE _workers_syncs SET lease_expires_at = ?3 WHERE key = ?1 AND lease_token = ?2",
        err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, lease->key);
    DRIVER(store)->bind_integer(stmt, 2, lease->token);
    DRIVER(store)->bind_integer(stmt, 3, lease_until());
    code = store_step(store, stmt, err);
    if (code == ERR_NONE && DRIVER(store)->changes(store->db) != 1)
        code = err_set(err, ERR_CONFLICT, "another process has taken over sync \"%s\"", lease->key);
    DRIVER(store)->finalize(stmt);
    return code;
}

static enum err_code end_in_transaction(struct store *store, const struct sync_lease *lease,
                                        const struct sync_end *end, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = NULL;
    bool failed = end->outcome == RUN_FAILED;
    enum err_code code = store_prepare(
        store, &stmt,
        failed ? "UPDATE _workers_syncs SET lease_owner = NULL, failures = failures + 1, last_error = ?3"
                 " WHERE key = ?1 AND lease_token = ?2"
               /* Of a success, the last page has recorded the rest. */
               : "UPDATE _workers_syncs SET lease_owner = NULL WHERE key = ?1 AND lease_token = ?2",
        err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, lease->key);
    driver->bind_integer(stmt, 2, lease->token);
    if (failed)
        bind_str(stmt, 3, end->error);
    code = store_step(store, stmt, err);
    bool held = driver->changes(store->db) > 0;
    driver->finalize(stmt);
    if (code == ERR_NONE && held && (end->retry_ms != 0 || end->next_ms != 0))
        code = schedules_retry(store, lease->key, end->retry_ms, end->next_ms, err);
    if (code != ERR_NONE)
        return code;
    const struct run_end run = {.id = lease->run_id,
                                .exit_code = end->outcome == RUN_SUCCEEDED ? 0
                                             : end->outcome == RUN_STOPPED ? 130
                                                                           : 1,
                                .error = end->error,
                                .traceback = end->traceback,
                                .failure = failed ? &end->failure : NULL,
                                .peak_bytes = end->peak_bytes,
                                .ended_ms = clock_now_ms()};
    return runs_end(store, &run, err);
}

enum err_code store_sync_end(struct store *store, struct sync_lease *lease, const struct sync_end *end,
                             struct err *err)
{
    enum err_code code = DRIVER(store)->begin(store->db, err);
    if (code != ERR_NONE)
        return code;
    code = end_in_transaction(store, lease, end, err);
    if (code == ERR_NONE)
        return DRIVER(store)->commit(store->db, err);
    DRIVER(store)->rollback(store->db);
    return code;
}

static enum err_code set_state_in_transaction(struct store *store, const char *key, const char *state,
                                              struct err *err)
{
    struct stored_sync stored;
    enum err_code code = read_stored(store, key, &stored, NULL, err);
    if (code == ERR_NONE && owner_holds(stored.owner, stored.expires_ms))
        code = refuse_busy(&stored, key, err);
    free_stored(&stored);
    if (code != ERR_NONE)
        return code;
    if (state != NULL)
        return db_run(
            store->db, err,
            "INSERT INTO _workers_syncs(key, state) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET state ="
            " excluded.state, cycle_open = 0, cycle_pages = 0",
            key, state, NULL);
    code = marks_clear(store, key, MARK_SEEN, err);
    if (code == ERR_NONE)
        code = marks_clear(store, key, MARK_PROTECTED, err);
    if (code == ERR_NONE)
        code = db_run(store->db, err,
                      "UPDATE _workers_syncs SET state = NULL, cycle_open = 0, cycle_pages = 0, failures = "
                      "0, last_error ="
                      " NULL, held = NULL WHERE key = ?1",
                      key, NULL);
    return code;
}

enum err_code store_sync_set_state(struct store *store, const char *key, const char *state, struct err *err)
{
    enum err_code code = DRIVER(store)->begin(store->db, err);
    if (code != ERR_NONE)
        return code;
    code = set_state_in_transaction(store, key, state, err);
    if (code == ERR_NONE)
        return DRIVER(store)->commit(store->db, err);
    DRIVER(store)->rollback(store->db);
    return code;
}
