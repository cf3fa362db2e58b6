/* workers deliveries …: what was sent to capabilities, and what became of it. */
#include "cli/cli.h"

#include "base/iso8601.h"
#include "base/json.h"
#include "engine/describe.h"

#include <string.h>

struct listing {
    enum cli_format format;
    struct table_printer *table;
    struct buf json;
};

static enum err_code list_one(void *ctx, const struct delivery_record *record)
{
    struct listing *listing = ctx;
    buf_adds(&listing->json, listing->json.len > 1 ? "," : "");
    describe_delivery(record, &listing->json);
    table_cells(listing->table, record->id);
    table_cellf(listing->table, "%s:%s", record->kind, record->key);
    table_cells(listing->table, record->state);
    table_cellf(listing->table, "%lld", (long long)record->attempts);
    cli_time_cell(listing->table, listing->format, record->created_ms);
    table_cells(listing->table, record->error != NULL ? record->error : "");
    return ERR_NONE;
}

static int run_list(const struct cli_args *args)
{
    static const struct table_column columns[] = {
        {.title = "DELIVERY"}, {.title = "TO"},
        {.title = "STATE"},    {.title = "TRIES", .align = TABLE_RIGHT},
        {.title = "CAME"},     {.title = "ERROR"}};
    struct project project;
    struct store *store = NULL;
    struct err err;
    struct table_printer table;
    struct listing listing = {.format = cli_format(args), .table = &table};
    int64_t limit = 50;
    const char *given = cli_value(args, "--limit"), *state = cli_value(args, "--state");
    if (state != NULL && !delivery_state_known(state))
        return cli_usage(args, "--state must be " DELIVERY_STATES);
    if (given != NULL && (!cli_number(given, &limit) || limit < 1))
        return cli_usage(args, "--limit must be a whole number of at least 1");
    int result = cli_open(false, &project, &store);
    if (result != EXIT_DONE)
        return result;
    table_init(&table, columns, 6);
    buf_init(&listing.json, BUF_UNLIMITED);
    buf_addc(&listing.json, '[');
    if (store_deliveries_list(store, cli_value(args, "--key"), state, limit, list_one, &listing, &err) !=
        ERR_NONE)
        result = cli_fail(&err);
    else
        result = cli_print(listing.format, &table, &listing.json, "no deliveries");
    table_free(&table);
    buf_free(&listing.json);
    store_close(store);
    project_free(&project);
    return result;
}

static enum err_code get_one(void *ctx, const struct delivery_record *record)
{
    describe_delivery(record, ctx);
    return ERR_NONE;
}

static int run_get(const struct cli_args *args)
{
    struct project project;
    struct store *store = NULL;
    struct err err;
    struct buf json, pretty;
    int result = cli_open(false, &project, &store);
    if (result != EXIT_DONE)
        return result;
    buf_init(&json, BUF_UNLIMITED);
    buf_init(&pretty, BUF_UNLIMITED);
    enum err_code code = store_delivery_get(store, args->positional[0], get_one, &json, &err);
    if (code == ERR_NONE)
        code = json_reindent(buf_text(&json), json.len, &pretty, &err);
    if (code == ERR_NONE)
        printf("%s\n", buf_text(&pretty));
    else
        result = cli_fail(&err);
    buf_free(&json);
    buf_free(&pretty);
    store_close(store);
    project_free(&project);
    return result;
}

static int run_replay(const struct cli_args *args)
{
    struct project project;
    struct store *store = NULL;
    struct err err;
    int result = cli_open(false, &project, &store);
    if (result != EXIT_DONE)
        return result;
    if (store_delivery_replay(store, args->positional[0], &err) != ERR_NONE)
        result = cli_fail(&err);
    else
        cli_note("the delivery is ready again; workers serve runs it");
    store_close(store);
    project_free(&project);
    return result;
}

static const struct cli_option list_options[] = {
    {"--key", NULL, "KEY", "only to one capability"},
    {"--state", NULL, "STATE", "only those that are ready, running, done or dead"},
    {"--limit", NULL, "N", "how many, newest first; 50 unless given"},
    CLI_FORMAT_OPTIONS,
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_deliveries_list = {
    .name = "deliveries list",
    .arguments = "",
    .summary = "List deliveries to webhooks, jobs and automations",
    .help =
        "A delivery is ready until it runs, and done when that went well. After four attempts it is dead.\n\n"
        "Examples:\n  workers deliveries list\n  workers deliveries list --key onPush --state dead\n",
    .options = list_options,
    .run = run_list,
};

const struct command cmd_deliveries_get = {
    .name = "deliveries get",
    .arguments = "ID",
    .summary = "Show one delivery as JSON, with what it carries",
    .help = "The beginning of an id is enough, as long as it is unique.\n\n"
            "Examples:\n  workers deliveries get 0192f1\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_get,
};

const struct command cmd_deliveries_replay = {
    .name = "deliveries replay",
    .arguments = "ID",
    .summary = "Deliver again what has ended",
    .help = "Also what is done: the capability gets the same event with the same deliveryId.\n\n"
            "Examples:\n  workers deliveries replay 0192f1\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_replay,
};
