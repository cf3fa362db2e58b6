/* workers mcp: the worker's tools and databases for one agent, over standard input and output. */
#include "cli/target.h"

#include "base/json.h"
#include "base/mem.h"
#include "engine/oauth.h"
#include "mcp/mcp.h"
#include "server/watch.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MESSAGE_MAX ((size_t)64 * 1024 * 1024)
#define BLOCK 65536
#define LOOK_MS 500 /* between two looks at the files */
/* Requests under way: with more than the first nothing is read, until there are fewer than the second. */
#define UNDER_WAY_MAX 4096
#define UNDER_WAY_FEW 2048

/* The project as it was loaded. */
struct version {
    struct project project;
    struct runtime *runtime;
    struct version *next;
};

struct serving {
    uv_loop_t loop;
    struct target *target; /* its runtime is that of the current version */
    struct version *current, *leaving;
    uint64_t seen; /* of the files */
    uv_timer_t timer;
    struct mcp_client *client;
    struct mcp_host host;
    struct buf input; /* of a line that has not ended */
    uv_poll_t poll;
    uv_prepare_t prepare; /* before the loop waits */
    bool polled, paused, ended;
    int result;
    int under_way;
};

/* ---- what goes out: one message a line, all that is ready at once ---- */

static void write_line(void *ctx, const char *json, size_t len)
{
    (void)ctx;
    fwrite(json, 1, len, stdout);
    putchar('\n');
}

static void flush_lines(uv_prepare_t *prepare)
{
    (void)prepare;
    if (fflush(stdout) != 0)
        exit(EXIT_DONE); /* nobody listens any more */
}

static void look_whether_over(struct serving *serving)
{
    if (!serving->polled || !serving->ended || serving->under_way > 0)
        return;
    serving->polled = false;
    uv_close((uv_handle_t *)&serving->poll, NULL);
}

/* ---- the project, as it changes ---- */

static void free_version(struct version *version)
{
    runtime_free(version->runtime);
    project_free(&version->project);
    mem_free(version);
}

static void free_leaving(struct serving *serving)
{
    struct version **at = &serving->leaving;
    while (*at != NULL && serving->under_way == 0) {
        struct version *version = *at;
        if (oauth_is_busy(version->runtime)) {
            at = &version->next;
        } else {
            *at = version->next;
            free_version(version);
        }
    }
}

/* The exit code; what is wrong has been said. */
static int load(struct serving *serving, struct version **out)
{
    struct err err;
    struct script_error error;
    struct version *version = mem_need(sizeof *version);
    if (project_open(NULL, serving->target->project.folder, &version->project, &err) != ERR_NONE) {
        mem_free(version);
        return cli_fail(&err);
    }
    script_error_init(&error);
    int result = EXIT_DONE;
    if (cli_runtime_open(&version->project, &serving->loop, NULL, NULL, &version->runtime, &error) !=
        ERR_NONE)
        result = cli_fail_script(&error);
    script_error_free(&error);
    serving->seen = watch_fingerprint(version->project.folder, version->project.script);
    if (result == EXIT_DONE) {
        version->runtime->keeps_warm = true;
        *out = version;
    } else {
        free_version(version);
    }
    return result;
}

static void use(struct serving *serving, struct version *version)
{
    serving->current = version;
    serving->host.runtime = serving->target->runtime = version->runtime;
    store_close(serving->target->store); /* it knows the tables of the version before */
    serving->target->store = NULL;
    serving->target->has_tables = false;
}

static void look_at_files(uv_timer_t *timer)
{
    struct serving *serving = timer->data;
    struct version *version = NULL, *before = serving->current;
    free_leaving(serving);
    if (watch_fingerprint(before->project.folder, before->project.script) == serving->seen)
        return;
    if (load(serving, &version) != EXIT_DONE) {
        cli_note("not loaded anew, the earlier version goes on");
        return;
    }
    before->next = serving->leaving;
    serving->leaving = before;
    use(serving, version);
    write_line(NULL, mcp_tools_changed, strlen(mcp_tools_changed));
    write_line(NULL, mcp_resources_changed, strlen(mcp_resources_changed));
}

static void on_input(uv_poll_t *poll, int status, int events);

static void done(void *ctx, const char *json, size_t len)
{
    struct serving *serving = ctx;
    if (json != NULL)
        write_line(NULL, json, len);
    serving->under_way--;
    if (serving->paused && serving->under_way < UNDER_WAY_FEW) {
        serving->paused = false;
        uv_poll_start(&serving->poll, UV_READABLE, on_input);
    }
    look_whether_over(serving);
}

static void ask(void *ctx, struct mcp_request *request, const char *text)
{
    struct serving *serving = ctx;
    struct buf path, answer;
    struct err err;
    path_make(&path, text, NULL, NULL);
    buf_init(&answer, BUF_UNLIMITED);
    enum err_code code = target_get(serving->target, &path, &answer, &err);
    mcp_told(request, code, buf_text(&answer), answer.len, &err);
    buf_free(&path);
    buf_free(&answer);
}

/* ---- what comes in ---- */

static void take_line(struct serving *serving, const char *line, size_t len)
{
    const struct mcp_reply reply = {.notify = write_line, .done = done, .ctx = serving};
    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' '))
        len--;
    if (len == 0)
        return;
    serving->under_way++;
    mcp_receive(serving->client, &serving->host, line, len, &reply);
}

/* When the input has ended, what is left is a line as well. */
static void take_lines(struct serving *serving)
{
    size_t begin = 0;
    const char *end = NULL;
    struct buf *input = &serving->input;
    while ((end = memchr(input->data + begin, '\n', input->len - begin)) != NULL) {
        size_t len = (size_t)(end - input->data) - begin;
        take_line(serving, input->data + begin, len);
        begin += len + 1;
    }
    if (serving->ended && !input->failed) {
        take_line(serving, input->data + begin, input->len - begin);
        begin = input->len;
    }
    memmove(input->data, input->data + begin, input->len - begin);
    input->len -= begin;
}

/* What read says; 0 also after a message that is too long. */
static ssize_t read_block(struct serving *serving)
{
    struct err err;
    char *room = buf_reserve(&serving->input, BLOCK);
    if (room == NULL) {
        err_set(&err, ERR_LIMIT, "a message has more than %zu MiB: each is one line",
                MESSAGE_MAX / 1024 / 1024);
        serving->result = cli_fail(&err);
        return 0;
    }
    ssize_t got = read(STDIN_FILENO, room, BLOCK);
    serving->input.len += got > 0 ? (size_t)got : 0;
    return got;
}

static void on_input(uv_poll_t *poll, int status, int events)
{
    struct serving *serving = poll->data;
    (void)events;
    ssize_t got = status == 0 ? read_block(serving) : 0;
    if (got > 0) {
        take_lines(serving);
        if (serving->under_way > UNDER_WAY_MAX) {
            serving->paused = true;
            uv_poll_stop(poll);
        }
        return;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) /* somebody else has read it, or a signal came */
        return;
    uv_poll_stop(poll);
    serving->under_way++;  /* the last line may be done at once */
    serving->ended = true; /* the client has left: what is under way ends first */
    if (serving->input.len > 0)
        take_lines(serving);
    serving->under_way--;
    look_whether_over(serving);
}

/* A file is no stream to wait for: all of it is there. */
static void read_file(struct serving *serving)
{
    while (read_block(serving) > 0)
        take_lines(serving);
    serving->ended = true;
    if (serving->input.len > 0)
        take_lines(serving);
}

static void begin(struct serving *serving)
{
    setvbuf(stdout, NULL, _IOFBF, BLOCK);
    uv_prepare_init(&serving->loop, &serving->prepare);
    uv_prepare_start(&serving->prepare, flush_lines);
    uv_timer_init(&serving->loop, &serving->timer);
    uv_timer_start(&serving->timer, look_at_files, LOOK_MS, LOOK_MS);
    uv_unref((uv_handle_t *)&serving->prepare);
    uv_unref((uv_handle_t *)&serving->timer);
    serving->timer.data = serving->poll.data = serving;
    serving->polled = uv_poll_init(&serving->loop, &serving->poll, STDIN_FILENO) == 0;
    if (serving->polled)
        uv_poll_start(&serving->poll, UV_READABLE, on_input);
    else
        read_file(serving);
}

static int serve(struct target *target)
{
    struct serving serving = {.target = target, .client = mcp_client_new()};
    struct version *version = NULL;
    if (uv_loop_init(&serving.loop) != 0)
        return EXIT_FAILED_WORK;
    buf_init(&serving.input, MESSAGE_MAX);
    serving.host = (struct mcp_host){.name = target->name, .may_call = true, .ask = ask, .ctx = &serving};
    int result = load(&serving, &version);
    if (result == EXIT_DONE) {
        use(&serving, version);
        begin(&serving);
        uv_run(&serving.loop, UV_RUN_DEFAULT);
        uv_close((uv_handle_t *)&serving.prepare, NULL);
        uv_close((uv_handle_t *)&serving.timer, NULL);
        free_leaving(&serving);
        free_version(serving.current);
        target->runtime = NULL;
        result = serving.result;
    }
    uv_run(&serving.loop, UV_RUN_DEFAULT); /* closes what is closing */
    fflush(stdout);
    uv_loop_close(&serving.loop);
    mcp_client_free(serving.client);
    buf_free(&serving.input);
    return result;
}

/* ---- what an agent is told ---- */

struct agent {
    const char *name;
    const char *begin, *end; /* around the entries; they differ in little else */
    const char *type;        /* of a server that is started */
};

static const struct agent agents[] = {
    {"claude", "{\"mcpServers\":{", "}}", NULL},
    {"cursor", "{\"mcpServers\":{", "}}", NULL},
    {"vscode", "{\"servers\":{", "}}", "stdio"},
};

static void add_command(struct buf *out, const struct agent *agent, const char *folder)
{
    char program[PATH_MAX] = "workers";
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    if (len > 0)
        program[len] = '\0';
    if (agent->type != NULL)
        buf_addf(out, "\"type\":\"%s\",", agent->type);
    buf_adds(out, "\"command\":");
    json_write_text(out, program);
    buf_adds(out, ",\"args\":[\"mcp\",");
    json_write_text(out, folder);
    buf_addc(out, ']');
}

static void add_url(struct buf *out, const char *url, const char *name)
{
    struct buf whole;
    buf_init(&whole, BUF_UNLIMITED);
    buf_addf(&whole, "%.*s/mcp/%s", (int)(strlen(url) - (url[strlen(url) - 1] == '/')), url, name);
    buf_adds(out, "\"type\":\"http\",\"url\":");
    json_write_text(out, buf_text(&whole));
    buf_adds(out, ",\"headers\":{\"Authorization\":\"Bearer ${" TOKEN_VARIABLE "}\"}");
    buf_free(&whole);
}

static int print_config(const struct cli_args *args, const struct target *target, const char *url)
{
    const char *name = cli_value(args, "--config");
    const struct agent *agent = NULL;
    struct buf out;
    for (size_t i = 0; i < sizeof agents / sizeof agents[0]; i++)
        if (strcmp(agents[i].name, name) == 0)
            agent = &agents[i];
    if (agent == NULL)
        return cli_usage(args, "--config must be claude, cursor or vscode");
    buf_init(&out, BUF_UNLIMITED);
    buf_adds(&out, agent->begin);
    json_write_text(&out, target->name);
    buf_adds(&out, ":{");
    if (url != NULL)
        add_url(&out, url, target->name);
    else
        add_command(&out, agent, target->project.folder);
    buf_addc(&out, '}');
    buf_adds(&out, agent->end);
    int result = cli_print_json(buf_text(&out), out.len);
    buf_free(&out);
    return result;
}

static int run(const struct cli_args *args)
{
    struct target target;
    struct err err;
    const struct cli_args here = {.command = args->command, .server = "local"};
    const char *url = cli_value(args, "--url");
    if (url != NULL && !cli_flag(args, "--config"))
        return cli_usage(args, "--url goes with --config");
    if (args->count > 0 && chdir(args->positional[0]) != 0) {
        err_set(&err, ERR_NOT_FOUND, "there is no folder %s", args->positional[0]);
        return cli_fail(&err);
    }
    int result = target_open(&here, &target);
    if (result != EXIT_DONE)
        return result;
    if (cli_flag(args, "--config"))
        result = print_config(args, &target, url);
    else
        result = serve(&target);
    target_close(&target);
    return result;
}

static const struct cli_option options[] = {
    {"--config", NULL, "claude|cursor|vscode", "print what that agent needs in its configuration"},
    {"--url", NULL, "URL", "of a server: the configuration for its /mcp, in the place of this program"},
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_mcp = {
    .name = "mcp",
    .arguments = "[DIR]",
    .summary = "Give an agent the worker's tools and databases",
    .help = "Speaks the Model Context Protocol over standard input and output, for the agent that starts it. "
            "Log lines go\nto the agent, and to standard error.\n\n"
            "Examples:\n  workers mcp\n  workers mcp --config claude\n"
            "  workers mcp --config vscode --url https://workers.example.com\n",
    .options = options,
    .max_arguments = 1,
    .run = run,
};
