/* The instruction hook: pre-emption, CPU limit, stopping a script that does not want to stop; and the lines
 * that run, when somebody watches them.
 *
 * A stop cannot be swallowed: once a script must stop, the hook fires at every instruction of every coroutine
 * it enters, so each pcall that catches the error is followed by another. */
#include "script/isolate_priv.h"

#include "base/clock.h"
#include "script/budget.h"

#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS 2000000              /* CPU time of the script's thread between two looks at the clock */
#define SLICE_NS ((uint64_t)2000000) /* a task runs this long before others get their turn */
#define HOOK_INSTRUCTIONS 5000       /* between two looks where there is no timer; about 50 microseconds */
#define CPU_READING_NS ((uint64_t)20000) /* so long a reading of the CPU clock serves */

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static void on_event(lua_State *L, lua_Debug *ar);

/* A hook that is always there costs a tenth of the speed of Lua, so it is set only when it is time to look: a
 * timer that runs on the script thread's CPU time sends a signal, and its handler sets the hook on whatever
 * runs. lua_sethook is made for being called so. There is one thread that runs scripts, thus one timer and
 * one thread of Lua that runs.
 *
 * The timer fires once and is started again when the hook has been seen to: lua_sethook visits every active
 * call, and a deep stack must not keep the script from ever getting on. */
static lua_State *volatile running;
static volatile sig_atomic_t due; /* the timer has fired and does not run, and no hook has come of it yet */
static enum { TIMER_UNTRIED, TIMER_RUNS, TIMER_REFUSED } timer_state;
static timer_t timer;

static void (*watch_lines)(lua_State *L, lua_Debug *where); /* NULL for nobody */
static int line_mask;                                       /* LUA_MASKLINE when somebody does */

/* CPU time of the script's thread, in ns. Reading that clock is a system call, and what a script does between
 * two waits is often not much longer. For a while after a reading the steady clock is added to it: never less
 * than the CPU time, and more only by what other threads had of those 20 microseconds. */
static uint64_t cpu_now_ns(void)
{
    static uint64_t read_at_ns, reading_ns, latest_ns;
    uint64_t since_ns = clock_steady_ns() - read_at_ns;
    uint64_t now_ns = reading_ns + since_ns;
    if (read_at_ns == 0 || since_ns > CPU_READING_NS) {
        read_at_ns += since_ns;
        now_ns = reading_ns = clock_thread_cpu_ns();
    }
    if (now_ns > latest_ns)
        latest_ns = now_ns;
    return latest_ns;
}

static void on_tick(int number)
{
    (void)number;
    lua_State *L = running;
    due = 1;
    if (L != NULL)
        lua_sethook(L, on_event, LUA_MASKCOUNT | line_mask, 1);
}

static void start_timer(void)
{
    const struct itimerspec once = {.it_value = {0, TICK_NS}};
    due = 0;
    if (timer_state == TIMER_RUNS)
        timer_settime(timer, 0, &once, NULL);
}

static void make_timer(void)
{
    struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGVTALRM};
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    sigemptyset(&action.sa_mask);
    timer_state = TIMER_REFUSED;
    if (sigaction(SIGVTALRM, &action, NULL) == 0 &&
        timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) == 0) {
        timer_state = TIMER_RUNS;
        start_timer();
    }
}

/* As it is while nothing is due: no hook, or without a timer one that comes round often. */
static void rest(lua_State *L)
{
    if (timer_state == TIMER_RUNS) {
        if (lua_gethookmask(L) != line_mask)
            lua_sethook(L, line_mask != 0 ? on_event : NULL, line_mask, 0);
    } else if (lua_gethookcount(L) != HOOK_INSTRUCTIONS) {
        lua_sethook(L, on_event, LUA_MASKCOUNT | line_mask, HOOK_INSTRUCTIONS);
    }
}

void hook_install(lua_State *L)
{
    if (timer_state == TIMER_UNTRIED)
        make_timer();
    rest(L);
}

lua_State *hook_enter(lua_State *L)
{
    lua_State *outer = running;
    running = L;
    if (due)
        lua_sethook(L, on_event, LUA_MASKCOUNT | line_mask, 1);
    return outer;
}

void hook_leave(lua_State *outer)
{
    running = outer;
    /* What is due is still due when the thread it came to has ended. And what must stop is stopped in every
     * thread on the way out, whatever they catch. */
    if (outer != NULL && (due || hook_stop_reason(isolate_of(outer)) != NULL))
        hook_arm_stop(outer);
}

void hook_slice_begin(struct isolate *isolate, struct budget *budget)
{
    isolate->budget = budget;
    isolate->slice_start_ns = cpu_now_ns();
    if (due) /* else it runs still: the first look comes the earlier, the next a whole tick after it */
        start_timer();
}

void hook_slice_end(struct isolate *isolate)
{
    if (isolate->budget == NULL)
        return;
    isolate->budget->cpu_used_ns += cpu_now_ns() - isolate->slice_start_ns;
    isolate->budget = NULL;
}

struct stop_reason *hook_stop_reason(struct isolate *isolate)
{
    if (isolate->current != NULL && !isolate->cleaning && isolate->current->stop.code != ERR_NONE)
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
    uint64_t slice = cpu_now_ns() - isolate->slice_start_ns;
    uint64_t limit_ms = budget->cpu_limit_ms;
    if (limit_ms != 0 && budget->stop.code == ERR_NONE && budget->cpu_used_ns + slice > limit_ms * 1000000) {
        budget->stop.code = ERR_LIMIT;
        snprintf(budget->stop.message, sizeof budget->stop.message,
                 "CPU limit of %g s reached: the script computed that long (raise limits.cpu in "
                 "workers.yaml, or do less in one execute)",
                 (double)limit_ms / 1000.0);
    }
    return slice;
}

void hook_arm_stop(lua_State *L)
{
    lua_sethook(L, on_event, LUA_MASKCOUNT | line_mask, 1);
}

/* Where it was the first time: what pcall catches later says nothing. */
static void note_place(lua_State *L, struct stop_reason *stop)
{
    lua_Debug frame;
    if (stop->placed)
        return;
    stop->placed = true;
    for (int level = 0; stop->where[0] == '\0' && lua_getstack(L, level, &frame); level++) {
        lua_getinfo(L, "Sl", &frame);
        if (frame.currentline >= 0 && frame.source[0] != '=')
            snprintf(stop->where, sizeof stop->where, "%s:%d", frame.short_src, frame.currentline);
    }
}

static int raise_stop(lua_State *L, struct stop_reason *stop)
{
    note_place(L, stop);
    hook_arm_stop(L);
    luaL_where(L, 0);
    lua_pushstring(L, stop->message);
    lua_concat(L, 2);
    return lua_error(L);
}

void isolate_watch_lines(void (*fn)(lua_State *L, lua_Debug *where))
{
    watch_lines = fn;
    line_mask = LUA_MASKLINE;
}

static void on_event(lua_State *L, lua_Debug *ar)
{
    struct isolate *isolate = isolate_of(L);
    if (ar->event == LUA_HOOKLINE) {
        watch_lines(L, ar);
        /* Where Lua counts down all the time, what the timer's handler sets may get lost. */
        if (!due && hook_stop_reason(isolate) == NULL)
            return;
    }
    uint64_t slice = check_cpu(isolate);
    struct stop_reason *stop = hook_stop_reason(isolate);
    if (stop != NULL) {
        *(uintptr_t *)lua_getextraspace(L) |= ISOLATE_STOPPED;
        raise_stop(L, stop);
        return;
    }
    rest(L);
    start_timer();
    if (slice > SLICE_NS && isolate->current != NULL && isolate->no_wait == 0 && lua_isyieldable(L)) {
        isolate->loop_yield = true;
        lua_yield(L, 0);
    }
}

bool budget_spent(lua_State *L)
{
    struct isolate *isolate = isolate_of(L);
    check_cpu(isolate);
    return hook_stop_reason(isolate) != NULL;
}

void budget_tick(lua_State *L)
{
    struct isolate *isolate = isolate_of(L);
    check_cpu(isolate);
    struct stop_reason *stop = hook_stop_reason(isolate);
    if (stop != NULL)
        raise_stop(L, stop);
}

uint64_t budget_left_ns(lua_State *L)
{
    const struct isolate *isolate = isolate_of(L);
    const struct budget *budget = isolate->budget;
    if (budget == NULL || budget->cpu_limit_ms == 0)
        return UINT64_MAX;
    uint64_t limit = budget->cpu_limit_ms * 1000000;
    uint64_t used = budget->cpu_used_ns + cpu_now_ns() - isolate->slice_start_ns;
    return used < limit ? limit - used : 0;
}

void budget_spend(lua_State *L, uint64_t spent_ns)
{
    struct isolate *isolate = isolate_of(L);
    if (isolate->budget != NULL)
        isolate->budget->cpu_used_ns += spent_ns;
    budget_tick(L);
}
