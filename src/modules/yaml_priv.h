/* What the files of workers.yaml share.
 *
 * Who owns what: values and boxes belong to Lua. */
#ifndef WORKERS_MODULES_YAML_PRIV_H
#define WORKERS_MODULES_YAML_PRIV_H

#include <lua.h>
#include <stddef.h>

#define YAML_TICK_EVERY 512 /* events or nodes between two ticks of the CPU limit */

enum scalar_type { SCALAR_STRING, SCALAR_NULL, SCALAR_BOOL, SCALAR_INT, SCALAR_FLOAT };

/* Pushes the value that a plain scalar stands for; pushes nothing for a string. */
enum scalar_type yaml_push_resolved(lua_State *L, const char *text, size_t len);

/* Pushes a zeroed userdata whose release function runs when it is collected or closed. */
void *yaml_new_box(lua_State *L, size_t size, const char *type, lua_CFunction release);

/* For messages: how much of a key or scalar is shown, as printf's precision (no character is cut in two), and
 * "…" if that is not all. */
int yaml_shown_len(const char *text, size_t len);
const char *yaml_ellipsis(size_t len);

/* yaml.encode(value) */
int yaml_encode_call(lua_State *L);

#endif
