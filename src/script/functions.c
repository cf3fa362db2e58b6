/* Registration of the functions of C modules. */
#include "script/functions.h"

#include <lauxlib.h>

void functions_set(lua_State *L, const struct script_function *functions)
{
    for (const struct script_function *at = functions; at->name != NULL; at++) {
        lua_pushcfunction(L, at->function);
        lua_setfield(L, -2, at->name);
    }
}

void functions_push(lua_State *L, const struct script_function *functions)
{
    int count = 0;
    while (functions[count].name != NULL)
        count++;
    lua_createtable(L, 0, count);
    functions_set(L, functions);
}
