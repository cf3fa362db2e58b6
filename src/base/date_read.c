/* Reading dates and times in forms that callers describe. Must not guess: what does not fit is refused. */
#include "base/date_format_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MS_PER_DAY INT64_C(86400000)

/* What fields say. */
enum part {
    PART_YEAR,
    PART_MONTH,
    PART_DAY,
    PART_YEARDAY,
    PART_WEEKDAY,
    PART_WEEK_YEAR,
    PART_WEEK,
    PART_HOUR,
    PART_HALF_HOUR, /* 0 to 11, by a clock with twelve */
    PART_HALF,      /* 0: AM, 1: PM */
    PART_MINUTE,
    PART_SECOND,
    PART_FRACTION, /* milliseconds */
    PART_OFFSET,   /* seconds east */
    PART_UNIX,     /* seconds */
    PARTS,
};

struct reader {
    const char *format;
    size_t format_len;
    const char *text;
    size_t len;
    size_t at;
    struct err *err;
    int64_t values[PARTS];
    size_t places[PARTS]; /* where in the text they are */
    unsigned parts;       /* bit n: part n was read */
};

static bool has(const struct reader *r, enum part part)
{
    return (r->parts >> part & 1) != 0;
}

__attribute__((format(printf, 3, 4))) static enum err_code refuse(const struct reader *r, size_t at,
                                                                  const char *expected, ...)
{
    char text[128];
    va_list arguments;
    va_start(arguments, expected);
    vsnprintf(text, sizeof text, expected, arguments);
    va_end(arguments);
    size_t shown = r->len < 64 ? r->len : 64;
    while (shown > 0 && shown < r->len && ((unsigned char)r->text[shown] & 0xc0) == 0x80)
        shown--; /* no character is cut in two */
    size_t character = 1;
    for (size_t i = 0; i < at; i++)
        character += ((unsigned char)r->text[i] & 0xc0) != 0x80 ? 1 : 0;
    return err_set(r->err, ERR_INVALID, "\"%.*s%s\" does not fit \"%.*s\": %s expected at character %zu",
                   (int)shown, r->text, shown < r->len ? "…" : "", (int)r->format_len, r->format, text,
                   character);
}

static enum err_code bad_format(const struct reader *r, const char *what)
{
    return err_set(r->err, ERR_INVALID, "the format \"%.*s\" cannot be read: %s", (int)r->format_len,
                   r->format, what);
}

static char peek(const struct reader *r, size_t ahead)
{
    return r->len - r->at > ahead ? r->text[r->at + ahead] : '\0';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static enum err_code set_part(struct reader *r, enum part part, size_t place, int64_t value)
{
    if (has(r, part) && r->values[part] != value)
        return refuse(r, place, "the same as before");
    r->parts |= 1u << part;
    r->values[part] = value;
    r->places[part] = place;
    return ERR_NONE;
}

/* Exactly width digits; with the flag '-' one to width. */
static enum err_code read_digits(struct reader *r, const struct date_field *field, int width, int low,
                                 int high, int *out)
{
    size_t place = r->at;
    int digits = 0, number = 0;
    for (; digits < width && is_digit(peek(r, 0)); digits++)
        number = number * 10 + (r->text[r->at++] - '0');
    if ((field->flag == '-' ? digits == 0 : digits != width) || number < low || number > high) {
        int shown = field->flag == '-' ? 1 : width;
        return refuse(r, place, "a number from %0*d to %0*d", shown, low, shown, high);
    }
    *out = number;
    return ERR_NONE;
}

static enum err_code read_number(struct reader *r, const struct date_field *field, enum part part, int width,
                                 int low, int high)
{
    size_t place = r->at;
    int number = 0;
    if (read_digits(r, field, width, low, high, &number) != ERR_NONE)
        return ERR_INVALID;
    return set_part(r, part, place, number);
}

/* As POSIX has it for %y. */
static enum err_code read_short_year(struct reader *r, const struct date_field *field)
{
    size_t place = r->at;
    int year = 0;
    if (read_digits(r, field, 2, 0, 99, &year) != ERR_NONE)
        return ERR_INVALID;
    return set_part(r, PART_YEAR, place, year < 69 ? 2000 + year : 1900 + year);
}

/* The first of the names that is next in the text, in any case, or its first characters alone. */
static enum err_code read_name(struct reader *r, enum part part, const char *const names[], int count,
                               bool whole, int first_value, const char *expected)
{
    for (int i = 0; i < count; i++) {
        size_t len = whole ? strlen(names[i]) : DATE_SHORT_NAME;
        if (r->len - r->at >= len && strncasecmp(r->text + r->at, names[i], len) == 0) {
            r->at += len;
            return set_part(r, part, r->at - len, first_value + i);
        }
    }
    return refuse(r, r->at, "%s", expected);
}

/* The two digits of a blank-padded day. */
static enum err_code read_blank_day(struct reader *r)
{
    static const struct date_field two = {.letter = 'd'}, one = {.letter = 'd', .flag = '-'};
    if (peek(r, 0) != ' ')
        return read_number(r, &two, PART_DAY, 2, 10, 31);
    r->at++;
    return read_number(r, &one, PART_DAY, 1, 1, 9);
}

static enum err_code read_fraction(struct reader *r)
{
    size_t place = r->at;
    int digits = 0, ms = 0;
    for (; digits < 9 && is_digit(peek(r, 0)); digits++, r->at++) {
        if (digits < 3)
            ms = ms * 10 + (r->text[r->at] - '0');
    }
    if (digits == 0)
        return refuse(r, place, "1 to 9 digits of a fraction");
    for (; digits < 3; digits++)
        ms *= 10;
    return set_part(r, PART_FRACTION, place, ms);
}

/* Z, or a sign and hh, hhmm, hh:mm, hhmmss or hh:mm:ss. */
static enum err_code read_offset(struct reader *r)
{
    size_t place = r->at;
    int numbers[3] = {0};
    if (peek(r, 0) == 'Z' || peek(r, 0) == 'z') {
        r->at++;
        return set_part(r, PART_OFFSET, place, 0);
    }
    char sign = peek(r, 0);
    if (sign != '+' && sign != '-')
        return refuse(r, place, "an offset such as +02:00, or Z,");
    r->at++;
    bool colon = peek(r, 2) == ':';
    for (int i = 0; i < 3; i++) {
        size_t skip = i > 0 && colon ? 1 : 0;
        if (i > 0 && ((skip == 1 && peek(r, 0) != ':') || !is_digit(peek(r, skip))))
            break;
        if (!is_digit(peek(r, skip)) || !is_digit(peek(r, skip + 1)))
            return refuse(r, place, "an offset such as +02:00, or Z,");
        numbers[i] = (peek(r, skip) - '0') * 10 + (peek(r, skip + 1) - '0');
        r->at += skip + 2;
    }
    if (numbers[0] > 23 || numbers[1] > 59 || numbers[2] > 59)
        return refuse(r, place, "an offset of less than 24 hours");
    int seconds = numbers[0] * 3600 + numbers[1] * 60 + numbers[2];
    return set_part(r, PART_OFFSET, place, sign == '-' ? -seconds : seconds);
}

static enum err_code read_abbreviation(struct reader *r)
{
    static const char *const names[] = {"UTC", "GMT", "Z"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t len = strlen(names[i]);
        if (r->len - r->at >= len && memcmp(r->text + r->at, names[i], len) == 0) {
            r->at += len;
            return set_part(r, PART_OFFSET, r->at - len, 0);
        }
    }
    return refuse(r, r->at, "UTC, GMT or Z");
}

static enum err_code read_unix(struct reader *r)
{
    size_t place = r->at;
    int64_t seconds = 0;
    bool negative = peek(r, 0) == '-';
    r->at += negative ? 1 : 0;
    size_t begin = r->at;
    for (; is_digit(peek(r, 0)) && r->at - begin < 13; r->at++)
        seconds = seconds * 10 + (r->text[r->at] - '0');
    if (negative)
        seconds = -seconds;
    if (r->at == begin || seconds < ISO_MIN_MS / 1000 || seconds > ISO_MAX_MS / 1000)
        return refuse(r, place, "Unix seconds of the years 0000 to 9999");
    return set_part(r, PART_UNIX, place, seconds);
}

static enum err_code read_literal(struct reader *r, char wanted)
{
    if (r->at < r->len && r->text[r->at] == wanted) {
        r->at++;
        return ERR_NONE;
    }
    if (wanted > ' ' && wanted <= '~')
        return refuse(r, r->at, "'%c'", wanted);
    return refuse(r, r->at, wanted == ' ' ? "a blank" : "what the format has there");
}

static enum err_code read_field(struct reader *r, const struct date_field *field)
{
    switch (field->letter) {
    case 'Y':
        return read_number(r, field, PART_YEAR, 4, 0, 9999);
    case 'y':
        return read_short_year(r, field);
    case 'm':
        return read_number(r, field, PART_MONTH, 2, 1, 12);
    case 'B':
        return read_name(r, PART_MONTH, date_month_names, 12, true, 1, "a month such as January");
    case 'b':
        return read_name(r, PART_MONTH, date_month_names, 12, false, 1, "a month such as Jan");
    case 'd':
        return read_number(r, field, PART_DAY, 2, 1, 31);
    case 'e':
        return read_blank_day(r);
    case 'j':
        return read_number(r, field, PART_YEARDAY, 3, 1, 366);
    case 'A':
        return read_name(r, PART_WEEKDAY, date_day_names, 7, true, 1, "a day of the week such as Monday");
    case 'a':
        return read_name(r, PART_WEEKDAY, date_day_names, 7, false, 1, "a day of the week such as Mon");
    case 'u':
        return read_number(r, field, PART_WEEKDAY, 1, 1, 7);
    case 'G':
        return read_number(r, field, PART_WEEK_YEAR, 4, 0, 9999);
    case 'V':
        return read_number(r, field, PART_WEEK, 2, 1, 53);
    case 'H':
        return read_number(r, field, PART_HOUR, 2, 0, 23);
    case 'I':
        return read_number(r, field, PART_HALF_HOUR, 2, 1, 12);
    case 'p':
        return read_name(r, PART_HALF, date_half_names, 2, true, 0, "AM or PM");
    case 'M':
        return read_number(r, field, PART_MINUTE, 2, 0, 59);
    case 'S':
        return read_number(r, field, PART_SECOND, 2, 0, 60);
    case 'f':
        return read_fraction(r);
    case 'z':
        return read_offset(r);
    case 'Z':
        return read_abbreviation(r);
    case 's':
        return read_unix(r);
    default:
        return read_literal(r, '%');
    }
}

static enum err_code read_format(struct reader *r, const char *format, size_t len)
{
    for (size_t at = 0; at < len;) {
        struct date_field field;
        enum err_code code;
        if (format[at] != '%') {
            code = read_literal(r, format[at++]);
        } else {
            code = date_field_next(format, len, &at, &field, r->err);
            const char *parts = code == ERR_NONE ? date_field_parts(field.letter) : NULL;
            if (parts != NULL)
                code = read_format(r, parts, strlen(parts));
            else if (code == ERR_NONE)
                code = read_field(r, &field);
        }
        if (code != ERR_NONE)
            return code;
    }
    return ERR_NONE;
}

/* ---- from the parts to the time ---- */

static enum err_code date_of_year(const struct reader *r, int64_t *day)
{
    int year = (int)r->values[PART_YEAR];
    if (has(r, PART_YEARDAY)) {
        if (r->values[PART_YEARDAY] == 366 && iso_days_in_month(year, 2) != 29)
            return refuse(r, r->places[PART_YEARDAY], "a day of that year");
        *day = iso_days(year, 1, 1) + r->values[PART_YEARDAY] - 1;
        return ERR_NONE;
    }
    if (has(r, PART_DAY) && !has(r, PART_MONTH))
        return bad_format(r, "a day of the month needs its month (%m, %b or %B)");
    int month = has(r, PART_MONTH) ? (int)r->values[PART_MONTH] : 1;
    int of_month = has(r, PART_DAY) ? (int)r->values[PART_DAY] : 1;
    if (of_month > iso_days_in_month(year, month))
        return refuse(r, r->places[PART_DAY], "a day of that month");
    *day = iso_days(year, month, of_month);
    return ERR_NONE;
}

/* The Monday of a year's week 1, which is the week of January 4th. */
static int64_t first_week(int year)
{
    int64_t day = iso_days(year, 1, 4);
    return day - ((day + 3) % 7 + 7) % 7;
}

static enum err_code date_of_week(const struct reader *r, int64_t *day)
{
    int year = (int)r->values[PART_WEEK_YEAR];
    int64_t monday = first_week(year) + (r->values[PART_WEEK] - 1) * 7;
    if (monday >= first_week(year + 1))
        return refuse(r, r->places[PART_WEEK], "a week of that year");
    *day = monday + (has(r, PART_WEEKDAY) ? r->values[PART_WEEKDAY] - 1 : 0);
    return ERR_NONE;
}

/* Whether what else the text says of the date is so. */
static enum err_code check_date(const struct reader *r, const struct zoned_fields *f)
{
    const struct {
        enum part part;
        int value;
    } facts[] = {
        {PART_YEAR, f->time.year},  {PART_MONTH, f->time.month}, {PART_DAY, f->time.day},
        {PART_YEARDAY, f->yearday}, {PART_WEEKDAY, f->weekday},  {PART_WEEK_YEAR, f->week_year},
        {PART_WEEK, f->week},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        enum part part = facts[i].part;
        if (!has(r, part) || r->values[part] == facts[i].value)
            continue;
        if (part == PART_WEEKDAY)
            return refuse(r, r->places[part], "%s, as the date says,", date_day_names[facts[i].value - 1]);
        return refuse(r, r->places[part], "%d, as the date says,", facts[i].value);
    }
    return ERR_NONE;
}

static enum err_code resolve_date(const struct reader *r, int64_t *ms)
{
    int64_t day = 0;
    enum err_code code;
    if (has(r, PART_YEAR))
        code = date_of_year(r, &day);
    else if (has(r, PART_WEEK_YEAR) && has(r, PART_WEEK))
        code = date_of_week(r, &day);
    else
        return bad_format(r, "a date needs its year (%Y or %y, or %G with %V), or Unix seconds (%s)");
    if (code != ERR_NONE)
        return code;
    struct zoned_fields fields;
    *ms = day * MS_PER_DAY;
    code = zoned_fields_at(*ms, (struct zone_offset){0}, &fields, r->err);
    return code == ERR_NONE ? check_date(r, &fields) : code;
}

static enum err_code resolve_time(const struct reader *r, int64_t *ms)
{
    int64_t hour = r->values[PART_HOUR];
    int64_t half_hour = r->values[PART_HALF_HOUR] % 12;
    if (!has(r, PART_HOUR) && has(r, PART_HALF_HOUR)) {
        if (!has(r, PART_HALF))
            return bad_format(r, "%I needs %p; for hours from 00 to 23 use %H");
        hour = half_hour + r->values[PART_HALF] * 12;
    }
    if (has(r, PART_HALF_HOUR) && half_hour != hour % 12)
        return refuse(r, r->places[PART_HALF_HOUR], "the same hour as before");
    if (has(r, PART_HALF) && r->values[PART_HALF] != hour / 12)
        return refuse(r, r->places[PART_HALF], "%s", date_half_names[hour / 12]);
    int64_t second = r->values[PART_SECOND], fraction = r->values[PART_FRACTION];
    if (second == 60) {
        second = 59;
        fraction = 999;
    }
    *ms = ((hour * 60 + r->values[PART_MINUTE]) * 60 + second) * 1000 + fraction;
    return ERR_NONE;
}

static enum err_code resolve(const struct reader *r, struct date_read *out)
{
    int64_t date, time;
    *out = (struct date_read){.is_moment = has(r, PART_UNIX) || has(r, PART_OFFSET)};
    if (has(r, PART_UNIX)) {
        if ((r->parts & ~(1u << PART_UNIX | 1u << PART_FRACTION)) != 0)
            return bad_format(r, "%s is the whole time; only %f can be beside it");
        out->ms = r->values[PART_UNIX] * 1000 + r->values[PART_FRACTION];
        return ERR_NONE;
    }
    if (resolve_date(r, &date) != ERR_NONE || resolve_time(r, &time) != ERR_NONE)
        return ERR_INVALID;
    out->ms = date + time - r->values[PART_OFFSET] * 1000;
    if (out->ms < ISO_MIN_MS || out->ms > ISO_MAX_MS)
        return err_set(r->err, ERR_INVALID, "the result is outside the years 0000 to 9999");
    return ERR_NONE;
}

enum err_code date_format_read(const char *format, size_t format_len, const char *text, size_t len,
                               struct date_read *out, struct err *err)
{
    struct reader r = {.format = format, .format_len = format_len, .text = text, .len = len, .err = err};
    if (date_format_check_size(format_len, err) != ERR_NONE ||
        read_format(&r, format, format_len) != ERR_NONE)
        return ERR_INVALID;
    if (r.at != r.len)
        return refuse(&r, r.at, "nothing more");
    return resolve(&r, out);
}
