/* A server that misbehaves, with and without TLS, and one request of the HTTP client to it. A test's set-up
 * is open_client, its end close_client; those of the group are start_servers and stop_servers. */
#ifndef TESTS_UNIT_HTTP_SERVICE_H
#define TESTS_UNIT_HTTP_SERVICE_H

#include "net/http_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

struct server {
    pid_t pid;
    int stdin_fd; /* the server ends when this closes, however the test ends */
    int port;
};

extern struct server plain, secure;
extern char certificate[64]; /* the path of secure's */

int start_servers(void **state);
int stop_servers(void **state);

struct outcome {
    int calls;
    struct http_response *response;
    enum http_error error;
    char message[HTTP_MESSAGE_MAX];
};

extern uv_loop_t loop;
extern struct http_client *client;
extern struct http_request request; /* the one that is sent next */
extern char url_text[70000];        /* its URL, when set_url has written it */

int open_client(void **state);
int close_client(void **state);
/* Keeps what came of a request; ctx is a struct outcome. */
void on_done(void *ctx, struct http_response *response, const struct http_failure *failure);

void set_url(const char *format, ...) __attribute__((format(printf, 1, 2)));
void set_path(const char *path); /* of the plain server */
struct http_field field(const char *name, const char *value);

/* Sends the request and waits. */
struct outcome run(void);
struct http_response *expect_status(int status);
void expect_body(int status, const char *body);
/* The whole message, with %P for the plain server's port. */
void expect_failure(enum http_error error, const char *message);
void expect_refused(const char *part);
/* Whether the JSON that /echo returned has this text; quotes as ' for legibility. */
void expect_echo(const struct http_response *response, const char *text, bool present);
/* The number that the plain server has at this path. */
long count_of(const char *path);

#endif
