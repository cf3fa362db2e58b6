/* workers.http: bodies that are read piece by piece. Must not keep more of a body than a few pieces.
 *
 * The transfer rests while the script does something else; what has arrived waits in the call's buffer. */
#include "modules/http_priv.h"

#include "script/script_error.h"
#include "script/task.h"

#include <stdio.h>
#include <string.h>

#define ENOUGH ((size_t)256 * 1024) /* bytes that wait: more is not taken until they are read */

static const char call_key; /* its address is the key under which a response holds its call */

/* ---- from the loop ---- */

static void wake_reader(struct call *call)
{
    if (!call->reading)
        return;
    call->reading = false;
    task_wake(call->task);
}

static void on_head(void *ctx, struct http_response *head)
{
    struct call *call = ctx;
    call->response = head;
    call->head_given = true;
    wake_reader(call); /* who waits for the answer */
}

static bool on_data(void *ctx, const char *data, size_t len)
{
    struct call *call = ctx;
    if (call->data.len >= ENOUGH)
        return false;
    buf_add(&call->data, data, len);
    wake_reader(call);
    return true;
}

void http_stream_begin(struct call *call)
{
    buf_clear(&call->data);
    call->head_given = call->ended = false;
    call->request.on_head = on_head;
    call->request.on_data = on_data;
    call->request.stream_ctx = call;
    call->reading = true;
}

void http_stream_ended(struct call *call, struct http_response *response, const struct http_failure *failure)
{
    call->ended = true;
    if (response != NULL && call->head_given) {
        http_response_free(response); /* on_head has had all that is in it */
    } else if (response != NULL) {
        call->response = response;
    } else {
        call->error = failure->error;
        snprintf(call->message, sizeof call->message, "%s", failure->message);
    }
    wake_reader(call);
}

/* ---- from the script ---- */

void http_stream_keep(lua_State *L, int response, int box)
{
    response = lua_absindex(L, response);
    lua_pushvalue(L, box);
    lua_rawsetp(L, response, &call_key);
}

static struct call *check_stream(lua_State *L, const char *method)
{
    struct call *call = NULL;
    if (lua_istable(L, 1)) {
        lua_rawgetp(L, 1, &call_key);
        call = lua_touserdata(L, -1);
        lua_pop(L, 1);
    }
    if (call == NULL)
        luaL_error(L, "call it with a colon, on what http.stream returned: response:%s()", method);
    return call;
}

/* How many of the bytes that wait can be given: of a credential that has begun to arrive, the rest is
 * awaited. */
static size_t readable(const struct call *call)
{
    if (call->ended || call->host->http_scrub_safe == NULL)
        return call->data.len;
    return call->host->http_scrub_safe(call->host->ctx, buf_text(&call->data), call->data.len);
}

/* Pushes the first bytes that wait, and takes them out. */
static void push_piece(lua_State *L, struct call *call, size_t len)
{
    struct buf *clean = &call->clean;
    buf_clear(clean);
    if (call->host->http_scrub != NULL &&
        call->host->http_scrub(call->host->ctx, buf_text(&call->data), len, clean)) {
        if (clean->failed)
            luaL_error(L, "response:read: out of memory");
        lua_pushlstring(L, buf_text(clean), clean->len);
    } else {
        lua_pushlstring(L, buf_text(&call->data), len);
    }
    size_t rest = call->data.len - len;
    memmove(call->data.data, call->data.data + len, rest);
    call->data.len = rest;
}

static void cancel_read(void *op)
{
    struct call *call = op;
    call->reading = false;
}

static int read_more(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    struct call *call = check_stream(L, "read");
    if (call->data.failed)
        return luaL_error(L, "response:read: out of memory");
    size_t len = readable(call);
    if (len > 0) {
        push_piece(L, call, len);
        if (call->handle != NULL)
            http_resume(call->handle);
        return 1;
    }
    if (call->closed)
        return luaL_error(L, "response:read: the response is closed");
    if (call->ended && call->error != HTTP_OK)
        return script_raise(L, "HttpError", http_error_code(call->error), "response:read: %s", call->message);
    if (call->ended) {
        lua_pushnil(L);
        return 1;
    }
    call->task = task_current(L);
    call->reading = true;
    task_wait_set(call->task, cancel_read, call);
    return task_wait(L, 0, read_more);
}

int http_stream_read(lua_State *L)
{
    struct call *call = check_stream(L, "read");
    lua_settop(L, 1);
    if (call->reading)
        return luaL_error(L, "response:read: another function is reading this response");
    task_wait_begin(L, "response:read");
    return read_more(L, LUA_OK, 0);
}

/* The iterator of a loop: called with the response. */
int http_stream_chunks(lua_State *L)
{
    check_stream(L, "chunks");
    lua_settop(L, 1);
    lua_pushcfunction(L, http_stream_read);
    lua_insert(L, 1);
    return 2;
}

int http_stream_close(lua_State *L)
{
    struct call *call = check_stream(L, "close");
    http_cancel(call->handle);
    call->handle = NULL;
    call->closed = true;
    buf_free(&call->data);
    buf_free(&call->clean);
    return 0;
}
