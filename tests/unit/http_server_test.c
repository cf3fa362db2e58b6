/* The HTTP server against raw bytes: requests, and what is refused. */
#include "http_peer.h"

#include <linux/sockios.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/un.h>

static char folder[] = "/tmp/http_server_test.XXXXXX";

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

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

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
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
