/* workers capabilities list, enable, disable. */
#include "cli/cli.h"

#include "base/json.h"
#include "base/table.h"

#include <string.h>

static int run_list(const struct cli_args *args)
{
    static const struct table_column columns[] = {
        {.title = "KIND"}, {.title = "KEY"}, {.title = "TITLE", .max_width = 60}};
    struct project project;
    struct runtime *runtime = NULL;
    struct script_error error;
    struct err err;
    if (project_open(NULL, ".", &project, &err) != ERR_NONE)
        return cli_fail(&err);
    script_error_init(&error);
    int result;
    if (cli_runtime_open(&project, NULL, NULL, &runtime, &error) != ERR_NONE) {
        result = cli_fail_script(&error);
    } else {
        struct table_printer table;
        struct buf json;
        table_init(&table, columns, 3);
        buf_init(&json, BUF_UNLIMITED);
        buf_addc(&json, '[');
        for (size_t i = 0; i < runtime->worker->capability_count; i++) {
            const struct capability *capability = &runtime->worker->capabilities[i];
            table_cells(&table, capability_kind_name(capability->kind));
            table_cells(&table, capability->key);
            table_cells(&table, capability->title);
            buf_addf(&json, "%s{\"kind\":\"%s\",\"key\":", i > 0 ? "," : "",
                     capability_kind_name(capability->kind));
            json_write_text(&json, capability->key);
            buf_addc(&json, '}');
        }
        result = cli_print(cli_format(args), &table, &json, "the worker has no capabilities");
        table_free(&table);
        buf_free(&json);
    }
    runtime_free(runtime);
    script_error_free(&error);
    project_free(&project);
    return result;
}

static const struct cli_option options[] = {CLI_FORMAT_OPTIONS, {NULL, NULL, NULL, NULL}};

const struct command cmd_capabilities_list = {
    .name = "capabilities list",
    .arguments = "",
    .summary = "List what the worker can run",
    .help = "Examples:\n  workers capabilities list\n  workers capabilities list --plain\n",
    .options = options,
    .run = run_list,
};

static int run_enable(const struct cli_args *args)
{
    return cmd_sync_resume.run(args);
}

static int run_disable(const struct cli_args *args)
{
    return cmd_sync_pause.run(args);
}

const struct command cmd_capabilities_enable = {
    .name = "capabilities enable",
    .arguments = "KEY",
    .summary = "The same as sync resume",
    .help = "Examples:\n  workers capabilities enable tasks\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_enable,
};

const struct command cmd_capabilities_disable = {
    .name = "capabilities disable",
    .arguments = "KEY",
    .summary = "The same as sync pause",
    .help = "Examples:\n  workers capabilities disable tasks\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_disable,
};
