/* Opening the store and its own tables. */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCHEMA_VERSION 7
#define BUSY_TIMEOUT_MS 15000

/* Times are Unix milliseconds. JSON is text. Every statement can be run again: a store of an older version
 * gets the tables that it lacks, then columns_since_2, and the new number. */
static const char runtime_schema[] =
    "CREATE TABLE IF NOT EXISTS _workers_meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS _workers_databases(key TEXT PRIMARY KEY, table_name TEXT NOT NULL UNIQUE,"
    " title TEXT NOT NULL, definition TEXT NOT NULL, next_id INTEGER NOT NULL DEFAULT 1,"
    " created_at INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS _workers_columns(database TEXT NOT NULL, property TEXT NOT NULL, column_name "
    "TEXT NOT NULL,"
    " type TEXT NOT NULL, declared INTEGER NOT NULL, position INTEGER NOT NULL,"
    " PRIMARY KEY(database, property)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS _workers_options(database TEXT NOT NULL, property TEXT NOT NULL, name TEXT "
    "NOT NULL,"
    " declared INTEGER NOT NULL, PRIMARY KEY(database, property, name)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS _workers_syncs(key TEXT PRIMARY KEY, state TEXT, cycle_id TEXT, cycle_open "
    "INTEGER NOT NULL"
    " DEFAULT 0, cycle_mode TEXT, cycle_pages INTEGER NOT NULL DEFAULT 0, cycle_started_at INTEGER, paused "
    "INTEGER NOT NULL"
    " DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0, last_error TEXT, held TEXT, last_success_at INTEGER, "
    "last_run_at INTEGER,"
    " last_run_id TEXT, lease_token INTEGER NOT NULL DEFAULT 0, lease_owner TEXT, lease_expires_at INTEGER) "
    "WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS _workers_marks(sync TEXT NOT NULL, database TEXT NOT NULL, kind INTEGER NOT "
    "NULL,"
    " chunk INTEGER NOT NULL, bits BLOB NOT NULL, PRIMARY KEY(sync, database, kind, chunk)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS _workers_deleted(id INTEGER PRIMARY KEY, database TEXT NOT NULL, key TEXT "
    "NOT NULL,"
    " deleted_at INTEGER NOT NULL, run_id TEXT, reason TEXT NOT NULL, row TEXT NOT NULL);"
    "CREATE INDEX IF NOT EXISTS _workers_deleted_by_key ON _workers_deleted(database, key);"
    "CREATE TABLE IF NOT EXISTS _workers_runs(id TEXT PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, "
    "cycle_id TEXT,"
    " exit_code INTEGER, started_at INTEGER NOT NULL, ended_at INTEGER, pages INTEGER NOT NULL DEFAULT 0, "
    "requests INTEGER"
    " NOT NULL DEFAULT 0, added INTEGER NOT NULL DEFAULT 0, changed INTEGER NOT NULL DEFAULT 0, unchanged "
    "INTEGER NOT NULL"
    " DEFAULT 0, deleted INTEGER NOT NULL DEFAULT 0, stale INTEGER NOT NULL DEFAULT 0, error TEXT) WITHOUT "
    "ROWID;"
    "CREATE TABLE IF NOT EXISTS _workers_pacers(key TEXT PRIMARY KEY, last_slot_at INTEGER NOT NULL) WITHOUT "
    "ROWID;"
    "CREATE TABLE IF NOT EXISTS _workers_secrets(name TEXT PRIMARY KEY, sealed BLOB NOT NULL, created_at "
    "INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS _workers_secrets_before(name TEXT NOT NULL, version INTEGER NOT NULL, sealed "
    "BLOB NOT NULL,"
    " created_at INTEGER NOT NULL, PRIMARY KEY(name, version)) WITHOUT ROWID;"
    /* With row ids, so that keys are counted in an index without the values. */
    "CREATE TABLE IF NOT EXISTS _workers_kv(key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL, expires_at "
    "INTEGER);"
    "CREATE INDEX IF NOT EXISTS _workers_kv_by_expiry ON _workers_kv(expires_at) WHERE expires_at IS NOT "
    "NULL;"
    "CREATE TABLE IF NOT EXISTS _workers_schedules(key TEXT PRIMARY KEY, schedule TEXT NOT NULL, next_at "
    "INTEGER, set_at INTEGER NOT NULL, retry_at INTEGER, triggered_at INTEGER, allow_deletes INTEGER NOT "
    "NULL DEFAULT 0, alerted TEXT) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS _workers_deliveries(id TEXT PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT "
    "NULL, state TEXT NOT NULL, due_at INTEGER NOT NULL, created_at INTEGER NOT NULL, ended_at INTEGER, "
    "started_by TEXT NOT NULL, tick_at INTEGER, attempts INTEGER NOT NULL DEFAULT 0, losses INTEGER NOT NULL "
    "DEFAULT 0, lane "
    "TEXT, idempotency_key TEXT, owner TEXT, token INTEGER NOT NULL DEFAULT 0, expires_at INTEGER, run_id "
    "TEXT, error TEXT) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS _workers_deliveries_ready ON _workers_deliveries(key, due_at, id) WHERE "
    "state = 'ready';"
    "CREATE INDEX IF NOT EXISTS _workers_deliveries_running ON _workers_deliveries(owner) WHERE state = "
    "'running';"
    "CREATE INDEX IF NOT EXISTS _workers_deliveries_lanes ON _workers_deliveries(lane, id) WHERE lane IS NOT "
    "NULL AND (state = 'ready' OR state = 'running');"
    "CREATE INDEX IF NOT EXISTS _workers_deliveries_dead ON _workers_deliveries(key) WHERE state = 'dead';"
    "CREATE UNIQUE INDEX IF NOT EXISTS _workers_deliveries_once ON _workers_deliveries(key, idempotency_key) "
    "WHERE idempotency_key IS NOT NULL;"
    "CREATE TABLE IF NOT EXISTS _workers_endpoints(key TEXT PRIMARY KEY, generation INTEGER NOT NULL DEFAULT "
    "1, "
    "failures INTEGER NOT NULL DEFAULT 0, closed_at INTEGER) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS _workers_grants(key TEXT PRIMARY KEY, generation INTEGER NOT NULL, sealed "
    "BLOB, "
    "expires_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, lease_owner TEXT, lease_expires_at INTEGER) "
    "WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS _workers_access(id TEXT PRIMARY KEY, key TEXT NOT NULL, digest TEXT, sealed "
    "BLOB, "
    "state TEXT NOT NULL, error TEXT, interval INTEGER NOT NULL, ask_at INTEGER NOT NULL, expires_at INTEGER "
    "NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS _workers_tokens(id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, digest TEXT "
    "NOT "
    "NULL, scope TEXT NOT NULL, created_at INTEGER NOT NULL) WITHOUT ROWID;"
    /* With row ids: large rows are kept better so. */
    "CREATE TABLE IF NOT EXISTS _workers_versions(number INTEGER PRIMARY KEY, digest TEXT NOT NULL, pack "
    "TEXT NOT "
    "NULL,"
    " manifest TEXT NOT NULL, files INTEGER NOT NULL, bytes INTEGER NOT NULL, created_at INTEGER NOT NULL,"
    " note TEXT NOT NULL, activated_at INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS _workers_payloads(id TEXT PRIMARY KEY NOT NULL, event TEXT NOT NULL, body "
    "BLOB);";

/* Columns that tables of older versions lack, newest last. */
static const struct {
    const char *table, *name, *type;
} columns_since_2[] = {
    {"_workers_runs", "started_by", "TEXT"},
    {"_workers_runs", "attempt", "INTEGER NOT NULL DEFAULT 1"},
    {"_workers_runs", "delivery_id", "TEXT"},
    {"_workers_runs", "peak_bytes", "INTEGER"},
    {"_workers_runs", "traceback", "TEXT"},
    {"_workers_runs", "error_name", "TEXT"},
    {"_workers_runs", "error_code", "TEXT"},
    {"_workers_runs", "error_status", "INTEGER"},
    {"_workers_secrets", "version", "INTEGER NOT NULL DEFAULT 1"},
    {"_workers_secrets", "is_public", "INTEGER NOT NULL DEFAULT 0"},
    {"_workers_secrets_before", "is_public", "INTEGER NOT NULL DEFAULT 0"},
    {"_workers_endpoints", "sealed", "BLOB"},
    {"_workers_databases", "revision", "INTEGER NOT NULL DEFAULT 0"},
};

enum err_code store_prepare(struct store *store, struct db_stmt **stmt, const char *sql, struct err *err)
{
    return DRIVER(store)->prepare(store->db, sql, stmt, err);
}

enum err_code store_prepare_once(struct store *store, struct db_stmt **stmt, const char *sql, struct err *err)
{
    return *stmt != NULL ? ERR_NONE : store_prepare(store, stmt, sql, err);
}

enum err_code store_step(struct store *store, struct db_stmt *stmt, struct err *err)
{
    enum db_step step = DB_ROW;
    while (step == DB_ROW)
        step = DRIVER(store)->step(stmt, err);
    DRIVER(store)->reset(stmt);
    return step == DB_DONE ? ERR_NONE : err->code;
}

void bind_cell(struct db_stmt *stmt, int index, const struct cell *cell)
{
    const struct db_driver *driver = stmt->db->driver;
    switch (cell->type) {
    case CELL_NULL:
        driver->bind_null(stmt, index);
        break;
    case CELL_INTEGER:
        driver->bind_integer(stmt, index, cell->integer);
        break;
    case CELL_REAL:
        driver->bind_real(stmt, index, cell->real);
        break;
    case CELL_TEXT:
        driver->bind_text(stmt, index, cell->text, cell->len);
        break;
    }
}

void bind_str(struct db_stmt *stmt, int index, const char *text)
{
    if (text == NULL)
        stmt->db->driver->bind_null(stmt, index);
    else
        stmt->db->driver->bind_text(stmt, index, text, strlen(text));
}

char *column_copy(struct db_stmt *stmt, int column)
{
    size_t len = 0;
    const char *text = stmt->db->driver->column_text(stmt, column, &len);
    return text != NULL ? mem_strndup(text, len) : NULL;
}

static bool has_column(struct store *store, const char *table, const char *name)
{
    struct db_stmt *stmt = NULL;
    struct err ignored;
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT %s FROM %s", name, table);
    if (store_prepare(store, &stmt, sql, &ignored) != ERR_NONE)
        return false;
    DRIVER(store)->finalize(stmt);
    return true;
}

/* All tables are made as version 2 had them, so that there is one way to this one. */
static enum err_code add_columns(struct store *store, struct err *err)
{
    enum err_code code = ERR_NONE;
    for (size_t i = 0; i < sizeof columns_since_2 / sizeof columns_since_2[0] && code == ERR_NONE; i++) {
        char sql[160];
        if (has_column(store, columns_since_2[i].table, columns_since_2[i].name))
            continue;
        snprintf(sql, sizeof sql, "ALTER TABLE %s ADD COLUMN %s %s", columns_since_2[i].table,
                 columns_since_2[i].name, columns_since_2[i].type);
        code = DRIVER(store)->exec(store->db, sql, err);
    }
    return code;
}

static enum err_code make_runtime_tables(struct store *store, struct err *err)
{
    int64_t version = 0;
    struct err ignored;
    /* A store that already has its tables is not written to: opening must work while somebody else writes. */
    if (db_integer(store->db, "SELECT value FROM _workers_meta WHERE name = 'schema_version'", 0, &version,
                   &ignored) == ERR_NONE) {
        if (version == SCHEMA_VERSION)
            return ERR_NONE;
        if (version > SCHEMA_VERSION)
            return err_set(err, ERR_CONFLICT,
                           "the store was written by a newer version of workers (format %lld, this one knows "
                           "%d): use that "
                           "version",
                           (long long)version, SCHEMA_VERSION);
    }
    enum err_code code = DRIVER(store)->begin(store->db, err);
    if (code != ERR_NONE)
        return code;
    code = DRIVER(store)->exec(store->db, runtime_schema, err);
    if (code == ERR_NONE)
        code = add_columns(store, err);
    if (code == ERR_NONE) {
        char version_text[16];
        snprintf(version_text, sizeof version_text, "%d", SCHEMA_VERSION);
        code = db_run(store->db, err,
                      "INSERT INTO _workers_meta(name, value) VALUES('schema_version', ?1)"
                      " ON CONFLICT(name) DO UPDATE SET value = excluded.value",
                      version_text, NULL);
    }
    if (code == ERR_NONE)
        return DRIVER(store)->commit(store->db, err);
    DRIVER(store)->rollback(store->db);
    return code;
}

/* A file that is there is not touched: closing any descriptor of it would drop the locks that another
 * connection of this process has on it (fcntl(2)), and a third could then delete its log. */
bool store_make_private(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0 || errno == EEXIST;
}

enum err_code store_open(const char *folder, bool create, struct store **out, struct err *err)
{
    *out = NULL;
    char path[PATH_MAX];
    enum err_code code = store_path(folder, path, sizeof path, err);
    if (code != ERR_NONE && !(code == ERR_NOT_FOUND && create))
        return code;
    if (create && mkdir(folder, 0700) != 0 && errno != EEXIST)
        return err_set(err, ERR_IO, "cannot make the folder %s: %s", folder, strerror(errno));
    if (create && !store_make_private(path))
        return err_set(err, ERR_IO, "cannot make %s: %s", path, strerror(errno));
    struct store *store = mem_zalloc(sizeof *store);
    if (store == NULL)
        return err_nomem(err);
    code = ERR_NOMEM;
    store->folder = mem_strndup(folder, strlen(folder));
    if (store->folder != NULL) {
        const struct db_options options = {.create = create, .busy_timeout_ms = BUSY_TIMEOUT_MS};
        code = db_sqlite.open(path, &options, &store->db, err);
    } else {
        err_nomem(err);
    }
    if (code == ERR_NONE)
        code = make_runtime_tables(store, err);
    if (code != ERR_NONE) {
        if (code == ERR_IO || code == ERR_CORRUPT)
            err_context(err, "the store at %s", path);
        store_close(store);
        return code;
    }
    *out = store;
    return ERR_NONE;
}

enum err_code store_open_memory(const char *address, struct store **out, struct err *err)
{
    *out = NULL;
    struct store *store = mem_zalloc(sizeof *store);
    if (store == NULL)
        return err_nomem(err);
    const struct db_options options = {.create = true, .busy_timeout_ms = BUSY_TIMEOUT_MS};
    enum err_code code = db_sqlite.open(address, &options, &store->db, err);
    if (code == ERR_NONE)
        code = make_runtime_tables(store, err);
    if (code == ERR_NONE)
        *out = store;
    else
        store_close(store);
    return code;
}

/* Statements that are prepared when they are first needed. */
static void finalize_all(struct store *store)
{
    struct db_stmt **stmts[] = {
        &store->pacer_get,      &store->pacer_set,        &store->mark_get,       &store->mark_set,
        &store->fence,          &store->other_cycles,     &store->database_set,   &store->page_state,
        &store->cycle_state,    &store->page_counts,      &store->kv_get,         &store->kv_set,
        &store->kv_delete,      &store->kv_sweep,         &store->kv_list,        &store->delivery_next,
        &store->delivery_claim, &store->delivery_payload, &store->delivery_end,   &store->delivery_due,
        &store->delivery_last,  &store->delivery_insert,  &store->payload_insert, &store->run_insert,
        &store->run_end,        &store->version_get};
    for (size_t i = 0; i < sizeof stmts / sizeof stmts[0]; i++) {
        if (*stmts[i] != NULL)
            DRIVER(store)->finalize(*stmts[i]);
        *stmts[i] = NULL;
    }
}

static void close_logs(struct store *store)
{
    if (store->logs == NULL)
        return;
    if (store->log_insert != NULL)
        store->logs->driver->finalize(store->log_insert);
    store->logs->driver->close(store->logs);
    store->log_insert = NULL;
    store->logs = NULL;
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    tables_release(store);
    finalize_all(store);
    close_logs(store);
    if (store->db != NULL)
        store->db->driver->close(store->db);
    mem_free(store->folder);
    mem_free(store);
}

enum err_code store_use(struct store *store, const struct worker *worker, struct buf *report, struct err *err)
{
    tables_release(store);
    enum err_code code = tables_migrate(store, worker, report, err);
    return code == ERR_NONE ? tables_prepare(store, worker, err) : code;
}

enum err_code store_use_preview(struct store *store, const struct worker *worker, struct buf *report,
                                struct err *err)
{
    tables_release(store);
    enum err_code code = DRIVER(store)->begin(store->db, err);
    if (code != ERR_NONE)
        return code;
    code = tables_migrate_within(store, worker, report, err);
    if (code == ERR_NONE)
        code = tables_prepare(store, worker, err);
    DRIVER(store)->rollback(store->db);
    return code;
}

enum err_code store_begin(struct store *store, bool durable, struct err *err)
{
    return durable ? DRIVER(store)->begin_durable(store->db, err) : DRIVER(store)->begin(store->db, err);
}

enum err_code store_commit(struct store *store, struct err *err)
{
    return DRIVER(store)->commit(store->db, err);
}

void store_rollback(struct store *store)
{
    DRIVER(store)->rollback(store->db);
}

enum err_code store_finish(struct store *store, enum err_code code, struct err *err)
{
    if (code == ERR_NONE)
        return store_commit(store, err);
    store_rollback(store);
    return code;
}

int64_t store_others(struct store *store)
{
    return DRIVER(store)->others(store->db);
}

enum err_code store_engine(struct store *store, char *out, size_t size, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(store, &stmt, "SELECT sqlite_version()", err);
    if (code != ERR_NONE)
        return code;
    enum db_step step = DRIVER(store)->step(stmt, err);
    size_t len = 0;
    if (step == DB_ROW)
        snprintf(out, size, "SQLite %s", DRIVER(store)->column_text(stmt, 0, &len));
    DRIVER(store)->finalize(stmt);
    return step == DB_FAILED ? err->code : ERR_NONE;
}

enum err_code store_check_file(struct db *db, struct buf *problems, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = db->driver->prepare(db, "PRAGMA quick_check", &stmt, err);
    if (code != ERR_NONE)
        return code;
    enum db_step step = DB_DONE;
    while ((step = db->driver->step(stmt, err)) == DB_ROW) {
        size_t len = 0;
        const char *line = db->driver->column_text(stmt, 0, &len);
        if (line != NULL && strcmp(line, "ok") != 0)
            buf_addf(problems, "%s\n", line);
    }
    db->driver->finalize(stmt);
    return step == DB_FAILED ? err->code : ERR_NONE;
}

enum err_code store_check(struct store *store, struct buf *problems, struct err *err)
{
    return store_check_file(store->db, problems, err);
}

void store_rest(struct store *store)
{
    finalize_all(store);
    if (store->folder != NULL) /* else it has nowhere to come back from */
        close_logs(store);
    DRIVER(store)->rest(store->db);
}
