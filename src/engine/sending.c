/* Making the headers in an isolate of the webhook's, then the request. Must not know how anything is signed.
 */
#include "engine/sending.h"

#include "base/mem.h"
#include "engine/warm.h"

#include <string.h>

#define FIELDS_MAX 256

struct sending {
    struct runtime *runtime;
    const struct sending_request *request;
    sending_done_fn done;
    void *done_ctx;
    struct warm *warm; /* NULL before it has begun */
    struct task *task;
    struct http_field *fields; /* their texts belong to Lua, until the task has ended */
    struct http_response *response;
    char *message;
    struct sending_end end;
    struct deferred deferred;
};

static void finish(void *ctx)
{
    struct sending *sending = ctx;
    if (sending->warm != NULL)
        warm_give(sending->warm, sending->message == NULL);
    sending->warm = NULL;
    sending->end.response = sending->response;
    sending->end.message = sending->message;
    sending->done(sending->done_ctx, sending, &sending->end);
}

/* The isolate may be in use below us: it is given back from the loop. */
static void finish_later(struct sending *sending)
{
    scheduler_defer(sending->runtime->scheduler, &sending->deferred, finish, sending);
}

static void fail(struct sending *sending, const char *message)
{
    mem_free(sending->message);
    sending->message = runtime_redacted(sending->runtime, message != NULL ? message : "unknown error");
}

static void answered(void *ctx, struct http_response *response, const struct http_failure *failure)
{
    struct sending *sending = ctx;
    sending->response = response;
    if (failure != NULL)
        fail(sending, failure->message);
    finish_later(sending);
}

/* ---- the headers, and sending ---- */

/* The element of the pair on top of the stack; what Lua holds stays there as long as its table. */
static struct http_slice element(lua_State *L, lua_Integer index)
{
    struct http_slice slice = {0};
    if (lua_rawgeti(L, -1, index) == LUA_TSTRING)
        slice.text = lua_tolstring(L, -1, &slice.len);
    lua_pop(L, 1);
    return slice;
}

/* The list of pairs at index 1 becomes fields. */
static enum err_code read_fields(struct sending *sending, lua_State *L, size_t *count, struct err *err)
{
    *count = lua_istable(L, 1) ? lua_rawlen(L, 1) : 0;
    if (!lua_checkstack(L, 8))
        return err_nomem(err);
    if (*count == 0 || *count > FIELDS_MAX)
        return err_set(err, ERR_LIMIT, "a delivery has at most %d headers", FIELDS_MAX);
    sending->fields = mem_zalloc(*count * sizeof *sending->fields);
    if (sending->fields == NULL)
        return err_nomem(err);
    for (size_t i = 0; i < *count; i++) {
        if (lua_rawgeti(L, 1, (lua_Integer)i + 1) == LUA_TTABLE) {
            sending->fields[i].name = element(L, 1);
            sending->fields[i].value = element(L, 2);
        }
        lua_pop(L, 1);
    }
    return ERR_NONE;
}

static enum err_code send_it(struct sending *sending, lua_State *L, struct err *err)
{
    struct http_request request;
    size_t count = 0;
    struct http_client *client = runtime_http(sending->runtime, err);
    enum err_code code = client != NULL ? read_fields(sending, L, &count, err) : err->code;
    if (code != ERR_NONE)
        return code;
    http_request_init(&request);
    request.method = http_slice("POST");
    request.url = http_slice(sending->request->url);
    request.headers = sending->fields;
    request.header_count = count;
    request.body = sending->request->body;
    request.has_body = true;
    request.max_redirects = 0; /* providers do not follow them */
    request.environment_proxy = true;
    return http_client_send(client, &request, answered, sending, NULL, err);
}

static void signed_or_not(struct task *task, void *ctx, lua_State *co, const struct script_error *error)
{
    struct sending *sending = ctx;
    struct err err;
    (void)task;
    sending->task = NULL;
    if (error != NULL) {
        fail(sending, error->message);
        finish_later(sending);
        return;
    }
    lua_settop(co, 2);
    sending->end.is_signed = lua_toboolean(co, 2);
    if (send_it(sending, co, &err) != ERR_NONE) {
        fail(sending, err.message);
        finish_later(sending);
    }
}

/* ---- beginning ---- */

static void set_text(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text); /* nil for NULL */
    lua_setfield(L, -2, name);
}

/* Pushes headers of workers.webhooks.send, the body and the options. */
static int push_call(lua_State *L)
{
    const struct sending *sending = lua_touserdata(L, 1);
    const struct sending_request *request = sending->request;
    lua_getglobal(L, "require");
    lua_pushliteral(L, "workers.webhooks.send");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "headers");
    lua_remove(L, -2);
    lua_pushlstring(L, request->body.len > 0 ? request->body.text : "", request->body.len);
    lua_createtable(L, 0, 3);
    set_text(L, "event", request->event);
    set_text(L, "id", request->id);
    lua_createtable(L, (int)request->header_count, 0);
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_field *field = &request->headers[i];
        lua_createtable(L, 2, 0);
        lua_pushlstring(L, field->name.text, field->name.len);
        lua_rawseti(L, -2, 1);
        lua_pushlstring(L, field->value.text, field->value.len);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "given");
    return 3;
}

static enum err_code start_task(struct sending *sending, struct script_error *error)
{
    const char *key = sending->request->webhook->key;
    struct err err;
    enum err_code code = warm_take(sending->runtime, key, &sending->warm, error);
    if (code != ERR_NONE)
        return code;
    struct isolate *isolate = sending->warm->isolate;
    lua_State *L = isolate_state(isolate);
    lua_pushcfunction(L, push_call);
    lua_pushlightuserdata(L, sending);
    code = isolate_call(isolate, 1, 3, error);
    if (code != ERR_NONE)
        return code;
    if (!modules_push_function(isolate, key, "verify"))
        lua_pushnil(L);
    lua_insert(L, -3); /* function, verify, body, options */
    code = task_start(isolate, L, 3, NULL, signed_or_not, sending, &sending->task, &err);
    return code == ERR_NONE ? ERR_NONE : script_error_set(error, code, "%s", err.message);
}

static void begin(void *ctx)
{
    struct sending *sending = ctx;
    struct script_error error;
    script_error_init(&error);
    if (start_task(sending, &error) != ERR_NONE) {
        fail(sending, error.message);
        finish(sending);
    }
    script_error_free(&error);
}

enum err_code sending_start(struct runtime *runtime, const struct sending_request *request,
                            sending_done_fn done, void *ctx, struct sending **out, struct err *err)
{
    struct sending *sending = mem_zalloc(sizeof *sending);
    if (sending == NULL)
        return err_nomem(err);
    sending->runtime = runtime;
    sending->request = request;
    sending->done = done;
    sending->done_ctx = ctx;
    scheduler_defer(runtime->scheduler, &sending->deferred, begin, sending);
    *out = sending;
    return ERR_NONE;
}

void sending_free(struct sending *sending)
{
    if (sending == NULL)
        return;
    http_response_free(sending->response);
    mem_free(sending->fields);
    mem_free(sending->message);
    mem_free(sending);
}
