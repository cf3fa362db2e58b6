/* Queries by people: any statement that only reads. */
#include "store/store_priv.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

enum err_code store_path(const char *folder, char *path, size_t size, struct err *err)
{
    struct stat status;
    if (snprintf(path, size, "%s/worker.db", folder) >= (int)size)
        return err_set(err, ERR_INVALID, "the path of the store is too long: %s", folder);
    if (stat(path, &status) != 0)
        return err_set(err, ERR_NOT_FOUND,
                       "there is no store yet at %s: run a sync first, as in: workers run", path);
    return ERR_NONE;
}

enum err_code store_query(const char *folder, const char *sql, const struct db_sink *sink, struct err *err)
{
    char path[PATH_MAX];
    const struct db_options options = {.read_only = true, .busy_timeout_ms = 5000};
    const struct db_statement statement = {.sql = sql};
    enum err_code code = store_path(folder, path, sizeof path, err);
    return code == ERR_NONE ? db_query(&db_sqlite, path, &options, &statement, sink, err) : code;
}

/* A text as an SQL literal. */
static void add_literal(struct buf *sql, const char *text)
{
    buf_addc(sql, '\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            buf_addc(sql, '\'');
        buf_addc(sql, *text);
    }
    buf_addc(sql, '\'');
}

enum err_code store_list_sql(struct store *store, struct buf *out, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt, "SELECT key, title, table_name FROM _workers_databases ORDER BY key", err);
    if (code != ERR_NONE)
        return code;
    enum db_step step;
    while ((step = DRIVER(store)->step(stmt, err)) == DB_ROW) {
        size_t len = 0;
        char quoted[2100];
        buf_adds(out, out->len > 0 ? " UNION ALL SELECT " : "SELECT ");
        add_literal(out, DRIVER(store)->column_text(stmt, 0, &len));
        buf_adds(out, " AS database, ");
        add_literal(out, DRIVER(store)->column_text(stmt, 1, &len));
        buf_adds(out, " AS title, ");
        const char *table = DRIVER(store)->column_text(stmt, 2, &len);
        add_literal(out, table);
        buf_addf(out, " AS \"table\", (SELECT count(*) FROM %s) AS rows",
                 db_quote(table, quoted, sizeof quoted));
    }
    DRIVER(store)->finalize(stmt);
    return step == DB_FAILED ? err->code : buf_status(out, "the query", err);
}

enum err_code store_table_name(struct store *store, const char *database, char *out, size_t size,
                               struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code =
        store_prepare(store, &stmt, "SELECT table_name FROM _workers_databases WHERE key = ?1", err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, database);
    enum db_step step = DRIVER(store)->step(stmt, err);
    size_t len = 0;
    if (step == DB_ROW)
        snprintf(out, size, "%s", DRIVER(store)->column_text(stmt, 0, &len));
    else if (step == DB_DONE)
        code =
            err_set(err, ERR_NOT_FOUND, "there is no database \"%s\": workers db list shows them", database);
    else
        code = err->code;
    DRIVER(store)->finalize(stmt);
    return code;
}
