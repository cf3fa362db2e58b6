/* What the server answers over HTTP: which path belongs to whom.
 *
 * Who owns what: the front owns its HTTP server; the hosting outlives it. The loop's thread only. */
#ifndef WORKERS_SERVER_FRONT_H
#define WORKERS_SERVER_FRONT_H

#include "server/ingress.h"

struct front;

struct front_options {
    uv_loop_t *loop;
    struct hosting *hosting;
    int listen_fd;
    const char *url;                   /* how the server is reached */
    const unsigned char *views_secret; /* VIEWS_SECRET_SIZE bytes, the same in all processes of the server */
    void (*say)(void *ctx, const char *worker, const char *key, const char *level, const char *text,
                size_t len);
    void *ctx;
};

enum err_code front_new(const struct front_options *options, struct front **out, struct err *err) MUST_CHECK;
/* Accepts no more; answers what is under way. */
void front_stop(struct front *front);
/* A worker has been loaded anew: whoever listens is told. */
void front_changed(struct front *front, const char *worker);
bool front_is_idle(const struct front *front);
void front_free(struct front *front);

#endif
