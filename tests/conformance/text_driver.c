/* The far end of test_text.py. Reads calls from stdin, each as the name of a function of workers.text, the
 * length of its argument in decimal, a newline and that many bytes. After the name there may be a second
 * argument, ":max=10", and options, ":unit=graphemes". Answers each with a line, the length of the result and
 * "ok" or "error", and the result: all that the function returns as text, with a space between. */
#include "modules/modules.h"
#include "script/budget.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((weak)) void budget_tick(lua_State *L)
{
    (void)L;
}

/* Leaves the results as one string. */
static const char *call(lua_State *L, char *function, const char *text, size_t len)
{
    lua_settop(L, 1);
    char *option = strtok_r(function, ":", &function);
    lua_getfield(L, 1, option);
    lua_pushlstring(L, text, len);
    lua_newtable(L);
    while ((option = strtok_r(NULL, ":", &function)) != NULL) {
        char *value = strchr(option, '=');
        if (value == NULL)
            return "error";
        *value++ = '\0';
        if (strcmp(option, "max") == 0) {
            lua_pushinteger(L, strtol(value, NULL, 10));
            lua_insert(L, -2);
        } else {
            lua_pushstring(L, value);
            lua_setfield(L, -2, option);
        }
    }
    if (lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0) != LUA_OK)
        return "error";
    luaL_Buffer all;
    int count = lua_gettop(L);
    luaL_buffinit(L, &all);
    for (int i = 2; i <= count; i++) {
        if (i > 2)
            luaL_addchar(&all, ' ');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&all);
    }
    luaL_pushresult(&all);
    return "ok";
}

int main(void)
{
    lua_State *L = luaL_newstate();
    char function[128];
    size_t len, size;
    if (L == NULL)
        return 1;
    luaL_requiref(L, "workers.text", luaopen_workers_text, 0);
    while (scanf("%127s %zu", function, &len) == 2 && getchar() == '\n' && len < (size_t)1 << 30) {
        char *text = malloc(len > 0 ? len : 1); /* no longer than the text, so that reading on is seen */
        if (text == NULL || fread(text, 1, len, stdin) != len)
            return 1;
        const char *verdict = call(L, function, text, len);
        free(text);
        const char *result = lua_tolstring(L, -1, &size);
        printf("%zu %s\n", size, verdict);
        fwrite(result, 1, size, stdout);
        fflush(stdout);
    }
    lua_close(L);
    return 0;
}
