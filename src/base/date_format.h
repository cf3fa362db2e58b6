/* Dates and times as text of a form that the caller describes, with fields as in strftime; both ways, strict,
 * in English.
 *
 *   %Y %y       year: four digits; the last two (69 to 99 are 1969 to 1999, 00 to 68 are 2000 to 2068)
 *   %m %B %b    month: 01 to 12; January; Jan
 *   %d %e       day: 01 to 31; the same with a blank for the zero
 *   %j          day of the year: 001 to 366
 *   %A %a %u    day of the week: Monday; Mon; 1 (Monday) to 7
 *   %G %V       year and week of ISO 8601: four digits; 01 to 53
 *   %H %I %p    hour: 00 to 23; 01 to 12; AM or PM
 *   %M %S       minute; second
 *   %f          fraction of the second: written in three digits, read in one to nine, what is below a
 *               millisecond is cut off
 *   %z %:z      offset: +0200; +02:00 (with seconds behind, for some local times before 1972)
 *   %Z          abbreviation: CET. Of these only UTC, GMT and Z can be read: others are not unique
 *   %s          Unix seconds
 *   %F %T %R    %Y-%m-%d; %H:%M:%S; %H:%M
 *   %%          a percent sign
 *
 * A number with '-' behind the percent sign ("%-d") is written without leading zeros and read in one digit or
 * more. Everything else stands for itself.
 *
 * Who owns what: callers own everything; nothing is allocated. */
#ifndef WORKERS_BASE_DATE_FORMAT_H
#define WORKERS_BASE_DATE_FORMAT_H

#include "base/zoned.h"

#define DATE_FORMAT_MAX 256             /* bytes of a format */
#define DATE_FORMAT_TEXT_SIZE (256 * 8) /* no field of two bytes becomes more than 16 */

/* ms is what the fields are those of. *out_len is the length of what was written; there is no NUL behind it.
 * ERR_INVALID for a format that is too long or has an unknown field. */
enum err_code date_format_write(const char *format, size_t format_len, int64_t ms,
                                const struct zoned_fields *fields, char out[DATE_FORMAT_TEXT_SIZE],
                                size_t *out_len, struct err *err) MUST_CHECK;

struct date_read {
    bool is_moment; /* the text had Unix seconds, or an offset: ms is the moment */
    int64_t ms;     /* otherwise the local time; either is in the years 0000 to 9999 */
};

/* Letter case of names does not matter, everything else does. A date needs its year; a month or day that the
 * format does not name is the first, a time the beginning. What is there twice (such as the day of the week)
 * must agree. Second 60 is the last millisecond of second 59, as in iso_parse.
 *
 * ERR_INVALID says what was expected in the text and at which character, or what is wrong with the format. */
enum err_code date_format_read(const char *format, size_t format_len, const char *text, size_t len,
                               struct date_read *out, struct err *err) MUST_CHECK;

#endif
