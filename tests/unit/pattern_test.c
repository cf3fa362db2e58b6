/* The bounded string and table functions against Lua's own, case by case at random, and against hostile
 * scripts.
 *
 * Two states run the same calls: one as Lua ships it, one with safelib_install. Options: --cases N (pattern
 * cases),
 * --seed S, --bench (times against Lua's own instead of testing). The seed is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>

#include "script/safelib.h"

/* ---- the stub: counts, and raises once the allowance is used up ---- */

static unsigned long ticks, tick_limit;

void budget_tick(lua_State *L)
{
    if (++ticks >= tick_limit)
        luaL_error(L, "stopped by the stub");
}

static void allow_ticks(unsigned long limit)
{
    ticks = 0;
    tick_limit = limit;
}

/* ---- states ---- */

enum { MEMORY_LIMIT = 96 << 20 };

static size_t memory_used[2];

static void *limited_alloc(void *data, void *block, size_t old_size, size_t size)
{
    size_t *used = data;
    if (block == NULL)
        old_size = 0; /* it is a type tag */
    if (size == 0) {
        free(block);
        *used -= old_size;
        return NULL;
    }
    if (*used - old_size + size > MEMORY_LIMIT)
        return NULL;
    void *result = realloc(block, size);
    if (result != NULL)
        *used = *used - old_size + size;
    return result;
}

static lua_State *new_state(bool bounded)
{
    lua_State *L = lua_newstate(limited_alloc, &memory_used[bounded]);
    assert_non_null(L);
    luaL_openlibs(L);
    if (bounded)
        safelib_install(L);
    return L;
}

static void close_state(lua_State *L, bool bounded)
{
    lua_close(L);
    assert_int_equal(memory_used[bounded], 0);
}

/* Runs a chunk; false with a message on the stack if it failed, else true with its first result. */
static bool run(lua_State *L, const char *chunk)
{
    lua_settop(L, 0);
    if (luaL_loadstring(L, chunk) != LUA_OK)
        fail_msg("bad chunk: %s", lua_tostring(L, -1));
    return lua_pcall(L, 0, 1, 0) == LUA_OK;
}

/* ---- random cases ---- */

static uint64_t seed = 0x5eed, random_state;
static unsigned long case_count = 200000;

static unsigned below(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)((random_state * 0x2545F4914F6CDD1DULL) >> 33) % n;
}

struct text {
    char bytes[2048];
    size_t len;
};

static void add(struct text *text, const char *bytes, size_t len)
{
    assert_true(text->len + len <= sizeof text->bytes);
    memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
}

static void add_one_of(struct text *text, const char *const *choices, unsigned n)
{
    const char *choice = choices[below(n)];
    add(text, choice, strlen(choice));
}

#define ONE_OF(text, ...)                                                                                    \
    add_one_of(text, (const char *const[]){__VA_ARGS__},                                                     \
               sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void random_subject(struct text *text)
{
    text->len = 0;
    for (unsigned n = below(below(20) == 0 ? 300 : 24); n > 0; n--) {
        if (below(30) == 0)
            add(text, (char[]){(char)below(256)}, 1);
        else
            ONE_OF(text, "a", "a", "b", "c", "(", ")", " ", "1", "2", "A", "-", "]", "^", "_", "%", "\xe9");
    }
}

static void random_set(struct text *text)
{
    ONE_OF(text, "[", "[", "[", "[^");
    for (unsigned n = 1 + below(4); n > 0; n--)
        ONE_OF(text, "a", "b", "]", "-", "^", "a-c", "0-9", "%w", "%s", "%]", "%%", "%A", "z-a", "%-",
               "\x80-\xff", "%");
    if (below(25) != 0)
        add(text, "]", 1);
}

static void random_pattern(struct text *text)
{
    text->len = 0;
    unsigned open = 0;
    if (below(6) == 0)
        add(text, "^", 1);
    if (below(400) == 0) {
        /* Depth and number of captures have limits of their own. */
        bool captures = below(2) == 0;
        for (unsigned n = 25 + below(captures ? 12 : 230); n > 0; n--)
            ONE_OF(text, captures ? "(" : "a?", captures ? "()" : "a?");
    }
    for (unsigned n = below(6); n > 0; n--) {
        switch (below(16)) {
        case 0:
            add(text, "(", 1);
            open++;
            continue;
        case 1:
            ONE_OF(text, "()", "(.)", "(a*)", "(%w+)");
            continue;
        case 2:
            if (open > 0 || below(20) == 0) {
                add(text, ")", 1);
                open -= open > 0;
            }
            continue;
        case 3:
            ONE_OF(text, "%1", "%1", "%2", "%3", "%0", "%9");
            continue;
        case 4:
            ONE_OF(text, "%b()", "%b()", "%baa", "%bab", "%b", "%bx");
            continue;
        case 5:
            add(text, "%f", 2);
            if (below(20) != 0)
                random_set(text);
            continue;
        case 6:
        case 7:
            random_set(text);
            break;
        case 8:
        case 9:
            ONE_OF(text, "%a", "%c", "%d", "%g", "%l", "%p", "%s", "%u", "%w", "%x", "%z", "%A", "%C", "%D",
                   "%G", "%L", "%P", "%S", "%U", "%W", "%X", "%Z", "%.", "%%", "%(", "%-", "%k", "%");
            break;
        case 10:
            add(text, (char[]){(char)below(256)}, 1);
            break;
        case 11:
            ONE_OF(text, "$", "^", "*", "-", "]", "-");
            break;
        default:
            ONE_OF(text, ".", "a", "a", "b", "1", " ", ".");
        }
        ONE_OF(text, "", "", "", "*", "+", "-", "?");
    }
    while (open-- > 0) {
        if (below(8) != 0)
            add(text, ")", 1);
    }
    if (below(6) == 0)
        add(text, "$", 1);
}

static void random_replacement(struct text *text)
{
    text->len = 0;
    for (unsigned n = below(5); n > 0; n--) {
        if (below(40) == 0)
            ONE_OF(text, "%", "%x", "%3", "%9");
        else
            ONE_OF(text, "x", "%0", "%1", "%1", "%2", "%%", "<", ">");
    }
}

/* Callbacks and tables that replacements use; the same in both states. */
static const char *const replacements =
    "return { {}, {a='X', b=false, c=1, ['']='E', [1]='one', [2]=2.5}, "
    "setmetatable({}, {__index=function(_, k) return k .. '!' end}), {a={}, b=true}, "
    "function(...) return select('#', ...) end, function(a) return '<' .. tostring(a) .. '>' end, "
    "function() end, function(a) return a ~= 'a' and 'q' end, function(a) if a == 'b' then error('no b') end "
    "end, "
    "function(a) return {} end, string.len, function(a, b) return b end }";

enum { REPLACEMENTS = 12 };

struct call {
    const char *function;
    struct text subject, pattern, replacement;
    int replacement_kind; /* index into the table above, 0: the text, -1: missing or of a wrong type */
    lua_Integer number;
    int number_kind; /* 0 none, 1 number, 2 number and true, 3 wrong type */
};

static lua_Integer random_number(void)
{
    static const lua_Integer odd[] = {LUA_MININTEGER, LUA_MAXINTEGER, -1000, 1000, 0};
    return below(12) == 0 ? odd[below(5)] : (lua_Integer)below(30) - 12;
}

static void random_call(struct call *call)
{
    static const char *const functions[] = {"find", "match", "gmatch", "gsub"};
    call->function = functions[below(4)];
    random_subject(&call->subject);
    random_pattern(&call->pattern);
    random_replacement(&call->replacement);
    call->replacement_kind = below(60) == 0 ? -1 : (int)below(2) * (int)(1 + below(REPLACEMENTS));
    call->number = random_number();
    call->number_kind = below(100) == 0 ? 3 : (int)below(3);
}

/* Runs the call; its results (or its error) are what is on the stack afterwards. For gmatch they are all that
 * the first steps of the iterator give, an error ending them. */
static bool perform(lua_State *L, const struct call *call)
{
    lua_settop(L, 1); /* the replacements */
    lua_getglobal(L, "string");
    lua_getfield(L, -1, call->function);
    lua_remove(L, -2);
    lua_pushlstring(L, call->subject.bytes, call->subject.len);
    lua_pushlstring(L, call->pattern.bytes, call->pattern.len);
    int nargs = 2;
    if (strcmp(call->function, "gsub") == 0) {
        if (call->replacement_kind > 0)
            lua_geti(L, 1, call->replacement_kind);
        else if (call->replacement_kind == 0)
            lua_pushlstring(L, call->replacement.bytes, call->replacement.len);
        else
            lua_pushboolean(L, 1);
        nargs++;
    }
    if (call->number_kind == 3)
        lua_pushliteral(L, "one");
    else if (call->number_kind > 0)
        lua_pushinteger(L, call->number);
    nargs += call->number_kind > 0;
    if (call->number_kind == 2) {
        lua_pushboolean(L, 1);
        nargs++;
    }
    bool ok = lua_pcall(L, nargs, LUA_MULTRET, 0) == LUA_OK;
    if (!ok || strcmp(call->function, "gmatch") != 0)
        return ok;
    luaL_checkstack(L, 2000, "results");
    for (int step = 0; step < 40; step++) {
        int top = lua_gettop(L);
        lua_pushvalue(L, 2);
        ok = lua_pcall(L, 0, LUA_MULTRET, 0) == LUA_OK;
        if (!ok || lua_gettop(L) == top)
            break;
    }
    lua_remove(L, 2);
    return ok;
}

static bool same_value(lua_State *a, lua_State *b, int i)
{
    if (lua_type(a, i) != lua_type(b, i))
        return false;
    switch (lua_type(a, i)) {
    case LUA_TSTRING: {
        size_t alen, blen;
        const char *as = lua_tolstring(a, i, &alen), *bs = lua_tolstring(b, i, &blen);
        return alen == blen && memcmp(as, bs, alen) == 0;
    }
    case LUA_TNUMBER:
        return lua_isinteger(a, i) == lua_isinteger(b, i) && lua_tointeger(a, i) == lua_tointeger(b, i) &&
               lua_tonumber(a, i) == lua_tonumber(b, i);
    case LUA_TBOOLEAN:
        return lua_toboolean(a, i) == lua_toboolean(b, i);
    default:
        return lua_type(a, i) == LUA_TNIL;
    }
}

static void print_bytes(const char *name, const struct text *text)
{
    fprintf(stderr, "%s: \"", name);
    for (size_t i = 0; i < text->len; i++)
        fprintf(stderr, text->bytes[i] >= ' ' && text->bytes[i] <= '~' ? "%c" : "\\x%02x",
                (unsigned char)text->bytes[i]);
    fprintf(stderr, "\"\n");
}

static void fail_case(unsigned long number, const struct call *call, lua_State *ours, lua_State *stock)
{
    fprintf(stderr, "case %lu of seed %llu: string.%s, number %lld (kind %d), replacement %d\n", number,
            (unsigned long long)seed, call->function, (long long)call->number, call->number_kind,
            call->replacement_kind);
    print_bytes("subject", &call->subject);
    print_bytes("pattern", &call->pattern);
    print_bytes("replacement", &call->replacement);
    int tops[] = {lua_gettop(ours), lua_gettop(stock)};
    for (int i = 2; i <= tops[0] || i <= tops[1]; i++)
        fprintf(stderr, "  ours: %s, Lua's: %s\n", i <= tops[0] ? luaL_tolstring(ours, i, NULL) : "nothing",
                i <= tops[1] ? luaL_tolstring(stock, i, NULL) : "nothing");
    fail_msg("results differ");
}

static void test_patterns_match_luas(void **unused)
{
    (void)unused;
    lua_State *ours = new_state(true), *stock = new_state(false);
    assert_true(run(ours, replacements) && run(stock, replacements));
    unsigned long cut = 0, errors = 0, found = 0;
    random_state = seed * 2 + 1;
    for (unsigned long i = 0; i < case_count; i++) {
        static struct call call;
        random_call(&call);
        allow_ticks(100);
        bool ok = perform(ours, &call);
        if (ticks >= tick_limit) { /* Lua's own would take its time over this one */
            assert_false(ok);
            assert_string_equal(lua_tostring(ours, -1), "stopped by the stub");
            cut++;
            continue;
        }
        if (perform(stock, &call) != ok || lua_gettop(ours) != lua_gettop(stock))
            fail_case(i, &call, ours, stock);
        for (int j = 2; j <= lua_gettop(ours); j++) {
            if (!same_value(ours, stock, j))
                fail_case(i, &call, ours, stock);
        }
        errors += !ok;
        found += ok && lua_gettop(ours) > 1 && !lua_isnil(ours, 2);
    }
    printf("%lu cases of seed %llu agree: %lu gave results, %lu errors; %lu were cut short\n", case_count,
           (unsigned long long)seed, found, errors, cut);
    /* The generator has to reach all of these, or agreement means little. */
    assert_true(found > case_count / 4);
    assert_true(errors > case_count / 20);
    assert_true(cut < case_count / 100);
    close_state(ours, true);
    close_state(stock, false);
}

/* ---- the same script in both states ---- */

/* Random calls of the table functions and string.rep; returns a transcript of results, errors and of what
 * metamethods saw. `seed` is a global. */
static const char table_script[] =
    "math.randomseed(seed)\n"
    "local R, log = math.random, {}\n"
    "local function note(...) for i = 1, select('#', ...) do log[#log + 1] = tostring((select(i, ...))) end "
    "end\n"
    "local function show(v) return type(v) == 'table' and 'table' or v end\n"
    "local function value() local k = R(6)\n"
    "  if k == 1 then return R(100) / 8 elseif k == 2 then return 'v' .. R(99) elseif k == 3 and R(30) == 1 "
    "then "
    "return {} elseif k == 4 and R(20) == 1 then return nil else return R(1000) end end\n"
    "local function proxy(t, lie) return setmetatable({}, {\n"
    "  __index = function(_, k) note('get', k) return t[k] end,\n"
    "  __newindex = function(_, k, v) note('set', k, show(v)) t[k] = v end,\n"
    "  __len = function() note('len') if lie then return lie end return #t end,\n"
    "  __eq = function() note('eq') return R(2) == 1 end }) end\n"
    "local odd = {math.mininteger, math.maxinteger, 'x', 2.5, '3', 1e300, false}\n"
    "local function number(n) if R(40) == 1 then return odd[R(#odd)] end return R(-2, n + 3) end\n"
    "local function small() return R(-2, 14) end\n"
    "for round = 1, 400 do\n"
    "  local t = {} for i = 1, R(0, 12) do t[i] = value() end\n"
    "  local lie if R(8) == 1 then lie = R(10) == 1 and 'bad' or R(0, 12) end\n"
    "  local n, subject = #t, R(3) == 1 and proxy(t, lie) or t\n"
    "  if R(60) == 1 then subject = ({1, 'text', false, setmetatable({}, {__len = function() return {} "
    "end})})[R(4)] end\n"
    "  local r = table.pack(pcall(function()\n"
    "    local k = R(8)\n"
    "    if k == 1 then return table.insert(subject, value() or 0)\n"
    "    elseif k == 2 then return table.insert(subject, number(n), value() or 0)\n"
    "    elseif k == 3 then if R(20) == 1 then return table.insert(subject) end return "
    "table.remove(subject)\n"
    "    elseif k == 4 then return table.remove(subject, number(n))\n"
    "    elseif k == 5 then\n"
    "      local into if R(2) == 1 then into = R(2) == 1 and {} or proxy({}) end\n"
    "      local a, b, c = small(), small(), small()\n"
    "      if R(15) == 1 then a, b, c = odd[R(2)], odd[R(2)], odd[R(2)] if b - a > 100 or a < 0 and b > 0 "
    "then a = b end\n"
    "        if b >= a and b - a > 100 then b = a end end\n"
    "      local out = table.move(subject, a, b, c, into) note(rawequal(out, subject))\n"
    "      local s = {} for i = -3, 20 do s[#s + 1] = tostring(show(out[i])) end return table.concat(s, ' "
    "')\n"
    "    elseif k == 6 then local i, j = small(), small() if R(3) == 1 then j = nil end "
    "return table.concat(subject, R(3) == 1 and ', ' or nil, R(2) == 1 and i or nil, j)\n"
    "    elseif k == 7 then local i, j = small(), small() if R(3) == 1 then j = nil end\n"
    "      if R(30) == 1 then i, j = odd[R(2)], odd[R(2)] end return table.unpack(subject, i, j)\n"
    "    else return string.rep(('ab'):sub(1, R(1, 2)), number(20), R(2) == 1 and ('--'):sub(1, R(0, 2)) or "
    "nil) end\n"
    "  end))\n"
    "  note('round', round, r.n) for i = 1, r.n do note(show(r[i])) end\n"
    "  for i = -3, 20 do if t[i] ~= nil then note(i, show(t[i])) end end\n"
    "end\n"
    "return table.concat(log, '\\n')\n";

/* Sorting. Orders are total, so there is one right answer; the error texts are those of short arrays. */
static const char sort_script[] =
    "math.randomseed(seed)\n"
    "local R, log = math.random, {}\n"
    "local function note(s) log[#log + 1] = s end\n"
    "for round = 1, 30 do\n"
    "  local n, t, kind = R(0, round % 5 == 0 and 3000 or 40), {}, R(7)\n"
    "  for i = 1, n do\n"
    "    if kind == 1 then t[i] = R(n) elseif kind == 2 then t[i] = R() elseif kind == 3 then t[i] = 'k' .. "
    "R(n)\n"
    "    elseif kind == 4 then t[i] = i elseif kind == 5 then t[i] = n - i elseif kind == 6 then t[i] = 7\n"
    "    else t[i] = R(2) == 1 and R(n) or R(n) / 2 + 0.25 end end\n"
    "  local target, lower, upper = t, 0, n\n"
    "  if R(4) == 1 then target = setmetatable({}, {__index = t, __len = function() return n end,\n"
    "    __newindex = function(_, k, v) assert(k >= 1 and k <= n) t[k] = v end}) end\n"
    "  local how = R(3)\n"
    "  if how == 1 then table.sort(target) elseif how == 2 then table.sort(target, function(a, b) return a > "
    "b end)\n"
    "  else table.sort(target, nil) end\n"
    "  note(table.concat(t, ' '))\n"
    "end\n"
    "local function fails(...) local ok, message = pcall(table.sort, ...) note(tostring(ok) .. ' ' .. "
    "tostring(message)) end\n"
    "fails({1, 'x'}) fails({'x', 1}) fails({1, 2, 'x'}) fails({1, {}}) fails({{}, {}}) fails({1, 2}, 3) "
    "fails(7) fails('s')\n"
    "fails({1, 2, 3}, function() error('mine', 0) end) fails(setmetatable({}, {__len = function() return 1 "
    "<< 40 end}))\n"
    "fails({3, 2, 1, 5, 4, 7, 8}, function() return true end) fails(setmetatable({}, {__len = function() "
    "return 'x' end}))\n"
    "fails({1}, 5) fails({}, 5) fails(setmetatable({}, {__len = function() return -5 end}), 5)\n"
    "return table.concat(log, '\\n')\n";

static void compare_scripts(const char *script, int rounds)
{
    lua_State *ours = new_state(true), *stock = new_state(false);
    size_t total = 0;
    for (int i = 0; i < rounds; i++) {
        allow_ticks(100000);
        lua_State *both[] = {ours, stock};
        for (int j = 0; j < 2; j++) {
            lua_pushinteger(both[j], (lua_Integer)(seed + (uint64_t)i));
            lua_setglobal(both[j], "seed");
            if (!run(both[j], script))
                fail_msg("round %d: %s", i, lua_tostring(both[j], -1));
        }
        size_t len;
        const char *ours_text = lua_tolstring(ours, -1, &len), *stock_text = lua_tostring(stock, -1);
        size_t same = 0;
        while (ours_text[same] != '\0' && ours_text[same] == stock_text[same])
            same++;
        if (!same_value(ours, stock, 1))
            fail_msg("round %d of seed %llu differs:\nours  ...%.200s\nLua's ...%.200s", i,
                     (unsigned long long)seed, ours_text + (same > 60 ? same - 60 : 0),
                     stock_text + (same > 60 ? same - 60 : 0));
        total += len;
    }
    printf("%d rounds agree, %zu bytes of transcript\n", rounds, total);
    assert_true(total > 1000);
    close_state(ours, true);
    close_state(stock, false);
}

static void test_tables_match_luas(void **unused)
{
    (void)unused;
    compare_scripts(table_script, 200);
}

static void test_sort_matches_luas(void **unused)
{
    (void)unused;
    compare_scripts(sort_script, 60);
}

static const char format_script[] =
    "math.randomseed(seed)\n"
    "local R, log = math.random, {}\n"
    "local specs = {'%d', '%5d', '%05d', '%02d', '%0d', '%00d', '%10d', '%-4d', '%+d', '% d', '%.3d', '%i', "
    "'%s', '%9s',\n"
    "  '%.2s', '%%', '%q', '%x', '%5.1f', '%g', '%', '%y', '%ld', 'a', '-', ' of ', '\\0', ('x'):rep(120)}\n"
    "local function value() local k = R(12)\n"
    "  if k < 5 then return R(-2000, 2000) elseif k == 5 then return math.mininteger elseif k == 6 then "
    "return R(9) / 2\n"
    "  elseif k == 7 then return R(9) * 1.0 elseif k == 8 then return '17' elseif k == 9 then return 'a\\0b' "
    "elseif k == 10 "
    "then\n"
    "    return ('y'):rep(R(300)) elseif k == 11 then return R(2) == 1 else return 'text' end end\n"
    "for i = 1, 400 do\n"
    "  local format, values = '', {}\n"
    "  for k = 1, R(0, 5) do format = format .. specs[R(#specs)] end\n"
    "  for k = 1, R(0, 5) do values[k] = value() end\n"
    "  log[#log + 1] = format\n"
    "  log[#log + 1] = tostring(select(2, pcall(string.format, format, table.unpack(values))))\n"
    "end\n"
    "return table.concat(log, '\\n')\n";

static void test_format_matches_luas(void **unused)
{
    (void)unused;
    compare_scripts(format_script, 200);
}

/* ---- known answers ---- */

static void test_known_answers(void **unused)
{
    (void)unused;
    static const struct {
        const char *chunk, *want;
    } cases[] = {
        {"return table.concat({('key = value'):match('^(%w+)%s*=%s*(%w+)$')}, ',')", "key,value"},
        {"return table.concat({('THE (quick) fox'):find('%((%a+)%)')}, ',')", "5,11,quick"},
        {"return (('hello world'):gsub('%w+', '%0 %0', 1))", "hello hello world"},
        {"return (('THE (quick) fox'):gsub('%f[%a]%a+', string.lower))", "the (quick) fox"},
        {"return table.concat({('abc'):match('()b()')}, ',')", "2,3"},
        {"return ('f(a(b)c)d'):match('%b()')", "(a(b)c)"},
        {"return ([[say \"it's\" now]]):match([[([\"'])(.-)%1]]) ", "\""},
        {"return (('abc'):gsub('', '-'))", "-a-b-c-"},
        {"local t = {} for k in ('one two'):gmatch('%a+', 2) do t[#t + 1] = k end return table.concat(t, "
         "',')",
         "ne,two"},
        {"return ('a.b'):find('.', 2, true) .. ''", "2"},
        {"return ('x'):rep(3, ', ')", "x, x, x"},
        /* A needle at every place around the edge of a slice, and a longer needle than a slice. */
        {"for i = 65500, 65560 do local s = ('a'):rep(i) .. 'aab' .. ('a'):rep(99) "
         "assert(s:find('aaaaab', 1, true) == i - 2 and not s:find('aabb', 1, true)) end return 'ok'",
         "ok"},
        {"local n = ('ab'):rep(50000) return ('xb' .. n .. n):find(n .. 'a', 1, true) .. ''", "3"},
        {"return ('ab'):rep(700000, '-'):gsub('ab%-', '')", "ab"},
        {"return #(('ab'):rep(700000, '-')) .. ''", "2099999"},
        {"return string.rep('', 1 << 60) .. string.rep('x', -1)", ""},
        {"local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return table.concat(t)", "321"},
        {"return tostring(getmetatable('').__index == string and ('').find == string.find)", "true"},
        {"return select(2, pcall(string.rep, 'x', 1 << 31))", "resulting string too large"},
        {"return select(2, pcall(string.rep, 'x', 1 << 62, ('y'):rep(9)))", "resulting string too large"},
        {"return select(2, pcall(string.rep, 'x', (1 << 31) - 1))", "not enough memory"},
        {"return select(2, pcall(string.find, 'a', '%1'))", "invalid capture index %1"},
        {"return select(2, pcall(string.find, ('a'):rep(300), ('a?'):rep(300)))", "pattern too complex"},
        {"return select(2, coroutine.resume(coroutine.create(function() return (('x'):gsub('x', "
         "coroutine.yield)) end)))",
         "attempt to yield across a C-call boundary"},
        /* The iterator goes on in another coroutine. */
        {"local it = ('a b c'):gmatch('%a') it() return coroutine.wrap(function() return it() end)() .. it()",
         "bc"},
        {"local it = ('a b'):gmatch('%a') collectgarbage() collectgarbage() return it() .. it()", "ab"},
    };
    lua_State *L = new_state(true);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        allow_ticks(100000);
        if (!run(L, cases[i].chunk))
            fail_msg("%s: %s", cases[i].chunk, lua_tostring(L, -1));
        assert_string_equal(lua_tostring(L, -1), cases[i].want);
    }
    close_state(L, true);
}

/* ---- bombs ---- */

static void test_bombs_are_stopped(void **unused)
{
    (void)unused;
    static const char *const bombs[] = {
        "('a'):rep(300):find('.-.-.-.-.-.-b')",
        "('a'):rep(300):match('.*.*.*.*.*.*b')",
        "('a'):rep(3000):gsub('a*a*a*a*a*b', '')",
        "('a'):rep(300):gmatch('.-.-.-.-.-.-b')()",
        "('a'):rep(200):find(('a?'):rep(150) .. ('a'):rep(199) .. 'b')",
        "('('):rep(1000000):find('%b()')",
        "('x'):rep(1000000):gsub('.-y', '')",
        "('a'):rep(1000000):find('(.+)%1b')",
        "('a'):rep(100000):find('[' .. ('b'):rep(100000) .. ']')",
        "('a'):rep(100000):find('[^' .. ('b'):rep(100000) .. ']-c')",
        "('a'):rep(100000):gsub('%f[' .. ('b'):rep(100000) .. ']', '')",
        "('a'):rep(5000000):gsub('a', '%%')",
        "local s = ('a'):rep(20000000) for i = 1, 100 do s:find(('a'):rep(999) .. 'b', 1, true) end",
        "local s = ('x'):rep(1000000) table.sort(setmetatable({}, {__len = function() return 1 << 30 end, "
        "__index = function() return s end, __newindex = function() end}))",
        "table.move({}, 1, 1 << 60, 2)",
        "table.move({}, 1, 1 << 60, 1 << 61)",
        "table.move({}, 1, math.maxinteger, 1, {})",
        "table.insert(setmetatable({}, {__len = function() return 1 << 60 end}), 1, 'x')",
        "table.remove(setmetatable({}, {__len = function() return 1 << 60 end}), 1)",
        "table.remove(setmetatable({}, {__len = function() return math.maxinteger end}), 1)",
        "table.concat(setmetatable({}, {__len = function() return 1 << 60 end, __index = function() return "
        "'' end}))",
        "table.concat(setmetatable({}, {__index = function() return '' end}), '', math.mininteger, "
        "math.maxinteger)",
        "for i = 1, 9 do pcall(table.unpack, {}, 1, 900000) end table.unpack({}, 1, 900000)",
        "table.sort(setmetatable({}, {__len = function() return (1 << 31) - 2 end, __index = function(_, k) "
        "return k end,"
        " __newindex = function() end}))",
        "table.sort(setmetatable({}, {__len = function() return (1 << 31) - 2 end, __index = math.abs and "
        "setmetatable({}, {__index = function() return 1 end}), __newindex = function() end}), rawequal)",
    };
    lua_State *L = new_state(true);
    for (size_t i = 0; i < sizeof bombs / sizeof bombs[0]; i++) {
        /* The stub goes on raising, so a bomb that catches the error is stopped again. */
        allow_ticks(1000);
        if (run(L, bombs[i]))
            fail_msg("it ended, after %lu ticks: %s", ticks, bombs[i]);
        if (strstr(lua_tostring(L, -1), "stopped by the stub") == NULL)
            fail_msg("%s: %s", bombs[i], lua_tostring(L, -1));
        assert_true(ticks >= 1000);
    }
    close_state(L, true);
}

static int restart_ticks(lua_State *L)
{
    (void)L;
    ticks = 0;
    return 0;
}

/* Ticks come as often as work is done, and not at all in short calls. */
static void test_ticks_follow_work(void **unused)
{
    (void)unused;
    static const struct {
        const char *chunk;
        unsigned long least, most;
    } cases[] = {
        {"local s = ('a'):rep(1 << 22) ticks() s:find('%d')", 1000, 1100},
        {"local s = ('a'):rep(1 << 22) ticks() s:match('.*b?$')", 1000, 1100},
        {"local s = ('a'):rep(1 << 22) ticks() s:match('^.-b')", 2000, 4200},
        {"local s = ('('):rep(1 << 22) ticks() s:find('^%b()')", 1000, 1100},
        {"local s = ('a'):rep(1 << 22) ticks() s:find('ab', 1, true)", 60, 70},
        {"ticks() for i = 1, 100000 do (' a'):find('^%s*a$') end", 0, 0},
        {"local t = {} ticks() table.move(t, 1, 1 << 22, 2)", 1000, 1100},
        {"local t = {} ticks() table.remove(setmetatable(t, {__len = function() return 1 << 22 end}), 1)",
         1000, 1100},
        /* 2^17 elements take some 2^17 * 17 comparisons; heapsort's worst twice that. */
        {"local t = {} for i = 1, 1 << 17 do t[i] = i * 7919 % 131101 end ticks() table.sort(t)", 300, 1200},
    };
    lua_State *L = new_state(true);
    lua_register(L, "ticks", restart_ticks);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        allow_ticks(1000000);
        if (!run(L, cases[i].chunk))
            fail_msg("%s: %s", cases[i].chunk, lua_tostring(L, -1));
        if (ticks < cases[i].least || ticks > cases[i].most)
            fail_msg("%s: %lu ticks, not %lu to %lu", cases[i].chunk, ticks, cases[i].least, cases[i].most);
    }
    close_state(L, true);
}

/* An adversary that decides the order while it is asked (McIlroy 1999) makes any quicksort quadratic; and
 * comparators that contradict themselves must neither crash nor hang. */
static void test_sort_has_no_bad_input(void **unused)
{
    (void)unused;
    lua_State *L = new_state(true);
    allow_ticks(1000000);
    assert_true(run(L,
                    "local n, gas, solid, candidate, asked = 20000, 1 << 40, 0, 0, 0\n"
                    "local order, t = {}, {}\n"
                    "for i = 1, n do order[i], t[i] = gas, i end\n"
                    "table.sort(t, function(x, y)\n"
                    "  asked = asked + 1\n"
                    "  if order[x] == gas and order[y] == gas then\n"
                    "    solid = solid + 1 order[x == candidate and x or y] = solid end\n"
                    "  if order[x] == gas then candidate = x elseif order[y] == gas then candidate = y end\n"
                    "  return order[x] < order[y] end)\n"
                    "for i = 2, n do assert(order[t[i - 1]] <= order[t[i]]) end\n"
                    "return asked"));
    printf("%lld comparisons for 20000 elements against an adversary\n", (long long)lua_tointeger(L, -1));
    assert_true(lua_tointeger(L, -1) < 20000LL * 15 * 5);
    lua_pushinteger(L, (lua_Integer)seed);
    lua_setglobal(L, "seed");
    if (!run(L, "math.randomseed(seed) local raised = 0\n"
                "local orders = {function() return true end, function() return math.random(2) == 1 end,\n"
                "  function(a, b) return a <= b end, function(a, b) return a ~= b end,\n"
                "  function(a, b) return (a - b) % 3 == 1 end, rawequal}\n"
                "for i = 1, 3000 do\n"
                "  local t, seen = {}, {} for k = 1, math.random(0, 60) do t[k] = math.random(20) end\n"
                "  local n, sum = #t, 0 for _, v in ipairs(t) do sum = sum + v * v end\n"
                "  local ok, message = pcall(table.sort, t, orders[i % #orders + 1])\n"
                "  if not ok then raised = raised + 1 assert(message:find('invalid order function', 1, "
                "true), message)\n"
                "  else for _, v in ipairs(t) do sum = sum - v * v end assert(#t == n and sum == 0, "
                "'elements lost') end\n"
                "end return raised"))
        fail_msg("%s", lua_tostring(L, -1));
    assert_true(lua_tointeger(L, -1) > 100);
    close_state(L, true);
}

static int install_it(lua_State *L)
{
    safelib_install(L);
    return 0;
}

static void test_install_needs_the_libraries(void **unused)
{
    (void)unused;
    lua_State *L = lua_newstate(limited_alloc, &memory_used[1]);
    assert_non_null(L);
    luaL_requiref(L, "_G", luaopen_base, 1);
    luaL_requiref(L, "table", luaopen_table, 1);
    lua_settop(L, 0);
    lua_pushcfunction(L, install_it);
    assert_int_equal(lua_pcall(L, 0, 0, 0), LUA_ERRRUN);
    assert_string_equal(lua_tostring(L, -1),
                        "the string library must be open before its functions are replaced");
    close_state(L, true);
}

/* ---- times ---- */

static double cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int bench(void)
{
    static const struct {
        const char *name, *setup, *body;
    } cases[] = {
        {"find plain, 100 kB", "s = ('lorem ipsum dolor '):rep(5500) .. 'needle'",
         "for i = 1, 200 do s:find('needle', 1, true) end"},
        {"find plain, short", "s = 'content-type: text/html'",
         "for i = 1, 300000 do s:find(': ', 1, true) end"},
        {"match ^(%d+)-(%d+)$", "s = '12345-67890'", "for i = 1, 200000 do s:match('^(%d+)-(%d+)$') end"},
        {"match (%a+)=(%a+)", "s = '   some = text, key=value'",
         "for i = 1, 100000 do s:match('(%a+)=(%a+)') end"},
        {"gsub %s+, 100 kB", "s = ('lorem  ipsum dolor '):rep(5300)",
         "for i = 1, 20 do s:gsub('%s+', ' ') end"},
        {"gsub . table, 100 kB", "s = ('lorem <ipsum> dol '):rep(5300) t = {['<'] = '&lt;'}",
         "for i = 1, 10 do s:gsub('.', t) end"},
        {"gsub [<>&] fn, 100 kB", "s = ('lorem <ipsum> dol '):rep(5300) f = function() end",
         "for i = 1, 10 do s:gsub('[<>&]', f) end"},
        {"gmatch %w+, 100 kB", "s = ('lorem ipsum dolor '):rep(5500)",
         "for i = 1, 20 do for w in s:gmatch('%w+') do end end"},
        {"gmatch (%w+)=(%w*), 100 kB", "s = ('key=value; '):rep(9000)",
         "for i = 1, 20 do for k, v in s:gmatch('(%w+)=(%w*)') do end end"},
        {"match .-x lazy", "s = ('a'):rep(1000) .. 'x'", "for i = 1, 3000 do s:match('^.-x') end"},
        {"rep 1 kB of 1", "", "for i = 1, 100000 do ('x'):rep(1000) end"},
        {"concat 10000", "t = {} for i = 1, 10000 do t[i] = 'v' .. i end",
         "for i = 1, 100 do table.concat(t, ',') end"},
        {"insert front 2000", "", "local t = {} for i = 1, 2000 do table.insert(t, 1, i) end"},
        {"insert end", "", "local t = {} for i = 1, 500000 do table.insert(t, i) end"},
        {"unpack 8", "t = {1, 2, 3, 4, 5, 6, 7, 8}", "for i = 1, 300000 do table.unpack(t) end"},
        {"sort 200000 random",
         "math.randomseed(7) u = {} for i = 1, 200000 do u[i] = math.random(1 << 40) end",
         "table.sort(table.move(u, 1, #u, 1, {}))"},
        {"sort 200000 sorted", "u = {} for i = 1, 200000 do u[i] = i end",
         "table.sort(table.move(u, 1, #u, 1, {}))"},
        {"sort 50000 strings",
         "math.randomseed(7) u = {} for i = 1, 50000 do u[i] = 'k' .. math.random(1 << 40) end",
         "table.sort(table.move(u, 1, #u, 1, {}))"},
        {"sort 50000 comparator",
         "math.randomseed(7) u = {} for i = 1, 50000 do u[i] = math.random(1 << 40) end",
         "table.sort(table.move(u, 1, #u, 1, {}), function(a, b) return a > b end)"},
    };
    lua_State *both[] = {new_state(false), new_state(true)};
    allow_ticks(~0UL);
    printf("%-28s %10s %10s %7s\n", "case (CPU, best of 9)", "Lua ms", "ours ms", "ratio");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double best[2] = {1e9, 1e9};
        for (int j = 0; j < 2; j++) {
            if (!run(both[j], cases[i].setup))
                return 1;
        }
        for (int round = 0; round < 18; round++) {
            double start = cpu_ms();
            if (!run(both[round % 2], cases[i].body))
                return 1;
            double took = cpu_ms() - start;
            best[round % 2] = took < best[round % 2] ? took : best[round % 2];
        }
        printf("%-28s %10.2f %10.2f %7.2f\n", cases[i].name, best[0], best[1], best[1] / best[0]);
    }
    close_state(both[0], false);
    close_state(both[1], true);
    return 0;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--bench") == 0)
            return bench();
        if (strcmp(argv[i], "--cases") == 0 && i + 1 < argc)
            case_count = strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 0);
    }
    printf("seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_patterns_match_luas),
        cmocka_unit_test(test_tables_match_luas),
        cmocka_unit_test(test_sort_matches_luas),
        cmocka_unit_test(test_format_matches_luas),
        cmocka_unit_test(test_sort_has_no_bad_input),
        cmocka_unit_test(test_bombs_are_stopped),
        cmocka_unit_test(test_ticks_follow_work),
        cmocka_unit_test(test_install_needs_the_libraries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
