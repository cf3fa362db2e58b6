/* The HTTP API: /api/v1/… Routes are one table, from which requests are matched, tokens checked and the
 * OpenAPI description is written.
 *
 * Who owns what: a request under way owns itself; its service is held so long. The loop's thread only, but
 * for a route's work. */
#ifndef WORKERS_SERVER_API_H
#define WORKERS_SERVER_API_H

#include "net/http_server.h"
#include "server/hosting.h"

#define API_PATH "/api/v1"

struct api {
    struct hosting *hosting;
    const char *url; /* how the server is reached */
};

/* Whether the path is the API's; then it is answered. */
bool api_request(struct api *api, struct http_call *call);
/* The client left before its answer. */
void api_gone(struct http_call *call);
/* The OpenAPI 3.1 description. */
void api_describe(const struct api *api, struct buf *out);

#endif
