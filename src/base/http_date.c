/* HTTP-date. Must not know time zones: it is always GMT. */
#include "base/http_date.h"

#include "base/iso8601.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char *const days[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                   "Friday", "Saturday", "Sunday"};
static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct reader {
    const char *text;
    size_t len;
    size_t at;
    /* What a step that failed expected at this place: these characters, or what is described. */
    const char *literal;
    const char *described;
};

static bool expect(struct reader *r, const char *described)
{
    r->literal = NULL;
    r->described = described;
    return false;
}

static bool take(struct reader *r, const char *wanted)
{
    size_t len = strlen(wanted);
    if (r->len - r->at < len || memcmp(r->text + r->at, wanted, len) != 0) {
        r->literal = wanted;
        return false;
    }
    r->at += len;
    return true;
}

/* Exactly count digits. */
static bool take_number(struct reader *r, int count, int low, int high, const char *described, int *out)
{
    int number = 0;
    if (r->len - r->at < (size_t)count)
        return expect(r, described);
    for (int i = 0; i < count; i++) {
        char digit = r->text[r->at + (size_t)i];
        if (digit < '0' || digit > '9')
            return expect(r, described);
        number = number * 10 + (digit - '0');
    }
    if (number < low || number > high)
        return expect(r, described);
    r->at += (size_t)count;
    *out = number;
    return true;
}

static bool take_day_name(struct reader *r, bool whole)
{
    for (size_t i = 0; i < sizeof days / sizeof days[0]; i++) {
        size_t len = whole ? strlen(days[i]) : 3;
        if (r->len - r->at >= len && memcmp(r->text + r->at, days[i], len) == 0) {
            r->at += len;
            return true;
        }
    }
    return expect(r, "a day of the week");
}

static bool take_month(struct reader *r, int *out)
{
    for (int i = 0; i < 12; i++) {
        if (take(r, months[i])) {
            *out = i + 1;
            return true;
        }
    }
    return expect(r, "a month from Jan to Dec");
}

static bool take_day(struct reader *r, int *out)
{
    return take_number(r, 2, 1, 31, "day 01 to 31", out);
}

static bool take_year(struct reader *r, int *out)
{
    return take_number(r, 4, 0, 9999, "four digits of the year", out);
}

static bool take_time(struct reader *r, struct iso_time *t)
{
    return take(r, " ") && take_number(r, 2, 0, 23, "hour 00 to 23", &t->hour) && take(r, ":") &&
           take_number(r, 2, 0, 59, "minute 00 to 59", &t->minute) && take(r, ":") &&
           take_number(r, 2, 0, 60, "second 00 to 60", &t->second);
}

static bool read_imf(struct reader *r, struct iso_time *t)
{
    return take_day_name(r, false) && take(r, ", ") && take_day(r, &t->day) && take(r, " ") &&
           take_month(r, &t->month) && take(r, " ") && take_year(r, &t->year) && take_time(r, t) &&
           take(r, " GMT");
}

static bool read_rfc850(struct reader *r, struct iso_time *t, int64_t now_ms)
{
    struct iso_time now;
    if (!take_day_name(r, true) || !take(r, ", ") || !take_day(r, &t->day) || !take(r, "-") ||
        !take_month(r, &t->month) || !take(r, "-") ||
        !take_number(r, 2, 0, 99, "two digits of the year", &t->year) || !take_time(r, t) || !take(r, " GMT"))
        return false;
    iso_from_unix_ms(now_ms, 0, &now);
    t->year += now.year - now.year % 100;
    if (t->year > now.year + 50)
        t->year -= 100;
    else if (t->year <= now.year - 50)
        t->year += 100;
    return true;
}

static bool read_asctime(struct reader *r, struct iso_time *t)
{
    if (!take_day_name(r, false) || !take(r, " ") || !take_month(r, &t->month) || !take(r, " "))
        return false;
    bool day = r->at < r->len && r->text[r->at] == ' '
                   ? take(r, " ") && take_number(r, 1, 1, 9, "day 1 to 9", &t->day)
                   : take_day(r, &t->day);
    return day && take_time(r, t) && take(r, " ") && take_year(r, &t->year);
}

enum err_code http_date_parse(const char *text, size_t len, int64_t now_ms, int64_t *ms, struct err *err)
{
    struct reader r = {.text = text, .len = len};
    struct iso_time t = {.has_time = true};
    const char *comma = memchr(text, ',', len);
    bool good = comma == NULL       ? read_asctime(&r, &t)
                : comma - text == 3 ? read_imf(&r, &t)
                                    : read_rfc850(&r, &t, now_ms);
    if (good && r.at != r.len)
        good = expect(&r, "nothing more");
    if (good && (t.year < 0 || t.year > 9999 || t.day > iso_days_in_month(t.year, t.month)))
        return err_set(err, ERR_INVALID, "\"%.*s\" is not an HTTP date: its month has no day %d", (int)len,
                       text, t.day);
    if (!good) {
        size_t shown = len < 40 ? len : 40;
        while (shown > 0 && shown < len && ((unsigned char)text[shown] & 0xc0) == 0x80)
            shown--; /* no character is cut in two */
        const char *quote = r.literal != NULL ? "\"" : "";
        return err_set(
            err, ERR_INVALID,
            "\"%.*s%s\" is not an HTTP date: %s%s%s expected at character %zu; the form is \"Sun, 06 "
            "Nov 1994 08:49:37 GMT\"",
            (int)shown, text, shown < len ? "…" : "", quote, r.literal != NULL ? r.literal : r.described,
            quote, r.at + 1);
    }
    if (t.second == 60)
        t.second = 59;
    *ms = iso_unix_ms(&t);
    return ERR_NONE;
}

const char *http_date_format(int64_t ms, char buf[HTTP_DATE_SIZE])
{
    struct iso_time t;
    iso_from_unix_ms(ms, 0, &t);
    int64_t day = iso_days(t.year, t.month, t.day);
    snprintf(buf, HTTP_DATE_SIZE, "%.3s, %02d %s %04d %02d:%02d:%02d GMT", days[((day + 3) % 7 + 7) % 7],
             t.day, months[t.month - 1], t.year, t.hour, t.minute, t.second);
    return buf;
}
