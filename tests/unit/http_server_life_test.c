/* The HTTP server over time: slow clients and those that leave, room for others, stopping. */
#include "http_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
