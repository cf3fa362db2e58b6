/* How long work without Lua looks up now and then, so that its caller can end it.
 *
 * Who owns what: the ticker belongs to the caller. tick may leave by a long jump (as budget_tick does), so
 * whoever takes a ticker holds nothing of its own then: memory belongs to what the caller passed in. */
#ifndef WORKERS_BASE_TICKER_H
#define WORKERS_BASE_TICKER_H

#include <stddef.h>

/* How many steps may pass between two ticks. A step is a few nanoseconds of work. */
#define TICKER_STEPS ((size_t)16384)

struct ticker {
    void (*tick)(void *context); /* NULL: nobody wants to know */
    void *context;
    size_t spent;
};

/* Accounts for work done or about to be done. May leave, as tick does. */
static inline void ticker_spend(struct ticker *ticker, size_t steps)
{
    ticker->spent += steps;
    if (__builtin_expect(ticker->spent < TICKER_STEPS, 1))
        return;
    ticker->spent = 0;
    if (ticker->tick != NULL)
        ticker->tick(ticker->context);
}

#endif
