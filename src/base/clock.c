/* Clocks. Must not cache: a test that moves the clock expects to see it moved. */
#include "base/clock.h"

#include <time.h>

#define NS_PER_MS 1000000
#define NS_PER_S 1000000000

/* clock_gettime fails only on an unknown clock or a bad pointer, and neither can be here. */
static struct timespec read_clock(clockid_t id)
{
    struct timespec now = {0};
    clock_gettime(id, &now);
    return now;
}

static uint64_t in_ns(struct timespec t)
{
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

int64_t clock_now_ms(void)
{
    struct timespec now = read_clock(CLOCK_REALTIME);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / NS_PER_MS;
}

int64_t clock_mono_ms(void)
{
    return (int64_t)(clock_mono_ns() / NS_PER_MS);
}

uint64_t clock_mono_ns(void)
{
    return in_ns(read_clock(CLOCK_MONOTONIC));
}

uint64_t clock_thread_cpu_ns(void)
{
    return in_ns(read_clock(CLOCK_THREAD_CPUTIME_ID));
}
