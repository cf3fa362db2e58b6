/* The module workers.test.native: what lua/workers/test builds on. Must not decide what a test means.
 *
 * What a test starts (a call, a cycle, a query of the store) is an operation. It lives until it is over and
 * the box that holds it in Lua is gone: a test that is stopped lets its operations end by themselves. */
#include "testing/harness_priv.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/call.h"
#include "engine/cycle.h"
#include "modules/json.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPERATION "workers.test.operation"
#define FIXTURE_MAX ((size_t)64 * 1024 * 1024)
#define JSON_MAX ((size_t)256 * 1024 * 1024)

struct operation {
    struct harness *harness;
    struct task *task; /* that waits; NULL: nobody does */
    bool boxed;        /* Lua holds it */
    bool over;
    struct call *call;
    const struct call_end *call_end;
    struct cycle *cycle;
    struct cycle_progress progress;
    const struct cycle_end *cycle_end;
    char *message, *traceback; /* of a cycle that failed, without secrets */
    const struct database *database;
    const char *key;
    struct job job;
    struct sync_info info;
    struct buf json;
    enum err_code code;
    struct err err;
    struct deferred deferred;
};

struct harness *harness_of(lua_State *L)
{
    return (struct harness *)isolate_registry(isolate_of(L));
}

/* ---- operations ---- */

static void free_operation(struct operation *operation)
{
    call_free(operation->call);
    cycle_free(operation->cycle);
    mem_free(operation->message);
    mem_free(operation->traceback);
    sync_info_free(&operation->info);
    buf_free(&operation->json);
    mem_free(operation);
}

static int operation_gc(lua_State *L)
{
    struct operation **box = luaL_checkudata(L, 1, OPERATION);
    struct operation *operation = *box;
    *box = NULL;
    if (operation == NULL)
        return 0;
    operation->boxed = false;
    if (operation->over)
        free_operation(operation);
    return 0;
}

/* From the loop, outside what has ended. */
static void let_go(void *ctx)
{
    struct operation *operation = ctx;
    operation->harness->operations--;
    operation->over = true;
    if (operation->task != NULL)
        task_wake(operation->task);
    operation->task = NULL;
    if (!operation->boxed)
        free_operation(operation);
}

static void operation_over(struct operation *operation)
{
    scheduler_defer(operation->harness->runtime->scheduler, &operation->deferred, let_go, operation);
}

static void cancel_operation(void *op)
{
    struct operation *operation = op;
    operation->task = NULL;
    if (operation->cycle != NULL && operation->cycle_end == NULL)
        cycle_stop(operation->cycle);
}

/* Pushes the box. */
static struct operation *new_operation(lua_State *L, const char *function)
{
    task_wait_begin(L, function);
    struct operation **box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = NULL;
    luaL_setmetatable(L, OPERATION);
    struct operation *operation = mem_need(sizeof *operation);
    operation->harness = harness_of(L);
    operation->boxed = true;
    operation->over = true; /* until it is started */
    buf_init(&operation->json, JSON_MAX);
    *box = operation;
    return operation;
}

/* To be returned: k runs with the box on top of the stack. */
static int wait_for(lua_State *L, struct operation *operation, lua_KFunction k)
{
    operation->over = false;
    operation->harness->operations++;
    operation->task = task_current(L);
    task_wait_set(operation->task, cancel_operation, operation);
    return task_wait(L, 0, k);
}

static struct operation *operation_at_top(lua_State *L)
{
    return *(struct operation **)luaL_checkudata(L, -1, OPERATION);
}

static void set_string(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static void set_integer(lua_State *L, const char *name, int64_t value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

static const struct capability *check_capability(lua_State *L, const char *function, bool sync)
{
    struct worker *worker = harness_of(L)->runtime->worker;
    const char *key = luaL_checkstring(L, 1);
    const struct capability *capability = worker_capability(worker, key);
    if (capability == NULL)
        luaL_error(L, "%s: the worker has no capability \"%s\"", function, key);
    if (sync && capability->kind != CAPABILITY_SYNC)
        luaL_error(L, "%s: \"%s\" is a %s, not a sync", function, key,
                   capability_kind_name(capability->kind));
    return capability;
}

/* ---- call(key, input as JSON): true and the result as JSON; or false and a table ---- */

static void call_done(void *ctx, struct call *call, const struct call_end *end)
{
    struct operation *operation = ctx;
    (void)call;
    operation->call_end = end;
    operation_over(operation);
}

static int call_over(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    const struct call_end *end = operation_at_top(L)->call_end;
    lua_pushboolean(L, end->ok);
    if (end->ok) {
        lua_pushlstring(L, end->value, end->value_len);
        return 2;
    }
    lua_newtable(L);
    set_string(L, "name", end->name);
    set_string(L, "message", end->message);
    set_string(L, "traceback", end->traceback != NULL ? end->traceback : "");
    if (end->retry_after >= 0) {
        lua_pushnumber(L, end->retry_after);
        lua_setfield(L, -2, "retryAfter");
    }
    return 2;
}

static int native_call(lua_State *L)
{
    const struct capability *capability = check_capability(L, "test.run", false);
    size_t len = 0;
    const char *json = luaL_optlstring(L, 2, "", &len);
    const struct call_input input = {.json = json, .len = len};
    struct operation *operation = new_operation(L, "test.run");
    if (call_start(operation->harness->runtime, capability, &input, call_done, operation, &operation->call,
                   &operation->err) != ERR_NONE)
        return script_raise_err(L, &operation->err);
    return wait_for(L, operation, call_over);
}

/* ---- cycle(key, allow deletes): a table ---- */

static void info_work(struct job *job, struct store *store)
{
    struct operation *operation = job->owner;
    operation->code = store_sync_info(store, operation->key, &operation->info, &operation->err);
}

static void job_after(struct job *job)
{
    operation_over(job->owner);
}

static void start_job(struct operation *operation, void (*work)(struct job *, struct store *))
{
    operation->job = (struct job){.work = work, .after = job_after, .owner = operation};
    executor_submit(operation->harness->runtime->executor, &operation->job);
}

static void cycle_done(void *ctx, struct cycle *cycle, const struct cycle_end *end)
{
    struct operation *operation = ctx;
    operation->cycle_end = end;
    cycle_get_progress(cycle, &operation->progress);
    if (end->outcome == RUN_FAILED) {
        struct runtime *runtime = operation->harness->runtime;
        const char *traceback = end->error.traceback;
        operation->message = runtime_redacted(runtime, end->error.message);
        operation->traceback = runtime_redacted(runtime, traceback != NULL ? traceback : "");
    }
    start_job(operation, info_work);
}

static const char *outcome_name(const struct cycle_end *end)
{
    if (end->outcome == RUN_FAILED)
        return "failed";
    if (end->outcome != RUN_SUCCEEDED)
        return "stopped";
    return end->sweep.held ? "held" : "done";
}

static int cycle_over(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    struct operation *operation = operation_at_top(L);
    const struct cycle_progress *progress = &operation->progress;
    const struct cycle_end *end = operation->cycle_end;
    lua_newtable(L);
    set_integer(L, "added", progress->counts.added);
    set_integer(L, "changed", progress->counts.changed);
    set_integer(L, "unchanged", progress->counts.unchanged);
    set_integer(L, "deleted", progress->counts.deleted);
    set_integer(L, "stale", progress->counts.stale);
    set_integer(L, "pages", progress->pages);
    set_integer(L, "requests", progress->requests);
    set_string(L, "outcome", outcome_name(end));
    if (operation->code == ERR_NONE)
        set_string(L, "status", sync_status_name(operation->info.status));
    if (end->sweep.held)
        set_string(L, "held", end->sweep.reason);
    if (end->outcome != RUN_FAILED)
        return 1;
    lua_newtable(L);
    set_string(L, "name", end->error.name);
    set_string(L, "message", operation->message);
    set_string(L, "traceback", operation->traceback);
    if (end->error.detail[0] != '\0')
        set_string(L, "code", end->error.detail);
    lua_setfield(L, -2, "error");
    return 1;
}

static int native_cycle(lua_State *L)
{
    const struct capability *sync = check_capability(L, "test.cycle", true);
    const struct cycle_options options = {.allow_deletes = lua_toboolean(L, 2)};
    struct operation *operation = new_operation(L, "test.cycle");
    operation->key = sync->key;
    if (cycle_start(operation->harness->runtime, sync, &options, cycle_done, operation, &operation->cycle,
                    &operation->err) != ERR_NONE)
        return script_raise_err(L, &operation->err);
    return wait_for(L, operation, cycle_over);
}

/* ---- rows(database key), state(sync key): JSON ---- */

static void rows_work(struct job *job, struct store *store)
{
    struct operation *operation = job->owner;
    operation->code = store_rows_json(store, operation->database, &operation->json, &operation->err);
}

static int json_over(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    struct operation *operation = operation_at_top(L);
    if (operation->code != ERR_NONE)
        return script_raise_err(L, &operation->err);
    if (operation->database != NULL)
        lua_pushlstring(L, buf_text(&operation->json), operation->json.len);
    else
        lua_pushstring(L, operation->info.state); /* nil when there is none */
    return 1;
}

static int native_rows(lua_State *L)
{
    const struct worker *worker = harness_of(L)->runtime->worker;
    const char *key = luaL_checkstring(L, 1);
    size_t index = worker_database(worker, key);
    if (index == SIZE_MAX)
        return luaL_error(L, "test.rows: the worker has no database \"%s\"", key);
    struct operation *operation = new_operation(L, "test.rows");
    operation->database = &worker->databases[index];
    start_job(operation, rows_work);
    return wait_for(L, operation, json_over);
}

static int native_state(lua_State *L)
{
    const struct capability *sync = check_capability(L, "test.state", true);
    struct operation *operation = new_operation(L, "test.state");
    operation->key = sync->key;
    start_job(operation, info_work);
    return wait_for(L, operation, json_over);
}

/* ---- logs, clock, variables ---- */

static int native_logs(lua_State *L)
{
    lua_Integer count = 0;
    lua_newtable(L);
    for (const struct log_line *line = harness_of(L)->first_line; line != NULL; line = line->next) {
        lua_newtable(L);
        set_string(L, "level", line->level);
        if (line->key != NULL)
            set_string(L, "key", line->key);
        lua_pushlstring(L, line->text, line->len);
        lua_setfield(L, -2, "text");
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

static int native_now(lua_State *L)
{
    lua_pushinteger(L, clock_now_ms());
    return 1;
}

static int native_set_clock(lua_State *L)
{
    clock_virtual_set(luaL_checkinteger(L, 1));
    return 0;
}

static int native_set_variable(lua_State *L)
{
    struct harness *harness = harness_of(L);
    struct err err;
    if (environment_give(harness->runtime->environment, luaL_checkstring(L, 1), luaL_checkstring(L, 2),
                         harness->options->record) != ERR_NONE) {
        err_nomem(&err);
        return script_raise_err(L, &err);
    }
    return 0;
}

static int native_redact(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    struct buf out;
    buf_init(&out, JSON_MAX);
    redactor_write(harness_of(L)->runtime->redactor, text, len, &out);
    /* An anchor first: pushing the string may raise. */
    bool failed = out.failed;
    char *copy = failed ? NULL : lua_newuserdatauv(L, out.len + 1, 0);
    size_t clean = out.len;
    if (!failed)
        memcpy(copy, buf_text(&out), clean);
    buf_free(&out);
    if (failed)
        return luaL_error(L, "out of memory");
    lua_pushlstring(L, copy, clean);
    return 1;
}

/* Where the test is that called: "tests/tasks_test.lua:12"; machinery is passed over. */
static int native_where(lua_State *L)
{
    lua_Debug frame;
    for (int level = 1; lua_getstack(L, level, &frame); level++) {
        lua_getinfo(L, "Sl", &frame);
        if (frame.currentline < 0 || frame.source[0] == '=')
            continue;
        lua_pushfstring(L, "%s:%d", frame.short_src, frame.currentline);
        return 1;
    }
    return 0;
}

/* ---- fixtures ---- */

/* The absolute path of a file of the project. */
static void fixture_path(lua_State *L, char path[PATH_MAX])
{
    const char *name = luaL_checkstring(L, 1);
    if (name[0] == '/' || name[0] == '\0' || strstr(name, "..") != NULL || strlen(name) != lua_rawlen(L, 1))
        luaL_error(L,
                   "test.recording: \"%s\" must be a path within the project, as in \"fixtures/tasks.json\"",
                   name);
    if (snprintf(path, PATH_MAX, "%s/%s", harness_of(L)->options->folder, name) >= PATH_MAX)
        luaL_error(L, "test.recording: the path is too long");
}

static int no_file(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

/* The text of the file; or nil and why. */
static int native_read(lua_State *L)
{
    char path[PATH_MAX];
    struct stat status;
    fixture_path(L, path);
    if (stat(path, &status) != 0)
        return no_file(L, strerror(errno));
    if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size > FIXTURE_MAX)
        return no_file(L, "it is no file of at most 64 MiB");
    size_t size = (size_t)status.st_size;
    char *text = lua_newuserdatauv(L, size + 1, 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, size) : -1;
    int cause = errno;
    if (fd >= 0)
        close(fd);
    if (got < 0)
        return no_file(L, strerror(cause));
    lua_pushlstring(L, text, (size_t)got);
    return 1;
}

static void make_folders(char *path, size_t from)
{
    for (char *at = path + from; *at != '\0'; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        mkdir(path, 0777); /* when it cannot be made, the file cannot be written */
        *at = '/';
    }
}

static int native_write(lua_State *L)
{
    char path[PATH_MAX], temporary[PATH_MAX + 8];
    size_t len = 0;
    const char *text = luaL_checklstring(L, 2, &len);
    fixture_path(L, path);
    make_folders(path, strlen(harness_of(L)->options->folder) + 1);
    snprintf(temporary, sizeof temporary, "%s.new", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool written = fd >= 0 && write(fd, text, len) == (ssize_t)len;
    if (fd >= 0 && close(fd) != 0)
        written = false;
    if (!written || rename(temporary, path) != 0)
        return luaL_error(L, "test.recording: cannot write %s: %s", path, strerror(errno));
    return 0;
}

/* ---- the module ---- */

static int native_install(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    harness_of(L)->hooks = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

int luaopen_workers_test_native(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"install", native_install},
        {"call", native_call},
        {"cycle", native_cycle},
        {"rows", native_rows},
        {"state", native_state},
        {"logs", native_logs},
        {"now", native_now},
        {"setClock", native_set_clock},
        {"setVariable", native_set_variable},
        {"redact", native_redact},
        {"where", native_where},
        {"read", native_read},
        {"write", native_write},
        {NULL, NULL},
    };
    luaL_newmetatable(L, OPERATION);
    lua_pushcfunction(L, operation_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    lua_pushboolean(L, harness_of(L)->options->record);
    lua_setfield(L, -2, "recording");
    return 1;
}
