/* workers capabilities list, enable, disable. */
#include "cli/listing.h"

static void write_next(const struct json_slice *capability, bool plain, struct buf *out)
{
    if (object_has(capability, "enabled") && !object_flag(capability, "enabled"))
        buf_adds(out, "disabled");
    else
        cli_add_time(out, plain, object_time(capability, "nextRunAt"));
}

static int run_list(const struct cli_args *args)
{
    static const struct listing_column columns[] = {
        {.column = {.title = "KIND"}, .member = "kind"},
        {.column = {.title = "KEY"}, .member = "key"},
        {.column = {.title = "TITLE", .max_width = 60}, .member = "title"},
        {.column = {.title = "SCHEDULE"}, .member = "scheduleText"},
        {.column = {.title = "NEXT RUN"}, .write = write_next},
        {{0}, 0, 0, 0},
    };
    static const struct listing listing = {
        .columns = columns, .empty = "the worker has no capabilities", .member = "capabilities"};
    return listing_run(args, &listing, "");
}

static const struct cli_option options[] = {CLI_FORMAT_OPTIONS, {NULL, NULL, NULL, NULL}};

const struct command cmd_capabilities_list = {
    .name = "capabilities list",
    .arguments = "",
    .summary = "List what the worker can run",
    .help = "With schedules, and when workers serve runs each next.\n\nExamples:\n  workers capabilities "
            "list\n  workers capabilities list --plain\n",
    .options = options,
    .remote = true,
    .run = run_list,
};

static int set_enabled(const struct cli_args *args, const char *action, const char *done)
{
    struct buf path;
    path_make(&path, "/capabilities", args->positional[0], "/");
    buf_adds(&path, action);
    const struct question question = {.method = "POST", .path = &path};
    int result = cli_ask(args, &question, NULL);
    if (result == EXIT_DONE)
        cli_note("%s: %s", args->positional[0], done);
    buf_free(&path);
    return result;
}

static int run_enable(const struct cli_args *args)
{
    return set_enabled(args, "enable", "enabled");
}

static int run_disable(const struct cli_args *args)
{
    return set_enabled(args, "disable", "disabled: workers capabilities enable lets it run again");
}

const struct command cmd_capabilities_enable = {
    .name = "capabilities enable",
    .arguments = "KEY",
    .summary = "Let a capability run again",
    .help = "Examples:\n  workers capabilities enable tasks\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_enable,
};

const struct command cmd_capabilities_disable = {
    .name = "capabilities disable",
    .arguments = "KEY",
    .summary = "Keep a capability from running by itself",
    .help = "Examples:\n  workers capabilities disable tasks\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_disable,
};
