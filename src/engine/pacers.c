/* Pacers: waiters in turn, slots evenly spaced, reserved from the store so that every process on it shares
 * one schedule. */
#include "engine/runtime.h"

#include "base/clock.h"
#include "base/mem.h"
#include "script/timer.h"

#include <math.h>
#include <string.h>

/* Slots are reserved in batches of this length, so that processes on one store take turns at this rhythm, */
#define BATCH_MS 50
/* and this far ahead, so that a store that is busy for a moment costs no slot. A crash loses no more than
 * that. */
#define LEAD_MS 100
/* As far as the store looks ahead; beyond it gives one slot at a time. */
#define HORIZON_MS 250
/* A slot is taken late when the process could not run in time. How late at most: */
#define LATE_MAX_MS 50
/* Requests that are remembered, so that a late one is given its distance an interval later. */
#define TAKEN_MAX 4096

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
    int64_t late_ms; /* a slot older than this is lost: making up for it would exceed the limit */
    struct waiter *first, *last;
    int64_t waiting;
    int64_t next_slot_ms;  /* of the slots reserved */
    int64_t slots;         /* reserved and not used */
    int64_t ahead_slot_ms; /* of the batch after that, when another process has slots in between */
    int64_t ahead_slots;
    int64_t end_ms;       /* of all that was reserved */
    int64_t last_slot_ms; /* without a store: the position */
    /* Until then others on the store are taken to use the pacer too. They are on time: what is late here
     * comes on top of theirs, so a slot is lost sooner. */
    int64_t shared_until_ms;
    /* When the tasks began with the last slots, by the monotonic clock in microseconds: taken[count %
     * window]. */
    int64_t *taken;
    int64_t taken_count;
    bool begun;        /* the task of the last slot has */
    int64_t window;    /* so many requests */
    int64_t window_us; /* may begin in any time of this length */
    struct timer *timer;
    bool reserving;
    struct job job;
    int64_t want, asked_ms, first_ms, granted;
    enum err_code code;
    struct err err;
    struct queue *next;
};

struct pacers {
    struct runtime *runtime;
    struct queue *queues;
    bool store_tried;
};

static void pump(void *ctx);

struct pacers *pacers_new(struct runtime *runtime)
{
    struct pacers *pacers = mem_need(sizeof *pacers);
    pacers->runtime = runtime;
    return pacers;
}

void pacers_free(struct pacers *pacers)
{
    if (pacers == NULL)
        return;
    while (pacers->queues != NULL) {
        struct queue *queue = pacers->queues;
        pacers->queues = queue->next;
        timer_close(&queue->timer);
        mem_free(queue->taken);
        mem_free(queue);
    }
    mem_free(pacers);
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
    int64_t late = (int64_t)(pacer->interval_ms / 20);
    late = late < LATE_MAX_MS ? late : LATE_MAX_MS;
    queue->late_ms = late > queue->pace_ms ? late : queue->pace_ms;
    double window = pacer->allowed_requests < TAKEN_MAX ? floor(pacer->allowed_requests) : TAKEN_MAX;
    queue->window = window >= 1 ? (int64_t)window : 1;
    queue->window_us =
        (int64_t)ceil(pacer->interval_ms * 1000 / pacer->allowed_requests * (double)queue->window);
    queue->taken = mem_need((size_t)queue->window * sizeof *queue->taken);
    queue->timer = timer_new(pacers->runtime->loop, pump, queue);
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
    queue->asked_ms = clock_now_ms();
    queue->code =
        store_pacer_reserve(store, queue->pacer->key, (double)queue->pace_ms, queue->asked_ms, HORIZON_MS,
                            queue->want, &queue->first_ms, &queue->granted, &queue->err);
}

/* Slots that passed unused, and are later than they may be, are lost. */
static void drop_late(struct queue *queue, int64_t now, int64_t late_ms)
{
    int64_t late = now - queue->next_slot_ms;
    if (queue->slots == 0 || late <= late_ms)
        return;
    int64_t missed = (late - late_ms + queue->pace_ms - 1) / queue->pace_ms;
    missed = missed < queue->slots ? missed : queue->slots;
    queue->slots -= missed;
    queue->next_slot_ms += missed * queue->pace_ms;
}

static void add_slots(struct queue *queue)
{
    /* Slots between this batch and the last one that did not pass unused are somebody else's. */
    if (queue->first_ms > queue->asked_ms && queue->first_ms != queue->end_ms)
        queue->shared_until_ms = queue->first_ms + (int64_t)queue->pacer->interval_ms;
    queue->end_ms = queue->first_ms + queue->granted * queue->pace_ms;
    if (queue->slots == 0) {
        queue->next_slot_ms = queue->first_ms;
        queue->slots = queue->granted;
        /* What passed while they were being reserved is not made up for: others on the store are on time. */
        drop_late(queue, clock_now_ms(), queue->pace_ms);
    } else if (queue->first_ms == queue->next_slot_ms + queue->slots * queue->pace_ms) {
        queue->slots += queue->granted;
    } else {
        queue->ahead_slot_ms = queue->first_ms;
        queue->ahead_slots = queue->granted;
    }
}

static void reserve_after(struct job *job)
{
    struct queue *queue = job->owner;
    queue->reserving = false;
    if (queue->code == ERR_NONE) {
        add_slots(queue);
    } else if (queue->slots + queue->ahead_slots > 0) {
        /* There are some left: their timer comes back here. */
    } else if (queue->code == ERR_BUSY) {
        timer_start(queue->timer, 20, 0);
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
    if (runtime->executor == NULL && !queue->pacers->store_tried) {
        struct err err; /* without a store the budget holds for this process alone */
        queue->pacers->store_tried = true;
        if (runtime_share_store(runtime, &err) != ERR_NONE && runtime->options.log != NULL)
            runtime->options.log(runtime->options.log_ctx, NULL, NULL, "warn", err.message,
                                 strlen(err.message));
    }
    if (runtime->executor == NULL) {
        int64_t now = clock_now_ms();
        queue->next_slot_ms =
            queue->last_slot_ms + queue->pace_ms > now ? queue->last_slot_ms + queue->pace_ms : now;
        queue->last_slot_ms = queue->next_slot_ms;
        queue->slots = 1;
        return;
    }
    queue->reserving = true;
    int64_t batch = BATCH_MS / queue->pace_ms;
    int64_t want = queue->waiting - queue->slots;
    queue->want = want < batch ? want : batch;
    queue->job = (struct job){.work = reserve_work, .after = reserve_after, .owner = queue, .urgent = true};
    executor_submit(runtime->executor, &queue->job);
}

/* The batch ahead follows when this one is used up. */
static void drop_missed(struct queue *queue, int64_t now)
{
    int64_t late_ms = now < queue->shared_until_ms ? queue->pace_ms : queue->late_ms;
    for (;;) {
        drop_late(queue, now, late_ms);
        if (queue->slots > 0 || queue->ahead_slots == 0)
            return;
        queue->next_slot_ms = queue->ahead_slot_ms;
        queue->slots = queue->ahead_slots;
        queue->ahead_slots = 0;
    }
}

static int64_t mono_us(void)
{
    return (int64_t)(clock_mono_ns() / 1000);
}

/* How long the slot in hand must still wait, in milliseconds. A slot is never taken early; one that was late
 * does not bring the next one closer to it than four fifths of the pace, nor the requests of any interval
 * above the limit. */
static int64_t slot_wait_ms(const struct queue *queue, int64_t now)
{
    int64_t wait = queue->next_slot_ms - now;
    if (queue->taken_count == 0)
        return wait;
    int64_t last = queue->taken[(queue->taken_count - 1) % queue->window];
    /* When the task will begin is not known yet; it does in the loop's next turn, unless it has been stopped.
     */
    if (!queue->begun && mono_us() - last < LATE_MAX_MS * 1000)
        return wait > 1 ? wait : 1;
    int64_t earliest = last + queue->pace_ms * 1000 * 4 / 5;
    if (queue->taken_count >= queue->window) {
        int64_t first = queue->taken[queue->taken_count % queue->window];
        earliest = first + queue->window_us > earliest ? first + queue->window_us : earliest;
    }
    int64_t distance = (earliest - mono_us() + 999) / 1000;
    return distance > wait ? distance : wait;
}

static void take_slot(struct queue *queue)
{
    queue->slots--;
    queue->next_slot_ms += queue->pace_ms;
    queue->taken[queue->taken_count++ % queue->window] = mono_us();
    queue->begun = false;
}

static void pump(void *ctx)
{
    struct queue *queue = ctx;
    int64_t now = clock_now_ms();
    while (queue->first != NULL) {
        drop_missed(queue, now);
        if (queue->slots == 0) {
            if (!queue->reserving)
                reserve(queue);
            if (queue->reserving)
                return;
            continue;
        }
        int64_t wait = slot_wait_ms(queue, now);
        if (wait > 0) {
            timer_start(queue->timer, (uint64_t)wait, 0);
            break;
        }
        struct waiter *waiter = take_first(queue);
        struct task *task = waiter->task;
        (*waiter->counter)--;
        mem_free(waiter);
        take_slot(queue);
        task_wake(task);
    }
    int64_t lead = queue->next_slot_ms + queue->slots * queue->pace_ms - now;
    if (queue->pacers->runtime->executor != NULL && !queue->reserving && queue->slots > 0 &&
        queue->ahead_slots == 0 && queue->waiting > queue->slots && lead < LEAD_MS)
        reserve(queue);
}

enum err_code pacers_wait(struct pacers *pacers, const char *key, struct task *task, int *counter, void **op,
                          struct err *err)
{
    struct queue *queue = queue_of(pacers, key);
    if (queue == NULL)
        return err_set(err, ERR_NOT_FOUND,
                       "pacer \"%s\" is not declared: add worker:pacer(\"%s\", { allowedRequests = …, "
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
    if (!timer_active(queue->timer) && !queue->reserving)
        timer_start(queue->timer, 0, 0);
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

void pacers_begun(struct pacers *pacers, const char *key)
{
    struct queue *queue = queue_of(pacers, key);
    if (queue == NULL || queue->taken_count == 0)
        return;
    queue->taken[(queue->taken_count - 1) % queue->window] = mono_us();
    queue->begun = true;
}
