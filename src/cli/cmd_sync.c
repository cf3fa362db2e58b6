/* workers sync …: how syncs stand, running one, pausing, and their state. */
#include "cli/listing.h"

#include "base/json.h"

#include <string.h>
#include <unistd.h>

/* ---- status ---- */

static void write_status(const struct json_slice *sync, bool plain, struct buf *out)
{
    (void)plain;
    object_add(sync, "status", out);
    buf_adds(out, object_flag(sync, "running") ? " (running)" : "");
}

static void write_state(const struct json_slice *sync, bool plain, struct buf *out)
{
    (void)plain;
    object_add(sync, "stateBytes", out);
    buf_adds(out, " B");
}

static void write_note(const struct json_slice *sync, bool plain, struct buf *out)
{
    struct json_slice run;
    int64_t failures = object_number(sync, "consecutiveFailureCount");
    int64_t pages = object_number(sync, "cyclePages");
    (void)plain;
    if (failures > 0) {
        buf_addf(out, "%lld failure%s: ", (long long)failures, failures == 1 ? "" : "s");
        object_add(sync, "lastError", out);
    } else if (object_has(sync, "held")) {
        object_add(sync, "held", out);
    } else if (json_find(sync->text, sync->len, "run", &run) && object_number(&run, "pages") > 0) {
        buf_addf(out, "page %lld, %lld rows, %lld/s", (long long)object_number(&run, "pages"),
                 (long long)object_number(&run, "rows"), (long long)object_number(&run, "rowsPerSecond"));
    } else if (object_flag(sync, "cycleOpen") && !object_flag(sync, "running") && pages > 0) {
        buf_addf(out, "goes on from page %lld", (long long)pages + 1);
    }
}

static enum err_code ask_status(struct target *target, const char *key, struct buf *array, struct err *err)
{
    struct buf path, answer;
    path_make(&path, "/syncs", key, NULL);
    buf_init(&answer, BUF_UNLIMITED);
    enum err_code code = target_get(target, &path, &answer, err);
    buf_adds(array, key != NULL ? "[" : "");
    buf_add(array, buf_text(&answer), answer.len);
    buf_adds(array, key != NULL ? "]" : "");
    buf_free(&path);
    buf_free(&answer);
    return code;
}

static int print_status(struct target *target, const struct cli_args *args)
{
    static const struct listing_column columns[] = {
        {.column = {.title = "SYNC"}, .member = "key"},
        {.column = {.title = "STATUS"}, .write = write_status},
        {.column = {.title = "MODE"}, .member = "mode"},
        {.column = {.title = "SCHEDULE"}, .member = "scheduleText"},
        {.column = {.title = "LAST RUN"}, .member = "lastRunAt", .kind = CELL_TIME},
        {.column = {.title = "LAST SUCCESS"}, .member = "lastSuccessAt", .kind = CELL_TIME},
        {.column = {.title = "NEXT RUN"}, .member = "nextRunAt", .kind = CELL_TIME_IF},
        {.column = {.title = "STATE", .align = TABLE_RIGHT}, .write = write_state},
        {.column = {.title = "NOTE", .max_width = 80}, .write = write_note},
        {{0}, 0, 0, 0},
    };
    static const struct listing listing = {.columns = columns, .empty = "the worker has no syncs"};
    struct buf array;
    struct err err;
    buf_init(&array, BUF_UNLIMITED);
    int result = ask_status(target, args->count > 0 ? args->positional[0] : NULL, &array, &err) == ERR_NONE
                     ? listing_print(&listing, cli_format(args), &array)
                     : target_fail(target, &err);
    buf_free(&array);
    return result;
}

static int run_status(const struct cli_args *args)
{
    struct target target;
    int64_t interval = 2;
    const char *given = cli_value(args, "--interval");
    if (given != NULL && (!cli_number(given, &interval) || interval < 1 || interval > 3600))
        return cli_usage(args, "--interval must be a whole number of seconds from 1 to 3600");
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    bool watch = isatty(STDOUT_FILENO) && !cli_flag(args, "--no-watch") && cli_format(args) == FORMAT_TABLE;
    do {
        if (watch)
            fputs("\033[H\033[2J", stdout);
        result = print_status(&target, args);
        if (watch) {
            fputs("\nCtrl-C ends the watch\n", stdout);
            fflush(stdout);
            sleep((unsigned)interval);
        }
    } while (watch && result == EXIT_DONE);
    target_close(&target);
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
    .remote = true,
    .run = run_status,
};

/* ---- pause, resume, state ---- */

/* Asks for one thing of a sync and says that it is done. */
static int act(const struct cli_args *args, struct target *target, const struct question *question,
               const char *said)
{
    struct buf answer;
    struct err err;
    buf_init(&answer, BUF_UNLIMITED);
    int result = EXIT_DONE;
    if (target_ask(target, question, &answer, &err) != ERR_NONE)
        result = target_fail(target, &err);
    else
        cli_note("%s: %s", args->positional[0], said);
    buf_free(&answer);
    return result;
}

static int set_enabled(const struct cli_args *args, const char *action, const char *said)
{
    struct target target;
    struct buf path, status;
    struct err err;
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    path_make(&path, "/capabilities", args->positional[0], "/");
    buf_adds(&path, action);
    buf_init(&status, BUF_UNLIMITED);
    const struct question question = {.method = "POST", .path = &path};
    if (ask_status(&target, args->positional[0], &status, &err) != ERR_NONE) /* whether it is a sync */
        result = target_fail(&target, &err);
    else
        result = act(args, &target, &question, said);
    buf_free(&path);
    buf_free(&status);
    target_close(&target);
    return result;
}

static int run_pause(const struct cli_args *args)
{
    return set_enabled(args, "disable", "paused: workers sync resume lets it run again");
}

static int run_resume(const struct cli_args *args)
{
    return set_enabled(args, "enable", "resumed");
}

static int run_state_get(const struct cli_args *args)
{
    struct buf path, answer;
    struct json_slice state;
    path_make(&path, "/syncs", args->positional[0], "/state");
    buf_init(&answer, BUF_UNLIMITED);
    const struct question question = {.method = "GET", .path = &path};
    int result = cli_ask(args, &question, &answer);
    if (result == EXIT_DONE && json_find(buf_text(&answer), answer.len, "state", &state)) {
        const struct json_slice object = {buf_text(&answer), answer.len};
        result = cli_print_json(state.text, state.len);
        if (result == EXIT_DONE && object_has(&object, "state"))
            cli_note("%zu bytes", state.len);
    }
    buf_free(&path);
    buf_free(&answer);
    return result;
}

static int change_state(const struct cli_args *args, const char *method, const struct buf *body,
                        const char *said)
{
    struct target target;
    struct buf path;
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    path_make(&path, "/syncs", args->positional[0], "/state");
    const struct question question = {.method = method, .path = &path, .body = body};
    result = act(args, &target, &question, said);
    buf_free(&path);
    target_close(&target);
    return result;
}

/* {"state":…} of what was given, which must be JSON. */
static enum err_code state_body(const char *given, struct buf *body, struct err *err)
{
    struct buf data;
    enum err_code code = cli_read_data(given, &data, err);
    if (code == ERR_NONE && (code = json_check(buf_text(&data), data.len, err)) != ERR_NONE)
        err_context(err, "the state is not JSON");
    buf_adds(body, "{\"state\":");
    buf_add(body, buf_text(&data), data.len);
    buf_addc(body, '}');
    buf_free(&data);
    return code == ERR_NONE ? buf_status(body, "the state", err) : code;
}

static int run_state_set(const struct cli_args *args)
{
    struct buf body;
    struct err err;
    buf_init(&body, BUF_UNLIMITED);
    int result = state_body(args->positional[1], &body, &err) == ERR_NONE
                     ? change_state(args, "PUT", &body, "state set")
                     : cli_fail(&err);
    buf_free(&body);
    return result;
}

static int run_state_reset(const struct cli_args *args)
{
    return change_state(args, "DELETE", NULL, "state forgotten; the rows stay, the next cycle starts afresh");
}

const struct command cmd_sync_pause = {
    .name = "sync pause",
    .arguments = "KEY",
    .summary = "Take a sync off its schedule",
    .help = "A cycle under way is not interrupted.\n\nExamples:\n  workers sync pause tasks\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_pause,
};

const struct command cmd_sync_resume = {
    .name = "sync resume",
    .arguments = "KEY",
    .summary = "Put a paused sync back on its schedule",
    .help = "Examples:\n  workers sync resume tasks\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_resume,
};

const struct command cmd_sync_state_get = {
    .name = "sync state get",
    .arguments = "KEY",
    .summary = "Print the state a sync will get next",
    .help = "Examples:\n  workers sync state get tasks\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
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
    .remote = true,
    .run = run_state_set,
};

const struct command cmd_sync_state_reset = {
    .name = "sync state reset",
    .arguments = "KEY",
    .summary = "Forget the state of a sync, so that it starts afresh",
    .help = "Rows stay; they are recognised by their keys.\n\nExamples:\n  workers sync state reset tasks\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_state_reset,
};
