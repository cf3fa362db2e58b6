/* JSON in Lua: decoding, encoding, and the modules workers.json and cjson. */
#include "base/json.h"
#include "base/number.h"
#include "modules/json.h"
#include "script/budget.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The real one belongs to the script runtime; whichever is linked. */
static unsigned ticks;
static bool tick_raises;
__attribute__((weak)) void budget_tick(lua_State *L)
{
    ticks++;
    if (tick_raises)
        luaL_error(L, "over the CPU limit");
}

static int set_up(void **state)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    luaL_requiref(L, "workers.json", luaopen_workers_json, 0);
    luaL_requiref(L, "cjson", luaopen_cjson, 0);
    luaL_requiref(L, "cjson.safe", luaopen_cjson_safe, 0);
    lua_settop(L, 0);
    *state = L;
    return 0;
}

static int tear_down(void **state)
{
    lua_close(*state);
    return 0;
}

/* ---- Helpers ---- */

static void assert_decode_fails(lua_State *L, const char *text, size_t len, const char *message)
{
    struct err err = {.code = ERR_NONE};
    int top = lua_gettop(L);
    /* A copy of exactly that size: a byte read too many is found by AddressSanitizer. */
    char *exact = malloc(len > 0 ? len : 1);
    memcpy(exact, text, len);
    assert_int_not_equal(json_decode(L, exact, len, &err), ERR_NONE);
    free(exact);
    assert_string_equal(err.message, message);
    assert_int_equal(lua_gettop(L), top);
}

#define assert_refused(L, text, message) assert_decode_fails(L, text, sizeof(text) - 1, message)

static void assert_round_trip(lua_State *L, const char *text, const char *expected)
{
    struct err err = {.code = ERR_NONE};
    struct buf out;
    buf_init(&out, 1 << 20);
    if (json_decode(L, text, strlen(text), &err) != ERR_NONE)
        fail_msg("%s: %s", text, err.message);
    struct json_encode_options options = {.sort_keys = true};
    if (json_encode(L, -1, &options, &out, &err) != ERR_NONE)
        fail_msg("%s: %s", text, err.message);
    assert_string_equal(buf_text(&out), expected);
    lua_pop(L, 1);
    buf_free(&out);
}

/* Runs Lua code that has to return true. */
static void check_lua(lua_State *L, const char *code)
{
    if (luaL_loadbuffer(L, code, strlen(code), "=test") != LUA_OK || lua_pcall(L, 0, 1, 0) != LUA_OK)
        fail_msg("%s: %s", code, lua_tostring(L, -1));
    if (!lua_toboolean(L, -1))
        fail_msg("not true: %s", code);
    lua_pop(L, 1);
}

/* Runs Lua code that has to fail with exactly this message. */
static void check_lua_error(lua_State *L, const char *code, const char *message)
{
    int status = luaL_loadbuffer(L, code, strlen(code), "=test");
    assert_int_equal(status, LUA_OK);
    if (lua_pcall(L, 0, 0, 0) == LUA_OK)
        fail_msg("did not fail: %s", code);
    assert_string_equal(lua_tostring(L, -1), message);
    lua_pop(L, 1);
}

static void assert_encodes_with(lua_State *L, const char *code, const struct json_encode_options *options,
                                const char *expected)
{
    struct err err = {.code = ERR_NONE};
    struct buf out;
    buf_init(&out, 1 << 20);
    if (luaL_dostring(L, code))
        fail_msg("%s", lua_tostring(L, -1));
    int top = lua_gettop(L);
    if (json_encode(L, -1, options, &out, &err) != ERR_NONE)
        fail_msg("%s: %s", code, err.message);
    assert_int_equal(lua_gettop(L), top);
    assert_string_equal(buf_text(&out), expected);
    lua_settop(L, 0);
    buf_free(&out);
}

static void assert_encode_fails(lua_State *L, const char *code, enum err_code expected, const char *message)
{
    struct err err = {.code = ERR_NONE};
    struct buf out;
    buf_init(&out, 1 << 20);
    if (luaL_dostring(L, code))
        fail_msg("%s", lua_tostring(L, -1));
    int top = lua_gettop(L);
    for (int sorted = 0; sorted <= 1; sorted++) {
        struct json_encode_options options = {.sort_keys = sorted == 1};
        buf_clear(&out);
        assert_int_equal(json_encode(L, -1, &options, &out, &err), expected);
        assert_string_equal(err.message, message);
        assert_int_equal(err.code, expected);
        assert_int_equal(lua_gettop(L), top);
    }
    lua_settop(L, 0);
    buf_free(&out);
}

/* ---- Decoding ---- */

static void values_survive_a_round_trip(void **state)
{
    lua_State *L = *state;
    static const char *const same[] = {"null",
                                       "true",
                                       "false",
                                       "\"\"",
                                       "[]",
                                       "{}",
                                       "[[],{}]",
                                       "{\"a\":[],\"b\":{}}",
                                       "[null,null]",
                                       "[1,2.0,-0.0,1e+300]",
                                       "9223372036854775807",
                                       "-9223372036854775808",
                                       "9007199254740993",
                                       "1.0",
                                       "5e-324",
                                       "1e+308",
                                       "{\"\":0}",
                                       "[\"\\u0000\\u001f\\\"\\\\/\"]",
                                       "\"é€😀\xEF\xBF\xBF\"",
                                       "[{\"id\":1,\"tags\":[\"a\"]},{\"id\":2,\"tags\":[]}]",
                                       "{\"key\\u0000with zero\":1,\"ключ\":2}"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        assert_round_trip(L, same[i], same[i]);
    assert_round_trip(L, " [ 1 , 2 ]\r\n\t", "[1,2]");
    assert_round_trip(L, "\xEF\xBB\xBF{\"a\":1}", "{\"a\":1}");
    assert_round_trip(L, "9223372036854775808", "9223372036854776000.0");
    assert_round_trip(L, "{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}");
    assert_round_trip(L, "\"\\ud83d\\ude00 \\u00e9 \\/ \\b\\f\\n\\r\\t\"", "\"😀 é / \\b\\f\\n\\r\\t\"");
    assert_round_trip(L, "[\"\\ud800\",\"\\udc00x\",\"\\ud800\\u0041\",\"\\ud800\\ud83d\\ude00\"]",
                      "[\"\xEF\xBF\xBD\",\"\xEF\xBF\xBDx\",\"\xEF\xBF\xBD"
                      "A\",\"\xEF\xBF\xBD😀\"]");
}

static void big_tables_survive_a_round_trip(void **state)
{
    lua_State *L = *state;
    check_lua(L, "local json = require 'workers.json'\n"
                 "for _, n in ipairs { 1, 2, 31, 32, 33, 63, 64, 65, 66, 127, 128, 129, 1000, 20000 } do\n"
                 "  local list, object, twice = {}, {}, {}\n"
                 "  for i = 1, n do list[i] = i * 3; object['key ' .. i] = { i, tostring(i) } end\n"
                 "  local back = json.decode(json.encode(list))\n"
                 "  assert(#back == n)\n"
                 "  for i = 1, n do assert(back[i] == i * 3) end\n"
                 "  back = json.decode(json.encode(object))\n"
                 "  local count = 0\n"
                 "  for k, v in pairs(back) do assert(v[1] == object[k][1] and v[2] == object[k][2]); count "
                 "= count + 1 end\n"
                 "  assert(count == n)\n"
                 "  for i = 1, n do twice[#twice + 1] = ('\"k%d\":%d'):format(i % 40, i) end\n"
                 "  back = json.decode('{' .. table.concat(twice, ',') .. '}')\n"
                 "  local last = {}\n"
                 "  for i = 1, n do last['k' .. i % 40] = i end\n"
                 "  for k, v in pairs(last) do assert(back[k] == v, k) end\n"
                 "end\n"
                 "return true");
}

static void long_strings_with_escapes_are_whole(void **state)
{
    check_lua(*state, "local json = require 'workers.json'\n"
                      "for _, n in ipairs { 100, 1023, 1024, 1025, 5000, 3000, 70000 } do\n"
                      "  local text = ('line\\n\"é\"\\\\'):rep(n // 10) .. n\n"
                      "  local back = json.decode(json.encode { text, text:rep(3) .. '!', text })\n"
                      "  assert(back[1] == text and back[2] == text:rep(3) .. '!' and back[3] == text)\n"
                      "end\n"
                      "return true");
}

static void decoded_types_are_what_they_should_be(void **state)
{
    check_lua(
        *state,
        "local json = require 'workers.json'\n"
        "local v = json.decode '[1, 1.0, 1e2, -0, 12345678901234567890, null]'\n"
        "assert(math.type(v[1]) == 'integer' and math.type(v[2]) == 'float' and math.type(v[3]) == 'float')\n"
        "assert(math.type(v[4]) == 'float' and 1 / v[4] == -math.huge)\n"
        "assert(v[5] == 12345678901234567890.0)\n"
        "assert(v[6] == json.null and json.null == require 'cjson'.null)\n"
        "assert(getmetatable(json.decode '[]') == getmetatable(json.array {}))\n"
        "assert(getmetatable(json.decode '[1]') == getmetatable(json.array {}))\n"
        "assert(getmetatable(json.decode '{}') == getmetatable(json.object {}))\n"
        "assert(getmetatable(json.decode '{\"a\":1}') == nil)\n"
        "local list = json.decode '[1]'\n"
        "list[1] = nil\n"
        "return json.encode(list) == '[]'");
}

static void mistakes_are_named_with_their_place(void **state)
{
    lua_State *L = *state;
    assert_refused(L, "", "line 1, column 1: expected a value but found the end of the text");
    assert_refused(L, " \n\n  ", "line 3, column 3: expected a value but found the end of the text");
    assert_refused(L, "{\n \"a\": 1,\n \"b\" [", "line 3, column 6: expected ':' but found '['");
    assert_refused(L, "{\"a\": 1\n\n\"b\": 2}", "line 3, column 1: expected ',' or '}' but found a string");
    assert_refused(L, "{\"é€😀\": [}", "line 1, column 10: expected a value or ']' but found '}'");
    assert_refused(L, "[1 2]", "line 1, column 4: expected ',' or ']' but found '2'");
    assert_refused(L, "[1,]", "line 1, column 4: expected a value but found ']'");
    assert_refused(L, "[,1]", "line 1, column 2: expected a value or ']' but found ','");
    assert_refused(L, "{,}",
                   "line 1, column 2: expected a string as the member's name, or '}' but found ','");
    assert_refused(L, "{\"a\":1,}", "line 1, column 8: expected a string as the member's name but found '}'");
    assert_refused(L, "{a: 1}",
                   "line 1, column 2: expected a string as the member's name, or '}' but found 'a'");
    assert_refused(L, "{\"a\" 1}", "line 1, column 6: expected ':' but found '1'");
    assert_refused(L, "[1", "line 1, column 3: expected ',' or ']' but found the end of the text");
    assert_refused(L, "[True]", "line 1, column 2: expected a value or ']' but found 'True'");
    assert_refused(L, "[nul]", "line 1, column 2: expected a value but found 'nul'");
    assert_refused(L, "nullx", "line 1, column 1: expected a value but found 'nullx'");
    assert_refused(L, "[NaN]", "line 1, column 2: expected a value or ']' but found 'NaN'");
    assert_refused(L, "'a'", "line 1, column 1: expected a value but found '''");
    assert_refused(L, "1 // one", "line 1, column 3: expected the end of the text but found '/'");
    assert_refused(L, "[] []", "line 1, column 4: expected the end of the text but found '['");
    assert_refused(L, "]", "line 1, column 1: expected a value but found ']'");
    assert_refused(L, "[01]", "line 1, column 2: a number must not begin with a needless 0");
    assert_refused(L, "[-]", "line 1, column 3: expected a digit but found ']'");
    assert_refused(L, "[1.]", "line 1, column 4: expected a digit but found ']'");
    assert_refused(L, "1e", "line 1, column 3: expected a digit but found the end of the text");
    assert_refused(L, "[1e999]",
                   "line 1, column 2: the number 1e999 is out of range (the limit is about 1.8e308)");
    assert_refused(L, "[\"abc", "line 1, column 2: the string that begins here has no closing '\"'");
    assert_refused(L, "[\"abc\\",
                   "line 1, column 6: expected one of \" \\ / b f n r t u after the backslash but found "
                   "the end of the text");
    assert_refused(L, "\"\\x41\"",
                   "line 1, column 2: expected one of \" \\ / b f n r t u after the backslash but found "
                   "'x41'");
    assert_refused(L, "\"\\u12G4\"",
                   "line 1, column 6: expected four hexadecimal digits after '\\u' but found 'G4'");
    assert_refused(L, "\"\\u12",
                   "line 1, column 6: expected four hexadecimal digits after '\\u' but found the end of "
                   "the text");
    assert_refused(L, "\"a\nb\"",
                   "line 1, column 3: a string must not contain the control character U+000A; write it "
                   "as \\u000a");
    assert_refused(L, "\"12345678\0\"",
                   "line 1, column 10: a string must not contain the control character U+0000; "
                   "write it as \\u0000");
    assert_refused(L, "\0", "line 1, column 1: expected a value but found the control character U+0000");
    assert_refused(L, "[\xFF]",
                   "line 1, column 2: expected a value or ']' but found the byte 0xFF, which is not UTF-8");
    assert_refused(L, "[\xC2\xA0]", "line 1, column 2: expected a value or ']' but found '\xC2\xA0'");
    assert_refused(L, "\"1234567\xFF\"", "line 1, column 9: the byte 0xFF is not valid UTF-8");
    assert_refused(L, "\"\xED\xA0\x80\"", "line 1, column 2: the byte 0xED is not valid UTF-8");
    assert_refused(L, "\"é\xE2\x82\"", "line 1, column 3: the byte 0xE2 is not valid UTF-8");
    assert_refused(L, "\xEF\xBB\xBF", "line 1, column 1: expected a value but found the end of the text");
}

static void depth_is_limited(void **state)
{
    lua_State *L = *state;
    struct err err;
    char text[2 * JSON_DEPTH_MAX + 2];
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    assert_int_equal(json_decode(L, text + 1, 2 * JSON_DEPTH_MAX, &err), ERR_NONE);
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(json_encode(L, -1, NULL, &out, &err), ERR_NONE);
    assert_memory_equal(buf_text(&out), text + 1, 2 * JSON_DEPTH_MAX);
    lua_createtable(L, 1, 0);
    lua_insert(L, -2);
    lua_rawseti(L, -2, 1);
    buf_clear(&out);
    assert_int_equal(json_encode(L, -1, NULL, &out, &err), ERR_LIMIT);
    assert_string_equal(err.message,
                        "at [1][1][1][1][1][1]...[1][1][1][1][1][1]: nested deeper than 512 levels");
    lua_settop(L, 0);
    assert_int_equal(json_decode(L, text, 2 * JSON_DEPTH_MAX + 2, &err), ERR_LIMIT);
    assert_string_equal(err.message, "line 1, column 513: nested deeper than 512 levels");
    buf_free(&out);
}

/* ---- Encoding ---- */

static void tables_become_lists_or_objects(void **state)
{
    lua_State *L = *state;
    struct json_encode_options sorted = {.sort_keys = true};
    assert_encodes_with(L, "return {}", NULL, "{}");
    assert_encodes_with(L, "return {1, 2, {3}}", NULL, "[1,2,[3]]");
    assert_encodes_with(L, "return { [3] = 'c', [2] = 'b', [1] = 'a' }", NULL, "[\"a\",\"b\",\"c\"]");
    assert_encodes_with(L, "return require 'workers.json'.array {}", NULL, "[]");
    assert_encodes_with(L, "return require 'workers.json'.object {}", NULL, "{}");
    assert_encodes_with(L, "return { b = 1, a = { z = {}, y = 1.5 }, ['a b'] = true, B = false }", &sorted,
                        "{\"B\":false,\"a\":{\"y\":1.5,\"z\":{}},\"a b\":true,\"b\":1}");
    assert_encodes_with(L, "return setmetatable({ x = 1 }, { __index = { y = 2 }, __pairs = error })", NULL,
                        "{\"x\":1}");
    assert_encodes_with(L, "return { require 'cjson'.empty_array, require 'cjson'.null }", NULL, "[[],null]");
    struct json_encode_options pretty = {.sort_keys = true, .pretty = true};
    assert_encodes_with(L, "return { a = { 1, { b = {} } }, c = require 'workers.json'.array {} }", &pretty,
                        "{\n  \"a\": [\n    1,\n    {\n      \"b\": {}\n    }\n  ],\n  \"c\": []\n}");
    struct json_encode_options as_array = {.empty_table_is_array = true};
    assert_encodes_with(L, "return { {}, { a = 1 } }", &as_array, "[[],{\"a\":1}]");
}

static void what_json_lacks_is_named_with_its_path(void **state)
{
    lua_State *L = *state;
    assert_encode_fails(L, "return { items = { 1, 2, { name = print } } }", ERR_INVALID,
                        "at .items[3].name: a function cannot be written as JSON");
    assert_encode_fails(L, "return print", ERR_INVALID, "a function cannot be written as JSON");
    assert_encode_fails(L, "return nil", ERR_INVALID,
                        "nil (workers.null is JSON's null) cannot be written as JSON");
    assert_encode_fails(L, "return { ['a b'] = coroutine.create(print) }", ERR_INVALID,
                        "at [\"a b\"]: a coroutine cannot be written as JSON");
    assert_encode_fails(L, "return { io.stdout }", ERR_INVALID,
                        "at [1]: a userdata cannot be written as JSON");
    assert_encode_fails(L, "return { x = 0/0 * -1 }", ERR_INVALID,
                        "at .x: NaN is not a number that JSON can hold");
    assert_encode_fails(L, "return { x = { -math.huge } }", ERR_INVALID,
                        "at .x[1]: -Infinity is not a number that JSON can hold");
    assert_encode_fails(
        L, "return { t = { 1, nil, 3 } }", ERR_INVALID,
        "at .t: a list must have no gaps, but its element 2 is nil (workers.null can fill it)");
    assert_encode_fails(L, "return { t = { [1] = 1, x = 2 } }", ERR_INVALID,
                        "at .t: a list cannot have the key \"x\": objects have strings as keys, lists 1..n");
    assert_encode_fails(L, "return { 1, x = 2 }", ERR_INVALID,
                        "a list cannot have the key \"x\": objects have strings as keys, lists 1..n");
    assert_encode_fails(L, "return { [10] = 1 }", ERR_INVALID,
                        "an object cannot have the key 10: objects have strings as keys, lists 1..n");
    assert_encode_fails(
        L, "return { { [1.5] = 1 } }", ERR_INVALID,
        "at [1]: an object cannot have the key 1.5: objects have strings as keys, lists 1..n");
    assert_encode_fails(L, "return { [true] = 1 }", ERR_INVALID,
                        "an object cannot have the key true: objects have strings as keys, lists 1..n");
    assert_encode_fails(
        L, "return { [{}] = 1 }", ERR_INVALID,
        "an object cannot have the key of type table: objects have strings as keys, lists 1..n");
    assert_encode_fails(L, "return require 'workers.json'.array { x = 1 }", ERR_INVALID,
                        "a list cannot have the key \"x\": objects have strings as keys, lists 1..n");
    assert_encode_fails(L, "return require 'workers.json'.object { 'x' }", ERR_INVALID,
                        "an object cannot have the key 1: objects have strings as keys, lists 1..n");
    assert_encode_fails(
        L, "local t = { a = {} } t.a.b = { t } return t", ERR_INVALID,
        "at .a.b[1].a.b[1]...[1].a.b[1].a.b: a table that contains itself cannot be written as JSON");
    assert_encode_fails(
        L, "return { s = { 'ok', 'a\\xFFb' } }", ERR_INVALID,
        "at .s[2]: the string is not valid UTF-8 at byte 2 (0xFF); binary data must be encoded first, "
        "for example as base64");
    assert_encode_fails(
        L, "return { ['\\xC3'] = 1 }", ERR_INVALID,
        "at [\"?\"]: the string is not valid UTF-8 at byte 1 (0xC3); binary data must be encoded first, "
        "for example as base64");
    assert_encode_fails(L, "return { [('é'):rep(30)] = print }", ERR_INVALID,
                        "at [\"éééééééééééééééééééé\"...]: a function cannot be written as JSON");
    assert_encode_fails(
        L, "return setmetatable({}, { __tojson = require 'cjson'.null })", ERR_INVALID,
        "a value whose metatable has a __tojson that is none of the program's own cannot be written as "
        "JSON");
    assert_encode_fails(
        L, "return { setmetatable({}, { __tojson = require 'cjson'.empty_array }) }", ERR_INVALID,
        "at [1]: a value whose metatable has a __tojson that is none of the program's own cannot be "
        "written as JSON");
    assert_encode_fails(
        L, "return setmetatable({}, { __tojson = function() end })", ERR_INVALID,
        "a value whose metatable has a __tojson that is none of the program's own cannot be written as "
        "JSON");
    assert_encode_fails(L, "local m = {} local t = setmetatable({}, m) m.__jsonvalue = t return t", ERR_LIMIT,
                        "nested deeper than 512 levels");
}

static void shared_tables_cannot_outgrow_the_buffer(void **state)
{
    lua_State *L = *state;
    struct err err;
    struct buf out;
    buf_init(&out, 100000);
    assert_int_equal(luaL_dostring(L, "local t = {} for i = 1, 400 do t = { t, t } end return t"), LUA_OK);
    assert_int_equal(json_encode(L, -1, NULL, &out, &err), ERR_LIMIT);
    assert_string_equal(err.message, "the JSON text is larger than 100000 bytes");
    buf_free(&out);
}

static enum err_code write_money(lua_State *L, int index, struct buf *out, struct err *err)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &write_money);
    bool refuse = lua_toboolean(L, -1);
    if (refuse || lua_type(L, index) != LUA_TTABLE)
        return err_set(err, ERR_INVALID, "this amount has no currency");
    buf_adds(out, "\"EUR 5\"");
    return ERR_NONE;
}

static int push_money_hook(lua_State *L)
{
    static const struct json_hook hook = {write_money};
    json_push_hook(L, &hook);
    return 1;
}

/* A light userdata that the registry knows, though not as a hook. */
static int push_no_hook(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t)&write_money);
    return 1;
}

static void metatables_can_say_how_a_value_is_written(void **state)
{
    lua_State *L = *state;
    lua_register(L, "moneyHook", push_money_hook);
    assert_encodes_with(L, "return { price = setmetatable({ 5 }, { __tojson = moneyHook() }) }", NULL,
                        "{\"price\":\"EUR 5\"}");
    assert_encodes_with(L, "return { setmetatable({ 5 }, { __jsonvalue = { a = 'x' } }) }", NULL,
                        "[{\"a\":\"x\"}]");
    assert_encodes_with(L, "return setmetatable({ 5 }, { __jsonvalue = false })", NULL, "false");
    assert_encodes_with(L, "local m = getmetatable(io.stdout) m.__jsonvalue = 'file' return { io.stdout }",
                        NULL, "[\"file\"]");
    lua_pushboolean(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &write_money);
    assert_encode_fails(L, "return { price = setmetatable({ 5 }, { __tojson = moneyHook() }) }", ERR_INVALID,
                        "at .price: this amount has no currency");
    lua_register(L, "noHook", push_no_hook);
    assert_encode_fails(
        L, "return setmetatable({}, { __tojson = noHook() })", ERR_INVALID,
        "a value whose metatable has a __tojson that is none of the program's own cannot be written as "
        "JSON");
}

static void arrays_are_told_from_objects(void **state)
{
    lua_State *L = *state;
    static const struct {
        const char *code;
        bool array;
    } cases[] = {{"return {}", false},
                 {"return { 1 }", true},
                 {"return { 1, nil, 3 }", false},
                 {"return { 1, x = 2 }", false},
                 {"return 'x'", false},
                 {"return require 'workers.json'.array()", true},
                 {"return require 'workers.json'.object { 1 }", false},
                 {"return setmetatable({ 1 }, {})", true},
                 {"return require 'workers.json'.decode '[]'", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(luaL_dostring(L, cases[i].code), LUA_OK);
        if (json_is_array(L, -1) != cases[i].array)
            fail_msg("%s", cases[i].code);
        assert_int_equal(lua_gettop(L), 1);
        lua_settop(L, 0);
    }
}

/* ---- The Lua modules ---- */

static void the_module_raises_at_the_callers_line(void **state)
{
    lua_State *L = *state;
    check_lua_error(L, "local json = require 'workers.json'\n\njson.decode('[1,\\n x]')",
                    "test:3: not valid JSON: line 2, column 2: expected a value but found 'x'");
    check_lua_error(L, "local json = require 'workers.json'\njson.encode { a = { print } }",
                    "test:2: cannot encode: at .a[1]: a function cannot be written as JSON");
    check_lua_error(L, "require 'workers.json'.encode({}, { sortkeys = true })",
                    "test:1: unknown option 'sortkeys' of encode; did you mean 'sortKeys'? (there are pretty "
                    "and sortKeys)");
    check_lua_error(
        L, "require 'workers.json'.encode({}, { prety = true })",
        "test:1: unknown option 'prety' of encode; did you mean 'pretty'? (there are pretty and sortKeys)");
    check_lua_error(L, "require 'workers.json'.encode({}, { pretty = 2 })",
                    "test:1: the option 'pretty' of encode must be true or false, not a number");
    check_lua_error(L, "require 'workers.json'.decode(12)",
                    "test:1: bad argument #1 to 'decode' (string expected, got number)");
    check_lua_error(L, "require 'workers.json'.encode()",
                    "test:1: bad argument #1 to 'encode' (value expected)");
    check_lua_error(L, "require 'workers.json'.array(setmetatable({}, {}))",
                    "test:1: bad argument #1 to 'array' (the table has a metatable of its own)");
    check_lua(L, "local json = require 'workers.json'\n"
                 "assert(json.encode({ b = 1, a = { 2 } }, { pretty = true, sortKeys = true }) ==\n"
                 "  '{\\n  \"a\": [\\n    2\\n  ],\\n  \"b\": 1\\n}')\n"
                 "assert(json.encode(json.object(json.array {})) == '{}')\n"
                 "local t = {}\n"
                 "return rawequal(json.array(t), t) and json.encode(t) == '[]'");
}

static void cjson_has_the_known_names(void **state)
{
    lua_State *L = *state;
    check_lua(L, "local cjson = require 'cjson'\n"
                 "for _, name in ipairs { 'encode', 'decode', 'new', 'encode_sparse_array', "
                 "'encode_max_depth', 'decode_max_depth',\n"
                 "    'encode_number_precision', 'encode_keep_buffer', 'encode_invalid_numbers', "
                 "'decode_invalid_numbers' } do\n"
                 "  assert(type(cjson[name]) == 'function', name)\n"
                 "end\n"
                 "assert(cjson._NAME == 'cjson' and cjson._VERSION:find '^2%.1')\n"
                 "assert(cjson.encode_number_precision(5) == 17 and cjson.encode { 0.1 + 0.2 } == "
                 "'[0.30000000000000004]')\n"
                 "assert(math.type(cjson.decode('[1]')[1]) == 'integer')\n"
                 "assert(cjson.encode_invalid_numbers('null') == false and not pcall(cjson.encode, 0/0))\n"
                 "local own = cjson.new()\n"
                 "assert(own.encode_max_depth(2) == 2 and own.decode_max_depth(1) == 1 and "
                 "own.encode_max_depth() == 2)\n"
                 "assert(not pcall(own.encode, { { { 1 } } }) and pcall(cjson.encode, { { { 1 } } }))\n"
                 "assert(not pcall(own.decode, '[[1]]') and pcall(cjson.decode, '[[1]]'))\n"
                 "assert(cjson.encode_max_depth(100000) == 512)\n"
                 "assert(own.encode_empty_table_as_object(false) == false and own.encode {} == '[]' and "
                 "cjson.encode {} == '{}')\n"
                 "assert(cjson.encode(setmetatable({}, cjson.array_mt)) == '[]')\n"
                 "local safe = require 'cjson.safe'\n"
                 "local value, message = safe.decode '[1'\n"
                 "assert(value == nil and message == \"not valid JSON: line 1, column 3: expected ',' or ']' "
                 "but found the end of the text\")\n"
                 "assert(select('#', safe.encode(print)) == 2 and safe.new().decode 'x' == nil)\n"
                 "return safe.decode '{\"a\":1}'.a == 1");
}

static void long_work_looks_at_the_budget(void **state)
{
    lua_State *L = *state;
    ticks = 0;
    check_lua(L, "big = {} for i = 1, 20000 do big[i] = i end\n"
                 "text = require 'workers.json'.encode(big)\n"
                 "return #require 'workers.json'.decode(text) == 20000");
    if (ticks == 0)
        skip(); /* the script runtime's own is linked, and tested there */
    assert_int_equal(ticks, 8);
    tick_raises = true;
    check_lua(L, "local json = require 'workers.json'\n"
                 "return not pcall(json.encode, big) and not pcall(json.encode, big, { sortKeys = true })\n"
                 "  and not pcall(json.decode, text)");
    struct buf out;
    struct err err;
    buf_init(&out, 1 << 20);
    lua_getglobal(L, "big");
    assert_int_equal(json_encode(L, -1, NULL, &out, &err), ERR_NONE); /* raises nothing */
    buf_free(&out);
    tick_raises = false;
}

static size_t allocations_left;

static void *failing_alloc(void *ud, void *block, size_t old_size, size_t new_size)
{
    (void)ud;
    if (new_size == 0) {
        free(block);
        return NULL;
    }
    bool grows = block == NULL || new_size > old_size;
    if (grows && allocations_left != 0 && --allocations_left == 0) {
        allocations_left = 1; /* and all after it */
        return NULL;
    }
    return realloc(block, new_size);
}

static int work(lua_State *L)
{
    static const char text[] = "{\"list\":[1,2.5,\"a\\nb\",{},[]],\"n\":null,\"long\":\"\\u00e9"
                               "0123456789012345678901234567890123456789012345678901234567890123456789\"}";
    struct buf *out = lua_touserdata(L, 1);
    struct err err;
    struct json_encode_options options = {.sort_keys = true};
    enum err_code code = json_decode(L, text, sizeof text - 1, &err);
    if (code == ERR_NONE)
        code = json_encode(L, -1, &options, out, &err);
    lua_pushinteger(L, code);
    return 1;
}

/* Fails the nth allocation of Lua and all after it, for every n, until all goes well. */
static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 10000);
    bool whole = false;
    size_t nth = 0;
    while (!whole && nth < 1000) {
        allocations_left = 0;
        lua_State *L = lua_newstate(failing_alloc, NULL);
        allocations_left = ++nth;
        buf_clear(&out);
        lua_pushcfunction(L, work);
        lua_pushlightuserdata(L, &out);
        int status = lua_pcall(L, 1, 1, 0);
        assert_true(status == LUA_OK || status == LUA_ERRMEM);
        whole = status == LUA_OK && lua_tointeger(L, -1) == ERR_NONE;
        if (status == LUA_OK && !whole)
            assert_int_equal(lua_tointeger(L, -1), ERR_NOMEM);
        lua_close(L);
    }
    assert_true(nth > 10);
    assert_string_equal(
        buf_text(&out),
        "{\"list\":[1,2.5,\"a\\nb\",{},[]],\"long\":\"é"
        "0123456789012345678901234567890123456789012345678901234567890123456789\",\"n\":null}");
    buf_free(&out);
}

static size_t fail_encode_from;

static int encode_only(lua_State *L)
{
    struct buf *out = lua_touserdata(L, 1);
    struct err err;
    allocations_left = fail_encode_from;
    enum err_code code = json_encode(L, 2, NULL, out, &err);
    allocations_left = 0;
    lua_pushinteger(L, code);
    return 1;
}

/* Callers of json_encode hold memory, so that it must not raise even when Lua has none left. */
static void encoding_never_raises(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 10000);
    lua_Integer code = ERR_NOMEM;
    allocations_left = 0;
    for (fail_encode_from = 1; code != ERR_NONE && fail_encode_from < 1000; fail_encode_from++) {
        lua_State *L = lua_newstate(failing_alloc, NULL);
        lua_pushcfunction(L, encode_only);
        lua_pushlightuserdata(L, &out);
        assert_int_equal(luaL_dostring(L, "local t = { 1 } for i = 1, 100 do t = { t } end return t"),
                         LUA_OK);
        buf_clear(&out);
        assert_int_equal(lua_pcall(L, 2, 1, 0), LUA_OK);
        code = lua_tointeger(L, -1);
        assert_true(code == ERR_NONE || code == ERR_NOMEM);
        lua_close(L);
    }
    assert_int_equal(code, ERR_NONE);
    assert_true(fail_encode_from > 3);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_survive_a_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(big_tables_survive_a_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_strings_with_escapes_are_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(decoded_types_are_what_they_should_be, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mistakes_are_named_with_their_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(depth_is_limited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tables_become_lists_or_objects, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_json_lacks_is_named_with_its_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shared_tables_cannot_outgrow_the_buffer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(metatables_can_say_how_a_value_is_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(arrays_are_told_from_objects, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_module_raises_at_the_callers_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cjson_has_the_known_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_work_looks_at_the_budget, set_up, tear_down),
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(encoding_never_raises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
