/* Serving one worker. Must not write rows or state: cycles do. */
#include "engine/oauth.h"
#include "engine/service_priv.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/call.h"
#include "engine/cycle.h"
#include "engine/warm.h"
#include "script/timer.h"

#include <stdio.h>
#include <string.h>

#define TURN_CLAIMS 64          /* deliveries taken in one turn */
#define ATTEMPTS 4              /* of a delivery: the first and three more */
#define BUSY_MS 20              /* before it is tried again */
#define LOOK_AGAIN_MS 1000      /* after the store could not be used */
#define RENEW_MS (LEASE_MS / 3) /* of what this process runs */
#define JOURNAL_MS 200
#define LOOK_MS 10000 /* for what has become stale */
#define WARM_IDLE_MS 10000
#define REST_MS 10000         /* without work, before memory is given back */
#define UPKEEP_FIRST_MS 10000 /* after the start */
#define UPKEEP_MS (10 * 60 * 1000)
#define UPKEEP_PAUSE_MS 20 /* between two steps of it: others want the store */
#define RECORD_BYTES 1000  /* a run and its delivery, about */
#define LINE_BYTES 150     /* a log line beside its text, about */

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

/* Keeps account of what records and logs grow by: much of it is looked after soon. */
static void wrote(struct service *service, size_t bytes)
{
    service->written += bytes;
    if (service->upkeep_soon || service->stopping ||
        !upkeep_is_due(service->runtime->options.config, service->written))
        return;
    service->upkeep_soon = true;
    if (!service->upkeep_busy)
        timer_start(service->upkeep_timer, UPKEEP_PAUSE_MS, 0);
}

static void ended(struct handling *handling)
{
    struct service *service = handling->service;
    wrote(service, RECORD_BYTES + handling->delivery.event_len + handling->delivery.body_len);
    remove_running(handling);
    handling->next = service->ended;
    service->ended = handling;
    gate_give(service->gate, &service->user, 1);
    service_turn(service);
}

static void decide_failure(struct handling *handling, const struct call_end *end)
{
    struct delivery_end *out = &handling->end;
    int64_t attempt = handling->delivery.attempt;
    if (handling->service->stopping && handling->end.outcome == DELIVERY_RELEASED)
        return; /* it was stopped by us */
    out->outcome = attempt >= ATTEMPTS || end->unverified ? DELIVERY_DEAD : DELIVERY_RETRY;
    out->wait_ms = cycle_backoff_ms(attempt);
    if (end->rate_limited) { /* which is no failure */
        int64_t wait = end->retry_after > 0 ? (int64_t)(end->retry_after * 1000) : 0;
        out->outcome = DELIVERY_LATER;
        if (wait > out->wait_ms)
            out->wait_ms = wait;
    }
}

static void report(struct service *service, const struct run_report *report)
{
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
        out->failure = end->failure;
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
    /* The store says when it is tried again, unless it could not even take that. */
    if (end->outcome == RUN_FAILED)
        item->held_until_ms = clock_mono_ms() + LOOK_AGAIN_MS;
    wrote(service, RECORD_BYTES);
    item->cycle = NULL;
    service->cycles--;
    cycle_free(cycle);
    gate_give(service->gate, &service->user, 1);
    service->stale = true;
    service_turn(service);
}

/* A page may have fired automations. */
static void committed(void *ctx)
{
    struct service *service = ctx;
    if (service->has_triggers)
        service_turn(service);
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
    service->cycles++;
    return true;
}

static void start_syncs(struct service *service, int64_t *permits)
{
    int64_t now = clock_now_ms();
    for (size_t i = 0; *permits > 0 && i < service->item_count; i++) {
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
    struct service *service = ctx;
    service->failing = false;
    service_turn(service);
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
    service->failing = true; /* until then, whatever comes waits */
    timer_start(service->timer, turn->err.code == ERR_BUSY ? BUSY_MS : LOOK_AGAIN_MS, 0);
}

static int64_t sync_due(const struct item *item)
{
    int64_t due = turn_sync_due(item), held = item->held_until_ms - clock_mono_ms();
    int64_t earliest = held > 0 ? clock_now_ms() + held : 0;
    return due > earliest ? due : earliest;
}

/* What the turn has read becomes what the loop's side knows. */
static void is_superseded(struct service *service)
{
    service->superseded = true;
    if (service->events.superseded != NULL)
        service->events.superseded(service->events.ctx, service);
}

/* Once, until it can be read again. */
static void say_endpoint(const struct service *service, struct item *item)
{
    const struct runtime_options *options = &service->runtime->options;
    bool trouble = item->endpoint_err.code != ERR_NONE;
    if (trouble && !item->endpoint_said && options->log != NULL)
        options->log(options->log_ctx, item->capability->key, NULL, "error", item->endpoint_err.message,
                     strlen(item->endpoint_err.message));
    item->endpoint_said = trouble;
}

static void take_over(struct service *service, struct turn *turn)
{
    for (size_t i = 0; i < service->item_count; i++) {
        struct item *item = &service->items[i];
        item->shown = item->endpoint;
        say_endpoint(service, item);
        item->shown_paused = item->entry.paused;
        if (turn->read_schedules && item->capability->kind == CAPABILITY_SYNC)
            item->due_ms = sync_due(item);
    }
    if (!turn->read_schedules)
        return;
    mem_free(service->tokens);
    service->tokens = turn->tokens;
    service->token_count = turn->token_count;
    turn->tokens = NULL;
    /* What a script has read is in its variables. */
    if (environment_changed(service->runtime->environment, turn->secrets_stamp))
        warm_close_idle(service->runtime, 0);
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
        if (!turn->superseded)
            take_over(service, turn);
        while (turn->claimed != NULL) {
            struct handling *next = turn->claimed->next;
            handle(service, turn->claimed);
            turn->claimed = next;
        }
        permits = turn->permits;
        if (!service->stopping && !service->superseded && !turn->superseded)
            start_syncs(service, &permits);
        if (permits > 0) /* there were enough: what is given back would be offered to itself, for ever */
            gate_leave(service->gate, &service->user);
        int64_t due = next_sync_due(service);
        due = turn->wake_ms < due ? turn->wake_ms : due;
        /* What is due and got no permit comes when the gate offers some. */
        if (!service->user.waiting || due > clock_now_ms())
            sleep_until(service, due);
    }
    mem_free(turn->tokens);
    turn->tokens = NULL;
    if (permits > 0)
        gate_give(service->gate, &service->user, permits);
    if (turn->done && turn->superseded)
        is_superseded(service);
    if (service->again || service->ended != NULL)
        service_turn(service);
    service_tell_if_idle(service);
}

void service_turn(struct service *service)
{
    struct turn *turn = &service->turn;
    if (service->turning || service->failing) {
        service->again = service->turning;
        return;
    }
    if (service->stopping && service->ended == NULL && !service->renew) {
        service_tell_if_idle(service);
        return;
    }
    timer_stop(service->timer);
    service->used_ms = clock_mono_ms();
    service->resting = false;
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

/* ---- others on the store ---- */

static void poll_work(struct job *job, struct store *store)
{
    struct service *service = job->owner;
    int64_t others = store_others(store);
    service->poll_changed = others != service->others;
    service->others = others;
    bool current = true;
    struct err ignored;
    if (service->poll_changed && store_version_current(store, &current, &ignored) == ERR_NONE)
        service->poll_superseded = !current;
    if (service->poll_rest)
        store_rest(store);
}

static void poll_after(struct job *job)
{
    struct service *service = job->owner;
    service->polling = false;
    if (service->poll_superseded)
        is_superseded(service);
    service->resting = service->resting || service->poll_rest;
    service->given_back = service->given_back || service->poll_rest;
    warm_close_idle(service->runtime, WARM_IDLE_MS);
    /* What goes stale does so without anybody's doing. */
    bool again = service->runtime->worker->has_alert && clock_mono_ms() - service->looked_ms >= LOOK_MS;
    if (again)
        service->looked_ms = clock_mono_ms();
    if (service->poll_changed || service->poll_recover || again) {
        service->recover = true;
        service->stale = true;
        service->poll_recover = false;
        service_turn(service);
    }
    service_tell_if_idle(service);
}

void service_poll(struct service *service, bool recover)
{
    service->poll_recover = service->poll_recover || recover;
    if (service->polling || service->stopping)
        return;
    if (!service_is_idle(service)) {
        service->used_ms = clock_mono_ms();
        service->resting = false;
    }
    service->poll_rest = !service->resting && clock_mono_ms() - service->used_ms >= REST_MS;
    service->polling = true;
    service->poll_job = (struct job){.work = poll_work, .after = poll_after, .owner = service};
    executor_submit(service->runtime->executor, &service->poll_job);
}

void service_variables_changed(struct service *service)
{
    environment_read_again(service->runtime->environment);
    warm_close_idle(service->runtime, 0);
}

bool service_is_superseded(const struct service *service)
{
    return service->superseded;
}

bool service_gave_back(struct service *service)
{
    bool given_back = service->given_back;
    service->given_back = false;
    return given_back;
}

void service_look(struct service *service)
{
    service->stale = service->recover = true;
    service_turn(service);
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
        timer_start(service->upkeep_timer,
                    service->upkeep_more || service->upkeep_soon ? UPKEEP_PAUSE_MS : UPKEEP_MS, 0);
    service_tell_if_idle(service);
}

static void upkeep(void *ctx)
{
    struct service *service = ctx;
    if (service->stopping)
        return;
    if (!service->upkeep_more) { /* it looks anew */
        service->written = 0;
        service->upkeep_soon = false;
    }
    service->upkeep_busy = true;
    service->upkeep_job = (struct job){.work = upkeep_work, .after = upkeep_after, .owner = service};
    executor_submit(service->runtime->executor, &service->upkeep_job);
}

/* ---- making and ending ---- */

static void offer(void *ctx)
{
    service_turn(ctx);
}

static void renew(void *ctx)
{
    struct service *service = ctx;
    if (service->running == NULL)
        return;
    service->renew = true;
    service_turn(service);
}

static void write_journal(void *ctx)
{
    struct service *service = ctx;
    journal_write(service->journal, service->runtime->executor);
}

static char *schedule_text(const struct schedule *schedule)
{
    struct buf text;
    buf_init(&text, 1024);
    schedule_write(schedule, &text);
    char *copy = buf_take(&text, NULL);
    return copy != NULL ? copy : mem_need_str("");
}

static enum err_code make_items(struct service *service, struct err *err)
{
    const struct worker *worker = service->runtime->worker;
    service->items = mem_zalloc((worker->capability_count + 2) * sizeof *service->items);
    if (service->items == NULL)
        return err_nomem(err);
    for (size_t i = 0; i < worker->capability_count; i++) {
        const struct capability *capability = &worker->capabilities[i];
        if (capability->kind == CAPABILITY_TOOL)
            continue;
        struct item *item = &service->items[service->item_count++];
        item->service = service;
        item->capability = capability;
        item->due_ms = INT64_MAX;
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
    if (worker->has_alert) {
        service->alert = (struct capability){.kind = CAPABILITY_AUTOMATION, .key = WORKER_ALERT};
        struct item *item = &service->items[service->item_count++];
        *item = (struct item){.service = service, .capability = &service->alert, .due_ms = INT64_MAX};
    }
    return ERR_NONE;
}

static void oauth_over(void *ctx)
{
    service_tell_if_idle(ctx);
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
    /* They are read again with the turns; but who asks before the first one is known as well. */
    if (code == ERR_NONE)
        code = store_tokens_read(runtime->store, &service->tokens, &service->token_count, err);
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
    runtime->oauth_over = oauth_over;
    runtime->oauth_ctx = service;
    *out = service;
    return ERR_NONE;
}

bool service_is_idle(const struct service *service)
{
    return service->cycles == 0 && service->running == NULL && service->ended == NULL && !service->turning &&
           !service->intake_busy && service->intake == NULL && !service->polling &&
           !journal_busy(service->journal) && service->holds == 0 && !service->upkeep_busy &&
           !oauth_is_busy(service->runtime);
}

void service_tell_if_idle(struct service *service)
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
    service->failing = false;
    for (size_t i = 0; i < service->item_count; i++)
        if (service->items[i].cycle != NULL)
            cycle_stop(service->items[i].cycle);
    journal_write(service->journal, service->runtime->executor);
    service_turn(service);
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
    mem_free(service->tokens);
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

void service_log(struct service *service, const char *run_id, const char *level, const char *text, size_t len)
{
    wrote(service, LINE_BYTES + len);
    if (journal_add(service->journal, run_id, level, text, len))
        journal_write(service->journal, service->runtime->executor);
}
