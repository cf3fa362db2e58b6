/* One store, one thread of its own. The next job starts as soon as one has ended, without waiting for the
 * loop to hear of it. */
#include "engine/executor.h"

#include "base/mem.h"

#include <pthread.h>

struct executor {
    struct store *store;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards everything below */
    pthread_cond_t wake;
    struct job *first, *last;           /* not started */
    struct job *done_first, *done_last; /* ended; their after functions are due */
    void *kept_by;                      /* only this owner's jobs run */
    bool stopping;
    uv_async_t *async; /* tells the loop of ended jobs; owned by the loop once it closes */
    size_t pending;    /* submitted and not yet told of; the loop's thread only */
};

static void append(struct job **first, struct job **last, struct job *job)
{
    job->next = NULL;
    if (*last != NULL)
        (*last)->next = job;
    else
        *first = job;
    *last = job;
}

/* The next job that may run, taken from the queue; NULL when there is none. */
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

static void *run(void *argument)
{
    struct executor *executor = argument;
    pthread_mutex_lock(&executor->mutex);
    for (;;) {
        struct job *job = take_next(executor);
        if (job == NULL) {
            if (executor->stopping)
                break;
            pthread_cond_wait(&executor->wake, &executor->mutex);
            continue;
        }
        pthread_mutex_unlock(&executor->mutex);
        job->work(job, executor->store);
        pthread_mutex_lock(&executor->mutex);
        executor->kept_by = job->keep ? job->owner : NULL;
        append(&executor->done_first, &executor->done_last, job);
        uv_async_send(executor->async);
    }
    pthread_mutex_unlock(&executor->mutex);
    return NULL;
}

static void tell(uv_async_t *async)
{
    struct executor *executor = async->data;
    pthread_mutex_lock(&executor->mutex);
    struct job *job = executor->done_first;
    executor->done_first = executor->done_last = NULL;
    pthread_mutex_unlock(&executor->mutex);
    while (job != NULL) {
        struct job *next = job->next;
        executor->pending--;
        if (executor->pending == 0)
            uv_unref((uv_handle_t *)async);
        job->after(job); /* may free the job, and submit others */
        job = next;
    }
}

enum err_code executor_new(uv_loop_t *loop, struct store *store, struct executor **out, struct err *err)
{
    struct executor *executor = mem_zalloc(sizeof *executor);
    if (executor == NULL)
        return err_nomem(err);
    executor->store = store;
    executor->async = mem_need(sizeof *executor->async);
    executor->async->data = executor;
    pthread_mutex_init(&executor->mutex, NULL);
    pthread_cond_init(&executor->wake, NULL);
    uv_async_init(loop, executor->async, tell);
    uv_unref((uv_handle_t *)executor->async);
    if (pthread_create(&executor->thread, NULL, run, executor) != 0) {
        executor->stopping = true;
        executor_free(executor);
        return err_set(err, ERR_IO, "cannot start a thread for the store");
    }
    *out = executor;
    return ERR_NONE;
}

static void free_handle(uv_handle_t *handle)
{
    mem_free(handle);
}

void executor_free(struct executor *executor)
{
    if (executor == NULL)
        return;
    if (!executor->stopping) {
        pthread_mutex_lock(&executor->mutex);
        executor->stopping = true;
        pthread_cond_signal(&executor->wake);
        pthread_mutex_unlock(&executor->mutex);
        pthread_join(executor->thread, NULL);
    }
    pthread_mutex_destroy(&executor->mutex);
    pthread_cond_destroy(&executor->wake);
    uv_close((uv_handle_t *)executor->async, free_handle);
    mem_free(executor);
}

void executor_submit(struct executor *executor, struct job *job)
{
    if (executor->pending++ == 0)
        uv_ref((uv_handle_t *)executor->async);
    pthread_mutex_lock(&executor->mutex);
    if (job->urgent && executor->first != NULL) {
        job->next = executor->first;
        executor->first = job;
    } else {
        append(&executor->first, &executor->last, job);
    }
    pthread_cond_signal(&executor->wake);
    pthread_mutex_unlock(&executor->mutex);
}
