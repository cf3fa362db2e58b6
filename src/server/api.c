/* Matching, checking and answering requests of the API. Must not know what a route does. */
#include "server/api_priv.h"

#include "base/mem.h"
#include "base/text.h"
#include "net/url.h"
#include "server/answer.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ANSWER_MAX ((size_t)256 * 1024 * 1024)

/* ---- answering ---- */

static void free_call(struct api_call *call)
{
    if (call->call != NULL)
        http_call_set_user(call->call, NULL);
    if (call->service != NULL)
        service_release(call->service);
    call_free(call->tool);
    for (int i = 0; i < API_PARAMETERS; i++)
        mem_free(call->parameters[i]);
    mem_free(call->query);
    mem_free(call->body);
    buf_free(&call->out);
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

void api_finish(struct api_call *call)
{
    if (call->code == ERR_NONE)
        call->code = buf_status(&call->out, "the answer", &call->err);
    if (call->call != NULL && call->code == ERR_NONE && call->type != NULL) {
        const struct http_answer_field type = {"content-type", call->type};
        http_call_answer(call->call, call->status, &type, 1, buf_text(&call->out), call->out.len);
    } else if (call->call != NULL && call->code == ERR_NONE)
        answer_json(call->call, call->status, buf_text(&call->out), call->out.len);
    else if (call->call != NULL)
        answer_error(call->call, status_of(call->code), word_of(call->code), call->err.message);
    call->call = NULL;
    free_call(call);
}

void api_gone(struct http_call *http)
{
    struct api_call *call = http_call_user(http);
    if (call != NULL)
        call->call = NULL;
}

/* ---- parameters ---- */

/* out has room for len and the NUL. False when there are NULs in it, or it is not UTF-8. */
static bool decode_text(char *out, const char *text, size_t len, bool plus_is_blank)
{
    size_t decoded = url_decode_loose(out, text, len, plus_is_blank);
    out[decoded] = '\0';
    return strlen(out) == decoded && text_is_utf8(out, decoded, NULL);
}

static enum err_code read_parameters(struct api_call *call, const char *const values[API_PARAMETERS],
                                     const size_t lens[API_PARAMETERS])
{
    for (int i = 0; i < API_PARAMETERS && values[i] != NULL; i++) {
        call->parameters[i] = mem_alloc(lens[i] + 1);
        if (call->parameters[i] == NULL)
            return err_nomem(&call->err);
        if (!decode_text(call->parameters[i], values[i], lens[i], false))
            return err_set(&call->err, ERR_INVALID, "a part of the path is not UTF-8, or has NUL bytes");
    }
    return ERR_NONE;
}

bool api_query(struct api_call *call, const char *name, char *out, size_t size)
{
    size_t name_len = strlen(name);
    for (const char *at = call->query; at != NULL && *at != '\0';) {
        size_t len = strcspn(at, "&");
        if (len > name_len && at[name_len] == '=' && memcmp(at, name, name_len) == 0) {
            if (len - name_len > size) {
                call->code = err_set(&call->err, ERR_INVALID, "%s has at most %zu bytes", name, size - 1);
                return false;
            }
            if (decode_text(out, at + name_len + 1, len - name_len - 1, true))
                return true;
            call->code = err_set(&call->err, ERR_INVALID, "%s is not UTF-8, or has NUL bytes", name);
            return false;
        }
        at += len + (at[len] == '&');
    }
    return false;
}

bool api_body_member(const struct api_call *call, const char *name, struct json_slice *out)
{
    struct json_scan scan;
    struct err ignored;
    bool more = false;
    json_scan_init(&scan, call->body, call->body_len);
    if (json_scan_value(&scan, &ignored) != ERR_NONE || scan.token != JSON_OBJECT)
        return false;
    while (json_scan_member(&scan, &more, &ignored) == ERR_NONE && more) {
        bool wanted = json_string_is(&scan, name);
        if (json_scan_value(&scan, &ignored) != ERR_NONE || json_scan_skip(&scan, out, &ignored) != ERR_NONE)
            return false;
        if (wanted)
            return true;
    }
    return false;
}

/* ---- matching ---- */

/* Whether path is the pattern; values of {…} go to the call. */
static bool matches(const char *pattern, const char *path, const char *values[API_PARAMETERS],
                    size_t lens[API_PARAMETERS])
{
    int count = 0;
    while (*pattern != '\0') {
        if (*pattern == '{') {
            pattern = strchr(pattern, '}') + 1;
            size_t len = strcspn(path, "/");
            if (len == 0 || count == API_PARAMETERS)
                return false;
            values[count] = path;
            lens[count++] = len;
            path += len;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return *path == '\0';
}

/* The bearer token of the request; NULL when there is none. */
static const char *bearer(const struct http_call *http, size_t *len)
{
    const char *value = http_call_header(http, "authorization");
    if (value == NULL || strncasecmp(value, "bearer ", 7) != 0)
        return NULL;
    value += 7 + strspn(value + 7, " ");
    *len = strlen(value);
    return value;
}

static void work(struct job *job, struct store *store)
{
    struct api_call *call = job->owner;
    call->route->work(call, store);
}

static void after(struct job *job)
{
    struct api_call *call = job->owner;
    /* What was changed counts at once. */
    if (call->route->scope != TOKEN_READ)
        service_look(call->service);
    api_finish(call);
}

static bool is_json(const char *text, size_t len, struct err *err)
{
    struct json_scan scan;
    json_scan_init(&scan, text, len);
    return json_scan_value(&scan, err) == ERR_NONE && json_scan_skip(&scan, NULL, err) == ERR_NONE &&
           json_scan_end(&scan, err) == ERR_NONE;
}

static enum err_code find_capability(struct api_call *call)
{
    const struct route *route = call->route;
    if (route->capability == -2)
        return ERR_NONE;
    const struct worker *worker = service_runtime(call->service)->worker;
    call->capability = worker_capability(worker, call->parameters[0]);
    if (call->capability == NULL ||
        (route->capability >= 0 && (int)call->capability->kind != route->capability))
        return err_set(&call->err, ERR_NOT_FOUND, "the worker has no %s \"%s\"",
                       route->capability >= 0 ? capability_kind_name((enum capability_kind)route->capability)
                                              : "capability",
                       call->parameters[0]);
    return ERR_NONE;
}

static void begin(struct api *api, struct http_call *http, const struct route *route, struct service *service,
                  const char *values[API_PARAMETERS], const size_t lens[API_PARAMETERS])
{
    struct api_call *call = mem_zalloc(sizeof *call);
    if (call == NULL) {
        answer_error(http, 503, "no_memory", "out of memory");
        return;
    }
    *call = (struct api_call){
        .api = api, .call = http, .route = route, .service = service, .status = route->success};
    buf_init(&call->out, ANSWER_MAX);
    service_hold(service);
    http_call_set_user(http, call);
    const char *body = http_call_body(http, &call->body_len);
    call->body = mem_strndup(body, call->body_len);
    call->query = mem_strndup(http_call_query(http), strlen(http_call_query(http)));
    call->code = call->body != NULL && call->query != NULL ? read_parameters(call, values, lens)
                                                           : err_nomem(&call->err);
    if (call->code == ERR_NONE)
        call->code = find_capability(call);
    if (call->code == ERR_NONE && call->body_len > 0 && !is_json(call->body, call->body_len, &call->err))
        call->code = err_context(&call->err, "the body is not JSON");
    if (call->code != ERR_NONE) {
        api_finish(call);
    } else if (route->kind == ROUTE_START) {
        route->start(call);
    } else {
        call->job = (struct job){.work = work, .after = after, .owner = call};
        executor_submit(service_runtime(service)->executor, &call->job);
    }
}

/* The workers that the token is good for. */
static void list_workers(struct api *api, struct http_call *http, const char *token, size_t len)
{
    struct buf out;
    enum token_scope scope;
    bool any = false;
    buf_init(&out, BUF_UNLIMITED);
    buf_addc(&out, '[');
    for (size_t i = 0; i < hosting_count(api->hosting); i++) {
        struct service *service = hosting_at(api->hosting, i);
        if (!service_token(service, token, len, &scope))
            continue;
        buf_adds(&out, any ? ",{\"name\":" : "{\"name\":");
        json_write_text(&out, service_name(service));
        buf_addc(&out, '}');
        any = true;
    }
    buf_addc(&out, ']');
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

static void route(struct api *api, struct http_call *http, const char *rest)
{
    const char *method = http_call_method(http);
    size_t token_len = 0, name_len = strcspn(rest, "/");
    const char *token = bearer(http, &token_len);
    enum token_scope scope = TOKEN_READ;
    struct service *service = hosting_find(api->hosting, rest, name_len);
    /* Who has no token learns nothing of which workers there are. */
    if (token == NULL || service == NULL || !service_token(service, token, token_len, &scope)) {
        answer_error(http, 401, "unauthorized",
                     token == NULL ? "send a token: Authorization: Bearer …"
                                   : "the token is not good for this worker");
        return;
    }
    bool known = false;
    for (const struct route *at = api_routes; at->method != NULL; at++) {
        const char *values[API_PARAMETERS] = {NULL};
        size_t lens[API_PARAMETERS] = {0};
        if (!matches(at->path, rest + name_len, values, lens))
            continue;
        known = true;
        if (strcmp(at->method, method) != 0)
            continue;
        if (scope < at->scope) {
            char message[128];
            snprintf(message, sizeof message, "the token has the scope \"%s\"; this needs \"%s\"",
                     token_scope_name(scope), token_scope_name(at->scope));
            answer_error(http, 403, "forbidden", message);
        } else {
            begin(api, http, at, service, values, lens);
        }
        return;
    }
    if (known)
        refuse_method(http);
    else
        answer_error(http, 404, "not_found",
                     "the API has no such path: " API_PATH "/openapi.json lists them");
}

bool api_request(struct api *api, struct http_call *http)
{
    const char *path = http_call_path(http);
    bool get = strcmp(http_call_method(http), "GET") == 0;
    size_t prefix = strlen(API_PATH);
    if (strncmp(path, API_PATH, prefix) != 0 || (path[prefix] != '/' && path[prefix] != '\0'))
        return false;
    path += prefix;
    if (strcmp(path, "/openapi.json") == 0 && get) {
        struct buf out;
        buf_init(&out, BUF_UNLIMITED);
        api_describe(api, &out);
        answer_json(http, 200, buf_text(&out), out.len);
        buf_free(&out);
    } else if (strcmp(path, "/workers") == 0 && get) {
        size_t len = 0;
        const char *token = bearer(http, &len);
        list_workers(api, http, token != NULL ? token : "", len);
    } else if (strcmp(path, "/openapi.json") == 0 || strcmp(path, "/workers") == 0) {
        refuse_method(http);
    } else if (strncmp(path, "/workers/", 9) == 0) {
        route(api, http, path + 9);
    } else {
        answer_error(http, 404, "not_found",
                     "the API has no such path: " API_PATH "/openapi.json lists them");
    }
    return true;
}

/* ---- the description ---- */

static void describe_parameters(const struct route *route, struct buf *out)
{
    buf_adds(out, "\"parameters\":[{\"name\":\"worker\",\"in\":\"path\",\"required\":true,\"schema\":{"
                  "\"type\":\"string\"}}");
    for (const char *at = strchr(route->path, '{'); at != NULL; at = strchr(at + 1, '{'))
        buf_addf(out,
                 ",{\"name\":\"%.*s\",\"in\":\"path\",\"required\":true,\"schema\":{\"type\":\"string\"}}",
                 (int)strcspn(at + 1, "}"), at + 1);
    for (const char *at = route->query; at != NULL && *at != '\0';) {
        size_t name = strcspn(at, ":"), len = strcspn(at, " ");
        buf_addf(out, ",{\"name\":\"%.*s\",\"in\":\"query\",\"schema\":{\"type\":\"%.*s\"}}", (int)name, at,
                 (int)(len - name - 1), at + name + 1);
        at += len + (at[len] == ' ');
    }
    buf_addc(out, ']');
}

static void describe_route(const struct route *route, struct buf *out)
{
    static const int failures[] = {401, 403, 404, 409, 422};
    char method[8];
    size_t len = 0;
    for (; route->method[len] != '\0' && len + 1 < sizeof method; len++)
        method[len] = (char)(route->method[len] + ('a' - 'A'));
    method[len] = '\0';
    buf_addf(out, "\"%s\":{\"operationId\":\"%s\",\"summary\":", method, route->id);
    json_write_text(out, route->summary);
    buf_addf(out, ",\"description\":\"Needs a token of the scope %s.\",\"security\":[{\"token\":[]}],",
             token_scope_name(route->scope));
    describe_parameters(route, out);
    if (route->body != NULL)
        buf_addf(out, ",\"requestBody\":{\"content\":{\"application/json\":{\"schema\":%s}}}", route->body);
    buf_addf(out,
             ",\"responses\":{\"%d\":{\"description\":\"Done.\",\"content\":{\"application/"
             "json\":{\"schema\":{}}}}",
             route->success);
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++)
        buf_addf(out, ",\"%d\":{\"$ref\":\"#/components/responses/Error\"}", failures[i]);
    buf_adds(out, "}}");
}

void api_describe(const struct api *api, struct buf *out)
{
    buf_addf(out,
             "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"workers\",\"version\":\"%s\",\"license\":{"
             "\"name\":\"MIT\","
             "\"identifier\":\"MIT\"}},\"servers\":[{\"url\":",
             WORKERS_VERSION);
    json_write_text(out, api->url);
    buf_adds(
        out,
        "}],\"paths\":{\"" API_PATH
        "/openapi.json\":{\"get\":{\"operationId\":\"describe\",\"summary\":\"This description\","
        "\"security\":[],\"responses\":{\"200\":{\"description\":\"Done.\"},\"405\":{\"$ref\":"
        "\"#/components/responses/Error\"}}}},\"" API_PATH
        "/workers\":{\"get\":{\"operationId\":\"listWorkers\",\"summary\":\"The workers that the token is"
        " good for\",\"security\":[{\"token\":[]}],\"responses\":{\"200\":{\"description\":\"Done.\"},"
        "\"401\":{\"$ref\":\"#/components/responses/Error\"}}}}");
    for (const struct route *at = api_routes; at->method != NULL; at++) {
        bool first = true;
        for (const struct route *before = api_routes; before < at && first; before++)
            first = strcmp(before->path, at->path) != 0;
        if (!first)
            continue;
        buf_addf(out, ",\"" API_PATH "/workers/{worker}%s\":{", at->path);
        for (const struct route *same = at; same->method != NULL; same++) {
            if (strcmp(same->path, at->path) != 0)
                continue;
            buf_adds(out, same != at ? "," : "");
            describe_route(same, out);
        }
        buf_addc(out, '}');
    }
    buf_adds(
        out,
        "},\"components\":{\"securitySchemes\":{\"token\":{\"type\":\"http\",\"scheme\":\"bearer\"}},"
        "\"responses\":{\"Error\":{\"description\":\"It was not done.\",\"content\":{\"application/json\":"
        "{\"schema\":{\"type\":\"object\",\"required\":[\"error\"],\"properties\":{\"error\":{\"type\":"
        "\"object\",\"required\":[\"code\",\"message\"],\"properties\":{\"code\":{\"type\":\"string\"},"
        "\"message\":{\"type\":\"string\"}}}}}}}}}}}");
}
