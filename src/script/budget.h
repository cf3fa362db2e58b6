/* A tick for C code that may run long between two Lua instructions (patterns, sorting, big copies).
 *
 * The instruction hook cannot fire inside a C function, so such a function calls budget_tick every few
 * thousand steps. It raises a Lua error when the running script is over its CPU limit or is being stopped. */
#ifndef WORKERS_SCRIPT_BUDGET_H
#define WORKERS_SCRIPT_BUDGET_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

/* Cheap (one clock read). Raises, as lua_error does, when the script must stop; so hold no malloc'd memory.
 */
void budget_tick(lua_State *L);
/* Whether budget_tick would raise: for callbacks out of a library that must return through it. */
bool budget_spent(lua_State *L);

/* For work that is done for the script on another thread while it waits: how much CPU time is left to the
 * running script, in nanoseconds (UINT64_MAX: no limit), and what was spent of it. budget_spend raises as
 * budget_tick does. */
uint64_t budget_left_ns(lua_State *L);
void budget_spend(lua_State *L, uint64_t spent_ns);

#endif
