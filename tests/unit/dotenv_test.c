/* .env files: what is read, what is refused, and editing. */
#include "worker/dotenv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"

static struct dotenv parsed(const char *text)
{
    struct dotenv env;
    struct err err = {0};
    if (dotenv_parse(text, strlen(text), ".env", &env, &err) != ERR_NONE)
        fail_msg("%s", err.message);
    return env;
}

/* One assignment, whose name is A. */
static void expect_one(const char *text, const char *value)
{
    struct dotenv env = parsed(text);
    assert_int_equal(env.count, 1);
    assert_string_equal(env.entries[0].name, "A");
    assert_string_equal(env.entries[0].value, value);
    assert_int_equal(env.entries[0].value_len, strlen(value));
    dotenv_free(&env);
    assert_int_equal(env.count, 0);
}

static void expect_error(const char *text, const char *message)
{
    struct dotenv env;
    struct err err = {0};
    assert_int_equal(dotenv_parse(text, strlen(text), ".env", &env, &err), ERR_INVALID);
    assert_string_equal(err.message, message);
    assert_null(env.entries);
}

static void test_values(void **state)
{
    (void)state;
    expect_one("A=b", "b");
    expect_one("A=b\n", "b");
    expect_one("A=b\r\n", "b");
    expect_one("A=b\r", "b");
    expect_one("A=", "");
    expect_one("A=\n", "");
    expect_one("\xEF\xBB\xBF"
               "A=b",
               "b");
    expect_one("  A \t=  b c \t\n", "b c");
    expect_one("export A=b", "b");
    expect_one("export\t A = b", "b");
    expect_one("# c\n\n  # d\n\r\nA=b # e\n", "b");
    expect_one("A=b#c", "b#c");
    expect_one("A=b\t#c", "b");
    expect_one("A=#c", "#c");
    expect_one("A= #c", "");
    expect_one("A=a=b==", "a=b==");
    expect_one("A=it's \"so\" $B ${C} \\n", "it's \"so\" $B ${C} \\n");
    expect_one("A=\xFF\xC3\xBC", "\xFF\xC3\xBC");

    expect_one("A=''", "");
    expect_one("A='b # c'", "b # c");
    expect_one("A='\\n\"$B\\'  # comment", "\\n\"$B\\");
    expect_one("A='b\r\nc\nd'\r\n", "b\nc\nd");
    expect_one("A=\"\"", "");
    expect_one("A= \"b # c\" #d", "b # c");
    expect_one("A=\"b\"#d", "b");
    expect_one("A=\"\\n\\r\\t\\\"\\\\\\$\\x\\'\"", "\n\r\t\"\\$\\x\\'");
    expect_one("A=\"\\\\n\"", "\\n");
    expect_one("A=\"-----BEGIN-----\r\n  key # not a comment\n-----END-----\n\"",
               "-----BEGIN-----\n  key # not a comment\n"
               "-----END-----\n");
}

static void test_entries(void **state)
{
    (void)state;
    struct dotenv env = parsed("A=1\n# x\nexport B_2=\"x\ny\"\nexport=e\nA=2\n_=u\nexports = f");
    assert_int_equal(env.count, 6);
    assert_int_equal(env.entries[0].line, 1);
    assert_string_equal(env.entries[1].name, "B_2");
    assert_int_equal(env.entries[1].line, 3);
    assert_int_equal(env.entries[1].begin, 8);
    assert_int_equal(env.entries[1].end, 25);
    assert_string_equal(env.entries[2].name, "export");
    assert_int_equal(env.entries[2].line, 5);
    assert_string_equal(dotenv_get(&env, "A")->value, "2"); /* the last counts */
    assert_string_equal(dotenv_get(&env, "_")->value, "u");
    assert_string_equal(dotenv_get(&env, "exports")->value, "f");
    assert_null(dotenv_get(&env, "a"));
    assert_null(dotenv_get(&env, ""));
    dotenv_free(&env);
    env = parsed("");
    assert_int_equal(env.count, 0);
    dotenv_free(&env);
}

static void test_errors(void **state)
{
    (void)state;
    /* None repeats anything of the line. */
    expect_error("A=1\nsk_live_secret\n",
                 ".env:2: expected NAME=value; a value of several lines goes between double quotes");
    expect_error("export A",
                 ".env:1: expected NAME=value; a value of several lines goes between double quotes");
    expect_error("\n\nA-B=1", ".env:3: a name consists of letters, digits and '_', as in API_TOKEN=value");
    expect_error("größe=1", ".env:1: a name consists of letters, digits and '_', as in API_TOKEN=value");
    expect_error("A: x=1", ".env:1: a name consists of letters, digits and '_', as in API_TOKEN=value");
    expect_error("A\n=1", ".env:1: expected NAME=value; a value of several lines goes between double quotes");
    expect_error("1A=1", ".env:1: a name cannot begin with a digit");
    expect_error(" =1", ".env:1: a name is missing before '='");
    expect_error("A=1\nB=\"x\ny\n", ".env:2: the double quote that opens here is never closed");
    expect_error("B=\"x\\\"", ".env:1: the double quote that opens here is never closed");
    expect_error("B=\"x\\", ".env:1: the double quote that opens here is never closed");
    expect_error("B='", ".env:1: the single quote that opens here is never closed");
    expect_error("A=\"x\ny\" z",
                 ".env:2: text follows the closing quote; write \\\" for a quote within the value");
    expect_error(
        "A='it's'",
        ".env:1: text follows the closing quote; use double quotes for a value that has single ones");
    struct dotenv env;
    struct err err;
    assert_int_equal(dotenv_parse("A=1\nB=\0", 7, "f", &env, &err), ERR_INVALID);
    assert_string_equal(err.message, "f:2: a NUL byte; the file must be text");
    char *big = malloc(DOTENV_MAX + 1);
    memset(big, 'a', DOTENV_MAX + 1);
    big[1] = '=';
    assert_int_equal(dotenv_parse(big, DOTENV_MAX + 1, "f", &env, &err), ERR_LIMIT);
    assert_string_equal(err.message, "f is larger than 1048576 bytes");
    assert_int_equal(dotenv_parse(big, DOTENV_MAX, "f", &env, &err), ERR_NONE);
    assert_int_equal(env.entries[0].value_len, DOTENV_MAX - 2);
    dotenv_free(&env);
    free(big);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    static const char text[] = "A=1\nB='2'\n";
    struct dotenv env;
    struct err err;
    int failures = 0;
    for (unsigned long nth = 1; nth < 50; nth++) {
        mem_fail_from(nth);
        enum err_code code = dotenv_parse(text, sizeof text - 1, "f", &env, &err);
        mem_fail_from(0);
        if (code == ERR_NONE) {
            dotenv_free(&env);
            break;
        }
        assert_int_equal(code, ERR_NOMEM);
        assert_null(env.entries);
        failures++;
    }
#ifdef WORKERS_FAULT_INJECTION
    assert_int_equal(failures, 6); /* the scratch buffer, the array, two texts for each */
#endif
}

static void expect_edit(const char *text, const char *name, const char *value, const char *expected)
{
    struct buf out;
    struct err err = {0};
    buf_init(&out, DOTENV_MAX);
    if (dotenv_edit(text, strlen(text), ".env", name, value, value != NULL ? strlen(value) : 0, &out, &err) !=
        ERR_NONE)
        fail_msg("%s", err.message);
    assert_string_equal(buf_text(&out), expected);
    if (value != NULL) {
        struct dotenv env = parsed(buf_text(&out));
        assert_string_equal(dotenv_get(&env, name)->value, value);
        dotenv_free(&env);
    }
    buf_free(&out);
}

static void test_edit(void **state)
{
    (void)state;
    expect_edit("", "A", "1", "A=1\n");
    expect_edit("B=2", "A", "1", "B=2\nA=1\n");
    expect_edit("# c\nA=1 # old\nB=2\n", "A", "x y", "# c\nA=\"x y\"\nB=2\n");
    expect_edit("A=1\nB=2\nA=3", "A", "4", "A=4\nB=2\n");
    expect_edit("B='x\ny'\nexport A='x\ny'\n\nC=3", "A", "4", "B='x\ny'\nA=4\n\nC=3");
    expect_edit("A=1\n# c\nA=2\nB=3", "A", NULL, "# c\nB=3");
    expect_edit("A=1", "B", NULL, "A=1");
    expect_edit("\xEF\xBB\xBF"
                "A=1",
                "A", "2",
                "\xEF\xBB\xBF"
                "A=2\n");
    expect_edit("", "A", "", "A=\n");
    expect_edit("", "A", "a\"b\\c$d\ne\r\nf\tg'h", "A=\"a\\\"b\\\\c\\$d\\ne\\r\\nf\tg'h\"\n");
    expect_edit("", "A", "#x", "A=\"#x\"\n");
    expect_edit("", "A", " x", "A=\" x\"\n");
    expect_edit("", "A", "ghp_Ab1+/=:,.%@-", "A=ghp_Ab1+/=:,.%@-\n");

    struct buf out;
    struct err err;
    buf_init(&out, 100);
    assert_int_equal(dotenv_edit("", 0, ".env", "A-B", "1", 1, &out, &err), ERR_INVALID);
    assert_string_equal(err.message, "\"A-B\" is not a name: use letters, digits and '_', as in API_TOKEN");
    assert_int_equal(dotenv_edit("", 0, ".env", "A", "1\0", 2, &out, &err), ERR_INVALID);
    assert_string_equal(err.message, "the value of A contains a NUL byte");
    assert_int_equal(dotenv_edit("x", 1, ".env", "A", "1", 1, &out, &err), ERR_INVALID);
    assert_int_equal(out.len, 0);
    buf_free(&out);
    buf_init(&out, 2);
    assert_int_equal(dotenv_edit("", 0, ".env", "A", "1", 1, &out, &err), ERR_LIMIT);
    buf_free(&out);
}

static void test_load(void **state)
{
    (void)state;
    char path[] = "/tmp/dotenv_test.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "A=1\n?", 5), 5);
    struct dotenv env;
    struct err err;
    char message[200];
    assert_int_equal(dotenv_load(path, &env, &err), ERR_INVALID);
    snprintf(message, sizeof message,
             "%s:2: expected NAME=value; a value of several lines goes between double quotes", path);
    assert_string_equal(err.message, message);
    assert_int_equal(ftruncate(fd, 4), 0);
    assert_int_equal(dotenv_load(path, &env, &err), ERR_NONE);
    assert_string_equal(dotenv_get(&env, "A")->value, "1");
    dotenv_free(&env);
    close(fd);
    unlink(path);
    assert_int_equal(dotenv_load(path, &env, &err), ERR_NOT_FOUND);
    assert_null(env.entries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),        cmocka_unit_test(test_entries), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_edit),    cmocka_unit_test(test_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
