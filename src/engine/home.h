/* The home: a folder with the workers that were deployed to it, and what they share. Each worker is a folder
 * there by its name; .workers is the home's own store, with its tokens and shared variables.
 *
 * Who owns what: nothing is kept. */
#ifndef WORKERS_ENGINE_HOME_H
#define WORKERS_ENGINE_HOME_H

#include "base/err.h"
#include "worker/config.h"

#define HOME_VARIABLE "WORKERS_HOME"
#define HOME_PATH_MAX 4096

/* That of this user: WORKERS_HOME, or workers below XDG_DATA_HOME, which is ~/.local/share. */
enum err_code home_folder(char out[HOME_PATH_MAX], struct err *err) MUST_CHECK;
/* The folder of a worker, whether it is there or not. ERR_INVALID: no such name can be. */
enum err_code home_worker(const char *home, const char *name, char out[HOME_PATH_MAX],
                          struct err *err) MUST_CHECK;
/* The same for one that is there; ERR_NOT_FOUND. */
enum err_code home_find(const char *home, const char *name, char out[HOME_PATH_MAX],
                        struct err *err) MUST_CHECK;

/* Makes the home when it is not there, for its owner only. */
enum err_code home_make(const char *home, struct err *err) MUST_CHECK;
/* A worker without anything in it, and the home if there is none. ERR_CONFLICT: there is one. Starts another
 * process, see deploy_apart. */
enum err_code home_create(const char *home, const char *name, struct err *err) MUST_CHECK;
/* What it has stays; addresses that have its name change. */
enum err_code home_rename(const char *home, const char *name, const char *to, struct err *err) MUST_CHECK;
/* Its folder is moved to .deleted in the home; moved_to says under which name. */
enum err_code home_delete(const char *home, const char *name, char moved_to[HOME_PATH_MAX],
                          struct err *err) MUST_CHECK;

typedef enum err_code (*home_fn)(void *ctx, const char *name, const char *folder);
/* By name. A home that is not there has none. */
enum err_code home_each(const char *home, home_fn each, void *ctx, struct err *err) MUST_CHECK;

#endif
