/* What a module written in C offers, declared once as data: registration, editor types and the check of the
 * documentation come from it.
 *
 * Who owns what: everything here is constant and lives as long as the process. */
#ifndef WORKERS_SCRIPT_FUNCTIONS_H
#define WORKERS_SCRIPT_FUNCTIONS_H

#include <lua.h>

struct script_function {
    const char *name; /* NULL ends the list */
    lua_CFunction function;
    /* Parameters and results as LuaCATS writes them after "fun": "(text: string, max?: integer): string" */
    const char *signature;
    const char *help; /* one sentence without its full stop, on one line */
};

/* A module's declarations for editors and documentation. */
struct script_docs {
    const char *help;                        /* what the module is for, in one line */
    const struct script_function *functions; /* of the module's table */
    const char *types; /* more LuaCATS lines, such as ---@class of what functions return; or NULL */
};

/* Pushes a new table with these functions. */
void functions_push(lua_State *L, const struct script_function *functions);
/* Adds them to the table on top of the stack. */
void functions_set(lua_State *L, const struct script_function *functions);
/* Pops a value and pushes a new table with these functions, each of which has the value as its upvalue. */
void functions_push_shared(lua_State *L, const struct script_function *functions);

#endif
