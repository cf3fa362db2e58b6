/* base/regex.c: memory that runs out anywhere, stopping in mid-search, limits, and where matches are. */
#include "base/regex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct regex_host host;
    struct regex_engine *engine;
    struct err err;
    size_t used; /* bytes */
    size_t peak; /* bytes */
    unsigned allocations;
    unsigned fail_at; /* the allocation that fails, and all after it; 0 for none */
    unsigned stops;   /* how often the host was asked */
    unsigned stop_at;
};

static void *host_resize(void *ctx, void *block, size_t old_size, size_t new_size)
{
    struct fixture *f = ctx;
    if (new_size == 0) {
        f->used -= old_size;
        free(block);
        return NULL;
    }
    f->allocations++;
    if (f->fail_at != 0 && f->allocations >= f->fail_at)
        return NULL;
    f->used += new_size - old_size;
    f->peak = f->used > f->peak ? f->used : f->peak;
    return realloc(block, new_size);
}

static bool host_stop(void *ctx)
{
    struct fixture *f = ctx;
    f->stops++;
    return f->stop_at != 0 && f->stops >= f->stop_at;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->host = (struct regex_host){.ctx = f, .resize = host_resize, .stop = host_stop};
    *state = f;
    return regex_engine_new(&f->host, &f->engine, &f->err) == ERR_NONE ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    regex_engine_free(f->engine);
    size_t left = f->used;
    free(f);
    return left == 0 ? 0 : -1;
}

static struct regex *compile(struct fixture *f, const char *pattern, const char *letters)
{
    unsigned flags;
    struct regex *regex = NULL;
    assert_int_equal(regex_read_flags(letters, strlen(letters), &flags, &f->err), ERR_NONE);
    assert_int_equal(regex_compile(f->engine, pattern, strlen(pattern), flags, &regex, &f->err), ERR_NONE);
    return regex;
}

static const struct regex_span *search(struct fixture *f, struct regex *regex, const char *text, size_t start,
                                       unsigned options)
{
    const struct regex_span *spans;
    assert_int_equal(regex_search(f->engine, regex, text, strlen(text), start, options, &spans, &f->err),
                     ERR_NONE);
    return spans;
}

#define assert_span(span, from, to)                                                                          \
    do {                                                                                                     \
        assert_int_equal((span).begin, (from));                                                              \
        assert_int_equal((span).end, (to));                                                                  \
    } while (0)

static void test_spans(void **state)
{
    struct fixture *f = *state;
    struct regex *regex = compile(f, "(b)|(c)(d)?", "");
    assert_int_equal(regex_groups(regex), 3);
    const struct regex_span *spans = search(f, regex, "abcd", 0, 0);
    assert_span(spans[0], 1, 2);
    assert_span(spans[1], 1, 2);
    assert_int_equal(spans[2].begin, REGEX_UNSET);
    assert_int_equal(spans[3].begin, REGEX_UNSET);
    spans = search(f, regex, "abcx", 2, 0);
    assert_span(spans[0], 2, 3);
    assert_int_equal(spans[1].begin, REGEX_UNSET);
    assert_span(spans[2], 2, 3);
    assert_int_equal(spans[3].begin, REGEX_UNSET);
    assert_null(search(f, regex, "abcx", 4, 0));
    regex_free(regex);
}

static void test_fresh(void **state)
{
    struct fixture *f = *state;
    struct regex *regex = compile(f, "a*?", "");
    assert_span(search(f, regex, "aa", 0, 0)[0], 0, 0);
    assert_span(search(f, regex, "aa", 0, REGEX_FRESH)[0], 0, 1);
    assert_span(search(f, regex, "aa", 2, 0)[0], 2, 2);
    assert_null(search(f, regex, "aa", 2, REGEX_FRESH));
    regex_free(regex);
    /* \K puts the beginning behind the end, which PCRE2 does not take for empty. */
    regex = compile(f, "(?=ö(?1))|(?!)(\\K)", "");
    assert_span(search(f, regex, "öö", 0, 0)[0], 0, 0);
    assert_span(search(f, regex, "öö", 0, REGEX_FRESH)[0], 2, 2);
    assert_null(search(f, regex, "öö", 2, REGEX_FRESH));
    regex_free(regex);
}

/* Texts in ASCII are matched by a program of their own, with the same result. */
static void test_ascii_text(void **state)
{
    struct fixture *f = *state;
    struct regex *regex = compile(f, "(\\w)(\\d)\\b|é", "");
    unsigned before = f->allocations;
    assert_span(search(f, regex, "- a1 b2", 0, 0)[2], 3, 4);
    unsigned between = f->allocations;
    assert_span(search(f, regex, "- a1 b2", 0, REGEX_ASCII_TEXT)[2], 3, 4);
    assert_int_equal(f->allocations, between + 1);
    assert_span(search(f, regex, "- a1 b2", 4, REGEX_ASCII_TEXT)[2], 6, 7);
    assert_int_equal(f->allocations, between + 1);
    assert_true(between > before); /* for the match data */
    regex_free(regex);
    /* Nothing would be gained with these. */
    static const char *const flags[] = {"a", "b"};
    for (int i = 0; i < 2; i++) {
        regex = compile(f, "\\d", flags[i]);
        before = f->allocations;
        assert_span(search(f, regex, "a1", 0, REGEX_ASCII_TEXT)[0], 1, 2);
        assert_int_equal(f->allocations, before);
        regex_free(regex);
    }
    /* Without memory for it, the other does. */
    regex = compile(f, "\\d", "");
    f->fail_at = f->allocations + 1;
    assert_span(search(f, regex, "a1", 0, REGEX_ASCII_TEXT)[0], 1, 2);
    f->fail_at = 0;
    regex_free(regex);
}

static void test_names(void **state)
{
    struct fixture *f = *state;
    struct regex *regex = compile(f, "(?<year>\\d+)-(x)-(?<day>\\d+)", "");
    uint32_t group;
    assert_int_equal(regex_names(regex), 2);
    assert_string_equal(regex_name(regex, 0, &group), "day");
    assert_int_equal(group, 3);
    assert_string_equal(regex_name(regex, 1, &group), "year");
    assert_int_equal(group, 1);
    regex_free(regex);
}

static void test_flags(void **state)
{
    struct fixture *f = *state;
    unsigned flags;
    assert_int_equal(regex_read_flags("imsxab", 6, &flags, &f->err), ERR_NONE);
    assert_int_equal(flags, REGEX_CASELESS | REGEX_MULTILINE | REGEX_DOT_ALL | REGEX_EXTENDED | REGEX_ASCII |
                                REGEX_BYTES);
    assert_int_equal(regex_read_flags("i\0", 2, &flags, &f->err), ERR_INVALID);
    assert_int_equal(regex_read_flags("ub", 2, &flags, &f->err), ERR_INVALID);
    struct regex *regex = compile(f, "a", "b");
    assert_false(regex_needs_utf8(regex));
    regex_free(regex);
    regex = compile(f, "a", "a");
    assert_true(regex_needs_utf8(regex));
    regex_free(regex);
    /* What follows a NUL belongs to the pattern. */
    assert_int_equal(regex_compile(f->engine, "a\0(", 3, 0, &regex, &f->err), ERR_INVALID);
    assert_string_equal(f->err.message,
                        "missing closing parenthesis at byte 4 of the pattern\n  a (\n     ^");
}

/* The host is asked while a search goes on, and its answer ends the search. */
static void test_stop(void **state)
{
    struct fixture *f = *state;
    struct regex *regex = compile(f, "^(a+)+$", "");
    const struct regex_span *spans;
    const char *text = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab";
    f->stop_at = 3;
    assert_int_equal(regex_search(f->engine, regex, text, strlen(text), 0, 0, &spans, &f->err),
                     ERR_CANCELLED);
    assert_null(spans);
    assert_int_equal(f->stops, 3);
    /* The engine is as good as before. */
    f->stop_at = 0;
    assert_span(search(f, regex, "aaaa", 0, 0)[0], 0, 4);
    assert_int_equal(regex_search(f->engine, regex, text, strlen(text), 0, 0, &spans, &f->err), ERR_LIMIT);
    assert_non_null(strstr(f->err.message, "the pattern /^(a+)+$/ takes too long on this text"));
    assert_in_range(f->stops, REGEX_STEPS_BASE / 1024 - 10, REGEX_STEPS_BASE / 1024 + 10);
    regex_free(regex);
}

/* What one item passes over at once counts as more than one step, also when nothing shows it: a back
 * reference that differs only in its last byte. */
static void test_steps_count_bytes(void **state)
{
    struct fixture *f = *state;
    enum { HALF = 1 << 19, LENGTH = 2 * HALF };
    char *text = malloc(LENGTH);
    memset(text, 'a', LENGTH);
    text[HALF] = 'b';
    const struct regex_span *spans;
    struct regex *regex = compile(f, "^(?:a*+c|a*+d|a*+e|a*+f)", "");
    assert_int_equal(regex_search(f->engine, regex, text, LENGTH, 0, 0, &spans, &f->err), ERR_NONE);
    assert_null(spans);
    assert_in_range(f->stops, 4, 20); /* about eight times 2^19 bytes, 64 bytes a step, 1024 steps a stop */
    regex_free(regex);
    f->stops = 0;
    regex = compile(f, "^(a++)b(?:\\1|\\1|\\1|\\1|\\1)", "");
    assert_int_equal(regex_search(f->engine, regex, text, LENGTH, 0, 0, &spans, &f->err), ERR_NONE);
    assert_null(spans);
    assert_in_range(f->stops, 6, 20); /* one for each callout that follows the group */
    regex_free(regex);
    free(text);
}

static void test_backtracking_memory(void **state)
{
    struct fixture *f = *state;
    enum { LENGTH = 2 << 20 };
    char *text = malloc(LENGTH);
    memset(text, 'a', LENGTH);
    struct regex *regex = compile(f, "(?:a|b)*$", "");
    const struct regex_span *spans;
    assert_int_equal(regex_search(f->engine, regex, text, LENGTH, 0, 0, &spans, &f->err), ERR_LIMIT);
    assert_non_null(strstr(f->err.message, "/(?:a|b)*$/ needs too much memory on this text"));
    assert_true(f->peak < 2 * REGEX_BACKTRACK_MAX);
    assert_true(f->used < (size_t)1 << 20);
    /* A match that took much leaves its spans, and not the memory. */
    assert_int_equal(regex_search(f->engine, regex, text, 100000, 0, 0, &spans, &f->err), ERR_NONE);
    assert_span(spans[0], 0, 100000);
    assert_true(f->used < (size_t)1 << 20);
    regex_free(regex);
    free(text);
}

/* Every allocation fails once, from the engine to the search; nothing is lost and nothing crashes. */
static void test_no_memory(void **state)
{
    (void)state;
    char text[4001];
    memset(text, 'a', 4000);
    text[4000] = '\0';
    unsigned failures = 0;
    for (unsigned nth = 1;; nth++) {
        struct fixture f = {.fail_at = nth};
        f.host = (struct regex_host){.ctx = &f, .resize = host_resize, .stop = host_stop};
        struct regex *regex = NULL;
        const struct regex_span *spans = NULL;
        enum err_code code = regex_engine_new(&f.host, &f.engine, &f.err);
        if (code == ERR_NONE)
            code = regex_compile(f.engine, "(?<n>(?:a|[äö])*)(?<m>b)?$", 27, 0, &regex, &f.err);
        if (code == ERR_NONE)
            code = regex_search(f.engine, regex, text, 4000, 0, 0, &spans, &f.err);
        if (code == ERR_NONE)
            assert_span(spans[1], 0, 4000);
        else
            assert_int_equal(code, ERR_NOMEM);
        regex_engine_free(f.engine);
        regex_free(regex); /* after its engine */
        assert_int_equal(f.used, 0);
        if (code == ERR_NONE)
            break;
        failures++;
    }
    assert_in_range(failures, 8, 200);
}

static void test_class_weight(void **state)
{
    struct fixture *f = *state;
    enum { LENGTH = 64 << 20 };
    char *text = malloc(LENGTH); /* never read where the answer is an error */
    memset(text, '-', LENGTH);
    const struct regex_span *spans;
    char pattern[2048] = "x?[", *end = pattern + 3;
    for (int i = 0; i < 300; i++, end += 3)
        memcpy(end, (char[]){(char)0xE4, (char)(0xB8 + i / 32 % 8), (char)(0x80 + i % 32 * 2)}, 3);
    memcpy(end, "]+", 3);
    struct regex *regex = compile(f, pattern, "");
    assert_int_equal(regex_search(f->engine, regex, text, LENGTH, 0, 0, &spans, &f->err), ERR_LIMIT);
    assert_non_null(strstr(f->err.message, "is too expensive for a text of this size"));
    assert_int_equal(regex_search(f->engine, regex, text, 1000, 0, 0, &spans, &f->err), ERR_NONE);
    regex_free(regex);
    /* A character outside ASCII may stand for many. */
    regex = compile(f, "x?[àáâãäåæçèéêëìíîïðñòó]+", "i");
    assert_int_equal(regex_search(f->engine, regex, text, LENGTH, 0, 0, &spans, &f->err), ERR_LIMIT);
    regex_free(regex);
    /* Everyday classes are no weight. */
    regex = compile(f, "^[\\w.+-]+@[\\w.-]+", "");
    assert_int_equal(regex_search(f->engine, regex, text, LENGTH, 0, 0, &spans, &f->err), ERR_NONE);
    regex_free(regex);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_spans, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fresh, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ascii_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flags, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_steps_count_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_backtracking_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_class_weight, set_up, tear_down),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
