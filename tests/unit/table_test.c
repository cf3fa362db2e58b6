/* Tables: alignment, cutting, escaping. */
#include "base/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static const struct table_column two[] = {{"key", TABLE_LEFT, 0}, {"rows", TABLE_RIGHT, 0}};

static void expect(const struct table_printer *table, struct table_style style, const char *expected)
{
    struct buf out;
    struct err err = {0};
    buf_init(&out, 100000);
    assert_int_equal(table_print(table, &style, &out, &err), ERR_NONE);
    assert_string_equal(buf_text(&out), expected);
    assert_int_equal(out.len, strlen(expected));
    buf_free(&out);
}

/* One column, one cell, aligned and plain. */
static void expect_shown(const char *text, size_t len, const char *aligned, const char *plain)
{
    static const struct table_column one[] = {{"t", TABLE_LEFT, 0}};
    char expected[200];
    struct table_printer table;
    table_init(&table, one, 1);
    table_cell(&table, text, len);
    snprintf(expected, sizeof expected, "t\n%s\n", aligned);
    expect(&table, (struct table_style){0}, expected);
    snprintf(expected, sizeof expected, "%s\n", plain);
    expect(&table, (struct table_style){.plain = true}, expected);
    table_free(&table);
}

static void test_aligned(void **state)
{
    (void)state;
    struct table_printer table;
    table_init(&table, two, 2);
    expect(&table, (struct table_style){0}, "key  rows\n");
    expect(&table, (struct table_style){.plain = true}, "");
    assert_int_equal(table_row_count(&table), 0);
    table_cells(&table, "tasks");
    table_cellf(&table, "%d", 12);
    table_cells(&table, "日本");
    table_cellf(&table, "%d", 1234567);
    table_cells(&table, NULL);
    table_cells(&table, "");
    table_cells(&table, "alone");
    assert_int_equal(table_row_count(&table), 4);
    expect(&table, (struct table_style){0},
           "key       rows\n"
           "tasks       12\n"
           "日本   1234567\n"
           "\n"
           "alone\n");
    expect(&table, (struct table_style){.colour = true},
           "\x1b[1mkey       rows\x1b[0m\n"
           "tasks       12\n"
           "日本   1234567\n"
           "\n"
           "alone\n");
    expect(&table, (struct table_style){.plain = true, .colour = true, .width = 5},
           "tasks\t12\n日本\t1234567\n\t\nalone\t\n");
    table_free(&table);

    static const struct table_column three[] = {
        {"a", TABLE_RIGHT, 0}, {"b", TABLE_LEFT, 0}, {"c", TABLE_LEFT, 0}};
    table_init(&table, three, 3);
    static const char *const cells[] = {"1", "", "x", "1000", "long", "y", "", "z", ""};
    for (size_t i = 0; i < 9; i++)
        table_cells(&table, cells[i]);
    expect(&table, (struct table_style){0},
           "   a  b     c\n"
           "   1        x\n"
           "1000  long  y\n"
           "      z\n");
    table_free(&table);
}

static void test_escapes(void **state)
{
    (void)state;
    expect_shown("a\nb", 3, "a↵b", "a b");
    expect_shown("a\r\nb", 4, "a\\r↵b", "a b");
    expect_shown("a\tb", 3, "a\\tb", "a b");
    expect_shown("a\rb", 3, "a\\rb", "a\\rb");
    expect_shown("\x1b[2J\x07", 5, "\\x1b[2J\\x07", "\\x1b[2J\\x07");
    expect_shown("a\0b", 3, "a\\x00b", "a\\x00b");
    expect_shown("\x7f", 1, "\\x7f", "\\x7f");
    expect_shown("\xC2\x9b"
                 "2J",
                 4, "\\u009b2J", "\\u009b2J"); /* a control sequence in eight bits */
    expect_shown("\x9b\xC3", 2, "\\x9b\\xc3", "\\x9b\\xc3");
    expect_shown("a\xE2\x80\xAE"
                 "b",
                 5, "a\\u202eb", "a\\u202eb"); /* right-to-left override */
    expect_shown("\xE2\x80\xA8\xE2\x81\xA6", 6, "\\u2028\\u2066", "\\u2028\\u2066");
    expect_shown("é日👍🏽", strlen("é日👍🏽"), "é日👍🏽", "é日👍🏽");
    expect_shown("\\n", 2, "\\n", "\\n");

    /* Escapes count as wide as they show. */
    struct table_printer table;
    table_init(&table, two, 2);
    table_cells(&table, "\x1b\n");
    table_cells(&table, "1");
    expect(&table, (struct table_style){0}, "key    rows\n\\x1b↵     1\n");
    table_free(&table);

    static const struct table_column bad[] = {{"a\x1b", TABLE_LEFT, 0}};
    table_init(&table, bad, 1);
    expect(&table, (struct table_style){0}, "a\\x1b\n");
    table_free(&table);
}

static void test_max_width(void **state)
{
    (void)state;
    static const struct table_column columns[] = {{"title", TABLE_LEFT, 4}, {"n", TABLE_RIGHT, 3}};
    struct table_printer table;
    table_init(&table, columns, 2);
    static const char *const cells[] = {"abcd",    "123", "abcde",         "1234", "日本",         "1",
                                        "日本語",  "2",   "a日本",         "3",    "\x1b\x1b",     "4",
                                        "abc\x1b", "5",   "e\xCC\x81xyzw", "6",    "e\xCC\x81xyz", "7"};
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++)
        table_cells(&table, cells[i]);
    expect(&table, (struct table_style){0},
           "tit…    n\n"
           "abcd  123\n"
           "abc…  12…\n"
           "日本    1\n"
           "日…     2\n"
           "a日…    3\n"
           "…       4\n" /* an escape is not cut in two */
           "abc…    5\n"
           "e\xCC\x81xy…    6\n"
           "e\xCC\x81xyz    7\n");
    table_free(&table);
}

static void test_terminal_width(void **state)
{
    (void)state;
    static const struct table_column columns[] = {
        {"id", TABLE_LEFT, 0}, {"what", TABLE_LEFT, 0}, {"n", TABLE_RIGHT, 0}};
    struct table_printer table;
    table_init(&table, columns, 3);
    static const char *const cells[] = {
        "short", "a long text of 26 letters.", "123456", "a text of twenty let", "b", "7"};
    for (size_t i = 0; i < 6; i++)
        table_cells(&table, cells[i]);
    /* It needs 20 + 2 + 26 + 2 + 6. */
    expect(&table, (struct table_style){.width = 56},
           "id                    what                             n\n"
           "short                 a long text of 26 letters.  123456\n"
           "a text of twenty let  b                                7\n");
    /* The widest gives first, … */
    expect(&table, (struct table_style){.width = 55},
           "id                    what                            n\n"
           "short                 a long text of 26 letter…  123456\n"
           "a text of twenty let  b                               7\n");
    /* … then both, … */
    expect(&table, (struct table_style){.width = 31},
           "id           what             n\n"
           "short        a long te…  123456\n"
           "a text of …  b                7\n");
    /* … and numbers last. */
    expect(&table, (struct table_style){.width = 26},
           "id        what           n\n"
           "short     a long …  123456\n"
           "a text …  b              7\n");
    expect(&table, (struct table_style){.width = 14},
           "id    wh…    n\n"
           "sho…  a …  12…\n"
           "a t…  b      7\n");
    /* Narrower than possible: one column each, and no endless loop. */
    expect(&table, (struct table_style){.width = 1},
           "…  …  n\n"
           "…  …  …\n"
           "…  b  7\n");
    expect(&table, (struct table_style){.plain = true, .width = 1},
           "short\ta long text of 26 letters.\t123456\na text of twenty let\tb\t7\n");
    table_free(&table);
}

/* A long number stays whole while text can still give. */
static void test_long_numbers(void **state)
{
    (void)state;
    struct table_printer table;
    table_init(&table, two, 2);
    table_cells(&table, "a text of twenty let");
    table_cells(&table, "123456789012345");
    expect(&table, (struct table_style){.width = 25},
           "key                  rows\n"
           "a text …  123456789012345\n");
    table_free(&table);
}

static void test_failures(void **state)
{
    (void)state;
    struct table_printer table;
    struct buf out;
    struct err err;
    struct table_style style = {0};
    char big[600];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    table_init(&table, two, 2);
    table_cellf(&table, "%s", big);
    assert_int_equal(table.text.len, 511);
    assert_memory_equal(table.text.data + 505, "xxx…", 6);
    buf_init(&out, 100);
    assert_int_equal(table_print(&table, &style, &out, &err), ERR_LIMIT);
    assert_string_equal(err.message, "the table is larger than 100 bytes");
    buf_free(&out);
    table_free(&table);

#ifdef WORKERS_FAULT_INJECTION
    int failures = 0;
    for (unsigned long nth = 1; nth < 50; nth++) {
        buf_init(&out, 10000);
        mem_fail_from(nth);
        table_init(&table, two, 2);
        table_cells(&table, "a");
        table_cells(&table, "b");
        enum err_code code = table_print(&table, &style, &out, &err);
        mem_fail_from(0);
        table_free(&table);
        buf_free(&out);
        if (code == ERR_NONE)
            break;
        assert_int_equal(code, ERR_NOMEM);
        failures++;
    }
    assert_int_equal(failures, 5); /* text, ends, widths, cells, out */
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aligned),      cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_max_width),    cmocka_unit_test(test_terminal_width),
        cmocka_unit_test(test_long_numbers), cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
