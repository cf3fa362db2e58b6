/* The differences that a preview would make, collected on the store's thread and printed afterwards. */
#ifndef WORKERS_CLI_DIFF_H
#define WORKERS_CLI_DIFF_H

#include "cli/cli.h"
#include "store/store.h"

#define DIFF_MAX_BYTES ((size_t)64 * 1024 * 1024)

struct diff {
    struct diff_sink sink;
    struct buf text; /* for people */
    struct buf json; /* elements of a JSON array */
    bool in_row;     /* the JSON of a row is open */
    int64_t properties;
    bool color;
};

void diff_init(struct diff *diff);
void diff_free(struct diff *diff);
/* Ends the row in hand; call it before reading text or json. */
void diff_finish(struct diff *diff);

#endif
