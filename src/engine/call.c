/* Calling one capability. Must not write rows or state. */
#include "engine/call.h"

#include "base/json.h"
#include "base/iso8601.h"
#include "base/mem.h"
#include "engine/event.h"
#include "engine/warm.h"
#include "modules/json.h"
#include "modules/modules.h"
#include "worker/json_schema.h"
#include "worker/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define VALUE_MAX ((size_t)256 * 1024 * 1024)
#define ERRORS_MAX ((size_t)64 * 1024)

struct call {
    struct runtime *runtime;
    const struct capability *capability;
    call_done_fn done;
    void *done_ctx;
    struct warm *warm; /* NULL before it has begun */
    struct task *task;
    bool verify;                     /* the webhook's verify function, not execute */
    const struct delivery *delivery; /* NULL: input */
    const struct observer *observer;
    char *input;
    size_t input_len;
    struct buf value;
    struct buf errors;
    struct err err;
    char *message;
    char *traceback;
    struct call_end end;
    struct deferred deferred;
    struct call *next; /* that waits to begin */
};

static void finish(void *ctx)
{
    struct call *call = ctx;
    if (call->warm != NULL) {
        call->warm->execution.observer = NULL;
        call->end.requests = call->warm->execution.requests;
        call->end.peak_bytes = (int64_t)isolate_memory_peak(call->warm->isolate);
        warm_give(call->warm, call->end.ok);
        call->warm = NULL;
    }
    call->done(call->done_ctx, call, &call->end);
}

/* The isolate may be in use below us: it is closed from the loop. */
static void finish_later(struct call *call)
{
    scheduler_defer(call->runtime->scheduler, &call->deferred, finish, call);
}

static void fail(struct call *call, const char *name, const char *message, const char *traceback)
{
    call->end.ok = false;
    call->end.name = name;
    call->end.retry_after = -1;
    failure_set(&call->end.failure, name, "", 0);
    mem_free(call->message);
    mem_free(call->traceback);
    call->message = runtime_redacted(call->runtime, message != NULL ? message : "unknown error");
    call->traceback = traceback != NULL ? runtime_redacted(call->runtime, traceback) : NULL;
    call->end.message = call->message;
    call->end.traceback = call->traceback;
}

static const char *execution_error(const struct call *call)
{
    return call->capability->kind == CAPABILITY_TOOL ? "ToolExecutionError" : "ExecutionError";
}

/* ---- results ---- */

/* Whether workers.content made the table at index. */
static bool content_is(lua_State *L, int index)
{
    bool is = luaL_getmetafield(L, index, "__content") != LUA_TNIL;
    if (is)
        lua_pop(L, 1);
    return is;
}

/* A result goes to whoever asked, who is not always who may know the secrets. */
static enum err_code hide_secrets(struct call *call)
{
    const struct redactor *redactor = call->runtime->redactor;
    struct buf hidden;
    if (!redactor_has_values(redactor))
        return ERR_NONE;
    buf_init(&hidden, VALUE_MAX);
    enum err_code code =
        redactor_write_json(redactor, buf_text(&call->value), call->value.len, &hidden, &call->err);
    if (code != ERR_NONE) {
        buf_free(&hidden);
        return code;
    }
    buf_wipe(&call->value);
    call->value = hidden;
    return ERR_NONE;
}

static enum err_code encode(struct call *call, lua_State *co, const char *what)
{
    enum err_code code = json_encode(co, 1, NULL, &call->value, &call->err);
    if (code == ERR_NONE)
        code = buf_status(&call->value, what, &call->err);
    if (code == ERR_NONE)
        code = hide_secrets(call);
    return code == ERR_NONE ? code : (err_context(&call->err, "%s is not JSON", what), code);
}

/* The structured part is what the output schema is about. */
static void content_result(struct call *call, lua_State *co)
{
    const struct capability *tool = call->capability;
    call->end.is_content = true;
    lua_pushliteral(co, "structuredContent");
    if (tool->output_schema != NULL &&
        (lua_rawget(co, 1) == LUA_TNIL ||
         json_schema_validate(tool->output_schema, co, -1, &call->errors) != ERR_NONE)) {
        fail(call, "InvalidToolOutputError",
             call->errors.len > 0
                 ? buf_text(&call->errors)
                 : "the tool declares an output schema: give content its structured part as well",
             NULL);
        return;
    }
    if (encode(call, co, "the tool's result") != ERR_NONE)
        fail(call, "InvalidToolOutputError", call->err.message, NULL);
}

static void tool_result(struct call *call, lua_State *co)
{
    const struct capability *tool = call->capability;
    if (lua_isnil(co, 1)) {
        lua_pushlightuserdata(co, NULL); /* no result is null */
        lua_replace(co, 1);
    }
    if (content_is(co, 1)) {
        content_result(call, co);
        return;
    }
    if (tool->output_schema != NULL &&
        json_schema_validate(tool->output_schema, co, 1, &call->errors) != ERR_NONE) {
        fail(call, "InvalidToolOutputError", buf_text(&call->errors), NULL);
        return;
    }
    if (encode(call, co, "the tool's result") != ERR_NONE)
        fail(call, "InvalidToolOutputError", call->err.message, NULL);
}

/* The changes are checked as they would be before they are written; each gets its database's key, as the
 * platform adds it. */
static void sync_result(struct call *call, lua_State *co)
{
    struct page page;
    struct page_result read;
    const struct worker *worker = call->runtime->worker;
    page_init(&page);
    enum err_code code =
        page_read_result(co, 1, (size_t)call->runtime->options.config->limits.state_bytes, &read, &call->err);
    if (code == ERR_NONE)
        code = page_read_changes(co, read.changes_index, 0, read.change_count, worker,
                                 call->capability->database, &page, &call->err);
    if (code == ERR_NONE) {
        buf_adds(&call->value, "{\"changes\":[");
        for (size_t i = 0; i < read.change_count && code == ERR_NONE; i++) {
            struct buf change;
            buf_init(&change, VALUE_MAX);
            lua_rawgeti(co, read.changes_index, (lua_Integer)i + 1);
            code = json_encode(co, -1, NULL, &change, &call->err);
            lua_pop(co, 1);
            if (change.len > 0)
                change.len--; /* the closing brace */
            buf_addf(&call->value, "%s", i > 0 ? "," : "");
            buf_add(&call->value, buf_text(&change), change.len);
            if (code == ERR_NONE &&
                memmem(buf_text(&change), change.len, "\"targetDatabaseKey\"", 19) == NULL) {
                buf_adds(&call->value, ",\"targetDatabaseKey\":");
                json_write_text(&call->value, worker->databases[page.changes[i].database].key);
            }
            buf_addc(&call->value, '}');
            buf_free(&change);
        }
        buf_addf(&call->value, "],\"hasMore\":%s", read.has_more ? "true" : "false");
        if (read.has_state) {
            buf_adds(&call->value, ",\"nextState\":");
            buf_add(&call->value, buf_text(&read.next_state), read.next_state.len);
        }
        buf_addc(&call->value, '}');
    }
    if (code == ERR_NONE)
        code = buf_status(&call->value, "the result", &call->err);
    buf_free(&read.next_state);
    page_free(&page);
    if (code != ERR_NONE) {
        fail(call, "ExecutionError", call->err.message, NULL);
        failure_set(&call->end.failure, "Error", "invalid_page", 0);
    }
}

static void executed(struct task *task, void *ctx, lua_State *co, const struct script_error *error)
{
    struct call *call = ctx;
    (void)task;
    call->task = NULL;
    if (error != NULL) {
        fail(call,
             error->rate_limited && call->capability->kind == CAPABILITY_SYNC ? "RateLimitError"
                                                                              : execution_error(call),
             error->message, error->traceback);
        script_error_kind(error, &call->end.failure);
        call->end.retry_after = error->retry_after;
        call->end.rate_limited = error->rate_limited;
        call->end.unverified = strcmp(error->name, "WebhookVerificationError") == 0;
        finish_later(call);
        return;
    }
    lua_settop(co, 1);
    call->end.ok = true;
    if (!lua_checkstack(co, 32))
        fail(call, execution_error(call), "out of memory", NULL);
    else if (call->capability->kind == CAPABILITY_TOOL)
        tool_result(call, co);
    else if (call->capability->kind == CAPABILITY_SYNC)
        sync_result(call, co);
    else if ((call->capability->kind == CAPABILITY_JOB || call->verify) && !lua_isnil(co, 1)) {
        if (encode(call, co, "the result") != ERR_NONE)
            fail(call, execution_error(call), call->err.message, NULL);
    } else {
        buf_adds(&call->value, "{\"status\":\"success\"}");
    }
    call->end.value = buf_text(&call->value);
    call->end.value_len = call->value.len;
    finish_later(call);
}

/* ---- input ---- */

static const char *default_input(enum capability_kind kind)
{
    switch (kind) {
    case CAPABILITY_TOOL:
    case CAPABILITY_SYNC:
        return "{}";
    case CAPABILITY_WEBHOOK:
        return "[]";
    default:
        return "null";
    }
}

static void push_input(lua_State *L, struct call *call)
{
    if (json_decode(L, call->input, call->input_len, &call->err) != ERR_NONE)
        luaL_error(L, "the input is not JSON: %s", call->err.message);
    switch (call->capability->kind) {
    case CAPABILITY_SYNC:
        if (!lua_istable(L, -1))
            luaL_error(L, "a sync takes an object {\"state\": …}");
        lua_getfield(L, -1, DRY_RUN_PROPERTY); /* no request that changes something leaves then */
        call->warm->execution.dry_run = lua_isboolean(L, -1) && lua_toboolean(L, -1);
        lua_pop(L, 1);
        lua_getfield(L, -1, "state");
        if (lua_touserdata(L, -1) == NULL && lua_islightuserdata(L, -1))
            lua_pushnil(L);
        break;
    case CAPABILITY_WEBHOOK:
        if (call->verify)
            lua_getfield(L, -1, "request");
        else if (!json_is_array(L, -1))
            luaL_error(L, "a webhook takes an array of events [{\"deliveryId\": …, \"body\": …}]");
        break;
    case CAPABILITY_AUTOMATION:
    case CAPABILITY_JOB:
        if (lua_islightuserdata(L, -1))
            lua_pushnil(L);
        break;
    case CAPABILITY_TOOL:
        break;
    }
}

static void push_delivery(lua_State *L, struct call *call)
{
    const struct delivery *delivery = call->delivery;
    if (call->capability->kind == CAPABILITY_WEBHOOK) {
        lua_createtable(L, 1, 0);
        json_push_array_metatable(L);
        lua_setmetatable(L, -2);
        event_push_webhook(L, delivery);
        lua_rawseti(L, -2, 1);
        return;
    }
    if (json_decode(L, delivery->event, delivery->event_len, &call->err) != ERR_NONE)
        luaL_error(L, "the stored input is damaged: %s", call->err.message);
    if (lua_islightuserdata(L, -1))
        lua_pushnil(L);
}

/* ctx.progress(progress, total?, message?): for whoever waits for the result. */
static int tell_progress(lua_State *L)
{
    double progress = luaL_checknumber(L, 1), total = luaL_optnumber(L, 2, -1);
    const char *message = luaL_optstring(L, 3, NULL);
    const struct isolate_host *host = isolate_host(isolate_of(L));
    luaL_argcheck(L, isfinite(progress) && progress >= 0, 1, "must be a number of at least 0");
    luaL_argcheck(L, isfinite(total), 2, "must be a number");
    if (host->progress != NULL)
        host->progress(host->ctx, progress, total, message);
    return 0;
}

/* The second argument of execute. */
static void push_context(lua_State *L, const struct call *call)
{
    const struct delivery *delivery = call->delivery;
    modules_push_context(L, 7);
    lua_pushstring(L, call->capability->key);
    lua_setfield(L, -2, "key");
    lua_pushcfunction(L, tell_progress);
    lua_setfield(L, -2, "progress");
    if (call->capability->kind == CAPABILITY_TOOL) {
        lua_pushboolean(L, call->warm->execution.dry_run);
        lua_setfield(L, -2, "dryRun");
    }
    if (delivery == NULL)
        return;
    lua_pushstring(L, delivery->run_id);
    lua_setfield(L, -2, "runId");
    lua_pushstring(L, delivery->id);
    lua_setfield(L, -2, "deliveryId");
    lua_pushinteger(L, delivery->attempt);
    lua_setfield(L, -2, "attempt");
    lua_pushstring(L, delivery->started_by);
    lua_setfield(L, -2, "startedBy");
    if (call->capability->kind == CAPABILITY_JOB && strcmp(delivery->started_by, "schedule") == 0) {
        char time[ISO_UTC_SIZE];
        iso_format_utc(delivery->tick_ms, time);
        lua_pushstring(L, time);
        lua_setfield(L, -2, "scheduledAt");
    }
}

/* What is no boolean stays in the input, for the schema to refuse. */
static void take_dry_run(lua_State *L, const struct call *call)
{
    if (!lua_istable(L, -1))
        return;
    lua_pushliteral(L, DRY_RUN_PROPERTY);
    if (lua_rawget(L, -2) == LUA_TBOOLEAN) {
        call->warm->execution.dry_run = lua_toboolean(L, -1);
        call->warm->execution.writes_nothing = call->warm->execution.dry_run;
        lua_pushliteral(L, DRY_RUN_PROPERTY);
        lua_pushnil(L);
        lua_rawset(L, -4);
    }
    lua_pop(L, 1);
}

/* Pushes the argument of execute and the context. */
static int push_arguments(lua_State *L)
{
    struct call *call = lua_touserdata(L, 1);
    if (call->delivery != NULL)
        push_delivery(L, call);
    else
        push_input(L, call);
    if (call->capability->has_dry_run)
        take_dry_run(L, call);
    if (call->capability->kind == CAPABILITY_TOOL)
        json_schema_fill(call->capability->input_schema, L, -1);
    push_context(L, call);
    return 2;
}

/* ---- an automation's when, before its execute ---- */

enum { ARG_WHEN = 1, ARG_EXECUTE, ARG_EVENT, ARG_CONTEXT, ARG_CALL };

static int after_execute(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 1;
}

static int after_when(lua_State *L, int status, lua_KContext ctx)
{
    struct call *call = lua_touserdata(L, ARG_CALL);
    (void)status;
    (void)ctx;
    call->end.skipped = !lua_toboolean(L, -1);
    if (call->end.skipped)
        return 0;
    lua_pushvalue(L, ARG_EXECUTE);
    lua_pushvalue(L, ARG_EVENT);
    lua_pushvalue(L, ARG_CONTEXT);
    lua_callk(L, 2, 1, 0, after_execute);
    return 1;
}

static int when_then_execute(lua_State *L)
{
    lua_pushvalue(L, ARG_WHEN);
    lua_pushvalue(L, ARG_EVENT);
    lua_callk(L, 1, 1, 0, after_when);
    return after_when(L, LUA_OK, 0);
}

/* A webhook's input is an array of events, or {"request": …} for its verify function. */
static bool asks_to_verify(const struct call *call)
{
    struct json_scan scan;
    struct err ignored;
    bool more = false;
    if (call->delivery != NULL)
        return false;
    json_scan_init(&scan, call->input, call->input_len);
    if (call->capability->kind != CAPABILITY_WEBHOOK || json_scan_value(&scan, &ignored) != ERR_NONE ||
        scan.token != JSON_OBJECT)
        return false;
    while (json_scan_member(&scan, &more, &ignored) == ERR_NONE && more) {
        if (json_string_is(&scan, "request"))
            return true;
        if (json_scan_value(&scan, &ignored) != ERR_NONE || json_scan_skip(&scan, NULL, &ignored) != ERR_NONE)
            break;
    }
    return false;
}

/* The last argument of when_then_execute; the number of its arguments. */
static int push_call(lua_State *L, struct call *call)
{
    lua_pushlightuserdata(L, call);
    return 5;
}

static void begin(struct call *call)
{
    struct script_error error;
    script_error_init(&error);
    enum err_code code = warm_take(call->runtime, call->capability->key, &call->warm, &error);
    struct isolate *isolate = code == ERR_NONE ? call->warm->isolate : NULL;
    lua_State *L = code == ERR_NONE ? isolate_state(isolate) : NULL;
    if (code == ERR_NONE) {
        call->warm->execution.observer = call->observer;
        call->warm->execution.writes_nothing = call->capability->kind == CAPABILITY_SYNC;
        call->warm->execution.dry_run = false; /* until the input says */
        if (call->delivery != NULL)
            snprintf(call->warm->execution.run_id, sizeof call->warm->execution.run_id, "%s",
                     call->delivery->run_id);
    }
    call->verify = asks_to_verify(call);
    bool guarded = code == ERR_NONE && call->delivery != NULL && call->capability->has_when &&
                   strcmp(call->delivery->started_by, "row") == 0;
    if (guarded) {
        lua_pushcfunction(L, when_then_execute);
        guarded = modules_push_function(isolate, call->capability->key, "when");
        if (!guarded)
            lua_settop(L, 0);
    }
    if (code == ERR_NONE &&
        !modules_push_function(isolate, call->capability->key, call->verify ? "verify" : "execute"))
        code = script_error_set(&error, ERR_SCRIPT,
                                call->verify ? "webhook \"%s\" has no verify function"
                                             : "the script no longer declares \"%s\"",
                                call->capability->key);
    if (code != ERR_NONE) {
        fail(call, execution_error(call), error.message, error.traceback);
        script_error_kind(&error, &call->end.failure);
        script_error_free(&error);
        finish(call);
        return;
    }
    lua_pushcfunction(L, push_arguments);
    lua_pushlightuserdata(L, call);
    if (isolate_call(isolate, 1, 2, &error) != ERR_NONE) {
        bool tool = call->capability->kind == CAPABILITY_TOOL;
        fail(call, tool ? "InvalidToolInputError" : "ExecutionError", error.message, NULL);
    } else if (call->capability->kind == CAPABILITY_TOOL &&
               json_schema_validate(call->capability->input_schema, L, -2, &call->errors) != ERR_NONE) {
        fail(call, "InvalidToolInputError", buf_text(&call->errors), NULL);
    } else if (task_start(isolate, L, guarded ? push_call(L, call) : 2, NULL, executed, call, &call->task,
                          &call->err) != ERR_NONE) {
        fail(call, execution_error(call), call->err.message, NULL);
    } else {
        script_error_free(&error);
        return;
    }
    script_error_free(&error);
    finish(call);
}

/* Calls begin one by one, each after what the one before it made ready has run: many short ones in a row then
 * need two isolates, not one each. */
static void begin_next(void *ctx)
{
    struct runtime *runtime = ctx;
    struct call *call = runtime->starting;
    runtime->starting = call->next;
    if (runtime->starting != NULL)
        scheduler_defer(runtime->scheduler, &runtime->start, begin_next, runtime);
    begin(call);
}

static void begin_later(struct call *call)
{
    struct runtime *runtime = call->runtime;
    if (runtime->starting != NULL) {
        runtime->starting_last->next = call;
    } else {
        runtime->starting = call;
        scheduler_defer(runtime->scheduler, &runtime->start, begin_next, runtime);
    }
    runtime->starting_last = call;
}

enum err_code call_start(struct runtime *runtime, const struct capability *capability,
                         const struct call_input *input, call_done_fn done, void *ctx, struct call **out,
                         struct err *err)
{
    struct call *call = mem_zalloc(sizeof *call);
    if (call == NULL)
        return err_nomem(err);
    call->runtime = runtime;
    call->capability = capability;
    call->done = done;
    call->done_ctx = ctx;
    call->end.retry_after = -1;
    call->delivery = input->delivery;
    call->observer = input->observer;
    buf_init(&call->value, VALUE_MAX);
    buf_init(&call->errors, ERRORS_MAX);
    const char *json = input->len > 0 ? input->json : default_input(capability->kind);
    call->input_len = input->len > 0 ? input->len : strlen(json);
    call->input = mem_strndup(json, call->input_len);
    if (call->input == NULL) {
        call_free(call);
        return err_nomem(err);
    }
    begin_later(call);
    *out = call;
    return ERR_NONE;
}

void call_stop(struct call *call, enum err_code code, const char *why)
{
    if (call->task != NULL)
        task_stop(call->task, code, "%s", why);
}

void call_free(struct call *call)
{
    if (call == NULL)
        return;
    buf_free(&call->value);
    buf_free(&call->errors);
    mem_free(call->input);
    mem_free(call->message);
    mem_free(call->traceback);
    mem_free(call);
}

void call_describe(const struct call_end *end, struct buf *out)
{
    char number[NUMBER_TEXT_MAX];
    if (end->ok) {
        buf_adds(out, "{\"_tag\":\"success\",\"value\":");
        buf_add(out, end->value, end->value_len);
        buf_addc(out, '}');
        return;
    }
    buf_adds(out, "{\"_tag\":\"error\",\"error\":{\"name\":");
    json_write_text(out, end->name);
    buf_adds(out, ",\"message\":");
    json_write_text(out, end->message);
    if (end->traceback != NULL) {
        buf_adds(out, ",\"trace\":");
        json_write_text(out, end->traceback);
    }
    if (end->failure.code[0] != '\0') {
        buf_adds(out, ",\"code\":");
        json_write_text(out, end->failure.code);
    }
    if (end->failure.status != 0)
        buf_addf(out, ",\"status\":%d", end->failure.status);
    if (end->retry_after >= 0) {
        number_format_js(end->retry_after, number);
        buf_addf(out, ",\"retryAfter\":%s", number);
    }
    buf_adds(out, "}}");
}

/* The list of mistakes in an input as a sentence: "input/times must be integer; …". False when json is no
 * such list. */
static bool describe_mistakes(const char *json, struct buf *out)
{
    struct json_scan scan;
    struct err ignored;
    bool more_errors = false, more = false;
    json_scan_init(&scan, json, strlen(json));
    if (json_scan_value(&scan, &ignored) != ERR_NONE || scan.token != JSON_ARRAY)
        return false;
    while (json_scan_element(&scan, &more_errors, &ignored) == ERR_NONE && more_errors) {
        struct buf path, message;
        enum err_code code = scan.token == JSON_OBJECT ? ERR_NONE : ERR_INVALID;
        buf_init(&path, BUF_UNLIMITED);
        buf_init(&message, BUF_UNLIMITED);
        while (code == ERR_NONE && json_scan_member(&scan, &more, &ignored) == ERR_NONE && more) {
            struct buf *field = json_string_is(&scan, "instancePath") ? &path
                                : json_string_is(&scan, "message")    ? &message
                                                                      : NULL;
            code = json_scan_value(&scan, &ignored);
            if (code == ERR_NONE && scan.token == JSON_STRING && field != NULL)
                json_string_copy(&scan, field);
            else if (code == ERR_NONE)
                code = json_scan_skip(&scan, NULL, &ignored);
        }
        buf_addf(out, "%sinput%s %s", out->len > 0 ? "; " : "", buf_text(&path), buf_text(&message));
        buf_free(&path);
        buf_free(&message);
        if (code != ERR_NONE)
            return false;
    }
    return !more_errors && out->len > 0;
}

void call_explain(const struct call_end *end, struct buf *out)
{
    size_t before = out->len;
    if (strcmp(end->name, "InvalidToolInputError") == 0 && describe_mistakes(end->message, out))
        return;
    out->len = before;
    buf_adds(out, end->message);
}
