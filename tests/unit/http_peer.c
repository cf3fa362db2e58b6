/* See http_peer.h. */
#include "http_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>

uv_loop_t loop;
struct http_server *server;
struct http_server_options options;
int listen_fd;
static char bound[HTTP_LISTEN_TEXT_MAX];

/* ---- what is served ---- */

struct seen seen;

void answer_text(struct http_call *call, int status, const char *text)
{
    const struct http_answer_field type = {"content-type", "text/plain"};
    http_call_answer(call, status, &type, 1, text, strlen(text));
}

void echo(struct http_call *call)
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

int set_up(void **state)
{
    struct err err;
    (void)state;
    signal(SIGPIPE, SIG_IGN);
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

int tear_down(void **state)
{
    (void)state;
    http_server_free(server);
    uv_run(&loop, UV_RUN_DEFAULT);
    close(listen_fd);
    return uv_loop_close(&loop); /* not 0 when a handle was left open */
}

void start_server(void)
{
    struct err err;
    if (http_server_new(&loop, &options, &server, &err) != ERR_NONE)
        fail_msg("%s", err.message);
}

struct http_server_counts counts(void)
{
    struct http_server_counts found;
    http_server_get_counts(server, &found);
    return found;
}

/* ---- a client ---- */

void connect_to(struct client *client, int family, const struct sockaddr *address, socklen_t len)
{
    buf_init(&client->in, 1 << 20);
    client->ended = false;
    client->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(client->fd >= 0);
    assert_int_equal(connect(client->fd, address, len), 0);
    assert_int_equal(fcntl(client->fd, F_SETFL, O_NONBLOCK), 0);
}

void open_client(struct client *client)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((in_port_t)strtol(strrchr(bound, ':') + 1, NULL, 10));
    connect_to(client, AF_INET, (struct sockaddr *)&address, sizeof address);
}

void close_client(struct client *client)
{
    close(client->fd);
    buf_free(&client->in);
}

void turn(void)
{
    uv_run(&loop, UV_RUN_ONCE);
}

void open_accepted(struct client *client)
{
    uint64_t before = counts().accepted;
    open_client(client);
    TURN_UNTIL(counts().accepted == before + 1);
}

void receive(struct client *client)
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

bool is_closed(struct client *client)
{
    receive(client);
    return client->ended;
}

bool try_send(struct client *client, const void *bytes, size_t len)
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

void send_text(struct client *client, const char *text)
{
    assert_true(try_send(client, text, strlen(text)));
}

bool take_answer(struct client *client, bool with_body, struct answer *answer)
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

struct answer next_answer(struct client *client)
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

void expect_answer(struct client *client, int status, const char *body)
{
    struct answer answer = next_answer(client);
    assert_string_equal(answer.body, body);
    assert_int_equal(answer.status, status);
}
