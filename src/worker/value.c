/* Builder values: their layout and their JSON. Conversion to columns is in cells.c. */
#include "worker/value.h"

#include "base/json.h"
#include "base/number.h"

#include <math.h>
#include <string.h>

const char value_magic;

static const char *const builder_names[] = {
    "title",       "richText", "text",  "url",      "email",     "phoneNumber", "select",    "status",
    "link",        "checkbox", "file",  "number",   "date",      "dateTime",    "dateRange", "dateTimeRange",
    "multiSelect", "people",   "place", "relation", "emojiIcon", "notionIcon",  "imageIcon", "imageCover",
};

const char *builder_name(enum builder builder)
{
    return builder_names[builder];
}

const struct value *value_at(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TUSERDATA || lua_rawlen(L, index) < sizeof(struct value))
        return NULL;
    const struct value *value = lua_touserdata(L, index);
    return value->magic == &value_magic ? value : NULL;
}

bool value_is_icon(lua_State *L, int index)
{
    const struct value *value = value_at(L, index);
    return value != NULL && (value->builder == BUILDER_EMOJI_ICON || value->builder == BUILDER_NOTION_ICON ||
                             value->builder == BUILDER_IMAGE_ICON);
}

bool value_is_cover(lua_State *L, int index)
{
    const struct value *value = value_at(L, index);
    return value != NULL && value->builder == BUILDER_IMAGE_COVER;
}

const char *value_part(const struct value *value, uint32_t part, size_t *len)
{
    if (part >= value->part_count || value->parts[part].len == VALUE_NO_PART)
        return NULL;
    *len = value->parts[part].len;
    return (const char *)(value->parts + value->part_count) + value->parts[part].offset;
}

static enum err_code write_part(const struct value *value, uint32_t part, struct buf *out, struct err *err)
{
    size_t len = 0;
    const char *text = value_part(value, part, &len);
    return json_write_string(out, text != NULL ? text : "", len, err);
}

/* A date is sliced into day and minute, as the wire form has no more. */
static void write_date_fields(const struct value *value, uint32_t part, const char *name, bool with_time,
                              struct buf *out)
{
    size_t len = 0;
    const char *text = value_part(value, part, &len);
    if (text == NULL) /* the builder functions always give it */
        return;
    buf_addf(out, ",\"%s_date\":\"%.10s\"", name, text);
    if (with_time)
        buf_addf(out, ",\"%s_time\":\"%.5s\"", name, text + 11);
}

static enum err_code write_date(const struct value *value, struct buf *out, struct err *err)
{
    static const char *const types[] = {"date", "datetime", "daterange", "datetimerange"};
    bool with_time = value->builder == BUILDER_DATE_TIME || value->builder == BUILDER_DATE_TIME_RANGE;
    bool range = value->builder == BUILDER_DATE_RANGE || value->builder == BUILDER_DATE_TIME_RANGE;
    buf_addf(out, "[[\"\xE2\x80\xA3\",[[\"d\",{\"type\":\"%s\"", types[value->builder - BUILDER_DATE]);
    write_date_fields(value, 0, "start", with_time, out);
    if (range)
        write_date_fields(value, 1, "end", with_time, out);
    enum err_code code = ERR_NONE;
    size_t len = 0;
    const char *zone = with_time ? value_part(value, range ? 2 : 1, &len) : NULL;
    if (zone != NULL && len > 0) {
        buf_adds(out, ",\"time_zone\":");
        code = json_write_string(out, zone, len, err);
    }
    buf_adds(out, "}]]]]");
    return code;
}

static void write_js_number(double number, struct buf *out)
{
    char text[NUMBER_TEXT_MAX];
    buf_add(out, text, number_format_js(number, text));
}

static enum err_code write_place(const struct value *value, struct buf *out, struct err *err)
{
    static const char *const names[] = {"name", "address", "googlePlaceId"};
    buf_adds(out, "{\"lat\":");
    write_js_number(value->number, out);
    buf_adds(out, ",\"lon\":");
    write_js_number(value->second, out);
    enum err_code code = ERR_NONE;
    for (uint32_t i = 0; i < 3 && code == ERR_NONE; i++) {
        size_t len = 0;
        if (value_part(value, i, &len) == NULL)
            continue;
        buf_addf(out, ",\"%s\":", names[i]);
        code = write_part(value, i, out, err);
    }
    buf_addc(out, '}');
    return code;
}

/* [[name, [["a", url]]]] */
static enum err_code write_linked(const struct value *value, uint32_t text, uint32_t url, struct buf *out,
                                  struct err *err)
{
    buf_adds(out, "[[");
    enum err_code code = write_part(value, text, out, err);
    buf_adds(out, ",[[\"a\",");
    if (code == ERR_NONE)
        code = write_part(value, url, out, err);
    buf_adds(out, "]]]]");
    return code;
}

static enum err_code write_multi_select(const struct value *value, struct buf *out, struct err *err)
{
    if (value->part_count == 0) {
        buf_adds(out, "[]");
        return ERR_NONE;
    }
    struct buf joined;
    buf_init(&joined, BUF_UNLIMITED);
    for (uint32_t i = 0; i < value->part_count; i++) {
        size_t len = 0;
        const char *text = value_part(value, i, &len);
        if (i > 0)
            buf_addc(&joined, ',');
        buf_add(&joined, text, len);
    }
    buf_adds(out, "[[");
    enum err_code code = buf_status(&joined, "a multi-select value", err);
    if (code == ERR_NONE)
        code = json_write_string(out, buf_text(&joined), joined.len, err);
    buf_adds(out, "]]");
    buf_free(&joined);
    return code;
}

static enum err_code write_people(const struct value *value, struct buf *out, struct err *err)
{
    enum err_code code = ERR_NONE;
    buf_addc(out, '[');
    for (uint32_t i = 0; i < value->part_count && code == ERR_NONE; i++) {
        buf_adds(out, i > 0 ? ",{\"email\":" : "{\"email\":");
        code = write_part(value, i, out, err);
        buf_addc(out, '}');
    }
    buf_addc(out, ']');
    return code;
}

enum err_code value_write_json(const struct value *value, struct buf *out, struct err *err)
{
    enum err_code code = ERR_NONE;
    size_t len = 0;
    switch (value->builder) {
    case BUILDER_TITLE:
    case BUILDER_RICH_TEXT:
    case BUILDER_TEXT:
    case BUILDER_URL:
    case BUILDER_EMAIL:
    case BUILDER_PHONE:
    case BUILDER_SELECT:
    case BUILDER_STATUS:
        buf_adds(out, "[[");
        code = write_part(value, 0, out, err);
        buf_adds(out, "]]");
        return code;
    case BUILDER_LINK:
        return write_linked(value, 0, 1, out, err);
    case BUILDER_FILE:
        return write_linked(value, value_part(value, 1, &len) != NULL ? 1 : 0, 0, out, err);
    case BUILDER_CHECKBOX:
        buf_adds(out, value->flag ? "[[\"Yes\"]]" : "[[\"No\"]]");
        return ERR_NONE;
    case BUILDER_NUMBER:
        if (!value->is_integer && isnan(value->number)) {
            buf_adds(out, "[]");
            return ERR_NONE;
        }
        buf_adds(out, "[[\"");
        if (value->is_integer)
            json_write_integer(out, value->integer);
        else
            write_js_number(value->number, out);
        buf_adds(out, "\"]]");
        return ERR_NONE;
    case BUILDER_DATE:
    case BUILDER_DATE_TIME:
    case BUILDER_DATE_RANGE:
    case BUILDER_DATE_TIME_RANGE:
        return write_date(value, out, err);
    case BUILDER_MULTI_SELECT:
        return write_multi_select(value, out, err);
    case BUILDER_PEOPLE:
        return write_people(value, out, err);
    case BUILDER_PLACE:
        return write_place(value, out, err);
    case BUILDER_RELATION:
        buf_adds(out, "{\"type\":\"primaryKey\",\"value\":");
        code = write_part(value, 0, out, err);
        break;
    case BUILDER_EMOJI_ICON:
        buf_adds(out, "{\"type\":\"emoji\",\"value\":");
        code = write_part(value, 0, out, err);
        break;
    case BUILDER_NOTION_ICON:
        buf_adds(out, "{\"type\":\"notion\",\"icon\":");
        code = write_part(value, 0, out, err);
        buf_adds(out, ",\"color\":");
        if (code == ERR_NONE)
            code = write_part(value, 1, out, err);
        break;
    case BUILDER_IMAGE_ICON:
        buf_adds(out, "{\"type\":\"image\",\"url\":");
        code = write_part(value, 0, out, err);
        break;
    case BUILDER_IMAGE_COVER:
        buf_adds(out, "{\"type\":\"image\",\"url\":");
        code = write_part(value, 0, out, err);
        buf_adds(out, ",\"position\":");
        write_js_number(value->number, out);
        break;
    }
    buf_addc(out, '}');
    return code;
}
