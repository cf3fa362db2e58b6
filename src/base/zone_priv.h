/* What the files zone*.c share: a zone in memory and its two readers. For them and their tests only.
 *
 * Who owns what: a zone is one block, with its arrays behind it. Seconds are Unix seconds. */
#ifndef WORKERS_BASE_ZONE_PRIV_H
#define WORKERS_BASE_ZONE_PRIV_H

#include "base/zone.h"

#define ZONE_ABBREVIATION_MAX 15

/* No zone is further from UTC than RFC 9636 section 3.2 says it should be. */
#define ZONE_OFFSET_MIN (-89999)
#define ZONE_OFFSET_MAX 93599

struct zone_type {
    int32_t seconds;
    bool is_dst;
    char abbreviation[ZONE_ABBREVIATION_MAX + 1];
};

/* Stretch of time with one type: begin <= t < end. */
struct zone_span {
    int64_t begin; /* INT64_MIN: since ever */
    int64_t end;   /* INT64_MAX: for ever */
    const struct zone_type *type;
};

/* A day of the year in a POSIX TZ string. */
struct zone_rule_day {
    enum {
        ZONE_DAY_JULIAN,     /* "J60": day is 1 to 365, February 29th is never counted */
        ZONE_DAY_ZERO_BASED, /* "59": day is 0 to 365, February 29th is counted */
        ZONE_DAY_WEEKDAY,    /* "M3.5.0": weekday (Sunday is 0) of week 1 to 5 (5: the last) of the month */
    } form;
    int day;
    int month;
    int week;
    int32_t time; /* seconds after the day's midnight, -167 to 167 hours */
};

struct zone_rule {
    bool has_dst; /* false: standard time all year, and the rest is not set */
    struct zone_type standard;
    struct zone_type daylight;
    struct zone_rule_day begin; /* of daylight saving time, in standard time */
    struct zone_rule_day end;   /* in daylight saving time */
};

struct zone {
    char name[ZONE_NAME_MAX + 1];
    bool has_rule; /* for the time from the last transition on; without it the last type goes on */
    struct zone_rule rule;
    size_t type_count;       /* 1 to 256 */
    size_t transition_count; /* ascending */
    const struct zone_type *types;
    const int64_t *transitions;
    const uint8_t *transition_types; /* the type that each transition begins */
};

/* Reads a TZif file. The result is one block, to be freed with mem_free. name must have at most ZONE_NAME_MAX
 * bytes. ERR_CORRUPT or ERR_NOMEM. */
enum err_code zone_read(const char *name, const void *bytes, size_t len, struct zone **out,
                        struct err *err) MUST_CHECK;

/* Reads a POSIX TZ string (POSIX 8.3, with the wider hours of RFC 9636 section 3.3.2). A day of change must
 * be given where there is daylight saving time: POSIX lets systems choose one otherwise. ERR_CORRUPT. */
enum err_code zone_rule_read(const char *text, size_t len, struct zone_rule *out, struct err *err) MUST_CHECK;

void zone_rule_span(const struct zone_rule *rule, int64_t seconds, struct zone_span *out);

#endif
