/* YAML to Lua values and back: workers.yaml, and the C entry for workers.yaml files.
 *
 * Who owns what: values belong to Lua; whatever libyaml allocates lives in a userdata box and goes with it,
 * so that a Lua error at any point leaks nothing. */
#ifndef WORKERS_MODULES_YAML_H
#define WORKERS_MODULES_YAML_H

#include "base/err.h"

#include <lua.h>

#define YAML_DEPTH_MAX 512                      /* collections inside one another */
#define YAML_ALIAS_NODES_MAX 100000             /* nodes that aliases stand for, all in all */
#define YAML_ALIAS_BYTES_MAX ((size_t)64 << 20) /* text of the scalars that aliases stand for */
#define YAML_ENCODE_MAX ((size_t)64 << 20)      /* bytes of an encoded value */

/* Decodes one document (YAML 1.2, core schema) and pushes its value; pushes nothing when it fails. No
 * document at all is null. text must stay where it is until the return; Lua errors (memory, CPU limit) may be
 * raised.
 *
 * Sequences become tables with the JSON array metatable, mappings tables, null the light userdata NULL. Plain
 * scalars are resolved by the core schema: `yes` is a string, 0o17 and 0x1f are integers, .inf and .nan
 * floats; integers beyond 64 bits become floats. Quoted and block scalars are strings. Keys must be scalars
 * and are always strings: the text of the scalar, so that `1: a` has the key "1". `<<` is a key like any
 * other. An alias is the same table as its anchor, not a copy.
 *
 * ERR_INVALID (with line and column, both counted from 1) for malformed text, duplicate keys, several
 * documents, unknown tags and aliases; ERR_LIMIT, which names the limit, for one of the above; ERR_NOMEM. */
enum err_code yaml_decode(lua_State *L, const char *text, size_t len, struct err *err) MUST_CHECK;

#endif
