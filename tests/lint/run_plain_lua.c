/* Runs a Lua file in a plain state of the Lua that is in the binary: run_plain_lua FILE ARGUMENT... */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "Usage: run_plain_lua FILE [ARGUMENT...]\n");
        return 2;
    }
    lua_State *L = luaL_newstate();
    if (L == NULL)
        return 1;
    luaL_openlibs(L);
    int failed = luaL_loadfile(L, argv[1]) != LUA_OK;
    for (int i = 2; i < argc && !failed; i++)
        lua_pushstring(L, argv[i]);
    failed = failed || lua_pcall(L, argc - 2, 0, 0) != LUA_OK;
    if (failed)
        fprintf(stderr, "%s\n",
                lua_tostring(L, -1) != NULL ? lua_tostring(L, -1) : "an error without a message");
    lua_close(L);
    return failed ? 1 : 0;
}
