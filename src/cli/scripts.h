/* The program's own scripts, those below scripts/: they are trusted, and run in a plain Lua state. What they
 * reach outside is what their caller gives them.
 *
 * Who owns what: nothing is kept but in the state. */
#ifndef WORKERS_CLI_SCRIPTS_H
#define WORKERS_CLI_SCRIPTS_H

#include <lua.h>

/* Opens Lua's libraries, with a require that finds the Lua files below scripts/ and nothing else. Raises. */
void scripts_open(lua_State *L);
/* Pushes what the script returns: scripts_push(L, "init") for scripts/init.lua. Raises. */
void scripts_push(lua_State *L, const char *name);

#endif
