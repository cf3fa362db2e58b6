/* workers.regex: regular expressions for scripts. Must not match anything itself: base/regex.c does.
 *
 * Positions are bytes counted from 1, as in Lua's string functions. What PCRE2 allocates comes from the Lua
 * state's own allocator, so it counts against the script's memory limit. */
#include "modules/modules.h"

#include "base/text.h"
#include "modules/regex_priv.h"
#include "script/budget.h"
#include "script/safelib.h"

#include <lauxlib.h>
#include <string.h>

#define COMPILED "workers.regex"
#define GENERATION 32 /* patterns in each half of the cache */
/* Bytes of a text that is remembered as checked: a shorter one is checked again, a longer one is not kept
 * from the garbage collector. */
#define REMEMBER_MIN 256
#define REMEMBER_MAX ((size_t)16 << 20)

/* Where the registry keeps the userdata that all functions share. */
static const char shared_key;
/* User values of the shared userdata. The cache has two halves, tables of compiled patterns by their text:
 * when the young one is full it becomes the old one, and what was in that and not used since is gone. */
enum { CACHE_YOUNG = 1, CACHE_OLD, CHECKED_TEXT, SHARED_VALUES = CHECKED_TEXT };

/* ---- the host of the engine ---- */

static void *host_resize(void *ctx, void *block, size_t old_size, size_t new_size)
{
    const struct regex_shared *shared = ctx;
    return shared->resize(shared->resize_data, block, old_size, new_size);
}

static bool host_stop(void *ctx)
{
    const struct regex_shared *shared = ctx;
    return budget_spent(shared->main);
}

static int shared_close(lua_State *L)
{
    struct regex_shared *shared = lua_touserdata(L, 1);
    regex_engine_free(shared->engine);
    shared->engine = NULL;
    return 0;
}

static int compiled_close(lua_State *L)
{
    struct regex_compiled *compiled = luaL_checkudata(L, 1, COMPILED);
    regex_free(compiled->regex);
    compiled->regex = NULL;
    return 0;
}

/* Pushes the shared userdata. */
static struct regex_shared *push_shared(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shared_key);
    return lua_touserdata(L, -1);
}

/* ---- compiling ---- */

static int raise_error(lua_State *L, const char *function, const struct err *err)
{
    return luaL_error(L, "regex.%s: %s", function, err->message);
}

/* Pushes a compiled pattern. */
static void push_compiled(lua_State *L, struct regex_shared *shared, const char *function,
                          const char *pattern, size_t len, unsigned flags)
{
    struct err err;
    struct regex_compiled *compiled = lua_newuserdatauv(L, sizeof *compiled, 1);
    compiled->regex = NULL;
    luaL_setmetatable(L, COMPILED);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shared_key);
    lua_setiuservalue(L, -2, 1);
    enum err_code code = regex_compile(shared->engine, pattern, len, flags, &compiled->regex, &err);
    if (code == ERR_NOMEM) {
        lua_gc(L, LUA_GCCOLLECT); /* frees patterns that nobody uses, whose size Lua does not know */
        code = regex_compile(shared->engine, pattern, len, flags, &compiled->regex, &err);
    }
    budget_tick(L);
    if (code != ERR_NONE)
        raise_error(L, function, &err);
}

/* Replaces the pattern text at index by what it compiles to, from the cache if it is there. The shared
 * userdata is on top of the stack. */
static void compile_cached(lua_State *L, struct regex_shared *shared, const char *function, int index)
{
    int shared_index = lua_gettop(L);
    size_t len;
    const char *pattern = lua_tolstring(L, index, &len);
    lua_getiuservalue(L, shared_index, CACHE_YOUNG);
    lua_pushvalue(L, index);
    if (lua_rawget(L, -2) == LUA_TNIL) {
        lua_getiuservalue(L, shared_index, CACHE_OLD);
        lua_pushvalue(L, index);
        if (lua_rawget(L, -2) == LUA_TNIL)
            push_compiled(L, shared, function, pattern, len, 0);
        if (shared->cached >= GENERATION) {
            lua_getiuservalue(L, shared_index, CACHE_YOUNG);
            lua_setiuservalue(L, shared_index, CACHE_OLD);
            lua_newtable(L);
            lua_setiuservalue(L, shared_index, CACHE_YOUNG);
            shared->cached = 0;
        }
        lua_getiuservalue(L, shared_index, CACHE_YOUNG);
        lua_pushvalue(L, index);
        lua_pushvalue(L, -3);
        lua_rawset(L, -3);
        lua_pop(L, 1);
        shared->cached++;
    }
    lua_replace(L, index);
    lua_settop(L, shared_index);
}

static int regex_lua_compile(lua_State *L)
{
    size_t len, flags_len = 0;
    unsigned flags;
    struct err err;
    if (lua_type(L, 1) != LUA_TSTRING)
        return luaL_error(L, "regex.compile: argument 1 (pattern): string expected, got %s",
                          luaL_typename(L, 1));
    if (!lua_isnoneornil(L, 2) && lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "regex.compile: argument 2 (flags): string expected, got %s",
                          luaL_typename(L, 2));
    const char *pattern = lua_tolstring(L, 1, &len);
    const char *letters = lua_isnoneornil(L, 2) ? "" : lua_tolstring(L, 2, &flags_len);
    if (regex_read_flags(letters, flags_len, &flags, &err) != ERR_NONE)
        return luaL_error(L, "regex.compile: argument 2 (flags): %s", err.message);
    push_compiled(L, push_shared(L), "compile", pattern, len, flags);
    return 1;
}

static int compiled_tostring(lua_State *L)
{
    size_t len;
    const struct regex_compiled *compiled = luaL_checkudata(L, 1, COMPILED);
    if (compiled->regex == NULL) {
        lua_pushliteral(L, "regex (closed)");
        return 1;
    }
    const char *pattern = regex_pattern(compiled->regex, &len);
    lua_pushliteral(L, "regex /");
    lua_pushlstring(L, pattern, len);
    lua_pushliteral(L, "/");
    lua_concat(L, 3);
    return 1;
}

/* ---- arguments ---- */

static struct regex *need_open(const struct regex_call *call)
{
    if (call->compiled->regex == NULL)
        luaL_error(call->L, "regex.%s: the compiled pattern is closed", call->function);
    return call->compiled->regex;
}

/* Whether the text is remembered as checked. The shared userdata is on top of the stack. */
static bool is_remembered(const struct regex_call *call)
{
    if (call->len < REMEMBER_MIN || call->len > REMEMBER_MAX)
        return false;
    lua_getiuservalue(call->L, -1, CHECKED_TEXT);
    bool same = lua_rawequal(call->L, -1, 1);
    lua_pop(call->L, 1);
    return same;
}

/* The text must be UTF-8. A long one that was checked by the last call is not checked again, so that a loop
 * over one text costs its length once. The shared userdata is on top of the stack. */
static void check_utf8(struct regex_call *call)
{
    lua_State *L = call->L;
    size_t bad = 0;
    bool ascii = call->shared->checked_ascii;
    if (!is_remembered(call)) {
        ascii = text_is_ascii(call->text, call->len);
        if (!ascii && !text_is_utf8(call->text, call->len, &bad))
            luaL_error(
                L,
                "regex.%s: argument 1 (text): UTF-8 expected, but byte %I starts no character; to search in "
                "bytes, compile the pattern with the flag \"b\"",
                call->function, (lua_Integer)bad + 1);
        budget_tick(L);
        if (call->len >= REMEMBER_MIN && call->len <= REMEMBER_MAX) {
            lua_pushvalue(L, 1);
            lua_setiuservalue(L, -2, CHECKED_TEXT);
            call->shared->checked_ascii = ascii;
        }
    }
    call->options = ascii ? REGEX_ASCII_TEXT : 0;
}

void regex_begin_call(lua_State *L, struct regex_call *call, const char *function)
{
    *call = (struct regex_call){.L = L, .function = function};
    if (lua_type(L, 1) != LUA_TSTRING)
        luaL_error(L, "regex.%s: argument 1 (text): string expected, got %s%s", function, luaL_typename(L, 1),
                   luaL_testudata(L, 1, COMPILED) != NULL ? "; the text comes first, then the pattern" : "");
    if (lua_type(L, 2) != LUA_TSTRING && luaL_testudata(L, 2, COMPILED) == NULL)
        luaL_error(L, "regex.%s: argument 2 (pattern): string or compiled pattern expected, got %s", function,
                   luaL_typename(L, 2));
    call->text = lua_tolstring(L, 1, &call->len);
    call->shared = push_shared(L);
    if (lua_type(L, 2) == LUA_TSTRING)
        compile_cached(L, call->shared, function, 2);
    call->compiled = lua_touserdata(L, 2);
    if (regex_needs_utf8(need_open(call)))
        check_utf8(call);
    lua_pop(L, 1);
}

/* Argument 3: where to begin, as an offset; false when that is behind the text. */
static bool read_init(const struct regex_call *call, size_t *start)
{
    lua_State *L = call->L;
    int is_integer = 0;
    *start = 0;
    if (lua_isnoneornil(L, 3))
        return true;
    lua_Integer init = lua_type(L, 3) == LUA_TNUMBER ? lua_tointegerx(L, 3, &is_integer) : 0;
    if (!is_integer)
        luaL_error(L, "regex.%s: argument 3 (init): integer expected, got %s", call->function,
                   luaL_tolstring(L, 3, NULL));
    lua_Integer len = (lua_Integer)call->len;
    if (init < 0)
        init = init < -len ? 1 : len + init + 1;
    if (init > len + 1)
        return false;
    *start = init > 0 ? (size_t)init - 1 : 0;
    if (regex_needs_utf8(call->compiled->regex) && *start < call->len &&
        ((unsigned char)call->text[*start] & 0xC0) == 0x80)
        luaL_error(L, "regex.%s: argument 3 (init): byte %I is inside a character", call->function, init);
    return true;
}

lua_Integer regex_read_limit(const struct regex_call *call, int index, lua_Integer least)
{
    lua_State *L = call->L;
    int is_integer = 0;
    if (lua_isnoneornil(L, index))
        return LUA_MAXINTEGER;
    lua_Integer limit = lua_type(L, index) == LUA_TNUMBER ? lua_tointegerx(L, index, &is_integer) : 0;
    if (!is_integer || limit < least)
        luaL_error(L, "regex.%s: argument %d (limit): integer of %I or more expected, got %s", call->function,
                   index, least, luaL_tolstring(L, index, NULL));
    return limit;
}

/* ---- matches ---- */

const struct regex_span *regex_next_match(const struct regex_call *call, size_t start, bool fresh)
{
    lua_State *L = call->L;
    const struct regex_span *spans;
    struct regex *regex = need_open(call);
    struct regex_engine *engine = call->shared->engine;
    unsigned options = call->options | (fresh ? REGEX_FRESH : 0);
    struct err err;
    enum err_code code = regex_search(engine, regex, call->text, call->len, start, options, &spans, &err);
    if (code == ERR_NOMEM) {
        lua_gc(L, LUA_GCCOLLECT);
        code = regex_search(engine, regex, call->text, call->len, start, options, &spans, &err);
    }
    if (code == ERR_CANCELLED)
        budget_tick(L);
    if (code != ERR_NONE)
        raise_error(L, call->function, &err);
    return spans;
}

/* Unset groups are false, so that the list has no holes. */
static void push_group(const struct regex_call *call, struct regex_span span)
{
    if (span.begin == REGEX_UNSET)
        lua_pushboolean(call->L, 0);
    else
        lua_pushlstring(call->L, call->text + span.begin, span.end - span.begin);
}

/* Pushes the table of named groups. Of groups with one name, the one that is set counts. */
static void push_named(const struct regex_call *call, const struct regex_span *spans)
{
    lua_State *L = call->L;
    const struct regex *regex = call->compiled->regex;
    uint32_t count = regex_names(regex), group;
    const char *previous = "";
    lua_createtable(L, 0, (int)count);
    for (uint32_t i = 0; i < count; i++) {
        const char *name = regex_name(regex, i, &group);
        if (spans[group].begin == REGEX_UNSET && strcmp(name, previous) == 0)
            continue;
        push_group(call, spans[group]);
        lua_setfield(L, -2, name);
        previous = name;
    }
}

void regex_push_match(const struct regex_call *call, const struct regex_span *spans)
{
    lua_State *L = call->L;
    const struct regex *regex = call->compiled->regex;
    uint32_t groups = regex_groups(regex);
    bool named = regex_names(regex) > 0;
    lua_createtable(L, (int)groups, named ? 4 : 3);
    for (uint32_t i = 0; i <= groups; i++) {
        push_group(call, spans[i]);
        lua_rawseti(L, -2, (lua_Integer)i);
    }
    lua_pushinteger(L, (lua_Integer)spans->begin + 1);
    lua_setfield(L, -2, "first");
    lua_pushinteger(L, (lua_Integer)spans->end);
    lua_setfield(L, -2, "last");
    if (named) {
        push_named(call, spans);
        lua_setfield(L, -2, "groups");
    }
}

/* ---- functions ---- */

static const struct regex_span *search_from_init(lua_State *L, struct regex_call *call, const char *function)
{
    size_t start;
    regex_begin_call(L, call, function);
    return read_init(call, &start) ? regex_next_match(call, start, false) : NULL;
}

static int regex_lua_test(lua_State *L)
{
    struct regex_call call;
    lua_pushboolean(L, search_from_init(L, &call, "test") != NULL);
    return 1;
}

static int regex_lua_match(lua_State *L)
{
    struct regex_call call;
    const struct regex_span *spans = search_from_init(L, &call, "match");
    if (spans == NULL)
        lua_pushnil(L);
    else
        regex_push_match(&call, spans);
    return 1;
}

static int regex_lua_find(lua_State *L)
{
    struct regex_call call;
    const struct regex_span *spans = search_from_init(L, &call, "find");
    if (spans == NULL) {
        lua_pushnil(L);
        return 1;
    }
    int groups = (int)regex_groups(call.compiled->regex);
    luaL_checkstack(L, groups + 2, "too many groups");
    lua_pushinteger(L, (lua_Integer)spans->begin + 1);
    lua_pushinteger(L, (lua_Integer)spans->end);
    for (int i = 1; i <= groups; i++)
        push_group(&call, spans[i]);
    return groups + 2;
}

/* Upvalues: text, compiled pattern, offset to go on from (-1 at the end), whether the last match was empty,
 * options of every search. */
static int matches_next(lua_State *L)
{
    size_t len;
    lua_Integer start = lua_tointeger(L, lua_upvalueindex(3));
    if (start < 0)
        return 0;
    const char *text = lua_tolstring(L, lua_upvalueindex(1), &len);
    const struct regex_call call = {.L = L,
                                    .function = "matches",
                                    .shared = push_shared(L),
                                    .compiled = lua_touserdata(L, lua_upvalueindex(2)),
                                    .text = text,
                                    .len = len,
                                    .options = (unsigned)lua_tointeger(L, lua_upvalueindex(5))};
    const struct regex_span *spans =
        regex_next_match(&call, (size_t)start, lua_toboolean(L, lua_upvalueindex(4)));
    lua_pushinteger(L, spans != NULL ? (lua_Integer)spans->end : -1);
    lua_replace(L, lua_upvalueindex(3));
    if (spans == NULL)
        return 0;
    lua_pushboolean(L, spans->begin == spans->end);
    lua_replace(L, lua_upvalueindex(4));
    regex_push_match(&call, spans);
    return 1;
}

static int regex_lua_matches(lua_State *L)
{
    struct regex_call call;
    regex_begin_call(L, &call, "matches");
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushboolean(L, 0);
    lua_pushinteger(L, (lua_Integer)call.options);
    lua_pushcclosure(L, matches_next, 5);
    return 1;
}

static int regex_lua_split(lua_State *L)
{
    struct regex_call call;
    struct meter meter;
    regex_begin_call(L, &call, "split");
    lua_Integer limit = regex_read_limit(&call, 3, 1), count = 0;
    size_t piece = 0; /* where it begins */
    meter_start(&meter, L);
    lua_newtable(L);
    while (count + 1 < limit) {
        /* An empty match separates only what has something on both sides. */
        const struct regex_span *spans = regex_next_match(&call, piece, true);
        if (spans == NULL || (spans->begin == spans->end && spans->end == call.len))
            break;
        lua_pushlstring(L, call.text + piece, spans->begin - piece);
        lua_rawseti(L, -2, ++count);
        meter_spend(&meter, 1 + (spans->end - piece) / BYTES_PER_STEP);
        piece = spans->end;
    }
    lua_pushlstring(L, call.text + piece, call.len - piece);
    lua_rawseti(L, -2, ++count);
    return 1;
}

static int regex_lua_escape(lua_State *L)
{
    size_t len;
    struct meter meter;
    luaL_Buffer out;
    if (lua_type(L, 1) != LUA_TSTRING)
        return luaL_error(L, "regex.escape: argument 1 (text): string expected, got %s", luaL_typename(L, 1));
    const char *text = lua_tolstring(L, 1, &len);
    meter_start(&meter, L);
    luaL_buffinit(L, &out);
    for (size_t i = 0; i < len; i++) {
        /* '#' and blanks mean something with the flag x, '-' in a class. */
        if (text[i] != '\0' && strchr("\\^$.|?*+()[]{}-# \t\n\v\f\r", text[i]) != NULL)
            luaL_addchar(&out, '\\');
        luaL_addchar(&out, text[i]);
        meter_spend(&meter, 1);
    }
    luaL_pushresult(&out);
    return 1;
}

/* ---- registration ---- */

static const struct script_function functions[] = {
    {"compile", regex_lua_compile, "(pattern: string, flags?: string): workers.Regex",
     "a compiled pattern; flags are letters: i m s x a b"},
    {"escape", regex_lua_escape, "(text: string): string", "a pattern that matches exactly this text"},
    {"find", regex_lua_find,
     "(text: string, pattern: string|workers.Regex, init?: integer): integer?, integer?, ...",
     "first and last byte of the first match and its groups, or nil"},
    {"match", regex_lua_match,
     "(text: string, pattern: string|workers.Regex, init?: integer): workers.RegexMatch?",
     "the first match, or nil"},
    {"matches", regex_lua_matches,
     "(text: string, pattern: string|workers.Regex): fun(): workers.RegexMatch?",
     "an iterator over all matches"},
    {"replace", regex_lua_replace,
     "(text: string, pattern: string|workers.Regex, "
     "replacement: string|(fun(match: workers.RegexMatch): string?), limit?: integer): string, integer",
     "the text with matches replaced, and how many there were"},
    {"split", regex_lua_split, "(text: string, pattern: string|workers.Regex, limit?: integer): string[]",
     "the pieces of the text between matches, limit pieces at most"},
    {"test", regex_lua_test, "(text: string, pattern: string|workers.Regex, init?: integer): boolean",
     "whether the pattern matches anywhere in the text"},
    {NULL, NULL, NULL, NULL},
};

static const char types[] =
    "---@class workers.Regex: userdata\n"
    "---@class workers.RegexMatch\n"
    "---@field [integer] string|false 0: the whole match; 1 and up: groups, false when unset\n"
    "---@field first integer first byte\n"
    "---@field last integer last byte\n"
    "---@field groups? table<string, string|false> groups that have a name\n";

const struct script_docs regex_docs = {"Regular expressions", functions, types};

int luaopen_workers_regex(lua_State *L)
{
    static const luaL_Reg methods[] = {{"__gc", compiled_close},
                                       {"__close", compiled_close},
                                       {"__tostring", compiled_tostring},
                                       {NULL, NULL}};
    struct err err;
    luaL_newmetatable(L, COMPILED);
    luaL_setfuncs(L, methods, 0);
    lua_pop(L, 1);

    struct regex_shared *shared = lua_newuserdatauv(L, sizeof *shared, SHARED_VALUES);
    *shared = (struct regex_shared){0};
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, shared_close);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    shared->resize = lua_getallocf(L, &shared->resize_data);
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    shared->main = lua_tothread(L, -1);
    lua_pop(L, 1);
    for (int i = CACHE_YOUNG; i <= CACHE_OLD; i++) {
        lua_newtable(L);
        lua_setiuservalue(L, -2, i);
    }
    shared->host = (struct regex_host){.ctx = shared, .resize = host_resize, .stop = host_stop};
    if (regex_engine_new(&shared->host, &shared->engine, &err) != ERR_NONE)
        return luaL_error(L, "workers.regex: %s", err.message);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &shared_key);
    functions_push(L, functions);
    return 1;
}
