/* What happens to rows, for the automations that wait for it: deliveries in the transaction of the page. */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/iso8601.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define ROW_MAX ((size_t)64 * 1024 * 1024)

static const char *const names[] = {
    [ROW_INSERTED] = "insert", [ROW_UPDATED] = "update", [ROW_DELETED] = "delete"};

static bool waits_for(const struct capability *automation, size_t database, enum row_event event)
{
    return automation->kind == CAPABILITY_AUTOMATION && automation->has_trigger &&
           automation->database == database && (automation->trigger_events & (1u << event)) != 0;
}

static size_t database_of(const struct store *store, const struct table *table)
{
    return (size_t)(table - store->tables);
}

bool outbox_wants(const struct store *store, const struct table *table, enum row_event event)
{
    const struct worker *worker = store->worker;
    for (size_t i = 0; i < worker->capability_count && !store->preview; i++)
        if (waits_for(&worker->capabilities[i], database_of(store, table), event))
            return true;
    return false;
}

enum err_code outbox_row(struct store *store, struct table *table, int64_t id, struct buf *out,
                         struct err *err)
{
    buf_init(out, ROW_MAX);
    enum err_code code = ERR_NONE;
    if (table->row_json == NULL)
        code = query_prepare_rows(store->db, table->database, " WHERE _id = ?1", &table->row_json, err);
    if (code != ERR_NONE)
        return code;
    DRIVER(store)->bind_integer(table->row_json, 1, id);
    enum db_step step = DRIVER(store)->step(table->row_json, err);
    code = step == DB_FAILED ? err->code : ERR_NONE;
    if (step == DB_ROW)
        code = query_write_row(table->row_json, table->database, out, err);
    DRIVER(store)->reset(table->row_json);
    return code == ERR_NONE ? buf_status(out, "the row", err) : code;
}

static enum err_code add(struct store *store, const struct table *table, const struct capability *automation,
                         enum row_event event, const char *key, size_t key_len, const struct buf *before,
                         const struct buf *row, struct err *err)
{
    struct delivery_new delivery = {.kind = "automation", .key = automation->key, .started_by = "row"};
    struct buf json, lane;
    char time[ISO_UTC_SIZE];
    delivery.due_ms = clock_now_ms();
    buf_init(&json, BUF_UNLIMITED);
    buf_init(&lane, BUF_UNLIMITED);
    buf_addf(&lane, "automation:%s:%s:", automation->key, table->database->key);
    buf_add(&lane, key, key_len);
    enum err_code code = buf_status(&lane, "the key", err);
    if (code == ERR_NONE)
        code = deliveries_new_id(store, buf_text(&lane), delivery.id, err);
    if (code != ERR_NONE) {
        buf_free(&lane);
        return code;
    }
    buf_addf(&json, "{\"id\":\"%s\",\"type\":\"%s\",\"at\":\"%s\",\"database\":", delivery.id, names[event],
             iso_format_utc(delivery.due_ms, time));
    json_write_text(&json, table->database->key);
    buf_adds(&json, ",\"key\":");
    code = json_write_string(&json, key, key_len, err);
    if (row != NULL) {
        buf_adds(&json, ",\"row\":");
        buf_add(&json, buf_text(row), row->len);
    }
    if (before != NULL) {
        buf_adds(&json, ",\"before\":");
        buf_add(&json, buf_text(before), before->len);
    }
    buf_addc(&json, '}');
    if (code == ERR_NONE)
        code = buf_status(&json, "the event", err);
    if (code == ERR_NONE) {
        delivery.lane = buf_text(&lane);
        delivery.event = buf_text(&json);
        delivery.event_len = json.len;
        code = store_delivery_add(store, &delivery, err);
    }
    buf_free(&json);
    buf_free(&lane);
    return code;
}

enum err_code outbox_add(struct store *store, struct table *table, enum row_event event, int64_t id,
                         const char *key, size_t key_len, const struct buf *before, struct err *err)
{
    struct buf row = {0};
    enum err_code code = ERR_NONE;
    if (event != ROW_DELETED)
        code = outbox_row(store, table, id, &row, err);
    const struct worker *worker = store->worker;
    for (size_t i = 0; i < worker->capability_count && code == ERR_NONE; i++)
        if (waits_for(&worker->capabilities[i], database_of(store, table), event))
            code = add(store, table, &worker->capabilities[i], event, key, key_len, before,
                       event != ROW_DELETED ? &row : NULL, err);
    buf_free(&row);
    return code;
}
