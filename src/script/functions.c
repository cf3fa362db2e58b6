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

static int count_of(const struct script_function *functions)
{
    int count = 0;
    while (functions[count].name != NULL)
        count++;
    return count;
}

void functions_push(lua_State *L, const struct script_function *functions)
{
    lua_createtable(L, 0, count_of(functions));
    functions_set(L, functions);
}

void functions_push_shared(lua_State *L, const struct script_function *functions)
{
    lua_createtable(L, 0, count_of(functions)); /* stack: value, table */
    for (const struct script_function *at = functions; at->name != NULL; at++) {
        lua_pushvalue(L, -2);
        lua_pushcclosure(L, at->function, 1);
        lua_setfield(L, -2, at->name);
    }
    lua_remove(L, -2);
}
