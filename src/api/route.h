/* The routes of the API: one table, from which requests are matched and checked, and the OpenAPI description
 * is written. */
#ifndef WORKERS_API_ROUTE_H
#define WORKERS_API_ROUTE_H

#include "store/store.h"

struct api_request;

#define API_ROOT "/api/v1"

enum route_kind {
    ROUTE_STORE,   /* work, alone with the store */
    ROUTE_READ,    /* work, without the store: it reads on a connection of its own, as it may take a while */
    ROUTE_CALL,    /* calls the capability with the body; its result is the answer */
    ROUTE_EXEC,    /* the same, and how it ended is the answer: see call_describe */
    ROUTE_DELIVER, /* the body becomes a delivery to the capability */
    ROUTE_HOME,    /* about the worker's place in the home; for servers only */
    /* Of the access that {key} names: see engine/oauth_access.h. */
    ROUTE_ACCESS_START,
    ROUTE_ACCESS_LOOK, /* at the request {id} */
    ROUTE_ACCESS_REVOKE,
};

/* What a route that is no call needs besides a store that is there. */
enum {
    ROUTE_WORKER = 1,  /* what the script declares */
    ROUTE_TABLES = 2,  /* and the tables made for it */
    ROUTE_MAKES = 4,   /* a store is made if there is none */
    ROUTE_BARE = 8,    /* it works without: store is NULL then */
    ROUTE_WRITES = 16, /* in one transaction, on the disk when it is answered */
};

#define ROUTE_NONE (-2) /* no capability */

struct route {
    const char *method, *path; /* after /workers/{worker}: "/syncs/{key}/trigger"; "" for the worker itself */
    enum token_scope scope;
    enum route_kind kind;
    int capability; /* kind of the capability that {key} names; CAPABILITY_ANY, ROUTE_NONE */
    unsigned needs;
    const char *id, *summary;
    const char *query; /* parameters: "limit:integer key:string" */
    const char *body;  /* JSON Schema of the body; NULL for none */
    int success;       /* status */
    void (*work)(struct api_request *request, struct store *store); /* of ROUTE_STORE and ROUTE_READ */
};

/* Whether it is about variables, tokens or the key, which the home has as well. */
bool api_is_shared(const struct route *route);
/* The nth, from 0; NULL after the last. */
const struct route *api_route(size_t n);
/* Appends the OpenAPI 3.1 description of a server that is reached at url. */
void api_describe(const char *url, struct buf *out);

#endif
