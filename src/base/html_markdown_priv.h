/* What the files that write HTML as Markdown share: the writer and what it has open.
 *
 * Who owns what: the buffers are those of struct html; texts that must last are in its arena. */
#ifndef WORKERS_BASE_HTML_MARKDOWN_PRIV_H
#define WORKERS_BASE_HTML_MARKDOWN_PRIV_H

#include "base/html_priv.h"
#include "base/markdown.h"

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

struct writer {
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

/* ---- html_markdown_inline.c ---- */

/* All that is open, the document first. There is always one. */
struct container *writer_containers_of(const struct writer *writer, size_t *count);
struct container *writer_innermost(const struct writer *writer);
void writer_push_container(struct writer *writer, const struct container *container);
void writer_pop_container(struct writer *writer);

/* What the containers put before a line; and its end, without spaces before it. */
void writer_begin_line(struct writer *writer);
void writer_end_line(struct writer *writer);
void writer_line(struct writer *writer, const char *text, size_t len);
/* Before a block's first line: the blank line, if one is due. */
void writer_begin_block(struct writer *writer, enum block block);

/* The run as text in writer->text. False when there is none. Formats go on in the next. */
bool writer_take_run(struct writer *writer, enum markdown_place place);
/* Between blocks, wherever they are. */
void writer_end_inline(struct writer *writer);
void writer_break_line(struct writer *writer);
/* format->element is what ends it. */
void writer_begin_format(struct writer *writer, const struct format *format);
void writer_end_format(struct writer *writer, const GumboNode *element);
void writer_begin_link(struct writer *writer, const GumboNode *element);
void writer_add_image(struct writer *writer, const GumboNode *element);

/* A copy that lasts as long as the tree; NULL when memory is out. */
const char *writer_keep(struct writer *writer, const char *text, size_t len);

/* From here on text is collected as it is in writer->text, until one of the two below. */
void writer_begin_verbatim(struct writer *writer, const GumboNode *element);
void writer_end_code_span(struct writer *writer);
void writer_end_code_block(struct writer *writer, const GumboNode *pre);

/* ---- html_markdown_table.c ---- */

/* First walk: which tables are tables. */
enum err_code writer_find_shapes(struct html *html, const GumboNode *root, struct err *err) MUST_CHECK;

/* To be called for each table in the order of the text. Sets writer->table unless the table lays out a page.
 */
void writer_begin_table(struct writer *writer, const GumboNode *element);
void writer_end_cell(struct writer *writer, const GumboNode *element);
void writer_end_row(struct writer *writer);
void writer_end_table(struct writer *writer);

#endif
