/* workers runs list, get, logs. */
#include "cli/listing.h"

#include "base/json.h"

#include <string.h>
#include <unistd.h>

#define FOLLOW_US 300000

static void write_what(const struct json_slice *run, bool plain, struct buf *out)
{
    (void)plain;
    object_add(run, "kind", out);
    buf_addc(out, ':');
    object_add(run, "key", out);
}

static void write_exit(const struct json_slice *run, bool plain, struct buf *out)
{
    if (object_has(run, "exitCode"))
        object_add(run, "exitCode", out);
    else if (!plain)
        buf_adds(out, "running");
}

static void write_changes(const struct json_slice *run, bool plain, struct buf *out)
{
    static const char *const names[] = {"added", "changed", "deleted", "unchanged", "stale"};
    (void)plain;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int64_t count = object_number(run, names[i]);
        if (count > 0)
            buf_addf(out, "%s%lld %s", out->len > 0 ? ", " : "", (long long)count, names[i]);
    }
}

static int run_list(const struct cli_args *args)
{
    static const struct listing_column columns[] = {
        {.column = {.title = "RUN"}, .member = "id"},
        {.column = {.title = "WHAT"}, .write = write_what},
        {.column = {.title = "EXIT", .align = TABLE_RIGHT}, .write = write_exit},
        {.column = {.title = "STARTED"}, .member = "startedAt", .kind = CELL_TIME},
        {.column = {.title = "ENDED"}, .member = "endedAt", .kind = CELL_TIME_IF},
        {.column = {.title = "ROWS"}, .write = write_changes},
        {{0}, 0, 0, 0},
    };
    static const struct listing listing = {.columns = columns, .empty = "no runs", .limit = 50};
    struct buf path;
    path_make(&path, "/runs", NULL, NULL);
    path_query(&path, "key", cli_value(args, "--key"));
    path_query(&path, "failed", cli_flag(args, "--failed") ? "true" : NULL);
    int result = listing_run(args, &listing, buf_text(&path));
    buf_free(&path);
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
    .remote = true,
    .run = run_list,
};

static int run_get(const struct cli_args *args)
{
    return listing_one(args, "/runs", args->positional[0]);
}

const struct command cmd_runs_get = {
    .name = "runs get",
    .arguments = "ID",
    .summary = "Show one run as JSON",
    .help = "The beginning of an id is enough, as long as it is unique.\n\nExamples:\n  workers runs get "
            "0192f1\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_get,
};

/* ---- logs ---- */

static void print_line(const struct json_slice *line, bool json)
{
    struct buf at, level, text;
    struct json_slice slice = {"\"\"", 2};
    buf_init(&at, BUF_UNLIMITED);
    buf_init(&level, BUF_UNLIMITED);
    buf_init(&text, BUF_UNLIMITED);
    object_add(line, "at", &at);
    object_add(line, "level", &level);
    object_add(line, "text", &text);
    if (!json) {
        printf("%s %-5s ", buf_text(&at), buf_text(&level));
        cli_write(stdout, buf_text(&text), text.len);
        putchar('\n');
    } else {
        json_find(line->text, line->len, "text", &slice);
        printf("{\"at\":\"%s\",\"level\":\"%s\",\"text\":%.*s}\n", buf_text(&at), buf_text(&level),
               (int)slice.len, slice.text);
    }
    buf_free(&at);
    buf_free(&level);
    buf_free(&text);
}

/* Prints the lines after one, and sets it to the last of them; more: there may be others. */
static enum err_code print_lines(struct target *target, const char *id, bool json, int64_t *after, bool *more,
                                 struct err *err)
{
    struct buf path, answer;
    struct json_scan scan;
    struct json_slice line;
    char number[24];
    path_make(&path, "/runs", id, "/logs");
    buf_init(&answer, BUF_UNLIMITED);
    snprintf(number, sizeof number, "%lld", (long long)*after);
    path_query(&path, "after", number);
    enum err_code code = target_get(target, &path, &answer, err);
    json_scan_init(&scan, buf_text(&answer), answer.len);
    bool next = false;
    *more = false;
    if (code == ERR_NONE)
        code = json_scan_value(&scan, err);
    while (code == ERR_NONE && (code = json_scan_element(&scan, &next, err)) == ERR_NONE && next) {
        code = json_scan_skip(&scan, &line, err);
        print_line(&line, json);
        *after = object_number(&line, "id");
        *more = true;
    }
    fflush(stdout);
    buf_free(&path);
    buf_free(&answer);
    return code;
}

/* Whether the run has not ended; its whole id goes to id. */
static enum err_code look_at_run(struct target *target, struct buf *id, bool *running, struct err *err)
{
    struct buf path, answer;
    path_make(&path, "/runs", buf_text(id), NULL);
    buf_init(&answer, BUF_UNLIMITED);
    enum err_code code = target_get(target, &path, &answer, err);
    const struct json_slice run = {buf_text(&answer), answer.len};
    if (code == ERR_NONE) {
        *running = !object_has(&run, "exitCode");
        buf_clear(id);
        object_add(&run, "id", id);
    }
    buf_free(&path);
    buf_free(&answer);
    return code;
}

static int run_logs(const struct cli_args *args)
{
    struct target target;
    struct err err;
    struct buf id;
    int64_t after = 0;
    bool running = false, more = false, follow = cli_flag(args, "--follow");
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    buf_init(&id, BUF_UNLIMITED);
    buf_adds(&id, args->positional[0]);
    enum err_code code;
    do {
        code = look_at_run(&target, &id, &running, &err); /* before its lines, so that the last are printed */
        do {
            if (code == ERR_NONE)
                code = print_lines(&target, buf_text(&id), cli_flag(args, "--json"), &after, &more, &err);
        } while (code == ERR_NONE && more);
        if (code == ERR_NONE && running && follow)
            usleep(FOLLOW_US);
    } while (code == ERR_NONE && running && follow);
    result = code == ERR_NONE ? EXIT_DONE : target_fail(&target, &err);
    buf_free(&id);
    target_close(&target);
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
    .remote = true,
    .run = run_logs,
};
