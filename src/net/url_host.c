/* Hosts of URLs (WHATWG URL Standard, section 3): domains, IPv4 in every way to write it, IPv6. Must not look
 * anything up. */
#include "net/url_priv.h"

#include <stdio.h>
#include <string.h>

#define IPV4_TOO_LARGE ((uint64_t)1 << 33) /* where numbers stop growing: past every valid one */

static bool fail(char why[URL_WHY_MAX], const char *reason)
{
    snprintf(why, URL_WHY_MAX, "%s", reason);
    return false;
}

/* ---- IPv4 ---- */

/* One number of an address: decimal, octal after 0, hexadecimal after 0x. False when it is none. */
static bool parse_ipv4_number(const char *text, size_t len, uint64_t *number)
{
    int radix = 10;
    *number = 0;
    if (len == 0)
        return false;
    if (len >= 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        radix = 16;
        text += 2;
        len -= 2;
    } else if (len >= 2 && text[0] == '0') {
        radix = 8;
        text++;
        len--;
    }
    for (size_t i = 0; i < len; i++) {
        int digit = url_hex_value(text[i]);
        if (digit < 0 || digit >= radix)
            return false;
        if (*number < IPV4_TOO_LARGE)
            *number = *number * (uint64_t)radix + (uint64_t)digit;
    }
    return true;
}

/* Whether the last label, which a final dot may follow, is a number: then the whole must be an address. */
static bool ends_in_number(const char *text, size_t len)
{
    uint64_t number;
    if (len > 1 && text[len - 1] == '.')
        len--;
    size_t begin = len;
    while (begin > 0 && text[begin - 1] != '.')
        begin--;
    size_t digits = begin;
    while (digits < len && url_is_digit(text[digits]))
        digits++;
    return (digits == len && digits > begin) || parse_ipv4_number(text + begin, len - begin, &number);
}

/* One to four numbers, of which the last fills the bytes that are left. */
static bool parse_ipv4(const char *text, size_t len, uint64_t *address, char why[URL_WHY_MAX])
{
    uint64_t numbers[4] = {0};
    size_t count = 0;
    if (len > 1 && text[len - 1] == '.')
        len--;
    for (size_t begin = 0; begin <= len; count++) {
        const char *dot = begin < len ? memchr(text + begin, '.', len - begin) : NULL;
        size_t end = dot != NULL ? (size_t)(dot - text) : len;
        if (count == 4)
            return fail(why,
                        "its host ends in a number, but is no IPv4 address: it has more than four parts");
        if (!parse_ipv4_number(text + begin, end - begin, &numbers[count]))
            return fail(why, "its host ends in a number, but is no IPv4 address: a part of it is no number");
        begin = end + 1;
    }
    *address = numbers[count - 1];
    bool fits = *address < (uint64_t)1 << (8 * (5 - count));
    for (size_t i = 0; i + 1 < count; i++) {
        fits = fits && numbers[i] <= 255;
        *address += numbers[i] << (8 * (3 - i));
    }
    return fits || fail(why, "its host ends in a number, but is no IPv4 address: a part of it is too large");
}

/* ---- IPv6 ---- */

/* Four decimal numbers without leading zeros, up to the end, into two pieces. */
static bool parse_ipv4_tail(const char *at, const char *end, uint16_t pieces[2])
{
    for (int i = 0; i < 4; i++) {
        unsigned number = 0;
        const char *begin = at;
        if (i > 0 && (at == end || *at++ != '.'))
            return false;
        for (begin = at; at < end && url_is_digit(*at); at++) {
            if (at > begin && number == 0)
                return false;
            number = number * 10 + (unsigned)(*at - '0');
            if (number > 255)
                return false;
        }
        if (at == begin)
            return false;
        pieces[i / 2] = (uint16_t)(pieces[i / 2] * 256 + number);
    }
    return at == end;
}

static bool parse_ipv6_pieces(const char *at, const char *end, uint16_t pieces[8])
{
    int index = 0;
    int compress = -1; /* where "::" stands */
    if (at < end && *at == ':') {
        if (end - at < 2 || at[1] != ':')
            return false;
        at += 2;
        compress = 0;
    }
    while (at < end) {
        if (index == 8)
            return false;
        if (*at == ':') {
            if (compress >= 0)
                return false;
            at++;
            compress = index;
            continue;
        }
        const char *begin = at;
        unsigned value = 0;
        while (at < end && at - begin < 4 && url_hex_value(*at) >= 0)
            value = value * 16 + (unsigned)url_hex_value(*at++);
        if (at < end && *at == '.') {
            if (at == begin || index + (compress >= 0) > 6 || !parse_ipv4_tail(begin, end, pieces + index))
                return false;
            index += 2;
            break;
        }
        if (at < end && *at++ != ':')
            return false; /* also the fifth digit */
        if (at == end && at[-1] == ':')
            return false;
        pieces[index++] = (uint16_t)value;
        /* "1::": the second colon is the mark, read at the top. */
    }
    if (compress < 0)
        return index == 8;
    if (index == 8)
        return false;
    int moved = index - compress;
    memmove(pieces + 8 - moved, pieces + compress, (size_t)moved * sizeof *pieces);
    memset(pieces + compress, 0, (size_t)(8 - index) * sizeof *pieces);
    return true;
}

/* The first of the longest runs of two zeros or more as "::", digits in lower case (RFC 5952). */
static void write_ipv6(struct buf *out, const uint16_t pieces[8])
{
    int longest = 0;
    int longest_at = -1;
    for (int i = 0; i < 8; i++) {
        int run = 0;
        while (i + run < 8 && pieces[i + run] == 0)
            run++;
        if (run > 1 && run > longest) {
            longest = run;
            longest_at = i;
        }
        i += run;
    }
    buf_addc(out, '[');
    for (int i = 0; i < 8; i++) {
        if (i == longest_at) {
            buf_adds(out, i == 0 ? "::" : ":");
            i += longest - 1;
            continue;
        }
        buf_addf(out, "%x", pieces[i]);
        if (i < 7)
            buf_addc(out, ':');
    }
    buf_addc(out, ']');
}

/* ---- domains ---- */

/* A forbidden host code point; in domains also % and control characters. */
static bool is_forbidden(unsigned char c, bool domain)
{
    if (c == '\0' || strchr("\t\n\r #/:<>?@[\\]^|", c) != NULL)
        return true;
    return domain && (c < ' ' || c == 0x7f || c == '%');
}

static bool check_characters(const char *text, size_t len, bool domain, char why[URL_WHY_MAX])
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (!is_forbidden(c, domain))
            continue;
        if (c == ' ')
            snprintf(why, URL_WHY_MAX, "its host has a space");
        else if (c < ' ' || c == 0x7f)
            snprintf(why, URL_WHY_MAX, "its host has a control character");
        else
            snprintf(why, URL_WHY_MAX, "its host has a %c", c);
        return false;
    }
    return true;
}

bool url_host_parse(struct buf *out, const char *text, size_t len, bool special, char why[URL_WHY_MAX])
{
    if (text[0] == '[') {
        uint16_t pieces[8] = {0};
        if (text[len - 1] != ']')
            return fail(why, "the [ of its host is not closed by a ]");
        if (!parse_ipv6_pieces(text + 1, text + len - 1, pieces))
            return fail(why, "what it has in [ ] is no IPv6 address");
        write_ipv6(out, pieces);
        return true;
    }
    if (!special) {
        if (!check_characters(text, len, false, why))
            return false;
        url_encode_set(out, text, len, URL_SET_CONTROL);
        return true;
    }
    size_t begin = out->len;
    for (size_t i = 0; i < len && !out->failed; i++) {
        int high = text[i] == '%' && i + 2 < len ? url_hex_value(text[i + 1]) : -1;
        int low = high >= 0 ? url_hex_value(text[i + 2]) : -1;
        unsigned char c = (unsigned char)(low >= 0 ? high * 16 + low : text[i]);
        if (low >= 0)
            i += 2;
        if (c >= 0x80)
            return fail(why, "its host has letters beyond ASCII; write it in punycode (xn--...)");
        buf_addc(out, (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c));
    }
    if (out->failed)
        return true;
    const char *domain = out->data + begin;
    size_t domain_len = out->len - begin;
    if (!check_characters(domain, domain_len, true, why))
        return false;
    if (!ends_in_number(domain, domain_len))
        return true;
    uint64_t address;
    if (!parse_ipv4(domain, domain_len, &address, why))
        return false;
    out->len = begin;
    buf_addf(out, "%u.%u.%u.%u", (unsigned)(address >> 24), (unsigned)(address >> 16) & 255,
             (unsigned)(address >> 8) & 255, (unsigned)address & 255);
    return true;
}
