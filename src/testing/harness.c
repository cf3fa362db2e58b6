/* Running a file of tests: one after the other, each with a fresh store and the clock set back; and what is
 * printed of each. Must not know what a test checks. */
#include "testing/harness_priv.h"

#include "base/clock.h"
#include "base/iso8601.h"
#include "base/json.h"
#include "base/mem.h"
#include "script/timer.h"
#include "testing/coverage.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define START_MS INT64_C(1767225600000) /* 2026-01-01T00:00:00Z, the time at the beginning of each test */
#define LOG_LINES_MAX 10000             /* of one test; the oldest go first */
#define SHOWN_LOG_LINES 40              /* of a test that failed */
#define MODULES_MAX 96

/* What the Lua half's function "run" returns. */
enum { RESULT_OK = 1, RESULT_MESSAGE, RESULT_AT, RESULT_DIFF, RESULT_TRACE };

/* ---- log lines ---- */

static void drop_first_line(struct harness *harness)
{
    struct log_line *line = harness->first_line;
    harness->first_line = line->next;
    if (harness->first_line == NULL)
        harness->last_line = NULL;
    harness->line_count--;
    mem_free(line->key);
    mem_free(line->text);
    mem_free(line);
}

static void on_log(void *ctx, const char *key, const char *run_id, const char *level, const char *text,
                   size_t len)
{
    struct harness *harness = ctx;
    (void)run_id;
    if (strcmp(level, "http") == 0 || strcmp(level, "trace") == 0)
        return;
    struct log_line *line = mem_need(sizeof *line);
    line->key = key != NULL ? mem_need_str(key) : NULL;
    snprintf(line->level, sizeof line->level, "%s", level);
    line->text = mem_strndup(text, len);
    line->len = line->text != NULL ? len : 0;
    line->next = NULL;
    if (harness->last_line != NULL)
        harness->last_line->next = line;
    else
        harness->first_line = line;
    harness->last_line = line;
    if (++harness->line_count > LOG_LINES_MAX)
        drop_first_line(harness);
}

/* ---- printing: TAP 14 with YAML diagnostics ---- */

/* A name may not look like a directive, nor end the line. */
static void print_name(FILE *out, const char *name)
{
    for (; *name != '\0'; name++) {
        if (*name == '#' || *name == '\\')
            fputc('\\', out);
        fputc((unsigned char)*name < ' ' ? ' ' : *name, out);
    }
}

static void print_field(FILE *out, const char *name, const char *text)
{
    if (text == NULL || *text == '\0')
        return;
    struct buf quoted;
    struct err ignored;
    buf_init(&quoted, BUF_UNLIMITED);
    if (strchr(text, '\n') == NULL && json_write_string(&quoted, text, strlen(text), &ignored) == ERR_NONE) {
        fprintf(out, "  %s: %s\n", name, buf_text(&quoted));
        buf_free(&quoted);
        return;
    }
    buf_free(&quoted);
    fprintf(out, "  %s: |-\n    ", name);
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            fputs("\n    ", out);
        else
            fputc((unsigned char)*text < ' ' && *text != '\t' ? '?' : *text, out);
    }
    fputc('\n', out);
}

static void print_logs(const struct harness *harness)
{
    size_t skipped = harness->line_count > SHOWN_LOG_LINES ? harness->line_count - SHOWN_LOG_LINES : 0;
    if (harness->line_count == 0)
        return;
    struct buf text;
    buf_init(&text, (size_t)64 * 1024);
    for (const struct log_line *line = harness->first_line; line != NULL; line = line->next) {
        if (skipped > 0) {
            skipped--;
            continue;
        }
        buf_addf(&text, "%s%s%s%s: ", text.len > 0 ? "\n" : "", line->key != NULL ? line->key : "",
                 line->key != NULL ? " " : "", line->level);
        buf_add(&text, line->text, line->len);
    }
    print_field(harness->options->out, "log", buf_text(&text));
    buf_free(&text);
}

static void print_failure(const struct harness *harness, const char *message, const char *at,
                          const char *diff, const char *trace)
{
    FILE *out = harness->options->out;
    fputs("  ---\n", out);
    print_field(out, "message", message);
    print_field(out, "at", at);
    print_field(out, "diff", diff);
    print_field(out, "trace", trace);
    print_logs(harness);
    fputs("  ...\n", out);
}

/* "src/main.lua:12" of a traceback's first line; "" when there is none. */
static void place_of(const char *traceback, char out[256])
{
    out[0] = '\0';
    if (traceback == NULL)
        return;
    traceback += strspn(traceback, " ");
    const char *end = strstr(traceback, ": in ");
    if (end != NULL && end - traceback < 256)
        snprintf(out, 256, "%.*s", (int)(end - traceback), traceback);
}

static int fail_file(const struct harness_options *options, const char *message, const char *traceback)
{
    char at[256];
    struct harness nothing = {.options = options};
    place_of(traceback, at);
    fputs("not ok 1 - the file can be run\n", options->out);
    print_failure(&nothing, message, at, NULL, traceback);
    fputs("1..1\n", options->out);
    return 1;
}

/* ---- one test ---- */

struct result {
    struct harness *harness;
    const char *name;
    int number;
};

static const char *text_at(lua_State *co, int index)
{
    return lua_type(co, index) == LUA_TSTRING ? lua_tostring(co, index) : NULL;
}

static void test_done(struct task *task, void *ctx, lua_State *co, const struct script_error *error)
{
    struct result *result = ctx;
    struct harness *harness = result->harness;
    FILE *out = harness->options->out;
    (void)task;
    harness->task = NULL;
    harness->failed = error != NULL || !lua_toboolean(co, RESULT_OK);
    fprintf(out, "%sok %d - ", harness->failed ? "not " : "", result->number);
    print_name(out, result->name);
    fputc('\n', out);
    if (error != NULL) {
        char at[256];
        place_of(error->traceback, at);
        print_failure(harness, error->message, at, NULL, error->traceback);
    } else if (harness->failed) {
        print_failure(harness, text_at(co, RESULT_MESSAGE), text_at(co, RESULT_AT), text_at(co, RESULT_DIFF),
                      text_at(co, RESULT_TRACE));
    }
    fflush(out);
}

/* Lets everything happen that can: the loop ends when nothing is left but to wait, and the clock jumps there.
 */
static void drive(struct harness *harness)
{
    uv_loop_t *loop = harness->runtime->loop;
    do
        uv_run(loop, UV_RUN_DEFAULT);
    while ((harness->task != NULL || harness->operations > 0) && timer_fire_next());
    if (harness->task == NULL)
        return;
    task_stop(harness->task, ERR_CANCELLED, "the test waits for something that can never happen");
    do
        uv_run(loop, UV_RUN_DEFAULT);
    while ((harness->task != NULL || harness->operations > 0) && timer_fire_next());
}

static int push_test(lua_State *L)
{
    struct harness *harness = lua_touserdata(L, 1);
    lua_Integer index = lua_tointeger(L, 2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, harness->hooks);
    lua_getfield(L, -1, "run");
    lua_pushinteger(L, index);
    return 2;
}

static enum err_code start_test(struct harness *harness, struct result *result, lua_Integer index,
                                struct script_error *error)
{
    lua_State *L = isolate_state(harness->isolate);
    struct err err;
    while (harness->first_line != NULL)
        drop_first_line(harness);
    clock_virtual_set(START_MS);
    enum err_code code = runtime_renew_memory(harness->runtime, &err);
    if (code != ERR_NONE)
        return script_error_set(error, code, "%s", err.message);
    lua_pushcfunction(L, push_test);
    lua_pushlightuserdata(L, harness);
    lua_pushinteger(L, index);
    code = isolate_call(harness->isolate, 2, 2, error);
    if (code == ERR_NONE && (code = task_start(harness->isolate, L, 1, NULL, test_done, result,
                                               &harness->task, &err)) != ERR_NONE)
        script_error_set(error, code, "%s", err.message);
    return code;
}

/* The name of the test on top of L's stack, as a copy; NULL when there are no more. */
static int push_name(lua_State *L)
{
    struct harness *harness = lua_touserdata(L, 1);
    lua_Integer index = lua_tointeger(L, 2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, harness->hooks);
    lua_getfield(L, -1, "names");
    lua_rawgeti(L, -1, index);
    return 1;
}

static char *test_name(struct harness *harness, lua_Integer index)
{
    lua_State *L = isolate_state(harness->isolate);
    struct script_error ignored;
    char *name = NULL;
    script_error_init(&ignored);
    lua_pushcfunction(L, push_name);
    lua_pushlightuserdata(L, harness);
    lua_pushinteger(L, index);
    if (isolate_call(harness->isolate, 2, 1, &ignored) == ERR_NONE) {
        if (lua_type(L, -1) == LUA_TSTRING)
            name = mem_need_str(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    script_error_free(&ignored);
    return name;
}

static int run_tests(struct harness *harness)
{
    const struct harness_options *options = harness->options;
    struct script_error error;
    int failures = 0, number = 0;
    char *name = NULL;
    script_error_init(&error);
    for (lua_Integer index = 1; (name = test_name(harness, index)) != NULL; index++) {
        struct result result = {harness, name, number + 1};
        if (options->filter == NULL || strstr(name, options->filter) != NULL) {
            number++;
            if (start_test(harness, &result, index, &error) == ERR_NONE) {
                drive(harness);
            } else {
                harness->failed = true;
                fprintf(options->out, "not ok %d - ", number);
                print_name(options->out, name);
                fputc('\n', options->out);
                print_failure(harness, error.message, NULL, NULL, error.traceback);
            }
            failures += harness->failed;
        }
        mem_free(name);
    }
    fprintf(options->out, "1..%d\n", number);
    script_error_free(&error);
    return failures;
}

/* ---- the file ---- */

static const struct script_module *all_modules(void)
{
    static struct script_module modules[MODULES_MAX + 1];
    size_t count = 0;
    for (; workers_modules[count].name != NULL && count < MODULES_MAX - 1; count++)
        modules[count] = workers_modules[count];
    modules[count] = (struct script_module){"workers.test.native", luaopen_workers_test_native, NULL};
    return modules;
}

static enum err_code open_worker(struct harness *harness, struct script_error *error)
{
    const struct harness_options *options = harness->options;
    char env[PATH_MAX];
    struct err err;
    const struct runtime_options runtime_options = {.folder = options->folder,
                                                    .script = options->script,
                                                    .config = options->config,
                                                    .log = on_log,
                                                    .log_ctx = harness,
                                                    .stand_in = &harness->stand_in};
    enum err_code code = runtime_open(&runtime_options, &harness->runtime, &err);
    if (code == ERR_NONE && snprintf(env, sizeof env, "%s/.env", options->folder) < (int)sizeof env)
        code = environment_load_file(harness->runtime->environment, env, &err);
    if (code != ERR_NONE)
        return script_error_set(error, code, "%s", err.message);
    if (options->coverage != NULL)
        coverage_start();
    return runtime_load(harness->runtime, error);
}

static enum err_code open_file(struct harness *harness, struct sources **sources, struct script_error *error)
{
    const struct harness_options *options = harness->options;
    const struct config *config = options->config;
    struct err err;
    execution_init(&harness->execution, harness->runtime, NULL);
    harness->registration = (struct registration){.worker = harness->runtime->worker, .wanted = ""};
    enum err_code code = sources_open(options->folder, options->file, sources, &err);
    if (code != ERR_NONE)
        return script_error_set(error, code, "%s", err.message);
    const struct isolate_config isolate_config = {
        .limits = {.memory_bytes = (size_t)config->limits.memory_bytes,
                   .cpu_ms = (uint64_t)config->limits.cpu_ms},
        .scheduler = harness->runtime->scheduler,
        .sources = *sources,
        .host = &harness->execution.host,
        .modules = all_modules(),
        .registry = &harness->registration,
    };
    code = isolate_open(&isolate_config, &harness->isolate, &err);
    if (code != ERR_NONE)
        return script_error_set(error, code, "%s", err.message);
    code = isolate_load_main(harness->isolate, error);
    if (code != ERR_NONE)
        return code;
    lua_settop(isolate_state(harness->isolate), 0);
    if (harness->hooks == LUA_NOREF)
        return script_error_set(error, ERR_INVALID,
                                "the file has no tests: begin it with local test = require \"workers.test\"");
    return ERR_NONE;
}

int harness_run(const struct harness_options *options)
{
    struct harness harness = {.options = options, .hooks = LUA_NOREF};
    struct sources *sources = NULL;
    struct script_error error;
    int failures;
    script_error_init(&error);
    clock_virtual_set(START_MS);
    exchange_init(&harness);
    enum err_code code = open_worker(&harness, &error);
    if (code == ERR_NONE)
        code = open_file(&harness, &sources, &error);
    if (code == ERR_NONE)
        failures = run_tests(&harness);
    else
        failures = fail_file(options, error.message, error.traceback);
    isolate_close(harness.isolate);
    if (harness.runtime != NULL) {
        http_client_free(harness.runtime->http);
        harness.runtime->http = NULL;
    }
    exchange_free(&harness);
    if (options->coverage != NULL)
        coverage_write(options->coverage);
    runtime_free(harness.runtime);
    sources_free(sources);
    while (harness.first_line != NULL)
        drop_first_line(&harness);
    script_error_free(&error);
    return failures;
}
