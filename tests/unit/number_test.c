/* Numbers as text: read exactly, written as the shortest text that reads back. JSON_TEST_SEED replays the
 * random ones. */
#include "base/number.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void assert_integer(const char *text, int64_t expected)
{
    struct number number;
    assert_int_equal(number_parse(text, strlen(text), &number), NUMBER_OK);
    assert_true(number.is_integer);
    assert_true(number.integer == expected);
}

static void assert_double(const char *text, double expected)
{
    struct number number;
    assert_int_equal(number_parse(text, strlen(text), &number), NUMBER_OK);
    assert_false(number.is_integer);
    if (memcmp(&number.real, &expected, sizeof expected) != 0)
        fail_msg("%s: got %a, expected %a", text, number.real, expected);
}

static void numbers_are_read_exactly(void **state)
{
    (void)state;
    assert_integer("0", 0);
    assert_integer("9223372036854775807", INT64_MAX);
    assert_integer("-9223372036854775808", INT64_MIN);
    assert_integer("9007199254740993", 9007199254740993);
    assert_double("9223372036854775808", 9223372036854775808.0);
    assert_double("-9223372036854775809", -9223372036854775808.0);
    assert_double("18446744073709551617", 18446744073709551616.0);
    assert_double("99999999999999999999", 1e20);
    assert_double("1.0", 1.0);
    assert_double("-0", -0.0);
    assert_double("-0.0", -0.0);
    assert_double("0e5", 0.0);
    assert_double("1E2", 100.0);
    assert_double("1e308", 1e308);
    assert_double("5e-324", 5e-324);
    assert_double("2e-324", 0.0);
    assert_double("1e-99999999999999999999", 0.0);
    assert_double("0.000000000000000000000000000000000000001e39", 1.0);
    assert_double("1.7976931348623157e308", 1.7976931348623157e308);
    assert_double("2.2250738585072011e-308", 2.2250738585072011e-308);
    assert_double("9007199254740993.0", 9007199254740992.0);
    assert_double("9007199254740993.00000000000000000000000001", 9007199254740994.0);
}

static void long_numbers_are_rounded_by_their_last_digit(void **state)
{
    (void)state;
    /* 1 + 2^-53 lies halfway between two doubles; what follows a thousand digits later decides. */
    static const char half[] = "1.00000000000000011102230246251565404236316680908203125";
    char text[1400];
    memset(text, '0', sizeof text);
    memcpy(text, half, sizeof half - 1);
    struct number number;
    assert_int_equal(number_parse(text, 1200, &number), NUMBER_OK);
    assert_true(number.real == 1.0);
    text[1199] = '1';
    assert_int_equal(number_parse(text, 1200, &number), NUMBER_OK);
    assert_true(number.real == 1.0000000000000002);
    memset(text, '9', sizeof text);
    assert_int_equal(number_parse(text, 308, &number), NUMBER_OK);
    assert_true(number.real == 1e308);
    assert_int_equal(number_parse(text, 1400, &number), NUMBER_OUT_OF_RANGE);
}

static void what_is_no_number_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",    "-",   "+1",    "01",   "-01", "00",  "1.",  ".5",      "1.e1",
                                        "1e",  "1e+", "1e-",   "0x1",  "1 ",  " 1",  "1a",  "nan",     "inf",
                                        "--1", "1-",  "1.2.3", "1e5.", "1_0", "1,0", "-e1", "Infinity"};
    struct number number;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (number_parse(wrong[i], strlen(wrong[i]), &number) != NUMBER_MALFORMED)
            fail_msg("taken for a number: '%s'", wrong[i]);
    }
    static const char *const huge[] = {"1e309", "-1e309", "1.8e308", "1e999999999999999999", "-1e+9999"};
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++)
        assert_int_equal(number_parse(huge[i], strlen(huge[i]), &number), NUMBER_OUT_OF_RANGE);
}

static void numbers_are_written_as_in_javascript(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *javascript;
        const char *lossless;
    } cases[] = {
        {0.0, "0", "0.0"},
        {-0.0, "0", "-0.0"},
        {1.0, "1", "1.0"},
        {-1.5, "-1.5", "-1.5"},
        {0.1, "0.1", "0.1"},
        {0.1 + 0.2, "0.30000000000000004", "0.30000000000000004"},
        {100.0, "100", "100.0"},
        {123456789012345680000.0, "123456789012345680000", "123456789012345680000.0"},
        {1e20, "100000000000000000000", "100000000000000000000.0"},
        {1e21, "1e+21", "1e+21"},
        {-1.5e300, "-1.5e+300", "-1.5e+300"},
        {0.000001, "0.000001", "0.000001"},
        {1e-7, "1e-7", "1e-7"},
        {1.5e-7, "1.5e-7", "1.5e-7"},
        {1e-10, "1e-10", "1e-10"},
        {5e-324, "5e-324", "5e-324"},
        {1.5e-323, "1.5e-323", "1.5e-323"},
        {2.2250738585072014e-308, "2.2250738585072014e-308", "2.2250738585072014e-308"},
        {1.7976931348623157e308, "1.7976931348623157e+308", "1.7976931348623157e+308"},
        {9007199254740992.0, "9007199254740992", "9007199254740992.0"},
        {9007199254740993.0, "9007199254740992", "9007199254740992.0"},
        {4.35, "4.35", "4.35"},
        {0.5, "0.5", "0.5"},
        {1e15, "1000000000000000", "1000000000000000.0"},
        {999999999999999.9, "999999999999999.9", "999999999999999.9"},
        {4294967296.5, "4294967296.5", "4294967296.5"},
        {1e23, "1e+23", "1e+23"},
        {9.5367431640625e-7, "9.5367431640625e-7", "9.5367431640625e-7"},
        {0x1p-44, "5.684341886080802e-14", "5.684341886080802e-14"},
        {0x1p-1074 * 3, "1.5e-323", "1.5e-323"},
        {0x1p122, "5.316911983139664e+36", "5.316911983139664e+36"},
    };
    char text[NUMBER_TEXT_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len = number_format_js(cases[i].value, text);
        assert_int_equal(len, strlen(text));
        assert_string_equal(text, cases[i].javascript);
        len = number_format_double(cases[i].value, text);
        assert_int_equal(len, strlen(text));
        assert_string_equal(text, cases[i].lossless);
    }
    number_format_js((double)NAN, text);
    assert_string_equal(text, "NaN");
    number_format_js(-(double)INFINITY, text);
    assert_string_equal(text, "-Infinity");
    number_format_integer(INT64_MIN, text);
    assert_string_equal(text, "-9223372036854775808");
    number_format_integer(0, text);
    assert_string_equal(text, "0");
}

static uint64_t random_state;

static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void assert_survives(double value)
{
    char text[NUMBER_TEXT_MAX];
    struct number number = {.is_integer = true};
    size_t len = number_format_double(value, text);
    assert_true(len < NUMBER_TEXT_MAX);
    enum number_status status = number_parse(text, len, &number);
    if (status != NUMBER_OK || number.is_integer || memcmp(&number.real, &value, sizeof value) != 0)
        fail_msg("%a was written as %s and read as %a", value, text, number.real);
    /* Shortest: no decimal with one digit less reads back. */
    int digits = 0;
    bool leading = true;
    int trailing = 0;
    for (const char *p = text; *p != '\0' && *p != 'e'; p++) {
        if (*p < '0' || *p > '9' || (leading && *p == '0'))
            continue;
        leading = false;
        digits++;
        trailing = *p == '0' ? trailing + 1 : 0;
    }
    digits -= trailing;
    if (digits > 1) {
        char shorter[64];
        snprintf(shorter, sizeof shorter, "%.*e", digits - 2, value);
        if (strtod(shorter, NULL) == value)
            fail_msg("%a was written as %s, though %s is shorter", value, text, shorter);
    }
}

static void random_doubles_survive_bit_for_bit(void **state)
{
    (void)state;
    const char *chosen = getenv("JSON_TEST_SEED");
    uint64_t seed = chosen != NULL ? strtoull(chosen, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + 1;
    print_message("JSON_TEST_SEED=%llu\n", (unsigned long long)seed);
    random_state = seed != 0 ? seed : 1;
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = random_bits();
        double value;
        memcpy(&value, &bits, sizeof value);
        if (isfinite(value))
            assert_survives(value);
        /* Prices, coordinates, epoch seconds: what people store. */
        assert_survives((double)(int64_t)(bits % 2000000000000) / 1e6 - 1e6 / 3.0 * (double)(i % 2));
        assert_survives((double)(bits >> 40) / 100);
    }
    for (int exponent = -1074; exponent < 1024; exponent++) {
        assert_survives(ldexp(1.0, exponent));
        assert_survives(nextafter(ldexp(1.0, exponent), 0));
        assert_survives(nextafter(ldexp(1.0, exponent), HUGE_VAL));
    }
}

static void the_locale_does_not_matter(void **state)
{
    (void)state;
    static const char *const commas[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR.utf8"};
    bool found = false;
    for (size_t i = 0; i < sizeof commas / sizeof *commas && !found; i++)
        found = setlocale(LC_NUMERIC, commas[i]) != NULL;
    if (!found)
        skip();
    char text[NUMBER_TEXT_MAX];
    number_format_double(1.0 / 3, text);
    struct number number;
    enum number_status status = number_parse("0.1234567890123456789012345", 27, &number);
    setlocale(LC_NUMERIC, "C");
    assert_string_equal(text, "0.3333333333333333");
    assert_int_equal(status, NUMBER_OK);
    assert_true(number.real == 0.1234567890123456789012345);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_read_exactly),
        cmocka_unit_test(long_numbers_are_rounded_by_their_last_digit),
        cmocka_unit_test(what_is_no_number_is_refused),
        cmocka_unit_test(numbers_are_written_as_in_javascript),
        cmocka_unit_test(random_doubles_survive_bit_for_bit),
        cmocka_unit_test(the_locale_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
