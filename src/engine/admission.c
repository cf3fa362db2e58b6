/* Running verify and idempotencyKey. Must not store anything. */
#include "engine/admission.h"

#include "base/mem.h"
#include "engine/event.h"
#include "engine/warm.h"
#include "modules/json.h"
#include "script/timer.h"

#include <stdio.h>
#include <string.h>

#define IDEMPOTENCY_KEY_MAX 512 /* bytes */

struct admission {
    struct runtime *runtime;
    const struct capability *webhook;
    const struct delivery *request;
    admission_done_fn done;
    void *done_ctx;
    struct warm *warm;
    struct task *task;
    struct timer *timer;
    bool idempotency_begun; /* what fails from now on is not verify */
    char idempotency_key[IDEMPOTENCY_KEY_MAX + 1];
    char type[256];
    struct buf body;
    char *message;
    struct admission_end end;
    struct deferred deferred;
};

static void finish(void *ctx)
{
    struct admission *admission = ctx;
    timer_close(&admission->timer);
    if (admission->warm != NULL) {
        bool well = admission->end.verdict == ADMISSION_ADMIT || admission->end.verdict == ADMISSION_ANSWER;
        warm_give(admission->warm, well);
        admission->warm = NULL;
    }
    admission->done(admission->done_ctx, admission, &admission->end);
}

static void conclude(struct admission *admission, enum admission_verdict verdict, const char *message)
{
    admission->end.verdict = verdict;
    mem_free(admission->message);
    admission->message = runtime_redacted(admission->runtime, message);
    admission->end.message = admission->message;
}

/* ---- what verify returned ---- */

/* The answer {status, headers, body} on top of the stack. False when it is none that may be sent. */
static bool read_answer(struct admission *admission, lua_State *L)
{
    struct admission_end *end = &admission->end;
    int is_integer = 0;
    struct err err;
    lua_getfield(L, -1, "status");
    lua_Integer status = lua_isnil(L, -1) ? 200 : lua_tointegerx(L, -1, &is_integer);
    bool good = lua_isnil(L, -1) || is_integer;
    lua_pop(L, 1);
    if (!good || !((status >= 200 && status <= 299) || (status >= 400 && status <= 499)))
        return false;
    end->status = (int)status;
    snprintf(admission->type, sizeof admission->type, "text/plain; charset=utf-8");
    if (lua_getfield(L, -1, "headers") == LUA_TTABLE) {
        static const char *const names[] = {"content-type", "Content-Type"};
        for (int i = 0; i < 2; i++) {
            if (lua_getfield(L, -1, names[i]) == LUA_TSTRING)
                snprintf(admission->type, sizeof admission->type, "%s", lua_tostring(L, -1));
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    int type = lua_getfield(L, -1, "body");
    if (type == LUA_TSTRING) {
        size_t len = 0;
        const char *text = lua_tolstring(L, -1, &len);
        buf_add(&admission->body, text, len);
    } else if (type == LUA_TTABLE) {
        snprintf(admission->type, sizeof admission->type, "application/json");
        good = json_encode(L, -1, NULL, &admission->body, &err) == ERR_NONE;
    } else {
        good = type == LUA_TNIL;
    }
    lua_pop(L, 1);
    end->type = admission->type;
    end->body = buf_text(&admission->body);
    end->body_len = admission->body.len;
    return good && buf_status(&admission->body, "the answer", &err) == ERR_NONE;
}

static void judge(struct admission *admission, lua_State *co)
{
    int type = lua_type(co, -1);
    if (admission->end.idempotency_key != NULL || type == LUA_TNIL ||
        (type == LUA_TBOOLEAN && lua_toboolean(co, -1)))
        conclude(admission, ADMISSION_ADMIT, "");
    else if (type == LUA_TBOOLEAN)
        conclude(admission, ADMISSION_REFUSE, "verify returned false");
    else if (type == LUA_TTABLE && read_answer(admission, co))
        conclude(admission, ADMISSION_ANSWER, "");
    else
        conclude(admission, ADMISSION_FAILED,
                 "verify must return nothing, true, false, or an answer { status = 200, body = \"…\" } with a"
                 " status from 200 to 299 or from 400 to 499 and a body of at most 8 KB");
}

static void ended(struct task *task, void *ctx, lua_State *co, const struct script_error *error)
{
    struct admission *admission = ctx;
    (void)task;
    admission->task = NULL;
    if (error == NULL)
        judge(admission, co);
    else if (strcmp(error->name, "WebhookVerificationError") == 0 && !admission->idempotency_begun)
        conclude(admission, ADMISSION_REFUSE, error->message);
    else
        conclude(admission, ADMISSION_FAILED, error->message);
    scheduler_defer(admission->runtime->scheduler, &admission->deferred, finish, admission);
}

/* ---- the coroutine: verify, then idempotencyKey ---- */

enum { ARG_VERIFY = 1, ARG_KEY, ARG_REQUEST, ARG_CONTEXT, ARG_ADMISSION };

static int after_key(lua_State *L, int status, lua_KContext ctx)
{
    struct admission *admission = lua_touserdata(L, ARG_ADMISSION);
    size_t len = 0;
    (void)status;
    (void)ctx;
    if (lua_isnil(L, -1))
        return 1;
    const char *key =
        lua_type(L, -1) == LUA_TSTRING || lua_isinteger(L, -1) ? lua_tolstring(L, -1, &len) : NULL;
    if (key == NULL || len == 0 || len > IDEMPOTENCY_KEY_MAX || strlen(key) != len)
        return luaL_error(L, "idempotencyKey must return a string of 1 to %d bytes, or nil",
                          IDEMPOTENCY_KEY_MAX);
    snprintf(admission->idempotency_key, sizeof admission->idempotency_key, "%s", key);
    admission->end.idempotency_key = admission->idempotency_key;
    return 1;
}

static int after_verify(lua_State *L, int status, lua_KContext ctx)
{
    struct admission *admission = lua_touserdata(L, ARG_ADMISSION);
    (void)status;
    (void)ctx;
    bool admitted = lua_isnil(L, -1) || (lua_isboolean(L, -1) && lua_toboolean(L, -1));
    if (!admitted || lua_isnil(L, ARG_KEY))
        return 1;
    admission->idempotency_begun = true;
    lua_pushvalue(L, ARG_KEY);
    lua_pushvalue(L, ARG_REQUEST);
    lua_callk(L, 1, 1, 0, after_key);
    return after_key(L, LUA_OK, 0);
}

static int admit(lua_State *L)
{
    if (lua_isnil(L, ARG_VERIFY)) {
        lua_pushnil(L);
        return after_verify(L, LUA_OK, 0);
    }
    lua_pushvalue(L, ARG_VERIFY);
    lua_pushvalue(L, ARG_REQUEST);
    lua_pushvalue(L, ARG_CONTEXT);
    lua_callk(L, 2, 1, 0, after_verify);
    return after_verify(L, LUA_OK, 0);
}

static int push_arguments(lua_State *L)
{
    struct admission *admission = lua_touserdata(L, 1);
    event_push_webhook(L, admission->request);
    lua_createtable(L, 0, 1);
    lua_pushstring(L, admission->webhook->key);
    lua_setfield(L, -2, "key");
    return 2;
}

/* ---- beginning ---- */

static void time_is_up(void *ctx)
{
    struct admission *admission = ctx;
    if (admission->task != NULL)
        task_stop(admission->task, ERR_TIMEOUT, "verify took longer than %d s", ADMISSION_MS / 1000);
}

static void push_or_nil(struct isolate *isolate, const char *key, const char *name)
{
    if (!modules_push_function(isolate, key, name))
        lua_pushnil(isolate_state(isolate));
}

static void begin(void *ctx)
{
    struct admission *admission = ctx;
    struct script_error error;
    struct err err;
    script_error_init(&error);
    enum err_code code = warm_take(admission->runtime, admission->webhook->key, &admission->warm, &error);
    if (code == ERR_NONE) {
        struct isolate *isolate = admission->warm->isolate;
        lua_State *L = isolate_state(isolate);
        lua_pushcfunction(L, admit);
        push_or_nil(isolate, admission->webhook->key, "verify");
        push_or_nil(isolate, admission->webhook->key, "idempotencyKey");
        lua_pushcfunction(L, push_arguments);
        lua_pushlightuserdata(L, admission);
        code = isolate_call(isolate, 1, 2, &error);
        if (code == ERR_NONE) {
            lua_pushlightuserdata(L, admission);
            code = task_start(isolate, L, 5, NULL, ended, admission, &admission->task, &err);
            if (code != ERR_NONE)
                script_error_set(&error, code, "%s", err.message);
        }
    }
    if (code == ERR_NONE) {
        timer_start(admission->timer, ADMISSION_MS, 0);
    } else {
        conclude(admission, ADMISSION_FAILED, error.message);
        finish(admission);
    }
    script_error_free(&error);
}

enum err_code admission_start(struct runtime *runtime, const struct capability *webhook,
                              const struct delivery *request, admission_done_fn done, void *ctx,
                              struct admission **out, struct err *err)
{
    struct admission *admission = mem_zalloc(sizeof *admission);
    if (admission == NULL)
        return err_nomem(err);
    admission->runtime = runtime;
    admission->webhook = webhook;
    admission->request = request;
    admission->done = done;
    admission->done_ctx = ctx;
    buf_init(&admission->body, ADMISSION_ANSWER_MAX);
    admission->timer = timer_new(runtime->loop, time_is_up, admission);
    scheduler_defer(runtime->scheduler, &admission->deferred, begin, admission);
    *out = admission;
    return ERR_NONE;
}

void admission_free(struct admission *admission)
{
    if (admission == NULL)
        return;
    buf_free(&admission->body);
    mem_free(admission->message);
    mem_free(admission);
}
