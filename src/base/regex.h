/* Regular expressions: PCRE2 under limits that hold for patterns and texts of strangers.
 *
 * Who owns what: an engine owns what matching needs, and belongs to whoever made it; so does each compiled
 * pattern. Patterns are freed before or after their engine, but the host outlives both. One engine is used by
 * one thread.
 *
 * PCRE2 asks before every item of a pattern that it tries (a callout), and that is where time is counted: in
 * steps, some tens of nanoseconds each. The time between two such moments is bounded by the length of the
 * text, a few nanoseconds a byte. Machine code (PCRE2's JIT) is not made: it is memory that nobody counts,
 * and the part with most of PCRE2's security history. */
#ifndef WORKERS_BASE_REGEX_H
#define WORKERS_BASE_REGEX_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REGEX_PATTERN_MAX ((size_t)32 * 1024)  /* bytes of a pattern */
#define REGEX_GROUPS_MAX 200                   /* capturing groups of a pattern */
#define REGEX_NESTING_MAX 100                  /* parentheses in parentheses */
#define REGEX_BACKTRACK_MAX ((size_t)64 << 20) /* bytes in which one search notes where it can go back */
/* One search may take this many steps, and some more for every byte of the text. */
#define REGEX_STEPS_BASE ((uint64_t)30 * 1000 * 1000)
#define REGEX_STEPS_PER_BYTE 64
/* The greatest product of a text's length and the weight of the pattern's heaviest item (a character class by
 * its length, \X by a great number): an item may be run over the whole text without a pause, which then takes
 * a second at most. */
#define REGEX_ITEM_WORK_MAX ((uint64_t)1 << 33)

/* What the engine asks of its caller. Every function gets ctx first. */
struct regex_host {
    void *ctx;
    /* All memory comes from here: as realloc, but with the block's size; new_size 0 frees. NULL when it is
     * out. */
    void *(*resize)(void *ctx, void *block, size_t old_size, size_t new_size);
    /* Asked every thousand steps or so; true ends the search with ERR_CANCELLED. */
    bool (*stop)(void *ctx);
};

enum regex_flag {
    REGEX_CASELESS = 1,    /* i */
    REGEX_MULTILINE = 2,   /* m: ^ and $ also match at line breaks */
    REGEX_DOT_ALL = 4,     /* s: . also matches a line feed */
    REGEX_EXTENDED = 8,    /* x: blanks and # comments in the pattern do not count */
    REGEX_ASCII = 16,      /* a: \d \w \s \b and [:classes:] know ASCII only */
    REGEX_BYTES = 32,      /* b: pattern and text are bytes, not UTF-8 */
    REGEX_UNICODE_SET = 64 /* u: said, though it is the default */
};

struct regex_engine;
struct regex;

/* Where something was found: offsets into the text, the end exclusive. */
struct regex_span {
    size_t begin, end;
};
/* The span of a group that took no part in the match begins here. */
#define REGEX_UNSET (~(size_t)0)

/* The host is kept by address. ERR_NOMEM when there is no memory. */
enum err_code regex_engine_new(struct regex_host *host, struct regex_engine **out,
                               struct err *err) MUST_CHECK;
void regex_engine_free(struct regex_engine *engine); /* NULL is fine */

/* Reads flags written as letters, in any order. ERR_INVALID lists them. */
enum err_code regex_read_flags(const char *text, size_t len, unsigned *flags, struct err *err) MUST_CHECK;

/* Compiles a pattern as pcre2pattern(3) describes them, without \C, callouts and
 * script runs. Lines end with LF unless the
 * pattern begins with a verb such as (*ANYCRLF). ERR_INVALID shows the pattern with a mark where it is wrong;
 * ERR_LIMIT names the limit; ERR_NOMEM. */
enum err_code regex_compile(struct regex_engine *engine, const char *pattern, size_t len, unsigned flags,
                            struct regex **out, struct err *err) MUST_CHECK;
void regex_free(struct regex *regex); /* NULL is fine */

const char *regex_pattern(const struct regex *regex, size_t *len); /* as it was given; lives as long as it */
bool regex_needs_utf8(const struct regex *regex);                  /* texts must be UTF-8 */
uint32_t regex_groups(const struct regex *regex);                  /* capturing groups */

/* Names of groups, sorted by name. A name that is there twice has two entries. */
uint32_t regex_names(const struct regex *regex);
const char *regex_name(const struct regex *regex, uint32_t index, uint32_t *group);

enum regex_search_option {
    REGEX_FRESH = 1,      /* not an empty match at start, which is how to go on after an empty match */
    REGEX_ASCII_TEXT = 2, /* the text has no byte above 127; with that \d, \w and their like are faster */
};

/* Finds the first match that begins at or after the offset start. The text is valid UTF-8 if the pattern
 * needs that, and start is at the beginning of a character. options are of enum regex_search_option. *spans
 * gets regex_groups + 1 spans, the whole match first, good until the engine's next search, or NULL when there
 * is no match. ERR_LIMIT names the limit, the pattern and the remedy; ERR_NOMEM; ERR_CANCELLED as the host
 * said. */
enum err_code regex_search(struct regex_engine *engine, struct regex *regex, const char *text, size_t len,
                           size_t start, unsigned options, const struct regex_span **spans,
                           struct err *err) MUST_CHECK;

#endif
