/* Whether the files of a project have changed, by how they look: names, sizes, times. */
#ifndef WORKERS_SERVER_WATCH_H
#define WORKERS_SERVER_WATCH_H

#include <stdint.h>

/* A number that is another one when workers.yaml, .env, the main script, or a Lua file beside it, or below
 * src or lua_modules, was changed, added or removed. */
uint64_t watch_fingerprint(const char *folder, const char *script);

#endif
