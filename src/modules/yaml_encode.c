/* Lua values to YAML text over libyaml's emitter. Must not keep malloc'd memory where a Lua error would lose
 * it: the emitter and its output live in a userdata box. */
#include "base/buf.h"
#include "base/number.h"
#include "base/text.h"
#include "modules/json.h"
#include "modules/yaml.h"
#include "modules/yaml_priv.h"
#include "script/budget.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <lauxlib.h>
#include <yaml.h>

struct step {
    const char *key; /* NULL: an index */
    size_t len;
    lua_Integer index;
};

struct encoder {
    yaml_emitter_t emitter;
    bool emitter_open;
    bool too_large;
    struct buf out;
    struct err *err;
    unsigned nodes;
    int depth;
    struct step
        path[YAML_DEPTH_MAX]; /* keys belong to strings of the value, which nobody changes meanwhile */
};

#define ENCODER_TYPE "workers.yaml.encoder"
#define TOO_LARGE "the YAML text is larger than %zu bytes"

static void close_encoder(struct encoder *e)
{
    if (e->emitter_open)
        yaml_emitter_delete(&e->emitter);
    e->emitter_open = false;
    buf_free(&e->out);
}

static int release_encoder(lua_State *L)
{
    close_encoder(lua_touserdata(L, 1));
    return 0;
}

/* Called by libyaml, so it must not raise. */
static int write_out(void *context, unsigned char *bytes, size_t len)
{
    struct encoder *e = context;
    e->too_large = len > e->out.max - e->out.len;
    buf_add(&e->out, bytes, len);
    return !e->out.failed;
}

static void format_path(const struct encoder *e, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < e->depth && used < size; i++) {
        const struct step *s = &e->path[i];
        int len = s->key != NULL ? snprintf(out + used, size - used, "%s%.*s", i > 0 ? "." : "",
                                            yaml_shown_len(s->key, s->len), s->key)
                                 : snprintf(out + used, size - used, "[%lld]", (long long)s->index);
        used += len > 0 ? (size_t)len : 0;
    }
}

static enum err_code fail_in(struct encoder *e, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum err_code fail_in(struct encoder *e, enum err_code code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    err_vset(e->err, code, format, arguments);
    va_end(arguments);
    char path[256];
    format_path(e, path, sizeof path);
    if (path[0] != '\0')
        err_context(e->err, "at %s", path);
    return code;
}

/* Takes the event over; initialized says whether there is one. */
static enum err_code emit(struct encoder *e, yaml_event_t *event, int initialized)
{
    if (!initialized)
        return err_nomem(e->err);
    if (yaml_emitter_emit(&e->emitter, event))
        return ERR_NONE;
    if (e->too_large)
        return err_set(e->err, ERR_LIMIT, TOO_LARGE, YAML_ENCODE_MAX);
    if (e->out.failed || e->emitter.error == YAML_MEMORY_ERROR)
        return err_nomem(e->err);
    return fail_in(e, ERR_INTERNAL, "libyaml: %s",
                   e->emitter.problem != NULL ? e->emitter.problem : "failed");
}

static enum err_code emit_scalar(struct encoder *e, const char *text, size_t len, bool plain,
                                 yaml_scalar_style_t style)
{
    yaml_event_t event;
    /* The length is an int there; longer texts would not fit into the output either. */
    if (len > YAML_ENCODE_MAX)
        return err_set(e->err, ERR_LIMIT, TOO_LARGE, YAML_ENCODE_MAX);
    return emit(e, &event,
                yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, (int)len, plain,
                                             1, style));
}

static enum err_code emit_plain(struct encoder *e, const char *text)
{
    return emit_scalar(e, text, strlen(text), true, YAML_PLAIN_SCALAR_STYLE);
}

/* Whether some reader, be it of YAML 1.1 with its `yes`, dates and 12:30, may take the plain text for no
 * string. */
static bool needs_quotes(lua_State *L, const char *text, size_t len)
{
    static const char *const words[] = {"y", "n", "yes", "no", "on", "off", "<<", "=", NULL};
    if (len == 0 || strchr("0123456789+-.", text[0]) != NULL)
        return true;
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strcasecmp(text, words[i]) == 0)
            return true;
    }
    if (yaml_push_resolved(L, text, len) == SCALAR_STRING)
        return false;
    lua_pop(L, 1);
    return true;
}

static enum err_code encode_string(lua_State *L, struct encoder *e, const char *text, size_t len, bool is_key)
{
    size_t bad = 0;
    if (!text_is_utf8(text, len, &bad))
        return fail_in(e, ERR_INVALID,
                       "a string is not UTF-8 (byte %zu); encode bytes with crypto.base64 first", bad + 1);
    yaml_scalar_style_t style = YAML_ANY_SCALAR_STYLE;
    if (memchr(text, '\n', len) != NULL)
        style = is_key ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_LITERAL_SCALAR_STYLE;
    return emit_scalar(e, text, len, !needs_quotes(L, text, len), style);
}

enum shape { SHAPE_ARRAY, SHAPE_OBJECT, SHAPE_MIXED, SHAPE_HOLES };

static bool has_array_metatable(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return false;
    json_push_array_metatable(L);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

static void tick(lua_State *L, struct encoder *e)
{
    if (++e->nodes % YAML_TICK_EVERY == 0)
        budget_tick(L);
}

/* count becomes the number of keys. */
static enum shape find_shape(lua_State *L, struct encoder *e, int index, size_t *count)
{
    size_t strings = 0, indices = 0;
    lua_Integer greatest = 0;
    bool marked = has_array_metatable(L, index);
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        tick(L, e);
        if (lua_type(L, -2) == LUA_TSTRING) {
            strings++;
        } else if (lua_isinteger(L, -2) && lua_tointeger(L, -2) >= 1) {
            indices++;
            if (lua_tointeger(L, -2) > greatest)
                greatest = lua_tointeger(L, -2);
        } else {
            lua_pop(L, 2);
            return SHAPE_MIXED;
        }
    }
    *count = strings + indices;
    if (strings > 0)
        return indices > 0 || marked ? SHAPE_MIXED : SHAPE_OBJECT;
    if (indices == 0)
        return marked ? SHAPE_ARRAY : SHAPE_OBJECT;
    return (size_t)greatest == indices ? SHAPE_ARRAY : SHAPE_HOLES;
}

static enum err_code encode_value(lua_State *L, struct encoder *e);

static enum err_code encode_array(lua_State *L, struct encoder *e, int index, size_t count)
{
    yaml_event_t event;
    enum err_code code = emit(
        e, &event, yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE));
    struct step *step = &e->path[e->depth++];
    for (size_t i = 1; code == ERR_NONE && i <= count; i++) {
        *step = (struct step){.index = (lua_Integer)i};
        lua_rawgeti(L, index, (lua_Integer)i);
        code = encode_value(L, e);
        lua_pop(L, 1);
    }
    e->depth--;
    return code == ERR_NONE ? emit(e, &event, yaml_sequence_end_event_initialize(&event)) : code;
}

static int compare_keys(const void *a, const void *b)
{
    const struct step *x = a, *y = b;
    int order = memcmp(x->key, y->key, x->len < y->len ? x->len : y->len);
    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* In the order of the keys' bytes: Lua's own changes from run to run. */
static enum err_code encode_object(lua_State *L, struct encoder *e, int index, size_t count)
{
    struct step *keys = lua_newuserdatauv(L, (count > 0 ? count : 1) * sizeof *keys, 0);
    size_t filled = 0;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        size_t len;
        const char *key = lua_tolstring(L, -2, &len);
        keys[filled++] = (struct step){.key = key, .len = len};
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    yaml_event_t event;
    enum err_code code =
        emit(e, &event, yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
    struct step *step = &e->path[e->depth++];
    for (size_t i = 0; code == ERR_NONE && i < count; i++) {
        *step = keys[i];
        code = encode_string(L, e, keys[i].key, keys[i].len, true);
        if (code != ERR_NONE)
            break;
        lua_pushlstring(L, keys[i].key, keys[i].len);
        lua_rawget(L, index);
        code = encode_value(L, e);
        lua_pop(L, 1);
    }
    e->depth--;
    lua_pop(L, 1);
    return code == ERR_NONE ? emit(e, &event, yaml_mapping_end_event_initialize(&event)) : code;
}

static enum err_code encode_table(lua_State *L, struct encoder *e)
{
    int index = lua_gettop(L);
    size_t count = 0;
    if (e->depth >= YAML_DEPTH_MAX) {
        e->depth = 4; /* of the path, the beginning says enough */
        return fail_in(e, ERR_LIMIT, "tables are nested more than %d deep; does one contain itself?",
                       YAML_DEPTH_MAX);
    }
    switch (find_shape(L, e, index, &count)) {
    case SHAPE_ARRAY:
        return encode_array(L, e, index, count);
    case SHAPE_OBJECT:
        return encode_object(L, e, index, count);
    case SHAPE_HOLES:
        return fail_in(e, ERR_INVALID,
                       "a table's indices must run from 1 without a hole; use workers.null for nothing");
    case SHAPE_MIXED:
        break;
    }
    return fail_in(e, ERR_INVALID, "a table's keys must be all strings or the indices 1 to n");
}

static enum err_code encode_number(lua_State *L, struct encoder *e)
{
    char text[NUMBER_TEXT_MAX];
    lua_Number value = lua_tonumber(L, -1);
    if (lua_isinteger(L, -1))
        number_format_integer(lua_tointeger(L, -1), text);
    else if (isnan(value))
        return emit_plain(e, ".nan");
    else if (isinf(value))
        return emit_plain(e, value > 0 ? ".inf" : "-.inf");
    else
        number_format_double(value, text);
    return emit_plain(e, text);
}

/* stack: …, value */
static enum err_code encode_value(lua_State *L, struct encoder *e)
{
    luaL_checkstack(L, 8, "YAML");
    tick(L, e);
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN:
        return emit_plain(e, lua_toboolean(L, -1) ? "true" : "false");
    case LUA_TNUMBER:
        return encode_number(L, e);
    case LUA_TSTRING: {
        size_t len;
        const char *text = lua_tolstring(L, -1, &len);
        return encode_string(L, e, text, len, false);
    }
    case LUA_TTABLE:
        return encode_table(L, e);
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, -1) == NULL)
            return emit_plain(e, "null");
        break;
    default:
        break;
    }
    return fail_in(e, ERR_INVALID, "a %s cannot be written as YAML", luaL_typename(L, -1));
}

/* stack: value -> value */
static enum err_code encode_document(lua_State *L, struct encoder *e)
{
    yaml_event_t event;
    enum err_code code = emit(e, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
    if (code == ERR_NONE)
        code = emit(e, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
    if (code == ERR_NONE)
        code = encode_value(L, e);
    if (code == ERR_NONE)
        code = emit(e, &event, yaml_document_end_event_initialize(&event, 1));
    if (code == ERR_NONE)
        code = emit(e, &event, yaml_stream_end_event_initialize(&event));
    return code;
}

int yaml_encode_call(lua_State *L)
{
    if (lua_isnoneornil(L, 1))
        return luaL_error(
            L, "yaml.encode: argument 1 (value): a value expected, got %s; use workers.null for null",
            luaL_typename(L, 1));
    struct err err;
    struct encoder *e = yaml_new_box(L, sizeof *e, ENCODER_TYPE, release_encoder);
    buf_init(&e->out, YAML_ENCODE_MAX);
    e->err = &err;
    if (!yaml_emitter_initialize(&e->emitter)) {
        err_nomem(&err);
        return luaL_error(L, "yaml.encode: %s", err.message);
    }
    e->emitter_open = true;
    yaml_emitter_set_output(&e->emitter, write_out, e);
    yaml_emitter_set_unicode(&e->emitter, 1);
    yaml_emitter_set_width(&e->emitter, -1);
    lua_pushvalue(L, 1);
    enum err_code code = encode_document(L, e);
    if (code == ERR_NONE)
        lua_pushlstring(L, buf_text(&e->out), e->out.len);
    close_encoder(e);
    return code == ERR_NONE ? 1 : luaL_error(L, "yaml.encode: %s", err.message);
}
