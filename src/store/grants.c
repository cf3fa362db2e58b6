/* Grants of OAuth: the tokens of each, sealed, and the right to ask for new ones, which one process has at a
 * time. Must not put a token into any message. */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/json.h"
#include "base/mem.h"

#include <string.h>

#define FRESH_MS 60000

void grant_free(struct grant *grant)
{
    char *texts[] = {grant->access, grant->refresh, grant->scope};
    for (int i = 0; i < 3; i++)
        crypto_free(texts[i], texts[i] != NULL ? strlen(texts[i]) : 0);
    *grant = (struct grant){0};
}

/* ---- sealing ---- */

static enum err_code seal(struct store *store, const char *key, const struct grant *grant, struct buf *sealed,
                          struct err *err)
{
    struct buf plain;
    buf_init(&plain, GRANT_MAX);
    buf_addc(&plain, '{');
    enum err_code code = json_write_member(&plain, "access", grant->access, err);
    if (code == ERR_NONE)
        code = json_write_member(&plain, "refresh", grant->refresh, err);
    if (code == ERR_NONE)
        code = json_write_member(&plain, "scope", grant->scope, err);
    buf_addc(&plain, '}');
    if (code == ERR_NONE)
        code = buf_status(&plain, "the tokens", err);
    if (code == ERR_NONE)
        code = vault_seal(store, key, plain.data, plain.len, sealed, err);
    buf_wipe(&plain);
    return code;
}

static enum err_code unseal(struct store *store, const char *key, const char *sealed, size_t len,
                            struct grant *grant, struct err *err)
{
    char *plain = NULL;
    size_t plain_len = 0;
    enum err_code code = vault_open(store, key, sealed, len, &plain, &plain_len, err);
    if (code == ERR_CORRUPT)
        err_set(err, code,
                "the grant \"%s\" was sealed with another key, or is damaged: workers oauth start %s", key,
                key);
    if (code == ERR_NONE) {
        grant->access = json_find_copy(plain, plain_len, "access");
        grant->refresh = json_find_copy(plain, plain_len, "refresh");
        grant->scope = json_find_copy(plain, plain_len, "scope");
        if (grant->access == NULL)
            code = err_nomem(err);
    }
    crypto_free(plain, plain_len);
    return code;
}

/* ---- reading and writing ---- */

/* The row as it is; owner and lease may be NULL. Generation is 0 when there is none. */
static enum err_code read_row(struct store *store, const char *key, bool reveal, struct grant *out,
                              bool *leased, struct err *err)
{
    struct db_stmt *stmt = NULL;
    *out = (struct grant){0};
    *leased = false;
    enum err_code code = store_prepare(store, &stmt,
                                       "SELECT generation, sealed, expires_at, updated_at, lease_owner,"
                                       " lease_expires_at FROM _workers_grants WHERE key = ?1",
                                       err);
    if (code != ERR_NONE)
        return code;
    const struct db_driver *driver = DRIVER(store);
    bind_str(stmt, 1, key);
    enum db_step step = driver->step(stmt, err);
    if (step == DB_FAILED)
        code = err->code;
    if (step == DB_ROW) {
        size_t len = 0, owner_len = 0;
        out->generation = driver->column_integer(stmt, 0);
        out->expires_ms = driver->column_integer(stmt, 2);
        out->updated_ms = driver->column_integer(stmt, 3);
        const char *owner = driver->column_text(stmt, 4, &owner_len);
        *leased = owner != NULL && owner_holds(owner, driver->column_integer(stmt, 5));
        const char *sealed = driver->column_text(stmt, 1, &len);
        if (sealed != NULL && reveal)
            code = unseal(store, key, sealed, len, out, err);
    }
    driver->finalize(stmt);
    return code;
}

enum err_code store_grant_get(struct store *store, const char *key, struct grant *out, struct err *err)
{
    bool leased = false;
    return read_row(store, key, true, out, &leased, err);
}

enum err_code store_grant_set(struct store *store, const char *key, const struct grant *grant,
                              struct err *err)
{
    struct buf sealed;
    struct db_stmt *stmt = NULL;
    buf_init(&sealed, 2 * GRANT_MAX);
    enum err_code code = store_begin(store, true, err);
    if (code != ERR_NONE)
        return code;
    code = seal(store, key, grant, &sealed, err);
    if (code == ERR_NONE)
        code = store_prepare(
            store, &stmt,
            "INSERT INTO _workers_grants(key, generation, sealed, expires_at, updated_at) VALUES(?1,"
            " 1, ?2, ?3, ?4) ON CONFLICT(key) DO UPDATE SET generation = generation + 1, sealed ="
            " excluded.sealed, expires_at = excluded.expires_at, updated_at = excluded.updated_at,"
            " lease_owner = NULL, lease_expires_at = NULL",
            err);
    if (code == ERR_NONE) {
        bind_str(stmt, 1, key);
        DRIVER(store)->bind_blob(stmt, 2, sealed.data, sealed.len);
        DRIVER(store)->bind_integer(stmt, 3, grant->expires_ms);
        DRIVER(store)->bind_integer(stmt, 4, clock_now_ms());
        code = store_step(store, stmt, err);
        DRIVER(store)->finalize(stmt);
    }
    buf_free(&sealed);
    return store_finish(store, code, err);
}

/* ---- the right to ask for new tokens ---- */

/* Whether it is good for a while: a tenth of its life, a minute at most, is left for the way of a request. */
static bool is_fresh(const struct grant *grant, const char *stale)
{
    int64_t margin = (grant->expires_ms - grant->updated_ms) / 10;
    margin = margin > FRESH_MS ? FRESH_MS : margin > 0 ? margin : 0;
    return grant->access != NULL && (grant->expires_ms == 0 || grant->expires_ms - margin > clock_now_ms()) &&
           (stale == NULL || strcmp(stale, grant->access) != 0);
}

enum err_code store_grant_claim(struct store *store, const char *key, const char *stale, struct grant *out,
                                bool *fresh, bool *claimed, struct err *err)
{
    bool leased = false;
    struct db_stmt *stmt = NULL;
    char owner[OWNER_SIZE];
    *claimed = *fresh = false;
    *out = (struct grant){0};
    enum err_code code = store_begin(store, false, err);
    if (code != ERR_NONE)
        return code;
    code = read_row(store, key, true, out, &leased, err);
    *fresh = code == ERR_NONE && is_fresh(out, stale);
    if (code == ERR_NONE && !*fresh && !leased) {
        owner_name(owner);
        code = store_prepare(
            store, &stmt,
            "INSERT INTO _workers_grants(key, generation, expires_at, updated_at, lease_owner,"
            " lease_expires_at) VALUES(?1, 0, 0, 0, ?2, ?3) ON CONFLICT(key) DO UPDATE SET lease_owner ="
            " excluded.lease_owner, lease_expires_at = excluded.lease_expires_at",
            err);
        if (code == ERR_NONE) {
            bind_str(stmt, 1, key);
            bind_str(stmt, 2, owner);
            DRIVER(store)->bind_integer(stmt, 3, lease_until());
            code = store_step(store, stmt, err);
            DRIVER(store)->finalize(stmt);
        }
        *claimed = code == ERR_NONE;
    }
    code = store_finish(store, code, err);
    if (code != ERR_NONE) {
        grant_free(out);
        *claimed = *fresh = false;
    }
    return code;
}

enum err_code store_grant_release(struct store *store, const char *key, struct err *err)
{
    return db_run(store->db, err,
                  "UPDATE _workers_grants SET lease_owner = NULL, lease_expires_at = NULL WHERE key = ?1",
                  key, NULL);
}

enum err_code store_grant_delete(struct store *store, const char *key, bool *existed, struct err *err)
{
    enum err_code code =
        db_run(store->db, err, "DELETE FROM _workers_grants WHERE key = ?1 AND generation > 0", key, NULL);
    *existed = code == ERR_NONE && DRIVER(store)->changes(store->db) > 0;
    return code;
}
