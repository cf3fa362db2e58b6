/* Tables for a terminal: aligned for people, tab-separated for programs. Must not pass control characters on,
 * so that data cannot drive the terminal.
 *
 * Who owns what: the table copies its cells and keeps them until table_free; the columns stay the caller's
 * and must outlive it. */
#ifndef WORKERS_BASE_TABLE_H
#define WORKERS_BASE_TABLE_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define TABLE_BYTES_MAX ((size_t)1 << 30) /* of all cells together */

enum table_align {
    TABLE_LEFT,
    TABLE_RIGHT, /* for numbers: cut only when nothing else is left to cut */
};

struct table_column {
    const char *title;
    enum table_align align;
    size_t max_width; /* terminal columns, also for the title; 0 = as wide as its widest cell */
};

struct table_printer {
    const struct table_column *columns;
    size_t column_count; /* at least 1 */
    struct buf text;     /* the cells one after the other */
    struct buf ends;     /* size_t each: where each cell ends */
    size_t cell_count;
};

struct table_style {
    bool plain;   /* one line a row, cells separated by tabs, no header, nothing cut */
    bool colour;  /* header in bold */
    size_t width; /* of the terminal; 0 = unknown: lines get as long as they need */
};

/* Allocates nothing. */
void table_init(struct table_printer *table, const struct table_column *columns, size_t column_count);
void table_free(struct table_printer *table);

/* Appends the next cell; a row is full after as many as there are columns. Failures show in table_print. */
void table_cell(struct table_printer *table, const char *text, size_t len);
void table_cells(struct table_printer *table, const char *text); /* NUL-terminated; NULL is an empty cell */
void table_cellf(struct table_printer *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
size_t table_row_count(const struct table_printer *table);

/* Appends the table to out, each line with a line feed, without trailing blanks; a row that was not filled
 * gets empty cells. In cells a line feed shows as U+21B5 (plain: a space), other controls, marks that turn
 * the direction of writing, and bytes that are not UTF-8 as \t, \r, \x1b or \u202e. What is too long ends in
 * U+2026. ERR_NOMEM, or ERR_LIMIT when out or the cells reached their maximum. */
enum err_code table_print(const struct table_printer *table, const struct table_style *style, struct buf *out,
                          struct err *err) MUST_CHECK;

#endif
