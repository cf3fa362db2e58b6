/* Syncs as the store keeps them: who may run one, where its cycle stands, how it has gone. */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *sync_status_name(enum sync_status status)
{
    static const char *const names[] = {"INITIALIZING", "HEALTHY", "WARNING", "ERROR", "HELD", "DISABLED"};
    return names[status];
}

/* ---- who is alive ---- */

/* The start time of a process in clock ticks since boot (field 22 of /proc/PID/stat), 0 when there is no such
 * process. */
static unsigned long long process_start(long pid)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    size_t len = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[len] = '\0';
    /* The name in parentheses may hold spaces; fields are counted after its end. */
    const char *at = strrchr(line, ')');
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at != NULL &&
        (strncmp(strrchr(line, ')'), ") Z", 3) == 0 || strncmp(strrchr(line, ')'), ") X", 3) == 0))
        return 0; /* a zombie runs no more */
    return at != NULL ? strtoull(at + 1, NULL, 10) : 0;
}

/* Boot and process-id namespace: within one of these, process ids mean the same. */
static void machine_name(char out[80])
{
    char boot[48] = "unknown";
    struct stat status = {0};
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file != NULL) {
        if (fgets(boot, sizeof boot, file) != NULL)
            boot[strcspn(boot, "\n")] = '\0';
        fclose(file);
    }
    if (stat("/proc/self/ns/pid", &status) != 0)
        status.st_ino = 0;
    snprintf(out, 80, "%.40s/%llu", boot, (unsigned long long)status.st_ino);
}

static void own_name(char out[160])
{
    char machine[80];
    machine_name(machine);
    snprintf(out, 160, "%s %ld %llu", machine, (long)getpid(), process_start((long)getpid()));
}

/* Whether the owner of a lease is known to be gone: a process of this machine that no longer runs. */
static bool owner_is_gone(const char *owner)
{
    char machine[80];
    machine_name(machine);
    size_t len = strlen(machine);
    if (strncmp(owner, machine, len) != 0 || owner[len] != ' ')
        return false;
    char *end = NULL;
    long pid = strtol(owner + len, &end, 10);
    unsigned long long start = strtoull(end, NULL, 10);
    return start == 0 || process_start(pid) != start;
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

static bool lease_is_held(const char *owner, int64_t expires_ms)
{
    return owner != NULL && expires_ms > clock_now_ms() && !owner_is_gone(owner);
}

enum err_code store_sync_info(struct store *store, const char *key, struct sync_info *out, struct err *err)
{
    *out = (struct sync_info){.key = mem_need_str(key)};
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt,
        "SELECT paused, failures, state, cycle_open, cycle_pages, last_success_at, last_run_at, last_run_id,"
        " last_error, held, lease_owner, lease_expires_at FROM _workers_syncs WHERE key = ?1",
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
        out->running = lease_is_held(driver->column_text(stmt, 10, &len), driver->column_integer(stmt, 11));
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
    int64_t expires_ms, token, pages;
    bool cycle_open;
};

static enum err_code read_stored(struct store *store, const char *key, struct stored_sync *out,
                                 struct buf *state, struct err *err)
{
    struct db_stmt *stmt = NULL;
    *out = (struct stored_sync){0};
    enum err_code code =
        store_prepare(store, &stmt,
                      "SELECT lease_owner, lease_expires_at, lease_token, cycle_id, cycle_mode, cycle_open,"
                      " cycle_pages, state, last_run_id FROM _workers_syncs WHERE key = ?1",
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
    const char *pid = stored->owner != NULL ? strchr(stored->owner, ' ') : NULL;
    return err_set(err, ERR_BUSY,
                   "sync \"%s\" is already running, in process %.*s: wait for it, or stop that process", key,
                   pid != NULL ? (int)strcspn(pid + 1, " ") : 1, pid != NULL ? pid + 1 : "?");
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
                                 const struct sync_lease *lease, int64_t now, struct err *err)
{
    char owner[160];
    struct db_stmt *stmt = NULL;
    own_name(owner);
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
    driver->bind_integer(stmt, 8, now + LEASE_MS);
    if (lease->state.len > 0)
        driver->bind_text(stmt, 9, buf_text(&lease->state), lease->state.len);
    driver->bind_integer(stmt, 10, lease->resumed);
    code = store_step(store, stmt, err);
    driver->finalize(stmt);
    if (code != ERR_NONE)
        return code;
    char started[24];
    snprintf(started, sizeof started, "%lld", (long long)now);
    return db_run(
        store->db, err,
        "INSERT INTO _workers_runs(id, kind, key, cycle_id, started_at) VALUES(?1, 'sync', ?2, ?3, ?4)",
        lease->run_id, lease->key, lease->cycle_id, started, NULL);
}

static enum err_code begin_in_transaction(struct store *store, const struct capability *sync,
                                          struct sync_lease *out, struct err *err)
{
    struct stored_sync stored;
    enum err_code code = read_stored(store, sync->key, &stored, &out->state, err);
    if (code == ERR_NONE)
        code = buf_status(&out->state, "the state", err);
    if (code == ERR_NONE && lease_is_held(stored.owner, stored.expires_ms))
        code = refuse_busy(&stored, sync->key, err);
    if (code == ERR_NONE && stored.last_run_id != NULL)
        code = close_abandoned_run(store, stored.last_run_id, err);
    if (code == ERR_NONE) {
        const char *mode = sync->mode == SYNC_REPLACE ? "replace" : "incremental";
        out->token = stored.token + 1;
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
        code = write_begin(store, sync, out, clock_now_ms(), err);
    free_stored(&stored);
    return code;
}

enum err_code store_sync_begin(struct store *store, const struct capability *sync, struct sync_lease *out,
                               struct err *err)
{
    *out = (struct sync_lease){0};
    buf_init(&out->state, BUF_UNLIMITED);
    snprintf(out->key, sizeof out->key, "%s", sync->key);
    enum err_code code = DRIVER(store)->begin(store->db, err);
    if (code != ERR_NONE)
        return code;
    code = begin_in_transaction(store, sync, out, err);
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
    DRIVER(store)->bind_integer(stmt, 3, clock_now_ms() + LEASE_MS);
    code = store_step(store, stmt, err);
    if (code == ERR_NONE && DRIVER(store)->changes(store->db) != 1)
        code = err_set(err, ERR_CONFLICT, "another process has taken over sync \"%s\"", lease->key);
    DRIVER(store)->finalize(stmt);
    return code;
}

static enum err_code end_in_transaction(struct store *store, const struct sync_lease *lease,
                                        enum run_outcome outcome, const char *error, struct err *err)
{
    static const char *const updates[] = {
        /* The last page has recorded the success. */
        [RUN_SUCCEEDED] = "UPDATE _workers_syncs SET lease_owner = NULL WHERE key = ?1 AND lease_token = ?2",
        [RUN_FAILED] =
            "UPDATE _workers_syncs SET lease_owner = NULL, failures = failures + 1, last_error = ?3"
            " WHERE key = ?1 AND lease_token = ?2",
        [RUN_STOPPED] = "UPDATE _workers_syncs SET lease_owner = NULL WHERE key = ?1 AND lease_token = ?2",
        [RUN_RATE_LIMITED] =
            "UPDATE _workers_syncs SET lease_owner = NULL WHERE key = ?1 AND lease_token = ?2",
    };
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = NULL;
    int64_t now = clock_now_ms();
    enum err_code code = store_prepare(store, &stmt, updates[outcome], err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, lease->key);
    driver->bind_integer(stmt, 2, lease->token);
    if (outcome == RUN_FAILED)
        bind_str(stmt, 3, error);
    code = store_step(store, stmt, err);
    driver->finalize(stmt);
    if (code != ERR_NONE)
        return code;
    code = store_prepare(store, &stmt,
                         "UPDATE _workers_runs SET exit_code = ?2, ended_at = ?3, error = ?4 WHERE id = ?1 "
                         "AND exit_code IS NULL",
                         err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, lease->run_id);
    driver->bind_integer(stmt, 2, outcome == RUN_SUCCEEDED ? 0 : outcome == RUN_STOPPED ? 130 : 1);
    driver->bind_integer(stmt, 3, now);
    bind_str(stmt, 4, error);
    code = store_step(store, stmt, err);
    driver->finalize(stmt);
    return code;
}

enum err_code store_sync_end(struct store *store, struct sync_lease *lease, enum run_outcome outcome,
                             const char *error, struct err *err)
{
    enum err_code code = DRIVER(store)->begin(store->db, err);
    if (code != ERR_NONE)
        return code;
    code = end_in_transaction(store, lease, outcome, error, err);
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
    if (code == ERR_NONE && lease_is_held(stored.owner, stored.expires_ms))
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
