/* workers.env: environment variables that the script may see. Must not read the process's own environment:
 * the host decides. */
#include "modules/modules.h"

#include "script/script_error.h"

#include <lauxlib.h>
#include <string.h>

/* The variable's value, NULL when there is none. Raises when argument arg is no name. */
static const char *look_up(lua_State *L, int arg, const char *function)
{
    size_t len = 0;
    if (lua_type(L, arg) != LUA_TSTRING)
        luaL_error(L, "%s: the name must be a string, got %s", function,
                   lua_isnoneornil(L, arg) ? "nothing" : luaL_typename(L, arg));
    const char *name = lua_tolstring(L, arg, &len);
    const struct isolate_host *host = isolate_host(isolate_of(L));
    if (host->env == NULL || strlen(name) != len)
        return NULL;
    return host->env(host->ctx, name);
}

static int env_get(lua_State *L)
{
    const char *value = look_up(L, 1, "env.get");
    lua_settop(L, 2);
    if (value != NULL)
        lua_pushstring(L, value);
    return 1;
}

static int env_require(lua_State *L)
{
    const char *value = look_up(L, 1, "env.require");
    const struct registration *registration = isolate_registry(isolate_of(L));
    if (value == NULL && registration != NULL &&
        worker_credential(registration->worker, lua_tostring(L, 1)) != NULL)
        return luaL_error(L, "%s is a credential: no script can read it, it goes into the requests by itself",
                          lua_tostring(L, 1));
    if (value == NULL || value[0] == '\0')
        return script_raise(
            L, "ConfigurationError", "not_set",
            "the environment variable %s is %s: set it with `workers env set %s=…`, or in .env",
            lua_tostring(L, 1), value == NULL ? "not set" : "empty", lua_tostring(L, 1));
    lua_pushstring(L, value);
    return 1;
}

static int env_index(lua_State *L)
{
    lua_pushstring(L, look_up(L, 2, "env"));
    return 1;
}

static int env_newindex(lua_State *L)
{
    return luaL_error(L, "env.%s cannot be set by a script: use `workers env set %s=…`, or .env",
                      luaL_tolstring(L, 2, NULL), luaL_tolstring(L, 2, NULL));
}

static const struct script_function functions[] = {
    {"get", env_get, "(name: string, absent?: any): any",
     "the value of an environment variable, or absent; also env.NAME"},
    {"require", env_require, "(name: string): string", "the same, but an error when it is not set or empty"},
    {NULL, NULL, NULL, NULL},
};

const struct script_docs env_docs = {"Environment variables that the project may see", functions, NULL};

int luaopen_workers_env(lua_State *L)
{
    static const luaL_Reg metamethods[] = {
        {"__index", env_index}, {"__newindex", env_newindex}, {NULL, NULL}};
    functions_push(L, functions);
    luaL_newlib(L, metamethods);
    lua_setmetatable(L, -2);
    return 1;
}
