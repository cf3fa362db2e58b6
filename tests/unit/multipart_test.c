/* Forms as multipart/form-data: bodies of RFC 7578 and RFC 2046, of browsers and of curl; damaged ones. */
#include "base/multipart.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FORM "multipart/form-data; boundary="
#define FIELD(name) "Content-Disposition: form-data; name=" name "\r\n\r\n"

static void add_text(struct buf *out, const struct multipart_text *text)
{
    char *decoded = malloc(text->len + 1);
    assert_non_null(decoded);
    size_t len = multipart_decode(text, decoded);
    assert_true(len <= text->len);
    buf_add(out, decoded, len);
    free(decoded);
}

/* The parts as text, one after the other: name=content; or name=<filename|type|content>; An error instead
 * ends it. The body is given to the reader in memory of exactly its size. */
static const char *read_form(const char *type, const char *body, size_t len)
{
    static char result[4096];
    struct multipart form;
    struct multipart_part part;
    struct err err = {0};
    struct buf out;
    bool found = true;
    char *exact = malloc(len > 0 ? len : 1);
    assert_non_null(exact);
    memcpy(exact, body, len);
    buf_init(&out, sizeof result);
    enum err_code code = multipart_init(&form, type, strlen(type), exact, len, &err);
    while (code == ERR_NONE && found) {
        code = multipart_next(&form, &part, &found, &err);
        if (code != ERR_NONE || !found)
            continue;
        assert_int_equal(part.number, form.parts);
        add_text(&out, &part.name);
        buf_addc(&out, '=');
        if (part.filename.bytes != NULL) {
            buf_addc(&out, '<');
            add_text(&out, &part.filename);
            buf_addc(&out, '|');
            if (part.type.bytes != NULL)
                add_text(&out, &part.type);
            buf_addc(&out, '|');
        }
        buf_add(&out, part.content, part.content_len);
        buf_adds(&out, part.filename.bytes != NULL ? ">;" : ";");
    }
    if (code != ERR_NONE) {
        assert_int_equal(err.code, code);
        buf_clear(&out);
        buf_adds(&out, err.message);
    }
    assert_true(out.len < sizeof result);
    for (size_t i = 0; i < out.len; i++) /* so that it can be compared as a string */
        result[i] = out.data[i] == '\0' ? '0' : out.data[i];
    result[out.len] = '\0';
    buf_free(&out);
    free(exact);
    return result;
}

#define assert_form(type, body, expected)                                                                    \
    assert_string_equal(read_form(type, body, sizeof(body) - 1), expected)

/* ---- what clients send ---- */

/* curl 7.88.1 -F name=Ada -F tag=a -F tag=b -F file=@b.bin -F 'note=@a "b" \c.txt;type=text/plain' */
static void test_curl(void **state)
{
    (void)state;
    assert_form(FORM "------------------------f9254245e6b94fb6",
                "--------------------------f9254245e6b94fb6\r\n"
                "Content-Disposition: form-data; name=\"name\"\r\n\r\nAda\r\n"
                "--------------------------f9254245e6b94fb6\r\n"
                "Content-Disposition: form-data; name=\"tag\"\r\n\r\na\r\n"
                "--------------------------f9254245e6b94fb6\r\n"
                "Content-Disposition: form-data; name=\"tag\"\r\n\r\nb\r\n"
                "--------------------------f9254245e6b94fb6\r\n"
                "Content-Disposition: form-data; name=\"file\"; filename=\"b.bin\"\r\n"
                "Content-Type: application/octet-stream\r\n\r\n\0\r\n--x\r\n"
                "--------------------------f9254245e6b94fb6\r\n"
                "Content-Disposition: form-data; name=\"note\"; filename=\"a %22b%22 \\c.txt\"\r\n"
                "Content-Type: text/plain\r\n\r\nhi\n\r\n"
                "--------------------------f9254245e6b94fb6--\r\n",
                "name=Ada;tag=a;tag=b;file=<b.bin|application/octet-stream|0\r\n--x>;"
                "note=<a \"b\" \\c.txt|text/plain|hi\n>;");
    /* --form-escape, and curl before 7.81 */
    assert_form(FORM "------------------------455dc1bd293a59c6",
                "--------------------------455dc1bd293a59c6\r\n"
                "Content-Disposition: form-data; name=\"na\\\"me\"\r\n\r\nx\r\n"
                "--------------------------455dc1bd293a59c6\r\n"
                "Content-Disposition: form-data; name=\"note\"; filename=\"a \\\"b\\\" \\\\c.txt\"\r\n"
                "Content-Type: text/plain\r\n\r\nhi\n\r\n"
                "--------------------------455dc1bd293a59c6--\r\n",
                "na\"me=x;note=<a \"b\" \\c.txt|text/plain|hi\n>;");
    /* -F 'x=@b.bin;encoder=base64' */
    assert_form(FORM "------------------------b43a544c306cf71f",
                "--------------------------b43a544c306cf71f\r\n"
                "Content-Disposition: form-data; name=\"x\"; filename=\"b.bin\"\r\n"
                "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                "AA0KLS14\r\n--------------------------b43a544c306cf71f--\r\n",
                "part 1 has a Content-Transfer-Encoding, which forms do not have");
}

static void test_browsers(void **state)
{
    (void)state;
    /* Chromium and Safari; no file was chosen */
    assert_form(FORM "----WebKitFormBoundary7MA4YWxkTrZu0gW",
                "------WebKitFormBoundary7MA4YWxkTrZu0gW\r\n"
                "Content-Disposition: form-data; name=\"text\"\r\n\r\nline 1\r\nline 2\r\n"
                "------WebKitFormBoundary7MA4YWxkTrZu0gW\r\n"
                "Content-Disposition: form-data; name=\"file\"; filename=\"\"\r\n"
                "Content-Type: application/octet-stream\r\n\r\n\r\n"
                "------WebKitFormBoundary7MA4YWxkTrZu0gW--\r\n",
                "text=line 1\r\nline 2;file=<|application/octet-stream|>;");
    /* Firefox; names are UTF-8 */
    assert_form(FORM "---------------------------9051914041544843365972754266",
                "-----------------------------9051914041544843365972754266\r\n"
                "Content-Disposition: form-data; name=\"gr\xC3\xB6\xC3\x9F"
                "e\"; filename=\"\xE2\x82\xAC %22x%22.html\"\r\n"
                "Content-Type: text/html\r\n\r\n<!DOCTYPE html>\r\n"
                "-----------------------------9051914041544843365972754266--\r\n",
                "gr\xC3\xB6\xC3\x9F"
                "e=<\xE2\x82\xAC \"x\".html|text/html|<!DOCTYPE html>>;");
    /* an empty FormData of Chromium */
    assert_form(FORM "----WebKitFormBoundaryA", "------WebKitFormBoundaryA--\r\n", "");
    /* a path of Windows, as Internet Explorer sent it; a name that ends in a backslash */
    assert_form(FORM "b",
                "--b\r\n" FIELD("\"f\"; filename=\"C:\\tmp\\a.txt\"") "x\r\n--b\r\n" FIELD(
                    "\"g\"; filename=\"a\\\"") "y\r\n--b--",
                "f=<C:\\tmp\\a.txt||x>;g=<a\\||y>;");
}

/* RFC 2046, section 5.1.1: a preamble, an epilogue, blanks behind a boundary, line breaks that belong to it.
 */
static void test_boundaries(void **state)
{
    (void)state;
    assert_form("multipart/form-data; boundary=\"simple boundary\"",
                "This is the preamble.\r\n"
                "--simple boundary\r\n" FIELD(
                    "a") "No line break at the end.\r\n"
                         "--simple boundary \t \r\n" FIELD(
                             "b") "One at the end.\r\n\r\n"
                                  "--simple boundary-- \r\nThis is the epilogue.\r\n--simple boundary\r\n",
                "a=No line break at the end.;b=One at the end.\r\n;");
    /* that look like one */
    assert_form(FORM "b",
                "--bb\r\n--b\r\n" FIELD("a") "\r\n--bb\r\n--b x\r\n--b-\r\n--b--x\r\n --b\r\n\n--b\r\n--b-- ",
                "a=\r\n--bb\r\n--b x\r\n--b-\r\n--b--x\r\n --b\r\n\n--b;");
    assert_form(FORM "b--", "--b--\r\n" FIELD("a") "x\r\n--b----", "a=x;");
    /* empty contents, with the empty line that is the boundary's, and with its own */
    assert_form(FORM "b",
                "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n--b\r\n" FIELD("c") "\r\n--b--",
                "a=;c=;");
    assert_form(FORM "b", "--b", "the first boundary is missing");
    assert_form(FORM "b", "", "the first boundary is missing");
    assert_form(FORM "b", "--c\r\n" FIELD("a") "x\r\n--c--\r\n", "the first boundary is missing");
    assert_form(FORM "b", "--b\n" FIELD("a") "x\n--b--\n",
                "lines must end with CR and LF, not with LF alone");
    assert_form(FORM "b", "--b\r\n" FIELD("a") "x\r\n--b-", "the last boundary is missing");
    assert_form(FORM "b", "--b\r\n" FIELD("a") "x\r\n--b\r\n", "the last boundary is missing");
    assert_form(FORM "b", "--b\r\n" FIELD("a") "x\r\n--b--\r", "the last boundary is missing");
    assert_form(FORM "b", "--b\r\n--b--\r\n", "the last boundary is missing");
}

static void test_content_types(void **state)
{
    (void)state;
    static const char body[] = "--b\r\n" FIELD("a") "x\r\n--b--\r\n";
    static const char malformed[] = "the parameters of the content type are malformed";
    static const char wrong[] =
        "the boundary of the content type must be 1 to 70 letters, digits or '()+_,-./:=?";
    assert_form("Multipart/Form-Data;charset=utf-8 ; Boundary=b", body, "a=x;");
    assert_form("multipart/form-data; boundary=\"b\"; x=\"a\\\"; boundary=c\"", body, "a=x;");
    assert_form("multipart/form-data; boundary=b;", body, "a=x;");
    assert_form("multipart/form-data;; boundary=b", body, "a=x;");
    assert_form(FORM "b:/=?'()+_,-.z", "--b:/=?'()+_,-.z\r\n" FIELD("a") "x\r\n--b:/=?'()+_,-.z--", "a=x;");
    assert_form("multipart/mixed; boundary=b", body, "the content type is not multipart/form-data");
    assert_form("multipart/form-data", body, "the content type has no boundary");
    assert_form("multipart/form-data; boundary=b; boundary=c", body, "the content type has two boundaries");
    assert_form("multipart/form-data boundary=b", body, malformed);
    assert_form("multipart/form-data; boundary", body, malformed);
    assert_form("multipart/form-data; boundary=\"b", body, malformed);
    assert_form(FORM "b, multipart/form-data; boundary=c", body, malformed);
    assert_form(FORM, body, wrong);
    assert_form(FORM "\"b \"", body, wrong);
    assert_form(FORM "b*", body, wrong);
    assert_form(FORM "\"a\r\nb\"", body, wrong);
#define SEVENTY "0123456789012345678901234567890123456789012345678901234567890123456789"
    assert_form(FORM SEVENTY, "--" SEVENTY "\r\n" FIELD("a") "x\r\n--" SEVENTY "--", "a=x;");
    assert_form(FORM SEVENTY "0", body, wrong);
}

/* ---- headers ---- */

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *given, *expected;
    } cases[] = {
        {"form-data; name=a", "a=x;"},
        {"FORM-DATA; NAME=a", "a=x;"},
        {"form-data ;name=\"a\" ; filename=b ;", "a=<b||x>;"},
        {"form-data; name=\"\"", "=x;"},
        {"form-data; name=\"a;b=c\"", "a;b=c=x;"},
        {"form-data; name=\"a\\\\b\\c\"", "a\\b\\c=x;"},
        {"form-data; name=\"a\\\"; filename=\\\"b\"", "a\"; filename=\"b=x;"},
        {"form-data; name=\"100%25%0d%0A%22\"", "100%25\r\n\"=x;"},
        {"form-data; name=a%22b", "a%22b=x;"}, /* not quoted */
        {"form-data;\r\n\tname=\"a\r\n b\"", "a b=x;"},
        /* RFC 8187, sections 3.2.1 and 3.2.3 */
        {"form-data; name=a; filename*=UTF-8''%c2%a3%20and%20%e2%82%ac%20rates",
         "a=<\xC2\xA3 and \xE2\x82\xAC rates||x>;"},
        {"form-data; name=a; filename*=iso-8859-1'en'%A3%20rates", "a=<\xC2\xA3 rates||x>;"},
        {"form-data; name=a; filename=\"EURO rates\"; filename*=utf-8''%e2%82%ac%20rates",
         "a=<\xE2\x82\xAC rates||x>;"},
        {"form-data; name=a; filename*=koi8-r''%C1; filename=plain", "a=<plain||x>;"},
        {"form-data; name=a; filename*=UTF-8''%4g%", "a=<%4g%||x>;"},
        {"form-data; name=a; filename*=koi8-r''%C1", "filename* of part 1 is neither UTF-8 nor ISO-8859-1"},
        {"form-data; name=a; filename*=plain", "filename* of part 1 is neither UTF-8 nor ISO-8859-1"},
        {"form-data", "part 1 has no name"},
        {"form-data; filename=a", "part 1 has no name"},
        {"form-data; name=a; name=b", "part 1 has name twice"},
        {"form-data; name=a; FileName=b; filename=b", "part 1 has filename twice"},
        {"attachment; name=a", "the Content-Disposition of part 1 is not form-data"},
        {"", "the Content-Disposition of part 1 is not form-data"},
        {"form-data; name", "the Content-Disposition of part 1 is malformed"},
        {"form-data; name=\"a", "the Content-Disposition of part 1 is malformed"},
        {"form-data; name=a b", "the Content-Disposition of part 1 is malformed"},
        {"form-data; name=\"a\"b", "the Content-Disposition of part 1 is malformed"},
        {"form-data; =a", "the Content-Disposition of part 1 is malformed"},
        {"form-data; name=a\r\nCONTENT-DISPOSITION: form-data; name=b",
         "part 1 has two Content-Disposition headers"},
        {"form-data; name=a\r\nX", "part 1 has a header without a colon"},
        {"form-data; name=a\r\n: X", "part 1 has a header without a name"},
        {"form-data; name=a\r\nX-Other: y\r\nContent-Transfer-Encoding: 8bit", "a=x;"},
        {"form-data; name=a\r\nContent-transfer-encoding: Quoted-Printable",
         "part 1 has a Content-Transfer-Encoding, which forms do not have"},
        {"form-data; name=a; filename=b\r\ncontent-type:text/plain;\r\n charset=utf-8 ",
         "a=<b|text/plain; charset=utf-8|x>;"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[1024];
        int len = snprintf(body, sizeof body, "--b\r\nContent-Disposition: %s\r\n\r\nx\r\n--b--\r\n",
                           cases[i].given);
        const char *got = read_form(FORM "b", body, (size_t)len);
        if (strcmp(got, cases[i].expected) != 0)
            fail_msg("%s: %s, not %s", cases[i].given, got, cases[i].expected);
    }
    assert_form(FORM "b", "--b\r\n" FIELD("a") "x\r\n--b\r\n\r\ny\r\n--b--",
                "part 2 has no Content-Disposition");
    assert_form(FORM "b", "--b\r\nContent-Disposition: form-data; name=a\r\n--b--",
                "part 1 has no empty line after its headers");
    assert_form(FORM "b", "--b\r\nContent-Disposition: form-data; name=a\0b\r\n\r\nx\r\n--b--",
                "the Content-Disposition of part 1 is malformed");
}

/* ---- limits ---- */

static void test_limits(void **state)
{
    (void)state;
    struct buf body;
    struct multipart form;
    struct multipart_part part;
    struct err err;
    bool found = true;
    buf_init(&body, (size_t)1024 * 1024);
    for (int i = 0; i < MULTIPART_PARTS_MAX; i++)
        buf_adds(&body, "--b\r\n" FIELD("a") "x\r\n");
    size_t len = body.len;
    buf_adds(&body, "--b--");
    assert_int_equal(multipart_init(&form, FORM "b", strlen(FORM "b"), body.data, body.len, &err), ERR_NONE);
    while (found)
        assert_int_equal(multipart_next(&form, &part, &found, &err), ERR_NONE);
    assert_int_equal(form.parts, MULTIPART_PARTS_MAX);
    assert_int_equal(multipart_next(&form, &part, &found, &err), ERR_NONE);
    assert_false(found);
    body.len = len;
    buf_adds(&body, "--b\r\n" FIELD("a") "x\r\n--b--");
    assert_string_equal(read_form(FORM "b", body.data, body.len), "the form has more than 1000 parts");

    /* Content does not count; headers may be up to the limit, the empty line included. */
    for (size_t over = 0; over < 2; over++) {
        static const char field[] = "Content-Disposition: form-data; name=a\r\n";
        buf_clear(&body);
        buf_adds(&body, "--b\r\n");
        buf_adds(&body, field);
        buf_adds(&body, "X: ");
        for (size_t i = sizeof field - 1 + 3; i < MULTIPART_HEADERS_MAX - 4 + over; i++)
            buf_addc(&body, 'x');
        buf_adds(&body, "\r\n\r\n");
        for (int i = 0; i < 2000; i++)
            buf_addc(&body, 'y');
        buf_adds(&body, "\r\n--b--");
        const char *got = read_form(FORM "b", body.data, body.len);
        if (over > 0)
            assert_string_equal(got, "part 1 has more than 16 KiB of headers");
        else
            assert_int_equal(strlen(got), 2 + 2000 + 1);
    }
    buf_free(&body);
}

/* Every beginning of a body is damaged, and says so; nothing is read beyond it. */
static void test_truncated(void **state)
{
    (void)state;
    static const char body[] =
        "--b\r\n" FIELD("\"a\"; filename*=UTF-8''%41") "x\r\n--b\r\n" FIELD("\"c\\\"d\"") "y\r\n--b--";
    for (size_t len = 0; len < sizeof body - 1; len++) {
        const char *got = read_form(FORM "b", body, len);
        if (strcmp(got, "the first boundary is missing") != 0 &&
            strcmp(got, "the last boundary is missing") != 0)
            fail_msg("%zu bytes: %s", len, got);
    }
    assert_form(FORM "b", body, "a=<A||x>;c\"d=y;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_curl),       cmocka_unit_test(test_browsers),
        cmocka_unit_test(test_boundaries), cmocka_unit_test(test_content_types),
        cmocka_unit_test(test_names),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_truncated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
