/* workers.http: requests of a script. Must not know how bytes travel
 * (net/http_client.h) or who is allowed to connect where (the host). */
#include "modules/http_priv.h"

#include "base/mem.h"
#include "modules/json.h"
#include "modules/pairs.h"
#include "net/url.h"
#include "script/script_error.h"
#include "script/task.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL "workers.http.call"

#define MAX_ENCODED ((size_t)64 * 1024 * 1024) /* bytes of a body made from json or form */
#define MAX_URL ((size_t)64 * 1024)

/* ---- the box ---- */

static int call_release(lua_State *L)
{
    struct call *call = luaL_checkudata(L, 1, CALL);
    http_cancel(call->handle);
    call->handle = NULL;
    http_response_free(call->response);
    call->response = NULL;
    buf_free(&call->url);
    buf_free(&call->body);
    buf_free(&call->data);
    buf_free(&call->clean);
    return 0;
}

static struct call *push_call(lua_State *L, const char *function)
{
    struct call *call = lua_newuserdatauv(L, sizeof *call, 0);
    *call = (struct call){.function = function, .host = isolate_host(isolate_of(L)), .task = task_current(L)};
    http_request_init(&call->request);
    buf_init(&call->url, MAX_URL);
    buf_init(&call->body, MAX_ENCODED);
    buf_init(&call->data, BUF_UNLIMITED); /* the transfer rests when there is enough in it */
    buf_init(&call->clean, BUF_UNLIMITED);
    luaL_setmetatable(L, CALL);
    return call;
}

/* Moves the string on top of the stack into the anchor table, so that it stays where it is. */
static struct http_slice anchor(lua_State *L)
{
    struct http_slice slice = {0};
    slice.text = pairs_anchor(L, ANCHOR, &slice.len);
    return slice;
}

/* ---- query, form, headers ---- */

/* Leaves one value on the stack. */
static const struct url_pair *collect_pairs(lua_State *L, const struct call *call, int index,
                                            const char *what, size_t *count)
{
    const struct pairs_spec spec = {
        .function = call->function, .what = what, .anchor = ANCHOR, .most = PAIRS_MAX, .list = true};
    return pairs_collect(L, index, &spec, count);
}

static void check_buffer(lua_State *L, const struct call *call, const struct buf *buf, const char *what)
{
    struct err err;
    if (buf_status(buf, what, &err) != ERR_NONE)
        luaL_error(L, "%s: %s", call->function, err.message);
}

/* ---- options ---- */

#define CALL_OPTIONS                                                                                         \
    {"query", OPTION_TABLE, false, "name = value"}, {"headers", OPTION_TABLE, false, "name = value"},        \
        {"json", OPTION_ANY, false, NULL}, {"form", OPTION_TABLE, false, "name = value"},                    \
        {"multipart", OPTION_TABLE, false, "a list of parts"},                                               \
        {"body", OPTION_TEXT, false, "use json or form to send a table"},                                    \
        {"timeout", OPTION_NUMBER, false, "seconds"}, {"connectTimeout", OPTION_NUMBER, false, "seconds"},   \
        {"maxBody", OPTION_ANY, false, NULL}, {"redirects", OPTION_ANY, false, NULL},                        \
        {"retry", OPTION_ANY, false, NULL}, {"ifChanged", OPTION_ANY, false, NULL},                          \
        {"auth", OPTION_TABLE, false, "{ user = , password = } or { bearer = }"},                            \
        {"pacer", OPTION_ANY, false, NULL},                                                                  \
    {                                                                                                        \
        NULL, 0, false, NULL                                                                                 \
    }

static const struct option_spec call_options[] = {CALL_OPTIONS};

/* What stream(url, …) takes. */
static const struct option_spec stream_options[] = {
    {"method", OPTION_STRING, false, "such as \"GET\""},
    CALL_OPTIONS,
};

/* What request{…} takes. */
static const struct option_spec request_options[] = {
    {"method", OPTION_STRING, false, "such as \"GET\""},
    {"url", OPTION_STRING, true, "the address to send the request to"},
    CALL_OPTIONS,
};

/* What response:validators() gives. */
static const struct option_spec condition_options[] = {
    {"etag", OPTION_STRING, false, "the ETag of the answer that is known"},
    {"lastModified", OPTION_STRING, false, "its Last-Modified"},
    {NULL, 0, false, NULL},
};

static const struct option_spec auth_options[] = {
    {"user", OPTION_TEXT, false, NULL},
    {"password", OPTION_TEXT, false, NULL},
    {"digest", OPTION_BOOLEAN, false, NULL},
    {"bearer", OPTION_STRING, false, "the token"},
    {NULL, 0, false, NULL},
};

bool http_push_option(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    if (lua_rawget(L, OPTIONS) != LUA_TNIL)
        return true;
    lua_pop(L, 1);
    return false;
}

static uint64_t read_timeout(lua_State *L, const struct call *call, const char *name, uint64_t absent)
{
    if (!http_push_option(L, name))
        return absent;
    double seconds = lua_tonumber(L, -1);
    if (!(seconds > 0 && seconds <= HTTP_TIMEOUT_MAX_MS / 1000.0))
        luaL_error(L, "%s: option \"%s\" must be more than 0 and at most %d seconds, got %f", call->function,
                   name, HTTP_TIMEOUT_MAX_MS / 1000, seconds);
    lua_pop(L, 1);
    return (uint64_t)ceil(seconds * 1000);
}

static void read_max_body(lua_State *L, struct call *call)
{
    if (!lua_istable(L, OPTIONS))
        return;
    uint64_t bytes = options_size(L, OPTIONS, "maxBody", call->request.max_body, call->function);
    if (bytes > HTTP_MAX_BODY_LIMIT)
        luaL_error(L, "%s: option \"maxBody\" is greater than 4 GiB", call->function);
    call->request.max_body = (size_t)bytes;
}

static void read_redirects(lua_State *L, struct call *call)
{
    if (!http_push_option(L, "redirects"))
        return;
    int integral = 0;
    lua_Integer given = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &integral) : 0;
    if (lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "error") == 0) {
        call->refuse_redirect = true;
        call->request.max_redirects = 0;
    } else if (integral && given >= 0 && given <= HTTP_MAX_REDIRECTS_LIMIT) {
        call->request.max_redirects = (unsigned)given;
    } else {
        luaL_error(L, "%s: option \"redirects\" must be a whole number from 0 to %d, or \"error\"",
                   call->function, HTTP_MAX_REDIRECTS_LIMIT);
    }
    lua_pop(L, 1);
}

static struct http_slice read_auth_part(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    if (!lua_isnil(L, -1))
        return anchor(L);
    lua_pop(L, 1);
    return (struct http_slice){0};
}

static void read_auth(lua_State *L, struct call *call)
{
    if (!http_push_option(L, "auth"))
        return;
    lua_pushfstring(L, "%s: option \"auth\"", call->function);
    options_check(L, -2, auth_options, lua_tostring(L, -1));
    lua_pop(L, 1);
    int index = lua_gettop(L);
    call->request.user = read_auth_part(L, index, "user");
    call->request.password = read_auth_part(L, index, "password");
    call->request.bearer = read_auth_part(L, index, "bearer");
    bool bearer = call->request.bearer.text != NULL;
    bool basic = call->request.user.text != NULL || call->request.password.text != NULL;
    if (bearer == basic)
        luaL_error(L, "%s: option \"auth\" must be either { user = , password = } or { bearer = }",
                   call->function);
    if (basic && call->request.user.text == NULL)
        luaL_error(L, "%s: option \"auth\" has a password but no user", call->function);
    call->request.digest = options_boolean(L, index, "digest", false);
    if (call->request.digest && bearer)
        luaL_error(L, "%s: option \"auth\": digest goes with user and password", call->function);
    lua_pop(L, 1);
}

/* Returns the Content-Type that the body brings, or NULL. */
static const char *read_body(lua_State *L, struct call *call)
{
    static const char *const bodies[] = {"json", "form", "body", "multipart"};
    const char *given = NULL;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        if (!http_push_option(L, bodies[i]))
            continue;
        lua_pop(L, 1);
        if (given != NULL)
            luaL_error(L, "%s: options \"%s\" and \"%s\" exclude each other", call->function, given,
                       bodies[i]);
        given = bodies[i];
    }
    if (given == NULL)
        return NULL;
    const char *type = NULL;
    http_push_option(L, given);
    if (given == bodies[2]) {
        call->request.body = anchor(L); /* pops */
        call->request.has_body = true;
        return NULL;
    }
    if (given == bodies[0]) {
        struct err err;
        if (json_encode(L, -1, NULL, &call->body, &err) != ERR_NONE)
            luaL_error(L, "%s: option \"json\": %s", call->function, err.message);
        type = "application/json";
    } else if (given == bodies[3]) {
        type = http_read_multipart(L, call);
        anchor(L);
    } else {
        size_t count = 0;
        const struct url_pair *pairs = collect_pairs(L, call, -1, "form", &count);
        url_encode_pairs(&call->body, pairs, count);
        lua_pop(L, 1);
        type = "application/x-www-form-urlencoded";
    }
    check_buffer(L, call, &call->body, "the request body");
    call->request.body = (struct http_slice){buf_text(&call->body), call->body.len};
    call->request.has_body = true;
    lua_pop(L, 1);
    return type;
}

static bool has_field(const struct http_field *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (fields[i].name.len == strlen(name) &&
            strncasecmp(fields[i].name.text, name, fields[i].name.len) == 0)
            return true;
    return false;
}

/* Adds the headers that ask for an answer only if it has changed (RFC 9110, section 13.1). */
static size_t add_conditions(lua_State *L, struct call *call, struct http_field *fields, size_t count)
{
    static const struct {
        const char *name, *header;
    } conditions[] = {{"etag", "If-None-Match"}, {"lastModified", "If-Modified-Since"}};
    if (!http_push_option(L, "ifChanged"))
        return count;
    bool null = lua_islightuserdata(L, -1) && lua_touserdata(L, -1) == NULL;
    if (!null) {
        lua_pushfstring(L, "%s: option \"ifChanged\"", call->function);
        options_check(L, -2, condition_options, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    for (size_t i = 0; !null && i < 2; i++) {
        lua_pushstring(L, conditions[i].name);
        if (lua_rawget(L, -2) == LUA_TSTRING) {
            fields[count].name = http_slice(conditions[i].header);
            fields[count++].value = anchor(L);
        } else {
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    call->conditional = true;
    return count;
}

/* The header fields go into the anchor table, so that they live as long as the request. */
static void read_headers(lua_State *L, struct call *call, const char *content_type)
{
    size_t count = 0;
    const struct url_pair *given = NULL;
    const struct pairs_spec spec = {
        .function = call->function, .what = "headers", .anchor = ANCHOR, .most = HTTP_HEADERS_MAX_COUNT};
    if (http_push_option(L, "headers")) {
        given = pairs_collect(L, -1, &spec, &count);
        lua_remove(L, -2);
    } else {
        lua_pushnil(L);
    }
    struct http_field *fields = lua_newuserdatauv(L, (count + 3) * sizeof *fields, 0);
    for (size_t i = 0; i < count; i++)
        fields[i] =
            (struct http_field){{given[i].name, given[i].name_len}, {given[i].value, given[i].value_len}};
    count = add_conditions(L, call, fields, count);
    if (content_type != NULL && !has_field(fields, count, "content-type"))
        fields[count++] = (struct http_field){http_slice("Content-Type"), http_slice(content_type)};
    call->request.headers = fields;
    call->request.header_count = count;
    lua_setfield(L, ANCHOR, "headers");
    lua_pop(L, 1);
}

static void read_url(lua_State *L, struct call *call)
{
    size_t len = 0;
    const char *url = lua_tolstring(L, URL, &len);
    if (http_push_option(L, "query")) {
        size_t count = 0;
        const struct url_pair *pairs = collect_pairs(L, call, -1, "query", &count);
        url_add_query(&call->url, url, len, pairs, count);
        lua_pop(L, 2);
    } else {
        buf_add(&call->url, url, len);
    }
    check_buffer(L, call, &call->url, "the URL");
    call->request.url = (struct http_slice){buf_text(&call->url), call->url.len};
}

static void read_method(lua_State *L, struct call *call)
{
    size_t len = 0;
    char method[32];
    const char *text = lua_tolstring(L, METHOD, &len);
    if (!http_is_token(text, len) || len >= sizeof method)
        luaL_error(L, "%s: option \"method\" must be a word such as GET or POST", call->function);
    for (size_t i = 0; i <= len; i++) /* methods are capitals; "post" means POST */
        method[i] = text[i] >= 'a' && text[i] <= 'z' ? (char)(text[i] - 'a' + 'A') : text[i];
    bool safe = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "OPTIONS") == 0;
    if (!safe && call->host->dry_run != NULL && call->host->dry_run(call->host->ctx))
        script_raise(
            L, "HttpError", "dry_run",
            "%s: this is a dry run, in which no %s is sent: look at ctx.dryRun first, and return what would "
            "be done",
            call->function, method);
    lua_pushlstring(L, method, len);
    lua_replace(L, METHOD);
    call->request.method.text = lua_tolstring(L, METHOD, &call->request.method.len);
}

/* ---- the end ---- */

static int start_attempt(lua_State *L);

static bool is_redirect(const struct http_response *response)
{
    int status = response->status;
    return (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) &&
           http_headers_find(&response->headers, "location", 0) != NULL;
}

/* One line for each request, without what may be secret in its URL. */
static void log_call(lua_State *L, const struct call *call)
{
    if (call->host->log == NULL)
        return;
    http_push_shown_url(L, call->request.url.text, call->request.url.len);
    char end[HTTP_MESSAGE_MAX + 64];
    if (call->response != NULL)
        snprintf(end, sizeof end, "%d, %zu bytes, %llu ms", call->response->status, call->response->body_len,
                 (unsigned long long)call->response->total_ms);
    else
        snprintf(end, sizeof end, "%s", call->message);
    lua_pushfstring(L, "%s %s: %s", call->request.method.text, lua_tostring(L, -1), end);
    size_t len = 0;
    const char *line = lua_tolstring(L, -1, &len);
    call->host->log(call->host->ctx, "http", line, len);
    lua_pop(L, 2);
}

/* Takes the credentials of requests out of a text; clean stays empty when there are none in it. False when
 * memory is out. */
static bool scrub_text(const struct call *call, const char *text, size_t len, struct buf *clean)
{
    buf_init(clean, BUF_UNLIMITED);
    if (call->host->http_scrub(call->host->ctx, text, len, clean) && clean->len == len &&
        memcmp(buf_text(clean), text, len) == 0)
        buf_free(clean); /* nothing was found */
    return !clean->failed;
}

static bool scrub_headers(const struct call *call, struct http_headers *headers)
{
    bool fits = true;
    for (size_t i = 0; i < headers->count && fits; i++) {
        struct http_header *header = &headers->items[i];
        struct buf clean;
        fits = scrub_text(call, header->value, header->value_len, &clean);
        if (fits && clean.len > 0) {
            header->value = arena_strndup(&headers->text, buf_text(&clean), clean.len);
            header->value_len = clean.len;
            fits = header->value != NULL;
        }
        buf_free(&clean);
    }
    return fits;
}

static bool replace_text(const struct call *call, char **text, size_t *len)
{
    struct buf clean;
    bool fits = scrub_text(call, *text, *len, &clean);
    if (fits && clean.len > 0) {
        mem_free(*text);
        *text = buf_take(&clean, len);
    }
    buf_free(&clean);
    return fits;
}

/* Some servers give back what they were sent, credentials and all. */
static void scrub_response(struct call *call)
{
    struct http_response *response = call->response;
    if (response == NULL || call->host->http_scrub == NULL)
        return;
    size_t url_len = strlen(response->url);
    if (scrub_headers(call, &response->headers) && replace_text(call, &response->url, &url_len) &&
        replace_text(call, &response->body, &response->body_len))
        return;
    http_response_free(response);
    call->response = NULL;
    call->error = HTTP_ERROR_NOMEM;
    snprintf(call->message, sizeof call->message, "out of memory");
}

static int wait_over(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    return start_attempt(L);
}

static int call_over(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    struct call *call = lua_touserdata(L, CALL_BOX);
    scrub_response(call);
    log_call(L, call);
    double wait = http_retry_wait(call);
    if (wait >= 0) {
        http_cancel(call->handle); /* of a stream, whose body is of no interest */
        call->handle = NULL;
        http_response_free(call->response);
        call->response = NULL;
        call->attempt++;
        lua_settop(L, SENDING_TOP);
        return modules_sleep(L, wait, 0, wait_over);
    }
    buf_free(&call->body);
    if (call->response == NULL)
        return script_raise(L, "HttpError", http_error_code(call->error), "%s: %s", call->function,
                            call->message);
    if (call->refuse_redirect && is_redirect(call->response)) {
        http_push_shown_url(L, call->response->url, strlen(call->response->url));
        return script_raise(L, "HttpError", "redirect",
                            "%s: %s answers with a redirect (%d), which redirects = \"error\" "
                            "refuses",
                            call->function, lua_tostring(L, -1), call->response->status);
    }
    http_push_response(L, call);
    return 1;
}

/* ---- sending ---- */

static bool allow_url(void *ctx, bool tls, const char *host, int port, char *reason)
{
    (void)tls;
    const struct call *call = ctx;
    struct err err;
    if (call->host->net_allowed == NULL ||
        call->host->net_allowed(call->host->ctx, host, port, &err) == ERR_NONE)
        return true;
    snprintf(reason, HTTP_REASON_MAX, "%.*s", HTTP_REASON_MAX - 1, err.message);
    return false;
}

static bool allow_address(void *ctx, const struct sockaddr *address, char *reason)
{
    const struct call *call = ctx;
    struct err err;
    if (call->host->address_allowed == NULL ||
        call->host->address_allowed(call->host->ctx, address, &err) == ERR_NONE)
        return true;
    snprintf(reason, HTTP_REASON_MAX, "%.*s", HTTP_REASON_MAX - 1, err.message);
    return false;
}

static bool add_fields(void *ctx, bool tls, const char *host, int port, http_take_field_fn *take,
                       void *taking, char *reason)
{
    (void)port;
    struct call *call = ctx;
    struct err err;
    if (call->host->http_fields(call->host->ctx, tls, host, take, taking, &err) == ERR_NONE)
        return true;
    snprintf(reason, HTTP_REASON_MAX, "%.*s", HTTP_REASON_MAX - 1, err.message);
    return false;
}

static void cancel_call(void *op)
{
    struct call *call = op;
    call->reading = false;
    http_cancel(call->handle);
    call->handle = NULL;
}

static void call_done(void *ctx, struct http_response *response, const struct http_failure *failure)
{
    struct call *call = ctx;
    call->handle = NULL;
    if (call->stream) {
        http_stream_ended(call, response, failure);
        return;
    }
    call->response = response;
    if (response == NULL) {
        call->error = failure->error;
        snprintf(call->message, sizeof call->message, "%s", failure->message);
    }
    task_wake(call->task);
}

static int send_call(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    struct call *call = lua_touserdata(L, CALL_BOX);
    struct err err;
    lua_settop(L, SENDING_TOP);
    if (call->stream)
        http_stream_begin(call);
    struct http_client *client = call->host->http != NULL
                                     ? call->host->http(call->host->ctx, &err)
                                     : (err_set(&err, ERR_DENIED, "requests cannot be sent from here"), NULL);
    if (client == NULL ||
        http_client_send(client, &call->request, call_done, call, &call->handle, &err) != ERR_NONE)
        return luaL_error(L, "%s: %s", call->function, err.message);
    if (call->retry.attempts == 1)
        buf_free(&call->body); /* the client has its own copy */
    if (call->host->http_sent != NULL)
        call->host->http_sent(call->host->ctx);
    task_wait_set(call->task, cancel_call, call);
    return task_wait(L, 0, call_over);
}

/* Every attempt takes a slot of its own. */
static int start_attempt(lua_State *L)
{
    lua_settop(L, SENDING_TOP);
    if (lua_getfield(L, ANCHOR, "pacer") != LUA_TSTRING)
        return send_call(L, LUA_OK, 0);
    const char *key = lua_tostring(L, -1);
    lua_settop(L, SENDING_TOP);
    return modules_pacer_wait(L, key, 0, send_call);
}

/* stack: method, url, options or nil. specs is NULL when the options have been checked. */
static int begin_call(lua_State *L, const char *function, const struct option_spec *specs, bool stream)
{
    task_wait_begin(L, function);
    if (specs != NULL && !lua_isnil(L, OPTIONS)) {
        options_check(L, OPTIONS, specs, function);
    } else if (specs != NULL) {
        lua_newtable(L);
        lua_replace(L, OPTIONS);
    }
    luaL_checkstack(L, 16, NULL);
    struct call *call = push_call(L, function);
    call->stream = stream;
    lua_newtable(L); /* the anchor */
    read_method(L, call);
    read_url(L, call);
    read_headers(L, call, read_body(L, call));
    read_auth(L, call);
    call->request.timeout_ms = read_timeout(L, call, "timeout", HTTP_TIMEOUT_MS);
    call->request.connect_timeout_ms = read_timeout(L, call, "connectTimeout", HTTP_CONNECT_TIMEOUT_MS);
    read_max_body(L, call);
    read_redirects(L, call);
    http_read_retry(L, call);
    call->request.allow_url = allow_url;
    call->request.allow_address = allow_address;
    call->request.add_fields = call->host->http_fields != NULL ? add_fields : NULL;
    call->request.allow_ctx = call;
    call->request.environment_proxy = true;
    call->request.ca_file = http_slice(getenv("SSL_CERT_FILE")); /* as OpenSSL's own programs do */
    call->attempt = 1;
    if (http_push_option(L, "pacer")) {
        if (modules_pacer_key(L, -1) == NULL)
            return luaL_error(L, "%s: option \"pacer\" must be what worker:pacer(…) returned, got %s",
                              function, luaL_typename(L, -1));
        lua_getfield(L, -1, "key"); /* the script may change its tables between attempts */
        lua_setfield(L, ANCHOR, "pacer");
    }
    return start_attempt(L);
}

/* function is the name for messages. */
static int call_method(lua_State *L, const char *function, const char *method)
{
    if (lua_type(L, 1) != LUA_TSTRING)
        return luaL_error(L, "%s: the first argument must be the URL, got %s", function,
                          lua_isnoneornil(L, 1) ? "nothing" : luaL_typename(L, 1));
    lua_settop(L, 2);
    lua_pushstring(L, method);
    lua_insert(L, METHOD);
    return begin_call(L, function, call_options, false);
}

static int http_get(lua_State *L)
{
    return call_method(L, "http.get", "GET");
}

static int http_post(lua_State *L)
{
    return call_method(L, "http.post", "POST");
}

static int http_put(lua_State *L)
{
    return call_method(L, "http.put", "PUT");
}

static int http_patch(lua_State *L)
{
    return call_method(L, "http.patch", "PATCH");
}

static int http_delete(lua_State *L)
{
    return call_method(L, "http.delete", "DELETE");
}

static int http_head(lua_State *L)
{
    return call_method(L, "http.head", "HEAD");
}

static int http_request(lua_State *L)
{
    options_check(L, 1, request_options, "http.request");
    lua_settop(L, 1);
    lua_pushstring(L, options_string(L, 1, "method", "GET"));
    lua_insert(L, METHOD);
    lua_pushstring(L, options_string(L, 2, "url", ""));
    lua_insert(L, URL);
    return begin_call(L, "http.request", NULL, false);
}

static int http_stream(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TSTRING)
        return luaL_error(L, "http.stream: the first argument must be the URL, got %s",
                          lua_isnoneornil(L, 1) ? "nothing" : luaL_typename(L, 1));
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_newtable(L);
        lua_replace(L, 2);
    }
    options_check(L, 2, stream_options, "http.stream");
    lua_pushstring(L, options_string(L, 2, "method", "GET"));
    lua_insert(L, METHOD);
    return begin_call(L, "http.stream", NULL, true);
}

/* ---- the module ---- */

static void make_metatables(lua_State *L)
{
    static const luaL_Reg closers[] = {{"__gc", call_release}, {"__close", call_release}, {NULL, NULL}};
    luaL_newmetatable(L, CALL);
    luaL_setfuncs(L, closers, 0);
    lua_pop(L, 1);
    http_make_response_metatables(L);
}

#define SENDS "(url: string, options?: workers.http.Options): workers.http.Response"

static const struct script_function functions[] = {
    {"get", http_get, SENDS, "sends a GET request and waits for the answer"},
    {"post", http_post, SENDS, "sends a POST request and waits for the answer"},
    {"put", http_put, SENDS, "sends a PUT request and waits for the answer"},
    {"patch", http_patch, SENDS, "sends a PATCH request and waits for the answer"},
    {"delete", http_delete, SENDS, "sends a DELETE request and waits for the answer"},
    {"head", http_head, SENDS, "sends a HEAD request and waits for the answer"},
    {"request", http_request, "(options: workers.http.Request): workers.http.Response",
     "sends a request of any method and waits for the answer"},
    {"stream", http_stream, "(url: string, options?: workers.http.StreamOptions): workers.http.Stream",
     "sends a request and waits for the beginning of the answer, whose body is read piece by piece"},
    {NULL, NULL, NULL, NULL},
};

const struct script_docs http_docs = {
    "HTTP and HTTPS",
    functions,
    "---@class workers.http.Options\n"
    "---@field query? table<string, any> names and values for the URL\n"
    "---@field headers? table<string, any> names and values\n"
    "---@field json? any the body, as JSON\n"
    "---@field form? table<string, any> the body, as a form\n"
    "---@field multipart? workers.http.Part[] the body, as form data with files\n"
    "---@field body? string the body\n"
    "---@field auth? { bearer?: string, user?: string, password?: string, digest?: boolean }\n"
    "---@field pacer? workers.Pacer waits for its slot before each attempt\n"
    "---@field timeout? number seconds for one attempt\n"
    "---@field connectTimeout? number seconds\n"
    "---@field maxBody? integer|string bytes, or a text such as \"64MiB\"\n"
    "---@field redirects? integer|\"error\" how many are followed\n"
    "---@field retry? boolean|integer|{ attempts?: integer, backoff?: number, maxWait?: number, unsafe?: "
    "boolean }\n"
    "---@field ifChanged? { etag?: string, lastModified?: string } what response:validators() gave\n"
    "---@class workers.http.Request: workers.http.Options\n"
    "---@field url string\n"
    "---@field method? string\n"
    "---@class workers.http.StreamOptions: workers.http.Options\n"
    "---@field method? string\n"
    "---@class workers.http.Part\n"
    "---@field name string\n"
    "---@field value? string|number|boolean\n"
    "---@field content? string the file's bytes\n"
    "---@field filename? string\n"
    "---@field contentType? string\n"
    "---@class workers.http.Response\n"
    "---@field status integer\n"
    "---@field ok boolean whether status is 200 to 299\n"
    "---@field unchanged? boolean with ifChanged: whether status is 304\n"
    "---@field headers table<string, string> names without regard to case\n"
    "---@field body string\n"
    "---@field url string\n"
    "---@field method string\n"
    "---@field json fun(self: workers.http.Response): any the body decoded\n"
    "---@field raise fun(self: workers.http.Response): workers.http.Response itself if ok, otherwise an "
    "error\n"
    "---@field validators fun(self: workers.http.Response): { etag?: string, lastModified?: string }? for "
    "ifChanged\n"
    "---@class workers.http.Stream\n"
    "---@field status integer\n"
    "---@field ok boolean whether status is 200 to 299\n"
    "---@field unchanged? boolean with ifChanged: whether status is 304\n"
    "---@field headers table<string, string> names without regard to case\n"
    "---@field url string\n"
    "---@field method string\n"
    "---@field read fun(self: workers.http.Stream): string? the next piece of the body, nil at its end\n"
    "---@field chunks fun(self: workers.http.Stream): fun(): string? for a loop over the pieces\n"
    "---@field close fun(self: workers.http.Stream) ends it early\n"
    "---@field raise fun(self: workers.http.Stream): workers.http.Stream itself if ok, otherwise an error\n"
    "---@field validators fun(self: workers.http.Stream): { etag?: string, lastModified?: string }? for "
    "ifChanged\n",
};

int luaopen_workers_http(lua_State *L)
{
    make_metatables(L);
    functions_push(L, functions);
    return 1;
}
