/* Lengths of time in calendar units, and ISO 8601's text for them.
 *
 * Who owns what: callers own all structs and buffers; nothing is allocated. */
#ifndef WORKERS_BASE_DURATION_H
#define WORKERS_BASE_DURATION_H

#include "base/err.h"

#include <stdint.h>

/* From the longest to the shortest. Those up to days depend on the calendar, the others are exact. */
enum duration_unit {
    DURATION_YEARS,
    DURATION_MONTHS,
    DURATION_WEEKS,
    DURATION_DAYS,
    DURATION_HOURS,
    DURATION_MINUTES,
    DURATION_SECONDS,
    DURATION_MILLISECONDS,
    DURATION_UNITS, /* how many there are */
};

struct duration {
    int64_t amounts[DURATION_UNITS]; /* each from -duration_unit_max to duration_unit_max */
};

/* "years", …, "milliseconds". */
const char *duration_unit_name(enum duration_unit unit);
/* No more than this leads from a moment of the years 0000 to 9999 to another. */
int64_t duration_unit_max(enum duration_unit unit);
/* Milliseconds of an exact unit, or of a day or week of 24-hour days; 0 for months and years. */
int64_t duration_unit_ms(enum duration_unit unit);

/* [+-]P[nY][nM][nW][nD][T[nH][nM][nS]] (ISO 8601-1 section 5.5.2, with the sign and with weeks beside the
 * others as in ISO 8601-2), at least one part. The last part, if it is of hours, minutes or seconds, may have
 * a fraction of 1 to 9 digits behind '.' or ','; it becomes the smaller units, and what is below a
 * millisecond is cut off. ERR_INVALID says what is wrong and at which character. */
enum err_code duration_parse(const char *text, size_t len, struct duration *out, struct err *err) MUST_CHECK;

#define DURATION_TEXT_SIZE 128
/* Writes no part that is zero; "PT0S" when all are. ERR_INVALID when amounts have different signs, for which
 * ISO 8601 has no text. */
enum err_code duration_format(const struct duration *duration, char buf[DURATION_TEXT_SIZE],
                              struct err *err) MUST_CHECK;

#endif
