/* Pages for man, from the table of commands.
 *
 * Who owns what: the text goes to the caller's buffer. */
#ifndef WORKERS_CLI_MAN_H
#define WORKERS_CLI_MAN_H

#include "cli/cli.h"

/* Appends the page of the program, workers(1), with all commands; or of one command, workers-sync-status(1).
 * In the macros of man(7). */
void man_write_all(struct buf *out);
void man_write_command(const struct command *command, struct buf *out);

#endif
