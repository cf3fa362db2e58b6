/* Bounded versions of the functions of Lua's string and table libraries that can run long inside C, where the
 * instruction hook cannot fire. Same results and same messages as Lua 5.4; each calls budget_tick as it goes.
 *
 * The Lua state owns everything here: nothing is allocated outside it, so an error may be raised anywhere. */
#ifndef WORKERS_SCRIPT_SAFELIB_H
#define WORKERS_SCRIPT_SAFELIB_H

#include <stddef.h>
#include <lua.h>

#include "script/budget.h"

/* Replaces find, match, gmatch, gsub and rep in `string`, and concat, insert, move, remove, sort and unpack
 * in `table`, and lets the rest of `string` and `utf8` look at the clock before they go over much. Call it
 * once on a fresh state, after luaL_requiref of these libraries. Raises if one is missing.
 */
void safelib_install(lua_State *L);

/* How many steps may pass between two calls of budget_tick. A step is a few nanoseconds of work. */
#define METER_STEPS ((size_t)4096)

/* Counts steps, so that the clock is read once in METER_STEPS. Lives on the C stack or in a userdata. */
struct meter {
    lua_State *L;
    size_t left;
};

static inline void meter_start(struct meter *meter, lua_State *L)
{
    meter->L = L;
    meter->left = METER_STEPS;
}

/* Accounts for work done or about to be done. May raise, as budget_tick does. */
static inline void meter_spend(struct meter *meter, size_t steps)
{
    if (__builtin_expect(steps < meter->left, 1)) {
        meter->left -= steps;
        return;
    }
    meter->left = METER_STEPS;
    budget_tick(meter->L);
}

#endif
