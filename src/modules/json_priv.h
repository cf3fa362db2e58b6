/* What the files of the JSON codec share; nothing else includes this.
 *
 * Who owns what: as in modules/json.h. */
#ifndef WORKERS_MODULES_JSON_PRIV_H
#define WORKERS_MODULES_JSON_PRIV_H

#include "modules/json.h"

#define JSON_TICK_EVERY 4096 /* values between two looks at the CPU limit */

/* Addresses that name the metatables in the registry. */
extern const char json_array_metatable_key;
extern const char json_object_metatable_key;
/* Light userdata with this address is written as []. */
extern const char json_empty_array_mark;

/* Are the keys of the table at the absolute index all of 1..n, each once? *count is then n. If not, *count is
 * 0, or the number of keys when all of them are positive integers. Linear, and done before anything is
 * written: taking back what was written would cost twice the time for every level of nesting. */
bool json_is_sequence(lua_State *L, int index, lua_Integer *count);

enum err_code json_decode_within(lua_State *L, const char *text, size_t len, unsigned max_depth,
                                 struct err *err) MUST_CHECK;

/* json_encode for callers whose buffers survive an error that budget_tick raises. */
enum err_code json_encode_raising(lua_State *L, int index, const struct json_encode_options *options,
                                  struct buf *out, struct buf *keys, struct err *err) MUST_CHECK;

#endif
