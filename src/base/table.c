/* Tables for a terminal: widths, cutting, escaping. */
#include "base/table.h"

#include "base/mem.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define GAP 2         /* blanks between columns */
#define COMFORTABLE 8 /* columns that text keeps as long as numbers need not be cut */
#define ELLIPSIS "\xE2\x80\xA6"
#define RETURN_SIGN "\xE2\x86\xB5"

void table_init(struct table_printer *table, const struct table_column *columns, size_t column_count)
{
    *table = (struct table_printer){.columns = columns, .column_count = column_count};
    buf_init(&table->text, TABLE_BYTES_MAX);
    buf_init(&table->ends, TABLE_BYTES_MAX);
}

void table_free(struct table_printer *table)
{
    buf_free(&table->text);
    buf_free(&table->ends);
    table->cell_count = 0;
}

static void end_cell(struct table_printer *table)
{
    buf_add(&table->ends, &table->text.len, sizeof table->text.len);
    if (!table->text.failed && !table->ends.failed)
        table->cell_count++;
}

void table_cell(struct table_printer *table, const char *text, size_t len)
{
    if (len > 0)
        buf_add(&table->text, text, len);
    end_cell(table);
}

void table_cells(struct table_printer *table, const char *text)
{
    table_cell(table, text, text != NULL ? strlen(text) : 0);
}

void table_cellf(struct table_printer *table, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (len >= (int)sizeof text)
        memcpy(text + sizeof text - 1 - strlen(ELLIPSIS), ELLIPSIS, strlen(ELLIPSIS));
    table_cell(table, text, len < 0 ? 0 : strlen(text));
}

size_t table_row_count(const struct table_printer *table)
{
    return (table->cell_count + table->column_count - 1) / table->column_count;
}

/* ---- cells as they are shown ---- */

struct slice {
    const char *text;
    size_t len;
};

static struct slice cell_at(const struct table_printer *table, size_t index)
{
    size_t begin = 0;
    size_t end;
    if (index >= table->cell_count)
        return (struct slice){"", 0};
    if (index > 0)
        memcpy(&begin, table->ends.data + (index - 1) * sizeof begin, sizeof begin);
    memcpy(&end, table->ends.data + index * sizeof end, sizeof end);
    return (struct slice){buf_text(&table->text) + begin, end - begin};
}

/* Characters that show nothing of their own and change how others show. */
static bool turns_writing(uint32_t c)
{
    return c == 0x061C || c == 0x200E || c == 0x200F || (c >= 0x2028 && c <= 0x202E) ||
           (c >= 0x2066 && c <= 0x2069);
}

#define PIECE_MAX 16

/* The next piece of a cell as it is shown: a character, or the escape that stands for it. Returns its bytes
 * in the cell; piece gets the shown text, NUL-terminated. */
static size_t next_piece(const char *text, size_t len, bool plain, char piece[PIECE_MAX])
{
    uint32_t c = 0;
    size_t size = text_next_char(text, len, &c);
    unsigned char byte = (unsigned char)text[0];
    if (size == 0) {
        snprintf(piece, PIECE_MAX, "\\x%02x", byte);
        return 1;
    }
    if (c == '\n')
        snprintf(piece, PIECE_MAX, "%s", plain ? " " : RETURN_SIGN);
    else if (c == '\t')
        snprintf(piece, PIECE_MAX, "%s", plain ? " " : "\\t");
    else if (c == '\r')
        snprintf(piece, PIECE_MAX, "%s", plain && len > 1 && text[1] == '\n' ? "" : "\\r");
    else if (c < 0x20 || c == 0x7F)
        snprintf(piece, PIECE_MAX, "\\x%02x", (unsigned)c);
    else if ((c >= 0x80 && c < 0xA0) || turns_writing(c))
        snprintf(piece, PIECE_MAX, "\\u%04x", (unsigned)c);
    else {
        memcpy(piece, text, size);
        piece[size] = '\0';
    }
    return size;
}

static size_t shown_width(const char *text, size_t len)
{
    char piece[PIECE_MAX];
    size_t width = 0;
    for (size_t at = 0; at < len;) {
        at += next_piece(text + at, len - at, false, piece);
        width += text_display_width(piece, strlen(piece));
    }
    return width;
}

/* Appends the cell in at most width columns. */
static void add_shown(struct buf *out, const char *text, size_t len, size_t width, bool plain)
{
    char piece[PIECE_MAX];
    size_t used = 0;
    size_t fits = out->len; /* where the ellipsis would go */
    for (size_t at = 0; at < len && !out->failed;) {
        at += next_piece(text + at, len - at, plain, piece);
        used += text_display_width(piece, strlen(piece));
        if (used > width) {
            out->len = fits;
            buf_adds(out, ELLIPSIS);
            return;
        }
        buf_adds(out, piece);
        if (used + 1 <= width)
            fits = out->len;
    }
}

/* ---- layout ---- */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool may_shrink(const struct table_column *column, bool numbers_too)
{
    return numbers_too || column->align == TABLE_LEFT;
}

static size_t width_under(const struct table_printer *table, const size_t *widths, bool numbers_too,
                          size_t cap)
{
    size_t total = GAP * (table->column_count - 1);
    for (size_t i = 0; i < table->column_count; i++)
        total += may_shrink(&table->columns[i], numbers_too) ? smaller(widths[i], cap) : widths[i];
    return total;
}

/* Takes from the widest columns first until the line fits, but leaves floor in each. */
static void shrink(const struct table_printer *table, size_t *widths, size_t width, bool numbers_too,
                   size_t floor)
{
    size_t low = floor;
    size_t high = 0;
    for (size_t i = 0; i < table->column_count; i++)
        high = widths[i] > high ? widths[i] : high;
    if (high <= low || width_under(table, widths, numbers_too, high) <= width)
        return;
    while (low < high) { /* the greatest cap under which it fits */
        size_t middle = low + (high - low + 1) / 2;
        if (width_under(table, widths, numbers_too, middle) <= width)
            low = middle;
        else
            high = middle - 1;
    }
    size_t total = width_under(table, widths, numbers_too, low);
    for (size_t i = 0; i < table->column_count; i++) {
        if (widths[i] <= low || !may_shrink(&table->columns[i], numbers_too))
            continue;
        bool spare = total < width; /* what rounding left over goes to the first ones */
        widths[i] = low + spare;
        total += spare;
    }
}

static void measure(const struct table_printer *table, const struct table_style *style, size_t *widths)
{
    size_t columns = table->column_count;
    for (size_t i = 0; i < columns; i++)
        widths[i] = shown_width(table->columns[i].title, strlen(table->columns[i].title));
    for (size_t i = 0; i < table->cell_count; i++) {
        struct slice cell = cell_at(table, i);
        size_t width = shown_width(cell.text, cell.len);
        if (width > widths[i % columns])
            widths[i % columns] = width;
    }
    for (size_t i = 0; i < columns; i++)
        if (table->columns[i].max_width > 0)
            widths[i] = smaller(widths[i], table->columns[i].max_width);
    if (style->width > 0) {
        shrink(table, widths, style->width, false, COMFORTABLE);
        shrink(table, widths, style->width, true, 1);
    }
}

static void add_blanks(struct buf *out, size_t count)
{
    while (count-- > 0 && !out->failed)
        buf_addc(out, ' ');
}

static void add_line(const struct table_printer *table, const size_t *widths, const struct slice *cells,
                     struct buf *out)
{
    size_t blanks = 0; /* due before the next text, so that none end the line */
    for (size_t i = 0; i < table->column_count; i++) {
        size_t width = smaller(shown_width(cells[i].text, cells[i].len), widths[i]);
        size_t padding = widths[i] - width;
        bool right = table->columns[i].align == TABLE_RIGHT;
        blanks += (i > 0 ? GAP : 0) + (right ? padding : 0);
        if (width > 0) {
            size_t start = out->len;
            add_blanks(out, blanks);
            size_t text_start = out->len;
            add_shown(out, cells[i].text, cells[i].len, widths[i], false);
            /* A wide character that did not fit leaves a column. */
            size_t shown = out->failed || out->len < start
                               ? width
                               : text_display_width(out->data + text_start, out->len - text_start);
            blanks = (right ? 0 : padding) + (width > shown ? width - shown : 0);
        } else {
            blanks += right ? 0 : padding;
        }
    }
}

static void add_plain(const struct table_printer *table, struct buf *out)
{
    size_t rows = table_row_count(table);
    for (size_t i = 0; i < rows * table->column_count && !out->failed; i++) {
        struct slice cell = cell_at(table, i);
        add_shown(out, cell.text, cell.len, SIZE_MAX, true);
        buf_addc(out, (i + 1) % table->column_count == 0 ? '\n' : '\t');
    }
}

enum err_code table_print(const struct table_printer *table, const struct table_style *style, struct buf *out,
                          struct err *err)
{
    size_t columns = table->column_count;
    enum err_code code = buf_status(&table->text, "the table", err);
    if (code == ERR_NONE)
        code = buf_status(&table->ends, "the table", err);
    if (code != ERR_NONE)
        return code;
    if (style->plain) {
        add_plain(table, out);
        return buf_status(out, "the table", err);
    }
    size_t *widths = mem_alloc(columns * sizeof *widths);
    struct slice *cells = mem_alloc(columns * sizeof *cells);
    if (widths == NULL || cells == NULL) {
        code = err_nomem(err);
        goto done;
    }
    measure(table, style, widths);
    for (size_t i = 0; i < columns; i++)
        cells[i] = (struct slice){table->columns[i].title, strlen(table->columns[i].title)};
    buf_adds(out, style->colour ? "\x1b[1m" : "");
    add_line(table, widths, cells, out);
    buf_adds(out, style->colour ? "\x1b[0m\n" : "\n");
    size_t rows = table_row_count(table);
    for (size_t row = 0; row < rows && !out->failed; row++) {
        for (size_t i = 0; i < columns; i++)
            cells[i] = cell_at(table, row * columns + i);
        add_line(table, widths, cells, out);
        buf_addc(out, '\n');
    }
    code = buf_status(out, "the table", err);
done:
    mem_free(widths);
    mem_free(cells);
    return code;
}
