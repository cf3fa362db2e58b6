/* A Lua interpreter for the oracle: lua's own libraries, workers.json and workers.builder, the Lua modules
 * under a folder, and a module "schema_peer" that shows the C side of tool schemas. Must stay free of the
 * isolate, so that a difference found here is one of schemas alone.
 *
 *     oracle_peer LUA_FOLDER SCRIPT [ARGUMENT…] */
#include "base/err.h"
#include "modules/json.h"
#include "modules/modules.h"
#include "script/budget.h"
#include "worker/formats.h"
#include "worker/json_schema.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>

#define SCHEMA_TYPE "schema_peer.schema"
#define TEXT_MAX ((size_t)16 << 20)

/* Nothing limits this program's scripts. */
__attribute__((weak)) void budget_tick(lua_State *L)
{
    (void)L;
}

static int peer_format(lua_State *L)
{
    size_t name_len;
    size_t len;
    const char *name = luaL_checklstring(L, 1, &name_len);
    const char *text = luaL_checklstring(L, 2, &len);
    const struct string_format *format = format_find(name, name_len);
    luaL_argcheck(L, format != NULL, 1, "unknown format");
    lua_pushboolean(L, format->match(text, len));
    return 1;
}

static int schema_gc(lua_State *L)
{
    struct json_schema **box = luaL_checkudata(L, 1, SCHEMA_TYPE);
    json_schema_free(*box);
    *box = NULL;
    return 0;
}

/* compile(schema) -> schema object, or nil and the message */
static int peer_compile(lua_State *L)
{
    luaL_checkany(L, 1);
    struct json_schema **box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = NULL;
    luaL_setmetatable(L, SCHEMA_TYPE);
    struct err err = {0};
    if (json_schema_compile(L, 1, box, &err) == ERR_NONE)
        return 1;
    lua_pushnil(L);
    lua_pushstring(L, err.message);
    return 2;
}

/* validate(schema object, value) -> true, or false and the errors as JSON */
static int peer_validate(lua_State *L)
{
    struct json_schema **box = luaL_checkudata(L, 1, SCHEMA_TYPE);
    lua_settop(L, 2);
    struct buf errors;
    buf_init(&errors, TEXT_MAX);
    enum err_code code = json_schema_validate(*box, L, 2, &errors);
    lua_pushboolean(L, code == ERR_NONE);
    lua_pushlstring(L, buf_text(&errors), errors.len);
    buf_free(&errors);
    return 2;
}

/* write(schema object) -> the schema as JSON */
static int peer_write(lua_State *L)
{
    struct json_schema **box = luaL_checkudata(L, 1, SCHEMA_TYPE);
    struct buf out;
    buf_init(&out, TEXT_MAX);
    enum err_code code = json_schema_write(*box, &out);
    lua_pushlstring(L, buf_text(&out), out.len);
    buf_free(&out);
    if (code != ERR_NONE)
        return luaL_error(L, "the schema does not fit %d bytes", (int)TEXT_MAX);
    return 1;
}

static int open_peer(lua_State *L)
{
    static const luaL_Reg functions[] = {{"format", peer_format},
                                         {"compile", peer_compile},
                                         {"validate", peer_validate},
                                         {"write", peer_write},
                                         {NULL, NULL}};
    luaL_newmetatable(L, SCHEMA_TYPE);
    lua_pushcfunction(L, schema_gc);
    lua_setfield(L, -2, "__gc");
    luaL_newlib(L, functions);
    return 1;
}

/* Arguments: the folder, the script and what follows. Returns the script's result. */
static int run(lua_State *L)
{
    char **arguments = lua_touserdata(L, 1);
    int count = (int)lua_tointeger(L, 2);
    luaL_openlibs(L);
    luaL_requiref(L, "workers.json", luaopen_workers_json, 0);
    luaL_requiref(L, "workers.builder", luaopen_workers_builder, 0);
    luaL_requiref(L, "schema_peer", open_peer, 0);
    lua_getglobal(L, "package");
    lua_pushfstring(L, "%s/?.lua", arguments[1]);
    lua_setfield(L, -2, "path");
    lua_settop(L, 0);
    if (luaL_loadfile(L, arguments[2]) != LUA_OK)
        return lua_error(L);
    luaL_checkstack(L, count, NULL);
    for (int i = 3; i < count; i++)
        lua_pushstring(L, arguments[i]);
    lua_call(L, count - 3, 1);
    return 1;
}

int main(int count, char **arguments)
{
    if (count < 3) {
        fprintf(stderr, "usage: %s LUA_FOLDER SCRIPT [ARGUMENT...]\n", arguments[0]);
        return 2;
    }
    lua_State *L = luaL_newstate();
    if (L == NULL)
        return 1;
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, arguments);
    lua_pushinteger(L, count);
    int status = 1;
    if (lua_pcall(L, 2, 1, 0) != LUA_OK)
        fprintf(stderr, "%s: %s\n", arguments[0], luaL_tolstring(L, -1, NULL));
    else
        status = lua_isboolean(L, -1) && !lua_toboolean(L, -1) ? 1 : 0;
    lua_close(L);
    return status;
}
