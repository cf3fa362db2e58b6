/* The part of workers.time that counts in years, months and days of a time zone. Must not hold anything
 * across Lua calls that needs to be freed. */
#include "modules/time_priv.h"
#include "script/options.h"

#include <math.h>
#include <string.h>

#include <lauxlib.h>

#define OFFSET_SECONDS_MAX 86399

/* One of the names, which list has for the message. */
static int check_word(lua_State *L, const char *function, int index, const char *const names[], int count,
                      const char *list)
{
    const char *word = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "";
    for (int i = 0; i < count; i++) {
        if (strcmp(word, names[i]) == 0)
            return i;
    }
    return luaL_error(L, "time.%s: argument %d (unit): %s expected, got %s", function, index, list,
                      luaL_tolstring(L, index, NULL));
}

static const struct zone *zone_or_utc(const struct time_choice *choice)
{
    return choice->zone != NULL ? choice->zone : zone_utc();
}

/* ---- fields ---- */

/* Minutes, as everywhere in this module. Local mean times of old have seconds too. */
static void push_offset(lua_State *L, int seconds)
{
    if (seconds % 60 == 0)
        lua_pushinteger(L, seconds / 60);
    else
        lua_pushnumber(L, seconds / 60.0);
}

int time_offset(lua_State *L)
{
    int64_t ms = time_check_moment(L, "offset", 1, "ms");
    const struct zone *zone = time_check_zone(L, "offset", 2);
    push_offset(L, zone_offset_at(zone, ms).seconds);
    return 1;
}

int time_fields(lua_State *L)
{
    int64_t ms = time_check_moment(L, "fields", 1, "ms");
    const struct zone *zone = time_check_zone(L, "fields", 2);
    struct zoned_fields f;
    struct err err;
    if (zoned_fields_at(ms, zone_offset_at(zone, ms), &f, &err) != ERR_NONE)
        return time_raise(L, "fields", &err);
    lua_createtable(L, 0, 14);
    time_set_integer(L, "year", f.time.year);
    time_set_integer(L, "month", f.time.month);
    time_set_integer(L, "day", f.time.day);
    time_set_integer(L, "hour", f.time.hour);
    time_set_integer(L, "minute", f.time.minute);
    time_set_integer(L, "second", f.time.second);
    time_set_integer(L, "millisecond", f.time.nanosecond / 1000000);
    time_set_integer(L, "weekday", f.weekday);
    time_set_integer(L, "yearday", f.yearday);
    time_set_integer(L, "week", f.week);
    time_set_integer(L, "weekYear", f.week_year);
    push_offset(L, f.offset.seconds);
    lua_setfield(L, -2, "offset");
    lua_pushstring(L, f.offset.abbreviation);
    lua_setfield(L, -2, "abbreviation");
    lua_pushboolean(L, f.offset.is_dst);
    lua_setfield(L, -2, "isDst");
    return 1;
}

/* What fields and parse give is taken; what follows from the rest is not looked at. */
static const struct option_spec field_options[] = {
    {"year", OPTION_INTEGER, true, "0 to 9999"},
    {"month", OPTION_INTEGER, false, "1 to 12"},
    {"day", OPTION_INTEGER, false, "1 to 31"},
    {"hour", OPTION_INTEGER, false, "0 to 23"},
    {"minute", OPTION_INTEGER, false, "0 to 59"},
    {"second", OPTION_INTEGER, false, "0 to 59"},
    {"millisecond", OPTION_INTEGER, false, "0 to 999"},
    {"nanosecond", OPTION_INTEGER, false, "0 to 999999999"},
    {"offset", OPTION_NUMBER, false, "minutes east of UTC"},
    {"weekday", OPTION_ANY, false, NULL},
    {"yearday", OPTION_ANY, false, NULL},
    {"week", OPTION_ANY, false, NULL},
    {"weekYear", OPTION_ANY, false, NULL},
    {"abbreviation", OPTION_ANY, false, NULL},
    {"isDst", OPTION_ANY, false, NULL},
    {"epochMs", OPTION_ANY, false, NULL},
    {NULL, 0, false, NULL},
};

static int read_field(lua_State *L, const char *name, int low, int high, int absent)
{
    lua_Integer value = absent;
    if (lua_getfield(L, 1, name) != LUA_TNIL)
        value = lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (value < low || value > high)
        luaL_error(L, "time.of: option \"%s\": %d to %d expected, got %I", name, low, high, value);
    return (int)value;
}

/* Whether there is an offset; it is in seconds then. */
static bool read_offset(lua_State *L, int *seconds)
{
    bool given = lua_getfield(L, 1, "offset") != LUA_TNIL;
    double exact = round(lua_tonumber(L, -1) * 60);
    lua_pop(L, 1);
    /* The comparison is false for NaN too. */
    if (given && !(fabs(exact) <= OFFSET_SECONDS_MAX))
        luaL_error(L, "time.of: option \"offset\": less than 24 hours in minutes expected");
    *seconds = given ? (int)exact : 0;
    return given;
}

int time_of(lua_State *L)
{
    options_check(L, 1, field_options, "time.of");
    struct time_choice choice = time_check_choice(L, "of", 2);
    struct iso_time t = {.year = read_field(L, "year", 0, 9999, 0),
                         .month = read_field(L, "month", 1, 12, 1),
                         .day = read_field(L, "day", 1, 31, 1),
                         .hour = read_field(L, "hour", 0, 23, 0),
                         .minute = read_field(L, "minute", 0, 59, 0),
                         .second = read_field(L, "second", 0, 59, 0),
                         .nanosecond = read_field(L, "nanosecond", 0, 999999999, 0)};
    t.nanosecond = read_field(L, "millisecond", 0, 999, t.nanosecond / 1000000) * 1000000;
    int offset;
    bool has_offset = read_offset(L, &offset);
    if (t.day > iso_days_in_month(t.year, t.month))
        return luaL_error(L, "time.of: option \"day\": month %d of the year %d has %d days, got %d", t.month,
                          t.year, iso_days_in_month(t.year, t.month), t.day);

    int64_t local = iso_unix_ms(&t);
    int64_t ms = local - (int64_t)offset * 1000;
    struct err err;
    /* With a zone, the offset tells apart the two moments of a repeated time. One that the zone does not have
     * then comes from a table in which another field was changed; it says nothing. */
    if (!has_offset || (choice.zone != NULL && zone_offset_at(choice.zone, ms).seconds != offset)) {
        if (zoned_from_local(zone_or_utc(&choice), local, choice.policy, &ms, &err) != ERR_NONE)
            return time_raise(L, "of", &err);
    }
    if (ms < ISO_MIN_MS || ms > ISO_MAX_MS)
        return luaL_error(L, "time.of: the result is outside the years 0000 to 9999");
    lua_pushinteger(L, ms);
    return 1;
}

/* ---- durations ---- */

static const struct option_spec duration_options[] = {
    {"years", OPTION_INTEGER, false, NULL},
    {"months", OPTION_INTEGER, false, NULL},
    {"weeks", OPTION_INTEGER, false, NULL},
    {"days", OPTION_INTEGER, false, NULL},
    {"hours", OPTION_INTEGER, false, NULL},
    {"minutes", OPTION_INTEGER, false, NULL},
    {"seconds", OPTION_INTEGER, false, NULL},
    {"milliseconds", OPTION_INTEGER, false, NULL},
    {NULL, 0, false, NULL},
};

static struct duration check_duration(lua_State *L, const char *function, int index)
{
    struct duration duration = {0};
    options_check(L, index, duration_options, lua_pushfstring(L, "time.%s", function));
    lua_pop(L, 1);
    for (int unit = 0; unit < DURATION_UNITS; unit++) {
        const char *name = duration_unit_name((enum duration_unit)unit);
        lua_Integer max = duration_unit_max((enum duration_unit)unit);
        lua_getfield(L, index, name);
        lua_Integer amount = lua_tointeger(L, -1);
        lua_pop(L, 1);
        if (amount < -max || amount > max)
            luaL_error(L, "time.%s: option \"%s\": at most %I, either way, expected, got %I", function, name,
                       max, amount);
        duration.amounts[unit] = amount;
    }
    return duration;
}

int time_duration(lua_State *L)
{
    struct duration duration = check_duration(L, "duration", 1);
    char text[DURATION_TEXT_SIZE];
    struct err err;
    if (duration_format(&duration, text, &err) != ERR_NONE)
        return time_raise(L, "duration", &err);
    lua_pushstring(L, text);
    return 1;
}

int time_from_duration(lua_State *L)
{
    size_t len;
    const char *text = time_check_text(L, "fromDuration", 1, "text", &len);
    struct duration duration;
    struct err err;
    if (duration_parse(text, len, &duration, &err) != ERR_NONE)
        return time_raise(L, "fromDuration", &err);
    lua_createtable(L, 0, DURATION_UNITS);
    for (int unit = 0; unit < DURATION_UNITS; unit++) {
        if (duration.amounts[unit] != 0)
            time_set_integer(L, duration_unit_name((enum duration_unit)unit), duration.amounts[unit]);
    }
    return 1;
}

/* ---- arithmetic ---- */

int time_add(lua_State *L)
{
    int64_t ms = time_check_moment(L, "add", 1, "ms");
    struct duration duration = check_duration(L, "add", 2);
    struct time_choice choice = time_check_choice(L, "add", 3);
    struct err err;
    if (zoned_add(zone_or_utc(&choice), ms, &duration, choice.policy, &ms, &err) != ERR_NONE)
        return time_raise(L, "add", &err);
    lua_pushinteger(L, ms);
    return 1;
}

int time_start_of(lua_State *L)
{
    static const char *const periods[] = {
        [ZONED_HOUR] = "hour",   [ZONED_DAY] = "day",         [ZONED_WEEK] = "week",
        [ZONED_MONTH] = "month", [ZONED_QUARTER] = "quarter", [ZONED_YEAR] = "year",
    };
    int64_t ms = time_check_moment(L, "startOf", 1, "ms");
    int period = check_word(L, "startOf", 2, periods, sizeof periods / sizeof periods[0],
                            "\"year\", \"quarter\", \"month\", \"week\", \"day\" or \"hour\"");
    const struct zone *zone = time_check_zone(L, "startOf", 3);
    struct err err;
    if (zoned_start(zone, ms, (enum zoned_period)period, &ms, &err) != ERR_NONE)
        return time_raise(L, "startOf", &err);
    lua_pushinteger(L, ms);
    return 1;
}

int time_diff(lua_State *L)
{
    const char *units[DURATION_UNITS];
    for (int unit = 0; unit < DURATION_UNITS; unit++)
        units[unit] = duration_unit_name((enum duration_unit)unit);
    int64_t from = time_check_moment(L, "diff", 1, "from");
    int64_t to = time_check_moment(L, "diff", 2, "to");
    int unit =
        check_word(L, "diff", 3, units, DURATION_UNITS,
                   "\"years\", \"months\", \"weeks\", \"days\", \"hours\", \"minutes\", \"seconds\" or "
                   "\"milliseconds\"");
    const struct zone *zone = time_check_zone(L, "diff", 4);
    lua_pushinteger(L, zoned_difference(zone, from, to, (enum duration_unit)unit));
    return 1;
}
