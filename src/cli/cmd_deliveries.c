/* workers deliveries …: what was sent to capabilities, and what became of it. */
#include "cli/listing.h"

static void write_to(const struct json_slice *delivery, bool plain, struct buf *out)
{
    (void)plain;
    object_add(delivery, "kind", out);
    buf_addc(out, ':');
    object_add(delivery, "key", out);
}

static int run_list(const struct cli_args *args)
{
    static const struct listing_column columns[] = {
        {.column = {.title = "DELIVERY"}, .member = "id"},
        {.column = {.title = "TO"}, .write = write_to},
        {.column = {.title = "STATE"}, .member = "state"},
        {.column = {.title = "TRIES", .align = TABLE_RIGHT}, .member = "attempts"},
        {.column = {.title = "CAME"}, .member = "createdAt", .kind = CELL_TIME},
        {.column = {.title = "ERROR"}, .member = "error"},
        {{0}, 0, 0, 0},
    };
    static const struct listing listing = {.columns = columns, .empty = "no deliveries", .limit = 50};
    struct buf path;
    const char *state = cli_value(args, "--state");
    if (state != NULL && !delivery_state_known(state))
        return cli_usage(args, "--state must be " DELIVERY_STATES);
    path_make(&path, "/deliveries", NULL, NULL);
    path_query(&path, "key", cli_value(args, "--key"));
    path_query(&path, "state", state);
    int result = listing_run(args, &listing, buf_text(&path));
    buf_free(&path);
    return result;
}

static int run_get(const struct cli_args *args)
{
    return listing_one(args, "/deliveries", args->positional[0]);
}

static int run_replay(const struct cli_args *args)
{
    struct buf path;
    path_make(&path, "/deliveries", args->positional[0], "/replay");
    const struct question question = {.method = "POST", .path = &path};
    int result = cli_ask(args, &question, NULL);
    if (result == EXIT_DONE)
        cli_note("the delivery is ready again; workers serve runs it");
    buf_free(&path);
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
    .remote = true,
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
    .remote = true,
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
    .remote = true,
    .run = run_replay,
};
