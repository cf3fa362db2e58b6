/* Changes to the home, in the pool: making a worker starts a process. */
#include "server/api_home.h"

#include "api/request.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/home.h"
#include "net/url.h"
#include "server/answer.h"
#include "server/supervisor.h"

#include <stdio.h>
#include <string.h>

enum home_action { CREATE, RENAME, DELETE };

struct home_change {
    struct api *api;
    struct http_call *http; /* NULL when the client has left */
    uv_work_t work;
    enum home_action change;
    char home[HOME_PATH_MAX];
    char name[CONFIG_NAME_MAX + 1], to[CONFIG_NAME_MAX + 1];
    char moved_to[HOME_PATH_MAX];
    enum err_code code;
    struct err err;
};

static void do_work(uv_work_t *work)
{
    struct home_change *change = work->data;
    if (change->change == CREATE)
        change->code = home_create(change->home, change->name, &change->err);
    else if (change->change == RENAME)
        change->code = home_rename(change->home, change->name, change->to, &change->err);
    else
        change->code = home_delete(change->home, change->name, change->moved_to, &change->err);
}

static void answer(const struct home_change *change)
{
    struct buf out;
    buf_init(&out, BUF_UNLIMITED);
    buf_adds(&out, "{\"name\":");
    json_write_text(&out, change->change == RENAME ? change->to : change->name);
    if (change->change == DELETE) {
        buf_adds(&out, ",\"movedTo\":");
        json_write_text(&out, change->moved_to);
    }
    buf_addc(&out, '}');
    answer_json(change->http, change->change == CREATE ? 201 : 200, buf_text(&out), out.len);
    buf_free(&out);
}

static void after_work(uv_work_t *work, int status)
{
    struct home_change *change = work->data;
    (void)status;
    hosting_scan(change->api->hosting);
    supervisor_tell_others();
    change->api->changing--;
    if (change->http != NULL) {
        http_call_set_user(change->http, NULL);
        if (change->code == ERR_NONE)
            answer(change);
        else
            api_answer_err(change->http, change->code, &change->err);
    }
    mem_free(change);
}

/* A name in the body; false after an answer. */
static bool read_name(struct http_call *http, char out[CONFIG_NAME_MAX + 1])
{
    size_t len = 0;
    const char *body = http_call_body(http, &len);
    struct json_scan scan;
    struct err err;
    if (json_check(body != NULL ? body : "", len, &err) == ERR_NONE &&
        json_find_string(body, len, "name", &scan) && scan.string.len <= CONFIG_NAME_MAX) {
        out[json_unescape(scan.string, out)] = '\0';
        return true;
    }
    answer_error(http, 422, "invalid", "the body needs \"name\", a text of at most 100 bytes");
    return false;
}

static bool is_some_workers(const struct api *api, const char *token, size_t len)
{
    enum token_scope scope;
    for (size_t i = 0; i < hosting_count(api->hosting); i++)
        if (hosting_token(api->hosting, hosting_at(api->hosting, i), token, len, &scope))
            return true;
    return false;
}

static bool is_allowed(struct api *api, struct http_call *http)
{
    size_t len = 0;
    enum token_scope scope = TOKEN_READ;
    const char *token = api_bearer(http, &len);
    bool known = token != NULL && hosting_home_token(api->hosting, token, len, &scope);
    if (!known && token != NULL && is_some_workers(api, token, len))
        answer_error(http, 403, "forbidden", "this needs a token of the home, and this is one of a worker");
    else if (!known)
        answer_error(http, 401, "unauthorized",
                     hosting_home(api->hosting) != NULL
                         ? "this needs a token of the home: the one in .workers/token there, or one that was "
                           "made with it"
                         : "this server has no home to deploy to: workers serve --home");
    else if (scope != TOKEN_ADMIN)
        answer_error(http, 403, "forbidden", "this needs the scope \"admin\"");
    return known && scope == TOKEN_ADMIN;
}

static bool is_change(const struct http_call *http, const char *rest, enum home_action *out)
{
    const char *method = http_call_method(http);
    if (rest == NULL && strcmp(method, "POST") == 0)
        *out = CREATE;
    else if (rest != NULL && strchr(rest, '/') == NULL && strcmp(method, "PATCH") == 0)
        *out = RENAME;
    else if (rest != NULL && strchr(rest, '/') == NULL && strcmp(method, "DELETE") == 0)
        *out = DELETE;
    else
        return false;
    return true;
}

bool api_home_answer(struct api *api, struct http_call *http, const char *rest)
{
    enum home_action kind = CREATE;
    if (!is_change(http, rest, &kind))
        return false;
    if (!is_allowed(api, http))
        return true;
    if (rest != NULL && strlen(rest) > CONFIG_NAME_MAX) {
        answer_error(http, 404, "not_found", "the home has no such worker: workers list shows them");
        return true;
    }
    struct home_change *change = mem_need(sizeof *change);
    change->api = api;
    change->change = kind;
    snprintf(change->home, sizeof change->home, "%s", hosting_home(api->hosting));
    snprintf(change->name, sizeof change->name, "%s", rest != NULL ? rest : "");
    if (kind != DELETE && !read_name(http, kind == CREATE ? change->name : change->to)) {
        mem_free(change);
        return true;
    }
    change->http = http;
    change->work.data = change;
    http_call_set_user(http, change);
    api->changing++;
    uv_queue_work(api->loop, &change->work, do_work, after_work);
    return true;
}

/* ---- what the workers share ---- */

struct shared_call {
    struct api *api;
    struct http_call *http; /* NULL when the client has left */
    uv_work_t work;
    struct api_request request;
    char folder[HOME_PATH_MAX + 16]; /* of the store */
};

/* On a connection of its own: others may be writing. */
static void do_shared(uv_work_t *work)
{
    struct shared_call *call = work->data;
    struct api_request *request = &call->request;
    struct store *store = NULL;
    request->code = store_open(call->folder, false, &store, &request->err);
    if (request->code == ERR_NONE)
        api_request_work(request, store);
    store_close(store);
    if (request->code == ERR_NONE)
        request->code = buf_status(&request->out, "the answer", &request->err);
}

static void free_shared(struct shared_call *call)
{
    api_request_free(&call->request);
    mem_free(call);
}

static void answer_shared(struct shared_call *call)
{
    struct http_call *http = call->http;
    if (http == NULL)
        return;
    http_call_set_user(http, NULL);
    if (call->request.code == ERR_NONE)
        answer_json(http, call->request.status, buf_text(&call->request.out), call->request.out.len);
    else
        api_answer_err(http, call->request.code, &call->request.err);
}

static void after_shared(uv_work_t *work, int status)
{
    struct shared_call *call = work->data;
    (void)status;
    call->api->changing--;
    if (strcmp(call->request.route->method, "GET") != 0) {
        hosting_home_changed(call->api->hosting);
        supervisor_tell_others();
    }
    answer_shared(call);
    free_shared(call);
}

void api_home_shared(struct api *api, struct http_call *http, const char *rest)
{
    struct api_asked asked;
    bool known = false;
    if (!is_allowed(api, http))
        return;
    const struct route *route = api_match(http_call_method(http), rest, &asked, &known);
    if (route == NULL || !api_is_shared(route)) {
        answer_error(http, known ? 405 : 404, known ? "method_not_allowed" : "not_found",
                     "of the home there are variables, tokens and the key");
        return;
    }
    struct shared_call *call = mem_need(sizeof *call);
    snprintf(call->folder, sizeof call->folder, "%s/.workers", hosting_home(api->hosting));
    call->api = api;
    call->http = http;
    call->work.data = call;
    call->request =
        (struct api_request){.route = route, .name = "home", .url = api->url, .folder = call->folder};
    asked.query = http_call_query(http);
    asked.body = http_call_body(http, &asked.body_len);
    http_call_set_user(http, call);
    if (api_request_read(&call->request, &asked) != ERR_NONE) {
        answer_shared(call);
        free_shared(call);
        return;
    }
    api->changing++;
    uv_queue_work(api->loop, &call->work, do_shared, after_shared);
}

/* ---- clients that leave ---- */

bool api_home_gone(struct http_call *http)
{
    enum home_action ignored;
    const char *path = http_call_path(http);
    void *user = http_call_user(http);
    size_t workers = strlen(API_ROOT "/workers"), home = strlen(API_ROOT "/home/");
    if (strncmp(path, API_ROOT "/home/", home) == 0) {
        if (user != NULL)
            ((struct shared_call *)user)->http = NULL;
        return true;
    }
    if (strncmp(path, API_ROOT "/workers", workers) != 0 ||
        !is_change(http, path[workers] == '/' ? path + workers + 1 : NULL, &ignored))
        return false;
    if (user != NULL)
        ((struct home_change *)user)->http = NULL;
    return true;
}
