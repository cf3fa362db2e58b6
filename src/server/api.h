/* The API over HTTP: /api/v1/…, see api/route.h.
 *
 * Who owns what: a request under way owns itself; its service is held so long. The loop's thread only, but
 * for a route's work. */
#ifndef WORKERS_SERVER_API_H
#define WORKERS_SERVER_API_H

#include "net/http_server.h"
#include "server/hosting.h"

struct api_call;

struct api {
    struct hosting *hosting;
    uv_loop_t *loop;
    const char *url;               /* how the server is reached */
    int changing;                  /* changes to the home in the pool; zero at first, as what follows */
    int reading;                   /* requests in the pool */
    struct api_call *first, *last; /* those that wait for it */
};

/* Whether the path is the API's; then it is answered. */
bool api_answer(struct api *api, struct http_call *call);
/* The client left before its answer. */
void api_gone(struct http_call *call);

void api_answer_err(struct http_call *call, enum err_code code, const struct err *err);
/* The bearer token of a request; NULL when there is none. */
const char *api_bearer(const struct http_call *call, size_t *len);
typedef void (*api_told_fn)(void *ctx, enum err_code code, const char *json, size_t len,
                            const struct err *err);
/* Asks for what a GET of the path (after the worker's) answers. told is called once, now or later, from the
 * loop. */
void api_ask(struct api *api, struct service *service, const char *path, api_told_fn told, void *ctx);

#endif
