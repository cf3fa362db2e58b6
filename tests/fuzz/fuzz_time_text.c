/* libFuzzer harness for dates in forms that scripts describe, HTTP dates and durations: nothing may crash,
 * and what is written must be read as what it was.
 *
 * The first byte is the length of the format; behind the format is the text. The same bytes are tried as a
 * moment and, without the first, as an HTTP date and as a duration. */
#include "base/date_format.h"
#include "base/http_date.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void broken(const char *what, const char *message)
{
    fprintf(stderr, "%s: %s\n", what, message);
    abort();
}

static bool in_range(int64_t ms)
{
    return ms >= ISO_MIN_MS && ms <= ISO_MAX_MS;
}

static void try_format(const char *format, size_t format_len, const char *text, size_t len)
{
    static const struct zone_offset offset = {.seconds = -12345, .abbreviation = "LMT"};
    struct date_read read = {0};
    struct zoned_fields fields;
    char out[DATE_FORMAT_TEXT_SIZE];
    size_t out_len = 0;
    struct err err = {0};
    int64_t ms = 1719835509078;
    if (date_format_read(format, format_len, text, len, &read, &err) == ERR_NONE) {
        if (!in_range(read.ms))
            broken("a moment outside", "");
        ms = read.ms;
    } else if (err.message[0] == '\0') {
        broken("no message", "");
    }
    if (zoned_fields_at(ms, offset, &fields, &err) == ERR_NONE &&
        date_format_write(format, format_len, ms, &fields, out, &out_len, &err) == ERR_NONE &&
        out_len > sizeof out)
        broken("too much written", "");
}

/* Forms that leave nothing out: any moment at any offset comes back. */
static void try_moment(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {"%F %T.%f%z", "%A, %e %B %Y %I:%M:%S.%f %p %:z",
                                          "%G-W%V-%u %-H:%-M:%-S.%f %z", "%Y/%j %R:%S.%f %:z", "%s.%f"};
    uint64_t bits;
    int16_t minutes;
    if (size < sizeof bits + sizeof minutes)
        return;
    memcpy(&bits, data, sizeof bits);
    memcpy(&minutes, data + sizeof bits, sizeof minutes);
    int64_t ms = ISO_MIN_MS + (int64_t)(bits % (uint64_t)(ISO_MAX_MS - ISO_MIN_MS + 1));
    struct zone_offset offset = {.seconds = minutes % 1440 * 60 + minutes % 60, .abbreviation = "LMT"};
    struct zoned_fields fields;
    struct err err;
    if (zoned_fields_at(ms, offset, &fields, &err) != ERR_NONE || fields.week_year < 0 ||
        offset.seconds < -86399 || offset.seconds > 86399)
        return;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        struct date_read read;
        char out[DATE_FORMAT_TEXT_SIZE];
        size_t len = 0;
        if (date_format_write(formats[i], strlen(formats[i]), ms, &fields, out, &len, &err) != ERR_NONE ||
            date_format_read(formats[i], strlen(formats[i]), out, len, &read, &err) != ERR_NONE)
            broken(formats[i], err.message);
        if (read.ms != ms || !read.is_moment)
            broken(formats[i], "another moment");
    }
}

static void try_http_date(const char *text, size_t len)
{
    int64_t ms = 0, again = 0;
    char out[HTTP_DATE_SIZE];
    struct err err;
    if (http_date_parse(text, len, 1719835509078, &ms, &err) != ERR_NONE)
        return;
    if (!in_range(ms) ||
        http_date_parse(http_date_format(ms, out), strlen(out), 1719835509078, &again, &err) != ERR_NONE ||
        again != ms)
        broken("an HTTP date is not what it was", out);
}

static void try_duration(const char *text, size_t len)
{
    struct duration duration, again;
    char out[DURATION_TEXT_SIZE];
    struct err err;
    int64_t ms;
    if (duration_parse(text, len, &duration, &err) != ERR_NONE)
        return;
    if (duration_format(&duration, out, &err) != ERR_NONE ||
        duration_parse(out, strlen(out), &again, &err) != ERR_NONE ||
        memcmp(&duration, &again, sizeof again) != 0)
        broken("a duration is not what it was", out);
    if (zoned_add(zone_utc(), 1719835509078, &duration, ZONED_USUAL, &ms, &err) == ERR_NONE && !in_range(ms))
        broken("a sum outside", out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    size_t format_len = data[0] < size - 1 ? data[0] : size - 1;
    try_format(text, format_len, text + format_len, size - 1 - format_len);
    try_moment(data, size);
    try_http_date(text, size - 1);
    try_duration(text, size - 1);
    return 0;
}
