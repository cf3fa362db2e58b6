/* UTF-8, widths, suggestions, names, patterns, units. */
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void expect_utf8(const char *text, size_t len, bool valid, size_t offset)
{
    size_t bad = 999;
    assert_int_equal(text_is_utf8(text, len, &bad), valid);
    assert_int_equal(bad, valid ? 999 : offset);
}

static void test_is_ascii(void **state)
{
    (void)state;
    char text[40];
    memset(text, 'a', sizeof text);
    assert_true(text_is_ascii("", 0));
    assert_true(text_is_ascii("\0\x7F", 2));
    assert_true(text_is_ascii(text, sizeof text));
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = '\x80';
        assert_false(text_is_ascii(text, sizeof text));
        assert_true(text_is_ascii(text, i));
        text[i] = 'a';
    }
}

static void test_is_utf8(void **state)
{
    (void)state;
    static const char all[] = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\0z";
    expect_utf8(all, sizeof all - 1, true, 0);
    expect_utf8("", 0, true, 0);
    expect_utf8("\xEF\xBF\xBF\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80", 13, true, 0);
    expect_utf8("ab\x80", 3, false, 2);
    expect_utf8("a\xC0\x80", 3, false, 1);        /* overlong */
    expect_utf8("\xE0\x9F\xBF", 3, false, 0);     /* overlong */
    expect_utf8("\xF0\x8F\xBF\xBF", 4, false, 0); /* overlong */
    expect_utf8("\xED\xA0\x80", 3, false, 0);     /* surrogate */
    expect_utf8("\xF4\x90\x80\x80", 4, false, 0); /* beyond U+10FFFF */
    expect_utf8("\xF8\x88\x80\x80\x80", 5, false, 0);
    for (size_t cut = 1; cut < 4; cut++) /* cut short, also where the bytes go on behind the end */
        expect_utf8("\xF0\x9F\x98\x80", cut, false, 0);
    expect_utf8("\xC3\xA9\xE2\x82", 4, false, 2);
    assert_false(text_is_utf8("\xFF", 1, NULL));
}

static size_t width(const char *text)
{
    return text_display_width(text, strlen(text));
}

static void test_display_width(void **state)
{
    (void)state;
    assert_int_equal(width(""), 0);
    assert_int_equal(width("abc"), 3);
    assert_int_equal(width("Größe"), 5);
    assert_int_equal(width("Gro\xCC\x88\xC3\x9F"), 4); /* o and a combining diaeresis */
    assert_int_equal(width("日本語"), 6);
    assert_int_equal(width("한국"), 4);
    assert_int_equal(width("🎯"), 2);
    assert_int_equal(width("👍🏽"), 2); /* with a skin tone */
    assert_int_equal(width("❤\xEF\xB8\x8F"), 1);
    assert_int_equal(width("ｆｕ"), 4);
    assert_int_equal(width("…–€"), 3);
    assert_int_equal(width("\xE2\x80\x8B"), 0); /* zero-width space */
    assert_int_equal(width("a\nb\x1b"), 2);
    assert_int_equal(width("\xFFz\xE2\x82"), 4); /* bytes that are not UTF-8 */
}

static int nearest(const char *word)
{
    static const char *const names[] = {"schedule", "database", "execute", "mode", "twoWay", "a"};
    return text_nearest(word, strlen(word), names, 6);
}

static void test_nearest(void **state)
{
    (void)state;
    assert_int_equal(nearest("schedul"), 0);
    assert_int_equal(nearest("shcedule"), 0); /* a swap is one edit */
    assert_int_equal(nearest("databse"), 1);
    assert_int_equal(nearest("Database"), 1);
    assert_int_equal(nearest("excute"), 2);
    assert_int_equal(nearest("mdoe"), 3);
    assert_int_equal(nearest("mod"), 3);
    assert_int_equal(nearest("twoway"), 4);
    assert_int_equal(nearest("mo"), -1);
    assert_int_equal(nearest("node"), 3);
    assert_int_equal(nearest("nods"), -1);
    assert_int_equal(nearest("schedules today"), -1);
    assert_int_equal(nearest(""), -1);
    char longest[300];
    memset(longest, 'a', sizeof longest);
    const char *const names[] = {"aaa"};
    assert_int_equal(text_nearest(longest, sizeof longest, names, 1), -1);
    assert_int_equal(text_nearest("x", 1, NULL, 0), -1);
}

static void expect_snake(const char *name, const char *wanted)
{
    struct buf out;
    buf_init(&out, 1024);
    buf_adds(&out, "x_"); /* what is there already plays no part */
    text_snake_case(name, strlen(name), &out);
    assert_string_equal(buf_text(&out) + 2, wanted);
    buf_free(&out);
}

static void test_snake_case(void **state)
{
    (void)state;
    expect_snake("Task ID", "task_id");
    expect_snake("calendarEvents", "calendar_events");
    expect_snake("URL", "url");
    expect_snake("HTTPServer", "http_server");
    expect_snake("Größe (cm)", "größe_cm");
    expect_snake("", "property");
    expect_snake("---", "property");
    expect_snake("🎯", "property");
    expect_snake("  a  b  ", "a_b");
    expect_snake("_key_", "key");
    expect_snake("snake_case", "snake_case");
    expect_snake("Due—Date", "due_date");
    expect_snake("🎯 Ziel", "ziel");
    expect_snake("日本語 名", "日本語_名");
    expect_snake("URLs", "urls");
    expect_snake("IDs of URLs", "ids_of_urls");
    expect_snake("URLset", "ur_lset");
    expect_snake("v2Beta", "v2_beta");
    expect_snake("2024 Plan", "2024_plan");
    expect_snake("Übergröße", "Übergröße");
    expect_snake("a\xFFz", "a_z");
    struct buf small;
    buf_init(&small, 3);
    text_snake_case("Task ID", 7, &small);
    assert_int_equal(buf_status(&small, "the name", NULL), ERR_LIMIT);
    buf_free(&small);
}

static bool glob(const char *pattern, const char *text)
{
    return text_glob_match(pattern, strlen(pattern), text, strlen(text));
}

static void test_glob(void **state)
{
    (void)state;
    assert_true(glob("", ""));
    assert_true(glob("*", ""));
    assert_true(glob("GITHUB_*", "GITHUB_TOKEN"));
    assert_true(glob("GITHUB_*", "GITHUB_"));
    assert_true(glob("*.example.com", "api.example.com"));
    assert_true(glob("a*b*c", "aXbXbc"));
    assert_true(glob("**", "x"));
    assert_true(glob("a?[b]", "a?[b]"));
    assert_false(glob("", "x"));
    assert_false(glob("GITHUB_*", "github_token"));
    assert_false(glob("GITHUB_*", "MY_GITHUB_TOKEN"));
    assert_false(glob("*.example.com", "example.com"));
    assert_false(glob("*.example.com", "api.example.com.evil.org"));
    assert_false(glob("a?c", "abc"));
    assert_false(glob("a*b", "ac"));
    assert_false(text_glob_match("*.com", 5, "a.org\0.com", 6));
    assert_true(text_glob_match("*.com", 5, "a.org\0.com", 10));
    char text[4096];
    memset(text, 'a', sizeof text);
    assert_false(text_glob_match("*a*a*a*a*a*a*a*a*b", 18, text, sizeof text));
}

static void expect_size(const char *text, uint64_t wanted)
{
    uint64_t bytes = 0;
    struct err err = {0};
    if (text_parse_size(text, strlen(text), &bytes, &err) != ERR_NONE)
        fail_msg("%s", err.message);
    assert_true(bytes == wanted);
}

static void expect_duration(const char *text, int64_t wanted)
{
    int64_t milliseconds = 0;
    struct err err = {0};
    if (text_parse_duration(text, strlen(text), &milliseconds, &err) != ERR_NONE)
        fail_msg("%s", err.message);
    assert_true(milliseconds == wanted);
}

static void test_units(void **state)
{
    (void)state;
    expect_size("0", 0);
    expect_size("1024", 1024);
    expect_size("7B", 7);
    expect_size("64KiB", 65536);
    expect_size("256MiB", 268435456);
    expect_size("2GiB", 2147483648);
    expect_size("1TiB", 1099511627776);
    expect_size("5kB", 5000);
    expect_size("5MB", 5000000);
    expect_size("9223372036854775807", INT64_MAX);
    expect_duration("500ms", 500);
    expect_duration("30s", 30000);
    expect_duration("15m", 900000);
    expect_duration("12h", 43200000);
    expect_duration("7d", 604800000);
    expect_duration("2w", 1209600000);
    expect_duration("0s", 0);
    static const char *const bad[] = {"",
                                      "MiB",
                                      "1.5GiB",
                                      "-1",
                                      "256 MiB",
                                      "256mib",
                                      "256M",
                                      "9223372036854775808",
                                      "8388608TiB",
                                      "1MiBx",
                                      "99999999999999999999999999",
                                      "18446744073709551617"};
    uint64_t bytes;
    int64_t milliseconds;
    struct err err;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(text_parse_size(bad[i], strlen(bad[i]), &bytes, &err), ERR_INVALID);
    assert_int_equal(text_parse_size("256M\n", 5, &bytes, &err), ERR_INVALID);
    assert_string_equal(
        err.message,
        "\"256M?\" is not a size; write a whole number and a unit, such as 64KiB, 256MiB or 2GiB");
    static const char *const bad_durations[] = {"",     "30",  "s",  "1.5h",          "-1s",  "1h30m",
                                                "30 s", "30S", "1y", "106751991168d", "15min"};
    for (size_t i = 0; i < sizeof bad_durations / sizeof bad_durations[0]; i++)
        assert_int_equal(text_parse_duration(bad_durations[i], strlen(bad_durations[i]), &milliseconds, &err),
                         ERR_INVALID);
    assert_string_equal(err.message,
                        "\"15min\" is not a duration; write a whole number and a unit, such as 500ms, "
                        "30s, 15m, 12h or 7d");
    char longest[500];
    memset(longest, '9', sizeof longest);
    assert_int_equal(text_parse_duration(longest, sizeof longest, &milliseconds, &err), ERR_INVALID);
    assert_string_equal(err.message,
                        "\"9999999999999999999999999999999999999999...\" is not a duration; write a "
                        "whole number and a unit, such as 500ms, 30s, 15m, 12h or 7d");
}

static void expect_plain(const char *text, const char *expected)
{
    char copy[64];
    snprintf(copy, sizeof copy, "%s", text);
    text_make_plain(copy, strlen(copy));
    assert_string_equal(copy, expected);
}

static void test_make_plain(void **state)
{
    (void)state;
    expect_plain("", "");
    expect_plain("Z\xc3\xbcrich \xe2\x82\xac", "Z\xc3\xbcrich \xe2\x82\xac");
    expect_plain("a\tb\nc\x1b[31md\x7f", "a b c [31md ");
    expect_plain("\xc2\x9b"
                 "1m\xc2\xa0",
                 "  1m\xc2\xa0");
    expect_plain("a\xff\xc3", "a  ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_ascii),      cmocka_unit_test(test_is_utf8),
        cmocka_unit_test(test_display_width), cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_snake_case),    cmocka_unit_test(test_glob),
        cmocka_unit_test(test_units),         cmocka_unit_test(test_make_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
