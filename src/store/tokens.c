/* Tokens of the API: kept as digests, for a token is as long as it is random. */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

#define TOKEN_BYTES 32

static const char *const scopes[] = {"read", "run", "admin"};

const char *token_scope_name(enum token_scope scope)
{
    return scopes[scope];
}

bool token_scope_parse(const char *text, enum token_scope *out)
{
    for (size_t i = 0; i < sizeof scopes / sizeof scopes[0]; i++) {
        *out = (enum token_scope)i;
        if (strcmp(text, scopes[i]) == 0)
            return true;
    }
    return false;
}

enum err_code token_digest(const char *token, size_t len, char out[TOKEN_DIGEST_SIZE], struct err *err)
{
    unsigned char digest[CRYPTO_DIGEST_MAX];
    size_t digest_len = 0;
    enum err_code code = crypto_digest("sha256", token, len, digest, &digest_len, err);
    for (size_t i = 0; i < digest_len && code == ERR_NONE; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return code;
}

/* A name is shown in tables and typed in commands. */
enum err_code token_name_check(const char *name, struct err *err)
{
    size_t len = strlen(name);
    bool good = len > 0 && len <= TOKEN_NAME_MAX && text_is_utf8(name, len, NULL);
    for (size_t i = 0; i < len && good; i++)
        good = (unsigned char)name[i] >= ' ' && name[i] != 0x7f;
    return good ? ERR_NONE
                : err_set(err, ERR_INVALID,
                          "a token needs a name of 1 to %d bytes of UTF-8 without control characters",
                          TOKEN_NAME_MAX);
}

enum err_code store_token_make(struct store *store, const char *name, enum token_scope scope,
                               char out[TOKEN_SIZE], struct err *err)
{
    unsigned char bytes[TOKEN_BYTES];
    char digest[TOKEN_DIGEST_SIZE], id[STORE_ID_SIZE];
    struct db_stmt *stmt = NULL;
    enum err_code code = token_name_check(name, err);
    if (code == ERR_NONE)
        code = crypto_random(bytes, sizeof bytes, err);
    if (code != ERR_NONE)
        return code;
    snprintf(out, TOKEN_SIZE, "workers_");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(out + 8 + 2 * i, 3, "%02x", bytes[i]);
    crypto_wipe(bytes, sizeof bytes);
    code = token_digest(out, strlen(out), digest, err);
    if (code == ERR_NONE)
        code = id_uuid7(id, err);
    if (code == ERR_NONE)
        code = store_prepare(
            store, &stmt,
            "INSERT INTO _workers_tokens(id, name, digest, scope, created_at) VALUES(?1, ?2, ?3,"
            " ?4, ?5)",
            err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, id);
    bind_str(stmt, 2, name);
    bind_str(stmt, 3, digest);
    bind_str(stmt, 4, scopes[scope]);
    DRIVER(store)->bind_integer(stmt, 5, clock_now_ms());
    code = store_step(store, stmt, err);
    if (code == ERR_CONFLICT)
        err_set(err, code, "there is a token \"%s\" already: revoke it first, or take another name", name);
    DRIVER(store)->finalize(stmt);
    return code;
}

enum err_code store_tokens_each(struct store *store, token_fn each, void *ctx, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt, "SELECT name, digest, scope, created_at FROM _workers_tokens ORDER BY name", err);
    if (code != ERR_NONE)
        return code;
    enum db_step step = DB_DONE;
    while (code == ERR_NONE && (step = driver->step(stmt, err)) == DB_ROW) {
        struct token_record record = {.created_ms = driver->column_integer(stmt, 3)};
        size_t len = 0;
        snprintf(record.name, sizeof record.name, "%s", driver->column_text(stmt, 0, &len));
        snprintf(record.digest, sizeof record.digest, "%s", driver->column_text(stmt, 1, &len));
        if (token_scope_parse(driver->column_text(stmt, 2, &len), &record.scope))
            code = each(ctx, &record);
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    driver->finalize(stmt);
    return code;
}

struct token_array {
    struct token_record *records;
    size_t count;
};

static enum err_code keep_token(void *ctx, const struct token_record *record)
{
    struct token_array *array = ctx;
    struct token_record *larger = mem_realloc(array->records, (array->count + 1) * sizeof *larger);
    if (larger == NULL)
        return ERR_NOMEM;
    array->records = larger;
    larger[array->count++] = *record;
    return ERR_NONE;
}

enum err_code store_tokens_read(struct store *store, struct token_record **out, size_t *count,
                                struct err *err)
{
    struct token_array array = {0};
    enum err_code code = store_tokens_each(store, keep_token, &array, err);
    if (code == ERR_NOMEM)
        err_nomem(err);
    if (code != ERR_NONE) {
        mem_free(array.records);
        array = (struct token_array){0};
    }
    *out = array.records;
    *count = array.count;
    return code;
}

bool token_find(const struct token_record *records, size_t count, const char *token, size_t len,
                enum token_scope *scope)
{
    char digest[TOKEN_DIGEST_SIZE];
    struct err ignored;
    bool found = false;
    if (token_digest(token, len, digest, &ignored) != ERR_NONE)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!crypto_equal(digest, records[i].digest, TOKEN_DIGEST_SIZE - 1))
            continue;
        *scope = records[i].scope;
        found = true;
    }
    return found;
}

enum err_code store_token_revoke(struct store *store, const char *name, bool *existed, struct err *err)
{
    enum err_code code = db_run(store->db, err, "DELETE FROM _workers_tokens WHERE name = ?1", name, NULL);
    *existed = code == ERR_NONE && DRIVER(store)->changes(store->db) > 0;
    return code;
}
