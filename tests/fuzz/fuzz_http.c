/* Feeds bytes as the whole answer of a server to the HTTP client, over a socket pair, with small limits.
 *
 * socket() and connect() below take the place of the C library's, for libcurl too: link with -rdynamic.
 * The first byte chooses the request: bit 0 HEAD, bit 1 no redirects, bit 2 the answer comes in two parts. */
#include "net/http_client.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct answer {
    const uint8_t *data;
    size_t size;
    size_t first; /* bytes written at once; the rest when the loop turns */
    int peers[8]; /* one for each hop */
    size_t peer_count;
    int calls;
};

static uv_loop_t loop;
static struct answer *current;

/* The whole answer fits into the buffer of the pair: the fuzzer's inputs are small. */
int socket(int domain, int type, int protocol)
{
    int ends[2];
    (void)domain;
    (void)type;
    (void)protocol;
    if (current == NULL || current->peer_count == sizeof current->peers / sizeof current->peers[0]) {
        errno = EMFILE;
        return -1;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
        return -1;
    (void)!write(ends[1], current->data, current->first);
    if (current->first == current->size)
        shutdown(ends[1], SHUT_WR);
    current->peers[current->peer_count++] = ends[1];
    return ends[0];
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
    (void)fd;
    (void)address;
    (void)len;
    return 0;
}

/* No look-ups, which would leave the process. */
static bool only_here(void *ctx, bool tls, const char *host, int port, char *reason)
{
    (void)ctx;
    (void)port;
    (void)reason;
    return !tls && strcmp(host, "127.0.0.1") == 0;
}

static void on_done(void *ctx, struct http_response *response, const struct http_failure *failure)
{
    struct answer *answer = ctx;
    answer->calls++;
    if ((response == NULL) == (failure == NULL))
        abort();
    if (failure != NULL && (failure->error == HTTP_OK || failure->error == HTTP_ERROR_INTERNAL ||
                            failure->error == HTTP_ERROR_TIMEOUT || failure->message[0] == '\0')) {
        fprintf(stderr, "%s: %s\n", http_error_code(failure->error), failure->message);
        abort();
    }
    if (response != NULL && (response->body_len > 4096 || response->headers.count > HTTP_HEADERS_MAX_COUNT ||
                             response->status < 100 || response->body[response->body_len] != '\0'))
        abort();
    http_response_free(response);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) {
        signal(SIGPIPE, SIG_IGN);
        uv_loop_init(&loop);
        ready = true;
    }
    if (size < 1 || size > 65536)
        return 0;
    struct answer answer = {.data = data + 1, .size = size - 1, .first = size - 1};
    if (data[0] & 4)
        answer.first = answer.size / 2;

    struct err err;
    struct http_client *client = http_client_new(&loop, &err);
    struct http_request request;
    http_request_init(&request);
    request.url = http_slice("http://127.0.0.1/");
    request.method = http_slice(data[0] & 1 ? "HEAD" : "GET");
    request.max_redirects = data[0] & 2 ? 0 : 3;
    request.max_body = 4096;
    request.timeout_ms = 5000;
    request.allow_url = only_here;
    current = &answer;
    if (http_client_send(client, &request, on_done, &answer, NULL, &err) != ERR_NONE)
        abort();
    while (answer.calls == 0) {
        size_t before = answer.peer_count;
        uv_run(&loop, answer.first < answer.size && before > 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
        if (answer.first < answer.size && answer.peer_count > 0) {
            (void)!write(answer.peers[0], answer.data + answer.first, answer.size - answer.first);
            shutdown(answer.peers[0], SHUT_WR);
            answer.first = answer.size;
        }
    }
    http_client_free(client);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (answer.calls != 1 || uv_loop_alive(&loop))
        abort();
    for (size_t i = 0; i < answer.peer_count; i++)
        close(answer.peers[i]);
    current = NULL;
    return 0;
}
