/* POSIX TZ strings, as in the last line of TZif files: reading them, and when their changes are. Must not
 * read past the length given: the text is a part of a file. */
#include "base/iso8601.h"
#include "base/zone_priv.h"

#include <string.h>

#define DAY 86400
#define HOURS_MAX 167 /* RFC 9636 section 3.3.2 */

struct reader {
    const char *text;
    size_t len;
    size_t at;
    struct err *err;
};

static enum err_code refuse(const struct reader *r, const char *what)
{
    return err_set(r->err, ERR_CORRUPT, "the TZ string is not valid: %s at its character %zu", what,
                   r->at + 1);
}

static bool take(struct reader *r, char wanted)
{
    if (r->at >= r->len || r->text[r->at] != wanted)
        return false;
    r->at++;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* One to three digits, at most max. */
static bool take_number(struct reader *r, int max, int *out)
{
    size_t begin = r->at;
    int number = 0;
    while (r->at < r->len && is_digit(r->text[r->at]) && r->at - begin < 3)
        number = number * 10 + (r->text[r->at++] - '0');
    *out = number;
    return r->at > begin && number <= max;
}

/* [+-]hh[:mm[:ss]] */
static enum err_code read_time(struct reader *r, int hours_max, int32_t *out)
{
    int hours = 0, minutes = 0, seconds = 0;
    int sign = take(r, '-') ? -1 : 1;
    if (sign > 0)
        take(r, '+');
    if (!take_number(r, hours_max, &hours))
        return refuse(r, "hours expected");
    if (take(r, ':')) {
        if (!take_number(r, 59, &minutes))
            return refuse(r, "minutes expected");
        if (take(r, ':') && !take_number(r, 59, &seconds))
            return refuse(r, "seconds expected");
    }
    *out = sign * (hours * 3600 + minutes * 60 + seconds);
    return ERR_NONE;
}

/* Three letters or more, or in <> also digits and signs. */
static enum err_code read_abbreviation(struct reader *r, struct zone_type *type)
{
    bool quoted = take(r, '<');
    size_t begin = r->at;
    while (r->at < r->len &&
           (is_letter(r->text[r->at]) ||
            (quoted && (is_digit(r->text[r->at]) || r->text[r->at] == '+' || r->text[r->at] == '-'))))
        r->at++;
    size_t len = r->at - begin;
    if (len < 3 || len > ZONE_ABBREVIATION_MAX || (quoted && !take(r, '>')))
        return refuse(r, "an abbreviation expected");
    memcpy(type->abbreviation, r->text + begin, len);
    type->abbreviation[len] = '\0';
    return ERR_NONE;
}

static enum err_code read_day(struct reader *r, struct zone_rule_day *day)
{
    if (!take(r, ','))
        return refuse(r, "',' expected");
    if (take(r, 'M')) {
        day->form = ZONE_DAY_WEEKDAY;
        if (!take_number(r, 12, &day->month) || day->month < 1 || !take(r, '.') ||
            !take_number(r, 5, &day->week) || day->week < 1 || !take(r, '.') || !take_number(r, 6, &day->day))
            return refuse(r, "month.week.weekday expected");
    } else if (take(r, 'J')) {
        day->form = ZONE_DAY_JULIAN;
        if (!take_number(r, 365, &day->day) || day->day < 1)
            return refuse(r, "a day from 1 to 365 expected");
    } else {
        day->form = ZONE_DAY_ZERO_BASED;
        if (!take_number(r, 365, &day->day))
            return refuse(r, "a day from 0 to 365 expected");
    }
    day->time = 2 * 3600;
    return take(r, '/') ? read_time(r, HOURS_MAX, &day->time) : ERR_NONE;
}

enum err_code zone_rule_read(const char *text, size_t len, struct zone_rule *out, struct err *err)
{
    struct reader r = {.text = text, .len = len, .err = err};
    struct zone_rule rule = {0};
    int32_t west = 0;
    if (read_abbreviation(&r, &rule.standard) != ERR_NONE || read_time(&r, 24, &west) != ERR_NONE)
        return ERR_CORRUPT;
    rule.standard.seconds = -west;
    if (r.at < r.len) {
        rule.has_dst = true;
        rule.daylight.is_dst = true;
        if (read_abbreviation(&r, &rule.daylight) != ERR_NONE)
            return ERR_CORRUPT;
        rule.daylight.seconds = rule.standard.seconds + 3600;
        if (r.at < r.len && text[r.at] != ',') {
            if (read_time(&r, 24, &west) != ERR_NONE)
                return ERR_CORRUPT;
            rule.daylight.seconds = -west;
        }
        if (read_day(&r, &rule.begin) != ERR_NONE || read_day(&r, &rule.end) != ERR_NONE)
            return ERR_CORRUPT;
    }
    if (r.at != r.len)
        return refuse(&r, "its end expected");
    if (rule.standard.seconds < ZONE_OFFSET_MIN || rule.standard.seconds > ZONE_OFFSET_MAX ||
        rule.daylight.seconds < ZONE_OFFSET_MIN || rule.daylight.seconds > ZONE_OFFSET_MAX)
        return err_set(err, ERR_CORRUPT, "the TZ string is not valid: an offset is further than 26 hours");
    *out = rule;
    return ERR_NONE;
}

/* In seconds since 1970 as local clocks show them. */
static int64_t change_in_year(const struct zone_rule_day *day, int year)
{
    int64_t days = iso_days(year, 1, 1);
    if (day->form == ZONE_DAY_JULIAN) {
        bool leap_day_before = iso_days_in_month(year, 2) == 29 && day->day >= 60;
        days += day->day - 1 + (leap_day_before ? 1 : 0);
    } else if (day->form == ZONE_DAY_ZERO_BASED) {
        days += day->day;
    } else {
        days = iso_days(year, day->month, 1);
        int first = (int)(((days + 4) % 7 + 7) % 7); /* 1970 began on a Thursday */
        int of_month = (day->day - first + 7) % 7 + 1 + 7 * (day->week - 1);
        if (of_month > iso_days_in_month(year, day->month))
            of_month -= 7;
        days += of_month - 1;
    }
    return days * DAY + day->time;
}

/* A change may be a week before or after its year, so two years on either side are looked at. */
#define YEARS_AROUND 2

void zone_rule_span(const struct zone_rule *rule, int64_t seconds, struct zone_span *out)
{
    *out = (struct zone_span){INT64_MIN, INT64_MAX, &rule->standard};
    if (!rule->has_dst)
        return;
    struct iso_time local;
    iso_from_unix_ms((seconds < ISO_MIN_MS / 1000   ? ISO_MIN_MS / 1000
                      : seconds > ISO_MAX_MS / 1000 ? ISO_MAX_MS / 1000
                                                    : seconds) *
                         1000,
                     0, &local);
    struct zone_span changes[2 * (2 * YEARS_AROUND + 1)];
    size_t count = 0;
    for (int year = local.year - YEARS_AROUND; year <= local.year + YEARS_AROUND; year++) {
        struct zone_span begin = {change_in_year(&rule->begin, year) - rule->standard.seconds, 0,
                                  &rule->daylight};
        struct zone_span end = {change_in_year(&rule->end, year) - rule->daylight.seconds, 0,
                                &rule->standard};
        bool southern = end.begin < begin.begin;
        changes[count++] = southern ? end : begin;
        changes[count++] = southern ? begin : end;
    }
    /* By time; of two at one moment the later in the year counts: "EST5EDT,0/0,J365/25" is EDT all year. */
    for (size_t i = 1; i < count; i++) {
        struct zone_span change = changes[i];
        size_t at = i;
        for (; at > 0 && changes[at - 1].begin > change.begin; at--)
            changes[at] = changes[at - 1];
        changes[at] = change;
    }
    for (size_t i = 0; i < count; i++) {
        if (changes[i].begin <= seconds) {
            out->begin = changes[i].begin;
            out->type = changes[i].type;
        } else {
            out->end = changes[i].begin;
            return;
        }
    }
}
