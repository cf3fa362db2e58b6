/* Lua values to JSON. Must not call Lua code or allocate in Lua; what JSON cannot represent is an error with
 * the path to it. */
#include "base/json.h"
#include "modules/json_priv.h"
#include "script/budget.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Addresses that name things in the registry. */
static const char hook_field_key = 'h';
static const char value_field_key = 'v';
static const char hook_mark = 'm';

void json_push_hook(lua_State *L, const struct json_hook *hook)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t)&hook_mark);
    lua_rawsetp(L, LUA_REGISTRYINDEX, hook);
    lua_pushlightuserdata(L, (void *)(uintptr_t)hook);
}

/* The encoder must not allocate in Lua, so that the strings it looks fields up by have to be there before. */
static int prepare(lua_State *L)
{
    lua_pushliteral(L, "__tojson");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &hook_field_key);
    lua_pushliteral(L, "__jsonvalue");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &value_field_key);
    json_push_array_metatable(L);
    json_push_object_metatable(L);
    return 0;
}

static enum err_code be_prepared(lua_State *L, struct err *err)
{
    bool ready = lua_rawgetp(L, LUA_REGISTRYINDEX, &json_object_metatable_key) == LUA_TTABLE &&
                 lua_rawgetp(L, LUA_REGISTRYINDEX, &json_array_metatable_key) == LUA_TTABLE &&
                 lua_rawgetp(L, LUA_REGISTRYINDEX, &value_field_key) == LUA_TSTRING;
    if (ready)
        return ERR_NONE;
    lua_pushcfunction(L, prepare);
    return lua_pcall(L, 0, 0, 0) == LUA_OK ? ERR_NONE : err_nomem(err);
}

/* One container on the way to the value that is being written; also the path in messages. */
struct frame {
    const struct frame *parent;
    const void *container;
    const char *name; /* the member being written, or NULL: the element at index */
    size_t name_len;
    lua_Integer index;
};

struct encoder {
    lua_State *L;
    struct buf *out;
    struct err *err;
    struct json_encode_options options;
    const void *array_metatable;
    const void *object_metatable;
    int hook_field; /* stack indices */
    int value_field;
    unsigned depth;
    unsigned indent;
    unsigned values;
    bool may_raise;   /* out and keys survive an error that budget_tick raises */
    struct buf *keys; /* struct sort_key of all objects that are being written in order */
};

static enum err_code encode_value(struct encoder *e, int index, const struct frame *frame);

static bool is_identifier(const char *name, size_t len)
{
    if (len == 0 || len > 40 || (name[0] >= '0' && name[0] <= '9'))
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        if (!(c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')))
            return false;
    }
    return true;
}

#define NAME_SHOWN 40 /* bytes of a member's name in a message */
#define STEPS_SHOWN 6 /* at either end of a long path */

/* Quoted, cut short, and never a cause of failure. */
static void add_name(struct buf *out, const char *name, size_t len)
{
    size_t shown = len;
    if (len > NAME_SHOWN) {
        shown = NAME_SHOWN;
        while (shown > 0 && ((unsigned char)name[shown] & 0xC0) == 0x80)
            shown--; /* not in the middle of a character */
    }
    if (json_write_string(out, name, shown, NULL) != ERR_NONE)
        buf_adds(out, "\"?\"");
    else if (shown < len)
        buf_adds(out, "...");
}

static void add_step(struct buf *path, const struct frame *frame)
{
    if (frame->name == NULL) {
        buf_addf(path, "[%lld]", (long long)frame->index);
    } else if (is_identifier(frame->name, frame->name_len)) {
        buf_addf(path, ".%.*s", (int)frame->name_len, frame->name);
    } else {
        buf_addc(path, '[');
        add_name(path, frame->name, frame->name_len);
        buf_addc(path, ']');
    }
}

static void add_path(struct buf *path, const struct frame *frame, unsigned depth, unsigned last)
{
    if (frame == NULL || frame->container == NULL)
        return;
    add_path(path, frame->parent, depth - 1, last);
    if (depth <= STEPS_SHOWN || depth > last - STEPS_SHOWN)
        add_step(path, frame);
    else if (depth == STEPS_SHOWN + 1)
        buf_adds(path, "...");
}

/* Puts "at .items[3].name: " in front of the message, once. */
static enum err_code at_path(struct encoder *e, const struct frame *frame, enum err_code code)
{
    unsigned depth = 0;
    for (const struct frame *f = frame; f != NULL; f = f->parent)
        depth++;
    if (depth > 0 && e->err != NULL) {
        struct buf path;
        buf_init(&path, 4096);
        add_path(&path, frame, depth, depth < STEPS_SHOWN ? STEPS_SHOWN : depth);
        err_context(e->err, "at %s", buf_text(&path));
        buf_free(&path);
    }
    return code;
}

static enum err_code cannot(struct encoder *e, const struct frame *frame, const char *what)
{
    err_set(e->err, ERR_INVALID, "%s cannot be written as JSON", what);
    return at_path(e, frame, ERR_INVALID);
}

static void new_line(struct encoder *e)
{
    if (!e->options.pretty)
        return;
    buf_addc(e->out, '\n');
    for (unsigned i = 0; i < e->indent; i++)
        buf_add(e->out, "  ", 2);
}

static enum err_code encode_string(struct encoder *e, const char *text, size_t len, const struct frame *frame)
{
    if (json_write_string(e->out, text, len, e->err) == ERR_NONE)
        return ERR_NONE;
    at_path(e, frame, ERR_INVALID);
    if (e->err != NULL) {
        size_t used = strlen(e->err->message);
        snprintf(e->err->message + used, sizeof e->err->message - used,
                 "; binary data must be encoded first, for example as base64");
    }
    return ERR_INVALID;
}

/* The key at the top of the stack does not fit the table it was found in. */
static enum err_code bad_key(struct encoder *e, const struct frame *container, const char *kind)
{
    lua_State *L = e->L;
    char text[NUMBER_TEXT_MAX];
    struct buf key;
    buf_init(&key, 512);
    if (lua_type(L, -1) == LUA_TSTRING) {
        size_t len;
        const char *name = lua_tolstring(L, -1, &len);
        add_name(&key, name, len);
    } else if (lua_isinteger(L, -1)) {
        json_write_integer(&key, lua_tointeger(L, -1));
    } else if (lua_type(L, -1) == LUA_TNUMBER) {
        buf_add(&key, text, number_format_double(lua_tonumber(L, -1), text));
    } else if (lua_isboolean(L, -1)) {
        buf_adds(&key, lua_toboolean(L, -1) ? "true" : "false");
    } else {
        buf_addf(&key, "of type %s", luaL_typename(L, -1));
    }
    err_set(e->err, ERR_INVALID, "%s cannot have the key %s: objects have strings as keys, lists 1..n", kind,
            buf_text(&key));
    buf_free(&key);
    return at_path(e, container->parent, ERR_INVALID);
}

static enum err_code not_a_list(struct encoder *e, int index, lua_Integer count, const struct frame *frame)
{
    lua_State *L = e->L;
    if (count > 0) { /* counted to the end: all keys are positive integers */
        lua_Integer gap = 1;
        while (lua_rawgeti(L, index, gap) != LUA_TNIL) {
            lua_pop(L, 1);
            gap++;
        }
        err_set(e->err, ERR_INVALID,
                "a list must have no gaps, but its element %lld is nil (workers.null can fill it)",
                (long long)gap);
        return at_path(e, frame->parent, ERR_INVALID);
    }
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1)
            break;
    }
    return bad_key(e, frame, "a list");
}

/* index is absolute. */
static enum err_code encode_list(struct encoder *e, int index, struct frame *frame)
{
    lua_State *L = e->L;
    lua_Integer count;
    if (!json_is_sequence(L, index, &count))
        return not_a_list(e, index, count, frame);
    buf_addc(e->out, '[');
    e->depth++;
    e->indent++;
    for (frame->index = 1; frame->index <= count; frame->index++) {
        if (frame->index > 1)
            buf_addc(e->out, ',');
        new_line(e);
        lua_rawgeti(L, index, frame->index);
        enum err_code code = encode_value(e, lua_gettop(L), frame);
        if (code != ERR_NONE)
            return code;
        lua_pop(L, 1);
    }
    e->depth--;
    e->indent--;
    if (count > 0)
        new_line(e);
    buf_addc(e->out, ']');
    return ERR_NONE;
}

/* Key and value are at the top of the stack; pops the value. */
static enum err_code encode_member(struct encoder *e, struct frame *frame, bool first)
{
    lua_State *L = e->L;
    int value = lua_gettop(L);
    frame->name = lua_tolstring(L, -2, &frame->name_len);
    if (!first)
        buf_addc(e->out, ',');
    new_line(e);
    enum err_code code = encode_string(e, frame->name, frame->name_len, frame);
    if (code != ERR_NONE)
        return code;
    buf_add(e->out, ": ", e->options.pretty ? 2 : 1);
    code = encode_value(e, value, frame);
    lua_pop(L, 1);
    return code;
}

struct sort_key {
    const char *text;
    size_t len;
    int index;
};

static int compare_keys(const void *left, const void *right)
{
    const struct sort_key *a = left;
    const struct sort_key *b = right;
    int order = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);
    return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

/* Keys wait on the stack, for making a string anew could allocate. */
static enum err_code collect_keys(struct encoder *e, int index, const struct frame *frame)
{
    lua_State *L = e->L;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            return bad_key(e, frame, "an object");
        struct sort_key key = {.index = lua_gettop(L)};
        key.text = lua_tolstring(L, -1, &key.len);
        buf_add(e->keys, &key, sizeof key);
        if (!lua_checkstack(L, LUA_MINSTACK)) {
            err_set(e->err, ERR_LIMIT, "the table has too many members to sort them");
            return at_path(e, frame->parent, ERR_LIMIT);
        }
        lua_pushvalue(L, -1);
    }
    return e->keys->failed ? err_nomem(e->err) : ERR_NONE;
}

static enum err_code encode_sorted(struct encoder *e, int index, struct frame *frame, bool *empty)
{
    lua_State *L = e->L;
    int base = lua_gettop(L);
    size_t begin = e->keys->len;
    enum err_code code = collect_keys(e, index, frame);
    if (code != ERR_NONE)
        return code;
    size_t count = (e->keys->len - begin) / sizeof(struct sort_key);
    if (count > 1)
        qsort(e->keys->data + begin, count, sizeof(struct sort_key), compare_keys);
    *empty = count == 0;
    for (size_t i = 0; i < count; i++) {
        struct sort_key key;
        memcpy(&key, e->keys->data + begin + i * sizeof key, sizeof key);
        lua_pushvalue(L, key.index);
        lua_pushvalue(L, -1);
        lua_rawget(L, index);
        code = encode_member(e, frame, i == 0);
        if (code != ERR_NONE)
            return code;
        lua_pop(L, 1);
    }
    e->keys->len = begin;
    lua_settop(L, base);
    return ERR_NONE;
}

static enum err_code encode_object(struct encoder *e, int index, struct frame *frame)
{
    lua_State *L = e->L;
    enum err_code code = ERR_NONE;
    bool empty = true;
    buf_addc(e->out, '{');
    e->depth++;
    e->indent++;
    if (e->options.sort_keys) {
        code = encode_sorted(e, index, frame, &empty);
        if (code != ERR_NONE)
            return code;
    } else {
        lua_pushnil(L);
        while (lua_next(L, index)) {
            if (lua_type(L, -2) != LUA_TSTRING) {
                lua_pop(L, 1);
                return bad_key(e, frame, "an object");
            }
            code = encode_member(e, frame, empty);
            if (code != ERR_NONE)
                return code;
            empty = false;
        }
    }
    e->depth--;
    e->indent--;
    if (!empty)
        new_line(e);
    buf_addc(e->out, '}');
    return ERR_NONE;
}

static enum err_code too_deep(struct encoder *e, const void *container, const struct frame *frame)
{
    const struct frame *outer = frame;
    while (outer != NULL && outer->container != container)
        outer = outer->parent;
    if (outer != NULL)
        err_set(e->err, ERR_INVALID, "a table that contains itself cannot be written as JSON");
    else
        err_set(e->err, ERR_LIMIT, "nested deeper than %u levels", e->options.max_depth);
    return at_path(e, frame, outer != NULL ? ERR_INVALID : ERR_LIMIT);
}

static enum err_code encode_hook(struct encoder *e, int index, const struct frame *frame)
{
    lua_State *L = e->L;
    const struct json_hook *hook = lua_touserdata(L, -1);
    /* Known hooks only: a script can put any light userdata it finds into a metatable. */
    bool known = lua_islightuserdata(L, -1) && hook != NULL &&
                 lua_rawgetp(L, LUA_REGISTRYINDEX, hook) != LUA_TNIL && lua_touserdata(L, -1) == &hook_mark;
    if (!known)
        return cannot(e, frame, "a value whose metatable has a __tojson that is none of the program's own");
    enum err_code code = hook->write(L, index, e->out, e->err);
    return code == ERR_NONE ? code : at_path(e, frame, code);
}

/* Tables and full userdata. */
static enum err_code encode_container(struct encoder *e, int index, const struct frame *parent)
{
    lua_State *L = e->L;
    struct frame frame = {.parent = parent, .container = lua_topointer(L, index)};
    bool is_table = lua_type(L, index) == LUA_TTABLE;
    bool marked_object = false;
    bool marked_array = false;
    if (e->depth == e->options.max_depth)
        return too_deep(e, frame.container, parent);
    if (!lua_checkstack(L, LUA_MINSTACK))
        return err_nomem(e->err);
    int top = lua_gettop(L);
    if (lua_getmetatable(L, index)) {
        const void *metatable = lua_topointer(L, -1);
        marked_array = metatable == e->array_metatable;
        marked_object = metatable == e->object_metatable;
        if (!marked_array && !marked_object) {
            lua_pushvalue(L, e->hook_field);
            if (lua_rawget(L, top + 1) != LUA_TNIL) {
                enum err_code code = encode_hook(e, index, parent);
                lua_settop(L, top);
                return code;
            }
            lua_pushvalue(L, e->value_field);
            if (lua_rawget(L, top + 1) != LUA_TNIL) {
                e->depth++; /* a value may stand for itself */
                enum err_code code = encode_value(e, lua_gettop(L), parent);
                e->depth--;
                lua_settop(L, top);
                return code;
            }
        }
        lua_settop(L, top);
    }
    if (!is_table)
        return cannot(e, parent, "a userdata");
    if (e->out->failed)
        return buf_status(e->out, "the JSON text", e->err);
    if (!marked_array && !marked_object) {
        marked_array =
            lua_rawlen(L, index) > 0; /* whatever the order of traversal, so that errors are the same */
        if (!marked_array && e->options.empty_table_is_array) {
            lua_pushnil(L);
            marked_array = lua_next(L, index) == 0;
            lua_settop(L, top);
        }
    }
    return marked_array ? encode_list(e, index, &frame) : encode_object(e, index, &frame);
}

/* index is absolute. frame is the container the value is in, NULL at the top. Recursion is bounded by
 * max_depth. */
static enum err_code encode_value(struct encoder *e, int index, const struct frame *frame)
{
    lua_State *L = e->L;
    if (++e->values % JSON_TICK_EVERY == 0 && e->may_raise)
        budget_tick(L);
    switch (lua_type(L, index)) {
    case LUA_TSTRING: {
        size_t len;
        const char *text = lua_tolstring(L, index, &len);
        return encode_string(e, text, len, frame);
    }
    case LUA_TNUMBER:
        if (lua_isinteger(L, index)) {
            json_write_integer(e->out, lua_tointeger(L, index));
            return ERR_NONE;
        }
        if (json_write_number(e->out, lua_tonumber(L, index), e->err) != ERR_NONE)
            return at_path(e, frame, ERR_INVALID);
        return ERR_NONE;
    case LUA_TBOOLEAN:
        buf_adds(e->out, lua_toboolean(L, index) ? "true" : "false");
        return ERR_NONE;
    case LUA_TTABLE:
    case LUA_TUSERDATA:
        return encode_container(e, index, frame);
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index) == NULL)
            buf_add(e->out, "null", 4);
        else if (lua_touserdata(L, index) == &json_empty_array_mark)
            buf_add(e->out, "[]", 2);
        else
            return cannot(e, frame, "a light userdata other than workers.null");
        return ERR_NONE;
    case LUA_TNIL:
        return cannot(e, frame, "nil (workers.null is JSON's null)");
    case LUA_TFUNCTION:
        return cannot(e, frame, "a function");
    default:
        return cannot(e, frame, "a coroutine");
    }
}

static enum err_code encode(struct encoder *e, int index)
{
    lua_State *L = e->L;
    int top = lua_gettop(L);
    index = lua_absindex(L, index);
    if (e->options.max_depth == 0 || e->options.max_depth > JSON_DEPTH_MAX)
        e->options.max_depth = JSON_DEPTH_MAX;
    if (!lua_checkstack(L, LUA_MINSTACK))
        return err_nomem(e->err);
    enum err_code code = be_prepared(L, e->err);
    lua_settop(L, top);
    if (code != ERR_NONE)
        return code;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &json_array_metatable_key);
    e->array_metatable = lua_topointer(L, -1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &json_object_metatable_key);
    e->object_metatable = lua_topointer(L, -1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hook_field_key);
    e->hook_field = lua_gettop(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &value_field_key);
    e->value_field = lua_gettop(L);
    code = encode_value(e, index, NULL);
    lua_settop(L, top);
    return code != ERR_NONE ? code : buf_status(e->out, "the JSON text", e->err);
}

enum err_code json_encode_raising(lua_State *L, int index, const struct json_encode_options *options,
                                  struct buf *out, struct buf *keys, struct err *err)
{
    struct encoder e = {.L = L, .out = out, .err = err, .options = *options, .keys = keys, .may_raise = true};
    return encode(&e, index);
}

enum err_code json_encode(lua_State *L, int index, const struct json_encode_options *options, struct buf *out,
                          struct err *err)
{
    static const struct json_encode_options defaults;
    struct buf keys;
    buf_init(&keys, BUF_UNLIMITED);
    struct encoder e = {
        .L = L, .out = out, .err = err, .options = options != NULL ? *options : defaults, .keys = &keys};
    enum err_code code = encode(&e, index);
    buf_free(&keys);
    return code;
}
