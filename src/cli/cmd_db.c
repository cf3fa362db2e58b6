/* workers db …: the databases and their rows. */
#include "cli/cli.h"

#include "base/iso8601.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/table.h"

#include <limits.h>
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

static int print_query(const struct project *project, const char *sql, enum query_format format)
{
    char folder[PATH_MAX + 16];
    struct err err;
    struct query query = {.format = format};
    const struct db_sink sink = {.columns = query_columns, .row = query_row, .ctx = &query};
    snprintf(folder, sizeof folder, "%s/.workers", project->folder);
    int result = EXIT_DONE;
    if (store_query(folder, sql, &sink, &err) != ERR_NONE) {
        if (err.code == ERR_IO && strstr(err.message, "read-only") != NULL)
            err_set(&err, ERR_DENIED, "db query only reads; rows are written by syncs");
        result = cli_fail(&err);
    } else if (format == QUERY_JSON) {
        printf("\n]\n");
    } else if (format != QUERY_CSV && query.count > 0) {
        struct buf ignored;
        buf_init(&ignored, 1);
        result =
            cli_print(format == QUERY_PLAIN ? FORMAT_PLAIN : FORMAT_TABLE, &query.table, &ignored, "no rows");
        if (format == QUERY_TABLE && query.rows > 0)
            cli_note("%lld row%s", (long long)query.rows, query.rows == 1 ? "" : "s");
    }
    if (query.count > 0)
        table_free(&query.table);
    for (int i = 0; i < query.count; i++)
        mem_free(query.names[i]);
    mem_free(query.names);
    mem_free(query.columns);
    return result;
}

static int query_project(const char *sql, enum query_format format)
{
    struct project project;
    struct err err;
    if (project_open(NULL, ".", &project, &err) != ERR_NONE)
        return cli_fail(&err);
    int result = print_query(&project, sql, format);
    project_free(&project);
    return result;
}

static enum query_format format_of(const struct cli_args *args)
{
    static const enum query_format formats[] = {QUERY_TABLE, QUERY_PLAIN, QUERY_JSON};
    return formats[cli_format(args)];
}

static const struct cli_option format_options[] = {CLI_FORMAT_OPTIONS, {NULL, NULL, NULL, NULL}};

/* ---- list, schema, query, export ---- */

static int run_list(const struct cli_args *args)
{
    struct project project;
    struct err err;
    struct store *store = NULL;
    if (project_open(NULL, ".", &project, &err) != ERR_NONE)
        return cli_fail(&err);
    /* One count for each table, put together from what the store knows. */
    int result = EXIT_DONE;
    struct buf sql;
    buf_init(&sql, BUF_UNLIMITED);
    if (cli_store_open(&project, false, &store, &err) != ERR_NONE)
        result = cli_fail(&err);
    else if (store_list_sql(store, &sql, &err) != ERR_NONE)
        result = cli_fail(&err);
    store_close(store);
    if (result == EXIT_DONE && sql.len == 0)
        cli_note("no databases yet");
    else if (result == EXIT_DONE)
        result = print_query(&project, buf_text(&sql), format_of(args));
    buf_free(&sql);
    project_free(&project);
    return result;
}

const struct command cmd_db_list = {
    .name = "db list",
    .arguments = "",
    .summary = "List databases with their tables and row counts",
    .help = "Examples:\n  workers db list\n",
    .options = format_options,
    .run = run_list,
};

static int run_schema(const struct cli_args *args)
{
    static const char sql[] = "SELECT c.database AS database, d.table_name AS \"table\", c.property AS "
                              "property, c.column_name AS \"column\", c.type AS"
                              " type, CASE c.declared WHEN 1 THEN 'yes' ELSE 'no' END AS declared FROM "
                              "_workers_columns AS c JOIN _workers_databases"
                              " AS d ON d.key = c.database ORDER BY c.database, c.declared DESC, c.position";
    return query_project(sql, format_of(args));
}

const struct command cmd_db_schema = {
    .name = "db schema",
    .arguments = "",
    .summary = "Show which property is stored in which column",
    .help = "Examples:\n  workers db schema\n  workers db schema --json\n",
    .options = format_options,
    .run = run_schema,
};

static int run_query(const struct cli_args *args)
{
    return query_project(args->positional[0], format_of(args));
}

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
    .run = run_query,
};

static int run_export(const struct cli_args *args)
{
    char sql[4400], quoted[2100], table[1024] = "";
    struct project project;
    struct err err;
    struct store *store = NULL;
    const char *format = cli_value(args, "--format");
    bool csv = format == NULL || strcmp(format, "csv") == 0;
    if (!csv && strcmp(format, "json") != 0)
        return cli_usage(args, "--format must be csv or json");
    if (project_open(NULL, ".", &project, &err) != ERR_NONE)
        return cli_fail(&err);
    int result = EXIT_DONE;
    if (cli_store_open(&project, false, &store, &err) != ERR_NONE ||
        store_table_name(store, args->positional[0], table, sizeof table, &err) != ERR_NONE)
        result = cli_fail(&err);
    store_close(store);
    if (result == EXIT_DONE) {
        snprintf(sql, sizeof sql, "SELECT * FROM %s ORDER BY _key", db_quote(table, quoted, sizeof quoted));
        result = print_query(&project, sql, csv ? QUERY_CSV : QUERY_JSON);
    }
    project_free(&project);
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
    .run = run_export,
};

/* ---- deleted rows ---- */

struct listing {
    enum cli_format format;
    struct table_printer *table;
    struct buf json;
};

static enum err_code list_deleted(void *ctx, const struct deleted_row *row)
{
    struct listing *listing = ctx;
    char time[40];
    table_cells(listing->table, row->database);
    table_cells(listing->table, row->key);
    cli_time_cell(listing->table, listing->format, row->deleted_ms);
    table_cells(listing->table, row->run_id);
    buf_adds(&listing->json, listing->json.len > 1 ? ",{\"database\":" : "{\"database\":");
    json_write_text(&listing->json, row->database);
    buf_adds(&listing->json, ",\"key\":");
    json_write_text(&listing->json, row->key);
    buf_addf(&listing->json, ",\"deletedAt\":\"%s\",\"row\":%s}", iso_format_utc(row->deleted_ms, time),
             row->row);
    return ERR_NONE;
}

static int run_deleted(const struct cli_args *args)
{
    static const struct table_column columns[] = {
        {.title = "DATABASE"}, {.title = "KEY"}, {.title = "DELETED"}, {.title = "RUN"}};
    struct project project;
    struct store *store = NULL;
    struct err err;
    struct table_printer table;
    struct listing listing = {.format = cli_format(args), .table = &table};
    int64_t limit = 100;
    const char *given = cli_value(args, "--limit");
    if (given != NULL && (!cli_number(given, &limit) || limit < 1))
        return cli_usage(args, "--limit must be a whole number of at least 1");
    if (project_open(NULL, ".", &project, &err) != ERR_NONE)
        return cli_fail(&err);
    table_init(&table, columns, 4);
    buf_init(&listing.json, BUF_UNLIMITED);
    buf_addc(&listing.json, '[');
    int result;
    if (cli_store_open(&project, false, &store, &err) != ERR_NONE ||
        store_deleted_list(store, args->count > 0 ? args->positional[0] : NULL, limit, list_deleted, &listing,
                           &err) != ERR_NONE)
        result = cli_fail(&err);
    else
        result = cli_print(listing.format, &table, &listing.json, "no deleted rows");
    table_free(&table);
    buf_free(&listing.json);
    store_close(store);
    project_free(&project);
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
    .run = run_deleted,
};

static int run_restore(const struct cli_args *args)
{
    struct project project;
    struct runtime *runtime = NULL;
    struct script_error error;
    struct store *store = NULL;
    struct buf report;
    struct err err;
    int64_t restored = 0;
    const char *run_id = cli_value(args, "--run");
    const char *key = args->count > 1 ? args->positional[1] : NULL;
    if (key == NULL && run_id == NULL && !cli_flag(args, "--all"))
        return cli_usage(args, "name the row's key, or --run ID for all that one run deleted, or --all");
    if (project_open(NULL, ".", &project, &err) != ERR_NONE)
        return cli_fail(&err);
    script_error_init(&error);
    buf_init(&report, (size_t)1024 * 1024);
    int result = EXIT_DONE;
    if (cli_runtime_open(&project, NULL, NULL, &runtime, &error) != ERR_NONE)
        result = cli_fail_script(&error);
    else if (cli_store_open(&project, false, &store, &err) != ERR_NONE ||
             store_use(store, runtime->worker, &report, &err) != ERR_NONE ||
             store_deleted_restore(store, args->positional[0], key, run_id, &restored, &err) != ERR_NONE)
        result = cli_fail(&err);
    else
        cli_note("%lld row%s restored", (long long)restored, restored == 1 ? "" : "s");
    buf_free(&report);
    store_close(store);
    runtime_free(runtime);
    script_error_free(&error);
    project_free(&project);
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
    .run = run_restore,
};
