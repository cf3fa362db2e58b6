/* One request of the API: what it asks of a worker, and the answer. It is the same whether it came over HTTP
 * or from the command line of the same machine. Must not know who asks.
 *
 * Who owns what: a request owns its texts and its answer: api_request_free. What it points to is the asker's.
 * One thread at a time. */
#ifndef WORKERS_API_REQUEST_H
#define WORKERS_API_REQUEST_H

#include "api/route.h"
#include "base/buf.h"
#include "base/json.h"
#include "worker/deploy.h"
#include "worker/worker.h"

#define API_PATH_PARTS 2

struct api_request {
    const struct route *route;
    const struct worker *worker; /* NULL for a route that does not need it */
    const char *name;            /* the worker's */
    const char *url;             /* how the server is reached */
    const char *folder;          /* the store's */
    /* Whether nobody waits for the answer any more; NULL: somebody does. From the thread of the work. */
    bool (*left)(const struct api_request *request);
    deploy_fn deploy; /* how it is done */

    const struct capability *capability; /* of routes that name one */
    char *parameters[API_PATH_PARTS];    /* of the path, decoded */
    char *query, *body;
    size_t body_len;

    int status;       /* of the answer, when it went well */
    const char *type; /* its content type; NULL for JSON */
    struct buf out;
    enum err_code code;
    struct err err;
};

/* What is asked, as it came in: nothing is decoded. */
struct api_asked {
    const char *values[API_PATH_PARTS]; /* of the path; NULL for those there are not */
    size_t lens[API_PATH_PARTS];
    const char *query;
    const char *body;
    size_t body_len;
};

/* Finds the route; the values of its path go to asked. NULL when there is none; known: the path has other
 * methods. path is that after the worker's: "/runs". */
const struct route *api_match(const char *method, const char *path, struct api_asked *asked, bool *known);

/* Copies and checks what is asked. The request's route, worker, name and url are set. A failure is in the
 * request's code and err; it is to be freed all the same. */
enum err_code api_request_read(struct api_request *request, const struct api_asked *asked) MUST_CHECK;
/* The work of its route, for those that have some. store is NULL for one that reads by itself. */
void api_request_work(struct api_request *request, struct store *store);
void api_request_free(struct api_request *request);

#endif
