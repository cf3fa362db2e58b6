/* Time zones: the system's database against zdump of the C library, TZ strings, hostile files, names. */
#include "base/iso8601.h"
#include "base/mem.h"
#include "base/zone_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const struct zone *find(const char *name)
{
    const struct zone *zone = NULL;
    struct err err;
    if (zone_find(name, strlen(name), &zone, &err) != ERR_NONE)
        fail_msg("%s: %s", name, err.message);
    return zone;
}

static int64_t ms_of(const char *text)
{
    struct iso_time t;
    struct err err;
    if (iso_parse(text, strlen(text), &t, &err) != ERR_NONE)
        fail_msg("%s", err.message);
    return iso_unix_ms(&t);
}

/* ---- zdump ---- */

/* One line of zdump -v: what local clocks show at a moment, in seconds. */
struct dumped {
    int64_t at;
    int64_t local;
    char abbreviation[32];
    int is_dst;
    int offset;
};

static int64_t seconds_of(const char *month, int day, int hour, int minute, int second, int year)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const char *at = strstr(months, month);
    assert_non_null(at);
    return iso_days(year, (int)(at - months) / 3 + 1, day) * 86400 + hour * 3600 + minute * 60 + second;
}

static bool read_line(const char *line, struct dumped *out)
{
    char months[2][4];
    int n[2][5];
    if (sscanf(line, "%*s %*s %3s %d %d:%d:%d %d UT = %*s %3s %d %d:%d:%d %d %31s isdst=%d gmtoff=%d",
               months[0], &n[0][0], &n[0][1], &n[0][2], &n[0][3], &n[0][4], months[1], &n[1][0], &n[1][1],
               &n[1][2], &n[1][3], &n[1][4], out->abbreviation, &out->is_dst, &out->offset) != 15)
        return false; /* "NULL": outside the C library's years */
    out->at = seconds_of(months[0], n[0][0], n[0][1], n[0][2], n[0][3], n[0][4]);
    out->local = seconds_of(months[1], n[1][0], n[1][1], n[1][2], n[1][3], n[1][4]);
    return true;
}

static void check_dumped(const char *name, const struct zone *zone, const struct dumped *d)
{
    struct zone_offset offset = zone_offset_at(zone, d->at * 1000 + 999);
    if (offset.seconds != d->offset || offset.is_dst != (d->is_dst != 0) ||
        strcmp(offset.abbreviation, d->abbreviation) != 0 || d->local - d->at != d->offset)
        fail_msg("%s at %lld: %d %s %d, zdump says %d %s %d", name, (long long)d->at, offset.seconds,
                 offset.abbreviation, offset.is_dst, d->offset, d->abbreviation, d->is_dst);
    int64_t earlier, later;
    enum zone_local kind = zone_from_local(zone, d->local * 1000 + 999, &earlier, &later);
    if (kind == ZONE_SKIPPED || (earlier != d->at * 1000 + 999 && later != d->at * 1000 + 999))
        fail_msg("%s: local %lld is not at %lld", name, (long long)d->local, (long long)d->at);
    if (earlier > later || (kind == ZONE_ONCE) != (earlier == later))
        fail_msg("%s: local %lld is at %lld and %lld", name, (long long)d->local, (long long)earlier,
                 (long long)later);
}

/* What local times around a transition, from offset before to offset after, are. */
static void check_local(const char *name, const struct zone *zone, int64_t at, int before, int after)
{
    int64_t earlier, later, again;
    if (after > before) {
        int64_t middle = (at + before) * 1000 + (int64_t)(after - before) * 500;
        if (zone_from_local(zone, middle, &earlier, &later) != ZONE_SKIPPED ||
            later != middle - (int64_t)before * 1000 || earlier != middle - (int64_t)after * 1000 ||
            !zone_next_transition(zone, earlier, &again) || again != at * 1000)
            fail_msg("%s: the gap at %lld", name, (long long)at);
    } else if (after < before) {
        int64_t middle = (at + after) * 1000 + (int64_t)(before - after) * 500;
        if (zone_from_local(zone, middle, &earlier, &later) != ZONE_REPEATED ||
            earlier != middle - (int64_t)before * 1000 || later != middle - (int64_t)after * 1000)
            fail_msg("%s: the repeated time at %lld", name, (long long)at);
    }
}

/* Every line that zdump has for the years, and that we go from transition to transition as it does. */
static size_t compare_with_zdump(const char *name, const char *years)
{
    char command[512], line[512];
    snprintf(command, sizeof command, "zdump -v -c %s %s 2>/dev/null", years, name);
    FILE *dump = popen(command, "r");
    assert_non_null(dump);
    const struct zone *zone = find(name);
    struct dumped last = {0}, now;
    bool has_last = false;
    size_t count = 0;
    while (fgets(line, sizeof line, dump) != NULL) {
        if (!read_line(line, &now))
            continue;
        check_dumped(name, zone, &now);
        if (has_last) {
            int64_t next;
            /* Lines come in pairs: the second before a transition, and the transition. */
            bool found = zone_next_transition(zone, last.at * 1000, &next);
            bool pair = now.at == last.at + 1;
            if (pair ? !found || next != now.at * 1000 : found && next <= now.at * 1000)
                fail_msg("%s: after %lld comes %lld, not %lld", name, (long long)last.at,
                         (long long)next / 1000, (long long)now.at);
            if (pair) {
                check_local(name, zone, now.at, last.offset, now.offset);
                count++;
            }
        }
        last = now;
        has_last = true;
    }
    assert_int_equal(pclose(dump), 0);
    return count;
}

static void twelve_zones(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t known; /* transitions from 2020 to 2024, which no later database changes */
    } zones[] = {
        {"Europe/Berlin", 10},       {"America/New_York", 10}, {"America/Sao_Paulo", 0},
        {"Asia/Kolkata", 0},         {"Asia/Tehran", 6},       {"Pacific/Apia", 3},
        {"America/St_Johns", 10},    {"Antarctica/Troll", 10}, {"Pacific/Chatham", 10},
        {"Australia/Lord_Howe", 10}, /* half an hour */
        {"Africa/Casablanca", 10},   /* less in Ramadan */
        {"Europe/Dublin", 10},       /* less in winter */
    };
    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++) {
        size_t transitions = compare_with_zdump(zones[i].name, "2020,2031");
        if (transitions < zones[i].known)
            fail_msg("%s has %zu transitions", zones[i].name, transitions);
    }
}

/* All but other names of the same. */
static size_t compare_folder(const char *prefix)
{
    char path[512];
    size_t count = 0;
    snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", prefix);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        struct stat status;
        char name[512];
        if (entry->d_name[0] < 'A' || entry->d_name[0] > 'Z' ||
            fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
            S_ISLNK(status.st_mode))
            continue;
        snprintf(name, sizeof name, "%s%s%s", prefix, entry->d_name, S_ISDIR(status.st_mode) ? "/" : "");
        if (S_ISDIR(status.st_mode)) {
            count += compare_folder(name);
        } else {
            compare_with_zdump(name, "1850,2050");
            count++;
        }
    }
    closedir(folder);
    return count;
}

static void all_zones(void **state)
{
    (void)state;
    assert_in_range(compare_folder(""), 300, ZONE_COUNT_MAX);
}

/* ---- rules ---- */

/* The rule of a TZ string alone. */
static struct zone rule_zone(const char *text)
{
    static const struct zone_type unused = {.abbreviation = "-00"};
    struct zone zone = {.name = "Test", .has_rule = true, .type_count = 1, .types = &unused};
    struct err err;
    if (zone_rule_read(text, strlen(text), &zone.rule, &err) != ERR_NONE)
        fail_msg("%s: %s", text, err.message);
    return zone;
}

static void rule_changes(const char *text, const char *after, const char *const expected[], size_t count)
{
    struct zone zone = rule_zone(text);
    int64_t at = ms_of(after);
    for (size_t i = 0; i < count; i++) {
        char shown[ISO_UTC_SIZE];
        if (!zone_next_transition(&zone, at, &at))
            fail_msg("%s: no transition %zu", text, i);
        assert_string_equal(iso_format_utc(at, shown), expected[i]);
    }
}

static void rules(void **state)
{
    (void)state;
    /* The examples of RFC 9636 section 3.3.1, and the forms of a day. */
    rule_changes(
        "EST5EDT,M3.2.0,M11.1.0", "2024-01-01",
        (const char *[]){"2024-03-10T07:00:00.000Z", "2024-11-03T06:00:00.000Z", "2025-03-09T07:00:00.000Z"},
        3);
    rule_changes("<-03>3<-02>,M3.5.0/-2,M10.5.0/-1", "2024-01-01", /* America/Nuuk */
                 (const char *[]){"2024-03-31T01:00:00.000Z", "2024-10-27T01:00:00.000Z"}, 2);
    rule_changes("NZST-12NZDT,M9.5.0,M4.1.0/3", "2024-01-01", /* southern */
                 (const char *[]){"2024-04-06T14:00:00.000Z", "2024-09-28T14:00:00.000Z"}, 2);
    rule_changes("EET-2EEST,M3.4.4/50,M10.4.4/50", "2024-01-01", /* Asia/Gaza: two days and two hours later */
                 (const char *[]){"2024-03-30T00:00:00.000Z", "2024-10-25T23:00:00.000Z"}, 2);
    rule_changes("AAA0BBB,J59,J60", "2023-01-01", /* J60 is March 1st in every year */
                 (const char *[]){"2023-02-28T02:00:00.000Z", "2023-03-01T01:00:00.000Z",
                                  "2024-02-28T02:00:00.000Z", "2024-03-01T01:00:00.000Z"},
                 4);
    rule_changes("AAA0BBB-1:30:15,58,59/0:0:1", "2023-01-01", /* 59 is February 29th in leap years */
                 (const char *[]){"2023-02-28T02:00:00.000Z", "2023-02-28T22:29:46.000Z",
                                  "2024-02-28T02:00:00.000Z", "2024-02-28T22:29:46.000Z"},
                 4);
    rule_changes("AAA0BBB,M12.5.0/167,M6.1.0/-167", "2023-09-01", /* a week before and after */
                 (const char *[]){"2024-01-06T23:00:00.000Z", "2024-05-26T00:00:00.000Z"}, 2);
    int64_t at;
    /* Daylight saving time all year. */
    struct zone zone = rule_zone("EST5EDT,0/0,J365/25");
    for (int64_t ms = ms_of("2023-01-01"); ms < ms_of("2025-01-02"); ms += 3600000) {
        struct zone_offset offset = zone_offset_at(&zone, ms);
        assert_int_equal(offset.seconds, -4 * 3600);
        assert_true(offset.is_dst);
    }
    assert_false(zone_next_transition(&zone, 0, &at));
    zone = rule_zone("<+0330>-3:30");
    assert_int_equal(zone_offset_at(&zone, 0).seconds, 12600);
    assert_false(zone_next_transition(&zone, 0, &at));
    /* The ends of the calendar. */
    zone = rule_zone("CET-1CEST,M3.5.0,M10.5.0/3");
    assert_false(zone_next_transition(&zone, ms_of("9999-12-01"), &at));
    assert_true(zone_next_transition(&zone, ISO_MIN_MS, &at));
    assert_int_equal(at, ms_of("0000-03-26T01:00:00Z"));
    assert_int_equal(zone_offset_at(&zone, ISO_MIN_MS).seconds, 3600);
    assert_int_equal(zone_offset_at(&zone, ISO_MAX_MS).seconds, 3600);
}

static void bad_rules(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "E",
        "ES5",
        "EST",
        "EST25",
        "EST5:60",
        "EST5:00:60",
        "EST5E",
        "EST5EDT",
        "EST5EDT,M3.2.0",
        "EST5EDT,M13.2.0,M11.1.0",
        "EST5EDT,M0.2.0,M11.1.0",
        "EST5EDT,M3.0.0,M11.1.0",
        "EST5EDT,M3.6.0,M11.1.0",
        "EST5EDT,M3.2.7,M11.1.0",
        "EST5EDT,M3.2,M11.1.0",
        "EST5EDT,J0,J1",
        "EST5EDT,J366,J1",
        "EST5EDT,366,1",
        "EST5EDT,1/168,2",
        "EST5EDT,1/-168,2",
        "EST5EDT,M3.2.0,M11.1.0,",
        "EST5EDT,M3.2.0,M11.1.0x",
        "<EST5",
        "<ES>5",
        "<E_T>5",
        "ABCDEFGHIJKLMNOP5",
        "EST5 ",
        "EST5EDT25,1,2",
        "EST9999999999999999999",
        "EST5EDT,M3.2.0/,M11.1.0",
        "EST--5",
        "E\xc3\xa9T5",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct zone_rule rule;
        struct err err;
        if (zone_rule_read(texts[i], strlen(texts[i]), &rule, &err) != ERR_CORRUPT)
            fail_msg("%s was accepted", texts[i]);
        assert_non_null(strstr(err.message, "TZ string is not valid"));
    }
    struct zone_rule rule;
    struct err err;
    /* It reads no further than the length. */
    assert_int_equal(zone_rule_read("EST5EDT,M3.2.0,M11.1.0", 21, &rule, &err), ERR_CORRUPT);
    assert_int_equal(zone_rule_read("EST5EDT", 4, &rule, &err), ERR_NONE);
    assert_false(rule.has_dst);
}

/* ---- files ---- */

#define FILE_MAX 8192

struct file {
    unsigned char bytes[FILE_MAX];
    size_t len;
};

static void add(struct file *file, const void *bytes, size_t len)
{
    assert_true(file->len + len <= FILE_MAX);
    memcpy(file->bytes + file->len, bytes, len);
    file->len += len;
}

static void add_number(struct file *file, uint64_t number, int size)
{
    for (int i = size - 1; i >= 0; i--)
        add(file, &(unsigned char){(unsigned char)(number >> (8 * i))}, 1);
}

static void add_header(struct file *file, char version, const uint32_t counts[6])
{
    add(file, "TZif", 4);
    add(file, &version, 1);
    add(file, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
    for (int i = 0; i < 6; i++)
        add_number(file, counts[i], 4);
}

/* Two types and two transitions: LMT until 0, AAA from 0, LMT again from 1000, then the rule BBB. */
static void valid_file(struct file *file)
{
    file->len = 0;
    add_header(file, '2', (const uint32_t[]){0, 0, 0, 0, 1, 4});
    add(file, "\0\0\0\0\0\0LMT", 10);
    add_header(file, '2', (const uint32_t[]){2, 2, 0, 2, 2, 8});
    add_number(file, 0, 8);
    add_number(file, 1000, 8);
    add(file, "\1\0", 2);
    add_number(file, 3208, 4);
    add(file, "\0\0", 2);
    add_number(file, (uint64_t)-3600, 4);
    add(file, "\1\4", 2);
    add(file, "LMT\0AAA", 8);
    add(file, "\0\1\0\1", 4);
    add(file, "\nBBB1\n", 6);
}
#define FIRST_BLOCK (44 + 10)
#define SECOND (FIRST_BLOCK + 44) /* where the second block's data begins */

static struct zone *read_valid(const struct file *file)
{
    struct zone *zone = NULL;
    struct err err;
    /* A block of its own, so that the sanitizers see a byte too far. */
    unsigned char *copy = malloc(file->len);
    memcpy(copy, file->bytes, file->len);
    if (zone_read("Test/Zone", copy, file->len, &zone, &err) != ERR_NONE)
        fail_msg("%s", err.message);
    free(copy);
    return zone;
}

static void read_refused(const struct file *file, const char *why)
{
    struct zone *zone = NULL;
    struct err err;
    unsigned char *copy = malloc(file->len + 1);
    memcpy(copy, file->bytes, file->len);
    enum err_code code = zone_read("Test/Zone", copy, file->len, &zone, &err);
    free(copy);
    if (code != ERR_CORRUPT)
        fail_msg("accepted: %s", why);
    if (strstr(err.message, why) == NULL)
        fail_msg("\"%s\" is not in: %s", why, err.message);
    assert_null(zone);
}

static void files(void **state)
{
    (void)state;
    struct file file;
    int64_t at, earlier, later;
    valid_file(&file);
    struct zone *zone = read_valid(&file);
    assert_string_equal(zone_name(zone), "Test/Zone");
    assert_int_equal(zone_offset_at(zone, -1).seconds, 3208);
    assert_string_equal(zone_offset_at(zone, -1).abbreviation, "LMT");
    assert_int_equal(zone_offset_at(zone, 0).seconds, -3600);
    assert_true(zone_offset_at(zone, 0).is_dst);
    assert_string_equal(zone_offset_at(zone, 999999).abbreviation, "AAA");
    assert_string_equal(zone_offset_at(zone, 1000000).abbreviation, "BBB");
    assert_int_equal(zone_offset_at(zone, INT64_MAX).seconds, -3600);
    assert_int_equal(zone_offset_at(zone, INT64_MIN).seconds, 3208);
    assert_true(zone_next_transition(zone, INT64_MIN, &at));
    assert_int_equal(at, 0);
    assert_true(zone_next_transition(zone, at, &at));
    assert_int_equal(at, 1000000);
    assert_false(zone_next_transition(zone, at, &at));
    /* From +53:28 back to -1:00, for less time than that: one local time twice, its moments far apart. */
    assert_int_equal(zone_from_local(zone, 0, &earlier, &later), ZONE_REPEATED);
    assert_int_equal(earlier, -3208000);
    assert_int_equal(later, 3600000);
    mem_free(zone);

    /* An empty footer: the last type goes on. */
    file.len -= 5;
    add(&file, "\n", 1);
    zone = read_valid(&file);
    assert_string_equal(zone_offset_at(zone, 1000000).abbreviation, "LMT");
    mem_free(zone);

    /* No transitions: the rule is for all time, without one the first type is. */
    file.len = 0;
    add_header(&file, '3', (const uint32_t[]){0, 0, 0, 0, 1, 4});
    add(&file, "\0\0\0\0\0\0LMT", 10);
    size_t second = file.len;
    add_header(&file, '4', (const uint32_t[]){0, 0, 0, 0, 1, 4});
    add(&file, "\0\0\0\0\0\0LMT", 10);
    add(&file, "\nBBB1\n", 6);
    zone = read_valid(&file);
    assert_string_equal(zone_offset_at(zone, ISO_MIN_MS).abbreviation, "BBB");
    mem_free(zone);
    file.len = second + 54;
    add(&file, "\n\n", 2);
    zone = read_valid(&file);
    assert_string_equal(zone_offset_at(zone, ISO_MAX_MS).abbreviation, "LMT");
    mem_free(zone);
}

/* Forward and back every minute, for hours. */
static void dense_transitions(void **state)
{
    (void)state;
    struct file file = {.len = 0};
    enum { COUNT = 400 };
    add_header(&file, '2', (const uint32_t[]){0, 0, 0, 0, 1, 4});
    add(&file, "\0\0\0\0\0\0LMT", 10);
    add_header(&file, '2', (const uint32_t[]){0, 0, 0, COUNT, 2, 8});
    for (uint64_t i = 0; i < COUNT; i++)
        add_number(&file, i * 60, 8);
    for (int i = 0; i < COUNT; i++)
        add(&file, i % 2 == 0 ? "\1" : "\0", 1);
    add(&file, "\0\0\0\0\0\0", 6);
    add_number(&file, 7260, 4);
    add(&file, "\1\4LMT\0AAA", 10);
    add(&file, "\n\n", 2);
    struct zone *zone = read_valid(&file);
    int64_t earlier, later;
    assert_int_equal(zone_from_local(zone, 10860000, &earlier, &later), ZONE_REPEATED);
    assert_int_equal(earlier, 3600000);
    assert_int_equal(later, 10860000);
    assert_int_equal(zone_from_local(zone, 60000, &earlier, &later), ZONE_ONCE);
    assert_int_equal(zone_from_local(zone, 30000, &earlier, &later), ZONE_SKIPPED);
    assert_int_equal(later, 30000);
    assert_int_equal(earlier, -7230000);
    mem_free(zone);
}

static void hostile_files(void **state)
{
    (void)state;
    struct file file;
    /* Cut off at every length. */
    valid_file(&file);
    size_t whole = file.len;
    for (file.len = 0; file.len < whole; file.len++)
        read_refused(&file, "it is not a valid TZif file: it");

#define WITH(offset, value, why)                                                                             \
    do {                                                                                                     \
        valid_file(&file);                                                                                   \
        file.bytes[offset] = (unsigned char)(value);                                                         \
        read_refused(&file, why);                                                                            \
    } while (0)
    WITH(0, 'X', "no header");
    WITH(4, 0, "version 1");
    WITH(20, 0xff, "cut off");
    WITH(35, 200, "cut off");
    WITH(FIRST_BLOCK, 'X', "no header");
    WITH(FIRST_BLOCK + 20, 0xff, "cut off");
    WITH(FIRST_BLOCK + 23, 1, "indicators for some types");
    WITH(FIRST_BLOCK + 27, 1, "indicators for some types");
    WITH(FIRST_BLOCK + 31, 1, "leap seconds");
    WITH(FIRST_BLOCK + 35, 200, "cut off");
    WITH(FIRST_BLOCK + 39, 0, "no types");
    WITH(FIRST_BLOCK + 43, 0, "no types");
    WITH(SECOND, 0x7f, "not in order");
    WITH(SECOND + 16, 2, "type that is not there");
    WITH(SECOND + 18, 0x7f, "26 hours");
    WITH(SECOND + 18, 0x80, "26 hours");
    WITH(SECOND + 22, 2, "neither 0 nor 1");
    WITH(SECOND + 23, 8, "abbreviation is outside");
    WITH(SECOND + 23, 3, "no characters");
    WITH(SECOND + 30, '\n', "odd characters");
    WITH(SECOND + 37, 'A', "has no end");
    WITH(whole - 6, 'x', "no footer");
    WITH(whole - 1, 'x', "footer has no end");
    WITH(whole - 2, 'x', "TZ string is not valid");
    valid_file(&file);
    file.bytes[SECOND + 15] = 0;
    file.bytes[SECOND + 14] = 0;
    read_refused(&file, "not in order"); /* twice the same */

    /* No single byte does harm, whatever it is. */
    for (size_t i = 0; i < whole; i++) {
        for (int value = 0; value < 256; value++) {
            valid_file(&file);
            file.bytes[i] = (unsigned char)value;
            struct zone *zone = NULL;
            struct err err;
            if (zone_read("X", file.bytes, file.len, &zone, &err) == ERR_NONE) {
                int64_t at = ISO_MIN_MS, earlier, later;
                for (int steps = 0; steps < 10 && zone_next_transition(zone, at, &at); steps++)
                    zone_from_local(zone, at, &earlier, &later);
                mem_free(zone);
            }
        }
    }

    struct zone *zone = NULL;
    struct err err;
    char *huge = calloc(1, ZONE_FILE_MAX + 1);
    assert_int_equal(zone_read("X", huge, ZONE_FILE_MAX + 1, &zone, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.message, "larger than 65536 bytes"));
    free(huge);
#ifdef WORKERS_FAULT_INJECTION
    valid_file(&file);
    mem_fail_from(1);
    assert_int_equal(zone_read("X", file.bytes, file.len, &zone, &err), ERR_NOMEM);
    mem_fail_from(0);
    assert_null(zone);
#endif
}

/* ---- names ---- */

static void not_found(const char *name, size_t len, const char *message)
{
    const struct zone *zone = NULL;
    struct err err;
    assert_int_equal(zone_find(name, len, &zone, &err), ERR_NOT_FOUND);
    assert_string_equal(err.message, message);
    assert_null(zone);
}

#define NOT_FOUND(name, message) not_found(name, sizeof(name) - 1, message)
#define ADVICE "; use an IANA name such as \"Europe/Berlin\""

static void names(void **state)
{
    (void)state;
    assert_ptr_equal(find("UTC"), zone_utc());
    assert_ptr_equal(find("Europe/Berlin"), find("Europe/Berlin"));
    assert_string_equal(zone_name(find("US/Eastern")), "US/Eastern");
    assert_string_equal(zone_name(find("America/Argentina/ComodRivadavia")),
                        "America/Argentina/ComodRivadavia");
    assert_int_equal(zone_offset_at(find("Etc/GMT-14"), 0).seconds, 14 * 3600);
    assert_int_equal(zone_offset_at(find("GMT+0"), 0).seconds, 0);

    NOT_FOUND("Europe/Berln", "unknown time zone \"Europe/Berln\"; did you mean \"Europe/Berlin\"?");
    NOT_FOUND("europe/berlin", "unknown time zone \"europe/berlin\"; did you mean \"Europe/Berlin\"?");
    NOT_FOUND("Berlin", "unknown time zone \"Berlin\"; did you mean \"Europe/Berlin\"?");
    NOT_FOUND("new york", "unknown time zone \"new york\"; did you mean \"America/New_York\"?");
    NOT_FOUND("Europe/Berlin/", "unknown time zone \"Europe/Berlin/\"; did you mean \"Europe/Berlin\"?");
    NOT_FOUND("Europe/Berlin\0", "unknown time zone \"Europe/Berlin\"; did you mean \"Europe/Berlin\"?");
    NOT_FOUND("right/Asia/Tokyo", "unknown time zone \"right/Asia/Tokyo\"" ADVICE);
    NOT_FOUND("PST", "unknown time zone \"PST\"" ADVICE);
    NOT_FOUND("", "unknown time zone \"\"" ADVICE);
    NOT_FOUND("Europe", "unknown time zone \"Europe\"" ADVICE);
    NOT_FOUND("+02:00", "unknown time zone \"+02:00\"" ADVICE);
    NOT_FOUND("/etc/passwd", "unknown time zone \"/etc/passwd\"" ADVICE);
    NOT_FOUND("../../../etc/passwd", "unknown time zone \"../../../etc/passwd\"" ADVICE);
    NOT_FOUND("Europe/../../../../etc/passwd", "unknown time zone \"Europe/../../../../etc/passwd\"" ADVICE);
    NOT_FOUND("zone.tab", "unknown time zone \"zone.tab\"" ADVICE);
    NOT_FOUND("posixrules", "unknown time zone \"posixrules\"" ADVICE);
    NOT_FOUND("Mars/Olympus_Mons", "unknown time zone \"Mars/Olympus_Mons\"" ADVICE);
    NOT_FOUND("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\xe2\x82\xac",
              "unknown time zone \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA…\"" ADVICE);
}

/* ---- another database ---- */

static char folder[] = "/tmp/zone_test.XXXXXX";

static void write_file(const char *name, const void *bytes, size_t len)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, len, out), len);
    assert_int_equal(fclose(out), 0);
}

static void other_database(void **state)
{
    (void)state;
    const struct zone *zone = NULL;
    struct err err;
    struct file file;
    char path[128];
    assert_non_null(mkdtemp(folder));
    assert_int_equal(setenv("TZDIR", folder, 1), 0);
    valid_file(&file);
    write_file("Testville", file.bytes, file.len);
    assert_string_equal(zone_offset_at(find("Testville"), 0).abbreviation, "AAA");
    write_file("Broken", file.bytes, file.len - 3);
    assert_int_equal(zone_find("Broken", 6, &zone, &err), ERR_CORRUPT);
    snprintf(path, sizeof path,
             "time zone Broken: cannot use %s/Broken: it is not a valid TZif file: its footer has no "
             "end",
             folder);
    assert_string_equal(err.message, path);
    char *huge = calloc(1, 2 * ZONE_FILE_MAX);
    write_file("Huge", huge, 2 * ZONE_FILE_MAX);
    free(huge);
    assert_int_equal(zone_find("Huge", 4, &zone, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.message, "larger than 65536 bytes"));
    snprintf(path, sizeof path, "%s/Pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    NOT_FOUND("Pipe", "unknown time zone \"Pipe\"" ADVICE);
    unlink(path);
    /* What is in memory stays. */
    find("Europe/Berlin");
    NOT_FOUND("Testvile", "unknown time zone \"Testvile\"; did you mean \"Testville\"?");
#ifdef WORKERS_FAULT_INJECTION
    write_file("Another", file.bytes, file.len);
    for (unsigned long nth = 1; nth <= 2; nth++) {
        mem_fail_from(nth);
        assert_int_equal(zone_find("Another", 7, &zone, &err), ERR_NOMEM);
    }
    for (unsigned long nth = 1; nth <= 3; nth++) {
        mem_fail_from(nth);
        assert_int_equal(zone_find("Nowhere", 7, &zone, &err), ERR_NOT_FOUND);
    }
    mem_fail_from(0);
#endif

    /* The maximum, which the real database does not reach. */
    enum err_code code = ERR_NONE;
    for (int i = 0; i < 2 * ZONE_COUNT_MAX && code == ERR_NONE; i++) {
        char name[32];
        snprintf(name, sizeof name, "Many%d", i);
        write_file(name, file.bytes, file.len);
        code = zone_find(name, strlen(name), &zone, &err);
    }
    assert_int_equal(code, ERR_LIMIT);
    find("Many0");
    find("UTC");

    snprintf(path, sizeof path, "rm -r %s", folder);
    assert_int_equal(system(path), 0);
    assert_int_equal(unsetenv("TZDIR"), 0);
}

/* Before everything else, so that the zones are not there yet. */
static void *find_some(void *seed)
{
    static const char *const some[] = {"Europe/Paris", "Asia/Tokyo",  "America/Lima",    "Africa/Cairo",
                                       "Asia/Dubai",   "Europe/Rome", "Pacific/Auckland"};
    size_t count = sizeof some / sizeof some[0];
    for (size_t i = 0; i < 2000; i++) {
        const char *name = some[(i * 5 + (size_t)(uintptr_t)seed) % count];
        const struct zone *zone = NULL;
        if (zone_find(name, strlen(name), &zone, NULL) != ERR_NONE || strcmp(zone_name(zone), name) != 0)
            return seed;
    }
    return NULL;
}

static void threads(void **state)
{
    (void)state;
    pthread_t ids[4];
    for (uintptr_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, find_some, (void *)(i + 1)), 0);
    for (int i = 0; i < 4; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(ids[i], &failed), 0);
        assert_null(failed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads),
        cmocka_unit_test(twelve_zones),
        cmocka_unit_test(all_zones),
        cmocka_unit_test(rules),
        cmocka_unit_test(bad_rules),
        cmocka_unit_test(files),
        cmocka_unit_test(dense_transitions),
        cmocka_unit_test(hostile_files),
        cmocka_unit_test(names),
        cmocka_unit_test(other_database),
    };
    unsetenv("TZDIR");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
