/* The HTTP client against a server that misbehaves: what it sends, takes and refuses. */
#include "http_service.h"

#include "base/buf.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- answers ------------------------------------------------------------------------------------- */

static void test_status_and_headers(void **state)
{
    (void)state;
    set_path("/status/404");
    expect_body(404, "status 404");
    set_path("/duplicate-headers");
    struct http_response *response = expect_status(200);
    assert_int_equal(response->headers.count, 4);
    assert_string_equal(http_headers_find(&response->headers, "set-cookie", 0)->value, "a=1");
    assert_string_equal(http_headers_find(&response->headers, "set-cookie", 1)->value, "b=2");
    assert_null(http_headers_find(&response->headers, "set-cookie", 2));
    assert_string_equal(response->headers.items[1].name, "x-mixed-case");
    assert_string_equal(response->headers.items[1].value, "padded");
    assert_int_equal(response->headers.items[1].value_len, 6);
    assert_int_equal(response->http_version, 11);
    assert_int_equal(response->redirects, 0);
    assert_string_equal(response->url, url_text);
    assert_true(response->total_ms < 60000 && response->queued_ms < 60000);
    http_response_free(response);
    set_path("/folded-header");
    response = expect_status(200);
    assert_string_equal(http_headers_find(&response->headers, "x-folded", 0)->value, "one two");
    http_response_free(response);
}

static void test_answers_without_body(void **state)
{
    (void)state;
    set_path("/empty");
    expect_body(200, "");
    set_path("/status/204");
    expect_body(204, "");
    set_path("/status/304");
    expect_body(304, "");
    set_path("/bytes/1000");
    request.method = http_slice("HEAD");
    request.max_body = 10; /* Content-Length: 1000 announces nothing here */
    struct http_response *response = expect_status(200);
    assert_int_equal(response->body_len, 0);
    assert_string_equal(http_headers_find(&response->headers, "content-length", 0)->value, "1000");
    http_response_free(response);
}

static void test_framing(void **state)
{
    (void)state;
    set_path("/chunked");
    struct http_response *response = expect_status(200);
    assert_string_equal(response->body, "one two three");
    assert_null(http_headers_find(&response->headers, "x-trailer", 0));
    http_response_free(response);
    set_path("/no-length");
    response = expect_status(200);
    assert_string_equal(response->body, "until the end");
    assert_int_equal(response->http_version, 10);
    http_response_free(response);
    set_path("/interim");
    response = expect_status(200);
    assert_string_equal(response->body, "final");
    assert_null(http_headers_find(&response->headers, "link", 0));
    http_response_free(response);
    set_path("/drip?bytes=5&seconds=0.2");
    expect_body(200, "ddddd");
}

static void repeat(struct buf *out, const char *text)
{
    buf_init(out, 100000);
    for (int i = 0; i < 100; i++)
        buf_adds(out, text);
}

static void test_encodings(void **state)
{
    (void)state;
    const char *cases[][2] = {
        {"/gzip", "gzip works "}, {"/deflate", "deflate works "}, {"/br", "brotli works "}};
    for (size_t i = 0; i < 3; i++) {
        struct buf expected;
        repeat(&expected, cases[i][1]);
        set_path(cases[i][0]);
        expect_body(200, buf_text(&expected));
        buf_free(&expected);
    }
    set_path("/bad-gzip");
    expect_failure(HTTP_ERROR_PROTOCOL, "127.0.0.1:%P did not answer in valid HTTP: ");
    set_path("/gzip-trailer");
    expect_failure(HTTP_ERROR_PROTOCOL,
                   "127.0.0.1:%P did not answer in valid HTTP: its content encoding is broken");
}

static void test_body_limits(void **state)
{
    (void)state;
    request.max_body = 1000;
    set_path("/bytes/1000");
    struct http_response *response = expect_status(200);
    assert_int_equal(response->body_len, 1000);
    http_response_free(response);
    const char *too_large =
        "the body from 127.0.0.1:%P is larger than the maximum of 1000 bytes; raise the maximum";
    set_path("/bytes/1001");
    expect_failure(HTTP_ERROR_TOO_LARGE, too_large);
    set_path("/stream");
    expect_failure(HTTP_ERROR_TOO_LARGE, too_large);
    set_path("/stream/10g");
    expect_failure(HTTP_ERROR_TOO_LARGE, too_large);
    request.max_body = 1024 * 1024; /* the bomb is smaller than that before it goes off */
    set_path("/gzip-bomb/200");
    expect_failure(HTTP_ERROR_TOO_LARGE,
                   "the body from 127.0.0.1:%P is larger than the maximum of 1048576 bytes");
    request.max_body = 0;
    set_path("/bytes/1");
    expect_failure(HTTP_ERROR_TOO_LARGE, "the body from 127.0.0.1:%P is larger than the maximum of 0 bytes");
    set_path("/empty");
    expect_body(200, "");
}

static void test_header_limits(void **state)
{
    (void)state;
    set_path("/huge-header/90000");
    struct http_response *response = expect_status(200);
    assert_int_equal(http_headers_find(&response->headers, "x-huge", 0)->value_len, 90000);
    http_response_free(response);
    set_path("/huge-header/400000");
    expect_failure(HTTP_ERROR_TOO_LARGE, "the answer of 127.0.0.1:%P is refused: its headers are too large");
    set_path("/many-headers/900");
    response = expect_status(200);
    assert_int_equal(response->headers.count, 902);
    http_response_free(response);
    set_path("/many-headers/5000");
    expect_failure(HTTP_ERROR_TOO_LARGE,
                   "the answer of 127.0.0.1:%P is refused: there are more than 1000 headers");
    set_path("/many-headers/300?size=1000");
    expect_failure(HTTP_ERROR_TOO_LARGE,
                   "the answer of 127.0.0.1:%P is refused: the headers are larger than 262144 bytes");
}

/* ---- failures ------------------------------------------------------------------------------------ */

static void test_broken_answers(void **state)
{
    (void)state;
    const char *reset = "127.0.0.1:%P closed the connection before the answer was complete: ";
    const char *protocol = "127.0.0.1:%P did not answer in valid HTTP: ";
    set_path("/truncated");
    expect_failure(HTTP_ERROR_RESET, reset);
    set_path("/truncated-chunk");
    expect_failure(HTTP_ERROR_RESET, reset);
    set_path("/reset");
    expect_failure(HTTP_ERROR_RESET, reset);
    set_path("/hang-up");
    expect_failure(HTTP_ERROR_RESET, reset);
    set_path("/bad-chunk");
    expect_failure(HTTP_ERROR_PROTOCOL, protocol);
    set_path("/bad-header");
    expect_failure(HTTP_ERROR_PROTOCOL, "127.0.0.1:%P did not answer in valid HTTP: Header without colon");
    set_path("/garbage");
    expect_failure(HTTP_ERROR_PROTOCOL, protocol);
}

static void test_timeouts(void **state)
{
    (void)state;
    request.timeout_ms = 200;
    set_path("/delay/5");
    expect_failure(HTTP_ERROR_TIMEOUT,
                   "127.0.0.1:%P did not finish within 200 ms: it was connected but had not answered");
    set_path("/slow-headers");
    expect_failure(HTTP_ERROR_TIMEOUT, "127.0.0.1:%P did not finish within 200 ms: it was connected but");
    set_path("/drip?bytes=100&seconds=20");
    expect_failure(HTTP_ERROR_TIMEOUT,
                   "127.0.0.1:%P did not finish within 200 ms: the body was still arriving");
}

/* A listener whose queue is full never completes a handshake. */
static void test_connect_timeout(void **state)
{
    (void)state;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    int fillers[4];
    for (size_t i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fillers[i], (struct sockaddr *)&address, len);
    }
    request.connect_timeout_ms = 150;
    set_url("http://127.0.0.1:%d/", ntohs(address.sin_port));
    struct outcome outcome = run();
    assert_int_equal(outcome.error, HTTP_ERROR_TIMEOUT);
    assert_non_null(
        strstr(outcome.message, " could not be connected to within 150 ms: it was not connected yet"));
    for (size_t i = 0; i < 4; i++)
        close(fillers[i]);
    close(listener);
}

static void test_no_server(void **state)
{
    (void)state;
    set_url("http://name.invalid/secret?token=abc");
    expect_failure(HTTP_ERROR_DNS, "the host name of name.invalid could not be resolved");
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0); /* bound, but does not listen */
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    set_url("http://127.0.0.1:%d/", ntohs(address.sin_port));
    struct outcome outcome = run();
    assert_int_equal(outcome.error, HTTP_ERROR_CONNECT);
    char expected[100];
    snprintf(expected, sizeof expected, "could not connect to 127.0.0.1:%d: Connection refused",
             ntohs(address.sin_port));
    assert_string_equal(outcome.message, expected);
    close(listener);
}

static void test_tls(void **state)
{
    (void)state;
    set_url("https://localhost:%d/status/200", secure.port);
    struct outcome outcome = run();
    assert_int_equal(outcome.error, HTTP_ERROR_TLS);
    assert_non_null(strstr(outcome.message, "TLS with localhost:"));
    assert_non_null(strstr(outcome.message, "self-signed certificate"));
    request.ca_file = http_slice(certificate);
    expect_body(200, "status 200");
    set_url("https://127.0.0.1:%d/status/200", secure.port); /* a name that the certificate does not have */
    outcome = run();
    assert_int_equal(outcome.error, HTTP_ERROR_TLS);
    request.ca_file = http_slice("/nowhere/ca.pem");
    set_url("https://localhost:%d/status/200", secure.port);
    outcome = run();
    assert_int_equal(outcome.error, HTTP_ERROR_TLS);
    assert_non_null(strstr(outcome.message, "/nowhere/ca.pem"));
    request.ca_file = http_slice(NULL);
    set_url("https://127.0.0.1:%d/", plain.port); /* does not speak TLS */
    expect_failure(HTTP_ERROR_TLS, "TLS with 127.0.0.1:%P failed: ");
}

static void test_malformed_urls(void **state)
{
    (void)state;
    const char *cases[][2] = {
        {"", "the URL is malformed: it must begin with http:// or https://"},
        {"example.com/x", "the URL \"example.com/x\" is malformed: it must begin with http:// or https://"},
        {"ftp://example.com/", "the URL \"ftp://example.com/\" is malformed: it must begin with"},
        {"file:///etc/passwd", "the URL \"file:///etc/passwd\" is malformed: it must begin with"},
        {"http://", "the URL \"http://\" is malformed: it has no host"},
        {"http:///path", "the URL \"http:///path\" is malformed: it has no host"},
        {"http:/example.com", "the URL \"http:/example.com\" is malformed: it must begin with"},
        {"http://exa mple.com/",
         "the URL \"http://exa?mple.com/\" is malformed: it has a space at byte 11; write"},
        {"http://a/b\nHost: c",
         "the URL \"http://a/b?Host:?c\" is malformed: it has a control character at byte 11"},
        {"http://good.com\\@bad.com/", "the URL is malformed: it has a backslash in its host"},
        {"http://a:99999/", "the URL \"http://a:99999/\" is malformed: "},
        {"http://a:0/", "the URL \"http://a:0/\" is malformed: its port is not between 1 and 65535"},
        {"http://b\xc3\xbc"
         "cher.example/",
         "the URL \"http://b??cher.example/\" is malformed: its host has letters beyond ASCII; write it in "
         "punycode"},
        {"http://b%C3%BCcher.example/", "the URL \"http://b%C3%BCcher.example/\" is malformed: its host has "
                                        "letters beyond ASCII; write it in "
                                        "punycode"},
        {"http://[::1/", "the URL \"http://[::1/\" is malformed: "},
        {"http://user:secret@ho st/?key=secret", "the URL is malformed: it has a space at byte 22"},
        {"http://a/?key=sec ret", "the URL \"http://a/\" is malformed: it has a space"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        request.url = http_slice(cases[i][0]);
        expect_failure(HTTP_ERROR_URL, cases[i][1]);
    }
    request.url = (struct http_slice){"http://a/\0b", 11};
    expect_failure(HTTP_ERROR_URL,
                   "the URL \"http://a/?b\" is malformed: it has a control character at byte 10");
    memset(url_text, 'a', sizeof url_text);
    memcpy(url_text, "http://", 7);
    request.url = (struct http_slice){url_text, sizeof url_text};
    expect_failure(HTTP_ERROR_URL, "the URL is malformed: it is longer than 65536 bytes");
}

static void test_refused_requests(void **state)
{
    (void)state;
    struct http_field fields[1];
    const struct {
        struct http_field field;
        const char *message;
    } cases[] = {
        {field("X-A", "a\r\nX-B: b"), "the value of header \"X-A\" has a carriage return at byte 2"},
        {field("X-A", "\nb"), "the value of header \"X-A\" has a line feed at byte 1"},
        {{http_slice("X-A"), {"a\0b", 3}}, "the value of header \"X-A\" has a NUL byte at byte 2"},
        {field("X A", "a"), "header name \"X A\" has a character that header names cannot have"},
        {field("X-A\r\nX-B", "a"), "header name \"X-A??X-B\" has"},
        {field("X:A", "a"), "header name \"X:A\" has"},
        {field("", "a"), "a header has an empty name"},
        {field("Transfer-Encoding", "chunked"), "header \"Transfer-Encoding\" cannot be set"},
        {field("content-length", "5"), "header \"Content-Length\" does not say 0"},
    };
    set_path("/echo");
    request.headers = fields;
    request.header_count = 1;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fields[0] = cases[i].field;
        expect_refused(cases[i].message);
    }
    fields[0] = field("Authorization", "x");
    request.bearer = http_slice("y");
    expect_refused("more than one of: a user name, a bearer token, an Authorization header");
    request.header_count = 0;
    request.bearer = http_slice("a\r\nb");
    expect_refused("the bearer token has a control character at byte 2");
    request.bearer = http_slice(NULL);
    request.user = http_slice("a:b");
    expect_refused("the user name has a colon");
    request.user = http_slice(NULL);
    request.method = http_slice("GET /x");
    expect_refused("the method is not a word");
    request.method = http_slice("CONNECT");
    expect_refused("CONNECT");
    request.method = http_slice("HEAD");
    request.body = http_slice("x");
    expect_refused("a HEAD request cannot have a body");
    http_request_init(&request);
    set_path("/echo");
    request.timeout_ms = 0;
    expect_refused("the timeout is 0 ms; it must be between 1 ms and 86400000 ms");
    request.timeout_ms = 1000;
    request.connect_timeout_ms = 86400001;
    expect_refused("the connect timeout is 86400001 ms");
    request.connect_timeout_ms = 1000;
    request.max_redirects = 51;
    expect_refused("the maximum number of redirects is 51; it can be at most 50");
    request.max_redirects = 0;
    request.max_body = SIZE_MAX;
    expect_refused("the maximum body size is 18446744073709551615 bytes");
    request.max_body = 0;
    request.proxy = http_slice("socks5://x");
    expect_refused("the proxy must be written as http://host:port");
}

/* ---- what is sent -------------------------------------------------------------------------------- */

static void test_what_is_sent(void **state)
{
    (void)state;
    set_path("/echo/a/../b%2F?q=\xc3\xa9#part");
    struct http_field fields[] = {field("X-One", "1"), field("X-Empty", ""), field("X-Two", "b\xc3\xa9"),
                                  field("X-Two", "second")};
    request.headers = fields;
    request.header_count = 4;
    struct http_response *response = expect_status(200);
    expect_echo(response, "'method': 'GET'", true);
    expect_echo(response, "'path': '/echo/b%2F?q=%C3%A9'", true);
    expect_echo(response, "['User-Agent', 'workers/" WORKERS_VERSION "']", true);
    expect_echo(response, "['X-One', '1']", true);
    expect_echo(response, "['X-Empty', '']", true);
    expect_echo(response, "['X-Two', 'second']", true);
    expect_echo(response, "gzip", true);
    expect_echo(response, "Content-Length", false);
    http_response_free(response);

    set_path("/echo");
    request.header_count = 0;
    request.method = http_slice("POST");
    request.body = (struct http_slice){"a\0b", 3};
    response = expect_status(200);
    expect_echo(response, "'method': 'POST'", true);
    expect_echo(response, "'body': 'a\\u0000b'", true);
    expect_echo(response, "['Content-Length', '3']", true);
    expect_echo(response, "Content-Type", false);
    expect_echo(response, "Expect", false);
    http_response_free(response);

    const char *methods[] = {"POST", "PUT", "PATCH", "DELETE", "GET", "PROPFIND"};
    for (size_t i = 0; i < 6; i++) {
        char expected[64];
        request.method = http_slice(methods[i]);
        request.body = http_slice(NULL);
        response = expect_status(200);
        snprintf(expected, sizeof expected, "'method': '%s'", methods[i]);
        expect_echo(response, expected, true);
        expect_echo(response, "['Content-Length', '0']", i < 3);
        http_response_free(response);
        request.body = http_slice("payload");
        response = expect_status(200);
        expect_echo(response, expected, true);
        expect_echo(response, "'body': 'payload'", true);
        http_response_free(response);
    }
}

static void test_credentials(void **state)
{
    (void)state;
    set_path("/basic-auth/ann/p:w");
    expect_body(401, "no");
    request.user = http_slice("ann");
    request.password = http_slice("p:w");
    expect_body(200, "{\"authenticated\": true}");
    request.user = request.password = http_slice(NULL);
    set_url("http://ann:p%%3Aw@127.0.0.1:%d/basic-auth/ann/p:w", plain.port);
    struct http_response *response = expect_status(200);
    assert_null(strstr(response->url, "ann:"));
    http_response_free(response);
    set_url("http://ann:topsecret@127.0.0.1:%d/truncated", plain.port);
    struct outcome outcome = run();
    assert_int_equal(outcome.error, HTTP_ERROR_RESET);
    assert_null(strstr(outcome.message, "topsecret"));
    assert_null(strstr(outcome.message, "ann"));
    set_url("http://:topsecret@127.0.0.1:%d/basic-auth//topsecret", plain.port);
    response = expect_status(200);
    assert_null(strstr(response->url, "topsecret@"));
    http_response_free(response);
    request.bearer = http_slice("tok.en");
    set_path("/bearer");
    expect_body(200, "{\"token\": \"tok.en\"}");
}

/* ---- redirects ----------------------------------------------------------------------------------- */

static void test_redirects(void **state)
{
    (void)state;
    set_path("/redirect/3");
    struct http_response *response = expect_status(200);
    assert_int_equal(response->redirects, 3);
    assert_non_null(strstr(response->url, "/echo"));
    http_response_free(response);
    request.max_redirects = 2;
    expect_failure(HTTP_ERROR_REDIRECT, "127.0.0.1:%P redirected more than 2 times");
    request.max_redirects = 0;
    response = expect_status(302);
    assert_string_equal(response->body, "moved");
    assert_string_equal(http_headers_find(&response->headers, "location", 0)->value, "/redirect/2");
    http_response_free(response);
    http_request_init(&request);
    set_path("/redirect-loop");
    expect_failure(HTTP_ERROR_REDIRECT, "127.0.0.1:%P redirected more than 10 times");
    set_path("/redirect-to?url=file:///etc/passwd");
    expect_failure(HTTP_ERROR_REDIRECT, "127.0.0.1:%P redirected to where nobody can follow: the URL");
    set_path("/redirect-to?url=http://%5B::1/");
    expect_failure(HTTP_ERROR_REDIRECT, "127.0.0.1:%P redirected to where nobody can follow: the URL");
    set_path("/redirect-to?url=/echo/with%20space&body=1000000"); /* more body than is worth reading */
    response = expect_status(200);
    expect_echo(response, "'path': '/echo/with%20space'", true);
    http_response_free(response);
    set_url("https://localhost:%d/redirect-to?url=http://127.0.0.1:%d/echo", secure.port, plain.port);
    request.ca_file = http_slice(certificate);
    struct outcome outcome = run();
    assert_int_equal(outcome.error, HTTP_ERROR_REDIRECT);
    assert_non_null(strstr(outcome.message, "redirected from https to http at 127.0.0.1:"));
    set_url("http://127.0.0.1:%d/redirect-to?url=https://localhost:%d/status/200", plain.port, secure.port);
    expect_body(200, "status 200");
}

static void test_redirect_methods(void **state)
{
    (void)state;
    const struct {
        int status;
        const char *method;
        const char *becomes;
        bool body;
    } cases[] = {
        {301, "POST", "GET", false}, {302, "POST", "GET", false},   {303, "POST", "GET", false},
        {303, "PUT", "GET", false},  {307, "POST", "POST", true},   {308, "POST", "POST", true},
        {301, "PUT", "PUT", true},   {302, "PATCH", "PATCH", true}, {308, "DELETE", "DELETE", true},
    };
    struct http_field fields[] = {field("Content-Type", "text/x-test"), field("X-Kept", "yes")};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "/redirect-to?url=/echo&status=%d", cases[i].status);
        set_path(path);
        request.method = http_slice(cases[i].method);
        request.body = http_slice("payload");
        request.headers = fields;
        request.header_count = 2;
        struct http_response *response = expect_status(200);
        char expected[64];
        snprintf(expected, sizeof expected, "'method': '%s'", cases[i].becomes);
        expect_echo(response, expected, true);
        expect_echo(response, "payload", cases[i].body);
        expect_echo(response, "text/x-test", cases[i].body);
        expect_echo(response, "X-Kept", true);
        http_response_free(response);
    }
    http_request_init(&request);
    request.method = http_slice("HEAD");
    set_path("/redirect-to?url=/echo&status=303");
    struct http_response *response = expect_status(200);
    assert_int_equal(response->body_len, 0);
    http_response_free(response);
}

static void test_redirects_and_credentials(void **state)
{
    (void)state;
    struct http_field fields[] = {field("Authorization", "secret1"), field("cookie", "secret2"),
                                  field("X-Kept", "yes")};
    const char *hosts[] = {"127.0.0.1", "localhost"};
    for (size_t i = 0; i < 2; i++) {
        bool same = i == 0;
        set_url("http://127.0.0.1:%d/redirect-to?url=http://%s:%d/echo", plain.port, hosts[i], plain.port);
        http_request_init(&request);
        request.url = http_slice(url_text);
        request.headers = fields;
        request.header_count = 3;
        struct http_response *response = expect_status(200);
        expect_echo(response, "secret1", same);
        expect_echo(response, "secret2", same);
        expect_echo(response, "X-Kept", true);
        http_response_free(response);

        request.header_count = 0;
        request.user = http_slice("ann");
        request.password = http_slice("pw");
        response = expect_status(200);
        expect_echo(response, "Authorization", same);
        http_response_free(response);

        request.user = request.password = http_slice(NULL);
        request.bearer = http_slice("token");
        response = expect_status(200);
        expect_echo(response, "Authorization", same);
        http_response_free(response);

        request.bearer = http_slice(NULL);
        set_url("http://ann:pw@127.0.0.1:%d/redirect-to?url=http://%s:%d/echo", plain.port, hosts[i],
                plain.port);
        response = expect_status(200);
        expect_echo(response, "Authorization", same);
        http_response_free(response);
    }
}

/* ---- permissions --------------------------------------------------------------------------------- */

static char asked[512];

static bool refuse_localhost(void *ctx, bool tls, const char *host, int port, char *reason)
{
    (void)ctx;
    snprintf(asked + strlen(asked), sizeof asked - strlen(asked), "%s %s %s;", tls ? "https" : "http", host,
             port == plain.port ? "plain" : "other");
    snprintf(reason, HTTP_REASON_MAX, "add %s to permissions.net", host);
    return strcmp(host, "localhost") != 0;
}

static bool refuse_all_addresses(void *ctx, const struct sockaddr *address, char *reason)
{
    (void)ctx;
    char text[64] = "";
    assert_int_equal(address->sa_family, AF_INET);
    inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, text, sizeof text);
    snprintf(reason, HTTP_REASON_MAX, "%s is a private address", text);
    return false;
}

static void test_permissions(void **state)
{
    (void)state;
    asked[0] = '\0';
    request.allow_url = refuse_localhost;
    set_path("/echo");
    http_response_free(expect_status(200));
    set_url("http://127.0.0.1:%d/redirect-to?url=http://LOCALHOST:%d/echo", plain.port, plain.port);
    expect_failure(HTTP_ERROR_DENIED,
                   "a request to localhost:%P is denied: add localhost to permissions.net");
    assert_string_equal(asked, "http 127.0.0.1 plain;http 127.0.0.1 plain;http localhost plain;");
    /* The connection to this address is kept: reusing it is asked for as well. */
    request.allow_url = NULL;
    request.allow_address = refuse_all_addresses;
    set_path("/echo");
    expect_failure(HTTP_ERROR_DENIED, "connecting to 127.0.0.1:%P is denied: 127.0.0.1 is a private address");
    http_client_idle(client);
    expect_failure(HTTP_ERROR_DENIED, "connecting to 127.0.0.1:%P is denied: 127.0.0.1 is a private address");
    /* A new connection is refused before it is made. */
    long before = count_of("/connections");
    http_client_idle(client);
    request.allow_address = refuse_all_addresses;
    expect_failure(HTTP_ERROR_DENIED, "connecting to 127.0.0.1:%P is denied: 127.0.0.1 is a private address");
    assert_int_equal(count_of("/connections"), before + 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, open_client, close_client)

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        TEST(test_status_and_headers),
        TEST(test_answers_without_body),
        TEST(test_framing),
        TEST(test_encodings),
        TEST(test_body_limits),
        TEST(test_header_limits),
        TEST(test_broken_answers),
        TEST(test_timeouts),
        TEST(test_connect_timeout),
        TEST(test_no_server),
        TEST(test_tls),
        TEST(test_malformed_urls),
        TEST(test_refused_requests),
        TEST(test_what_is_sent),
        TEST(test_credentials),
        TEST(test_redirects),
        TEST(test_redirect_methods),
        TEST(test_redirects_and_credentials),
        TEST(test_permissions),
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
