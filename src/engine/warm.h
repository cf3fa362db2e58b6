/* Isolates that are kept for the next call of the same capability: opening one takes longer than many a call.
 *
 * What a script leaves in its globals may thus be there at the next call, or not; docs/script-reference.md
 * says so.
 *
 * Who owns what: a warm isolate belongs to whoever has taken it until it is given back; those that wait
 * belong to the runtime. The loop's thread only, never from inside a Lua call. */
#ifndef WORKERS_ENGINE_WARM_H
#define WORKERS_ENGINE_WARM_H

#include "engine/runtime.h"

struct warm {
    struct execution execution;
    struct isolate *isolate;
    int uses;
    int64_t idle_since_ms; /* monotonic */
    struct warm *next;
};

/* One of the capability, loaded: a waiting one or a new one. */
enum err_code warm_take(struct runtime *runtime, const char *key, struct warm **out,
                        struct script_error *error) MUST_CHECK;
/* ended_well: nothing went wrong in it, so that it may be used again. */
void warm_give(struct warm *warm, bool ended_well);
/* Closes those that have waited for so long; 0 closes all. */
void warm_close_idle(struct runtime *runtime, int64_t idle_ms);

#endif
