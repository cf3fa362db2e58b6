/* Sample rows of views.
 *
 * Who owns what: nothing is kept. */
#ifndef WORKERS_CLI_VIEW_SAMPLE_H
#define WORKERS_CLI_VIEW_SAMPLE_H

#include "engine/runtime.h"

/* Puts the rows of the view's sample.json, in the folder code, into the runtime's store, and takes out what
 * it has not; made-up ones for a data source that is not in it. said: of each database of the worker the
 * number of the view, from 1, whose file says its rows, 0 for none; made-up ones of another view do not
 * replace them. An error names the file, and what is wrong. */
enum err_code view_sample_fill(struct runtime *runtime, const char *code, const struct view *view,
                               size_t said[], struct err *err) MUST_CHECK;

#endif
