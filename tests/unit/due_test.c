/* When schedules are due: fields, days, clocks that are set forward and back, the spread of intervals. */
#include "base/iso8601.h"
#include "worker/due.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

static int64_t ms_of(const char *text)
{
    struct iso_time t;
    struct err err;
    if (iso_parse(text, strlen(text), &t, &err) != ERR_NONE)
        fail_msg("%s", err.message);
    return iso_unix_ms(&t);
}

static struct timetable cron(const char *zone, const char *text)
{
    struct schedule schedule = {.type = SCHEDULE_CRON, .cron_text = text, .timezone = zone};
    struct timetable timetable;
    struct err err;
    if (cron_parse(text, &schedule.cron, &err) != ERR_NONE ||
        timetable_init(&timetable, &schedule, "worker", "sync", &err) != ERR_NONE)
        fail_msg("%s", err.message);
    return timetable;
}

static struct timetable interval(const char *text, const char *worker, const char *capability)
{
    struct schedule schedule;
    struct timetable timetable;
    struct err err;
    if (schedule_parse(text, &schedule, &err) != ERR_NONE ||
        timetable_init(&timetable, &schedule, worker, capability, &err) != ERR_NONE)
        fail_msg("%s", err.message);
    return timetable;
}

/* The ticks after a moment, as local time with the offset, must be these, a space between two. */
static void ticks(const char *zone, const char *text, const char *after, const char *expected)
{
    struct timetable timetable = cron(zone, text);
    char got[2048] = "";
    int64_t at = ms_of(after);
    for (const char *rest = expected; rest != NULL; rest = strchr(rest + 1, ' ')) {
        size_t len = strlen(got);
        int64_t next = timetable_next(&timetable, at);
        char shown[ISO_FORMAT_SIZE] = "never";
        if (next <= at)
            fail_msg("%s in %s: the tick after %lld is %lld", text, zone, (long long)at, (long long)next);
        if (next != TIMETABLE_NEVER)
            iso_format(next, zone_offset_at(timetable.zone, next).seconds / 60, ISO_MINUTES, shown);
        snprintf(got + len, sizeof got - len, "%s%s", len > 0 ? " " : "", shown);
        at = next;
    }
    if (strcmp(got, expected) != 0)
        fail_msg("%s in %s after %s:\n%s, not\n%s", text, zone, after, got, expected);
}

static void fields(void **state)
{
    (void)state;
    const char *after = "2024-01-01T00:00Z"; /* a Monday */
    ticks("UTC", "* * * * *", after, "2024-01-01T00:01Z 2024-01-01T00:02Z");
    ticks("UTC", "*/25 * * * *", after, "2024-01-01T00:25Z 2024-01-01T00:50Z 2024-01-01T01:00Z");
    ticks("UTC", "59 23 * * *", after, "2024-01-01T23:59Z 2024-01-02T23:59Z");
    ticks("UTC", "0 0 * * *", "2023-12-31T23:59:59.999Z", "2024-01-01T00:00Z 2024-01-02T00:00Z");
    ticks("UTC", "5,10 1-3/2 * * *", after, "2024-01-01T01:05Z 2024-01-01T01:10Z 2024-01-01T03:05Z");
    ticks("UTC", "0 9 * * 1-5", "2024-01-05T09:00Z", "2024-01-08T09:00Z 2024-01-09T09:00Z");
    ticks("UTC", "0 9 * * 7", after, "2024-01-07T09:00Z 2024-01-14T09:00Z");
    ticks("UTC", "0 9 * jul,dec sat", after, "2024-07-06T09:00Z 2024-07-13T09:00Z");
    ticks("UTC", "0 0 31 * *", after, "2024-01-31T00:00Z 2024-03-31T00:00Z 2024-05-31T00:00Z");
    ticks("UTC", "0 0 1 1 *", after, "2025-01-01T00:00Z 2026-01-01T00:00Z");
    /* Before 1970, where remainders are negative. */
    ticks("UTC", "0 12 * * thu", "1969-12-20T00:00Z", "1969-12-25T12:00Z 1970-01-01T12:00Z");
    ticks("UTC", "30 5 29 2 *", "1895-06-01T00:00Z", "1896-02-29T05:30Z 1904-02-29T05:30Z");
}

static void either_day(void **state)
{
    (void)state;
    const char *after = "2024-09-01T00:00Z"; /* a Sunday */
    ticks("UTC", "0 0 13 * fri", after, "2024-09-06T00:00Z 2024-09-13T00:00Z 2024-09-20T00:00Z");
    ticks("UTC", "0 0 13 * *", after, "2024-09-13T00:00Z 2024-10-13T00:00Z");
    ticks("UTC", "0 0 * * fri", after, "2024-09-06T00:00Z 2024-09-13T00:00Z");
    /* A step restricts. */
    ticks("UTC", "0 0 */10 * tue", after, "2024-09-03T00:00Z 2024-09-10T00:00Z 2024-09-11T00:00Z");
}

static void extensions(void **state)
{
    (void)state;
    const char *after = "2024-01-31T00:00Z";
    ticks("UTC", "0 0 L * *", after, "2024-02-29T00:00Z 2024-03-31T00:00Z 2024-04-30T00:00Z");
    ticks("UTC", "0 0 15,l 2,4 *", after, "2024-02-15T00:00Z 2024-02-29T00:00Z 2024-04-15T00:00Z");
    ticks("UTC", "0 0 L 2 *", "2025-01-01T00:00Z", "2025-02-28T00:00Z 2026-02-28T00:00Z");
    ticks("UTC", "0 0 L * mon", after, "2024-02-05T00:00Z 2024-02-12T00:00Z");
    ticks("UTC", "@hourly", after, "2024-01-31T01:00Z 2024-01-31T02:00Z");
    ticks("UTC", " @daily ", after, "2024-02-01T00:00Z 2024-02-02T00:00Z");
    ticks("UTC", "@midnight", after, "2024-02-01T00:00Z 2024-02-02T00:00Z");
    ticks("UTC", "@weekly", after, "2024-02-04T00:00Z 2024-02-11T00:00Z");
    ticks("UTC", "@monthly", after, "2024-02-01T00:00Z 2024-03-01T00:00Z");
    ticks("UTC", "@yearly", after, "2025-01-01T00:00Z 2026-01-01T00:00Z");
    ticks("UTC", "@annually", after, "2025-01-01T00:00Z 2026-01-01T00:00Z");
}

static void refused(const char *text, const char *why)
{
    struct cron out;
    struct err err;
    if (cron_parse(text, &out, &err) != ERR_INVALID)
        fail_msg("\"%s\" was accepted", text);
    if (strstr(err.message, why) == NULL)
        fail_msg("\"%s\": \"%s\" is not in: %s", text, why, err.message);
}

static void refusals(void **state)
{
    (void)state;
    refused("", "has 0 fields");
    refused("* * * *", "has 4 fields");
    refused("* * * * * *", "more than five fields");
    refused("60 * * * *", "\"60\" is not a valid minute field: use * or values from 0 to 59");
    refused("* 5-3 * * *", "\"5-3\" is not a valid hour field");
    refused("*/0 * * * *", "\"*/0\" is not a valid minute field");
    refused("* * 0 * *", "\"0\" is not a valid day of month field");
    refused("* * L-3 * *", "\"L-3\" is not a valid day of month field");
    refused("* * 1-L * *", "\"1-L\" is not a valid day of month field");
    refused("* * Lx * *", "\"Lx\" is not a valid day of month field");
    refused("* * 1,, * *", "\"1,,\" is not a valid day of month field");
    refused("* * * * L", "\"L\" is not a valid day of week field");
    refused("* L * * *", "\"L\" is not a valid hour field");
    refused("@dayly", "\"@dayly\" is not the name of a schedule; did you mean \"@daily\"?");
    refused("@reboot", "use @hourly, @daily, @weekly, @monthly, @yearly or five fields");
    refused("@daily 5", "\"@daily 5\" is not the name of a schedule");
    refused("@", "is not the name of a schedule: use @hourly");
}

/* Clocks in Berlin go from 02:00 to 03:00 on 2024-03-31, and from 03:00 to 02:00 on 2024-10-27. */
static void forward(void **state)
{
    (void)state;
    const char *zone = "Europe/Berlin", *after = "2024-03-30T12:00Z";
    ticks(zone, "30 2 * * *", after, "2024-03-31T03:00+02:00 2024-04-01T02:30+02:00");
    ticks(zone, "0 2 * * *", after, "2024-03-31T03:00+02:00 2024-04-01T02:00+02:00");
    ticks(zone, "*/15 2 * * *", after, "2024-03-31T03:00+02:00 2024-04-01T02:00+02:00");
    ticks(zone, "30 1-3 * * *", after,
          "2024-03-31T01:30+01:00 2024-03-31T03:00+02:00 2024-03-31T03:30+02:00 2024-04-01T01:30+02:00");
    ticks(zone, "0 */2 * * *", "2024-03-30T23:00Z", /* 00:00 there */
          "2024-03-31T03:00+02:00 2024-03-31T04:00+02:00 2024-03-31T06:00+02:00");
    ticks(zone, "0,30 2,3 * * *", after,
          "2024-03-31T03:00+02:00 2024-03-31T03:30+02:00 2024-04-01T02:00+02:00");
    ticks(zone, "0 1,3 * * *", after, "2024-03-31T01:00+01:00 2024-03-31T03:00+02:00 2024-04-01T01:00+02:00");
    ticks(zone, "30 2 31 3 *", after, "2024-03-31T03:00+02:00 2025-03-31T02:30+02:00");
    /* Elapsed time. */
    ticks(zone, "30 * * * *", "2024-03-31T00:00Z",
          "2024-03-31T01:30+01:00 2024-03-31T03:30+02:00 2024-03-31T04:30+02:00");
    ticks(zone, "*/30 0-23 * * *", "2024-03-31T00:00Z",
          "2024-03-31T01:30+01:00 2024-03-31T03:00+02:00 2024-03-31T03:30+02:00");
}

static void back(void **state)
{
    (void)state;
    const char *zone = "Europe/Berlin", *after = "2024-10-26T12:00Z";
    ticks(zone, "30 2 * * *", after, "2024-10-27T02:30+02:00 2024-10-28T02:30+01:00");
    ticks(zone, "0 3 * * *", after, "2024-10-27T03:00+01:00 2024-10-28T03:00+01:00");
    ticks(zone, "*/30 2,3 * * *", after,
          "2024-10-27T02:00+02:00 2024-10-27T02:30+02:00 2024-10-27T03:00+01:00 2024-10-27T03:30+01:00");
    /* Asked in the second of the two hours: nothing of it counts. */
    ticks(zone, "45 1-3 * * *", "2024-10-27T02:10+01:00", "2024-10-27T03:45+01:00 2024-10-28T01:45+01:00");
    ticks(zone, "45 1-3 * * *", "2024-10-27T02:50+02:00", "2024-10-27T03:45+01:00 2024-10-28T01:45+01:00");
    /* Elapsed time. */
    ticks(zone, "30 * * * *", "2024-10-27T00:00Z",
          "2024-10-27T02:30+02:00 2024-10-27T02:30+01:00 2024-10-27T03:30+01:00");
    ticks(zone, "0 * * * *", "2024-10-26T23:30Z",
          "2024-10-27T02:00+02:00 2024-10-27T02:00+01:00 2024-10-27T03:00+01:00");
}

static void unusual_zones(void **state)
{
    (void)state;
    /* Half an hour: 02:00 to 02:30, and 02:00 to 01:30. */
    ticks("Australia/Lord_Howe", "15 2 * * *", "2024-10-05T00:00Z",
          "2024-10-06T02:30+11:00 2024-10-07T02:15+11:00");
    ticks("Australia/Lord_Howe", "0,15,30,45 2 * * *", "2024-10-05T15:29Z",
          "2024-10-06T02:30+11:00 2024-10-06T02:45+11:00 2024-10-07T02:00+11:00");
    ticks("Australia/Lord_Howe", "45 1 * * *", "2024-04-06T00:00Z",
          "2024-04-07T01:45+11:00 2024-04-08T01:45+10:30");
    ticks("Australia/Lord_Howe", "15,45 * * * *", "2024-04-06T14:30Z",
          "2024-04-07T01:45+11:00 2024-04-07T01:45+10:30 2024-04-07T02:15+10:30");
    /* Midnight to 01:00, and midnight to 23:00 the evening before. */
    ticks("America/Sao_Paulo", "0 0 * * *", "2018-11-03T12:00Z",
          "2018-11-04T01:00-02:00 2018-11-05T00:00-02:00");
    ticks("America/Sao_Paulo", "30 0 4 11 *", "2018-11-03T12:00Z",
          "2018-11-04T01:00-02:00 2019-11-04T00:30-03:00");
    ticks("America/Sao_Paulo", "30 23 * * *", "2018-02-17T12:00Z",
          "2018-02-17T23:30-02:00 2018-02-18T23:30-03:00");
    ticks("America/Sao_Paulo", "0 0 * * *", "2018-02-17T12:00Z",
          "2018-02-18T00:00-03:00 2018-02-19T00:00-03:00");
    ticks("Africa/Cairo", "0 0 26 4 *", "2024-04-01T00:00Z", "2024-04-26T01:00+03:00 2025-04-26T00:00+03:00");
    ticks("Africa/Cairo", "0 0 * * *", "2024-10-30T22:00Z", "2024-11-01T00:00+02:00 2024-11-02T00:00+02:00");
    ticks("Africa/Cairo", "30 * 31 10 *", "2024-10-31T23:45+03:00",
          "2024-10-31T23:30+02:00 2025-10-31T00:30+02:00");
    ticks("Asia/Beirut", "0 0 * * *", "2024-03-30T12:00Z", "2024-03-31T01:00+03:00 2024-04-01T00:00+03:00");
    /* A day that was not there: after 29 December 2011 came the 31st. */
    ticks("Pacific/Apia", "0 9 * * *", "2011-12-29T09:00-10:00",
          "2011-12-31T00:00+14:00 2011-12-31T09:00+14:00 2012-01-01T09:00+14:00");
    ticks("Pacific/Apia", "0 0,9 30,31 12 *", "2011-12-29T09:00-10:00",
          "2011-12-31T00:00+14:00 2011-12-31T09:00+14:00 2012-12-30T00:00+14:00");
    ticks("Pacific/Apia", "0 * 30 12 *", "2011-12-29T09:00-10:00",
          "2012-12-30T00:00+14:00 2012-12-30T01:00+14:00");
    /* 23 hours were shown twice: from 30 September to 1 October 1969 clocks went back by 23 hours. */
    ticks("Pacific/Kwajalein", "0 12 * * *", "1969-09-29T02:00Z",
          "1969-09-30T12:00+11:00 1969-10-01T12:00-12:00");
    /* A zone that is by its rule only, far ahead. */
    ticks("Europe/Berlin", "30 2 * * *", "2400-03-25T12:00Z",
          "2400-03-26T03:00+02:00 2400-03-27T02:30+02:00");
    ticks("Asia/Kolkata", "0 0 * * *", "2024-01-01T00:00Z", "2024-01-02T00:00+05:30 2024-01-03T00:00+05:30");
}

/* An offset of seconds, as before zones were: the minute begins where local clocks say so. */
static void odd_seconds(void **state)
{
    (void)state;
    struct timetable timetable = cron("Europe/Berlin", "0 12 * * *");
    int64_t tick = timetable_next(&timetable, ms_of("1890-01-01T00:00Z"));
    assert_int_equal(tick, ms_of("1890-01-01T11:06:32Z")); /* 53 minutes and 28 seconds east */
}

static void never(void **state)
{
    (void)state;
    ticks("UTC", "0 0 31 2 *", "2024-01-01T00:00Z", "never");
    ticks("Europe/Berlin", "0 0 30 feb *", "2024-01-01T00:00Z", "never");
    ticks("Europe/Berlin", "* * 31 2,4,6,9,11 *", "2024-01-01T00:00Z", "never");
    ticks("UTC", "0 0 29 2 *", "2096-03-01T00:00Z", "2104-02-29T00:00Z 2108-02-29T00:00Z");
    ticks("Europe/Berlin", "0 * 29 2 *", "2096-03-01T00:00Z",
          "2104-02-29T00:00+01:00 2104-02-29T01:00+01:00");
    ticks("UTC", "0 0 * * *", "9999-12-30T12:00Z", "9999-12-31T00:00Z never");
    ticks("Asia/Tokyo", "* * * * *", "9999-12-31T23:59:30Z", "never");
    ticks("Pacific/Honolulu", "0 12 * * *", "9999-12-31T20:00Z", "9999-12-31T12:00-10:00 never");
    static const int64_t far[] = {INT64_MIN,      INT64_MIN + 1, ISO_MIN_MS - 1, ISO_MIN_MS,
                                  ISO_MAX_MS - 1, ISO_MAX_MS,    INT64_MAX - 1,  INT64_MAX};
    struct timetable timetables[] = {cron("Europe/Berlin", "*/5 * * * *"), cron("Asia/Tokyo", "0 0 1 1 *"),
                                     cron("America/Los_Angeles", "0 2 31 12 *"), interval("7d", "w", "s"),
                                     interval("manual", "w", "s")};
    for (size_t i = 0; i < sizeof far / sizeof far[0]; i++) {
        for (size_t j = 0; j < sizeof timetables / sizeof timetables[0]; j++) {
            int64_t next = timetable_next(&timetables[j], far[i]), last = 0;
            if (next != TIMETABLE_NEVER && (next <= far[i] || next < ISO_MIN_MS || next > ISO_MAX_MS))
                fail_msg("timetable %zu, moment %zu: %lld", j, i, (long long)next);
            if (far[i] >= ISO_MAX_MS)
                assert_int_equal(next, TIMETABLE_NEVER);
            if (far[i] < 0 && timetables[j].type != SCHEDULE_MANUAL)
                assert_int_equal(timetable_missed(&timetables[j], far[i], INT64_MAX, 2, &last), 2);
            assert_true(last <= ISO_MAX_MS);
        }
    }
}

static void other_types(void **state)
{
    (void)state;
    int64_t last = 5;
    struct timetable manual = interval("manual", "w", "s"), continuous = interval("continuous", "w", "s");
    assert_int_equal(timetable_next(&manual, 0), TIMETABLE_NEVER);
    assert_int_equal(timetable_missed(&manual, 0, DAY, 9, &last), 0);
    assert_int_equal(timetable_next(&continuous, 1719835509078), 1719835509078);
    assert_int_equal(timetable_next(&continuous, INT64_MAX), INT64_MAX);
    assert_int_equal(timetable_missed(&continuous, 0, DAY, 9, &last), 0);
    assert_int_equal(last, 5);

    struct timetable out;
    struct err err;
    struct schedule schedule = {.type = SCHEDULE_CRON, .timezone = "Europe/Berln"};
    assert_int_equal(timetable_init(&out, &schedule, "w", "s", &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "did you mean \"Europe/Berlin\"?"));
}

static void missed(void **state)
{
    (void)state;
    int64_t from = ms_of("2024-03-01T00:00Z"), to = ms_of("2025-03-01T00:00Z"), last = 0;
    struct timetable daily = cron("Europe/Berlin", "30 2 * * *");
    assert_int_equal(timetable_missed(&daily, from, to, INT64_MAX, &last), 365);
    assert_int_equal(last, ms_of("2025-02-28T01:30Z"));
    /* No more than asked for are counted; the last is the last. */
    for (int64_t max = 1; max <= 400; max += 7) {
        last = 0;
        assert_int_equal(timetable_missed(&daily, from, to, max, &last), max < 365 ? max : 365);
        assert_int_equal(last, ms_of("2025-02-28T01:30Z"));
    }
    /* The end counts, the beginning does not. */
    last = 0;
    assert_int_equal(
        timetable_missed(&daily, ms_of("2024-07-01T00:30Z"), ms_of("2024-07-02T00:30Z"), 9, &last), 1);
    assert_int_equal(last, ms_of("2024-07-02T00:30Z"));
    last = 0;
    assert_int_equal(
        timetable_missed(&daily, ms_of("2024-07-01T00:30Z"), ms_of("2024-07-02T00:30Z") - 1, 9, &last), 0);
    assert_int_equal(timetable_missed(&daily, to, from, 9, &last), 0);
    assert_int_equal(last, 0);

    struct timetable often = cron("Europe/Berlin", "* * * * *");
    assert_int_equal(timetable_missed(&often, from, to + 59999, 100, &last), 100);
    assert_int_equal(last, to);
    struct timetable rare = cron("UTC", "0 0 29 2 *");
    assert_int_equal(timetable_missed(&rare, ms_of("1600-01-01T00:00Z"), to, 1, &last), 1);
    assert_int_equal(last, ms_of("2024-02-29T00:00Z"));
    assert_int_equal(timetable_missed(&rare, ms_of("1600-01-01T00:00Z"), to, 1000, &last), 104);
    assert_int_equal(last, ms_of("2024-02-29T00:00Z"));
    /* Bursts: much at the beginning, little after, and the other way round. */
    struct timetable burst = cron("UTC", "* 0 1 1,12 *");
    assert_int_equal(
        timetable_missed(&burst, ms_of("2024-01-01T00:05Z"), ms_of("2024-12-01T00:02Z"), 3, &last), 3);
    assert_int_equal(last, ms_of("2024-12-01T00:02Z"));
    assert_int_equal(
        timetable_missed(&burst, ms_of("2024-01-01T00:05Z"), ms_of("2024-11-30T23:59Z"), 3, &last), 3);
    assert_int_equal(last, ms_of("2024-01-01T00:59Z"));
}

static void intervals(void **state)
{
    (void)state;
    struct timetable timetable = interval("1h", "billing", "invoices");
    assert_in_range(timetable.phase_ms, 0, HOUR - 1);
    for (int64_t ms = -3 * HOUR; ms < 3 * HOUR; ms += 977) {
        int64_t next = timetable_next(&timetable, ms);
        assert_true(next > ms && next - ms <= HOUR);
        assert_int_equal((next - timetable.phase_ms) % HOUR, 0);
        assert_int_equal(timetable_next(&timetable, next - 1), next);
        assert_int_equal(timetable_next(&timetable, next), next + HOUR);
    }
    int64_t tick = timetable_next(&timetable, 0), last = 0;
    assert_int_equal(timetable_missed(&timetable, tick, tick + HOUR - 1, 9, &last), 0);
    assert_int_equal(last, 0);
    assert_int_equal(timetable_missed(&timetable, tick, tick + HOUR, 9, &last), 1);
    assert_int_equal(last, tick + HOUR);
    assert_int_equal(timetable_missed(&timetable, tick - 1, tick + 20 * HOUR + 1, 9, &last), 9);
    assert_int_equal(last, tick + 20 * HOUR);
    assert_int_equal(timetable_missed(&timetable, tick - 1, tick + 20 * HOUR + 1, 99, &last), 21);
    assert_int_equal(last, tick + 20 * HOUR);
}

/* Phases are the same on every machine and for ever. These were computed in Python from what due.h says. */
static void phases(void **state)
{
    (void)state;
    assert_int_equal(interval("1h", "billing", "invoices").phase_ms, 1736753);
    assert_int_equal(interval("7d", "billing", "invoices").phase_ms, 588536753);
    assert_int_equal(interval("1m", "", "").phase_ms, 42267);
    assert_int_equal(interval("30m", "bürö", "a").phase_ms, 29386);
    /* What belongs to the worker's name and what to the capability's makes a difference. */
    assert_int_not_equal(interval("7d", "ab", "c").phase_ms, interval("7d", "a", "bc").phase_ms);
}

/* Chi-square of the phases over 60 buckets. Of phases at random 59 is expected, and one set in a million
 * passes the limit. */
#define CHI_SQUARE_MAX 126.0
#define BUCKET_MAX 40 /* where 16.7 are expected */

static double chi_square(const char *text, const char *before, const char *after, int names, int *fullest)
{
    int buckets[60] = {0};
    double sum = 0, expected = names / 60.0;
    *fullest = 0;
    for (int i = 0; i < names; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s%d%s", before, i, after);
        struct timetable timetable = interval(text, "billing", name);
        int bucket = (int)(timetable.phase_ms * 60 / timetable.interval_ms);
        assert_in_range(bucket, 0, 59);
        if (++buckets[bucket] > *fullest)
            *fullest = buckets[bucket];
    }
    for (int i = 0; i < 60; i++)
        sum += (buckets[i] - expected) * (buckets[i] - expected) / expected;
    return sum;
}

static void spread(void **state)
{
    (void)state;
    static const char *const texts[] = {"1m", "15m", "1h", "12h", "1d", "7d"};
    static const char *const names[][2] = {{"sync", ""}, {"", ""}, {"issues", "Delta"}, {"a.b-c/", "-"}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        for (size_t j = 0; j < sizeof names / sizeof names[0]; j++) {
            int fullest;
            double sum = chi_square(texts[i], names[j][0], names[j][1], 1000, &fullest);
            print_message("every %s, 1,000 syncs %sN%s: chi-square %.1f, at most %d in a bucket of 16.7\n",
                          texts[i], names[j][0], names[j][1], sum, fullest);
            if (sum > CHI_SQUARE_MAX || fullest > BUCKET_MAX)
                fail_msg("every %s, %sN%s: chi-square %.1f, %d syncs in one bucket", texts[i], names[j][0],
                         names[j][1], sum, fullest);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields),        cmocka_unit_test(either_day),  cmocka_unit_test(extensions),
        cmocka_unit_test(refusals),      cmocka_unit_test(forward),     cmocka_unit_test(back),
        cmocka_unit_test(unusual_zones), cmocka_unit_test(odd_seconds), cmocka_unit_test(never),
        cmocka_unit_test(other_types),   cmocka_unit_test(missed),      cmocka_unit_test(intervals),
        cmocka_unit_test(phases),        cmocka_unit_test(spread),
    };
    return cmocka_run_group_tests_name("due", tests, NULL, NULL);
}
