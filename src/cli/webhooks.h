/* What the commands about webhooks share: the project with its store, and the addresses of its webhooks.
 *
 * Who owns what: whoever opens a struct webhooks_project closes it. */
#ifndef WORKERS_CLI_WEBHOOKS_H
#define WORKERS_CLI_WEBHOOKS_H

#include "cli/cli.h"
#include "store/store.h"

struct webhooks_project {
    struct project project;
    struct runtime *runtime;
    struct store *store;
};

/* The project of the current folder, with a store that is made if it is not there. Returns an exit code; what
 * is wrong has been said, and there is nothing to close, unless it is EXIT_DONE. */
int webhooks_open(struct webhooks_project *project);
void webhooks_close(struct webhooks_project *project);

/* NULL when there is none of this key; err says so. */
const struct capability *webhooks_find(const struct webhooks_project *project, const char *key,
                                       struct err *err);

/* Appends the address of a webhook; base is how the server is reached. */
void webhooks_add_address(const struct webhooks_project *project, const struct capability *webhook,
                          const char *base, const struct endpoint *endpoint, struct buf *out);

#endif
