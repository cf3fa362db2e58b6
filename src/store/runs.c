/* Records of runs. */
#include "store/store_priv.h"

#include "base/mem.h"

#include <string.h>

#define RUN_COLUMNS                                                                                          \
    "id, kind, key, exit_code, started_at, ended_at, pages, requests, added, changed, unchanged, deleted, "  \
    "stale, error, started_by, delivery_id, traceback, attempt, peak_bytes, "                                \
    "error_name, error_code, error_status"

static enum err_code each_run(struct store *store, struct db_stmt *stmt, run_fn each, void *ctx,
                              struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    enum err_code code = ERR_NONE;
    enum db_step step = DB_DONE;
    while (code == ERR_NONE && (step = driver->step(stmt, err)) == DB_ROW) {
        struct run_record run = {
            .id = column_copy(stmt, 0),
            .kind = column_copy(stmt, 1),
            .key = column_copy(stmt, 2),
            .exit_code = driver->column_type(stmt, 3) == DB_NULL ? -1 : (int)driver->column_integer(stmt, 3),
            .started_ms = driver->column_integer(stmt, 4),
            .ended_ms = driver->column_integer(stmt, 5),
            .pages = driver->column_integer(stmt, 6),
            .requests = driver->column_integer(stmt, 7),
            .counts = {.added = driver->column_integer(stmt, 8),
                       .changed = driver->column_integer(stmt, 9),
                       .unchanged = driver->column_integer(stmt, 10),
                       .deleted = driver->column_integer(stmt, 11),
                       .stale = driver->column_integer(stmt, 12)},
            .error = column_copy(stmt, 13),
            .started_by = column_copy(stmt, 14),
            .delivery_id = column_copy(stmt, 15),
            .traceback = column_copy(stmt, 16),
            .attempt = driver->column_integer(stmt, 17),
            .peak_bytes = driver->column_integer(stmt, 18),
            .error_name = column_copy(stmt, 19),
            .error_code = column_copy(stmt, 20),
            .error_status = (int)driver->column_integer(stmt, 21),
        };
        code = run.id != NULL && run.kind != NULL && run.key != NULL ? each(ctx, &run) : err_nomem(err);
        mem_free(run.id);
        mem_free(run.kind);
        mem_free(run.key);
        mem_free(run.error);
        mem_free(run.started_by);
        mem_free(run.delivery_id);
        mem_free(run.traceback);
        mem_free(run.error_name);
        mem_free(run.error_code);
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    driver->finalize(stmt);
    return code;
}

enum err_code store_runs_list(struct store *store, const struct run_filter *filter, run_fn each, void *ctx,
                              struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt,
        "SELECT " RUN_COLUMNS " FROM _workers_runs WHERE (?1 IS NULL OR key = ?1) AND (?2 = 0 OR"
        " coalesce(exit_code, 0) <> 0) AND (?4 IS NULL OR id < ?4) ORDER BY id DESC LIMIT"
        " ?3",
        err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, filter->key);
    DRIVER(store)->bind_integer(stmt, 2, filter->failed_only);
    DRIVER(store)->bind_integer(stmt, 3, filter->limit);
    bind_str(stmt, 4, filter->before);
    return each_run(store, stmt, each, ctx, err);
}

enum err_code store_run_get(struct store *store, const char *id, run_fn each, void *ctx, struct err *err)
{
    struct db_stmt *stmt = NULL;
    int64_t matches = 0;
    enum err_code code = store_prepare(
        store, &stmt, "SELECT count(*) FROM _workers_runs WHERE substr(id, 1, length(?1)) = ?1", err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, id);
    enum db_step step = DRIVER(store)->step(stmt, err);
    if (step == DB_ROW)
        matches = DRIVER(store)->column_integer(stmt, 0);
    DRIVER(store)->finalize(stmt);
    if (step == DB_FAILED)
        return err->code;
    if (matches == 0 || *id == '\0')
        return err_set(err, ERR_NOT_FOUND, "there is no run \"%s\": workers runs list shows them", id);
    if (matches > 1)
        return err_set(err, ERR_INVALID, "%lld runs begin with \"%s\": give more of the id",
                       (long long)matches, id);
    code = store_prepare(
        store, &stmt, "SELECT " RUN_COLUMNS " FROM _workers_runs WHERE substr(id, 1, length(?1)) = ?1", err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, id);
    return each_run(store, stmt, each, ctx, err);
}

enum err_code runs_begin(struct store *store, const struct run_begin *run, struct err *err)
{
    enum err_code code = store_prepare_once(
        store, &store->run_insert,
        "INSERT INTO _workers_runs(id, kind, key, cycle_id, started_at, started_by, attempt, delivery_id)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        err);
    struct db_stmt *stmt = store->run_insert;
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, run->id);
    bind_str(stmt, 2, run->kind);
    bind_str(stmt, 3, run->key);
    bind_str(stmt, 4, run->cycle_id);
    DRIVER(store)->bind_integer(stmt, 5, run->started_ms);
    bind_str(stmt, 6, run->started_by);
    DRIVER(store)->bind_integer(stmt, 7, run->attempt);
    bind_str(stmt, 8, run->delivery_id);
    return store_step(store, stmt, err);
}

enum err_code runs_end(struct store *store, const struct run_end *run, struct err *err)
{
    enum err_code code = store_prepare_once(
        store, &store->run_end,
        "UPDATE _workers_runs SET ended_at = coalesce(ended_at, ?3), error = CASE WHEN exit_code IS NULL THEN"
        " ?4 ELSE error END, traceback = ?5, requests = requests + ?6, peak_bytes = ?7, error_name = ?8,"
        " error_code = ?9, error_status = ?10, exit_code = coalesce(exit_code, ?2) WHERE id = ?1",
        err);
    struct db_stmt *stmt = store->run_end;
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, run->id);
    DRIVER(store)->bind_integer(stmt, 2, run->exit_code);
    DRIVER(store)->bind_integer(stmt, 3, run->ended_ms);
    bind_str(stmt, 4, run->error);
    bind_str(stmt, 5, run->traceback);
    DRIVER(store)->bind_integer(stmt, 6, run->requests);
    DRIVER(store)->bind_integer(stmt, 7, run->peak_bytes);
    const struct failure *failure = run->failure;
    bind_str(stmt, 8, failure != NULL && failure->name[0] != '\0' ? failure->name : NULL);
    bind_str(stmt, 9, failure != NULL && failure->code[0] != '\0' ? failure->code : NULL);
    if (failure != NULL && failure->status != 0)
        DRIVER(store)->bind_integer(stmt, 10, failure->status);
    return store_step(store, stmt, err);
}
