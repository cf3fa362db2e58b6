/* The Lua modules over the JSON codec: workers.json, cjson, cjson.safe. Must not offer a setting that loses
 * data. */
#include "base/json.h"
#include "modules/json_priv.h"
#include "modules/modules.h"

#include <lauxlib.h>
#include <string.h>

#define CODEC_TYPE "workers.json codec"
#define TEXT_MAX ((size_t)256 << 20) /* bytes that one encode may write */
#define KEEP_MAX ((size_t)64 << 10)  /* bytes of memory that a codec keeps for the next encode */

/* What encode and decode of one module instance share; their first upvalue. */
struct codec {
    struct buf out; /* lives here so that an error raised on the way cannot lose it */
    struct buf keys;
    struct json_encode_options options;
    unsigned decode_depth;
    bool safe; /* errors are returned, not raised */
};

static int codec_close(lua_State *L)
{
    struct codec *codec = luaL_checkudata(L, 1, CODEC_TYPE);
    buf_free(&codec->out);
    buf_free(&codec->keys);
    return 0;
}

static struct codec *push_codec(lua_State *L)
{
    struct codec *codec = lua_newuserdatauv(L, sizeof *codec, 0);
    *codec = (struct codec){.decode_depth = JSON_DEPTH_MAX};
    buf_init(&codec->out, TEXT_MAX);
    buf_init(&codec->keys, BUF_UNLIMITED);
    if (luaL_newmetatable(L, CODEC_TYPE)) {
        static const luaL_Reg closers[] = {{"__gc", codec_close}, {"__close", codec_close}, {NULL, NULL}};
        luaL_setfuncs(L, closers, 0);
    }
    lua_setmetatable(L, -2);
    return codec;
}

static struct codec *this_codec(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static int fail(lua_State *L, const char *doing, const struct err *err)
{
    if (!this_codec(L)->safe)
        return luaL_error(L, "%s: %s", doing, err->message);
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", doing, err->message);
    return 2;
}

static int codec_decode(lua_State *L)
{
    const struct codec *codec = this_codec(L);
    struct err err;
    size_t len;
    luaL_checktype(L, 1, LUA_TSTRING);
    const char *text = lua_tolstring(L, 1, &len);
    lua_settop(L, 1);
    if (json_decode_within(L, text, len, codec->decode_depth, &err) != ERR_NONE)
        return fail(L, "not valid JSON", &err);
    return 1;
}

static int encode_and_push(lua_State *L, const struct json_encode_options *options)
{
    struct codec *codec = this_codec(L);
    struct err err;
    buf_clear(&codec->out);
    buf_clear(&codec->keys);
    if (json_encode_raising(L, 1, options, &codec->out, &codec->keys, &err) != ERR_NONE)
        return fail(L, "cannot encode", &err);
    lua_pushlstring(L, buf_text(&codec->out), codec->out.len);
    if (codec->out.cap > KEEP_MAX)
        buf_free(&codec->out);
    if (codec->keys.cap > KEEP_MAX)
        buf_free(&codec->keys);
    return 1;
}

/* Number of letters to insert, delete or replace, for names of up to 31 bytes. */
static unsigned edit_distance(const char *a, const char *b)
{
    unsigned row[32];
    size_t width = strlen(b);
    if (width >= 32 || strlen(a) >= 32)
        return 32;
    for (unsigned j = 0; j <= width; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1] != '\0'; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= width; j++) {
            unsigned replace = diagonal + ((a[i - 1] | 0x20) != (b[j - 1] | 0x20));
            unsigned other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replace < other ? replace : other;
        }
    }
    return row[width];
}

static void read_encode_options(lua_State *L, int index, struct json_encode_options *options)
{
    static const char *const names[] = {"pretty", "sortKeys"};
    bool *const flags[] = {&options->pretty, &options->sort_keys};
    if (lua_isnoneornil(L, index))
        return;
    luaL_checktype(L, index, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : luaL_typename(L, -2);
        size_t which = 0;
        while (which < 2 && strcmp(name, names[which]) != 0)
            which++;
        if (which == 2)
            luaL_error(L, "unknown option '%s' of encode; did you mean '%s'? (there are pretty and sortKeys)",
                       name, names[edit_distance(name, names[1]) < edit_distance(name, names[0])]);
        if (!lua_isboolean(L, -1))
            luaL_error(L, "the option '%s' of encode must be true or false, not a %s", name,
                       luaL_typename(L, -1));
        *flags[which] = lua_toboolean(L, -1);
    }
}

static int module_encode(lua_State *L)
{
    struct json_encode_options options = {.pretty = false};
    luaL_checkany(L, 1);
    read_encode_options(L, 2, &options);
    lua_settop(L, 1);
    return encode_and_push(L, &options);
}

/* array(t), object(t): marks t, or a new table, and returns it. */
static int mark(lua_State *L, void (*push)(lua_State *))
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (lua_getmetatable(L, 1)) {
        json_push_array_metatable(L);
        json_push_object_metatable(L);
        if (!lua_rawequal(L, 2, 3) && !lua_rawequal(L, 2, 4))
            return luaL_argerror(L, 1, "the table has a metatable of its own");
        lua_settop(L, 1);
    }
    push(L);
    lua_setmetatable(L, 1);
    return 1;
}

static int module_array(lua_State *L)
{
    return mark(L, json_push_array_metatable);
}

static int module_object(lua_State *L)
{
    return mark(L, json_push_object_metatable);
}

static const struct script_function json_functions[] = {
    {"decode", codec_decode, "(text: string): any", "the value of a JSON text; an error has line and column"},
    {"encode", module_encode, "(value: any, options?: { pretty?: boolean, sortKeys?: boolean }): string",
     "a value as JSON; an error has the path to what JSON cannot hold"},
    {"array", module_array, "(t?: table): table",
     "marks the table, or a new one, as an array: an empty one is []"},
    {"object", module_object, "(t?: table): table", "marks it as an object: an empty one is {}"},
    {NULL, NULL, NULL, NULL},
};

const struct script_docs json_docs = {
    "JSON without loss: 64-bit integers, every double, [] and {} and null",
    json_functions,
    "---@class workers.json\n"
    "---@field null lightuserdata JSON's null\n",
};

int luaopen_workers_json(lua_State *L)
{
    push_codec(L);
    functions_push_shared(L, json_functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}

/* ---- cjson ---- */

static int cjson_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    return encode_and_push(L, &this_codec(L)->options);
}

/* Depth settings work up to JSON_DEPTH_MAX, where the codec stops in any case. Without argument: the setting.
 */
static int set_depth(lua_State *L, unsigned *depth)
{
    if (!lua_isnoneornil(L, 1)) {
        lua_Integer wanted = luaL_checkinteger(L, 1);
        luaL_argcheck(L, wanted >= 1, 1, "expected a depth of at least 1");
        *depth = wanted < JSON_DEPTH_MAX ? (unsigned)wanted : JSON_DEPTH_MAX;
    }
    lua_pushinteger(L, *depth);
    return 1;
}

static int cjson_encode_max_depth(lua_State *L)
{
    return set_depth(L, &this_codec(L)->options.max_depth);
}

static int cjson_decode_max_depth(lua_State *L)
{
    return set_depth(L, &this_codec(L)->decode_depth);
}

static int cjson_encode_empty_table_as_object(lua_State *L)
{
    struct codec *codec = this_codec(L);
    if (!lua_isnoneornil(L, 1))
        codec->options.empty_table_is_array = !lua_toboolean(L, 1);
    lua_pushboolean(L, !codec->options.empty_table_is_array);
    return 1;
}

/* Settings that exist so that scripts written for lua-cjson load. They have no effect: what they turn on
 * would lose data (fewer digits, NaN as null, gaps as null), or is always so here. Each returns the value in
 * force. */

static int cjson_encode_number_precision(lua_State *L)
{
    lua_pushinteger(L, 17); /* digits as needed, up to all that tell two doubles apart */
    return 1;
}

static int always_true(lua_State *L)
{
    lua_pushboolean(L, 1);
    return 1;
}

static int always_false(lua_State *L)
{
    lua_pushboolean(L, 0);
    return 1;
}

static int cjson_encode_sparse_array(lua_State *L)
{
    lua_pushboolean(L, 0);
    lua_pushinteger(L, 1);
    lua_pushinteger(L, 0);
    return 3;
}

static void push_cjson(lua_State *L, bool safe);

static int cjson_new(lua_State *L)
{
    push_cjson(L, this_codec(L)->safe);
    return 1;
}

#define NUMBER_SETTING "(value?: integer): integer"
#define SETTING "(value?: any): boolean"

static const struct script_function cjson_functions[] = {
    {"decode", codec_decode, "(text: string): any, string?", "the value of a JSON text"},
    {"decode_array_with_array_mt", always_true, SETTING, "changes nothing: always so"},
    {"decode_invalid_numbers", always_false, SETTING, "changes nothing: never so"},
    {"decode_max_depth", cjson_decode_max_depth, NUMBER_SETTING, "how deep a text may be nested, up to 512"},
    {"encode", cjson_encode, "(value: any): string?, string?", "a value as JSON"},
    {"encode_empty_table_as_object", cjson_encode_empty_table_as_object, SETTING,
     "whether an unmarked empty table is {}"},
    {"encode_escape_forward_slash", always_false, SETTING, "changes nothing: never so"},
    {"encode_invalid_numbers", always_false, SETTING, "changes nothing: never so"},
    {"encode_keep_buffer", always_true, SETTING, "changes nothing: always so"},
    {"encode_max_depth", cjson_encode_max_depth, NUMBER_SETTING, "how deep a value may be nested, up to 512"},
    {"encode_number_precision", cjson_encode_number_precision, NUMBER_SETTING,
     "changes nothing: as many digits as a number needs"},
    {"encode_sparse_array", cjson_encode_sparse_array, "(...: any): boolean, integer, integer",
     "changes nothing: gaps are an error"},
    {"new", cjson_new, "(): cjson", "another copy with settings of its own"},
    {NULL, NULL, NULL, NULL},
};

const struct script_docs cjson_docs = {
    "The interface of lua-cjson 2.1 over workers.json",
    cjson_functions,
    "---@class cjson\n"
    "---@field null lightuserdata JSON's null\n"
    "---@field empty_array lightuserdata an empty array\n"
    "---@field array_mt table the metatable of arrays\n"
    "---@field empty_array_mt table the same\n"
    "---@field _NAME string\n"
    "---@field _VERSION string\n",
};

const struct script_docs cjson_safe_docs = {
    "The same as cjson, but decode and encode return nil and the message instead of raising",
    cjson_functions,
    "---@class cjson.safe: cjson\n",
};

static void push_cjson(lua_State *L, bool safe)
{
    struct codec *codec = push_codec(L);
    codec->safe = safe;
    codec->options.max_depth = JSON_DEPTH_MAX;
    functions_push_shared(L, cjson_functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_pushlightuserdata(L, (void *)(uintptr_t)&json_empty_array_mark);
    lua_setfield(L, -2, "empty_array");
    json_push_array_metatable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "array_mt");
    lua_setfield(L, -2, "empty_array_mt");
    lua_pushstring(L, safe ? "cjson.safe" : "cjson");
    lua_setfield(L, -2, "_NAME");
    lua_pushliteral(L, "2.1.0 (workers " WORKERS_VERSION ")");
    lua_setfield(L, -2, "_VERSION");
}

int luaopen_cjson(lua_State *L)
{
    push_cjson(L, false);
    return 1;
}

int luaopen_cjson_safe(lua_State *L)
{
    push_cjson(L, true);
    return 1;
}
