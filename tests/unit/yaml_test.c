/* workers.yaml: the core schema, limits, messages, round trips, and that no error leaks. */
#include "base/mem.h"
#include "modules/json.h"
#include "modules/yaml.h"
#include "script/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <lauxlib.h>
#include <lualib.h>

int luaopen_workers_yaml(lua_State *L);

static unsigned ticks, raise_at_tick;

/* No isolate here; a test may ask for the end of the CPU limit at some tick. */
__attribute__((weak)) void budget_tick(lua_State *L)
{
    if (++ticks == raise_at_tick)
        luaL_error(L, "CPU limit");
}

static lua_State *new_state(void)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    luaL_requiref(L, "workers.yaml", luaopen_workers_yaml, 0);
    lua_setglobal(L, "yaml");
    lua_pushlightuserdata(L, NULL);
    lua_setglobal(L, "null");
    json_push_array_metatable(L);
    lua_setglobal(L, "arrayMeta");
    json_push_object_metatable(L);
    lua_setglobal(L, "objectMeta");
    return L;
}

static void run_lua(const char *script)
{
    lua_State *L = new_state();
    if (luaL_loadbuffer(L, script, strlen(script), "=script") != LUA_OK || lua_pcall(L, 0, 0, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_close(L);
}

/* ---- values ---- */

static const char lua_scalars[] =
    "local function is(text, want)\n"
    "  local got = yaml.decode(text)\n"
    "  assert(math.type(got) == math.type(want) and type(got) == type(want), text .. ': ' .. tostring(got))\n"
    "  assert(got == want, text .. ': ' .. tostring(got))\n"
    "end\n"
    "is('null', null) is('~', null) is('Null', null) is('NULL', null) is('', null) is('# nothing', null)\n"
    "is('---', null) is('nULL', 'nULL') is('nil', 'nil')\n"
    "is('true', true) is('True', true) is('TRUE', true) is('false', false) is('False', false) is('FALSE', "
    "false)\n"
    "for _, word in ipairs { 'yes', 'no', 'on', 'off', 'y', 'n', 'Yes', 'tRUE' } do is(word, word) end\n"
    "is('0', 0) is('-0', 0) is('+12', 12) is('-19', -19) is('0123', 123) is('1_000', '1_000') is('12:30', "
    "'12:30')\n"
    "is('0o17', 15) is('0x1F', 31) is('0xdeadBEEF', 0xdeadBEEF) is('-0x1', '-0x1') is('0o8', '0o8') is('0x', "
    "'0x')\n"
    "is('0b1', '0b1') is('0X1', '0X1')\n"
    "is('9223372036854775807', math.maxinteger) is('-9223372036854775808', math.mininteger)\n"
    "is('9223372036854775808', 2^63) is('0x7fffffffffffffff', math.maxinteger) is('0xffffffffffffffff', "
    "2^64)\n"
    "is('0o777777777777777777777', math.maxinteger) is('0o1000000000000000000000', 2^63)\n"
    "is('1.0', 1.0) is('-1.5e3', -1500.0) is('.5', 0.5) is('1.', 1.0) is('1e3', 1000.0) is('+.5E-1', 0.05)\n"
    "is('.', '.') is('e3', 'e3') is('1e', '1e') is('1e+', '1e+') is('+', '+') is('1.2.3', '1.2.3') is('-.', "
    "'-.')\n"
    "is('.inf', math.huge) is('+.Inf', math.huge) is('-.INF', -math.huge) is('inf', 'inf') is('.iNF', "
    "'.iNF')\n"
    "for _, word in ipairs { '.nan', '.NaN', '.NAN' } do local nan = yaml.decode(word) assert(nan ~= nan) "
    "end\n"
    "is('-.nan', '-.nan') is('infinity', 'infinity') is('nan', 'nan') is('0x1p4', '0x1p4')\n"
    "is('2024-01-15', '2024-01-15')\n"
    "is('\"12\"', '12') is(\"'true'\", 'true') is('\"\"', '') is('|\\n  12\\n', '12\\n') is('>-\\n  1\\n  "
    "2', '1 2')\n"
    "is('\"a\\\\0b\\\\u00e4\\\\x41\"', 'a\\0b\\u{e4}A') is('ä', 'ä')\n"
    "is('!!str 12', '12') is('!!int \"12\"', 12) is('!!float 12', 12.0) is('!!float 1.5', 1.5) is('!!bool "
    "true', true)\n"
    "is('!!null null', null) is('!!null', null) is('! 12', '12') is('! true', 'true') is('!', '') is('&a ! "
    "12', '12')\n"
    "is('\\xef\\xbb\\xbf12', 12)\n"
    "is('%YAML 1.2\\n---\\n7\\n...\\n', 7)\n";

static void scalars(void **state)
{
    (void)state;
    run_lua(lua_scalars);
}

static const char lua_collections[] =
    "local v = yaml.decode('a: 1\\nb: [x, 2, null]\\nc: {}\\nd: []\\ne:\\n- - 1\\n- k: v\\n')\n"
    "assert(v.a == 1 and #v.b == 3 and v.b[1] == 'x' and v.b[2] == 2 and v.b[3] == null)\n"
    "assert(getmetatable(v.b) == arrayMeta and getmetatable(v.d) == arrayMeta and getmetatable(v.c) == "
    "objectMeta)\n"
    "assert(getmetatable(v) == nil and next(v.c) == nil and next(v.d) == nil)\n"
    "assert(v.e[1][1] == 1 and v.e[2].k == 'v')\n"
    /* keys are the text of the scalar */
    "v = yaml.decode('1: a\\ntrue: b\\n~: c\\n\"q\": d\\n0x10: e\\n? long\\n: f\\n')\n"
    "assert(v['1'] == 'a' and v['true'] == 'b' and v['~'] == 'c' and v.q == 'd' and v['0x10'] == 'e' and "
    "v.long == 'f')\n"
    /* anchors */
    "v = yaml.decode('base: &b {x: 1}\\nl: [*b, *b]\\ns: &s 12\\nt: *s\\n*s : key\\nn: &e\\nm: *e\\n')\n"
    "assert(v.l[1] == v.base and v.l[2].x == 1 and v.t == 12 and v['12'] == 'key' and v.m == null)\n"
    "v = yaml.decode('[&a 1, &a 2, *a, &a [&a 3, *a], *a]')\n"
    "assert(v[3] == 2 and v[4][2] == 3 and v[5] == 3)\n" /* the latest in the text, which is the inner one */
    "v = yaml.decode('a: &x 1\\n<<: *x\\n')\n"
    "assert(v['<<'] == 1)\n"
    "v = yaml.decode('!!map {a: !!seq [1]}') assert(v.a[1] == 1)\n"
    "assert(yaml.decode('a: 1').a == 1 and select('#', yaml.decode('1')) == 1)\n";

static void collections(void **state)
{
    (void)state;
    run_lua(lua_collections);
}

/* ---- errors ---- */

static void refused(const char *text, size_t len, enum err_code code, const char *message)
{
    lua_State *L = new_state();
    struct err err = {0};
    int top = lua_gettop(L);
    assert_int_equal(yaml_decode(L, text, len, &err), code);
    assert_string_equal(err.message, message);
    assert_int_equal(lua_gettop(L), top);
    assert_int_equal(yaml_decode(L, text, len, NULL), code);
    lua_close(L);
}

#define REFUSED(text, message) refused(text, sizeof(text) - 1, ERR_INVALID, message)

static void decode_errors(void **state)
{
    (void)state;
    REFUSED("a: 1\nb: 2\na: 3\n", "line 3, column 1: the key \"a\" appears twice in one mapping");
    REFUSED("{x: {k: 1, \"k\": 2}}", "line 1, column 12: the key \"k\" appears twice in one mapping");
    REFUSED("a: 1\n---\nb: 2\n", "line 2, column 1: a second document begins here; only one is supported");
    REFUSED("a: !point 1\n",
            "line 1, column 4: the tag !point is not supported on a scalar; there are !!str !!int "
            "!!float !!bool !!null, !!seq and !!map");
    REFUSED("a: !!set {x}\n",
            "line 1, column 4: the tag !!set is not supported on a mapping; there are !!str !!int "
            "!!float !!bool !!null, !!seq and !!map");
    REFUSED("!!map [x]",
            "line 1, column 1: the tag !!map is not supported on a sequence; there are !!str !!int "
            "!!float !!bool !!null, !!seq and !!map");
    REFUSED("!!seq x", "line 1, column 1: the tag !!seq is not supported on a scalar; there are !!str !!int "
                       "!!float !!bool !!null, !!seq and !!map");
    REFUSED("- !!int 1.5", "line 1, column 3: \"1.5\" is tagged as an integer but is none");
    REFUSED("- !!bool yes", "line 1, column 3: \"yes\" is tagged as a boolean but is none");
    REFUSED("- !!null 0", "line 1, column 3: \"0\" is tagged as null but is none");
    REFUSED("a: *b\n", "line 1, column 4: the alias *b has no anchor before it");
    REFUSED("&a [1, *a]", "line 1, column 8: the alias *a stands inside the node that it names");
    REFUSED("? [a]\n: 1\n",
            "line 1, column 3: a mapping's key must be a scalar; sequences and mappings as keys are "
            "not supported");
    REFUSED("- &a [x]\n- {*a : 1}",
            "line 2, column 4: a mapping's key must be a scalar; sequences and mappings as "
            "keys are not supported");
    REFUSED("a:\n\t- 1\n", "line 2, column 1: a tab stands where only spaces may; indent with spaces");
    REFUSED("\xc3\xa4: @home\n", "line 1, column 4: a value cannot begin with '@'; put it in quotes");
    REFUSED("a: `x`\n", "line 1, column 4: a value cannot begin with '`'; put it in quotes");
    REFUSED("a: [1, 2\nb: 3\n",
            "line 2, column 2: did not find expected ',' or ']', while parsing a flow sequence");
    /* A long key is cut between characters: 62 bytes, then one of three. */
    REFUSED("- aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgg\xe2\x82\xacx: 1\n"
            "  aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgg\xe2\x82\xacx: 2\n",
            "line 2, column 3: the key \"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgg…\" "
            "appears twice "
            "in one mapping");
    REFUSED("a: b: c\n", "line 1, column 5: mapping values are not allowed in this context");
    REFUSED("a: \"x\n", "line 2, column 1: found unexpected end of stream, while scanning a quoted scalar");
    REFUSED("a: 1\nb: \xff\n", "line 2, column 4: invalid leading UTF-8 octet: 0xFF");
    REFUSED("a\xc3\xa4: \x01", "line 1, column 5: control characters are not allowed: 0x01");
    REFUSED("a: \"\\ud800\"",
            "line 1, column 7: found invalid Unicode character escape code, while parsing a quoted "
            "scalar");
}

/* open is repeated depth times, then middle, then close. */
static char *nested(const char *open, const char *middle, const char *close, size_t depth)
{
    size_t size = depth * (strlen(open) + strlen(close)) + strlen(middle) + 1;
    char *text = malloc(size), *end = text;
    assert_non_null(text);
    for (size_t i = 0; i < depth; i++)
        end = stpcpy(end, open);
    end = stpcpy(end, middle);
    for (size_t i = 0; i < depth; i++)
        end = stpcpy(end, close);
    return text;
}

static void depth_limit(void **state)
{
    (void)state;
    lua_State *L = new_state();
    struct err err;
    char *text = nested("[", "1", "]", YAML_DEPTH_MAX);
    assert_int_equal(yaml_decode(L, text, strlen(text), &err), ERR_NONE);
    free(text);
    lua_close(L);
    text = nested("[", "1", "]", YAML_DEPTH_MAX + 1);
    refused(text, strlen(text), ERR_LIMIT, "line 1, column 513: collections are nested more than 512 deep");
    free(text);
    text = nested("{a: ", "1", "}", 20000);
    refused(text, strlen(text), ERR_LIMIT, "line 1, column 2049: collections are nested more than 512 deep");
    free(text);
}

/* Nine aliases a line, each to the line before. */
static void alias_limits(void **state)
{
    (void)state;
    char text[4096];
    int len = snprintf(text, sizeof text, "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i <= 9; i++) {
        len += snprintf(text + len, sizeof text - (size_t)len, "a%d: &a%d [", i, i);
        for (int j = 0; j < 9; j++)
            len += snprintf(text + len, sizeof text - (size_t)len, "*a%d%s", i - 1, j < 8 ? "," : "]\n");
    }
    /* Lines 1 to 4 stand for 90 + 819 + 7380 + 66429 nodes, so line 5 breaks the limit at its first alias. */
    refused(text, (size_t)len, ERR_LIMIT,
            "line 6, column 10: aliases stand for more than 100000 nodes in all");

    size_t size = 1 << 20;
    char *big = malloc(size + 1024);
    assert_non_null(big);
    char *end = stpcpy(big, "- &b ");
    memset(end, 'x', size);
    end += size;
    for (int i = 0; i < 65; i++)
        end = stpcpy(end, "\n- *b");
    refused(big, (size_t)(end - big), ERR_LIMIT,
            "line 66, column 3: aliases stand for more than 67108864 bytes in all");
    lua_State *L = new_state();
    struct err err;
    assert_int_equal(yaml_decode(L, big, (size_t)(end - big) - 5, &err), ERR_NONE);
    assert_int_equal(lua_rawlen(L, -1), 65);
    lua_close(L);
    free(big);
}

/* A document as large as it likes is fine as long as it spells everything out. */
static void large_document(void **state)
{
    (void)state;
    lua_State *L = new_state();
    struct err err;
    char *text = nested("- x\n", "", "", 200000);
    unsigned before = ticks;
    assert_int_equal(yaml_decode(L, text, strlen(text), &err), ERR_NONE);
    assert_int_equal(lua_rawlen(L, -1), 200000);
    assert_in_range(ticks - before, 300, 500);
    free(text);
    lua_close(L);
}

/* ---- encoding ---- */

static const char lua_encode[] =
    "local function array(t) return setmetatable(t, arrayMeta) end\n"
    "local function is(value, want)\n"
    "  local got = yaml.encode(value)\n"
    "  assert(got == want, got)\n"
    "end\n"
    "local function fails(want, ...)\n"
    "  local args = table.pack(...)\n"
    "  local ok, message = pcall(function() yaml.encode(table.unpack(args, 1, args.n)) end)\n"
    "  assert(not ok and message == 'script:8: ' .. want, message)\n"
    "end\n"
    "is({ b = 1, a = 'x', c = { 1, 2.0, true, null } }, 'a: x\\nb: 1\\nc:\\n- 1\\n- 2.0\\n- true\\n- "
    "null\\n')\n"
    "is({ a = {}, b = array {} }, 'a: {}\\nb: []\\n')\n"
    "is({ 0.1, 1e100, math.mininteger, 1/0, -1/0 },\n"
    "  '- 0.1\\n- 1e+100\\n- -9223372036854775808\\n- .inf\\n- -.inf\\n')\n"
    "is({ 0/0 }, '- .nan\\n')\n"
    "is({ 'yes', 'null', '12', '', '2024-01-15', '~', 'plain text', 'No', '<<' },\n"
    "  \"- 'yes'\\n- 'null'\\n- '12'\\n- ''\\n- '2024-01-15'\\n- '~'\\n- plain text\\n- 'No'\\n- '<<'\\n\")\n"
    "is({ text = 'one\\ntwo\\n' }, 'text: |\\n  one\\n  two\\n')\n"
    "is({ ['1'] = 'a', ['a: b'] = 'ä' }, \"'1': a\\n'a: b': ä\\n\")\n"
    "local long = ('word '):rep(60) .. 'end'\n"
    "is({ long }, '- ' .. long .. '\\n')\n"
    "is({ { k = { { 1 } } } }, '- k:\\n  - - 1\\n')\n"
    "is({ 'a\\0b' }, '- \"a\\\\0b\"\\n')\n"
    "fails('yaml.encode: argument 1 (value): a value expected, got nil; use workers.null for null', nil)\n"
    "fails('yaml.encode: argument 1 (value): a value expected, got no value; use workers.null for null')\n"
    "fails('yaml.encode: at a.b[2]: a function cannot be written as YAML', { a = { b = { 1, print } } })\n"
    "fails('yaml.encode: a thread cannot be written as YAML', coroutine.create(print))\n"
    "fails('yaml.encode: a userdata cannot be written as YAML', io.stdout)\n"
    "fails('yaml.encode: at [1]: a string is not UTF-8 (byte 2); encode bytes with crypto.base64 first', { "
    "'a\\xff' })\n"
    "fails('yaml.encode: at x: a table\\'s keys must be all strings or the indices 1 to n', { x = { 1, a = 2 "
    "} })\n"
    "fails('yaml.encode: a table\\'s keys must be all strings or the indices 1 to n', { [1.5] = 2 })\n"
    "fails('yaml.encode: a table\\'s keys must be all strings or the indices 1 to n', { [0] = 2 })\n"
    "fails('yaml.encode: a table\\'s keys must be all strings or the indices 1 to n', array { x = 1 })\n"
    "fails('yaml.encode: at l: a table\\'s indices must run from 1 without a hole; use workers.null for "
    "nothing',\n"
    "  { l = { 1, nil, 3 } })\n"
    "local loop = {} loop.self = loop\n"
    "fails('yaml.encode: at self.self.self.self: tables are nested more than 512 deep; does one contain "
    "itself?', loop)\n"
    "local big = ('x'):rep(1 << 20) local list = {}\n"
    "for i = 1, 65 do list[i] = big end\n"
    "fails('yaml.encode: the YAML text is larger than 67108864 bytes', list)\n"
    "local ok, message = pcall(function() yaml.decode(12) end)\n"
    "assert(message:find('yaml.decode: argument 1 (text): string expected, got number', 1, true), message)\n"
    "ok, message = pcall(function() yaml.decode('a: [') end)\n"
    "assert(message:find('^script:%d+: yaml.decode: line 2, column 1: did not find'), message)\n";

static void encode_values(void **state)
{
    (void)state;
    run_lua(lua_encode);
}

/* Random values of what is awkward in YAML come back as they were. */
static const char lua_round_trip[] =
    "math.randomseed(7)\n"
    "local pieces = { 'a', 'B', ' ', '  ', '\\n', '\\n\\n', '\\t', ':', ': ', '#', ' #', '-', '- ', '?', "
    "'\"', \"'\", '\\\\', '|', "
    "'>', '[', ']', '{', '}', ',', '&', '*', '!', '%', '@', '`', '---', '...', '~', 'null', '1', '.', 'e', "
    "'0x', 'ä', "
    "'\\u{2028}', '\\u{85}', '\\r', '\\u{1F600}', '\\u{FEFF}', '\\0', '\\x7f', '<<', 'yes', '=' }\n"
    "local function text()\n"
    "  local t = {}\n"
    "  for i = 1, math.random(0, 7) do t[i] = pieces[math.random(#pieces)] end\n"
    "  return table.concat(t)\n"
    "end\n"
    "local function value(depth)\n"
    "  local kind = math.random(depth > 3 and 6 or 8)\n"
    "  if kind <= 3 then return text() end\n"
    "  if kind == 4 then return math.random(0) end\n"
    "  if kind == 5 then return (math.random() - 0.5) * 10.0 ^ math.random(-300, 300) end\n"
    "  if kind == 6 then return ({ true, false, null })[math.random(3)] end\n"
    "  local t = {}\n"
    "  if kind == 7 then\n"
    "    for i = 1, math.random(0, 4) do t[i] = value(depth + 1) end\n"
    "    return setmetatable(t, arrayMeta)\n"
    "  end\n"
    "  for i = 1, math.random(0, 4) do t[text()] = value(depth + 1) end\n"
    "  return t\n"
    "end\n"
    "local function same(a, b)\n"
    "  if type(a) ~= 'table' then return math.type(a) == math.type(b) and a == b end\n"
    "  if type(b) ~= 'table' or (getmetatable(a) == arrayMeta) ~= (getmetatable(b) == arrayMeta) then return "
    "false end\n"
    "  for k, v in pairs(a) do if not same(v, b[k]) then return false end end\n"
    "  for k in pairs(b) do if a[k] == nil then return false end end\n"
    "  return true\n"
    "end\n"
    "for i = 1, 20000 do\n"
    "  local v = value(0)\n"
    "  local encoded = yaml.encode(v)\n"
    "  local ok, back = pcall(yaml.decode, encoded)\n"
    "  assert(ok, string.format('%s\\n%q', back, encoded))\n"
    "  assert(same(v, back), string.format('%q', encoded))\n"
    "end\n";

static void round_trips(void **state)
{
    (void)state;
    run_lua(lua_round_trip);
}

/* ---- nothing leaks (the sanitizer looks at the end) ---- */

static size_t allocations_left;

static void *scarce(void *context, void *block, size_t old_size, size_t size)
{
    (void)context;
    if (size == 0) {
        free(block);
        return NULL;
    }
    if (block == NULL || size > old_size) {
        if (allocations_left == 0)
            return NULL;
        allocations_left--;
    }
    return realloc(block, size);
}

static const char anchored[] =
    "a: &a [1, two, {three: 3}]\nb: *a\nc: !!str 4\nd: |\n  text\n  more\ne: {f: [], g: {}}\n";

static int there_and_back(lua_State *L)
{
    lua_settop(L, 0);
    luaL_requiref(L, "workers.yaml", luaopen_workers_yaml, 0);
    lua_getfield(L, 1, "encode");
    lua_getfield(L, 1, "decode");
    lua_pushlstring(L, anchored, sizeof anchored - 1);
    lua_call(L, 1, 1);
    lua_call(L, 1, 1);
    return 1;
}

static int attempt(lua_State *L)
{
    lua_settop(L, 0);
    lua_pushcfunction(L, there_and_back);
    return lua_pcall(L, 0, 1, 0);
}

static void out_of_lua_memory(void **state)
{
    (void)state;
    int failures = 0;
    for (size_t budget = 0;; budget++) {
        allocations_left = SIZE_MAX;
        lua_State *L = lua_newstate(scarce, NULL);
        assert_non_null(L);
        allocations_left = budget;
        int status = attempt(L);
        allocations_left = SIZE_MAX;
        if (status == LUA_OK) {
            assert_non_null(strstr(lua_tostring(L, -1), "three: 3"));
            lua_close(L);
            break;
        }
        assert_int_equal(status, LUA_ERRMEM);
        failures++;
        lua_close(L);
    }
    assert_in_range(failures, 30, 1000);
}

static void out_of_budget(void **state)
{
    (void)state;
    lua_State *L = new_state();
    char *text = nested("- [x, \"y\"]\n", "", "", 1000);
    lua_getglobal(L, "yaml");
    lua_getfield(L, -1, "decode");
    lua_pushstring(L, text);
    ticks = 0;
    raise_at_tick = 3;
    assert_int_equal(lua_pcall(L, 1, 1, 0), LUA_ERRRUN);
    assert_string_equal(lua_tostring(L, -1), "CPU limit");
    raise_at_tick = 0;
    lua_getglobal(L, "yaml");
    lua_getfield(L, -1, "encode");
    lua_getfield(L, -2, "decode");
    lua_pushstring(L, text);
    lua_call(L, 1, 1);
    ticks = 0;
    raise_at_tick = 3;
    assert_int_equal(lua_pcall(L, 1, 1, 0), LUA_ERRRUN);
    assert_string_equal(lua_tostring(L, -1), "CPU limit");
    raise_at_tick = 0;
    free(text);
    lua_close(L);
}

static void out_of_output_memory(void **state)
{
    (void)state;
    mem_fail_from(0);
    void *probe = mem_alloc(1);
    mem_free(probe);
    if (mem_alloc_count() == 0)
        skip(); /* built without the hook */
    lua_State *L = new_state();
    mem_fail_from(1);
    int status = attempt(L);
    mem_fail_from(0);
    assert_int_equal(status, LUA_ERRRUN);
    assert_string_equal(lua_tostring(L, -1), "yaml.encode: out of memory");
    lua_close(L);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars),
        cmocka_unit_test(collections),
        cmocka_unit_test(decode_errors),
        cmocka_unit_test(depth_limit),
        cmocka_unit_test(alias_limits),
        cmocka_unit_test(large_document),
        cmocka_unit_test(encode_values),
        cmocka_unit_test(round_trips),
        cmocka_unit_test(out_of_lua_memory),
        cmocka_unit_test(out_of_budget),
        cmocka_unit_test(out_of_output_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
