/* workers.sleep, and several functions at once: workers.all, map, race and timeout. */
#include "modules/modules.h"

#include "base/mem.h"
#include "script/script_error.h"
#include "script/task.h"
#include "script/timer.h"

#include <math.h>
#include <string.h>

#define MAX_SLEEP_SECONDS 1e9
#define DEFAULT_CONCURRENCY 8
#define MAX_CONCURRENCY 1000

/* ---- sleep ---- */

struct sleeper {
    struct timer *timer;
    struct task *task;
};

static void cancel_sleep(void *op)
{
    struct sleeper *sleeper = op;
    timer_close(&sleeper->timer);
    mem_free(sleeper);
}

static void sleep_over(void *ctx)
{
    struct sleeper *sleeper = ctx;
    struct task *task = sleeper->task;
    cancel_sleep(sleeper);
    task_wake(task);
}

static int return_nothing(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

int modules_sleep(lua_State *L, double seconds, lua_KContext ctx, lua_KFunction k)
{
    struct sleeper *sleeper = mem_need(sizeof *sleeper);
    sleeper->task = task_current(L);
    sleeper->timer = timer_new(scheduler_loop(isolate_scheduler(isolate_of(L))), sleep_over, sleeper);
    timer_start(sleeper->timer, (uint64_t)ceil(seconds * 1000), 0);
    task_wait_set(sleeper->task, cancel_sleep, sleeper);
    return task_wait(L, ctx, k);
}

int async_sleep(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TNUMBER)
        return luaL_error(L, "workers.sleep: the seconds must be a number, got %s",
                          lua_isnoneornil(L, 1) ? "nothing" : luaL_typename(L, 1));
    double seconds = lua_tonumber(L, 1);
    if (!(seconds >= 0 && seconds <= MAX_SLEEP_SECONDS))
        return luaL_error(L, "workers.sleep: the seconds must be from 0 to %d, got %f",
                          (int)MAX_SLEEP_SECONDS, seconds);
    task_wait_begin(L, "workers.sleep");
    return modules_sleep(L, seconds, 0, return_nothing);
}

/* ---- several functions at once ---- */

enum group_kind {
    GROUP_ALL,  /* calls the items; the result is the list of theirs */
    GROUP_MAP,  /* calls function(item, index) for each */
    GROUP_FIRST /* calls the items until one of them has ended; the result is its */
};

/* One call of all, map, race or timeout. Lives in Lua, held by the registry until nothing refers to it. */
struct group {
    struct isolate *isolate;
    struct task *parent; /* NULL once the parent no longer waits */
    struct task *children[MAX_CONCURRENCY];
    size_t child_count; /* children that have not ended */
    size_t slots;       /* children ever started */
    size_t next;        /* first item nobody has taken */
    size_t total;
    enum group_kind kind;
    bool failed;  /* results.error holds what the first branch raised */
    size_t first; /* of GROUP_FIRST: the item that ended first, counted from 1 */
    double seconds;
    struct timer *timer; /* of a timeout that has not passed */
    bool expired;
    int ref;
};

/* Stack of a child: group, items, results, function, and the handler that keeps tracebacks. */
enum { CHILD_GROUP = 1, CHILD_ITEMS, CHILD_RESULTS, CHILD_FUNCTION, CHILD_HANDLER };

static void stop_children(struct group *group, struct task *but, const char *why)
{
    for (size_t i = 0; i < group->slots; i++)
        if (group->children[i] != NULL && group->children[i] != but)
            task_stop(group->children[i], ERR_CANCELLED, "stopped, because %s", why);
}

/* The call for the item is over; its result or error is on top. Whether the child goes on with other items.
 */
static bool keep_result(lua_State *L, struct group *group, bool ok, size_t item)
{
    bool over = group->failed || group->first != 0 || group->expired;
    if (!ok) {
        if (!over) {
            group->failed = true;
            lua_setfield(L, CHILD_RESULTS, "error");
            stop_children(group, task_current(L), "another branch failed");
        }
        return false;
    }
    if (group->kind != GROUP_FIRST) {
        lua_rawseti(L, CHILD_RESULTS, (lua_Integer)item);
        return true;
    }
    if (!over) {
        group->first = item;
        lua_rawseti(L, CHILD_RESULTS, (lua_Integer)item);
        stop_children(group, task_current(L), "another branch ended first");
    }
    return false;
}

static int child_step(lua_State *L, int status, lua_KContext ctx)
{
    struct group *group = lua_touserdata(L, CHILD_GROUP);
    for (;;) {
        if (ctx != 0 && !keep_result(L, group, status == LUA_OK || status == LUA_YIELD, (size_t)ctx))
            return 0;
        if (group->failed || group->next >= group->total)
            return 0;
        lua_settop(L, CHILD_HANDLER);
        ctx = (lua_KContext)++group->next;
        if (group->kind == GROUP_MAP) {
            lua_pushvalue(L, CHILD_FUNCTION);
            lua_rawgeti(L, CHILD_ITEMS, (lua_Integer)ctx);
            lua_pushinteger(L, (lua_Integer)ctx);
            status = lua_pcallk(L, 2, 1, CHILD_HANDLER, ctx, child_step);
        } else {
            lua_rawgeti(L, CHILD_ITEMS, (lua_Integer)ctx);
            status = lua_pcallk(L, 0, 1, CHILD_HANDLER, ctx, child_step);
        }
    }
}

static int child_main(lua_State *L)
{
    return child_step(L, LUA_OK, 0);
}

static void child_done(struct task *task, void *ctx, lua_State *co, const struct script_error *error)
{
    struct group *group = ctx;
    (void)co;
    (void)error; /* errors of branches are in results.error; what is left is a stop of the whole tree */
    for (size_t i = 0; i < group->slots; i++)
        if (group->children[i] == task)
            group->children[i] = NULL;
    if (--group->child_count > 0)
        return;
    if (group->parent != NULL)
        task_wake(group->parent);
    else
        luaL_unref(isolate_state(group->isolate), LUA_REGISTRYINDEX, group->ref);
}

static void expired(void *ctx)
{
    struct group *group = ctx;
    timer_close(&group->timer);
    if (group->first != 0 || group->failed)
        return;
    group->expired = true;
    stop_children(group, NULL, "its time is over");
}

static void start_timer(struct group *group)
{
    group->timer = timer_new(scheduler_loop(isolate_scheduler(group->isolate)), expired, group);
    timer_start(group->timer, (uint64_t)ceil(group->seconds * 1000), 0);
}

static void cancel_group(void *op)
{
    struct group *group = op;
    group->parent = NULL;
    timer_close(&group->timer);
    stop_children(group, NULL, "what waited for it was stopped");
}

/* Stack of the parent: items, function or nil, group, results. */
static int group_over(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    struct group *group = lua_touserdata(L, 3);
    luaL_unref(L, LUA_REGISTRYINDEX, group->ref);
    timer_close(&group->timer);
    if (group->failed) {
        lua_getfield(L, 4, "error");
        return script_raise_again(L);
    }
    if (group->expired)
        return script_raise(L, "TimeoutError", "timeout", "workers.timeout: not done within %g s",
                            group->seconds);
    lua_settop(L, 4);
    if (group->kind == GROUP_FIRST)
        lua_rawgeti(L, 4, (lua_Integer)group->first);
    return 1;
}

/* stack: items, function or nil. seconds: 0 for no timeout. */
static int run_group(lua_State *L, const char *name, enum group_kind kind, size_t concurrency, double seconds)
{
    size_t total = lua_rawlen(L, 1);
    task_wait_begin(L, name);
    struct group *group = lua_newuserdatauv(L, sizeof *group, 0);
    memset(group, 0, sizeof *group);
    lua_createtable(L, total < 1000000 ? (int)total : 0, 1);
    if (total == 0)
        return 1;
    group->isolate = isolate_of(L);
    group->total = total;
    group->kind = kind;
    group->seconds = seconds;
    lua_pushvalue(L, 3);
    group->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    struct err err = {0};
    enum err_code code = ERR_NONE;
    for (size_t i = 0; i < concurrency && i < total && code == ERR_NONE; i++) {
        lua_pushcfunction(L, child_main);
        lua_pushvalue(L, 3);
        lua_pushvalue(L, 1);
        lua_pushvalue(L, 4);
        lua_pushvalue(L, 2);
        lua_pushcfunction(L, script_keep_traceback);
        code =
            task_start(group->isolate, L, 5, task_current(L), child_done, group, &group->children[i], &err);
        if (code == ERR_NONE) {
            group->slots++;
            group->child_count++;
        }
    }
    if (code != ERR_NONE) {
        group->failed = true;
        lua_pushstring(L, err.code == ERR_LIMIT ? "not enough memory"
                                                : err.message); /* Lua's own words for it */
        lua_setfield(L, 4, "error");
        stop_children(group, NULL, "another branch could not be started");
        if (group->child_count == 0)
            return group_over(L, LUA_OK, 0);
    } else if (seconds > 0) {
        start_timer(group);
    }
    group->parent = task_current(L);
    task_wait_set(group->parent, cancel_group, group);
    return task_wait(L, 0, group_over);
}

/* Leaves the list of functions alone on the stack; returns their number. */
static size_t check_functions(lua_State *L, const char *name)
{
    if (!lua_istable(L, 1))
        luaL_error(L, "%s: expected a list of functions, got %s", name,
                   lua_isnoneornil(L, 1) ? "nothing" : luaL_typename(L, 1));
    size_t total = lua_rawlen(L, 1);
    if (total > MAX_CONCURRENCY)
        luaL_error(L, "%s: more than %d functions; use workers.map with a concurrency", name,
                   MAX_CONCURRENCY);
    for (size_t i = 1; i <= total; i++) {
        if (lua_rawgeti(L, 1, (lua_Integer)i) != LUA_TFUNCTION)
            luaL_error(L, "%s: element %d must be a function, got %s", name, (int)i, luaL_typename(L, -1));
        lua_pop(L, 1);
    }
    lua_settop(L, 1);
    return total;
}

int async_all(lua_State *L)
{
    size_t total = check_functions(L, "workers.all");
    lua_pushnil(L);
    return run_group(L, "workers.all", GROUP_ALL, total, 0);
}

int async_race(lua_State *L)
{
    size_t total = check_functions(L, "workers.race");
    if (total == 0)
        return luaL_error(L, "workers.race: the list is empty, so nothing would ever end");
    lua_pushnil(L);
    return run_group(L, "workers.race", GROUP_FIRST, total, 0);
}

/* timeout(seconds, fn) */
int async_timeout(lua_State *L)
{
    double seconds = lua_type(L, 1) == LUA_TNUMBER ? lua_tonumber(L, 1) : 0;
    if (!(seconds > 0 && seconds <= MAX_SLEEP_SECONDS))
        return luaL_error(L, "workers.timeout: the seconds must be a number above 0, and at most %d",
                          (int)MAX_SLEEP_SECONDS);
    if (!lua_isfunction(L, 2))
        return luaL_error(L, "workers.timeout: expected workers.timeout(seconds, function() … end)");
    lua_settop(L, 2);
    lua_createtable(L, 1, 0);
    lua_insert(L, 1); /* stack: items, seconds, function */
    lua_rawseti(L, 1, 1);
    lua_settop(L, 1);
    lua_pushnil(L);
    return run_group(L, "workers.timeout", GROUP_FIRST, 1, seconds);
}

/* map(list, fn) and map(list, { concurrency = n }, fn) */
int async_map(lua_State *L)
{
    lua_Integer concurrency = DEFAULT_CONCURRENCY;
    if (!lua_istable(L, 1))
        return luaL_error(L, "workers.map: expected a list, got %s",
                          lua_isnoneornil(L, 1) ? "nothing" : luaL_typename(L, 1));
    int function = lua_isfunction(L, 2) ? 2 : 3;
    if (function == 3 && lua_istable(L, 2)) {
        for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), "concurrency") != 0)
                return luaL_error(L, "workers.map: the only option is concurrency");
            concurrency = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        }
    }
    if (concurrency < 1 || concurrency > MAX_CONCURRENCY)
        return luaL_error(L, "workers.map: concurrency must be a whole number from 1 to %d", MAX_CONCURRENCY);
    if (!lua_isfunction(L, function))
        return luaL_error(
            L, "workers.map: expected workers.map(list, { concurrency = n }, function(item, index) … end)");
    lua_pushvalue(L, function);
    lua_replace(L, 2);
    lua_settop(L, 2);
    return run_group(L, "workers.map", GROUP_MAP, (size_t)concurrency, 0);
}
