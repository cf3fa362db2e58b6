/* workers.time: the wall clock, moments as text, and the registration of what time_calendar.c does with them.
 * Must not use the C library's calendar or its time zone.
 *
 * Moments are Unix milliseconds (integers); offsets are minutes east of UTC. Nothing here runs long: texts
 * are read once, formats have a maximum, and a zone's file is read the first time that it is named. */
#include "base/clock.h"
#include "base/date_format.h"
#include "base/http_date.h"
#include "modules/modules.h"
#include "modules/time_priv.h"
#include "script/functions.h"
#include "script/options.h"

#include <math.h>
#include <string.h>

#include <lauxlib.h>

#define OFFSET_MINUTES_MAX 1439
#define OFFSET_TEXT_SIZE 32 /* "+02:00" */

/* ---- arguments ---- */

int time_raise(lua_State *L, const char *function, const struct err *err)
{
    return luaL_error(L, "time.%s: %s", function, err->message);
}

const char *time_check_text(lua_State *L, const char *function, int index, const char *name, size_t *len)
{
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "time.%s: argument %d (%s): string expected, got %s", function, index, name,
                   luaL_typename(L, index));
    return lua_tolstring(L, index, len);
}

int64_t time_check_moment(lua_State *L, const char *function, int index, const char *name)
{
    if (lua_type(L, index) != LUA_TNUMBER)
        luaL_error(L, "time.%s: argument %d (%s): milliseconds since 1970 expected, got %s", function, index,
                   name, luaL_typename(L, index));
    lua_Number ms =
        lua_isinteger(L, index) ? (lua_Number)lua_tointeger(L, index) : floor(lua_tonumber(L, index));
    /* The comparison is false for NaN too. Both ends are exact as doubles. */
    if (!(ms >= (lua_Number)ISO_MIN_MS && ms <= (lua_Number)ISO_MAX_MS))
        luaL_error(L, "time.%s: argument %d (%s): milliseconds of the years 0000 to 9999 expected, got %s",
                   function, index, name, luaL_tolstring(L, index, NULL));
    return (int64_t)ms;
}

/* The zone whose name is the string at index; place names it in errors. */
static const struct zone *find_zone(lua_State *L, const char *function, int index, const char *place)
{
    size_t len;
    const char *name = lua_tolstring(L, index, &len);
    const struct zone *zone = NULL;
    struct err err;
    if (zone_find(name, len, &zone, &err) != ERR_NONE)
        luaL_error(L, "time.%s: %s: %s", function, place, err.message);
    return zone;
}

const struct zone *time_check_zone(lua_State *L, const char *function, int index)
{
    if (lua_isnoneornil(L, index))
        return zone_utc();
    const char *place = lua_pushfstring(L, "argument %d (zone)", index);
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "time.%s: %s: the name of a time zone, such as \"Europe/Berlin\", expected, got %s",
                   function, place, luaL_typename(L, index));
    const struct zone *zone = find_zone(L, function, index, place);
    lua_pop(L, 1);
    return zone;
}

/* Option zone of the checked table at index; NULL when absent. */
static const struct zone *zone_option(lua_State *L, const char *function, int index)
{
    const struct zone *zone = NULL;
    if (lua_getfield(L, index, "zone") == LUA_TSTRING)
        zone = find_zone(L, function, -1, "option \"zone\"");
    lua_pop(L, 1);
    return zone;
}

static enum zoned_choice choice_option(lua_State *L, const char *function, int index, const char *name,
                                       enum zoned_choice absent)
{
    static const char *const words[] = {
        [ZONED_EARLIER] = "earlier", [ZONED_LATER] = "later", [ZONED_REFUSE] = "error"};
    const char *word = options_string(L, index, name, words[absent]);
    for (int i = 0; i <= ZONED_REFUSE; i++) {
        if (strcmp(word, words[i]) == 0)
            return (enum zoned_choice)i;
    }
    luaL_error(L, "time.%s: option \"%s\": \"earlier\", \"later\" or \"error\" expected, got \"%s\"",
               function, name, word);
    return absent;
}

struct time_choice time_check_choice(lua_State *L, const char *function, int index)
{
    static const struct option_spec options[] = {
        {"zone", OPTION_STRING, false, "\"Europe/Berlin\""},
        {"repeated", OPTION_STRING, false, "\"earlier\", \"later\" or \"error\""},
        {"skipped", OPTION_STRING, false, "\"later\", \"earlier\" or \"error\""},
        {NULL, 0, false, NULL},
    };
    struct time_choice choice = {.policy = ZONED_USUAL};
    if (lua_istable(L, index)) {
        options_check(L, index, options, lua_pushfstring(L, "time.%s", function));
        lua_pop(L, 1);
        choice.zone = zone_option(L, function, index);
        choice.policy.repeated = choice_option(L, function, index, "repeated", choice.policy.repeated);
        choice.policy.skipped = choice_option(L, function, index, "skipped", choice.policy.skipped);
    } else if (!lua_isnoneornil(L, index)) {
        choice.zone = time_check_zone(L, function, index);
    }
    return choice;
}

/* The moment of a local time by the choice. */
static int push_local(lua_State *L, const char *function, const struct time_choice *choice, int64_t local)
{
    int64_t ms;
    struct err err;
    if (zoned_from_local(choice->zone != NULL ? choice->zone : zone_utc(), local, choice->policy, &ms,
                         &err) != ERR_NONE)
        return time_raise(L, function, &err);
    lua_pushinteger(L, ms);
    return 1;
}

void time_set_integer(lua_State *L, const char *name, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

/* ---- the clock ---- */

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

static int time_seconds(lua_State *L)
{
    int64_t ms = time_check_moment(L, "seconds", 1, "ms");
    lua_pushinteger(L, ms / 1000 - (ms % 1000 < 0 ? 1 : 0));
    return 1;
}

/* To the nearest millisecond: 1.001 is a little less than that as a double. */
static int time_from_seconds(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TNUMBER)
        return luaL_error(L, "time.fromSeconds: argument 1 (seconds): seconds since 1970 expected, got %s",
                          luaL_typename(L, 1));
    lua_Number ms = floor(lua_tonumber(L, 1) * 1000 + 0.5);
    if (!(ms >= (lua_Number)ISO_MIN_MS && ms <= (lua_Number)ISO_MAX_MS))
        return luaL_error(
            L,
            "time.fromSeconds: argument 1 (seconds): seconds of the years 0000 to 9999 expected, "
            "got %s",
            luaL_tolstring(L, 1, NULL));
    lua_pushinteger(L, (lua_Integer)ms);
    return 1;
}

/* ---- ISO 8601 ---- */

static void read_iso(lua_State *L, const char *function, struct iso_time *t)
{
    size_t len;
    const char *text = time_check_text(L, function, 1, "text", &len);
    struct err err;
    if (iso_parse(text, len, t, &err) != ERR_NONE)
        time_raise(L, function, &err);
}

static int time_parse(lua_State *L)
{
    struct iso_time t;
    read_iso(L, "parse", &t);
    lua_createtable(L, 0, 9);
    time_set_integer(L, "year", t.year);
    time_set_integer(L, "month", t.month);
    time_set_integer(L, "day", t.day);
    if (t.has_time) {
        time_set_integer(L, "hour", t.hour);
        time_set_integer(L, "minute", t.minute);
        time_set_integer(L, "second", t.second);
        time_set_integer(L, "nanosecond", t.nanosecond);
    }
    if (t.has_offset)
        time_set_integer(L, "offset", t.offset_minutes);
    time_set_integer(L, "epochMs", iso_unix_ms(&t));
    return 1;
}

static int time_epoch_ms(lua_State *L)
{
    struct iso_time t;
    read_iso(L, "epochMs", &t);
    struct time_choice choice = time_check_choice(L, "epochMs", 2);
    if (!t.has_offset)
        return push_local(L, "epochMs", &choice, iso_unix_ms(&t));
    lua_pushinteger(L, iso_unix_ms(&t));
    return 1;
}

static int time_date(lua_State *L)
{
    int64_t ms = time_check_moment(L, "date", 1, "ms");
    const struct zone *zone = time_check_zone(L, "date", 2);
    struct zoned_fields fields;
    struct err err;
    if (zoned_fields_at(ms, zone_offset_at(zone, ms), &fields, &err) != ERR_NONE)
        return time_raise(L, "date", &err);
    char text[ISO_DATE_SIZE];
    lua_pushstring(L, iso_format_date(iso_unix_ms(&fields.time), text));
    return 1;
}

/* ---- other forms ---- */

static int time_http_date(lua_State *L)
{
    char text[HTTP_DATE_SIZE];
    lua_pushstring(L, http_date_format(time_check_moment(L, "httpDate", 1, "ms"), text));
    return 1;
}

static int time_from_http_date(lua_State *L)
{
    size_t len;
    const char *text = time_check_text(L, "fromHttpDate", 1, "text", &len);
    int64_t ms;
    struct err err;
    if (http_date_parse(text, len, clock_now_ms(), &ms, &err) != ERR_NONE)
        return time_raise(L, "fromHttpDate", &err);
    lua_pushinteger(L, ms);
    return 1;
}

static int time_from_format(lua_State *L)
{
    size_t len, format_len;
    const char *text = time_check_text(L, "fromFormat", 1, "text", &len);
    const char *format = time_check_text(L, "fromFormat", 2, "format", &format_len);
    struct time_choice choice = time_check_choice(L, "fromFormat", 3);
    struct date_read read;
    struct err err;
    if (date_format_read(format, format_len, text, len, &read, &err) != ERR_NONE)
        return time_raise(L, "fromFormat", &err);
    if (!read.is_moment)
        return push_local(L, "fromFormat", &choice, read.ms);
    lua_pushinteger(L, read.ms);
    return 1;
}

static const struct option_spec format_options[] = {
    {"zone", OPTION_STRING, false, "\"Europe/Berlin\""},
    {"offset", OPTION_INTEGER, false, "minutes east of UTC"},
    {"precision", OPTION_STRING, false, "\"minutes\", \"s\" or \"ms\""},
    {"format", OPTION_STRING, false, "\"%Y-%m-%d %H:%M\""},
    {NULL, 0, false, NULL},
};

static enum iso_precision precision_option(lua_State *L)
{
    static const char *const words[] = {
        [ISO_MINUTES] = "minutes", [ISO_SECONDS] = "s", [ISO_MILLISECONDS] = "ms"};
    const char *word = options_string(L, 2, "precision", words[ISO_MILLISECONDS]);
    for (int i = 0; i <= ISO_MILLISECONDS; i++) {
        if (strcmp(word, words[i]) == 0)
            return (enum iso_precision)i;
    }
    luaL_error(L, "time.format: option \"precision\": \"minutes\", \"s\" or \"ms\" expected, got \"%s\"",
               word);
    return ISO_MILLISECONDS;
}

/* What option zone or offset says; UTC without either. abbreviation is room for that of an offset. */
static struct zone_offset offset_option(lua_State *L, int64_t ms, char abbreviation[OFFSET_TEXT_SIZE])
{
    const struct zone *zone = zone_option(L, "format", 2);
    bool given = lua_getfield(L, 2, "offset") != LUA_TNIL;
    lua_Integer minutes = lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (zone != NULL && given)
        luaL_error(L, "time.format: options \"zone\" and \"offset\" say the same; leave one out");
    if (minutes < -OFFSET_MINUTES_MAX || minutes > OFFSET_MINUTES_MAX)
        luaL_error(L, "time.format: option \"offset\": minutes from %d to %d expected, got %I",
                   -OFFSET_MINUTES_MAX, OFFSET_MINUTES_MAX, minutes);
    if (minutes == 0)
        return zone_offset_at(zone != NULL ? zone : zone_utc(), ms);
    int distance = (int)(minutes < 0 ? -minutes : minutes);
    snprintf(abbreviation, OFFSET_TEXT_SIZE, "%c%02d:%02d", minutes < 0 ? '-' : '+', distance / 60,
             distance % 60);
    return (struct zone_offset){.seconds = (int)minutes * 60, .abbreviation = abbreviation};
}

static int time_format(lua_State *L)
{
    int64_t ms = time_check_moment(L, "format", 1, "ms");
    char iso[ISO_FORMAT_SIZE];
    if (lua_isnoneornil(L, 2)) {
        lua_pushstring(L, iso_format(ms, 0, ISO_MILLISECONDS, iso));
        return 1;
    }
    options_check(L, 2, format_options, "time.format");
    char abbreviation[OFFSET_TEXT_SIZE];
    struct zone_offset offset = offset_option(L, ms, abbreviation);
    enum iso_precision precision = precision_option(L);
    bool has_precision = lua_getfield(L, 2, "precision") != LUA_TNIL;
    size_t format_len = 0, len = 0;
    lua_getfield(L, 2, "format");
    const char *format = lua_tolstring(L, -1, &format_len);
    if (format != NULL && has_precision)
        return luaL_error(L, "time.format: option \"precision\" is for texts without option \"format\"");

    struct zoned_fields fields;
    struct err err;
    char text[DATE_FORMAT_TEXT_SIZE];
    if (zoned_fields_at(ms, offset, &fields, &err) != ERR_NONE ||
        (format != NULL && date_format_write(format, format_len, ms, &fields, text, &len, &err) != ERR_NONE))
        return time_raise(L, "format", &err);
    /* RFC 3339 has no seconds in offsets. They are cut off, here and in the local time, so that the text is
     * still that of the moment. */
    if (format != NULL)
        lua_pushlstring(L, text, len);
    else
        lua_pushstring(L, iso_format(ms, offset.seconds / 60, precision, iso));
    return 1;
}

/* ---- registration ---- */

static const struct script_function functions[] = {
    {"now", time_now, "(): number", "the time in Unix seconds, with a fraction"},
    {"nowMs", time_now_ms, "(): integer", "the time"},
    {"seconds", time_seconds, "(ms: integer): integer", "a moment in whole Unix seconds, downwards"},
    {"fromSeconds", time_from_seconds, "(seconds: number): integer",
     "Unix seconds, with or without a fraction"},
    {"parse", time_parse, "(text: string): workers.time.Parsed",
     "what an ISO 8601 text says; what it leaves out is missing"},
    {"epochMs", time_epoch_ms, "(text: string, zone?: string|workers.time.Local): integer",
     "the moment of an ISO 8601 text; without an offset it is the local time of the zone"},
    {"format", time_format, "(ms: integer, options?: workers.time.Format): string",
     "a moment as RFC 3339, or in a form of your own"},
    {"fromFormat", time_from_format,
     "(text: string, format: string, zone?: string|workers.time.Local): integer",
     "the moment of a text that has the form given"},
    {"date", time_date, "(ms: integer, zone?: string): string", "the day, as YYYY-MM-DD"},
    {"httpDate", time_http_date, "(ms: integer): string", "a moment as the headers of HTTP have it"},
    {"fromHttpDate", time_from_http_date, "(text: string): integer",
     "the moment of a date in HTTP's headers"},
    {"fields", time_fields, "(ms: integer, zone?: string): workers.time.Fields",
     "what calendar and clock of a zone show"},
    {"of", time_of, "(fields: table, zone?: string|workers.time.Local): integer",
     "the moment of such fields"},
    {"offset", time_offset, "(ms: integer, zone?: string): number", "minutes that a zone is east of UTC"},
    {"add", time_add,
     "(ms: integer, duration: workers.time.Duration, zone?: string|workers.time.Local): integer",
     "a moment some time later, on the calendar of a zone"},
    {"startOf", time_start_of,
     "(ms: integer, unit: \"year\"|\"quarter\"|\"month\"|\"week\"|\"day\"|\"hour\", zone?: string): integer",
     "the first moment of the year, month and so on that a moment is in"},
    {"diff", time_diff,
     "(from: integer, to: integer, unit: "
     "\"years\"|\"months\"|\"weeks\"|\"days\"|\"hours\"|\"minutes\"|\"seconds\"|\"milliseconds\", zone?: "
     "string): integer",
     "whole units from one moment to another"},
    {"duration", time_duration, "(duration: workers.time.Duration): string", "ISO 8601's text of a duration"},
    {"fromDuration", time_from_duration, "(text: string): workers.time.Duration",
     "the parts of an ISO 8601 duration, for add"},
    {NULL, NULL, NULL, NULL},
};

static const char types[] = "---@class workers.time.Parsed\n"
                            "---@field year integer\n"
                            "---@field month integer\n"
                            "---@field day integer\n"
                            "---@field hour? integer\n"
                            "---@field minute? integer\n"
                            "---@field second? integer\n"
                            "---@field nanosecond? integer\n"
                            "---@field offset? integer minutes east of UTC\n"
                            "---@field epochMs integer\n"
                            "\n"
                            "---@class workers.time.Fields\n"
                            "---@field year integer\n"
                            "---@field month integer\n"
                            "---@field day integer\n"
                            "---@field hour integer\n"
                            "---@field minute integer\n"
                            "---@field second integer\n"
                            "---@field millisecond integer\n"
                            "---@field weekday integer 1 (Monday) to 7\n"
                            "---@field yearday integer\n"
                            "---@field week integer of ISO 8601\n"
                            "---@field weekYear integer the year that the week belongs to\n"
                            "---@field offset number minutes east of UTC\n"
                            "---@field abbreviation string\n"
                            "---@field isDst boolean\n"
                            "\n"
                            "---@class workers.time.Local\n"
                            "---@field zone? string\n"
                            "---@field repeated? \"earlier\"|\"later\"|\"error\"\n"
                            "---@field skipped? \"later\"|\"earlier\"|\"error\"\n"
                            "\n"
                            "---@class workers.time.Format\n"
                            "---@field zone? string\n"
                            "---@field offset? integer minutes east of UTC\n"
                            "---@field precision? \"minutes\"|\"s\"|\"ms\"\n"
                            "---@field format? string\n"
                            "\n"
                            "---@class workers.time.Duration\n"
                            "---@field years? integer\n"
                            "---@field months? integer\n"
                            "---@field weeks? integer\n"
                            "---@field days? integer\n"
                            "---@field hours? integer\n"
                            "---@field minutes? integer\n"
                            "---@field seconds? integer\n"
                            "---@field milliseconds? integer\n";

const struct script_docs time_docs = {"The clock, dates and times as text, time zones, calendar arithmetic",
                                      functions, types};

int luaopen_workers_time(lua_State *L)
{
    functions_push(L, functions);
    return 1;
}
