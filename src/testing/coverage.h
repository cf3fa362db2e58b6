/* Which lines of a project's own Lua files have run. One thread, that of the scripts.
 *
 * Who owns what: everything belongs to this file and lives until coverage_write, at the end of the process.
 */
#ifndef WORKERS_TESTING_COVERAGE_H
#define WORKERS_TESTING_COVERAGE_H

#include <stdio.h>

/* From now on the lines that scripts run are noted. */
void coverage_start(void);
/* One line for each file of the project: its path, a tab, the numbers of the lines that have run, with blanks
 * between them. Forgets them. */
void coverage_write(FILE *out);

#endif
