/* Option tables that scripts pass, declared once as data: checking and error texts come from the declaration.
 */
#ifndef WORKERS_SCRIPT_OPTIONS_H
#define WORKERS_SCRIPT_OPTIONS_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

enum option_type {
    OPTION_STRING,  /* a non-empty string */
    OPTION_TEXT,    /* any string */
    OPTION_INTEGER, /* a number with an integral value */
    OPTION_NUMBER,
    OPTION_BOOLEAN,
    OPTION_FUNCTION,
    OPTION_TABLE,
    OPTION_ANY,
};

struct option_spec {
    const char *name; /* NULL ends the list */
    enum option_type type;
    bool required;
    const char *help; /* what to write, for the error about a missing or wrong option */
};

/* Checks the table at index against specs. what names the call, as in: worker:sync("tasks"). Raises at the
 * caller's line: not a table, an unknown key (with the nearest valid one), a missing required key, a wrong
 * type. */
void options_check(lua_State *L, int index, const struct option_spec *specs, const char *what);

/* Readers for tables that options_check has passed. Absent options leave the default. */
const char *options_string(lua_State *L, int index, const char *name, const char *absent);
double options_number(lua_State *L, int index, const char *name, double absent);
/* Bytes: a whole number, or a text such as "64MiB". For OPTION_ANY: raises for anything else. */
uint64_t options_size(lua_State *L, int index, const char *name, uint64_t absent, const char *what);
bool options_boolean(lua_State *L, int index, const char *name, bool absent);

#endif
