/* Running syncs in this process, with progress, Ctrl-C and a summary: what workers run and workers sync
 * trigger share. */
#ifndef WORKERS_CLI_RUN_SYNCS_H
#define WORKERS_CLI_RUN_SYNCS_H

#include "cli/cli.h"

/* key NULL runs every sync. script NULL is the project's main script. Options are read from args: --preview,
 * --allow-deletes, --plain, --json, --context (of a preview of one page). Returns the exit code. */
int cli_run_syncs(const struct cli_args *args, const char *script, const char *key);

#endif
