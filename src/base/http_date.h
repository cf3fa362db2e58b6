/* HTTP-date: how HTTP writes moments (RFC 9110, section 5.6.7).
 *
 * Who owns what: callers own everything; nothing is allocated. */
#ifndef WORKERS_BASE_HTTP_DATE_H
#define WORKERS_BASE_HTTP_DATE_H

#include "base/err.h"

#include <stdint.h>

/* Reads any of its three forms:
 *   Sun, 06 Nov 1994 08:49:37 GMT     IMF-fixdate
 *   Sunday, 06-Nov-94 08:49:37 GMT    RFC 850; a year more than 50 years after now_ms is one of the past
 *   Sun Nov  6 08:49:37 1994          asctime
 * The day of the week must be one, but not that of the date: servers get it wrong, and the date is clear
 * without. Second 60 is read as 59. ERR_INVALID says what is wrong and at which character. */
enum err_code http_date_parse(const char *text, size_t len, int64_t now_ms, int64_t *ms,
                              struct err *err) MUST_CHECK;

#define HTTP_DATE_SIZE 30
/* IMF-fixdate, to whole seconds downwards. Moments outside the years 0000 to 9999 are moved to the nearer
 * end. Returns buf. */
const char *http_date_format(int64_t ms, char buf[HTTP_DATE_SIZE]);

#endif
