/* Reads a worker as a careful reviewer would (scripts/lint.lua).
 *
 * Who owns what: nothing is kept; the runtime stays the caller's. */
#ifndef WORKERS_CLI_LINT_H
#define WORKERS_CLI_LINT_H

#include "base/err.h"
#include "engine/runtime.h"

#include <stdbool.h>

struct lint_counts {
    int errors, warnings, notes;
};

/* Prints what there is to say about the main script and the modules of the project that it requires: lines,
 * or JSON.
 */
enum err_code lint_print(struct runtime *runtime, bool as_json, struct lint_counts *counts,
                         struct err *err) MUST_CHECK;

#endif
