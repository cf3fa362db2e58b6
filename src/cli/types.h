/* Definition files for editors: what every module offers, as LuaCATS annotations that lua-language-server
 * reads; what views can import, in TypeScript.
 *
 * Who owns what: nothing is kept. */
#ifndef WORKERS_CLI_TYPES_H
#define WORKERS_CLI_TYPES_H

#include "base/err.h"

#include <stddef.h>

#define VIEW_TYPES "workers-view.d.ts" /* of what views import */
#define TYPES_FOLDER ".workers/types"  /* in a project; templates/worker/.luarc.json points there */

/* Writes the files into the folder, which is made if it is not there, over those that are. count, which may
 * be NULL, is how many. */
enum err_code types_write(const char *folder, size_t *count, struct err *err) MUST_CHECK;
/* Writes them into TYPES_FOLDER of a project. */
enum err_code types_write_project(const char *project, size_t *count, struct err *err) MUST_CHECK;

#endif
