/* Statements whose cost somebody else decides: they end when their asker has left, and after some seconds of
 * CPU time.
 *
 * Who owns what: a guard lives on the stack of the work that it is for. One thread. */
#ifndef WORKERS_API_GUARD_H
#define WORKERS_API_GUARD_H

#include "api/request.h"

struct api_guard {
    struct db_guard guard; /* for the store */
    const struct api_request *request;
    uint64_t looked_ns, cpu_start_ns;
};

/* hidden: see struct db_guard. */
void api_guard_init(struct api_guard *guard, const struct api_request *request, const char *hidden);
/* The request's failure in the words of its asker. */
void api_guard_explain(struct api_request *request);

#endif
