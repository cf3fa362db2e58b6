/* workers runs list, get, logs. */
#include "cli/cli.h"

#include "base/iso8601.h"
#include "base/json.h"
#include "base/table.h"
#include "engine/describe.h"

#include <string.h>
#include <unistd.h>

struct listing {
    enum cli_format format;
    struct table_printer *table;
    struct buf json;
    char id[STORE_ID_SIZE]; /* of the last run */
    bool running;
};

static void describe_changes(const struct run_record *run, struct buf *out)
{
    const struct {
        int64_t count;
        const char *name;
    } parts[] = {{run->counts.added, "added"},
                 {run->counts.changed, "changed"},
                 {run->counts.deleted, "deleted"},
                 {run->counts.unchanged, "unchanged"},
                 {run->counts.stale, "stale"}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i].count > 0)
            buf_addf(out, "%s%lld %s", out->len > 0 ? ", " : "", (long long)parts[i].count, parts[i].name);
}

static enum err_code list_run(void *ctx, const struct run_record *run)
{
    struct listing *listing = ctx;
    struct buf changes;
    buf_init(&changes, 1024);
    describe_changes(run, &changes);
    buf_adds(&listing->json, listing->json.len > 1 ? "," : "");
    describe_run(run, &listing->json);
    table_cells(listing->table, run->id);
    table_cellf(listing->table, "%s:%s", run->kind, run->key);
    if (run->exit_code < 0)
        table_cells(listing->table, listing->format == FORMAT_PLAIN ? "" : "running");
    else
        table_cellf(listing->table, "%d", run->exit_code);
    cli_time_cell(listing->table, listing->format, run->started_ms);
    if (run->ended_ms == 0)
        table_cells(listing->table, "");
    else
        cli_time_cell(listing->table, listing->format, run->ended_ms);
    table_cells(listing->table, buf_text(&changes));
    buf_free(&changes);
    return ERR_NONE;
}

static int run_list(const struct cli_args *args)
{
    static const struct table_column columns[] = {
        {.title = "RUN"},     {.title = "WHAT"},  {.title = "EXIT", .align = TABLE_RIGHT},
        {.title = "STARTED"}, {.title = "ENDED"}, {.title = "ROWS"}};
    struct project project;
    struct store *store = NULL;
    struct err err;
    struct table_printer table;
    struct listing listing = {.format = cli_format(args), .table = &table};
    int64_t limit = 50;
    const char *given = cli_value(args, "--limit");
    if (given != NULL && (!cli_number(given, &limit) || limit < 1))
        return cli_usage(args, "--limit must be a whole number of at least 1");
    int result = cli_open(false, &project, &store);
    if (result != EXIT_DONE)
        return result;
    table_init(&table, columns, 6);
    buf_init(&listing.json, BUF_UNLIMITED);
    buf_addc(&listing.json, '[');
    if (store_runs_list(store, cli_value(args, "--key"), cli_flag(args, "--failed"), limit, list_run,
                        &listing, &err) != ERR_NONE)
        result = cli_fail(&err);
    else
        result = cli_print(listing.format, &table, &listing.json, "no runs");
    table_free(&table);
    buf_free(&listing.json);
    store_close(store);
    project_free(&project);
    return result;
}

static const struct cli_option list_options[] = {
    {"--key", NULL, "KEY", "only of one capability"},
    {"--failed", NULL, NULL, "only those that failed"},
    {"--limit", NULL, "N", "how many, newest first; 50 unless given"},
    CLI_FORMAT_OPTIONS,
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_runs_list = {
    .name = "runs list",
    .arguments = "",
    .summary = "List recorded runs, newest first",
    .help = "Examples:\n  workers runs list\n  workers runs list --key tasks --failed\n  workers runs list "
            "--plain | head -n1 | cut -f1\n",
    .options = list_options,
    .run = run_list,
};

static enum err_code get_run(void *ctx, const struct run_record *run)
{
    struct listing *listing = ctx;
    snprintf(listing->id, sizeof listing->id, "%s", run->id);
    listing->running = run->exit_code < 0;
    describe_run(run, &listing->json);
    return ERR_NONE;
}

static int run_get(const struct cli_args *args)
{
    struct project project;
    struct store *store = NULL;
    struct err err;
    struct buf pretty;
    struct listing listing = {0};
    int result = cli_open(false, &project, &store);
    if (result != EXIT_DONE)
        return result;
    buf_init(&listing.json, BUF_UNLIMITED);
    buf_init(&pretty, BUF_UNLIMITED);
    enum err_code code = store_run_get(store, args->positional[0], get_run, &listing, &err);
    if (code == ERR_NONE)
        code = json_reindent(buf_text(&listing.json), listing.json.len, &pretty, &err);
    if (code == ERR_NONE)
        printf("%s\n", buf_text(&pretty));
    result = code == ERR_NONE ? EXIT_DONE : cli_fail(&err);
    buf_free(&listing.json);
    buf_free(&pretty);
    store_close(store);
    project_free(&project);
    return result;
}

const struct command cmd_runs_get = {
    .name = "runs get",
    .arguments = "ID",
    .summary = "Show one run as JSON",
    .help = "The beginning of an id is enough, as long as it is unique.\n\nExamples:\n  workers runs get "
            "0192f1\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_get,
};

struct follow {
    bool json;
    int64_t last_id;
};

static enum err_code print_line(void *ctx, int64_t id, int64_t at_ms, const char *level, const char *text,
                                size_t len)
{
    struct follow *follow = ctx;
    char time[ISO_UTC_SIZE];
    follow->last_id = id;
    iso_format_utc(at_ms, time);
    if (!follow->json) {
        printf("%s %-5s %.*s\n", time, level, (int)len, text);
        return ERR_NONE;
    }
    struct buf line;
    struct err ignored;
    buf_init(&line, BUF_UNLIMITED);
    buf_addf(&line, "{\"at\":\"%s\",\"level\":\"%s\",\"text\":", time, level);
    if (json_write_string(&line, text, len, &ignored) != ERR_NONE)
        buf_adds(&line, "\"(not valid UTF-8)\"");
    printf("%s}\n", buf_text(&line));
    buf_free(&line);
    return ERR_NONE;
}

static int run_logs(const struct cli_args *args)
{
    struct project project;
    struct store *store = NULL;
    struct err err;
    struct listing listing = {0};
    struct follow follow = {.json = cli_flag(args, "--json")};
    int result = cli_open(false, &project, &store);
    if (result != EXIT_DONE)
        return result;
    buf_init(&listing.json, BUF_UNLIMITED);
    enum err_code code;
    do {
        code = store_run_get(store, args->positional[0], get_run, &listing, &err);
        if (code == ERR_NONE)
            code = store_logs_each(store, listing.id, follow.last_id, print_line, &follow, &err);
        fflush(stdout);
        if (code == ERR_NONE && listing.running && cli_flag(args, "--follow"))
            usleep(300 * 1000);
    } while (code == ERR_NONE && listing.running && cli_flag(args, "--follow"));
    result = code == ERR_NONE ? EXIT_DONE : cli_fail(&err);
    buf_free(&listing.json);
    store_close(store);
    project_free(&project);
    return result;
}

static const struct cli_option logs_options[] = {
    {"--follow", "-f", NULL, "go on until the run ends"},
    {"--json", NULL, NULL, "one JSON object a line"},
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_runs_logs = {
    .name = "runs logs",
    .arguments = "ID",
    .summary = "Print the log of a run",
    .help = "Examples:\n  workers runs logs 0192f1\n  workers runs logs 0192f1 --follow\n",
    .options = logs_options,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_logs,
};
