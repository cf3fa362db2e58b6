/* Variables of a worker, sealed at rest, with their earlier values. Must not put a value into any message. */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "worker/dotenv.h"

#include <stdio.h>
#include <string.h>

#define SECRET_MAX ((size_t)256 * 1024)
#define BEFORE_MAX 9 /* earlier values that are kept of each */

enum err_code store_secret_name(const char *name, size_t len, struct err *err)
{
    if (len <= SECRET_NAME_MAX && dotenv_is_name(name, len))
        return ERR_NONE;
    if (len > SECRET_NAME_MAX)
        return err_set(err, ERR_INVALID, "a variable name has at most %d letters, digits and _",
                       SECRET_NAME_MAX);
    return err_set(err, ERR_INVALID,
                   "\"%.*s\" is not a variable name: use letters, digits and _, and no digit first", (int)len,
                   name);
}

/* ---- changes ---- */

static enum err_code check_value(const char *name, const char *value, size_t len, struct err *err)
{
    if (store_secret_name(name, strlen(name), err) != ERR_NONE)
        return err->code;
    if (memchr(value, '\0', len) != NULL)
        return err_set(err, ERR_INVALID, "the value of %s contains a NUL byte", name);
    if (len > SECRET_MAX)
        return err_set(err, ERR_LIMIT, "the value of %s is larger than %zu KiB", name, SECRET_MAX / 1024);
    return ERR_NONE;
}

enum err_code secrets_changed(struct store *store, struct err *err)
{
    return db_run(store->db, err,
                  "INSERT INTO _workers_meta(name, value) VALUES('secrets_stamp', '1') ON CONFLICT(name) DO"
                  " UPDATE SET value = CAST(value AS INTEGER) + 1",
                  NULL);
}

enum err_code store_secrets_stamp(struct store *store, int64_t *stamp, struct err *err)
{
    return db_integer(store->db, "SELECT value FROM _workers_meta WHERE name = 'secrets_stamp'", 0, stamp,
                      err);
}

static enum err_code open_column(struct store *store, struct db_stmt *stmt, int column, const char *name,
                                 char **value, size_t *len, struct err *err)
{
    size_t sealed_len = 0;
    const char *sealed = DRIVER(store)->column_text(stmt, column, &sealed_len);
    enum err_code code = vault_open(store, name, sealed, sealed_len, value, len, err);
    if (code == ERR_CORRUPT)
        err_set(err, code, "the secret %s was sealed with another key or is damaged: set it again", name);
    return code;
}

/* A value that cannot be read is another one. */
static enum err_code compare(struct store *store, const char *name, const char *value, size_t len,
                             enum secret_change *change, struct err *err)
{
    struct db_stmt *stmt = NULL;
    char *now = NULL;
    size_t now_len = 0;
    *change = SECRET_ADDED;
    enum err_code code =
        store_prepare(store, &stmt, "SELECT sealed FROM _workers_secrets WHERE name = ?1", err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, name);
    enum db_step step = DRIVER(store)->step(stmt, err);
    if (step == DB_FAILED)
        code = err->code;
    if (step == DB_ROW) {
        *change = SECRET_CHANGED;
        code = open_column(store, stmt, 0, name, &now, &now_len, err);
        if (code == ERR_NONE && now_len == len && crypto_equal(now, value, len))
            *change = SECRET_UNCHANGED;
        if (code == ERR_CORRUPT)
            code = ERR_NONE;
        crypto_free(now, now_len);
    }
    DRIVER(store)->finalize(stmt);
    return code;
}

enum err_code store_secret_compare(struct store *store, const char *name, const char *value, size_t len,
                                   enum secret_change *change, struct err *err)
{
    enum err_code code = check_value(name, value, len, err);
    return code == ERR_NONE ? compare(store, name, value, len, change, err) : code;
}

/* What there is becomes the newest of the earlier ones. */
static enum err_code keep_before(struct store *store, const char *name, struct err *err)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "DELETE FROM _workers_secrets_before WHERE name = ?1 AND version <= (SELECT version - %d FROM"
             " _workers_secrets WHERE name = ?1)",
             BEFORE_MAX);
    enum err_code code = db_run(store->db, err,
                                "INSERT INTO _workers_secrets_before(name, version, sealed, created_at, "
                                "is_public) SELECT name, version, sealed,"
                                " created_at, is_public FROM _workers_secrets WHERE name = ?1",
                                name, NULL);
    return code == ERR_NONE ? db_run(store->db, err, sql, name, NULL) : code;
}

static enum err_code put(struct store *store, const char *name, const char *value, size_t len,
                         struct err *err)
{
    struct db_stmt *stmt = NULL;
    struct buf sealed;
    buf_init(&sealed, BUF_UNLIMITED);
    enum err_code code = vault_seal(store, name, value, len, &sealed, err);
    if (code == ERR_NONE)
        code = keep_before(store, name, err);
    if (code == ERR_NONE)
        code = store_prepare(
            store, &stmt,
            "INSERT INTO _workers_secrets(name, sealed, created_at) VALUES(?1, ?2, ?3) ON CONFLICT(name) DO"
            " UPDATE SET sealed = excluded.sealed, created_at = excluded.created_at, version = version + 1",
            err);
    if (code == ERR_NONE) {
        bind_str(stmt, 1, name);
        DRIVER(store)->bind_blob(stmt, 2, sealed.data, sealed.len);
        DRIVER(store)->bind_integer(stmt, 3, clock_now_ms());
        code = store_step(store, stmt, err);
        DRIVER(store)->finalize(stmt);
    }
    buf_free(&sealed);
    return code == ERR_NONE ? secrets_changed(store, err) : code;
}

enum err_code store_secret_set(struct store *store, const char *name, const char *value, size_t len,
                               enum secret_change *change, struct err *err)
{
    enum err_code code = store_secret_compare(store, name, value, len, change, err);
    return code == ERR_NONE && *change != SECRET_UNCHANGED ? put(store, name, value, len, err) : code;
}

enum err_code store_secret_publish(struct store *store, const char *name, bool is_public, struct err *err)
{
    enum err_code code = db_run(store->db, err,
                                "UPDATE _workers_secrets SET is_public = CAST(?2 AS INTEGER) WHERE"
                                " name = ?1",
                                name, is_public ? "1" : "0", NULL);
    return code == ERR_NONE ? secrets_changed(store, err) : code;
}

enum err_code store_secret_unset(struct store *store, const char *name, bool *existed, struct err *err)
{
    enum err_code code = db_run(store->db, err, "DELETE FROM _workers_secrets WHERE name = ?1", name, NULL);
    *existed = code == ERR_NONE && DRIVER(store)->changes(store->db) > 0;
    if (code == ERR_NONE)
        code = db_run(store->db, err, "DELETE FROM _workers_secrets_before WHERE name = ?1", name, NULL);
    return code == ERR_NONE && *existed ? secrets_changed(store, err) : code;
}

enum err_code store_secret_restore(struct store *store, const char *name, int64_t version, struct err *err)
{
    struct db_stmt *stmt = NULL;
    char *value = NULL;
    size_t len = 0;
    enum secret_change change;
    enum err_code code =
        store_prepare(store, &stmt,
                      "SELECT sealed FROM _workers_secrets_before WHERE name = ?1 AND version = ?2 UNION ALL"
                      " SELECT sealed FROM _workers_secrets WHERE name = ?1 AND version = ?2",
                      err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, name);
    DRIVER(store)->bind_integer(stmt, 2, version);
    enum db_step step = DRIVER(store)->step(stmt, err);
    if (step == DB_FAILED)
        code = err->code;
    else if (step == DB_DONE)
        code =
            err_set(err, ERR_NOT_FOUND, "there is no version %lld of %s: workers env versions %s shows them",
                    (long long)version, name, name);
    else
        code = open_column(store, stmt, 0, name, &value, &len, err);
    DRIVER(store)->finalize(stmt);
    if (code == ERR_NONE)
        code = store_secret_set(store, name, value, len, &change, err);
    crypto_free(value, len);
    return code;
}

/* ---- reading ---- */

static enum err_code each_row(struct store *store, struct db_stmt *stmt, bool reveal, secret_fn each,
                              void *ctx, struct err *err)
{
    struct secret_info info = {0};
    char *value = NULL;
    size_t len = 0;
    char *name = column_copy(stmt, 0);
    if (name == NULL)
        return err_nomem(err);
    info.name = name;
    info.version = DRIVER(store)->column_integer(stmt, 2);
    info.created_ms = DRIVER(store)->column_integer(stmt, 3);
    info.current = DRIVER(store)->column_integer(stmt, 4) != 0;
    info.is_public = DRIVER(store)->column_integer(stmt, 5) != 0;
    enum err_code code = reveal ? open_column(store, stmt, 1, name, &value, &len, err) : ERR_NONE;
    if (code == ERR_NONE)
        code = each(ctx, &info, value, len);
    crypto_free(value, len);
    mem_free(name);
    return code;
}

enum err_code store_secrets_each(struct store *store, const struct secret_query *query, secret_fn each,
                                 void *ctx, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt,
        query->versions
            ? "SELECT name, sealed, version, created_at, 1, is_public FROM _workers_secrets WHERE ?1 IS NULL "
              "OR name ="
              " ?1 UNION ALL SELECT name, sealed, version, created_at, 0, is_public FROM "
              "_workers_secrets_before WHERE"
              " ?1 IS NULL OR name = ?1 ORDER BY name, version DESC"
            : "SELECT name, sealed, version, created_at, 1, is_public FROM _workers_secrets WHERE ?1 IS NULL "
              "OR name ="
              " ?1 ORDER BY name",
        err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, query->name);
    enum db_step step = DB_DONE;
    struct err damaged = {.code = ERR_NONE};
    while (code == ERR_NONE && (step = DRIVER(store)->step(stmt, err)) == DB_ROW) {
        code = each_row(store, stmt, query->reveal, each, ctx, err);
        if (code != ERR_CORRUPT)
            continue;
        damaged = *err; /* the others are good all the same */
        code = ERR_NONE;
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    DRIVER(store)->finalize(stmt);
    if (code == ERR_NONE && damaged.code != ERR_NONE) {
        *err = damaged;
        code = damaged.code;
    }
    return code;
}
