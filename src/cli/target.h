/* The worker that a command is about, as the API sees it: the project's own store, or a server. A command
 * asks for the same JSON of both.
 *
 * Who owns what: whoever opens a target closes it. */
#ifndef WORKERS_CLI_TARGET_H
#define WORKERS_CLI_TARGET_H

#include "cli/cli.h"
#include "cli/remote.h"
#include "server/beacon.h"

struct target {
    struct project project;
    struct runtime *runtime; /* NULL until somebody needs the script */
    struct store *store;     /* NULL until somebody needs it */
    bool has_tables;
    struct remote *remote; /* NULL: the project's own store */
    struct buf root;       /* of a server: the path of the worker, "/workers/shop" */
    char name[CONFIG_NAME_MAX + 1], url[BEACON_URL_MAX], folder[4200];
    char home[4096];                  /* of target_open_deployed, for this machine */
    struct script_error script_error; /* why the script could not be loaded */
};

/* The project of this folder; or the server of --server, of WORKERS_SERVER, or of its workers.yaml. Says what
 * is wrong; returns the exit code, and nothing is open unless it is EXIT_DONE. */
int target_open(const struct cli_args *args, struct target *out);
/* The worker of that name in the home: of this user, or of the server as above. Whether it is there is not
 * looked at. */
int target_open_deployed(const struct cli_args *args, const char *name, struct target *out);
/* What no worker is asked but the server: path as in "/workers". For a target with a server. */
enum err_code target_ask_server(struct target *target, const char *method, const char *path,
                                const struct buf *body, struct buf *answer, struct err *err) MUST_CHECK;
void target_close(struct target *target);

struct question {
    const char *method;
    const struct buf *path; /* after the worker, with its query: "/runs?limit=5" */
    const struct buf *body; /* JSON; NULL for none */
    uint64_t timeout_ms;    /* for a server; 0 is REMOTE_TIMEOUT_MS */
};
/* Appends the answer, which is JSON. What the question holds may be buffers that have failed: it is not asked
 * then.
 */
enum err_code target_ask(struct target *target, const struct question *question, struct buf *answer,
                         struct err *err) MUST_CHECK;
/* Loads the project's script. */
enum err_code target_load(struct target *target, struct err *err) MUST_CHECK;
/* Says why something failed, with the traceback of a script that could not be loaded. The exit code. */
int target_fail(const struct target *target, const struct err *err);

/* The same for GET. */
enum err_code target_get(struct target *target, const struct buf *path, struct buf *answer,
                         struct err *err) MUST_CHECK;

/* Opens, asks and closes. answer may be NULL. The exit code; what is wrong has been said. */
int cli_ask(const struct cli_args *args, const struct question *question, struct buf *answer);

/* Makes a path: base, then "/" and a part that may be anything, then the rest. The last two may be NULL. */
void path_make(struct buf *path, const char *base, const char *part, const char *rest);
/* Appends a parameter of the query, the first with "?". value NULL: nothing. */
void path_query(struct buf *path, const char *name, const char *value);

#endif
