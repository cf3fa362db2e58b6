/* Clocks. All wall time of the program comes from clock_now_ms, so that tests can shift it from outside.
 *
 * Who owns what: nothing is owned. No function here can fail. */
#ifndef WORKERS_BASE_CLOCK_H
#define WORKERS_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds since 1970-01-01T00:00:00Z. May jump in either direction when somebody sets the clock. */
int64_t clock_now_ms(void);

/* Never goes backwards; only differences mean something. Stands still while the machine sleeps. */
int64_t clock_mono_ms(void);
uint64_t clock_mono_ns(void);

/* Nanoseconds of CPU that the calling thread has used. */
uint64_t clock_thread_cpu_ns(void);

#endif
