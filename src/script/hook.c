/* The instruction hook: pre-emption, CPU limit, stopping a script that does not want to stop.
 *
 * A stop cannot be swallowed: once a script must stop, the hook fires at every instruction of every coroutine
 * it enters, so each pcall that catches the error is followed by another. */
#include "script/isolate_priv.h"

#include "base/clock.h"
#include "script/budget.h"

#include <stdio.h>

#define HOOK_INSTRUCTIONS 5000           /* between two looks at the clock; about 50 microseconds */
#define HOOK_INSTRUCTIONS_LEAST 100      /* where there are big strings or tables */
#define HOOK_BIG_SHARE ((size_t)4 << 20) /* bytes of them that double how often it looks */
#define SLICE_NS ((uint64_t)2000000)     /* a task runs this long before others get their turn */

static void on_count(lua_State *L, lua_Debug *ar);

static int fitting_period(const struct isolate *isolate)
{
    size_t period = HOOK_INSTRUCTIONS / (1 + isolate->big_bytes / HOOK_BIG_SHARE);
    return period > HOOK_INSTRUCTIONS_LEAST ? (int)period : HOOK_INSTRUCTIONS_LEAST;
}

void hook_install(lua_State *L)
{
    int period = fitting_period(isolate_of(L));
    if (lua_gethookcount(L) != period)
        lua_sethook(L, on_count, LUA_MASKCOUNT, period);
}

/* Between two looks the period is only ever shortened: lua_sethook starts the count anew. */
static void shorten_period(lua_State *L)
{
    if (lua_gethookcount(L) > fitting_period(isolate_of(L)))
        hook_install(L);
}

void hook_fit(struct isolate *isolate)
{
    lua_State *L = isolate->current != NULL ? isolate->current->co : isolate->L;
    /* lua_sethook may be called at any moment; inside a coroutine of the script it takes effect at its next
     * look. */
    if (L != NULL)
        shorten_period(L);
}

void hook_slice_begin(struct isolate *isolate, struct budget *budget)
{
    isolate->budget = budget;
    isolate->slice_start_ns = clock_thread_cpu_ns();
}

void hook_slice_end(struct isolate *isolate)
{
    if (isolate->budget == NULL)
        return;
    isolate->budget->cpu_used_ns += clock_thread_cpu_ns() - isolate->slice_start_ns;
    isolate->budget = NULL;
}

const struct stop_reason *hook_stop_reason(struct isolate *isolate)
{
    if (isolate->current != NULL && isolate->current->stop.code != ERR_NONE)
        return &isolate->current->stop;
    if (isolate->budget != NULL && isolate->budget->stop.code != ERR_NONE)
        return &isolate->budget->stop;
    return NULL;
}

/* Looks at the clock; sets the budget's stop reason when the limit is reached. Returns the slice's length so
 * far. */
static uint64_t check_cpu(struct isolate *isolate)
{
    struct budget *budget = isolate->budget;
    if (budget == NULL)
        return 0;
    uint64_t slice = clock_thread_cpu_ns() - isolate->slice_start_ns;
    uint64_t limit_ms = isolate->config.limits.cpu_ms;
    if (limit_ms != 0 && budget->stop.code == ERR_NONE && budget->cpu_used_ns + slice > limit_ms * 1000000) {
        budget->stop.code = ERR_LIMIT;
        snprintf(budget->stop.message, sizeof budget->stop.message,
                 "CPU limit of %g s reached: the script computed that long (raise limits.cpu in "
                 "workers.yaml, or do "
                 "less in one execute)",
                 (double)limit_ms / 1000.0);
    }
    return slice;
}

void hook_arm_stop(lua_State *L)
{
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
}

static int raise_stop(lua_State *L, const struct stop_reason *stop)
{
    hook_arm_stop(L);
    luaL_where(L, 0);
    lua_pushstring(L, stop->message);
    lua_concat(L, 2);
    return lua_error(L);
}

static void on_count(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    struct isolate *isolate = isolate_of(L);
    uint64_t slice = check_cpu(isolate);
    const struct stop_reason *stop = hook_stop_reason(isolate);
    if (stop != NULL) {
        *(uintptr_t *)lua_getextraspace(L) |= ISOLATE_STOPPED;
        raise_stop(L, stop);
        return;
    }
    hook_install(L);
    if (slice > SLICE_NS && isolate->current != NULL && isolate->no_wait == 0 && lua_isyieldable(L)) {
        isolate->loop_yield = true;
        lua_yield(L, 0);
    }
}

void budget_tick(lua_State *L)
{
    struct isolate *isolate = isolate_of(L);
    check_cpu(isolate);
    const struct stop_reason *stop = hook_stop_reason(isolate);
    if (stop != NULL)
        raise_stop(L, stop);
    shorten_period(L);
}
