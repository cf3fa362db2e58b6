/* Secrets are hidden as they are and in the forms that they are written in. */
#include "engine/redact.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "base/mem.h"

static void expect_written(const struct redactor *redactor, const char *text, const char *expected)
{
    struct buf out;
    buf_init(&out, BUF_UNLIMITED);
    redactor_write(redactor, text, strlen(text), &out);
    assert_string_equal(buf_text(&out), expected);
    buf_free(&out);
}

static void expect(const char *secret, const char *text, const char *expected)
{
    struct redactor *redactor = redactor_new();
    redactor_add(redactor, secret, strlen(secret));
    expect_written(redactor, text, expected);
    redactor_free(redactor);
}

static void test_as_it_is(void **state)
{
    (void)state;
    expect("s3cret", "a s3cret, twice: s3crets3cret", "a [redacted], twice: [redacted][redacted]");
    expect("s3cre", "a s3cre is short", "a s3cre is short");
    expect("correct horse", "cut: correct", "cut: [redacted]");
}

static void test_known_forms(void **state)
{
    (void)state;
    /* The example of RFC 7617 section 2: the user's name stands before the secret. */
    expect("open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Basic QWxhZGRpbjp[redacted]Q==");
    expect("\xfb\xff\xfe\xfb\xff\xfe", "-__--__- and +//++//+", "[redacted] and [redacted]");
    expect("pass/word", "706173732f776f7264 706173732F776F7264", "[redacted] [redacted]");
    expect("a b&c=\xc3\xa9/d", "?k=a%20b%26c%3D%C3%A9%2Fd&l=a+b%26c%3D%C3%A9%2Fd&m=a%20b%26c%3d%c3%a9%2fd",
           "?k=[redacted]&l=[redacted]&m=[redacted]");
    expect("line\n\"one\"\\\x01/2",
           "{\"a\":\"line\\n\\\"one\\\"\\\\\\u0001/2\",\"b\":\"line\\n\\\"one\\\"\\\\\\u0001\\/2\"}",
           "{\"a\":\"[redacted]\",\"b\":\"[redacted]\"}");
}

/* Anywhere within a longer text, the characters that hold nothing but the secret's bits are gone. */
static void expect_hidden_within(enum crypto_encoding encoding, size_t before, size_t len, size_t behind)
{
    unsigned char whole[128];
    char text[256], expected[512];
    for (size_t i = 0; i < before + len + behind; i++)
        whole[i] = (unsigned char)rand();
    crypto_encode(encoding, whole, before + len + behind, text);
    size_t first = (before * 8 + 5) / 6, end = (before + len) * 8 / 6;
    if (encoding == CRYPTO_HEX) {
        first = before * 2;
        end = (before + len) * 2;
    }
    snprintf(expected, sizeof expected, "%.*s[redacted]%s", (int)first, text, text + end);
    struct redactor *redactor = redactor_new();
    redactor_add(redactor, (char *)whole + before, len);
    expect_written(redactor, text, expected);
    redactor_free(redactor);
}

static void test_within_encoded_text(void **state)
{
    (void)state;
    static const enum crypto_encoding encodings[] = {CRYPTO_HEX, CRYPTO_BASE64, CRYPTO_BASE64URL};
    srand(4711);
    for (size_t len = 6; len < 40; len++)
        for (size_t before = 0; before < 7; before++)
            for (size_t behind = 0; behind < 4; behind++)
                for (size_t i = 0; i < 3; i++)
                    expect_hidden_within(encodings[i], before, len, behind);
}

/* A thousand tokens in turn: the last ones are known, those before are not, and what lasts lasts. */
static void test_values_that_pass(void **state)
{
    (void)state;
    struct redactor *redactor = redactor_new();
    char text[64];
    redactor_add(redactor, "lasting secret", 14);
    redactor_add_passing(redactor, "lasting secret", 14);
    for (int i = 1; i <= 1000; i++) {
        snprintf(text, sizeof text, "%04d is the token", i);
        redactor_add_passing(redactor, text, strlen(text));
        redactor_add_passing(redactor, text, strlen(text)); /* once more is no other */
        expect_written(redactor, text, "[redacted]");
    }
    for (int i = 1; i <= 1000; i++) {
        snprintf(text, sizeof text, "<%04d is the token>", i);
        expect_written(redactor, text, i <= 1000 - REDACTOR_PASSING ? text : "<[redacted]>");
    }
    expect_written(redactor, "lasting secret, bGFzdGluZyBzZWNyZXQ=", "[redacted], [redacted]Q=");
    redactor_free(redactor);
}

static void expect_json(const struct redactor *redactor, const char *json, const char *expected)
{
    struct buf out;
    struct err err;
    buf_init(&out, BUF_UNLIMITED);
    assert_int_equal(redactor_write_json(redactor, json, strlen(json), &out, &err), ERR_NONE);
    assert_string_equal(buf_text(&out), expected);
    buf_free(&out);
}

static void test_json(void **state)
{
    (void)state;
    struct redactor *redactor = redactor_new();
    redactor_add(redactor, "s3cr3t\n\"quoted\"", 15);
    redactor_add(redactor, "12345678", 8);
    redactor_add(redactor, "\":true,\"", 9);
    redactor_add_perhaps(redactor, "https://api.example", 19);
    expect_json(redactor, "{ \"a\": [1, 2.50, true, null, \"plain \\u00fc\"], \"b\": {} }",
                "{\"a\":[1,2.50,true,null,\"plain \\u00fc\"],\"b\":{}}");
    expect_json(redactor, "[\"a s3cr3t\\n\\\"quoted\\\" b\"]", "[\"a [redacted] b\"]");
    expect_json(redactor, "[\"s3cr3t\\u000a\\u0022quoted\\u0022\"]", "[\"[redacted]\"]");
    expect_json(redactor, "{\"12345678\":12345678,\"n\":-12345678.5}",
                "{\"[redacted]\":\"[redacted]\",\"n\":\"-[redacted].5\"}");
    expect_json(redactor, "{\"x\":true,\"y\":1}", "{\"x\":true,\"y\":1}"); /* not across values */
    /* What may be an address stays in results, until it is known to be a secret. */
    expect_json(redactor, "[\"https://api.example/x\"]", "[\"https://api.example/x\"]");
    expect_written(redactor, "https://api.example/x", "[redacted]/x");
    redactor_add(redactor, "https://api.example", 19);
    expect_json(redactor, "[\"https://api.example/x\"]", "[\"[redacted]/x\"]");
    redactor_free(redactor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_it_is),
        cmocka_unit_test(test_known_forms),
        cmocka_unit_test(test_within_encoded_text),
        cmocka_unit_test(test_values_that_pass),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
