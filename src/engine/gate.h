/* How much may run at once, over all workers of a process, handed out in turn: whoever has waited longest is
 * offered what becomes free, however much others want.
 *
 * Who owns what: users belong to their makers and leave with gate_leave. The loop's thread only. */
#ifndef WORKERS_ENGINE_GATE_H
#define WORKERS_ENGINE_GATE_H

#include <stdbool.h>
#include <stdint.h>

struct gate {
    int64_t free;
    struct gate_user *first, *last; /* who waits */
};

struct gate_user {
    int64_t held, max;        /* permits */
    void (*offer)(void *ctx); /* something is free: come and take. May be called from gate_give. */
    void *ctx;
    bool waiting;
    struct gate_user *next;
};

/* How many of the permits wanted the user gets now. If it is fewer than its own maximum allows, it is told
 * when there are more. While others wait it gets its share only. */
int64_t gate_take(struct gate *gate, struct gate_user *user, int64_t wanted);
void gate_give(struct gate *gate, struct gate_user *user, int64_t count);
/* Waits for nothing any more. */
void gate_leave(struct gate *gate, struct gate_user *user);

#endif
