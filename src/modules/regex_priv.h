/* What the files of workers.regex share. Nothing outside includes it.
 *
 * Who owns what: the registry owns the shared userdata with the engine; Lua owns compiled patterns. */
#ifndef WORKERS_MODULES_REGEX_PRIV_H
#define WORKERS_MODULES_REGEX_PRIV_H

#include "base/regex.h"

#include <lua.h>

/* Work that is counted for bytes gone over, in steps of script/safelib.h. */
#define BYTES_PER_STEP 64

/* What all functions of an isolate share: a userdata in the registry. */
struct regex_shared {
    struct regex_host host;
    lua_Alloc resize;
    void *resize_data;
    lua_State *main;
    struct regex_engine *engine;
    int cached;         /* patterns in the young half of the cache */
    bool checked_ascii; /* the text that was checked last is in ASCII */
};
/* A compiled pattern. Its user value is the shared userdata, which it needs to be freed. */
struct regex_compiled {
    struct regex *regex; /* NULL when closed */
};

/* The arguments that most functions begin with. Lives on the C stack. */
struct regex_call {
    lua_State *L;
    const char *function;
    struct regex_shared *shared;
    const struct regex_compiled *compiled;
    const char *text;
    size_t len;
    unsigned options; /* of every search: REGEX_ASCII_TEXT or 0 */
};

/* Reads text and pattern, the arguments 1 and 2, of which the latter is replaced by a compiled one. */
void regex_begin_call(lua_State *L, struct regex_call *call, const char *function);
/* Argument index: how many at most. */
lua_Integer regex_read_limit(const struct regex_call *call, int index, lua_Integer least);
/* The next match, NULL when there is none; good until the next search. fresh: not an empty one at start. */
const struct regex_span *regex_next_match(const struct regex_call *call, size_t start, bool fresh);
/* Pushes the table that describes a match. */
void regex_push_match(const struct regex_call *call, const struct regex_span *spans);

/* regex_replace.c: (text, pattern, replacement [, limit]) -> text, count */
int regex_lua_replace(lua_State *L);

#endif
