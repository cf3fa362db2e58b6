/* workers.kv: small values that outlive a run. Must not know where they are kept: the host does. */
#include "modules/kv.h"

#include "base/mem.h"
#include "base/text.h"
#include "modules/json.h"
#include "modules/modules.h"
#include "script/budget.h"
#include "script/options.h"
#include "script/task.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

#define BOX "workers.kv.call"
/* All keys of a worker, with the NUL after each. */
#define LIST_MAX ((size_t)KV_KEYS_MAX * (KV_KEY_MAX + 1))
#define KEYS_PER_TICK 1024

struct box {
    const struct isolate_host *host;
    const char *function; /* for messages */
    struct kv_call *call; /* NULL when it is not ours any more */
};

void kv_call_free(struct kv_call *call)
{
    if (call == NULL)
        return;
    buf_free(&call->key);
    buf_free(&call->value);
    buf_free(&call->expected);
    buf_free(&call->result);
    mem_free(call);
}

/* ---- waiting ---- */

/* What kv.scope has put in front of every key: the functions of a scope have it as their upvalue. */
static const char *scope_of(lua_State *L, size_t *len)
{
    *len = 0;
    return lua_type(L, lua_upvalueindex(1)) == LUA_TSTRING ? lua_tolstring(L, lua_upvalueindex(1), len) : "";
}

static void give_up(void *op)
{
    struct box *box = op;
    box->host->kv_cancel(box->host->ctx, box->call);
    box->call = NULL;
}

static int box_release(lua_State *L)
{
    struct box *box = luaL_checkudata(L, 1, BOX);
    if (box->call != NULL && box->call->pending)
        give_up(box);
    kv_call_free(box->call);
    box->call = NULL;
    return 0;
}

/* Pushes the box of a new call. */
static struct kv_call *push_call(lua_State *L, const char *function, enum kv_operation operation)
{
    struct box *box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = (struct box){.host = isolate_host(isolate_of(L)), .function = function};
    luaL_setmetatable(L, BOX);
    struct kv_call *call = mem_zalloc(sizeof *call);
    if (call == NULL)
        luaL_error(L, "%s: out of memory", function);
    box->call = call;
    call->operation = operation;
    buf_init(&call->key, KV_KEY_MAX);
    buf_init(&call->value, KV_VALUE_MAX);
    buf_init(&call->expected, KV_VALUE_MAX);
    buf_init(&call->result, operation == KV_LIST ? LIST_MAX : KV_VALUE_MAX);
    return call;
}

static void push_keys(lua_State *L, const struct kv_call *call)
{
    size_t scope_len = 0;
    const char *at = buf_text(&call->result);
    const char *end = at + call->result.len;
    scope_of(L, &scope_len);
    lua_newtable(L);
    for (lua_Integer i = 1; at < end; i++) {
        size_t len = strlen(at);
        lua_pushlstring(L, at + scope_len, len - scope_len);
        lua_rawseti(L, -2, i);
        at += len + 1;
        if (i % KEYS_PER_TICK == 0)
            budget_tick(L);
    }
    json_push_array_metatable(L);
    lua_setmetatable(L, -2);
}

/* The call has ended. It is freed at once: Lua would not know how large it is. */
static int over(lua_State *L, int status, lua_KContext box_index)
{
    struct box *box = lua_touserdata(L, (int)box_index);
    struct kv_call *call = box->call;
    enum err_code code = call->code;
    (void)status;
    if (code == ERR_NONE && call->operation == KV_GET && call->done) {
        code = json_decode(L, buf_text(&call->result), call->result.len, &call->err);
        if (code != ERR_NONE)
            err_context(&call->err, "the stored value is damaged");
    }
    if (code != ERR_NONE) {
        luaL_where(L, 1);
        lua_pushfstring(L, "%s: %s", box->function, call->err.message);
        lua_concat(L, 2);
    } else if (call->operation == KV_LIST) {
        push_keys(L, call);
    } else if (call->operation == KV_INCREMENT) {
        lua_pushinteger(L, call->number);
    } else if (call->operation == KV_DELETE || call->operation == KV_COMPARE_AND_SET) {
        lua_pushboolean(L, call->done);
    } else if (call->operation == KV_SET || !call->done) {
        lua_pushnil(L);
    }
    bool empty = call->operation == KV_SET;
    kv_call_free(call);
    box->call = NULL;
    return code != ERR_NONE ? lua_error(L) : empty ? 0 : 1;
}

/* To be returned; the box is on top of the stack. */
static int run(lua_State *L)
{
    struct box *box = lua_touserdata(L, -1);
    struct task *task = task_current(L);
    struct err err;
    if (box->host->kv == NULL)
        return luaL_error(L, "%s: values cannot be kept from here", box->function);
    if (box->host->kv(box->host->ctx, box->call, task, &err) != ERR_NONE)
        return luaL_error(L, "%s: %s", box->function, err.message);
    task_wait_set(task, give_up, box);
    return task_wait(L, lua_gettop(L), over);
}

/* ---- arguments ---- */

static const char *check_name(lua_State *L, const char *function, const char *what, size_t scope_len,
                              size_t *len)
{
    if (lua_type(L, 1) != LUA_TSTRING)
        luaL_error(L, "%s: argument 1 (%s): expected a string, got %s", function, what,
                   lua_isnoneornil(L, 1) ? "nothing" : luaL_typename(L, 1));
    const char *name = lua_tolstring(L, 1, len);
    if (*len + scope_len > KV_KEY_MAX)
        luaL_error(L, "%s: argument 1 (%s): a key has at most %d bytes, this one %d", function, what,
                   KV_KEY_MAX, (int)(*len + scope_len));
    if (!text_is_utf8(name, *len, NULL) || memchr(name, '\0', *len) != NULL)
        luaL_error(L, "%s: argument 1 (%s): a key is UTF-8 text without NUL bytes", function, what);
    return name;
}

/* Argument 1, with the scope in front. */
static void read_key(lua_State *L, struct kv_call *call, const char *function, const char *what)
{
    size_t len = 0;
    size_t scope_len = 0;
    const char *scope = scope_of(L, &scope_len);
    const char *name = "";
    if (call->operation != KV_LIST || !lua_isnil(L, 1))
        name = check_name(L, function, what, scope_len, &len);
    if (call->operation != KV_LIST && len == 0)
        luaL_error(L, "%s: argument 1 (%s): the key is empty", function, what);
    buf_add(&call->key, scope, scope_len);
    buf_add(&call->key, name, len);
    if (call->key.failed)
        luaL_error(L, "%s: out of memory", function);
}

/* The value at index as JSON; false for nil. */
static bool read_value(lua_State *L, struct buf *out, const char *function, int index, const char *what)
{
    static const struct json_encode_options sorted = {.sort_keys = true};
    struct err err;
    if (lua_isnil(L, index))
        return false;
    enum err_code code = json_encode(L, index, &sorted, out, &err);
    bool too_large = out->failed && !out->out_of_memory;
    if (code != ERR_NONE)
        buf_free(out);
    if (code != ERR_NONE && too_large)
        luaL_error(
            L, "%s: argument %d (%s): a value has at most %d KiB as JSON; keep more than that in a database",
            function, index, what, (int)(KV_VALUE_MAX / 1024));
    if (code != ERR_NONE)
        luaL_error(L, "%s: argument %d (%s): %s", function, index, what, err.message);
    return true;
}

/* nil has a meaning, so a forgotten argument must not pass for it. */
static void need_arguments(lua_State *L, const char *function, int count, const char *what)
{
    if (lua_gettop(L) < count)
        luaL_error(L, "%s: argument %d (%s) is missing; give nil for no value", function, count, what);
}

static const struct option_spec set_options[] = {
    {"ttl", OPTION_NUMBER, false, "seconds"},
    {NULL, 0, false, NULL},
};

static void read_ttl(lua_State *L, struct kv_call *call, const char *function, int index)
{
    if (lua_isnil(L, index))
        return;
    options_check(L, index, set_options, function);
    if (lua_getfield(L, index, "ttl") != LUA_TNIL) {
        double seconds = lua_tonumber(L, -1);
        if (!(seconds > 0 && seconds <= KV_TTL_MAX_S))
            luaL_error(L, "%s: option \"ttl\" must be more than 0 and at most %d seconds, got %f", function,
                       KV_TTL_MAX_S, seconds);
        call->ttl_ms = (int64_t)ceil(seconds * 1000);
    }
    lua_pop(L, 1);
}

/* ---- functions ---- */

static int kv_get(lua_State *L)
{
    task_wait_begin(L, "kv.get");
    lua_settop(L, 1);
    read_key(L, push_call(L, "kv.get", KV_GET), "kv.get", "key");
    return run(L);
}

static int kv_set(lua_State *L)
{
    task_wait_begin(L, "kv.set");
    need_arguments(L, "kv.set", 2, "value");
    lua_settop(L, 3);
    struct kv_call *call = push_call(L, "kv.set", KV_SET);
    read_key(L, call, "kv.set", "key");
    read_ttl(L, call, "kv.set", 3);
    call->has_value = read_value(L, &call->value, "kv.set", 2, "value");
    return run(L);
}

static int kv_delete(lua_State *L)
{
    task_wait_begin(L, "kv.delete");
    lua_settop(L, 1);
    read_key(L, push_call(L, "kv.delete", KV_DELETE), "kv.delete", "key");
    return run(L);
}

static int kv_compare_and_set(lua_State *L)
{
    task_wait_begin(L, "kv.compareAndSet");
    need_arguments(L, "kv.compareAndSet", 3, "value");
    lua_settop(L, 4);
    struct kv_call *call = push_call(L, "kv.compareAndSet", KV_COMPARE_AND_SET);
    read_key(L, call, "kv.compareAndSet", "key");
    read_ttl(L, call, "kv.compareAndSet", 4);
    call->has_expected = read_value(L, &call->expected, "kv.compareAndSet", 2, "expected");
    call->has_value = read_value(L, &call->value, "kv.compareAndSet", 3, "value");
    return run(L);
}

static int kv_increment(lua_State *L)
{
    int integral = 0;
    task_wait_begin(L, "kv.increment");
    lua_settop(L, 2);
    lua_Integer by = lua_type(L, 2) == LUA_TNUMBER ? lua_tointegerx(L, 2, &integral) : 1;
    if (!integral && !lua_isnil(L, 2))
        return luaL_error(L, "kv.increment: argument 2 (by): expected an integer, got %s",
                          luaL_tolstring(L, 2, NULL));
    struct kv_call *call = push_call(L, "kv.increment", KV_INCREMENT);
    read_key(L, call, "kv.increment", "key");
    call->number = by;
    return run(L);
}

static const struct option_spec list_options[] = {
    {"limit", OPTION_INTEGER, false, NULL},
    {NULL, 0, false, NULL},
};

static int kv_list(lua_State *L)
{
    task_wait_begin(L, "kv.list");
    lua_settop(L, 2);
    struct kv_call *call = push_call(L, "kv.list", KV_LIST);
    read_key(L, call, "kv.list", "prefix");
    call->number = KV_KEYS_MAX;
    if (!lua_isnil(L, 2)) {
        options_check(L, 2, list_options, "kv.list");
        double limit = options_number(L, 2, "limit", KV_KEYS_MAX);
        if (!(limit >= 1))
            return luaL_error(L, "kv.list: option \"limit\" must be a whole number of at least 1");
        call->number = limit < KV_KEYS_MAX ? (int64_t)limit : KV_KEYS_MAX;
    }
    return run(L);
}

static int kv_scope(lua_State *L);

static const struct script_function functions[] = {
    {"get", kv_get, "(key: string): any", "the value of a key; nil when there is none"},
    {"set", kv_set, "(key: string, value: any, options?: { ttl?: number })",
     "keeps a value, for ttl seconds if given; nil deletes"},
    {"delete", kv_delete, "(key: string): boolean", "deletes a key; whether there was one"},
    {"compareAndSet", kv_compare_and_set,
     "(key: string, expected: any, value: any, options?: { ttl?: number }): boolean",
     "sets the value only if it is the expected one; whether it was"},
    {"increment", kv_increment, "(key: string, by?: integer): integer",
     "adds to an integer, 0 when there is none; the sum"},
    {"list", kv_list, "(prefix?: string, options?: { limit?: integer }): string[]",
     "the keys that begin with the prefix, in order"},
    {"scope", kv_scope, "(name: string): workers.kv.Scope",
     "the same functions, for keys that begin with name and a slash"},
    {NULL, NULL, NULL, NULL},
};

static int kv_scope(lua_State *L)
{
    size_t len = 0;
    size_t scope_len = 0;
    const char *scope = scope_of(L, &scope_len);
    const char *name = check_name(L, "kv.scope", "name", scope_len + 1, &len);
    if (len == 0)
        return luaL_error(L, "kv.scope: argument 1 (name): the name is empty");
    lua_pushlstring(L, scope, scope_len);
    lua_pushlstring(L, name, len);
    lua_pushliteral(L, "/");
    lua_concat(L, 3);
    lua_newtable(L);
    for (const struct script_function *at = functions; at->name != NULL; at++) {
        lua_pushvalue(L, -2);
        lua_pushcclosure(L, at->function, 1);
        lua_setfield(L, -2, at->name);
    }
    return 1;
}

static const char types[] = "---@class workers.kv.Scope: workers.kv\n";

const struct script_docs kv_docs = {"Small values that are kept between runs", functions, types};

int luaopen_workers_kv(lua_State *L)
{
    static const luaL_Reg closers[] = {{"__gc", box_release}, {"__close", box_release}, {NULL, NULL}};
    luaL_newmetatable(L, BOX);
    luaL_setfuncs(L, closers, 0);
    lua_pop(L, 1);
    functions_push(L, functions);
    return 1;
}
