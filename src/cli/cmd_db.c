/* workers db …: the databases and their rows. */
#include "cli/listing.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/table.h"

#include <stdlib.h>
#include <string.h>

/* ---- printing a query ---- */

enum query_format { QUERY_TABLE, QUERY_PLAIN, QUERY_JSON, QUERY_CSV };

struct query {
    enum query_format format;
    struct table_column *columns;
    char **names;
    int count;
    struct table_printer table;
    int64_t rows;
};

static void write_csv(const char *text, size_t len)
{
    bool quote = len == 0;
    for (size_t i = 0; i < len; i++)
        quote = quote || text[i] == '"' || text[i] == ',' || text[i] == '\n' || text[i] == '\r';
    if (!quote) {
        fwrite(text, 1, len, stdout);
        return;
    }
    putchar('"');
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"')
            putchar('"');
        putchar(text[i]);
    }
    putchar('"');
}

static enum err_code query_columns(void *ctx, int count, const char *const names[])
{
    struct query *query = ctx;
    query->count = count;
    query->columns = mem_need((size_t)(count + 1) * sizeof *query->columns);
    query->names = mem_need((size_t)(count + 1) * sizeof *query->names);
    for (int i = 0; i < count; i++) {
        query->names[i] = mem_need_str(names[i]);
        query->columns[i] = (struct table_column){.title = query->names[i]};
        if (query->format == QUERY_CSV) {
            if (i > 0)
                putchar(',');
            write_csv(names[i], strlen(names[i]));
        }
    }
    if (query->format == QUERY_CSV)
        fputs("\r\n", stdout);
    if (query->format == QUERY_JSON)
        putchar('[');
    if (count > 0)
        table_init(&query->table, query->columns, (size_t)count);
    return ERR_NONE;
}

/* The cell as text; numbers go to digits. NULL for NULL. */
static const char *cell_text(const struct db_value *cell, char digits[NUMBER_TEXT_MAX], size_t *len)
{
    switch (cell->type) {
    case DB_NULL:
        return NULL;
    case DB_INTEGER:
        *len = number_format_integer(cell->integer, digits);
        return digits;
    case DB_REAL:
        *len = number_format_js(cell->real, digits);
        return digits;
    case DB_TEXT:
    case DB_BLOB:
        *len = cell->len;
        return cell->text;
    }
    return NULL;
}

static void print_json_row(const struct query *query, const struct db_value cells[])
{
    struct buf row;
    struct err ignored;
    buf_init(&row, BUF_UNLIMITED);
    buf_adds(&row, query->rows > 0 ? ",\n{" : "\n{");
    for (int i = 0; i < query->count; i++) {
        char digits[NUMBER_TEXT_MAX];
        size_t len = 0;
        const char *text = cell_text(&cells[i], digits, &len);
        buf_adds(&row, i > 0 ? "," : "");
        json_write_text(&row, query->names[i]);
        buf_addc(&row, ':');
        if (text == NULL)
            buf_adds(&row, "null");
        else if (cells[i].type == DB_INTEGER || cells[i].type == DB_REAL)
            buf_add(&row, text, len);
        else if (json_write_string(&row, text, len, &ignored) != ERR_NONE)
            buf_adds(&row, "null");
    }
    fwrite(buf_text(&row), 1, row.len, stdout);
    putchar('}');
    buf_free(&row);
}

static enum err_code query_row(void *ctx, int count, const struct db_value cells[])
{
    struct query *query = ctx;
    for (int i = 0; i < count && query->format != QUERY_JSON; i++) {
        char digits[NUMBER_TEXT_MAX];
        size_t len = 0;
        const char *text = cell_text(&cells[i], digits, &len);
        if (query->format == QUERY_CSV) {
            if (i > 0)
                putchar(',');
            if (text != NULL)
                write_csv(text, len);
        } else {
            query->columns[i].align = cells[i].type == DB_INTEGER || cells[i].type == DB_REAL
                                          ? TABLE_RIGHT
                                          : query->columns[i].align;
            table_cell(&query->table, text != NULL ? text : "", len);
        }
    }
    if (query->format == QUERY_CSV)
        fputs("\r\n", stdout);
    if (query->format == QUERY_JSON)
        print_json_row(query, cells);
    query->rows++;
    return ERR_NONE;
}

static void query_end(struct query *query)
{
    if (query->count > 0)
        table_free(&query->table);
    for (int i = 0; i < query->count; i++)
        mem_free(query->names[i]);
    mem_free(query->names);
    mem_free(query->columns);
}

/* What is left to be printed when all rows were there. */
static int query_print(const struct query *query)
{
    if (query->format == QUERY_JSON)
        printf("\n]\n");
    if (query->format == QUERY_JSON || query->format == QUERY_CSV || query->count == 0)
        return EXIT_DONE;
    int result =
        cli_print_table(query->format == QUERY_PLAIN ? FORMAT_PLAIN : FORMAT_TABLE, &query->table, "no rows");
    if (query->format == QUERY_TABLE && query->rows > 0)
        cli_note("%lld row%s", (long long)query->rows, query->rows == 1 ? "" : "s");
    return result;
}

/* ---- rows from a server: {"columns":[…],"rows":[[…],…]} ---- */

/* Names and texts of one row, and where each begins. */
struct parts {
    struct buf text, begins;
};

static void add_part(struct parts *parts, const struct json_scan *scan)
{
    buf_add(&parts->begins, &parts->text.len, sizeof parts->text.len);
    if (scan->token == JSON_STRING)
        json_string_copy(scan, &parts->text);
    buf_addc(&parts->text, '\0');
}

static int part_count(const struct parts *parts)
{
    return (int)(parts->begins.len / sizeof(size_t));
}

static const char *part(const struct parts *parts, int i, size_t *len)
{
    const size_t *begins = (const size_t *)(const void *)parts->begins.data;
    size_t end = i + 1 < part_count(parts) ? begins[i + 1] : parts->text.len;
    *len = end - begins[i] - 1;
    return parts->text.data + begins[i];
}

static enum err_code take_columns(const struct json_slice *columns, struct query *query, struct err *err)
{
    struct parts parts;
    struct json_scan scan;
    bool more = false;
    buf_init(&parts.text, BUF_UNLIMITED);
    buf_init(&parts.begins, BUF_UNLIMITED);
    json_scan_init(&scan, columns->text, columns->len);
    enum err_code code = json_scan_value(&scan, err);
    while (code == ERR_NONE && (code = json_scan_element(&scan, &more, err)) == ERR_NONE && more) {
        add_part(&parts, &scan);
        code = json_scan_skip(&scan, NULL, err);
    }
    if (code == ERR_NONE)
        code = buf_status(&parts.text, "the names of the columns", err);
    int count = part_count(&parts);
    const char **names = mem_need((size_t)(count + 1) * sizeof *names);
    for (int i = 0; i < count && code == ERR_NONE; i++) {
        size_t len = 0;
        names[i] = part(&parts, i, &len);
    }
    if (code == ERR_NONE)
        code = query_columns(query, count, names);
    mem_free(names);
    buf_free(&parts.text);
    buf_free(&parts.begins);
    return code;
}

/* One row, at whose first token the scanner is. */
static enum err_code take_row(struct json_scan *scan, struct query *query, struct db_value *values,
                              struct parts *parts, struct err *err)
{
    bool more = false;
    int count = 0;
    buf_clear(&parts->text);
    buf_clear(&parts->begins);
    enum err_code code = ERR_NONE;
    while (code == ERR_NONE && (code = json_scan_element(scan, &more, err)) == ERR_NONE && more) {
        if (count == query->count)
            return err_set(err, ERR_INVALID, "a row of the answer has more values than there are columns");
        struct db_value *value = &values[count++];
        *value = (struct db_value){.type = DB_NULL};
        if (scan->token == JSON_STRING)
            value->type = DB_TEXT;
        else if (scan->token == JSON_NUMBER && scan->number.is_integer)
            *value = (struct db_value){.type = DB_INTEGER, .integer = scan->number.integer};
        else if (scan->token == JSON_NUMBER)
            *value = (struct db_value){.type = DB_REAL, .real = scan->number.real};
        add_part(parts, scan);
        code = json_scan_skip(scan, NULL, err);
    }
    if (code == ERR_NONE && count != query->count)
        code = err_set(err, ERR_INVALID, "a row of the answer has fewer values than there are columns");
    if (code == ERR_NONE)
        code = buf_status(&parts->text, "a row", err);
    for (int i = 0; i < count && code == ERR_NONE; i++)
        if (values[i].type == DB_TEXT)
            values[i].text = part(parts, i, &values[i].len);
    return code == ERR_NONE ? query_row(query, count, values) : code;
}

/* Columns are taken from the first answer only. key: gets that of the last row; NULL: nobody asks. */
static enum err_code take_answer(const struct buf *answer, struct query *query, struct buf *key,
                                 int64_t *rows, struct err *err)
{
    struct json_slice columns, slice;
    struct json_scan scan;
    struct parts parts;
    bool more = false;
    *rows = 0;
    if (!json_find(buf_text(answer), answer->len, "columns", &columns) ||
        !json_find(buf_text(answer), answer->len, "rows", &slice))
        return err_set(err, ERR_INVALID, "the answer has no rows: is the server of another version?");
    enum err_code code = query->names == NULL ? take_columns(&columns, query, err) : ERR_NONE;
    struct db_value *values = mem_need((size_t)(query->count + 1) * sizeof *values);
    buf_init(&parts.text, BUF_UNLIMITED);
    buf_init(&parts.begins, BUF_UNLIMITED);
    json_scan_init(&scan, slice.text, slice.len);
    if (code == ERR_NONE)
        code = json_scan_value(&scan, err);
    while (code == ERR_NONE && (code = json_scan_element(&scan, &more, err)) == ERR_NONE && more) {
        code = take_row(&scan, query, values, &parts, err);
        (*rows)++;
        for (int i = 0; key != NULL && code == ERR_NONE && i < query->count; i++) {
            if (strcmp(query->names[i], "_key") != 0)
                continue;
            buf_clear(key);
            buf_add(key, values[i].text, values[i].type == DB_TEXT ? values[i].len : 0);
        }
    }
    mem_free(values);
    buf_free(&parts.text);
    buf_free(&parts.begins);
    return code;
}

static enum err_code query_there(struct target *target, const char *sql, struct query *query, struct err *err)
{
    struct buf path, body, answer;
    int64_t rows = 0;
    path_make(&path, "/query", NULL, NULL);
    buf_init(&body, BUF_UNLIMITED);
    buf_init(&answer, BUF_UNLIMITED);
    buf_adds(&body, "{\"sql\":");
    enum err_code code = json_write_string(&body, sql, strlen(sql), err);
    buf_addc(&body, '}');
    const struct question question = {.method = "POST", .path = &path, .body = &body};
    if (code == ERR_NONE)
        code = target_ask(target, &question, &answer, err);
    if (code == ERR_NONE)
        code = take_answer(&answer, query, NULL, &rows, err);
    buf_free(&path);
    buf_free(&body);
    buf_free(&answer);
    return code;
}

/* Page by page, each as it is at its time. */
static enum err_code export_there(struct target *target, const char *database, struct query *query,
                                  struct err *err)
{
    struct buf path, answer, key;
    enum err_code code = ERR_NONE;
    int64_t rows = 0;
    buf_init(&answer, BUF_UNLIMITED);
    buf_init(&key, BUF_UNLIMITED);
    do {
        path_make(&path, "/databases", database, "/export");
        path_query(&path, "after", query->rows > 0 ? buf_text(&key) : NULL);
        buf_clear(&answer);
        code = target_get(target, &path, &answer, err);
        if (code == ERR_NONE)
            code = take_answer(&answer, query, &key, &rows, err);
        buf_free(&path);
    } while (code == ERR_NONE && rows > 0);
    buf_free(&answer);
    buf_free(&key);
    return code;
}

/* ---- query, export ---- */

static enum err_code query_here(const struct target *target, const char *sql, struct query *query,
                                struct err *err)
{
    const struct db_sink sink = {.columns = query_columns, .row = query_row, .ctx = query};
    const struct db_statement statement = {.sql = sql};
    enum err_code code = store_query(target->folder, &statement, NULL, &sink, err);
    if (code == ERR_IO && strstr(err->message, "read-only") != NULL)
        code = err_set(err, ERR_DENIED, "db query only reads; rows are written by syncs");
    return code;
}

static int run_query(const struct cli_args *args)
{
    static const enum query_format formats[] = {QUERY_TABLE, QUERY_PLAIN, QUERY_JSON};
    struct query query = {.format = formats[cli_format(args)]};
    struct target target;
    struct err err;
    const char *sql = args->positional[0];
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    enum err_code code = target.remote != NULL ? query_there(&target, sql, &query, &err)
                                               : query_here(&target, sql, &query, &err);
    result = code == ERR_NONE ? query_print(&query) : target_fail(&target, &err);
    query_end(&query);
    target_close(&target);
    return result;
}

static const struct cli_option format_options[] = {CLI_FORMAT_OPTIONS, {NULL, NULL, NULL, NULL}};

const struct command cmd_db_query = {
    .name = "db query",
    .arguments = "SQL",
    .summary = "Run a read-only query",
    .help = "Every database is a table: workers db schema shows the columns.\n\n"
            "Examples:\n  workers db query 'SELECT name, population FROM countries ORDER BY 2 DESC LIMIT 5'\n"
            "  workers db query 'SELECT count(*) FROM tasks' --plain\n",
    .options = format_options,
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_query,
};

static enum err_code export_here(const struct target *target, const char *database, struct query *query,
                                 struct err *err)
{
    struct buf sql;
    buf_init(&sql, BUF_UNLIMITED);
    enum err_code code = store_export_sql(target->folder, database, false, &sql, err);
    if (code == ERR_NONE)
        code = query_here(target, buf_text(&sql), query, err);
    buf_free(&sql);
    return code;
}

static int run_export(const struct cli_args *args)
{
    struct target target;
    struct err err;
    const char *format = cli_value(args, "--format"), *database = args->positional[0];
    bool csv = format == NULL || strcmp(format, "csv") == 0;
    if (!csv && strcmp(format, "json") != 0)
        return cli_usage(args, "--format must be csv or json");
    struct query query = {.format = csv ? QUERY_CSV : QUERY_JSON};
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    enum err_code code = target.remote != NULL ? export_there(&target, database, &query, &err)
                                               : export_here(&target, database, &query, &err);
    result = code == ERR_NONE ? query_print(&query) : target_fail(&target, &err);
    query_end(&query);
    target_close(&target);
    return result;
}

static const struct cli_option export_options[] = {
    {"--format", NULL, "csv|json", "csv unless given"},
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_db_export = {
    .name = "db export",
    .arguments = "DATABASE",
    .summary = "Write all rows of a database as CSV or JSON",
    .help = "Examples:\n  workers db export tasks > tasks.csv\n  workers db export tasks --format json\n",
    .options = export_options,
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_export,
};

/* ---- list, schema ---- */

static int run_list(const struct cli_args *args)
{
    static const struct listing_column columns[] = {
        {.column = {.title = "database"}, .member = "database"},
        {.column = {.title = "title"}, .member = "title"},
        {.column = {.title = "table"}, .member = "table"},
        {.column = {.title = "rows", .align = TABLE_RIGHT}, .member = "rows"},
        {{0}, 0, 0, 0},
    };
    static const struct listing listing = {.columns = columns, .empty = "no databases yet"};
    return listing_run(args, &listing, "/databases");
}

const struct command cmd_db_list = {
    .name = "db list",
    .arguments = "",
    .summary = "List databases with their tables and row counts",
    .help = "Examples:\n  workers db list\n",
    .options = format_options,
    .remote = true,
    .run = run_list,
};

static int run_schema(const struct cli_args *args)
{
    static const struct listing_column columns[] = {
        {.column = {.title = "database"}, .member = "database"},
        {.column = {.title = "table"}, .member = "table"},
        {.column = {.title = "property"}, .member = "property"},
        {.column = {.title = "column"}, .member = "column"},
        {.column = {.title = "type"}, .member = "type"},
        {.column = {.title = "declared"}, .member = "declared"},
        {{0}, 0, 0, 0},
    };
    static const struct listing listing = {.columns = columns, .empty = "no databases yet"};
    return listing_run(args, &listing, "/schema");
}

const struct command cmd_db_schema = {
    .name = "db schema",
    .arguments = "",
    .summary = "Show which property is stored in which column",
    .help = "Examples:\n  workers db schema\n  workers db schema --json\n",
    .options = format_options,
    .remote = true,
    .run = run_schema,
};

/* ---- deleted rows ---- */

static int run_deleted(const struct cli_args *args)
{
    static const struct listing_column columns[] = {
        {.column = {.title = "DATABASE"}, .member = "database"},
        {.column = {.title = "KEY"}, .member = "key"},
        {.column = {.title = "DELETED"}, .member = "deletedAt", .kind = CELL_TIME},
        {.column = {.title = "RUN"}, .member = "runId"},
        {{0}, 0, 0, 0},
    };
    static const struct listing listing = {.columns = columns, .empty = "no deleted rows", .limit = 100};
    struct buf path;
    path_make(&path, "/deleted", NULL, NULL);
    path_query(&path, "database", args->count > 0 ? args->positional[0] : NULL);
    int result = listing_run(args, &listing, buf_text(&path));
    buf_free(&path);
    return result;
}

static const struct cli_option deleted_options[] = {
    {"--limit", NULL, "N", "how many, newest first; 100 unless given"},
    CLI_FORMAT_OPTIONS,
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_db_deleted = {
    .name = "db deleted",
    .arguments = "[DATABASE]",
    .summary = "List deleted rows that can be restored",
    .help = "Deleted rows are kept for 30 days (retention.deleted in workers.yaml).\n\n"
            "Examples:\n  workers db deleted\n  workers db deleted tasks --json\n",
    .options = deleted_options,
    .max_arguments = 1,
    .remote = true,
    .run = run_deleted,
};

static int run_restore(const struct cli_args *args)
{
    struct buf path, body, answer;
    struct err err;
    const char *run_id = cli_value(args, "--run");
    const char *key = args->count > 1 ? args->positional[1] : NULL;
    if (key == NULL && run_id == NULL && !cli_flag(args, "--all"))
        return cli_usage(args, "name the row's key, or --run ID for all that one run deleted, or --all");
    path_make(&path, "/databases", args->positional[0], "/restore");
    buf_init(&body, BUF_UNLIMITED);
    buf_init(&answer, BUF_UNLIMITED);
    buf_addf(&body, "{\"all\":%s", cli_flag(args, "--all") ? "true" : "false");
    enum err_code code = ERR_NONE;
    if (key != NULL) {
        buf_adds(&body, ",\"key\":");
        code = json_write_string(&body, key, strlen(key), &err);
    }
    if (run_id != NULL && code == ERR_NONE) {
        buf_adds(&body, ",\"runId\":");
        code = json_write_string(&body, run_id, strlen(run_id), &err);
    }
    buf_addc(&body, '}');
    const struct question question = {.method = "POST", .path = &path, .body = &body};
    int result = code == ERR_NONE ? cli_ask(args, &question, &answer) : cli_fail(&err);
    if (result == EXIT_DONE) {
        const struct json_slice object = {buf_text(&answer), answer.len};
        int64_t restored = object_number(&object, "restored");
        cli_note("%lld row%s restored", (long long)restored, restored == 1 ? "" : "s");
    }
    buf_free(&path);
    buf_free(&body);
    buf_free(&answer);
    return result;
}

static const struct cli_option restore_options[] = {
    {"--run", NULL, "ID", "every row that this run deleted"},
    {"--all", NULL, NULL, "every deleted row of the database"},
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_db_restore = {
    .name = "db restore",
    .arguments = "DATABASE [KEY]",
    .summary = "Put deleted rows back",
    .help = "A row that exists again is left as it is.\n\n"
            "Examples:\n  workers db restore tasks task-17\n  workers db restore tasks --run 0192f1c4-…\n  "
            "workers db restore tasks --all\n",
    .options = restore_options,
    .min_arguments = 1,
    .max_arguments = 2,
    .remote = true,
    .run = run_restore,
};
