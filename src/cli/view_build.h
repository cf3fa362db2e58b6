/* Building the views of a project: each by its own command, on this machine.
 *
 * Who owns what: nothing is kept. */
#ifndef WORKERS_CLI_VIEW_BUILD_H
#define WORKERS_CLI_VIEW_BUILD_H

#include "engine/project.h"

#include <signal.h>

/* Looks whether the files that it begins with are there. code is where the project's files are. */
enum err_code view_check(const char *code, const struct view *view, struct err *err) MUST_CHECK;
/* Runs the command in the view's folder; it writes to stderr. A static view needs none. An error says what
 * failed, or what is not there after it. stop: when it becomes true, the command is told to end; NULL for
 * never. */
enum err_code view_build(const char *code, const struct view *view, const volatile sig_atomic_t *stop,
                         struct err *err) MUST_CHECK;

#endif
