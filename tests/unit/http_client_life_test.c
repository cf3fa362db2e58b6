/* Many requests of the HTTP client at once, cancelling, freeing, and memory that runs out. */
#include "http_service.h"

#include "base/mem.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void send_many(struct outcome *outcomes, struct http_handle **handles, size_t count, const char *path)
{
    struct err err;
    set_path(path);
    memset(outcomes, 0, count * sizeof *outcomes);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(http_client_send(client, &request, on_done, &outcomes[i],
                                          handles != NULL ? &handles[i] : NULL, &err),
                         ERR_NONE);
}

static struct outcome outcomes[200];
static struct http_handle *handles[200];

static void test_connections_are_reused(void **state)
{
    (void)state;
    http_client_set_limits(client, 8, 256);
    long before = count_of("/connections");
    send_many(outcomes, NULL, 200, "/status/200");
    assert_int_equal(http_client_pending(client), 200);
    uv_run(&loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(outcomes[i].calls, 1);
        assert_non_null(outcomes[i].response);
        assert_int_equal(outcomes[i].response->status, 200);
        http_response_free(outcomes[i].response);
    }
    long opened = count_of("/connections") - before;
    assert_in_range(opened, 1, 7); /* one of the eight is older */
    http_client_idle(client);
    assert_int_equal(count_of("/connections") - before, opened + 1);
}

static void test_line_is_served_after_failures(void **state)
{
    (void)state;
    http_client_set_limits(client, 2, 2);
    send_many(outcomes, NULL, 20, "/hang-up");
    uv_run(&loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(outcomes[i].calls, 1);
        assert_int_equal(outcomes[i].error, HTTP_ERROR_RESET);
    }
    /* Waiting in line is not part of the timeout: five one after the other take longer than it. */
    http_client_set_limits(client, 1, 1);
    request.timeout_ms = 400;
    send_many(outcomes, NULL, 5, "/delay/0.15");
    uv_run(&loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < 5; i++) {
        assert_non_null(outcomes[i].response);
        http_response_free(outcomes[i].response);
    }
}

static void test_cancel(void **state)
{
    (void)state;
    http_client_set_limits(client, 10, 10);
    send_many(outcomes, handles, 50, "/delay/10");
    uv_run(&loop, UV_RUN_NOWAIT);
    uv_run(&loop, UV_RUN_NOWAIT);
    for (size_t i = 0; i < 50; i++)
        http_cancel(handles[i]); /* ten under way, forty in line */
    http_cancel(NULL);
    assert_int_equal(http_client_pending(client), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < 50; i++)
        assert_int_equal(outcomes[i].calls, 0);
    /* Cancelling one under way makes room for the next in line. */
    http_client_set_limits(client, 1, 1);
    request.timeout_ms = 5000;
    send_many(outcomes, handles, 1, "/delay/10");
    send_many(outcomes + 1, handles + 1, 1, "/status/200");
    uv_run(&loop, UV_RUN_NOWAIT);
    http_cancel(handles[0]);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(outcomes[1].calls, 1);
    assert_int_equal(outcomes[1].response->status, 200);
    assert_in_range(outcomes[1].response->queued_ms, 0, 4000); /* not only when a deadline passed */
    http_response_free(outcomes[1].response);

    request.url = http_slice("nonsense");
    struct err err;
    assert_int_equal(http_client_send(client, &request, on_done, &outcomes[0], &handles[0], &err), ERR_NONE);
    http_cancel(handles[0]); /* failed, but not yet reported */
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(outcomes[0].calls, 0);
}

/* The first callback cancels all others and itself, and sends one more. */
static void cancel_others(void *ctx, struct http_response *response, const struct http_failure *failure)
{
    struct err err;
    (void)failure;
    assert_null(ctx);
    assert_non_null(response);
    http_response_free(response);
    for (size_t i = 0; i < 200; i++)
        http_cancel(handles[i]);
    memset(&outcomes[0], 0, sizeof outcomes[0]);
    assert_int_equal(http_client_send(client, &request, on_done, &outcomes[0], NULL, &err), ERR_NONE);
}

static void test_cancel_from_callback(void **state)
{
    (void)state;
    struct err err;
    send_many(outcomes, handles, 199, "/delay/10");
    set_path("/status/200");
    assert_int_equal(http_client_send(client, &request, cancel_others, NULL, &handles[199], &err), ERR_NONE);
    http_client_set_limits(client, 250, 250);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(outcomes[0].calls, 1);
    assert_int_equal(outcomes[0].response->status, 200);
    http_response_free(outcomes[0].response);
    for (size_t i = 1; i < 199; i++)
        assert_int_equal(outcomes[i].calls, 0);
}

static bool cancel_first_two(void *ctx, const struct sockaddr *address, char *reason)
{
    (void)ctx;
    (void)address;
    (void)reason;
    http_cancel(handles[0]);
    http_cancel(handles[1]);
    return true;
}

static bool cancel_first_two_at_url(void *ctx, bool tls, const char *host, int port, char *reason)
{
    (void)tls;
    (void)host;
    (void)port;
    return cancel_first_two(ctx, NULL, reason);
}

/* Forbidden by the contract, and yet it must not crash. */
static void test_cancel_from_inside_curl(void **state)
{
    (void)state;
    for (int at_url = 0; at_url < 2; at_url++) {
        request.allow_address = at_url ? NULL : cancel_first_two;
        request.allow_url = at_url ? cancel_first_two_at_url : NULL;
        struct err err;
        memset(outcomes, 0, 3 * sizeof *outcomes);
        handles[1] = handles[2] = NULL;
        set_path("/status/200");
        assert_int_equal(http_client_send(client, &request, on_done, &outcomes[0], &handles[0], &err),
                         ERR_NONE);
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(outcomes[0].calls, 0);
        assert_int_equal(http_client_pending(client), 0);
    }
}

static void test_free_in_flight(void **state)
{
    const char *urls[] = {"http://127.0.0.1:%d/delay/10", "http://127.0.0.1:%d/drip?bytes=50&seconds=20",
                          "https://localhost:%d/delay/10", "http://name.invalid:%d/"};
    struct err err;
    for (int turns = 0; turns < 12; turns++) {
        memset(outcomes, 0, 40 * sizeof *outcomes);
        for (size_t i = 0; i < 40; i++) {
            char text[128];
            const char *url = urls[i % 4];
            const char *mark = strstr(url, "%d");
            snprintf(text, sizeof text, "%.*s%d%s", (int)(mark - url), url,
                     i % 4 == 2 ? secure.port : plain.port, mark + 2);
            request.url = http_slice(text);
            request.ca_file = http_slice(certificate);
            assert_int_equal(http_client_send(client, &request, on_done, &outcomes[i], NULL, &err), ERR_NONE);
        }
        for (int i = 0; i < turns; i++)
            uv_run(&loop, UV_RUN_ONCE);
        int called = 0;
        for (size_t i = 0; i < 40; i++)
            called += outcomes[i].calls;
        http_client_free(client);
        uv_run(&loop, UV_RUN_DEFAULT);
        for (size_t i = 0; i < 40; i++)
            called -= outcomes[i].calls;
        assert_int_equal(called, 0); /* none after the free */
        assert_int_equal(uv_loop_close(&loop), 0);
        assert_int_equal(open_client(state), 0);
    }
}

static void free_client(void *ctx, struct http_response *response, const struct http_failure *failure)
{
    int *calls = ctx;
    (*calls)++;
    assert_true((response == NULL) != (failure == NULL));
    http_response_free(response);
    http_client_free(client);
    client = NULL;
}

static void test_free_from_callback(void **state)
{
    struct err err;
    const char *urls[] = {"nonsense", "http://127.0.0.1:%d/status/200"};
    for (size_t n = 0; n < 2; n++) {
        int calls = 0;
        if (n == 0)
            request.url = http_slice(urls[0]);
        else
            set_path("/status/200");
        for (int i = 0; i < 10; i++)
            assert_int_equal(http_client_send(client, &request, free_client, &calls, NULL, &err), ERR_NONE);
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(calls, 1);
        assert_int_equal(uv_loop_close(&loop), 0);
        assert_int_equal(open_client(state), 0);
    }
}

static void send_again(void *ctx, struct http_response *response, const struct http_failure *failure)
{
    int *left = ctx;
    struct err err;
    (void)failure;
    http_response_free(response);
    if (--*left > 0)
        assert_int_equal(http_client_send(client, &request, send_again, left, NULL, &err), ERR_NONE);
}

static void test_chain_of_failures(void **state)
{
    (void)state;
    struct err err;
    int left = 100;
    request.url = http_slice("nonsense");
    assert_int_equal(http_client_send(client, &request, send_again, &left, NULL, &err), ERR_NONE);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(left > 0); /* one a turn: nobody else is starved */
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(left, 0);
}

/* Every allocation of a request with a redirect fails once, with all that follow. */
static void test_out_of_memory(void **state)
{
#ifndef WORKERS_FAULT_INJECTION
    (void)state;
    skip();
#else
    struct http_field fields[] = {field("X-One", "1"), field("X-Two", "2")};
    request.headers = fields;
    request.header_count = 2;
    request.timeout_ms = 5000;
    set_path("/redirect/1");
    http_response_free(expect_status(200)); /* what is loaded once */
    unsigned long failures = 0;
    bool completed = false;
    for (unsigned long nth = 1; nth < 5000 && !completed; nth++) {
        struct outcome outcome = {0};
        struct err err;
        http_client_idle(client);
        mem_fail_from(nth);
        enum err_code code = http_client_send(client, &request, on_done, &outcome, NULL, &err);
        if (code == ERR_NONE)
            uv_run(&loop, UV_RUN_DEFAULT);
        completed = mem_alloc_count() < nth;
        mem_fail_from(0);
        assert_int_equal(outcome.calls, code == ERR_NONE ? 1 : 0);
        assert_true(code == ERR_NONE || code == ERR_NOMEM);
        assert_int_equal(http_client_pending(client), 0);
        if (outcome.response == NULL)
            failures++;
        if (outcome.error != HTTP_OK && outcome.error != HTTP_ERROR_NOMEM)
            fail_msg("allocation %lu: %s: %s", nth, http_error_code(outcome.error), outcome.message);
        http_response_free(outcome.response);
    }
    assert_true(completed);
    assert_true(failures > 50);
    close_client(state);
    open_client(state);
#endif
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, open_client, close_client)

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        TEST(test_connections_are_reused),
        TEST(test_line_is_served_after_failures),
        TEST(test_cancel),
        TEST(test_cancel_from_callback),
        TEST(test_cancel_from_inside_curl),
        TEST(test_free_in_flight),
        TEST(test_free_from_callback),
        TEST(test_chain_of_failures),
        TEST(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
