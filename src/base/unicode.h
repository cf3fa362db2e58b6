/* Unicode text: other encodings into UTF-8, normal forms, letter case, grapheme clusters. Over utf8proc,
 * whose data is that of Unicode 15.0.
 *
 * Who owns what: results are appended to buffers of the caller, whose failures show in buf_status. Text is
 * valid UTF-8 (text_is_utf8) unless a function says otherwise; what is not counts byte by byte as U+FFFD. */
#ifndef WORKERS_BASE_UNICODE_H
#define WORKERS_BASE_UNICODE_H

#include "base/buf.h"
#include "base/ticker.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNICODE_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

enum unicode_encoding {
    UNICODE_UTF8,
    UNICODE_UTF16LE,
    UNICODE_UTF16BE,
    UNICODE_LATIN1,       /* ISO 8859-1: bytes are the code points U+0000 to U+00FF */
    UNICODE_WINDOWS_1252, /* as the WHATWG Encoding Standard has it; no byte is invalid */
};

/* Appends the text as UTF-8. Each maximal part of an ill-formed sequence (Unicode 15.0 section 3.9, and the
 * WHATWG Encoding Standard), each lone surrogate and each byte left over at the end becomes the replacement.
 * A byte order mark at the start of UTF-8 or UTF-16 is left out. */
void unicode_to_utf8(struct buf *out, enum unicode_encoding encoding, const char *bytes, size_t len,
                     const char *replacement, size_t replacement_len, struct ticker *ticker);

/* What a byte of windows-1252 stands for. */
uint32_t unicode_of_windows_1252(unsigned char byte);

/* Appends one code point as UTF-8. */
void unicode_add(struct buf *out, uint32_t code_point);

enum unicode_unit {
    UNICODE_BYTES,
    UNICODE_CODE_POINTS,
    UNICODE_GRAPHEMES, /* extended grapheme clusters (UAX #29) */
};

/* How many bytes from the start hold at most count units: whole characters, and for graphemes whole clusters.
 */
size_t unicode_prefix(const char *text, size_t len, enum unicode_unit unit, size_t count,
                      struct ticker *ticker);
size_t unicode_count(const char *text, size_t len, enum unicode_unit unit, struct ticker *ticker);

/* What unicode_map does, to be combined. */
enum unicode_map {
    UNICODE_COMPOSE = 1 << 0,     /* normal form C (with COMPATIBLE KC); without it D and KD (UAX #15) */
    UNICODE_COMPATIBLE = 1 << 1,  /* compatibility characters become plain ones */
    UNICODE_FOLD = 1 << 2,        /* full case folding (Unicode 15.0 section 3.13, toCasefold) */
    UNICODE_STRIP_MARKS = 1 << 3, /* nonspacing and enclosing marks are left out */
};

/* Appends the text mapped. scratch is working memory of the caller, whose contents do not matter; when it
 * cannot grow, out fails in the same way. */
void unicode_map(struct buf *out, struct buf *scratch, unsigned map, const char *text, size_t len,
                 struct ticker *ticker);

/* Appends the text for comparisons in which neither case nor normal form counts: normal form C of the folding
 * of normal form D (section 3.13, D145). middle and scratch are working memory as above. */
void unicode_fold(struct buf *out, struct buf *middle, struct buf *scratch, const char *text, size_t len,
                  struct ticker *ticker);

/* Full mappings of Unicode's SpecialCasing.txt that depend on no language: "ß" becomes "SS", a sigma at the
 * end of a word "ς". */
void unicode_lower(struct buf *out, const char *text, size_t len, struct ticker *ticker);
void unicode_upper(struct buf *out, const char *text, size_t len, struct ticker *ticker);

enum unicode_class {
    UNICODE_SPACE,       /* property White_Space */
    UNICODE_PUNCTUATION, /* categories P*, and every ASCII character that is neither letter, digit nor space
                          */
    UNICODE_SYMBOL,      /* categories S* beyond ASCII */
    UNICODE_WORD,        /* letters, digits, marks */
    UNICODE_OTHER,       /* controls, private use, unassigned */
};
enum unicode_class unicode_class_of(uint32_t code_point);

/* The part without white space at either end: where it starts, and its length. */
size_t unicode_trim(const char *text, size_t len, size_t *trimmed_len, struct ticker *ticker);

#endif
