/* workers.yaml: the module, and the core schema that both directions obey. Must not know libyaml:
 * yaml_decode.c and yaml_encode.c do. */
#include "modules/yaml.h"

#include "modules/modules.h"
#include "modules/yaml_priv.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <lauxlib.h>

#define SHOWN_MAX 64 /* bytes of a key or scalar in a message */

int yaml_shown_len(const char *text, size_t len)
{
    if (len <= SHOWN_MAX)
        return (int)len;
    size_t shown = SHOWN_MAX;
    while (shown > 0 && ((unsigned char)text[shown] & 0xc0) == 0x80)
        shown--;
    return (int)shown;
}

const char *yaml_ellipsis(size_t len)
{
    return len > SHOWN_MAX ? "…" : "";
}

void *yaml_new_box(lua_State *L, size_t size, const char *type, lua_CFunction release)
{
    void *box = memset(lua_newuserdatauv(L, size, 0), 0, size);
    luaL_newmetatable(L, type);
    /* Memory may have run out between these two when the metatable was made. */
    if (lua_getfield(L, -1, "__gc") == LUA_TNIL) {
        lua_pushcfunction(L, release);
        lua_setfield(L, -3, "__close");
        lua_pushcfunction(L, release);
        lua_setfield(L, -3, "__gc");
    }
    lua_pop(L, 1);
    lua_setmetatable(L, -2);
    return box;
}

/* ---- the core schema (YAML 1.2.2 section 10.3.2) ---- */

static bool is_one_of(const char *text, const char *const words[])
{
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strcmp(text, words[i]) == 0)
            return true;
    }
    return false;
}

static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
static const char *const trues[] = {"true", "True", "TRUE", NULL};
static const char *const falses[] = {"false", "False", "FALSE", NULL};
static const char *const infinities[] = {".inf", ".Inf", ".INF", NULL};
static const char *const nans[] = {".nan", ".NaN", ".NAN", NULL};

static size_t count_digits(const char *text)
{
    return strspn(text, "0123456789");
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?, and whether it is the integer part
 * alone. */
static bool is_decimal(const char *text, bool *is_integer)
{
    text += strspn(text, "+-") > 0 ? 1 : 0;
    size_t before = count_digits(text), after = 0;
    text += before;
    *is_integer = *text == '\0';
    if (*text == '.') {
        text++;
        after = count_digits(text);
        text += after;
    }
    if (before + after == 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        text++;
        text += strspn(text, "+-") > 0 ? 1 : 0;
        if (count_digits(text) == 0)
            return false;
        text += count_digits(text);
    }
    return *text == '\0';
}

/* Integer when it fits in 64 bits, else the nearest float. */
static void push_digits(lua_State *L, const char *digits, unsigned base)
{
    uint64_t exact = 0;
    double rough = 0;
    bool fits = true;
    for (; *digits != '\0'; digits++) {
        char c = *digits;
        unsigned digit = (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
        rough = rough * base + digit;
        if (exact > ((uint64_t)INT64_MAX - digit) / base)
            fits = false;
        if (fits)
            exact = exact * base + digit;
    }
    if (fits)
        lua_pushinteger(L, (lua_Integer)exact);
    else
        lua_pushnumber(L, rough);
}

enum scalar_type yaml_push_resolved(lua_State *L, const char *text, size_t len)
{
    if (strlen(text) != len)
        return SCALAR_STRING;
    if (is_one_of(text, nulls)) {
        lua_pushlightuserdata(L, NULL);
        return SCALAR_NULL;
    }
    if (is_one_of(text, trues) || is_one_of(text, falses)) {
        lua_pushboolean(L, is_one_of(text, trues));
        return SCALAR_BOOL;
    }
    const char *digits = text + 2;
    if (strncmp(text, "0o", 2) == 0 && *digits != '\0' && digits[strspn(digits, "01234567")] == '\0') {
        push_digits(L, digits, 8);
        return SCALAR_INT;
    }
    if (strncmp(text, "0x", 2) == 0 && *digits != '\0' &&
        digits[strspn(digits, "0123456789abcdefABCDEF")] == '\0') {
        push_digits(L, digits, 16);
        return SCALAR_INT;
    }
    if (is_one_of(text, nans)) {
        lua_pushnumber(L, (lua_Number)NAN);
        return SCALAR_FLOAT;
    }
    if (is_one_of(text + (strspn(text, "+-") > 0 ? 1 : 0), infinities)) {
        lua_pushnumber(L, *text == '-' ? -HUGE_VAL : HUGE_VAL);
        return SCALAR_FLOAT;
    }
    bool is_integer = false;
    /* Lua reads a superset of that grammar, as integer where it fits. */
    if (is_decimal(text, &is_integer) && lua_stringtonumber(L, text) != 0)
        return is_integer ? SCALAR_INT : SCALAR_FLOAT;
    return SCALAR_STRING;
}

/* ---- the module ---- */

static int yaml_lua_decode(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TSTRING)
        return luaL_error(L, "yaml.decode: argument 1 (text): string expected, got %s", luaL_typename(L, 1));
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);
    struct err err;
    if (yaml_decode(L, text, len, &err) != ERR_NONE)
        return luaL_error(L, "yaml.decode: %s", err.message);
    return 1;
}

static const struct script_function functions[] = {
    {"decode", yaml_lua_decode, "(text: string): any",
     "the value of a YAML document; an error has line and column"},
    {"encode", yaml_encode_call, "(value: any): string", "a value as YAML with sorted keys"},
    {NULL, NULL, NULL, NULL},
};

const struct script_docs yaml_docs = {"One document of YAML 1.2 with its core schema", functions, NULL};

int luaopen_workers_yaml(lua_State *L)
{
    functions_push(L, functions);
    return 1;
}
