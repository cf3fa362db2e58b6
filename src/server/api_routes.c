/* The routes of the API: what each does, and for whom. */
#include "server/api_priv.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/iso8601.h"
#include "base/mem.h"
#include "engine/describe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX 1000
#define LIST_USUAL 50

/* ---- helpers ---- */

static const struct worker *worker_of(const struct api_call *call)
{
    return service_runtime(call->service)->worker;
}

/* Leaves out as it is when the query does not name it. */
static bool read_number(struct api_call *call, const char *name, int64_t min, int64_t max, int64_t *out)
{
    char text[19]; /* more digits may not fit the number */
    if (api_query(call, name, text, sizeof text)) {
        size_t digits = strspn(text, "0123456789");
        int64_t number = strtoll(text, NULL, 10);
        if (digits == 0 || text[digits] != '\0' || number < min || number > max)
            call->code = err_set(&call->err, ERR_INVALID, "%s must be a whole number from %lld to %lld", name,
                                 (long long)min, (long long)max);
        else
            *out = number;
    }
    return call->code == ERR_NONE;
}

static bool read_limit(struct api_call *call, int64_t *out)
{
    *out = LIST_USUAL;
    return read_number(call, "limit", 1, LIST_MAX, out);
}

static void comma(struct buf *out)
{
    if (out->len > 1)
        buf_addc(out, ',');
}

static void done(struct api_call *call)
{
    buf_adds(&call->out, "{\"status\":\"done\"}");
}

/* A text member of the body, as it is written there; false when there is none. */
static bool find_text(const struct api_call *call, const char *name, struct json_scan *scan)
{
    struct json_slice slice;
    struct err ignored;
    if (!api_body_member(call, name, &slice))
        return false;
    json_scan_init(scan, slice.text, slice.len);
    return json_scan_value(scan, &ignored) == ERR_NONE && scan->token == JSON_STRING;
}

/* The same, read into out; false after an error when it is not there, empty, or does not fit. */
static bool body_text(struct api_call *call, const char *name, char *out, size_t size)
{
    struct json_scan scan;
    if (find_text(call, name, &scan) && scan.string.len < size) {
        size_t len = json_unescape(scan.string, out);
        out[len] = '\0';
        if (len > 0 && strlen(out) == len)
            return true;
    }
    call->code =
        err_set(&call->err, ERR_INVALID, "the body needs \"%s\", a text of 1 to %zu bytes", name, size - 1);
    return false;
}

static bool body_flag(const struct api_call *call, const char *name)
{
    struct json_slice slice;
    return api_body_member(call, name, &slice) && slice.len == 4 && memcmp(slice.text, "true", 4) == 0;
}

/* ---- the worker ---- */

static void get_worker(struct api_call *call, struct store *store)
{
    const struct worker *worker = worker_of(call);
    struct capability_info *infos = capability_infos(store, worker, &call->err);
    if (infos == NULL) {
        call->code = call->err.code;
        return;
    }
    buf_adds(&call->out, "{\"name\":");
    json_write_text(&call->out, service_name(call->service));
    buf_adds(&call->out, ",\"capabilities\":[");
    for (size_t i = 0; i < worker->capability_count; i++) {
        buf_adds(&call->out, i > 0 ? "," : "");
        describe_capability(&worker->capabilities[i], &infos[i], &call->out);
    }
    buf_adds(&call->out, "]}");
    mem_free(infos);
}

static void get_manifest(struct api_call *call, struct store *store)
{
    (void)store;
    call->code = worker_manifest(worker_of(call), &call->out);
}

static void set_paused(struct api_call *call, struct store *store, bool paused)
{
    if (call->capability->kind == CAPABILITY_TOOL)
        call->code = err_set(&call->err, ERR_INVALID, "\"%s\" is a tool, which runs only when it is called",
                             call->capability->key);
    else
        call->code = store_sync_pause(store, call->capability->key, paused, &call->err);
    done(call);
}

static void enable(struct api_call *call, struct store *store)
{
    set_paused(call, store, false);
}

static void disable(struct api_call *call, struct store *store)
{
    set_paused(call, store, true);
}

/* ---- syncs ---- */

static void add_sync(struct api_call *call, struct store *store, const struct capability *sync)
{
    struct sync_info info = {0};
    call->code = store_sync_info(store, sync->key, &info, &call->err);
    if (call->code == ERR_NONE) {
        comma(&call->out);
        describe_sync(sync, &info, &call->out);
    }
    sync_info_free(&info);
}

static void list_syncs(struct api_call *call, struct store *store)
{
    const struct worker *worker = worker_of(call);
    buf_addc(&call->out, '[');
    for (size_t i = 0; i < worker->capability_count && call->code == ERR_NONE; i++)
        if (worker->capabilities[i].kind == CAPABILITY_SYNC)
            add_sync(call, store, &worker->capabilities[i]);
    buf_addc(&call->out, ']');
}

static void get_sync(struct api_call *call, struct store *store)
{
    add_sync(call, store, call->capability);
}

static void trigger_sync(struct api_call *call, struct store *store)
{
    call->code =
        store_schedule_trigger(store, call->capability->key, body_flag(call, "allowDeletes"), &call->err);
    buf_adds(&call->out, "{\"status\":\"triggered\"}");
}

static void get_state(struct api_call *call, struct store *store)
{
    struct sync_info info = {0};
    call->code = store_sync_info(store, call->capability->key, &info, &call->err);
    buf_adds(&call->out, "{\"state\":");
    buf_add(&call->out, info.state != NULL ? info.state : "null", info.state != NULL ? info.state_size : 4);
    buf_addc(&call->out, '}');
    sync_info_free(&info);
}

static void set_state(struct api_call *call, struct store *store)
{
    struct json_slice state;
    if (call->capability->mode == SYNC_REPLACE)
        call->code =
            err_set(&call->err, ERR_INVALID, "\"%s\" is a replace sync: its cycles start without state",
                    call->capability->key);
    else if (!api_body_member(call, "state", &state))
        call->code = err_set(&call->err, ERR_INVALID, "the body needs \"state\"");
    else {
        char *text = mem_strndup(state.text, state.len);
        call->code = text != NULL ? store_sync_set_state(store, call->capability->key, text, &call->err)
                                  : err_nomem(&call->err);
        mem_free(text);
    }
    done(call);
}

static void reset_state(struct api_call *call, struct store *store)
{
    call->code = store_sync_set_state(store, call->capability->key, NULL, &call->err);
    done(call);
}

/* ---- runs ---- */

static enum err_code add_run(void *ctx, const struct run_record *run)
{
    struct api_call *call = ctx;
    comma(&call->out);
    describe_run(run, &call->out);
    return ERR_NONE;
}

static void list_runs(struct api_call *call, struct store *store)
{
    char key[101], failed[8] = "false";
    int64_t limit = 0;
    bool has_key = api_query(call, "key", key, sizeof key);
    api_query(call, "failed", failed, sizeof failed);
    bool only_failed = strcmp(failed, "true") == 0;
    if (call->code == ERR_NONE && !only_failed && strcmp(failed, "false") != 0)
        call->code = err_set(&call->err, ERR_INVALID, "failed must be true or false");
    if (call->code != ERR_NONE || !read_limit(call, &limit))
        return;
    buf_addc(&call->out, '[');
    call->code = store_runs_list(store, has_key ? key : NULL, only_failed, limit, add_run, call, &call->err);
    buf_addc(&call->out, ']');
}

static void get_run(struct api_call *call, struct store *store)
{
    call->code = store_run_get(store, call->parameters[0], add_run, call, &call->err);
}

struct found {
    char id[STORE_ID_SIZE];
};

static enum err_code keep_id(void *ctx, const struct run_record *run)
{
    snprintf(((struct found *)ctx)->id, STORE_ID_SIZE, "%s", run->id);
    return ERR_NONE;
}

static enum err_code add_line(void *ctx, int64_t id, int64_t at_ms, const char *level, const char *text,
                              size_t len)
{
    struct api_call *call = ctx;
    char time[ISO_UTC_SIZE];
    struct err ignored;
    comma(&call->out);
    buf_addf(&call->out, "{\"id\":%lld,\"at\":\"%s\",\"level\":\"%s\",\"text\":", (long long)id,
             iso_format_utc(at_ms, time), level);
    if (json_write_string(&call->out, text, len, &ignored) != ERR_NONE)
        buf_adds(&call->out, "\"(not valid UTF-8)\"");
    buf_addc(&call->out, '}');
    return ERR_NONE;
}

static void get_logs(struct api_call *call, struct store *store)
{
    struct found found;
    int64_t after_id = 0;
    if (!read_number(call, "after", 0, INT64_MAX, &after_id))
        return;
    call->code = store_run_get(store, call->parameters[0], keep_id, &found, &call->err);
    buf_addc(&call->out, '[');
    if (call->code == ERR_NONE)
        call->code = store_logs_each(store, found.id, after_id, add_line, call, &call->err);
    buf_addc(&call->out, ']');
}

/* ---- webhooks and deliveries ---- */

static void list_webhooks(struct api_call *call, struct store *store)
{
    const struct worker *worker = worker_of(call);
    buf_addc(&call->out, '[');
    for (size_t i = 0; i < worker->capability_count && call->code == ERR_NONE; i++) {
        const struct capability *webhook = &worker->capabilities[i];
        struct endpoint endpoint;
        struct sync_info info = {0};
        char url[1024];
        if (webhook->kind != CAPABILITY_WEBHOOK)
            continue;
        call->code = store_endpoint_get(store, webhook->key, &endpoint, &call->err);
        if (call->code == ERR_NONE)
            call->code = store_sync_info(store, webhook->key, &info, &call->err);
        snprintf(url, sizeof url, "%s/webhooks/%s/%s/%s", call->api->url, service_name(call->service),
                 endpoint.secret, webhook->key);
        comma(&call->out);
        describe_webhook(webhook, &endpoint, info.paused, url, &call->out);
        sync_info_free(&info);
    }
    buf_addc(&call->out, ']');
}

static void reset_webhook(struct api_call *call, struct store *store)
{
    call->code = store_endpoint_reset(store, call->capability->key, &call->err);
    done(call);
}

static void rotate_webhook(struct api_call *call, struct store *store)
{
    call->code = store_endpoint_rotate(store, call->capability->key, &call->err);
    done(call);
}

static enum err_code add_delivery(void *ctx, const struct delivery_record *record)
{
    struct api_call *call = ctx;
    comma(&call->out);
    describe_delivery(record, &call->out);
    return ERR_NONE;
}

static void list_deliveries(struct api_call *call, struct store *store)
{
    char key[101], state[16];
    int64_t limit = 0;
    bool has_key = api_query(call, "key", key, sizeof key),
         has_state = api_query(call, "state", state, sizeof state);
    if (call->code == ERR_NONE && has_state && !delivery_state_known(state))
        call->code = err_set(&call->err, ERR_INVALID, "state must be " DELIVERY_STATES);
    if (call->code != ERR_NONE || !read_limit(call, &limit))
        return;
    buf_addc(&call->out, '[');
    call->code = store_deliveries_list(store, has_key ? key : NULL, has_state ? state : NULL, limit,
                                       add_delivery, call, &call->err);
    buf_addc(&call->out, ']');
}

static void get_delivery(struct api_call *call, struct store *store)
{
    call->code = store_delivery_get(store, call->parameters[0], add_delivery, call, &call->err);
}

static void replay_delivery(struct api_call *call, struct store *store)
{
    call->code = store_delivery_replay(store, call->parameters[0], &call->err);
    done(call);
}

/* ---- tools, automations, jobs ---- */

static void tool_ended(void *ctx, struct call *tool, const struct call_end *end)
{
    struct api_call *call = ctx;
    (void)tool;
    if (end->ok) {
        buf_add(&call->out, end->value, end->value_len);
    } else {
        call->code =
            err_set(&call->err, strcmp(end->name, "InvalidToolInputError") == 0 ? ERR_INVALID : ERR_SCRIPT,
                    "%s: %s", end->name, end->message);
    }
    api_finish(call);
}

static void run_tool(struct api_call *call)
{
    const struct call_input input = {.json = call->body, .len = call->body_len};
    call->code = call_start(service_runtime(call->service), call->capability, &input, tool_ended, call,
                            &call->tool, &call->err);
    if (call->code != ERR_NONE)
        api_finish(call);
}

static void stored(void *ctx, const struct delivery_new *delivery, enum err_code code, const struct err *err)
{
    struct api_call *call = ctx;
    call->code = code;
    if (code != ERR_NONE)
        call->err = *err;
    buf_addf(&call->out, "{\"deliveryId\":\"%s\"}", delivery->id);
    api_finish(call);
}

/* The body becomes a delivery. */
static void deliver(struct api_call *call)
{
    struct delivery_new *delivery = &call->intake.delivery;
    *delivery = (struct delivery_new){.kind = capability_kind_name(call->capability->kind),
                                      .key = call->capability->key,
                                      .started_by = "api",
                                      .due_ms = clock_now_ms(),
                                      .event = call->body_len > 0 ? call->body : "null",
                                      .event_len = call->body_len > 0 ? call->body_len : 4};
    job_lane(call->capability->key, call->lane);
    if (call->capability->kind == CAPABILITY_JOB) /* never beside a run of it */
        delivery->lane = call->lane;
    call->intake.stored = stored;
    call->intake.ctx = call;
    service_take_in(call->service, &call->intake);
}

/* ---- rows ---- */

static void list_databases(struct api_call *call, struct store *store)
{
    const struct worker *worker = worker_of(call);
    (void)store;
    buf_addc(&call->out, '[');
    for (size_t i = 0; i < worker->database_count; i++) {
        const struct database *database = &worker->databases[i];
        comma(&call->out);
        buf_adds(&call->out, "{\"key\":");
        json_write_text(&call->out, database->key);
        buf_adds(&call->out, ",\"title\":");
        json_write_text(&call->out, database->initial_title);
        buf_adds(&call->out, ",\"properties\":[");
        for (size_t k = 0; k < database->property_count; k++) {
            buf_adds(&call->out, k > 0 ? ",{\"name\":" : "{\"name\":");
            json_write_text(&call->out, database->properties[k].name);
            buf_addf(&call->out, ",\"type\":\"%s\"}", property_type_name(database->properties[k].type));
        }
        buf_adds(&call->out, "]}");
    }
    buf_addc(&call->out, ']');
}

static void list_rows(struct api_call *call, struct store *store)
{
    const struct worker *worker = worker_of(call);
    size_t database = worker_database(worker, call->parameters[0]);
    char after[ROW_KEY_MAX + 1] = "";
    int64_t limit = 0;
    api_query(call, "after", after, sizeof after);
    if (call->code != ERR_NONE || !read_limit(call, &limit))
        return;
    call->code =
        database != SIZE_MAX
            ? store_rows_page(store, &worker->databases[database], after, limit, &call->out, &call->err)
            : err_set(&call->err, ERR_NOT_FOUND, "the worker has no database \"%s\"", call->parameters[0]);
}

/* ---- tokens and variables ---- */

static enum err_code add_token(void *ctx, const struct token_record *record)
{
    struct api_call *call = ctx;
    char time[ISO_UTC_SIZE];
    comma(&call->out);
    buf_adds(&call->out, "{\"name\":");
    json_write_text(&call->out, record->name);
    buf_addf(&call->out, ",\"scope\":\"%s\",\"createdAt\":\"%s\"}", token_scope_name(record->scope),
             iso_format_utc(record->created_ms, time));
    return ERR_NONE;
}

static void list_tokens(struct api_call *call, struct store *store)
{
    buf_addc(&call->out, '[');
    call->code = store_tokens_each(store, add_token, call, &call->err);
    buf_addc(&call->out, ']');
}

static void make_token(struct api_call *call, struct store *store)
{
    char name[TOKEN_NAME_MAX + 1], scope_name[16], token[TOKEN_SIZE];
    enum token_scope scope;
    if (!body_text(call, "name", name, sizeof name) ||
        !body_text(call, "scope", scope_name, sizeof scope_name))
        return;
    if (!token_scope_parse(scope_name, &scope)) {
        call->code = err_set(&call->err, ERR_INVALID, "scope must be \"read\", \"run\" or \"admin\"");
        return;
    }
    call->code = store_token_make(store, name, scope, token, &call->err);
    if (call->code == ERR_NONE)
        buf_addf(&call->out, "{\"token\":\"%s\"}", token);
}

static void revoke_token(struct api_call *call, struct store *store)
{
    bool existed = false;
    call->code = store_token_revoke(store, call->parameters[0], &existed, &call->err);
    if (call->code == ERR_NONE && !existed)
        call->code = err_set(&call->err, ERR_NOT_FOUND, "there is no token \"%s\"", call->parameters[0]);
    done(call);
}

static enum err_code add_variable(void *ctx, const char *name, int64_t created_ms, const char *value,
                                  size_t len)
{
    struct api_call *call = ctx;
    char time[ISO_UTC_SIZE];
    (void)value;
    (void)len;
    comma(&call->out);
    buf_adds(&call->out, "{\"name\":");
    json_write_text(&call->out, name);
    buf_addf(&call->out, ",\"createdAt\":\"%s\"}", iso_format_utc(created_ms, time));
    return ERR_NONE;
}

static void list_variables(struct api_call *call, struct store *store)
{
    buf_addc(&call->out, '[');
    call->code = store_secrets_each(store, false, add_variable, call, &call->err);
    buf_addc(&call->out, ']');
}

/* Must not put the value into an answer or a log. */
static void set_variable(struct api_call *call, struct store *store)
{
    struct json_scan scan;
    if (!find_text(call, "value", &scan)) {
        call->code = err_set(&call->err, ERR_INVALID, "the body needs \"value\", a text");
        return;
    }
    char *value = mem_alloc(scan.string.len + 1);
    if (value == NULL) {
        call->code = err_nomem(&call->err);
        return;
    }
    size_t len = json_unescape(scan.string, value);
    call->code = store_secret_set(store, call->parameters[0], value, len, &call->err);
    crypto_wipe(value, len);
    mem_free(value);
    done(call);
}

static void unset_variable(struct api_call *call, struct store *store)
{
    bool existed = false;
    call->code = store_secret_unset(store, call->parameters[0], &existed, &call->err);
    if (call->code == ERR_NONE && !existed)
        call->code = err_set(&call->err, ERR_NOT_FOUND, "there is no variable \"%s\"", call->parameters[0]);
    done(call);
}

/* ---- metrics, in the text format of Prometheus ---- */

/* A label's value: backslashes, quotes and line ends are escaped. */
static void add_label(struct buf *out, const char *name, const char *value)
{
    buf_addf(out, "%s=\"", name);
    for (; *value != '\0'; value++) {
        if (*value == '\\' || *value == '"')
            buf_addc(out, '\\');
        if (*value == '\n')
            buf_adds(out, "\\n");
        else
            buf_addc(out, *value);
    }
    buf_addc(out, '"');
}

struct metric {
    const char *name, *type, *help;
    double (*value)(const struct sync_info *info);
};

static double last_success(const struct sync_info *info)
{
    return (double)info->last_success_ms / 1000;
}

static double next_run(const struct sync_info *info)
{
    return (double)info->next_ms / 1000;
}

static double failures(const struct sync_info *info)
{
    return (double)info->failures;
}

static double is_held(const struct sync_info *info)
{
    return info->held_reason != NULL;
}

static double is_running(const struct sync_info *info)
{
    return info->running;
}

static double state_bytes(const struct sync_info *info)
{
    return (double)info->state_size;
}

static const struct metric sync_metrics[] = {
    {"workers_sync_last_success_timestamp_seconds", "gauge", "When a cycle last ended well; 0 for never.",
     last_success},
    {"workers_sync_next_run_timestamp_seconds", "gauge", "When the next run is due; 0 for none.", next_run},
    {"workers_sync_consecutive_failures", "gauge", "Failures since the last success.", failures},
    {"workers_sync_held", "gauge", "1 while a sweep is held.", is_held},
    {"workers_sync_running", "gauge", "1 while a cycle runs.", is_running},
    {"workers_sync_state_bytes", "gauge", "Size of the state as JSON.", state_bytes},
};

static void add_sync_metric(struct api_call *call, const struct metric *metric, struct sync_info *infos)
{
    const struct worker *worker = worker_of(call);
    struct buf *out = &call->out;
    buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name, metric->type);
    for (size_t i = 0; i < worker->capability_count; i++) {
        if (worker->capabilities[i].kind != CAPABILITY_SYNC)
            continue;
        buf_addf(out, "%s{", metric->name);
        add_label(out, "worker", service_name(call->service));
        buf_addc(out, ',');
        add_label(out, "sync", worker->capabilities[i].key);
        buf_addf(out, "} %.17g\n", metric->value(&infos[i]));
    }
}

static void get_metrics(struct api_call *call, struct store *store)
{
    const struct worker *worker = worker_of(call);
    struct delivery_counts counts;
    struct sync_info *infos = mem_zalloc((worker->capability_count + 1) * sizeof *infos);
    call->type = "text/plain; version=0.0.4; charset=utf-8";
    call->code = infos != NULL ? store_delivery_counts(store, &counts, &call->err) : err_nomem(&call->err);
    for (size_t i = 0; i < worker->capability_count && call->code == ERR_NONE; i++)
        if (worker->capabilities[i].kind == CAPABILITY_SYNC)
            call->code = store_sync_info(store, worker->capabilities[i].key, &infos[i], &call->err);
    for (size_t i = 0; i < sizeof sync_metrics / sizeof sync_metrics[0] && call->code == ERR_NONE; i++)
        add_sync_metric(call, &sync_metrics[i], infos);
    if (call->code == ERR_NONE) {
        const struct {
            const char *state;
            int64_t count;
        } states[] = {{"ready", counts.ready}, {"running", counts.running}, {"dead", counts.dead}};
        buf_adds(&call->out, "# HELP workers_deliveries Deliveries that have not ended well.\n# TYPE"
                             " workers_deliveries gauge\n");
        for (int i = 0; i < 3; i++) {
            buf_adds(&call->out, "workers_deliveries{");
            add_label(&call->out, "worker", service_name(call->service));
            buf_addf(&call->out, ",state=\"%s\"} %lld\n", states[i].state, (long long)states[i].count);
        }
    }
    for (size_t i = 0; infos != NULL && i < worker->capability_count; i++)
        sync_info_free(&infos[i]);
    mem_free(infos);
}

/* ---- the table ---- */

#define ANY (-1)
#define NONE (-2)
#define OBJECT "{\"type\":\"object\"}"
#define STORE(method, path, scope, kind, id, summary, query, body, success, work)                            \
    {                                                                                                        \
        method, path, scope, ROUTE_STORE, kind, id, summary, query, body, success, work, NULL                \
    }
#define START(method, path, scope, kind, id, summary, body, success, start)                                  \
    {                                                                                                        \
        method, path, scope, ROUTE_START, kind, id, summary, NULL, body, success, NULL, start                \
    }

const struct route api_routes[] = {
    STORE("GET", "", TOKEN_READ, NONE, "getWorker", "A worker and its capabilities", NULL, NULL, 200,
          get_worker),
    STORE("GET", "/manifest", TOKEN_READ, NONE, "getManifest", "What the worker declares", NULL, NULL, 200,
          get_manifest),
    STORE("POST", "/capabilities/{key}/enable", TOKEN_RUN, ANY, "enableCapability",
          "Lets a capability run by itself", NULL, NULL, 200, enable),
    STORE("POST", "/capabilities/{key}/disable", TOKEN_RUN, ANY, "disableCapability",
          "Keeps a capability from running by itself", NULL, NULL, 200, disable),
    STORE("GET", "/syncs", TOKEN_READ, NONE, "listSyncs", "How the syncs stand", NULL, NULL, 200, list_syncs),
    STORE("GET", "/syncs/{key}", TOKEN_READ, CAPABILITY_SYNC, "getSync", "How a sync stands", NULL, NULL, 200,
          get_sync),
    STORE("POST", "/syncs/{key}/trigger", TOKEN_RUN, CAPABILITY_SYNC, "triggerSync",
          "Runs a cycle as soon as may be, after one that is under way", NULL,
          "{\"type\":\"object\",\"properties\":{\"allowDeletes\":{\"type\":\"boolean\"}}}", 202,
          trigger_sync),
    STORE("GET", "/syncs/{key}/state", TOKEN_READ, CAPABILITY_SYNC, "getSyncState", "The state of a sync",
          NULL, NULL, 200, get_state),
    STORE("PUT", "/syncs/{key}/state", TOKEN_ADMIN, CAPABILITY_SYNC, "setSyncState",
          "Sets the state of a sync", NULL,
          "{\"type\":\"object\",\"required\":[\"state\"],\"properties\":{\"state\":{}}}", 200, set_state),
    STORE("DELETE", "/syncs/{key}/state", TOKEN_ADMIN, CAPABILITY_SYNC, "resetSyncState",
          "Forgets the state of a sync", NULL, NULL, 200, reset_state),
    STORE("GET", "/runs", TOKEN_READ, NONE, "listRuns", "Runs, newest first",
          "key:string failed:boolean limit:integer", NULL, 200, list_runs),
    STORE("GET", "/runs/{id}", TOKEN_READ, NONE, "getRun", "One run", NULL, NULL, 200, get_run),
    STORE("GET", "/runs/{id}/logs", TOKEN_READ, NONE, "getRunLogs", "The log of a run, after a line's id",
          "after:integer", NULL, 200, get_logs),
    STORE("GET", "/webhooks", TOKEN_ADMIN, NONE, "listWebhooks", "Webhooks with their addresses", NULL, NULL,
          200, list_webhooks),
    STORE("POST", "/webhooks/{key}/reset", TOKEN_RUN, CAPABILITY_WEBHOOK, "resetWebhook",
          "Opens a webhook again that was closed", NULL, NULL, 200, reset_webhook),
    STORE("POST", "/webhooks/{key}/rotate", TOKEN_ADMIN, CAPABILITY_WEBHOOK, "rotateWebhook",
          "Gives a webhook a new address", NULL, NULL, 200, rotate_webhook),
    STORE("GET", "/deliveries", TOKEN_READ, NONE, "listDeliveries", "Deliveries, newest first",
          "key:string state:string limit:integer", NULL, 200, list_deliveries),
    STORE("GET", "/deliveries/{id}", TOKEN_READ, NONE, "getDelivery", "One delivery, with what it carries",
          NULL, NULL, 200, get_delivery),
    STORE("POST", "/deliveries/{id}/replay", TOKEN_RUN, NONE, "replayDelivery",
          "Delivers again what has ended", NULL, NULL, 200, replay_delivery),
    START("POST", "/tools/{key}", TOKEN_RUN, CAPABILITY_TOOL, "callTool",
          "Calls a tool and answers its result", OBJECT, 200, run_tool),
    START("POST", "/automations/{key}", TOKEN_RUN, CAPABILITY_AUTOMATION, "fireAutomation",
          "Fires an automation with the body as its event", OBJECT, 202, deliver),
    START("POST", "/jobs/{key}", TOKEN_RUN, CAPABILITY_JOB, "runJob", "Runs a job with the body as its input",
          OBJECT, 202, deliver),
    STORE("GET", "/databases", TOKEN_READ, NONE, "listDatabases", "The databases and their properties", NULL,
          NULL, 200, list_databases),
    STORE("GET", "/databases/{database}/rows", TOKEN_READ, NONE, "listRows",
          "Rows in the order of their keys", "after:string limit:integer", NULL, 200, list_rows),
    STORE("GET", "/metrics", TOKEN_READ, NONE, "getMetrics",
          "How the worker does, in the text format of Prometheus", NULL, NULL, 200, get_metrics),
    STORE("GET", "/variables", TOKEN_ADMIN, NONE, "listVariables", "The names of the sealed variables", NULL,
          NULL, 200, list_variables),
    STORE("PUT", "/variables/{name}", TOKEN_ADMIN, NONE, "setVariable",
          "Seals a variable; nobody can read it again", NULL,
          "{\"type\":\"object\",\"required\":[\"value\"],\"properties\":{\"value\":{\"type\":\"string\"}}}",
          200, set_variable),
    STORE("DELETE", "/variables/{name}", TOKEN_ADMIN, NONE, "unsetVariable", "Removes a sealed variable",
          NULL, NULL, 200, unset_variable),
    STORE("GET", "/tokens", TOKEN_ADMIN, NONE, "listTokens", "The tokens, without what they are", NULL, NULL,
          200, list_tokens),
    STORE("POST", "/tokens", TOKEN_ADMIN, NONE, "makeToken", "Makes a token; nobody can read it again", NULL,
          "{\"type\":\"object\",\"required\":[\"name\",\"scope\"],\"properties\":{\"name\":{\"type\":"
          "\"string\"},"
          "\"scope\":{\"enum\":[\"read\",\"run\",\"admin\"]}}}",
          201, make_token),
    STORE("DELETE", "/tokens/{name}", TOKEN_ADMIN, NONE, "revokeToken", "Makes a token useless", NULL, NULL,
          200, revoke_token),
    {0},
};
