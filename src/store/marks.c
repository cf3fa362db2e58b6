/* Marks: sets of row ids kept as bit maps in chunks, so that marking a row as seen costs next to nothing. */
#include "store/store_priv.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 1024
#define CHUNK_BITS ((int64_t)CHUNK_BYTES * 8)

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static enum err_code prepare(struct store *store, struct err *err)
{
    if (store->mark_get != NULL)
        return ERR_NONE;
    enum err_code code =
        store_prepare(store, &store->mark_get,
                      "SELECT bits FROM _workers_marks WHERE sync = ?1 AND database = ?2 AND kind = ?3 AND"
                      " chunk = ?4",
                      err);
    if (code == ERR_NONE)
        code = store_prepare(
            store, &store->mark_set,
            "INSERT INTO _workers_marks(sync, database, kind, chunk, bits) VALUES(?1, ?2, ?3, ?4, ?5)"
            " ON CONFLICT(sync, database, kind, chunk) DO UPDATE SET bits = excluded.bits",
            err);
    return code;
}

static void bind_chunk(struct db_stmt *stmt, const char *sync, const char *database, enum mark kind,
                       int64_t chunk)
{
    bind_str(stmt, 1, sync);
    bind_str(stmt, 2, database);
    stmt->db->driver->bind_integer(stmt, 3, kind);
    stmt->db->driver->bind_integer(stmt, 4, chunk);
}

/* Sets the bits of ids[0..count), which all lie in the chunk. */
static enum err_code set_in_chunk(struct store *store, const char *sync, const char *database, enum mark kind,
                                  int64_t chunk, const int64_t *ids, size_t count, struct err *err)
{
    uint8_t bits[CHUNK_BYTES] = {0};
    bind_chunk(store->mark_get, sync, database, kind, chunk);
    enum db_step step = DRIVER(store)->step(store->mark_get, err);
    if (step == DB_ROW) {
        size_t len = 0;
        const char *stored = DRIVER(store)->column_text(store->mark_get, 0, &len);
        if (stored != NULL)
            memcpy(bits, stored, len < sizeof bits ? len : sizeof bits);
    }
    DRIVER(store)->reset(store->mark_get);
    if (step == DB_FAILED)
        return err->code;
    bool changed = false;
    for (size_t i = 0; i < count; i++) {
        int64_t bit = ids[i] % CHUNK_BITS;
        uint8_t mask = (uint8_t)(1u << (bit % 8));
        changed = changed || (bits[bit / 8] & mask) == 0;
        bits[bit / 8] |= mask;
    }
    if (!changed)
        return ERR_NONE;
    bind_chunk(store->mark_set, sync, database, kind, chunk);
    DRIVER(store)->bind_blob(store->mark_set, 5, bits, sizeof bits);
    return store_step(store, store->mark_set, err);
}

enum err_code marks_add(struct store *store, const char *sync, const char *database, enum mark kind,
                        int64_t *ids, size_t count, struct err *err)
{
    enum err_code code = prepare(store, err);
    bool sorted = true;
    for (size_t i = 1; i < count && sorted; i++)
        sorted = ids[i - 1] <= ids[i];
    if (!sorted)
        qsort(ids, count, sizeof *ids, by_value);
    for (size_t first = 0, end = 0; first < count && code == ERR_NONE; first = end) {
        int64_t chunk = ids[first] / CHUNK_BITS;
        for (end = first; end < count && ids[end] / CHUNK_BITS == chunk; end++)
            ;
        code = set_in_chunk(store, sync, database, kind, chunk, ids + first, end - first, err);
    }
    return code;
}

enum err_code marks_load(struct store *store, const char *sync, const char *database, enum mark kind,
                         struct mark_set *out, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code =
        store_prepare(store, &stmt,
                      "SELECT chunk, bits FROM _workers_marks WHERE sync = ?1 AND database = ?2 AND kind = ?3"
                      " ORDER BY chunk",
                      err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, sync);
    bind_str(stmt, 2, database);
    DRIVER(store)->bind_integer(stmt, 3, kind);
    enum db_step step;
    while ((step = DRIVER(store)->step(stmt, err)) == DB_ROW) {
        size_t len = 0;
        int64_t chunk = DRIVER(store)->column_integer(stmt, 0);
        const char *bits = DRIVER(store)->column_text(stmt, 1, &len);
        int64_t size = (chunk + 1) * CHUNK_BITS;
        if (chunk < 0 || chunk > INT64_MAX / CHUNK_BITS / 2 || bits == NULL || len > CHUNK_BYTES) {
            code = err_set(err, ERR_CORRUPT,
                           "the marks of sync \"%s\" are damaged: reset it with workers sync state reset %s",
                           sync, sync);
            break;
        }
        if (size > out->size) {
            uint8_t *larger = mem_realloc(out->bits, (size_t)(size / 8));
            if (larger == NULL) {
                code = err_nomem(err);
                break;
            }
            memset(larger + out->size / 8, 0, (size_t)((size - out->size) / 8));
            out->bits = larger;
            out->size = size;
        }
        for (size_t i = 0; i < len; i++)
            out->bits[(size_t)(chunk * CHUNK_BYTES) + i] |= (uint8_t)bits[i];
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    DRIVER(store)->finalize(stmt);
    return code;
}

void marks_free(struct mark_set *set)
{
    mem_free(set->bits);
    *set = (struct mark_set){0};
}

bool marks_has(const struct mark_set *set, int64_t id)
{
    return id >= 0 && id < set->size && (set->bits[id / 8] & (1u << (id % 8))) != 0;
}

enum err_code marks_clear(struct store *store, const char *sync, enum mark kind, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code =
        store_prepare(store, &stmt, "DELETE FROM _workers_marks WHERE sync = ?1 AND kind = ?2", err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, sync);
    DRIVER(store)->bind_integer(stmt, 2, kind);
    code = store_step(store, stmt, err);
    DRIVER(store)->finalize(stmt);
    return code;
}

/* Adds every set bit of SEEN to BROUGHT. */
static enum err_code merge_seen(struct store *store, const char *sync, struct err *err)
{
    for (size_t i = 0; i < store->worker->database_count; i++) {
        const char *database = store->worker->databases[i].key;
        struct mark_set seen = {0};
        enum err_code code = marks_load(store, sync, database, MARK_SEEN, &seen, err);
        int64_t *ids = code == ERR_NONE && seen.size > 0 ? mem_alloc((size_t)CHUNK_BITS * sizeof *ids) : NULL;
        if (code == ERR_NONE && seen.size > 0 && ids == NULL)
            code = err_nomem(err);
        for (int64_t first = 0; first < seen.size && code == ERR_NONE; first += CHUNK_BITS) {
            size_t count = 0;
            for (int64_t id = first; id < first + CHUNK_BITS; id++)
                if (marks_has(&seen, id))
                    ids[count++] = id;
            code = count > 0 ? marks_add(store, sync, database, MARK_BROUGHT, ids, count, err) : ERR_NONE;
        }
        mem_free(ids);
        marks_free(&seen);
        if (code != ERR_NONE)
            return code;
    }
    return marks_clear(store, sync, MARK_SEEN, err);
}

enum err_code marks_promote(struct store *store, const char *sync, bool keep, struct err *err)
{
    if (keep)
        return merge_seen(store, sync, err);
    enum err_code code = marks_clear(store, sync, MARK_BROUGHT, err);
    if (code != ERR_NONE)
        return code;
    struct db_stmt *stmt = NULL;
    code =
        store_prepare(store, &stmt, "UPDATE _workers_marks SET kind = ?2 WHERE sync = ?1 AND kind = ?3", err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, sync);
    DRIVER(store)->bind_integer(stmt, 2, MARK_BROUGHT);
    DRIVER(store)->bind_integer(stmt, 3, MARK_SEEN);
    code = store_step(store, stmt, err);
    DRIVER(store)->finalize(stmt);
    return code;
}
