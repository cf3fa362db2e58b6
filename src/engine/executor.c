/* Stores with work to do, and the threads that do it. A store is in the hands of one thread at a time. It has
 * none of its own: most workers rest most of the time, and a thread at rest holds on to memory. */
#include "engine/executor.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>

#define THREADS_KEPT 4   /* also when there is nothing to do */
#define THREADS_EAGER 16 /* made as soon as there is work for them; more only when nothing moves */
#define STALLED_MS 20    /* that no thread has come for work: all wait for a disk or a lock */

struct executor {
    struct store *store;
    struct job *first, *last;           /* not started */
    struct job *done_first, *done_last; /* ended; their after functions are due */
    void *kept_by;                      /* only this owner's jobs run */
    bool waiting, running;              /* for a thread; in the hands of one */
    struct executor *next;              /* that waits */
    uv_async_t *async;                  /* tells the loop of ended jobs; owned by the loop once it closes */
    size_t pending;                     /* submitted and not yet told of; the loop's thread only */
};

static struct {
    pthread_mutex_t mutex; /* guards all of this, and of the executors what is not the loop's */
    pthread_cond_t wake;   /* there is work, or too many threads */
    pthread_cond_t calm;   /* a thread has let go of a store */
    struct executor *first, *last;
    size_t waiting; /* from first to last */
    size_t executors, threads, idle;
    int64_t taken_ms; /* when a thread came for work last, or the first began to wait */
    bool left; /* a thread has, and nobody has joined it: the next that leaves does, or who frees the last
                  executor */
    pthread_t leaver;
} pool = {
    .mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .calm = PTHREAD_COND_INITIALIZER};

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

static struct executor *take_executor(void)
{
    struct executor *executor = pool.first;
    if (executor == NULL)
        return NULL;
    pool.first = executor->next;
    if (pool.first == NULL)
        pool.last = NULL;
    executor->waiting = false;
    pool.waiting--;
    pool.taken_ms = clock_mono_ms();
    return executor;
}

static void work_off(struct executor *executor)
{
    struct job *job;
    executor->running = true;
    while ((job = take_next(executor)) != NULL) {
        pthread_mutex_unlock(&pool.mutex);
        job->work(job, executor->store);
        pthread_mutex_lock(&pool.mutex);
        executor->kept_by = job->keep ? job->owner : NULL;
        append(&executor->done_first, &executor->done_last, job);
        uv_async_send(executor->async);
    }
    executor->running = false;
    pthread_cond_broadcast(&pool.calm);
}

/* With the mutex. Waits until the thread that left is gone, and what libraries kept for it with it. */
static void join_leaver(void)
{
    if (!pool.left)
        return;
    pthread_t leaver = pool.leaver;
    pool.left = false;
    pthread_mutex_unlock(&pool.mutex);
    pthread_join(leaver, NULL);
    pthread_mutex_lock(&pool.mutex);
}

static void *run(void *ignored)
{
    (void)ignored;
    pthread_mutex_lock(&pool.mutex);
    for (;;) {
        struct executor *executor = take_executor();
        if (executor != NULL) {
            work_off(executor);
            continue;
        }
        if (pool.idle >= THREADS_KEPT || pool.executors == 0)
            break;
        pool.idle++;
        pthread_cond_wait(&pool.wake, &pool.mutex);
        pool.idle--;
    }
    while (pool.left)
        join_leaver();
    pool.left = true;
    pool.leaver = pthread_self();
    pool.threads--;
    pthread_cond_broadcast(&pool.calm);
    pthread_mutex_unlock(&pool.mutex);
    return NULL;
}

static bool add_thread(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, NULL) != 0)
        return false;
    pool.threads++;
    return true;
}

/* With the mutex. */
static void want_thread(struct executor *executor)
{
    if (executor->waiting || executor->running)
        return;
    int64_t now = clock_mono_ms();
    executor->waiting = true;
    executor->next = NULL;
    if (pool.last != NULL) {
        pool.last->next = executor;
    } else {
        pool.first = executor;
        pool.taken_ms = now;
    }
    pool.last = executor;
    pool.waiting++;
    if (pool.waiting <= pool.idle)
        pthread_cond_signal(&pool.wake);
    else if (pool.threads < pool.executors &&
             (pool.threads < THREADS_EAGER || now - pool.taken_ms >= STALLED_MS))
        (void)add_thread(); /* without it those that are there take longer */
}

static void tell(uv_async_t *async)
{
    struct executor *executor = async->data;
    pthread_mutex_lock(&pool.mutex);
    struct job *job = executor->done_first;
    executor->done_first = executor->done_last = NULL;
    pthread_mutex_unlock(&pool.mutex);
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
    uv_async_init(loop, executor->async, tell);
    uv_unref((uv_handle_t *)executor->async);
    pthread_mutex_lock(&pool.mutex);
    pool.executors++;
    bool any = pool.threads > 0 || add_thread();
    pthread_mutex_unlock(&pool.mutex);
    if (!any) {
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
    pthread_mutex_lock(&pool.mutex);
    while (executor->waiting || executor->running)
        pthread_cond_wait(&pool.calm, &pool.mutex);
    if (--pool.executors == 0) {
        pthread_cond_broadcast(&pool.wake);
        while (pool.threads > 0)
            pthread_cond_wait(&pool.calm, &pool.mutex);
        join_leaver();
    }
    pthread_mutex_unlock(&pool.mutex);
    uv_close((uv_handle_t *)executor->async, free_handle);
    mem_free(executor);
}

void executor_submit(struct executor *executor, struct job *job)
{
    if (executor->pending++ == 0)
        uv_ref((uv_handle_t *)executor->async);
    pthread_mutex_lock(&pool.mutex);
    if (job->urgent && executor->first != NULL) {
        job->next = executor->first;
        executor->first = job;
    } else {
        append(&executor->first, &executor->last, job);
    }
    want_thread(executor);
    pthread_mutex_unlock(&pool.mutex);
}
