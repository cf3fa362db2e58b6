/* Tasks and their scheduler. Must not know what a task does or what it waits for. */
#include "script/isolate_priv.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "script/budget.h"
#include "script/timer.h"

#include <stdio.h>
#include <string.h>

/* CPU time that the to-be-closed variables of a stopped task and of its children have in all. */
#define CLEANUP_MS 100
#define BATCH_NS ((uint64_t)5000000) /* at most this long before sockets and timers are looked at again */

struct scheduler {
    uv_loop_t *loop;
    uv_idle_t idle; /* active while something is ready */
    struct task *first;
    struct task *last;
    struct deferred *deferred_first;
    struct deferred *deferred_last;
};

static void run_ready(uv_idle_t *idle);

enum err_code scheduler_new(uv_loop_t *loop, struct scheduler **out, struct err *err)
{
    struct scheduler *scheduler = mem_zalloc(sizeof *scheduler);
    if (scheduler == NULL)
        return err_nomem(err);
    scheduler->loop = loop;
    uv_idle_init(loop, &scheduler->idle);
    scheduler->idle.data = scheduler;
    *out = scheduler;
    return ERR_NONE;
}

static void free_handle_data(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void scheduler_free(struct scheduler *scheduler)
{
    if (scheduler == NULL)
        return;
    uv_close((uv_handle_t *)&scheduler->idle, free_handle_data);
}

uv_loop_t *scheduler_loop(struct scheduler *scheduler)
{
    return scheduler->loop;
}

void scheduler_defer(struct scheduler *scheduler, struct deferred *deferred, void (*fn)(void *ctx), void *ctx)
{
    *deferred = (struct deferred){.fn = fn, .ctx = ctx};
    if (scheduler->deferred_last != NULL)
        scheduler->deferred_last->next = deferred;
    else
        scheduler->deferred_first = deferred;
    scheduler->deferred_last = deferred;
    uv_idle_start(&scheduler->idle, run_ready);
}

static void enqueue(struct task *task)
{
    struct scheduler *scheduler = task->isolate->config.scheduler;
    if (task->ready)
        return;
    task->ready = true;
    task->next_ready = NULL;
    if (scheduler->last != NULL)
        scheduler->last->next_ready = task;
    else
        scheduler->first = task;
    scheduler->last = task;
    uv_idle_start(&scheduler->idle, run_ready);
}

static void remove_ready(struct task *task)
{
    struct scheduler *scheduler = task->isolate->config.scheduler;
    struct task *previous = NULL;
    if (!task->ready)
        return;
    for (struct task *at = scheduler->first; at != NULL; previous = at, at = at->next_ready) {
        if (at != task)
            continue;
        if (previous != NULL)
            previous->next_ready = at->next_ready;
        else
            scheduler->first = at->next_ready;
        if (scheduler->last == at)
            scheduler->last = previous;
        break;
    }
    task->ready = false;
}

static int make_thread(lua_State *L)
{
    lua_State **co = lua_touserdata(L, 1);
    int *ref = lua_touserdata(L, 2);
    *co = lua_newthread(L);
    *(uintptr_t *)lua_getextraspace(*co) =
        (uintptr_t)isolate_of(L); /* a new thread has the main thread's flags */
    *ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static void wall_expired(void *ctx)
{
    struct task *task = ctx;
    const struct isolate_limits *limits = &task->isolate->config.limits;
    task_stop(task, ERR_TIMEOUT,
              "time limit of %g s reached (raise %s in workers.yaml, or do less in one execute)",
              (double)limits->wall_ms / 1000.0,
              limits->wall_setting != NULL ? limits->wall_setting : "limits.wall");
}

static void start_wall_timer(struct task *task)
{
    uint64_t limit = task->isolate->config.limits.wall_ms;
    if (limit == 0)
        return;
    task->wall = timer_new(task->isolate->config.scheduler->loop, wall_expired, task);
    timer_unref(task->wall);
    timer_start(task->wall, limit, 0);
}

static void release(struct task *task)
{
    struct isolate *isolate = task->isolate;
    remove_ready(task);
    timer_close(&task->wall);
    if (task->previous != NULL)
        task->previous->next = task->next;
    else
        isolate->tasks = task->next;
    if (task->next != NULL)
        task->next->previous = task->previous;
    mem_free(task);
}

enum err_code task_start(struct isolate *isolate, lua_State *from, int nargs, struct task *parent,
                         task_done_fn done, void *ctx, struct task **out, struct err *err)
{
    lua_State *co = NULL;
    int ref = LUA_NOREF;
    struct task *task = mem_zalloc(sizeof *task);
    if (task == NULL || !lua_checkstack(from, 4)) {
        mem_free(task);
        lua_pop(from, nargs + 1);
        return err_nomem(err);
    }
    lua_pushcfunction(from, make_thread);
    lua_pushlightuserdata(from, &co);
    lua_pushlightuserdata(from, &ref);
    if (lua_pcall(from, 2, 0, 0) != LUA_OK || !lua_checkstack(co, nargs + 8)) {
        lua_settop(from, lua_gettop(from) - (co == NULL ? 1 : 0) - nargs - 1);
        mem_free(task);
        struct script_error failure;
        bool refused = isolate->heap.refused; /* whoever raises it says so again */
        script_error_init(&failure);
        script_error_memory(&failure, isolate);
        script_error_to_err(&failure, err);
        script_error_free(&failure);
        isolate->heap.refused = refused;
        return err != NULL ? err->code : ERR_NOMEM;
    }
    lua_xmove(from, co, nargs + 1);
    task->isolate = isolate;
    task->co = co;
    task->co_ref = ref;
    task->nargs = nargs;
    task->root = parent != NULL ? parent->root : task;
    task->done = done;
    task->done_ctx = ctx;
    task->budget.cpu_limit_ms = isolate->config.limits.cpu_ms;
    task->cleanup.cpu_limit_ms = CLEANUP_MS;
    task->next = isolate->tasks;
    if (task->next != NULL)
        task->next->previous = task;
    isolate->tasks = task;
    if (parent == NULL)
        start_wall_timer(task);
    enqueue(task);
    if (out != NULL)
        *out = task;
    return ERR_NONE;
}

void task_drop_all(struct isolate *isolate)
{
    for (struct task *task = isolate->tasks; task != NULL; task = task->next) {
        if (task->waiting && task->cancel != NULL) {
            task->waiting = false;
            task->cancel(task->op);
        }
    }
    while (isolate->tasks != NULL)
        release(isolate->tasks);
}

static const struct stop_reason *stop_reason(const struct task *task)
{
    if (task->stop.code != ERR_NONE)
        return &task->stop;
    return task->root->budget.stop.code != ERR_NONE ? &task->root->budget.stop : NULL;
}

/* For an error that says nothing of where: a pcall held the stop. */
static void place_stop(struct script_error *error, const struct stop_reason *stop)
{
    struct buf line;
    buf_init(&line, sizeof stop->where + 32);
    buf_addf(&line, "    %s: in what was stopped", stop->where);
    mem_free(error->traceback);
    error->traceback = buf_take(&line, NULL);
}

static void finish(struct task *task, int status)
{
    struct isolate *isolate = task->isolate;
    const struct stop_reason *stop = stop_reason(task);
    struct script_error error;
    script_error_init(&error);
    if (status == LUA_OK && stop == NULL) {
        task->done(task, task->done_ctx, task->co, NULL);
    } else {
        if (status == LUA_ERRMEM) {
            script_error_memory(&error, isolate);
        } else if (status == LUA_YIELD) {
            script_error_set(&error, ERR_SCRIPT, "attempt to yield from outside a coroutine");
        } else if (status != LUA_OK) {
            isolate->current = task;
            script_error_capture_safely(&error, isolate, task->co);
        }
        if (stop != NULL) {
            char *traceback = error.traceback;
            error.traceback = NULL;
            script_error_set(&error, stop->code, "%s", stop->message);
            error.traceback = traceback;
            if ((traceback == NULL || traceback[0] == '\0') && stop->where[0] != '\0')
                place_stop(&error, stop);
        }
        /* Pending to-be-closed variables run now, within the task's budget. */
        isolate->current = task;
        hook_slice_begin(isolate, &task->root->budget);
        coroutine_reset(isolate, task->co);
        hook_slice_end(isolate);
        isolate->current = NULL;
        if (stop == NULL && (stop = stop_reason(task)) != NULL) { /* a limit was reached only then */
            script_error_free(&error);
            script_error_set(&error, stop->code, "%s", stop->message);
        }
        task->done(task, task->done_ctx, task->co, &error);
    }
    script_error_free(&error);
    luaL_unref(isolate->L, LUA_REGISTRYINDEX, task->co_ref);
    release(task);
}

/* Ends a task that was stopped while others ran: none of its code runs any more but its cleanups, which
 * cannot wait. */
static void close_stopped(struct task *task)
{
    struct isolate *isolate = task->isolate;
    const struct stop_reason *stop = stop_reason(task);
    struct script_error error;
    script_error_init(&error);
    script_error_set(&error, stop->code, "%s", stop->message);
    error.traceback = script_error_traceback(task->co);
    isolate->current = task;
    isolate->cleaning = true;
    hook_install(task->co);
    hook_slice_begin(isolate, &task->root->cleanup);
    coroutine_reset(isolate, task->co);
    hook_slice_end(isolate);
    isolate->cleaning = false;
    isolate->current = NULL;
    task->done(task, task->done_ctx, task->co, &error);
    script_error_free(&error);
    luaL_unref(isolate->L, LUA_REGISTRYINDEX, task->co_ref);
    release(task);
}

/* A root that was stopped while it waited for its children: they were stopped with it and look at it once
 * more. */
static bool has_children(const struct task *root)
{
    for (const struct task *task = root->isolate->tasks; task != NULL; task = task->next)
        if (task != root && task->root == root)
            return true;
    return false;
}

static void run(struct task *task)
{
    struct isolate *isolate = task->isolate;
    int results = 0;
    if (stop_reason(task) != NULL) {
        if (task->root == task && has_children(task))
            enqueue(task);
        else
            close_stopped(task);
        return;
    }
    int nargs = task->nargs;
    task->nargs = 0;
    isolate->current = task;
    isolate->loop_yield = false;
    hook_install(task->co);
    hook_slice_begin(isolate, &task->root->budget);
    lua_State *outer = hook_enter(task->co);
    int status = lua_resume(task->co, NULL, nargs, &results);
    hook_leave(outer);
    hook_slice_end(isolate);
    isolate->current = NULL;
    if (status == LUA_YIELD && isolate->loop_yield) {
        isolate->loop_yield = false;
        if (!task->waiting)
            enqueue(task);
        return;
    }
    finish(task, status);
}

static void run_deferred(struct scheduler *scheduler)
{
    struct deferred *deferred = scheduler->deferred_first;
    scheduler->deferred_first = scheduler->deferred_last = NULL;
    while (deferred != NULL) {
        struct deferred *next = deferred->next; /* fn may free what holds it */
        deferred->fn(deferred->ctx);
        deferred = next;
    }
}

/* Whether there is time left. */
static bool run_tasks(struct scheduler *scheduler, uint64_t start)
{
    struct task *end = scheduler->last; /* what becomes ready meanwhile waits for the next time */
    while (scheduler->first != NULL) {
        struct task *task = scheduler->first;
        bool was_end = task == end;
        scheduler->first = task->next_ready;
        if (scheduler->first == NULL)
            scheduler->last = NULL;
        task->ready = false;
        run(task);
        if (clock_mono_ns() - start > BATCH_NS)
            return false;
        if (was_end)
            break;
    }
    return true;
}

static void run_ready(uv_idle_t *idle)
{
    struct scheduler *scheduler = idle->data;
    uint64_t start = clock_mono_ns();
    bool more = true;
    while (more) { /* what is deferred may defer more, such as the next call of many */
        more = run_tasks(scheduler, start) && clock_mono_ns() - start <= BATCH_NS;
        run_deferred(scheduler);
        more = more && scheduler->deferred_first != NULL;
    }
    if (scheduler->first == NULL && scheduler->deferred_first == NULL)
        uv_idle_stop(&scheduler->idle);
}

void task_stop(struct task *task, enum err_code code, const char *format, ...)
{
    struct stop_reason *stop = task->root == task ? &task->budget.stop : &task->stop;
    if (stop->code != ERR_NONE)
        return;
    stop->code = code;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(stop->message, sizeof stop->message, format, arguments);
    va_end(arguments);
    if (task->waiting) {
        task->waiting = false;
        if (task->cancel != NULL)
            task->cancel(task->op);
        enqueue(task);
    }
}

struct task *task_current(lua_State *L)
{
    return isolate_of(L)->current;
}

void task_wait_begin(lua_State *L, const char *function)
{
    struct isolate *isolate = isolate_of(L);
    if (isolate->current == NULL)
        luaL_error(L, "%s cannot be used while the script is being loaded: call it from an execute function",
                   function);
    if (isolate->no_wait > 0 || !lua_isyieldable(L))
        luaL_error(
            L,
            "%s cannot be used here: it waits, and this is a callback of sort, gsub, a metamethod or a "
            "module being loaded",
            function);
    budget_tick(L); /* a task that was stopped before it came here must not wait: nobody would cancel it */
}

void task_wait_set(struct task *task, void (*cancel)(void *op), void *op)
{
    task->waiting = true;
    task->cancel = cancel;
    task->op = op;
}

static int wait_over(lua_State *L, int status, lua_KContext ctx)
{
    return isolate_of(L)->current->resume(L, status, ctx);
}

int task_wait(lua_State *L, lua_KContext ctx, lua_KFunction k)
{
    struct isolate *isolate = isolate_of(L);
    isolate->current->resume = k;
    isolate->loop_yield = true;
    return lua_yieldk(L, 0, ctx, wait_over);
}

void task_wake(struct task *task)
{
    if (!task->waiting)
        return;
    task->waiting = false;
    task->cancel = NULL;
    task->op = NULL;
    enqueue(task);
}
