/* Failures of scripts as values, and the error objects that scripts see. */
#include "script/isolate_priv.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ERROR_METATABLE "workers.error"
#define MESSAGE_MAX ((size_t)64 * 1024)
#define TRACEBACK_MAX ((size_t)16 * 1024)
#define TRACEBACK_LEVELS 24
#define REPLACEMENT "\xEF\xBF\xBD"

/* Its address is a key of the registry: the traceback of the error that a branch has raised last, and the
 * task that raised it again. To Lua equal strings are one value, so it counts for that task only. */
static const char kept_traceback;
enum { KEPT_ERROR = 1, KEPT_TRACEBACK, KEPT_TASK };

void script_error_init(struct script_error *error)
{
    *error = (struct script_error){.retry_after = -1};
}

void script_error_free(struct script_error *error)
{
    mem_free(error->message);
    mem_free(error->traceback);
    script_error_init(error);
}

/* Messages go into JSON and into tables, which hold UTF-8 alone: other bytes, and NUL, become U+FFFD. */
static char *copy_text(const char *text, size_t len)
{
    struct buf copy;
    uint32_t character = 0;
    if (len > MESSAGE_MAX)
        len = MESSAGE_MAX;
    buf_init(&copy, MESSAGE_MAX * strlen(REPLACEMENT) + 1);
    size_t at = 0;
    while (at < len) {
        size_t size = text_next_char(text + at, len - at, &character);
        if (size > 0 && character != 0)
            buf_add(&copy, text + at, size);
        else
            buf_adds(&copy, REPLACEMENT);
        at += size > 0 ? size : 1;
    }
    char *taken = buf_take(&copy, NULL);
    return taken != NULL ? taken : mem_need_str(len > 0 ? "out of memory" : "");
}

enum err_code script_error_set(struct script_error *error, enum err_code code, const char *format, ...)
{
    struct err text;
    va_list arguments;
    va_start(arguments, format);
    err_vset(&text, code, format, arguments);
    va_end(arguments);
    script_error_free(error);
    error->code = code;
    snprintf(error->name, sizeof error->name, "Error");
    error->message = copy_text(text.message, strlen(text.message));
    return code;
}

enum err_code script_error_to_err(const struct script_error *error, struct err *err)
{
    return err_set(err, error->code, "%s", error->message != NULL ? error->message : "unknown error");
}

void script_error_kind(const struct script_error *error, struct failure *out)
{
    bool ours = error->detail[0] == '\0' && error->code != ERR_SCRIPT && error->code != ERR_NONE;
    failure_set(out, error->name, ours ? err_code_name(error->code) : error->detail, error->status);
}

void script_error_memory(struct script_error *error, struct isolate *isolate)
{
    if (!isolate->heap.refused) {
        script_error_set(error, ERR_NOMEM, "out of memory");
        return;
    }
    isolate->heap.refused = false;
    script_error_set(
        error, ERR_LIMIT,
        "memory limit of %zu MiB reached (raise limits.memory in workers.yaml, or return smaller pages)",
        isolate->config.limits.memory_bytes >> 20);
}

/* Copies a string field of the table at index into out, shortened to size. Raw access. */
static bool copy_field(lua_State *L, int index, const char *field, char *out, size_t size)
{
    bool found = false;
    lua_pushstring(L, field);
    lua_rawget(L, index);
    if (lua_type(L, -1) == LUA_TSTRING) {
        snprintf(out, size, "%s", lua_tostring(L, -1));
        found = true;
    }
    lua_pop(L, 1);
    return found;
}

static void write_traceback(struct buf *out, lua_State *from, int level)
{
    lua_Debug frame;
    int shown = 0;
    for (; lua_getstack(from, level, &frame) && shown < TRACEBACK_LEVELS; level++) {
        lua_getinfo(from, "Sln", &frame);
        /* Machinery says nothing to the reader: C functions and the Lua half of our modules. */
        if (frame.currentline < 0 || frame.source[0] == '=')
            continue;
        buf_addf(out, "%s    %s:%d: in ", shown > 0 ? "\n" : "", frame.short_src, frame.currentline);
        if (strcmp(frame.what, "main") == 0)
            buf_adds(out, "main chunk");
        else if (frame.name != NULL)
            buf_addf(out, "%s '%s'", frame.namewhat[0] != '\0' ? frame.namewhat : "function", frame.name);
        else
            buf_addf(out, "function <%s:%d>", frame.short_src, frame.linedefined);
        shown++;
    }
}

char *script_error_traceback(lua_State *from)
{
    struct buf trace;
    buf_init(&trace, TRACEBACK_MAX);
    write_traceback(&trace, from, 0);
    return buf_take(&trace, NULL);
}

/* Pushes the traceback of the value at index if this task has raised it again; otherwise nothing. */
static bool push_kept(lua_State *L, int index)
{
    bool found = false;
    struct task *task = isolate_of(L)->current;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_traceback);
    if (lua_istable(L, -1)) {
        lua_rawgeti(L, -1, KEPT_ERROR);
        lua_rawgeti(L, -2, KEPT_TASK);
        found = task != NULL && lua_touserdata(L, -1) == task && lua_rawequal(L, -2, index);
        lua_pop(L, 2);
        lua_rawgeti(L, -1, KEPT_TRACEBACK);
        lua_remove(L, -2);
    }
    if (!found)
        lua_pop(L, 1);
    return found;
}

int script_keep_traceback(lua_State *L)
{
    lua_settop(L, 1);
    lua_createtable(L, 3, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, 2, KEPT_ERROR);
    bool before = push_kept(L, 1); /* of a branch within this one */
    if (before)
        lua_pushliteral(L, "\n");
    script_push_traceback(L, L, 1);
    if (before)
        lua_concat(L, 3);
    lua_rawseti(L, 2, KEPT_TRACEBACK);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kept_traceback);
    return 1;
}

int script_raise_again(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_traceback);
    if (lua_istable(L, -1)) {
        lua_pushlightuserdata(L, isolate_of(L)->current);
        lua_rawseti(L, -2, KEPT_TASK);
    }
    lua_pop(L, 1);
    return lua_error(L);
}

void script_error_capture(struct script_error *error, lua_State *from)
{
    int value = lua_gettop(from);
    luaL_checkstack(from, 4, NULL);
    script_error_free(error);
    error->code = ERR_SCRIPT;
    snprintf(error->name, sizeof error->name, "Error");

    struct buf trace;
    buf_init(&trace, TRACEBACK_MAX);
    if (lua_type(from, value) == LUA_TSTRING) {
        size_t len = 0;
        const char *text = lua_tolstring(from, value, &len);
        if (isolate_of(from)->heap.refused && strstr(text, "not enough memory") != NULL) {
            script_error_memory(
                error, isolate_of(from)); /* Lua's own text, passed on by a coroutine or by error() */
            return;
        }
        error->message = copy_text(text, len);
    } else if (lua_istable(from, value)) {
        copy_field(from, value, "name", error->name, sizeof error->name);
        copy_field(from, value, "code", error->detail, sizeof error->detail);
        error->rate_limited = strcmp(error->name, "RateLimitError") == 0;
        lua_pushliteral(from, "retryAfter");
        lua_rawget(from, value);
        if (lua_type(from, -1) == LUA_TNUMBER) {
            double seconds = lua_tonumber(from, -1);
            if (isfinite(seconds) && seconds >= 0)
                error->retry_after = seconds;
        }
        lua_pop(from, 1);
        lua_pushliteral(from, "status");
        lua_rawget(from, value);
        int integral = 0;
        lua_Integer status = lua_type(from, -1) == LUA_TNUMBER ? lua_tointegerx(from, -1, &integral) : 0;
        error->status = integral && status >= 100 && status <= 999 ? (int)status : 0;
        lua_pop(from, 1);
        lua_pushliteral(from, "message");
        lua_rawget(from, value);
        size_t len = 0;
        const char *text = lua_type(from, -1) == LUA_TSTRING ? lua_tolstring(from, -1, &len) : NULL;
        error->message =
            text != NULL ? copy_text(text, len) : copy_text("(an error table without a message)", 34);
        lua_pop(from, 1);
        lua_pushliteral(from, "traceback");
        lua_rawget(from, value);
        if (lua_type(from, -1) == LUA_TSTRING) {
            buf_adds(&trace, lua_tostring(from, -1));
            buf_addc(&trace, '\n');
        }
        lua_pop(from, 1);
    } else {
        char text[64];
        snprintf(text, sizeof text, "(the error is a %s value)", luaL_typename(from, value));
        error->message = copy_text(text, strlen(text));
    }
    if (push_kept(from, value)) {
        buf_adds(&trace, lua_tostring(from, -1));
        buf_addc(&trace, '\n');
        lua_pop(from, 1);
    }
    write_traceback(&trace, from, 0);
    error->traceback = buf_take(&trace, NULL);
}

static int capture_call(lua_State *L)
{
    struct script_error *error = lua_touserdata(L, 1);
    lua_State *from = lua_touserdata(L, 2);
    script_error_capture(error, from);
    return 0;
}

void script_error_capture_safely(struct script_error *error, struct isolate *isolate, lua_State *from)
{
    lua_State *L = isolate->L;
    if (!lua_checkstack(L, 4) || !lua_checkstack(from, 8)) {
        script_error_set(error, ERR_LIMIT, "stack overflow");
        return;
    }
    lua_pushcfunction(L, capture_call);
    lua_pushlightuserdata(L, error);
    lua_pushlightuserdata(L, from);
    int top = lua_gettop(from);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
        lua_pop(L, 1);
        script_error_memory(error, isolate);
    }
    lua_settop(from, top);
}

static int error_tostring(lua_State *L)
{
    lua_pushliteral(L, "message");
    if (!lua_istable(L, 1) || lua_rawget(L, 1) != LUA_TSTRING)
        lua_pushliteral(L, "error");
    return 1;
}

void script_push_error(lua_State *L, const char *name, const char *code, const char *message, size_t len)
{
    lua_createtable(L, 0, 4);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "name");
    if (code != NULL) {
        lua_pushstring(L, code);
        lua_setfield(L, -2, "code");
    }
    lua_pushlstring(L, message, len);
    lua_setfield(L, -2, "message");
    if (luaL_newmetatable(L, ERROR_METATABLE)) {
        lua_pushcfunction(L, error_tostring);
        lua_setfield(L, -2, "__tostring");
    }
    lua_setmetatable(L, -2);
}

int script_raise(lua_State *L, const char *name, const char *code, const char *format, ...)
{
    struct err text;
    va_list arguments;
    va_start(arguments, format);
    err_vset(&text, ERR_SCRIPT, format, arguments);
    va_end(arguments);
    luaL_where(L, 1);
    lua_pushstring(L, text.message);
    lua_concat(L, 2);
    size_t len = 0;
    const char *message = lua_tolstring(L, -1, &len);
    script_push_error(L, name, code, message, len);
    return lua_error(L);
}

int script_raise_err(lua_State *L, const struct err *err)
{
    return luaL_error(L, "%s", err->message);
}

void script_push_traceback(lua_State *L, lua_State *from, int level)
{
    struct buf trace;
    buf_init(&trace, TRACEBACK_MAX);
    write_traceback(&trace, from, level);
    char *copy = lua_newuserdatauv(L, trace.len + 1, 0); /* an anchor: pushing the string may raise */
    size_t len = trace.len;
    memcpy(copy, buf_text(&trace), len);
    buf_free(&trace);
    lua_pushlstring(L, copy, len);
    lua_remove(L, -2);
}
