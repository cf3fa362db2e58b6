/* JSON to Lua values and back, without loss.
 *
 * Who owns what: decoded values belong to Lua; json_encode appends to a buffer that its caller owns.
 *
 * Integers within 64 bits are Lua integers, every other number is a float, and both come back as they were.
 * null is the light userdata NULL. Every decoded array has the array metatable and an empty object the object
 * metatable, so that [] and {} stay apart. Of duplicate names the last wins. */
#ifndef WORKERS_MODULES_JSON_H
#define WORKERS_MODULES_JSON_H

#include "base/buf.h"
#include "base/err.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

struct json_encode_options {
    bool pretty;               /* indented by two spaces */
    bool sort_keys;            /* members in byte order of their names: one value, one text */
    bool empty_table_is_array; /* an empty table without metatable is [] instead of {} */
    unsigned max_depth;        /* 0 or anything above JSON_DEPTH_MAX means JSON_DEPTH_MAX */
};

/* Pushes the value on success, nothing otherwise. ERR_INVALID names line and column; nesting deeper than
 * JSON_DEPTH_MAX is ERR_LIMIT. Raises only what Lua's allocator and budget_tick raise, and holds no memory of
 * its own then. */
enum err_code json_decode(lua_State *L, const char *text, size_t len, struct err *err) MUST_CHECK;

/* Appends the value at index; options may be NULL. Tables with the array metatable and non-empty
 * sequences 1..n are arrays, other tables objects. ERR_INVALID names the path to what JSON cannot hold
 * (".items[3].name"; indices count from 1, as in Lua). Uses raw access only, runs no Lua code, allocates
 * nothing in Lua, raises nothing. What out holds after a failure is of no use. */
enum err_code json_encode(lua_State *L, int index, const struct json_encode_options *options, struct buf *out,
                          struct err *err) MUST_CHECK;

/* Metatables of tables and userdata may say how the value is written, in one of two raw fields:
 *   __tojson     what json_push_hook pushed: a C function that appends the JSON text
 *   __jsonvalue  the value that is written in its place
 * A hook must not raise. */
typedef enum err_code (*json_hook_function)(lua_State *L, int index, struct buf *out, struct err *err);

struct json_hook {
    json_hook_function write;
};

/* Pushes the light userdata for the field __tojson and makes it known, for a script can get hold of light
 * userdata that are no hooks. hook must live as long as the program. May raise for want of memory. */
void json_push_hook(lua_State *L, const struct json_hook *hook);

/* One per state, kept in the registry. They may raise for want of memory. */
void json_push_array_metatable(lua_State *L);
void json_push_object_metatable(lua_State *L);
/* Whether the value has that metatable, or is a non-empty sequence 1..n without any. */
bool json_is_array(lua_State *L, int index);

int luaopen_workers_json(lua_State *L);
/* The interface of lua-cjson 2.1 over the same lossless codec. */
int luaopen_cjson(lua_State *L);
/* The same, but encode and decode return nil and the message instead of raising. */
int luaopen_cjson_safe(lua_State *L);

#endif
