/* SQLite behind the driver interface. The only file that includes sqlite3.h. */
#include "db/db.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/zoned.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define LOOKASIDE_BYTES 512
#define LOOKASIDE_SLOTS 512

/* Steps of a guarded statement between two questions whether to go on. One step may copy a whole value. */
#define GUARD_STEPS 50
/* A pattern is tried at every place of the other text, within one step. */
#define GUARD_PATTERN_MAX 100
/* So is every character of the second argument of trim. */
#define GUARD_TRIM_MAX 64
#define GUARD_PARAMETERS_MAX 1000

struct sqlite_db {
    struct db base;
    sqlite3 *handle;
    struct db_stmt *begin, *commit, *version;
    bool durable;      /* as it was opened */
    bool durable_once; /* this transaction is, unlike others */
    const struct db_guard *guard;
    char refused[160]; /* what a guarded connection said no to */
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

/* ---- memory ---- */

/* What the guarded connection of this thread holds, while there is one. */
static _Thread_local struct {
    bool counted;
    bool refused;
    size_t used, max;
} held;

static bool may_hold(size_t more, size_t less)
{
    if (!held.counted || held.used + more <= held.max + less)
        return true;
    held.refused = true;
    return false;
}

/* Some of what is given back may be from before the counting. */
static void count(size_t more, size_t less)
{
    held.used = held.used + more > less ? held.used + more - less : 0;
}

static void *engine_malloc(int size)
{
    if (!may_hold((size_t)size, 0))
        return NULL;
    void *block = mem_alloc((size_t)size);
    if (held.counted && block != NULL)
        count(malloc_usable_size(block), 0);
    return block;
}

static void *engine_realloc(void *block, int size)
{
    size_t before = held.counted ? malloc_usable_size(block) : 0;
    if (!may_hold((size_t)size, before))
        return NULL;
    block = mem_realloc(block, (size_t)size);
    if (held.counted && block != NULL)
        count(malloc_usable_size(block), before);
    return block;
}

static void engine_free(void *block)
{
    if (held.counted)
        count(0, malloc_usable_size(block));
    mem_free(block);
}

static int engine_size(void *block)
{
    return block != NULL ? (int)malloc_usable_size(block) : 0;
}

static int engine_roundup(int size)
{
    return (size + 7) & ~7;
}

static int engine_init(void *ignored)
{
    (void)ignored;
    return SQLITE_OK;
}

static void engine_shutdown(void *ignored)
{
    (void)ignored;
}

/* SQLite's allocations are the program's: they fail with ours in tests, and those of a guarded connection are
 * counted. SQLite's own limits of memory are for the process as a whole. */
static void configure(void)
{
    static const sqlite3_mem_methods methods = {
        .xMalloc = engine_malloc,
        .xFree = engine_free,
        .xRealloc = engine_realloc,
        .xSize = engine_size,
        .xRoundup = engine_roundup,
        .xInit = engine_init,
        .xShutdown = engine_shutdown,
    };
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
    /* Nobody asks for SQLite's count, and it costs a lock at every allocation. */
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    /* Pages one by one instead of twenty at first: many stores are open and idle under workers serve. */
    sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
}

/* ---- failures ---- */

static enum err_code no_memory(struct err *err)
{
    if (!held.refused)
        return err_nomem(err);
    return err_set(
        err, ERR_LIMIT,
        "the query needs more than %zu MiB of memory: sort and group fewer rows, or smaller values",
        held.max >> 20);
}

static enum err_code describe(struct sqlite_db *sqlite, int result, struct err *err)
{
    sqlite3 *handle = sqlite->handle;
    if (sqlite->refused[0] != '\0') /* SQLite has several codes for that, and says less */
        return err_set(err, ERR_DENIED, "%s", sqlite->refused);
    const char *detail = handle != NULL ? sqlite3_errmsg(handle) : sqlite3_errstr(result);
    switch (result & 0xff) {
    case SQLITE_NOMEM:
        return no_memory(err);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(err, ERR_BUSY, "another process is writing to the store; try again");
    case SQLITE_FULL:
        return err_set(err, ERR_IO, "the disk is full; free some space and run again");
    case SQLITE_IOERR:
        if ((result & 0xffff) == SQLITE_IOERR_NOMEM)
            return no_memory(err);
        if (disk_is_full(handle))
            return err_set(err, ERR_IO, "the disk is full; free some space and run again");
        return err_set(err, ERR_IO, "the file system failed (%s, code %d)", detail,
                       handle != NULL ? sqlite3_extended_errcode(handle) : result);
    case SQLITE_CANTOPEN:
        return err_set(err, ERR_IO, "cannot open the file (%s)", detail);
    case SQLITE_READONLY:
        if (sqlite->guard != NULL) /* nothing else of such a connection writes */
            return err_set(err, ERR_IO,
                           "a file in WAL mode needs its -shm beside it, which cannot be written");
        return err_set(err, ERR_IO, "the store is read-only (%s)", detail);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return err_set(err, ERR_CORRUPT, "the file is damaged or no SQLite database (%s)", detail);
    case SQLITE_CONSTRAINT:
        return err_set(err, ERR_CONFLICT, "%s", detail);
    case SQLITE_INTERRUPT:
        return err_set(err, ERR_CANCELLED, "interrupted");
    case SQLITE_TOOBIG:
        return err_set(err, ERR_LIMIT, "a value is too large; the largest has %d bytes",
                       sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, -1));
    case SQLITE_AUTH:
        return err_set(err, ERR_DENIED, "%s", detail);
    default:
        return err_set(err, ERR_INVALID, "%s", detail);
    }
}

/* doing is put in front; of a guarded connection the caller knows better. */
static enum err_code failure(struct db *db, int result, const char *doing, struct err *err)
{
    struct sqlite_db *sqlite = (struct sqlite_db *)db;
    enum err_code code = describe(sqlite, result, err);
    if (err != NULL && code != ERR_NOMEM && sqlite->guard == NULL)
        err_context(err, "%s", doing);
    return code;
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
    if (sqlite->version != NULL)
        db->driver->finalize(sqlite->version);
    sqlite3_close_v2(sqlite->handle);
    if (sqlite->guard != NULL)
        held.counted = false;
    mem_free(sqlite);
}

static enum err_code sqlite_exec(struct db *db, const char *sql, struct err *err)
{
    int result = sqlite3_exec(handle_of(db), sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? ERR_NONE : failure(db, result, "database", err);
}

/* Whether there is anything in the text but blanks and comments. */
static bool has_statement(sqlite3 *handle, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    bool found = sqlite3_prepare_v2(handle, sql, -1, &stmt, NULL) != SQLITE_OK || stmt != NULL;
    sqlite3_finalize(stmt);
    return found;
}

static enum err_code sqlite_prepare(struct db *db, const char *sql, struct db_stmt **out, struct err *err)
{
    *out = NULL;
    struct sqlite_stmt *stmt = mem_zalloc(sizeof *stmt);
    if (stmt == NULL)
        return err_nomem(err);
    stmt->base.db = db;
    const char *tail = NULL;
    enum err_code code = ERR_NONE;
    int result = sqlite3_prepare_v3(handle_of(db), sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt->handle, &tail);
    if (result != SQLITE_OK)
        code = failure(db, result, "database", err);
    else if (stmt->handle == NULL)
        code = err_set(err, ERR_INVALID, "the statement is empty");
    else if (tail[0] != '\0' && has_statement(handle_of(db), tail))
        code = err_set(err, ERR_INVALID, "give one statement at a time");
    if (code != ERR_NONE) {
        sqlite3_finalize(stmt->handle);
        mem_free(stmt);
        return code;
    }
    *out = &stmt->base;
    return ERR_NONE;
}

/* ---- guarding ---- */

static int refuse(struct sqlite_db *sqlite, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int refuse(struct sqlite_db *sqlite, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sqlite->refused, sizeof sqlite->refused, format, arguments);
    va_end(arguments);
    return SQLITE_DENY;
}

static bool is_one_of(const char *name, const char *const names[], size_t count)
{
    for (size_t i = 0; name != NULL && i < count; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

static const char *const schema[] = {"sqlite_schema", "sqlite_master"};

/* What SQLite makes up from its own state or from raw pages has what no table shows, hidden ones included. */
static bool may_read(const struct db_guard *guard, const char *table)
{
    if (guard->hidden == NULL || is_one_of(table, schema, 2))
        return true;
    return strncasecmp(table, guard->hidden, strlen(guard->hidden)) != 0 &&
           strncasecmp(table, "sqlite_", 7) != 0 && strcasecmp(table, "dbstat") != 0;
}

/* Asked while a statement is compiled, for all that it would do. */
static int authorize(void *ctx, int action, const char *first, const char *second, const char *database,
                     const char *inside)
{
    /* Those that describe tables; the names of columns are no secret. */
    static const char *const pragmas[] = {"table_info",  "table_xinfo", "index_list",      "index_info",
                                          "index_xinfo", "table_list",  "foreign_key_list"};
    /* What loads code, and what takes a time that grows with the product of two lengths. */
    static const char *const functions[] = {"load_extension", "fts3_tokenizer", "json_patch"};
    static const char only_select[] = "only SELECT can be used here; nothing is written or attached";
    struct sqlite_db *sqlite = ctx;
    (void)database;
    (void)inside;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_READ:
        return may_read(sqlite->guard, first)
                   ? SQLITE_OK
                   : refuse(sqlite, "the table %s belongs to the program and cannot be read", first);
    case SQLITE_FUNCTION:
        return is_one_of(second, functions, sizeof functions / sizeof functions[0])
                   ? refuse(sqlite, "the function %s cannot be used here", second)
                   : SQLITE_OK;
    case SQLITE_UPDATE: /* json_each and its like are declared so, and it is not carried out */
        return is_one_of(first, schema, 2) ? SQLITE_OK : refuse(sqlite, "%s", only_select);
    case SQLITE_PRAGMA:
        return is_one_of(first, pragmas, sizeof pragmas / sizeof pragmas[0])
                   ? SQLITE_OK
                   : refuse(sqlite, "PRAGMA %s cannot be used here", first);
    default:
        return refuse(sqlite, "%s", only_select);
    }
}

static int ask_to_go_on(void *ctx)
{
    const struct db_guard *guard = ctx;
    return guard->go_on(guard->ctx) ? 0 : 1;
}

/* Three functions of SQLite compare at every place of a text, all in one step: with both texts in MiB that
 * takes hours, and nothing can end it. These give the same in linear time. */

static void instr_function(sqlite3_context *context, int count_of, sqlite3_value **values)
{
    (void)count_of;
    if (sqlite3_value_type(values[0]) == SQLITE_NULL || sqlite3_value_type(values[1]) == SQLITE_NULL)
        return;
    bool blobs = sqlite3_value_type(values[0]) == SQLITE_BLOB && sqlite3_value_type(values[1]) == SQLITE_BLOB;
    const char *text = blobs ? sqlite3_value_blob(values[0]) : (const char *)sqlite3_value_text(values[0]);
    const char *wanted = blobs ? sqlite3_value_blob(values[1]) : (const char *)sqlite3_value_text(values[1]);
    size_t len = (size_t)sqlite3_value_bytes(values[0]);
    size_t wanted_len = (size_t)sqlite3_value_bytes(values[1]);
    if ((text == NULL && len > 0) || (wanted == NULL && wanted_len > 0)) {
        sqlite3_result_error_nomem(context);
        return;
    }
    const char *found = wanted_len == 0 ? text : len == 0 ? NULL : memmem(text, len, wanted, wanted_len);
    if (found == NULL && wanted_len > 0) {
        sqlite3_result_int(context, 0);
        return;
    }
    sqlite3_int64 place = 1;
    for (const char *at = text; at < found; at++) /* of a text in characters */
        place += blobs || ((unsigned char)*at & 0xC0) != 0x80;
    sqlite3_result_int64(context, place);
}

static void replace_function(sqlite3_context *context, int count_of, sqlite3_value **values)
{
    (void)count_of;
    const char *texts[3];
    size_t lens[3];
    for (int i = 0; i < 3; i++) {
        texts[i] = (const char *)sqlite3_value_text(values[i]);
        lens[i] = (size_t)sqlite3_value_bytes(values[i]);
        if (texts[i] == NULL)
            return; /* NULL in, NULL out */
        if (i == 1 && lens[1] == 0) {
            sqlite3_result_value(context, values[0]);
            return;
        }
    }
    sqlite3_str *out = sqlite3_str_new(sqlite3_context_db_handle(context));
    const char *at = texts[0];
    const char *end = texts[0] + lens[0];
    for (;;) {
        const char *found = memmem(at, (size_t)(end - at), texts[1], lens[1]);
        sqlite3_str_append(out, at, (int)((found != NULL ? found : end) - at));
        if (found == NULL || sqlite3_str_errcode(out) != SQLITE_OK)
            break;
        sqlite3_str_append(out, texts[2], (int)lens[2]);
        at = found + lens[1];
    }
    int failed = sqlite3_str_errcode(out);
    int len = sqlite3_str_length(out);
    char *text = sqlite3_str_finish(out);
    if (failed != SQLITE_OK) {
        sqlite3_free(text);
        sqlite3_result_error_code(context, failed);
    } else if (text == NULL) {
        sqlite3_result_text(context, "", 0, SQLITE_STATIC);
    } else {
        sqlite3_result_text(context, text, len, sqlite3_free);
    }
}

/* The length of the character at the start of text, as SQLite reads UTF-8. */
static size_t character_len(const char *text, size_t len)
{
    size_t at = 1;
    if ((unsigned char)text[0] >= 0xC0)
        while (at < len && ((unsigned char)text[at] & 0xC0) == 0x80)
            at++;
    return at;
}

/* How many bytes of the text one of the characters in set takes at its start, or at its end; 0 if none. */
static size_t matching(const char *text, size_t len, const char *set, size_t set_len, bool at_end)
{
    for (size_t at = 0, one; at < set_len; at += one) {
        one = character_len(set + at, set_len - at);
        if (one <= len && memcmp(at_end ? text + len - one : text, set + at, one) == 0)
            return one;
    }
    return 0;
}

/* The user data says which ends: bit 0 the left one, bit 1 the right one. */
static void trim_function(sqlite3_context *context, int count_of, sqlite3_value **values)
{
    (void)count_of;
    size_t ends = (size_t)sqlite3_user_data(context);
    const char *text = (const char *)sqlite3_value_text(values[0]);
    const char *set = (const char *)sqlite3_value_text(values[1]);
    if (text == NULL || set == NULL)
        return;
    size_t len = (size_t)sqlite3_value_bytes(values[0]);
    size_t set_len = (size_t)sqlite3_value_bytes(values[1]);
    if (set_len > GUARD_TRIM_MAX) {
        sqlite3_result_error(context, "the characters to trim are more than 64 bytes", -1);
        return;
    }
    size_t one;
    while ((ends & 1) != 0 && (one = matching(text, len, set, set_len, false)) > 0) {
        text += one;
        len -= one;
    }
    while ((ends & 2) != 0 && (one = matching(text, len, set, set_len, true)) > 0)
        len -= one;
    sqlite3_result_text(context, text, (int)len, SQLITE_TRANSIENT);
}

static int replace_functions(sqlite3 *handle)
{
    static const struct {
        const char *name;
        int arguments;
        void (*function)(sqlite3_context *, int, sqlite3_value **);
        uintptr_t data;
    } functions[] = {{"instr", 2, instr_function, 0},
                     {"replace", 3, replace_function, 0},
                     {"ltrim", 2, trim_function, 1},
                     {"rtrim", 2, trim_function, 2},
                     {"trim", 2, trim_function, 3}};
    int result = SQLITE_OK;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0] && result == SQLITE_OK; i++)
        result =
            sqlite3_create_function_v2(handle, functions[i].name, functions[i].arguments,
                                       SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS,
                                       (void *)functions[i].data, functions[i].function, NULL, NULL, NULL);
    return result;
}

static void moment_function(sqlite3_context *context, int count_of, sqlite3_value **values)
{
    int64_t ms = 0;
    struct err ignored;
    (void)count_of;
    const char *text = (const char *)sqlite3_value_text(values[0]);
    if (text != NULL && zoned_parse(text, (size_t)sqlite3_value_bytes(values[0]), &ms, &ignored) == ERR_NONE)
        sqlite3_result_int64(context, ms);
}

/* The last of opening: what comes before is ours and may do more. */
static enum err_code put_on_guard(struct sqlite_db *sqlite, struct err *err)
{
    sqlite3 *handle = sqlite->handle;
    struct db_guard *guard = (struct db_guard *)(uintptr_t)sqlite->guard; /* SQLite knows no const */
    int result = replace_functions(handle);
    if (result != SQLITE_OK)
        return failure(&sqlite->base, result, "database", err);
    sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, (int)guard->value_max);
    sqlite3_limit(handle, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, GUARD_PATTERN_MAX);
    sqlite3_limit(handle, SQLITE_LIMIT_VARIABLE_NUMBER, GUARD_PARAMETERS_MAX);
    sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_limit(handle, SQLITE_LIMIT_WORKER_THREADS, 0);
    sqlite3_progress_handler(handle, GUARD_STEPS, ask_to_go_on, guard);
    sqlite3_set_authorizer(handle, authorize, sqlite);
    return ERR_NONE;
}

/* ---- opening ---- */

static const char *pragmas_for(const struct db_options *options)
{
    if (options->guard != NULL) /* what does not fit into memory is not put into files instead */
        return "PRAGMA query_only=1; PRAGMA cell_size_check=1; PRAGMA temp_store=MEMORY;";
    if (options->read_only)
        return "PRAGMA query_only=1; PRAGMA cell_size_check=1;";
#define WRITER(synchronous)                                                                                  \
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=" synchronous "; "                                          \
    "PRAGMA cache_size=-32768; PRAGMA temp_store=MEMORY; PRAGMA wal_autocheckpoint=4000;"
    return options->durable ? WRITER("FULL") : WRITER("NORMAL");
}

#define PRAGMAS_AGAIN_MS 10

/* When several open a new file at once, each wants to turn it to WAL mode, and SQLite refuses all but one
 * without waiting, as they would wait for each other. */
static enum err_code set_pragmas(struct sqlite_db *sqlite, const struct db_options *options, struct err *err)
{
    const struct timespec pause = {.tv_nsec = PRAGMAS_AGAIN_MS * 1000000L};
    int64_t vacuum = 0;
    /* Only takes effect before the first table is made, and is a write each time. */
    if (!options->read_only && options->guard == NULL &&
        db_integer(&sqlite->base, "PRAGMA auto_vacuum", 0, &vacuum, err) == ERR_NONE && vacuum != 2 &&
        sqlite_exec(&sqlite->base, "PRAGMA auto_vacuum=INCREMENTAL", err) == ERR_NOMEM)
        return err->code;
    int64_t until = clock_mono_ms() + options->busy_timeout_ms;
    enum err_code code = sqlite_exec(&sqlite->base, pragmas_for(options), err);
    while (code == ERR_BUSY && clock_mono_ms() < until) {
        nanosleep(&pause, NULL);
        code = sqlite_exec(&sqlite->base, pragmas_for(options), err);
    }
    return code;
}

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
    sqlite->durable = options->durable;
    sqlite->guard = options->guard;
    bool read_only = options->read_only || options->guard != NULL;
    if (options->guard != NULL) {
        held.counted = true;
        held.refused = false;
        held.used = 0;
        held.max = options->guard->memory_max;
    }
    int flags = SQLITE_OPEN_NOMUTEX | (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) |
                (options->create ? SQLITE_OPEN_CREATE : 0);
    bool in_memory = strncmp(address, DB_MEMORY, strlen(DB_MEMORY)) == 0;
    int result = sqlite3_open_v2(in_memory ? address + strlen(DB_MEMORY) - 1 : address, &sqlite->handle,
                                 flags, in_memory ? "memdb" : NULL);
    enum err_code code = ERR_NONE;
    if (result == SQLITE_OK) {
        sqlite3_extended_result_codes(sqlite->handle, 1);
        sqlite3_busy_timeout(sqlite->handle, options->busy_timeout_ms);
        sqlite3_db_config(sqlite->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        /* The prepared statements keep the few slots there are by default; rows need some as well. */
        sqlite3_db_config(sqlite->handle, SQLITE_DBCONFIG_LOOKASIDE, NULL, LOOKASIDE_BYTES, LOOKASIDE_SLOTS);
        sqlite3_db_config(sqlite->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        code = set_pragmas(sqlite, options, err);
        if (code == ERR_NONE)
            /* The first read finds out whether this is a database at all. */
            code = sqlite_exec(&sqlite->base, "SELECT count(*) FROM sqlite_schema", err);
    } else {
        code = failure(&sqlite->base, result, address, err);
    }
    if (code == ERR_NONE && !read_only) {
        code = sqlite_prepare(&sqlite->base, "BEGIN IMMEDIATE", &sqlite->begin, err);
        if (code == ERR_NONE)
            code = sqlite_prepare(&sqlite->base, "COMMIT", &sqlite->commit, err);
    }
    if (code == ERR_NONE && options->guard != NULL)
        code = put_on_guard(sqlite, err);
    if (code == ERR_NONE) {
        result = sqlite3_create_function_v2(sqlite->handle, DB_MOMENT, 1,
                                            SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, NULL,
                                            moment_function, NULL, NULL, NULL);
        if (result != SQLITE_OK)
            code = failure(&sqlite->base, result, address, err);
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

static int sqlite_parameter_count(struct db_stmt *stmt)
{
    return sqlite3_bind_parameter_count(stmt_of(stmt));
}

static const char *sqlite_parameter_name(struct db_stmt *stmt, int index)
{
    return sqlite3_bind_parameter_name(stmt_of(stmt), index);
}

static enum db_step sqlite_step(struct db_stmt *stmt, struct err *err)
{
    int unbound = ((struct sqlite_stmt *)stmt)->bind_failure;
    if (unbound != SQLITE_OK) {
        failure(stmt->db, unbound, "database", err);
        return DB_FAILED;
    }
    int result = sqlite3_step(stmt_of(stmt));
    if (result == SQLITE_ROW)
        return DB_ROW;
    if (result == SQLITE_DONE)
        return DB_DONE;
    failure(stmt->db, result, "database", err);
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
    return result == SQLITE_DONE ? ERR_NONE : failure(stmt->db, result, "database", err);
}

/* Outside transactions only. */
static int set_durable(struct sqlite_db *sqlite, bool durable)
{
    if (sqlite->durable || sqlite->durable_once == durable)
        return SQLITE_OK;
    sqlite->durable_once = durable;
    return sqlite3_exec(sqlite->handle, durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL",
                        NULL, NULL, NULL);
}

static void sqlite_rollback(struct db *db)
{
    if (!sqlite3_get_autocommit(handle_of(db)))
        sqlite3_exec(handle_of(db), "ROLLBACK", NULL, NULL, NULL);
    set_durable((struct sqlite_db *)db, false);
}

static enum err_code sqlite_begin(struct db *db, struct err *err)
{
    return step_once(((struct sqlite_db *)db)->begin, err);
}

static enum err_code sqlite_begin_durable(struct db *db, struct err *err)
{
    struct sqlite_db *sqlite = (struct sqlite_db *)db;
    int result = set_durable(sqlite, true);
    enum err_code code = result == SQLITE_OK ? sqlite_begin(db, err) : failure(db, result, "database", err);
    if (code != ERR_NONE)
        set_durable(sqlite, false);
    return code;
}

static enum err_code sqlite_commit(struct db *db, struct err *err)
{
    enum err_code code = step_once(((struct sqlite_db *)db)->commit, err);
    if (code != ERR_NONE)
        sqlite_rollback(db);
    else
        set_durable((struct sqlite_db *)db, false);
    return code;
}

static int64_t sqlite_changes(struct db *db)
{
    return sqlite3_changes64(handle_of(db));
}

static enum err_code sqlite_shrink(struct db *db, struct err *err)
{
    return db->driver->exec(db, "PRAGMA incremental_vacuum(2000)", err);
}

static int64_t sqlite_others(struct db *db)
{
    struct sqlite_db *sqlite = (struct sqlite_db *)db;
    struct err ignored;
    int64_t version = -1;
    if (sqlite->version == NULL &&
        db->driver->prepare(db, "PRAGMA data_version", &sqlite->version, &ignored) != ERR_NONE)
        return -1;
    if (db->driver->step(sqlite->version, &ignored) == DB_ROW)
        version = db->driver->column_integer(sqlite->version, 0);
    db->driver->reset(sqlite->version);
    return version;
}

static void sqlite_rest(struct db *db)
{
    sqlite3_db_release_memory(handle_of(db)); /* pages that are read again when they are wanted */
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
    .parameter_count = sqlite_parameter_count,
    .parameter_name = sqlite_parameter_name,
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
    .begin_durable = sqlite_begin_durable,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .changes = sqlite_changes,
    .shrink = sqlite_shrink,
    .others = sqlite_others,
    .rest = sqlite_rest,
};
