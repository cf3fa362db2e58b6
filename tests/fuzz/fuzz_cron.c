/* libFuzzer harness for cron expressions and their ticks: no text may crash or hang, and a tick is later than
 * the moment asked about, at a minute that the fields match, or where clocks were set forward over one;
 * between the two there is no other.
 *
 * The first byte chooses the zone, the next eight the moment; the rest is the expression. */
#include "base/iso8601.h"
#include "worker/due.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MINUTE_MS INT64_C(60000)
#define TEXT_MAX 1024
#define TICKS 12
#define LOOKED_AT 400 /* minutes between two ticks */

static const char *const zones[] = {"UTC",
                                    "Europe/Berlin",
                                    "Europe/Dublin",
                                    "America/New_York",
                                    "America/Sao_Paulo",
                                    "America/Santiago",
                                    "Australia/Lord_Howe",
                                    "Africa/Cairo",
                                    "Africa/Casablanca",
                                    "Africa/Monrovia",
                                    "America/Sitka",
                                    "Antarctica/Troll",
                                    "Asia/Beirut",
                                    "Asia/Gaza",
                                    "Asia/Kolkata",
                                    "Asia/Manila",
                                    "Pacific/Apia",
                                    "Pacific/Kwajalein"};
#define ZONE_COUNT (sizeof zones / sizeof zones[0])

static void broken(const char *what, const char *text, int64_t ms)
{
    fprintf(stderr, "%s: \"%s\" at %lld\n", what, text, (long long)ms);
    abort();
}

static int64_t floor_to(int64_t a, int64_t unit)
{
    return a - ((a % unit) + unit) % unit;
}

/* Field by field, for the minute that begins at a local time. */
static bool matches(const struct cron *cron, int64_t local_ms)
{
    struct iso_time t;
    if (local_ms < ISO_MIN_MS || local_ms > ISO_MAX_MS || floor_to(local_ms, MINUTE_MS) != local_ms)
        return false;
    iso_from_unix_ms(local_ms, 0, &t);
    int64_t days = iso_days(t.year, t.month, t.day);
    int weekday = (int)(((days + 4) % 7 + 7) % 7);
    bool last = t.day == iso_days_in_month(t.year, t.month) && (cron->days & (1u << CRON_LAST_DAY)) != 0;
    bool by_day = (cron->days >> t.day & 1) != 0 || last;
    bool by_weekday = (cron->weekdays >> weekday & 1) != 0;
    bool day = cron->any_day || cron->any_weekday ? by_day && by_weekday : by_day || by_weekday;
    return (cron->minutes >> t.minute & 1) != 0 && (cron->hours >> t.hour & 1) != 0 &&
           (cron->months >> t.month & 1) != 0 && day;
}

static int64_t local_of(const struct zone *zone, int64_t ms)
{
    return ms + (int64_t)zone_offset_at(zone, ms).seconds * 1000;
}

/* Whether clocks showed a local time, or a later one, in the three days before a moment. */
static bool shown_before(const struct zone *zone, int64_t local_ms, int64_t ms)
{
    for (int64_t at = ms - 3 * 1440 * MINUTE_MS, end; at < ms; at = end) {
        if (!zone_next_transition(zone, at, &end) || end > ms)
            end = ms;
        if (local_of(zone, at) + (end - 1 - at) >= local_ms)
            return true;
    }
    return false;
}

/* Whether there is a tick at a moment, said in another way than due.c finds it. */
static bool is_tick(const struct timetable *timetable, int64_t ms)
{
    const struct zone *zone = timetable->zone;
    int64_t local = local_of(zone, ms), before = local_of(zone, ms - 1) + 1;
    if (timetable->cron.hours == (1u << 24) - 1)
        return matches(&timetable->cron, local);
    if (matches(&timetable->cron, local) && !shown_before(zone, local, ms))
        return true;
    for (int64_t skipped = floor_to(before + MINUTE_MS - 1, MINUTE_MS); skipped < local;
         skipped += MINUTE_MS) {
        if (matches(&timetable->cron, skipped) && !shown_before(zone, skipped, ms))
            return true;
    }
    return false;
}

/* From after_ms on, at each moment at which a tick can be: there must be none before the end. */
static void check_between(const struct timetable *timetable, const char *text, int64_t after_ms, int64_t end)
{
    int64_t at = after_ms, transition;
    for (int i = 0; i < LOOKED_AT; i++) {
        int64_t local = local_of(timetable->zone, at);
        int64_t next = at + floor_to(local, MINUTE_MS) + MINUTE_MS - local;
        if (zone_next_transition(timetable->zone, at, &transition) && transition < next)
            next = transition;
        if (next >= end || next > ISO_MAX_MS - 2 * 1440 * MINUTE_MS)
            return;
        if (is_tick(timetable, next))
            broken("a tick was left out", text, next);
        at = next;
    }
}

static void check_ticks(const struct timetable *timetable, const char *text, int64_t from)
{
    int64_t at = from, last = 0;
    for (int i = 0; i < TICKS; i++) {
        int64_t next = timetable_next(timetable, at);
        if (next <= at)
            broken("a tick is not later", text, at);
        if (at > ISO_MIN_MS + 4 * 1440 * MINUTE_MS)
            check_between(timetable, text, at, next);
        if (next == TIMETABLE_NEVER)
            return;
        if (next < ISO_MIN_MS || next > ISO_MAX_MS)
            broken("a tick is outside", text, next);
        if (next > ISO_MIN_MS + 4 * 1440 * MINUTE_MS && !is_tick(timetable, next))
            broken("a tick is none", text, next);
        at = next;
    }
    if (timetable_missed(timetable, from, at, 2, &last) != 2 || last != at ||
        timetable_missed(timetable, from, at, TICKS + 1, &last) != TICKS || last != at)
        broken("ticks are not counted", text, from);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct schedule schedule = {.type = SCHEDULE_CRON};
    struct timetable timetable;
    struct err err = {.message = ""};
    char text[TEXT_MAX + 1];
    uint64_t bits;
    if (size < 1 + sizeof bits || size - 1 - sizeof bits > TEXT_MAX)
        return 0;
    schedule.timezone = zones[data[0] % ZONE_COUNT];
    memcpy(&bits, data + 1, sizeof bits);
    size_t len = size - 1 - sizeof bits;
    memcpy(text, data + 1 + sizeof bits, len);
    text[len] = '\0';
    if (cron_parse(text, &schedule.cron, &err) != ERR_NONE) {
        if (err.message[0] == '\0')
            broken("no message", text, 0);
        return 0;
    }
    const struct cron *cron = &schedule.cron;
    if (cron->minutes == 0 || cron->hours == 0 || cron->days == 0 || cron->months == 0 || cron->weekdays == 0)
        broken("an empty set", text, 0);
    if (timetable_init(&timetable, &schedule, "worker", "sync", &err) != ERR_NONE)
        return 0; /* a system without time zones */
    check_ticks(&timetable, text, ISO_MIN_MS + (int64_t)(bits % (uint64_t)(ISO_MAX_MS - ISO_MIN_MS)));
    /* Nearer: the years 1840 to 2100, most of which have transitions in the database. */
    int64_t first = INT64_C(-4102444800000), years = INT64_C(260) * 366 * 1440 * MINUTE_MS;
    int64_t near = first + (int64_t)(bits % (uint64_t)years), transition;
    check_ticks(&timetable, text, near);
    if (zone_next_transition(timetable.zone, near, &transition)) {
        int64_t around = (int64_t)(bits >> 32) % (2 * 1440 * MINUTE_MS);
        check_ticks(&timetable, text, transition - around);
        check_ticks(&timetable, text, transition);
        check_ticks(&timetable, text, transition - 1);
    }
    return 0;
}
