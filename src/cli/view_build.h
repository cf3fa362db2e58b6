/* Building the views of a project: each by its own command, on this machine.
 *
 * Who owns what: nothing is kept. */
#ifndef WORKERS_CLI_VIEW_BUILD_H
#define WORKERS_CLI_VIEW_BUILD_H

#include "engine/project.h"

/* Looks whether the files that it begins with are there. code is where the project's files are. */
enum err_code view_check(const char *code, const struct view *view, struct err *err) MUST_CHECK;
/* Runs the command in the view's folder; it writes to stderr. A static view needs none. An error says what
 * failed, or what is not there after it. */
enum err_code view_build(const char *code, const struct view *view, struct err *err) MUST_CHECK;

#endif
