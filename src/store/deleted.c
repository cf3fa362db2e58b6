/* Deleted rows: listed, put back, forgotten after their time. */
#include "store/store_priv.h"

#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum err_code store_deleted_list(struct store *store, const struct deleted_filter *filter, deleted_fn each,
                                 void *ctx, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = NULL;
    enum err_code code =
        store_prepare(store, &stmt,
                      "SELECT id, database, key, deleted_at, run_id, row FROM _workers_deleted WHERE (?1"
                      " IS NULL OR database = ?1) AND id < ?3 ORDER BY id DESC LIMIT ?2",
                      err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, filter->database);
    driver->bind_integer(stmt, 2, filter->limit);
    driver->bind_integer(stmt, 3, filter->before);
    enum db_step step = DB_DONE;
    while (code == ERR_NONE && (step = driver->step(stmt, err)) == DB_ROW) {
        struct deleted_row row = {.id = driver->column_integer(stmt, 0),
                                  .database = column_copy(stmt, 1),
                                  .key = column_copy(stmt, 2),
                                  .deleted_ms = driver->column_integer(stmt, 3),
                                  .run_id = column_copy(stmt, 4),
                                  .row = column_copy(stmt, 5)};
        code = row.database != NULL && row.key != NULL && row.row != NULL ? each(ctx, &row) : err_nomem(err);
        mem_free(row.database);
        mem_free(row.key);
        mem_free(row.run_id);
        mem_free(row.row);
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    driver->finalize(stmt);
    return code;
}

/* One value of the row's JSON, bound to the statement. Texts live in the arena until the row is written. */
static enum err_code bind_json(struct db_stmt *insert, int index, const struct json_scan *scan,
                               struct arena *arena, struct err *err)
{
    const struct db_driver *driver = insert->db->driver;
    switch (scan->token) {
    case JSON_NULL:
        driver->bind_null(insert, index);
        return ERR_NONE;
    case JSON_NUMBER:
        if (scan->number.is_integer)
            driver->bind_integer(insert, index, scan->number.integer);
        else
            driver->bind_real(insert, index, scan->number.real);
        return ERR_NONE;
    case JSON_STRING: {
        char *text = arena_alloc(arena, scan->string.len + 1);
        if (text == NULL)
            return err_nomem(err);
        driver->bind_text(insert, index, text, json_unescape(scan->string, text));
        return ERR_NONE;
    }
    default:
        return err_set(err, ERR_CORRUPT, "a deleted row is damaged");
    }
}

/* Writes one kept row back into its table, under a new id. */
static enum err_code restore_row(struct store *store, struct table *table, const char *json, size_t len,
                                 int64_t id, bool *restored, struct err *err)
{
    char name[1024];
    struct buf sql, values;
    struct arena arena;
    struct json_scan scan;
    struct db_stmt *insert = NULL;
    bool more = false;
    int index = 1;
    buf_init(&sql, BUF_UNLIMITED);
    buf_init(&values, BUF_UNLIMITED);
    arena_init(&arena);
    *restored = false;
    buf_addf(&sql, "INSERT INTO %s(_id", db_quote(table->database->table, name, sizeof name));
    json_scan_init(&scan, json, len);
    enum err_code code = json_scan_value(&scan, err);
    while (code == ERR_NONE && (code = json_scan_member(&scan, &more, err)) == ERR_NONE && more) {
        struct buf column;
        buf_init(&column, 1024);
        json_string_copy(&scan, &column);
        buf_addf(&sql, ",%s", db_quote(buf_text(&column), name, sizeof name));
        buf_addf(&values, ",?%d", ++index);
        buf_free(&column);
        code = json_scan_value(&scan, err);
    }
    buf_addf(&sql, ") VALUES(?1%s) ON CONFLICT(_key) DO NOTHING", buf_text(&values));
    if (code == ERR_NONE)
        code = buf_status(&sql, "a statement", err);
    if (code == ERR_NONE)
        code = store_prepare(store, &insert, buf_text(&sql), err);
    if (code == ERR_NONE) {
        DRIVER(store)->bind_integer(insert, 1, id);
        index = 1;
        json_scan_init(&scan, json, len);
        code = json_scan_value(&scan, err);
        while (code == ERR_NONE && (code = json_scan_member(&scan, &more, err)) == ERR_NONE && more) {
            code = json_scan_value(&scan, err);
            if (code == ERR_NONE)
                code = bind_json(insert, ++index, &scan, &arena, err);
        }
        if (code == ERR_NONE)
            code = store_step(store, insert, err);
        *restored = code == ERR_NONE && DRIVER(store)->changes(store->db) == 1;
        DRIVER(store)->finalize(insert);
    }
    buf_free(&sql);
    buf_free(&values);
    arena_free(&arena);
    return code;
}

static enum err_code restore_links(struct store *store, struct table *table, const char *key, size_t key_len,
                                   struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    enum err_code code = ERR_NONE;
    if (!table->has_links)
        return ERR_NONE;
    driver->bind_text(table->select, 1, key, key_len);
    enum db_step step = driver->step(table->select, err);
    if (step == DB_FAILED)
        code = err->code;
    for (size_t i = 0; step == DB_ROW && code == ERR_NONE && i < table->database->property_count; i++) {
        size_t len = 0;
        if (table->link_insert[i] == NULL)
            continue;
        const char *json = driver->column_text(table->select, (int)table->first_column[i], &len);
        code = write_links(store, table, i, key, key_len, json, len, err);
    }
    driver->reset(table->select);
    return code;
}

/* The newest kept copy of each key, so that a row deleted twice comes back as it last was. */
static const char select_restorable[] = "SELECT id, key, row FROM _workers_deleted AS d WHERE database = ?1 "
                                        "AND (?2 IS NULL OR key = ?2) AND (?3 IS NULL OR run_id ="
                                        " ?3) AND id = (SELECT max(id) FROM _workers_deleted AS n WHERE "
                                        "n.database = d.database AND n.key = d.key AND (?3 IS NULL OR"
                                        " n.run_id = ?3)) ORDER BY id";

static enum err_code restore_all(struct store *store, struct table *table, const char *key,
                                 const char *run_id, int64_t *restored, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = NULL, *forget = NULL, *next = NULL;
    int64_t next_id = 0;
    enum err_code code = store_prepare(store, &stmt, select_restorable, err);
    if (code == ERR_NONE)
        code =
            store_prepare(store, &forget,
                          "DELETE FROM _workers_deleted WHERE database = ?1 AND key = ?2 AND id <= ?3", err);
    if (code == ERR_NONE)
        code = store_prepare(
            store, &next,
            "UPDATE _workers_databases SET next_id = next_id + 1 WHERE key = ?1 RETURNING next_id", err);
    if (code == ERR_NONE) {
        bind_str(stmt, 1, table->database->key);
        bind_str(stmt, 2, key);
        bind_str(stmt, 3, run_id);
    }
    enum db_step step = DB_DONE;
    while (code == ERR_NONE && (step = driver->step(stmt, err)) == DB_ROW) {
        size_t len = 0, key_len = 0;
        bool done = false;
        bind_str(next, 1, table->database->key);
        if (driver->step(next, err) != DB_ROW)
            code = err_set(err, ERR_CORRUPT, "the store has lost its entry for database \"%s\"",
                           table->database->key);
        else
            next_id = driver->column_integer(next, 0) - 1;
        driver->reset(next);
        const char *row_key = driver->column_text(stmt, 1, &key_len);
        const char *json = driver->column_text(stmt, 2, &len);
        if (code == ERR_NONE)
            code = restore_row(store, table, json, len, next_id, &done, err);
        if (code != ERR_NONE || !done)
            continue;
        code = restore_links(store, table, row_key, key_len, err);
        if (code == ERR_NONE) {
            bind_str(forget, 1, table->database->key);
            driver->bind_text(forget, 2, row_key, key_len);
            driver->bind_integer(forget, 3, driver->column_integer(stmt, 0));
            code = store_step(store, forget, err);
            (*restored)++;
        }
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    struct db_stmt *stmts[] = {stmt, forget, next};
    for (int i = 0; i < 3; i++)
        if (stmts[i] != NULL)
            driver->finalize(stmts[i]);
    return code;
}

enum err_code store_deleted_restore(struct store *store, const char *database, const char *key,
                                    const char *run_id, int64_t *restored, struct err *err)
{
    *restored = 0;
    size_t index = worker_database(store->worker, database);
    if (index == SIZE_MAX)
        return err_set(err, ERR_NOT_FOUND, "there is no database \"%s\": workers db list shows them",
                       database);
    enum err_code code = DRIVER(store)->begin(store->db, err);
    if (code != ERR_NONE)
        return code;
    code = restore_all(store, &store->tables[index], key, run_id, restored, err);
    if (code == ERR_NONE && *restored > 0)
        code = db_run(store->db, err, "UPDATE _workers_databases SET revision = revision + 1 WHERE key = ?1",
                      database, NULL);
    if (code == ERR_NONE)
        return DRIVER(store)->commit(store->db, err);
    DRIVER(store)->rollback(store->db);
    return code;
}
