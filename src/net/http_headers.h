/* HTTP header fields: checking those to be sent, collecting those received (RFC 9110, section 5).
 *
 * Who owns what: a struct http_headers owns every name and value in it until http_headers_free. */
#ifndef WORKERS_NET_HTTP_HEADERS_H
#define WORKERS_NET_HTTP_HEADERS_H

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>

#define HTTP_HEADERS_MAX_BYTES ((size_t)256 * 1024) /* of one response, names and values and separators */
#define HTTP_HEADERS_MAX_COUNT ((size_t)1000)

struct http_header {
    const char *name; /* lower case, NUL-terminated */
    size_t name_len;
    const char *value; /* without surrounding blanks, NUL-terminated */
    size_t value_len;
};

struct http_headers {
    struct http_header *items; /* in the order received, duplicates kept */
    size_t count;
    size_t capacity;
    size_t bytes; /* received so far, counted against HTTP_HEADERS_MAX_BYTES */
    struct arena text;
};

void http_headers_init(struct http_headers *headers);
void http_headers_free(struct http_headers *headers);

/* Takes one field line as received, line end included. A line that begins with a blank continues the one
 * before. A line without a colon or with a name that is no token is counted and left out. ERR_LIMIT when the
 * response passes one of the two maxima, ERR_NOMEM. */
enum err_code http_headers_add_line(struct http_headers *headers, const char *line, size_t len,
                                    struct err *err) MUST_CHECK;

/* The nth (from 0) field of that lower-case name, NULL when there are not so many. */
const struct http_header *http_headers_find(const struct http_headers *headers, const char *name, size_t nth);

/* A token of RFC 9110, section 5.6.2: at least one character, no blanks, no separators. */
bool http_is_token(const char *text, size_t len);

/* ERR_INVALID when the field cannot be sent: the message names the field, never its value. */
enum err_code http_header_check(const char *name, size_t name_len, const char *value, size_t value_len,
                                struct err *err) MUST_CHECK;

#endif
