/* Reads a worker as a careful reviewer would (scripts/lint.lua).
 *
 * Who owns what: nothing is kept; the runtime stays the caller's. */
#ifndef WORKERS_CLI_LINT_H
#define WORKERS_CLI_LINT_H

#include "base/err.h"
#include "engine/runtime.h"

#include <stdbool.h>

struct lint_options {
    bool as_json; /* instead of lines */
    bool fix;     /* mend what can be mended for certain, in the files, before the rest is said */
};

struct lint_counts {
    int errors, warnings, notes; /* that are left */
    int fixed;
};

/* Prints what there is to say about the main script and the modules of the project that it requires. A file
 * that cannot be written is an error; what was fixed until then is printed. */
enum err_code lint_print(struct runtime *runtime, const struct lint_options *options,
                         struct lint_counts *counts, struct err *err) MUST_CHECK;

#endif
