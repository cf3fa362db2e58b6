/* What the files of base/html share: parsing into a tree, and walking it. */
#ifndef WORKERS_BASE_HTML_PRIV_H
#define WORKERS_BASE_HTML_PRIV_H

#include "base/html.h"

#include <gumbo.h>

/* What the buffers html->work are for. */
enum html_work {
    WORK_FRAMES, /* of html_walk, and the guard's names before */
    WORK_SHAPES, /* from here on the Markdown writer's */
    WORK_PIECE,
    WORK_ADDED,
    WORK_ITEMS,
    WORK_CONTAINERS,
    WORK_LISTS,
    WORK_TEXT,
    WORK_CELLS,
};

/* html_guard.c: makes of the text one whose tree is no deeper than a few times HTML_DEPTH_MAX, and which has
 * nothing in it that makes gumbo slow or recursive. *text and *len may be set to html->source. */
enum err_code html_guard(struct html *html, const char **text, size_t *len, struct err *err) MUST_CHECK;

/* The tree's root. It belongs to html->arena. */
enum err_code html_parse(struct html *html, const char *text, size_t len, const GumboNode **root,
                         struct err *err) MUST_CHECK;

/* ---- walking: depth first, without recursion ---- */

struct html_visitor {
    /* false: neither what is in the element nor its end is visited */
    bool (*enter)(void *context, const GumboNode *element);
    void (*leave)(void *context, const GumboNode *element);
    void (*text)(void *context, const char *text, size_t len);
    void *context;
};

enum err_code html_walk(struct html *html, const GumboNode *root, const struct html_visitor *visitor,
                        struct err *err) MUST_CHECK;

/* How elements take part in the text. */
enum html_kind {
    HTML_INLINE,
    HTML_BLOCK,     /* on lines of its own */
    HTML_PARAGRAPH, /* a block between blank lines */
    HTML_HIDDEN,    /* neither it nor what is in it is shown */
};
enum html_kind html_kind_of(const GumboNode *element);

/* To be called at the end with where the result starts in out: gumbo decodes numbers that are too large for a
 * character into anything, so what is not UTF-8 is replaced. */
enum err_code html_repair(struct html *html, struct buf *out, size_t start, const char *what,
                          struct err *err) MUST_CHECK;

/* The attribute's value, NULL when there is none. */
const char *html_attribute(const GumboNode *element, const char *name);
/* Decimal digits after an optional sign, as the start of the value; absent when there are none or it is not
 * within 0 to max. */
long html_number_attribute(const GumboNode *element, const char *name, long absent, long max);

static inline GumboTag html_tag(const GumboNode *element)
{
    return element->v.element.tag_namespace == GUMBO_NAMESPACE_HTML ? element->v.element.tag
                                                                    : GUMBO_TAG_UNKNOWN;
}

static inline bool html_is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f';
}

#endif
