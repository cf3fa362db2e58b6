/* HTML into Markdown: tables. Must not be asked about tables in tables: those lay out a page. */
#include "base/html_markdown_priv.h"

#include <string.h>
#include <strings.h>

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

void writer_begin_table(struct writer *writer, const GumboNode *element)
{
    const struct shape *shape = (const struct shape *)(const void *)writer->shapes->data + writer->tables++;
    if (writer->plain != NULL || shape->holds_table || shape->columns < 2)
        return;
    writer->table = element;
    writer->grid = (struct grid){0};
    buf_clear(writer->cells);
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

static void add_cell(struct writer *writer, const struct cell *cell)
{
    buf_add(writer->cells, cell, sizeof *cell);
    writer->grid.column++;
    if (writer->grid.column > writer->grid.columns)
        writer->grid.columns = writer->grid.column;
}

/* Empty cells where one of a row above reaches down. */
static void add_cells_above(struct writer *writer)
{
    struct grid *grid = &writer->grid;
    while (grid->column < COLUMNS_MAX && grid->below[grid->column] > 0) {
        grid->below[grid->column]--;
        add_cell(writer, &(struct cell){.text = "", .row = grid->rows, .heads = writer->in_head});
    }
}

void writer_end_cell(struct writer *writer, const GumboNode *element)
{
    struct grid *grid = &writer->grid;
    writer->plain = NULL;
    bool some = writer_take_run(writer, MARKDOWN_CELL);
    struct cell cell = {
        .text = "",
        .row = grid->rows,
        .align = align_of(element),
        .heads = writer->in_head || html_tag(element) == GUMBO_TAG_TH,
    };
    if (some) {
        cell.len = writer->text->len;
        cell.text = writer_keep(writer, writer->text->data, cell.len);
        if (cell.text == NULL)
            return;
    }
    add_cells_above(writer);
    size_t width = (size_t)html_number_attribute(element, "colspan", 1, COLUMNS_MAX);
    size_t height = (size_t)html_number_attribute(element, "rowspan", 1, UINT16_MAX);
    for (size_t i = 0; i < (width > 0 ? width : 1); i++) {
        if (grid->column < COLUMNS_MAX)
            grid->below[grid->column] = height > 0 ? height - 1 : 0;
        add_cell(writer, &cell);
        cell.text = "";
        cell.len = 0;
    }
}

void writer_end_row(struct writer *writer)
{
    add_cells_above(writer);
    writer->grid.rows += writer->grid.column > 0 ? 1 : 0;
    writer->grid.column = 0;
}

static void write_delimiter_row(struct writer *writer, const struct cell *cells, size_t count)
{
    writer_begin_line(writer);
    for (size_t column = 0; column < writer->grid.columns && !writer->out->failed; column++) {
        enum markdown_align align = MARKDOWN_NONE;
        if (column < count && cells[column].row == 0)
            align = cells[column].align;
        markdown_delimiter_cell(writer->out, align);
    }
    markdown_end_row(writer->out);
    buf_addc(writer->out, '\n');
}

/* The cells of a row, from position at on; padded to count columns. Returns the position behind. */
static size_t write_row(struct writer *writer, size_t at, size_t row, size_t columns)
{
    const struct cell *cells = (const struct cell *)(const void *)writer->cells->data;
    size_t count = writer->cells->len / sizeof *cells, column = 0;
    writer_begin_line(writer);
    for (; at < count && cells[at].row == row && !writer->out->failed; at++, column++)
        markdown_cell(writer->out, cells[at].text, cells[at].len);
    for (; column < columns && !writer->out->failed; column++)
        markdown_cell(writer->out, "", 0);
    markdown_end_row(writer->out);
    buf_addc(writer->out, '\n');
    return at;
}

/* The first row is the head when all its cells say so; else the head is empty. Rows may be short. */
void writer_end_table(struct writer *writer)
{
    const struct cell *cells = (const struct cell *)(const void *)writer->cells->data;
    size_t count = writer->cells->len / sizeof *cells, at = 0;
    writer->table = NULL;
    if (count == 0 || writer->cells->failed)
        return;
    bool heads = true;
    for (size_t i = 0; i < count && cells[i].row == 0; i++)
        heads = heads && cells[i].heads;
    writer_begin_block(writer, TABLE);
    at = write_row(writer, heads ? 0 : count, 0, writer->grid.columns);
    at = heads ? at : 0;
    write_delimiter_row(writer, cells, count);
    while (at < count && !writer->out->failed)
        at = write_row(writer, at, cells[at].row, 0);
}

enum err_code writer_find_shapes(struct html *html, const GumboNode *root, struct err *err)
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
