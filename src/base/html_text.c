/* HTML into plain text. Must not put anything into the text that a browser would not show, but for bullets
 * and numbers. */
#include "base/html_priv.h"

#include <stdio.h>
#include <string.h>

#define LIST_DEPTH_MAX 32 /* lists deeper than that are not indented further */

struct list {
    bool ordered;
    long next;
    size_t indent; /* of its items' text */
};

struct text {
    struct buf *out;
    size_t newlines; /* to come before the next word: 2 for a blank line between */
    bool space;      /* a space to come before the next word of the line */
    bool line_open;  /* the line has a word, or a marker */
    bool marker;     /* and that is all it has */
    size_t pre;      /* elements around that keep white space */
    struct list lists[LIST_DEPTH_MAX];
    size_t list_depth;
    bool in_row;   /* the row has a cell already */
    bool row_open; /* and something in it is written */
    size_t tabs;   /* to come before the next word: cells that ended before it */
};

static void want_newlines(struct text *text, size_t count)
{
    if (text->newlines < count)
        text->newlines = count;
}

static size_t indent_of(const struct text *text)
{
    size_t depth = text->list_depth < LIST_DEPTH_MAX ? text->list_depth : LIST_DEPTH_MAX;
    return depth > 0 ? text->lists[depth - 1].indent : 0;
}

static void add_spaces(struct buf *out, size_t count)
{
    while (count-- > 0)
        buf_addc(out, ' ');
}

/* Before something visible: the line breaks, the indentation, the space. */
static void begin(struct text *text)
{
    if (text->newlines > 0 && text->out->len > 0) {
        if (text->marker)
            text->out->len--; /* its space */
        for (size_t i = 0; i < text->newlines; i++)
            buf_addc(text->out, '\n');
        text->line_open = false;
    }
    text->newlines = 0;
    if (!text->line_open)
        add_spaces(text->out, indent_of(text));
    else if (text->space && text->tabs == 0 && !text->marker)
        buf_addc(text->out, ' ');
    text->marker = false;
    for (; text->tabs > 0; text->tabs--)
        buf_addc(text->out, '\t');
    text->row_open = text->in_row;
    text->line_open = true;
    text->space = false;
}

static void add_preformatted(struct text *text, const char *bytes, size_t len)
{
    while (len > 0) {
        const char *newline = memchr(bytes, '\n', len);
        size_t line = newline != NULL ? (size_t)(newline - bytes) : len;
        if (line > 0) {
            begin(text);
            buf_add(text->out, bytes, line);
        }
        if (newline == NULL)
            return;
        text->newlines++;
        text->space = false;
        bytes += line + 1;
        len -= line + 1;
    }
}

static void add_text(void *context, const char *bytes, size_t len)
{
    struct text *text = context;
    if (text->pre > 0) {
        add_preformatted(text, bytes, len);
        return;
    }
    for (size_t at = 0; at < len;) {
        size_t start = at;
        while (at < len && html_is_space(bytes[at]))
            at++;
        text->space = text->space || at > start;
        start = at;
        while (at < len && !html_is_space(bytes[at]))
            at++;
        if (at > start) {
            begin(text);
            buf_add(text->out, bytes + start, at - start);
        }
    }
}

static bool is_cell(GumboTag tag)
{
    return tag == GUMBO_TAG_TD || tag == GUMBO_TAG_TH;
}

static void begin_cell(struct text *text)
{
    text->space = false;
    if (text->row_open)
        text->newlines = 0; /* of blocks in the cell before */
    text->tabs += text->in_row ? 1 : 0;
    text->in_row = true;
}

/* Nothing comes between the start of a row, a cell's tab or an item's marker and the first word. */
static void break_line(struct text *text, size_t newlines)
{
    if ((text->in_row && (!text->row_open || text->tabs > 0)) || text->marker)
        return;
    want_newlines(text, newlines);
    text->space = false;
}

static void begin_list(struct text *text, const GumboNode *element)
{
    size_t indent = indent_of(text);
    if (text->list_depth < LIST_DEPTH_MAX)
        text->lists[text->list_depth] = (struct list){
            html_tag(element) == GUMBO_TAG_OL, html_number_attribute(element, "start", 1, 999999999), indent};
    text->list_depth++;
}

static void begin_item(struct text *text)
{
    text->space = false;
    char marker[24] = "- ";
    if (text->list_depth == 0 || text->list_depth > LIST_DEPTH_MAX) {
        begin(text);
        buf_adds(text->out, marker);
        text->marker = true;
        return;
    }
    struct list *list = &text->lists[text->list_depth - 1];
    size_t outer = text->list_depth > 1 ? text->lists[text->list_depth - 2].indent : 0;
    if (list->ordered)
        snprintf(marker, sizeof marker, "%ld. ", list->next++);
    list->indent = outer;
    begin(text);
    buf_adds(text->out, marker);
    list->indent = outer + strlen(marker);
    text->marker = true;
}

static bool is_list(GumboTag tag)
{
    return tag == GUMBO_TAG_UL || tag == GUMBO_TAG_OL || tag == GUMBO_TAG_DIR || tag == GUMBO_TAG_MENU;
}

static bool keeps_space(GumboTag tag)
{
    return tag == GUMBO_TAG_PRE || tag == GUMBO_TAG_LISTING || tag == GUMBO_TAG_XMP ||
           tag == GUMBO_TAG_PLAINTEXT || tag == GUMBO_TAG_TEXTAREA;
}

static size_t newlines_around(const struct text *text, const GumboNode *element, enum html_kind kind)
{
    if (kind == HTML_INLINE)
        return 0;
    if (is_list(html_tag(element)) && text->list_depth > 0)
        return 1;
    return kind == HTML_PARAGRAPH ? 2 : 1;
}

static bool enter(void *context, const GumboNode *element)
{
    struct text *text = context;
    GumboTag tag = html_tag(element);
    enum html_kind kind = html_kind_of(element);
    if (kind == HTML_HIDDEN)
        return false;
    if (tag == GUMBO_TAG_BR) {
        text->newlines += text->tabs > 0 ? 0 : 1;
        text->space = false;
        return false;
    }
    if (is_cell(tag)) {
        begin_cell(text);
        return true;
    }
    size_t newlines = newlines_around(text, element, kind);
    if (tag == GUMBO_TAG_LI)
        want_newlines(text, newlines);
    else if (newlines > 0)
        break_line(text, newlines);
    if (tag == GUMBO_TAG_TR)
        text->in_row = text->row_open = false;
    if (is_list(tag))
        begin_list(text, element);
    else if (tag == GUMBO_TAG_LI)
        begin_item(text);
    else if (keeps_space(tag))
        text->pre++;
    return true;
}

static void leave(void *context, const GumboNode *element)
{
    struct text *text = context;
    GumboTag tag = html_tag(element);
    if (is_cell(tag))
        return;
    if (tag == GUMBO_TAG_TR) {
        text->in_row = text->row_open = false;
        text->tabs = 0;
    }
    if (is_list(tag))
        text->list_depth--;
    else if (keeps_space(tag))
        text->pre--;
    size_t newlines = newlines_around(text, element, html_kind_of(element));
    if (newlines > 0)
        break_line(text, newlines);
}

enum err_code html_to_text(struct html *html, const char *bytes, size_t len, struct buf *out, struct err *err)
{
    const GumboNode *root;
    enum err_code code = html_parse(html, bytes, len, &root, err);
    if (code != ERR_NONE)
        return code;
    struct text text = {.out = out};
    size_t start = out->len;
    const struct html_visitor visitor = {enter, leave, add_text, &text};
    code = html_walk(html, root, &visitor, err);
    if (code == ERR_NONE)
        code = html_repair(html, out, start, "the text", err);
    if (code == ERR_NONE && text.marker)
        out->data[--out->len] = '\0'; /* the space after it */
    return code;
}
