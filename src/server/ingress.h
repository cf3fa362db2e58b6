/* Taking webhooks in: POST /webhooks/{worker}/{secret}/{key} is answered 202 when it is on the disk.
 *
 * Who owns what: a request under way owns itself until it has been answered and stored; the service is held
 * so long. The loop's thread only. */
#ifndef WORKERS_SERVER_INGRESS_H
#define WORKERS_SERVER_INGRESS_H

#include "net/http_server.h"
#include "server/hosting.h"

#define INGRESS_PATH "/webhooks/"
#define INGRESS_BODY_MAX ((size_t)25 * 1024 * 1024) /* GitHub's largest payload */

struct ingress_counts {
    int64_t accepted, repeated, refused, limited, failed;
};

struct ingress {
    struct hosting *hosting;
    void (*say)(void *ctx, const char *worker, const char *key, const char *level, const char *text,
                size_t len);
    void *ctx;
    struct ingress_counts counts;
    int64_t failure_said_ms; /* monotonic */
};

void ingress_request(struct ingress *ingress, struct http_call *call);
/* The client left before its answer. */
void ingress_gone(struct http_call *call);

#endif
