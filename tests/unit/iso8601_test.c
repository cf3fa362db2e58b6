/* ISO 8601 text, JavaScript's dates (with node as the peer), and clocks. */
#include "base/clock.h"
#include "base/iso8601.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int64_t ms_of(const char *text)
{
    struct iso_time t;
    struct err err;
    if (iso_parse(text, strlen(text), &t, &err) != ERR_NONE)
        fail_msg("%s", err.message);
    return iso_unix_ms(&t);
}

static void refused(const char *text, const char *why)
{
    struct iso_time t = {.year = -1};
    struct err err;
    if (iso_parse(text, strlen(text), &t, &err) != ERR_INVALID)
        fail_msg("%s was accepted", text);
    if (strstr(err.message, why) == NULL)
        fail_msg("%s: \"%s\" is not in: %s", text, why, err.message);
    assert_non_null(strstr(err.message, "YYYY-MM-DDTHH:MM"));
    assert_int_equal(t.year, -1);
}

static void parse_fields(void **state)
{
    (void)state;
    struct iso_time t;
    struct err err;
    const char *text = "2024-02-29T23:59:58.123456789-09:30";
    assert_int_equal(iso_parse(text, strlen(text), &t, &err), ERR_NONE);
    assert_int_equal(t.year, 2024);
    assert_int_equal(t.month, 2);
    assert_int_equal(t.day, 29);
    assert_int_equal(t.hour, 23);
    assert_int_equal(t.minute, 59);
    assert_int_equal(t.second, 58);
    assert_int_equal(t.nanosecond, 123456789);
    assert_true(t.has_time);
    assert_true(t.has_offset);
    assert_int_equal(t.offset_minutes, -570);
    assert_int_equal(iso_unix_ms(&t), INT64_C(1709285398123));

    assert_int_equal(iso_parse("2024-01-15", 10, &t, &err), ERR_NONE);
    assert_false(t.has_time);
    assert_false(t.has_offset);
    assert_int_equal(iso_parse("2024-01-15T10:30", 16, &t, &err), ERR_NONE);
    assert_true(t.has_time);
    assert_false(t.has_offset);
    assert_int_equal(iso_parse("2024-01-15T10:30-00:00", 22, &t, &err), ERR_NONE);
    assert_true(t.has_offset);
    assert_int_equal(t.offset_minutes, 0);
}

static void parse_forms(void **state)
{
    (void)state;
    const int64_t base = INT64_C(1705314600000); /* 2024-01-15T10:30:00Z */
    assert_int_equal(ms_of("2024-01-15T10:30"), base);
    assert_int_equal(ms_of("2024-01-15t10:30:00z"), base);
    assert_int_equal(ms_of("2024-01-15 10:30:00Z"), base);
    assert_int_equal(ms_of("2024-01-15T10:30:00.1Z"), base + 100);
    assert_int_equal(ms_of("2024-01-15T10:30:00.0019Z"), base + 1);
    assert_int_equal(ms_of("2024-01-15T12:30+0200"), base);
    assert_int_equal(ms_of("2024-01-15T12:30+02:00"), base);
    assert_int_equal(ms_of("2024-01-14T10:31-23:59"), base);
    assert_int_equal(ms_of("2024-01-15"), base - 37800000);
    assert_int_equal(ms_of("1970-01-01T00:00:00Z"), 0);
    assert_int_equal(ms_of("1969-12-31T23:59:59.999Z"), -1);
    assert_int_equal(ms_of("0000-01-01"), ISO_MIN_MS);
    assert_int_equal(ms_of("9999-12-31T23:59:59.999Z"), ISO_MAX_MS);
    /* A leap second stays within its minute. */
    assert_int_equal(ms_of("2016-12-31T23:59:60Z"), INT64_C(1483228799999));
    assert_int_equal(ms_of("2016-12-31T23:59:60.5Z"), INT64_C(1483228799999));
}

static void parse_refusals(void **state)
{
    (void)state;
    refused("", "four digits of the year expected at character 1");
    refused("24-01-15", "four digits of the year");
    refused("2024/01/15", "'-' expected at character 5");
    refused("2024-1-15", "two digits of the month expected at character 6");
    refused("2024-00-15", "month 01 to 12 expected at character 6");
    refused("2024-13-15", "month 01 to 12");
    refused("2024-01-00", "a day of that month expected at character 9");
    refused("2024-04-31", "a day of that month");
    refused("2023-02-29", "a day of that month");
    refused("1900-02-29", "a day of that month");
    refused("2024-02-30", "a day of that month");
    refused("2024-01-15T", "hour 00 to 23 expected at character 12");
    refused("2024-01-15T24:00", "hour 00 to 23");
    refused("2024-01-15T10", "':' expected at character 14");
    refused("2024-01-15T10:60", "minute 00 to 59");
    refused("2024-01-15T10:30:61", "second 00 to 60");
    refused("2024-01-15T10:30:00.", "digits of a fraction expected at character 21");
    refused("2024-01-15T10:30:00.1234567890Z", "at most 9 digits");
    refused("2024-01-15T10:30:00,5Z", "nothing more expected at character 20");
    refused("2024-01-15T10:30+5", "two digits of the offset's hours");
    refused("2024-01-15T10:30+05", "two digits of the offset's minutes");
    refused("2024-01-15T10:30+24:00", "at most 23:59");
    refused("2024-01-15T10:30+05:60", "at most 23:59");
    refused("2024-01-15T10:30Z ", "nothing more expected at character 18");
    refused("2024-01-15Z", "nothing more expected at character 11");
    refused(" 2024-01-15", "four digits of the year");
    refused("+2024-01-15", "four digits of the year");
    refused("aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgg\xe2\x82\xacx",
            "fgg…\" is not a date");
    struct iso_time t;
    struct err err;
    assert_int_equal(iso_parse("2024-01-15\0", 11, &t, &err), ERR_INVALID);
    assert_int_equal(iso_parse("2000-02-29", 10, &t, &err), ERR_NONE);
    /* It reads no further than the length. */
    assert_int_equal(iso_parse("2024-01-15", 9, &t, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "two digits of the day expected at character 9"));
    assert_int_equal(iso_parse("2000-02-29T10:30", 12, &t, &err), ERR_INVALID);
}

static void format_forms(void **state)
{
    (void)state;
    char buf[ISO_FORMAT_SIZE];
    const int64_t base = INT64_C(1705314600789);
    assert_string_equal(iso_format_utc(base, buf), "2024-01-15T10:30:00.789Z");
    assert_string_equal(iso_format_utc(0, buf), "1970-01-01T00:00:00.000Z");
    assert_string_equal(iso_format_utc(-1, buf), "1969-12-31T23:59:59.999Z");
    assert_string_equal(iso_format_utc(ISO_MIN_MS, buf), "0000-01-01T00:00:00.000Z");
    assert_string_equal(iso_format_utc(ISO_MAX_MS, buf), "9999-12-31T23:59:59.999Z");
    assert_string_equal(iso_format_utc(INT64_MAX, buf), "9999-12-31T23:59:59.999Z");
    assert_string_equal(iso_format_utc(INT64_MIN, buf), "0000-01-01T00:00:00.000Z");
    assert_string_equal(iso_format(base, 0, ISO_SECONDS, buf), "2024-01-15T10:30:00Z");
    assert_string_equal(iso_format(base, 330, ISO_SECONDS, buf), "2024-01-15T16:00:00+05:30");
    assert_string_equal(iso_format(base, -720, ISO_MINUTES, buf), "2024-01-14T22:30-12:00");
    assert_string_equal(iso_format(base, -1439, ISO_MILLISECONDS, buf), "2024-01-14T10:31:00.789-23:59");
    assert_string_equal(iso_format(ISO_MAX_MS, 60, ISO_SECONDS, buf), "9999-12-31T23:59:59Z");
    assert_string_equal(iso_format_date(base, buf), "2024-01-15");
    assert_string_equal(iso_format_date(-1, buf), "1969-12-31");
}

/* Every day of the range, there and back, against a calendar that counts one by one. */
static void every_day(void **state)
{
    (void)state;
    int year = 0, month = 1, day = 1;
    for (int64_t ms = ISO_MIN_MS; ms < ISO_MAX_MS; ms += 86400000) {
        struct iso_time t;
        iso_from_unix_ms(ms + 43200000, 0, &t);
        if (t.year != year || t.month != month || t.day != day || t.hour != 12)
            fail_msg("%04d-%02d-%02d came out as %04d-%02d-%02d", year, month, day, t.year, t.month, t.day);
        assert_int_equal(iso_unix_ms(&t), ms + 43200000);
        if (++day > iso_days_in_month(year, month)) {
            day = 1;
            if (++month > 12) {
                month = 1;
                year++;
            }
        }
    }
    assert_int_equal(year, 10000);
    assert_int_equal(iso_days_in_month(2023, 2), 28);
    assert_int_equal(iso_days_in_month(2024, 2), 29);
    assert_int_equal(iso_days_in_month(1900, 2), 28);
    assert_int_equal(iso_days_in_month(2000, 2), 29);
    assert_int_equal(iso_days_in_month(2000, 13), 0);
    assert_int_equal(iso_days(1970, 1, 1), 0);
    assert_int_equal(iso_days(-1, 3, 1) - iso_days(-1, 2, 28), 1);
    assert_int_equal(iso_days(-4, 3, 1) - iso_days(-4, 2, 28), 2);
    assert_int_equal(iso_days(0, 1, 1) - iso_days(-1, 1, 1), 365);
    assert_int_equal(iso_days(-399, 1, 1), -719162 - 146097); /* a cycle of 400 years before 0001-01-01 */
}

/* ---- JavaScript ---- */

static bool js(const char *text)
{
    return iso_is_js_date(text, strlen(text));
}

static void js_known(void **state)
{
    (void)state;
    assert_true(js("2024-01-15"));
    assert_true(js("2024-02-30"));
    assert_true(js("2023-04-31"));
    assert_false(js("2024-01-32"));
    assert_false(js("2024-13-01"));
    assert_true(js("0012-31-99"));
    assert_true(js("0001-31-00"));
    assert_false(js("0013-31-01"));
    assert_false(js("0012-32-01"));
    assert_false(js("0000-13-01"));
    assert_true(js("2024-01-15T24:00:00.000Z"));
    assert_false(js("2024-01-15T24:00:00.0001Z"));
    assert_false(js("2024-01-15T24:01"));
    assert_false(js("2024-01-15T10:59:60"));
    assert_true(js("2024-01-15T10:30+0530"));
    assert_false(js("2024-01-15T10:30+05"));
    assert_false(js("2024-01-15T10:30+24:00"));
    assert_false(js("2024-01-15T10:30 garbage"));
    assert_false(js("2024-01-15T10:30:00 PM"));
    assert_false(js("2024-01-15T10:30:00GMT"));
    assert_false(js("2024-01-15T10:30:"));
    assert_false(js("2024-01-15t10:30")); /* V8 takes it, but the shape is another */
    assert_true(iso_is_js_date("2024-01-15T10:30\0junk", 21));
    assert_false(iso_is_js_date("2024-01-15T10:30:00.\0", 21));
    assert_false(js(""));
}

static uint64_t seed = 20240115;

static unsigned below(unsigned limit)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % limit;
}

#define GENERATED 20000
#define TEXT_MAX 48

/* A date or a time, near enough to the border between good and bad. */
static size_t generate(char out[TEXT_MAX])
{
    static const char *const tails[] = {
        "",      ":00",    ":59",    ":60",    ":5",     ":000",  ":00.",   ":00.0",
        ".5",    "Z",      "z",      "+05:30", "-0000",  "+2359", "+24:00", "+05",
        "+5:3",  " PM",    "GMT",    " (x)",   " +0100", "ZZ",    " ",      ":00.123456",
        "+05:3", "-00:60", "+00000", "00",     ",5",     "/",     "T",      ":00.000000000000"};
    static const char letters[] = "0123456789:.+-ZzT ,()GMPu/";
    static const int years[] = {0, 1, 5, 12, 13, 31, 32, 49, 50, 99, 100, 1969, 1970, 2023, 2024, 9999};
    int len = snprintf(out, TEXT_MAX, "%04d-%02u-%02u", below(4) ? years[below(16)] : (int)below(10000),
                       below(8) ? below(14) : below(100), below(8) ? below(33) : below(100));
    if (below(3) == 0)
        return (size_t)len;
    len += snprintf(out + len, TEXT_MAX - (size_t)len, "T%02u:%02u", below(8) ? below(26) : below(100),
                    below(8) ? (below(2) ? 0 : below(61)) : below(100));
    for (unsigned parts = below(4); parts > 0; parts--)
        len += snprintf(out + len, TEXT_MAX - (size_t)len, "%.*s", TEXT_MAX - 1 - len, tails[below(32)]);
    if (below(4) == 0 && len < TEXT_MAX - 2)
        out[len++] = letters[below(sizeof letters - 1)];
    if (below(16) == 0 && len < TEXT_MAX - 2)
        out[len++] = '\0';
    if (below(8) == 0 && len > 16)
        out[16 + below((unsigned)len - 16)] = letters[below(sizeof letters - 1)];
    return (size_t)len < TEXT_MAX ? (size_t)len : TEXT_MAX - 1;
}

/* One text a line in hex out, one digit a line in. */
static void js_as_node_says(void **state)
{
    (void)state;
    if (system("node --version >/dev/null 2>&1") != 0) {
        print_message("no node here: nothing to compare with\n");
        skip();
    }
    static char texts[GENERATED][TEXT_MAX];
    static size_t lens[GENERATED];
    FILE *out = tmpfile();
    assert_non_null(out);
    for (int i = 0; i < GENERATED; i++) {
        lens[i] = generate(texts[i]);
        for (size_t j = 0; j < lens[i]; j++)
            fprintf(out, "%02x", (unsigned char)texts[i][j]);
        fputc('\n', out);
    }
    assert_int_equal(fflush(out), 0);
    char command[512];
    snprintf(command, sizeof command,
             "node -e \"for (const line of require('fs').readFileSync('/dev/fd/%d', "
             "'utf8').trimEnd().split('\\n'))"
             " console.log(Number.isNaN(new Date(Buffer.from(line, 'hex').toString('latin1')).getTime()) ? 0 "
             ": 1)\"",
             fileno(out));
    FILE *in = popen(command, "r");
    assert_non_null(in);
    int good = 0;
    char line[8];
    for (int i = 0; i < GENERATED; i++) {
        assert_non_null(fgets(line, sizeof line, in));
        bool expected = line[0] == '1';
        good += expected;
        if (iso_is_js_date(texts[i], lens[i]) != expected)
            fail_msg("node says %d of \"%.*s\" (%zu bytes)", expected, (int)lens[i], texts[i], lens[i]);
    }
    assert_int_equal(pclose(in), 0);
    fclose(out);
    print_message("%d texts, %d of them dates to node\n", GENERATED, good);
    assert_in_range(good, GENERATED / 10, GENERATED * 9 / 10);
}

/* ---- the clocks ---- */

static void *read_cpu(void *out)
{
    *(uint64_t *)out = clock_thread_cpu_ns();
    return NULL;
}

static void clocks(void **state)
{
    (void)state;
    assert_true(clock_now_ms() > ms_of("2024-01-01"));
    uint64_t mono = clock_mono_ns(), cpu = clock_thread_cpu_ns();
    volatile unsigned work = 0;
    while (clock_thread_cpu_ns() - cpu < 2000000)
        work++;
    assert_true(clock_mono_ns() - mono >= 2000000);
    int64_t ms = clock_mono_ms();
    assert_true(ms >= (int64_t)(mono / 1000000) + 2);
    pthread_t thread;
    uint64_t other = UINT64_MAX;
    assert_int_equal(pthread_create(&thread, NULL, read_cpu, &other), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(other < 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_fields),    cmocka_unit_test(parse_forms), cmocka_unit_test(parse_refusals),
        cmocka_unit_test(format_forms),    cmocka_unit_test(every_day),   cmocka_unit_test(js_known),
        cmocka_unit_test(js_as_node_says), cmocka_unit_test(clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
