/* workers.log: lines of the run's log, by level. Must not decide where they go; the host does. */
#include "modules/modules.h"

#include "modules/json.h"

#include <lauxlib.h>

#define SCRATCH "workers.log.scratch"
#define MAX_JSON ((size_t)256 * 1024) /* bytes of one table; a greater one is shown by its address */

enum { LEVELS = 4 };
static const struct script_function functions[LEVELS + 1];

static int scratch_release(lua_State *L)
{
    buf_free(luaL_checkudata(L, 1, SCRATCH));
    return 0;
}

/* Whether the value at index looks better as JSON than as tostring has it. */
static bool prefers_json(lua_State *L, int index)
{
    int type = lua_type(L, index);
    if (type == LUA_TLIGHTUSERDATA)
        return lua_touserdata(L, index) == NULL; /* null */
    if (type != LUA_TTABLE && type != LUA_TUSERDATA)
        return false;
    bool json = luaL_getmetafield(L, index, "__tojson") != LUA_TNIL ||
                luaL_getmetafield(L, index, "__jsonvalue") != LUA_TNIL;
    if (json) {
        lua_pop(L, 1);
        return true;
    }
    if (luaL_getmetafield(L, index, "__tostring") != LUA_TNIL) {
        lua_pop(L, 1);
        return false;
    }
    return type == LUA_TTABLE;
}

/* Adds the text of the value at index; upvalue 1 is the scratch buffer. */
static void add_value(lua_State *L, int index, luaL_Buffer *line)
{
    struct buf *scratch = lua_touserdata(L, lua_upvalueindex(1));
    static const struct json_encode_options compact = {.sort_keys = true};
    struct err err;
    if (prefers_json(L, index) && json_encode(L, index, &compact, scratch, &err) == ERR_NONE)
        luaL_addlstring(line, buf_text(scratch), scratch->len);
    else {
        luaL_tolstring(L, index, NULL);
        luaL_addvalue(line);
    }
    buf_free(scratch);
}

static int log_line(lua_State *L)
{
    int count = lua_gettop(L);
    const char *level = functions[lua_tointeger(L, lua_upvalueindex(2))].name;
    luaL_Buffer line;
    luaL_buffinit(L, &line);
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            luaL_addchar(&line, '\t');
        add_value(L, i, &line);
    }
    luaL_pushresult(&line);
    size_t len = 0;
    const char *text = lua_tolstring(L, -1, &len);
    const struct isolate_host *host = isolate_host(isolate_of(L));
    if (host->log != NULL)
        host->log(host->ctx, level, text, len);
    return 0;
}

#define LINE "(...: any)"

static const struct script_function functions[LEVELS + 1] = {
    {"debug", log_line, LINE, "writes a line of the level debug"},
    {"info", log_line, LINE, "writes a line of the level info, as print does"},
    {"warn", log_line, LINE, "writes a line of the level warn"},
    {"error", log_line, LINE, "writes a line of the level error; raises nothing"},
    {NULL, NULL, NULL, NULL},
};

const struct script_docs log_docs = {"Lines of the run's log; tables are shown as JSON", functions, NULL};

int luaopen_workers_log(lua_State *L)
{
    static const luaL_Reg closers[] = {{"__gc", scratch_release}, {"__close", scratch_release}, {NULL, NULL}};
    lua_createtable(L, 0, LEVELS);
    struct buf *scratch = lua_newuserdatauv(L, sizeof *scratch, 0);
    buf_init(scratch, MAX_JSON);
    luaL_newmetatable(L, SCRATCH);
    luaL_setfuncs(L, closers, 0);
    lua_setmetatable(L, -2);
    for (int i = 0; i < LEVELS; i++) {
        lua_pushvalue(L, -1);
        lua_pushinteger(L, i);
        lua_pushcclosure(L, log_line, 2);
        lua_setfield(L, -3, functions[i].name);
    }
    lua_pop(L, 1);
    return 1;
}
