/* Deliveries: what is on its way to a capability, and what became of it. Must not decide when a failure is
 * tried again: that is the engine's. */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* So many processes may die of one delivery before it is given up. */
#define LOSSES_MAX 5
/* Deliveries that are looked at when those before them wait for others of their lane. */
#define LOOK_MAX 1000

#define LOST_ERROR "the process ended before the run did"

static const char *own_name(struct store *store)
{
    if (store->owner[0] == '\0')
        owner_name(store->owner);
    return store->owner;
}

/* ---- adding ---- */

static enum err_code find_repeated(struct store *store, struct delivery_new *delivery, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt, "SELECT id FROM _workers_deliveries WHERE key = ?1 AND idempotency_key = ?2", err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, delivery->key);
    bind_str(stmt, 2, delivery->idempotency_key);
    enum db_step step = DRIVER(store)->step(stmt, err);
    if (step == DB_ROW) {
        size_t len = 0;
        snprintf(delivery->id, sizeof delivery->id, "%s", DRIVER(store)->column_text(stmt, 0, &len));
        delivery->repeated = true;
    }
    DRIVER(store)->finalize(stmt);
    return step == DB_FAILED ? err->code : ERR_NONE;
}

/* Ids are the order of a lane, so a new one must be greater than those of all that wait there, also when they
 * were made by a clock that has been set back since. */
enum err_code deliveries_new_id(struct store *store, const char *lane, char id[STORE_ID_SIZE],
                                struct err *err)
{
    if (lane == NULL)
        return id_uuid7(id, err);
    char last[STORE_ID_SIZE] = "";
    size_t len = 0;
    enum err_code code = store_prepare_once(store, &store->delivery_last,
                                            "SELECT max(id) FROM _workers_deliveries WHERE lane = ?1 AND"
                                            " (state = 'ready' OR state = 'running')",
                                            err);
    if (code != ERR_NONE)
        return code;
    bind_str(store->delivery_last, 1, lane);
    enum db_step step = DRIVER(store)->step(store->delivery_last, err);
    const char *text = step == DB_ROW ? DRIVER(store)->column_text(store->delivery_last, 0, &len) : NULL;
    snprintf(last, sizeof last, "%s", text != NULL ? text : "");
    DRIVER(store)->reset(store->delivery_last);
    return step == DB_FAILED ? err->code : id_uuid7_after(last, id, err);
}

enum err_code store_delivery_add(struct store *store, struct delivery_new *delivery, struct err *err)
{
    enum err_code code = ERR_NONE;
    delivery->repeated = false;
    if (delivery->idempotency_key != NULL)
        code = find_repeated(store, delivery, err);
    if (code != ERR_NONE || delivery->repeated)
        return code;
    if (delivery->id[0] == '\0')
        code = deliveries_new_id(store, delivery->lane, delivery->id, err);
    if (code == ERR_NONE)
        code = store_prepare_once(
            store, &store->delivery_insert,
            "INSERT INTO _workers_deliveries(id, kind, key, state, due_at, created_at, started_by, lane,"
            " idempotency_key, tick_at) VALUES(?1, ?2, ?3, 'ready', ?4, ?5, ?6, ?7, ?8, nullif(?9, 0))",
            err);
    if (code == ERR_NONE)
        code = store_prepare_once(store, &store->payload_insert,
                                  "INSERT INTO _workers_payloads(id, event, body) VALUES(?1, ?2, ?3)", err);
    if (code != ERR_NONE)
        return code;
    struct db_stmt *stmt = store->delivery_insert;
    int64_t now = clock_now_ms();
    bind_str(stmt, 1, delivery->id);
    bind_str(stmt, 2, delivery->kind);
    bind_str(stmt, 3, delivery->key);
    /* None is added for later; the clock may have been set back since the caller looked at it. */
    DRIVER(store)->bind_integer(stmt, 4, delivery->due_ms < now ? delivery->due_ms : now);
    DRIVER(store)->bind_integer(stmt, 5, now);
    bind_str(stmt, 6, delivery->started_by);
    bind_str(stmt, 7, delivery->lane);
    bind_str(stmt, 8, delivery->idempotency_key);
    DRIVER(store)->bind_integer(stmt, 9, delivery->tick_ms);
    code = store_step(store, stmt, err);
    if (code != ERR_NONE)
        return code;
    stmt = store->payload_insert;
    bind_str(stmt, 1, delivery->id);
    DRIVER(store)->bind_text(stmt, 2, delivery->event, delivery->event_len);
    if (delivery->body != NULL)
        DRIVER(store)->bind_blob(stmt, 3, delivery->body, delivery->body_len);
    return store_step(store, stmt, err);
}

bool delivery_state_known(const char *state)
{
    static const char *const states[] = {"ready", "running", "done", "dead"};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        if (strcmp(state, states[i]) == 0)
            return true;
    return false;
}

void job_lane(const char *key, char out[JOB_LANE_SIZE])
{
    snprintf(out, JOB_LANE_SIZE, "job:%s", key);
}

enum err_code store_delivery_add_alone(struct store *store, struct delivery_new *delivery, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code =
        store_prepare(store, &stmt,
                      "SELECT 1 FROM _workers_deliveries WHERE lane = ?1 AND (state = 'ready'"
                      " OR state = 'running') LIMIT 1",
                      err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, delivery->lane);
    enum db_step step = DRIVER(store)->step(stmt, err);
    DRIVER(store)->finalize(stmt);
    if (step == DB_FAILED)
        return err->code;
    delivery->repeated = step == DB_ROW;
    return delivery->repeated ? ERR_NONE : store_delivery_add(store, delivery, err);
}

/* ---- claiming ---- */

void delivery_free(struct delivery *delivery)
{
    mem_free(delivery->event);
    mem_free(delivery->body);
    *delivery = (struct delivery){0};
}

static enum err_code read_payload(struct store *store, struct delivery *out, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = store->delivery_payload;
    bind_str(stmt, 1, out->id);
    enum db_step step = driver->step(stmt, err);
    if (step == DB_ROW) {
        const char *text = driver->column_text(stmt, 0, &out->event_len);
        out->event = text != NULL ? mem_strndup(text, out->event_len) : NULL;
        if (driver->column_type(stmt, 1) != DB_NULL) {
            text = driver->column_text(stmt, 1, &out->body_len);
            /* No bytes are NULL as well. */
            out->body = mem_strndup(text != NULL ? text : "", out->body_len);
        }
        if (out->event == NULL || (out->body == NULL && driver->column_type(stmt, 1) != DB_NULL)) {
            driver->reset(stmt);
            return err_nomem(err);
        }
    }
    driver->reset(stmt);
    if (step == DB_FAILED)
        return err->code;
    return step == DB_ROW ? ERR_NONE
                          : err_set(err, ERR_CORRUPT, "the payload of delivery %s is missing", out->id);
}

static enum err_code claim(struct store *store, const struct capability *capability, struct delivery *out,
                           int64_t now, struct err *err)
{
    enum err_code code = id_uuid7(out->run_id, err);
    if (code == ERR_NONE)
        code = read_payload(store, out, err);
    if (code != ERR_NONE)
        return code;
    struct db_stmt *stmt = store->delivery_claim;
    bind_str(stmt, 1, out->id);
    bind_str(stmt, 2, own_name(store));
    DRIVER(store)->bind_integer(stmt, 3, lease_until());
    bind_str(stmt, 4, out->run_id);
    code = store_step(store, stmt, err);
    if (code != ERR_NONE)
        return code;
    const struct run_begin run = {.id = out->run_id,
                                  .kind = capability_kind_name(capability->kind),
                                  .key = capability->key,
                                  .started_by = out->attempt > 1 ? "retry" : out->started_by,
                                  .delivery_id = out->id,
                                  .attempt = out->attempt,
                                  .started_ms = now};
    return runs_begin(store, &run, err);
}

static enum err_code prepare_claim(struct store *store, struct err *err)
{
    enum err_code code = store_prepare_once(
        store, &store->delivery_next,
        "SELECT d.id, d.token, d.attempts, d.tick_at, d.created_at, d.started_by FROM _workers_deliveries AS "
        "d"
        " WHERE d.state = 'ready' AND d.key = ?1 AND d.due_at <= ?2 AND (d.lane IS NULL OR NOT EXISTS(SELECT"
        " 1 FROM _workers_deliveries AS o WHERE o.lane = d.lane AND (o.state = 'ready' OR o.state ="
        " 'running') AND o.id < d.id)) ORDER BY d.due_at, d.id LIMIT ?3",
        err);
    if (code == ERR_NONE)
        code = store_prepare_once(store, &store->delivery_claim,
                                  "UPDATE _workers_deliveries SET state = 'running', token = token + 1, owner"
                                  " = ?2, expires_at = ?3, run_id = ?4 WHERE id = ?1",
                                  err);
    if (code == ERR_NONE)
        code = store_prepare_once(store, &store->delivery_payload,
                                  "SELECT event, body FROM _workers_payloads WHERE id = ?1", err);
    if (code == ERR_NONE)
        code = store_prepare_once(store, &store->delivery_due,
                                  "SELECT min(due_at) FROM _workers_deliveries WHERE state = 'ready' AND key"
                                  " = ?1 AND due_at > ?2",
                                  err);
    return code;
}

/* What is due: read whole before anything is claimed, which changes what the statement reads. */
static enum err_code read_due(struct store *store, const char *key, int64_t now, struct delivery *out,
                              int64_t limit, int64_t *count, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = store->delivery_next;
    bind_str(stmt, 1, key);
    driver->bind_integer(stmt, 2, now);
    driver->bind_integer(stmt, 3, limit);
    enum db_step step = DB_DONE;
    *count = 0;
    while (*count < limit && (step = driver->step(stmt, err)) == DB_ROW) {
        struct delivery *delivery = &out[(*count)++];
        size_t len = 0;
        snprintf(delivery->id, sizeof delivery->id, "%s", driver->column_text(stmt, 0, &len));
        delivery->token = driver->column_integer(stmt, 1) + 1;
        delivery->attempt = driver->column_integer(stmt, 2) + 1;
        delivery->tick_ms = driver->column_integer(stmt, 3);
        delivery->created_ms = driver->column_integer(stmt, 4);
        snprintf(delivery->started_by, sizeof delivery->started_by, "%s", driver->column_text(stmt, 5, &len));
    }
    driver->reset(stmt);
    return step == DB_FAILED ? err->code : ERR_NONE;
}

static enum err_code read_next_due(struct store *store, const char *key, int64_t now, int64_t *out,
                                   struct err *err)
{
    struct db_stmt *stmt = store->delivery_due;
    bind_str(stmt, 1, key);
    DRIVER(store)->bind_integer(stmt, 2, now);
    enum db_step step = DRIVER(store)->step(stmt, err);
    *out = step == DB_ROW && DRIVER(store)->column_type(stmt, 0) != DB_NULL
               ? DRIVER(store)->column_integer(stmt, 0)
               : INT64_MAX;
    DRIVER(store)->reset(stmt);
    return step == DB_FAILED ? err->code : ERR_NONE;
}

enum err_code store_deliveries_claim(struct store *store, const struct capability *capability, int64_t limit,
                                     delivery_fn each, void *ctx, int64_t *next_due_ms, struct err *err)
{
    int64_t now = clock_now_ms(), count = 0;
    limit = limit < LOOK_MAX ? limit : LOOK_MAX;
    *next_due_ms = INT64_MAX;
    enum err_code code = prepare_claim(store, err);
    if (code != ERR_NONE)
        return code;
    struct delivery *due = mem_zalloc((size_t)(limit + 1) * sizeof *due);
    if (due == NULL)
        return err_nomem(err);
    /* One more than wanted, so as to know whether there is more. */
    code = read_due(store, capability->key, now, due, limit + 1, &count, err);
    bool more = count > limit;
    count = more ? limit : count;
    for (int64_t i = 0; i < count && code == ERR_NONE; i++) {
        code = claim(store, capability, &due[i], now, err);
        if (code == ERR_NONE)
            each(ctx, &due[i]);
        else
            delivery_free(&due[i]);
    }
    mem_free(due);
    if (code == ERR_NONE && more)
        *next_due_ms = now;
    else if (code == ERR_NONE)
        code = read_next_due(store, capability->key, now, next_due_ms, err);
    return code;
}

/* ---- ending ---- */

static enum err_code end_run(struct store *store, const struct delivery_end *end, const char *error,
                             struct err *err)
{
    if (end->outcome == DELIVERY_RELEASED || end->outcome == DELIVERY_DECLINED) {
        struct db_stmt *stmt = NULL;
        enum err_code code =
            store_prepare(store, &stmt, "DELETE FROM _workers_runs WHERE id = ?1 AND exit_code IS NULL", err);
        if (code != ERR_NONE)
            return code;
        bind_str(stmt, 1, end->delivery->run_id);
        code = store_step(store, stmt, err);
        DRIVER(store)->finalize(stmt);
        return code;
    }
    const struct run_end run = {.id = end->delivery->run_id,
                                .exit_code = end->outcome == DELIVERY_DONE ? 0 : 1,
                                .error = error,
                                .traceback = end->traceback,
                                .failure = &end->failure,
                                .requests = end->requests,
                                .peak_bytes = end->peak_bytes,
                                .ended_ms = clock_now_ms()};
    return runs_end(store, &run, err);
}

enum err_code store_delivery_end(struct store *store, const struct delivery_end *end, bool *lost,
                                 struct err *err)
{
    static const char *const states[] = {
        [DELIVERY_DONE] = "done", [DELIVERY_RETRY] = "ready",   [DELIVERY_LATER] = "ready",
        [DELIVERY_DEAD] = "dead", [DELIVERY_DECLINED] = "done", [DELIVERY_RELEASED] = "ready"};
    const struct db_driver *driver = DRIVER(store);
    bool ended =
        end->outcome == DELIVERY_DONE || end->outcome == DELIVERY_DEAD || end->outcome == DELIVERY_DECLINED;
    *lost = false;
    enum err_code code = store_prepare_once(
        store, &store->delivery_end,
        "UPDATE _workers_deliveries SET state = ?3, ended_at = ?4, due_at = coalesce(?5, due_at), attempts ="
        " attempts + ?6, error = ?7, owner = NULL, expires_at = NULL WHERE id = ?1 AND token = ?2 AND state ="
        " 'running'",
        err);
    struct db_stmt *stmt = store->delivery_end;
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, end->delivery->id);
    driver->bind_integer(stmt, 2, end->delivery->token);
    bind_str(stmt, 3, states[end->outcome]);
    if (ended)
        driver->bind_integer(stmt, 4, clock_now_ms());
    if (end->outcome == DELIVERY_RETRY || end->outcome == DELIVERY_LATER)
        driver->bind_integer(stmt, 5, clock_now_ms() + end->wait_ms);
    driver->bind_integer(stmt, 6, end->outcome != DELIVERY_RELEASED && end->outcome != DELIVERY_LATER);
    bind_str(stmt, 7, end->error);
    code = store_step(store, stmt, err);
    if (code != ERR_NONE)
        return code;
    *lost = driver->changes(store->db) == 0;
    return end_run(store, end,
                   *lost ? "taken over by another process, which found this one gone" : end->error, err);
}

enum err_code store_deliveries_renew(struct store *store, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt, "UPDATE _workers_deliveries SET expires_at = ?2 WHERE state = 'running' AND owner = ?1",
        err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, own_name(store));
    DRIVER(store)->bind_integer(stmt, 2, lease_until());
    code = store_step(store, stmt, err);
    DRIVER(store)->finalize(stmt);
    return code;
}

enum err_code store_deliveries_clock(struct store *store, const char *key, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt,
        "UPDATE _workers_deliveries SET due_at = ?2 WHERE state = 'ready' AND key = ?1 AND due_at > ?2 AND"
        " (created_at > ?2 OR EXISTS(SELECT 1 FROM _workers_runs AS r WHERE r.id = run_id AND r.ended_at > "
        "?2))",
        err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, key);
    DRIVER(store)->bind_integer(stmt, 2, clock_now_ms());
    code = store_step(store, stmt, err);
    DRIVER(store)->finalize(stmt);
    return code;
}

/* ---- those whose process is gone ---- */

#define IS_OVER "(?3 OR expires_at NOT BETWEEN ?5 AND ?6)" /* as lease_is_over says */

static enum err_code recover_of(struct store *store, const char *owner, int64_t now, struct err *err)
{
    static const char *const steps[] = {
        "UPDATE _workers_runs SET exit_code = 1, ended_at = ?2, error = '" LOST_ERROR "' WHERE exit_code IS"
        " NULL AND id IN (SELECT run_id FROM _workers_deliveries WHERE state = 'running' AND owner = ?1 AND"
        " " IS_OVER ")",
        "UPDATE _workers_deliveries SET losses = losses + 1, state = CASE WHEN losses + 1 < ?4 THEN 'ready'"
        " ELSE 'dead' END, ended_at = CASE WHEN losses + 1 < ?4 THEN NULL ELSE ?2 END, error = '" LOST_ERROR
        "', owner = NULL, expires_at = NULL WHERE state = 'running' AND owner = ?1 AND " IS_OVER,
    };
    bool gone = owner_is_gone(owner);
    enum err_code code = ERR_NONE;
    for (int i = 0; i < 2 && code == ERR_NONE; i++) {
        struct db_stmt *stmt = NULL;
        code = store_prepare(store, &stmt, steps[i], err);
        if (code != ERR_NONE)
            break;
        bind_str(stmt, 1, owner);
        DRIVER(store)->bind_integer(stmt, 2, now);
        DRIVER(store)->bind_integer(stmt, 3, gone);
        if (i == 1)
            DRIVER(store)->bind_integer(stmt, 4, LOSSES_MAX);
        DRIVER(store)->bind_integer(stmt, 5, lease_until() - LEASE_MS + 1);
        DRIVER(store)->bind_integer(stmt, 6, lease_until());
        code = store_step(store, stmt, err);
        DRIVER(store)->finalize(stmt);
    }
    return code;
}

#define OWNERS_MAX 64 /* looked at in one go; the next look has the others */

/* The owners whose deliveries may be taken; the count, or -1 with err set. */
static int lost_owners(struct store *store, char owners[OWNERS_MAX][OWNER_SIZE], struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    struct db_stmt *stmt = NULL;
    int count = 0;
    if (store_prepare(store, &stmt,
                      "SELECT owner, min(expires_at), max(expires_at) FROM _workers_deliveries WHERE state ="
                      " 'running' AND owner <> ?1 GROUP BY owner",
                      err) != ERR_NONE)
        return -1;
    bind_str(stmt, 1, own_name(store));
    enum db_step step = DB_DONE;
    while (count < OWNERS_MAX && (step = driver->step(stmt, err)) == DB_ROW) {
        size_t len = 0;
        const char *owner = driver->column_text(stmt, 0, &len);
        if (owner != NULL && (lease_is_over(driver->column_integer(stmt, 1)) ||
                              lease_is_over(driver->column_integer(stmt, 2)) || owner_is_gone(owner)))
            snprintf(owners[count++], OWNER_SIZE, "%s", owner);
    }
    driver->finalize(stmt);
    return step == DB_FAILED ? -1 : count;
}

enum err_code store_deliveries_recover(struct store *store, int64_t *count, struct err *err)
{
    char owners[OWNERS_MAX][OWNER_SIZE];
    int64_t now = clock_now_ms();
    *count = 0;
    int found = lost_owners(store, owners, err);
    if (found <= 0)
        return found < 0 ? err->code : ERR_NONE;
    enum err_code code = store_begin(store, false, err);
    if (code != ERR_NONE)
        return code;
    for (int i = 0; i < found && code == ERR_NONE; i++) {
        code = recover_of(store, owners[i], now, err);
        if (code == ERR_NONE)
            *count += DRIVER(store)->changes(store->db);
    }
    if (code == ERR_NONE)
        return store_commit(store, err);
    store_rollback(store);
    return code;
}

/* ---- looking ---- */

#define RECORD_COLUMNS                                                                                       \
    "d.id, d.kind, d.key, d.state, d.started_by, d.error, d.run_id, d.idempotency_key, d.attempts, "         \
    "d.created_at, d.due_at, d.ended_at"

static void free_record(struct delivery_record *record)
{
    char *texts[] = {record->id,         record->kind,  record->key,    record->state,
                     record->started_by, record->error, record->run_id, record->idempotency_key,
                     record->event,      record->body};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        mem_free(texts[i]);
}

static enum err_code each_record(struct store *store, struct db_stmt *stmt, bool payload,
                                 delivery_record_fn each, void *ctx, struct err *err)
{
    const struct db_driver *driver = DRIVER(store);
    enum err_code code = ERR_NONE;
    enum db_step step = DB_DONE;
    while (code == ERR_NONE && (step = driver->step(stmt, err)) == DB_ROW) {
        struct delivery_record record = {
            .id = column_copy(stmt, 0),
            .kind = column_copy(stmt, 1),
            .key = column_copy(stmt, 2),
            .state = column_copy(stmt, 3),
            .started_by = column_copy(stmt, 4),
            .error = column_copy(stmt, 5),
            .run_id = column_copy(stmt, 6),
            .idempotency_key = column_copy(stmt, 7),
            .attempts = driver->column_integer(stmt, 8),
            .created_ms = driver->column_integer(stmt, 9),
            .due_ms = driver->column_integer(stmt, 10),
            .ended_ms = driver->column_integer(stmt, 11),
        };
        if (payload) {
            record.event = column_copy(stmt, 12);
            record.event_len = record.event != NULL ? strlen(record.event) : 0;
            if (driver->column_type(stmt, 13) != DB_NULL) {
                const char *body = driver->column_text(stmt, 13, &record.body_len);
                record.body = mem_strndup(body != NULL ? body : "", record.body_len);
            }
        }
        bool whole = record.id != NULL && record.kind != NULL && record.key != NULL && record.state != NULL &&
                     record.started_by != NULL && (!payload || record.event != NULL);
        code = whole ? each(ctx, &record) : err_nomem(err);
        free_record(&record);
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    driver->finalize(stmt);
    return code;
}

enum err_code store_deliveries_list(struct store *store, const struct delivery_filter *filter,
                                    delivery_record_fn each, void *ctx, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt,
        "SELECT " RECORD_COLUMNS " FROM _workers_deliveries AS d WHERE (?1 IS NULL OR d.key = ?1) AND"
        " (?2 IS NULL OR d.state = ?2) AND (?4 IS NULL OR d.id < ?4) ORDER BY d.id DESC"
        " LIMIT ?3",
        err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, filter->key);
    bind_str(stmt, 2, filter->state);
    DRIVER(store)->bind_integer(stmt, 3, filter->limit);
    bind_str(stmt, 4, filter->before);
    return each_record(store, stmt, false, each, ctx, err);
}

/* Sets whole to the id that begins with id. */
static enum err_code whole_id(struct store *store, const char *id, char whole[STORE_ID_SIZE], struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt,
        "SELECT count(*), max(id) FROM _workers_deliveries WHERE substr(id, 1, length(?1)) = ?1", err);
    if (code != ERR_NONE)
        return code;
    int64_t matches = 0;
    bind_str(stmt, 1, id);
    enum db_step step = DRIVER(store)->step(stmt, err);
    if (step == DB_ROW) {
        size_t len = 0;
        const char *text = DRIVER(store)->column_text(stmt, 1, &len);
        matches = DRIVER(store)->column_integer(stmt, 0);
        snprintf(whole, STORE_ID_SIZE, "%s", text != NULL ? text : "");
    }
    DRIVER(store)->finalize(stmt);
    if (step == DB_FAILED)
        return err->code;
    if (matches == 0 || *id == '\0')
        return err_set(err, ERR_NOT_FOUND, "there is no delivery \"%s\": workers deliveries list shows them",
                       id);
    if (matches > 1)
        return err_set(err, ERR_INVALID, "%lld deliveries begin with \"%s\": give more of the id",
                       (long long)matches, id);
    return ERR_NONE;
}

enum err_code store_delivery_get(struct store *store, const char *id, delivery_record_fn each, void *ctx,
                                 struct err *err)
{
    char whole[STORE_ID_SIZE];
    struct db_stmt *stmt = NULL;
    enum err_code code = whole_id(store, id, whole, err);
    if (code == ERR_NONE)
        code = store_prepare(store, &stmt,
                             "SELECT " RECORD_COLUMNS ", p.event, p.body FROM _workers_deliveries AS d JOIN"
                             " _workers_payloads AS p ON p.id = d.id WHERE d.id = ?1",
                             err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, whole);
    return each_record(store, stmt, true, each, ctx, err);
}

enum err_code store_delivery_replay(struct store *store, const char *id, struct err *err)
{
    char whole[STORE_ID_SIZE];
    struct db_stmt *stmt = NULL;
    enum err_code code = whole_id(store, id, whole, err);
    if (code == ERR_NONE)
        code =
            store_prepare(store, &stmt,
                          "UPDATE _workers_deliveries SET state = 'ready', due_at = min(?2, created_at), "
                          "attempts = 0, losses "
                          "= 0, ended_at ="
                          " NULL, started_by = 'replay' WHERE id = ?1 AND (state = 'done' OR state = 'dead')",
                          err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, whole);
    DRIVER(store)->bind_integer(stmt, 2, clock_now_ms());
    code = store_step(store, stmt, err);
    if (code == ERR_NONE && DRIVER(store)->changes(store->db) == 0)
        code = err_set(err, ERR_BUSY, "delivery %s is still on its way", whole);
    DRIVER(store)->finalize(stmt);
    return code;
}

enum err_code store_delivery_counts(struct store *store, struct delivery_counts *out, struct err *err)
{
    /* Each condition is that of an index. */
    enum err_code code = db_integer(
        store->db, "SELECT count(*) FROM _workers_deliveries WHERE state = 'ready'", 0, &out->ready, err);
    if (code == ERR_NONE)
        code = db_integer(store->db, "SELECT count(*) FROM _workers_deliveries WHERE state = 'running'", 0,
                          &out->running, err);
    if (code == ERR_NONE)
        code = db_integer(store->db, "SELECT count(*) FROM _workers_deliveries WHERE state = 'dead'", 0,
                          &out->dead, err);
    return code;
}
