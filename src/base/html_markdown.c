/* HTML into Markdown: blocks. Inline content goes to base/markdown.h. Must not write raw HTML but <br> in
 * cells.
 *
 * Blocks are written as they end. Containers (quotes, items of lists) put something at the start of each of
 * their lines; what is open is kept in a stack. */
#include "base/html_priv.h"

#include "base/markdown.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum block { NOTHING, PARAGRAPH, HEADING, RULE, CODE, QUOTE, LIST, TABLE };

struct container {
    const GumboNode *element; /* NULL: the document, or made up */
    bool is_quote;
    bool tight;       /* no blank lines between its blocks, where none is needed */
    bool marked;      /* the marker of the item is written */
    char marker[16];  /* of an item: "- ", "12. " */
    enum block last;  /* in it */
    char last_marker; /* of the list that was last in it */
};

struct list {
    const GumboNode *element;
    bool ordered;
    bool tight;
    bool begun;
    bool nested; /* right inside another list, where no list may be: made part of the item before it */
    char mark;   /* '-' or '+', '.' or ')' */
    long next;
    size_t containers; /* open where it is */
};

struct cell {
    const char *text;
    size_t len;
    size_t row;
    enum markdown_align align;
    bool heads;
};

#define COLUMNS_MAX 64 /* that colspan and rowspan are followed for */

struct grid {
    size_t rows;
    size_t columns;
    size_t column;             /* of the next cell of the row */
    size_t below[COLUMNS_MAX]; /* rows that a cell of the column still reaches down */
};

/* Of a table, before it is written. */
struct shape {
    size_t columns;
    size_t row; /* cells of the row at hand */
    bool holds_table;
};

struct format {
    enum markdown_format format;
    const char *url;
    const char *title;
    const GumboNode *element;
};

struct markdown {
    struct html *html;
    const struct html_links *links;
    struct buf *out;
    struct markdown_run run;
    struct buf *containers; /* struct container */
    struct buf *lists;      /* struct list */
    struct buf *text;       /* code, lines, what is being put together */
    struct format formats[MARKDOWN_FORMATS_MAX];
    size_t format_count;
    const GumboNode *plain;    /* heading or cell, in which blocks are only breaks; NULL outside */
    const GumboNode *verbatim; /* pre or code, whose text is kept; NULL outside */
    struct buf *cells;         /* struct cell, of the table at hand */
    struct buf *shapes;        /* struct shape, of all tables */
    size_t tables;             /* that were begun */
    const GumboNode *table;    /* that becomes a table; NULL outside */
    struct grid grid;          /* of it */
    bool in_head;
};

/* ---- lines ---- */

static struct container *containers_of(const struct markdown *markdown, size_t *count)
{
    *count = markdown->containers->len / sizeof(struct container);
    return (struct container *)(void *)markdown->containers->data;
}

static struct container *innermost(const struct markdown *markdown)
{
    size_t count;
    struct container *containers = containers_of(markdown, &count);
    return &containers[count - 1];
}

static void push_container(struct markdown *markdown, const struct container *container)
{
    buf_add(markdown->containers, container, sizeof *container);
}

static void pop_container(struct markdown *markdown)
{
    markdown->containers->len -= sizeof(struct container);
}

static void add_spaces(struct buf *out, size_t count)
{
    while (count-- > 0)
        buf_addc(out, ' ');
}

/* What the containers put before a line. */
static void begin_line(struct markdown *markdown)
{
    size_t count;
    struct container *containers = containers_of(markdown, &count);
    ticker_spend(&markdown->html->ticker, count * 4);
    for (size_t i = 1; i < count; i++) { /* the first is the document */
        struct container *container = &containers[i];
        if (container->is_quote)
            buf_adds(markdown->out, "> ");
        else if (container->marked)
            add_spaces(markdown->out, strlen(container->marker));
        else
            buf_adds(markdown->out, container->marker);
        container->marked = true;
    }
}

static void end_line(struct markdown *markdown)
{
    struct buf *out = markdown->out;
    while (out->len > 0 && out->data[out->len - 1] == ' ')
        out->len--;
    buf_addc(out, '\n');
}

static void write_line(struct markdown *markdown, const char *text, size_t len)
{
    begin_line(markdown);
    buf_add(markdown->out, text, len);
    end_line(markdown);
}

static void write_lines(struct markdown *markdown, const char *text, size_t len)
{
    while (true) {
        const char *newline = memchr(text, '\n', len);
        size_t line = newline != NULL ? (size_t)(newline - text) : len;
        begin_line(markdown);
        buf_add(markdown->out, text, line);
        if (line == 0 || markdown->out->failed)
            end_line(markdown);
        else
            buf_addc(markdown->out, '\n');
        if (newline == NULL || markdown->out->failed)
            return;
        text += line + 1;
        len -= line + 1;
    }
}

/* Whether two blocks would become one, or the second no block, without a blank line between. */
static bool needs_blank_line(enum block before, enum block next)
{
    switch (before) {
    case PARAGRAPH:
        return next == PARAGRAPH || next == TABLE;
    case LIST:
        return next == PARAGRAPH || next == TABLE || next == LIST;
    case QUOTE:
        return next == PARAGRAPH || next == QUOTE || next == TABLE;
    case TABLE:
        return true;
    default:
        return false;
    }
}

static void begin_block(struct markdown *markdown, enum block block)
{
    struct container *container = innermost(markdown);
    bool blank =
        container->last != NOTHING && (!container->tight || needs_blank_line(container->last, block));
    container->last = block;
    if (blank)
        write_line(markdown, "", 0);
}

/* ---- inline content ---- */

static void open_format(struct markdown *markdown, const struct format *format)
{
    markdown_open(&markdown->run, format->format, format->url, format->title);
}

static void close_formats(struct markdown *markdown)
{
    for (size_t i = markdown->format_count; i > 0; i--)
        markdown_close(&markdown->run, markdown->formats[i - 1].format);
}

static void reopen_formats(struct markdown *markdown)
{
    for (size_t i = 0; i < markdown->format_count; i++)
        open_format(markdown, &markdown->formats[i]);
}

/* The run as text in markdown->text. False when there is none. Formats go on in the next. */
static bool take_run(struct markdown *markdown, enum markdown_place place)
{
    bool empty = markdown_is_empty(&markdown->run);
    if (empty && markdown->run.added->len == 0)
        return false;
    if (empty) {
        buf_clear(markdown->run.added);
    } else {
        close_formats(markdown);
        buf_clear(markdown->text);
        markdown_write(&markdown->run, place, markdown->text);
    }
    reopen_formats(markdown);
    return !empty && markdown->text->len > 0;
}

static void flush_paragraph(struct markdown *markdown)
{
    if (!take_run(markdown, MARKDOWN_PARAGRAPH))
        return;
    begin_block(markdown, PARAGRAPH);
    write_lines(markdown, markdown->text->data, markdown->text->len);
}

/* Between blocks, wherever they are. */
static void end_inline(struct markdown *markdown)
{
    if (markdown->verbatim != NULL)
        return;
    if (markdown->plain == NULL)
        flush_paragraph(markdown);
    else if (!markdown_ends_in_break(&markdown->run))
        markdown_add_break(&markdown->run);
}

static void break_line(struct markdown *markdown)
{
    if (markdown->verbatim != NULL)
        buf_addc(markdown->text, '\n');
    else if (markdown->plain == NULL && markdown_ends_in_break(&markdown->run))
        flush_paragraph(markdown); /* an empty line */
    else
        markdown_add_break(&markdown->run);
}

static bool is_open(const struct markdown *markdown, enum markdown_format format)
{
    for (size_t i = 0; i < markdown->format_count; i++) {
        if (markdown->formats[i].format == format)
            return true;
    }
    return false;
}

static void begin_format(struct markdown *markdown, const struct format *format)
{
    bool once = format->format == MARKDOWN_LINK || format->format == MARKDOWN_STRIKE;
    if (markdown->verbatim != NULL || markdown->format_count == MARKDOWN_FORMATS_MAX ||
        (once && is_open(markdown, format->format)))
        return;
    markdown->formats[markdown->format_count++] = *format;
    open_format(markdown, format);
}

static void end_format(struct markdown *markdown, const GumboNode *element)
{
    if (markdown->format_count == 0 || markdown->formats[markdown->format_count - 1].element != element)
        return;
    markdown->format_count--;
    markdown_close(&markdown->run, markdown->formats[markdown->format_count].format);
}

/* ---- links ---- */

/* A copy that lasts as long as the tree; NULL when memory is out. */
static const char *keep(struct markdown *markdown, const char *text, size_t len)
{
    const char *kept = NULL;
    if (markdown->html->arena.total < HTML_MEMORY_MAX)
        kept = arena_strndup(&markdown->html->arena, text, len);
    if (kept == NULL)
        markdown->out->failed = markdown->out->out_of_memory = true;
    return kept;
}

/* Schemes that are no address, and would be a danger or a burden in a text. */
static bool is_refused(const char *url)
{
    return strncasecmp(url, "javascript:", 11) == 0 || strncasecmp(url, "vbscript:", 9) == 0 ||
           strncasecmp(url, "data:", 5) == 0;
}

/* The URL of the attribute, NULL when there is none to write. */
static const char *url_of(struct markdown *markdown, const GumboNode *element, const char *attribute)
{
    const char *value = html_attribute(element, attribute);
    if (value == NULL)
        return NULL;
    while (*value != '\0' && (unsigned char)*value <= ' ')
        value++;
    size_t len = strlen(value);
    while (len > 0 && (unsigned char)value[len - 1] <= ' ')
        len--;
    struct buf *url = &markdown->html->work[WORK_PIECE];
    buf_clear(url);
    for (size_t i = 0; i < len; i++) { /* browsers leave these out, also in the middle of a scheme */
        if (value[i] != '\n' && value[i] != '\r' && value[i] != '\t')
            buf_addc(url, value[i]);
    }
    if (is_refused(buf_text(url)))
        return NULL;
    const char *kept = keep(markdown, buf_text(url), url->len);
    if (kept == NULL || markdown->links == NULL || markdown->links->resolve == NULL)
        return kept;
    buf_clear(url);
    markdown->links->resolve(markdown->links->context, kept, strlen(kept), url);
    return url->len > 0 ? keep(markdown, url->data, url->len) : kept;
}

static void begin_link(struct markdown *markdown, const GumboNode *element)
{
    const char *url = url_of(markdown, element, "href");
    if (url == NULL)
        return;
    const char *title = html_attribute(element, "title");
    begin_format(markdown, &(struct format){MARKDOWN_LINK, url, title, element});
}

static void add_image(struct markdown *markdown, const GumboNode *element)
{
    const char *alternative = html_attribute(element, "alt");
    if (alternative == NULL)
        alternative = "";
    size_t len = strlen(alternative);
    if (markdown->verbatim != NULL) {
        buf_add(markdown->text, alternative, len);
        return;
    }
    const char *url = url_of(markdown, element, "src");
    if (url == NULL || *url == '\0') {
        markdown_add_text(&markdown->run, alternative, len);
        return;
    }
    /* The alternative is a run of its own. */
    struct buf *image = &markdown->html->work[WORK_PIECE];
    buf_clear(image);
    buf_adds(image, "![");
    bool space = false;
    for (size_t at = 0; at < len;) {
        size_t start = at;
        while (at < len && !html_is_space(alternative[at]))
            at++;
        if (at > start) {
            buf_adds(image, space ? " " : "");
            markdown_escape(image, alternative + start, at - start, &markdown->html->ticker);
            space = true;
        }
        while (at < len && html_is_space(alternative[at]))
            at++;
    }
    buf_addc(image, ']');
    markdown_destination(image, url, html_attribute(element, "title"));
    const char *kept = keep(markdown, buf_text(image), image->len);
    if (kept != NULL)
        markdown_add_raw(&markdown->run, kept, image->len);
}

/* ---- code ---- */

static void begin_verbatim(struct markdown *markdown, const GumboNode *element)
{
    if (markdown->verbatim != NULL)
        return;
    markdown->verbatim = element;
    buf_clear(markdown->text);
}

static void end_code_span(struct markdown *markdown)
{
    markdown->verbatim = NULL;
    const char *kept = keep(markdown, buf_text(markdown->text), markdown->text->len);
    if (kept != NULL)
        markdown_add_code(&markdown->run, kept, markdown->text->len);
}

/* What follows "language-" or "lang-" in the class attribute. */
static const char *language_of(const GumboNode *element, size_t *len)
{
    static const char *const prefixes[] = {"language-", "lang-"};
    const char *class = html_attribute(element, "class");
    while (class != NULL && *class != '\0') {
        while (html_is_space(*class))
            class ++;
        size_t word = strcspn(class, " \t\r\n\f");
        for (size_t i = 0; i < 2; i++) {
            size_t prefix = strlen(prefixes[i]);
            if (word > prefix && memcmp(class, prefixes[i], prefix) == 0) {
                *len = word - prefix;
                return class + prefix;
            }
        }
        class += word;
    }
    *len = 0;
    return "";
}

static const char *language_of_block(const GumboNode *pre, size_t *len)
{
    const char *language = language_of(pre, len);
    const GumboVector *children = &pre->v.element.children;
    for (unsigned i = 0; i < children->length && *len == 0; i++) {
        const GumboNode *child = children->data[i];
        if (child->type == GUMBO_NODE_ELEMENT && html_tag(child) == GUMBO_TAG_CODE)
            language = language_of(child, len);
    }
    return language;
}

static void end_code_block(struct markdown *markdown, const GumboNode *pre)
{
    struct buf *code = markdown->text;
    markdown->verbatim = NULL;
    if (markdown->plain != NULL) {
        size_t start = 0, end = code->len;
        while (start < end && html_is_space(code->data[start]))
            start++;
        while (end > start && html_is_space(code->data[end - 1]))
            end--;
        const char *kept = keep(markdown, buf_text(code) + start, end - start);
        if (kept != NULL)
            markdown_add_code(&markdown->run, kept, end - start);
        end_inline(markdown);
        return;
    }
    size_t language_len, len = code->len;
    const char *language = language_of_block(pre, &language_len);
    char mark = memchr(language, '`', language_len) != NULL ? '~' : '`';
    size_t width = markdown_fence(buf_text(code), len, mark);
    begin_block(markdown, CODE);
    begin_line(markdown);
    markdown_begin_fence(markdown->out, mark, width, language, language_len);
    buf_addc(markdown->out, '\n');
    if (len > 0 && code->data[len - 1] == '\n')
        len--;
    if (code->len > 0)
        write_lines(markdown, code->data, len);
    begin_line(markdown);
    markdown_begin_fence(markdown->out, mark, width, "", 0);
    buf_addc(markdown->out, '\n');
}

/* ---- headings ---- */

static void end_heading(struct markdown *markdown, int level)
{
    markdown->plain = NULL;
    bool some = take_run(markdown, MARKDOWN_HEADING);
    begin_block(markdown, HEADING);
    begin_line(markdown);
    for (int i = 0; i < level; i++)
        buf_addc(markdown->out, '#');
    if (some) {
        buf_addc(markdown->out, ' ');
        buf_add(markdown->out, markdown->text->data, markdown->text->len);
    }
    end_line(markdown);
}

/* ---- lists ---- */

static struct list *innermost_list(const struct markdown *markdown)
{
    size_t count = markdown->lists->len / sizeof(struct list);
    return count > 0 ? (struct list *)(void *)markdown->lists->data + count - 1 : NULL;
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

static void begin_list(struct markdown *markdown, const GumboNode *element)
{
    struct list *outer = innermost_list(markdown);
    size_t count;
    containers_of(markdown, &count);
    bool nested = outer != NULL && outer->begun && outer->containers == count;
    if (nested) { /* what the item before it was */
        struct container item = {.tight = outer->tight, .marked = true, .last = PARAGRAPH};
        snprintf(item.marker, sizeof item.marker, "%s", outer->ordered ? "1. " : "- ");
        push_container(markdown, &item);
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
    buf_add(markdown->lists, &list, sizeof list);
}

static void end_list(struct markdown *markdown)
{
    if (innermost_list(markdown)->nested)
        pop_container(markdown);
    markdown->lists->len -= sizeof(struct list);
}

/* Lists that follow each other are told apart by their marks. */
static void begin_first_item(struct markdown *markdown, struct list *list)
{
    struct container *container = innermost(markdown);
    bool follows = container->last == LIST;
    char last = container->last_marker;
    list->mark = list->ordered ? (follows && last == '.' ? ')' : '.') : follows && last == '-' ? '+' : '-';
    /* Only a list that begins with 1 can follow a paragraph at once. */
    bool apart = container->last == PARAGRAPH && list->ordered && list->next != 1;
    container->last = apart ? TABLE : container->last;
    begin_block(markdown, LIST);
    innermost(markdown)->last_marker = list->mark;
    list->begun = true;
}

/* Without a list in the container at hand, the element is a mere block. */
static void begin_item(struct markdown *markdown, const GumboNode *element)
{
    struct list *list = innermost_list(markdown);
    size_t count;
    containers_of(markdown, &count);
    if (list == NULL || list->containers != count)
        return;
    if (!list->begun)
        begin_first_item(markdown, list);
    else if (!list->tight)
        write_line(markdown, "", 0);
    struct container item = {.element = element, .tight = list->tight};
    if (list->ordered)
        snprintf(item.marker, sizeof item.marker, "%ld%c ", list->next++, list->mark);
    else
        snprintf(item.marker, sizeof item.marker, "%c ", list->mark);
    push_container(markdown, &item);
}

/* Of an item or a quote; an empty one has a line as well. */
static void end_container(struct markdown *markdown)
{
    if (innermost(markdown)->last == NOTHING)
        write_line(markdown, "", 0);
    pop_container(markdown);
}

/* A check box at the start of an item (GFM, "Task list items"). */
static void add_check_box(struct markdown *markdown, const GumboNode *input)
{
    const char *type = html_attribute(input, "type");
    if (type == NULL || strcasecmp(type, "checkbox") != 0 || markdown->plain != NULL ||
        markdown->verbatim != NULL || innermost(markdown)->marker[0] == '\0' ||
        innermost(markdown)->last != NOTHING || !markdown_is_empty(&markdown->run))
        return;
    bool checked = html_attribute(input, "checked") != NULL;
    markdown_add_raw(&markdown->run, checked ? "[x]" : "[ ]", 3);
    markdown_add_space(&markdown->run);
}

/* ---- tables ---- */

/* First walk: which tables are tables. Those that lay out a page, as in many mails, hold other tables or have
 * one column; their cells become blocks. */
struct shapes {
    struct buf *shapes; /* struct shape, in the order of the tables */
    struct buf *open;   /* size_t, their places */
};

static struct shape *open_shape(const struct shapes *shapes)
{
    if (shapes->open->len == 0 || shapes->shapes->failed)
        return NULL;
    size_t at = ((size_t *)(void *)(shapes->open->data + shapes->open->len))[-1];
    return (struct shape *)(void *)shapes->shapes->data + at;
}

static bool enter_shape(void *context, const GumboNode *element)
{
    struct shapes *shapes = context;
    GumboTag tag = html_tag(element);
    if (html_kind_of(element) == HTML_HIDDEN)
        return false;
    struct shape *outer = open_shape(shapes);
    if (tag == GUMBO_TAG_TABLE) {
        if (outer != NULL)
            outer->holds_table = true;
        size_t at = shapes->shapes->len / sizeof(struct shape);
        buf_add(shapes->shapes, &(struct shape){0}, sizeof(struct shape));
        buf_add(shapes->open, &at, sizeof at);
    } else if (tag == GUMBO_TAG_TR && outer != NULL) {
        outer->row = 0;
    } else if ((tag == GUMBO_TAG_TD || tag == GUMBO_TAG_TH) && outer != NULL) {
        outer->row++;
        outer->columns = outer->row > outer->columns ? outer->row : outer->columns;
    }
    return true;
}

static void leave_shape(void *context, const GumboNode *element)
{
    struct shapes *shapes = context;
    if (html_tag(element) == GUMBO_TAG_TABLE && shapes->open->len > 0)
        shapes->open->len -= sizeof(size_t);
}

static void skip_text(void *context, const char *text, size_t len)
{
    (void)context;
    (void)text;
    (void)len;
}

static void begin_table(struct markdown *markdown, const GumboNode *element)
{
    const struct shape *shape =
        (const struct shape *)(const void *)markdown->shapes->data + markdown->tables++;
    if (markdown->plain != NULL || shape->holds_table || shape->columns < 2)
        return;
    markdown->table = element;
    markdown->grid = (struct grid){0};
    buf_clear(markdown->cells);
}

static enum markdown_align align_of(const GumboNode *cell)
{
    static const char *const names[] = {"", "left", "center", "right"};
    const char *value = html_attribute(cell, "align");
    const char *style = html_attribute(cell, "style");
    const char *property = value == NULL && style != NULL ? strcasestr(style, "text-align:") : NULL;
    if (property != NULL)
        value = property + strlen("text-align:");
    while (value != NULL && html_is_space(*value))
        value++;
    for (int align = MARKDOWN_LEFT; value != NULL && align <= MARKDOWN_RIGHT; align++) {
        if (strncasecmp(value, names[align], strlen(names[align])) == 0)
            return (enum markdown_align)align;
    }
    return MARKDOWN_NONE;
}

static void add_cell(struct markdown *markdown, const struct cell *cell)
{
    buf_add(markdown->cells, cell, sizeof *cell);
    markdown->grid.column++;
    if (markdown->grid.column > markdown->grid.columns)
        markdown->grid.columns = markdown->grid.column;
}

/* Empty cells where one of a row above reaches down. */
static void add_cells_above(struct markdown *markdown)
{
    struct grid *grid = &markdown->grid;
    while (grid->column < COLUMNS_MAX && grid->below[grid->column] > 0) {
        grid->below[grid->column]--;
        add_cell(markdown, &(struct cell){.text = "", .row = grid->rows, .heads = markdown->in_head});
    }
}

static void end_cell(struct markdown *markdown, const GumboNode *element)
{
    struct grid *grid = &markdown->grid;
    markdown->plain = NULL;
    bool some = take_run(markdown, MARKDOWN_CELL);
    struct cell cell = {
        .text = "",
        .row = grid->rows,
        .align = align_of(element),
        .heads = markdown->in_head || html_tag(element) == GUMBO_TAG_TH,
    };
    if (some) {
        cell.len = markdown->text->len;
        cell.text = keep(markdown, markdown->text->data, cell.len);
        if (cell.text == NULL)
            return;
    }
    add_cells_above(markdown);
    size_t width = (size_t)html_number_attribute(element, "colspan", 1, COLUMNS_MAX);
    size_t height = (size_t)html_number_attribute(element, "rowspan", 1, UINT16_MAX);
    for (size_t i = 0; i < (width > 0 ? width : 1); i++) {
        if (grid->column < COLUMNS_MAX)
            grid->below[grid->column] = height > 0 ? height - 1 : 0;
        add_cell(markdown, &cell);
        cell.text = "";
        cell.len = 0;
    }
}

static void end_row(struct markdown *markdown)
{
    add_cells_above(markdown);
    markdown->grid.rows += markdown->grid.column > 0 ? 1 : 0;
    markdown->grid.column = 0;
}

static void write_delimiter_row(struct markdown *markdown, const struct cell *cells, size_t count)
{
    begin_line(markdown);
    for (size_t column = 0; column < markdown->grid.columns && !markdown->out->failed; column++) {
        enum markdown_align align = MARKDOWN_NONE;
        if (column < count && cells[column].row == 0)
            align = cells[column].align;
        markdown_delimiter_cell(markdown->out, align);
    }
    markdown_end_row(markdown->out);
    buf_addc(markdown->out, '\n');
}

/* The cells of a row, from position at on; padded to count columns. Returns the position behind. */
static size_t write_row(struct markdown *markdown, size_t at, size_t row, size_t columns)
{
    const struct cell *cells = (const struct cell *)(const void *)markdown->cells->data;
    size_t count = markdown->cells->len / sizeof *cells, column = 0;
    begin_line(markdown);
    for (; at < count && cells[at].row == row && !markdown->out->failed; at++, column++)
        markdown_cell(markdown->out, cells[at].text, cells[at].len);
    for (; column < columns && !markdown->out->failed; column++)
        markdown_cell(markdown->out, "", 0);
    markdown_end_row(markdown->out);
    buf_addc(markdown->out, '\n');
    return at;
}

/* The first row is the head when all its cells say so; else the head is empty. Rows may be short. */
static void end_table(struct markdown *markdown)
{
    const struct cell *cells = (const struct cell *)(const void *)markdown->cells->data;
    size_t count = markdown->cells->len / sizeof *cells, at = 0;
    markdown->table = NULL;
    if (count == 0 || markdown->cells->failed)
        return;
    bool heads = true;
    for (size_t i = 0; i < count && cells[i].row == 0; i++)
        heads = heads && cells[i].heads;
    begin_block(markdown, TABLE);
    at = write_row(markdown, heads ? 0 : count, 0, markdown->grid.columns);
    at = heads ? at : 0;
    write_delimiter_row(markdown, cells, count);
    while (at < count && !markdown->out->failed)
        at = write_row(markdown, at, cells[at].row, 0);
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

static void add_line_in_verbatim(struct markdown *markdown)
{
    struct buf *text = markdown->text;
    if (text->len > 0 && text->data[text->len - 1] != '\n')
        buf_addc(text, '\n');
}

static void enter_block(struct markdown *markdown, const GumboNode *element, GumboTag tag)
{
    end_inline(markdown);
    if (is_pre(tag)) {
        begin_verbatim(markdown, element);
    } else if (markdown->plain != NULL) {
        markdown->tables += tag == GUMBO_TAG_TABLE ? 1 : 0;
    } else if (heading_level(tag) > 0) {
        markdown->plain = element;
    } else if (tag == GUMBO_TAG_BLOCKQUOTE) {
        begin_block(markdown, QUOTE);
        push_container(markdown, &(struct container){.is_quote = true, .element = element});
    } else if (is_list_tag(tag)) {
        begin_list(markdown, element);
    } else if (tag == GUMBO_TAG_LI) {
        begin_item(markdown, element);
    } else if (tag == GUMBO_TAG_TABLE) {
        begin_table(markdown, element);
    } else if (tag == GUMBO_TAG_THEAD) {
        markdown->in_head = true;
    } else if ((tag == GUMBO_TAG_TD || tag == GUMBO_TAG_TH) && markdown->table != NULL) {
        markdown->plain = element;
    } else if (tag == GUMBO_TAG_HR) {
        begin_block(markdown, RULE);
        write_line(markdown, "***", 3);
    }
}

static void leave_block(struct markdown *markdown, const GumboNode *element, GumboTag tag)
{
    if (markdown->plain == element) {
        if (heading_level(tag) > 0)
            end_heading(markdown, heading_level(tag));
        else
            end_cell(markdown, element);
        return;
    }
    end_inline(markdown);
    if (innermost(markdown)->element == element)
        end_container(markdown);
    else if (innermost_list(markdown) != NULL && innermost_list(markdown)->element == element)
        end_list(markdown);
    else if (markdown->table == element)
        end_table(markdown);
    else if (markdown->table != NULL && markdown->plain == NULL && tag == GUMBO_TAG_TR)
        end_row(markdown);
    else if (tag == GUMBO_TAG_THEAD)
        markdown->in_head = false;
}

static void enter_inline(struct markdown *markdown, const GumboNode *element, GumboTag tag)
{
    struct format format = {.element = element};
    switch (tag) {
    case GUMBO_TAG_A:
        begin_link(markdown, element);
        break;
    case GUMBO_TAG_EM:
    case GUMBO_TAG_I:
        format.format = MARKDOWN_EMPHASIS;
        begin_format(markdown, &format);
        break;
    case GUMBO_TAG_STRONG:
    case GUMBO_TAG_B:
        format.format = MARKDOWN_STRONG;
        begin_format(markdown, &format);
        break;
    case GUMBO_TAG_DEL:
    case GUMBO_TAG_S:
    case GUMBO_TAG_STRIKE:
        format.format = MARKDOWN_STRIKE;
        begin_format(markdown, &format);
        break;
    case GUMBO_TAG_Q:
        markdown_add_text(&markdown->run, "\"", 1);
        break;
    case GUMBO_TAG_INPUT:
        add_check_box(markdown, element);
        break;
    default:
        if (is_code(tag))
            begin_verbatim(markdown, element);
    }
}

/* Once memory is out or the result too long: what is open is no longer known. */
static bool has_failed(const struct markdown *markdown)
{
    return markdown->out->failed || markdown->containers->failed || markdown->lists->failed ||
           markdown->cells->failed || markdown->text->failed || markdown->run.added->failed;
}

static bool enter(void *context, const GumboNode *element)
{
    struct markdown *markdown = context;
    enum html_kind kind = html_kind_of(element);
    GumboTag tag = html_tag(element);
    if (kind == HTML_HIDDEN || has_failed(markdown))
        return false;
    if (tag == GUMBO_TAG_BR) {
        break_line(markdown);
    } else if (tag == GUMBO_TAG_IMG) {
        add_image(markdown, element);
    } else if (markdown->verbatim != NULL && is_pre(tag) && is_code(html_tag(markdown->verbatim)) &&
               markdown->text->len == 0) {
        markdown->verbatim = NULL; /* code around pre, which should be the other way round */
        enter_block(markdown, element, tag);
    } else if (markdown->verbatim != NULL) {
        markdown->tables += tag == GUMBO_TAG_TABLE ? 1 : 0;
        if (kind != HTML_INLINE)
            add_line_in_verbatim(markdown);
    } else if (kind != HTML_INLINE) {
        enter_block(markdown, element, tag);
    } else {
        enter_inline(markdown, element, tag);
    }
    return true;
}

static void leave(void *context, const GumboNode *element)
{
    struct markdown *markdown = context;
    GumboTag tag = html_tag(element);
    enum html_kind kind = html_kind_of(element);
    if (has_failed(markdown))
        return;
    if (markdown->verbatim == element && is_pre(tag)) {
        end_code_block(markdown, element);
    } else if (markdown->verbatim == element) {
        end_code_span(markdown);
    } else if (markdown->verbatim != NULL) {
        if (kind != HTML_INLINE)
            add_line_in_verbatim(markdown);
    } else if (kind != HTML_INLINE) {
        leave_block(markdown, element, tag);
    } else if (tag == GUMBO_TAG_Q) {
        markdown_add_text(&markdown->run, "\"", 1);
    } else {
        end_format(markdown, element);
    }
}

static void add_text(void *context, const char *text, size_t len)
{
    struct markdown *markdown = context;
    if (has_failed(markdown))
        return;
    if (markdown->verbatim != NULL) {
        buf_add(markdown->text, text, len);
        return;
    }
    markdown_add_text(&markdown->run, text, len);
}

static enum err_code find_shapes(struct html *html, const GumboNode *root, struct err *err)
{
    struct shapes shapes = {&html->work[WORK_SHAPES], &html->work[WORK_PIECE]};
    const struct html_visitor visitor = {enter_shape, leave_shape, skip_text, &shapes};
    buf_clear(shapes.shapes);
    buf_clear(shapes.open);
    enum err_code code = html_walk(html, root, &visitor, err);
    if (code == ERR_NONE)
        code = buf_status(shapes.shapes, "the working memory for HTML", err);
    if (code == ERR_NONE)
        code = buf_status(shapes.open, "the working memory for HTML", err);
    return code;
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
        code = find_shapes(html, root, err);
    if (code != ERR_NONE)
        return code;
    for (size_t i = WORK_ADDED; i <= WORK_CELLS; i++)
        buf_clear(&html->work[i]);
    struct markdown markdown = {
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
    push_container(&markdown, &(struct container){0});
    if (markdown.containers->failed)
        return err_nomem(err);
    const struct html_visitor visitor = {enter, leave, add_text, &markdown};
    code = html_walk(html, root, &visitor, err);
    if (code == ERR_NONE)
        code = status(html, err);
    if (code == ERR_NONE)
        code = html_repair(html, out, start, "the Markdown", err);
    if (code == ERR_NONE && out->len > start)
        out->data[--out->len] = '\0'; /* the last line's end */
    return code;
}
