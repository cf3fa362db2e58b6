/* Feeds bytes to the HTTP server over a socket that is a file, and answers every request.
 *
 * The first byte: bit 0 answers wait for a turn of the loop, bit 1 begin answers, bit 2 the bytes come in
 * parts of the size in the second byte, bit 3 the client leaves without reading, bit 4 gives up its side
 * first. */
#include "net/http_listen.h"
#include "net/http_server.h"

#include <linux/sockios.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define HEADER_MAX 2048
#define BODY_MAX 1024
#define TURNS 64 /* without a change, until the client leaves */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uv_loop_t loop;
static struct http_server *server;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static struct http_call *kept;
static unsigned mode;
static uint64_t begun, ended;

static void need(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}
#define NEED(condition) need(condition, #condition)

static void check(const struct http_call *call)
{
    size_t bytes = 0;
    const char *path = http_call_path(call);
    NEED(http_is_token(http_call_method(call), strlen(http_call_method(call))));
    NEED(path[0] == '/' || strcmp(path, "*") == 0);
    NEED(strchr(path, '?') == NULL);
    NEED(strcmp(http_call_peer(call), "unix") == 0);
    for (size_t i = 0; i < http_call_header_count(call); i++) {
        const struct http_header *header = http_call_header_at(call, i);
        NEED(http_is_token(header->name, header->name_len) && header->name[header->name_len] == '\0');
        NEED(strlen(header->value) == header->value_len);
        for (const char *c = header->name; *c != '\0'; c++)
            NEED(*c < 'A' || *c > 'Z');
        for (const char *c = header->value; *c != '\0'; c++)
            NEED((unsigned char)*c >= 0x20 || *c == '\t');
        bytes += header->name_len + header->value_len + 4;
    }
    NEED(bytes <= HEADER_MAX);
    NEED(http_call_header(call, "content-length") == NULL ||
         http_call_header(call, "transfer-encoding") == NULL);
}

static void check_body(const struct http_call *call)
{
    size_t len = 0;
    const char *length = http_call_header(call, "content-length");
    NEED(http_call_body(call, &len)[len] == '\0');
    NEED(len <= BODY_MAX);
    if (length != NULL)
        NEED(strtoull(length, NULL, 10) == len);
    else if (http_call_header(call, "transfer-encoding") == NULL)
        NEED(len == 0);
}

static void answer(struct http_call *call)
{
    static const struct http_answer_field type = {"content-type", "text/plain"};
    ended++;
    http_call_answer(call, 200, &type, 1, "yes", 3);
}

static void on_begin(void *ctx, struct http_call *call)
{
    (void)ctx;
    begun++;
    check(call);
    if (mode & 2)
        answer(call);
}

static void on_request(void *ctx, struct http_call *call)
{
    (void)ctx;
    check(call);
    check_body(call);
    NEED(kept == NULL);
    if (mode & 1)
        kept = call;
    else
        answer(call);
}

static void on_gone(void *ctx, struct http_call *call)
{
    (void)ctx;
    check(call); /* it is still there */
    if (kept == call)
        kept = NULL;
    ended++;
}

static void make_server(void)
{
    char text[HTTP_LISTEN_TEXT_MAX];
    struct err err;
    struct http_server_options options = {.header_max = HEADER_MAX,
                                          .body_max = BODY_MAX,
                                          .bodies_max = BODY_MAX,
                                          .request_ms = 60000,
                                          .connections_max = 16,
                                          .begin = on_begin,
                                          .request = on_request,
                                          .gone = on_gone};
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&loop);
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/fuzz_http_server.%d", (int)getpid());
    snprintf(text, sizeof text, "unix:%s", address.sun_path);
    if (http_listen(text, &options.listen_fd, NULL, &err) != ERR_NONE ||
        http_server_new(&loop, &options, &server, &err) != ERR_NONE) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
}

static void remove_file(void)
{
    unlink(address.sun_path);
}

static void turn(void)
{
    uv_run(&loop, UV_RUN_NOWAIT);
    if (kept != NULL) {
        struct http_call *call = kept;
        kept = NULL;
        answer(call);
    }
}

static bool is_read(int fd)
{
    int waiting = 0;
    return ioctl(fd, SIOCOUTQ, &waiting) == 0 && waiting == 0;
}

/* Turns until nothing more comes of what was sent. True when the server has closed. */
static bool settle(int fd)
{
    char part[4096];
    for (int quiet = 0; quiet < (is_read(fd) ? 3 : TURNS); quiet++) {
        turn();
        if (mode & 8)
            continue;
        ssize_t got = recv(fd, part, sizeof part, MSG_DONTWAIT);
        if (got == 0)
            return true;
        if (got > 0)
            quiet = 0;
    }
    return false;
}

static struct http_server_counts counts(void)
{
    struct http_server_counts found;
    http_server_get_counts(server, &found);
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 65536)
        return 0;
    if (server == NULL) {
        make_server();
        atexit(remove_file);
    }
    mode = data[0];
    size_t part = mode & 4 ? (size_t)data[1] + 1 : size;
    data += 2;
    size -= 2;

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        abort();
    while (size > 0) {
        ssize_t sent = send(fd, data, size < part ? size : part, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (settle(fd) || sent < 0)
            break;
        data += sent;
        size -= (size_t)sent;
    }
    if (mode & 16)
        shutdown(fd, SHUT_WR);
    settle(fd);
    close(fd);
    for (int turns = 0; counts().connections > 0 || kept != NULL; turns++) {
        NEED(turns < 10000);
        turn();
    }
    NEED(http_server_idle(server));
    NEED(begun == ended);
    return 0;
}
