/* Text utilities that know UTF-8 but no locale: validity, terminal columns, suggestions, names, patterns,
 * units.
 *
 * Who owns what: nothing here allocates, but for text_snake_case, which appends to the caller's buffer. */
#ifndef WORKERS_BASE_TEXT_H
#define WORKERS_BASE_TEXT_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True when the bytes are well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF).
 * Otherwise *bad, if not NULL, is the offset of the first byte that starts no valid character. */
bool text_is_utf8(const char *text, size_t len, size_t *bad);

/* True when no byte is above 127. */
bool text_is_ascii(const char *text, size_t len);

/* Reads one character. Returns its length in bytes, 1 to 4; 0 at the end or when the bytes are not UTF-8. */
size_t text_next_char(const char *text, size_t len, uint32_t *code_point);

/* Puts blanks in place of control characters and of bytes that are not UTF-8, so that what somebody else says
 * stays one line and cannot drive a terminal. */
void text_make_plain(char *text, size_t len);

/* Columns on a terminal: 0 for controls and combining marks, 2 for East Asian wide characters and emoji.
 * A byte that is not UTF-8 counts as one column. */
size_t text_display_width(const char *text, size_t len);

/* The candidate nearest to word: insertions, deletions, substitutions and swaps of neighbours each count one,
 * and at most max(1, len / 3) of them are allowed. The first of equals wins; -1 when none is near enough. */
int text_nearest(const char *word, size_t len, const char *const candidates[], size_t count);

/* Appends the name as a column or file would be called: "Task ID" -> task_id, calendarEvents ->
 * calendar_events, HTTPServer -> http_server, "Größe (cm)" -> größe_cm. ASCII letters become small, other
 * letters stay, a run of anything else is one underscore, none at either end. A name with nothing to keep
 * becomes "property". */
void text_snake_case(const char *text, size_t len, struct buf *out);

/* True when the whole text matches the pattern, in which '*' stands for any run of bytes, also an empty one.
 * Nothing else is special, and case counts. */
bool text_glob_match(const char *pattern, size_t pattern_len, const char *text, size_t len);

/* "256MiB", "64kB", "1024" -> bytes. Units: B, KiB MiB GiB TiB (powers of 1024), kB MB GB TB (powers of
 * 1000); a number alone is bytes. ERR_INVALID shows the valid forms. */
enum err_code text_parse_size(const char *text, size_t len, uint64_t *bytes, struct err *err) MUST_CHECK;

/* "500ms", "30s", "15m", "12h", "7d", "2w" -> milliseconds. ERR_INVALID shows the valid forms. */
enum err_code text_parse_duration(const char *text, size_t len, int64_t *milliseconds,
                                  struct err *err) MUST_CHECK;

#endif
