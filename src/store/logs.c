/* Log lines, in a file of their own, so that they never hold up or bloat what matters. */
#include "store/store_priv.h"

#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES ((size_t)64 * 1024)
#define TRIM_LINES 1000

static enum err_code open_logs(struct store *store, struct err *err)
{
    char path[PATH_MAX];
    if (store->logs != NULL)
        return ERR_NONE;
    snprintf(path, sizeof path, "%s/logs.db", store->folder != NULL ? store->folder : "");
    if (store->folder != NULL && !store_make_private(path))
        return err_set(err, ERR_IO, "cannot make %s: %s", path, strerror(errno));
    const struct db_options options = {.create = true, .busy_timeout_ms = 5000};
    enum err_code code =
        db_sqlite.open(store->folder != NULL ? path : ":memory:", &options, &store->logs, err);
    if (code != ERR_NONE)
        return code;
    code = store->logs->driver->exec(
        store->logs,
        "CREATE TABLE IF NOT EXISTS _workers_logs(id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT,"
        " at INTEGER NOT NULL, level TEXT NOT NULL, text TEXT NOT NULL);"
        "CREATE INDEX IF NOT EXISTS _workers_logs_by_run ON _workers_logs(run_id, id);",
        err);
    if (code == ERR_NONE)
        code = store->logs->driver->prepare(
            store->logs, "INSERT INTO _workers_logs(run_id, at, level, text) VALUES(?1, ?2, ?3, ?4)",
            &store->log_insert, err);
    if (code != ERR_NONE) {
        store->logs->driver->close(store->logs);
        store->logs = NULL;
    }
    return code;
}

enum err_code store_log(struct store *store, const char *run_id, const char *level, const char *text,
                        size_t len, struct err *err)
{
    enum err_code code = open_logs(store, err);
    if (code != ERR_NONE)
        return code;
    bind_str(store->log_insert, 1, run_id);
    store->logs->driver->bind_integer(store->log_insert, 2, clock_now_ms());
    bind_str(store->log_insert, 3, level);
    store->logs->driver->bind_text(store->log_insert, 4, text, len < LINE_MAX_BYTES ? len : LINE_MAX_BYTES);
    enum db_step step = store->logs->driver->step(store->log_insert, err);
    store->logs->driver->reset(store->log_insert);
    return step == DB_DONE ? ERR_NONE : err->code;
}

enum err_code store_logs_each(struct store *store, const char *run_id, int64_t after_id, int64_t limit,
                              log_fn each, void *ctx, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = open_logs(store, err);
    if (code == ERR_NONE)
        code = store->logs->driver->prepare(store->logs,
                                            "SELECT id, at, level, text FROM _workers_logs WHERE run_id = ?1 "
                                            "AND id > ?2 ORDER BY id LIMIT ?3",
                                            &stmt, err);
    if (code != ERR_NONE)
        return code;
    const struct db_driver *driver = store->logs->driver;
    bind_str(stmt, 1, run_id);
    driver->bind_integer(stmt, 2, after_id);
    driver->bind_integer(stmt, 3, limit);
    enum db_step step = DB_DONE;
    while (code == ERR_NONE && (step = driver->step(stmt, err)) == DB_ROW) {
        size_t level_len = 0, len = 0;
        const char *level = driver->column_text(stmt, 2, &level_len);
        const char *text = driver->column_text(stmt, 3, &len);
        code = each(ctx, driver->column_integer(stmt, 0), driver->column_integer(stmt, 1), level, text, len);
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    driver->finalize(stmt);
    return code;
}

enum err_code store_logs_check(struct store *store, struct buf *problems, struct err *err)
{
    char path[PATH_MAX];
    struct db *logs = NULL;
    const struct db_options options = {.busy_timeout_ms = 5000};
    snprintf(path, sizeof path, "%s/logs.db", store->folder != NULL ? store->folder : "");
    if (access(path, F_OK) != 0) /* nothing was ever logged */
        return ERR_NONE;
    enum err_code code = db_sqlite.open(path, &options, &logs, err);
    if (code == ERR_NONE)
        code = store_check_file(logs, problems, err);
    if (logs != NULL)
        logs->driver->close(logs);
    return code;
}

static enum err_code bytes_used(struct store *store, uint64_t *out, struct err *err)
{
    int64_t pages = 0, free_pages = 0, size = 0;
    enum err_code code = db_integer(store->logs, "PRAGMA page_count", 0, &pages, err);
    if (code == ERR_NONE)
        code = db_integer(store->logs, "PRAGMA freelist_count", 0, &free_pages, err);
    if (code == ERR_NONE)
        code = db_integer(store->logs, "PRAGMA page_size", 0, &size, err);
    *out = (uint64_t)((pages - free_pages) * size);
    return code;
}

enum err_code store_logs_trim(struct store *store, uint64_t max_bytes, bool *more, struct err *err)
{
    char path[PATH_MAX], sql[160];
    uint64_t used = 0;
    *more = false;
    if (store->folder == NULL)
        return ERR_NONE;
    snprintf(path, sizeof path, "%s/logs.db", store->folder);
    if (store->logs == NULL && access(path, F_OK) != 0) /* nothing was ever logged */
        return ERR_NONE;
    enum err_code code = open_logs(store, err);
    if (code == ERR_NONE)
        code = bytes_used(store, &used, err);
    if (code == ERR_NONE && used > max_bytes) {
        snprintf(sql, sizeof sql,
                 "DELETE FROM _workers_logs WHERE id IN (SELECT id FROM _workers_logs ORDER BY id LIMIT %d)",
                 TRIM_LINES);
        code = store->logs->driver->exec(store->logs, sql, err);
        *more = code == ERR_NONE && store->logs->driver->changes(store->logs) > 0;
    }
    return code == ERR_NONE ? store->logs->driver->shrink(store->logs, err) : code;
}
