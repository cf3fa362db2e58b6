/* How commands find the server that serves a project: a file in the project's .workers folder, for its owner
 * only.
 */
#ifndef WORKERS_SERVER_BEACON_H
#define WORKERS_SERVER_BEACON_H

#include "base/err.h"

#include <stddef.h>

#define BEACON_URL_MAX 512

/* Writes the file into folder/.workers, which is there. url is how the server is reached. */
enum err_code beacon_write(const char *folder, const char *url, struct err *err) MUST_CHECK;
/* The url of the server; ERR_NOT_FOUND when none runs, or the one that wrote the file is gone. */
enum err_code beacon_read(const char *folder, char url[BEACON_URL_MAX], struct err *err) MUST_CHECK;

#endif
