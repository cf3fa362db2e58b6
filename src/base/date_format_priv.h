/* What date_format.c and date_read.c share: the fields of a format, and names. For them only.
 *
 * Who owns what: all is constant. */
#ifndef WORKERS_BASE_DATE_FORMAT_PRIV_H
#define WORKERS_BASE_DATE_FORMAT_PRIV_H

#include "base/date_format.h"

extern const char *const date_month_names[12];
extern const char *const date_day_names[7]; /* from Monday */
extern const char *const date_half_names[2];
#define DATE_SHORT_NAME 3 /* characters of "Jan" and "Mon" */

struct date_field {
    char letter;
    char flag; /* '-', ':' or '\0' */
};

/* Reads the field that begins with '%' at *at, and moves *at behind it. */
enum err_code date_field_next(const char *format, size_t len, size_t *at, struct date_field *out,
                              struct err *err) MUST_CHECK;

/* The fields that one like %F stands for; NULL for others. */
const char *date_field_parts(char letter);

enum err_code date_format_check_size(size_t len, struct err *err) MUST_CHECK;

#endif
