/* The API over HTTP: who asks, on which thread it is done, and the answer. Must not know what a route does.
 */
#include "server/api.h"

#include "api/request.h"
#include "base/clock.h"
#include "base/mem.h"
#include "engine/call.h"
#include "engine/deploy.h"
#include "engine/oauth_access.h"
#include "server/answer.h"
#include "server/api_home.h"
#include "server/supervisor.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define READING_MAX 2 /* at once in the pool, which scripts need as well */

struct api_call {
    struct api *api;
    struct api_request request;
    struct http_call *http; /* NULL when the client has left, and of api_ask */
    api_told_fn told;       /* of api_ask */
    void *told_ctx;
    struct service *service;
    struct job job;
    uv_work_t reading;
    int socket; /* of the client, while it is not gone */
    atomic_bool gone;
    struct api_call *next; /* that waits for its turn to read */
    struct call *call;     /* of a capability */
    struct service_intake intake;
    char lane[JOB_LANE_SIZE];
};

/* ---- answering ---- */

static void free_call(struct api_call *call)
{
    if (call->http != NULL)
        http_call_set_user(call->http, NULL);
    service_release(call->service);
    call_free(call->call);
    api_request_free(&call->request);
    mem_free(call);
}

static int status_of(enum err_code code)
{
    switch (code) {
    case ERR_INVALID:
    case ERR_SCRIPT:
        return 422;
    case ERR_NOT_FOUND:
        return 404;
    case ERR_CONFLICT:
    case ERR_BUSY:
        return 409;
    case ERR_LIMIT:
        return 413;
    case ERR_DENIED:
        return 403;
    default:
        return 500;
    }
}

static const char *word_of(enum err_code code)
{
    switch (code) {
    case ERR_INVALID:
    case ERR_SCRIPT:
        return "invalid";
    case ERR_NOT_FOUND:
        return "not_found";
    case ERR_CONFLICT:
        return "conflict";
    case ERR_BUSY:
        return "busy";
    case ERR_LIMIT:
        return "too_large";
    case ERR_DENIED:
        return "denied";
    default:
        return "failed";
    }
}

void api_answer_err(struct http_call *http, enum err_code code, const struct err *err)
{
    answer_error(http, status_of(code), word_of(code), err->message);
}

/* Answers and frees the call. */
static void finish(struct api_call *call)
{
    struct api_request *request = &call->request;
    if (request->code == ERR_NONE)
        request->code = buf_status(&request->out, "the answer", &request->err);
    if (call->told != NULL)
        call->told(call->told_ctx, request->code, buf_text(&request->out), request->out.len, &request->err);
    if (call->http != NULL && request->code == ERR_NONE && request->type != NULL) {
        const struct http_answer_field type = {"content-type", request->type};
        http_call_answer(call->http, request->status, &type, 1, buf_text(&request->out), request->out.len);
    } else if (call->http != NULL && request->code == ERR_NONE) {
        answer_json(call->http, request->status, buf_text(&request->out), request->out.len);
    } else if (call->http != NULL) {
        api_answer_err(call->http, request->code, &request->err);
    }
    call->http = NULL;
    free_call(call);
}

void api_gone(struct http_call *http)
{
    if (api_home_gone(http))
        return;
    struct api_call *call = http_call_user(http);
    if (call == NULL)
        return;
    call->http = NULL;
    atomic_store(&call->gone, true);
}

/* ---- on the store's thread ---- */

static void work(struct job *job, struct store *store)
{
    struct api_call *call = job->owner;
    api_request_work(&call->request, store);
}

static void after(struct job *job)
{
    struct api_call *call = job->owner;
    /* What was changed counts at once. */
    if (call->request.route->scope != TOKEN_READ)
        service_look(call->service);
    finish(call);
}

static void use_store(struct api_call *call)
{
    call->job = (struct job){.work = work, .after = after, .owner = call};
    executor_submit(service_runtime(call->service)->executor, &call->job);
}

/* ---- in the pool, without the store ---- */

static void read_more(struct api *api);

static bool has_left(const struct api_request *request)
{
    const struct api_call *call =
        (const struct api_call *)((const char *)request - offsetof(struct api_call, request));
    return atomic_load(&call->gone) || (call->socket >= 0 && http_socket_left(call->socket));
}

static void read_now(uv_work_t *reading)
{
    struct api_call *call = reading->data;
    api_request_work(&call->request, NULL);
}

static bool begins_with(const struct buf *text, const char *prefix)
{
    return strncmp(buf_text(text), prefix, strlen(prefix)) == 0;
}

static void after_reading(uv_work_t *reading, int status)
{
    struct api_call *call = reading->data;
    struct api *api = call->api;
    (void)status;
    api->reading--;
    /* What was deployed counts at once. */
    if (begins_with(&call->request.out, "{\"status\":\"deployed\"")) {
        hosting_reload_one(api->hosting, call->request.name);
        supervisor_tell_others();
    }
    finish(call);
    read_more(api);
}

static void read_more(struct api *api)
{
    while (api->reading < READING_MAX && api->first != NULL) {
        struct api_call *call = api->first;
        api->first = call->next;
        api->reading++;
        call->reading.data = call;
        uv_queue_work(service_runtime(call->service)->loop, &call->reading, read_now, after_reading);
    }
}

static void read_in_turn(struct api_call *call)
{
    struct api *api = call->api;
    if (api->first != NULL)
        api->last->next = call;
    else
        api->first = call;
    api->last = call;
    read_more(api);
}

/* ---- calls and deliveries ---- */

static void call_ended(void *ctx, struct call *ended, const struct call_end *end)
{
    struct api_call *call = ctx;
    struct api_request *request = &call->request;
    (void)ended;
    if (request->route->kind == ROUTE_EXEC)
        call_describe(end, &request->out);
    else if (end->ok)
        buf_add(&request->out, end->value, end->value_len);
    else
        request->code =
            err_set(&request->err, strcmp(end->name, "InvalidToolInputError") == 0 ? ERR_INVALID : ERR_SCRIPT,
                    "%s: %s", end->name, end->message);
    finish(call);
}

static void call_capability(struct api_call *call)
{
    struct api_request *request = &call->request;
    const struct call_input input = {.json = request->body, .len = request->body_len};
    request->code = call_start(service_runtime(call->service), request->capability, &input, call_ended, call,
                               &call->call, &request->err);
    if (request->code != ERR_NONE)
        finish(call);
}

static void stored(void *ctx, const struct delivery_new *delivery, enum err_code code, const struct err *err)
{
    struct api_call *call = ctx;
    call->request.code = code;
    if (code != ERR_NONE)
        call->request.err = *err;
    buf_addf(&call->request.out, "{\"deliveryId\":\"%s\"}", delivery->id);
    finish(call);
}

/* The body becomes a delivery. */
static void deliver(struct api_call *call)
{
    const struct api_request *request = &call->request;
    struct delivery_new *delivery = &call->intake.delivery;
    *delivery = (struct delivery_new){.kind = capability_kind_name(request->capability->kind),
                                      .key = request->capability->key,
                                      .started_by = "api",
                                      .due_ms = clock_now_ms(),
                                      .event = request->body_len > 0 ? request->body : "null",
                                      .event_len = request->body_len > 0 ? request->body_len : 4};
    job_lane(request->capability->key, call->lane);
    if (request->capability->kind == CAPABILITY_JOB) /* never beside a run of it */
        delivery->lane = call->lane;
    call->intake.stored = stored;
    call->intake.ctx = call;
    service_take_in(call->service, &call->intake);
}

/* ---- access by OAuth ---- */

static void access_told(void *ctx, enum err_code code, const struct buf *json, const struct err *err)
{
    struct api_call *call = ctx;
    call->request.code = code;
    if (code != ERR_NONE)
        call->request.err = *err;
    buf_add(&call->request.out, buf_text(json), json->len);
    finish(call);
}

static void ask_for_access(struct api_call *call)
{
    static const enum oauth_ask asks[] = {[ROUTE_ACCESS_START] = OAUTH_ASK_START,
                                          [ROUTE_ACCESS_LOOK] = OAUTH_ASK_LOOK,
                                          [ROUTE_ACCESS_REVOKE] = OAUTH_ASK_REVOKE};
    struct api_request *request = &call->request;
    char callback_url[1024];
    snprintf(callback_url, sizeof callback_url, "%s" OAUTH_CALLBACK_PATH, call->api->url);
    const struct oauth_question question = {.ask = asks[request->route->kind],
                                            .key = request->parameters[0],
                                            .id = request->parameters[1],
                                            .callback_url = callback_url,
                                            .worker = request->name};
    oauth_access(service_runtime(call->service), &question, access_told, call);
}

/* ---- requests ---- */

const char *api_bearer(const struct http_call *http, size_t *len)
{
    const char *value = http_call_header(http, "authorization");
    if (value == NULL || strncasecmp(value, "bearer ", 7) != 0)
        return NULL;
    value += 7 + strspn(value + 7, " ");
    *len = strlen(value);
    return value;
}

static void start_call(struct api_call *call, const struct api_asked *asked)
{
    static void (*const ways[])(struct api_call *) = {[ROUTE_STORE] = use_store,
                                                      [ROUTE_READ] = read_in_turn,
                                                      [ROUTE_CALL] = call_capability,
                                                      [ROUTE_EXEC] = call_capability,
                                                      [ROUTE_DELIVER] = deliver,
                                                      [ROUTE_ACCESS_START] = ask_for_access,
                                                      [ROUTE_ACCESS_LOOK] = ask_for_access,
                                                      [ROUTE_ACCESS_REVOKE] = ask_for_access};
    if (api_request_read(&call->request, asked) != ERR_NONE)
        finish(call);
    else
        ways[call->request.route->kind](call);
}

static struct api_call *new_call(struct api *api, const struct route *route, struct service *service)
{
    struct api_call *call = mem_zalloc(sizeof *call);
    if (call == NULL)
        return NULL;
    call->request = (struct api_request){.route = route,
                                         .worker = service_runtime(service)->worker,
                                         .name = service_name(service),
                                         .url = api->url,
                                         .folder = service_runtime(service)->store_folder,
                                         .deploy = deploy_apart};
    call->socket = -1;
    call->api = api;
    call->service = service;
    service_hold(service);
    return call;
}

static void begin(struct api *api, struct http_call *http, const struct route *route, struct service *service,
                  struct api_asked *asked)
{
    struct api_call *call = new_call(api, route, service);
    if (call == NULL) {
        answer_error(http, 503, "no_memory", "out of memory");
        return;
    }
    call->request.left = has_left;
    call->socket = http_call_socket(http);
    call->http = http;
    http_call_set_user(http, call);
    asked->query = http_call_query(http);
    asked->body = http_call_body(http, &asked->body_len);
    start_call(call, asked);
}

void api_ask(struct api *api, struct service *service, const char *path, api_told_fn told, void *ctx)
{
    struct api_asked asked;
    struct err err;
    struct buf plain;
    bool known = false;
    const char *query = strchr(path, '?');
    buf_init(&plain, BUF_UNLIMITED);
    buf_add(&plain, path, query != NULL ? (size_t)(query - path) : strlen(path));
    const struct route *route = api_match("GET", buf_text(&plain), &asked, &known);
    struct api_call *call = route != NULL && !plain.failed ? new_call(api, route, service) : NULL;
    if (call != NULL) {
        asked.query = query != NULL ? query + 1 : "";
        call->told = told;
        call->told_ctx = ctx;
        start_call(call, &asked); /* copies the path */
    } else if (route == NULL) {
        told(ctx, ERR_NOT_FOUND, NULL, 0,
             (err_set(&err, ERR_NOT_FOUND, "there is nothing at %s", path), &err));
    } else {
        told(ctx, ERR_NOMEM, NULL, 0, (err_nomem(&err), &err));
    }
    buf_free(&plain);
}

/* The workers that the token is good for. */
static void list_workers(struct api *api, struct http_call *http, const char *token, size_t len)
{
    struct buf out;
    enum token_scope scope;
    bool any = false;
    if (hosting_home_token(api->hosting, token, len, &scope))
        hosting_scan(api->hosting);
    buf_init(&out, BUF_UNLIMITED);
    buf_addc(&out, '[');
    for (size_t i = 0; i < hosting_count(api->hosting); i++) {
        struct service *service = hosting_at(api->hosting, i);
        if (!hosting_token(api->hosting, service, token, len, &scope))
            continue;
        buf_adds(&out, any ? ",{\"name\":" : "{\"name\":");
        json_write_text(&out, service_name(service));
        buf_addf(&out, ",\"version\":%lld}", (long long)hosting_version(api->hosting, i));
        any = true;
    }
    buf_addc(&out, ']');
    any = any || hosting_home_token(api->hosting, token, len, &scope);
    if (any)
        answer_json(http, 200, buf_text(&out), out.len);
    else
        answer_error(http, 401, "unauthorized", "the token is not known");
    buf_free(&out);
}

static void refuse_method(struct http_call *http)
{
    answer_error(http, 405, "method_not_allowed", "the path has no such method");
}

static void route_request(struct api *api, struct http_call *http, const char *rest)
{
    size_t token_len = 0, name_len = strcspn(rest, "/");
    const char *token = api_bearer(http, &token_len);
    enum token_scope scope = TOKEN_READ;
    struct service *service = hosting_find(api->hosting, rest, name_len);
    enum token_scope home_scope;
    if (token != NULL && service == NULL && hosting_home_token(api->hosting, token, token_len, &home_scope)) {
        hosting_scan(api->hosting); /* another process may have made it */
        service = hosting_find(api->hosting, rest, name_len);
        if (service == NULL) {
            answer_error(http, 404, "not_found", "the home has no such worker: workers list shows them");
            return;
        }
    }
    /* Who has no token learns nothing of which workers there are. */
    if (token == NULL || service == NULL || !hosting_token(api->hosting, service, token, token_len, &scope)) {
        answer_error(http, 401, "unauthorized",
                     token == NULL ? "send a token: Authorization: Bearer …"
                                   : "the token is not good for this worker");
        return;
    }
    bool known = false;
    struct api_asked asked;
    const struct route *route = api_match(http_call_method(http), rest + name_len, &asked, &known);
    if (route == NULL && known) {
        refuse_method(http);
    } else if (route == NULL) {
        answer_error(http, 404, "not_found",
                     "the API has no such path: " API_ROOT "/openapi.json lists them");
    } else if (scope < route->scope) {
        char message[128];
        snprintf(message, sizeof message, "the token has the scope \"%s\"; this needs \"%s\"",
                 token_scope_name(scope), token_scope_name(route->scope));
        answer_error(http, 403, "forbidden", message);
    } else {
        begin(api, http, route, service, &asked);
    }
}

bool api_answer(struct api *api, struct http_call *http)
{
    const char *path = http_call_path(http);
    bool get = strcmp(http_call_method(http), "GET") == 0;
    size_t prefix = strlen(API_ROOT);
    if (strncmp(path, API_ROOT, prefix) != 0 || (path[prefix] != '/' && path[prefix] != '\0'))
        return false;
    path += prefix;
    if ((strcmp(path, "/workers") == 0 && api_home_answer(api, http, NULL)) ||
        (strncmp(path, "/workers/", 9) == 0 && api_home_answer(api, http, path + 9))) {
        return true;
    }
    if (strcmp(path, "/openapi.json") == 0 && get) {
        struct buf out;
        buf_init(&out, BUF_UNLIMITED);
        api_describe(api->url, &out);
        answer_json(http, 200, buf_text(&out), out.len);
        buf_free(&out);
    } else if (strcmp(path, "/workers") == 0 && get) {
        size_t len = 0;
        const char *token = api_bearer(http, &len);
        list_workers(api, http, token != NULL ? token : "", len);
    } else if (strcmp(path, "/openapi.json") == 0 || strcmp(path, "/workers") == 0) {
        refuse_method(http);
    } else if (strncmp(path, "/workers/", 9) == 0) {
        route_request(api, http, path + 9);
    } else if (strncmp(path, "/home/", 6) == 0) {
        api_home_shared(api, http, path + 5);
    } else {
        answer_error(http, 404, "not_found",
                     "the API has no such path: " API_ROOT "/openapi.json lists them");
    }
    return true;
}
