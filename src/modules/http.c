/* workers.http: requests of a script, and what it can do with the answers. Must not know how bytes travel
 * (net/http_client.h) or who is allowed to connect where (the host). */
#include "modules/modules.h"

#include "base/clock.h"
#include "base/iso8601.h"
#include "base/number.h"
#include "base/text.h"
#include "modules/json.h"
#include "net/http_client.h"
#include "net/url.h"
#include "script/options.h"
#include "script/script_error.h"
#include "script/task.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL "workers.http.call"
#define RESPONSE "workers.http.response"
#define HEADERS "workers.http.headers"

#define MAX_PAIRS ((size_t)100000)             /* of query or form */
#define MAX_ENCODED ((size_t)64 * 1024 * 1024) /* bytes of a body made from json or form */
#define MAX_URL ((size_t)64 * 1024)
#define MAX_SHOWN_BODY 300 /* characters of a body in an error message */
#define MAX_RETRY_AFTER 1e9

/* One request: everything that it holds outside Lua. */
struct call {
    const char *function; /* "http.get", for messages */
    const struct isolate_host *host;
    struct task *task;
    struct http_handle *handle; /* while under way */
    struct http_response *response;
    enum http_error error;
    char message[HTTP_MESSAGE_MAX];
    struct http_request request; /* points into url, body and strings that the anchor table holds */
    struct buf url;
    struct buf body;
    bool refuse_redirect;
};

/* Stack of a function that sends: method, url, options or nil, call, anchor (a table of strings in use). */
enum { METHOD = 1, URL, OPTIONS, CALL_BOX, ANCHOR, SENDING_TOP = ANCHOR };

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
    return 0;
}

static struct call *push_call(lua_State *L, const char *function)
{
    struct call *call = lua_newuserdatauv(L, sizeof *call, 0);
    *call = (struct call){.function = function, .host = isolate_host(isolate_of(L)), .task = task_current(L)};
    http_request_init(&call->request);
    buf_init(&call->url, MAX_URL);
    buf_init(&call->body, MAX_ENCODED);
    luaL_setmetatable(L, CALL);
    return call;
}

/* Moves the string on top of the stack into the anchor table, so that it stays where it is. */
static struct http_slice anchor(lua_State *L)
{
    struct http_slice slice = {0};
    slice.text = lua_tolstring(L, -1, &slice.len);
    lua_rawseti(L, ANCHOR, (lua_Integer)lua_rawlen(L, ANCHOR) + 1);
    return slice;
}

/* ---- query, form, headers ---- */

/* The text of the scalar on top of the stack, which is popped; what names it for messages. */
static struct http_slice scalar_text(lua_State *L, const struct call *call, const char *what,
                                     const char *name)
{
    char number[NUMBER_TEXT_MAX];
    if (lua_isinteger(L, -1)) {
        number_format_integer(lua_tointeger(L, -1), number);
        lua_pushstring(L, number);
        lua_remove(L, -2);
    } else if (lua_type(L, -1) == LUA_TNUMBER) {
        if (!isfinite(lua_tonumber(L, -1)))
            luaL_error(L, "%s: %s \"%s\" is not a finite number", call->function, what, name);
        number_format_js(lua_tonumber(L, -1), number); /* 3.0 is "3": it came from a division, most likely */
        lua_pushstring(L, number);
        lua_remove(L, -2);
    } else if (lua_isboolean(L, -1)) {
        lua_pushstring(L, lua_toboolean(L, -1) ? "true" : "false");
        lua_remove(L, -2);
    } else if (lua_type(L, -1) != LUA_TSTRING) {
        luaL_error(L, "%s: %s \"%s\" must be a string, a number, true, false, or a list of them, got %s",
                   call->function, what, name,
                   lua_touserdata(L, -1) == NULL && lua_islightuserdata(L, -1) ? "null"
                                                                               : luaL_typename(L, -1));
    }
    return anchor(L);
}

static int compare_names(const void *a, const void *b)
{
    const struct http_field *x = a, *y = b;
    size_t least = x->name.len < y->name.len ? x->name.len : y->name.len;
    int order = least > 0 ? memcmp(x->name.text, y->name.text, least) : 0;
    if (order != 0)
        return order;
    if (x->name.len != y->name.len)
        return x->name.len < y->name.len ? -1 : 1;
    return x->value.len < y->value.len ? -1 : 1; /* not a length yet, see collect */
}

/* Reads the table at index, name -> scalar or list of scalars, in order of the names. The fields are a
 * userdata that is left on the stack; its strings are in the anchor table. */
static struct http_field *collect(lua_State *L, const struct call *call, int index, const char *what,
                                  size_t most, size_t *count)
{
    size_t total = 0;
    index = lua_absindex(L, index);
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "%s: %s must have names as keys, got a %s key", call->function, what,
                       luaL_typename(L, -2));
        total += lua_istable(L, -1) ? lua_rawlen(L, -1) : 1;
        if (total > most)
            luaL_error(L, "%s: more than %d entries in %s", call->function, (int)most, what);
    }
    luaL_checkstack(L, 6, NULL);
    struct http_field *fields = lua_newuserdatauv(L, (total + 1) * sizeof *fields, 0);
    size_t at = 0;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        struct http_slice name = anchor(L);
        bool list = lua_istable(L, -1);
        size_t length = list ? lua_rawlen(L, -1) : 1;
        for (size_t i = 1; i <= length && at < total; i++, at++) {
            if (list)
                lua_rawgeti(L, -1, (lua_Integer)i);
            else
                lua_pushvalue(L, -1);
            /* Sorting must keep lists in order: until then, the length is the value's number in the anchor
             * table. */
            scalar_text(L, call, what, name.text);
            fields[at] = (struct http_field){.name = name};
            fields[at].value.len = lua_rawlen(L, ANCHOR);
        }
    }
    qsort(fields, at, sizeof *fields, compare_names);
    for (size_t i = 0; i < at; i++) {
        lua_rawgeti(L, ANCHOR, (lua_Integer)fields[i].value.len);
        fields[i].value.text = lua_tolstring(L, -1, &fields[i].value.len);
        lua_pop(L, 1);
    }
    *count = at;
    return fields;
}

/* Leaves one value on the stack. */
static const struct url_pair *collect_pairs(lua_State *L, const struct call *call, int index,
                                            const char *what, size_t *count)
{
    const struct http_field *fields = collect(L, call, index, what, MAX_PAIRS, count);
    struct url_pair *pairs = lua_newuserdatauv(L, (*count + 1) * sizeof *pairs, 0);
    for (size_t i = 0; i < *count; i++)
        pairs[i] = (struct url_pair){fields[i].name.text, fields[i].name.len, fields[i].value.text,
                                     fields[i].value.len};
    lua_remove(L, -2);
    return pairs;
}

static void check_buffer(lua_State *L, const struct call *call, const struct buf *buf, const char *what)
{
    struct err err;
    if (buf_status(buf, what, &err) != ERR_NONE)
        luaL_error(L, "%s: %s", call->function, err.message);
}

/* ---- options ---- */

static const struct option_spec call_options[] = {
    {"query", OPTION_TABLE, false, "name = value"},
    {"headers", OPTION_TABLE, false, "name = value"},
    {"json", OPTION_ANY, false, NULL},
    {"form", OPTION_TABLE, false, "name = value"},
    {"body", OPTION_TEXT, false, "use json or form to send a table"},
    {"timeout", OPTION_NUMBER, false, "seconds"},
    {"connectTimeout", OPTION_NUMBER, false, "seconds"},
    {"maxBody", OPTION_ANY, false, NULL},
    {"redirects", OPTION_ANY, false, NULL},
    {"auth", OPTION_TABLE, false, "{ user = , password = } or { bearer = }"},
    {"pacer", OPTION_ANY, false, NULL},
    {NULL, 0, false, NULL},
};

/* The same, and what request{…} takes besides. */
static const struct option_spec request_options[] = {
    {"method", OPTION_STRING, false, "such as \"GET\""},
    {"url", OPTION_STRING, true, "the address to send the request to"},
    {"query", OPTION_TABLE, false, "name = value"},
    {"headers", OPTION_TABLE, false, "name = value"},
    {"json", OPTION_ANY, false, NULL},
    {"form", OPTION_TABLE, false, "name = value"},
    {"body", OPTION_TEXT, false, "use json or form to send a table"},
    {"timeout", OPTION_NUMBER, false, "seconds"},
    {"connectTimeout", OPTION_NUMBER, false, "seconds"},
    {"maxBody", OPTION_ANY, false, NULL},
    {"redirects", OPTION_ANY, false, NULL},
    {"auth", OPTION_TABLE, false, "{ user = , password = } or { bearer = }"},
    {"pacer", OPTION_ANY, false, NULL},
    {NULL, 0, false, NULL},
};

static const struct option_spec auth_options[] = {
    {"user", OPTION_TEXT, false, NULL},
    {"password", OPTION_TEXT, false, NULL},
    {"bearer", OPTION_STRING, false, "the token"},
    {NULL, 0, false, NULL},
};

/* Pushes the option; false (and nothing pushed) when it is absent. */
static bool push_option(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    if (lua_rawget(L, OPTIONS) != LUA_TNIL)
        return true;
    lua_pop(L, 1);
    return false;
}

static uint64_t read_timeout(lua_State *L, const struct call *call, const char *name, uint64_t absent)
{
    if (!push_option(L, name))
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
    if (!push_option(L, "maxBody"))
        return;
    uint64_t bytes = 0;
    int integral = 0;
    if (lua_type(L, -1) == LUA_TSTRING) {
        struct err err;
        size_t len = 0;
        const char *text = lua_tolstring(L, -1, &len);
        if (text_parse_size(text, len, &bytes, &err) != ERR_NONE)
            luaL_error(L, "%s: option \"maxBody\": %s", call->function, err.message);
    } else {
        lua_Integer given = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &integral) : 0;
        if (!integral || given < 0)
            luaL_error(
                L,
                "%s: option \"maxBody\" must be a whole number of bytes or a text such as \"64MiB\", got %s",
                call->function, integral ? "a negative number" : luaL_typename(L, -1));
        bytes = (uint64_t)given;
    }
    if (bytes > HTTP_MAX_BODY_LIMIT)
        luaL_error(L, "%s: option \"maxBody\" is greater than 4 GiB", call->function);
    call->request.max_body = (size_t)bytes;
    lua_pop(L, 1);
}

static void read_redirects(lua_State *L, struct call *call)
{
    if (!push_option(L, "redirects"))
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
    if (!push_option(L, "auth"))
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
    lua_pop(L, 1);
}

/* Returns the Content-Type that the body brings, or NULL. */
static const char *read_body(lua_State *L, struct call *call)
{
    static const char *const bodies[] = {"json", "form", "body"};
    const char *given = NULL;
    for (size_t i = 0; i < 3; i++) {
        if (!push_option(L, bodies[i]))
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
    push_option(L, given);
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

/* The header fields go into the anchor table, so that they live as long as the request. */
static void read_headers(lua_State *L, struct call *call, const char *content_type)
{
    size_t count = 0;
    const struct http_field *given = NULL;
    if (push_option(L, "headers")) {
        given = collect(L, call, -1, "headers", HTTP_HEADERS_MAX_COUNT, &count);
        lua_remove(L, -2);
    } else {
        lua_pushnil(L);
    }
    struct http_field *fields = lua_newuserdatauv(L, (count + 1) * sizeof *fields, 0);
    if (count > 0)
        memcpy(fields, given, count * sizeof *fields);
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
    if (push_option(L, "query")) {
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
    lua_pushlstring(L, method, len);
    lua_replace(L, METHOD);
    call->request.method.text = lua_tolstring(L, METHOD, &call->request.method.len);
}

/* ---- results ---- */

/* Pushes the URL without credentials, query and fragment, for messages. */
static void push_shown_url(lua_State *L, const char *url, size_t len)
{
    size_t end = 0;
    while (end < len && url[end] != '?' && url[end] != '#')
        end++;
    const char *authority = memmem(url, end, "://", 3);
    size_t begin = authority != NULL ? (size_t)(authority - url) + 3 : 0;
    size_t slash = begin;
    size_t host = begin;
    for (; slash < end && url[slash] != '/'; slash++)
        if (url[slash] == '@')
            host = slash + 1;
    lua_pushlstring(L, url, begin);
    lua_pushlstring(L, url + host, end - host);
    lua_concat(L, 2);
}

static void push_headers(lua_State *L, const struct http_headers *headers)
{
    lua_createtable(L, 0, headers->count < 100 ? (int)headers->count : 100);
    for (size_t i = 0; i < headers->count; i++) {
        const struct http_header *header = &headers->items[i];
        bool cookie = strcmp(header->name, "set-cookie") == 0;
        if (lua_getfield(L, -1, header->name) != LUA_TNIL) {
            lua_pop(L, 1);
            continue; /* the first of its name has taken it in */
        }
        lua_pop(L, 1);
        if (cookie) {
            lua_newtable(L); /* their values may hold commas, so they are a list */
            for (size_t j = i, n = 1; j < headers->count; j++) {
                if (strcmp(headers->items[j].name, header->name) != 0)
                    continue;
                lua_pushlstring(L, headers->items[j].value, headers->items[j].value_len);
                lua_rawseti(L, -2, (lua_Integer)n++);
            }
        } else {
            luaL_Buffer joined;
            luaL_buffinit(L, &joined);
            for (size_t j = i; j < headers->count; j++) {
                if (strcmp(headers->items[j].name, header->name) != 0)
                    continue;
                luaL_addstring(&joined, j > i ? ", " : "");
                luaL_addlstring(&joined, headers->items[j].value, headers->items[j].value_len);
            }
            luaL_pushresult(&joined);
        }
        lua_setfield(L, -2, header->name);
    }
    luaL_setmetatable(L, HEADERS);
}

static int headers_index(lua_State *L)
{
    size_t len = 0;
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    const char *name = lua_tolstring(L, 2, &len);
    luaL_Buffer lower;
    char *at = luaL_buffinitsize(L, &lower, len);
    for (size_t i = 0; i < len; i++)
        at[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
    luaL_pushresultsize(&lower, len);
    lua_rawget(L, 1);
    return 1;
}

static void push_response(lua_State *L, struct call *call)
{
    const struct http_response *response = call->response;
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, response->status);
    lua_setfield(L, -2, "status");
    lua_pushboolean(L, response->status >= 200 && response->status <= 299);
    lua_setfield(L, -2, "ok");
    lua_pushstring(L, response->url);
    lua_setfield(L, -2, "url");
    lua_pushvalue(L, METHOD);
    lua_setfield(L, -2, "method");
    push_headers(L, &response->headers);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, response->body, response->body_len);
    lua_setfield(L, -2, "body");
    luaL_setmetatable(L, RESPONSE);
    http_response_free(call->response);
    call->response = NULL;
}

static bool is_redirect(const struct http_response *response)
{
    int status = response->status;
    return (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) &&
           http_headers_find(&response->headers, "location", 0) != NULL;
}

static int call_over(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    struct call *call = lua_touserdata(L, CALL_BOX);
    if (call->response == NULL)
        return script_raise(L, "HttpError", http_error_code(call->error), "%s: %s", call->function,
                            call->message);
    if (call->refuse_redirect && is_redirect(call->response)) {
        push_shown_url(L, call->response->url, strlen(call->response->url));
        return script_raise(L, "HttpError", "redirect",
                            "%s: %s answers with a redirect (%d), which redirects = \"error\" "
                            "refuses",
                            call->function, lua_tostring(L, -1), call->response->status);
    }
    push_response(L, call);
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

static void cancel_call(void *op)
{
    struct call *call = op;
    http_cancel(call->handle);
    call->handle = NULL;
}

static void call_done(void *ctx, struct http_response *response, const struct http_failure *failure)
{
    struct call *call = ctx;
    call->handle = NULL;
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
    struct http_client *client = call->host->http != NULL
                                     ? call->host->http(call->host->ctx, &err)
                                     : (err_set(&err, ERR_DENIED, "requests cannot be sent from here"), NULL);
    if (client == NULL ||
        http_client_send(client, &call->request, call_done, call, &call->handle, &err) != ERR_NONE)
        return luaL_error(L, "%s: %s", call->function, err.message);
    buf_free(&call->body);
    buf_free(&call->url);
    if (call->host->http_sent != NULL)
        call->host->http_sent(call->host->ctx);
    task_wait_set(call->task, cancel_call, call);
    return task_wait(L, 0, call_over);
}

/* stack: method, url, options or nil. specs is NULL when the options have been checked. */
static int begin_call(lua_State *L, const char *function, const struct option_spec *specs)
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
    lua_newtable(L); /* the anchor */
    read_method(L, call);
    read_url(L, call);
    read_headers(L, call, read_body(L, call));
    read_auth(L, call);
    call->request.timeout_ms = read_timeout(L, call, "timeout", HTTP_TIMEOUT_MS);
    call->request.connect_timeout_ms = read_timeout(L, call, "connectTimeout", HTTP_CONNECT_TIMEOUT_MS);
    read_max_body(L, call);
    read_redirects(L, call);
    call->request.allow_url = allow_url;
    call->request.allow_ctx = call;
    if (!push_option(L, "pacer"))
        return send_call(L, LUA_OK, 0);
    const char *key = modules_pacer_key(L, -1);
    if (key == NULL)
        return luaL_error(L, "%s: option \"pacer\" must be what worker:pacer(…) returned, got %s", function,
                          luaL_typename(L, -1));
    lua_getfield(L, -1, "key");
    anchor(L);
    lua_settop(L, SENDING_TOP);
    return modules_pacer_wait(L, key, 0, send_call);
}

static const struct {
    const char *name; /* the function's in the module */
    const char *shown;
    const char *method;
} methods[] = {
    {"get", "http.get", "GET"},       {"post", "http.post", "POST"},       {"put", "http.put", "PUT"},
    {"patch", "http.patch", "PATCH"}, {"delete", "http.delete", "DELETE"}, {"head", "http.head", "HEAD"},
};
#define METHOD_COUNT (sizeof methods / sizeof methods[0])

/* get(url, options?) and its like; upvalue 1 is the index into methods. */
static int http_method(lua_State *L)
{
    size_t method = (size_t)lua_tointeger(L, lua_upvalueindex(1));
    const char *function = methods[method].shown;
    if (lua_type(L, 1) != LUA_TSTRING)
        return luaL_error(L, "%s: the first argument must be the URL, got %s", function,
                          lua_isnoneornil(L, 1) ? "nothing" : luaL_typename(L, 1));
    lua_settop(L, 2);
    lua_pushstring(L, methods[method].method);
    lua_insert(L, METHOD);
    return begin_call(L, function, call_options);
}

static int http_request(lua_State *L)
{
    options_check(L, 1, request_options, "http.request");
    lua_settop(L, 1);
    lua_pushstring(L, options_string(L, 1, "method", "GET"));
    lua_insert(L, METHOD);
    lua_pushstring(L, options_string(L, 2, "url", ""));
    lua_insert(L, URL);
    return begin_call(L, "http.request", NULL);
}

/* ---- methods of responses ---- */

static void check_response(lua_State *L, const char *method)
{
    bool good = lua_istable(L, 1) && lua_getmetatable(L, 1);
    if (good) {
        luaL_getmetatable(L, RESPONSE);
        good = lua_rawequal(L, -1, -2);
    }
    if (!good)
        luaL_error(L, "call it with a colon: response:%s()", method);
    lua_settop(L, 1);
}

/* Pushes the raw field of the response when it is a string, else absent. */
static const char *push_text(lua_State *L, const char *field, const char *absent, size_t *len)
{
    lua_pushstring(L, field);
    if (lua_rawget(L, 1) != LUA_TSTRING) {
        lua_pop(L, 1);
        lua_pushstring(L, absent);
    }
    return lua_tolstring(L, -1, len);
}

static void push_response_url(lua_State *L)
{
    size_t len = 0;
    const char *url = push_text(L, "url", "the server", &len);
    push_shown_url(L, url, len);
    lua_remove(L, -2);
}

static int response_json(lua_State *L)
{
    check_response(L, "json");
    struct err err;
    size_t len = 0;
    const char *body = push_text(L, "body", "", &len); /* stack: response, body */
    if (len == 0)
        err_set(&err, ERR_INVALID, "it is empty");
    else if (json_decode(L, body, len, &err) == ERR_NONE)
        return 1;
    push_response_url(L);
    return script_raise(L, "HttpError", "json", "the body from %s is not JSON: %s", lua_tostring(L, -1),
                        err.message);
}

/* Reads digits; false unless there are 1 to most of them. */
static bool read_digits(const char **at, const char *end, int most, int *out)
{
    int count = 0;
    for (*out = 0; *at < end && **at >= '0' && **at <= '9' && count <= most; (*at)++, count++)
        *out = *out * 10 + (**at - '0');
    return count > 0 && count <= most;
}

/* An HTTP-date in any of its three forms (RFC 9110, section 5.6.7), as Unix milliseconds. */
static bool parse_http_date(const char *at, size_t len, int64_t *ms)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const char *end = at + len;
    struct iso_time time = {.has_time = true, .year = -1};
    while (at < end) {
        int number = 0;
        if (*at >= '0' && *at <= '9') {
            const char *begin = at;
            if (!read_digits(&at, end, 4, &number))
                return false;
            if (at < end && *at == ':') {
                time.hour = number;
                at++;
                if (!read_digits(&at, end, 2, &time.minute) || at >= end || *at++ != ':' ||
                    !read_digits(&at, end, 2, &time.second))
                    return false;
            } else if (time.day == 0) {
                time.day = number;
            } else {
                time.year = at - begin == 4 ? number : number < 70 ? 2000 + number : 1900 + number;
            }
        } else if ((*at | 0x20) >= 'a' && (*at | 0x20) <= 'z') {
            const char *begin = at;
            while (at < end && (*at | 0x20) >= 'a' && (*at | 0x20) <= 'z')
                at++;
            for (int month = 0; month < 12 && at - begin == 3; month++)
                if (memcmp(begin, months + (ptrdiff_t)3 * month, 3) == 0)
                    time.month = month + 1;
        } else {
            at++;
        }
    }
    if (time.month == 0 || time.year < 0 || time.day < 1 ||
        time.day > iso_days_in_month(time.year, time.month) || time.hour > 23 || time.minute > 59 ||
        time.second > 60)
        return false;
    if (time.second == 60)
        time.second = 59;
    *ms = iso_unix_ms(&time);
    return true;
}

/* Seconds to wait by the response's Retry-After; negative when it has none that can be read. */
static double retry_after(lua_State *L)
{
    double seconds = -1;
    lua_pushliteral(L, "headers");
    if (lua_rawget(L, 1) == LUA_TTABLE) {
        lua_pushliteral(L, "retry-after");
        lua_rawget(L, -2);
        if (lua_type(L, -1) == LUA_TSTRING) {
            size_t len = 0;
            const char *text = lua_tolstring(L, -1, &len);
            struct number number;
            int64_t ms = 0;
            if (number_parse(text, len, &number) == NUMBER_OK)
                seconds = number.is_integer ? (double)number.integer : number.real;
            else if (parse_http_date(text, len, &ms))
                seconds = fmax(0, (double)(ms - clock_now_ms()) / 1000.0);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return fmin(seconds, MAX_RETRY_AFTER);
}

static const char *reason_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {300, "Multiple Choices"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {418, "I'm a teapot"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {423, "Locked"},
        {425, "Too Early"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {451, "Unavailable For Legal Reasons"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return NULL;
}

/* Adds the beginning of the body when it is text, blanks and line ends as single spaces. */
static void add_body_text(struct buf *out, const char *body, size_t len)
{
    size_t at = 0;
    bool space = false;
    for (int shown = 0; at < len; shown++) {
        uint32_t c = 0;
        size_t size = text_next_char(body + at, len - at, &c);
        if (size == 0 || (c < ' ' && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) {
            out->len = 0; /* not text: say nothing of it */
            return;
        }
        if (shown >= MAX_SHOWN_BODY) {
            buf_adds(out, "…");
            return;
        }
        at += size;
        if (c <= ' ') {
            space = out->len > 0;
            continue;
        }
        if (space)
            buf_addc(out, ' ');
        space = false;
        buf_add(out, body + at - size, size);
    }
}

/* Pushes "GET https://host/path: 404 Not Found: <body>". */
static void push_status_message(lua_State *L, int status)
{
    char text[MAX_SHOWN_BODY * 4 + 16];
    size_t len = 0;
    const char *phrase = reason_phrase(status);
    push_text(L, "method", "GET", &len);
    push_response_url(L);
    const char *body = push_text(L, "body", "", &len);
    struct buf shown;
    buf_init(&shown, sizeof text - 1);
    add_body_text(&shown, body, len);
    size_t shown_len = shown.len;
    memcpy(text, buf_text(&shown), shown_len);
    text[shown_len] = '\0';
    buf_free(&shown);
    lua_pushfstring(L, "%s %s: %d%s%s%s%s", lua_tostring(L, -3), lua_tostring(L, -2), status,
                    phrase != NULL ? " " : "", phrase != NULL ? phrase : "", shown_len > 0 ? ": " : "", text);
}

static int response_raise(lua_State *L)
{
    check_response(L, "raise");
    lua_pushliteral(L, "status");
    lua_rawget(L, 1);
    int integral = 0;
    lua_Integer given = lua_tointegerx(L, -1, &integral);
    int status = integral && given >= 100 && given <= 999 ? (int)given : 0;
    lua_settop(L, 1);
    if (status >= 200 && status <= 299)
        return 1;
    double seconds = retry_after(L);
    bool limited = status == 429 || (status == 503 && seconds >= 0);
    push_status_message(L, status);
    size_t len = 0;
    const char *message = lua_tolstring(L, -1, &len);
    char code[16];
    snprintf(code, sizeof code, "%d", status);
    script_push_error(L, limited ? "RateLimitError" : "HttpError", limited ? code : "http_status", message,
                      len);
    lua_pushinteger(L, status);
    lua_setfield(L, -2, "status");
    if (limited && seconds >= 0) {
        lua_pushnumber(L, seconds);
        lua_setfield(L, -2, "retryAfter");
    }
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "response");
    return lua_error(L);
}

static int response_tostring(lua_State *L)
{
    check_response(L, "json");
    size_t len = 0;
    const char *method = push_text(L, "method", "GET", &len);
    push_response_url(L);
    const char *url = lua_tostring(L, -1);
    lua_pushliteral(L, "status");
    lua_rawget(L, 1);
    lua_pushfstring(L, "%s %s: %d", method, url, (int)lua_tointeger(L, -1));
    return 1;
}

/* ---- the module ---- */

static void make_metatables(lua_State *L)
{
    static const luaL_Reg closers[] = {{"__gc", call_release}, {"__close", call_release}, {NULL, NULL}};
    static const luaL_Reg response_methods[] = {
        {"json", response_json}, {"raise", response_raise}, {NULL, NULL}};
    luaL_newmetatable(L, CALL);
    luaL_setfuncs(L, closers, 0);
    luaL_newmetatable(L, RESPONSE);
    luaL_newlib(L, response_methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, response_tostring);
    lua_setfield(L, -2, "__tostring");
    luaL_newmetatable(L, HEADERS);
    lua_pushcfunction(L, headers_index);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 3);
}

int luaopen_workers_http(lua_State *L)
{
    make_metatables(L);
    lua_createtable(L, 0, (int)METHOD_COUNT + 1);
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        lua_pushinteger(L, (lua_Integer)i);
        lua_pushcclosure(L, http_method, 1);
        lua_setfield(L, -2, methods[i].name);
    }
    lua_pushcfunction(L, http_request);
    lua_setfield(L, -2, "request");
    return 1;
}
