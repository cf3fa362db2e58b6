/* The HTTP client: libcurl's multi interface on a libuv loop.
 *
 * Who owns what: the client owns every request from http_client_send until its callback has returned or it
 * was cancelled; a response belongs to whoever receives it until http_response_free. One thread only, that of
 * the loop.
 *
 * Redirects, limits and errors are decided here, not in libcurl: each hop is a transfer of its own. */
#ifndef WORKERS_NET_HTTP_CLIENT_H
#define WORKERS_NET_HTTP_CLIENT_H

#include "base/err.h"
#include "net/http_headers.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#define HTTP_TIMEOUT_MS 60000                                /* default of timeout_ms */
#define HTTP_CONNECT_TIMEOUT_MS 10000                        /* default of connect_timeout_ms */
#define HTTP_TIMEOUT_MAX_MS 86400000                         /* greatest value of either: a day */
#define HTTP_MAX_BODY ((size_t)64 * 1024 * 1024)             /* default of max_body, bytes */
#define HTTP_MAX_BODY_LIMIT ((size_t)4 * 1024 * 1024 * 1024) /* its greatest value */
#define HTTP_MAX_REDIRECTS 10                                /* default of max_redirects */
#define HTTP_MAX_REDIRECTS_LIMIT 50
#define HTTP_PER_HOST 32 /* requests under way to one origin */
#define HTTP_TOTAL 256   /* requests under way in all */
#define HTTP_REASON_MAX 256
#define HTTP_MESSAGE_MAX 512

enum http_error {
    HTTP_OK = 0,
    HTTP_ERROR_URL,        /* "url": malformed, or neither http nor https */
    HTTP_ERROR_DNS,        /* "dns": the host name has no address */
    HTTP_ERROR_CONNECT,    /* "connect": nobody answers at the address */
    HTTP_ERROR_TLS,        /* "tls": handshake or certificate */
    HTTP_ERROR_TIMEOUT,    /* "timeout" */
    HTTP_ERROR_RESET,      /* "reset": the peer closed early, the body is truncated */
    HTTP_ERROR_PROTOCOL,   /* "protocol": the answer is not HTTP, or its encoding is broken */
    HTTP_ERROR_TOO_LARGE,  /* "too_large": body or headers passed their maximum */
    HTTP_ERROR_REDIRECT,   /* "redirect": too many, or one that is refused */
    HTTP_ERROR_DENIED,     /* "denied": allow_url or allow_address said no */
    HTTP_ERROR_CREDENTIAL, /* "credential": add_fields had none to give */
    HTTP_ERROR_CANCELLED,  /* "cancelled": never reported by this client; for those who cancel on top of it */
    HTTP_ERROR_NOMEM,      /* "nomem" */
    HTTP_ERROR_INTERNAL,   /* "internal": a mistake of ours, or an answer of libcurl that nobody foresaw */
};

/* The word in quotes above; "ok" for HTTP_OK. Never NULL. */
const char *http_error_code(enum http_error error);

/* Bytes from outside; may hold anything, is checked. text may be NULL when len is 0. */
struct http_slice {
    const char *text;
    size_t len;
};

struct http_field {
    struct http_slice name;
    struct http_slice value;
};

struct http_response;

/* Takes one header field; copies it. False when memory is out. */
typedef bool http_take_field_fn(void *taking, const char *name, const char *value, size_t len);

struct http_request {
    struct http_slice method; /* a token, sent as it is; default "GET". CONNECT is refused */
    /* http or https, at most 64 KiB. Dot segments are resolved as browsers do; path and query have bytes
     * beyond ASCII percent-encoded, a host must be ASCII; spaces and control characters are refused.
     * user:password@ becomes basic authentication */
    struct http_slice url;
    /* Host, User-Agent, Accept and Accept-Encoding replace ours. Content-Length must be the body's;
     * Transfer-Encoding and Upgrade are refused. Duplicates are sent in order */
    const struct http_field *headers;
    size_t header_count;
    struct http_slice body; /* copied. POST, PUT and PATCH without one send Content-Length: 0 */
    bool has_body;          /* sends body even if it is empty */

    uint64_t timeout_ms; /* from the start of connecting to the last byte of the body, redirects included,
                          * waiting in line behind the limits not; 1 to HTTP_TIMEOUT_MAX_MS */
    uint64_t connect_timeout_ms; /* name resolution, TCP and TLS of each hop; same range */
    size_t max_body;             /* bytes after decoding, 0 to HTTP_MAX_BODY_LIMIT */
    unsigned max_redirects;      /* 0 returns the redirect itself; at most HTTP_MAX_REDIRECTS_LIMIT */

    struct http_slice user, password; /* basic authentication when user.text is not NULL */
    bool digest; /* digest authentication instead (RFC 7616): the first request goes without, to be challenged
                  */
    struct http_slice bearer;  /* Authorization: Bearer …, when text is not NULL */
    struct http_slice ca_file; /* PEM file of trusted certificates instead of the system's */
    struct http_slice proxy;   /* "http://host:port"; when empty, the one below or none */
    bool environment_proxy;    /* the one that the environment asks for, see net/proxy.h */

    /* Called before each hop with the host as it will be resolved (lower case, ASCII, IPv6 without
     * brackets), and with each address before connecting to it or reusing a connection to it (behind a proxy
     * that is the proxy's; not for one of the environment, which is trusted to connect where it may). false
     * refuses: fill reason, HTTP_REASON_MAX bytes. Neither may call the client. NULL allows all. */
    bool (*allow_url)(void *ctx, bool tls, const char *host, int port, char *reason);
    bool (*allow_address)(void *ctx, const struct sockaddr *address, char *reason);
    /* Called before each hop, after allow_url: gives fields that go to this host only, in the place of the
     * request's own of the same name. They are not kept. false refuses: fill reason. NULL adds none. */
    bool (*add_fields)(void *ctx, bool tls, const char *host, int port, http_take_field_fn *take,
                       void *taking, char *reason);
    void *allow_ctx; /* of all three; must outlive the request */

    /* For bodies that are not to be collected: on_head gets the answer without its body, as the callee's,
     * when its body begins; on_data its pieces. on_data returns false to have the piece again after
     * http_resume; meanwhile the transfer rests. timeout_ms is then the time between two pieces, and the
     * response at the end has no body. An answer without a body comes to the callback only. Neither may call
     * the client. */
    void (*on_head)(void *ctx, struct http_response *head);
    bool (*on_data)(void *ctx, const char *data, size_t len);
    void *stream_ctx; /* must outlive the request */
};

struct http_response {
    int status;       /* 100 to 999 */
    int http_version; /* 10, 11, 20, 30 */
    struct http_headers
        headers; /* as received: Content-Length and Content-Encoding tell of the encoded body */
    char *body;  /* decoded, NUL-terminated, never NULL */
    size_t body_len;
    char *url; /* of the last hop, without credentials */
    unsigned redirects;
    uint64_t queued_ms; /* spent in line before the start */
    uint64_t total_ms;  /* from the start to the last byte */
};

struct http_failure {
    enum http_error error;
    const char *message; /* one sentence that names the host; never credentials, path or query */
};

struct http_client;
struct http_handle;

/* One hop as it leaves. Everything is valid during the call only. */
struct http_exchange {
    const char *method;
    const char *url; /* without credentials */
    /* The request's own fields. Those that add_fields gave are not among them, but counted. */
    const struct http_field *fields;
    size_t field_count;
    size_t hidden_fields;
    struct http_slice user, password, bearer; /* as they go to this host; text NULL for none */
    struct http_slice body;
    uint64_t timeout_ms;
    bool stream; /* the body of the answer is read piece by piece */
};

/* Somebody in the place of the network, for tests. What is checked before a request leaves has been checked
 * before; the answer goes the way of every answer: redirects, limits and streams are as they are. Neither
 * function may call the client. */
struct http_stand_in {
    /* True: http_answer follows, from the loop. False: the request leaves, and received tells of the answer.
     */
    bool (*send)(void *ctx, struct http_handle *handle, const struct http_exchange *exchange);
    /* No answer is awaited any more for a handle that send has taken. */
    void (*cancelled)(void *ctx, struct http_handle *handle);
    /* A hop that left has been answered; not of a stream, whose answer is nowhere in whole. */
    void (*received)(void *ctx, const struct http_exchange *exchange, int status,
                     const struct http_headers *headers, const char *body, size_t len);
    void *ctx;
};

struct http_answer {
    enum http_error error;           /* HTTP_OK for a response */
    const char *message;             /* of an error: one sentence */
    int status;                      /* 100 to 999 */
    const struct http_field *fields; /* checked with http_header_check */
    size_t field_count;
    struct http_slice body;
};

/* Runs from the loop, exactly once for each request sent, unless that was cancelled or its client freed.
 * Either response is not NULL and now the callee's, or failure is not NULL and valid during the call. May
 * send, cancel, and free the client. */
typedef void http_done_fn(void *ctx, struct http_response *response, const struct http_failure *failure);

/* Does not load libcurl. The loop must outlive the client. */
struct http_client *http_client_new(uv_loop_t *loop, struct err *err);

/* Cancels everything, without callbacks, and closes all handles; the memory goes when the loop has run their
 * close callbacks, so run it once more. NULL is allowed. */
void http_client_free(struct http_client *client);

/* How many requests may be under way at once, to one origin and in all; the rest wait in line, first come
 * first served, origins in turn. Each at least 1. */
void http_client_set_limits(struct http_client *client, size_t per_host, size_t total);

/* Before the first request; stand_in must outlive the client. */
void http_client_stand_in(struct http_client *client, const struct http_stand_in *stand_in);
/* Ends the hop, with the callbacks of a real one. Copies the answer. From the loop, outside the client. */
void http_answer(struct http_handle *handle, const struct http_answer *answer);

/* Sets every default above, the rest to nothing. */
void http_request_init(struct http_request *request);
struct http_slice http_slice(const char *text); /* of a C string; NULL gives an empty slice */

/* Copies the request and puts it in line; the first transfer starts from the loop. *handle (may be NULL) is
 * for http_cancel and valid until the callback has run. ERR_INVALID: header, method or option that cannot be
 * sent; ERR_NOT_FOUND: no libcurl; ERR_NOMEM. In these cases the callback does not run. A malformed URL is
 * reported through the callback, as "url". */
enum err_code http_client_send(struct http_client *client, const struct http_request *request,
                               http_done_fn *callback, void *ctx, struct http_handle **handle,
                               struct err *err) MUST_CHECK;

/* The callback does not run afterwards. Allowed at any time before it ran, from any callback; during it, does
 * nothing. NULL is allowed. */
void http_cancel(struct http_handle *handle);

/* The transfer goes on that on_data had rest. From outside the client's callbacks. */
void http_resume(struct http_handle *handle);

/* Closes the kept connections if no request is under way or in line, else does nothing. They never keep the
 * loop alive; this gives back their sockets and memory. */
void http_client_idle(struct http_client *client);

/* Requests sent whose callback has not run yet. */
size_t http_client_pending(const struct http_client *client);

void http_response_free(struct http_response *response);

#endif
