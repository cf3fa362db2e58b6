/* An HTTP/1.1 server on the event loop, over libmicrohttpd. Knows nothing of routes, tokens or what is
 * served.
 *
 * Who owns what: the server owns its connections and calls. A call, one request and its answer, is lent to
 * the callbacks from begin or request until it is answered; what the accessors return lives as long. The
 * loop's thread only.
 *
 * Malformed requests, those that are too large and those that take too long never reach request. */
#ifndef WORKERS_NET_HTTP_SERVER_H
#define WORKERS_NET_HTTP_SERVER_H

#include "base/err.h"
#include "net/http_headers.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct http_server;
struct http_call;

struct http_server_options {
    int listen_fd;       /* a listening socket (net/http_listen.h); other processes may share it */
    size_t header_max;   /* bytes of the request line and headers: 431 above */
    size_t body_max;     /* bytes of a body: 413 above. begin may set another for its call */
    size_t bodies_max;   /* bytes of all bodies at once; above, those of more than 64 KiB get 503 */
    unsigned request_ms; /* a connection without a whole request for so long is closed, idle or dripping */

    /* One more, and the one that has been without a whole request, or has not read its answer, longest is
     * closed. */
    size_t connections_max;

    /* The headers are there. May answer at once, or set the largest body. NULL for none. */
    void (*begin)(void *ctx, struct http_call *call);
    /* The body is there. Answers now, or later from the loop. Not called when begin has answered. */
    void (*request)(void *ctx, struct http_call *call);
    /* The call ends without an answer of the callbacks: the connection is gone, or the body was too large.
     * The call is no more when this returns. It may come late: nobody listens to a client while its answer
     * is being made. */
    void (*gone)(void *ctx, struct http_call *call);
    void *ctx;
};

struct http_server_counts {
    size_t connections; /* open now */
    uint64_t accepted;  /* connections, ever */
    uint64_t requests;  /* that reached begin */
    uint64_t too_slow;  /* requests that were begun and dropped */
    uint64_t evicted;   /* connections closed to make room for others */
};

/* Serves until it is stopped or freed. Raises the process's soft limit of open files to the hard one, and
 * lowers connections_max if it would still not fit. ERR_NOT_FOUND (no libmicrohttpd), ERR_NOMEM, ERR_IO. */
enum err_code http_server_new(uv_loop_t *loop, const struct http_server_options *options,
                              struct http_server **out, struct err *err) MUST_CHECK;
/* Accepts no more; what is under way is answered. Again does nothing. */
void http_server_stop(struct http_server *server);
/* No request is under way. */
bool http_server_idle(const struct http_server *server);
/* Closes everything; gone is called for what was under way. The memory goes when the loop has run the close
 * callbacks. Not from a callback of its own. NULL is fine. */
void http_server_free(struct http_server *server);
void http_server_get_counts(const struct http_server *server, struct http_server_counts *out);

/* ---- a request ---- */

const char *http_call_method(const struct http_call *call); /* a token, as sent */
const char *http_call_path(const struct http_call *call);   /* as sent; begins with "/" or is "*" */
const char *http_call_query(const struct http_call *call);  /* as sent, without "?"; "" for none */
/* The body so far; complete in request. Never NULL. */
const char *http_call_body(const struct http_call *call, size_t *len);
/* In the order received, duplicates kept, names in lower case, values without control characters. */
size_t http_call_header_count(const struct http_call *call);
const struct http_header *http_call_header_at(const struct http_call *call, size_t index);
/* The value of the first header of that lower-case name, NULL when there is none. */
const char *http_call_header(const struct http_call *call, const char *name);
const char *http_call_peer(const struct http_call *call); /* "192.0.2.1", or "unix" */

/* The connection's socket, which is open as long as the call is; -1 when it is not known. */
int http_call_socket(const struct http_call *call);
/* Whether the peer has hung up. While a call waits for its answer nobody else looks. From any thread. */
bool http_socket_left(int socket);

void http_call_set_user(struct http_call *call, void *user);
void *http_call_user(const struct http_call *call); /* NULL until it is set */
/* In begin only. */
void http_call_set_body_max(struct http_call *call, size_t bytes);

/* ---- its answer ---- */

struct http_answer_field {
    const char *name, *value;
};

/* Answers and ends the call; copies what it is given. status is 200 to 599. Date, Content-Length and
 * Connection are the server's. */
void http_call_answer(struct http_call *call, int status, const struct http_answer_field *fields,
                      size_t count, const void *body, size_t len);

/* An answer whose body comes piece by piece: begun, written any number of times, ended. In between the call
 * is lent as before, and gone tells that the client has left. */
void http_call_begin(struct http_call *call, int status, const struct http_answer_field *fields,
                     size_t count);
/* Copies what it is given. More than HTTP_STREAM_MAX bytes that the client has not read close the connection.
 */
void http_call_write(struct http_call *call, const void *data, size_t len);
void http_call_end(struct http_call *call);
#define HTTP_STREAM_MAX ((size_t)16 * 1024 * 1024)

#endif
