/* When a schedule is due. Must not read a clock.
 *
 * A cron tick is found in two steps: the next local time that matches, by months, days, hours and minutes,
 * not one minute after the other; and the moment at which clocks show it. */
#include "worker/due.h"

#include "base/iso8601.h"

#include <string.h>

#define MINUTE_MS INT64_C(60000)
#define DAY_MS INT64_C(86400000)
#define ALL_HOURS ((1u << 24) - 1)

/* A date that does not come within so many years never does. The rarest there is, February 29th on one day of
 * the week, comes every 28 years, or 40 over a year such as 2100. */
#define SEARCH_YEARS 40

/* Offsets from UTC lie within 52 hours of each other (RFC 9636 section 3.2: -25 to 26 hours). So clocks never
 * show again what they showed earlier than that. */
#define SWING_MS (INT64_C(52) * 60 * MINUTE_MS)

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

/* ---- the calendar: local times ---- */

/* The days of a month that match: bit n says that day n does. */
static uint64_t days_in(const struct cron *cron, int year, int month)
{
    int count = iso_days_in_month(year, month);
    uint64_t all = ((UINT64_C(1) << count) - 1) << 1;
    uint64_t by_day = cron->days;
    if (by_day & (1u << CRON_LAST_DAY))
        by_day |= UINT64_C(1) << count;
    int64_t day_before = iso_days(year, month, 1) - 1;
    int weekday_before = (int)((day_before + 4) - 7 * floor_divide(day_before + 4, 7)); /* 1970-01-01: 4 */
    uint64_t weeks = 0; /* bit n: a day that is n days after a Sunday */
    for (int i = 0; i < 6; i++)
        weeks |= (uint64_t)cron->weekdays << (7 * i);
    uint64_t by_weekday = weeks >> weekday_before;
    uint64_t match = cron->any_day ? by_weekday : cron->any_weekday ? by_day : by_day | by_weekday;
    return match & all;
}

/* The first day from a date on that matches, in days since 1970; TIMETABLE_NEVER. */
static int64_t next_day(const struct cron *cron, const struct iso_time *from)
{
    int day = from->day, month = from->month;
    for (int year = from->year; year <= from->year + SEARCH_YEARS && year <= 9999; year++, month = 1) {
        for (; month <= 12; month++, day = 1) {
            if ((cron->months >> month & 1) == 0)
                continue;
            uint64_t days = days_in(cron, year, month) >> day << day;
            if (days != 0)
                return iso_days(year, month, __builtin_ctzll(days));
        }
    }
    return TIMETABLE_NEVER;
}

/* The first minute of the day from one on that matches; -1 when there is none that day. */
static int next_minute(const struct cron *cron, int from)
{
    int hour = from / 60, minute = from % 60;
    uint64_t minutes = cron->minutes >> minute;
    if ((cron->hours >> hour & 1) != 0 && minutes != 0)
        return from + __builtin_ctzll(minutes);
    uint32_t later = cron->hours >> hour >> 1;
    return later == 0 ? -1 : (hour + 1 + __builtin_ctz(later)) * 60 + __builtin_ctzll(cron->minutes);
}

/* The first local time from one on that matches; TIMETABLE_NEVER. */
static int64_t next_match(const struct cron *cron, int64_t local_ms)
{
    if (local_ms > ISO_MAX_MS)
        return TIMETABLE_NEVER;
    if (local_ms < ISO_MIN_MS)
        local_ms = ISO_MIN_MS;
    int64_t minutes = floor_divide(local_ms + MINUTE_MS - 1, MINUTE_MS);
    int64_t today = floor_divide(minutes * MINUTE_MS, DAY_MS);
    int minute = next_minute(cron, (int)(minutes - today * (DAY_MS / MINUTE_MS)));
    int64_t from = minute >= 0 ? today : today + 1;
    if (from * DAY_MS > ISO_MAX_MS)
        return TIMETABLE_NEVER;
    struct iso_time date;
    iso_from_unix_ms(from * DAY_MS, 0, &date);
    int64_t day = next_day(cron, &date);
    if (day == TIMETABLE_NEVER)
        return TIMETABLE_NEVER;
    if (day != today)
        minute = next_minute(cron, 0);
    return day * DAY_MS + minute * MINUTE_MS;
}

/* ---- the clocks of a zone ---- */

static int64_t offset_at(const struct zone *zone, int64_t ms)
{
    return (int64_t)zone_offset_at(zone, ms).seconds * 1000;
}

/* The end of the stretch of time with one offset that a moment lies in; INT64_MAX when it has none. */
static int64_t stretch_end(const struct zone *zone, int64_t ms)
{
    int64_t at;
    return zone_next_transition(zone, ms, &at) ? at : INT64_MAX;
}

/* The latest time that clocks have shown up to a moment: after they were set back, not what they show then.
 */
static int64_t latest_shown(const struct zone *zone, int64_t ms)
{
    int64_t latest = INT64_MIN;
    for (int64_t at = ms - SWING_MS; at <= ms;) {
        int64_t end = stretch_end(zone, at);
        int64_t shown = (end <= ms ? end - 1 : ms) + offset_at(zone, at);
        if (shown > latest)
            latest = shown;
        at = end;
    }
    return latest;
}

/* The first moment after after_ms, when they do not yet, at which clocks show a time or a later one. */
static int64_t first_shown(const struct zone *zone, int64_t local_ms, int64_t after_ms)
{
    int64_t at = local_ms - SWING_MS > after_ms ? local_ms - SWING_MS : after_ms;
    for (;;) {
        int64_t moment = local_ms - offset_at(zone, at);
        int64_t end = stretch_end(zone, at);
        if (moment < end)
            return moment > at ? moment : at; /* at: it was skipped */
        at = end;
    }
}

/* ---- ticks ---- */

static int64_t next_time_of_day(const struct cron *cron, const struct zone *zone, int64_t after_ms)
{
    int64_t match = next_match(cron, latest_shown(zone, after_ms) + 1);
    return match == TIMETABLE_NEVER ? TIMETABLE_NEVER : first_shown(zone, match, after_ms);
}

static int64_t next_elapsed(const struct cron *cron, const struct zone *zone, int64_t after_ms)
{
    int64_t at = after_ms + 1;
    for (;;) {
        int64_t offset = offset_at(zone, at);
        int64_t end = stretch_end(zone, at);
        int64_t match = next_match(cron, at + offset);
        if (match != TIMETABLE_NEVER && match - offset < end)
            return match - offset;
        if (end > at + SWING_MS) {
            /* After that stretch clocks show nothing that lies before the match. */
            if (match == TIMETABLE_NEVER)
                return TIMETABLE_NEVER;
            if (match - SWING_MS > end)
                end = match - SWING_MS;
        }
        at = end;
    }
}

static int64_t next_of_interval(const struct timetable *timetable, int64_t after_ms)
{
    int64_t passed = floor_divide(after_ms - timetable->phase_ms, timetable->interval_ms);
    return timetable->phase_ms + (passed + 1) * timetable->interval_ms;
}

int64_t timetable_next(const struct timetable *timetable, int64_t after_ms)
{
    int64_t next = TIMETABLE_NEVER;
    if (timetable->type == SCHEDULE_CONTINUOUS)
        return after_ms;
    if (after_ms >= ISO_MAX_MS)
        return TIMETABLE_NEVER;
    if (after_ms < ISO_MIN_MS)
        after_ms = ISO_MIN_MS - 1;
    switch (timetable->type) {
    case SCHEDULE_CONTINUOUS:
    case SCHEDULE_MANUAL:
        break;
    case SCHEDULE_INTERVAL:
        next = next_of_interval(timetable, after_ms);
        break;
    case SCHEDULE_CRON:
        next = timetable->cron.hours == ALL_HOURS
                   ? next_elapsed(&timetable->cron, timetable->zone, after_ms)
                   : next_time_of_day(&timetable->cron, timetable->zone, after_ms);
        break;
    }
    return next <= ISO_MAX_MS ? next : TIMETABLE_NEVER;
}

/* The last tick up to ms, where first_ms is one: what comes next is asked for ever later moments. */
static int64_t last_tick(const struct timetable *timetable, int64_t first_ms, int64_t ms)
{
    int64_t tick = first_ms, none_after = ms; /* between the two lie all ticks that may be the last */
    for (;;) {
        int64_t next = timetable_next(timetable, tick);
        if (next > ms)
            return tick;
        int64_t middle = next + (none_after - next) / 2;
        int64_t beyond = timetable_next(timetable, middle);
        if (beyond > ms)
            none_after = middle;
        tick = beyond > ms ? next : beyond;
    }
}

int64_t timetable_missed(const struct timetable *timetable, int64_t after_ms, int64_t ms, int64_t max,
                         int64_t *last_ms)
{
    if (timetable->type == SCHEDULE_CONTINUOUS)
        return 0;
    if (ms > ISO_MAX_MS)
        ms = ISO_MAX_MS;
    int64_t tick = timetable_next(timetable, after_ms), count = 0;
    if (tick > ms)
        return 0;
    if (timetable->type == SCHEDULE_INTERVAL) {
        count = (ms - tick) / timetable->interval_ms + 1;
        *last_ms = tick + (count - 1) * timetable->interval_ms;
        return count < max ? count : max;
    }
    for (; tick <= ms && count < max; tick = timetable_next(timetable, tick)) {
        *last_ms = tick;
        count++;
    }
    *last_ms = last_tick(timetable, *last_ms, ms);
    return count;
}

/* ---- making ready ---- */

static uint64_t fnv1a(uint64_t hash, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static int64_t phase_of(const char *worker, const char *capability, int64_t interval_ms)
{
    uint64_t hash = fnv1a(UINT64_C(0xcbf29ce484222325), worker, strlen(worker) + 1); /* with its zero byte */
    hash = fnv1a(hash, capability, strlen(capability));
    hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
    hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    hash ^= hash >> 33;
    return (int64_t)(hash % (uint64_t)interval_ms);
}

enum err_code timetable_init(struct timetable *out, const struct schedule *schedule, const char *worker,
                             const char *capability, struct err *err)
{
    *out = (struct timetable){.type = schedule->type, .zone = zone_utc()};
    if (schedule->type == SCHEDULE_INTERVAL) {
        out->interval_ms = schedule->interval_ms;
        out->phase_ms = phase_of(worker, capability, schedule->interval_ms);
    } else if (schedule->type == SCHEDULE_CRON) {
        out->cron = schedule->cron;
        return zone_find(schedule->timezone, strlen(schedule->timezone), &out->zone, err);
    }
    return ERR_NONE;
}
