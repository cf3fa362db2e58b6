/* workers.builder: values of properties, icons and covers. Each is one userdata that keeps all it was given;
 * its JSON is that of the original SDK. */
#include "modules/modules.h"

#include "base/iso8601.h"
#include "base/number.h"
#include "base/text.h"
#include "modules/json.h"
#include "worker/value.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

#define MAX_PARTS 4096

struct part_source {
    const char *text; /* NULL: not given */
    size_t len;
};

/* Upvalue 1 of every builder function is the metatable of values. */
static struct value *push_value(lua_State *L, enum builder builder, const struct part_source *parts,
                                uint32_t count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += parts[i].text != NULL ? parts[i].len : 0;
    if (bytes > UINT32_MAX / 2)
        luaL_error(L, "the value is larger than 2 GiB");
    struct value *value = lua_newuserdatauv(L, sizeof *value + count * sizeof value->parts[0] + bytes, 0);
    *value = (struct value){.magic = &value_magic, .builder = builder, .part_count = count};
    char *at = (char *)(value->parts + count);
    uint32_t offset = 0;
    for (uint32_t i = 0; i < count; i++) {
        value->parts[i].offset = offset;
        value->parts[i].len = parts[i].text != NULL ? (uint32_t)parts[i].len : VALUE_NO_PART;
        if (parts[i].text == NULL || parts[i].len == 0)
            continue;
        memcpy(at + offset, parts[i].text, parts[i].len);
        offset += (uint32_t)parts[i].len;
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, -2);
    return value;
}

static int refuse(lua_State *L, const char *function, int arg, const char *expected)
{
    return luaL_error(L, "Builder.%s: argument %d must be %s, got %s", function, arg, expected,
                      lua_isnoneornil(L, arg) ? "nothing" : luaL_typename(L, arg));
}

/* A string, or an integer, whose digits are the text. */
static struct part_source text_argument(lua_State *L, int arg, const char *function)
{
    struct part_source part = {0};
    if (lua_type(L, arg) != LUA_TSTRING && !lua_isinteger(L, arg))
        refuse(L, function, arg, "a string");
    part.text = lua_tolstring(L, arg, &part.len);
    return part;
}

static struct part_source optional_text(lua_State *L, int arg, const char *function)
{
    if (lua_isnoneornil(L, arg))
        return (struct part_source){0};
    return text_argument(L, arg, function);
}

static int build_text(lua_State *L)
{
    enum builder builder = (enum builder)lua_tointeger(L, lua_upvalueindex(2));
    struct part_source part = text_argument(L, 1, builder_name(builder));
    push_value(L, builder, &part, 1);
    return 1;
}

static int build_link(lua_State *L)
{
    struct part_source parts[2] = {text_argument(L, 1, "link"), text_argument(L, 2, "link")};
    push_value(L, BUILDER_LINK, parts, 2);
    return 1;
}

static int build_file(lua_State *L)
{
    struct part_source parts[2] = {text_argument(L, 1, "file"), optional_text(L, 2, "file")};
    push_value(L, BUILDER_FILE, parts, 2);
    return 1;
}

static int build_checkbox(lua_State *L)
{
    if (!lua_isboolean(L, 1))
        return refuse(L, "checkbox", 1, "true or false");
    push_value(L, BUILDER_CHECKBOX, NULL, 0)->flag = lua_toboolean(L, 1);
    return 1;
}

static int build_number(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TNUMBER)
        return refuse(L, "number", 1, "a number");
    struct value *value = push_value(L, BUILDER_NUMBER, NULL, 0);
    value->is_integer = lua_isinteger(L, 1);
    value->integer = value->is_integer ? lua_tointeger(L, 1) : 0;
    value->number = lua_tonumber(L, 1);
    return 1;
}

static struct part_source date_argument(lua_State *L, int arg, const char *function)
{
    struct part_source part = text_argument(L, arg, function);
    bool shape = part.len == 10;
    for (size_t i = 0; i < part.len && shape; i++)
        shape = i == 4 || i == 7 ? part.text[i] == '-' : part.text[i] >= '0' && part.text[i] <= '9';
    if (!shape)
        luaL_error(L, "Builder.%s: \"%s\" is not a date: use YYYY-MM-DD", function, part.text);
    if (!iso_is_js_date(part.text, part.len))
        luaL_error(L, "Builder.%s: \"%s\" is not a date of the calendar", function, part.text);
    return part;
}

static struct part_source date_time_argument(lua_State *L, int arg, const char *function)
{
    struct part_source part = text_argument(L, arg, function);
    /* iso_is_js_date takes dates alone as well, which are shorter than any date with a time */
    if (part.len < 16 || !iso_is_js_date(part.text, part.len))
        luaL_error(
            L, "Builder.%s: \"%s\" is not an ISO 8601 date and time: use a form like 2024-01-15T10:30:00Z",
            function, part.text);
    return part;
}

static int build_date(lua_State *L)
{
    struct part_source part = date_argument(L, 1, "date");
    push_value(L, BUILDER_DATE, &part, 1);
    return 1;
}

static int build_date_time(lua_State *L)
{
    struct part_source parts[2] = {date_time_argument(L, 1, "dateTime"), optional_text(L, 2, "dateTime")};
    push_value(L, BUILDER_DATE_TIME, parts, 2);
    return 1;
}

static int build_date_range(lua_State *L)
{
    struct part_source parts[2] = {date_argument(L, 1, "dateRange"), date_argument(L, 2, "dateRange")};
    push_value(L, BUILDER_DATE_RANGE, parts, 2);
    return 1;
}

static int build_date_time_range(lua_State *L)
{
    struct part_source parts[3] = {date_time_argument(L, 1, "dateTimeRange"),
                                   date_time_argument(L, 2, "dateTimeRange"),
                                   optional_text(L, 3, "dateTimeRange")};
    push_value(L, BUILDER_DATE_TIME_RANGE, parts, 3);
    return 1;
}

/* multiSelect("a", "b") and multiSelect({ "a", "b" }) */
static int build_list(lua_State *L)
{
    enum builder builder = (enum builder)lua_tointeger(L, lua_upvalueindex(2));
    const char *function = builder_name(builder);
    int count = lua_gettop(L);
    int first = 1;
    if (count == 1 && lua_istable(L, 1)) {
        size_t items = lua_rawlen(L, 1);
        if (items > MAX_PARTS)
            return luaL_error(L, "Builder.%s: more than %d values", function, MAX_PARTS);
        luaL_checkstack(L, (int)items + 4, NULL);
        for (size_t i = 1; i <= items; i++)
            lua_rawgeti(L, 1, (lua_Integer)i);
        count = (int)items;
        first = 2;
    }
    if (count > MAX_PARTS)
        return luaL_error(L, "Builder.%s: more than %d values", function, MAX_PARTS);
    struct part_source *parts = lua_newuserdatauv(L, (size_t)(count + 1) * sizeof *parts, 0);
    for (int i = 0; i < count; i++)
        parts[i] = text_argument(L, first + i, function);
    push_value(L, builder, parts, (uint32_t)count);
    return 1;
}

static const char *const place_fields[] = {"lat",  "lon",     "latitude",     "longitude",
                                           "name", "address", "googlePlaceId"};

static double coordinate(lua_State *L, const char *name, const char *alias)
{
    if (lua_getfield(L, 1, name) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_getfield(L, 1, alias);
    }
    if (lua_type(L, -1) != LUA_TNUMBER)
        luaL_error(L, "Builder.place: %s must be a number, got %s", name,
                   lua_isnil(L, -1) ? "nothing" : luaL_typename(L, -1));
    double number = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return number;
}

static int build_place(lua_State *L)
{
    if (!lua_istable(L, 1))
        return refuse(L, "place", 1, "a table { lat = …, lon = … }");
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        size_t i = 0;
        while (i < 7 && strcmp(place_fields[i], name) != 0)
            i++;
        int nearest = i == 7 ? text_nearest(name, strlen(name), place_fields, 7) : -1;
        if (i == 7)
            return luaL_error(L, "Builder.place: unknown field \"%s\"%s%s%s", name,
                              nearest >= 0 ? "; did you mean \"" : "",
                              nearest >= 0 ? place_fields[nearest] : "", nearest >= 0 ? "\"?" : "");
    }
    double lat = coordinate(L, "lat", "latitude");
    double lon = coordinate(L, "lon", "longitude");
    if (!isfinite(lat) || !isfinite(lon))
        return luaL_error(L, "Builder.place: lat and lon must be finite");
    struct part_source parts[3] = {{0}};
    for (int i = 0; i < 3; i++) {
        if (lua_getfield(L, 1, place_fields[4 + i]) == LUA_TSTRING)
            parts[i].text = lua_tolstring(L, -1, &parts[i].len);
        else if (!lua_isnil(L, -1))
            return luaL_error(L, "Builder.place: %s must be a string, got %s", place_fields[4 + i],
                              luaL_typename(L, -1));
    }
    struct value *value = push_value(L, BUILDER_PLACE, parts, 3);
    value->number = lat;
    value->second = lon;
    return 1;
}

static int build_notion_icon(lua_State *L)
{
    static const char *const colors[] = {"gray",  "lightgray", "brown",  "yellow", "orange",
                                         "green", "blue",      "purple", "pink",   "red"};
    struct part_source parts[2] = {text_argument(L, 1, "notionIcon"), optional_text(L, 2, "notionIcon")};
    if (parts[1].text == NULL)
        parts[1] = (struct part_source){"gray", 4};
    size_t i = 0;
    while (i < 10 && strcmp(colors[i], parts[1].text) != 0)
        i++;
    if (i == 10) {
        int nearest = text_nearest(parts[1].text, parts[1].len, colors, 10);
        return luaL_error(L, "Builder.notionIcon: unknown color \"%s\"; %s%s%s", parts[1].text,
                          nearest >= 0 ? "did you mean \""
                                       : "the colors are gray, lightgray, brown, yellow, orange, green, "
                                         "blue, purple, pink, red",
                          nearest >= 0 ? colors[nearest] : "", nearest >= 0 ? "\"?" : "");
    }
    push_value(L, BUILDER_NOTION_ICON, parts, 2);
    return 1;
}

static int build_image_cover(lua_State *L)
{
    struct part_source part = text_argument(L, 1, "imageCover");
    double position = luaL_optnumber(L, 2, 0.5);
    if (!(position >= 0 && position <= 1))
        return luaL_error(L, "Builder.imageCover: position must be from 0 (top) to 1 (bottom), got %f",
                          position);
    push_value(L, BUILDER_IMAGE_COVER, &part, 1)->number = position;
    return 1;
}

/* ---- the metatable ---- */

static enum err_code write_json(lua_State *L, int index, struct buf *out, struct err *err)
{
    const struct value *value = value_at(L, index);
    return value != NULL ? value_write_json(value, out, err)
                         : err_set(err, ERR_INTERNAL, "not a builder value");
}

static const struct json_hook hook = {write_json};

static int value_tostring(lua_State *L)
{
    const struct value *value = value_at(L, 1);
    lua_pushfstring(L, "Builder.%s", value != NULL ? builder_name(value->builder) : "?");
    return 1;
}

static int value_equals(lua_State *L)
{
    const struct value *a = value_at(L, 1), *b = value_at(L, 2);
    bool equal = a != NULL && b != NULL && a->builder == b->builder && a->flag == b->flag &&
                 a->is_integer == b->is_integer && a->integer == b->integer && a->number == b->number &&
                 a->second == b->second && a->part_count == b->part_count;
    for (uint32_t i = 0; equal && i < a->part_count; i++) {
        size_t a_len = 0, b_len = 0;
        const char *x = value_part(a, i, &a_len), *y = value_part(b, i, &b_len);
        equal = (x == NULL) == (y == NULL) && (x == NULL || (a_len == b_len && memcmp(x, y, a_len) == 0));
    }
    lua_pushboolean(L, equal);
    return 1;
}

static int value_index(lua_State *L)
{
    return luaL_error(L, "a Builder value has no fields; workers.json.encode(value) shows what it holds");
}

static void push_metatable(lua_State *L)
{
    lua_createtable(L, 0, 6);
    lua_pushliteral(L, "workers.builder");
    lua_setfield(L, -2, "__name");
    json_push_hook(L, &hook);
    lua_setfield(L, -2, "__tojson");
    lua_pushcfunction(L, value_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushcfunction(L, value_equals);
    lua_setfield(L, -2, "__eq");
    lua_pushcfunction(L, value_index);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}

/* In the order of functions. */
static const enum builder builders[] = {
    BUILDER_TITLE,        BUILDER_RICH_TEXT,   BUILDER_TEXT,       BUILDER_URL,
    BUILDER_EMAIL,        BUILDER_PHONE,       BUILDER_SELECT,     BUILDER_STATUS,
    BUILDER_LINK,         BUILDER_CHECKBOX,    BUILDER_FILE,       BUILDER_NUMBER,
    BUILDER_DATE,         BUILDER_DATE_TIME,   BUILDER_DATE_RANGE, BUILDER_DATE_TIME_RANGE,
    BUILDER_MULTI_SELECT, BUILDER_PEOPLE,      BUILDER_PLACE,      BUILDER_RELATION,
    BUILDER_EMOJI_ICON,   BUILDER_NOTION_ICON, BUILDER_IMAGE_ICON, BUILDER_IMAGE_COVER,
};

static const struct script_function functions[] = {
    {"title", build_text, "(text: string|integer): workers.Value", "the text of a title"},
    {"richText", build_text, "(text: string|integer): workers.Value", "a text"},
    {"text", build_text, "(text: string|integer): workers.Value", "the same as richText"},
    {"url", build_text, "(url: string): workers.Value", "an address"},
    {"email", build_text, "(address: string): workers.Value", "an email address"},
    {"phoneNumber", build_text, "(number: string|integer): workers.Value", "a phone number"},
    {"select", build_text, "(name: string|integer): workers.Value", "one option"},
    {"status", build_text, "(name: string|integer): workers.Value", "the option of a status"},
    {"link", build_link, "(text: string, url: string): workers.Value", "a text that leads somewhere"},
    {"checkbox", build_checkbox, "(checked: boolean): workers.Value", "true or false"},
    {"file", build_file, "(url: string, name?: string): workers.Value", "a file by its address"},
    {"number", build_number, "(number: number): workers.Value", "a number; NaN is no value"},
    {"date", build_date, "(date: string): workers.Value", "a date, YYYY-MM-DD"},
    {"dateTime", build_date_time, "(moment: string, timezone?: string): workers.Value",
     "a date and time in ISO 8601, and an IANA name"},
    {"dateRange", build_date_range, "(from: string, to: string): workers.Value", "two dates"},
    {"dateTimeRange", build_date_time_range, "(from: string, to: string, timezone?: string): workers.Value",
     "two dates with times"},
    {"multiSelect", build_list, "(...: string|integer|(string|integer)[]): workers.Value",
     "several options, one by one or as a list"},
    {"people", build_list, "(...: string|string[]): workers.Value",
     "email addresses, one by one or as a list"},
    {"place", build_place, "(place: workers.builder.Place): workers.Value",
     "coordinates with name and address"},
    {"relation", build_text, "(key: string|integer): workers.Value", "the key of a related row"},
    {"emojiIcon", build_text, "(emoji: string): workers.Value", "an icon"},
    {"notionIcon", build_notion_icon, "(name: string, color?: string): workers.Value",
     "an icon by its name; gray unless a color is given"},
    {"imageIcon", build_text, "(url: string): workers.Value", "an icon by the address of its image"},
    {"imageCover", build_image_cover, "(url: string, position?: number): workers.Value",
     "a cover; position is from 0 (top) to 1, 0.5 unless given"},
    {NULL, NULL, NULL, NULL},
};
_Static_assert(sizeof functions / sizeof functions[0] == sizeof builders / sizeof builders[0] + 1,
               "one function for each builder");

const struct script_docs builder_docs = {
    "Values of properties, icons and covers",
    functions,
    "---@class workers.Value what a builder makes; it cannot be changed\n"
    "---@class workers.builder.Place\n"
    "---@field lat? number\n"
    "---@field lon? number\n"
    "---@field latitude? number the same as lat\n"
    "---@field longitude? number the same as lon\n"
    "---@field name? string\n"
    "---@field address? string\n"
    "---@field googlePlaceId? string\n",
};

int luaopen_workers_builder(lua_State *L)
{
    int count = (int)(sizeof builders / sizeof builders[0]);
    lua_createtable(L, 0, count);
    push_metatable(L);
    for (int i = 0; i < count; i++) {
        lua_pushvalue(L, -1);
        lua_pushinteger(L, builders[i]);
        lua_pushcclosure(L, functions[i].function, 2);
        lua_setfield(L, -3, functions[i].name);
    }
    lua_pop(L, 1);
    return 1;
}
