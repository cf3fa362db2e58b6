/* Numbers as text, the same in every locale.
 *
 * Who owns what: nothing here allocates; the caller owns every buffer. */
#ifndef WORKERS_BASE_NUMBER_H
#define WORKERS_BASE_NUMBER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define NUMBER_TEXT_MAX 32 /* bytes that hold any formatted number and its closing NUL */

struct number {
    bool is_integer;
    int64_t integer; /* when is_integer */
    double real;     /* otherwise; finite */
};

enum number_status {
    NUMBER_OK,
    NUMBER_MALFORMED,    /* not a number by the grammar of RFC 8259, section 6 */
    NUMBER_OUT_OF_RANGE, /* its magnitude is beyond the greatest double */
};

/* Reads the longest number that starts at text, by the grammar of RFC 8259, section 6. *stop becomes the
 * first byte after it; for NUMBER_MALFORMED, the byte where a digit was expected, or the digit after a
 * leading zero.
 *
 * Without fraction and exponent, and within 64 bits, it is an integer; anything else is the nearest double
 * (ties to even), so that integers beyond 64 bits keep their magnitude but not every digit. "-0" is the
 * double -0.0, for no integer has that sign. What is too small for a double becomes zero. */
enum number_status number_scan(const char *text, const char *end, struct number *out,
                               const char **stop) MUST_CHECK;

/* The same for a text that must be one number and nothing else. */
enum number_status number_parse(const char *text, size_t len, struct number *out) MUST_CHECK;

/* These write the text and a closing NUL and return the length without it. */

/* The shortest decimal that reads back as the same double, as ECMA-262 Number::toString lays it out ("1e+21",
 * "1e-7", "0.000001"; -0 is "0"); "NaN", "Infinity" and "-Infinity" too. */
size_t number_format_js(double value, char out[NUMBER_TEXT_MAX]);

/* The same digits in a form that number_parse reads back as a double, never as an integer, bit for bit:
 * "1.0",
 * "-0.0". For NaN and infinities, which JSON does not have, the text is that of number_format_js. */
size_t number_format_double(double value, char out[NUMBER_TEXT_MAX]);

size_t number_format_integer(int64_t value, char out[NUMBER_TEXT_MAX]);

#endif
