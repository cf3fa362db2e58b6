/* Endpoints of webhooks: the secret part of their address, and whether they are open. */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/crypto.h"

#include <stdio.h>
#include <string.h>

#define FAILURES_MAX 5 /* in a row, then the endpoint closes */

#define SECRET_BYTES ((ENDPOINT_SECRET_SIZE - 1) / 2)

static void sealed_name(const char *key, char out[128])
{
    snprintf(out, 128, "webhook %s", key);
}

static enum err_code keep_secret(struct store *store, const struct endpoint *endpoint, struct err *err)
{
    struct db_stmt *stmt = NULL;
    struct buf sealed;
    char name[128];
    sealed_name(endpoint->key, name);
    buf_init(&sealed, BUF_UNLIMITED);
    enum err_code code = vault_seal(store, name, endpoint->secret, strlen(endpoint->secret), &sealed, err);
    if (code == ERR_NONE)
        code = store_prepare(store, &stmt,
                             "INSERT INTO _workers_endpoints(key, sealed) VALUES(?1, ?2) ON CONFLICT(key) DO "
                             "UPDATE SET sealed ="
                             " excluded.sealed",
                             err);
    if (code == ERR_NONE) {
        bind_str(stmt, 1, endpoint->key);
        DRIVER(store)->bind_blob(stmt, 2, sealed.data, sealed.len);
        code = store_step(store, stmt, err);
        DRIVER(store)->finalize(stmt);
    }
    buf_free(&sealed);
    return code;
}

/* The first one of an endpoint comes from the store's key, so that it is the same whoever is asked first; it
 * is kept from then on, and outlives the key. */
static enum err_code make_secret(struct store *store, struct endpoint *endpoint, struct err *err)
{
    uint8_t digest[CRYPTO_DIGEST_MAX];
    char text[160];
    snprintf(text, sizeof text, "webhook %s %lld", endpoint->key, (long long)endpoint->generation);
    enum err_code code = vault_derive(store, text, digest, err);
    if (code != ERR_NONE)
        return code;
    crypto_encode(CRYPTO_HEX, digest, SECRET_BYTES, endpoint->secret);
    return keep_secret(store, endpoint, err);
}

static enum err_code read_secret(struct store *store, struct endpoint *endpoint, const char *sealed,
                                 size_t len, struct err *err)
{
    char name[128], *plain = NULL;
    size_t plain_len = 0;
    sealed_name(endpoint->key, name);
    enum err_code code = vault_open(store, name, sealed, len, &plain, &plain_len, err);
    if (code == ERR_CORRUPT)
        err_set(
            err, code,
            "the address of the webhook \"%s\" was sealed with another key or is damaged: workers webhooks "
            "rotate %s makes another",
            endpoint->key, endpoint->key);
    if (code == ERR_NONE)
        snprintf(endpoint->secret, sizeof endpoint->secret, "%s", plain);
    crypto_free(plain, plain_len);
    return code;
}

enum err_code store_endpoint_get(struct store *store, const char *key, struct endpoint *out, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = NULL;
    *out = (struct endpoint){.generation = 1};
    snprintf(out->key, sizeof out->key, "%s", key);
    enum err_code code = store_prepare(
        store, &stmt, "SELECT generation, failures, closed_at, sealed FROM _workers_endpoints WHERE key = ?1",
        err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, key);
    enum db_step step = driver->step(stmt, err);
    size_t len = 0;
    const char *sealed = NULL;
    if (step == DB_FAILED)
        code = err->code;
    if (step == DB_ROW) {
        out->generation = driver->column_integer(stmt, 0);
        out->failures = driver->column_integer(stmt, 1);
        out->closed_ms = driver->column_integer(stmt, 2);
        sealed = driver->column_text(stmt, 3, &len);
        if (sealed != NULL)
            code = read_secret(store, out, sealed, len, err);
    }
    bool make = code == ERR_NONE && sealed == NULL;
    driver->finalize(stmt);
    return make ? make_secret(store, out, err) : code;
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
    struct endpoint endpoint;
    uint8_t bytes[SECRET_BYTES];
    snprintf(endpoint.key, sizeof endpoint.key, "%s", key);
    enum err_code code = crypto_random(bytes, sizeof bytes, err);
    if (code != ERR_NONE)
        return code;
    crypto_encode(CRYPTO_HEX, bytes, sizeof bytes, endpoint.secret);
    code = keep_secret(store, &endpoint, err);
    return code == ERR_NONE
               ? update(store, "UPDATE _workers_endpoints SET generation = generation + ?2 WHERE key = ?1",
                        key, 1, err)
               : code;
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
