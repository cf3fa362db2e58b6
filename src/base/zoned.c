/* Calendar arithmetic in a time zone. Must not read clocks or files. */
#include "base/zoned.h"

#include <string.h>

#define DAY_MS INT64_C(86400000)
#define HOUR_MS INT64_C(3600000)

static bool in_range(int64_t ms)
{
    return ms >= ISO_MIN_MS && ms <= ISO_MAX_MS;
}

static enum err_code outside(struct err *err)
{
    return err_set(err, ERR_INVALID, "the result is outside the years 0000 to 9999");
}

/* Days since 1970 -> 1 (Monday) to 7. */
static int weekday_of(int64_t day)
{
    return (int)(((day + 3) % 7 + 7) % 7) + 1;
}

enum err_code zoned_fields_at(int64_t ms, struct zone_offset offset, struct zoned_fields *out,
                              struct err *err)
{
    int64_t local = ms + (int64_t)offset.seconds * 1000;
    if (!in_range(local))
        return outside(err);
    struct iso_time t;
    iso_from_unix_ms(local, 0, &t);
    t.has_offset = false;
    int64_t day = iso_days(t.year, t.month, t.day);
    int weekday = weekday_of(day);
    /* A week belongs to the year of its Thursday. */
    int64_t thursday = day - weekday + 4;
    int week_year = t.year;
    if (thursday < iso_days(t.year, 1, 1))
        week_year--;
    else if (thursday >= iso_days(t.year + 1, 1, 1))
        week_year++;
    *out = (struct zoned_fields){.time = t,
                                 .weekday = weekday,
                                 .yearday = (int)(day - iso_days(t.year, 1, 1)) + 1,
                                 .week = (int)((thursday - iso_days(week_year, 1, 1)) / 7) + 1,
                                 .week_year = week_year,
                                 .offset = offset};
    return ERR_NONE;
}

enum err_code zoned_from_local(const struct zone *zone, int64_t local_ms, struct zoned_policy policy,
                               int64_t *ms, struct err *err)
{
    int64_t earlier, later;
    enum zone_local kind = zone_from_local(zone, local_ms, &earlier, &later);
    enum zoned_choice choice = kind == ZONE_REPEATED  ? policy.repeated
                               : kind == ZONE_SKIPPED ? policy.skipped
                                                      : ZONED_EARLIER;
    if (choice == ZONED_REFUSE) {
        char text[ISO_FORMAT_SIZE];
        iso_format(local_ms, 0, ISO_MILLISECONDS, text);
        return err_set(err, ERR_INVALID, "%.*s is %s by the clocks of %s", ISO_UTC_SIZE - 2, text,
                       kind == ZONE_REPEATED ? "shown twice" : "never shown", zone_name(zone));
    }
    *ms = choice == ZONED_EARLIER ? earlier : later;
    return in_range(*ms) ? ERR_NONE : outside(err);
}

enum err_code zoned_parse(const char *text, size_t len, int64_t *ms, struct err *err)
{
    struct iso_time time;
    struct err ignored;
    const struct zone *zone = NULL;
    const char *bracket = len > 0 && text[len - 1] == ']' ? memchr(text, '[', len) : NULL;
    size_t time_len = bracket != NULL ? (size_t)(bracket - text) : len;
    enum err_code code = iso_parse(text, time_len, &time, err);
    if (code != ERR_NONE)
        return code;
    *ms = iso_unix_ms(&time);
    if (bracket != NULL && time.has_time && !time.has_offset &&
        zone_find(bracket + 1, len - time_len - 2, &zone, &ignored) == ERR_NONE)
        return zoned_from_local(zone, *ms, ZONED_USUAL, ms, err);
    return ERR_NONE;
}

static int64_t local_of(const struct zone *zone, int64_t ms)
{
    return ms + (int64_t)zone_offset_at(zone, ms).seconds * 1000;
}

/* A local time some months and days later. */
static enum err_code add_to_local(int64_t local, int64_t months, int64_t days, int64_t *out, struct err *err)
{
    struct iso_time t;
    if (!in_range(local))
        return outside(err);
    iso_from_unix_ms(local, 0, &t);
    int64_t month = (int64_t)t.year * 12 + t.month - 1 + months;
    if (month < 0 || month >= INT64_C(120000))
        return outside(err);
    t.year = (int)(month / 12);
    t.month = (int)(month % 12) + 1;
    int last_day = iso_days_in_month(t.year, t.month);
    if (t.day > last_day)
        t.day = last_day;
    *out = iso_unix_ms(&t) + days * DAY_MS;
    return in_range(*out) ? ERR_NONE : outside(err);
}

enum err_code zoned_add(const struct zone *zone, int64_t ms, const struct duration *duration,
                        struct zoned_policy policy, int64_t *out, struct err *err)
{
    const int64_t *amounts = duration->amounts;
    int64_t months = amounts[DURATION_YEARS] * 12 + amounts[DURATION_MONTHS];
    int64_t days = amounts[DURATION_WEEKS] * 7 + amounts[DURATION_DAYS];
    /* Not by way of the local time when nothing changes there: of a repeated time it could be the other one.
     */
    if (months != 0 || days != 0) {
        int64_t local;
        if (add_to_local(local_of(zone, ms), months, days, &local, err) != ERR_NONE ||
            zoned_from_local(zone, local, policy, &ms, err) != ERR_NONE)
            return err->code;
    }
    for (int unit = DURATION_HOURS; unit < DURATION_UNITS; unit++)
        ms += amounts[unit] * duration_unit_ms((enum duration_unit)unit); /* at most 5 times 3.2e14 */
    if (!in_range(ms))
        return outside(err);
    *out = ms;
    return ERR_NONE;
}

enum err_code zoned_start(const struct zone *zone, int64_t ms, enum zoned_period period, int64_t *out,
                          struct err *err)
{
    struct zoned_fields f;
    if (zoned_fields_at(ms, zone_offset_at(zone, ms), &f, err) != ERR_NONE)
        return err->code;
    struct iso_time t = {.year = f.time.year, .month = 1, .day = 1};
    if (period == ZONED_QUARTER)
        t.month = (f.time.month - 1) / 3 * 3 + 1;
    else if (period != ZONED_YEAR)
        t.month = f.time.month;
    if (period == ZONED_DAY || period == ZONED_HOUR || period == ZONED_WEEK)
        t.day = f.time.day;
    if (period == ZONED_HOUR)
        t.hour = f.time.hour;
    int64_t local = iso_unix_ms(&t) - (period == ZONED_WEEK ? (f.weekday - 1) * DAY_MS : 0);
    if (local < ISO_MIN_MS)
        return outside(err);
    int64_t earlier, later, transition;
    if (zone_from_local(zone, local, &earlier, &later) == ZONE_SKIPPED &&
        zone_next_transition(zone, earlier, &transition))
        earlier = later = transition;
    *out = period == ZONED_HOUR && later <= ms ? later : earlier;
    return in_range(*out) ? ERR_NONE : outside(err);
}

/* Whether from + count units is beyond to, as seen from from. */
static bool passes(const struct zone *zone, int64_t from, int64_t to, enum duration_unit unit, int64_t count)
{
    struct duration duration = {0};
    struct err err;
    int64_t reached;
    duration.amounts[unit] = count;
    if (zoned_add(zone, from, &duration, ZONED_USUAL, &reached, &err) != ERR_NONE)
        return true;
    return to >= from ? reached > to : reached < to;
}

int64_t zoned_difference(const struct zone *zone, int64_t from, int64_t to, enum duration_unit unit)
{
    int64_t unit_ms = duration_unit_ms(unit);
    if (unit >= DURATION_HOURS)
        return (to - from) / unit_ms;
    int64_t local_from = local_of(zone, from), local_to = local_of(zone, to);
    int64_t count;
    if (unit == DURATION_YEARS || unit == DURATION_MONTHS) {
        struct iso_time a, b;
        iso_from_unix_ms(local_from, 0, &a);
        iso_from_unix_ms(local_to, 0, &b);
        count =
            unit == DURATION_YEARS ? b.year - a.year : (int64_t)(b.year - a.year) * 12 + b.month - a.month;
    } else {
        count = (local_to - local_from) / unit_ms;
    }
    /* That is right to one or two. */
    int step = to >= from ? 1 : -1;
    while (count != 0 && passes(zone, from, to, unit, count))
        count -= step;
    while (!passes(zone, from, to, unit, count + step))
        count += step;
    return count;
}
