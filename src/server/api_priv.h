/* What the files of the API share. */
#ifndef WORKERS_SERVER_API_PRIV_H
#define WORKERS_SERVER_API_PRIV_H

#include "base/buf.h"
#include "base/json.h"
#include "engine/call.h"
#include "server/api.h"

#define API_PARAMETERS 2

struct api_call {
    struct api *api;
    struct http_call *call; /* NULL when the client has left */
    const struct route *route;
    struct service *service;
    const struct capability *capability; /* of routes that name one */
    char *parameters[API_PARAMETERS];    /* of the path after the worker, decoded */
    char *query, *body;
    size_t body_len;
    struct job job;
    struct call *tool;
    struct service_intake intake;
    char lane[JOB_LANE_SIZE];
    int status;       /* of the answer */
    const char *type; /* its content type; NULL for JSON */
    struct buf out;   /* JSON */
    enum err_code code;
    struct err err;
};

enum route_kind {
    ROUTE_STORE, /* work, on the store's thread */
    ROUTE_START, /* start, on the loop's, which answers later */
};

struct route {
    const char *method, *path; /* after /workers/{worker}: "/syncs/{key}/trigger"; "" for the worker itself */
    enum token_scope scope;
    enum route_kind kind;
    int capability; /* kind of the capability that {key} names, -1 for any, -2 for none */
    const char *id, *summary;
    const char *query; /* parameters: "limit:integer key:string" */
    const char *body;  /* JSON Schema of the body; NULL for none */
    int success;       /* status */
    void (*work)(struct api_call *call, struct store *store);
    void (*start)(struct api_call *call);
};

extern const struct route api_routes[]; /* ends with a NULL method */

/* The value of a query parameter, decoded into out; false when it is not there, and when it is too long or no
 * text, which the call then fails with. */
bool api_query(struct api_call *call, const char *name, char *out, size_t size);
/* A member of the body, which is an object; false when it is not there. */
bool api_body_member(const struct api_call *call, const char *name, struct json_slice *out);
/* Answers and frees the call: with its out, or with its error. */
void api_finish(struct api_call *call);

#endif
