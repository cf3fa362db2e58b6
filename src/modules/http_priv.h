/* What the files of workers.http share. Nothing outside includes it. */
#ifndef WORKERS_MODULES_HTTP_PRIV_H
#define WORKERS_MODULES_HTTP_PRIV_H

#include "base/buf.h"
#include "modules/modules.h"
#include "net/http_client.h"
#include "script/options.h"

/* When and how often a request is sent again. */
struct http_retry {
    int attempts;      /* in all; 1 = no retry */
    double backoff_s;  /* the first wait, doubled each time; some of it is chance */
    double max_wait_s; /* no wait is longer: whoever asks for more ends the attempts */
    bool unsafe;       /* also POST and PATCH, after failures that may have come too late */
};

/* One request: everything that it holds outside Lua. */
struct call {
    const char *function; /* "http.get", for messages */
    const struct isolate_host *host;
    struct task *task;
    struct http_handle *handle; /* while under way */
    struct http_response *response;
    enum http_error error;
    char message[HTTP_MESSAGE_MAX];
    struct http_request request; /* points into url, body and strings that the anchor table holds */
    struct buf url;
    struct buf body;
    bool refuse_redirect;
    bool conditional; /* ifChanged was given */
    struct http_retry retry;
    int attempt; /* from 1 */
    /* of http.stream */
    bool stream;
    bool head_given; /* response is the answer, whose body is arriving */
    bool reading;    /* task waits for the answer, or for a piece */
    bool ended;      /* nothing more will arrive; error says why if it is not the end */
    bool closed;
    struct buf data;  /* arrived and not read */
    struct buf clean; /* the piece that is being given */
};

/* Stack of a function that sends: method, url, options or nil, call, anchor (a table of strings in use). */
enum { METHOD = 1, URL, OPTIONS, CALL_BOX, ANCHOR, SENDING_TOP = ANCHOR };

/* http.c */
/* Pushes the option; false (and nothing pushed) when it is absent. */
bool http_push_option(lua_State *L, const char *name);

/* http_response.c */
void http_make_response_metatables(lua_State *L);
/* Pushes the response, and gives up the call's. */
void http_push_response(lua_State *L, struct call *call);
/* Pushes the URL without credentials, query and fragment, for messages. */
void http_push_shown_url(lua_State *L, const char *url, size_t len);
/* Seconds to wait by Retry-After (RFC 9110, section 10.2.3), or by X-RateLimit-Reset when
 * X-RateLimit-Remaining is 0; negative when neither can be read. Any of the texts may be NULL. */
double http_wait_seconds(const char *retry_after, const char *remaining, const char *reset);

/* http_stream.c */
/* Before a request is sent whose body is to be streamed; and when it has ended. */
void http_stream_begin(struct call *call);
void http_stream_ended(struct call *call, struct http_response *response, const struct http_failure *failure);
/* The response at the one index holds the call at the other. */
void http_stream_keep(lua_State *L, int response, int box);
int http_stream_read(lua_State *L);
int http_stream_chunks(lua_State *L);
int http_stream_close(lua_State *L);

/* http_multipart.c: reads the option, the value on top of the stack, into the call's body (RFC 7578). Returns
 * its Content-Type, which is left on the stack. */
const char *http_read_multipart(lua_State *L, struct call *call);

/* http_retry.c */
void http_read_retry(lua_State *L, struct call *call);
/* Seconds to wait before the next attempt; negative when there is none. */
double http_retry_wait(const struct call *call);

#endif
