/* Checking option tables. */
#include "script/options.h"

#include "base/text.h"

#include <lauxlib.h>
#include <string.h>

#define MAX_OPTIONS 40

static const char *type_text(enum option_type type)
{
    switch (type) {
    case OPTION_STRING:
        return "a non-empty string";
    case OPTION_TEXT:
        return "a string";
    case OPTION_INTEGER:
        return "a whole number";
    case OPTION_NUMBER:
        return "a number";
    case OPTION_BOOLEAN:
        return "true or false";
    case OPTION_FUNCTION:
        return "a function";
    case OPTION_TABLE:
        return "a table";
    case OPTION_ANY:
        return "a value";
    }
    return "a value";
}

/* Whether the value on top of the stack fits. */
static bool fits(lua_State *L, enum option_type type)
{
    switch (type) {
    case OPTION_STRING:
        return lua_type(L, -1) == LUA_TSTRING && lua_rawlen(L, -1) > 0;
    case OPTION_TEXT:
        return lua_type(L, -1) == LUA_TSTRING;
    case OPTION_INTEGER: {
        int integral = 0;
        return lua_type(L, -1) == LUA_TNUMBER && (lua_tointegerx(L, -1, &integral), integral);
    }
    case OPTION_NUMBER:
        return lua_type(L, -1) == LUA_TNUMBER;
    case OPTION_BOOLEAN:
        return lua_isboolean(L, -1);
    case OPTION_FUNCTION:
        return lua_isfunction(L, -1);
    case OPTION_TABLE:
        return lua_istable(L, -1);
    case OPTION_ANY:
        return true;
    }
    return false;
}

static void refuse_unknown(lua_State *L, const char *name, const struct option_spec *specs, const char *what)
{
    const char *names[MAX_OPTIONS] = {0};
    size_t count = 0;
    for (; specs[count].name != NULL && count < MAX_OPTIONS; count++)
        names[count] = specs[count].name;
    int nearest = text_nearest(name, strlen(name), names, count);
    if (nearest >= 0) {
        luaL_error(L, "%s: unknown option \"%s\"; did you mean \"%s\"?", what, name, names[nearest]);
        return;
    }
    luaL_Buffer list;
    luaL_buffinit(L, &list);
    for (size_t i = 0; i < count; i++) {
        luaL_addstring(&list, i > 0 ? ", " : "");
        luaL_addstring(&list, names[i]);
    }
    luaL_pushresult(&list);
    luaL_error(L, "%s: unknown option \"%s\"; the options are: %s", what, name, lua_tostring(L, -1));
}

void options_check(lua_State *L, int index, const struct option_spec *specs, const char *what)
{
    index = lua_absindex(L, index);
    if (!lua_istable(L, index))
        luaL_error(L, "%s: expected a table of options, got %s", what,
                   lua_isnoneornil(L, index) ? "nothing" : luaL_typename(L, index));
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "%s: expected named options (name = value), got an entry with a %s key", what,
                       luaL_typename(L, -2));
        const char *name = lua_tostring(L, -2);
        const struct option_spec *spec = specs;
        while (spec->name != NULL && strcmp(spec->name, name) != 0)
            spec++;
        if (spec->name == NULL)
            refuse_unknown(L, name, specs, what);
        else if (!fits(L, spec->type))
            luaL_error(L, "%s: option \"%s\" must be %s%s%s%s, got %s", what, name, type_text(spec->type),
                       spec->help != NULL ? " (" : "", spec->help != NULL ? spec->help : "",
                       spec->help != NULL ? ")" : "",
                       lua_type(L, -1) == LUA_TSTRING && lua_rawlen(L, -1) == 0 ? "an empty string"
                                                                                : luaL_typename(L, -1));
        lua_pop(L, 1);
    }
    for (const struct option_spec *spec = specs; spec->name != NULL; spec++) {
        if (!spec->required)
            continue;
        if (lua_getfield(L, index, spec->name) == LUA_TNIL)
            luaL_error(L, "%s: option \"%s\" is missing%s%s", what, spec->name,
                       spec->help != NULL ? ": " : "", spec->help != NULL ? spec->help : "");
        lua_pop(L, 1);
    }
}

const char *options_string(lua_State *L, int index, const char *name, const char *absent)
{
    const char *text = lua_getfield(L, index, name) == LUA_TSTRING ? lua_tostring(L, -1) : absent;
    lua_pop(L, 1); /* the table still holds the string */
    return text;
}

double options_number(lua_State *L, int index, const char *name, double absent)
{
    double number = lua_getfield(L, index, name) == LUA_TNUMBER ? lua_tonumber(L, -1) : absent;
    lua_pop(L, 1);
    return number;
}

uint64_t options_size(lua_State *L, int index, const char *name, uint64_t absent, const char *what)
{
    uint64_t bytes = absent;
    int integral = 0;
    int type = lua_getfield(L, index, name);
    lua_Integer number = type == LUA_TNUMBER ? lua_tointegerx(L, -1, &integral) : 0;
    if (type == LUA_TSTRING) {
        struct err err;
        size_t len = 0;
        const char *text = lua_tolstring(L, -1, &len);
        if (text_parse_size(text, len, &bytes, &err) != ERR_NONE)
            luaL_error(L, "%s: option \"%s\": %s", what, name, err.message);
    } else if (integral && number >= 0) {
        bytes = (uint64_t)number;
    } else if (type != LUA_TNIL) {
        luaL_error(L, "%s: option \"%s\" must be a whole number of bytes or a text such as \"64MiB\", got %s",
                   what, name, integral ? "a negative number" : luaL_typename(L, -1));
    }
    lua_pop(L, 1);
    return bytes;
}

bool options_boolean(lua_State *L, int index, const char *name, bool absent)
{
    bool value = lua_getfield(L, index, name) == LUA_TNIL ? absent : lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}
