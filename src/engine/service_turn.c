/* What a worker tells the store and asks it, in one transaction (docs/decisions, "One queue of deliveries,
 * and schedules beside it"). Must not touch what belongs to the loop's thread but the turn and the items. */
#include "engine/service_priv.h"

#include "base/clock.h"
#include "base/iso8601.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define LATE_MS 60000                    /* a tick that is later was missed */
#define CLOCK_BACK_MS (24 * 3600 * 1000) /* a clock set back so far was wrong before */

/* ---- schedules ---- */

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
    if (entry->next_ms == INT64_MAX)
        return false;
    if (item->timetable.type == SCHEDULE_INTERVAL)
        return entry->next_ms > now + item->timetable.interval_ms;
    if (item->timetable.type == SCHEDULE_CONTINUOUS) /* there are no ticks that could be run again */
        return now < entry->set_ms;
    return entry->set_ms - now > CLOCK_BACK_MS;
}

struct item *service_item(struct service *service, const char *key)
{
    for (size_t i = 0; i < service->item_count; i++)
        if (strcmp(service->items[i].capability->key, key) == 0)
            return &service->items[i];
    return NULL;
}

#define STALE_TICKS 3 /* without a success */

/* Whether so many ticks have passed since the last success, or since it was first served. */
static bool is_stale(const struct item *item, const struct schedule_entry *entry, int64_t now)
{
    int64_t at = entry->last_success_ms;
    if (at == 0 || entry->paused ||
        (item->timetable.type != SCHEDULE_INTERVAL && item->timetable.type != SCHEDULE_CRON))
        return false;
    for (int i = 0; i < STALE_TICKS && at != TIMETABLE_NEVER; i++)
        at = timetable_next(&item->timetable, at);
    return at < now;
}

/* What is wrong with a sync, for the alerts. */
static void note_trouble(struct item *item, const struct schedule_entry *entry)
{
    const char *message = NULL;
    item->trouble = "";
    item->trouble_message[0] = '\0';
    if (item->capability->kind != CAPABILITY_SYNC)
        return;
    if (entry->failures >= 3) {
        item->trouble = "ERROR";
        message = entry->last_error;
    } else if (entry->held != NULL) {
        item->trouble = "HELD";
        message = entry->held;
    } else if (is_stale(item, entry, clock_now_ms())) {
        item->trouble = "STALE";
    }
    if (message != NULL)
        snprintf(item->trouble_message, sizeof item->trouble_message, "%s", message);
}

static enum err_code keep_entry(void *ctx, const struct schedule_entry *entry)
{
    struct item *item = service_item(ctx, entry->key);
    if (item == NULL)
        return ERR_NONE; /* of a capability that is no longer declared */
    item->entry = *entry;
    item->entry.held = item->entry.last_error = NULL; /* they belong to whoever calls */
    note_trouble(item, entry);
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
    for (size_t i = 0; i < service->item_count; i++) {
        service->items[i].entry = (struct schedule_entry){.next_ms = INT64_MAX};
        service->items[i].trouble = "";
    }
    enum err_code code = store_schedules_each(store, keep_entry, service, err);
    for (size_t i = 0; i < service->item_count && code == ERR_NONE; i++) {
        struct item *item = &service->items[i];
        if (item->entry.retry_ms > now && item->entry.set_ms > now) { /* set by a clock that was ahead */
            item->entry.retry_ms = now;
            code = store_schedule_retry(store, item->capability->key, now, err);
        }
        if (code != ERR_NONE || !item->scheduled ||
            (item->entry.schedule != NULL && !clock_was_ahead(item, now)))
            continue;
        item->entry.next_ms = first_tick(item, now);
        item->entry.set_ms = now;
        item->entry.schedule = item->text;
        item->known = true;
        code = store_schedule_set(store, item->capability->key, item->text, item->entry.next_ms, err);
    }
    return code;
}

int64_t turn_sync_due(const struct item *item)
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
    char lane[JOB_LANE_SIZE];
    job_lane(item->capability->key, lane);
    for (int64_t i = 0; i <= (schedule->missed == MISSED_ALL ? more : 0) && code == ERR_NONE; i++) {
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

/* Tells what has become wrong with a sync, or that nothing is any more: once, not at every failure. */
static enum err_code alert(struct item *item, struct store *store, int64_t now, struct err *err)
{
    struct schedule_entry *entry = &item->entry;
    char time[ISO_UTC_SIZE];
    struct buf event;
    if (!item->service->runtime->worker->has_alert || !item->known ||
        strcmp(item->trouble, entry->alerted) == 0)
        return ERR_NONE;
    bool recovered = item->trouble[0] == '\0';
    buf_init(&event, 64 * 1024);
    buf_addf(&event, "{\"type\":\"%s\",\"at\":\"%s\",\"worker\":", recovered ? "RECOVERED" : item->trouble,
             iso_format_utc(now, time));
    json_write_text(&event, service_name(item->service));
    buf_adds(&event, ",\"sync\":");
    json_write_text(&event, item->capability->key);
    if (item->trouble_message[0] != '\0') {
        buf_adds(&event, ",\"message\":");
        json_write_text(&event, item->trouble_message);
    }
    if (entry->last_success_ms != 0)
        buf_addf(&event, ",\"lastSuccessAt\":\"%s\"", iso_format_utc(entry->last_success_ms, time));
    buf_addc(&event, '}');
    enum err_code code = buf_status(&event, "the alert", err);
    if (code == ERR_NONE)
        code = store_schedule_alert(store, item->capability->key, item->trouble, buf_text(&event), event.len,
                                    err);
    buf_free(&event);
    snprintf(entry->alerted, sizeof entry->alerted, "%s", item->trouble);
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
        if (item->entry.paused) /* what is on its way waits */
            continue;
        /* Those that come later get something as well. */
        int64_t share = (turn->permits + 1) / 2, next_due_ms = INT64_MAX;
        bool last = i + 1 == service->item_count;
        code = store_deliveries_claim(store, item->capability, last ? turn->permits : share, claimed, item,
                                      &next_due_ms, err);
        if (next_due_ms < turn->wake_ms)
            turn->wake_ms = next_due_ms;
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
    bool trouble = item->endpoint_err.code != ERR_NONE;
    if (code != ERR_NONE || !(read || trouble || item->turn_reset || item->turn_refusals > 0))
        return code;
    code = store_endpoint_get(store, key, &item->endpoint, err);
    item->endpoint_err.code = ERR_NONE;
    /* A key that is lost keeps the webhook closed for the time being, and nothing else. */
    if (code == ERR_NOT_FOUND || code == ERR_DENIED || code == ERR_CORRUPT || code == ERR_INVALID) {
        item->endpoint_err = *err;
        item->endpoint.secret[0] = '\0';
        code = ERR_NONE;
    }
    return code;
}

static enum err_code turn_in_transaction(struct service *service, struct store *store, struct err *err)
{
    struct turn *turn = &service->turn;
    int64_t now = clock_now_ms();
    enum err_code code = record_ends(service, store, err);
    if (code == ERR_NONE && turn->renew)
        code = store_deliveries_renew(store, err);
    bool current = true;
    if (code == ERR_NONE)
        code = store_version_current(store, &current, err);
    turn->superseded = !current;
    if (code != ERR_NONE || turn->superseded)
        return code;
    if (code == ERR_NONE && turn->read_schedules)
        code = read_schedules(service, store, now, err);
    if (code == ERR_NONE && turn->read_schedules)
        code = store_tokens_read(store, &turn->tokens, &turn->token_count, err);
    if (code == ERR_NONE && turn->read_schedules)
        code = store_secrets_stamp(store, &turn->secrets_stamp, err);
    for (size_t i = 0; i < service->item_count && code == ERR_NONE && !turn->stopping; i++) {
        struct item *item = &service->items[i];
        if (item->capability->kind == CAPABILITY_SYNC && turn->read_schedules)
            code = skip(item, store, now, err);
        if (code == ERR_NONE && item->capability->kind == CAPABILITY_SYNC && turn->read_schedules)
            code = alert(item, store, now, err);
        if (code == ERR_NONE && item->capability->kind != CAPABILITY_SYNC && turn->recover)
            code = store_deliveries_clock(store, item->capability->key, err);
        if (code == ERR_NONE && item->capability->kind == CAPABILITY_WEBHOOK)
            code = update_endpoint(item, turn->read_schedules, store, err);
        if (code != ERR_NONE || item->capability->kind != CAPABILITY_JOB)
            continue;
        code = tick(item, store, now, err);
        if (!item->entry.paused && item->entry.next_ms < turn->wake_ms)
            turn->wake_ms = item->entry.next_ms;
    }
    if (code == ERR_NONE && turn->permits > 0)
        code = claim_all(service, store, err);
    return code;
}

void turn_work(struct job *job, struct store *store)
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
