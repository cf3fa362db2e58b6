/* Forgetting what a project no longer keeps: runs, deliveries, deleted rows, log lines. A little at a time,
 * so that the store is not held. */
#include "store/store_priv.h"

#include "base/id.h"

#include <stdio.h>
#include <string.h>

#define STEP_ROWS 2000
#define RUN_BYTES 400 /* of a record beside its texts, indexes included */
#define DELIVERY_BYTES 700

/* Runs a statement whose ?1 is a text and whose ?2 a number; *changed is how many rows it changed. */
static enum err_code change(struct store *store, const char *sql, const char *text, int64_t number,
                            int64_t *changed, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(store, &stmt, sql, err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, text);
    DRIVER(store)->bind_integer(stmt, 2, number);
    code = store_step(store, stmt, err);
    *changed = code == ERR_NONE ? DRIVER(store)->changes(store->db) : 0;
    DRIVER(store)->finalize(stmt);
    return code;
}

/* The first id that is kept, by age and by size: newest_first gives ids with what they take, and the newest
 * that fit into max_bytes are kept. Ids are in the order of time (RFC 9562, version 7). */
static enum err_code first_kept(struct store *store, const char *newest_first, int64_t before_ms,
                                int64_t max_bytes, char out[STORE_ID_SIZE], struct err *err)
{
    struct db_stmt *stmt = NULL;
    int64_t total = 0;
    enum db_step step = DB_DONE;
    id_uuid7_first(before_ms, out);
    enum err_code code = store_prepare(store, &stmt, newest_first, err);
    if (code != ERR_NONE)
        return code;
    while (total <= max_bytes && (step = DRIVER(store)->step(stmt, err)) == DB_ROW)
        total += DRIVER(store)->column_integer(stmt, 1);
    if (step == DB_ROW) {
        size_t len = 0;
        const char *text = DRIVER(store)->column_text(stmt, 0, &len);
        /* The first that does not fit; those before it go. */
        if (text != NULL && strcmp(text, out) >= 0)
            snprintf(out, STORE_ID_SIZE, "%s", text);
    }
    DRIVER(store)->finalize(stmt);
    return step == DB_FAILED ? err->code : ERR_NONE;
}

enum err_code store_history_plan(struct store *store, const struct history_limits *limits,
                                 struct history_plan *out, struct err *err)
{
    char runs[256], deliveries[256];
    *out = (struct history_plan){.deleted_before_ms = limits->deleted_before_ms};
    snprintf(runs, sizeof runs,
             "SELECT id, %d + coalesce(length(error), 0) + coalesce(length(traceback), 0) FROM _workers_runs"
             " ORDER BY id DESC",
             RUN_BYTES);
    snprintf(
        deliveries, sizeof deliveries,
        "SELECT id, %d + length(event) + coalesce(length(body), 0) FROM _workers_payloads ORDER BY id DESC",
        DELIVERY_BYTES);
    int64_t half = (int64_t)(limits->history_bytes / 2);
    enum err_code code = first_kept(store, runs, limits->runs_before_ms, half, out->first_run, err);
    if (code == ERR_NONE)
        code = first_kept(store, deliveries, limits->runs_before_ms, half, out->first_delivery, err);
    return code;
}

static enum err_code forget_deliveries(struct store *store, const char *first, int64_t *count,
                                       struct err *err)
{
    int64_t payloads = 0;
    enum err_code code = store_begin(store, false, err);
    if (code != ERR_NONE)
        return code;
    code = change(
        store,
        "DELETE FROM _workers_payloads WHERE id IN (SELECT id FROM _workers_deliveries WHERE id < ?1 AND"
        " ended_at IS NOT NULL ORDER BY id LIMIT ?2)",
        first, STEP_ROWS, &payloads, err);
    if (code == ERR_NONE)
        code = change(
            store,
            "DELETE FROM _workers_deliveries WHERE id IN (SELECT id FROM _workers_deliveries WHERE id <"
            " ?1 AND ended_at IS NOT NULL ORDER BY id LIMIT ?2)",
            first, STEP_ROWS, count, err);
    if (code == ERR_NONE)
        return store_commit(store, err);
    store_rollback(store);
    return code;
}

enum err_code store_history_forget(struct store *store, const struct history_plan *plan, bool *more,
                                   struct err *err)
{
    int64_t runs = 0, deliveries = 0, deleted = 0;
    char before[24];
    snprintf(before, sizeof before, "%lld", (long long)plan->deleted_before_ms);
    enum err_code code =
        change(store,
               "DELETE FROM _workers_runs WHERE id IN (SELECT id FROM _workers_runs WHERE id < ?1"
               " AND exit_code IS NOT NULL ORDER BY id LIMIT ?2)",
               plan->first_run, STEP_ROWS, &runs, err);
    if (code == ERR_NONE)
        code = forget_deliveries(store, plan->first_delivery, &deliveries, err);
    if (code == ERR_NONE)
        code = change(
            store,
            "DELETE FROM _workers_deleted WHERE id IN (SELECT id FROM _workers_deleted WHERE deleted_at <"
            " CAST(?1 AS INTEGER) ORDER BY id LIMIT ?2)",
            before, STEP_ROWS, &deleted, err);
    *more = runs == STEP_ROWS || deliveries == STEP_ROWS || deleted == STEP_ROWS;
    return code == ERR_NONE ? DRIVER(store)->shrink(store->db, err) : code;
}
