/* Queries by people: any statement that only reads. */
#include "store/store_priv.h"

#include "base/json.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
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

enum err_code store_query(const char *folder, const struct db_statement *statement,
                          const struct db_guard *guard, const struct db_sink *sink, struct err *err)
{
    char path[PATH_MAX];
    const struct db_options options = {.read_only = true, .busy_timeout_ms = 5000, .guard = guard};
    enum err_code code = store_path(folder, path, sizeof path, err);
    return code == ERR_NONE ? db_query(&db_sqlite, path, &options, statement, sink, err) : code;
}

/* A text as an SQL literal. */
static void add_literal(struct buf *sql, const char *text, size_t len)
{
    buf_addc(sql, '\'');
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\'')
            buf_addc(sql, '\'');
        buf_addc(sql, text[i]);
    }
    buf_addc(sql, '\'');
}

static enum err_code no_columns(void *ctx, int count, const char *const names[])
{
    (void)ctx;
    (void)count;
    (void)names;
    return ERR_NONE;
}

static enum err_code add_database(void *ctx, int count, const struct db_value values[])
{
    struct buf *out = ctx;
    char quoted[2100];
    (void)count;
    buf_adds(out, out->len > 0 ? " UNION ALL SELECT " : "SELECT ");
    add_literal(out, values[0].text, values[0].len);
    buf_adds(out, " AS database, ");
    add_literal(out, values[1].text, values[1].len);
    buf_adds(out, " AS title, ");
    add_literal(out, values[2].text, values[2].len);
    buf_addf(out, " AS \"table\", (SELECT count(*) FROM %s) AS rows",
             db_quote(values[2].text, quoted, sizeof quoted));
    return ERR_NONE;
}

enum err_code store_databases_sql(const char *folder, struct buf *out, struct err *err)
{
    const struct db_statement statement = {
        .sql = "SELECT key, title, table_name FROM _workers_databases ORDER BY key"};
    const struct db_sink sink = {.columns = no_columns, .row = add_database, .ctx = out};
    enum err_code code = store_query(folder, &statement, NULL, &sink, err);
    return code == ERR_NONE ? buf_status(out, "the query", err) : code;
}

const char store_schema_sql[] =
    "SELECT c.database AS database, d.table_name AS \"table\", c.property AS property, c.column_name AS "
    "\"column\", c.type AS type, CASE c.declared WHEN 1 THEN 'yes' ELSE 'no' END AS declared FROM "
    "_workers_columns AS c JOIN _workers_databases "
    "AS "
    "d ON d.key = c.database ORDER BY c.database, c.declared DESC, c.position";

static enum err_code take_table(void *ctx, int count, const struct db_value values[])
{
    char quoted[2100];
    (void)count;
    buf_adds(ctx, db_quote(values[0].text, quoted, sizeof quoted));
    return ERR_NONE;
}

enum err_code store_export_sql(const char *folder, const char *database, bool page, struct buf *out,
                               struct err *err)
{
    const struct db_parameter key = {.number = 1,
                                     .value = {.type = DB_TEXT, .text = database, .len = strlen(database)}};
    const struct db_statement statement = {.sql = "SELECT table_name FROM _workers_databases WHERE key = ?1",
                                           .parameters = &key,
                                           .parameter_count = 1};
    struct buf table;
    buf_init(&table, BUF_UNLIMITED);
    const struct db_sink sink = {.columns = no_columns, .row = take_table, .ctx = &table};
    enum err_code code = store_query(folder, &statement, NULL, &sink, err);
    if (code == ERR_NONE && table.len == 0)
        code =
            err_set(err, ERR_NOT_FOUND, "there is no database \"%s\": workers db list shows them", database);
    buf_addf(out, "SELECT * FROM %s%s ORDER BY _key%s", buf_text(&table), page ? " WHERE _key > ?1" : "",
             page ? " LIMIT ?2" : "");
    buf_free(&table);
    return code == ERR_NONE ? buf_status(out, "the query", err) : code;
}

/* ---- rows as JSON ---- */

/* Columns of the query of store_rows_json. */
enum { ROW_ICON, ROW_COVER, ROW_CONTENT, ROW_UPSTREAM, ROW_PROPERTIES };

static void add_column(struct buf *sql, const char *name, const char *suffix)
{
    char full[1024], quoted[2100];
    snprintf(full, sizeof full, "%s%s", name, suffix);
    buf_adds(sql, ", ");
    buf_adds(sql, db_quote(full, quoted, sizeof quoted));
}

static enum err_code write_text(struct db_stmt *stmt, int column, struct buf *out, struct err *err)
{
    size_t len = 0;
    const char *text = stmt->db->driver->column_text(stmt, column, &len);
    return json_write_string(out, text, len, err);
}

static void write_raw(struct db_stmt *stmt, int column, struct buf *out)
{
    size_t len = 0;
    const char *text = stmt->db->driver->column_text(stmt, column, &len);
    buf_add(out, text, len);
}

/* The value in the column, which is not NULL. */
static enum err_code write_value(struct db_stmt *stmt, int column, enum property_type type, struct buf *out,
                                 struct err *err)
{
    const struct db_driver *driver = stmt->db->driver;
    enum err_code code = ERR_NONE;
    switch (type) {
    case PROPERTY_CHECKBOX:
        buf_adds(out, driver->column_integer(stmt, column) != 0 ? "true" : "false");
        return ERR_NONE;
    case PROPERTY_NUMBER:
        if (driver->column_type(stmt, column) == DB_INTEGER)
            json_write_integer(out, driver->column_integer(stmt, column));
        else
            code = json_write_number(out, driver->column_real(stmt, column), err);
        return code;
    case PROPERTY_DATE:
        if (driver->column_type(stmt, column + 1) == DB_NULL)
            return write_text(stmt, column, out, err);
        buf_adds(out, "{\"start\":");
        code = write_text(stmt, column, out, err);
        buf_adds(out, ",\"end\":");
        if (code == ERR_NONE)
            code = write_text(stmt, column + 1, out, err);
        buf_addc(out, '}');
        return code;
    case PROPERTY_MULTI_SELECT:
    case PROPERTY_PEOPLE:
    case PROPERTY_RELATION:
    case PROPERTY_PLACE:
    case PROPERTY_FILE:
        write_raw(stmt, column, out);
        return ERR_NONE;
    default:
        return write_text(stmt, column, out, err);
    }
}

static enum err_code write_fixed(struct db_stmt *stmt, int column, const char *separator, struct buf *out,
                                 struct err *err)
{
    static const char *const names[] = {"_icon", "_cover", "_content", "_upstream_updated_at"};
    buf_addf(out, "%s\"%s\":", separator, names[column]);
    if (column == ROW_CONTENT || column == ROW_UPSTREAM)
        return write_text(stmt, column, out, err);
    write_raw(stmt, column, out);
    return ERR_NONE;
}

enum err_code query_write_named(struct db_stmt *stmt, const struct database *database,
                                const char *const *names, bool extras, struct buf *out, struct err *err)
{
    const struct db_driver *driver = stmt->db->driver;
    enum err_code code = ERR_NONE;
    const char *separator = "";
    int column = ROW_PROPERTIES;
    buf_addc(out, '{');
    for (size_t i = 0; i < database->property_count && code == ERR_NONE; i++) {
        const struct property *property = &database->properties[i];
        const char *name = names != NULL ? names[i] : property->name;
        if (name != NULL && driver->column_type(stmt, column) != DB_NULL) {
            buf_adds(out, separator);
            json_write_text(out, name);
            buf_addc(out, ':');
            code = write_value(stmt, column, property->type, out, err);
            separator = ",";
        }
        column += property->type == PROPERTY_DATE ? 2 : 1;
    }
    for (int i = ROW_ICON; extras && i <= ROW_UPSTREAM && code == ERR_NONE; i++) {
        if (driver->column_type(stmt, i) == DB_NULL)
            continue;
        code = write_fixed(stmt, i, separator, out, err);
        separator = ",";
    }
    buf_addc(out, '}');
    return code;
}

enum err_code query_write_row(struct db_stmt *stmt, const struct database *database, struct buf *out,
                              struct err *err)
{
    return query_write_named(stmt, database, NULL, true, out, err);
}

enum err_code query_prepare_rows(struct db *db, const struct database *database, const char *condition,
                                 struct db_stmt **stmt, struct err *err)
{
    struct buf sql;
    char quoted[2100];
    buf_init(&sql, BUF_UNLIMITED);
    buf_adds(&sql, "SELECT _icon, _cover, _content, _upstream_updated_at");
    for (size_t i = 0; i < database->property_count; i++) {
        const struct property *property = &database->properties[i];
        add_column(&sql, property->column, "");
        if (property->type == PROPERTY_DATE)
            add_column(&sql, property->column, "_end");
    }
    buf_addf(&sql, ", _key FROM %s%s", db_quote(database->table, quoted, sizeof quoted), condition);
    enum err_code code = buf_status(&sql, "the query", err);
    if (code == ERR_NONE)
        code = db->driver->prepare(db, buf_text(&sql), stmt, err);
    buf_free(&sql);
    return code;
}

static enum err_code write_keyed(struct db_stmt *stmt, const struct database *database, struct buf *out,
                                 struct err *err)
{
    buf_adds(out, "{\"key\":");
    enum err_code code = write_text(stmt, stmt->db->driver->column_count(stmt) - 1, out, err);
    buf_adds(out, ",\"row\":");
    if (code == ERR_NONE)
        code = query_write_row(stmt, database, out, err);
    buf_addc(out, '}');
    return code;
}

enum err_code store_row_get(struct store *store, const struct database *database, const char *key,
                            struct buf *out, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = query_prepare_rows(store->db, database, " WHERE _key = ?1", &stmt, err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, key);
    enum db_step step = DRIVER(store)->step(stmt, err);
    if (step == DB_ROW)
        code = write_keyed(stmt, database, out, err);
    else if (step == DB_DONE)
        code =
            err_set(err, ERR_NOT_FOUND, "there is no row \"%.200s\" in database \"%s\"", key, database->key);
    else
        code = err->code;
    DRIVER(store)->finalize(stmt);
    return code;
}

enum err_code store_rows_page(struct store *store, const struct database *database, const char *after,
                              int64_t limit, struct buf *out, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = NULL;
    enum err_code code =
        query_prepare_rows(store->db, database, " WHERE _key > ?1 ORDER BY _key LIMIT ?2", &stmt, err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, after);
    driver->bind_integer(stmt, 2, limit);
    enum db_step step = DB_DONE;
    const char *separator = "";
    buf_addc(out, '[');
    while (code == ERR_NONE && (step = driver->step(stmt, err)) == DB_ROW) {
        buf_adds(out, separator);
        code = write_keyed(stmt, database, out, err);
        separator = ",";
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    buf_addc(out, ']');
    driver->finalize(stmt);
    return code;
}

enum err_code store_rows_json(struct store *store, const struct database *database, struct buf *out,
                              struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = query_prepare_rows(store->db, database, " ORDER BY _key", &stmt, err);
    if (code != ERR_NONE)
        return code;
    enum db_step step = DB_DONE;
    const char *separator = "[";
    while (code == ERR_NONE && (step = DRIVER(store)->step(stmt, err)) == DB_ROW) {
        buf_adds(out, separator);
        code = query_write_row(stmt, database, out, err);
        separator = ",";
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    buf_adds(out, separator[0] == '[' ? "[]" : "]");
    DRIVER(store)->finalize(stmt);
    return code == ERR_NONE ? buf_status(out, "the rows", err) : code;
}
