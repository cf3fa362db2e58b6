/* A tick for C code that may run long between two Lua instructions (patterns, sorting, big copies).
 *
 * The instruction hook cannot fire inside a C function, so such a function calls budget_tick every few
 * thousand steps. It raises a Lua error when the running script is over its CPU limit or is being stopped. */
#ifndef WORKERS_SCRIPT_BUDGET_H
#define WORKERS_SCRIPT_BUDGET_H

#include <lua.h>

/* Cheap (one clock read). Raises, as lua_error does, when the script must stop; so hold no malloc'd memory.
 */
void budget_tick(lua_State *L);

#endif
