/* URLs, what the HTTP client makes of them, and libcurl when it is not there. */
#include "base/mem.h"
#include "net/curl_api.h"
#include "net/http_target.h"
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
    assert_int_equal(url_decode(&out, "ab%4", 4, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "the % at byte 3 is not followed by two hexadecimal digits"));
    assert_int_equal(url_decode(&out, "%zz", 3, &err), ERR_INVALID);
    char loose[] = "a+b%2b%%4%zz%C3%A9%";
    assert_int_equal(url_decode_loose(loose, loose, sizeof loose - 1, true), 13);
    assert_memory_equal(loose, "a b+%%4%zz\xc3\xa9%", 13);
    assert_int_equal(url_decode_loose(loose, "+%00", 4, false), 2);
    assert_memory_equal(loose, "+\0", 2);
    buf_clear(&out);

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

/* ---- parsing ---- */

static void expect_part(const struct url *url, const struct url_part *part, const char *text)
{
    if (!url_part_is(url, part, text))
        fail_msg("%.*s in %s is not %s", (int)part->len, url_part_text(url, part), buf_text(&url->text),
                 text);
}

static void test_parts(void **state)
{
    (void)state;
    struct url url;
    struct err err;
    const char *text = "  HTTPS://an\tn:p:w@EXAMPLE.com:8443/a/%2e./b c?q=\xc3\xa9'#f` \n";
    assert_int_equal(url_parse(&url, text, strlen(text), NULL, &err), ERR_NONE);
    assert_string_equal(buf_text(&url.text), "https://ann:p%3Aw@example.com:8443/b%20c?q=%C3%A9%27#f%60");
    assert_int_equal(url.text.len, strlen(url.text.data));
    expect_part(&url, &url.scheme, "https");
    expect_part(&url, &url.user, "ann");
    expect_part(&url, &url.password, "p%3Aw");
    expect_part(&url, &url.host, "example.com");
    expect_part(&url, &url.path, "/b%20c");
    expect_part(&url, &url.query, "q=%C3%A9%27");
    expect_part(&url, &url.fragment, "f%60");
    assert_int_equal(url.port, 8443);
    assert_int_equal(url.default_port, 443);
    assert_true(url.special && url.has_host && url.has_query && url.has_fragment);
    assert_false(url.file || url.opaque_path);
    url_free(&url);
    url_free(&url);

    assert_int_equal(url_parse(&url, "mailto:a@b", 10, NULL, &err), ERR_NONE);
    expect_part(&url, &url.path, "a@b");
    assert_true(url.opaque_path && !url.special && !url.has_host && !url.has_query && !url.has_fragment);
    assert_int_equal(url.port, -1);
    assert_int_equal(url.default_port, -1);
    url_free(&url);

    /* Every byte, in every place, NUL included. */
    for (int c = 0; c < 256; c++) {
        char bytes[] = "x:/_?_#_.";
        bytes[3] = bytes[5] = bytes[7] = (char)c;
        assert_int_equal(url_parse(&url, bytes, 9, NULL, &err), ERR_NONE);
        for (size_t i = 0; i < url.text.len; i++)
            assert_true(url.text.data[i] > ' ' && url.text.data[i] < 0x7f);
        url_free(&url);
    }
}

static void test_refused(void **state)
{
    (void)state;
    struct url url;
    struct err err;
    const char *cases[][2] = {
        {"", "the URL is malformed: it begins with no scheme, such as https:, and there is no base"},
        {"a/b",
         "the URL \"a/b\" is malformed: it begins with no scheme, such as https:, and there is no base"},
        {"http://", "the URL \"http://\" is malformed: it has no host"},
        {"http://u:secret@/", "the URL is malformed: it has no host"},
        {"http://:80/?key=secret", "the URL \"http://:80/\" is malformed: it has no host"},
        {"http://h:x/", "the URL \"http://h:x/\" is malformed: its port is not a number"},
        {"http://h:65536/", "the URL \"http://h:65536/\" is malformed: its port is greater than 65535"},
        {"http://a b/", "the URL \"http://a?b/\" is malformed: its host has a space"},
        {"http://a%00b/", "the URL \"http://a%00b/\" is malformed: its host has a control character"},
        {"http://a%/", "the URL \"http://a%/\" is malformed: its host has a %"},
        {"http://[::1/", "the URL \"http://[::1/\" is malformed: the [ of its host is not closed by a ]"},
        {"http://[1::2::3]/",
         "the URL \"http://[1::2::3]/\" is malformed: what it has in [ ] is no IPv6 address"},
        {"http://1.2.3.4.5/",
         "the URL \"http://1.2.3.4.5/\" is malformed: its host ends in a number, but is no "
         "IPv4 address: it has more than four parts"},
        {"http://a.1/",
         "the URL \"http://a.1/\" is malformed: its host ends in a number, but is no IPv4 address: "
         "a part of it is no number"},
        {"http://256.1/", "the URL \"http://256.1/\" is malformed: its host ends in a number, but is no IPv4 "
                          "address: a part of it is too large"},
        {"http://\xc3\xbc.x/",
         "the URL \"http://?\?.x/\" is malformed: its host has letters beyond ASCII; write it in "
         "punycode (xn--...)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(url_parse(&url, cases[i][0], strlen(cases[i][0]), NULL, &err), ERR_INVALID);
        assert_string_equal(err.message, cases[i][1]);
        assert_null(url.text.data);
    }
    struct url base;
    assert_int_equal(url_parse(&base, "data:x", 6, NULL, &err), ERR_NONE);
    assert_int_equal(url_parse(&url, "y", 1, &base, &err), ERR_INVALID);
    assert_string_equal(err.message,
                        "the URL \"y\" is malformed: it is relative, and the base is of a kind that "
                        "nothing can be relative to");
    url_free(&base);

    char *large = mem_need(URL_MAX + 1);
    memset(large, '\x80', URL_MAX + 1); /* each byte becomes three */
    memcpy(large, "x:", 2);
    assert_int_equal(url_parse(&url, large, URL_MAX, NULL, &err), ERR_NONE);
    assert_int_equal(url.text.len, 2 + 3 * (URL_MAX - 2));
    url_free(&url);
    assert_int_equal(url_parse(&url, large, URL_MAX + 1, NULL, &err), ERR_INVALID);
    assert_string_equal(err.message, "the URL is malformed: it is longer than 1048576 bytes");
    mem_free(large);
}

/* What is checked is what is connected to: the client makes of every way to write an address what scripts
 * see.
 */
static void test_target_agrees(void **state)
{
    (void)state;
    const char *cases[][2] = {
        {"http://2130706433/", "127.0.0.1"},
        {"http://0x7f.1/", "127.0.0.1"},
        {"http://0177.0.0.1/", "127.0.0.1"},
        {"http://127.1/", "127.0.0.1"},
        {"http://127.0.0.1./", "127.0.0.1"},
        {"http://%31%32%37.0.0.1/", "127.0.0.1"},
        {"http://0xffffffff:80/", "255.255.255.255"},
        {"http://0/", "0.0.0.0"},
        {"http://[::ffff:127.0.0.1]/", "[::ffff:7f00:1]"},
        {"http://[0:0:0:0:0:0:0:1]/", "[::1]"},
        {"http://[0001:0:0:2:0:0:0:3]:81/", "[1:0:0:2::3]"},
        {"http://[1:0:2:0:3:0:4::]/", "[1:0:2:0:3:0:4:0]"},
        {"http://LOCALHOST/", "localhost"},
        {"http://u:p@evil.example@h.example/", "h.example"},
        {"http://a.example#@b.example/", "a.example"},
        {"http://a.example?@b.example/", "a.example"},
        {"http://a_b.example/", "a_b.example"},
    };
    struct err err;
    const struct curl_api *api = curl_api_get(&err);
    assert_non_null(api);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct url url;
        struct http_target target;
        char message[HTTP_MESSAGE_MAX];
        const char *text = cases[i][0];
        const char *host = cases[i][1];
        assert_int_equal(url_parse(&url, text, strlen(text), NULL, &err), ERR_NONE);
        expect_part(&url, &url.host, host);
        if (http_target_parse(api, text, strlen(text), &target, message) != HTTP_OK)
            fail_msg("%s: %s", text, message);
        size_t bracket = host[0] == '[';
        assert_int_equal(strlen(target.host), strlen(host) - 2 * bracket);
        assert_memory_equal(target.host, host + bracket, strlen(target.host));
        url_free(&url);
        http_target_free(api, &target);
    }
}

static void expect_join(const char *base, const char *reference, const char *result)
{
    struct err err;
    const struct curl_api *api = curl_api_get(&err);
    struct http_target here, there;
    char message[HTTP_MESSAGE_MAX];
    assert_int_equal(http_target_parse(api, base, strlen(base), &here, message), HTTP_OK);
    if (http_target_join(api, &here, reference, strlen(reference), &there, message) != HTTP_OK)
        assert_string_equal(message, result);
    else
        assert_string_equal(there.text, result);
    http_target_free(api, &here);
    http_target_free(api, &there);
}

static void test_target_join(void **state)
{
    (void)state;
    expect_join("http://u:p@h:81/a/b?q#f", "../c d", "http://h:81/c%20d");
    expect_join("http://h/a/b?q#f", "", "http://h/a/b?q");
    expect_join("http://h/a/b", "//0x7f.1:80/x", "http://127.0.0.1/x");
    expect_join("http://h/a/b", "\\\\0x7f.1/x", "http://127.0.0.1/x");
    expect_join("http://h/a/b", "https:c", "https://c/");
    expect_join("http://h/a/b", "ftp://x/",
                "the URL \"ftp://x/\" is malformed: it must begin with http:// or https://");
    expect_join("http://h/a/b", "//h:0/",
                "the URL \"//h:0/\" is malformed: its port is not between 1 and 65535");
    expect_join("http://h/a/b", "//%01:x@h/",
                "the URL is malformed: its user name or password has a control character");
}

static void test_set_query(void **state)
{
    (void)state;
    const struct url_pair pairs[] = {
        {"a", 1, "1", 1}, {"a", 1, "2", 1}, {"b c", 3, NULL, 0}, {"d", 1, "", 0}, {"z", 1, "&", 1}};
    const char *cases[][2] = {
        {"h", "h?a=1&a=2&d=&z=%26"},
        {"h?", "h?a=1&a=2&d=&z=%26"},
        {"h?z#f?a", "h?z=%26&a=1&a=2&d=#f?a"},
        {"?x=%20&a=0&y=+&a=9&&b+c=1&b%20c&%61", "?x=%20&a=1&a=2&y=+&d=&z=%26"},
        {"#f", "?a=1&a=2&d=&z=%26#f"},
        {"", "?a=1&a=2&d=&z=%26"},
    };
    struct buf out;
    struct err err;
    buf_init(&out, 1000);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_clear(&out);
        assert_int_equal(url_set_query(&out, cases[i][0], strlen(cases[i][0]), pairs, 5, &err), ERR_NONE);
        assert_string_equal(buf_text(&out), cases[i][1]);
    }
    buf_clear(&out);
    assert_int_equal(url_set_query(&out, "h?b+c#f", 7, pairs + 2, 1, &err), ERR_NONE);
    assert_string_equal(buf_text(&out), "h#f");
    buf_free(&out);
    buf_init(&out, 10);
    assert_int_equal(url_set_query(&out, "h", 1, pairs, 5, &err), ERR_LIMIT);
    buf_free(&out);
}

#ifdef WORKERS_FAULT_INJECTION
/* Parses, resolves and builds with the nth allocation failing; false when any failed. */
static bool try_everything(unsigned long nth)
{
    static const char text[] = "http://user:pass@[::ffff:1.2.3.4]:81/a/../b\tc?q#f";
    struct url base, url, built;
    struct err err = {0};
    struct buf out;
    const struct url_pair pair = {"a", 1, "b", 1};
    const struct url_parts parts = {.scheme = {"x", 1}, .path = {"//y", 3}, .query = {"q", 1}, .port = -1};
    buf_init(&out, 1000);
    mem_fail_from(nth);
    enum err_code code = url_parse(&base, text, sizeof text - 1, NULL, &err);
    bool has_base = code == ERR_NONE;
    enum err_code next = url_parse(&url, "../x", 4, has_base ? &base : NULL, &err);
    code = has_base ? next : code;
    enum err_code last = url_build(&built, &parts, &err);
    code = code == ERR_NONE ? last : code;
    if (has_base)
        url_origin(&out, &base);
    last = url_set_query(&out, "h?a", 3, &pair, 1, &err);
    code = code == ERR_NONE ? last : code;
    mem_fail_from(0);
    url_free(&base);
    url_free(&url);
    url_free(&built);
    buf_free(&out);
    assert_true(code == ERR_NONE || code == ERR_NOMEM);
    return code == ERR_NONE;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    unsigned long nth = 1;
    while (!try_everything(nth) && nth < 100)
        nth++;
    assert_in_range(nth, 8, 99);
}
#endif

/* NULL: it is not there. */
static void expect_parameter(const char *query, const char *value)
{
    struct url_slice found = {"", 0};
    assert_int_equal(url_find_parameter(query, "a", &found), value != NULL);
    assert_int_equal(found.len, value != NULL ? strlen(value) : 0);
    assert_memory_equal(found.text, value != NULL ? value : "", found.len);
}

static void test_find_parameter(void **state)
{
    (void)state;
    expect_parameter("a=1", "1");
    expect_parameter("b=2&a=x%20y&a=3", "x%20y");
    expect_parameter("a=", "");
    expect_parameter("a=b=c&&", "b=c");
    expect_parameter("&&ba=1&a=2", "2");
    expect_parameter("", NULL);
    expect_parameter("a", NULL);
    expect_parameter("ba=1&ab=2&a", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_library),       cmocka_unit_test(test_url_text),
        cmocka_unit_test(test_parts),         cmocka_unit_test(test_refused),
        cmocka_unit_test(test_target_agrees), cmocka_unit_test(test_target_join),
        cmocka_unit_test(test_set_query),     cmocka_unit_test(test_find_parameter),
#ifdef WORKERS_FAULT_INJECTION
        cmocka_unit_test(test_out_of_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
