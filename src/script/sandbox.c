/* The globals a script sees: Lua's own, less what reaches outside the isolate or cannot be bounded. What is
 * missing has a stub whose error says what to use instead. Must not offer anything that touches files,
 * processes or C code. */
#include "script/isolate_priv.h"
#include "script/safelib.h"

#include "base/buf.h"
#include "base/clock.h"

#include <lualib.h>
#include <stdlib.h>
#include <string.h>

/* What is blocked, and what to use instead. */
static const struct blocked {
    const char *table; /* NULL for a global */
    const char *name;
    const char *instead;
} blocked_functions[] = {
    {NULL, "dofile", "use require"},
    {NULL, "loadfile", "use require"},
    {"os", "execute", "workers cannot start programs"},
    {"os", "exit", "use error(\"…\") to end a run"},
    {"os", "remove", "workers cannot change files; return changes instead"},
    {"os", "rename", "workers cannot change files; return changes instead"},
    {"os", "tmpname", "workers cannot change files; return changes instead"},
    {"os", "setlocale", "texts are UTF-8 everywhere"},
    {"package", "loadlib", "workers cannot load C code; use the workers.* modules"},
    {"package", "searchpath", "use require"},
    {"string", "dump", "binary chunks cannot be loaded"},
    {"io", "open", "use workers.fs.read(path)"},
    {"io", "lines", "use workers.fs.lines(path)"},
    {"io", "read", "workers have no standard input; use the argument of execute"},
    {"io", "write", "use print or workers.log"},
    {"io", "popen", "workers cannot start programs"},
    {"io", "close", "use workers.fs"},
    {"io", "input", "use workers.fs"},
    {"io", "output", "use workers.fs"},
    {"io", "tmpfile", "use workers.fs"},
    {"io", "type", "use workers.fs"},
    {"debug", "debug", "use workers.log"},
    {"debug", "gethook", "the runtime keeps the hook"},
    {"debug", "getinfo", "use debug.traceback()"},
    {"debug", "getlocal", "use debug.traceback()"},
    {"debug", "getmetatable", "use getmetatable"},
    {"debug", "getregistry", "the registry belongs to the runtime"},
    {"debug", "getupvalue", "use debug.traceback()"},
    {"debug", "getuservalue", "user values belong to the runtime"},
    {"debug", "sethook", "the runtime keeps the hook"},
    {"debug", "setlocal", "assign to the variable"},
    {"debug", "setmetatable", "use setmetatable"},
    {"debug", "setupvalue", "assign to the variable"},
    {"debug", "setuservalue", "user values belong to the runtime"},
    {"debug", "upvalueid", "use debug.traceback()"},
    {"debug", "upvaluejoin", "use debug.traceback()"},
};

static int call_blocked(lua_State *L)
{
    const struct blocked *blocked = lua_touserdata(L, lua_upvalueindex(1));
    return luaL_error(L, "%s%s%s is not available in a worker: %s",
                      blocked->table != NULL ? blocked->table : "", blocked->table != NULL ? "." : "",
                      blocked->name, blocked->instead);
}

static void install_stubs(lua_State *L)
{
    for (size_t i = 0; i < sizeof blocked_functions / sizeof blocked_functions[0]; i++) {
        const struct blocked *blocked = &blocked_functions[i];
        if (blocked->table == NULL) {
            lua_pushglobaltable(L);
        } else if (lua_getglobal(L, blocked->table) != LUA_TTABLE) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_pushvalue(L, -1);
            lua_setglobal(L, blocked->table);
        }
        lua_pushlightuserdata(L, (void *)(uintptr_t)blocked);
        lua_pushcclosure(L, call_blocked, 1);
        lua_setfield(L, -2, blocked->name);
        lua_pop(L, 1);
    }
}

/* A finalizer runs with hooks off, so no limit would hold in it: scripts get no __gc. */
static int safe_setmetatable(lua_State *L)
{
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    if (type == LUA_TTABLE) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "__gc is not available in a worker: use a local with <close>");
        lua_pop(L, 1);
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

/* A message handler runs while the error is being raised; when the hook raises it, with hooks off, so that no
 * limit would hold in it. So what stops a script passes by its handlers. Upvalue 1 is the script's handler.
 */
static int guarded_handler(lua_State *L)
{
    if (hook_stop_reason(isolate_of(L)) != NULL)
        return 1;
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

static int xpcall_over(lua_State *L, int status, lua_KContext ctx)
{
    (void)ctx;
    /* stack: false, handler, results; or false, handler, error */
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_pushboolean(L, 0);
        lua_insert(L, -2);
        return 2;
    }
    lua_pushboolean(L, 1);
    lua_replace(L, 2);
    return lua_gettop(L) - 1;
}

static int safe_xpcall(lua_State *L)
{
    int count = lua_gettop(L); /* function, handler, arguments */
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, guarded_handler, 1);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    lua_replace(L, 1);
    lua_remove(L, 2);
    lua_rotate(L, 2, 2); /* stack: nil, handler, function, arguments */
    return xpcall_over(L, lua_pcallk(L, count - 2, LUA_MULTRET, 2, 0, xpcall_over), 0);
}

static int safe_collectgarbage(lua_State *L)
{
    const char *option = luaL_optstring(L, 1, "collect");
    if (strcmp(option, "count") == 0) {
        lua_pushnumber(L, (lua_Number)isolate_memory(isolate_of(L)) / 1024.0);
        return 1;
    }
    if (strcmp(option, "collect") == 0 || strcmp(option, "step") == 0) {
        lua_pushinteger(L, 0); /* the runtime decides when to collect */
        return 1;
    }
    return luaL_error(
        L, "collectgarbage(\"%s\") is not available in a worker: the runtime tunes the collector", option);
}

/* Joins the arguments as print does, into a string on top of the stack. */
static int print_line(lua_State *L)
{
    int count = lua_gettop(L);
    luaL_Buffer line;
    luaL_buffinit(L, &line);
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            luaL_addchar(&line, '\t');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&line);
    }
    luaL_pushresult(&line);
    size_t len = 0;
    const char *text = lua_tolstring(L, -1, &len);
    const struct isolate_host *host = isolate_host(isolate_of(L));
    if (host->log != NULL)
        host->log(host->ctx, "info", text, len);
    return 0;
}

static int os_getenv(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const struct isolate_host *host = isolate_host(isolate_of(L));
    lua_pushstring(L, host->env != NULL ? host->env(host->ctx, name) : NULL);
    return 1;
}

static int debug_traceback(lua_State *L)
{
    lua_State *from = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;
    int message = from != L || lua_isthread(L, 1) ? 2 : 1;
    if (!lua_isnoneornil(L, message) && !lua_isstring(L, message)) {
        lua_pushvalue(L, message);
        return 1;
    }
    const char *text = lua_tostring(L, message);
    script_push_traceback(L, from, from == L ? 1 : 0);
    if (text != NULL) {
        lua_pushfstring(L, "%s\n%s", text, lua_tostring(L, -1));
        lua_remove(L, -2);
    }
    return 1;
}

/* Keeps only the named functions of a library. */
static void keep_only(lua_State *L, const char *library, const char *const names[])
{
    lua_newtable(L);
    lua_getglobal(L, library);
    for (int i = 0; names[i] != NULL; i++) {
        lua_getfield(L, -1, names[i]);
        lua_setfield(L, -3, names[i]);
    }
    lua_pop(L, 1);
    lua_setglobal(L, library);
}

/* os.time() and os.date(format) of the virtual clock; Lua's own function is upvalue 1. */
static int virtual_time(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_pushinteger(L, clock_now_ms() / 1000);
        return 1;
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

static int virtual_date(lua_State *L)
{
    lua_settop(L, 2);
    if (lua_isnil(L, 1)) {
        lua_pushliteral(L, "%c");
        lua_replace(L, 1);
    }
    if (lua_isnil(L, 2)) {
        lua_pushinteger(L, clock_now_ms() / 1000);
        lua_replace(L, 2);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 2, 1);
    return 1;
}

/* stack: os */
static void follow_virtual_clock(lua_State *L)
{
    if (!clock_is_virtual())
        return;
    lua_getfield(L, -1, "time");
    lua_pushcclosure(L, virtual_time, 1);
    lua_setfield(L, -2, "time");
    lua_getfield(L, -1, "date");
    lua_pushcclosure(L, virtual_date, 1);
    lua_setfield(L, -2, "date");
}

void sandbox_install(lua_State *L)
{
    luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
    luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 1);
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1);
    luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 1);
    luaL_requiref(L, LUA_UTF8LIBNAME, luaopen_utf8, 1);
    luaL_requiref(L, LUA_OSLIBNAME, luaopen_os, 1);
    lua_settop(L, 0);
    static const char *const os_names[] = {"time", "date", "clock", "difftime", NULL};
    keep_only(L, LUA_OSLIBNAME, os_names);
    safelib_install(L);
    coroutine_open(L);
    lua_setglobal(L, LUA_COLIBNAME);

    lua_register(L, "setmetatable", safe_setmetatable);
    lua_register(L, "xpcall", safe_xpcall);
    lua_register(L, "collectgarbage", safe_collectgarbage);
    lua_register(L, "print", print_line);
    lua_pushnil(L);
    lua_setglobal(L, "warn");
    lua_getglobal(L, LUA_OSLIBNAME);
    lua_pushcfunction(L, os_getenv);
    lua_setfield(L, -2, "getenv");
    follow_virtual_clock(L);
    lua_newtable(L);
    lua_pushcfunction(L, debug_traceback);
    lua_setfield(L, -2, "traceback");
    lua_setglobal(L, LUA_DBLIBNAME);
    loader_install(L);
    install_stubs(L);
    lua_settop(L, 0);
}
