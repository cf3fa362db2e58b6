/* Endpoints of webhooks: the secret part of their address, and whether they are open. */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/crypto.h"

#include <stdio.h>
#include <string.h>

#define FAILURES_MAX 5 /* in a row, then the endpoint closes */

/* The secret is made from the store's key, the webhook's key and a number that a rotation raises: it need not
 * be kept anywhere. */
static enum err_code make_secret(struct store *store, struct endpoint *endpoint, struct err *err)
{
    uint8_t key[STORE_KEY_BYTES], digest[CRYPTO_DIGEST_MAX];
    char text[160];
    enum err_code code = store_key(store, key, err);
    if (code != ERR_NONE)
        return code;
    int len = snprintf(text, sizeof text, "webhook %s %lld", endpoint->key, (long long)endpoint->generation);
    size_t digest_len = 0;
    code = crypto_hmac("sha256", key, sizeof key, text, (size_t)len, digest, &digest_len, err);
    crypto_wipe(key, sizeof key);
    for (size_t i = 0; i < (ENDPOINT_SECRET_SIZE - 1) / 2 && code == ERR_NONE; i++)
        snprintf(endpoint->secret + 2 * i, 3, "%02x", digest[i]);
    return code;
}

enum err_code store_endpoint_get(struct store *store, const char *key, struct endpoint *out, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = NULL;
    *out = (struct endpoint){.generation = 1};
    snprintf(out->key, sizeof out->key, "%s", key);
    enum err_code code = store_prepare(
        store, &stmt, "SELECT generation, failures, closed_at FROM _workers_endpoints WHERE key = ?1", err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, key);
    enum db_step step = driver->step(stmt, err);
    if (step == DB_ROW) {
        out->generation = driver->column_integer(stmt, 0);
        out->failures = driver->column_integer(stmt, 1);
        out->closed_ms = driver->column_integer(stmt, 2);
    }
    driver->finalize(stmt);
    return step == DB_FAILED ? err->code : make_secret(store, out, err);
}

/* One statement with the key and a number. */
static enum err_code update(struct store *store, const char *sql, const char *key, int64_t number,
                            struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(store, &stmt, sql, err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, key);
    DRIVER(store)->bind_integer(stmt, 2, number);
    code = store_step(store, stmt, err);
    DRIVER(store)->finalize(stmt);
    return code;
}

enum err_code store_endpoint_rotate(struct store *store, const char *key, struct err *err)
{
    return update(
        store,
        "INSERT INTO _workers_endpoints(key, generation) VALUES(?1, ?2 + 1) ON CONFLICT(key) DO UPDATE"
        " SET generation = generation + 1",
        key, 1, err);
}

enum err_code store_endpoint_reset(struct store *store, const char *key, struct err *err)
{
    return update(
        store,
        "UPDATE _workers_endpoints SET failures = ?2, closed_at = NULL WHERE key = ?1 AND (failures <>"
        " 0 OR closed_at IS NOT NULL)",
        key, 0, err);
}

enum err_code store_endpoint_refused(struct store *store, const char *key, struct err *err)
{
    enum err_code code = update(store,
                                "INSERT INTO _workers_endpoints(key, failures) VALUES(?1, ?2) ON "
                                "CONFLICT(key) DO UPDATE SET failures ="
                                " failures + 1",
                                key, 1, err);
    char sql[160];
    snprintf(
        sql, sizeof sql,
        "UPDATE _workers_endpoints SET closed_at = ?2 WHERE key = ?1 AND closed_at IS NULL AND failures >="
        " %d",
        FAILURES_MAX);
    return code == ERR_NONE ? update(store, sql, key, clock_now_ms(), err) : code;
}
