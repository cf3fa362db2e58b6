/* From Lua values to columns: what fits which property, and how it is stored. Must not raise Lua errors. */
#include "worker/value.h"

#include "base/iso8601.h"
#include "base/json.h"
#include "base/number.h"
#include "base/text.h"

#include <math.h>
#include <string.h>

struct conversion {
    lua_State *L;
    int index; /* absolute */
    int type;
    const struct value *value; /* NULL when the Lua value is a plain one */
    const struct property *property;
    const struct option_sink *options;
    struct arena *arena;
    struct buf *scratch;
    struct cell *cell;
    struct cell *end;
    struct err *err;
};

static const char *const expected[PROPERTY_TYPE_COUNT] = {
    [PROPERTY_TITLE] = "text (a string or Builder.title)",
    [PROPERTY_TEXT] = "text (a string or Builder.richText)",
    [PROPERTY_URL] = "a URL (a string or Builder.url)",
    [PROPERTY_EMAIL] = "an email address (a string or Builder.email)",
    [PROPERTY_PHONE] = "a phone number (a string or Builder.phoneNumber)",
    [PROPERTY_CHECKBOX] = "true or false (or Builder.checkbox)",
    [PROPERTY_FILE] = "a file (a URL or Builder.file)",
    [PROPERTY_NUMBER] = "a number (or Builder.number)",
    [PROPERTY_DATE] = "a date (an ISO 8601 string or Builder.date, dateTime, dateRange, dateTimeRange)",
    [PROPERTY_SELECT] = "an option (a string or Builder.select)",
    [PROPERTY_MULTI_SELECT] = "a list of options (strings or Builder.multiSelect)",
    [PROPERTY_STATUS] = "a status (a string or Builder.status)",
    [PROPERTY_PEOPLE] = "a list of email addresses (strings or Builder.people)",
    [PROPERTY_PLACE] = "a place ({ lat = …, lon = … } or Builder.place)",
    [PROPERTY_RELATION] = "a list of keys (strings or Builder.relation)",
};

/* "a string (\"abc\")", "Builder.number", "nil", … */
static void describe_got(const struct conversion *c, int index, char *out, size_t size)
{
    struct err text;
    const struct value *value = value_at(c->L, index);
    size_t len = 0;
    if (value != NULL) {
        err_set(&text, ERR_NONE, "Builder.%s", builder_name(value->builder));
    } else if (lua_type(c->L, index) == LUA_TSTRING) {
        const char *string = lua_tolstring(c->L, index, &len);
        int shown = len > 40 ? 40 : (int)len;
        while (shown > 0 && len > 40 && ((unsigned char)string[shown] & 0xC0) == 0x80)
            shown--;
        err_set(&text, ERR_NONE, "the string \"%.*s%s\"", shown, string, len > 40 ? "…" : "");
    } else if (lua_isinteger(c->L, index)) {
        err_set(&text, ERR_NONE, "the number %lld", (long long)lua_tointeger(c->L, index));
    } else if (lua_type(c->L, index) == LUA_TNUMBER) {
        err_set(&text, ERR_NONE, "the number %g", lua_tonumber(c->L, index));
    } else if (lua_isboolean(c->L, index)) {
        err_set(&text, ERR_NONE, "%s", lua_toboolean(c->L, index) ? "true" : "false");
    } else {
        err_set(&text, ERR_NONE, "a %s", lua_typename(c->L, lua_type(c->L, index)));
    }
    len = strlen(text.message) < size - 1 ? strlen(text.message) : size - 1;
    memcpy(out, text.message, len);
    out[len] = '\0';
}

static enum err_code refuse_at(const struct conversion *c, int index)
{
    char got[128];
    describe_got(c, index, got, sizeof got);
    return err_set(c->err, ERR_INVALID, "expected %s, got %s", expected[c->property->type], got);
}

static enum err_code refuse(const struct conversion *c)
{
    return refuse_at(c, c->index);
}

static enum err_code set_text(const struct conversion *c, struct cell *cell, const char *text, size_t len)
{
    size_t bad = 0;
    if (!text_is_utf8(text, len, &bad))
        return err_set(c->err, ERR_INVALID, "the text is not valid UTF-8 (byte %zu)", bad + 1);
    cell->type = CELL_TEXT;
    cell->text = arena_strndup(c->arena, text, len);
    cell->len = len;
    return cell->text != NULL ? ERR_NONE : err_nomem(c->err);
}

static enum err_code set_scratch(const struct conversion *c, struct cell *cell)
{
    enum err_code code = buf_status(c->scratch, "the value", c->err);
    if (code == ERR_NONE) {
        cell->type = CELL_TEXT;
        cell->text = arena_strndup(c->arena, buf_text(c->scratch), c->scratch->len);
        cell->len = c->scratch->len;
        code = cell->text != NULL ? ERR_NONE : err_nomem(c->err);
    }
    return code;
}

/* The text of a string, or of an integer, which stands for its digits; NULL for anything else. digits holds
 * the latter. */
static const char *plain_text(const struct conversion *c, int index, size_t *len,
                              char digits[NUMBER_TEXT_MAX])
{
    if (lua_type(c->L, index) == LUA_TSTRING)
        return lua_tolstring(c->L, index, len);
    if (!lua_isinteger(c->L, index))
        return NULL;
    *len = number_format_integer(lua_tointeger(c->L, index), digits);
    return digits;
}

static bool is_text_builder(enum builder builder)
{
    return builder <= BUILDER_STATUS;
}

static enum err_code convert_text(const struct conversion *c)
{
    size_t len = 0;
    char digits[NUMBER_TEXT_MAX];
    const char *text = NULL;
    if (c->value == NULL) {
        text = c->type == LUA_TSTRING ? lua_tolstring(c->L, c->index, &len)
                                      : plain_text(c, c->index, &len, digits);
    } else if (is_text_builder(c->value->builder)) {
        text = value_part(c->value, 0, &len);
    } else if (c->value->builder == BUILDER_LINK) {
        /* A link keeps its target, as Markdown does. */
        size_t url_len = 0;
        const char *label = value_part(c->value, 0, &len);
        const char *url = value_part(c->value, 1, &url_len);
        buf_clear(c->scratch);
        buf_addc(c->scratch, '[');
        buf_add(c->scratch, label, len);
        buf_adds(c->scratch, "](");
        buf_add(c->scratch, url, url_len);
        buf_addc(c->scratch, ')');
        return set_scratch(c, c->cell);
    }
    return text != NULL ? set_text(c, c->cell, text, len) : refuse(c);
}

static enum err_code convert_checkbox(const struct conversion *c)
{
    c->cell->type = CELL_INTEGER;
    if (c->value != NULL && c->value->builder == BUILDER_CHECKBOX)
        c->cell->integer = c->value->flag;
    else if (c->type == LUA_TBOOLEAN)
        c->cell->integer = lua_toboolean(c->L, c->index);
    else
        return refuse(c);
    return ERR_NONE;
}

static enum err_code set_number(const struct conversion *c, double number)
{
    if (isnan(number))
        return ERR_NONE; /* as in the original: no value */
    if (isinf(number))
        return err_set(c->err, ERR_INVALID, "expected a finite number, got %s", number > 0 ? "inf" : "-inf");
    /* Whole numbers are stored as such, whichever way the script came by them. */
    if (number == floor(number) && fabs(number) < 9007199254740992.0) {
        c->cell->type = CELL_INTEGER;
        c->cell->integer = (int64_t)number;
        return ERR_NONE;
    }
    c->cell->type = CELL_REAL;
    c->cell->real = number;
    return ERR_NONE;
}

static enum err_code convert_number(const struct conversion *c)
{
    bool integer = false;
    int64_t whole = 0;
    double number = 0;
    if (c->value != NULL && c->value->builder == BUILDER_NUMBER) {
        integer = c->value->is_integer;
        whole = c->value->integer;
        number = c->value->number;
    } else if (c->type == LUA_TNUMBER) {
        integer = lua_isinteger(c->L, c->index);
        whole = lua_tointeger(c->L, c->index);
        number = lua_tonumber(c->L, c->index);
    } else {
        return refuse(c);
    }
    if (!integer)
        return set_number(c, number);
    c->cell->type = CELL_INTEGER;
    c->cell->integer = whole;
    return ERR_NONE;
}

/* A time zone's name follows in brackets (RFC 9557). */
static enum err_code set_date(const struct conversion *c, struct cell *cell, uint32_t part, const char *zone,
                              size_t zone_len)
{
    size_t len = 0;
    const char *text = value_part(c->value, part, &len);
    if (zone == NULL || zone_len == 0)
        return set_text(c, cell, text, len);
    buf_clear(c->scratch);
    buf_add(c->scratch, text, len);
    buf_addc(c->scratch, '[');
    buf_add(c->scratch, zone, zone_len);
    buf_addc(c->scratch, ']');
    return set_scratch(c, cell);
}

static enum err_code convert_date(const struct conversion *c)
{
    if (c->value == NULL) {
        struct iso_time parsed;
        struct err ignored;
        size_t len = 0;
        const char *text = c->type == LUA_TSTRING ? lua_tolstring(c->L, c->index, &len) : NULL;
        if (text == NULL || iso_parse(text, len, &parsed, &ignored) != ERR_NONE)
            return refuse(c);
        return set_text(c, c->cell, text, len);
    }
    size_t zone_len = 0;
    const char *zone = NULL;
    enum err_code code = ERR_NONE;
    switch (c->value->builder) {
    case BUILDER_DATE:
        return set_date(c, c->cell, 0, NULL, 0);
    case BUILDER_DATE_TIME:
        zone = value_part(c->value, 1, &zone_len);
        return set_date(c, c->cell, 0, zone, zone_len);
    case BUILDER_DATE_RANGE:
    case BUILDER_DATE_TIME_RANGE:
        zone = value_part(c->value, 2, &zone_len);
        code = set_date(c, c->cell, 0, zone, zone_len);
        return code == ERR_NONE ? set_date(c, c->end, 1, zone, zone_len) : code;
    default:
        return refuse(c);
    }
}

static enum err_code check_option(const struct conversion *c, const char *name, size_t len)
{
    const struct property *property = c->property;
    for (size_t i = 0; i < property->option_count; i++)
        if (property->options[i].len == len && memcmp(property->options[i].name, name, len) == 0)
            return ERR_NONE;
    if (!property->strict)
        return c->options != NULL ? c->options->undeclared(c->options->ctx, property, name, len, c->err)
                                  : ERR_NONE;
    const char *names[64];
    size_t count = 0;
    for (; count < property->option_count && count < 64; count++)
        names[count] = property->options[count].name;
    int nearest = text_nearest(name, len, names, count);
    return err_set(c->err, ERR_INVALID,
                   "\"%.*s\" is not one of its options, and the property is strict%s%s%s", (int)len, name,
                   nearest >= 0 ? "; did you mean \"" : "", nearest >= 0 ? names[nearest] : "",
                   nearest >= 0 ? "\"?" : "");
}

static enum err_code convert_select(const struct conversion *c)
{
    enum err_code code = convert_text(c);
    if (code != ERR_NONE)
        return code;
    if (c->value != NULL && c->value->builder == BUILDER_LINK)
        return refuse(c);
    if (c->cell->len == 0) {
        c->cell->type = CELL_NULL; /* no option */
        return ERR_NONE;
    }
    return check_option(c, c->cell->text, c->cell->len);
}

/* Writes one text item into scratch as a JSON string. */
static enum err_code write_item(const struct conversion *c, const char *text, size_t len)
{
    if (c->scratch->len > 1)
        buf_addc(c->scratch, ',');
    return json_write_string(c->scratch, text, len, c->err);
}

static enum err_code option_item(const struct conversion *c, const char *text, size_t len)
{
    enum err_code code = len > 0 ? check_option(c, text, len)
                                 : err_set(c->err, ERR_INVALID, "an option must not be an empty string");
    return code == ERR_NONE ? write_item(c, text, len) : code;
}

/* A list: the parts of a builder value, a sequence of strings (or of builder values of one part), or one
 * string. */
static enum err_code convert_list(const struct conversion *c, enum builder whole, enum builder element)
{
    char digits[NUMBER_TEXT_MAX];
    size_t len = 0;
    enum err_code code = ERR_NONE;
    bool options = c->property->type == PROPERTY_MULTI_SELECT;
    buf_clear(c->scratch);
    buf_addc(c->scratch, '[');
    if (c->value != NULL) {
        if (c->value->builder != whole && c->value->builder != element)
            return refuse(c);
        for (uint32_t i = 0; i < c->value->part_count && code == ERR_NONE; i++) {
            const char *text = value_part(c->value, i, &len);
            code = options ? option_item(c, text, len) : write_item(c, text, len);
        }
    } else if (c->type == LUA_TTABLE) {
        size_t count = lua_rawlen(c->L, c->index);
        size_t entries = 0;
        lua_pushnil(c->L);
        while (lua_next(c->L, c->index) != 0) {
            entries++;
            lua_pop(c->L, 1);
        }
        if (entries != count)
            return err_set(c->err, ERR_INVALID, "expected %s, got a table that is no list",
                           expected[c->property->type]);
        for (size_t i = 1; i <= count && code == ERR_NONE; i++) {
            lua_rawgeti(c->L, c->index, (lua_Integer)i);
            int item = lua_gettop(c->L);
            const struct value *value = value_at(c->L, item);
            const char *text = value == NULL ? plain_text(c, item, &len, digits) : NULL;
            if (value != NULL && (value->builder == element || value->builder == whole) &&
                value->part_count == 1)
                text = value_part(value, 0, &len);
            if (text == NULL)
                code = refuse_at(c, item);
            else
                code = options ? option_item(c, text, len) : write_item(c, text, len);
            lua_pop(c->L, 1);
        }
    } else {
        const char *text = plain_text(c, c->index, &len, digits);
        if (text == NULL)
            return refuse(c);
        code = options ? option_item(c, text, len) : write_item(c, text, len);
    }
    buf_addc(c->scratch, ']');
    return code == ERR_NONE ? set_scratch(c, c->cell) : code;
}

static enum err_code convert_file(const struct conversion *c)
{
    size_t url_len = 0, name_len = 0;
    const char *url = NULL, *name = NULL;
    if (c->value != NULL && c->value->builder == BUILDER_FILE) {
        url = value_part(c->value, 0, &url_len);
        name = value_part(c->value, 1, &name_len);
    } else if (c->value != NULL && c->value->builder == BUILDER_URL) {
        url = value_part(c->value, 0, &url_len);
    } else if (c->type == LUA_TSTRING) {
        url = lua_tolstring(c->L, c->index, &url_len);
    } else {
        return refuse(c);
    }
    buf_clear(c->scratch);
    buf_adds(c->scratch, "{\"url\":");
    enum err_code code = json_write_string(c->scratch, url, url_len, c->err);
    if (code == ERR_NONE && name != NULL) {
        buf_adds(c->scratch, ",\"name\":");
        code = json_write_string(c->scratch, name, name_len, c->err);
    }
    buf_addc(c->scratch, '}');
    return code == ERR_NONE ? set_scratch(c, c->cell) : code;
}

/* Field of the table at c->index, left on the stack; its type. Raw, and without allocating. */
static int raw_field(const struct conversion *c, const char *name)
{
    lua_pushnil(c->L);
    while (lua_next(c->L, c->index) != 0) {
        if (lua_type(c->L, -2) == LUA_TSTRING && strcmp(lua_tostring(c->L, -2), name) == 0) {
            lua_remove(c->L, -2);
            return lua_type(c->L, -1);
        }
        lua_pop(c->L, 1);
    }
    lua_pushnil(c->L);
    return LUA_TNIL;
}

static enum err_code convert_plain_place(const struct conversion *c)
{
    static const char *const known[] = {"lat",  "lon",     "latitude",     "longitude",
                                        "name", "address", "googlePlaceId"};
    enum err_code code = ERR_NONE;
    for (lua_pushnil(c->L); lua_next(c->L, c->index) != 0; lua_pop(c->L, 1)) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            found =
                found || (lua_type(c->L, -2) == LUA_TSTRING && strcmp(lua_tostring(c->L, -2), known[i]) == 0);
        if (!found) {
            lua_pop(c->L, 2);
            return err_set(
                c->err, ERR_INVALID,
                "a place has lat, lon and may have name, address and googlePlaceId; got another field");
        }
    }
    static const char *const numbers[2][2] = {{"lat", "latitude"}, {"lon", "longitude"}};
    buf_clear(c->scratch);
    for (int i = 0; i < 2; i++) {
        if (raw_field(c, numbers[i][0]) != LUA_TNUMBER) {
            lua_pop(c->L, 1);
            raw_field(c, numbers[i][1]);
        }
        double number = lua_type(c->L, -1) == LUA_TNUMBER ? lua_tonumber(c->L, -1) : NAN;
        lua_pop(c->L, 1);
        if (!isfinite(number))
            return err_set(c->err, ERR_INVALID, "expected %s: %s is missing or no number",
                           expected[c->property->type], numbers[i][0]);
        char text[NUMBER_TEXT_MAX];
        number_format_js(number, text);
        buf_addf(c->scratch, "%s\"%s\":%s", i == 0 ? "{" : ",", numbers[i][0], text);
    }
    for (size_t i = 4; i < sizeof known / sizeof known[0] && code == ERR_NONE; i++) {
        if (raw_field(c, known[i]) == LUA_TSTRING) {
            size_t len = 0;
            const char *text = lua_tolstring(c->L, -1, &len);
            buf_addf(c->scratch, ",\"%s\":", known[i]);
            code = json_write_string(c->scratch, text, len, c->err);
        }
        lua_pop(c->L, 1);
    }
    buf_addc(c->scratch, '}');
    return code == ERR_NONE ? set_scratch(c, c->cell) : code;
}

static enum err_code convert_place(const struct conversion *c)
{
    if (c->value == NULL)
        return c->type == LUA_TTABLE ? convert_plain_place(c) : refuse(c);
    if (c->value->builder != BUILDER_PLACE)
        return refuse(c);
    buf_clear(c->scratch);
    enum err_code code = value_write_json(c->value, c->scratch, c->err);
    return code == ERR_NONE ? set_scratch(c, c->cell) : code;
}

enum err_code value_to_cells(lua_State *L, int index, const struct property *property,
                             const struct option_sink *options, struct arena *arena, struct buf *scratch,
                             struct cell *cell, struct cell *end, struct err *err)
{
    *cell = *end = (struct cell){.type = CELL_NULL};
    int type = lua_type(L, index);
    if (type == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == NULL)
        return ERR_NONE; /* workers.null clears */
    struct conversion c = {.L = L,
                           .index = index,
                           .type = type,
                           .value = type == LUA_TUSERDATA ? value_at(L, index) : NULL,
                           .property = property,
                           .options = options,
                           .arena = arena,
                           .scratch = scratch,
                           .cell = cell,
                           .end = end,
                           .err = err};
    switch (property->type) {
    case PROPERTY_TITLE:
    case PROPERTY_TEXT:
    case PROPERTY_URL:
    case PROPERTY_EMAIL:
    case PROPERTY_PHONE:
        return convert_text(&c);
    case PROPERTY_CHECKBOX:
        return convert_checkbox(&c);
    case PROPERTY_FILE:
        return convert_file(&c);
    case PROPERTY_NUMBER:
        return convert_number(&c);
    case PROPERTY_DATE:
        return convert_date(&c);
    case PROPERTY_SELECT:
    case PROPERTY_STATUS:
        return convert_select(&c);
    case PROPERTY_MULTI_SELECT:
        return convert_list(&c, BUILDER_MULTI_SELECT, BUILDER_SELECT);
    case PROPERTY_PEOPLE:
        return convert_list(&c, BUILDER_PEOPLE, BUILDER_PEOPLE);
    case PROPERTY_PLACE:
        return convert_place(&c);
    case PROPERTY_RELATION:
        return convert_list(&c, BUILDER_RELATION, BUILDER_RELATION);
    case PROPERTY_TYPE_COUNT:
        break;
    }
    return err_set(err, ERR_INTERNAL, "unknown property type");
}
