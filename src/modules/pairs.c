/* Tables of names and values as arrays of pairs. Must not know what they are for. */
#include "modules/pairs.h"

#include "base/number.h"

#include <math.h>
#include <stdlib.h>

#include <lauxlib.h>

const char *pairs_anchor(lua_State *L, int anchor, size_t *len)
{
    const char *text = lua_tolstring(L, -1, len);
    lua_rawseti(L, anchor, (lua_Integer)lua_rawlen(L, anchor) + 1);
    return text;
}

static bool is_null(lua_State *L, int index)
{
    return lua_islightuserdata(L, index) && lua_touserdata(L, index) == NULL;
}

/* The scalar on top of the stack, which is popped, becomes the pair's value. */
static void read_scalar(lua_State *L, const struct pairs_spec *spec, struct url_pair *pair)
{
    char number[NUMBER_TEXT_MAX];
    if (lua_isinteger(L, -1)) {
        number_format_integer(lua_tointeger(L, -1), number);
        lua_pushstring(L, number);
        lua_remove(L, -2);
    } else if (lua_type(L, -1) == LUA_TNUMBER) {
        if (!isfinite(lua_tonumber(L, -1)))
            luaL_error(L, "%s: %s \"%s\" is not a finite number", spec->function, spec->what, pair->name);
        number_format_js(lua_tonumber(L, -1), number); /* 3.0 is "3": it came from a division, most likely */
        lua_pushstring(L, number);
        lua_remove(L, -2);
    } else if (lua_isboolean(L, -1)) {
        lua_pushstring(L, lua_toboolean(L, -1) ? "true" : "false");
        lua_remove(L, -2);
    } else if (spec->null && is_null(L, -1)) {
        lua_pop(L, 1);
        pair->value = NULL;
        return;
    } else if (lua_type(L, -1) != LUA_TSTRING) {
        luaL_error(L, "%s: %s \"%s\" must be a string, a number, true, false, or a list of them, got %s",
                   spec->function, spec->what, pair->name, is_null(L, -1) ? "null" : luaL_typename(L, -1));
    }
    pair->value = pairs_anchor(L, spec->anchor, &pair->value_len);
}

/* Equal names stay in the order in which they were read. */
static int compare_pairs(const void *a, const void *b)
{
    const struct url_pair *const *x = a, *const *y = b;
    int order = url_compare_names((*x)->name, (*x)->name_len, (*y)->name, (*y)->name_len);
    return order != 0 ? order : (*x < *y ? -1 : *x > *y);
}

static void check_count(lua_State *L, const struct pairs_spec *spec, size_t count)
{
    if (count > spec->most)
        luaL_error(L, "%s: more than %d entries in %s", spec->function, (int)spec->most, spec->what);
}

/* { name = , value = } */
static const struct url_pair *collect_list(lua_State *L, int index, const struct pairs_spec *spec,
                                           size_t *count)
{
    *count = lua_rawlen(L, index);
    check_count(L, spec, *count);
    struct url_pair *pairs = lua_newuserdatauv(L, (*count + 1) * sizeof *pairs, 0);
    for (size_t i = 0; i < *count; i++) {
        if (lua_rawgeti(L, index, (lua_Integer)i + 1) != LUA_TTABLE)
            luaL_error(L, "%s: %s must be name = value, or a list of { name = , value = }; entry %d is a %s",
                       spec->function, spec->what, (int)i + 1, luaL_typename(L, -1));
        lua_pushliteral(L, "name");
        if (lua_rawget(L, -2) != LUA_TSTRING)
            luaL_error(L, "%s: the name in entry %d of %s must be a string, got %s", spec->function,
                       (int)i + 1, spec->what, luaL_typename(L, -1));
        pairs[i] = (struct url_pair){0};
        pairs[i].name = pairs_anchor(L, spec->anchor, &pairs[i].name_len);
        lua_pushliteral(L, "value");
        lua_rawget(L, -2);
        read_scalar(L, spec, &pairs[i]);
        lua_pop(L, 1);
    }
    return pairs;
}

const struct url_pair *pairs_collect(lua_State *L, int index, const struct pairs_spec *spec, size_t *count)
{
    size_t total = 0;
    index = lua_absindex(L, index);
    luaL_checkstack(L, 10, NULL);
    if (spec->list && lua_rawlen(L, index) > 0)
        return collect_list(L, index, spec, count);
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "%s: %s must have names as keys, got a %s key", spec->function, spec->what,
                       luaL_typename(L, -2));
        total += lua_istable(L, -1) ? lua_rawlen(L, -1) : 1;
        check_count(L, spec, total);
    }
    struct url_pair *sorted = lua_newuserdatauv(L, (total + 1) * sizeof *sorted, 0);
    struct url_pair *read = lua_newuserdatauv(L, (total + 1) * sizeof *read, 0);
    const struct url_pair **order = lua_newuserdatauv(L, (total + 1) * sizeof *order, 0);
    size_t at = 0;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        struct url_pair pair = {0};
        lua_pushvalue(L, -2);
        pair.name = pairs_anchor(L, spec->anchor, &pair.name_len);
        bool list = lua_istable(L, -1);
        size_t length = list ? lua_rawlen(L, -1) : 1;
        for (size_t i = 1; i <= length && at < total; i++, at++) {
            if (list)
                lua_rawgeti(L, -1, (lua_Integer)i);
            else
                lua_pushvalue(L, -1);
            read_scalar(L, spec, &pair);
            read[at] = pair;
            order[at] = &read[at];
        }
    }
    qsort(order, at, sizeof *order, compare_pairs);
    for (size_t i = 0; i < at; i++)
        sorted[i] = *order[i];
    lua_pop(L, 2);
    *count = at;
    return sorted;
}
