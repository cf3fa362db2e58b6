/* Clocks. All wall time of the program comes from clock_now_ms, so that tests can shift it from outside.
 *
 * A process may go over to virtual time (docs/decisions, "Tests have a virtual clock"): the wall clock and
 * the monotonic one then stand still but for what clock_virtual_advance adds. CPU time stays real.
 *
 * Who owns what: nothing is owned. No function here can fail. */
#ifndef WORKERS_BASE_CLOCK_H
#define WORKERS_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Milliseconds since 1970-01-01T00:00:00Z. May jump in either direction when somebody sets the clock. */
int64_t clock_now_ms(void);

/* Never goes backwards; only differences mean something. Stands still while the machine sleeps. */
int64_t clock_mono_ms(void);
uint64_t clock_mono_ns(void);

/* As clock_mono_ns, and real even while time is virtual: for measuring what work takes. */
uint64_t clock_steady_ns(void);

/* Nanoseconds of CPU that the calling thread has used. A system call, unlike the others. */
uint64_t clock_thread_cpu_ns(void);

/* ---- virtual time: set by one thread, read by all ---- */

/* From now on time is virtual. The wall clock stands at now_ms; called again, only it is set. */
void clock_virtual_set(int64_t now_ms);
/* Moves both clocks on. */
void clock_virtual_advance(uint64_t ms);
bool clock_is_virtual(void);

#endif
