/* workers exec: one capability of the project in this folder, with an input, without writing rows. */
#include "cli/cli.h"

#include "base/json.h"
#include "base/mem.h"
#include "engine/call.h"

#include <string.h>
#include <unistd.h>

struct exec {
    struct runtime *runtime;
    const struct cli_args *args;
    bool json;
    bool stream;
    int result;
};

static void print_log_line(void *ctx, const char *key, const char *run_id, const char *level,
                           const char *text, size_t len)
{
    if (!cli_log_is_shown(level))
        return;
    const struct exec *exec = ctx;
    (void)key;
    (void)run_id;
    if (!exec->stream) {
        fprintf(stderr, "%s: %.*s\n", level, (int)len, text);
        return;
    }
    struct buf line;
    struct err ignored;
    buf_init(&line, BUF_UNLIMITED);
    buf_addf(&line, "{\"type\":\"log\",\"level\":\"%s\",\"text\":", level);
    if (json_write_string(&line, text, len, &ignored) != ERR_NONE)
        buf_adds(&line, "\"(not valid UTF-8)\"");
    printf("%s}\n", buf_text(&line));
    fflush(stdout);
    buf_free(&line);
}

static void print_error_json(const struct exec *exec, const struct call_end *end)
{
    struct buf out;
    buf_init(&out, BUF_UNLIMITED);
    buf_addf(&out, "{%s\"error\":{\"name\":", exec->stream ? "\"type\":\"error\"," : "\"_tag\":\"error\",");
    json_write_text(&out, end->name);
    buf_adds(&out, ",\"message\":");
    json_write_text(&out, end->message);
    if (end->traceback != NULL) {
        buf_adds(&out, ",\"trace\":");
        json_write_text(&out, end->traceback);
    }
    if (end->retry_after >= 0) {
        char number[NUMBER_TEXT_MAX];
        number_format_js(end->retry_after, number);
        buf_addf(&out, ",\"retryAfter\":%s", number);
    }
    printf("%s}}\n", buf_text(&out));
    buf_free(&out);
}

static void print_value(const struct exec *exec, const struct call_end *end)
{
    if (exec->stream) {
        printf("{\"type\":\"result\",\"value\":%.*s}\n", (int)end->value_len, end->value);
    } else if (exec->json) {
        printf("{\"_tag\":\"success\",\"value\":%.*s}\n", (int)end->value_len, end->value);
    } else {
        struct buf pretty;
        struct err err;
        buf_init(&pretty, BUF_UNLIMITED);
        if (isatty(STDOUT_FILENO) && json_reindent(end->value, end->value_len, &pretty, &err) == ERR_NONE)
            printf("%s\n", buf_text(&pretty));
        else
            printf("%.*s\n", (int)end->value_len, end->value);
        buf_free(&pretty);
    }
}

/* The list of mistakes in an input as a sentence: "input/times must be integer; …". False when json is no
 * such list. */
static bool describe_mistakes(const char *json, struct buf *out)
{
    struct json_scan scan;
    struct err ignored;
    bool more_errors = false, more = false;
    json_scan_init(&scan, json, strlen(json));
    if (json_scan_value(&scan, &ignored) != ERR_NONE || scan.token != JSON_ARRAY)
        return false;
    while (json_scan_element(&scan, &more_errors, &ignored) == ERR_NONE && more_errors) {
        struct buf path, message;
        enum err_code code = scan.token == JSON_OBJECT ? ERR_NONE : ERR_INVALID;
        buf_init(&path, BUF_UNLIMITED);
        buf_init(&message, BUF_UNLIMITED);
        while (code == ERR_NONE && json_scan_member(&scan, &more, &ignored) == ERR_NONE && more) {
            struct buf *field = json_string_is(&scan, "instancePath") ? &path
                                : json_string_is(&scan, "message")    ? &message
                                                                      : NULL;
            code = json_scan_value(&scan, &ignored);
            if (code == ERR_NONE && scan.token == JSON_STRING && field != NULL)
                json_string_copy(&scan, field);
            else if (code == ERR_NONE)
                code = json_scan_skip(&scan, NULL, &ignored);
        }
        buf_addf(out, "%sinput%s %s", out->len > 0 ? "; " : "", buf_text(&path), buf_text(&message));
        buf_free(&path);
        buf_free(&message);
        if (code != ERR_NONE)
            return false;
    }
    return !more_errors && out->len > 0;
}

static void print_error(const struct call_end *end)
{
    struct err err;
    struct buf text;
    buf_init(&text, BUF_UNLIMITED);
    if (strcmp(end->name, "InvalidToolInputError") == 0 && describe_mistakes(end->message, &text))
        err_set(&err, ERR_SCRIPT, "%s: %s", end->name, buf_text(&text));
    else
        err_set(&err, ERR_SCRIPT, "%s: %s", end->name, end->message);
    cli_fail(&err);
    if (end->traceback != NULL && end->traceback[0] != '\0')
        fprintf(stderr, "%s\n", end->traceback);
    buf_free(&text);
}

static void done(void *ctx, struct call *call, const struct call_end *end)
{
    struct exec *exec = ctx;
    (void)call;
    exec->result = end->ok ? EXIT_DONE : EXIT_FAILED_WORK;
    if (end->ok) {
        print_value(exec, end);
        return;
    }
    if (exec->json || exec->stream)
        print_error_json(exec, end);
    print_error(end);
}

static int call_capability(struct exec *exec, const char *key, const struct buf *data)
{
    struct err err;
    struct call *call = NULL;
    const struct capability *capability = worker_capability(exec->runtime->worker, key);
    if (capability == NULL) {
        cli_no_capability(exec->runtime->worker, key, &err);
        return cli_fail(&err);
    }
    const struct call_input input = {.json = buf_text(data), .len = data->len};
    if (call_start(exec->runtime, capability, &input, done, exec, &call, &err) != ERR_NONE)
        return cli_fail(&err);
    uv_run(exec->runtime->loop, UV_RUN_DEFAULT);
    call_free(call);
    return exec->result;
}

int cli_exec(const struct cli_args *args, const char *script, const char *key)
{
    struct err err;
    struct script_error error;
    struct project project;
    struct buf data;
    struct exec exec = {.args = args, .json = cli_flag(args, "--json"), .stream = cli_flag(args, "--stream")};
    buf_init(&data, 1);
    const char *value = cli_value(args, "--data");
    if (value != NULL && cli_read_data(value, &data, &err) != ERR_NONE) {
        buf_free(&data);
        return cli_fail(&err);
    }
    if (project_open(script, ".", &project, &err) != ERR_NONE) {
        buf_free(&data);
        return cli_fail(&err);
    }
    script_error_init(&error);
    int result = EXIT_FAILED_WORK;
    if (cli_runtime_open(&project, print_log_line, &exec, &exec.runtime, &error) != ERR_NONE)
        cli_fail_script(&error);
    else
        result = call_capability(&exec, key, &data);
    runtime_free(exec.runtime);
    script_error_free(&error);
    project_free(&project);
    buf_free(&data);
    return result;
}

static int run_exec(const struct cli_args *args)
{
    return cli_exec(args, cli_value(args, "--script"), args->positional[0]);
}

static const struct cli_option options[] = {
    {"--data", "-d", "JSON|@FILE|-", "the input"},
    {"--script", NULL, "FILE", "the script, when it is not the project's main"},
    {"--stream", NULL, NULL, "log lines and the result as JSON lines, as they come"},
    {"--json", NULL, NULL, "the result in an envelope: {\"_tag\":\"success\",\"value\":…}"},
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_exec = {
    .name = "exec",
    .arguments = "KEY",
    .summary = "Run one capability with an input and print its result",
    .help = "A tool takes its input as JSON and prints its result. A sync takes {\"state\": …} and prints\n"
            "{\"changes\", \"hasMore\", \"nextState\"} without writing anything. A webhook takes an array of "
            "events.\n\n"
            "Examples:\n  workers exec sayHello -d '{\"name\":\"World\"}'\n  workers exec tasks -d "
            "'{\"state\":{\"page\":2}}'\n"
            "  workers exec onPush -d @events.json --json\n",
    .options = options,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_exec,
};
