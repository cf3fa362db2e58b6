/* handle:accessToken() of worker:oauth. */
#include "modules/oauth.h"

#include "base/crypto.h"
#include "base/mem.h"
#include "modules/modules.h"
#include "script/script_error.h"
#include "script/task.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#define BOX "workers.oauth.call"

void oauth_call_free(struct oauth_call *call)
{
    if (call == NULL)
        return;
    if (call->token.data != NULL)
        crypto_wipe(call->token.data, call->token.len);
    buf_free(&call->token);
    buf_free(&call->stale);
    mem_free(call);
}

static void cancel(void *op)
{
    struct oauth_call **box = op;
    (*box)->task = NULL; /* the host frees it */
    *box = NULL;
}

static int release(lua_State *L)
{
    struct oauth_call **box = luaL_checkudata(L, 1, BOX);
    if (*box != NULL && (*box)->pending)
        cancel(box);
    else
        oauth_call_free(*box);
    *box = NULL;
    return 0;
}

/* As scripts see it. */
static const char *error_code(enum err_code code)
{
    return code == ERR_DENIED ? "no_access" : code == ERR_NOT_FOUND ? "not_set" : "failed";
}

/* The call has ended. It is freed at once: it holds a token. */
static int over(lua_State *L, int status, lua_KContext index)
{
    struct oauth_call **box = lua_touserdata(L, (int)index), *call = *box;
    bool failed = call->code != ERR_NONE;
    (void)status;
    if (failed) {
        size_t len = 0;
        luaL_where(L, 1);
        lua_pushstring(L, call->err.message);
        lua_concat(L, 2);
        const char *message = lua_tolstring(L, -1, &len);
        script_push_error(L, "OAuthError", error_code(call->code), message, len);
    } else {
        lua_pushlstring(L, buf_text(&call->token), call->token.len);
    }
    oauth_call_free(call);
    *box = NULL;
    return failed ? lua_error(L) : 1;
}

int oauth_access_token(lua_State *L)
{
    const struct isolate_host *host = isolate_host(isolate_of(L));
    struct err err;
    size_t len = 0;
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_getfield(L, 1, "key") != LUA_TSTRING)
        return luaL_error(L, "call it with a colon: handle:accessToken()");
    const char *key = lua_tostring(L, -1), *stale = luaL_optlstring(L, 2, "", &len);
    task_wait_begin(L, "accessToken");
    struct oauth_call **box = lua_newuserdatauv(L, sizeof(struct oauth_call *), 0);
    *box = NULL;
    luaL_setmetatable(L, BOX);
    struct oauth_call *call = mem_zalloc(sizeof *call);
    if (call == NULL)
        return luaL_error(L, "accessToken: out of memory");
    *box = call;
    buf_init(&call->stale, BUF_UNLIMITED);
    buf_init(&call->token, BUF_UNLIMITED);
    buf_add(&call->stale, stale, len);
    if (call->stale.failed)
        return luaL_error(L, "accessToken: out of memory");
    snprintf(call->key, sizeof call->key, "%s", key);
    if (host->oauth == NULL)
        return luaL_error(L, "accessToken: there are no grants here");
    if (host->oauth(host->ctx, call, task_current(L), &err) != ERR_NONE)
        return luaL_error(L, "%s", err.message);
    task_wait_set(task_current(L), cancel, box);
    return task_wait(L, lua_gettop(L), over);
}

void oauth_setup(lua_State *L)
{
    static const luaL_Reg closers[] = {{"__gc", release}, {"__close", release}, {NULL, NULL}};
    luaL_newmetatable(L, BOX);
    luaL_setfuncs(L, closers, 0);
    lua_pop(L, 1);
}
