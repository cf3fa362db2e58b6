/* JSON to Lua values. Must not lose anything on the way, nor hold memory outside Lua while Lua may raise. */
#include "modules/json.h"

#include "base/json.h"
#include "modules/json_priv.h"
#include "script/budget.h"

const char json_array_metatable_key = 'a';
const char json_object_metatable_key = 'o';
const char json_empty_array_mark = 'e';

/* ---- Marks on tables ---- */

static void push_metatable(lua_State *L, const void *key)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 0);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

void json_push_array_metatable(lua_State *L)
{
    push_metatable(L, &json_array_metatable_key);
}

void json_push_object_metatable(lua_State *L)
{
    push_metatable(L, &json_object_metatable_key);
}

bool json_is_sequence(lua_State *L, int index, lua_Integer *count)
{
    lua_Integer greatest = 0;
    *count = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_Integer key = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
        lua_pop(L, 1);
        if (key < 1) {
            lua_pop(L, 1);
            *count = 0;
            return false;
        }
        greatest = key > greatest ? key : greatest;
        ++*count;
    }
    return greatest == *count;
}

bool json_is_array(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE)
        return false;
    index = lua_absindex(L, index);
    if (lua_getmetatable(L, index)) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &json_array_metatable_key);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &json_object_metatable_key);
        bool array = lua_rawequal(L, -3, -2);
        bool object = lua_rawequal(L, -3, -1);
        lua_pop(L, 3);
        if (array || object)
            return array;
    }
    lua_Integer count;
    return json_is_sequence(L, index, &count) && count > 0;
}

/* ---- Decoding ---- */

#define PENDING_MAX 64    /* elements, or names and values, that wait on the stack for their table */
#define SMALL_STRING 1024 /* bytes; longer strings with escapes go through a userdata */

struct decoder {
    lua_State *L;
    struct json_scan scan;
    struct err *err;
    int array_metatable; /* stack indices */
    int object_metatable;
    int scratch; /* nil, or the userdata that unescaped strings are put together in */
    size_t scratch_size;
    unsigned depth;
    unsigned max_depth;
    unsigned values;
};

static enum err_code decode_value(struct decoder *d);

static void push_string(struct decoder *d)
{
    lua_State *L = d->L;
    struct json_slice string = d->scan.string;
    if (!d->scan.escaped) {
        lua_pushlstring(L, string.text, string.len);
        return;
    }
    char small[SMALL_STRING];
    char *out = small;
    if (string.len > sizeof small) {
        if (d->scratch_size < string.len) {
            size_t size = string.len > 2 * d->scratch_size ? string.len : 2 * d->scratch_size;
            lua_newuserdatauv(L, size, 0);
            lua_replace(L, d->scratch);
            d->scratch_size = size;
        }
        out = lua_touserdata(L, d->scratch);
    }
    lua_pushlstring(L, out, json_unescape(string, out));
}

static enum err_code enter(struct decoder *d)
{
    if (d->depth == d->max_depth)
        return json_scan_fail(&d->scan, d->err, ERR_LIMIT, "nested deeper than %u levels", d->max_depth);
    d->depth++;
    if (!lua_checkstack(d->L, PENDING_MAX + LUA_MINSTACK))
        return err_nomem(d->err);
    return ERR_NONE;
}

/* Members wait on the stack until their number is known, so that the table is made in its final size: growing
 * one step by step costs more than all the rest. table is the stack index of the placeholder. */
static void gather_members(lua_State *L, int table, int size_hint)
{
    int top = lua_gettop(L);
    lua_createtable(L, 0, size_hint);
    lua_replace(L, table);
    for (int i = table + 1; i < top; i += 2) {
        lua_pushvalue(L, i);
        lua_pushvalue(L, i + 1);
        lua_rawset(L, table);
    }
    lua_settop(L, table);
}

static enum err_code decode_object(struct decoder *d)
{
    lua_State *L = d->L;
    enum err_code code = enter(d);
    if (code != ERR_NONE)
        return code;
    lua_pushnil(L);
    int table = lua_gettop(L);
    int waiting = 0; /* -1 once the table is there */
    for (;;) {
        bool more;
        code = json_scan_member(&d->scan, &more, d->err);
        if (code != ERR_NONE)
            return code;
        if (!more)
            break;
        push_string(d);
        code = json_scan_value(&d->scan, d->err);
        if (code == ERR_NONE)
            code = decode_value(d);
        if (code != ERR_NONE)
            return code;
        if (waiting < 0) {
            lua_rawset(L, table);
        } else if (++waiting == PENDING_MAX / 2) {
            gather_members(L, table, PENDING_MAX);
            waiting = -1;
        }
    }
    if (waiting >= 0)
        gather_members(L, table, waiting);
    if (waiting == 0) {
        lua_pushvalue(L, d->object_metatable);
        lua_setmetatable(L, table);
    }
    d->depth--;
    return ERR_NONE;
}

static void gather_elements(lua_State *L, int table, int count, int size_hint)
{
    lua_createtable(L, size_hint, 0);
    lua_replace(L, table);
    for (int i = count; i > 0; i--)
        lua_rawseti(L, table, i);
}

static enum err_code decode_array(struct decoder *d)
{
    lua_State *L = d->L;
    enum err_code code = enter(d);
    if (code != ERR_NONE)
        return code;
    lua_pushnil(L);
    int table = lua_gettop(L);
    lua_Integer count = 0;
    for (;;) {
        bool more;
        code = json_scan_element(&d->scan, &more, d->err);
        if (code != ERR_NONE)
            return code;
        if (!more)
            break;
        code = decode_value(d);
        if (code != ERR_NONE)
            return code;
        count++;
        if (count == PENDING_MAX)
            gather_elements(L, table, PENDING_MAX, 2 * PENDING_MAX);
        else if (count > PENDING_MAX)
            lua_rawseti(L, table, count);
    }
    if (count < PENDING_MAX)
        gather_elements(L, table, (int)count, (int)count);
    lua_pushvalue(L, d->array_metatable);
    lua_setmetatable(L, table);
    d->depth--;
    return ERR_NONE;
}

/* Pushes the value whose first token is the current one. Recursion is bounded by max_depth. */
static enum err_code decode_value(struct decoder *d)
{
    lua_State *L = d->L;
    if (++d->values % JSON_TICK_EVERY == 0)
        budget_tick(L);
    switch (d->scan.token) {
    case JSON_OBJECT:
        return decode_object(d);
    case JSON_ARRAY:
        return decode_array(d);
    case JSON_STRING:
        push_string(d);
        break;
    case JSON_NUMBER:
        if (d->scan.number.is_integer)
            lua_pushinteger(L, d->scan.number.integer);
        else
            lua_pushnumber(L, d->scan.number.real);
        break;
    case JSON_TRUE:
        lua_pushboolean(L, 1);
        break;
    case JSON_FALSE:
        lua_pushboolean(L, 0);
        break;
    default:
        lua_pushlightuserdata(L, NULL);
        break;
    }
    return ERR_NONE;
}

enum err_code json_decode_within(lua_State *L, const char *text, size_t len, unsigned max_depth,
                                 struct err *err)
{
    int top = lua_gettop(L);
    if (!lua_checkstack(L, LUA_MINSTACK))
        return err_nomem(err);
    json_push_array_metatable(L);
    json_push_object_metatable(L);
    lua_pushnil(L);
    struct decoder d = {.L = L,
                        .err = err,
                        .array_metatable = top + 1,
                        .object_metatable = top + 2,
                        .scratch = top + 3,
                        .max_depth = max_depth};
    json_scan_init(&d.scan, text, len);
    enum err_code code = json_scan_value(&d.scan, err);
    if (code == ERR_NONE)
        code = decode_value(&d);
    if (code == ERR_NONE)
        code = json_scan_end(&d.scan, err);
    if (code == ERR_NONE)
        lua_replace(L, top + 1);
    lua_settop(L, code == ERR_NONE ? top + 1 : top);
    return code;
}

enum err_code json_decode(lua_State *L, const char *text, size_t len, struct err *err)
{
    return json_decode_within(L, text, len, JSON_DEPTH_MAX, err);
}
