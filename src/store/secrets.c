/* Secrets, sealed at rest with the key in the project's key file. Must not put a value into any message. */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "worker/dotenv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_BYTES STORE_KEY_BYTES
#define SECRET_MAX ((size_t)256 * 1024)

static enum err_code read_key(const char *path, uint8_t key[KEY_BYTES], struct err *err)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot read %s: %s", path,
                       strerror(errno));
    enum err_code code = ERR_NONE;
    if (fstat(fd, &status) != 0 || (status.st_mode & 077) != 0)
        code = err_set(err, ERR_DENIED, "%s can be read by others: chmod 600 %s", path, path);
    else if (read(fd, key, KEY_BYTES) != KEY_BYTES)
        code = err_set(err, ERR_CORRUPT,
                       "%s is not a key of %d bytes; the secrets it sealed cannot be read without it", path,
                       KEY_BYTES);
    close(fd);
    return code;
}

/* The key file appears whole or not at all: it is written beside and linked into place. */
static enum err_code make_key(const char *path, uint8_t key[KEY_BYTES], struct err *err)
{
    char temporary[PATH_MAX + 16];
    snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
    enum err_code code = crypto_random(key, KEY_BYTES, err);
    if (code != ERR_NONE)
        return code;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, key, KEY_BYTES) != KEY_BYTES || fsync(fd) != 0)
        code = err_set(err, ERR_IO, "cannot write %s: %s", temporary, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (code == ERR_NONE && link(temporary, path) != 0)
        code = errno == EEXIST ? read_key(path, key, err)
                               : err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    unlink(temporary);
    return code;
}

static enum err_code load_key(struct store *store, bool create, uint8_t key[KEY_BYTES], struct err *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/key", store->folder);
    enum err_code code = read_key(path, key, err);
    if (code == ERR_NOT_FOUND && create)
        code = make_key(path, key, err);
    else if (code == ERR_NOT_FOUND)
        err_set(err, code, "%s is missing; the secrets it sealed cannot be read without it: set them again",
                path);
    return code;
}

enum err_code store_key(struct store *store, uint8_t key[STORE_KEY_BYTES], struct err *err)
{
    return load_key(store, true, key, err);
}

enum err_code store_key_read(struct store *store, uint8_t key[STORE_KEY_BYTES], struct err *err)
{
    return load_key(store, false, key, err);
}

enum err_code store_seal(struct store *store, const char *label, const char *plain, size_t len,
                         struct buf *sealed, struct err *err)
{
    uint8_t key[KEY_BYTES];
    enum err_code code = load_key(store, true, key, err);
    char *room = code == ERR_NONE ? buf_reserve(sealed, len + CRYPTO_SEAL_OVERHEAD) : NULL;
    if (code == ERR_NONE && room == NULL)
        code = err_nomem(err);
    if (code == ERR_NONE)
        code = crypto_seal(key, label, strlen(label), plain, len, (unsigned char *)room, err);
    if (code == ERR_NONE)
        sealed->len += len + CRYPTO_SEAL_OVERHEAD;
    crypto_wipe(key, sizeof key);
    return code;
}

enum err_code store_unseal(struct store *store, const char *label, const char *sealed, size_t len,
                           char **plain, size_t *plain_len, struct err *err)
{
    uint8_t key[KEY_BYTES];
    *plain = NULL;
    *plain_len = 0;
    if (sealed == NULL || len < CRYPTO_SEAL_OVERHEAD)
        return err_set(err, ERR_CORRUPT, "what is sealed is damaged");
    *plain_len = len - CRYPTO_SEAL_OVERHEAD;
    *plain = mem_zalloc(*plain_len + 1);
    if (*plain == NULL)
        return err_nomem(err);
    enum err_code code = load_key(store, false, key, err);
    if (code == ERR_NONE)
        code = crypto_open(key, label, strlen(label), sealed, len, (unsigned char *)*plain, err);
    crypto_wipe(key, sizeof key);
    return code;
}

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

enum err_code store_secret_set(struct store *store, const char *name, const char *value, size_t len,
                               struct err *err)
{
    uint8_t key[KEY_BYTES];
    struct db_stmt *stmt = NULL;
    if (store_secret_name(name, strlen(name), err) != ERR_NONE)
        return err->code;
    if (memchr(value, '\0', len) != NULL)
        return err_set(err, ERR_INVALID, "the value of %s contains a NUL byte", name);
    if (len > SECRET_MAX)
        return err_set(err, ERR_LIMIT, "the value of %s is larger than %zu KiB", name, SECRET_MAX / 1024);
    uint8_t *sealed = mem_alloc(len + CRYPTO_SEAL_OVERHEAD);
    if (sealed == NULL)
        return err_nomem(err);
    enum err_code code = load_key(store, true, key, err);
    if (code == ERR_NONE)
        code = crypto_seal(key, name, strlen(name), value, len, sealed, err);
    crypto_wipe(key, sizeof key);
    if (code == ERR_NONE)
        code = store_prepare(
            store, &stmt,
            "INSERT INTO _workers_secrets(name, sealed, created_at) VALUES(?1, ?2, ?3) ON CONFLICT(name) DO"
            " UPDATE SET sealed = excluded.sealed, created_at = excluded.created_at",
            err);
    if (code == ERR_NONE) {
        bind_str(stmt, 1, name);
        DRIVER(store)->bind_blob(stmt, 2, sealed, len + CRYPTO_SEAL_OVERHEAD);
        DRIVER(store)->bind_integer(stmt, 3, clock_now_ms());
        code = store_step(store, stmt, err);
        DRIVER(store)->finalize(stmt);
    }
    mem_free(sealed);
    return code;
}

enum err_code store_secret_unset(struct store *store, const char *name, bool *existed, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(store, &stmt, "DELETE FROM _workers_secrets WHERE name = ?1", err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, name);
    code = store_step(store, stmt, err);
    *existed = code == ERR_NONE && DRIVER(store)->changes(store->db) > 0;
    DRIVER(store)->finalize(stmt);
    return code;
}

static enum err_code open_one(const uint8_t key[KEY_BYTES], struct db_stmt *stmt, const char *name,
                              char **value, size_t *len, struct err *err)
{
    size_t sealed_len = 0;
    const char *sealed = stmt->db->driver->column_text(stmt, 1, &sealed_len);
    if (sealed == NULL || sealed_len < CRYPTO_SEAL_OVERHEAD)
        return err_set(err, ERR_CORRUPT, "the secret %s is damaged: set it again", name);
    *len = sealed_len - CRYPTO_SEAL_OVERHEAD;
    *value = mem_zalloc(*len + 1);
    if (*value == NULL)
        return err_nomem(err);
    enum err_code code =
        crypto_open(key, name, strlen(name), sealed, sealed_len, (unsigned char *)*value, err);
    if (code == ERR_CORRUPT)
        err_set(err, code, "the secret %s was sealed with another key or is damaged: set it again", name);
    return code;
}

enum err_code store_secrets_each(struct store *store, bool reveal, secret_fn each, void *ctx, struct err *err)
{
    uint8_t key[KEY_BYTES];
    bool have_key = false;
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt, "SELECT name, sealed, created_at FROM _workers_secrets ORDER BY name", err);
    if (code != ERR_NONE)
        return code;
    enum db_step step = DB_DONE;
    while (code == ERR_NONE && (step = DRIVER(store)->step(stmt, err)) == DB_ROW) {
        char *value = NULL;
        size_t len = 0;
        char *name = column_copy(stmt, 0);
        if (name == NULL)
            code = err_nomem(err);
        if (code == ERR_NONE && reveal && !have_key) {
            code = load_key(store, false, key, err);
            have_key = code == ERR_NONE;
        }
        if (code == ERR_NONE && reveal)
            code = open_one(key, stmt, name, &value, &len, err);
        if (code == ERR_NONE)
            code = each(ctx, name, DRIVER(store)->column_integer(stmt, 2), value, len);
        if (value != NULL)
            crypto_wipe(value, len);
        mem_free(value);
        mem_free(name);
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    crypto_wipe(key, sizeof key);
    DRIVER(store)->finalize(stmt);
    return code;
}
