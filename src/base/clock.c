/* Clocks. Must not cache: a test that moves the clock expects to see it moved. */
#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

#define NS_PER_MS 1000000
#define NS_PER_S 1000000000

static atomic_bool is_virtual;
static atomic_int_least64_t virtual_now_ms;
static atomic_uint_least64_t virtual_mono_ms;

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
    if (clock_is_virtual())
        return atomic_load_explicit(&virtual_now_ms, memory_order_relaxed);
    struct timespec now = read_clock(CLOCK_REALTIME);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / NS_PER_MS;
}

int64_t clock_mono_ms(void)
{
    return (int64_t)(clock_mono_ns() / NS_PER_MS);
}

uint64_t clock_mono_ns(void)
{
    if (clock_is_virtual())
        return atomic_load_explicit(&virtual_mono_ms, memory_order_relaxed) * NS_PER_MS;
    return clock_steady_ns();
}

uint64_t clock_steady_ns(void)
{
    return in_ns(read_clock(CLOCK_MONOTONIC));
}

uint64_t clock_thread_cpu_ns(void)
{
    return in_ns(read_clock(CLOCK_THREAD_CPUTIME_ID));
}

void clock_virtual_set(int64_t now_ms)
{
    atomic_store_explicit(&virtual_now_ms, now_ms, memory_order_relaxed);
    atomic_store_explicit(&is_virtual, true, memory_order_relaxed);
}

void clock_virtual_advance(uint64_t ms)
{
    atomic_fetch_add_explicit(&virtual_now_ms, (int64_t)ms, memory_order_relaxed);
    atomic_fetch_add_explicit(&virtual_mono_ms, ms, memory_order_relaxed);
}

bool clock_is_virtual(void)
{
    return atomic_load_explicit(&is_virtual, memory_order_relaxed);
}
