/* Which words of a failure are kept. */
#include "base/failure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *name, const char *code, int status, const char *kept_name,
                   const char *kept_code, int kept_status)
{
    struct failure failure;
    failure_set(&failure, name, code, status);
    assert_string_equal(failure.name, kept_name);
    assert_string_equal(failure.code, kept_code);
    assert_int_equal(failure.status, kept_status);
}

static void test_words(void **state)
{
    (void)state;
    expect("HttpError", "http_status", 404, "HttpError", "http_status", 404);
    expect("RateLimitError", "429", 429, "RateLimitError", "429", 429);
    expect("Error", "LIMIT", 0, "Error", "LIMIT", 0);
    expect("Error", "", 0, "Error", "", 0);
    expect("", "", 0, "Error", "", 0);
}

/* A token has letters of both sizes and digits, or is no word at all. */
static void test_what_may_be_a_secret(void **state)
{
    (void)state;
    expect("xoxb-1234-Error", "s3cret", 0, "Error", "", 0);
    expect("Failure", "Secret", 0, "Error", "", 0);
    expect("MyError ", "1234", 0, "Error", "", 0);
    expect("MyError1", "12", 0, "Error", "", 0);
    expect("ErrorOfMine", "a b", 0, "Error", "", 0);
    expect("AnErrorNameThatIsLongerThanItCouldBeError", "a_code_that_is_longer_than_it_could_be", 0, "Error",
           "", 0);
    expect("Überfehler_Error", "ä", 0, "Error", "", 0);
}

static void test_statuses(void **state)
{
    (void)state;
    expect("HttpError", "", 99, "HttpError", "", 0);
    expect("HttpError", "", 100, "HttpError", "", 100);
    expect("HttpError", "", 999, "HttpError", "", 999);
    expect("HttpError", "", 1000, "HttpError", "", 0);
    expect("HttpError", "", -1, "HttpError", "", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_what_may_be_a_secret),
        cmocka_unit_test(test_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
