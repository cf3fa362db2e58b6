/* workers.time: the wall clock and RFC 3339 text. Must not know time zones: offsets are numbers, names are
 * not here.
 *
 * Moments are Unix milliseconds (integers); offsets are minutes east of UTC. */
#include "base/clock.h"
#include "base/iso8601.h"
#include "base/text.h"

#include <math.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

int luaopen_workers_time(lua_State *L);

static const char *need_text(lua_State *L, const char *function, size_t *len)
{
    if (lua_type(L, 1) != LUA_TSTRING)
        luaL_error(L, "time.%s: argument 1: string expected, got %s", function, luaL_typename(L, 1));
    return lua_tolstring(L, 1, len);
}

/* Fractions of a millisecond are cut off, so that format(now() * 1000) works. */
static int64_t need_moment(lua_State *L, const char *function)
{
    if (lua_type(L, 1) != LUA_TNUMBER)
        luaL_error(L, "time.%s: argument 1: milliseconds since 1970 expected, got %s", function,
                   luaL_typename(L, 1));
    lua_Number ms = lua_isinteger(L, 1) ? (lua_Number)lua_tointeger(L, 1) : floor(lua_tonumber(L, 1));
    /* The comparison is false for NaN too. Both ends are exact as doubles. */
    if (!(ms >= (lua_Number)ISO_MIN_MS && ms <= (lua_Number)ISO_MAX_MS))
        luaL_error(L, "time.%s: argument 1: milliseconds of the years 0000 to 9999 expected, got %s",
                   function, lua_tostring(L, 1));
    return (int64_t)ms;
}

static void read_text(lua_State *L, const char *function, struct iso_time *t)
{
    size_t len;
    const char *text = need_text(L, function, &len);
    struct err err;
    if (iso_parse(text, len, t, &err) != ERR_NONE)
        luaL_error(L, "time.%s: %s", function, err.message);
}

static int time_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_now_ms() / 1000.0);
    return 1;
}

static int time_now_ms(lua_State *L)
{
    lua_pushinteger(L, clock_now_ms());
    return 1;
}

static void set_field(lua_State *L, const char *name, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

static int time_parse(lua_State *L)
{
    struct iso_time t;
    read_text(L, "parse", &t);
    lua_createtable(L, 0, 9);
    set_field(L, "year", t.year);
    set_field(L, "month", t.month);
    set_field(L, "day", t.day);
    if (t.has_time) {
        set_field(L, "hour", t.hour);
        set_field(L, "minute", t.minute);
        set_field(L, "second", t.second);
        set_field(L, "nanosecond", t.nanosecond);
    }
    if (t.has_offset)
        set_field(L, "offset", t.offset_minutes);
    set_field(L, "epochMs", iso_unix_ms(&t));
    return 1;
}

static int time_epoch_ms(lua_State *L)
{
    struct iso_time t;
    read_text(L, "epochMs", &t);
    lua_pushinteger(L, iso_unix_ms(&t));
    return 1;
}

static const char *const precision_names[] = {
    [ISO_MINUTES] = "minutes", [ISO_SECONDS] = "s", [ISO_MILLISECONDS] = "ms"};

static enum iso_precision need_precision(lua_State *L, int index)
{
    const char *name = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : NULL;
    for (int i = 0; name != NULL && i <= ISO_MILLISECONDS; i++) {
        if (strcmp(name, precision_names[i]) == 0)
            return (enum iso_precision)i;
    }
    luaL_error(L, "time.format: option precision: \"s\", \"ms\" or \"minutes\" expected, got %s",
               luaL_tolstring(L, index, NULL));
    return ISO_MILLISECONDS;
}

static int need_offset(lua_State *L, int index)
{
    int is_integer = 0;
    lua_Integer minutes = lua_type(L, index) == LUA_TNUMBER ? lua_tointegerx(L, index, &is_integer) : 0;
    if (!is_integer || minutes < -1439 || minutes > 1439)
        luaL_error(L, "time.format: option offset: whole minutes from -1439 to 1439 expected, got %s",
                   luaL_tolstring(L, index, NULL));
    return (int)minutes;
}

static void unknown_option(lua_State *L, int index)
{
    static const char *const names[] = {"offset", "precision"};
    size_t len;
    const char *key = luaL_tolstring(L, index, &len);
    int nearest = text_nearest(key, len, names, sizeof names / sizeof names[0]);
    if (nearest >= 0)
        luaL_error(L, "time.format: unknown option \"%s\"; did you mean \"%s\"?", key, names[nearest]);
    luaL_error(L, "time.format: unknown option \"%s\"; the options are offset, precision", key);
}

static int time_format(lua_State *L)
{
    int64_t ms = need_moment(L, "format");
    int offset = 0;
    enum iso_precision precision = ISO_MILLISECONDS;
    if (!lua_isnoneornil(L, 2)) {
        if (!lua_istable(L, 2))
            luaL_error(L, "time.format: argument 2: table of options expected, got %s", luaL_typename(L, 2));
        for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
            const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
            if (strcmp(key, "offset") == 0)
                offset = need_offset(L, -1);
            else if (strcmp(key, "precision") == 0)
                precision = need_precision(L, -1);
            else
                unknown_option(L, -2);
        }
    }
    int64_t local = ms + (int64_t)offset * 60000;
    if (local < ISO_MIN_MS || local > ISO_MAX_MS)
        luaL_error(L, "time.format: with option offset = %d the year is outside 0000 to 9999", offset);
    char text[ISO_FORMAT_SIZE];
    lua_pushstring(L, iso_format(ms, offset, precision, text));
    return 1;
}

static int time_date(lua_State *L)
{
    char text[ISO_DATE_SIZE];
    lua_pushstring(L, iso_format_date(need_moment(L, "date"), text));
    return 1;
}

int luaopen_workers_time(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"now", time_now},       {"nowMs", time_now_ms}, {"parse", time_parse}, {"epochMs", time_epoch_ms},
        {"format", time_format}, {"date", time_date},    {NULL, NULL},
    };
    luaL_newlib(L, functions);
    return 1;
}
