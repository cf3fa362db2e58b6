/* libFuzzer harness for workers.yaml: no text may crash or leak, and what decodes must come back from its own
 * encoding.
 *
 * The first byte chooses after how many allocations Lua runs out of memory (0: never); the rest is the text.
 */
#include "script/budget.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

int luaopen_workers_yaml(lua_State *L);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No isolate here, so no CPU limit. */
__attribute__((weak)) void budget_tick(lua_State *L)
{
    (void)L;
}

struct memory {
    size_t left; /* allocations until memory is out */
};

static void *allocate(void *context, void *block, size_t old_size, size_t size)
{
    struct memory *memory = context;
    (void)old_size;
    if (size == 0) {
        free(block);
        return NULL;
    }
    if (block == NULL || size > old_size) {
        if (memory->left == 0)
            return NULL;
        memory->left--;
    }
    return realloc(block, size);
}

/* Calls yaml[name] with the value on top, which its result replaces. */
static bool call(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    lua_insert(L, -2);
    return lua_pcall(L, 1, 1, 0) == LUA_OK;
}

static int run(lua_State *L)
{
    const char *data = lua_touserdata(L, 1);
    size_t size = (size_t)lua_tointeger(L, 2);
    lua_settop(L, 0);
    luaL_requiref(L, "workers.yaml", luaopen_workers_yaml, 0);
    lua_pushlstring(L, data, size);
    if (!call(L, "decode") || !call(L, "encode"))
        return 0; /* an error is an answer; so is a text that encodes to more than the limit */
    lua_pushvalue(L, -1);
    if (!call(L, "decode") || !call(L, "encode")) {
        if (strstr(lua_tostring(L, -1), "not enough memory") != NULL)
            return 0;
        abort();
    }
    if (!lua_rawequal(L, -1, -2))
        abort();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct memory memory = {.left = SIZE_MAX};
    lua_State *L = lua_newstate(allocate, &memory);
    if (L == NULL)
        return 0;
    memory.left = data[0] == 0 ? SIZE_MAX : (size_t)data[0] * 4;
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, (void *)(uintptr_t)(data + 1));
    lua_pushinteger(L, (lua_Integer)size - 1);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK)
        lua_pop(L, 1);
    memory.left = SIZE_MAX;
    lua_close(L);
    return 0;
}
