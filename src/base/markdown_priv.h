/* What the files of base/markdown share. */
#ifndef WORKERS_BASE_MARKDOWN_PRIV_H
#define WORKERS_BASE_MARKDOWN_PRIV_H

#include "base/markdown.h"

/* Escapes a piece of one line, which has no line end in it. */
void markdown_escape_line(struct buf *out, const char *text, size_t len, bool line_start);

#endif
