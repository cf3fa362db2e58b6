/* Header fields. Must not let a line end or a NUL byte through to the wire, nor a response grow without end.
 */
#include "net/http_headers.h"
#include "base/mem.h"

#include <string.h>

void http_headers_init(struct http_headers *headers)
{
    *headers = (struct http_headers){0};
    arena_init(&headers->text);
}

void http_headers_free(struct http_headers *headers)
{
    mem_free(headers->items);
    arena_free(&headers->text);
    http_headers_init(headers);
}

bool http_is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c) != NULL)
            return false;
    }
    return len > 0;
}

/* Some bytes of a name, made printable for a message. */
static const char *printable(char *out, size_t size, const char *text, size_t len)
{
    size_t shown = len < size - 1 ? len : size - 1;
    for (size_t i = 0; i < shown; i++)
        out[i] = text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?';
    out[shown] = '\0';
    return out;
}

enum err_code http_header_check(const char *name, size_t name_len, const char *value, size_t value_len,
                                struct err *err)
{
    char shown[80];
    if (name_len == 0)
        return err_set(err, ERR_INVALID, "a header has an empty name");
    if (!http_is_token(name, name_len))
        return err_set(err, ERR_INVALID,
                       "header name \"%s\" has a character that header names cannot have; "
                       "use letters, digits and -",
                       printable(shown, sizeof shown, name, name_len));
    for (size_t i = 0; i < value_len; i++) {
        const char *what = value[i] == '\r'   ? "a carriage return"
                           : value[i] == '\n' ? "a line feed"
                           : value[i] == '\0' ? "a NUL byte"
                                              : NULL;
        if (what != NULL)
            return err_set(err, ERR_INVALID, "the value of header \"%s\" has %s at byte %zu",
                           printable(shown, sizeof shown, name, name_len), what, i + 1);
    }
    if (name_len + value_len > HTTP_HEADERS_MAX_BYTES)
        return err_set(err, ERR_INVALID, "header \"%s\" is longer than %zu bytes",
                       printable(shown, sizeof shown, name, name_len), HTTP_HEADERS_MAX_BYTES);
    return ERR_NONE;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void trim(const char **text, size_t *len)
{
    while (*len > 0 && is_blank((*text)[0])) {
        (*text)++;
        (*len)--;
    }
    while (*len > 0 && is_blank((*text)[*len - 1]))
        (*len)--;
}

/* An obsolete line folding (RFC 9112, section 5.2) reads as one space. */
static enum err_code continue_line(struct http_headers *headers, const char *text, size_t len,
                                   struct err *err)
{
    struct http_header *last = &headers->items[headers->count - 1];
    char *joined = arena_alloc(&headers->text, last->value_len + 1 + len + 1);
    if (joined == NULL)
        return err_nomem(err);
    memcpy(joined, last->value, last->value_len);
    joined[last->value_len] = ' ';
    memcpy(joined + last->value_len + 1, text, len);
    last->value = joined;
    last->value_len += 1 + len;
    joined[last->value_len] = '\0';
    return ERR_NONE;
}

enum err_code http_headers_add_line(struct http_headers *headers, const char *line, size_t len,
                                    struct err *err)
{
    headers->bytes += len;
    if (headers->bytes > HTTP_HEADERS_MAX_BYTES)
        return err_set(err, ERR_LIMIT, "the headers are larger than %zu bytes", HTTP_HEADERS_MAX_BYTES);
    if (headers->count >= HTTP_HEADERS_MAX_COUNT)
        return err_set(err, ERR_LIMIT, "there are more than %zu headers", HTTP_HEADERS_MAX_COUNT);

    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == '\n'))
        len--;
    bool folded = len > 0 && is_blank(line[0]);
    if (folded) {
        trim(&line, &len);
        /* Each fold copies what came before: the limit keeps a thousand short ones from costing memory. */
        if (headers->count == 0 || len == 0)
            return ERR_NONE;
        headers->bytes += headers->items[headers->count - 1].value_len;
        return continue_line(headers, line, len, err);
    }
    const char *colon = len > 0 ? memchr(line, ':', len) : NULL;
    if (colon == NULL)
        return ERR_NONE;
    size_t name_len = (size_t)(colon - line);
    const char *value = colon + 1;
    size_t value_len = len - name_len - 1;
    trim(&value, &value_len);
    if (!http_is_token(line, name_len))
        return ERR_NONE;

    if (headers->count == headers->capacity) {
        size_t capacity = headers->capacity == 0 ? 16 : headers->capacity * 2;
        struct http_header *items = mem_realloc(headers->items, capacity * sizeof *items);
        if (items == NULL)
            return err_nomem(err);
        headers->items = items;
        headers->capacity = capacity;
    }
    char *name_copy = arena_strndup(&headers->text, line, name_len);
    char *value_copy = arena_strndup(&headers->text, value, value_len);
    if (name_copy == NULL || value_copy == NULL)
        return err_nomem(err);
    for (size_t i = 0; i < name_len; i++)
        if (name_copy[i] >= 'A' && name_copy[i] <= 'Z')
            name_copy[i] = (char)(name_copy[i] + ('a' - 'A'));
    headers->items[headers->count++] = (struct http_header){name_copy, name_len, value_copy, value_len};
    return ERR_NONE;
}

const struct http_header *http_headers_find(const struct http_headers *headers, const char *name, size_t nth)
{
    for (size_t i = 0; i < headers->count; i++)
        if (strcmp(headers->items[i].name, name) == 0 && nth-- == 0)
            return &headers->items[i];
    return NULL;
}
