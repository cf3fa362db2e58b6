/* base/csv: every text in every two pieces, places in messages, limits, and what is written comes back. */
#include "base/csv.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct csv_format plain = {
    .delimiter = ',', .quote = '"', .skip_empty = true, .max_field = 100, .max_fields = 10};

/* Feeds the text in chunks that end at cut and, from there on, have step bytes. Fields are written with "|"
 * behind the last of a record and "," behind others; a failure as "!" and the message. The scratch memory
 * grows by as little as it may. */
static void read_in_pieces(const struct csv_format *format, const char *text, size_t len, size_t cut,
                           size_t step, struct buf *out)
{
    struct csv_reader reader;
    struct csv_field field;
    struct err err;
    size_t at = 0;
    char *scratch = NULL, *chunk = NULL;
    csv_reader_init(&reader, format);
    buf_clear(out);
    for (;;) {
        switch (csv_next(&reader, &field, &err)) {
        case CSV_FIELD:
            buf_add(out, field.bytes, field.len);
            buf_addc(out, field.last ? '|' : ',');
            continue;
        case CSV_ROOM: {
            /* In a block of its own size, so that a sanitizer sees every byte too many. */
            char *more = mem_alloc(reader.scratch_need);
            assert_non_null(more);
            if (reader.scratch_len > 0)
                memcpy(more, scratch, reader.scratch_len);
            mem_free(scratch);
            scratch = more;
            csv_set_scratch(&reader, scratch, reader.scratch_need);
            continue;
        }
        case CSV_MORE: {
            if (at == len) {
                csv_finish(&reader);
                continue;
            }
            size_t end = at < cut ? cut : at + step;
            end = end < len ? end : len;
            char *next = mem_alloc(end - at);
            assert_non_null(next);
            memcpy(next, text + at, end - at);
            mem_free(chunk); /* the reader has said that it is done with it */
            chunk = next;
            csv_feed(&reader, chunk, end - at);
            at = end;
            continue;
        }
        case CSV_FAILED:
            buf_addf(out, "!%s", err.message);
            assert_int_equal(csv_next(&reader, &field, &err), CSV_FAILED);
            break;
        case CSV_END:
            break;
        }
        break;
    }
    mem_free(scratch);
    mem_free(chunk);
}

static void check_bytes(const struct csv_format *format, const char *text, size_t len, const char *expected)
{
    struct buf out;
    buf_init(&out, 65536);
    for (size_t cut = 0; cut <= len; cut++) {
        for (size_t step = 1; step <= 3; step += 2) {
            read_in_pieces(format, text, len, cut, step, &out);
            if (strcmp(buf_text(&out), expected) != 0)
                fail_msg("%s, cut at %zu and every %zu: got %s, expected %s", text, cut, step, buf_text(&out),
                         expected);
        }
    }
    buf_free(&out);
}

static void check(const struct csv_format *format, const char *text, const char *expected)
{
    check_bytes(format, text, strlen(text), expected);
}

static void records(void **state)
{
    (void)state;
    check(&plain, "", "");
    check(&plain, "a", "a|");
    check(&plain, "a,b\r\nc,d\r\n", "a,b|c,d|");
    check(&plain, "a\nb\rc\r\nd", "a|b|c|d|");
    check(&plain, ",", ",|");
    check(&plain, "a,\n,b\n", "a,|,b|");
    check(&plain, "\n\r\n\r\ra\n\n", "a|");
    check(&plain, "\"\"\n", "|");
    check(&plain, "\"a,b\",\"c\r\nd\"\n", "a,b,c\r\nd|");
    check(&plain, "\"say \"\"yes\"\"\",\"\"\"\"\n", "say \"yes\",\"|");
    check(&plain, "a\"b\",c\"\n", "a\"b\",c\"|");
    check(&plain, " a , b \n", " a , b |");
    check_bytes(&plain, "\0,\xff\xfe\n", 5,
                ""); /* its first byte ends the C string, which is how it is shown */
}

static void empty_lines(void **state)
{
    (void)state;
    struct csv_format format = plain;
    format.skip_empty = false;
    check(&format, "\na\n\r\n", "|a||");
    check(&format, "", "");
    format.trim = true;
    check(&format, "  \n", "|");
    format.skip_empty = true;
    check(&format, " \t \na\n ", "a|");
}

static void trimming(void **state)
{
    (void)state;
    struct csv_format format = plain;
    format.trim = true;
    check(&format, " a b ,\t\"  c \" , \n", "a b,  c ,|");
    check(&format, "\"a\" \"b\"\n",
          "!line 1, column 5: there is text after the closing quote of a field; a quote inside quotes is "
          "written twice");
    format.delimiter = '\t';
    check(&format, " a\t\t b", "a,,b|");
}

static void other_characters(void **state)
{
    (void)state;
    struct csv_format format = plain;
    format.escape = '\\';
    check(&format, "a\\,b,\"c\\\"d\"\"e\"\n\\\n,\\\\\n", "a,b,c\"d\"e|\n,\\|");
    check(&format, "ab\\", "!line 1, column 4: the text ends after an escape character");
    format.quote = '\0';
    check(&format, "\"a,b\\,\"\n", "\"a,b,\"|");
    format = plain;
    format.comment = '#';
    check(&format, "#a,\"\n1,#2\n#\n\"#\"\n#", "1,#2|#|");
}

static void byte_order_marks(void **state)
{
    (void)state;
    check(&plain, "\xef\xbb\xbf\"a\",b", "a,b|");
    check(&plain, "\xef\xbb\xbf", "");
    check(&plain, "a\n\xef\xbb\xbf", "a|\xef\xbb\xbf|");
    check(&plain, "\xef\xbb\x80,b\n", "\xef\xbb\x80,b|");
    check(&plain, "\xef,b", "\xef,b|");
    check(&plain, "\xef\xbb", "\xef\xbb|");
    check(&plain, "\xff,", "\xff,|");
    check(&plain,
          "\xff\xfe"
          "a",
          "!line 1, column 1: the text is UTF-16; convert it to UTF-8 first");
    check(&plain,
          "\xfe\xff"
          "a",
          "!line 1, column 1: the text is UTF-16; convert it to UTF-8 first");
}

static void places(void **state)
{
    (void)state;
    check(&plain, "a\n\xc3\xa4,\"b\"c\n",
          "a|\xc3\xa4,!line 2, column 6: there is text after the closing quote of a field; a quote inside "
          "quotes "
          "is written twice");
    check(&plain, "a\r\n\"b\r\n\xe2\x82\xac\r\n\"x",
          "a|!line 4, column 2: there is text after the closing quote of a field; a quote inside quotes is "
          "written "
          "twice (the record begins in line 2)");
    check(&plain, "a\rb,\xc3\xa4,\"c\n\n\n",
          "a|b,\xc3\xa4,!line 2, column 5: the quote that opens here is never closed");
    check(&plain, "\"a\n\",\"b\n",
          "a\n,!line 2, column 3: the quote that opens here is never closed (the record begins in line 1)");
}

static void limits(void **state)
{
    (void)state;
    struct csv_format format = plain;
    format.max_field = 3;
    format.max_fields = 2;
    check(&format, "abc,\"abc\"\n", "abc,abc|");
    check(&format, "a,b,c\n", "a,b,!line 1, column 6: the record has more than 2 fields");
    /* Where it is noticed depends on the pieces; that it is does not. */
    struct buf out;
    buf_init(&out, 65536);
    read_in_pieces(&format, "a,abcd\n", 7, 7, 1, &out);
    assert_string_equal(buf_text(&out), "a,!line 1, column 7: field 2 is longer than 3 bytes");
    read_in_pieces(&format, "\"a\"\"bc\n\n", 8, 0, 1, &out);
    assert_string_equal(buf_text(&out),
                        "!line 1, column 1: the field in these quotes is longer than 3 bytes; its "
                        "closing quote may be missing");
    buf_free(&out);
}

static void formats(void **state)
{
    (void)state;
    struct err err;
    struct csv_format format = plain;
    assert_int_equal(csv_check_format(&format, &err), ERR_NONE);
    format.quote = ',';
    assert_int_equal(csv_check_format(&format, &err), ERR_INVALID);
    assert_string_equal(err.message, "\"delimiter\" and \"quote\" are the same character");
    format = plain;
    format.delimiter = '\0';
    assert_int_equal(csv_check_format(&format, &err), ERR_INVALID);
    assert_string_equal(err.message, "\"delimiter\" must be one ASCII character that is no line break");
    format = plain;
    format.comment = '\n';
    assert_int_equal(csv_check_format(&format, &err), ERR_INVALID);
    format.comment = (char)0xc3;
    assert_int_equal(csv_check_format(&format, &err), ERR_INVALID);
    format.comment = '#';
    format.escape = '#';
    assert_int_equal(csv_check_format(&format, &err), ERR_INVALID);
    assert_string_equal(err.message, "\"escape\" and \"comment\" are the same character");
}

static void written(const struct csv_format *format, const char *field, bool first, bool only, bool always,
                    const char *expected)
{
    struct buf out;
    struct err err;
    buf_init(&out, 1000);
    enum err_code code = csv_add_field(&out, format, field, strlen(field), first, only, always, &err);
    assert_string_equal(code == ERR_NONE ? buf_text(&out) : err.message, expected);
    buf_free(&out);
}

static void writing(void **state)
{
    (void)state;
    struct csv_format format = plain;
    written(&format, "a", true, false, false, "a");
    written(&format, "a", false, false, false, ",a");
    written(&format, "a", false, false, true, ",\"a\"");
    written(&format, "", true, true, false, "\"\"");
    written(&format, "", true, false, false, "");
    written(&format, "a,b", true, false, false, "\"a,b\"");
    written(&format, "a\"b", true, false, false, "\"a\"\"b\"");
    written(&format, " a", true, false, false, "\" a\"");
    written(&format, "a\r", true, false, false, "\"a\r\"");
    written(&format, "\xef\xbb\xbf", true, false, false, "\"\xef\xbb\xbf\"");
    written(&format, "\xf0\x9f\x98\x80", true, false, false, "\xf0\x9f\x98\x80");
    format.comment = '#';
    written(&format, "#a", true, false, false, "\"#a\"");
    written(&format, "#a", false, false, false, ",#a");
    format.escape = '\\';
    written(&format, "a\"\\", true, false, false, "\"a\\\"\\\\\"");
    format.quote = '\0';
    written(&format, "#a,\"\n\\", true, false, false, "\\#a\\,\"\\\n\\\\");
    written(&format, "", true, true, false, "a record of one empty field cannot be written without quotes");
    format.escape = '\0';
    written(&format, "a\"", true, false, false, "a\"");
    written(
        &format, "a,b", true, false, false,
        "the field has the delimiter, a line break or the sign of a comment in it, which cannot be written "
        "without quotes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records),          cmocka_unit_test(empty_lines),      cmocka_unit_test(trimming),
        cmocka_unit_test(other_characters), cmocka_unit_test(byte_order_marks), cmocka_unit_test(places),
        cmocka_unit_test(limits),           cmocka_unit_test(formats),          cmocka_unit_test(writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
