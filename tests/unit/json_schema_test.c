/* JSON Schemas of tools: what compiles, what passes, the errors, the written text, and the limits. What Ajv
 * says of thousands of random schemas and values is compared by tests/conformance/oracle. */
#include "base/mem.h"
#include "modules/json.h"
#include "script/budget.h"
#include "worker/formats.h"
#include "worker/json_schema.h"

#include <lauxlib.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The codec ticks while it decodes; nothing limits these scripts. */
__attribute__((weak)) void budget_tick(lua_State *L)
{
    (void)L;
}

static lua_State *new_state(void)
{
    lua_State *L = luaL_newstate();
    assert_non_null(L);
    luaL_openlibs(L);
    json_push_array_metatable(L);
    lua_setglobal(L, "ARRAY");
    json_push_object_metatable(L);
    lua_setglobal(L, "OBJECT");
    lua_pushlightuserdata(L, NULL);
    lua_setglobal(L, "null");
    return L;
}

/* Pushes the value of a Lua expression, or of a chunk that starts with "do". */
static void push(lua_State *L, const char *expression)
{
    bool chunk = strncmp(expression, "local ", 6) == 0;
    const char *code = chunk ? expression : lua_pushfstring(L, "return %s", expression);
    if (luaL_dostring(L, code) != LUA_OK)
        fail_msg("%s: %s", expression, lua_tostring(L, -1));
    if (!chunk)
        lua_remove(L, -2);
}

static struct json_schema *compile(lua_State *L, const char *expression)
{
    struct json_schema *schema = NULL;
    struct err err = {0};
    push(L, expression);
    int top = lua_gettop(L);
    if (json_schema_compile(L, -1, &schema, &err) != ERR_NONE)
        fail_msg("%s: %s", expression, err.message);
    assert_int_equal(lua_gettop(L), top);
    lua_pop(L, 1);
    return schema;
}

static void expect_refusal(lua_State *L, const char *expression, enum err_code code, const char *message)
{
    struct json_schema *schema = NULL;
    struct err err = {0};
    push(L, expression);
    int top = lua_gettop(L);
    assert_int_equal(json_schema_compile(L, -1, &schema, &err), code);
    assert_null(schema);
    assert_int_equal(err.code, code);
    assert_string_equal(err.message, message);
    assert_int_equal(lua_gettop(L), top);
    lua_pop(L, 1);
}

/* errors is the whole array, NULL when the value must pass. */
static void expect(lua_State *L, const struct json_schema *schema, const char *value, const char *errors)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    buf_adds(&out, "kept ");
    push(L, value);
    int top = lua_gettop(L);
    enum err_code code = json_schema_validate(schema, L, -1, &out);
    assert_string_equal(buf_text(&out) + 5, errors != NULL ? errors : "");
    assert_int_equal(code, errors != NULL ? ERR_INVALID : ERR_NONE);
    assert_int_equal(lua_gettop(L), top);
    lua_pop(L, 1);
    buf_free(&out);
}

static void expect_all(lua_State *L, const char *schema_text, const char *const *values, const char *errors)
{
    struct json_schema *schema = compile(L, schema_text);
    for (; *values != NULL; values++)
        expect(L, schema, *values, errors);
    json_schema_free(schema);
}

#define VALUES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define TYPE_ERROR(type)                                                                                     \
    "[{\"instancePath\":\"\",\"schemaPath\":\"#/type\",\"keyword\":\"type\",\"params\":{\"type\":\"" type    \
    "\"},\"message\":\"must be " type "\"}]"

static void test_types(void **state)
{
    (void)state;
    lua_State *L = new_state();
    expect_all(L, "{type='string'}", VALUES("''", "'7'", "'a\\0b'"), NULL);
    expect_all(L, "{type='string'}", VALUES("7", "null", "nil", "{}", "true", "print"), TYPE_ERROR("string"));
    expect_all(L, "{type='number'}", VALUES("7", "-1.5", "1e300", "math.mininteger"), NULL);
    expect_all(L, "{type='number'}", VALUES("'7'", "0/0", "1/0", "-1/0", "null"), TYPE_ERROR("number"));
    expect_all(L, "{type='integer'}", VALUES("7", "7.0", "-1e300", "math.maxinteger"), NULL);
    expect_all(L, "{type='integer'}", VALUES("7.5", "'7'", "0/0", "1/0", "true"), TYPE_ERROR("integer"));
    expect_all(L, "{type='boolean'}", VALUES("true", "false"), NULL);
    expect_all(L, "{type='boolean'}", VALUES("0", "'true'", "null"), TYPE_ERROR("boolean"));
    expect_all(L, "{type='null'}", VALUES("null"), NULL);
    expect_all(L, "{type='null'}", VALUES("false", "0", "''", "{}", "io.stdout"), TYPE_ERROR("null"));
    expect_all(L, "{type='array'}", VALUES("{}", "{1,2}", "setmetatable({}, ARRAY)"), NULL);
    expect_all(L, "{type='array'}", VALUES("{a=1}", "setmetatable({}, OBJECT)", "'x'", "{1,nil,3,x=1}"),
               TYPE_ERROR("array"));
    expect_all(L, "{type='object'}", VALUES("{}", "{a=1}", "setmetatable({}, OBJECT)"), NULL);
    expect_all(L, "{type='object'}", VALUES("{1}", "setmetatable({}, ARRAY)", "null"), TYPE_ERROR("object"));
    expect_all(L, "{}", VALUES("1", "'x'", "null", "{}"), NULL);
    lua_close(L);
}

#define PERSON                                                                                               \
    "{type='object', properties={name={type='string'}, ['a/b~ c']={type='integer'}}, "                       \
    "required={'name','a/b~ c'}, "                                                                           \
    "additionalProperties=false}"

static void test_objects(void **state)
{
    (void)state;
    lua_State *L = new_state();
    struct json_schema *schema = compile(L, PERSON);
    expect(L, schema, "{name='x', ['a/b~ c']=1}", NULL);
    expect(L, schema, "{name='x'}",
           "[{\"instancePath\":\"\",\"schemaPath\":\"#/required\",\"keyword\":\"required\",\"params\":"
           "{\"missingProperty\":\"a/b~ c\"},\"message\":\"must have required property 'a/b~ c'\"}]");
    expect(L, schema, "{name=1, ['a/b~ c']=1.5}",
           "[{\"instancePath\":\"/name\",\"schemaPath\":\"#/properties/name/"
           "type\",\"keyword\":\"type\",\"params\":"
           "{\"type\":\"string\"},\"message\":\"must be string\"}]");
    expect(L, schema, "{name='x', ['a/b~ c']=1.5}",
           "[{\"instancePath\":\"/a~1b~0 "
           "c\",\"schemaPath\":\"#/properties/a~1b~0%20c/type\",\"keyword\":\"type\","
           "\"params\":{\"type\":\"integer\"},\"message\":\"must be integer\"}]");
    expect(L, schema, "{name='x', ['a/b~ c']=1, z=1, ['q\"\\1\\255']=2}",
           "[{\"instancePath\":\"\",\"schemaPath\":\"#/"
           "additionalProperties\",\"keyword\":\"additionalProperties\","
           "\"params\":{\"additionalProperty\":\"q\\\"\\u0001\xEF\xBF\xBD\"},"
           "\"message\":\"must NOT have additional properties\"}]");
    expect(
        L, schema, "{name='x', ['a/b~ c']=1, [2.5]=1}",
        "[{\"instancePath\":\"\",\"schemaPath\":\"#/"
        "additionalProperties\",\"keyword\":\"additionalProperties\","
        "\"params\":{\"additionalProperty\":\"2.5\"},\"message\":\"must NOT have additional properties\"}]");
    /* null is a value, and metamethods play no part */
    expect(L, schema, "{name=null, ['a/b~ c']=1}",
           "[{\"instancePath\":\"/name\",\"schemaPath\":\"#/properties/name/"
           "type\",\"keyword\":\"type\",\"params\":"
           "{\"type\":\"string\"},\"message\":\"must be string\"}]");
    expect(L, schema, "setmetatable({name='x', ['a/b~ c']=1}, {__index=error, __pairs=error, __len=error})",
           NULL);
    json_schema_free(schema);
    lua_close(L);
}

static void test_lists_enums_branches(void **state)
{
    (void)state;
    lua_State *L = new_state();
    struct json_schema *schema =
        compile(L, "{type='array', items={type='string', enum={'a','b'}}, minItems=2}");
    expect(L, schema, "{'a','b'}", NULL);
    expect(L, schema, "{'a'}",
           "[{\"instancePath\":\"\",\"schemaPath\":\"#/"
           "minItems\",\"keyword\":\"minItems\",\"params\":{\"limit\":2},"
           "\"message\":\"must NOT have fewer than 2 items\"}]");
    expect(L, schema, "{'a','c'}",
           "[{\"instancePath\":\"/1\",\"schemaPath\":\"#/items/enum\",\"keyword\":\"enum\",\"params\":"
           "{\"allowedValues\":[\"a\",\"b\"]},\"message\":\"must be equal to one of the allowed values\"}]");
    json_schema_free(schema);
    expect_all(L, "{enum={1, 0.5, 'x', true, 9007199254740993}}",
               VALUES("1", "1.0", "0.5", "'x'", "true", "9007199254740993"), NULL);
    expect_all(
        L, "{enum={1, 0.5, 'x', true, 9007199254740993}}",
        VALUES("2", "'1'", "false", "9007199254740992", "{}", "null"),
        "[{\"instancePath\":\"\",\"schemaPath\":\"#/"
        "enum\",\"keyword\":\"enum\",\"params\":{\"allowedValues\":"
        "[1,0.5,\"x\",true,9007199254740993]},\"message\":\"must be equal to one of the allowed values\"}]");
    schema = compile(L, "{anyOf={{type='string', format='email'}, {type='null'}}}");
    expect(L, schema, "'ada@example.com'", NULL);
    expect(L, schema, "null", NULL);
    expect(
        L, schema, "'ada'",
        "[{\"instancePath\":\"\",\"schemaPath\":\"#/anyOf/0/"
        "format\",\"keyword\":\"format\",\"params\":{\"format\":"
        "\"email\"},\"message\":\"must match format \\\"email\\\"\"},{\"instancePath\":\"\",\"schemaPath\":"
        "\"#/anyOf/1/type\",\"keyword\":\"type\",\"params\":{\"type\":\"null\"},\"message\":\"must be "
        "null\"},"
        "{\"instancePath\":\"\",\"schemaPath\":\"#/anyOf\",\"keyword\":\"anyOf\",\"params\":{},"
        "\"message\":\"must match a schema in anyOf\"}]");
    json_schema_free(schema);
    lua_close(L);
}

static void test_builder_values(void **state)
{
    (void)state;
    lua_State *L = new_state();
    struct json_schema *schema =
        compile(L, "setmetatable({}, {__index=error, order=1, __jsonvalue={type='array', items="
                   "setmetatable({}, {__jsonvalue={type='integer'}})}})");
    expect(L, schema, "{1,2}", NULL);
    expect(
        L, schema, "{'x'}",
        "[{\"instancePath\":\"/0\",\"schemaPath\":\"#/items/type\",\"keyword\":\"type\",\"params\":{\"type\":"
        "\"integer\"},\"message\":\"must be integer\"}]");
    json_schema_free(schema);
    lua_close(L);
}

static void test_refusals(void **state)
{
    (void)state;
    lua_State *L = new_state();
    static const struct {
        const char *schema;
        const char *message;
    } cases[] = {
        {"5", "invalid schema: must be a j value such as j.string(), not a number"},
        {"{type='strin'}",
         "invalid schema at type: unknown type \"strin\"; valid types are string, number, integer, "
         "boolean, null, array and object"},
        {"{type={'string','null'}}",
         "invalid schema at type: must be one type name, not a table; for several types use anyOf"},
        {"{typ='string'}", "invalid schema: unknown keyword \"typ\"; did you mean \"type\"?"},
        {"{minLength=3}",
         "invalid schema: unknown keyword \"minLength\"; the keywords are type, description, default, "
         "format, "
         "enum, items, minItems, properties, required, additionalProperties, $defs, $ref and anyOf"},
        {"{{type='string'}}",
         "invalid schema: a schema's keys are names, but this one has a key that is a number; "
         "write j.array or j.anyOf for a list"},
        {"{type='string', description=7}", "invalid schema at description: must be a string, not a number"},
        {"{type='string', format='mail'}", "invalid schema at format: unknown format \"mail\"; valid formats "
                                           "are date-time, date, time, duration, "
                                           "email, hostname, ipv4, ipv6 and uuid"},
        {"{type='object', properties={a={default={}}}}",
         "invalid schema at properties.a.default: must be a string, a finite number, true, false or null, "
         "not a "
         "table"},
        {"{enum={}}", "invalid schema at enum: needs at least one allowed value"},
        {"{enum={'a','a'}}", "invalid schema at enum: lists \"a\" twice; name each value once"},
        {"{enum={1,1.0}}", "invalid schema at enum: lists a value twice; name each value once"},
        {"{enum={'a',{}}}",
         "invalid schema at enum[1]: must be a string, a finite number, true, false or null, not a "
         "table"},
        {"{enum={0/0}}",
         "invalid schema at enum[0]: must be a string, a finite number, true, false or null, not a "
         "number"},
        {"{anyOf={}}", "invalid schema at anyOf: needs at least one schema"},
        {"{anyOf={{type='null'},{type='x'}}}", "invalid schema at anyOf[1].type: unknown type \"x\"; valid "
                                               "types are string, number, integer, boolean, "
                                               "null, array and object"},
        {"{type='array', minItems=-1}", "invalid schema at minItems: must be a whole number, 0 or more"},
        {"{type='array', minItems=1.5}", "invalid schema at minItems: must be a whole number, 0 or more"},
        {"{type='array', items={{type='string'}}}", "invalid schema at items: a schema's keys are names, but "
                                                    "this one has a key that is a number; write j.array "
                                                    "or j.anyOf for a list"},
        {"{type='object', properties={a={}}, required={'a','a'}}",
         "invalid schema: \"required\" lists \"a\" twice"},
        {"{type='object', required={7}}",
         "invalid schema at required[0]: must be a property name, not a number"},
        {"{type='object', properties={{}}}",
         "invalid schema at properties: must be a table of name = schema, but has a key that is no string"},
        {"{type='object', properties='x'}",
         "invalid schema at properties: must be a table of name = schema, not a string"},
        {"{type='object', additionalProperties={}}",
         "invalid schema at additionalProperties: must be false, not a table"},
        {"{['$ref']=7}",
         "invalid schema at $ref: must be a reference such as \"#/properties/name\", not a number"},
        {"{['$ref']='#/properties/a'}",
         "invalid schema: the reference \"#/properties/a\" leads nowhere; write \"#\" "
         "for the whole schema, or a path within it such as \"#/properties/name\""},
        {"{['$ref']='#'}", "invalid schema: the reference \"#\" leads back to itself and says nothing else"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refusal(L, cases[i].schema, ERR_INVALID, cases[i].message);
    expect_refusal(
        L, "{properties={['\\255']={}, b={['$ref']='#/properties/%ff'}}}", ERR_INVALID,
        "invalid schema: the reference \"#/properties/%ff\" leads nowhere; write \"#\" for the whole "
        "schema, or a path within it such as \"#/properties/name\"");
    static const char *const nowhere[] = {"x",
                                          "#x",
                                          "#/properties",
                                          "#/type",
                                          "#/properties/%",
                                          "#/properties/%6",
                                          "#/properties/%ff",
                                          "#/properties/a/anyOf/00",
                                          "#/anyOf/99999999999",
                                          "#/properties/a/",
                                          "http://example.com/a",
                                          "##",
                                          "#//"};
    for (size_t i = 0; i < sizeof nowhere / sizeof nowhere[0]; i++) {
        char schema[256];
        char message[512];
        snprintf(schema, sizeof schema,
                 "{type='object', properties={a={anyOf={{}}}, b={['$ref']='%s'}}, required={'a','b'}}",
                 nowhere[i]);
        snprintf(
            message, sizeof message,
            "invalid schema: the reference \"%s\" leads nowhere; write \"#\" for the whole schema, or a path "
            "within it such as \"#/properties/name\"",
            nowhere[i]);
        expect_refusal(L, schema, ERR_INVALID, message);
    }
    lua_close(L);
}

static void test_references(void **state)
{
    (void)state;
    lua_State *L = new_state();
    struct json_schema *schema = compile(
        L, "{type='object', properties={value={type='string'}, next={anyOf={{['$ref']='#'}, {type='null'}}}},"
           "required={'value','next'}, additionalProperties=false}");
    expect(L, schema, "{value='a', next={value='b', next=null}}", NULL);
    expect(
        L, schema, "{value='a', next={value=1, next=null}}",
        "[{\"instancePath\":\"/next/value\",\"schemaPath\":\"#/properties/value/type\",\"keyword\":\"type\","
        "\"params\":{\"type\":\"string\"},\"message\":\"must be string\"},{\"instancePath\":\"/next\","
        "\"schemaPath\":\"#/properties/next/anyOf/1/"
        "type\",\"keyword\":\"type\",\"params\":{\"type\":\"null\"},"
        "\"message\":\"must be "
        "null\"},{\"instancePath\":\"/next\",\"schemaPath\":\"#/properties/next/anyOf\","
        "\"keyword\":\"anyOf\",\"params\":{},\"message\":\"must match a schema in anyOf\"}]");
    json_schema_free(schema);
    schema = compile(L, "{['$defs']={['a b']={type='string'}}, anyOf={{['$ref']='#/$defs/a%20b'}}}");
    expect(L, schema, "'x'", NULL);
    expect(L, schema, "1",
           "[{\"instancePath\":\"\",\"schemaPath\":\"#/$defs/a%20b/"
           "type\",\"keyword\":\"type\",\"params\":{\"type\":"
           "\"string\"},\"message\":\"must be string\"},{\"instancePath\":\"\",\"schemaPath\":\"#/anyOf\","
           "\"keyword\":\"anyOf\",\"params\":{},\"message\":\"must match a schema in anyOf\"}]");
    json_schema_free(schema);
    lua_close(L);
}

static void expect_limit(lua_State *L, const struct json_schema *schema, const char *value,
                         const char *keyword)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    push(L, value);
    assert_int_equal(json_schema_validate(schema, L, -1, &out), ERR_LIMIT);
    char wanted[64];
    snprintf(wanted, sizeof wanted, "\"keyword\":\"%s\"", keyword);
    assert_non_null(strstr(buf_text(&out), wanted));
    assert_int_equal(out.data[0], '[');
    assert_int_equal(out.data[out.len - 1], ']');
    lua_settop(L, 0);
    buf_free(&out);
}

static void test_limits(void **state)
{
    (void)state;
    lua_State *L = new_state();
    /* a reference that never consumes anything */
    struct json_schema *schema = compile(L, "{anyOf={{['$ref']='#'}, {['$ref']='#'}}}");
    expect_limit(L, schema, "1", "depth");
    json_schema_free(schema);
    /* a value as deep as it likes */
    schema = compile(L, "{type='array', items={['$ref']='#'}}");
    expect(L, schema, "local t = {} for _ = 1, 200 do t = {t} end return t", NULL);
    expect_limit(L, schema, "local t = {} for _ = 1, 5000 do t = {t} end return t", "depth");
    expect_limit(L, schema, "local t = {} t[1] = t return t", "depth");
    json_schema_free(schema);
    /* branches that differ only at the bottom double the work at each level */
    schema = compile(
        L, "{type='array', items={anyOf={{['$ref']='#'}, {['$ref']='#'}, {['$ref']='#'}}}, minItems=1}");
    expect_limit(L, schema, "local t = {5} for _ = 1, 60 do t = {t} end return t", "steps");
    json_schema_free(schema);
    expect_refusal(
        L, "local t = {type='array'} t.items = t return t", ERR_LIMIT,
        "invalid schema: nests deeper than 512 levels; use j.ref(\"#\") for a schema that contains itself");
    expect_refusal(L, "local t = {type='string'} for _ = 1, 40 do t = {anyOf={t, t}} end return t", ERR_LIMIT,
                   "invalid schema: has more than 100000 parts; use j.ref for parts that repeat");
    lua_close(L);
}

static void test_small_error_buffer(void **state)
{
    (void)state;
    lua_State *L = new_state();
    struct json_schema *schema = compile(L, "{anyOf={{type='string'}, {type='null'}}}");
    for (size_t max = 0; max < 420; max++) {
        struct buf out;
        buf_init(&out, max);
        lua_pushinteger(L, 1);
        assert_int_equal(json_schema_validate(schema, L, -1, &out), ERR_INVALID);
        lua_pop(L, 1);
        assert_true(out.len <= max);
        if (max >= 2) {
            assert_int_equal(out.data[0], '[');
            assert_int_equal(out.data[out.len - 1], ']');
            struct err err;
            if (json_decode(L, out.data, out.len, &err) != ERR_NONE)
                fail_msg("%zu bytes: %s", max, err.message);
            assert_int_equal(lua_rawlen(L, -1), max < 112 ? 0 : lua_rawlen(L, -1));
            lua_pop(L, 1);
        }
        buf_free(&out);
    }
    json_schema_free(schema);
    lua_close(L);
}

static void test_write(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        const char *text;
    } cases[] = {
        {"{}", "{}"},
        {"{type='string', format='date-time', description='a \"b\"\\n'}",
         "{\"type\":\"string\",\"format\":\"date-time\",\"description\":\"a \\\"b\\\"\\u000a\"}"},
        {"{type='number', enum={1, 2.0, 0.1, -7, 1e300}}",
         "{\"type\":\"number\",\"enum\":[1,2,0.1,-7,1e+300]}"},
        {"{type='object', properties={}, required={}, additionalProperties=false}",
         "{\"type\":\"object\",\"properties\":{},\"required\":[],\"additionalProperties\":false}"},
        /* declared order is that of "required" */
        {"{type='object', properties={a={type='array', items={}, minItems=0}, z={['$ref']='#'}, m={}}, "
         "required={'z','m','a'}, additionalProperties=false}",
         "{\"type\":\"object\",\"properties\":{\"z\":{\"$ref\":\"#\"},\"m\":{},\"a\":{\"type\":\"array\","
         "\"items\":{},"
         "\"minItems\":0}},\"required\":[\"z\",\"m\",\"a\"],\"additionalProperties\":false}"},
        {"{properties={a={default='\"x\"'}, b={default=false}, c={default=1.5}, d={default=null, "
         "type='null'}}}",
         "{\"properties\":{\"a\":{\"default\":\"\\\"x\\\"\"},\"b\":{\"default\":false},\"c\":{\"default\":1."
         "5},"
         "\"d\":{\"type\":\"null\",\"default\":null}}}"},
        {"{anyOf={{type='integer'}, {type='null'}}, ['$defs']={x={type='boolean'}}}",
         "{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"null\"}],\"$defs\":{\"x\":{\"type\":\"boolean\"}}}"},
    };
    lua_State *L = new_state();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_schema *schema = compile(L, cases[i].schema);
        struct buf out;
        buf_init(&out, 4096);
        assert_int_equal(json_schema_write(schema, &out), ERR_NONE);
        assert_string_equal(buf_text(&out), cases[i].text);
        buf_free(&out);
        buf_init(&out, 1);
        assert_int_equal(json_schema_write(schema, &out), ERR_LIMIT);
        buf_free(&out);
        json_schema_free(schema);
    }
    lua_close(L);
}

/* Fills the value and compares it with what is expected, as JSON. */
static void expect_filled(lua_State *L, const char *schema_text, const char *value, const char *expected)
{
    const struct json_encode_options sorted = {.sort_keys = true};
    struct json_schema *schema = compile(L, schema_text);
    struct err err = {0};
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(json_decode(L, value, strlen(value), &err), ERR_NONE);
    int top = lua_gettop(L);
    json_schema_fill(schema, L, -1);
    assert_int_equal(lua_gettop(L), top);
    assert_int_equal(json_encode(L, -1, &sorted, &out, &err), ERR_NONE);
    assert_string_equal(buf_text(&out), expected);
    buf_free(&out);
    lua_pop(L, 1);
    json_schema_free(schema);
}

static void test_defaults(void **state)
{
    (void)state;
    lua_State *L = new_state();
    expect_filled(L, "{properties={a={default=20}}}", "{}", "{\"a\":20}");
    expect_filled(L, "{properties={a={default=20}}}", "{\"a\":3}", "{\"a\":3}");
    expect_filled(L, "{properties={a={default=20}}}", "{\"a\":null}", "{\"a\":null}");
    expect_filled(L, "{properties={a={default=false}}}", "{}", "{\"a\":false}");
    expect_filled(L, "{properties={a={default='x'}}}", "{\"a\":false}", "{\"a\":false}");
    expect_filled(L, "{properties={a={default=null}}}", "{}", "{\"a\":null}");
    /* Within what is there: objects, elements of arrays, what a reference means; not what may be meant. */
    expect_filled(L, "{properties={o={properties={a={default=0.5}}}}}", "{}", "{}");
    expect_filled(L, "{properties={o={properties={a={default=0.5}}}}}", "{\"o\":{}}", "{\"o\":{\"a\":0.5}}");
    expect_filled(L, "{items={properties={a={default='x'}}}}", "[{},{\"a\":1},[],2]",
                  "[{\"a\":\"x\"},{\"a\":1},[],2]");
    expect_filled(L, "{properties={a={default=1}, next={['$ref']='#'}}}",
                  "{\"a\":2,\"next\":{\"a\":3,\"next\":{}}}",
                  "{\"a\":2,\"next\":{\"a\":3,\"next\":{\"a\":1}}}");
    expect_filled(L, "{anyOf={{properties={a={default=1}}}, {}}}", "{}", "{}");
    expect_filled(L, "{properties={a={default=1}}}", "\"text\"", "\"text\"");
    lua_close(L);
}

static void test_allocation_failures(void **state)
{
    (void)state;
#ifdef WORKERS_FAULT_INJECTION
    lua_State *L = new_state();
    push(L, "{type='object', properties={a={enum={'x','y'}, default='x'}, "
            "b={anyOf={{['$ref']='#/properties/a'}}}}, "
            "required={'a','b'}, additionalProperties=false, description='d'}");
    unsigned long nth = 0;
    enum err_code code;
    do {
        struct json_schema *schema = NULL;
        struct err err = {0};
        mem_fail_from(++nth);
        code = json_schema_compile(L, -1, &schema, &err);
        mem_fail_from(0);
        if (code != ERR_NONE) {
            assert_int_equal(code, ERR_NOMEM);
            assert_null(schema);
            assert_int_equal(lua_gettop(L), 1);
        }
        json_schema_free(schema);
    } while (code != ERR_NONE);
    assert_true(nth > 2);
    lua_close(L);
#else
    skip();
#endif
}

static void expect_format(const char *name, const char *text, bool valid)
{
    const struct string_format *format = format_find(name, strlen(name));
    assert_non_null(format);
    if (format->match(text, strlen(text)) != valid)
        fail_msg("%s: \"%s\" should be %s", name, text, valid ? "valid" : "refused");
}

static void test_formats(void **state)
{
    (void)state;
    assert_null(format_find("uri", 3));
    assert_null(format_find("date-tim", 8));
    assert_null(format_find("", 0));
    static const struct {
        const char *format;
        const char *valid[6];
        const char *refused[8];
    } cases[] = {
        {"date-time",
         {"2024-02-29T12:34:56Z", "1990-12-31t23:59:60z", "2024-01-01 00:00:00.5+0530",
          "2024-01-01\xE2\x80\x83"
          "00:00:00-08"},
         {"2024-02-30T00:00:00Z", "2024-01-01T00:00:00", "2024-01-01", "2024-01-01TT00:00:00Z", ""}},
        {"date", {"2024-02-29", "0000-02-29"}, {"1900-02-29", "2024-13-01", "2024-1-01", "2024-01-01 ", ""}},
        {"time",
         {"23:59:59Z", "15:59:60-08:00", "24:59:60+01:00"},
         {"23:59:59", "23:59:60+01:00", "24:00:00Z", "12:34:5Z", "12:34:56.Z", "12:34:56+24:00",
          "12:34:61Z"}},
        {"duration",
         {"P1Y2M3DT4H5M6S", "P3W", "PT0S"},
         {"P", "PT", "P1DT", "P1W1D", "P1S", "1D", "p1D", "P1M1Y"}},
        {"email",
         {"a.b+c@x.example", "!@a.b"},
         {"a@b", "a..b@c.d", "@c.d", "a@-b.c", "a@b.c.", "a b@c.d", ""}},
        {"hostname", {"a", "example.com.", "1-2.3"}, {"", ".", "-a", "a-", "a..b", "a_b", "a..", "é.com"}},
        {"ipv4",
         {"0.0.0.0", "255.255.255.255"},
         {"256.0.0.0", "01.0.0.0", "1.2.3", "1.2.3.4.5", "1.2.3.", ""}},
        {"ipv6",
         {"::", "::1", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "1:2:3:4:5:6:7::"},
         {"", ":", ":::", "1::2::3", "12345::", "1:2:3:4:5:6:7", "1:2:3:4:5:6::1.2.3.4", "1:2:3:4:5:6:7:"}},
        {"uuid",
         {"123e4567-E89B-12d3-a456-426614174000", "URN:uuid:123e4567-e89b-12d3-a456-426614174000"},
         {"123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400g", "", "urn:uuid:"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t v = 0; v < 6 && cases[i].valid[v] != NULL; v++)
            expect_format(cases[i].format, cases[i].valid[v], true);
        for (size_t r = 0; r < 8 && cases[i].refused[r] != NULL; r++)
            expect_format(cases[i].format, cases[i].refused[r], false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_lists_enums_branches),
        cmocka_unit_test(test_builder_values),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_small_error_buffer),
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_formats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
