/* The proxy that the environment asks for. */
#include "net/proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *const names[] = {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",
                                    "all_proxy",  "ALL_PROXY",  "no_proxy",    "NO_PROXY"};

static int clear(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
    return 0;
}

static void test_which(void **state)
{
    (void)state;
    assert_null(proxy_for(true, "a.com", 443));
    setenv("HTTP_PROXY", "http://upper:1", 1);
    assert_null(proxy_for(false, "a.com", 80)); /* may come from a request header */
    setenv("http_proxy", "http://lower:2", 1);
    assert_string_equal(proxy_for(false, "a.com", 80), "http://lower:2");
    assert_null(proxy_for(true, "a.com", 443));
    setenv("all_proxy", "http://all:3", 1);
    assert_string_equal(proxy_for(true, "a.com", 443), "http://all:3");
    setenv("HTTPS_PROXY", "http://secure:4", 1);
    assert_string_equal(proxy_for(true, "a.com", 443), "http://secure:4");
    setenv("https_proxy", "", 1); /* empty: the lower-case name turns it off */
    assert_string_equal(proxy_for(true, "a.com", 443), "http://all:3");
}

static void test_direct(void **state)
{
    (void)state;
    static const struct {
        const char *list, *host;
        int port;
        bool direct;
    } cases[] = {
        {"*", "a.com", 80, true},
        {"a.com", "a.com", 80, true},
        {"A.com", "a.com", 80, true},
        {"a.com", "x.a.com", 80, true},
        {".a.com", "x.a.com", 80, true},
        {".a.com", "a.com", 80, true},
        {"*.a.com", "x.a.com", 80, true},
        {"a.com", "ba.com", 80, false},
        {"a.com", "a.com.org", 80, false},
        {"b.com, a.com", "a.com", 80, true},
        {"b.com a.com", "a.com", 80, true},
        {",,", "a.com", 80, false},
        {"", "a.com", 80, false},
        {"a.com:8080", "a.com", 8080, true},
        {"a.com:8080", "a.com", 80, false},
        {"localhost,127.0.0.1,::1", "::1", 80, true},
        {"[::1]", "::1", 80, true},
        {"[::1]:80", "::1", 80, true},
        {"[::1]:81", "::1", 80, false},
        {"127.0.0.1", "127.0.0.1", 80, true},
        {"127.0.0.1:80", "127.0.0.1", 81, false},
        {"10.0.0.0/8", "10.1.2.3", 80, true},
        {"10.0.0.0/8", "11.1.2.3", 80, false},
        {"10.0.0.0/33", "10.1.2.3", 80, false},
        {"10.0.0.0/8x", "10.1.2.3", 80, false},
        {"fd00::/8", "fd12::1", 80, true},
        {"0.0.1", "127.0.0.1", 80, false}, /* an address has no subdomains */
    };
    setenv("http_proxy", "http://p:1", 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        setenv("no_proxy", cases[i].list, 1);
        if ((proxy_for(false, cases[i].host, cases[i].port) == NULL) != cases[i].direct)
            fail_msg("%s for %s:%d", cases[i].list, cases[i].host, cases[i].port);
    }
    unsetenv("no_proxy");
    setenv("NO_PROXY", "a.com", 1);
    assert_null(proxy_for(false, "a.com", 80));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_which, clear),
        cmocka_unit_test_setup(test_direct, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
