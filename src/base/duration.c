/* Durations. Must not turn months or days into milliseconds: how long they are depends on when. */
#include "base/duration.h"

#include <stdbool.h>
#include <stdio.h>

#define AMOUNT_ENOUGH INT64_C(1000000000000000) /* more than any unit allows */
#define SECOND_MS INT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)

static const struct {
    const char *name;
    int64_t max;
    int64_t ms;
    char designator;
} units[DURATION_UNITS] = {
    [DURATION_YEARS] = {"years", 10000, 0, 'Y'},
    [DURATION_MONTHS] = {"months", 120000, 0, 'M'},
    [DURATION_WEEKS] = {"weeks", 530000, 7 * DAY_MS, 'W'},
    [DURATION_DAYS] = {"days", 3700000, DAY_MS, 'D'},
    [DURATION_HOURS] = {"hours", 88000000, HOUR_MS, 'H'},
    [DURATION_MINUTES] = {"minutes", INT64_C(5300000000), MINUTE_MS, 'M'},
    [DURATION_SECONDS] = {"seconds", INT64_C(320000000000), SECOND_MS, 'S'},
    [DURATION_MILLISECONDS] = {"milliseconds", INT64_C(320000000000000), 1, '\0'},
};

const char *duration_unit_name(enum duration_unit unit)
{
    return units[unit].name;
}

int64_t duration_unit_max(enum duration_unit unit)
{
    return units[unit].max;
}

int64_t duration_unit_ms(enum duration_unit unit)
{
    return units[unit].ms;
}

struct reader {
    const char *text;
    size_t len;
    size_t at;
    struct err *err;
};

static enum err_code refuse(const struct reader *r, const char *what)
{
    size_t shown = r->len < 64 ? r->len : 64;
    while (shown > 0 && shown < r->len && ((unsigned char)r->text[shown] & 0xc0) == 0x80)
        shown--; /* no character is cut in two */
    return err_set(
        r->err, ERR_INVALID,
        "\"%.*s%s\" is not a duration: %s at character %zu; use the form P1Y2M3W4DT5H6M7.5S, or parts "
        "of it",
        (int)shown, r->text, shown < r->len ? "…" : "", what, r->at + 1);
}

static bool is_digit(const struct reader *r)
{
    return r->at < r->len && r->text[r->at] >= '0' && r->text[r->at] <= '9';
}

static bool take(struct reader *r, char wanted)
{
    if (r->at >= r->len || r->text[r->at] != wanted)
        return false;
    r->at++;
    return true;
}

/* Billionths behind '.' or ','. */
static enum err_code read_fraction(struct reader *r, int64_t *billionths)
{
    int digits = 0;
    for (; is_digit(r) && digits < 9; digits++)
        *billionths = *billionths * 10 + (r->text[r->at++] - '0');
    if (digits == 0 || is_digit(r))
        return refuse(r, "1 to 9 digits of a fraction expected");
    for (; digits < 9; digits++)
        *billionths *= 10;
    return ERR_NONE;
}

/* What the fraction of a unit is in the smaller ones. */
static void spread(struct duration *duration, int64_t unit_ms, int64_t billionths)
{
    /* Below 3.6e6 * 1e9. */
    int64_t rest = unit_ms * billionths / 1000000000;
    for (int unit = DURATION_MINUTES; unit < DURATION_UNITS; unit++) {
        if (units[unit].ms >= unit_ms)
            continue;
        duration->amounts[unit] += rest / units[unit].ms;
        rest %= units[unit].ms;
    }
}

/* The parts of first to last, each once at most, in order. Adds to *count. */
static enum err_code read_parts(struct reader *r, int first, int last, struct duration *out, int *count)
{
    bool fraction = false;
    for (int unit = first; is_digit(r);) {
        size_t begin = r->at;
        int64_t amount = 0, billionths = 0;
        for (; is_digit(r); r->at++)
            amount = amount < AMOUNT_ENOUGH ? amount * 10 + (r->text[r->at] - '0') : amount;
        fraction = first == DURATION_HOURS && (take(r, '.') || take(r, ','));
        if (fraction && read_fraction(r, &billionths) != ERR_NONE)
            return ERR_INVALID;
        while (unit <= last && !take(r, units[unit].designator))
            unit++;
        if (unit > last)
            return refuse(r, first == DURATION_YEARS ? "Y, M, W or D, in this order, expected"
                                                     : "H, M or S, in this order, expected");
        if (amount > units[unit].max) {
            r->at = begin;
            return refuse(r, "a smaller number expected");
        }
        out->amounts[unit] = amount;
        spread(out, units[unit].ms, billionths);
        unit++;
        (*count)++;
        if (fraction)
            break; /* only the last may have one */
    }
    return ERR_NONE;
}

enum err_code duration_parse(const char *text, size_t len, struct duration *out, struct err *err)
{
    struct reader r = {.text = text, .len = len, .err = err};
    struct duration duration = {0};
    int count = 0;
    int sign = take(&r, '-') ? -1 : 1;
    if (sign > 0)
        take(&r, '+');
    if (!take(&r, 'P'))
        return refuse(&r, "P expected");
    if (read_parts(&r, DURATION_YEARS, DURATION_DAYS, &duration, &count) != ERR_NONE)
        return ERR_INVALID;
    if (take(&r, 'T')) {
        count = 0;
        if (read_parts(&r, DURATION_HOURS, DURATION_SECONDS, &duration, &count) != ERR_NONE)
            return ERR_INVALID;
    }
    if (count == 0)
        return refuse(&r, "a number expected");
    if (r.at != r.len)
        return refuse(&r, "nothing more expected");
    for (int unit = 0; unit < DURATION_UNITS; unit++)
        duration.amounts[unit] *= sign;
    *out = duration;
    return ERR_NONE;
}

enum err_code duration_format(const struct duration *duration, char buf[DURATION_TEXT_SIZE], struct err *err)
{
    bool negative = false, positive = false;
    for (int unit = 0; unit < DURATION_UNITS; unit++) {
        negative = negative || duration->amounts[unit] < 0;
        positive = positive || duration->amounts[unit] > 0;
    }
    if (negative && positive)
        return err_set(err, ERR_INVALID, "a duration has one sign for all its parts");
    int sign = negative ? -1 : 1;
    size_t len = (size_t)snprintf(buf, DURATION_TEXT_SIZE, "%sP", negative ? "-" : "");
    size_t empty = len;
    for (int unit = 0; unit <= DURATION_MINUTES; unit++) {
        if (unit == DURATION_HOURS)
            len += (size_t)snprintf(buf + len, DURATION_TEXT_SIZE - len, "T");
        if (duration->amounts[unit] != 0)
            len += (size_t)snprintf(buf + len, DURATION_TEXT_SIZE - len, "%lld%c",
                                    (long long)(sign * duration->amounts[unit]), units[unit].designator);
    }
    /* At most 3.2e14 + 3.2e14. */
    int64_t ms =
        sign * (duration->amounts[DURATION_SECONDS] * 1000 + duration->amounts[DURATION_MILLISECONDS]);
    if (ms != 0 || len == empty + 1)
        len += (size_t)snprintf(buf + len, DURATION_TEXT_SIZE - len, "%lld", (long long)(ms / 1000));
    if (ms % 1000 != 0) {
        len += (size_t)snprintf(buf + len, DURATION_TEXT_SIZE - len, ".%03d", (int)(ms % 1000));
        while (buf[len - 1] == '0')
            len--;
    }
    if (buf[len - 1] >= '0' && buf[len - 1] <= '9')
        buf[len++] = 'S';
    if (buf[len - 1] == 'T')
        len--;
    buf[len] = '\0';
    return ERR_NONE;
}
