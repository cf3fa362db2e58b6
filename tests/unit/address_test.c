/* IP addresses: which are public, which lie in a network. */
#include "net/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

static struct address parsed(const char *text)
{
    struct address address;
    if (!address_parse(text, strlen(text), &address))
        fail_msg("%s is an address", text);
    return address;
}

static void test_parse(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",       "1",   "1.2.3",   "1.2.3.256", "1.2.3.4.5", "01.2.3.4", "0x7f.1",   "[::1]",
        "::1%lo", ":::", "1::2::3", "fe80::g",   "localhost", " 1.2.3.4", "1.2.3.4 ", "::ffff:1.2.3.4.5"};
    struct address address;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (address_parse(bad[i], strlen(bad[i]), &address))
            fail_msg("\"%s\" is no address", bad[i]);
    assert_false(address_parse("1.2.3.4\0", 8, &address));
    assert_true(address_is_ipv4(&(struct address){.bytes = {[10] = 0xff, [11] = 0xff}}));
    struct address a = parsed("127.0.0.1"), b = parsed("::ffff:127.0.0.1"), c = parsed("::FFFF:7F00:1");
    assert_memory_equal(&a, &b, sizeof a);
    assert_memory_equal(&a, &c, sizeof a);
    char text[ADDRESS_TEXT_MAX];
    assert_string_equal(address_format(&b, text), "127.0.0.1");
    a = parsed("2001:0DB8:0:0::1");
    assert_string_equal(address_format(&a, text), "2001:db8::1");
}

static void test_public(void **state)
{
    (void)state;
    /* First and last address of each range, and their neighbours outside. */
    static const struct {
        const char *text;
        bool is_public;
    } cases[] = {
        {"0.0.0.0", false},
        {"0.255.255.255", false},
        {"1.0.0.0", true},
        {"9.255.255.255", true},
        {"10.0.0.0", false},
        {"10.255.255.255", false},
        {"11.0.0.0", true},
        {"100.63.255.255", true},
        {"100.64.0.0", false},
        {"100.127.255.255", false},
        {"100.128.0.0", true},
        {"126.255.255.255", true},
        {"127.0.0.0", false},
        {"127.0.0.1", false},
        {"127.255.255.255", false},
        {"128.0.0.0", true},
        {"169.253.255.255", true},
        {"169.254.0.0", false},
        {"169.254.169.254", false},
        {"169.254.255.255", false},
        {"169.255.0.0", true},
        {"172.15.255.255", true},
        {"172.16.0.0", false},
        {"172.31.255.255", false},
        {"172.32.0.0", true},
        {"192.0.0.0", false},
        {"192.0.0.255", false},
        {"192.0.1.0", true},
        {"192.0.2.1", false},
        {"192.88.99.1", false},
        {"192.167.255.255", true},
        {"192.168.0.0", false},
        {"192.168.255.255", false},
        {"192.169.0.0", true},
        {"198.17.255.255", true},
        {"198.18.0.0", false},
        {"198.19.255.255", false},
        {"198.20.0.0", true},
        {"198.51.100.7", false},
        {"203.0.113.7", false},
        {"223.255.255.255", true},
        {"224.0.0.0", false},
        {"239.255.255.255", false},
        {"240.0.0.0", false},
        {"255.255.255.255", false},
        {"8.8.8.8", true},
        {"::", false},
        {"::1", false},
        {"::2", false},
        {"::8.8.8.8", false},
        {"::ffff:8.8.8.8", true},
        {"::ffff:10.0.0.1", false},
        {"64:ff9b::8.8.8.8", true},
        {"64:ff9b::10.0.0.1", false},
        {"64:ff9b:1::1", false},
        {"100::1", false},
        {"2001:db8::1", false},
        {"2001:db9::1", true},
        {"2002:808:808::1", true},
        {"2002:7f00:1::1", false},
        {"2002:a9fe:a9fe::", false},
        {"2606:4700::1111", true},
        {"fbff::1", true},
        {"fc00::1", false},
        {"fdff::1", false},
        {"fe00::1", true},
        {"fe80::1", false},
        {"febf::1", false},
        {"fec0::1", false},
        {"feff::1", false},
        {"ff02::1", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address address = parsed(cases[i].text);
        if (address_is_public(&address) != cases[i].is_public)
            fail_msg("%s is %spublic", cases[i].text, cases[i].is_public ? "" : "not ");
    }
}

static void test_loopback(void **state)
{
    (void)state;
    static const char *const loopback[] = {"127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1"};
    static const char *const others[] = {"128.0.0.1", "::2", "::", "10.0.0.1", "::127.0.0.1", "1::1"};
    for (size_t i = 0; i < sizeof loopback / sizeof loopback[0]; i++) {
        struct address address = parsed(loopback[i]);
        assert_true(address_is_loopback(&address));
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct address address = parsed(others[i]);
        assert_false(address_is_loopback(&address));
    }
}

static void test_network(void **state)
{
    (void)state;
    static const struct {
        const char *address, *network;
        unsigned bits;
        bool inside;
    } cases[] = {
        {"10.1.2.3", "10.0.0.0", 8, true},
        {"11.1.2.3", "10.0.0.0", 8, false},
        {"10.1.2.3", "10.1.2.3", 32, true},
        {"10.1.2.3", "10.1.2.2", 31, true},
        {"10.1.2.4", "10.1.2.2", 31, false},
        {"1.2.3.4", "0.0.0.0", 0, true},
        {"::1", "0.0.0.0", 0, false},
        {"1.2.3.4", "::", 0, false},
        {"fd12::1", "fd00::", 8, true},
        {"fe12::1", "fd00::", 8, false},
        {"2001:db8::1", "2001:db8::1", 128, true},
        {"2001:db8::2", "2001:db8::1", 128, false},
        {"::ffff:10.1.2.3", "10.0.0.0", 8, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address address = parsed(cases[i].address), network = parsed(cases[i].network);
        if (address_in_network(&address, &network, cases[i].bits) != cases[i].inside)
            fail_msg("%s in %s/%u", cases[i].address, cases[i].network, cases[i].bits);
    }
}

static void test_from_socket(void **state)
{
    (void)state;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(8080)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
    struct sockaddr other = {.sa_family = AF_UNIX};
    struct address address, same = parsed("192.0.2.1");
    int port = 0;
    inet_pton(AF_INET, "192.0.2.1", &v4.sin_addr);
    inet_pton(AF_INET6, "::ffff:192.0.2.1", &v6.sin6_addr);
    assert_true(address_from_socket((struct sockaddr *)&v4, &address, &port));
    assert_memory_equal(&address, &same, sizeof same);
    assert_int_equal(port, 8080);
    assert_true(address_from_socket((struct sockaddr *)&v6, &address, &port));
    assert_memory_equal(&address, &same, sizeof same);
    assert_int_equal(port, 443);
    assert_true(address_from_socket((struct sockaddr *)&v6, &address, NULL));
    assert_false(address_from_socket(&other, &address, &port));
}

static void test_names_loopback(void **state)
{
    (void)state;
    static const char *const here[] = {"localhost", "LocalHost:80", "127.0.0.1",         "127.9.8.7:1",
                                       "[::1]",     "[::1]:8321",   "[::ffff:127.0.0.1]"};
    static const char *const elsewhere[] = {
        "",     ":80",  "localhost.example", "192.0.2.1:80",      "[2001:db8::1]",
        "[::1", "::1:", "127.0.0.1.example", "example:127.0.0.1", "[]"};
    for (size_t i = 0; i < sizeof here / sizeof here[0]; i++)
        assert_true(address_names_loopback(here[i], strlen(here[i])));
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++)
        assert_false(address_names_loopback(elsewhere[i], strlen(elsewhere[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),       cmocka_unit_test(test_public),
        cmocka_unit_test(test_loopback),    cmocka_unit_test(test_network),
        cmocka_unit_test(test_from_socket), cmocka_unit_test(test_names_loopback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
