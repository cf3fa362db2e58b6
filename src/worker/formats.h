/* The string formats of JSON Schema that tool inputs know: one linear-time matcher each, no pattern library.
 *
 * Who owns what: nothing is allocated; names and texts stay the caller's. */
#ifndef WORKERS_WORKER_FORMATS_H
#define WORKERS_WORKER_FORMATS_H

#include <stdbool.h>
#include <stddef.h>

typedef bool (*format_match_fn)(const char *text, size_t len);

struct string_format {
    const char *name;
    format_match_fn match;
};

/* date-time, date, time, duration, email, hostname, ipv4, ipv6, uuid; NULL for any other name. The matchers
 * accept what the reference implementation's ajv-formats 3 (full mode) accepts: RFC 3339 with a mandatory
 * time zone and leap seconds, RFC 3339 appendix A durations, RFC 1123 host names, RFC 4291 addresses. */
const struct string_format *format_find(const char *name, size_t len);

#endif
