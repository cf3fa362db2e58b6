/* The end of a replace cycle: rows that no page of it returned are deleted, unless the guard holds the sweep.
 */
#include "store/store_priv.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* What one sweep looks at in one database. */
struct sweep {
    struct table *table;
    struct mark_set seen, protected, brought;
    struct mark_set *others; /* brought and seen of the other replace syncs that fill the database */
    size_t other_count;
    bool alone; /* no other replace sync fills it: every row is this sync's to sweep */
    int64_t *candidates;
    size_t count, room;
    int64_t rows; /* rows that are this sync's */
    bool saw_any;
};

static bool any_set(const struct mark_set *set)
{
    for (int64_t i = 0; i < set->size / 8; i++)
        if (set->bits[i] != 0)
            return true;
    return false;
}

/* Another declared replace sync that fills the database: by declaration, or because it has brought rows to
 * it. */
static enum err_code load_others(struct store *store, struct sweep *sweep, const char *own, size_t database,
                                 struct err *err)
{
    const struct worker *worker = store->worker;
    const char *key = worker->databases[database].key;
    enum err_code code = ERR_NONE;
    sweep->others = mem_need((worker->capability_count * 2 + 1) * sizeof *sweep->others);
    sweep->alone = true;
    for (size_t i = 0; i < worker->capability_count && code == ERR_NONE; i++) {
        const struct capability *other = &worker->capabilities[i];
        if (other->kind != CAPABILITY_SYNC || other->mode != SYNC_REPLACE || strcmp(other->key, own) == 0)
            continue;
        struct mark_set *sets = &sweep->others[sweep->other_count];
        code = marks_load(store, other->key, key, MARK_BROUGHT, &sets[0], err);
        sweep->other_count++;
        if (code == ERR_NONE) {
            code = marks_load(store, other->key, key, MARK_SEEN, &sets[1], err);
            sweep->other_count++;
        }
        if (code == ERR_NONE && (other->database == database || any_set(&sets[0]) || any_set(&sets[1])))
            sweep->alone = false;
    }
    return code;
}

static bool survives(const struct sweep *sweep, int64_t id)
{
    if (marks_has(&sweep->seen, id) || marks_has(&sweep->protected, id))
        return true;
    for (size_t i = 0; i < sweep->other_count; i++)
        if (marks_has(&sweep->others[i], id))
            return true;
    return false;
}

static enum err_code add_candidate(struct sweep *sweep, int64_t id, struct err *err)
{
    if (sweep->count == sweep->room) {
        size_t room = sweep->room > 0 ? sweep->room * 2 : 256;
        int64_t *larger = mem_realloc(sweep->candidates, room * sizeof *larger);
        if (larger == NULL)
            return err_nomem(err);
        sweep->candidates = larger;
        sweep->room = room;
    }
    sweep->candidates[sweep->count++] = id;
    return ERR_NONE;
}

static enum err_code find_candidates(struct store *store, struct sweep *sweep, struct err *err)
{
    char name[1024];
    char sql[1200];
    struct db_stmt *stmt = NULL;
    snprintf(sql, sizeof sql, "SELECT _id FROM %s",
             db_quote(sweep->table->database->table, name, sizeof name));
    enum err_code code = store_prepare(store, &stmt, sql, err);
    if (code != ERR_NONE)
        return code;
    enum db_step step = DB_DONE;
    while (code == ERR_NONE && (step = DRIVER(store)->step(stmt, err)) == DB_ROW) {
        int64_t id = DRIVER(store)->column_integer(stmt, 0);
        bool own = sweep->alone || marks_has(&sweep->brought, id) || marks_has(&sweep->seen, id);
        if (!own)
            continue;
        sweep->rows++;
        if (!survives(sweep, id))
            code = add_candidate(sweep, id, err);
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    DRIVER(store)->finalize(stmt);
    return code;
}

static enum err_code prepare_sweep(struct store *store, struct sweep *sweep, const struct capability *sync,
                                   size_t database, struct err *err)
{
    const char *key = store->worker->databases[database].key;
    sweep->table = &store->tables[database];
    enum err_code code = marks_load(store, sync->key, key, MARK_SEEN, &sweep->seen, err);
    if (code == ERR_NONE)
        code = marks_load(store, sync->key, key, MARK_PROTECTED, &sweep->protected, err);
    if (code == ERR_NONE)
        code = marks_load(store, sync->key, key, MARK_BROUGHT, &sweep->brought, err);
    if (code == ERR_NONE)
        code = load_others(store, sweep, sync->key, database, err);
    if (code != ERR_NONE)
        return code;
    sweep->saw_any = any_set(&sweep->seen);
    if (database != sync->database) {
        sweep->alone = false; /* of a database that is not its own, it sweeps only what it brought */
        if (!any_set(&sweep->brought))
            return ERR_NONE;
    }
    return find_candidates(store, sweep, err);
}

static void free_sweep(struct sweep *sweep)
{
    marks_free(&sweep->seen);
    marks_free(&sweep->protected);
    marks_free(&sweep->brought);
    for (size_t i = 0; i < sweep->other_count; i++)
        marks_free(&sweep->others[i]);
    mem_free(sweep->others);
    mem_free(sweep->candidates);
}

/* Whether the sweep goes too far; says why. A ratio of 1 lets everything through. */
static bool goes_too_far(const struct sweep *sweep, const struct capability *sync, struct sweep_outcome *out)
{
    const char *title = sweep->table->database->key;
    if (sweep->count == 0 || sync->sweep_max_delete_ratio >= 1)
        return false;
    if (!sweep->saw_any) {
        snprintf(out->reason, sizeof out->reason,
                 "the cycle returned no rows of \"%s\", which has %lld; nothing was deleted", title,
                 (long long)sweep->rows);
        return true;
    }
    if (sweep->rows >= sync->sweep_min_rows &&
        (double)sweep->count > sync->sweep_max_delete_ratio * (double)sweep->rows) {
        snprintf(out->reason, sizeof out->reason,
                 "the cycle would delete %lld of %lld rows of \"%s\", more than %.0f %%; nothing was deleted",
                 (long long)sweep->count, (long long)sweep->rows, title, sync->sweep_max_delete_ratio * 100);
        return true;
    }
    return false;
}

static enum err_code delete_candidates(struct store *store, const struct sweep *sweep,
                                       const struct sync_lease *lease, const struct diff_sink *diff,
                                       struct err *err)
{
    char name[1024];
    char sql[1200];
    struct db_stmt *stmt = NULL;
    snprintf(sql, sizeof sql, "SELECT _key FROM %s WHERE _id = ?1",
             db_quote(sweep->table->database->table, name, sizeof name));
    enum err_code code = store_prepare(store, &stmt, sql, err);
    struct buf key;
    buf_init(&key, BUF_UNLIMITED);
    for (size_t i = 0; i < sweep->count && code == ERR_NONE; i++) {
        DRIVER(store)->bind_integer(stmt, 1, sweep->candidates[i]);
        enum db_step step = DRIVER(store)->step(stmt, err);
        if (step == DB_FAILED)
            code = err->code;
        buf_clear(&key);
        if (step == DB_ROW) {
            size_t len = 0;
            const char *text = DRIVER(store)->column_text(stmt, 0, &len);
            buf_add(&key, text, len);
        }
        DRIVER(store)->reset(stmt);
        if (code == ERR_NONE)
            code = buf_status(&key, "a key", err);
        if (code == ERR_NONE && step == DB_ROW && diff != NULL)
            diff->row(diff->ctx, sweep->table->database, buf_text(&key), "delete");
        if (code == ERR_NONE && step == DB_ROW)
            code = write_delete_row(store, sweep->table, sweep->candidates[i], buf_text(&key), key.len,
                                    lease->run_id, "sweep", err);
    }
    buf_free(&key);
    if (stmt != NULL)
        DRIVER(store)->finalize(stmt);
    return code;
}

enum err_code sweep_run(struct store *store, const struct capability *sync, const struct sync_lease *lease,
                        const struct page_end *end, struct sweep_outcome *out, struct err *err)
{
    size_t count = store->worker->database_count;
    struct sweep *sweeps = mem_need((count + 1) * sizeof *sweeps);
    enum err_code code = ERR_NONE;
    out->done = true;
    for (size_t i = 0; i < count && code == ERR_NONE; i++) {
        code = prepare_sweep(store, &sweeps[i], sync, i, err);
        out->candidates += (int64_t)sweeps[i].count;
        out->rows += sweeps[i].rows;
        if (code == ERR_NONE && !out->held && !end->allow_deletes)
            out->held = goes_too_far(&sweeps[i], sync, out);
    }
    for (size_t i = 0; i < count && code == ERR_NONE && !out->held; i++)
        code = delete_candidates(store, &sweeps[i], lease, end->diff, err);
    for (size_t i = 0; i < count; i++)
        free_sweep(&sweeps[i]);
    mem_free(sweeps);
    if (code == ERR_NONE)
        code = marks_promote(store, sync->key, out->held, err);
    if (code == ERR_NONE)
        code = marks_clear(store, sync->key, MARK_PROTECTED, err);
    return code;
}
