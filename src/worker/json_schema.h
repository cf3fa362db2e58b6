/* The JSON Schema of a tool's input and output: compiled once from what the script declared, then checked on
 * every call. It knows the part of JSON Schema (draft 7, and $defs) that workers.j can build, and agrees with
 * the reference implementation's Ajv 8 on what passes and on the errors.
 *
 * Who owns what: a struct json_schema owns all its memory and knows no lua_State; json_schema_free ends it.
 */
#ifndef WORKERS_WORKER_JSON_SCHEMA_H
#define WORKERS_WORKER_JSON_SCHEMA_H

#include "base/buf.h"
#include "base/err.h"

#include <lua.h>

/* Levels of a schema, and of schema and value together during a check. */
#define JSON_SCHEMA_MAX_DEPTH 512
/* Parts of one schema; a part that a script uses twice counts twice. */
#define JSON_SCHEMA_MAX_NODES 100000
/* Schema parts that one check may visit: about a second's work. */
#define JSON_SCHEMA_MAX_STEPS 5000000L

struct json_schema;

/* Compiles the j value or plain schema table at index. ERR_INVALID for what is not a schema (the message has
 * the path to the mistake and the remedy), ERR_LIMIT for one too deep or too big. Uses raw access only,
 * allocates nothing in Lua, leaves the stack as it was and never raises. */
enum err_code json_schema_compile(lua_State *L, int index, struct json_schema **out,
                                  struct err *err) MUST_CHECK;
void json_schema_free(struct json_schema *schema);

/* Checks the Lua value at index. ERR_NONE when it passes; ERR_INVALID when it does not, and errors then holds
 * a JSON array of {instancePath, schemaPath, keyword, params, message}: the first mistake, and for anyOf the
 * first mistake of each branch. ERR_LIMIT, described in the same form, when value and schema nest too deeply
 * together or the check takes too many steps. Errors that do not fit the buffer are left out; the array stays
 * whole.
 *
 * An integer or a float without fraction is an integer, light userdata NULL is null, NaN and infinities are
 * nothing. A table is an array when json_is_array says so, otherwise an object; an empty table without a
 * metatable is either. Raises only when Lua is out of memory. */
enum err_code json_schema_validate(const struct json_schema *schema, lua_State *L, int index,
                                   struct buf *errors) MUST_CHECK;

/* Puts the defaults of properties in place where objects within the value at index lack them; not below
 * anyOf, where it is open which branch is meant. Raises when Lua is out of memory, and after
 * JSON_SCHEMA_MAX_STEPS. */
void json_schema_fill(const struct json_schema *schema, lua_State *L, int index);

/* Appends the JSON Schema text, properties in the order in which they were declared. */
enum err_code json_schema_write(const struct json_schema *schema, struct buf *out) MUST_CHECK;

#endif
