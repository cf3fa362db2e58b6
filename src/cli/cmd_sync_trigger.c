/* workers sync trigger: one cycle now, in this process or on the server. */
#include "cli/exec.h"
#include "cli/listing.h"
#include "cli/run_syncs.h"

#include "base/json.h"

#include <string.h>
#include <unistd.h>

#define POLL_US 300000

/* The newest run of a sync, or nothing. */
static enum err_code newest_run(struct target *target, const char *key, struct buf *run, struct err *err)
{
    struct buf path, answer;
    struct json_scan scan;
    struct json_slice object;
    bool more = false;
    path_make(&path, "/runs?limit=1", NULL, NULL);
    buf_init(&answer, BUF_UNLIMITED);
    path_query(&path, "key", key);
    enum err_code code = target_get(target, &path, &answer, err);
    buf_clear(run);
    json_scan_init(&scan, buf_text(&answer), answer.len);
    if (code == ERR_NONE)
        code = json_scan_value(&scan, err);
    if (code == ERR_NONE)
        code = json_scan_element(&scan, &more, err);
    if (code == ERR_NONE && more)
        code = json_scan_skip(&scan, &object, err);
    if (code == ERR_NONE && more)
        buf_add(run, object.text, object.len);
    buf_free(&path);
    buf_free(&answer);
    return code;
}

/* The run as the summary of cli_run_syncs has it. */
static void summarize(const struct json_slice *run, bool held, struct buf *out)
{
    static const char *const names[] = {"added", "changed", "unchanged", "deleted",
                                        "stale", "pages",   "requests"};
    struct json_slice slice;
    bool failed = object_number(run, "exitCode") != 0;
    json_find(run->text, run->len, "key", &slice);
    buf_addf(out, "[{\"key\":%.*s,\"result\":\"%s\"", (int)slice.len, slice.text,
             failed ? "failed"
             : held ? "held"
                    : "done");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        buf_addf(out, ",\"%s\":%lld", names[i], (long long)object_number(run, names[i]));
    buf_addf(out, ",\"durationMs\":%lld",
             (long long)(object_time(run, "endedAt") - object_time(run, "startedAt")));
    if (failed && json_find(run->text, run->len, "error", &slice))
        buf_addf(out, ",\"error\":%.*s", (int)slice.len, slice.text);
    buf_adds(out, "}]");
}

/* Waits for a run that is not the one that was the newest before. */
static enum err_code wait_for_run(struct target *target, const char *key, const struct buf *before,
                                  struct buf *run, struct err *err)
{
    struct buf old_id, id;
    enum err_code code = ERR_NONE;
    const struct json_slice old = {buf_text(before), before->len};
    bool ended = false;
    buf_init(&old_id, BUF_UNLIMITED);
    buf_init(&id, BUF_UNLIMITED);
    object_add(&old, "id", &old_id);
    while (code == ERR_NONE && !ended) {
        usleep(POLL_US);
        code = newest_run(target, key, run, err);
        const struct json_slice object = {buf_text(run), run->len};
        buf_clear(&id);
        object_add(&object, "id", &id);
        ended =
            id.len > 0 && strcmp(buf_text(&id), buf_text(&old_id)) != 0 && object_has(&object, "exitCode");
    }
    buf_free(&old_id);
    buf_free(&id);
    return code;
}

/* Whether the sweep of a sync is held; reason gets why. */
static enum err_code look_whether_held(struct target *target, const char *key, struct buf *reason,
                                       struct err *err)
{
    struct buf path, answer;
    path_make(&path, "/syncs", key, NULL);
    buf_init(&answer, BUF_UNLIMITED);
    enum err_code code = target_get(target, &path, &answer, err);
    const struct json_slice sync = {buf_text(&answer), answer.len};
    object_add(&sync, "held", reason);
    buf_free(&path);
    buf_free(&answer);
    return code;
}

static int report(struct target *target, const struct cli_args *args, const struct buf *json)
{
    struct buf summary, text;
    struct err err;
    const struct json_slice run = {buf_text(json), json->len};
    const char *key = args->positional[0];
    buf_init(&summary, BUF_UNLIMITED);
    buf_init(&text, BUF_UNLIMITED);
    int result = EXIT_DONE;
    bool failed = object_number(&run, "exitCode") != 0;
    if (failed) {
        object_add(&run, "error", &text);
        err_set(&err, ERR_SCRIPT, "%s", buf_text(&text));
        result = cli_fail(&err);
    } else if (look_whether_held(target, key, &text, &err) != ERR_NONE) {
        result = target_fail(target, &err);
    } else if (text.len > 0) {
        cli_note(CLI_HELD, key, buf_text(&text), key);
    }
    summarize(&run, !failed && text.len > 0, &summary);
    int printed = listing_print(&cli_summary, cli_format(args), &summary);
    buf_free(&summary);
    buf_free(&text);
    return result == EXIT_DONE ? printed : result;
}

static int trigger_on_server(struct target *target, const struct cli_args *args)
{
    const char *key = args->positional[0];
    struct buf path, body, before, run, answer;
    struct err err;
    path_make(&path, "/syncs", key, "/trigger");
    buf_init(&before, BUF_UNLIMITED);
    buf_init(&run, BUF_UNLIMITED);
    buf_init(&answer, BUF_UNLIMITED);
    buf_init(&body, BUF_UNLIMITED);
    buf_addf(&body, "{\"allowDeletes\":%s}", cli_flag(args, "--allow-deletes") ? "true" : "false");
    const struct question question = {.method = "POST", .path = &path, .body = &body};
    enum err_code code = newest_run(target, key, &before, &err);
    if (code == ERR_NONE)
        code = target_ask(target, &question, &answer, &err);
    if (code == ERR_NONE) {
        cli_note("triggered; waiting for the run: Ctrl-C ends the waiting, not the run");
        code = wait_for_run(target, key, &before, &run, &err);
    }
    int result = code == ERR_NONE ? report(target, args, &run) : target_fail(target, &err);
    buf_free(&path);
    buf_free(&body);
    buf_free(&before);
    buf_free(&run);
    buf_free(&answer);
    return result;
}

static int preview_on_server(struct target *target, const struct cli_args *args)
{
    const char *context = cli_value(args, "--context");
    struct call_answer answer;
    struct buf body;
    struct err err;
    buf_init(&body, BUF_UNLIMITED);
    buf_addf(&body, "{\"state\":%s}", context != NULL ? context : "null");
    int result = EXIT_DONE;
    if (exec_on_server(target, args->positional[0], &body, &answer, &err) != ERR_NONE)
        result = cli_fail(&err);
    else if (!answer.end.ok)
        result = exec_fail(&answer.end);
    else
        cli_print_preview(answer.end.value, answer.end.value_len);
    call_answer_free(&answer);
    buf_free(&body);
    return result;
}

static int run_trigger(const struct cli_args *args)
{
    struct target target;
    bool preview = cli_flag(args, "--preview");
    if (cli_flag(args, "--context") && !preview)
        return cli_usage(args, "--context goes with --preview");
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    if (target.remote == NULL)
        result = cli_run_syncs(args, NULL, args->positional[0]);
    else
        result = preview ? preview_on_server(&target, args) : trigger_on_server(&target, args);
    target_close(&target);
    return result;
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
    .remote = true,
    .run = run_trigger,
};
