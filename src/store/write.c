/* Writing a page: its transaction, its rows, the end that commits rows, state and counters together. */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/iso8601.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/number.h"

#include <stdio.h>
#include <string.h>

/* ---- small things ---- */

static bool same(struct db_stmt *row, int column, const struct cell *cell)
{
    const struct db_value stored = row->db->driver->column_value(row, column);
    switch (cell->type) {
    case CELL_NULL:
        return stored.type == DB_NULL;
    case CELL_INTEGER:
        return (stored.type == DB_INTEGER && stored.integer == cell->integer) ||
               (stored.type == DB_REAL && stored.real == (double)cell->integer);
    case CELL_REAL:
        return (stored.type == DB_REAL && stored.real == cell->real) ||
               (stored.type == DB_INTEGER && (double)stored.integer == cell->real);
    case CELL_TEXT:
        return stored.type == DB_TEXT && stored.text != NULL && stored.len == cell->len &&
               memcmp(stored.text, cell->text, cell->len) == 0;
    }
    return false;
}

/* The stored value as a cell that points into the row. */
static struct cell stored_cell(struct db_stmt *row, int column)
{
    const struct db_value stored = row->db->driver->column_value(row, column);
    switch (stored.type) {
    case DB_INTEGER:
        return (struct cell){.type = CELL_INTEGER, .integer = stored.integer};
    case DB_REAL:
        return (struct cell){.type = CELL_REAL, .real = stored.real};
    case DB_TEXT:
    case DB_BLOB:
        return (struct cell){.type = CELL_TEXT, .text = stored.text, .len = stored.len};
    case DB_NULL:
        break;
    }
    return (struct cell){.type = CELL_NULL};
}

static enum err_code touch(struct store *store, size_t database, int64_t id, struct err *err)
{
    struct touched *touched = &store->touched[database];
    if (touched->count == touched->room) {
        size_t room = touched->room > 0 ? touched->room * 2 : 256;
        int64_t *larger = mem_realloc(touched->ids, room * sizeof *larger);
        if (larger == NULL)
            return err_nomem(err);
        touched->ids = larger;
        touched->room = room;
    }
    touched->ids[touched->count++] = id;
    return ERR_NONE;
}

static const char *cell_text(const struct cell *cell, char digits[NUMBER_TEXT_MAX], size_t *len)
{
    switch (cell->type) {
    case CELL_NULL:
        return NULL;
    case CELL_INTEGER:
        *len = number_format_integer(cell->integer, digits);
        return digits;
    case CELL_REAL:
        *len = number_format_js(cell->real, digits);
        return digits;
    case CELL_TEXT:
        *len = cell->len;
        return cell->text;
    }
    return NULL;
}

static void tell_property(const struct diff_sink *diff, const char *name, const struct cell *before,
                          const struct cell *after)
{
    char before_digits[NUMBER_TEXT_MAX], after_digits[NUMBER_TEXT_MAX];
    size_t before_len = 0, after_len = 0;
    const char *from = cell_text(before, before_digits, &before_len);
    const char *to = cell_text(after, after_digits, &after_len);
    diff->property(diff->ctx, name, from, before_len, to, after_len);
}

/* ---- links ---- */

enum err_code write_links(struct store *store, struct table *table, size_t property, const char *key,
                          size_t key_len, const char *json, size_t len, struct err *err)
{
    DRIVER(store)->bind_text(table->link_remove[property], 1, key, key_len);
    enum err_code code = store_step(store, table->link_remove[property], err);
    if (code != ERR_NONE || json == NULL)
        return code;
    struct json_scan scan;
    struct buf related;
    bool more = false;
    buf_init(&related, BUF_UNLIMITED);
    json_scan_init(&scan, json, len);
    code = json_scan_value(&scan, err);
    bool list = code == ERR_NONE && scan.token == JSON_ARRAY;
    while (list && code == ERR_NONE && (code = json_scan_element(&scan, &more, err)) == ERR_NONE && more) {
        if (scan.token != JSON_STRING) {
            code = json_scan_skip(&scan, NULL, err);
            continue;
        }
        buf_clear(&related);
        json_string_copy(&scan, &related);
        code = buf_status(&related, "a related key", err);
        if (code != ERR_NONE)
            break;
        DRIVER(store)->bind_text(table->link_insert[property], 1, key, key_len);
        DRIVER(store)->bind_text(table->link_insert[property], 2, buf_text(&related), related.len);
        code = store_step(store, table->link_insert[property], err);
    }
    buf_free(&related);
    return code;
}

static enum err_code write_change_links(struct store *store, struct table *table, const struct change *change,
                                        struct err *err)
{
    for (size_t i = 0; i < change->value_count; i++) {
        const struct property_value *value = &change->values[i];
        if (table->link_insert[value->property] == NULL)
            continue;
        bool text = value->value.type == CELL_TEXT;
        enum err_code code = write_links(store, table, value->property, change->key, change->key_len,
                                         text ? value->value.text : NULL, value->value.len, err);
        if (code != ERR_NONE)
            return code;
    }
    return ERR_NONE;
}

/* ---- rows ---- */

static enum err_code take_id(struct store *store, struct table *table, int64_t *id, struct err *err)
{
    if (table->next_id == 0) {
        struct db_stmt *stmt = NULL;
        enum err_code code =
            store_prepare(store, &stmt, "SELECT next_id FROM _workers_databases WHERE key = ?1", err);
        if (code != ERR_NONE)
            return code;
        bind_str(stmt, 1, table->database->key);
        enum db_step step = DRIVER(store)->step(stmt, err);
        table->next_id = step == DB_ROW ? DRIVER(store)->column_integer(stmt, 0) : 0;
        DRIVER(store)->finalize(stmt);
        if (step == DB_FAILED)
            return err->code;
        if (table->next_id < 1)
            return err_set(err, ERR_CORRUPT, "the store has lost its entry for database \"%s\"",
                           table->database->key);
    }
    *id = table->next_id++;
    table->next_id_dirty = true;
    return ERR_NONE;
}

/* In a row that is being inserted what is not bound is NULL: statements forget their bindings when they are
 * reset. */
static void bind_new(struct db_stmt *stmt, int index, const struct cell *cell)
{
    if (cell->type != CELL_NULL)
        bind_cell(stmt, index, cell);
}

static enum err_code insert_row(struct store *store, struct table *table, const struct change *change,
                                const struct diff_sink *diff, int64_t *id, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = table->insert;
    enum err_code code = take_id(store, table, id, err);
    if (code != ERR_NONE)
        return code;
    driver->bind_integer(stmt, COLUMN_ID + 1, *id);
    driver->bind_text(stmt, COLUMN_KEY + 1, change->key, change->key_len);
    bind_new(stmt, COLUMN_ICON + 1, &change->extras->icon.cell);
    bind_new(stmt, COLUMN_COVER + 1, &change->extras->cover.cell);
    bind_new(stmt, COLUMN_CONTENT + 1, &change->extras->content.cell);
    bind_new(stmt, COLUMN_UPSTREAM + 1, &change->extras->upstream_updated_at);
    bind_str(stmt, COLUMN_SYNCED + 1, store->now);
    for (size_t i = 0; i < change->value_count; i++) {
        const struct property_value *value = &change->values[i];
        int column = (int)table->first_column[value->property];
        bind_new(stmt, column + 1, &value->value);
        if (table->database->properties[value->property].type == PROPERTY_DATE)
            bind_new(stmt, column + 2, value->end);
    }
    code = store_step(store, stmt, err);
    if (code != ERR_NONE)
        return code;
    store->counts.added++;
    if (diff != NULL) {
        const struct cell nothing = {.type = CELL_NULL};
        diff->row(diff->ctx, table->database, change->key, "add");
        for (size_t i = 0; i < change->value_count; i++)
            tell_property(diff, table->database->properties[change->values[i].property].name, &nothing,
                          &change->values[i].value);
    }
    code = table->has_links ? write_change_links(store, table, change, err) : ERR_NONE;
    if (code == ERR_NONE && outbox_wants(store, table, ROW_INSERTED))
        code = outbox_add(store, table, ROW_INSERTED, *id, change->key, change->key_len, NULL, err);
    return code;
}

static bool differs(struct db_stmt *row, const struct table *table, const struct change *change)
{
    if ((change->extras->icon.given && !same(row, COLUMN_ICON, &change->extras->icon.cell)) ||
        (change->extras->cover.given && !same(row, COLUMN_COVER, &change->extras->cover.cell)) ||
        (change->extras->content.given && !same(row, COLUMN_CONTENT, &change->extras->content.cell)))
        return true;
    for (size_t i = 0; i < change->value_count; i++) {
        const struct property_value *value = &change->values[i];
        int column = (int)table->first_column[value->property];
        if (!same(row, column, &value->value))
            return true;
        if (table->database->properties[value->property].type == PROPERTY_DATE &&
            !same(row, column + 1, value->end))
            return true;
    }
    return false;
}

static void tell_differences(const struct diff_sink *diff, struct db_stmt *row, const struct table *table,
                             const struct change *change)
{
    static const char *const names[] = {"icon", "cover", "page content"};
    const struct optional_cell *optional[] = {&change->extras->icon, &change->extras->cover,
                                              &change->extras->content};
    diff->row(diff->ctx, table->database, change->key, "change");
    for (int i = 0; i < 3; i++) {
        if (optional[i]->given && !same(row, COLUMN_ICON + i, &optional[i]->cell)) {
            struct cell before = stored_cell(row, COLUMN_ICON + i);
            tell_property(diff, names[i], &before, &optional[i]->cell);
        }
    }
    for (size_t i = 0; i < change->value_count; i++) {
        const struct property_value *value = &change->values[i];
        int column = (int)table->first_column[value->property];
        bool date = table->database->properties[value->property].type == PROPERTY_DATE;
        if (same(row, column, &value->value) && (!date || same(row, column + 1, value->end)))
            continue;
        struct cell before = stored_cell(row, column);
        tell_property(diff, table->database->properties[value->property].name, &before, &value->value);
    }
}

/* Writes the whole row: what the change gives, and what the row has. */
static enum err_code update_row(struct store *store, struct table *table, struct db_stmt *row,
                                const struct change *change, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = table->update;
    driver->bind_integer(stmt, COLUMN_ID + 1, driver->column_integer(row, COLUMN_ID));
    for (int column = COLUMN_ICON; column < (int)table->columns; column++) {
        struct cell cell = stored_cell(row, column);
        bind_cell(stmt, column + 1, &cell);
    }
    if (change->extras->icon.given)
        bind_cell(stmt, COLUMN_ICON + 1, &change->extras->icon.cell);
    if (change->extras->cover.given)
        bind_cell(stmt, COLUMN_COVER + 1, &change->extras->cover.cell);
    if (change->extras->content.given)
        bind_cell(stmt, COLUMN_CONTENT + 1, &change->extras->content.cell);
    if (change->extras->upstream_updated_at.type != CELL_NULL)
        bind_cell(stmt, COLUMN_UPSTREAM + 1, &change->extras->upstream_updated_at);
    bind_str(stmt, COLUMN_SYNCED + 1, store->now);
    for (size_t i = 0; i < change->value_count; i++) {
        const struct property_value *value = &change->values[i];
        int column = (int)table->first_column[value->property];
        bind_cell(stmt, column + 1, &value->value);
        if (table->database->properties[value->property].type == PROPERTY_DATE)
            bind_cell(stmt, column + 2, value->end);
    }
    return store_step(store, stmt, err);
}

/* Whether the row knows a newer upstream time than the change. */
static bool is_stale(struct db_stmt *row, const struct change *change)
{
    struct iso_time time;
    struct err ignored;
    size_t len = 0;
    if (change->extras->upstream_updated_at.type == CELL_NULL)
        return false;
    const char *text = row->db->driver->column_text(row, COLUMN_UPSTREAM, &len);
    return text != NULL && iso_parse(text, len, &time, &ignored) == ERR_NONE &&
           iso_unix_ms(&time) > change->extras->upstream_ms;
}

/* Finds the row of the change. An upstream that lists its rows in the order in which they were first stored
 * is followed by row id, which saves the search in the index of keys; the key that is there decides. */
static enum db_step find_row(struct store *store, struct table *table, const struct change *change,
                             struct db_stmt **row, int64_t *id, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    enum db_step step = DB_DONE;
    *row = table->select_by_id;
    if (table->in_order) {
        driver->bind_integer(*row, 1, table->found_id + 1);
        step = driver->step(*row, err);
        const struct cell key = {.type = CELL_TEXT, .text = change->key, .len = change->key_len};
        if (step == DB_ROW && !same(*row, COLUMN_KEY, &key))
            step = DB_DONE;
    }
    if (step == DB_DONE) {
        driver->reset(*row);
        *row = table->select;
        driver->bind_text(*row, 1, change->key, change->key_len);
        step = driver->step(*row, err);
    }
    if (step != DB_ROW)
        return step;
    *id = driver->column_integer(*row, COLUMN_ID);
    table->in_order = *id == table->found_id + 1;
    table->found_id = *id;
    return step;
}

/* Writes a row that differs, and tells who waits for that. */
static enum err_code change_row(struct store *store, struct table *table, struct db_stmt *row, int64_t id,
                                const struct change *change, struct err *err)
{
    struct buf before = {0};
    bool wanted = outbox_wants(store, table, ROW_UPDATED);
    table->changed = true;
    enum err_code code = wanted ? outbox_row(store, table, id, &before, err) : ERR_NONE;
    if (code == ERR_NONE)
        code = update_row(store, table, row, change, err);
    if (code == ERR_NONE && table->has_links)
        code = write_change_links(store, table, change, err);
    if (code == ERR_NONE && wanted)
        code = outbox_add(store, table, ROW_UPDATED, id, change->key, change->key_len, &before, err);
    buf_free(&before);
    return code;
}

static enum err_code write_upsert(struct store *store, struct table *table, const struct change *change,
                                  const struct diff_sink *diff, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *row = NULL;
    int64_t id = 0;
    enum db_step step = find_row(store, table, change, &row, &id, err);
    enum err_code code = step == DB_FAILED ? err->code : ERR_NONE;
    if (step == DB_ROW) {
        if (is_stale(row, change)) {
            store->counts.stale++;
        } else if (differs(row, table, change)) {
            store->counts.changed++;
            if (diff != NULL)
                tell_differences(diff, row, table, change);
            code = change_row(store, table, row, id, change, err);
        } else {
            store->counts.unchanged++;
            /* A newer upstream time is kept even if nothing else is new. */
            if (change->extras->upstream_updated_at.type != CELL_NULL &&
                !same(row, COLUMN_UPSTREAM, &change->extras->upstream_updated_at))
                code = update_row(store, table, row, change, err);
        }
    }
    driver->reset(row);
    if (step == DB_DONE)
        code = insert_row(store, table, change, diff, &id, err);
    return code == ERR_NONE ? touch(store, change->database, id, err) : code;
}

/* Keeps a copy of the whole row, as JSON from columns to values. */
static enum err_code keep_deleted(struct store *store, struct table *table, int64_t id, const char *key,
                                  size_t key_len, const char *run_id, const char *reason, struct err *err)
{
    char name[1024];
    struct buf sql, json;
    struct db_stmt *row = NULL, *insert = NULL;
    buf_init(&sql, 4096);
    buf_init(&json, BUF_UNLIMITED);
    buf_addf(&sql, "SELECT * FROM %s WHERE _id = ?1", db_quote(table->database->table, name, sizeof name));
    enum err_code code = store_prepare(store, &row, buf_text(&sql), err);
    if (code == ERR_NONE) {
        DRIVER(store)->bind_integer(row, 1, id);
        enum db_step step = DRIVER(store)->step(row, err);
        code = step == DB_FAILED ? err->code : ERR_NONE;
        buf_addc(&json, '{');
        for (int i = 1; step == DB_ROW && i < DRIVER(store)->column_count(row) && code == ERR_NONE; i++) {
            if (i > 1)
                buf_addc(&json, ',');
            json_write_text(&json, DRIVER(store)->column_name(row, i));
            buf_addc(&json, ':');
            struct cell cell = stored_cell(row, i);
            if (cell.type == CELL_NULL)
                buf_adds(&json, "null");
            else if (cell.type == CELL_INTEGER)
                json_write_integer(&json, cell.integer);
            else if (cell.type == CELL_REAL)
                code = json_write_number(&json, cell.real, err);
            else
                code = json_write_string(&json, cell.text, cell.len, err);
        }
        buf_addc(&json, '}');
    }
    if (code == ERR_NONE)
        code = buf_status(&json, "a deleted row", err);
    if (code == ERR_NONE)
        code = store_prepare(store, &insert,
                             "INSERT INTO _workers_deleted(database, key, deleted_at, run_id, reason, row)"
                             " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                             err);
    if (code == ERR_NONE) {
        bind_str(insert, 1, table->database->key);
        DRIVER(store)->bind_text(insert, 2, key, key_len);
        DRIVER(store)->bind_integer(insert, 3, clock_now_ms());
        bind_str(insert, 4, run_id);
        bind_str(insert, 5, reason);
        DRIVER(store)->bind_text(insert, 6, buf_text(&json), json.len);
        code = store_step(store, insert, err);
    }
    if (row != NULL)
        DRIVER(store)->finalize(row);
    if (insert != NULL)
        DRIVER(store)->finalize(insert);
    buf_free(&sql);
    buf_free(&json);
    return code;
}

enum err_code write_delete_row(struct store *store, struct table *table, int64_t id, const char *key,
                               size_t key_len, const char *run_id, const char *reason, struct err *err)
{
    struct buf before = {0};
    bool wanted = outbox_wants(store, table, ROW_DELETED);
    table->changed = true;
    enum err_code code = keep_deleted(store, table, id, key, key_len, run_id, reason, err);
    if (code == ERR_NONE && wanted)
        code = outbox_row(store, table, id, &before, err);
    for (size_t i = 0; code == ERR_NONE && table->has_links && i < table->database->property_count; i++)
        if (table->link_remove[i] != NULL)
            code = write_links(store, table, i, key, key_len, NULL, 0, err);
    if (code == ERR_NONE) {
        DRIVER(store)->bind_integer(table->remove, 1, id);
        code = store_step(store, table->remove, err);
    }
    if (code == ERR_NONE && wanted)
        code = outbox_add(store, table, ROW_DELETED, id, key, key_len, &before, err);
    if (code == ERR_NONE)
        store->counts.deleted++;
    buf_free(&before);
    return code;
}

static enum err_code write_delete(struct store *store, struct table *table, const struct change *change,
                                  const struct diff_sink *diff, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    driver->bind_text(table->select, 1, change->key, change->key_len);
    enum db_step step = driver->step(table->select, err);
    int64_t id = step == DB_ROW ? driver->column_integer(table->select, COLUMN_ID) : 0;
    driver->reset(table->select);
    if (step == DB_FAILED)
        return err->code;
    if (step == DB_DONE)
        return ERR_NONE; /* deleting what is not there is no error */
    if (diff != NULL)
        diff->row(diff->ctx, table->database, change->key, "delete");
    return write_delete_row(store, table, id, change->key, change->key_len, store->run_id, "change", err);
}

/* ---- the page ---- */

static void end_page(struct store *store, bool keep_touched)
{
    for (size_t i = 0; i < store->worker->database_count; i++) {
        if (!keep_touched)
            store->touched[i].count = 0;
        /* Ids are read again at the next insert: another process may take some meanwhile. */
        store->tables[i].next_id = 0;
        store->tables[i].next_id_dirty = false;
        store->tables[i].changed = false;
    }
    store->in_page = false;
}

void store_page_abort(struct store *store)
{
    if (!store->in_page)
        return;
    DRIVER(store)->rollback(store->db);
    end_page(store, false);
}

static enum err_code check_fence(struct store *store, const struct sync_lease *lease, struct err *err)
{
    enum err_code code = store_prepare_once(store, &store->fence,
                                            "SELECT lease_token FROM _workers_syncs WHERE key = ?1", err);
    struct db_stmt *stmt = store->fence;
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, lease->key);
    enum db_step step = DRIVER(store)->step(stmt, err);
    if (step == DB_FAILED)
        code = err->code;
    else if (step == DB_DONE || DRIVER(store)->column_integer(stmt, 0) != lease->token)
        code = err_set(err, ERR_CONFLICT,
                       "another process has taken over sync \"%s\"; this one wrote nothing", lease->key);
    DRIVER(store)->reset(stmt);
    return code;
}

enum err_code store_page_begin(struct store *store, const struct sync_lease *lease, bool preview,
                               struct err *err)
{
    enum err_code code = DRIVER(store)->begin(store->db, err);
    if (code != ERR_NONE)
        return code;
    store->in_page = true;
    store->preview = preview;
    store->counts = (struct page_counts){0};
    snprintf(store->run_id, sizeof store->run_id, "%s", lease->run_id);
    char now[ISO_UTC_SIZE];
    snprintf(store->now, sizeof store->now, "%s", iso_format_utc(clock_now_ms(), now));
    if (!preview) {
        code = check_fence(store, lease, err);
    } else {
        struct buf unsaid; /* the report was given when the preview began */
        buf_init(&unsaid, (size_t)1024 * 1024);
        code = tables_migrate_within(store, store->worker, &unsaid, err);
        buf_free(&unsaid);
    }
    if (code != ERR_NONE)
        store_page_abort(store);
    return code;
}

enum err_code store_page_write(struct store *store, const struct page *page, const struct diff_sink *diff,
                               struct err *err)
{
    enum err_code code = ERR_NONE;
    for (size_t i = 0; i < page->count && code == ERR_NONE; i++) {
        const struct change *change = &page->changes[i];
        struct table *table = &store->tables[change->database];
        code = change->is_delete ? write_delete(store, table, change, diff, err)
                                 : write_upsert(store, table, change, diff, err);
    }
    for (size_t i = 0; i < page->new_option_count && code == ERR_NONE; i++) {
        const struct new_option *option = &page->new_options[i];
        const struct database *database = &store->worker->databases[option->database];
        code = db_run(store->db, err,
                      "INSERT INTO _workers_options(database, property, name, declared) VALUES(?1, ?2, ?3, 0)"
                      " ON CONFLICT DO NOTHING",
                      database->key, database->properties[option->property].name, option->name, NULL);
    }
    if (code != ERR_NONE)
        store_page_abort(store);
    return code;
}

/* Marks the touched rows as seen by this cycle, and as protected for other cycles that are open on the same
 * databases. */
static enum err_code write_marks(struct store *store, const struct capability *sync,
                                 const struct sync_lease *lease, struct err *err)
{
    bool any = false;
    for (size_t i = 0; i < store->worker->database_count; i++)
        any = any || store->touched[i].count > 0;
    if (!any)
        return ERR_NONE;
    enum err_code code = ERR_NONE;
    for (size_t i = 0; i < store->worker->database_count && code == ERR_NONE && sync->mode == SYNC_REPLACE;
         i++)
        code = marks_add(store, lease->key, store->worker->databases[i].key, MARK_SEEN, store->touched[i].ids,
                         store->touched[i].count, err);
    if (code == ERR_NONE)
        code = store_prepare_once(
            store, &store->other_cycles,
            "SELECT key FROM _workers_syncs WHERE cycle_open = 1 AND cycle_mode = 'replace' AND key <> ?1",
            err);
    struct db_stmt *others = store->other_cycles;
    if (code != ERR_NONE)
        return code;
    bind_str(others, 1, lease->key);
    enum db_step step;
    while (code == ERR_NONE && (step = DRIVER(store)->step(others, err)) == DB_ROW) {
        size_t len = 0;
        const char *key = DRIVER(store)->column_text(others, 0, &len);
        for (size_t i = 0; i < store->worker->database_count && code == ERR_NONE; i++)
            code = marks_add(store, key, store->worker->databases[i].key, MARK_PROTECTED,
                             store->touched[i].ids, store->touched[i].count, err);
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    DRIVER(store)->reset(others);
    return code;
}

/* The next id of a database with new rows, and the revision of one that has changed. */
static enum err_code write_databases(struct store *store, struct err *err)
{
    enum err_code code = ERR_NONE;
    for (size_t i = 0; i < store->worker->database_count && code == ERR_NONE; i++) {
        const struct table *table = &store->tables[i];
        if (!table->next_id_dirty && !table->changed)
            continue;
        code = store_prepare_once(store, &store->database_set,
                                  "UPDATE _workers_databases SET revision = revision + 1, next_id = "
                                  "coalesce(?2, next_id) WHERE key = ?1",
                                  err);
        struct db_stmt *stmt = store->database_set;
        if (code != ERR_NONE)
            return code;
        bind_str(stmt, 1, store->worker->databases[i].key);
        if (table->next_id_dirty)
            DRIVER(store)->bind_integer(stmt, 2, table->next_id);
        else
            DRIVER(store)->bind_null(stmt, 2);
        code = store_step(store, stmt, err);
    }
    return code;
}

static enum err_code write_state(struct store *store, const struct capability *sync,
                                 const struct sync_lease *lease, const struct page_end *end,
                                 const struct sweep_outcome *sweep, struct err *err)
{
    struct db_stmt **kept = end->has_more ? &store->page_state : &store->cycle_state;
    int64_t now = clock_now_ms();
    enum err_code code = store_prepare_once(
        store, kept,
        /* The end of the cycle is a success from this commit on, whatever happens to the process. */
        end->has_more
            ? "UPDATE _workers_syncs SET state = ?3, cycle_pages = cycle_pages + 1, lease_expires_at = ?4"
              " WHERE key = ?1 AND lease_token = ?2"
            : "UPDATE _workers_syncs SET state = ?3, cycle_open = 0, cycle_pages = cycle_pages + 1, "
              "lease_expires_at = ?4,"
              " held = ?5, failures = 0, last_error = NULL, last_success_at = ?6 WHERE key = ?1 AND "
              "lease_token = ?2",
        err);
    struct db_stmt *stmt = *kept;
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, lease->key);
    DRIVER(store)->bind_integer(stmt, 2, lease->token);
    bool keeps_state = end->has_more || sync->mode == SYNC_INCREMENTAL;
    if (keeps_state && end->next_state != NULL)
        DRIVER(store)->bind_text(stmt, 3, end->next_state, end->next_state_len);
    DRIVER(store)->bind_integer(stmt, 4, lease_until());
    if (!end->has_more) {
        bind_str(stmt, 5, sweep->held ? sweep->reason : NULL);
        DRIVER(store)->bind_integer(stmt, 6, now);
    }
    code = store_step(store, stmt, err);
    if (code == ERR_NONE && DRIVER(store)->changes(store->db) != 1)
        code = err_set(err, ERR_CONFLICT,
                       "another process has taken over sync \"%s\"; this one wrote nothing", lease->key);
    return code;
}

static enum err_code write_counts(struct store *store, const struct sync_lease *lease,
                                  const struct page_end *end, struct err *err)
{
    enum err_code code = store_prepare_once(
        store, &store->page_counts,
        "UPDATE _workers_runs SET pages = pages + 1, requests = requests + ?2, added = added + ?3, changed ="
        " changed + ?4, unchanged = unchanged + ?5, deleted = deleted + ?6, stale = stale + ?7, exit_code = "
        "CASE"
        " WHEN ?8 THEN NULL ELSE 0 END, ended_at = CASE WHEN ?8 THEN NULL ELSE ?9 END WHERE id = ?1",
        err);
    struct db_stmt *stmt = store->page_counts;
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, lease->run_id);
    const int64_t numbers[] = {end->requests,           store->counts.added,   store->counts.changed,
                               store->counts.unchanged, store->counts.deleted, store->counts.stale};
    for (int i = 0; i < 6; i++)
        DRIVER(store)->bind_integer(stmt, i + 2, numbers[i]);
    DRIVER(store)->bind_integer(stmt, 8, end->has_more);
    DRIVER(store)->bind_integer(stmt, 9, clock_now_ms());
    return store_step(store, stmt, err);
}

enum err_code store_page_end(struct store *store, const struct capability *sync, struct sync_lease *lease,
                             const struct page_end *end, struct page_counts *counts,
                             struct sweep_outcome *sweep, struct err *err)
{
    *sweep = (struct sweep_outcome){0};
    enum err_code code = write_marks(store, sync, lease, err);
    if (code == ERR_NONE && !end->has_more && sync->mode == SYNC_REPLACE)
        code = sweep_run(store, sync, lease, end, sweep, err);
    if (code == ERR_NONE && !store->preview) {
        code = write_databases(store, err);
        if (code == ERR_NONE)
            code = write_state(store, sync, lease, end, sweep, err);
        if (code == ERR_NONE)
            code = write_counts(store, lease, end, err);
    }
    *counts = store->counts;
    if (code != ERR_NONE) {
        store_page_abort(store);
        return code;
    }
    if (store->preview) {
        /* Nothing of a preview is kept but the rows it has seen, for the sweep at its end. */
        DRIVER(store)->rollback(store->db);
        end_page(store, end->has_more);
        return ERR_NONE;
    }
    code = DRIVER(store)->commit(store->db, err);
    end_page(store, false);
    return code;
}
