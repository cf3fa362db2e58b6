/* Comma-separated values (RFC 4180) as a stream, without Lua: chunks go in, fields come out; and fields as
 * text.
 *
 * Who owns what: the reader owns nothing. A chunk belongs to the caller and stays where it is until CSV_MORE;
 * so does the scratch memory, until csv_set_scratch gives other. A field's bytes are valid until the next
 * csv_next.
 *
 * What is read is more than RFC 4180 writes: a record ends with CRLF, LF or CR; a quote inside a field that
 * does not begin with one is a character like any other; bytes need not be UTF-8, and none is changed or
 * dropped. A UTF-8 byte order mark at the very start is not part of the text; one of UTF-16 is an error. */
#ifndef WORKERS_BASE_CSV_H
#define WORKERS_BASE_CSV_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct csv_format {
    char delimiter;
    char quote;   /* '\0': nothing is quoted */
    char escape;  /* makes the next character an ordinary one, in quotes and outside; '\0': none */
    char comment; /* a record that begins with it, unquoted, is skipped to the end of its line; '\0': none */
    bool trim;    /* blanks and tabs around a field, but inside quotes, are no part of it */
    bool skip_empty;   /* lines with nothing in them are no records */
    size_t max_field;  /* bytes */
    size_t max_fields; /* in a record */
};

/* ERR_INVALID unless the characters are ASCII, no line break and all different. */
enum err_code csv_check_format(const struct csv_format *format, struct err *err) MUST_CHECK;

/* Where something is in the text: the bytes from begin to at are in the present chunk, the rest is counted.
 */
struct csv_place {
    size_t line;   /* from 1 */
    size_t before; /* characters of the line in earlier chunks */
    size_t begin;
    size_t at;
};

struct csv_reader {
    struct csv_format format;
    unsigned char stops[256]; /* which scanning loop stops at a byte */
    int state;
    bool final;      /* no chunk follows */
    bool was_return; /* the last byte of the chunk before was a CR */
    bool quoted;     /* the present field */
    bool failed;
    char head[3]; /* of the text, while it may be a byte order mark */
    size_t head_len;
    size_t fields;    /* that the record has so far */
    const char *data; /* the present chunk */
    size_t len;
    size_t at;
    size_t from; /* what lies between from and at belongs to the field, and is not in the scratch memory */
    char *scratch;
    size_t scratch_len;
    size_t scratch_size;
    size_t scratch_need;
    struct csv_place line;
    struct csv_place quote; /* where the field's quote opened */
    size_t record_line;
};

void csv_reader_init(struct csv_reader *reader, const struct csv_format *format);

/* The next chunk, which may begin and end anywhere; only after CSV_MORE. */
void csv_feed(struct csv_reader *reader, const char *data, size_t len);
/* There is none; only after CSV_MORE. */
void csv_finish(struct csv_reader *reader);

/* Memory for the parts of a field; size is at least scratch_need. The caller has copied the first scratch_len
 * bytes of what was there. */
void csv_set_scratch(struct csv_reader *reader, char *memory, size_t size);

struct csv_field {
    const char *bytes;
    size_t len;
    bool last; /* of its record */
};

enum csv_step {
    CSV_FIELD,
    CSV_MORE, /* feed or finish */
    CSV_ROOM, /* give scratch memory of scratch_need bytes or more, then go on */
    CSV_END,
    CSV_FAILED, /* err says where and why: ERR_INVALID or ERR_LIMIT; so does every later call */
};

enum csv_step csv_next(struct csv_reader *reader, struct csv_field *field, struct err *err) MUST_CHECK;

/* Appends a field, with the delimiter before it unless it is the first of its record; only says that it is
 * also the last. It is quoted when it has to be, or when always says so. Without quotes the escape character
 * serves; without both, a field that would come back as something else is ERR_INVALID. That out is full shows
 * in its status. */
enum err_code csv_add_field(struct buf *out, const struct csv_format *format, const char *bytes, size_t len,
                            bool first, bool only, bool always, struct err *err) MUST_CHECK;

#endif
