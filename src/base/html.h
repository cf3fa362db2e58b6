/* HTML into plain text or Markdown, and character references.
 *
 * Who owns what: a struct html owns all memory that a conversion takes, until html_free; results are appended
 * to a buffer of the caller. Input is valid UTF-8 and stays the caller's for the time of the call.
 *
 * Any input gives a result, as in browsers: HTML has no errors. What is bounded: input HTML_INPUT_MAX, memory
 * HTML_MEMORY_MAX, depth of elements HTML_DEPTH_MAX; what is nested deeper keeps its text only. */
#ifndef WORKERS_BASE_HTML_H
#define WORKERS_BASE_HTML_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/ticker.h"

#include <stdbool.h>
#include <stddef.h>

#define HTML_INPUT_MAX ((size_t)16 << 20)
#define HTML_MEMORY_MAX ((size_t)192 << 20)
#define HTML_DEPTH_MAX 512
#define HTML_WORK_BUFFERS 9

struct html {
    struct arena arena;                 /* the tree, and what the conversion keeps */
    struct buf source;                  /* the input, when something in it had to be changed */
    struct buf work[HTML_WORK_BUFFERS]; /* of the conversion */
    struct ticker ticker; /* the caller's; may leave by a long jump at any time, html_free is due then too */
};

void html_init(struct html *html, void (*tick)(void *context), void *context);
void html_free(struct html *html);

/* Links and images: resolve appends the URL that a reference means, or leaves out as it is when it cannot
 * tell. May be NULL. */
struct html_links {
    void (*resolve)(void *context, const char *reference, size_t len, struct buf *out);
    void *context;
};

/* The text as a browser would show it: blocks on lines of their own, paragraphs and headings between blank
 * lines, "- " and numbers before list items, cells of tables apart by tabs. ERR_LIMIT names the maximum. */
enum err_code html_to_text(struct html *html, const char *text, size_t len, struct buf *out,
                           struct err *err) MUST_CHECK;

/* CommonMark 0.31 with GFM's tables, strikethrough and task lists; no raw HTML but <br> in cells. What
 * Markdown has no form for becomes its text. ERR_LIMIT names the maximum. */
enum err_code html_to_markdown(struct html *html, const char *text, size_t len,
                               const struct html_links *links, struct buf *out, struct err *err) MUST_CHECK;

/* & < > " ' become references, so that the text is safe within elements and quoted attributes. */
void html_escape(struct buf *out, const char *text, size_t len);
/* Character references become the characters they name, all those of HTML, as in the text of elements. */
enum err_code html_unescape(struct html *html, const char *text, size_t len, struct buf *out,
                            struct err *err) MUST_CHECK;

#endif
