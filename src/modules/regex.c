/* workers.regex: regular expressions for scripts. Must not match anything itself: base/regex.c does.
 *
 * Positions are bytes counted from 1, as in Lua's string functions. What PCRE2 allocates comes from the Lua
 * state's own allocator, so it counts against the script's memory limit. */
#include "modules/modules.h"

#include "base/regex.h"
#include "base/text.h"
#include "script/budget.h"
#include "script/safelib.h"

#include <lauxlib.h>
#include <string.h>

#define COMPILED "workers.regex"
#define GENERATION 32     /* patterns in each half of the cache */
/* Bytes of a text that is remembered as checked: a shorter one is checked again, a longer one is not kept from
 * the garbage collector. */
#define REMEMBER_MIN 256
#define REMEMBER_MAX ((size_t)16 << 20)
#define BYTES_PER_STEP 64

/* What all functions of an isolate share: a userdata in the registry, under the address of the key. */
struct shared {
    struct regex_host host;
    lua_Alloc resize;
    void *resize_data;
    lua_State *main;
    struct regex_engine *engine;
    int cached; /* patterns in the young half of the cache */
};
static const char shared_key;
/* User values of the shared userdata. The cache has two halves, tables of compiled patterns by their text:
 * when the young one is full it becomes the old one, and what was in that and not used since is gone. */
enum { CACHE_YOUNG = 1, CACHE_OLD, CHECKED_TEXT, SHARED_VALUES = CHECKED_TEXT };

/* A compiled pattern. Its user value is the shared userdata, which it needs to be freed. */
struct compiled {
    struct regex *regex; /* NULL when closed */
};

/* The arguments that most functions begin with. Lives on the C stack. */
struct call {
    lua_State *L;
    const char *function;
    struct shared *shared;
    const struct compiled *compiled;
    const char *text;
    size_t len;
};

/* ---- the host of the engine ---- */

static void *host_resize(void *ctx, void *block, size_t old_size, size_t new_size)
{
    const struct shared *shared = ctx;
    return shared->resize(shared->resize_data, block, old_size, new_size);
}

static bool host_stop(void *ctx)
{
    const struct shared *shared = ctx;
    return budget_spent(shared->main);
}

static int shared_close(lua_State *L)
{
    struct shared *shared = lua_touserdata(L, 1);
    regex_engine_free(shared->engine);
    shared->engine = NULL;
    return 0;
}

static int compiled_close(lua_State *L)
{
    struct compiled *compiled = luaL_checkudata(L, 1, COMPILED);
    regex_free(compiled->regex);
    compiled->regex = NULL;
    return 0;
}

/* Pushes the shared userdata. */
static struct shared *push_shared(lua_State *L)
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
static void push_compiled(lua_State *L, struct shared *shared, const char *function, const char *pattern,
                          size_t len, unsigned flags)
{
    struct err err;
    struct compiled *compiled = lua_newuserdatauv(L, sizeof *compiled, 1);
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
static void compile_cached(lua_State *L, struct shared *shared, const char *function, int index)
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
        return luaL_error(L, "regex.compile: argument 1 (pattern): string expected, got %s", luaL_typename(L, 1));
    if (!lua_isnoneornil(L, 2) && lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "regex.compile: argument 2 (flags): string expected, got %s", luaL_typename(L, 2));
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
    const struct compiled *compiled = luaL_checkudata(L, 1, COMPILED);
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

static const struct regex *need_open(const struct call *call)
{
    if (call->compiled->regex == NULL)
        luaL_error(call->L, "regex.%s: the compiled pattern is closed", call->function);
    return call->compiled->regex;
}

/* The text must be UTF-8. A long one that was checked by the last call is not checked again, so that a loop
 * over one text costs its length once. The shared userdata is on top of the stack. */
static void check_utf8(struct call *call)
{
    lua_State *L = call->L;
    size_t bad = 0;
    bool remember = call->len >= REMEMBER_MIN && call->len <= REMEMBER_MAX;
    if (remember) {
        lua_getiuservalue(L, -1, CHECKED_TEXT);
        bool checked = lua_rawequal(L, -1, 1);
        lua_pop(L, 1);
        if (checked)
            return;
    }
    if (!text_is_utf8(call->text, call->len, &bad))
        luaL_error(L,
                   "regex.%s: argument 1 (text): UTF-8 expected, but byte %I starts no character; to search in "
                   "bytes, compile the pattern with the flag \"b\"",
                   call->function, (lua_Integer)bad + 1);
    budget_tick(L);
    if (remember) {
        lua_pushvalue(L, 1);
        lua_setiuservalue(L, -2, CHECKED_TEXT);
    }
}

/* Reads text and pattern, the arguments 1 and 2, of which the latter is replaced by a compiled one. */
static void begin(lua_State *L, struct call *call, const char *function)
{
    *call = (struct call){.L = L, .function = function};
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
static bool read_init(const struct call *call, size_t *start)
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

/* Argument index: how many at most. */
static lua_Integer read_limit(const struct call *call, int index, lua_Integer least)
{
    lua_State *L = call->L;
    int is_integer = 0;
    if (lua_isnoneornil(L, index))
        return LUA_MAXINTEGER;
    lua_Integer limit = lua_type(L, index) == LUA_TNUMBER ? lua_tointegerx(L, index, &is_integer) : 0;
    if (!is_integer || limit < least)
        luaL_error(L, "regex.%s: argument %d (limit): integer of %I or more expected, got %s", call->function, index,
                   least, luaL_tolstring(L, index, NULL));
    return limit;
}

/* ---- matches ---- */

/* The next match, NULL when there is none. fresh: not an empty one at start. */
static const struct regex_span *search(const struct call *call, size_t start, bool fresh)
{
    lua_State *L = call->L;
    const struct regex_span *spans;
    const struct regex *regex = need_open(call);
    struct err err;
    enum err_code code =
        regex_search(call->shared->engine, regex, call->text, call->len, start, fresh, &spans, &err);
    if (code == ERR_NOMEM) {
        lua_gc(L, LUA_GCCOLLECT);
        code = regex_search(call->shared->engine, regex, call->text, call->len, start, fresh, &spans, &err);
    }
    if (code == ERR_CANCELLED)
        budget_tick(L);
    if (code != ERR_NONE)
        raise_error(L, call->function, &err);
    return spans;
}

/* Unset groups are false, so that the list has no holes. */
static void push_group(const struct call *call, struct regex_span span)
{
    if (span.begin == REGEX_UNSET)
        lua_pushboolean(call->L, 0);
    else
        lua_pushlstring(call->L, call->text + span.begin, span.end - span.begin);
}

/* Pushes the table of named groups. Of groups with one name, the one that is set counts. */
static void push_named(const struct call *call, const struct regex_span *spans)
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

/* Pushes the table that describes a match. */
static void push_match(const struct call *call, const struct regex_span *spans)
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

static const struct regex_span *search_from_init(lua_State *L, struct call *call, const char *function)
{
    size_t start;
    begin(L, call, function);
    return read_init(call, &start) ? search(call, start, false) : NULL;
}

static int regex_lua_test(lua_State *L)
{
    struct call call;
    lua_pushboolean(L, search_from_init(L, &call, "test") != NULL);
    return 1;
}

static int regex_lua_match(lua_State *L)
{
    struct call call;
    const struct regex_span *spans = search_from_init(L, &call, "match");
    if (spans == NULL)
        lua_pushnil(L);
    else
        push_match(&call, spans);
    return 1;
}

static int regex_lua_find(lua_State *L)
{
    struct call call;
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

/* Upvalues: text, compiled pattern, offset to go on from (-1 at the end), whether the last match was empty. */
static int matches_next(lua_State *L)
{
    size_t len;
    lua_Integer start = lua_tointeger(L, lua_upvalueindex(3));
    if (start < 0)
        return 0;
    const char *text = lua_tolstring(L, lua_upvalueindex(1), &len);
    const struct call call = {.L = L,
                              .function = "matches",
                              .shared = push_shared(L),
                              .compiled = lua_touserdata(L, lua_upvalueindex(2)),
                              .text = text,
                              .len = len};
    const struct regex_span *spans = search(&call, (size_t)start, lua_toboolean(L, lua_upvalueindex(4)));
    lua_pushinteger(L, spans != NULL ? (lua_Integer)spans->end : -1);
    lua_replace(L, lua_upvalueindex(3));
    if (spans == NULL)
        return 0;
    lua_pushboolean(L, spans->begin == spans->end);
    lua_replace(L, lua_upvalueindex(4));
    push_match(&call, spans);
    return 1;
}

static int regex_lua_matches(lua_State *L)
{
    struct call call;
    begin(L, &call, "matches");
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushboolean(L, 0);
    lua_pushcclosure(L, matches_next, 4);
    return 1;
}

static int regex_lua_split(lua_State *L)
{
    struct call call;
    struct meter meter;
    begin(L, &call, "split");
    lua_Integer limit = read_limit(&call, 3, 1), count = 0;
    size_t piece = 0; /* where it begins */
    meter_start(&meter, L);
    lua_newtable(L);
    while (count + 1 < limit) {
        /* An empty match separates only what has something on both sides. */
        const struct regex_span *spans = search(&call, piece, true);
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

/* ---- replace ---- */

/* A part of a replacement: bytes as they are, or a group of the match by number or name. */
struct part {
    const char *text; /* or the name */
    size_t len;
    enum { PART_TEXT, PART_GROUP, PART_NAME } kind;
    uint32_t group;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A number of up to three digits; 0 bytes when there is none. */
static size_t read_group(const char *p, const char *end, uint32_t *group)
{
    size_t len = 0;
    *group = 0;
    while (len < 3 && p + len < end && is_digit(p[len]))
        *group = *group * 10 + (uint32_t)(p[len++] - '0');
    return len;
}

/* Reads the part that begins with a dollar sign at p and returns where it ends, NULL when it is none. */
static const char *read_reference(const char *p, const char *end, struct part *part)
{
    if (p + 1 < end && p[1] == '$') {
        *part = (struct part){.text = p, .len = 1, .kind = PART_TEXT};
        return p + 2;
    }
    bool braces = p + 1 < end && p[1] == '{';
    const char *begins = p + (braces ? 2 : 1);
    *part = (struct part){.kind = PART_GROUP};
    size_t len = read_group(begins, end, &part->group);
    if (!braces)
        return len > 0 ? begins + len : NULL;
    const char *close = memchr(begins, '}', (size_t)(end - begins));
    if (close == NULL || close == begins)
        return NULL;
    if (begins + len != close)
        *part = (struct part){.text = begins, .len = (size_t)(close - begins), .kind = PART_NAME};
    return close + 1;
}

static const char *next_part(const char *p, const char *end, struct part *part)
{
    if (*p == '$')
        return read_reference(p, end, part);
    const char *dollar = memchr(p, '$', (size_t)(end - p));
    const char *stop = dollar != NULL ? dollar : end;
    *part = (struct part){.text = p, .len = (size_t)(stop - p), .kind = PART_TEXT};
    return stop;
}

/* The group with this name; of several, the one that is set if spans says so. False when there is none. */
static bool find_name(const struct regex *regex, const char *name, size_t len, const struct regex_span *spans,
                      uint32_t *group)
{
    bool found = false;
    for (uint32_t i = 0; i < regex_names(regex); i++) {
        uint32_t candidate;
        const char *other = regex_name(regex, i, &candidate);
        if (strlen(other) != len || memcmp(other, name, len) != 0)
            continue;
        if (!found || (spans != NULL && spans[*group].begin == REGEX_UNSET))
            *group = candidate;
        found = true;
    }
    return found;
}

/* Raises when the replacement refers to what the pattern does not have. */
static void check_replacement(const struct call *call, const char *text, size_t len)
{
    lua_State *L = call->L;
    const struct regex *regex = call->compiled->regex;
    const char *end = text + len;
    struct meter meter;
    meter_start(&meter, L);
    for (const char *p = text; p < end;) {
        struct part part;
        const char *next = next_part(p, end, &part);
        if (next == NULL)
            luaL_error(L,
                       "regex.replace: argument 3 (replacement): the $ at byte %I refers to no group; write $1, "
                       "${name}, or $$ for a dollar sign",
                       (lua_Integer)(p - text) + 1);
        if (part.kind == PART_GROUP && part.group > regex_groups(regex))
            luaL_error(L,
                       "regex.replace: argument 3 (replacement): there is no group %d; the pattern has %d (for "
                       "group 1 with a digit behind it, write ${1}0)",
                       (int)part.group, (int)regex_groups(regex));
        if (part.kind == PART_NAME && !find_name(regex, part.text, part.len, NULL, &part.group)) {
            lua_pushlstring(L, part.text, part.len);
            luaL_error(L, "regex.replace: argument 3 (replacement): there is no group named \"%s\" in the pattern",
                       lua_tostring(L, -1));
        }
        meter_spend(&meter, 1 + regex_names(regex));
        p = next;
    }
}

static void add_replacement(const struct call *call, luaL_Buffer *out, struct meter *meter,
                            const struct regex_span *spans)
{
    size_t len;
    const char *p = lua_tolstring(call->L, 3, &len);
    const struct regex *regex = call->compiled->regex;
    for (const char *end = p + len; p < end;) {
        struct part part;
        p = next_part(p, end, &part);
        if (part.kind == PART_NAME)
            find_name(regex, part.text, part.len, spans, &part.group);
        if (part.kind != PART_TEXT) {
            struct regex_span span = spans[part.group];
            part.text = call->text + span.begin;
            part.len = span.begin == REGEX_UNSET ? 0 : span.end - span.begin;
        }
        if (part.len > 0)
            luaL_addlstring(out, part.text, part.len);
        meter_spend(meter, 1 + part.len / BYTES_PER_STEP);
    }
}

/* Calls the function at index 3 with the match, and adds what it returns; false when that is to keep. */
static bool add_result(const struct call *call, luaL_Buffer *out, const struct regex_span *spans)
{
    lua_State *L = call->L;
    lua_pushvalue(L, 3);
    push_match(call, spans);
    lua_call(L, 1, 1);
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "regex.replace: the function must return a string, or nil to keep the text; got %s",
                   luaL_typename(L, -1));
    luaL_addvalue(out);
    return true;
}

static int regex_lua_replace(lua_State *L)
{
    struct call call;
    struct meter meter;
    luaL_Buffer out;
    begin(L, &call, "replace");
    int kind = lua_type(L, 3);
    if (kind != LUA_TSTRING && kind != LUA_TFUNCTION)
        return luaL_error(L, "regex.replace: argument 3 (replacement): string or function expected, got %s",
                          luaL_typename(L, 3));
    lua_Integer limit = read_limit(&call, 4, 0), count = 0;
    if (kind == LUA_TSTRING)
        check_replacement(&call, lua_tostring(L, 3), lua_rawlen(L, 3));
    meter_start(&meter, L);
    luaL_buffinit(L, &out);
    size_t kept = 0; /* from here on the text is not in the buffer yet */
    size_t next = 0;
    bool fresh = false, changed = false;
    while (count < limit) {
        const struct regex_span *spans = search(&call, next, fresh);
        if (spans == NULL)
            break;
        struct regex_span whole = *spans; /* a function may search too */
        luaL_addlstring(&out, call.text + kept, whole.begin - kept);
        meter_spend(&meter, 1 + (whole.end - kept) / BYTES_PER_STEP);
        kept = whole.begin;
        bool replaced = true;
        if (kind == LUA_TSTRING)
            add_replacement(&call, &out, &meter, spans);
        else
            replaced = add_result(&call, &out, spans);
        if (replaced) {
            kept = whole.end;
            changed = true;
        }
        next = whole.end;
        fresh = whole.begin == whole.end;
        count++;
    }
    if (changed) {
        luaL_addlstring(&out, call.text + kept, call.len - kept);
        luaL_pushresult(&out);
    } else {
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, count);
    return 2;
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
     "replacement: string|fun(match: workers.RegexMatch): string?, limit?: integer): string, integer",
     "the text with matches replaced, and how many there were"},
    {"split", regex_lua_split,
     "(text: string, pattern: string|workers.Regex, limit?: integer): string[]",
     "the pieces of the text between matches, limit pieces at most"},
    {"test", regex_lua_test, "(text: string, pattern: string|workers.Regex, init?: integer): boolean",
     "whether the pattern matches anywhere in the text"},
    {NULL, NULL, NULL, NULL},
};

static const char types[] = "---@class workers.Regex: userdata\n"
                            "---@class workers.RegexMatch\n"
                            "---@field [integer] string|false 0: the whole match; 1 and up: groups, false when unset\n"
                            "---@field first integer first byte\n"
                            "---@field last integer last byte\n"
                            "---@field groups? table<string, string|false> groups that have a name\n";

const struct script_docs regex_docs = {"Regular expressions", functions, types};

int luaopen_workers_regex(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"__gc", compiled_close}, {"__close", compiled_close}, {"__tostring", compiled_tostring}, {NULL, NULL}};
    struct err err;
    luaL_newmetatable(L, COMPILED);
    luaL_setfuncs(L, methods, 0);
    lua_pop(L, 1);

    struct shared *shared = lua_newuserdatauv(L, sizeof *shared, SHARED_VALUES);
    *shared = (struct shared){0};
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
