/* Pacers: waiters in turn, slots evenly spaced, reserved from the store so that every process on it shares one schedule. */
#include "engine/runtime.h"

#include "base/clock.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

/* Slots are reserved at most this far ahead: a crash loses no more, and processes take turns at this rhythm. */
#define HORIZON_MS 250

struct waiter {
    struct queue *queue;
    struct task *task;
    int *counter;
    struct waiter *next;
};

/* One pacer. */
struct queue {
    struct pacers *pacers;
    const struct pacer *pacer;
    int64_t pace_ms;
    struct waiter *first, *last;
    int64_t waiting;
    int64_t next_slot_ms; /* of the slots reserved */
    int64_t slots;        /* reserved and not used */
    int64_t last_slot_ms; /* without a store: the position */
    uv_timer_t *timer;
    bool reserving;
    struct job job;
    int64_t want, first_ms, granted;
    enum err_code code;
    struct err err;
    struct queue *next;
};

struct pacers {
    struct runtime *runtime;
    struct queue *queues;
};

static void pump(struct queue *queue);

struct pacers *pacers_new(struct runtime *runtime)
{
    struct pacers *pacers = mem_need(sizeof *pacers);
    pacers->runtime = runtime;
    return pacers;
}

static void free_handle(uv_handle_t *handle)
{
    mem_free(handle);
}

void pacers_free(struct pacers *pacers)
{
    if (pacers == NULL)
        return;
    while (pacers->queues != NULL) {
        struct queue *queue = pacers->queues;
        pacers->queues = queue->next;
        uv_close((uv_handle_t *)queue->timer, free_handle);
        mem_free(queue);
    }
    mem_free(pacers);
}

static void on_timer(uv_timer_t *timer)
{
    pump(timer->data);
}

static struct queue *queue_of(struct pacers *pacers, const char *key)
{
    struct queue *queue = pacers->queues;
    while (queue != NULL && strcmp(queue->pacer->key, key) != 0)
        queue = queue->next;
    if (queue != NULL)
        return queue;
    const struct pacer *pacer = worker_pacer(pacers->runtime->worker, key);
    if (pacer == NULL)
        return NULL;
    queue = mem_need(sizeof *queue);
    queue->pacers = pacers;
    queue->pacer = pacer;
    queue->pace_ms = (int64_t)ceil(pacer->interval_ms / pacer->allowed_requests);
    queue->timer = mem_need(sizeof *queue->timer);
    uv_timer_init(&pacers->runtime->loop, queue->timer);
    queue->timer->data = queue;
    queue->next = pacers->queues;
    pacers->queues = queue;
    return queue;
}

static struct waiter *take_first(struct queue *queue)
{
    struct waiter *waiter = queue->first;
    queue->first = waiter->next;
    if (queue->first == NULL)
        queue->last = NULL;
    queue->waiting--;
    return waiter;
}

static void reserve_work(struct job *job, struct store *store)
{
    struct queue *queue = job->owner;
    queue->code = store_pacer_reserve(store, queue->pacer->key, (double)queue->pace_ms, clock_now_ms(), HORIZON_MS,
                                      queue->want, &queue->first_ms, &queue->granted, &queue->err);
}

static void reserve_after(struct job *job)
{
    struct queue *queue = job->owner;
    queue->reserving = false;
    if (queue->code == ERR_NONE) {
        queue->next_slot_ms = queue->first_ms;
        queue->slots = queue->granted;
    } else if (queue->code == ERR_BUSY) {
        uv_timer_start(queue->timer, on_timer, 20, 0);
        return;
    } else {
        /* Nobody may send without a slot: whoever waits is stopped, and told why. */
        while (queue->first != NULL) {
            struct waiter *waiter = queue->first;
            task_stop(waiter->task, queue->code, "pacer \"%s\": %s", queue->pacer->key, queue->err.message);
        }
        return;
    }
    pump(queue);
}

static void reserve(struct queue *queue)
{
    struct runtime *runtime = queue->pacers->runtime;
    if (runtime->executor == NULL) {
        int64_t now = clock_now_ms();
        queue->next_slot_ms = queue->last_slot_ms + queue->pace_ms > now ? queue->last_slot_ms + queue->pace_ms : now;
        queue->last_slot_ms = queue->next_slot_ms;
        queue->slots = 1;
        return;
    }
    queue->reserving = true;
    queue->want = queue->waiting;
    queue->job = (struct job){.work = reserve_work, .after = reserve_after, .owner = queue};
    executor_submit(runtime->executor, &queue->job);
}

static void pump(struct queue *queue)
{
    while (queue->first != NULL && !queue->reserving) {
        if (queue->slots == 0) {
            reserve(queue);
            continue;
        }
        int64_t now = clock_now_ms();
        if (now < queue->next_slot_ms) {
            uv_timer_start(queue->timer, on_timer, (uint64_t)(queue->next_slot_ms - now), 0);
            return;
        }
        struct waiter *waiter = take_first(queue);
        struct task *task = waiter->task;
        (*waiter->counter)--;
        mem_free(waiter);
        queue->slots--;
        queue->next_slot_ms += queue->pace_ms;
        task_wake(task);
    }
}

enum err_code pacers_wait(struct pacers *pacers, const char *key, struct task *task, int *counter, void **op,
                          struct err *err)
{
    struct queue *queue = queue_of(pacers, key);
    if (queue == NULL)
        return err_set(err, ERR_NOT_FOUND, "pacer \"%s\" is not declared: add worker:pacer(\"%s\", { allowedRequests = …, "
                                           "intervalMs = … })",
                       key, key);
    struct waiter *waiter = mem_need(sizeof *waiter);
    waiter->queue = queue;
    waiter->task = task;
    waiter->counter = counter;
    (*counter)++;
    if (queue->last != NULL)
        queue->last->next = waiter;
    else
        queue->first = waiter;
    queue->last = waiter;
    queue->waiting++;
    *op = waiter;
    /* From the loop: the waiter is not yet waiting. */
    if (!uv_is_active((uv_handle_t *)queue->timer) && !queue->reserving)
        uv_timer_start(queue->timer, on_timer, 0, 0);
    return ERR_NONE;
}

void pacers_cancel(void *op)
{
    struct waiter *waiter = op;
    struct queue *queue = waiter->queue;
    struct waiter *previous = NULL;
    for (struct waiter *at = queue->first; at != NULL; previous = at, at = at->next) {
        if (at != waiter)
            continue;
        if (previous != NULL)
            previous->next = at->next;
        else
            queue->first = at->next;
        if (queue->last == at)
            queue->last = previous;
        queue->waiting--;
        (*waiter->counter)--;
        mem_free(waiter);
        return;
    }
}
