/* The HTTP server against raw bytes: the client's sockets are driven between the turns of the same loop. */
#include "base/buf.h"
#include "base/clock.h"
#include "net/http_listen.h"
#include "net/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 20000
#define HEADER_MAX 4096
#define BODY_MAX 1000
#define KEPT_MAX 8

static uv_loop_t loop;
static struct http_server *server;
static struct http_server_options options;
static int listen_fd;
static char bound[HTTP_LISTEN_TEXT_MAX];
static char folder[] = "/tmp/http_server_test.XXXXXX";

/* ---- what is served ---- */

/* What the callbacks do, and what they saw. */
static struct {
    bool keep;                   /* requests are kept, to be answered by the test */
    const char *answer_in_begin; /* that path is answered before its body */
    const char *wider;           /* that path may have a body of wider_max bytes */
    size_t wider_max;
    struct http_call *kept[KEPT_MAX]; /* NULL when it is gone */
    size_t kept_count;
    int begun, requested, gone;
    char headers[1024]; /* of the last request: "name=value;" */
} seen;

static void answer_text(struct http_call *call, int status, const char *text)
{
    const struct http_answer_field type = {"content-type", "text/plain"};
    http_call_answer(call, status, &type, 1, text, strlen(text));
}

/* Answers with what has come: "METHOD path?query peer: body". */
static void echo(struct http_call *call)
{
    struct buf text;
    size_t len = 0;
    const char *body = http_call_body(call, &len);
    buf_init(&text, 1 << 20);
    buf_addf(&text, "%s %s?%s %s: ", http_call_method(call), http_call_path(call), http_call_query(call),
             http_call_peer(call));
    buf_add(&text, body, len);
    answer_text(call, 200, buf_text(&text));
    buf_free(&text);
}

static void on_begin(void *ctx, struct http_call *call)
{
    assert_ptr_equal(ctx, &seen);
    seen.begun++;
    assert_null(http_call_user(call));
    if (seen.answer_in_begin != NULL && strcmp(http_call_path(call), seen.answer_in_begin) == 0)
        answer_text(call, 403, "not here");
    if (seen.wider != NULL && strcmp(http_call_path(call), seen.wider) == 0)
        http_call_set_body_max(call, seen.wider_max);
}

static void on_request(void *ctx, struct http_call *call)
{
    assert_ptr_equal(ctx, &seen);
    seen.requested++;
    size_t at = 0;
    seen.headers[0] = '\0';
    for (size_t i = 0; i < http_call_header_count(call) && at < sizeof seen.headers; i++) {
        const struct http_header *header = http_call_header_at(call, i);
        assert_int_equal(strlen(header->name), header->name_len);
        assert_int_equal(strlen(header->value), header->value_len);
        at += (size_t)snprintf(seen.headers + at, sizeof seen.headers - at, "%s=%s;", header->name,
                               header->value);
    }
    if (!seen.keep) {
        echo(call);
        return;
    }
    assert_true(seen.kept_count < KEPT_MAX);
    http_call_set_user(call, &seen.kept[seen.kept_count]);
    seen.kept[seen.kept_count++] = call;
}

static void on_gone(void *ctx, struct http_call *call)
{
    struct http_call **kept = http_call_user(call);
    assert_ptr_equal(ctx, &seen);
    assert_non_null(http_call_path(call)); /* still there */
    seen.gone++;
    if (kept != NULL)
        *kept = NULL;
}

static int set_up(void **state)
{
    struct err err;
    (void)state;
    memset(&seen, 0, sizeof seen);
    uv_loop_init(&loop);
    server = NULL;
    if (http_listen("127.0.0.1:0", &listen_fd, bound, &err) != ERR_NONE)
        return -1;
    options = (struct http_server_options){.listen_fd = listen_fd,
                                           .header_max = HEADER_MAX,
                                           .body_max = BODY_MAX,
                                           .bodies_max = 1 << 20,
                                           .request_ms = 60000,
                                           .connections_max = 100,
                                           .begin = on_begin,
                                           .request = on_request,
                                           .gone = on_gone,
                                           .ctx = &seen};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    http_server_free(server);
    uv_run(&loop, UV_RUN_DEFAULT);
    close(listen_fd);
    return uv_loop_close(&loop); /* not 0 when a handle was left open */
}

static void start_server(void)
{
    struct err err;
    if (http_server_new(&loop, &options, &server, &err) != ERR_NONE)
        fail_msg("%s", err.message);
}

static struct http_server_counts counts(void)
{
    struct http_server_counts found;
    http_server_get_counts(server, &found);
    return found;
}

/* ---- a client ---- */

struct client {
    int fd;
    struct buf in;
    bool ended; /* the server has closed */
};

static void connect_to(struct client *client, int family, const struct sockaddr *address, socklen_t len)
{
    buf_init(&client->in, 1 << 20);
    client->ended = false;
    client->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(client->fd >= 0);
    assert_int_equal(connect(client->fd, address, len), 0);
    assert_int_equal(fcntl(client->fd, F_SETFL, O_NONBLOCK), 0);
}

static void open_client(struct client *client)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((in_port_t)strtol(strrchr(bound, ':') + 1, NULL, 10));
    connect_to(client, AF_INET, (struct sockaddr *)&address, sizeof address);
}

static void close_client(struct client *client)
{
    close(client->fd);
    buf_free(&client->in);
}

/* One turn of the loop. It wakes several times a second, whatever happens: the server looks after slow
 * requests. */
static void turn(void)
{
    uv_run(&loop, UV_RUN_ONCE);
}

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

/* A new connection that the server knows of. */
static void open_accepted(struct client *client)
{
    uint64_t before = counts().accepted;
    open_client(client);
    TURN_UNTIL(counts().accepted == before + 1);
}

static void receive(struct client *client)
{
    char part[16384];
    for (;;) {
        ssize_t got = recv(client->fd, part, sizeof part, 0);
        if (got > 0)
            buf_add(&client->in, part, (size_t)got);
        else if (got < 0 && errno == EAGAIN)
            return;
        else
            client->ended = true;
        if (got <= 0)
            return;
    }
}

/* Whether the server has closed; what it sent before is kept. */
static bool is_closed(struct client *client)
{
    receive(client);
    return client->ended;
}

/* Sends it all while the loop turns; false when the server has closed. */
static bool try_send(struct client *client, const void *bytes, size_t len)
{
    const char *at = bytes;
    int64_t end = clock_mono_ms() + WAIT_MS;
    while (len > 0) {
        ssize_t sent = send(client->fd, at, len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return false;
        if (sent < 0)
            turn();
        else {
            at += sent;
            len -= (size_t)sent;
        }
        if (clock_mono_ms() > end)
            fail_msg("the server does not read");
    }
    return true;
}

static void send_text(struct client *client, const char *text)
{
    assert_true(try_send(client, text, strlen(text)));
}

struct answer {
    int status;
    char head[1024]; /* status line and fields */
    char body[4096];
};

/* Takes one answer off what was received; false when it is not all there. */
static bool take_answer(struct client *client, bool with_body, struct answer *answer)
{
    receive(client);
    const char *text = buf_text(&client->in), *end = strstr(text, "\r\n\r\n");
    if (end == NULL)
        return false;
    size_t head = (size_t)(end - text) + 4, body = 0;
    assert_true(head < sizeof answer->head);
    memcpy(answer->head, text, head);
    answer->head[head] = '\0';
    answer->status = (int)strtol(text + strlen("HTTP/1.1 "), NULL, 10);
    const char *length = strcasestr(answer->head, "\r\nContent-Length: ");
    if (length != NULL && with_body)
        body = (size_t)strtol(length + strlen("\r\nContent-Length: "), NULL, 10);
    assert_true(body < sizeof answer->body);
    if (client->in.len < head + body)
        return false;
    memcpy(answer->body, text + head, body);
    answer->body[body] = '\0';
    size_t rest = client->in.len - head - body;
    char *kept = malloc(rest + 1);
    memcpy(kept, text + head + body, rest);
    buf_clear(&client->in);
    buf_add(&client->in, kept, rest);
    free(kept);
    return true;
}

static struct answer next_answer(struct client *client)
{
    struct answer answer;
    int64_t end = clock_mono_ms() + WAIT_MS;
    while (!take_answer(client, true, &answer)) {
        if (client->ended || clock_mono_ms() > end)
            fail_msg("%s; received: %s", client->ended ? "closed before the answer" : "no answer",
                     buf_text(&client->in));
        turn();
    }
    return answer;
}

static void expect_answer(struct client *client, int status, const char *body)
{
    struct answer answer = next_answer(client);
    assert_string_equal(answer.body, body);
    assert_int_equal(answer.status, status);
}

/* An answer, after which the server closes. code is NULL where the library answers, of whose text nothing is
 * said. */
static void expect_refusal(struct client *client, int status, const char *code)
{
    char body[192];
    const char *message = status == 400   ? "the head of the request is malformed"
                          : status == 413 ? "the body has more than 1000 bytes"
                          : status == 431 ? "the headers are more than 100, or more than 4096 bytes"
                                          : "";
    struct answer answer = next_answer(client);
    assert_int_equal(answer.status, status);
    if (code != NULL) {
        snprintf(body, sizeof body, "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}", code, message);
        assert_string_equal(answer.body, body);
    }
    TURN_UNTIL(is_closed(client));
    assert_null(strstr(buf_text(&client->in), " 200 "));
    if (code != NULL)
        assert_string_equal(buf_text(&client->in), "");
}

/* One connection for these bytes; the request never gets to the callbacks. Status 0: closed without an
 * answer. */
static void expect_refused(const void *bytes, size_t len, int status, const char *code)
{
    struct client client;
    int requested = seen.requested;
    open_client(&client);
    try_send(&client, bytes, len);
    if (status != 0) {
        expect_refusal(&client, status, code);
    } else {
        TURN_UNTIL(is_closed(&client));
        assert_string_equal(buf_text(&client.in), "");
    }
    close_client(&client);
    assert_int_equal(seen.requested, requested);
    TURN_UNTIL(counts().connections == 0);
    assert_true(http_server_idle(server));
}

#define EXPECT_REFUSED(text, status, code) expect_refused(text, sizeof(text) - 1, status, code)

/* ---- requests ---- */

static void test_a_request(void **state)
{
    (void)state;
    struct client client;
    start_server();
    open_client(&client);
    send_text(&client,
              "GET /a%2Fb/%C3%BC?x=%20&y HTTP/1.1\r\nHost: h\r\nX-Two: 1\r\nx-two:  2 \r\nX-Empty:\r\n\r\n");
    struct answer answer = next_answer(&client);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "GET /a%2Fb/%C3%BC?x=%20&y 127.0.0.1: ");
    assert_non_null(strstr(answer.head, "\r\nContent-Type: text/plain\r\n") != NULL
                        ? answer.head
                        : strstr(answer.head, "\r\ncontent-type: text/plain\r\n"));
    assert_non_null(strstr(answer.head, "\r\nDate: "));
    assert_string_equal(seen.headers, "host=h;x-two=1;x-two=2;x-empty=;");
    assert_int_equal(seen.begun, 1);
    assert_int_equal(seen.gone, 0);
    /* The connection is kept. */
    send_text(&client, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_answer(&client, 200, "OPTIONS *? 127.0.0.1: ");
    assert_int_equal(counts().accepted, 1);
    assert_int_equal(counts().requests, 2);
    assert_int_equal(counts().connections, 1);
    close_client(&client);
    TURN_UNTIL(counts().connections == 0);
    assert_true(http_server_idle(server));
}

static void open_file_client(struct client *client, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    connect_to(client, AF_UNIX, (struct sockaddr *)&address, sizeof address);
}

/* Whether the server has read all that was sent; only sockets that are files tell. */
static bool is_read(const struct client *client)
{
    int waiting = -1;
    assert_int_equal(ioctl(client->fd, SIOCOUTQ, &waiting), 0);
    return waiting == 0;
}

static void test_split_at_every_byte(void **state)
{
    (void)state;
    static const char request[] = "POST /p?q=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
                                  "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\n";
    char path[64], address[80];
    struct client client;
    struct err err;
    snprintf(path, sizeof path, "%s/socket", folder);
    snprintf(address, sizeof address, "unix:%s", path);
    int fd = -1;
    assert_int_equal(http_listen(address, &fd, NULL, &err), ERR_NONE);
    options.listen_fd = fd;
    start_server();
    for (size_t cut = 1; cut < sizeof request - 1; cut++) {
        open_file_client(&client, path);
        assert_true(try_send(&client, request, cut));
        TURN_UNTIL(is_read(&client));
        send_text(&client, request + cut);
        expect_answer(&client, 200, "POST /p?q=1 unix: hello");
        expect_answer(&client, 200, "POST /c? unix: abcde");
        close_client(&client);
    }
    /* And each byte by itself. */
    open_file_client(&client, path);
    for (size_t i = 0; i < sizeof request - 1; i++) {
        assert_true(try_send(&client, request + i, 1));
        TURN_UNTIL(is_read(&client));
    }
    expect_answer(&client, 200, "POST /p?q=1 unix: hello");
    expect_answer(&client, 200, "POST /c? unix: abcde");
    close_client(&client);
    http_server_free(server);
    server = NULL;
    close(fd);
    unlink(path);
}

static void test_pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    struct client client;
    start_server();
    open_client(&client);
    seen.keep = true;
    send_text(&client,
              "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
              "GET /3 HTTP/1.1\r\nHost: h\r\n\r\n");
    TURN_UNTIL(seen.requested == 1);
    seen.keep = false;
    turn();
    assert_int_equal(seen.requested, 1); /* the others wait */
    echo(seen.kept[0]);
    expect_answer(&client, 200, "GET /1? 127.0.0.1: ");
    expect_answer(&client, 200, "POST /2? 127.0.0.1: abc");
    expect_answer(&client, 200, "GET /3? 127.0.0.1: ");
    close_client(&client);
}

static void test_head(void **state)
{
    (void)state;
    struct client client;
    struct answer answer;
    start_server();
    open_client(&client);
    send_text(&client, "HEAD /h HTTP/1.1\r\nHost: h\r\n\r\nGET /g HTTP/1.1\r\nHost: h\r\n\r\n");
    TURN_UNTIL(take_answer(&client, false, &answer));
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "\r\nContent-Length: 20\r\n")); /* of the body that GET would get */
    expect_answer(&client, 200, "GET /g? 127.0.0.1: ");
    close_client(&client);
}

static void test_http_1_0(void **state)
{
    (void)state;
    struct client client;
    start_server();
    open_client(&client);
    send_text(&client, "POST /old HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi");
    expect_answer(&client, 200, "POST /old? 127.0.0.1: hi");
    TURN_UNTIL(is_closed(&client));
    close_client(&client);
    open_client(&client);
    send_text(&client, "GET /kept HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    expect_answer(&client, 200, "GET /kept? 127.0.0.1: ");
    send_text(&client, "GET /again HTTP/1.0\r\n\r\n");
    expect_answer(&client, 200, "GET /again? 127.0.0.1: ");
    TURN_UNTIL(is_closed(&client));
    close_client(&client);
}

static void test_expect_100_continue(void **state)
{
    (void)state;
    struct client client;
    start_server();
    open_client(&client);
    send_text(&client, "PUT /e HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    struct answer answer = next_answer(&client);
    assert_int_equal(answer.status, 100);
    assert_int_equal(seen.requested, 0);
    send_text(&client, "body");
    expect_answer(&client, 200, "PUT /e? 127.0.0.1: body");
    /* What is refused is refused before its body. */
    send_text(&client, "PUT /e HTTP/1.1\r\nHost: h\r\nContent-Length: 4000\r\nExpect: 100-continue\r\n\r\n");
    expect_refusal(&client, 413, "body_too_large");
    close_client(&client);
}

static void test_chunked_bodies(void **state)
{
    (void)state;
    struct client client;
    start_server();
    open_client(&client);
    send_text(&client,
              "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
              "A\r\n0123456789\r\n0a\r\n0123456789\r\n1;name=\"value\"\r\n!\r\n0\r\nX-Trailer: x\r\n\r\n");
    expect_answer(&client, 200, "POST /c? 127.0.0.1: 01234567890123456789!");
    send_text(&client, "POST /none HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n");
    expect_answer(&client, 200, "POST /none? 127.0.0.1: ");
    assert_non_null(strstr(seen.headers, "transfer-encoding=Chunked;"));
    assert_null(strstr(seen.headers, "trailer"));
    close_client(&client);
    /* A size that is none. */
    open_client(&client);
    send_text(&client,
              "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n");
    TURN_UNTIL(is_closed(&client));
    assert_null(strstr(buf_text(&client.in), " 200 "));
    close_client(&client);
    assert_int_equal(seen.requested, 2);
    assert_int_equal(seen.gone, 1); /* begin had seen it */
}

/* ---- what is refused ---- */

static void test_two_ends_of_a_request(void **state)
{
    (void)state;
    start_server();
    EXPECT_REFUSED(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400,
        "bad_request");
    EXPECT_REFUSED(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
        "bad_request");
    EXPECT_REFUSED("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400,
                   "bad_request");
    EXPECT_REFUSED("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400,
                   "bad_request");
    EXPECT_REFUSED("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400,
                   NULL);
    EXPECT_REFUSED("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
                   "chunked\r\n\r\n0\r\n\r\n",
                   400, NULL);
    EXPECT_REFUSED("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\nhello", 400, NULL);
    EXPECT_REFUSED("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello", 400, NULL);
    EXPECT_REFUSED("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\nhello", 400, NULL);
    EXPECT_REFUSED("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\nhello", 400, NULL);
    EXPECT_REFUSED("POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\nhello", 400, NULL);
    assert_int_equal(seen.begun, 0);
}

static void test_bytes_that_a_field_cannot_have(void **state)
{
    (void)state;
    start_server();
    EXPECT_REFUSED("GET / HTTP/1.1\r\nHost: h\r\nX: a\001b\r\n\r\n", 400, "bad_request");
    EXPECT_REFUSED("GET / HTTP/1.1\r\nHost: h\r\nX: a\177b\r\n\r\n", 400, "bad_request");
    EXPECT_REFUSED("GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", 400, NULL);
    EXPECT_REFUSED("GET / HTTP/1.1\r\nHost: h\r\nX\001Y: b\r\n\r\n", 400, "bad_request");
    EXPECT_REFUSED("GET / HTTP/1.1\r\nHost: h\r\nX\0Y: b\r\n\r\n", 400, NULL);
    EXPECT_REFUSED("GET / HTTP/1.1\r\nHost: h\r\nX : b\r\n\r\n", 400, "bad_request");
    EXPECT_REFUSED("GET / HTTP/1.1\r\nHost: h\r\nX@Y: b\r\n\r\n", 400, "bad_request");
    EXPECT_REFUSED("GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400, NULL);
    assert_int_equal(seen.begun, 0);
    /* The library ends a value at a NUL: what is behind it is not seen by anybody. */
    struct client client;
    open_client(&client);
    send_text(&client, "GET / HTTP/1.1\r\nHost: h\r\nX: a");
    assert_true(try_send(&client, "\0b\r\n\r\n", 6));
    expect_answer(&client, 200, "GET /? 127.0.0.1: ");
    assert_string_equal(seen.headers, "host=h;x=a;");
    /* Bytes above 127 are the sender's. */
    send_text(&client, "GET / HTTP/1.1\r\nHost: h\r\nX: \tb\tc\303\274\377 \t\r\n\r\n");
    expect_answer(&client, 200, "GET /? 127.0.0.1: ");
    assert_string_equal(seen.headers, "host=h;x=b\tc\303\274\377;");
    /* A line without a name ends the headers, for the library. The fields behind it are no request then. */
    send_text(&client, "GET /1 HTTP/1.1\r\nHost: h\r\n: b\r\nX: /2 HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_answer(&client, 200, "GET /1? 127.0.0.1: ");
    expect_refusal(&client, 400, "bad_request");
    assert_int_equal(seen.requested, 3);
    close_client(&client);
}

static void test_request_lines_that_are_none(void **state)
{
    (void)state;
    start_server();
    EXPECT_REFUSED("nonsense\r\n\r\n", 0, NULL);
    EXPECT_REFUSED("GET\r\n\r\n", 0, NULL);
    EXPECT_REFUSED("GET /\r\nHost: h\r\n\r\n", 400, NULL);
    EXPECT_REFUSED("GET / HTTQ/1.1\r\nHost: h\r\n\r\n", 400, NULL);
    EXPECT_REFUSED("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505, NULL);
    EXPECT_REFUSED("GET nowhere HTTP/1.1\r\nHost: h\r\n\r\n", 400, NULL);
    EXPECT_REFUSED("G@T / HTTP/1.1\r\nHost: h\r\n\r\n", 400, NULL);
    EXPECT_REFUSED("GET /a\001b HTTP/1.1\r\nHost: h\r\n\r\n", 400, NULL);
    EXPECT_REFUSED("GET / HTTP/1.1\r\n\r\n", 400, NULL);                             /* without Host */
    EXPECT_REFUSED("\026\003\001\002\000\001\000\001\374\003\003\r\n\r\n", 0, NULL); /* TLS */
    assert_int_equal(seen.begun, 0);
}

static void test_headers_that_are_too_large(void **state)
{
    (void)state;
    struct buf text;
    struct client client;
    buf_init(&text, 1 << 20);
    start_server();
    /* 100 fields are taken, Host among them. */
    for (int extra = 0; extra < 2; extra++) {
        buf_clear(&text);
        buf_adds(&text, "GET / HTTP/1.1\r\nHost: h\r\n");
        for (int i = 0; i < 99 + extra; i++)
            buf_adds(&text, "a:b\r\n");
        buf_adds(&text, "\r\n");
        if (extra == 1) {
            expect_refused(text.data, text.len, 431, "headers_too_large");
            break;
        }
        open_client(&client);
        send_text(&client, text.data);
        expect_answer(&client, 200, "GET /? 127.0.0.1: ");
        close_client(&client);
        TURN_UNTIL(counts().connections == 0);
    }
    /* So many bytes are taken: names, values and four for each field. */
    for (int extra = 0; extra < 2; extra++) {
        buf_clear(&text);
        buf_adds(&text, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
        for (int i = 0; i < HEADER_MAX - 9 - 5 + extra; i++)
            buf_addc(&text, 'v');
        buf_adds(&text, "\r\n\r\n");
        if (extra == 1) {
            expect_refused(text.data, text.len, 431, "headers_too_large");
            break;
        }
        open_client(&client);
        send_text(&client, text.data);
        expect_answer(&client, 200, "GET /? 127.0.0.1: ");
        close_client(&client);
        TURN_UNTIL(counts().connections == 0);
    }
    /* Both at once. */
    buf_clear(&text);
    buf_adds(&text, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < 99; i++)
        buf_adds(&text, "abcd: 012345678901234567890123456789\r\n"); /* 38 bytes, of 4096 / 100 */
    buf_adds(&text, "\r\n");
    open_client(&client);
    send_text(&client, text.data);
    expect_answer(&client, 200, "GET /? 127.0.0.1: ");
    close_client(&client);
    TURN_UNTIL(counts().connections == 0);
    /* More than the library has room for, in one field and in many; and a target. */
    buf_clear(&text);
    buf_adds(&text, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
    for (int i = 0; i < 100000; i++)
        buf_addc(&text, 'v');
    expect_refused(text.data, text.len, 431, NULL);
    buf_clear(&text);
    buf_adds(&text, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < 20000; i++)
        buf_adds(&text, "a: b\r\n");
    expect_refused(text.data, text.len, 431, NULL);
    buf_clear(&text);
    buf_adds(&text, "GET /");
    for (int i = 0; i < 100000; i++)
        buf_addc(&text, 'a');
    expect_refused(text.data, text.len, 414, NULL);
    buf_free(&text);
}

static void test_bodies_that_are_too_large(void **state)
{
    (void)state;
    struct client client;
    struct buf text;
    char announced[128];
    buf_init(&text, 1 << 20);
    start_server();
    for (int extra = 0; extra < 2; extra++)
        for (int chunked = 0; chunked < 2; chunked++) {
            buf_clear(&text);
            buf_addf(&text, "POST /b HTTP/1.1\r\nHost: h\r\n");
            if (chunked == 1)
                buf_addf(&text, "Transfer-Encoding: chunked\r\n\r\n%x\r\n", BODY_MAX + extra);
            else
                buf_addf(&text, "Content-Length: %d\r\n\r\n", BODY_MAX + extra);
            for (int i = 0; i < BODY_MAX + extra; i++)
                buf_addc(&text, 'b');
            buf_adds(&text, chunked == 1 ? "\r\n0\r\n\r\n" : "");
            if (extra == 1) {
                expect_refused(text.data, text.len, 413, "body_too_large");
                continue;
            }
            open_client(&client);
            send_text(&client, text.data);
            struct answer answer = next_answer(&client);
            assert_int_equal(answer.status, 200);
            assert_int_equal(strlen(answer.body), strlen("POST /b? 127.0.0.1: ") + BODY_MAX);
            close_client(&client);
            TURN_UNTIL(counts().connections == 0);
        }
    /* A length that no number holds. */
    EXPECT_REFUSED("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999999\r\n\r\n", 413,
                   NULL);
    EXPECT_REFUSED("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 67108865\r\n\r\n", 413,
                   "body_too_large"); /* at once */
    /* Who sends all of it without listening gets the answer still. */
    buf_clear(&text);
    for (int i = 0; i < 500000; i++)
        buf_addc(&text, 'b');
    for (int chunked = 0; chunked < 2; chunked++) {
        open_client(&client);
        snprintf(announced, sizeof announced,
                 chunked == 1 ? "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n"
                              : "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n",
                 20 * (int)text.len);
        send_text(&client, announced);
        for (int i = 0; i < 20; i++)
            assert_true(try_send(&client, text.data, text.len));
        send_text(&client, chunked == 1 ? "\r\n0\r\n\r\n" : "");
        expect_refusal(&client, 413, "body_too_large");
        close_client(&client);
    }
    buf_free(&text);
    assert_int_equal(seen.gone, seen.begun - seen.requested); /* begin had seen those that were refused */
    assert_int_equal(seen.requested, 2);
    /* begin may allow more. */
    seen.wider = "/wide";
    seen.wider_max = BODY_MAX + 1;
    buf_init(&text, 1 << 20);
    buf_addf(&text, "POST /wide HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", BODY_MAX + 1);
    for (int i = 0; i < BODY_MAX + 1; i++)
        buf_addc(&text, 'b');
    open_client(&client);
    send_text(&client, text.data);
    assert_int_equal(next_answer(&client).status, 200);
    close_client(&client);
    buf_free(&text);
}

/* A body of so many bytes on its way, of which so many have come. */
static void send_part(struct client *client, size_t whole, size_t part)
{
    char head[128], *bytes = malloc(part);
    memset(bytes, 'b', part);
    snprintf(head, sizeof head, "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", whole);
    send_text(client, head);
    assert_true(try_send(client, bytes, part));
    free(bytes);
}

static void test_bodies_that_are_too_large_together(void **state)
{
    (void)state;
    struct client first, second, small;
    options.body_max = 300000;
    options.bodies_max = 600000;
    seen.keep = true;
    start_server();
    open_client(&first);
    send_part(&first, 300000, 300000);
    TURN_UNTIL(seen.kept_count == 1);
    seen.keep = false;
    open_client(&second);
    send_part(&second, 300000, 300000);
    struct answer answer = next_answer(&second);
    assert_int_equal(answer.status, 503);
    assert_non_null(strcasestr(answer.head, "\r\nretry-after: 5\r\n"));
    assert_string_equal(
        answer.body,
        "{\"error\":{\"code\":\"no_memory\",\"message\":\"too much is under way: send it again later\"}}");
    close_client(&second);
    open_client(&small);
    send_part(&small, 3000, 3000);
    assert_int_equal(next_answer(&small).status, 200);
    close_client(&small);
    answer_text(seen.kept[0], 200, "done");
    expect_answer(&first, 200, "done");
    close_client(&first);
    TURN_UNTIL(http_server_idle(server));
    /* There is room again. */
    seen.keep = true;
    open_client(&second);
    send_part(&second, 300000, 300000);
    TURN_UNTIL(seen.kept_count == 2);
    answer_text(seen.kept[1], 200, "done");
    expect_answer(&second, 200, "done");
    close_client(&second);
}

static void test_begin_may_answer(void **state)
{
    (void)state;
    struct client client;
    seen.answer_in_begin = "/no";
    start_server();
    open_client(&client);
    send_text(&client, "GET /no HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_answer(&client, 403, "not here");
    close_client(&client);
    open_client(&client);
    send_text(&client, "POST /no HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n");
    expect_answer(&client, 403, "not here");
    TURN_UNTIL(is_closed(&client)); /* nobody reads the body */
    close_client(&client);
    TURN_UNTIL(counts().connections == 0);
    assert_int_equal(seen.requested, 0);
    assert_int_equal(seen.gone, 0);
}

/* ---- time and room ---- */

static void test_slow_requests_are_dropped(void **state)
{
    (void)state;
    struct client idle, line, header, body, chunk, refused;
    options.request_ms = 300;
    start_server();
    int64_t before = clock_mono_ms();
    open_client(&idle);
    open_client(&line);
    open_client(&header);
    open_client(&body);
    open_client(&chunk);
    open_client(&refused);
    send_text(&line, "GET /li");
    send_text(&header, "GET / HTTP/1.1\r\nHost: h\r\nX-Slo");
    send_text(&body, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\n\r\nab");
    send_text(&chunk, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nab");
    send_text(&refused, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n");
    for (int i = 0; i < 2; i++) {
        char much[1000];
        memset(much, 'x', sizeof much);
        assert_true(try_send(&refused, much, sizeof much));
    }
    struct client *all[] = {&idle, &line, &header, &body, &chunk, &refused};
    int64_t dripped = before;
    bool open = true;
    while (open) { /* a byte now and then helps nobody */
        bool drips = clock_mono_ms() - dripped > 20;
        open = false;
        for (size_t i = 0; i < 6; i++)
            if (!is_closed(all[i])) {
                open = true;
                if (i > 0 && drips)
                    try_send(all[i], "x", 1);
            }
        if (drips)
            dripped = clock_mono_ms();
        assert_true(clock_mono_ms() - before < WAIT_MS);
        turn();
    }
    assert_true(clock_mono_ms() - before >= 300);
    assert_true(clock_mono_ms() - before < 5000);
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(buf_text(&all[i]->in), ""); /* dropped, not answered */
        close_client(all[i]);
    }
    TURN_UNTIL(counts().connections == 0);
    assert_true(http_server_idle(server));
    assert_int_equal(seen.requested, 0);
    assert_int_equal(seen.gone, 3);
    assert_int_equal(counts().too_slow, 4); /* those whose first line was there */
}

static void test_an_answer_may_take_longer_than_a_request(void **state)
{
    (void)state;
    struct client client;
    seen.keep = true;
    options.request_ms = 100;
    start_server();
    open_client(&client);
    send_text(&client, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    TURN_UNTIL(seen.kept_count == 1);
    int64_t before = clock_mono_ms();
    TURN_UNTIL(clock_mono_ms() - before > 800);
    assert_false(http_server_idle(server));
    assert_false(is_closed(&client));
    echo(seen.kept[0]);
    expect_answer(&client, 200, "GET /later? 127.0.0.1: ");
    assert_int_equal(seen.gone, 0);
    close_client(&client);
}

static void answer_kept(uv_timer_t *timer)
{
    (void)timer;
    for (size_t i = 0; i < seen.kept_count; i++)
        echo(seen.kept[i]);
    seen.kept_count = 0;
}

static void test_answers_from_the_loop(void **state)
{
    (void)state;
    struct client clients[KEPT_MAX];
    uv_timer_t timer;
    uv_timer_init(&loop, &timer);
    seen.keep = true;
    start_server();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < KEPT_MAX; i++) {
            if (round == 0)
                open_client(&clients[i]);
            send_text(&clients[i], "POST /later HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok");
        }
        TURN_UNTIL(seen.kept_count == KEPT_MAX);
        uv_timer_start(&timer, answer_kept, 1, 0);
        int64_t before = clock_mono_ms();
        for (int i = 0; i < KEPT_MAX; i++)
            expect_answer(&clients[i], 200, "POST /later? 127.0.0.1: ok");
        assert_true(clock_mono_ms() - before < 2000);
    }
    for (int i = 0; i < KEPT_MAX; i++)
        close_client(&clients[i]);
    assert_int_equal(counts().accepted, KEPT_MAX);
    uv_close((uv_handle_t *)&timer, NULL);
    turn();
}

static void test_clients_that_leave(void **state)
{
    (void)state;
    struct client client;
    start_server();
    /* In the middle of the body: begin has seen it, request never does. */
    open_client(&client);
    send_text(&client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nab");
    TURN_UNTIL(seen.begun == 1);
    close_client(&client);
    TURN_UNTIL(seen.gone == 1);
    assert_true(http_server_idle(server));
    /* While the answer is being made: it goes nowhere. */
    seen.keep = true;
    open_client(&client);
    send_text(&client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    TURN_UNTIL(seen.kept_count == 1);
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close_client(&client);
    turn();
    assert_int_equal(seen.requested, 1);
    if (seen.kept[0] != NULL)
        echo(seen.kept[0]);
    TURN_UNTIL(counts().connections == 0);
    assert_true(http_server_idle(server));
    assert_int_equal(counts().requests, 2);
    /* After half of it, with more than one on the way. */
    struct client many[KEPT_MAX];
    seen.keep = false;
    for (int i = 0; i < KEPT_MAX; i++) {
        open_client(&many[i]);
        send_text(&many[i], "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\nPOST / HT");
        close_client(&many[i]);
    }
    TURN_UNTIL(counts().accepted == 2 + KEPT_MAX && counts().connections == 0);
    assert_true(http_server_idle(server));
}

/* A client that shuts down its side after the request waits for the answer all the same. */
static void test_half_closed(void **state)
{
    (void)state;
    struct client client;
    options.request_ms = 300;
    start_server();
    open_client(&client);
    send_text(&client, "GET /half HTTP/1.1\r\nHost: h\r\n\r\n");
    shutdown(client.fd, SHUT_WR);
    expect_answer(&client, 200, "GET /half? 127.0.0.1: ");
    TURN_UNTIL(is_closed(&client));
    close_client(&client);
}

static void test_room_is_made(void **state)
{
    (void)state;
    struct client waiting, first, second, third, fourth, fifth;
    options.connections_max = 4;
    start_server();
    seen.keep = true;
    open_accepted(&waiting);
    send_text(&waiting, "GET /waiting HTTP/1.1\r\nHost: h\r\n\r\n");
    TURN_UNTIL(seen.kept_count == 1);
    seen.keep = false;
    open_accepted(&first);
    open_accepted(&second);
    open_accepted(&third);
    assert_int_equal(counts().evicted, 0);
    assert_int_equal(counts().connections, 4); /* as many as it may have */
    /* first is answered, so that it is no longer the one that has given no request for longest. */
    int64_t now = clock_mono_ms();
    TURN_UNTIL(clock_mono_ms() > now);
    send_text(&first, "GET /first HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_answer(&first, 200, "GET /first? 127.0.0.1: ");
    open_accepted(&fourth);
    assert_int_equal(counts().evicted, 1);
    TURN_UNTIL(is_closed(&second));
    TURN_UNTIL(counts().connections == 4);
    open_accepted(&fifth);
    TURN_UNTIL(is_closed(&third));
    assert_int_equal(counts().evicted, 2);
    assert_int_equal(counts().too_slow, 0);
    echo(seen.kept[0]);
    expect_answer(&waiting, 200, "GET /waiting? 127.0.0.1: ");
    struct client *all[] = {&waiting, &first, &fourth, &fifth};
    for (size_t i = 0; i < 4; i++) {
        send_text(all[i], "GET /here HTTP/1.1\r\nHost: h\r\n\r\n");
        expect_answer(all[i], 200, "GET /here? 127.0.0.1: ");
        close_client(all[i]);
    }
    close_client(&second);
    close_client(&third);
}

/* Many at once: the last ones get in. */
static void test_a_rush(void **state)
{
    (void)state;
    enum { RUSH = 200 };
    static struct client clients[RUSH];
    options.connections_max = 20;
    start_server();
    for (int i = 0; i < RUSH; i++)
        open_client(&clients[i]);
    send_text(&clients[RUSH - 1], "GET /last HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_answer(&clients[RUSH - 1], 200, "GET /last? 127.0.0.1: ");
    TURN_UNTIL(counts().connections <= 20 && counts().accepted == RUSH);
    assert_int_equal(counts().evicted, RUSH - 20);
    for (int i = 0; i < RUSH; i++)
        close_client(&clients[i]);
    TURN_UNTIL(counts().connections == 0);
}

/* Somebody who asks without reading the answers makes room as well. */
static void test_who_does_not_read_makes_room(void **state)
{
    (void)state;
    static const char request[] = "GET /full HTTP/1.1\r\nHost: h\r\n\r\n";
    struct client deaf, other, third;
    int small = 4096;
    options.connections_max = 2;
    start_server();
    open_client(&deaf);
    setsockopt(deaf.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    int64_t quiet = clock_mono_ms();
    int requested = 0;
    size_t at = 0;
    while (clock_mono_ms() - quiet < 1000) { /* until the server cannot write */
        ssize_t sent = send(deaf.fd, request + at, sizeof request - 1 - at, MSG_NOSIGNAL);
        at = sent > 0 ? (at + (size_t)sent) % (sizeof request - 1) : at;
        if (sent < 0)
            turn();
        if (seen.requested != requested)
            quiet = clock_mono_ms();
        requested = seen.requested;
    }
    assert_false(http_server_idle(server)); /* the answer is not out */
    open_accepted(&other);
    open_accepted(&third);
    assert_int_equal(counts().evicted, 1);
    TURN_UNTIL(counts().connections == 2);
    send_text(&other, "GET /other HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_answer(&other, 200, "GET /other? 127.0.0.1: ");
    close_client(&deaf);
    close_client(&other);
    close_client(&third);
}

/* ---- the end ---- */

static void test_stop(void **state)
{
    (void)state;
    struct client client, late;
    seen.keep = true;
    start_server();
    open_client(&client);
    send_text(&client, "GET /under-way HTTP/1.1\r\nHost: h\r\n\r\n");
    TURN_UNTIL(seen.kept_count == 1);
    http_server_stop(server);
    http_server_stop(server);
    open_client(&late); /* the system takes it; nobody serves it */
    send_text(&late, "GET /late HTTP/1.1\r\nHost: h\r\n\r\n");
    turn();
    turn();
    assert_false(http_server_idle(server));
    echo(seen.kept[0]);
    expect_answer(&client, 200, "GET /under-way? 127.0.0.1: ");
    TURN_UNTIL(http_server_idle(server));
    assert_int_equal(counts().accepted, 1);
    assert_int_equal(seen.requested, 1);
    /* The socket is the caller's still: another server takes who waits. */
    http_server_free(server);
    seen.keep = false;
    start_server();
    expect_answer(&late, 200, "GET /late? 127.0.0.1: ");
    close_client(&client);
    close_client(&late);
}

static void test_free_with_one_waiting(void **state)
{
    (void)state;
    struct client waiting, reading, idle;
    seen.keep = true;
    start_server();
    open_accepted(&idle);
    open_client(&reading);
    send_text(&reading, "POST /reading HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nab");
    open_client(&waiting);
    send_text(&waiting, "GET /waiting HTTP/1.1\r\nHost: h\r\n\r\n");
    TURN_UNTIL(seen.kept_count == 1 && seen.begun == 2);
    http_server_free(server);
    server = NULL;
    assert_int_equal(seen.gone, 2);
    assert_null(seen.kept[0]);
    assert_true(is_closed(&waiting));
    assert_true(is_closed(&reading));
    assert_true(is_closed(&idle));
    assert_int_equal(waiting.in.len, 0);
    close_client(&waiting);
    close_client(&reading);
    close_client(&idle);
    http_server_free(NULL);
}

/* An answer that was given and not sent yet when the server goes. */
static void test_free_right_after_an_answer(void **state)
{
    (void)state;
    struct client client;
    seen.keep = true;
    start_server();
    open_client(&client);
    send_text(&client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    TURN_UNTIL(seen.kept_count == 1);
    echo(seen.kept[0]);
    http_server_free(server);
    server = NULL;
    assert_int_equal(seen.gone, 0);
    TURN_UNTIL(is_closed(&client));
    close_client(&client);
}

/* ---- http_listen ---- */

static void expect_bound(const char *address, const char *prefix)
{
    struct err err;
    char text[HTTP_LISTEN_TEXT_MAX];
    int fd = -1;
    if (http_listen(address, &fd, text, &err) != ERR_NONE)
        fail_msg("%s: %s", address, err.message);
    assert_memory_equal(text, prefix, strlen(prefix));
    char *end = NULL;
    long port = strtol(text + strlen(prefix), &end, 10);
    assert_true(port > 0 && port < 65536 && *end == '\0');
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    /* Nobody else gets it. */
    char message[256];
    int other = 0;
    assert_int_equal(http_listen(text, &other, NULL, &err), ERR_CONFLICT);
    snprintf(message, sizeof message, "%s is in use by another program; stop it, or choose another port",
             text);
    assert_string_equal(err.message, message);
    assert_int_equal(other, -1);
    close(fd);
}

static void expect_no_address(const char *address, enum err_code code, const char *message)
{
    struct err err = {0};
    int fd = 0;
    assert_int_equal(http_listen(address, &fd, NULL, &err), code);
    assert_string_equal(err.message, message);
    assert_int_equal(fd, -1);
}

static void test_listen(void **state)
{
    (void)state;
    expect_bound("127.0.0.1:0", "127.0.0.1:");
    expect_bound("localhost:0", "127.0.0.1:");
    expect_bound(":0", "127.0.0.1:");
    expect_bound("0.0.0.0:0", "0.0.0.0:");
    int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    if (probe >= 0 && bind(probe, (struct sockaddr *)&six, sizeof six) == 0)
        expect_bound("[::1]:0", "[::1]:");
    close(probe);
}

#define FORMS                                                                                                \
    "write it as 127.0.0.1:8321, [::1]:8321, :8321 for this machine only, 0.0.0.0:8321 for all, or "         \
    "unix:/path"

static void test_listen_forms_that_are_none(void **state)
{
    (void)state;
    expect_no_address("", ERR_INVALID, "\"\" has no port; " FORMS);
    expect_no_address("localhost", ERR_INVALID, "\"localhost\" has no port; " FORMS);
    expect_no_address("127.0.0.1:", ERR_INVALID, "\"127.0.0.1:\" has no port; " FORMS);
    expect_no_address("127.0.0.1:65536", ERR_INVALID, "\"127.0.0.1:65536\" has no port; " FORMS);
    expect_no_address("127.0.0.1:-1", ERR_INVALID, "\"127.0.0.1:-1\" has no port; " FORMS);
    expect_no_address("127.0.0.1:80x", ERR_INVALID, "\"127.0.0.1:80x\" has no port; " FORMS);
    expect_no_address("example.com:80", ERR_INVALID,
                      "\"example.com:80\" does not begin with an IP address; " FORMS);
    expect_no_address("[::1:80", ERR_INVALID, "\"[::1:80\" does not begin with an IP address; " FORMS);
    expect_no_address("256.0.0.1:80", ERR_INVALID,
                      "\"256.0.0.1:80\" does not begin with an IP address; " FORMS);
    expect_no_address("::1:80", ERR_INVALID, "\"::1:80\": an IPv6 address goes into brackets; " FORMS);
    expect_no_address("unix:", ERR_INVALID, "\"unix:\" names no file; write unix:/path");
    expect_no_address("192.0.2.1:0", ERR_IO,
                      "192.0.2.1:0 is no address of this machine; take one that \"ip address\" lists");
}

static void test_listen_at_a_file(void **state)
{
    (void)state;
    struct err err;
    char path[200], address[220], text[HTTP_LISTEN_TEXT_MAX], message[400];
    int fd = -1, other = -1;
    snprintf(path, sizeof path, "%s/listen", folder);
    snprintf(address, sizeof address, "unix:%s", path);
    assert_int_equal(http_listen(address, &fd, text, &err), ERR_NONE);
    assert_string_equal(text, address);
    snprintf(message, sizeof message, "%s is there already; stop who listens at it, or choose another path",
             address);
    expect_no_address(address, ERR_CONFLICT, message);
    /* Its file stays behind, and is replaced. */
    close(fd);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(http_listen(address, &fd, NULL, &err), ERR_NONE);
    struct client client;
    open_file_client(&client, path);
    close_client(&client);
    close(fd);
    unlink(path);
    /* Another file is not. */
    other = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(other);
    expect_no_address(address, ERR_CONFLICT, message);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    snprintf(address, sizeof address, "unix:%s/none/listen", folder);
    snprintf(message, sizeof message, "cannot listen at %s: No such file or directory", address);
    expect_no_address(address, ERR_IO, message);
    snprintf(address, sizeof address, "unix:/%0120d", 0);
    expect_no_address(address, ERR_INVALID, "the path of a socket has at most 107 bytes, this one has 121");
    if (geteuid() == 0) /* who may do everything */
        return;
    assert_int_equal(chmod(folder, 0500), 0);
    snprintf(address, sizeof address, "unix:%s", path);
    snprintf(message, sizeof message,
             "%s cannot be made: its folder may not be written to; choose another path", address);
    expect_no_address(address, ERR_DENIED, message);
    assert_int_equal(chmod(folder, 0700), 0);
}

static int make_folder(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVED(test_a_request),
        SERVED(test_split_at_every_byte),
        SERVED(test_pipelined_requests_are_answered_in_order),
        SERVED(test_head),
        SERVED(test_http_1_0),
        SERVED(test_expect_100_continue),
        SERVED(test_chunked_bodies),
        SERVED(test_two_ends_of_a_request),
        SERVED(test_bytes_that_a_field_cannot_have),
        SERVED(test_request_lines_that_are_none),
        SERVED(test_headers_that_are_too_large),
        SERVED(test_bodies_that_are_too_large),
        SERVED(test_bodies_that_are_too_large_together),
        SERVED(test_begin_may_answer),
        SERVED(test_slow_requests_are_dropped),
        SERVED(test_an_answer_may_take_longer_than_a_request),
        SERVED(test_answers_from_the_loop),
        SERVED(test_clients_that_leave),
        SERVED(test_half_closed),
        SERVED(test_room_is_made),
        SERVED(test_a_rush),
        SERVED(test_who_does_not_read_makes_room),
        SERVED(test_stop),
        SERVED(test_free_with_one_waiting),
        SERVED(test_free_right_after_an_answer),
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_listen_forms_that_are_none),
        cmocka_unit_test(test_listen_at_a_file),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
