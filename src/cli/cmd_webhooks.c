/* workers webhooks …: addresses of webhooks, and whether they are open. */
#include "cli/cli.h"
#include "cli/webhooks.h"

#include "base/json.h"
#include "server/beacon.h"
#include "engine/describe.h"

#include <string.h>

#define NO_SERVER "http://127.0.0.1:8321" /* where one would listen */

static enum err_code add_webhook(const struct webhooks_project *project, const struct capability *webhook,
                                 const char *base, struct table_printer *table, struct buf *json,
                                 struct err *err)
{
    struct endpoint endpoint;
    struct sync_info info;
    struct buf address;
    enum err_code code = store_endpoint_get(project->store, webhook->key, &endpoint, err);
    if (code == ERR_NONE)
        code = store_sync_info(project->store, webhook->key, &info, err);
    if (code != ERR_NONE)
        return code;
    buf_init(&address, 4096);
    webhooks_add_address(project, webhook, base, &endpoint, &address);
    table_cells(table, webhook->key);
    table_cells(table, describe_endpoint_state(&endpoint, info.paused));
    table_cells(table, webhook->has_verify ? "yes" : "no");
    table_cells(table, buf_text(&address));
    buf_adds(json, json->len > 1 ? "," : "");
    describe_webhook(webhook, &endpoint, info.paused, buf_text(&address), json);
    buf_free(&address);
    sync_info_free(&info);
    return ERR_NONE;
}

static int run_list(const struct cli_args *args)
{
    static const struct table_column columns[] = {
        {.title = "WEBHOOK"}, {.title = "STATE"}, {.title = "VERIFIES"}, {.title = "ADDRESS"}};
    struct webhooks_project project;
    struct err err;
    struct table_printer table;
    struct buf json;
    char base[BEACON_URL_MAX];
    int result = webhooks_open(&project);
    if (result != EXIT_DONE)
        return result;
    table_init(&table, columns, 4);
    buf_init(&json, BUF_UNLIMITED);
    buf_addc(&json, '[');
    if (beacon_read(project.project.folder, base, &err) != ERR_NONE)
        snprintf(base, sizeof base, "%s", NO_SERVER);
    const struct worker *worker = project.runtime->worker;
    enum err_code code = ERR_NONE;
    for (size_t i = 0; i < worker->capability_count && code == ERR_NONE; i++)
        if (worker->capabilities[i].kind == CAPABILITY_WEBHOOK)
            code = add_webhook(&project, &worker->capabilities[i], base, &table, &json, &err);
    result = code == ERR_NONE ? cli_print(cli_format(args), &table, &json, "the worker declares no webhooks")
                              : cli_fail(&err);
    table_free(&table);
    buf_free(&json);
    webhooks_close(&project);
    return result;
}

static int change(const struct cli_args *args,
                  enum err_code (*how)(struct store *store, const char *key, struct err *err),
                  const char *done)
{
    struct webhooks_project project;
    struct err err;
    int result = webhooks_open(&project);
    if (result != EXIT_DONE)
        return result;
    const struct capability *webhook = webhooks_find(&project, args->positional[0], &err);
    if (webhook == NULL || how(project.store, webhook->key, &err) != ERR_NONE)
        result = cli_fail(&err);
    else
        cli_note("webhook %s %s", webhook->key, done);
    webhooks_close(&project);
    return result;
}

static int run_reset(const struct cli_args *args)
{
    return change(args, store_endpoint_reset, "is open");
}

static int run_rotate(const struct cli_args *args)
{
    return change(args, store_endpoint_rotate,
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
    .run = run_rotate,
};
