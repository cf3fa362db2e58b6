/* Queries by people: any statement that only reads. */
#include "store/store_priv.h"

#include "base/mem.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

enum err_code store_query(const char *folder, const char *sql, const struct query_sink *sink, struct err *err)
{
    char path[PATH_MAX];
    struct stat status;
    struct db *db = NULL;
    struct db_stmt *stmt = NULL;
    snprintf(path, sizeof path, "%s/worker.db", folder);
    if (stat(path, &status) != 0)
        return err_set(err, ERR_NOT_FOUND,
                       "there is no store yet at %s: run a sync first, as in: workers run", path);
    const struct db_options options = {.read_only = true, .busy_timeout_ms = 5000};
    enum err_code code = db_sqlite.open(path, &options, &db, err);
    if (code == ERR_NONE)
        code = db->driver->prepare(db, sql, &stmt, err);
    if (code != ERR_NONE) {
        if (db != NULL)
            db->driver->close(db);
        return code;
    }
    int count = db->driver->column_count(stmt);
    const char **names = mem_need((size_t)(count + 1) * sizeof *names);
    struct query_cell *cells = mem_need((size_t)(count + 1) * sizeof *cells);
    for (int i = 0; i < count; i++)
        names[i] = db->driver->column_name(stmt, i);
    code = sink->columns(sink->ctx, count, names);
    enum db_step step = DB_DONE;
    while (code == ERR_NONE && (step = db->driver->step(stmt, err)) == DB_ROW) {
        for (int i = 0; i < count; i++) {
            cells[i] = (struct query_cell){.type = (int)db->driver->column_type(stmt, i)};
            cells[i].integer = db->driver->column_integer(stmt, i);
            cells[i].real = db->driver->column_real(stmt, i);
            if (cells[i].type == DB_TEXT || cells[i].type == DB_BLOB)
                cells[i].text = db->driver->column_text(stmt, i, &cells[i].len);
        }
        code = sink->row(sink->ctx, count, cells);
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    mem_free(names);
    mem_free(cells);
    db->driver->finalize(stmt);
    db->driver->close(db);
    return code;
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
