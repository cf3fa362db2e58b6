/* workers.http: responses as scripts see them. Must not send anything. */
#include "modules/http_priv.h"

#include "base/clock.h"
#include "base/http_date.h"
#include "base/number.h"
#include "base/text.h"
#include "modules/json.h"
#include "script/script_error.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define RESPONSE "workers.http.response"
#define STREAM "workers.http.stream"
#define HEADERS "workers.http.headers"

#define MAX_SHOWN_BODY 300 /* characters of a body in an error message */
#define MAX_RETRY_AFTER 1e9

/* ---- results ---- */

void http_push_shown_url(lua_State *L, const char *url, size_t len)
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

void http_push_response(lua_State *L, struct call *call)
{
    const struct http_response *response = call->response;
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, response->status);
    lua_setfield(L, -2, "status");
    lua_pushboolean(L, response->status >= 200 && response->status <= 299);
    lua_setfield(L, -2, "ok");
    if (call->conditional) {
        lua_pushboolean(L, response->status == 304);
        lua_setfield(L, -2, "unchanged");
    }
    lua_pushstring(L, response->url);
    lua_setfield(L, -2, "url");
    lua_pushvalue(L, METHOD);
    lua_setfield(L, -2, "method");
    push_headers(L, &response->headers);
    lua_setfield(L, -2, "headers");
    if (call->stream) {
        http_stream_keep(L, -1, CALL_BOX);
    } else {
        lua_pushlstring(L, response->body, response->body_len);
        lua_setfield(L, -2, "body");
    }
    luaL_setmetatable(L, call->stream ? STREAM : RESPONSE);
    http_response_free(call->response);
    call->response = NULL;
}

/* ---- methods of responses ---- */

static void check_response(lua_State *L, const char *method)
{
    bool good = lua_istable(L, 1) && lua_getmetatable(L, 1);
    if (good) {
        luaL_getmetatable(L, RESPONSE);
        luaL_getmetatable(L, STREAM);
        good = lua_rawequal(L, -1, -3) || lua_rawequal(L, -2, -3);
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
    http_push_shown_url(L, url, len);
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

/* Some services give the moment, in seconds or milliseconds since 1970, others the seconds to wait. */
static double reset_seconds(double reset)
{
    if (reset > 1e12)
        reset /= 1000;
    return reset > 1e9 ? reset - (double)clock_now_ms() / 1000.0 : reset;
}

double http_wait_seconds(const char *retry_after, const char *remaining, const char *reset)
{
    struct number number;
    int64_t ms = 0;
    double seconds = -1;
    if (retry_after != NULL && number_parse(retry_after, strlen(retry_after), &number) == NUMBER_OK)
        seconds = number.is_integer ? (double)number.integer : number.real;
    else if (retry_after != NULL &&
             http_date_parse(retry_after, strlen(retry_after), clock_now_ms(), &ms, NULL) == ERR_NONE)
        seconds = fmax(0, (double)(ms - clock_now_ms()) / 1000.0);
    else if (remaining != NULL && strcmp(remaining, "0") == 0 && reset != NULL &&
             number_parse(reset, strlen(reset), &number) == NUMBER_OK)
        seconds = fmax(0, reset_seconds(number.is_integer ? (double)number.integer : number.real));
    return fmin(seconds, MAX_RETRY_AFTER);
}

/* Pushes the header of the response, a string or nil. */
static const char *push_header(lua_State *L, const char *name)
{
    lua_pushliteral(L, "headers");
    if (lua_rawget(L, 1) == LUA_TTABLE) {
        lua_pushstring(L, name);
        lua_rawget(L, -2);
        lua_remove(L, -2);
    }
    if (lua_type(L, -1) != LUA_TSTRING) {
        lua_pop(L, 1);
        lua_pushnil(L);
    }
    return lua_tostring(L, -1);
}

static double retry_after(lua_State *L)
{
    const char *after = push_header(L, "retry-after");
    const char *remaining = push_header(L, "x-ratelimit-remaining");
    const char *reset = push_header(L, "x-ratelimit-reset");
    double seconds = http_wait_seconds(after, remaining, reset);
    lua_pop(L, 3);
    return seconds;
}

/* What ifChanged takes, small enough for a sync's state; nil when the response names no version of itself. */
static int response_validators(lua_State *L)
{
    check_response(L, "validators");
    const char *etag = push_header(L, "etag");
    const char *modified = push_header(L, "last-modified");
    if (etag == NULL && modified == NULL)
        return 0;
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "etag");
    lua_pushvalue(L, 3);
    lua_setfield(L, -2, "lastModified");
    return 1;
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
    bool limited = status == 429 || ((status == 503 || status == 403) && seconds >= 0);
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

void http_make_response_metatables(lua_State *L)
{
    static const luaL_Reg response_methods[] = {{"json", response_json},
                                                {"raise", response_raise},
                                                {"validators", response_validators},
                                                {NULL, NULL}};
    luaL_newmetatable(L, RESPONSE);
    luaL_newlib(L, response_methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, response_tostring);
    lua_setfield(L, -2, "__tostring");
    static const luaL_Reg stream_methods[] = {
        {"read", http_stream_read}, {"chunks", http_stream_chunks},      {"close", http_stream_close},
        {"raise", response_raise},  {"validators", response_validators}, {NULL, NULL}};
    luaL_newmetatable(L, STREAM);
    luaL_newlib(L, stream_methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, response_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushcfunction(L, http_stream_close);
    lua_setfield(L, -2, "__close");
    luaL_newmetatable(L, HEADERS);
    lua_pushcfunction(L, headers_index);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 3);
}
