/* libmicrohttpd on a libuv loop. Must not decide what is served.
 *
 * The library is run from the loop, without threads of its own: its epoll descriptor is watched, and MHD_run
 * does what is due. While an answer is being made the connection is suspended. What the library has no limit
 * for, the time of a whole request, is watched here: the socket of one that is too slow is shut down, which
 * the library sees as the client's leaving. */
#include "net/http_server.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/address.h"
#include "net/microhttpd_api.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define WATCH_MS 250
#define HEADERS_MAX 100
#define DROPPED_MAX ((size_t)64 * 1024 * 1024) /* bytes of a body that was refused */
/* Bytes that the library gets besides the headers: for each field, and for the rest. It touches them all once
 * a connection has had a request, so that they decide what idle ones cost. More than 32 KiB altogether are
 * mapped: they cost nothing before, and go back to the system. */
#define LIBRARY_ROOM ((size_t)HEADERS_MAX * 64 + (size_t)12 * 1024)
#define BODY_SMALL ((size_t)64 * 1024)   /* always taken */
#define STREAM_BLOCK ((size_t)16 * 1024) /* that the library asks for at once */
#define FILES_KEPT 64                    /* descriptors that are not for connections */

#define BUSY_RUNS                                                                                            \
    64 /* of the library, one after the other, in which nothing happened, before it has to wait */
#define BUSY_MS 20

enum call_state {
    CALL_READING,   /* the body comes */
    CALL_REFUSED,   /* an error of the server's own is due once the body has been read */
    CALL_WAITING,   /* for its answer; the connection is suspended */
    CALL_STREAMING, /* the answer has begun; more of its body comes */
    CALL_ANSWERED,  /* the library has the answer, or is about to */
};

struct connection {
    struct http_server *server;
    struct MHD_Connection *handle;
    struct http_call *call; /* NULL between requests */
    int64_t since_ms;       /* monotonic: connected, or the last answer was done */
    bool shut;
    char peer[ADDRESS_TEXT_MAX];
    struct connection *next, *previous;
};

struct http_call {
    struct http_server *server;
    struct connection *connection;
    enum call_state state;
    bool suspended, lent; /* lent: the callbacks know it */
    int64_t started_ms;
    char *method, *path, *query;
    struct http_header *headers;
    size_t header_count, header_bytes;
    bool bad_header;
    struct arena text;
    struct buf body;
    size_t body_max;
    struct buf stream; /* of an answer that comes piece by piece: what the library has not taken yet */
    size_t stream_at;
    int refusal;  /* status */
    bool refused; /* the answer was the server's own */
    size_t dropped;
    void *user;
    struct MHD_Response *response; /* queued when the library asks again */
    int status;
};

struct http_server {
    const struct microhttpd_api *api;
    struct http_server_options options;
    struct MHD_Daemon *daemon;
    uv_poll_t *poll;
    uv_timer_t *timer, *watch;
    struct connection *connections;
    size_t under_way, body_bytes; /* calls, and the memory of their bodies */
    bool polled;
    struct http_server_counts counts;
    bool stopped, freeing, running, again;
    unsigned busy_runs;
};

static void on_timer(uv_timer_t *timer);

/* ---- calls ---- */

static void free_body(struct http_call *call)
{
    call->server->body_bytes -= call->body.cap;
    buf_free(&call->body);
}

static void free_call(struct http_call *call)
{
    if (call->response != NULL)
        call->server->api->destroy_response(call->response);
    free_body(call);
    buf_free(&call->stream);
    arena_free(&call->text);
    mem_free(call->headers);
    mem_free(call);
}

static void end_call(struct http_call *call)
{
    struct http_server *server = call->server;
    server->under_way--;
    if (call->connection != NULL) {
        call->connection->call = NULL;
        call->connection->since_ms = clock_mono_ms();
    }
    if (call->lent && (call->state != CALL_ANSWERED || call->refused) && server->options.gone != NULL)
        server->options.gone(server->options.ctx, call);
    free_call(call);
}

static enum MHD_Result count_header(void *ctx, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                    const char *value, size_t value_len)
{
    struct http_call *call = ctx;
    (void)kind;
    (void)name;
    (void)value;
    call->header_count++;
    call->header_bytes += name_len + value_len + 4;
    return MHD_YES;
}

/* Bytes that RFC 9110, section 5.5 allows in a value. */
static bool is_field_text(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static enum MHD_Result take_header(void *ctx, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                   const char *value, size_t value_len)
{
    struct http_call *call = ctx;
    (void)kind;
    value = value != NULL ? value : "";
    while (value_len > 0 && (value[value_len - 1] == ' ' || value[value_len - 1] == '\t'))
        value_len--; /* libmicrohttpd 0.9 leaves them */
    char *own_name = arena_strndup(&call->text, name, name_len);
    char *own_value = arena_strndup(&call->text, value, value_len);
    if (own_name == NULL || own_value == NULL || !http_is_token(name, name_len) ||
        !is_field_text(value, value_len)) {
        call->bad_header = true;
        return MHD_NO;
    }
    for (size_t i = 0; i < name_len; i++)
        if (own_name[i] >= 'A' && own_name[i] <= 'Z')
            own_name[i] = (char)(own_name[i] + ('a' - 'A'));
    call->headers[call->header_count++] = (struct http_header){
        .name = own_name, .name_len = name_len, .value = own_value, .value_len = value_len};
    return MHD_YES;
}

/* A status when the headers are refused, else 0. */
static int read_headers(struct http_call *call)
{
    const struct http_server *server = call->server;
    struct MHD_Connection *handle = call->connection->handle;
    server->api->get_connection_values_n(handle, MHD_HEADER_KIND, count_header, call);
    if (call->header_count > HEADERS_MAX || call->header_bytes > server->options.header_max)
        return 431;
    call->headers = mem_alloc((call->header_count + 1) * sizeof *call->headers);
    if (call->headers == NULL)
        return 503;
    call->header_count = 0;
    server->api->get_connection_values_n(handle, MHD_HEADER_KIND, take_header, call);
    if (call->bad_header)
        return 400;
    /* Where two parties could disagree on where a request ends, it is refused (RFC 9112, section 6.1). */
    const char *length = NULL;
    bool chunked = false;
    for (size_t i = 0; i < call->header_count; i++) {
        const struct http_header *header = &call->headers[i];
        if (strcmp(header->name, "transfer-encoding") == 0) {
            if (chunked || strcasecmp(header->value, "chunked") != 0)
                return 400;
            chunked = true;
        } else if (strcmp(header->name, "content-length") == 0) {
            if (length != NULL || strspn(header->value, "0123456789") != header->value_len)
                return 400;
            length = header->value;
        }
    }
    if (chunked && length != NULL)
        return 400;
    return 0;
}

static bool announces_more_than(const struct http_call *call, size_t max)
{
    const char *length = http_call_header(call, "content-length");
    size_t size = 0;
    for (; length != NULL && *length != '\0'; length++) {
        size = size * 10 + (size_t)(*length - '0');
        if (size > max)
            return true;
    }
    return false;
}

/* ---- answers ---- */

/* Whether the answer has been given, or begun. */
static bool has_answer(const struct http_call *call)
{
    return call->state == CALL_ANSWERED || call->state == CALL_STREAMING;
}

/* *response becomes NULL when they cannot be added. */
static void add_fields(const struct http_server *server, struct MHD_Response **response,
                       const struct http_answer_field *fields, size_t count)
{
    for (size_t i = 0; i < count && *response != NULL; i++) {
        if (server->api->add_response_header(*response, fields[i].name, fields[i].value) == MHD_NO) {
            server->api->destroy_response(*response);
            *response = NULL;
        }
    }
}

/* The library asks again. */
static void resume(struct http_call *call)
{
    struct http_server *server = call->server;
    if (!call->suspended)
        return;
    call->suspended = false;
    server->api->resume_connection(call->connection->handle);
    if (!server->running)
        uv_timer_start(server->timer, on_timer, 0, 0);
    server->again = true;
}

static struct MHD_Response *make_response(const struct http_server *server,
                                          const struct http_answer_field *fields, size_t count,
                                          const void *body, size_t len)
{
    struct MHD_Response *response =
        server->api->create_response_from_buffer(len, (void *)(uintptr_t)(len > 0 ? body : ""),
                                                 len > 0 ? MHD_RESPMEM_MUST_COPY : MHD_RESPMEM_PERSISTENT);
    add_fields(server, &response, fields, count);
    return response;
}

static enum MHD_Result queue(struct http_call *call)
{
    const struct http_server *server = call->server;
    enum MHD_Result result =
        server->api->queue_response(call->connection->handle, (unsigned)call->status, call->response);
    server->api->destroy_response(call->response);
    call->response = NULL;
    return result;
}

/* An error of the server's own; after it the connection closes, for nobody knows what follows. */
static enum MHD_Result refuse(struct http_call *call, int status)
{
    static const struct http_answer_field fields[] = {
        {"content-type", "application/json"}, {"connection", "close"}, {"retry-after", "5"}};
    const char *code = "bad_request";
    char message[96] = "the head of the request is malformed", body[192];
    if (status == 431) {
        code = "headers_too_large";
        snprintf(message, sizeof message, "the headers are more than %d, or more than %zu bytes", HEADERS_MAX,
                 call->server->options.header_max);
    } else if (status == 413) {
        code = "body_too_large";
        snprintf(message, sizeof message, "the body has more than %zu bytes", call->body_max);
    } else if (status == 503) {
        code = "no_memory";
        snprintf(message, sizeof message, "too much is under way: send it again later");
    }
    int len = snprintf(body, sizeof body, "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}", code, message);
    call->state = CALL_ANSWERED;
    call->refused = true;
    call->status = status;
    call->response = make_response(call->server, fields, status == 503 ? 3 : 2, body, (size_t)len);
    return call->response != NULL ? queue(call) : MHD_NO;
}

void http_call_answer(struct http_call *call, int status, const struct http_answer_field *fields,
                      size_t count, const void *body, size_t len)
{
    struct http_server *server = call->server;
    if (has_answer(call))
        return;
    call->state = CALL_ANSWERED;
    call->status = status;
    call->response = make_response(server, fields, count, body, len);
    resume(call);
}

/* ---- answers that come piece by piece ---- */

static void shut(struct connection *connection);

/* Asked by the library for more of the body. */
static ssize_t read_stream(void *ctx, uint64_t position, char *out, size_t max)
{
    struct http_call *call = ctx;
    size_t len = call->stream.len - call->stream_at;
    (void)position;
    if (len == 0 && call->state == CALL_ANSWERED)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (len == 0) {
        call->suspended = true;
        call->server->api->suspend_connection(call->connection->handle);
        return 0;
    }
    len = len < max ? len : max;
    memcpy(out, call->stream.data + call->stream_at, len);
    call->stream_at += len;
    if (call->stream_at == call->stream.len) {
        buf_clear(&call->stream);
        call->stream_at = 0;
    }
    return (ssize_t)len;
}

void http_call_begin(struct http_call *call, int status, const struct http_answer_field *fields, size_t count)
{
    struct http_server *server = call->server;
    if (has_answer(call))
        return;
    call->state = CALL_STREAMING;
    call->status = status;
    buf_init(&call->stream, BUF_UNLIMITED);
    call->response =
        server->api->create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, call, NULL);
    add_fields(server, &call->response, fields, count);
    resume(call);
}

void http_call_write(struct http_call *call, const void *data, size_t len)
{
    if (call->state != CALL_STREAMING)
        return;
    if (call->stream_at > STREAM_BLOCK) { /* what has been taken makes room */
        memmove(call->stream.data, call->stream.data + call->stream_at, call->stream.len - call->stream_at);
        call->stream.len -= call->stream_at;
        call->stream_at = 0;
    }
    buf_add(&call->stream, data, len);
    if (call->connection != NULL &&
        (call->stream.failed || call->stream.len - call->stream_at > HTTP_STREAM_MAX))
        shut(call->connection);
    resume(call);
}

void http_call_end(struct http_call *call)
{
    if (call->state != CALL_STREAMING)
        return;
    call->state = CALL_ANSWERED;
    resume(call);
}

/* ---- what the library tells ---- */

static enum MHD_Result lend(struct http_call *call, void (*callback)(void *ctx, struct http_call *call))
{
    const struct http_server *server = call->server;
    call->lent = true;
    callback(server->options.ctx, call);
    if (has_answer(call))
        return call->response != NULL ? queue(call) : MHD_NO;
    return MHD_YES;
}

static enum MHD_Result begin_call(struct http_call *call, const char *method, const char *version)
{
    const struct http_server *server = call->server;
    call->method = arena_strndup(&call->text, method, strlen(method));
    if (call->method == NULL || call->path == NULL)
        return refuse(call, 503);
    if (strncmp(version, "HTTP/1.", 7) != 0 || !http_is_token(method, strlen(method)) ||
        !is_field_text(call->path, strlen(call->path)) ||
        (call->path[0] != '/' && strcmp(call->path, "*") != 0))
        return refuse(call, 400);
    int status = read_headers(call);
    if (status != 0)
        return refuse(call, status);
    call->server->counts.requests++;
    if (server->options.begin != NULL) {
        enum MHD_Result result = lend(call, server->options.begin);
        if (has_answer(call))
            return result;
    }
    if (!announces_more_than(call, call->body_max))
        return MHD_YES;
    /* Who sends the body without waiting for leave reads the answer after it. */
    if (http_call_header(call, "expect") != NULL || announces_more_than(call, DROPPED_MAX))
        return refuse(call, 413);
    call->state = CALL_REFUSED;
    call->refusal = 413;
    return MHD_YES;
}

/* A status when the body is refused, else 0. */
static int add_to_body(struct http_call *call, const char *data, size_t len)
{
    struct http_server *server = call->server;
    size_t before = call->body.cap, whole = call->body.len + len;
    if (whole > call->body_max)
        return 413;
    if (whole > BODY_SMALL && server->body_bytes + len > server->options.bodies_max)
        return 503;
    buf_add(&call->body, data, len);
    server->body_bytes += call->body.cap - before;
    return call->body.failed ? 503 : 0;
}

static enum MHD_Result read_body(struct http_call *call, const char *data, size_t *len)
{
    if (call->state == CALL_READING) {
        call->refusal = add_to_body(call, data, *len);
        if (call->refusal != 0) {
            call->state = CALL_REFUSED;
            free_body(call);
        }
    }
    if (call->state == CALL_REFUSED) { /* the rest is read, so that the answer arrives; not for ever */
        call->dropped += *len;
        if (call->dropped > DROPPED_MAX)
            return MHD_NO;
    }
    *len = 0;
    return MHD_YES;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *handle, const char *url,
                                  const char *method, const char *version, const char *data, size_t *len,
                                  void **kept)
{
    struct http_server *server = ctx;
    struct http_call *call = *kept;
    (void)url;
    server->busy_runs = 0;
    if (call == NULL) /* no memory for it, see on_line */
        return MHD_NO;
    if (call->method == NULL) /* the first time */
        return begin_call(call, method, version);
    if (*len > 0)
        return read_body(call, data, len);
    if (call->state == CALL_REFUSED)
        return refuse(call, call->refusal);
    if (has_answer(call)) /* resumed */
        return call->response != NULL ? queue(call) : MHD_NO;
    if (call->state == CALL_WAITING)
        return MHD_YES;
    call->state = CALL_WAITING;
    enum MHD_Result result = lend(call, server->options.request);
    if (has_answer(call))
        return result;
    call->suspended = true;
    server->api->suspend_connection(handle);
    return MHD_YES;
}

/* The request line has come: the call begins, with its target as it was sent. */
static void *on_line(void *ctx, const char *uri, struct MHD_Connection *handle)
{
    struct http_server *server = ctx;
    const union MHD_ConnectionInfo *info =
        server->api->get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_call *call = mem_zalloc(sizeof *call);
    if (call == NULL || info == NULL || info->socket_context == NULL) {
        mem_free(call);
        return NULL;
    }
    call->server = server;
    call->connection = info->socket_context;
    call->connection->call = call;
    call->started_ms = clock_mono_ms();
    call->body_max = server->options.body_max;
    arena_init(&call->text);
    buf_init(&call->body, BUF_UNLIMITED); /* body_max is watched */
    size_t path = strcspn(uri, "?");
    call->path = arena_strndup(&call->text, uri, path);
    call->query =
        uri[path] == '?' ? arena_strndup(&call->text, uri + path + 1, strlen(uri + path + 1)) : NULL;
    server->under_way++;
    return call;
}

static void on_completed(void *ctx, struct MHD_Connection *handle, void **kept,
                         enum MHD_RequestTerminationCode why)
{
    struct http_server *server = ctx;
    (void)handle;
    (void)why;
    struct http_call *call = *kept;
    server->busy_runs = 0;
    *kept = NULL;
    if (call != NULL)
        end_call(call);
}

static void shut(struct connection *connection)
{
    const union MHD_ConnectionInfo *info =
        connection->server->api->get_connection_info(connection->handle, MHD_CONNECTION_INFO_CONNECTION_FD);
    connection->shut = true;
    if (info != NULL)
        shutdown(info->connect_fd, SHUT_RDWR);
}

/* Since when a connection has been without a whole request. Of a first one the time counts from the
 * connection: its first line may drip as well. */
static int64_t without_since(const struct connection *connection)
{
    const struct http_call *call = connection->call;
    return call != NULL && call->started_ms > connection->since_ms ? call->started_ms : connection->since_ms;
}

/* Makes room: whoever has been without a whole request longest goes, or has not read the answer so long. The
 * list begins with the last: of the same moment, the one that came first goes. */
static void evict(struct http_server *server)
{
    struct connection *oldest = NULL;
    for (struct connection *at = server->connections; at != NULL; at = at->next) {
        bool waits = at->call != NULL && at->call->suspended; /* for us */
        if (!waits && !at->shut && (oldest == NULL || without_since(at) <= without_since(oldest)))
            oldest = at;
    }
    if (oldest == NULL)
        return;
    server->counts.evicted++;
    shut(oldest);
}

static void on_connection(void *ctx, struct MHD_Connection *handle, void **kept,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = ctx;
    struct connection *connection = *kept;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        connection = mem_zalloc(sizeof *connection);
        *kept = connection;
        if (connection == NULL)
            return;
        connection->server = server;
        connection->handle = handle;
        connection->since_ms = clock_mono_ms();
        const union MHD_ConnectionInfo *info =
            server->api->get_connection_info(handle, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
        struct address address;
        if (info != NULL && info->client_addr != NULL &&
            address_from_socket(info->client_addr, &address, NULL))
            address_format(&address, connection->peer);
        else
            snprintf(connection->peer, sizeof connection->peer, "unix");
        connection->next = server->connections;
        if (server->connections != NULL)
            server->connections->previous = connection;
        server->connections = connection;
        server->counts.accepted++;
        if (++server->counts.connections > server->options.connections_max)
            evict(server);
    } else if (connection != NULL) {
        if (connection->call != NULL)
            connection->call->connection = NULL;
        if (connection->next != NULL)
            connection->next->previous = connection->previous;
        if (connection->previous != NULL)
            connection->previous->next = connection->next;
        else
            server->connections = connection->next;
        server->counts.connections--;
        mem_free(connection);
        *kept = NULL;
    }
}

static size_t leave_as_sent(void *ctx, struct MHD_Connection *handle, char *text)
{
    (void)ctx;
    (void)handle;
    return strlen(text);
}

static void ignore_log(void *ctx, const char *format, va_list arguments)
{
    (void)ctx;
    (void)format;
    (void)arguments;
}

/* ---- the loop ---- */

static struct http_server *server_of(const uv_handle_t *handle)
{
    return uv_handle_get_data(handle);
}

static void run(struct http_server *server)
{
    MHD_UNSIGNED_LONG_LONG wait = 0;
    if (server->running || server->freeing)
        return;
    server->running = true;
    for (int rounds = 0; rounds < 16; rounds++) { /* then others get a turn */
        server->again = false;
        server->api->run(server->daemon);
        if (!server->again)
            break;
    }
    server->running = false;
    if (server->again) {
        uv_timer_start(server->timer, on_timer, 0, 0);
    } else if (server->api->get_timeout(server->daemon, &wait) == MHD_YES) {
        /* With a line of a chunked body that is longer than its buffer, the library would run for ever. */
        server->busy_runs = wait == 0 ? server->busy_runs + 1 : 0;
        if (server->busy_runs > BUSY_RUNS)
            wait = BUSY_MS;
        uv_timer_start(server->timer, on_timer, wait < WATCH_MS * 4 ? (uint64_t)wait : WATCH_MS * 4, 0);
    }
}

static void on_timer(uv_timer_t *timer)
{
    run(server_of((const uv_handle_t *)timer));
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(server_of((const uv_handle_t *)poll));
}

/* Drops requests that take too long. */
static void on_watch(uv_timer_t *timer)
{
    struct http_server *server = server_of((const uv_handle_t *)timer);
    int64_t before = clock_mono_ms() - server->options.request_ms;
    for (struct connection *at = server->connections; at != NULL; at = at->next) {
        bool reading = at->call == NULL || at->call->state == CALL_READING || at->call->state == CALL_REFUSED;
        if (reading && !at->shut && without_since(at) < before) {
            server->counts.too_slow += at->call != NULL;
            shut(at);
        }
    }
}

/* ---- beginning and end ---- */

static void raise_file_limit(struct http_server *server)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 && getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    if (limit.rlim_cur < server->options.connections_max + FILES_KEPT)
        server->options.connections_max =
            limit.rlim_cur > 2 * FILES_KEPT ? limit.rlim_cur - FILES_KEPT : FILES_KEPT;
}

static enum err_code start(struct http_server *server, uv_loop_t *loop, struct err *err)
{
    const struct http_server_options *options = &server->options;
    server->daemon = server->api->start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, server,
        MHD_OPTION_EXTERNAL_LOGGER, ignore_log, NULL, MHD_OPTION_LISTEN_SOCKET,
        (MHD_socket)options->listen_fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)options->connections_max + 16,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, options->header_max + LIBRARY_ROOM, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)(options->request_ms / 1000 + 1), MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_URI_LOG_CALLBACK, on_line, server,
        MHD_OPTION_UNESCAPE_CALLBACK, leave_as_sent, NULL, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (server->daemon == NULL)
        return err_set(err, ERR_IO, "cannot start the HTTP server: out of memory or file descriptors");
    const union MHD_DaemonInfo *info = server->api->get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL || uv_poll_init(loop, server->poll, info->epoll_fd) != 0)
        return err_set(err, ERR_IO, "cannot watch the HTTP server's sockets");
    server->polled = true;
    uv_poll_start(server->poll, UV_READABLE, on_poll);
    uv_timer_start(server->watch, on_watch, WATCH_MS, WATCH_MS);
    uv_timer_start(server->timer, on_timer, 0, 0);
    return ERR_NONE;
}

enum err_code http_server_new(uv_loop_t *loop, const struct http_server_options *options,
                              struct http_server **out, struct err *err)
{
    *out = NULL;
    const struct microhttpd_api *api = microhttpd_api_get(err);
    if (api == NULL)
        return ERR_NOT_FOUND;
    struct http_server *server = mem_need(sizeof *server);
    server->api = api;
    server->options = *options;
    server->poll = mem_need(sizeof *server->poll);
    server->timer = mem_need(sizeof *server->timer);
    server->watch = mem_need(sizeof *server->watch);
    uv_timer_init(loop, server->timer);
    uv_timer_init(loop, server->watch);
    uv_handle_set_data((uv_handle_t *)server->poll, server);
    uv_handle_set_data((uv_handle_t *)server->timer, server);
    uv_handle_set_data((uv_handle_t *)server->watch, server);
    raise_file_limit(server);
    enum err_code code = start(server, loop, err);
    if (code != ERR_NONE) {
        http_server_free(server);
        return code;
    }
    *out = server;
    return ERR_NONE;
}

void http_server_stop(struct http_server *server)
{
    if (server->stopped)
        return;
    server->stopped = true;
    server->api->quiesce_daemon(server->daemon);
}

bool http_server_idle(const struct http_server *server)
{
    return server->under_way == 0;
}

static void free_handle(uv_handle_t *handle)
{
    mem_free(handle);
}

void http_server_free(struct http_server *server)
{
    if (server == NULL)
        return;
    server->freeing = true;
    for (struct connection *at = server->connections; at != NULL; at = at->next)
        if (at->call != NULL && at->call->suspended) { /* the library wants none left when it stops */
            at->call->suspended = false;
            server->api->resume_connection(at->handle);
        }
    if (server->polled) {
        uv_poll_stop(server->poll);
        uv_close((uv_handle_t *)server->poll, free_handle);
    } else {
        mem_free(server->poll);
    }
    uv_close((uv_handle_t *)server->timer, free_handle);
    uv_close((uv_handle_t *)server->watch, free_handle);
    if (server->daemon != NULL) {
        if (!server->stopped) /* so that it does not close the socket, which is the caller's */
            server->api->quiesce_daemon(server->daemon);
        server->api->stop_daemon(server->daemon);
    }
    mem_free(server);
}

void http_server_get_counts(const struct http_server *server, struct http_server_counts *out)
{
    *out = server->counts;
}

/* ---- what is known of a call ---- */

const char *http_call_method(const struct http_call *call)
{
    return call->method;
}

const char *http_call_path(const struct http_call *call)
{
    return call->path;
}

const char *http_call_query(const struct http_call *call)
{
    return call->query != NULL ? call->query : "";
}

const char *http_call_body(const struct http_call *call, size_t *len)
{
    *len = call->body.len;
    return buf_text(&call->body);
}

size_t http_call_header_count(const struct http_call *call)
{
    return call->header_count;
}

const struct http_header *http_call_header_at(const struct http_call *call, size_t index)
{
    return &call->headers[index];
}

const char *http_call_header(const struct http_call *call, const char *name)
{
    for (size_t i = 0; i < call->header_count; i++)
        if (strcmp(call->headers[i].name, name) == 0)
            return call->headers[i].value;
    return NULL;
}

const char *http_call_peer(const struct http_call *call)
{
    return call->connection != NULL ? call->connection->peer : "";
}

void http_call_set_user(struct http_call *call, void *user)
{
    call->user = user;
}

int http_call_socket(const struct http_call *call)
{
    const union MHD_ConnectionInfo *info =
        call->server->api->get_connection_info(call->connection->handle, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info != NULL ? info->connect_fd : -1;
}

bool http_socket_left(int socket)
{
    char byte;
    ssize_t got = recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

void *http_call_user(const struct http_call *call)
{
    return call->user;
}

void http_call_set_body_max(struct http_call *call, size_t bytes)
{
    call->body_max = bytes;
}
