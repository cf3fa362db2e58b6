/* Timers in real and in virtual time. Must not know what they are for. */
#include "script/timer.h"

#include "base/clock.h"
#include "base/mem.h"

struct timer {
    uv_timer_t handle; /* first: freed as the handle */
    void (*fn)(void *ctx);
    void *ctx;
    bool unreferenced;
    /* in virtual time */
    bool waiting; /* in the list */
    uint64_t due_ms, repeat_ms;
    struct timer *next;
};

/* Those that run in virtual time, the next due one first; of the same moment, the one set first. */
static struct timer *virtual_timers;

static uint64_t mono_ms(void)
{
    return (uint64_t)clock_mono_ms();
}

static void insert(struct timer *timer)
{
    struct timer **at = &virtual_timers;
    while (*at != NULL && (*at)->due_ms <= timer->due_ms)
        at = &(*at)->next;
    timer->next = *at;
    *at = timer;
    timer->waiting = true;
}

static void take_out(struct timer *timer)
{
    struct timer **at = &virtual_timers;
    while (timer->waiting && *at != timer)
        at = &(*at)->next;
    if (timer->waiting)
        *at = timer->next;
    timer->waiting = false;
}

struct timer *timer_new(uv_loop_t *loop, void (*fn)(void *ctx), void *ctx)
{
    struct timer *timer = mem_need(sizeof *timer);
    uv_timer_init(loop, &timer->handle); /* cannot fail */
    timer->fn = fn;
    timer->ctx = ctx;
    return timer;
}

static void on_timer(uv_timer_t *handle)
{
    struct timer *timer = (struct timer *)handle;
    timer->fn(timer->ctx);
}

void timer_start(struct timer *timer, uint64_t delay_ms, uint64_t repeat_ms)
{
    if (!clock_is_virtual()) {
        uv_timer_start(&timer->handle, on_timer, delay_ms, repeat_ms);
        return;
    }
    take_out(timer);
    timer->due_ms = mono_ms() + delay_ms;
    timer->repeat_ms = repeat_ms;
    insert(timer);
}

void timer_stop(struct timer *timer)
{
    uv_timer_stop(&timer->handle);
    take_out(timer);
}

bool timer_active(const struct timer *timer)
{
    return timer->waiting || uv_is_active((const uv_handle_t *)&timer->handle);
}

void timer_unref(struct timer *timer)
{
    timer->unreferenced = true;
    uv_unref((uv_handle_t *)&timer->handle);
}

static void free_timer(uv_handle_t *handle)
{
    mem_free(handle);
}

void timer_close(struct timer **timer)
{
    if (*timer == NULL)
        return;
    take_out(*timer);
    uv_close((uv_handle_t *)&(*timer)->handle, free_timer);
    *timer = NULL;
}

bool timer_fire_next(void)
{
    struct timer *timer = virtual_timers;
    bool wanted = false;
    for (const struct timer *at = timer; at != NULL && !wanted; at = at->next)
        wanted = !at->unreferenced;
    if (!wanted)
        return false;
    uint64_t now = mono_ms();
    if (timer->due_ms > now)
        clock_virtual_advance(timer->due_ms - now);
    take_out(timer);
    if (timer->repeat_ms > 0) {
        timer->due_ms += timer->repeat_ms;
        insert(timer);
    }
    timer->fn(timer->ctx); /* may close it */
    return true;
}
