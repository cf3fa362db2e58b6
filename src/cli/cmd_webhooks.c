/* workers webhooks …: addresses of webhooks, and whether they are open. */
#include "cli/listing.h"

static void write_verifies(const struct json_slice *webhook, bool plain, struct buf *out)
{
    (void)plain;
    buf_adds(out, object_flag(webhook, "verify") ? "yes" : "no");
}

static int run_list(const struct cli_args *args)
{
    static const struct listing_column columns[] = {
        {.column = {.title = "WEBHOOK"}, .member = "key"},
        {.column = {.title = "STATE"}, .member = "state"},
        {.column = {.title = "VERIFIES"}, .write = write_verifies},
        {.column = {.title = "ADDRESS"}, .member = "url"},
        {{0}, 0, 0, 0},
    };
    static const struct listing listing = {.columns = columns, .empty = "the worker declares no webhooks"};
    return listing_run(args, &listing, "/webhooks");
}

static int change(const struct cli_args *args, const char *action, const char *done)
{
    struct buf path;
    path_make(&path, "/webhooks", args->positional[0], "/");
    buf_adds(&path, action);
    const struct question question = {.method = "POST", .path = &path};
    int result = cli_ask(args, &question, NULL);
    if (result == EXIT_DONE)
        cli_note("webhook %s %s", args->positional[0], done);
    buf_free(&path);
    return result;
}

static int run_reset(const struct cli_args *args)
{
    return change(args, "reset", "is open");
}

static int run_rotate(const struct cli_args *args)
{
    return change(args, "rotate",
                  "has a new address, and the old one is gone: workers webhooks list shows it");
}

static const struct cli_option list_options[] = {
    CLI_FORMAT_OPTIONS,
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_webhooks_list = {
    .name = "webhooks list",
    .arguments = "",
    .summary = "List webhooks with their addresses",
    .help =
        "An address holds a secret: whoever knows it can send to it. Begin it with the server's public name\n"
        "when the server is behind a proxy (workers serve --url).\n\n"
        "Examples:\n  workers webhooks list\n  workers webhooks list --json\n",
    .options = list_options,
    .remote = true,
    .run = run_list,
};

const struct command cmd_webhooks_reset = {
    .name = "webhooks reset",
    .arguments = "KEY",
    .summary = "Open a webhook again that was closed",
    .help = "A webhook is closed when five verifications in a row have failed.\n\n"
            "Examples:\n  workers webhooks reset onPush\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_reset,
};

const struct command cmd_webhooks_rotate = {
    .name = "webhooks rotate",
    .arguments = "KEY",
    .summary = "Give a webhook a new address",
    .help = "For when the address has become known. The old one is gone at once.\n\n"
            "Examples:\n  workers webhooks rotate onPush\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_rotate,
};
