/* workers capabilities list, enable, disable. */
#include "cli/cli.h"

#include "base/mem.h"
#include "base/table.h"
#include "engine/describe.h"

#include <string.h>

/* Two cells. */
static void add_schedule(struct table_printer *table, const struct cli_args *args,
                         const struct capability *capability, const struct capability_info *info)
{
    struct buf schedule;
    buf_init(&schedule, 1024);
    if (capability->kind == CAPABILITY_SYNC || capability->kind == CAPABILITY_JOB)
        schedule_describe(&capability->schedule, &schedule);
    table_cells(table, buf_text(&schedule));
    buf_free(&schedule);
    if (info->paused)
        table_cells(table, "disabled");
    else if (info->next_ms == 0)
        table_cells(table, "");
    else
        cli_time_cell(table, cli_format(args), info->next_ms);
}

static int run_list(const struct cli_args *args)
{
    static const struct table_column columns[] = {{.title = "KIND"},
                                                  {.title = "KEY"},
                                                  {.title = "TITLE", .max_width = 60},
                                                  {.title = "SCHEDULE"},
                                                  {.title = "NEXT RUN"}};
    struct project project;
    struct store *store = NULL;
    struct capability_info *infos = NULL;
    struct runtime *runtime = NULL;
    struct script_error error;
    struct err err;
    if (project_open(NULL, ".", &project, &err) != ERR_NONE)
        return cli_fail(&err);
    script_error_init(&error);
    int result;
    enum err_code code = cli_store_open(&project, false, &store, &err);
    if (cli_runtime_open(&project, NULL, NULL, &runtime, &error) != ERR_NONE) {
        result = cli_fail_script(&error);
    } else if ((code != ERR_NONE && code != ERR_NOT_FOUND) ||
               (infos = capability_infos(store, runtime->worker, &err)) == NULL) {
        result = cli_fail(&err);
    } else {
        struct table_printer table;
        struct buf json;
        table_init(&table, columns, 5);
        buf_init(&json, BUF_UNLIMITED);
        buf_addc(&json, '[');
        for (size_t i = 0; i < runtime->worker->capability_count; i++) {
            const struct capability *capability = &runtime->worker->capabilities[i];
            table_cells(&table, capability_kind_name(capability->kind));
            table_cells(&table, capability->key);
            table_cells(&table, capability->title);
            add_schedule(&table, args, capability, &infos[i]);
            buf_adds(&json, i > 0 ? "," : "");
            describe_capability(capability, &infos[i], &json);
        }
        result = cli_print(cli_format(args), &table, &json, "the worker has no capabilities");
        table_free(&table);
        buf_free(&json);
    }
    mem_free(infos);
    store_close(store);
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
    .help = "With schedules, and when workers serve runs each next.\n\nExamples:\n  workers capabilities "
            "list\n  workers capabilities list --plain\n",
    .options = options,
    .run = run_list,
};

static int set_paused(const struct cli_args *args, bool paused)
{
    struct project project;
    struct runtime *runtime = NULL;
    struct store *store = NULL;
    struct script_error error;
    struct err err;
    if (project_open(NULL, ".", &project, &err) != ERR_NONE)
        return cli_fail(&err);
    script_error_init(&error);
    int result = EXIT_DONE;
    const char *key = args->positional[0];
    const struct capability *capability = NULL;
    if (cli_runtime_open(&project, NULL, NULL, &runtime, &error) != ERR_NONE) {
        result = cli_fail_script(&error);
    } else if ((capability = worker_capability(runtime->worker, key)) == NULL) {
        cli_no_capability(runtime->worker, key, &err);
        result = cli_fail(&err);
    } else if (capability->kind == CAPABILITY_TOOL) {
        err_set(&err, ERR_INVALID, "\"%s\" is a tool, which runs only when it is called", key);
        result = cli_fail(&err);
    } else if (cli_store_open(&project, true, &store, &err) != ERR_NONE ||
               store_sync_pause(store, key, paused, &err) != ERR_NONE) {
        result = cli_fail(&err);
    } else {
        cli_note("%s: %s", key,
                 paused ? "disabled: workers capabilities enable lets it run again" : "enabled");
    }
    store_close(store);
    runtime_free(runtime);
    script_error_free(&error);
    project_free(&project);
    return result;
}

static int run_enable(const struct cli_args *args)
{
    return set_paused(args, false);
}

static int run_disable(const struct cli_args *args)
{
    return set_paused(args, true);
}

const struct command cmd_capabilities_enable = {
    .name = "capabilities enable",
    .arguments = "KEY",
    .summary = "Let a capability run again",
    .help = "Examples:\n  workers capabilities enable tasks\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_enable,
};

const struct command cmd_capabilities_disable = {
    .name = "capabilities disable",
    .arguments = "KEY",
    .summary = "Keep a capability from running by itself",
    .help = "Examples:\n  workers capabilities disable tasks\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_disable,
};
