/* Numbers as text. Must not allocate, and must not depend on the locale: a decimal point is never given to
 * the C library, nor taken from it. */
#include "base/number.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Powers of ten that a double holds exactly. */
static const double exact_power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                     1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
#define EXACT_POWER_MAX 22
#define EXACT_INTEGER_MAX ((uint64_t)1 << 53) /* up to here a double holds every integer */

/* The point halfway between two neighbouring doubles has at most 767 significant digits; any digit beyond
 * that matters only by being there, so that one nonzero digit stands for them all. */
#define DIGITS_MAX 800
#define EXPONENT_LIMIT 100000 /* far beyond any double, far below overflow of int */
#define SHORTEST_MAX 17       /* significant digits that tell any two doubles apart */

static bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* ---- Reading ---- */

/* Significant digits and a power of ten: value = digits * 10^exponent. */
static double from_digits(const char *digits, size_t count, int exponent)
{
    char text[DIGITS_MAX + 16];
    memcpy(text, digits, count);
    snprintf(text + count, sizeof text - count, "e%d", exponent);
    return strtod(text, NULL); /* correctly rounded in glibc; without a decimal point no locale can differ */
}

/* first..last spans the digits with at most one '.' among them; scale is the written exponent. */
static double from_long_text(const char *first, const char *last, int scale)
{
    char digits[DIGITS_MAX];
    size_t count = 0;
    int64_t exponent = scale;
    bool fraction = false;
    bool beyond = false;
    for (const char *p = first; p < last; p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        if (fraction)
            exponent--;
        if (count == 0 && *p == '0')
            continue;
        if (count < DIGITS_MAX - 1) {
            digits[count++] = *p;
        } else {
            beyond = beyond || *p != '0';
            exponent++;
        }
    }
    if (count == 0)
        return 0.0;
    if (beyond) {
        digits[count++] = '1';
        exponent--;
    }
    if (exponent > EXPONENT_LIMIT)
        return HUGE_VAL;
    if (exponent < -EXPONENT_LIMIT - (int64_t)DIGITS_MAX)
        return 0.0;
    return from_digits(digits, count, (int)exponent);
}

static double from_parts(uint64_t mantissa, unsigned digits, int scale, int fraction_digits,
                         const char *first, const char *last)
{
    int exponent = scale - fraction_digits;
    /* One rounding of two exact operands is the right answer, on machines that compute in plain doubles. */
    if (FLT_EVAL_METHOD == 0 && digits <= 19 && mantissa <= EXACT_INTEGER_MAX) {
        if (mantissa == 0)
            return 0.0;
        if (exponent >= 0 && exponent <= EXACT_POWER_MAX)
            return (double)mantissa * exact_power[exponent];
        if (exponent < 0 && exponent >= -EXACT_POWER_MAX)
            return (double)mantissa / exact_power[-exponent];
    }
    return from_long_text(first, last, scale);
}

enum number_status number_scan(const char *text, const char *end, struct number *out, const char **stop)
{
    const char *p = text;
    bool negative = p < end && *p == '-';
    if (negative)
        p++;
    const char *first = p;
    *stop = p;
    if (p == end || !is_digit(*p))
        return NUMBER_MALFORMED;

    uint64_t mantissa = 0; /* wraps beyond 19 digits; it is not used then */
    while (p < end && is_digit(*p))
        mantissa = mantissa * 10 + (uint64_t)(*p++ - '0');
    size_t whole_digits = (size_t)(p - first);
    if (*first == '0' && whole_digits > 1) {
        *stop = first + 1;
        return NUMBER_MALFORMED;
    }

    bool is_integer = true;
    size_t fraction_digits = 0;
    if (p < end && *p == '.') {
        is_integer = false;
        const char *fraction = ++p;
        while (p < end && is_digit(*p))
            mantissa = mantissa * 10 + (uint64_t)(*p++ - '0');
        fraction_digits = (size_t)(p - fraction);
        *stop = p;
        if (fraction_digits == 0)
            return NUMBER_MALFORMED;
    }
    const char *last = p;
    int scale = 0;
    if (p < end && (*p == 'e' || *p == 'E')) {
        is_integer = false;
        p++;
        bool down = p < end && *p == '-';
        if (p < end && (*p == '-' || *p == '+'))
            p++;
        *stop = p;
        if (p == end || !is_digit(*p))
            return NUMBER_MALFORMED;
        for (; p < end && is_digit(*p); p++) {
            if (scale < 100 * EXPONENT_LIMIT)
                scale = scale * 10 + (*p - '0');
        }
        if (down)
            scale = -scale;
    }
    *stop = p;

    if (is_integer && whole_digits <= 19) { /* 19 digits do not wrap */
        uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0);
        if (mantissa <= limit && !(negative && mantissa == 0)) {
            *out = (struct number){.is_integer = true,
                                   .integer = negative ? (int64_t)(0 - mantissa) : (int64_t)mantissa};
            return NUMBER_OK;
        }
    }
    size_t digits = whole_digits + fraction_digits;
    double real = digits <= 19
                      ? from_parts(mantissa, (unsigned)digits, scale, (int)fraction_digits, first, last)
                      : from_long_text(first, last, scale);
    if (isinf(real))
        return NUMBER_OUT_OF_RANGE;
    *out = (struct number){.real = negative ? -real : real};
    return NUMBER_OK;
}

enum number_status number_parse(const char *text, size_t len, struct number *out)
{
    const char *stop;
    enum number_status status = number_scan(text, text + len, out, &stop);
    return status == NUMBER_OK && stop != text + len ? NUMBER_MALFORMED : status;
}

/* ---- Writing ---- */

/* A positive double in decimal: 0.d1d2d3… * 10^point, without trailing zeros. */
struct decimal {
    char digits[SHORTEST_MAX + 3];
    int count;
    int point;
};

static void strip_zeros(struct decimal *decimal)
{
    while (decimal->count > 1 && decimal->digits[decimal->count - 1] == '0')
        decimal->count--;
}

static void decimal_from_integer(uint64_t value, int exponent, struct decimal *out)
{
    char reversed[24];
    int count = 0;
    for (; value != 0; value /= 10)
        reversed[count++] = (char)('0' + value % 10);
    for (int i = 0; i < count; i++)
        out->digits[i] = reversed[count - 1 - i];
    out->count = count;
    out->point = count + exponent;
    strip_zeros(out);
}

static bool reads_back(const struct decimal *decimal, double value)
{
    return from_digits(decimal->digits, (size_t)decimal->count, decimal->point - decimal->count) == value;
}

/* A decimal of up to 15 digits survives the way through a double, so whichever one reads back as value is the
 * only one, and with its zeros stripped the shortest. One multiplication or division by an exact power finds
 * it. */
static bool shortest_of_fifteen(double value, struct decimal *out)
{
    if (FLT_EVAL_METHOD != 0 || !(value >= 1e-7 && value < 1e36))
        return false;
    if (value < (double)EXACT_INTEGER_MAX && value == (double)(uint64_t)value) {
        decimal_from_integer((uint64_t)value, 0, out);
        return true;
    }
    int binary;
    frexp(value, &binary);
    int exponent = 14 - (int)floor((binary - 1) * 0.30102999566398120); /* scales value to about 1e14..2e15 */
    if (exponent > EXACT_POWER_MAX || exponent < -EXACT_POWER_MAX)
        return false;
    double scaled = exponent >= 0 ? value * exact_power[exponent] : value / exact_power[-exponent];
    if (scaled >= 1e15) {
        exponent--;
        if (exponent < -EXACT_POWER_MAX)
            return false;
        scaled = exponent >= 0 ? value * exact_power[exponent] : value / exact_power[-exponent];
    }
    double whole = nearbyint(scaled);
    double back = exponent >= 0 ? whole / exact_power[exponent] : whole * exact_power[-exponent];
    if (back != value)
        return false;
    decimal_from_integer((uint64_t)whole, -exponent, out);
    return true;
}

/* The decimal of that many digits nearest to value. */
static void nearest_decimal(double value, int count, struct decimal *out)
{
    char text[48];
    snprintf(text, sizeof text, "%.*e", count - 1, value);
    out->count = 0;
    const char *p = text;
    for (; *p != 'e' && *p != '\0'; p++) {
        if (is_digit(*p)) /* what is none is the locale's decimal point */
            out->digits[out->count++] = *p;
    }
    out->point = (*p == 'e' ? (int)strtol(p + 1, NULL, 10) : 0) + 1;
}

/* One more or one less in the last place; false when that changes the number of digits. */
static bool neighbour(struct decimal *decimal, int step)
{
    int i = decimal->count - 1;
    char turn = step > 0 ? '9' : '0';
    while (i > 0 && decimal->digits[i] == turn)
        decimal->digits[i--] = step > 0 ? '0' : '9';
    if (i == 0 && decimal->digits[0] == (step > 0 ? '9' : '1'))
        return false;
    decimal->digits[i] = (char)(decimal->digits[i] + step);
    return true;
}

static void shortest_decimal(double value, struct decimal *out)
{
    if (shortest_of_fifteen(value, out))
        return;
    int binary;
    bool power_of_two = frexp(value, &binary) == 0.5;
    for (int count = value < DBL_MIN ? 1 : DBL_DIG; count < SHORTEST_MAX; count++) {
        nearest_decimal(value, count, out);
        bool found = reads_back(out, value);
        /* Above a power of two the doubles lie twice as far apart as below it, so that a decimal that is not
         * the nearest one may read back where the nearest does not. */
        for (int step = 1; power_of_two && !found && step >= -1; step -= 2) {
            nearest_decimal(value, count, out);
            found = neighbour(out, step) && reads_back(out, value);
        }
        if (found) {
            strip_zeros(out);
            return;
        }
    }
    nearest_decimal(value, SHORTEST_MAX, out);
    strip_zeros(out);
}

static char *put(char *p, const char *bytes, int count)
{
    memcpy(p, bytes, (size_t)count);
    return p + count;
}

static char *put_zeros(char *p, int count)
{
    memset(p, '0', (size_t)count);
    return p + count;
}

static char *put_decimal(char *p, const struct decimal *decimal)
{
    const char *digits = decimal->digits;
    int count = decimal->count;
    int point = decimal->point;
    if (point > 21 || point <= -6) {
        *p++ = digits[0];
        if (count > 1) {
            *p++ = '.';
            p = put(p, digits + 1, count - 1);
        }
        return p + snprintf(p, 8, "e%+d", point - 1);
    }
    if (point <= 0) {
        p = put_zeros(put(p, "0.", 2), -point);
        return put(p, digits, count);
    }
    if (count <= point)
        return put_zeros(put(p, digits, count), point - count);
    p = put(p, digits, point);
    *p++ = '.';
    return put(p, digits + point, count - point);
}

size_t number_format_js(double value, char out[NUMBER_TEXT_MAX])
{
    char *p = out;
    if (value < 0)
        *p++ = '-';
    if (isnan(value)) {
        p = put(p, "NaN", 3);
    } else if (isinf(value)) {
        p = put(p, "Infinity", 8);
    } else if (value == 0) {
        *p++ = '0';
    } else {
        struct decimal decimal = {.count = 0};
        shortest_decimal(fabs(value), &decimal);
        p = put_decimal(p, &decimal);
    }
    *p = '\0';
    return (size_t)(p - out);
}

size_t number_format_double(double value, char out[NUMBER_TEXT_MAX])
{
    if (value == 0) {
        bool negative = signbit(value) != 0;
        memcpy(out, negative ? "-0.0" : "0.0", negative ? 5 : 4);
        return negative ? 4 : 3;
    }
    size_t len = number_format_js(value, out);
    if (isfinite(value) && strpbrk(out, ".e") == NULL) {
        memcpy(out + len, ".0", 3);
        len += 2;
    }
    return len;
}

size_t number_format_integer(int64_t value, char out[NUMBER_TEXT_MAX])
{
    char reversed[24];
    size_t count = 0;
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        reversed[count++] = (char)('0' + magnitude % 10);
        magnitude /= 10;
    } while (magnitude != 0);
    if (value < 0)
        reversed[count++] = '-';
    for (size_t i = 0; i < count; i++)
        out[i] = reversed[count - 1 - i];
    out[count] = '\0';
    return count;
}
