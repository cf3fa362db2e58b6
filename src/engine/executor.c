/* One store, one thread at a time. */
#include "engine/executor.h"

#include "base/mem.h"

struct executor {
    uv_loop_t *loop;
    struct store *store;
    uv_work_t request;
    struct job *first, *last;
    struct job *running;
    void *kept_by; /* only this owner's jobs run */
};

enum err_code executor_new(uv_loop_t *loop, struct store *store, struct executor **out, struct err *err)
{
    struct executor *executor = mem_zalloc(sizeof *executor);
    if (executor == NULL)
        return err_nomem(err);
    executor->loop = loop;
    executor->store = store;
    executor->request.data = executor;
    *out = executor;
    return ERR_NONE;
}

void executor_free(struct executor *executor)
{
    mem_free(executor);
}

bool executor_busy(const struct executor *executor)
{
    return executor->running != NULL || executor->first != NULL;
}

static void work(uv_work_t *request)
{
    struct executor *executor = request->data;
    executor->running->work(executor->running, executor->store);
}

static struct job *take_next(struct executor *executor)
{
    struct job *previous = NULL;
    for (struct job *job = executor->first; job != NULL; previous = job, job = job->next) {
        if (executor->kept_by != NULL && job->owner != executor->kept_by)
            continue;
        if (previous != NULL)
            previous->next = job->next;
        else
            executor->first = job->next;
        if (executor->last == job)
            executor->last = previous;
        return job;
    }
    return NULL;
}

static void after(uv_work_t *request, int status);

static void start_next(struct executor *executor)
{
    if (executor->running != NULL)
        return;
    executor->running = take_next(executor);
    if (executor->running != NULL)
        uv_queue_work(executor->loop, &executor->request, work, after);
}

static void after(uv_work_t *request, int status)
{
    (void)status; /* jobs are never cancelled */
    struct executor *executor = request->data;
    struct job *job = executor->running;
    executor->running = NULL;
    executor->kept_by = job->keep ? job->owner : NULL;
    job->after(job); /* may free the job */
    start_next(executor);
}

void executor_submit(struct executor *executor, struct job *job)
{
    job->next = NULL;
    if (executor->last != NULL)
        executor->last->next = job;
    else
        executor->first = job;
    executor->last = job;
    start_next(executor);
}
