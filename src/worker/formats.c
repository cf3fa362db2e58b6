/* Matchers for the string formats of tool inputs. Must stay linear in the text, and must not read past its
 * end. */
#include "worker/formats.h"

#include "base/text.h"

#include <string.h>

/* What is left of the text. */
struct scan {
    const char *at;
    const char *end;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool take(struct scan *scan, char c)
{
    if (scan->at == scan->end || *scan->at != c)
        return false;
    scan->at++;
    return true;
}

static bool take_two_digits(struct scan *scan, int *value)
{
    if (scan->end - scan->at < 2 || !is_digit(scan->at[0]) || !is_digit(scan->at[1]))
        return false;
    *value = (scan->at[0] - '0') * 10 + (scan->at[1] - '0');
    scan->at += 2;
    return true;
}

static bool take_digits(struct scan *scan)
{
    const char *start = scan->at;
    while (scan->at < scan->end && is_digit(*scan->at))
        scan->at++;
    return scan->at > start;
}

static bool match_date(const char *text, size_t len)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    struct scan scan = {text, text + len};
    int century;
    int year;
    int month;
    int day;
    if (len != 10 || !take_two_digits(&scan, &century) || !take_two_digits(&scan, &year) ||
        !take(&scan, '-') || !take_two_digits(&scan, &month) || !take(&scan, '-') ||
        !take_two_digits(&scan, &day))
        return false;
    year += century * 100;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (month < 1 || month > 12)
        return false;
    return day >= 1 && day <= (month == 2 && leap ? 29 : days[month - 1]);
}

/* Whether 0.DIGITS added to a number of seconds from 32 to 63 is the next whole number in double precision,
 * in which the reference implementation computes: true from 1 - 2^-48 upwards. */
static bool fraction_rounds_up(const char *digits, size_t len)
{
    static const char limit[] = "99999999999999644728632119949907064437866210937500";
    for (size_t i = 0; i < sizeof limit - 1; i++) {
        char digit = i < len ? digits[i] : '0';
        if (digit != limit[i])
            return digit > limit[i];
    }
    return true;
}

/* "Z", "+02", "+0200" or "+02:00" (the offset is in minutes), which must end the text. */
static bool match_zone(struct scan *scan, int *hours, int *minutes)
{
    *hours = 0;
    *minutes = 0;
    if (take(scan, 'Z') || take(scan, 'z'))
        return scan->at == scan->end;
    int sign = 1;
    if (!take(scan, '+')) {
        if (!take(scan, '-'))
            return false;
        sign = -1;
    }
    if (!take_two_digits(scan, hours))
        return false;
    if (scan->at < scan->end) {
        take(scan, ':');
        if (!take_two_digits(scan, minutes))
            return false;
    }
    if (scan->at != scan->end || *hours > 23 || *minutes > 59)
        return false;
    *hours *= sign;
    *minutes *= sign;
    return true;
}

static bool match_time(const char *text, size_t len)
{
    struct scan scan = {text, text + len};
    int hour;
    int minute;
    int second;
    if (!take_two_digits(&scan, &hour) || !take(&scan, ':') || !take_two_digits(&scan, &minute) ||
        !take(&scan, ':') || !take_two_digits(&scan, &second))
        return false;
    if (take(&scan, '.')) {
        const char *fraction = scan.at;
        if (!take_digits(&scan))
            return false;
        if (second >= 59 && fraction_rounds_up(fraction, (size_t)(scan.at - fraction)))
            second++;
    }
    int zone_hours;
    int zone_minutes;
    if (!match_zone(&scan, &zone_hours, &zone_minutes))
        return false;
    if (hour <= 23 && minute <= 59 && second < 60)
        return true;
    /* A leap second is the last one of a UTC day. */
    int utc_minute = minute - zone_minutes;
    int utc_hour = hour - zone_hours - (utc_minute < 0 ? 1 : 0);
    return (utc_hour == 23 || utc_hour == -1) && (utc_minute == 59 || utc_minute == -1) && second < 61;
}

/* The length in bytes of the "t" or white space that may part date and time, 0 for anything else. White space
 * is what ECMAScript calls so. */
static size_t separator_length(const char *text, size_t len)
{
    uint32_t c;
    size_t size = text_next_char(text, len, &c);
    if (size == 0)
        return 0;
    bool ok = c == 't' || c == 'T' || c == ' ' || (c >= 0x09 && c <= 0x0D) || c == 0xA0 || c == 0x1680 ||
              (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
              c == 0x3000 || c == 0xFEFF;
    return ok ? size : 0;
}

static bool match_date_time(const char *text, size_t len)
{
    if (len < 11 || !match_date(text, 10))
        return false;
    size_t separator = separator_length(text + 10, len - 10);
    return separator > 0 && match_time(text + 10 + separator, len - 10 - separator);
}

/* Numbers followed by the designators in order, each at most once. Returns how many were read; -1 when digits
 * lack their designator. */
static int take_designated(struct scan *scan, const char *designators)
{
    int count = 0;
    while (*designators != '\0' && scan->at < scan->end && is_digit(*scan->at)) {
        if (!take_digits(scan) || scan->at == scan->end)
            return -1;
        while (*designators != '\0' && *designators != *scan->at)
            designators++;
        if (*designators == '\0')
            return -1;
        designators++;
        scan->at++;
        count++;
    }
    return count;
}

static bool match_duration(const char *text, size_t len)
{
    struct scan scan = {text, text + len};
    if (!take(&scan, 'P') || scan.at == scan.end)
        return false;
    struct scan weeks = scan;
    if (take_digits(&weeks) && take(&weeks, 'W'))
        return weeks.at == weeks.end;
    if (take_designated(&scan, "YMD") < 0)
        return false;
    if (take(&scan, 'T') && take_designated(&scan, "HMS") <= 0)
        return false;
    return scan.at == scan.end;
}

/* A label of letters, digits and inner hyphens; max is the greatest length. */
static bool take_label(struct scan *scan, size_t max)
{
    const char *start = scan->at;
    while (scan->at < scan->end && (is_alnum(*scan->at) || *scan->at == '-'))
        scan->at++;
    size_t len = (size_t)(scan->at - start);
    return len > 0 && len <= max && start[0] != '-' && start[len - 1] != '-';
}

static bool is_atom_char(char c)
{
    return is_alnum(c) || (c != '\0' && strchr("!#$%&'*+/=?^_`{|}~-", c) != NULL);
}

static bool match_email(const char *text, size_t len)
{
    struct scan scan = {text, text + len};
    do {
        const char *start = scan.at;
        while (scan.at < scan.end && is_atom_char(*scan.at))
            scan.at++;
        if (scan.at == start)
            return false;
    } while (take(&scan, '.'));
    if (!take(&scan, '@'))
        return false;
    size_t labels = 0;
    do {
        if (!take_label(&scan, len))
            return false;
        labels++;
    } while (take(&scan, '.'));
    return scan.at == scan.end && labels >= 2;
}

static bool match_hostname(const char *text, size_t len)
{
    size_t significant = len > 0 && text[len - 1] == '.' ? len - 1 : len;
    if (significant == 0 || significant > 253)
        return false;
    struct scan scan = {text, text + significant};
    do {
        if (!take_label(&scan, 63))
            return false;
    } while (take(&scan, '.'));
    return scan.at == scan.end;
}

static bool match_ipv4(const char *text, size_t len)
{
    struct scan scan = {text, text + len};
    for (int part = 0; part < 4; part++) {
        if (part > 0 && !take(&scan, '.'))
            return false;
        const char *start = scan.at;
        int value = 0;
        while (scan.at < scan.end && is_digit(*scan.at) && scan.at - start < 3)
            value = value * 10 + (*scan.at++ - '0');
        if (scan.at == start || value > 255 || (*start == '0' && scan.at - start > 1))
            return false;
    }
    return scan.at == scan.end;
}

/* RFC 4291 section 2.2: eight groups, or fewer around one "::", the last two perhaps as an IPv4 address. A
 * "::" must stand for at least one group; before an IPv4 address the reference wants it to stand for at least
 * one too. */
static bool match_ipv6(const char *text, size_t len)
{
    struct scan scan = {text, text + len};
    int groups = 0;
    bool gap = false;
    if (len >= 2 && text[0] == ':' && text[1] == ':') {
        gap = true;
        scan.at += 2;
    }
    while (scan.at < scan.end) {
        const char *start = scan.at;
        while (scan.at < scan.end && is_hex(*scan.at) && scan.at - start < 5)
            scan.at++;
        size_t size = (size_t)(scan.at - start);
        if (scan.at < scan.end && *scan.at == '.') {
            if (!match_ipv4(start, (size_t)(scan.end - start)))
                return false;
            return gap ? groups <= 5 : groups == 6;
        }
        if (size == 0 || size > 4 || ++groups > 8)
            return false;
        if (scan.at == scan.end)
            break;
        if (!take(&scan, ':') || scan.at == scan.end)
            return false;
        if (take(&scan, ':')) {
            if (gap)
                return false;
            gap = true;
        }
    }
    return gap ? groups <= 7 : groups == 8;
}

static bool match_uuid(const char *text, size_t len)
{
    static const char prefix[] = "urn:uuid:";
    static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    if (len == sizeof prefix - 1 + sizeof shape - 1) {
        for (size_t i = 0; i < sizeof prefix - 1; i++) {
            char c = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
            if (c != prefix[i])
                return false;
        }
        text += sizeof prefix - 1;
        len -= sizeof prefix - 1;
    }
    if (len != sizeof shape - 1)
        return false;
    for (size_t i = 0; i < len; i++)
        if (shape[i] == '-' ? text[i] != '-' : !is_hex(text[i]))
            return false;
    return true;
}

static const struct string_format formats[] = {
    {"date-time", match_date_time}, {"date", match_date},   {"time", match_time},
    {"duration", match_duration},   {"email", match_email}, {"hostname", match_hostname},
    {"ipv4", match_ipv4},           {"ipv6", match_ipv6},   {"uuid", match_uuid},
};

const struct string_format *format_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (strlen(formats[i].name) == len && memcmp(formats[i].name, name, len) == 0)
            return &formats[i];
    return NULL;
}
