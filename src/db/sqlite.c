/* SQLite behind the driver interface. The only file that includes sqlite3.h. */
#include "db/db.h"

#include "base/mem.h"

#include <errno.h>
#ifdef WORKERS_FAULT_INJECTION
#include <malloc.h>
#endif
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define LOOKASIDE_BYTES 512
#define LOOKASIDE_SLOTS 512

struct sqlite_db {
    struct db base;
    sqlite3 *handle;
    struct db_stmt *begin, *commit;
};

struct sqlite_stmt {
    struct db_stmt base;
    sqlite3_stmt *handle;
    int bind_failure; /* of the first binding that did not work; the next step reports it */
};

static sqlite3 *handle_of(struct db *db)
{
    return ((struct sqlite_db *)db)->handle;
}

static sqlite3_stmt *stmt_of(struct db_stmt *stmt)
{
    return ((struct sqlite_stmt *)stmt)->handle;
}

/* SQLite calls it SQLITE_FULL only when a write finds no room, not when a flush or a truncation does. */
static bool disk_is_full(sqlite3 *handle)
{
    int cause = handle != NULL ? sqlite3_system_errno(handle) : 0;
    return cause == ENOSPC || cause == EDQUOT;
}

static enum err_code failure(sqlite3 *handle, int result, const char *doing, struct err *err)
{
    const char *detail = handle != NULL ? sqlite3_errmsg(handle) : sqlite3_errstr(result);
    switch (result & 0xff) {
    case SQLITE_NOMEM:
        return err_nomem(err);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(err, ERR_BUSY, "%s: another process is writing to the store; try again", doing);
    case SQLITE_FULL:
        return err_set(err, ERR_IO, "%s: the disk is full; free some space and run again", doing);
    case SQLITE_IOERR:
        if ((result & 0xffff) == SQLITE_IOERR_NOMEM)
            return err_nomem(err);
        if (disk_is_full(handle))
            return err_set(err, ERR_IO, "%s: the disk is full; free some space and run again", doing);
        return err_set(err, ERR_IO, "%s: the file system failed (%s, code %d)", doing, detail,
                       handle != NULL ? sqlite3_extended_errcode(handle) : result);
    case SQLITE_CANTOPEN:
        return err_set(err, ERR_IO, "%s: cannot open the file (%s)", doing, detail);
    case SQLITE_READONLY:
        return err_set(err, ERR_IO, "%s: the store is read-only (%s)", doing, detail);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return err_set(err, ERR_CORRUPT, "%s: the file is damaged or no SQLite database (%s)", doing, detail);
    case SQLITE_CONSTRAINT:
        return err_set(err, ERR_CONFLICT, "%s: %s", doing, detail);
    case SQLITE_INTERRUPT:
        return err_set(err, ERR_CANCELLED, "%s: interrupted", doing);
    case SQLITE_AUTH:
        return err_set(err, ERR_DENIED, "%s: %s", doing, detail);
    default:
        return err_set(err, ERR_INVALID, "%s: %s", doing, detail);
    }
}

static void sqlite_close(struct db *db)
{
    struct sqlite_db *sqlite = (struct sqlite_db *)db;
    if (sqlite == NULL)
        return;
    if (sqlite->begin != NULL)
        db->driver->finalize(sqlite->begin);
    if (sqlite->commit != NULL)
        db->driver->finalize(sqlite->commit);
    sqlite3_close_v2(sqlite->handle);
    mem_free(sqlite);
}

static enum err_code sqlite_exec(struct db *db, const char *sql, struct err *err)
{
    int result = sqlite3_exec(handle_of(db), sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? ERR_NONE : failure(handle_of(db), result, "database", err);
}

static enum err_code sqlite_prepare(struct db *db, const char *sql, struct db_stmt **out, struct err *err)
{
    *out = NULL;
    struct sqlite_stmt *stmt = mem_zalloc(sizeof *stmt);
    if (stmt == NULL)
        return err_nomem(err);
    stmt->base.db = db;
    const char *tail = NULL;
    int result = sqlite3_prepare_v3(handle_of(db), sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt->handle, &tail);
    if (result == SQLITE_OK && stmt->handle == NULL)
        result = SQLITE_MISUSE;
    if (result != SQLITE_OK) {
        mem_free(stmt);
        if (result == SQLITE_MISUSE)
            return err_set(err, ERR_INVALID, "database: the statement is empty");
        return failure(handle_of(db), result, "database", err);
    }
    if (tail != NULL && tail[strspn(tail, " \t\r\n;")] != '\0') {
        sqlite3_finalize(stmt->handle);
        mem_free(stmt);
        return err_set(err, ERR_INVALID, "database: give one statement at a time");
    }
    *out = &stmt->base;
    return ERR_NONE;
}

#ifdef WORKERS_FAULT_INJECTION
/* SQLite's own allocations fail with ours. */
static void *fault_malloc(int size)
{
    return mem_alloc((size_t)size);
}

static void *fault_realloc(void *block, int size)
{
    return mem_realloc(block, (size_t)size);
}

static int fault_size(void *block)
{
    return block != NULL ? (int)malloc_usable_size(block) : 0;
}

static int fault_roundup(int size)
{
    return (size + 7) & ~7;
}

static int fault_init(void *ignored)
{
    (void)ignored;
    return SQLITE_OK;
}

static void fault_shutdown(void *ignored)
{
    (void)ignored;
}

static void configure(void)
{
    static const sqlite3_mem_methods methods = {
        .xMalloc = fault_malloc,
        .xFree = mem_free,
        .xRealloc = fault_realloc,
        .xSize = fault_size,
        .xRoundup = fault_roundup,
        .xInit = fault_init,
        .xShutdown = fault_shutdown,
    };
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}
#else
static void configure(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS,
                   0); /* nobody asks for the count, and it costs a lock at every allocation */
}
#endif

static enum err_code sqlite_open(const char *address, const struct db_options *options, struct db **out,
                                 struct err *err)
{
    *out = NULL;
    static pthread_once_t configured = PTHREAD_ONCE_INIT;
    pthread_once(&configured, configure);
    struct sqlite_db *sqlite = mem_zalloc(sizeof *sqlite);
    if (sqlite == NULL)
        return err_nomem(err);
    sqlite->base.driver = &db_sqlite;
    int flags = SQLITE_OPEN_NOMUTEX | (options->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) |
                (options->create ? SQLITE_OPEN_CREATE : 0);
    int result = sqlite3_open_v2(address, &sqlite->handle, flags, NULL);
    enum err_code code = ERR_NONE;
    if (result == SQLITE_OK) {
        sqlite3_extended_result_codes(sqlite->handle, 1);
        sqlite3_busy_timeout(sqlite->handle, options->busy_timeout_ms);
        sqlite3_db_config(sqlite->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        /* The prepared statements keep the few slots there are by default; rows need some as well. */
        sqlite3_db_config(sqlite->handle, SQLITE_DBCONFIG_LOOKASIDE, NULL, LOOKASIDE_BYTES, LOOKASIDE_SLOTS);
        sqlite3_db_config(sqlite->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        char pragmas[256];
        if (options->read_only)
            snprintf(pragmas, sizeof pragmas, "PRAGMA query_only=1; PRAGMA cell_size_check=1;");
        else
            /* auto_vacuum only takes effect before the first table is made */
            snprintf(pragmas, sizeof pragmas,
                     "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=%s; "
                     "PRAGMA cache_size=-32768; PRAGMA temp_store=MEMORY; PRAGMA wal_autocheckpoint=4000;",
                     options->durable ? "FULL" : "NORMAL");
        code = sqlite_exec(&sqlite->base, pragmas, err);
        if (code == ERR_NONE)
            /* The first read finds out whether this is a database at all. */
            code = sqlite_exec(&sqlite->base, "SELECT count(*) FROM sqlite_schema", err);
    } else {
        code = failure(sqlite->handle, result, address, err);
    }
    if (code == ERR_NONE && !options->read_only) {
        code = sqlite_prepare(&sqlite->base, "BEGIN IMMEDIATE", &sqlite->begin, err);
        if (code == ERR_NONE)
            code = sqlite_prepare(&sqlite->base, "COMMIT", &sqlite->commit, err);
    }
    if (code != ERR_NONE) {
        sqlite_close(&sqlite->base);
        return code;
    }
    *out = &sqlite->base;
    return ERR_NONE;
}

static void sqlite_finalize(struct db_stmt *stmt)
{
    if (stmt == NULL)
        return;
    sqlite3_finalize(stmt_of(stmt));
    mem_free(stmt);
}

static void keep_failure(struct db_stmt *stmt, int result)
{
    struct sqlite_stmt *sqlite = (struct sqlite_stmt *)stmt;
    if (result != SQLITE_OK && sqlite->bind_failure == SQLITE_OK)
        sqlite->bind_failure = result;
}

static void sqlite_bind_null(struct db_stmt *stmt, int index)
{
    keep_failure(stmt, sqlite3_bind_null(stmt_of(stmt), index));
}

static void sqlite_bind_integer(struct db_stmt *stmt, int index, int64_t value)
{
    keep_failure(stmt, sqlite3_bind_int64(stmt_of(stmt), index, value));
}

static void sqlite_bind_real(struct db_stmt *stmt, int index, double value)
{
    keep_failure(stmt, sqlite3_bind_double(stmt_of(stmt), index, value));
}

static void sqlite_bind_text(struct db_stmt *stmt, int index, const char *text, size_t len)
{
    keep_failure(stmt, sqlite3_bind_text64(stmt_of(stmt), index, text != NULL ? text : "", len, SQLITE_STATIC,
                                           SQLITE_UTF8));
}

static void sqlite_bind_blob(struct db_stmt *stmt, int index, const void *bytes, size_t len)
{
    keep_failure(stmt, sqlite3_bind_blob64(stmt_of(stmt), index, bytes, len, SQLITE_STATIC));
}

static enum db_step sqlite_step(struct db_stmt *stmt, struct err *err)
{
    int unbound = ((struct sqlite_stmt *)stmt)->bind_failure;
    if (unbound == SQLITE_TOOBIG) {
        err_set(err, ERR_LIMIT, "database: a value is larger than the database can hold (1 GB)");
        return DB_FAILED;
    }
    if (unbound != SQLITE_OK) {
        failure(handle_of(stmt->db), unbound, "database", err);
        return DB_FAILED;
    }
    int result = sqlite3_step(stmt_of(stmt));
    if (result == SQLITE_ROW)
        return DB_ROW;
    if (result == SQLITE_DONE)
        return DB_DONE;
    failure(handle_of(stmt->db), result, "database", err);
    return DB_FAILED;
}

static void sqlite_reset(struct db_stmt *stmt)
{
    sqlite3_reset(stmt_of(stmt));
    sqlite3_clear_bindings(stmt_of(stmt));
    ((struct sqlite_stmt *)stmt)->bind_failure = SQLITE_OK;
}

static int sqlite_column_count(struct db_stmt *stmt)
{
    return sqlite3_column_count(stmt_of(stmt));
}

static const char *sqlite_column_name(struct db_stmt *stmt, int column)
{
    const char *name = sqlite3_column_name(stmt_of(stmt), column);
    return name != NULL ? name : "";
}

static enum db_type sqlite_column_type(struct db_stmt *stmt, int column)
{
    switch (sqlite3_column_type(stmt_of(stmt), column)) {
    case SQLITE_INTEGER:
        return DB_INTEGER;
    case SQLITE_FLOAT:
        return DB_REAL;
    case SQLITE_TEXT:
        return DB_TEXT;
    case SQLITE_BLOB:
        return DB_BLOB;
    default:
        return DB_NULL;
    }
}

/* By way of sqlite3_value, which is safe as a connection is used by one thread at a time, and costs one look
 * for the column instead of three. */
static struct db_value sqlite_column_value(struct db_stmt *stmt, int column)
{
    sqlite3_value *value = sqlite3_column_value(stmt_of(stmt), column);
    struct db_value out = {.type = DB_NULL};
    switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER:
        out.type = DB_INTEGER;
        out.integer = sqlite3_value_int64(value);
        break;
    case SQLITE_FLOAT:
        out.type = DB_REAL;
        out.real = sqlite3_value_double(value);
        break;
    case SQLITE_TEXT:
        out.type = DB_TEXT;
        out.text = (const char *)sqlite3_value_text(value);
        out.len = (size_t)sqlite3_value_bytes(value);
        break;
    case SQLITE_BLOB:
        out.type = DB_BLOB;
        out.text = sqlite3_value_blob(value);
        out.len = (size_t)sqlite3_value_bytes(value);
        break;
    default:
        break;
    }
    return out;
}

static int64_t sqlite_column_integer(struct db_stmt *stmt, int column)
{
    return sqlite3_column_int64(stmt_of(stmt), column);
}

static double sqlite_column_real(struct db_stmt *stmt, int column)
{
    return sqlite3_column_double(stmt_of(stmt), column);
}

static const char *sqlite_column_text(struct db_stmt *stmt, int column, size_t *len)
{
    const char *text = sqlite3_column_type(stmt_of(stmt), column) == SQLITE_BLOB
                           ? sqlite3_column_blob(stmt_of(stmt), column)
                           : (const char *)sqlite3_column_text(stmt_of(stmt), column);
    *len = (size_t)sqlite3_column_bytes(stmt_of(stmt), column);
    return text;
}

static enum err_code step_once(struct db_stmt *stmt, struct err *err)
{
    int result = sqlite3_step(stmt_of(stmt));
    sqlite3_reset(stmt_of(stmt));
    return result == SQLITE_DONE ? ERR_NONE : failure(handle_of(stmt->db), result, "database", err);
}

static void sqlite_rollback(struct db *db)
{
    if (!sqlite3_get_autocommit(handle_of(db)))
        sqlite3_exec(handle_of(db), "ROLLBACK", NULL, NULL, NULL);
}

static enum err_code sqlite_begin(struct db *db, struct err *err)
{
    return step_once(((struct sqlite_db *)db)->begin, err);
}

static enum err_code sqlite_commit(struct db *db, struct err *err)
{
    enum err_code code = step_once(((struct sqlite_db *)db)->commit, err);
    if (code != ERR_NONE)
        sqlite_rollback(db);
    return code;
}

static int64_t sqlite_changes(struct db *db)
{
    return sqlite3_changes64(handle_of(db));
}

const struct db_driver db_sqlite = {
    .name = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .exec = sqlite_exec,
    .prepare = sqlite_prepare,
    .finalize = sqlite_finalize,
    .bind_null = sqlite_bind_null,
    .bind_integer = sqlite_bind_integer,
    .bind_real = sqlite_bind_real,
    .bind_text = sqlite_bind_text,
    .bind_blob = sqlite_bind_blob,
    .step = sqlite_step,
    .reset = sqlite_reset,
    .column_count = sqlite_column_count,
    .column_name = sqlite_column_name,
    .column_type = sqlite_column_type,
    .column_value = sqlite_column_value,
    .column_integer = sqlite_column_integer,
    .column_real = sqlite_column_real,
    .column_text = sqlite_column_text,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .changes = sqlite_changes,
};
