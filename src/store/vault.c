/* The key file, and what is sealed with it: secrets, grants, addresses of webhooks. The store knows its key
 * by a check value, so that neither a key that is lost nor a wrong one is replaced by another without being
 * asked.
 *
 * Whoever seals is inside a write transaction and reads the file there: so is a rotation, and nothing can be
 * sealed with a key that is about to go. Must not put a value into any message. */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_BYTES CRYPTO_KEY_SIZE
#define KEYS_MAX 2 /* while a rotation is under way: the new one, then the one before */
#define CHECK_SIZE 33
#define CHECK_NAME "key_check"

struct key_file {
    uint8_t keys[KEYS_MAX][KEY_BYTES];
    size_t count;
};

/* ---- the file ---- */

static enum err_code read_file(const char *path, struct key_file *out, struct err *err)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot read %s: %s", path,
                       strerror(errno));
    enum err_code code = ERR_NONE;
    ssize_t len = 0;
    if (fstat(fd, &status) != 0 || (status.st_mode & 077) != 0)
        code = err_set(err, ERR_INVALID, "%s can be read by others: chmod 600 %s", path, path);
    else
        len = read(fd, out->keys, sizeof out->keys);
    if (code == ERR_NONE && (len <= 0 || len % KEY_BYTES != 0 || status.st_size != len))
        code = err_set(err, ERR_DENIED,
                       "%s is not a key of %d bytes; what it sealed cannot be read without it: put it back "
                       "from a backup, or see workers env rotate-key --help",
                       path, KEY_BYTES);
    out->count = code == ERR_NONE ? (size_t)len / KEY_BYTES : 0;
    close(fd);
    return code;
}

static bool sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return synced;
}

/* The file appears whole or not at all: it is written beside and put into place. */
static enum err_code write_file(const struct store *store, const struct key_file *file, bool replace,
                                struct err *err)
{
    char path[PATH_MAX], beside[PATH_MAX + 16];
    size_t len = file->count * KEY_BYTES;
    snprintf(path, sizeof path, "%s/key", store->folder);
    snprintf(beside, sizeof beside, "%s.%ld", path, (long)getpid());
    enum err_code code = ERR_NONE;
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, file->keys, len) != (ssize_t)len || fsync(fd) != 0)
        code = err_set(err, ERR_IO, "cannot write %s: %s", beside, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (code == ERR_NONE && (replace ? rename(beside, path) : link(beside, path)) != 0)
        code = err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    if (code == ERR_NONE && !sync_folder(store->folder))
        code = err_set(err, ERR_IO, "cannot write %s: %s", store->folder, strerror(errno));
    unlink(beside); /* after a rename it is gone already */
    return code;
}

/* ---- which key ---- */

static enum err_code check_of(const uint8_t key[KEY_BYTES], char out[CHECK_SIZE], struct err *err)
{
    static const char text[] = "check";
    uint8_t digest[CRYPTO_DIGEST_MAX];
    size_t len = 0;
    enum err_code code = crypto_hmac("sha256", key, KEY_BYTES, text, sizeof text - 1, digest, &len, err);
    if (code == ERR_NONE)
        crypto_encode(CRYPTO_HEX, digest, (CHECK_SIZE - 1) / 2, out);
    return code;
}

/* Empty when nothing was sealed yet. */
static enum err_code read_check(struct store *store, char out[CHECK_SIZE], struct err *err)
{
    struct db_stmt *stmt = NULL;
    out[0] = '\0';
    enum err_code code =
        store_prepare(store, &stmt, "SELECT value FROM _workers_meta WHERE name = '" CHECK_NAME "'", err);
    if (code != ERR_NONE)
        return code;
    enum db_step step = DRIVER(store)->step(stmt, err);
    size_t len = 0;
    if (step == DB_ROW)
        snprintf(out, CHECK_SIZE, "%s", DRIVER(store)->column_text(stmt, 0, &len));
    DRIVER(store)->finalize(stmt);
    return step == DB_FAILED ? err->code : ERR_NONE;
}

static enum err_code write_check(struct store *store, const uint8_t key[KEY_BYTES], struct err *err)
{
    char check[CHECK_SIZE];
    enum err_code code = check_of(key, check, err);
    return code != ERR_NONE ? code
                            : db_run(store->db, err,
                                     "INSERT INTO _workers_meta(name, value) VALUES('" CHECK_NAME
                                     "', ?1) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
                                     check, NULL);
}

/* Of stores that were made before there was a check. */
static enum err_code is_sealed(struct store *store, bool *out, struct err *err)
{
    int64_t count = 0;
    enum err_code code = db_integer(store->db,
                                    "SELECT (SELECT count(*) FROM _workers_secrets) +"
                                    " (SELECT count(*) FROM _workers_grants WHERE sealed IS NOT NULL)",
                                    0, &count, err);
    *out = count > 0;
    return code;
}

static enum err_code pick(const struct store *store, const struct key_file *file, const char *check,
                          uint8_t key[KEY_BYTES], struct err *err)
{
    /* Of a store that has no check yet, the one before is it: a rotation would have written one. */
    memcpy(key, file->keys[file->count - 1], KEY_BYTES);
    if (check[0] == '\0')
        return ERR_NONE;
    for (size_t i = 0; i < file->count; i++) {
        char own[CHECK_SIZE];
        enum err_code code = check_of(file->keys[i], own, err);
        if (code != ERR_NONE)
            return code;
        memcpy(key, file->keys[i], KEY_BYTES);
        if (strcmp(own, check) == 0)
            return ERR_NONE;
    }
    crypto_wipe(key, KEY_BYTES);
    return err_set(
        err, ERR_DENIED,
        "%s/key is another key than the one that sealed the secrets of this store: put that one back "
        "from a backup, or see workers env rotate-key --help",
        store->folder);
}

static enum err_code make(struct store *store, uint8_t key[KEY_BYTES], struct err *err)
{
    struct key_file file = {.count = 1};
    enum err_code code = crypto_random(file.keys[0], KEY_BYTES, err);
    if (code == ERR_NONE)
        code = write_file(store, &file, false, err);
    if (code == ERR_NONE)
        memcpy(key, file.keys[0], KEY_BYTES);
    crypto_wipe(&file, sizeof file);
    return code;
}

/* sealing: the key is made when nothing was sealed yet, and the store learns its check. */
static enum err_code load(struct store *store, bool sealing, uint8_t key[KEY_BYTES], struct err *err)
{
    char path[PATH_MAX], check[CHECK_SIZE];
    struct key_file file = {0};
    bool sealed = false;
    if (store->folder == NULL)
        return err_set(err, ERR_INVALID, "a store in memory has no key");
    snprintf(path, sizeof path, "%s/key", store->folder);
    enum err_code code = read_check(store, check, err);
    if (code == ERR_NONE && check[0] == '\0')
        code = is_sealed(store, &sealed, err);
    if (code != ERR_NONE)
        return code;
    code = read_file(path, &file, err);
    if (code == ERR_NONE)
        code = pick(store, &file, check, key, err);
    else if (code == ERR_NOT_FOUND && sealing && check[0] == '\0' && !sealed)
        code = make(store, key, err);
    else if (code == ERR_NOT_FOUND)
        err_set(err, code,
                "%s is missing; what it sealed cannot be read without it: put it back from a backup, or see "
                "workers env rotate-key --help",
                path);
    crypto_wipe(&file, sizeof file);
    if (code == ERR_NONE && sealing && check[0] == '\0')
        code = write_check(store, key, err);
    if (code != ERR_NONE)
        crypto_wipe(key, KEY_BYTES);
    return code;
}

/* ---- sealing ---- */

static enum err_code seal_with(const uint8_t key[KEY_BYTES], const char *name, const char *plain, size_t len,
                               struct buf *out, struct err *err)
{
    char *room = buf_reserve(out, len + CRYPTO_SEAL_OVERHEAD);
    if (room == NULL)
        return err_nomem(err);
    enum err_code code = crypto_seal(key, name, strlen(name), plain, len, (uint8_t *)room, err);
    if (code == ERR_NONE)
        out->len += len + CRYPTO_SEAL_OVERHEAD;
    return code;
}

static enum err_code open_with(const uint8_t key[KEY_BYTES], const char *name, const char *sealed, size_t len,
                               char **plain, size_t *plain_len, struct err *err)
{
    *plain = NULL;
    if (sealed == NULL || len < CRYPTO_SEAL_OVERHEAD)
        return err_set(err, ERR_CORRUPT, "it is damaged");
    *plain_len = len - CRYPTO_SEAL_OVERHEAD;
    *plain = mem_zalloc(*plain_len + 1);
    if (*plain == NULL)
        return err_nomem(err);
    enum err_code code = crypto_open(key, name, strlen(name), sealed, len, (uint8_t *)*plain, err);
    if (code != ERR_NONE) {
        mem_free(*plain);
        *plain = NULL;
    }
    return code;
}

/* Opens everything that is a variable; names the first that cannot be. */
static enum err_code open_all(struct store *store, const uint8_t key[KEY_BYTES], int64_t *count,
                              struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(store, &stmt, "SELECT name, sealed FROM _workers_secrets", err);
    if (code != ERR_NONE)
        return code;
    const struct db_driver *driver = DRIVER(store);
    enum db_step step = DB_DONE;
    while (code == ERR_NONE && (step = driver->step(stmt, err)) == DB_ROW) {
        size_t len = 0, plain_len = 0;
        char *plain = NULL, *name = column_copy(stmt, 0);
        const char *sealed = driver->column_text(stmt, 1, &len);
        code = name != NULL ? open_with(key, name, sealed, len, &plain, &plain_len, err) : err_nomem(err);
        if (code == ERR_CORRUPT)
            err_set(err, code, "%s cannot be opened: set it again with workers env set %s", name, name);
        if (plain != NULL)
            crypto_free(plain, plain_len);
        mem_free(name);
        (*count)++;
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    driver->finalize(stmt);
    return code;
}

enum err_code store_vault_check(struct store *store, int64_t *count, struct err *err)
{
    char check[CHECK_SIZE];
    uint8_t key[KEY_BYTES];
    bool sealed = false;
    *count = 0;
    enum err_code code = read_check(store, check, err);
    if (code == ERR_NONE && check[0] == '\0')
        code = is_sealed(store, &sealed, err);
    if (code != ERR_NONE || (check[0] == '\0' && !sealed))
        return code;
    code = load(store, false, key, err);
    if (code == ERR_NONE)
        code = open_all(store, key, count, err);
    crypto_wipe(key, sizeof key);
    return code;
}

enum err_code vault_seal(struct store *store, const char *name, const char *plain, size_t len,
                         struct buf *out, struct err *err)
{
    uint8_t key[KEY_BYTES];
    enum err_code code = load(store, true, key, err);
    if (code == ERR_NONE)
        code = seal_with(key, name, plain, len, out, err);
    crypto_wipe(key, sizeof key);
    return code;
}

enum err_code vault_open(struct store *store, const char *name, const char *sealed, size_t len, char **plain,
                         size_t *plain_len, struct err *err)
{
    uint8_t key[KEY_BYTES];
    *plain = NULL;
    enum err_code code = load(store, false, key, err);
    if (code == ERR_NONE)
        code = open_with(key, name, sealed, len, plain, plain_len, err);
    crypto_wipe(key, sizeof key);
    return code;
}

enum err_code vault_derive(struct store *store, const char *text, uint8_t out[CRYPTO_DIGEST_MAX],
                           struct err *err)
{
    uint8_t key[KEY_BYTES];
    size_t len = 0;
    enum err_code code = load(store, true, key, err);
    if (code == ERR_NONE)
        code = crypto_hmac("sha256", key, sizeof key, text, strlen(text), out, &len, err);
    crypto_wipe(key, sizeof key);
    return code;
}

/* ---- another key ---- */

/* The tables with something sealed: what identifies a row, the name that it was sealed under, and what
 * happens to what cannot be opened. */
static const struct sealed_table {
    const char *read, *write, *forget, *shown;
} sealed_tables[] = {
    {"SELECT name, 0, sealed, name FROM _workers_secrets",
     "UPDATE _workers_secrets SET sealed = ?3 WHERE name = ?1 AND ?2 = 0",
     "DELETE FROM _workers_secrets WHERE name = ?1 AND ?2 = 0", "variable"},
    {"SELECT name, version, sealed, name FROM _workers_secrets_before",
     "UPDATE _workers_secrets_before SET sealed = ?3 WHERE name = ?1 AND version = ?2",
     "DELETE FROM _workers_secrets_before WHERE name = ?1 AND version = ?2", NULL},
    {"SELECT key, 0, sealed, key FROM _workers_grants WHERE sealed IS NOT NULL",
     "UPDATE _workers_grants SET sealed = ?3 WHERE key = ?1 AND ?2 = 0",
     "DELETE FROM _workers_grants WHERE key = ?1 AND ?2 = 0", "grant"},
    {"SELECT id, 0, sealed, 'access request ' || id FROM _workers_access WHERE sealed IS NOT NULL",
     "UPDATE _workers_access SET sealed = ?3 WHERE id = ?1 AND ?2 = 0",
     "DELETE FROM _workers_access WHERE id = ?1 AND ?2 = 0", NULL},
    {"SELECT key, 0, sealed, 'webhook ' || key FROM _workers_endpoints WHERE sealed IS NOT NULL",
     "UPDATE _workers_endpoints SET sealed = ?3 WHERE key = ?1 AND ?2 = 0",
     "UPDATE _workers_endpoints SET sealed = NULL, generation = generation + 1 WHERE key = ?1 AND ?2 = 0",
     "webhook"},
};

struct rotation {
    struct store *store;
    uint8_t before[KEY_BYTES], after[KEY_BYTES];
    bool has_before; /* otherwise everything is forgotten */
    struct key_rotation *told;
};

static enum err_code change_row(const struct rotation *rotation, const char *sql, const char *id,
                                int64_t version, const struct buf *sealed, struct err *err)
{
    struct store *store = rotation->store;
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(store, &stmt, sql, err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, id);
    DRIVER(store)->bind_integer(stmt, 2, version);
    if (sealed != NULL)
        DRIVER(store)->bind_blob(stmt, 3, sealed->data, sealed->len);
    code = store_step(store, stmt, err);
    DRIVER(store)->finalize(stmt);
    return code;
}

static enum err_code rotate_row(const struct rotation *rotation, const struct sealed_table *table,
                                struct db_stmt *row, struct err *err)
{
    const struct db_driver *driver = DRIVER(rotation->store);
    size_t len = 0, plain_len = 0, ignored = 0;
    char *plain = NULL;
    struct buf sealed;
    const char *text = driver->column_text(row, 2, &len);
    const char *id = driver->column_text(row, 0, &ignored), *name = driver->column_text(row, 3, &ignored);
    int64_t version = driver->column_integer(row, 1);
    buf_init(&sealed, BUF_UNLIMITED);
    enum err_code code = rotation->has_before
                             ? open_with(rotation->before, name, text, len, &plain, &plain_len, err)
                             : ERR_CORRUPT;
    if (code == ERR_NONE)
        code = seal_with(rotation->after, name, plain, plain_len, &sealed, err);
    crypto_free(plain, plain_len);
    if (code == ERR_NONE) {
        code = change_row(rotation, table->write, id, version, &sealed, err);
        rotation->told->sealed += table->shown != NULL;
    } else if (code == ERR_CORRUPT && (rotation->told->forget || table->shown == NULL)) {
        if (table->shown != NULL)
            buf_addf(&rotation->told->forgotten, "%s %s\n", table->shown, id);
        code = change_row(rotation, table->forget, id, version, NULL, err);
    } else if (code == ERR_CORRUPT) {
        err_set(err, code, "the %s %s was sealed with another key or is damaged: set it again, then rotate",
                table->shown, id);
    }
    buf_free(&sealed);
    return code;
}

/* The rows are read first as far as their ids go: a statement that reads a table does not change it. */
static enum err_code rotate_table(const struct rotation *rotation, const struct sealed_table *table,
                                  struct err *err)
{
    struct store *store = rotation->store;
    struct db_stmt *stmt = NULL;
    char sql[256];
    snprintf(sql, sizeof sql, "CREATE TEMP TABLE _workers_sealed AS %s", table->read);
    enum err_code code = DRIVER(store)->exec(store->db, sql, err);
    if (code == ERR_NONE)
        code = store_prepare(store, &stmt, "SELECT * FROM _workers_sealed", err);
    enum db_step step = DB_DONE;
    while (code == ERR_NONE && (step = DRIVER(store)->step(stmt, err)) == DB_ROW)
        code = rotate_row(rotation, table, stmt, err);
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    if (stmt != NULL)
        DRIVER(store)->finalize(stmt);
    return code == ERR_NONE ? DRIVER(store)->exec(store->db, "DROP TABLE _workers_sealed", err) : code;
}

static enum err_code rotate_all(const struct rotation *rotation, struct err *err)
{
    enum err_code code = ERR_NONE;
    for (size_t i = 0; i < sizeof sealed_tables / sizeof sealed_tables[0] && code == ERR_NONE; i++)
        code = rotate_table(rotation, &sealed_tables[i], err);
    if (code == ERR_NONE)
        code = write_check(rotation->store, rotation->after, err);
    return code == ERR_NONE ? secrets_changed(rotation->store, err) : code;
}

/* A key that cannot be used stays beside the new one: it may be somebody's. */
static enum err_code put_aside(const struct store *store, struct err *err)
{
    char path[PATH_MAX], aside[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/key", store->folder);
    snprintf(aside, sizeof aside, "%s.%lld", path, (long long)clock_now_ms());
    if (link(path, aside) != 0 && errno != ENOENT)
        return err_set(err, ERR_IO, "cannot write %s: %s", aside, strerror(errno));
    return ERR_NONE;
}

/* Both keys lie in the file while the transaction commits: a crash on either side leaves the right one. */
static enum err_code rotate(struct rotation *rotation, struct err *err)
{
    struct key_file file = {.count = 1};
    memcpy(file.keys[0], rotation->after, KEY_BYTES);
    if (rotation->has_before)
        memcpy(file.keys[file.count++], rotation->before, KEY_BYTES);
    enum err_code code = rotation->has_before ? ERR_NONE : put_aside(rotation->store, err);
    if (code == ERR_NONE)
        code = write_file(rotation->store, &file, true, err);
    if (code == ERR_NONE)
        code = rotate_all(rotation, err);
    if (code == ERR_NONE)
        code = store_commit(rotation->store, err);
    else
        store_rollback(rotation->store);
    if (code == ERR_NONE && rotation->has_before) {
        struct err ignored; /* otherwise both stay in it until the next rotation */
        file.count = 1;
        (void)!write_file(rotation->store, &file, true, &ignored);
    }
    crypto_wipe(&file, sizeof file);
    return code;
}

enum err_code store_key_rotate(struct store *store, struct key_rotation *told, struct err *err)
{
    struct rotation rotation = {.store = store, .told = told};
    told->sealed = 0;
    enum err_code code = store_begin(store, true, err);
    if (code != ERR_NONE)
        return code;
    code = load(store, true, rotation.before, err);
    rotation.has_before = code == ERR_NONE;
    /* Lost, damaged or another one; not: there, and unreadable in this moment. */
    if (told->forget && (code == ERR_NOT_FOUND || code == ERR_DENIED))
        code = ERR_NONE;
    if (code == ERR_NONE)
        code = crypto_random(rotation.after, KEY_BYTES, err);
    if (code == ERR_NONE)
        code = rotate(&rotation, err);
    else
        store_rollback(store);
    crypto_wipe(rotation.before, KEY_BYTES);
    crypto_wipe(rotation.after, KEY_BYTES);
    return code;
}
