/* Trying a sync without changing anything: one execute in a dry run, here or on a server.
 *
 * Who owns what: answers go to the caller's buffer. */
#ifndef WORKERS_CLI_PROBE_H
#define WORKERS_CLI_PROBE_H

#include "cli/target.h"

#define PROBE_TIMEOUT_MS 60000

/* state: JSON; NULL for none. Appends how it ended, as POST …/exec answers. */
enum err_code probe_sync(struct target *target, const char *key, const struct json_slice *state,
                         struct buf *answer, struct err *err) MUST_CHECK;

#endif
