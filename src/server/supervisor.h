/* The process that looks after the server's processes: starts them, starts another when one dies or is stuck,
 * passes signals on, and tells systemd.
 *
 * Who owns what: everything belongs to supervisor_run. It is called before the program has made any thread,
 * for it forks. */
#ifndef WORKERS_SERVER_SUPERVISOR_H
#define WORKERS_SERVER_SUPERVISOR_H

#include <stdatomic.h>
#include <stdint.h>

/* What a process of the server and its supervisor share. */
struct pulse {
    _Atomic int64_t beat_ms; /* monotonic; the process writes it every second */
    _Atomic int ready;       /* it has started */
};

/* Exit code of a process that could not start: as long as not all have, starting it again is of no use. */
#define SUPERVISOR_CANNOT_START 3

struct supervisor_options {
    int processes;
    int64_t stuck_ms; /* without a beat for so long a process is stuck */
    int64_t
        grace_ms; /* given to processes to stop; they are told by SIGTERM, those that are left are killed */
    int (*process)(void *ctx, int index, struct pulse *pulse); /* in the new process; returns its exit code */
    void (*say)(const char *line);                             /* one line for people */
    void *ctx;
};

/* From one of the processes: all of them get SIGUSR1, as something was done that others should look at. */
void supervisor_tell_others(void);

/* Until SIGTERM or SIGINT. SIGHUP goes to the processes; when one dies the others get SIGUSR1. Returns the
 * exit code: 0 after a signal, 1 when a process cannot start. */
int supervisor_run(const struct supervisor_options *options);

#endif
