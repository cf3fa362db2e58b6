/* JSON text without Lua. Must not allocate except through the caller's struct buf, and must not accept
 * anything that RFC 8259 does not. */
#include "base/json.h"

#include "base/mem.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- Bytes ---- */

enum byte_class {
    BYTE_OTHER,
    BYTE_SPACE,
    BYTE_PUNCTUATION,
    BYTE_QUOTE,
    BYTE_NUMBER,
    BYTE_LETTER, /* may begin true, false or null */
};

static const unsigned char byte_class[256] = {
    [' '] = BYTE_SPACE,       ['\t'] = BYTE_SPACE,      ['\r'] = BYTE_SPACE,      ['\n'] = BYTE_SPACE,
    ['{'] = BYTE_PUNCTUATION, ['}'] = BYTE_PUNCTUATION, ['['] = BYTE_PUNCTUATION, [']'] = BYTE_PUNCTUATION,
    [':'] = BYTE_PUNCTUATION, [','] = BYTE_PUNCTUATION, ['"'] = BYTE_QUOTE,       ['-'] = BYTE_NUMBER,
    ['0'] = BYTE_NUMBER,      ['1'] = BYTE_NUMBER,      ['2'] = BYTE_NUMBER,      ['3'] = BYTE_NUMBER,
    ['4'] = BYTE_NUMBER,      ['5'] = BYTE_NUMBER,      ['6'] = BYTE_NUMBER,      ['7'] = BYTE_NUMBER,
    ['8'] = BYTE_NUMBER,      ['9'] = BYTE_NUMBER,      ['t'] = BYTE_LETTER,      ['f'] = BYTE_LETTER,
    ['n'] = BYTE_LETTER,
};

#define EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

static uint64_t load_word(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* Has the top bit of the first byte set that is a quote, a backslash, a control character or not ASCII; bits
 * above that one mean nothing (borrows run upwards). Zero when there is none. */
static uint64_t special_bytes(uint64_t word)
{
    uint64_t control = word - EACH_BYTE(0x20);
    uint64_t quote = (word ^ EACH_BYTE('"')) - EACH_BYTE(1);
    uint64_t backslash = (word ^ EACH_BYTE('\\')) - EACH_BYTE(1);
    return (word | control | quote | backslash) & EACH_BYTE(0x80);
}

static bool is_plain(char c)
{
    return (unsigned char)c >= 0x20 && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

/* The first byte at or after p that is not plain, or end. */
static const char *skip_plain(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t special = special_bytes(load_word(p));
        if (special != 0)
            return p + (__builtin_ctzll(special) >> 3);
        p += 8;
    }
    while (p < end && is_plain(*p))
        p++;
    return p;
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

/* Length of the well-formed UTF-8 sequence at p (Unicode, table 3-7: no overlong forms, no surrogates,
 * nothing beyond U+10FFFF); 0 when there is none. */
static int utf8_sequence(const char *p, const char *end)
{
    unsigned char lead = (unsigned char)p[0];
    if (lead < 0x80)
        return 1;
    if (end - p < 2 || lead < 0xC2 || lead > 0xF4)
        return 0;
    unsigned char second = (unsigned char)p[1];
    if (lead < 0xE0)
        return is_continuation(p[1]) ? 2 : 0;
    unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (second < low || second > high || end - p < 3 || !is_continuation(p[2]))
        return 0;
    if (lead < 0xF0)
        return 3;
    return end - p >= 4 && is_continuation(p[3]) ? 4 : 0;
}

/* ---- Errors ---- */

static enum err_code fail_at(const struct json_scan *scan, const char *at, struct err *err,
                             enum err_code code, const char *format, va_list arguments)
{
    size_t line = 1;
    size_t column = 1;
    for (const char *p = scan->begin; p < at; p++) {
        if (*p == '\n') {
            line++;
            column = 1;
        } else if (!is_continuation(*p)) {
            column++;
        }
    }
    err_vset(err, code, format, arguments);
    err_context(err, "line %zu, column %zu", line, column);
    return code;
}

static __attribute__((format(printf, 4, 5))) enum err_code
invalid_at(const struct json_scan *scan, const char *at, struct err *err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fail_at(scan, at, err, ERR_INVALID, format, arguments);
    va_end(arguments);
    return ERR_INVALID;
}

enum err_code json_scan_fail(const struct json_scan *scan, struct err *err, enum err_code code,
                             const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fail_at(scan, scan->token_at, err, code, format, arguments);
    va_end(arguments);
    return code;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-' || c == '+';
}

/* What stands at a place, for people. */
static const char *describe(const char *at, const char *end, char out[48])
{
    if (at >= end)
        return "the end of the text";
    unsigned char c = (unsigned char)*at;
    int len = c >= 0x80 ? utf8_sequence(at, end) : 1;
    if (is_word(*at)) {
        len = 0;
        while (len < 20 && at + len < end && is_word(at[len]))
            len++;
    }
    if (c == '"')
        return "a string";
    if (c < 0x20 || c == 0x7F)
        snprintf(out, 48, "the control character U+%04X", c);
    else if (len == 0)
        snprintf(out, 48, "the byte 0x%02X, which is not UTF-8", c);
    else
        snprintf(out, 48, "'%.*s'", len, at);
    return out;
}

static enum err_code unexpected(const struct json_scan *scan, const char *at, const char *expected,
                                struct err *err)
{
    char found[48];
    return invalid_at(scan, at, err, "expected %s but found %s", expected, describe(at, scan->end, found));
}

/* ---- Tokens ---- */

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* p is at the backslash; returns the first byte after the escape, or NULL with err filled. */
static const char *scan_escape(const struct json_scan *scan, const char *p, struct err *err)
{
    char found[48];
    if (scan->end - p >= 2) {
        if (p[1] == 'u') {
            const char *digit = p + 2;
            while (digit < scan->end && digit < p + 6 && is_hex(*digit))
                digit++;
            if (digit == p + 6)
                return digit;
            invalid_at(scan, digit, err, "expected four hexadecimal digits after '\\u' but found %s",
                       describe(digit, scan->end, found));
            return NULL;
        }
        if (p[1] != '\0' && strchr("\"\\/bfnrt", p[1]) != NULL)
            return p + 2;
    }
    invalid_at(scan, p, err, "expected one of \" \\ / b f n r t u after the backslash but found %s",
               describe(p + 1, scan->end, found));
    return NULL;
}

static enum err_code scan_string(struct json_scan *scan, struct err *err)
{
    const char *end = scan->end;
    const char *p = scan->at + 1;
    scan->token = JSON_STRING;
    scan->escaped = false;
    scan->string.text = p;
    for (;;) {
        p = skip_plain(p, end);
        if (p == end)
            return invalid_at(scan, scan->token_at, err, "the string that begins here has no closing '\"'");
        unsigned char c = (unsigned char)*p;
        if (c == '"')
            break;
        if (c == '\\') {
            scan->escaped = true;
            p = scan_escape(scan, p, err);
            if (p == NULL)
                return ERR_INVALID;
        } else if (c < 0x20) {
            return invalid_at(scan, p, err,
                              "a string must not contain the control character U+%04X; write it as \\u%04x",
                              c, c);
        } else {
            do {
                int len = utf8_sequence(p, end);
                if (len == 0)
                    return invalid_at(scan, p, err, "the byte 0x%02X is not valid UTF-8", (unsigned char)*p);
                p += len;
            } while (p < end && (unsigned char)*p >= 0x80);
        }
    }
    scan->string.len = (size_t)(p - scan->string.text);
    scan->at = p + 1;
    return ERR_NONE;
}

static enum err_code scan_number(struct json_scan *scan, struct err *err)
{
    const char *stop;
    scan->token = JSON_NUMBER;
    switch (number_scan(scan->at, scan->end, &scan->number, &stop)) {
    case NUMBER_OK:
        scan->at = stop;
        return ERR_NONE;
    case NUMBER_OUT_OF_RANGE: {
        int len = stop - scan->at > 40 ? 40 : (int)(stop - scan->at);
        return invalid_at(scan, scan->at, err,
                          "the number %.*s%s is out of range (the limit is about 1.8e308)", len, scan->at,
                          len < stop - scan->at ? "..." : "");
    }
    case NUMBER_MALFORMED:
        break;
    }
    if (stop > scan->at && stop < scan->end && *stop >= '0' && *stop <= '9')
        return invalid_at(scan, scan->at, err, "a number must not begin with a needless 0");
    return unexpected(scan, stop, "a digit", err);
}

static enum err_code scan_literal(struct json_scan *scan, const char *word, size_t len, enum json_token token,
                                  struct err *err)
{
    const char *p = scan->at;
    if ((size_t)(scan->end - p) < len || memcmp(p, word, len) != 0 ||
        (scan->end - p > (ptrdiff_t)len && is_word(p[len])))
        return unexpected(scan, p, "a value", err);
    scan->token = token;
    scan->at = p + len;
    return ERR_NONE;
}

static inline const char *skip_space(const char *p, const char *end)
{
    while (p < end && byte_class[(unsigned char)*p] == BYTE_SPACE) {
        p++;
        while (end - p >= 8 && load_word(p) == EACH_BYTE(' ')) /* deep indentation */
            p += 8;
    }
    return p;
}

void json_scan_init(struct json_scan *scan, const char *text, size_t len)
{
    *scan = (struct json_scan){.begin = text, .at = text, .end = text + len, .token_at = text};
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        scan->begin = scan->at = scan->token_at = text + 3;
}

/* What is wanted at this place, for the message when something else is there. */
static enum err_code scan_next(struct json_scan *scan, const char *expected, struct err *err)
{
    const char *p = skip_space(scan->at, scan->end);
    scan->at = scan->token_at = p;
    if (p == scan->end) {
        scan->token = JSON_END;
        return ERR_NONE;
    }
    switch (byte_class[(unsigned char)*p]) {
    case BYTE_QUOTE:
        return scan_string(scan, err);
    case BYTE_NUMBER:
        return scan_number(scan, err);
    case BYTE_PUNCTUATION:
        scan->at = p + 1;
        switch (*p) {
        case '{':
            scan->token = JSON_OBJECT;
            break;
        case '}':
            scan->token = JSON_OBJECT_END;
            break;
        case '[':
            scan->token = JSON_ARRAY;
            break;
        case ']':
            scan->token = JSON_ARRAY_END;
            break;
        case ':':
            scan->token = JSON_COLON;
            break;
        default:
            scan->token = JSON_COMMA;
            break;
        }
        return ERR_NONE;
    case BYTE_LETTER:
        if (*p == 't')
            return scan_literal(scan, "true", 4, JSON_TRUE, err);
        if (*p == 'f')
            return scan_literal(scan, "false", 5, JSON_FALSE, err);
        return scan_literal(scan, "null", 4, JSON_NULL, err);
    default:
        return unexpected(scan, p, expected, err);
    }
}

enum err_code json_scan_token(struct json_scan *scan, struct err *err)
{
    return scan_next(scan, "a value or one of { } [ ] : ,", err);
}

static bool begins_value(enum json_token token)
{
    return token >= JSON_STRING || token == JSON_OBJECT || token == JSON_ARRAY;
}

enum err_code json_scan_value(struct json_scan *scan, struct err *err)
{
    enum err_code code = scan_next(scan, "a value", err);
    if (code == ERR_NONE && !begins_value(scan->token))
        return unexpected(scan, scan->token_at, "a value", err);
    return code;
}

enum err_code json_scan_member(struct json_scan *scan, bool *more, struct err *err)
{
    bool first = scan->token == JSON_OBJECT;
    const char *expected = first ? "a string as the member's name, or '}'" : "',' or '}'";
    const char *p = skip_space(scan->at, scan->end);
    scan->token_at = p;
    *more = false;
    if (p < scan->end && *p == '}') {
        scan->token = JSON_OBJECT_END;
        scan->at = p + 1;
        return ERR_NONE;
    }
    if (!first) {
        if (p == scan->end || *p != ',')
            return unexpected(scan, p, expected, err);
        expected = "a string as the member's name";
        p = skip_space(p + 1, scan->end);
    }
    if (p == scan->end || *p != '"')
        return unexpected(scan, p, expected, err);
    scan->at = scan->token_at = p;
    enum err_code code = scan_string(scan, err);
    if (code != ERR_NONE)
        return code;
    p = skip_space(scan->at, scan->end);
    if (p == scan->end || *p != ':')
        return unexpected(scan, p, "':'", err);
    scan->at = p + 1;
    *more = true;
    return ERR_NONE;
}

enum err_code json_scan_element(struct json_scan *scan, bool *more, struct err *err)
{
    bool first = scan->token == JSON_ARRAY;
    const char *p = skip_space(scan->at, scan->end);
    scan->token_at = p;
    *more = false;
    if (p < scan->end && *p == ']') {
        scan->token = JSON_ARRAY_END;
        scan->at = p + 1;
        return ERR_NONE;
    }
    const char *expected = "a value or ']'";
    if (!first) {
        if (p == scan->end || *p != ',')
            return unexpected(scan, p, "',' or ']'", err);
        expected = "a value";
        p++;
    }
    scan->at = p;
    enum err_code code = scan_next(scan, expected, err);
    if (code == ERR_NONE && !begins_value(scan->token))
        return unexpected(scan, scan->token_at, expected, err);
    *more = true;
    return code;
}

/* Recursion is bounded by JSON_DEPTH_MAX. */
static enum err_code skip_value(struct json_scan *scan, unsigned depth, struct err *err)
{
    bool object = scan->token == JSON_OBJECT;
    if (!object && scan->token != JSON_ARRAY)
        return ERR_NONE;
    if (depth == JSON_DEPTH_MAX)
        return json_scan_fail(scan, err, ERR_LIMIT, "nested deeper than %d levels", JSON_DEPTH_MAX);
    for (;;) {
        bool more;
        enum err_code code =
            object ? json_scan_member(scan, &more, err) : json_scan_element(scan, &more, err);
        if (code != ERR_NONE || !more)
            return code;
        if (object)
            code = json_scan_value(scan, err);
        if (code == ERR_NONE)
            code = skip_value(scan, depth + 1, err);
        if (code != ERR_NONE)
            return code;
    }
}

enum err_code json_scan_skip(struct json_scan *scan, struct json_slice *slice, struct err *err)
{
    const char *begin = scan->token_at;
    enum err_code code = skip_value(scan, 0, err);
    if (code == ERR_NONE && slice != NULL)
        *slice = (struct json_slice){begin, (size_t)(scan->at - begin)};
    return code;
}

enum err_code json_scan_end(struct json_scan *scan, struct err *err)
{
    const char *p = skip_space(scan->at, scan->end);
    scan->at = scan->token_at = p;
    scan->token = JSON_END;
    return p == scan->end ? ERR_NONE : unexpected(scan, p, "the end of the text", err);
}

/* ---- Strings ---- */

static unsigned hex_unit(const char *p)
{
    unsigned unit = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        unsigned digit = (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
        unit = unit << 4 | digit;
    }
    return unit;
}

static char *put_utf8(char *out, unsigned point)
{
    if (point < 0x80) {
        *out++ = (char)point;
        return out;
    }
    if (point < 0x800) {
        *out++ = (char)(0xC0 | point >> 6);
    } else {
        if (point < 0x10000) {
            *out++ = (char)(0xE0 | point >> 12);
        } else {
            *out++ = (char)(0xF0 | point >> 18);
            *out++ = (char)(0x80 | (point >> 12 & 0x3F));
        }
        *out++ = (char)(0x80 | (point >> 6 & 0x3F));
    }
    *out++ = (char)(0x80 | (point & 0x3F));
    return out;
}

/* p is after "\u"; returns the first byte after the escape or the pair of escapes. */
static const char *unescape_unit(const char *p, const char *end, char **out)
{
    unsigned point = hex_unit(p);
    p += 4;
    if (point >= 0xD800 && point <= 0xDFFF) {
        unsigned low = point < 0xDC00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? hex_unit(p + 2) : 0;
        if (low >= 0xDC00 && low <= 0xDFFF) {
            point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
            p += 6;
        } else {
            point = 0xFFFD;
        }
    }
    *out = put_utf8(*out, point);
    return p;
}

size_t json_unescape(struct json_slice string, char *out)
{
    const char *p = string.text;
    const char *end = p + string.len;
    char *o = out;
    while (p < end) {
        const char *backslash = memchr(p, '\\', (size_t)(end - p));
        size_t run = (size_t)((backslash != NULL ? backslash : end) - p);
        memcpy(o, p, run);
        o += run;
        p += run;
        if (backslash == NULL)
            break;
        p += 2;
        switch (p[-1]) {
        case 'b':
            *o++ = '\b';
            break;
        case 'f':
            *o++ = '\f';
            break;
        case 'n':
            *o++ = '\n';
            break;
        case 'r':
            *o++ = '\r';
            break;
        case 't':
            *o++ = '\t';
            break;
        case 'u':
            p = unescape_unit(p, end, &o);
            break;
        default:
            *o++ = p[-1];
            break;
        }
    }
    return (size_t)(o - out);
}

bool json_string_is(const struct json_scan *scan, const char *text)
{
    struct json_slice rest = scan->string;
    size_t len = strlen(text);
    if (!scan->escaped)
        return rest.len == len && memcmp(rest.text, text, len) == 0;
    const char *p = rest.text;
    const char *end = p + rest.len;
    while (p < end) {
        char piece[4];
        char *piece_end = piece;
        if (p[0] != '\\') {
            *piece_end++ = *p++;
        } else if (p[1] == 'u') {
            p = unescape_unit(p + 2, end, &piece_end);
        } else {
            piece_end += json_unescape((struct json_slice){p, 2}, piece);
            p += 2;
        }
        size_t got = (size_t)(piece_end - piece);
        if (got > len || memcmp(piece, text, got) != 0)
            return false;
        text += got;
        len -= got;
    }
    return len == 0;
}

void json_string_copy(const struct json_scan *scan, struct buf *out)
{
    if (!scan->escaped) {
        buf_add(out, scan->string.text, scan->string.len);
        return;
    }
    char *room = buf_reserve(out, scan->string.len);
    if (room == NULL)
        return;
    out->len += json_unescape(scan->string, room);
    out->data[out->len] = '\0';
}

bool json_find(const char *text, size_t len, const char *name, struct json_slice *out)
{
    struct json_scan scan;
    struct json_slice value;
    struct err ignored;
    bool more = false;
    json_scan_init(&scan, text, len);
    if (json_scan_value(&scan, &ignored) != ERR_NONE || scan.token != JSON_OBJECT)
        return false;
    while (json_scan_member(&scan, &more, &ignored) == ERR_NONE && more) {
        bool wanted = json_string_is(&scan, name);
        if (json_scan_value(&scan, &ignored) != ERR_NONE ||
            json_scan_skip(&scan, &value, &ignored) != ERR_NONE)
            return false;
        if (!wanted)
            continue;
        *out = value;
        return true;
    }
    return false;
}

bool json_find_string(const char *text, size_t len, const char *name, struct json_scan *scan)
{
    struct json_slice slice;
    struct err ignored;
    if (!json_find(text, len, name, &slice))
        return false;
    json_scan_init(scan, slice.text, slice.len);
    return json_scan_value(scan, &ignored) == ERR_NONE && scan->token == JSON_STRING;
}

char *json_find_copy(const char *text, size_t len, const char *name)
{
    struct json_scan scan;
    if (!json_find_string(text, len, name, &scan))
        return NULL;
    char *copy = mem_alloc(scan.string.len + 1);
    if (copy != NULL)
        copy[json_unescape(scan.string, copy)] = '\0';
    return copy;
}

enum err_code json_check(const char *text, size_t len, struct err *err)
{
    struct json_scan scan;
    json_scan_init(&scan, text, len);
    enum err_code code = json_scan_value(&scan, err);
    if (code == ERR_NONE)
        code = json_scan_skip(&scan, NULL, err);
    return code == ERR_NONE ? json_scan_end(&scan, err) : code;
}

/* ---- Writing ---- */

static void write_escape(struct buf *out, unsigned char c)
{
    static const char short_form[] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't', ['"'] = '"', ['\\'] = '\\'};
    static const char hex[] = "0123456789abcdef";
    if (c < sizeof short_form && short_form[c] != '\0') {
        buf_add(out, (char[]){'\\', short_form[c]}, 2);
    } else {
        buf_add(out, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
    }
}

enum err_code json_write_string(struct buf *out, const char *text, size_t len, struct err *err)
{
    size_t restore = out->len;
    const char *end = text + len;
    const char *written = text; /* everything before it is in out */
    const char *p = text;
    buf_addc(out, '"');
    while ((p = skip_plain(p, end)) < end) {
        unsigned char c = (unsigned char)*p;
        if (c >= 0x80) {
            int sequence = utf8_sequence(p, end);
            if (sequence == 0) {
                out->len = restore;
                if (out->data != NULL)
                    out->data[restore] = '\0';
                return err_set(err, ERR_INVALID, "the string is not valid UTF-8 at byte %zu (0x%02X)",
                               (size_t)(p - text) + 1, c);
            }
            p += sequence;
            continue;
        }
        buf_add(out, written, (size_t)(p - written));
        write_escape(out, c);
        written = ++p;
    }
    buf_add(out, written, (size_t)(end - written));
    buf_addc(out, '"');
    return ERR_NONE;
}

static void new_line(struct buf *out, int depth)
{
    buf_addc(out, '\n');
    for (int i = 0; i < depth; i++)
        buf_adds(out, "  ");
}

enum err_code json_reindent(const char *text, size_t len, struct buf *out, struct err *err)
{
    struct json_scan scan;
    struct json_slice slice;
    int depth = 0;
    json_scan_init(&scan, text, len);
    enum err_code code = json_scan_value(&scan, err);
    /* The text is checked as a whole first; then its tokens need no grammar. */
    if (code == ERR_NONE)
        code = json_scan_skip(&scan, &slice, err);
    if (code == ERR_NONE)
        code = json_scan_end(&scan, err);
    if (code != ERR_NONE)
        return code;
    enum json_token previous = JSON_END;
    json_scan_init(&scan, text, len);
    while ((code = json_scan_token(&scan, err)) == ERR_NONE && scan.token != JSON_END) {
        bool closes = scan.token == JSON_OBJECT_END || scan.token == JSON_ARRAY_END;
        bool after_open = previous == JSON_OBJECT || previous == JSON_ARRAY;
        depth -= closes;
        if ((closes && !after_open) || (!closes && (after_open || previous == JSON_COMMA)))
            new_line(out, depth);
        buf_add(out, scan.token_at, (size_t)(scan.at - scan.token_at));
        if (scan.token == JSON_COLON)
            buf_addc(out, ' ');
        depth += scan.token == JSON_OBJECT || scan.token == JSON_ARRAY;
        previous = scan.token;
    }
    return code;
}

enum err_code json_write_member(struct buf *out, const char *name, const char *text, struct err *err)
{
    if (text == NULL)
        return ERR_NONE;
    buf_addf(out, "%s\"%s\":", out->len > 0 && out->data[out->len - 1] == '{' ? "" : ",", name);
    return json_write_string(out, text, strlen(text), err);
}

void json_write_text(struct buf *out, const char *text)
{
    struct err ignored;
    if (json_write_string(out, text, strlen(text), &ignored) != ERR_NONE)
        buf_adds(out, "\"\"");
}

void json_write_integer(struct buf *out, int64_t value)
{
    char text[NUMBER_TEXT_MAX];
    buf_add(out, text, number_format_integer(value, text));
}

enum err_code json_write_number(struct buf *out, double value, struct err *err)
{
    char text[NUMBER_TEXT_MAX];
    size_t len = number_format_double(value, text);
    if (!isfinite(value))
        return err_set(err, ERR_INVALID, "%s is not a number that JSON can hold", text);
    buf_add(out, text, len);
    return ERR_NONE;
}
