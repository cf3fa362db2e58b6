/* Holding a statement to its time. */
#include "api/guard.h"

#include "base/clock.h"

#define CPU_NS UINT64_C(10000000000)           /* ten seconds */
#define MEMORY_MAX ((size_t)128 * 1024 * 1024) /* of the database engine */
#define VALUE_MAX ((size_t)16 * 1024 * 1024)   /* of one value, also in between */
#define LOOK_NS 5000000                        /* between two looks at the CPU time and the asker */

static bool go_on(void *ctx)
{
    struct api_guard *guard = ctx;
    const struct api_request *request = guard->request;
    uint64_t now = clock_mono_ns();
    if (now - guard->looked_ns < LOOK_NS)
        return true;
    guard->looked_ns = now;
    if (request->left != NULL && request->left(request))
        return false;
    return clock_thread_cpu_ns() - guard->cpu_start_ns < CPU_NS;
}

void api_guard_init(struct api_guard *guard, const struct api_request *request, const char *hidden)
{
    *guard = (struct api_guard){.guard = {.memory_max = MEMORY_MAX,
                                          .value_max = VALUE_MAX,
                                          .hidden = hidden,
                                          .go_on = go_on,
                                          .ctx = guard},
                                .request = request,
                                .cpu_start_ns = clock_thread_cpu_ns()};
}

void api_guard_explain(struct api_request *request)
{
    if (request->code == ERR_CANCELLED)
        request->code = err_set(&request->err, ERR_LIMIT, "the query took more than %d seconds",
                                (int)(CPU_NS / 1000000000));
}
