/* A server on a loop, and raw clients of it whose sockets are driven between the turns of the same loop: what
 * the tests of http_server share. */
#ifndef TESTS_UNIT_HTTP_PEER_H
#define TESTS_UNIT_HTTP_PEER_H

#include "base/buf.h"
#include "base/clock.h"
#include "net/http_listen.h"
#include "net/http_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 20000
#define HEADER_MAX 4096
#define BODY_MAX 1000
#define KEPT_MAX 8

extern uv_loop_t loop;
extern struct http_server *server;
extern struct http_server_options options;
extern int listen_fd;

/* What the callbacks do, and what they saw. */
extern struct seen {
    bool keep;                   /* requests are kept, to be answered by the test */
    const char *answer_in_begin; /* that path is answered before its body */
    const char *wider;           /* that path may have a body of wider_max bytes */
    size_t wider_max;
    struct http_call *kept[KEPT_MAX]; /* NULL when it is gone */
    size_t kept_count;
    int begun, requested, gone;
    char headers[1024]; /* of the last request: "name=value;" */
} seen;

/* Answers with what has come: "METHOD path?query peer: body". */
void echo(struct http_call *call);
void answer_text(struct http_call *call, int status, const char *text);

/* Before and after each test. */
int set_up(void **state);
int tear_down(void **state);
#define SERVED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
void start_server(void);
struct http_server_counts counts(void);

struct client {
    int fd;
    struct buf in;
    bool ended; /* the server has closed */
};

void connect_to(struct client *client, int family, const struct sockaddr *address, socklen_t len);
void open_client(struct client *client);
void close_client(struct client *client);
/* A new connection that the server knows of. */
void open_accepted(struct client *client);
void receive(struct client *client);
/* Whether the server has closed; what it sent before is kept. */
bool is_closed(struct client *client);
/* Sends it all while the loop turns; false when the server has closed. */
bool try_send(struct client *client, const void *bytes, size_t len);
void send_text(struct client *client, const char *text);

struct answer {
    int status;
    char head[1024]; /* status line and fields */
    char body[4096];
};

/* Takes one answer off what was received; false when it is not all there. */
bool take_answer(struct client *client, bool with_body, struct answer *answer);
struct answer next_answer(struct client *client);
void expect_answer(struct client *client, int status, const char *body);

/* One turn of the loop. It wakes several times a second, whatever happens: the server looks after slow
 * requests. */
void turn(void);

/* Turns until the condition holds. */
#define TURN_UNTIL(condition)                                                                                \
    do {                                                                                                     \
        int64_t end = clock_mono_ms() + WAIT_MS;                                                             \
        while (!(condition)) {                                                                               \
            if (clock_mono_ms() > end)                                                                       \
                fail_msg("waited in vain for %s", #condition);                                               \
            turn();                                                                                          \
        }                                                                                                    \
    } while (0)

#endif
