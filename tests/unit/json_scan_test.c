/* JSON in C: the scanner, what is found with it, and the writer. */
#include "base/json.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void c_code_can_walk_a_text(void **state)
{
    (void)state;
    static const char text[] =
        "\xEF\xBB\xBF {\"skip\": [1, {\"a\": \"]\"}], \"n\\u0061me\":\"J\\u00f6\", \"tags\":[\"x\",2], "
        "\"slice\": {\"k\" : [ ] } }\n";
    struct json_scan scan;
    struct err err;
    struct json_slice slice = {NULL, 0};
    struct buf name;
    buf_init(&name, 100);
    bool more;
    int64_t sum = 0;
    int members = 0;
    json_scan_init(&scan, text, sizeof text - 1);
    assert_int_equal(json_scan_value(&scan, &err), ERR_NONE);
    assert_int_equal(scan.token, JSON_OBJECT);
    while (json_scan_member(&scan, &more, &err) == ERR_NONE && more) {
        members++;
        bool is_name = json_string_is(&scan, "name");
        bool is_tags = json_string_is(&scan, "tags");
        bool is_slice = json_string_is(&scan, "slice");
        assert_int_equal(json_scan_value(&scan, &err), ERR_NONE);
        if (is_name) {
            json_string_copy(&scan, &name);
        } else if (is_tags) {
            while (json_scan_element(&scan, &more, &err) == ERR_NONE && more) {
                if (scan.token == JSON_NUMBER)
                    sum += scan.number.integer;
            }
        } else {
            assert_int_equal(json_scan_skip(&scan, is_slice ? &slice : NULL, &err), ERR_NONE);
        }
    }
    assert_int_equal(json_scan_end(&scan, &err), ERR_NONE);
    assert_int_equal(members, 4);
    assert_string_equal(buf_text(&name), "Jö");
    assert_int_equal(sum, 2);
    assert_int_equal(slice.len, 12);
    assert_memory_equal(slice.text, "{\"k\" : [ ] }", 12);
    buf_free(&name);
}

static void names_are_compared_unescaped(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *text;
        bool same;
    } cases[] = {
        {"\"\"", "", true},
        {"\"a\"", "", false},
        {"\"\"", "a", false},
        {"\"ab\"", "a", false},
        {"\"\\u0041\\ud83d\\ude00\"", "A😀", true},
        {"\"\\ud800\\ud83d\\ude00\"", "\xEF\xBF\xBD😀", true},
        {"\"\\ud83d\\ude00\"", "😀", true},
        {"\"\\/\\n\\\\\"", "/\n\\", true},
        {"\"\\u0061bc\"", "ab", false},
        {"\"\\u0061\"", "abc", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json_scan scan;
        json_scan_init(&scan, cases[i].json, strlen(cases[i].json));
        assert_int_equal(json_scan_value(&scan, NULL), ERR_NONE);
        if (json_string_is(&scan, cases[i].text) != cases[i].same)
            fail_msg("%s against '%s'", cases[i].json, cases[i].text);
    }
}

static void skipping_checks_all_it_skips(void **state)
{
    (void)state;
    struct json_scan scan;
    struct err err;
    char deep[2 * JSON_DEPTH_MAX + 2];
    memset(deep, '[', JSON_DEPTH_MAX + 1);
    memset(deep + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    json_scan_init(&scan, deep + 1, 2 * JSON_DEPTH_MAX);
    assert_int_equal(json_scan_value(&scan, &err), ERR_NONE);
    assert_int_equal(json_scan_skip(&scan, NULL, &err), ERR_NONE);
    json_scan_init(&scan, deep, 2 * JSON_DEPTH_MAX + 2);
    assert_int_equal(json_scan_value(&scan, &err), ERR_NONE);
    assert_int_equal(json_scan_skip(&scan, NULL, &err), ERR_LIMIT);
    assert_string_equal(err.message, "line 1, column 513: nested deeper than 512 levels");
    static const char text[] = "{\"a\": [1, {\"b\" 2}]}";
    json_scan_init(&scan, text, sizeof text - 1);
    assert_int_equal(json_scan_value(&scan, &err), ERR_NONE);
    assert_int_equal(json_scan_skip(&scan, NULL, &err), ERR_INVALID);
    assert_string_equal(err.message, "line 1, column 16: expected ':' but found '2'");
}

static void strings_are_written_with_needed_escapes_only(void **state)
{
    (void)state;
    struct buf out;
    struct err err;
    buf_init(&out, 1000);
    static const char text[] = "a/\"\\\b\f\n\r\t\x01\x1f\x7f\0é€😀 </script>";
    assert_int_equal(json_write_string(&out, text, sizeof text - 1, &err), ERR_NONE);
    assert_string_equal(buf_text(&out),
                        "\"a/\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\\u0000é€😀 </script>\"");
    static const char *const wrong[] = {"\x80",
                                        "\xC0\x80",
                                        "\xC1\xBF",
                                        "\xE0\x9F\xBF",
                                        "\xED\xA0\x80",
                                        "\xF0\x8F\xBF\xBF",
                                        "\xF4\x90\x80\x80",
                                        "\xF5\x80\x80\x80",
                                        "\xFF",
                                        "\xE2\x82",
                                        "\xE2\x82z",
                                        "\xF0\x9F\x98z",
                                        "\xF0\x9Fzz",
                                        "\xC3z",
                                        "\xF0\x9F\x98",
                                        "\xC3"};
    size_t before = out.len;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char padded[32];
        int len = snprintf(padded, sizeof padded, "é\n3456789%s", wrong[i]);
        char message[100];
        snprintf(message, sizeof message, "the string is not valid UTF-8 at byte 11 (0x%02X)",
                 (unsigned char)wrong[i][0]);
        assert_int_equal(json_write_string(&out, padded, (size_t)len, &err), ERR_INVALID);
        assert_string_equal(err.message, message);
        assert_int_equal(out.len, before);
    }
    buf_clear(&out);
    out.max = 10;
    assert_int_equal(json_write_string(&out, "0123456789", 10, &err), ERR_NONE);
    assert_int_equal(buf_status(&out, "the text", &err), ERR_LIMIT);
    buf_free(&out);
}

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

static void members_are_found(void **state)
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

static void texts_are_found_and_copied(void **state)
{
    (void)state;
    expect_copy("{\"a\":\"\"}", "");
    expect_copy("{\"a\":\"x\\n\\u00fc\\ud83d\\ude00\"}", "x\n\xc3\xbc\xf0\x9f\x98\x80");
    expect_copy("{\"a\":1}", NULL);
    expect_copy("{\"a\":null}", NULL);
    expect_copy("{\"a\":[\"x\"]}", NULL);
    expect_copy("{\"b\":\"x\"}", NULL);
}

static void a_text_is_json_or_not(void **state)
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
        cmocka_unit_test(c_code_can_walk_a_text),
        cmocka_unit_test(names_are_compared_unescaped),
        cmocka_unit_test(skipping_checks_all_it_skips),
        cmocka_unit_test(strings_are_written_with_needed_escapes_only),
        cmocka_unit_test(members_are_found),
        cmocka_unit_test(texts_are_found_and_copied),
        cmocka_unit_test(a_text_is_json_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
