/* Handing out permits in turn. */
#include "engine/gate.h"

#include <stddef.h>

static void wait_in_line(struct gate *gate, struct gate_user *user)
{
    if (user->waiting)
        return;
    user->waiting = true;
    user->next = NULL;
    if (gate->last != NULL)
        gate->last->next = user;
    else
        gate->first = user;
    gate->last = user;
}

void gate_leave(struct gate *gate, struct gate_user *user)
{
    struct gate_user *previous = NULL;
    if (!user->waiting)
        return;
    for (struct gate_user *at = gate->first; at != user; at = at->next)
        previous = at;
    if (previous != NULL)
        previous->next = user->next;
    else
        gate->first = user->next;
    if (gate->last == user)
        gate->last = previous;
    user->waiting = false;
}

int64_t gate_take(struct gate *gate, struct gate_user *user, int64_t wanted)
{
    int64_t own = user->max - user->held;
    if (wanted > own)
        wanted = own;
    if (wanted <= 0)
        return 0;
    gate_leave(gate, user);
    int64_t share = gate->free;
    if (gate->first != NULL) { /* others wait: no more than an equal part */
        int64_t waiting = 1;
        for (const struct gate_user *at = gate->first; at != NULL; at = at->next)
            waiting++;
        share = (gate->free + waiting - 1) / waiting;
    }
    int64_t taken = wanted < share ? wanted : share;
    gate->free -= taken;
    user->held += taken;
    if (taken < wanted)
        wait_in_line(gate, user);
    return taken;
}

void gate_give(struct gate *gate, struct gate_user *user, int64_t count)
{
    gate->free += count;
    user->held -= count;
    /* As many as could take one; each comes back into the line if it gets none. */
    for (int64_t left = gate->free; left > 0 && gate->first != NULL; left--) {
        struct gate_user *next = gate->first;
        gate_leave(gate, next);
        next->offer(next->ctx);
    }
}
