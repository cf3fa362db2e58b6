/* Decodes whatever comes; what is accepted must encode, decode again to the same value, and encode to the
 * same text. The scanner alone must agree with the Lua codec on what is JSON. */
#include "base/json.h"
#include "modules/json.h"
#include "script/budget.h"

#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

__attribute__((weak)) void budget_tick(lua_State *L)
{
    (void)L;
}

static void broken(const char *what, const char *message)
{
    fprintf(stderr, "%s: %s\n", what, message);
    abort();
}

static size_t count_keys(lua_State *L, int index)
{
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        count++;
    return count;
}

/* Bit for bit, type for type, metatables too. Both indices are absolute. */
static bool same(lua_State *L, int a, int b)
{
    if (lua_type(L, a) != lua_type(L, b) || lua_isinteger(L, a) != lua_isinteger(L, b))
        return false;
    if (lua_type(L, a) == LUA_TNUMBER && !lua_isinteger(L, a)) {
        double x = lua_tonumber(L, a);
        double y = lua_tonumber(L, b);
        return memcmp(&x, &y, sizeof x) == 0;
    }
    if (!lua_istable(L, a))
        return lua_rawequal(L, a, b);
    luaL_checkstack(L, LUA_MINSTACK, "deep");
    if (json_is_array(L, a) != json_is_array(L, b) || count_keys(L, a) != count_keys(L, b))
        return false;
    bool marked[2] = {lua_getmetatable(L, a) != 0, false};
    if (marked[0])
        lua_pop(L, 1);
    marked[1] = lua_getmetatable(L, b) != 0;
    if (marked[1])
        lua_pop(L, 1);
    if (marked[0] != marked[1])
        return false;
    int top = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, a); lua_settop(L, top + 1)) {
        lua_pushvalue(L, top + 1);
        lua_rawget(L, b);
        if (!same(L, top + 2, top + 3))
            return false;
    }
    return true;
}

static bool scanner_accepts(const char *text, size_t len)
{
    struct json_scan scan;
    struct err err;
    struct json_slice slice = {NULL, 0};
    json_scan_init(&scan, text, len);
    return json_scan_value(&scan, &err) == ERR_NONE && json_scan_skip(&scan, &slice, &err) == ERR_NONE &&
           json_scan_end(&scan, &err) == ERR_NONE && slice.text != NULL && slice.len <= len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    static unsigned rounds;
    if (L == NULL)
        L = luaL_newstate();
    struct json_encode_options sorted = {.sort_keys = true, .pretty = (size & 1) != 0};
    struct buf once;
    struct buf twice;
    struct err err;
    buf_init(&once, 64 << 20);
    buf_init(&twice, 64 << 20);
    bool accepted = json_decode(L, (const char *)data, size, &err) == ERR_NONE;
    if (accepted != scanner_accepts((const char *)data, size))
        broken("scanner and codec disagree", accepted ? "accepted by the codec" : err.message);
    if (accepted) {
        if (json_encode(L, 1, &sorted, &once, &err) != ERR_NONE)
            broken("a decoded value cannot be encoded", err.message);
        if (json_decode(L, buf_text(&once), once.len, &err) != ERR_NONE)
            broken("encoded text is refused", err.message);
        if (!same(L, 1, 2))
            broken("the value changed", buf_text(&once));
        if (json_encode(L, 2, &sorted, &twice, &err) != ERR_NONE)
            broken("a value cannot be encoded twice", err.message);
        if (once.len != twice.len || memcmp(once.data, twice.data, once.len) != 0)
            broken("the text changed", buf_text(&twice));
    } else if (strncmp(err.message, "line ", 5) != 0) {
        broken("the message names no place", err.message);
    }
    /* As the content of a Lua string: either named as no UTF-8, or it comes back as it was. */
    lua_settop(L, 0);
    lua_pushlstring(L, (const char *)data, size);
    buf_clear(&once);
    if (json_encode(L, 1, NULL, &once, &err) == ERR_NONE) {
        if (json_decode(L, buf_text(&once), once.len, &err) != ERR_NONE)
            broken("an encoded string is refused", err.message);
        if (!lua_rawequal(L, 1, 2))
            broken("the string changed", buf_text(&once));
    }
    if (size >= sizeof(double)) {
        double value;
        memcpy(&value, data, sizeof value);
        char text[NUMBER_TEXT_MAX];
        struct number number;
        size_t len = number_format_double(value, text);
        if (isfinite(value) && (number_parse(text, len, &number) != NUMBER_OK || number.is_integer ||
                                memcmp(&number.real, &value, sizeof value) != 0))
            broken("the number changed", text);
    }
    lua_settop(L, 0);
    buf_free(&once);
    buf_free(&twice);
    if (++rounds % 50000 == 0) { /* strings interned so far */
        lua_close(L);
        L = NULL;
    }
    return 0;
}
