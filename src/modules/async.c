/* workers.sleep, workers.all and workers.map: waiting, and several functions at once. */
#include "modules/modules.h"

#include "base/mem.h"
#include "script/task.h"

#include <math.h>
#include <string.h>

#define MAX_SLEEP_SECONDS 1e9
#define DEFAULT_CONCURRENCY 8
#define MAX_CONCURRENCY 1000

/* ---- sleep ---- */

struct sleeper {
    uv_timer_t timer;
    struct task *task;
};

static void free_sleeper(uv_handle_t *handle)
{
    mem_free(handle);
}

static void cancel_sleep(void *op)
{
    struct sleeper *sleeper = op;
    uv_close((uv_handle_t *)&sleeper->timer, free_sleeper);
}

static void sleep_over(uv_timer_t *timer)
{
    struct sleeper *sleeper = (struct sleeper *)timer;
    struct task *task = sleeper->task;
    uv_close((uv_handle_t *)timer, free_sleeper);
    task_wake(task);
}

static int return_nothing(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
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
    struct sleeper *sleeper = mem_need(sizeof *sleeper);
    sleeper->task = task_current(L);
    uv_timer_init(scheduler_loop(isolate_scheduler(isolate_of(L))), &sleeper->timer);
    uv_timer_start(&sleeper->timer, sleep_over, (uint64_t)ceil(seconds * 1000), 0);
    task_wait_set(sleeper->task, cancel_sleep, sleeper);
    return task_wait(L, 0, return_nothing);
}

/* ---- all and map ---- */

/* One call of all or map. Lives in Lua, held by the registry until nothing refers to it. */
struct group {
    struct isolate *isolate;
    struct task *parent; /* NULL once the parent no longer waits */
    struct task *children[MAX_CONCURRENCY];
    size_t child_count; /* children that have not ended */
    size_t slots;       /* children ever started */
    size_t next;        /* first item nobody has taken */
    size_t total;
    bool map;    /* call function(item, index); otherwise call the items themselves */
    bool failed; /* results.error holds what the first branch raised */
    int ref;
};

/* Stack of a child: group, items, results, function. */
enum { CHILD_GROUP = 1, CHILD_ITEMS, CHILD_RESULTS, CHILD_FUNCTION };

static void stop_children(struct group *group, struct task *but)
{
    for (size_t i = 0; i < group->slots; i++)
        if (group->children[i] != NULL && group->children[i] != but)
            task_stop(group->children[i], ERR_CANCELLED, "stopped, because another branch failed");
}

static int child_step(lua_State *L, int status, lua_KContext ctx)
{
    struct group *group = lua_touserdata(L, CHILD_GROUP);
    for (;;) {
        if (ctx != 0) { /* the call for item ctx is over; its result or error is on top */
            if (status != LUA_OK && status != LUA_YIELD) {
                if (!group->failed) {
                    group->failed = true;
                    lua_setfield(L, CHILD_RESULTS, "error");
                    stop_children(group, task_current(L));
                }
                return 0;
            }
            lua_rawseti(L, CHILD_RESULTS, (lua_Integer)ctx);
        }
        if (group->failed || group->next >= group->total)
            return 0;
        lua_settop(L, CHILD_FUNCTION);
        ctx = (lua_KContext)++group->next;
        if (group->map) {
            lua_pushvalue(L, CHILD_FUNCTION);
            lua_rawgeti(L, CHILD_ITEMS, (lua_Integer)ctx);
            lua_pushinteger(L, (lua_Integer)ctx);
            status = lua_pcallk(L, 2, 1, 0, ctx, child_step);
        } else {
            lua_rawgeti(L, CHILD_ITEMS, (lua_Integer)ctx);
            status = lua_pcallk(L, 0, 1, 0, ctx, child_step);
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

static void cancel_group(void *op)
{
    struct group *group = op;
    group->parent = NULL;
    stop_children(group, NULL);
}

/* Stack of the parent: items, function or nil, group, results. */
static int group_over(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    struct group *group = lua_touserdata(L, 3);
    luaL_unref(L, LUA_REGISTRYINDEX, group->ref);
    if (group->failed) {
        lua_getfield(L, 4, "error");
        return lua_error(L);
    }
    lua_settop(L, 4);
    return 1;
}

static int run_group(lua_State *L, const char *name, size_t concurrency, bool map)
{
    /* stack: items, function or nil */
    size_t total = lua_rawlen(L, 1);
    task_wait_begin(L, name);
    struct group *group = lua_newuserdatauv(L, sizeof *group, 0);
    memset(group, 0, sizeof *group);
    lua_createtable(L, total < 1000000 ? (int)total : 0, 1);
    if (total == 0)
        return 1;
    group->isolate = isolate_of(L);
    group->total = total;
    group->map = map;
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
        code =
            task_start(group->isolate, L, 4, task_current(L), child_done, group, &group->children[i], &err);
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
        stop_children(group, NULL);
        if (group->child_count == 0)
            return group_over(L, LUA_OK, 0);
    }
    group->parent = task_current(L);
    task_wait_set(group->parent, cancel_group, group);
    return task_wait(L, 0, group_over);
}

int async_all(lua_State *L)
{
    if (!lua_istable(L, 1))
        return luaL_error(L, "workers.all: expected a list of functions, got %s",
                          lua_isnoneornil(L, 1) ? "nothing" : luaL_typename(L, 1));
    size_t total = lua_rawlen(L, 1);
    if (total > MAX_CONCURRENCY)
        return luaL_error(L, "workers.all: more than %d functions; use workers.map with a concurrency",
                          MAX_CONCURRENCY);
    for (size_t i = 1; i <= total; i++) {
        if (lua_rawgeti(L, 1, (lua_Integer)i) != LUA_TFUNCTION)
            return luaL_error(L, "workers.all: element %d must be a function, got %s", (int)i,
                              luaL_typename(L, -1));
        lua_pop(L, 1);
    }
    lua_settop(L, 1);
    lua_pushnil(L);
    return run_group(L, "workers.all", total, false);
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
    return run_group(L, "workers.map", (size_t)concurrency, true);
}
