/* The key-value store of a worker: small JSON values, durable when a function returns. Must not be called
 * while a page is being written, for every change is a transaction of its own.
 *
 * With a layer nothing is written: what is changed goes there, and is read before the store. */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/json.h"
#include "modules/kv.h"

#include <string.h>

#define SWEEP_AT_ONCE 100 /* expired keys that one change takes along */

/* What a key has now. */
struct entry {
    bool found;
    struct buf value;   /* JSON */
    int64_t expires_ms; /* 0: never */
};

static void entry_init(struct entry *entry)
{
    *entry = (struct entry){0};
    buf_init(&entry->value, BUF_UNLIMITED);
}

static struct json_slice slice_of(const struct buf *buf)
{
    return (struct json_slice){buf_text(buf), buf->len};
}

/* ---- one key ---- */

static enum err_code read_stored(struct store *store, const char *key, size_t len, int64_t now,
                                 struct entry *out, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    enum err_code code = store_prepare_once(store, &store->kv_get,
                                            "SELECT value, expires_at FROM _workers_kv WHERE key = ?1 AND"
                                            " (expires_at IS NULL OR expires_at > ?2)",
                                            err);
    if (code != ERR_NONE)
        return code;
    driver->bind_text(store->kv_get, 1, key, len);
    driver->bind_integer(store->kv_get, 2, now);
    enum db_step step = driver->step(store->kv_get, err);
    if (step == DB_ROW) {
        size_t value_len = 0;
        const char *value = driver->column_text(store->kv_get, 0, &value_len);
        buf_add(&out->value, value != NULL ? value : "", value_len);
        out->expires_ms = driver->column_integer(store->kv_get, 1);
        out->found = true;
        code = buf_status(&out->value, "the value", err);
    } else if (step == DB_FAILED) {
        code = err->code;
    }
    driver->reset(store->kv_get);
    return code;
}

static bool is_expired(const struct kv_layer_entry *entry, int64_t now)
{
    return entry->expires_ms != 0 && entry->expires_ms <= now;
}

static enum err_code read_entry(struct store *store, const struct kv_layer *layer, const char *key,
                                size_t len, int64_t now, struct entry *out, struct err *err)
{
    const struct kv_layer_entry *entry =
        layer != NULL ? kv_layer_at(layer, kv_layer_seek(layer, key, len)) : NULL;
    if (entry == NULL || kv_compare_keys(entry->bytes, entry->key_len, key, len) != 0)
        return read_stored(store, key, len, now, out, err);
    if (entry->deleted || is_expired(entry, now))
        return ERR_NONE;
    out->found = true;
    out->expires_ms = entry->expires_ms;
    buf_add(&out->value, entry->bytes + entry->key_len, entry->value_len);
    return buf_status(&out->value, "the value", err);
}

static enum err_code sweep(struct store *store, int64_t now, int64_t most, struct err *err)
{
    enum err_code code =
        store_prepare_once(store, &store->kv_sweep,
                           "DELETE FROM _workers_kv WHERE key IN (SELECT key FROM _workers_kv WHERE"
                           " expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
                           err);
    if (code != ERR_NONE)
        return code;
    DRIVER(store)->bind_integer(store->kv_sweep, 1, now);
    DRIVER(store)->bind_integer(store->kv_sweep, 2, most);
    return store_step(store, store->kv_sweep, err);
}

/* Whether there is room for one key more; what has expired makes some. */
static enum err_code check_room(struct store *store, int64_t now, struct err *err)
{
    int64_t count = 0;
    enum err_code code = db_integer(store->db, "SELECT count(*) FROM _workers_kv", 0, &count, err);
    if (code != ERR_NONE || count < KV_KEYS_MAX)
        return code;
    code = sweep(store, now, KV_KEYS_MAX, err);
    if (code == ERR_NONE)
        code = db_integer(store->db, "SELECT count(*) FROM _workers_kv", 0, &count, err);
    if (code == ERR_NONE && count >= KV_KEYS_MAX)
        code =
            err_set(err, ERR_LIMIT,
                    "the worker has %d keys, and no more can be kept; delete some, give them a ttl, or use a "
                    "database",
                    KV_KEYS_MAX);
    return code;
}

/* value NULL deletes. existed is what read_entry said. */
static enum err_code write_entry(struct store *store, struct kv_layer *layer, const char *key, size_t len,
                                 bool existed, const struct json_slice *value, int64_t now,
                                 int64_t expires_ms, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    if (layer != NULL)
        return kv_layer_put(layer, key, len, value, expires_ms, err);
    enum err_code code = store_prepare_once(
        store, &store->kv_set,
        "INSERT INTO _workers_kv(key, value, expires_at) VALUES(?1, ?2, ?3) ON CONFLICT(key) DO UPDATE SET"
        " value = excluded.value, expires_at = excluded.expires_at",
        err);
    if (code == ERR_NONE)
        code = store_prepare_once(store, &store->kv_delete, "DELETE FROM _workers_kv WHERE key = ?1", err);
    if (code == ERR_NONE)
        code = sweep(store, now, SWEEP_AT_ONCE, err);
    if (code == ERR_NONE && value != NULL && !existed)
        code = check_room(store, now, err);
    if (code != ERR_NONE)
        return code;
    struct db_stmt *stmt = value != NULL ? store->kv_set : store->kv_delete;
    driver->bind_text(stmt, 1, key, len);
    if (value != NULL) {
        driver->bind_text(stmt, 2, value->text, value->len);
        if (expires_ms != 0)
            driver->bind_integer(stmt, 3, expires_ms);
        else
            driver->bind_null(stmt, 3);
    }
    return store_step(store, stmt, err);
}

static enum err_code begin(struct store *store, const struct kv_layer *layer, struct err *err)
{
    return layer != NULL ? ERR_NONE : DRIVER(store)->begin_durable(store->db, err);
}

/* Commits unless code says that something failed. */
static enum err_code end(struct store *store, const struct kv_layer *layer, enum err_code code,
                         struct err *err)
{
    if (layer != NULL)
        return code;
    if (code == ERR_NONE)
        return DRIVER(store)->commit(store->db, err);
    DRIVER(store)->rollback(store->db);
    return code;
}

static int64_t expiry(int64_t now, int64_t ttl_ms)
{
    return ttl_ms > 0 ? now + ttl_ms : 0;
}

/* ---- operations ---- */

enum err_code store_kv_get(struct store *store, const struct kv_layer *layer, const char *key, size_t len,
                           struct buf *value, bool *found, struct err *err)
{
    struct entry entry;
    entry_init(&entry);
    enum err_code code = read_entry(store, layer, key, len, clock_now_ms(), &entry, err);
    *found = entry.found;
    if (code == ERR_NONE && entry.found) {
        buf_add(value, buf_text(&entry.value), entry.value.len);
        code = buf_status(value, "the value", err);
    }
    buf_free(&entry.value);
    return code;
}

enum err_code store_kv_set(struct store *store, struct kv_layer *layer, const char *key, size_t len,
                           const struct json_slice *value, int64_t ttl_ms, bool *existed, struct err *err)
{
    struct entry entry;
    int64_t now = clock_now_ms();
    entry_init(&entry);
    enum err_code code = begin(store, layer, err);
    if (code != ERR_NONE)
        return code;
    code = read_entry(store, layer, key, len, now, &entry, err);
    *existed = entry.found;
    if (code == ERR_NONE)
        code = write_entry(store, layer, key, len, entry.found, value, now, expiry(now, ttl_ms), err);
    buf_free(&entry.value);
    return end(store, layer, code, err);
}

enum err_code store_kv_compare_and_set(struct store *store, struct kv_layer *layer, const char *key,
                                       size_t len, const struct json_slice *expected,
                                       const struct json_slice *value, int64_t ttl_ms, bool *done,
                                       struct err *err)
{
    struct entry entry;
    int64_t now = clock_now_ms();
    entry_init(&entry);
    enum err_code code = begin(store, layer, err);
    if (code != ERR_NONE)
        return code;
    code = read_entry(store, layer, key, len, now, &entry, err);
    *done = code == ERR_NONE &&
            (expected == NULL ? !entry.found
                              : entry.found && entry.value.len == expected->len &&
                                    memcmp(buf_text(&entry.value), expected->text, expected->len) == 0);
    if (*done)
        code = write_entry(store, layer, key, len, entry.found, value, now, expiry(now, ttl_ms), err);
    buf_free(&entry.value);
    return end(store, layer, code, err);
}

static enum err_code add(const struct entry *entry, const char *key, size_t len, int64_t by, int64_t *sum,
                         struct err *err)
{
    struct json_scan scan;
    struct err ignored;
    json_scan_init(&scan, buf_text(&entry->value), entry->value.len);
    if (json_scan_value(&scan, &ignored) != ERR_NONE || scan.token != JSON_NUMBER || !scan.number.is_integer)
        return err_set(err, ERR_INVALID, "the value of \"%.*s\" is no integer", (int)len, key);
    if (__builtin_add_overflow(scan.number.integer, by, sum))
        return err_set(err, ERR_LIMIT, "the sum of \"%.*s\" does not fit into 64 bits", (int)len, key);
    return ERR_NONE;
}

enum err_code store_kv_increment(struct store *store, struct kv_layer *layer, const char *key, size_t len,
                                 int64_t by, int64_t *sum, struct err *err)
{
    struct entry entry;
    struct buf text;
    int64_t now = clock_now_ms();
    entry_init(&entry);
    buf_init(&text, 32);
    enum err_code code = begin(store, layer, err);
    if (code != ERR_NONE)
        return code;
    *sum = by;
    code = read_entry(store, layer, key, len, now, &entry, err);
    if (code == ERR_NONE && entry.found)
        code = add(&entry, key, len, by, sum, err);
    if (code == ERR_NONE) {
        json_write_integer(&text, *sum);
        code = buf_status(&text, "the sum", err);
    }
    if (code == ERR_NONE) {
        const struct json_slice value = slice_of(&text);
        code = write_entry(store, layer, key, len, entry.found, &value, now, entry.expires_ms, err);
    }
    buf_free(&entry.value);
    buf_free(&text);
    return end(store, layer, code, err);
}

/* ---- listing ---- */

/* Keys that are stored, from the first that may begin with the prefix. */
struct cursor {
    struct store *store;
    const char *prefix;
    size_t prefix_len;
    const char *key; /* NULL at the end */
    size_t len;
};

static bool begins_with(const char *key, size_t len, const char *prefix, size_t prefix_len)
{
    return len >= prefix_len && memcmp(key, prefix, prefix_len) == 0;
}

static enum err_code next_stored(struct cursor *cursor, struct err *err)
{
    struct db_stmt *stmt = cursor->store->kv_list;
    const struct db_driver *driver = DRIVER(cursor->store);
    enum db_step step = driver->step(stmt, err);
    cursor->key = step == DB_ROW ? driver->column_text(stmt, 0, &cursor->len) : NULL;
    if (cursor->key != NULL && !begins_with(cursor->key, cursor->len, cursor->prefix, cursor->prefix_len))
        cursor->key = NULL;
    return step == DB_FAILED ? err->code : ERR_NONE;
}

/* The next key of the layer with the prefix, also one that was deleted; NULL at the end. */
static const struct kv_layer_entry *layer_entry(const struct kv_layer *layer, size_t at, const char *prefix,
                                                size_t prefix_len)
{
    const struct kv_layer_entry *entry = layer != NULL ? kv_layer_at(layer, at) : NULL;
    return entry != NULL && begins_with(entry->bytes, entry->key_len, prefix, prefix_len) ? entry : NULL;
}

/* Merges what is stored and what is in the layer, which wins. */
static enum err_code merge(struct cursor *cursor, const struct kv_layer *layer, int64_t now, int64_t limit,
                           kv_key_fn each, void *ctx, struct err *err)
{
    size_t at = layer != NULL ? kv_layer_seek(layer, cursor->prefix, cursor->prefix_len) : 0;
    enum err_code code = next_stored(cursor, err);
    while (code == ERR_NONE && limit > 0) {
        const struct kv_layer_entry *entry = layer_entry(layer, at, cursor->prefix, cursor->prefix_len);
        if (entry == NULL && cursor->key == NULL)
            break;
        int order = entry == NULL ? 1
                    : cursor->key == NULL
                        ? -1
                        : kv_compare_keys(entry->bytes, entry->key_len, cursor->key, cursor->len);
        if (order > 0 || !(entry->deleted || is_expired(entry, now))) {
            code = order > 0 ? each(ctx, cursor->key, cursor->len) : each(ctx, entry->bytes, entry->key_len);
            limit--;
        }
        if (order <= 0)
            at++;
        if (order >= 0 && code == ERR_NONE)
            code = next_stored(cursor, err);
    }
    return code;
}

enum err_code store_kv_list(struct store *store, const struct kv_layer *layer, const char *prefix, size_t len,
                            int64_t limit, kv_key_fn each, void *ctx, struct err *err)
{
    struct cursor cursor = {.store = store, .prefix = prefix, .prefix_len = len};
    int64_t now = clock_now_ms();
    enum err_code code = store_prepare_once(store, &store->kv_list,
                                            "SELECT key FROM _workers_kv WHERE key >= ?1 AND"
                                            " (expires_at IS NULL OR expires_at > ?2) ORDER BY key",
                                            err);
    if (code != ERR_NONE)
        return code;
    DRIVER(store)->bind_text(store->kv_list, 1, prefix, len);
    DRIVER(store)->bind_integer(store->kv_list, 2, now);
    code = merge(&cursor, layer, now, limit, each, ctx, err);
    DRIVER(store)->reset(store->kv_list);
    return code;
}

enum err_code store_kv_expire(struct store *store, int64_t now_ms, struct err *err)
{
    return sweep(store, now_ms, KV_KEYS_MAX, err);
}
