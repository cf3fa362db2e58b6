/* JSON text without Lua: a scanner that the caller pulls, and a writer into struct buf. RFC 8259, strictly.
 *
 * Who owns what: the scanner points into the caller's text and owns nothing; the text must outlive it.
 *
 * Walking a text:
 *
 *     json_scan_init(&scan, text, len);
 *     code = json_scan_value(&scan, err);                        the first token of the value
 *     if (scan.token == JSON_OBJECT)
 *         while ((code = json_scan_member(&scan, &more, err)) == ERR_NONE && more)
 *             json_string_is(&scan, "id") … json_scan_value(&scan, err) … or json_scan_skip(&scan, &slice,
 * err) code = json_scan_end(&scan, err);                          nothing but white space may follow
 *
 * Every value must be read to its end before the next member or element is asked for. */
#ifndef WORKERS_BASE_JSON_H
#define WORKERS_BASE_JSON_H

#include "base/buf.h"
#include "base/err.h"
#include "base/number.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 512 /* arrays and objects inside each other, for reading and for writing */

enum json_token {
    JSON_END, /* the end of the text; also the state before the first token */
    JSON_OBJECT,
    JSON_OBJECT_END,
    JSON_ARRAY,
    JSON_ARRAY_END,
    JSON_COLON,
    JSON_COMMA,
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
};

struct json_slice {
    const char *text;
    size_t len;
};

struct json_scan {
    const char *begin;
    const char *at; /* next unread byte */
    const char *end;
    const char *token_at; /* first byte of the current token */
    enum json_token token;
    bool escaped;             /* JSON_STRING: contains backslashes */
    struct json_slice string; /* JSON_STRING: what stands between the quotes; valid UTF-8 */
    struct number number;     /* JSON_NUMBER */
};

/* A byte order mark at the start is skipped. */
void json_scan_init(struct json_scan *scan, const char *text, size_t len);

/* All of these fail with ERR_INVALID and a message such as "line 3, column 7: expected ',' or '}' but found
 * '['". Lines and columns count from 1, columns in characters. After an error the scanner is of no more use.
 */

/* The next token, whatever it is; JSON_END at the end of the text. */
enum err_code json_scan_token(struct json_scan *scan, struct err *err) MUST_CHECK;
/* The first token of a value: '{', '[', a string, a number, true, false or null. */
enum err_code json_scan_value(struct json_scan *scan, struct err *err) MUST_CHECK;
/* Inside an object: *more tells whether another member follows; if so, the name is the current string and the
 * colon is read, so that json_scan_value or json_scan_skip comes next. */
enum err_code json_scan_member(struct json_scan *scan, bool *more, struct err *err) MUST_CHECK;
/* Inside an array: *more tells whether another element follows; if so, its first token is the current one. */
enum err_code json_scan_element(struct json_scan *scan, bool *more, struct err *err) MUST_CHECK;
/* Reads the rest of the value whose first token is the current one; slice, unless NULL, becomes its whole
 * text. Nesting deeper than JSON_DEPTH_MAX is ERR_LIMIT. */
enum err_code json_scan_skip(struct json_scan *scan, struct json_slice *slice, struct err *err) MUST_CHECK;
/* Nothing but white space may be left. */
enum err_code json_scan_end(struct json_scan *scan, struct err *err) MUST_CHECK;

/* A member of the object that the text is, the first of its name; false, and out as it was, when it is not
 * there or the text is no object. */
bool json_find(const char *text, size_t len, const char *name, struct json_slice *out);
/* The same for one that is a string: scan stands at it. */
bool json_find_string(const char *text, size_t len, const char *name, struct json_scan *scan);
/* A copy of one that is a string (mem_free); NULL when there is none, or no memory. */
char *json_find_copy(const char *text, size_t len, const char *name);
/* Whether all of the text is one value. */
enum err_code json_check(const char *text, size_t len, struct err *err) MUST_CHECK;

/* An error at the current token, with its line and column in front. */
enum err_code json_scan_fail(const struct json_scan *scan, struct err *err, enum err_code code,
                             const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Writes the characters that string stands for and returns how many bytes they are, never more than
 * string.len. string must come from a scanner, which has checked it. An escaped surrogate without its partner
 * ("\ud800") stands for no character and becomes U+FFFD. */
size_t json_unescape(struct json_slice string, char *out);
/* Whether the current string, unescaped, equals text. */
bool json_string_is(const struct json_scan *scan, const char *text);
/* Appends the current string, unescaped; buf_status tells whether it fitted. */
void json_string_copy(const struct json_scan *scan, struct buf *out);

/* ---- Writing: appends to out; buf_status tells whether it fitted ---- */

/* With quotes. Escapes only what RFC 8259, section 7 requires; other UTF-8 stays as it is. ERR_INVALID names
 * the first byte that is not UTF-8; out is then as it was. */
enum err_code json_write_string(struct buf *out, const char *text, size_t len, struct err *err) MUST_CHECK;
/* Appends ,"name":"text" to an object that is being written, without the comma after its "{"; nothing when
 * text is NULL. */
enum err_code json_write_member(struct buf *out, const char *name, const char *text,
                                struct err *err) MUST_CHECK;
/* For NUL-terminated text that is known to be UTF-8: names we checked when they came in. */
void json_write_text(struct buf *out, const char *text);
/* Appends the JSON text indented by two spaces, its values as they stand. */
enum err_code json_reindent(const char *text, size_t len, struct buf *out, struct err *err) MUST_CHECK;
void json_write_integer(struct buf *out, int64_t value);
/* The shortest text that reads back as the same double; always with a point or an exponent, so that it does
 * not come back as an integer. ERR_INVALID for NaN and infinities, which JSON does not have. */
enum err_code json_write_number(struct buf *out, double value, struct err *err) MUST_CHECK;

#endif
