/* Versions of a worker that were deployed, and which one is active. */
#include "store/store_priv.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define ACTIVE "active_version"

enum err_code store_version_active(struct store *store, int64_t *number, struct err *err)
{
    return db_integer(store->db, "SELECT value FROM _workers_meta WHERE name = '" ACTIVE "'", 0, number, err);
}

void store_version_is(struct store *store, int64_t number)
{
    store->version = number;
}

enum err_code store_version_current(struct store *store, bool *current, struct err *err)
{
    *current = true;
    if (store->version == 0)
        return ERR_NONE;
    enum err_code code = store_prepare_once(store, &store->version_get,
                                            "SELECT value FROM _workers_meta WHERE name = '" ACTIVE "'", err);
    if (code != ERR_NONE)
        return code;
    enum db_step step = DRIVER(store)->step(store->version_get, err);
    *current = step != DB_ROW || DRIVER(store)->column_integer(store->version_get, 0) == store->version;
    DRIVER(store)->reset(store->version_get);
    return step == DB_FAILED ? err->code : ERR_NONE;
}

enum err_code store_versions_each(struct store *store, version_fn each, void *ctx, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = NULL;
    int64_t active = 0;
    enum err_code code = store_version_active(store, &active, err);
    if (code == ERR_NONE)
        code = store_prepare(store, &stmt,
                             "SELECT number, digest, note, files, bytes, created_at, activated_at FROM"
                             " _workers_versions ORDER BY number DESC",
                             err);
    if (code != ERR_NONE)
        return code;
    enum db_step step = DB_DONE;
    while (code == ERR_NONE && (step = driver->step(stmt, err)) == DB_ROW) {
        size_t len = 0;
        const struct version_record version = {.number = driver->column_integer(stmt, 0),
                                               .digest = driver->column_text(stmt, 1, &len),
                                               .note = driver->column_text(stmt, 2, &len),
                                               .files = driver->column_integer(stmt, 3),
                                               .bytes = driver->column_integer(stmt, 4),
                                               .created_ms = driver->column_integer(stmt, 5),
                                               .activated_ms = driver->column_integer(stmt, 6),
                                               .active = driver->column_integer(stmt, 0) == active};
        code = each(ctx, &version);
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    driver->finalize(stmt);
    return code;
}

static void copy_column(struct db_stmt *stmt, int column, struct buf *out)
{
    size_t len = 0;
    const char *text = stmt->db->driver->column_text(stmt, column, &len);
    if (out != NULL && text != NULL)
        buf_add(out, text, len);
}

enum err_code store_version_read(struct store *store, int64_t number, struct buf *pack, struct buf *manifest,
                                 char digest[65], struct err *err)
{
    struct db_stmt *stmt = NULL;
    size_t len = 0;
    enum err_code code = store_prepare(
        store, &stmt, "SELECT pack, manifest, digest FROM _workers_versions WHERE number = ?1", err);
    if (code != ERR_NONE)
        return code;
    DRIVER(store)->bind_integer(stmt, 1, number);
    enum db_step step = DRIVER(store)->step(stmt, err);
    if (step == DB_FAILED) {
        code = err->code;
    } else if (step == DB_DONE) {
        code = err_set(err, ERR_NOT_FOUND, "there is no version %lld: workers versions lists them",
                       (long long)number);
    } else {
        copy_column(stmt, 0, pack);
        copy_column(stmt, 1, manifest);
        snprintf(digest, 65, "%s", DRIVER(store)->column_text(stmt, 2, &len));
        if (pack != NULL)
            code = buf_status(pack, "the version", err);
        if (code == ERR_NONE && manifest != NULL)
            code = buf_status(manifest, "the manifest", err);
    }
    DRIVER(store)->finalize(stmt);
    return code;
}

/* ---- activating ---- */

static enum err_code keep(struct store *store, const struct version_new *version, int64_t *number,
                          struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = NULL;
    enum err_code code =
        db_integer(store->db, "SELECT max(number) + 1 FROM _workers_versions", 1, number, err);
    if (code == ERR_NONE)
        code = store_prepare(
            store, &stmt,
            "INSERT INTO _workers_versions(number, digest, pack, manifest, files, bytes, created_at,"
            " note, activated_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?7)",
            err);
    if (code != ERR_NONE)
        return code;
    driver->bind_integer(stmt, 1, *number);
    bind_str(stmt, 2, version->digest);
    driver->bind_text(stmt, 3, buf_text(version->pack), version->pack->len);
    driver->bind_text(stmt, 4, buf_text(version->manifest), version->manifest->len);
    driver->bind_integer(stmt, 5, version->files);
    driver->bind_integer(stmt, 6, version->bytes);
    driver->bind_integer(stmt, 7, clock_now_ms());
    bind_str(stmt, 8, version->note);
    code = store_step(store, stmt, err);
    driver->finalize(stmt);
    return code;
}

/* Whoever runs a sync has lost it: a page that comes late is refused. What ran goes on with the new code: a
 * replace cycle from its beginning, so that its rows are all of one version. */
static enum err_code take_syncs(struct store *store, const char *now, struct err *err)
{
    static const char *const statements[] = {
        "UPDATE _workers_runs SET exit_code = 1, ended_at = ?1, error = 'stopped: another version was "
        "deployed'"
        " WHERE exit_code IS NULL AND id IN (SELECT last_run_id FROM _workers_syncs WHERE lease_owner IS NOT "
        "NULL)",
        "UPDATE _workers_schedules SET triggered_at = ?1 WHERE triggered_at IS NULL AND key IN (SELECT key "
        "FROM"
        " _workers_syncs WHERE cycle_open <> 0)",
        "UPDATE _workers_syncs SET lease_token = lease_token + 1, lease_owner = NULL, lease_expires_at = "
        "NULL,"
        " cycle_open = CASE WHEN cycle_mode = 'replace' THEN 0 ELSE cycle_open END WHERE ?1 <> ''",
    };
    enum err_code code = ERR_NONE;
    for (size_t i = 0; i < sizeof statements / sizeof statements[0] && code == ERR_NONE; i++)
        code = db_run(store->db, err, statements[i], now, NULL);
    return code;
}

static enum err_code make_active(struct store *store, int64_t number, const char *now, struct err *err)
{
    char text[24], sql[256];
    snprintf(text, sizeof text, "%lld", (long long)number);
    snprintf(sql, sizeof sql,
             "DELETE FROM _workers_versions WHERE number <> ?1 AND number NOT IN (SELECT number FROM "
             "_workers_versions"
             " WHERE number <> ?1 ORDER BY activated_at DESC, number DESC LIMIT %d)",
             VERSIONS_KEPT);
    enum err_code code = db_run(
        store->db, err, "UPDATE _workers_versions SET activated_at = ?2 WHERE number = ?1", text, now, NULL);
    if (code == ERR_NONE &&
        DRIVER(store)->changes(store->db) == 0) /* others were deployed meanwhile, and it was too old */
        code = err_set(err, ERR_NOT_FOUND, "there is no version %lld any more: workers versions lists them",
                       (long long)number);
    if (code == ERR_NONE)
        code = db_run(store->db, err,
                      "INSERT INTO _workers_meta(name, value) VALUES('" ACTIVE
                      "', ?1) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
                      text, NULL);
    return code == ERR_NONE ? db_run(store->db, err, sql, text, NULL) : code;
}

enum err_code store_version_activate(struct store *store, const struct worker *worker,
                                     const struct version_new *version, int64_t *number, struct buf *report,
                                     struct err *err)
{
    char now[24];
    tables_release(store);
    enum err_code code = store_begin(store, true, err);
    if (code != ERR_NONE)
        return code;
    snprintf(now, sizeof now, "%lld", (long long)clock_now_ms());
    code = tables_migrate_within(store, worker, report, err);
    if (code == ERR_NONE && version->digest != NULL)
        code = keep(store, version, number, err);
    if (code == ERR_NONE)
        code = make_active(store, *number, now, err);
    if (code == ERR_NONE)
        code = take_syncs(store, now, err);
    return store_finish(store, code, err);
}
