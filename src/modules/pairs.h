/* Names and values that scripts pass as tables: queries, forms, headers.
 *
 * Who owns what: the pairs are a userdata left on the stack; their strings are in the script's table and in
 * the anchor table, which must both stay where they are while the pairs are used. */
#ifndef WORKERS_MODULES_PAIRS_H
#define WORKERS_MODULES_PAIRS_H

#include "net/url.h"

#include <lua.h>

#define PAIRS_MAX ((size_t)100000)

struct pairs_spec {
    const char *function; /* "http.get", for messages */
    const char *what;     /* "query", for messages */
    int anchor;           /* index of a table of strings in use */
    size_t most;
    bool list; /* takes a list of { name = , value = } too, whose order is kept */
    bool null; /* takes workers.null, as a NULL value */
};

/* Reads the table at index: name = scalar or list of scalars, in order of the names (url_compare_names).
 * Numbers and booleans become text. Raises for anything else, and for more than spec->most pairs. */
const struct url_pair *pairs_collect(lua_State *L, int index, const struct pairs_spec *spec, size_t *count);

/* Moves the string on top of the stack into the anchor table, which keeps it; len may be NULL. */
const char *pairs_anchor(lua_State *L, int anchor, size_t *len);

#endif
