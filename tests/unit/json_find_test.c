/* Finding members in JSON text, and whether a text is JSON at all. */
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

/* NULL: it is not there. */
static void expect_member(const char *text, const char *name, const char *value)
{
    struct json_slice slice = {"unchanged", 9};
    bool found = json_find(text, strlen(text), name, &slice);
    assert_int_equal(found, value != NULL);
    value = value != NULL ? value : "unchanged";
    assert_int_equal(slice.len, strlen(value));
    assert_memory_equal(slice.text, value, slice.len);
}

static void test_members(void **state)
{
    (void)state;
    expect_member("{\"a\":1,\"b\":[2, {\"a\":3}]}", "a", "1");
    expect_member("{\"a\":1,\"b\":[2, {\"a\":3}]}", "b", "[2, {\"a\":3}]");
    expect_member("{\"a\":1,\"a\":2}", "a", "1");
    expect_member(" { \"\\u0061\" : null } ", "a", "null");
    expect_member("{\"ab\":1}", "a", NULL);
    expect_member("{\"b\":{\"a\":1}}", "a", NULL);
    expect_member("[{\"a\":1}]", "a", NULL);
    expect_member("", "a", NULL);
    expect_member("{\"b\":x,\"a\":1}", "a", NULL);
}

static void expect_copy(const char *text, const char *value)
{
    struct json_scan scan;
    char *copy = json_find_copy(text, strlen(text), "a");
    assert_int_equal(json_find_string(text, strlen(text), "a", &scan), value != NULL);
    if (value == NULL)
        assert_null(copy);
    else
        assert_string_equal(copy, value);
    mem_free(copy);
}

static void test_strings(void **state)
{
    (void)state;
    expect_copy("{\"a\":\"\"}", "");
    expect_copy("{\"a\":\"x\\n\\u00fc\\ud83d\\ude00\"}", "x\n\xc3\xbc\xf0\x9f\x98\x80");
    expect_copy("{\"a\":1}", NULL);
    expect_copy("{\"a\":null}", NULL);
    expect_copy("{\"a\":[\"x\"]}", NULL);
    expect_copy("{\"b\":\"x\"}", NULL);
}

static void test_whole_texts(void **state)
{
    (void)state;
    static const char *const good[] = {"1", " null\n", "{\"a\":[1,2]}", "\"x\""};
    static const char *const bad[] = {"", "  ", "1 2", "{\"a\":1", "[1,]", "{}x", "nul", "'x'"};
    struct err err = {0};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(json_check(good[i], strlen(good[i]), &err), ERR_NONE);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(json_check(bad[i], strlen(bad[i]), &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "line 1, column 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_whole_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
