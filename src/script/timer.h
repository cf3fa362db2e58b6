/* Timers on the event loop, which follow the virtual clock when there is one (base/clock.h).
 *
 * In real time a timer is libuv's. In virtual time it waits in a list outside the loop, which therefore ends
 * as soon as nothing else can happen; whoever drives the loop then calls timer_fire_next, which moves the
 * clock to the next timer that is due. The thread of the loop only.
 *
 * Who owns what: whoever makes a timer closes it; its memory goes when the loop has run its close callback.
 */
#ifndef WORKERS_SCRIPT_TIMER_H
#define WORKERS_SCRIPT_TIMER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct timer;

/* fn runs from the loop, or from timer_fire_next. It may start, stop and close any timer. */
struct timer *timer_new(uv_loop_t *loop, void (*fn)(void *ctx), void *ctx);
/* repeat_ms: 0 for a timer that fires once. A timer that runs already is set anew. */
void timer_start(struct timer *timer, uint64_t delay_ms, uint64_t repeat_ms);
void timer_stop(struct timer *timer);
bool timer_active(const struct timer *timer);
/* It is no reason to go on waiting: neither for the loop, nor for the virtual clock to move. */
void timer_unref(struct timer *timer);
/* Stops and releases *timer, and forgets it. NULL is fine. */
void timer_close(struct timer **timer);

/* In virtual time: moves the clock to the next due timer and runs it. False when no timer is left that
 * anybody waits for. */
bool timer_fire_next(void);

#endif
