/* Reading and writing CSV. Must not allocate, and must not look back into a chunk that it has said it is done
 * with. */
#include "base/csv.h"

#include <string.h>

enum state {
    STATE_HEAD, /* at the very start, where a byte order mark may be */
    STATE_RECORD,
    STATE_FIELD,
    STATE_PLAIN,
    STATE_PLAIN_ESCAPE,
    STATE_QUOTED,
    STATE_QUOTED_ESCAPE,
    STATE_QUOTE, /* after a quote in a quoted field: it closes the field, or the next doubles it */
    STATE_CLOSED,
    STATE_COMMENT,
};

#define STOP_PLAIN 1
#define STOP_QUOTED 2

static bool is_blank(const struct csv_format *format, char c)
{
    return (c == ' ' || c == '\t') && c != format->delimiter;
}

enum err_code csv_check_format(const struct csv_format *format, struct err *err)
{
    const struct {
        const char *name;
        char c;
    } roles[] = {{"delimiter", format->delimiter},
                 {"quote", format->quote},
                 {"escape", format->escape},
                 {"comment", format->comment}};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        char c = roles[i].c;
        if (c == '\n' || c == '\r' || (unsigned char)c >= 0x80 || (c == '\0' && i == 0))
            return err_set(err, ERR_INVALID, "\"%s\" must be one ASCII character that is no line break",
                           roles[i].name);
        for (size_t j = 0; j < i; j++)
            if (c != '\0' && c == roles[j].c)
                return err_set(err, ERR_INVALID, "\"%s\" and \"%s\" are the same character", roles[j].name,
                               roles[i].name);
    }
    return ERR_NONE;
}

void csv_reader_init(struct csv_reader *reader, const struct csv_format *format)
{
    *reader = (struct csv_reader){
        .format = *format, .state = STATE_HEAD, .data = "", .line.line = 1, .record_line = 1};
    unsigned char *stops = reader->stops;
    stops['\n'] = stops['\r'] = STOP_PLAIN | STOP_QUOTED;
    stops[(unsigned char)format->delimiter] = STOP_PLAIN;
    if (format->quote != '\0')
        stops[(unsigned char)format->quote] |= STOP_QUOTED;
    if (format->escape != '\0')
        stops[(unsigned char)format->escape] |= STOP_PLAIN | STOP_QUOTED;
}

/* ---- places ---- */

static size_t count_characters(const char *bytes, size_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++)
        count += ((unsigned char)bytes[i] & 0xc0) != 0x80;
    return count;
}

/* Characters before the place in its line. */
static size_t column_of(const struct csv_reader *reader, const struct csv_place *place)
{
    return place->before + count_characters(reader->data + place->begin, place->at - place->begin);
}

static struct csv_place here(const struct csv_reader *reader)
{
    struct csv_place place = reader->line;
    place.at = reader->at;
    return place;
}

/* Before the present chunk goes: what it was needed for becomes numbers. */
static void leave_chunk(struct csv_reader *reader)
{
    reader->line.at = reader->len;
    reader->line.before = column_of(reader, &reader->line);
    reader->quote.before = column_of(reader, &reader->quote);
    reader->line.begin = reader->line.at = 0;
    reader->quote.begin = reader->quote.at = 0;
    if (reader->len > 0)
        reader->was_return = reader->data[reader->len - 1] == '\r';
    reader->data = "";
    reader->len = reader->at = reader->from = 0;
}

/* The byte at hand is a CR or LF; steps over it. The LF of a CRLF ends the line that its CR has ended. */
static void step_over_break(struct csv_reader *reader)
{
    bool after_return = reader->at > 0 ? reader->data[reader->at - 1] == '\r' : reader->was_return;
    if (reader->data[reader->at] == '\r' || !after_return)
        reader->line.line++;
    reader->at++;
    reader->line.before = 0;
    reader->line.begin = reader->at;
}

static enum csv_step fail(struct csv_reader *reader, enum err_code code, struct csv_place place,
                          struct err *err, const char *what)
{
    reader->failed = true;
    err_set(err, code, "line %zu, column %zu: %s", place.line, column_of(reader, &place) + 1, what);
    if (reader->record_line != place.line) {
        size_t used = strlen(err->message);
        struct err rest;
        err_set(&rest, code, "%.*s (the record begins in line %zu)", (int)used, err->message,
                reader->record_line);
        *err = rest;
    }
    return CSV_FAILED;
}

/* ---- reading ---- */

void csv_feed(struct csv_reader *reader, const char *data, size_t len)
{
    leave_chunk(reader);
    reader->data = data;
    reader->len = len;
}

void csv_finish(struct csv_reader *reader)
{
    reader->final = true;
}

void csv_set_scratch(struct csv_reader *reader, char *memory, size_t size)
{
    reader->scratch = memory;
    reader->scratch_size = size;
}

/* Moves what belongs to the field into the scratch memory; false, and nothing is changed, when that has no
 * room. */
static bool keep(struct csv_reader *reader)
{
    size_t len = reader->at - reader->from;
    reader->scratch_need = reader->scratch_len + len;
    if (reader->scratch_need > reader->scratch_size)
        return false;
    if (len > 0)
        memcpy(reader->scratch + reader->scratch_len, reader->data + reader->from, len);
    reader->scratch_len += len;
    reader->from = reader->at;
    return true;
}

static enum csv_step too_long(struct csv_reader *reader, struct err *err)
{
    struct err what;
    if (reader->quoted)
        err_set(&what, ERR_LIMIT,
                "the field in these quotes is longer than %zu bytes; its closing quote may be missing",
                reader->format.max_field);
    else
        err_set(&what, ERR_LIMIT, "field %zu is longer than %zu bytes", reader->fields + 1,
                reader->format.max_field);
    return fail(reader, ERR_LIMIT, reader->quoted ? reader->quote : here(reader), err, what.message);
}

static void begin_field(struct csv_reader *reader)
{
    reader->quoted = false;
    reader->scratch_len = 0;
    reader->from = reader->at;
}

/* The field, whose bytes in this chunk end at end, ends before the byte at hand, which is a delimiter or a
 * line break, or at the end of the text. Steps over it and hands out the field; *skipped: it is an empty
 * line, not to be handed out. */
static enum csv_step end_field(struct csv_reader *reader, size_t end, struct csv_field *field, bool *skipped,
                               struct err *err)
{
    const struct csv_format *format = &reader->format;
    if (reader->scratch_len + (end - reader->from) > format->max_field)
        return too_long(reader, err);
    if (reader->scratch_len > 0 && !keep(reader))
        return CSV_ROOM;
    bool in_chunk = reader->scratch_len == 0;
    field->bytes = in_chunk ? reader->data + reader->from : reader->scratch;
    field->len = in_chunk ? end - reader->from : reader->scratch_len;
    while (format->trim && !reader->quoted && field->len > 0 &&
           is_blank(format, field->bytes[field->len - 1]))
        field->len--;
    bool at_end = reader->at == reader->len;
    field->last = at_end || reader->data[reader->at] != format->delimiter;
    if (++reader->fields > format->max_fields) {
        struct err what;
        err_set(&what, ERR_LIMIT, "the record has more than %zu fields", format->max_fields);
        return fail(reader, ERR_LIMIT, here(reader), err, what.message);
    }
    *skipped = format->skip_empty && field->last && reader->fields == 1 && field->len == 0 && !reader->quoted;
    reader->state = field->last ? STATE_RECORD : STATE_FIELD;
    if (!at_end && field->last)
        step_over_break(reader);
    else if (!at_end)
        reader->at++;
    begin_field(reader);
    return CSV_FIELD;
}

static void scan(struct csv_reader *reader, unsigned char stop)
{
    const unsigned char *data = (const unsigned char *)reader->data;
    size_t at = reader->at;
    while (at < reader->len && (reader->stops[data[at]] & stop) == 0)
        at++;
    reader->at = at;
}

/* A byte order mark is no part of the text. Bytes that only begin like one begin the first field: none of
 * them is a character with a meaning. False when there is more to read, in step what for, or that it failed.
 */
static bool read_head(struct csv_reader *reader, enum csv_step *step, struct err *err)
{
    static const struct {
        char bytes[4];
        size_t len;
    } marks[] = {{"\xef\xbb\xbf", 3}, {"\xff\xfe", 2}, {"\xfe\xff", 2}};
    bool may_be = true;
    while (may_be && reader->at < reader->len) {
        size_t seen = reader->head_len;
        may_be = false;
        reader->head[seen] = reader->data[reader->at];
        for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
            if (marks[i].len <= seen || memcmp(marks[i].bytes, reader->head, seen + 1) != 0)
                continue;
            may_be = true;
            if (marks[i].len > seen + 1)
                continue;
            if (marks[i].len == 2) {
                *step = fail(reader, ERR_INVALID, (struct csv_place){.line = 1}, err,
                             "the text is UTF-16; convert it to UTF-8 first");
                return false;
            }
            reader->at++;
            reader->line.before = 0;
            reader->line.begin = reader->at;
            reader->state = STATE_RECORD;
            return true;
        }
        if (may_be) {
            reader->head_len++;
            reader->at++;
        }
    }
    if (may_be && !reader->final) {
        leave_chunk(reader);
        *step = CSV_MORE;
        return false;
    }
    if (reader->at >= reader->head_len) {
        reader->at -= reader->head_len;
        reader->state = STATE_RECORD;
        return true;
    }
    reader->scratch_need = reader->head_len;
    if (reader->scratch_need > reader->scratch_size) {
        *step = CSV_ROOM;
        return false;
    }
    begin_field(reader);
    memcpy(reader->scratch, reader->head, reader->head_len);
    reader->scratch_len = reader->head_len;
    reader->state = STATE_PLAIN;
    return true;
}

/* Where a record begins: at its first field, at a comment, or nowhere. */
static bool begin_record(struct csv_reader *reader)
{
    const struct csv_format *format = &reader->format;
    bool after_return = reader->at > 0 ? reader->data[reader->at - 1] == '\r' : reader->was_return;
    if (after_return && reader->at < reader->len && reader->data[reader->at] == '\n')
        step_over_break(reader); /* the rest of the CRLF that ended the record before */
    if (reader->at == reader->len)
        return false;
    reader->fields = 0;
    reader->record_line = reader->line.line;
    reader->state = STATE_FIELD;
    if (format->comment != '\0' && reader->data[reader->at] == format->comment)
        reader->state = STATE_COMMENT;
    begin_field(reader);
    return true;
}

static bool ends_field(const struct csv_format *format, char c)
{
    return c == '\r' || c == '\n' || c == format->delimiter;
}

/* What the byte at hand does: the one that a scanning loop stopped at, or in the other states the next. False
 * when the present field ends here; *end is then the end of its bytes. */
static bool take(struct csv_reader *reader, size_t *end, enum csv_step *step, struct err *err)
{
    const struct csv_format *format = &reader->format;
    char c = reader->data[reader->at];
    bool is_break = c == '\r' || c == '\n';
    *end = reader->at;
    switch ((enum state)reader->state) {
    case STATE_FIELD:
        if (format->quote != '\0' && c == format->quote) {
            reader->quote = here(reader);
            reader->quoted = true;
            reader->from = ++reader->at;
            reader->state = STATE_QUOTED;
        } else if (format->trim && is_blank(format, c)) {
            reader->from = ++reader->at;
        } else {
            reader->state = STATE_PLAIN;
        }
        return true;
    case STATE_PLAIN:
        if (ends_field(format, c))
            return false;
        if (!keep(reader)) {
            *step = CSV_ROOM;
            return true;
        }
        reader->state = STATE_PLAIN_ESCAPE;
        reader->from = ++reader->at;
        return true;
    case STATE_QUOTED:
        if (is_break) {
            step_over_break(reader);
            return true;
        }
        /* The common case without a copy: quotes, nothing special between them, and the field ends. */
        if (c == format->quote && reader->scratch_len == 0 && reader->at + 1 < reader->len &&
            ends_field(format, reader->data[reader->at + 1])) {
            reader->at++;
            return false;
        }
        if (!keep(reader)) {
            *step = CSV_ROOM;
            return true;
        }
        reader->state = c == format->quote ? STATE_QUOTE : STATE_QUOTED_ESCAPE;
        reader->from = ++reader->at;
        return true;
    case STATE_PLAIN_ESCAPE:
    case STATE_QUOTED_ESCAPE:
        reader->state = reader->state == STATE_PLAIN_ESCAPE ? STATE_PLAIN : STATE_QUOTED;
        if (is_break)
            step_over_break(reader);
        else
            reader->at++;
        return true;
    case STATE_QUOTE:
        if (c == format->quote) {
            reader->from = reader->at++;
            reader->state = STATE_QUOTED;
            return true;
        }
        reader->state = STATE_CLOSED;
        return true;
    case STATE_CLOSED:
        if (ends_field(format, c)) {
            reader->from = reader->at;
            return false;
        }
        if (format->trim && is_blank(format, c)) {
            reader->at++;
            return true;
        }
        *step =
            fail(reader, ERR_INVALID, here(reader), err,
                 "there is text after the closing quote of a field; a quote inside quotes is written twice");
        return true;
    case STATE_COMMENT:
        if (is_break) {
            step_over_break(reader);
            reader->state = STATE_RECORD;
        } else {
            reader->at++;
        }
        return true;
    case STATE_HEAD:
    case STATE_RECORD:
        break;
    }
    return true;
}

/* The chunk is used up: what it has of the field is kept. At the end of the text CSV_FIELD says that the
 * field ends too. */
static enum csv_step use_up(struct csv_reader *reader, struct err *err)
{
    if (!reader->final) {
        if (reader->state == STATE_COMMENT || reader->state == STATE_CLOSED)
            reader->from = reader->at;
        if (reader->scratch_len + (reader->at - reader->from) > reader->format.max_field)
            return too_long(reader, err);
        if (!keep(reader))
            return CSV_ROOM;
        leave_chunk(reader);
        return CSV_MORE;
    }
    switch ((enum state)reader->state) {
    case STATE_QUOTED:
    case STATE_QUOTED_ESCAPE:
        return fail(reader, ERR_INVALID, reader->quote, err, "the quote that opens here is never closed");
    case STATE_PLAIN_ESCAPE:
        return fail(reader, ERR_INVALID, here(reader), err, "the text ends after an escape character");
    case STATE_COMMENT:
        return CSV_END;
    default:
        return CSV_FIELD;
    }
}

enum csv_step csv_next(struct csv_reader *reader, struct csv_field *field, struct err *err)
{
    enum csv_step step = CSV_FIELD;
    if (reader->failed) {
        err_set(err, ERR_INVALID, "the text before was not CSV");
        return CSV_FAILED;
    }
    if (reader->state == STATE_HEAD && !read_head(reader, &step, err))
        return step;
    for (;;) {
        if (reader->state == STATE_RECORD && !begin_record(reader)) {
            leave_chunk(reader);
            return reader->final ? CSV_END : CSV_MORE;
        }
        if (reader->state == STATE_PLAIN)
            scan(reader, STOP_PLAIN);
        else if (reader->state == STATE_QUOTED)
            scan(reader, STOP_QUOTED);
        bool goes_on = false, skipped = false;
        size_t end = reader->at;
        if (reader->at == reader->len)
            step = use_up(reader, err);
        else
            goes_on = take(reader, &end, &step, err);
        if (step != CSV_FIELD)
            return step;
        if (goes_on)
            continue;
        step = end_field(reader, end, field, &skipped, err);
        if (step != CSV_FIELD || !skipped)
            return step;
    }
}

/* ---- writing ---- */

static bool is_special(const struct csv_format *format, char c)
{
    return c == '\n' || c == '\r' || c == format->delimiter || (c == format->quote && c != '\0') ||
           (c == format->escape && c != '\0');
}

/* At the beginning of a record these would be taken for a comment or a byte order mark. */
static bool begins_badly(const struct csv_format *format, const char *bytes, size_t len)
{
    return len > 0 && ((bytes[0] == format->comment && bytes[0] != '\0') ||
                       (len > 2 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) ||
                       (len > 1 && (memcmp(bytes, "\xff\xfe", 2) == 0 || memcmp(bytes, "\xfe\xff", 2) == 0)));
}

/* Whether a reader would take the bare field for something else. Blanks at its ends are safe only in quotes:
 * many readers trim. */
static bool needs_quotes(const struct csv_format *format, const char *bytes, size_t len, bool first,
                         bool only)
{
    if (len == 0)
        return only;
    if (first && begins_badly(format, bytes, len))
        return true;
    if (format->quote != '\0' && (is_blank(format, bytes[0]) || is_blank(format, bytes[len - 1])))
        return true;
    for (size_t i = 0; i < len; i++)
        if (is_special(format, bytes[i]))
            return true;
    return false;
}

static void add_quoted(struct buf *out, const struct csv_format *format, const char *bytes, size_t len)
{
    char quote = format->quote, escape = format->escape;
    buf_addc(out, quote);
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == quote)
            buf_addc(out, escape != '\0' ? escape : quote);
        else if (bytes[i] == escape && escape != '\0')
            buf_addc(out, escape);
        buf_addc(out, bytes[i]);
    }
    buf_addc(out, quote);
}

enum err_code csv_add_field(struct buf *out, const struct csv_format *format, const char *bytes, size_t len,
                            bool first, bool only, bool always, struct err *err)
{
    if (!first)
        buf_addc(out, format->delimiter);
    bool needed = needs_quotes(format, bytes, len, first, only);
    if (format->quote != '\0' && (needed || always)) {
        add_quoted(out, format, bytes, len);
        return ERR_NONE;
    }
    if (!needed) {
        buf_add(out, bytes, len);
        return ERR_NONE;
    }
    if (len == 0)
        return err_set(err, ERR_INVALID, "a record of one empty field cannot be written without quotes");
    if (format->escape == '\0')
        return err_set(
            err, ERR_INVALID,
            "the field has the delimiter, a line break or the sign of a comment in it, which cannot "
            "be written without quotes");
    for (size_t i = 0; i < len; i++) {
        if (is_special(format, bytes[i]) || (i == 0 && first && begins_badly(format, bytes, len)))
            buf_addc(out, format->escape);
        buf_addc(out, bytes[i]);
    }
    return ERR_NONE;
}
