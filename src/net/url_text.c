/* Percent-encoding and query strings. Must not parse URLs beyond finding their query. */
#include "base/mem.h"
#include "net/url_priv.h"

#include <string.h>

/* ---- characters ---- */

bool url_is_alpha(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool url_is_digit(int c)
{
    return c >= '0' && c <= '9';
}

int url_hex_value(int c)
{
    if (url_is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The byte that two hexadecimal digits behind the % at text name; -1 when they are not there. */
static int decode_byte(const char *text, size_t len)
{
    int high = len > 2 ? url_hex_value(text[1]) : -1;
    int low = len > 2 ? url_hex_value(text[2]) : -1;
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* ---- encoding ---- */

void url_encode_byte(struct buf *out, unsigned char c)
{
    static const char digits[] = "0123456789ABCDEF";
    buf_addc(out, '%');
    buf_addc(out, digits[c >> 4]);
    buf_addc(out, digits[c & 15]);
}

void url_encode_set(struct buf *out, const char *text, size_t len, enum url_set set)
{
    static const char *const members[] = {
        [URL_SET_CONTROL] = "",         [URL_SET_FRAGMENT] = " \"<>`",
        [URL_SET_QUERY] = " \"#<>",     [URL_SET_SPECIAL_QUERY] = " \"#<>'",
        [URL_SET_PATH] = " \"#<>?^`{}", [URL_SET_USERINFO] = " \"#<>?^`{}/:;=@[\\]|",
    };
    for (size_t i = 0; i < len && !out->failed; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < ' ' || c >= 0x7f || strchr(members[set], c) != NULL)
            url_encode_byte(out, c);
        else
            buf_addc(out, (char)c);
    }
}

void url_encode(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len && !out->failed; i++) {
        unsigned char c = (unsigned char)text[i];
        if (url_is_alpha(c) || url_is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~')
            buf_addc(out, (char)c);
        else
            url_encode_byte(out, c);
    }
}

void url_encode_form(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len && !out->failed; i++) {
        unsigned char c = (unsigned char)text[i];
        if (url_is_alpha(c) || url_is_digit(c) || c == '-' || c == '.' || c == '_' || c == '*')
            buf_addc(out, (char)c);
        else if (c == ' ')
            buf_addc(out, '+');
        else
            url_encode_byte(out, c);
    }
}

/* ---- decoding ---- */

enum err_code url_decode(struct buf *out, const char *text, size_t len, struct err *err)
{
    for (size_t i = 0; i < len && !out->failed; i++) {
        int byte = text[i] == '%' ? decode_byte(text + i, len - i) : (unsigned char)text[i];
        if (byte < 0)
            return err_set(err, ERR_INVALID,
                           "the %% at byte %zu is not followed by two hexadecimal digits; "
                           "a literal %% is written %%25",
                           i + 1);
        if (text[i] == '%')
            i += 2;
        buf_addc(out, (char)byte);
    }
    return buf_status(out, "the decoded text", err);
}

size_t url_decode_loose(char *out, const char *text, size_t len, bool plus_is_space)
{
    size_t written = 0;
    for (size_t i = 0; i < len; i++) {
        int byte = text[i] == '%' ? decode_byte(text + i, len - i) : -1;
        if (byte >= 0)
            i += 2;
        else
            byte = text[i] == '+' && plus_is_space ? ' ' : (unsigned char)text[i];
        out[written++] = (char)byte;
    }
    return written;
}

/* ---- query strings ---- */

static void add_pair(struct buf *out, const struct url_pair *pair)
{
    url_encode_form(out, pair->name, pair->name_len);
    buf_addc(out, '=');
    url_encode_form(out, pair->value, pair->value_len);
}

struct url_pair url_pair(const char *name, const char *value)
{
    return (struct url_pair){
        .name = name, .name_len = strlen(name), .value = value, .value_len = strlen(value)};
}

bool url_find_parameter(const char *query, const char *name, struct url_slice *value)
{
    size_t name_len = strlen(name);
    for (const char *at = query; *at != '\0';) {
        size_t len = strcspn(at, "&");
        if (len > name_len && at[name_len] == '=' && memcmp(at, name, name_len) == 0) {
            *value = (struct url_slice){at + name_len + 1, len - name_len - 1};
            return true;
        }
        at += len + (at[len] == '&');
    }
    return false;
}

void url_encode_pairs(struct buf *out, const struct url_pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_addc(out, '&');
        add_pair(out, &pairs[i]);
    }
}

/* Where the query of url begins, behind its '?', and ends; both where one would be when there is none. */
static bool find_query(const char *url, size_t len, size_t *begin, size_t *end)
{
    const char *fragment = len > 0 ? memchr(url, '#', len) : NULL;
    *end = fragment != NULL ? (size_t)(fragment - url) : len;
    const char *mark = *end > 0 ? memchr(url, '?', *end) : NULL;
    *begin = mark != NULL ? (size_t)(mark - url) + 1 : *end;
    return mark != NULL;
}

void url_add_query(struct buf *out, const char *url, size_t len, const struct url_pair *pairs, size_t count)
{
    size_t begin, end;
    bool found = find_query(url, len, &begin, &end);
    buf_add(out, url, end);
    if (count > 0) {
        if (!found)
            buf_addc(out, '?');
        else if (end > begin && url[end - 1] != '&')
            buf_addc(out, '&');
        url_encode_pairs(out, pairs, count);
    }
    buf_add(out, url + end, len - end);
}

int url_compare_names(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t least = a_len < b_len ? a_len : b_len;
    int order = least > 0 ? memcmp(a, b, least) : 0;
    if (order != 0 || a_len == b_len)
        return order;
    return a_len < b_len ? -1 : 1;
}

/* The first pair of that name; count when there is none. */
static size_t find_pair(const struct url_pair *pairs, size_t count, const char *name, size_t len)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (url_compare_names(pairs[middle].name, pairs[middle].name_len, name, len) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < count && url_compare_names(pairs[low].name, pairs[low].name_len, name, len) == 0;
    return found ? low : count;
}

/* How many pairs have the name of the first. */
static size_t group_size(const struct url_pair *pairs, size_t count)
{
    size_t size = 1;
    while (size < count &&
           url_compare_names(pairs[0].name, pairs[0].name_len, pairs[size].name, pairs[size].name_len) == 0)
        size++;
    return size;
}

/* Begins the next parameter: with "?" the first one, with "&" every other. */
static void separate(struct buf *out, const char **separator)
{
    buf_adds(out, *separator);
    *separator = "&";
}

static void add_group(struct buf *out, const struct url_pair *pairs, size_t size, const char **separator)
{
    for (size_t i = 0; i < size; i++) {
        if (pairs[i].value == NULL)
            continue;
        separate(out, separator);
        add_pair(out, &pairs[i]);
    }
}

enum err_code url_set_query(struct buf *out, const char *url, size_t len, const struct url_pair *pairs,
                            size_t count, struct err *err)
{
    size_t begin, end;
    bool found = find_query(url, len, &begin, &end);
    const char *separator = "?";
    char *name = mem_alloc(end - begin + 1);
    bool *written = mem_zalloc(count + 1); /* for the first pair of each name */
    if (name == NULL || written == NULL) {
        mem_free(name);
        mem_free(written);
        return err_nomem(err);
    }
    buf_add(out, url, found ? begin - 1 : end);
    for (size_t at = begin, parameter_len; at < end && !out->failed; at += parameter_len + 1) {
        const char *parameter = url + at;
        const char *stop = memchr(parameter, '&', end - at);
        parameter_len = stop != NULL ? (size_t)(stop - parameter) : end - at;
        if (parameter_len == 0)
            continue;
        const char *equals = memchr(parameter, '=', parameter_len);
        size_t raw_len = equals != NULL ? (size_t)(equals - parameter) : parameter_len;
        size_t pair = find_pair(pairs, count, name, url_decode_loose(name, parameter, raw_len, true));
        if (pair == count) {
            separate(out, &separator);
            buf_add(out, parameter, parameter_len);
        } else if (!written[pair]) {
            written[pair] = true;
            add_group(out, pairs + pair, group_size(pairs + pair, count - pair), &separator);
        }
    }
    for (size_t i = 0, size; i < count; i += size) {
        size = group_size(pairs + i, count - i);
        if (!written[i])
            add_group(out, pairs + i, size, &separator);
    }
    buf_add(out, url + end, len - end);
    mem_free(name);
    mem_free(written);
    return buf_status(out, "the URL", err);
}
