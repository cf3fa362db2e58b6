/* workers sync …: how syncs stand, running one, pausing, and their state. */
#include "cli/cli.h"

#include "base/iso8601.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/table.h"
#include "cli/run_syncs.h"
#include "engine/describe.h"

#include <string.h>
#include <unistd.h>

/* The project with its script loaded, and its store when there is one. */
struct opened {
    struct project project;
    struct runtime *runtime;
    struct store *store; /* NULL when nothing has run yet */
};

static void close_all(struct opened *opened)
{
    store_close(opened->store);
    runtime_free(opened->runtime);
    project_free(&opened->project);
}

static int open_all(struct opened *opened)
{
    struct err err;
    struct script_error error;
    *opened = (struct opened){0};
    if (project_open(NULL, ".", &opened->project, &err) != ERR_NONE)
        return cli_fail(&err);
    script_error_init(&error);
    int result = EXIT_DONE;
    if (cli_runtime_open(&opened->project, NULL, NULL, &opened->runtime, &error) != ERR_NONE)
        result = cli_fail_script(&error);
    script_error_free(&error);
    enum err_code code =
        result == EXIT_DONE ? cli_store_open(&opened->project, false, &opened->store, &err) : ERR_NONE;
    if (code != ERR_NONE && code != ERR_NOT_FOUND)
        result = cli_fail(&err);
    if (result != EXIT_DONE)
        close_all(opened);
    return result;
}

static const struct capability *find_sync(const struct opened *opened, const char *key, struct err *err)
{
    const struct capability *sync = worker_capability(opened->runtime->worker, key);
    if (sync != NULL && sync->kind == CAPABILITY_SYNC)
        return sync;
    if (sync != NULL)
        err_set(err, ERR_INVALID, "\"%s\" is a %s, not a sync", key, capability_kind_name(sync->kind));
    else
        err_set(err, ERR_NOT_FOUND, "the worker has no sync \"%s\": workers capabilities list shows them",
                key);
    return NULL;
}

/* ---- status ---- */

static int print_status(const struct opened *opened, const struct cli_args *args)
{
    static const struct table_column columns[] = {
        {.title = "SYNC"},
        {.title = "STATUS"},
        {.title = "MODE"},
        {.title = "SCHEDULE"},
        {.title = "LAST RUN"},
        {.title = "LAST SUCCESS"},
        {.title = "NEXT RUN"},
        {.title = "STATE", .align = TABLE_RIGHT},
        {.title = "NOTE", .max_width = 80},
    };
    struct table_printer table;
    struct buf json;
    struct err err;
    const char *only = args->count > 0 ? args->positional[0] : NULL;
    enum err_code code = only != NULL && find_sync(opened, only, &err) == NULL ? err.code : ERR_NONE;
    table_init(&table, columns, sizeof columns / sizeof columns[0]);
    buf_init(&json, BUF_UNLIMITED);
    buf_addc(&json, '[');
    const struct worker *worker = opened->runtime->worker;
    for (size_t i = 0; i < worker->capability_count && code == ERR_NONE; i++) {
        const struct capability *sync = &worker->capabilities[i];
        struct sync_info info = {0};
        struct buf schedule;
        if (sync->kind != CAPABILITY_SYNC || (only != NULL && strcmp(sync->key, only) != 0))
            continue;
        if (opened->store != NULL)
            code = store_sync_info(opened->store, sync->key, &info, &err);
        buf_init(&schedule, 1024);
        schedule_describe(&sync->schedule, &schedule);
        table_cells(&table, sync->key);
        table_cellf(&table, "%s%s", sync_status_name(info.status), info.running ? " (running)" : "");
        table_cells(&table, sync->mode == SYNC_REPLACE ? "replace" : "incremental");
        table_cells(&table, buf_text(&schedule));
        cli_time_cell(&table, cli_format(args), info.last_run_ms);
        cli_time_cell(&table, cli_format(args), info.last_success_ms);
        if (info.next_ms == 0) /* no server has served it yet */
            table_cells(&table, "");
        else
            cli_time_cell(&table, cli_format(args), info.next_ms);
        table_cellf(&table, "%zu B", info.state_size);
        if (info.failures > 0)
            table_cellf(&table, "%lld failure%s: %s", (long long)info.failures, info.failures == 1 ? "" : "s",
                        info.last_error != NULL ? info.last_error : "");
        else if (info.held_reason != NULL)
            table_cells(&table, info.held_reason);
        else if (info.running && info.run_pages > 0)
            table_cellf(&table, "page %lld, %lld rows, %lld/s", (long long)info.run_pages,
                        (long long)info.run_rows, (long long)describe_rate(&info));
        else if (info.cycle_open && !info.running && info.cycle_pages > 0)
            table_cellf(&table, "goes on from page %lld", (long long)info.cycle_pages + 1);
        else
            table_cells(&table, "");
        buf_adds(&json, json.len > 1 ? "," : "");
        describe_sync(sync, &info, &json);
        buf_free(&schedule);
        sync_info_free(&info);
    }
    int result = code == ERR_NONE ? cli_print(cli_format(args), &table, &json, "the worker has no syncs")
                                  : cli_fail(&err);
    table_free(&table);
    buf_free(&json);
    return result;
}

static int run_status(const struct cli_args *args)
{
    struct opened opened;
    int64_t interval = 2;
    const char *given = cli_value(args, "--interval");
    if (given != NULL && (!cli_number(given, &interval) || interval < 1 || interval > 3600))
        return cli_usage(args, "--interval must be a whole number of seconds from 1 to 3600");
    int result = open_all(&opened);
    if (result != EXIT_DONE)
        return result;
    bool watch = isatty(STDOUT_FILENO) && !cli_flag(args, "--no-watch") && cli_format(args) == FORMAT_TABLE;
    do {
        if (watch)
            fputs("\033[H\033[2J", stdout);
        result = print_status(&opened, args);
        if (watch) {
            fputs("\nCtrl-C ends the watch\n", stdout);
            fflush(stdout);
            sleep((unsigned)interval);
        }
    } while (watch && result == EXIT_DONE);
    close_all(&opened);
    return result;
}

static const struct cli_option status_options[] = {
    {"--no-watch", NULL, NULL, "print once and end (also when the output is no terminal)"},
    {"--interval", NULL, "SECONDS", "how often the watch is redrawn; 2 unless given"},
    CLI_FORMAT_OPTIONS,
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_sync_status = {
    .name = "sync status",
    .arguments = "[KEY]",
    .summary = "Show how the syncs of the project stand",
    .help = "INITIALIZING no success yet, HEALTHY, WARNING 1-2 failures in a row, ERROR 3 or more, HELD a "
            "sweep waits for\n"
            "your word, DISABLED paused.\n\n"
            "Examples:\n  workers sync status\n  workers sync status tasks --no-watch\n  workers sync status "
            "--json\n",
    .options = status_options,
    .max_arguments = 1,
    .run = run_status,
};

/* ---- trigger ---- */

static int run_trigger(const struct cli_args *args)
{
    if (cli_flag(args, "--context") && !cli_flag(args, "--preview"))
        return cli_usage(args, "--context goes with --preview");
    return cli_run_syncs(args, NULL, args->positional[0]);
}

static const struct cli_option trigger_options[] = {
    {"--preview", NULL, NULL, "execute once and show what would change; write nothing, move no state"},
    {"--context", NULL, "JSON", "of a preview: the state to begin with; the nextContext of the one before"},
    {"--allow-deletes", NULL, NULL, "let a sweep through that would be held"},
    CLI_FORMAT_OPTIONS,
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_sync_trigger = {
    .name = "sync trigger",
    .arguments = "KEY",
    .summary = "Run one cycle of a sync now",
    .help = "A preview is a table of differences on a terminal; piped, or with --json, it is\n"
            "{\"changes\", \"hasMore\", \"nextContext\"}.\n\n"
            "Examples:\n  workers sync trigger tasks\n  workers sync trigger tasks --preview\n"
            "  workers sync trigger tasks --preview --context '{\"page\":2}'\n"
            "  workers sync trigger tasks --allow-deletes\n",
    .options = trigger_options,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_trigger,
};

/* ---- pause, resume, state ---- */

enum action { ACTION_PAUSE, ACTION_RESUME, ACTION_STATE_GET, ACTION_STATE_SET, ACTION_STATE_RESET };

static enum err_code set_state(struct store *store, const char *key, const char *value, struct err *err)
{
    struct buf data, json;
    struct json_scan scan;
    struct json_slice slice;
    buf_init(&json, BUF_UNLIMITED);
    enum err_code code = cli_read_data(value, &data, err);
    if (code == ERR_NONE) {
        json_scan_init(&scan, buf_text(&data), data.len);
        code = json_scan_value(&scan, err);
        if (code == ERR_NONE)
            code = json_scan_skip(&scan, &slice, err);
        if (code == ERR_NONE)
            code = json_scan_end(&scan, err);
        if (code != ERR_NONE)
            err_context(err, "the state is not JSON");
    }
    if (code == ERR_NONE)
        code = store_sync_set_state(store, key, buf_text(&data), err);
    buf_free(&data);
    buf_free(&json);
    return code;
}

static enum err_code print_state(struct store *store, const char *key, struct err *err)
{
    struct sync_info info;
    struct buf pretty;
    buf_init(&pretty, BUF_UNLIMITED);
    enum err_code code = store_sync_info(store, key, &info, err);
    if (code == ERR_NONE && info.state == NULL) {
        printf("null\n");
    } else if (code == ERR_NONE) {
        code = json_reindent(info.state, info.state_size, &pretty, err);
        printf("%s\n", buf_text(&pretty));
        cli_note("%zu bytes", info.state_size);
    }
    buf_free(&pretty);
    sync_info_free(&info);
    return code;
}

static int act(const struct cli_args *args, enum action action)
{
    struct opened opened;
    struct err err;
    const char *key = args->positional[0];
    int result = open_all(&opened);
    if (result != EXIT_DONE)
        return result;
    const struct capability *sync = find_sync(&opened, key, &err);
    enum err_code code = sync != NULL ? ERR_NONE : err.code;
    if (code == ERR_NONE && action == ACTION_STATE_SET && sync->mode == SYNC_REPLACE)
        code = err_set(&err, ERR_INVALID,
                       "\"%s\" is a replace sync: its cycles start without state, and one that began in the "
                       "middle would "
                       "delete the rows before it. To make it start over: workers sync state reset %s",
                       key, key);
    if (code == ERR_NONE && opened.store == NULL)
        code = cli_store_open(&opened.project, true, &opened.store, &err);
    if (code == ERR_NONE) {
        switch (action) {
        case ACTION_PAUSE:
        case ACTION_RESUME:
            code = store_sync_pause(opened.store, key, action == ACTION_PAUSE, &err);
            break;
        case ACTION_STATE_GET:
            code = print_state(opened.store, key, &err);
            break;
        case ACTION_STATE_SET:
            code = set_state(opened.store, key, args->positional[1], &err);
            break;
        case ACTION_STATE_RESET:
            code = store_sync_set_state(opened.store, key, NULL, &err);
            break;
        }
    }
    static const char *const said[] = {"paused: workers sync resume lets it run again", "resumed", NULL,
                                       "state set",
                                       "state forgotten; the rows stay, the next cycle starts afresh"};
    if (code == ERR_NONE && said[action] != NULL)
        cli_note("%s: %s", key, said[action]);
    result = code == ERR_NONE ? EXIT_DONE : cli_fail(&err);
    close_all(&opened);
    return result;
}

static int run_pause(const struct cli_args *args)
{
    return act(args, ACTION_PAUSE);
}

static int run_resume(const struct cli_args *args)
{
    return act(args, ACTION_RESUME);
}

static int run_state_get(const struct cli_args *args)
{
    return act(args, ACTION_STATE_GET);
}

static int run_state_set(const struct cli_args *args)
{
    return act(args, ACTION_STATE_SET);
}

static int run_state_reset(const struct cli_args *args)
{
    return act(args, ACTION_STATE_RESET);
}

const struct command cmd_sync_pause = {
    .name = "sync pause",
    .arguments = "KEY",
    .summary = "Take a sync off its schedule",
    .help = "A cycle under way is not interrupted.\n\nExamples:\n  workers sync pause tasks\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_pause,
};

const struct command cmd_sync_resume = {
    .name = "sync resume",
    .arguments = "KEY",
    .summary = "Put a paused sync back on its schedule",
    .help = "Examples:\n  workers sync resume tasks\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_resume,
};

const struct command cmd_sync_state_get = {
    .name = "sync state get",
    .arguments = "KEY",
    .summary = "Print the state a sync will get next",
    .help = "Examples:\n  workers sync state get tasks\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_state_get,
};

const struct command cmd_sync_state_set = {
    .name = "sync state set",
    .arguments = "KEY JSON|@FILE|-",
    .summary = "Set the state an incremental sync will get next",
    .help = "Examples:\n  workers sync state set tasks '{\"cursor\":\"2026-01-01\"}'\n  workers sync state "
            "set tasks @state.json\n",
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run_state_set,
};

const struct command cmd_sync_state_reset = {
    .name = "sync state reset",
    .arguments = "KEY",
    .summary = "Forget the state of a sync, so that it starts afresh",
    .help = "Rows stay; they are recognised by their keys.\n\nExamples:\n  workers sync state reset tasks\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_state_reset,
};
