/* Serving one worker. Must not write rows or state: cycles do. */
#include "engine/service.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "engine/call.h"
#include "engine/cycle.h"
#include "engine/journal.h"
#include "engine/upkeep.h"
#include "engine/warm.h"
#include "script/timer.h"
#include "worker/due.h"

#include <stdio.h>
#include <string.h>

#define TURN_CLAIMS 64          /* deliveries taken in one turn */
#define ATTEMPTS 4              /* of a delivery: the first and three more */
#define LOOK_AGAIN_MS 1000      /* after the store could not be used */
#define RENEW_MS (LEASE_MS / 3) /* of what this process runs */
#define JOURNAL_MS 200
#define WARM_IDLE_MS 10000
#define UPKEEP_FIRST_MS 10000 /* after the start */
#define UPKEEP_MS (10 * 60 * 1000)
#define UPKEEP_PAUSE_MS 20               /* between two steps of it: others want the store */
#define LATE_MS 60000                    /* a tick that is later was missed */
#define CLOCK_BACK_MS (24 * 3600 * 1000) /* a clock set back so far was wrong before */

/* One capability that runs by itself. */
struct item {
    struct service *service;
    const struct capability *capability;
    struct timetable timetable; /* of syncs and jobs */
    bool scheduled;             /* it has one */
    char *text;                 /* its schedule, as it is kept in the store */
    struct schedule_entry entry;
    bool known;          /* the store has its entry */
    int64_t due_ms;      /* of a sync; INT64_MAX for never */
    struct cycle *cycle; /* of a sync that runs here */
    int64_t next_due_ms; /* of deliveries; written by turns */
    /* of webhooks */
    struct endpoint endpoint; /* written by turns; key is empty before the first */
    int64_t refusals;         /* to be told the store */
    bool reset;
    int64_t turn_refusals; /* the same, in the turn under way */
    bool turn_reset;
};

/* A delivery that is being handled here. */
struct handling {
    struct service *service;
    struct item *item;
    struct delivery delivery;
    struct call *call;
    struct delivery_end end;
    char *error, *traceback; /* what end points to */
    int64_t started_ms;      /* monotonic */
    struct handling *next;
};

/* What goes to the store's thread and comes back. */
struct turn {
    struct job job;
    struct handling *ends;    /* in, to be recorded */
    struct handling *claimed; /* out */
    int64_t permits;          /* in; what is left, out */
    bool read_schedules;      /* in */
    bool recover, renew;      /* in */
    bool stopping;            /* in */
    bool done;                /* out: committed */
    int64_t wake_ms;          /* out: the next delivery is due, or the next tick of a job */
    int64_t recovered;        /* out */
    bool ticked;              /* a job's schedule was moved on */
    struct err err;
};

struct service {
    struct runtime *runtime;
    struct service_events events;
    struct gate *gate;
    struct gate_user user;
    struct item *items;
    size_t item_count;
    struct turn turn;
    bool turning, again;
    bool stale; /* the schedules must be read again */
    bool recover, renew;
    bool stopping, told_idle;
    struct timer *timer, *renew_timer, *journal_timer;
    struct handling *running; /* deliveries under way */
    struct handling *ended;   /* waiting for the next turn */
    struct journal *journal;
    struct upkeep upkeep;
    struct job upkeep_job;
    struct timer *upkeep_timer;
    bool upkeep_busy, upkeep_more;
    struct job poll_job;
    bool polling, poll_changed, poll_recover;
    int64_t others; /* what store_others said last */
    struct job intake_job;
    struct service_intake *intake, *intake_last, *storing;
    bool intake_busy;
    enum err_code intake_code;
    struct err intake_err;
    struct service_counts counts;
    int holds;
    bool has_triggers; /* automations that wait for rows */
    double tokens;     /* of webhooks that may be taken in */
    int64_t tokens_ms;
    size_t first_item; /* that the next turn begins with, so that all get their share */
};

static void turn_begin(struct service *service);
static void tell_if_idle(struct service *service);

/* ---- schedules ---- */

static char *schedule_text(const struct schedule *schedule)
{
    struct buf text;
    buf_init(&text, 1024);
    schedule_write(schedule, &text);
    char *copy = buf_take(&text, NULL);
    return copy != NULL ? copy : mem_need_str("");
}

/* The first tick of a schedule that is new here. */
static int64_t first_tick(const struct item *item, int64_t now)
{
    switch (item->timetable.type) {
    case SCHEDULE_CONTINUOUS:
        return now;
    case SCHEDULE_INTERVAL: /* nobody wants to wait for it the first time */
        return item->known ? timetable_next(&item->timetable, now) : now;
    default:
        return timetable_next(&item->timetable, now);
    }
}

/* Whether the next tick was computed by a clock that was ahead. Ticks that were run already are not run again
 * after the clock was set back a little; but nothing waits for days because it was wrong. */
static bool clock_was_ahead(const struct item *item, int64_t now)
{
    const struct schedule_entry *entry = &item->entry;
    if (entry->next_ms == INT64_MAX || now >= entry->set_ms)
        return false;
    if (item->timetable.type == SCHEDULE_INTERVAL)
        return entry->next_ms > now + item->timetable.interval_ms;
    return entry->set_ms - now > CLOCK_BACK_MS;
}

static struct item *find_item(struct service *service, const char *key)
{
    for (size_t i = 0; i < service->item_count; i++)
        if (strcmp(service->items[i].capability->key, key) == 0)
            return &service->items[i];
    return NULL;
}

static enum err_code keep_entry(void *ctx, const struct schedule_entry *entry)
{
    struct item *item = find_item(ctx, entry->key);
    if (item == NULL)
        return ERR_NONE; /* of a capability that is no longer declared */
    item->entry = *entry;
    item->known = entry->schedule[0] != '\0';
    /* Its text is compared now: it belongs to whoever calls. */
    bool same = item->text != NULL && strcmp(entry->schedule, item->text) == 0;
    item->entry.schedule = same ? item->text : NULL;
    return ERR_NONE;
}

/* Reads when everything is due, and writes what is new. Inside a transaction. */
static enum err_code read_schedules(struct service *service, struct store *store, int64_t now,
                                    struct err *err)
{
    for (size_t i = 0; i < service->item_count; i++)
        service->items[i].entry = (struct schedule_entry){.next_ms = INT64_MAX};
    enum err_code code = store_schedules_each(store, keep_entry, service, err);
    for (size_t i = 0; i < service->item_count && code == ERR_NONE; i++) {
        struct item *item = &service->items[i];
        if (!item->scheduled || (item->entry.schedule != NULL && !clock_was_ahead(item, now)))
            continue;
        item->entry.next_ms = first_tick(item, now);
        item->entry.set_ms = now;
        item->entry.schedule = item->text;
        item->known = true;
        code = store_schedule_set(store, item->capability->key, item->text, item->entry.next_ms, err);
    }
    return code;
}

/* When a sync that does not run here may start. */
static int64_t sync_due(const struct item *item)
{
    const struct schedule_entry *entry = &item->entry;
    if (entry->paused || entry->running)
        return INT64_MAX;
    if (entry->triggered_ms != 0 || entry->abandoned)
        return 0;
    return entry->retry_ms != 0 ? entry->retry_ms : entry->next_ms;
}

/* ---- a turn, on the store's thread ---- */

static void claimed(void *ctx, struct delivery *delivery)
{
    struct item *item = ctx;
    struct turn *turn = &item->service->turn;
    struct handling *handling = mem_need(sizeof *handling);
    handling->service = item->service;
    handling->item = item;
    handling->delivery = *delivery;
    handling->next = turn->claimed;
    turn->claimed = handling;
    turn->permits--;
}

static enum err_code record_ends(struct service *service, struct store *store, struct err *err)
{
    enum err_code code = ERR_NONE;
    for (struct handling *at = service->turn.ends; at != NULL && code == ERR_NONE; at = at->next) {
        bool lost = false;
        code = store_delivery_end(store, &at->end, &lost, err);
    }
    return code;
}

/* Ticks of a job become deliveries. */
static enum err_code tick(struct item *item, struct store *store, int64_t now, struct err *err)
{
    struct schedule_entry *entry = &item->entry;
    const struct schedule *schedule = &item->capability->schedule;
    if (entry->paused || entry->next_ms > now)
        return ERR_NONE;
    int64_t next = timetable_next(&item->timetable, now);
    bool moved = false;
    item->service->turn.ticked = true;
    enum err_code code =
        store_schedule_advance(store, item->capability->key, entry->next_ms, next, &moved, err);
    if (code != ERR_NONE || !moved)
        return code;
    int64_t at = entry->next_ms, last = at;
    entry->next_ms = next;
    int64_t more = timetable_missed(&item->timetable, at, now, MISSED_MAX, &last);
    if (more > 0 && schedule->missed != MISSED_ALL)
        at = last; /* one run stands for all */
    if (schedule->missed == MISSED_SKIP && now - at > LATE_MS)
        return ERR_NONE;
    for (int64_t i = 0; i <= (schedule->missed == MISSED_ALL ? more : 0) && code == ERR_NONE; i++) {
        char lane[120];
        snprintf(lane, sizeof lane, "job:%s", item->capability->key);
        struct delivery_new delivery = {.kind = "job",
                                        .key = item->capability->key,
                                        .started_by = "schedule",
                                        .lane = lane,
                                        .due_ms = at,
                                        .tick_ms = at,
                                        .event = "null",
                                        .event_len = 4};
        code = schedule->missed == MISSED_ALL
                   ? store_delivery_add(store, &delivery, err)
                   : store_delivery_add_alone(store, &delivery, err); /* never beside one that still runs */
        at = timetable_next(&item->timetable, at);
    }
    return code;
}

/* A tick of a sync that nobody was there for is passed over when that is wanted. */
static enum err_code skip(struct item *item, struct store *store, int64_t now, struct err *err)
{
    struct schedule_entry *entry = &item->entry;
    bool moved = false;
    if (item->capability->schedule.missed != MISSED_SKIP || entry->triggered_ms != 0 || entry->abandoned ||
        entry->retry_ms != 0 || entry->next_ms == INT64_MAX || now - entry->next_ms <= LATE_MS)
        return ERR_NONE;
    int64_t next = timetable_next(&item->timetable, now);
    item->service->turn.ticked = true;
    enum err_code code =
        store_schedule_advance(store, item->capability->key, entry->next_ms, next, &moved, err);
    entry->next_ms = next;
    return code;
}

static enum err_code claim_all(struct service *service, struct store *store, struct err *err)
{
    struct turn *turn = &service->turn;
    enum err_code code = ERR_NONE;
    for (size_t i = 0; i < service->item_count && code == ERR_NONE; i++) {
        struct item *item = &service->items[(service->first_item + i) % service->item_count];
        if (item->capability->kind == CAPABILITY_SYNC)
            continue;
        item->next_due_ms = INT64_MAX;
        if (item->entry.paused) /* what is on its way waits */
            continue;
        /* Those that come later get something as well. */
        int64_t share = (turn->permits + 1) / 2;
        bool last = i + 1 == service->item_count;
        code = store_deliveries_claim(store, item->capability, last ? turn->permits : share, claimed, item,
                                      &item->next_due_ms, err);
        if (item->next_due_ms < turn->wake_ms)
            turn->wake_ms = item->next_due_ms;
    }
    service->first_item = service->item_count > 0 ? (service->first_item + 1) % service->item_count : 0;
    return code;
}

/* What verifications have said of the endpoints, and how these stand. */
static enum err_code update_endpoint(struct item *item, bool read, struct store *store, struct err *err)
{
    enum err_code code = ERR_NONE;
    const char *key = item->capability->key;
    if (item->turn_reset)
        code = store_endpoint_reset(store, key, err);
    for (int64_t i = 0; i < item->turn_refusals && code == ERR_NONE; i++)
        code = store_endpoint_refused(store, key, err);
    if (code == ERR_NONE && (read || item->turn_reset || item->turn_refusals > 0))
        code = store_endpoint_get(store, key, &item->endpoint, err);
    return code;
}

static enum err_code turn_in_transaction(struct service *service, struct store *store, struct err *err)
{
    struct turn *turn = &service->turn;
    int64_t now = clock_now_ms();
    enum err_code code = record_ends(service, store, err);
    if (code == ERR_NONE && turn->renew)
        code = store_deliveries_renew(store, err);
    if (code == ERR_NONE && turn->read_schedules)
        code = read_schedules(service, store, now, err);
    for (size_t i = 0; i < service->item_count && code == ERR_NONE && !turn->stopping; i++) {
        struct item *item = &service->items[i];
        if (item->capability->kind == CAPABILITY_SYNC && turn->read_schedules)
            code = skip(item, store, now, err);
        if (item->capability->kind == CAPABILITY_WEBHOOK)
            code = update_endpoint(item, turn->read_schedules, store, err);
        if (item->capability->kind != CAPABILITY_JOB)
            continue;
        code = tick(item, store, now, err);
        if (!item->entry.paused && item->entry.next_ms < turn->wake_ms)
            turn->wake_ms = item->entry.next_ms;
    }
    if (code == ERR_NONE && turn->permits > 0)
        code = claim_all(service, store, err);
    return code;
}

static void turn_work(struct job *job, struct store *store)
{
    struct service *service = job->owner;
    struct turn *turn = &service->turn;
    turn->wake_ms = INT64_MAX;
    turn->done = false;
    enum err_code code = ERR_NONE;
    if (turn->recover)
        code = store_deliveries_recover(store, &turn->recovered, &turn->err);
    if (code == ERR_NONE)
        code = store_begin(store, false, &turn->err);
    if (code != ERR_NONE)
        return;
    code = turn_in_transaction(service, store, &turn->err);
    if (code == ERR_NONE) {
        turn->done = store_commit(store, &turn->err) == ERR_NONE;
        return;
    }
    store_rollback(store);
}

/* ---- handling deliveries ---- */

static void free_handling(struct handling *handling)
{
    call_free(handling->call);
    delivery_free(&handling->delivery);
    mem_free(handling->error);
    mem_free(handling->traceback);
    mem_free(handling);
}

static void free_all(struct handling *handling)
{
    while (handling != NULL) {
        struct handling *next = handling->next;
        free_handling(handling);
        handling = next;
    }
}

static void remove_running(struct handling *handling)
{
    struct handling **at = &handling->service->running;
    while (*at != handling)
        at = &(*at)->next;
    *at = handling->next;
}

static void ended(struct handling *handling)
{
    struct service *service = handling->service;
    remove_running(handling);
    handling->next = service->ended;
    service->ended = handling;
    gate_give(service->gate, &service->user, 1);
    turn_begin(service);
}

static void decide_failure(struct handling *handling, const struct call_end *end)
{
    struct delivery_end *out = &handling->end;
    int64_t attempt = handling->delivery.attempt, now = clock_now_ms();
    if (handling->service->stopping && handling->end.outcome == DELIVERY_RELEASED)
        return; /* it was stopped by us */
    out->outcome = attempt >= ATTEMPTS || end->unverified ? DELIVERY_DEAD : DELIVERY_RETRY;
    out->retry_ms = now + cycle_backoff_ms(attempt);
    if (end->rate_limited) { /* which is no failure */
        int64_t wait = end->retry_after > 0 ? (int64_t)(end->retry_after * 1000) : 0;
        out->outcome = DELIVERY_LATER;
        if (now + wait > out->retry_ms)
            out->retry_ms = now + wait;
    }
}

static void report(struct service *service, const struct run_report *report)
{
    service->counts.runs++;
    if (report->error != NULL)
        service->counts.failures++;
    if (service->events.ended != NULL)
        service->events.ended(service->events.ctx, service, report);
}

static void call_ended(void *ctx, struct call *call, const struct call_end *end)
{
    struct handling *handling = ctx;
    struct service *service = handling->service;
    struct delivery_end *out = &handling->end;
    (void)call;
    out->requests = end->requests;
    out->peak_bytes = end->peak_bytes;
    if (end->ok) {
        out->outcome = end->skipped ? DELIVERY_DECLINED : DELIVERY_DONE;
    } else {
        decide_failure(handling, end);
        handling->error = mem_need_str(end->message);
        handling->traceback = end->traceback != NULL ? mem_need_str(end->traceback) : NULL;
        out->error = handling->error;
        out->traceback = handling->traceback;
        service_log(service, handling->delivery.run_id, "error", end->message, strlen(end->message));
        if (handling->traceback != NULL)
            service_log(service, handling->delivery.run_id, "trace", handling->traceback,
                        strlen(handling->traceback));
    }
    const struct run_report done = {
        .capability = handling->item->capability,
        .run_id = handling->delivery.run_id,
        .error = out->outcome != DELIVERY_RELEASED ? out->error : NULL,
        .stopped = out->outcome == DELIVERY_RELEASED,
        .will_retry = out->outcome == DELIVERY_RETRY || out->outcome == DELIVERY_LATER,
        .duration_ms = (uint64_t)(clock_mono_ms() - handling->started_ms),
        .attempt = handling->delivery.attempt,
        .requests = end->requests,
    };
    if (out->outcome != DELIVERY_DECLINED)
        report(service, &done);
    ended(handling);
}

static void handle(struct service *service, struct handling *handling)
{
    const struct call_input input = {.delivery = &handling->delivery};
    struct err err;
    handling->end.delivery = &handling->delivery;
    handling->started_ms = clock_mono_ms();
    handling->next = service->running;
    service->running = handling;
    if (call_start(service->runtime, handling->item->capability, &input, call_ended, handling,
                   &handling->call, &err) == ERR_NONE)
        return;
    handling->end.outcome = DELIVERY_RELEASED;
    ended(handling);
}

/* ---- syncs ---- */

static void report_cycle(const struct item *item, const struct cycle *cycle, const struct cycle_end *end)
{
    struct service *service = item->service;
    struct cycle_progress progress;
    bool failed = end->outcome == RUN_FAILED;
    char *error = failed ? runtime_redacted(service->runtime, end->error.message) : NULL;
    cycle_get_progress(cycle, &progress);
    const struct run_report done = {
        .capability = item->capability,
        .run_id = cycle_run_id(cycle),
        .error = error,
        .stopped = end->outcome == RUN_STOPPED,
        .will_retry = failed,
        .duration_ms = progress.elapsed_ms,
        .attempt = cycle_attempt(cycle),
        .pages = progress.pages,
        .requests = progress.requests,
        .counts = progress.counts,
        .sweep = end->outcome == RUN_SUCCEEDED ? &end->sweep : NULL,
    };
    if (failed)
        service_log(service, done.run_id, "error", error, strlen(error));
    report(service, &done);
    mem_free(error);
}

static void cycle_ended(void *ctx, struct cycle *cycle, const struct cycle_end *end)
{
    struct item *item = ctx;
    struct service *service = item->service;
    if (!end->not_begun)
        report_cycle(item, cycle, end);
    item->cycle = NULL;
    service->counts.running--;
    cycle_free(cycle);
    gate_give(service->gate, &service->user, 1);
    service->stale = true;
    turn_begin(service);
}

/* A page may have fired automations. */
static void committed(void *ctx)
{
    struct service *service = ctx;
    if (service->has_triggers)
        turn_begin(service);
}

static bool start_sync(struct item *item, int64_t now)
{
    struct service *service = item->service;
    const struct sync_start start = {.next_ms = timetable_next(&item->timetable, now)};
    const struct cycle_options options = {.start = &start, .committed = committed, .committed_ctx = service};
    struct err err;
    item->due_ms = INT64_MAX;
    if (cycle_start(service->runtime, item->capability, &options, cycle_ended, item, &item->cycle, &err) !=
        ERR_NONE)
        return false;
    service->counts.running++;
    return true;
}

static void start_syncs(struct service *service, int64_t *permits)
{
    int64_t now = clock_now_ms();
    for (size_t i = 0; i<service->item_count && * permits> 0; i++) {
        struct item *item = &service->items[(service->first_item + i) % service->item_count];
        if (item->capability->kind != CAPABILITY_SYNC || item->cycle != NULL || item->due_ms > now)
            continue;
        if (start_sync(item, now))
            (*permits)--;
    }
}

/* ---- a turn, on the loop ---- */

static void wake(void *ctx)
{
    turn_begin(ctx);
}

static int64_t next_sync_due(const struct service *service)
{
    int64_t due = INT64_MAX;
    for (size_t i = 0; i < service->item_count; i++)
        if (service->items[i].cycle == NULL && service->items[i].due_ms < due)
            due = service->items[i].due_ms;
    return due;
}

static void sleep_until(struct service *service, int64_t wake_ms)
{
    int64_t now = clock_now_ms();
    if (wake_ms == INT64_MAX || service->stopping)
        return;
    int64_t wait = wake_ms > now ? wake_ms - now : 0;
    timer_start(service->timer, (uint64_t)(wait < 3600000 ? wait : 3600000), 0);
}

static void turn_failed(struct service *service, struct turn *turn)
{
    /* Ends are told again, claims did not happen. */
    struct handling **last = &turn->ends;
    while (*last != NULL)
        last = &(*last)->next;
    *last = service->ended;
    service->ended = turn->ends;
    turn->ends = NULL;
    for (struct handling *at = turn->claimed; at != NULL; at = at->next)
        turn->permits++;
    free_all(turn->claimed);
    turn->claimed = NULL;
    service->stale = service->stale || turn->read_schedules || turn->ticked;
    service->recover = service->recover || turn->recover;
    if (turn->err.code != ERR_BUSY && service->runtime->options.log != NULL)
        service->runtime->options.log(service->runtime->options.log_ctx, NULL, NULL, "error",
                                      turn->err.message, strlen(turn->err.message));
    timer_start(service->timer, turn->err.code == ERR_BUSY ? 20 : LOOK_AGAIN_MS, 0);
}

static void turn_after(struct job *job)
{
    struct service *service = job->owner;
    struct turn *turn = &service->turn;
    service->turning = false;
    int64_t permits = 0;
    if (!turn->done) {
        turn_failed(service, turn);
        permits = turn->permits;
    } else {
        free_all(turn->ends);
        turn->ends = NULL;
        if (turn->read_schedules)
            for (size_t i = 0; i < service->item_count; i++)
                if (service->items[i].capability->kind == CAPABILITY_SYNC)
                    service->items[i].due_ms = sync_due(&service->items[i]);
        while (turn->claimed != NULL) {
            struct handling *next = turn->claimed->next;
            handle(service, turn->claimed);
            turn->claimed = next;
        }
        permits = turn->permits;
        if (!service->stopping)
            start_syncs(service, &permits);
        int64_t due = next_sync_due(service);
        due = turn->wake_ms < due ? turn->wake_ms : due;
        /* What is due and got no permit comes when the gate offers some. */
        if (!service->user.waiting || due > clock_now_ms())
            sleep_until(service, due);
    }
    if (permits > 0)
        gate_give(service->gate, &service->user, permits);
    if (service->again || service->ended != NULL)
        turn_begin(service);
    tell_if_idle(service);
}

static void turn_begin(struct service *service)
{
    struct turn *turn = &service->turn;
    if (service->turning) {
        service->again = true;
        return;
    }
    if (service->stopping && service->ended == NULL && !service->renew) {
        tell_if_idle(service);
        return;
    }
    timer_stop(service->timer);
    service->turning = true;
    service->again = false;
    *turn = (struct turn){.job = {.work = turn_work, .after = turn_after, .owner = service},
                          .ends = service->ended,
                          .read_schedules = service->stale,
                          .recover = service->recover,
                          .renew = service->renew,
                          .stopping = service->stopping};
    service->ended = NULL;
    for (size_t i = 0; i < service->item_count; i++) {
        struct item *item = &service->items[i];
        item->turn_refusals = item->refusals;
        item->turn_reset = item->reset;
        item->refusals = 0;
        item->reset = false;
    }
    service->stale = service->recover = service->renew = false;
    if (!service->stopping)
        turn->permits = gate_take(service->gate, &service->user, TURN_CLAIMS);
    executor_submit(service->runtime->executor, &turn->job);
}

/* ---- taking in ---- */

static void intake_work(struct job *job, struct store *store)
{
    struct service *service = job->owner;
    service->intake_code = store_begin(store, true, &service->intake_err);
    for (struct service_intake *at = service->storing; at != NULL && service->intake_code == ERR_NONE;
         at = at->next)
        service->intake_code = store_delivery_add(store, &at->delivery, &service->intake_err);
    if (service->intake_code == ERR_NONE)
        service->intake_code = store_commit(store, &service->intake_err);
    else
        store_rollback(store);
}

static void intake_after(struct job *job);

static void intake_begin(struct service *service)
{
    if (service->intake_busy || service->intake == NULL)
        return;
    service->intake_busy = true;
    service->storing = service->intake;
    service->intake = service->intake_last = NULL;
    service->intake_job = (struct job){.work = intake_work, .after = intake_after, .owner = service};
    executor_submit(service->runtime->executor, &service->intake_job);
}

static void intake_after(struct job *job)
{
    struct service *service = job->owner;
    struct service_intake *at = service->storing;
    service->intake_busy = false;
    service->storing = NULL;
    while (at != NULL) {
        struct service_intake *next = at->next; /* stored may free it */
        if (service->intake_code == ERR_NONE && !at->delivery.repeated)
            service->counts.deliveries++;
        at->stored(at->ctx, &at->delivery, service->intake_code, &service->intake_err);
        at = next;
    }
    intake_begin(service);
    turn_begin(service);
    tell_if_idle(service);
}

void service_take_in(struct service *service, struct service_intake *intake)
{
    intake->next = NULL;
    if (service->intake_last != NULL)
        service->intake_last->next = intake;
    else
        service->intake = intake;
    service->intake_last = intake;
    intake_begin(service);
}

/* ---- webhooks ---- */

enum webhook_state service_webhook(struct service *service, const char *key, size_t key_len,
                                   const char *secret, size_t secret_len,
                                   const struct capability **capability)
{
    *capability = NULL;
    for (size_t i = 0; i < service->item_count; i++) {
        const struct item *item = &service->items[i];
        if (item->capability->kind != CAPABILITY_WEBHOOK || strlen(item->capability->key) != key_len ||
            memcmp(item->capability->key, key, key_len) != 0)
            continue;
        if (item->endpoint.secret[0] == '\0' || service->stopping)
            return WEBHOOK_LATER;
        if (secret_len != ENDPOINT_SECRET_SIZE - 1 ||
            !crypto_equal(secret, item->endpoint.secret, ENDPOINT_SECRET_SIZE - 1))
            return WEBHOOK_UNKNOWN;
        *capability = item->capability;
        if (item->entry.paused)
            return WEBHOOK_PAUSED;
        return item->endpoint.closed_ms != 0 ? WEBHOOK_CLOSED : WEBHOOK_OPEN;
    }
    return WEBHOOK_UNKNOWN;
}

int64_t service_too_early(struct service *service)
{
    double rate = (double)service->runtime->options.config->limits.webhooks;
    int64_t now = clock_mono_ms();
    service->tokens += (double)(now - service->tokens_ms) * rate / 1000;
    service->tokens_ms = now;
    if (service->tokens > rate) /* as many as come in a second may come at once */
        service->tokens = rate;
    if (service->tokens >= 1) {
        service->tokens -= 1;
        return 0;
    }
    return (int64_t)((1 - service->tokens) * 1000 / rate) + 1;
}

void service_verified(struct service *service, const struct capability *webhook, bool good)
{
    struct item *item = find_item(service, webhook->key);
    if (item == NULL || (good && item->endpoint.failures == 0 && item->refusals == 0))
        return;
    item->reset = item->reset || good;
    item->refusals = good ? 0 : item->refusals + 1;
    turn_begin(service);
}

void service_hold(struct service *service)
{
    service->holds++;
}

void service_release(struct service *service)
{
    service->holds--;
    tell_if_idle(service);
}

/* ---- others on the store ---- */

static void poll_work(struct job *job, struct store *store)
{
    struct service *service = job->owner;
    int64_t others = store_others(store);
    service->poll_changed = others != service->others;
    service->others = others;
}

static void poll_after(struct job *job)
{
    struct service *service = job->owner;
    service->polling = false;
    warm_close_idle(service->runtime, WARM_IDLE_MS);
    if (service->poll_changed || service->poll_recover) {
        service->recover = true;
        service->stale = true;
        service->poll_recover = false;
        turn_begin(service);
    }
    tell_if_idle(service);
}

void service_poll(struct service *service, bool recover)
{
    service->poll_recover = service->poll_recover || recover;
    if (service->polling || service->stopping)
        return;
    service->polling = true;
    service->poll_job = (struct job){.work = poll_work, .after = poll_after, .owner = service};
    executor_submit(service->runtime->executor, &service->poll_job);
}

void service_look(struct service *service)
{
    service->stale = service->recover = true;
    turn_begin(service);
}

/* ---- housekeeping ---- */

static void upkeep_work(struct job *job, struct store *store)
{
    struct service *service = job->owner;
    service->upkeep_more = upkeep_step(&service->upkeep, store, service->runtime->options.config);
}

static void upkeep_after(struct job *job)
{
    struct service *service = job->owner;
    service->upkeep_busy = false;
    if (!service->stopping)
        timer_start(service->upkeep_timer, service->upkeep_more ? UPKEEP_PAUSE_MS : UPKEEP_MS, 0);
    tell_if_idle(service);
}

static void upkeep(void *ctx)
{
    struct service *service = ctx;
    if (service->stopping)
        return;
    service->upkeep_busy = true;
    service->upkeep_job = (struct job){.work = upkeep_work, .after = upkeep_after, .owner = service};
    executor_submit(service->runtime->executor, &service->upkeep_job);
}

/* ---- making and ending ---- */

static void offer(void *ctx)
{
    turn_begin(ctx);
}

static void renew(void *ctx)
{
    struct service *service = ctx;
    if (service->running == NULL)
        return;
    service->renew = true;
    turn_begin(service);
}

static void write_journal(void *ctx)
{
    struct service *service = ctx;
    journal_write(service->journal, service->runtime->executor);
}

static enum err_code make_items(struct service *service, struct err *err)
{
    const struct worker *worker = service->runtime->worker;
    service->items = mem_zalloc((worker->capability_count + 1) * sizeof *service->items);
    if (service->items == NULL)
        return err_nomem(err);
    for (size_t i = 0; i < worker->capability_count; i++) {
        const struct capability *capability = &worker->capabilities[i];
        if (capability->kind == CAPABILITY_TOOL)
            continue;
        struct item *item = &service->items[service->item_count++];
        item->service = service;
        item->capability = capability;
        item->due_ms = item->next_due_ms = INT64_MAX;
        service->has_triggers = service->has_triggers || capability->has_trigger;
        item->scheduled = capability->kind == CAPABILITY_SYNC || capability->kind == CAPABILITY_JOB;
        item->text = item->scheduled ? schedule_text(&capability->schedule) : NULL;
        if (!item->scheduled)
            continue;
        enum err_code code = timetable_init(&item->timetable, &capability->schedule,
                                            service->runtime->options.config->name, capability->key, err);
        if (code != ERR_NONE)
            return code;
    }
    return ERR_NONE;
}

enum err_code service_new(struct runtime *runtime, struct gate *gate, const struct service_events *events,
                          struct service **out, struct err *err)
{
    *out = NULL;
    struct service *service = mem_zalloc(sizeof *service);
    if (service == NULL)
        return err_nomem(err);
    service->runtime = runtime;
    service->gate = gate;
    service->events = *events;
    service->user = (struct gate_user){
        .max = (int64_t)runtime->options.config->limits.concurrency, .offer = offer, .ctx = service};
    enum err_code code = make_items(service, err);
    if (code != ERR_NONE) {
        service->runtime = NULL; /* stays the caller's */
        service_free(service);
        return code;
    }
    service->journal = journal_new();
    service->timer = timer_new(runtime->loop, wake, service);
    service->renew_timer = timer_new(runtime->loop, renew, service);
    timer_start(service->renew_timer, RENEW_MS, RENEW_MS);
    service->upkeep_timer = timer_new(runtime->loop, upkeep, service);
    timer_start(service->upkeep_timer, UPKEEP_FIRST_MS, 0);
    service->journal_timer = timer_new(runtime->loop, write_journal, service);
    timer_start(service->journal_timer, JOURNAL_MS, JOURNAL_MS);
    service->others = -1;
    runtime->keeps_warm = true;
    *out = service;
    return ERR_NONE;
}

bool service_is_idle(const struct service *service)
{
    return service->counts.running == 0 && service->running == NULL && service->ended == NULL &&
           !service->turning && !service->intake_busy && service->intake == NULL && !service->polling &&
           !journal_busy(service->journal) && service->holds == 0 && !service->upkeep_busy;
}

static void tell_if_idle(struct service *service)
{
    if (!service->stopping || service->told_idle || !service_is_idle(service))
        return;
    service->told_idle = true;
    if (service->events.idle != NULL)
        service->events.idle(service->events.ctx, service);
}

void service_stop(struct service *service)
{
    if (service->stopping)
        return;
    service->stopping = true;
    gate_leave(service->gate, &service->user);
    timer_stop(service->timer);
    for (size_t i = 0; i < service->item_count; i++)
        if (service->items[i].cycle != NULL)
            cycle_stop(service->items[i].cycle);
    journal_write(service->journal, service->runtime->executor);
    turn_begin(service);
}

void service_stop_now(struct service *service)
{
    for (struct handling *at = service->running; at != NULL; at = at->next) {
        at->end.outcome = DELIVERY_RELEASED;
        call_stop(at->call, ERR_CANCELLED, "the server stops");
    }
    for (size_t i = 0; i < service->item_count; i++)
        if (service->items[i].cycle != NULL)
            cycle_stop_now(service->items[i].cycle);
}

void service_free(struct service *service)
{
    if (service == NULL)
        return;
    for (size_t i = 0; i < service->item_count; i++)
        mem_free(service->items[i].text);
    mem_free(service->items);
    timer_close(&service->timer);
    timer_close(&service->renew_timer);
    timer_close(&service->journal_timer);
    timer_close(&service->upkeep_timer);
    runtime_free(service->runtime);
    journal_free(service->journal);
    mem_free(service);
}

struct runtime *service_runtime(struct service *service)
{
    return service->runtime;
}

const char *service_name(const struct service *service)
{
    return service->runtime->options.config->name;
}

void service_get_counts(const struct service *service, struct service_counts *out)
{
    *out = service->counts;
    for (const struct handling *at = service->running; at != NULL; at = at->next)
        out->running++;
}

void service_log(struct service *service, const char *run_id, const char *level, const char *text, size_t len)
{
    if (journal_add(service->journal, run_id, level, text, len))
        journal_write(service->journal, service->runtime->executor);
}
