/* Sessions and streams of the Model Context Protocol. A session is what the client may have set, the level of
 * log lines; it is kept in this process only, and one that is not known begins afresh. So any process can
 * answer. */
#include "server/mcp_http.h"

#include "base/id.h"
#include "base/mem.h"
#include "mcp/mcp.h"
#include "net/address.h"
#include "server/answer.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ROOT "/mcp"
#define SESSIONS_MAX 1000
#define STREAMS_MAX 1000
#define SESSION_ID_MAX 64
#define KEEP_ALIVE_MS 15000 /* so that who has left is noticed, and proxies keep the stream */

struct session {
    char id[SESSION_ID_MAX + 1];
    struct mcp_client *client;
    struct session *next; /* used longer ago */
};

/* A GET. */
struct stream {
    struct mcp_http *http;
    struct http_call *call;
    char worker[CONFIG_NAME_MAX + 1];
    struct stream *next;
};

struct mcp_http {
    struct api *api;
    uv_timer_t *timer;
    struct session *sessions;
    struct stream *streams;
    bool stopping;
};

/* A POST. */
struct post {
    struct mcp_http *http;
    struct http_call *call; /* NULL when the client has left */
    struct service *service;
    struct session *session;
    char new_id[SESSION_ID_MAX + 1]; /* of a session that begins; otherwise empty */
    bool takes_events, streaming;
    bool passing; /* the client keeps no session: this one is for the message alone */
};

/* ---- who may ask ---- */

/* Whether host:port is how the server is reached: the URL it says, or this machine. */
static bool is_own_host(const struct mcp_http *http, const char *host, size_t len)
{
    const char *own = strstr(http->api->url, "://");
    own = own != NULL ? own + 3 : http->api->url;
    size_t own_len = strcspn(own, "/");
    return address_names_loopback(host, len) || (len == own_len && strncasecmp(own, host, len) == 0);
}

/* A page of a stranger that a browser shows here may not ask, whatever names it has given this machine. */
static bool comes_from_here(const struct mcp_http *http, const struct http_call *call)
{
    const char *origin = http_call_header(call, "origin"), *host = http_call_header(call, "host");
    const char *own = strstr(http->api->url, "://");
    if (origin != NULL) {
        const char *at = strstr(origin, "://");
        if (at == NULL || !is_own_host(http, at + 3, strlen(at + 3)))
            return false;
    }
    /* A server for this machine is asked by its name; behind a proxy, the proxy sees to that. */
    return host == NULL || own == NULL || !address_names_loopback(own + 3, strcspn(own + 3, "/")) ||
           is_own_host(http, host, strlen(host));
}

static void ask_for_token(struct http_call *call, const char *message)
{
    static const struct http_answer_field fields[] = {{"content-type", "application/json"},
                                                      {"www-authenticate", "Bearer realm=\"workers\""}};
    struct buf body;
    buf_init(&body, 1024);
    buf_adds(&body, "{\"error\":{\"code\":\"unauthorized\",\"message\":");
    json_write_text(&body, message);
    buf_adds(&body, "}}");
    http_call_answer(call, 401, fields, 2, buf_text(&body), body.len);
    buf_free(&body);
}

/* The worker that is meant, if the token is good for it; otherwise it is answered, and NULL. */
static struct service *find_service(const struct mcp_http *http, struct http_call *call,
                                    enum token_scope *scope)
{
    size_t len = 0;
    const char *name = http_call_path(call) + strlen(ROOT), *token = api_bearer(call, &len);
    if (token == NULL) {
        ask_for_token(call, "send a token: Authorization: Bearer …");
        return NULL;
    }
    for (size_t i = 0; i < hosting_count(http->api->hosting); i++) {
        struct service *service = hosting_at(http->api->hosting, i);
        if (name[0] == '/' && strcmp(name + 1, service_name(service)) != 0)
            continue;
        if (hosting_token(http->api->hosting, service, token, len, scope))
            return service;
    }
    ask_for_token(call, "the token is not good for this worker");
    return NULL;
}

/* ---- sessions ---- */

static struct session *find_session(struct mcp_http *http, const char *id)
{
    for (struct session **at = &http->sessions; *at != NULL; at = &(*at)->next) {
        struct session *found = *at;
        if (strcmp(found->id, id) != 0)
            continue;
        *at = found->next; /* to the front: the last is the one that was not used for longest */
        found->next = http->sessions;
        http->sessions = found;
        return found;
    }
    return NULL;
}

static void drop_session(struct mcp_http *http, struct session *session)
{
    for (struct session **at = &http->sessions; *at != NULL; at = &(*at)->next) {
        if (*at != session)
            continue;
        *at = session->next;
        mcp_client_free(session->client);
        mem_free(session);
        return;
    }
}

/* The one that was not used for longest gives way, unless something is under way in it. */
static void make_room(struct mcp_http *http)
{
    size_t count = 0;
    struct session *last = NULL;
    for (struct session *at = http->sessions; at != NULL; at = at->next) {
        count++;
        if (mcp_client_is_idle(at->client))
            last = at;
    }
    if (count >= SESSIONS_MAX && last != NULL)
        drop_session(http, last);
}

static struct session *new_session(struct mcp_http *http, const char *id)
{
    make_room(http);
    struct session *session = mem_zalloc(sizeof *session);
    struct mcp_client *client = mcp_client_new();
    if (session == NULL || client == NULL) {
        mem_free(session);
        mcp_client_free(client);
        return NULL;
    }
    snprintf(session->id, sizeof session->id, "%s", id);
    session->client = client;
    session->next = http->sessions;
    http->sessions = session;
    return session;
}

/* ---- a POST ---- */

static void free_post(struct post *post)
{
    if (post->call != NULL)
        http_call_set_user(post->call, NULL);
    if (post->passing)
        drop_session(post->http, post->session);
    service_release(post->service);
    mem_free(post);
}

static void write_event(struct http_call *call, const char *json, size_t len)
{
    http_call_write(call, "event: message\ndata: ", 21);
    http_call_write(call, json, len);
    http_call_write(call, "\n\n", 2);
}

static void notify(void *ctx, const char *json, size_t len)
{
    static const struct http_answer_field fields[] = {{"content-type", "text/event-stream"},
                                                      {"cache-control", "no-store"}};
    struct post *post = ctx;
    if (post->call == NULL || !post->takes_events)
        return;
    if (!post->streaming)
        http_call_begin(post->call, 200, fields, 2);
    post->streaming = true;
    write_event(post->call, json, len);
}

static void done(void *ctx, const char *json, size_t len)
{
    struct post *post = ctx;
    const struct http_answer_field fields[] = {{"content-type", "application/json"},
                                               {"mcp-session-id", post->new_id}};
    struct http_call *call = post->call;
    post->call = NULL;
    if (call != NULL)
        http_call_set_user(call, NULL);
    if (call != NULL && post->streaming) {
        if (json != NULL)
            write_event(call, json, len);
        http_call_end(call);
    } else if (call != NULL && json == NULL) {
        http_call_answer(call, 202, NULL, 0, NULL, 0);
    } else if (call != NULL) {
        http_call_answer(call, 200, fields, post->new_id[0] != '\0' ? 2 : 1, json, len);
    }
    free_post(post);
}

static void told(void *ctx, enum err_code code, const char *json, size_t len, const struct err *err)
{
    mcp_told(ctx, code, json, len, err);
}

static void ask(void *ctx, struct mcp_request *request, const char *path)
{
    struct post *post = ctx;
    api_ask(post->http->api, post->service, path, told, request);
}

static bool names_session(const struct http_call *call, char id[SESSION_ID_MAX + 1])
{
    const char *given = http_call_header(call, "mcp-session-id");
    if (given == NULL || strlen(given) > SESSION_ID_MAX)
        return false;
    snprintf(id, SESSION_ID_MAX + 1, "%s", given);
    return true;
}

static void take_message(struct mcp_http *http, struct http_call *call, struct service *service,
                         enum token_scope scope)
{
    size_t len = 0;
    struct err err;
    char id[SESSION_ID_MAX + 1] = "";
    const char *accept = http_call_header(call, "accept"), *body = http_call_body(call, &len);
    struct post *post = mem_zalloc(sizeof *post);
    if (post == NULL) {
        answer_error(call, 503, "no_memory", "out of memory");
        return;
    }
    *post = (struct post){.http = http, .call = call, .service = service};
    post->takes_events = accept != NULL && strstr(accept, "text/event-stream") != NULL;
    service_hold(service);
    bool begins = mcp_is_initialize(body, len);
    if (begins && id_uuid7(post->new_id, &err) == ERR_NONE)
        post->session = new_session(http, post->new_id);
    else if (!begins && names_session(call, id))
        post->session = find_session(http, id);
    if (post->session == NULL) { /* of another process, of before the start, or a client that wants none */
        post->session = new_session(http, id);
        post->passing = id[0] == '\0' && post->session != NULL;
    }
    if (post->session == NULL) {
        free_post(post);
        answer_error(call, 503, "no_memory", "out of memory");
        return;
    }
    http_call_set_user(call, post);
    const struct mcp_host host = {.runtime = service_runtime(service),
                                  .name = service_name(service),
                                  .may_call = scope >= TOKEN_RUN,
                                  .ask = ask,
                                  .ctx = post};
    const struct mcp_reply reply = {.notify = notify, .done = done, .ctx = post};
    mcp_receive(post->session->client, &host, body, len, &reply);
}

/* ---- a GET ---- */

static void end_stream(struct stream *stream)
{
    for (struct stream **at = &stream->http->streams; *at != NULL; at = &(*at)->next) {
        if (*at != stream)
            continue;
        *at = stream->next;
        mem_free(stream);
        return;
    }
}

static void begin_stream(struct mcp_http *http, struct http_call *call, const struct service *service)
{
    static const struct http_answer_field fields[] = {{"content-type", "text/event-stream"},
                                                      {"cache-control", "no-store"}};
    const char *accept = http_call_header(call, "accept");
    size_t count = 0;
    for (struct stream *at = http->streams; at != NULL; at = at->next)
        count++;
    struct stream *stream = count < STREAMS_MAX ? mem_zalloc(sizeof *stream) : NULL;
    if (accept == NULL || strstr(accept, "text/event-stream") == NULL) {
        answer_error(call, 406, "not_acceptable", "a GET is for a stream: Accept: text/event-stream");
        mem_free(stream);
    } else if (stream == NULL) {
        answer_error_later(call, 503, "30", "too_many", "there are too many streams");
    } else {
        stream->http = http;
        stream->call = call;
        snprintf(stream->worker, sizeof stream->worker, "%s", service_name(service));
        stream->next = http->streams;
        http->streams = stream;
        http_call_set_user(call, stream);
        http_call_begin(call, 200, fields, 2);
        http_call_write(call, ": hello\n\n", 9);
    }
}

static void keep_alive(uv_timer_t *timer)
{
    struct mcp_http *http = timer->data;
    for (struct stream *at = http->streams; at != NULL; at = at->next)
        http_call_write(at->call, ":\n\n", 3);
}

void mcp_http_changed(struct mcp_http *http, const char *worker)
{
    for (struct stream *at = http->streams; at != NULL; at = at->next) {
        if (strcmp(at->worker, worker) != 0)
            continue;
        write_event(at->call, mcp_tools_changed, strlen(mcp_tools_changed));
        write_event(at->call, mcp_resources_changed, strlen(mcp_resources_changed));
    }
}

/* ---- requests ---- */

bool mcp_http_owns(const char *path)
{
    return strcmp(path, ROOT) == 0 || strncmp(path, ROOT "/", strlen(ROOT) + 1) == 0;
}

static void delete_session(struct mcp_http *http, struct http_call *call)
{
    char id[SESSION_ID_MAX + 1] = "";
    struct session *session = names_session(call, id) ? find_session(http, id) : NULL;
    if (session != NULL && mcp_client_is_idle(session->client))
        drop_session(http, session);
    http_call_answer(call, 204, NULL, 0, NULL, 0);
}

bool mcp_http_answer(struct mcp_http *http, struct http_call *call)
{
    enum token_scope scope = TOKEN_READ;
    const char *method = http_call_method(call);
    const char *version = http_call_header(call, "mcp-protocol-version");
    if (!mcp_http_owns(http_call_path(call)))
        return false;
    if (!comes_from_here(http, call)) {
        answer_error(call, 403, "forbidden", "the request comes from a page of another site");
        return true;
    }
    bool post = strcmp(method, "POST") == 0, get = strcmp(method, "GET") == 0;
    if (!post && !get && strcmp(method, "DELETE") != 0) {
        answer_error(call, 405, "method_not_allowed", "the path has no such method");
        return true;
    }
    struct service *service = find_service(http, call, &scope);
    if (service == NULL)
        return true;
    if (version != NULL && !mcp_knows_version(version))
        answer_error(call, 400, "bad_request", "the revision in MCP-Protocol-Version is not known here");
    else if (http->stopping)
        answer_error_later(call, 503, "5", "stopping", "the server stops");
    else if (post)
        take_message(http, call, service, scope);
    else if (get)
        begin_stream(http, call, service);
    else
        delete_session(http, call);
    return true;
}

void mcp_http_gone(struct http_call *call)
{
    void *user = http_call_user(call);
    if (user != NULL && strcmp(http_call_method(call), "GET") == 0)
        end_stream(user);
    else if (user != NULL)
        ((struct post *)user)->call =
            NULL; /* the tool goes on: a client that has lost its line may come back */
}

/* ---- beginning and end ---- */

enum err_code mcp_http_new(uv_loop_t *loop, struct api *api, struct mcp_http **out, struct err *err)
{
    *out = NULL;
    struct mcp_http *http = mem_zalloc(sizeof *http);
    uv_timer_t *timer = mem_zalloc(sizeof *timer);
    if (http == NULL || timer == NULL) {
        mem_free(http);
        mem_free(timer);
        return err_nomem(err);
    }
    *http = (struct mcp_http){.api = api, .timer = timer};
    uv_timer_init(loop, timer);
    timer->data = http;
    uv_timer_start(timer, keep_alive, KEEP_ALIVE_MS, KEEP_ALIVE_MS);
    *out = http;
    return ERR_NONE;
}

void mcp_http_stop(struct mcp_http *http)
{
    http->stopping = true;
    while (http->streams != NULL) {
        struct http_call *call = http->streams->call;
        http_call_set_user(call, NULL);
        end_stream(http->streams);
        http_call_end(call);
    }
}

static void free_timer(uv_handle_t *handle)
{
    mem_free(handle);
}

void mcp_http_free(struct mcp_http *http)
{
    if (http == NULL)
        return;
    uv_close((uv_handle_t *)http->timer, free_timer);
    while (http->streams != NULL)
        end_stream(http->streams);
    while (http->sessions != NULL)
        drop_session(http, http->sessions);
    mem_free(http);
}
