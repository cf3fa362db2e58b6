/* Running syncs in this process, with progress, Ctrl-C and a summary: what workers run and workers sync
 * trigger share. */
#ifndef WORKERS_CLI_RUN_SYNCS_H
#define WORKERS_CLI_RUN_SYNCS_H

#include "cli/listing.h"

/* key NULL runs every sync. script NULL is the project's main script. Options are read from args: --preview,
 * --allow-deletes, --plain, --json, --context (of a preview of one page). Returns the exit code. */
int cli_run_syncs(const struct cli_args *args, const char *script, const char *key);

/* What becomes of syncs: {"key", "result", "added", …, "durationMs"} each. */
extern const struct listing cli_summary;
/* Prints what execute returned, with its state as nextContext. */
void cli_print_preview(const char *json, size_t len);
/* Its key, why, and its key again. */
#define CLI_HELD                                                                                             \
    "held: sync \"%s\": %s. If it is right, let it through with: workers sync trigger %s --allow-deletes"

#endif
