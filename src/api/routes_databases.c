/* Databases: their rows, as objects and as the tables have them, deleted rows, and queries. */
#include "api/guard.h"
#include "api/routes.h"

#include "base/iso8601.h"
#include "worker/page.h"

#include <stdlib.h>
#include <string.h>

#define QUERY_BYTES ((size_t)16 * 1024 * 1024) /* of a query's rows, as JSON */
#define QUERY_TEXT ((size_t)256 * 1024)        /* of the statement itself */
#define EXPORT_BYTES ((size_t)8 * 1024 * 1024) /* after which a page is full */
#define EXPORT_ROWS 1000
#define COLUMNS_MAX 2000

/* ---- rows as the script declares them ---- */

/* NULL after an error. */
static const struct database *find_database(struct api_request *request)
{
    size_t index = worker_database(request->worker, request->parameters[0]);
    if (index != SIZE_MAX)
        return &request->worker->databases[index];
    request->code =
        err_set(&request->err, ERR_NOT_FOUND, "there is no database \"%s\": workers db list shows them",
                request->parameters[0]);
    return NULL;
}

static void get_row(struct api_request *request, struct store *store)
{
    const struct database *database = find_database(request);
    if (database != NULL)
        request->code = store_row_get(store, database, request->parameters[1], &request->out, &request->err);
}

static void list_rows(struct api_request *request, struct store *store)
{
    char after[ROW_KEY_MAX + 1] = "";
    int64_t limit = 0;
    api_query(request, "after", after, sizeof after);
    if (request->code != ERR_NONE || !api_limit(request, &limit))
        return;
    const struct database *database = find_database(request);
    if (database != NULL)
        request->code = store_rows_page(store, database, after, limit, &request->out, &request->err);
}

/* ---- rows as they are in tables ---- */

/* Writes what a query gives into the request's answer. */
struct reading {
    struct api_request *request;
    bool objects;     /* [{"name":value,…},…]; otherwise {"columns":[…],"rows":[[…],…]} */
    struct buf names; /* of the columns, as JSON, one after the other */
    size_t name_ends[COLUMNS_MAX];
    size_t full; /* the page ends here, with at least one row; 0 for a query, which may not be longer */
    int64_t rows;
    bool ended; /* because the page is full */
};

static enum err_code read_columns(void *ctx, int count, const char *const names[])
{
    struct reading *reading = ctx;
    struct buf *out = &reading->request->out;
    struct err *err = &reading->request->err;
    enum err_code code = ERR_NONE;
    if (count > COLUMNS_MAX)
        return err_set(err, ERR_LIMIT, "there are more than %d columns: select fewer", COLUMNS_MAX);
    if (!reading->objects)
        buf_adds(out, "{\"columns\":[");
    for (int i = 0; i < count && code == ERR_NONE; i++) {
        code = json_write_string(&reading->names, names[i], strlen(names[i]), err);
        reading->name_ends[i] = reading->names.len;
        if (!reading->objects) {
            buf_adds(out, i > 0 ? "," : "");
            code = json_write_string(out, names[i], strlen(names[i]), err);
        }
    }
    buf_adds(out, reading->objects ? "[" : "],\"rows\":[");
    return code;
}

static void write_value(struct buf *out, const struct db_value *value)
{
    struct err ignored;
    switch (value->type) {
    case DB_INTEGER:
        json_write_integer(out, value->integer);
        return;
    case DB_REAL:
        if (json_write_number(out, value->real, &ignored) != ERR_NONE)
            buf_adds(out, "null");
        return;
    case DB_TEXT:
    case DB_BLOB:
        if (json_write_string(out, value->text, value->len, &ignored) != ERR_NONE)
            buf_adds(out, "null");
        return;
    case DB_NULL:
        buf_adds(out, "null");
        return;
    }
}

static enum err_code read_row(void *ctx, int count, const struct db_value values[])
{
    struct reading *reading = ctx;
    struct buf *out = &reading->request->out;
    if (reading->full > 0 && reading->rows > 0 && out->len >= reading->full) {
        reading->ended = true;
        return ERR_CANCELLED;
    }
    buf_adds(out, reading->rows > 0 ? "," : "");
    buf_addc(out, reading->objects ? '{' : '[');
    for (int i = 0; i < count; i++) {
        buf_adds(out, i > 0 ? "," : "");
        if (reading->objects) {
            size_t begin = i > 0 ? reading->name_ends[i - 1] : 0;
            buf_add(out, buf_text(&reading->names) + begin, reading->name_ends[i] - begin);
            buf_addc(out, ':');
        }
        write_value(out, &values[i]);
    }
    buf_addc(out, reading->objects ? '}' : ']');
    reading->rows++;
    if (reading->full == 0 && out->len > QUERY_BYTES)
        return err_set(
            &reading->request->err, ERR_LIMIT,
            "the answer is larger than %zu MiB: select fewer columns or rows, or export the database",
            QUERY_BYTES / 1024 / 1024);
    return buf_status(out, "the answer", &reading->request->err);
}

static void read_rows(struct reading *reading, const struct db_statement *statement,
                      const struct db_guard *guard)
{
    struct api_request *request = reading->request;
    const struct db_sink sink = {.columns = read_columns, .row = read_row, .ctx = reading};
    buf_init(&reading->names, BUF_UNLIMITED);
    request->code = store_query(request->folder, statement, guard, &sink, &request->err);
    if (request->code != ERR_NONE && reading->ended)
        request->code = ERR_NONE;
    buf_adds(&request->out, reading->objects ? "]" : "]}");
    buf_free(&reading->names);
}

static void list_databases(struct api_request *request, struct store *store)
{
    struct reading reading = {.request = request, .objects = true, .full = SIZE_MAX};
    struct buf sql;
    (void)store;
    buf_init(&sql, BUF_UNLIMITED);
    request->code = store_databases_sql(request->folder, &sql, &request->err);
    const struct db_statement statement = {.sql = buf_text(&sql)};
    if (request->code == ERR_NONE && sql.len == 0)
        buf_adds(&request->out, "[]");
    else if (request->code == ERR_NONE)
        read_rows(&reading, &statement, NULL);
    buf_free(&sql);
}

static void get_schema(struct api_request *request, struct store *store)
{
    const struct db_statement statement = {.sql = store_schema_sql};
    struct reading reading = {.request = request, .objects = true, .full = SIZE_MAX};
    (void)store;
    read_rows(&reading, &statement, NULL);
}

static void export_rows(struct api_request *request, struct store *store)
{
    char after[ROW_KEY_MAX + 1] = "";
    int64_t limit = EXPORT_ROWS;
    struct reading reading = {.request = request, .full = EXPORT_BYTES};
    struct buf sql;
    (void)store;
    api_query(request, "after", after, sizeof after);
    if (request->code != ERR_NONE || !api_number(request, "limit", 1, EXPORT_ROWS, &limit))
        return;
    buf_init(&sql, BUF_UNLIMITED);
    request->code = store_export_sql(request->folder, request->parameters[0], true, &sql, &request->err);
    const struct db_parameter parameters[] = {
        {.number = 1, .value = {.type = DB_TEXT, .text = after, .len = strlen(after)}},
        {.number = 2, .value = {.type = DB_INTEGER, .integer = limit}}};
    const struct db_statement statement = {
        .sql = buf_text(&sql), .parameters = parameters, .parameter_count = 2};
    if (request->code == ERR_NONE)
        read_rows(&reading, &statement, NULL);
    buf_free(&sql);
}

/* Of somebody who may read, but not all that is in the file. */
static void query(struct api_request *request, struct store *store)
{
    struct reading reading = {.request = request};
    struct api_guard guard;
    struct buf sql;
    (void)store;
    api_guard_init(&guard, request, RESERVED_TABLES);
    buf_init(&sql, QUERY_TEXT);
    if (api_body_copy(request, "sql", &sql)) {
        const struct db_statement statement = {.sql = buf_text(&sql)};
        read_rows(&reading, &statement, &guard.guard);
        api_guard_explain(request);
    }
    buf_free(&sql);
}

/* ---- deleted rows ---- */

static enum err_code add_deleted(void *ctx, const struct deleted_row *row)
{
    struct api_request *request = ctx;
    char time[ISO_UTC_SIZE];
    api_comma(&request->out);
    buf_addf(&request->out, "{\"id\":%lld,\"database\":", (long long)row->id);
    json_write_text(&request->out, row->database);
    buf_adds(&request->out, ",\"key\":");
    json_write_text(&request->out, row->key);
    buf_addf(&request->out, ",\"deletedAt\":\"%s\"", iso_format_utc(row->deleted_ms, time));
    if (row->run_id != NULL)
        buf_addf(&request->out, ",\"runId\":\"%s\"", row->run_id);
    buf_addf(&request->out, ",\"row\":%s}", row->row);
    return ERR_NONE;
}

static void list_deleted(struct api_request *request, struct store *store)
{
    char database[101];
    struct deleted_filter filter = {.before = INT64_MAX};
    if (api_query(request, "database", database, sizeof database))
        filter.database = database;
    if (request->code != ERR_NONE || !api_number(request, "before", 0, INT64_MAX, &filter.before) ||
        !api_limit(request, &filter.limit))
        return;
    buf_addc(&request->out, '[');
    request->code = store_deleted_list(store, &filter, add_deleted, request, &request->err);
    buf_addc(&request->out, ']');
}

static void restore_rows(struct api_request *request, struct store *store)
{
    char key[ROW_KEY_MAX + 1], run_id[STORE_ID_SIZE];
    struct json_slice ignored;
    int64_t restored = 0;
    bool has_key = api_body_member(request, "key", &ignored),
         has_run = api_body_member(request, "runId", &ignored);
    if ((has_key && !api_body_needs(request, "key", key, sizeof key)) ||
        (has_run && !api_body_needs(request, "runId", run_id, sizeof run_id)))
        return;
    if (!has_key && !has_run && !api_body_flag(request, "all")) {
        request->code =
            err_set(&request->err, ERR_INVALID, "the body needs \"key\", \"runId\" or \"all\": true");
        return;
    }
    request->code = store_deleted_restore(store, request->parameters[0], has_key ? key : NULL,
                                          has_run ? run_id : NULL, &restored, &request->err);
    buf_addf(&request->out, "{\"restored\":%lld}", (long long)restored);
}

const struct route database_routes[] = {
    {.method = "GET",
     .path = "/databases",
     .scope = TOKEN_READ,
     .kind = ROUTE_READ,
     .capability = ROUTE_NONE,
     .id = "listDatabases",
     .summary = "The databases with their tables and row counts",
     .success = 200,
     .work = list_databases},
    {.method = "GET",
     .path = "/schema",
     .scope = TOKEN_READ,
     .kind = ROUTE_READ,
     .capability = ROUTE_NONE,
     .id = "getSchema",
     .summary = "Which property is stored in which column",
     .success = 200,
     .work = get_schema},
    {.method = "GET",
     .path = "/databases/{database}/rows",
     .scope = TOKEN_READ,
     .capability = ROUTE_NONE,
     .needs = ROUTE_WORKER | ROUTE_TABLES,
     .id = "listRows",
     .summary = "Rows in the order of their keys",
     .query = "after:string limit:integer",
     .success = 200,
     .work = list_rows},
    {.method = "GET",
     .path = "/databases/{database}/rows/{key}",
     .scope = TOKEN_READ,
     .capability = ROUTE_NONE,
     .needs = ROUTE_WORKER | ROUTE_TABLES,
     .id = "getRow",
     .summary = "One row",
     .success = 200,
     .work = get_row},
    {.method = "GET",
     .path = "/databases/{database}/export",
     .scope = TOKEN_READ,
     .kind = ROUTE_READ,
     .capability = ROUTE_NONE,
     .id = "exportRows",
     .summary = "Rows as their table has them, in the order of their keys",
     .query = "after:string limit:integer",
     .success = 200,
     .work = export_rows},
    {.method = "POST",
     .path = "/databases/{database}/restore",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .needs = ROUTE_WORKER | ROUTE_TABLES,
     .id = "restoreRows",
     .summary = "Puts deleted rows back",
     .body = "{\"type\":\"object\",\"properties\":{\"key\":{\"type\":\"string\"},\"runId\":{\"type\":"
             "\"string\"},\"all\":{\"type\":\"boolean\"}}}",
     .success = 200,
     .work = restore_rows},
    {.method = "GET",
     .path = "/deleted",
     .scope = TOKEN_READ,
     .capability = ROUTE_NONE,
     .id = "listDeleted",
     .summary = "Deleted rows that can be restored, newest first",
     .query = "database:string before:integer limit:integer",
     .success = 200,
     .work = list_deleted},
    {.method = "POST",
     .path = "/query",
     .scope = TOKEN_READ,
     .kind = ROUTE_READ,
     .capability = ROUTE_NONE,
     .id = "query",
     .summary = "Runs one statement that only reads",
     .body = "{\"type\":\"object\",\"required\":[\"sql\"],\"properties\":{\"sql\":{\"type\":\"string\"}}}",
     .success = 200,
     .work = query},
    {0},
};
