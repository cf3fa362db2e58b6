/* HTML into Markdown: headings, lists, quotes, and which element is what. Must not write raw HTML but <br> in
 * cells.
 *
 * Blocks are written as they end. Containers (quotes, items of lists) put something at the start of each of
 * their lines; what is open is kept in a stack. */
#include "base/html_markdown_priv.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- headings ---- */

static void end_heading(struct writer *writer, int level)
{
    writer->plain = NULL;
    bool some = writer_take_run(writer, MARKDOWN_HEADING);
    writer_begin_block(writer, HEADING);
    writer_begin_line(writer);
    for (int i = 0; i < level; i++)
        buf_addc(writer->out, '#');
    if (some) {
        buf_addc(writer->out, ' ');
        buf_add(writer->out, writer->text->data, writer->text->len);
    }
    writer_end_line(writer);
}

/* ---- lists ---- */

static struct list *innermost_list(const struct writer *writer)
{
    size_t count = writer->lists->len / sizeof(struct list);
    return count > 0 ? (struct list *)(void *)writer->lists->data + count - 1 : NULL;
}

static bool is_list_tag(GumboTag tag)
{
    return tag == GUMBO_TAG_UL || tag == GUMBO_TAG_OL || tag == GUMBO_TAG_DIR || tag == GUMBO_TAG_MENU;
}

static bool has_paragraph(const GumboNode *item)
{
    const GumboVector *children = &item->v.element.children;
    for (unsigned i = 0; i < children->length; i++) {
        const GumboNode *child = children->data[i];
        if (child->type == GUMBO_NODE_ELEMENT && html_tag(child) == GUMBO_TAG_P)
            return true;
    }
    return false;
}

/* A list with a paragraph in an item has blank lines between its items (section 5.3). */
static bool is_tight(const GumboNode *list)
{
    const GumboVector *children = &list->v.element.children;
    for (unsigned i = 0; i < children->length; i++) {
        const GumboNode *child = children->data[i];
        if (child->type == GUMBO_NODE_ELEMENT && has_paragraph(child))
            return false;
    }
    return true;
}

static void begin_list(struct writer *writer, const GumboNode *element)
{
    struct list *outer = innermost_list(writer);
    size_t count;
    writer_containers_of(writer, &count);
    bool nested = outer != NULL && outer->begun && outer->containers == count;
    if (nested) { /* what the item before it was */
        struct container item = {.tight = outer->tight, .marked = true, .last = PARAGRAPH};
        snprintf(item.marker, sizeof item.marker, "%s", outer->ordered ? "1. " : "- ");
        writer_push_container(writer, &item);
        count++;
    }
    struct list list = {
        .element = element,
        .ordered = html_tag(element) == GUMBO_TAG_OL,
        .tight = is_tight(element),
        .nested = nested,
        .next = html_number_attribute(element, "start", 1, 999999999),
        .containers = count,
    };
    buf_add(writer->lists, &list, sizeof list);
}

static void end_list(struct writer *writer)
{
    if (innermost_list(writer)->nested)
        writer_pop_container(writer);
    writer->lists->len -= sizeof(struct list);
}

/* Lists that follow each other are told apart by their marks. */
static void begin_first_item(struct writer *writer, struct list *list)
{
    struct container *container = writer_innermost(writer);
    bool follows = container->last == LIST;
    char last = container->last_marker;
    list->mark = list->ordered ? (follows && last == '.' ? ')' : '.') : follows && last == '-' ? '+' : '-';
    /* Only a list that begins with 1 can follow a paragraph at once. */
    bool apart = container->last == PARAGRAPH && list->ordered && list->next != 1;
    container->last = apart ? TABLE : container->last;
    writer_begin_block(writer, LIST);
    writer_innermost(writer)->last_marker = list->mark;
    list->begun = true;
}

/* Without a list in the container at hand, the element is a mere block. */
static void begin_item(struct writer *writer, const GumboNode *element)
{
    struct list *list = innermost_list(writer);
    size_t count;
    writer_containers_of(writer, &count);
    if (list == NULL || list->containers != count)
        return;
    if (!list->begun)
        begin_first_item(writer, list);
    else if (!list->tight)
        writer_line(writer, "", 0);
    struct container item = {.element = element, .tight = list->tight};
    if (list->ordered)
        snprintf(item.marker, sizeof item.marker, "%ld%c ", list->next++, list->mark);
    else
        snprintf(item.marker, sizeof item.marker, "%c ", list->mark);
    writer_push_container(writer, &item);
}

/* Of an item or a quote; an empty one has a line as well. */
static void end_container(struct writer *writer)
{
    if (writer_innermost(writer)->last == NOTHING)
        writer_line(writer, "", 0);
    writer_pop_container(writer);
}

/* A check box at the start of an item (GFM, "Task list items"). */
static void add_check_box(struct writer *writer, const GumboNode *input)
{
    const char *type = html_attribute(input, "type");
    if (type == NULL || strcasecmp(type, "checkbox") != 0 || writer->plain != NULL ||
        writer->verbatim != NULL || writer_innermost(writer)->marker[0] == '\0' ||
        writer_innermost(writer)->last != NOTHING || !markdown_is_empty(&writer->run))
        return;
    bool checked = html_attribute(input, "checked") != NULL;
    markdown_add_raw(&writer->run, checked ? "[x]" : "[ ]", 3);
    markdown_add_space(&writer->run);
}

/* ---- elements ---- */

static int heading_level(GumboTag tag)
{
    return tag >= GUMBO_TAG_H1 && tag <= GUMBO_TAG_H6 ? (int)(tag - GUMBO_TAG_H1) + 1 : 0;
}

static bool is_pre(GumboTag tag)
{
    return tag == GUMBO_TAG_PRE || tag == GUMBO_TAG_LISTING || tag == GUMBO_TAG_XMP ||
           tag == GUMBO_TAG_PLAINTEXT;
}

static bool is_code(GumboTag tag)
{
    return tag == GUMBO_TAG_CODE || tag == GUMBO_TAG_KBD || tag == GUMBO_TAG_SAMP || tag == GUMBO_TAG_TT;
}

static void add_line_in_verbatim(struct writer *writer)
{
    struct buf *text = writer->text;
    if (text->len > 0 && text->data[text->len - 1] != '\n')
        buf_addc(text, '\n');
}

static void enter_block(struct writer *writer, const GumboNode *element, GumboTag tag)
{
    writer_end_inline(writer);
    if (is_pre(tag)) {
        writer_begin_verbatim(writer, element);
    } else if (writer->plain != NULL) {
        writer->tables += tag == GUMBO_TAG_TABLE ? 1 : 0;
    } else if (heading_level(tag) > 0) {
        writer->plain = element;
    } else if (tag == GUMBO_TAG_BLOCKQUOTE) {
        writer_begin_block(writer, QUOTE);
        writer_push_container(writer, &(struct container){.is_quote = true, .element = element});
    } else if (is_list_tag(tag)) {
        begin_list(writer, element);
    } else if (tag == GUMBO_TAG_LI) {
        begin_item(writer, element);
    } else if (tag == GUMBO_TAG_TABLE) {
        writer_begin_table(writer, element);
    } else if (tag == GUMBO_TAG_THEAD) {
        writer->in_head = true;
    } else if ((tag == GUMBO_TAG_TD || tag == GUMBO_TAG_TH) && writer->table != NULL) {
        writer->plain = element;
    } else if (tag == GUMBO_TAG_HR) {
        writer_begin_block(writer, RULE);
        writer_line(writer, "***", 3);
    }
}

static void leave_block(struct writer *writer, const GumboNode *element, GumboTag tag)
{
    if (writer->plain == element) {
        if (heading_level(tag) > 0)
            end_heading(writer, heading_level(tag));
        else
            writer_end_cell(writer, element);
        return;
    }
    writer_end_inline(writer);
    if (writer_innermost(writer)->element == element)
        end_container(writer);
    else if (innermost_list(writer) != NULL && innermost_list(writer)->element == element)
        end_list(writer);
    else if (writer->table == element)
        writer_end_table(writer);
    else if (writer->table != NULL && writer->plain == NULL && tag == GUMBO_TAG_TR)
        writer_end_row(writer);
    else if (tag == GUMBO_TAG_THEAD)
        writer->in_head = false;
}

static void enter_inline(struct writer *writer, const GumboNode *element, GumboTag tag)
{
    struct format format = {.element = element};
    switch (tag) {
    case GUMBO_TAG_A:
        writer_begin_link(writer, element);
        break;
    case GUMBO_TAG_EM:
    case GUMBO_TAG_I:
        format.format = MARKDOWN_EMPHASIS;
        writer_begin_format(writer, &format);
        break;
    case GUMBO_TAG_STRONG:
    case GUMBO_TAG_B:
        format.format = MARKDOWN_STRONG;
        writer_begin_format(writer, &format);
        break;
    case GUMBO_TAG_DEL:
    case GUMBO_TAG_S:
    case GUMBO_TAG_STRIKE:
        format.format = MARKDOWN_STRIKE;
        writer_begin_format(writer, &format);
        break;
    case GUMBO_TAG_Q:
        markdown_add_text(&writer->run, "\"", 1);
        break;
    case GUMBO_TAG_INPUT:
        add_check_box(writer, element);
        break;
    default:
        if (is_code(tag))
            writer_begin_verbatim(writer, element);
    }
}

/* Once memory is out or the result too long: what is open is no longer known. */
static bool has_failed(const struct writer *writer)
{
    return writer->out->failed || writer->containers->failed || writer->lists->failed ||
           writer->cells->failed || writer->text->failed || writer->run.added->failed;
}

static bool enter(void *context, const GumboNode *element)
{
    struct writer *writer = context;
    enum html_kind kind = html_kind_of(element);
    GumboTag tag = html_tag(element);
    if (kind == HTML_HIDDEN || has_failed(writer))
        return false;
    if (tag == GUMBO_TAG_BR) {
        writer_break_line(writer);
    } else if (tag == GUMBO_TAG_IMG) {
        writer_add_image(writer, element);
    } else if (writer->verbatim != NULL && is_pre(tag) && is_code(html_tag(writer->verbatim)) &&
               writer->text->len == 0) {
        writer->verbatim = NULL; /* code around pre, which should be the other way round */
        enter_block(writer, element, tag);
    } else if (writer->verbatim != NULL) {
        writer->tables += tag == GUMBO_TAG_TABLE ? 1 : 0;
        if (kind != HTML_INLINE)
            add_line_in_verbatim(writer);
    } else if (kind != HTML_INLINE) {
        enter_block(writer, element, tag);
    } else {
        enter_inline(writer, element, tag);
    }
    return true;
}

static void leave(void *context, const GumboNode *element)
{
    struct writer *writer = context;
    GumboTag tag = html_tag(element);
    enum html_kind kind = html_kind_of(element);
    if (has_failed(writer))
        return;
    if (writer->verbatim == element && is_pre(tag)) {
        writer_end_code_block(writer, element);
    } else if (writer->verbatim == element) {
        writer_end_code_span(writer);
    } else if (writer->verbatim != NULL) {
        if (kind != HTML_INLINE)
            add_line_in_verbatim(writer);
    } else if (kind != HTML_INLINE) {
        leave_block(writer, element, tag);
    } else if (tag == GUMBO_TAG_Q) {
        markdown_add_text(&writer->run, "\"", 1);
    } else {
        writer_end_format(writer, element);
    }
}

static void add_text(void *context, const char *text, size_t len)
{
    struct writer *writer = context;
    if (has_failed(writer))
        return;
    if (writer->verbatim != NULL) {
        buf_add(writer->text, text, len);
        return;
    }
    markdown_add_text(&writer->run, text, len);
}

static enum err_code status(const struct html *html, struct err *err)
{
    enum err_code code = ERR_NONE;
    for (size_t i = 0; i < HTML_WORK_BUFFERS && code == ERR_NONE; i++)
        code = buf_status(&html->work[i], "the working memory for HTML", err);
    return code;
}

enum err_code html_to_markdown(struct html *html, const char *text, size_t len,
                               const struct html_links *links, struct buf *out, struct err *err)
{
    const GumboNode *root;
    enum err_code code = html_parse(html, text, len, &root, err);
    if (code == ERR_NONE)
        code = writer_find_shapes(html, root, err);
    if (code != ERR_NONE)
        return code;
    for (size_t i = WORK_ADDED; i <= WORK_CELLS; i++)
        buf_clear(&html->work[i]);
    struct writer writer = {
        .html = html,
        .links = links,
        .out = out,
        .run = {&html->arena, &html->work[WORK_ADDED], &html->work[WORK_ITEMS], &html->ticker},
        .containers = &html->work[WORK_CONTAINERS],
        .lists = &html->work[WORK_LISTS],
        .text = &html->work[WORK_TEXT],
        .cells = &html->work[WORK_CELLS],
        .shapes = &html->work[WORK_SHAPES],
    };
    size_t start = out->len;
    writer_push_container(&writer, &(struct container){0});
    if (writer.containers->failed)
        return err_nomem(err);
    const struct html_visitor visitor = {enter, leave, add_text, &writer};
    code = html_walk(html, root, &visitor, err);
    if (code == ERR_NONE)
        code = status(html, err);
    if (code == ERR_NONE)
        code = html_repair(html, out, start, "the Markdown", err);
    if (code == ERR_NONE && out->len > start)
        out->data[--out->len] = '\0'; /* the last line's end */
    return code;
}
