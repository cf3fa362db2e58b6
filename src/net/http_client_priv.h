/* What the files of the HTTP client share. Nobody else includes this.
 *
 * http_client.c: the loop, the line of waiting requests, callbacks. http_request.c: checks and copies
 * requests. http_transfer.c: one hop as libcurl options, redirects, errors. */
#ifndef WORKERS_NET_HTTP_CLIENT_PRIV_H
#define WORKERS_NET_HTTP_CLIENT_PRIV_H

#include "base/buf.h"
#include "net/curl_api.h"
#include "net/http_client.h"
#include "net/http_target.h"

/* A ring with a head of its own; a link outside any ring points to itself. */
struct http_link {
    struct http_link *next;
    struct http_link *previous;
};

static inline void http_link_init(struct http_link *link)
{
    link->next = link;
    link->previous = link;
}

static inline bool http_link_alone(const struct http_link *link)
{
    return link->next == link;
}

static inline void http_link_remove(struct http_link *link)
{
    link->next->previous = link->previous;
    link->previous->next = link->next;
    http_link_init(link);
}

static inline void http_link_append(struct http_link *head, struct http_link *link)
{
    link->previous = head->previous;
    link->next = head;
    head->previous->next = link;
    head->previous = link;
}

#define HTTP_OF(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

/* Requests with the same scheme, host and port. Lives as long as one of them waits or is under way. */
struct http_origin {
    struct http_link link; /* in client->origins */
    struct http_link waiting;
    size_t active;
    char *name;
};

enum http_state {
    HTTP_WAITING, /* linked in origin->waiting */
    HTTP_ACTIVE,  /* linked in client->active, its easy handle in the multi handle */
    HTTP_DONE,    /* linked in client->done or a batch of it */
    HTTP_CALLING, /* its callback is running */
};

/* What a stand-in has answered, on its way to whoever asked. */
struct http_given {
    char *body;
    size_t len, at; /* at: bytes handed on */
};

/* A header field that only this hop has: "Name: value". */
struct http_added {
    struct http_added *next;
    size_t name_len;
    size_t len;
    char line[];
};

struct http_handle {
    struct http_link link;
    struct http_client *client;
    struct http_origin *origin; /* NULL when done */
    enum http_state state;
    bool cancelled; /* from inside libcurl; taken out as soon as it returns */
    http_done_fn *callback;
    void *ctx;

    /* The request as it stands: redirects change it. */
    struct http_request request; /* its slices point into copy */
    struct http_field *fields;   /* request.headers, writable: redirects take some out */
    char *copy;
    struct http_target target;
    bool send_credentials; /* user and password, bearer: until a redirect leaves the origin */

    /* The hop under way. */
    CURL *easy;
    struct curl_slist *lines;
    struct http_added *added; /* fields of this hop only, newest first */
    struct http_headers headers;
    struct buf body;
    int status; /* 0 before the first status line */
    bool headers_done;
    bool body_begun;
    bool following;      /* this response is a redirect that will be followed: its body is of no interest */
    size_t skipped;      /* bytes of that body */
    bool skipped_enough; /* the transfer was ended for it */
    bool head_given;     /* to on_head */
    bool resting;        /* on_data had no room */
    size_t streamed;     /* bytes that on_data took */
    bool trusted_proxy;  /* this hop goes through the environment's */
    bool address_refused;
    bool address_tried;
    unsigned long refused_allocations; /* as of the start */
    char detail[CURL_ERROR_SIZE];

    /* With a stand-in. */
    bool stood_in; /* it has taken this hop: there is no easy handle */
    bool answered;
    struct http_given given;

    unsigned redirects;
    uint64_t queued_at, started_at, ended_at, deadline; /* ms, clock of the loop */

    /* The end: error stays HTTP_OK for a response. */
    enum http_error error;
    char message[HTTP_MESSAGE_MAX];
};

struct http_client {
    uv_loop_t *loop;
    const struct curl_api *api; /* NULL before the first request */
    CURLM *multi;               /* NULL when idle */
    uv_timer_t curl_timer;      /* what libcurl asked for */
    uv_timer_t deadline_timer;
    uv_idle_t idle; /* runs once when something is due at once: to be started, reported, or libcurl's */
    bool curl_due;
    size_t open_handles; /* whose close callback has not run */
    struct http_link polls;

    struct http_link origins;
    struct http_link active;
    struct http_link done;
    struct http_link batch; /* done ones whose callbacks are being run */
    size_t origin_count, waiting_count, active_count, pending;
    size_t per_host, total;
    uint64_t next_deadline; /* what deadline_timer is set to, UINT64_MAX for none */

    const struct http_stand_in *stand_in; /* NULL: requests leave */
    unsigned inside_curl;                 /* depth: multi functions and frees must wait while it is not 0 */
    bool broken;         /* a socket could not be watched, or libcurl said so: all transfers must end */
    bool some_cancelled; /* among the active, from inside libcurl */
    bool calling;
    bool freed;
};

/* http_request.c: checks everything but the URL and fills handle->request. */
enum err_code http_request_copy(struct http_handle *handle, const struct http_request *request,
                                struct err *err) MUST_CHECK;

/* http_stand_in.c */
/* Offers the hop to the stand-in: 1 it will answer, 0 the hop leaves, -1 it failed, error is set. */
int http_stand_in_send(struct http_handle *handle) MUST_CHECK;
/* Tells it of the answer to a hop that left. */
void http_stand_in_received(struct http_handle *handle);
/* The hop is over, answered or not. */
void http_stand_in_release(struct http_handle *handle);
/* Hands on what has been answered; true when that was all, or it failed. */
bool http_stand_in_feed(struct http_handle *handle) MUST_CHECK;

/* http_client.c: goes on with a hop that has ended with this code, as if libcurl had said so. */
void http_client_hop_ended(struct http_handle *handle, CURLcode code);

/* http_transfer.c */
/* Checks that the hop may be made, and collects its fields. On failure error and message are set. */
bool http_transfer_begin(struct http_handle *handle) MUST_CHECK;
/* What libcurl calls for each line of the head and each piece of the body. */
size_t http_transfer_header(char *line, size_t size, size_t count, void *ctx);
size_t http_transfer_body(char *data, size_t size, size_t count, void *ctx);
/* Makes the easy handle for the hop to handle->target, after http_transfer_begin. On failure error and
 * message are set. */
bool http_transfer_prepare(struct http_handle *handle) MUST_CHECK;
/* Releases what http_transfer_prepare made; the easy handle must be out of the multi handle. */
void http_transfer_release(struct http_handle *handle);
/* After libcurl ended the transfer: true when another hop is to be made (handle->target is set), else error
 * and message tell how it ended. */
bool http_transfer_ended(struct http_handle *handle, CURLcode code) MUST_CHECK;
void http_transfer_timed_out(struct http_handle *handle);
/* Lets a resting transfer go on. */
void http_transfer_resume(struct http_handle *handle);
/* NULL when memory is out. Empties the handle's headers and body. */
struct http_response *http_transfer_response(struct http_handle *handle) MUST_CHECK;
bool http_set_failure(struct http_handle *handle, enum http_error error, const char *format, ...)
    __attribute__((format(printf, 3, 4))); /* returns false */

#endif
