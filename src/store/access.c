/* Requests for access by OAuth that people have not answered yet: what is needed when they have, sealed, for
 * a while, and used once, whichever process they come back to. Must not put any of it into a message. */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/id.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define PLAIN_MAX ((size_t)64 * 1024)
#define WAITING_MAX 100
#define KEPT_MS ((int64_t)60 * 60 * 1000) /* after its end somebody may still ask how it went */
#define ASKING_MS 30000                   /* longer than a provider is waited for */
#define LABEL_SIZE (STORE_ID_SIZE + 16)

static const char *const standings[] = {"waiting", "given", "refused", "expired"};

const char *access_standing_name(enum access_standing standing)
{
    return standings[standing];
}

void access_request_free(struct access_request *request)
{
    char *texts[] = {request->verifier, request->redirect_url, request->device_code};
    for (int i = 0; i < 3; i++)
        crypto_free(texts[i], texts[i] != NULL ? strlen(texts[i]) : 0);
    *request = (struct access_request){0};
}

/* ---- sealing ---- */

/* What is sealed as a request opens as nothing else. */
static const char *label_of(const char *id, char out[LABEL_SIZE])
{
    snprintf(out, LABEL_SIZE, "access request %s", id);
    return out;
}

static enum err_code seal(struct store *store, const struct access_request *request, struct buf *sealed,
                          struct err *err)
{
    char label[LABEL_SIZE];
    struct buf plain;
    buf_init(&plain, PLAIN_MAX);
    buf_addc(&plain, '{');
    enum err_code code = json_write_member(&plain, "verifier", request->verifier, err);
    if (code == ERR_NONE)
        code = json_write_member(&plain, "redirectUrl", request->redirect_url, err);
    if (code == ERR_NONE)
        code = json_write_member(&plain, "deviceCode", request->device_code, err);
    buf_addc(&plain, '}');
    if (code == ERR_NONE)
        code = buf_status(&plain, "the request for access", err);
    if (code == ERR_NONE)
        code = vault_seal(store, label_of(request->id, label), plain.data, plain.len, sealed, err);
    buf_wipe(&plain);
    return code;
}

static enum err_code unseal(struct store *store, const char *sealed, size_t len, struct access_request *out,
                            struct err *err)
{
    char label[LABEL_SIZE];
    char *plain = NULL;
    size_t plain_len = 0;
    enum err_code code = vault_open(store, label_of(out->id, label), sealed, len, &plain, &plain_len, err);
    if (code == ERR_CORRUPT)
        err_set(err, code,
                "the request for access was sealed with another key, or is damaged: workers oauth start %s",
                out->key);
    if (code == ERR_NONE) {
        out->verifier = json_find_copy(plain, plain_len, "verifier");
        out->redirect_url = json_find_copy(plain, plain_len, "redirectUrl");
        out->device_code = json_find_copy(plain, plain_len, "deviceCode");
        if (out->device_code == NULL && (out->verifier == NULL || out->redirect_url == NULL))
            code = err_nomem(err);
    }
    crypto_free(plain, plain_len);
    return code;
}

/* ---- adding ---- */

/* Runs a statement with the numbers as ?1 and ?2. */
static enum err_code run_numbers(struct store *store, const char *sql, int64_t first, int64_t second,
                                 struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(store, &stmt, sql, err);
    if (code != ERR_NONE)
        return code;
    DRIVER(store)->bind_integer(stmt, 1, first);
    DRIVER(store)->bind_integer(stmt, 2, second);
    code = store_step(store, stmt, err);
    DRIVER(store)->finalize(stmt);
    return code;
}

static enum err_code insert(struct store *store, const struct access_request *request, const char *digest,
                            const struct buf *sealed, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(store, &stmt,
                                       "INSERT INTO _workers_access(id, key, digest, sealed, state, interval,"
                                       " ask_at, expires_at) VALUES(?1, ?2, ?3, ?4, 'waiting', ?5, ?6, ?7)",
                                       err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, request->id);
    bind_str(stmt, 2, request->key);
    bind_str(stmt, 3, digest);
    driver->bind_blob(stmt, 4, sealed->data, sealed->len);
    driver->bind_integer(stmt, 5, request->interval_ms);
    driver->bind_integer(stmt, 6, clock_now_ms() + request->interval_ms);
    driver->bind_integer(stmt, 7, request->expires_ms);
    code = store_step(store, stmt, err);
    driver->finalize(stmt);
    return code;
}

enum err_code store_access_add(struct store *store, struct access_request *request, const char *state,
                               struct err *err)
{
    char digest[TOKEN_DIGEST_SIZE];
    struct buf sealed;
    buf_init(&sealed, 2 * PLAIN_MAX);
    enum err_code code = id_uuid7(request->id, err);
    if (code == ERR_NONE && state != NULL)
        code = token_digest(state, strlen(state), digest, err);
    if (code == ERR_NONE)
        code = store_begin(store, true, err);
    if (code == ERR_NONE) {
        code = seal(store, request, &sealed, err);
        if (code == ERR_NONE)
            code =
                run_numbers(store,
                            "DELETE FROM _workers_access WHERE expires_at < ?1 OR id IN (SELECT id FROM"
                            " _workers_access WHERE state = 'waiting' ORDER BY id DESC LIMIT -1 OFFSET ?2)",
                            clock_now_ms() - KEPT_MS, WAITING_MAX - 1, err);
        if (code == ERR_NONE)
            code = insert(store, request, state != NULL ? digest : NULL, &sealed, err);
        code = store_finish(store, code, err);
    }
    buf_free(&sealed);
    return code;
}

/* ---- somebody comes back ---- */

/* Reads id, key and what is sealed of the row at hand. */
static enum err_code read_request(struct store *store, struct db_stmt *stmt, struct access_request *out,
                                  struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    size_t len = 0;
    snprintf(out->id, sizeof out->id, "%s", driver->column_text(stmt, 0, &len));
    snprintf(out->key, sizeof out->key, "%s", driver->column_text(stmt, 1, &len));
    const char *sealed = driver->column_text(stmt, 2, &len);
    return unseal(store, sealed, len, out, err);
}

/* Every one that waits is compared, in full: how long it takes says nothing of any. */
static enum err_code find_state(struct store *store, const char *digest, struct access_request *out,
                                bool *found, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(store, &stmt,
                                       "SELECT id, key, sealed, digest FROM _workers_access WHERE state ="
                                       " 'waiting' AND digest IS NOT NULL AND expires_at > ?1",
                                       err);
    *found = false;
    if (code != ERR_NONE)
        return code;
    driver->bind_integer(stmt, 1, clock_now_ms());
    enum db_step step = DB_DONE;
    while (code == ERR_NONE && (step = driver->step(stmt, err)) == DB_ROW) {
        size_t len = 0;
        const char *own = driver->column_text(stmt, 3, &len);
        if (len != TOKEN_DIGEST_SIZE - 1 || !crypto_equal(own, digest, len))
            continue;
        *found = true;
        code = read_request(store, stmt, out, err);
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    driver->finalize(stmt);
    return code;
}

enum err_code store_access_take(struct store *store, const char *state, struct access_request *out,
                                struct err *err)
{
    char digest[TOKEN_DIGEST_SIZE];
    bool found = false;
    *out = (struct access_request){0};
    enum err_code code = token_digest(state, strlen(state), digest, err);
    if (code == ERR_NONE)
        code = find_state(store, digest, out, &found, err);
    if (code == ERR_NONE && found)
        code = store_begin(store, true, err);
    if (code == ERR_NONE && found) {
        code = db_run(store->db, err,
                      "UPDATE _workers_access SET state = 'taken', sealed = NULL, digest = NULL WHERE id = ?1"
                      " AND state = 'waiting'",
                      out->id, NULL);
        found = code == ERR_NONE && DRIVER(store)->changes(store->db) == 1;
        code = store_finish(store, code, err);
    }
    if (code == ERR_NONE && !found)
        code = err_set(err, ERR_NOT_FOUND, "nobody waits for this answer any more");
    if (code != ERR_NONE)
        access_request_free(out);
    return code;
}

/* ---- how it stands ---- */

static enum err_code read_look(struct store *store, const char *key, const char *id, struct access_look *out,
                               struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = NULL;
    int64_t now = clock_now_ms();
    size_t len = 0;
    enum err_code code = store_prepare(store, &stmt,
                                       "SELECT id, key, sealed, state, error, interval, ask_at, expires_at"
                                       " FROM _workers_access WHERE id = ?1 AND key = ?2",
                                       err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, id);
    bind_str(stmt, 2, key);
    enum db_step step = driver->step(stmt, err);
    if (step == DB_FAILED) {
        code = err->code;
    } else if (step != DB_ROW) {
        code = err_set(err, ERR_NOT_FOUND, "there is no request \"%.40s\" for access to \"%s\"", id, key);
    } else {
        const char *state = driver->column_text(stmt, 3, &len), *error = driver->column_text(stmt, 4, &len);
        snprintf(out->error, sizeof out->error, "%s", error != NULL ? error : "");
        out->request.interval_ms = driver->column_integer(stmt, 5);
        out->request.expires_ms = driver->column_integer(stmt, 7);
        out->standing = strcmp(state, "given") == 0      ? ACCESS_GIVEN
                        : strcmp(state, "refused") == 0  ? ACCESS_REFUSED
                        : out->request.expires_ms <= now ? ACCESS_EXPIRED
                                                         : ACCESS_WAITING;
        if (out->standing == ACCESS_WAITING && strcmp(state, "waiting") == 0) {
            code = read_request(store, stmt, &out->request, err);
            out->ask = out->request.device_code != NULL && driver->column_integer(stmt, 6) <= now;
        }
    }
    driver->finalize(stmt);
    return code;
}

static enum err_code set_ask_at(struct store *store, const char *id, int64_t interval_ms, int64_t wait_ms,
                                struct err *err)
{
    char interval[24], at[24];
    snprintf(interval, sizeof interval, "%lld", (long long)interval_ms);
    snprintf(at, sizeof at, "%lld", (long long)(clock_now_ms() + wait_ms));
    return db_run(store->db, err,
                  "UPDATE _workers_access SET interval = CAST(?2 AS INTEGER), ask_at = CAST(?3 AS INTEGER)"
                  " WHERE id = ?1 AND state = 'waiting'",
                  id, interval, at, NULL);
}

enum err_code store_access_look(struct store *store, const char *key, const char *id, struct access_look *out,
                                struct err *err)
{
    *out = (struct access_look){0};
    enum err_code code = store_begin(store, false, err);
    if (code != ERR_NONE)
        return code;
    code = read_look(store, key, id, out, err);
    if (code == ERR_NONE && out->ask)
        code = set_ask_at(store, id, out->request.interval_ms, ASKING_MS, err);
    code = store_finish(store, code, err);
    if (code != ERR_NONE || !out->ask) {
        const int64_t expires_ms = out->request.expires_ms, interval_ms = out->request.interval_ms;
        access_request_free(&out->request);
        out->request.expires_ms = expires_ms;
        out->request.interval_ms = interval_ms;
        out->ask = false;
    }
    return code;
}

enum err_code store_access_later(struct store *store, const char *id, int64_t interval_ms, struct err *err)
{
    return set_ask_at(store, id, interval_ms, interval_ms, err);
}

enum err_code store_access_end(struct store *store, const char *id, const char *error, struct err *err)
{
    return db_run(store->db, err,
                  "UPDATE _workers_access SET state = CASE WHEN ?2 IS NULL THEN 'given' ELSE 'refused' END,"
                  " error = ?2, sealed = NULL, digest = NULL WHERE id = ?1 AND state IN ('waiting', 'taken')",
                  id, error, NULL);
}
