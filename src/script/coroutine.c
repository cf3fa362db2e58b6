/* The coroutine library of scripts. As Lua's own, but a wait of the event loop inside a coroutine passes
 * through every coroutine.resume around it up to the scheduler, so that generators may call http.get. */
#include "script/isolate_priv.h"

static void set_parked(lua_State *co, bool parked)
{
    uintptr_t *space = lua_getextraspace(co);
    *space = parked ? *space | ISOLATE_PARKED : *space & ~ISOLATE_PARKED;
}

bool coroutine_parked(lua_State *co)
{
    return (*(uintptr_t *)lua_getextraspace(co) & ISOLATE_PARKED) != 0;
}

static lua_State *check_coroutine(lua_State *L, int index)
{
    lua_State *co = lua_tothread(L, index);
    luaL_argexpected(L, co != NULL, index, "coroutine");
    return co;
}

/* Outcome of one step into co: >= 0 that many results on co, FAILED with the error on L, or WAITS. */
enum { FAILED = -1, WAITS = -2 };

static int step(lua_State *L, lua_State *co, int nargs)
{
    struct isolate *isolate = isolate_of(L);
    bool blocked = !lua_isyieldable(L);
    int results = 0;
    if (blocked)
        isolate->no_wait++;
    lua_State *outer = hook_enter(co);
    int status = lua_resume(co, L, nargs, &results);
    hook_leave(outer);
    if (blocked)
        isolate->no_wait--;
    if (status == LUA_YIELD && isolate->loop_yield) {
        set_parked(co, true);
        return WAITS;
    }
    if (status == LUA_OK || status == LUA_YIELD) {
        if (!lua_checkstack(L, results + 1)) {
            lua_pop(co, results);
            lua_pushliteral(L, "too many results to resume");
            return FAILED;
        }
        lua_xmove(co, L, results);
        return results;
    }
    lua_xmove(co, L, 1);
    return FAILED;
}

/* Moves the arguments above index first over to co and takes the first step. */
static int begin(lua_State *L, lua_State *co, int first)
{
    int nargs = lua_gettop(L) - first + 1;
    if (coroutine_parked(co)) {
        lua_pushliteral(L, "cannot resume a coroutine that is waiting");
        return FAILED;
    }
    if (lua_status(co) == LUA_OK && lua_gettop(co) == 0) {
        lua_pushliteral(L, "cannot resume dead coroutine");
        return FAILED;
    }
    if (!lua_checkstack(co, nargs)) {
        lua_pushliteral(L, "too many arguments to resume");
        return FAILED;
    }
    lua_xmove(L, co, nargs);
    return step(L, co, nargs);
}

static int resume_results(lua_State *L, int outcome)
{
    lua_pushboolean(L, outcome >= 0);
    int count = outcome >= 0 ? outcome : 1;
    lua_insert(L, -(count + 1));
    return count + 1;
}

static int resume_continue(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    lua_State *co = (lua_State *)ctx;
    set_parked(co, false);
    int outcome = step(L, co, 0);
    if (outcome == WAITS)
        return lua_yieldk(L, 0, ctx, resume_continue);
    return resume_results(L, outcome);
}

static int coroutine_resume(lua_State *L)
{
    lua_State *co = check_coroutine(L, 1);
    int outcome = begin(L, co, 2);
    if (outcome == WAITS)
        return lua_yieldk(L, 0, (lua_KContext)co, resume_continue);
    return resume_results(L, outcome);
}

int coroutine_reset(struct isolate *isolate, lua_State *co)
{
    if ((*(uintptr_t *)lua_getextraspace(co) & ISOLATE_STOPPED) != 0)
        return lua_status(co);
    isolate->no_wait++;
    lua_State *outer = hook_enter(co);
    int status = lua_resetthread(co);
    hook_leave(outer);
    isolate->no_wait--;
    return status;
}

static int wrap_results(lua_State *L, lua_State *co, int outcome)
{
    if (outcome >= 0)
        return outcome;
    int status = lua_status(co);
    if (status != LUA_OK && status != LUA_YIELD) { /* failed inside: close what it left open */
        coroutine_reset(isolate_of(L), co);
        lua_settop(co, 0);
    }
    if (lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int wrap_continue(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    lua_State *co = (lua_State *)ctx;
    set_parked(co, false);
    int outcome = step(L, co, 0);
    if (outcome == WAITS)
        return lua_yieldk(L, 0, ctx, wrap_continue);
    return wrap_results(L, co, outcome);
}

static int wrap_call(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int outcome = begin(L, co, 1);
    if (outcome == WAITS)
        return lua_yieldk(L, 0, (lua_KContext)co, wrap_continue);
    return wrap_results(L, co, outcome);
}

static int coroutine_create(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    *(uintptr_t *)lua_getextraspace(co) = (uintptr_t)isolate_of(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

static int coroutine_wrap(lua_State *L)
{
    coroutine_create(L);
    lua_pushcclosure(L, wrap_call, 1);
    return 1;
}

static int coroutine_yield(lua_State *L)
{
    struct isolate *isolate = isolate_of(L);
    if (isolate->current != NULL && isolate->current->co == L)
        return luaL_error(L, "attempt to yield from outside a coroutine");
    return lua_yield(L, lua_gettop(L));
}

static const char *status_of(lua_State *L, lua_State *co)
{
    lua_Debug frame;
    if (L == co)
        return "running";
    if (coroutine_parked(co))
        return "normal";
    if (lua_status(co) == LUA_YIELD)
        return "suspended";
    if (lua_status(co) != LUA_OK)
        return "dead";
    if (lua_getstack(co, 0, &frame))
        return "normal";
    return lua_gettop(co) == 0 ? "dead" : "suspended";
}

static int coroutine_status(lua_State *L)
{
    lua_pushstring(L, status_of(L, check_coroutine(L, 1)));
    return 1;
}

static int coroutine_close(lua_State *L)
{
    lua_State *co = check_coroutine(L, 1);
    const char *status = status_of(L, co);
    if (status[0] != 's' && status[0] != 'd')
        return luaL_error(L, "cannot close a %s coroutine", status);
    if (coroutine_reset(isolate_of(L), co) == LUA_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    return 2;
}

static int coroutine_running(lua_State *L)
{
    struct isolate *isolate = isolate_of(L);
    int is_main = lua_pushthread(L);
    lua_pushboolean(L, is_main || (isolate->current != NULL && isolate->current->co == L));
    return 2;
}

static int coroutine_isyieldable(lua_State *L)
{
    lua_State *co = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;
    struct isolate *isolate = isolate_of(L);
    lua_pushboolean(L, lua_isyieldable(co) && !(isolate->current != NULL && isolate->current->co == co));
    return 1;
}

int coroutine_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"create", coroutine_create},   {"resume", coroutine_resume},           {"yield", coroutine_yield},
        {"wrap", coroutine_wrap},       {"status", coroutine_status},           {"close", coroutine_close},
        {"running", coroutine_running}, {"isyieldable", coroutine_isyieldable}, {NULL, NULL},
    };
    luaL_newlib(L, functions);
    return 1;
}
