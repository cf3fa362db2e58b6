/* Text of URLs, and libcurl when it is not there. */
#include "net/curl_api.h"
#include "net/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_library(void **state)
{
    (void)state;
    struct curl_api api;
    struct err err = {0};
    assert_int_equal(curl_api_open("libcurl-is-not-here.so.4", &api, &err), ERR_NOT_FOUND);
    assert_non_null(
        strstr(err.message, "HTTP needs libcurl, which could not be loaded (libcurl-is-not-here.so.4"));
    assert_non_null(strstr(err.message, "install the package libcurl4"));
    assert_int_equal(curl_api_open("libm.so.6", &api, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "libm.so.6 lacks curl_global_init_mem"));
}

static void test_url_text(void **state)
{
    (void)state;
    struct buf out;
    struct err err;
    buf_init(&out, 1000);
    url_encode(&out, "a b/\xc3\xa9~*\0", 9);
    assert_string_equal(buf_text(&out), "a%20b%2F%C3%A9~%2A%00");
    buf_clear(&out);
    url_encode_form(&out, "a b+~*", 6);
    assert_string_equal(buf_text(&out), "a+b%2B%7E*");
    buf_clear(&out);
    assert_int_equal(url_decode(&out, "a+b%2f%c3%A9", 12, &err), ERR_NONE);
    assert_string_equal(buf_text(&out), "a+b/\xc3\xa9");
    buf_clear(&out);
    assert_int_equal(url_decode(&out, "a+b", 3, true, &err), ERR_NONE);
    assert_string_equal(buf_text(&out), "a b");
    buf_clear(&out);
    assert_int_equal(url_decode(&out, "ab%4", 4, true, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "the % at byte 3 is not followed by two hexadecimal digits"));
    assert_int_equal(url_decode(&out, "%zz", 3, true, &err), ERR_INVALID);

    const struct url_pair pairs[] = {{"a", 1, "1 2", 3}, {"b&", 2, "", 0}};
    const char *cases[][2] = {
        {"http://h/p", "http://h/p?a=1+2&b%26="},         {"http://h/p?x=y", "http://h/p?x=y&a=1+2&b%26="},
        {"http://h/p?", "http://h/p?a=1+2&b%26="},        {"http://h/p?x&", "http://h/p?x&a=1+2&b%26="},
        {"http://h/p#f?g", "http://h/p?a=1+2&b%26=#f?g"}, {"", "?a=1+2&b%26="},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_clear(&out);
        url_add_query(&out, cases[i][0], strlen(cases[i][0]), pairs, 2);
        assert_string_equal(buf_text(&out), cases[i][1]);
    }
    buf_clear(&out);
    url_add_query(&out, "http://h/p#f", 12, pairs, 0);
    assert_string_equal(buf_text(&out), "http://h/p#f");
    buf_free(&out);
}

static void test_url_join(void **state)
{
    (void)state;
    struct buf out;
    struct err err;
    buf_init(&out, 1000);
    const char *base = "http://h/a/b?q#f";
    const char *cases[][2] = {{"c", "http://h/a/c"},      {"../c", "http://h/c"},
                              {"/x/./y", "http://h/x/y"}, {"?z", "http://h/a/b?z"},
                              {"//i/j", "http://i/j"},    {"https://k/", "https://k/"},
                              {"", "http://h/a/b?q"},     {"../../../c", "http://h/c"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_clear(&out);
        assert_int_equal(url_join(&out, base, strlen(base), cases[i][0], strlen(cases[i][0]), &err),
                         ERR_NONE);
        assert_string_equal(buf_text(&out), cases[i][1]);
    }
    assert_int_equal(url_join(&out, "a/b", 3, "c", 1, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "the base is not an absolute URL"));
    assert_int_equal(url_join(&out, base, strlen(base), "a\0b", 3, &err), ERR_INVALID);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_library),
        cmocka_unit_test(test_url_text),
        cmocka_unit_test(test_url_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
