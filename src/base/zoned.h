/* Calendar arithmetic in a time zone: the fields of a moment, the moment of a local time, adding calendar
 * units, beginnings of days and months, whole units between two moments.
 *
 * Who owns what: callers own all structs; nothing is allocated.
 *
 * Moments are Unix milliseconds from ISO_MIN_MS to ISO_MAX_MS, which callers check; local times as in
 * base/zone.h. Results outside the years 0000 to 9999 are ERR_INVALID. */
#ifndef WORKERS_BASE_ZONED_H
#define WORKERS_BASE_ZONED_H

#include "base/duration.h"
#include "base/iso8601.h"
#include "base/zone.h"

#include <stddef.h>

struct zoned_fields {
    struct iso_time time; /* as local clocks show it; its offset is not set */
    int weekday;          /* 1 (Monday) to 7, as in ISO 8601 */
    int yearday;          /* 1 to 366 */
    int week;             /* of ISO 8601, 1 to 53: week 1 has the year's first Thursday */
    int week_year;        /* the year that this week belongs to; -1 for the first two days of year 0 */
    struct zone_offset offset;
};

/* At any offset of less than two days. */
enum err_code zoned_fields_at(int64_t ms, struct zone_offset offset, struct zoned_fields *out,
                              struct err *err) MUST_CHECK;

enum zoned_choice { ZONED_EARLIER, ZONED_LATER, ZONED_REFUSE };

/* Which moment a local time is that is shown twice, or never (see zone_from_local). */
struct zoned_policy {
    enum zoned_choice repeated;
    enum zoned_choice skipped;
};

/* What people mean most often, and what RFC 5545 says (section 3.3.5): the first of two; and forward by as
 * much as the clocks. */
#define ZONED_USUAL ((struct zoned_policy){.repeated = ZONED_EARLIER, .skipped = ZONED_LATER})

enum err_code zoned_from_local(const struct zone *zone, int64_t local_ms, struct zoned_policy policy,
                               int64_t *ms, struct err *err) MUST_CHECK;

/* The moment that a text names which iso_parse reads, or one with a time zone's name in brackets after it
 * (RFC 9557). What has no offset is local time of that zone, or UTC when there is no zone of that name; a
 * date alone is its beginning in UTC. */
enum err_code zoned_parse(const char *text, size_t len, int64_t *ms, struct err *err) MUST_CHECK;

/* First years and months, to the last day of the month when it has no such day; then weeks and days; both on
 * the calendar, keeping the local time, for which the policy is. Then the exact units. */
enum err_code zoned_add(const struct zone *zone, int64_t ms, const struct duration *duration,
                        struct zoned_policy policy, int64_t *out, struct err *err) MUST_CHECK;

enum zoned_period { ZONED_HOUR, ZONED_DAY, ZONED_WEEK, ZONED_MONTH, ZONED_QUARTER, ZONED_YEAR };

/* The first moment of the period that ms lies in, never after ms. Weeks begin on Monday. When the clocks
 * skipped the beginning it is where they went on. An hour that is shown twice is two hours, a day is one. */
enum err_code zoned_start(const struct zone *zone, int64_t ms, enum zoned_period period, int64_t *out,
                          struct err *err) MUST_CHECK;

/* The number of whole units from one moment to another, negative when to is before from: the largest by
 * number that zoned_add can add to from without passing to. */
int64_t zoned_difference(const struct zone *zone, int64_t from, int64_t to, enum duration_unit unit);

#endif
