/* Views in a browser: the page around a view, and the files of the view itself, which run in a frame that
 * reaches nothing but that page (docs/decisions/0032).
 *
 * Who owns what: nothing is owned; the hosting outlives it. The loop's thread only. */
#ifndef WORKERS_SERVER_VIEWS_H
#define WORKERS_SERVER_VIEWS_H

#include "net/http_server.h"
#include "server/hosting.h"

#define VIEWS_PATH "/views/"
#define VIEWS_SECRET_SIZE 32

struct views {
    struct hosting *hosting;
    unsigned char secret[VIEWS_SECRET_SIZE]; /* of the server: makes the addresses of files */
};

/* Answers a request whose path begins with VIEWS_PATH. */
void views_request(const struct views *views, struct http_call *call);

#endif
