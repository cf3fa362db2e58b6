/* Loads the Lua files below scripts/ out of the binary. */
#include "cli/scripts.h"

#include "base/embed.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>

#define LOADED "workers.scripts" /* registry: name -> what the script returned */

static int scripts_require(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LOADED);
    if (lua_getfield(L, -1, name) != LUA_TNIL)
        return 1;
    char file[256], chunk[300];
    snprintf(file, sizeof file, "scripts/%s.lua", luaL_gsub(L, name, ".", "/"));
    const struct embedded_file *found = embed_find(lua_files, file);
    if (found == NULL)
        return luaL_error(L, "module '%s' not found", name);
    snprintf(chunk, sizeof chunk, "@%s", file);
    if (luaL_loadbufferx(L, found->begin, (size_t)(found->end - found->begin), chunk, "t") != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 1);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LOADED);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
    return 1;
}

void scripts_open(lua_State *L)
{
    luaL_openlibs(L);
    lua_register(L, "require", scripts_require);
}

void scripts_push(lua_State *L, const char *name)
{
    lua_pushcfunction(L, scripts_require);
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
}
