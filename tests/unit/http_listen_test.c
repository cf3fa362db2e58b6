/* Addresses to listen at: their forms, and what is in the way. */
#include "net/http_listen.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/http_listen_test.XXXXXX";

static void expect_bound(const char *address, const char *prefix)
{
    struct err err;
    char text[HTTP_LISTEN_TEXT_MAX];
    int fd = -1;
    if (http_listen(address, &fd, text, &err) != ERR_NONE)
        fail_msg("%s: %s", address, err.message);
    assert_memory_equal(text, prefix, strlen(prefix));
    char *end = NULL;
    long port = strtol(text + strlen(prefix), &end, 10);
    assert_true(port > 0 && port < 65536 && *end == '\0');
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    /* Nobody else gets it. */
    char message[256];
    int other = 0;
    assert_int_equal(http_listen(text, &other, NULL, &err), ERR_CONFLICT);
    snprintf(message, sizeof message, "%s is in use by another program; stop it, or choose another port",
             text);
    assert_string_equal(err.message, message);
    assert_int_equal(other, -1);
    close(fd);
}

static void expect_no_address(const char *address, enum err_code code, const char *message)
{
    struct err err = {0};
    int fd = 0;
    assert_int_equal(http_listen(address, &fd, NULL, &err), code);
    assert_string_equal(err.message, message);
    assert_int_equal(fd, -1);
}

static void test_listen(void **state)
{
    (void)state;
    expect_bound("127.0.0.1:0", "127.0.0.1:");
    expect_bound("localhost:0", "127.0.0.1:");
    expect_bound(":0", "127.0.0.1:");
    expect_bound("0.0.0.0:0", "0.0.0.0:");
    int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    if (probe >= 0 && bind(probe, (struct sockaddr *)&six, sizeof six) == 0)
        expect_bound("[::1]:0", "[::1]:");
    close(probe);
}

#define FORMS                                                                                                \
    "write it as 127.0.0.1:8321, [::1]:8321, :8321 for this machine only, 0.0.0.0:8321 for all, or "         \
    "unix:/path"

static void test_listen_forms_that_are_none(void **state)
{
    (void)state;
    expect_no_address("", ERR_INVALID, "\"\" has no port; " FORMS);
    expect_no_address("localhost", ERR_INVALID, "\"localhost\" has no port; " FORMS);
    expect_no_address("127.0.0.1:", ERR_INVALID, "\"127.0.0.1:\" has no port; " FORMS);
    expect_no_address("127.0.0.1:65536", ERR_INVALID, "\"127.0.0.1:65536\" has no port; " FORMS);
    expect_no_address("127.0.0.1:-1", ERR_INVALID, "\"127.0.0.1:-1\" has no port; " FORMS);
    expect_no_address("127.0.0.1:80x", ERR_INVALID, "\"127.0.0.1:80x\" has no port; " FORMS);
    expect_no_address("example.com:80", ERR_INVALID,
                      "\"example.com:80\" does not begin with an IP address; " FORMS);
    expect_no_address("[::1:80", ERR_INVALID, "\"[::1:80\" does not begin with an IP address; " FORMS);
    expect_no_address("256.0.0.1:80", ERR_INVALID,
                      "\"256.0.0.1:80\" does not begin with an IP address; " FORMS);
    expect_no_address("::1:80", ERR_INVALID, "\"::1:80\": an IPv6 address goes into brackets; " FORMS);
    expect_no_address("unix:", ERR_INVALID, "\"unix:\" names no file; write unix:/path");
    expect_no_address("192.0.2.1:0", ERR_IO,
                      "192.0.2.1:0 is no address of this machine; take one that \"ip address\" lists");
}

static void test_listen_at_a_file(void **state)
{
    (void)state;
    struct err err;
    char path[100], address[220], text[HTTP_LISTEN_TEXT_MAX], message[400];
    int fd = -1, other = -1;
    snprintf(path, sizeof path, "%s/listen", folder);
    snprintf(address, sizeof address, "unix:%s", path);
    assert_int_equal(http_listen(address, &fd, text, &err), ERR_NONE);
    assert_string_equal(text, address);
    snprintf(message, sizeof message, "%s is there already; stop who listens at it, or choose another path",
             address);
    expect_no_address(address, ERR_CONFLICT, message);
    /* Its file stays behind, and is replaced. */
    close(fd);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(http_listen(address, &fd, NULL, &err), ERR_NONE);
    struct sockaddr_un there = {.sun_family = AF_UNIX};
    snprintf(there.sun_path, sizeof there.sun_path, "%s", path);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&there, sizeof there), 0);
    close(client);
    close(fd);
    unlink(path);
    /* Another file is not. */
    other = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(other);
    expect_no_address(address, ERR_CONFLICT, message);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    snprintf(address, sizeof address, "unix:%s/none/listen", folder);
    snprintf(message, sizeof message, "cannot listen at %s: No such file or directory", address);
    expect_no_address(address, ERR_IO, message);
    snprintf(address, sizeof address, "unix:/%0120d", 0);
    expect_no_address(address, ERR_INVALID, "the path of a socket has at most 107 bytes, this one has 121");
    if (geteuid() == 0) /* who may do everything */
        return;
    assert_int_equal(chmod(folder, 0500), 0);
    snprintf(address, sizeof address, "unix:%s", path);
    snprintf(message, sizeof message,
             "%s cannot be made: its folder may not be written to; choose another path", address);
    expect_no_address(address, ERR_DENIED, message);
    assert_int_equal(chmod(folder, 0700), 0);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_listen_forms_that_are_none),
        cmocka_unit_test(test_listen_at_a_file),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
