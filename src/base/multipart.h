/* Forms as multipart/form-data (RFC 7578, over RFC 2046), of a body that is whole in memory.
 *
 * Who owns what: the reader and its parts point into the caller's body, which must outlive them; nothing is
 * allocated.
 *
 * A line is a boundary only when nothing but it, and blanks, are in it; anything else belongs to the content.
 * What is before the first boundary and behind the last is skipped. A content is taken as it is: parts that
 * are encoded (Content-Transfer-Encoding) are refused. */
#ifndef WORKERS_BASE_MULTIPART_H
#define WORKERS_BASE_MULTIPART_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define MULTIPART_BOUNDARY_MAX 70
#define MULTIPART_PARTS_MAX 1000
#define MULTIPART_HEADERS_MAX 16384 /* bytes of one part's headers */

struct multipart {
    const char *at; /* what has not been read yet */
    const char *end;
    char delimiter[4 + MULTIPART_BOUNDARY_MAX]; /* CRLF, --, boundary */
    size_t delimiter_len;
    int parts; /* that have been read */
    bool last; /* no part follows */
};

/* How a text is written in the body. */
enum multipart_coding {
    MULTIPART_PLAIN,
    MULTIPART_QUOTED, /* between quotes: \" \\ %22 %0D %0A stand for one character each */
    MULTIPART_UTF8,   /* percent-encoded (RFC 8187) */
    MULTIPART_LATIN1, /* percent-encoded ISO 8859-1 */
};

struct multipart_text {
    const char *bytes; /* NULL when it is not there */
    size_t len;
    enum multipart_coding coding;
};

struct multipart_part {
    int number; /* from 1 */
    struct multipart_text name;
    struct multipart_text filename; /* is there when the part is a file; may be empty */
    struct multipart_text type;     /* the Content-Type */
    const char *content;
    size_t content_len;
};

/* type is the Content-Type, with the boundary. ERR_INVALID says what is wrong with it. */
enum err_code multipart_init(struct multipart *form, const char *type, size_t type_len, const char *body,
                             size_t len, struct err *err) MUST_CHECK;

/* The next part; *found is false after the last. ERR_INVALID and ERR_LIMIT name the part and what is wrong
 * with it; then there is nothing more to be read. */
enum err_code multipart_next(struct multipart *form, struct multipart_part *part, bool *found,
                             struct err *err) MUST_CHECK;

/* Writes what the text stands for, at most text->len bytes; returns how many. What is given as UTF-8 is not
 * checked. */
size_t multipart_decode(const struct multipart_text *text, char *out);

#endif
