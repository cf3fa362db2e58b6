/* Dates and times in forms that callers describe: the forms' fields, and writing. Must not depend on the C
 * library's locale or calendar. */
#include "base/date_format_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *const date_month_names[12] = {"January",   "February", "March",    "April",
                                          "May",       "June",     "July",     "August",
                                          "September", "October",  "November", "December"};
const char *const date_day_names[7] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                       "Friday", "Saturday", "Sunday"};
const char *const date_half_names[2] = {"AM", "PM"};

enum err_code date_field_next(const char *format, size_t len, size_t *at, struct date_field *out,
                              struct err *err)
{
    static const char numbers[] = "YymdjuGVHIMS"; /* those that '-' may stand before */
    static const char others[] = "BbAaepfzZsFTR%";
    size_t begin = (*at)++;
    *out = (struct date_field){0};
    if (*at < len && (format[*at] == '-' || format[*at] == ':'))
        out->flag = format[(*at)++];
    out->letter = *at < len ? format[(*at)++] : '\0';
    bool number = out->letter != '\0' && strchr(numbers, out->letter) != NULL;
    bool other = out->letter != '\0' && strchr(others, out->letter) != NULL;
    if (out->flag == '-' ? number : out->flag == ':' ? out->letter == 'z' : number || other)
        return ERR_NONE;
    return err_set(
        err, ERR_INVALID,
        "the format \"%.*s\" has no field after its %% at character %zu; the fields are %%Y %%y %%m %%B "
        "%%b %%d %%e %%j %%A %%a %%u %%G %%V %%H %%I %%p %%M %%S %%f %%z %%:z %%Z %%s %%F %%T %%R %%%%, "
        "and numbers without zeros such as %%-d",
        (int)len, format, begin + 1);
}

enum err_code date_format_check_size(size_t len, struct err *err)
{
    return len <= DATE_FORMAT_MAX
               ? ERR_NONE
               : err_set(err, ERR_INVALID, "the format has %zu bytes; %d are allowed", len, DATE_FORMAT_MAX);
}

const char *date_field_parts(char letter)
{
    return letter == 'F' ? "%Y-%m-%d" : letter == 'T' ? "%H:%M:%S" : letter == 'R' ? "%H:%M" : NULL;
}

/* ---- writing ---- */

struct writer {
    char *out; /* DATE_FORMAT_TEXT_SIZE bytes, which are enough for every format of DATE_FORMAT_MAX */
    size_t len;
    int64_t ms;
    const struct zoned_fields *fields;
};

__attribute__((format(printf, 2, 3))) static void put(struct writer *w, const char *format, ...)
{
    size_t room = DATE_FORMAT_TEXT_SIZE - w->len;
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(w->out + w->len, room, format, arguments);
    va_end(arguments);
    w->len += len < 0 ? 0 : (size_t)len < room ? (size_t)len : room - 1;
}

static void put_number(struct writer *w, const struct date_field *field, int width, int number)
{
    put(w, "%0*d", field->flag == '-' ? 1 : width, number);
}

static void put_offset(struct writer *w, bool colon)
{
    int seconds = w->fields->offset.seconds;
    int distance = seconds < 0 ? -seconds : seconds;
    put(w, "%c%02d%s%02d", seconds < 0 ? '-' : '+', distance / 3600, colon ? ":" : "", distance / 60 % 60);
    if (distance % 60 != 0)
        put(w, "%s%02d", colon ? ":" : "", distance % 60);
}

static void write_field(struct writer *w, const struct date_field *field)
{
    const struct zoned_fields *f = w->fields;
    const struct iso_time *t = &f->time;
    switch (field->letter) {
    case 'Y':
        put_number(w, field, 4, t->year);
        break;
    case 'y':
        put_number(w, field, 2, t->year % 100);
        break;
    case 'm':
        put_number(w, field, 2, t->month);
        break;
    case 'B':
        put(w, "%s", date_month_names[t->month - 1]);
        break;
    case 'b':
        put(w, "%.*s", DATE_SHORT_NAME, date_month_names[t->month - 1]);
        break;
    case 'd':
        put_number(w, field, 2, t->day);
        break;
    case 'e':
        put(w, "%2d", t->day);
        break;
    case 'j':
        put_number(w, field, 3, f->yearday);
        break;
    case 'A':
        put(w, "%s", date_day_names[f->weekday - 1]);
        break;
    case 'a':
        put(w, "%.*s", DATE_SHORT_NAME, date_day_names[f->weekday - 1]);
        break;
    case 'u':
        put_number(w, field, 1, f->weekday);
        break;
    case 'G':
        put_number(w, field, 4, f->week_year);
        break;
    case 'V':
        put_number(w, field, 2, f->week);
        break;
    case 'H':
        put_number(w, field, 2, t->hour);
        break;
    case 'I':
        put_number(w, field, 2, (t->hour + 11) % 12 + 1);
        break;
    case 'p':
        put(w, "%s", date_half_names[t->hour / 12]);
        break;
    case 'M':
        put_number(w, field, 2, t->minute);
        break;
    case 'S':
        put_number(w, field, 2, t->second);
        break;
    case 'f':
        put(w, "%03d", t->nanosecond / 1000000);
        break;
    case 'z':
        put_offset(w, field->flag == ':');
        break;
    case 'Z':
        put(w, "%s", f->offset.abbreviation);
        break;
    case 's':
        put(w, "%lld", (long long)(w->ms / 1000 - (w->ms % 1000 < 0 ? 1 : 0)));
        break;
    default:
        put(w, "%%");
    }
}

static enum err_code write_format(struct writer *w, const char *format, size_t len, struct err *err)
{
    for (size_t at = 0; at < len;) {
        struct date_field field;
        if (format[at] != '%') {
            w->out[w->len++] = format[at++];
            continue;
        }
        if (date_field_next(format, len, &at, &field, err) != ERR_NONE)
            return ERR_INVALID;
        const char *parts = date_field_parts(field.letter);
        if (parts == NULL)
            write_field(w, &field);
        else if (write_format(w, parts, strlen(parts), err) != ERR_NONE)
            return ERR_INVALID;
    }
    return ERR_NONE;
}

enum err_code date_format_write(const char *format, size_t format_len, int64_t ms,
                                const struct zoned_fields *fields, char out[DATE_FORMAT_TEXT_SIZE],
                                size_t *out_len, struct err *err)
{
    struct writer w = {.out = out, .ms = ms, .fields = fields};
    if (date_format_check_size(format_len, err) != ERR_NONE ||
        write_format(&w, format, format_len, err) != ERR_NONE)
        return ERR_INVALID;
    *out_len = w.len;
    return ERR_NONE;
}
