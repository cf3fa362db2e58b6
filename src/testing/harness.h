/* Runs one file of tests against the worker of a project: a store in memory, a clock that the tests move, no
 * network.
 *
 * Who owns what: a run owns all that it opens and releases it before it returns. It puts the process over to
 * virtual time, so a process runs one file. */
#ifndef WORKERS_TESTING_HARNESS_H
#define WORKERS_TESTING_HARNESS_H

#include "base/err.h"
#include "worker/config.h"

#include <stdbool.h>
#include <stdio.h>

struct harness_options {
    const char *folder; /* of the project */
    const char *script; /* its main script */
    const struct config *config;
    const char *file;   /* the tests; absolute */
    const char *filter; /* only tests whose names contain it; NULL for all */
    bool record;        /* recordings are made anew, with real requests */
    FILE *coverage;     /* gets the lines that ran (testing/coverage.h); NULL when nobody asks */
    FILE *out;          /* gets the results: TAP 14, the lines of a subtest without their indentation */
};

/* How many tests failed; a file that cannot be run is one failure. */
int harness_run(const struct harness_options *options);

#endif
