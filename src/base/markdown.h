/* Writing CommonMark: escaping, code, links, rows of tables, and runs of inline content.
 *
 * Who owns what: results are appended to buffers of the caller. Items of a run point to texts of the caller,
 * which stay until the run is cleared. */
#ifndef WORKERS_BASE_MARKDOWN_H
#define WORKERS_BASE_MARKDOWN_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/ticker.h"

#include <stdbool.h>
#include <stddef.h>

/* The text so that Markdown shows it as it is: what would begin markup, within a line or at its start, is
 * escaped. Lines stay lines. */
void markdown_escape(struct buf *out, const char *text, size_t len, struct ticker *ticker);

/* A code span (section 6.1): as many backticks around as the text, which is not empty, asks for. Line ends
 * become spaces. */
void markdown_code(struct buf *out, const char *text, size_t len);
/* How many backticks or tildes a fence around the text needs: 3 or more. */
size_t markdown_fence(const char *text, size_t len, char mark);
/* The line that begins a block of code (section 4.5) and, without a language, the one that ends it; without
 * their line ends. */
void markdown_begin_fence(struct buf *out, char mark, size_t width, const char *language, size_t len);

/* (destination "title") of links and images (section 6.3). title may be NULL. */
void markdown_destination(struct buf *out, const char *url, const char *title);

enum markdown_align { MARKDOWN_NONE, MARKDOWN_LEFT, MARKDOWN_CENTER, MARKDOWN_RIGHT };

/* Cells of tables (GFM, "Tables"): "| " and what was written, so that nothing ends the cell; line ends become
 * <br>. After the last cell comes markdown_end_row. */
void markdown_cell(struct buf *out, const char *markdown, size_t len);
void markdown_delimiter_cell(struct buf *out, enum markdown_align align);
void markdown_end_row(struct buf *out);

/* ---- runs: the inline content of a paragraph, a heading or a cell ---- */

enum markdown_format { MARKDOWN_EMPHASIS, MARKDOWN_STRONG, MARKDOWN_STRIKE, MARKDOWN_LINK };

struct markdown_run {
    struct arena *arena; /* texts that had to be changed */
    struct buf *added;   /* items as they came */
    struct buf *items;   /* the same in order */
    struct ticker *ticker;
};

#define MARKDOWN_FORMATS_MAX 32 /* open at a time */

/* White space is collapsed; at the edges of formats it is moved out of them. */
void markdown_add_text(struct markdown_run *run, const char *text, size_t len);
void markdown_add_space(struct markdown_run *run);
void markdown_add_break(struct markdown_run *run);
void markdown_add_code(struct markdown_run *run, const char *text, size_t len);
/* Markdown that is written already. */
void markdown_add_raw(struct markdown_run *run, const char *markdown, size_t len);
/* Formats nest; url and title (NULL: none) are those of a link. */
void markdown_open(struct markdown_run *run, enum markdown_format format, const char *url, const char *title);
void markdown_close(struct markdown_run *run, enum markdown_format format);
bool markdown_is_empty(const struct markdown_run *run);
/* Whether the last thing added, white space aside, is a break. */
bool markdown_ends_in_break(const struct markdown_run *run);

enum markdown_place { MARKDOWN_PARAGRAPH, MARKDOWN_HEADING, MARKDOWN_CELL };

/* Appends the run, without a line end behind it, and clears it. Breaks are a backslash and a line end; in
 * headings spaces; in cells line ends, which markdown_cell makes <br>. */
void markdown_write(struct markdown_run *run, enum markdown_place place, struct buf *out);

#endif
