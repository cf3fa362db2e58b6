/* Forms as multipart/form-data. Must not know what becomes of the fields, nor copy what they hold. */
#include "base/multipart.h"

#include <string.h>
#include <strings.h>

/* Bytes that are read from the front. */
struct span {
    const char *at;
    const char *end;
};

static size_t left(const struct span *span)
{
    return (size_t)(span->end - span->at);
}

static bool begins(const struct span *span, const char *text)
{
    size_t len = strlen(text);
    return left(span) >= len && memcmp(span->at, text, len) == 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Blanks, and the line breaks of a folded header (RFC 5322, section 2.2.3). */
static void skip_space(struct span *span)
{
    while (span->at < span->end && (is_blank(*span->at) || *span->at == '\r' || *span->at == '\n'))
        span->at++;
}

static bool is_word(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && strncasecmp(text, word, len) == 0;
}

/* ---- parameters: "; name=value; name="value"" ---- */

enum found { FOUND, FOUND_NONE, FOUND_DAMAGED };

struct parameter {
    const char *name;
    size_t name_len;
    struct multipart_text value;
};

/* The text up to the quote that closes it, behind the one that opens it. A backslash makes the next quote or
 * backslash an ordinary character. But a browser does not escape the backslash of a name that ends in one, so
 * the last quote of the header always closes. */
static bool take_quoted(struct span *span, struct multipart_text *out)
{
    const char *begin = span->at;
    for (; span->at < span->end; span->at++) {
        const char *at = span->at;
        if (*at == '\\' && at + 1 < span->end && at[1] == '\\') {
            span->at++;
        } else if (*at == '\\' && at + 1 < span->end && at[1] == '"') {
            struct span rest = {at + 2, span->end};
            skip_space(&rest);
            if (rest.at < rest.end)
                span->at++;
        } else if (*at == '"') {
            *out = (struct multipart_text){begin, (size_t)(at - begin), MULTIPART_QUOTED};
            span->at++;
            return true;
        }
    }
    return false;
}

static enum found take_parameter(struct span *span, struct parameter *out)
{
    skip_space(span);
    while (span->at < span->end && *span->at == ';') {
        span->at++;
        skip_space(span);
        if (span->at == span->end)
            return FOUND_NONE;
        if (*span->at == ';')
            continue;
        out->name = span->at;
        while (span->at < span->end && strchr("=;\" \t\r\n", *span->at) == NULL)
            span->at++;
        out->name_len = (size_t)(span->at - out->name);
        if (out->name_len == 0 || !begins(span, "="))
            return FOUND_DAMAGED;
        span->at++;
        if (begins(span, "\"")) {
            span->at++;
            return take_quoted(span, &out->value) ? FOUND : FOUND_DAMAGED;
        }
        out->value = (struct multipart_text){.bytes = span->at, .coding = MULTIPART_PLAIN};
        while (span->at < span->end && strchr("; \t\r\n\"", *span->at) == NULL)
            span->at++;
        out->value.len = (size_t)(span->at - out->value.bytes);
        return FOUND;
    }
    return span->at == span->end ? FOUND_NONE : FOUND_DAMAGED;
}

/* What stands before the parameters: a media type, or what a disposition is. */
static struct multipart_text take_first(struct span *span)
{
    skip_space(span);
    struct multipart_text first = {.bytes = span->at, .coding = MULTIPART_PLAIN};
    while (span->at < span->end && *span->at != ';' && !is_blank(*span->at) && *span->at != '\r')
        span->at++;
    first.len = (size_t)(span->at - first.bytes);
    return first;
}

/* ---- the boundary ---- */

/* RFC 2046, section 5.1.1: bchars, and no blank at the end. */
static bool is_boundary(const struct multipart_text *text)
{
    for (size_t i = 0; i < text->len; i++) {
        char c = text->bytes[i];
        bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!alphanumeric && (c == '\0' || strchr("'()+_,-./:=? ", c) == NULL))
            return false;
    }
    return text->len > 0 && text->bytes[text->len - 1] != ' ';
}

enum err_code multipart_init(struct multipart *form, const char *type, size_t type_len, const char *body,
                             size_t len, struct err *err)
{
    struct span span = {type, type + type_len};
    struct parameter parameter;
    struct multipart_text boundary = {0};
    enum found found;
    *form = (struct multipart){.at = body, .end = body + len};
    struct multipart_text media = take_first(&span);
    if (!is_word(media.bytes, media.len, "multipart/form-data"))
        return err_set(err, ERR_INVALID, "the content type is not multipart/form-data");
    while ((found = take_parameter(&span, &parameter)) == FOUND) {
        if (!is_word(parameter.name, parameter.name_len, "boundary"))
            continue;
        if (boundary.bytes != NULL)
            return err_set(err, ERR_INVALID, "the content type has two boundaries");
        boundary = parameter.value;
    }
    if (found == FOUND_DAMAGED)
        return err_set(err, ERR_INVALID, "the parameters of the content type are malformed");
    if (boundary.bytes == NULL)
        return err_set(err, ERR_INVALID, "the content type has no boundary");
    if (!is_boundary(&boundary) || boundary.len > MULTIPART_BOUNDARY_MAX)
        return err_set(err, ERR_INVALID,
                       "the boundary of the content type must be 1 to %d letters, digits or '()+_,-./:=?",
                       MULTIPART_BOUNDARY_MAX);
    memcpy(form->delimiter, "\r\n--", 4);
    memcpy(form->delimiter + 4, boundary.bytes, boundary.len);
    form->delimiter_len = 4 + boundary.len;
    return ERR_NONE;
}

/* Whether what stands before after is a whole line; *after then is behind it. */
static bool ends_boundary(const struct multipart *form, const char **after, bool *last)
{
    struct span span = {*after, form->end};
    *last = begins(&span, "--");
    if (*last)
        span.at += 2;
    while (span.at < span.end && is_blank(*span.at))
        span.at++;
    *after = span.at;
    if (span.at == span.end)
        return *last;
    if (!begins(&span, "\r\n"))
        return false;
    *after += 2;
    return true;
}

/* The next boundary: *begin is where its line break is, *after what follows its line. */
static bool find_boundary(const struct multipart *form, const char **begin, const char **after, bool *last)
{
    const char *at = form->at;
    while ((at = memmem(at, (size_t)(form->end - at), form->delimiter, form->delimiter_len)) != NULL) {
        *begin = at;
        *after = at + form->delimiter_len;
        if (ends_boundary(form, after, last))
            return true;
        at++;
    }
    return false;
}

static enum err_code skip_first_boundary(struct multipart *form, struct err *err)
{
    size_t len = form->delimiter_len - 2; /* nothing need be before it */
    const char *begin = NULL, *after = form->at + len;
    bool at_start = (size_t)(form->end - form->at) >= len && memcmp(form->at, form->delimiter + 2, len) == 0;
    if (!(at_start && ends_boundary(form, &after, &form->last)) &&
        !find_boundary(form, &begin, &after, &form->last))
        return err_set(err, ERR_INVALID, "%s",
                       at_start && form->at + len < form->end && form->at[len] == '\n'
                           ? "lines must end with CR and LF, not with LF alone"
                           : "the first boundary is missing");
    form->at = after;
    return ERR_NONE;
}

/* ---- a part's headers ---- */

/* Content-Disposition: form-data; name="…"; filename="…"; filename*=UTF-8''… */
struct disposition {
    bool is_there;
    struct multipart_text name, filename, extended;
};

/* charset'language'percent-encoded; the language is of no use here. */
static bool read_extended(struct multipart_text *text)
{
    const char *end = text->bytes + text->len;
    const char *language = memchr(text->bytes, '\'', text->len);
    const char *value = language != NULL ? memchr(language + 1, '\'', (size_t)(end - language - 1)) : NULL;
    if (value == NULL)
        return false;
    size_t charset = (size_t)(language - text->bytes);
    if (is_word(text->bytes, charset, "UTF-8"))
        text->coding = MULTIPART_UTF8;
    else if (is_word(text->bytes, charset, "ISO-8859-1"))
        text->coding = MULTIPART_LATIN1;
    else
        return false;
    text->bytes = value + 1;
    text->len = (size_t)(end - text->bytes);
    return true;
}

static enum err_code read_disposition(struct span value, int number, struct disposition *out, struct err *err)
{
    struct parameter parameter;
    enum found found;
    if (out->is_there)
        return err_set(err, ERR_INVALID, "part %d has two Content-Disposition headers", number);
    out->is_there = true;
    struct multipart_text first = take_first(&value);
    if (!is_word(first.bytes, first.len, "form-data"))
        return err_set(err, ERR_INVALID, "the Content-Disposition of part %d is not form-data", number);
    while ((found = take_parameter(&value, &parameter)) == FOUND) {
        struct multipart_text *text =
            is_word(parameter.name, parameter.name_len, "name")        ? &out->name
            : is_word(parameter.name, parameter.name_len, "filename")  ? &out->filename
            : is_word(parameter.name, parameter.name_len, "filename*") ? &out->extended
                                                                       : NULL;
        if (text != NULL && text->bytes != NULL)
            return err_set(err, ERR_INVALID, "part %d has %.*s twice", number, (int)parameter.name_len,
                           parameter.name);
        if (text != NULL)
            *text = parameter.value;
    }
    if (found == FOUND_DAMAGED)
        return err_set(err, ERR_INVALID, "the Content-Disposition of part %d is malformed", number);
    if (out->extended.bytes != NULL && !read_extended(&out->extended)) {
        if (out->filename.bytes == NULL)
            return err_set(err, ERR_INVALID, "filename* of part %d is neither UTF-8 nor ISO-8859-1", number);
        out->extended.bytes = NULL;
    }
    return ERR_NONE;
}

static enum err_code read_header(struct span line, struct multipart_part *part,
                                 struct disposition *disposition, struct err *err)
{
    const char *name = line.at;
    const char *colon = memchr(name, ':', left(&line));
    if (colon == NULL || colon == name)
        return err_set(err, ERR_INVALID, "part %d has a header without %s", part->number,
                       colon == NULL ? "a colon" : "a name");
    size_t len = (size_t)(colon - name);
    line.at = colon + 1;
    skip_space(&line);
    while (line.at < line.end && is_blank(line.end[-1]))
        line.end--;
    if (is_word(name, len, "Content-Disposition"))
        return read_disposition(line, part->number, disposition, err);
    if (is_word(name, len, "Content-Type")) {
        part->type = (struct multipart_text){line.at, left(&line), MULTIPART_PLAIN};
    } else if (is_word(name, len, "Content-Transfer-Encoding")) {
        struct multipart_text coding = take_first(&line);
        if (!is_word(coding.bytes, coding.len, "binary") && !is_word(coding.bytes, coding.len, "8bit") &&
            !is_word(coding.bytes, coding.len, "7bit"))
            return err_set(err, ERR_INVALID,
                           "part %d has a Content-Transfer-Encoding, which forms do not have", part->number);
    }
    return ERR_NONE;
}

/* Takes one header with the lines that it is folded into; *line has it without its end. */
static bool take_header(struct span *span, struct span *line)
{
    *line = *span;
    while ((line->end = memmem(span->at, left(span), "\r\n", 2)) != NULL) {
        span->at = line->end + 2;
        if (span->at == span->end || !is_blank(*span->at))
            return true;
    }
    return false;
}

/* rest is the part; in the end it is the content. */
static enum err_code read_headers(struct span *rest, struct multipart_part *part,
                                  struct disposition *disposition, struct err *err)
{
    struct span line, headers = *rest;
    bool limited = left(rest) > MULTIPART_HEADERS_MAX;
    if (limited)
        headers.end = headers.at + MULTIPART_HEADERS_MAX;
    /* The empty line may be the one that the boundary begins with. */
    while ((limited || headers.at < headers.end) && !begins(&headers, "\r\n")) {
        if (!take_header(&headers, &line))
            return limited ? err_set(err, ERR_LIMIT, "part %d has more than %d KiB of headers", part->number,
                                     MULTIPART_HEADERS_MAX / 1024)
                           : err_set(err, ERR_INVALID, "part %d has no empty line after its headers",
                                     part->number);
        enum err_code code = read_header(line, part, disposition, err);
        if (code != ERR_NONE)
            return code;
    }
    rest->at = headers.at < headers.end ? headers.at + 2 : headers.at;
    return ERR_NONE;
}

enum err_code multipart_next(struct multipart *form, struct multipart_part *part, bool *found,
                             struct err *err)
{
    const char *begin = NULL, *after = NULL;
    struct disposition disposition = {0};
    enum err_code code = ERR_NONE;
    *found = false;
    *part = (struct multipart_part){.number = form->parts + 1};
    if (form->parts == 0 && !form->last)
        code = skip_first_boundary(form, err);
    if (code != ERR_NONE || form->last)
        return code;
    if (form->parts == MULTIPART_PARTS_MAX)
        return err_set(err, ERR_LIMIT, "the form has more than %d parts", MULTIPART_PARTS_MAX);
    if (!find_boundary(form, &begin, &after, &form->last))
        return err_set(err, ERR_INVALID, "the last boundary is missing");
    struct span rest = {form->at, begin};
    code = read_headers(&rest, part, &disposition, err);
    if (code != ERR_NONE)
        return code;
    if (!disposition.is_there)
        return err_set(err, ERR_INVALID, "part %d has no Content-Disposition", part->number);
    if (disposition.name.bytes == NULL)
        return err_set(err, ERR_INVALID, "part %d has no name", part->number);
    part->name = disposition.name;
    part->filename = disposition.extended.bytes != NULL ? disposition.extended : disposition.filename;
    part->content = rest.at;
    part->content_len = left(&rest);
    form->parts++;
    form->at = after;
    *found = true;
    return ERR_NONE;
}

/* ---- texts ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* The byte that %XX at the front stands for; -1 when there is none. */
static int percent_byte(const struct span *span)
{
    if (left(span) < 3 || *span->at != '%')
        return -1;
    int high = hex_digit(span->at[1]), low = hex_digit(span->at[2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

size_t multipart_decode(const struct multipart_text *text, char *out)
{
    struct span span = {text->bytes, text->bytes + text->len};
    bool quoted = text->coding == MULTIPART_QUOTED;
    char *to = out;
    while (span.at < span.end) {
        int byte = text->coding != MULTIPART_PLAIN ? percent_byte(&span) : -1;
        if (quoted && byte != '"' && byte != '\r' && byte != '\n')
            byte = -1;
        if (byte >= 0 && text->coding == MULTIPART_LATIN1 && byte > 127) {
            *to++ = (char)(0xC0 | byte >> 6);
            *to++ = (char)(0x80 | (byte & 63));
        } else if (byte >= 0) {
            *to++ = (char)byte;
        }
        if (byte >= 0) {
            span.at += 3;
            continue;
        }
        if (begins(&span, "\r\n")) { /* where a header was folded */
            span.at += 2;
            continue;
        }
        if (quoted && (begins(&span, "\\\"") || begins(&span, "\\\\")))
            span.at++;
        *to++ = *span.at++;
    }
    return (size_t)(to - out);
}
