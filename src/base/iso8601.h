/* Dates and times as text: ISO 8601 in the profile of RFC 3339, and what JavaScript takes for a date.
 *
 * Who owns what: callers own all structs and buffers; nothing is allocated. */
#ifndef WORKERS_BASE_ISO8601_H
#define WORKERS_BASE_ISO8601_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct iso_time {
    int year;  /* 0 to 9999, proleptic Gregorian */
    int month; /* 1 to 12 */
    int day;   /* 1 to the last day of that month */
    int hour;  /* 0 to 23 */
    int minute;
    int second; /* 0 to 59, see iso_parse for leap seconds */
    int nanosecond;
    bool has_time;      /* false: the text was a date alone, the time fields are 0 */
    bool has_offset;    /* false: the text named no offset, which says neither local nor UTC */
    int offset_minutes; /* east of UTC, -1439 to 1439; 0 without an offset */
};

/* What iso_parse takes, for error messages. */
#define ISO_FORMS "YYYY-MM-DD or YYYY-MM-DDTHH:MM[:SS[.fraction]] with Z, +HH:MM or nothing after it"

/* Years 0000 to 9999, the range of RFC 3339, in Unix milliseconds. */
#define ISO_MIN_MS INT64_C(-62167219200000)
#define ISO_MAX_MS INT64_C(253402300799999)

/* Reads
 *   YYYY-MM-DD
 *   YYYY-MM-DD T HH:MM [:SS [.fraction]] [offset]
 * where T may be 't' or one space (RFC 3339 section 5.6), the fraction has 1 to 9 digits, and the offset is
 * Z, z, +HH:MM or +HHMM (or with '-'). The calendar is strict: 2023-02-29, hour 24 and month 00 are refused.
 *
 * A leap second (":60") is accepted in any minute and clamped to the last nanosecond of second 59, because
 * Unix time has no place for it; so order is kept and no later minute begins early.
 *
 * ERR_INVALID names what is wrong and at which character. */
enum err_code iso_parse(const char *text, size_t len, struct iso_time *out, struct err *err) MUST_CHECK;

/* A time without an offset counts as UTC, a date as its midnight. Fractions are cut to milliseconds,
 * downwards. */
int64_t iso_unix_ms(const struct iso_time *t);

/* The fields of a moment as seen offset_minutes east of UTC. Moments outside ISO_MIN_MS..ISO_MAX_MS are moved
 * to the nearer end, as is an offset that would lead out of it. */
void iso_from_unix_ms(int64_t ms, int offset_minutes, struct iso_time *out);

#define ISO_UTC_SIZE 25 /* "2024-01-15T10:30:00.000Z" and the NUL */
/* Returns buf. Moments outside the range are moved to its nearer end. */
const char *iso_format_utc(int64_t ms, char buf[ISO_UTC_SIZE]);

enum iso_precision {
    ISO_MINUTES,
    ISO_SECONDS,
    ISO_MILLISECONDS,
};
#define ISO_FORMAT_SIZE 32
/* RFC 3339 (but for ISO_MINUTES, which it does not know); offset 0 is written Z. What is finer than the
 * precision is cut off. Returns buf. */
const char *iso_format(int64_t ms, int offset_minutes, enum iso_precision precision,
                       char buf[ISO_FORMAT_SIZE]);

#define ISO_DATE_SIZE 11
/* "2024-01-15", in UTC. Returns buf. */
const char *iso_format_date(int64_t ms, char buf[ISO_DATE_SIZE]);

int iso_days_in_month(int year, int month);

/* Days since 1970-01-01 of a day of the calendar; years -399 to 10400. */
int64_t iso_days(int year, int month, int day);

/* Whether JavaScript's `new Date(text)` is a valid date in V8, for texts of the shapes
 *   YYYY-MM-DD (the whole text) and YYYY-MM-DDTHH:MM (with anything after it);
 * false for all others, whatever V8 says to them. V8 is laxer than the calendar and stricter than RFC 3339:
 *   - every month has 31 days (2024-02-30 is March 1st), and hour 24 is good when all after it is zero;
 *   - the fraction has any number of digits, and there is no leap second;
 *   - a NUL ends the text when the part before it is complete without a dangling fraction or offset;
 *   - a date alone whose year is 0001 to 0012 and that is not a date as it stands is read again by an older
 *     grammar as month-day-year: 0012-31-99 is December 31st of 1999.
 * No text with a time reaches that older grammar, so nothing is left apart. */
bool iso_is_js_date(const char *text, size_t len);

#endif
