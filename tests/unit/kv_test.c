/* The key-value store: what a layer shows is what the store would show had the same been written to it; times
 * to live; limits. */
#include "base/mem.h"
#include "db/db.h"
#include "modules/kv.h"
#include "store/store.h"

#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROUNDS 400

static char folder[64];
static char other_folder[72];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/kv-test.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(other_folder, sizeof other_folder, "%s/other", folder);
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status;
    (void)type;
    (void)place;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    return nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static struct store *open_store(const char *where)
{
    struct store *store = NULL;
    struct err err;
    assert_int_equal(store_open(where, true, &store, &err), ERR_NONE);
    return store;
}

static struct json_slice slice(const char *text)
{
    return (struct json_slice){text, strlen(text)};
}

static void set(struct store *store, struct kv_layer *layer, const char *key, const char *json,
                int64_t ttl_ms)
{
    struct err err;
    bool existed = false;
    struct json_slice value = slice(json != NULL ? json : "");
    assert_int_equal(
        store_kv_set(store, layer, key, strlen(key), json != NULL ? &value : NULL, ttl_ms, &existed, &err),
        ERR_NONE);
}

/* The value; NULL when there is none. The caller frees it. */
static char *get(struct store *store, const struct kv_layer *layer, const char *key)
{
    struct err err;
    struct buf value;
    bool found = false;
    buf_init(&value, KV_VALUE_MAX);
    assert_int_equal(store_kv_get(store, layer, key, strlen(key), &value, &found, &err), ERR_NONE);
    char *text = found ? mem_strndup(buf_text(&value), value.len) : NULL;
    buf_free(&value);
    return text;
}

static void expect(struct store *store, const struct kv_layer *layer, const char *key, const char *wanted)
{
    char *got = get(store, layer, key);
    if (wanted == NULL)
        assert_null(got);
    else
        assert_string_equal(got, wanted);
    mem_free(got);
}

static enum err_code add_key(void *ctx, const char *key, size_t len)
{
    buf_addf(ctx, "%.*s ", (int)len, key);
    return ERR_NONE;
}

/* The keys with a blank after each; the caller frees out. */
static void list(struct store *store, const struct kv_layer *layer, const char *prefix, int64_t limit,
                 struct buf *out)
{
    struct err err;
    buf_init(out, (size_t)1 << 20);
    assert_int_equal(store_kv_list(store, layer, prefix, strlen(prefix), limit, add_key, out, &err),
                     ERR_NONE);
}

static void expect_list(struct store *store, const struct kv_layer *layer, const char *prefix, int64_t limit,
                        const char *wanted)
{
    struct buf out;
    list(store, layer, prefix, limit, &out);
    assert_string_equal(buf_text(&out), wanted);
    buf_free(&out);
}

/* Many statements without the fsync of each. */
static void exec(const char *sql)
{
    char path[128];
    struct db *db = NULL;
    struct err err;
    const struct db_options options = {.busy_timeout_ms = 1000};
    snprintf(path, sizeof path, "%s/worker.db", folder);
    assert_int_equal(db_sqlite.open(path, &options, &db, &err), ERR_NONE);
    assert_int_equal(db_sqlite.exec(db, sql, &err), ERR_NONE);
    db_sqlite.close(db);
}

static void test_values(void **state)
{
    (void)state;
    struct store *store = open_store(folder);
    struct json_slice one = slice("1"), two = slice("2");
    struct err err;
    bool done = false;
    int64_t sum = 0;
    set(store, NULL, "a", "{\"x\":[]}", 0);
    expect(store, NULL, "a", "{\"x\":[]}");
    expect(store, NULL, "A", NULL);
    set(store, NULL, "a", NULL, 0);
    expect(store, NULL, "a", NULL);
    assert_int_equal(store_kv_compare_and_set(store, NULL, "c", 1, NULL, &one, 0, &done, &err), ERR_NONE);
    assert_true(done);
    assert_int_equal(store_kv_compare_and_set(store, NULL, "c", 1, NULL, &two, 0, &done, &err), ERR_NONE);
    assert_false(done);
    assert_int_equal(store_kv_compare_and_set(store, NULL, "c", 1, &two, &one, 0, &done, &err), ERR_NONE);
    assert_false(done);
    assert_int_equal(store_kv_compare_and_set(store, NULL, "c", 1, &one, &two, 0, &done, &err), ERR_NONE);
    assert_true(done);
    expect(store, NULL, "c", "2");
    assert_int_equal(store_kv_increment(store, NULL, "c", 1, -5, &sum, &err), ERR_NONE);
    assert_int_equal(sum, -3);
    assert_int_equal(store_kv_increment(store, NULL, "n", 1, INT64_MAX, &sum, &err), ERR_NONE);
    assert_int_equal(store_kv_increment(store, NULL, "n", 1, 1, &sum, &err), ERR_LIMIT);
    assert_string_equal(err.message, "the sum of \"n\" does not fit into 64 bits");
    expect(store, NULL, "n", "9223372036854775807");
    set(store, NULL, "f", "1.0", 0);
    assert_int_equal(store_kv_increment(store, NULL, "f", 1, 1, &sum, &err), ERR_INVALID);
    assert_string_equal(err.message, "the value of \"f\" is no integer");
    expect_list(store, NULL, "", 10, "c f n ");
    store_close(store);
}

static void test_order_and_prefixes(void **state)
{
    (void)state;
    struct store *store = open_store(folder);
    static const char *const keys[] = {"b/2", "b/10", "b", "b0", "a", "\xc3\xa9", "Z", "b/1"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        set(store, NULL, keys[i], "0", 0);
    expect_list(store, NULL, "", 100, "Z a b b/1 b/10 b/2 b0 c f n \xc3\xa9 ");
    expect_list(store, NULL, "b/", 100, "b/1 b/10 b/2 ");
    expect_list(store, NULL, "b/", 2, "b/1 b/10 ");
    expect_list(store, NULL, "\xc3", 100, "\xc3\xa9 ");
    expect_list(store, NULL, "x", 100, "");
    store_close(store);
}

static void test_time_to_live(void **state)
{
    (void)state;
    struct store *store = open_store(folder);
    struct kv_layer *layer = kv_layer_new();
    struct json_slice value = slice("7");
    struct err err;
    bool done = false;
    int64_t sum = 0;
    set(store, NULL, "t/long", "1", 3600000);
    set(store, NULL, "t/gone", "1", 3600000);
    set(store, NULL, "t/stays", "1", 0);
    assert_int_equal(store_kv_increment(store, NULL, "t/long", 6, 1, &sum, &err), ERR_NONE);
    set(store, layer, "t/layered", "1", 1); /* expires within the next millisecond */
    exec("UPDATE _workers_kv SET expires_at = 1 WHERE key = 't/gone'");
    while (true) {
        char *layered = get(store, layer, "t/layered");
        mem_free(layered);
        if (layered == NULL)
            break;
    }
    expect(store, NULL, "t/gone", NULL);
    expect_list(store, NULL, "t/", 9, "t/long t/stays ");
    expect_list(store, layer, "t/", 9, "t/long t/stays ");
    assert_int_equal(store_kv_compare_and_set(store, layer, "t/gone", 6, NULL, &value, 0, &done, &err),
                     ERR_NONE);
    assert_true(done);
    kv_layer_release(layer);
    int64_t left = 0;
    struct db *db = NULL;
    char path[128];
    const struct db_options options = {.read_only = true};
    snprintf(path, sizeof path, "%s/worker.db", folder);
    assert_int_equal(db_sqlite.open(path, &options, &db, &err), ERR_NONE);
    static const char count[] = "SELECT count(*) FROM _workers_kv WHERE key LIKE 't/%'";
    assert_int_equal(db_integer(db, count, 0, &left, &err), ERR_NONE);
    assert_int_equal(left, 3); /* nothing but reads so far */
    assert_int_equal(store_kv_expire(store, 2, &err), ERR_NONE);
    assert_int_equal(db_integer(db, count, 0, &left, &err), ERR_NONE);
    assert_int_equal(left, 2);
    /* The increment kept the time, and the next change takes what has expired along. */
    assert_int_equal(
        db_integer(db, "SELECT expires_at > 1 FROM _workers_kv WHERE key = 't/long'", 0, &left, &err),
        ERR_NONE);
    assert_int_equal(left, 1);
    exec("UPDATE _workers_kv SET expires_at = 1 WHERE key = 't/long'");
    set(store, NULL, "t/other", "1", 0);
    assert_int_equal(db_integer(db, count, 0, &left, &err), ERR_NONE);
    assert_int_equal(left, 2);
    db_sqlite.close(db);
    store_close(store);
}

static void test_number_of_keys(void **state)
{
    (void)state;
    struct store *store = open_store(folder);
    struct kv_layer *layer = kv_layer_new();
    struct json_slice value = slice("1");
    struct err err;
    bool existed = false;
    exec("DELETE FROM _workers_kv; WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r LIMIT "
         "100000)"
         " INSERT INTO _workers_kv(key, value) SELECT 'k' || x, '1' FROM r");
    assert_int_equal(store_kv_set(store, NULL, "new", 3, &value, 0, &existed, &err), ERR_LIMIT);
    assert_string_equal(err.message,
                        "the worker has 100000 keys, and no more can be kept; delete some, give them "
                        "a ttl, or use a database");
    assert_int_equal(store_kv_set(store, NULL, "k1", 2, &value, 0, &existed, &err), ERR_NONE);
    assert_true(existed);
    exec("UPDATE _workers_kv SET expires_at = 1 WHERE key = 'k5'");
    set(store, NULL, "new", "1", 0);
    for (int i = 0; i < 100000; i++) {
        char key[16];
        int len = snprintf(key, sizeof key, "p%d", i);
        assert_int_equal(store_kv_set(store, layer, key, (size_t)len, &value, 0, &existed, &err), ERR_NONE);
    }
    assert_int_equal(store_kv_set(store, layer, "new", 3, &value, 0, &existed, &err), ERR_LIMIT);
    assert_string_equal(err.message, "what a preview sets is kept in memory: at most 100000 keys and 64 MiB");
    kv_layer_release(layer);
    exec("DELETE FROM _workers_kv");
    store_close(store);
}

static unsigned seed = 7;

static unsigned chance(unsigned below)
{
    seed = seed * 1103515245 + 12345;
    return (seed >> 16) % below;
}

/* One operation on a store, through a layer or not; what came of it, as text. */
static void operate(struct store *store, struct kv_layer *layer, unsigned operation, const char *key,
                    const char *json, const char *other, struct buf *out)
{
    struct json_slice value = slice(json), expected = slice(other);
    struct err err;
    struct buf keys;
    bool done = false;
    int64_t sum = 0;
    enum err_code code = ERR_NONE;
    size_t len = strlen(key);
    switch (operation) {
    case 0:
        code = store_kv_set(store, layer, key, len, &value, 0, &done, &err);
        break;
    case 1:
        code = store_kv_set(store, layer, key, len, NULL, 0, &done, &err);
        break;
    case 2:
        code = store_kv_increment(store, layer, key, len, 3, &sum, &err);
        break;
    case 3:
        code = store_kv_compare_and_set(store, layer, key, len, &expected, &value, 0, &done, &err);
        break;
    case 4:
        code = store_kv_compare_and_set(store, layer, key, len, NULL, &value, 0, &done, &err);
        break;
    default:
        list(store, layer, operation % 2 == 0 ? "" : key, operation, &keys);
        buf_addf(out, "[%s]", buf_text(&keys));
        buf_free(&keys);
        break;
    }
    char *now = get(store, layer, key);
    buf_addf(out, "%d %d %" PRId64 " %s\n", (int)code, done, code == ERR_NONE ? sum : 0,
             now != NULL ? now : "nothing");
    mem_free(now);
}

static void test_layer_is_as_the_store(void **state)
{
    (void)state;
    static const char *const keys[] = {"a", "ab", "b", "ba", "c", "d", "dd", "e"};
    static const char *const values[] = {"1", "2", "\"x\"", "null"};
    struct store *written = open_store(folder);
    struct store *layered = open_store(other_folder);
    struct kv_layer *layer = kv_layer_new();
    for (size_t i = 0; i < 8; i += 2) {
        set(written, NULL, keys[i], "1", 0);
        set(layered, NULL, keys[i], "1", 0);
    }
    for (int round = 0; round < ROUNDS; round++) {
        struct buf one, two;
        unsigned operation = chance(9);
        const char *key = keys[chance(8)], *value = values[chance(4)], *other = values[chance(4)];
        buf_init(&one, 4096);
        buf_init(&two, 4096);
        operate(written, NULL, operation, key, value, other, &one);
        operate(layered, layer, operation, key, value, other, &two);
        assert_string_equal(buf_text(&one), buf_text(&two));
        buf_free(&one);
        buf_free(&two);
    }
    kv_layer_release(layer);
    expect_list(layered, NULL, "", 100, "a b c dd ");
    for (size_t i = 0; i < 8; i += 2)
        expect(layered, NULL, keys[i], "1");
    store_close(written);
    store_close(layered);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_order_and_prefixes),
        cmocka_unit_test(test_time_to_live),
        cmocka_unit_test(test_number_of_keys),
        cmocka_unit_test(test_layer_is_as_the_store),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
