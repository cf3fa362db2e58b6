/* workers exec: one capability of the project in this folder, with an input, without writing rows. */
#include "cli/exec.h"
#include "cli/listing.h"

#include "base/json.h"

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
        fprintf(stderr, "%s: ", level);
        cli_write(stderr, text, len);
        fputc('\n', stderr);
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

/* {"type":"error","error":{…}} */
static void stream_error(const struct call_end *end)
{
    struct buf out;
    buf_init(&out, BUF_UNLIMITED);
    call_describe(end, &out);
    printf("{\"type\":%s\n", buf_text(&out) + strlen("{\"_tag\":"));
    buf_free(&out);
}

static void print_described(const struct call_end *end)
{
    struct buf out;
    buf_init(&out, BUF_UNLIMITED);
    call_describe(end, &out);
    printf("%s\n", buf_text(&out));
    buf_free(&out);
}

static void print_value(const struct exec *exec, const struct call_end *end)
{
    if (exec->stream) {
        printf("{\"type\":\"result\",\"value\":%.*s}\n", (int)end->value_len, end->value);
    } else if (exec->json) {
        print_described(end);
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

int exec_fail(const struct call_end *end)
{
    struct err err;
    struct buf text;
    buf_init(&text, BUF_UNLIMITED);
    call_explain(end, &text);
    err_set(&err, ERR_SCRIPT, "%s: %s", end->name, buf_text(&text));
    cli_fail(&err);
    cli_print_traceback(end->traceback);
    buf_free(&text);
    return EXIT_FAILED_WORK;
}

static int show(const struct exec *exec, const struct call_end *end)
{
    if (end->ok) {
        print_value(exec, end);
        return EXIT_DONE;
    }
    if (exec->stream)
        stream_error(end);
    else if (exec->json)
        print_described(end);
    return exec_fail(end);
}

static void done(void *ctx, struct call *call, const struct call_end *end)
{
    struct exec *exec = ctx;
    (void)call;
    exec->result = show(exec, end);
}

static int call_capability(struct exec *exec, const char *key, const struct buf *data)
{
    struct err err;
    struct call *call = NULL;
    const struct capability *capability = worker_find(exec->runtime->worker, key, CAPABILITY_ANY, &err);
    if (capability == NULL)
        return cli_fail(&err);
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
    if (cli_runtime_open(&project, NULL, print_log_line, &exec, &exec.runtime, &error) != ERR_NONE)
        cli_fail_script(&error);
    else
        result = call_capability(&exec, key, &data);
    runtime_free(exec.runtime);
    script_error_free(&error);
    project_free(&project);
    buf_free(&data);
    return result;
}

/* ---- on a server ---- */

#define EXEC_TIMEOUT_MS ((uint64_t)24 * 3600 * 1000) /* the capability has limits of its own */

enum err_code exec_on_server(struct target *target, const char *key, const struct buf *input,
                             struct call_answer *out, struct err *err)
{
    struct buf path;
    struct json_slice value, error;
    *out = (struct call_answer){0};
    buf_init(&out->answer, BUF_UNLIMITED);
    buf_init(&out->name, BUF_UNLIMITED);
    buf_init(&out->message, BUF_UNLIMITED);
    buf_init(&out->trace, BUF_UNLIMITED);
    path_make(&path, "/capabilities", key, "/exec");
    const struct question question = {
        .method = "POST", .path = &path, .body = input, .timeout_ms = EXEC_TIMEOUT_MS};
    enum err_code code = target_ask(target, &question, &out->answer, err);
    buf_free(&path);
    if (code != ERR_NONE)
        return code;
    out->end.retry_after = -1;
    if (json_find(buf_text(&out->answer), out->answer.len, "value", &value)) {
        out->end.ok = true;
        out->end.value = value.text;
        out->end.value_len = value.len;
    } else if (json_find(buf_text(&out->answer), out->answer.len, "error", &error)) {
        object_add(&error, "name", &out->name);
        object_add(&error, "message", &out->message);
        object_add(&error, "trace", &out->trace);
        out->end.name = buf_text(&out->name);
        out->end.message = buf_text(&out->message);
        out->end.traceback = object_has(&error, "trace") ? buf_text(&out->trace) : NULL;
        if (object_has(&error, "retryAfter"))
            out->end.retry_after = object_real(&error, "retryAfter");
    } else {
        return err_set(err, ERR_INVALID, "the answer is not understood: is the server of another version?");
    }
    return ERR_NONE;
}

void call_answer_free(struct call_answer *answer)
{
    buf_free(&answer->answer);
    buf_free(&answer->name);
    buf_free(&answer->message);
    buf_free(&answer->trace);
}

static int exec_there(const struct cli_args *args, struct target *target)
{
    struct exec exec = {.args = args, .json = cli_flag(args, "--json"), .stream = cli_flag(args, "--stream")};
    struct call_answer answer;
    struct err err;
    struct buf data;
    const char *value = cli_value(args, "--data");
    buf_init(&data, 1);
    if (value != NULL && cli_read_data(value, &data, &err) != ERR_NONE) {
        buf_free(&data);
        return cli_fail(&err);
    }
    int result = exec_on_server(target, args->positional[0], &data, &answer, &err) == ERR_NONE
                     ? show(&exec, &answer.end)
                     : cli_fail(&err);
    call_answer_free(&answer);
    buf_free(&data);
    return result;
}

static int run_exec(const struct cli_args *args)
{
    struct target target;
    const char *script = cli_value(args, "--script");
    if (script != NULL && (args->server != NULL || args->worker != NULL))
        return cli_usage(args, "a script is on this machine: --server goes without --script");
    if (script != NULL)
        return cli_exec(args, script, args->positional[0]);
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    result = target.remote != NULL ? exec_there(args, &target) : cli_exec(args, NULL, args->positional[0]);
    target_close(&target);
    return result;
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
            "{\"changes\", \"hasMore\", \"nextState\"} without writing anything; with \"dryRun\": true "
            "beside the "
            "state no request\nleaves but GET, HEAD and OPTIONS. A webhook takes an array of events.\n\n"
            "Examples:\n  workers exec sayHello -d '{\"name\":\"World\"}'\n  workers exec tasks -d "
            "'{\"state\":{\"page\":2}}'\n"
            "  workers exec onPush -d @events.json --json\n",
    .options = options,
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run_exec,
};
