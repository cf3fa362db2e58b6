/* The stand-in for the network: asks the Lua half of the harness what answers a request, and gives the answer
 * when its time has come by the virtual clock. Must not know stubs or recordings: what matches what is
 * decided in lua/workers/test. */
#include "testing/harness_priv.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "net/http_headers.h"
#include "script/timer.h"

#include <math.h>
#include <string.h>

#define FIELDS_MAX 200
#define DELAY_MAX_MS 604800000.0 /* a week; a request's own timeout is shorter */

/* Results of the Lua function that answers, from index 1. */
enum { ANSWER_ERROR = 1, ANSWER_MESSAGE, ANSWER_STATUS, ANSWER_DELAY, ANSWER_BODY, ANSWER_FIELDS };

/* One request that is being answered. */
struct pending_answer {
    struct harness *harness;
    struct http_handle *handle; /* NULL: nobody awaits it any more */
    uint64_t timeout_ms;
    bool working; /* its Lua function runs */
    struct timer *timer;
    struct http_answer answer; /* points into text and fields */
    struct http_field fields[FIELDS_MAX];
    char *text;
    char message[HTTP_MESSAGE_MAX];
    struct deferred deferred;
    struct pending_answer *next;
};

static void release(struct pending_answer *pending)
{
    struct pending_answer **at = &pending->harness->answers;
    while (*at != pending)
        at = &(*at)->next;
    *at = pending->next;
    timer_close(&pending->timer);
    mem_free(pending->text);
    mem_free(pending);
}

/* Also when nobody awaits it: then it is only released. */
static void give(void *ctx)
{
    struct pending_answer *pending = ctx;
    struct http_handle *handle = pending->handle;
    pending->handle = NULL;
    if (handle != NULL)
        http_answer(handle, &pending->answer);
    release(pending);
}

static void set_error(struct pending_answer *pending, enum http_error error, const char *message)
{
    snprintf(pending->message, sizeof pending->message, "%s", message);
    pending->answer = (struct http_answer){.error = error, .message = pending->message};
}

/* ---- from what the Lua function returned ---- */

static enum http_error error_of(const char *code)
{
    for (int error = HTTP_ERROR_URL; error <= HTTP_ERROR_INTERNAL; error++)
        if (strcmp(http_error_code((enum http_error)error), code) == 0)
            return (enum http_error)error;
    return HTTP_ERROR_INTERNAL;
}

static struct http_slice slice_at(lua_State *co, int index)
{
    struct http_slice slice = {"", 0};
    if (lua_type(co, index) == LUA_TSTRING)
        slice.text = lua_tolstring(co, index, &slice.len);
    return slice;
}

static void copy_slice(struct http_slice *slice, char **end)
{
    memcpy(*end, slice->text, slice->len);
    slice->text = *end;
    *end += slice->len;
}

static enum err_code read_fields(struct pending_answer *pending, lua_State *co, size_t *bytes,
                                 struct err *err)
{
    struct http_answer *answer = &pending->answer;
    for (int i = ANSWER_FIELDS; i + 1 <= lua_gettop(co); i += 2) {
        struct http_field field = {slice_at(co, i), slice_at(co, i + 1)};
        enum err_code code =
            http_header_check(field.name.text, field.name.len, field.value.text, field.value.len, err);
        if (code == ERR_NONE && answer->field_count == FIELDS_MAX)
            code = err_set(err, ERR_LIMIT, "more than %d headers", FIELDS_MAX);
        if (code != ERR_NONE)
            return code;
        *bytes += field.name.len + field.value.len;
        pending->fields[answer->field_count++] = field;
    }
    return ERR_NONE;
}

/* Copies the answer out of Lua. */
static enum err_code read_answer(struct pending_answer *pending, lua_State *co, struct err *err)
{
    struct http_answer *answer = &pending->answer;
    *answer = (struct http_answer){.status = (int)lua_tointeger(co, ANSWER_STATUS),
                                   .fields = pending->fields,
                                   .body = slice_at(co, ANSWER_BODY)};
    size_t bytes = answer->body.len + 1;
    enum err_code code = read_fields(pending, co, &bytes, err);
    if (code != ERR_NONE)
        return code;
    pending->text = mem_alloc(bytes);
    if (pending->text == NULL)
        return err_nomem(err);
    char *end = pending->text;
    copy_slice(&answer->body, &end);
    for (size_t i = 0; i < answer->field_count; i++) {
        copy_slice(&pending->fields[i].name, &end);
        copy_slice(&pending->fields[i].value, &end);
    }
    return ERR_NONE;
}

static void answered(struct task *task, void *ctx, lua_State *co, const struct script_error *error)
{
    struct pending_answer *pending = ctx;
    struct err err;
    double delay = 0;
    (void)task;
    pending->working = false;
    if (error != NULL) {
        set_error(pending, HTTP_ERROR_INTERNAL, error->message);
    } else if (lua_type(co, ANSWER_ERROR) == LUA_TSTRING) {
        set_error(pending, error_of(lua_tostring(co, ANSWER_ERROR)), slice_at(co, ANSWER_MESSAGE).text);
        delay = pending->answer.error == HTTP_ERROR_TIMEOUT ? (double)pending->timeout_ms
                                                            : lua_tonumber(co, ANSWER_DELAY);
    } else if (read_answer(pending, co, &err) != ERR_NONE) {
        set_error(pending, HTTP_ERROR_INTERNAL, err.message);
    } else {
        delay = lua_tonumber(co, ANSWER_DELAY);
    }
    if (delay >= (double)pending->timeout_ms) {
        char message[HTTP_MESSAGE_MAX];
        snprintf(message, sizeof message, "the stub did not answer within %llu ms",
                 (unsigned long long)pending->timeout_ms);
        set_error(pending, HTTP_ERROR_TIMEOUT, message);
        delay = (double)pending->timeout_ms;
    }
    if (delay > 0 && delay <= DELAY_MAX_MS && pending->handle != NULL) {
        pending->timer = timer_new(pending->harness->runtime->loop, give, pending);
        timer_start(pending->timer, (uint64_t)ceil(delay), 0);
    } else {
        give(pending);
    }
}

/* ---- asking Lua ---- */

struct asking {
    struct harness *harness;
    const struct http_exchange *exchange;
    const char *hook;
    int status;
    const struct http_headers *headers;
    const char *body;
    size_t len;
};

static void set_text(lua_State *L, const char *name, const char *text, size_t len)
{
    lua_pushlstring(L, text, len);
    lua_setfield(L, -2, name);
}

/* Adds to the table on top: values of the same name are joined, as they mean the same (RFC 9110, 5.3). */
static void add_header(lua_State *L, const char *name, size_t name_len, const char *value, size_t len)
{
    luaL_Buffer lower;
    char *at = luaL_buffinitsize(L, &lower, name_len);
    for (size_t i = 0; i < name_len; i++)
        at[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
    luaL_pushresultsize(&lower, name_len); /* stack: headers, name */
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) == LUA_TSTRING) {
        lua_pushliteral(L, ", ");
        lua_pushlstring(L, value, len);
        lua_concat(L, 3);
    } else {
        lua_pop(L, 1);
        lua_pushlstring(L, value, len);
    }
    lua_rawset(L, -3);
}

static void add_authorization(lua_State *L, const struct http_exchange *exchange)
{
    if (exchange->bearer.text != NULL) {
        lua_pushfstring(L, "Bearer %s", exchange->bearer.text);
    } else if (exchange->user.text != NULL) {
        lua_pushfstring(L, "%s:%s", exchange->user.text,
                        exchange->password.text != NULL ? exchange->password.text : "");
        size_t len = 0;
        const char *plain = lua_tolstring(L, -1, &len);
        char *encoded = lua_newuserdatauv(L, crypto_encoded_len(CRYPTO_BASE64, len) + 1, 0);
        crypto_encode(CRYPTO_BASE64, plain, len, encoded);
        lua_pushliteral(L, "Basic ");
        lua_pushstring(L, encoded);
        lua_concat(L, 2);
    } else {
        return;
    }
    lua_setfield(L, -2, "authorization");
}

static void push_request(lua_State *L, const struct http_exchange *exchange)
{
    lua_createtable(L, 0, 8);
    set_text(L, "method", exchange->method, strlen(exchange->method));
    set_text(L, "url", exchange->url, strlen(exchange->url));
    set_text(L, "body", exchange->body.text != NULL ? exchange->body.text : "", exchange->body.len);
    lua_pushinteger(L, clock_now_ms());
    lua_setfield(L, -2, "time");
    lua_pushboolean(L, exchange->stream);
    lua_setfield(L, -2, "stream");
    lua_newtable(L);
    int top = lua_gettop(L);
    for (size_t i = 0; i < exchange->field_count; i++) {
        const struct http_field *field = &exchange->fields[i];
        add_header(L, field->name.text, field->name.len, field->value.text, field->value.len);
    }
    add_authorization(L, exchange);
    lua_settop(L, top);
    lua_setfield(L, -2, "headers");
}

/* Pushes hooks.answer and the request, or nothing when the request shall leave. */
static int ask(lua_State *L)
{
    struct asking *asking = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, asking->harness->hooks);
    lua_getfield(L, -1, "answer");
    push_request(L, asking->exchange);
    lua_getfield(L, -3, "leaves");
    lua_pushvalue(L, -2);
    lua_call(L, 1, 1);
    bool leaves = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (leaves)
        lua_pop(L, 2);
    lua_pushboolean(L, leaves);
    return leaves ? 1 : 3;
}

static int tell(lua_State *L)
{
    struct asking *asking = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, asking->harness->hooks);
    lua_getfield(L, -1, "received");
    push_request(L, asking->exchange);
    lua_pushinteger(L, asking->status);
    lua_newtable(L);
    for (size_t i = 0; i < asking->headers->count; i++) {
        const struct http_header *header = &asking->headers->items[i];
        add_header(L, header->name, header->name_len, header->value, header->value_len);
    }
    lua_pushlstring(L, asking->body, asking->len);
    lua_call(L, 4, 0);
    return 0;
}

/* ---- the stand-in ---- */

static bool stand_in_send(void *ctx, struct http_handle *handle, const struct http_exchange *exchange)
{
    struct harness *harness = ctx;
    struct asking asking = {.harness = harness, .exchange = exchange};
    lua_State *L = isolate_state(harness->isolate);
    int top = lua_gettop(L);
    struct script_error error;
    struct err err;
    struct pending_answer *pending = mem_need(sizeof *pending);
    *pending = (struct pending_answer){
        .harness = harness, .handle = handle, .timeout_ms = exchange->timeout_ms, .next = harness->answers};
    harness->answers = pending;
    script_error_init(&error);
    enum err_code code = ERR_NONE;
    if (harness->hooks == LUA_NOREF)
        code = script_error_set(&error, ERR_DENIED, "no request leaves while a file of tests is loaded");
    bool leaves = false;
    if (code == ERR_NONE && !lua_checkstack(L, 8))
        code = script_error_set(&error, ERR_NOMEM, "out of memory");
    if (code == ERR_NONE) {
        lua_pushcfunction(L, ask);
        lua_pushlightuserdata(L, &asking);
        code = isolate_call(harness->isolate, 1, LUA_MULTRET, &error); /* stack: [answer, request], leaves */
    }
    if (code == ERR_NONE) {
        leaves = lua_toboolean(L, -1);
        lua_pop(L, 1);
    }
    if (code == ERR_NONE && !leaves) {
        pending->working = true;
        code = task_start(harness->isolate, L, 1, NULL, answered, pending, NULL, &err);
        if (code != ERR_NONE)
            script_error_set(&error, code, "%s", err.message);
    }
    if (code != ERR_NONE) {
        pending->working = false;
        set_error(pending, HTTP_ERROR_INTERNAL, error.message);
        scheduler_defer(harness->runtime->scheduler, &pending->deferred, give, pending);
    }
    if (leaves)
        release(pending);
    lua_settop(L, top);
    script_error_free(&error);
    return !leaves;
}

static void stand_in_cancelled(void *ctx, struct http_handle *handle)
{
    struct harness *harness = ctx;
    for (struct pending_answer *pending = harness->answers; pending != NULL; pending = pending->next) {
        if (pending->handle != handle)
            continue;
        pending->handle = NULL;
        if (pending->timer != NULL)
            release(pending); /* else what makes the answer releases it */
        return;
    }
}

static void stand_in_received(void *ctx, const struct http_exchange *exchange, int status,
                              const struct http_headers *headers, const char *body, size_t len)
{
    struct harness *harness = ctx;
    struct asking asking = {.harness = harness,
                            .exchange = exchange,
                            .status = status,
                            .headers = headers,
                            .body = body,
                            .len = len};
    lua_State *L = isolate_state(harness->isolate);
    struct script_error error;
    script_error_init(&error);
    if (lua_checkstack(L, 4)) {
        lua_pushcfunction(L, tell);
        lua_pushlightuserdata(L, &asking);
        if (isolate_call(harness->isolate, 1, 0, &error) != ERR_NONE)
            execution_log(&harness->execution, "error", error.message, strlen(error.message));
    }
    script_error_free(&error);
}

void exchange_init(struct harness *harness)
{
    harness->stand_in = (struct http_stand_in){.send = stand_in_send,
                                               .cancelled = stand_in_cancelled,
                                               .received = stand_in_received,
                                               .ctx = harness};
}

void exchange_free(struct harness *harness)
{
    while (harness->answers != NULL)
        release(harness->answers);
}
