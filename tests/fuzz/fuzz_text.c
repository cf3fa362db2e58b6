/* libFuzzer harness for workers.text: no bytes may crash it, leak, or become a text that is no UTF-8.
 *
 * The first byte chooses after how many allocations memory is out, in Lua and outside (0: never); the rest is
 * the text. */
#include "base/html.h"
#include "base/mem.h"
#include "base/text.h"
#include "modules/modules.h"
#include "script/budget.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

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

/* Calls text[name] with the text at index 2; leaves its result, or nothing when there is none. */
static bool call(lua_State *L, const char *name)
{
    size_t len;
    lua_settop(L, 2);
    lua_getfield(L, 1, name);
    lua_pushvalue(L, 2);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) /* an error is an answer */
        return false;
    const char *result = lua_tolstring(L, -1, &len);
    if (!text_is_utf8(result, len, NULL))
        abort();
    return true;
}

static int run(lua_State *L)
{
    static const char *const functions[] = {
        "htmlToText", "htmlToMarkdown", "toUtf8", "escapeMarkdown", "nfc",
        "nfkd",       "fold",           "lower",  "upper",          "slug"};
    const char *data = lua_touserdata(L, 1);
    size_t size = (size_t)lua_tointeger(L, 2);
    lua_settop(L, 0);
    luaL_requiref(L, "workers.text", luaopen_workers_text, 0);
    lua_pushlstring(L, data, size);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        call(L, functions[i]);
    if (text_is_utf8(data, size, NULL))
        call(L, "unescapeHtml");
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
    memory.left = data[0] == 0 || data[0] % 2 == 0 ? SIZE_MAX : (size_t)data[0];
    mem_fail_from(data[0] % 2 == 0 ? data[0] / 2 : 0);
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, (void *)(uintptr_t)(data + 1));
    lua_pushinteger(L, (lua_Integer)size - 1);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK)
        lua_pop(L, 1);
    memory.left = SIZE_MAX;
    mem_fail_from(0);
    lua_close(L);
    return 0;
}
