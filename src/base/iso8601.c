/* ISO 8601 and RFC 3339. Must not use the C library's calendar: it depends on time zone and locale. */
#include "base/iso8601.h"

#include <string.h>

#define MS_PER_MINUTE 60000
#define MS_PER_DAY 86400000
#define MAX_OFFSET (23 * 60 + 59)

struct cursor {
    const char *text;
    size_t len;
    size_t at;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* '\0' at the end; callers that must tell it from a NUL look at the position. */
static char peek(const struct cursor *c)
{
    return c->at < c->len ? c->text[c->at] : '\0';
}

static bool take(struct cursor *c, char wanted)
{
    if (c->at >= c->len || c->text[c->at] != wanted)
        return false;
    c->at++;
    return true;
}

/* Exactly count digits, or no movement. */
static bool take_digits(struct cursor *c, size_t count, int *value)
{
    if (c->len - c->at < count)
        return false;
    int number = 0;
    for (size_t i = 0; i < count; i++) {
        char digit = c->text[c->at + i];
        if (!is_digit(digit))
            return false;
        number = number * 10 + (digit - '0');
    }
    c->at += count;
    *value = number;
    return true;
}

static bool leap_year(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

int iso_days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (month < 1 || month > 12)
        return 0;
    return days[month - 1] + (month == 2 && leap_year(year) ? 1 : 0);
}

/* Counts in years that begin in March, so that the leap day comes last, and from one cycle of 400 years
 * before year 0, so that nothing is negative. */
int64_t iso_days(int year, int month, int day)
{
    int64_t y = year + 400 - (month <= 2 ? 1 : 0);
    int64_t month_from_march = (month + 9) % 12;
    int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719468 - 146097;
}

static enum err_code refuse(const struct cursor *c, struct err *err, const char *what)
{
    size_t shown = c->len < 64 ? c->len : 64;
    while (shown > 0 && shown < c->len && ((unsigned char)c->text[shown] & 0xc0) == 0x80)
        shown--; /* no character is cut in two */
    return err_set(err, ERR_INVALID, "\"%.*s%s\" is not a date or time: %s at character %zu; use " ISO_FORMS,
                   (int)shown, c->text, shown < c->len ? "…" : "", what, c->at + 1);
}

static enum err_code parse_date(struct cursor *c, struct iso_time *t, struct err *err)
{
    if (!take_digits(c, 4, &t->year))
        return refuse(c, err, "four digits of the year expected");
    if (!take(c, '-'))
        return refuse(c, err, "'-' expected");
    if (!take_digits(c, 2, &t->month))
        return refuse(c, err, "two digits of the month expected");
    if (t->month < 1 || t->month > 12) {
        c->at -= 2;
        return refuse(c, err, "month 01 to 12 expected");
    }
    if (!take(c, '-'))
        return refuse(c, err, "'-' expected");
    if (!take_digits(c, 2, &t->day))
        return refuse(c, err, "two digits of the day expected");
    if (t->day < 1 || t->day > iso_days_in_month(t->year, t->month)) {
        c->at -= 2;
        return refuse(c, err, "a day of that month expected");
    }
    return ERR_NONE;
}

static enum err_code parse_fraction(struct cursor *c, struct iso_time *t, struct err *err)
{
    int digits = 0;
    for (; is_digit(peek(c)); digits++, c->at++) {
        if (digits == 9)
            return refuse(c, err, "at most 9 digits of a fraction expected");
        t->nanosecond = t->nanosecond * 10 + (c->text[c->at] - '0');
    }
    if (digits == 0)
        return refuse(c, err, "digits of a fraction expected");
    for (; digits < 9; digits++)
        t->nanosecond *= 10;
    return ERR_NONE;
}

static enum err_code parse_offset(struct cursor *c, struct iso_time *t, struct err *err)
{
    t->has_offset = true;
    if (take(c, 'Z') || take(c, 'z'))
        return ERR_NONE;
    int sign = peek(c) == '-' ? -1 : 1;
    c->at++;
    int hours = 0, minutes = 0;
    if (!take_digits(c, 2, &hours))
        return refuse(c, err, "two digits of the offset's hours expected");
    take(c, ':');
    if (!take_digits(c, 2, &minutes))
        return refuse(c, err, "two digits of the offset's minutes expected");
    if (hours > 23 || minutes > 59)
        return refuse(c, err, "an offset of at most 23:59 expected");
    t->offset_minutes = sign * (hours * 60 + minutes);
    return ERR_NONE;
}

static enum err_code parse_time(struct cursor *c, struct iso_time *t, struct err *err)
{
    t->has_time = true;
    if (!take_digits(c, 2, &t->hour) || t->hour > 23)
        return refuse(c, err, "hour 00 to 23 expected");
    if (!take(c, ':'))
        return refuse(c, err, "':' expected");
    if (!take_digits(c, 2, &t->minute) || t->minute > 59)
        return refuse(c, err, "minute 00 to 59 expected");
    if (take(c, ':')) {
        if (!take_digits(c, 2, &t->second) || t->second > 60)
            return refuse(c, err, "second 00 to 60 expected");
        if (take(c, '.') && parse_fraction(c, t, err) != ERR_NONE)
            return ERR_INVALID;
        if (t->second == 60) {
            t->second = 59;
            t->nanosecond = 999999999;
        }
    }
    char next = peek(c);
    if (next == 'Z' || next == 'z' || next == '+' || next == '-')
        return parse_offset(c, t, err);
    return ERR_NONE;
}

enum err_code iso_parse(const char *text, size_t len, struct iso_time *out, struct err *err)
{
    struct cursor c = {.text = text, .len = len};
    struct iso_time t = {0};
    if (parse_date(&c, &t, err) != ERR_NONE)
        return ERR_INVALID;
    if (take(&c, 'T') || take(&c, 't') || take(&c, ' ')) {
        if (parse_time(&c, &t, err) != ERR_NONE)
            return ERR_INVALID;
    }
    if (c.at != c.len)
        return refuse(&c, err, "nothing more expected");
    *out = t;
    return ERR_NONE;
}

int64_t iso_unix_ms(const struct iso_time *t)
{
    int64_t seconds = (int64_t)t->hour * 3600 + (int64_t)t->minute * 60 + t->second;
    return iso_days(t->year, t->month, t->day) * MS_PER_DAY + seconds * 1000 + t->nanosecond / 1000000 -
           (int64_t)t->offset_minutes * MS_PER_MINUTE;
}

void iso_from_unix_ms(int64_t ms, int offset_minutes, struct iso_time *out)
{
    if (offset_minutes < -MAX_OFFSET)
        offset_minutes = -MAX_OFFSET;
    if (offset_minutes > MAX_OFFSET)
        offset_minutes = MAX_OFFSET;
    int64_t shift = (int64_t)offset_minutes * MS_PER_MINUTE;
    if (ms < ISO_MIN_MS)
        ms = ISO_MIN_MS;
    if (ms > ISO_MAX_MS)
        ms = ISO_MAX_MS;
    if (ms + shift < ISO_MIN_MS || ms + shift > ISO_MAX_MS) {
        shift = 0;
        offset_minutes = 0;
    }
    /* From year 0 on everything is positive. */
    int64_t from_start = ms + shift - ISO_MIN_MS;
    int64_t day = from_start / MS_PER_DAY;
    int64_t of_day = from_start % MS_PER_DAY;
    int year = (int)(day / 366); /* at or before the right one, by 20 years at the most */
    int64_t start = iso_days(0, 1, 1);
    while (year < 9999 && iso_days(year + 1, 1, 1) - start <= day)
        year++;
    int rest = (int)(day - (iso_days(year, 1, 1) - start));
    int month = 1;
    while (rest >= iso_days_in_month(year, month))
        rest -= iso_days_in_month(year, month++);
    *out = (struct iso_time){.year = year,
                             .month = month,
                             .day = rest + 1,
                             .hour = (int)(of_day / 3600000),
                             .minute = (int)(of_day / 60000 % 60),
                             .second = (int)(of_day / 1000 % 60),
                             .nanosecond = (int)(of_day % 1000) * 1000000,
                             .has_time = true,
                             .has_offset = true,
                             .offset_minutes = offset_minutes};
}

/* Every field is in range by now, so the widths fit. */
static char *put(char *out, int value, int width)
{
    for (int i = width - 1; i >= 0; i--) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return out + width;
}

static char *put_after(char *out, char separator, int value, int width)
{
    *out++ = separator;
    return put(out, value, width);
}

const char *iso_format(int64_t ms, int offset_minutes, enum iso_precision precision,
                       char buf[ISO_FORMAT_SIZE])
{
    struct iso_time t;
    iso_from_unix_ms(ms, offset_minutes, &t);
    char *out = put(buf, t.year, 4);
    out = put_after(out, '-', t.month, 2);
    out = put_after(out, '-', t.day, 2);
    out = put_after(out, 'T', t.hour, 2);
    out = put_after(out, ':', t.minute, 2);
    if (precision != ISO_MINUTES)
        out = put_after(out, ':', t.second, 2);
    if (precision == ISO_MILLISECONDS)
        out = put_after(out, '.', t.nanosecond / 1000000, 3);
    if (t.offset_minutes == 0) {
        *out++ = 'Z';
    } else {
        int distance = t.offset_minutes < 0 ? -t.offset_minutes : t.offset_minutes;
        out = put_after(out, t.offset_minutes < 0 ? '-' : '+', distance / 60, 2);
        out = put_after(out, ':', distance % 60, 2);
    }
    *out = '\0';
    return buf;
}

const char *iso_format_utc(int64_t ms, char buf[ISO_UTC_SIZE])
{
    char full[ISO_FORMAT_SIZE];
    iso_format(ms, 0, ISO_MILLISECONDS, full);
    memcpy(buf, full, ISO_UTC_SIZE);
    buf[ISO_UTC_SIZE - 1] = '\0';
    return buf;
}

const char *iso_format_date(int64_t ms, char buf[ISO_DATE_SIZE])
{
    char full[ISO_FORMAT_SIZE];
    iso_format(ms, 0, ISO_MINUTES, full);
    memcpy(buf, full, ISO_DATE_SIZE - 1);
    buf[ISO_DATE_SIZE - 1] = '\0';
    return buf;
}

/* ---- JavaScript's view ---- */

static bool js_at_end(const struct cursor *c)
{
    return c->at == c->len || c->text[c->at] == '\0';
}

/* What may follow HH:MM. */
static bool js_time_tail(struct cursor *c, int hour, int minute)
{
    int second = 0;
    bool fraction_is_zero = true;
    if (take(c, ':')) {
        if (!take_digits(c, 2, &second))
            return false;
        if (take(c, '.')) {
            if (!is_digit(peek(c)))
                return false;
            for (; is_digit(peek(c)); c->at++) {
                if (c->text[c->at] != '0')
                    fraction_is_zero = false;
            }
        }
    }
    if (minute > 59 || second > 59 || hour > 24)
        return false;
    if (hour == 24 && (minute != 0 || second != 0 || !fraction_is_zero))
        return false;
    if (js_at_end(c))
        return true;
    if (take(c, 'Z') || take(c, 'z'))
        return js_at_end(c);
    if (!take(c, '+') && !take(c, '-'))
        return false;
    int hours = 0, minutes = 0;
    if (!take_digits(c, 2, &hours))
        return false;
    take(c, ':');
    return take_digits(c, 2, &minutes) && hours <= 23 && minutes <= 59 && js_at_end(c);
}

bool iso_is_js_date(const char *text, size_t len)
{
    struct cursor c = {.text = text, .len = len};
    int year = 0, month = 0, day = 0, hour = 0, minute = 0;
    if (!take_digits(&c, 4, &year) || !take(&c, '-') || !take_digits(&c, 2, &month) || !take(&c, '-') ||
        !take_digits(&c, 2, &day))
        return false;
    bool is_date = month >= 1 && month <= 12 && day >= 1 && day <= 31;
    if (c.at == len)
        return is_date || (year >= 1 && year <= 12 && month >= 1 && month <= 31);
    if (!take(&c, 'T') || !take_digits(&c, 2, &hour) || !take(&c, ':') || !take_digits(&c, 2, &minute))
        return false;
    return is_date && js_time_tail(&c, hour, minute);
}
