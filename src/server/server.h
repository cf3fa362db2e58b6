/* One process of `workers serve`: its loop, its projects, its HTTP server.
 *
 * Who owns what: everything belongs to server_run. */
#ifndef WORKERS_SERVER_SERVER_H
#define WORKERS_SERVER_SERVER_H

#include "base/err.h"
#include "server/supervisor.h"

#include <stdbool.h>
#include <stddef.h>

struct server_options {
    const char *const *folders; /* of the projects */
    size_t folder_count;
    const char *code;                  /* see hosting.h; NULL for none, as what follows */
    const char *home;                  /* see hosting.h; NULL for none */
    int listen_fd;                     /* a listening socket; -1: no HTTP */
    const char *url;                   /* how it is reached: "http://127.0.0.1:8321" */
    const unsigned char *views_secret; /* see front.h */
    int64_t concurrency;
    bool watch;
    int processes; /* of this server */
    bool json;     /* log lines as JSON */
};

/* Until SIGTERM or SIGINT; SIGHUP loads the projects anew. Returns the exit code, SUPERVISOR_CANNOT_START
 * with a message on stderr when a project cannot be loaded. */
int server_run(const struct server_options *options, int index, struct pulse *pulse);

#endif
