/* workers.compress: gzip, zlib and raw DEFLATE for scripts. Must not let a small input become an output
 * without bound.
 *
 * Between two slices the CPU limit is ticked; the output is in Lua's memory, and counts as such. */
#include "base/compress.h"

#include "modules/modules.h"
#include "script/budget.h"
#include "script/options.h"

#include <stdio.h>

#include <lauxlib.h>

#define BOX "workers.compress.box"
#define CHUNK ((size_t)64 * 1024)
#define MAX_OUTPUT ((uint64_t)64 * 1024 * 1024) /* bytes, unless max says otherwise */

static int box_close(lua_State *L)
{
    compress_close(luaL_checkudata(L, 1, BOX));
    return 0;
}

static struct compress *push_box(lua_State *L)
{
    struct compress *compress = lua_newuserdatauv(L, sizeof *compress, 0);
    *compress = (struct compress){0};
    luaL_setmetatable(L, BOX);
    return compress;
}

static const char *need_bytes(lua_State *L, const char *function, size_t *len)
{
    if (lua_type(L, 1) != LUA_TSTRING)
        luaL_error(L, "compress.%s: argument 1 (data): string expected, got %s", function,
                   luaL_typename(L, 1));
    return lua_tolstring(L, 1, len);
}

/* Pushes all that comes out, at most max bytes. */
static int push_output(lua_State *L, const char *function, struct compress *compress, uint64_t max)
{
    luaL_Buffer output;
    uint64_t total = 0;
    bool done = false;
    luaL_buffinit(L, &output);
    while (!done) {
        struct err err;
        size_t written = 0;
        char *room = luaL_prepbuffsize(&output, CHUNK);
        if (compress_next(compress, room, CHUNK, &written, &done, &err) != ERR_NONE)
            return luaL_error(L, "compress.%s: %s", function, err.message);
        total += written;
        if (total > max) {
            char text[32];
            snprintf(text, sizeof text, "%llu", (unsigned long long)max);
            return luaL_error(L,
                              "compress.%s: the output is larger than %s bytes; give { max = } to allow more",
                              function, text);
        }
        luaL_addsize(&output, written);
        budget_tick(L);
    }
    compress_close(compress);
    luaL_pushresult(&output);
    return 1;
}

static int pack(lua_State *L, const char *function, enum compress_format format)
{
    size_t len;
    struct err err;
    const char *data = need_bytes(L, function, &len);
    lua_Integer level = COMPRESS_LEVEL;
    if (!lua_isnoneornil(L, 2)) {
        int integral = 0;
        level = lua_type(L, 2) == LUA_TNUMBER ? lua_tointegerx(L, 2, &integral) : 0;
        if (!integral || level < 0 || level > 9)
            return luaL_error(L, "compress.%s: argument 2 (level): integer from 0 to 9 expected, got %s",
                              function, luaL_tolstring(L, 2, NULL));
    }
    struct compress *compress = push_box(L);
    if (compress_open(compress, format, (int)level, data, len, &err) != ERR_NONE)
        return luaL_error(L, "compress.%s: %s", function, err.message);
    return push_output(L, function, compress, UINT64_MAX);
}

static const struct option_spec unpack_options[] = {
    {"max", OPTION_ANY, false, NULL},
    {NULL, 0, false, NULL},
};

static int unpack(lua_State *L, const char *function, enum compress_format format)
{
    size_t len;
    struct err err;
    const char *data = need_bytes(L, function, &len);
    uint64_t max = MAX_OUTPUT;
    lua_settop(L, 2);
    if (!lua_isnil(L, 2)) {
        const char *what = lua_pushfstring(L, "compress.%s", function);
        options_check(L, 2, unpack_options, what);
        max = options_size(L, 2, "max", max, what);
    }
    struct compress *compress = push_box(L);
    if (compress_open_reading(compress, format, data, len, &err) != ERR_NONE)
        return luaL_error(L, "compress.%s: %s", function, err.message);
    return push_output(L, function, compress, max);
}

static int compress_gzip(lua_State *L)
{
    return pack(L, "gzip", COMPRESS_GZIP);
}

static int compress_gunzip(lua_State *L)
{
    return unpack(L, "gunzip", COMPRESS_GZIP);
}

static int compress_deflate(lua_State *L)
{
    return pack(L, "deflate", COMPRESS_ZLIB);
}

static int compress_inflate(lua_State *L)
{
    return unpack(L, "inflate", COMPRESS_ZLIB);
}

static int compress_deflate_raw(lua_State *L)
{
    return pack(L, "deflateRaw", COMPRESS_RAW);
}

static int compress_inflate_raw(lua_State *L)
{
    return unpack(L, "inflateRaw", COMPRESS_RAW);
}

#define PACK "(data: string, level?: integer): string"
#define UNPACK "(data: string, options?: { max?: integer|string }): string"

static const struct script_function functions[] = {
    {"gzip", compress_gzip, PACK, "the data as a gzip file (RFC 1952); level 0 to 9, 6 unless given"},
    {"gunzip", compress_gunzip, UNPACK,
     "what is in a gzip file, with all its members; at most max bytes, 64MiB unless given"},
    {"deflate", compress_deflate, PACK, "the data in zlib format (RFC 1950)"},
    {"inflate", compress_inflate, UNPACK, "what is in data of zlib format"},
    {"deflateRaw", compress_deflate_raw, PACK,
     "the data as plain DEFLATE (RFC 1951), without header and checksum"},
    {"inflateRaw", compress_inflate_raw, UNPACK, "what is in plain DEFLATE"},
    {NULL, NULL, NULL, NULL},
};

const struct script_docs compress_docs = {"Compression: gzip, zlib and plain DEFLATE", functions, NULL};

int luaopen_workers_compress(lua_State *L)
{
    static const luaL_Reg closers[] = {{"__gc", box_close}, {"__close", box_close}, {NULL, NULL}};
    luaL_newmetatable(L, BOX);
    luaL_setfuncs(L, closers, 0);
    lua_pop(L, 1);
    functions_push(L, functions);
    return 1;
}
